"""Unique keys of numbers by their value: what was kept under 1.0 stands under 1.

Where two records differ in nothing else, which was allowed, both stay, and 1 is the key of the one that has it already.
"""

import hashlib
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_KEY, _RECORD, _INDEXED = (
    sa.table(f"callsheet_{name}", *map(sa.column, columns.split()))
    for name, columns in (
        ("record_key", "text type name record_id"),
        ("record", "type id gateway account live properties"),
        ("indexed", "type name"),
    )
)
_UNIQUE = "unique "


def upgrade() -> None:
    """Give the keys of whole numbers the text that is asked for now."""
    connection = op.get_bind()
    for old, new in list(_changed(connection)):
        taken = connection.execute(sa.select(_KEY.c.text).where(_KEY.c.text == new)).first()
        if not taken:
            connection.execute(_KEY.update().where(_KEY.c.text == old).values(text=new))


def _changed(connection: sa.Connection) -> Iterator[tuple[str, str]]:
    """The texts of keys that hold a whole number with a fraction or an exponent, and what they become."""
    within = {}
    for type, mark in connection.execute(sa.select(_INDEXED).where(_INDEXED.c.name.startswith(_UNIQUE))):
        name, _, scope = mark.removeprefix(_UNIQUE).rpartition(" within ")
        within[type, name] = scope.split(",") if scope else []
    properties = _RECORD.c.properties
    kept = (
        sa.select(_KEY.c.name, _RECORD)
        .where(_KEY.c.type == _RECORD.c.type, _KEY.c.record_id == _RECORD.c.id)
        .where(properties.contains(".0") | properties.contains("e+"))
        .execution_options(yield_per=500)
    )
    for row in connection.execute(kept):
        if (row.type, row.name) in within:
            record = json.loads(row.properties)
            values = [record.get(name) for name in row.name.split(",")]
            scope = {"gateway": row.gateway, "account": row.account, "live": bool(row.live)}
            begun = [row.type, row.name, *(scope[name] for name in within[row.type, row.name])]
            old, new = _text([*begun, *values]), _text([*begun, *map(_whole, values)])
            if old != new:
                yield old, new


def _whole(value: Any) -> Any:
    return int(Decimal(str(value))) if isinstance(value, float) and value.is_integer() else value


def _text(parts: list[Any]) -> str:
    text = json.dumps(parts, separators=(",", ":"))
    return text if len(text) <= 200 else hashlib.sha256(text.encode()).hexdigest()
