"""What a template may say: the names, filters and statements that are offered, and where a tag may stand in JSON.

Hides: how a template's tree is walked. Everything is found at start, with its file, line and column.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, ClassVar

from jinja2 import nodes

from engine.confined import PRIVATE_FILTERS, Environment
from engine.errors import Fault, did_you_mean
from engine.write_only import marks
from engine.yaml_files import Mark

Names = Mapping[str, Any]
"""What a template may name: name → JSON Schema of the value, or None where anything goes."""


@dataclass(frozen=True, slots=True)
class Source:
    """A template's text, and the file, line and column (from 1) where it begins; further lines begin after `indent`."""

    text: str
    file: str
    line: int = 1
    column: int = 1
    indent: int = 0

    @classmethod
    def at(cls, text: str, mark: Mark) -> Source:
        """A template that stands in a YAML file."""
        return cls(text, mark.file, mark.text_line, mark.text_column, mark.indent)

    def fault(self, line: int, needle: str, message: str) -> Fault:
        """A fault on `line` of the file, at the first place where `needle` stands there."""
        lines = self.text.split("\n")
        inside = lines[line - self.line] if 0 <= line - self.line < len(lines) else ""
        found = re.search(rf"(?<![\w]){re.escape(needle)}(?![\w])", inside) if needle else None
        before = self.column - 1 if line == self.line else self.indent
        return Fault(self.file, line, before + (found.start() if found else 0) + 1, message)


class Refused(Exception):
    """A template that is looked at no further, for its one `fault`."""

    def __init__(self, fault: Fault) -> None:
        self.fault = fault


TOO_DEEP = "an expression is nested too deep; take it apart"
_ROOM = 175  # Python compiles 200 parentheses in each other and no more; an attribute takes two, its place some

_VALUE = "}}"
_ALWAYS = ("dict", "loop")
_GLUED = re.compile(r"[\w\"'.+-]")

_NAMING = {
    "map": ("filter", 0),
    **dict.fromkeys(("select", "reject"), ("test", 0)),
    **dict.fromkeys(("selectattr", "rejectattr"), ("test", 1)),
}
"""Filters that apply a filter or a test to every item: which, and the place of its name among their arguments."""

_FORBIDDEN: tuple[type[nodes.Node], ...] = (
    *(nodes.Macro, nodes.CallBlock, nodes.FilterBlock, nodes.AssignBlock, nodes.With),
    *(nodes.Extends, nodes.Block, nodes.Import, nodes.FromImport, nodes.ScopedEvalContextModifier),
)


def worth_a_look(tree: nodes.Node, source: Source) -> list[nodes.Node]:
    """The nodes of the tree of `source` that `Check` has something to say about, and the includes. Raises Refused."""
    found: list[nodes.Node] = []
    _gather(tree, found, source, _ROOM)
    return found


def _gather(node: nodes.Node, found: list[nodes.Node], source: Source, room: int) -> None:
    room -= 2 if type(node) is nodes.Getattr else 1
    if room < 0:
        raise Refused(source.fault(node.lineno, "", TOO_DEEP))
    if type(node) in Check.LOOKS:
        found.append(node)
    for name in node.fields:
        part = getattr(node, name)
        if isinstance(part, nodes.Node):
            _gather(part, found, source, room)
        elif isinstance(part, list):
            for one in part:
                if isinstance(one, nodes.Node):
                    _gather(one, found, source, room)


class Check:
    """Walks one template's tree and reports names, filters and statements that are not offered."""

    def __init__(self, source: Source, names: Names) -> None:
        self._source, self._names = source, names
        self.assigned: set[str] = set()

    def faults(self, tree: Sequence[nodes.Node]) -> list[Fault]:
        """All faults of a tree, given those of its nodes that are `worth_a_look`."""
        self.assigned |= {node.name for node in tree if type(node) is nodes.Name and node.ctx == "store"}
        return [fault for node in tree for fault in self.LOOKS[type(node)](self, node)]

    def _forbidden(self, node: nodes.Node) -> Iterable[Fault]:
        word = type(node).__name__.lower()
        yield self._source.fault(
            node.lineno, word, f"{word} is not offered in a template; if, for, set and include are"
        )

    def _name(self, node: nodes.Name) -> Iterable[Fault]:
        name = node.name
        if name in self._names or name in self.assigned or name in _ALWAYS or node.ctx != "load":
            return ()
        guess = did_you_mean(name, {*self._names, *self.assigned, *_ALWAYS})
        return [self._source.fault(node.lineno, name, f"the name {name!r} is not known here{guess}")]

    def _word(self, node: nodes.Filter | nodes.Test) -> Iterable[Fault]:
        kind = type(node).__name__.lower()
        offered = _offered(kind)
        if node.name not in offered:
            guess = did_you_mean(node.name, offered)
            yield self._source.fault(node.lineno, node.name, f"there is no {kind} {node.name!r}{guess}")

    def _filter(self, node: nodes.Filter) -> Iterable[Fault]:
        yield from self._word(node)
        if node.name in _NAMING and not any(given.key == "attribute" for given in node.kwargs):
            kind, place = _NAMING[node.name]
            yield from self._applied(node, kind, [*node.args[place:], node.dyn_args][:1])

    def _applied(self, node: nodes.Filter, kind: str, given: Sequence[nodes.Node | None]) -> Iterable[Fault]:
        """Faults where `node` has every item go through a filter or test that is not to be known, or not offered."""
        for one in given:
            if not isinstance(one, nodes.Const):
                if one is not None or node.name == "map":
                    message = f"{node.name} applies a {kind} to every item; write its name in quotes"
                    yield self._source.fault(node.lineno, node.name, message)
            elif one.value not in _offered(kind):
                hint = f"; an attribute is map(attribute={one.value!r})" if node.name == "map" else ""
                guess = did_you_mean(str(one.value), _offered(kind)) or hint
                yield self._source.fault(node.lineno, str(one.value), f"there is no {kind} {one.value!r}{guess}")

    def _call(self, node: nodes.Call) -> Iterable[Fault]:
        if not (isinstance(node.node, nodes.Name) and node.node.name == "dict"):
            yield self._source.fault(node.lineno, "", "only dict(...) can be called in a template")

    def _path(self, node: nodes.Getattr | nodes.Getitem) -> Iterable[Fault]:
        if isinstance(node.node, nodes.Name) and node.node.name == "headers" and "headers" in self._names:
            written = _constant_key(node) or ""
            if written != written.lower():
                message = f"a header is named in lower case here: write {written.lower()!r}"
                return [self._source.fault(node.lineno, written, message)]
        schema = self._schema(node.node)
        name = _constant_key(node) if schema is not None else None
        if schema is None or name is None or "properties" not in schema:
            return ()
        if name in schema["properties"] or schema.get("additionalProperties", False):
            return ()
        guess = did_you_mean(name, schema["properties"])
        if not guess and isinstance(node.node, nodes.Name) and node.node.name == "settings":
            guess = "; write it into the gateway's file, as in settings: {" + name + ": NAME_IN_ENV}"
        return [self._source.fault(node.lineno, name, f"{name!r} is not declared here{guess}")]

    LOOKS: ClassVar[Mapping[type[nodes.Node], Callable[[Check, Any], Iterable[Fault]]]] = {
        **dict.fromkeys(_FORBIDDEN, _forbidden),
        nodes.Name: _name,
        nodes.Filter: _filter,
        nodes.Test: _word,
        nodes.Call: _call,
        nodes.Getattr: _path,
        nodes.Getitem: _path,
        nodes.Include: lambda *_: (),
    }
    """What there is to say about a node, by its kind."""

    def shows(self, tree: Sequence[nodes.Node]) -> Iterator[Fault]:
        """A fault for every value in a tree that holds a part which its schema marks `writeOnly`."""
        paths = [node for node in tree if isinstance(node, nodes.Name | nodes.Getattr | nodes.Getitem)]
        inside = {id(node.node) for node in paths if not isinstance(node, nodes.Name)}
        for node in paths:
            if id(node) not in inside and self._is_write_only(node):
                name = node.name if isinstance(node, nodes.Name) else _constant_key(node) or ""
                hint = "the journal keeps and the log may name this place in the clear; put it into the body"
                yield self._source.fault(node.lineno, name, f"{name!r} is writeOnly, or holds what is: {hint}")

    def _is_write_only(self, node: nodes.Node) -> bool:
        inner = [node]
        while isinstance(inner[-1], nodes.Getattr | nodes.Getitem):
            inner.append(inner[-1].node)
        schemas = [schema for schema in map(self._schema, inner) if schema is not None]
        return any(schema.get("writeOnly") is True for schema in schemas) or marks(self._schema(node))

    def _schema(self, node: nodes.Node) -> Mapping[str, Any] | None:
        """The JSON Schema of what `node` yields, where a path of constant names leads to one."""
        if isinstance(node, nodes.Name):
            return None if node.name in self.assigned else self._names.get(node.name)
        if not isinstance(node, (nodes.Getattr, nodes.Getitem)):
            return None
        schema, name = self._schema(node.node), _constant_key(node)
        part = schema.get("properties", {}).get(name) if schema and name else None
        return part if isinstance(part, Mapping) else None


@cache
def _offered(kind: str) -> set[str]:
    environment = Environment()
    return set(environment.filters) - PRIVATE_FILTERS if kind == "filter" else set(environment.tests)


def _constant_key(node: nodes.Getattr | nodes.Getitem) -> str | None:
    if isinstance(node, nodes.Getattr):
        return node.attr
    return node.arg.value if isinstance(node.arg, nodes.Const) and isinstance(node.arg.value, str) else None


def outside_strings(  # noqa: C901 - one pass over the tokens, read from top to bottom
    tokens: Iterable[tuple[int, str, str]], source: Source
) -> Iterator[Fault]:
    """A fault for every tag that stands inside a JSON string, or that would be glued to another token of JSON."""
    inside, escaped, last = False, False, ""
    for line, kind, text in tokens:
        if kind == "data":
            if last == _VALUE and _GLUED.match(text):
                yield source.fault(line, "", f"an expression is a whole JSON value; {text[:1]!r} cannot follow it")
            for character in text:
                if inside and not escaped and character == "\\":
                    escaped = True
                    continue
                inside ^= character == '"' and not escaped
                escaped = False
            last = text[-1:]
        elif kind in {"variable_begin", "block_begin"} and inside:
            what = "an expression" if kind == "variable_begin" else "a block"
            hint = 'write {{ "text " ~ value }} in place of the whole string'
            yield source.fault(line, text.strip("-+ \n"), f"{what} cannot stand inside a JSON string; {hint}")
            return
        elif kind == "variable_begin" and (last == _VALUE or _GLUED.match(last)):
            yield source.fault(line, "", "an expression is a whole JSON value; it cannot be glued to another")
        elif kind == "variable_end":
            last = _VALUE
        elif kind == "block_end":
            last = ""
    if inside:
        yield source.fault(source.line + source.text.count("\n"), "", "a JSON string is not closed")
