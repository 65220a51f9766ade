"""What a request type's file says of what is sent: which value of the body is which of the data, and what fits there.

Hides: the way back from a `body` to the `data` it was made of. A leaf that is one value of the data is checked by its
schema; one that is made of such a value only tells of which kind it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.errors import Problem
from engine.request_types import RequestType
from engine.sandbox.places import Place, at, put
from engine.schemas import JsonSchema, from_text

_WHOLE = re.compile(r"\{\{\s*data((?:\.\w+)+)\s*\}\}")
_FIRST = re.compile(r"\bdata((?:\.\w+)+)")


@dataclass(frozen=True, slots=True)
class Sent:
    """A body as it was meant: its `values`, and what is wrong with it."""

    values: Mapping[str, Any]
    problems: list[Problem]


def read_sent(type: RequestType, body: Any, path: Mapping[str, str], account: str, *, typed: bool) -> Sent:
    """The values of `body` as `type` means them, and what its schema says against them.

    Where they are not `typed`, texts are read as the types that the schema gives them.
    """
    written = type.written.get("body")
    if not isinstance(body, Mapping):
        return Sent({}, [Problem("", "must be an object")] if isinstance(written, Mapping) else [])
    known = dict(_leaves(written)) if isinstance(written, Mapping) else {}
    unknown = [name for name in body if isinstance(written, Mapping) and name not in written]
    problems = [Problem(f"/{name}", "is not known here") for name in unknown]
    data = {name: as_meant(value, type.properties[name]) for name, value in path.items() if name in type.properties}
    if account and (found := _WHOLE.fullmatch(str(type.written.get("account", "")))):
        data[found[1][1:]] = account
    values = dict(body)
    for place, (of, whole) in known.items():
        value = at(body, place)
        if value is None:
            continue
        schema = _schema(type.schema.document, of)
        meant = value if typed else as_meant(value, schema)
        values = put(values, place, meant)
        if whole:
            data = put(data, of, meant)
    asked = {of[0] for of, whole in known.values() if whole} | data.keys()
    problems += [one for one in type.schema.problems(data) if one.pointer.split("/")[1:2] in [[name] for name in asked]]
    return Sent(values, problems)


def _leaves(value: Any, place: tuple[str, ...] = ()) -> Iterator[tuple[Place, tuple[Place, bool]]]:
    """Where a body has a value of the data, which one, and whether it is that value as a whole."""
    if isinstance(value, Mapping):
        for name, part in value.items():
            yield from _leaves(part, (*place, name))
    elif isinstance(value, str):
        whole = _WHOLE.fullmatch(value.strip())
        found = whole or _FIRST.search(value)
        if found:
            yield place, (tuple(found[1][1:].split(".")), bool(whole))


def _schema(schema: JsonSchema, place: Place) -> JsonSchema:
    for name in place:
        part = schema.get("properties", {}).get(name, {})
        schema = part if isinstance(part, Mapping) else {}
    return schema


def as_meant(value: Any, schema: JsonSchema) -> Any:
    """A value whose texts are read as the schema's types; a form carries texts only."""
    if isinstance(value, str) and schema.get("type") == "array":
        return as_meant([value], schema)  # a list whose name is repeated, and that has one item
    if isinstance(value, str):
        return from_text(schema, value) if schema.get("type", "string") != "string" else value
    if isinstance(value, Mapping):
        known, rest = schema.get("properties", {}), schema.get("additionalProperties")
        other = rest if isinstance(rest, Mapping) else {}
        return {name: as_meant(part, known.get(name, other)) for name, part in value.items()}
    if isinstance(value, list):
        items = schema.get("items")
        return [as_meant(part, items if isinstance(items, Mapping) else {}) for part in value]
    return value
