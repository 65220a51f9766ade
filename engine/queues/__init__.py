"""Due work: who does it.

    embedded         one thread of a host's own process
    ending           how a worker ends that is told to
    claiming         a worker that claims what is due in the store, on any store
    procrastinating  a worker on PostgreSQL that procrastinate tells what is due, on any number of machines

The rows are the same, and so is what is done with them: all three may work side by side.
"""

from __future__ import annotations

from collections.abc import Callable

from engine.core import Engine


def work(engine: Engine, threads: int, *, once: bool = False, begun: Callable[[], object] = bool) -> int:
    """Do what is due, so much at once, until SIGTERM or Ctrl-C, or `once` until nothing is; returns how much was done.

    `begun` is called as soon as it can be told to stop. What it is at then, it brings to its end; where it waits for a
    store that is away, this process ends all the same. Raises StoreError where the store cannot be reached at the
    beginning, and at any time with `once`.
    """
    from engine.store.jobs import without_procrastinate
    from engine.store.sql import SqlStore

    if isinstance(engine.store, SqlStore) and engine.store.file is None:
        try:
            from engine.queues import procrastinating
        except ModuleNotFoundError as error:
            raise without_procrastinate(error) from None
        return procrastinating.work(engine, engine.store, threads, once=once, begun=begun)
    from engine.queues import claiming

    return claiming.work(engine, threads, once=once, begun=begun)
