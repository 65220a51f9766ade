"""The tables, and how a record becomes a row and a row a record.

Hides: where the records of a type stand. Those of the files share one table, whose properties are found through
`callsheet_record_index`; those of the engine's own types have a table each, with columns for what work is claimed by.
A column repeats a property, as an index does: the JSON is the record.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    ColumnElement,
    Delete,
    Index,
    Insert,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    bindparam,
    delete,
    insert,
    true,
)

from engine.comparison import texts
from engine.records import SCOPE, Record, Scope

SCHEMA = "0001"
"""The newest version in `migrations/versions`."""

COLUMNS = {
    "call": ("state", "due", "lease", "operation", "key", "request_type", "parent"),
    "event": ("state", "due", "lease", "key", "event_id", "event_type"),
    "reaction": ("state", "due"),
}
"""The engine's own types, and which of their properties are columns."""

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
"""Unique keys: a name and text of RecordType.keys → the record that has it. The constraint decides every race."""

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
        given = table.c[name].is_not(None)
        Index(f"{table.name}_{name}", table.c[name], table.c.id, postgresql_where=given, sqlite_where=given)
    return table


_OWN = {type: _own(type, columns) for type, columns in COLUMNS.items()}


@dataclass(frozen=True)
class Shelf:
    """Where the records of one type stand: `table`, all of it or the rows that are `mine`.

    Building a statement costs more than running it, so each is built once.
    """

    type: str
    table: Table
    columns: tuple[str, ...]

    @property
    def mine(self) -> ColumnElement[bool]:
        return self.table.c.type == self.type if "type" in self.table.c else true()

    @property
    def kept(self) -> tuple[Column[Any], ...]:
        """What `record` reads, in this order."""
        return tuple(self.table.c[name] for name in ("id", *SCOPE, "as_of", "properties"))

    @cached_property
    def insert(self) -> Insert:
        return insert(self.table)

    @cached_property
    def delete(self) -> Delete:
        return delete(self.table).where(self.mine, self.table.c.id == bindparam("this_id"))

    def row(self, record: Record) -> dict[str, Any]:
        """The values of the row that keeps `record`."""
        row: dict[str, Any] = {name: next(texts(record.properties.get(name)), None) for name in self.columns}
        if "type" in self.table.c:
            row["type"] = record.type
        scope = {name: getattr(record.scope, name) for name in SCOPE}
        return {**row, **scope, "id": record.id, "as_of": record.as_of, "properties": record.to_json()}

    def record(self, row: Sequence[Any]) -> Record:
        """The record that `row` keeps, which begins with the columns `kept`."""
        id, gateway, account, live, as_of, properties = row[:6]
        return Record(self.type, id, Scope(gateway, account, bool(live)), json.loads(properties), as_of)


@cache
def shelf(type: str) -> Shelf:
    """Where the records of `type` stand."""
    return Shelf(type, _OWN.get(type, RECORD), COLUMNS.get(type, ()))
