"""Stripe calls left open: each is found by our reference, or settled by an event, and nothing else passes for it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from stripe_world import CALL, LOST, World, answered, found_by, listed, thing_of, told

from engine.cases import answer_of
from engine.catalog import shipped
from engine.reloading import Files

URLS = {"success_url": "https://shop.example/thanks"}
HELD = {"gateway_id": "ch_Order18"}

CREATES: dict[str, tuple[dict[str, Any], str, str]] = {
    "create_payment": ({"amount": 500, "currency": "usd", "source": "tok_visa"}, "payment", "ch_Order17"),
    "create_payment_intent": (
        {"amount": 2000, "currency": "usd", "payment_method": "pm_AdaVisa", "confirm": True},
        "payment_intent",
        "pi_Order21",
    ),
    "create_customer": ({"email": "ada@example.com", "source": "tok_visa"}, "customer", "cus_Ada"),
    "create_refund": ({"charge": "ch_Order18", "amount": 2000}, "refund", "re_Order18"),
    "create_transfer": (
        {"destination": "acct_1AdaLamps", "amount": 400, "currency": "usd", "account_id": "account-7"},
        "transfer",
        "tr_Order17",
    ),
    "create_payout": ({"amount": 1100, "currency": "usd", "account_id": "acct_1AdaLamps"}, "payout", "po_1AdaLamps"),
    "create_account": ({"country": "US", "email": "ada@example.com"}, "account", "acct_1AdaLamps"),
    "create_person": ({"account_id": "acct_1AdaLamps", "first_name": "Ada"}, "person", "person_1Ada"),
    "create_bank_account": (
        {"account_id": "acct_1AdaLamps", "external_account": "btok_us"},
        "bank_account",
        "ba_1AdaLamps",
    ),
    "create_credit_card": ({"customer_id": "cus_Ada", "source": "tok_mastercard"}, "credit_card", "card_AdaMaster"),
    "create_setup_intent": ({"customer": "cus_Ada", "confirm": True}, "setup_intent", "seti_Ada"),
    "create_checkout_session": (URLS, "checkout_session", "cs_test_Order26"),
}
ENDPOINT = {"url": "https://lamps.example/callsheet/webhooks/stripe", "enabled_events": ["payout.paid"]}


@pytest.fixture(scope="module")
def files() -> Files:
    return Files(None, {}, reload=False)


@pytest.fixture
def world(files: Files) -> World:
    return World(files)


# Looking up ---------------------------------------------------------------------------------------------------------


def test_every_call_that_carries_our_reference_has_a_look_up(files: Files) -> None:
    """Whatever names our call at Stripe is looked for by that name."""
    carrying = {
        type.name.removeprefix("stripe/")
        for type in files.catalog().request_types.values()
        if "callsheet_call=call_id" in (shipped() / type.file).read_text("utf-8")
    }
    assert carrying == {*CREATES, "create_webhook_endpoint"}
    types = files.catalog().request_types
    assert {name: types[f"stripe/{name}"].lookup for name in carrying} == {
        name: f"stripe/{name.replace('create_', 'find_')}" for name in carrying
    }


@pytest.mark.parametrize("name", CREATES)
def test_a_created_thing_is_found_and_recorded(world: World, name: str) -> None:
    """Past the window one read settles the call, and the record is what an answer would have made it."""
    data, record_type, gateway_id = CREATES[name]
    find = name.replace("create_", "find_")
    world.loses(name, data)
    world.looks_up(found_by(find))
    assert world.call["state"] == "succeeded"
    assert gateway_id in [record["gateway_id"] for record in world.kept(record_type)]
    asked, case = urlsplit(world.sent[-1].url), told(f"{find}/found")["sends"]
    assert (world.sent[-1].method, asked.path) == ("GET", urlsplit(case["url"]).path)
    assert parse_qs(asked.query).get("created[gte]") == ([str(g)] if (g := case["query"].get("created[gte]")) else None)
    assert dict(world.sent[-1].headers).get("Stripe-Account") == case["headers"]["Stripe-Account"]


@pytest.mark.parametrize("name", [*CREATES, "create_webhook_endpoint"])
def test_a_thing_that_was_not_made_is_not_done(world: World, name: str) -> None:
    """Two look-ups that agree are needed to say so; what others made does not count."""
    world.loses(name, ENDPOINT if name == "create_webhook_endpoint" else CREATES[name][0])
    searched = name in {"create_payment", "create_payment_intent", "create_customer"}
    other = {"id": "x", "metadata": {"callsheet_call": "019b76da-a800-7000-8000-00000000b0b5"}}
    nothing = listed() if searched else listed(other, {"id": "y", "metadata": {}}, {"id": "z", "metadata": None})
    world.looks_up(nothing)
    assert world.call["state"] == "unknown"
    world.looks_up(nothing)
    assert world.call["state"] == "not_done"


def test_a_cards_of_a_found_customer_are_recorded(world: World) -> None:
    """The search brings the cards along, so no record is poorer for having been found."""
    world.loses("create_customer", {"external_id": "user-7", "source": "tok_visa"})
    world.looks_up(found_by("find_customer"))
    assert [(card["last4"], card["external_id"]) for card in world.kept("credit_card")] == [("4242", "user-7")]


def test_the_payment_of_a_found_refund_is_recorded(world: World) -> None:
    """The list brings the charge along, and the payment moves on with it."""
    world.loses("create_refund", {"charge": "ch_Order18", "payment_id": "payment-7"})
    world.looks_up(found_by("find_refund"))
    assert [refund["payment_id"] for refund in world.kept("refund")] == ["payment-7"]
    assert [payment["state"] for payment in world.kept("payment")] == ["partially_refunded"]


def test_a_failed_payment_that_is_found_was_refused(world: World) -> None:
    """Stripe answers such a call with a refusal, so that is what it is, and the failed payment is recorded."""
    world.loses("create_payment", {"amount": 500, "currency": "usd", "source": "tok_visa", "external_id": "order-17"})
    world.looks_up(found_by("find_payment", "failed"))
    assert (world.call["state"], world.call["message"]) == ("declined", "Your card has insufficient funds.")
    (payment,) = world.kept("payment")
    assert (payment["state"], payment["failure_code"], payment["decline_code"], payment["external_id"]) == (
        "failed",
        "card_declined",
        "insufficient_funds",
        "order-17",
    )


@pytest.mark.parametrize(("confirm", "state"), [(True, "declined"), (False, "succeeded")])
def test_an_intent_whose_try_failed_was_refused_if_the_call_tried(world: World, confirm: bool, state: str) -> None:
    """The same intent is a refusal to who wanted the payment at once, and a good start to who wanted to begin it."""
    world.loses("create_payment_intent", {"amount": 2000, "currency": "usd", "confirm": confirm})
    error = {"code": "card_declined", "message": "Your card was declined.", "charge": "ch_Order21"}
    intent = {**thing_of("find_payment_intent"), "status": "requires_payment_method", "amount_received": 0}
    charge = {**intent["latest_charge"], "status": "failed", "captured": False, "failure_code": "card_declined"}
    world.looks_up(listed({**intent, "last_payment_error": error, "latest_charge": charge}))
    assert world.call["state"] == state
    assert [intent["state"] for intent in world.kept("payment_intent")] == ["requires_payment_method"]
    assert [payment["state"] for payment in world.kept("payment")] == ["failed"]


@pytest.mark.parametrize(("confirm", "state"), [(True, "declined"), (False, "succeeded")])
def test_a_setup_whose_try_failed_was_refused_if_the_call_tried(world: World, confirm: bool, state: str) -> None:
    """As with a payment: a means of payment that could not be kept is a refusal to who tried to keep it."""
    world.loses("create_setup_intent", {"customer": "cus_Ada", "confirm": confirm})
    error = {"type": "card_error", "code": "card_declined", "message": "Your card was declined."}
    world.looks_up(
        listed({**thing_of("find_setup_intent"), "status": "requires_payment_method", "last_setup_error": error})
    )
    assert world.call["state"] == state


def test_a_found_endpoint_without_its_secret_stays_open(world: World) -> None:
    """The secret is told once; an endpoint that nobody could verify is for a person to remove."""
    world.loses("create_webhook_endpoint", ENDPOINT)
    world.looks_up(found_by("find_webhook_endpoint"))
    assert world.call["state"] == "unknown"
    assert "secret" in world.call["message"]
    assert world.kept("webhook_endpoint") == []


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("create_account", {"gateway_id": "acct_1AdaLamps", "email": "ada@lamps.example"}),
        ("create_person", {"account_id": "acct_1AdaLamps", "gateway_id": "person_1Ada", "first_name": "Ada"}),
    ],
)
def test_of_a_change_nothing_is_concluded(world: World, name: str, data: dict[str, Any]) -> None:
    """A change to what is there leaves no mark: no look-up is made, and the call stays open."""
    world.loses(name, data)
    world.looks_up()
    world.looks_up()
    assert world.call["state"] == "unknown"
    assert len(world.sent) == 3


def test_a_refused_look_up_proves_nothing(world: World) -> None:
    """Where Stripe offers no search a call stays open, however often it is looked for."""
    world.loses("create_payment", CREATES["create_payment"][0])
    for _ in range(3):
        world.looks_up(found_by("find_payment", "refused"))
    assert world.call["state"] == "unknown"


def altered(tmp_path: Path, find: str, old: str, new: str) -> World:
    """A world whose own file of a look-up reads differently."""
    text = (shipped() / f"request_types/stripe/{find}.yml").read_text("utf-8")
    assert old in text
    file = tmp_path / f"request_types/stripe/{find}.yml"
    file.parent.mkdir(parents=True)
    file.write_text(text.replace(old, new))
    return World(Files(tmp_path, {}, reload=False))


def test_a_list_that_was_cut_off_proves_nothing(tmp_path: Path) -> None:
    """What was not read may hold it: not found is no proof then, and found is found."""
    world = altered(tmp_path, "find_payout", "limit: 10000", "limit: 2")
    world.loses("create_payout", CREATES["create_payout"][0])
    for _ in range(3):
        world.looks_up(listed({"id": "po_1"}, {"id": "po_2"}, more=True))
    assert (world.call["state"], world.call.get("looked_up")) == ("unknown", None)
    world.looks_up(listed({"id": "po_1"}, thing_of("find_payout"), more=True))
    assert world.call["state"] == "succeeded"


def test_a_look_up_whose_file_fails_proves_nothing(tmp_path: Path) -> None:
    """An expression that cannot deal with the answer stops neither the worker nor settles the call."""
    world = altered(tmp_path, "find_customer", "response.data[0] }}", "response.data[0].id + 1 }}")
    world.loses("create_customer", {"email": "ada@example.com"})
    world.looks_up(found_by("find_customer"))
    assert world.call["state"] == "unknown"


# Captures and cancellations -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "gateway_id", "case", "state"),
    [
        ("capture_payment", "ch_Order18", "capture_payment/captured", "succeeded"),
        ("capture_payment_intent", "pi_Order24", "capture_payment_intent/captured", "succeeded"),
        ("cancel_payment_intent", "pi_Order21", "cancel_payment_intent/before_any_try", "succeeded"),
        ("confirm_payment_intent", "pi_Order21", "find_confirmation/found", "succeeded"),
        ("reject_account", "acct_1AdaLamps", "reject_account/rejected", "succeeded"),
        ("capture_payment_intent", "pi_Order21", "cancel_payment_intent/before_any_try", "unknown"),
        ("cancel_payment_intent", "pi_Order24", "capture_payment_intent/captured", "unknown"),
    ],
)
def test_a_change_of_state_is_seen_in_the_object(
    world: World, name: str, gateway_id: str, case: str, state: str
) -> None:
    """The object is asked for by the id the call was given; it settles the call only in the state that was wanted."""
    world.loses(name, {"gateway_id": gateway_id})
    world.looks_up(answer_of(told(case)["receives"]))
    assert urlsplit(world.sent[-1].url).path.endswith(f"/{gateway_id}")
    assert world.call["state"] == state


@pytest.mark.parametrize(
    ("name", "case", "change"),
    [
        ("capture_payment", "capture_payment/captured", {"captured": False, "amount_captured": 0}),
        ("capture_payment_intent", "capture_payment_intent/captured", {"status": "requires_capture"}),
        ("cancel_payment_intent", "cancel_payment_intent/before_any_try", {"status": "requires_payment_method"}),
        ("confirm_payment_intent", "find_confirmation/found", {"status": "requires_payment_method"}),
        ("reject_account", "reject_account/rejected", {"requirements": {"disabled_reason": None}}),
    ],
)
def test_what_still_waits_was_neither_taken_nor_given_up(
    world: World, name: str, case: str, change: dict[str, Any]
) -> None:
    """An object that is as it was before proves, seen twice, that nothing was done."""
    thing = told(case)["receives"]["body"]
    world.loses(name, {"gateway_id": thing["id"]})
    for state in ("unknown", "not_done"):
        world.looks_up(answered(**{**thing, **change}))
        assert world.call["state"] == state


# Events -------------------------------------------------------------------------------------------------------------


def test_an_event_by_our_reference_settles_a_payment(world: World) -> None:
    """`charge.succeeded` is the answer that never came: nothing more is sent."""
    world.loses("create_payment", {"amount": 500, "currency": "usd", "source": "tok_visa", "external_id": "order-17"})
    world.hears("charge.succeeded", thing_of("find_payment"))
    assert world.call["state"] == "succeeded"
    assert world.call["attempts"][-1]["class"] == "event"
    assert [(payment["state"], payment["external_id"]) for payment in world.kept("payment")] == [("paid", "order-17")]
    assert len(world.sent) == 3


@pytest.mark.parametrize(
    ("name", "type", "thing"),
    [
        ("create_payment", "charge.failed", thing_of("find_payment", "failed")),
        ("create_payment_intent", "charge.succeeded", {**thing_of("find_payment"), "payment_intent": "pi_Order21"}),
        ("create_payment_intent", "payment_intent.created", {**thing_of("find_payment_intent"), "latest_charge": None}),
        ("create_setup_intent", "setup_intent.created", thing_of("find_setup_intent")),
        ("create_customer", "customer.created", {"id": "cus_Ada", "metadata": {"callsheet_call": CALL}}),
        ("create_refund", "refund.created", {**thing_of("find_refund"), "charge": "ch_Order18"}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_event_that_is_no_whole_answer_only_has_it_asked_for(
    world: World, name: str, type: str, thing: dict[str, Any]
) -> None:
    """Another kind, another state, or an object without its parts settles nothing; the call is taken up at once."""
    world.loses(name, CREATES[name][0])
    world.answers += [LOST] * 3
    world.hears(type, thing)
    assert world.call["state"] == "unknown"
    world.engine.run_due()
    assert len(world.sent) == 6
    assert len({(request.body, request.headers) for request in world.sent}) == 1


def test_an_event_named_by_its_key_must_show_the_capture(world: World) -> None:
    """An event that our request caused, but that shows the payment still held, is no capture."""
    world.loses("capture_payment", HELD)
    charge = dict(told("capture_payment/captured")["receives"]["body"])
    key = {"request": {"id": "req_1", "idempotency_key": world.call["key"]}}
    world.hears("charge.updated", {**charge, "captured": False}, id="evt_held", **key)
    assert world.call["state"] == "unknown"
    world.hears("charge.captured", charge, **key)
    assert world.call["state"] == "succeeded"


def test_a_late_event_settles_its_call_and_takes_nothing_back(world: World) -> None:
    """The object of an event is as old as the event: what was read since stands."""
    world.loses("create_person", CREATES["create_person"][0])
    person, account = thing_of("find_person"), {"account": "acct_1AdaLamps", "created": int(world.now.timestamp()) + 5}
    world.now += timedelta(minutes=30)
    world.answers.append(listed(person))
    world.engine.send("stripe/get_persons", {"gateway_id": "acct_1AdaLamps"})
    world.hears("person.created", {**person, "verification": {"status": "unverified"}}, **account)
    assert world.call["state"] == "succeeded"
    assert [record["state"] for record in world.kept("person")] == ["verified"]
