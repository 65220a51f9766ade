"""A host with three request types, and one case of the table carried out on it."""

from __future__ import annotations

import ast
import contextlib
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fault_server import Behaviour, FaultServer, tls_context
from hosts import Hours, OnlyHere, write

from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Dispatcher
from engine.dispatcher.addresses import LookUp
from engine.errors import CallError
from engine.records import Record
from engine.store import Store
from engine.store.memory import MemoryStore

from .places import GATEWAY, NAME, PORT, Certificates, Place, at_the_gateway, certificates
from .rows import CLOSES, KEYED, LOST, ONCE, READ, Row

DEADLINE = 0.5  # seconds
NO_RETRY = float("inf")  # seconds until the next attempt, which no deadline leaves

TYPES = {READ: "bank/read", KEYED: "bank/charge", ONCE: "bank/cash"}
DATA: Mapping[str, dict[str, Any]] = {READ: {"id": "ch_1"}, KEYED: {"amount": 500}, ONCE: {"amount": 500}}

ERRORS = {
    "succeeded": None,
    "declined": "RejectedError",
    "not_done": "TransportError",
    "unknown": "UnknownOutcome",
}

FILES = {
    "request_types/bank/_gateway.yml": """\
base_url: https://api.bank.test
auth: {bearer: BANK_KEY}
headers: {Content-Type: application/json}
request_limit: 4194304
idempotency:
  header: Idempotency-Key
  lasts: 24h
  mismatch: "{{ response.error.type == 'idempotency_error' }}"
retry: {header: X-Should-Retry}
error: "{{ response.error.message }}"
expect: {body: {type: object, required: [id], properties: {id: {type: string, pattern: "^ch_"}}}}
""",
    "request_types/bank/charge.yml": """\
summary: Take money.
method: POST
url: /charges
body: {amount: "{{ data.amount }}", note: "{{ data.note }}"}
data: {required: [amount], properties: {amount: {type: integer}, note: {type: string}}}
""",
    "request_types/bank/cash.yml": """\
summary: Take money at a till that knows no keys.
method: POST
url: /cash
idempotency: null
at_most_once: true
body: {amount: "{{ data.amount }}", note: "{{ data.note }}"}
data: {required: [amount], properties: {amount: {type: integer}, note: {type: string}}}
""",
    "request_types/bank/read.yml": """\
summary: Read a charge.
method: GET
url: /charges/{{ data.id }}
data: {required: [id], properties: {id: {type: string}}}
""",
    **{
        f"response_mappers/bank/{name}.json.j2": """\
{"upsert": "charge", "where": {"gateway_id": {{ response.id }}}, "set": {"amount": {{ response.amount }}}}
"""
        for name in ("charge", "cash", "read")
    },
    "response_mappers/records/charge.yml": """\
summary: A charge.
required: [gateway_id, amount]
unique: [gateway_id]
properties: {gateway_id: {type: string}, amount: {type: integer}}
""",
}


def engine_of(files: OnlyHere, dispatcher: Dispatcher, clock: Clock, store: Store | None = None) -> Engine:
    """An engine that really sends."""
    secrets = {"BANK_KEY": "test_4eC39HqLyjWDarjtT1zdp7dc"}
    return Engine(store=store or MemoryStore(), environment=secrets, dispatcher=dispatcher, clock=clock, files=files)


class Attempts(logging.Handler):
    """What the engine tells of every attempt; of one that only reads, nothing else is kept."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.told: list[Mapping[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Take note of an attempt."""
        _, is_one, line = record.getMessage().partition(" attempt {")
        if is_one:
            self.told.append(ast.literal_eval("{" + line))

    @contextlib.contextmanager
    def heard(self) -> Iterator[None]:
        """Listen to the engine."""
        log = logging.getLogger("engine")
        before = log.level
        log.setLevel(logging.INFO)
        log.addHandler(self)
        try:
            yield
        finally:
            log.removeHandler(self)
            log.setLevel(before)


@dataclass(frozen=True)
class Seen:
    """What can be known of a case afterwards.

    In the journal: `state`, None where nothing is kept. By the caller: `error`. Of the attempts: class and phase. At
    the gateway: how many requests arrived `whole`. And how many `records` there are.
    """

    state: str | None
    error: str | None
    attempts: tuple[tuple[str, str], ...]
    whole: int
    records: int


def expected(row: Row, type: str, *, later: bool) -> Seen:
    """What must be seen of a case, as its row says."""
    if later and type == ONCE:
        return Seen("unknown", "UnknownOutcome", (("closed", "sent"),), 1, 0)  # sent once, and never again
    state = row.outcome[later]
    attempts = [("closed", "sent")] * later + [(row.kind, row.phase)]
    kept = None if type == READ and not later else state
    return Seen(kept, ERRORS[state], tuple(attempts), later + row.arrives, state == "succeeded")


@dataclass
class Directory:
    """Where the gateway's name leads to."""

    leads_to: LookUp

    def find(self, host: str, port: int) -> list[str]:
        """As LookUp says."""
        return self.leads_to(host, port)


@dataclass
class Till:
    """An engine, and what it cannot know of the world around it."""

    engine: Engine
    server: FaultServer
    dispatcher: Dispatcher
    hours: Hours
    attempts: Attempts
    directory: Directory
    there: LookUp
    seconds: float = 0.0

    def prepare(self, behave: Behaviour) -> None:
        """From now on the gateway's name leads to where something happens, and the gateway does this."""
        self.server.behave(behave)
        self.directory.leads_to = self.there

    def first(self, row: Row, type: str) -> str | None:
        """Send a call for the first time, when what the row says happens; the error it ends in."""
        if row.warm:
            self._warm(row.warm)
        if row.size:
            self.server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that little is under way
        self.prepare(row.behave)
        with self._timed():
            return self.send(type, row.size)

    def later(self, row: Row, type: str) -> str | None:
        """Have a call that was left unknown taken up again, when what the row says happens; the error it ends in."""
        call = self._left_unknown(type, row.size)
        if row.warm:
            self._warm(row.warm)
        if row.size:
            self.server._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that little is under way
        self.prepare(row.behave)
        self.hours.pass_by(2)
        if type == ONCE:
            self.engine.recovery.come_back(call, "a person", "to see that it is not sent again")
        with self._timed():
            assert self.engine.run_row("call", call.id)
        return _error_of(lambda: self.engine.outcome(self.engine.find("call")[0]))

    def send(self, type: str, size: int = 0) -> str | None:
        """Send a call; the error it ends in."""
        data = DATA[type] | ({"note": "x" * size} if size else {})
        return _error_of(lambda: self.engine.send(TYPES[type], data))

    def seen(self, error: str | None) -> Seen:
        """What can be seen of the only call."""
        calls = self.engine.find("call")
        attempts = calls[0]["attempts"] if calls else self.attempts.told
        return Seen(
            calls[0]["state"] if calls else None,
            error,
            tuple((one["class"], one["phase"]) for one in attempts),
            len(self.server.requests),
            len(self.engine.find("charge", gateway_id="ch_1")),
        )

    def arrived(self, whole: int) -> None:
        """Leave the gateway the time to read what was sent; it may be slower than the caller."""
        until = time.monotonic() + 5
        while len(self.server.requests) < whole and time.monotonic() < until:
            time.sleep(0.005)

    def _warm(self, behave: Behaviour) -> None:
        """Leave a connection behind that has carried another request."""
        before = len(self.server.requests)
        self.server.behave(behave)
        self.engine.send(TYPES[READ], DATA[READ])
        del self.server.requests[before:]
        self.attempts.told.clear()
        if behave is CLOSES:
            ((line,),) = (pool._idle for pool in self.dispatcher._pools.values())
            assert line._poll.poll(5000), "the end of a connection arrives"

    def _left_unknown(self, type: str, size: int) -> Record:
        self.server.behave(LOST)
        if type == READ:
            self.engine.send_later(TYPES[type], DATA[type])  # only one that nobody waits for is written down
            self.engine.run_due()
        else:
            self.send(type, size)
        (call,) = self.engine.find("call")
        assert call["state"] == "unknown"
        return call

    @contextlib.contextmanager
    def _timed(self) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds = time.monotonic() - started


def _error_of(act: Callable[[], object]) -> str | None:
    try:
        act()
    except CallError as error:
        return type(error).__name__
    return None


@dataclass(frozen=True)
class Bank:
    """The host's files, read once, and the certificates of its world."""

    plain: OnlyHere
    secure: OnlyHere
    known: Certificates

    @classmethod
    def at(cls, folder: Path) -> Bank:
        """In `folder`."""
        root = write(folder, FILES)
        plain, secure = (OnlyHere(root, {"bank": f"{scheme}://{NAME}:{PORT}"}) for scheme in ("http", "https"))
        return cls(plain, secure, certificates(folder))

    @contextlib.contextmanager
    def till(
        self, place: Place = at_the_gateway, *, secure: bool = False, store: Store | None = None, **clock: Any
    ) -> Iterator[Till]:
        """An engine of its own; it finds the gateway, and once it is prepared, what is at `place`."""
        hours, attempts = Hours(), Attempts()
        server = FaultServer(tls_context(self.known.good) if secure else None, address=(GATEWAY, PORT))
        directory = Directory(lambda host, port: [GATEWAY])
        dispatcher = Dispatcher(look_up=directory.find, ca_file=self.known.trusted)
        time_of = Clock(now=lambda: hours.now, sleep=hours.slept.append, **clock)
        engine = engine_of(self.secure if secure else self.plain, dispatcher, time_of, store)
        with server, attempts.heard(), place(self.known) as there, contextlib.closing(dispatcher):
            yield Till(engine, server, dispatcher, hours, attempts, directory, there)

    def case(self, row: Row, type: str, *, later: bool, store: Store | None = None) -> tuple[Seen, float]:
        """Carry a case out: what was seen of it, and the seconds that the send took."""
        wanted = expected(row, type, later=later)
        with self.till(row.place, secure=row.secure, store=store, pause=lambda _: NO_RETRY, patience=DEADLINE) as till:
            error = (till.later if later else till.first)(row, type)
            till.arrived(wanted.whole)
        assert len({(one.target, one.lines, one.body) for one in till.server.requests}) <= 1
        return till.seen(error), till.seconds
