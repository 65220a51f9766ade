"""Most leaves are text and paths only, `Refund of {{ data.charge }}`: parsed here in a tenth of the time.

Hides: the tree that Jinja would make of such a leaf; it is the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from jinja2 import nodes

_PATH = re.compile(r"\{\{ *([a-z_]\w*(?:\.[a-zA-Z_]\w*)*) *\}\}", re.ASCII)
_NOT_TEXT = re.compile(r"\{([{%#]|\Z)|\r")
_WORDS = frozenset("not and or if else elif in is true false none".split())


def plain_tree(text: str, line: int) -> nodes.Template | None:
    """The tree of a leaf that begins on `line` of its file; None where there is more in it than text and paths."""
    parts = _PATH.split(text.removesuffix("\n"))  # a text, a path, a text, a path, ... a text
    if any(_NOT_TEXT.search(part) for part in parts[::2]) or any(_root(path) in _WORDS for path in parts[1::2]):
        return None
    output = list(_output(parts, line))
    return nodes.Template([nodes.Output(output, lineno=line)] if output else [], lineno=1)


def _output(parts: list[str], line: int) -> Iterator[nodes.Expr]:
    for number, part in enumerate(parts):
        if number % 2:
            yield _path(part, line)
        elif part:
            yield nodes.TemplateData(part, lineno=line)
            line += part.count("\n")


def _root(path: str) -> str:
    return path.partition(".")[0]


def _path(path: str, line: int) -> nodes.Expr:
    name, *attributes = path.split(".")
    node: nodes.Expr = nodes.Name(name, "load", lineno=line)
    for attribute in attributes:
        node = nodes.Getattr(node, attribute, "load", lineno=line)
    return node
