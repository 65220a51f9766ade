"""A host with a console: a gateway that answers by the amount, a sandbox for Stripe, two people."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from hosts import SECRETS, SHOP, ok, refusal, write
from html_pages import Page
from werkzeug.security import generate_password_hash
from werkzeug.test import TestResponse

from engine.calls import CALL
from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Answer, Failure
from engine.errors import CallError
from engine.inbox import EVENT
from engine.records import Change, Record
from engine.request_types import Request
from engine.sandbox import Material, Sandbox
from engine.seals import new_key
from engine.signatures import scheme_of, sign
from engine.store import Store
from engine.store.memory import MemoryStore
from engine.web import Callsheet
from engine.web.console.accounts import SETTING

PASSWORD = "correct horse battery"
DECLINED, LOST, STRANGE = 13, 14, 15  # amounts, and what the shop's gateway answers to them

LOOK_UP = """\
summary: Look for the payment that a call made.
method: GET
url: /payments
query: {call: "{{ data.call_id }}"}
found: "{{ response.items[0] }}"
data: {required: [call_id], properties: {call_id: {type: string}}}
"""
FILES = {
    **SHOP,
    "request_types/shop/pay.yml": SHOP["request_types/shop/pay.yml"] + "lookup: shop/find\n",
    "request_types/shop/find.yml": LOOK_UP,
    "webhook_processors/shop/payment.noted.json.j2": """\
{"upsert": "sale", "where": {"gateway_id": {{ event.payment }}}, "set": {"amount": {{ event.amount }}, "state": "paid"}}
""",
}


@cache
def users() -> str:
    """The setting with ann, who operates, and bob, who reads; their hashes are cheap to check."""
    people = {"ann": "operate", "bob": "read"}
    hashes = {name: generate_password_hash(PASSWORD, "pbkdf2:sha256:1000") for name in people}
    return ",".join(f"{name}:{role}:{hashes[name]}" for name, role in people.items())


@cache
def _material() -> Material:
    return Material.read()


class Bank:
    """The shop's gateway, and Stripe."""

    def __init__(self) -> None:
        self.stripe = Sandbox(_material(), gateways=["stripe"])
        self.numbers = itertools.count(1)
        self.sent: list[Request] = []
        self.answers: dict[int, Answer | Failure | None] = {
            LOST: Failure("read_timeout", sent=True, message="no answer within 30 s", seconds=0.2)
        }

    def send(
        self, request: Request, *, credentials: Mapping[str, str], deadline: float, answer_limit: int | None = None
    ) -> Answer | Failure:
        self.sent.append(request)
        if "shop.test" not in request.url:
            return self.stripe.send(request, credentials=credentials, deadline=deadline)
        amount = json.loads(request.body)["amount"] if request.body else 0
        id = f"p{next(self.numbers)}"
        told: dict[int, Answer | Failure | None] = {
            0: ok({"items": [{"id": id, "amount": 5}]}),
            DECLINED: refusal("Your card has no funds.", payment=id),
            STRANGE: ok({"id": id, "amount": f"{amount}.00 EUR", "note": "<script>alert(1)</script>"}),
            **self.answers,
        }
        return told.get(amount) or ok({"id": id, "amount": amount}, x_request=f"req_{id}")


def _noted(number: int) -> dict[str, Any]:
    return {"id": f"evt_{number}", "type": "payment.noted", "payment": f"n{number}", "amount": number}


class ConsoleHost:
    """The host, and a client that may sign in."""

    def __init__(
        self, root: Path, *, store: Store | None = None, worker: bool = False, reload: bool = False, **environment: str
    ) -> None:
        self.root, self.bank = write(root, FILES), Bank()
        secrets = {
            **SECRETS,
            "STRIPE_SECRET_KEY": self.bank.stripe.secrets["STRIPE_SECRET_KEY"],
            "CALLSHEET_SECRET_KEY": new_key(),
            SETTING: users(),
            **environment,
        }
        clock = Clock(sleep=lambda _: None)
        self.engine = Engine(
            root, store=store or MemoryStore(), environment=secrets, dispatcher=self.bank, clock=clock, reload=reload
        )
        self.app = Flask("shop", root_path=str(root))
        self.app.testing = True
        self.callsheet = Callsheet(self.app, engine=self.engine, worker=worker)
        self.client = self.app.test_client()

    def sign_in(self, name: str = "ann", client: FlaskClient | None = None) -> None:
        """Let the client in."""
        fields = {"name": name, "password": PASSWORD}
        answer = (client or self.client).post("/callsheet/console/sign-in", data=fields)
        assert answer.status_code == 303, answer.text

    def get(self, path: str, **query: str) -> Page:
        """A page of the console."""
        answer = self.client.get(f"/callsheet/console{path}", query_string=query)
        assert answer.status_code == 200, (answer.status_code, answer.text[-1500:])
        return Page(answer.text)

    def post(self, path: str, **fields: str) -> TestResponse:
        """What a form of the console posts."""
        return self.client.post(f"/callsheet/console{path}", data={"csrf": self.csrf(), **fields})

    def csrf(self) -> str:
        """The token of this client's session."""
        return Page(self.client.get("/callsheet/console/replays").text).input("csrf")["value"]

    def pay(self, amount: int, **data: Any) -> Record:
        """The call of one payment, however it ended."""
        with contextlib.suppress(CallError):
            self.engine.send("shop/pay", {"amount": amount, **data})
        return self.engine.find("call", limit=1)[0]

    def receive(self, number: int, type: str = "payment.noted", **more: Any) -> Record:
        """An event of the shop's gateway."""
        body = json.dumps({**_noted(number), "type": type, **more}).encode()
        return self.engine.receive("shop", sign(scheme_of("stripe"), SECRETS["SHOP_HOOK"], body, time.time()), body)

    def rewrite(self, call: Record, **properties: Any) -> None:
        """Have a call's row be as nothing in a test would make it."""
        self.engine.store.apply([Change("update", CALL, call.scope, {"id": call.id}, properties)])

    def keep_events(self, number: int) -> None:
        """Have as many events in the inbox, which were processed long ago."""
        one = self.receive(0)
        rows = [
            {**one.properties, "key": f"k{place}", "event_id": f"e{place}", "body": json.dumps(_noted(place))}
            for place in range(1, number)
        ]
        self.engine.store.apply([Change("insert", EVENT, one.scope, {}, row) for row in rows])

    def call(self, id: str) -> Record:
        """A call as it is now."""
        return self.engine.find("call", id=id)[0]
