"""A connection to PostgreSQL, which sends together what need not wait for an answer.

Hides: when a statement is sent that somebody wants run, and what its failure means to whom.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Delete, Insert, Select, Update, literal_column, select

from engine.errors import StoreError
from engine.store.round_trips import Answer, Failed, Statement, Wire
from engine.store.statements import Build, Fetched, New, Question, Session, Shape, Values

_Waiting = tuple[Statement, Callable[[], Exception] | None]  # and what to say where a row stands in its way
_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
_BEGINNING: _Waiting = ((_BEGIN, {}), None)
_NEW_NUMBER = "SELECT pg_current_xact_id()::text"
_NUMBER = "SELECT pg_current_xact_id_if_assigned()::text"
_AT_ONCE = 20  # statements in one


class PostgresSession(Session):
    """Sends together what need not wait for an answer.

    A transaction begins with the first look-up, and its writes go with the commit where its number is known by then.
    """

    __slots__ = ("_is_within", "_number", "_refusal", "_waiting", "_wire")

    def __init__(self, connection: Connection, made: Any) -> None:
        super().__init__(connection, made)
        self._wire = Wire(self.driver)
        self._number: str | None = None
        self._is_within = False  # a transaction
        self._waiting: list[_Waiting] = []
        self._refusal = connection.dialect.loaded_dbapi.IntegrityError

    @property
    def is_lost(self) -> bool:
        """Whether the server has something to say to an idle connection, which is as good as its end."""
        return self._wire.has_word

    def begin(self, _: str = "") -> None:
        """As `Session.begin`."""
        self._number, self.wrote, self._is_within = None, False, True
        self._waiting = [_BEGINNING]

    @property
    def transaction(self) -> Connection:
        """As `Session.transaction`."""
        self._sent()
        return super().transaction

    def run(self, build: Build, shape: Shape, values: Values) -> Fetched:
        """As `Session.run`."""
        statement, is_query = self._statement(build, shape, values)
        self.wrote = self.wrote or not is_query
        if self._number is not None or not self._is_within:
            return self._sent(statement)[0].rows
        found, number = self._sent(statement, (_NUMBER, {}))  # there is one as soon as a row is locked
        ((self._number,),) = number.rows
        return found.rows

    def look(self, questions: Sequence[Question]) -> Sequence[Fetched]:
        """As `Session.look`. The number of the transaction is asked for on the way."""
        if not questions:
            return []
        number, *answers = self._sent((_NEW_NUMBER, {}), *(self._statement(*question)[0] for question in questions))
        ((self._number,),) = number.rows
        return [answer.rows for answer in answers]

    def write(self, questions: Sequence[Question], refused: Callable[[], Exception]) -> None:
        """As `Session.write`."""
        for start in range(0, len(questions), _AT_ONCE):
            some = [(f"w{place}_", *one) for place, one in enumerate(questions[start : start + _AT_ONCE])]
            values = {mark + name: value for mark, _, _, given in some for name, value in given.items()}
            shape = tuple((mark, build, of) for mark, build, of, _ in some)
            self._waiting.append((self._statement(_together, shape, values)[0], refused))
        if self._number is None:
            ((self._number,),) = self._sent((_NEW_NUMBER, {}))[0].rows

    def insert(self, new: New, values: Values) -> bool:
        """As `Session.insert`."""
        ((count, self._number),) = self._sent(self._statement(*new.at_once, values)[0])[0].rows
        return bool(count)

    def number(self) -> str | None:
        """The number of the transaction, by which one learns later what became of it; None where it wrote nothing."""
        if self._number is None and self.wrote:
            ((self._number,),) = self._sent((_NUMBER, {}))[0].rows
        return self._number

    def commit(self) -> None:
        """As `Session.commit`. Raises StoreError where a failure was not heeded: the server then undoes all."""
        if self._waiting == [_BEGINNING]:
            self._waiting = []
        elif self._sent(("COMMIT", {}))[0].done != "COMMIT":
            raise StoreError("a statement had failed, so that nothing of the transaction was stored")
        self._end()

    def settle(self) -> None:
        """As `Session.settle`."""
        self._waiting, self._is_within = [], False
        super().settle()

    def _statement(self, build: Build, shape: Shape, values: Values) -> tuple[Statement, bool]:
        """What is sent, and whether it is a query."""
        text, constants, is_query = self._made(build, shape)
        return (text, {**constants, **values} if constants else values), is_query

    def _sent(self, *statements: Statement) -> list[Answer]:
        """What is answered to `statements`, after all that has waited for them."""
        waiting, self._waiting = self._waiting, []
        every = [*(statement for statement, _ in waiting), *statements]
        if not every:
            return []
        try:
            return self._wire.ask(every)[len(waiting) :]
        except Failed as failed:
            refused = waiting[failed.number][1] if failed.number < len(waiting) else None
            if isinstance(failed.error, self._refusal) and refused is not None:
                raise refused() from None
            raise self._as_sqlalchemy(every[failed.number][0], failed.error) from failed.error
        except self._error as error:
            raise self._as_sqlalchemy(every[0][0], error) from error


def _together(*parts: tuple[str, Callable[..., Delete | Insert | Update], Shape]) -> Select[Any]:
    """One statement for several that write."""
    return select(literal_column("1")).add_cte(
        *(build(*shape, mark).cte(f"{mark}part") for mark, build, shape in parts)
    )
