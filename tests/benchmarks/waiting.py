"""What a backlog costs: the same steps on PostgreSQL while nothing waits, and while very many calls do.

The look for rows without a job is at the first thousand, however many wait behind them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psycopg
from postgres import Databases, running_server

from engine import Engine
from engine.calls import instant
from engine.core import DUE
from engine.store.jobs import TASK, Jobs, queue_of
from engine.store.sql import SqlStore

from .contests import Contest, Contestant, Row
from .payment import DATA, NAME, SECRET

GOALS = {"queue a call": 1.5, "fetch a job and end it": 1.5, "look for a row without a job": None}
_CALLS = """
    INSERT INTO callsheet_call (id, gateway, account, live, properties, state, due)
    SELECT gen_random_uuid()::text, 'stripe', '', false, '{}', 'prepared', to_char(now(), 'YYYY')
    FROM generate_series(1, %s)
"""
_JOBS = """
    INSERT INTO procrastinate_jobs (queue_name, task_name, args)
    SELECT %s, %s, jsonb_build_object('type', 'call', 'id', id) FROM callsheet_call
"""
_FETCH = "SELECT id FROM procrastinate_fetch_job_v2(%s, NULL)"
_END = "SELECT procrastinate_finish_job_v1(%s, 'succeeded', true)"


@contextmanager
def waiting(number: int) -> Iterator[Contest]:
    """The contest, with `number` calls and their jobs that wait in one of two databases."""
    with TemporaryDirectory() as folder, running_server() as server:
        Path(folder, "request_types").mkdir()
        databases = Databases(server.url)
        contestants: dict[str, Contestant] = {}
        for count in (0, number):
            url = databases.new()
            steps = _steps(folder, url, count)
            contestants |= {_name(step, count): Contestant(run, 40) for step, run in zip(GOALS, steps, strict=True)}
        rows = [Row(_name(step, number), _name(step, number), _name(step, 0), goal) for step, goal in GOALS.items()]
        yield Contest("waiting", contestants, rows)


def _name(step: str, count: int) -> str:
    return f"{step}, {count:,} waiting" if count else f"{step}, none waiting"


def _steps(folder: str, url: str, count: int) -> tuple[Callable[[], object], ...]:
    engine = Engine(folder, environment={"STRIPE_SECRET_KEY": SECRET, "CALLSHEET_STORE": url})
    jobs, store, queues = Jobs(DUE), SqlStore(url), [queue_of(type) for type in DUE]
    store.write(jobs.set_up)
    engine.send_later(NAME, DATA)
    bare = psycopg.connect(url, autocommit=True)
    bare.execute(_CALLS.encode(), [count])
    bare.execute(_JOBS.encode(), [queue_of("call"), TASK])
    bare.execute("VACUUM ANALYZE procrastinate_jobs")
    bare.execute("VACUUM ANALYZE callsheet_call")
    return (
        partial(engine.send_later, NAME, DATA),
        partial(_fetch_and_end, bare, queues),
        lambda: store.write(partial(jobs.tell, now=instant(datetime.now(UTC)))),
    )


def _fetch_and_end(bare: psycopg.Connection[Any], queues: list[str]) -> None:
    (id,) = bare.execute(_FETCH, [queues]).fetchone() or (None,)
    if id is not None:
        bare.execute(_END, [id])
