"""Make changes in one session, inside its transaction.

Hides: how records are found and locked before they change, and what is written beside a record so that it can be found
again. Indexes only find candidates: every condition is tested on the locked record itself, or on what was seen of it,
and then its row is written only while it is that to the letter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import Delete, Update, bindparam, delete, update
from sqlalchemy.exc import IntegrityError

from engine.comparison import texts
from engine.records import Change, Lookup, Record
from engine.store.births import rows_of
from engine.store.drafts import Draft, Place, Write
from engine.store.indexes import Indexes, SideRow, Taken, entries, exchange, exchanging, has_entries, rows_of_keys
from engine.store.searches import by_id, by_id_or_key, by_key, claim, through_index
from engine.store.statements import Literals, Question, Session, literal_or_parameter, literals
from engine.store.tables import INDEX, KEY, UNIQUE, Shelf, shelf


class Outdated(Exception):
    """What was seen is not what is stored, or nothing was written that would tell: look, and make the changes anew."""


def seen_by(changes: Sequence[Change]) -> dict[Place, Record]:
    """The records that need not be looked at, because whoever made `changes` saw them."""
    return {(change.type.name, change.seen.id): change.seen for change in changes if change.seen is not None}


class Work:
    """One transaction's changes, the records it holds locked, and by type and id those that it leaves `written`.

    What was `seen` it takes for what is stored.
    """

    def __init__(self, session: Session, indexes: Indexes, seen: Mapping[Place, Record]) -> None:
        self._session, self._indexes = session, indexes
        self._draft = Draft()
        self._unproven = dict(seen)
        self.written: dict[tuple[str, str], Record] = {}

    def make(self, changes: Sequence[Change]) -> list[Record]:
        """Make all `changes` in order; returns the records touched. Where it raises, the transaction must be undone.

        Raises Outdated where what was seen is not known to be stored so. What else it raises of what was seen is no
        more certain.
        """
        self._hold(changes)
        touched = [record for change in changes for record in self._draft.make(change, self._candidates(change))]
        self._write(self._draft.writes())
        if self._unproven:
            raise Outdated
        return touched

    def _hold(self, changes: Sequence[Change]) -> None:
        """Lock every record that is named, type by type, so that two transactions hardly ever wait for each other."""
        for record in self._unproven.values():
            self._draft.hold(record)
        by_type: dict[str, list[tuple[Change, Lookup]]] = {}
        for change in changes:
            name, lookup = change.type.name, change.lookup
            if (name, lookup.id) not in self._unproven:
                by_type.setdefault(name, []).append((change, lookup))
        for type in sorted(by_type):
            named = by_type[type]
            ids = {lookup.id for _, lookup in named if lookup.id is not None}
            if type in UNIQUE:
                self._hold_own([change for change, _ in named], ids)
                continue
            place = shelf(type)
            if ids:
                for row in self._session.run(*by_id(type, ids)):
                    self._draft.hold(place.record(row))
            if unique := {text for _, lookup in named for text in lookup.keys}:
                for row in self._session.run(*by_key(type, unique)):
                    self._draft.hold(place.record(row), [row[-1]])

    def _hold_own(self, named: Sequence[Change], ids: set[str]) -> None:
        """The same of a type whose unique key is a column."""
        type = named[0].type
        place, (column, *_) = shelf(type.name), UNIQUE[type.name]
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
        given_up, taken = _keys(writes)
        gone, come = _entries(writes)
        rows, guesses = self._rows(writes)
        try:
            if given_up:
                exchange(self._session, KEY, given_up, ())  # what is given up can be taken in the same breath
            sure = [*exchanging(KEY, (), taken), *rows, *exchanging(INDEX, gone, come)]
            right = self._session.write(sure, guesses)
        except IntegrityError:
            said = " or ".join(map(str, writes))
            raise Taken(f"{said}: its id or one of its unique keys belongs to another record") from None
        if not right:
            raise Outdated
        for write in writes:
            if write.new is not None:
                self.written[write.new.type, write.new.id] = write.new
            elif write.old is not None:
                self.written.pop((write.old.type, write.old.id), None)

    def _rows(self, writes: Sequence[Write]) -> tuple[list[Question], list[Question]]:
        """What writes the rows of records themselves; and what does only where they are as they were seen."""
        rows: list[Question] = []
        guesses: list[Question] = []
        for write in writes:
            if write.old is None:
                rows += rows_of(write.type, write.new) if write.new is not None else ()
            elif (seen := self._proof(write)) is not None:
                guesses.append(_as_seen(seen, _row(write)))
            else:
                rows.append(_row(write))
        return rows, guesses

    def _proof(self, write: Write) -> Record | None:
        """What was seen of a record that is written for the first time: whether it was seen rightly, shows there."""
        return self._unproven.pop((write.type.name, write.new.id), None) if write.new is not None else None


Exchange = tuple[list[SideRow], list[SideRow]]
"""The rows beside records as they were that are to go, and those beside them as they become that are to come."""


def _keys(writes: Sequence[Write]) -> Exchange:
    """The unique keys."""
    return _exchanged(
        (rows_of_keys(write.type, write.old, write.old_keys), rows_of_keys(write.type, write.new, write.new_keys))
        for write in writes
        if write.new_keys is not None
    )


def _entries(writes: Sequence[Write]) -> Exchange:
    """The index entries, but for new records, whose rows are written together."""
    return _exchanged(
        (entries(write.type, write.old), entries(write.type, write.new))
        for write in writes
        if write.old is not None and has_entries(write.type)
    )


def _exchanged(rows: Iterable[tuple[set[SideRow], set[SideRow]]]) -> Exchange:
    """What differs between the rows as they were and as they become."""
    gone: list[SideRow] = []
    come: list[SideRow] = []
    for old, new in rows:
        gone += old - new
        come += new - old
    return gone, come


def _row(write: Write) -> Question:
    """What writes the row of a record that is there."""
    place, old, new = shelf(write.type.name), write.old, write.new
    if old is None or new is None:
        return _delete, (place.type,), {"this_id": old.id if old else None}
    row = place.changed(old, new)
    return _set, (place.type, tuple(row), literals(row)), {**row, "this_id": new.id}


def _as_seen(seen: Record, question: Question) -> Question:
    """What sets columns of a record, only while it is what was seen."""
    _, shape, values = question
    as_seen = {f"seen_{name}": value for name, value in Shelf.kept_of(seen).items()}
    return _set_as_seen, (literals(as_seen), *shape), {**values, **as_seen}


def _delete(type: str, mark: str = "") -> Delete:
    place = shelf(type)
    return delete(place.table).where(place.mine, place.table.c.id == bindparam(f"{mark}this_id"))


def _set(type: str, names: tuple[str, ...], known: Literals, mark: str = "") -> Update:
    """Sets the columns `names` alone, for the index of every other one would be written again."""
    place = shelf(type)
    this = update(place.table).where(place.mine, place.table.c.id == bindparam(f"{mark}this_id"))
    return this.values({name: literal_or_parameter(name, known, mark) for name in names})


def _set_as_seen(seen: Literals, type: str, names: tuple[str, ...], known: Literals, mark: str = "") -> Update:
    """The same, where nothing of the record was changed since."""
    kept = {column: literal_or_parameter(f"seen_{column.name}", seen, mark) for column in shelf(type).kept[1:]}
    return _set(type, names, known, mark).where(*(column == value for column, value in kept.items()))
