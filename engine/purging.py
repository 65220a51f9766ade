"""Nothing is kept for ever: the data and bodies of calls and events that ended long ago are removed.

What tells of them stays: ids, keys, states, attempts, messages, hashes. So an operation that is repeated is known, an
event that is delivered again counts once, and neither is carried out anew.

Hides: what may be removed. What is open is never touched, nor what a person could still have processed, but where just
that is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from engine import calls, inbox
from engine.calls import instant
from engine.core import Engine
from engine.ids import first_id
from engine.records import Record

BATCH = 100  # rows of one commit

ENDED: Mapping[str, frozenset[str]] = {
    "call": frozenset({"succeeded", "declined", "not_done", "resolved", "cancelled"}),
    "event": frozenset({"processed", "ignored"}),
}
GIVEN_UP = frozenset({"dead", "quarantined"})  # events that can still be replayed


@dataclass(frozen=True, slots=True)
class Purged:
    """What was removed so far: of how many `calls` and `events`, how many `bytes`; `progress` goes from 0 to 1."""

    calls: int
    events: int
    bytes: int
    progress: float


def purge(engine: Engine, older_than: timedelta, *, given_up: bool = False, dry_run: bool = False) -> Iterator[Purged]:
    """Remove the data and bodies of what ended longer ago than `older_than`, and tell after every batch how far it is.

    Every batch is a commit of its own, so it may be stopped and begun again at any time. `given_up`: of events that are
    dead or quarantined, too, which cannot be replayed then. `dry_run`: nothing is removed. Raises StoreError.
    """
    before = engine.clock.now() - older_than
    wanted = {**ENDED, "event": ENDED["event"] | GIVEN_UP} if given_up else ENDED
    done = {"calls": 0, "events": 0, "bytes": 0}
    for place, (type, states) in enumerate(wanted.items()):
        for page, part in _pages(engine, type, before):
            gone = _removed(engine, page, states, before, dry_run=dry_run)
            done[f"{type}s"] += len(gone)
            done["bytes"] += sum(map(_size, gone))
            yield Purged(**done, progress=(place + part) / len(wanted))
    if not dry_run and (scrub := getattr(engine.store, "scrub", None)):
        scrub()
    yield Purged(**done, progress=1.0)


def _pages(engine: Engine, type: str, before: datetime) -> Iterator[tuple[list[Record], float]]:
    """What is older than `before`, oldest first, each page with the part of the way that lies behind it."""
    end, first, after = first_id(before), None, None
    while page := engine.find(type, order="id", limit=BATCH, after=after, id={"lt": end}):
        first, after = first or page[0].id, page[-1].id
        begun, now, ends = (int(id[:8] + id[9:13], 16) for id in (first, after, end))
        yield page, (now - begun) / max(ends - begun, 1)


def _removed(
    engine: Engine, page: list[Record], states: frozenset[str], before: datetime, *, dry_run: bool
) -> list[Record]:
    """The rows of a page whose bodies are removed now, as they were."""
    old = [row for row in page if row["state"] in states and not row["purged"] and _ended(row) < instant(before)]
    if dry_run or not old:
        return old
    now = engine.clock.now()
    done = engine.store.apply([(calls if row.type == "call" else inbox).purged(row, now) for row in old])
    ids = {row.id for row in done}
    return [row for row in old if row.id in ids]


def _ended(row: Record) -> str:
    """When something happened to a call or an event last."""
    listed = [line["at"] for name in ("attempts", "audit") for line in row.get(name) or []]
    return max([*listed, *filter(None, (row.get("sent_at"), row.get("received_at")))], default="")


def _size(row: Record) -> int:
    """Bytes of what is removed of a row."""
    if row.type == "event":
        return len(calls.as_bytes(row["body"]))
    kept = [part.get("body") or part.get("sealed_body") or "" for part in (row["request"], row["answer"] or {})]
    return sum(len(calls.as_bytes(body)) for body in kept) + len(json.dumps(row["data"]))
