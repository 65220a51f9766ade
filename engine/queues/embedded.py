"""Due work in a host's own process: one daemon thread that does what is due, and sleeps until it is woken.

Hides: that a server forks after the app was made, and that a thread does not live on in the child.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable

PAUSE = 2.0  # seconds between looks at the store while nobody wakes it
AFTER_ERROR = 10.0  # seconds, where the store could not be asked

log = logging.getLogger("engine")


class Worker:
    """Calls `run_due` until nothing is due, again and again. Starts at first use, and again after a fork."""

    def __init__(self, run_due: Callable[[], int], pause: float = PAUSE) -> None:
        self._run_due, self._pause = run_due, pause
        self._process = 0
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, where this process has none yet."""
        if self._process == os.getpid():
            return
        with self._lock:
            if self._process != os.getpid():
                self._woken, self._ended = threading.Event(), threading.Event()
                self._thread = threading.Thread(target=self._loop, name="callsheet due work", daemon=True)
                self._thread.start()
                self._process = os.getpid()

    def wake(self) -> None:
        """Say that something is due now."""
        self.start()
        self._woken.set()

    def stop(self) -> None:
        """End the thread, after what it is at. In this process none starts again, whatever request still comes."""
        with self._lock:
            is_ours, self._process = self._process == os.getpid(), os.getpid()
            self._ended.set()
            self._woken.set()
        if self._thread and is_ours:
            self._thread.join()

    def _loop(self) -> None:
        woken, ended = self._woken, self._ended
        while not ended.is_set():
            pause = self._pause
            try:
                while self._run_due() and not ended.is_set():
                    pass
            except Exception:
                log.exception("due work could not be done")
                pause = AFTER_ERROR
            woken.wait(pause)
            woken.clear()
