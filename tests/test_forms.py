"""Forms without a web framework: what a page seals stays sealed, and what is posted twice is done once.

Faults of the originals that are closed here: B1 to B12, B38 to B40.
"""

from __future__ import annotations

import base64
import json
import re
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
from hosts import SECRETS, SHOP, Host, Hours, OnlyHere, Told, failure, host, ok, refusal, write
from html_pages import Page
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.amounts import money
from engine.card_numbers import holds_card_number
from engine.core import Engine
from engine.errors import DataError, DefinitionError, SettingError, SignatureError, UnknownNameError
from engine.forms.fields import field_of
from engine.forms.options import NAMES, is_own_path
from engine.forms.slips import operation_of
from engine.forms.submitting import Submission
from engine.reloading import Files
from engine.store.memory import MemoryStore
from engine.store.sql import SqlStore

KEY = "a key of thirty-two bytes or more"
SESSION = "the visitor"
CARD_NUMBER = "A card number does not belong here; only the card field may have it."


@pytest.fixture
def shop(tmp_path: Path) -> Host:
    return host(tmp_path, CALLSHEET_SECRET_KEY=KEY, SHOP_PUBLIC="pk_1")


def page(shop: Host, data: Mapping[str, Any] | None = None, /, name: str = "shop/pay", **config: Any) -> Page:
    """The form as a visitor's browser sees it."""
    return Page(shop.engine.form(name, {"amount": 5} if data is None else data, session=SESSION, **config))


def submit(shop: Host, token: str, *fields: tuple[str, str]) -> Submission:
    return shop.engine.submit(token, fields, session=SESSION)


def sent(shop: Host) -> list[Any]:
    """The bodies that reached the gateway."""
    return [json.loads(request.body) for request in shop.gateway.requests]


def unsealed(token: str) -> dict[str, Any]:
    """What anybody can read in a token."""
    text = token.removeprefix(".").split(".")[0]
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    return dict(json.loads(zlib.decompress(raw) if token.startswith(".") else raw))


def at_once(calls: Sequence[Callable[[], Submission]]) -> list[Submission]:
    """What the calls return that are made in as many threads at the same moment."""
    barrier, answers = threading.Barrier(len(calls)), list[Submission]()

    def run(call: Callable[[], Submission]) -> None:
        barrier.wait()
        answers.append(call())

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


# What is sealed ------------------------------------------------------------------------------------------------------


def test_a_form_sends_what_the_page_sealed_and_what_the_visitor_typed(shop: Host) -> None:
    form = page(shop)
    assert form.names == ["note", "account"]
    done = submit(shop, form.token, ("note", "hello"), ("account", ""))
    assert (done.state, done.category, done.redirect) == ("succeeded", "success", "/")
    assert [(body["amount"], body["note"]) for body in sent(shop)] == [(5, "hello")]
    assert done.records == tuple(("sale", record.id) for record in shop.find("sale"))


@pytest.mark.parametrize(
    "fields",
    [
        [("amount", "1")],  # B3: what was sealed cannot be given again
        [("note", "x"), ("destination", "acct_evil")],  # nor can what the form does not ask for
        [("idempotency_key", "mine")],
        [("request_type", "shop/pay_once"), ("gateway", "other")],  # B5
        [("callback", "evil"), ("gateway_template", "evil")],  # B11
        [("success_message", "forged")],  # B12
        [("redirect_to", "//evil.test"), ("current_path", "//evil.test")],  # B6
        [("note", "a"), ("note", "b")],
        [("note[]", "a")],
        [("note[deep]", "a")],
        [("Note", "a")],
        [("data[amount]", "1")],  # B1: a value under another key
    ],
)
def test_a_field_that_the_form_does_not_ask_for_sends_nothing(shop: Host, fields: list[tuple[str, str]]) -> None:
    form = page(shop)
    answer = submit(shop, form.token, *fields)
    assert (answer.state, answer.records, shop.gateway.requests) == ("invalid", (), [])
    assert answer.form is not None
    assert submit(shop, answer.form.token, ("note", "")).state == "succeeded"


def test_json_values_are_held_to_the_same_list(shop: Host) -> None:
    token = page(shop).token
    assert shop.engine.submit(token, {"amount": 1}, session=SESSION).state == "invalid"
    assert shop.engine.submit(token, {"note": ["text?"]}, session=SESSION).state == "invalid"
    assert shop.engine.submit(token, {"note": "x"}, session=SESSION).state == "succeeded"


def test_no_change_of_a_token_is_accepted(shop: Host) -> None:
    token = page(shop).token
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    changed = [token[:at] + other + token[at + 1 :] for at in range(len(token)) for other in alphabet[at % 7 :: 7]]
    changed += [token + tail for tail in ("=", "A", ".", " ")] + [token[1:], token[:-1], "", "."]
    for one in changed:
        if one != token:
            with pytest.raises(SignatureError):
                submit(shop, one)
    assert shop.gateway.requests == []


@pytest.mark.parametrize("part", ["type", "operation", "owner", "data", "config", "at", "page", "offered", "required"])
def test_no_part_of_a_token_can_be_exchanged(shop: Host, part: str) -> None:
    token = page(shop).token
    tail = token.removeprefix(".").partition(".")[2]
    for value in ({"amount": 1}, "shop/erase", ["x"], None):
        payload = json.dumps({**unsealed(token), part: value}).encode()
        forged = base64.urlsafe_b64encode(payload).decode().rstrip("=") + "." + tail
        with pytest.raises(SignatureError):
            submit(shop, forged)


def test_the_seal_of_one_form_does_not_hold_for_another(tmp_path: Path) -> None:
    shop = stripe(tmp_path)
    tokens = {name: Page(shop.form(name, data, session=SESSION)).token for name, data in PAGES.items()}
    assert len(set(tokens.values())) == len(PAGES) == 17
    for one in tokens.values():
        for other in tokens.values():
            swapped = one.rsplit(".", 1)[0] + "." + other.rsplit(".", 1)[1]
            if swapped != one:
                with pytest.raises(SignatureError):
                    shop.submit(swapped, (), session=SESSION)


def test_values_that_join_to_one_text_are_sealed_apart(shop: Host) -> None:
    """B1, B2: what is sealed is the document, not its values in a row."""
    seen = [{"amount": 1, "note": "1|2"}, {"amount": 1, "note": "1", "account": "2"}, {"amount": 11, "note": "|2"}]
    for data in seen:
        assert unsealed(page(shop, data).token)["data"] == data


def test_a_form_is_of_one_session_and_one_half_hour(shop: Host) -> None:
    """B4."""
    token = page(shop).token
    for session in ("somebody else", "", SESSION + " "):
        with pytest.raises(SignatureError, match="another session"):
            shop.engine.submit(token, (), session=session)
    shop.hours.pass_by(1799)
    assert submit(shop, token).state == "succeeded"
    shop.hours.pass_by(1)
    with pytest.raises(SignatureError, match="expired"):
        submit(shop, token)


def test_a_page_may_give_a_form_another_time_to_live(shop: Host) -> None:
    short, long = page(shop, expires=10).token, page(shop, expires=86_400).token
    shop.hours.pass_by(10)
    with pytest.raises(SignatureError, match="expired"):
        submit(shop, short)
    shop.hours.pass_by(80_000)
    assert submit(shop, long).state == "succeeded"


def test_a_form_made_for_tests_moves_no_live_money(tmp_path: Path) -> None:
    """Nor the other way round, though both hosts have one key and the session is the same."""
    test = host(tmp_path / "test", CALLSHEET_SECRET_KEY=KEY)
    live = host(tmp_path / "live", CALLSHEET_SECRET_KEY=KEY, CALLSHEET_MODE="live", SHOP_KEY="live_0123456789")
    for here, there in ((test, live), (live, test)):
        with pytest.raises(SignatureError, match="made elsewhere"):
            submit(there, page(here).token)
        assert submit(here, page(here).token).state == "succeeded"


def test_the_session_itself_does_not_stand_in_the_page(shop: Host) -> None:
    token = page(shop).token
    assert SESSION not in json.dumps(unsealed(token))


def test_without_a_key_there_is_no_form(tmp_path: Path) -> None:
    """B8: a missing key is never an empty one."""
    for index, key in enumerate(("", " , ", "short", KEY + ",short")):
        shop = host(tmp_path / str(index), CALLSHEET_SECRET_KEY=key)
        with pytest.raises(SettingError, match="CALLSHEET_SECRET_KEY"):
            page(shop)


def test_a_key_can_be_replaced_while_forms_are_open(tmp_path: Path) -> None:
    old, new = KEY, KEY[::-1]
    token = page(host(tmp_path / "a", CALLSHEET_SECRET_KEY=old)).token
    assert submit(host(tmp_path / "b", CALLSHEET_SECRET_KEY=f"{new},{old}"), token).state == "succeeded"
    with pytest.raises(SignatureError):
        submit(host(tmp_path / "c", CALLSHEET_SECRET_KEY=new), token)


# Once ----------------------------------------------------------------------------------------------------------------


def test_a_second_post_shows_the_first_result(shop: Host) -> None:
    token = page(shop, success_path="/thanks").token
    first = submit(shop, token, ("note", "one"))
    assert submit(shop, token, ("note", "one")) == first
    assert submit(shop, token, ("note", "another card by now")) == first
    assert submit(shop, token) == first
    assert len(shop.gateway.requests) == 1


@pytest.mark.parametrize("typed", ["the same", "each their own"])
def test_fifty_posts_at_once_are_one_call(shop: Host, typed: str) -> None:
    for turn in range(2):
        token = page(shop).token
        notes = [typed if typed == "the same" else f"card {number}" for number in range(50)]
        answers = at_once([partial(submit, shop, token, ("note", note)) for note in notes])
        assert {answer.state for answer in answers} <= {"succeeded", "in_progress"}
        assert len(answers) == 50
        assert len(shop.gateway.requests) == turn + 1


def test_the_account_is_not_the_visitors_to_choose(shop: Host) -> None:
    """Else one form would be one operation in each account."""
    answer = submit(shop, page(shop).token, ("account", "acct_2"))
    assert (answer.state, shop.gateway.requests) == ("invalid", [])
    assert submit(shop, page(shop, {"amount": 5, "account": "acct_2"}).token).state == "succeeded"


def test_a_pages_own_key_holds_in_every_window(shop: Host) -> None:
    data = {"amount": 5, "idempotency_key": "order-17"}
    first, second = page(shop, data), page(shop, data)
    assert submit(shop, first.token) == submit(shop, second.token)
    assert len(shop.gateway.requests) == 1
    assert shop.calls()[0]["operation"] == "order-17"


def test_a_key_is_of_one_account_and_one_request_type(shop: Host) -> None:
    for data in ({"amount": 1}, {"amount": 2, "account": "acct_2"}):
        assert submit(shop, page(shop, {**data, "idempotency_key": "order-1"}).token).state == "succeeded"
    assert submit(shop, page(shop, {"idempotency_key": "order-1"}, name="shop/pay_once").token).state == "succeeded"
    assert len(shop.gateway.requests) == 3


def test_fifty_posts_at_once_are_one_call_on_any_database(tmp_path: Path, store_url: str) -> None:
    shop = host(tmp_path, CALLSHEET_SECRET_KEY=KEY)
    engine = Engine(
        tmp_path,
        store=SqlStore(store_url),
        dispatcher=shop.gateway,
        environment={**SECRETS, "CALLSHEET_SECRET_KEY": KEY},
        files=OnlyHere(tmp_path),
    )
    for turn in range(2):
        token = engine.form("shop/pay", {"amount": 5}, session=SESSION).token
        calls = [partial(engine.submit, token, [("note", f"card {n}")], session=SESSION) for n in range(50)]
        answers = at_once(calls)
        assert {answer.state for answer in answers} <= {"succeeded", "in_progress"}
        assert len(answers) == 50
        assert len(shop.gateway.requests) == turn + 1
        assert engine.submit(token, (), session=SESSION).state == "succeeded"


def test_a_call_under_way_is_waited_for(shop: Host) -> None:
    token, inside = page(shop).token, list[Submission]()
    shop.gateway.before = lambda _: inside.append(submit(shop, token)) if not inside else None
    assert submit(shop, token).state == "succeeded"
    assert [(answer.state, answer.redirect, answer.form) for answer in inside] == [("in_progress", None, None)]


# When it fails -------------------------------------------------------------------------------------------------------


def test_a_refusal_shows_the_message_and_what_was_typed(shop: Host) -> None:
    shop.gateway.answers = [refusal("Your card was declined."), ok()]
    form = page(shop, title="Pay here")
    answer = submit(shop, form.token, ("note", 'for "you" & <me>'))
    assert (answer.state, answer.message, answer.category) == ("declined", "Your card was declined.", "error")
    assert answer.form is not None
    again = Page(answer.form)
    assert "Your card was declined." in again.text
    assert "Pay here" in again.text
    assert again.input("note")["value"] == 'for "you" & <me>'
    assert unsealed(again.token)["operation"] != unsealed(form.token)["operation"]
    assert submit(shop, again.token, ("note", "again")).state == "succeeded"
    assert [sale["state"] for sale in shop.sales()] == ["paid"]


def test_no_form_is_named_by_what_looks_like_a_card_number(shop: Host) -> None:
    """Nothing is sent under such a name: one visitor in some ten thousand could not have paid."""
    shop.gateway.answers = [refusal(), ok()]
    first = page(shop).token
    answer = submit(shop, first, ("note", "x"))
    assert answer.form is not None
    operations = [unsealed(token)["operation"] for token in (first, answer.form.token)]
    assert all(re.fullmatch("form:[a-z2-7]{32}", operation) for operation in operations)
    assert not any(holds_card_number(operation_of(str(number))) for number in range(20_000))


def test_a_double_click_that_is_refused_leads_to_one_next_try(shop: Host) -> None:
    shop.gateway.answers = [refusal(), ok()]
    token = page(shop).token
    first, second = submit(shop, token), submit(shop, token)
    assert first.form is not None
    assert second.form is not None
    assert submit(shop, first.form.token) == submit(shop, second.form.token)
    assert len(shop.gateway.requests) == 2


def test_what_does_not_fit_is_marked_and_keeps_its_operation(shop: Host) -> None:
    write(shop.engine.root, {"request_types/shop/ask.yml": ASK})
    shop = host(shop.engine.root, CALLSHEET_SECRET_KEY=KEY)
    form = page(shop, {}, name="shop/ask")
    answer = submit(shop, form.token, *form.posts({"count": "many", "when": "soon"}))
    assert (answer.state, shop.gateway.requests) == ("invalid", [])
    assert {problem.pointer for problem in answer.problems} == {"/name", "/place/city", "/count", "/when"}
    assert answer.form is not None
    again = Page(answer.form)
    assert again.input("count")["value"] == "many"
    assert again.input("count")["aria-invalid"] == "true"
    ids = {attributes["id"] for _, attributes in again.tags if "id" in attributes}
    assert set(again.input("count")["aria-describedby"].split()) <= ids
    assert {link["href"].removeprefix("#") for link in again.all("a")} <= ids
    assert unsealed(again.token)["operation"] == unsealed(form.token)["operation"]


def test_a_gateway_that_is_not_reached_may_be_tried_again(shop: Host) -> None:
    shop.gateway.answers = [failure("connect", sent=False)]
    token = page(shop).token
    answer = submit(shop, token, ("note", "a"))
    assert answer.state == "not_done"
    assert answer.form is not None
    again = Page(answer.form)
    assert again.input("note")["value"] == "a"
    changed = submit(shop, again.token, ("note", "b"))
    assert changed.state == "not_done"
    assert "open the page again" in changed.message
    shop.gateway.answers = [ok()]
    assert submit(shop, again.token, ("note", "a")).state == "succeeded"
    assert submit(shop, token, ("note", "a")).state == "succeeded"
    assert len(shop.calls()) == 1


def test_an_unknown_outcome_offers_no_second_try(shop: Host) -> None:
    shop.gateway.answers = [failure("read")]
    answer = submit(shop, page(shop, error_path="/oops").token)
    assert (answer.state, answer.form, answer.redirect) == ("unknown", None, None)
    assert answer.call == shop.calls()[0].id


def test_what_was_done_and_not_recorded_says_so(shop: Host) -> None:
    shop.gateway.answers = [ok({"id": "p1", "amount": "no number"})]
    answer = submit(shop, page(shop).token)
    assert (answer.state, answer.form, shop.calls()[0]["state"]) == ("unmapped", None, "unmapped")


# Options -------------------------------------------------------------------------------------------------------------


def test_messages_and_paths_are_the_pages(shop: Host) -> None:
    shop.gateway.answers = [ok(), refusal()]
    told = {"success_message": "Thanks!", "error_message": "Sorry.", "success_path": "/done?x=1", "error_path": "/no"}
    done, refused = (submit(shop, page(shop, {"amount": n}, **told).token) for n in (1, 2))
    assert (done.message, done.redirect) == ("Thanks!", "/done?x=1")
    assert (refused.message, refused.redirect, refused.category) == ("Sorry.", "/no", "error")


def test_the_old_name_of_success_path_still_works(shop: Host) -> None:
    with pytest.warns(DeprecationWarning, match="success_path"):
        form = page(shop, redirect_to="/cart")
    assert submit(shop, form.token).redirect == "/cart"


def test_without_a_path_the_visitor_returns_to_the_page(shop: Host) -> None:
    form = shop.engine.form("shop/pay", {"amount": 1}, session=SESSION, page="/cart?item=3")
    assert submit(shop, form.token).redirect == "/cart?item=3"
    form = shop.engine.form("shop/pay", {"amount": 1}, session=SESSION, page="//evil.test")
    assert submit(shop, form.token).redirect == "/"


FOREIGN = [
    "//evil.test",
    "///evil.test",
    "/\\evil.test",
    "\\/evil.test",
    "\\\\evil.test",
    "/\t/evil.test",
    "\t//evil.test",
    "/\n/evil.test",
    "/\r/evil.test",
    " //evil.test",
    "/ /evil.test",
    "/\x00/evil.test",
    "/.//evil.test",
    "/..//evil.test",
    "http://evil.test",
    "https:evil.test",
    "javascript:alert(1)",
    "data:text/html,x",
    "evil.test",
    "",
    "/ok\n",
    "/\u2028/evil.test",
    "@evil.test",
    "/\x7f",
    "/a//b",
]


@pytest.mark.parametrize("path", FOREIGN)
def test_no_path_leads_to_another_host(shop: Host, path: str) -> None:
    """B6."""
    assert not is_own_path(path)
    for option in ("success_path", "error_path"):
        with pytest.raises(DataError, match=option):
            page(shop, **{option: path})


@pytest.mark.parametrize("path", ["/", "/a/b", "/a?b=//c", "/a#b", "/%09/evil", "/a;b@c:d"])
def test_paths_of_this_host_are_taken(path: str) -> None:
    assert is_own_path(path)


def test_an_option_that_there_is_not_is_named(shop: Host) -> None:
    with pytest.raises(UnknownNameError, match="'buton'; did you mean 'button'"):
        page(shop, buton="Pay")
    with pytest.raises(DataError, match="/button: 5 is not of type string"):
        page(shop, button=5)
    with pytest.raises(DataError, match="/expires"):
        page(shop, expires=0)


@pytest.mark.parametrize(
    ("option", "hint"),
    [("callback", "@engine.on"), ("gateway_template", "form file"), ("gateway", "begins"), ("request_type", "name")],
)
def test_what_the_browser_once_carried_is_refused_with_the_way_to_go(shop: Host, option: str, hint: str) -> None:
    """B5, B11."""
    with pytest.raises(DataError, match=hint):
        page(shop, **{option: "x"})


def test_every_option_of_a_form_can_be_given(shop: Host) -> None:
    given: dict[str, Any] = dict.fromkeys(NAMES, "/x") | {"expires": 60, "require_zip": "true"}
    given |= {"hide_account_status": False, "language": "en"}
    assert unsealed(page(shop, **given).token)["config"] == given | {"require_zip": True}


# What is generated ---------------------------------------------------------------------------------------------------

ASK = """\
summary: Ask for everything that a form can ask for.
method: POST
url: /ask
body: {all: "{{ data }}"}
data:
  required: [name, agreed, count, place]
  properties:
    name: {type: string, maxLength: 40, title: Your name, description: As on <b>paper</b>.}
    mail: {type: string, format: email}
    site: {type: string, format: uri}
    day: {type: string, format: date}
    when: {type: string, format: date-time}
    count: {type: integer, minimum: 1, maximum: 9, default: 3}
    share: {type: number, minimum: 0}
    size: {enum: [small, large, 3, true, null]}
    agreed: {type: boolean}
    newsletter: {type: boolean, default: true}
    maybe: {type: boolean}
    tags: {type: array, items: {type: string}}
    rows: {type: array, items: {type: object}}
    metadata: {type: object, additionalProperties: {type: string}}
    free: {type: object}
    place:
      type: object
      additionalProperties: false
      required: [city]
      properties:
        city: {type: string}
        floor: {type: integer}
        secret: {type: string, readOnly: true}
        geo: {type: object, properties: {lat: {type: number}, lon: {type: number}}}
    discount: {type: integer, readOnly: true}
"""


def ask(tmp_path: Path) -> Host:
    return host(tmp_path, files={"request_types/shop/ask.yml": ASK}, CALLSHEET_SECRET_KEY=KEY)


def test_a_new_request_type_has_a_form_with_no_form_file(tmp_path: Path) -> None:
    shop = ask(tmp_path)
    form = page(shop, {"discount": 2}, name="shop/ask")
    kinds = {one["name"]: one.get("type", one["tag"]) for one in form.inputs}
    assert kinds == {
        "callsheet_token": "hidden",
        "name": "text",
        "mail": "email",
        "site": "url",
        "day": "date",
        "when": "datetime-local",
        "count": "number",
        "share": "number",
        "size": "select",
        "agreed": "checkbox",
        "newsletter": "checkbox",
        "maybe": "select",
        "tags": "textarea",
        "rows": "textarea",
        "metadata": "textarea",
        "free": "textarea",
        "place[city]": "text",
        "place[floor]": "number",
        "place[geo][lat]": "number",
        "place[geo][lon]": "number",
    }
    assert {"maxlength": "40", "required": ""}.items() <= form.input("name").items()
    assert {"min": "1", "max": "9", "step": "1", "value": "3"}.items() <= form.input("count").items()
    assert form.input("share")["step"] == "any"
    assert "required" in form.input("place[city]")
    assert "required" not in form.input("place[geo][lat]")
    assert "checked" in form.input("newsletter")
    labels = {label["for"] for label in form.all("label")}
    shown = [one for one in form.inputs if one.get("type") != "hidden"]
    assert {one["id"] for one in shown} <= labels
    assert len({one["id"] for one in shown}) == len(shown)
    assert "Your name (required)" in form.text
    assert "As on <b>paper</b>." in form.text


def test_what_is_typed_gets_the_type_that_the_schema_says(tmp_path: Path) -> None:
    shop = ask(tmp_path)
    form = page(shop, {"discount": 2}, name="shop/ask")
    typed = {
        "name": "0478",
        "day": "2026-02-03",
        "when": "2026-02-03T04:05",
        "count": "7",
        "share": "0.5",
        "size": "3",
        "maybe": "false",
        "tags": "a\r\n b \r\n\r\n",
        "rows": '[{"a": 1}]',
        "metadata": "one: 1\r\ntwo: a: b",
        "free": '{"x": null}',
        "place[city]": "Łódź",
        "place[geo][lat]": "1.5",
    }
    assert submit(shop, form.token, *form.posts(typed)).state == "succeeded"
    assert sent(shop)[0]["all"] == {
        "name": "0478",
        "day": "2026-02-03",
        "when": "2026-02-03T04:05:00Z",
        "count": 7,
        "share": 0.5,
        "size": 3,
        "agreed": False,
        "newsletter": True,
        "maybe": False,
        "tags": ["a", "b"],
        "rows": [{"a": 1}],
        "metadata": {"one": "1", "two": "a: b"},
        "free": {"x": None},
        "place": {"city": "Łódź", "geo": {"lat": 1.5}},
        "discount": 2,
    }


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("count", "10"),
        ("count", "1.0"),
        ("count", "1e3"),
        ("size", "huge"),
        ("maybe", "yes"),
        ("rows", "[1"),
        ("metadata", "no colon"),
        ("metadata", "a: 1\na: 2"),
        ("day", "yesterday"),
        ("when", "noon"),
        ("mail", "nobody"),
        ("site", "nowhere"),
        ("name", "x" * 41),
        ("place[floor]", "ground"),
        ("place[city]", ""),
    ],
)
def test_what_does_not_fit_the_schema_is_not_sent(tmp_path: Path, name: str, text: str) -> None:
    shop = ask(tmp_path)
    form = page(shop, {}, name="shop/ask")
    good = {"name": "x", "place[city]": "y"}
    answer = submit(shop, form.token, *form.posts(good | {name: text}))
    pointer = "/" + name.replace("[", "/").replace("]", "")
    assert (answer.state, shop.gateway.requests) == ("invalid", [])
    assert all(
        problem.pointer.startswith(pointer) or pointer.startswith(problem.pointer) for problem in answer.problems
    )


def test_read_only_is_never_the_visitors(tmp_path: Path) -> None:
    shop = ask(tmp_path)
    good = [("name", "x"), ("place[city]", "y")]
    for extra in (("discount", "9"), ("place[secret]", "z")):
        assert submit(shop, page(shop, {}, name="shop/ask").token, *good, extra).state == "invalid"
    token, fits = page(shop, {}, name="shop/ask").token, {"name": "x", "agreed": True, "count": 3}
    answer = shop.engine.submit(token, {**fits, "place": {"city": "y", "secret": "z"}}, session=SESSION)
    assert [(one.pointer, one.message) for one in answer.problems] == [
        ("/place/secret", "is not asked for by this form")
    ]
    assert shop.gateway.requests == []
    assert shop.engine.submit(token, {**fits, "place": {"city": "y"}}, session=SESSION).state == "succeeded"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(min_size=1, max_size=60), word=st.text(min_size=1, max_size=60))
def test_any_text_arrives_as_it_was_typed_or_sealed(shop: Host, text: str, word: str) -> None:
    """B12: and is only ever shown as text."""
    shop.gateway.requests.clear()
    shop.gateway.answers = [refusal(text), ok()]
    form = page(shop, {"amount": 5}, title=word, button=word)
    assert [tag for tag, _ in form.tags if tag in {"script", "img", "b"}] == []
    answer = submit(shop, form.token, ("note", text))
    assert answer.form is not None
    again = Page(answer.form)
    tags = {tag for tag, _ in again.tags}
    assert tags <= {"link", "form", "h2", "div", "p", "ul", "li", "a", "input", "label", "small", "button"}
    if not set(text) & set("\r\n\x00"):  # HTML itself knows one line end and no NUL
        assert again.input("note")["value"] == text
    assert submit(shop, again.token, ("note", text)).state == "succeeded"
    assert [body["note"] for body in sent(shop)] == [text, text]


@pytest.mark.parametrize(
    "evil", ['"><script>alert(1)</script>', "'><img src=x onerror=alert(1)>", "{{ 7*7 }}", "</textarea><b>", "&quot;"]
)
def test_hostile_data_stays_text(tmp_path: Path, evil: str) -> None:
    """B12."""
    files = {"forms/shop/pay.html": PAY}
    shop = host(tmp_path, files=files, CALLSHEET_SECRET_KEY=KEY, SHOP_PUBLIC=evil)
    form = page(shop, {"amount": 5, "account": evil}, title=evil, button=evil)
    assert {tag for tag, _ in form.tags} <= {"link", "form", "h2", "p", "a", "input", "button", "div", "label"}
    assert form.text.count(evil) == 4
    assert form.all("a")[0] == {"href": "/x", "title": evil}


PAY = """\
<p>{{ data.account }} {{ settings.public_key }}</p><a href="/x" title="{{ data.account }}">x</a>
{{ input("note", label="Note") }}{{ submit("Pay " ~ money(data.amount, "usd")) }}
"""


def test_a_page_that_seals_too_little_or_what_cannot_fit_is_told_so(shop: Host) -> None:
    write(shop.engine.root, {"forms/shop/pay.html": "{{ submit() }}"})
    shop = host(shop.engine.root, CALLSHEET_SECRET_KEY=KEY)
    with pytest.raises(DataError, match="/amount: is required, and this form does not ask for it"):
        page(shop, {})
    with pytest.raises(DataError, match="/amount: 0 is less than"):
        page(shop, {"amount": 0})
    with pytest.raises(DataError, match="/amout: is not known here; did you mean 'amount'"):
        page(shop, {"amout": 1})
    with pytest.raises(UnknownNameError, match="did you mean 'shop/pay'"):
        page(shop, name="shop/pai")


# Form files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("{{ inptu('note') }}{{ submit() }}", 1, "only input, rest"),
        ("{{ submit() }}\n{{ nothing }}", 2, "the name 'nothing' is not known here"),
        ("{{ submit() }}\n{{ input('nte') }}", 2, "there is no property 'nte'; did you mean 'note'"),
        ("{{ input(data.note) }}{{ submit() }}", 1, "name the property in quotes"),
        ("{{ input('note', lable='x') }}{{ submit() }}", 1, "input knows no 'lable'; did you mean 'label'"),
        ("{{ data.amout }}{{ submit() }}", 1, "'amout' is not declared here; did you mean 'amount'"),
        ("{{ config.buton }}{{ submit() }}", 1, "'buton' is not declared here; did you mean 'button'"),
        ("{{ settings.secret }}{{ submit() }}", 1, "'secret' is not declared here"),
        ("{{ data.note | safe }}{{ submit() }}", 1, "there is no filter 'safe'"),
        ("{{ records('sael') }}{{ submit() }}", 1, "there is no record type 'sael'; did you mean 'sale'"),
        ("{% autoescape false %}{{ submit() }}{% endautoescape %}", 1, "not offered"),
        ("{% include 'x' %}{{ submit() }}", 1, "include is not offered"),
        ("{{ submit() }}{{ ''.join([]) }}", 1, "only input, rest"),
        ("{{ submit() }}{% if %}", 1, "mend the template"),
        ("{{ card('note') }}{{ submit() }}", 1, "card needs key="),
        ("<p>no button</p>", 1, "the form has no button"),
        ("{{ input('secret') }}{{ submit() }}", 1, "readOnly"),
    ],
)
def test_a_mistake_in_a_form_file_is_found_at_start(tmp_path: Path, text: str, line: int, message: str) -> None:
    secret = (
        "data:\n  properties: {note: {type: string}, amount: {type: integer}, secret: {type: string, readOnly: true}}\n"
    )
    type = f"summary: x\nmethod: POST\nurl: /x\n{secret}"
    with pytest.raises(DefinitionError) as caught:
        host(tmp_path, files={"forms/shop/say.html": text, "request_types/shop/say.yml": type})
    assert any(message in fault.message for fault in caught.value.faults)
    assert {(fault.file, fault.line) for fault in caught.value.faults} == {("forms/shop/say.html", line)}


def test_a_form_needs_its_request_type_and_a_frame_its_macros(tmp_path: Path) -> None:
    files = {"forms/shop/pey.html": "{{ submit() }}", "forms/_form.html": "{% macro frame(f) %}{% endmacro %}"}
    with pytest.raises(DefinitionError) as caught:
        host(tmp_path, files=files)
    assert [str(fault) for fault in caught.value.faults] == [
        "forms/_form.html:1:1: the macro card is missing; the frame defines frame, field, card, submit",
        "forms/_form.html:1:1: the macro field is missing; the frame defines frame, field, card, submit",
        "forms/_form.html:1:1: the macro submit is missing; the frame defines frame, field, card, submit",
        "forms/shop/pey.html:1:1: there is no request type 'shop/pey' for this form; did you mean 'shop/pay'?",
    ]


def test_a_hosts_own_frame_replaces_the_shipped_one(tmp_path: Path) -> None:
    frame = """\
{% macro frame(form) %}
<form action="{{ form.action }}">{{ form.body }}<input name="callsheet_token" value="{{ form.token }}"></form>
{% endmacro %}
{% macro field(f) %}<label>{{ f.label }} <input name="{{ f.name }}" value="{{ f.value }}"></label>{% endmacro %}
{% macro card(f) %}{% endmacro %}
{% macro submit(f) %}<button>{{ f.label }}</button>{% endmacro %}
"""
    shop = host(tmp_path, files={"forms/_form.html": frame}, CALLSHEET_SECRET_KEY=KEY)
    form = page(shop)
    assert {tag for tag, _ in form.tags} == {"form", "label", "input", "button"}
    assert submit(shop, form.token, *form.posts({"note": "own"})).state == "succeeded"


def test_a_second_gateways_form_is_one_file_of_its_own(tmp_path: Path) -> None:
    """B40: nothing of the machine names a gateway."""
    narrowed = '{{ input("note", enum=["a", "b"], required=true) }}{{ success("Sold!") }}{{ submit() }}'
    shop = host(tmp_path, files={"forms/shop/pay.html": narrowed}, CALLSHEET_SECRET_KEY=KEY)
    form = page(shop)
    assert form.names == ["note"]
    assert submit(shop, form.token, ("note", "c")).problems[0].pointer == "/note"
    assert submit(shop, form.token).problems[0].message == "is required"
    assert submit(shop, form.token, ("note", "b")).message == "Sold!"


def test_a_hosted_page_is_gone_to_only_where_the_gateway_names_it(tmp_path: Path) -> None:
    type = 'summary: x\nmethod: POST\nurl: /x\nredirect: "{{ response.url }}"\n'
    named = SHOP["request_types/shop/_gateway.yml"] + "browser: {redirect: [pay.shop.test]}\n"
    files = {"request_types/shop/go.yml": type, "request_types/shop/_gateway.yml": named}
    for number, (url, state) in enumerate(
        [
            ("https://pay.shop.test/s/1", ("https://pay.shop.test/s/1", True)),
            ("http://pay.shop.test/s/1", (None, False)),
            ("https://pay.shop.test.evil.test/", (None, False)),
            ("https://pay.shop.test@evil.test/", (None, False)),
            ("https://pay.shop.test:444/", (None, False)),
            ("javascript:alert(1)", (None, False)),
            ("https://[", (None, False)),
            ("https://pay.shop.test/a\r\nSet-Cookie: b=c", (None, False)),
            ("https://pay.shop.test/\ud800", (None, False)),
            (["https://pay.shop.test/s/1"], (None, False)),
        ]
    ):
        shop = host(tmp_path / str(number), ok({"id": "x", "url": url}), files=files, CALLSHEET_SECRET_KEY=KEY)
        answer = submit(shop, page(shop, {}, name="shop/go").token)
        assert (answer.redirect, answer.goes_on) == state
        assert answer.state == "succeeded"


# The shipped ones ----------------------------------------------------------------------------------------------------

PAGES: dict[str, dict[str, Any]] = {
    "stripe/create_customer": {},
    "stripe/create_payment": {"amount": 500, "currency": "usd"},
    "stripe/capture_payment": {"gateway_id": "ch_1"},
    "stripe/create_refund": {"charge": "ch_1"},
    "stripe/create_account": {},
    "stripe/reject_account": {"gateway_id": "acct_1"},
    "stripe/delete_account": {"gateway_id": "acct_1"},
    "stripe/delete_credit_card": {"customer_id": "cus_1", "gateway_id": "card_1"},
    "stripe/create_transfer": {"amount": 300, "currency": "usd", "destination": "acct_1"},
    "stripe/create_credit_card": {"customer_id": "cus_1"},
    "stripe/create_payment_intent": {"amount": 500, "currency": "usd"},
    "stripe/capture_payment_intent": {"gateway_id": "pi_1"},
    "stripe/cancel_payment_intent": {"gateway_id": "pi_1"},
    "stripe/create_checkout_session": {"success_url": "https://shop.test/thanks"},
    "stripe/create_account_link": {
        "account_id": "acct_1",
        "refresh_url": "https://shop.test/again",
        "return_url": "https://shop.test/back",
    },
    "stripe/create_bank_account": {"account_id": "acct_1"},
    "stripe/create_person": {"account_id": "acct_1"},
}
STRIPE = {"STRIPE_SECRET_KEY": "sk_test_1", "STRIPE_PUBLISHABLE_KEY": "pk_test_1", "CALLSHEET_SECRET_KEY": KEY}


def stripe(root: Path, gateway: Told | None = None, **environment: str) -> Engine:
    """An engine of the shipped files."""
    return Engine(
        root,
        store=MemoryStore(),
        environment={**STRIPE, **environment},
        dispatcher=gateway or Told(),
        clock=Hours().clock(),
        files=shipped_files(),
    )


@cache
def shipped_files() -> Files:
    """The shipped files, read once for all tests."""
    return Files(None, {}, reload=False)


PERSON = """
first_name last_name email phone id_number dob[day] dob[month] dob[year]
address[line1] address[postal_code] address[city] relationship[representative]
relationship[owner] relationship[director] relationship[executive] relationship[title]
""".split()


def test_the_shipped_forms_ask_for_no_card_customer_destination_or_amount(tmp_path: Path) -> None:
    """B3, B9, B10."""
    engine = stripe(tmp_path)
    assert {name for name in engine.catalog.forms if "/" in name and not name.endswith(".result")} == set(PAGES)
    asked = {name: Page(engine.form(name, data, session=SESSION)).names for name, data in PAGES.items()}
    assert {name: names for name, names in asked.items() if names} == {
        "stripe/create_customer": ["email", "source"],
        "stripe/create_payment": ["receipt_email", "source"],
        "stripe/create_account": ["email", "country", "business_type"],
        "stripe/create_credit_card": ["source"],
        "stripe/create_payment_intent": ["receipt_email", "confirmation_token"],
        "stripe/create_bank_account": [
            f"external_account[{part}]"
            for part in ("account_holder_name", "account_holder_type", "routing_number", "account_number")
        ],
        "stripe/create_person": PERSON,
    }


@pytest.mark.parametrize(
    "source", ["card_1ABC", "cus_1", "ba_1", "acct_1", "4242424242424242", "tok_a&amount=1", "", "tok_"]
)
@pytest.mark.parametrize("name", ["stripe/create_payment", "stripe/create_customer", "stripe/create_credit_card"])
def test_only_a_fresh_token_is_a_card(tmp_path: Path, name: str, source: str) -> None:
    """B10: a card that is kept somewhere is the page's to name."""
    gateway = Told()
    engine = stripe(tmp_path, gateway)
    form = Page(engine.form(name, PAGES[name], session=SESSION))
    answer = engine.submit(form.token, [("source", source)], session=SESSION)
    assert (answer.state, gateway.requests) == ("invalid", [])


def test_no_input_is_made_for_a_card_number(tmp_path: Path) -> None:
    engine = stripe(tmp_path)
    for name, data in PAGES.items():
        form = Page(engine.form(name, data, session=SESSION))
        shown = [one for one in form.inputs if one.get("type") != "hidden"]
        assert [one for one in shown if one["name"] in {"source", "payment_method", "number", "cvc"}] == []


@pytest.mark.parametrize(
    "number",
    [
        "4242424242424242",
        "4000 0566 5566 5556",
        "5555-5555-5555-4444",
        "2223003122003222",
        "378282246310005",
        "6011111111111117",
        "3056930009020004",
        "36227206271667",
        "3566002020360505",
        "6200000000000005",
    ],
)
def test_a_card_number_is_refused_and_never_kept_or_repeated(shop: Host, number: str) -> None:
    token = page(shop).token
    for text in (number, f"my card is {number}, thanks", f"({number})"):
        answer = submit(shop, token, ("note", text))
        assert (answer.state, [problem.message for problem in answer.problems]) == ("invalid", [CARD_NUMBER])
        assert number not in str(answer)
    assert shop.engine.submit(token, {"note": {"deep": [number]}}, session=SESSION).problems[0].message == CARD_NUMBER
    assert number not in shop.store.text()
    assert shop.gateway.requests == []


@pytest.mark.parametrize("text", ["4242424242424241", "1234567890123", "0049 170 1234567", "42" * 15, "+4222222222222"])
def test_other_numbers_are_no_card_numbers(text: str) -> None:
    assert not holds_card_number(text)
    assert not holds_card_number({"a": [text, True, None, 1.5]})


def test_what_is_refused_is_not_written_into_the_log(shop: Host, caplog: pytest.LogCaptureFixture) -> None:
    """B7."""
    token = page(shop).token
    shop.gateway.answers = [failure("read")]
    submit(shop, token, ("note", "private words"))
    for one in (token + "x", token[:-1]):
        with pytest.raises(SignatureError) as caught:
            submit(shop, one)
        assert KEY not in str(caught.value)
    assert caplog.messages != []
    for secret in (token, token.rsplit(".", 1)[1], KEY, SESSION, "private words"):
        assert secret not in caplog.text


SALE = {"gateway_id": "ch_1", "amount_cents": 500, "currency": "usd", "state": "paid", "amount_refunded_cents": 150}


@pytest.mark.parametrize(
    ("name", "more", "label"),
    [
        ("stripe/create_payment", {"customer": "cus_1"}, "Pay 5.00 USD"),
        ("stripe/create_payment", {"customer": "cus_1", "capture": False}, "Hold 5.00 USD"),
        ("stripe/create_payment", {"customer": "cus_1", "currency": "jpy"}, "Pay 500 JPY"),
        ("stripe/create_payment", {"customer": "cus_1", "currency": "kwd"}, "Pay 0.500 KWD"),
        ("stripe/create_payment", {"customer": "cus_1", "currency": "isk"}, "Pay 5.00 ISK"),
        ("stripe/create_payment_intent", {"payment_method": "pm_1"}, "Pay 5.00 USD"),
        ("stripe/create_transfer", {}, "Transfer 3.00 USD"),
        ("stripe/capture_payment", {}, "Capture 5.00 USD"),
        ("stripe/capture_payment", {"gateway_id": "ch_2"}, "Capture"),
        ("stripe/create_refund", {}, "Refund 3.50 USD"),
        ("stripe/create_refund", {"amount": 99}, "Refund 0.99 USD"),
        ("stripe/create_refund", {"charge": "ch_2"}, "Refund"),
        ("stripe/delete_credit_card", {}, "Remove card"),
    ],
)
def test_a_button_names_the_amount_that_is_moved(tmp_path: Path, name: str, more: dict[str, Any], label: str) -> None:
    """B39."""
    engine = stripe(tmp_path)
    keep(engine, "payment", SALE)
    form = Page(engine.form(name, {**PAGES[name], **more}, session=SESSION))
    assert form.text.split("\n\n")[-1].strip().endswith(label) or label in form.text.splitlines()
    assert Page(engine.form(name, {**PAGES[name], **more}, session=SESSION, button="Go")).text.strip().endswith("Go")


def keep(engine: Engine, type: str, properties: Mapping[str, Any]) -> None:
    """Put a record into the store."""
    from engine.records import Change, Scope

    engine.store.apply([Change("insert", engine.catalog.record_type(type), Scope("stripe"), {}, properties)])


def test_a_card_form_stands_open_or_behind_its_button(tmp_path: Path) -> None:
    engine = stripe(tmp_path)
    data = PAGES["stripe/create_payment"]
    opened = Page(engine.form("stripe/create_payment", data, session=SESSION))
    assert (opened.all("details"), opened.all("h2")) == ([], [])
    assert "data-require-zip" not in next(one for one in opened.all("div") if "data-callsheet-card" in one)
    config: dict[str, Any] = {"button": "Buy", "button_modal": "Pay now", "require_zip": True, "title": "A chair"}
    closed = Page(engine.form("stripe/create_payment", data, session=SESSION, at="/shop/callsheet", **config))
    assert closed.all("details") == [{}]
    assert closed.all("summary") == [{"role": "button"}]
    assert [word for word in ("Buy", "Pay now", "A chair") if word in closed.text] == ["Buy", "Pay now", "A chair"]
    card = next(one for one in closed.all("div") if "data-callsheet-card" in one)
    assert {"data-key": "pk_test_1", "data-make": "token", "data-require-zip": ""}.items() <= card.items()
    scripts = [one["src"] for one in closed.all("script")]
    assert scripts == ["https://js.stripe.com/v3/", "/shop/callsheet/static/stripe-card.js"]
    assert closed.all("form")[0]["action"] == "/shop/callsheet/forms"


def test_a_card_form_without_a_public_key_says_which_setting_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="STRIPE_PUBLISHABLE_KEY"):
        stripe(tmp_path, STRIPE_PUBLISHABLE_KEY="").form("stripe/create_customer", {}, session=SESSION)


def test_a_refused_card_is_not_kept_but_an_unsent_one_is(tmp_path: Path) -> None:
    declined = ok({"error": {"message": "Your card was declined.", "type": "card_error"}}, 402)
    gateway = Told(
        failure("connect", sent=False), failure("connect", sent=False), failure("connect", sent=False), declined
    )
    engine = stripe(tmp_path, gateway)
    form = Page(engine.form("stripe/create_customer", {}, session=SESSION))
    fields = [("email", "a@b.test"), ("source", "tok_1")]
    first = engine.submit(form.token, fields, session=SESSION)
    assert (first.state, Page(str(first.form)).input("source")["value"]) == ("not_done", "tok_1")
    second = engine.submit(form.token, fields, session=SESSION)
    assert (second.state, second.message) == ("declined", "Your card was declined.")
    assert [Page(str(second.form)).input(name)["value"] for name in ("email", "source")] == ["a@b.test", ""]


def test_the_account_form_says_what_the_gateway_thinks(tmp_path: Path) -> None:
    engine = stripe(tmp_path)
    account = {"gateway_id": "acct_1", "state": "pending", "charges_enabled": True, "payouts_enabled": False}
    due = [
        "individual.dob.day",
        "individual.dob.year",
        "individual.new_thing",
        "tos_acceptance.ip",
        "<b>",
        "person_1.phone",
    ]
    keep(engine, "account", {**account, "currently_due": due})
    keep(engine, "person", {"gateway_id": "person_1", "first_name": "Ada"})
    data = {"gateway_id": "acct_1"}
    told = Page(engine.form("stripe/create_account", data, session=SESSION)).text
    for line in ("Payments enabled", "Payouts disabled", "Before this account can be paid out to, we need", "Save"):
        assert line in told
    assert [line.strip() for line in told.partition("we need")[2].splitlines() if line.strip()][:5] == [
        "Date of birth (yours)",
        "New thing (yours)",
        "The terms, accepted",
        "<b>",
        "Telephone of Ada",
    ]
    hidden = Page(engine.form("stripe/create_account", data, session=SESSION, hide_account_status="true")).text
    assert "Payouts" not in hidden


NEVER_ASKED = set(
    """
    account_id amount application_fee application_fee_amount capture charge confirm credit_card_id currency customer
    customer_id destination external_id gateway_id id on_behalf_of payment_id payment_intent source_transaction
    transfer_data transfer_group
    """.split()
)


def test_no_generated_form_of_the_shipped_types_asks_for_what_only_a_page_may_decide(tmp_path: Path) -> None:
    """B3: not even where the shipped form file is taken away."""
    asked = {
        (type.name, name)
        for type in stripe(tmp_path).catalog.request_types.values()
        for name, schema in type.properties.items()
        if type.journaled and name in NEVER_ASKED and field_of((name,), schema, required=False)
    }
    assert asked == set()


def test_amounts_are_written_as_the_currency_is_counted() -> None:
    shown = [money(*one) for one in ((500, "usd"), (5, "USD"), (0, "jpy"), (1, "bhd"), (12345, "clf"), (-150, "eur"))]
    assert shown == ["5.00 USD", "0.05 USD", "0 JPY", "0.001 BHD", "1.2345 CLF", "-1.50 EUR"]
    assert money(500, "isk", 2) == "5.00 ISK"
