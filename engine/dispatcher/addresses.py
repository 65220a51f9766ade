"""Where a host is: its addresses, found in bounded time.

Hides that the system's look-up cannot be given a time-out: it runs in a thread of its own, which is left behind when it
takes too long.
"""

from __future__ import annotations

import ipaddress
import queue
import socket
import threading
import time
from collections.abc import Callable

LookUp = Callable[[str, int], list[str]]
"""(host, port) → numeric addresses, best first. Raises OSError where there are none."""


def system_look_up(host: str, port: int) -> list[str]:
    """What the system's resolver says."""
    return [str(info[4][0]) for info in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


class Addresses:
    """Looks hosts up, at most `at_once` at a time, those left behind included."""

    def __init__(self, look_up: LookUp, at_once: int = 16) -> None:
        self._look_up = look_up
        self._places = threading.Semaphore(at_once)

    def find(self, host: str, port: int, until: float) -> list[str]:
        """The addresses of `host`. Raises OSError; TimeoutError at the instant `until` of the monotonic clock."""
        if _is_numeric(host):
            return [host]
        found: queue.SimpleQueue[list[str] | Exception] = queue.SimpleQueue()
        if not self._places.acquire(timeout=max(0.0, until - time.monotonic())):
            raise TimeoutError
        try:
            # A daemon, because the interpreter waits at exit for every other kind of thread.
            threading.Thread(target=self._run, args=(host, port, found), name="callsheet-dns", daemon=True).start()
        except RuntimeError:
            self._places.release()
            raise
        try:
            result = found.get(timeout=max(0.0, until - time.monotonic()))
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(result, Exception):
            raise result
        return result

    def _run(self, host: str, port: int, found: queue.SimpleQueue[list[str] | Exception]) -> None:
        try:
            found.put(self._look_up(host, port))
        except Exception as error:  # noqa: BLE001  # raised again in the thread that waits for it
            found.put(error)
        finally:
            self._places.release()


def _is_numeric(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
