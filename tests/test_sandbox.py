"""A sandbox made of nothing but a gateway's files and cases."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from acme import RULES, sandbox
from hosts import OnlyHere, write
from werkzeug.test import Client

from engine.context import Clock
from engine.core import Engine
from engine.errors import DataError, DefinitionError, RejectedError, SettingError, TransportError, UnknownOutcome
from engine.sandbox import AnswerLost, Sandbox
from engine.sandbox.asked import Answered, Asked
from engine.sandbox.events import Delivery
from engine.sandbox.files import read_files
from engine.sandbox.serving import Served
from engine.settings import Settings
from engine.store.memory import MemoryStore
from engine.store.sql import SqlStore

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOST = "http://127.0.0.1:9/callsheet/webhooks/acme"


@dataclass
class Kept:
    """Keeps events in place of posting them."""

    events: list[Delivery] = field(default_factory=list)
    first: list[str] = field(default_factory=list)
    at_once: Callable[[Delivery], object] = lambda _: None

    def deliver(self, deliveries: Sequence[Delivery]) -> None:
        self.events += deliveries

    def now(self, delivery: Delivery) -> None:
        self.first.append(delivery.type)
        self.at_once(delivery)


@dataclass
class Acme:
    """A sandbox, and a client of it."""

    box: Sandbox
    root: Path
    kept: Kept
    slept: list[float]
    clock: list[datetime]

    def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answered:
        """The answer to one request."""
        named = {"x-api-key": self.box.secrets["ACME_KEY"], "content-type": "application/json"}
        named |= {name.replace("_", "-"): value for name, value in headers.items()}
        raw = b"" if body is None else json.dumps(body).encode()
        return self.box.answer(method, f"/acme/v2{path}", named, raw)

    def made(self, amount: int = 700, **body: Any) -> dict[str, Any]:
        """A new order."""
        answered = self.ask("POST", "/orders", {"amount": amount, **body})
        assert answered.status == 201, answered
        order: dict[str, Any] = answered.body
        return order

    def listed(self, query: str = "") -> Any:
        """A page of orders."""
        return self.ask("GET", f"/orders{query}").body

    def engine(self, **environment: str) -> Engine:
        """An engine of the same files that talks to it."""
        files = OnlyHere(self.root)
        secrets = {**self.box.secrets, **environment}
        clock = Clock(sleep=lambda _: None)
        return Engine(store=MemoryStore(), dispatcher=self.box, environment=secrets, files=files, clock=clock)


def acme_at(root: Path, rules: str | None = None, **options: Any) -> Acme:
    """A sandbox of the files in `root`, whose time is moved by tests."""
    kept, slept, clock = Kept(), list[float](), [NOW]
    told = {"deliverer": kept, "now": lambda: clock[0], "sleep": slept.append, "hosts": {"acme": HOST}, **options}
    return Acme(sandbox(root, rules, **told), root, kept, slept, clock)


@pytest.fixture
def acme(tmp_path: Path) -> Acme:
    return acme_at(tmp_path)


# Answers made after cases ---------------------------------------------------------------------------------------------


def test_an_answer_is_the_cases_with_what_is_sent(acme: Acme) -> None:
    """A fresh id, the sent values, an instant of now; what only the case sent is not there."""
    order = acme.made(700)
    assert order["id"].startswith("ord_")
    assert order["id"] != "ord_1"
    assert order == {
        "id": order["id"],
        "amount": 700,
        "note": None,
        "state": "open",
        "made_at": "2026-07-01T12:00:00Z",
        "link": f"/orders/{order['id']}",
        "at": ["a"],
    }
    assert acme.made(700, note="Lamp")["note"] == "Lamp"


@pytest.mark.parametrize(
    ("declared", "status"), [("", 200), ("expect: {status: [202, 200]}", 202), ("expect: {status: [204]}", 204)]
)
def test_without_a_case_a_success_is_what_the_file_calls_one(tmp_path: Path, declared: str, status: int) -> None:
    """What no case shows is carried out all the same: the engine is not told of a success that it cannot trust."""
    told = f"summary: Note.\nmethod: POST\nurl: /notes\nat_most_once: true\nbody: {{text: x}}\n{declared}\n"
    write(tmp_path, {"request_types/acme/note.yml": told})
    acme = acme_at(tmp_path)
    answered = acme.ask("POST", "/notes", {"text": "x"})
    assert (answered.status, answered.body is None) == (status, status == 204)
    engine = acme.engine()
    engine.send("acme/note", {})
    assert [call["state"] for call in engine.find("call")] == ["succeeded"]


def test_the_nearest_case_answers(acme: Acme) -> None:
    """Which is the one whose truth values and listed words are the same."""
    assert (acme.made(gift=True)["state"], acme.made(gift=False)["state"]) == ("wrapped", "open")


def test_an_object_is_remembered(acme: Acme) -> None:
    """It is read as it was answered, and nobody else's is changed."""
    one, other = acme.made(1), acme.made(2)
    assert acme.ask("GET", f"/orders/{one['id']}").body == one
    assert acme.ask("GET", f"/orders/{other['id']}").body == other


NUMBERED = {
    "request_types/acme/rate_order.yml": """\
summary: Say how an order was.
method: PATCH
url: /ratings/{{ data.number }}
idempotent: true
headers: {Content-Type: application/x-www-form-urlencoded}
lists: repeated
body: {stars: "{{ data.stars }}", tags: "{{ data.tags }}"}
data:
  required: [number]
  properties: {number: {type: integer}, stars: {type: integer}, tags: {type: array, items: {type: integer}}}
""",
    "tests/cases/request_types/acme/rate_order/rated.yml": """\
claim: an order is rated
data: {number: 7, stars: 5, tags: [1, 2]}
sends: {method: PATCH, url: "https://api.acme.test/v2/ratings/7", body: "stars=5&tags=1&tags=2"}
receives: {status: 200, body: {id: r_1, stars: 5, tags: [1, 2]}}
""",
}


@pytest.mark.parametrize("tags", [[3], [3, 4, 5]])
def test_a_number_in_a_path_and_a_list_of_one_name(tmp_path: Path, tags: list[int]) -> None:
    """What is text on its way is checked as what its schema says that it is."""
    acme = acme_at(tmp_path, files=NUMBERED)
    answered = acme.engine().send("acme/rate_order", {"number": 12, "stars": 4, "tags": tags}).response
    assert (answered["stars"], answered["tags"]) == (4, tags)


def test_an_action_changes_its_object(acme: Acme) -> None:
    """What was sent of it stays; the rest is as the case shows, with the object's own values in it."""
    order = acme.made(700)
    answered = acme.ask("POST", f"/orders/{order['id']}/cancel")
    changed = {"state": "canceled", "canceled_at": "2026-07-01T12:00:00Z", "given_back": 700}
    assert (answered.status, answered.body) == (200, {**order, **changed})
    assert acme.ask("GET", f"/orders/{order['id']}").body == answered.body


def test_an_object_is_removed(acme: Acme) -> None:
    """It is not read any more, and not listed."""
    order = acme.made()
    assert acme.ask("DELETE", f"/orders/{order['id']}").body == {"id": order["id"], "gone": True}
    assert acme.ask("GET", f"/orders/{order['id']}").status == 404
    assert acme.listed()["orders"] == []


def test_what_a_case_reads_is_known(acme: Acme) -> None:
    """A request that is a case's own is answered as there, though nobody made the object here."""
    assert acme.ask("GET", "/orders/ord_1").body["note"] == "Tea"
    assert acme.ask("GET", "/orders/ord_9").status == 404


@pytest.mark.parametrize("id", ["a b", "a?b", "a#b", "a%20b", "\u00e9"])
def test_an_id_of_any_letters_is_looked_for_as_it_is(acme: Acme, id: str) -> None:
    """Whether the sandbox is asked in this process or as a server is."""
    said = f"There is no {id!r} in orders."
    with pytest.raises(RejectedError, match=re.escape(said)):
        acme.engine().send("acme/get_order", {"id": id})
    path, key = f"/acme/v2/orders/{quote(id)}", {"x-api-key": acme.box.secrets["ACME_KEY"]}
    assert said in json.loads(Client(acme.box).get(path, headers=key).data)["error"].values()


def test_what_is_not_there_is_refused(acme: Acme) -> None:
    """In the shape that `error:` looks for."""
    for method, path in (("GET", "/nothing"), ("POST", "/orders/ord_9/cancel"), ("DELETE", "/orders/ord_9")):
        answered = acme.ask(method, path)
        assert (answered.status, list(answered.body["error"])) == (404, ["text"]), answered
    other = acme.box.answer("GET", "/other/orders", {}, b"")
    assert (other.status, other.body["message"]) == (404, "There is no gateway /other in this sandbox; there is /acme.")


FORM = "application/x-www-form-urlencoded"
PARTS = "multipart/form-data; boundary=b"


@pytest.mark.parametrize(
    ("kind", "raw", "meant"),
    [
        (
            FORM,
            b"a=1&b[c]=x&b[d][]=1&b[d][]=2&e[0]=y&e[1]=z",
            {"a": "1", "b": {"c": "x", "d": ["1", "2"]}, "e": ["y", "z"]},
        ),
        (FORM, b"a%5Bb%5D=%26&c=", {"a": {"b": "&"}, "c": ""}),
        ("application/json", b'{"a": 1}', {"a": 1}),
        ("text/plain", b"Tea", "Tea"),
        (PARTS, b'--b\r\nContent-Disposition: form-data; name="a[b]"\r\n\r\nx\r\n--b--\r\n', {"a": {"b": "x"}}),
    ],
)
def test_a_body_is_read_back(kind: str, raw: bytes, meant: Any) -> None:
    """As its Content-Type says; brackets nest."""
    assert Asked("POST", "/", {}, {"content-type": kind}, raw).body() == meant


# Lists ----------------------------------------------------------------------------------------------------------------


def test_a_list_is_read_page_by_page(acme: Acme) -> None:
    """Newest first, by the marks that it gives out, in the frame of the cases."""
    made = [acme.made(number)["id"] for number in range(1, 6)][::-1]
    first = acme.listed("?limit=2")
    assert [one["id"] for one in first["orders"]] == made[:2]
    second = acme.listed(f"?limit=2&cursor={first['next']}")
    third = acme.listed(f"?limit=2&cursor={second['next']}")
    assert [one["id"] for one in second["orders"] + third["orders"]] == made[2:]
    assert (set(third), third["next"]) == ({"orders", "next"}, None)
    assert len({first["next"], second["next"], "c_2"}) == 3


def test_a_list_is_filtered(acme: Acme) -> None:
    """By the properties that its items have."""
    order = acme.made(1)
    acme.made(2)
    acme.ask("POST", f"/orders/{order['id']}/cancel")
    assert [one["amount"] for one in acme.listed("?state=open")["orders"]] == [2]
    assert [one["amount"] for one in acme.listed("?amount[gte]=2&colour=red")["orders"]] == [2]
    assert acme.listed("?note[gte]=2")["orders"] == []
    assert acme.ask("GET", "/orders?a=1&a[b]=2").status == 400


def test_the_engine_reads_a_list_to_its_end(acme: Acme) -> None:
    """As the request type's `pages` say."""
    made = [acme.made(number)["id"] for number in range(1, 6)]
    read = acme.engine().send("acme/list_orders")
    assert [one["id"] for one in read.response["orders"]] == made[::-1]


def counted(following: str, *, bare: bool) -> dict[str, str]:
    """The list, with pages that are counted; its items alone, or in an object."""
    one, other = ([{"id": "ord_1"}, {"id": "ord_2"}], [{"id": "ord_3"}])
    answers = [page if bare else {"orders": page} for page in (one, other, [])]
    case = {
        "claim": "all orders are read",
        "data": {},
        "sends": [{"method": "GET", "url": "https://api.acme.test/v2/orders"}] * 3,
        "receives": [{"status": 200, "body": body} for body in answers],
    }
    items = "" if bare else "/orders"
    return {
        "request_types/acme/list_orders.yml": f"""\
summary: Read all orders.
method: GET
url: /orders
query: {{limit: 2}}
pages: {{next: {following}, items: "{items}"}}
data: {{}}
""",
        "tests/cases/request_types/acme/list_orders/pages.yml": json.dumps(case),
    }


@pytest.mark.parametrize("bare", [True, False])
@pytest.mark.parametrize("following", ['{page: "{{ page + 1 }}"}', '{page: "{{ page }}"}', '{offset: "{{ read }}"}'])
def test_a_list_is_read_by_counted_pages(tmp_path: Path, following: str, bare: bool) -> None:
    """Whatever its first page is called, each item is read once, and the list is whole."""
    acme = acme_at(tmp_path, files=counted(following, bare=bare))
    made = [acme.made(number)["id"] for number in range(1, 6)]
    read = acme.engine().send("acme/list_orders")
    found = read.response if bare else read.response["orders"]
    assert ([one["id"] for one in found], read.cut_off) == (made[::-1], False)
    far_on = acme.ask("GET", "/orders?limit=2&page=9&offset=90").body
    assert (far_on if bare else far_on["orders"]) == []


# What is refused ------------------------------------------------------------------------------------------------------


def test_credentials_are_checked(acme: Acme) -> None:
    """Before anything else."""
    for given in ("", "another"):
        answered = acme.ask("POST", "/orders", {"amount": "none"}, x_api_key=given)
        assert (answered.status, answered.body["error"]["text"]) == (401, "The credentials are missing or wrong.")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"amount": "7"}, "amount: '7' is not of type integer"),
        ({"amount": 0}, "amount: 0 is less than the minimum of 1"),
        ({"note": "Tea"}, "amount: is required"),
        ({"amount": 5, "colour": "red"}, "colour: is not known here"),
        ([5], "must be an object"),
    ],
)
def test_what_the_schema_refuses_is_refused(acme: Acme, body: Any, said: str) -> None:
    """In the shape of the case that is refused with that status; nothing is made."""
    answered = acme.ask("POST", "/orders", body)
    assert answered.status == 400
    assert answered.body["error"] == {"code": "invalid", "text": said, "help": "https://acme.test/help"}
    assert acme.listed()["orders"] == []


def test_what_is_no_json_is_refused(acme: Acme) -> None:
    """As a gateway would."""
    named = {"x-api-key": acme.box.secrets["ACME_KEY"], "content-type": "application/json"}
    assert acme.box.answer("POST", "/acme/v2/orders", named, b"{").status == 400


# Keys -----------------------------------------------------------------------------------------------------------------


def test_a_key_gets_the_same_answer(acme: Acme) -> None:
    """And nothing is done again, as long as keys last."""
    first = acme.ask("POST", "/orders", {"amount": 5}, idempotency_key="k1")
    assert acme.ask("POST", "/orders", {"amount": 5}, idempotency_key="k1").body == first.body
    assert len(acme.listed()["orders"]) == 1
    acme.clock[0] += timedelta(hours=25)
    assert acme.ask("POST", "/orders", {"amount": 5}, idempotency_key="k1").body != first.body


def test_a_key_with_another_body_is_refused(acme: Acme) -> None:
    """So that `mismatch:` is true of the answer."""
    acme.ask("POST", "/orders", {"amount": 5}, idempotency_key="k1")
    answered = acme.ask("POST", "/orders", {"amount": 6}, idempotency_key="k1")
    assert (answered.status, answered.body["error"]["code"]) == (400, "reused")


def test_a_refusal_is_kept_where_the_gateway_says_so(tmp_path: Path) -> None:
    """Acme keeps successes only; a refusal before anything is done is kept nowhere."""
    acme = acme_at(tmp_path, RULES)
    order = acme.made()
    acme.ask("POST", f"/orders/{order['id']}/cancel")
    assert acme.ask("POST", f"/orders/{order['id']}/cancel", idempotency_key="k1").status == 400
    assert acme.ask("POST", "/orders", {"amount": "x"}, idempotency_key="k1").status == 400
    assert acme.ask("POST", "/orders", {"amount": 5}, idempotency_key="k1").status == 201


def test_a_key_under_way_is_refused(tmp_path: Path) -> None:
    """With 409, until the first request is answered."""
    began, go = threading.Event(), threading.Event()

    def sleep(_: float) -> None:
        began.set()
        assert go.wait(10)

    acme = acme_at(tmp_path, sleep=sleep)
    told = {"amount": 5, "note": "sandbox_slow"}
    answers: list[Answered] = []
    asking = threading.Thread(target=lambda: answers.append(acme.ask("POST", "/orders", told, idempotency_key="k1")))
    asking.start()
    assert began.wait(10)
    assert acme.ask("POST", "/orders", told, idempotency_key="k1").status == 409
    go.set()
    asking.join()
    assert [one.status for one in answers] == [201]


# Events ---------------------------------------------------------------------------------------------------------------


def test_an_event_is_signed_and_about_the_object(tmp_path: Path) -> None:
    """In the shape of the processor's case; the engine takes it."""
    acme = acme_at(tmp_path, RULES)
    engine = acme.engine()
    order = engine.send("acme/create_order", {"amount": 5}).response
    engine.send("acme/cancel_order", {"id": order["id"]})
    (sent,) = acme.kept.events
    event = json.loads(sent.body)
    assert (sent.url, set(event), event["id"] != "ev_1") == (HOST, {"id", "kind", "at", "order"}, True)
    assert (event["at"], event["order"]["state"]) == ("2026-07-01T12:00:00Z", "canceled")
    acme.clock[0] = datetime.now(UTC)
    engine.send("acme/cancel_order", {"id": engine.send("acme/create_order", {"amount": 6}).response["id"]})
    assert engine.receive("acme", acme.kept.events[-1].headers, acme.kept.events[-1].body)["state"] == "processed"
    assert [one["state"] for one in engine.find("order", order="id")] == ["open", "canceled"]


def test_made_up_secrets_are_what_their_scheme_needs(acme: Acme) -> None:
    """And the same in every process."""
    assert acme.box.secrets["ACME_HOOK"].startswith("whsec_")
    assert acme.box.secrets == acme_at(acme.root).box.secrets


# What is remembered ---------------------------------------------------------------------------------------------------


def test_a_database_remembers_for_another_day(tmp_path: Path) -> None:
    """Objects and keys are there after a restart."""
    url = f"sqlite:///{tmp_path / 'sandbox.sqlite3'}"
    first = acme_at(tmp_path, store=SqlStore(url))
    order = first.ask("POST", "/orders", {"amount": 5}, idempotency_key="k1").body
    again = acme_at(tmp_path, store=SqlStore(url))
    assert again.ask("GET", f"/orders/{order['id']}").body == order
    assert again.ask("POST", "/orders", {"amount": 5}, idempotency_key="k1").body == order


# Scenarios, as the engine sees them -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("scenario", "error", "state", "orders"),
    [
        ("rate_limited", TransportError, "not_done", 0),
        ("rate_limited_once", None, "succeeded", 1),
        ("broken", UnknownOutcome, "unknown", 0),
        ("broken_after", UnknownOutcome, "unknown", 3),
        ("lost", None, "succeeded", 1),
        ("slow", None, "succeeded", 1),
        ("event_first", None, "succeeded", 1),
    ],
)
def test_what_the_engine_makes_of_it(
    acme: Acme, scenario: str, error: type[Exception] | None, state: str, orders: int
) -> None:
    """Acme saves successes only, so what broke after it was done is done again at each of three tries."""
    engine = acme.engine()
    told = {"amount": 5, "note": f"sandbox_{scenario}"}
    if error:
        with pytest.raises(error):
            engine.send("acme/create_order", told)
    else:
        assert engine.send("acme/create_order", told).response["amount"] == 5
    assert [call["state"] for call in engine.find("call")] == [state]
    assert len(acme.listed()["orders"]) == orders


def test_a_scenario_is_asked_for_by_a_header(acme: Acme) -> None:
    """So that no body has to be bent for it."""
    limited = acme.ask("POST", "/orders", {"amount": 5}, sandbox_scenario="rate_limited")
    assert (limited.status, limited.headers["Retry-After"]) == (429, "1")
    with pytest.raises(AnswerLost):
        acme.ask("POST", "/orders", {"amount": 5}, sandbox_scenario="lost")
    assert len(acme.listed()["orders"]) == 1
    assert acme.ask("POST", "/orders", {"amount": 5}, sandbox_scenario="nonsense").status == 201


def test_events_go_astray_on_purpose(tmp_path: Path) -> None:
    """Late, twice, or before the answer."""
    acme = acme_at(tmp_path, RULES)
    for scenario in ("event_late", "event_twice", "event_first"):
        acme.ask("POST", f"/orders/{acme.made()['id']}/cancel", sandbox_scenario=scenario)
    assert [one.wait for one in acme.kept.events] == [3.0, 0.0, 0.0]
    assert acme.kept.events[1].body == acme.kept.events[2].body
    assert acme.kept.first == ["order.canceled"]


@pytest.mark.parametrize("scenario", ["event_late", "event_twice", "event_first"])
def test_whenever_events_come_the_records_are_right(tmp_path: Path, scenario: str) -> None:
    """And an event that comes twice is one."""
    acme = acme_at(tmp_path, RULES, now=lambda: datetime.now(UTC))
    engine = acme.engine()
    order = engine.send("acme/create_order", {"amount": 5}).response
    acme.kept.at_once = lambda one: engine.receive("acme", one.headers, one.body)
    engine.send("acme/cancel_order", {"id": order["id"], "why": f"sandbox_{scenario}"})
    for one in acme.kept.events:
        engine.receive("acme", one.headers, one.body)
    assert [event["state"] for event in engine.find("event")] == ["processed"]
    assert [one["state"] for one in engine.find("order")] == ["canceled"]


def test_a_lost_answer_ends_the_connection(acme: Acme) -> None:
    """Over HTTP there is not a byte of it."""
    import http.client

    with Served(acme.box) as served:
        line = http.client.HTTPConnection(served.url.removeprefix("http://"), timeout=10)
        named = {"X-Api-Key": acme.box.secrets["ACME_KEY"], "Content-Type": "application/json"}
        line.request("POST", "/acme/v2/orders", json.dumps({"amount": 5, "note": "sandbox_lost"}), named)
        with pytest.raises(http.client.RemoteDisconnected):
            line.getresponse()
        line.close()
    assert len(acme.listed()["orders"]) == 1


# The sandbox file -----------------------------------------------------------------------------------------------------


def faults_of(root: Path, text: str) -> list[str]:
    """What is wrong with a sandbox file."""
    path = root / "request_types/acme/_sandbox.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    with pytest.raises(DefinitionError) as refused:
        read_files([root], None)
    return [str(fault) for fault in refused.value.faults]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rotes: {}", "1:1: 'rotes' is not known here; did you mean 'routes'?"),
        ("routes: {GIVE /orders: {}}", "1:1: 'GIVE /orders' does not fit the pattern"),
        (
            "routes:\n  POST /a:\n    set: {x: '{{ reqest.x }}'}",
            "3:18: the name 'reqest' is not known here",
        ),
        (
            "routes:\n  POST /a:\n    refuse:\n      - {when: '{{ 1 }}', as: mising}",
            "4:27: there is no refusal 'mising'",
        ),
        ("routes:\n  POST /a:\n    do: [pay]", "3:10: there is no step 'pay' in steps:"),
        ("routes:\n  POST /a:\n    let: {b: '{{ a }}', a: 1}", "3:18: the name 'a' is not known here"),
        ("let:\n  a: '{{ 1 | upcase }}'", "2:14: there is no filter 'upcase'"),
        ("always: {'/a/{b}': {}}", "'set' is required"),
        ("- a", "1:1: ['a'] is not of type object"),
    ],
)
def test_a_mistake_is_found_before_anything_is_asked(tmp_path: Path, text: str, said: str) -> None:
    """With its line and column."""
    (fault,) = faults_of(tmp_path, text)
    assert fault.startswith("request_types/acme/_sandbox.yml:")
    assert said in fault


def test_a_case_that_is_not_there(tmp_path: Path) -> None:
    """Is a mistake of the file, too."""
    rules = "routes:\n  POST /orders:\n    like: plased\n"
    with pytest.raises(DefinitionError, match=r"_sandbox\.yml:3:5: there is no case 'plased'; did you mean 'placed'"):
        acme_at(tmp_path, rules)


def test_rules_that_fail_say_where(tmp_path: Path) -> None:
    """A sum of texts is no sum; the sandbox answers so, and goes on."""
    acme = acme_at(tmp_path, "routes:\n  POST /orders:\n    set: {amount: '{{ request.note * 2 }}'}\n")
    answered = acme.ask("POST", "/orders", {"amount": 5, "note": "x"})
    assert answered.status == 500
    assert "request_types/acme/_sandbox.yml:3" in answered.body["message"]
    assert acme.listed()["orders"] == []


# A host in sandbox mode -----------------------------------------------------------------------------------------------


def test_one_setting_leads_every_gateway_to_a_sandbox(tmp_path: Path) -> None:
    """And none of them anywhere else, whatever other settings say."""
    settings = {"CALLSHEET_SANDBOX": "http://127.0.0.1:12111", "CALLSHEET_ACME_BASE_URL": "https://proxy.test"}
    files = OnlyHere(acme_at(tmp_path).root, Settings(None, settings).base_urls())
    engine = Engine(store=MemoryStore(), environment=settings, files=files)
    assert engine.plan("acme/get_order", {"id": "ord_1"}).request.url == "http://127.0.0.1:12111/acme/orders/ord_1"


@pytest.mark.parametrize(
    "settings",
    [
        {"CALLSHEET_SANDBOX": "http://127.0.0.1:1", "CALLSHEET_MODE": "live"},
        {"CALLSHEET_SANDBOX": "http://sandbox.test"},
        {"CALLSHEET_SANDBOX": "https://127.0.0.1:1/stripe"},
    ],
)
def test_no_sandbox_for_live_money_or_elsewhere(settings: Mapping[str, str]) -> None:
    """It is refused at start."""
    with pytest.raises(SettingError, match="CALLSHEET_SANDBOX"):
        Settings(None, settings)


def test_the_shapes_of_the_engines_errors_are_real(acme: Acme) -> None:
    """What the sandbox refuses is a refusal to the engine."""
    engine = acme.engine()
    with pytest.raises(RejectedError, match="There is no 'ord_9' in orders"):
        engine.send("acme/cancel_order", {"id": "ord_9"})
    with pytest.raises(DataError):
        engine.send("acme/create_order", {"amount": 0})
