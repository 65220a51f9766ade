"""PostgreSQL, 13 or newer: how a transaction ends well among many others.

Hides: which failures are worth another try, and how one learns what became of a commit whose answer was lost.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import reduce
from operator import add
from select import POLLIN, poll
from typing import Any, TypeVar

from sqlalchemy import (
    URL,
    ColumnElement,
    Connection,
    Delete,
    Insert,
    Integer,
    NullPool,
    Text,
    Update,
    cast,
    create_engine,
    event,
    func,
    literal_column,
    select,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable

from engine.errors import StoreError
from engine.store import Durability
from engine.store.births import Birth
from engine.store.indexes import Taken
from engine.store.statements import New, Question, Session, Sessions, Shape, Values

T = TypeVar("T")

_TRIES, _LOOKS = 5, 3
_CONNECT = {
    "application_name": "callsheet",
    "connect_timeout": 5,
    "keepalives_idle": 20,  # seconds; a server that vanished without a word is noticed within a minute
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
_PASSING = {"40001", "40P01"}  # serialization failure, deadlock
_CONNECTIONS = 30
_PATIENCE = 15  # seconds to learn what became of a commit while the server restarts

_SETTINGS = text(
    "SELECT set_config('statement_timeout', '15s', false), set_config('lock_timeout', '5s', false),"
    " set_config('idle_in_transaction_session_timeout', '30s', false),"
    " set_config('synchronous_commit', replace(current_setting('synchronous_commit'), 'off', 'on'), false)"
)
DURABLE = {
    "fsync": "a power cut can corrupt the whole database",
    "full_page_writes": "a power cut can corrupt the pages that were being written",
    "synchronous_commit": "a crash can undo commits",
}
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_NUMBER = "SELECT pg_current_xact_id_if_assigned()::text"
_AT_ONCE = 20  # statements in one
_SHOWN = select(*(func.current_setting(name) for name in ("server_version", *DURABLE)))
_STATUS = text("SELECT pg_xact_status(cast(:number AS xid8))")


class PostgresSession(Session):
    """Writes in as few statements as can be: each one costs a round trip, and more time than it takes the server."""

    __slots__ = ("_ears", "_number")

    def __init__(self, connection: Connection, made: Any) -> None:
        super().__init__(connection, made)
        self._number: str | None = None
        self._ears = poll()
        self._ears.register(self.driver.fileno(), POLLIN)

    def begin(self, text: str = _BEGIN) -> None:
        """As `Session.begin`."""
        super().begin(text)
        self._number = None

    def write(self, questions: Sequence[Question], guesses: Sequence[Question]) -> bool:
        """As `Session.write`."""
        parts, found = [*questions, *guesses], 0
        for start in range(0, len(parts), _AT_ONCE):
            some = parts[start : start + _AT_ONCE]
            marks: dict[int, str] = {}
            values: dict[str, Any] = {}
            for _, _, given in some:
                if id(given) not in marks:  # the rows of one record share their values
                    mark = marks[id(given)] = f"w{len(marks)}_"
                    values |= {mark + name: value for name, value in given.items()}
            shape = tuple((marks[id(given)], build, of) for build, of, given in some)
            certain = min(max(len(questions) - start, 0), len(some))
            ((self._number, count),) = self.run(_together, (certain, *shape), values)
            found += count
        return found == len(guesses)

    def insert(self, new: New, values: Values) -> bool:
        """As `Session.insert`."""
        ((count, self._number),) = self.run(*new.at_once, values)
        return bool(count)

    @property
    def is_at_work(self) -> bool:
        """As `Session.is_at_work`."""
        return bool(self.driver.pgconn.transaction_status)  # 0 is idle; a lost one is at work, and its rollback fails

    @property
    def is_lost(self) -> bool:
        """Whether the server has something to say to an idle connection, which is as good as its end."""
        return bool(self._ears.poll(0))

    def number(self) -> str | None:
        """The number of the transaction, by which one learns later what became of it; None where it wrote nothing."""
        if self._number is None and self.wrote:
            self._number = self.say(_NUMBER).fetchone()[0]
        return self._number

    def commit(self) -> Any:
        """As `Session.commit`. Raises StoreError where a failure was not heeded: the server then undoes all."""
        cursor = super().commit()
        if cursor.statusmessage != "COMMIT":
            raise StoreError("a statement had failed, so that nothing of the transaction was stored")
        return cursor


def _together(certain: int, *parts: tuple[str, Callable[..., Delete | Insert | Update], Shape]) -> Executable:
    """One statement for several that write: its transaction's number, and how many rows the uncertain ones wrote."""
    writing = [(build(*shape, mark), f"part_{place}") for place, (mark, build, shape) in enumerate(parts)]
    sure = [statement.cte(name) for statement, name in writing[:certain]]
    unsure = [statement.returning(literal_column("1").label("one")).cte(name) for statement, name in writing[certain:]]
    counts = [select(func.count()).select_from(rows).scalar_subquery() for rows in unsure]
    found: ColumnElement[int] = reduce(add, counts, literal_column("0", Integer))
    return select(cast(func.pg_current_xact_id(), Text), found).add_cte(*sure)


class PostgresDatabase:
    """A pool of connections, opened at first use."""

    def __init__(self, url: URL) -> None:
        try:
            self.engine = create_engine(
                url.set(drivername="postgresql+psycopg"),
                connect_args=_defaults(url),
                hide_parameters=True,
                isolation_level="AUTOCOMMIT",  # a read needs no transaction, which would cost two round trips
                poolclass=NullPool,
            )
        except ModuleNotFoundError:
            raise StoreError("PostgreSQL needs psycopg: pip install 'callsheet[postgres]'") from None
        event.listen(self.engine, "connect", _prepare)
        self._sessions = Sessions(PostgresSession, self.engine, kept=_CONNECTIONS, most=_CONNECTIONS)

    def close(self) -> None:
        """Close all connections."""
        self._sessions.close()

    def read(self, work: Callable[[Session], T]) -> T:
        """What `work` finds."""
        try:
            return self._read(work)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            self._sessions.clear()
            return self._read(work)  # the server was restarted since the connection was used last

    def connection_arguments(self) -> dict[str, Any]:
        """What psycopg connects with, for those who need connections of their own."""
        _, given = self.engine.dialect.create_connect_args(self.engine.url)
        return _defaults(self.engine.url) | {name: value for name, value in given.items() if name != "context"}

    def durability(self) -> Durability:
        """How commits are kept, as the server is set up now."""
        version, *values = self.read(lambda session: session.connection.execute(_SHOWN).one())
        settings = dict(zip(DURABLE, values, strict=True))
        weak = tuple(f"{name} is off, so {DURABLE[name]}" for name, value in settings.items() if value == "off")
        return Durability(", ".join([f"PostgreSQL {version}", *map(" ".join, settings.items())]), weak)

    def scrub(self) -> None:
        """Give the room of what was removed free, so that it is overwritten."""
        with self.engine.connect() as connection:
            connection.exec_driver_sql("SET statement_timeout = 0")
            for table in ("callsheet_call", "callsheet_event"):
                connection.exec_driver_sql(f"VACUUM {table}")

    def bear(self, birth: Birth) -> bool:
        """Write what is new, by one statement that is a transaction of its own; False where it is not new."""
        try:
            return self._bear(birth)
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
        self._sessions.clear()
        return self._learned(lambda: self._bear(birth) or self._read(birth.is_there))

    def _bear(self, birth: Birth) -> bool:
        while (session := self._sessions.take()).is_lost:
            self._sessions.drop(session)
        try:
            return birth.write(session)
        finally:
            self._sessions.give(session)

    def _read(self, work: Callable[[Session], T]) -> T:
        session = self._sessions.take()
        try:
            return work(session)
        finally:
            self._sessions.give(session)

    def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a transaction and commit it; again, where others were in the way or the connection was lost."""
        attempt = 1
        looks: Counter[str] = Counter()
        while True:
            try:
                return self._write(work)
            except Taken as taken:  # by another transaction that began before ours ended: now it can be seen
                looks[str(taken)] += 1  # of several that were to be made, fewer are left each time
                if looks[str(taken)] == _LOOKS:
                    raise
            except DBAPIError as error:
                if attempt == _TRIES or not _is_passing(error):
                    raise
                if error.connection_invalidated:
                    self._sessions.clear()
                time.sleep(random.uniform(0, 0.005 * 2**attempt))  # noqa: S311  # spreads the tries, guards nothing
                attempt += 1

    def _write(self, work: Callable[[Session], T]) -> T:
        session = self._sessions.take()
        try:
            session.begin()
            result = work(session)
            number = session.number()
            try:
                session.commit()
            except DBAPIError as error:
                if not error.connection_invalidated or number is None or not self._was_committed(number):
                    raise
            return result
        finally:
            self._sessions.give(session)

    def _was_committed(self, number: str) -> bool:
        """What became of the transaction `number`, whose commit was sent and never answered."""

        def asked() -> bool | None:
            status = self._read(lambda session: session.connection.scalar(_STATUS, {"number": number}))
            return {"committed": True, "aborted": False}.get(status)

        return self._learned(asked)

    def _learned(self, ask: Callable[[], bool | None]) -> bool:
        """What `ask` finds out after the connection was lost, once it finds anything. Raises StoreError in doubt."""
        end = time.monotonic() + _PATIENCE
        while True:
            try:
                found = ask()
            except DBAPIError:
                found = None
            if found is not None:
                return found
            if time.monotonic() > end:
                message = "the database was lost during a commit; whether it was stored is not known"
                raise StoreError(message, in_doubt=True)
            time.sleep(0.1)


def _is_passing(error: DBAPIError) -> bool:
    return error.connection_invalidated or getattr(error.orig, "sqlstate", None) in _PASSING


def _prepare(connection: Any, _: Any) -> None:
    connection.execute(_SETTINGS.text)
    connection.commit()


def _defaults(url: URL) -> dict[str, Any]:
    return {name: value for name, value in _CONNECT.items() if name not in url.query}
