"""The whole send once more, by hand: what somebody would write who needs this one call, and loses none of it either.

The data is checked by the same compiled schema, the request sent, the call written down before it leaves, and what came
of it kept together with the payment. In a database these are the engine's own tables and the same rows of them, so that
what a send takes more than this is what it costs that files say what is done. It is sent by `httpx.Client`, as somebody
would; or over the engine's own connection, for the least that all of it takes.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol
from uuid import uuid4

import httpx

from engine.catalog import load, shipped
from engine.dispatcher import Answer, Dispatcher
from engine.records import RecordType
from engine.request_types import Request
from engine.schemas import Schema
from engine.store.sql import SqlStore
from engine.store.sqlite import driver, journal_for

from .payment import DATA, NAME, SECRET, changes_by_hand, request_by_hand

Row = dict[str, Any]

_INSERT_CALL = """
    INSERT INTO callsheet_call (id, gateway, account, live, properties, state, lease, operation, key, request_type)
    VALUES (:id, 'stripe', '', 0, :properties, :state, :lease, :id, :key, :name) ON CONFLICT (key) DO NOTHING
"""
_END_CALL = """
    UPDATE callsheet_call SET state = :state, lease = NULL, properties = :properties
    WHERE id = :id AND state = 'sending' AND lease = :lease
"""
_INSERT_PAYMENT = """
    INSERT INTO callsheet_record (type, id, gateway, account, live, properties)
    VALUES ('payment', ?, 'stripe', '', 0, ?)
"""
_INSERT_KEY = """
    INSERT INTO callsheet_record_key (text, type, name, record_id) VALUES (?, 'payment', 'gateway_id', ?)
    ON CONFLICT (text) DO NOTHING
"""
_INSERT_ENTRY = "INSERT INTO callsheet_record_index (type, name, value, record_id) VALUES ('payment', ?, ?, ?)"


class Keeper(Protocol):
    """Where calls and payments are kept."""

    def begin(self, call: Row) -> None:
        """Keep a call that is about to be sent."""
        ...

    def end(self, call: Row, payment: Row) -> None:
        """Keep what came of it, and its payment, both or neither."""
        ...


class Dicts:
    """Keeps them in memory."""

    def __init__(self) -> None:
        self._calls: dict[str, Row] = {}
        self._payments: dict[str, Row] = {}

    def begin(self, call: Row) -> None:
        """As Keeper.begin."""
        self._calls[call["id"]] = dict(call)

    def end(self, call: Row, payment: Row) -> None:
        """As Keeper.end."""
        self._calls[call["id"]] = dict(call)
        self._payments[payment["gateway_id"]] = dict(payment)


class Sqlite:
    """Keeps them in a file, each step a durable commit in the journal mode that the engine uses on this SQLite."""

    def __init__(self, file: Path, kind: str) -> None:
        url = f"sqlite+{kind}:///{file}" if kind else f"sqlite:///{file}"
        SqlStore(url).upgrade()
        self._indexed = sorted(load([shipped()]).record_types["payment"].indexed)
        self._connection = opened(file, driver(kind))

    def begin(self, call: Row) -> None:
        """As Keeper.begin."""
        with transaction(self._connection) as execute:
            assert execute(_INSERT_CALL, {**call, "name": NAME, "properties": _json(call)}).rowcount == 1

    def end(self, call: Row, payment: Row) -> None:
        """As Keeper.end."""
        id = str(uuid4())
        key = _json(["payment", "gateway_id", "stripe", "", False, payment["gateway_id"]])
        with transaction(self._connection) as execute:
            assert execute(_END_CALL, {**call, "properties": _json(call)}).rowcount == 1
            assert execute(_INSERT_KEY, (key, id)).rowcount == 1
            execute(_INSERT_PAYMENT, (id, _json(payment)))
            for name in self._indexed:
                if name in payment:
                    execute(_INSERT_ENTRY, (name, payment[name], id))


@contextmanager
def transaction(connection: Any) -> Iterator[Callable[..., Any]]:
    """What executes statements that are committed together, or not at all."""
    execute = connection.execute
    execute("BEGIN IMMEDIATE")
    try:
        yield execute
    except BaseException:
        execute("ROLLBACK")
        raise
    execute("COMMIT")


def opened(file: Path, module: ModuleType, **how: Any) -> Any:
    """A connection to the file that commits durably, in the journal mode that the engine uses on this SQLite."""
    connection = module.connect(file, isolation_level=None, **how)
    journal, synchronous = journal_for(module.sqlite_version_info)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    return connection


Post = Callable[[Request], tuple[int, Mapping[str, str], str]]
"""Sends a request with the secret: status, headers and body of the answer."""

_PROOF = {"Authorization": f"Bearer {SECRET}"}


def over_httpx(client: httpx.Client) -> Post:
    """As `httpx.Client` sends it."""

    def post(request: Request) -> tuple[int, Mapping[str, str], str]:
        response = client.post(request.url, content=request.body, headers={**dict(request.headers), **_PROOF})
        return response.status_code, response.headers, response.text

    return post


def over_line() -> Post:
    """As the engine's dispatcher sends it."""
    send = Dispatcher().send

    def post(request: Request) -> tuple[int, Mapping[str, str], str]:
        answer = send(request, credentials=_PROOF, deadline=time.monotonic() + 25)
        assert isinstance(answer, Answer)
        return answer.status, answer.headers, answer.body.decode()

    return post


def by_hand_sending(origin: str, post: Post, keeper: Keeper) -> Callable[[], object]:
    """One whole send."""
    catalog = load([shipped()])
    type, payment = catalog.request_types[NAME], catalog.record_types["payment"]
    version, url = type.gateway.version or "", f"{origin}/v1/charges"

    def send() -> Row:
        _demand_valid(type.schema, DATA)
        id, key = str(uuid4()), uuid4().hex
        request = request_by_hand(DATA, url, version, id, key)
        call = _call(id, key, request)
        keeper.begin(call)
        status, headers, body = post(request)
        assert status == 200
        paid = _payment(payment, json.loads(body))
        answer = {"status": status, "headers": dict(headers), "body": body}
        keeper.end({**call, "state": "succeeded", "answer": answer}, paid)
        assert paid["state"] == "paid"
        return paid

    return send


def _demand_valid(schema: Schema, data: Mapping[str, Any]) -> None:
    if problems := schema.problems(data):
        raise ValueError(problems)


def _call(id: str, key: str, request: Request) -> Row:
    now = datetime.now(UTC)
    return {
        "id": id,
        "key": key,
        "state": "sending",
        "sent_at": now.isoformat(),
        "lease": (now + timedelta(seconds=60)).isoformat(),
        "data": DATA,
        "digest": hashlib.sha256(json.dumps(DATA, sort_keys=True).encode()).hexdigest(),
        "request": {"url": request.url, "headers": request.headers, "body": request.body.decode()},
    }


def _payment(type: RecordType, charge: Mapping[str, Any]) -> Row:
    """The payment of a charge, checked."""
    given: Row = {}
    for change in changes_by_hand(DATA, charge):
        given |= change["where"] | change["set"]
    payment = {name: value for name, value in given.items() if value is not None}
    if problems := type.problems(payment, created=True):
        raise ValueError(problems)
    return payment


_json = json.JSONEncoder(separators=(",", ":")).encode
