"""Test and live: nothing that was begun in one goes on in the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hosts import Hours, OnlyHere, Told, ok, write

from engine import Engine, MappingError, SettingError, UnknownOutcome, calls
from engine.records import Record
from engine.settings import MODES
from engine.signatures import scheme_of, sign
from engine.store.memory import MemoryStore
from engine.windows import may_resend

pytestmark = pytest.mark.usefixtures("alone")

GATEWAY, TELL = "request_types/pal/_gateway.yml", "request_types/mint/tell.yml"
OTHER = {"test": "live", "live": "test"}
SECRET = "whsec_0123456789abcdef0123456789abcdef"
PAL = """\
summary: A bank with a system for tests at a host of its own.
base_url: BASE_URL
auth: {bearer: PAL_KEY}
idempotency: {header: Idempotency-Key, lasts: 24h}
webhook:
  scheme: stripe
  secrets: [PAL_HOOK]
  id: "{{ event.id }}"
  type: "{{ event.type }}"
"""
FILES = {
    "request_types/pal/pay.yml": """\
summary: Pay.
method: POST
url: /payments
body: {amount: "{{ data.amount }}", ref: "{{ call_id }}"}
expect: {body: {required: [id]}}
lookup: pal/find_payment
data: {properties: {amount: {type: integer}}}
""",
    "request_types/pal/find_payment.yml": """\
summary: Find a payment by our reference.
method: GET
url: /payments
query: {ref: "{{ data.call_id }}"}
found: "{{ response.items[0] }}"
data: {required: [call_id], properties: {call_id: {type: string}}}
""",
    "request_types/mint/_gateway.yml": "summary: Another.\nbase_url: https://api.mint.test/v1\nlive_key: '^live_'\n",
    TELL: """\
summary: Tell somebody.
method: POST
url: /messages
base_url: BASE_URL
auth: {bearer: MINT_KEY}
at_most_once: true
""",
    "response_mappers/records/paid.yml": """\
summary: What was paid.
required: [gateway_id]
unique: [gateway_id]
properties: {gateway_id: {type: string}}
""",
    "response_mappers/pal/pay.json.j2": """\
{"upsert": "paid", "where": {"gateway_id": {{ response.id }}}, "set": {}}
""",
}


def files_at(base_url: str) -> dict[str, str]:
    """Two gateways: pal is at `base_url`; mint is at one place, and one request type of it at `base_url`."""
    texts = {GATEWAY: PAL, **FILES}
    return {name: text.replace("BASE_URL", base_url) for name, text in texts.items()}


def settings_of(mode: str) -> dict[str, str]:
    """What a host in a mode is given."""
    keys = {"PAL_KEY": f"key_for_{mode}_0123456789", "MINT_KEY": f"{mode}_0123456789abcdef", "PAL_HOOK": SECRET}
    return {**keys, "CALLSHEET_MODE": mode}


# A call is of one mode ------------------------------------------------------------------------------------------------


@dataclass
class Pair:
    """A host in each mode on one store, at `base_url`; `gateways` are what each of them reaches."""

    folder: Path
    hours: Hours = field(default_factory=Hours)
    store: MemoryStore = field(default_factory=MemoryStore)

    def __post_init__(self) -> None:
        self.clock = self.hours.clock()
        self.gateways = {mode: Told(ok({"id": "p1"})) for mode in MODES}
        self.hosts = {mode: self.engine(mode) for mode in MODES}

    def engine(self, mode: str) -> Engine:
        """A host in `mode`, to which nobody comes but who is asked for."""
        engine = Engine(
            self.folder,
            store=self.store,
            environment=settings_of(mode),
            dispatcher=self.gateways[mode],
            clock=self.clock,
            files=OnlyHere(self.folder, mode=mode),
        )
        engine.wake = lambda: None
        return engine

    @property
    def call(self) -> Record:
        """The only call of the journal."""
        (call,) = self.store.find("call")
        return call

    def sent(self) -> dict[str, list[str]]:
        """What left for the gateway, by the mode of the host that sent it."""
        return {mode: [f"{one.method} {one.url}" for one in told.requests] for mode, told in self.gateways.items()}


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    """Two hosts, of gateways that are at the same place in both modes."""
    return Pair(write(tmp_path, files_at("https://api.pal.test/v1")))


@pytest.mark.parametrize("mode", MODES)
def test_a_queued_call_waits_for_a_host_in_its_mode(pair: Pair, mode: str) -> None:
    """One in the other mode sends nothing, and says in the call's row why; then it is sent as it was written down."""
    here, there = pair.hosts[mode], pair.hosts[OTHER[mode]]
    here.send_later("pal/pay", {"amount": 5})
    there.run_due()
    assert pair.sent() == {"test": [], "live": []}
    assert pair.call["state"] == "prepared"
    assert pair.call["message"] == (
        f"CALLSHEET_MODE: is {OTHER[mode]}, and the call {pair.call.id} is of {mode} mode;"
        " it is left to a host in that mode"
    )
    pair.hours.pass_by(2)
    here.run_due()
    assert pair.call["state"] == "succeeded"
    assert pair.sent() == {mode: [f"POST {pair.call['request']['url']}"], OTHER[mode]: []}


@pytest.mark.parametrize("mode", MODES)
def test_nobody_asks_in_one_mode_what_was_done_in_the_other(pair: Pair, mode: str) -> None:
    """That it is not there proves nothing there: a payment would be called not done, and made a second time."""
    here, there = pair.hosts[mode], pair.hosts[OTHER[mode]]
    pair.gateways[mode].answers = [ok(status=500)]
    with pytest.raises(UnknownOutcome):
        here.send("pal/pay", {"amount": 5}, operation="order-1")
    types = [host.catalog.request_type("pal/pay") for host in (here, there)]
    assert [may_resend(type, pair.call, pair.hours.now) for type in types] == [True, False]
    pair.gateways[OTHER[mode]].answers = [ok({"items": []})]
    for _ in range(3):
        pair.hours.pass_by(86_400)
        there.run_due()
    with pytest.raises(SettingError, match=f"is {OTHER[mode]}, and the call call-1 is of {mode} mode"):
        there.recovery.look_up(pair.call, "ann", "the customer asks")
    assert (pair.sent()[OTHER[mode]], pair.call["state"]) == ([], "unknown")
    pair.gateways[mode].answers = [ok({"items": [{"id": "p1"}]})]
    pair.hours.pass_by(86_400)
    here.run_due()
    assert pair.call["state"] == "succeeded"
    assert pair.sent()[OTHER[mode]] == []


def test_a_call_whose_process_died_waits_for_a_host_in_its_mode(pair: Pair) -> None:
    """Inside its key's window, too: its bytes are for the place of its mode."""
    pair.hosts["live"].send_later("pal/pay", {"amount": 5})
    pair.store.apply([calls.due(pair.hours.now, 1)])
    pair.hours.pass_by(calls.LEASE + 1)
    pair.hosts["test"].run_due()
    assert (pair.sent(), pair.call["state"]) == ({"test": [], "live": []}, "unknown")
    pair.hours.pass_by(2)
    pair.hosts["live"].run_due()
    assert pair.call["state"] == "succeeded"
    assert pair.sent() == {"test": [], "live": [f"POST {pair.call['request']['url']}"]}


def test_an_operation_is_another_in_the_other_mode(pair: Pair) -> None:
    """It is carried out in each, at the place of each."""
    for host in pair.hosts.values():
        host.send("pal/pay", {"amount": 5}, operation="order-1")
    test, live = pair.store.find("call", order="id")
    assert (test.scope.live, live.scope.live, test["key"] == live["key"]) == (False, True, False)
    assert pair.sent() == {"test": [f"POST {test['request']['url']}"], "live": [f"POST {live['request']['url']}"]}


def test_what_follows_from_a_call_is_of_its_mode(pair: Pair) -> None:
    """Mapped again in the other mode, it would be made at the other place: nothing is, until its own mode maps it."""
    pair.gateways["test"].answers = [ok({"id": 5})]
    with pytest.raises(MappingError):
        pair.hosts["test"].send("pal/pay", {"amount": 5})
    write(pair.folder, {"response_mappers/pal/pay.json.j2": '{"send": "mint/tell", "data": {}}'})
    with pytest.raises(MappingError, match="the call 'mint/tell' that follows is left to a host in the other mode"):
        pair.engine("live").recovery.remap(pair.call)
    assert pair.call["state"] == "unmapped"
    pair.engine("test").recovery.remap(pair.call)
    first, second = pair.store.find("call", order="id")
    assert (first["state"], second["request_type"], second.scope.live) == ("succeeded", "mint/tell", False)


def test_what_an_event_has_sent_is_of_its_mode(pair: Pair) -> None:
    """An event that does not say its mode is of that in which it came."""
    write(pair.folder, {"webhook_processors/pal/paid.json.j2": '{"send": "mint/tell", "data": {}}'})
    test, live = (pair.engine(mode) for mode in MODES)
    body = b'{"id": "ev_1", "type": "paid"}'
    test.accept("pal", sign(scheme_of("stripe"), SECRET, body, pair.hours.now.timestamp()), body)
    pair.hours.pass_by(60)
    live.run_due()
    (event,) = pair.store.find("event")
    said = "the call 'mint/tell' that follows is left to a host in the other mode"
    assert (event["state"], event["message"], pair.store.find("call")) == ("failed", said, [])
    pair.hours.pass_by(60)
    test.run_due()
    assert (pair.store.find("event")[0]["state"], pair.call.scope.live) == ("processed", False)
