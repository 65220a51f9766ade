"""What a template may see and do, and how a value becomes text in each place it can land.

Hides: Jinja's environments. A template sees plain JSON values only: attribute access is item look-up, a thing that is
not there is `ABSENT` and so is what a filter makes of it, filters and tests are closed sets, nothing can be called but
`dict`.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from functools import cached_property, wraps
from types import NoneType
from typing import Any, NoReturn
from urllib.parse import quote

import jinja2
from jinja2 import nodes
from jinja2.compiler import CodeGenerator, Frame
from jinja2.filters import FILTERS, make_attrgetter
from jinja2.nodes import EvalContext
from jinja2.runtime import Context, LoopContext
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.tests import TESTS

from engine.amounts import major, minor
from engine.comparison import moment_of
from engine.template_rules import Rules

_NEEDED = "{} is absent here; give it a default, as in {{{{ {} | default(0) }}}}"
_SOMETHING_NEEDED = _NEEDED.format("a value", "data.n")


class Absent(jinja2.ChainableUndefined):
    """What is not there: false, empty, equal to nothing but itself; neither text nor a sum can be made of it."""

    __slots__ = ()
    _undefined_message = _SOMETHING_NEEDED  # Jinja says it of whatever cannot be done with such a value

    def __str__(self) -> NoReturn:
        raise ValueError("a value is absent where text is needed")

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()

_LOOP = frozenset({"index", "index0", "first", "last", "length", "revindex", "revindex0"})
_FILTERS = """
    default first last length list map select reject selectattr rejectattr join lower upper trim replace sort unique sum
    min max dictsort items
""".split()
_MEANT_FOR_ABSENT = frozenset({"default", "length"})
_TESTS = """
    defined undefined none string number integer boolean true false mapping sequence iterable in eq equalto ne lt le gt
    ge odd even divisibleby sameas lower upper == != < <= > >=
""".split()


def _spared(apply: Callable[..., Any]) -> Callable[..., Any]:
    """The filter `apply`, except that what it would make of something absent is absent."""
    place = 1 if hasattr(apply, "jinja_pass_arg") else 0  # such a one is given its surroundings before the value

    @wraps(apply)
    def spared(*given: Any, **named: Any) -> Any:
        return ABSENT if type(given[place]) is Absent else apply(*given, **named)

    return spared


def _listed(choose: Callable[..., Any]) -> Callable[..., Any]:
    """The filter `choose`, made to give a list: what Jinja's own gives is true though nothing is in it."""

    @wraps(choose)
    def listed(*given: Any, **named: Any) -> list[Any]:
        return list(choose(*given, **named))

    return listed


def _joined(parts: Iterable[Any]) -> Any:
    """Text of several parts; absent where one of them is absent or null."""
    texts = []
    for part in parts:
        if part is None or isinstance(part, Absent):
            return ABSENT
        texts.append(_text(part))
    return "".join(texts)


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise TypeError(f"text cannot be made of {_kind(value)}")


def _of_text(change: Callable[..., str]) -> Callable[..., Any]:
    """A filter of texts: null stays null, where Jinja's own makes the text None of it."""

    def changed(value: Any, *given: Any, **named: Any) -> Any:
        return value if value is None else change(_text(value), *given, **named)

    return changed


def _trimmed(text: str, chars: str | None = None) -> str:
    return text.strip(chars)


def _replaced(text: str, old: Any, new: Any, count: int = -1) -> str:
    return text.replace(_text(old), _text(new), count)


@jinja2.pass_environment
def _join(environment: Environment, value: Any, d: Any = "", attribute: str | int | None = None) -> str:
    """One text of many; none is made of null or of what is absent."""
    parts = value if attribute is None else map(make_attrgetter(environment, attribute), value)
    return _text(d).join(map(_text, parts))


@jinja2.pass_environment
def _unique(
    environment: Environment, value: Any, case_sensitive: bool = True, attribute: str | int | None = None
) -> Any:
    """Each once: two ids may differ in a capital letter only."""
    return FILTERS["unique"](environment, value, case_sensitive, attribute)


def _operand(value: Any, name: str) -> Any:
    """What is reckoned with, or compared as more or less. Raises ValueError where it is absent."""
    if type(value) is Absent:
        raise ValueError(_NEEDED.format(name, name))
    return value


class Misplaced(ValueError):
    """A value that cannot stand in its place; `path` is what the template calls it, such as data.id."""

    def __init__(self, path: str, said: str) -> None:
        self.path = path
        super().__init__(f"{path} {said}")


def _segment(value: Any, name: str) -> str:
    """One path segment of a URL (RFC 3986, 3.3), percent-encoded; never more than one, never none."""
    if isinstance(value, Absent) or value is None:
        raise Misplaced(name, "is absent, and the URL needs it")
    if not isinstance(value, str | int) or isinstance(value, bool):
        raise Misplaced(name, f"must be text to stand in a URL, not {_kind(value)}")
    text = str(value)
    if text in {"", ".", ".."} or not text.isprintable() or "/" in text or "\\" in text:
        raise Misplaced(name, f"is {text!r}, which cannot be one part of a URL's path")
    return quote(text, safe="")


def _header(value: Any, name: str) -> Any:
    """A header's value (RFC 9110, 5.5): printable ASCII without blanks at its ends."""
    if value is None or isinstance(value, Absent):
        return ABSENT
    text = _text(value)
    if not (text and text.isascii() and text.isprintable() and text == text.strip()):
        raise Misplaced(name, "cannot stand in a header: printable ASCII without blanks at its ends is allowed")
    return text


def _instant(value: Any) -> Any:
    """Seconds since 1970 as ISO 8601 in UTC; null stays null."""
    if value is None or isinstance(value, Absent):
        return value
    return datetime.fromtimestamp(value, UTC).isoformat().replace("+00:00", "Z")


def _epoch(value: Any) -> Any:
    """An ISO 8601 instant as whole seconds since 1970, in UTC where it names no zone; null stays null."""
    if value is None or isinstance(value, Absent):
        return value
    return int(moment_of(value).timestamp())


def _amount(convert: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """A filter that converts amounts of a unit; null stays null."""

    def converted(value: Any, unit: Any) -> Any:
        return value if value is None or isinstance(value, Absent) else convert(value, unit)

    return converted


def _split(value: Any, separator: str = ",") -> list[str]:
    """The parts of a text, without blanks around them and without empty ones."""
    return [part.strip() for part in value.split(separator) if part.strip()] if isinstance(value, str) else []


_IN_PLACE_OF_JINJAS: dict[str, Callable[..., Any]] = {
    "lower": _of_text(str.lower),
    "upper": _of_text(str.upper),
    "trim": _of_text(_trimmed),
    "replace": _of_text(_replaced),
    "join": _join,
    "unique": _listed(_unique),
    **{name: _listed(FILTERS[name]) for name in ("map", "select", "reject", "selectattr", "rejectattr", "items")},
}
_KNOWN = {name: _IN_PLACE_OF_JINJAS.get(name, FILTERS[name]) for name in _FILTERS}
_JINJAS_FILTERS = {name: known if name in _MEANT_FOR_ABSENT else _spared(known) for name, known in _KNOWN.items()}
_OWN_FILTERS: dict[str, Callable[..., Any]] = {
    "joined": _joined,
    "operand": _operand,
    "segment": _segment,
    "header": _header,
    "instant": _instant,
    "epoch": _epoch,
    "split": _spared(_split),
    "major": _amount(major),
    "minor": _amount(minor),
}
PRIVATE_FILTERS = frozenset({"joined", "operand", "segment", "header"})


def _kind(value: Any) -> str:
    if value is None:
        return "null"
    kinds = ((bool, "a boolean"), (str, "text"), (int | float, "a number"), (Mapping, "an object"), (list, "a list"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "nothing")


_encode = json.JSONEncoder(allow_nan=False).encode
_WRITERS: dict[type, Callable[[Any], str]] = {
    str: json.encoder.encode_basestring_ascii,
    int: int.__repr__,
    bool: lambda value: "true" if value else "false",
    NoneType: lambda _: "null",
    Absent: lambda _: "null",
    list: lambda value: f"[{', '.join([as_json(None, part) for part in value])}]",
}
_PLAIN = (str, int, float, NoneType)


@jinja2.pass_context  # taking the context keeps Jinja from folding constants past the encoder
def as_json(_: Context | None, value: Any) -> str:
    """Every `{{ }}` of a document: one whole JSON value."""
    write = _WRITERS.get(type(value))
    return write(value) if write else _encode(_plain(value))


def _plain(value: Any) -> Any:
    """`value` with absent parts as null and the results of filters as lists."""
    if isinstance(value, _PLAIN):
        return value
    if isinstance(value, Absent):
        return None
    if isinstance(value, Mapping):
        return {_key(key): _plain(part) for key, part in value.items()}
    if isinstance(value, Iterable):
        return [_plain(part) for part in value]
    raise TypeError(f"{type(value).__name__} is not JSON")


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise TypeError(f"a key must be text, not {_kind(key)}")
    return key


_NO_NAMES: set[str] = set()
_NO_BLOCKS: dict[str, list[Callable[[Context], Iterator[str]]]] = {}


class _Scene(Context):
    """The names in reach of one rendering; no template has blocks to be replaced, and none asks which are global."""

    globals_keys, blocks = _NO_NAMES, _NO_BLOCKS

    def __init__(  # the last two are Jinja's, which makes one for every file that is included
        self,
        environment: Environment,
        parent: dict[str, Any],
        name: str | None,
        _: object,
        globals: object = None,  # noqa: A002, ARG002 - Jinja hands it over by this name; no template asks for it
    ) -> None:
        self.environment, self.parent, self.name = environment, parent, name
        self.vars, self.exported_vars, self.eval_ctx = {}, set(), environment.evaluation


class Generator(CodeGenerator):
    """Looks a name of an object up in place, where Jinja's own calls the environment: templates do little else."""

    def visit_Template(self, node: nodes.Template, frame: Frame | None = None) -> None:  # noqa: N802 - so Jinja calls it
        self.writeline(f"from {__name__} import ABSENT")
        super().visit_Template(node, frame)

    def visit_Getattr(self, node: nodes.Getattr, frame: Frame) -> None:  # noqa: N802 - so Jinja calls it
        self.write(f"(whole.get({node.attr!r}, ABSENT) if type(whole := ")
        self.visit(node.node, frame)
        self.write(f") is dict else environment.getattr(whole, {node.attr!r}))")


class Environment(ImmutableSandboxedEnvironment):
    """The sandbox, narrowed to JSON values. `cache` keeps compiled code between starts."""

    context_class = _Scene
    code_generator_class = Generator
    intercepted_binops = frozenset({"*", "**", "%"})  # `%` fills the memory, too, where its left side is a text

    def __init__(
        self,
        *,
        finalize: Callable[..., Any] | None = None,
        loader: jinja2.BaseLoader | None = None,
        cache: jinja2.BytecodeCache | None = None,
    ) -> None:
        super().__init__(
            undefined=Absent,
            finalize=finalize,
            autoescape=False,
            cache_size=-1,
            auto_reload=False,
            loader=loader,
            bytecode_cache=cache,
        )
        self.compiling = threading.RLock()  # threads that begin together would each compile the same for themselves
        self._known: dict[str, jinja2.Template] = {}
        self.globals = {"dict": dict}
        self.filters = _JINJAS_FILTERS | _OWN_FILTERS
        self.tests = {name: TESTS[name] for name in _TESTS}

    @cached_property
    def evaluation(self) -> EvalContext:
        """Whether values are escaped, as the environment has it; no template can change that."""
        return EvalContext(self)

    def get_template(self, name: Any, *of_whom: Any) -> jinja2.Template:
        known = self._known.get(name)
        if known is None:
            with self.compiling:
                known = self._known[name] = super().get_template(name, *of_whom)
        return known

    def getattr(self, obj: Any, attribute: str) -> Any:
        if isinstance(obj, dict):
            return obj.get(attribute, ABSENT)
        return getattr(obj, attribute) if isinstance(obj, LoopContext) and attribute in _LOOP else ABSENT

    def getitem(self, obj: Any, argument: Any) -> Any:
        if isinstance(obj, dict):
            return obj.get(argument, ABSENT) if isinstance(argument, str) else ABSENT
        if isinstance(obj, list | tuple) and isinstance(argument, int | slice):
            try:
                return obj[argument]
            except IndexError:
                return ABSENT
        return obj[argument] if isinstance(obj, str) and isinstance(argument, slice) else ABSENT

    def is_safe_callable(self, obj: Any) -> bool:
        return obj is dict

    def call(self, context: Context, obj: Any, *args: Any, **kwargs: Any) -> Any:
        if obj is not dict:
            return super().call(context, obj, *args, **kwargs)
        for name in ("_loop_vars", "_block_vars"):  # Jinja's own, of a call inside a loop
            kwargs.pop(name, None)
        return dict(*args, **kwargs)

    def call_binop(self, _: Context, operator: str, left: Any, right: Any) -> Any:
        """Numbers only, and no powers: a template must not fill the memory."""
        if operator == "**":
            raise TypeError("powers are not offered")
        if Absent in (type(left), type(right)):
            raise ValueError(_SOMETHING_NEEDED)
        if not all(isinstance(side, int | float) for side in (left, right)):
            raise TypeError(f"{operator} is for numbers only")
        return left * right if operator == "*" else left % right

    def _generate(
        self, source: nodes.Template, name: str | None, filename: str | None, defer_init: bool = False
    ) -> str:
        return super()._generate(Rules().visit(source), name, filename, defer_init)


def structures(cache: jinja2.BytecodeCache | None = None) -> Environment:
    """The environment of request types: values keep their types."""
    return Environment(cache=cache)


def documents(loader: jinja2.BaseLoader, cache: jinja2.BytecodeCache | None = None) -> Environment:
    """The environment of mappers, processors and JSON bodies: every expression becomes one JSON value."""
    return Environment(finalize=as_json, loader=loader, cache=cache)
