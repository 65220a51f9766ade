"""The named moments at which a process dies or freezes.

Hides: that they are reached through a store and a dispatcher that stand around the real ones; the engine knows nothing
of them.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.calls import CALL
from engine.dispatcher import Answer, Failure, Sender
from engine.records import Change, Record
from engine.request_types import Request
from engine.store import Order, Store

POINTS = (
    "before commit 1",
    "after commit 1",
    "after the dispatcher returned",
    "before commit 2",
    "after commit 2",
)


@dataclass(frozen=True)
class Trap:
    """Sends `signal` to its own process when that reaches `point` for the `passing`-th time."""

    point: str
    signal: signal.Signals
    passing: int


class Points:
    """Where this process is. A trap may be set for it; `note` is told when it springs."""

    def __init__(self) -> None:
        self._trap: Trap | None = None
        self._note: Callable[[str], object] = str
        self._passed = 0

    def set(self, trap: Trap | None, note: Callable[[str], object]) -> None:
        """Set a trap for this process."""
        self._trap, self._note, self._passed = trap, note, 0

    def reach(self, point: str | None) -> None:
        """This process is at `point` now, if that is one."""
        if self._trap is None or point != self._trap.point:
            return
        self._passed += 1
        if self._passed == self._trap.passing:
            self._note(f"{'frozen' if self._trap.signal is signal.SIGSTOP else 'killed'} {point}")
            os.kill(os.getpid(), self._trap.signal)


class WatchedStore:
    """A store whose commits are points."""

    def __init__(self, store: Store, points: Points) -> None:
        self._store, self._points = store, points

    def apply(self, changes: Sequence[Change]) -> list[Record]:
        """As `Store.apply`."""
        commit = _commit(changes)
        self._points.reach(commit and f"before {commit}")
        records = self._store.apply(changes)
        if records:  # a claim that claims nothing is no commit
            self._points.reach(commit and f"after {commit}")
        return records

    def find(
        self,
        type: str,
        *,
        where: Mapping[str, Any] | None = None,
        order: Order = "-id",
        limit: int = 100,
        after: str | None = None,
    ) -> list[Record]:
        """As `Store.find`."""
        return self._store.find(type, where=where, order=order, limit=limit, after=after)


def _commit(changes: Sequence[Change]) -> str | None:
    """Which of a call's two commits this is: the one before it is sent, or the one of what came of it."""
    mine = [change for change in changes if change.type is CALL]
    if any(change.must and change.set.get("state") != "sending" for change in mine):
        return "commit 2"
    return "commit 1" if mine else None


class WatchedDispatcher:
    """A dispatcher whose return is a point."""

    def __init__(self, dispatcher: Sender, points: Points) -> None:
        self._dispatcher, self._points = dispatcher, points

    def send(
        self, request: Request, *, credentials: Mapping[str, str], deadline: float, answer_limit: int | None = None
    ) -> Answer | Failure:
        """As `Sender.send`."""
        result = self._dispatcher.send(request, credentials=credentials, deadline=deadline, answer_limit=answer_limit)
        self._points.reach("after the dispatcher returned")
        return result
