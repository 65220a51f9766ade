"""The unique keys of calls and events in columns of their own."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Let the column decide who has a key."""
    for name in ("call", "event"):
        index, table = f"callsheet_{name}_key", f"callsheet_{name}"
        op.drop_index(index, table)
        op.create_index(index, table, ["key"], unique=True)
        for side in ("record_key", "indexed"):
            rows = sa.table(f"callsheet_{side}", sa.column("type"))
            op.execute(rows.delete().where(rows.c.type == name))
