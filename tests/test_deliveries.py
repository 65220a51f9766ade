"""A gateway that delivers several events at a time: each is kept once and processed by itself.

Mint is an invented bank whose events are named by two properties and come as {"events": [...]}, signed as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from acme import material
from commands import run
from flask import Flask
from hosts import CountingStore, OnlyHere, Told, write
from html_pages import Page

from engine.cases import CaseRunner, read_cases
from engine.core import Engine
from engine.deliveries import delivered, events_in
from engine.errors import DefinitionError, SignatureError
from engine.records import Record
from engine.sandbox import Sandbox
from engine.sandbox.events import Delivery
from engine.signatures import scheme_of, sign
from engine.store import Store
from engine.store.sql import SqlStore
from engine.web import Callsheet

SECRETS = {"MINT_KEY": "mint_0123456789abcdef", "MINT_HOOK": "hook_0123456789abcdef0123456789abcdef"}
SCHEME = {"header": "Mint-Signature", "signed": "{body}"}
GATEWAY = "request_types/mint/_gateway.yml"
MINT = {
    GATEWAY: """\
summary: An invented bank that collects direct debits.
base_url: https://api.mint.test
auth: {bearer: MINT_KEY}
headers: {Content-Type: application/json}
webhook:
  scheme: {header: Mint-Signature, signed: "{body}"}
  secrets: [MINT_HOOK]
  events: /events
  id: "{{ event.id }}"
  type: "{{ event.about }}.{{ event.action }}"
  time: "{{ event.made_at }}"
  account: "{{ event.links.creditor }}"
""",
    "request_types/mint/create_debit.yml": """\
summary: Collect money.
method: POST
url: /debits
at_most_once: true
body: {amount: "{{ data.amount }}"}
expect: {status: [201]}
data: {required: [amount], properties: {amount: {type: integer}}}
""",
    "request_types/mint/confirm_debit.yml": """\
summary: Say that a debit is right.
method: POST
url: /debits/{{ data.id }}/confirm
idempotent: true
data: {required: [id], properties: {id: {type: string}}}
""",
    "response_mappers/records/debit.yml": """\
summary: Money collected.
unique: [gateway_id]
properties: {gateway_id: {type: string}, state: {type: string}, payout: {type: string}}
""",
    "webhook_processors/mint/debits.confirmed.json.j2": """\
{"upsert": "debit", "where": {"gateway_id": {{ event.links.debit }}}, "set": {"state": "confirmed"}}
""",
    "webhook_processors/mint/debits.paid_out.json.j2": """\
{"update": "debit", "where": {"gateway_id": {{ event.links.debit }}},
 "set": {"state": "paid_out", "payout": {{ event.links.payout }}}}
""",
    "request_types/mint/_sandbox.yml": """\
routes:
  POST /debits/{debit}/confirm:
    events: [debits.confirmed, debits.paid_out]
""",
    "tests/cases/request_types/mint/create_debit/made.yml": """\
claim: a debit is made
data: {amount: 5}
sends: {method: POST, url: "https://api.mint.test/debits", body: {amount: 5}}
receives: {status: 201, body: {id: DB_1, amount: 5}}
""",
    "tests/cases/request_types/mint/confirm_debit/confirmed.yml": """\
claim: a debit is confirmed
data: {id: DB_1}
sends: {method: POST, url: "https://api.mint.test/debits/DB_1/confirm"}
receives: {status: 200, body: {id: DB_1, amount: 5, state: confirmed}}
""",
    "tests/cases/webhook_processors/mint/debits.confirmed/kept.yml": """\
claim: a debit is confirmed
event: {id: EV_1, about: debits, action: confirmed, made_at: "2026-01-01T00:00:00Z", links: {debit: DB_1}}
after: {debit: [{gateway_id: DB_1, state: confirmed}]}
""",
    "tests/cases/webhook_processors/mint/debits.paid_out/kept.yml": """\
claim: a debit is paid out
before: {debit: [{gateway_id: DB_1, state: confirmed}]}
event: {id: EV_2, about: debits, action: paid_out, made_at: "2026-01-01T00:00:00Z", links: {debit: DB_1, payout: PO_1}}
after: {debit: [{gateway_id: DB_1, state: paid_out, payout: PO_1}]}
""",
}


def event(number: int, action: str = "confirmed", **more: Any) -> dict[str, Any]:
    """An event of Mint's about its first debit."""
    links = {"debit": "DB_1", "payout": "PO_1", "creditor": None}
    return {"id": f"EV_{number}", "about": "debits", "action": action, "links": links, **more}


class Mint:
    """A host of Mint's files."""

    def __init__(self, root: Path, files: Mapping[str, str] | None = None, store: Store | None = None) -> None:
        self.root, self.store = write(root, {**MINT, **(files or {})}), store or CountingStore()
        self.engine = self.reads()

    def reads(self) -> Engine:
        """An engine that reads the files as they are now."""
        files = OnlyHere(self.root)
        return Engine(self.root, store=self.store, environment=SECRETS, dispatcher=Told(), files=files)

    def receive(self, *events: Any) -> Record:
        """Have `events` delivered together."""
        return self.receive_whole({"events": list(events), "meta": {"webhook_id": "WB_1"}})

    def receive_whole(self, whole: Any) -> Record:
        """Have a body delivered."""
        return self.receive_bytes(json.dumps(whole).encode())

    def receive_bytes(self, body: bytes) -> Record:
        """Have these bytes delivered."""
        return self.engine.receive("mint", sign(scheme_of(SCHEME), SECRETS["MINT_HOOK"], body, 0), body)

    def events(self, *names: str) -> list[tuple[Any, ...]]:
        """What is kept of each event, oldest first."""
        return [tuple(one[name] for name in names) for one in self.engine.find("event", order="id")]


@pytest.fixture
def mint(tmp_path: Path) -> Mint:
    """With its commits counted."""
    made = Mint(tmp_path)
    assert isinstance(made.store, CountingStore)
    made.store.commits.clear()
    return made


def test_every_event_of_a_delivery_is_kept_and_processed_by_itself(mint: Mint) -> None:
    """All are kept in one commit; each has a body, an identity and an end of its own, and its own processor."""
    first = mint.receive(event(1), event(2, "paid_out"), event(3, "lost"))
    assert (first["event_id"], first["state"]) == ("EV_1", "processed")
    assert mint.events("event_id", "event_type", "place", "state") == [
        ("EV_1", "debits.confirmed", 0, "processed"),
        ("EV_2", "debits.paid_out", 1, "processed"),
        ("EV_3", "debits.lost", 2, "ignored"),
    ]
    assert [json.loads(body) for (body,) in mint.events("body")] == [event(1), event(2, "paid_out"), event(3, "lost")]
    assert mint.engine.find("debit")[0]["payout"] == "PO_1"
    assert isinstance(mint.store, CountingStore)
    kept, *processed = mint.store.commits
    assert kept == ["insert event"] * 3
    assert processed == [["upsert debit", "update event"], ["update debit", "update event"], ["update event"]]


def test_a_repeat_keeps_nothing_twice(mint: Mint) -> None:
    """Of the whole delivery, of some of its events beside new ones, and of one that stands in it twice."""
    mint.receive(event(1), event(2, "paid_out"))
    again = mint.receive(event(1), event(2, "paid_out"))
    assert (again["event_id"], len(mint.events("id"))) == ("EV_1", 2)
    mint.receive(event(2, "paid_out"), event(3, "lost"), event(3, "lost"))
    assert mint.events("event_id") == [("EV_1",), ("EV_2",), ("EV_3",)]
    assert mint.events("state") == [("processed",), ("processed",), ("ignored",)]


def test_what_a_delivery_tells_twice_is_kept_as_of_two_deliveries(mint: Mint) -> None:
    """As it came first, unless that was put aside and the other one can be processed."""
    lost = {"id": "EV_2", "links": {}}
    mint.receive(event(1), event(1, "paid_out"), lost, event(2), lost)
    assert mint.events("event_id", "event_type", "place", "state") == [
        ("EV_1", "debits.confirmed", 0, "processed"),
        ("EV_2", "debits.confirmed", 3, "processed"),
    ]


def test_one_that_fails_stops_no_other(mint: Mint) -> None:
    """It is tried again; the one that it waits for stands behind it."""
    first = mint.receive(event(1, "paid_out"), event(2), "no object", {"action": "confirmed", "about": "debits"})
    assert (first["state"], first["tries"]) == ("failed", 1)
    assert mint.events("state") == [("failed",), ("processed",), ("quarantined",), ("quarantined",)]
    assert mint.events("message")[2:] == [("the body is not a JSON object",), ("the event says no id or no type",)]
    assert mint.engine.replay(first, "ann", "the other one is there")["state"] == "processed"
    assert mint.engine.find("debit")[0]["state"] == "paid_out"


def test_one_that_says_a_key_twice_stops_no_other(mint: Mint) -> None:
    """Nobody can tell what it means, so it is put aside as it came, and known when it comes again."""
    good, broken = json.dumps(event(1)), '{"id": "EV_2", "links": {"debit": "DB_2", "debit": "DB_3"}}'
    for _ in range(2):
        mint.receive_bytes(f'{{"events": [{broken}, {good}], "meta": {{}}}}'.encode())
    assert mint.events("place", "state", "message", "body") == [
        (0, "quarantined", "the body is not a JSON object", broken),
        (1, "processed", None, good),
    ]
    assert [one["gateway_id"] for one in mint.engine.find("debit")] == ["DB_1"]
    (aside,) = mint.engine.find("event", state="quarantined")
    assert mint.engine.replay(aside, "ann", "to see")["state"] == "quarantined"


def test_the_signature_is_that_of_the_whole_body(mint: Mint) -> None:
    """A list that somebody added an event to is refused, and nothing of it is kept."""
    body = json.dumps({"events": [event(1)]}).encode()
    headers = sign(scheme_of(SCHEME), SECRETS["MINT_HOOK"], body, 0)
    with pytest.raises(SignatureError):
        mint.engine.receive("mint", headers, json.dumps({"events": [event(1), event(2)]}).encode())
    assert mint.events("id") == []


def test_the_accounts_of_one_delivery_are_kept_apart(mint: Mint) -> None:
    """The same id in two accounts is two events."""
    here, there = ({**event(1)["links"], "creditor": name} for name in ("CR_1", "CR_2"))
    mint.receive(event(1, links=here), event(1, links=there))
    assert [one.scope.account for one in mint.engine.find("event", order="id")] == ["CR_1", "CR_2"]
    assert [one.scope.account for one in mint.engine.find("debit", order="id")] == ["CR_1", "CR_2"]


@pytest.mark.parametrize("whole", [{"events": []}, {"events": {"id": "EV_1"}}, {"event": [event(1)]}])
def test_a_delivery_without_a_list_is_kept_and_put_aside(mint: Mint, whole: Any) -> None:
    """What was answered 2xx is kept, and says why nothing came of it."""
    kept = mint.receive_whole(whole)
    said = "the event says no id or no type, and no events are in a list at /events"
    assert (kept["state"], kept["message"], json.loads(kept["body"])) == ("quarantined", said, whole)
    assert mint.receive_whole(whole).id == kept.id


def test_a_body_that_is_one_event_is_one(mint: Mint) -> None:
    """Some gateways send both kinds."""
    assert mint.receive_whole(event(1))["state"] == "processed"
    assert mint.events("event_id", "place") == [("EV_1", None)]


def test_a_body_that_is_the_list(tmp_path: Path) -> None:
    """An empty pointer names the whole body."""
    mint = Mint(tmp_path, {GATEWAY: MINT[GATEWAY].replace("events: /events", 'events: ""')})
    mint.receive_whole([event(1), event(2, "paid_out")])
    assert mint.events("event_id", "state") == [("EV_1", "processed"), ("EV_2", "processed")]
    assert mint.receive_whole({})["message"].endswith("no events are in a list at the top")


def test_a_delivery_that_was_put_aside_is_taken_apart_when_its_file_is_mended(tmp_path: Path) -> None:
    """The gateway was told 2xx and does not send it again: replaying it keeps its events, each once."""
    mint = Mint(tmp_path, {GATEWAY: MINT[GATEWAY].replace("  events: /events\n", "")})
    whole = mint.receive(event(1), event(2, "paid_out"))
    assert (whole["state"], whole["message"]) == ("quarantined", "the event says no id or no type")
    write(mint.root, {GATEWAY: MINT[GATEWAY]})
    mint.engine = mint.reads()
    for _ in range(2):
        (aside,) = mint.engine.find("event", id=whole.id)
        again = mint.engine.replay(aside, "ann", "its list is named now")
        assert (again["state"], again["message"]) == ("processed", "the events that it holds are kept: 2")
        mint.engine.run_due()
        assert mint.events("event_id", "state")[1:] == [("EV_1", "processed"), ("EV_2", "processed")]
    assert mint.engine.find("debit")[0]["state"] == "paid_out"
    part = mint.engine.find("event", event_id="EV_1")[0]
    assert mint.engine.replay(part, "ann", "to see")["state"] == "processed"
    assert len(mint.events("id")) == 3


def test_an_event_with_a_list_of_its_own_is_not_taken_apart(mint: Mint) -> None:
    """Not when it comes, and not when it is replayed."""
    kept = mint.receive(event(1, events=[event(7)]))
    mint.engine.replay(kept, "ann", "to see")
    assert mint.events("event_id") == [("EV_1",)]


def test_many_at_once_are_one_commit_of_a_database(tmp_path: Path, sqlite_store_url: str) -> None:
    """As many as a gateway puts into one delivery, half of which came before."""
    mint = Mint(tmp_path, store=SqlStore(sqlite_store_url))
    several = [event(number, "lost") for number in range(250)]
    mint.receive(*several[::2])
    mint.receive(*several)
    assert {one["event_id"] for one in mint.engine.find("event", limit=1000)} == {one["id"] for one in several}


def test_the_route_keeps_them_all(mint: Mint) -> None:
    """200 is said when all are kept; a worker processes them."""
    app = Flask("mint", root_path=str(mint.root))
    Callsheet(app, engine=mint.engine, worker=False)
    body = json.dumps({"events": [event(1), event(2, "paid_out")]}).encode()
    headers = sign(scheme_of(SCHEME), SECRETS["MINT_HOOK"], body, 0)
    for _ in range(2):
        assert app.test_client().post("/callsheet/webhooks/mint", data=body, headers=headers).status_code == 200
    assert mint.events("event_id", "state") == [("EV_1", "received"), ("EV_2", "received")]
    mint.engine.run_due()
    assert mint.engine.find("debit")[0]["state"] == "paid_out"


# The files ------------------------------------------------------------------------------------------------------------


def test_a_case_tells_one_event(mint: Mint) -> None:
    """It is delivered in a list of one."""
    cases = read_cases(mint.root / "tests/cases")
    differences = [one for case in cases for one in CaseRunner(mint.root).run(case).differences]
    assert (len(cases), differences) == (4, [])


@pytest.mark.parametrize("place", ["events", "/events/", "/a~b", "{{ event.events }}"])
def test_a_place_that_is_none_is_found_at_start(tmp_path: Path, place: str) -> None:
    """With the file, the line and what is wanted."""
    text = MINT[GATEWAY].replace("events: /events", f"events: '{place}'")
    with pytest.raises(DefinitionError) as refused:
        Mint(tmp_path, {GATEWAY: text})
    (fault,) = refused.value.faults
    said = f"'{place}' does not fit the pattern ^(/([^/~]|~[01])+)*$; what is wanted is: Where a delivery has a list"
    assert str(fault).startswith(f"{GATEWAY}:8:3: {said}")


def test_the_sandbox_delivers_what_happens_together_in_one_list(tmp_path: Path) -> None:
    """Signed as a whole, in the shapes of the cases; the engine takes it."""
    mint, sent = Mint(tmp_path), list[Delivery]()

    class Kept:
        def deliver(self, deliveries: Any) -> None:
            sent.extend(deliveries)

        now = sent.append

    moment = datetime(2026, 7, 1, tzinfo=UTC)
    hosts = {"mint": "http://127.0.0.1:9/callsheet/webhooks/mint"}
    box = Sandbox(material(mint.root, MINT), secrets=SECRETS, hosts=hosts, deliverer=Kept(), now=lambda: moment)
    mint.engine = Engine(
        mint.root, store=mint.store, environment=box.secrets, dispatcher=box, files=OnlyHere(mint.root)
    )
    made = mint.engine.send("mint/create_debit", {"amount": 5}).response
    mint.engine.send("mint/confirm_debit", {"id": made["id"]})
    (delivery,) = sent
    assert (delivery.type, delivery.url) == ("debits.confirmed, debits.paid_out", hosts["mint"])
    assert [one["action"] for one in json.loads(delivery.body)["events"]] == ["confirmed", "paid_out"]
    mint.engine.receive("mint", delivery.headers, delivery.body)
    assert mint.events("event_type", "state") == [("debits.confirmed", "processed"), ("debits.paid_out", "processed")]


def test_the_reference_says_so(tmp_path: Path) -> None:
    """On the gateway's page."""
    write(tmp_path, MINT)
    assert run(tmp_path, "docs", str(tmp_path / "site")).exit_code == 0
    page = Page((tmp_path / "site/gateways/mint.html").read_text("utf-8"))
    assert "several at a time, as the list at /events" in " ".join(page.text.split())


# The bodies -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pointer", "body"),
    [("", [1, {"a": "é"}]), ("/events", {"events": [1, {"a": "é"}]}), ("/a~1b/c~0", {"a/b": {"c~": [1, {"a": "é"}]}})],
)
def test_a_list_is_found_where_it_was_put(pointer: str, body: Any) -> None:
    """By RFC 6901, with what it escapes."""
    assert delivered([1, {"a": "é"}], pointer) == body
    assert [json.loads(one) for one in events_in(json.dumps(body).encode(), pointer)] == [1, {"a": "é"}]


DEEP = '{"a":' * 70 + "1" + "}" * 70


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b'{"events": [}',
        b'{"events": null}',
        b"[]",
        b'{"events": [1], "events": []}',
        b'{"a": 1, "a": 2, "events": [1]}',
        f'{{"events": [{{"b": {DEEP}, "b": 1}}]}}'.encode(),
    ],
)
def test_what_holds_no_list(body: bytes) -> None:
    """Or two of them, or what is nested too deep, were it hidden behind a key that is said again."""
    assert events_in(body, "/events") == []
    assert events_in(b'{"events": [1]}', None) == []
