"""Events without an index of their key: the gateway's id within a scope says as much, and is searched anyway."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Let one index tell events apart, and find them by the gateway's id."""
    for name in ("key", "event_id"):
        op.drop_index(f"callsheet_event_{name}", "callsheet_event")
    op.create_index(
        "callsheet_event_event_id", "callsheet_event", ["event_id", "gateway", "account", "live"], unique=True
    )
