"""What a store does beside the bare driver doing the same: the durable write of one record, and finding it again.

The drivers keep the same JSON text in a table of their own, with an index on what is searched. The store also locks and
compares what is there, checks the schema, and keeps unique keys and indexes that files may declare at any time. What of
that is the database's is beside it: the same rows in the same tables, written by hand.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg

from engine.ids import new_id
from engine.records import Change, RecordType, Scope
from engine.store import Store
from engine.store.sql import SqlStore
from engine.store.sqlite import driver

from .by_hand import opened
from .contests import Contest, Contestant, Row
from .databases import synced_postgres

TEXT = {"type": "string"}
PROPERTIES = {"gateway_id": TEXT, "state": TEXT, "note": TEXT}
PAYMENT = RecordType("payment", PROPERTIES, unique=(("gateway_id",),), index=("state",))
NUMBER = 1000  # of records that are there before
GOALS = {"durable write": 1.4, "read by id": 2.5, "find by a property": 2.5}
TABLE = "CREATE TABLE kept (id TEXT PRIMARY KEY, gateway_id TEXT UNIQUE, state TEXT, text TEXT)"
INDEX = "CREATE INDEX kept_state ON kept (state, id)"
WRITE = "INSERT INTO kept VALUES ({0}, {0}, {0}, {0})"
READ = "SELECT text FROM kept WHERE id = {0}"
FIND = "SELECT text FROM kept WHERE state = {0} ORDER BY id DESC LIMIT 1"

_RECORD = """
    INSERT INTO callsheet_record (type, id, gateway, account, live, properties)
    VALUES ('by_hand', {0}, 'stripe', '', false, {0})
"""
_KEY = "INSERT INTO callsheet_record_key (text, type, name, record_id) VALUES ({0}, 'by_hand', 'gateway_id', {0})"
_ENTRIES = """
    INSERT INTO callsheet_record_index (type, name, value, record_id)
    VALUES ('by_hand', 'gateway_id', {0}, {0}), ('by_hand', 'state', {0}, {0})
"""
_STEPS = (("BEGIN", 0), (_KEY, 2), (_RECORD, 2), (_ENTRIES, 4), ("COMMIT", 0))  # and how many values each takes
_AT_ONCE = ((f"WITH key AS ({_KEY}), record AS ({_RECORD}) {_ENTRIES}", 8),)  # in one round trip
BY_HAND = "by hand, {}, durable write"
SQLITE = {"SQLite": "", "SQLite of `fast`": "pysqlite3"}  # and the driver: Python's own, and the one with a log

Execute = Callable[[str, tuple[str, ...]], list[Any]]


@contextmanager
def storing() -> Iterator[Contest]:
    """The contest on all databases; a PostgreSQL that syncs its commits runs for it."""
    with (
        TemporaryDirectory() as folder,
        synced_postgres() as url,
        psycopg.connect(url, autocommit=True) as bare,
    ):
        contestants = {
            **{
                name: run
                for kind in SQLITE
                for name, run in _on_sqlite(kind, Path(folder) / f"of-{SQLITE[kind]}").items()
            },
            **_ours("PostgreSQL", SqlStore(url)),
            BY_HAND.format("PostgreSQL"): _by_hand(_postgres(bare), _AT_ONCE),
            **_theirs("PostgreSQL", _postgres(bare)),
        }
        rows = []
        for database in (*SQLITE, "PostgreSQL"):
            compared = {work: (f"store, {database}, {work}", f"bare driver, {database}, {work}") for work in GOALS}
            rows += [Row(f"{work}, {database}", *names, GOALS[work]) for work, names in compared.items()]
            driver = compared["durable write"][1]
            rows.insert(-2, Row("the same rows in the same tables, by hand", BY_HAND.format(database), driver))
        yield Contest("storing", {name: Contestant(run, 40) for name, run in contestants.items()}, rows)


def _on_sqlite(database: str, folder: Path) -> dict[str, Callable[[], object]]:
    kind = SQLITE[database]
    scheme = f"sqlite+{kind}" if kind else "sqlite"
    store, by_hand = (SqlStore(f"{scheme}:///{folder}/{name}.sqlite3") for name in ("ours", "by-hand"))
    by_hand.upgrade()
    return {
        **_ours(database, store),
        BY_HAND.format(database): _by_hand(_sqlite(folder / "by-hand.sqlite3", kind), _STEPS),
        **_theirs(database, _sqlite(folder / "bare.sqlite3", kind)),
    }


def payments() -> Iterator[Change]:
    """One new payment after the other."""
    for number in count():
        name = f"ch_{number:06d}"
        yield Change("upsert", PAYMENT, Scope("stripe"), {"gateway_id": name}, {"state": name, "note": "x" * 200})


def _ours(database: str, store: Store) -> dict[str, Callable[[], object]]:
    new = payments()
    ids = [record.id for record in store.apply(list(islice(new, NUMBER)))]
    works: tuple[Callable[[], object], ...] = (
        lambda: store.apply([next(new)]),
        lambda: store.find("payment", where={"id": ids[500]}, limit=1)[0]["note"],
        lambda: store.find("payment", where={"state": "ch_000500"}, limit=1)[0]["note"],
    )
    return {f"store, {database}, {work}": run for work, run in zip(GOALS, works, strict=True)}


def _theirs(database: str, execute: Execute) -> dict[str, Callable[[], object]]:
    numbers = count()
    execute(TABLE, ())
    execute(INDEX, ())

    def write() -> None:
        name = f"ch_{next(numbers):06d}"
        text = json.dumps({"gateway_id": name, "state": name, "note": "x" * 200})
        execute(WRITE, (name, name, name, text))

    execute("BEGIN", ())
    for _ in range(NUMBER):
        write()
    execute("COMMIT", ())
    works: tuple[Callable[[], object], ...] = (
        write,
        lambda: json.loads(execute(READ, ("ch_000500",))[0][0])["note"],
        lambda: json.loads(execute(FIND, ("ch_000500",))[0][0])["note"],
    )
    return {f"bare driver, {database}, {work}": run for work, run in zip(GOALS, works, strict=True)}


def _by_hand(execute: Execute, writing: Iterable[tuple[str, int]]) -> Callable[[], object]:
    """The durable write of one record that is new, as its key's row says, in tables that are there."""
    numbers = count()

    def write() -> None:
        id, name = new_id(), f"ch_{next(numbers):06d}"
        key = json.dumps(["by_hand", "gateway_id", "stripe", "", False, name])
        text = json.dumps({"gateway_id": name, "state": name, "note": "x" * 200})
        values: tuple[str, ...] = (key, id, id, text, name, id, name, id)
        for statement, number in writing:
            execute(statement, values[:number])
            values = values[number:]

    return write


def _sqlite(path: Path, kind: str) -> Execute:
    connection = opened(path, driver(kind))
    return lambda text, values: list(connection.execute(text.format("?"), values))


def _postgres(connection: psycopg.Connection[Any]) -> Execute:
    def execute(text: str, values: tuple[str, ...]) -> list[Any]:
        cursor = connection.execute(text.format("%s").encode(), values or None)
        return cursor.fetchall() if cursor.description else []

    return execute
