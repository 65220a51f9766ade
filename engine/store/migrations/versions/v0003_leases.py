"""Without an index of leases: only calls that are being sent have one, and those are found by their state."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Drop the indexes."""
    for name in ("call", "event"):
        op.drop_index(f"callsheet_{name}_lease", f"callsheet_{name}")
