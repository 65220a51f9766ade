"""The whole send by hand once more, with all that is demanded of whoever sends other people's money.

`by_hand` is the least that keeps a call. Here nothing is left out that a send of the engine does, error by error, and
nothing is done that this one call does not need: no files, no templates, no types but these, one connection. It goes
over the engine's own connection, and uses its checks of secrets, card numbers and JSON. What is between this and the
engine's send is what it costs that files say what is done.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from engine.answers import parse_json
from engine.calls import CALL
from engine.card_numbers import may_hold_card_number
from engine.catalog import load, shipped
from engine.dispatcher import Answer, Dispatcher
from engine.ids import new_id
from engine.records import Change, Record, RecordType
from engine.request_types import Request
from engine.seals import new_key
from engine.settings import Settings
from engine.store.memory import MemoryStore
from engine.store.sql import SqlStore
from engine.store.sqlite import driver

from .by_hand import opened, over_line, transaction
from .payment import DATA, NAME, SECRET, changes_by_hand, hold, request_by_hand

Row = dict[str, Any]

_LEASE = timedelta(seconds=60)
_PATIENCE = 25  # seconds until an answer has to be there
_PROOF = {"Authorization": f"Bearer {SECRET}"}

_INSERT_CALL = """
    INSERT INTO callsheet_call (id, gateway, account, live, properties, state, lease, operation, key, request_type)
    VALUES (:id, 'stripe', '', 0, :properties, :state, :lease, :operation, :key, :request_type)
    ON CONFLICT (key) DO NOTHING
"""
_MOVE_CALL = """
    UPDATE callsheet_call SET state = :state, lease = NULL, due = :due, properties = :properties
    WHERE id = :id AND state = 'sending' AND lease = :lease
"""
_FIND_PAYMENT = """
    SELECT callsheet_record.id, properties FROM callsheet_record_key JOIN callsheet_record
    ON callsheet_record.type = 'payment' AND callsheet_record.id = record_id WHERE text = ?
"""
_INSERT_PAYMENT = """
    INSERT INTO callsheet_record (type, id, gateway, account, live, properties)
    VALUES ('payment', ?, 'stripe', '', 0, ?)
"""
_UPDATE_PAYMENT = "UPDATE callsheet_record SET properties = ? WHERE type = 'payment' AND id = ?"
_INSERT_KEY = """
    INSERT INTO callsheet_record_key (text, type, name, record_id) VALUES (?, 'payment', 'gateway_id', ?)
"""
_INSERT_ENTRY = "INSERT INTO callsheet_record_index (type, name, value, record_id) VALUES ('payment', ?, ?, ?)"
_DELETE_ENTRY = """
    DELETE FROM callsheet_record_index WHERE type = 'payment' AND name = ? AND value = ? AND record_id = ?
"""

_LATER = ("attempts", "message", "answer", "changed")  # of a call: what is known at its end

log = logging.getLogger(__name__)


class Ledger:
    """Keeps calls and payments in the engine's own tables; many threads may use it, and other processes the file."""

    def __init__(self, file: Path, payment: RecordType) -> None:
        SqlStore(f"sqlite+pysqlite3:///{file}").reindex([payment])  # while there is none, so that the engine finds them
        self._payment, self._indexed = payment, sorted(payment.indexed)
        self._turn = threading.Lock()
        self._connection = opened(file, driver("pysqlite3"), check_same_thread=False, timeout=10)
        self._connection.execute("PRAGMA secure_delete = ON")

    def begin(self, call: Row) -> None:
        """Keep a call that is about to be sent. Raises RuntimeError where its operation is known."""
        row = {**call, "properties": _json(call)}
        with self._turn:  # a statement is a transaction of its own
            if self._connection.execute(_INSERT_CALL, row).rowcount != 1:
                raise RuntimeError(f"the operation {call['operation']} was begun before; it was not sent again")

    def leave_open(self, call: Row, facts: Row) -> None:
        """Keep what is known of a call that was perhaps carried out, for whoever comes back to it."""
        due = (datetime.now(UTC) + _LEASE).isoformat()
        with self._turn, transaction(self._connection) as execute:
            self._move(execute, call, {**facts, "state": "unknown", "due": due})

    def end(self, call: Row, facts: Row, changes: list[Row]) -> Row:
        """Keep what came of a call together with its payment, both or neither; returns the payment."""
        where = changes[0]["where"]
        changed = [{"type": "payment", "where": where}]
        key = _json(["payment", "gateway_id", "stripe", "", False, where["gateway_id"]])
        with self._turn, transaction(self._connection) as execute:
            found = execute(_FIND_PAYMENT, (key,)).fetchone()
            id, before = (found[0], json.loads(found[1])) if found else (new_id(), {})
            payment = self._applied(changes, before)
            if not found:
                execute(_INSERT_KEY, (key, id))
                execute(_INSERT_PAYMENT, (id, _json(payment)))
            elif payment != before:
                execute(_UPDATE_PAYMENT, (_json(payment), id))
            for name in self._indexed:
                was, now = before.get(name), payment.get(name)
                if was != now and was is not None:
                    execute(_DELETE_ENTRY, (name, was, id))
                if was != now and now is not None:
                    execute(_INSERT_ENTRY, (name, now, id))
            self._move(execute, call, {**facts, "state": "succeeded", "changed": changed})
        return {"id": id, **dict.fromkeys(self._payment.properties), **payment}

    def _applied(self, changes: list[Row], before: Row) -> Row:
        """The payment as the changes leave it, each checked."""
        payment = before
        for change in changes:
            if not payment or hold(change.get("when", {}), payment):
                given = {**payment, **change["where"], **change["set"]}
                created, payment = not payment, {name: value for name, value in given.items() if value is not None}
                if problems := self._payment.problems(payment, created=created):
                    raise ValueError(problems)
        return payment

    @staticmethod
    def _move(execute: Callable[..., Any], call: Row, facts: Row) -> None:
        kept = {name: value for name, value in {**call, **facts}.items() if name != "lease"}
        row = {"due": None, **kept, "lease": call["lease"], "properties": _json(kept)}
        if execute(_MOVE_CALL, row).rowcount != 1:
            raise RuntimeError(f"the call {call['id']} was taken over by another process")


def demanded_sending(origin: str, file: Path, dispatcher: Dispatcher) -> Callable[[], object]:
    """One whole send, over a connection of `dispatcher`."""
    catalog, settings, salt = load([shipped()]), Settings(None, {"STRIPE_SECRET_KEY": SECRET}), new_key()
    type, ledger, post = catalog.request_types[NAME], Ledger(file, catalog.record_types["payment"]), dispatcher.send
    version, url = type.gateway.version or "", f"{origin}/v1/charges"

    def send(data: Mapping[str, Any] = DATA, operation: str | None = None) -> Row:
        _demand_keepable(settings, data)
        if problems := type.schema.problems(data):
            raise ValueError(problems)
        id = new_id()
        key = hashlib.sha256(f"{salt}|stripe||test|{NAME}|{operation or id}".encode()).hexdigest()
        request = request_by_hand(data, url, version, id, key)
        call = _call(id, operation or id, key, data, request)
        ledger.begin(call)
        sent_at = datetime.now(UTC).isoformat()
        if call["lease"] <= sent_at:
            raise RuntimeError(f"the call {id} waited until its lease ended; it was not sent")
        answer = post(request, credentials=_PROOF, deadline=time.monotonic() + _PATIENCE)
        facts: Row = {"sent_at": sent_at, "attempts": [_attempt(answer, sent_at)]}
        log.info("%s %s attempt %s", NAME, id, facts["attempts"][-1])
        if not isinstance(answer, Answer):
            ledger.leave_open(call, facts)
            raise RuntimeError(f"the call {id} was perhaps carried out: {answer.message}")
        headers, body = _masked(settings, answer)
        facts |= {"message": f"answered {answer.status}"}
        facts |= {"answer": {"status": answer.status, "headers": headers, "seconds": answer.seconds, "body": body}}
        try:
            charge = parse_json(body.encode())
            if answer.status != 200 or not type.expected_body or type.expected_body.problems(charge):
                raise ValueError("it is no charge")
            payment = ledger.end(call, facts, changes_by_hand(data, charge))
        except ValueError as error:
            ledger.leave_open(call, facts)
            raise RuntimeError(f"the call {id} was answered {answer.status}, and {error}") from None
        assert payment["state"] == "paid"
        return payment

    return send


class Rows:
    """The rows of such a send by the bare driver: texts that were made before, in the same statements, and no more."""

    def __init__(self, origin: str, file: Path, dispatcher: Dispatcher) -> None:
        demanded_sending(origin, file, dispatcher)()
        self._connection = connection = opened(file, driver("pysqlite3"))
        connection.execute("PRAGMA secure_delete = ON")
        texts = (connection.execute(f"SELECT properties FROM callsheet_{table}") for table in ("call", "record"))
        self._ended, self._payment = (text.fetchone()[0] for text in texts)
        call, self._charge = json.loads(self._ended), json.loads(self._payment)["gateway_id"]
        begun = _json({name: value for name, value in call.items() if name not in _LATER})
        self._indexed = connection.execute("SELECT name, value FROM callsheet_record_index").fetchall()
        self._new = {"properties": begun, "state": "sending", "request_type": NAME}
        self._held = {"id": "", "lease": call["first_sent_at"]}

    def begin(self) -> None:
        """Commit the row of a call that is about to be sent."""
        id = new_id()
        key = hashlib.sha256(id.encode()).hexdigest()[:52]
        self._held = {**self._held, "id": id}
        self._connection.execute(_INSERT_CALL, {**self._new, **self._held, "operation": id, "key": key})

    def end(self) -> None:
        """Commit the end of the call that was begun last, with its payment."""
        record, other = new_id(), f"ch_{uuid4().hex[:24]}"
        with transaction(self._connection) as execute:
            text = f'["payment","gateway_id","stripe","",false,"{other}"]'
            assert execute(_FIND_PAYMENT, (text,)).fetchone() is None
            execute(_INSERT_KEY, (text, record))
            execute(_INSERT_PAYMENT, (record, self._payment))
            for name, value in self._indexed:
                execute(_INSERT_ENTRY, (name, other if value == self._charge else value, record))
            execute(_MOVE_CALL, {**self._held, "properties": self._ended, "state": "succeeded", "due": None})


def rows_alone(origin: str, rows: Rows) -> Callable[[], object]:
    """The exchange of such a send between its two commits."""
    post, request = over_line(), request_by_hand(DATA, f"{origin}/v1/charges", "2026-10-28")

    def keep() -> None:
        rows.begin()
        post(request)
        rows.end()

    return keep


class OverRows(MemoryStore):
    """A store in memory that has the `rows` of each send written, too: what any store takes that uses this driver."""

    def __init__(self, rows: Rows) -> None:
        super().__init__()
        self._rows = rows

    def apply(self, changes: Sequence[Change]) -> list[Record]:
        """As in memory, and durable rows of one call: its birth is one commit, its end with the payment another."""
        kept = super().apply(changes)
        if changes[-1].type is CALL:
            (self._rows.begin if changes[-1].verb == "insert" else self._rows.end)()
        return kept


def _demand_keepable(settings: Settings, data: Mapping[str, Any]) -> None:
    text = _json(data)
    if may_hold_card_number(text) or settings.redact(text) != text:
        raise ValueError("the data holds what must not be kept")


def _call(id: str, operation: str, key: str, data: Mapping[str, Any], request: Request) -> Row:
    now = datetime.now(UTC)
    return {
        "id": id,
        "request_type": NAME,
        "operation": operation,
        "key": key,
        "state": "sending",
        "depth": 0,
        "first_sent_at": now.isoformat(),
        "sent_at": now.isoformat(),
        "lease": (now + _LEASE).isoformat(),
        "data": data,
        "digest": hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest(),
        "request": {"method": "POST", "url": request.url, "headers": request.headers, "body": request.body.decode()},
        "attempts": [],
    }


def _attempt(answer: Any, sent_at: str) -> Row:
    line = {"at": sent_at, "ms": round(answer.seconds * 1000)}
    if not isinstance(answer, Answer):
        return {**line, "class": answer.kind, "phase": "sent" if answer.sent else "not_sent"}
    named = answer.headers.get("request-id")
    return {**line, "class": "ok", "phase": "answered", "status": answer.status, "request_id": named}


def _masked(settings: Settings, answer: Answer) -> tuple[Row, str]:
    """The headers and the body of an answer as they may be kept."""
    headers, body = dict(answer.headers), answer.body.decode("utf-8", "surrogateescape")
    whole = "\n".join([*headers.values(), body])
    if settings.redact(whole) == whole and not may_hold_card_number(whole):
        return headers, body
    return {name: settings.clean(value) for name, value in headers.items()}, settings.clean(body)


_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False).encode
