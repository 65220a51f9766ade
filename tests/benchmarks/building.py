"""Check, render and encode one request, beside Python that knows this one request by heart and checks nothing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.catalog import load, shipped
from engine.request_types import Request

from .contests import UNCHANGED, Contest, Contestant, Row
from .payment import CALL_ID, DATA, KEY, NAME, NOW, request_by_hand

NAMES: dict[str, Any] = {"settings": {}, "now": NOW, "call_id": CALL_ID, "account": None}


@contextmanager
def building() -> Iterator[Contest]:
    """The contest; both build the same bytes."""
    type = load([shipped()]).request_types[NAME]
    url = f"{type.base_url}/charges"
    version = type.gateway.version or ""
    names = {**NAMES, "version": version}

    def engine() -> Request:
        return type.render(type.check(DATA), names, KEY)

    def by_hand() -> Request:
        return request_by_hand(DATA, url, version)

    assert engine() == by_hand()
    rows = [
        Row("build a request: check, render, encode", "engine", "hand-written Python", 6.0),
        Row(UNCHANGED, "engine", "hand-written Python", 2.5),
    ]
    contestants = {"engine": Contestant(engine, 300), "hand-written Python": Contestant(by_hand, 300)}
    yield Contest("building", contestants, rows)
