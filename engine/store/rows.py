"""Make changes in one session, inside its transaction.

Hides: how records are found and locked before they change, and what is written beside a record so that it can be found
again. Every condition is tested on the locked record itself; indexes only find candidates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

from sqlalchemy import Delete, Insert, Update, bindparam, delete, insert, update

from engine.comparison import texts
from engine.records import Change, Record, RecordType
from engine.store.drafts import Draft, Write
from engine.store.indexes import Indexes, SideRow, Taken, entries, exchanging, keys
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
        asked = [
            (type, question)
            for type in {change.type.name: change.type for change in sorted(changes, key=_type_name)}.values()
            for question in _named(type, [change for change in changes if change.type.name == type.name])
        ]
        answers = self._session.look([question for _, question in asked])
        for (type, _), rows in zip(asked, answers, strict=True):
            place = shelf(type.name)
            for row in rows:
                record = place.record(row)
                self._draft.hold(record, type.keys(record) if type.name in UNIQUE else place.beside(row))

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
        refused = partial(_taken, writes)
        if gone:  # what is given up can be taken in the same breath
            self._session.write(exchanging(KEY, gone - come, set()), refused)
        self._session.write([*exchanging(KEY, set(), come - gone), *rows, *entered], refused)
        for write in writes:
            if write.new is not None:
                self.written[write.new.type, write.new.id] = write.new
            elif write.old is not None:
                self.written.pop((write.old.type, write.old.id), None)


def _type_name(change: Change) -> str:
    return change.type.name


def _named(type: RecordType, changes: Sequence[Change]) -> Iterator[Question]:
    """What finds and locks the records of `type` that `changes` name."""
    ids = {change.lookup.id for change in changes if change.lookup.id is not None}
    if type.name in UNIQUE:
        given = [one.given if one.verb == "insert" else one.where for one in changes if one.lookup.keys]
        unique = {text for properties in given for text in texts(properties[UNIQUE[type.name]])}
        if ids or unique:
            yield by_id_or_key(type.name, ids, unique)
        return
    if ids:
        yield by_id(type.name, ids)
    if unique := {text for change in changes for text in change.lookup.keys}:
        yield by_key(type.name, unique)


def _taken(writes: Sequence[Write]) -> Taken:
    said = " or ".join(map(str, writes))
    return Taken(f"{said}: its id or one of its unique keys belongs to another record")


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
