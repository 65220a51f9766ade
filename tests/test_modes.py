"""Test and live: each has its own place at a gateway, and nothing that was begun in one goes on in the other."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from commands import Gateway, run
from hosts import Hours, OnlyHere, Told, ok, write

from engine import Engine, MappingError, SettingError, UnknownOutcome, calls
from engine.catalog import Catalog, load
from engine.code_cache import code_cache
from engine.dispatcher import Dispatcher, Failure
from engine.doctor import examine
from engine.errors import DefinitionError
from engine.records import Record
from engine.reloading import Files
from engine.sandbox import Material, Sandbox
from engine.settings import MODES, Settings
from engine.signatures import scheme_of, sign
from engine.store.memory import MemoryStore
from engine.windows import IN_ANOTHER_MODE, MOST_TRIES, may_resend

pytestmark = pytest.mark.usefixtures("alone")

GATEWAY, TELL = "request_types/pal/_gateway.yml", "request_types/mint/tell.yml"
OTHER = {"test": "live", "live": "test"}
SECRET = "whsec_0123456789abcdef0123456789abcdef"
BOTH = "{test: https://sandbox.pal.test/try/v1, live: https://api.pal.test/v1}"
OAUTH2 = "{oauth2: {token_endpoint: ENDPOINT, client_id: PAL_ID, client_secret: PAL_KEY}}"
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


@pytest.fixture
def servers() -> Iterator[dict[str, Gateway]]:
    """A gateway for each mode, each with a port of its own."""
    made = {mode: Gateway() for mode in MODES}
    yield made
    for one in made.values():
        one.server.shutdown()
        one.server.server_close()
        one.thread.join()


def asked(servers: dict[str, Gateway]) -> dict[str, list[str]]:
    """What each server was asked."""
    return {mode: [f"{method} {path}" for method, path, *_ in one.requests] for mode, one in servers.items()}


def urls(catalog: Catalog) -> list[str]:
    """Where calls go."""
    return [catalog.request_types[name].base_url for name in ("pal/pay", "mint/tell")]


# A place for each mode ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_a_call_goes_to_the_place_of_its_mode(tmp_path: Path, servers: dict[str, Gateway], mode: str) -> None:
    """With the key of that mode, and to no other place; a request type's own base_url is read alike."""
    base_url = f"{{test: {servers['test'].url}/try/v1, live: {servers['live'].url}/v1}}"
    folder = write(tmp_path, files_at(base_url))
    dispatcher = Dispatcher()
    engine = Engine(folder, store=MemoryStore(), environment=settings_of(mode), dispatcher=dispatcher)
    result = engine.send("pal/pay", {"amount": 5})
    engine.send("mint/tell")
    dispatcher.close()
    path = {"test": "/try/v1", "live": "/v1"}[mode]
    assert asked(servers) == {mode: [f"POST {path}/payments", f"POST {path}/messages"], OTHER[mode]: []}
    keys = [headers["Authorization"] for *_, headers in servers[mode].requests]
    assert keys == [f"Bearer key_for_{mode}_0123456789", f"Bearer {mode}_0123456789abcdef"]
    assert result.call is not None
    assert (result.call.scope.live, result.records[0]["live"]) == (mode == "live", mode == "live")


@pytest.mark.parametrize("endpoint", ["/token", "{test: TEST/try/v1/token, live: LIVE/v1/token}"])
@pytest.mark.parametrize("mode", MODES)
def test_a_token_is_fetched_at_the_place_of_its_mode(
    tmp_path: Path, servers: dict[str, Gateway], mode: str, endpoint: str
) -> None:
    """A host in the other mode asks nobody for one, whatever calls it finds that need it."""
    texts = files_at("{test: TEST/try/v1, live: LIVE/v1}")
    texts[GATEWAY] = texts[GATEWAY].replace("{bearer: PAL_KEY}", OAUTH2.replace("ENDPOINT", endpoint))
    for place, one in servers.items():
        texts = {name: text.replace(place.upper(), one.url) for name, text in texts.items()}
    folder = write(tmp_path, texts)
    for one in servers.values():
        one.answer = lambda *_: (200, {"id": "p1", "access_token": "token_0123456789", "token_type": "Bearer"})
    store, dispatcher = MemoryStore(), Dispatcher()
    here, there = (
        Engine(folder, store=store, environment={**settings_of(one), "PAL_ID": "pal"}, dispatcher=dispatcher)
        for one in (mode, OTHER[mode])
    )
    here.send_later("pal/pay", {"amount": 5})
    there.run_due()
    here.send("pal/pay", {"amount": 5})
    dispatcher.close()
    path = {"test": "/try/v1", "live": "/v1"}[mode]
    assert asked(servers) == {mode: [f"POST {path}/token", f"POST {path}/payments"], OTHER[mode]: []}
    assert servers[mode].requests[1][3]["Authorization"] == "Bearer token_0123456789"


def test_one_base_url_is_for_both_modes(tmp_path: Path) -> None:
    """As it was before a file could tell them apart."""
    folder = write(tmp_path, files_at("https://api.pal.test/v1"))
    assert [urls(load([folder], mode=mode)) for mode in MODES] == [["https://api.pal.test/v1"] * 2] * 2


@pytest.mark.parametrize(
    ("written", "column", "said"),
    [
        ("{test: https://a.test}", 1, "'live' is required"),
        ("{live: https://a.test}", 1, "'test' is required"),
        ("{test: https://a.test, live: https://b.test, prod: https://c.test}", 56, "'prod' is not known here"),
        ("{test: https://a.test, live: b.test}", 34, "'b.test' must be a URL of scheme"),
        ("{test: https://a.test/, live: https://b.test}", 12, "'https://a.test/' must be a URL of scheme, host"),
        ("{test: https://a.test, live: null}", 34, "None is not of type string"),
        ("{test: https://a.test, live: 'http://b.test'}", 34, "'base_url' must be https; plain http is for this"),
        ("{test: 'http://a.test', live: https://b.test}", 12, "'base_url' must be https; plain http is for this"),
        ("{test: https://a.test, live: 'https://[b.test'}", 34, "'base_url' must be a URL of scheme, host and path"),
        ("'https://a.test:99999'", 1, "'base_url' must be a URL of scheme, host and path"),
        ("[https://a.test]", 1, "['https://a.test'] is not of type string or object"),
    ],
)
@pytest.mark.parametrize("mode", MODES)
def test_a_base_url_that_is_none(tmp_path: Path, mode: str, written: str, column: int, said: str) -> None:
    """Both places are checked, whichever of them is in use, at the gateway and at a request type."""
    places = {
        (GATEWAY, 2): {GATEWAY: PAL.replace("BASE_URL", written)},
        (TELL, 4): {**FILES, GATEWAY: PAL.replace("BASE_URL", BOTH), TELL: FILES[TELL].replace("BASE_URL", written)},
    }
    for (file, line), texts in places.items():
        folder = write(tmp_path / str(line), texts)
        with pytest.raises(DefinitionError) as raised:
            load([folder], mode=mode)
        (fault,) = raised.value.faults
        assert (fault.file, fault.line, fault.column) == (file, line, column)
        assert fault.message.startswith(said)


@pytest.mark.parametrize(
    ("written", "column", "said"),
    [
        ("{test: https://a.test/token}", 17, "'live' is required"),
        ("{test: https://a.test/token, live: token}", 62, "'token_endpoint' must be a path below base_url"),
        ("{test: 'http://a.test/token', live: /token}", 34, "'token_endpoint' must be https; plain http is for this"),
    ],
)
def test_a_token_endpoint_that_is_none(tmp_path: Path, written: str, column: int, said: str) -> None:
    """Of either mode."""
    text = PAL.replace("BASE_URL", BOTH).replace("{bearer: PAL_KEY}", OAUTH2.replace("ENDPOINT", written))
    with pytest.raises(DefinitionError) as raised:
        load([write(tmp_path, {GATEWAY: text})])
    (fault,) = raised.value.faults
    assert (fault.file, fault.line, fault.column, fault.message[: len(said)]) == (GATEWAY, 3, column, said)


@pytest.mark.parametrize("mode", MODES)
def test_another_address_stands_in_the_place_of_both(tmp_path: Path, mode: str) -> None:
    """A setting, an argument: in either mode, and a key for live money is not sent there."""
    folder = write(tmp_path, files_at(BOTH))
    settings = settings_of(mode) | {"CALLSHEET_PAL_BASE_URL": "https://proxy.test/a"}
    engine = Engine(folder, store=MemoryStore(), environment=settings, base_urls={"mint": "https://proxy.test/b"})
    assert urls(engine.catalog) == ["https://proxy.test/a", "https://proxy.test/b"]
    assert [engine.catalog.request_types[name].redirected for name in ("pal/pay", "mint/tell")] == [True, True]
    if mode == "live":
        with pytest.raises(SettingError, match=r"MINT_KEY: is a key for live money, and https://proxy\.test/b is not"):
            engine.send("mint/tell")


def test_a_live_key_goes_to_the_live_place_only(tmp_path: Path) -> None:
    """It is refused in test mode, and a test key in live mode, before anything leaves."""
    folder = write(tmp_path, files_at(BOTH))
    for mode in MODES:
        gateway = Told(ok({}))
        settings = settings_of(mode) | {"MINT_KEY": settings_of(OTHER[mode])["MINT_KEY"]}
        engine = Engine(folder, store=MemoryStore(), environment=settings, dispatcher=gateway)
        with pytest.raises(SettingError, match=r"MINT_KEY: is (a|no) key for live money"):
            engine.send("mint/tell")
        assert gateway.requests == []


def test_what_is_known_of_files_holds_in_both_modes(tmp_path: Path) -> None:
    """A start in one mode finds what one in the other kept, and still its own place."""
    folder = write(tmp_path, files_at(BOTH))
    for mode in (*MODES, *MODES):
        place = {"test": "https://sandbox.pal.test/try/v1", "live": "https://api.pal.test/v1"}[mode]
        assert urls(Files(folder, {}, mode=mode, reload=False).catalog()) == [place, place]
    cache = code_cache(folder)
    assert cache is not None
    assert any(path.is_file() for path in Path(cache.directory).iterdir())


def test_a_host_that_follows_its_files_stays_in_its_mode(tmp_path: Path) -> None:
    """Edited, a file is read again for the same mode."""
    engine = Engine(write(tmp_path, files_at(BOTH)), store=MemoryStore(), environment=settings_of("live"), reload=True)
    assert urls(engine.catalog) == ["https://api.pal.test/v1"] * 2
    write(tmp_path, files_at(BOTH.replace("api.pal.test/v1", "api.pal.test/v2.1")))
    assert urls(engine.catalog) == ["https://api.pal.test/v2.1"] * 2


# Commands, cases and the sandbox --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_commands_tell_the_place_of_the_hosts_mode(tmp_path: Path, mode: str) -> None:
    """The reference tells both, for it is of the files."""
    place = {"test": "https://sandbox.pal.test/try/v1", "live": "https://api.pal.test/v1"}[mode]
    write(tmp_path, {**files_at(BOTH), ".env": "".join(f"{one}={text}\n" for one, text in settings_of(mode).items())})

    def told(*arguments: str) -> Any:
        return json.loads(run(tmp_path, *arguments, "--json", CALLSHEET_MODE=mode).stdout)

    assert [one["at"] for one in told("list", "gateways")["gateways"]] == ["https://api.mint.test/v1", place]
    assert told("show", "pal")["base_url"] == place
    assert told("show", "mint/tell")["url"] == f"{place}/messages"
    planned = run(tmp_path, "send", "pal/pay", "amount=5", "--dry-run", CALLSHEET_MODE=mode)
    assert f"POST {place}/payments" in planned.stdout
    assert run(tmp_path, "docs", str(tmp_path / "docs"), CALLSHEET_MODE=mode).exit_code == 0
    page = (tmp_path / "docs/gateways/pal.html").read_text("utf-8")
    for each, url in (("test", "https://sandbox.pal.test/try/v1"), ("live", "https://api.pal.test/v1")):
        assert f"<dt>At, {each} mode</dt><dd><code>{url}</code></dd>" in page
    assert run(tmp_path, "init", str(tmp_path)).exit_code == 0
    assert "# CALLSHEET_PAL_BASE_URL=https://sandbox.pal.test/try/v1\n" in (tmp_path / ".env.example").read_text()


@pytest.mark.parametrize("mode", MODES)
def test_a_new_endpoint_has_a_case_of_test_mode(tmp_path: Path, mode: str) -> None:
    """Whichever mode the host is in, for cases are told in that one."""
    write(tmp_path, files_at(BOTH))
    made = run(tmp_path, "new", "pal/cancel", "--url", "/payments/{{ data.id }}", CALLSHEET_MODE=mode)
    assert made.exit_code == 0, made.output
    case = (tmp_path / "tests/cases/request_types/pal/cancel/success.yml").read_text()
    assert "url: https://sandbox.pal.test/try/v1/payments/" in case
    refused = run(tmp_path, "new", "pal/take", "--base-url", "https://elsewhere.test", CALLSHEET_MODE=mode)
    assert "the gateway pal is at https://sandbox.pal.test/try/v1 already; leave --base-url out" in refused.output


def test_a_sandbox_stands_in_for_the_place_of_test_mode(tmp_path: Path) -> None:
    """Its paths are those of that mode, which cases are told in; of a request type with its own base_url, too."""
    one = """\
claim: it works
sends: {method: POST, url: "https://sandbox.pal.test/try/v1/%s"}
receives: {body: {id: p1}}
"""
    cases = {
        "tests/cases/request_types/pal/pay/paid.yml": one % "payments",
        "tests/cases/request_types/mint/tell/told.yml": (one % "messages").replace("pal.test", "mint.test"),
        TELL: FILES[TELL].replace("BASE_URL", BOTH.replace("pal.test", "mint.test")),
    }
    box = Sandbox(Material.read(write(tmp_path, {**files_at(BOTH), **cases})))
    assert box.base_urls("http://127.0.0.1:12111")["pal"] == "http://127.0.0.1:12111/pal/try/v1"
    engine = Engine(tmp_path, store=MemoryStore(), dispatcher=box, environment=box.secrets)
    assert engine.send("pal/pay", {"amount": 5}).response["id"]
    assert engine.send("mint/tell").response["id"]
    files = Files.of(tmp_path, Settings(None, {"CALLSHEET_SANDBOX": "http://127.0.0.1:12111"}))
    assert urls(files.catalog()) == ["http://127.0.0.1:12111/pal", "http://127.0.0.1:12111/mint"]


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


@pytest.fixture(params=[BOTH, "https://api.pal.test/v1", "{test: https://pal.test/try, live: https://pal.test/v1}"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    """Two hosts, of files that name two hosts, one place, or two paths of one host."""
    return Pair(write(tmp_path, files_at(request.param)))


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
    pair.hours.pass_by(IN_ANOTHER_MODE.seconds)
    here.run_due()
    assert pair.call["state"] == "succeeded"
    assert pair.sent() == {mode: [f"POST {pair.call['request']['url']}"], OTHER[mode]: []}


def test_a_host_in_the_other_mode_uses_up_no_try(pair: Pair) -> None:
    """However often it finds a call, that has as many tries as before, and a host in its mode is not kept waiting."""
    here, there, failure = pair.hosts["live"], pair.hosts["test"], Failure("connect", False, "no connection", 0.0)
    here.send_later("pal/pay", {"amount": 5})
    for _ in range(MOST_TRIES):
        there.run_due()
        pair.hours.pass_by(IN_ANOTHER_MODE.seconds)
    pair.gateways["live"].answers = [failure]
    here.run_due()
    assert (pair.call["state"], pair.call["tries"]) == ("prepared", 1)

    pair.gateways["live"].answers = [ok(status=500)]
    pair.hours.pass_by(2)
    here.run_due()
    for _ in range(MOST_TRIES):
        pair.hours.pass_by(86_400)
        there.run_due()
    pair.gateways["live"].answers = [failure]
    pair.hours.pass_by(86_400)
    here.run_due()
    assert (pair.call["state"], pair.call["tries"]) == ("unknown", 3)
    assert pair.call["due"]


@pytest.mark.parametrize("mode", MODES)
def test_the_doctor_says_which_calls_are_left_to_the_other_mode(pair: Pair, mode: str) -> None:
    """Each time that it is put off it is due later, so that nothing is ever overdue; and its own host has to do it."""
    here, there = pair.hosts[mode], pair.hosts[OTHER[mode]]
    assert said_of_calls(there) == []
    here.send_later("pal/pay", {"amount": 5})
    pair.hours.pass_by(600)
    there.run_due()
    said = f"1 call is left to a host in {mode} mode"
    assert said_of_calls(there) == [("warning", said, f"CALLSHEET_MODE={mode} callsheet worker")]
    assert said_of_calls(here) == []
    pair.hours.pass_by(IN_ANOTHER_MODE.seconds)
    here.run_due()
    assert said_of_calls(there) == []


def said_of_calls(engine: Engine) -> list[tuple[str, str, str]]:
    """What the doctor of a host says of calls: how bad it is, what, and what to do."""
    found = examine(lambda: engine, offline=True)
    return [(one.level, one.said, one.remedy) for one in found if one.about == "calls"]


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
    pair.hours.pass_by(IN_ANOTHER_MODE.seconds)
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
