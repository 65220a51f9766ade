"""The inputs that ask for a value, made from its JSON Schema; and the value made from what was typed.

Hides: how a browser names nested values (`address[city]`), and that it knows nothing but text. An empty input is
absent; the schema's type decides what a text means, never its look. A property with `readOnly: true` has no input: only
the page can give it. One with `writeOnly: true` is typed unseen, and never shown. One with `const: true` is a box that
has to be ticked.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from engine.forms.parts import Path
from engine.pointers import pointer_to, steps_of
from engine.schemas import JsonSchema, from_text
from engine.write_only import marks

Kind = Literal[
    "text",
    "secret",
    "email",
    "url",
    "date",
    "instant",
    "number",
    "choice",
    "switch",
    "consent",
    "lines",
    "pairs",
    "json",
    "group",
]

# Of the schema's rules those that a browser can apply while somebody types.
_LIMITS = {"minimum": "min", "maximum": "max", "minLength": "minlength", "maxLength": "maxlength"}
_FORMATS: Mapping[str, Kind] = {"email": "email", "uri": "url", "date": "date", "date-time": "instant"}
_INSTANT = re.compile(r"([0-9-]{10}T[0-9]{2}:[0-9]{2})(:[0-9]{2}(\.[0-9]+)?)?")


@dataclass(frozen=True, slots=True)
class Field:
    """One input, or a group of them. `name` is what a browser posts, `pointer` says where in the data it belongs.

    `required`: the browser may insist on it. `choices` are texts with what is shown for them.
    """

    name: str
    pointer: str
    schema: JsonSchema
    kind: Kind
    label: str
    required: bool
    choices: tuple[tuple[str, str], ...] = ()
    parts: tuple[Field, ...] = ()

    @property
    def key(self) -> str:
        """The name of the value in the object that it belongs to."""
        return steps_of(self.pointer)[-1]

    @property
    def help(self) -> str:
        """What the schema says about it."""
        return str(self.schema.get("description", ""))

    @property
    def attributes(self) -> dict[str, str]:
        """HTML attributes that let a browser check what is typed."""
        limits = {rule: html for rule, html in _LIMITS.items() if self.kind != "secret" or html.endswith("length")}
        found = {html: str(self.schema[rule]) for rule, html in limits.items() if rule in self.schema}
        if self.kind == "number":
            step = "1" if _types(self.schema)[:1] == ["integer"] else "any"
            found["step"] = str(self.schema.get("multipleOf", step))
        return found

    @property
    def is_unseen(self) -> bool:
        """Whether what is typed into it is not shown again."""
        return self.kind != "group" and marks(self.schema)

    @property
    def names(self) -> Iterator[str]:
        """The names under which a browser posts it."""
        if self.kind != "group":
            yield self.name
        for part in self.parts:
            yield from part.names


def field_of(path: Path, schema: JsonSchema, *, required: bool) -> Field | None:
    """The input for the part of the data at `path`; None where only the page can give it."""
    name = path[0] + "".join(f"[{part}]" for part in path[1:])
    return _field(name, pointer_to(path), path[-1], schema, required=required)


def _field(name: str, pointer: str, label: str, schema: JsonSchema, *, required: bool) -> Field | None:
    if schema.get("readOnly"):
        return None
    kind = _kind(schema, required=required)
    parts: tuple[Field, ...] = ()
    if kind == "group":
        wanted = schema.get("required", [])
        mark = {"writeOnly": True} if schema.get("writeOnly") is True else {}
        found = (
            _field(
                f"{name}[{key}]",
                f"{pointer}{pointer_to((key,))}",
                key,
                {**part, **mark},
                required=required and key in wanted,
            )
            for key, part in schema["properties"].items()
        )
        parts = tuple(part for part in found if part)
    title = str(schema.get("title") or label.replace("_", " ").capitalize())
    return Field(name, pointer, schema, kind, title, required, _choices(schema, kind), parts)


def _kind(schema: JsonSchema, *, required: bool) -> Kind:
    if schema.get("const") is True:
        return "consent"
    if "enum" in schema or "const" in schema:
        return "choice"
    first = next(iter(_types(schema)), "object" if "properties" in schema else "string")
    if first == "object" and schema.get("properties"):
        return "group"
    kinds: Mapping[str, Kind] = {
        # An unticked box says false, so a box can only stand where there is a value in any case.
        "boolean": "switch" if required or "default" in schema else "choice",
        "object": "pairs" if _of_text(schema.get("additionalProperties")) else "json",
        "array": "lines" if _of_text(schema.get("items")) else "json",
        "integer": "number",
        "number": "number",
        "string": _FORMATS.get(str(schema.get("format")), "text"),
    }
    unseen = schema.get("writeOnly") is True and kinds[first] in {"text", "email", "url", "number"}
    return "secret" if unseen else kinds[first]


def _types(schema: JsonSchema) -> list[str]:
    types = schema.get("type", [])
    return [type for type in ([types] if isinstance(types, str) else types) if type != "null"]


def _of_text(schema: Any) -> bool:
    """Whether every item can be typed on a line of its own."""
    return isinstance(schema, Mapping) and ("enum" in schema or _types(schema)[:1] == ["string"])


def _choices(schema: JsonSchema, kind: Kind) -> tuple[tuple[str, str], ...]:
    if kind != "choice":
        return ()
    if "enum" not in schema and "const" not in schema:
        return (("true", "Yes"), ("false", "No"))
    values = schema["enum"] if "enum" in schema else [schema["const"]]
    return tuple((_text(value), _text(value).replace("_", " ").capitalize()) for value in values if value is not None)


# From a value to text -------------------------------------------------------------------------------------------------


def as_texts(field: Field, value: Any) -> dict[str, str]:
    """What an input shows for `value`: the posted name of it, and of each of its parts, with its text."""
    if value is None or field.is_unseen:
        return {}
    if field.kind == "group":
        known = value if isinstance(value, Mapping) else {}
        texts: dict[str, str] = {}
        for part in field.parts:
            texts |= as_texts(part, known.get(part.key))
        return texts
    if field.kind == "lines" and isinstance(value, list):
        return {field.name: "\n".join(map(_text, value))}
    if field.kind == "pairs" and isinstance(value, Mapping):
        return {field.name: "\n".join(f"{key}: {_text(part)}" for key, part in value.items())}
    return {field.name: _text(value)}


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# From text to a value -------------------------------------------------------------------------------------------------

ABSENT = object()


def value_of(field: Field, texts: Mapping[str, Sequence[str]]) -> Any:
    """The value that was typed, or ABSENT. What does not fit stays text, and the schema will say so."""
    if field.kind == "group":
        found = [(part, value_of(part, texts)) for part in field.parts]
        values = {part.key: value for part, value in found if value is not ABSENT}
        return values or ({} if field.required else ABSENT)
    text = next(reversed(texts.get(field.name, [""])), "")
    if text == "":
        return ABSENT
    return _value(field, text)


def _value(field: Field, text: str) -> Any:
    schema = field.schema
    if field.kind in {"choice", "consent"} and ("enum" in schema or "const" in schema):
        values = schema["enum"] if "enum" in schema else [schema["const"]]
        return next((value for value in values if _text(value) == text), text)
    if field.kind == "lines":
        return [from_text(schema["items"], line.strip()) for line in text.splitlines() if line.strip()]
    if field.kind == "pairs":
        return _pairs(text)
    if field.kind == "instant" and (local := _INSTANT.fullmatch(text)):
        return f"{local[1]}{local[2] or ':00'}Z"  # a browser's input has no zone; the page says that it is UTC
    return from_text(schema, text)


def _pairs(text: str) -> Any:
    """`name: value` on each line as an object; the text itself where a line is none, or a name stands twice."""
    lines = [line.partition(":") for line in text.splitlines() if line.strip()]
    pairs = {name.strip(): value.strip() for name, _, value in lines}
    return pairs if len(pairs) == len(lines) and all(colon and name.strip() for name, colon, _ in lines) else text


def misposted(fields: Sequence[Field], posted: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Posted name → what is wrong with it: no input has it, or it came more often than its input posts it."""
    switches = {field.name for one in fields for field in _all(one) if field.kind == "switch"}
    known = {name for field in fields for name in field.names}
    wrong = {name: "is not asked for by this form" for name in posted if name not in known}
    for name, texts in posted.items():
        # A box posts its hidden false first, and its true after that where it is ticked.
        if name in known and len(texts) > 1 and not (name in switches and list(texts) == ["false", "true"]):
            wrong[name] = "was given more than once"
    return wrong


def unseen(fields: Sequence[Field]) -> set[str]:
    """The posted names of the inputs that are not shown again."""
    return {field.name for one in fields for field in _all(one) if field.is_unseen}


def _all(field: Field) -> Iterator[Field]:
    yield field
    for part in field.parts:
        yield from _all(part)
