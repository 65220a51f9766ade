"""Whether a value fits a JSON Schema, yes or no, in a hundredth of the time that it takes to say why not.

Hides: a schema made into functions, one for each kind of value, so that a value meets only what can be said of its
kind. Only keywords whose meaning is plain are understood, and only where they are written as the standard has them; a
schema with any other has no such functions, and is left to the whole library. Understood, it is valid JSON Schema, and
the answers are the library's.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from numbers import Number
from types import NoneType
from typing import Any, ClassVar

from engine.pointers import steps_of

Accepts = Callable[[Any], bool]

Documents = Mapping[str, Mapping[str, Any]]
"""What a `$ref` may name: `$id` → document."""


def acceptance(schema: Any, formats: Mapping[str, Accepts], documents: Documents) -> Accepts | None:
    """The function that says whether a value fits `schema`; None where the schema is not wholly understood.

    `formats` are the functions behind `format`; one that raises ValueError means no.
    """
    try:
        checks = _Reader(formats, documents).schema(schema, 0)
    except _NotUnderstood:
        return None
    return partial(_fits, checks)


def as_python(pattern: str) -> str:
    """A pattern of JSON Schema for `re`: there `$` is the end of the text alone, not also a place before a newline."""
    return _END.sub(lambda found: r"\Z" if found[0] == "$" else found[0], pattern)


# What may hold a `$` that is a character comes first: an escape, and a class of characters.
_END = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", re.DOTALL)


class _NotUnderstood(Exception):
    pass


def _demand(plain: bool) -> None:
    if not plain:
        raise _NotUnderstood


class _Checks(dict[type, Accepts | None]):
    """What is to be asked of a value of a kind, which is a type of JSON's or `object` for any other; None: nothing."""

    def __missing__(self, type: type) -> Accepts | None:
        """A type of Python's own is the kind that it extends."""
        return self[next(kind for kind, types in _EXTENDED.items() if issubclass(type, types))]


_EXTENDED: Mapping[type, type] = {int: int, float: Number, str: str, list: list, dict: dict, object: object}
_KINDS = (NoneType, bool, *_EXTENDED)
_TYPES: Mapping[str, tuple[type, ...]] = {
    "null": (NoneType,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "string": (str,),
    "array": (list,),
    "object": (dict,),
}


def _never(_: Any) -> bool:
    return False


def _fits(checks: _Checks, value: Any) -> bool:
    check = checks[type(value)]
    return check is None or check(value)


WORDS = "errorMessage"  # what editors, too, say of a value that does not fit
_SAID = {WORDS: str, "title": str, "description": str, "$comment": str, "$schema": str, "$id": str, "default": object}
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
_SIZES: dict[str, tuple[type, Callable[[int, int], bool]]] = {
    "minLength": (str, operator.ge),
    "maxLength": (str, operator.le),
    "minItems": (list, operator.ge),
    "maxItems": (list, operator.le),
    "minProperties": (dict, operator.ge),
    "maxProperties": (dict, operator.le),
}


class _Reader:
    """Makes functions of schemas."""

    def __init__(self, formats: Mapping[str, Accepts], documents: Documents) -> None:
        self._formats, self._documents = formats, documents

    def schema(self, schema: Any, depth: int) -> _Checks:
        """The functions of one schema and all below it."""
        _demand(depth < 50)  # a $ref may lead back to itself
        if isinstance(schema, bool):
            return _only({}, None if schema else _never)
        _demand(isinstance(schema, dict))
        _demand(depth == 0 or not _OF_DOCUMENTS & schema.keys())  # the library goes by other rules from there on
        checks = [_only({dict: self._object(schema, depth)})] if _OF_OBJECTS & schema.keys() else []
        for keyword, given in schema.items():
            if keyword in _SAID:
                _demand(isinstance(given, _SAID[keyword]))
            elif keyword not in _OF_OBJECTS:
                checks.append(self._keyword(keyword, given, depth + 1))
        return _all(checks)

    def _keyword(self, keyword: str, given: Any, depth: int) -> _Checks:
        if read := self._KEYWORDS.get(keyword):
            return read(self, given, depth)
        if keyword in _LIMITS:
            _demand(isinstance(given, Number) and not isinstance(given, bool))
            within = _LIMITS[keyword]
            return _only(dict.fromkeys((int, float), lambda value: within(value, given)))
        _demand(keyword in _SIZES and type(given) is int and given >= 0)
        kind, compare = _SIZES[keyword]
        return _only({kind: lambda value: compare(len(value), given)})

    def _type(self, given: Any, _: int) -> _Checks:
        if isinstance(given, str) and given in _TYPES:
            return _of_types(given)
        _demand(isinstance(given, list) and bool(given))
        names: list[Any] = given
        _demand(all(isinstance(name, str) and name in _TYPES for name in names))
        _demand(len(set(names)) == len(names))
        return _of_types(*names)

    def _enum(self, given: Any, _: int) -> _Checks:
        _demand(isinstance(given, list) and bool(given))
        _demand(all(isinstance(one, str) or one is None for one in given))
        texts = frozenset(one for one in given if one is not None)
        return _only({str: texts.__contains__, NoneType: None if None in given else _never}, _never)

    def _const(self, given: Any, depth: int) -> _Checks:
        if isinstance(given, bool):
            return _only({bool: lambda value: value is given}, _never)
        return self._enum([given], depth)

    def _pattern(self, given: Any, _: int) -> _Checks:
        _demand(isinstance(given, str))
        try:
            search = re.compile(as_python(given)).search
        except (re.error, OverflowError, RecursionError):
            raise _NotUnderstood from None
        return _only({str: lambda value: search(value) is not None})

    def _format(self, given: Any, _: int) -> _Checks:
        _demand(isinstance(given, str) and given in self._formats)
        check = self._formats[given]

        def accepts(value: Any) -> bool:
            try:
                return check(value)
            except ValueError:
                return False

        return _only(dict.fromkeys(_KINDS, accepts))

    def _items(self, given: Any, depth: int) -> _Checks:
        fits = partial(_fits, self.schema(given, depth))
        return _only({list: lambda value: all(map(fits, value))})

    def _property_names(self, given: Any, depth: int) -> _Checks:
        fits = partial(_fits, self.schema(given, depth))
        return _only({dict: lambda value: all(map(fits, value))})

    def _any_of_them(self, given: Any, depth: int) -> _Checks:
        return self._by_kind(_any_of, given, depth)

    def _all_of_them(self, given: Any, depth: int) -> _Checks:
        return self._by_kind(_all_of, given, depth)

    def _one_of_them(self, given: Any, depth: int) -> _Checks:
        return self._by_kind(_one_of, given, depth)

    def _none_of_them(self, given: Any, depth: int) -> _Checks:
        return self._by_kind(_none_of, [given], depth)

    def _by_kind(self, join: Join, given: Any, depth: int) -> _Checks:
        """Several schemas joined, kind by kind."""
        _demand(isinstance(given, list) and bool(given))
        return _joined(join, [self.schema(one, depth) for one in given])

    def _ref(self, given: Any, depth: int) -> _Checks:
        _demand(isinstance(given, str))
        name, _, pointer = given.partition("#")
        part: Any = self._documents.get(name)
        for step in steps_of(pointer):
            part = part.get(step) if isinstance(part, dict) else None
        _demand(part is not None)
        return self.schema(part, depth)

    def _object(self, schema: Mapping[str, Any], depth: int) -> Accepts:
        """`properties`, `additionalProperties` and `required` in one pass over the value."""
        properties, required = schema.get("properties", {}), schema.get("required", [])
        _demand(isinstance(properties, dict) and isinstance(required, list))
        _demand(all(isinstance(name, str) for name in [*properties, *required]) and len(set(required)) == len(required))
        known = {name: self.schema(part, depth + 1) for name, part in properties.items()}
        additional = schema.get("additionalProperties", True)
        if additional is True:
            return _open(known, required)
        return _closed(known, required, self.schema(additional, depth + 1))

    _KEYWORDS: ClassVar[Mapping[str, Callable[[_Reader, Any, int], _Checks]]] = {
        "type": _type,
        "enum": _enum,
        "const": _const,
        "pattern": _pattern,
        "format": _format,
        "items": _items,
        "propertyNames": _property_names,
        "anyOf": _any_of_them,
        "allOf": _all_of_them,
        "oneOf": _one_of_them,
        "not": _none_of_them,
        "$ref": _ref,
    }


def _open(known: Mapping[str, _Checks], required: list[str]) -> Accepts:
    """Of objects that may hold anything else: an answer has more properties than its schema names."""
    anything = _only({})
    parts = [(name, checks, name in required) for name, checks in known.items()]
    parts += [(name, anything, True) for name in required if name not in known]

    def accepts(value: Any) -> bool:
        for name, checks, needed in parts:
            if name in value:
                part = value[name]
                check = checks[type(part)]
                if check is not None and not check(part):
                    return False
            elif needed:
                return False
        return True

    return accepts


def _closed(known: Mapping[str, _Checks], required: list[str], other: _Checks) -> Accepts:
    """Of objects that may hold only what `other` accepts beside the `known` properties."""

    def accepts(value: Any) -> bool:
        for name in required:
            if name not in value:
                return False
        for name, part in value.items():
            check = known.get(name, other)[type(part)]
            if check is not None and not check(part):
                return False
        return True

    return accepts


def _only(checks: Mapping[type, Accepts | None], other: Accepts | None = None) -> _Checks:
    """These `checks` of their kinds, and `other` of every other kind."""
    made = _Checks(dict.fromkeys(_KINDS, other))
    made.update(checks)
    return made


@cache
def _of_types(*names: str) -> _Checks:
    return _only({kind: None for name in names for kind in _TYPES[name]}, _never)


Join = Callable[[list[Accepts | None]], Accepts | None]


def _joined(join: Join, several: Iterable[_Checks]) -> _Checks:
    return _Checks({kind: join([checks[kind] for checks in several]) for kind in _KINDS})


def _all(several: list[_Checks]) -> _Checks:
    return several[0] if len(several) == 1 else _joined(_all_of, several)


def _all_of(several: list[Accepts | None]) -> Accepts | None:
    if _never in several:
        return _never
    checks = [check for check in several if check is not None]
    if len(checks) < 2:
        return checks[0] if checks else None

    def accepts(value: Any) -> bool:
        for check in checks:  # noqa: SIM110 - a generator would take twice as long
            if not check(value):
                return False
        return True

    return accepts


def _any_of(several: list[Accepts | None]) -> Accepts | None:
    checks = [check for check in several if check is not None and check is not _never]
    if None in several or len(checks) < 2:
        return None if None in several else next(iter(checks), _never)
    return lambda value: any(check(value) for check in checks)


def _one_of(several: list[Accepts | None]) -> Accepts | None:
    always, checks = several.count(None), [check for check in several if check is not None]
    return lambda value: always + sum(check(value) for check in checks) == 1


def _none_of(several: list[Accepts | None]) -> Accepts | None:
    (check,) = several
    if check is None:
        return _never
    return None if check is _never else lambda value: not check(value)
