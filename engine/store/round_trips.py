"""Several statements in one round trip to PostgreSQL.

A statement costs more time on its way than in the server, and across a network many times more. So what need not wait
for an answer is sent together ("pipeline mode" of libpq), each statement prepared at its first use. Hides: how values
and rows look on the wire, and in what order answers come.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import count
from select import POLLIN, POLLOUT, poll
from typing import Any, NamedTuple

from psycopg import Connection, DataError, Error, OperationalError
from psycopg.errors import error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGresult

Statement = tuple[str, Mapping[str, Any]]
"""Its text, with `%(name)s` where a value stands, and the values."""

_Step = tuple[int, str, bytes | None]  # the number and text of a statement, and its name where it is prepared by this
_KEPT = 500  # prepared statements of a connection


class Answer(NamedTuple):
    """The rows that a statement brings, and what the server calls what it did, as `COMMIT`."""

    rows: list[tuple[Any, ...]]
    done: str


class Failed(Exception):
    """The statement `number` failed with `error`, and none after it was carried out. Nobody is told in these words."""

    def __init__(self, number: int, error: Error) -> None:
        super().__init__(number, error)
        self.number, self.error = number, error


class Wire:
    """The way to the server that belongs to one connection, which nobody else may use meanwhile."""

    def __init__(self, driver: Connection[Any]) -> None:
        self._libpq = driver.pgconn
        self._prepared: dict[str, bytes] = {}
        self._names = count()
        self._ears, self._both = poll(), poll()
        self._ears.register(self._libpq.socket, POLLIN)
        self._both.register(self._libpq.socket, POLLIN | POLLOUT)

    @property
    def has_word(self) -> bool:
        """Whether the server says something that it was not asked: to an idle connection it hardly says but its end."""
        return bool(self._ears.poll(0))

    def ask(self, statements: Sequence[Statement]) -> list[Answer]:
        """What the server answers to each, or all up to the one that it raises Failed for.

        Without a transaction around them they are one. A connection that is lost or interrupted is closed.
        """
        sent = [(number, text, *_on_the_wire(text, values)) for number, (text, values) in enumerate(statements)]
        whole = False
        try:
            self._libpq.enter_pipeline_mode()
            steps = [step for one in sent for step in self._send(*one)]
            self._libpq.pipeline_sync()
            results = self._results()
            self._libpq.exit_pipeline_mode()
            whole = True
        except OperationalError as error:
            raise Failed(0, error) from None
        finally:
            if not whole:
                self._libpq.finish()
        return self._answers(steps, results)

    def _send(self, number: int, text: str, query: bytes, values: list[bytes | None]) -> Iterator[_Step]:
        name = self._prepared.get(text)
        if name is None and len(self._prepared) < _KEPT:
            name = b"callsheet_%d" % next(self._names)
            self._libpq.send_prepare(name, query)
            yield number, text, name
        if name is None:
            self._libpq.send_query_params(query, values)
        else:
            self._libpq.send_query_prepared(name, values)
        yield number, text, None

    def _results(self) -> list[PGresult]:
        """Everything up to where all is answered that was sent, or the connection is lost."""
        libpq, results = self._libpq, list[PGresult]()
        while libpq.flush():  # there is more than the socket takes, and the server may wait for us to read
            self._both.poll()
            libpq.consume_input()
        while True:
            while libpq.is_busy():
                self._ears.poll()
                libpq.consume_input()
            result = libpq.get_result()
            if result is not None and result.status == ExecStatus.PIPELINE_SYNC:
                return results
            if result is not None:
                results.append(result)
            elif libpq.status == ConnStatus.BAD:
                raise _lost(results)

    def _answers(self, steps: list[_Step], results: list[PGresult]) -> list[Answer]:
        answers = []
        for (number, text, name), result in zip(steps, results, strict=True):
            if result.status not in _GOOD:
                raise Failed(number, error_from_result(result))
            if name is not None:
                self._prepared[text] = name
            else:
                answers.append(Answer(_rows(result), (result.command_status or b"").decode()))
        return answers


def _lost(results: Sequence[PGresult]) -> OperationalError:
    """What the server said last, before it closed the connection."""
    said = [error_from_result(result) for result in results if result.status == ExecStatus.FATAL_ERROR]
    first = next((error for error in said if isinstance(error, OperationalError)), None)
    return first or OperationalError("the server closed the connection")


_GOOD = {ExecStatus.COMMAND_OK, ExecStatus.TUPLES_OK}
_VALUE = re.compile(r"%\((\w+)\)s|%%")


@lru_cache(maxsize=2 * _KEPT)
def _query(text: str) -> tuple[bytes, tuple[str, ...]]:
    """The text as the server reads it, and whose values it takes, in order."""
    names: dict[str, int] = {}

    def place(match: re.Match[str]) -> str:
        return f"${names.setdefault(match[1], len(names) + 1)}" if match[1] else "%"

    return _VALUE.sub(place, text).encode(), tuple(names)


def _on_the_wire(text: str, values: Mapping[str, Any]) -> tuple[bytes, list[bytes | None]]:
    query, names = _query(text)
    return query, [_value(values[name]) for name in names]


def _value(value: str | bool | int | None) -> bytes | None:
    if value is None:
        return None
    text = value if isinstance(value, str) else str(value)
    if "\x00" in text:
        raise DataError("PostgreSQL keeps no text with a NUL in it")
    return text.encode()


_READERS: Mapping[int, Callable[[bytes], Any]] = {16: b"t".__eq__, 20: int, 21: int, 23: int}  # by the number of a type


def _rows(result: PGresult) -> list[tuple[Any, ...]]:
    value = result.get_value
    columns = [(place, _READERS.get(result.ftype(place), bytes.decode)) for place in range(result.nfields)]
    return [
        tuple(None if (found := value(row, place)) is None else read(found) for place, read in columns)
        for row in range(result.ntuples)
    ]
