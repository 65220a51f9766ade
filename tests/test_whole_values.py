"""Documents compiled to values: the same as their text says, and where there is no such text, its error."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import FunctionLoader

from engine.code_cache import CodeCache
from engine.comparison import same
from engine.confined import documents, structures
from engine.json_texts import iter_documents
from engine.templates import RenderError, Templates


class Colour(StrEnum):
    RED = "red"


NAMES: dict[str, Any] = {
    "text": 'a "quoted" \\ text \ud800 \x00 {{ 7 }}',
    "number": 5,
    "large": 10**30,
    "larger": 10**310,
    "part": 1.5,
    "whole": 1.0,
    "yes": True,
    "nothing": None,
    "halves": ["\ud83d", "\ude00"],
    "é": "ü\U0001f600",
    "list": [1, [2.5, None], {"a": ["b"]}],
    "pair": (1, "two"),
    "mapping": {"a": {"b": [True, None]}, "c": 1.0},
    "colour": Colour.RED,
    "rows": [{"id": "x", "to": 1}, {"id": "y", "to": None}],
}

DOCUMENTS = {
    "nothing at all": " \n ",
    "values of every kind": "\n".join(f'{{"is": {{{{ {name} }}}}}}' for name in NAMES),
    "values that are the document": "{{ mapping }} {{ list }} {{ text }} 5 {{ missing }}",
    "what is absent": '{"a": {{ mapping.nowhere }}, "b": [{{ missing.part }}, {{ list[9] }}]}',
    "halves of a character that meet": '{"a": {{ halves[0] ~ halves[1] }}, "b": [{{ {(halves | join): 1} }}]}',
    "absent inside": '{"a": {{ [missing, mapping.nowhere, 1] }}, "b": {{ {"x": missing} }}}',
    "made in the file": '{"a": {{ {"x": [1, mapping]} }}, "b": {{ dict(mapping, d=list) }}}',
    "filters": '{"a": {{ rows | map(attribute="id") }}, "b": {{ rows | selectattr("to") }}, "c": {{ rows | length }}}',
    "texts": r'{"a\u00e9\ud800": "\"\\ {7} %s", "": [true, false, null, -0, 1e3, 1.50, []]}',
    "several of one block": '{"a": 1} {"b": {{ number }}}\n[{{ text }}, {"c": {{ colour }}}]',
    "blocks": '{% if yes %}{"a": {{ number }}}{% elif nothing %}{"b": 1}{% else %}{"c": 2}{% endif %}',
    "loops": '{% for row in rows %}{"id": {{ row.id }}, "at": {{ loop.index }}}{% else %}{"none": 1}{% endfor %}',
    "names": '{% set a = mapping %}{% set b = [a.c, text] %}{"a": {{ a }}, "b": {{ b }}}{% include "part" %}',
    "a recursive loop": '{% for row in rows recursive %}{"id": {{ row.id }}}{% endfor %}',
    "a block in a value": '{"a": {% if yes %}{"b": {{ number }}}{% else %}2{% endif %}}',
    "a fragment in a value": '{"a": {% include "value" %}} {% include "open" %} {{ number }} }',
    "a name of a key": "{ {{ text }}: 1 }",
}
FRAGMENTS = {"part": '{"part": {{ b }}} {{ b }}', "value": "[{{ number }}]", "open": '{"open":'}


def both(text: str, cache: CodeCache | None = None) -> tuple[Callable[[Mapping[str, Any]], Any], ...]:
    """The document `text` as values, and as the values that stand in its text."""
    texts = {**FRAGMENTS, "a": text}
    loader = FunctionLoader(lambda name: (texts[name], name, lambda: True))
    made = Templates(structures(), documents(loader, cache), lambda _: None)
    render = made.document("a", "a.json.j2")
    return made.values("a", "a.json.j2"), lambda names: list(iter_documents(render(names)))


@pytest.mark.parametrize("text", DOCUMENTS.values(), ids=DOCUMENTS)
def test_values_are_those_of_the_text(text: str) -> None:
    """To the kinds of their numbers and the order of their keys."""
    values, read = both(text)
    for _ in range(2):
        assert same(values(NAMES), read(NAMES))


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda part: st.lists(part) | st.dictionaries(st.text(), part),
        max_leaves=8,
    )
)
def test_any_value_is_that_of_the_text(value: Any) -> None:
    values, read = both('{"a": {{ value }}, "b": [{{ value.x }}, {{ value[0] }}]} {{ value }}')
    assert same(values({"value": value}), read({"value": value}))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"a": 1}\n{"b":\n {{ number / 0 }}}', "a:3: division by zero"),
        ('{"a": 1}\n\n{"a": {{ part / 1e-320 }}}', "a:3: "),
        ('\n{"a": {{ {5: 1} }}}', "a:2: a key must be text, not a number"),
        ('\n\n{"a": {{ text | instant }}}', "a:3: "),
        ('{"a": {{ 0 }}}\n{"a": {{ huge * huge }}}', "a:2: "),
    ],
)
def test_an_error_is_that_of_the_text(text: str, said: str) -> None:
    """With the line of the expression, though the values of a document are made all together."""
    values, read = both(text)
    for make in (values, read):
        with pytest.raises(RenderError) as raised:
            make({**NAMES, "huge": 10**4000})
        assert str(raised.value).startswith(said)


def test_a_value_is_a_copy() -> None:
    """What is made of an answer can be changed, and the answer stays as it came."""
    given = {"mapping": {"a": [1]}, "list": [{"b": 2}]}
    values, _ = both('{"a": {{ mapping }}, "b": {{ list }}, "c": {{ mapping.a }}} {{ list }}')
    one, other = values(given)
    one["a"]["a"].append(2), one["b"][0].clear(), one["c"].clear(), other.clear()
    assert given == {"mapping": {"a": [1]}, "list": [{"b": 2}]}


def test_code_is_kept_beside_that_of_texts(tmp_path: Any) -> None:
    """A start that finds code of both makes none, and mistakes neither for the other."""
    text = '{"a": {{ number }}}'
    for _ in range(2):
        values, read = both(text, CodeCache(str(tmp_path)))
        assert values(NAMES) == read(NAMES) == [{"a": 5}]
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("name", ["blocks", "loops", "names", "several of one block"])
def test_no_text_is_made(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a document whose blocks stand around whole values, as a file's must."""
    values, read = both(DOCUMENTS[name])
    wanted = read(NAMES)
    monkeypatch.setattr("engine.templates.iter_documents", None)
    assert same(values(NAMES), wanted)
