"""Where records are kept: two methods that any database can offer.

    store.apply(changes)    all of them or none; durable when it returns
    store.find(type, ...)   newest first

What `find` is asked for means the same everywhere: `engine.records.matches` says what fits, `demand_limit` how many.

Import what you need from its module: `engine.store.memory` for tests, `engine.store.sql` for SQLite and PostgreSQL.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from engine.errors import DataError, Problem
from engine.records import Change, Record

Order = Literal["id", "-id"]
Due = Mapping[str, Mapping[str, str | None]]
"""The types whose rows wait for a worker, the properties by which their time comes, and the state of all who have one.

None where rows of several states have it.
"""


class Store(Protocol):
    """What the engine asks of a database. `tests/store_contract.py` is the suite that any store must pass."""

    def apply(self, changes: Sequence[Change]) -> list[Record]:
        """Make all `changes` in order, or none of them.

        Returns the records touched (a deleted one as it last was), in the order of the changes; a change that is
        skipped returns nothing. A store finds and locks candidates, and `engine.records.outcomes` says what becomes of
        them: every condition is tested on the record itself, inside the write. Raises Conflict
        (a `must` that touched nothing, an update that waits for its record, a unique key taken by another record),
        DataError (a record would not be valid) and StoreError (the database cannot be reached).
        """
        ...

    def find(
        self,
        type: str,
        *,
        where: Mapping[str, Any] | None = None,
        order: Order = "-id",
        limit: int = 100,
        after: str | None = None,
    ) -> list[Record]:
        """Records of `type` that fit `where`, newest first (`order="id"`: oldest first).

        `where` names ids, scope fields and indexed properties: a value, a list (any of), or a range ({"lt": value},
        "lte", "gt", "gte"). `limit` is how many there are at most: none for 0, and `demand_limit` refuses what is no
        such number. `after` is the id of the last record of the page before. Raises DataError and StoreError.
        """
        ...


PAGE = 500  # records in hand at once, where all are gone through


def every(store: Store, type: str, where: Mapping[str, Any] | None = None, *, order: Order = "id") -> Iterator[Record]:
    """All records of `type` that fit `where`, however many, a page at a time. Raises as `Store.find` does."""
    page = store.find(type, where=where, order=order, limit=PAGE)
    yield from page
    while len(page) == PAGE:
        page = store.find(type, where=where, order=order, limit=PAGE, after=page[-1].id)
        yield from page


_MOST = 2**63 - 1  # what the databases can count to


def demand_limit(limit: int, subject: str = "the search") -> None:
    """Raise DataError where `limit` is no number of records that `subject` may be about."""
    if type(limit) is not int or not 0 <= limit <= _MOST:
        said = f"{limit!r} is no number of records; give a whole number, 0 or more, as how many there may be at most"
        raise DataError(subject, [Problem("/limit", said)], "begun")


@dataclass(frozen=True, slots=True)
class Durability:
    """How a database keeps what is committed: `said` in a few words; `weak`: what could lose it, each a sentence."""

    said: str
    weak: tuple[str, ...]
