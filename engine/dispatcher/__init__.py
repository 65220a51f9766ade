"""Send a request; bring back a whole answer, or say what failed and whether the request may have arrived.

Hides: httpx, and everything a network can do. Nothing it does is raised; one deadline holds for everything together.
httpx and TLS take 50 ms to import, so they are when the first request is sent. httpx says what a URL means; its own
messages and connections cost more than all else that is done for an exchange.

    outcomes    what can come of it
    addresses   where a host is
    line        one connection
    pool        which connection
    outgoing    what is sent
    reading     one answer read
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from engine.dispatcher.addresses import Addresses, LookUp, system_look_up
from engine.dispatcher.outcomes import BEFORE_SENDING, HELD_BACK, IN_QUERY, Answer, Failure, Kind, Limits, Trouble
from engine.dispatcher.pool import Pool
from engine.request_types import Request

if TYPE_CHECKING:
    import ssl

    from engine.dispatcher.outgoing import Place
    from engine.dispatcher.reading import Reading

__all__ = ["BEFORE_SENDING", "HELD_BACK", "IN_QUERY", "Answer", "Dispatcher", "Failure", "Kind", "Sender"]

_UNKEPT = frozenset({"set-cookie"})  # headers of an answer


class Sender(Protocol):
    """What the engine needs of a dispatcher; a test or a sandbox can stand in for it."""

    def send(
        self, request: Request, *, credentials: Mapping[str, str], deadline: float, answer_limit: int | None = None
    ) -> Answer | Failure:
        """Send once. `deadline` is an instant of `time.monotonic()`; `answer_limit` counts bytes of the body.

        `credentials` are headers, and parameters of the query, whose names begin with IN_QUERY.
        """
        ...


class Dispatcher:
    """The Sender that really sends. Any number of threads; opens connections at first use, and again after a fork.

    Seconds: `connect` until a connection stands (look-up and TLS included), `write` and `read` without any progress,
    `pool` while `connections` requests to the same host are under way. `answer_limit`: bytes of a body. `ca_file`: the
    certificates to trust, instead of the public ones. `look_up`: how hosts are found.
    """

    def __init__(
        self,
        *,
        connect: float = 5.0,
        write: float = 10.0,
        read: float = 30.0,
        pool: float = 5.0,
        answer_limit: int = 1 << 20,
        connections: int = 64,
        ca_file: Path | None = None,
        look_up: LookUp = system_look_up,
    ) -> None:
        self._limits = Limits(connect, write, read)
        self._patience = pool
        self._answer_limit = answer_limit
        self._connections = connections
        self._ca_file = ca_file
        self._look_up = look_up
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._process = os.getpid()
        self._pools: dict[tuple[str, str, int], Pool] = {}
        self._addresses = Addresses(self._look_up)
        self._tls: ssl.SSLContext | None = None

    def send(
        self, request: Request, *, credentials: Mapping[str, str], deadline: float, answer_limit: int | None = None
    ) -> Answer | Failure:
        """As Sender says. `credentials` go nowhere but onto the wire."""
        from engine.dispatcher.outgoing import host_and_port, outgoing

        started, line, pool = time.monotonic(), None, None
        try:
            message = outgoing(request, credentials)
            pool = self._pool(message.place)
            line = pool.take(min(self._patience, deadline - started))
            reading = line.exchange(message, self._limits, deadline, answer_limit or self._answer_limit)
            return _answer(reading, started)
        except Trouble as trouble:
            kind, predicate = trouble.kind, str(trouble)
        except Exception as error:  # noqa: BLE001  # after the first byte even a bug here must not look like "not sent"
            kind, predicate = "unexpected", f"met with a mistake on this side ({type(error).__name__})"
        finally:
            if pool and line:
                pool.give(line)
        sent = line is not None and line.wrote
        known = "the request may have been carried out" if sent else "nothing was sent"
        return Failure(kind, sent, f"{host_and_port(request.url)} {predicate}; {known}", time.monotonic() - started)

    def _pool(self, place: Place) -> Pool:
        if self._process != os.getpid():
            # The connections are the parent's too, so only this copy is closed; its locks may be held for ever.
            inherited = self._pools
            self._start_afresh()
            for pool in inherited.values():
                pool.close()
        origin = (place.scheme, place.host, place.port)
        return self._pools.get(origin) or self._pools.setdefault(origin, self._new_pool(place.scheme))

    def _new_pool(self, scheme: str) -> Pool:
        from engine.dispatcher.line import Line

        if scheme == "http":
            return Pool(self._connections, lambda: Line(self._addresses, None))
        self._tls = tls = self._tls or _tls_context(self._ca_file)
        return Pool(self._connections, lambda: Line(self._addresses, tls))

    def close(self) -> None:
        """Close the idle connections. A later send opens new ones."""
        for pool in list(self._pools.values()):
            pool.close()


def _answer(reading: Reading, started: float) -> Answer:
    """The answer to a request that began at the instant `started`."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in reading.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        if name not in _UNKEPT:
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Answer(reading.status, headers, reading.body, time.monotonic() - started)


def _tls_context(ca_file: Path | None) -> ssl.SSLContext:
    """What all lines share, for it costs some 25 ms to make."""
    import ssl

    import certifi

    # Not ssl.create_default_context: it writes every connection's keys to the file that SSLKEYLOGFILE names.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca_file or certifi.where())
    context.set_alpn_protocols(["http/1.1"])
    return context
