"""Who does what is due, and how much of it waits.

Hides: how one process knows that another one lives. Every worker renews a row of its own in the store, from the very
loop that works; who has been silent for a while is taken for dead.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from engine.calls import ANYWHERE, instant
from engine.records import Change, Record, RecordType
from engine.store import Due, Store

BEAT = 10  # seconds between two signs of life
SILENT = 30  # seconds without one, after which a worker is taken for dead
LATE = 300  # seconds that nothing should have to wait for a worker
COUNTED = 100  # rows of a kind; more are not counted
FORGOTTEN = timedelta(days=1)

_TEXT = {"type": "string"}

WORKER = RecordType(
    "worker",
    summary="A process that does what is due.",
    properties={
        "name": {**_TEXT, "description": "Its machine and its process there."},
        "began": _TEXT,
        "beat": {**_TEXT, "description": "Its last sign of life."},
        "threads": {"type": "integer", "description": "How much it does at once."},
    },
    required=("name", "beat"),
    unique=(("name",),),
    index=("beat",),
    within=(),
)


@dataclass(frozen=True, slots=True)
class Health:
    """How due work fares: the `workers` that live, how many rows of each type are due, and since when the longest is.

    Of each type no more than COUNTED are looked at. `late`: something has been due for longer than LATE.
    """

    workers: tuple[Record, ...]
    due: Mapping[str, int]
    oldest: str | None
    late: bool

    @property
    def state(self) -> Literal["well", "late", "dead"]:
        """`dead`: no worker lives. `late`: some do, and something waits too long."""
        return "dead" if not self.workers else "late" if self.late else "well"


class Workers:
    """The workers on one store, and the rows that wait for them."""

    def __init__(self, store: Store, now: Callable[[], datetime], due: Due) -> None:
        self._store, self._now, self._due = store, now, due

    def pulse(self, threads: int) -> Pulse:
        """The signs of life of this process, which does so much at once."""
        return Pulse(self._store, self._now, threads)

    def health(self) -> Health:
        """Look. Raises StoreError."""
        now = self._now()
        heard = {"beat": {"gte": instant(now - timedelta(seconds=SILENT))}}
        alive = self._store.find(WORKER.name, where=heard, order="id", limit=1000)
        counts, moments, late = dict[str, int](), list[str](), False
        for type, names in self._due.items():
            for name, state in names.items():
                only = {"state": state} if state else {}
                found = self._store.find(type, where={**only, name: {"lte": instant(now)}}, order="id", limit=COUNTED)
                counts[type] = min(COUNTED, counts.get(type, 0) + len(found))
                moments += [row[name] for row in found]
                too_long = {**only, name: {"lte": instant(now - timedelta(seconds=LATE))}}
                late = late or bool(found and self._store.find(type, where=too_long, limit=1))
        return Health(tuple(alive), counts, min(moments, default=None), late)


class Pulse:
    """Renews the row of this process, at most every BEAT seconds however often `beat` is called."""

    def __init__(self, store: Store, now: Callable[[], datetime], threads: int) -> None:
        self._store, self._now, self._threads = store, now, threads
        self._name, self._last = "", 0.0

    def beat(self) -> None:
        """Say that this process lives and works. Raises StoreError."""
        name = f"{socket.gethostname()}:{os.getpid()}"
        if name == self._name and time.monotonic() - self._last < BEAT:
            return
        now = self._now()
        said: dict[str, Any] = {"beat": instant(now), "threads": self._threads}
        changes = [Change("upsert", WORKER, ANYWHERE, {"name": name}, said)]
        if name != self._name:  # it has begun, or it was forked
            changes = [
                Change("delete", WORKER, ANYWHERE, {"beat": {"lte": instant(now - FORGOTTEN)}}, limit=100),
                Change("upsert", WORKER, ANYWHERE, {"name": name}, {**said, "began": instant(now)}),
            ]
        self._store.apply(changes)
        self._name, self._last = name, time.monotonic()

    def end(self) -> None:
        """Say that this process works no longer. Raises StoreError."""
        self._store.apply([Change("delete", WORKER, ANYWHERE, {"name": self._name})])
        self._name = ""
