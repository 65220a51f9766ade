"""A store in a database: SQLite or PostgreSQL.

Hides: when connections are opened, that a forked process must open its own, and what a database's complaints mean.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from weakref import WeakSet

from sqlalchemy import URL, Connection, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError

from engine.errors import Conflict, DataError, StoreError
from engine.records import Change, Record, RecordType
from engine.store import Durability, Order, demand_limit, migrations
from engine.store.births import Birth, birth_of
from engine.store.drafts import Place
from engine.store.indexes import Indexes, incomplete
from engine.store.postgres import PostgresDatabase
from engine.store.rows import Outdated, Work, seen_by
from engine.store.searches import page, through_index
from engine.store.sqlite import SqliteDatabase
from engine.store.statements import Session
from engine.store.tables import shelf

T = TypeVar("T")
Inside = Callable[[Connection, Sequence[Change], Sequence[Record]], None]
Concerns = Callable[[Sequence[Record]], bool]


class SqlStore:
    """Keeps the `Store` protocol in a database.

    `url` is the path of an SQLite file, `sqlite:///PATH`, `sqlite+pysqlite3:///PATH`, or `postgresql://…`.

    `inside` is called before each commit with the connection, the changes, and the records that they leave created or
    changed, to write to other tables of the same database. Where it raises, nothing is stored. It may be called again
    for the same changes, after a try that was undone. It may run on another thread than the one that waits in `apply`;
    it then runs in a copy of that thread's context.

    `concerns` says whether such records are anything to `inside`. Where they are not, it is not called, which saves a
    commit some steps.

    Nothing is opened before the first use, which also brings the tables up to date.
    """

    _demanding = False
    _database: SqliteDatabase | PostgresDatabase | None = None

    def __init__(self, url: str | Path, *, inside: Inside | None = None, concerns: Concerns | None = None) -> None:
        self._url, self._inside = _parsed(url), inside
        self._concerns = concerns or (lambda _: inside is not None)
        self._told = _Told(self._url)
        self.forget()
        _STORES.add(self)

    def apply(self, changes: Sequence[Change]) -> list[Record]:
        """As `Store.apply`."""
        if not changes:
            return []
        with self._told:
            database = self._opened()
            for change in changes:
                self._indexes.keep(database, change.type)
            birth = birth_of(changes)
            if birth is not None and not self._concerns([birth.record]):
                if database.bear(birth):
                    return [birth.record]
                if birth.or_nothing:
                    return []
                birth = None
            if seen := seen_by(changes):
                with suppress(Outdated, Conflict, DataError):  # nothing is refused before one has looked
                    return database.write(lambda session: self._work(session, changes, birth, seen))
            return database.write(lambda session: self._work(session, changes, birth, {}))

    def _work(
        self, session: Session, changes: Sequence[Change], birth: Birth | None, seen: Mapping[Place, Record]
    ) -> list[Record]:
        if birth is not None and birth.write(session):
            touched = written = [birth.record]
        elif birth is not None and birth.or_nothing:
            touched = written = []
        else:
            work = Work(session, self._indexes, seen)
            touched, written = work.make(changes), list(work.written.values())
        if self._inside is not None and self._concerns(written):
            self._inside(session.transaction, changes, written)
        return touched

    def find(
        self,
        type: str,
        *,
        where: Mapping[str, Any] | None = None,
        order: Order = "-id",
        limit: int = 100,
        after: str | None = None,
    ) -> list[Record]:
        """As `Store.find`."""
        demand_limit(limit)
        place, wanted = shelf(type), where or {}
        build, shape, values = page(type, wanted, order, limit, after)

        def rows(session: Session) -> list[Record]:
            self._indexes.demand(session, type, through_index(place, wanted))
            return [place.record(row) for row in session.run(build, shape, values)]

        with self._told:
            return self._opened().read(rows)

    def write(self, work: Callable[[Connection], T]) -> T:
        """What `work` returns, in a transaction of its own: for tables that hold no records. It may run again."""
        with self._told:
            return self._opened().write(lambda session: work(session.transaction))

    def durability(self) -> Durability:
        """How the database keeps what is committed."""
        with self._told:
            return self._opened().durability()

    def demand_durable(self) -> None:
        """Refuse all work from now on where the database could lose a commit: for live money."""
        self._demanding = True
        self.close()

    def connection_arguments(self) -> dict[str, Any]:
        """What psycopg connects to PostgreSQL with, for those who need connections of their own; nothing for SQLite."""
        with self._told:
            database = self._opened()
        return database.connection_arguments() if isinstance(database, PostgresDatabase) else {}

    @property
    def file(self) -> Path | None:
        """The file that an SQLite database is, None for a server."""
        return Path(self._url.database) if self._url.get_backend_name() == "sqlite" and self._url.database else None

    @property
    def secrets(self) -> tuple[str, ...]:
        """What of the URL must not be shown; not a plain word, as on a developer's machine: it stands in many texts."""
        given = (self._url.password, self._url.query.get("password"))
        return tuple(str(one) for one in given if one and not str(one).isalpha())

    def __str__(self) -> str:
        return str(self.file or _safe(self._url))

    def scrub(self) -> None:
        """Leave as little as the database can of what was removed from it."""
        with self._told:
            self._opened().scrub()

    def incomplete(self, types: Iterable[RecordType]) -> dict[str, list[str]]:
        """By record type, the indexes and unique keys that do not hold all records yet; `reindex` completes them."""
        with self._told:
            known = self._opened()
            found = {type.name: known.read(partial(incomplete, type)) for type in types}
        return {name: names for name, names in found.items() if names}

    def upgrade(self) -> None:
        """Bring the tables up to date, as the first use does. Raises StoreError where they are newer than this code."""
        with self._told:
            self._opened()

    def reindex(self, types: Iterable[RecordType]) -> None:
        """Complete every index and unique key that was declared after records existed.

        Raises Conflict where two records have the same unique key. Processes that began before must be restarted first:
        they do not fill an index that they do not know.
        """
        with self._told:
            for type in types:
                self._indexes.fill(self._opened(), type)

    def close(self) -> None:
        """Close all connections. The next use opens new ones."""
        if self._database is not None:
            self._database.close()
            self.forget()

    __del__ = close

    def forget(self) -> None:
        """Begin anew without a word to the database: what is open belongs to the process that was forked."""
        self._opening = threading.Lock()
        self._indexes = Indexes()
        self._database = None

    def _opened(self) -> SqliteDatabase | PostgresDatabase:
        if self._database is not None:
            return self._database
        with self._opening:
            if self._database is None:
                new = PostgresDatabase if self._url.get_backend_name() == "postgresql" else SqliteDatabase
                database = new(self._url)
                try:
                    if self._demanding and (weak := database.durability().weak):
                        raise StoreError(f"the store {self} is refused with CALLSHEET_MODE=live: {'; '.join(weak)}")
                    migrations.upgrade(database)
                except BaseException:
                    database.close()
                    raise
                self._database = database
            return self._database


class _Told:
    """A database's own errors may quote what was written, so only their first line is passed on."""

    def __init__(self, url: URL) -> None:
        self._url = url

    def __enter__(self) -> None:
        pass

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        if isinstance(error, SQLAlchemyError):
            origin = getattr(error, "orig", None)
            reason = str(origin or error).partition("\n")[0]
            in_doubt = getattr(origin, "sqlite_errorname", None) in _UNFLUSHED
            raise StoreError(f"the store {_safe(self._url)} did not work: {reason}", in_doubt=in_doubt) from None


# A flush failed: what was to be committed is undone here, and may be found whole after a power cut. pysqlite3 tells it
# from no other failure of the disk.
_UNFLUSHED = {"SQLITE_IOERR_FSYNC", "SQLITE_IOERR_DIR_FSYNC", "SQLITE_IOERR"}


def _parsed(url: str | Path) -> URL:
    if isinstance(url, Path) or "://" not in url:
        return URL.create("sqlite", database=str(url))
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StoreError("the store's URL cannot be read; it looks like postgresql://user:password@host/name") from None
    scheme = parsed.drivername
    known = _SCHEMES.get(scheme) or _SCHEMES.get(scheme.partition("+")[0])
    if known is None:
        raise StoreError(f"a store cannot be kept in {scheme}://; use {', '.join(f'{one}://' for one in _SCHEMES)}")
    return parsed.set(drivername=known)


_SCHEMES = {
    "sqlite": "sqlite",
    "sqlite+pysqlite3": "sqlite+pysqlite3",
    "postgresql": "postgresql",
    "postgres": "postgresql",
}


def _safe(url: URL) -> str:
    """The URL as it may be shown."""
    shown = {name: value for name, value in url.query.items() if name != "password"}
    return url.set(query=shown).render_as_string(hide_password=True)


_STORES: WeakSet[SqlStore] = WeakSet()


def _before_fork() -> None:
    """An open connection in two processes is the end of both, even if one of them only closes it."""
    for store in list(_STORES):
        store.close()


def _after_fork() -> None:
    for store in list(_STORES):
        store.forget()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork)
