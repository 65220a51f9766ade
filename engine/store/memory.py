"""A store in memory: for tests, and to try things out. Everything is gone with the process.

Hides: how a list of changes is undone when one of them fails.
"""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from engine.errors import Conflict
from engine.records import Change, Record, matches, outcomes
from engine.store import Order


class MemoryStore:
    """Keeps the `Store` protocol, without a database."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, dict[str, Record]] = defaultdict(dict)
        self._keys: dict[str, str] = {}
        self._undo: list[tuple[dict[str, Any], str, Any]] = []

    def apply(self, changes: Sequence[Change]) -> list[Record]:
        with self._lock:
            self._undo = []
            try:
                return [_copy(record) for change in changes for record in self._make(change)]
            except BaseException:
                for mapping, key, value in reversed(self._undo):
                    _set(mapping, key, value)
                raise

    def find(
        self,
        type: str,
        *,
        where: Mapping[str, Any] | None = None,
        order: Order = "-id",
        limit: int = 100,
        after: str | None = None,
    ) -> list[Record]:
        page = {} if after is None else {"id": {"lt" if order == "-id" else "gt": after}}
        with self._lock:
            found = [one for one in self._records[type].values() if matches(page, one) and matches(where or {}, one)]
        found.sort(key=lambda record: record.id, reverse=order == "-id")
        return [_copy(record) for record in found[:limit]]

    def _make(self, change: Change) -> list[Record]:
        made = []
        for current, record in outcomes(change, self._candidates(change)):
            for text in change.type.keys(current.scope, current.properties).values() if current else ():
                self._put(self._keys, text, None)
            if change.verb == "delete":
                self._put(self._records[record.type], record.id, None)
                made.append(record)
                continue
            for text in change.type.keys(record.scope, record.properties).values():
                if text in self._keys:
                    raise Conflict(f"{change}: another record has the unique key {text}")
                self._put(self._keys, text, record.id)
            made.append(replace(record, properties=json.loads(record.to_json())))  # as a database keeps it
            self._put(self._records[record.type], record.id, made[-1])
        return made

    def _candidates(self, change: Change) -> list[Record]:
        records = self._records[change.type.name]
        if change.searches:
            found = filter(change.means, records.values())
            return sorted(found, key=lambda record: (record.get("due") or "", record.id))[: change.limit or 1]
        id, keys = change.lookup()
        ids = {id, *(self._keys.get(text) for text in keys.values())}
        return [records[one] for one in ids if one in records]

    def _put(self, mapping: dict[str, Any], key: str, value: Any) -> None:
        self._undo.append((mapping, key, mapping.get(key)))
        _set(mapping, key, value)


def _set(mapping: dict[str, Any], key: str, value: Any) -> None:
    if value is None:
        mapping.pop(key, None)
    else:
        mapping[key] = value


def _copy(record: Record) -> Record:
    """Nobody outside can reach into what is kept."""
    return replace(record, properties=_apart(record.properties))


def _apart(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _apart(part) for key, part in value.items()}
    return [_apart(part) for part in value] if isinstance(value, list) else value
