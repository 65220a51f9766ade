"""Calls, events and reactions: what needs a person, and what a worker should have done long ago."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

from engine import workers
from engine.calls import instant
from engine.core import Engine
from engine.doctor.findings import MANY, Finding, Level, counted
from engine.records import Record
from engine.stories import born_at

LATE = timedelta(seconds=workers.LATE)
RECENT = timedelta(days=7)  # in which a call that was given up is worth a word


def findings(engine: Engine) -> list[Finding]:
    """Everything that is left open. Raises StoreError."""
    found = [*_calls(engine), *events(engine), *reactions(engine), *_overdue(engine)]
    return found or [Finding("ok", "work", "nothing waits for a person, and nothing is overdue")]


def _some(engine: Engine, type: str, **where: Any) -> list[Record]:
    """Those that fit, as far as they are counted; nobody can do anything about one whose body was purged."""
    return [row for row in engine.find(type, limit=MANY, **where) if not row.get("purged")]


def _calls(engine: Engine) -> Iterator[Finding]:
    if stuck := _some(engine, "call", state="unknown", due=None):
        said = "PERHAPS carried out, and nobody comes back to what no gateway can tell"
        remedy = "callsheet calls --state unknown, then callsheet resolve ID --as … --reason …"
        yield _told("problem", "calls", stuck, ("call was", "calls were"), said, remedy)
    before = instant(engine.clock.now() - LATE)
    waiting = _some(engine, "call", state="unknown", due={"gt": ""}, live=engine.settings.live)
    if waiting := [call for call in waiting if (call["first_sent_at"] or "") <= before]:
        said = "PERHAPS carried out; a worker comes back to find out"
        yield _told("warning", "calls", waiting, ("call was", "calls were"), said, "callsheet calls --state unknown")
    other = "test" if engine.settings.live else "live"
    if left := _some(engine, "call", state=["prepared", "unknown"], due={"gt": ""}, live=not engine.settings.live):
        said, remedy = f"left to a host in {other} mode", f"CALLSHEET_MODE={other} callsheet worker"
        yield _told("warning", "calls", left, ("call is", "calls are"), said, remedy)
    if unmapped := _some(engine, "call", state="unmapped"):
        said = "answered, but no records could be made of the answer"
        remedy = "callsheet calls --state unmapped, mend the mapper, then callsheet remap --all"
        yield _told("problem", "calls", unmapped, ("call was", "calls were"), said, remedy)
    since = instant(engine.clock.now() - RECENT)
    given_up = [call for call in _some(engine, "call", state="not_done") if call["queued"]]
    if given_up := [call for call in given_up if (born_at(call.id) or since) >= since]:
        said = "tried for the last time, and not carried out"
        remedy = "callsheet calls --state not_done, then callsheet send NAME … --later --operation KEY"
        yield _told("warning", "calls", given_up, ("queued call was", "queued calls were"), said, remedy)


_FOR_GOOD = "; what nobody can mend: callsheet purge --older-than AGE --all"


def events(engine: Engine) -> Iterator[Finding]:
    """Events that are not processed again by themselves. Raises StoreError."""
    if dead := _some(engine, "event", state="dead"):
        said = "tried for the last time"
        remedy = "callsheet events --state dead, mend what they say, then callsheet replay --state dead --reason …"
        remedy += _FOR_GOOD
        yield _told("problem", "events", dead, ("event was", "events were"), said, remedy)
    aside = _some(engine, "event", state="quarantined", live=engine.settings.live)  # a gateway may send the others, too
    if aside:
        again = "callsheet replay --state quarantined --reason …"
        remedy = f"callsheet events --state quarantined says why; mend that, then {again}{_FOR_GOOD}"
        yield _told("problem", "events", aside, ("event was", "events were"), "put aside", remedy)


def reactions(engine: Engine) -> Iterator[Finding]:
    """The host's functions that are not called again by themselves. Raises StoreError."""
    if dead := _some(engine, "reaction", state="dead"):
        types = ", ".join(sorted({row["record_type"] for row in dead}))
        said = f"{counted(len(dead), 'time', 'times')} the host's own functions failed for the last time, on {types}"
        yield Finding("problem", "reactions", said, dead[0].id, "callsheet recover --reactions")


def overdue(engine: Engine) -> dict[str, list[Record]]:
    """What a worker should have done LATE ago, by its type, none counted past MANY. Raises StoreError."""
    before = {"lte": instant(engine.clock.now() - LATE)}
    waiting = _some(engine, "call", state=["prepared", "unknown"], due=before)
    abandoned = engine.store.find("call", where={"state": "sending", "lease": before}, limit=MANY)
    return {
        "call": [*waiting, *abandoned][:MANY],
        "event": _some(engine, "event", state=["received", "failed"], due=before),
        "replay": _some(engine, "replay", state="running", due=before),
        "reaction": _some(engine, "reaction", state="pending", due=before),
    }


def _overdue(engine: Engine) -> Iterator[Finding]:
    late = [row for rows in overdue(engine).values() for row in rows]
    if late:
        minutes = LATE.seconds // 60
        why = "the workers do not keep up" if engine.workers.health().workers else "no worker runs"
        said = f"for more than {minutes} minutes: {why}"
        yield _told("problem", "worker", late, ("thing is overdue", "things are overdue"), said, "callsheet worker")


def _told(level: Level, about: str, rows: list[Record], names: tuple[str, str], said: str, remedy: str) -> Finding:
    return Finding(level, about, f"{counted(len(rows), *names)} {said}", rows[0].id, remedy)
