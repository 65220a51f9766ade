"""Events of 3.3 KB as a gateway delivers them: signed, each with an id of its own, over eight connections at once.

The requests are made before the time runs, and sent by bare sockets, so that the sender takes little of the processors
that the server needs. Nobody asks the gateway about an event of this type, in whatever library receives it.
"""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from random import choices
from statistics import quantiles
from string import ascii_letters, digits

from engine.catalog import load, shipped
from engine.signatures import SHIPPED, sign

from .payment import answer

SECRET = "whsec_benchmark0123456789abcdef"
CONNECTIONS = 8
_LETTERS = ascii_letters + digits
_NOTE = "The customer asked for another address; the second parcel leaves once the first is back. " * 10


@cache
def _version() -> str:
    return load([shipped()]).gateways["stripe"].version or ""


def event() -> bytes:
    """The body of a new event."""
    about = json.loads(answer())
    said = {
        "id": f"evt_1{''.join(choices(_LETTERS, k=23))}",
        "object": "event",
        "api_version": _version(),
        "created": int(time.time()),
        "data": {"object": {**about, "object": "source"}, "previous_attributes": {"metadata": {"note": _NOTE}}},
        "livemode": False,
        "pending_webhooks": 1,
        "request": {"id": "req_benchmark", "idempotency_key": "k" * 52},
        "type": "source.chargeable",
    }
    return json.dumps(said, indent=2).encode()


def _request(host: str, path: str) -> bytes:
    body = event()
    signed = sign(SHIPPED["stripe"], SECRET, body, time.time())
    lines = [f"{name}: {value}" for name, value in {"Content-Type": "application/json", **signed}.items()]
    head = "\r\n".join([f"POST {path} HTTP/1.1", f"Host: {host}", *lines, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body


class Deliveries:
    """Delivers batches to one address. `p50` and `p99` are of the batch before, in seconds."""

    def __init__(self, pool: ThreadPoolExecutor, port: int, path: str, number: int) -> None:
        self._pool, self._address, self._path, self._number = pool, ("127.0.0.1", port), path, number
        self.p50 = self.p99 = 0.0

    def run(self) -> float:
        """Deliver a batch; returns how many were answered 200 a second. Whatever else is answered ends the contest."""
        waiting = iter([_request(f"127.0.0.1:{self._address[1]}", self._path) for _ in range(self._number)])
        start = time.perf_counter()
        senders = [self._pool.submit(self._deliver, waiting) for _ in range(CONNECTIONS)]
        times = [taken for sender in senders for taken in sender.result()]
        rate = len(times) / (time.perf_counter() - start)
        hundredths = quantiles(times, n=100)
        self.p50, self.p99 = hundredths[49], hundredths[98]
        return rate

    def _deliver(self, waiting: Iterator[bytes]) -> list[float]:
        """One connection after the other, each for as long as the server keeps it."""
        times, connection = [], None
        try:
            for request in waiting:
                start = time.perf_counter()
                connection = connection or socket.create_connection(self._address)
                connection.sendall(request)
                if _closes(_answered(connection)):
                    connection.close()
                    connection = None
                times.append(time.perf_counter() - start)
        finally:
            if connection:
                connection.close()
        return times


def _answered(connection: socket.socket) -> bytes:
    """The head of an answer that was read to its end."""
    received = b""
    while True:
        piece = connection.recv(65536)
        assert piece, f"the server hung up: {received!r}"
        received += piece
        head, ended, body = received.partition(b"\r\n\r\n")
        if ended and len(body) >= int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]):
            assert head.split()[1] == b"200", received
            return head


def _closes(head: bytes) -> bool:
    return b"connection: close" in head.lower()
