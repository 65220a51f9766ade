"""SQLite: a database in one file.

Hides: what it takes for a commit to survive a power cut, and how many threads and processes share one writer's place.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, create_engine, event
from sqlalchemy.exc import DBAPIError

from engine.errors import StoreError
from engine.store.group import Group, Job

T = TypeVar("T")

BUSY = 10  # seconds to wait for another process's write


def driver() -> ModuleType:
    """Python's own `sqlite3`, or pysqlite3 where that brings a newer SQLite along."""
    try:
        from pysqlite3 import dbapi2 as packaged
    except ImportError:
        return sqlite3
    return packaged if packaged.sqlite_version_info > sqlite3.sqlite_version_info else sqlite3


def durability(version: tuple[int, ...]) -> tuple[str, str]:
    """The journal mode and `synchronous` for a version of SQLite, both safe against a power cut.

    Below 3.51.3 a write-ahead log that several connections write to can corrupt the file, so the journal is rolled
    back instead; EXTRA syncs its folder too, without which the last commit can come undone.
    """
    return ("WAL", "FULL") if version >= (3, 51, 3) else ("DELETE", "EXTRA")


class SqliteDatabase:
    """One file, created with its folder at first use, readable by its owner only."""

    def __init__(self, url: URL) -> None:
        if not url.database or url.database == ":memory:":
            raise StoreError("SQLite needs a file here; MemoryStore keeps records in memory")
        try:
            path = Path(url.database)
            path.parent.mkdir(parents=True, exist_ok=True)
            if not path.exists():
                path.touch(mode=0o600)
        except OSError as error:
            raise StoreError(f"the store {url.database} cannot be opened: {error.strerror}") from None
        options = {"check_same_thread": False} | ({} if "timeout" in url.query else {"timeout": BUSY})
        self.engine = create_engine(
            url, module=driver(), connect_args=options, max_overflow=-1, hide_parameters=True, paramstyle="named"
        )
        event.listen(self.engine, "connect", _prepare)
        self._group = Group(self._transact)

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds."""
        with self.engine.connect() as connection:
            return work(connection)

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction, perhaps together with other threads' work, and commit it."""
        return self._group.run(work)

    def _transact(self, jobs: Sequence[Job]) -> None:
        with self.engine.connect() as connection:
            try:
                # a deferred one would fail at its first write, without waiting
                connection.exec_driver_sql("BEGIN IMMEDIATE")
            except DBAPIError as error:
                for job in jobs:
                    job.error = error
                return
            if len(jobs) == 1:
                jobs[0].run(connection)
                done = list(jobs)
            else:
                done = [job for job in jobs if _ran(job, connection)]
            connection.commit()
            for job in done:
                job.error = None


def _ran(job: Job, connection: Connection) -> bool:
    """Run one of several jobs; what it wrote is undone where it fails, and nothing else is."""
    connection.exec_driver_sql("SAVEPOINT job")
    try:
        job.run(connection)
    except Exception as error:  # noqa: BLE001  # whatever it is, the thread whose job it is gets it
        job.error = error
        connection.exec_driver_sql("ROLLBACK TO job")
        return False
    connection.exec_driver_sql("RELEASE job")
    return True


def _prepare(connection: Any, _: Any) -> None:
    journal, synchronous = durability(driver().sqlite_version_info)
    for name, value in (("journal_mode", journal), ("synchronous", synchronous), ("foreign_keys", "ON")):
        connection.execute(f"PRAGMA {name} = {value}").close()
