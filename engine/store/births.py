"""A record that nobody has yet, written without looking for it first.

So most of them begin: a call before it is sent, an event as it comes, an object as its gateway tells of it. Whether it
is new is for the database to say. Hides: which changes may be tried so, and what decides.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Insert,
    Select,
    Table,
    Text,
    cast,
    func,
    insert,
    literal_column,
    select,
    union_all,
)

from engine.errors import DataError
from engine.records import Change, Record, RecordType, resulting
from engine.store.indexes import entries_beside, keys_beside
from engine.store.searches import by_id
from engine.store.statements import (
    Build,
    Literals,
    New,
    Question,
    Session,
    Shape,
    Values,
    literal_or_parameter,
    literals,
)
from engine.store.tables import INDEX, KEY, RECORD, shelf
from engine.values import unchanging

TOGETHER = 16  # records of one statement: SQLAlchemy takes 0.2 ms for each to make the text of a longer one

_Row = tuple[tuple[str, str], ...]  # columns, each with the name of its parameter


@unchanging
class Birth:
    """A `record` as it begins, and what writes it. `or_nothing`: where it is there already, nothing is to be done."""

    record: Record
    or_nothing: bool
    _new: New
    values: Values

    @property
    def is_statement(self) -> bool:
        """Whether one statement writes it, whichever the database; then one writes several of its shape, too."""
        return len(self._new.steps) == 1

    @property
    def shape(self) -> Shape:
        """What is the same of all that one statement can write: the type, the nulls and the truths."""
        return self._new.at_once[1]

    def write(self, session: Session) -> bool:
        """Write it; False where a record is in its place already, and then nothing is written."""
        return session.insert(self._new, self.values)

    def is_there(self, session: Session) -> bool:
        """Whether it was written: nobody else's record has its id."""
        return bool(session.run(*by_id(self.record.type, [self.record.id])))


def write_together(births: Sequence[Birth], session: Session) -> list[bool]:
    """Write several of one shape by one statement; says of each whether it was new."""
    if len(births) == 1:
        return [births[0].write(session)]
    values = {f"n{n}_{name}": value for n, one in enumerate(births) for name, value in one.values.items()}
    if session.count(_several, (*births[0].shape, len(births)), values) == len(births):
        return [True] * len(births)
    return [one.is_there(session) for one in births]


def birth_of(changes: Sequence[Change]) -> Birth | None:
    """What a single change makes where there is no such record; None where one has to look first.

    One row is to decide, so a record that has several unique keys is looked for, and one that is to get another key.
    """
    if len(changes) != 1:
        return None
    (change,) = changes
    place, type = shelf(change.type.name), change.type
    if not _names_what_it_makes(change) or (place.table is RECORD and "id" in change.where):
        return None
    try:
        record = resulting(change, None)
        if record is None or len(by_key := keys_beside(type, record)) > 1:
            return None
        values, entries = _values(type, record)
    except DataError:
        return None  # perhaps it is there, and lacks nothing
    for text, name in by_key.items():
        values["key_text"], values["key_name"] = text, name
    new = _new(type.name, literals(values), len(by_key), entries)
    return Birth(record, change.verb == "insert" and not change.must, new, values)


def rows_of(type: RecordType, record: Record) -> list[Question]:
    """What writes the rows of a new record, but not those of its unique keys. Raises DataError."""
    values, entries = _values(type, record)
    return [(build, shape, values) for build, shape in _plain(type.name, literals(values), 0, entries)]


def _values(type: RecordType, record: Record) -> tuple[dict[str, Any], int]:
    """The values of a record's row and of its index entries, and how many entries there are. Raises DataError."""
    values = shelf(type.name).row(record)
    values["type"] = type.name
    by_index = entries_beside(type, record)
    for (name, value), entry in zip(_entry_names(len(by_index)), by_index, strict=True):
        values[name], values[value] = entry
    return values, len(by_index)


def _names_what_it_makes(change: Change) -> bool:
    """Whether the key by which it names its record is the one that the record would have."""
    if change.verb != "upsert":
        return change.verb == "insert"
    return bool(change.type.key_named(change.where)) and change.set.keys().isdisjoint(change.where)


@cache
def _entry_names(number: int) -> list[tuple[str, str]]:
    """What the values of so many index entries are called in a statement: of each its name and its value."""
    return [(f"name_{place}", f"value_{place}") for place in range(number)]


@cache
def _new(type: str, known: Literals, keys: int, entries: int) -> New:
    shape = (type, known, keys, entries)
    return New([(_first, shape), *_plain(*shape)[1:]], (_at_once, shape))


@cache
def _plain(type: str, known: Literals, keys: int, entries: int) -> list[tuple[Build, Shape]]:
    return [(_part, (type, known, keys, entries, number)) for number in range(len(_parts(type, keys, entries)))]


def _parts(type: str, keys: int, entries: int) -> list[tuple[Table, list[_Row]]]:
    """The rows of a record. The one that decides whether it is new comes first."""
    table = shelf(type).table
    own: _Row = tuple((column.name, column.name) for column in table.c)
    key: _Row = (("text", "key_text"), ("type", "type"), ("name", "key_name"), ("record_id", "id"))
    by_index: list[_Row] = [
        (("type", "type"), ("name", name), ("value", value), ("record_id", "id"))
        for name, value in _entry_names(entries)
    ]
    parts = [(KEY, [key] * keys), (table, [own]), (INDEX, by_index)]
    return [(table, rows) for table, rows in parts if rows]


def _given(row: _Row, known: Literals, mark: str = "") -> dict[str, ColumnElement[Any]]:
    return {column: literal_or_parameter(name, known, mark) for column, name in row}


def _first(type: str, known: Literals, keys: int, entries: int) -> Insert:
    """A statement of SQLite's that writes nothing where its row is not new."""
    table, (row,) = _parts(type, keys, entries)[0]
    return _or_not(table, [_given(row, known)])


def _several(type: str, known: Literals, keys: int, entries: int, number: int) -> Insert:
    """The same of several records, each of which is one row."""
    table, (row,) = _parts(type, keys, entries)[0]
    return _or_not(table, [_given(row, known, f"n{place}_") for place in range(number)])


def _or_not(table: Table, rows: Sequence[dict[str, ColumnElement[Any]]]) -> Insert:
    from sqlalchemy.dialects.sqlite import insert as insert_or_not

    return insert_or_not(table).values(rows).on_conflict_do_nothing()


def _part(type: str, known: Literals, keys: int, entries: int, number: int, mark: str = "") -> Insert:
    table, rows = _parts(type, keys, entries)[number]
    return insert(table).values([_given(row, known, mark) for row in rows])


def _at_once(type: str, known: Literals, keys: int, entries: int) -> Select[Any]:
    """A statement of PostgreSQL's for all of them: how many were new, and the number of its transaction."""
    from sqlalchemy.dialects.postgresql import insert as insert_or_not

    (table, (row,)), *others = _parts(type, keys, entries)
    decides = insert_or_not(table).values(_given(row, known)).on_conflict_do_nothing()
    first = decides.returning(literal_column("1").label("new")).cte("first")
    rest = []
    for number, (table, rows) in enumerate(others):
        given = [_given(row, known) for row in rows]
        asked = [select(*(cast(value, table.c[column].type) for column, value in row.items())) for row in given]
        found = union_all(*(one.select_from(first) for one in asked))
        rest.append(insert(table).from_select([column for column, _ in rows[0]], found).cte(f"rest_{number}"))
    count = select(func.count()).select_from(first).scalar_subquery()
    return select(count, cast(func.pg_current_xact_id(), Text)).add_cte(*rest)
