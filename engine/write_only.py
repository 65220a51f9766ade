"""Which parts of a value its JSON Schema marks `writeOnly`: they are sent, and never shown or kept in the clear.

Hides: every place of a schema that may speak of a part. One that marks it is enough, whichever branch of an `anyOf` the
value fits, and what a reference that cannot be followed here would say is taken for a mark.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from engine.acceptance import as_python
from engine.pointers import steps_of

Path = tuple[str | int, ...]

_MARKED = {"writeOnly": True}


def marks(schema: Any) -> bool:
    """Whether anything in `schema` is marked."""
    if isinstance(schema, Mapping):
        return schema.get("writeOnly") is True or any(map(marks, schema.values()))
    return isinstance(schema, list) and any(map(marks, schema))


def parts(schema: Any, value: Any) -> list[tuple[Path, Any]]:
    """The marked parts of `value` that stand in no other, each with where it stands."""
    return list(_parts([schema], value, (), schema))


def replaced(schema: Any, value: Any, change: Callable[[Any], Any]) -> Any:
    """`value` with `change` of every marked part in its place."""
    for path, part in parts(schema, value):
        value = _with(value, path, change(part))
    return value


def texts(values: Iterable[Any]) -> Iterator[str]:
    """Everything that could be read in `values`, as text."""
    for value in values:
        if isinstance(value, Mapping | list):
            yield from texts(value.values() if isinstance(value, Mapping) else value)
        elif value is not None and not isinstance(value, bool):
            yield value if isinstance(value, str) else json.dumps(value)


def _parts(schemas: Iterable[Any], value: Any, path: Path, root: Any) -> Iterator[tuple[Path, Any]]:
    known = list(_all(schemas, root))
    if any(one.get("writeOnly") is True for one in known):
        yield path, value
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _parts(_of_member(known, name), part, (*path, name), root)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _parts(_of_item(known, number), part, (*path, number), root)


def _all(schemas: Iterable[Any], root: Any) -> Iterator[Mapping[str, Any]]:
    """The schemas themselves, and those that they put together or refer to for the same value."""
    waiting, seen = list(schemas), set()
    while waiting:
        one = waiting.pop()
        if not isinstance(one, Mapping) or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        waiting += [inner for keyword in ("allOf", "anyOf", "oneOf") for inner in one.get(keyword, ())]
        waiting += [one[keyword] for keyword in ("if", "then", "else") if keyword in one]
        waiting += one.get("dependentSchemas", {}).values()
        waiting += [_referred(root, one[keyword]) for keyword in ("$ref", "$dynamicRef") if keyword in one]


def _referred(root: Any, reference: str) -> Any:
    found = root
    if not re.fullmatch("#(/.*)?", reference):
        return _MARKED
    for name in steps_of(reference.removeprefix("#")):
        try:
            found = found[int(name) if isinstance(found, list) else name]
        except (KeyError, ValueError, IndexError, TypeError):
            return _MARKED
    return found


def _of_member(schemas: Iterable[Mapping[str, Any]], name: str) -> Iterator[Any]:
    for one in schemas:
        named = [one["properties"][name]] if name in one.get("properties", {}) else []
        like = one.get("patternProperties", {}).items()
        named += [inner for pattern, inner in like if re.search(as_python(pattern), name)]
        yield from named or (one[other] for other in ("additionalProperties", "unevaluatedProperties") if other in one)


def _of_item(schemas: Iterable[Mapping[str, Any]], number: int) -> Iterator[Any]:
    for one in schemas:
        yield from one.get("prefixItems", [])[number : number + 1]
        yield from (one[other] for other in ("items", "contains", "unevaluatedItems") if other in one)


def _with(value: Any, path: Path, part: Any) -> Any:
    if not path:
        return part
    step, *rest = path
    copy: Any = dict(value) if isinstance(value, Mapping) else list(value)
    copy[step] = _with(value[step], tuple(rest), part)
    return copy
