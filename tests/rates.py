"""Processes that share a gateway's rate. Functions of a module, because a process has to import them."""

from __future__ import annotations

import tempfile
import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

from commands import Gateway
from hosts import SECRETS, SHOP, OnlyHere, write

from engine.context import Clock
from engine.core import Engine
from engine.store import Store
from engine.store.sql import SqlStore

GATEWAY = "request_types/shop/_gateway.yml"


def limited(url: str, rate: str) -> Mapping[str, str]:
    """The shop's files, with its gateway at `url` and so limited; a payment is known by the amount it was asked for."""
    text = SHOP[GATEWAY].replace("https://api.shop.test/v1", url)
    mapper = SHOP["response_mappers/shop/pay.json.j2"].replace("{{ response.id }}", "{{ call_id }}")
    return {**SHOP, GATEWAY: f"{text}rate: {rate}\n", "response_mappers/shop/pay.json.j2": mapper}


def engine_at(root: Path, url: str, rate: str, store: Store, clock: Clock | None = None, **settings: str) -> Engine:
    """An engine with a real dispatcher, whose gateway at `url` is its own and not one in its place."""
    folder = write(root, limited(url, rate))
    return Engine(folder, store=store, environment={**SECRETS, **settings}, clock=clock, files=OnlyHere(folder))


class Counter:
    """What arrives at a gateway: when, and how many at once. `answer` is asked while a request is under way."""

    def __init__(self, gateway: Gateway, answer: Callable[[], Any] = lambda: (200, {"id": "p1", "amount": 5})) -> None:
        self._lock, self._answer = threading.Lock(), answer
        self.arrivals: dict[str, float] = {}
        self.at_once, self._now = 0, 0
        gateway.answer = self._note

    def _note(self, _: str, __: str, body: str) -> Any:
        with self._lock:
            self.arrivals[body] = time.time()
            self._now += 1
            self.at_once = max(self.at_once, self._now)
        try:
            return self._answer()
        finally:
            with self._lock:
                self._now -= 1


def pay_all(number: int, url: str, store_url: str, rate: str, threads: int, count: int) -> list[tuple[str, float]]:
    """Send `count` payments from `threads` threads; returns each one's body and when it left."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(threads) as pool:
        store = SqlStore(store_url)
        engine = engine_at(Path(folder), url, rate, store)
        engine.catalog.request_type("shop/pay")
        results = list(pool.map(lambda one: engine.send("shop/pay", {"amount": 1000 * number + one}), range(1, count)))
        store.close()
    sent = [result.call for result in results if result.call]
    return [(call["request"]["body"], datetime.fromisoformat(call["attempts"][-1]["at"]).timestamp()) for call in sent]


def most_in_a_second(instants: Sequence[float]) -> int:
    """The most of `instants` that lie within any one second."""
    times = sorted(instants)
    return max(bisect_left(times, begin + 1) - number for number, begin in enumerate(times))
