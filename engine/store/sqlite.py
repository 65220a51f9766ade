"""SQLite: a database in one file.

Hides: what it takes for a commit to survive a power cut, and how many threads and processes share one writer's place.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from sqlalchemy import URL, Connection, QueuePool, create_engine, event
from sqlalchemy.exc import DBAPIError

from engine.errors import StoreError
from engine.store import Durability
from engine.store.group import Group, Job
from engine.store.mounts import network_file_system

T = TypeVar("T")

_SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")
BUSY = 10  # seconds to wait for another process's write


def driver(name: str) -> ModuleType:
    """Python's own `sqlite3`, or the `pysqlite3` that a URL asks for, which brings its own SQLite along.

    Never chosen by itself: a file that one process opens by two copies of SQLite is locked by neither against the other
    ("How To Corrupt An SQLite Database File", 2.2.1), and a host may open it too.
    """
    if name != "pysqlite3":
        return sqlite3
    try:
        return import_module("pysqlite3.dbapi2")
    except ImportError:
        raise StoreError("sqlite+pysqlite3:// needs pysqlite3: pip install 'callsheet[fast]'") from None


SAFE_LOG = (3, 51, 3)  # before it, a write-ahead log that several connections write to can corrupt the file


def journal_for(version: tuple[int, ...]) -> tuple[str, str]:
    """The journal mode and `synchronous` for a version of SQLite, both safe against a power cut.

    Where a write-ahead log is not to be trusted, changes are rolled back from a journal instead. Its head is
    overwritten at a commit and synced: there is no folder to sync as with DELETE.
    """
    return ("WAL" if version >= SAFE_LOG else "PERSIST"), "FULL"


class SqliteDatabase:
    """One file, created with its folder at first use, readable by its owner only."""

    def __init__(self, url: URL) -> None:
        if not url.database or url.database == ":memory:":
            raise StoreError("SQLite needs a file here; MemoryStore keeps records in memory")
        try:
            self.file = Path(url.database)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if not self.file.exists():
                self.file.touch(mode=0o600)
        except OSError as error:
            raise StoreError(f"the store {url.database} cannot be opened: {error.strerror}") from None
        options = {"check_same_thread": False} | ({} if "timeout" in url.query else {"timeout": BUSY})
        self.engine = create_engine(
            url.set(drivername="sqlite"),
            module=driver(url.drivername.partition("+")[2]),
            connect_args=options,
            hide_parameters=True,
            max_overflow=-1,
            poolclass=QueuePool,
            paramstyle="named",
        )
        event.listen(self.engine, "connect", _prepare)
        self._group = Group(self._transact)

    def read(self, work: Callable[[Connection], T]) -> T:
        """What `work` finds."""
        with self.engine.connect() as connection:
            return work(connection)

    def durability(self) -> Durability:
        """How commits are kept, as the file is set up now."""
        journal: str = self.read(lambda connection: connection.exec_driver_sql("PRAGMA journal_mode").scalar_one())
        level: int = self.read(lambda connection: connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
        weak = []
        if journal not in {"wal", "delete", "truncate", "persist"}:
            weak.append(f"its journal is {journal}, so a crash can undo commits or leave half of one")
        synchronous = _SYNCHRONOUS[level]
        if synchronous not in {"FULL", "EXTRA"}:
            weak.append(f"synchronous is {synchronous}, so a power cut can undo commits")
        if kind := network_file_system(self.file):
            weak.append(f"it lies on {kind}, a network file system, where locks and flushes cannot be trusted")
        version: str = self.read(lambda connection: connection.exec_driver_sql("SELECT sqlite_version()").scalar_one())
        return Durability(f"SQLite {version}, journal {journal}, synchronous {synchronous}", tuple(weak))

    def scrub(self) -> None:
        """Leave nothing of what was removed in the journal beside the file; in the file it is overwritten at once."""
        with self.engine.connect() as connection:
            if connection.exec_driver_sql("PRAGMA journal_mode").scalar_one() == "wal":
                connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
                return
            connection.exec_driver_sql("PRAGMA journal_size_limit = 0")
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            connection.exec_driver_sql("UPDATE callsheet_schema_version SET version_num = version_num")
            connection.commit()
            connection.exec_driver_sql("PRAGMA journal_size_limit = -1")

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
    version: str = connection.execute("SELECT sqlite_version()").fetchone()[0]
    journal, synchronous = journal_for(tuple(map(int, version.split("."))))
    _keep_journal(connection, journal)
    for name, value in {"synchronous": synchronous, "foreign_keys": "ON", "secure_delete": "ON"}.items():
        connection.execute(f"PRAGMA {name} = {value}").close()


def _keep_journal(connection: Any, mode: str) -> None:
    """Set the journal's mode. Where several begin a log at once, SQLite tells all but one that the file is locked."""
    end = time.monotonic() + BUSY
    while True:
        try:
            connection.execute(f"PRAGMA journal_mode = {mode}").close()
            break
        except Exception as error:
            if "locked" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.02)
