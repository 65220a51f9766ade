"""What a data schema marks writeOnly is sent as it is, and neither kept nor told in the clear."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from commands import Gateway, run
from hosts import SECRETS, Host, OnlyHere, failure, host, ok, refusal, write

from engine.calls import is_private
from engine.catalog import load
from engine.core import Engine
from engine.dispatcher import Answer, Failure
from engine.errors import (
    CallError,
    DataError,
    DefinitionError,
    MappingError,
    RejectedError,
    SettingError,
    SignatureError,
    UnknownOutcome,
)
from engine.schemas import Schema
from engine.seals import is_sealed, new_key
from engine.store.sql import SqlStore
from engine.write_only import marks, parts, replaced

NUMBER, LAST_FOUR = 'AX"19+7&%\\é', "0417"
PERSON: dict[str, Any] = {"name": "Ada", "number": NUMBER, "papers": [{"kind": "tax", "code": LAST_FOUR}]}
FILES = {
    "request_types/shop/add_person.yml": """\
summary: Add a person.
method: POST
url: /people
lookup: shop/find_person
body: {name: "{{ data.name }}", number: "{{ data.number }}", papers: "{{ data.papers }}", ref: "{{ call_id }}"}
expect: {body: {type: object, required: [id]}}
data:
  required: [name]
  properties:
    name: {type: string}
    number: {type: string, writeOnly: true, minLength: 4}
    papers:
      type: array
      items: {type: object, properties: {kind: {type: string}, code: {type: string, writeOnly: true}}}
    friends: {type: array, items: {type: object, properties: {number: {type: string, writeOnly: true}}}}
""",
    "request_types/shop/find_person.yml": """\
summary: Look for a person.
method: GET
url: /people
query: {ref: "{{ data.call_id }}", name: "{{ data.name }}", number: "{{ data.number }}"}
found: "{{ response[0] }}"
data: {properties: {call_id: {type: string}, name: {type: string}, number: {type: string}}}
""",
    "response_mappers/shop/add_person.json.j2": """\
{"upsert": "guest",
 "where": {"gateway_id": {{ response.id }}},
 "set": {"name": {{ data.name }}, "seen": {{ data.number }}, "size": {{ response.size }}}}
{% for friend in data.friends %}
{"send": "shop/add_person", "as": {{ "friend " ~ loop.index }},
 "data": {"name": "a friend", "number": {{ friend.number }}}}
{% endfor %}
""",
    "response_mappers/records/guest.yml": """\
summary: A person.
required: [gateway_id]
unique: [gateway_id]
properties: {gateway_id: {type: string}, name: {type: string}, seen: {type: string}, size: {type: integer}}
""",
}
FOUND = ok({"id": "x1", "amount": 5})


def people(tmp_path: Path, *answers: Answer | Failure, **more: Any) -> Host:
    """A host with people, whose gateway gives `answers`."""
    return host(tmp_path, *(answers or [FOUND]), files={**FILES, **more.pop("files", {})}, **more)


def written(text: str) -> bool:
    """Whether any of what is to be hidden can be read in `text`."""
    short = f'"{LAST_FOUR}"' in text or f" {LAST_FOUR}" in text
    return short or any(
        form in text for form in (NUMBER, json.dumps(NUMBER)[1:-1], json.dumps(json.dumps(NUMBER))[3:-3])
    )


def sent(shop: Host) -> list[Any]:
    return [json.loads(request.body) for request in shop.gateway.requests if request.body]


# Where a schema may mark a part ---------------------------------------------------------------------------------------

MARK: dict[str, Any] = {"writeOnly": True}
NUMBERED = {"properties": {"n": MARK}}


@pytest.mark.parametrize(
    ("schema", "value", "paths"),
    [
        (NUMBERED, {"n": 1, "m": 2}, [("n",)]),
        (NUMBERED, {"m": 2}, []),
        ({"properties": {"a": {"items": NUMBERED}}}, {"a": [{"m": 1}, {"n": 2}]}, [("a", 1, "n")]),
        ({"properties": {"a": {"prefixItems": [{}, MARK]}}}, {"a": [1, 2, 3]}, [("a", 1)]),
        ({"properties": {"a": {"contains": MARK}}}, {"a": [1]}, [("a", 0)]),
        ({"properties": {"a": {"allOf": [{}, NUMBERED]}}}, {"a": {"n": 1}}, [("a", "n")]),
        ({"properties": {"a": {"anyOf": [{"type": "string"}, NUMBERED]}}}, {"a": {"n": 1}}, [("a", "n")]),
        ({"properties": {"a": {"oneOf": [{"const": 1}, MARK]}}}, {"a": 1}, [("a",)]),
        ({"if": {"required": ["m"]}, "then": NUMBERED}, {"n": 1}, [("n",)]),
        ({"dependentSchemas": {"m": NUMBERED}}, {"n": 1}, [("n",)]),
        ({"patternProperties": {"_no$": MARK}}, {"tax_no": 1, "tax_nos": 2}, [("tax_no",)]),
        ({"properties": {"m": {}}, "additionalProperties": MARK}, {"m": 1, "o": 2}, [("o",)]),
        ({"properties": {"m": {}}, "additionalProperties": True, **MARK}, {"m": 1}, [()]),
        ({"$ref": "#/$defs/a", "$defs": {"a": NUMBERED}}, {"n": 1}, [("n",)]),
        ({"properties": {"a~/b": {"$ref": "#/$defs/0"}}, "$defs": [MARK]}, {"a~/b": 1}, [("a~/b",)]),
        ({"properties": {"a": {"$ref": "#"}, "n": MARK}}, {"a": {"a": {"n": 1}}}, [("a", "a", "n")]),
        ({"properties": {"a": {"$ref": "#lost"}, "n": MARK}}, {"a": 1}, [("a",)]),
        ({"properties": {"a": {"$ref": "#/$defs/none"}, "n": MARK}}, {"a": 1}, [("a",)]),
        ({"properties": {"writeOnly": {"type": "string"}}}, {"writeOnly": "x"}, []),
    ],
)
def test_a_part_is_found_wherever_it_is_marked(schema: Any, value: Any, paths: list[Any]) -> None:
    """Marks are found in every place of a schema; what cannot be followed is taken for marked."""
    assert [path for path, _ in parts(schema, value)] == paths
    assert marks(schema) is ("writeOnly" not in value)
    hidden = replaced(schema, value, lambda _: "***")
    assert json.dumps(hidden).count("***") == len(paths)
    assert value is hidden or paths


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "integer"},
        {"pattern": "^[0-9]{4}$"},
        {"enum": ["AX19", "BX20"]},
        {"const": "AX19"},
        {"minLength": 400},
        {"maxLength": 2},
        {"format": "email"},
        {"anyOf": [{"type": "integer"}, {"maxLength": 2}]},
        {"not": {"type": "string"}},
        {"type": "object", "properties": {"a": False}},
    ],
)
@pytest.mark.parametrize("around", [{}, {"maxProperties": 0}, {"anyOf": [{"maxProperties": 0}]}, {"not": {}}])
def test_no_problem_quotes_it(rule: dict[str, Any], around: dict[str, Any]) -> None:
    """Whatever is wrong with a value, or with what it stands in, is said without it."""
    secret = "AX19 0417 7" if rule.get("type") != "object" else {"a": "AX19 0417 7"}
    problems = Schema({"type": "object", "properties": {"n": {**rule, **MARK}}, **around}).problems({"n": secret})
    assert problems
    assert not any("AX19 0417" in str(problem) or "0417" in str(problem) for problem in problems)


# What is kept ---------------------------------------------------------------------------------------------------------

ENDS: dict[str, tuple[Answer | Failure, type[CallError] | None]] = {
    "carried out": (FOUND, None),
    "echoed": (ok({"id": "x1", "told": PERSON}, x_echo=f"{NUMBER.encode().hex()} {LAST_FOUR}"), None),
    "refused": (refusal(f"{NUMBER} and {LAST_FOUR} are no numbers"), RejectedError),
    "refused in another form": (refusal(json.dumps(f"{NUMBER} and {LAST_FOUR}")), RejectedError),
    "unreadable": (ok(json.dumps(PERSON).encode()[:-1]), UnknownOutcome),
    "of another shape": (ok({"told": PERSON}), UnknownOutcome),
    "out of order": (ok({"error": {"message": f"{NUMBER} is busy"}}, 409), UnknownOutcome),
    "cut off": (failure("read_timeout"), UnknownOutcome),
    "not mapped": (ok({"id": "x1", "size": f"{NUMBER} is no size"}), MappingError),
}


@pytest.mark.parametrize("end", ENDS)
def test_it_is_sent_and_never_kept_or_told(tmp_path: Path, end: str, caplog: pytest.LogCaptureFixture) -> None:
    """However a call ends, neither the store nor an error nor the log has it; told again, it is the same."""
    answer, raised = ENDS[end]
    shop = people(tmp_path, answer)
    said = []
    with caplog.at_level(logging.DEBUG):
        for _ in range(2):
            with nullcontext() if raised is None else pytest.raises(raised) as caught:
                shop.engine.send("shop/add_person", PERSON, operation="ada")
            said += [str(caught.value)] if caught else []
    assert {(one["number"], one["papers"][0]["code"]) for one in sent(shop)} == {(NUMBER, LAST_FOUR)}
    assert not written(shop.store.text())
    assert not written(caplog.text)
    assert not written(" ".join(said))
    assert len(set(said)) < 2


def test_parts_are_sealed_and_the_rest_can_be_read(tmp_path: Path) -> None:
    """Only marked parts of the data are sealed; the body is sealed whole, and so is the answer."""
    shop = people(tmp_path)
    call = shop.engine.send("shop/add_person", PERSON).call
    assert call is not None
    assert is_private(call)
    assert (call["data"]["name"], call["data"]["papers"][0]["kind"]) == ("Ada", "tax")
    assert is_sealed(call["data"]["number"])
    assert is_sealed(call["data"]["papers"][0]["code"])
    assert is_sealed(call["request"]["sealed_body"])
    assert is_sealed(call["answer"]["sealed_body"])
    assert call["request"]["url"] == "https://api.shop.test/v1/people"
    assert json.loads(shop.engine.sealer.open(call["request"]["sealed_body"]))["number"] == NUMBER


def test_a_call_without_it_is_kept_as_ever(tmp_path: Path) -> None:
    """Nothing is sealed where nothing is to be hidden, and no key is asked for, whatever the schema marks."""
    shop = people(tmp_path, CALLSHEET_ENCRYPTION_KEY="")
    for call in (
        shop.engine.send("shop/add_person", {"name": "Ada", "papers": [{"kind": "tax"}]}).call,
        shop.engine.send("shop/pay", {"amount": 5}).call,
    ):
        assert call is not None
        assert json.loads(call["answer"]["body"]) == {"id": "x1", "amount": 5}
        assert "body" in call["request"]
    assert "sealed" not in shop.store.text()


def test_a_record_gets_it_sealed_only(tmp_path: Path) -> None:
    """A mapper has sealed texts in reach, so it cannot write down what is to be hidden."""
    shop = people(tmp_path)
    (record,) = shop.engine.send("shop/add_person", PERSON).records
    assert is_sealed(record["seen"])
    assert shop.engine.sealer.open(record["seen"]) == NUMBER


def test_the_bytes_of_a_database_do_not_have_it(tmp_path: Path) -> None:
    """Looked for in the very file, with the journal that SQLite keeps beside it."""
    folder = people(tmp_path).engine.root
    store = SqlStore(tmp_path / "store.sqlite3")
    shop = people(tmp_path, ENDS["echoed"][0])
    engine = Engine(folder, store=store, environment=SECRETS, dispatcher=shop.gateway, files=OnlyHere(folder))
    engine.send("shop/add_person", PERSON)
    store.close()
    raw = b"".join(path.read_bytes() for path in tmp_path.glob("store.sqlite3*"))
    assert b"/v1/people" in raw
    assert not written(raw.decode("latin-1"))
    assert NUMBER.encode() not in raw


# Repeats --------------------------------------------------------------------------------------------------------------


def test_the_same_operation_may_be_repeated_and_another_number_is_refused(tmp_path: Path) -> None:
    """Told apart without a digest of the number, which could be guessed from it; nothing is sent again."""
    shop = people(tmp_path)
    first = shop.engine.send("shop/add_person", PERSON, operation="ada")
    again = shop.engine.send("shop/add_person", PERSON, operation="ada")
    assert first.call is not None
    assert again.call is not None
    assert again.call.id == first.call.id
    others: list[dict[str, Any]] = [
        {"number": "BX20"},
        {"papers": [{"kind": "tax", "code": "***"}]},
        {"papers": [{"kind": "tax", "code": "0418"}]},
        {"papers": []},
    ]
    for other in others:
        with pytest.raises(DataError, match="begun with other data") as caught:
            shop.engine.send("shop/add_person", {**PERSON, **other}, operation="ada")
        assert not written(str(caught.value))
    with pytest.raises(DataError, match="begun with other data"):
        shop.engine.send("shop/add_person", {"name": "Ada"}, operation="ada")
    assert len(shop.gateway.requests) == 1


def test_two_people_whose_numbers_differ_have_one_digest(tmp_path: Path) -> None:
    """Nobody who reads the store can try numbers out on it."""
    shop = people(tmp_path)
    for number in (NUMBER, "another one"):
        shop.engine.send("shop/add_person", {**PERSON, "number": number})
    assert len({call["digest"] for call in shop.calls()}) == 1


def test_what_is_sent_again_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    """After a crash, and after the key was replaced: the first key seals, the others still open."""
    shop = people(tmp_path, failure("read_timeout"))
    with pytest.raises(UnknownOutcome):
        shop.engine.send("shop/add_person", PERSON)
    keys = f"{new_key()},{SECRETS['CALLSHEET_ENCRYPTION_KEY']}"
    later = Engine(
        shop.engine.root,
        store=shop.store,
        environment={**SECRETS, "CALLSHEET_ENCRYPTION_KEY": keys},
        dispatcher=shop.gateway,
        clock=shop.hours.clock(),
        files=OnlyHere(shop.engine.root),
    )
    shop.gateway.answers = [FOUND]
    shop.hours.pass_by(10)
    later.run_due()
    assert len(set(shop.gateway.requests)) == 1
    (call,) = shop.calls()
    assert call["state"] == "succeeded"
    with pytest.raises(SignatureError):
        shop.engine.sealer.open(call["answer"]["sealed_body"])  # sealed with the new key
    assert later.outcome(call).response == {"id": "x1", "amount": 5}


def test_a_queued_call_waits_for_its_key(tmp_path: Path) -> None:
    """Nothing is sent by a process that cannot open what is to be sent, and nothing is lost by it."""
    shop = people(tmp_path)
    shop.engine.send_later("shop/add_person", PERSON)
    for keys in ("", new_key()):
        poor = Engine(
            shop.engine.root,
            store=shop.store,
            environment={**SECRETS, "CALLSHEET_ENCRYPTION_KEY": keys},
            dispatcher=shop.gateway,
            clock=shop.hours.clock(),
            files=OnlyHere(shop.engine.root),
        )
        assert poor.run_due() == 1
        assert shop.gateway.requests == []
        assert shop.calls()[0]["state"] == "prepared"
        shop.hours.pass_by(60)
    shop.engine.run_due()
    assert shop.calls()[0]["state"] == "succeeded"
    assert sent(shop)[0]["number"] == NUMBER


def test_an_open_call_waits_for_its_key(tmp_path: Path) -> None:
    """So does a call that may have been carried out: it stays unknown, is come back to, and says why."""
    shop = people(tmp_path, failure("read_timeout"))
    with pytest.raises(UnknownOutcome):
        shop.engine.send("shop/add_person", PERSON)
    poor = Engine(
        shop.engine.root,
        store=shop.store,
        environment={**SECRETS, "CALLSHEET_ENCRYPTION_KEY": new_key()},
        dispatcher=shop.gateway,
        clock=shop.hours.clock(),
        files=OnlyHere(shop.engine.root),
    )
    before = len(shop.gateway.requests)
    shop.hours.pass_by(10)
    poor.run_due()
    (call,) = shop.calls()
    assert (call["state"], call["message"]) == (
        "unknown",
        "the sealed value was changed, or its key is no longer known",
    )
    assert call["due"] is not None
    assert len(shop.gateway.requests) == before
    shop.gateway.answers = [FOUND]
    shop.hours.pass_by(60)
    shop.engine.run_due()
    assert shop.calls()[0]["state"] == "succeeded"


def test_without_a_key_nothing_is_sent(tmp_path: Path) -> None:
    """The same error as where an answer's parts are to be sealed, and before anything is kept."""
    shop = people(tmp_path, CALLSHEET_ENCRYPTION_KEY="")
    for send in (shop.engine.send, shop.engine.send_later):
        with pytest.raises(
            SettingError, match="CALLSHEET_ENCRYPTION_KEY: is not set, and there is a secret to be kept"
        ):
            send("shop/add_person", PERSON)
    assert shop.gateway.requests == []
    assert shop.calls() == []


def test_a_mended_mapper_maps_the_kept_answer(tmp_path: Path) -> None:
    """What was sealed of the answer can be mapped again; nothing is sent."""
    shop = people(tmp_path, ENDS["not mapped"][0])
    with pytest.raises(MappingError):
        shop.engine.send("shop/add_person", PERSON)
    mapper = FILES["response_mappers/shop/add_person.json.j2"].replace("response.size", "none")
    write(shop.engine.root, {"response_mappers/shop/add_person.json.j2": mapper})
    mended = Engine(
        shop.engine.root,
        store=shop.store,
        environment=SECRETS,
        dispatcher=shop.gateway,
        files=OnlyHere(shop.engine.root),
    )
    assert [record["name"] for record in mended.recovery.remap(shop.calls()[0]).records] == ["Ada"]
    assert len(shop.gateway.requests) == 1


def test_a_look_up_is_not_given_it(tmp_path: Path) -> None:
    """A look-up asks by a URL, which anybody on the way may log: by the name, and not by the number."""
    shop = people(tmp_path, failure("read_timeout"))
    with pytest.raises(UnknownOutcome):
        shop.engine.send("shop/add_person", PERSON)
    shop.gateway.answers = [ok([{"id": "x1"}])]
    shop.hours.pass_by(13 * 3600)
    shop.engine.run_due()
    assert shop.gateway.requests[-1].url == "https://api.shop.test/v1/people?ref=call-2&name=Ada"
    assert shop.calls()[0]["state"] == "succeeded"


# Follow-ups -----------------------------------------------------------------------------------------------------------


def test_a_follow_up_is_handed_it_sealed_and_sends_it(tmp_path: Path) -> None:
    """A mapper hands on what it cannot read."""
    shop = people(tmp_path)
    shop.engine.send("shop/add_person", {"name": "Ada", "friends": [{"number": NUMBER}, {"number": "\0 17"}]})
    assert [one.get("number") for one in sent(shop)] == [None, NUMBER, "\0 17"]
    assert [call["state"] for call in shop.calls()] == ["succeeded"] * 3
    assert not written(shop.store.text())


def test_a_follow_up_that_would_show_it_is_not_made(tmp_path: Path) -> None:
    """Handed on to where nothing is marked, the sealed text itself would be sent: the call is unmapped instead."""
    mapper = '{"send": "shop/pay", "data": {"amount": 5, "note": {{ data.number }}}}'
    shop = people(tmp_path, files={"response_mappers/shop/add_person.json.j2": mapper})
    with pytest.raises(MappingError, match="holds a sealed value where its schema marks nothing writeOnly"):
        shop.engine.send("shop/add_person", PERSON)
    assert [call["state"] for call in shop.calls()] == ["unmapped"]


def test_only_a_mapper_can_hand_on_what_is_sealed(tmp_path: Path) -> None:
    """A caller who gives a sealed text sends that text, and not what is in it."""
    shop = people(tmp_path)
    stolen = shop.engine.sealer.seal(NUMBER)
    shop.engine.send("shop/add_person", {"name": "Eve", "number": stolen})
    assert sent(shop)[0]["number"] == stolen


# Files ----------------------------------------------------------------------------------------------------------------

WRONG: Mapping[str, tuple[str, str]] = {
    "in the path": ("url: /people/{{ data.number }}", "'number' is writeOnly"),
    "in the query": ('url: /people\nquery: {n: "{{ data.number }}"}', "'number' is writeOnly"),
    "in a header": ('url: /people\nheaders: {X-N: "{{ data.number }}"}', "'number' is writeOnly"),
    "in the account": ('url: /people\naccount: "{{ data.number }}"', "'number' is writeOnly"),
    "inside of what is named": ('url: /people\nquery: {n: "{{ data.box }}"}', "'box' is writeOnly, or holds what is"),
    "deeper than what is marked": ('url: /people\nquery: {n: "{{ data.all.b }}"}', "'b' is writeOnly"),
    "by another name": ("url: /people\nquery: {n: \"{{ data['number'] }}\"}", "'number' is writeOnly"),
    "with everything": ('url: /people\nquery: {n: "{{ data | list }}"}', "'data' is writeOnly, or holds what is"),
    "in a condition": ("url: /people{% if data.number == '1' %}/1{% endif %}", "'number' is writeOnly"),
}
TYPE = """\
summary: Add a person.
method: POST
{}
data:
  properties:
    name: {{type: string}}
    number: {{type: string, writeOnly: true}}
    all: {{type: object, writeOnly: true}}
    box: {{type: object, properties: {{inner: {{writeOnly: true}}, name: {{}}}}}}
"""


@pytest.mark.parametrize("place", WRONG)
def test_a_file_that_would_show_it_does_not_load(tmp_path: Path, place: str) -> None:
    """URL, query, headers and account are kept, logged and listed: found at start, with line and column."""
    given, message = WRONG[place]
    folder = people(tmp_path).engine.root
    write(folder, {"request_types/shop/wrong.yml": TYPE.format(given)})
    with pytest.raises(DefinitionError) as caught:
        load([folder])
    (fault,) = caught.value.faults
    assert message in fault.message
    assert (fault.file, fault.line) == ("request_types/shop/wrong.yml", 3 + ("\n" in given))


def test_what_stands_beside_it_may_be_shown(tmp_path: Path) -> None:
    """Only marked values are kept out of the URL."""
    folder = people(tmp_path).engine.root
    write(folder, {"request_types/shop/right.yml": TYPE.format("url: /people/{{ data.name }}/{{ data.box.name }}")})
    assert load([folder]).request_types["shop/right"].summary


def test_a_get_has_nothing_to_hide_it_in(tmp_path: Path) -> None:
    """A GET has no body, and data as a whole is an object that the journal keeps."""
    folder = people(tmp_path).engine.root
    get = TYPE.format("url: /people").replace("method: POST", "method: GET")
    whole = TYPE.format("url: /people").replace("data:\n", "data:\n  writeOnly: true\n")
    for text, line, message in ((get, 4, "a GET has none"), (whole, 5, "mark properties writeOnly")):
        write(folder, {"request_types/shop/wrong.yml": text})
        with pytest.raises(DefinitionError) as caught:
            load([folder])
        assert [(fault.line, message in fault.message) for fault in caught.value.faults] == [(line, True)]


def test_a_template_that_cannot_take_it_does_not_quote_it(tmp_path: Path) -> None:
    """What a template raises may name the value; the error does not. What cannot be shown is not."""
    text = TYPE.format('url: /people\nbody: {n: "{{ data.number | epoch }}"}')
    shop = people(tmp_path, files={"request_types/shop/wrong.yml": text})
    with pytest.raises(DataError) as caught:
        shop.engine.send("shop/wrong", {"number": NUMBER})
    assert not written(str(caught.value))
    plan = shop.engine.plan("shop/wrong", {"number": "2026-01-01T00:00:00Z"})
    assert plan.request.body == b'{"n":1767225600}'
    assert plan.shown.body == b"***"
    assert "2026-01-01T00:00:00Z" not in repr(plan)


# Pages and terminals --------------------------------------------------------------------------------------------------


def test_a_form_asks_for_it_unseen_and_never_fills_it_in_again(tmp_path: Path) -> None:
    """What was typed is told to nobody, not even to who typed it."""
    shop = people(tmp_path, CALLSHEET_SECRET_KEY=new_key())
    form = shop.engine.form("shop/add_person", session="s1")
    assert '<input type="password" value="" id="' in form
    assert 'name="number" autocomplete="off" minlength="4"' in form
    again = shop.engine.submit(
        form.token, [("name", ""), ("number", "X~9"), ("papers", '[{"code": 17.25}]')], session="s1"
    )
    assert again.state == "invalid"
    assert again.form is not None
    assert {problem.pointer for problem in again.problems} == {"/name", "/number", "/papers/0/code"}
    told = f"{again.form} {again.problems} {again.message}"
    assert "X~9" not in told
    assert "17.25" not in told
    done = shop.engine.submit(again.form.token, [("name", "Ada"), ("number", NUMBER)], session="s1")
    assert done.state == "succeeded"
    assert sent(shop)[0]["number"] == NUMBER


def test_a_page_cannot_carry_it(tmp_path: Path) -> None:
    """A token is signed, not encrypted: whoever holds it can read it. Nor does an input show what a page fills in."""
    shop = people(tmp_path, CALLSHEET_SECRET_KEY=new_key())
    with pytest.raises(DataError, match="/number: is writeOnly: a form asks for it") as caught:
        shop.engine.form("shop/add_person", {"number": NUMBER}, session="s1")
    assert not written(str(caught.value))
    page = '{{ input("name") }}{{ input("number", value="' + "0417 0417" + '", pattern="^B") }}{{ submit() }}'
    write(shop.engine.root, {"forms/shop/add_person.html": page})
    keys = {**SECRETS, "CALLSHEET_SECRET_KEY": new_key()}
    own = Engine(shop.engine.root, store=shop.store, dispatcher=shop.gateway, environment=keys)
    form = own.form("shop/add_person", session="s1")
    assert "0417" not in form
    again = own.submit(form.token, [("name", "Ada"), ("number", NUMBER)], session="s1")
    assert [str(problem) for problem in again.problems] == [
        "/number: what is given does not fit the pattern ^B; give a value that does"
    ]


def test_a_terminal_never_shows_it(bare_shop: Path, gateway: Gateway) -> None:
    """Not what would be sent, not what was, not what a gateway repeats, not as JSON."""
    write(bare_shop, FILES)
    echo: dict[str, Any] = {
        "told": PERSON,
        f"about {NUMBER}": int(LAST_FOUR),
        "error": {"message": f"{NUMBER} is wrong"},
    }
    arguments = ["shop/add_person", "name=Ada", f"number={NUMBER}", f"papers[0][code]={LAST_FOUR}"]
    for number, ending in enumerate([(200, {"id": "x1", **echo, "error": None}), (402, echo), (302, echo)]):
        gateway.answer = lambda *_, ending=ending: ending
        for option in ([], ["--json"], ["--dry-run"], ["--dry-run", "--json"], ["--curl"], ["--later", "--json"]):
            shown = run(bare_shop, "send", *arguments, *option, f"--operation={number}{option}", gateway=gateway)
            assert shown.exit_code in {0, 1, 3}, shown.output
            assert not written(shown.output), option
            if "--dry-run" in option or "--curl" in option:
                assert "***" in shown.stdout
                assert "what the file marks writeOnly is shown as ***" in shown.stderr
    run(bare_shop, "worker", "--once", gateway=gateway)
    listed = json.loads(run(bare_shop, "calls", "--json").output)
    assert len(listed) == 9
    assert {one["data"]["number"] for one in listed} == {"(sealed)"}
    for call in listed:
        for option in ([], ["--json"]):
            told = run(bare_shop, "calls", call["id"], *option).output
            assert not written(told)
            assert "(sealed)" in told
    assert not written(run(bare_shop, "records", "guest", "--json").output)
    assert {json.loads(body)["number"] for method, _, body, _ in gateway.requests if method == "POST"} == {NUMBER}
    for wrong in ([f"number:{NUMBER}"], [f"number={NUMBER}", f"number={NUMBER}"], [f"papers={NUMBER}"], ["number=X~9"]):
        refused = run(bare_shop, "send", "shop/add_person", "name=Ada", *wrong, gateway=gateway)
        assert refused.exit_code == 2
        assert not written(refused.output)
        assert "X~9" not in refused.output
