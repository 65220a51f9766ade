"""The inbox; one event, and having it processed again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flask import Response, url_for

from engine.core import Engine
from engine.errors import EngineError
from engine.inbox import EVENT
from engine.records import Record
from engine.stories import changed
from engine.web.console import gate, shown
from engine.web.console.calls import FOLLOWED, one, reason
from engine.web.console.lists import Page, chosen, looked_through, page_of
from engine.web.console.pages import go, render
from engine.web.current import engine_of

STATES: Sequence[str] = EVENT.properties["state"]["enum"]
RESTING = ("processed", "ignored")  # the states that nearly all events are in


def events() -> Response:
    """The inbox, newest first."""
    engine = engine_of()
    types = event_types(engine)
    state, type = chosen("state", list(STATES)), chosen("type", types)
    return render("events.html", page=_page(engine, state, type), states=STATES, types=types, state=state, type=type)


def event_types(engine: Engine) -> list[str]:
    """The events that there are processors for, without their gateway."""
    return sorted({name.partition("/")[2] for name in engine.catalog.processors})


def _page(engine: Engine, state: str, type: str) -> Page:
    if state and type:
        if state in RESTING:
            return looked_through(engine, "event", {"event_type": type}, lambda event: bool(event["state"] == state))
        return looked_through(engine, "event", {"state": state}, lambda event: bool(event["event_type"] == type))
    where = {name: wanted for name, wanted in (("state", state), ("event_type", type)) if wanted}
    return page_of(engine, "event", where)


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
