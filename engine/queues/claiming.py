"""A worker that claims what is due in the store: as much as it can begin at once, and then again.

Hides: threads. One of them looks, and those that work are never more than were asked for.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import suppress

from engine.context import attempt
from engine.core import Engine
from engine.errors import StoreError
from engine.queues.ending import told_to_stop

PAUSE = 2.0  # seconds between looks at the store while nothing is due
AFTER_ERROR = 10.0  # seconds, where the store could not be asked

log = logging.getLogger("engine")


def work(engine: Engine, threads: int, *, once: bool, begun: Callable[[], object]) -> int:
    """As `engine.queues.work`."""
    worker = _Worker(engine, threads)
    with told_to_stop(worker.stopped.set, worker.under_way), ThreadPoolExecutor(1, "callsheet looks") as looks:
        begun()
        looks.submit(worker.run, once=once).result()  # the main thread has to be free to hear signals
        with suppress(StoreError):
            worker.pulse.end()
    return worker.done


class _Worker:
    """The work of this process."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self._engine, self._threads = engine, threads
        self._running: set[Future[object]] = set()
        self.pulse, self.stopped = engine.workers.pulse(threads), threading.Event()
        self.done = 0

    def under_way(self) -> int:
        """How much is being done."""
        return sum(not one.done() for one in self._running)

    def run(self, *, once: bool) -> None:
        """Work until told to stop, or until nothing is due."""
        with ThreadPoolExecutor(self._threads, "callsheet worker") as pool:
            while not self.stopped.is_set():
                try:
                    self.pulse.beat()
                    tasks = self._engine.take_due(self._threads - len(self._running))
                except StoreError as error:
                    if once:
                        raise
                    log.warning("%s; the next look is in %g s", error, AFTER_ERROR)
                    self.stopped.wait(AFTER_ERROR)
                    continue
                self.done += len(tasks)
                self._running = self._running | {pool.submit(attempt, task) for task in tasks}
                if self._running:
                    self._running = wait(self._running, PAUSE, FIRST_COMPLETED).not_done
                elif once:
                    break
                else:
                    self.stopped.wait(PAUSE)
