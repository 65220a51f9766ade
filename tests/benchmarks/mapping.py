"""One answer to validated records, beside Python that makes the same changes, writes them as JSON, checks the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine.catalog import load, shipped
from engine.records import Change, Record, RecordType, Scope, resulting

from .contests import Contest, Contestant, Row
from .payment import CALL_ID, DATA, NAME, NOW, answer, changes_by_hand, hold

SCOPE = Scope("stripe")
BY_HAND = "plain Python + json.dumps + same checks"


@contextmanager
def mapping() -> Iterator[Contest]:
    """The contest; both end in the same record."""
    catalog = load([shipped()])
    mapper, type = catalog.mappers[NAME], catalog.record_types["payment"]
    charge = json.loads(answer())
    names = {"data": DATA, "response": charge, "status": 200, "now": NOW, "sent_at": NOW, "call_id": CALL_ID}

    def engine() -> Record | None:
        record = None
        for change in mapper.changes(names, SCOPE, waits=False):
            assert isinstance(change, Change)
            record = resulting(change, record)
        return record

    def by_hand() -> dict[str, Any]:
        return _applied(type, changes_by_hand(DATA, charge))

    record = engine()
    assert record is not None
    assert record.properties == by_hand()
    rows = [Row("map an answer to validated records", "engine", BY_HAND, 2.5)]
    contestants = {"engine": Contestant(engine, 300), BY_HAND: Contestant(by_hand, 300)}
    yield Contest("mapping", contestants, rows)


def _applied(type: RecordType, changes: list[dict[str, Any]]) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for change in changes:
        json.dumps(change)
        created = not properties
        if not created and not hold(change.get("when", {}), properties):
            continue
        given = {**properties, **change["where"], **change["set"]}
        properties = {name: value for name, value in given.items() if value is not None}
        assert not type.problems(properties, created=created)
    return properties
