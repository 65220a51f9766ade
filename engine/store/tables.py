"""The tables, and how a record becomes a row and a row a record.

Hides: where the records of a type stand. Those of the files share one table, whose properties are found through
`callsheet_record_index`; those of the engine's own types have a table each, with columns for what work is claimed by.
A column repeats a property, as an index does: the JSON is the record.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    true,
)

from engine.comparison import same, sortable, texts
from engine.records import SCOPE, Record, Scope

SCHEMA = "0005"
"""The newest version in `migrations/versions`."""

COLUMNS = {
    "call": ("state", "due", "lease", "operation", "key", "request_type", "parent"),
    "event": ("state", "due", "lease", "key", "event_id", "event_type"),
    "reaction": ("state", "due"),
}
"""The engine's own types, and which of their properties are columns."""

UNIQUE = {"call": ("key",), "event": ("event_id", *SCOPE)}
"""The columns of a type's one unique key: a property, and what else of the row it holds within."""

UNINDEXED = {"call": frozenset({"lease"}), "event": frozenset({"lease", "key"})}
"""Which of these columns have no index.

Only rows of one state have a lease, which are few and found by that. An event's key says what its unique key does.
"""

TEXT = Text().with_variant(Text(collation="C"), "postgresql")  # sorted by code point, as SQLite and Python do
TRUTH = Boolean().with_variant(Integer(), "sqlite")  # a STRICT table knows no BOOLEAN

METADATA = MetaData()


def _table(name: str, *parts: Any, rowid: bool = True) -> Table:
    return Table(f"callsheet_{name}", METADATA, *parts, sqlite_strict=True, sqlite_with_rowid=rowid)


def _text(name: str, *, null: bool = False) -> Column[str]:
    return Column(name, TEXT, nullable=null)


def _common() -> list[Column[Any]]:
    scope = [_text("gateway"), _text("account"), Column("live", TRUTH, nullable=False)]
    return [_text("id"), *scope, _text("as_of", null=True), _text("properties")]


RECORD = _table("record", _text("type"), *_common(), PrimaryKeyConstraint("type", "id"))

KEY = _table(
    "record_key",
    *map(_text, ("text", "type", "name", "record_id")),
    PrimaryKeyConstraint("text"),
    rowid=False,
)
"""Unique keys: a name and text of RecordType.keys → the record that has it. The constraint decides every race.

A type's key that is a column of its own is not here: there the column's index decides.
"""

INDEX = _table(
    "record_index",
    *map(_text, ("type", "name", "value", "record_id")),
    PrimaryKeyConstraint("type", "name", "value", "record_id"),
    rowid=False,
)
"""Indexed properties: `value` is the text that the property sorts by."""

INDEXED = _table("indexed", _text("type"), _text("name"), PrimaryKeyConstraint("type", "name"), rowid=False)
"""Which indexes hold every record of their type."""


def _own(type: str, columns: tuple[str, ...]) -> Table:
    table = _table(type, *_common(), *(_text(name, null=True) for name in columns), PrimaryKeyConstraint("id"))
    for name in columns:
        if name in UNINDEXED.get(type, ()):
            continue
        if name in (key := UNIQUE.get(type, ())):
            Index(f"{table.name}_{name}", *(table.c[part] for part in key), unique=True)
            continue
        given = table.c[name].is_not(None)
        Index(f"{table.name}_{name}", table.c[name], table.c.id, postgresql_where=given, sqlite_where=given)
    return table


_OWN = {type: _own(type, columns) for type, columns in COLUMNS.items()}


@dataclass(frozen=True)
class Shelf:
    """Where the records of one type stand: `table`, all of it or the rows that are `mine`."""

    type: str
    table: Table
    columns: tuple[str, ...]

    @property
    def key(self) -> Column[Any] | None:
        """The column of the unique key's property; None where unique keys stand in KEY."""
        return self.table.c[UNIQUE[self.type][0]] if self.type in UNIQUE else None

    @property
    def mine(self) -> ColumnElement[bool]:
        return self.table.c.type == self.type if "type" in self.table.c else true()

    @property
    def kept(self) -> tuple[Column[Any], ...]:
        """What `record` reads, in this order."""
        return tuple(self.table.c[name] for name in ("id", *SCOPE, "as_of", "properties"))

    @cached_property
    def walked(self) -> frozenset[str]:
        """The columns of which an index has the rows of a value in the order of the ids."""
        return frozenset(self.columns) - UNINDEXED.get(self.type, frozenset()) - {*UNIQUE.get(self.type, ())}

    @cached_property
    def direct(self) -> frozenset[str]:
        """What is found without the index table."""
        return frozenset(("id", *SCOPE, *self.columns))

    def row(self, record: Record) -> dict[str, Any]:
        """The values of the row that keeps `record`."""
        beside = {"type": record.type} if self.table is RECORD else self._found_by(record, self.columns)
        return self.kept_of(record) | beside

    @staticmethod
    def kept_of(record: Record) -> dict[str, Any]:
        """The values of the columns `kept`."""
        scope = record.scope
        return {
            "id": record.id,
            "gateway": scope.gateway,
            "account": scope.account,
            "live": scope.live,
            "as_of": record.as_of,
            "properties": record.to_json(),
        }

    def changed(self, old: Record, new: Record) -> dict[str, Any]:
        """The values that differ, where `new` takes the place of `old`."""
        was, becomes = old.properties, new.properties
        row = self._found_by(new, [name for name in self.columns if was.get(name) != becomes.get(name)])
        if old.as_of != new.as_of:
            row["as_of"] = new.as_of
        if not same(was, becomes):
            row["properties"] = new.to_json()
        return row

    @staticmethod
    def _found_by(record: Record, columns: Sequence[str]) -> dict[str, Any]:
        properties = record.properties
        return {name: _text_of(properties[name]) if name in properties else None for name in columns}

    def record(self, row: Sequence[Any]) -> Record:
        """The record that `row` keeps, which begins with the columns `kept`."""
        id, gateway, account, live, as_of, properties = row[:6]
        return Record(self.type, id, _scope(gateway, account, live), _parsed(properties)[0], as_of)


def _text_of(value: Any) -> str | None:
    return sortable(value) if type(value) is str else next(texts(value), None)


_parsed = json.JSONDecoder().raw_decode


@lru_cache(maxsize=1000)
def _scope(gateway: str, account: str, live: bool | int) -> Scope:
    return Scope(gateway, account, bool(live))


@cache
def shelf(type: str) -> Shelf:
    """Where the records of `type` stand."""
    return Shelf(type, _OWN.get(type, RECORD), COLUMNS.get(type, ()))
