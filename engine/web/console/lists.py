"""One page of calls, events or records, whatever number of them there is.

Hides: keys in the place of counts. A page begins after an id; one index finds it, in the order of ids. A second wish
is tested on what that index finds, a bounded number of rows at a time, for no index knows both.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import request

from engine.core import Engine
from engine.records import Record, matches

SIZE = 50
LOOK = 1000  # rows at most that one page looks at
STEP = 250

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Page:
    """`newer` and `older` are the ids that the neighbouring pages begin at, None where there is no such page.

    `looked`: how many rows were looked at, where that may not have been all that there are.
    """

    rows: list[Record]
    newer: str | None = None
    older: str | None = None
    looked: int | None = None


def page_of(engine: Engine, type: str, where: Mapping[str, Any]) -> Page:
    """The page that the request's `after` or `before` names, else the newest."""
    before, after = _asked("before"), _asked("after")
    if before:
        found = engine.find(type, order="id", limit=SIZE + 1, after=before, **where)
        rows = found[:SIZE][::-1]
        if rows:
            return Page(rows, rows[0].id if len(found) > SIZE else None, rows[-1].id)
    found = engine.find(type, limit=SIZE + 1, after=after, **where)
    rows = found[:SIZE]
    newer = (rows[0].id if rows else None) if after else None
    return Page(rows, newer, rows[-1].id if len(found) > SIZE else None)


def filtered(engine: Engine, type: str, wanted: Mapping[str, str], resting: Sequence[str]) -> Page:
    """The page of rows with a state and another property, either of which may be "".

    Nearly all rows are in a state that is `resting`, so the index of any other state finds fewer.
    """
    given = {name: text for name, text in wanted.items() if text}
    if len(given) < 2:
        return page_of(engine, type, given)
    other = next(name for name in given if name != "state")
    first = other if given["state"] in resting else "state"
    return _looked_through(engine, type, {first: given[first]}, lambda row: matches(given, row))


def _looked_through(engine: Engine, type: str, where: Mapping[str, Any], fits: Callable[[Record], bool]) -> Page:
    after = _asked("after")
    looked, rows = 0, list[Record]()
    while looked < LOOK:
        found = engine.find(type, limit=STEP, after=after, **where)
        for record in found:
            looked, after = looked + 1, record.id
            if fits(record):
                rows.append(record)
                if len(rows) == SIZE:
                    return Page(rows, None, after, looked)
        if len(found) < STEP:
            return Page(rows)
    return Page(rows, None, after, looked)


def _asked(name: str) -> str | None:
    text = request.args.get(name, "")
    return text if _ID.fullmatch(text) else None


def chosen(name: str, known: Sequence[str]) -> str:
    """What a filter of the request says, where it is one of those known; else nothing."""
    text = request.args.get(name, "")
    return text if text in known else ""
