"""Templates: every value keeps to the place it stands in, and every mistake is told with its place."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import pytest
from jinja2 import FunctionLoader, TemplateError
from store_contract import together

from engine.confined import PRIVATE_FILTERS, Environment, documents, structures
from engine.template_checks import Source
from engine.templates import RenderError, Templates
from engine.yaml_files import MAX_DEPTH, parse

FRAGMENTS = {"shop/_part.json.j2": '{"part": {{ thing.id }}}', "shop/_broken.json.j2": '{"a": {{ missing }}}'}


def templates(**files: str) -> Templates:
    """Templates whose documents are `files`, beside the FRAGMENTS."""
    sources = {name: Source(text, f"response_mappers/{name}") for name, text in FRAGMENTS.items()}
    texts = {**FRAGMENTS, **files}
    loader = FunctionLoader(lambda name: (texts[name], name, lambda: True))
    return Templates(structures(), documents(loader), sources.get)


def leaf(text: str, pointer: str = "/body", **names: Any) -> Any:
    """What the leaf `text` at `pointer` of a request renders to."""
    part = pointer.strip("/")
    file = parse(f"{part}: {json.dumps(text)}\n", "a.yml")
    return templates().structure(file.value, file.marks, "a.yml")(names).get(part, "(absent)")


def document(text: str, **names: Any) -> Any:
    """What the document `text` renders to, read as JSON."""
    return json.loads(templates(a=text).document("a", "a.json.j2")(names))


# Leaves: values keep their types --------------------------------------------------------------------------------------

DATA: dict[str, Any] = {
    "text": "0478",
    "number": 5,
    "part": 1.5,
    "no": False,
    "null": None,
    "list": [1, {"a": None}],
    "items": "an item called items",
    "empty": "",
    "deep": {"a": {"b": ["x", "y"]}},
}

LEAVES: dict[str, Any] = {
    "{{ data.text }}": "0478",
    "{{ data.number }}": 5,
    "{{ data.part }}": 1.5,
    "{{ data.no }}": False,
    "{{ data.null }}": None,
    "{{ data.list }}": [1, {"a": None}],
    "{{ data.items }}": "an item called items",
    "{{ data.empty }}": "",
    "{{ data.deep.a.b[1] }}": "y",
    "{{ data.deep.a.b[-1] }}": "y",
    "{{ data['text'] }}": "0478",
    "{{ data.text[1:3] }}": "47",
    "plain": "plain",
    "no: {{ data.no }}, {{ data.number }}": "no: false, 5",
    "{{ data.text }}{{ data.number }}": "04785",
    "{{ 'a' ~ data.number }}": "a5",
    "{{ data.number * 100 }}": 500,
    "{{ data.number % 3 }}": 2,
    "{{ 'x' if data.no else 'y' }}": "y",
    "{% if data.no %}a{% elif data.number == 5 %}b{{ data.text }}{% else %}c{% endif %}": "b0478",
    "{{ dict(data.deep, more=1) }}": {"a": {"b": ["x", "y"]}, "more": 1},
    "{{ data.deep.a.b | join('-') }}": "x-y",
    "{{ 'a, b,,c' | split }}": ["a", "b", "c"],
    "{{ [3, 1] | sort }}": [1, 3],
    "{{ data.list | map(attribute='a') | list | length }}": 2,
    "{{ data.missing | default('x') }}": "x",
    "{{ 0 | instant }}": "1970-01-01T00:00:00Z",
    "{{ '1970-01-01T00:00:01Z' | epoch }}": 1,
    "{{ data.null | instant }}": None,
    "{{ 1205 | major('eur') }}": "12.05",
    "{{ 5 | major('EUR') }} €": "0.05 €",
    "{{ -1205 | major('jpy') }}": "-1205",
    "{{ 1205 | major(3) }}": "1.205",
    "{{ '12.05' | minor('eur') }}": 1205,
    "{{ 12.05 | minor('eur') }}": 1205,
    "{{ 12 | minor('eur') }}": 1200,
    "{{ '-0.5' | minor(2) }}": -50,
    "{{ '12.000' | minor('jpy') }}": 12,
    "{{ data.null | minor('eur') }}": None,
    # Absent, at any depth:
    "{{ data.missing }}": "(absent)",
    "{{ data.missing.deeper[0].still }}": "(absent)",
    "{{ data.text.upper }}": "(absent)",
    "{{ data.list[9] }}": "(absent)",
    "{{ data.missing | instant }}": "(absent)",
    "{{ data.missing | major('eur') }}": "(absent)",
    "{{ 'a' ~ data.missing }}": "(absent)",
    "{{ 'x' if data.no }}": "(absent)",
    "{{ ('x' if data.no).deeper | instant }}": "(absent)",
    "Order {{ 'x' if data.no }}": "(absent)",
    "Order {{ data.missing }}": "(absent)",
    "Order {{ data.null }}": "(absent)",
    "{{ data.missing | join(',') }}": "(absent)",
    "{{ data.missing | map(attribute='a') | select | list }}": "(absent)",
    "{{ data.missing.list | first | upper }}": "(absent)",
    "{{ data.list | map(attribute='b') | map('upper') | list }}": "(absent)",
    "{{ data.missing | join(',') | default('none') }}": "none",
    "{{ data.missing | sort | length }}": 0,
    "{{ 'x' if data.missing | sort else 'y' }}": "y",
    "{{ data.missing | sort is defined }}": False,
    "{{ data.missing | upper == data.empty }}": False,
    "{{ [] | join(',') }}": "",
    "{{ [] | sum }}": 0,
    "{{ [data.missing] }}": "(absent)",
    "{{ {'a': data.missing} }}": "(absent)",
    "{{ {'a': data.missing, 'b': data.empty} }}": {"b": ""},
    "{{ {} }}": {},
    "{{ [] }}": [],
}


@pytest.mark.parametrize(("text", "value"), LEAVES.items())
def test_leaves(text: str, value: Any) -> None:
    """A leaf that is one expression keeps its type, text around it makes text, what is absent is left out."""
    found = leaf(text, data=DATA)
    assert (found, type(found)) == (value, type(value))


def test_a_member_of_an_enumeration_is_its_text() -> None:
    """A caller's code may well keep its currencies so."""
    currency = StrEnum("currency", ["USD"])
    assert leaf("{{ data.currency }}", data={"currency": currency["USD"]}) == "usd"


@pytest.mark.parametrize(
    "text",
    [
        "{{ '12.055' | minor('eur') }}",
        "{{ '12,05' | minor('eur') }}",
        "{{ '1e3' | minor('eur') }}",
        "{{ data.no | minor('eur') }}",
        "{{ '1' | minor(data.missing) }}",
        "{{ 12.5 | major('eur') }}",
        "{{ '12' | major('eur') }}",
        "{{ 12 | major(data.null) }}",
        "{{ 12 | major('euro') }}",
        "{{ 12 | major(-1) }}",
    ],
)
def test_an_amount_is_never_rounded_or_guessed(text: str) -> None:
    """What is no amount of such a unit is refused where it stands, before it is sent or kept."""
    with pytest.raises(RenderError):
        leaf(text, data=DATA)


def test_an_absent_part_leaves_no_shell() -> None:
    """A mapping or list of which nothing is left is left out itself; one that was written empty stays."""
    file = parse('body: {a: {b: ["{{ data.x }}"]}, c: {}, d: []}\n', "a.yml")
    assert templates().structure(file.value, file.marks, "a.yml")({"data": {}}) == {"body": {"c": {}, "d": []}}


FILTERS_OF_ABSENT: dict[str, Any] = {
    **dict.fromkeys("first last list join lower upper trim sort unique sum min max dictsort items split".split()),
    **dict.fromkeys(["instant", "epoch", "major(2)", "minor('eur')", "replace('a', 'b')", "sum(start=1)"]),
    **dict.fromkeys(["map('upper')", "map(attribute='a')", "select", "reject('odd')"]),
    **dict.fromkeys(["selectattr('a')", "rejectattr('a', 'in', [1])"]),
    "default('x')": "x",
    "length": 0,
}
"""Every filter that is offered, with what it makes of something absent; None where that is absent, too."""


@pytest.mark.parametrize(("applied", "made"), FILTERS_OF_ABSENT.items())
def test_what_a_filter_makes_of_something_absent_is_absent(applied: str, made: Any) -> None:
    """In a leaf it is left out, in a document it is null, and a loop over it is empty; only two filters are for it."""
    assert leaf(f"{{{{ data.missing | {applied} }}}}", data=DATA) == ("(absent)" if made is None else made)
    assert document(f"{{{{ data.missing.part | {applied} }}}}", data=DATA) == made
    if made is None:
        loop = f"[{{% for one in data.missing | {applied} %}}{{{{ one }}}}{{% else %}}7{{% endfor %}}]"
        assert document(loop, data=DATA) == [7]


FILTERS_OF_NULL = ["lower", "upper", "trim", "replace('a', 'b')", "instant", "epoch", "major(2)", "minor('eur')"]


@pytest.mark.parametrize("applied", FILTERS_OF_NULL)
def test_no_filter_makes_a_word_of_null(applied: str) -> None:
    """`{{ response.currency | upper }}` of a currency that is null must not be kept as NONE."""
    assert leaf(f"{{{{ data.null | {applied} }}}}", data=DATA) is None
    assert document(f"{{{{ data.null | {applied} }}}}", data=DATA) is None


CHOSEN: dict[str, Any] = {
    "{{ 'some' if data.list | select('string') else 'none' }}": "none",
    "{{ 'some' if data.rows | selectattr('id', 'equalto', 'x') else 'none' }}": "none",
    "{{ data.rows | rejectattr('id', 'equalto', 'x') | length }}": 3,
    "{{ data.rows | map(attribute='id') == ['cus_A', 'cus_a', 'cus_A'] }}": True,
    "{{ data.rows | map(attribute='id') | unique }}": ["cus_A", "cus_a"],
    "{{ data.rows | map(attribute='id') | unique(false) }}": ["cus_A"],
    "{{ data.rows | join(' ', attribute='id') | replace('A', 1, 1) }}": "cus_1 cus_a cus_A",
    "{{ ['a', true, 1.5] | join('-') }}": "a-true-1.5",
    "{{ '--a-' | trim('-') | upper }}": "A",
    "{{ data.deep | items | length }}": 1,
}


@pytest.mark.parametrize(("text", "value"), CHOSEN.items())
def test_what_is_chosen_of_a_list_is_a_list(text: str, value: Any) -> None:
    """It is false where nothing is in it, it has a length, and of two ids none is lost for a capital letter."""
    rows = [{"id": "cus_A"}, {"id": "cus_a"}, {"id": "cus_A"}]
    assert leaf(text, data={**DATA, "rows": rows}) == value


def test_no_filter_is_forgotten_above() -> None:
    names = {re.split(r"\W", applied)[0] for applied in FILTERS_OF_ABSENT}
    assert names == set(structures().filters) - PRIVATE_FILTERS


RECKONED: dict[str, str] = {
    "{{ data.n + 1 }}": "data.n",
    "{{ 1 - data.n }}": "data.n",
    "{{ data.n * 2 }}": "data.n",
    "{{ 100 // data.n }}": "data.n",
    "{{ -data.deep.a['n'] }}": "data.deep.a['n']",
    "{{ data.number + data.list[9].n }}": "data.list[9].n",
    "{{ (data.n | epoch) - 3600 }}": "data.n | epoch",
    "{{ (data.n | first).amount - 1 }}": "(data.n | first).amount",
    "{{ data.n > 1 }}": "data.n",
    "{{ 1 <= data.n < 5 }}": "data.n",
    "{{ 1 < data.number >= data.n }}": "data.n",
    "{% if data.number > 9 or data.n > 9 %}x{% endif %}": "data.n",
}
UNNAMED = [
    "{{ (data.n or data.m) + 1 }}",
    "{{ (data.n or data.m) * 2 }}",
    "{{ data.list | sum(attribute='b') }}",
    "{{ [data.n, 1] | sort }}",
    "{{ data.n is odd }}",
]


@pytest.mark.parametrize(("text", "name"), [*RECKONED.items(), *((text, "a value") for text in UNNAMED)])
def test_what_is_reckoned_with_must_be_there(text: str, name: str) -> None:
    """Else it is said where, and what is absent as far as that can be told."""
    example = "data.n" if name == "a value" else name
    said = f": {name} is absent here; give it a default, as in {{{{ {example} | default(0) }}}}"
    with pytest.raises(RenderError) as raised:
        leaf(text, data=DATA)
    assert str(raised.value) == f"a.yml:1{said}"
    for render in (templates(a=f"\n{text}").document("a", "a"), templates(a=f"\n{text}").values("a", "a")):
        with pytest.raises(RenderError) as raised:
            render({"data": DATA})
        assert str(raised.value) == f"a:2{said}"


@pytest.mark.parametrize(
    "text", ["{{ data.n == 1 }}", "{{ 1 in data.n }}", "{{ data.n in [1] }}", "{{ data.n > 1 if data.n }}"]
)
def test_what_is_only_asked_for_need_not_be_there(text: str) -> None:
    assert leaf(text, data=DATA) in (False, "(absent)")


def test_nothing_is_guessed_from_text() -> None:
    """What a template yields is never read as anything else, and data is never rendered."""
    for text in ("478", "None", "[1]", "true", "{{ 7 * 7 }}", "{% raw %}", "{# x #}"):
        assert leaf("{{ data.x }}", data={"x": text}) == text
        assert leaf("x{{ data.x }}", data={"x": text}) == f"x{text}"
        assert document('{"x": {{ data.x }}}', data={"x": text}) == {"x": text}


def test_an_instant_is_the_same_on_every_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that names no zone is in UTC, whatever the machine's own is."""
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    try:
        assert leaf("{{ '2026-01-01T00:00:00' | epoch }}") == leaf("{{ '2026-01-01' | epoch }}") == 1767225600
    finally:
        monkeypatch.undo()
        time.tzset()


WRONG_JOINS: list[tuple[str, str]] = [
    ("{{ 'a' ~ data.list }}", "text cannot be made of a list"),
    ("{{ data.list | upper }}", "text cannot be made of a list"),
    ("{{ ['a', data.null] | join('-') }}", "text cannot be made of null"),
    ("{{ data.text | replace('0', data.null) }}", "text cannot be made of null"),
    ("Order {{ data.deep }}", "text cannot be made of an object"),
    ("{{ data.text * 3 }}", r"\* is for numbers only"),
    ("{{ data.number ** 9 }}", "powers are not offered"),
    ("{{ '%9d' % data.number }}", "% is for numbers only"),
]


@pytest.mark.parametrize(("text", "message"), WRONG_JOINS)
def test_what_text_is_not_made_of(text: str, message: str) -> None:
    """A list or an object never becomes text by accident; memory cannot be filled by multiplying or formatting."""
    with pytest.raises(RenderError, match=message):
        leaf(text, data=DATA)


# Places ---------------------------------------------------------------------------------------------------------------

SEGMENTS: list[tuple[Any, str]] = [
    ("ch_1", "/x/ch_1/y"),
    (17, "/x/17/y"),
    ("a b", "/x/a%20b/y"),
    ("a?b#c", "/x/a%3Fb%23c/y"),
    ("a%2Fb", "/x/a%252Fb/y"),
    ("@evil.test", "/x/%40evil.test/y"),
    ("é", "/x/%C3%A9/y"),
    ("a&b=c;d", "/x/a%26b%3Dc%3Bd/y"),
    ("...", "/x/.../y"),
]


@pytest.mark.parametrize(("value", "url"), SEGMENTS)
def test_a_value_in_a_url_is_one_segment(value: Any, url: str) -> None:
    """Whatever stands in a URL is percent-encoded as one path segment."""
    assert leaf("/x/{{ data.id }}/y", "/url", data={"id": value}) == url


BAD_SEGMENTS: list[tuple[Any, str]] = [
    ("", "data.id is '', which cannot be one part of a URL's path"),
    (".", "which cannot be one part"),
    ("..", "which cannot be one part"),
    ("a/b", "which cannot be one part"),
    ("../refunds?amount=1", "which cannot be one part"),
    ("a\\b", "which cannot be one part"),
    ("a\r\nb", "which cannot be one part"),
    ("a\x00", "which cannot be one part"),
    ("a\u202eb", "which cannot be one part"),
    (None, "data.id is absent, and the URL needs it"),
    (True, "data.id must be text to stand in a URL, not a boolean"),
    (1.5, "data.id must be text to stand in a URL, not a number"),
    (["a"], "data.id must be text to stand in a URL, not a list"),
    ({"a": 1}, "data.id must be text to stand in a URL, not an object"),
]


@pytest.mark.parametrize(("value", "message"), BAD_SEGMENTS)
def test_a_value_that_is_no_segment_is_refused(value: Any, message: str) -> None:
    """What could move a URL is refused, and so is what would leave a hole in it."""
    with pytest.raises(RenderError) as raised:
        leaf("/x/{{ data.id }}/y", "/url", data={"id": value})
    assert message in str(raised.value)


def test_an_absent_value_in_a_url() -> None:
    """A URL without its id is refused, unless a condition says what it is then."""
    with pytest.raises(RenderError, match=r"data\.id is absent, and the URL needs it"):
        leaf("/x/{{ data.id }}", "/url", data={})
    for applied in ("join(',')", "upper", "list | sort | first", "sum", "split | last"):
        with pytest.raises(RenderError, match=r"is absent, and the URL needs it"):
            leaf(f"/x/{{{{ data.id | {applied} }}}}/y", "/url", data={})
    text = "/x{% if data.id %}/{{ data.id }}{% endif %}"
    assert [leaf(text, "/url", data=data) for data in ({}, {"id": "a b"})] == ["/x", "/x/a%20b"]


HEADERS: list[tuple[Any, Any]] = [
    ("acct_1", "acct_1"),
    ("a b", "a b"),
    (17, "17"),
    (False, "false"),
    (None, "(absent)"),
    ("", RenderError),
    (" a", RenderError),
    ("a ", RenderError),
    ("a\r\nX: y", RenderError),
    ("a\tb", RenderError),
    ("a\x7f", RenderError),
    ("é", RenderError),
    (["a"], RenderError),
]


@pytest.mark.parametrize(("value", "sent"), HEADERS)
def test_a_value_in_a_header_is_one_line(value: Any, sent: Any) -> None:
    """A header holds printable ASCII without blanks at its ends; anything else is refused."""
    if sent is RenderError:
        with pytest.raises(RenderError):
            leaf("{{ data.x }}", "/headers", data={"x": value})
    else:
        assert leaf("{{ data.x }}", "/headers", data={"x": value}) == sent


def test_a_header_of_several_parts_is_checked_whole() -> None:
    """Text around a value does not smuggle anything in."""
    assert leaf("Bearer {{ data.x }}!", "/headers", data={"x": "a"}) == "Bearer a!"
    with pytest.raises(RenderError):
        leaf("Bearer {{ data.x }}", "/headers", data={"x": "a\nb"})


HOSTILE = ['"', "\\", "\n", '","state":"paid', "\u2028", "</script>", "\x00", "\ud800", "{{ 1 }}", "}}", "'"]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_value_in_a_document_is_one_json_value(value: str) -> None:
    """Every expression of a document is a whole JSON value, whatever it holds."""
    text = '{"a": {{ data.x }}, "b": {{ [data.x] }}, "c": {{ {"d": data.x} }}, "e": {{ "Of " ~ data.x }}}'
    wanted = {"a": value, "b": [value], "c": {"d": value}, "e": f"Of {value}"}
    assert document(text, data={"x": value}) == wanted


def test_what_is_absent_is_null_in_a_document() -> None:
    """A missing field at any depth is null, in lists and objects too."""
    text = '{"a": {{ data.x.y[0] }}, "b": {{ [data.x] }}, "c": {{ {"d": data.x} }}, "e": {{ "Of " ~ data.x }},'
    text += ' "f": {{ 1 if data.x }}}'
    assert document(text, data={}) == {"a": None, "b": [None], "c": {"d": None}, "e": None, "f": None}


def test_numbers_that_are_not_json_are_refused() -> None:
    """Infinity and NaN never enter a document."""
    for value in (float("inf"), float("nan")):
        with pytest.raises(RenderError):
            document('{"a": {{ data.x }}}', data={"x": value})


def test_loops_and_fragments() -> None:
    """A fragment sees the names of the document that includes it, those set there included."""
    text = (
        '[{% for one in data.l %}{% set thing = one %}{% include "shop/_part.json.j2" %}{{ "," if false }}{% endfor %}]'
    )
    made = templates(a=text.replace('{{ "," if false }}', "{% if not loop.last %},{% endif %}"))
    found = json.loads(made.document("a", "a")({"data": {"l": [{"id": "x"}, {"id": 'y"'}]}}))
    assert found == [{"part": "x"}, {"part": 'y"'}]


# The sandbox ----------------------------------------------------------------------------------------------------------


class Host:
    """What must never get in; if it does, nothing of it may be reached."""

    secret = "sk_test_canary"

    def run(self) -> str:
        """Reached."""
        return self.secret


ESCAPES = [
    "{{ data.__class__.__mro__ }}",
    "{{ data['__class__'] }}",
    "{{ ''.__class__.__base__.__subclasses__() }}",
    "{{ data.x.__init__.__globals__ }}",
    "{{ data.get('x') }}",
    "{{ data.update({'amount': 1}) }}",
    "{{ data.x.format('{0.__class__}') }}",
    "{{ ('{0.secret}').format(data.host) }}",
    "{{ data.x | attr('__class__') }}",
    "{{ data.x | format(1) }}",
    "{{ data.x.format_map({}) }}",
    "{{ data.host.secret }}",
    "{{ data.host.run() }}",
    "{{ data.f() }}",
    "{{ self }}",
    "{{ self._TemplateReference__context }}",
    "{{ config }}",
    "{{ namespace(a=1) }}",
    "{{ cycler.__init__.__globals__ }}",
    "{{ lipsum.__globals__ }}",
    "{{ range(10) }}",
    "{{ joiner() }}",
    "{{ data.x | safe }}",
    "{{ data.x | escape }}",
    "{{ data.x | int }}",
    "{{ data.x | urlencode }}",
    "{{ data.x | tojson }}",
    "{{ data.x | pprint }}",
    "{{ data.x | center(1000000000) }}",
    "{{ data.x is callable }}",
    "{{ loop.__class__ }}",
    "{{ dict.__class__ }}",
    "{{ dict.fromkeys([1]) }}",
    "{{ data.x.zfill(9) }}",
]


@pytest.mark.parametrize("text", ESCAPES)
def test_escapes_are_harmless(text: str) -> None:
    """No attribute, method, global or object can be reached, even by a template that nobody checked."""
    data = {"x": "x", "host": Host(), "f": Host().run, "amount": 5}
    try:
        found = leaf(text, data=data)
    except (RenderError, TemplateError):
        return
    assert found == "(absent)"
    assert data["amount"] == 5


CALLS = [text for text in ESCAPES if "(" in text or "|" in text or " is " in text]


@pytest.mark.parametrize("text", CALLS)
def test_calls_and_filters_are_refused_at_start(text: str) -> None:
    """Whoever writes a call, a filter or a test that is not offered learns so at start."""
    assert templates().check_leaf(Source(text, "a.yml"), {"data": None})
    assert templates().check_document(Source(text, "a.json.j2"), {"data": None})


def test_what_encodes_is_not_offered() -> None:
    """The filters that encode for a place cannot be named, so nothing is encoded twice."""
    for name in PRIVATE_FILTERS:
        assert templates().check_leaf(Source(f"{{{{ data.x | {name}('x') }}}}", "a.yml"), {"data": None})


STATEMENTS = [
    "{% macro f() %}{% endmacro %}{{ 1 }}",
    "{% call data() %}{% endcall %}",
    "{% filter upper %}{% endfilter %}",
    "{% set a %}x{% endset %}{{ a }}",
    '{% extends "x" %}',
    "{% block a %}{% endblock %}",
    '{% import "x" as y %}',
    '{% from "x" import y %}',
    "{% with a = 1 %}{% endwith %}",
    "{% autoescape true %}{% endautoescape %}",
    "{% include data.x %}",
    '{% include ["a", "b"] %}',
    '{% include "shop/none.json.j2" %}',
    '{% include "/etc/passwd" %}',
    '{% include "shop/_broken.json.j2" %}',
    "{% do data.append(1) %}",
    "{% raw %}{{ 1 }}",
]


@pytest.mark.parametrize("text", STATEMENTS)
def test_statements_that_are_not_offered(text: str) -> None:
    """A document has if, for, set and include of a constant fragment, and nothing more."""
    assert templates().check_document(Source(text, "a.json.j2"), {"data": None})


def test_an_object_is_made_anywhere() -> None:
    """Inside a loop, too, where Jinja hands more to a call than the template does."""
    text = "{% for one in data.l %}{{ dict(one, b=loop.index) }}{% endfor %}"
    assert document(text, data={"l": [{"a": 1}]}) == {"a": 1, "b": 1}


def test_a_template_cannot_change_what_it_is_given() -> None:
    """Rendering leaves the data as it was."""
    data: dict[str, Any] = {"a": {"b": 1}, "l": [2, 1]}
    document('{"x": {{ dict(data.a, b=2) }}, "y": {{ data.l | sort }}}', data=data)
    assert data == {"a": {"b": 1}, "l": [2, 1]}


def test_filters_that_are_offered() -> None:
    """Every filter and test of the closed set is known, and only those that a place needs are private."""
    checks = templates()
    wanted = (
        "default first last length list map select reject selectattr rejectattr join lower upper trim replace split"
    )
    for name in f"{wanted} sort unique sum min max dictsort items instant epoch".split():
        applied = "map('upper')" if name == "map" else name
        assert checks.check_leaf(Source(f"{{{{ data | {applied} }}}}", "a"), {"data": None}) == [], name
    for name in "defined none string number integer boolean mapping sequence in equalto true false".split():
        text = f"{{{{ data is {name}{'(data)' if name in {'in', 'equalto'} else ''} }}}}"
        assert checks.check_leaf(Source(text, "a"), {"data": None}) == [], name


# Faults of leaves and documents ---------------------------------------------------------------------------------------

SCHEMA: Mapping[str, Any] = {
    "properties": {
        "amount": {"type": "integer"},
        "address": {"type": "object", "properties": {"city": {}}},
        "metadata": {"type": "object"},
    }
}

LEAF_FAULTS: dict[str, str] = {
    "{{ dta.amount }}": "a.yml:7:4: the name 'dta' is not known here; did you mean 'data'?",
    "{{ data.amuont }}": "a.yml:7:9: 'amuont' is not declared here; did you mean 'amount'?",
    "{{ data['amuont'] }}": "a.yml:7:10: 'amuont' is not declared here; did you mean 'amount'?",
    "{{ data.address.cty }}": "a.yml:7:17: 'cty' is not declared here; did you mean 'city'?",
    "{{ data.amount | defalt(1) }}": "a.yml:7:18: there is no filter 'defalt'; did you mean 'default'?",
    "{{ data.amount is strng }}": "a.yml:7:19: there is no test 'strng'; did you mean 'string'?",
    "{{ now | map('href') }}": "a.yml:7:15: there is no filter 'href'; an attribute is map(attribute='href')",
    "{{ now | map('uper') }}": "a.yml:7:15: there is no filter 'uper'; did you mean 'upper'?",
    "{{ now | map }}": "a.yml:7:10: map applies a filter to every item; write its name in quotes",
    "{{ now | map(now) }}": "a.yml:7:10: map applies a filter to every item; write its name in quotes",
    "{{ now | map(*now) }}": "a.yml:7:10: map applies a filter to every item; write its name in quotes",
    "{{ now | select('evn') }}": "a.yml:7:18: there is no test 'evn'; did you mean 'even'?",
    "{{ now | selectattr('rel', 'is', 'self') }}": "a.yml:7:29: there is no test 'is'",
    "{{ now | reject(now) }}": "a.yml:7:10: reject applies a test to every item; write its name in quotes",
    "{{ now | rejectattr('a', now) }}": "a.yml:7:10: rejectattr applies a test to every item; write its name in quotes",
    "{{ data.amount.real() }}": "a.yml:7:1: only dict(...) can be called in a template",
    "{% for a in data.metadata %}{{ a }}{% endfor %}": ("a.yml:7:4: for cannot stand in a leaf; only {{ }} and if can"),
    "a\n{{ data.amuont }}": "a.yml:8:9: 'amuont' is not declared here; did you mean 'amount'?",
    "{{ data.amount": "a.yml:7:1: unexpected end of template, expected 'end of print statement'; mend the template",
    "{{ data.amount }": "a.yml:7:1: unexpected '}'; mend the template",
}


@pytest.mark.parametrize(("text", "said"), LEAF_FAULTS.items())
def test_faults_of_leaves(text: str, said: str) -> None:
    """A mistake in a leaf is told with file, line and column, and the nearest right name."""
    names = {"data": SCHEMA, "now": None}
    assert [str(fault) for fault in templates().check_leaf(Source(text, "a.yml", 7), names)] == [said]


@pytest.mark.parametrize(
    "text",
    ["map('upper')", "map(attribute='a')", "select", "select('even')", "selectattr('a')", "rejectattr('a', 'in', now)"],
)
def test_what_is_applied_to_every_item(text: str) -> None:
    """Filters and tests that are offered, named in quotes."""
    assert templates().check_leaf(Source(f"{{{{ now | {text} | list }}}}", "a.yml"), {"now": None}) == []


@pytest.mark.parametrize(
    "deep", ["data" + ".a" * 90, "data" + " or data" * 180, "not " * 180 + "data", "(" * 1000 + "data" + ")" * 1000]
)
def test_what_is_nested_too_deep_to_be_compiled(deep: str) -> None:
    """It is told at start, too: in a leaf, in one of paths only, and in a document."""
    said = "a.yml:7:1: an expression is nested too deep; take it apart"
    for text in (f"{{{{ {deep} }}}}", f"{{{{ {deep} }}}}{{{{ data | list }}}}"):
        assert [str(one) for one in templates().check_leaf(Source(text, "a.yml", 7), {"data": None})] == [said]
    faults = templates().check_document(Source(f'{{"a": {{{{ {deep} }}}}}}', "a.yml", 7), {"data": None})
    assert [str(one) for one in faults] == [said]


@pytest.mark.parametrize(
    "deep",
    [
        "data" + ".a" * 80,
        "data and 1 + data" + ".a" * 80,
        "data" + " or data" * 165,
        "not " * 166 + "data",
    ],
)
def test_what_is_nested_less_is_rendered(deep: str) -> None:
    """As deep in a file as it can stand."""
    whole: Any = f"{{{{ {deep} }}}}"
    for _ in range(MAX_DEPTH - 1):
        whole = [whole]
    text = json.dumps({"body": whole})
    assert templates().check_leaf(Source(f"{{{{ {deep} }}}}", "a.yml"), {"data": None}) == []
    file = parse(text, "a.yml")
    assert isinstance(templates().structure(file.value, file.marks, "a.yml")({"data": {}}), dict)
    assert isinstance(templates(a=f'{{"a": {{{{ {deep} }}}}}}').values("a", "a.json.j2")({"data": {}}), list)


def test_names_inside_free_objects_are_free() -> None:
    """Where a schema does not say what an object holds, anything may be read."""
    text = "{{ data.metadata.whatever }} {{ data.address['city'] }}"
    assert templates().check_leaf(Source(text, "a.yml"), {"data": SCHEMA}) == []


DOCUMENT_FAULTS: dict[str, str] = {
    '{"a": "x {{ data.amount }}"}': '1:10: an expression cannot stand inside a JSON string; write {{ "text " ~',
    '{"a": "{% if data.amount %}x{% endif %}"}': "a block cannot stand inside a JSON string",
    '{"a": "\\"{{ data.amount }}"}': "an expression cannot stand inside a JSON string",
    '{"a": {{ data.amount }}{{ data.amount }}}': "it cannot be glued to another",
    '{"a": 1{{ data.amount }}}': "it cannot be glued to another",
    '{"a": {{ data.amount }}0}': "an expression is a whole JSON value; '0' cannot follow it",
    '{"a": {{ data.amount }}"b"}': "cannot follow it",
    '{"a": "open}\n': "2:1: a JSON string is not closed",
    '\n\n{"a": {{ data.amuont }}}': "3:15: 'amuont' is not declared here; did you mean 'amount'?",
    "{% set x = data.amount %}{{ y }}": "the name 'y' is not known here",
    '{% include "shop/_prt.json.j2" %}': "1:4: there is no fragment 'shop/_prt.json.j2' in response_mappers",
    '{% include "shop/_part.json.j2" %}': "shop/_part.json.j2:1:13: the name 'thing' is not known here",
}


@pytest.mark.parametrize(("text", "said"), DOCUMENT_FAULTS.items())
def test_faults_of_documents(text: str, said: str) -> None:
    """A mistake in a document is told with its place; no expression can stand inside a string or beside a token."""
    faults = templates().check_document(Source(text, "a.json.j2"), {"data": SCHEMA})
    assert any(said in str(fault) for fault in faults), list(map(str, faults))


def test_a_document_without_faults() -> None:
    """Strings with quotes, escapes and braces around expressions are fine."""
    text = (
        '{% set thing = data %}{"a\\"{": "}}", "b": {{ data.amount }}, "c": "\\\\"}{% include "shop/_part.json.j2" %}'
    )
    assert templates().check_document(Source(text, "a"), {"data": None}) == []


def test_the_skeleton_keeps_every_place() -> None:
    """The skeleton has null for expressions and blanks for blocks, and every line as long as it was."""
    text = '{% if a %}\n{"a": {{ data.x }},\n "b": 1}\n{% endif %}'
    skeleton = templates().skeleton(Source(text, "a"))
    assert [len(line) for line in skeleton.split("\n")] == [len(line) for line in text.split("\n")]
    assert json.loads(skeleton) == {"a": None, "b": 1}


def test_a_render_error_says_where() -> None:
    """What goes wrong with data is told with the file and line of the expression."""
    file = parse("url: /x\nbody:\n  a: 1\n  b: '{{ 1 ~ data.l }}'\n", "a.yml")
    with pytest.raises(RenderError, match=r"^a\.yml:4: text cannot be made of a list"):
        templates().structure(file.value, file.marks, "a.yml")({"data": {"l": []}})
    with pytest.raises(RenderError, match=r"^a:3: text cannot be made of a list"):
        templates(a='{"a": 1,\n "b": 2,\n "c": {{ 1 ~ data.l }}}').document("a", "a")({"data": {"l": []}})
    body = templates().body(Source('{"a": 1,\n "c": {{ 1 ~ data.l }}}', "b.yml", 10))
    with pytest.raises(RenderError, match=r"^b\.yml:11: text cannot be made of a list"):
        body({"data": {"l": []}})


def test_what_many_threads_need_at_once_is_compiled_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, compiling = list[Any](), Environment.compile

    def noted(self: Environment, source: Any, *arguments: Any, **more: Any) -> Any:
        compiled.append(source)
        time.sleep(0.02)  # so that another thread would begin the same
        return compiling(self, source, *arguments, **more)

    monkeypatch.setattr(Environment, "compile", noted)
    file = parse('body: "{{ data.a }}"\n', "a.yml")
    known = templates(a='{% include "shop/_part.json.j2" %}')
    render = (
        known.structure(file.value, file.marks, "a.yml"),
        known.body(Source("{{ data.a }}", "b.yml")),
        known.document("a", "a.json.j2"),
    )
    names = {"data": {"a": 1}, "thing": {"id": 2}}
    outcomes = together(16, lambda _: [one(names) for one in render])
    assert outcomes == [[{"body": 1}, "1", '{"part": 2}']] * 16
    assert len(compiled) == 4
