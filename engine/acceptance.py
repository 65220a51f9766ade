"""Whether a value fits a JSON Schema, yes or no, in a hundredth of the time that it takes to say why not.

Hides: a schema made into functions. Only keywords whose meaning is plain are understood, and only where they are
written as the standard has them; a schema with any other has no such function, and is left to the whole library.
Understood, it is valid JSON Schema, and the answers are the library's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from numbers import Number
from typing import Any

Accepts = Callable[[Any], bool]
Exact = Mapping[str, frozenset[type]]
"""Property → the types of which it may be anything."""

Documents = Mapping[str, Mapping[str, Any]]
"""What a `$ref` may name: `$id` → document."""


def acceptance(schema: Any, formats: Mapping[str, Accepts], documents: Documents) -> Accepts | None:
    """The function that says whether a value fits `schema`; None where the schema is not wholly understood.

    `formats` are the functions behind `format`; one that raises ValueError means no.
    """
    try:
        return _Reader(formats, documents).schema(schema, 0)
    except _NotUnderstood:
        return None


def as_python(pattern: str) -> str:
    """A pattern of JSON Schema for `re`: there `$` is the end of the text alone, not also a place before a newline."""
    return re.sub(r"(?<!\\)\$(?=\||\)|$)", r"\\Z", pattern)


class _NotUnderstood(Exception):
    pass


def _demand(plain: bool) -> None:
    if not plain:
        raise _NotUnderstood


_NUMBERS = (int, float, Number)


def _is_number(value: Any) -> bool:
    return isinstance(value, _NUMBERS) and not isinstance(value, bool)


_TYPES: dict[str, Accepts] = {
    "null": lambda value: value is None,
    "boolean": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": _is_number,
    "string": lambda value: isinstance(value, str),
    "array": lambda value: isinstance(value, list),
    "object": lambda value: isinstance(value, dict),
}
_EXACTLY: Mapping[str, tuple[type, ...]] = {
    "null": (type(None),),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}
_SAID = {"title": str, "description": str, "$comment": str, "$schema": str, "$id": str, "default": object}
_SAID |= {"deprecated": bool, "readOnly": bool, "writeOnly": bool, "examples": list}
_OF_DOCUMENTS = {"$schema", "$id"}
_OF_OBJECTS = {"properties", "additionalProperties", "required"}
_LIMITS: dict[str, Callable[[Any, Any], bool]] = {
    # NaN is below nothing and above nothing, and so it is within every limit.
    "minimum": lambda value, limit: not value < limit,
    "maximum": lambda value, limit: not value > limit,
    "exclusiveMinimum": lambda value, limit: not value <= limit,
    "exclusiveMaximum": lambda value, limit: not value >= limit,
}
_SIZES: dict[str, tuple[type[Any], Callable[[int, int], bool]]] = {
    "minLength": (str, int.__ge__),
    "maxLength": (str, int.__le__),
    "minItems": (list, int.__ge__),
    "maxItems": (list, int.__le__),
    "minProperties": (dict, int.__ge__),
    "maxProperties": (dict, int.__le__),
}


class _Reader:
    """Makes functions of schemas."""

    def __init__(self, formats: Mapping[str, Accepts], documents: Documents) -> None:
        self._formats, self._documents = formats, documents

    def schema(self, schema: Any, depth: int) -> Accepts:
        """The function of one schema and all below it."""
        _demand(depth < 50)  # a $ref may lead back to itself
        if isinstance(schema, bool):
            return lambda _: schema
        _demand(isinstance(schema, dict))
        _demand(depth == 0 or not _OF_DOCUMENTS & schema.keys())  # the library goes by other rules from there on
        checks = [self._object(schema, depth)] if _OF_OBJECTS & schema.keys() else []
        for keyword, given in schema.items():
            if keyword in _SAID:
                _demand(isinstance(given, _SAID[keyword]))
            elif keyword not in _OF_OBJECTS:
                checks.append(self._keyword(keyword, given, depth + 1))
        return _all(checks)

    def _keyword(self, keyword: str, given: Any, depth: int) -> Accepts:
        if keyword in _LIMITS:
            _demand(_is_number(given))
            within = _LIMITS[keyword]
            return lambda value: not _is_number(value) or within(value, given)
        if keyword in _SIZES:
            _demand(_TYPES["integer"](given) and given >= 0)
            kind, compare = _SIZES[keyword]
            return lambda value: not isinstance(value, kind) or compare(len(value), given)
        read = getattr(self, f"_{keyword.removeprefix('$')}", None) if keyword in _KEYWORDS else None
        _demand(read is not None)
        return read(given, depth)  # type: ignore[no-any-return, misc]  # one of the methods below

    def _type(self, given: Any, _: int) -> Accepts:
        names = given if isinstance(given, list) else [given]
        _demand(bool(names) and all(isinstance(name, str) and name in _TYPES for name in names))
        _demand(len(set(names)) == len(names))
        return _any([_TYPES[name] for name in names])

    def _enum(self, given: Any, _: int) -> Accepts:
        _demand(isinstance(given, list) and bool(given))
        _demand(all(isinstance(one, str) or one is None for one in given))
        texts, null = frozenset(one for one in given if one is not None), None in given
        return lambda value: value in texts if isinstance(value, str) else null and value is None

    def _const(self, given: Any, depth: int) -> Accepts:
        return (lambda value: value is given) if isinstance(given, bool) else self._enum([given], depth)

    def _pattern(self, given: Any, _: int) -> Accepts:
        _demand(isinstance(given, str))
        try:
            search = re.compile(as_python(given)).search
        except re.error:
            raise _NotUnderstood from None
        return lambda value: not isinstance(value, str) or search(value) is not None

    def _format(self, given: Any, _: int) -> Accepts:
        _demand(isinstance(given, str) and given in self._formats)
        check = self._formats[given]

        def accepts(value: Any) -> bool:
            try:
                return check(value)
            except ValueError:
                return False

        return accepts

    def _items(self, given: Any, depth: int) -> Accepts:
        item = self.schema(given, depth)
        return lambda value: not isinstance(value, list) or all(map(item, value))

    def _propertyNames(self, given: Any, depth: int) -> Accepts:  # noqa: N802 - the keyword is spelt so
        name = self.schema(given, depth)
        return lambda value: not isinstance(value, dict) or all(map(name, value))

    def _anyOf(self, given: Any, depth: int) -> Accepts:  # noqa: N802
        return _any(self._several(given, depth))

    def _allOf(self, given: Any, depth: int) -> Accepts:  # noqa: N802
        return _all(self._several(given, depth))

    def _oneOf(self, given: Any, depth: int) -> Accepts:  # noqa: N802
        checks = self._several(given, depth)
        return lambda value: sum(check(value) for check in checks) == 1

    def _not(self, given: Any, depth: int) -> Accepts:
        check = self.schema(given, depth)
        return lambda value: not check(value)

    def _several(self, given: Any, depth: int) -> list[Accepts]:
        _demand(isinstance(given, list) and bool(given))
        return [self.schema(one, depth) for one in given]

    def _ref(self, given: Any, depth: int) -> Accepts:
        _demand(isinstance(given, str))
        name, _, pointer = given.partition("#")
        part: Any = self._documents.get(name)
        for step in pointer.split("/")[1:]:
            part = part.get(step) if isinstance(part, dict) else None
        _demand(part is not None)
        return self.schema(part, depth)

    def _object(self, schema: Mapping[str, Any], depth: int) -> Accepts:
        """`properties`, `additionalProperties` and `required` in one pass over the value."""
        properties, required = schema.get("properties", {}), schema.get("required", [])
        _demand(isinstance(properties, dict) and isinstance(required, list))
        _demand(all(isinstance(name, str) for name in [*properties, *required]) and len(set(required)) == len(required))
        known = {name: self.schema(part, depth + 1) for name, part in properties.items()}
        exact = {name: _exact_types(part) for name, part in properties.items()}
        additional = schema.get("additionalProperties", True)
        return (
            _open(known, exact, required)
            if additional is True
            else _closed(known, exact, required, self.schema(additional, depth + 1))
        )


def _exact_types(schema: Any) -> frozenset[type]:
    """The Python types of which every value fits `schema`: what only says a type needs no function to be called."""
    if not isinstance(schema, dict) or "type" not in schema or schema.keys() - _SAID.keys() - {"type"}:
        return frozenset()
    names = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    return frozenset(kind for name in names for kind in _EXACTLY.get(name, ()))


def _open(known: Mapping[str, Accepts], exact: Exact, required: list[str]) -> Accepts:
    """Of objects that may hold anything else: an answer has more properties than its schema names."""
    checks = [(name, check, exact[name], name in required) for name, check in known.items()]
    checks += [(name, _anything, frozenset[type](), True) for name in required if name not in known]

    def accepts(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        for name, check, types, needed in checks:
            if name in value:
                part = value[name]
                if type(part) not in types and not check(part):
                    return False
            elif needed:
                return False
        return True

    return accepts


def _closed(known: Mapping[str, Accepts], exact: Exact, required: list[str], other: Accepts) -> Accepts:
    """Of objects that may hold only what `other` accepts beside the `known` properties."""
    none = frozenset[type]()

    def accepts(value: Any) -> bool:
        if not isinstance(value, dict):
            return True
        for name in required:
            if name not in value:
                return False
        for name, part in value.items():
            if type(part) not in exact.get(name, none) and not known.get(name, other)(part):
                return False
        return True

    return accepts


def _anything(_: Any) -> bool:
    return True


_KEYWORDS = {"type", "enum", "const", "pattern", "format", "items", "propertyNames"}
_KEYWORDS |= {"anyOf", "allOf", "oneOf", "not", "$ref"}


def _all(checks: list[Accepts]) -> Accepts:
    if len(checks) == 1:
        return checks[0]

    def accepts(value: Any) -> bool:
        for check in checks:  # noqa: SIM110 - as above
            if not check(value):
                return False
        return True

    return accepts


def _any(checks: list[Accepts]) -> Accepts:
    return checks[0] if len(checks) == 1 else lambda value: any(check(value) for check in checks)
