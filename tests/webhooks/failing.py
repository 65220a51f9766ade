"""A store that fails as often as an event wants: by chance, but the same chance in every run."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from engine.errors import StoreError
from engine.inbox import EVENT
from engine.records import Change, Record
from engine.store import Order, Store

from .events import Event


class FailingStore:
    """Stands before `store`; what it does with an event does not depend on the threads that bring it."""

    def __init__(self, store: Store, events: Iterable[Event]) -> None:
        self._store = store
        self._wanted = {event.id: event for event in events}
        self._lock = threading.Lock()
        self._failed = Counter[tuple[str, str]]()
        self._events: dict[str, str] = {}

    def apply(self, changes: Sequence[Change]) -> list[Record]:
        """As `Store.apply`, when it works."""
        mine = [change for change in changes if change.type is EVENT]
        for change in mine:
            if change.verb == "insert":
                self._fail("unstored", change.set["event_id"])
            elif change.set.get("state") == "processed":
                self._fail("crashes", self._events[change.where["id"]])
        made = self._store.apply(changes)
        self._events.update({one.id: one["event_id"] for one in made if one.type == EVENT.name})
        return made

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

    def _fail(self, how: str, event_id: str) -> None:
        wanted = getattr(self._wanted[event_id], how)
        with self._lock:
            self._failed[how, event_id] += 1
            failed = self._failed[how, event_id]
        if failed <= wanted:
            failure = RuntimeError if how == "crashes" and failed > 1 else StoreError
            raise failure(f"{event_id} {how}, {failed} of {wanted} times")
