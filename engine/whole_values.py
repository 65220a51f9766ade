"""JSON documents compiled to the values they are, so that no text of them has to be written and read.

In a document every expression is a whole value, and blocks stand around whole documents. So its text between two
blocks is JSON with places for values, known before any of them is: what is generated of it builds the dicts themselves.
Hides: how that is done. Where a file does otherwise, or anything fails, whoever asks renders the text instead, which
says where.
"""

from __future__ import annotations

import json
import math
import secrets
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.compiler import Frame
from jinja2.visitor import NodeTransformer

from engine.code_cache import CodeCache
from engine.confined import Absent, Environment, Generator, as_json
from engine.json_texts import iter_documents

_PLAIN = "plain"
_MARK = secrets.token_hex(8)  # in no text that a file holds
_LARGE = 10**300  # Python writes no number of more than 4,300 digits


class NotWhole(jinja2.TemplateError):
    """A block of a document stands around less than whole values."""


class _Values(NodeTransformer):
    """Puts the values that a text is made of in its place."""

    def visit_Output(self, node: nodes.Output) -> nodes.Output | None:  # noqa: N802 - Jinja's visitor calls it so
        parts = [child for child in node.nodes if not isinstance(child, nodes.TemplateData)]
        places = (f'"{_MARK}{number}"' for number in range(len(parts)))
        text = "".join(child.data if isinstance(child, nodes.TemplateData) else next(places) for child in node.nodes)
        try:
            made = [_expression(value, parts, node.lineno) for value in iter_documents(text)]
        except ValueError:
            raise NotWhole from None
        return nodes.Output(made, lineno=node.lineno) if made else None


def _expression(value: Any, parts: list[nodes.Expr], line: int) -> nodes.Expr:
    """What makes `value`, in which marks stand for `parts`."""
    if isinstance(value, dict):
        if any(name.startswith(_MARK) for name in value):
            raise NotWhole
        pairs = [nodes.Pair(nodes.Const(name), _expression(part, parts, line)) for name, part in value.items()]
        return nodes.Dict(pairs, lineno=line)
    if isinstance(value, list):
        return nodes.List([_expression(part, parts, line) for part in value], lineno=line)
    if isinstance(value, str) and value.startswith(_MARK):
        part = parts[int(value.removeprefix(_MARK))]
        return nodes.Filter(part, _PLAIN, [], [], None, None, lineno=part.lineno)
    return nodes.Const(value, lineno=line)


class _Generator(Generator):
    """Yields values, where Jinja's own yields texts."""

    def visit_Output(self, node: nodes.Output, frame: Frame) -> None:  # noqa: N802 - so Jinja calls it
        if frame.buffer is not None:
            raise NotWhole
        for child in node.nodes:
            self.writeline("yield ", child)
            self.visit(child, frame)


class _Environment(Environment):
    code_generator_class = _Generator

    def __init__(self, loader: jinja2.BaseLoader | None, cache: jinja2.BytecodeCache | None) -> None:
        super().__init__(loader=loader, cache=cache)
        self.filters[_PLAIN] = plain
        self._broken = set[str]()

    def get_template(self, name: Any, *of_whom: Any) -> jinja2.Template:
        if name in self._broken:
            raise NotWhole
        try:
            return super().get_template(name, *of_whom)
        except NotWhole:
            self._broken.add(name)
            raise

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        return super()._generate(_Values().visit(source), name, filename, defer_init)


def whole_values(documents: Environment) -> Environment:
    """The environment whose templates yield the values that those of `documents` yield the texts of."""
    kept = documents.bytecode_cache
    apart = CodeCache(kept.directory, "__values_%s.cache") if isinstance(kept, CodeCache) else None
    return _Environment(documents.loader, apart)


def plain(value: Any) -> Any:
    """`value` as it would be read from its JSON text. Raises ValueError and TypeError for what has none."""
    kind = type(value)
    if (
        value is None
        or kind is bool
        or (kind is str and value.isascii())  # a reader makes one character of two halves that meet
        or (kind is int and -_LARGE < value < _LARGE)
        or (kind is float and math.isfinite(value))
    ):
        return value
    if kind is Absent:
        return None
    if kind is dict and all(type(name) is str for name in value):
        return {plain(name): plain(part) for name, part in value.items()}
    if kind is list:
        return [plain(part) for part in value]
    return json.loads(as_json(None, value))
