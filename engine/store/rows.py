"""Make changes on one connection, inside its transaction.

Hides: how records are found and locked before they change, and what is written beside a record so that it can be found
again. Every condition is tested on the locked record itself; indexes only find candidates.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection
from sqlalchemy.exc import IntegrityError

from engine.comparison import sortable
from engine.records import Change, Record, RecordType, outcomes
from engine.store.indexes import Indexes, Taken, entries, exchange, keys
from engine.store.searches import claim, through_index
from engine.store.tables import INDEX, KEY, shelf


class Work:
    """One transaction's changes, and the records it holds locked."""

    def __init__(self, connection: Connection, indexes: Indexes) -> None:
        self._connection, self._indexes = connection, indexes
        self._records: dict[tuple[str, str], Record] = {}
        self._keys: dict[str, str] = {}

    def make(self, changes: Sequence[Change]) -> list[Record]:
        """Make all `changes` in order; returns the records touched. Where it raises, the transaction must be undone."""
        self._hold(changes)
        touched = []
        for change in changes:
            try:
                touched += self._make(change)
            except IntegrityError:
                raise Taken(f"{change}: its id or one of its unique keys belongs to another record") from None
        return touched

    def _hold(self, changes: Sequence[Change]) -> None:
        """Lock every record that is named, type by type, so that two transactions hardly ever wait for each other."""
        for type in sorted({change.type.name for change in changes}):
            named = [change.lookup() for change in changes if change.type.name == type]
            ids = {sortable(id) for id, _ in named if id is not None}
            texts = {text for _, keys_named in named for text in keys_named.values()}
            place = shelf(type)
            if ids:
                for row in self._connection.execute(place.hold_ids, {"ids": sorted(ids)}):
                    self._records[type, row.id] = place.record(row)
            if texts:
                for row in self._connection.execute(place.hold_keys, {"texts": sorted(texts)}):
                    self._records[type, row.id] = place.record(row)
                    self._keys[row.held_by] = row.id

    def _make(self, change: Change) -> list[Record]:
        made = outcomes(change, self._candidates(change))
        for current, record in made:
            if change.verb == "delete":
                self._write(change.type, record, None)
            elif record != current:
                self._write(change.type, current, record)
        return [record for _, record in made]

    def _candidates(self, change: Change) -> list[Record]:
        type = change.type.name
        if change.searches:
            place = shelf(type)
            self._indexes.demand(self._connection, type, through_index(place, change.where))
            return [place.record(row) for row in self._connection.execute(*claim(type, change.where, change.limit))]
        id, texts = change.lookup()
        ids = {id, *(self._keys.get(text) for text in texts.values())}
        return [self._records[type, one] for one in ids if one is not None and (type, one) in self._records]

    def _write(self, type: RecordType, old: Record | None, new: Record | None) -> None:
        """Keys first: of two who create one record, the second waits here and then finds the first's."""
        place = shelf(type.name)
        exchange(self._connection, KEY, keys(type, old), keys(type, new))
        if new is None and old is not None:
            self._connection.execute(place.delete, {"this_id": old.id})
        elif new is not None and old is None:
            self._connection.execute(place.insert, place.row(new))
        elif new is not None:
            self._connection.execute(place.update, {**place.row(new), "this_id": new.id})
        exchange(self._connection, INDEX, entries(type, old), entries(type, new))
        self._remember(type, old, new)

    def _remember(self, type: RecordType, old: Record | None, new: Record | None) -> None:
        if old is not None:
            self._records.pop((type.name, old.id), None)
            for text in type.keys(old.scope, old.properties).values():
                self._keys.pop(text, None)
        if new is not None:
            self._records[type.name, new.id] = new
            self._keys |= dict.fromkeys(type.keys(new.scope, new.properties).values(), new.id)
