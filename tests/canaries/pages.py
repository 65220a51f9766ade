"""Everything that a browser or a gateway asks a host for, with canaries in every field, header and query."""

from __future__ import annotations

import itertools
import json
import re
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

from flask import Flask, render_template_string, request, session
from flask.testing import FlaskClient
from html_pages import Page
from werkzeug.test import TestResponse

from engine.core import Engine
from engine.signatures import scheme_of, sign
from engine.web import Callsheet

from .library import PERSON, Outputs, events
from .values import CARD, COOKIE, HOST, PASSWORD, TOLD_ONCE

PAGES = ("acme/pay", "acme/add_person")
CONSOLE = "/callsheet/console"


class Pages:
    """The host's app, and a browser that has been there before: its cookie is a canary."""

    def __init__(self, engine: Engine, outputs: Outputs, held: Mapping[str, str]) -> None:
        self.engine, self.outputs, self.held = engine, outputs, held
        self.app = Flask("engine.web", root_path=str(engine.root))
        self.app.debug = True  # so that all routes are there
        Callsheet(self.app, engine=engine, worker=False)
        self.app.add_url_rule("/page", "page", self._page)
        self.client: FlaskClient = self.app.test_client()
        self.asked: set[str] = set()
        with self.client.session_transaction() as kept:
            kept["callsheet"] = COOKIE

    @staticmethod
    def _page() -> str:
        assert session["callsheet"] == COOKIE
        forms = "".join(f"{{{{ request_form({name!r}) }}}}" for name in PAGES)
        return render_template_string(forms + "{{ records('sale') }}")

    def drive(self) -> None:
        """All of it."""
        self._forms()
        self._webhooks()
        self._console()
        self._routes()

    def asks(self, method: str, path: str, **more: Any) -> TestResponse:
        """One request, and everything that comes back, but for the browser's own cookie."""
        answer = self.client.open(path, method=method, buffered=True, **more)
        head = "\n".join(f"{name}: {value}" for name, value in answer.headers.items() if name != "Set-Cookie")
        name = f"{method} {re.sub('[0-9a-f]{8}-[0-9a-f-]{27}', 'ID', path.partition('?')[0])[:60]}"
        self.outputs[name] = self.outputs.get(name, b"") + f"{answer.status}\n{head}\n\n".encode() + answer.data
        with self.app.test_request_context(path, method=method):
            self.asked.add(f"{method} {request.endpoint}")
        return answer

    def _forms(self) -> None:
        typed: Iterator[dict[str, str]] = iter(
            [
                {"amount": "5", "note": "tea"},
                *({"amount": "5", place: value} for value in self.held.values() for place in ("note", "more")),
                *({place: f"{CARD} is mine"} for place in ("amount", "note", "kind")),
                *({"name": "Ada", "number": number, "account[number]": "x"} for number in ("x", PERSON["number"])),
                {"number": PERSON["number"], "account[number]": PERSON["account"]["number"]},
                {"name": "Ada", "number": f"x{PERSON['number']}", "friends": json.dumps(PERSON["friends"])},
            ]
        )
        for fields in typed:
            page = Page(self.asks("GET", "/page").text)
            tokens = [one["value"] for one in page.all("input") if one.get("name") == "callsheet_token"]
            token = tokens["number" in fields]
            self.asks("POST", "/callsheet/forms", data={"callsheet_token": token, **fields})
            as_json = {"token": token, "fields": {**fields, **({"amount": 5} if "amount" in fields else {})}}
            self.asks("POST", "/callsheet/forms", json=as_json)
        for value in (*self.held.values(), CARD, COOKIE):
            self.asks("POST", "/callsheet/forms", data={"callsheet_token": value, value: value})
            self.asks("POST", "/callsheet/forms", json={"token": value, "fields": {value: value}})

    def _webhooks(self) -> None:
        for event in itertools.islice(events(self.held), 12):
            body = json.dumps({**event, "id": f"web {event['id']}"}).encode()
            now = self.engine.clock.now().timestamp()
            for secret in (HOST["webhook secret"], HOST[TOLD_ONCE], HOST["API key"]):
                headers = sign(scheme_of("stripe"), secret, body, now)
                self.asks("POST", "/callsheet/webhooks/acme", data=body, headers=headers)
            forged = {"Stripe-Signature": HOST["webhook secret"], "Authorization": f"Bearer {HOST['API key']}"}
            self.asks("POST", "/callsheet/webhooks/acme", data=body, headers=forged)
            self.asks("POST", "/callsheet/webhooks/acme/no-such-endpoint", data=body, headers=forged)
        self.engine.run_due(100)

    def _console(self) -> None:
        for name, password in (("ann", f"{PASSWORD}!"), ("ann", PASSWORD)):
            self.asks("POST", f"{CONSOLE}/sign-in", data={"name": name, "password": password})
        assert self.asks("GET", f"{CONSOLE}/").status_code == 200
        why = f"because of {' and '.join(self.held.values())} and the card {CARD} of mine"
        for call in self.engine.find("call", limit=400)[::7]:
            self.asks("GET", f"{CONSOLE}/calls/{call.id}")
            for action in ("resend", "remap", "resolve", "look-up", "cancel", "queue", "come_back", "look_up"):
                self._acts(f"/calls/{call.id}/{action}", reason=why, resolution="succeeded")
        for event in self.engine.find("event", limit=400)[::7]:
            self.asks("GET", f"{CONSOLE}/events/{event.id}")
            self._acts(f"/events/{event.id}/replay", reason=why)
        self._acts("/replays", type="payment.spoilt", reason=why)
        for replay in self.engine.find("replay", limit=5):
            self.asks("GET", f"{CONSOLE}/replays/{replay.id}")
            self._acts(f"/replays/{replay.id}/stop")
        for type in ("sale", "guest", "webhook_endpoint"):
            for record in self.engine.find(type, limit=5):
                self.asks("GET", f"{CONSOLE}/records/{type}/{record.id}")
        self._tries()
        self._acts("/webhooks", endpoint="acme/", url="https://shop.test/hooks", operation=secrets.token_urlsafe(18))
        self._acts("/webhooks/acme/ask")
        self._acts("/webhooks/acme/p1/remove", operation=secrets.token_urlsafe(18))

    def _tries(self) -> None:
        given = [{"amount": "5", "note": value} for value in (*self.held.values(), CARD)]
        people = [
            {"name": "Ada", "number": PERSON["number"], "account[number]": PERSON["account"]["number"]},
            {"number": PERSON["number"], "friends": json.dumps(PERSON["friends"])},
            {"name": "Ada", "number": f"x{PERSON['number']}", "friends": json.dumps(PERSON["friends"])[1:]},
        ]
        for name, fields in (*(("pay", one) for one in given), *(("add_person", one) for one in people)):
            self._acts(f"/types/acme/{name}/try", operation=secrets.token_urlsafe(18), **fields)
        for call in self.engine.find("call", request_type="acme/add_person", limit=2):
            self.asks("GET", f"{CONSOLE}/types/acme/add_person/try?from={call.id}")
        self._acts("/types/acme/get/try", operation=secrets.token_urlsafe(18), id="p1")

    def _acts(self, path: str, **fields: str) -> None:
        token = Page(self.client.get(f"{CONSOLE}/replays").text).input("csrf")["value"]
        self.asks("POST", f"{CONSOLE}{path}", data={"csrf": token, **fields})

    def _routes(self) -> None:
        """Every address there is, with canaries for all that it names and in the query."""
        adapter = self.app.url_map.bind("localhost")
        odd = {str(number): value for number, value in enumerate(self.held.values())}
        query = {
            **odd,
            "q": HOST["API key"],
            "state": HOST["API key"],
            "type": HOST["API key"],
            "after": HOST["API key"],
        }
        key = {"Authorization": f"Bearer {HOST['metrics key']}", "X-Forwarded-For": HOST["API key"]}
        self.asks("GET", "/callsheet/metrics", headers=key)
        for rule in self.app.url_map.iter_rules():
            known = {
                "gateway": "acme",
                "name": "pay",
                "type": "sale",
                "id": "none",
                "path": "index.html",
                "action": "cancel",
            }
            given = {name: known.get(name, "forms.css") for name in rule.arguments}
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}:
                path = adapter.build(rule.endpoint, given, method=method)
                self.asks(method, path, query_string=query)
                spoilt = {name: HOST["API key"] for name in rule.arguments if name not in {"filename", "path"}}
                if spoilt:
                    self.asks(method, adapter.build(rule.endpoint, {**given, **spoilt}, method=method))
                self.asks(method, path, headers={"Authorization": HOST["API key"], "X-Api-Key": HOST["short key"]})
        self._acts("/sign-out")

    def unasked(self) -> list[str]:
        """The routes that were never asked for."""
        there = {
            f"{method} {rule.endpoint}"
            for rule in self.app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        }
        return sorted(there - self.asked)
