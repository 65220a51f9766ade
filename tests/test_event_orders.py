"""The events of one object, in any order, doubled or not, around the call's own answer, end in the same records."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import permutations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.cases import NOW, CaseRunner, read_case
from engine.catalog import Catalog, shipped
from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Answer, Failure
from engine.errors import RejectedError, UnknownOutcome
from engine.ids import new_id
from engine.records import Record
from engine.reloading import Files
from engine.request_types import Request
from engine.signatures import SHIPPED, sign
from engine.store.memory import MemoryStore

FILES = Files(None, {}, reload=False)
CATALOG: Catalog = FILES.catalog()
ENVIRONMENT = CaseRunner().environment(CATALOG.gateways)


def told_object(case: str) -> dict[str, Any]:
    """The object of a processor's case."""
    told = read_case(shipped() / f"tests/cases/webhook_processors/stripe/{case}.yml").told
    found: dict[str, Any] = copy.deepcopy(told["event"]["data"]["object"])
    return found


@dataclass(frozen=True)
class Life:
    """What happens to one object: its events in their true order, each with what the object is then.

    `ends` is the state of its record at the end.

    `call` is the request that made or moved it, with its data and what it answered, or `refusal` in its place; `now` is
    what a GET answers at the end, by the part of the path that names the thing.
    """

    ends: list[str]
    object: Mapping[str, Any]
    events: Sequence[tuple[str, Mapping[str, Any]]]
    call: tuple[str, Mapping[str, Any], Mapping[str, Any]] | None = None
    refusal: Mapping[str, Any] | None = None
    now: Mapping[str, Any] = field(default_factory=dict)
    account: str | None = None


CHARGE = told_object("charge.succeeded/authorized")
HELD: dict[str, Any] = {"captured": False, "amount_captured": 0, "amount_refunded": 0, "refunded": False}
TAKEN: dict[str, Any] = {**HELD, "captured": True, "amount_captured": 1000}
DECLINED: dict[str, Any] = {
    **HELD,
    "status": "failed",
    "failure_code": "card_declined",
    "failure_message": "Your card has insufficient funds.",
    "outcome": {"reason": "insufficient_funds"},
}
INTENT = told_object("payment_intent.succeeded/completed_in_the_browser")
ACCOUNT = told_object("account.updated/asks")
REFUND = told_object("refund.updated/succeeded")
PAYOUT = told_object("payout.paid/paid")
TRANSFER = told_object("transfer.reversed/partial")
SESSION = told_object("checkout.session.completed/payment_under_way")
SETUP = told_object("setup_intent.succeeded/completed_in_the_browser")
CUSTOMER = told_object("customer.deleted/gone")
CARDS = read_case(shipped() / "tests/cases/request_types/stripe/create_customer/with_card.yml").told["receives"]["body"]
PAY = {"amount": 1000, "currency": "usd", "source": "tok_visa", "external_id": "order-20"}
INTEND = {"amount": 2000, "currency": "usd", "external_id": "order-21"}

LIVES = {
    "a charge that is held, taken and given back in parts": Life(
        ["refunded"],
        CHARGE,
        [
            ("charge.succeeded", HELD),
            ("charge.captured", TAKEN),
            ("charge.refunded", {**TAKEN, "amount_refunded": 300}),
            ("charge.refunded", {**TAKEN, "amount_refunded": 700}),
            ("charge.refunded", {**TAKEN, "amount_refunded": 1000, "refunded": True}),
        ],
        ("stripe/create_payment", {**PAY, "capture": False}, HELD),
    ),
    "a hold that is taken by a call": Life(
        ["paid"],
        CHARGE,
        [("charge.succeeded", HELD), ("charge.captured", TAKEN)],
        ("stripe/capture_payment", {"gateway_id": CHARGE["id"]}, TAKEN),
    ),
    "a card that is declined": Life(
        ["failed"],
        CHARGE,
        [("charge.failed", DECLINED)],
        ("stripe/create_payment", PAY, DECLINED),
        {"error": {"charge": CHARGE["id"], "code": "card_declined", "message": "Your card was declined."}},
    ),
    "a charge of which a part is given back": Life(
        ["partially_refunded"],
        CHARGE,
        [
            ("charge.succeeded", TAKEN),
            ("charge.refunded", {**TAKEN, "amount_refunded": 300}),
            ("charge.refunded", {**TAKEN, "amount_refunded": 500}),
        ],
        ("stripe/create_payment", PAY, TAKEN),
    ),
    "a hold that expires": Life(
        ["expired"],
        CHARGE,
        [("charge.succeeded", HELD), ("charge.expired", {**HELD, "refunded": True, "amount_refunded": 1000})],
        ("stripe/create_payment", {**PAY, "capture": False}, HELD),
    ),
    "a debit that fails": Life(
        ["failed"],
        CHARGE,
        [
            ("charge.pending", {**HELD, "captured": True, "status": "pending"}),
            (
                "charge.failed",
                {**HELD, "captured": True, "status": "failed", "failure_code": "no_funds", "failure_message": "No."},
            ),
        ],
        ("stripe/create_payment", PAY, {**HELD, "captured": True, "status": "pending"}),
    ),
    "a debit that arrives": Life(
        ["paid"],
        CHARGE,
        [("charge.pending", {**HELD, "captured": True, "status": "pending"}), ("charge.succeeded", TAKEN)],
        ("stripe/create_payment", PAY, {**HELD, "captured": True, "status": "pending"}),
    ),
    "an intent that fails once and then succeeds": Life(
        ["succeeded"],
        INTENT,
        [
            (
                "payment_intent.requires_action",
                {"status": "requires_action", "amount_received": 0, "latest_charge": None},
            ),
            (
                "payment_intent.payment_failed",
                {
                    "status": "requires_payment_method",
                    "amount_received": 0,
                    "latest_charge": None,
                    "last_payment_error": {"code": "card_declined", "decline_code": "generic", "message": "No."},
                },
            ),
            ("payment_intent.succeeded", {}),
        ],
        (
            "stripe/create_payment_intent",
            INTEND,
            {"status": "requires_payment_method", "amount_received": 0, "latest_charge": None, "payment_method": None},
        ),
        now={"payment_intents": INTENT},
    ),
    "an intent that is given up": Life(
        ["canceled"],
        INTENT,
        [
            (
                "payment_intent.requires_action",
                {"status": "requires_action", "amount_received": 0, "latest_charge": None},
            ),
            ("payment_intent.canceled", {"status": "canceled", "amount_received": 0, "latest_charge": None}),
        ],
        (
            "stripe/create_payment_intent",
            INTEND,
            {"status": "requires_payment_method", "amount_received": 0, "latest_charge": None, "payment_method": None},
        ),
        now={"payment_intents": {**INTENT, "status": "canceled", "amount_received": 0, "latest_charge": None}},
    ),
    "a card that is kept": Life(
        ["succeeded"],
        SETUP,
        [("setup_intent.succeeded", {})],
        ("stripe/create_setup_intent", {}, {"status": "requires_payment_method", "payment_method": None}),
    ),
    "a card that is not kept": Life(
        ["canceled"],
        SETUP,
        [("setup_intent.canceled", {"status": "canceled", "payment_method": None})],
        ("stripe/create_setup_intent", {}, {"status": "requires_payment_method", "payment_method": None}),
    ),
    "a refund that arrives and comes back": Life(
        ["failed"],
        REFUND,
        [
            ("refund.created", {"status": "pending"}),
            ("refund.updated", {"status": "succeeded"}),
            ("refund.failed", {"status": "failed", "failure_reason": "lost_or_stolen_card"}),
        ],
        now={"charges": {**CHARGE, **TAKEN}},
    ),
    "a payout that fails at last": Life(
        ["failed"],
        PAYOUT,
        [
            ("payout.created", {"status": "pending"}),
            ("payout.updated", {"status": "in_transit"}),
            ("payout.paid", {"status": "paid"}),
            ("payout.failed", {"status": "failed", "failure_code": "account_closed", "failure_message": "Closed."}),
        ],
        account="acct_1AdaLamps",
    ),
    "a payout that is called back": Life(
        ["canceled"],
        PAYOUT,
        [("payout.created", {"status": "pending"}), ("payout.canceled", {"status": "canceled"})],
        account="acct_1AdaLamps",
    ),
    "a transfer that comes back in parts": Life(
        ["reversed"],
        TRANSFER,
        [
            ("transfer.created", {"amount_reversed": 0, "reversed": False}),
            ("transfer.updated", {"amount_reversed": 0, "reversed": False}),
            ("transfer.reversed", {"amount_reversed": 100, "reversed": False}),
            ("transfer.reversed", {"amount_reversed": 300, "reversed": True}),
        ],
        (
            "stripe/create_transfer",
            {"amount": 300, "currency": "usd", "destination": "acct_1AdaLamps"},
            {"amount_reversed": 0, "reversed": False},
        ),
    ),
    "a page that is paid by debit": Life(
        ["complete"],
        SESSION,
        [
            ("checkout.session.completed", {}),
            ("checkout.session.async_payment_succeeded", {"payment_status": "paid"}),
        ],
    ),
    "a page on which nobody pays": Life(["expired"], SESSION, [("checkout.session.expired", {"status": "expired"})]),
    "an account that is connected, verified and leaves": Life(
        ["pending"],
        ACCOUNT,
        [
            ("account.application.authorized", {}),
            ("account.updated", {"charges_enabled": False}),
            ("account.updated", {}),
            ("account.application.deauthorized", {}),
        ],
        now={"accounts": {**ACCOUNT, "charges_enabled": False}},
        account="acct_1AdaLamps",
    ),
    "a customer that is gone": Life(
        [],
        CUSTOMER,
        [("customer.deleted", {})],
        ("stripe/create_customer", {"email": "ada@example.com", "external_id": "user-7"}, CARDS),
    ),
}


class Gateway:
    """A dispatcher that gives the call's own answer to a POST, or loses it, and what holds at the end to a GET."""

    def __init__(self, life: Life) -> None:
        self._life = life
        self.loses = False

    def send(self, request: Request, **_: Any) -> Answer | Failure:
        """As `engine.dispatcher.Sender` says."""
        if request.method == "POST" and self.loses:
            return Failure("read_timeout", sent=True, message="lost", seconds=0.0)
        if request.method == "POST" and self._life.refusal:
            return Answer(402, {"content-type": "application/json"}, json.dumps(self._life.refusal).encode(), 0.0)
        if request.method == "POST" and self._life.call:
            found: Mapping[str, Any] = {**self._life.object, **self._life.call[2]}
        else:
            found = next(found for part, found in self._life.now.items() if f"/{part}/" in request.url)
        return Answer(200, {"content-type": "application/json"}, json.dumps(found).encode(), 0.0)


def lived(life: Life, order: Sequence[int], *, late: bool = False) -> list[dict[str, Any]]:
    """The records after the events came in this order, by their numbers; the last number is the call.

    `late`: the call is made before all of them, and it is its answer that comes in that place.
    """
    clock = [NOW]
    store, gateway = MemoryStore(), Gateway(life)
    engine = Engine(
        store=store,
        files=FILES,
        environment=ENVIRONMENT,
        dispatcher=gateway,
        clock=Clock(lambda: clock[0], new_id, lambda _: None),
    )
    name, data, _ = life.call or ("", {}, {})
    if late:
        gateway.loses = True
        with pytest.raises(UnknownOutcome):
            engine.send(name, data, operation="a")
    for number in order:
        if number == len(life.events):
            gateway.loses = False
            answer(engine, name, data)
        else:
            row = deliver(engine, life, number, clock[0])
            assert row["state"] in {"processed", "failed"}, row["message"]
        clock[0] += timedelta(seconds=1)
    for _ in range(20):
        clock[0] += timedelta(days=1)
        engine.run_due()
    kinds = sorted(CATALOG.record_types)
    return [{**record.as_dict(), "id": "", "type": kind} for kind in kinds for record in store.find(kind)]


def answer(engine: Engine, name: str, data: Mapping[str, Any]) -> None:
    """Have the call answered: it is made now, or its answer was lost, and it is asked for again."""
    for call in engine.find("call", operation="a", state="unknown"):
        engine.recovery.come_back(call, "ada", "ask again")
        engine.run_due()
    with suppress(RejectedError):
        engine.send(name, data, operation="a")


def deliver(engine: Engine, life: Life, number: int, moment: datetime) -> Record:
    """Have the event of that number delivered."""
    type, changes = life.events[number]
    calls = engine.find("call", operation="a")
    made = {"metadata": {"callsheet_call": calls[0].id}} if calls else {}
    event: dict[str, Any] = {
        "id": f"evt_{number}",
        "type": type,
        "created": int(NOW.timestamp()) + number,
        "livemode": False,
        "data": {"object": {**life.object, **changes, **made}},
    }
    if life.account:
        event["account"] = life.account
    body = json.dumps(event).encode()
    secret = engine.settings.secret("STRIPE_WEBHOOK_SECRET")
    return engine.receive("stripe", sign(SHIPPED["stripe"], secret, body, moment.timestamp()), body)


def is_right(life: Life, records: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the records are those of the true order, and the one of the life's object ends as it must."""
    numbers = numbers_of(life)
    true_order = [*numbers[-1:], *numbers[:-1]] if life.call else numbers
    ends = [record["state"] for record in records if record["gateway_id"] == life.object["id"]]
    return list(records) == lived(life, true_order) and ends == life.ends


def numbers_of(life: Life) -> list[int]:
    """Those of its events, and that of its call."""
    return list(range(len(life.events) + bool(life.call)))


@pytest.mark.parametrize("name", LIVES)
def test_every_order_ends_the_same(name: str) -> None:
    """Each of them, with the answer in each place between: the records are the same (B50)."""
    life = LIVES[name]
    late = not life.ends  # nothing is deleted before it is asked for
    ends = [lived(life, order, late=late) for order in permutations(numbers_of(life))]
    assert is_right(life, ends[0])
    assert [number for number, records in enumerate(ends) if records != ends[0]] == []


@pytest.mark.parametrize("name", LIVES)
@settings(max_examples=25)
@given(st.data())
def test_doubled_and_late_they_end_the_same(name: str, data: st.DataObject) -> None:
    """However often they come, and though the call's first answer was lost."""
    life = LIVES[name]
    late = bool(life.call) and (not life.ends or data.draw(st.booleans()))
    order = data.draw(st.permutations(numbers_of(life)))
    for doubled in data.draw(st.lists(st.sampled_from(range(len(life.events))), max_size=3)):
        order.insert(data.draw(st.integers(0, len(order))), doubled)
    assert is_right(life, lived(life, order, late=late))


def test_every_processor_takes_part() -> None:
    """Each shipped processor stands in one of the lives."""
    events = {f"stripe/{type}" for life in LIVES.values() for type, _ in life.events}
    assert events == set(CATALOG.processors)
