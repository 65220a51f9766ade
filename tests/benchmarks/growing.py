"""What a call costs where there is much: many request types in a host's folder, many calls and records in its store.

A host with many files is a process of its own, as it would be, for what it holds in memory is a part of what they cost.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from postgres import Databases

from engine import Engine
from engine.store.sql import SqlStore

from .apart import apart
from .contests import Contest, Contestant, Row
from .databases import synced_postgres
from .filling import Answering, fill_postgres, fill_sqlite
from .gateway import gateway
from .payment import SECRET
from .sending import engine_sending, host_sending
from .starting import write_many

FEW_TYPES, FEW_STORED = 10, 1000
OF_TYPES, OF_STORED = 1.15, 1.5  # times the cost where there are few


@contextmanager
def growing(types: int, most_types: int, stored: int) -> Iterator[Contest]:
    """The contest: `types` and `most_types` beside FEW_TYPES, and `stored` calls beside FEW_STORED."""
    with gateway() as origin, TemporaryDirectory() as folder, synced_postgres() as url, ExitStack() as stack:
        contestants, rows = dict[str, Contestant](), list[Row]()
        for number in (FEW_TYPES, types, most_types):
            root = Path(folder, f"types-{number}")
            write_many(root, number)
            send = stack.enter_context(apart(host_sending, origin, root, "memory:"))
            contestants[f"{number:,} types"] = Contestant(send, 60)
        for number in (types, most_types):
            work = f"send, kept in memory, {number:,} more request types loaded"
            rows.append(Row(work, f"{number:,} types", f"{FEW_TYPES} types", OF_TYPES))
        databases = Databases(url)
        for number in (FEW_STORED, stored):
            file, at = Path(folder, f"stored-{number}.sqlite3"), databases.new()
            fill_sqlite(file, _engine(folder, SqlStore(file)), number)
            fill_postgres(at, _engine(folder, SqlStore(at)), number)
            for database, store in (("SQLite", f"sqlite+pysqlite3:///{file}"), ("PostgreSQL", at)):
                durable = engine_sending(origin, folder, SqlStore(store))
                contestants[f"{number:,} calls in {database}"] = Contestant(durable, 40)
        for database in ("SQLite", "PostgreSQL"):
            ours, peer = (f"{number:,} calls in {database}" for number in (stored, FEW_STORED))
            rows.append(Row(f"send, durable in {database}, {stored:,} calls and records kept", ours, peer, OF_STORED))
        yield Contest("growing", contestants, rows)


def _engine(folder: str, store: SqlStore) -> Engine:
    return Engine(folder, store=store, environment={"STRIPE_SECRET_KEY": SECRET}, dispatcher=Answering())
