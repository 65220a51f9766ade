"""Make changes on one connection, inside its transaction.

Hides: how records are found and locked before they change, and what is written beside a record so that it can be found
again. Every condition is tested on the locked record itself; indexes only find candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Update, bindparam, update
from sqlalchemy.exc import IntegrityError

from engine.records import Change, Record
from engine.store.drafts import Draft, Write
from engine.store.indexes import Indexes, Taken, entries, exchange, keys
from engine.store.searches import by_id, by_key, claim, through_index
from engine.store.statements import run
from engine.store.tables import INDEX, KEY, shelf


class Work:
    """One transaction's changes, the records it holds locked, and by type and id those that it leaves `written`."""

    def __init__(self, connection: Connection, indexes: Indexes) -> None:
        self._connection, self._indexes = connection, indexes
        self._draft = Draft()
        self.written: dict[tuple[str, str], Record] = {}

    def make(self, changes: Sequence[Change]) -> list[Record]:
        """Make all `changes` in order; returns the records touched. Where it raises, the transaction must be undone."""
        self._hold(changes)
        touched = [record for change in changes for record in self._draft.make(change, self._candidates(change))]
        self._write(self._draft.writes())
        return touched

    def _hold(self, changes: Sequence[Change]) -> None:
        """Lock every record that is named, type by type, so that two transactions hardly ever wait for each other."""
        for type in sorted({change.type.name for change in changes}):
            place, named = shelf(type), [change.lookup for change in changes if change.type.name == type]
            if ids := {lookup.id for lookup in named if lookup.id is not None}:
                for row in run(self._connection, *by_id(type, ids)):
                    self._draft.hold(place.record(row))
            if texts := {text for lookup in named for text in lookup.keys}:
                for row in run(self._connection, *by_key(type, texts)):
                    self._draft.hold(place.record(row), [row[-1]])

    def _candidates(self, change: Change) -> list[Record]:
        if not change.searches:
            return self._draft.meant(change)
        self._write(self._draft.writes())  # for the database is to search among them
        type, place = change.type.name, shelf(change.type.name)
        self._indexes.demand(self._connection, type, through_index(place, change.where))
        return [place.record(row) for row in run(self._connection, *claim(type, change.where, change.limit))]

    def _write(self, writes: Sequence[Write]) -> None:
        """Keys first: of two who create one record, the second waits here and then finds the first's."""
        pairs = [(write, keys(write.type, write.old), keys(write.type, write.new)) for write in writes]
        for _, old, new in pairs:
            exchange(self._connection, KEY, old - new, set())
        for write, old, new in pairs:
            try:
                exchange(self._connection, KEY, set(), new - old)
                self._write_row(write)
            except IntegrityError:
                raise Taken(f"{write}: its id or one of its unique keys belongs to another record") from None
            exchange(self._connection, INDEX, entries(write.type, write.old), entries(write.type, write.new))

    def _write_row(self, write: Write) -> None:
        place, old, new = shelf(write.type.name), write.old, write.new
        if new is None and old is not None:
            run(self._connection, place.delete, {"this_id": old.id})
            self.written.pop((old.type, old.id), None)
        elif new is not None and old is None:
            run(self._connection, place.insert, place.row(new))
        elif new is not None and old is not None:
            row, was = place.row(new), place.row(old)
            changed = tuple(name for name, value in row.items() if value != was[name])
            run(self._connection, _setting(new.type, changed), {**row, "this_id": new.id})
        if new is not None:
            self.written[new.type, new.id] = new


@lru_cache(maxsize=1000)
def _setting(type: str, names: tuple[str, ...]) -> Update:
    """Sets the columns `names` alone, for the index of every other one would be written again."""
    place = shelf(type)
    values: dict[str, Any] = {name: bindparam(name) for name in names}
    return update(place.table).where(place.mine, place.table.c.id == bindparam("this_id")).values(values)
