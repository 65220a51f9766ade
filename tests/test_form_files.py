"""What a form file can say beside its inputs: parts of the data, what is sealed, texts, what is shown afterwards."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, get_flashed_messages, render_template_string
from hosts import SHOP, Host, Told, failure, host, ok, refusal, write
from html_pages import Page

from engine.catalog import load, shipped
from engine.core import Engine
from engine.errors import DefinitionError, SignatureError, UnknownNameError
from engine.forms.translations import Translations
from engine.seals import Tokens
from engine.store.memory import MemoryStore
from engine.web import Callsheet

KEY = "a key of thirty-two bytes or more"
SESSION = "the visitor"
OPEN = """\
summary: Open an account.
method: POST
url: /accounts
account: "{{ data.owner }}"
body: {all: "{{ data }}"}
data:
  required: [person]
  properties:
    owner: {type: string, readOnly: true}
    kind: {type: string}
    agreed: {type: boolean}
    a.b: {type: string}
    person:
      type: object
      required: [name]
      properties:
        name: {type: string}
        secret: {type: string, writeOnly: true}
        grade: {type: string, readOnly: true}
        born: {type: object, properties: {day: {type: integer, minimum: 1}, year: {type: integer}}}
      additionalProperties: true
"""
STANDING = (
    "summary: x\nmethod: GET\nurl: /accounts/{{ data.id }}\ndata: {required: [id], properties: {id: {type: string}}}\n"
)
PARTS = """\
{{ seal("person.kind", "human") }}{{ seal("kind", data.nothing_known) }}{{ seal("agreed", false) }}
{{ input("person.name", label="Your name") }}{{ input("person.born.day") }}{{ input("person.secret") }}
{{ input("a.b") }}{{ submit("Open") }}
"""
FILES = {"request_types/shop/open.yml": OPEN.replace("data:\n", "data:\n  additionalProperties: true\n", 1)}


def with_form(root: Path, form: str, *answers: Any, **files: str) -> Host:
    texts = {**FILES, "request_types/shop/standing.yml": STANDING, "forms/shop/open.html": form, **files}
    return host(root, *answers, files=texts, CALLSHEET_SECRET_KEY=KEY)


def page(shop: Host, data: Mapping[str, Any] | None = None, **config: Any) -> Page:
    return Page(shop.engine.form("shop/open", data or {}, session=SESSION, **config))


def sent(shop: Host) -> list[Any]:
    return [json.loads(request.body)["all"] for request in shop.gateway.requests if request.method == "POST"]


def faults(root: Path, files: Mapping[str, str]) -> list[str]:
    with pytest.raises(DefinitionError) as caught:
        load([write(root, {**SHOP, **FILES, **files})])
    return [str(fault) for fault in caught.value.faults]


# Parts of the data, and what is sealed --------------------------------------------------------------------------------


def test_a_form_asks_for_parts_and_says_others_itself(tmp_path: Path) -> None:
    shop = with_form(tmp_path, PARTS)
    form = page(shop)
    assert form.names == ["person[name]", "person[born][day]", "person[secret]", "a.b"]
    assert form.input("person[name]").get("required") is not None
    typed = {"person[name]": "Ada", "person[born][day]": "10", "person[secret]": "x", "a.b": "c"}
    assert shop.engine.submit(form.token, form.posts(typed), session=SESSION).state == "succeeded"
    human = {"name": "Ada", "born": {"day": 10}, "secret": "x", "kind": "human"}
    assert sent(shop) == [{"person": human, "agreed": False, "a.b": "c"}]


@pytest.mark.parametrize(
    "fields",
    [
        [("person[name]", "Ada"), ("person[kind]", "robot")],  # sealed by the form file
        [("person[name]", "Ada"), ("person[grade]", "A")],
        [("person[name]", "Ada"), ("person[born][year]", "1815")],  # not offered beside its neighbour
        [("person[name]", "Ada"), ("person", "{}")],
        [("person[name]", "Ada"), ("kind", "x")],
        [("person[name]", "Ada"), ("owner", "acct_evil")],
    ],
)
def test_no_part_can_be_given_that_the_form_does_not_ask_for(tmp_path: Path, fields: list[tuple[str, str]]) -> None:
    shop = with_form(tmp_path, PARTS)
    answer = shop.engine.submit(page(shop).token, fields, session=SESSION)
    assert (answer.state, sent(shop)) == ("invalid", [])


def test_json_is_held_to_the_same_parts(tmp_path: Path) -> None:
    shop = with_form(tmp_path, PARTS)
    token = page(shop).token
    refused: list[dict[str, Any]] = [
        {"person": {"name": "Ada", "kind": "robot"}},
        {"person": {"name": "Ada", "born": {"day": 1, "year": 2}}},
        {"person": ["Ada"]},
        {"person": {}},
        {"person.name": "Ada"},
    ]
    for fields in refused:
        assert shop.engine.submit(token, fields, session=SESSION).state == "invalid"
    assert (
        shop.engine.submit(token, {"person": {"name": "Ada", "born": {"day": 1}}}, session=SESSION).state == "succeeded"
    )
    assert sent(shop) == [{"person": {"name": "Ada", "born": {"day": 1}, "kind": "human"}, "agreed": False}]


def test_a_part_that_does_not_fit_is_marked_and_has_the_focus(tmp_path: Path) -> None:
    shop = with_form(tmp_path, PARTS)
    form = page(shop)
    answer = shop.engine.submit(
        form.token, [("person[born][day]", "0"), ("person[secret]", "unseen words")], session=SESSION
    )
    again = Page(str(answer.form))
    assert {problem.pointer for problem in answer.problems} == {"/person/name", "/person/born/day"}
    focused = [one["name"] for one in again.inputs if "autofocus" in one]
    assert focused == ["person[name]"]
    day = again.input("person[born][day]")
    assert (day["value"], day["aria-invalid"], day["aria-describedby"]) == ("0", "true", day["id"] + "-error")
    assert "unseen words" not in again.html
    assert [one["href"] for one in again.all("a")] == [
        f"#{again.input(name)['id']}" for name in ("person[name]", day["name"])
    ]


def test_a_refusal_has_the_focus_where_no_input_is_wrong(tmp_path: Path) -> None:
    shop = with_form(tmp_path, PARTS, refusal("No room."))
    answer = shop.engine.submit(page(shop).token, [("person[name]", "Ada")], session=SESSION)
    alert = next(one for one in Page(str(answer.form)).all("div") if one.get("role") == "alert")
    assert ("autofocus" in alert, alert["tabindex"]) == (True, "-1")


def test_what_the_page_seals_is_not_asked_for_in_parts_and_wins(tmp_path: Path) -> None:
    shop = with_form(tmp_path, PARTS)
    form = page(shop, {"person": {"name": "Eve"}, "agreed": True})
    assert form.names == ["a.b"]
    shop.engine.submit(form.token, [], session=SESSION)
    assert sent(shop) == [{"person": {"name": "Eve"}, "agreed": True}]


def test_a_part_is_asked_for_once_and_the_rest_leaves_it_out(tmp_path: Path) -> None:
    twice = (
        '{{ input("person.born.day") }}{{ input("person.born") }}{{ input("person.name") }}{{ rest() }}{{ submit() }}'
    )
    assert page(with_form(tmp_path, twice)).names == ["person[born][day]", "person[name]", "kind", "agreed", "a.b"]


def test_a_box_has_to_be_ticked(tmp_path: Path) -> None:
    shop = with_form(
        tmp_path, '{{ input("agreed", const=true, required=true) }}{{ input("person.name") }}{{ submit() }}'
    )
    form = page(shop)
    box = form.input("agreed")
    assert (
        box["type"],
        box["value"],
        "required" in box,
        len([one for one in form.inputs if one["name"] == "agreed"]),
    ) == (
        "checkbox",
        "true",
        True,
        1,
    )
    assert shop.engine.submit(form.token, [("person[name]", "A")], session=SESSION).problems[0].pointer == "/agreed"
    ticked = [("person[name]", "A"), ("agreed", "true")]
    assert shop.engine.submit(form.token, ticked, session=SESSION).state == "succeeded"
    assert sent(shop) == [{"person": {"name": "A"}, "agreed": True}]


def test_two_seals_of_one_account_are_one_account(tmp_path: Path) -> None:
    """The account that a form file seals scopes its call, as a page's does."""
    shop = with_form(tmp_path, '{{ seal("owner", "acct_1") }}{{ input("person.name") }}{{ submit() }}')
    form = page(shop)
    posted = [("person[name]", "A")]
    assert [shop.engine.submit(form.token, posted, session=SESSION).state for _ in range(2)] == ["succeeded"] * 2
    assert (len(sent(shop)), shop.calls()[0].scope.account) == (1, "acct_1")


# Asking ---------------------------------------------------------------------------------------------------------------


def test_a_form_asks_the_gateway_and_does_without_its_answer(tmp_path: Path) -> None:
    asks = '{% set said = ask("shop/standing", id=data.id) %}<p>({{ said.mood }})</p>'
    asks += '{{ input("person.name") }}{{ submit() }}'
    shop = with_form(tmp_path, asks, ok({"mood": "good"}), failure("connect", sent=False))
    assert "(good)" in page(shop, {"id": "a1"}).text
    assert "()" in page(shop, {"id": "a1"}).text
    before = len(shop.gateway.requests)
    assert "()" in page(shop).text
    assert len(shop.gateway.requests) == before


# Texts ----------------------------------------------------------------------------------------------------------------

SPOKEN = '{{ input("person.name", label=text("shop.name", data.country, of="you")) }}{{ submit() }}'
ENGLISH = "shop:\n  name: {GB: Surname {of}, other: Name {of}}\n".replace(
    "{GB: Surname {of}, other: Name {of}}", "\n    GB: Surname of {of}\n    other: Name of {of}"
)
GERMAN = "shop:\n  name:\n    GB: Nachname von {of}\n    other: Name von {of}\nform:\n  send: Absenden\n"


def test_a_form_speaks_its_language_and_the_countrys_words(tmp_path: Path) -> None:
    texts = {"forms/translations/en.yml": ENGLISH, "forms/translations/de.yml": GERMAN}
    shop = with_form(tmp_path, SPOKEN, **texts)
    assert "Name of you" in page(shop).text
    assert "Surname of you" in page(shop, {"country": "GB"}).text
    german = page(shop, {"country": "GB"}, language="de-AT")
    assert "Nachname von you" in german.text
    assert "Absenden" in german.text
    assert german.all("form")[0]["lang"] == "de"
    answer = shop.engine.submit(german.token, [], session=SESSION)
    assert answer.language == "de"
    with pytest.raises(UnknownNameError, match="no language of forms 'dee'; did you mean 'de'"):
        page(shop, language="dee")


def test_a_hosts_text_wins_and_the_others_stay(tmp_path: Path) -> None:
    shop = with_form(tmp_path, SPOKEN, **{"forms/translations/en.yml": ENGLISH + "form: {send: Go}\n"})
    assert shop.engine.catalog.translations.say("en", "form.send") == "Go"
    assert shop.engine.catalog.translations.say("en", "form.choose") == "Choose"


@pytest.mark.parametrize(
    ("file", "text", "place", "message"),
    [
        (
            "de.yml",
            "form: {sent: x}",
            "1:8",
            "there is no English text 'form.sent' to translate; did you mean 'form.send'",
        ),
        (
            "de.yml",
            "payment:\n  pay: Zahlen",
            "2:3",
            "'payment.pay' does not say {amount}, which the English text does",
        ),
        ("de.yml", "payment: {pay: '{amuont} {amount}'}", "1:11", "'payment.pay' leaves {amuont} open"),
        (
            "de.yml",
            "form: {send: 5}",
            "1:8",
            "'send' is no text; quote it, or remove it to leave it to the English one",
        ),
        ("de.yml", "form: {se-nd: x}", "1:1", "the key 'se-nd' holds other things than letters, digits and _"),
        (
            "de.yml",
            "form: {send: {other: {x: y}}}",
            "1:8",
            "texts by country, of which 'other' is one, hold texts only",
        ),
        ("de.yml", "- x", "1:1", "the file is a mapping of keys to texts"),
        ("de.yml", "form: [x", "2:1", "not YAML"),
        ("german.yml", "form: {send: x}", "1:1", "'german' is no language; name the file like de.yml or pt_BR.yml"),
        ("de.txt", "x", "1:1", "a file of forms ends in .yml; rename it"),
    ],
)
def test_a_mistake_in_a_translation_is_found_at_start(
    tmp_path: Path, file: str, text: str, place: str, message: str
) -> None:
    found = faults(tmp_path, {f"forms/translations/{file}": text})
    assert len(found) == 1
    assert found[0].startswith(f"forms/translations/{file}:{place}: {message}")


def test_every_shipped_language_says_everything() -> None:
    translations = load([shipped()]).translations
    assert {"de", "en", "pl"} <= set(translations.languages)
    for language, texts in translations.languages.items():
        assert [key for key in translations.keys if key not in texts] == [], language


def test_what_has_no_text_is_named_by_its_words() -> None:
    assert Translations({"en": {}}).say("en", "field.new_thing.in_it") == "New thing in it"


# What is wrong with a file --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ input('person.nome') }}{{ submit() }}", "there is no property 'person.nome'; did you mean 'person.name'?"),
        ("{{ input('persn.name') }}{{ submit() }}", "there is no property 'persn.name'; did you mean 'person.name'?"),
        ("{{ input('person.grade') }}{{ submit() }}", "'person.grade' is readOnly"),
        ("{{ seal('ownr', 1) }}{{ submit() }}", "there is no property 'ownr'; did you mean 'owner'?"),
        ("{{ ask('shop/open') }}{{ submit() }}", "there is no request type that only reads 'shop/open'"),
        ("{{ ask('shop/standng', id='x') }}{{ submit() }}", "did you mean 'shop/standing'"),
        (
            "{{ text('form.snd') }}{{ submit() }}",
            "no text 'form.snd' in forms/translations/en.yml; did you mean 'form.send'",
        ),
        ("{{ text('payment.pay') }}{{ submit() }}", "the text 'payment.pay' needs amount="),
        ("{{ text('form.send', to='x') }}{{ submit() }}", "the text 'form.send' leaves no place for to="),
        ("{{ scripts(library='x') }}{{ submit() }}", "scripts needs script="),
        ("{{ done('x') }}{{ submit() }}", "only input, rest"),
        (
            "{{ seal('kind', result_url) }}{{ submit() }}",
            "nothing is shown after this form; write forms/shop/open.resu",
        ),
    ],
)
def test_a_mistake_in_a_form_file_is_found_at_start(tmp_path: Path, text: str, message: str) -> None:
    files = {
        "request_types/shop/open.yml": OPEN,
        "request_types/shop/standing.yml": STANDING,
        "forms/shop/open.html": text,
    }
    assert any(message in fault for fault in faults(tmp_path, files))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{{ submit() }}", "only done, refused"),
        ("{{ input('kind') }}", "only done, refused"),
        ("{{ values }}", "the name 'values' is not known here"),
        ("{{ response.anything }}{{ data.knd }}", "'knd' is not declared here; did you mean 'kind'?"),
    ],
)
def test_a_mistake_in_a_result_is_found_at_start(tmp_path: Path, text: str, message: str) -> None:
    found = faults(tmp_path, {"request_types/shop/open.yml": OPEN, "forms/shop/open.result.html": text})
    assert any(message in fault for fault in found)


def test_a_result_needs_its_request_type(tmp_path: Path) -> None:
    assert faults(tmp_path, {"forms/shop/opn.result.html": "x"}) == [
        "forms/shop/opn.result.html:1:1: there is no request type 'shop/opn' for this form; did you mean 'shop/open'?"
    ]


# What came of a form --------------------------------------------------------------------------------------------------

RESULT = """\
{% set now = ask("shop/standing", id=response.id) or response %}
{% if now.mood == "good" %}{{ done("All is well.") }}
{% elif now.mood == "bad" %}{{ refused("It came to nothing, " ~ data.person.name ~ ".") }}
{% else %}<h1>Wait, {{ data.person.name }}</h1>
{{ scripts(library="https://js.shop.test/", script="stripe-action.js") }}
{% endif %}
"""
SHAPED = "expect: {body: {type: object, required: [id]}}\n"
ASKED = '{{ input("person.name") }}{{ seal("back", result_url) }}{{ submit() }}'


class Site:
    """A site with one form, after which there is something to see."""

    def __init__(self, root: Path, *answers: Any, **config: Any) -> None:
        self.shop = with_form(root, ASKED, *answers, **{"forms/shop/open.result.html": RESULT})
        self.app, self.config = Flask("shop", root_path=str(root)), config
        Callsheet(self.app, engine=self.shop.engine, worker=False)
        self.app.add_url_rule("/", "page", self._page)
        self.app.add_url_rule("/thanks", "thanks", lambda: str(get_flashed_messages(with_categories=True)))
        self.client = self.app.test_client()

    def _page(self) -> str:
        flashes = str(get_flashed_messages(with_categories=True))
        return flashes + render_template_string('{{ request_form("shop/open", {}, **config) }}', config=self.config)

    def begun(self, name: str = "Ada") -> str:
        """Where the visitor is sent who posts the form."""
        form = Page(self.client.get("/").text)
        answer = self.client.post("/callsheet/forms", data={"callsheet_token": form.token, "person[name]": name})
        assert answer.status_code == 303, answer.text
        return answer.headers["Location"]


WAITING = ok({"id": "a1", "mood": "none yet"})


def test_what_came_of_a_form_is_asked_for_as_often_as_it_is_shown(tmp_path: Path) -> None:
    site = Site(tmp_path, ok({"id": "a1"}), WAITING, WAITING, ok({"id": "a1", "mood": "good"}), success_path="/thanks")
    address = site.begun()
    assert address.startswith("/callsheet/results/")
    for _ in range(2):
        shown = site.client.get(address)
        assert (shown.status_code, "Wait, Ada" in shown.text) == (200, True)
        assert Page(shown.text).all("script")[0]["src"] == "https://js.shop.test/"
        assert shown.headers["Cache-Control"] == "no-store, private"
    for _ in range(2):
        assert site.client.get(address).headers["Location"] == "/thanks"
        assert site.client.get("/thanks").text == "[('success', 'All is well.')]"
    assert len(sent(site.shop)) == 1


def test_the_gateway_is_told_where_that_is(tmp_path: Path) -> None:
    site = Site(tmp_path, ok({"id": "a1"}))
    assert sent(site.shop) == []
    address = site.begun()
    assert [data["back"] for data in sent(site.shop)] == [f"http://localhost{address}"]


def test_what_came_to_nothing_leads_back_to_the_page(tmp_path: Path) -> None:
    site = Site(tmp_path, ok({"id": "a1"}), ok({"mood": "bad"}))
    assert site.client.get(site.begun("<b>")).headers["Location"] == "/"
    assert "It came to nothing, &lt;b&gt;." not in site.client.get("/").text.partition("<form")[0]


def test_the_pages_own_words_and_paths_win(tmp_path: Path) -> None:
    config = {"error_path": "/thanks", "error_message": "No.", "success_message": "Yes.", "success_path": "/thanks"}
    site = Site(tmp_path, ok({"id": "a1"}), ok({"mood": "bad"}), ok({"mood": "good"}), **config)
    address = site.begun()
    said = []
    for _ in range(2):
        assert site.client.get(address).headers["Location"] == "/thanks"
        said.append(site.client.get("/thanks").text)
    assert said == ["[('error', 'No.')]", "[('success', 'Yes.')]"]


def test_a_gateway_that_does_not_answer_leaves_what_it_said_at_first(tmp_path: Path) -> None:
    site = Site(tmp_path, ok({"id": "a1", "mood": "good"}), failure("connect", sent=False))
    assert site.client.get(site.begun()).status_code == 303


def test_a_result_is_of_one_session_and_unchanged(tmp_path: Path) -> None:
    site = Site(tmp_path, ok({"id": "a1"}), WAITING)
    address = site.begun()
    stranger = site.app.test_client().get(address)
    assert (stranger.status_code, "in which it was begun" in stranger.text) == (400, True)
    for changed in (address[:-1], address + "x", "/callsheet/results/x"):
        assert site.client.get(changed).status_code == 400
    assert site.client.get("/").status_code == 200
    token = Page(site.client.get("/").text).token
    with pytest.raises(SignatureError):
        site.shop.engine.form_result(token, session=SESSION)


def test_a_result_of_another_version_is_refused(tmp_path: Path) -> None:
    """Its address was signed with our key, and does not say all that has to be known now."""
    site = Site(tmp_path, ok({"id": "a1"}), WAITING)
    told = Tokens([KEY], "result", lambda: 0).sign({"type": "shop/open"})
    assert site.client.get(f"/callsheet/results/{told}").status_code == 400


def test_a_result_of_what_was_not_begun_or_refused_says_so(tmp_path: Path) -> None:
    shop = with_form(tmp_path, ASKED, refusal("No room."), **{"forms/shop/open.result.html": RESULT})
    form = page(shop, origin="https://shop.test", at="/callsheet")
    address = shop.engine.form("shop/open", {}, session=SESSION, origin="https://shop.test")
    assert Page(address).token
    posted = shop.engine.submit(form.token, [("person[name]", "Ada")], session=SESSION)
    assert posted.state == "declined"
    token = str(sent(shop)[0]["back"]).rpartition("/")[2]
    shown = shop.engine.form_result(token, session=SESSION)
    assert (shown.state, shown.message, shown.redirect) == ("refused", "No room.", "/")
    shop.store._records["call"].clear()
    assert shop.engine.form_result(token, session=SESSION).message == "Nothing was done here yet."


@pytest.mark.parametrize(
    ("answer", "state", "message"),
    [
        (failure("connect", sent=False), "refused", "The service could not be reached. Nothing was done; please"),
        (failure("read_timeout"), "waiting", "We do not know yet whether this was done."),
        (ok({"strange": True}), "waiting", "We do not know yet whether this was done."),
    ],
)
def test_a_result_says_no_more_than_is_known(tmp_path: Path, answer: Any, state: str, message: str) -> None:
    expects = {"request_types/shop/open.yml": FILES["request_types/shop/open.yml"] + SHAPED}
    shop = with_form(tmp_path, ASKED, answer, **{"forms/shop/open.result.html": RESULT, **expects})
    form = page(shop, origin="https://shop.test")
    assert shop.engine.submit(form.token, [("person[name]", "Ada")], session=SESSION).state != "succeeded"
    shown = shop.engine.form_result(str(sent(shop)[0]["back"]).rpartition("/")[2], session=SESSION)
    assert (shown.state, shown.message[: len(message)]) == (state, message)


def test_a_result_whose_file_is_gone_is_gone(tmp_path: Path) -> None:
    site = Site(tmp_path, ok({"id": "a1"}))
    address = site.begun()
    (tmp_path / "forms/shop/open.result.html").unlink()
    write(tmp_path, {"forms/shop/open.html": PARTS})
    site.shop.engine._files._catalog = load([tmp_path])
    gone = site.client.get(address)
    assert (gone.status_code, "There is no such form any more." in gone.text) == (404, True)


def test_a_second_try_of_one_form_has_one_address(tmp_path: Path) -> None:
    """What was not done is sent again as it was, so what the gateway is told must not change with the time."""
    lost = failure("connect", sent=False)
    shop = with_form(tmp_path, ASKED, lost, lost, lost, ok({"id": "a1"}), **{"forms/shop/open.result.html": RESULT})
    form = page(shop, origin="https://shop.test")
    first = shop.engine.submit(form.token, [("person[name]", "Ada")], session=SESSION)
    assert first.state == "not_done"
    shop.hours.pass_by(100)
    again = Page(str(first.form))
    assert shop.engine.submit(again.token, [("person[name]", "Ada")], session=SESSION).state == "succeeded"
    assert len({data["back"] for data in sent(shop)}) == 1


def test_json_is_told_where_to_look(tmp_path: Path) -> None:
    site = Site(tmp_path, ok({"id": "a1"}), ok({"mood": "good"}))
    token = Page(site.client.get("/").text).token
    answer = site.client.post("/callsheet/forms", json={"token": token, "fields": {"person": {"name": "Ada"}}})
    said = answer.get_json()
    assert (answer.status_code, said["state"]) == (200, "succeeded")
    assert site.client.get(said["redirect"]).status_code == 303


# A sandbox stands in --------------------------------------------------------------------------------------------------

HERE = "http://127.0.0.1:12111"
STANDS_IN = {
    "STRIPE_SECRET_KEY": "sk_test_1",
    "STRIPE_PUBLISHABLE_KEY": "pk_test_1",
    "CALLSHEET_SECRET_KEY": KEY,
}


def stood_in(root: Path, sandbox: str = HERE) -> Engine:
    environment = {**STANDS_IN, "CALLSHEET_SANDBOX": sandbox}
    return Engine(root, store=MemoryStore(), environment=environment, dispatcher=Told())


def test_in_a_sandbox_a_card_is_one_of_its_tokens_and_no_script_is_loaded(tmp_path: Path) -> None:
    engine = stood_in(tmp_path)
    form = Page(engine.form("stripe/create_payment", {"amount": 500, "currency": "usd"}, session=SESSION))
    assert [one["src"] for one in form.all("script")] == [
        "/callsheet/static/stripe-stand-in.js",
        "/callsheet/static/stripe-card.js",
    ]
    card = next(one for one in form.all("div") if "data-callsheet-card" in one)
    assert card["data-test-cards"] == "/callsheet/sandbox/stripe"
    app = Flask("shop", root_path=str(tmp_path))
    Callsheet(app, engine=engine, worker=False)
    cards = app.test_client().get(card["data-test-cards"]).get_json()
    fit = {one["token"]: one["summary"] for one in cards if re.search(card["data-pattern"], one["token"])}
    assert {"tok_visa": "Visa", "tok_chargeDeclined": "Declined"}.items() <= fit.items()
    assert {token[:4] for token in fit} == {"tok_"}
    assert app.test_client().get("/callsheet/sandbox/other").status_code == 404


def test_the_payment_field_is_told_what_is_paid(tmp_path: Path) -> None:
    data = {"amount": 500, "currency": "usd", "capture_method": "manual", "account_id": "acct_1"}
    form = Page(stood_in(tmp_path).form("stripe/create_payment_intent", data, session=SESSION))
    card = next(one for one in form.all("div") if "data-callsheet-card" in one)
    elements = {"mode": "payment", "amount": 500, "currency": "usd", "captureMethod": "manual"}
    assert json.loads(card["data-told"]) == {"account": "acct_1", "elements": elements}


def test_elsewhere_there_are_no_test_cards(tmp_path: Path) -> None:
    engine = stood_in(tmp_path, sandbox="")
    form = Page(engine.form("stripe/create_payment", {"amount": 500, "currency": "usd"}, session=SESSION))
    assert form.all("script")[0]["src"] == "https://js.stripe.com/v3/"
    assert "data-test-cards" not in form.html
    app = Flask("shop", root_path=str(tmp_path))
    Callsheet(app, engine=engine, worker=False)
    assert app.test_client().get("/callsheet/sandbox/stripe").status_code == 404


def test_in_a_sandbox_a_page_allows_nothing_of_the_gateways(tmp_path: Path) -> None:
    app = Flask("shop", root_path=str(tmp_path))
    Callsheet(app, engine=stood_in(tmp_path), worker=False)
    policy = app.test_client().get("/callsheet/static/forms.css", buffered=True).headers["Content-Security-Policy"]
    assert "stripe" not in policy
    assert f"form-action 'self' {HERE};" in policy
