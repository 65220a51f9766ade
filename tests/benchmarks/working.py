"""Queued calls: how many a second workers on PostgreSQL send to a gateway that takes 100 ms for each.

The workers stand still while calls are queued, and the time runs from when they are let go until the records of the
last call are kept. The ideal is what a gateway of 100 ms answers where so many wait for it and nothing else takes time;
bare threads that send the same requests and keep nothing come near it. What bounds two workers is printed too: the time
of a processor that one call takes, and how many calls this machine's processors have the time for.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psycopg
from postgres import running_server

from engine import Engine

from .contests import RATE, Contest, Contestant, Row
from .gateway import gateway
from .payment import DATA, NAME, SECRET
from .sending import httpx_sending
from .threads import batch

GATEWAY = 0.1  # seconds that it takes for an answer
THREADS = 32
IDEAL_RATE = THREADS / GATEWAY  # calls a second of one worker
GOAL = 0.5

ONE, TWO, BARE = "one worker", "two workers", f"{THREADS} bare httpx threads"
IDEAL, IDEAL_OF_TWO, BOUND = "the ideal rate", "the ideal rate of two", "bound"

_INSIDE = "SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND state LIKE 'idle in %'"
_LEFT = "SELECT count(*) FROM callsheet_call WHERE state IN ('prepared', 'sending')"


class Workers:
    """Two workers on one database."""

    def __init__(
        self, engine: Engine, bare: psycopg.Connection[Any], processes: list[subprocess.Popen[str]], calls: int
    ) -> None:
        self._engine, self._bare, self._processes, self._calls = engine, bare, processes, calls
        self.costs = {"the workers": 0.0, "PostgreSQL": 0.0}  # seconds of a processor for one call

    def run(self, number: int) -> float:
        """The calls a second of so many workers."""
        calls = number * self._calls
        self._stand_still()
        for _ in range(calls):
            self._engine.send_later(NAME, DATA)
        chosen = self._processes[:number]
        before, start = self._spent(), time.perf_counter()
        for process in chosen:
            process.send_signal(signal.SIGCONT)
        while self._ask(_LEFT):
            time.sleep(0.01)
        taken = time.perf_counter() - start
        self.costs = {who: (seconds - before[who]) / calls for who, seconds in self._spent().items()}
        return calls / taken

    def bound(self) -> float:
        """The calls a second that would keep every processor busy, the gateway's and our own time left out."""
        return (os.cpu_count() or 1) / sum(self.costs.values())

    def _stand_still(self) -> None:
        """Stop both, but not inside a transaction."""
        for process in self._processes:
            process.send_signal(signal.SIGSTOP)
        while self._ask(_INSIDE):
            for process in self._processes:
                process.send_signal(signal.SIGCONT)
            time.sleep(0.01)
            for process in self._processes:
                process.send_signal(signal.SIGSTOP)

    def _ask(self, query: str) -> int:
        row = self._bare.execute(query.encode()).fetchone()
        assert row
        return int(row[0])

    def _spent(self) -> dict[str, float]:
        backends = self._bare.execute("SELECT pid FROM pg_stat_activity WHERE pid <> pg_backend_pid()").fetchall()
        mine = [process.pid for process in self._processes]
        return {"the workers": _processor(mine), "PostgreSQL": _processor(pid for (pid,) in backends)}


def _processor(processes: Iterable[int]) -> float:
    """The seconds of a processor that processes have used so far."""
    ticks = 0
    for pid in processes:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(stat[11]) + int(stat[12])
    return ticks / os.sysconf("SC_CLK_TCK")


@contextmanager
def working(calls: int) -> Iterator[Contest]:
    """The contest, with all that it needs, and so many `calls` queued for each worker."""
    with (
        TemporaryDirectory() as folder,
        running_server() as server,
        gateway(GATEWAY) as origin,
        psycopg.connect(server.url, autocommit=True) as bare,
        ExitStack() as stack,
    ):
        Path(folder, "request_types").mkdir()
        settings = {
            "STRIPE_SECRET_KEY": SECRET,
            "CALLSHEET_STORE": server.url,
            "CALLSHEET_STRIPE_BASE_URL": f"{origin}/v1",
        }
        processes = [stack.enter_context(_worker(folder, settings)) for _ in range(2)]
        workers = Workers(Engine(folder, environment=settings), bare, processes, calls)
        pool = stack.enter_context(ThreadPoolExecutor(THREADS))
        limits = httpx.Limits(max_connections=THREADS, max_keepalive_connections=THREADS)
        client = stack.enter_context(httpx.Client(base_url=f"{origin}/v1", limits=limits, timeout=60))
        contestants = {
            IDEAL: Contestant(lambda: IDEAL_RATE, 1),
            BARE: Contestant(batch(pool, httpx_sending(client), calls), 1),
            ONE: Contestant(lambda: workers.run(1), 1),
            IDEAL_OF_TWO: Contestant(lambda: 2 * IDEAL_RATE, 1),
            TWO: Contestant(lambda: workers.run(2), 1),
        }
        rows = [
            Row(_said(1), ONE, IDEAL, GOAL, RATE),
            Row("the same calls, sent by bare threads and kept nowhere", BARE, IDEAL, None, RATE),
            Row(_said(2), TWO, IDEAL_OF_TWO, None, RATE),
        ]
        if Path("/proc/self/stat").exists():
            contestants |= {who: Contestant(lambda who=who: workers.costs[who], 1) for who in workers.costs}  # type: ignore[misc]
            contestants[BOUND] = Contestant(workers.bound, 1)
            rows += [Row(f"processor time of one queued call, {who}", who) for who in workers.costs]
            rows.append(Row(f"what bounds two: {os.cpu_count()} processors are full at", BOUND, None, None, RATE))
        yield Contest("working", contestants, rows, most=3)


def _said(number: int) -> str:
    names = "1 worker" if number == 1 else f"{number} workers"
    return f"queued calls, {names}, {THREADS} in flight each, a gateway of {GATEWAY * 1000:.0f} ms"


@contextmanager
def _worker(folder: str, settings: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    code = "from engine.cli import main; main()"
    command = [sys.executable, "-c", code, "--root", folder, "worker", "--concurrency", str(THREADS)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, **settings}) as process:
        assert process.stdout
        process.stdout.readline()
        try:
            yield process
        finally:
            process.send_signal(signal.SIGCONT)
            process.terminate()
            process.stdout.read()
