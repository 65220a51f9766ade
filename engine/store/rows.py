"""Make changes in one session, inside its transaction.

Hides: how records are found and locked before they change, and what is written beside a record so that it can be found
again. Every condition is tested on the locked record itself; indexes only find candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sqlalchemy import Delete, Insert, Update, bindparam, delete, insert, update
from sqlalchemy.exc import IntegrityError

from engine.comparison import texts
from engine.records import Change, Record, RecordType
from engine.store.drafts import Draft, Write
from engine.store.indexes import Indexes, SideRow, Taken, entries, exchange, exchanging, keys
from engine.store.searches import by_id, by_id_or_key, by_key, claim, through_index
from engine.store.statements import Question, Session
from engine.store.tables import INDEX, KEY, UNIQUE, shelf


class Work:
    """One transaction's changes, the records it holds locked, and by type and id those that it leaves `written`."""

    def __init__(self, session: Session, indexes: Indexes) -> None:
        self._session, self._indexes = session, indexes
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
            named = [change for change in changes if change.type.name == type]
            ids = {change.lookup.id for change in named if change.lookup.id is not None}
            if type in UNIQUE:
                self._hold_own(named, ids)
                continue
            place = shelf(type)
            if ids:
                for row in self._session.run(*by_id(type, ids)):
                    self._draft.hold(place.record(row))
            if unique := {text for change in named for text in change.lookup.keys}:
                for row in self._session.run(*by_key(type, unique)):
                    self._draft.hold(place.record(row), [row[-1]])

    def _hold_own(self, named: Sequence[Change], ids: set[str]) -> None:
        """The same of a type whose unique key is a column."""
        type = named[0].type
        place, column = shelf(type.name), UNIQUE[type.name]
        properties = [
            change.given if change.verb == "insert" else change.where for change in named if change.lookup.keys
        ]
        unique = {text for one in properties for text in texts(one[column])}
        if ids or unique:
            for row in self._session.run(*by_id_or_key(type.name, ids, unique)):
                record = place.record(row)
                self._draft.hold(record, type.keys(record))

    def _candidates(self, change: Change) -> list[Record]:
        if not change.searches:
            return self._draft.meant(change)
        self._write(self._draft.writes())  # for the database is to search among them
        type, place = change.type.name, shelf(change.type.name)
        self._indexes.demand(self._session, type, through_index(place, change.where))
        return [place.record(row) for row in self._session.run(*claim(type, change.where, change.limit))]

    def _write(self, writes: Sequence[Write]) -> None:
        """Keys first: of two who create one record, the second waits there and then finds the first's."""
        if not writes:
            return
        gone, come = _side_rows(keys, writes)
        rows = [_row(write) for write in writes]
        entered = exchanging(INDEX, *_side_rows(entries, writes))
        try:
            if gone:
                exchange(self._session, KEY, gone - come, set())  # what is given up can be taken in the same breath
            self._session.write([*exchanging(KEY, set(), come - gone), *rows, *entered])
        except IntegrityError:
            said = " or ".join(map(str, writes))
            raise Taken(f"{said}: its id or one of its unique keys belongs to another record") from None
        for write in writes:
            if write.new is not None:
                self.written[write.new.type, write.new.id] = write.new
            elif write.old is not None:
                self.written.pop((write.old.type, write.old.id), None)


def _side_rows(
    of: Callable[[RecordType, Record | None], set[SideRow]], writes: Sequence[Write]
) -> tuple[set[SideRow], set[SideRow]]:
    """The rows that belong to records as they were, and as they become."""
    old = {row for write in writes for row in of(write.type, write.old)}
    return old, {row for write in writes for row in of(write.type, write.new)}


def _row(write: Write) -> Question:
    """What writes the row of a record itself."""
    place, old, new = shelf(write.type.name), write.old, write.new
    if new is None:
        return _delete, (place.type,), {"this_id": old.id if old else None}
    if old is None:
        return _insert, (place.type,), place.row(new)
    row = place.changed(old, new)
    return _set, (place.type, tuple(row)), {**row, "this_id": new.id}


def _insert(type: str, mark: str = "") -> Insert:
    table = shelf(type).table
    return insert(table).values({name: bindparam(mark + name) for name in table.c.keys()})  # noqa: SIM118


def _delete(type: str, mark: str = "") -> Delete:
    place = shelf(type)
    return delete(place.table).where(place.mine, place.table.c.id == bindparam(f"{mark}this_id"))


def _set(type: str, names: tuple[str, ...], mark: str = "") -> Update:
    """Sets the columns `names` alone, for the index of every other one would be written again."""
    place = shelf(type)
    this = update(place.table).where(place.mine, place.table.c.id == bindparam(f"{mark}this_id"))
    return this.values({name: bindparam(mark + name) for name in names})
