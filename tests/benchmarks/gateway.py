"""A gateway on this machine that costs as little as one can: it answers every request with a new charge.

Run as a process of its own, so that it takes no time from whoever is measured: it prints its port, and ends when its
standard input does.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from typing import cast

from .payment import CHARGE_ID, answer

_NUMBERS = count(1)


class _Exchange(asyncio.Protocol):
    """One connection: request after request, each answered as soon as its last byte is here."""

    _body = answer()

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._received = b""

    def data_received(self, data: bytes) -> None:
        self._received += data
        while (end := self._received.find(b"\r\n\r\n") + 4) > 3:
            head = self._received[:end].lower()
            _, _, length = head.partition(b"content-length:")
            whole = end + (int(length.partition(b"\r\n")[0]) if length else 0)
            if len(self._received) < whole:
                return
            self._received = self._received[whole:]
            if self._seconds:
                asyncio.get_running_loop().call_later(self._seconds, self._transport.write, self._answer())
            else:
                self._transport.write(self._answer())

    def _answer(self) -> bytes:
        id = CHARGE_ID[:-8].encode() + b"%08x" % next(_NUMBERS)
        body = self._body.replace(CHARGE_ID.encode(), id)
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nRequest-Id: req_%s\r\nContent-Length: %d\r\n\r\n"
        return head % (id, len(body)) + body


async def _serve(seconds: float) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Exchange(seconds), "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


@contextmanager
def gateway(seconds: float = 0.0) -> Iterator[str]:
    """The origin of a running gateway, which takes `seconds` for an answer, and is ended afterwards."""
    command = [sys.executable, "-m", "tests.benchmarks.gateway", str(seconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        process.stdin.close()


if __name__ == "__main__":
    asyncio.run(_serve(float(sys.argv[1])))
