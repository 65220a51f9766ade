"""Small hosts for tests: a folder of files, a gateway that answers as told, a store that counts, a clock one sets."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from engine.catalog import load
from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Answer, Failure
from engine.dispatcher.outcomes import Kind
from engine.observing import Observer
from engine.records import Change, Record
from engine.reloading import Files
from engine.request_types import Request
from engine.seals import new_key
from engine.store.memory import MemoryStore

SECRETS = {
    "SHOP_KEY": "test_4eC39HqLyjWDarjtT1zdp7dc",
    "SHOP_HOOK": "hook_0123456789abcdef0123456789abcdef",
    "SHOP_OTHER_HOOK": "hook_fedcba9876543210fedcba9876543210",
    "CALLSHEET_ENCRYPTION_KEY": new_key(),
}

SHOP = {
    "request_types/shop/_gateway.yml": """\
summary: A shop's own payment API.
base_url: https://api.shop.test/v1
auth: {bearer: SHOP_KEY}
live_key: "^live_"
settings: {public_key: SHOP_PUBLIC}
headers: {Content-Type: application/json}
idempotency: {header: Idempotency-Key, lasts: 24h, mismatch: "{{ response.error.code == 'reused' }}"}
retry: {header: X-Should-Retry}
request_id: X-Request
error: "{{ response.error.message }}"
bodiless_refusals: [404]
webhook:
  scheme: stripe
  secrets: [SHOP_HOOK]
  endpoints: {partners: {secrets: [SHOP_OTHER_HOOK]}}
  id: "{{ event.id }}"
  type: "{{ event.type }}"
  time: "{{ event.created }}"
  live: "{{ event.live }}"
  account: "{{ event.account }}"
  key: "{{ event.key }}"
""",
    "request_types/shop/pay.yml": """\
summary: Take a payment.
method: POST
url: /payments
account: "{{ data.account }}"
body: {amount: "{{ data.amount }}", note: "{{ data.note }}", call: "{{ call_id }}"}
expect: {body: {type: object, required: [id]}}
data:
  required: [amount]
  properties: {amount: {type: integer, minimum: 1}, note: {type: string}, account: {type: string}}
""",
    "request_types/shop/pay_once.yml": """\
summary: Take a payment at a gateway that knows no keys.
method: POST
url: /payments
idempotency: null
at_most_once: true
body: {amount: "{{ data.amount }}"}
data:
  properties: {amount: {type: integer}}
""",
    "request_types/shop/erase.yml": """\
summary: Remove a payment.
method: DELETE
url: /payments/{{ data.id }}
idempotency: null
idempotent: true
data:
  required: [id]
  properties: {id: {type: string}}
""",
    "request_types/shop/read.yml": """\
summary: Read a payment.
method: GET
url: /payments/{{ data.id }}
data:
  required: [id]
  properties: {id: {type: string}}
""",
    "response_mappers/shop/pay.json.j2": """\
{"upsert": "sale",
 "where": {"gateway_id": {{ response.id }}},
 "set": {"amount": {{ response.amount }}, "note": {{ data.note }}, "state": "paid"}}
""",
    "response_mappers/shop/pay.declined.json.j2": """\
{"upsert": "sale",
 "where": {"gateway_id": {{ response.error.payment }}},
 "set": {"amount": {{ data.amount }}, "state": "failed", "note": {{ response.error.message }}}}
""",
    "response_mappers/shop/pay_once.json.j2": """\
{"upsert": "sale",
 "where": {"gateway_id": {{ response.id }}},
 "set": {"amount": {{ response.amount }}, "state": "paid"}}
""",
    "response_mappers/shop/read.json.j2": """\
{"update": "sale", "where": {"gateway_id": {{ response.id }}}, "set": {"amount": {{ response.amount }}}}
""",
    "response_mappers/records/sale.yml": """\
summary: A sale.
required: [gateway_id, amount, state]
unique: [gateway_id]
index: [state]
properties:
  gateway_id: {type: string}
  amount: {type: integer}
  note: {type: string}
  state: {enum: [paid, failed, refunded]}
""",
    "webhook_processors/shop/payment.refunded.json.j2": """\
{"update": "sale", "where": {"gateway_id": {{ event.payment }}}, "set": {"state": "refunded"}}
""",
}


def write(root: Path, files: Mapping[str, str]) -> Path:
    """Write `files` below `root`, which is returned."""
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return root


class OnlyHere(Files):
    """The files of one folder and no shipped ones, which most tests of the machine do not need."""

    def __init__(self, root: Path, base_urls: Mapping[str, str] | None = None, *, mode: str = "test") -> None:
        self._catalog, self.faults = load([root], mode=mode, base_urls=base_urls), ()

    def catalog(self) -> Any:
        return self._catalog


def ok(body: Any = None, status: int = 200, **headers: str) -> Answer:
    """An answer in JSON; `body` as bytes is sent as it stands."""
    named = {name.lower().replace("_", "-"): value for name, value in headers.items()}
    raw = body if isinstance(body, bytes) else json.dumps({"id": "p1", "amount": 5} if body is None else body).encode()
    return Answer(status, {"content-type": "application/json", **named}, raw, 0.01)


def refusal(message: str = "no funds", status: int = 402, **error: Any) -> Answer:
    """A refusal as the shop words it."""
    return ok({"error": {"message": message, "payment": "p1", **error}}, status)


def failure(kind: Kind, *, sent: bool = True) -> Failure:
    """An exchange without a whole answer."""
    return Failure(kind, sent, f"api.shop.test:443 {kind}", 0.01)


class Told:
    """A dispatcher that gives its answers in turn, the last for ever, and remembers what it was given."""

    def __init__(self, *answers: Answer | Failure) -> None:
        self.answers = list(answers or [ok()])
        self.requests: list[Request] = []
        self.credentials: list[Mapping[str, str]] = []
        self.before: Callable[[Request], object] = lambda _: None

    def send(
        self, request: Request, *, credentials: Mapping[str, str], deadline: float, answer_limit: int | None = None
    ) -> Answer | Failure:
        """As `engine.dispatcher.Sender` says."""
        self.before(request)
        self.requests.append(request)
        self.credentials.append(credentials)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


class CountingStore(MemoryStore):
    """A store that remembers every `apply` that was committed, as the texts of its changes."""

    def __init__(self) -> None:
        super().__init__()
        self.commits: list[list[str]] = []
        self.refuse: Callable[[Sequence[Change]], object] = lambda _: None

    def apply(self, changes: Sequence[Change]) -> list[Record]:
        self.refuse(changes)
        made = super().apply(changes)
        self.commits.append([f"{change.verb} {change.type.name}" for change in changes])
        return made

    def text(self) -> str:
        """Everything that is kept, as one text to look for secrets in."""
        return json.dumps([record.as_dict() for kept in self._records.values() for record in kept.values()])


@dataclass
class Hours:
    """A clock that stands until it is set; `slept` are the seconds that somebody wanted to wait."""

    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    slept: list[float] = field(default_factory=list)

    def pass_by(self, seconds: float) -> None:
        """Let time pass."""
        self.now += timedelta(seconds=seconds)

    def clock(self) -> Clock:
        """What the engine asks of a clock."""
        ids = itertools.count(1)
        return Clock(lambda: self.now, lambda: f"call-{next(ids)}", self.slept.append)


@dataclass
class Host:
    """An engine with everything around it that a test looks at."""

    engine: Engine
    gateway: Told
    store: CountingStore
    hours: Hours

    def calls(self) -> list[Record]:
        """The journal, oldest first."""
        return self.engine.find("call", order="id")

    def sales(self) -> list[dict[str, Any]]:
        """The sales, oldest first, without what is the same in all of them."""
        kept = ("gateway_id", "amount", "note", "state")
        return [{name: one[name] for name in kept if one[name] is not None} for one in self.find("sale")]

    def find(self, type: str) -> list[Record]:
        """Records of a type, oldest first."""
        return self.engine.find(type, order="id")


def host(
    root: Path,
    *answers: Answer | Failure,
    files: Mapping[str, str] | None = None,
    base_urls: Mapping[str, str] | None = None,
    observers: Sequence[Observer] = (),
    **environment: str,
) -> Host:
    """A host of the shop's files and `files`, whose gateway gives `answers`; `environment` beside the SECRETS."""
    folder = write(root, {**SHOP, **(files or {})})
    gateway, store, hours = Told(*answers), CountingStore(), Hours()
    engine = Engine(
        folder,
        store=store,
        environment={**SECRETS, **environment},
        dispatcher=gateway,
        clock=hours.clock(),
        files=OnlyHere(folder, base_urls, mode=environment.get("CALLSHEET_MODE", "test")),
        observers=observers,
    )
    engine.key_of(
        engine.plan("shop/pay", {"amount": 1}).scope, "", ""
    )  # makes the salt, so that it is no test's commit
    store.commits.clear()
    return Host(engine, gateway, store, hours)
