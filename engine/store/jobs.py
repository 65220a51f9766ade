"""Jobs: how workers on many machines learn, through procrastinate, that a row is due.

A job names a row and says nothing of it: the row is the truth, and whoever comes for one that is not due any more does
nothing. A row that is due when it is committed has its job in the same commit. What becomes due by time alone, and what
lost its job, is found by `tell`, so a lost job costs seconds. Hides: procrastinate's tables, which the first worker
makes. Until then nobody is told, and nothing piles up.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from engine.errors import StoreError
from engine.records import Change, Record
from engine.store import Due
from engine.store.tables import shelf

if TYPE_CHECKING:
    from procrastinate import App
    from procrastinate.types import JSONDict

TASK = "callsheet"
LOOKS_AGAIN = 1.0  # seconds, while no worker has made the tables; what one does not hear of meanwhile, `tell` finds
FIRST = 1000  # rows of a kind, those longest due, that are looked at: a backlog costs no more than these

_FOR_SETTING_UP = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL lock_timeout = 0",
    "SELECT pg_advisory_xact_lock(1667329133)",
)
_THE_ONLY_ONE = text("SELECT pg_try_advisory_xact_lock(1667329134)")
_THERE = text("SELECT to_regclass('procrastinate_jobs') IS NOT NULL")
_WAITING = text("SELECT to_regclass('callsheet_waiting') IS NOT NULL")
_MAKE_WAITING = """
    CREATE INDEX callsheet_waiting ON procrastinate_jobs ((args ->> 'id') COLLATE "C") WHERE status = 'todo'
"""
_FUNCTIONS = text("SELECT proname FROM pg_proc WHERE proname = ANY(:names) AND pg_function_is_visible(oid)")
_WITHOUT_JOB = """
    SELECT id FROM ({first}) AS first WHERE NOT EXISTS (
        SELECT 1 FROM procrastinate_jobs WHERE status = 'todo' AND args ->> 'id' = first.id
    )
"""

Row = tuple[str, str]  # a record's type and id


def queue_of(type: str) -> str:
    """The queue for rows of `type`: a worker listens only to those that it can do something about."""
    return f"callsheet_{type}"


class Jobs:
    """Tells of rows that are due: called inside every commit, as `SqlStore` offers it."""

    def __init__(self, due: Due) -> None:
        self._due = due
        self._there = False
        self._looks_at = 0.0  # by the clock of this process, whether they are there now

    def __call__(self, connection: Connection, _: Sequence[Change], records: Sequence[Record]) -> None:
        """Give a job to every one of `records` that is due."""
        due = self._due_among(records)
        if due and self._are_there(connection):
            _defer(connection, due, late=False)

    def concern(self, records: Sequence[Record]) -> bool:
        """Whether any of `records` is due, and there may be somebody to tell."""
        return (self._there or time.monotonic() >= self._looks_at) and bool(self._due_among(records))

    def _due_among(self, records: Sequence[Record]) -> list[Row]:
        now = datetime.now(UTC)
        return [(record.type, record.id) for record in records if record.type in self._due and _is_due(record, now)]

    def set_up(self, connection: Connection) -> None:
        """Make procrastinate's tables where they are not there yet; of several workers that start at once, one does.

        Raises StoreError where they are there and belong to another version.
        """
        for statement in _FOR_SETTING_UP:
            connection.exec_driver_sql(statement)
        if not connection.scalar(_THERE):
            from procrastinate.schema import SchemaManager

            connection.exec_driver_sql(SchemaManager.get_schema(), execution_options={"no_parameters": True})
        _demand_version(connection)
        if not connection.scalar(_WAITING):
            connection.exec_driver_sql(_MAKE_WAITING)

    def tell(self, connection: Connection, now: str) -> int:
        """Give a job to every row that is due at `now` and has none, of those longest due; returns how many there were.

        While another process is at it there is nothing to do.
        """
        if not connection.scalar(_THE_ONLY_ONE):
            return 0
        rows = [
            (type, id)
            for type, names in self._due.items()
            for name, state in names.items()
            for id in connection.scalars(
                _without_job(type, name, state), {"type": type, "name": name, "state": state, "now": now}
            )
        ]
        _defer(connection, rows, late=True)
        return len(rows)

    def _are_there(self, connection: Connection) -> bool:
        if not self._there:
            self._there = bool(connection.scalar(_THERE))
            self._looks_at = time.monotonic() + LOOKS_AGAIN
        return self._there


def _is_due(record: Record, now: datetime) -> bool:
    due = record.get("due")
    return due is not None and datetime.fromisoformat(due) <= now


@cache
def _without_job(type: str, name: str, state: str | None) -> Any:
    """The ids of the first rows whose instant `name` has passed, as far as no job of theirs waits."""
    place = shelf(type)
    if name in place.columns:
        table, only = place.table.name, "state = :state AND" if state else ""
        first = f"SELECT id FROM {table} WHERE {only} {name} <= :now ORDER BY {name} LIMIT {FIRST}"  # noqa: S608 - every value is a parameter
    else:
        first = f"""
            SELECT record_id AS id FROM callsheet_record_index
            WHERE type = :type AND name = :name AND value <= :now ORDER BY value LIMIT {FIRST}
        """  # noqa: S608 - likewise
    return text(_WITHOUT_JOB.format(first=first))


def _defer(connection: Connection, rows: Sequence[Row], *, late: bool) -> None:
    """Give jobs to rows. What is late, and what follows from calls, goes before calls that are only queued now."""
    for type in dict.fromkeys(type for type, _ in rows):
        mine: list[JSONDict] = [{"type": type, "id": id} for kind, id in rows if kind == type]
        priority = 1 if late or type != "call" else 0
        deferrer = _app().configure_task(TASK, queue=queue_of(type), priority=priority, connection=connection)
        deferrer.batch_defer(*mine)


def without_procrastinate(error: ModuleNotFoundError) -> Exception:
    """What to raise where a module is missing: a sentence, where it is the library."""
    said = "the queue on PostgreSQL needs procrastinate: pip install 'callsheet[postgres]'"
    return StoreError(said) if error.name == "procrastinate" else error


@cache
def _app() -> App:
    """The queue, seen from inside a transaction: it runs its statements on the connection that it is given."""
    try:
        from procrastinate import App, SyncPsycopgConnector
    except ModuleNotFoundError as error:
        raise without_procrastinate(error) from None

    class OnTheStoresConnection(SyncPsycopgConnector):
        """Leaves errors to the store, which knows which of them pass."""

        def execute_query_all_with_connection(
            self, connection: Any, query: str, **arguments: Any
        ) -> list[dict[str, Any]]:
            found = connection.exec_driver_sql(query, self._wrap_json(arguments))
            return [dict(row) for row in found.mappings()]

    return App(connector=OnTheStoresConnection())


def _demand_version(connection: Connection) -> None:
    from procrastinate import __version__, sql

    wanted = set(re.findall(r"(procrastinate_\w+_v\d+)\(", " ".join(sql.queries.values())))
    missing = wanted - set(connection.scalars(_FUNCTIONS, {"names": sorted(wanted)}))
    if missing:
        raise StoreError(
            f"procrastinate's tables lack {', '.join(sorted(missing))}: they belong to another version than"
            f" {__version__}; apply its migrations (procrastinate/sql/migrations) and start the worker again"
        )
