"""The first page: what needs a person, and how it goes.

Hides: that nothing is counted. Of what needs a person a bounded number is looked at, and more than 99 is "99+".
"""

from __future__ import annotations

from flask import Response

from engine.core import Engine
from engine.records import Record
from engine.web.console.pages import render
from engine.web.current import engine_of

MOST = 99
LOOK = 200  # unknown calls, oldest first: those that no worker comes back to any more are the oldest


def overview() -> Response:
    """The page."""
    engine = engine_of()
    found, newest = needing(engine), engine.find("call", limit=10)
    return render("overview.html", found=found, badge=badge_of(found), newest=newest, health=engine.workers.health())


def badge() -> Response:
    """The number beside the page's name in the menu, to be put into any page."""
    return render("badge.html", badge=badge_of(needing(engine_of())))


def needing(engine: Engine) -> list[Record]:
    """Up to MOST + 1 calls, events and reactions that nothing but a person can settle."""
    found = engine.find("call", state="unmapped", limit=MOST + 1)
    found += [call for call in engine.find("call", state="unknown", order="id", limit=LOOK) if not call["due"]]
    for type, state in (("event", "dead"), ("event", "quarantined"), ("reaction", "dead")):
        if len(found) <= MOST:
            found += engine.find(type, state=state, limit=MOST + 1 - len(found))
    return found[: MOST + 1]


def badge_of(found: list[Record]) -> str:
    """How many they are."""
    return f"{MOST}+" if len(found) > MOST else str(len(found))
