"""What stands beside the records so that they can be found: unique keys and index entries.

Hides: that a file may gain an index or a unique key after its records were written. Every write fills all that its
record type declares. An index declared later is not searched, and nothing is written under a unique key declared later,
until `fill` has visited the older records; `callsheet_indexed` says what is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from functools import partial
from typing import Any, Protocol, TypeVar

from sqlalchemy import Connection, Table, bindparam, delete, insert, select
from sqlalchemy.exc import IntegrityError

from engine.errors import Conflict, StoreError
from engine.records import Record, RecordType
from engine.store.statements import run
from engine.store.tables import INDEX, INDEXED, KEY, shelf

T = TypeVar("T")
SideRow = tuple[str, ...]  # the values of a row, in the order of its table's columns

_STATEMENTS = {
    table: (insert(table), delete(table).where(*(column == bindparam(f"this_{column.name}") for column in table.c)))
    for table in (KEY, INDEX, INDEXED)
}
_COMPLETE = select(INDEXED.c.name).where(INDEXED.c.type == bindparam("type"))
_BATCH = 500


def keys(type: RecordType, record: Record | None) -> set[SideRow]:
    """The rows of KEY that belong to `record`."""
    if record is None:
        return set()
    return {(text, type.name, name, record.id) for text, name in type.keys(record).items()}


def entries(type: RecordType, record: Record | None) -> set[SideRow]:
    """The rows of INDEX that belong to `record`; what has a column of its own needs none."""
    if record is None:
        return set()
    columns = shelf(type.name).columns
    if type.indexed.issubset(columns):
        return set()
    return {(type.name, name, text, record.id) for name, text in type.entries(record.properties) if name not in columns}


def exchange(connection: Connection, table: Table, old: set[SideRow], new: set[SideRow]) -> None:
    """Replace the rows `old` by the rows `new`. Raises IntegrityError where a unique key belongs to another record."""
    add, drop = _STATEMENTS[table]
    names = table.c.keys()
    if gone := old - new:
        run(connection, drop, [{f"this_{name}": row[place] for place, name in enumerate(names)} for row in gone])
    if come := new - old:
        run(connection, add, [{name: row[place] for place, name in enumerate(names)} for row in sorted(come)])


class Taken(Conflict):
    """An id or a unique key belongs to another record, which a second look may find where others write too."""


class Writer(Protocol):
    """What is needed here of a database: a transaction."""

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in a transaction and commit it. It may run again where the first try had to be undone."""
        ...


class Indexes:
    """What this process has seen to be complete, so that it need not ask again at every call."""

    def __init__(self) -> None:
        self._kept: set[Any] = set()
        self._complete: dict[str, set[str]] = {}

    def keep(self, database: Writer, type: RecordType) -> None:
        """Before records of `type` are written: while it has none, all its indexes are complete.

        Raises StoreError where a unique key does not hold all records yet.
        """
        definition = (type.name, type.index, type.unique, type.within)
        if definition not in self._kept:
            database.write(partial(_mark, type))
            self._complete.pop(type.name, None)
            self._kept.add(definition)

    def demand(self, connection: Connection, type: str, names: Collection[str]) -> None:
        """Raise StoreError where an index that is to be searched does not hold all records of `type` yet."""
        if set(names) <= self._complete.get(type, set()):
            return
        self._complete[type] = _complete(connection, type)
        missing = sorted(set(names) - self._complete[type])
        if missing and not _is_empty(connection, type):
            raise _incomplete(type, missing[0])

    def fill(self, database: Writer, type: RecordType) -> None:
        """Make every index and unique key of `type` complete, in steps that let others write between them.

        A process that still goes by an older file must not write meanwhile. Raises Conflict where two records have the
        same key.
        """
        missing = database.write(partial(_clear, type))
        last: str | None = ""
        while missing and last is not None:
            last = database.write(partial(_fill, type, missing, last))
        database.write(partial(_set_marks, type, set(), missing))
        self._complete.pop(type.name, None)


def _declared(type: RecordType) -> set[str]:
    """What `callsheet_indexed` must say of a type: its indexed properties, and its unique keys with their scope."""
    within = ",".join(type.within)
    properties = type.indexed - set(shelf(type.name).columns)
    return {*properties, *(f"unique {','.join(key)} within {within}" for key in type.unique)}


def _key_names(marks: set[str]) -> set[str]:
    return {mark.removeprefix("unique ").rpartition(" within ")[0] for mark in marks if mark.startswith("unique ")}


def _complete(connection: Connection, type: str) -> set[str]:
    return set(connection.scalars(_COMPLETE, {"type": type}))


def _is_empty(connection: Connection, type: str) -> bool:
    place = shelf(type)
    return connection.scalar(select(place.table.c.id).where(place.mine).limit(1)) is None


def _incomplete(type: str, name: str) -> StoreError:
    return StoreError(f"the index of {type}.{name} does not hold all records yet; run `callsheet db upgrade`")


def incomplete(type: RecordType, connection: Connection) -> list[str]:
    """The indexes and unique keys of `type` that do not hold all of its records yet."""
    names = _declared(type) - _complete(connection, type.name)
    return sorted(names) if names and not _is_empty(connection, type.name) else []


def _set_marks(type: RecordType, gone: set[str], come: set[str], connection: Connection) -> None:
    try:
        exchange(connection, INDEXED, {(type.name, mark) for mark in gone}, {(type.name, mark) for mark in come})
    except IntegrityError:  # another process has just said the same
        raise Taken(f"the indexes of {type.name}") from None


def _mark(type: RecordType, connection: Connection) -> None:
    declared, complete = _declared(type), _complete(connection, type.name)
    missing = declared - complete
    if missing and not _is_empty(connection, type.name):
        for name in sorted(_key_names(missing)):
            raise _incomplete(type.name, name)
        missing = set()
    _set_marks(type, complete - declared, missing, connection)


def _clear(type: RecordType, connection: Connection) -> set[str]:
    """Remove what is out of date; returns what is missing then."""
    declared, complete = _declared(type), _complete(connection, type.name)
    changed = declared ^ complete
    connection.execute(delete(INDEX).where(INDEX.c.type == type.name, INDEX.c.name.in_(changed)))
    connection.execute(delete(KEY).where(KEY.c.type == type.name, KEY.c.name.in_(_key_names(changed))))
    _set_marks(type, complete - declared, set(), connection)
    return declared - complete


def _fill(type: RecordType, missing: set[str], after: str, connection: Connection) -> str | None:
    """Write what is missing for the next records after the id `after`; returns the last one's id, None at the end."""
    place = shelf(type.name)
    id, names = place.table.c.id, _key_names(missing)
    rows = connection.execute(
        select(*place.kept).where(place.mine, id > after).order_by(id).limit(_BATCH).with_for_update()
    ).all()
    records = [place.record(row) for row in rows]
    by_key = {row for record in records for row in keys(type, record) if row[2] in names}
    by_index = {row for record in records for row in entries(type, record) if row[1] in missing}
    try:
        for table, side_rows in ((KEY, by_key), (INDEX, by_index)):
            exchange(connection, table, side_rows, set())  # what was written since the file changed
            exchange(connection, table, set(), side_rows)
    except IntegrityError:
        raise Conflict(f"two records of {type.name} have the same {' or '.join(sorted(names))}") from None
    return records[-1].id if records else None
