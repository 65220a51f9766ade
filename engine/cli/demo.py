"""`callsheet demo`: the main job from end to end, offline, told step by step.

Hides: that the gateway's answers are those of the shipped cases, and that the folder it works in is a temporary one.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli import requests, stories, tables

if TYPE_CHECKING:
    from engine.cases import Case
    from engine.core import Engine
    from engine.records import Record

STORY = (
    ("A customer comes with a card", "request_types/stripe/create_customer/with_card"),
    ("Her order is charged: the amount is only held", "request_types/stripe/create_payment/authorized"),
    ("The parcel leaves: the amount is taken", "request_types/stripe/capture_payment/captured"),
    ("One lamp is broken: a part is given back", "request_types/stripe/create_refund/in_part_after_the_capture"),
    ("She adds a second card", "request_types/stripe/create_credit_card/added"),
    ("And removes it again", "request_types/stripe/delete_credit_card/removed"),
    ("A seller opens an account with the shop", "request_types/stripe/create_account/custom"),
    ("Stripe sends an event: the seller's account changed", "webhook_processors/stripe/account.updated/asks"),
)
FOLLOWS = ("request_types/stripe/get_account/verified",)
KEPT = ("customer", "credit_card", "payment", "refund", "account", "call", "event")


@click.command(short_help="Run the main job end to end, offline.")
@click.option("--exit", "leave", is_flag=True, help="Return when done; so it does without a terminal.")
def demo(leave: bool) -> None:
    """Run the main job end to end, offline: what is sent, answered and kept, on SQLite in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="callsheet-demo-") as folder:
        root = Path(folder)
        (root / "request_types").mkdir()
        engine = _engine(root)
        click.echo("The gateway's answers are bundled: nothing leaves this machine, no key is needed.")
        for number, (title, name) in enumerate(STORY, 1):
            click.echo(f"\n{click.style(f'{number}. {title}', bold=True)}")
            click.echo(_step(engine, _case(name)))
        click.echo(f"\n{click.style('What is kept', bold=True)}")
        click.echo(_summary(engine))
        if not leave and sys.stdin.isatty() and sys.stdout.isatty():
            _wait(root)


def _engine(root: Path) -> Engine:
    from engine.bundled import CaseAnswers
    from engine.cases import CaseRunner
    from engine.core import Engine

    answers = CaseAnswers([_case(name) for name in (*(name for _, name in STORY), *FOLLOWS)])
    return Engine(root, dispatcher=answers, environment=CaseRunner(root).environment(["stripe"]))


def _case(name: str) -> Case:
    from engine.cases import read_case
    from engine.catalog import shipped

    return read_case(shipped() / "tests" / "cases" / f"{name}.yml")


def _step(engine: Engine, case: Case) -> str:
    return _received(engine, case) if case.kind == "webhook_processors" else _sent(engine, case)


def _sent(engine: Engine, case: Case) -> str:
    result = engine.send(case.subject, case.told["data"])
    assert result.call is not None  # noqa: S101 - the story reads nothing by itself
    return tables.facts(
        [
            ("you call", f"engine.send({case.subject!r}, {json.dumps(case.told['data'])})"),
            ("sent", _request(result.call)),
            ("answered", stories.answer_of(result.call, brief=True)),
            ("kept", stories.records(engine, result.records)),
        ],
        indent="   ",
    )


def _request(call: Record) -> str:
    from engine.calls import visible

    request = visible(call["request"])
    headers = {name.lower(): value for name, value in request.headers}
    return f"{requests.path(request)}\n{requests.body(request.body, headers.get('content-type', ''))}".rstrip()


def _received(engine: Engine, case: Case) -> str:
    from engine.signatures import scheme_of, sign
    from engine.stories import changed

    gateway, endpoint = case.gateway, case.told.get("endpoint", "")
    webhook: Any = engine.catalog.gateway(gateway).webhook
    secret = engine.settings.secret((webhook["endpoints"][endpoint] if endpoint else webhook)["secrets"][0])
    body = json.dumps(case.told["event"]).encode()
    scheme = scheme_of(webhook["scheme"])
    event = engine.receive(gateway, sign(scheme, secret, body, engine.clock.now().timestamp()), body, endpoint=endpoint)
    engine.run_due()
    followed = engine.find("call", parent=event.id)
    return tables.facts(
        [
            ("posted to", f"/callsheet/webhooks/{gateway}/{endpoint}".rstrip("/")),
            ("verified", f"{scheme.header}, over the raw {len(body)} bytes"),
            ("event", f"{event['event_type']}  {tables.state(event['state'])}"),
            ("then sent", "\n".join(_request(call) for call in followed)),
            ("answered", "\n".join(stories.answer_of(call, brief=True) for call in followed)),
            ("kept", stories.records(engine, [one for call in followed for one in changed(engine, call)])),
        ],
        indent="   ",
    )


def _summary(engine: Engine) -> str:
    rows = []
    for type in KEPT:
        for record in engine.find(type, order="id"):
            state = record.get("state")
            said = {name: value for name, value in record.properties.items() if name in _TOLD and value is not None}
            rows.append([type, state or "", " ".join(f"{name}={tables.text(value)}" for name, value in said.items())])
    return tables.table(["record", "state", "says"], rows)


_TOLD = """
gateway_id email brand last4 amount_cents amount_captured_cents amount_refunded_cents currency external_id request_type
event_type charges_enabled
""".split()


def _wait(root: Path) -> None:
    command = f"callsheet --root {root}"
    click.echo(f"""
Look around from another terminal while this one waits:
   {command} records payment
   {command} calls
   {command} show stripe/create_refund
   {command} send stripe/create_refund charge=ch_Order18 --curl
Then begin your own: callsheet init shop
""")
    click.pause(f"Press a key to end the demo and remove {os.fspath(root)}")
