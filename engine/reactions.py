"""What the host does when a record has changed: at least once after every commit, and never inside one.

Hides: that a reaction is a row of its own, written in the commit that changes the record, so a crash loses none.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial

from engine.calls import instant
from engine.context import Task, claim
from engine.records import Change, Record, RecordType, Scope
from engine.store import Store

LATER = (1, 10, 60, 300, 1800, 7200, 21_600, 43_200, 86_400)  # seconds between tries; after the last one it is dead

Handler = Callable[[Record], object]

_TEXT = {"type": "string"}

REACTION = RecordType(
    "reaction",
    summary="A record changed, and the host is to be told.",
    properties={
        "state": {"enum": ["pending", "dead"]},
        "due": _TEXT,
        "record_type": _TEXT,
        "where": {"type": "object"},
        "tries": {"type": "integer"},
        "message": _TEXT,
    },
    required=("state", "record_type", "where"),
    index=("state", "due"),
    within=(),
)

log = logging.getLogger("engine")


class Reactions:
    """The host's handlers, and the rows that are due to them."""

    def __init__(
        self,
        store: Store,
        now: Callable[[], datetime],
        types: Callable[[], Mapping[str, RecordType]],
        clean: Callable[[str], str],
    ) -> None:
        self._store, self._now, self._types, self._clean = store, now, types, clean
        self._handlers: dict[str, list[Handler]] = {}

    def on(self, type: str, handler: Handler) -> None:
        """Call `handler` with every record of `type` after it changed."""
        self._handlers.setdefault(type, []).append(handler)

    @property
    def listens(self) -> bool:
        """Whether this process has any handler."""
        return bool(self._handlers)

    def rows(self, changes: Sequence[Change]) -> list[Change]:
        """The rows to be committed with `changes`: one for each record, however many changes it gets."""
        if not self._handlers:
            return []
        due = instant(self._now())
        heard = [change for change in changes if change.type.name in self._handlers and change.verb != "delete"]
        heard = list({(one.type.name, one.scope, json.dumps(one.found_by)): one for one in heard}.values())
        return [
            Change(
                "insert",
                REACTION,
                change.scope,
                {},
                {
                    "state": "pending",
                    "due": due,
                    "record_type": change.type.name,
                    "where": change.found_by,
                    "tries": 0,
                },
            )
            for change in heard
        ]

    def revive(self, limit: int) -> int:
        """Have up to `limit` dead ones tried again; returns how many there were."""
        again = {"state": "pending", "due": instant(self._now()), "tries": 0}
        return len(self._store.apply([Change("update", REACTION, Scope(""), {"state": ["dead"]}, again, limit=limit)]))

    def take(self, limit: int, id: str | None = None) -> list[Task]:
        """Claim up to `limit` rows whose time has come (only `id`, where given), each to be reacted to at once.

        Where nothing is listened to, they are left to the processes that do listen.
        """
        if not self.listens:
            return []
        due = claim(REACTION, ["pending"], self._now(), limit, id)
        return [partial(self._react, row) for row in self._store.apply([due])]

    def _react(self, row: Record) -> None:
        type = row["record_type"]
        try:
            inside = {name: getattr(row.scope, name) for name in self._types()[type].within}
            where = {**row["where"], **inside}
            handlers = self._handlers.get(type)
            if not handlers:
                raise LookupError(f"no function of this process listens to {type}")
            for record in self._store.find(type, where=where, limit=1):
                for handler in handlers:
                    handler(self._types()[type].complete(record))
        except Exception as error:  # noqa: BLE001 - the host's own code may raise anything, and is tried again
            self._later(row, error)
        else:
            self._store.apply([Change("delete", REACTION, row.scope, {"id": row.id})])

    def _later(self, row: Record, error: Exception) -> None:
        tries = row["tries"] + 1
        log.error("reacting to %s failed", row["record_type"], exc_info=error)
        end = {"tries": tries, "message": self._clean(f"{type(error).__name__}: {error}")}
        if tries > len(LATER):
            end |= {"state": "dead", "due": None}
        else:
            end |= {"due": instant(self._now() + timedelta(seconds=LATER[tries - 1]))}
        self._store.apply([Change("update", REACTION, row.scope, {"id": row.id}, end)])
