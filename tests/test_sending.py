"""One call from data to result: what is durable when, what is sent how often, and what is told to the caller."""

from __future__ import annotations

import base64
import json
import logging
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from hosts import SECRETS, SHOP, Host, Hours, OnlyHere, Told, failure, host, ok, refusal, write

from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Answer, Failure
from engine.doctor import keys
from engine.errors import (
    CallError,
    Conflict,
    DataError,
    DefinitionError,
    MappingError,
    RejectedError,
    SettingError,
    StoreError,
    TransportError,
    UnknownNameError,
    UnknownOutcome,
)
from engine.json_texts import MAX_DEPTH
from engine.pointers import part_at, replaced_at
from engine.records import Change, Record
from engine.redaction import MASK
from engine.request_types import Request
from engine.seals import new_key
from engine.settling import Result
from engine.store.sql import SqlStore

NAMES: dict[str, dict[str, Any]] = {
    "shop/pay": {"amount": 5},
    "shop/pay_once": {"amount": 5},
    "shop/erase": {"id": "p1"},
    "shop/read": {"id": "p1"},
}


def outcome(shop: Host, name: str, **more: Any) -> str:
    """Send, and say what came of it: the error's name, or "succeeded"."""
    try:
        shop.engine.send(name, NAMES[name] | more)
    except CallError as error:
        return type(error).__name__
    return "succeeded"


# The good path --------------------------------------------------------------------------------------------------------


def test_two_commits(tmp_path: Path) -> None:
    """A call is committed before it is sent, and its records are committed with its end; there is no third commit."""
    shop = host(tmp_path)
    result = shop.engine.send("shop/pay", {"amount": 5, "note": "tea"})
    assert shop.store.commits == [["insert call"], ["upsert sale", "update call"]]
    assert shop.sales() == [{"gateway_id": "p1", "amount": 5, "note": "tea", "state": "paid"}]
    assert result.response == {"id": "p1", "amount": 5}
    assert [record["note"] for record in result.records] == ["tea"]
    assert result.call is not None
    assert result.call["state"] == "succeeded"


@pytest.mark.parametrize("more", ['{"b": 2}', "{% if data.amount %}[]{% endif %}", "x"])
def test_a_body_is_sent_whole_or_not_at_all(tmp_path: Path, more: str) -> None:
    """What a template says after the body's one value would be left out without a word."""
    file = (
        "summary: x\nmethod: POST\nurl: /x\nbody: |\n  {}\n  {}\ndata: {{properties: {{amount: {{type: integer}}}}}}\n"
    )
    lines = '{"a": {{ data.amount }}}'
    shop = host(tmp_path, files={"request_types/shop/lines.yml": file.format(lines, "")})
    assert shop.engine.plan("shop/lines", {"amount": 5}).request.body == b'{"a":5}'
    shop = host(tmp_path, files={"request_types/shop/lines.yml": file.format(lines, more)})
    with pytest.raises(DataError, match="shop/lines was not sent, its data does not fit: "):
        shop.engine.send("shop/lines", {"amount": 5})
    assert shop.gateway.requests == []


def test_a_hosted_page_may_be_named_by_a_header(tmp_path: Path) -> None:
    """What a file reads of an answer it reads of the whole of it: when the answer comes, and when it is asked again."""
    page = "https://pay.shop.test/s/1"
    go = "summary: x\nmethod: POST\nurl: /x\nexpect: {status: [201]}\n"
    go += 'redirect: "{{ headers.location if status == 201 }}"\n'
    limited = "limited: \"{{ headers['x-left'] < '1' }}\"\n"
    named = SHOP["request_types/shop/_gateway.yml"] + "browser: {redirect: [pay.shop.test]}\n" + limited
    files = {"request_types/shop/go.yml": go, "request_types/shop/_gateway.yml": named}
    shop = host(tmp_path, ok({"id": "x"}, 201, location=page, x_left="9"), files=files)
    assert [shop.engine.send("shop/go", {}, operation="a").redirect for _ in range(2)] == [page, page]
    assert len(shop.gateway.requests) == 1


def test_a_page_that_cannot_be_told_once_its_answer_is_sealed(tmp_path: Path) -> None:
    """The call is what it was, now and when it is asked for again, and the error is one that says so."""
    go = "summary: x\nmethod: POST\nurl: /x\nsealed: [/number]\n"
    go += "redirect: \"{{ 'https://pay.shop.test/' ~ (response.number + 1) }}\"\n"
    named = SHOP["request_types/shop/_gateway.yml"] + "browser: {redirect: [pay.shop.test]}\n"
    files = {"request_types/shop/go.yml": go, "request_types/shop/_gateway.yml": named}
    shop = host(tmp_path, ok({"id": "x", "number": 1}), files=files, CALLSHEET_ENCRYPTION_KEY=new_key())
    for _ in range(2):
        with pytest.raises(MappingError, match="shop/go was carried out, but where it leads is not told: "):
            shop.engine.send("shop/go", {}, operation="a")
    assert [call["state"] for call in shop.find("call")] == ["succeeded"]
    assert len(shop.gateway.requests) == 1


def test_what_is_sent_is_durable_before(tmp_path: Path) -> None:
    """When the first byte leaves, the journal already has the very bytes, their key and the lease."""
    shop = host(tmp_path)
    seen: list[Record] = []
    shop.gateway.before = lambda _: seen.extend(shop.store.find("call"))
    shop.engine.send("shop/pay", {"amount": 5})
    (call,), (request,) = seen, shop.gateway.requests
    assert (call["state"], call["lease"]) == ("sending", "2026-01-01T00:01:00.000Z")
    assert call["request"] == {
        "method": "POST",
        "url": "https://api.shop.test/v1/payments",
        "headers": [list(pair) for pair in request.headers],
        "body": '{"amount":5,"call":"call-2"}',
    }
    assert call["key"] == dict(request.headers)["Idempotency-Key"]


def test_nothing_leaves_inside_a_transaction(tmp_path: Path) -> None:
    """While a request is under way others may write, be it a call, a worker's, one that is taken up, or a read."""
    folder, file, hours, begun = write(tmp_path, SHOP), tmp_path / "shop.sqlite3", Hours(), list[str]()

    def write_something(request: Request) -> None:
        with closing(sqlite3.connect(file, timeout=0, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            other.execute("ROLLBACK")
        begun.append(request.method)

    gateway = Told(failure("read_timeout"), failure("read_timeout"), failure("read_timeout"), ok())
    gateway.before = write_something
    store = SqlStore(file)
    files, clock = OnlyHere(folder), hours.clock()
    engine = Engine(folder, store=store, environment=SECRETS, dispatcher=gateway, clock=clock, files=files)
    with pytest.raises(UnknownOutcome):
        engine.send("shop/pay", {"amount": 5})
    hours.pass_by(2)
    engine.send_later("shop/pay", {"amount": 5})
    engine.run_due()
    engine.send("shop/read", {"id": "p1"})
    assert begun == ["POST"] * 5 + ["GET"]
    store.close()


def test_credentials_go_to_the_dispatcher_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The secret is added last: it is in no request, no row, no log and no error."""
    shop = host(tmp_path, refusal(f"bad key {SECRETS['SHOP_KEY']}"))
    with caplog.at_level(logging.DEBUG), pytest.raises(RejectedError) as raised:
        shop.engine.send("shop/pay", {"amount": 5})
    assert shop.gateway.credentials == [{"Authorization": f"Bearer {SECRETS['SHOP_KEY']}"}]
    for text in (
        shop.store.text(),
        caplog.text,
        str(raised.value),
        repr(shop.engine.settings),
        str(shop.gateway.requests),
    ):
        assert SECRETS["SHOP_KEY"] not in text


AUTH = {
    "auth: {bearer: SHOP_KEY}": {"Authorization": f"Bearer {SECRETS['SHOP_KEY']}"},
    "auth: {basic: [SHOP_KEY]}": {
        "Authorization": "Basic " + base64.b64encode(f"{SECRETS['SHOP_KEY']}:".encode()).decode(),
    },
    "auth: {basic: [SHOP_KEY, SHOP_HOOK]}": {
        "Authorization": "Basic " + base64.b64encode(f"{SECRETS['SHOP_KEY']}:{SECRETS['SHOP_HOOK']}".encode()).decode(),
    },
    "auth: {header: {X-Api-Key: SHOP_KEY}}": {"X-Api-Key": SECRETS["SHOP_KEY"]},
    "auth: null": {},
}


def test_a_file_may_authenticate_otherwise(tmp_path: Path) -> None:
    """A file's own way replaces that of its gateway: what proves who we are is never a mixture."""
    pay = SHOP["request_types/shop/pay.yml"] + "auth: {header: {X-Api-Key: SHOP_HOOK}}\n"
    shop = host(tmp_path, files={"request_types/shop/pay.yml": pay})
    shop.engine.send("shop/pay", {"amount": 5})
    assert shop.gateway.credentials == [{"X-Api-Key": SECRETS["SHOP_HOOK"]}]


@pytest.mark.parametrize(("auth", "headers"), AUTH.items())
def test_ways_to_authenticate(tmp_path: Path, auth: str, headers: dict[str, str]) -> None:
    """A bearer token, a user with or without a password, a header of its own, or nothing."""
    gateway = SHOP["request_types/shop/_gateway.yml"].replace("auth: {bearer: SHOP_KEY}", auth)
    shop = host(tmp_path, files={"request_types/shop/_gateway.yml": gateway})
    shop.engine.send("shop/pay", {"amount": 5})
    assert shop.gateway.credentials == [headers]


@pytest.mark.parametrize(("mode", "password"), [("test", SECRETS["SHOP_KEY"]), ("live", "live_0123456789abcdef")])
def test_a_user_beside_a_password_is_no_key(tmp_path: Path, mode: str, password: str) -> None:
    """`live_key` says what the password looks like; a user's name looks as it likes, in either mode."""
    gateway = SHOP["request_types/shop/_gateway.yml"].replace("{bearer: SHOP_KEY}", "{basic: [SHOP_HOOK, SHOP_KEY]}")
    names = {"SHOP_HOOK": "live_user_0123456789" if mode == "test" else "shop-user-0123456789", "SHOP_KEY": password}
    shop = host(
        tmp_path,
        files={"request_types/shop/_gateway.yml": gateway},
        CALLSHEET_MODE=mode,
        SHOP_HOOK=names["SHOP_HOOK"],
        SHOP_KEY=password,
    )
    shop.engine.send("shop/pay", {"amount": 5})
    pair = base64.b64encode(f"{names['SHOP_HOOK']}:{password}".encode()).decode()
    assert shop.gateway.credentials == [{"Authorization": f"Basic {pair}"}]
    assert not [
        one
        for one in keys.findings(shop.engine.catalog, shop.engine.settings, tmp_path)
        if one.about == "keys" and one.level == "problem"
    ]


def test_reading_is_not_journaled(tmp_path: Path) -> None:
    """A GET leaves no row, carries no key, and commits once, only where its mapper changes records."""
    shop = host(tmp_path, ok(), ok({"id": "p1", "amount": 7}))
    shop.engine.send("shop/pay", {"amount": 5})
    shop.store.commits.clear()
    result = shop.engine.send("shop/read", {"id": "p1"})
    assert shop.store.commits == [["update sale"]]
    assert [record["amount"] for record in result.records] == [7]
    assert result.call is None
    assert "Idempotency-Key" not in dict(shop.gateway.requests[-1].headers)


# How often, and what is told ------------------------------------------------------------------------------------------

# answer → for each request type: how often it is sent, and what the caller is told
OFTEN: dict[str, tuple[Answer | Failure, dict[str, tuple[int, str]]]] = {
    "a success": (
        ok(),
        {
            "shop/pay": (1, "succeeded"),
            "shop/pay_once": (1, "succeeded"),
            "shop/erase": (1, "succeeded"),
            "shop/read": (1, "succeeded"),
        },
    ),
    "a refusal": (refusal(), dict.fromkeys(NAMES, (1, "RejectedError"))),
    "no connection": (failure("connect", sent=False), dict.fromkeys(NAMES, (3, "TransportError"))),
    "a request that is none": (failure("invalid_request", sent=False), dict.fromkeys(NAMES, (1, "TransportError"))),
    "429": (refusal(status=429), dict.fromkeys(NAMES, (3, "TransportError"))),
    "no answer": (
        failure("read_timeout"),
        {
            **dict.fromkeys(NAMES, (3, "UnknownOutcome")),
            "shop/pay_once": (1, "UnknownOutcome"),
        },
    ),
    "500": (
        refusal(status=500),
        {
            **dict.fromkeys(NAMES, (3, "UnknownOutcome")),
            "shop/pay_once": (1, "UnknownOutcome"),
        },
    ),
    "409": (
        refusal(status=409),
        {
            **dict.fromkeys(NAMES, (3, "UnknownOutcome")),
            "shop/pay_once": (1, "UnknownOutcome"),
        },
    ),
    "half a JSON": (
        ok(b'{"id": "p'),
        {
            **dict.fromkeys(NAMES, (3, "UnknownOutcome")),
            "shop/pay_once": (1, "UnknownOutcome"),
        },
    ),
    "a redirect": (ok({}, 302), dict.fromkeys(NAMES, (1, "UnknownOutcome"))),
    "a key used before": (refusal(code="reused", status=400), dict.fromkeys(NAMES, (1, "UnknownOutcome"))),
    "500, not to be repeated": (ok({}, 500, x_should_retry="false"), dict.fromkeys(NAMES, (1, "UnknownOutcome"))),
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("answer", "told"), OFTEN.values(), ids=OFTEN)
def test_how_often(tmp_path: Path, name: str, answer: Answer | Failure, told: dict[str, tuple[int, str]]) -> None:
    """The same bytes go again only where a second effect is impossible, and what is told is what is known."""
    shop = host(tmp_path, answer)
    if name in {"shop/erase", "shop/pay_once"} and isinstance(answer, Answer) and answer.status == 400:
        told = {**told, name: (1, "RejectedError")}  # it takes no key, so none can have been used before
    assert (outcome(shop, name), len(shop.gateway.requests)) == told[name][::-1]
    assert len(set(shop.gateway.requests)) == 1


def test_the_end_of_a_call_is_its_state(tmp_path: Path) -> None:
    """What the caller is told is what the journal says."""
    answers: dict[str, Answer | Failure] = {
        "succeeded": ok(),
        "declined": refusal(),
        "not_done": failure("dns", sent=False),
        "unknown": failure("closed"),
        "unmapped": ok({"id": 5}),
    }
    for number, (state, answer) in enumerate(answers.items()):
        shop = host(tmp_path / str(number), answer)
        told = outcome(shop, "shop/pay")
        (call,) = shop.calls()
        assert call["state"] == state, told
        assert call["lease"] is None


def test_attempts_are_written_down(tmp_path: Path) -> None:
    """Every attempt is one line: when, how it ended, how long it took, and the gateway's own id of it."""
    shop = host(tmp_path, failure("connect", sent=False), refusal(status=503), ok(x_request="req_9"))
    shop.engine.send("shop/pay", {"amount": 5})
    (call,) = shop.calls()
    assert [{name: line[name] for name in ("class", "phase")} for line in call["attempts"]] == [
        {"class": "connect", "phase": "not_sent"},
        {"class": "http_503", "phase": "answered"},
        {"class": "ok", "phase": "answered"},
    ]
    assert (call["attempts"][2]["status"], call["attempts"][2]["request_id"]) == (200, "req_9")


def test_between_attempts(tmp_path: Path) -> None:
    """Between attempts there is a pause: a second or more after a 409, or what the gateway asks for."""
    shop = host(tmp_path, refusal(status=409), ok({}, 429, retry_after="7"), ok())
    assert outcome(shop, "shop/pay") == "succeeded"
    assert shop.hours.slept[0] >= 1.0
    assert shop.hours.slept[1] == 7.0


def test_a_gateway_that_asks_for_too_much(tmp_path: Path) -> None:
    """Nobody is kept waiting past the deadline, however long the gateway asks for."""
    shop = host(tmp_path, ok({}, 429, retry_after="3600"), ok())
    assert outcome(shop, "shop/pay") == "TransportError"
    assert shop.hours.slept == []


def test_after_an_unknown_attempt(tmp_path: Path) -> None:
    """After an attempt that may have been carried out, a refusal by the key check says nothing, a replayed one does."""
    for number, (last, told) in enumerate(
        [(refusal(status=401), "UnknownOutcome"), (refusal(), "RejectedError"), (ok(), "succeeded")]
    ):
        shop = host(tmp_path / str(number), failure("read_timeout"), last)
        assert outcome(shop, "shop/pay") == told


def test_what_errors_carry(tmp_path: Path) -> None:
    """An error about a call has its row; a refusal has the gateway's answer and status too."""
    with pytest.raises(RejectedError, match="the gateway refused shop/pay: no funds") as raised:
        host(tmp_path, refusal(code="low")).engine.send("shop/pay", {"amount": 5})
    assert raised.value.response["error"]["code"] == "low"
    assert raised.value.status == 402
    assert raised.value.call is not None
    assert raised.value.call["state"] == "declined"


# Once -----------------------------------------------------------------------------------------------------------------


def test_an_operation_is_carried_out_once(tmp_path: Path) -> None:
    """Sent twice with one operation, the call is made once, and both get the same result."""
    shop = host(tmp_path, ok(), ok({"id": "p2", "amount": 5}))
    one = shop.engine.send("shop/pay", {"amount": 5}, operation="order-17")
    two = shop.engine.send("shop/pay", {"amount": 5}, operation="order-17")
    assert len(shop.gateway.requests) == 1
    assert one.call == two.call
    assert one.response == two.response
    assert [record.id for record in one.records] == [record.id for record in two.records]


def test_the_operation_may_stand_in_the_data(tmp_path: Path) -> None:
    """`idempotency_key` in the data is the operation too; it is not sent as it is, nor kept in the data."""
    shop = host(tmp_path)
    shop.engine.send("shop/pay", {"amount": 5, "idempotency_key": "ada@example.com 17"})
    shop.engine.send("shop/pay", {"amount": 5}, operation="ada@example.com 17")
    (request,) = shop.gateway.requests
    (call,) = shop.calls()
    assert "example" not in dict(request.headers)["Idempotency-Key"]
    assert call["data"] == {"amount": 5}
    assert call["operation"] == "ada@example.com 17"


def test_the_same_data_is_one_operation_however_it_is_written(tmp_path: Path) -> None:
    """In another order, or with an old spelling, it is the same data."""
    gateway = SHOP["request_types/shop/_gateway.yml"] + "renamed: {amuont: amount}\n"
    shop = host(tmp_path, files={"request_types/shop/_gateway.yml": gateway})
    shop.engine.send("shop/pay", {"amount": 5, "note": "blue"}, operation="a")
    shop.engine.send("shop/pay", {"note": "blue", "amount": 5}, operation="a")
    with pytest.warns(DeprecationWarning, match="amuont"):
        shop.engine.send("shop/pay", {"amuont": 5, "note": "blue"}, operation="a")
    assert len(shop.gateway.requests) == 1


def test_a_record_that_an_event_made_first_is_in_the_result(tmp_path: Path) -> None:
    """What an answer has nothing to add to is its record all the same, as it is by then."""
    mapper = (
        '{"upsert": "sale", "where": {"gateway_id": {{ response.id }}}, "when": {"state": []}, '
        '"set": {"amount": {{ response.amount }}, "state": "paid"}}\n'
    )
    shop = host(tmp_path, files={"response_mappers/shop/pay.json.j2": mapper})
    first, second = (shop.engine.send("shop/pay", {"amount": 5}) for _ in range(2))
    assert [record["state"] for record in first.records] == ["paid"]
    assert second.records == first.records


def test_without_an_operation_every_call_is_its_own(tmp_path: Path) -> None:
    """Two sends without an operation are two calls with two keys."""
    shop = host(tmp_path)
    for _ in range(2):
        shop.engine.send("shop/pay", {"amount": 5})
    one, two = [dict(request.headers)["Idempotency-Key"] for request in shop.gateway.requests]
    assert one != two


def test_a_body_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """A body over `request_limit` is not sent and not kept; one that just fits is."""
    shop = host(tmp_path, ok({"id": "p1", "amount": 5}))
    with pytest.raises(DataError, match="request_limit allows 262144"):
        shop.engine.send("shop/pay", {"amount": 5, "note": "x" * 262_144})
    assert shop.calls() == []
    shop.engine.send("shop/pay", {"amount": 5, "note": "x" * 262_000})
    assert [len(request.body) <= 262_144 for request in shop.gateway.requests] == [True]


def test_an_operation_is_named_by_a_text(tmp_path: Path) -> None:
    """A number, such as the id of an order, is refused in terms of the caller's."""
    here = host(tmp_path)
    number: Any = 17
    with pytest.raises(DataError, match="/idempotency_key: 17 is no text, and an operation"):
        here.engine.send("shop/pay", {"amount": 1}, operation=number)
    assert (here.calls(), here.gateway.requests) == ([], [])


def test_other_data_under_an_operation_is_refused(tmp_path: Path) -> None:
    """An operation repeated with other data is the caller's mistake; nothing is sent."""
    shop = host(tmp_path)
    shop.engine.send("shop/pay", {"amount": 5}, operation="order-17")
    with pytest.raises(DataError, match="the operation 'order-17' was begun with other data") as raised:
        shop.engine.send("shop/pay", {"amount": 6}, operation="order-17")
    assert raised.value.problems[0].pointer == "/idempotency_key"
    assert len(shop.gateway.requests) == 1


class Closed(Mapping[str, Any]):
    """A mapping that is no dict, and does not show what it holds."""

    def __init__(self, **held: Any) -> None:
        self._held = held

    def __getitem__(self, name: str) -> Any:
        return self._held[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._held)

    def __len__(self) -> int:
        return len(self._held)


def test_data_is_the_same_in_whatever_mapping(tmp_path: Path) -> None:
    """Neither the kind of the mapping nor the order of the names in it makes data other data."""
    shop, data = host(tmp_path), {"amount": 5, "note": "tea"}
    for given in (data, MappingProxyType(data), MappingProxyType(dict(reversed(data.items()))), Closed(**data)):
        shop.engine.send("shop/pay", given, operation="order-17")
    assert len(shop.gateway.requests) == 1


@pytest.mark.parametrize("note", [SECRETS["SHOP_KEY"], "4242 4242 4242 4242"])
def test_no_mapping_hides_what_must_not_be_kept(tmp_path: Path, note: str) -> None:
    """A host's secret and a card number are found in any."""
    shop = host(tmp_path)
    with pytest.raises(DataError, match="holds") as raised:
        shop.engine.send("shop/pay", Closed(amount=5, note=note))
    assert note not in str(raised.value)
    assert shop.calls() == []


def test_data_that_is_no_json(tmp_path: Path) -> None:
    """Python has values that no JSON text can say."""
    shop, endless = host(tmp_path), dict[str, Any](amount=5)
    endless["note"] = endless
    odd: Any = {"amount": 5, "note": {("a", "b"): 1}}
    for data in (endless, odd):
        with pytest.raises(DataError, match="shop/pay was not sent, its data does not fit: /: is not JSON: "):
            shop.engine.send("shop/pay", data)


def test_data_that_is_nested_deep(tmp_path: Path) -> None:
    """As deep as an answer may be it is sent and kept, and deeper it is refused before that."""
    name = "request_types/shop/pay.yml"
    shop = host(
        tmp_path,
        files={name: SHOP[name].replace("{amount: {type: integer", "{tree: {type: object}, amount: {type: integer")},
    )
    data: dict[str, Any] = {"amount": 5, "tree": {}}
    inner = data["tree"]
    for _ in range(MAX_DEPTH - 3):
        inner["in"] = inner = {}
    shop.engine.send("shop/pay", data, operation="a")
    shop.engine.send("shop/pay", data, operation="a")
    assert [call["data"] for call in shop.calls()] == [data]
    inner["in"] = [()]
    with pytest.raises(DataError, match="/: is nested deeper than 64 levels; flatten it"):
        shop.engine.send("shop/pay", data)
    assert len(shop.calls()) == len(shop.gateway.requests) == 1


def test_a_repeat_is_told_what_came_of_it(tmp_path: Path) -> None:
    """A repeat of an operation that was refused, lost or not mapped gets the same error, and sends nothing."""
    answers: list[Answer | Failure] = [refusal(), failure("read_timeout"), ok({"id": 5})]
    for number, answer in enumerate(answers):
        shop = host(tmp_path / str(number), answer)
        told = [outcome(shop, "shop/pay", idempotency_key="a") for _ in range(2)]
        sent = len(shop.gateway.requests)
        assert told[0] == told[1] != "succeeded"
        assert outcome(shop, "shop/pay", idempotency_key="a") == told[0]
        assert len(shop.gateway.requests) == sent


def test_a_repeat_while_it_is_being_sent(tmp_path: Path) -> None:
    """While one process sends, a repeat is told that nothing is known yet."""
    shop = host(tmp_path)
    told: list[BaseException] = []

    def meanwhile(_: Request) -> None:
        try:
            shop.engine.send("shop/pay", {"amount": 5}, operation="a")
        except UnknownOutcome as error:
            told.append(error)

    shop.gateway.before = meanwhile
    shop.engine.send("shop/pay", {"amount": 5}, operation="a")
    assert ["is being sent by another process; ask again" in str(error) for error in told] == [True]
    assert len(shop.gateway.requests) == 1


def test_threads_race_for_one_operation(tmp_path: Path) -> None:
    """Of many threads with one operation one sends."""
    shop = host(tmp_path)
    start = threading.Barrier(8)

    def race() -> None:
        start.wait()
        outcome(shop, "shop/pay", idempotency_key="a")

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(shop.gateway.requests) == 1


def test_what_was_not_done_is_queued_again(tmp_path: Path) -> None:
    """An operation that ended without having been carried out goes to a worker when it is asked for again."""
    shop = host(tmp_path, failure("connect", sent=False))
    with pytest.raises(TransportError):
        shop.engine.send("shop/pay", {"amount": 5}, operation="order-17")
    shop.engine.wake = lambda: None
    due = shop.hours.now + timedelta(hours=1)
    call = shop.engine.send_later("shop/pay", {"amount": 5}, operation="order-17", due=due)
    assert (call["state"], call["due"], call["message"]) == ("prepared", "2026-01-01T01:00:00.000Z", None)
    assert shop.engine.send_later("shop/pay", {"amount": 5}, operation="order-17").id == call.id
    with pytest.raises(DataError, match="was begun with other data"):
        shop.engine.send_later("shop/pay", {"amount": 6}, operation="order-17")
    shop.gateway.answers = [ok()]
    assert shop.engine.run_due() == 0
    shop.hours.pass_by(3600)
    shop.engine.run_due()
    (call,) = shop.calls()
    assert (call["state"], call["queued"], call["first_sent_at"]) == ("succeeded", True, "2026-01-01T01:00:00.000Z")
    assert len({request.body for request in shop.gateway.requests}) == 1


def test_a_cancelled_operation_was_not_carried_out(tmp_path: Path) -> None:
    """Whoever repeats it is told so, and nothing is sent."""
    shop = host(tmp_path)
    shop.engine.wake = lambda: None
    call = shop.engine.send_later("shop/pay", {"amount": 5}, operation="order-17")
    shop.engine.recovery.cancel(call, "ada", "no stock")
    with pytest.raises(TransportError, match="was not carried out: it was cancelled"):
        shop.engine.send("shop/pay", {"amount": 5}, operation="order-17")
    assert shop.gateway.requests == []


def test_what_was_not_done_is_taken_up_again(tmp_path: Path) -> None:
    """An operation that provably was not carried out is sent again, with the same bytes and the same key."""
    shop = host(tmp_path, *[failure("connect", sent=False)] * 3, ok())
    assert outcome(shop, "shop/pay", idempotency_key="a") == "TransportError"
    shop.hours.pass_by(86_400 * 30)
    assert outcome(shop, "shop/pay", idempotency_key="a") == "succeeded"
    assert len(set(shop.gateway.requests)) == 1
    (call,) = shop.calls()
    assert len(call["attempts"]) == 4


def test_a_call_for_another_place_is_not_sent_there(tmp_path: Path) -> None:
    """A call that was written down for a stand-in is not sent there with the real gateway's key, nor moved."""
    shop = host(tmp_path / "a", failure("connect", sent=False), base_urls={"shop": "http://127.0.0.1:1/v1"})
    assert outcome(shop, "shop/pay", idempotency_key="a") == "TransportError"
    real = host(tmp_path / "b")
    real.engine._sending._with.store._records = shop.store._records  # type: ignore[attr-defined]
    real.engine._sending._with.store._keys = shop.store._keys  # type: ignore[attr-defined]
    del real.engine.__dict__["_salt"]
    with pytest.raises(TransportError, match=r"is not at https://api\.shop\.test/v1, where shop is now"):
        real.engine.send("shop/pay", {"amount": 5}, operation="a")
    assert real.gateway.requests == []


def test_keys(tmp_path: Path) -> None:
    """A key depends on installation, account, type and operation; it is short, and the same after a restart."""
    shop = host(tmp_path / "a")
    again = Host(
        shop.engine.__class__(
            tmp_path / "a",
            store=shop.store,
            environment=SECRETS,
            dispatcher=shop.gateway,
            files=shop.engine._files,
        ),
        shop.gateway,
        shop.store,
        shop.hours,
    )
    other = host(tmp_path / "b")

    def key(one: Host, name: str = "shop/pay", operation: str = "a", **data: Any) -> str:
        return one.engine.plan(name, NAMES[name] | data, operation=operation).key

    keys = [key(shop), key(other), key(shop, "shop/pay_once"), key(shop, operation="b"), key(shop, account="acct_1")]
    assert len(set(keys)) == 5
    assert key(again) == key(shop)
    assert all(len(one) <= 64 and one.isalnum() for one in keys)


# At most once ---------------------------------------------------------------------------------------------------------


def test_a_call_that_cannot_be_repeated_commits_its_answer_first(tmp_path: Path) -> None:
    """Where the gateway takes no key the raw answer is committed before anything is made of it."""
    shop = host(tmp_path)
    shop.engine.send("shop/pay_once", {"amount": 5})
    assert shop.store.commits == [["insert call"], ["update call"], ["upsert sale", "update call"]]
    assert "Idempotency-Key" not in dict(shop.gateway.requests[0].headers)


# What goes wrong after ------------------------------------------------------------------------------------------------


def test_an_answer_that_cannot_be_mapped_is_kept(tmp_path: Path) -> None:
    """Where the mapper fails, the caller learns that the call was carried out, and the raw answer is in the journal."""
    raw = b'{"id": "p1",   "amount": "much"}'
    shop = host(tmp_path, ok(raw))
    with pytest.raises(
        MappingError,
        match=r"was carried out, but its answer could not be mapped: response_mappers/shop/pay.json.j2: upsert sale: "
        r"/amount: 'much' is not.*; the answer is kept: mend the file, then callsheet remap call-2$",
    ) as raised:
        shop.engine.send("shop/pay", {"amount": 5})
    (call,) = shop.calls()
    assert call["answer"]["body"].encode() == raw
    assert raised.value.call is not None
    assert raised.value.call.id == call.id
    assert shop.sales() == []


BROKEN = {
    "no JSON": '{"upsert": "sale", "where": {"gateway_id": {{ response.id }}}, "set": {{ response.amount }} }',
    "an infinite number": '{"delete": "sale", "where": {"gateway_id": {{ response.amount * 1e308 * 1e308 }}}}',
    "a wrong filter's value": '{"delete": "sale", "where": {"gateway_id": {{ response.id | epoch }}}}',
    "a key that is null": '{"upsert": "sale", "where": {"gateway_id": {{ response.nothing }}}, "set": {}}',
    "a record without what it needs": '{"upsert": "sale", "where": {"gateway_id": {{ response.id }}}, "set": {}}',
    "a follow-up with wrong data": '{"send": "shop/read", "data": {"id": {{ response.amount }}}}',
    "a follow-up that cannot be a URL": '{"send": "shop/read", "data": {"id": ".."}}',
}


@pytest.mark.parametrize("mapper", BROKEN.values(), ids=BROKEN)
def test_whatever_a_mapper_gets_wrong(tmp_path: Path, mapper: str) -> None:
    """No mistake of a mapper's author loses an answer or leaves half of the records."""
    sound = '{"upsert": "sale", "where": {"gateway_id": "p0"}, "set": {"amount": 1, "state": "paid"}}\n'
    shop = host(tmp_path, files={"response_mappers/shop/pay.json.j2": sound + mapper})
    assert outcome(shop, "shop/pay") == "MappingError"
    (call,) = shop.calls()
    assert (call["state"], json.loads(call["answer"]["body"])) == ("unmapped", {"id": "p1", "amount": 5})
    assert shop.sales() == []


def test_a_record_that_is_changed_twice_is_named_once(tmp_path: Path) -> None:
    """The call's row names the records that it changed, not the changes."""
    again = '{"update": "sale", "where": {"gateway_id": {{ response.id }}}, "when": {"note": null}, "set": {}}'
    other = '{"upsert": "sale", "where": {"gateway_id": "p0"}, "set": {"amount": 1, "state": "paid"}}'
    mapper = f"{SHOP['response_mappers/shop/pay.json.j2']}{again}{other}"
    shop = host(tmp_path, files={"response_mappers/shop/pay.json.j2": mapper})
    assert outcome(shop, "shop/pay") == "succeeded"
    named = [{"type": "sale", "where": {"gateway_id": id}} for id in ("p1", "p0")]
    assert shop.calls()[0]["changed"] == named


def test_a_record_that_is_given_another_key(tmp_path: Path) -> None:
    """It is found by the key that it has then: for the host's function, and for who asks again what became of it."""
    renaming = (
        '{"upsert": "sale", "where": {"gateway_id": {{ data.note }}},'
        ' "set": {"gateway_id": {{ response.id }}, "amount": {{ response.amount }}, "state": "paid"}}'
    )
    shop, seen = host(tmp_path, files={"response_mappers/shop/pay.json.j2": renaming}), list[str]()
    shop.engine.on("sale")(lambda record: seen.append(record["gateway_id"]))
    data = {"amount": 5, "note": "draft-1"}
    for _ in range(2):
        result = shop.engine.send("shop/pay", data, operation="order-17")
        assert [record["gateway_id"] for record in result.records] == ["p1"]
    assert seen == ["p1"]


def test_a_store_that_refuses_the_records(tmp_path: Path) -> None:
    """Where the store has a conflict with the records, the answer alone is committed."""
    shop = host(tmp_path)

    def refuse(changes: Any) -> None:
        if any(change.type.name == "sale" for change in changes):
            raise Conflict("the key is taken")

    shop.store.refuse = refuse
    assert outcome(shop, "shop/pay") == "MappingError"
    assert shop.calls()[0]["state"] == "unmapped"


def test_a_store_that_is_gone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where the store is gone when the answer comes, nobody is told of a success, and the call stays open."""
    shop = host(tmp_path, ok(x_request="req_9"))

    def refuse(changes: Any) -> None:
        if changes[0].verb != "insert":
            raise StoreError("the disk is full")

    shop.store.refuse = refuse
    with caplog.at_level(logging.ERROR, "engine"), pytest.raises(UnknownOutcome, match="the disk is full"):
        shop.engine.send("shop/pay", {"amount": 5})
    assert "req_9" in caplog.text
    assert shop.calls()[0]["state"] == "sending"


@pytest.mark.parametrize("error", [StoreError("the disk is full"), RuntimeError("can't start new thread")])
def test_what_is_left_to_do_afterwards_is_not_the_callers(
    tmp_path: Path, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """A caller learns what came of his own call, though what follows cannot be begun: that is due, and done later."""
    shop, seen = host(tmp_path, ok(), refusal(payment="p1")), list[str]()
    shop.engine.on("sale")(lambda record: seen.append(record["state"]))

    def refuse(changes: Sequence[Change]) -> None:
        if any(change.limit for change in changes):
            raise error

    shop.store.refuse = refuse
    assert shop.engine.send("shop/pay", {"amount": 5}).response["id"] == "p1"
    with pytest.raises(RejectedError):
        shop.engine.send("shop/pay", {"amount": 5})
    assert (str(error) in caplog.text, seen) == (True, [])
    shop.store.refuse = lambda _: None
    shop.engine.run_due()
    assert seen == ["failed", "failed"]


def test_a_worker_that_cannot_be_woken(tmp_path: Path) -> None:
    """What is queued is queued, and whoever looks next finds it."""
    shop = host(tmp_path)

    def fail() -> None:
        raise RuntimeError("can't start new thread")

    shop.engine.wake = fail
    assert shop.engine.send_later("shop/pay", {"amount": 5})["state"] == "prepared"
    shop.engine.run_due()
    assert shop.calls()[0]["state"] == "succeeded"


def test_a_store_that_is_locked_for_a_while(tmp_path: Path) -> None:
    """An answer to what can be sent only once is waited with, so that no person has to find out what became of it."""
    gateway, store = Told(ok()), SqlStore(f"sqlite:///{tmp_path}/shop.sqlite3?timeout=0.05")
    other = sqlite3.connect(tmp_path / "shop.sqlite3", isolation_level=None, check_same_thread=False)
    clock = Clock(sleep=lambda _: other.execute("COMMIT").close())
    folder = write(tmp_path, SHOP)
    engine = Engine(folder, store=store, environment=SECRETS, dispatcher=gateway, clock=clock, files=OnlyHere(folder))
    gateway.before = lambda _: other.execute("BEGIN EXCLUSIVE").close()
    result = engine.send("shop/pay_once", {"amount": 5})
    assert [record["state"] for record in result.records] == ["paid"]
    assert len(gateway.requests) == 1
    other.close()
    store.close()


@pytest.mark.parametrize("in_doubt", [False, True])
def test_a_store_that_is_gone_before(tmp_path: Path, in_doubt: bool) -> None:
    """What cannot be written down is not sent; where that is in doubt, the error says how to repeat it."""
    shop = host(tmp_path)

    def refuse(_: Any) -> None:
        raise StoreError("the disk is full", in_doubt=in_doubt)

    shop.store.refuse = refuse
    said = "shop/pay was not sent, because it could not be written down: the disk is full"
    hint = "; if it was, a worker sends it yet, so repeat it as the operation 'order-17' only" if in_doubt else ""
    with pytest.raises(StoreError) as caught:
        shop.engine.send("shop/pay", {"amount": 5}, operation="order-17")
    assert (str(caught.value), caught.value.in_doubt) == (said + hint, in_doubt)
    assert shop.gateway.requests == []


def test_a_refusal_has_a_mapper_of_its_own(tmp_path: Path) -> None:
    """NAME.declined.json.j2 maps a refusal, in the commit that ends the call; without one no record changes."""
    shop = host(tmp_path, refusal('no "funds"\n'))
    assert outcome(shop, "shop/pay") == "RejectedError"
    assert shop.store.commits[-1] == ["upsert sale", "update call"]
    assert shop.sales() == [{"gateway_id": "p1", "amount": 5, "note": 'no "funds"\n', "state": "failed"}]
    assert outcome(shop, "shop/pay_once") == "RejectedError"
    assert len(shop.sales()) == 1


# Before anything ------------------------------------------------------------------------------------------------------


def test_what_is_told_before_anything_is_kept(tmp_path: Path) -> None:
    """An unknown name, wrong data and a missing secret are told at once; nothing is kept or sent."""
    shop = host(tmp_path, SHOP_KEY="")
    with pytest.raises(UnknownNameError, match="did you mean 'shop/pay'"):
        shop.engine.send("shop/apy")
    with pytest.raises(
        DataError, match="shop/pay was not sent, its data does not fit: /amuont: is not known here; did you"
    ):
        shop.engine.send("shop/pay", {"amount": 5, "amuont": 5})
    with pytest.raises(SettingError, match=r"SHOP_KEY: is not set; put it into the environment or into \.env"):
        shop.engine.send("shop/pay", {"amount": 5})
    assert shop.store.commits == []
    assert shop.gateway.requests == []


def test_data_that_is_no_object(tmp_path: Path) -> None:
    """Data must be an object, and its keys texts."""
    shop = host(tmp_path)
    with pytest.raises(DataError, match="must be an object"):
        shop.engine.send("shop/pay", [("amount", 5)])  # type: ignore[arg-type]  # is refused
    with pytest.raises(DataError, match="7: is not known here"):
        shop.engine.send("shop/pay", {"amount": 5, 7: "x"})  # type: ignore[dict-item]  # is refused


@pytest.mark.parametrize("value", ["a b", "a\nb", "é", "\tx"])
def test_a_secret_that_cannot_be_sent(tmp_path: Path, value: str) -> None:
    """A secret with white space or other letters was copied badly; it is told without the secret."""
    with pytest.raises(SettingError) as raised:
        host(tmp_path, SHOP_KEY=f"test_{value}_test").engine.send("shop/pay", {"amount": 5})
    assert value not in str(raised.value)


def test_a_live_key_needs_live_mode(tmp_path: Path) -> None:
    """A key for live money is refused in test mode; in live mode only it is used, and the records are live."""
    with pytest.raises(SettingError, match="SHOP_KEY: is a key for live money; set CALLSHEET_MODE=live"):
        host(tmp_path / "a", SHOP_KEY="live_key").engine.send("shop/pay", {"amount": 5})
    with pytest.raises(SettingError, match="SHOP_KEY: is no key for live money, and CALLSHEET_MODE is live"):
        host(tmp_path / "c", CALLSHEET_MODE="live").engine.send("shop/pay", {"amount": 5})
    shop = host(tmp_path / "b", SHOP_KEY="live_key", CALLSHEET_MODE="live")
    shop.engine.send("shop/pay", {"amount": 5})
    assert [record["live"] for record in shop.find("sale")] == [True]


def test_a_live_key_is_not_sent_elsewhere(tmp_path: Path) -> None:
    """Where base_url is replaced, a live key is refused even in live mode; a test key is sent."""
    elsewhere = {"shop": "http://127.0.0.1:1"}
    shop = host(tmp_path / "a", base_urls=elsewhere, SHOP_KEY="live_key", CALLSHEET_MODE="live")
    with pytest.raises(SettingError, match="is not the gateway; it is not sent there"):
        shop.engine.send("shop/pay", {"amount": 5})
    assert shop.gateway.requests == []
    assert outcome(host(tmp_path / "b", base_urls=elsewhere), "shop/pay") == "succeeded"


def test_an_unknown_mode(tmp_path: Path) -> None:
    """The mode is test or live."""
    with pytest.raises(SettingError, match="CALLSHEET_MODE: must be test or live; did you mean 'live'"):
        host(tmp_path, CALLSHEET_MODE="liv")


def test_old_spellings_are_understood(tmp_path: Path) -> None:
    """What a gateway file says was renamed is accepted with a warning."""
    gateway = SHOP["request_types/shop/_gateway.yml"] + "renamed: {amuont: amount}\n"
    shop = host(tmp_path, files={"request_types/shop/_gateway.yml": gateway})
    with pytest.warns(DeprecationWarning, match="amuont is now spelt amount"):
        shop.engine.send("shop/pay", {"amuont": 5})
    assert json.loads(shop.gateway.requests[0].body)["amount"] == 5


def test_accounts(tmp_path: Path) -> None:
    """Where a call acts is the scope of its records: the same id in two accounts is two records."""
    shop = host(tmp_path)
    for account in ("acct_1", "acct_2", "acct_1"):
        shop.engine.send("shop/pay", {"amount": 5, "account": account})
    assert [record["account"] for record in shop.find("sale")] == ["acct_1", "acct_2"]
    assert shop.engine.find("sale", account="acct_2")[0].id != shop.engine.find("sale", account="acct_1")[0].id


# Follow-ups -----------------------------------------------------------------------------------------------------------

PAY_THEN_READ = SHOP["response_mappers/shop/pay.json.j2"] + '{"send": "shop/read", "data": {"id": {{ response.id }}}}\n'
LOOP = """\
summary: A call that asks for itself.
method: POST
url: /loop
body: {n: "{{ data.n }}"}
data: {properties: {n: {type: integer}}}
"""


def test_a_follow_up_is_written_down_in_the_same_commit(tmp_path: Path) -> None:
    """What a mapper sends is journaled with the parent's records, and sent after they are committed."""
    shop = host(
        tmp_path, ok(), ok({"id": "p1", "amount": 9}), files={"response_mappers/shop/pay.json.j2": PAY_THEN_READ}
    )
    states: list[list[str]] = []
    shop.gateway.before = lambda _: states.append([call["state"] for call in shop.store.find("call", order="id")])
    shop.engine.send("shop/pay", {"amount": 5})
    assert shop.store.commits[:2] == [["insert call"], ["upsert sale", "insert call", "update call"]]
    assert states == [["sending"], ["succeeded", "sending"]]
    parent, child = shop.calls()
    assert (child["parent"], child["depth"], child["operation"]) == (parent.id, 1, f"{parent['operation']}>shop/read")
    assert shop.sales()[0]["amount"] == 9


def test_a_follow_up_that_fails_does_not_touch_its_parent(tmp_path: Path) -> None:
    """The parent has succeeded whatever becomes of the follow-up, which is tried again later."""
    files = {"response_mappers/shop/pay.json.j2": PAY_THEN_READ}
    shop = host(tmp_path, ok(), *[failure("connect", sent=False)] * 3, ok({"id": "p1", "amount": 9}), files=files)
    shop.engine.send("shop/pay", {"amount": 5})
    assert [call["state"] for call in shop.calls()] == ["succeeded", "prepared"]
    assert shop.sales()[0]["amount"] == 5
    shop.engine.run_due()
    assert [call["state"] for call in shop.calls()] == ["succeeded", "prepared"]
    shop.hours.pass_by(2)
    shop.engine.run_due()
    assert [call["state"] for call in shop.calls()] == ["succeeded", "succeeded"]
    assert shop.sales()[0]["amount"] == 9


def test_follow_ups_are_sent_once(tmp_path: Path) -> None:
    """Follow-ups of one parent have operations of their own, made of the parent's: they are never born twice."""
    send = '{"send": "shop/pay_once", "as": {{ "part " ~ n }}, "data": {"amount": {{ n }}}}'
    mapper = "{% for n in [1, 2] %}" + send + "{% endfor %}"
    shop = host(
        tmp_path, files={"response_mappers/shop/pay.json.j2": mapper, "response_mappers/shop/pay_once.json.j2": ""}
    )
    shop.engine.send("shop/pay", {"amount": 5}, operation="a")
    assert [call["operation"] for call in shop.calls()] == ["a", "a>part 1", "a>part 2"]
    shop.engine.send("shop/pay", {"amount": 5}, operation="a")
    assert len(shop.gateway.requests) == 3


def test_a_chain_ends(tmp_path: Path) -> None:
    """A call that asks for itself is stopped after five; the last one's answer is kept."""
    files = {
        "request_types/shop/loop.yml": LOOP,
        "response_mappers/shop/loop.json.j2": '{"send": "shop/loop", "data": {"n": {{ data.n + 1 }}}}',
    }
    shop = host(tmp_path, files=files)
    shop.engine.send("shop/loop", {"n": 0})
    states = [call["state"] for call in shop.calls()]
    assert states == ["succeeded"] * 5 + ["unmapped"]
    assert "would be the 6th call in a chain; 5 are allowed" in shop.calls()[-1]["message"]


def test_what_was_read_and_not_mapped_is_not_called_unsent(tmp_path: Path) -> None:
    """A record that does not fit is an error of the mapper's, whose sentence says what became of the call."""
    mapper = SHOP["response_mappers/shop/pay_once.json.j2"]
    shop = host(tmp_path, ok({"id": "p1", "amount": "much"}), files={"response_mappers/shop/read.json.j2": mapper})
    with pytest.raises(MappingError) as told:
        shop.engine.send("shop/read", {"id": "p1"})
    said = "shop/read was read, but its answer could not be mapped: upsert sale: /amount: 'much' is not of type integer"
    assert str(told.value) == said


# Sealed parts ---------------------------------------------------------------------------------------------------------

SEALED = """\
summary: Make a secret.
method: POST
url: /secrets
sealed: [/secret, /more/key]
expect: {body: {required: [id]}}
"""
SECRET = "whsec_canary_0123456789abcdef"
SEALED_FILES = {
    "request_types/shop/open.yml": SEALED,
    "response_mappers/shop/open.json.j2": """\
{"upsert": "sale",
 "where": {"gateway_id": {{ response.id }}},
 "set": {"amount": 1, "state": "paid", "note": {{ response.secret }}}}
""",
}
ANSWERS = {
    "a success": ok({"id": "p1", "secret": SECRET, "more": {"key": SECRET}}),
    "another shape": ok({"secret": SECRET}),
    "half a JSON": ok(json.dumps({"id": "p1", "secret": SECRET}).encode()[:-1]),
    "HTML": ok(f"<p>{SECRET}</p>".encode(), content_type="text/html"),
    "a refusal": ok({"error": {"message": "no"}, "secret": SECRET}, 402),
    "not mapped": ok({"id": 5, "secret": SECRET}),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_sealed_parts_are_never_in_the_clear(tmp_path: Path, answer: Answer, caplog: pytest.LogCaptureFixture) -> None:
    """What a file seals is encrypted before it is stored, mapped, logged or returned, whatever the answer is like."""
    shop = host(tmp_path, answer, files=SEALED_FILES)
    said = ""
    with caplog.at_level(logging.DEBUG):
        try:
            said = str(shop.engine.send("shop/open"))
        except CallError as error:
            said = f"{error} {error.call} {getattr(error, 'response', '')}"
    for text in (said, shop.store.text(), caplog.text):
        assert SECRET not in text


def test_an_answer_without_headers_that_repeats_a_secret(tmp_path: Path) -> None:
    """It is kept without the secret, as any other."""
    shop = host(tmp_path, Answer(200, {}, f"hello {SECRETS['SHOP_KEY']}".encode(), 0.01))
    with pytest.raises(UnknownOutcome, match="of no type, not JSON"):
        shop.engine.send("shop/pay", {"amount": 5})
    (call,) = shop.calls()
    assert (call["state"], call["answer"]["body"], call["answer"]["headers"]) == ("unknown", f"hello {MASK}", {})


def test_sealed_parts_can_be_opened(tmp_path: Path) -> None:
    """The engine itself can open what was sealed; the mapper got the sealed text."""
    shop = host(tmp_path, ANSWERS["a success"], files=SEALED_FILES)
    result = shop.engine.send("shop/open")
    sealed = shop.find("sale")[0]["note"]
    assert shop.engine.sealer.open(sealed) == SECRET
    assert shop.engine.sealer.open(result.response["more"]["key"]) == SECRET


@pytest.mark.parametrize(
    ("pointer", "more"),
    {
        "an item": ("/keys/1/secret", {"keys": [{}, {"secret": SECRET}]}),
        "an odd name": ("/a~1b~0c", {"a/b~c": SECRET}),
        "an object": ("/box", {"box": {"secret": SECRET}}),
        "a list": ("/box/list", {"box": {"list": [SECRET]}}),
    }.values(),
)
def test_what_is_sealed_may_be_of_any_shape(tmp_path: Path, pointer: str, more: dict[str, Any]) -> None:
    """A pointer leads through lists and odd names, and to what is no text, as RFC 6901 has it."""
    file = SEALED.replace("[/secret, /more/key]", f"[{pointer}]")
    shop = host(tmp_path, ok({"id": "p1", **more}), files={**SEALED_FILES, "request_types/shop/open.yml": file})
    response = shop.engine.send("shop/open").response
    assert SECRET not in shop.store.text()
    sealed = part_at(response, pointer)
    assert shop.engine.sealer.open(sealed) == part_at(more, pointer)
    assert response == {"id": "p1", **replaced_at(more, pointer, lambda _: sealed)}


def test_what_is_sealed_is_sealed_once(tmp_path: Path) -> None:
    """Also where the kept answer is mapped again: a secret that is told only once must open to itself."""
    mapper = SEALED_FILES["response_mappers/shop/open.json.j2"]
    broken = {**SEALED_FILES, "response_mappers/shop/open.json.j2": mapper.replace('"paid"', '{{ "none" }}')}
    shop = host(tmp_path, ANSWERS["a success"], files=broken)
    with pytest.raises(MappingError):
        shop.engine.send("shop/open")
    folder = write(tmp_path, {"response_mappers/shop/open.json.j2": mapper})
    mended = Engine(folder, store=shop.store, environment=SECRETS, dispatcher=shop.gateway, files=OnlyHere(folder))
    (kept,) = mended.recovery.remap(shop.calls()[0]).records
    assert mended.sealer.open(kept["note"]) == SECRET
    assert len(shop.gateway.requests) == 1


def test_what_is_only_read_is_sealed_too(tmp_path: Path) -> None:
    """A GET keeps no answer, but its mapper keeps records; without a key it is not sent."""
    file = "summary: Read a secret.\nmethod: GET\nurl: /secrets\nsealed: [/secret, /more/key]\n"
    files = {**SEALED_FILES, "request_types/shop/open.yml": file}
    shop = host(tmp_path, ANSWERS["a success"], files=files)
    response = shop.engine.send("shop/open").response
    assert SECRET not in f"{response}{shop.store.text()}"
    assert shop.engine.sealer.open(shop.find("sale")[0]["note"]) == SECRET
    bare = host(tmp_path, files=files, CALLSHEET_ENCRYPTION_KEY="")
    with pytest.raises(SettingError, match="CALLSHEET_ENCRYPTION_KEY"):
        bare.engine.send("shop/open")
    assert bare.gateway.requests == []


def test_without_a_key_nothing_that_must_be_sealed_is_sent(tmp_path: Path) -> None:
    """Where nothing can be sealed, the call that brings a secret is not made."""
    shop = host(tmp_path, files=SEALED_FILES, CALLSHEET_ENCRYPTION_KEY="")
    with pytest.raises(SettingError, match="CALLSHEET_ENCRYPTION_KEY"):
        shop.engine.send("shop/open")
    assert shop.gateway.requests == []


# Pages ----------------------------------------------------------------------------------------------------------------

LIST = """\
summary: Read all payments.
method: GET
url: /payments
query: {state: "{{ data.state }}"}
pages:
  more: "{{ response.more }}"
  next: {after: "{{ response.data[-1].id }}"}
  items: /data
  limit: 5
data: {properties: {state: {type: string}}}
"""


def page(*ids: str, more: bool = True) -> Answer:
    """A page of a list."""
    return ok({"data": [{"id": id} for id in ids], "more": more})


def ids_of(tmp_path: Path, *pages: Answer) -> tuple[list[str], list[str]]:
    """What the list brings, and the URLs that were asked."""
    shop = host(tmp_path, *pages, files={"request_types/shop/list.yml": LIST})
    result = shop.engine.send("shop/list", {"state": "a&b"})
    return [one["id"] for one in result.response["data"]], [request.url for request in shop.gateway.requests]


def test_a_list_is_read_to_its_end(tmp_path: Path) -> None:
    """One send brings the items of all pages; each page is asked for with the query of the first."""
    ids, urls = ids_of(tmp_path, page("a", "b&"), page("c", more=False))
    assert ids == ["a", "b&", "c"]
    base = "https://api.shop.test/v1/payments?state=a%26b"
    assert urls == [base, f"{base}&after=b%26"]


def test_a_list_stops(tmp_path: Path) -> None:
    """A list stops at its limit, and where a page brings nothing new."""
    assert ids_of(tmp_path / "a", page("a", "b", "c"))[0] == ["a", "b", "c", "a", "b"]
    assert ids_of(tmp_path / "b", page("a"), page())[0] == ["a"]
    assert ids_of(tmp_path / "c", page(more=True))[0] == []


LINKED = """\
summary: List payments at a gateway that gives the address of the next page.
method: GET
url: /payments
query: {state: "{{ data.state }}"}
pages: {next: "{{ links.next or response.next }}", items: "", limit: 5}
data: {properties: {state: {type: string}}}
"""


def linked(tmp_path: Path, *pages: Answer, file: str = LINKED) -> tuple[Result, list[str]]:
    """What a list in such pages brings, and the URLs that were asked."""
    shop = host(tmp_path, *pages, files={"request_types/shop/list.yml": file})
    return shop.engine.send("shop/list", {"state": "open"}), [request.url for request in shop.gateway.requests]


def test_a_list_whose_pages_have_addresses(tmp_path: Path) -> None:
    """A Link header or a part of the answer leads on, whole or relative; an answer that is a list itself is joined."""
    base = "https://api.shop.test/v1/payments"
    header = ok([{"id": "a"}], link=f'<{base}?page=9>; rel="last", <{base}?page=2>; title="a, b"; rel="next prefetch"')
    result, urls = linked(tmp_path / "a", header, ok([{"id": "b"}], link="<?page=3>; rel=next"), ok([{"id": "c"}]))
    assert result.response == [{"id": "a"}, {"id": "b"}, {"id": "c"}]
    assert urls == [f"{base}?state=open", f"{base}?page=2", f"{base}?page=3"]
    assert not result.cut_off
    inside = LINKED.replace('items: ""', "items: /data")
    said = [ok({"data": [1], "next": "/v1/payments?cursor=x"}), ok({"data": [2], "next": None})]
    result, urls = linked(tmp_path / "b", *said, file=inside)
    assert (result.response["data"], urls[1]) == ([1, 2], f"{base}?cursor=x")


@pytest.mark.parametrize(
    "address",
    ["https://evil.test/v1/payments", "http://api.shop.test/v1/payments", "/v2/x", "//evil.test/v1", "/v1x/a"],
)
def test_a_page_does_not_lead_away(tmp_path: Path, address: str) -> None:
    """No answer has our credentials sent anywhere but below the file's own base URL."""
    with pytest.raises(UnknownOutcome, match=r"which is not below https://api\.shop\.test/v1"):
        linked(tmp_path, ok([1], link=f'<{address}>; rel="next"'))


@pytest.mark.parametrize("following", ["http://[", 5, ["?page=2"], {"page": 2}])
def test_a_page_that_leads_to_no_address(tmp_path: Path, following: Any) -> None:
    """Whatever a gateway writes in its place, the list is an error and never a part of it, nor a traceback."""
    file = LINKED.replace('items: ""', "items: /data")
    with pytest.raises(UnknownOutcome, match="brought a page that leads to no address"):
        linked(tmp_path, ok({"data": [1], "next": following}), file=file)


@pytest.mark.parametrize("cursor", [{"": "x"}, {"a[b]": "x"}, "\ud800"])
def test_a_page_whose_parameters_cannot_be_sent(tmp_path: Path, cursor: Any) -> None:
    """What no query can hold is an error of the list, and its own kind of error."""
    by_cursor = LINKED.replace('"{{ links.next or response.next }}"', '{cursor: "{{ response.next }}"}')
    file = by_cursor.replace('items: ""', "items: /data")
    with pytest.raises(UnknownOutcome, match="brought a page that leads to no other: "):
        linked(tmp_path, ok({"data": [1], "next": cursor}), file=file)


def test_a_page_that_cannot_be_read_on_from(tmp_path: Path) -> None:
    """A file that computes with what is not there makes the list an error."""
    file = LINKED.replace("{{ links.next or response.next }}", "{{ links.next | epoch }}")
    with pytest.raises(UnknownOutcome, match="cannot be read on from"):
        linked(tmp_path, ok([1], link='<?page=2>; rel="next"'), file=file)


def test_parameters_that_lead_on_may_be_lists(tmp_path: Path) -> None:
    """They are written as any other query is."""
    file = LIST.replace("{{ response.data[-1].id }}", "{{ response.data | map(attribute='id') | list }}")
    shop = host(tmp_path, page("a", "b"), page("c", more=False), files={"request_types/shop/list.yml": file})
    assert len(shop.engine.send("shop/list").response["data"]) == 3
    assert shop.gateway.requests[1].url.endswith("?after[0]=a&after[1]=b")


COUNTED = """\
summary: List payments at a gateway whose pages have numbers.
method: GET
url: /payments
query: {state: "{{ data.state }}", per_page: 2}
pages: {next: {page: "{{ page + 1 }}"}, items: "", limit: 5}
data: {properties: {state: {type: string}}}
"""
OFFSET = COUNTED.replace('page: "{{ page + 1 }}"', 'offset: "{{ read }}"')


@pytest.mark.parametrize(
    ("file", "further"),
    [(COUNTED, ["page=2", "page=3"]), (OFFSET, ["offset=2", "offset=3"])],
    ids=["by page", "by offset"],
)
def test_a_list_whose_pages_are_counted(tmp_path: Path, file: str, further: list[str]) -> None:
    """A page that brings nothing is its end, and it is whole."""
    result, urls = linked(tmp_path, ok(["a", "b"]), ok(["c"]), ok([]), file=file)
    assert (result.response, result.cut_off) == (["a", "b", "c"], False)
    base = "https://api.shop.test/v1/payments?state=open&per_page=2"
    assert urls == [base, *(f"{base}&{part}" for part in further)]


def test_a_counted_list_ends_where_the_gateway_says_so(tmp_path: Path) -> None:
    """Then no page is asked for in vain; one that brings nothing, where there should be more, is missing."""
    file = COUNTED.replace('items: ""', 'items: /data, more: "{{ response.total > read }}"')
    result, urls = linked(tmp_path / "a", ok({"total": 2, "data": ["a"]}), ok({"total": 2, "data": ["b"]}), file=file)
    assert (result.response["data"], len(urls), result.cut_off) == (["a", "b"], 2, False)
    result, urls = linked(tmp_path / "b", ok({"total": 2, "data": ["a"]}), ok({"total": 2, "data": []}), file=file)
    assert (result.response["data"], len(urls), result.cut_off) == (["a"], 2, True)


def test_a_counted_list_that_does_not_go_on(tmp_path: Path) -> None:
    """An empty one is whole; one behind its limit is not, nor is what a gateway answers that hears of no pages."""
    result, urls = linked(tmp_path / "a", ok([]), file=COUNTED)
    assert (result.response, len(urls), result.cut_off) == ([], 1, False)
    result, _ = linked(tmp_path / "b", ok(["a", "b"]), ok(["c", "d"]), ok(["e", "f"]), file=COUNTED)
    assert (result.response, result.cut_off) == (["a", "b", "c", "d", "e"], True)
    result, urls = linked(tmp_path / "c", ok(["a", "b"]), ok(["a", "b"]), file=COUNTED)
    assert (result.response, len(urls), result.cut_off) == (["a", "b"], 2, True)


def test_a_list_of_nothing_that_there_is(tmp_path: Path) -> None:
    """Where the file says by which status a gateway tells so, the response is null, and no page is looked for."""
    file = COUNTED + "expect: {missing: [404]}\n"
    result, urls = linked(tmp_path, ok({"error": {"message": "there is no such shop"}}, 404), file=file)
    assert (result.response, len(urls), result.cut_off) == (None, 1, False)


def test_pages_are_counted_where_lists_are_read_on_alone(tmp_path: Path) -> None:
    """Elsewhere in a file there is no such name."""
    file = SHOP["request_types/shop/pay.yml"] + 'error: "{{ response.errors[page] }}"\n'
    with pytest.raises(DefinitionError, match="the name 'page' is not known here"):
        host(tmp_path, files={"request_types/shop/pay.yml": file})


@pytest.mark.parametrize("more", ["{{ response.next }}", "{{ response.next is string }}"])
def test_more_is_whatever_an_if_takes_for_true(tmp_path: Path, more: str) -> None:
    """A cursor says that there is more as true does; null, absent, empty or false say that there is not."""
    file = LIST.replace("{{ response.more }}", more).replace("{{ response.data[-1].id }}", "{{ response.next }}")
    for last in ({"next": None}, {}, {"next": False}):
        pages = ok({"data": [1], "next": "b"}), ok({"data": [2], **last})
        result, urls = linked(tmp_path / str(len(last)) / str(last.get("next")), *pages, file=file)
        assert (result.response["data"], len(urls), result.cut_off) == ([1, 2], 2, False)


def test_a_mapper_has_the_headers_in_reach(tmp_path: Path) -> None:
    """What a gateway says in a header alone, such as an ETag, is kept; a name that no header can have is a fault."""
    mapper = SHOP["response_mappers/shop/pay.json.j2"].replace("{{ data.note }}", "{{ headers.etag ~ status }}")
    files = {"response_mappers/shop/pay.json.j2": mapper}
    shop = host(tmp_path, ok(ETag='"v7"'), files=files)
    assert shop.engine.send("shop/pay", {"amount": 5}).records[0]["note"] == '"v7"200'
    files["response_mappers/shop/pay.json.j2"] = mapper.replace("headers.etag", "headers['ETag']")
    with pytest.raises(DefinitionError, match="a header is named in lower case here: write 'etag'"):
        host(tmp_path / "b", files=files)


def test_a_file_says_how_lists_are_written(tmp_path: Path) -> None:
    """The parameters of a query are named as the gateway reads them, and those of a further page, too."""
    file = LIST.replace("method", "lists: repeated\nmethod").replace('"{{ data.state }}"', '["{{ data.state }}", 1]')
    shop = host(tmp_path, page("a"), page("b", more=False), files={"request_types/shop/list.yml": file})
    shop.engine.send("shop/list", {"state": "open"})
    base = "https://api.shop.test/v1/payments?state=open&state=1"
    assert [request.url for request in shop.gateway.requests] == [base, f"{base}&after=a"]


def test_nothing_is_said_of_a_body_that_is_not_there(tmp_path: Path) -> None:
    """A call without a body has no Content-Type: some servers refuse an empty body that is said to be JSON."""
    shop = host(tmp_path, ok({}))
    shop.engine.send("shop/erase", {"id": "p1"})
    assert "content-type" not in {name.lower() for name, _ in shop.gateway.requests[0].headers}


def test_a_list_that_is_not_whole_says_so(tmp_path: Path) -> None:
    """What stands behind the limit, or behind a page that brings nothing, is told to be missing."""
    shop = host(tmp_path, page("a", "b", "c"), files={"request_types/shop/list.yml": LIST})
    assert shop.engine.send("shop/list").cut_off
    shop = host(tmp_path / "b", page("a"), page(), files={"request_types/shop/list.yml": LIST})
    assert shop.engine.send("shop/list").cut_off
    with pytest.raises(UnknownOutcome, match="a page that has no list at /data; reading it again is safe"):
        ids_of(tmp_path / "d", page("a"), ok({"other": 1}))


def test_a_page_that_fails_fails_the_list(tmp_path: Path) -> None:
    """A list is whole or it is an error, never a part of it."""
    with pytest.raises(UnknownOutcome, match="reading it again is safe"):
        ids_of(tmp_path, page("a"), ok(b"{"))


def test_a_list_has_one_deadline(tmp_path: Path) -> None:
    """However many pages there are, somebody waits for all of them together."""
    shop = host(tmp_path, page("a"), page("b"), page("c", more=False), files={"request_types/shop/list.yml": LIST})
    send, deadlines = shop.gateway.send, []

    def watched(request: Request, **how: Any) -> Answer | Failure:
        deadlines.append(how["deadline"])
        return send(request, **how)

    shop.gateway.send = watched  # type: ignore[method-assign]
    shop.engine.send("shop/list")
    assert len(deadlines) == 3
    assert len(set(deadlines)) == 1


# Reactions ------------------------------------------------------------------------------------------------------------


def test_reactions(tmp_path: Path) -> None:
    """A host's function gets the record after the commit that changed it; nothing is left of the row then."""
    shop = host(tmp_path)
    seen: list[tuple[Any, ...]] = []

    @shop.engine.on("sale")
    def react(record: Record) -> None:
        seen.append((record["gateway_id"], record["note"], [call["state"] for call in shop.calls()]))

    shop.engine.send("shop/pay", {"amount": 5})
    assert seen == [("p1", None, ["succeeded"])]
    assert shop.store.commits[1] == ["insert reaction", "upsert sale", "update call"]
    assert shop.engine.find("reaction") == []


def test_reactions_happen_at_least_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A function that fails is called again later, and gets the record as it is then; the call is not touched by it."""
    shop = host(tmp_path, ok(), ok({"id": "p1", "amount": 6}))
    seen: list[int] = []

    @shop.engine.on("sale")
    def react(record: Record) -> None:
        seen.append(record["amount"])
        if len(seen) == 1:
            raise RuntimeError("no mail today")

    with caplog.at_level(logging.ERROR, "engine"):
        assert outcome(shop, "shop/pay") == "succeeded"
    assert "no mail today" in caplog.text
    (row,) = shop.engine.find("reaction")
    assert (row["state"], row["tries"], row["message"]) == ("pending", 1, "RuntimeError: no mail today")
    shop.engine.run_due()
    assert seen == [5]
    shop.hours.pass_by(2)
    shop.engine.run_due()
    assert seen == [5, 5]
    assert shop.engine.find("reaction") == []


def test_reactions_survive_a_crash(tmp_path: Path) -> None:
    """What is due to a function is a row: a process that dies before it was called leaves it for the next."""
    shop = host(tmp_path)
    seen: list[str] = []
    shop.engine.on("sale")(lambda record: seen.append(record["gateway_id"]))
    shop.engine.wake = lambda: None
    shop.engine.send("shop/pay", {"amount": 5})
    assert seen == []
    shop.engine.run_due()
    assert seen == ["p1"]


def test_a_process_without_functions_leaves_reactions_alone(tmp_path: Path) -> None:
    """A command knows none of the host's functions, and what is due to them is not its to do."""
    shop = host(tmp_path)
    seen: list[str] = []
    shop.engine.on("sale")(lambda record: seen.append(record["gateway_id"]))
    shop.engine.wake = lambda: None
    shop.engine.send("shop/pay", {"amount": 5})
    command = Engine(
        tmp_path, store=shop.store, environment=SECRETS, files=OnlyHere(tmp_path), clock=shop.hours.clock()
    )
    assert command.run_due() == 0
    shop.engine.run_due()
    assert seen == ["p1"]


def test_reactions_give_up_at_last(tmp_path: Path) -> None:
    """A function that never works ends as a dead row, which is kept."""
    shop = host(tmp_path)

    @shop.engine.on("sale")
    def react(_: Record) -> None:
        raise RuntimeError("never")

    shop.engine.send("shop/pay", {"amount": 5})
    for _ in range(20):
        shop.hours.pass_by(86_401)
        shop.engine.run_due()
    (row,) = shop.engine.find("reaction")
    assert (row["state"], row["due"], row["message"]) == ("dead", None, "RuntimeError: never")


def test_reactions_to_nothing(tmp_path: Path) -> None:
    """Whoever listens to a type that does not exist is told at once."""
    with pytest.raises(UnknownNameError, match="did you mean 'sale'"):
        host(tmp_path).engine.on("sael")


# Looking up -----------------------------------------------------------------------------------------------------------


def test_finding(tmp_path: Path) -> None:
    """Records are found by what is indexed, newest first, page by page; a property without an index is told."""
    shop = host(tmp_path, *[ok({"id": f"p{number}", "amount": number}) for number in range(3)])
    for _ in range(3):
        shop.engine.send("shop/pay", {"amount": 5})
    find = shop.engine.find
    assert [one["gateway_id"] for one in find("sale")] == ["p2", "p1", "p0"]
    newest = find("sale", limit=1)[0]
    assert [one["gateway_id"] for one in find("sale", after=newest.id)] == ["p1", "p0"]
    assert [one["gateway_id"] for one in find("sale", order="id", gateway_id=["p0", "p2"])] == ["p0", "p2"]
    assert find("sale", state="failed") == []
    assert find("sale")[0]["note"] is None
    with pytest.raises(UnknownNameError, match="there is no index on sale 'note'"):
        find("sale", note="x")
    assert shop.engine.find("sale", limit=0) == []
    with pytest.raises(DataError, match="/limit: -1 is no number of records; give a whole number, 0 or more"):
        shop.engine.find("sale", limit=-1)
    with pytest.raises(UnknownNameError, match="there is no property of sale 'stat'; did you mean 'state'"):
        find("sale", stat="x")


def test_planning_keeps_nothing(tmp_path: Path) -> None:
    """`plan` shows the call as it would be made; nothing is kept or sent."""
    shop = host(tmp_path, SHOP_KEY="")
    planned = shop.engine.plan("shop/pay", {"amount": 5}, operation="a")
    assert planned.request.url == "https://api.shop.test/v1/payments"
    assert dict(planned.request.headers)["Idempotency-Key"] == planned.key
    assert shop.store.commits == []
    assert shop.gateway.requests == []


@pytest.mark.parametrize(
    ("name", "answer", "error"),
    [
        ("shop/pay", ok({}, 429, retry_after="30"), "TransportError"),
        ("shop/pay_once", ok({"error": {"message": "slow down"}}, 403, retry_after="30"), "RejectedError"),
        ("shop/pay", ok({}, 503, retry_after="30"), "UnknownOutcome"),
        ("shop/read", ok({}, 429, retry_after="30"), "TransportError"),
    ],
)
def test_it_is_said_how_long_a_gateway_asks_to_be_left_alone(
    name: str, answer: Answer, error: str, tmp_path: Path
) -> None:
    """Whatever else its answer means."""
    with pytest.raises(CallError, match="; it asks to be left alone for 30 s") as told:
        host(tmp_path, answer).engine.send(name, NAMES[name])
    assert type(told.value).__name__ == error
