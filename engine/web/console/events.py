"""The inbox; one event, and having it processed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, request, url_for

from engine.core import Engine
from engine.errors import EngineError
from engine.inbox import EVENT
from engine.records import Record
from engine.stories import changed
from engine.web.console import gate, shown
from engine.web.console.calls import FOLLOWED, one, reason
from engine.web.console.lists import chosen, filtered
from engine.web.console.pages import go, render
from engine.web.current import engine_of

STATES: Sequence[str] = EVENT.properties["state"]["enum"]
RESTING = ("processed", "ignored")  # the states that nearly all events are in
LONGEST = 200  # characters of an event's name


def events() -> Response:
    """The inbox, newest first."""
    engine = engine_of()
    state, type = chosen("state", STATES), request.args.get("type", "").strip()[:LONGEST]
    page = filtered(engine, "event", {"state": state, "event_type": type}, RESTING)
    known = sorted({name.partition("/")[2] for name in engine.catalog.processors})
    return render("events.html", page=page, states=STATES, types=known, state=state, type=type)


def event(id: str) -> Response:
    """One event, and what was made of it."""
    engine = engine_of()
    found = one(engine, "event", id)
    return render(
        "event.html",
        event=found,
        body=shown.event_body(engine, found),
        changed=changed(engine, found),
        cause=_cause(engine, found),
        followed=engine.find("call", parent=found.id, order="id", limit=FOLLOWED),
        processor=engine.catalog.processors.get(f"{found.scope.gateway}/{found['event_type'].replace('/', '.')}"),
    )


def _cause(engine: Engine, event: Record) -> Record | None:
    """The call that caused an event, where it names the key."""
    where: dict[str, Any] = {"key": event["cause"]}
    found = engine.find("call", limit=1, **where) if event["cause"] else []
    return found[0] if found else None


def replay(id: str) -> Response:
    """Have one event processed again."""
    engine = engine_of()
    found = one(engine, "event", id)
    try:
        state = engine.replay(found, gate.person().name, reason())["state"]
        gate.say(f"Processed again; it is {state}.", bad=state not in {"processed", "ignored"})
    except EngineError as error:
        gate.say(str(error), bad=True)
    return go(url_for(".event", id=found.id))
