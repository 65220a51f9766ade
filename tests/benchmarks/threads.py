"""Many calls in flight at once: threads that share an engine beside threads that share one client.

A batch is the same number of calls for all; what is compared is the time a batch takes, so half the time is twice the
calls a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory

import httpx

from engine.store.memory import MemoryStore

from .contests import Contest, Contestant, Row
from .gateway import gateway
from .sending import engine_sending, httpx_sending

GOALS = {8: 1 / 0.7, 64: 1 / 1.5, 256: 1 / 2}  # threads: the most of a bare client's time that may be taken
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
            contestants |= {names[who]: Contestant(_batch(pool, send[who]), 1) for who in send}
            rows.append(
                Row(
                    f"{CALLS} sends, {number} in flight, kept in memory",
                    names["engine"],
                    names["bare httpx.Client"],
                    goal,
                )
            )
        yield Contest("threads", contestants, rows, most=9)


def _batch(pool: ThreadPoolExecutor, send: Callable[[], object]) -> Callable[[], object]:
    return lambda: list(pool.map(lambda _: send(), range(CALLS)))
