"""Stripe's own library, pointed at the sandbox: it cannot tell the difference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import stripe
from hosts import Hours

from engine.bodies import FORM
from engine.catalog import shipped
from engine.context import Clock
from engine.core import Engine
from engine.errors import UnknownOutcome
from engine.reloading import Files
from engine.sandbox import Material, Sandbox
from engine.sandbox.events import Delivery
from engine.sandbox.serving import Served
from engine.seals import new_key
from engine.store.memory import MemoryStore

HOST = "http://127.0.0.1:9/callsheet/webhooks/stripe"


@dataclass
class Kept:
    """Keeps events in place of posting them."""

    events: list[Delivery] = field(default_factory=list)
    at_once: Callable[[Delivery], object] = lambda _: None

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """As Deliverer says."""
        self.events += deliveries

    def now(self, delivery: Delivery) -> None:
        """As Deliverer says."""
        self.at_once(delivery)


@dataclass
class Shop:
    """Stripe's client of a sandbox, and the events that it sent."""

    sandbox: Sandbox
    client: stripe.StripeClient
    kept: Kept

    @property
    def v1(self) -> stripe.V1Services:
        """The client's services."""
        return self.client.v1

    def heard(self) -> list[stripe.Event]:
        """The events, each verified by Stripe's own library."""
        secret = self.sandbox.secrets["STRIPE_WEBHOOK_SECRET"]
        return [
            stripe.Webhook.construct_event(one.body.decode(), one.headers["Stripe-Signature"], secret)
            for one in self.kept.events
            if one.url == HOST
        ]


@pytest.fixture(scope="module")
def kept() -> Kept:
    return Kept()


@pytest.fixture(scope="module")
def sandbox(kept: Kept) -> Sandbox:
    return Sandbox(Material.read(), hosts={"stripe": HOST}, deliverer=kept)


@pytest.fixture
def shop(sandbox: Sandbox, kept: Kept) -> Iterator[Shop]:
    kept.events.clear()
    with Served(sandbox) as served:
        client = stripe.StripeClient(
            sandbox.secrets["STRIPE_SECRET_KEY"],
            base_addresses={"api": f"{served.url}/stripe"},
            http_client=stripe.RequestsClient(),
            max_network_retries=0,
        )
        yield Shop(sandbox, client, kept)


def test_a_charge_is_made_read_captured_and_refunded(shop: Shop) -> None:
    """Each answer is what Stripe's library expects, and is remembered."""
    charge = shop.v1.charges.create({"amount": 700, "currency": "eur", "source": "tok_visa", "capture": False})
    assert (charge.amount, charge.captured, charge.amount_captured) == (700, False, 0)
    assert shop.v1.charges.retrieve(charge.id).to_dict() == charge.to_dict()
    captured = shop.v1.charges.capture(charge.id)
    assert (captured.amount, captured.captured, captured.amount_captured) == (700, True, 700)
    refund = shop.v1.refunds.create({"charge": charge.id, "amount": 200})
    assert (refund.charge, refund.amount, refund.currency) == (charge.id, 200, "eur")
    whole = shop.v1.refunds.create({"charge": charge.id, "expand": ["charge"]})
    assert isinstance(whole.charge, stripe.Charge)
    assert (whole.amount, whole.charge.amount_refunded, whole.charge.refunded) == (500, 700, True)
    names = ["charge.succeeded", "charge.captured", *["refund.created", "charge.refunded"] * 2]
    assert [event.type for event in shop.heard()] == names
    assert shop.heard()[-1].data.object["amount_refunded"] == 700


def test_what_breaks_a_rule_is_refused(shop: Shop) -> None:
    """In Stripe's own words, and as its own errors."""
    charge = shop.v1.charges.create({"amount": 700, "currency": "eur", "source": "tok_visa"})
    with pytest.raises(stripe.InvalidRequestError, match="already been captured"):
        shop.v1.charges.capture(charge.id)
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded amount") as refused:
        shop.v1.refunds.create({"charge": charge.id, "amount": 701})
    assert refused.value.param == "amount"
    with pytest.raises(stripe.InvalidRequestError, match="No such charge: 'ch_none'") as missing:
        shop.v1.charges.retrieve("ch_none")
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")
    with pytest.raises(stripe.InvalidRequestError, match="amount"):
        shop.v1.charges.create({"amount": 0, "currency": "eur", "source": "tok_visa"})
    assert shop.v1.charges.retrieve(charge.id).amount_refunded == 0


def test_a_declined_card(shop: Shop) -> None:
    """Is a CardError, and leaves a charge that failed."""
    with pytest.raises(stripe.CardError) as declined:
        shop.v1.charges.create({"amount": 700, "currency": "eur", "source": "tok_chargeDeclined"})
    assert (declined.value.code, declined.value.http_status) == ("card_declined", 402)
    assert [event.type for event in shop.heard()] == ["charge.failed"]


def test_a_list_is_read_page_by_page(shop: Shop) -> None:
    """By the library's own paging."""
    charge = shop.v1.charges.create({"amount": 700, "currency": "eur", "source": "tok_visa"})
    made = [shop.v1.refunds.create({"charge": charge.id, "amount": 10}).id for _ in range(7)]
    listed = shop.v1.refunds.list({"charge": charge.id, "limit": 3})
    assert (len(listed.data), listed.has_more) == (3, True)
    assert [one.id for one in listed.auto_paging_iter()] == made[::-1]


def test_a_key_is_good_for_one_request(shop: Shop) -> None:
    """Repeated it gets the same answer, and nothing is done again; with another body it is refused."""
    told: stripe.params.ChargeCreateParams = {"amount": 700, "currency": "eur", "source": "tok_visa"}
    first = shop.v1.charges.create(told, {"idempotency_key": "order-17"})
    again = shop.v1.charges.create(told, {"idempotency_key": "order-17"})
    assert again.id == first.id
    assert again.last_response is not None
    assert again.last_response.headers["Idempotent-Replayed"] == "true"
    assert len(shop.kept.events) == 1
    with pytest.raises(stripe.IdempotencyError):
        shop.v1.charges.create({**told, "amount": 701}, {"idempotency_key": "order-17"})


def test_another_key_is_refused(shop: Shop) -> None:
    """Before anything else is looked at."""
    with pytest.raises(stripe.AuthenticationError):
        shop.v1.charges.retrieve("ch_none", options={"api_key": "sk_test_another"})


def test_a_customer_keeps_cards(shop: Shop) -> None:
    """The first is the default; a list of them is answered where it is asked for; one goes, another takes its place."""
    customers = shop.v1.customers
    customer = customers.create({"email": "ada@example.com", "source": "tok_visa"})
    assert "sources" not in customer.to_dict()
    second = customers.payment_sources.create(customer.id, {"source": "tok_mastercard"})
    whole = customers.retrieve(customer.id, {"expand": ["sources"]})
    assert whole.sources is not None
    assert [one.to_dict()["last4"] for one in whole.sources.data] == ["4444", "4242"]
    charge = shop.v1.charges.create({"amount": 500, "currency": "usd", "customer": customer.id})
    assert charge.payment_method == customer.default_source
    customers.payment_sources.delete(customer.id, str(customer.default_source))
    assert customers.retrieve(customer.id).default_source == second.id
    with pytest.raises(stripe.CardError):
        customers.payment_sources.create(customer.id, {"source": "tok_chargeDeclined"})
    with pytest.raises(stripe.InvalidRequestError, match="No such customer: 'cus_none'"):
        customers.payment_sources.create("cus_none", {"source": "tok_visa"})
    kept = customers.payment_sources.create(customer.id, {"source": "tok_chargeCustomerFail"})
    with pytest.raises(stripe.CardError):
        shop.v1.charges.create({"amount": 500, "currency": "usd", "customer": customer.id, "source": kept.id})
    assert customers.update(customer.id, {"email": "lovelace@example.com"}).email == "lovelace@example.com"
    assert customers.delete(customer.id).deleted
    with pytest.raises(stripe.InvalidRequestError):
        customers.retrieve(customer.id)


def test_an_intent_is_paid_held_captured_and_canceled(shop: Shop) -> None:
    """Each with its charge, and only once."""
    intents = shop.v1.payment_intents
    begun = intents.create({"amount": 2000, "currency": "usd", "description": "Tea"})
    assert begun.status == "requires_payment_method"
    paid = intents.confirm(begun.id, {"payment_method": "pm_card_visa", "expand": ["latest_charge"]})
    assert isinstance(paid.latest_charge, stripe.Charge)
    assert (paid.status, paid.amount_received, paid.latest_charge.description) == ("succeeded", 2000, "Tea")
    with pytest.raises(stripe.InvalidRequestError, match="has a status of succeeded"):
        intents.confirm(begun.id)
    manual: stripe.params.PaymentIntentCreateParams = {
        "amount": 2000,
        "currency": "usd",
        "payment_method": "pm_card_visa",
        "confirm": True,
        "capture_method": "manual",
    }
    held = intents.create(manual)
    assert (held.status, held.amount_capturable) == ("requires_capture", 2000)
    taken = intents.capture(held.id, {"amount_to_capture": 1500, "expand": ["latest_charge"]})
    assert isinstance(taken.latest_charge, stripe.Charge)
    assert (taken.status, taken.amount_received, taken.latest_charge.amount_captured) == ("succeeded", 1500, 1500)
    other = intents.create(manual)
    released = intents.cancel(other.id, {"expand": ["latest_charge"]})
    assert isinstance(released.latest_charge, stripe.Charge)
    assert (released.status, released.latest_charge.refunded) == ("canceled", True)


def test_a_declined_intent_can_be_tried_again(shop: Shop) -> None:
    """The error holds the intent, and a failed charge is left behind."""
    told: stripe.params.PaymentIntentCreateParams = {
        "amount": 2000,
        "currency": "usd",
        "payment_method": "pm_card_chargeDeclinedInsufficientFunds",
        "confirm": True,
    }
    with pytest.raises(stripe.CardError) as declined:
        shop.v1.payment_intents.create(told)
    error = declined.value.error
    assert error is not None
    assert (error.decline_code, error.message) == ("insufficient_funds", "Your card has insufficient funds.")
    assert error.payment_intent is not None
    assert shop.v1.charges.retrieve(str(error.charge)).status == "failed"
    again = shop.v1.payment_intents.confirm(error.payment_intent.id, {"payment_method": "pm_card_visa"})
    assert (again.status, again.last_payment_error) == ("succeeded", None)


def browse(page: str, action: str | None = None) -> tuple[int, str, str]:
    """Status, text and Location of a hosted page, or of what a button on it does."""
    at = urlsplit(page)
    line = HTTPConnection(at.netloc, timeout=10)
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    line.request("POST" if action else "GET", at.path, f"action={action}" if action else None, headers)
    answer = line.getresponse()
    told = (answer.status, answer.read().decode(), answer.headers.get("Location", ""))
    line.close()
    return told


@pytest.mark.parametrize(
    ("action", "status", "result"), [("0", "succeeded", "succeeded"), ("1", "failed", "requires_payment_method")]
)
def test_consent_is_given_on_a_page(shop: Shop, action: str, status: str, result: str) -> None:
    """Or not; the payer comes back to the shop either way, and there is nothing left to do on the page."""
    intent = shop.v1.payment_intents.create(
        {
            "amount": 2000,
            "currency": "usd",
            "payment_method": "pm_card_authenticationRequired",
            "confirm": True,
            "return_url": "http://127.0.0.1:9/back?order=17",
        }
    )
    assert intent.status == "requires_action"
    page = intent.to_dict()["next_action"]["redirect_to_url"]["url"]
    assert "Yes, it is me" in browse(page)[1]
    back = f"http://127.0.0.1:9/back?order=17&payment_intent={intent.id}&redirect_status={status}"
    assert browse(page, action) == (303, "", back)
    assert shop.v1.payment_intents.retrieve(intent.id).status == result
    assert "There is nothing to do here any more." in browse(page)[1]
    assert browse(page.replace("pi_", "pi_none"))[0] == 404
    with pytest.raises(stripe.CardError) as alone:
        shop.v1.payment_intents.create(
            {
                "amount": 2000,
                "currency": "usd",
                "payment_method": "pm_card_authenticationRequired",
                "confirm": True,
                "off_session": True,
            }
        )
    assert alone.value.code == "authentication_required"


def test_a_checkout_page_takes_the_payment(shop: Shop) -> None:
    """All lines of it."""
    price: Any = {"currency": "usd", "unit_amount": 1200, "product_data": {"name": "Tea"}}
    session = shop.v1.checkout.sessions.create(
        {
            "mode": "payment",
            "line_items": [{"quantity": 2, "price_data": price}, {"quantity": 1, "price_data": price}],
            "success_url": "http://127.0.0.1:9/thanks?session={CHECKOUT_SESSION_ID}",
        }
    )
    assert (session.amount_total, session.payment_status) == (3600, "unpaid")
    assert browse(str(session.url), "0")[2] == f"http://127.0.0.1:9/thanks?session={session.id}"
    (event,) = [event for event in shop.heard() if event.type == "checkout.session.completed"]
    done = event.data.object
    assert (done["status"], done["payment_status"]) == ("complete", "paid")
    assert shop.v1.payment_intents.retrieve(done["payment_intent"]).amount_received == 3600


def test_an_account_is_opened_completed_and_paid(shop: Shop) -> None:
    """What is missing is asked for on a page; its events go to the other endpoint."""
    account = shop.v1.accounts.create({"type": "express", "country": "US", "email": "bob@example.com"})
    assert not account.charges_enabled
    link = shop.v1.account_links.create(
        {
            "account": account.id,
            "type": "account_onboarding",
            "refresh_url": "http://127.0.0.1:9/again",
            "return_url": "http://127.0.0.1:9/done",
        }
    )
    assert browse(link.url, "0")[2] == "http://127.0.0.1:9/done"
    done = shop.v1.accounts.retrieve(account.id)
    assert (done.charges_enabled, done.payouts_enabled, done.details_submitted) == (True, True, True)
    assert {event.url.removeprefix(HOST) for event in shop.kept.events if b"account.updated" in event.body} == {
        "/connect"
    }
    transfer = shop.v1.transfers.create({"amount": 300, "currency": "usd", "destination": account.id})
    assert (transfer.amount, transfer.destination) == (300, account.id)
    with pytest.raises(stripe.InvalidRequestError, match="No such destination"):
        shop.v1.transfers.create({"amount": 300, "currency": "usd", "destination": "acct_none"})
    assert shop.v1.accounts.delete(account.id).deleted
    with pytest.raises(stripe.PermissionError):
        shop.v1.accounts.retrieve(account.id)


def test_no_more_can_be_sent_than_the_balance_holds(shop: Shop) -> None:
    """In each currency: what was captured adds to it; what was given back, transferred or paid out is gone."""
    account = shop.v1.accounts.create({"type": "express", "country": "US"}).id

    def transfer(amount: int, currency: str = "chf") -> None:
        shop.v1.transfers.create({"amount": amount, "currency": currency, "destination": account})

    charge = shop.v1.charges.create({"amount": 700, "currency": "chf", "source": "tok_visa"})
    shop.v1.charges.create({"amount": 9000, "currency": "chf", "source": "tok_visa", "capture": False})
    with pytest.raises(stripe.InvalidRequestError, match="insufficient available funds") as refused:
        transfer(1_000_701)
    assert (refused.value.code, refused.value.http_status) == ("balance_insufficient", 400)
    transfer(1_000_000)
    with pytest.raises(stripe.InvalidRequestError, match="insufficient funds"):
        shop.v1.payouts.create({"amount": 701, "currency": "chf"})
    shop.v1.payouts.create({"amount": 100, "currency": "chf"})
    shop.v1.refunds.create({"charge": charge.id, "amount": 400})
    with pytest.raises(stripe.InvalidRequestError, match="insufficient available funds"):
        transfer(201)
    transfer(200)
    transfer(1_000_000, "nzd")
    assert [one.amount for one in shop.v1.transfers.list({"destination": account})] == [1_000_000, 200, 1_000_000]


def test_a_registered_endpoint_hears_with_its_own_secret(shop: Shop) -> None:
    """Which is told once, and of the events that it asked for; it takes the place of the host's own address."""
    made = shop.v1.webhook_endpoints.create({"url": HOST, "enabled_events": ["charge.succeeded"]})
    try:
        assert "secret" not in shop.v1.webhook_endpoints.retrieve(made.id).to_dict()
        charge = shop.v1.charges.create({"amount": 500, "currency": "usd", "source": "tok_visa"})
        shop.v1.refunds.create({"charge": charge.id})
        (sent,) = shop.kept.events
        event = stripe.Webhook.construct_event(sent.body.decode(), sent.headers["Stripe-Signature"], str(made.secret))
        assert (event.type, event.data.object["id"]) == ("charge.succeeded", charge.id)
    finally:
        shop.v1.webhook_endpoints.delete(made.id)


def test_what_broke_after_it_was_done_is_found(sandbox: Sandbox) -> None:
    """Stripe keeps the error for the key, so asking again does not help; looking for it by our reference does."""
    hours, store = Hours(datetime.now(UTC)), MemoryStore()
    box = Sandbox(Material.read(), gateways=["stripe"], now=lambda: hours.now, deliverer=Kept())
    environment = {**box.secrets, "CALLSHEET_ENCRYPTION_KEY": new_key()}
    clock = Clock(now=lambda: hours.now, sleep=lambda _: None)
    files = Files(None, {}, reload=False)
    engine = Engine(store=store, dispatcher=box, environment=environment, clock=clock, files=files)
    with pytest.raises(UnknownOutcome):
        engine.send("stripe/create_payment", {"amount": 500, "currency": "usd", "source": "tok_brokenAfter"})
    hours.pass_by(13 * 3600)
    engine.run_due()
    assert [call["state"] for call in engine.find("call")] == ["succeeded"]
    assert [payment["state"] for payment in engine.find("payment")] == ["paid"]


def test_a_hosts_own_case_answers(tmp_path: Path) -> None:
    """In the place of the shipped one of its name."""
    name = "tests/cases/request_types/stripe/create_payment/paid.yml"
    told = (shipped() / name).read_text("utf-8").replace("TEA SHOP", "LAMP SHOP")
    (tmp_path / name).parent.mkdir(parents=True)
    (tmp_path / name).write_text(told, "utf-8")
    box = Sandbox(Material.read(tmp_path), gateways=["stripe"])
    headers = {"authorization": f"Bearer {box.secrets['STRIPE_SECRET_KEY']}", "content-type": FORM}
    answered = box.answer("POST", "/stripe/v1/charges", headers, b"amount=5&currency=usd&source=tok_visa")
    assert (answered.status, answered.body["calculated_statement_descriptor"]) == (200, "LAMP SHOP")


def test_an_event_may_come_before_the_answer() -> None:
    """The record is there once, with what only the caller knows."""
    kept = Kept()
    box = Sandbox(Material.read(), gateways=["stripe"], hosts={"stripe": HOST}, deliverer=kept)
    environment = {**box.secrets, "CALLSHEET_ENCRYPTION_KEY": new_key()}
    engine = Engine(store=MemoryStore(), dispatcher=box, environment=environment, files=Files(None, {}, reload=False))
    kept.at_once = lambda one: engine.receive("stripe", one.headers, one.body)
    data = {"amount": 500, "currency": "usd", "source": "tok_eventFirst", "external_id": "order-17"}
    engine.send("stripe/create_payment", data)
    assert [event["state"] for event in engine.find("event")] == ["processed"]
    assert [(one["state"], one["external_id"]) for one in engine.find("payment")] == [("paid", "order-17")]
