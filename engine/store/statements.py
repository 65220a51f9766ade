"""How a statement of SQLAlchemy's is run: its text is made once for a database, and given to the driver.

Hides: that SQLAlchemy takes several times as long to execute a statement as SQLite does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import Executable

Values = Mapping[str, Any]
Fetched = Sequence[Sequence[Any]]


def run(connection: Connection, statement: Executable, values: Values | Sequence[Values]) -> Fetched:
    """The rows that `statement` brings with `values` for its parameters; with several `values`, it runs once for each.

    A list among the values is not understood. Raises SQLAlchemy's DBAPIError.
    """
    text, constants = _made(statement, connection.dialect)
    if constants:
        values = {**constants, **values} if isinstance(values, Mapping) else [{**constants, **each} for each in values]
    if connection.dialect.name != "sqlite":  # on the network, what SQLAlchemy makes of a lost connection is worth it
        result = connection.exec_driver_sql(text, values)
        return result.all() if result.returns_rows else ()
    driver = connection.dialect.loaded_dbapi
    cursor = connection.connection.cursor()
    try:
        if isinstance(values, Mapping):
            cursor.execute(text, values)
        else:
            cursor.executemany(text, values)
        return cursor.fetchall() if cursor.description else ()
    except driver.Error as error:
        raise DBAPIError.instance(text, None, error, driver.Error, hide_parameters=True) from error


@lru_cache(maxsize=1000)
def _made(statement: Executable, dialect: Dialect) -> tuple[str, dict[str, Any]]:
    """The text, and the parameters whose values stand in the statement itself."""
    compiled = statement.compile(dialect=dialect)  # type: ignore[attr-defined]
    return str(compiled), {name: value for name, value in compiled.params.items() if value is not None}
