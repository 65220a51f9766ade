"""What a mapper says: changes in a closed language, checked at start and again with every answer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.changes import FollowUp, Mapper, check_changes
from engine.json_texts import iter_documents
from engine.records import Change, RecordType, Scope
from engine.template_checks import Source

PAYMENT = RecordType(
    "payment",
    {"gateway_id": {"type": "string"}, "shop": {}, "order": {}, "state": {"type": "string"}, "amount": {}},
    unique=(("gateway_id",), ("shop", "order")),
)
TYPES = {"payment": PAYMENT}
REQUESTS: dict[str, dict[str, Any]] = {
    "shop/read": {"properties": {"id": {"type": "string"}}},
    "shop/any": {"properties": {}, "additionalProperties": True},
}
SCOPE = Scope("shop", "acct_1", live=False)


def changes(*documents: Any, waits: bool = False) -> list[Change | FollowUp]:
    """The changes that a mapper makes which renders to `documents`."""
    text = "\n\n".join(one if isinstance(one, str) else json.dumps(one) for one in documents)
    mapper = Mapper("shop/pay", "response_mappers/shop/pay.json.j2", lambda _: iter_documents(text), TYPES, list)
    return mapper.changes({}, SCOPE, waits=waits)


def test_changes_stand_one_after_the_other() -> None:
    """A document is a row of JSON objects, with nothing between them; none at all changes nothing."""
    upsert = {"upsert": "payment", "where": {"gateway_id": "p1"}, "set": {"state": "paid", "amount": None}}
    delete = {"delete": "payment", "where": {"id": "1"}, "when": {"state": ["paid"]}, "as_of": "2026-01-01T00:00:00Z"}
    send = {"send": "shop/read", "data": {"id": "p1", "more": None}}
    assert changes(upsert, delete, send) == [
        Change("upsert", PAYMENT, SCOPE, {"gateway_id": "p1"}, {"state": "paid", "amount": None}),
        Change("delete", PAYMENT, SCOPE, {"id": "1"}, {}, {"state": ["paid"]}, "2026-01-01T00:00:00Z"),
        FollowUp("shop/read", {"id": "p1"}, "shop/read"),
    ]
    assert changes() == []
    assert len(changes(json.dumps(upsert) + json.dumps(upsert))) == 2


def test_updates_of_one_record_that_follow_each_other_are_one() -> None:
    """The later word on a property counts; what has a condition, or another record between, stands by itself."""
    a, b = ({"update": "payment", "where": {"gateway_id": name}} for name in "ab")
    plain = changes({**a, "set": {"state": "paid", "amount": 1}}, {**a, "set": {"amount": 2}})
    assert plain == [Change("update", PAYMENT, SCOPE, {"gateway_id": "a"}, {"state": "paid", "amount": 2})]
    when, later = {"when": {"state": "paid"}}, {"as_of": "2026-01-01T00:00:00Z"}
    for second in ({**a, "set": {}, **when}, {**a, "set": {}, **later}, {**b, "set": {}}, {**a, "missing": "skip"}):
        assert len(changes({**a, "set": {"amount": 1}}, second)) == 2
    assert len(changes({**a, "set": {}}, {**b, "set": {}}, {**a, "set": {}})) == 3
    one, true = ({"update": "payment", "where": {"order": value, "shop": 2}, "set": {}} for value in (1, True))
    assert len(changes(one, true)) == 2


def test_a_compound_key_names_a_record() -> None:
    """`where` may be any unique key of the type, compound ones too."""
    (change,) = changes({"update": "payment", "where": {"order": 1, "shop": 2}, "set": {}})
    assert isinstance(change, Change)
    assert change.where == {"order": 1, "shop": 2}


def test_an_update_waits_in_an_event_only() -> None:
    """An update without its record waits for it in an event, unless it says skip; in a call it is skipped."""
    update = {"update": "payment", "where": {"gateway_id": "p1"}, "set": {}}
    for waits, said, wanted in (
        (True, None, "wait"),
        (True, "skip", "skip"),
        (False, None, "skip"),
        (False, "wait", "skip"),
    ):
        (change,) = changes({**update, **({"missing": said} if said else {})}, waits=waits)
        assert isinstance(change, Change)
        assert change.missing == wanted


WHERE = {"where": {"gateway_id": "p1"}}
REFUSED: list[tuple[Any, str]] = [
    ("[]", "a change must be an object, not []"),
    ("5", "a change must be an object, not 5"),
    ({}, "a change says one of upsert, update, delete, send, not nothing"),
    ({"upsert": "payment", "update": "payment", **WHERE}, "a change says one of"),
    ({"upsret": "payment", **WHERE}, "a change says one of upsert, update, delete, send, not upsret, where"),
    ({"upsert": None, **WHERE}, "upsert needs a name in quotes"),
    ({"upsert": "paymnet", **WHERE}, "there is no record type 'paymnet'; did you mean 'payment'?"),
    ({"upsert": "payment", **WHERE, "sett": {}}, "upsert knows no 'sett'; did you mean 'set'?"),
    ({"upsert": "payment", **WHERE, "missing": "skip"}, "upsert knows no 'missing'"),
    ({"delete": "payment", **WHERE, "set": {}}, "delete knows no 'set'"),
    ({"send": "shop/read", "where": {}}, "send knows no 'where'"),
    ({"upsert": "payment", "set": {}}, '"where" must name one record, not null'),
    ({"upsert": "payment", "where": {}}, '"where" must name one record, not {}'),
    ({"upsert": "payment", "where": {"gateway_id": None}}, '"where" must name one record, not {"gateway_id": null}'),
    (
        {"update": "payment", "where": {"state": "paid"}},
        '"where" of payment must be id or gateway_id or shop with order',
    ),
    ({"update": "payment", "where": {"shop": 1}}, '"where" of payment must be'),
    ({"update": "payment", "where": {"id": "1", "gateway_id": "p1"}}, '"where" of payment must be'),
    ('{"upsert": "payment"', "Expecting"),
    ('{"upsert": "payment", "where": {"gateway_id": NaN}}', "NaN is not JSON"),
    ("payment", "Expecting value"),
]


@pytest.mark.parametrize(("document", "message"), REFUSED)
def test_what_is_no_change_is_refused(document: Any, message: str) -> None:
    """What a mapper renders must be changes; anything else says which file and what is wrong, and changes nothing."""
    with pytest.raises(ValueError, match=r"^response_mappers/shop/pay\.json\.j2: ") as raised:
        changes(document)
    assert message in str(raised.value)


def test_calls_of_one_name_are_told_apart() -> None:
    """Two calls sent under one name would be one operation; they must say "as"."""
    send = {"send": "shop/read", "data": {"id": "1"}}
    with pytest.raises(ValueError, match='give each its own "as"'):
        changes(send, send)
    labels = [one.label for one in changes({**send, "as": "a"}, {**send, "as": "b"}) if isinstance(one, FollowUp)]
    assert labels == ["a", "b"]


# At start ---------------------------------------------------------------------------------------------------------

START: list[tuple[str, list[str]]] = [
    ('{"upsert": "payment", "where": {"gateway_id": null}, "set": {"state": null}}', []),
    ('{"upsert": "payment", "where": null, "set": null}', []),
    ('{"send": "shop/read", "data": {"id": null}}', []),
    ('{"send": "shop/any", "data": {"whatever": null}}', []),
    ('\n\n  {"upsert": "paymnet"}', ["3:4: there is no record type 'paymnet'; did you mean 'payment'?"]),
    (
        '{"upsert": "payment",\n "where": {"gateway_id": null},\n "set": {"stat": null}}',
        [
            "3:10: there is no property of payment 'stat'; did you mean 'state'?",
        ],
    ),
    (
        '{"update": "payment", "where": {"gateway_id": null}, "when": {"stat": null}}',
        [
            "1:63: there is no property of payment 'stat'; did you mean 'state'?",
        ],
    ),
    (
        '{"update": "payment",\n "where": {"state": null}}',
        [
            '2:2: "where" of payment must be id or gateway_id or shop with order, not state',
        ],
    ),
    ('{"update": "payment",\n "where": {}}', ['2:2: "where" of payment must be']),
    ('{"update": "payment"}', ['1:1: "where" of payment must be']),
    ('{"update": "payment", "where": {"id": null}, "missing": "never"}', ['1:46: "missing" is "skip" or "wait"']),
    ('{"update": "payment", "where": {"id": null}, "set": 5}', ["1:46: 'set' must be an object"]),
    ('{"update": "payment", "where": {"id": null}, "when": {"state": ["a", null], "amount": {"lt": 5}}}', []),
    (
        '{"update": "payment", "where": {"id": null}, "set": {"state": 5}, "when": {"state": ["a", null, 6]}}',
        [
            "1:54: no payment has this state: 5 is not of type string",
            "1:76: no payment has this state: 6 is not of type string",
        ],
    ),
    ('{"upsert": null}', ["1:1: upsert needs a name in quotes"]),
    ('{"send": "shop/raed"}', ["1:2: there is no request type 'shop/raed'; did you mean 'shop/read'?"]),
    ('{"send": "shop/read", "data": {"idd": null}}', ["1:32: there is no data of shop/read 'idd'; did you mean 'id'?"]),
    ("[1]", ["1:1: a change must be a JSON object; wrap the value in one"]),
    ('{"upsert": "payment",,}', ["1:22: not JSON:"]),
    ('{"a": ' * 50_000, ["1:1: it is nested too deep"]),
    ('{"upsert": "payment", "upsert": "payment"}', ["1:1: an object has the same key twice"]),
    (
        '{"send": "shop/any"}\n  {"send": "shop/any", "data": {"id": null,\n "id": null}}',
        ["2:3: an object has the same key twice"],
    ),
    (
        '{"upsret": "payment"} {"upsert": "paymnet"}',
        [
            "1:1: a change says one of upsert, update, delete, send, not upsret",
            "1:24: there is no record type 'paymnet'",
        ],
    ),
]


@pytest.mark.parametrize(("skeleton", "said"), START)
def test_faults_at_start(skeleton: str, said: list[str]) -> None:
    """A wrong name in a mapper is told at start with line, column and the nearest right name."""
    found = [str(one) for one in check_changes(skeleton, Source(skeleton, "a"), TYPES, REQUESTS)]
    assert len(found) == len(said), found
    for fault, wanted in zip(found, said, strict=True):
        assert fault.startswith(f"a:{wanted}"), fault
