"""A key in the query: added to what is on its way, and to nothing that is kept or shown."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, quote, urlsplit

import pytest
from acme import ACME, material, sandbox
from commands import run
from fault_server import FaultServer, Peer, answer, message
from hosts import CountingStore, Hours, OnlyHere, write
from token_gateway import files

from engine.cases import CaseRunner, read_cases
from engine.core import Engine
from engine.curl import secret_url
from engine.dispatcher import Dispatcher
from engine.errors import DefinitionError, RejectedError, SettingError, UnknownOutcome
from engine.redaction import MASK
from engine.sandbox.serving import Served
from engine.store.memory import MemoryStore

KEY = "k-3y/+&=%~7Qd9"
AUTH = "auth: {query: {api_key: SHOP_KEY}}"
LIST = """\
summary: Read all payments.
method: GET
url: /payments
query: {state: paid}
pages: {next: "{{ response.next }}", items: /items}
"""


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as made:
        yield made


@pytest.fixture
def engine(server: FaultServer, tmp_path: Path) -> Iterator[Engine]:
    more = {"request_types/shop/list.yml": LIST}
    folder = write(tmp_path, {**files(f"http://127.0.0.1:{server.port}/v1", AUTH), **more})
    dispatcher, clock = Dispatcher(), Hours().clock()
    given = {"SHOP_KEY": KEY, "SHOP_HOOK": "hook_0123456789abcdef0123456789abcdef"}
    yield Engine(
        folder,
        store=CountingStore(),
        environment=given,
        dispatcher=dispatcher,
        clock=clock,
        files=OnlyHere(folder),
    )
    dispatcher.close()


def test_the_key_is_added_last_and_kept_nowhere(
    server: FaultServer, engine: Engine, caplog: pytest.LogCaptureFixture
) -> None:
    """Percent-encoded on the wire; the frozen URL has it not, nor a log, an error or what a gateway repeats of it."""

    def repeats(peer: Peer) -> None:
        if received := peer.read():
            url = f"http://api.shop.test{received.target}"
            peer.send(message(200, json.dumps({"id": "p1", "amount": 5, "self": url, "key": KEY}).encode()))

    server.behave(repeats)
    with caplog.at_level(logging.DEBUG):
        result = engine.send("shop/pay", {"amount": 5})
        engine.send("shop/read", {"id": "p1"})
        server.behave(answer(402, json.dumps({"error": {"message": f"{KEY} is no good"}}).encode()))
        with pytest.raises(RejectedError) as refused:
            engine.send("shop/pay", {"amount": 5})
        server.behave(Peer.reset)
        with pytest.raises(UnknownOutcome) as unknown:
            engine.send("shop/read", {"id": "p1"})
    assert [one.target for one in server.requests[:2]] == [
        f"/v1/payments?api_key={quote(KEY, safe='')}",
        f"/v1/payments/p1?api_key={quote(KEY, safe='')}",
    ]
    assert "authorization" not in server.requests[0].headers
    assert result.response["self"] == f"http://api.shop.test/v1/payments?api_key={MASK}"
    assert isinstance(engine.store, CountingStore)
    call = engine.find("call", order="id")[0]
    assert urlsplit(call["request"]["url"]).query == ""
    for text in (engine.store.text(), caplog.text, str(refused.value), str(unknown.value), repr(result)):
        assert KEY not in text
        assert quote(KEY, safe="") not in text


def test_it_stands_beside_what_the_file_says(server: FaultServer, engine: Engine) -> None:
    """And once, though the gateway repeats it in the address of the next page."""
    pages = iter(
        [
            {"items": [1], "next": f"/v1/payments?api_key={quote(KEY)}&after=a&state=paid"},
            {"items": [2], "next": f"?after=b&api%5Fkey={quote(KEY)}"},
            {"items": [3]},
        ]
    )

    def lists(peer: Peer) -> None:
        if peer.read():
            peer.send(message(200, json.dumps(next(pages)).encode()))

    server.behave(lists)
    assert engine.send("shop/list").response["items"] == [1, 2, 3]
    asked = [parse_qsl(urlsplit(one.target).query, keep_blank_values=True) for one in server.requests]
    assert asked == [
        [("state", "paid"), ("api_key", KEY)],
        [("after", "a"), ("state", "paid"), ("api_key", KEY)],
        [("after", "b"), ("api_key", KEY)],
    ]


def test_a_queued_call_is_given_it_when_it_is_sent(server: FaultServer, engine: Engine) -> None:
    """What is frozen goes out with the key of now."""
    server.behave(answer(200, b'{"id": "p1", "amount": 5}'))
    engine.send_later("shop/pay", {"amount": 5})
    engine.run_due()
    (call,) = engine.find("call")
    assert call["state"] == "succeeded"
    assert [one.target for one in server.requests] == [f"/v1/payments?api_key={quote(KEY, safe='')}"]


@pytest.mark.parametrize(
    ("auth", "more", "said"),
    [
        ("auth: {query: {}}", "", "_gateway.yml:3:8: {} should be non-empty"),
        ("auth: {query: {'a b': SHOP_KEY}}", "", "does not fit the pattern ^[A-Za-z0-9._-]+$"),
        ("auth: {query: {key: 7}}", "", "7 is not of type string"),
        (AUTH, "query: {api_key: mine}\n", "_gateway.yml:4:9: 'api_key' is a secret of `auth`, which is added last"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, auth: str, more: str, said: str) -> None:
    """A parameter that is given twice is the gateway's choice."""
    gateway = "request_types/shop/_gateway.yml"
    told = files("https://api.shop.test/v1", auth)
    told[gateway] = told[gateway].replace("live_key:", f"{more}live_key:")
    with pytest.raises(DefinitionError) as raised:
        OnlyHere(write(tmp_path, told))
    assert said in str(raised.value)


def test_a_secret_that_is_missing(tmp_path: Path) -> None:
    """It is told as any other."""
    folder = write(tmp_path, files("https://api.shop.test/v1", AUTH))
    engine = Engine(folder, store=MemoryStore(), environment={}, files=OnlyHere(folder))
    with pytest.raises(SettingError, match="SHOP_KEY: is not set"):
        engine.send("shop/read", {"id": "p1"})


def test_a_live_key_is_not_sent_elsewhere(tmp_path: Path) -> None:
    """As no other live key is."""
    folder = write(tmp_path, files("https://api.shop.test/v1", AUTH))
    given = {"SHOP_KEY": "live_0123456789", "CALLSHEET_MODE": "live"}
    elsewhere = OnlyHere(folder, {"shop": "http://127.0.0.1:9/v1"})
    engine = Engine(folder, store=MemoryStore(), environment=given, files=elsewhere)
    with pytest.raises(SettingError, match=r"SHOP_KEY: .*is not the gateway; it is not sent there"):
        engine.send("shop/read", {"id": "p1"})


def test_what_is_shown_names_it(tmp_path: Path) -> None:
    """A URL for people ends with the name of the secret."""
    write(tmp_path, {**files("https://nowhere.invalid/v1", AUTH), "request_types/shop/list.yml": LIST})
    printed = run(tmp_path, "send", "shop/list", "--dry-run").output
    assert printed.startswith("GET https://nowhere.invalid/v1/payments?state=paid&api_key=$SHOP_KEY\n")
    told = json.loads(run(tmp_path, "send", "shop/pay", "amount=5", "--dry-run", "--json").output)
    assert told["url"] == "https://nowhere.invalid/v1/payments?api_key=$SHOP_KEY"
    assert secret_url("https://a.test/b", {"bearer": "A"}) == "https://a.test/b"


def test_a_case_and_a_sandbox(tmp_path: Path) -> None:
    """A case does not tell of it; a sandbox wants it, in memory and over HTTP, and its rules never see it."""
    gateway = "request_types/acme/_gateway.yml"
    told = {gateway: ACME[gateway].replace("header: {X-Api-Key:", "query: {api_key:")}
    material(tmp_path, told)
    cases, runner = read_cases(tmp_path / "tests/cases"), CaseRunner(tmp_path)
    assert [runner.run(case).differences for case in cases if case.kind == "request_types"] == [[]] * (len(cases) - 1)

    rules = 'routes: {POST /orders: {refuse: [{when: "{{ query.api_key is string }}", as: invalid}]}}'
    box = sandbox(tmp_path, rules, files=told)
    inside = Engine(tmp_path, store=MemoryStore(), environment=box.secrets, dispatcher=box, files=OnlyHere(tmp_path))
    with Served(box) as served:
        dispatcher, elsewhere = Dispatcher(), OnlyHere(tmp_path, {"*": served.url})
        given = {**box.secrets}
        outside = Engine(tmp_path, store=MemoryStore(), environment=given, dispatcher=dispatcher, files=elsewhere)
        for engine in (inside, outside):
            made = engine.send("acme/create_order", {"amount": 700})
            assert engine.send("acme/get_order", {"id": made.response["id"]}).response["amount"] == 700
        assert len(outside.send("acme/list_orders").response["orders"]) == 2
        dispatcher.close()
    assert box.answer("GET", "/acme/v2/orders", {}, b"").status == 401
    assert box.answer("GET", "/acme/v2/orders?api_key=another", {}, b"").status == 401
