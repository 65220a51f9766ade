"""The webhook inbox: an event is verified over its raw bytes, kept once, and then processed, as often as it takes."""

from __future__ import annotations

import json
import logging
import re
from pathlib import Path
from typing import Any

import pytest
from hosts import SECRETS, SHOP, Host, OnlyHere, failure, host, ok

from engine.core import Engine
from engine.errors import DefinitionError, SettingError, SignatureError, StoreError, UnknownNameError, UnknownOutcome
from engine.inbox import LATER
from engine.records import Record
from engine.seals import new_key
from engine.signatures import SHIPPED, scheme_of, sign

REFUNDED = {"id": "evt_1", "type": "payment.refunded", "created": 1767225600, "live": False, "payment": "p1"}
GATEWAY = "request_types/shop/_gateway.yml"
PROCESSOR = "webhook_processors/shop/payment.refunded.json.j2"


def receive(shop: Host, event: Any = None, secret: str = "SHOP_HOOK", endpoint: str = "", **changed: Any) -> Record:
    """Have `event` (REFUNDED, with what is `changed`) delivered, signed with a secret or that of a name."""
    body = event if isinstance(event, bytes) else json.dumps({**REFUNDED, **changed}).encode()
    key = SECRETS.get(secret, secret)
    headers = sign(SHIPPED["stripe"], key, body, shop.hours.now.timestamp())
    return shop.engine.receive("shop", headers, body, endpoint=endpoint)


def paid(tmp_path: Path, **more: Any) -> Host:
    """A shop with one payment, p1."""
    shop = host(tmp_path, **more)
    shop.engine.send("shop/pay", {"amount": 5})
    shop.store.commits.clear()
    return shop


def state(shop: Host) -> str:
    """The state of p1."""
    return str(shop.sales()[0]["state"])


# Once -----------------------------------------------------------------------------------------------------------------


def test_an_event_is_kept_before_it_is_processed(tmp_path: Path) -> None:
    """The event is durable first; its changes and its own end are one commit."""
    shop = paid(tmp_path)
    row = receive(shop)
    assert shop.store.commits == [["insert event"], ["update sale", "update event"]]
    assert (row["state"], state(shop)) == ("processed", "refunded")
    wanted = {
        "event_id": "evt_1",
        "event_type": "payment.refunded",
        "endpoint": "",
        "gateway": "shop",
        "live": False,
        "happened_at": "2026-01-01T00:00:00.000Z",
        "received_at": "2026-01-01T00:00:00.000Z",
        "changed": [{"type": "sale", "where": {"gateway_id": "p1"}}],
    }
    assert {name: row[name] for name in wanted} == wanted
    assert json.loads(row["body"]) == REFUNDED


def test_an_event_counts_once(tmp_path: Path) -> None:
    """Delivered again, by whichever endpoint, an event is the same row and changes nothing."""
    shop = paid(tmp_path)
    first = receive(shop)
    shop.engine.send("shop/pay", {"amount": 5})
    for again in (receive(shop), receive(shop, secret="SHOP_OTHER_HOOK", endpoint="partners")):
        assert again.id == first.id
    assert state(shop) == "paid"
    assert len(shop.find("event")) == 1


def test_events_of_two_accounts_are_two(tmp_path: Path) -> None:
    """The same id in another account is another event, and changes that account's records only."""
    shop = host(tmp_path)
    for account in ("", "acct_1"):
        shop.engine.send("shop/pay", {"amount": 5, **({"account": account} if account else {})})
    receive(shop, account="acct_1")
    assert [(one["account"], one["state"]) for one in shop.find("sale")] == [("", "paid"), ("acct_1", "refunded")]
    receive(shop)
    assert len(shop.find("event")) == 2
    for account, id in (("acct_1", "test|evt_2"), ("acct_1|test", "evt_2")):
        receive(shop, account=account, id=id)
    assert len(shop.find("event")) == 4


def test_bodies_are_kept_byte_for_byte(tmp_path: Path) -> None:
    """What is kept is what was signed, be it UTF-8 or not."""
    shop = paid(tmp_path)
    raw = json.dumps(REFUNDED, indent=3).encode() + b"\n "
    assert receive(shop, raw)["body"].encode() == raw
    odd = b'{"id": "\xff"}'
    assert receive(shop, odd)["body"].encode("utf-8", "surrogateescape") == odd


# Signatures and secrets -----------------------------------------------------------------------------------------------


def test_a_wrong_signature_leaves_nothing(tmp_path: Path) -> None:
    """An event that is changed, foreign, stale or unsigned is refused, and no row is made of it."""
    shop = paid(tmp_path)
    body, now = json.dumps(REFUNDED).encode(), shop.hours.now.timestamp()
    scheme, secret = SHIPPED["stripe"], SECRETS["SHOP_HOOK"]
    good = sign(scheme, secret, body, now)
    for headers, sent in (
        (good, body + b" "),
        (sign(scheme, "x" * 32, body, now), body),
        (sign(scheme, SECRETS["SHOP_OTHER_HOOK"], body, now), body),
        (sign(scheme, secret, body, now - 301), body),
        (sign(scheme, secret, body, now + 301), body),
        ({}, body),
        ({"Stripe-Signature": good["Stripe-Signature"].partition(",")[0]}, body),
    ):
        with pytest.raises(SignatureError):
            shop.engine.receive("shop", headers, sent)
    assert shop.find("event") == []
    assert shop.engine.receive("shop", good, body)["state"] == "processed"


def test_two_endpoints_have_two_secrets(tmp_path: Path) -> None:
    """An endpoint takes its own secret only; one that the file does not name does not exist."""
    shop = paid(tmp_path)
    assert receive(shop, secret="SHOP_OTHER_HOOK", endpoint="partners")["endpoint"] == "partners"
    with pytest.raises(SignatureError):
        receive(shop, endpoint="partners", id="evt_2")
    with pytest.raises(UnknownNameError, match="did you mean 'partners'"):
        receive(shop, endpoint="partner")
    with pytest.raises(UnknownNameError, match="there is no gateway 'shpo'; did you mean 'shop'"):
        shop.engine.receive("shpo", {}, b"{}")


def test_a_gateway_without_webhooks(tmp_path: Path) -> None:
    """A gateway whose file has no `webhook:` takes no events."""
    bank = {"request_types/bank/_gateway.yml": "base_url: https://api.bank.test\n"}
    with pytest.raises(UnknownNameError, match="there is no webhook of gateway 'bank'"):
        host(tmp_path, files=bank).engine.receive("bank", {}, b"{}")


@pytest.mark.parametrize(
    "secret", ["", "   ", "open", "x" * 15, "with a blank in the middle", "tab\tseparated-secret-xx"]
)
def test_a_secret_that_is_an_open_door_stops_the_start(tmp_path: Path, secret: str) -> None:
    """A webhook secret that is there, but empty, blank, short or badly copied, stops the start, and is not shown."""
    given: list[dict[str, Any]] = [{"SHOP_HOOK": secret}, {"SHOP_OTHER_HOOK": secret}]
    for setting in given:
        with pytest.raises(SettingError, match=f"^{next(iter(setting))}: ") as raised:
            host(tmp_path, **setting)
        assert not secret.strip() or secret not in str(raised.value)


def test_a_missing_secret_is_told_when_it_is_needed(tmp_path: Path) -> None:
    """Without any secret a host starts, but takes no event: nothing is verified with an empty key."""
    shop = paid(tmp_path)
    del shop.engine.settings._values["SHOP_HOOK"]
    with pytest.raises(SettingError, match="SHOP_HOOK: no webhook secret of shop is known; set it, or register"):
        receive(shop, secret="x" * 32)
    assert shop.find("event") == []


ROTATED = SHOP[GATEWAY].replace("secrets: [SHOP_HOOK]", "secrets: [SHOP_HOOK, SHOP_NEW_HOOK]")
NEW = "hook_11111111111111111111111111111111"


def test_secrets_are_rotated(tmp_path: Path) -> None:
    """While a secret is replaced, both are good; afterwards the old one is not."""
    shop = paid(tmp_path / "a", files={GATEWAY: ROTATED}, SHOP_NEW_HOOK=NEW)
    for number, secret in enumerate(("SHOP_HOOK", NEW)):
        assert receive(shop, secret=secret, id=f"evt_{number}")["state"] == "processed"
    after = paid(tmp_path / "b", SHOP_HOOK=NEW)
    with pytest.raises(SignatureError):
        receive(after)
    assert receive(after, secret=NEW)["state"] == "processed"


ENDPOINT = {
    "response_mappers/records/webhook_endpoint.yml": """\
summary: A webhook endpoint at the gateway.
unique: [gateway_id]
properties: {gateway_id: {type: string}, endpoint: {type: string}, secret: {type: string}}
""",
    "request_types/shop/register.yml": """\
summary: Register an endpoint.
method: POST
url: /endpoints
body: {url: "{{ data.endpoint }}"}
sealed: [/secret]
data: {properties: {endpoint: {type: string}}}
""",
    "response_mappers/shop/register.json.j2": """\
{"upsert": "webhook_endpoint",
 "where": {"gateway_id": {{ response.id }}},
 "set": {"secret": {{ response.secret }}, "endpoint": {{ data.endpoint }}}}
""",
}


def test_secrets_that_were_registered(tmp_path: Path) -> None:
    """A secret that came with the registration of an endpoint is kept sealed, and verifies for that endpoint alone."""
    answer = ok({"id": "we_1", "secret": NEW})
    shop = host(tmp_path, answer, files=ENDPOINT)
    shop.engine.send("shop/register", {"endpoint": "partners"})
    assert NEW not in shop.store.text()
    assert receive(shop, secret=NEW, endpoint="partners")["event_id"] == "evt_1"
    with pytest.raises(SignatureError):
        receive(shop, secret=NEW, id="evt_2")


def test_registered_secrets_need_no_setting(tmp_path: Path) -> None:
    """Where an endpoint was registered from here, its secret need not stand in the environment."""
    shop = host(tmp_path, ok({"id": "we_1", "secret": NEW}), files=ENDPOINT)
    del shop.engine.settings._values["SHOP_HOOK"]
    shop.engine.send("shop/register", {})
    assert receive(shop, secret=NEW)["state"] in {"processed", "failed"}


def test_a_registered_secret_is_found_among_many(tmp_path: Path) -> None:
    """However many endpoints were registered before it, and after."""
    registered = [ok({"id": f"we_{number}", "secret": f"{NEW}{number}"}) for number in range(210)]
    shop = host(tmp_path, *registered, files=ENDPOINT)
    for _ in registered:
        shop.engine.send("shop/register", {"endpoint": "partners"})
    for number in (0, 105, 209):
        event = receive(shop, secret=f"{NEW}{number}", endpoint="partners", id=f"evt_{number}")
        assert event["event_id"] == f"evt_{number}"


def test_a_registered_secret_whose_key_is_gone(tmp_path: Path) -> None:
    """It is passed over: another one may fit. Where there is no other, that is our fault, so the event comes again."""
    shop = host(
        tmp_path, *(ok({"id": f"we_{number}", "secret": f"{NEW}{number}"}) for number in (1, 2)), files=ENDPOINT
    )
    del shop.engine.settings._values["SHOP_HOOK"]
    shop.engine.send("shop/register", {})
    shop.engine.sealer._keys, shop.engine.sealer._fernet = (new_key(),), None
    with pytest.raises(SettingError, match="no webhook secret of shop is known"):
        receive(shop, secret=f"{NEW}1")
    shop.engine.send("shop/register", {})
    assert receive(shop, secret=f"{NEW}2")["event_id"] == "evt_1"
    with pytest.raises(SignatureError, match="no signature fits"):
        receive(shop, secret=f"{NEW}1")


def test_registered_secrets_are_asked_for_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store is asked for no secret while that of the environment fits."""
    shop = host(tmp_path, ok({"id": "we_1", "secret": NEW}), files=ENDPOINT)
    shop.engine.send("shop/register", {})
    find, asked = shop.store.find, list[str]()

    def noting(type: str, **more: Any) -> list[Record]:
        asked.append(type)
        return find(type, **more)

    monkeypatch.setattr(shop.store, "find", noting)
    receive(shop, id="evt_1")
    assert "webhook_endpoint" not in asked
    receive(shop, secret=NEW, id="evt_2")
    assert "webhook_endpoint" in asked
    assert [event["event_id"] for event in shop.find("event")] == ["evt_1", "evt_2"]


def test_an_accepted_event_is_due_at_once(tmp_path: Path) -> None:
    """It is kept, and processed by whoever does what is due: nobody else has it."""
    shop = paid(tmp_path)
    body = json.dumps(REFUNDED).encode()
    headers = sign(SHIPPED["stripe"], SECRETS["SHOP_HOOK"], body, shop.hours.now.timestamp())
    assert shop.engine.accept("shop", headers, body)["state"] == "received"
    assert (shop.store.commits, state(shop)) == ([["insert event"]], "paid")
    assert shop.engine.run_due() == 1
    assert state(shop) == "refunded"


SCHEMES = {
    "{header: X-Sig, signed: '{body}'}": SECRETS["SHOP_HOOK"],
    "github": SECRETS["SHOP_HOOK"],
    "slack": SECRETS["SHOP_HOOK"],
    "standard-webhooks": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
}


@pytest.mark.parametrize(("scheme", "secret"), SCHEMES.items())
def test_other_schemes(tmp_path: Path, scheme: str, secret: str) -> None:
    """A gateway file names a shipped scheme or describes its own."""
    text = SHOP[GATEWAY].replace("scheme: stripe", f"scheme: {scheme}")
    shop = paid(tmp_path, files={GATEWAY: text}, SHOP_HOOK=secret)
    spec = shop.engine.catalog.gateways["shop"].webhook
    assert spec is not None
    body = json.dumps(REFUNDED).encode()
    headers = sign(scheme_of(spec["scheme"]), secret, body, shop.hours.now.timestamp())
    assert shop.engine.receive("shop", headers, body)["state"] == "processed"


# What is not processed ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", [{"gte": ""}, {"": None}, ["a"], True, 1.5])
def test_what_is_no_key_settles_no_call(tmp_path: Path, key: Any) -> None:
    """Where an event names its cause by something else than a text, no call is looked for, and the event counts."""
    shop = paid(tmp_path)
    shop.gateway.answers = [failure("read_timeout")]
    with pytest.raises(UnknownOutcome):
        shop.engine.send("shop/pay", {"amount": 7})
    assert receive(shop, key=key)["state"] == "processed"
    assert shop.calls()[-1]["state"] == "unknown"


def test_an_unknown_event_waits_for_its_file(tmp_path: Path) -> None:
    """An event without a processor is kept as ignored, with the name of the file that would process it."""
    shop = paid(tmp_path)
    row = receive(shop, type="payment.lost")
    assert row["state"] == "ignored"
    assert row["message"] == "there is no webhook_processors/shop/payment.lost.json.j2"
    assert state(shop) == "paid"


NAMES = [
    "../../../etc/passwd",
    "a/../b",
    "payment_refunded",
    "PAYMENT.REFUNDED",
    "payment.refunded\n",
    "{{ 1 }}",
    "x" * 900,
]


@pytest.mark.parametrize("name", NAMES)
def test_an_events_name_is_only_looked_up(tmp_path: Path, name: str) -> None:
    """The name in an event is looked up among the processors that there are; it never becomes a path."""
    shop = paid(tmp_path)
    assert receive(shop, type=name)["state"] == "ignored"
    assert state(shop) == "paid"


def test_a_slash_in_an_events_name(tmp_path: Path) -> None:
    """A `/` in the gateway's name of an event is written `.` in the file's."""
    shop = paid(tmp_path)
    assert receive(shop, type="payment/refunded")["state"] == "processed"


QUARANTINED: dict[str, tuple[Any, str]] = {
    "no JSON": (b"payment=1", "the body is not a JSON object"),
    "a list": (b"[1]", "the body is not a JSON object"),
    "a key twice": (b'{"id": "1", "id": "2", "type": "payment.refunded"}', "the body is not a JSON object"),
    "nested too deep": (b'{"a":' + b"[" * 9000 + b"]" * 9000 + b"}", "the body is not a JSON object"),
    "no id": (b'{"type": "payment.refunded", "payment": "p1"}', "the event says no id or no type"),
    "no type": (b'{"id": "evt_1", "payment": "p1"}', "the event says no id or no type"),
    "a type that is no text": (b'{"id": "evt_1", "type": {"x": 1}}', "the event says no id or no type"),
    "an account that is none": (
        b'{"id": "evt_1", "type": "payment.refunded", "payment": "p1", "account": "a\\r\\nb"}',
        "the event names an account that can be none",
    ),
    "an account too long for an index": (
        json.dumps({**REFUNDED, "account": "a" * 256}).encode(),
        "the event names an account that can be none",
    ),
    "of live money": (
        json.dumps({**REFUNDED, "live": True}).encode(),
        "the event is live, this host runs in test mode",
    ),
}


@pytest.mark.parametrize(("body", "message"), QUARANTINED.values(), ids=QUARANTINED)
def test_what_is_put_aside(tmp_path: Path, body: bytes, message: str) -> None:
    """What is authentic but cannot be understood, or is of the other mode, is kept and never processed."""
    shop = paid(tmp_path)
    row = receive(shop, body)
    assert (row["state"], row["message"], row["due"]) == ("quarantined", message, None)
    assert receive(shop, body).id == row.id
    shop.hours.pass_by(86_400 * 9)
    shop.engine.run_due()
    assert shop.find("event")[0]["state"] == "quarantined"
    assert state(shop) == "paid"


def test_a_test_event_in_live_mode(tmp_path: Path) -> None:
    """A host for live money does not process events of test money."""
    shop = host(tmp_path, CALLSHEET_MODE="live")
    assert receive(shop)["message"] == "the event is test, this host runs in live mode"
    assert receive(shop, live=True)["state"] == "failed"


@pytest.mark.parametrize("mode", ["live", "test"])
@pytest.mark.parametrize("said", ["false", "False", "true", "sandbox", 0, 1, None])
def test_the_mode_of_an_event_written_as_a_text(tmp_path: Path, mode: str, said: Any) -> None:
    """The text false is not true: test money is never taken for live money, and a word is taken for neither."""
    live = {"false": False, "False": False, "true": True, "sandbox": None, 0: False, 1: True, None: False}[said]
    shop = host(tmp_path, CALLSHEET_MODE=mode)
    row = receive(shop, live=said, type="nothing.known")
    here = mode == "live"
    assert row["state"] == ("ignored" if live == here else "quarantined")
    assert row.scope.live == (here if live is None else live)
    if live is None:
        assert row["message"] == "the event's `live` is 'sandbox', which is neither true nor false; mend webhook.live"


VERSIONED = (
    SHOP[GATEWAY]
    .replace("settings: {", 'version: 2026-10-28.endive\nheaders: {X-Version: "{{ version }}"}\nsettings: {')
    .replace("headers: {Content-Type: application/json}\n", "")
    + """\
  version: "{{ event.version }}"
  release: "{{ version | split('.') | last }}"
"""
)


def test_an_event_of_another_version_is_put_aside(tmp_path: Path) -> None:
    """An event in another shape than the files were written for is not mapped; the version is pinned in one place."""
    shop = paid(tmp_path, files={GATEWAY: VERSIONED})
    assert dict(shop.gateway.requests[0].headers)["X-Version"] == "2026-10-28.endive"
    for number, version in enumerate(("2026-06-24.dahlia", "2024-06-20", "2026-10-28.preview", 7)):
        row = receive(shop, id=f"evt_{number}", version=version)
        assert (row["state"], row["due"], row["version"]) == ("quarantined", None, str(version))
        assert row["message"] == (
            f"the event has version {version}, the files of shop are written for 2026-10-28.endive; "
            "have the endpoint send that one, and this event again"
        )
    assert state(shop) == "paid"


@pytest.mark.parametrize("version", ["2026-10-28.endive", "2026-11-25.endive", None, ""])
def test_an_event_of_the_same_release_is_processed(tmp_path: Path, version: str | None) -> None:
    """So is one that says no version, for it can differ in none."""
    shop = paid(tmp_path, files={GATEWAY: VERSIONED})
    assert receive(shop, version=version)["state"] == "processed"


def test_without_releases_a_version_is_the_same_or_another(tmp_path: Path) -> None:
    """The whole of it counts where the file does not say which part does."""
    shop = paid(tmp_path, files={GATEWAY: VERSIONED.replace("  release", "  # release")})
    assert receive(shop, id="evt_2", version="2026-11-25.endive")["state"] == "quarantined"
    assert receive(shop, version="2026-10-28.endive")["state"] == "processed"


def test_the_right_version_takes_the_place_of_the_wrong_one(tmp_path: Path) -> None:
    """Two endpoints of two versions send the same event: whichever comes first, it is processed once."""
    shop = paid(tmp_path, files={GATEWAY: VERSIONED})
    aside = receive(shop, version="2024-06-20")
    row = receive(shop, version="2026-10-28.endive", secret="SHOP_OTHER_HOOK", endpoint="partners")
    assert (row.id, row["state"], row["version"], row["endpoint"], row["message"]) == (
        aside.id,
        "processed",
        "2026-10-28.endive",
        "partners",
        None,
    )
    assert state(shop) == "refunded"
    assert receive(shop, version="2024-06-20")["state"] == "processed"
    assert len(shop.find("event")) == 1


def test_a_replay_judges_anew(tmp_path: Path) -> None:
    """What was put aside is processed once the files understand it, and not before."""
    shop = paid(tmp_path, files={GATEWAY: VERSIONED})
    again = shop.engine.replay(receive(shop, version="2024-06-20"), "ada", "try again")
    assert (again["state"], again["audit"][0]["who"], state(shop)) == ("quarantined", "ada", "paid")
    understood = VERSIONED.replace("version: 2026-10-28.endive", "version: 2024-06-20")
    Path(tmp_path / GATEWAY).write_text(understood, "utf-8")
    engine = Engine(tmp_path, store=shop.store, environment=SECRETS, files=OnlyHere(tmp_path))
    assert engine.replay(again, "ada", "the files are mended")["state"] == "processed"
    assert state(shop) == "refunded"


# What goes wrong ------------------------------------------------------------------------------------------------------


def test_an_event_waits_for_its_record(tmp_path: Path) -> None:
    """An event that comes before its record is tried again, and processed when the record is there."""
    shop = host(tmp_path)
    row = receive(shop)
    assert (row["state"], row["tries"], row["due"]) == ("failed", 1, "2026-01-01T00:00:10.000Z")
    assert "there is no such record yet" in row["message"]
    shop.engine.send("shop/pay", {"amount": 5})
    shop.engine.run_due()
    assert state(shop) == "paid"
    shop.hours.pass_by(11)
    shop.engine.run_due()
    assert state(shop) == "refunded"
    (row,) = shop.find("event")
    assert (row["state"], row["message"], row["due"]) == ("processed", None, None)


def test_an_event_is_given_up_at_last(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """After its last try an event is dead, which is kept and told; nobody tries it again."""
    shop = host(tmp_path)
    receive(shop)
    for wait in LATER:
        shop.hours.pass_by(wait + 1)
        shop.engine.run_due()
    (row,) = shop.find("event")
    assert (row["state"], row["due"], row["tries"]) == ("dead", None, len(LATER) + 1)
    assert "evt_1" in caplog.text
    shop.hours.pass_by(86_400)
    assert shop.engine.run_due() == 0


BROKEN = {
    "text where a number is": '{"update": "sale", "where": {"gateway_id": "p1"}, "set": {"amount": {{ event.id }}}}',
    "no time": '{"update": "sale", "where": {"gateway_id": {{ event.id | epoch }}}}',
    "a follow-up's data": '{"send": "shop/read", "data": {"id": 5}}',
}


@pytest.mark.parametrize("processor", BROKEN.values(), ids=BROKEN)
def test_a_processor_that_fails(tmp_path: Path, processor: str) -> None:
    """A processor that fails changes nothing, not even by what it said before; the event is kept and tried again."""
    first = '{"update": "sale", "where": {"gateway_id": "p1"}, "set": {"state": "refunded"}}\n'
    shop = paid(tmp_path, files={PROCESSOR: first + processor})
    row = receive(shop)
    assert (row["state"], row["tries"]) == ("failed", 1)
    assert PROCESSOR in row["message"] or "sale" in row["message"] or "shop/read" in row["message"]
    assert state(shop) == "paid"


def test_an_event_whose_cause_cannot_be_read(tmp_path: Path) -> None:
    """What is wrong with the gateway's file is in the row, with its place, and the event is tried again."""
    text = SHOP[GATEWAY] + '  reference: "{{ event.number + 1 }}"\n'
    shop = paid(tmp_path, files={GATEWAY: text})
    row = receive(shop)
    assert (row["state"], row["tries"], state(shop)) == ("failed", 1, "paid")
    assert re.search(rf"{GATEWAY}:[0-9]+: ", row["message"])
    assert receive(shop, id="evt_2", number=1)["state"] == "processed"


def test_one_bad_event_does_not_stop_the_others(tmp_path: Path) -> None:
    """Behind an event that fails the next ones are processed."""
    shop = host(tmp_path)
    receive(shop, id="evt_bad", payment="nobody")
    receive(shop, id="evt_good")
    shop.engine.send("shop/pay", {"amount": 5})
    shop.hours.pass_by(11)
    shop.engine.run_due()
    assert [one["state"] for one in shop.find("event")] == ["failed", "processed"]


def test_an_event_that_cannot_be_kept(tmp_path: Path) -> None:
    """Where the store is gone nothing is answered as if it were kept."""
    shop = paid(tmp_path)

    def refuse(_: Any) -> None:
        raise StoreError("the disk is full")

    shop.store.refuse = refuse
    with pytest.raises(StoreError):
        receive(shop)


def test_a_crash_between_keeping_and_processing(tmp_path: Path) -> None:
    """An event that was kept by a process that then died is processed by the next."""
    shop = paid(tmp_path)
    body = json.dumps(REFUNDED).encode()
    headers = sign(SHIPPED["stripe"], SECRETS["SHOP_HOOK"], body, shop.hours.now.timestamp())
    shop.engine._inbox.receive("shop", headers, body)
    shop.engine.run_due()
    assert state(shop) == "paid"
    shop.hours.pass_by(11)
    shop.engine.run_due()
    assert state(shop) == "refunded"


def test_two_workers_process_an_event_once(tmp_path: Path) -> None:
    """Whoever processes an event that another one has just ended gets the other's row, and changes nothing."""
    shop = paid(tmp_path)
    row = receive(shop)
    stale = Record(row.type, row.id, row.scope, {**row.properties, "state": "received"})
    shop.engine.send("shop/pay", {"amount": 5})
    assert shop.engine._inbox.process(stale)["state"] == "processed"
    assert state(shop) == "paid"


# What an event deletes ------------------------------------------------------------------------------------------------

NAMING = SHOP[GATEWAY] + '  reference: "{{ event.call }}"\n  object: "{{ event.sale }}"\n'
DELETES = '{"delete": "sale", "where": {"gateway_id": {{ event.payment }}}}'


def test_an_event_that_deletes_waits_for_the_answer_that_it_overtook(tmp_path: Path) -> None:
    """The late answer would bring back what is gone; then the event is tried again, and nothing is left."""
    shop = host(tmp_path, failure("read_timeout"), files={GATEWAY: NAMING, PROCESSOR: DELETES})
    with pytest.raises(UnknownOutcome):
        shop.engine.send("shop/pay", {"amount": 5})
    row = receive(shop, call=shop.calls()[0].id)
    assert (row["state"], row["message"]) == (
        "failed",
        f"it deletes what the call {shop.calls()[0].id} made, which is unknown and has to end first",
    )
    shop.gateway.answers = [ok()]
    for _ in range(2):
        shop.hours.pass_by(20)
        shop.engine.run_due()
    assert (shop.calls()[0]["state"], shop.find("event")[0]["state"], shop.sales()) == ("succeeded", "processed", [])


def test_an_event_that_deletes_may_be_the_answer(tmp_path: Path) -> None:
    """It says that the call was carried out before it says that what came of it is gone."""
    shop = host(tmp_path, failure("read_timeout"), files={GATEWAY: NAMING, PROCESSOR: DELETES})
    with pytest.raises(UnknownOutcome):
        shop.engine.send("shop/pay", {"amount": 5})
    row = receive(shop, call=shop.calls()[0].id, sale={"id": "p1", "amount": 5})
    assert (shop.calls()[0]["state"], row["state"], shop.sales()) == ("succeeded", "processed", [])


def test_an_event_that_deletes_waits_for_nobody_else(tmp_path: Path) -> None:
    """A call that ended, or that this host never made, is nothing to wait for."""
    shop = paid(tmp_path, files={GATEWAY: NAMING, PROCESSOR: DELETES})
    assert receive(shop, call="call-of-another-host")["state"] == "processed"
    shop.engine.send("shop/pay", {"amount": 5})
    assert receive(shop, id="evt_2", call=shop.calls()[-1].id)["state"] == "processed"
    assert shop.sales() == []


# What an event sends --------------------------------------------------------------------------------------------------

ASK = '{"send": "shop/read", "data": {"id": {{ event.payment }}}}'


def test_an_event_may_ask_the_gateway(tmp_path: Path) -> None:
    """An event can send a call, whose answer says what holds now; the call is born in the event's commit, once."""
    shop = paid(tmp_path, files={PROCESSOR: ASK})
    shop.gateway.answers = [ok({"id": "p1", "amount": 99})]
    for _ in range(3):
        receive(shop)
    assert shop.store.commits[1] == ["insert call", "update event"]
    assert shop.sales()[0]["amount"] == 99
    assert len(shop.gateway.requests) == 2
    child = shop.calls()[-1]
    assert (child["parent"], child["depth"], child["state"]) == (shop.find("event")[0].id, 1, "succeeded")


def test_a_call_that_an_event_sent_and_that_failed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The event is processed when its call is written down; the call itself is tried again later."""
    shop = paid(tmp_path, files={PROCESSOR: ASK})
    shop.gateway.answers = [failure("connect", sent=False)]
    with caplog.at_level(logging.WARNING, "engine"):
        assert receive(shop)["state"] == "processed"
    assert shop.calls()[-1]["state"] == "prepared"
    shop.gateway.answers = [ok({"id": "p1", "amount": 99})]
    shop.hours.pass_by(5)
    shop.engine.run_due()
    assert shop.sales()[0]["amount"] == 99


def test_reactions_to_an_event(tmp_path: Path) -> None:
    """A host's function hears of what an event changed as it hears of what a call changed."""
    shop = paid(tmp_path)
    seen: list[str] = []
    shop.engine.on("sale")(lambda record: seen.append(record["state"]))
    receive(shop)
    assert seen == ["refunded"]


def test_a_wrong_webhook_is_told_at_start(tmp_path: Path) -> None:
    """A scheme that does not exist, or that would verify nothing, is a fault of the gateway's file."""
    for scheme, said in (
        ("stirpe", "there is no webhook scheme 'stirpe'; did you mean 'stripe'?"),
        ("{header: X-Sig, signed: '{timestamp}'}", "signed"),
        ("{header: X-Sig, signed: 'constant'}", r"signed must hold \{body\} once"),
    ):
        with pytest.raises(DefinitionError, match=said):
            host(tmp_path, files={GATEWAY: SHOP[GATEWAY].replace("scheme: stripe", f"scheme: {scheme}")})
