"""Jobs: who is told that a row is due, when, and that a job and its row are one commit."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import Connection, text
from store_processes import in_processes, set_up_jobs

import engine.queues
from engine import calls
from engine.calls import ANYWHERE, CALL, instant
from engine.core import DUE, Engine
from engine.errors import Conflict, StoreError
from engine.inbox import EVENT
from engine.reactions import REACTION
from engine.records import Change, Record, RecordType
from engine.replays import REPLAY
from engine.store import jobs
from engine.store.jobs import Jobs, queue_of
from engine.store.opening import open_store
from engine.store.sql import SqlStore

NOW = datetime.now(UTC)
Waiting = list[tuple[str, str, str]]  # queue, type and id of each job


def born(type: RecordType, id: str, due: datetime | None = NOW, **more: Any) -> Change:
    """A row that is as full as it has to be, in its first state."""
    kinds: dict[str, Any] = {"string": id, "object": {}, "integer": 0}
    schemas = {name: type.properties[name] for name in type.required}
    required = {name: schema.get("enum", [kinds[schema.get("type", "string")]])[0] for name, schema in schemas.items()}
    return Change("insert", type, ANYWHERE, {"id": id}, {**required, "due": due and instant(due), **more})


def a_call(id: str, due: datetime | None = NOW, **more: Any) -> Change:
    return born(CALL, id, due, **more)


@pytest.fixture
def store(postgres_url: str) -> SqlStore:
    """A store whose commits tell of what is due, as the engine opens it, and whose queue is set up."""
    made = open_store(postgres_url, Path(), DUE)
    assert isinstance(made, SqlStore)
    made.write(Jobs(DUE).set_up)
    return made


def waiting(store: SqlStore) -> Waiting:
    """The jobs that wait for a worker."""
    query = text("SELECT queue_name, args ->> 'type', args ->> 'id' FROM procrastinate_jobs WHERE status = 'todo'")
    return sorted(tuple(row) for row in store.write(lambda connection: connection.execute(query).all()))


def change_jobs(store: SqlStore, statement: str) -> None:
    store.write(lambda connection: connection.execute(text(statement)) and None)


def tell(store: SqlStore, now: datetime = NOW) -> int:
    return store.write(lambda connection: Jobs(DUE).tell(connection, instant(now)))


# In the commit --------------------------------------------------------------------------------------------------------


def test_what_is_due_has_its_job_in_the_same_commit(store: SqlStore) -> None:
    """What is due later has none, what is not due at all neither."""
    store.apply([a_call("a"), a_call("b", NOW + timedelta(hours=1)), a_call("c", None), a_call("d")])
    assert waiting(store) == [("callsheet_call", "call", "a"), ("callsheet_call", "call", "d")]


def test_every_kind_of_due_work_has_jobs(store: SqlStore) -> None:
    """Each on a queue of its own; a record that happens to have a property `due` is none of them."""
    invoice = RecordType("invoice", {"due": {"type": "string"}}, index=("due",))
    store.apply([a_call("a"), born(EVENT, "b"), born(REPLAY, "c")])
    store.apply([born(REACTION, "d"), born(invoice, "e")])
    kinds = ("call", "event", "reaction", "replay")
    assert [job[:2] for job in waiting(store)] == [(f"callsheet_{kind}", kind) for kind in kinds]


def test_a_job_is_undone_with_its_row(store: SqlStore) -> None:
    with pytest.raises(Conflict):
        store.apply([a_call("a"), Change("update", CALL, ANYWHERE, {"id": "nobody"}, {"tries": 1}, must=True)])
    assert waiting(store) == []


def test_a_row_that_is_gone_or_done_within_the_commit_has_none(store: SqlStore) -> None:
    gone = Change("delete", REACTION, ANYWHERE, {"id": "a"})
    done = Change("update", CALL, ANYWHERE, {"id": "b"}, {"state": "cancelled", "due": None})
    store.apply([born(REACTION, "a"), a_call("b"), gone, done])
    assert waiting(store) == []


def test_a_commit_that_lost_its_connection_is_made_once_with_its_job(postgres_url: str) -> None:
    """The connection ends while the job is written: all of it is done again, and nothing twice."""
    tries: list[int] = []

    def inside(connection: Connection, changes: Sequence[Change], records: Sequence[Record]) -> None:
        tries.append(1)
        if len(tries) == 1:
            process = connection.scalar(text("SELECT pg_backend_pid()"))
            with psycopg.connect(postgres_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [process])
        Jobs(DUE)(connection, changes, records)

    store = SqlStore(postgres_url, inside=inside)
    store.write(Jobs(DUE).set_up)
    assert len(store.apply([a_call("a")])) == 1
    assert len(tries) == 2
    assert len(waiting(store)) == len(store.find("call")) == 1


# By and by ------------------------------------------------------------------------------------------------------------


def test_what_becomes_due_is_told_once(store: SqlStore) -> None:
    """When its time has come, and not again while its job waits."""
    later = NOW + timedelta(hours=1)
    store.apply([a_call("a", later), born(EVENT, "b", later), born(REPLAY, "c", later)])
    store.apply([a_call("d", None, state="sending", lease=instant(later)), born(REACTION, "e", later)])
    assert tell(store) == 0
    assert tell(store, later) == 5
    assert [job[2] for job in waiting(store)] == ["a", "d", "b", "e", "c"]
    assert tell(store, later) == 0


@pytest.mark.parametrize("lost", ["DELETE FROM procrastinate_jobs", "UPDATE procrastinate_jobs SET status = 'doing'"])
def test_a_row_whose_job_was_lost_is_told_again(store: SqlStore, lost: str) -> None:
    """Whether the job is gone, or in the hands of a worker that died before it claimed the row."""
    store.apply([a_call("a"), a_call("b")])
    change_jobs(store, lost)
    assert tell(store) == 2
    assert [job[2] for job in waiting(store)] == ["a", "b"]


def test_a_backlog_costs_no_more_than_its_beginning(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those longest due are looked at; who comes behind them has its turn when they are done."""
    monkeypatch.setattr(jobs, "FIRST", 3)
    jobs._without_job.cache_clear()
    store.apply([a_call(str(number), NOW - timedelta(minutes=number)) for number in range(10)])
    change_jobs(store, "DELETE FROM procrastinate_jobs")
    assert (tell(store), [job[2] for job in waiting(store)]) == (3, ["7", "8", "9"])
    assert tell(store) == 0
    store.apply([Change("update", CALL, ANYWHERE, {"id": id}, {"due": None}) for id in ("8", "9")])
    assert (tell(store), [job[2] for job in waiting(store)]) == (2, ["5", "6", "7", "8", "9"])
    jobs._without_job.cache_clear()


def test_a_backlog_of_calls_keeps_nothing_else_waiting(store: SqlStore) -> None:
    """An event, a reaction and what was late come first, then calls as they were queued."""
    store.apply([a_call("a", NOW - timedelta(hours=1))])
    change_jobs(store, "DELETE FROM procrastinate_jobs")
    store.apply([a_call("b"), a_call("c")])
    store.apply([born(EVENT, "d"), born(REACTION, "e")])
    tell(store)
    queues = [queue_of(type) for type in DUE]
    fetch = text("SELECT args ->> 'id' FROM procrastinate_fetch_job_v2(:queues, NULL)")
    order = [store.write(lambda connection: connection.scalar(fetch, {"queues": queues})) for _ in range(5)]
    assert order == ["d", "e", "a", "b", "c"]


def test_while_one_process_tells_the_others_do_not(store: SqlStore) -> None:
    store.apply([a_call("a")])
    change_jobs(store, "DELETE FROM procrastinate_jobs")
    other = SqlStore(store._url.render_as_string(hide_password=False))

    def both(connection: Connection) -> tuple[int, int]:
        mine = Jobs(DUE).tell(connection, instant(NOW))
        return mine, tell(other)

    assert store.write(both) == (1, 0)


# The queue's own tables -----------------------------------------------------------------------------------------------


def test_without_a_worker_nothing_is_told_and_nothing_piles_up(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tables are made by the first worker; soon after every process tells, whenever it began."""
    monkeypatch.setattr(jobs, "LOOKS_AGAIN", 0.5)
    store = open_store(postgres_url, Path(), DUE)
    assert isinstance(store, SqlStore)
    store.apply([a_call("a")])
    there = text("SELECT to_regclass('procrastinate_jobs')")
    assert store.write(lambda connection: connection.scalar(there)) is None
    SqlStore(postgres_url).write(Jobs(DUE).set_up)
    time.sleep(0.5)
    store.apply([a_call("b")])
    assert [job[2] for job in waiting(store)] == ["b"]
    assert tell(store) == 1


def test_workers_that_start_at_once_make_the_tables_once(postgres_url: str) -> None:
    """And who starts later finds them."""
    assert in_processes(6, set_up_jobs, postgres_url) == [0] * 6
    SqlStore(postgres_url).write(Jobs(DUE).set_up)


def test_tables_of_another_version_are_refused(store: SqlStore) -> None:
    change_jobs(store, "DROP FUNCTION procrastinate_retry_job_v2")
    with pytest.raises(StoreError, match=r"tables lack procrastinate_retry_job_v2: .* apply its migrations"):
        store.write(Jobs(DUE).set_up)


def test_without_the_library_it_is_told_what_to_install(store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether a worker is started, or a process without it writes to a store that has a queue; nothing is kept then."""
    jobs._app.cache_clear()
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    monkeypatch.delitem(sys.modules, "engine.queues.procrastinating", raising=False)
    monkeypatch.delattr(engine.queues, "procrastinating", raising=False)
    with pytest.raises(StoreError, match="needs procrastinate: pip install"):
        store.apply([a_call("a")])
    assert store.find("call") == []
    with pytest.raises(StoreError, match="needs procrastinate: pip install"):
        engine.queues.work(Engine(store=store), 1)


def test_sqlite_has_no_queue(tmp_path: Path) -> None:
    """Nothing of it is even imported."""
    store = open_store(None, tmp_path, DUE)
    assert isinstance(store, SqlStore)
    assert store.apply([a_call("a")])
    assert store.connection_arguments() == {}


def test_leases_and_dues_are_those_of_the_engine() -> None:
    """What makes a row due here is what the engine claims by."""
    claims = [calls.due(NOW, 1), calls.unsettled(NOW, 1), calls.abandoned(NOW, 1)]
    assert {name for claim in claims for name in claim.where} - {"state"} == set(DUE["call"])
