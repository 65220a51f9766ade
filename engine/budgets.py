"""A gateway's rate, shared by all processes of one store.

A gateway that allows 25 calls a second has a turn every 40 ms. One record says up to which instant the turns are given
away; whoever moves that instant on, by one update that names the instant it saw, has the turns between. So no turn is
given twice, whoever dies loses only what it held, and where D is by how much clocks differ, no second sees more than
per_second * (1 + LATE + D) + 1 calls begin. Hides: how many turns are taken at once.
"""

from __future__ import annotations

import threading
from collections import deque

from engine.calls import ANYWHERE
from engine.context import Clock
from engine.records import Change, RecordType
from engine.store import Store

LATE = 0.1  # seconds for which a turn is good
SLICE = 0.25  # seconds' worth of turns that one process takes at once, at most
AHEAD = 30.0  # seconds: turns given away for longer than any caller waits are a mistake of somebody's clock

RATE_BUDGET = RecordType(
    "rate_budget",
    summary="Up to which instant the turns to call a gateway are given away.",
    properties={
        "name": {"type": "string", "description": "Gateway and mode."},
        "given": {"type": "number", "description": "The instant, in seconds since 1970."},
    },
    required=("name", "given"),
    unique=(("name",),),
    within=(),
)


class Budget:
    """This process's turns of the budget `name`."""

    def __init__(self, store: Store, clock: Clock, name: str, per_second: float) -> None:
        self._store, self._now, self._name = store, clock.seconds, name
        self._gap = 1 / per_second
        self._most = max(1, int(SLICE * per_second))
        self._lock, self._counting = threading.Lock(), threading.Lock()
        self._waiting = 0
        self._turns: deque[float] = deque()
        self._ends, self._size = 0.0, 1

    def turn(self, latest: float) -> float | None:
        """The instant of the caller's turn, good for LATE seconds; None where there is none up to `latest`.

        Raises StoreError.
        """
        self._count(1)
        try:
            if not self._lock.acquire(timeout=max(0.0, latest - self._now())):
                return None  # the store has not answered another thread all the time
            try:
                return self._next(latest)
            finally:
                self._lock.release()
        finally:
            self._count(-1)

    def _count(self, more: int) -> None:
        with self._counting:
            self._waiting += more

    def _next(self, latest: float) -> float | None:
        now = self._now()
        while self._turns and self._turns[0] + LATE < now:
            self._turns.popleft()
        if not self._turns:
            self._take(now, latest)
        return self._turns.popleft() if self._turns and self._turns[0] <= latest else None

    def _take(self, now: float, latest: float) -> None:
        """Take turns for all who wait here, and twice as many as last time where those have not even come yet."""
        size = min(max(self._waiting, 2 * self._size if self._ends > now else 1), self._most)
        while True:
            given = self._given()
            begins = given if now <= given <= now + AHEAD + self._most * self._gap else now
            if begins > latest:
                return
            ends = begins + size * self._gap
            where, when = {"name": self._name}, {"given": given}
            if self._store.apply([Change("update", RATE_BUDGET, ANYWHERE, where, {"given": ends}, when)]):
                self._turns.extend(begins + number * self._gap for number in range(size))
                self._ends, self._size = ends, size
                return

    def _given(self) -> float:
        """Up to when turns are given away, as it stands; the record is made where there is none yet."""
        if not (found := self._store.find("rate_budget", where={"name": self._name}, limit=1)):
            self._store.apply([Change("insert", RATE_BUDGET, ANYWHERE, {}, {"name": self._name, "given": 0.0})])
            return 0.0
        given: float = found[0]["given"]
        return given
