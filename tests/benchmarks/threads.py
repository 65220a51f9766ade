"""Many calls in flight at once: threads that share an engine beside threads that share one client.

What is compared is the calls a second of a batch, which is the same number of calls for all. The pool of a bare
`httpx.Client` looks at every connection at every call, so it is the slower the more there are.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory

import httpx

from engine.store.memory import MemoryStore

from .contests import RATE, Contest, Contestant, Row
from .gateway import gateway
from .sending import engine_sending, httpx_sending

GOALS = {8: 0.7, 64: 1.5, 256: 2.0}  # threads: how many times the calls of a bare client
CALLS = 512


@contextmanager
def threads() -> Iterator[Contest]:
    """The contest. The pools of threads live as long as it does, and so do their connections."""
    with gateway() as origin, TemporaryDirectory() as folder, ExitStack() as stack:
        limits = httpx.Limits(max_connections=max(GOALS), max_keepalive_connections=max(GOALS))
        client = stack.enter_context(httpx.Client(base_url=f"{origin}/v1", limits=limits, timeout=60))
        send = {"engine": engine_sending(origin, folder, MemoryStore()), "bare httpx.Client": httpx_sending(client)}
        contestants = dict[str, Contestant]()
        rows = []
        for number, goal in GOALS.items():
            pool = stack.enter_context(ThreadPoolExecutor(number))
            names = {who: f"{who}, {number} threads" for who in send}
            contestants |= {names[who]: Contestant(batch(pool, send[who], CALLS), 1) for who in send}
            work = f"sends with {number} in flight, kept in memory"
            rows.append(Row(work, names["engine"], names["bare httpx.Client"], goal, RATE))
        yield Contest("threads", contestants, rows, most=9)


def batch(pool: ThreadPoolExecutor, send: Callable[[], object], calls: int) -> Callable[[], float]:
    """Sends so many times from all threads of the pool; returns the calls a second."""

    def run() -> float:
        start = time.perf_counter()
        for _ in pool.map(lambda _: send(), range(calls)):
            pass
        return calls / (time.perf_counter() - start)

    return run
