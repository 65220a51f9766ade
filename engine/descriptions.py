"""What a definition says of itself, for whoever shows it: what it takes, what its file changes, how a repeat is safe.

Hides: how a JSON Schema and a mapper's text are read back for a person.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from engine.changes import Mapper
from engine.request_types import RequestType

JsonSchema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One value that a schema names. `path` is how `callsheet send` writes it: `address.city`, `persons[0].email`."""

    path: str
    schema: JsonSchema
    required: bool

    @property
    def kind(self) -> str:
        """Its type, or the values it may have."""
        return kind_of(self.schema)

    @property
    def limits(self) -> list[str]:
        """What it must be beyond its kind."""
        return list(limits(self.schema))

    @property
    def description(self) -> str:
        """What its author says of it; empty where that is nothing."""
        return str(self.schema.get("description", ""))


def parameters(schema: JsonSchema, before: str = "") -> Iterator[Parameter]:
    """Every value that an object's schema names, the nested ones after the one they stand in."""
    for name, part in schema.get("properties", {}).items():
        path = f"{before}.{name}" if before else name
        yield Parameter(path, part, name in schema.get("required", ()))
        yield from _inside(part, path)


def _inside(part: JsonSchema, path: str) -> Iterator[Parameter]:
    yield from parameters(part, path)
    if isinstance(items := part.get("items"), Mapping):
        yield from _inside(items, f"{path}[0]")
    for branch in _branches(part):
        yield from _inside(branch, path)


def kind_of(part: JsonSchema) -> str:
    """The type of what a schema describes, or the values it may have."""
    if "enum" in part:
        return " | ".join(_written(value) for value in part["enum"])
    if "const" in part:
        return _written(part["const"])
    if branches := _branches(part):
        return " or ".join(map(kind_of, branches))
    types = part.get("type", "any")
    items = part.get("items")
    kinds = types if isinstance(types, list) else [types]
    of_what = f" of {kind_of(items)}" if isinstance(items, Mapping) and items else ""
    return " or ".join(f"array{of_what}" if kind == "array" else kind for kind in kinds)


def _branches(part: JsonSchema) -> list[JsonSchema]:
    return [branch for branch in part.get("anyOf") or part.get("oneOf") or [] if isinstance(branch, Mapping)]


def _written(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def limits(part: JsonSchema) -> Iterator[str]:
    """What a value must be beyond its kind, a few words each; what there are no words for as JSON."""
    for keyword, value in part.items():
        if keyword in _LIMITS:
            if said := _LIMITS[keyword](value):
                yield said
        elif keyword not in _KINDS:
            yield json.dumps({keyword: value}, ensure_ascii=False)
    if isinstance(items := part.get("items"), Mapping):
        yield from (f"each item: {said}" for said in limits(items))
    for branch in _branches(part):
        yield from (f"as {kind_of(branch)}: {said}" for said in limits(branch))


_KINDS = frozenset("type enum const properties required items anyOf oneOf title description $comment examples".split())


def _of_each_value(schema: Any) -> str:
    if not isinstance(schema, Mapping):
        return "" if schema else "no other names"
    return ", ".join([f"other names, each with {kind_of(schema)}", *limits(schema)])


_LIMITS: Mapping[str, Callable[[Any], str]] = {
    "minimum": "at least {}".format,
    "maximum": "at most {}".format,
    "exclusiveMinimum": "more than {}".format,
    "exclusiveMaximum": "less than {}".format,
    "multipleOf": "a multiple of {}".format,
    "minLength": "at least {} characters".format,
    "maxLength": "at most {} characters".format,
    "pattern": "of the form {}".format,
    "format": "in the format {}".format,
    "minItems": "at least {} items".format,
    "maxItems": "at most {} items".format,
    "uniqueItems": lambda value: "no item twice" if value else "",
    "minProperties": "at least {} names".format,
    "maxProperties": "at most {} names".format,
    "additionalProperties": _of_each_value,
    "default": lambda value: f"{json.dumps(value, ensure_ascii=False)} where it is absent",
    "writeOnly": lambda value: "kept encrypted, and shown nowhere" if value else "",
    "readOnly": lambda value: "set by your code: no form offers it" if value else "",
}


def repeats(type: RequestType) -> str:
    """How a repeated call is kept harmless."""
    if not type.journaled:
        return "reads only: sent freely"
    if type.key_header:
        return f"safe: the gateway knows a repeated {type.key_header}"
    return "harmless: it changes nothing more" if type.idempotent else "never: at most once"


def url_template(type: RequestType) -> str:
    """The path of a URL, with {name} for what comes from data and [brackets] around what is there only sometimes."""
    named = re.sub(r"\{\{\s*data\.(\w+)\s*\}\}", r"{\1}", type.written["url"])
    return re.sub(r"\{%\s*if [^%]*%\}([^{%]*(?:\{\w+\})?[^{%]*)\{%\s*endif\s*%\}", r"[\1]", named)


def changed(mapper: Mapper) -> list[str]:
    """The record types that a mapper or a processor changes, then `sends NAME` for every call that it has follow."""
    outline = mapper.outline()
    records = [change[verb] for change in outline for verb in ("upsert", "update", "delete") if verb in change]
    sent = [f"sends {change['send']}" for change in outline if "send" in change]
    return list(dict.fromkeys([*records, *sent]))
