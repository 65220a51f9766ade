"""A leaf that is read without Jinja has the tree that Jinja makes of it."""

from __future__ import annotations

from collections.abc import Iterator

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import nodes

from engine.catalog import shipped
from engine.confined import structures
from engine.plain_leaves import plain_tree
from engine.templates import is_template, placed
from engine.yaml_files import parse

PIECES = """
{{ a }}|{{ a.b.c }}|{{data.x}}|{{  a.b  }}|{{ _a.__b }}|{{ e1.e2 }}|{{ a.if.not }}|text|"|'|{|}|}}|{ {|%}|#}|\\|é
|{{ not }}|{{ true }}|{{ None }}|{{ if }}|{{ a b }}|{{- a }}|{{ a -}}|{{ a.1 }}|{{ é }}|{{ a | lower }}
|{% if a %}|{% endif %}
|{# c #}|{{
""".replace("\n", "").split("|")
TEXTS = st.lists(st.sampled_from([*PIECES, " ", "\n", "\n\n", "\r\n"]), min_size=1, max_size=5).map("".join)
ENVIRONMENT = structures()


def drawn(node: nodes.Node) -> Iterator[object]:
    """A tree as plain values, with the line of every node."""
    yield type(node), node.lineno
    for name, part in node.iter_fields():
        for one in part if isinstance(part, list) else [part]:
            yield from drawn(one) if isinstance(one, nodes.Node) else [(name, one)]


def same(text: str, line: int) -> bool:
    """Whether `text` is read, and if so as Jinja reads it on that line of a file."""
    tree = plain_tree(text, line)
    if tree is None:
        return False
    before = "{#" + "\n" * (line - 1) + "#}" if line > 1 else ""
    assert list(drawn(tree)) == list(drawn(ENVIRONMENT.parse(before + text)))
    return True


@given(TEXTS, st.integers(1, 9))
def test_it_is_the_tree_that_jinja_makes(text: str, line: int) -> None:
    """Whatever is read without Jinja, Jinja reads too, and in the same way."""
    same(text, line)


@pytest.mark.parametrize("text", ["{{ a }}", "{{ data.charge.id }}", "Refund of {{ a.b }},\n{{ c }}\n", "text"])
def test_what_is_plain(text: str) -> None:
    """Text and paths are."""
    assert same(text, 3)


@pytest.mark.parametrize("text", ["{{ a | lower }}", "{{ a[0] }}", "{{ not }}", "{{{ a }}", "{% if a %}b{% endif %}"])
def test_what_is_not_plain(text: str) -> None:
    """Anything else is left to Jinja, mistakes included."""
    assert plain_tree(text, 1) is None


def test_most_shipped_leaves_are_plain() -> None:
    """It is worth its lines."""
    files = [parse(path.read_text("utf-8"), path.name) for path in shipped().glob("request_types/*/[!_]*.yml")]
    leaves = [leaf for file in files for leaf, _ in placed(file.name, file.value, file.marks, "") if is_template(leaf)]
    assert sum(same(leaf, 5) for leaf in leaves) > len(leaves) / 2


def test_the_code_is_the_same() -> None:
    """What is generated of either tree is the same, constants folded or not."""
    for text in ("{{ a.b }}", "x {{ a }} y {{ b.c.d }}"):
        tree = plain_tree(text, 1)
        assert tree
        environment = jinja2.Environment()
        assert environment.compile(tree, raw=True) == environment.compile(text, raw=True)
