"""Check a value against a JSON Schema (2020-12); say what is wrong by JSON pointer.

Hides: the validator library, its compilation, and the places where the standard is looser than money allows:
`1.0` is no integer here, formats and base64 are asserted, no `$ref` is ever fetched; and where the library is: 19.99 is
a multiple of 0.01.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from functools import cache, cached_property, partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from engine.acceptance import WORDS, Accepts, acceptance, as_python
from engine.errors import Problem, did_you_mean
from engine.json_texts import is_too_deep, iter_documents
from engine.pointers import pointer_to
from engine.write_only import Path, marks, parts, replaced

if TYPE_CHECKING:
    from jsonschema import ValidationError
    from jsonschema.protocols import Validator
    from referencing import Registry

JsonSchema = Mapping[str, Any]

_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


class Schema:
    """A schema, compiled at its first use. `references` are the documents that a `$ref` may name by their `$id`."""

    def __init__(self, document: JsonSchema, references: Iterable[JsonSchema] = ()) -> None:
        self.document = document
        self._references = references

    @cached_property
    def _registry(self) -> Registry[Any]:
        from referencing import Registry, Resource

        known = [(str(document["$id"]), Resource.from_contents(document)) for document in self._references]
        return Registry().with_resources(known)

    @cached_property
    def _accepts(self) -> Accepts | None:
        documents = {str(document["$id"]): document for document in self._references}
        return acceptance(self.document, _FORMATS, documents)

    @cached_property
    def _validator(self) -> Validator:
        return _strict()(self.document, registry=self._registry)

    def verify(self) -> list[Problem]:
        """What keeps the document itself from being a JSON Schema; may cost milliseconds, so ask once a file."""
        if self._accepts is not None:
            return []
        from jsonschema import Draft202012Validator, FormatChecker

        formats = FormatChecker([])
        formats.checks("regex")(_is_regex)
        metaschema = Draft202012Validator(Draft202012Validator.META_SCHEMA, format_checker=formats)
        faults = [_problem(_telling(error), []) for error in metaschema.iter_errors(self.document)]
        return faults or list(self._lost_references())

    def _lost_references(self) -> Iterator[Problem]:
        """Every `$ref` that leads nowhere: found when a value comes to it, it would be too late."""
        from referencing.exceptions import Unresolvable
        from referencing.jsonschema import DRAFT202012

        resolver = self._registry.resolver_with_root(DRAFT202012.create_resource(self.document))
        for pointer, reference in _references_in(self.document, ""):
            try:
                resolver.lookup(reference)
            except Unresolvable:
                yield Problem(pointer, f"{reference!r} leads nowhere, and nothing is ever fetched")

    @cached_property
    def marks_write_only(self) -> bool:
        """Whether it marks any part of a value `writeOnly`."""
        return marks(self.document)

    def write_only(self, value: Any) -> list[tuple[Path, Any]]:
        """The parts of `value` that are marked `writeOnly`, each with where it stands."""
        return parts(self.document, value) if self.marks_write_only else []

    def with_write_only(self, value: Any, change: Callable[[Any], Any]) -> Any:
        """`value` with `change` of every part that is marked `writeOnly`."""
        return replaced(self.document, value, change) if self.marks_write_only else value

    def with_defaults(self, value: Mapping[str, Any]) -> dict[str, Any]:
        """`value` with the top-level `default`s of the schema where a property is absent."""
        return {**self._defaults, **value}

    @cached_property
    def _defaults(self) -> dict[str, Any]:
        properties = self.document.get("properties", {})
        return {name: part["default"] for name, part in properties.items() if "default" in part}

    def problems(self, value: Any) -> list[Problem]:
        """Everything that is wrong with `value`; an empty list means it fits. What is `writeOnly` is never quoted."""
        if self._accepts is not None and self._accepts(value):
            return []
        unseen = [path for path, _ in self.write_only(value)]
        try:
            return [_problem(error, unseen) for error in _flat(self._validator.iter_errors(value))]
        except RecursionError:
            return [Problem("", "is nested too deep to be checked")]


def from_text(schema: JsonSchema, text: str) -> Any:
    """What a person meant who typed `text` where `schema` is expected; the text itself where no type fits.

    A page and a command line carry text only. The schema's type decides, never the look of the text.
    """
    types = schema.get("type", "string")
    for type_name in types if isinstance(types, list) else [types]:
        if type_name == "string":
            return text
        try:
            value = _READERS[type_name](text)
        except (ValueError, KeyError):
            continue
        return value
    return text


def from_base64(text: str) -> bytes | None:
    """The bytes that `text` stands for, broken into lines or not (RFC 4648; RFC 2045, 6.8); None where it is none."""
    try:
        return base64.b64decode("".join(text.split()), validate=True)
    except ValueError:
        return None


def _whole(text: str) -> int:
    if not re.fullmatch(r"-?[0-9]{1,19}", text):
        raise ValueError(text)
    return int(text)


def _number(text: str) -> float:
    """As JSON writes one (RFC 8259, 6); Python would read more: 1_0, nan. None of which a float would lose a digit."""
    match = re.fullmatch(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?", text)
    if match is None:
        raise ValueError(text)
    if match[2] is None and match[3] is None:
        return int(text)
    value = float(text)
    if math.isinf(value) or Decimal(repr(value)) != Decimal(text):
        raise ValueError(text)
    return value


def _json_of(kind: type) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        value, *others = iter_documents(text)
        if others or not isinstance(value, kind) or is_too_deep(text, value):
            raise ValueError(text)
        return value

    return read


_READERS: dict[str, Callable[[str], Any]] = {
    "integer": _whole,
    "number": _number,
    "boolean": lambda text: {"true": True, "false": False}[text],
    "null": lambda text: {"null": None}[text],
    "object": _json_of(dict),
    "array": _json_of(list),
}


def _references_in(schema: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Where a schema refers to another, and to which."""
    parts = schema.items() if isinstance(schema, Mapping) else enumerate(schema) if isinstance(schema, list) else ()
    for name, part in parts:
        if name == "$ref" and isinstance(part, str):
            yield f"{pointer}/$ref", part
        yield from _references_in(part, f"{pointer}{pointer_to([name])}")


def _flat(errors: Iterator[ValidationError]) -> Iterator[ValidationError]:
    """An `anyOf` says only that nothing fitted; the branch that came nearest says why."""
    from jsonschema.exceptions import best_match

    for error in errors:
        yield (_meant(error) or best_match([error])) if error.context else error


def _meant(error: ValidationError) -> ValidationError | None:
    """What is wrong inside the only branch that takes the value itself, and refuses a part of it; None without one."""
    branches: dict[Any, list[ValidationError]] = {}
    for one in error.context or ():
        branches.setdefault(next(iter(one.schema_path), None), []).append(one)  # `false` stands nowhere
    entered = [wrong for wrong in branches.values() if all(one.path for one in wrong)]
    return next(_flat(iter(entered[0]))) if len(entered) == 1 else None


def _problem(error: ValidationError, unseen: list[Path]) -> Problem:
    """What is wrong, without the value where any of the `unseen` parts is it, holds it or stands in it, or should."""
    path = tuple(error.absolute_path)
    pointer = pointer_to(path)
    rule: Any = error.validator_value
    hidden = marks(error.schema) or any(path[: len(one)] == one[: len(path)] for one in unseen)
    if error.validator == "required" and isinstance(error.instance, Mapping):
        absent = next(name for name in rule if name not in error.instance)
        missing = [name for name in rule if repr(name) in error.message] or [absent]
        return Problem(pointer_to([*path, missing[0]]), "is required")
    if error.validator in {"additionalProperties", "unevaluatedProperties"} and isinstance(error.instance, Mapping):
        known = error.schema.get("properties", {}) if isinstance(error.schema, Mapping) else {}
        unknown = sorted(str(name) for name in error.instance if name not in known)
        name = next((name for name in unknown if repr(name) in error.message), unknown[0] if unknown else "")
        return Problem(pointer_to([*path, name]), f"is not known here{did_you_mean(name, known)}")
    value = "what is given" if hidden else _short(error.instance)
    words = _words(error)
    return Problem(pointer, f"{value} {words}" if words else _misfit(error, hidden=hidden))


def _telling(error: ValidationError) -> ValidationError:
    """Of a type that is none, the branch that lists all of them."""
    lists = (one for one in error.context or () if one.validator == "enum" and isinstance(one.instance, str))
    return next(lists, error) if error.validator == "anyOf" else error


def _words(error: ValidationError) -> str | None:
    """What the schema itself says of a value that does not fit its pattern, or its type where it has no pattern."""
    schema = error.schema if isinstance(error.schema, Mapping) else {}
    told = schema.get(WORDS)
    return told if isinstance(told, str) and error.validator == ("pattern" if "pattern" in schema else "type") else None


def _misfit(error: ValidationError, *, hidden: bool) -> str:
    """How a value breaks a rule; `hidden`: without the value."""
    rule: Any = error.validator_value
    value = "what is given" if hidden else _short(error.instance)
    if error.validator == "type":
        return f"{value} is not of type {' or '.join(rule) if isinstance(rule, list) else rule}"
    if error.validator == "enum":
        guess = "" if hidden else did_you_mean(str(error.instance), map(str, rule))
        return f"{value} is not one of {', '.join(map(str, rule))}{guess}"
    if error.validator in {"oneOf", "anyOf"} and isinstance(error.schema, Mapping) and "description" in error.schema:
        return f"{value} is nothing that can stand here; {_wanted(error.schema)}"
    if error.validator == "pattern":
        return f"{value} does not fit the pattern {rule}; {_wanted(error.schema)}"
    if hidden:
        return f"{value} does not keep to {error.validator}{_plainly(rule)}"
    said = error.message
    if error.validator == "minLength" and rule > 1:
        said = f"{value} is too short: {rule} characters are wanted at least"
    return said if len(said) <= 300 else said[:297] + "..."


def _wanted(schema: Any) -> str:
    """What a value should be that fits no pattern: what the author of the schema wrote for people, if anything."""
    described = " ".join(str(schema.get("description") or "").split()).removesuffix(".")
    return f"what is wanted is: {described}" if described else "give a value that does"


def _plainly(rule: Any) -> str:
    return f": {rule}" if isinstance(rule, str | int | float) else ""


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def _is_time(value: object) -> bool:
    if not isinstance(value, str):
        return True
    return datetime.fromisoformat(value).tzinfo is not None


def _is_uri(value: object) -> bool:
    return not isinstance(value, str) or bool((parts := urlsplit(value)).scheme and (parts.netloc or parts.path))


def _is_host(value: object) -> bool:
    return not isinstance(value, str) or (len(value) <= 253 and bool(_HOST_NAME.fullmatch(value)))


def _is_email(value: object) -> bool:
    return not isinstance(value, str) or "@" in value


def _is_regex(value: object) -> bool:
    try:
        return not isinstance(value, str) or bool(re.compile(value))
    except (re.error, OverflowError, RecursionError):
        return False


_FORMATS: Mapping[str, Callable[[object], bool]] = {
    "date-time": _is_time,
    "email": _is_email,
    "hostname": _is_host,
    "regex": _is_regex,
    "uri": _is_uri,
}


def _content_encoding(_: Any, encoding: str, value: Any, __: Any) -> Iterator[ValidationError]:
    from jsonschema import ValidationError

    if encoding == "base64" and isinstance(value, str) and from_base64(value) is None:
        yield ValidationError("is no base64")  # without the value, which may be a whole file


def _pattern(_: Any, pattern: str, value: Any, __: Any) -> Iterator[ValidationError]:
    from jsonschema import ValidationError

    if isinstance(value, str) and not re.search(as_python(pattern), value):
        yield ValidationError(f"{_short(value)} does not fit the pattern {pattern}")


def _multiple_of(_: Any, rule: float, value: Any, __: Any) -> Iterator[ValidationError]:
    """By the digits: the library divides floats, and to them 19.99 / 0.01 is 1998.9999999999998."""
    from jsonschema import ValidationError

    if isinstance(value, int | float) and not isinstance(value, bool) and not _is_multiple(value, rule):
        yield ValidationError(f"{_short(value)} is not a multiple of {rule}")


def _is_multiple(value: float, rule: float) -> bool:
    return (isinstance(value, int) or math.isfinite(value)) and _exactly(value) % _exactly(rule) == 0


def _exactly(number: float) -> Fraction:
    return Fraction(number) if isinstance(number, int) else Fraction(repr(number))


@cache
def _strict() -> Callable[..., Validator]:
    """Validators with our rules. Importing and extending the library costs a tenth of a second, so: once, when used."""
    from jsonschema import Draft202012Validator, FormatChecker
    from jsonschema.validators import extend

    formats = FormatChecker()
    for name, check in _FORMATS.items():
        formats.checks(name, raises=ValueError)(check)
    integers = Draft202012Validator.TYPE_CHECKER.redefine(
        "integer", lambda _, value: isinstance(value, int) and not isinstance(value, bool)
    )
    own = {"pattern": _pattern, "contentEncoding": _content_encoding, "multipleOf": _multiple_of}
    strict = extend(Draft202012Validator, own, type_checker=integers)  # type: ignore[no-untyped-call]  # theirs
    return partial(strict, format_checker=formats)
