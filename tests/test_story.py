"""The main job on a real server that somebody else wrote: a customer, a charge, a capture, a refund, a card."""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from engine import Engine, RejectedError, TransportError
from engine.catalog import shipped
from engine.dispatcher import Dispatcher
from engine.records import Record
from engine.store.sql import SqlStore

KEY = "sk_test_4eC39HqLyjWDarjtT1zdp7dc"

# The server's own command listens on every address and reads a file of an earlier run; its application does neither.
SERVER = """
import pathlib, socket, sys
from aiohttp import web
from localstripe import resources
from localstripe.server import app
resources.store.dump_to_disk = lambda: None
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
web.run_app(app, sock=listener, print=None, access_log=None)
"""


@pytest.fixture(scope="module")
def stripe_url() -> Iterator[str]:
    """The base_url of a running localstripe."""
    process = subprocess.Popen([sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/v1"
    finally:
        process.terminate()
        process.communicate(timeout=30)


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    """What really sends; its connections are closed afterwards."""
    with contextlib.closing(Dispatcher()) as found:
        yield found


def card_token(url: str, number: str = "4242424242424242") -> str:
    """A token as the browser would make it; card numbers never come near the engine."""
    card = {"card[number]": number, "card[exp_month]": "8", "card[exp_year]": "2030", "card[cvc]": "123"}
    request = urllib.request.Request(
        f"{url}/tokens", urlencode(card).encode(), {"Authorization": f"Bearer {KEY}"}, method="POST"
    )
    with urllib.request.urlopen(request) as answer:
        return str(json.load(answer)["id"])


def write_own_card_files(root: Path) -> None:
    """Files of the host's own in place of two shipped ones, for this server differs from Stripe in two places.

    It knows no metadata of cards, and answers with the customer where a card was removed.
    """
    folder = root / "request_types" / "stripe"
    folder.mkdir(parents=True)
    changes = (("create", r"(?m)^  metadata: .*$", ""), ("delete", r"pattern: .*}", 'pattern: "^cus_"}'))
    for verb, pattern, replacement in changes:
        name = f"{verb}_credit_card.yml"
        text = (shipped() / "request_types" / "stripe" / name).read_text()
        (folder / name).write_text(re.sub(pattern, replacement, text, count=1))


def shown(record: Record, *names: str) -> dict[str, Any]:
    """Some of a record's properties."""
    return {name: record[name] for name in names}


def test_the_main_job(
    stripe_url: str, dispatcher: Dispatcher, store_url: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A customer pays with a kept card, the amount is held, captured and given back, a card comes and goes."""
    settings = {"STRIPE_SECRET_KEY": KEY}
    store, reader = SqlStore(store_url), SqlStore(store_url)
    request.addfinalizer(store.close)
    request.addfinalizer(reader.close)
    write_own_card_files(tmp_path)
    engine = Engine(
        tmp_path, store=store, base_urls={"stripe": stripe_url}, environment=settings, dispatcher=dispatcher
    )

    customer = engine.send(
        "stripe/create_customer",
        {
            "email": "ada+tea@example.com",
            "name": 'Ada "Countess" Lovelace & Co',
            "source": card_token(stripe_url),
            "external_id": "user-7",
            "metadata": {"note&amount": "a=b+c"},
        },
        operation="user-7-signup",
    )
    who, card = customer.response["id"], customer.response["default_source"]
    assert customer.response["metadata"]["note&amount"] == "a=b+c"

    held = engine.send(
        "stripe/create_payment",
        {
            "amount": 1500,
            "currency": "usd",
            "customer": who,
            "source": card,
            "capture": False,
            "description": 'Tea, "green"\\n& mild',
            "external_id": "order-17",
        },
        operation="order-17",
    )
    charge = held.response["id"]
    assert held.records[0]["state"] == "authorized"

    again = engine.send(
        "stripe/create_payment",
        {
            "amount": 1500,
            "currency": "usd",
            "customer": who,
            "source": card,
            "capture": False,
            "description": 'Tea, "green"\\n& mild',
            "external_id": "order-17",
        },
        operation="order-17",
    )
    assert again.response["id"] == charge

    captured = engine.send("stripe/capture_payment", {"gateway_id": charge})
    assert captured.records[0]["state"] == "paid"

    part = engine.send("stripe/create_refund", {"charge": charge, "amount": 500})
    assert part.response["amount"] == 500
    assert engine.find("payment", gateway_id=charge)[0]["state"] == "partially_refunded"
    rest = engine.send("stripe/create_refund", {"charge": charge, "amount": 1000})

    second = engine.send("stripe/create_credit_card", {"customer_id": who, "source": card_token(stripe_url)})
    new_card = second.response["id"]
    assert engine.find("credit_card", gateway_id=new_card)
    engine.send("stripe/delete_credit_card", {"customer_id": who, "gateway_id": new_card})

    read = Engine(tmp_path, store=reader, base_urls={"stripe": stripe_url}, environment=settings)
    (payment,) = read.find("payment")
    assert shown(payment, "gateway_id", "external_id", "amount_cents", "currency", "description", "state") == {
        "gateway_id": charge,
        "external_id": "order-17",
        "amount_cents": 1500,
        "currency": "usd",
        "description": 'Tea, "green"\\n& mild',
        "state": "refunded",
    }
    assert [(one["gateway_id"], one["amount_cents"], one["state"]) for one in read.find("refund", order="id")] == [
        (part.response["id"], 500, "succeeded"),
        (rest.response["id"], 1000, "succeeded"),
    ]
    (kept,) = read.find("customer")
    assert shown(kept, "gateway_id", "email", "name", "external_id") == {
        "gateway_id": who,
        "email": "ada+tea@example.com",
        "name": 'Ada "Countess" Lovelace & Co',
        "external_id": "user-7",
    }
    assert [(one["gateway_id"], one["last4"]) for one in read.find("credit_card")] == [(card, "4242")]
    states = [call["state"] for call in read.find("call")]
    assert len(states) == 7
    assert set(states) == {"succeeded"}


def test_a_refusal_and_a_gateway_that_is_away(stripe_url: str, dispatcher: Dispatcher, tmp_path: Path) -> None:
    """The server's refusal is told in its words; a gateway that is away is told as not carried out; nothing is kept."""
    settings = {"STRIPE_SECRET_KEY": KEY, "CALLSHEET_STORE": "memory:"}
    engine = Engine(tmp_path, base_urls={"stripe": stripe_url}, environment=settings, dispatcher=dispatcher)
    with pytest.raises(RejectedError) as raised:
        engine.send("stripe/create_payment", {"amount": 5, "currency": "usd", "customer": "cus_nobody"})
    assert raised.value.status == 404
    away = Engine(tmp_path, base_urls={"stripe": "http://127.0.0.1:9/v1"}, environment=settings, dispatcher=dispatcher)
    with pytest.raises(TransportError, match="was not carried out"):
        away.send("stripe/get_customer", {"gateway_id": "cus_1"})
    assert engine.find("payment") == []


def test_a_declined_card(stripe_url: str, dispatcher: Dispatcher, tmp_path: Path) -> None:
    """A card that is declined leaves a failed payment with the gateway's reason."""
    settings = {"STRIPE_SECRET_KEY": KEY, "CALLSHEET_STORE": "memory:"}
    engine = Engine(tmp_path, base_urls={"stripe": stripe_url}, environment=settings, dispatcher=dispatcher)
    token = card_token(stripe_url, "4000000000000341")  # can be kept, cannot be charged
    who = engine.send("stripe/create_customer", {"source": token}).response["id"]
    with pytest.raises(RejectedError, match="Your card was declined"):
        engine.send("stripe/create_payment", {"amount": 5, "currency": "usd", "customer": who})
    (payment,) = engine.find("payment")
    assert shown(payment, "state", "failure_code", "failure_message") == {
        "state": "failed",
        "failure_code": "card_declined",
        "failure_message": "Your card was declined.",
    }
