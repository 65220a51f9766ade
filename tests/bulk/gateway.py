"""A bank that is fast, knows keys, and notes when it was called. It lives in a process of its own."""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from signal import SIGKILL
from typing import Any, cast
from urllib.request import urlopen

HOST = "127.0.0.1"


class Books:
    """What was done, by key, and when somebody called."""

    def __init__(self) -> None:
        self.arrivals: list[float] = []
        self.first: dict[str, float] = {}
        self.effects: dict[str, tuple[int, bytes]] = {}
        self.reused = 0

    def pay(self, key: str, body: bytes) -> bytes:
        """Take a payment, once for each key."""
        now = time.time()
        self.arrivals.append(now)
        if key not in self.effects:
            self.first[key] = now
            self.effects[key] = (json.loads(body)["amount"], body)
        elif self.effects[key][1] != body:
            self.reused += 1
        return json.dumps({"id": key, "amount": self.effects[key][0]}).encode()

    def told(self) -> dict[str, Any]:
        """All of it, for whoever counts."""
        amounts = [amount for amount, _ in self.effects.values()]
        return {"arrivals": self.arrivals, "first": self.first, "amounts": amounts, "reused": self.reused}


class Teller(asyncio.Protocol):
    """One connection: request after request, each answered as soon as its last byte is here."""

    def __init__(self, books: Books) -> None:
        self._books, self._received = books, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n") + 4) > 3:
            lines = self._received[: end - 4].decode("ascii").split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
            whole = end + int(headers.get("content-length", "0"))
            if len(self._received) < whole:
                return
            body, self._received = self._received[end:whole], self._received[whole:]
            self._transport.write(self._answer(lines[0].split()[1], headers.get("idempotency-key", ""), body))

    def _answer(self, target: str, key: str, body: bytes) -> bytes:
        if target == "/count":
            said = str(len(self._books.arrivals)).encode()
        else:
            said = json.dumps(self._books.told()).encode() if target == "/books" else self._books.pay(key, body)
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(said)}\r\n\r\n"
        return head.encode() + said


@contextmanager
def gateway() -> Iterator[str]:
    """The origin of a bank, which ends with the `with`."""
    told, tells = os.pipe()
    pid = os.fork()
    if not pid:
        ctypes.CDLL(None).prctl(1, SIGKILL)  # PR_SET_PDEATHSIG
        asyncio.run(_serve(tells))
        os._exit(0)
    os.close(tells)
    try:
        with os.fdopen(told) as answer:
            yield f"http://{HOST}:{int(answer.readline())}"
    finally:
        os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)


async def _serve(tells: int) -> None:
    books = Books()
    server = await asyncio.get_running_loop().create_server(lambda: Teller(books), HOST, 0)
    os.write(tells, b"%d\n" % server.sockets[0].getsockname()[1])
    await asyncio.Event().wait()


def asked(url: str) -> Any:
    """What the bank says at `url`."""
    with urlopen(url) as answer:
        return json.loads(answer.read())
