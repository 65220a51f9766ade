"""Starts children, kills them, freezes them, wakes them, and lets recovery end what they left.

Hides: processes. A child is forked from a parent that has loaded the files and opened nothing. It is killed or frozen
some time after it began, or springs a trap at a named point; whatever it was given and did not settle goes to others,
also while it is only frozen. Now and then all are killed, and a night passes.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
import traceback
from collections import Counter, deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from signal import SIGCONT, SIGKILL, SIGSTOP

from engine.core import Engine

from .children import finish, work
from .clock import Nights
from .gateway import fall_quiet
from .host import LEASE
from .orders import SETTLED, Book, Order
from .points import POINTS, Points, Trap

SENDERS, WORKERS = 4, 2
BATCH = 5  # orders that a sender is given, at most AGAIN of them not for the first time
AGAIN = 3
LIVES = (0.02, 1.2)  # seconds between a child's beginning and its random end
TRAPPED = 2.0  # seconds after which a child that never sprang its trap is killed
NIGHTLY = 50  # kills between two nights
NIGHTS = [timedelta(), timedelta(hours=13), timedelta(hours=25)]  # in the key's window, after it, after its life
LOOK = 0.005  # seconds between two looks at the children

Sender = Callable[[Engine, Sequence[Order], Book], None]
OrderMaker = Callable[[int, Random, list[str]], Order]


@dataclass
class Child:
    """One process. Instants are of the monotonic clock; `ends` is when it is sent `signal`, None before it began."""

    pid: int
    orders: Sequence[Order]
    after: float
    signal: signal.Signals
    ends: float | None = None
    wakes: float | None = None


@dataclass
class Tally:
    """What was done to the children, and what callers were told."""

    orders: list[Order] = field(default_factory=list)
    told: dict[int, tuple[str, str | None]] = field(default_factory=dict)
    not_done: list[tuple[int, str]] = field(default_factory=list)
    kills: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    @property
    def unsettled(self) -> list[Order]:
        """The orders whose callers were not told a last word."""
        return [order for order in self.orders if self.told.get(order.number, ("", None))[0] not in SETTLED]


class Chaos:
    """One run on one engine."""

    def __init__(
        self,
        engine: Engine,
        points: Points,
        nights: Nights,
        book: Book,
        port: int,
        *,
        seed: int,
        sender: Sender,
        make: OrderMaker,
        workers: int = WORKERS,
    ) -> None:
        self.tally = Tally()
        self._engine, self._points, self._nights = engine, points, nights
        self._book, self._port = book, port
        self._chance, self._sender, self._make, self._most_workers = Random(seed), sender, make, workers
        self._children: dict[int, Child] = {}
        self._waiting: deque[Order] = deque()
        self._charged: list[str] = []

    def run(self, kills: int) -> None:
        """Go on until so many processes were killed."""
        nights = list(range(NIGHTLY, kills, NIGHTLY))
        try:
            while self.tally.kills < kills:
                self._fill()
                time.sleep(LOOK)
                self._look()
                if nights and self.tally.kills >= nights[0]:
                    nights.pop(0)
                    self._end_all()
                    fall_quiet(self._port)
                    self._nights.pass_by(self._chance.choice(NIGHTS))
                _progress(f"{self.tally.kills}/{kills} kills, {len(self.tally.orders)} orders")
        finally:
            self._end_all()

    def finish(self) -> None:
        """Let recovery and the callers end it, undisturbed by death; the bank goes on failing."""
        unsettled = self.tally.unsettled
        child = forked(lambda: finish(self._engine, unsettled, self._book, self._nights, self._port))
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            time.sleep(10 * LOOK)
            self._read()
            _progress(f"{len(self.tally.unsettled)} orders not settled yet")
        self._read()

    # Children ---------------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        awake = [child for child in self._children.values() if child.wakes is None]
        working = sum(not child.orders for child in awake)
        for _ in range(self._most_workers - working):
            self._start([])
        for _ in range(SENDERS - (len(awake) - working)):
            self._start(self._batch())

    def _batch(self) -> list[Order]:
        batch = [self._waiting.popleft() for _ in range(min(AGAIN, len(self._waiting)))]
        if self.tally.orders:  # settled or not: somebody presses the button again
            batch.append(self._chance.choice(self.tally.orders))
        while len(batch) < BATCH:
            order = self._make(len(self.tally.orders) + 1, self._chance, self._charged)
            self.tally.orders.append(order)
            batch.append(order)
        self._chance.shuffle(batch)
        return batch

    def _start(self, orders: Sequence[Order]) -> None:
        how = SIGSTOP if self._chance.random() < 0.12 else SIGKILL
        trap = None
        if self._chance.random() < (0.7 if how is SIGSTOP else 0.5):
            trap = Trap(self._chance.choice(POINTS), how, self._chance.randint(1, 3))
        child = Child(
            forked(lambda: self._live(trap, orders)),
            orders,
            TRAPPED if trap else self._chance.uniform(*LIVES),
            SIGKILL if trap else how,
        )
        self._children[child.pid] = child

    def _live(self, trap: Trap | None, orders: Sequence[Order]) -> None:
        self._points.set(trap, lambda what: self._book.write(said=what))
        self._engine.find("call", limit=1)  # opens the store: nobody is killed before there is something to lose
        self._book.write()
        if orders:
            self._sender(self._engine, orders, self._book)
        else:
            work(self._engine)

    def _look(self) -> None:
        self._read()
        self._wait()
        now = time.monotonic()
        for child in list(self._children.values()):
            if child.wakes is not None and child.wakes <= now:
                child.wakes, child.signal = None, SIGKILL
                child.ends = now + self._chance.uniform(*LIVES)
                os.kill(child.pid, SIGCONT)
            elif child.wakes is None and child.ends is not None and child.ends <= now:
                if child.signal is SIGKILL:
                    child.ends = None
                os.kill(child.pid, child.signal)

    def _read(self) -> None:
        for line in self._book.news():
            child = self._children.get(line.process)
            if line.order is not None:
                self._note_told(line.order, line.said, line.id)
            elif line.said != "begun":
                self.tally.counts[line.said] += 1
            elif child and child.ends is None and child.wakes is None:
                child.ends = time.monotonic() + child.after

    def _note_told(self, order: int, said: str, id: str | None) -> None:
        self.tally.counts[f"told: {said}"] += 1
        if self.tally.told.get(order, ("", None))[0] not in SETTLED:
            self.tally.told[order] = (said, id)
        if said == "not done" and id:
            self.tally.not_done.append((order, id))
        if said == "succeeded" and id and id.startswith("ch_"):
            self._charged.append(id)

    def _wait(self) -> None:
        """See which children ended or stopped."""
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED)
            if pid == 0:
                return
            child = self._children.get(pid)
            if child is None:
                raise RuntimeError(f"the bank ended with status {status}")
            if os.WIFSTOPPED(status):
                child.wakes = time.monotonic() + self._chance.uniform(1, 3) * LEASE
                self.tally.counts["freezes"] += 1
                self._give_back(child)
                continue
            del self._children[pid]
            self._give_back(child)
            self._book_end(status)

    def _book_end(self, status: int) -> None:
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == SIGKILL:
            self.tally.kills += 1
        elif status:
            self.tally.faults.append(f"a child ended with status {status}")
        else:
            self.tally.counts["children that ended by themselves"] += 1

    def _give_back(self, child: Child) -> None:
        """What a dead or frozen child had not settled is asked for again, of another."""
        self._read()
        mine = {order.number for order in child.orders}
        waiting = {order.number for order in self._waiting}
        self._waiting += [one for one in self.tally.unsettled if one.number in mine - waiting]

    def _end_all(self) -> None:
        for pid in self._children:
            with suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
        while self._children:
            self._wait()
            time.sleep(LOOK)


def forked(live: Callable[[], None]) -> int:
    """A child that lives as `live` says, and no longer than its parent."""
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        ctypes.CDLL(None).prctl(1, SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() == parent:
            live()
            status = 0
    except BaseException:  # noqa: BLE001  # a child must never go on as if it were the parent
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


_last_said = [0.0]


def _progress(text: str) -> None:
    """Say how far it is: a line that changes on a terminal, a line now and then elsewhere."""
    now = time.monotonic()
    if now - _last_said[0] < (0.2 if sys.stderr.isatty() else 5):
        return
    _last_said[0] = now
    print(f"\r{text}\x1b[K" if sys.stderr.isatty() else text, end="" if sys.stderr.isatty() else "\n", file=sys.stderr)
