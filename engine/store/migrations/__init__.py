"""The tables through time: brings a database of any version to this one.

Hides: the library that does it, which is imported only where there is something to do.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from engine.errors import StoreError
from engine.store.postgres import PostgresDatabase
from engine.store.sqlite import SqliteDatabase
from engine.store.tables import SCHEMA

VERSION_TABLE = "callsheet_schema_version"

_ALONE = (  # on SQLite every transaction is alone
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = 0",
    "SELECT pg_advisory_xact_lock(1667329132)",
)


def upgrade(database: SqliteDatabase | PostgresDatabase, to: str = SCHEMA) -> None:
    """Make the tables, or upgrade them `to` a version; of several processes that start at once, one does.

    Raises StoreError where the database is newer than this code.
    """
    if database.read(lambda session: _version(session.connection)) != to:
        database.write(lambda session: _upgrade(session.transaction, to))


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(text(f"SELECT version_num FROM {VERSION_TABLE}"))  # noqa: S608 - a name of our own
    if version is not None and version > SCHEMA:
        raise StoreError(f"the database has schema {version}, made by a newer callsheet; this one knows up to {SCHEMA}")
    return version


def _upgrade(connection: Connection, to: str) -> None:
    if connection.dialect.name == "postgresql":
        for statement in _ALONE:
            connection.exec_driver_sql(statement)
    from alembic import command
    from alembic.config import Config

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    command.upgrade(config, to)
