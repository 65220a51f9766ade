"""The console's door: who may enter, what a role allows, and what no page of it ever does."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from console_host import PASSWORD, STRANGE, ConsoleHost, users
from flask import Flask, abort, redirect
from hosts import host
from html_pages import Page
from werkzeug.security import generate_password_hash

from engine.errors import SettingError
from engine.seals import new_key
from engine.settings import Settings
from engine.web import Callsheet
from engine.web.console import signing
from engine.web.console.accounts import SETTING, accounts, checked, line_of

HOME = "/callsheet/console/"
KEY = new_key()


@pytest.fixture
def console(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ConsoleHost:
    monkeypatch.setattr(signing, "_TRIES", signing.Tries())
    return ConsoleHost(tmp_path)


def rules(app: Flask, method: str) -> list[str]:
    """The addresses of the console that take a method, with something in the place of each name."""
    names: dict[str, Any] = {
        "id": "x",
        "action": "cancel",
        "gateway": "shop",
        "name": "pay",
        "type": "sale",
        "path": "index.html",
    }
    with app.test_request_context():
        adapter = app.create_url_adapter(None) or app.url_map.bind("localhost")
        return [
            adapter.build(rule.endpoint, {name: names[name] for name in rule.arguments}, method=method)
            for rule in app.url_map.iter_rules()
            if rule.endpoint.startswith("callsheet.console.") and method in (rule.methods or ())
        ]


# Whether there is one -------------------------------------------------------------------------------------------------


def test_there_is_no_console_where_nobody_may_sign_in(tmp_path: Path) -> None:
    app = Flask("shop", root_path=str(tmp_path))
    Callsheet(app, engine=host(tmp_path, CALLSHEET_SECRET_KEY=KEY).engine, worker=False)
    assert app.test_client().get(HOME).status_code == 404
    assert app.test_client().get(f"{HOME}sign-in").status_code == 404


def test_without_a_key_for_its_sessions_the_app_does_not_start(tmp_path: Path) -> None:
    engine = host(tmp_path, CALLSHEET_CONSOLE_USERS=users()).engine
    with pytest.raises(SettingError, match="CALLSHEET_SECRET_KEY: is not set; the console"):
        Callsheet(Flask("shop"), engine=engine)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("ann", "says no role of ann"),
        ("ann:admin:scrypt:1:1:1$a$00", "says no role of ann"),
        ("ann:read:secret", "has no password hash of ann"),
        (":read:scrypt:1:1:1$a$00", "has a part without a name"),
        ("ann:read:scrypt:1:1:1$a$00, ann:read:scrypt:1:1:1$a$00", "names somebody twice"),
    ],
)
def test_a_setting_that_is_wrong_says_so_and_never_shows_a_hash(value: str, said: str) -> None:
    with pytest.raises(SettingError, match=said) as refused:
        accounts(Settings(None, {SETTING: value}))
    assert "$a$" not in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_person_is_added_and_replaced_in_the_setting() -> None:
    first = line_of({}, "ann", "read", PASSWORD)
    both = line_of(accounts(Settings(None, {SETTING: first})), "bob", "operate", PASSWORD)
    again = accounts(
        Settings(None, {SETTING: line_of(accounts(Settings(None, {SETTING: both})), "ann", "operate", PASSWORD)})
    )
    assert {name: one.role for name, one in again.items()} == {"ann": "operate", "bob": "operate"}
    assert PASSWORD not in repr(again)
    assert again["ann"].hash not in repr(again)


# Signing in -----------------------------------------------------------------------------------------------------------


def test_signing_in_leads_to_the_page_that_was_asked_for(console: ConsoleHost) -> None:
    asked = console.client.get(f"{HOME}calls?state=unknown")
    assert asked.status_code == 303
    assert Page(console.client.get(asked.location).text).names == ["name", "password"]
    entered = console.client.post(asked.location, data={"name": "ann", "password": PASSWORD})
    assert (entered.status_code, entered.location) == (303, "/callsheet/console/calls?state=unknown")
    assert console.client.get(HOME).status_code == 200


def test_whoever_only_asks_whether_the_door_is_there_is_told(console: ConsoleHost) -> None:
    assert console.client.head(f"{HOME}sign-in").status_code == 200


def test_signing_in_to_a_mounted_app_leads_below_its_prefix(console: ConsoleHost) -> None:
    base = "http://localhost/shop"
    asked = console.client.get(f"{HOME}records/sale?by=note&value=gr%C3%BCn", base_url=base)
    fields = {"name": "ann", "password": PASSWORD}
    entered = console.client.post(asked.location.removeprefix("/shop"), base_url=base, data=fields)
    assert entered.location == "/shop/callsheet/console/records/sale?by=note&value=gr%C3%BCn"


@pytest.mark.parametrize("away", ["https://elsewhere.example/", "//elsewhere.example", "/\\elsewhere.example"])
def test_signing_in_leads_nowhere_else(console: ConsoleHost, away: str) -> None:
    fields = {"name": "ann", "password": PASSWORD}
    assert console.client.post(f"{HOME}sign-in", query_string={"next": away}, data=fields).location == HOME


@pytest.mark.parametrize("name", ["ann", "nobody", "", "ann\0"])
def test_a_wrong_password_opens_nothing(console: ConsoleHost, name: str) -> None:
    refused = console.client.post(f"{HOME}sign-in", data={"name": name, "password": "wrong"})
    assert refused.status_code == 403
    assert "No such name, or not its password." in refused.text
    assert console.client.get(HOME).status_code == 303


def test_a_wrong_name_takes_as_long_as_a_wrong_password() -> None:
    """Whatever the hashes are made to take: nobody finds out by the clock whose names are known."""
    known = accounts(Settings(None, {SETTING: users()}))

    def seconds(name: str) -> float:
        begun = time.perf_counter()
        assert checked(known, name, "wrong") is None
        return time.perf_counter() - begun

    somebodys, nobodys = (min(seconds(name) for _ in range(9)) for name in ("ann", "nobody"))
    assert nobodys < 10 * somebodys
    assert checked({}, "nobody", PASSWORD) is None


def test_many_wrong_passwords_have_to_wait(console: ConsoleHost) -> None:
    fields = {"name": "nobody", "password": "wrong"}
    answers = [console.client.post(f"{HOME}sign-in", data=fields).status_code for _ in range(11)]
    assert answers == [403] * 10 + [429]
    right = {"name": "ann", "password": PASSWORD}
    assert console.client.post(f"{HOME}sign-in", data=right).status_code == 429


def test_a_session_ends_when_it_is_signed_out(console: ConsoleHost) -> None:
    console.sign_in()
    assert console.post("/sign-out").status_code == 303
    assert console.client.get(HOME).status_code == 303


def test_a_session_ends_with_the_password_and_after_its_time(
    console: ConsoleHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    console.sign_in()
    assert console.client.get(HOME).status_code == 200
    with monkeypatch.context() as later:
        later.setattr("engine.web.console.gate.LASTS", -1)
        console.sign_in()
        assert console.client.get(HOME).status_code == 303
    console.sign_in()
    known = console.app.extensions["callsheet_console"].accounts
    other = line_of({}, "ann", "operate", "another password")
    monkeypatch.setitem(known, "ann", accounts(Settings(None, {SETTING: other}))["ann"])
    assert console.client.get(HOME).status_code == 303


# What the door lets through -------------------------------------------------------------------------------------------


def test_no_page_is_shown_and_nothing_is_done_to_strangers(console: ConsoleHost) -> None:
    shown = [path for path in rules(console.app, "GET") if not path.endswith("/sign-in")]
    assert len(shown) >= 17
    for path in shown:
        asked = console.client.get(path)
        assert (asked.status_code, asked.location.partition("?")[0]) == (303, f"{HOME}sign-in"), path
    for path in rules(console.app, "POST"):
        if not path.endswith("/sign-in"):
            assert console.client.post(path, data={"csrf": ""}).status_code == 403, path
    part = console.client.get(f"{HOME}badge", headers={"HX-Request": "true"})
    assert (part.status_code, part.headers["HX-Refresh"]) == (401, "true")


def test_whoever_only_reads_sees_everything_and_does_nothing(console: ConsoleHost) -> None:
    """E5: role by action."""
    call, event = console.pay(STRANGE), console.receive(1)
    console.sign_in("bob")
    for path in (f"/calls/{call.id}", f"/events/{event.id}", "/", "/calls", "/events", "/types/shop/pay", "/webhooks"):
        page = console.get(path)
        posts = [form["action"] for form in page.all("form") if form.get("method") == "post"]
        assert posts == ["/callsheet/console/sign-out"], path
    assert console.client.get(f"{HOME}types/shop/pay/try").status_code == 403
    before = console.call(call.id), console.engine.find("event", id=event.id)[0]
    for path in rules(console.app, "POST"):
        if not path.endswith(("/sign-in", "/sign-out")):
            real = path.replace("/calls/x", f"/calls/{call.id}").replace("/events/x", f"/events/{event.id}")
            refused = console.post(real.removeprefix("/callsheet/console"), reason="because", amount="5", type="x")
            assert refused.status_code == 403, path
            assert "takes the role operate" in refused.text, path
    assert before == (console.call(call.id), console.engine.find("event", id=event.id)[0])
    assert console.engine.find("replay") == []
    assert len(console.bank.sent) == 1


@pytest.mark.parametrize(
    ("fields", "headers"),
    [
        ({}, {}),
        ({"csrf": "guessed"}, {}),
        ({"csrf": "gu\u00e9ss"}, {}),
        ({"csrf": "right"}, {"Origin": "https://elsewhere.example"}),
        ({"csrf": "right"}, {"Origin": "null", "Sec-Fetch-Site": "cross-site"}),
    ],
)
def test_another_site_can_have_nothing_done(
    console: ConsoleHost, fields: dict[str, str], headers: dict[str, str]
) -> None:
    """D6."""
    call = console.pay(STRANGE)
    console.sign_in()
    given = {name: console.csrf() if text == "right" else text for name, text in fields.items()}
    for path in rules(console.app, "POST"):
        if not path.endswith("/sign-in"):
            real = path.replace("/calls/x", f"/calls/{call.id}")
            answer = console.client.post(real, data={**given, "reason": "because"}, headers=headers)
            assert answer.status_code == 403, path
    assert console.call(call.id) == call


def test_the_token_of_one_session_is_none_of_another(console: ConsoleHost) -> None:
    console.sign_in()
    token = console.csrf()
    console.client = console.app.test_client()
    console.sign_in()
    assert console.client.post(f"{HOME}replays", data={"csrf": token, "reason": "x"}).status_code == 403


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"csrf=%ff", "application/x-www-form-urlencoded", 400),
        ("csrf=é".encode(), "application/x-www-form-urlencoded", 400),
        (b"{}", "application/json", 400),
        (b"a=1&" * 1001, "application/x-www-form-urlencoded", 400),
        (b"a=" + b"x" * 256 * 1024, "application/x-www-form-urlencoded", 413),
    ],
)
def test_what_no_form_posts_is_refused(console: ConsoleHost, body: bytes, kind: str, status: int) -> None:
    console.sign_in()
    answer = console.client.post(f"{HOME}replays", data=body, content_type=kind)
    assert answer.status_code == status
    assert "That did not work" in answer.text


def test_every_answer_is_kept_by_nobody_and_allows_nothing_from_elsewhere(console: ConsoleHost) -> None:
    """D9: the policy of the gateways' scripts is not the console's, and nothing inline is in any page."""
    call, event = console.pay(STRANGE), console.receive(1)
    console.sign_in()
    paths = [
        path.replace("/calls/x", f"/calls/{call.id}").replace("/events/x", f"/events/{event.id}")
        for path in rules(console.app, "GET")
    ]
    for path in paths:
        answer = console.client.get(path)
        policy = answer.headers["Content-Security-Policy"]
        assert "script-src 'self';" in policy, path
        assert "form-action 'self';" in policy, path
        assert "default-src 'none'" in policy, path
        assert answer.headers["Cache-Control"] == "no-store, private", path
        assert answer.headers["X-Content-Type-Options"] == "nosniff", path
        page = Page(answer.text)
        assert all(set(script) == {"src", "defer"} for script in page.all("script")), path
        assert not [
            name for _, attributes in page.tags for name in attributes if name == "style" or name.startswith("on")
        ]
        assert "style" not in {tag for tag, _ in page.tags}, path


# A login of the host's own --------------------------------------------------------------------------------------------


def hosted(tmp_path: Path, login: Any) -> Any:
    app = Flask("shop", root_path=str(tmp_path))
    Callsheet(app, engine=host(tmp_path, CALLSHEET_SECRET_KEY=KEY).engine, worker=False, login=login)
    return app.test_client()


def test_a_host_may_have_a_login_of_its_own(tmp_path: Path) -> None:
    client = hosted(tmp_path, lambda: ("carol", "read"))
    assert "carol" in client.get(HOME).text
    assert "Sign out" not in client.get(HOME).text
    assert client.get(f"{HOME}sign-in").status_code == 404


def test_a_host_s_login_keeps_others_out(tmp_path: Path) -> None:
    assert hosted(tmp_path, lambda: None).get(HOME).status_code == 403
    away = hosted(tmp_path, lambda: abort(redirect("/login"))).get(HOME)
    assert (away.status_code, away.location) == (302, "/login")


def test_a_host_s_login_that_names_no_role_is_told(tmp_path: Path) -> None:
    refused = hosted(tmp_path, lambda: ("carol", "admin")).get(HOME)
    assert refused.status_code == 503
    assert "gave carol the role" in Page(refused.text).text


def test_hashes_of_both_kinds_are_taken() -> None:
    value = f"ann:read:{generate_password_hash(PASSWORD, 'pbkdf2:sha256:1000')}"
    assert accounts(Settings(None, {SETTING: value}))["ann"].role == "read"
