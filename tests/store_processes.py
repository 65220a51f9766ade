"""What several processes do to one store at once. Functions of a module, because a process has to import them."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Callable
from typing import Any

from store_contract import CALL, HERE, claim, upsert

from engine.core import DUE
from engine.records import Change
from engine.store.jobs import Jobs
from engine.store.sql import SqlStore

_CONTEXT = multiprocessing.get_context("forkserver")  # a fork of a process with threads may never wake up
_CONTEXT.set_forkserver_preload(["psycopg", "engine.store.sql", "store_contract"])


def in_processes(count: int, work: Callable[..., Any], *arguments: Any) -> list[Any]:
    """What `work(number, *arguments)` returns or raises in `count` processes that begin at once, in any order."""
    barrier, queue = _CONTEXT.Barrier(count), _CONTEXT.Queue()
    processes = [
        _CONTEXT.Process(target=_run, args=(barrier, queue, work, number, *arguments)) for number in range(count)
    ]
    for process in processes:
        process.start()
    outcomes = [queue.get(timeout=100) for _ in processes]
    for process in processes:
        process.join()
    return outcomes


def _run(barrier: Any, queue: Any, work: Callable[..., Any], *arguments: Any) -> None:
    barrier.wait(100)
    try:
        queue.put(work(*arguments))
    except Exception as error:  # noqa: BLE001  # an outcome like any other
        queue.put(error)


def first_use(number: int, url: str) -> int:
    """Make the tables, as everybody does, and one record."""
    store = SqlStore(url)
    store.apply([upsert(f"ch_{number}")])
    return len(store.find("payment"))


def insert_all(_: int, url: str, count: int) -> int:
    """Begin `count` operations, each of which must be begun once; returns how many were."""
    store = SqlStore(url)
    born = (Change("insert", CALL, HERE, {}, {"key": f"k{number}", "state": "prepared"}) for number in range(count))
    return sum(len(store.apply([change])) for change in born)


def claim_all(number: int, url: str) -> list[str]:
    """Claim until nothing is left."""
    store = SqlStore(url)
    mine: list[str] = []
    while taken := store.apply([claim(CALL, "999", 5, str(number))]):
        mine += [one.id for one in taken]
    return mine


def upsert_all(number: int, url: str, count: int) -> list[str]:
    """Record the same objects as everybody else; returns the ids of the records."""
    store = SqlStore(url)
    return [store.apply([upsert(f"ch_{one}", note=number)])[0].id for one in range(count)]


def write_for(number: int, url: str, seconds: float) -> int:
    """Write again and again; returns how often."""
    store, end, count = SqlStore(url), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        store.apply([upsert(f"ch_{number}", note=count)])
        count += 1
    return count


def set_up_jobs(_: int, url: str) -> int:
    """Begin as a worker begins; returns how many rows without a job there were."""
    store, jobs = SqlStore(url), Jobs(DUE)
    store.write(jobs.set_up)
    return store.write(lambda connection: jobs.tell(connection, "9999"))
