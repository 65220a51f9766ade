"""Many events processed again, with a bar.

Hides: that no request does the work: a worker does it slice by slice, and the page only looks how far it is.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from flask import Response, abort, url_for

from engine.errors import EngineError
from engine.replays import progress
from engine.web.console import gate
from engine.web.console.calls import one, reason
from engine.web.console.events import STATES
from engine.web.console.lists import page_of
from engine.web.console.pages import go, render
from engine.web.current import engine_of


def replays() -> Response:
    """What was replayed, newest first."""
    return render("replays.html", page=page_of(engine_of(), "replay", {}), progress=progress)


def begin() -> Response:
    """Begin one for all events of a type, of a state, or both."""
    engine = engine_of()
    asked, why = gate.fields(), reason()
    which: dict[str, Any] = {}
    if type := asked.get("type", "").strip():
        which["event_type"] = type
    if state := asked.get("state", ""):
        if state not in STATES:
            abort(422, f"No event is ever {state}.")
        which["state"] = state
    if not which:
        abort(422, "Choose a type or a state; all events of all types are too many to be meant.")
    begun = engine.replays.begin(which, _moment(asked.get("since", "")), gate.person().name, why)
    if begun is None:
        gate.say("No event fits; nothing was begun.", bad=True)
        return go(url_for(".events"))
    if engine.wake:
        engine.wake()
    return go(url_for(".replay", id=begun.id))


def _moment(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC)
    except ValueError:
        abort(422, f"{text} is no date.")


def replay(id: str) -> Response:
    """One replay and how far it is."""
    engine = engine_of()
    found = one(engine, "replay", id)
    works = found["state"] != "running" or bool(engine.workers.health().workers)
    return render("replay.html", replay=found, part=progress(found), works=works)


def stop(id: str) -> Response:
    """End one."""
    engine = engine_of()
    try:
        engine.replays.stop(one(engine, "replay", id))
    except EngineError as error:
        gate.say(str(error), bad=True)
    return go(url_for(".replay", id=id))
