"""Where the gateway is, and the places that its name leads to when something is wrong.

All of them share one port, so that a call keeps its URL whatever becomes of the gateway. They are loopback addresses of
their own, which no other test listens on.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from fault_server import Behaviour, FaultServer, Peer, certificate, full_backlog, message, tls_context

from engine.dispatcher.addresses import LookUp

NAME = "localhost"
NET = f"127.77.{os.getpid() % 256}"  # two processes do not meet
GATEWAY, NOBODY, FULL, IMPOSTOR, ELSEWHERE = (f"{NET}.{number}" for number in range(1, 6))


def _free_port() -> int:
    with socket.create_server((GATEWAY, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


PORT = _free_port()

Place = Callable[["Certificates"], AbstractContextManager[LookUp]]


@dataclass(frozen=True)
class Certificates:
    """Certificates for NAME, and what a client trusts: all but `unknown`."""

    good: Path
    expired: Path
    of_another: Path
    unknown: Path
    trusted: Path


def certificates(folder: Path) -> Certificates:
    """Made in `folder`."""
    good, expired, of_another = (
        certificate(folder, host, days) for host, days in ((NAME, 1), (NAME, -1), ("api.test", 1))
    )
    trusted = folder / "trusted.pem"
    trusted.write_bytes(b"".join(one.read_bytes() for one in (good, expired, of_another)))
    return Certificates(good, expired, of_another, certificate(folder, NAME, 2), trusted)


def _at(*addresses: str) -> LookUp:
    return lambda host, port: list(addresses)


@contextlib.contextmanager
def at_the_gateway(_: Certificates) -> Iterator[LookUp]:
    """Where it should be."""
    yield _at(GATEWAY)


@contextlib.contextmanager
def with_another_host(_: Certificates) -> Iterator[LookUp]:
    """Where it should be; and nobody may call the host at ELSEWHERE, to which an answer points."""
    with FaultServer(address=(ELSEWHERE, PORT)) as other:
        yield _at(GATEWAY)
        assert other.connections == 0


@contextlib.contextmanager
def where_nobody_listens(_: Certificates) -> Iterator[LookUp]:
    """The connection is refused."""
    yield _at(NOBODY)


@contextlib.contextmanager
def where_nobody_accepts(_: Certificates) -> Iterator[LookUp]:
    """The connection is neither accepted nor refused."""
    with full_backlog((FULL, PORT)):
        yield _at(FULL)


@contextlib.contextmanager
def without_a_name(_: Certificates) -> Iterator[LookUp]:
    """The name does not exist."""

    def look_up(host: str, port: int) -> list[str]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    yield look_up


@contextlib.contextmanager
def while_the_name_is_looked_for(_: Certificates) -> Iterator[LookUp]:
    """The look-up does not end."""
    over = threading.Event()

    def look_up(host: str, port: int) -> list[str]:
        over.wait(30)
        return [GATEWAY]

    yield look_up
    over.set()


def at_an_impostor(context: Callable[[Certificates], ssl.SSLContext | None], does: Behaviour) -> Place:
    """Somebody who does not prove to be the gateway, and who therefore sees no request."""

    @contextlib.contextmanager
    def place(known: Certificates) -> Iterator[LookUp]:
        with FaultServer(context(known), address=(IMPOSTOR, PORT)) as impostor:
            impostor.behave(does)
            yield _at(IMPOSTOR)
        assert impostor.requests == []

    return place


def _reads(peer: Peer) -> None:
    peer.read()


def _speaks_plainly(peer: Peer) -> None:
    if peer.send(message(400, b"this is plain HTTP")):
        peer.close()


at_one_who_signs_himself = at_an_impostor(lambda known: tls_context(known.unknown), _reads)
at_one_whose_time_is_over = at_an_impostor(lambda known: tls_context(known.expired), _reads)
at_one_of_another_name = at_an_impostor(lambda known: tls_context(known.of_another), _reads)
at_one_without_tls = at_an_impostor(lambda _: None, _speaks_plainly)
at_one_who_does_not_answer = at_an_impostor(lambda _: None, Peer.wait)
