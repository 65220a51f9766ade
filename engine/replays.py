"""Many events processed again, a slice at a time, by whoever does due work: a page that began it may be closed.

    running ──▶ done       every event that fitted when it began has had its turn
        └─────▶ stopped    a person ended it

Hides: how far a replay is without counting what is left. Ids are in the order of time, so the id it has come to says
which part of the way lies behind it. A worker that dies leaves its last slice to be done again, which changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from functools import partial
from typing import Any

from engine.calls import ANYWHERE, instant
from engine.context import Context, Task, claim
from engine.errors import Conflict
from engine.ids import first_id
from engine.inbox import Inbox
from engine.records import Change, Record, RecordType

SLICE = 25  # events; few enough that another worker waits for no claim, and that a bar moves

_TEXT = {"type": "string"}
_COUNT = {"type": "integer"}

REPLAY = RecordType(
    "replay",
    summary="Many events, processed again one slice after the other.",
    properties={
        "state": {"enum": ["running", "done", "stopped"]},
        "due": _TEXT,
        "which": {"type": "object", "description": "What the events have in common: event_type, state."},
        "first": {**_TEXT, "description": "The oldest event's id."},
        "last": {**_TEXT, "description": "The newest event's id; what came after it began is left alone."},
        "at": {**_TEXT, "description": "The last event that had its turn."},
        "done": _COUNT,
        "ended": {"type": "object", "description": "How many events are in which state now."},
        "who": _TEXT,
        "why": _TEXT,
    },
    required=("state", "which", "first", "last", "done", "ended", "who", "why"),
    index=("state", "due"),
    within=(),
)

PURGED, RACED = "purged", "changed meanwhile"  # events that are left alone, and why


class Replays:
    """Begins, carries on and stops them."""

    def __init__(self, context: Context, inbox: Inbox) -> None:
        self._with, self._inbox = context, inbox

    def begin(self, which: Mapping[str, Any], since: datetime | None, who: str, why: str) -> Record | None:
        """Have every event that fits `which`, and first came at `since` or later, processed again; None for none.

        `which` is what `find` takes of events. Raises UnknownNameError for what has no index.
        """
        find = self._with.store.find
        oldest = find("event", where=which, order="id", limit=1, after=first_id(since) if since else None)
        newest = find("event", where=which, limit=1)
        if not oldest or not newest or oldest[0].id > newest[0].id:
            return None
        properties = {
            "state": "running",
            "due": instant(self._with.clock.now()),
            "which": dict(which),
            "first": oldest[0].id,
            "last": newest[0].id,
            "done": 0,
            "ended": {},
            "who": who,
            "why": self._with.settings.clean(why),
        }
        return self._with.commit([Change("insert", REPLAY, ANYWHERE, {}, properties)])[0]

    def stop(self, replay: Record) -> Record:
        """End it after the slice that is being done. Raises Conflict where it has ended."""
        end = {"state": "stopped", "due": None}
        seen = {"state": ["running"]}
        return self._with.commit([Change("update", REPLAY, ANYWHERE, {"id": replay.id}, end, seen, must=True)])[0]

    def take(self, limit: int, id: str | None = None) -> list[Task]:
        """Claim a replay that waits for its next slice (only `id`, where given)."""
        if not self._with.store.find("replay", where={"state": "running"}, limit=1):
            return []
        due = claim(REPLAY, ["running"], self._with.clock.now(), limit, id)
        return [partial(self._slice, replay) for replay in self._with.store.apply([due])]

    def _slice(self, replay: Record) -> None:
        last = replay["last"]
        before = replay.get("at")
        where = {**replay["which"], "id": {"gte": replay["first"], "lte": last}}
        found = self._with.store.find("event", where=where, order="id", limit=SLICE, after=before)
        ended = Counter(replay["ended"])
        ended.update(self._again(event, replay) for event in found)
        at = found[-1].id if found else before
        over = len(found) < SLICE or at == last
        properties = {
            "state": "done" if over else "running",
            "due": None if over else instant(self._with.clock.now()),
            "at": at,
            "done": replay["done"] + len(found),
            "ended": dict(ended),
        }
        held = {"state": ["running"], "due": [replay["due"]]}
        self._with.commit([Change("update", REPLAY, ANYWHERE, {"id": replay.id}, properties, held)])

    def _again(self, event: Record, replay: Record) -> str:
        if event.get("purged"):
            return PURGED
        try:
            state: str = self._inbox.process(self._inbox.replay(event, replay["who"], replay["why"]))["state"]
        except Conflict:
            return RACED
        return state


def progress(replay: Record) -> float:
    """Which part of the way lies behind it, from 0 to 1."""
    if replay["state"] == "done":
        return 1.0
    if not replay.get("at"):
        return 0.0
    first, at, last = (int(replay[name].replace("-", ""), 16) for name in ("first", "at", "last"))
    return (at - first) / (last - first) if last > first else 0.0
