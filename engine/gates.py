"""The gate before a gateway: how fast, how many at once, and whether at all.

Hides: why a call does not leave now. Whoever comes to a gate waits for its turn, for most of the time that is left to
it, and is then let through or told, as after any failure, that nothing was sent. All that a process knows of a gateway
it learnt itself; only the budget is shared.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Callable

from engine.budgets import LATE, Budget
from engine.calls import instant
from engine.context import Clock
from engine.dispatcher import Answer, Failure, Kind
from engine.errors import EngineError
from engine.request_types import Rate, RequestType
from engine.store import Store

FAILURES = 10  # in a row, after which a gateway is left alone
REST = 30.0  # seconds for which it is
WAITING = 0.8  # of the time that is left may be spent at the gate; the rest is the exchange's

_OURS = frozenset({"invalid_request", "pool_timeout", "lease_lost", "too_large", "encoding", "unexpected"})

Sent = tuple[str, Answer | Failure]
"""The instant at which a request left, and what came of it."""


class Circuit:
    """Closed until FAILURES connections or answers in a row failed; then open, but for one trial every REST seconds."""

    def __init__(self, clock: Clock) -> None:
        self._now, self._lock = clock.seconds, threading.Lock()
        self._failures = 0
        self._tried = 0.0

    @property
    def rests(self) -> float:
        """Seconds for which nothing is sent yet; 0 where the circuit is closed, or due for a trial."""
        since = self._now() - self._tried
        return REST - since if self._failures >= FAILURES and 0 <= since < REST else 0.0

    def lets_through(self) -> bool:
        """Whether the caller may send now. Of those who come to a circuit that is due for a trial, one may."""
        with self._lock:
            if self.rests:
                return False
            self._tried = self._now()
            return True

    def learn(self, result: Answer | Failure) -> None:
        """Note what came of a call."""
        if isinstance(result, Failure) and result.kind in _OURS:
            return
        with self._lock:
            fails = isinstance(result, Failure) or result.status >= 500
            self._failures = self._failures + 1 if fails else 0
            self._tried = self._now()


class Gate:
    """The gate before one gateway, in one process."""

    def __init__(self, name: str, rate: Rate, budget: Budget | None, clock: Clock) -> None:
        self._name, self._rate, self._budget, self._clock = name, rate, budget, clock
        self._places = threading.Semaphore(rate.in_flight or sys.maxsize)
        self._circuit = Circuit(clock)

    def send(self, deadline: float, once: Callable[[], Sent]) -> Sent:
        """What sending `once` brings, when its turn has come; a Failure where it does not before the deadline is near.

        `deadline` is an instant of `time.monotonic()`.
        """
        began = time.monotonic()
        until = began + WAITING * (deadline - began)
        if rests := self._circuit.rests:
            return self._refused(began, "circuit_open", resting(rests))
        if not self._places.acquire(timeout=max(0.0, until - began)):
            why = f"has {self._rate.in_flight} calls under way here, as many as its file allows; none ended in time"
            return self._refused(began, "busy", why)
        try:
            if late := self._no_turn(until):
                return self._refused(began, "rate_limited", late)
            if not self._circuit.lets_through():
                return self._refused(began, "circuit_open", resting(self._circuit.rests))
            sent_at, result = once()
            self._circuit.learn(result)
            return sent_at, result
        finally:
            self._places.release()

    def _no_turn(self, until: float) -> str | None:
        """Wait for a turn; why there is none, where there is none."""
        while self._budget:
            latest = self._clock.seconds() + until - time.monotonic()
            try:
                turn = self._budget.turn(latest)
            except EngineError as error:
                return f"is called in turns, and the store could not give one: {error}"
            if turn is None:
                return "is called as often as its file allows, and this call's turn would come too late"
            self._clock.sleep(max(0.0, turn - self._clock.seconds()))
            if self._clock.seconds() <= turn + LATE:
                break
        return None

    def _refused(self, began: float, kind: Kind, why: str) -> Sent:
        message = f"{self._name} {why}; nothing was sent, and it may be tried again"
        return instant(self._clock.now()), Failure(kind, sent=False, message=message, seconds=time.monotonic() - began)


def resting(seconds: float) -> str:
    """What is said of somebody whose circuit is open for so many seconds more."""
    return f"failed {FAILURES} times in a row and is left alone for {max(1, round(seconds))} s more"


class Gates:
    """The gates of a process, each made when it is first come to, and anew after a fork."""

    def __init__(self, store: Store, clock: Clock, *, live: bool) -> None:
        self._store, self._clock, self._live = store, clock, live
        self._process = os.getpid()
        self._gates: dict[tuple[str, float | None, int | None], Gate] = {}

    def of(self, type: RequestType) -> Gate | None:
        """The gate before the gateway of `type`; None where its file says nothing of a rate."""
        rate = type.rate
        if rate is None:
            return None
        if self._process != os.getpid():
            self._process = os.getpid()
            self._gates = {}  # the parent's locks may be held for ever, and its turns are its own
        per_second, name = rate.live if self._live else rate.test, type.gateway.name
        key = (name, per_second, rate.in_flight)
        return self._gates.get(key) or self._gates.setdefault(key, self._new(name, rate, per_second))

    def _new(self, name: str, rate: Rate, per_second: float | None) -> Gate:
        mode = "live" if self._live else "test"
        budget = Budget(self._store, self._clock, f"{name} {mode}", per_second) if per_second else None
        return Gate(name, rate, budget, self._clock)
