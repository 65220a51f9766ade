"""Whatever comes in, however often and in whatever order: what was acknowledged is kept, and what is left is right."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Any

import pytest
from fault_server import HOST
from hosts import Hours, OnlyHere, write
from scale import SCALE
from webhooks.deliveries import Delivery, deliveries
from webhooks.events import FILES, SECRETS, Event, events, left
from webhooks.failing import FailingStore
from webhooks.receiver import Receiver

from engine.core import Engine
from engine.errors import SignatureError, StoreError
from engine.records import Record
from engine.store import Store
from engine.store.sql import SqlStore

EVENTS = 4_000 * SCALE
WAVES = 8
KILLED_EVENTS = 1_500 * SCALE
KILLS = 6 * SCALE
DAYS = 12  # after which what can succeed has succeeded, and all else is dead

pytestmark = pytest.mark.timeout(300 * SCALE)


@dataclass
class Mill:
    """A host that receives webhooks, and what it said to whoever brought them."""

    engine: Engine
    hours: Hours
    acknowledged: set[str] = field(default_factory=set)
    said: list[tuple[bool, str]] = field(default_factory=list)  # whether it had to be taken, and the answer

    def receive(self, delivery: Delivery) -> Delivery | None:
        """Take a delivery; return it where it must be brought again."""
        try:
            self.engine.receive("mill", *delivery.make(self.hours.now.timestamp()))
        except SignatureError:
            self.said.append((delivery.is_good, "not accepted"))
            return None
        except StoreError:
            self.said.append((delivery.is_good, "try again later"))
            return delivery
        self.said.append((delivery.is_good, "ok"))
        self.acknowledged.add(delivery.event.id)
        return None

    def work(self) -> None:
        """Do what is due now, as a worker does: where the store fails, it comes back."""
        done = 1
        while done:
            with suppress(StoreError):
                done = self.engine.run_due(100)

    def rest(self) -> None:
        """Let time pass until nothing is left to do."""
        for _ in range(DAYS * 4):
            self.hours.pass_by(86_400 / 4)
            self.work()

    def rows(self, type: str) -> Iterator[Record]:
        """All records of a type."""
        last = None
        while page := self.engine.find(type, order="id", limit=1000, after=last):
            yield from page
            last = page[-1].id

    def records(self) -> dict[str, dict[str, dict[str, Any]]]:
        """What is there of what `left` says must be."""
        return {
            type: {
                one["gateway_id"]: {name: value for name, value in one.properties.items() if value is not None}
                for one in self.rows(type)
            }
            for type in ("sack", "order", "receipt")
        }


def mill_of(root: Path, store: Store) -> Mill:
    """In `root`."""
    hours = Hours()
    files = OnlyHere(write(root, FILES))
    return Mill(Engine(root, store=store, environment=SECRETS, clock=hours.clock(), files=files), hours)


def check(mill: Mill, happened: Iterable[Event]) -> None:
    """Every event is there once and ended as it must, and the records are those of the events in their order."""
    events = list(happened)
    assert mill.acknowledged == {event.id for event in events}
    assert Counter(row["event_id"] for row in mill.rows("event")) == Counter(mill.acknowledged)
    ended = {row["event_id"]: row["state"] for row in mill.rows("event")}
    assert ended == {event.id: event.end for event in events}
    assert mill.records() == left(events)


def test_a_storm(tmp_path: Path, sqlite_store_url: str) -> None:
    """Events come doubled and in any order, among forged and stale ones, while processors and the disk fail."""
    chance = random.Random(20_260_101)
    happened = events(chance, EVENTS, troubled=0.2)
    mill = mill_of(tmp_path, FailingStore(SqlStore(sqlite_store_url), happened))
    coming = deliveries(chance, happened)
    bad = sum(not one.is_good for one in coming)
    with ThreadPoolExecutor(8) as threads:
        while coming:
            wave, coming = coming[: EVENTS // WAVES], coming[EVENTS // WAVES :]
            coming += [again for again in threads.map(mill.receive, wave) if again]
            mill.hours.pass_by(30)
            mill.work()
    mill.rest()
    check(mill, happened)
    said = Counter(mill.said)
    assert set(said) == {(True, "ok"), (True, "try again later"), (False, "not accepted")}
    assert said[False, "not accepted"] == bad
    assert min(said.values()) > EVENTS // 20


# Killed receivers -----------------------------------------------------------------------------------------------------


class Senders:
    """Threads that bring deliveries to a receiver, and bring them again until they are answered."""

    def __init__(self, receiver: Receiver, coming: Iterable[Delivery]) -> None:
        self._receiver, self._coming = receiver, deque(coming)
        self.acknowledged: set[str] = set()
        self.answers: list[tuple[bool, int]] = []  # whether it had to be taken, and the status
        self.lost: list[Delivery] = []  # no answer came
        self._over = threading.Event()

    def stop(self) -> None:
        """Bring nothing more, whatever is left."""
        self._over.set()

    def send(self) -> None:
        """Until nothing is left to bring."""
        while not self._over.is_set():
            try:
                delivery = self._coming.popleft()
            except IndexError:
                return
            headers, body = delivery.make(time.time())
            try:
                status = self._post(headers, body)
            except (OSError, HTTPException):
                self.lost.append(delivery)
                self._coming.append(delivery)
                time.sleep(0.05)
                continue
            self.answers.append((delivery.is_good, status))
            if status == 200:
                self.acknowledged.add(delivery.event.id)

    def _post(self, headers: Mapping[str, str], body: bytes) -> int:
        connection = HTTPConnection(HOST, self._receiver.port, timeout=30)
        with closing(connection):
            connection.request("POST", "/callsheet/webhooks/mill", body, dict(headers))
            answer = connection.getresponse()
            answer.read()
            return answer.status


@pytest.mark.chaos
def test_killed_receivers(tmp_path: Path, sqlite_store_url: str) -> None:
    """However often the process that receives is killed, everything that it acknowledged is there afterwards."""
    chance = random.Random(20_260_102)
    happened = events(chance, KILLED_EVENTS)
    coming = deliveries(chance, happened)
    receiver = Receiver(write(tmp_path, FILES), sqlite_store_url)
    senders = Senders(receiver, coming)
    with ThreadPoolExecutor(8) as threads, ExitStack() as ends:
        ends.callback(senders.stop)
        sending = [threads.submit(senders.send) for _ in range(8)]
        for kill in range(1, KILLS + 1):
            while len(senders.answers) < len(coming) * kill // (KILLS + 1):
                time.sleep(0.01)
            receiver.kill()
            receiver.start()
        for one in sending:
            one.result()
    receiver.kill()
    assert len(senders.lost) > KILLS
    assert set(senders.answers) == {(True, 200), (False, 400)}
    mill = mill_of(tmp_path, SqlStore(sqlite_store_url))
    mill.acknowledged = senders.acknowledged
    mill.hours.now = datetime.now(UTC)
    mill.rest()
    check(mill, happened)
