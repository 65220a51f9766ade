"""Stripe's own library, pointed at the sandbox: it cannot tell the difference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import stripe

from engine.sandbox import Material, Sandbox
from engine.sandbox.events import Delivery
from engine.sandbox.serving import Served

HOST = "http://127.0.0.1:9/callsheet/webhooks/stripe"


@dataclass
class Kept:
    """Keeps events in place of posting them."""

    events: list[Delivery] = field(default_factory=list)

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        """As Deliverer says."""
        self.events += deliveries

    def now(self, delivery: Delivery) -> None:
        """As Deliverer says."""
        self.events.append(delivery)


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
def sandbox() -> Sandbox:
    return Sandbox(Material.read(), hosts={"stripe": HOST}, deliverer=Kept())


@pytest.fixture
def shop(sandbox: Sandbox) -> Iterator[Shop]:
    kept = Kept()
    sandbox.deliverer.events = kept.events  # type: ignore[attr-defined]  # a Kept
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
