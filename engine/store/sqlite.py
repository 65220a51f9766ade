"""SQLite: a database in one file.

Hides: what it takes for a commit to survive a power cut, and how many threads and processes share one writer's place.
"""

from __future__ import annotations

import random
import sqlite3
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from operator import methodcaller
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from sqlalchemy import URL, NullPool, create_engine, event
from sqlalchemy.exc import DBAPIError

from engine.errors import StoreError
from engine.store import Durability
from engine.store.births import TOGETHER, Birth, write_together
from engine.store.group import Group, Job, Newborn
from engine.store.mounts import network_file_system
from engine.store.statements import Session, Sessions

T = TypeVar("T")

_SYNCHRONOUS = ("OFF", "NORMAL", "FULL", "EXTRA")
BUSY = 10.0  # seconds to wait for another process's write
_LOOKS = (0.0005, 0.003)  # seconds between two looks whether it has ended
_POLITE = 1.0  # seconds for which those are minded who were met
_BEGIN = methodcaller("begin", "BEGIN IMMEDIATE")  # a deferred one would fail at its first write


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
        self._patience = _patience(url)
        try:
            self.file = Path(url.database)
            self.file.parent.mkdir(parents=True, exist_ok=True)
            if not self.file.exists():
                self.file.touch(mode=0o600)
        except OSError as error:
            raise StoreError(f"the store {url.database} cannot be opened: {error.strerror}") from None
        self._refused = 0.0  # when another process was last found writing
        module = driver(url.drivername.partition("+")[2])
        self._has_log = journal_for(module.sqlite_version_info)[0] == "WAL"
        self.engine = create_engine(
            url.set(drivername="sqlite").difference_update_query(["timeout"]),
            module=module,
            connect_args={"check_same_thread": False, "timeout": self._patience, "isolation_level": None},
            hide_parameters=True,
            poolclass=NullPool,
        )
        event.listen(self.engine, "connect", _prepare)
        self._sessions = Sessions(Session, self.engine, kept=5)
        self._group = Group(self._transact)

    def close(self) -> None:
        """Close all connections."""
        self._sessions.close()

    def read(self, work: Callable[[Session], T]) -> T:
        """What `work` finds. It may run again, where another process was in the way."""
        session = self._sessions.take()
        try:
            return work(session)
        except DBAPIError as error:
            if not _is_locked(error):
                raise
            return self._in_turn(partial(work, session))
        finally:
            self._sessions.give(session)

    def _in_turn(self, work: Callable[[], T]) -> T:
        """What `work` returns once no other process is in the way.

        SQLite itself would look again every 100 ms, and hardly ever in the moment in which the writer's place is free:
        under load some processes would not get it for many seconds.
        """
        end = time.monotonic() + self._patience
        while True:
            try:
                return work()
            except DBAPIError as error:
                if not _is_locked(error) or time.monotonic() > end:
                    raise
            time.sleep(random.uniform(*_LOOKS))  # noqa: S311  # spreads the looks, guards nothing

    def _begin(self, session: Session) -> None:
        """Begin a transaction that writes: of all processes, one at a time has one."""
        self._enter(session, _BEGIN)

    def _enter(self, session: Session, begin: Callable[[Session], None]) -> None:
        """Have `begin` take the writer's place."""
        if time.monotonic() - self._refused < _POLITE:
            time.sleep(_LOOKS[1])  # so that those who wait find the place free
        try:
            begin(session)
        except DBAPIError as error:
            if not _is_locked(error):
                raise
            self._refused = time.monotonic()
            self._in_turn(partial(begin, session))

    def durability(self) -> Durability:
        """How commits are kept, as the file is set up now."""
        asked = ("PRAGMA journal_mode", "PRAGMA synchronous", "SELECT sqlite_version()")
        journal, level, version = self.read(lambda session: [session.say(text).fetchone()[0] for text in asked])
        weak = []
        if journal not in {"wal", "delete", "truncate", "persist"}:
            weak.append(f"its journal is {journal}, so a crash can undo commits or leave half of one")
        synchronous = _SYNCHRONOUS[level]
        if synchronous not in {"FULL", "EXTRA"}:
            weak.append(f"synchronous is {synchronous}, so a power cut can undo commits")
        if kind := network_file_system(self.file):
            weak.append(f"it lies on {kind}, a network file system, where locks and flushes cannot be trusted")
        return Durability(f"SQLite {version}, journal {journal}, synchronous {synchronous}", tuple(weak))

    def scrub(self) -> None:
        """Leave nothing of what was removed in the journal beside the file; in the file it is overwritten at once."""
        self.read(lambda session: _scrub(session, round(self._patience * 1000)))

    def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a transaction, perhaps together with other threads' work, and commit it."""
        return self._group.run(Job(work))

    def bear(self, birth: Birth) -> bool:
        """Write what is new, perhaps together with other threads' work, and commit it; False where it is not new.

        Without a log it has a transaction: only that would wait at its commit and let no more readers in.
        """
        job = Newborn(birth) if self._has_log and birth.is_statement else Job(birth.write)
        return self._group.run(job)

    def _transact(self, jobs: Sequence[Job[Any]]) -> None:
        session = self._sessions.take()
        try:
            try:
                if newborn := _of_one_shape(jobs):
                    self._enter(session, partial(_bear, newborn))
                    return
                self._begin(session)
            except DBAPIError as error:
                if not _is_locked(error):
                    raise
                for job in jobs:
                    job.error = error
                return
            done = self._done(jobs, session)
            self._in_turn(session.commit)  # with a journal it waits for those who read
            for job in done:
                job.is_done = True
        finally:
            self._sessions.give(session)

    def _done(self, jobs: Sequence[Job[Any]], session: Session) -> list[Job[Any]]:
        """Run `jobs`; returns those that did not fail. Nearly always it is all of them, so that is tried first."""
        try:
            for job in jobs:
                job.run(session)
            return list(jobs)
        except Exception:  # whose it is, is found out below, where each job can be undone alone
            if len(jobs) == 1:
                raise
        session.settle()
        self._begin(session)
        return [job for job in jobs if _ran(job, session)]


def _patience(url: URL) -> float:
    """How long to wait for another process, in seconds."""
    given = url.query.get("timeout", BUSY)
    try:
        return float(str(given))
    except ValueError:
        raise StoreError(f"the store's URL has timeout={given}, which is no number of seconds") from None


def _is_locked(error: DBAPIError) -> bool:
    return "database is locked" in str(error.orig)


def _ran(job: Job[Any], session: Session) -> bool:
    """Run one of several jobs; what it wrote is undone where it fails, and nothing else is."""
    session.say("SAVEPOINT job")
    try:
        job.run(session)
    except Exception as error:  # noqa: BLE001  # whatever it is, the thread whose job it is gets it
        job.error = error
        session.say("ROLLBACK TO job")
        return False
    session.say("RELEASE job")
    return True


def _of_one_shape(jobs: Sequence[Job[Any]]) -> list[Newborn]:
    """`jobs` where one statement can write all of them, else none."""
    newborn = [job for job in jobs if isinstance(job, Newborn)]
    if not newborn or len(newborn) < len(jobs) or len(jobs) > TOGETHER:
        return []
    return newborn if len({job.birth.shape for job in newborn}) == 1 else []


def _bear(jobs: Sequence[Newborn], session: Session) -> None:
    for job, is_new in zip(jobs, write_together([job.birth for job in jobs], session), strict=True):
        job.result, job.is_done = is_new, True


def _scrub(session: Session, patience: int) -> None:
    session.say(f"PRAGMA busy_timeout = {patience}").fetchone()
    if session.say("PRAGMA journal_mode").fetchone()[0] == "wal":
        session.say("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    else:
        session.say("PRAGMA journal_size_limit = 0").fetchone()
        session.say("BEGIN IMMEDIATE")
        session.say("UPDATE callsheet_schema_version SET version_num = version_num")
        session.say("COMMIT")
        session.say("PRAGMA journal_size_limit = -1").fetchone()
    session.say("PRAGMA busy_timeout = 0").fetchone()


def _prepare(connection: Any, _: Any) -> None:
    version: str = connection.execute("SELECT sqlite_version()").fetchone()[0]
    journal, synchronous = journal_for(tuple(map(int, version.split("."))))
    _keep_journal(connection, journal)
    settings = {"synchronous": synchronous, "foreign_keys": "ON", "secure_delete": "ON", "busy_timeout": 0}
    for name, value in settings.items():
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
