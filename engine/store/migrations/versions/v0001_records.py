"""Records, their keys and indexes, and the engine's own calls, events and reactions."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_TRUTH = sa.Boolean().with_variant(sa.Integer(), "sqlite")


def _create(name: str, primary: list[str], *columns: "sa.Column[Any]", rowid: bool = True) -> None:
    key = sa.PrimaryKeyConstraint(*primary)
    op.create_table(f"callsheet_{name}", *columns, key, sqlite_strict=True, sqlite_with_rowid=rowid)


def _text(*names: str, null: bool = False) -> "list[sa.Column[Any]]":
    return [sa.Column(name, _TEXT, nullable=null) for name in names]


def _common() -> "list[sa.Column[Any]]":
    scope = [*_text("gateway", "account"), sa.Column("live", _TRUTH, nullable=False)]
    return [*_text("id"), *scope, *_text("as_of", null=True), *_text("properties")]


def _create_own(name: str, *columns: str) -> None:
    _create(name, ["id"], *_common(), *_text(*columns, null=True))
    for column in columns:
        given = sa.text(f"{column} IS NOT NULL")
        index, table = f"callsheet_{name}_{column}", f"callsheet_{name}"
        op.create_index(index, table, [column, "id"], postgresql_where=given, sqlite_where=given)


def upgrade() -> None:
    """Make the first tables."""
    _create("record", ["type", "id"], *_text("type"), *_common())
    _create("record_key", ["text"], *_text("text", "type", "name", "record_id"), rowid=False)
    entry = ["type", "name", "value", "record_id"]
    _create("record_index", entry, *_text(*entry), rowid=False)
    _create("indexed", ["type", "name"], *_text("type", "name"), rowid=False)
    _create_own("call", "state", "due", "lease", "operation", "key", "request_type", "parent")
    _create_own("event", "state", "due", "lease", "key", "event_id", "event_type")
    _create_own("reaction", "state", "due")
