"""One page of calls, events or records, whatever number of them there is.

Hides: keys in the place of counts. A page begins after an id; an index finds it, in the order of ids. Of two wishes the
one that is rarer is walked in its index, and each row that it finds is looked up in the index of the other.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from flask import request

from engine.core import Engine
from engine.records import Record

SIZE = 50

_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")


@dataclass(frozen=True, slots=True)
class Page:
    """`newer` and `older` are the ids that the neighbouring pages begin at, None where there is no such page."""

    rows: list[Record]
    newer: str | None = None
    older: str | None = None


def page_of(engine: Engine, type: str, where: Mapping[str, Any]) -> Page:
    """The page that the request's `after` or `before` names, else the newest."""
    before, after = asked("before"), asked("after")
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
    """The page of rows with a state and another property, in this order, either of which may be "".

    Nearly all rows are in a state that is `resting`, so that fewer have the other property.
    """
    given = {name: text for name, text in wanted.items() if text}
    if given.get("state") in resting:
        given["state"] = given.pop("state")  # a store walks the index of the first
    return page_of(engine, type, given)


def asked(name: str) -> str | None:
    """The id that the request gives as the end of a neighbouring page, if any."""
    text = request.args.get(name, "")
    return text if _ID.fullmatch(text) else None


def chosen(name: str, known: Sequence[str]) -> str:
    """What a filter of the request says, where it is one of those known; else nothing."""
    text = request.args.get(name, "")
    return text if text in known else ""
