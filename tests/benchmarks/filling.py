"""Stores that hold very much: calls and payments written straight into the tables, for to send a million takes an hour.

Each call keeps what a payment keeps, and has its key and a record; nine of ten succeeded, one of ten was refused, and a
few are open. One of each was really sent before, so the tables and what says that they are complete are there.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg

from engine import Engine
from engine.calls import CALL
from engine.dispatcher import Answer
from engine.records import Record, RecordType
from engine.settling import Result
from engine.store.indexes import entries, keys
from engine.store.tables import INDEX, KEY, shelf

from .payment import DATA, NAME, answer

BATCH = 5000
RARE = 1000  # one call of so many is open

Rows = list[dict[str, Any]]


class Answering:
    """In the place of a dispatcher: a gateway that takes no time."""

    def send(self, *_: Any, **__: Any) -> Answer:
        return Answer(200, {"content-type": "application/json"}, answer(), 0.12)


def fill_sqlite(file: Path, engine: Engine, number: int) -> None:
    """Write so many calls and payments into a file that no store has open."""
    with closing(sqlite3.connect(file, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = OFF")
        for tables in _batches(engine, number):
            connection.execute("BEGIN")
            for table, rows in tables.items():
                marks = ", ".join("?" * len(rows[0]))
                texts = f"INSERT INTO {table} ({', '.join(rows[0])}) VALUES ({marks})"
                connection.executemany(texts, [list(row.values()) for row in rows])
            connection.execute("COMMIT")


def fill_postgres(url: str, engine: Engine, number: int) -> None:
    """Write so many calls and payments into a database."""
    with psycopg.connect(url, autocommit=True) as connection:
        for tables in _batches(engine, number):
            for table, rows in tables.items():
                copying = f"COPY {table} ({', '.join(rows[0])}) FROM STDIN".encode()
                with connection.cursor() as cursor, cursor.copy(copying) as copy:
                    for row in rows:
                        copy.write_row(list(row.values()))
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def id_of(place: int) -> str:
    """A UUIDv7 of some time ago, later for a later place."""
    digits = f"{1_700_000_000_000 + place:012x}"
    return f"{digits[:8]}-{digits[8:]}-7000-8000-{place:012x}"


@dataclass(frozen=True)
class _Pattern:
    """What all calls and payments have, but for their names and states."""

    payment: RecordType
    call: Record
    record: Record

    @classmethod
    def of(cls, engine: Engine, made: Result) -> _Pattern:
        assert made.call is not None
        return cls(engine.catalog.record_types["payment"], made.call, made.records[0])

    def call_at(self, place: int) -> Record:
        state = (
            ("unknown", "unmapped")[place % 2] if place % RARE < 2 else "declined" if place % 10 == 3 else "succeeded"
        )
        named = {"operation": f"order-{place}", "key": f"{place:052}", "state": state, "message": f"answered, {state}"}
        return replace(self.call, id=id_of(place), properties={**self.call.properties, **named})

    def payment_at(self, place: int) -> Record:
        named = {"gateway_id": f"ch_{place}", "external_id": f"order-{place}"}
        return replace(self.record, id=id_of(place), properties={**self.record.properties, **named})


def _batches(engine: Engine, number: int) -> Iterator[dict[str, Rows]]:
    """By table, the rows of a few thousand calls and payments at a time."""
    pattern = _Pattern.of(engine, engine.send(NAME, DATA))
    engine.store.close()  # type: ignore[attr-defined]  # a store of the tables has it
    for begin in range(0, number, BATCH):
        places = range(begin, min(begin + BATCH, number))
        made = [(CALL, pattern.call_at(place)) for place in places]
        made += [(pattern.payment, pattern.payment_at(place)) for place in places]
        tables: dict[str, Rows] = {shelf(type.name).table.name: [] for type in (CALL, pattern.payment)}
        for type, record in made:
            tables[shelf(type.name).table.name].append(shelf(type.name).row(record))
        for table, side in ((KEY, keys), (INDEX, entries)):
            rows = sorted(row for type, record in made for row in side(type, record))
            tables[table.name] = [dict(zip(table.c.keys(), row, strict=True)) for row in rows]
        yield tables
