"""The console's pages over a journal of many calls: what an operator waits for, from the request to the whole page.

Each call keeps what a payment keeps, and has its key and a record; nine of ten succeeded, one of ten was refused, and a
few are open. The rows are written straight into the tables, for to send a million calls takes an hour.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flask import Flask
from flask.testing import FlaskClient

from engine import Engine
from engine.calls import CALL
from engine.dispatcher import Answer
from engine.records import Record, RecordType
from engine.seals import new_key
from engine.store.indexes import entries, keys
from engine.store.sql import SqlStore
from engine.store.tables import INDEX, KEY, shelf
from engine.web import Callsheet

from .contests import Contest, Contestant, Row
from .payment import DATA, NAME, SECRET, answer

GOAL = 0.2  # seconds
BATCH = 5000
RARE = 1000  # one call of so many is open


@contextmanager
def paging(calls: int) -> Iterator[Contest]:
    """The contest, on SQLite with so many calls."""
    with TemporaryDirectory() as folder:
        client, pages = _console(Path(folder), calls)
        work = f"console with {calls:,} calls"
        rows = [Row(f"{work}: {name}", name, None, GOAL) for name in pages]
        yield Contest("paging", {name: Contestant(_asking(client, path), 3) for name, path in pages.items()}, rows)


def _asking(client: FlaskClient, path: str) -> Callable[[], object]:
    def ask() -> object:
        found = client.get(f"/callsheet/console{path}")
        assert found.status_code == 200, (path, found.status_code)
        return found.data

    return ask


class _Gateway:
    def send(self, *_: Any, **__: Any) -> Answer:
        return Answer(200, {"content-type": "application/json"}, answer(), 0.12)


def _console(folder: Path, number: int) -> tuple[FlaskClient, Mapping[str, str]]:
    """Somebody who is signed in, and the pages: what is in them → their address."""
    store = SqlStore(folder / "store.sqlite3")
    settings = {"STRIPE_SECRET_KEY": SECRET, "CALLSHEET_SECRET_KEY": new_key()}
    engine = Engine(folder, store=store, environment=settings, dispatcher=_Gateway())
    made = engine.send(NAME, DATA)
    assert made.call is not None
    store.close()
    with closing(sqlite3.connect(folder / "store.sqlite3", isolation_level=None)) as connection:
        _fill(connection, engine.catalog.record_types["payment"], made.call, made.records[0], number)
    app = Flask("benchmark", root_path=str(folder))
    Callsheet(app, engine=engine, worker=False, login=lambda: ("ann", "operate"))
    middle, rare = _id(number // 2), _id(RARE)
    return app.test_client(), {
        "the newest": "/calls",
        "a page in the middle": f"/calls?after={middle}",
        "of a state that nearly all have": f"/calls?state=succeeded&after={middle}",
        "of a state that few have": "/calls?state=unmapped",
        "of a type": f"/calls?type={NAME}&after={middle}",
        "of a type and a state": f"/calls?type={NAME}&state=declined",
        "of a type and a state that few have": f"/calls?type={NAME}&state=unknown",
        "a search that finds nothing": "/search?q=nothing-like-it",
        "one call": f"/calls/{rare}",
        "one payment": f"/records/payment/{_payment(made.records[0], number // 2).id}",
        "payments by a state that nearly all have": "/records/payment?by=state&value=paid",
        "the first page": "/",
        "the badge": "/badge",
        "the charts of the newest 5,000": "/charts",
    }


def _fill(connection: sqlite3.Connection, payment: RecordType, call: Record, record: Record, number: int) -> None:
    """Write the rows, a batch at a time."""
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("PRAGMA journal_mode = MEMORY")
    for begin in range(0, number, BATCH):
        places = range(begin, min(begin + BATCH, number))
        made = [_call(call, place) for place in places]
        paid = [_payment(record, place) for place in places]
        connection.execute("BEGIN")
        _insert(connection, shelf("call").table.name, [shelf("call").row(one) for one in made])
        _insert(connection, shelf("payment").table.name, [shelf("payment").row(one) for one in paid])
        for table, side in ((KEY, keys), (INDEX, entries)):
            rows = [row for type, ones in ((CALL, made), (payment, paid)) for one in ones for row in side(type, one)]
            _insert(connection, table.name, [dict(zip(table.c.keys(), row, strict=True)) for row in sorted(rows)])
        connection.execute("COMMIT")


def _insert(connection: sqlite3.Connection, table: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        columns = ", ".join(rows[0])
        marks = ", ".join("?" * len(rows[0]))
        connection.executemany(
            f"INSERT INTO {table} ({columns}) VALUES ({marks})", [list(row.values()) for row in rows]
        )


def _call(call: Record, place: int) -> Record:
    state = ("unknown", "unmapped")[place % 2] if place % RARE < 2 else "declined" if place % 10 == 3 else "succeeded"
    named = {"operation": f"order-{place}", "key": f"{place:052}", "state": state, "message": f"answered, {state}"}
    return replace(call, id=_id(place), properties={**call.properties, **named})


def _payment(record: Record, place: int) -> Record:
    named = {"gateway_id": f"ch_{place}", "external_id": f"order-{place}"}
    return replace(record, id=_id(place), properties={**record.properties, **named})


def _id(place: int) -> str:
    """A UUIDv7 of some time ago, later for a later place."""
    digits = f"{1_700_000_000_000 + place:012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-{place:012x}"
