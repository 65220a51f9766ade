"""HTML templates: what they may say, what is wrong with one, and its compiled form.

Hides: Jinja's environment for HTML, which escapes every value, offers a closed set of names and filters, and can mark
nothing as safe. The catalog calls `check_form` and `check_frame` at start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from functools import cache
from typing import Any, TypeVar

import jinja2
from jinja2 import nodes
from jinja2.runtime import Macro

from engine.confined import PRIVATE_FILTERS, Absent, Environment
from engine.errors import Fault, did_you_mean
from engine.forms.options import NAMES as OPTIONS
from engine.template_checks import Source

FRAME_MACROS = ("frame", "field", "card", "submit")
NARROWING = {"pattern", "enum", "minimum", "maximum", "minLength", "maxLength"}
SHOWING = {"label", "help", "value", "autocomplete", "required"}

# What can be called in a form file: by how many unnamed arguments at least and at most, and by which named ones.
CALLS: Mapping[str, tuple[int, int, Collection[str]]] = {
    "input": (1, 1, NARROWING | SHOWING),
    "rest": (0, 0, ()),
    "card": (1, 1, {"label", "key", "library", "script", "make", "pattern"}),
    "submit": (0, 1, ()),
    "success": (1, 1, ()),
    "money": (2, 2, ()),
    "records": (1, 1, ()),
    "dict": (0, 1, ()),
}
_OPEN = {"records", "dict", "money"}  # their named arguments are not a closed set
VALUES = ("data", "config", "settings", "values", "errors")

_FORBIDDEN = (
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Extends,
    nodes.Block,
    nodes.ScopedEvalContextModifier,
)

_Function = TypeVar("_Function", bound=Callable[..., Any])


def offered(function: _Function) -> _Function:
    """Mark a method that a form file may call."""
    function.offered = True  # type: ignore[attr-defined]
    return function


def _shown(value: Any) -> Any:
    return "" if value is None or isinstance(value, Absent) else value


class _Html(Environment):
    """The sandbox, for text between tags and in quoted attributes."""

    def __init__(self) -> None:
        super().__init__(finalize=_shown)
        self.autoescape = True
        self.trim_blocks = self.lstrip_blocks = True

    def is_safe_callable(self, obj: Any) -> bool:
        return obj is dict or isinstance(obj, Macro) or getattr(obj, "offered", False) is True


_HTML = _Html()


@cache
def compiled(source: Source) -> jinja2.Template:
    """The template of a form file or of the frame."""
    return jinja2.Template.from_code(_HTML, _HTML.compile(source.text, source.file, source.file), _HTML.globals)


def check_frame(source: Source) -> list[Fault]:
    """What is wrong with `_form.html`."""
    tree = _parsed(source)
    if isinstance(tree, Fault):
        return [tree]
    defined = {node.name for node in tree.find_all(nodes.Macro)}
    return [
        Fault(source.file, 1, 1, f"the macro {name} is missing; the frame defines {', '.join(FRAME_MACROS)}")
        for name in FRAME_MACROS
        if name not in defined
    ] + list(_words(tree, source))


def check_form(
    source: Source, schema: Mapping[str, Any], settings: Collection[str], record_types: Collection[str]
) -> list[Fault]:
    """What is wrong with a form file.

    `schema` is the request type's data, `settings` are the gateway's public settings, `record_types` the known ones.
    """
    tree = _parsed(source)
    if isinstance(tree, Fault):
        return [tree]
    return list(_Check(source, tree, schema, settings, record_types).faults())


def _parsed(source: Source) -> nodes.Template | Fault:
    try:
        return _HTML.parse(source.text, filename=source.file)
    except jinja2.TemplateSyntaxError as error:
        return Fault(source.file, error.lineno, 1, f"{error.message}; mend the template")


def _words(tree: nodes.Template, source: Source) -> Iterator[Fault]:
    """Filters and tests that are not offered; without this they would be found when a page is shown."""
    for node in tree.find_all((nodes.Filter, nodes.Test)):
        filters = isinstance(node, nodes.Filter)
        known = set(_HTML.filters) - PRIVATE_FILTERS if filters else set(_HTML.tests)
        if node.name not in known:
            kind = "filter" if filters else "test"
            message = f"there is no {kind} {node.name!r}{did_you_mean(node.name, known)}"
            yield source.fault(node.lineno, node.name, message)


class _Check:
    """Walks the tree of one form file."""

    def __init__(
        self,
        source: Source,
        tree: nodes.Template,
        schema: Mapping[str, Any],
        settings: Collection[str],
        record_types: Collection[str],
    ) -> None:
        self._source, self._tree, self._schema = source, tree, schema
        self._settings, self._record_types = settings, record_types
        self._own = {node.name for node in tree.find_all(nodes.Name) if node.ctx in {"store", "param"}}
        self._macros = {node.name for node in tree.find_all(nodes.Macro)}

    def faults(self) -> Iterator[Fault]:
        yield from _words(self._tree, self._source)
        calls = list(self._tree.find_all(nodes.Call))
        for node in self._tree.find_all(nodes.Node):
            if isinstance(node, _FORBIDDEN):
                word = type(node).__name__.lower()
                yield self._fault(node, word, f"{word} is not offered in a form; if, for, set and macro are")
            elif isinstance(node, nodes.Name) and node.ctx == "load":
                yield from self._name(node)
            elif isinstance(node, nodes.Getattr) and isinstance(node.node, nodes.Name):
                yield from self._path(node, node.node.name)
        for call in calls:
            yield from self._call(call)
        if not any(isinstance(call.node, nodes.Name) and call.node.name == "submit" for call in calls):
            yield Fault(self._source.file, 1, 1, "the form has no button; end it with {{ submit() }}")

    def _fault(self, node: nodes.Node, needle: str, message: str) -> Fault:
        return self._source.fault(node.lineno, needle, message)

    def _name(self, node: nodes.Name) -> Iterator[Fault]:
        known = {*VALUES, *CALLS, "loop", *self._own, *self._macros}
        if node.name not in known:
            yield self._fault(
                node, node.name, f"the name {node.name!r} is not known here{did_you_mean(node.name, known)}"
            )

    def _path(self, node: nodes.Getattr, name: str) -> Iterator[Fault]:
        known = {"data": self._properties, "config": OPTIONS, "settings": self._settings}.get(name)
        if name in self._own or known is None or node.attr in known:
            return
        if name != "data" or not self._schema.get("additionalProperties"):
            yield self._fault(node, node.attr, f"{node.attr!r} is not declared here{did_you_mean(node.attr, known)}")

    @property
    def _properties(self) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self._schema.get("properties", {})
        return properties

    def _call(self, call: nodes.Call) -> Iterator[Fault]:
        name = call.node.name if isinstance(call.node, nodes.Name) else ""
        if name in self._macros:
            return
        if name not in CALLS:
            yield self._fault(call, name, f"only {', '.join(CALLS)} can be called in a form")
            return
        least, most, options = CALLS[name]
        if not least <= len(call.args) <= most or call.dyn_args or call.dyn_kwargs:
            yield self._fault(call, name, f"{name} takes {most} unnamed value{'s' if most != 1 else ''}")
            return
        for option in call.kwargs if name not in _OPEN else ():
            if option.key not in options:
                guess = did_you_mean(option.key, options)
                yield self._fault(call, option.key, f"{name} knows no {option.key!r}{guess}")
        if name in {"input", "card"}:
            yield from self._input(call, name)
        if name == "records":
            yield from self._named(call, self._record_types, "record type")

    def _input(self, call: nodes.Call, name: str) -> Iterator[Fault]:
        if not self._schema.get("additionalProperties"):
            yield from self._named(call, self._properties, "property")
        first = call.args[0]
        schema = self._properties.get(first.value, {}) if isinstance(first, nodes.Const) else {}
        if schema.get("readOnly"):
            message = f"{first.value!r} is readOnly: only the page can give it, a visitor cannot"  # type: ignore[attr-defined]
            yield self._fault(call, name, message)
        given = {option.key: option.value for option in call.kwargs}
        for needed in ("key", "library", "script", "pattern") if name == "card" else ():
            if needed not in given:
                yield self._fault(call, name, f"card needs {needed}=")
        setting = given.get("key")
        if isinstance(setting, nodes.Const) and setting.value not in self._settings:
            guess = did_you_mean(str(setting.value), self._settings)
            message = f"the gateway has no public setting {setting.value!r}{guess}"
            yield self._fault(call, str(setting.value), message)

    def _named(self, call: nodes.Call, known: Collection[str], kind: str) -> Iterator[Fault]:
        first = call.args[0]
        if not isinstance(first, nodes.Const) or not isinstance(first.value, str):
            yield self._fault(call, "", f"name the {kind} in quotes")
        elif first.value not in known:
            message = f"there is no {kind} {first.value!r}{did_you_mean(first.value, known)}"
            yield self._fault(call, first.value, message)
