"""What stands beside the records so that they can be found: unique keys and index entries.

Hides: that a file may gain an index or a unique key after its records were written. Every write fills all that its
record type declares. An index declared later is not searched, and nothing is written under a unique key declared later,
until `fill` has visited the older records; `callsheet_indexed` says what is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence, Set
from functools import cache, partial
from itertools import chain
from typing import Any, Protocol, TypeVar

from sqlalchemy import Delete, Insert, Select, Table, and_, bindparam, delete, insert, or_, select
from sqlalchemy.exc import IntegrityError

from engine.errors import Conflict, StoreError
from engine.records import Record, RecordType
from engine.store.statements import Build, Question, Session, Values
from engine.store.tables import INDEX, INDEXED, KEY, UNIQUE, shelf

T = TypeVar("T")
SideRow = tuple[str, ...]  # the values of a row, in the order of its table's columns

_BATCH = 500  # records
_AT_ONCE = 50  # rows of one statement


def keys_beside(type: RecordType, record: Record) -> dict[str, str]:
    """The unique keys of `record` that stand beside it, as `RecordType.keys` has them: not one that is a column."""
    return {} if type.name in UNIQUE else type.keys(record)


def has_entries(type: RecordType) -> bool:
    """Whether records of `type` have index entries that stand beside them: of no column."""
    return not type.indexed <= shelf(type.name).direct


def entries_beside(type: RecordType, record: Record) -> Collection[tuple[str, str]]:
    """The index entries of `record` that stand beside it, as `RecordType.entries` has them."""
    columns = shelf(type.name).columns
    if not columns:
        return type.entries(record.properties)
    return [entry for entry in type.entries(record.properties) if entry[0] not in columns] if has_entries(type) else ()


def keys(type: RecordType, record: Record) -> set[SideRow]:
    """The rows of KEY that belong to `record`."""
    return rows_of_keys(type, record, type.keys(record))


def rows_of_keys(type: RecordType, record: Record | None, known: Mapping[str, str]) -> set[SideRow]:
    """The same, where its unique keys are `known`."""
    if record is None or type.name in UNIQUE:
        return set()
    return {(text, type.name, name, record.id) for text, name in known.items()}


def entries(type: RecordType, record: Record | None) -> set[SideRow]:
    """The rows of INDEX that belong to `record`."""
    if record is None:
        return set()
    return {(type.name, name, text, record.id) for name, text in entries_beside(type, record)}


def exchanging(table: Table, gone: Collection[SideRow], come: Collection[SideRow]) -> list[Question]:
    """What replaces the rows `gone` by the rows `come`. Fails where a unique key belongs to another record."""
    return [*_of_rows(_delete_rows, table, gone), *_of_rows(_insert_rows, table, come)]


def exchange(session: Session, table: Table, gone: Collection[SideRow], come: Collection[SideRow]) -> None:
    """Replace the rows `gone` by the rows `come`. Raises IntegrityError where a unique key is another record's."""
    for question in exchanging(table, gone, come):
        session.run(*question)


def _of_rows(build: Build, table: Table, rows: Collection[SideRow]) -> list[Question]:
    """What `build` makes of the rows, in order, and of no more at once than one statement takes."""
    if not rows:
        return []
    ordered = sorted(rows)
    parts = [ordered[start : start + _AT_ONCE] for start in range(0, len(ordered), _AT_ONCE)]
    return [(build, (table, len(part)), _values(table, part)) for part in parts]


def _values(table: Table, rows: Sequence[SideRow]) -> Values:
    return dict(zip(_names(table, len(rows)), chain.from_iterable(rows), strict=True))


@cache
def _names(table: Table, number: int) -> list[str]:
    """What the values of so many rows are called in a statement."""
    return [f"{column}_{place}" for place in range(number) for column in table.c.keys()]  # noqa: SIM118 - it is no dict


def _insert_rows(table: Table, number: int, mark: str = "") -> Insert:
    places, names = range(number), table.c.keys()
    return insert(table).values([{name: bindparam(f"{mark}{name}_{place}") for name in names} for place in places])


def _delete_rows(table: Table, number: int, mark: str = "") -> Delete:
    rows = (
        and_(*(column == bindparam(f"{mark}{column.name}_{place}") for column in table.c)) for place in range(number)
    )
    return delete(table).where(or_(*rows))


def _of_type(type: str) -> Select[Any]:
    return select(INDEXED.c.name).where(INDEXED.c.type == type)


def _first_of(type: str) -> Select[Any]:
    place = shelf(type)
    return select(place.table.c.id).where(place.mine).limit(1)


class Taken(Conflict):
    """An id or a unique key belongs to another record, which a second look may find where others write too."""


class Writer(Protocol):
    """What is needed here of a database: a transaction."""

    def write(self, work: Callable[[Session], T]) -> T:
        """Run `work` in a transaction and commit it. It may run again where the first try had to be undone."""
        ...


_NONE = frozenset[str]()


class Indexes:
    """What this process has seen to be complete, so that it need not ask again at every call."""

    def __init__(self) -> None:
        self._kept: dict[str, RecordType] = {}
        self._complete: dict[str, frozenset[str]] = {}

    def keep(self, database: Writer, type: RecordType) -> None:
        """Before records of `type` are written: while it has none, all its indexes are complete.

        Raises StoreError where a unique key does not hold all records yet.
        """
        known = self._kept.get(type.name)
        if known is type:
            return
        if known is None or (known.index, known.unique, known.within) != (type.index, type.unique, type.within):
            database.write(partial(_mark, type))
            self._complete.pop(type.name, None)
        self._kept[type.name] = type

    def demand(self, session: Session, type: str, names: Collection[str]) -> None:
        """Raise StoreError where an index that is to be searched does not hold all records of `type` yet."""
        if self._complete.get(type, _NONE).issuperset(names):
            return
        is_empty, self._complete[type] = _is_empty(session, type), _complete(session, type)
        missing = sorted(set(names) - self._complete[type])
        if missing and not is_empty:
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
    unique = () if type.name in UNIQUE else type.unique
    return {*properties, *(f"unique {','.join(key)} within {within}" for key in unique)}


def _key_names(marks: set[str]) -> set[str]:
    return {mark.removeprefix("unique ").rpartition(" within ")[0] for mark in marks if mark.startswith("unique ")}


def _complete(session: Session, type: str) -> frozenset[str]:
    return frozenset(name for (name,) in session.run(_of_type, (type,), {}))


def _is_empty(session: Session, type: str) -> bool:
    """Whether there is no record of `type`. Asked before what is complete: who writes the first says that before."""
    return not session.run(_first_of, (type,), {})


def _incomplete(type: str, name: str) -> StoreError:
    return StoreError(f"the index of {type}.{name} does not hold all records yet; run `callsheet db upgrade`")


def incomplete(type: RecordType, session: Session) -> list[str]:
    """The indexes and unique keys of `type` that do not hold all of its records yet."""
    is_empty = _is_empty(session, type.name)
    names = _declared(type) - _complete(session, type.name)
    return [] if is_empty else sorted(names)


def _set_marks(type: RecordType, gone: Set[str], come: Set[str], session: Session) -> None:
    try:
        exchange(session, INDEXED, {(type.name, mark) for mark in gone}, {(type.name, mark) for mark in come})
    except IntegrityError:  # another process has just said the same
        raise Taken(f"the indexes of {type.name}") from None


def _mark(type: RecordType, session: Session) -> None:
    is_empty = _is_empty(session, type.name)
    declared, complete = _declared(type), _complete(session, type.name)
    missing = declared - complete
    if missing and not is_empty:
        for name in sorted(_key_names(missing)):
            raise _incomplete(type.name, name)
        missing = set()
    _set_marks(type, complete - declared, missing, session)


def _clear(type: RecordType, session: Session) -> set[str]:
    """Remove what is out of date; returns what is missing then."""
    declared, complete = _declared(type), _complete(session, type.name)
    changed = declared ^ complete
    connection = session.transaction
    connection.execute(delete(INDEX).where(INDEX.c.type == type.name, INDEX.c.name.in_(changed)))
    connection.execute(delete(KEY).where(KEY.c.type == type.name, KEY.c.name.in_(_key_names(changed))))
    _set_marks(type, complete - declared, set(), session)
    return declared - complete


def _fill(type: RecordType, missing: set[str], after: str, session: Session) -> str | None:
    """Write what is missing for the next records after the id `after`; returns the last one's id, None at the end."""
    place = shelf(type.name)
    id, names = place.table.c.id, _key_names(missing)
    rows = session.transaction.execute(
        select(*place.kept).where(place.mine, id > after).order_by(id).limit(_BATCH).with_for_update()
    ).all()
    records = [place.record(row) for row in rows]
    by_key = {row for record in records for row in keys(type, record) if row[2] in names}
    by_index = {row for record in records for row in entries(type, record) if row[1] in missing}
    try:
        for table, side_rows in ((KEY, by_key), (INDEX, by_index)):
            exchange(session, table, side_rows, set())  # what was written since the file changed
            exchange(session, table, set(), side_rows)
    except IntegrityError:
        raise Conflict(f"two records of {type.name} have the same {' or '.join(sorted(names))}") from None
    return records[-1].id if records else None
