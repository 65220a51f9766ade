"""A worker that claims what is due in the store: as much as it can begin at once, and then again.

Hides: threads. One of them looks, and those that work are never more than were asked for.
"""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import TypeVar

from engine.core import Engine
from engine.errors import EngineError, StoreError

PAUSE = 2.0  # seconds between looks at the store while nothing is due
AFTER_ERROR = 10.0  # seconds, where the store could not be asked

T = TypeVar("T")

log = logging.getLogger("engine")


def work(engine: Engine, threads: int, *, once: bool, begun: Callable[[], object]) -> int:
    """As `engine.queues.work`."""
    pulse, done = engine.workers.pulse(threads), 0
    running = set[Future[object]]()
    with _told_to_stop() as stopped, ThreadPoolExecutor(threads, "callsheet worker") as pool:
        begun()
        while not stopped.is_set():
            try:
                pulse.beat()
                tasks = engine.take_due(threads - len(running))
            except StoreError as error:
                if once:
                    raise
                log.warning("%s; the next look is in %g s", error, AFTER_ERROR)
                stopped.wait(AFTER_ERROR)
                continue
            done += len(tasks)
            running |= {pool.submit(attempt, task) for task in tasks}
            if running:
                _, running = wait(running, PAUSE, FIRST_COMPLETED)
            elif once:
                break
            else:
                stopped.wait(PAUSE)
    pulse.end()
    return done


def attempt(task: Callable[[], T]) -> T | None:
    """Do one thing; what goes wrong is in the log and in its row, and stops nothing else."""
    try:
        return task()
    except EngineError as error:
        log.warning("%s", error)
    except Exception:
        log.exception("due work failed")
    return None


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set."""
    stopped = threading.Event()
    before = {number: signal.signal(number, lambda *_: stopped.set()) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
