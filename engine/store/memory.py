"""A store in memory: for tests, and to try things out. Everything is gone with the process.

Hides: that nobody outside can reach into what is kept.
"""

from __future__ import annotations

import json
import math
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

from engine.errors import Conflict
from engine.records import Change, Record, matches
from engine.store import Order, demand_limit
from engine.store.drafts import Draft, Write


class MemoryStore:
    """Keeps the `Store` protocol, without a database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, dict[str, Record]] = defaultdict(dict)
        self._keys: dict[str, str] = {}

    def apply(self, changes: Sequence[Change]) -> list[Record]:
        with self._lock:
            draft = Draft()
            for change in changes:
                self._hold(draft, change)
            touched = [record for change in changes for record in draft.make(change, self._candidates(draft, change))]
            written = self._keep(draft.writes())
        return [record if record.id in written else _as_kept(record) for record in touched]

    def find(
        self,
        type: str,
        *,
        where: Mapping[str, Any] | None = None,
        order: Order = "-id",
        limit: int = 100,
        after: str | None = None,
    ) -> list[Record]:
        demand_limit(limit)
        page = {} if after is None else {"id": {"lt" if order == "-id" else "gt": after}}
        with self._lock:
            found = [one for one in self._records[type].values() if matches(page, one) and matches(where or {}, one)]
        found.sort(key=lambda record: record.id, reverse=order == "-id")
        return [_copy(record) for record in found[:limit]]

    def _hold(self, draft: Draft, change: Change) -> None:
        """Take in hand what `change` names; a key that no record has yet may get one by a change before it."""
        records, lookup = self._records[change.type.name], change.lookup
        if lookup.id is not None and lookup.id in records:
            draft.hold(records[lookup.id])
        for text in lookup.keys:
            if (id := self._keys.get(text)) is not None:
                draft.hold(records[id], [text])

    def _candidates(self, draft: Draft, change: Change) -> list[Record]:
        if not change.searches:
            return draft.meant(change)
        found = filter(change.means, draft.over(change.type.name, self._records[change.type.name]))
        return sorted(found, key=lambda record: (record.get("due") or "", record.id))[: change.limit or 1]

    def _keep(self, writes: Sequence[Write]) -> set[str]:
        """All of them, or none: whatever can fail does so before the first is kept. Returns the ids of the copies kept.

        Any other record in hand is still the one that the store keeps.
        """
        gone = {text for write in writes if write.new_keys is not None for text in write.old_keys}
        come = [(text, write) for write in writes for text in write.new_keys or ()]
        given: set[str] = set()
        for text, write in come:
            if text in given or (text in self._keys and text not in gone):
                raise Conflict(f"{write}: another record has the unique key {text}")
            given.add(text)
        kept = [(write, write.new and _as_kept(write.new)) for write in writes]
        for text in gone:
            del self._keys[text]
        self._keys |= {text: write.new.id for text, write in come if write.new}
        for write, record in kept:
            if record is not None:
                self._records[record.type][record.id] = record
            elif write.old is not None:
                del self._records[write.old.type][write.old.id]
        return {record.id for _, record in kept if record is not None}


def _as_kept(record: Record) -> Record:
    """As a database keeps it: what is not plainly JSON goes through JSON, which refuses it or makes it plain."""
    try:
        return _copy(record)
    except TypeError:
        return Record(record.type, record.id, record.scope, json.loads(record.to_json()), record.as_of)


def _copy(record: Record) -> Record:
    """The same record, sharing nothing that could be changed. Raises TypeError where it holds more than plain JSON."""
    return Record(record.type, record.id, record.scope, _copied(dict(record.properties)), record.as_of)


def _copied(value: Any) -> Any:
    kind = type(value)
    if kind is dict:
        copy = value.copy()
        for name, part in value.items():
            if type(part) not in _UNCHANGING:
                copy[name] = _copied(part)
            if type(name) is not str:
                raise TypeError(f"{type(name).__name__} is not plain JSON")
        return copy
    if kind is list:
        return [part if type(part) in _UNCHANGING else _copied(part) for part in value]
    if kind is float and math.isfinite(value):
        return value
    raise TypeError(f"{kind.__name__} is not plain JSON")


_UNCHANGING = frozenset({str, int, bool, NoneType})
