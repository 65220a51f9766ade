"""A template that is cut into tokens without Jinja has the tokens that Jinja cuts it into."""

from __future__ import annotations

import jinja2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.catalog import shipped
from engine.confined import structures
from engine.plain_tokens import plain_tokens

PIECES = """
{{ a }}|{{ a.b.c }}|{{|}}|{%|%}|{#|#}|{|}|(|)|[|]|a|_b1|é|a·|1|0|00|10|1.5|1_0|0x1|.|1.|'t'|"t"|'|"|\\|'\\''|-|+|*|**|==
|!=|<=|>=|~|,|:|;|=|<|>|!|?|//|/|%|{%-|-%}|{{-|-}}|+%}|{%+|raw|endraw|{% raw %}|{%raw%}|{% if a %}|{% endif %}|
{{ {"a": {"b": 1}} }}|{{ a[b(c)] }}|{{ "}}" }}|'{{'|{{ 'a
b' }}
""".replace("\n|", "|").split("|")
TEXTS = st.lists(st.sampled_from([*PIECES, " ", "\n", "\n\n", "\r\n", "\t"]), max_size=9).map("".join)
INSIDE = TEXTS.map(lambda text: "{{" + text + "}}") | TEXTS.map(lambda text: "x{% " + text + " %}y\n")
ENVIRONMENT = structures()


def same(text: str, line: int) -> bool:
    """Whether `text` is cut, and if so as Jinja cuts it on that line of a file."""
    tokens = plain_tokens(text, line)
    if tokens is None:
        return False
    assert tokens == [(number + line - 1, kind, word) for number, kind, word in ENVIRONMENT.lex(text)]
    return True


@settings(max_examples=500, deadline=None)
@given(TEXTS | INSIDE, st.integers(1, 9))
def test_they_are_the_tokens_that_jinja_makes(text: str, line: int) -> None:
    """Whatever is cut without Jinja, Jinja cuts too, and in the same way."""
    same(text, line)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "text\n",
        "{{ a }}",
        "a\n{% set b = {'c': [1, 0]} %}\n{{ b.c[0] }}\n\n",
        "{% if a.b == 'é' and not c %}{{ a ~ \"}}\" }}{% endif %}",
        "{{ {'a': {}} }}}}",
        "{%if x%}\n{%else%}\n{%endif%}",
        "{{ a\n| lower\n}} b",
    ],
)
def test_what_is_plain(text: str) -> None:
    assert same(text, 3)


@pytest.mark.parametrize(
    "text",
    [
        "{{- a }}",
        "{{ a -}}",
        "{% raw %}{{ a }}{% endraw %}",
        "{# a #}",
        "{{ 1.5 }}",
        "{{ 'a\\n' }}",
        "{{ é }}",
        "a\r\nb",
    ],
)
def test_what_is_not_plain(text: str) -> None:
    """Anything else is left to Jinja."""
    assert plain_tokens(text, 1) is None
    assert list(ENVIRONMENT.lex(text))


@pytest.mark.parametrize("text", ["{{ a", "{{ a ]", "{{ (a }}", "{{ ? }}", "{{ 'a }}", "{% if a }}"])
def test_mistakes_are_left_to_jinja(text: str) -> None:
    assert plain_tokens(text, 1) is None
    with pytest.raises(jinja2.TemplateSyntaxError):
        ENVIRONMENT.parse(text)


def test_shipped_templates_are_plain() -> None:
    """It is worth its lines."""
    texts = [path.read_text("utf-8") for path in shipped().glob("*/*/*.json.j2")]
    assert sum(same(text, 1) for text in texts) > len(texts) * 0.9
