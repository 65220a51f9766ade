"""Everything that a program does with an engine, and what goes wrong, with canaries wherever data can stand."""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Dispatcher
from engine.purging import purge
from engine.records import Record
from engine.reloading import Files
from engine.signatures import scheme_of, sign
from engine.store import Store

from .files import PAYING, environment
from .gateway import MODES, PLAIN, Repeating
from .values import CARD, COOKIE, HOST, OF_A_SERVER, PERSONAL, TOLD_ONCE, held

Outputs = dict[str, bytes]

NUMBER, ACCOUNT = PERSONAL["social security number"], PERSONAL["bank account"]
PERSON: Mapping[str, Any] = {
    "name": "Ada",
    "number": NUMBER,
    "account": {"number": ACCOUNT, "bank": "of England"},
    "friends": [{"number": NUMBER}, {"number": ACCOUNT}],
}


class Library:
    """An engine that is asked for everything; what it returns, raises and prints is kept in `outputs`."""

    def __init__(self, root: Path, gateway: Repeating, outputs: Outputs, store: Store | None = None) -> None:
        self.gateway, self.outputs, self._root = gateway, outputs, root
        self._held = held(on_a_server=bool(store and getattr(store, "secrets", ())))
        self._dispatcher = Dispatcher()
        self._files = Files(root, {"acme": gateway.url}, reload=False)
        self.engine = Engine(
            root,
            store=store,
            environment=environment(gateway.url),
            files=self._files,
            dispatcher=self._dispatcher,
            clock=Clock(sleep=lambda _: None, pause=lambda _: 0.0),
        )

    def drive(self, modes: Sequence[str] = MODES) -> None:
        """All of it, with the gateway in each of the `modes`."""
        self._every_failure(modes)
        self._every_input()
        self._reactions()
        self._webhooks()
        self._persons_words()
        self._other_places()

    def said(self, name: str, act: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        """Do it, and keep what comes of it: the value as Python writes it, or the error as it is printed."""
        result = None
        try:
            result = act(*arguments, **named)
            text = repr(result)
        except Exception as error:  # noqa: BLE001 - whatever it is, it may tell something
            text = "".join(traceback.format_exception(error)) + repr(error)
        self.outputs[name] = self.outputs.get(name, b"") + text.encode("utf-8", "surrogateescape")
        return result

    def _add(self, data: Any, operation: str | None = None) -> Any:
        """Add a person; the answer itself, which the gateway may have put anything into, is the caller's."""
        return self.engine.send("acme/add_person", data, operation=operation).call

    def _outcome(self, call: Record) -> Any:
        return self.engine.outcome(call).records

    def _every_failure(self, modes: Sequence[str]) -> None:
        for mode in modes:
            self.gateway.mode = mode
            limits = self._dispatcher._limits._replace(read=0.1 if mode == "hangs" else 30.0)
            self._dispatcher._limits = limits
            for type in PAYING if mode in PLAIN else ("pay", "pay_wrongly"):
                self.said(f"send {type}: gateway {mode}", self.engine.send, f"acme/{type}", {"amount": 5})
            self.said(f"read: gateway {mode}", self.engine.send, "acme/get", {"id": "p1"})
            self.said(f"person: gateway {mode}", self._add, PERSON)
            self.said(f"due work: gateway {mode}", self.engine.run_due)
        self.gateway.mode = MODES[0]

    def _every_input(self) -> None:
        send, later, plan = self.engine.send, self.engine.send_later, self.engine.plan
        for canary in (*self._held.values(), CARD, f"my card {CARD}"):
            for place in ("note", "kind", "amount", "no such name"):
                for act in (send, later, plan):
                    self.said(f"{place} is a canary", act, "acme/pay", {"amount": 5, place: canary})
            self.said("nested", send, "acme/pay", {"amount": 5, "more": {canary: [{"deep": canary}]}})
            self.said("data itself", send, "acme/pay", canary)
            self.said("operation", send, "acme/pay", {"amount": 5}, operation=canary)
            self.said("idempotency_key", send, "acme/pay", {"amount": 5, "idempotency_key": canary})
        for wrong in (
            {"number": ACCOUNT},
            {"number": 5},
            {"number": [NUMBER]},
            {"account": NUMBER},
            {"friends": NUMBER},
        ):
            self.said("a person's number does not fit", self._add, {**PERSON, "number": f"x{NUMBER}", **wrong})
        self.said("plan", plan, "acme/add_person", PERSON)
        self.said("again", self._add, PERSON, "ada")
        self.said("other", self._add, {**PERSON, "number": "0"}, "ada")

    def _reactions(self) -> None:
        def react(_: Any) -> None:
            raise RuntimeError(f"the host's own code says {HOST['API key']} and {CARD}, {CARD}")

        self.engine.on("sale")(react)
        self.said("react", self.engine.send, "acme/pay", {"amount": 5})
        self.said("reactions", self.engine.run_due)
        self.engine.reactions._handlers.clear()

    def _webhooks(self) -> None:
        made = self.said("register", self.engine.send, "acme/create_endpoint", {"url": "https://shop.test/hook"})
        assert made is not None
        for number, event in enumerate(events(self._held)):
            self.said("event", receive, self.engine, event, (HOST["webhook secret"], HOST[TOLD_ONCE])[number % 2])
            if number < 9:
                self.said("event of another", receive, self.engine, event, HOST["API key"])
        for header in (HOST["webhook secret"], f"t=1,v1={HOST['webhook secret']}", ""):
            self.said("forged", self.engine.receive, "acme", {"Stripe-Signature": header}, json.dumps(HOST).encode())
        self.said("due events", self.engine.run_due)

    def _persons_words(self) -> None:
        recovery, who = self.engine.recovery, "ann"
        why = f"because of {' and '.join(self._held.values())} and the card {CARD} of mine"
        for call in self.engine.find("call", limit=1000):
            self.said("outcome", self._outcome, call)
            for act in (recovery.remap, recovery.come_back, recovery.look_up, recovery.cancel):
                self.said(act.__name__, act, call, who, why)
            if call["state"] in {"unknown", "unmapped"}:
                self.said("resolve", recovery.resolve, call, "succeeded", who, why)
        for event in self.engine.find("event", limit=20):
            self.said("replay", self.engine.replay, event, who, why)
        self.said("replays", self.engine.replays.begin, {"state": "failed"}, None, who, why)
        self.said("purge", lambda: list(purge(self.engine, timedelta(days=1), dry_run=True)))

    def _other_places(self) -> None:
        """Gateways and stores that are not there, or do not prove who they are; secrets that cannot be any."""
        port = self.gateway.url.rpartition(":")[2]
        for address in (f"https://127.0.0.1:{port}", "http://127.0.0.1:1", "https://canary.invalid"):
            elsewhere = Engine(self._root, environment=environment(address))
            self.said(f"at {address}", elsewhere.send, "acme/get", {"id": "p"})
        password, coded = HOST[OF_A_SERVER], quote(HOST[OF_A_SERVER], safe="")
        for store in (
            f"postgresql://shop:{coded}@127.0.0.1:1/shop",
            f"postgresql://shop:{password}@127.0.0.1:1/shop",
            f"postgresql://shop@127.0.0.1:1/shop?password={coded}",
            f"nosql://shop:{coded}@127.0.0.1/shop",
        ):
            self.said("a store that is not there", self._found, store)
        for name in ("ACME_KEY", "ACME_HOOK", "CALLSHEET_SECRET_KEY", "CALLSHEET_ENCRYPTION_KEY", "CALLSHEET_MODE"):
            for spoilt in (f"{HOST['API key']}\n", f"é{HOST['API key']}", HOST["short key"]):
                self.said(f"{name} is spoilt", self._spoilt, **{name: spoilt})

    def _found(self, store: str) -> Any:
        return self._with(CALLSHEET_STORE=store).find("sale")

    def _spoilt(self, **wrong: str) -> Any:
        engine = self._with(**wrong, CALLSHEET_STORE="memory:")
        engine.form("acme/pay", session=COOKIE)
        receive(engine, {}, HOST["webhook secret"])
        return engine.plan("acme/add_person", PERSON)

    def _with(self, **settings: str) -> Engine:
        return Engine(self._root, environment={**environment(self.gateway.url), **settings}, files=self._files)


def events(known: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Authentic events with canaries in all their fields."""
    all_of_them = {f"{number}": value for number, value in enumerate(known.values())}
    note = f"{json.dumps(all_of_them)} my card {CARD}, {CARD}."
    for type in ("payment.noted", "payment.spoilt", "payment.unheard"):
        yield {"id": f"evt_{type}", "type": type, "payment": f"e_{type}", "note": note, **all_of_them}
    for number, value in all_of_them.items():
        type = ("payment.noted", "payment.spoilt")[int(number) % 2]
        yield {"id": f"evt_{number}_{value}", "type": type, "payment": f"e_{value}", "note": value, "key": value}
        yield {"id": f"evt_{number}", "type": value, "account": value, "version": value, "created": value}


def receive(engine: Engine, event: Mapping[str, Any], secret: str) -> Any:
    body = json.dumps(event).encode()
    return engine.receive("acme", sign(scheme_of("stripe"), secret, body, engine.clock.now().timestamp()), body)
