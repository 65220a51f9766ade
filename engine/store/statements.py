"""How a statement of SQLAlchemy's is run: its text is made once for a database, and given to the driver.

Hides: that SQLAlchemy takes several times as long to hand out a connection and to execute a statement as a database
takes to answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache, partial
from operator import itemgetter
from queue import Empty, SimpleQueue
from typing import Any, Generic, NamedTuple, TypeVar, cast

from sqlalchemy import ColumnElement, Connection, Dialect, Engine, Select, bindparam, false, null, true
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable

from engine.errors import StoreError

Build = Callable[..., Executable]
Shape = tuple[Any, ...]
Values = Mapping[str, Any]
Fetched = Sequence[Sequence[Any]]
Question = tuple[Build, Shape, Values]
"""What makes a statement, of what, and the values of its parameters. Building is dear: done once for every shape."""


Literals = tuple[tuple[str, bool | None], ...]


def literals(values: Values) -> Literals:
    """The nulls and truths among the values, to be a part of the shape.

    SQLite's driver looks in three places for how to adapt one, which takes as long as to bind ten texts.
    """
    return tuple([(name, value) for name, value in values.items() if value is None or value is True or value is False])


def literal_or_parameter(name: str, known: Literals, mark: str = "") -> ColumnElement[Any]:
    """What stands in a statement for the value `name`: itself where it is `known`, else a parameter."""
    given = dict(known)
    return _LITERALS[given[name]] if name in given else bindparam(mark + name)


_LITERALS: Mapping[bool | None, ColumnElement[Any]] = {None: null(), False: false(), True: true()}


class New(NamedTuple):
    """What inserts rows, or none where the first is not new: `steps` one by one, `at_once` all of them together."""

    steps: Sequence[tuple[Build, Shape]]
    at_once: tuple[Build, Shape]


class _Made(NamedTuple):
    """A statement's text, and what its driver is given of the values."""

    text: str
    given: Callable[[Values], Any]
    is_query: bool


def _made(dialect: Dialect, build: Build, shape: Shape) -> _Made:
    statement = build(*shape)
    compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]  # every statement has it, which SQLAlchemy's Executable does not say
    constants = {name: value for name, value in compiled.params.items() if value is not None}
    return _Made(str(compiled), _giving(compiled.positiontup, constants), isinstance(statement, Select))


def _giving(order: Sequence[str] | None, constants: Values) -> Callable[[Values], Any]:
    """What makes of values, and the `constants` of a statement, what a driver takes: in `order`, or else by name."""
    if order is None:
        return lambda values: {**constants, **values}
    if constants or len(order) < 2:
        return lambda values: [values[name] if name in values else constants[name] for name in order]
    return itemgetter(*order)


class Session:
    """One open connection. `wrote` says whether anything may have been written since the transaction began."""

    __slots__ = ("_connection", "_error", "_execute", "_lent", "_made", "driver", "wrote")

    def __init__(self, connection: Connection, made: Callable[[Build, Shape], _Made]) -> None:
        self._connection, self._lent = connection, False
        self.driver: Any = connection.connection.driver_connection
        # Of a connection itself, a driver makes another cursor for every statement.
        self._execute: Callable[..., Any] = cast(Any, self.driver).cursor().execute
        self._made, self._error = made, connection.dialect.loaded_dbapi.Error
        self.wrote = False

    @property
    def connection(self) -> Connection:
        """SQLAlchemy's connection, for those who bring statements of their own."""
        self._lent = True
        return self._connection

    @property
    def transaction(self) -> Connection:
        """The same, which knows of the open transaction, for those who write with it."""
        self.wrote = True
        if self.connection.get_transaction() is None:
            self._connection.begin()
        return self._connection

    def begin(self, text: str) -> None:
        """Begin a transaction. Raises SQLAlchemy's DBAPIError."""
        self.say(text)
        self.wrote = False

    def commit(self) -> Any:
        """Commit what was begun; returns the driver's cursor. Raises SQLAlchemy's DBAPIError."""
        cursor = self.say("COMMIT")
        if self._lent and self._connection.get_transaction() is not None:
            self._connection.commit()
        return cursor

    def run(self, build: Build, shape: Shape, values: Values) -> Fetched:
        """The rows that the statement brings; none where it is no query. Raises SQLAlchemy's DBAPIError."""
        text, given, is_query = self._made(build, shape)
        try:
            cursor = self._execute(text, given(values))
            if not is_query:
                self.wrote = True
                return ()
            rows: Fetched = cursor.fetchall()
            return rows
        except self._error as error:
            raise self._as_sqlalchemy(text, error) from error

    def insert(self, new: New, values: Values) -> bool:
        """Insert rows; False where the first is not new, and then nothing is written. Raises as `run` does."""
        (build, shape), *others = new.steps
        if not self.count(build, shape, values):
            return False
        for build, shape in others:
            self.run(build, shape, values)
        return True

    def count(self, build: Build, shape: Shape, values: Values) -> int:
        """How many rows the statement wrote. Raises as `run` does."""
        text, given, _ = self._made(build, shape)
        try:
            written: int = self._execute(text, given(values)).rowcount
        except self._error as error:
            raise self._as_sqlalchemy(text, error) from error
        return written

    def write(self, questions: Sequence[Question], guesses: Sequence[Question]) -> bool:
        """Run statements that write, each to rows of its own; False where one of the `guesses` found no row.

        What builds one takes a mark after its shape, with which the names of its parameters begin. Raises SQLAlchemy's
        DBAPIError.
        """
        for question in questions:
            self.run(*question)
        return all(self.count(*guess) for guess in guesses)

    def say(self, text: str) -> Any:
        """The driver's cursor after the statement `text`. Raises SQLAlchemy's DBAPIError."""
        try:
            return self._execute(text)
        except self._error as error:
            raise self._as_sqlalchemy(text, error) from error

    def _as_sqlalchemy(self, text: str, error: Exception) -> BaseException:
        lost = bool(getattr(self.driver, "closed", False))
        return DBAPIError.instance(text, None, error, self._error, hide_parameters=True, connection_invalidated=lost)

    def settle(self) -> None:
        """Undo what was begun and not committed, whether SQLAlchemy knows of it or not."""
        if self._lent and self._connection.get_transaction() is not None:
            self._connection.rollback()
        self._lent = False
        if self.is_at_work:
            self.driver.rollback()

    @property
    def is_at_work(self) -> bool:
        """Whether a transaction is open."""
        return bool(self.driver.in_transaction)

    def close(self) -> None:
        """Close the connection, whatever state it is in."""
        self._connection.invalidate()
        self._connection.close()


S = TypeVar("S", bound=Session)


def _room(most: int) -> SimpleQueue[None]:
    """What a semaphore is, without Python of its own: a place for each of so many."""
    room = SimpleQueue[None]()
    for _ in range(most):
        room.put(None)
    return room


class Sessions(Generic[S]):
    """The connections to one database: opened when there is work, and up to `kept` of them kept for more.

    Each is of the class `kind`. With `most`, there are never more than so many, and who finds none free waits for one,
    up to `patience` seconds.
    """

    def __init__(self, kind: type[S], engine: Engine, kept: int, most: int | None = None, patience: float = 10) -> None:
        self._engine, self._kept, self._kind, self._patience = engine, kept, kind, patience
        self._room = _room(most) if most else None
        self._made = lru_cache(maxsize=500)(partial(_made, engine.dialect))
        self._idle: list[S] = []
        self._closed = False

    def take(self) -> S:
        """A connection for the caller alone, until it is given back. Raises StoreError where none becomes free."""
        if self._room is not None:
            try:
                self._room.get(timeout=self._patience)
            except Empty:
                message = f"no connection to the database became free within {self._patience} seconds"
                raise StoreError(message) from None
        try:
            return self._idle.pop()
        except IndexError:
            pass
        try:
            return self._kind(self._engine.connect(), self._made)
        except BaseException:
            if self._room is not None:
                self._room.put(None)
            raise

    def give(self, session: S) -> None:
        """Give a connection back. What was begun on it and not committed is undone."""
        try:
            self._keep(session)
        finally:
            if self._room is not None:
                self._room.put(None)

    def drop(self, session: S) -> None:
        """Give a connection back that is of no use any more."""
        try:
            session.close()
        finally:
            if self._room is not None:
                self._room.put(None)

    def _keep(self, session: S) -> None:
        try:
            session.settle()
        except Exception:  # noqa: BLE001  # the connection is lost, which whoever worked with it has been told
            session.close()
            return
        if len(self._idle) >= self._kept:
            session.close()
            return
        self._idle.append(session)
        if self._closed:  # while somebody was at work
            self.clear()

    def clear(self) -> None:
        """Close every connection that waits for work."""
        try:  # `suppress` is gone already where a store is closed at the interpreter's end
            while True:
                self._idle.pop().close()
        except IndexError:  # another thread may have taken the last one
            pass

    def close(self) -> None:
        """Close all connections, those at work once it is done."""
        self._closed = True
        self.clear()
