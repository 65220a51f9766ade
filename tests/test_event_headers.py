"""A gateway that says in headers what an event is, as GitHub does: those that its file names are kept with it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import pytest
from commands import run
from flask import Flask
from hosts import OnlyHere, write

from engine.cases import CaseRunner, read_cases
from engine.catalog import shipped
from engine.core import Engine
from engine.errors import DefinitionError
from engine.sandbox.events import Events, Target
from engine.signatures import scheme_of, sign
from engine.store import Store
from engine.store.memory import MemoryStore
from engine.store.sql import SqlStore
from engine.web import Callsheet

GATEWAY = "request_types/hub/_gateway.yml"
HUB = {
    GATEWAY: """\
summary: A gateway whose events say in headers what they are.
base_url: https://api.hub.test
webhook:
  scheme: github
  secrets: [HUB_HOOK]
  headers: [X-GitHub-Event, X-GitHub-Delivery]
  type: "{{ headers['x-github-event'] ~ ('.' ~ event.action if event.action else '') }}"
""",
    "response_mappers/records/issue.yml": """\
summary: An issue.
unique: [number]
properties: {number: {type: integer}, state: {type: string}}
""",
    "webhook_processors/hub/issues.closed.json.j2": """\
{"upsert": "issue", "where": {"number": {{ event.issue.number }}}, "set": {"state": "closed"}}
""",
    "webhook_processors/hub/push.json.j2": """\
{"upsert": "issue", "where": {"number": {{ event.number }}}, "set": {"state": "pushed"}}
""",
    "tests/cases/webhook_processors/hub/issues.closed/closed.yml": """\
claim: an issue is closed
headers: {X-GitHub-Event: issues}
event: {action: closed, issue: {number: 7}}
after: {issue: [{number: 7, state: closed}]}
""",
}
HUB_SECRET = "hook_0123456789abcdef0123456789abcdef"
CLOSED = b'{"action": "closed", "issue": {"number": 7}}'
HUB_HEADERS = {"X-GitHub-Event": "issues", "X-GitHub-Delivery": "72d3162e"}


def hub(root: Path, files: Mapping[str, str] = HUB, store: Store | None = None) -> Engine:
    """A host of that gateway."""
    folder, environment = write(root, files), {"HUB_HOOK": HUB_SECRET, "CALLSHEET_SECRET_KEY": "k" * 32}
    return Engine(folder, store=store or MemoryStore(), environment=environment, files=OnlyHere(folder, None))


def signed(body: bytes, **others: str) -> dict[str, str]:
    """The headers of a delivery of `body`; `others` in the place of usual ones."""
    return {**HUB_HEADERS, **others, **sign(scheme_of("github"), HUB_SECRET, body, 0)}


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest) -> Store:
    """A store of either kind: a database writes a new event by a statement of its own."""
    if request.param == "memory":
        return MemoryStore()
    return SqlStore(str(request.getfixturevalue("sqlite_store_url")))


def test_headers_say_what_an_event_is(tmp_path: Path, store: Store) -> None:
    """Those that the file names are kept with the event and in reach of it, in lower case; no others are."""
    engine = hub(tmp_path, store=store)
    row = engine.receive("hub", {**signed(CLOSED), "Authorization": "Basic eDp5", "X-Other": "1"}, CLOSED)
    assert (row["event_type"], row["state"]) == ("issues.closed", "processed")
    assert engine.find("event")[0]["headers"] == {name.lower(): value for name, value in HUB_HEADERS.items()}
    assert engine.find("issue")[0]["number"] == 7
    assert engine.replay(row, "ann", "again")["event_type"] == "issues.closed"


def test_an_event_without_an_action_is_told_by_its_header(tmp_path: Path) -> None:
    """A push or a ping has none: it has a processor of that name, or is kept without one."""
    engine, bodies = hub(tmp_path), {"push": b'{"ref": "refs/heads/main", "number": 7}', "ping": b'{"zen": "Keep it."}'}
    rows = [engine.receive("hub", signed(body, **{"X-GitHub-Event": name}), body) for name, body in bodies.items()]
    assert [(row["event_type"], row["state"]) for row in rows] == [("push", "processed"), ("ping", "ignored")]
    assert [row["state"] for row in engine.find("issue")] == ["pushed"]
    (recipe,) = re.findall(r"\n  type: .*x-github-event.*\n", (shipped() / "README.md").read_text("utf-8"))
    assert recipe in HUB[GATEWAY]


def test_an_event_without_an_id_is_told_from_others_by_its_body(tmp_path: Path, store: Store) -> None:
    """What a signature does not cover makes no event a new one: the same body under another id is the same event."""
    engine = hub(tmp_path, store=store)
    for number in range(3):
        others = {"X-GitHub-Delivery": f"other-{number}", "X-GitHub-Event": f"issues{number or ''}"}
        engine.receive("hub", signed(CLOSED, **others), CLOSED)
    assert [row["event_type"] for row in engine.find("event")] == ["issues.closed"]
    other = CLOSED.replace(b"7", b"8")
    engine.receive("hub", signed(other), other)
    assert len(engine.find("event")) == 2


def test_a_delivery_without_a_header_that_is_needed(tmp_path: Path, store: Store) -> None:
    """It is put aside; once the file says otherwise, a replay goes by what the file says then."""
    row = hub(tmp_path, store=store).receive("hub", sign(scheme_of("github"), HUB_SECRET, CLOSED, 0), CLOSED)
    assert (row["state"], row["headers"]) == ("quarantined", {})
    gateway = HUB[GATEWAY].replace("headers['x-github-event']", "'issues'")
    again = hub(tmp_path, {GATEWAY: gateway}, store).replay(row, "ann", "the file was mended")
    assert (again["event_type"], again["message"]) == ("issues.closed", None)


def test_people_see_them(tmp_path: Path) -> None:
    """On the command line and in the console: they may be all that tells why an event is what it is."""
    store = SqlStore(f"sqlite:///{tmp_path / 'callsheet.sqlite3'}")
    app, row = Flask("hub"), hub(tmp_path, store=store).receive("hub", signed(CLOSED), CLOSED)
    store.close()
    told = run(tmp_path, "events", row.id, HUB_HOOK=HUB_SECRET).stdout
    assert "x-github-event: issues" in told
    engine = hub(tmp_path)
    Callsheet(app, engine=engine, worker=False, login=lambda: ("ann", "read"))
    row = engine.receive("hub", signed(CLOSED, **{"X-GitHub-Delivery": "<b>"}), CLOSED)
    page = app.test_client().get(f"/callsheet/console/events/{row.id}").text
    assert "<dt>x-github-delivery</dt> <dd><code>&lt;b&gt;</code></dd>" in page


def test_the_route_hands_them_on(tmp_path: Path) -> None:
    """Through Flask, and past it."""
    engine, app = hub(tmp_path), Flask("hub")
    Callsheet(app, engine=engine, worker=False)
    for number in range(3):
        body = CLOSED.replace(b"7", str(number).encode())
        answer = app.test_client().post("/callsheet/webhooks/hub", data=body, headers=signed(body))
        assert answer.status_code == 200
    assert [row["event_type"] for row in engine.find("event")] == ["issues.closed"] * 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("headers['X-GitHub-Event']", "a header is named in lower case here: write 'x-github-event'"),
        ("headers['x-github-hook']", "'x-github-hook' is not declared here"),
    ],
)
def test_a_header_that_is_not_kept(tmp_path: Path, name: str, said: str) -> None:
    """A name that could never be there is found at start."""
    files = {key: text.replace("headers['x-github-event']", name) for key, text in HUB.items()}
    with pytest.raises(DefinitionError, match=said):
        hub(tmp_path, files)


def test_a_case_and_a_sandbox_have_headers(tmp_path: Path) -> None:
    """A case gives the headers of its delivery, and the sandbox sends its events with them."""
    root = write(tmp_path, HUB)
    (case,) = read_cases(root / "tests" / "cases")
    assert CaseRunner(root).run(case).differences == []
    gateway = hub(tmp_path / "b").catalog.gateway("hub")
    events, now = Events(gateway, [case]), datetime(2026, 1, 1, tzinfo=UTC)
    event = events.made("issues.closed", {"id": "i"}, None, None, {}, now)
    target = Target("http://127.0.0.1/hook", HUB_SECRET, "")
    (delivery,) = events.deliveries([(event, target)], now)
    assert (delivery.headers["X-GitHub-Event"], delivery.type) == ("issues", "issues.closed")
    row = hub(tmp_path / "c").receive("hub", delivery.headers, delivery.body)
    assert row["event_type"] == "issues.closed"


NUMBERED = {
    **HUB,
    GATEWAY: HUB[GATEWAY] + "  id: \"{{ headers['x-github-delivery'] }}\"\n  time: \"{{ headers['x-time'] }}\"\n",
}


@pytest.mark.parametrize("shown", ["", ", X-GitHub-Delivery: d-1, X-Time: '2026-01-01T00:00:00Z'"])
def test_each_event_of_a_sandbox_has_an_id_of_its_own(tmp_path: Path, shown: str) -> None:
    """In the header that the file reads it in, and so the time; one event that goes to two addresses is one."""
    files = {
        name: text.replace("X-GitHub-Event: issues}", f"X-GitHub-Event: issues{shown}}}")
        for name, text in NUMBERED.items()
    }
    files[GATEWAY] = files[GATEWAY].replace("X-GitHub-Delivery]", "X-GitHub-Delivery, X-Time]")
    engine, now = hub(tmp_path, files), datetime(2026, 7, 1, tzinfo=UTC)
    events = Events(engine.catalog.gateway("hub"), read_cases(tmp_path / "tests" / "cases"))
    made = [events.made("issues.closed", {"id": number}, None, None, {}, now) for number in range(2)]
    target, other = (Target(f"http://127.0.0.1/{name}", HUB_SECRET, "") for name in ("hook", "other"))
    deliveries = events.deliveries([(made[0], target), (made[1], target), (made[0], other)], now)
    rows = [engine.receive("hub", one.headers, one.body) for one in deliveries]
    assert rows[0].id == rows[2].id
    kept = engine.find("event", order="id")
    assert [one["happened_at"][:10] for one in kept] == ["2026-07-01"] * 2
    assert len({one["event_id"] for one in kept}) == 2
    assert [one["headers"]["x-github-event"] for one in kept] == ["issues"] * 2
    assert all(one["event_id"].startswith("d-" if shown else "evt_") for one in kept)


def test_an_id_that_the_signature_has_in_its_header(tmp_path: Path) -> None:
    """It is sent once, as it was signed."""
    scheme = "{header: X-Signature, id: Hook-Id, signed: '{id}.{body}'}"
    gateway = HUB[GATEWAY].replace("scheme: github", f"scheme: {scheme}").replace("X-GitHub-Delivery]", "Hook-Id]")
    engine = hub(tmp_path, {**HUB, GATEWAY: gateway + "  id: \"{{ headers['hook-id'] }}\"\n"})
    events, now = Events(engine.catalog.gateway("hub"), read_cases(tmp_path / "tests" / "cases")), datetime.now(UTC)
    target = Target("http://127.0.0.1/hook", HUB_SECRET, "")
    found = [(events.made("issues.closed", {"id": number}, None, None, {}, now), target) for number in range(2)]
    deliveries = events.deliveries(found, now)
    assert [[name.lower() for name in one.headers].count("hook-id") for one in deliveries] == [1, 1]
    for one in deliveries:
        assert engine.receive("hub", one.headers, one.body)["event_id"] == one.headers["Hook-Id"]
    assert len(engine.find("event")) == 2


def test_when_an_event_happened_is_the_same_on_every_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time that names no zone is in UTC, whatever the machine's own is."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        dated = {**HUB, GATEWAY: HUB[GATEWAY] + '  time: "{{ event.at }}"\n'}
        body = b'{"action": "closed", "at": "2026-01-01T00:00:00"}'
        row = hub(tmp_path, dated).receive("hub", signed(body), body)
    finally:
        monkeypatch.undo()
        time.tzset()
    assert row["happened_at"] == "2026-01-01T00:00:00.000Z"
