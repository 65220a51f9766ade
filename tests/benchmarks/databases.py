"""A PostgreSQL for contests that keeps what it commits: tests do without syncing, what is measured may not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from postgres import running_server


@contextmanager
def synced_postgres() -> Iterator[str]:
    """The URL of a server that runs inside the `with` and syncs its commits."""
    with running_server() as server, psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = on")
        connection.execute("SELECT pg_reload_conf()")
        yield server.url
