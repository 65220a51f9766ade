"""The journal; one call as a timeline, and what a person may do with it.

Hides: which action fits which state, and that a page which shows a call in motion asks again until it rests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from flask import Response, abort, url_for

from engine.calls import NEXT
from engine.core import Engine
from engine.descriptions import repeats
from engine.errors import Conflict, EngineError, UnknownNameError
from engine.records import Record
from engine.stories import changed, steps
from engine.web.console import gate, shown
from engine.web.console.lists import chosen, filtered
from engine.web.console.pages import go, render
from engine.web.current import engine_of
from engine.windows import may_resend

RESTING = ("succeeded",)  # the state that nearly all calls are in
FOLLOWED = 50  # follow-up calls that a page names
OVERDUE = timedelta(seconds=15)  # after which nobody seems to be at work

RESOLUTIONS = ("succeeded", "declined", "not_done")


@dataclass(frozen=True, slots=True)
class Action:
    """Something that may be done with a call as it is: `name` is part of its address, `note` says what will happen."""

    name: str
    label: str
    note: str
    reason: str = ""
    choices: tuple[str, ...] = ()


def calls() -> Response:
    """The journal, newest first."""
    engine = engine_of()
    types = sorted(engine.catalog.request_types)
    state, type = chosen("state", tuple(NEXT)), chosen("type", types)
    page = filtered(engine, "call", {"state": state, "request_type": type}, RESTING)
    return render("calls.html", page=page, states=tuple(NEXT), types=types, state=state, type=type)


def call(id: str) -> Response:
    """One call from beginning to end."""
    engine = engine_of()
    found = one(engine, "call", id)
    now = engine.clock.now()
    moves = _moves(found, now)
    return render(
        "call.html",
        call=found,
        steps=steps(engine, found),
        sent=shown.request_of(engine, found),
        answer=shown.answer_of(engine, found),
        changed=changed(engine, found),
        asked_by=asked_by(engine, found),
        followed=engine.find("call", parent=found.id, order="id", limit=FOLLOWED),
        moves=moves,
        actions=() if moves else _actions(engine, found, now),
    )


def act(id: str, action: str) -> Response:
    """Do something with a call; who did it and why is kept with it."""
    engine = engine_of()
    found = one(engine, "call", id)
    if action not in _ACTS:
        abort(404, "There is no such action.")
    why = reason()
    try:
        gate.say(_ACTS[action](engine, found, gate.person().name, why))
    except EngineError as error:
        gate.say(str(error), bad=True)
    if engine.wake:
        engine.wake()
    return go(url_for(".call", id=found.id))


def one(engine: Engine, type: str, id: str) -> Record:
    """The row with that id; ends the request where there is none."""
    found = engine.find(type, id=id, limit=1)
    if not found:
        abort(404, f"There is no {type} {id}.")
    return found[0]


def reason() -> str:
    """Why somebody does it; ends the request where they do not say."""
    text = gate.fields().get("reason", "").strip()
    if not text:
        abort(422, "Say why; it is kept with your name.")
    return text[:1000]


def asked_by(engine: Engine, row: Record) -> Record | None:
    """The call or event that a call follows from."""
    parent = row.get("parent")
    places = ("call", "event") if parent else ()
    return next((found[0] for type in places if (found := engine.find(type, id=parent, limit=1))), None)


def _moves(call: Record, now: datetime) -> bool:
    """Whether something is about to become of it without anybody's doing."""
    if call["state"] == "sending":
        return True
    due = call.get("due")
    return bool(due) and abs(datetime.fromisoformat(due) - now) < OVERDUE


def _actions(engine: Engine, call: Record, now: datetime) -> list[Action]:
    state = call["state"]
    if state == "prepared":
        return [Action("cancel", "Cancel", "It is never sent.")]
    if state == "unmapped":
        remap = "The kept answer is mapped again by the files as they are now. Nothing is sent."
        return [Action("remap", "Map again", remap, "its mapper was mended"), _RESOLVE]
    if state != "unknown":
        return []
    offered = []
    try:
        type = engine.catalog.request_type(call["request_type"])
    except UnknownNameError:
        return [_RESOLVE]
    if may_resend(type, call, now):
        note = f"The same bytes go out again; that is {repeats(type)}."
        offered.append(Action("resend", "Send again", note))
    if type.lookup:
        asks = f"{type.lookup} asks the gateway whether it was carried out. Nothing is sent again."
        offered.append(Action("look_up", "Look up", asks))
    return [*offered, _RESOLVE]


_RESOLVE = Action("resolve", "Resolve", "Your last word on it: nobody comes back to it.", choices=RESOLUTIONS)


def _resend(engine: Engine, call: Record, who: str, why: str) -> str:
    if not may_resend(engine.catalog.request_type(call["request_type"]), call, engine.clock.now()):
        raise Conflict("the window of its key is over: to send it again might do it twice")
    engine.recovery.come_back(call, who, why)
    return "It is taken up now."


def _look_up(engine: Engine, call: Record, who: str, why: str) -> str:
    state = engine.recovery.look_up(call, who, why)["state"]
    return "The gateway knows it." if state == "succeeded" else f"The gateway was asked; the call is {state}."


def _remap(engine: Engine, call: Record, who: str, why: str) -> str:
    changed = engine.recovery.remap(call, who, why).records
    return f"Mapped; {len(changed)} {'record' if len(changed) == 1 else 'records'} changed."


def _resolve(engine: Engine, call: Record, who: str, why: str) -> str:
    resolution = gate.fields().get("as", "")
    if resolution not in RESOLUTIONS:
        raise Conflict(f"say what became of it: {', '.join(RESOLUTIONS)}")
    engine.recovery.resolve(call, resolution, who, why)
    return f"Resolved as {resolution}."


def _cancel(engine: Engine, call: Record, who: str, why: str) -> str:
    engine.recovery.cancel(call, who, why)
    return "Cancelled; it is never sent."


_ACTS: Mapping[str, Callable[[Engine, Record, str, str], str]] = {
    "resend": _resend,
    "look_up": _look_up,
    "remap": _remap,
    "resolve": _resolve,
    "cancel": _cancel,
}
