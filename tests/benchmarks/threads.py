"""Many calls in flight at once: threads that share an engine beside threads that share one client.

What is compared is the calls a second of a batch, which is the same number of calls for all. The gateway takes as long
for an answer as one that is far away, so that every thread has a call in flight. Where it answers at once, few calls
are ever in flight however many threads there are, and what is measured is the processor's time for a call.
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
FAR = 0.05  # seconds that a gateway takes for an answer
CALLS = {8: 160, 64: 1024, 256: 1536}  # threads: the calls of a batch, so many that connecting is the least of it


@contextmanager
def threads() -> Iterator[Contest]:
    """The contest. The pools of threads live as long as it does, and so do their connections."""
    with ExitStack() as stack:
        pools = {number: stack.enter_context(ThreadPoolExecutor(number)) for number in GOALS}
        contestants = dict[str, Contestant]()
        rows = []
        for seconds, said in ((FAR, f"a gateway of {FAR * 1000:.0f} ms"), (0.0, "one that answers at once")):
            send = _senders(stack, seconds)
            for number, goal in GOALS.items():
                names = {who: f"{who}, {number} threads, {said}" for who in send}
                run = {who: batch(pools[number], send[who], CALLS[number]) for who in send}
                contestants |= {names[who]: Contestant(run[who], 1) for who in send}
                work = f"sends with {number} in flight, kept in memory, {said}"
                ours, theirs = (names[who] for who in send)
                rows.append(Row(work, ours, theirs, goal if seconds else None, RATE))
        yield Contest("threads", contestants, rows, most=5)


def _senders(stack: ExitStack, seconds: float) -> dict[str, Callable[[], object]]:
    """An engine and a bare client, both of one gateway that takes `seconds` for an answer.

    The client may keep a connection for each thread: with the limits it has otherwise it closes some that are in use.
    """
    origin, folder = stack.enter_context(gateway(seconds)), stack.enter_context(TemporaryDirectory())
    limits = httpx.Limits(max_connections=max(GOALS), max_keepalive_connections=max(GOALS))
    client = stack.enter_context(httpx.Client(base_url=f"{origin}/v1", limits=limits, timeout=60))
    return {"engine": engine_sending(origin, folder, MemoryStore()), "bare httpx.Client": httpx_sending(client)}


def batch(pool: ThreadPoolExecutor, send: Callable[[], object], calls: int) -> Callable[[], float]:
    """Sends so many times from all threads of the pool; returns the calls a second."""

    def run() -> float:
        start = time.perf_counter()
        for _ in pool.map(lambda _: send(), range(calls)):
            pass
        return calls / (time.perf_counter() - start)

    return run
