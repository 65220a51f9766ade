"""HTML templates: what they may say, what is wrong with one, and its compiled form.

Hides: Jinja's environment for HTML, which escapes every value, offers a closed set of names and filters, and can mark
nothing as safe. The catalog calls `check_form` and `check_frame` at start.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import jinja2
from jinja2 import nodes
from jinja2.runtime import Macro

from engine.confined import PRIVATE_FILTERS, Absent, Environment
from engine.errors import Fault, did_you_mean
from engine.forms.options import NAMES as OPTIONS
from engine.forms.parts import path_of, schema_at
from engine.forms.translations import ENGLISH, FOLDER
from engine.template_checks import Source

FRAME_MACROS = ("frame", "field", "card", "submit")
NARROWING = {"pattern", "const", "enum", "minimum", "maximum", "minLength", "maxLength"}
SHOWING = {"label", "help", "value", "autocomplete", "required", "words"}

# What can be called: by how many unnamed arguments at least and at most, and by which named ones.
Calls = Mapping[str, tuple[int, int, Collection[str]]]

_SHARED: Calls = {
    "text": (1, 2, ()),
    "money": (2, 2, ()),
    "records": (1, 1, ()),
    "ask": (1, 1, ()),
    "scripts": (0, 0, {"library", "script", "stand_in"}),
    "dict": (0, 1, ()),
}
_IN_FORM: Calls = {
    "input": (1, 1, NARROWING | SHOWING),
    "rest": (0, 0, ()),
    "card": (1, 1, {"label", "key", "library", "script", "stand_in", "make", "pattern", "told"}),
    "seal": (2, 2, ()),
    "submit": (0, 1, ()),
    "success": (1, 1, ()),
    **_SHARED,
}
_IN_RESULT: Calls = {"done": (1, 1, ()), "refused": (1, 1, ()), **_SHARED}
_OPEN = {"records", "ask", "text", "dict", "money"}  # their named arguments are not a closed set
_NEEDED = {"card": ("key", "library", "script", "pattern"), "scripts": ("library", "script")}
_FORM_VALUES = ("data", "config", "settings", "values", "errors", "result_url")
_RESULT_VALUES = ("data", "config", "settings", "response")

TEXTS = f"forms/{FOLDER}/{ENGLISH}.yml"

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
    function.offered = True  # type: ignore[attr-defined]  # functions take attributes
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


@dataclass(frozen=True)
class Around:
    """What a form's file can name that stands in other files.

    `schema` is the request type's data, `settings` are the gateway's public settings, `readers` the request types that
    only read. `texts` are the keys of texts with the places they leave open, None where their files are faulty.
    `has_result`: something is shown after the form.
    """

    schema: Mapping[str, Any]
    settings: Collection[str]
    record_types: Collection[str]
    readers: Collection[str]
    texts: Mapping[str, Collection[str]] | None
    has_result: bool


def check_form(source: Source, around: Around) -> list[Fault]:
    """What is wrong with a form file."""
    return _checked(source, around, _IN_FORM, _FORM_VALUES)


def check_result(source: Source, around: Around) -> list[Fault]:
    """What is wrong with the file of what is shown after a form."""
    return _checked(source, around, _IN_RESULT, _RESULT_VALUES)


def _checked(source: Source, around: Around, calls: Calls, values: Collection[str]) -> list[Fault]:
    tree = _parsed(source)
    if isinstance(tree, Fault):
        return [tree]
    return list(_Check(source, tree, around, calls, values).faults())


def _parsed(source: Source) -> nodes.Template | Fault:
    try:
        return _HTML.parse(source.text, filename=source.file)
    except jinja2.TemplateSyntaxError as error:
        return Fault(source.file, error.lineno, 1, f"{(error.message or '').rstrip('.')}; mend the template")


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
    """Walks the tree of one file."""

    def __init__(
        self, source: Source, tree: nodes.Template, around: Around, calls: Calls, values: Collection[str]
    ) -> None:
        self._source, self._tree, self._around, self._calls, self._values = source, tree, around, calls, values
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
        if "submit" in self._calls and not any(_name_of(call) == "submit" for call in calls):
            yield Fault(self._source.file, 1, 1, "the form has no button; end it with {{ submit() }}")

    def _fault(self, node: nodes.Node, needle: str, message: str) -> Fault:
        return self._source.fault(node.lineno, needle, message)

    def _name(self, node: nodes.Name) -> Iterator[Fault]:
        known = {*self._values, *self._calls, "loop", *self._own, *self._macros}
        if node.name not in known:
            yield self._fault(
                node, node.name, f"the name {node.name!r} is not known here{did_you_mean(node.name, known)}"
            )
        if node.name == "result_url" and not self._around.has_result:
            wanted = self._source.file.removesuffix(".html") + ".result.html"
            yield self._fault(node, node.name, f"nothing is shown after this form; write {wanted}")

    def _path(self, node: nodes.Getattr, name: str) -> Iterator[Fault]:
        known = {"data": self._properties, "config": OPTIONS, "settings": self._around.settings}.get(name)
        if name in self._own or known is None or node.attr in known:
            return
        if name != "data" or not self._is_open:
            yield self._fault(node, node.attr, f"{node.attr!r} is not declared here{did_you_mean(node.attr, known)}")

    @property
    def _properties(self) -> Mapping[str, Any]:
        properties: Mapping[str, Any] = self._around.schema.get("properties", {})
        return properties

    @property
    def _is_open(self) -> bool:
        return bool(self._around.schema.get("additionalProperties"))

    def _call(self, call: nodes.Call) -> Iterator[Fault]:
        name = _name_of(call)
        if name in self._macros:
            return
        if name not in self._calls:
            yield self._fault(call, name, f"only {', '.join(self._calls)} can be called in a form")
            return
        least, most, _ = self._calls[name]
        if not least <= len(call.args) <= most or call.dyn_args or call.dyn_kwargs:
            yield self._fault(call, name, f"{name} takes {most} unnamed value{'s' if most != 1 else ''}")
            return
        yield from self._options(call, name)
        if name in {"input", "card", "seal"}:
            yield from self._part(call, name)
        elif name == "records":
            yield from self._named(call, self._around.record_types, "record type")
        elif name == "ask":
            yield from self._named(call, self._around.readers, "request type that only reads")
        elif name == "text":
            yield from self._text(call)

    def _options(self, call: nodes.Call, name: str) -> Iterator[Fault]:
        given, known = {option.key: option.value for option in call.kwargs}, self._calls[name][2]
        for option in given if name not in _OPEN else ():
            if option not in known:
                yield self._fault(call, option, f"{name} knows no {option!r}{did_you_mean(option, known)}")
        for needed in _NEEDED.get(name, ()):
            if needed not in given:
                yield self._fault(call, name, f"{name} needs {needed}=")
        setting = given.get("key") if "key" in known else None
        if isinstance(setting, nodes.Const) and setting.value not in self._around.settings:
            guess = did_you_mean(str(setting.value), self._around.settings)
            message = f"the gateway has no public setting {setting.value!r}{guess}"
            yield self._fault(call, str(setting.value), message)

    def _part(self, call: nodes.Call, name: str) -> Iterator[Fault]:
        """A property is named, or with dots a part of one."""
        first = call.args[0].value if isinstance(call.args[0], nodes.Const) else None
        path = path_of(self._properties, first) if isinstance(first, str) else ()
        schema = schema_at(self._properties, path) if path else None
        if not self._is_open and (schema is None or not path):
            known = list(_names(self._properties)) if len(path) > 1 else self._properties
            yield from self._named(call, known, "property")
        if schema and schema.get("readOnly") and name != "seal":
            message = f"{first!r} is readOnly: only the page can give it, a visitor cannot"
            yield self._fault(call, name, message)

    def _text(self, call: nodes.Call) -> Iterator[Fault]:
        key = call.args[0].value if isinstance(call.args[0], nodes.Const) else None
        known = self._around.texts
        if not isinstance(key, str) or known is None:
            return
        if key not in known:
            message = f"there is no text {key!r} in {TEXTS}{did_you_mean(key, known)}"
            yield self._fault(call, key, message)
            return
        given = {option.key for option in call.kwargs}
        for place in sorted(given ^ {*known[key]}):
            wrong = "leaves no place for" if place in given else "needs"
            yield self._fault(call, key, f"the text {key!r} {wrong} {place}=")

    def _named(self, call: nodes.Call, known: Collection[str], kind: str) -> Iterator[Fault]:
        first = call.args[0]
        if not isinstance(first, nodes.Const) or not isinstance(first.value, str):
            yield self._fault(call, "", f"name the {kind} in quotes")
        elif first.value not in known:
            message = f"there is no {kind} {first.value!r}{did_you_mean(first.value, known)}"
            yield self._fault(call, first.value, message)


def _name_of(call: nodes.Call) -> str:
    return call.node.name if isinstance(call.node, nodes.Name) else ""


def _names(properties: Mapping[str, Any], before: str = "") -> Iterator[str]:
    """The dotted names of all properties and their parts."""
    for name, schema in properties.items():
        yield f"{before}{name}"
        yield from _names(schema.get("properties", {}), f"{before}{name}.")
