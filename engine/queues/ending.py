"""How a worker ends that is told to.

Hides: that nothing stops a thread which waits for a store that does not answer. What is under way is given the time
that a call may take. Whoever waits longer is left behind as if it had been killed: its lease ends, and what it was at
is taken up again.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

GRACE = 28.0  # seconds for what is under way: a call's deadline and its commit, and supervisors allow for 30
IDLE = 3.0  # seconds where nothing is
LOOK = 0.05

log = logging.getLogger("engine")


@contextmanager
def told_to_stop(stop: Callable[[], object], under_way: Callable[[], int]) -> Iterator[None]:
    """Have SIGTERM and Ctrl-C call `stop`, and end this process where what is inside the `with` does not end then.

    `under_way` says how much is being done. A second signal ends the process at once.
    """
    told, over = threading.Event(), threading.Event()

    def hear(*_: object) -> None:
        if told.is_set():
            _leave(under_way())
        told.set()
        stop()
        threading.Thread(target=_see_to_it, args=(over, under_way), name="callsheet ending", daemon=True).start()

    before = {number: signal.signal(number, hear) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        over.set()
        for number, handler in before.items():
            signal.signal(number, handler)


def _see_to_it(over: threading.Event, under_way: Callable[[], int]) -> None:
    began = idle_since = time.monotonic()
    while not over.wait(LOOK):
        now = time.monotonic()
        if under_way():
            idle_since = now
        if now - began > GRACE or now - idle_since > IDLE:
            _leave(under_way())


def _leave(left: int) -> None:
    """End, whatever any thread is at."""
    what = f"what is under way ({left}) is taken up when its lease ends" if left else "nothing is under way"
    log.warning("ended without waiting any longer; %s", what)
    with suppress(Exception):
        sys.stdout.flush()
    os._exit(1 if left else 0)
