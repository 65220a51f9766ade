"""`callsheet doctor`: everything that is wrong is found, said with its remedy, and nothing that is right is."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest
from commands import Gateway, run
from hosts import SECRETS, SHOP, Host, OnlyHere, failure, host, ok, write
from test_inbox import REFUNDED, receive

from engine.core import Engine
from engine.dispatcher import Answer, Failure
from engine.doctor import Finding, demand_fit, examine
from engine.doctor.findings import MANY
from engine.errors import SettingError
from engine.inbox import LATER
from engine.records import Change, RecordType, Scope
from engine.seals import new_key
from engine.store.sql import SqlStore
from engine.web import Callsheet

FORM_KEY = "form_0123456789abcdef0123456789abcdef"


def found(shop: Host, *, offline: bool = True) -> dict[tuple[str, str], Finding]:
    """What is wrong with a host, by level and subject."""
    wrong = [one for one in examine(lambda: shop.engine, offline=offline) if one.level != "ok"]
    assert all(one.remedy for one in wrong)
    return {(one.level, one.about): one for one in wrong if (one.about, one.where) != ("store", "memory:")}


def well(tmp_path: Path, *answers: Answer | Failure, **more: Any) -> Host:
    """A host that nothing is wrong with."""
    return host(tmp_path, *answers, **{"CALLSHEET_SECRET_KEY": FORM_KEY, **more})


def test_a_healthy_host(tmp_path: Path) -> None:
    """Nothing is wrong with it, and what was looked at is said."""
    shop = well(tmp_path)
    shop.engine.send("shop/pay", {"amount": 5})
    receive(shop)
    assert found(shop) == {}
    assert {one.about for one in examine(lambda: shop.engine, offline=True)} == {"files", "keys", "store", "work"}


# Calls, events, reactions ---------------------------------------------------------------------------------------------


def test_a_call_that_needs_a_person(tmp_path: Path) -> None:
    """Perhaps carried out, at a gateway that knows no keys: only somebody who looks there can tell."""
    shop = well(tmp_path, failure("read_timeout"))
    for _ in range(2):
        with pytest.raises(Exception, match="PERHAPS"):
            shop.engine.send("shop/pay_once", {"amount": 5})
    (one,) = found(shop).values()
    assert (one.level, one.where) == ("problem", shop.calls()[-1].id)
    assert one.said == "2 calls were PERHAPS carried out, and nobody comes back to what no gateway can tell"
    assert "callsheet resolve ID --as" in one.remedy
    for call in shop.calls():
        shop.engine.recovery.resolve(call, "not_done", "ada", "the bank says so")
    assert found(shop) == {}


def test_a_call_that_a_worker_comes_back_to(tmp_path: Path) -> None:
    """Worth a word only when it takes long, and a problem when nobody does come back."""
    shop = well(tmp_path, failure("read_timeout"))
    with pytest.raises(Exception, match="PERHAPS"):
        shop.engine.send("shop/pay", {"amount": 5})
    assert found(shop) == {}
    for _ in range(5):
        shop.hours.pass_by(100)
        shop.engine.run_due()
    assert [one.said for one in found(shop).values()] == [
        "1 call was PERHAPS carried out; a worker comes back to find out"
    ]
    shop.hours.pass_by(86_400)
    worker = found(shop)["problem", "worker"]
    assert worker.said == "1 thing is overdue for more than 5 minutes: no worker runs"
    assert worker.remedy == "callsheet worker"


def test_an_answer_that_made_no_sense(tmp_path: Path) -> None:
    """Money moved, and no record says so."""
    shop = well(tmp_path, ok({"id": "p1", "amount": "five"}))
    with pytest.raises(Exception, match="could not be mapped"):
        shop.engine.send("shop/pay", {"amount": 5})
    (one,) = found(shop).values()
    assert (one.level, one.about) == ("problem", "calls")
    assert "callsheet remap --all" in one.remedy


def test_a_queued_call_that_was_given_up(tmp_path: Path) -> None:
    """Nobody waits for it, so nobody else would notice; after a week it is no news any more."""
    shop = well(tmp_path, failure("connect", sent=False))
    shop.engine.send_later("shop/pay", {"amount": 5}, operation="order-17")
    with pytest.raises(Exception, match="not carried out"):
        shop.engine.send("shop/pay", {"amount": 6})
    for _ in range(20):
        shop.engine.run_due()
        shop.hours.pass_by(30_000)
    (one,) = found(shop).values()
    assert (one.level, one.said) == ("warning", "1 queued call was tried for the last time, and not carried out")


def test_overdue_work(tmp_path: Path) -> None:
    """A queued call, an event, a replay and a call of a dead process that nobody takes up."""
    shop = well(tmp_path)
    shop.engine.send_later("shop/pay", {"amount": 5})
    shop.engine._inbox.receive("shop", *signed(shop))
    shop.engine.replays.begin({"state": "received"}, None, "ann", "try again")
    shop.store.apply([shop.engine.plan("shop/pay", {"amount": 6}).born("sending")])
    assert found(shop) == {}
    shop.hours.pass_by(400)
    assert found(shop)["problem", "worker"].said.startswith("4 things are overdue")


def signed(shop: Host) -> tuple[dict[str, str], bytes]:
    """The headers and the body of an event."""
    from engine.signatures import SHIPPED, sign

    body = json.dumps(REFUNDED).encode()
    return sign(SHIPPED["stripe"], SECRETS["SHOP_HOOK"], body, shop.hours.now.timestamp()), body


def test_a_dead_event(tmp_path: Path) -> None:
    """It was tried for days; a person mends what it says, and has it processed again."""
    shop = well(tmp_path)
    receive(shop)
    for _ in range(len(LATER) + 1):
        shop.hours.pass_by(90_000)
        shop.engine.run_due()
    (one,) = found(shop).values()
    assert (one.level, one.said) == ("problem", "1 event was tried for the last time")
    assert "callsheet replay --state dead" in one.remedy


def test_events_that_were_put_aside(tmp_path: Path) -> None:
    """Those of this mode are a problem; those of the other mode a gateway may send to any endpoint."""
    shop = well(tmp_path)
    receive(shop, live=True)
    assert found(shop) == {}
    receive(shop, b"[]")
    assert found(shop)["problem", "events"].said == "1 event was put aside"


def test_a_dead_reaction(tmp_path: Path) -> None:
    """The host's own function failed for days; it can be called again."""
    shop, heard = well(tmp_path), list[str]()

    def ship(record: Any) -> None:
        heard.append(record["gateway_id"])
        assert len(heard) > 10, "no parcels left"

    shop.engine.on("sale")(ship)
    shop.engine.send("shop/pay", {"amount": 5})
    for _ in range(10):
        shop.hours.pass_by(90_000)
        shop.engine.run_due()
    (one,) = found(shop).values()
    assert (one.level, one.said) == ("problem", "1 time the host's own functions failed for the last time, on sale")
    assert (shop.engine.reactions.revive(10), shop.engine.reactions.revive(10)) == (1, 0)
    shop.engine.run_due()
    assert (len(heard), found(shop)) == (11, {})


def test_nothing_is_counted_without_end(tmp_path: Path) -> None:
    """Where there are many, it says so."""
    shop = well(tmp_path, ok({"id": "p1", "amount": "five"}))
    for number in range(MANY + 5):
        call = shop.engine.plan("shop/pay", {"amount": number + 1}).born("sending")
        shop.store.apply([Change(call.verb, call.type, call.scope, call.where, {**call.set, "state": "unmapped"})])
    assert found(shop)["problem", "calls"].said.startswith("100 or more calls were answered, but no records")


# Keys -----------------------------------------------------------------------------------------------------------------

KEYS: dict[str, tuple[dict[str, str], str, str]] = {
    "none for calls": ({"SHOP_KEY": ""}, "warning SHOP_KEY", "is not set, so shop cannot be called"),
    "none for webhooks": ({"SHOP_HOOK": ""}, "problem SHOP_HOOK", "is empty"),
    "one with a blank": ({"SHOP_KEY": "test_a b"}, "problem SHOP_KEY", "holds white space"),
    "a live one": ({"SHOP_KEY": "live_4eC39HqLyjWDarjt"}, "problem SHOP_KEY", "is a key for live money"),
    "a test one": ({"CALLSHEET_MODE": "live"}, "problem SHOP_KEY", "is no key for live money"),
    "none for forms": ({"CALLSHEET_SECRET_KEY": ""}, "warning CALLSHEET_SECRET_KEY", "no form can be made"),
    "a weak one for forms": ({"CALLSHEET_SECRET_KEY": "secret"}, "problem CALLSHEET_SECRET_KEY", "is shorter than 32"),
    "a broken one for seals": (
        {"CALLSHEET_ENCRYPTION_KEY": "x"},
        "problem CALLSHEET_ENCRYPTION_KEY",
        "is not 32 bytes",
    ),
    "no such mode": ({"CALLSHEET_MODE": "liv"}, "problem CALLSHEET_MODE", "did you mean 'live'"),
}


@pytest.mark.parametrize(("environment", "place", "said"), KEYS.values(), ids=KEYS)
def test_keys(tmp_path: Path, environment: dict[str, str], place: str, said: str) -> None:
    """What is missing is a warning, what is wrong a problem; no value is ever shown."""
    folder = write(tmp_path, SHOP)
    given = {**SECRETS, "CALLSHEET_SECRET_KEY": FORM_KEY, "CALLSHEET_STORE": "memory:", **environment}
    given |= {"CALLSHEET_STORE": ""} if given.get("CALLSHEET_MODE") == "live" else {}
    kept = examine(lambda: Engine(folder, environment=given, files=OnlyHere(folder)), offline=True)
    (one,) = [one for one in kept if one.about == "keys" and one.level != "ok"]
    assert (f"{one.level} {one.where}", said in one.said) == (place, True), one
    shown = json.dumps([one.as_dict() for one in kept])
    assert not any(value in shown for value in environment.values() if len(value) > 6)


SEALED = SHOP["request_types/shop/pay.yml"] + "sealed: [/secret]\n"


def test_an_encryption_key_is_missed_where_something_is_sealed(tmp_path: Path) -> None:
    """A gateway without sealed parts needs none."""
    assert found(well(tmp_path / "a", CALLSHEET_ENCRYPTION_KEY="")) == {}
    shop = well(tmp_path / "b", files={"request_types/shop/pay.yml": SEALED}, CALLSHEET_ENCRYPTION_KEY="")
    assert found(shop)["warning", "keys"].said.endswith("in its data or its answer: shop/pay")


ENDPOINT = """\
summary: An address of ours.
required: [gateway_id, url]
unique: [gateway_id]
properties:
  {gateway_id: {type: string}, url: {type: string}, endpoint: {type: string}, secret: {type: string}}
"""


def test_a_sealed_secret_that_cannot_be_opened(tmp_path: Path) -> None:
    """Where the key was changed, every event would be refused; with the old one beside it, none is."""
    old = SECRETS["CALLSHEET_ENCRYPTION_KEY"]
    files = {"response_mappers/records/webhook_endpoint.yml": ENDPOINT}
    shop = well(tmp_path, files=files, SHOP_HOOK="hook_of_the_environment_0123456789")
    type: RecordType = shop.engine.catalog.record_type("webhook_endpoint")
    sealed = {"gateway_id": "we_1", "url": "https://x.test", "secret": shop.engine.sealer.seal("whsec_" + "x" * 32)}
    rows = [Change("insert", type, Scope("shop"), {}, sealed)]
    shop.store.apply(rows)
    assert found(shop) == {}
    for key, wrong in ((new_key(), True), (f"{new_key()},{old}", False)):
        other = well(tmp_path, files=files, CALLSHEET_ENCRYPTION_KEY=key)
        other.store.apply(rows)
        assert (("problem", "keys") in found(other)) == wrong


def test_gateways_that_are_not_used_are_left_alone(tmp_path: Path) -> None:
    """The shipped files of a gateway are no reason to have its secrets; one secret of it is."""
    engine = Engine(tmp_path, environment={"CALLSHEET_SECRET_KEY": FORM_KEY})
    assert [one.said for one in examine(lambda: engine, offline=True) if one.about == "keys"] == [
        "no gateway is in use: none of their keys is set"
    ]
    asks = Engine(tmp_path, environment={"CALLSHEET_SECRET_KEY": FORM_KEY, "STRIPE_SECRET_KEY": "sk_test_0123456789"})
    missing = [one.where for one in examine(lambda: asks, offline=True) if one.about == "keys"]
    assert missing == ["STRIPE_WEBHOOK_SECRET", "CALLSHEET_ENCRYPTION_KEY"]


# The store and its folder ---------------------------------------------------------------------------------------------


def told(root: Path, *options: str, gateway: Gateway | None = None, **environment: str) -> list[dict[str, str]]:
    """What `callsheet doctor --json` says of a folder."""
    result = run(root, "doctor", "--json", *options, gateway=gateway, CALLSHEET_SECRET_KEY=FORM_KEY, **environment)
    findings: list[dict[str, str]] = json.loads(result.stdout)
    assert all(one["remedy"] for one in findings if one["level"] != "ok")
    assert result.exit_code == int(any(one["level"] == "problem" for one in findings))
    return findings


def wrong(findings: list[dict[str, str]]) -> list[tuple[str, str, str]]:
    return [(one["level"], one["about"], one["said"]) for one in findings if one["level"] != "ok"]


def test_the_store_says_how_it_keeps(shop: Path) -> None:
    """Journal and synchronous of the file; it is not made by looking for it."""
    (shop / ".env").chmod(0o600)
    (shop / "callsheet.sqlite3").chmod(0o600)
    findings = told(shop, "--offline")
    assert wrong(findings) == []
    assert "synchronous" in next(one["said"] for one in findings if one["about"] == "store")
    (shop / "callsheet.sqlite3").unlink()
    assert "is not there yet" in next(one["said"] for one in told(shop, "--offline") if one["about"] == "store")
    assert not (shop / "callsheet.sqlite3").exists()


def test_a_server_that_does_not_flush(shop: Path, postgres_store_url: str) -> None:
    """What would be refused with live money is a warning with test money."""
    (shop / ".env").chmod(0o600)
    weak = SqlStore(postgres_store_url).durability().weak
    found = wrong(told(shop, "--offline", CALLSHEET_STORE=postgres_store_url))
    assert found == [("warning", "store", f"{one}; CALLSHEET_MODE=live refuses it") for one in weak]


def test_what_others_may_read(shop: Path) -> None:
    """Secrets and records are nobody else's; with live money that is a problem."""
    for name in (".env", "callsheet.sqlite3"):
        (shop / name).chmod(0o644)
    findings = [one for one in told(shop, "--offline") if one["level"] != "ok"]
    assert [(one["level"], one["remedy"]) for one in findings] == [
        ("warning", f"chmod 600 {shop}/.env"),
        ("warning", f"chmod 600 {shop}/callsheet.sqlite3"),
    ]
    live = told(shop, "--offline", CALLSHEET_MODE="live", SHOP_KEY="live_0123456789")
    assert [one["level"] for one in live if one["remedy"].startswith("chmod")] == ["problem", "problem"]


def test_an_index_that_is_not_complete(shop: Path) -> None:
    """An index that was declared after records existed is filled by `db upgrade`."""
    (shop / ".env").chmod(0o600)
    engine = Engine(shop, files=OnlyHere(shop))
    sale = engine.catalog.record_type("sale")
    engine.store.apply([Change("insert", sale, Scope("shop"), {}, {"gateway_id": "p1", "amount": 1, "state": "paid"})])
    engine.store.close()  # type: ignore[attr-defined]  # it is the one that opens files
    file = shop / "response_mappers/records/sale.yml"
    file.write_text(file.read_text("utf-8").replace("index: [state]", "index: [state, amount]"), "utf-8")
    (one,) = [one for one in told(shop, "--offline") if one["level"] == "problem"]
    assert one["said"] == "the index of sale by amount does not hold all records yet, so it is not searched"
    assert "callsheet db upgrade" in one["remedy"]
    run(shop, "db", "upgrade")
    assert wrong(told(shop, "--offline")) == []


def test_a_store_that_cannot_be_opened(shop: Path) -> None:
    """It is one problem, and the rest is looked at all the same."""
    (shop / "callsheet.sqlite3").write_text("not a database " * 1000)
    findings = told(shop, "--offline")
    assert [one["about"] for one in findings if one["level"] == "problem"] == ["store"]
    assert {"files", "keys"} <= {one["about"] for one in findings}


def test_a_store_that_is_none(shop: Path) -> None:
    """What CALLSHEET_STORE names cannot be a store."""
    (one,) = told(shop, CALLSHEET_STORE="mysql://localhost/shop")
    assert (one["level"], one["where"]) == ("problem", "CALLSHEET_STORE")


def test_faulty_files(shop: Path) -> None:
    """Each fault is a problem, with its place."""
    write(shop, {"request_types/shop/odd.yml": "summary: x\nmethod: PSOT\nurl: /x\n"})
    (one,) = told(shop)
    assert (one["level"], one["about"], one["where"]) == ("problem", "files", "request_types/shop/odd.yml:2:1")


# What a gateway says --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "level", "said"),
    [
        (0, None, ""),
        (59, None, ""),
        (61, "warning", "61 s behind its own"),
        (-200, "warning", "200 s ahead of its own"),
        (241, "problem", "241 s behind its own, so its webhooks are refused as too old or too new"),
        (-86_400, "problem", "86400 s ahead of its own"),
    ],
)
def test_the_clock(tmp_path: Path, seconds: int, level: str | None, said: str) -> None:
    """A clock that is far off refuses every webhook; it is compared without any secret."""
    shop = well(tmp_path)
    shop.gateway.answers = [ok({}, 401, date=format_datetime(shop.hours.now + timedelta(seconds=seconds)))]
    wrong = found(shop, offline=False)
    assert [(one.level, one.about) for one in wrong.values()] == ([(level, "clock")] if level else [])
    assert all(said in one.said and one.where == "shop" for one in wrong.values())
    (request,) = shop.gateway.requests
    assert (request.method, request.url, shop.gateway.credentials) == ("HEAD", "https://api.shop.test/v1/", [{}])


@pytest.mark.parametrize(
    "answer",
    [failure("connect", sent=False), ok({}), ok({}, date="yesterday"), ok({}, date="Mon, 1 Jan 0000 00:00:00")],
)
def test_a_gateway_that_does_not_tell_the_time(tmp_path: Path, answer: Answer | Failure) -> None:
    """That is no problem of this host, and nothing else is asked of it."""
    assert found(well(tmp_path, answer), offline=False)["warning", "clock"].said.startswith("could not be asked")


def test_a_gateway_without_a_key_is_not_asked(tmp_path: Path) -> None:
    """Nor is any where that is asked for."""
    shop = well(tmp_path, SHOP_KEY="")
    assert list(found(shop, offline=False)) == [("warning", "keys")]
    well_known = well(tmp_path)
    found(well_known)
    assert shop.gateway.requests == well_known.gateway.requests == []


URL = "https://lamps.example/callsheet/webhooks/stripe"


@pytest.fixture
def home(tmp_path: Path, sqlite_master: Path) -> Path:
    """A host that uses Stripe and may seal."""
    keys = f"STRIPE_SECRET_KEY=sk_test_1234567890\nCALLSHEET_ENCRYPTION_KEY={new_key()}\n"
    write(tmp_path, {".env": keys})
    for name, content in ((".env", keys.encode()), ("callsheet.sqlite3", sqlite_master.read_bytes())):
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    return tmp_path


def listed(**more: Any) -> dict[str, Any]:
    """An endpoint as Stripe lists it."""
    told = {"id": "we_1", "object": "webhook_endpoint", "url": URL, "enabled_events": ["*"], "status": "enabled"}
    return {**told, "livemode": False, "api_version": "2026-10-28.endive", **more}


ENDPOINTS: dict[str, tuple[list[dict[str, Any]], str | None, str]] = {
    "a good one": ([listed()], None, ""),
    "none": ([], "warning", "sends no events here: it has no endpoint of this host"),
    "somebody else's": ([listed(url="https://other.example/hooks")], "warning", "it has no endpoint of this host"),
    "one that is disabled": ([listed(status="disabled")], "problem", "is disabled, so no event comes to"),
    "one of another version": ([listed(api_version="2024-06-20")], "problem", "events of version 2024-06-20"),
    "one of no version": ([listed(api_version=None)], "warning", "the account's own version, which may change"),
    "one of few events": ([listed(enabled_events=["charge.captured"])], "warning", "does not send account.appl"),
}


@pytest.mark.parametrize(("there", "level", "said"), ENDPOINTS.values(), ids=ENDPOINTS)
def test_webhook_endpoints(
    home: Path, gateway: Gateway, there: list[dict[str, Any]], level: str | None, said: str
) -> None:
    """What the gateway lists is compared with what this host needs."""
    gateway.answer = lambda *_: (200, {"data": there, "has_more": False})
    findings = told(home, gateway=gateway, STRIPE_WEBHOOK_SECRET="whsec_0123456789abcdef")
    assert [(one["level"], one["about"]) for one in findings if one["level"] != "ok"] == (
        [(level, "webhooks")] if level else []
    )
    assert any(said in one["said"] for one in findings if one["about"] == "webhooks")
    assert "ok" in {one["level"] for one in findings if one["about"] == "clock"}


def test_an_endpoint_that_is_gone(home: Path, gateway: Gateway) -> None:
    """One that was registered from here and that the gateway lists no more."""
    there = [listed()]

    def answer(method: str, *_: str) -> tuple[int, Any]:
        if method == "POST":
            return 200, listed(secret="whsec_0123456789abcdef0123")
        return 200, {"data": there if method == "GET" and registered else [], "has_more": False}

    registered = False
    gateway.answer = answer
    assert run(home, "webhooks", "register", URL, gateway=gateway).exit_code == 0
    said = [one["said"] for one in told(home, gateway=gateway) if one["about"] == "webhooks"]
    assert said == [
        "sends no events here: it has no endpoint of this host",
        f"is gone at stripe, which sent events to {URL}",
    ]
    registered = True
    assert wrong(told(home, gateway=gateway)) == []


def test_a_gateway_that_lists_nothing(home: Path, gateway: Gateway) -> None:
    """A key that may not list endpoints is no problem."""
    gateway.answer = lambda *_: (403, {"error": {"message": "This key may not."}})
    (one,) = [one for one in told(home, gateway=gateway) if one["about"] == "webhooks"]
    assert (one["level"], "This key may not." in one["said"]) == ("warning", True)


# The command, and a start with live money -----------------------------------------------------------------------------


def test_what_a_person_sees(home: Path) -> None:
    """One line for each, its remedy below it, no wider than the terminal; the sum at the end."""
    (home / ".env").chmod(0o644)
    result = run(home, "doctor", "--offline", COLUMNS="60", CALLSHEET_SECRET_KEY=FORM_KEY)
    assert result.exit_code == 0
    assert max(map(len, result.stdout.splitlines())) <= 60 or str(home) in result.stdout
    assert "warning  keys       STRIPE_WEBHOOK_SECRET: is not set, so" in result.stdout
    assert f"{' ' * 20}callsheet webhooks register URL" in result.stdout
    assert result.stdout.endswith("\n2 warnings\n")
    (home / ".env").write_text("CALLSHEET_MODE=liv\n")
    assert run(home, "doctor").stdout.endswith("\n1 problem\n")


def test_a_folder_that_is_no_host(tmp_path: Path) -> None:
    """There is nothing to look at."""
    result = run(tmp_path, "doctor")
    assert (result.exit_code, "is no host's folder" in result.stderr) == (2, True)


def test_live_money_needs_a_clean_bill(tmp_path: Path) -> None:
    """A host with a problem that can be seen before it starts does not start with live money; a test host does."""
    from flask import Flask

    flaws: list[tuple[dict[str, Any], Callable[[Path], object]]] = [
        ({}, lambda root: None),
        ({"SHOP_KEY": "live_0123456789", "CALLSHEET_SECRET_KEY": "short"}, lambda root: None),
        ({"SHOP_KEY": "live_0123456789"}, lambda root: (root / ".env").chmod(0o644)),
    ]
    for number, (environment, break_it) in enumerate(flaws):
        root = tmp_path / str(number)
        write(root, {".env": ""})
        (root / ".env").chmod(0o600)
        break_it(root)
        shop = host(root, **environment, CALLSHEET_MODE="live")
        with pytest.raises(SettingError, match="; nothing is started for live money before: "):
            Callsheet(Flask("lamps"), engine=shop.engine, worker=False)
    demand_fit(host(tmp_path / "test", CALLSHEET_SECRET_KEY="short").engine)
    demand_fit(host(tmp_path / "live", SHOP_KEY="live_0123456789", CALLSHEET_MODE="live").engine)
