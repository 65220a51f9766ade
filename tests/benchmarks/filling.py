"""Stores that hold very much: calls and payments that the database itself makes, for to send a million takes an hour.

Each call keeps what a payment keeps, and has its key and a record; nine of ten succeeded, one of ten was refused, and a
few are open. One call is really sent before, so the tables and what says that they are complete are there; its rows are
the pattern, in which the database writes a number and a state.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg

from engine import Engine
from engine.calls import CALL
from engine.dispatcher import Answer
from engine.store.indexes import entries, keys
from engine.store.tables import INDEX, KEY, shelf

from .payment import DATA, NAME, answer

RARE = 1000  # one call of so many is open

_NUMBER, _STATE = "@number@", "@state@"  # what the pattern has in their place
_ID = f"018bcfe5-6800-7000-8000-{_NUMBER}"  # a UUIDv7 of some time ago
_FILL = f"""
    WITH RECURSIVE place (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM place WHERE n + 1 < {{number}}),
    made AS (
        SELECT substr(CAST(1000000000000 + n AS TEXT), 2) AS number, CASE
            WHEN n % {RARE} = 0 THEN 'unknown' WHEN n % {RARE} = 1 THEN 'unmapped'
            WHEN n % 10 = 3 THEN 'declined' ELSE 'succeeded' END AS state
        FROM place
    )
    INSERT INTO {{table}} ({{columns}}) SELECT {{values}} FROM made
"""
_VALUE = f"replace(replace(CAST({{}} AS TEXT), '{_NUMBER}', number), '{_STATE}', state)"

Row = dict[str, Any]


class Answering:
    """In the place of a dispatcher: a gateway that takes no time."""

    def send(self, *_: Any, **__: Any) -> Answer:
        return Answer(200, {"content-type": "application/json"}, answer(), 0.12)


def fill_sqlite(file: Path, engine: Engine, number: int) -> None:
    """Write so many calls and payments into a file that no store has open."""
    patterns = list(_patterns(engine))
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("BEGIN")
        for table, row in patterns:
            connection.execute(_filling(table, row, number, "?"), list(row.values()))
        connection.execute("COMMIT")


def fill_postgres(url: str, engine: Engine, number: int) -> None:
    """Write so many calls and payments into a database."""
    patterns = list(_patterns(engine))
    with psycopg.connect(url, autocommit=True) as connection:
        for table, row in patterns:
            connection.execute(_filling(table, row, number, "%s").encode(), list(row.values()))
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def id_of(place: int) -> str:
    """The id of the call, and of the payment, that was made so many after the first."""
    return _ID.replace(_NUMBER, f"{place:012}")


def _filling(table: str, row: Row, number: int, mark: str) -> str:
    """The statement that writes a pattern so many times. It takes the pattern's values."""
    values = [_VALUE.format(mark) if isinstance(value, str) else mark for value in row.values()]
    return _FILL.replace("%", "%%" if mark == "%s" else "%").format(
        number=number, table=table, columns=", ".join(row), values=", ".join(values)
    )


def _patterns(engine: Engine) -> Iterator[tuple[str, Row]]:
    """The rows of one call and its payment, each with its table; entries of an index one by one, as it is sorted."""
    made = engine.send(NAME, DATA)
    engine.store.close()  # type: ignore[attr-defined]  # a store of the tables has it
    assert made.call is not None
    said = {"operation": f"order-{_NUMBER}", "key": _NUMBER.rjust(48, "0"), "state": _STATE, "message": f"is {_STATE}"}
    call = replace(made.call, id=_ID, properties={**made.call.properties, **said})
    named = {"gateway_id": f"ch_{_NUMBER}", "external_id": f"order-{_NUMBER}"}
    payment = replace(made.records[0], id=_ID, properties={**made.records[0].properties, **named})
    for type, record in ((CALL, call), (engine.catalog.record_types["payment"], payment)):
        place = shelf(type.name)
        yield place.table.name, place.row(record)
        for table, side in ((KEY, keys), (INDEX, entries)):
            for row in sorted(side(type, record)):
                yield table.name, dict(zip(table.c.keys(), row, strict=True))
