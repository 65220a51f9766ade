"""Events without an index of their key: the gateway's id within a scope says as much, and is searched anyway.

That index holds the account, which PostgreSQL refuses where it is long. An event that was kept with such a one stays,
under a shortened one, while its key and its body say the whole; and it is put aside where it was still to be processed,
as every event of such an account is now.
"""

import hashlib
import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_LONGEST = 255
_ASIDE = f"the event names an account of more than {_LONGEST} characters, which is shortened here"
_EVENT = sa.table("callsheet_event", *map(sa.column, ("id", "account", "state", "due", "properties")))
_REWRITE = "ALTER TABLE callsheet_event ALTER account TYPE text COLLATE \"C\" USING account || ''"
"""PostgreSQL indexes what a row was before this transaction changed it, too, until the table is written anew."""


def upgrade() -> None:
    """Let one index tell events apart, and find them by the gateway's id."""
    for name in ("key", "event_id"):
        op.drop_index(f"callsheet_event_{name}", "callsheet_event")
    if _shorten_accounts() and op.get_context().dialect.name == "postgresql":
        op.execute(_REWRITE)
    op.create_index(
        "callsheet_event_event_id", "callsheet_event", ["event_id", "gateway", "account", "live"], unique=True
    )


def _shorten_accounts() -> int:
    """How many there were."""
    long = op.get_bind().execute(sa.select(_EVENT).where(sa.func.length(_EVENT.c.account) > _LONGEST)).all()
    for event in long:
        end = hashlib.sha256(event.account.encode()).hexdigest()
        changed = {"account": event.account[: _LONGEST - len(end)] + end}
        if event.state in {"received", "failed"}:
            properties = json.loads(event.properties) | {"state": "quarantined", "due": None, "message": _ASIDE}
            changed |= {"state": "quarantined", "due": None, "properties": json.dumps(properties)}
        op.execute(_EVENT.update().where(_EVENT.c.id == event.id).values(changed))
    return len(long)
