"""What `callsheet recover` leaves open, and why it is not taken up now.

Hides: how the soonest of many rows is found without reading them all.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.core import Engine

_CALL = ("call was PERHAPS carried out and is come back to", "calls were PERHAPS carried out and are come back to")
_EVENT = ("event waits to be processed", "events wait to be processed")
_KINDS: tuple[tuple[str, tuple[str, ...], tuple[str, str]], ...] = (
    ("call", ("prepared",), ("queued call waits to be sent", "queued calls wait to be sent")),
    ("call", ("unknown",), _CALL),
    ("event", ("received", "failed"), _EVENT),
    ("replay", ("running",), ("replay of events goes on", "replays of events go on")),
    ("reaction", ("pending",), ("change is to be told to the host", "changes are to be told to the host")),
)
"""Of each kind that comes to its time: its type, its states then, and what it does until then."""


def later(engine: Engine) -> list[str]:
    """A line for each kind of what waits for its time or for another process: how much, and until when.

    Raises StoreError.
    """
    return [*_held(engine), *_due_later(engine)]


def given_up(engine: Engine) -> list[str]:
    """A line for each kind of what only a person can settle, calls apart, with what to do. Raises StoreError."""
    from engine.doctor import work

    return [f"{one.said}: {one.remedy}" for found in (work.events, work.reactions) for one in found(engine)]


def _held(engine: Engine) -> Iterator[str]:
    from engine.doctor.findings import MANY, counted

    if held := engine.find("call", state="sending", limit=MANY):
        until = max(call["lease"] or "" for call in held)
        said = counted(len(held), "call is being sent", "calls are being sent")
        yield f"{said} by a process that is taken to live until {until}"


def _due_later(engine: Engine) -> Iterator[str]:
    from engine.doctor.findings import MANY, counted

    for type, states, names in _KINDS:
        if not (waiting := engine.find(type, state=states, due={"gt": ""}, limit=MANY)):
            continue
        if type == "reaction" and not engine.reactions.listens:
            when = "by a process that has its functions, as app.py registers them"
        else:
            first = "" if len(waiting) == 1 else "the first of them "
            when = f"{first}at {_soonest(engine, type, states, min(row['due'] for row in waiting))}"
        yield f"{counted(len(waiting), *names)}, {when}"


def _soonest(engine: Engine, type: str, states: tuple[str, ...], seen: str) -> str:
    """The first `due` of all: it may stand anywhere, but is mostly near an end, so both ends are looked at in turn."""
    from engine.doctor.findings import MANY

    while True:
        before = {"gt": "", "lt": seen}
        oldest = engine.find(type, state=states, due=before, order="id", limit=MANY)
        newest = engine.find(type, state=states, due=before, limit=MANY)
        if not oldest:
            return seen
        seen = min(row["due"] for row in (*oldest, *newest))
