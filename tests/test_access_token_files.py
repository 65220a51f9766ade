"""A gateway that wants tokens is files alone: what they may say, and what commands, cases and a sandbox make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import parse_qs

import pytest
from acme import ACME, material, sandbox
from commands import run
from hosts import OnlyHere, Told, write
from token_gateway import ID, SECRET, SETTINGS, files, oauth2

from engine.cases import CaseRunner, read_cases
from engine.catalog import load
from engine.core import Engine
from engine.credentials import Client, credentials
from engine.curl import secret_headers
from engine.dispatcher import Dispatcher
from engine.doctor import keys
from engine.errors import DefinitionError, SettingError
from engine.request_types import RequestType
from engine.sandbox import Sandbox
from engine.sandbox.asked import Answered
from engine.sandbox.serving import Served
from engine.settings import Settings
from engine.store.memory import MemoryStore

BASE = "https://api.shop.test/v1"
GATEWAY = "request_types/shop/_gateway.yml"


# What a file may say --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("auth", "said"),
    [
        ("auth: {oauth2: {token_endpoint: /t, client_id: SHOP_ID}}", "3:8: 'client_secret' is required"),
        (oauth2("client_secrt: A"), "3:96: 'client_secrt' is not known here; did you mean 'client_secret'?"),
        (oauth2("token_endpoint_auth_method: basic"), "3:96: 'basic' is not one of client_secret_basic, client_se"),
        (oauth2('scope: "a  b"'), "3:96: 'a  b' does not fit the pattern"),
        (oauth2().replace("SHOP_ID", "shop"), "3:48: 'shop' does not fit the pattern"),
        (oauth2()[:-1] + ", bearer: SHOP_KEY}", "3:1: {'oauth2'"),
        *(
            (oauth2(endpoint=url), f"3:17: 'token_endpoint' must be {said}")
            for url, said in {
                "http://auth.shop.test/t": "https; plain http is for this machine only",
                "https://u:p@auth.shop.test/t": "a URL of scheme, host and path",
                '"https://[auth.shop.test/t"': "a path below base_url",
                "https://auth.shop.test:99999/t": "a path below base_url",
                "https://auth.shop.test/t?x=1": "a URL of scheme, host and path",
                "https://auth.shop.test": "a path below base_url, such as /oauth2/token, or a URL",
                '"https://auth.shop.test/a\\r\\nX: y"': "a path below base_url",
                "/../t": "a path below base_url",
                "/t?x=1": "a path below base_url",
                "//evil.test/t": "a path below base_url",
                "oauth2/token": "a path below base_url",
                '"/{{ data.x }}"': "a path below base_url",
            }.items()
        ),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path: Path, auth: str, said: str) -> None:
    """It is told with its place, before anything is sent."""
    with pytest.raises(DefinitionError) as raised:
        load([write(tmp_path, files(BASE, auth))])
    assert f"{GATEWAY}:{said}" in str(raised.value)


def shop_pay(root: Path, auth: str, base_urls: Mapping[str, str] | None = None, base: str = BASE) -> RequestType:
    """A request type of the shop."""
    return load([write(root, files(base, auth))], base_urls=base_urls).request_types["shop/pay"]


TOKENS_AT = [
    ("/oauth2/token", None, "https://api.shop.test/v1/oauth2/token"),
    ("https://auth.shop.test/oauth2/token", None, "https://auth.shop.test/oauth2/token"),
    ("http://127.0.0.1:8/token", None, "http://127.0.0.1:8/token"),
    ("/oauth2/token", "http://127.0.0.1:9/shop/v1", "http://127.0.0.1:9/shop/v1/oauth2/token"),
    ("https://api.shop.test/v1/oauth2/token", "https://test.shop.test/v1", "https://test.shop.test/v1/oauth2/token"),
    ("https://auth.shop.test/oauth2/token", "http://127.0.0.1:9/shop", "http://127.0.0.1:9/shop/oauth2/token"),
]


@pytest.mark.parametrize(("endpoint", "instead", "asked"), TOKENS_AT)
def test_where_a_token_is_asked_for(tmp_path: Path, endpoint: str, instead: str | None, asked: str) -> None:
    """Below base_url or at its own address. Who stands in the gateway's place is asked for the tokens, too."""
    type = shop_pay(tmp_path, oauth2(endpoint=endpoint), {"shop": instead} if instead else None)
    client = credentials(type, Settings(None, SETTINGS))
    assert isinstance(client, Client)
    assert client.request.url == asked


def test_a_sandbox_is_asked_for_tokens_and_nobody_else(tmp_path: Path) -> None:
    """Whatever address the file names: nothing of a sandbox's host leaves this machine."""
    auth = oauth2(endpoint="https://auth.shop.test/oauth2/token")
    client = credentials(shop_pay(tmp_path, auth, {"*": "http://127.0.0.1:9"}), Settings(None, SETTINGS))
    assert isinstance(client, Client)
    assert client.request.url == "http://127.0.0.1:9/shop/oauth2/token"


def test_a_type_with_an_address_of_its_own(tmp_path: Path) -> None:
    """Its tokens are the gateway's."""
    uploads = "summary: Send.\nmethod: GET\nbase_url: https://files.shop.test/v9\nurl: /f\n"
    folder = write(tmp_path, {**files(BASE, oauth2()), "request_types/shop/upload.yml": uploads})
    client = credentials(load([folder]).request_types["shop/upload"], Settings(None, SETTINGS))
    assert isinstance(client, Client)
    assert client.request.url == f"{BASE}/oauth2/token"


# Its settings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", ["SHOP_ID", "SHOP_SECRET"])
def test_a_setting_that_is_missing(tmp_path: Path, missing: str) -> None:
    """It is told before anything is kept or asked for."""
    told, store = Told(), MemoryStore()
    folder = write(tmp_path, files(BASE, oauth2()))
    given = {name: value for name, value in SETTINGS.items() if name != missing}
    engine = Engine(folder, store=store, environment=given, dispatcher=told, files=OnlyHere(folder))
    with pytest.raises(SettingError, match=f"{missing}: is not set"):
        engine.send("shop/pay", {"amount": 5})
    assert (told.requests, engine.find("call")) == ([], [])


@pytest.mark.parametrize(
    ("secret", "mode", "instead", "said"),
    [
        ("live_0123456789", "test", None, "is a key for live money; set CALLSHEET_MODE=live"),
        ("test_0123456789", "live", None, "is no key for live money, and CALLSHEET_MODE is live"),
        ("live_0123456789", "live", "http://127.0.0.1:9/v1", "is not the gateway; it is not sent there"),
    ],
)
def test_a_secret_of_the_wrong_mode(tmp_path: Path, secret: str, mode: str, instead: str | None, said: str) -> None:
    """`live_key` says what the client's secret looks like; its id is no key, whatever it looks like."""
    type = shop_pay(tmp_path, oauth2(), {"shop": instead} if instead else None)
    given = {**SETTINGS, "SHOP_SECRET": secret, "SHOP_ID": "live_id", "CALLSHEET_MODE": mode}
    with pytest.raises(SettingError, match=f"SHOP_SECRET: .*{said}"):
        credentials(type, Settings(None, given))


def test_the_secret_is_masked_from_the_start_and_the_id_is_not(tmp_path: Path) -> None:
    """An answer may be full of the client's id."""
    folder = write(tmp_path, files(BASE, oauth2()))
    engine = Engine(folder, store=MemoryStore(), environment=SETTINGS, dispatcher=Told(), files=OnlyHere(folder))
    assert engine.settings.redact(f"{ID} {SECRET}") == f"{ID} ***"


def test_what_doctor_says(tmp_path: Path) -> None:
    """Which of the two is missing; it fetches no token, as it shows no secret to any gateway."""
    catalog = load([write(tmp_path, files(BASE, oauth2()))])

    def said(**given: str) -> list[tuple[str, str]]:
        found = keys.findings(catalog, Settings(None, given), tmp_path)
        return [(one.level, one.where) for one in found if one.where.startswith("SHOP")]

    assert said(SHOP_HOOK=SETTINGS["SHOP_HOOK"]) == [("warning", "SHOP_ID"), ("warning", "SHOP_SECRET")]
    assert said(**SETTINGS) == []
    assert said(**{**SETTINGS, "SHOP_SECRET": "live_0123456789"}) == [("problem", "SHOP_SECRET")]


# Commands -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("option", ["--curl", "--dry-run"])
def test_a_command_line_names_the_token(tmp_path: Path, option: str) -> None:
    """What is only shown fetches none, and needs no secret."""
    write(tmp_path, files("https://nowhere.invalid/v1", oauth2()))
    printed = run(tmp_path, "send", "shop/pay", "amount=5", option)
    assert printed.exit_code == 0, printed.output
    assert "Authorization: Bearer $ACCESS_TOKEN" in printed.output
    assert secret_headers({"oauth2": {}}) == [("Authorization", "Bearer $ACCESS_TOKEN")]


def test_init_names_both_settings(tmp_path: Path) -> None:
    """With the other secrets of the gateway."""
    write(tmp_path, files(BASE, oauth2()))
    run(tmp_path, "init", str(tmp_path))
    example = (tmp_path / ".env.example").read_text()
    assert "# SHOP_ID=\n# SHOP_SECRET=\n" in example
    assert "SHOP_ID, SHOP_SECRET" in run(tmp_path, "show", "shop").output


def test_new_shows_how_it_is_written(tmp_path: Path) -> None:
    """The line is good as it stands there."""
    run(tmp_path, "new", "acme/create_invoice", "--base-url", "https://api.acme.example")
    file = tmp_path / "request_types/acme/_gateway.yml"
    file.write_text(file.read_text().replace("# auth: {oauth2:", "auth: {oauth2:"))
    assert run(tmp_path, "check").exit_code == 0
    assert "ACME_ID, ACME_SECRET" in run(tmp_path, "show", "acme").output


# Cases and the sandbox ------------------------------------------------------------------------------------------------


def acme(endpoint: str = "/oauth2/token", *more: str) -> dict[str, str]:
    """Acme, which wants tokens."""
    auth = oauth2(*more, endpoint=endpoint).replace("SHOP", "ACME")
    gateway = "request_types/acme/_gateway.yml"
    return {gateway: ACME[gateway].replace("auth: {header: {X-Api-Key: ACME_KEY}}", auth)}


def test_a_case_needs_no_token(tmp_path: Path) -> None:
    """It tells of the call alone, and runs without a network."""
    material(tmp_path, acme())
    cases = [case for case in read_cases(tmp_path / "tests/cases") if case.kind == "request_types"]
    runner = CaseRunner(tmp_path)
    assert {str(case.file): runner.run(case).differences for case in cases} == {str(case.file): [] for case in cases}


@pytest.mark.parametrize("endpoint", ["/oauth2/token", "https://auth.acme.test/token"])
def test_the_sandbox_of_a_test_gives_tokens(tmp_path: Path, endpoint: str) -> None:
    """In memory, to an engine that calls the gateway by its own address; no key is needed."""
    box = sandbox(tmp_path, files=acme(endpoint))
    engine = Engine(tmp_path, store=MemoryStore(), environment=box.secrets, dispatcher=box, files=OnlyHere(tmp_path))
    made = engine.send("acme/create_order", {"amount": 700})
    assert engine.send("acme/get_order", {"id": made.response["id"]}).response["amount"] == 700


@contextmanager
def served_host(root: Path, box: Sandbox, environment: Mapping[str, str]) -> Iterator[Engine]:
    """A host that calls a sandbox over HTTP."""
    dispatcher = Dispatcher()
    with Served(box) as served:
        elsewhere = OnlyHere(root, {"*": served.url})
        yield Engine(root, store=MemoryStore(), environment=environment, dispatcher=dispatcher, files=elsewhere)
        dispatcher.close()


@pytest.mark.parametrize("endpoint", ["/oauth2/token", "https://auth.acme.test/token"])
@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
def test_a_sandbox_gives_tokens(tmp_path: Path, endpoint: str, method: str) -> None:
    """To who proves to be the client, in either way; and takes no call without one."""
    box = sandbox(tmp_path, files=acme(endpoint, f"token_endpoint_auth_method: {method}"))
    with served_host(tmp_path, box, box.secrets) as engine:
        made = engine.send("acme/create_order", {"amount": 700})
        assert engine.send("acme/get_order", {"id": made.response["id"]}).response["amount"] == 700
    with (
        served_host(tmp_path, box, {**box.secrets, "ACME_SECRET": "another_0123456789"}) as engine,
        pytest.raises(SettingError, match=r"ACME_SECRET: is refused, together with ACME_ID, .*invalid_client"),
    ):
        engine.send("acme/create_order", {"amount": 700})


def test_a_sandbox_refuses_what_is_no_client(tmp_path: Path) -> None:
    """Whatever comes in the place of a client, and whoever calls without a token."""
    box = sandbox(tmp_path, files=acme())

    def asked(body: str, authorization: str = "") -> Answered:
        headers = {"content-type": "application/x-www-form-urlencoded", "authorization": authorization}
        return box.answer("POST", "/acme/v2/oauth2/token", headers, body.encode())

    grant, id, secret = "grant_type=client_credentials", box.secrets["ACME_ID"], box.secrets["ACME_SECRET"]
    assert asked(f"{grant}&client_id={id}&client_secret={secret}&scope=a").body["scope"] == "a"
    refused = [asked(grant), asked(grant, "Basic ***"), asked(f"{grant}&client_id={id}"), asked(grant, "Basic 8J+S")]
    assert [(one.status, one.body) for one in refused] == [(401, {"error": "invalid_client"})] * 4
    assert asked("grant_type=password").body == {"error": "unsupported_grant_type"}
    assert box.answer("GET", "/acme/v2/orders", {}, b"").status == 401
    assert box.answer("GET", "/acme/v2/oauth2/token", {}, b"").status == 401


def test_a_request_type_may_fetch_tokens_itself(tmp_path: Path) -> None:
    """Whoever did so by a file goes on to: a case shows its request as any other."""
    own = """\
summary: Fetch a token.
method: POST
url: /oauth2/token
idempotency: null
idempotent: true
auth: {basic: [ACME_ID, ACME_SECRET]}
headers: {Content-Type: application/x-www-form-urlencoded}
body: {grant_type: "{{ data.grant }}"}
data: {required: [grant], properties: {grant: {type: string}}}
"""
    case = """\
claim: a token is fetched
data: {grant: password}
sends: {method: POST, url: "https://api.acme.test/v2/oauth2/token", body: grant_type=password}
receives: {status: 200, body: {access_token: abc}}
"""
    more = {"request_types/acme/fetch.yml": own, "tests/cases/request_types/acme/fetch/fetched.yml": case}
    material(tmp_path, {**acme(), **more})
    (told,) = [one for one in read_cases(tmp_path / "tests/cases") if one.subject == "acme/fetch"]
    assert CaseRunner(tmp_path).run(told).differences == []


def test_what_a_client_asks_for_is_what_its_file_says(tmp_path: Path) -> None:
    """Odd characters of a secret stay what they are, in whichever way it is sent."""
    odd = "a&b=c%20+d/~"
    auth = oauth2("token_endpoint_auth_method: client_secret_post", "scope: a")
    client = credentials(shop_pay(tmp_path, auth), Settings(None, {**SETTINGS, "SHOP_SECRET": odd}))
    assert isinstance(client, Client)
    assert parse_qs(client.request.body.decode())["client_secret"] == [odd]
    assert odd not in repr(client)
