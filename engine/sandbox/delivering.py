"""Posts events to the host: in the background, again where the host does not say 2xx.

Hides: the thread, and how long it waits between tries.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import replace
from http.client import HTTPException
from typing import Any, Protocol

from engine.sandbox.events import Delivery

AGAIN = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)  # seconds until the next try
PATIENCE = 10.0  # seconds for one

log = logging.getLogger("engine")


class Deliverer(Protocol):
    """What brings events to a host."""

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """Take deliveries; returns at once."""

    def now(self, delivery: Delivery) -> None:
        """Bring one, and return when it is there or was not taken."""


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: Any) -> None:
        return None


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _NoRedirect())


def post(delivery: Delivery) -> bool:
    """Post once; whether the host took it."""
    asked = urllib.request.Request(delivery.url, delivery.body, dict(delivery.headers), method="POST")  # noqa: S310 - as a user named it
    try:
        with _OPENER.open(asked, timeout=PATIENCE) as answer:
            return 200 <= int(answer.status) < 300
    except (OSError, ValueError, HTTPException) as error:  # the last: an address or an answer is none
        log.info("the sandbox's event %s was not taken at %s: %s", delivery.type, delivery.url, error)
        return False


class Poster:
    """A Deliverer that posts, by a thread of its own that starts with the first event.

    `again`: the seconds to wait before each further try.
    """

    def __init__(self, again: Sequence[float] = AGAIN) -> None:
        self._again = again
        self._waiting: list[tuple[float, int, int, Delivery]] = []
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = self._ended = False

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        with self._changed:
            for one in deliveries:
                heapq.heappush(self._waiting, (time.monotonic() + one.wait, next(self._numbers), 0, one))
            if deliveries and self._thread is None and not self._ended:
                self._thread = threading.Thread(target=self._loop, name="sandbox events", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def now(self, delivery: Delivery) -> None:
        if not post(delivery):
            self.deliver([replace(delivery, wait=self._again[0])])

    def drain(self, seconds: float) -> bool:
        """Wait until nothing is on its way, at most so many seconds; whether it came to that."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._waiting and not self._busy, seconds)

    def close(self) -> None:
        """End the thread; what is still on its way is dropped."""
        with self._changed:
            self._ended, self._waiting = True, []
            self._changed.notify_all()
        if self._thread:
            self._thread.join()

    def _loop(self) -> None:
        while (taken := self._next()) is not None:
            tries, delivery = taken
            done = post(delivery)
            with self._changed:
                self._busy = False
                if not done and tries < len(self._again) and not self._ended:
                    due = time.monotonic() + self._again[tries]
                    heapq.heappush(self._waiting, (due, next(self._numbers), tries + 1, delivery))
                self._changed.notify_all()

    def _next(self) -> tuple[int, Delivery] | None:
        with self._changed:
            while not self._ended:
                wait = self._waiting[0][0] - time.monotonic() if self._waiting else None
                if wait is not None and wait <= 0:
                    _, _, tries, delivery = heapq.heappop(self._waiting)
                    self._busy = True
                    return tries, delivery
                self._changed.wait(wait)
            return None
