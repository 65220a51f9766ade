"""`callsheet demo`: the main job from end to end, told step by step, on this machine alone.

Hides: that host and gateway are two servers of this process, in a folder that is gone afterwards.
"""

from __future__ import annotations

import json
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli import requests, stories, tables
from engine.cli.opening import Opening
from engine.cli.running import served_app
from engine.cli.sandbox import Standing, sandboxed

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.records import Record

PATIENCE = 10.0  # seconds for what a step leaves to do
KEPT = ("customer", "credit_card", "payment", "refund", "account", "transfer")


@click.command(short_help="Run the main job end to end, on this machine.")
@click.option("--exit", "leave", is_flag=True, help="Return when done; so it does without a terminal.")
def demo(leave: bool) -> None:
    """Run the main job end to end: a sandbox stands in for Stripe, a host sends to it and hears its events."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="callsheet-demo-") as folder:
        here = Opening(Path(folder))
        with sandboxed(here.root, 0) as standing:
            from engine.sandbox.serving import Served

            app = served_app(here, reload=False)
            with Served(app) as host:
                standing.tell(host.url)
                click.echo(
                    f"A sandbox stands in for Stripe at {standing.box.origin}: no key is needed, no money moves."
                )
                click.echo(f"A host in {folder} sends to it, and hears its events at {host.url}.")
                story = _Story(app.extensions["callsheet"], standing)
                story.told()
                click.echo(f"\n{click.style('What is kept', bold=True)}\n{story.summary()}")
                calls = len(story.engine.find("call"))
                click.echo(f"\n{calls} calls and {len(story.heard)} events in {time.monotonic() - started:.1f} s.")
                if not leave and sys.stdin.isatty() and sys.stdout.isatty():
                    _stay(here.root, host.url, standing)


@dataclass
class _Story:
    """The steps, numbered as they are told, and what was heard so far."""

    engine: Engine
    standing: Standing
    number: int = 0
    heard: set[str] = field(default_factory=set)

    def told(self) -> None:
        """All of it."""
        customer = self._send(
            "A customer comes with a card",
            "create_customer",
            {"email": "ada@example.com", "name": "Ada Lovelace", "source": "tok_visa", "external_id": "user-7"},
        )
        ada = customer["id"]
        self._send(
            "She pays 5.00 USD with it",
            "create_payment",
            {"amount": 500, "currency": "usd", "customer": ada, "external_id": "order-17"},
        )
        held = self._send(
            "Her next order is charged when it leaves: 25.00 USD are only held",
            "create_payment",
            {"amount": 2500, "currency": "usd", "customer": ada, "capture": False, "external_id": "order-18"},
        )
        self._send("The parcel leaves: the amount is taken", "capture_payment", {"gateway_id": held["id"]})
        self._send("One lamp is broken: 5.00 USD go back", "create_refund", {"charge": held["id"], "amount": 500})
        self._send("She adds a second card", "create_credit_card", {"customer_id": ada, "source": "tok_mastercard"})
        self._send(
            "A card without funds is declined",
            "create_payment",
            {"amount": 900, "currency": "usd", "source": "tok_chargeDeclinedInsufficientFunds"},
        )
        seller = self._send(
            "A seller opens an account with the shop",
            "create_account",
            {"email": "bob@example.com", "country": "US", "requested_capabilities": ["transfers"]},
        )
        link = self._send(
            "The seller is sent to a page of Stripe's that asks for the rest",
            "create_account_link",
            {
                "account_id": seller["id"],
                "refresh_url": f"{self.standing.box.origin}/",
                "return_url": f"{self.standing.box.origin}/",
            },
        )
        self._fill_in(str(link["url"]))
        self._send(
            "The seller's share of the order is transferred",
            "create_transfer",
            {"destination": seller["id"], "amount": 1800, "currency": "usd", "transfer_group": "order-18"},
        )

    def _send(self, title: str, name: str, data: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a call and tell it; what the gateway answered."""
        from engine.errors import RejectedError
        from engine.stories import changed

        try:
            result = self.engine.send(f"stripe/{name}", data)
            call, response, records = result.call, result.response, result.records
        except RejectedError as error:
            call, response = error.call, error.response
            records = changed(self.engine, call) if call else []
        assert call is not None  # noqa: S101 - the story reads nothing by itself
        self._step(
            title,
            [
                ("you call", f"engine.send('stripe/{name}', {json.dumps(data)})"),
                ("sent", _request(call)),
                ("answered", stories.answer_of(call, brief=True)),
                ("kept", stories.records(self.engine, records)),
            ],
        )
        said: Mapping[str, Any] = response
        return said

    def _fill_in(self, page: str) -> None:
        """Press the first button of a hosted page, as a person would."""
        from http.client import HTTPConnection
        from urllib.parse import urlsplit

        at = urlsplit(page)
        line = HTTPConnection(at.netloc, timeout=PATIENCE)
        line.request("POST", at.path, "action=0", {"Content-Type": "application/x-www-form-urlencoded"})
        leads_to = line.getresponse().headers["Location"]
        line.close()
        self._step("There the seller fills in what is missing", [("pressed", page), ("leads to", leads_to)])

    def _step(self, title: str, facts: list[tuple[str, str]]) -> None:
        self.number += 1
        click.echo(f"\n{click.style(f'{self.number}. {title}', bold=True)}")
        click.echo(tables.facts([*facts, *self._events()], indent="   "))

    def _events(self) -> list[tuple[str, str]]:
        """What the host heard meanwhile, and what it did about it."""
        from engine.stories import changed

        self._wait()
        new = [event for event in self.engine.find("event", order="id") if event.id not in self.heard]
        self.heard |= {event.id for event in new}
        told = [f"{event['event_type']}  {tables.state(event['state'])}" for event in new]
        asked = [call for event in new for call in self.engine.find("call", parent=event.id)]
        kept = [record for call in asked for record in changed(self.engine, call)]
        sent = [f"{call['request_type']}  {tables.state(call['state'])}" for call in asked]
        return [("heard", "\n".join(told)), ("so sent", "\n".join(sent)), ("kept", stories.records(self.engine, kept))]

    def _wait(self) -> None:
        """Until every event of the sandbox is there, and all that came of it is done."""
        self.standing.poster.drain(PATIENCE)
        until = time.monotonic() + PATIENCE
        while self._is_open() and time.monotonic() < until:
            self.engine.run_due()
            time.sleep(0.005)

    def _is_open(self) -> bool:
        # Events first: once one is processed, the call that it asks for is there.
        events = self.engine.find("event", state="received", limit=1)
        return bool(events or self.engine.find("call", state=["prepared", "sending"], limit=1))

    def summary(self) -> str:
        """Every record."""
        rows = []
        for type in KEPT:
            for record in self.engine.find(type, order="id"):
                said = {name: value for name, value in record.properties.items() if name in _TOLD and value is not None}
                words = " ".join(f"{name}={tables.text(value)}" for name, value in said.items())
                rows.append([type, record.get("state") or "", words])
        return tables.table(["record", "state", "says"], rows)


_TOLD = """
email brand last4 amount_cents amount_captured_cents amount_refunded_cents currency external_id failure_message
charges_enabled
""".split()


def _request(call: Record) -> str:
    from engine.calls import visible

    request = visible(call["request"])
    headers = {name.lower(): value for name, value in request.headers}
    return f"{requests.path(request)}\n{requests.body(request.body, headers.get('content-type', ''))}".rstrip()


def _stay(root: Path, url: str, standing: Standing) -> None:
    """Leave the host running until Ctrl-C."""
    command = f"callsheet --root {root}"
    (root / ".env").write_text("".join(f"{name}={value}\n" for name, value in standing.environment.items()), "utf-8")
    click.echo(f"""
The host runs at {url}, the sandbox at {standing.box.origin}, until Ctrl-C. To click through:
   {url}/callsheet/shop/      an example shop
   {url}/callsheet/console/   what happened
From another terminal:
   {command} records payment
   {command} calls
   {command} send stripe/create_payment amount=700 currency=usd source=tok_visa
Then begin your own: callsheet init shop""")
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        click.echo("\nstopped")
