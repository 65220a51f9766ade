"""`key=value` as a person types it, made into data by the types of a schema.

    amount=500                      by the schema's type: 500 here, "500" where text is expected
    metadata[order]=17              a nested value; so is metadata.order=17
    items[0][sku]=lamp expand[]=x   items of a list, by number or at its end
    note=@letter.txt                what the file holds, in base64 where the schema says so; @@ begins a text with @

Hides: that grammar, and how a file becomes text or, where the schema wants one, an upload.
"""

from __future__ import annotations

import base64
import json
import mimetypes
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import click

JsonSchema = Mapping[str, Any]

_PATH = re.compile(r"[^\[\].=]+(\.[^\[\].=]+|\[[^\[\]]*\])*")
_STEP = re.compile(r"\.?([^\[\].]+)|\[([^\[\]]*)\]")


def data_from(arguments: Iterable[str], schema: JsonSchema, below: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The data that `arguments` say, laid over `below`. Raises UsageError."""
    tree: dict[str, Any] = {}
    for number, argument in enumerate(arguments, 1):
        path, sign, value = argument.partition("=")
        if not sign or not _PATH.fullmatch(path):
            # Not quoted: it may be a value that nobody is to see.
            raise click.UsageError(f"argument {number} is not key=value; a nested key is written key[inner]=value")
        steps = _steps(path)
        part = _part(schema, steps)
        meant = _value(path, value, part)
        if isinstance(meant, str) and (said := _PARTS.get(str(part.get("type")))):
            raise click.UsageError(f"{path} is {said.format(path)}")  # not quoted, as above
        _plant(tree, path, steps, meant)
    return _over(dict(below or {}), _lists(tree, schema))


_PARTS = {
    "array": "a list; write {0}[]=VALUE for each of its items, or all of it as JSON",
    "object": "an object; write {0}[KEY]=VALUE for each of its parts, or all of it as JSON",
}


def is_path(text: str) -> bool:
    """Whether `text` can stand before the `=`: a name, or a way into a nested value."""
    return bool(_PATH.fullmatch(text))


def first_step(path: str) -> str:
    """The name in the data that `path` begins with."""
    return _steps(path)[0]


def data_from_cells(cells: Iterable[tuple[str, str]], schema: JsonSchema) -> dict[str, Any]:
    """The data that the cells of a table say, each under its path; an empty one says nothing, `@` is a character.

    Raises UsageError.
    """
    tree: dict[str, Any] = {}
    for path, text in cells:
        if text:
            steps = _steps(path)
            _plant(tree, path, steps, _typed(text, _part(schema, steps)))
    return dict(_lists(tree, schema))


def _steps(path: str) -> list[str]:
    """The names on the way to a value. Raises UsageError."""
    from engine.json_texts import MAX_DEPTH

    steps = [dotted or bracketed for dotted, bracketed in _STEP.findall(path)]
    if len(steps) > MAX_DEPTH:
        raise click.UsageError(f"{path[:40]}… is nested deeper than {MAX_DEPTH} levels; flatten it")
    return steps


def data_file(path: str) -> dict[str, Any]:
    """The object in a JSON or YAML file, or in JSON on the standard input where `path` is "-". Raises UsageError."""
    from engine.answers import parse_json
    from engine.errors import unreadable

    raw, place = (sys.stdin.buffer.read(), "the standard input") if path == "-" else (_bytes(path), path)
    try:
        value = _parsed_yaml(raw, path) if path.endswith((".yml", ".yaml")) else parse_json(raw)
    except ValueError as error:
        said = unreadable(error) if isinstance(error, UnicodeDecodeError) else said_of_json(error)
        raise click.UsageError(f"{place} {said}") from None
    if not isinstance(value, dict):
        raise click.UsageError(f'{place} must hold one object, as in {{"amount": 500}}')
    return value


def _parsed_yaml(raw: bytes, path: str) -> Any:
    from engine.yaml_files import parse

    return parse(raw.decode("utf-8"), path).value


def said_of_json(error: ValueError) -> str:
    """What keeps bytes from being JSON, as the tail of a sentence, with the place."""
    cause = error.__context__
    if isinstance(cause, json.JSONDecodeError):
        line = f"line {cause.lineno}, " if "\n" in cause.doc else ""
        return f"is not JSON at {line}column {cause.colno}: {cause.msg}"
    return str(error).removeprefix("the body ")


def where_from(arguments: Iterable[str], properties: Mapping[str, JsonSchema]) -> dict[str, Any]:
    """What `key=value` ask `find` for; a key that is given several times means any of its values."""
    from engine.schemas import from_text

    where: dict[str, Any] = {}
    schemas: dict[str, JsonSchema] = {"live": {"type": "boolean"}, **properties}
    for argument in arguments:
        name, sign, text = argument.partition("=")
        if not sign or not name:
            raise click.UsageError(f"{argument!r} is not key=value")
        value = from_text(schemas.get(name, {}), text)
        if isinstance(value, str) and (kind := schemas.get(name, {}).get("type")) in _OTHER_THAN_TEXT:
            raise click.UsageError(f"{name}={text} finds nothing: {name} is {_OTHER_THAN_TEXT[kind]}")
        where.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in where.items()}


_OTHER_THAN_TEXT = {"boolean": "true or false", "integer": "a whole number", "number": "a number"}


def _part(schema: JsonSchema, steps: list[str]) -> JsonSchema:
    """The schema of what `steps` lead to; an empty one where nothing is said of it."""
    for step in steps:
        inner = schema.get("properties", {}).get(step)
        if inner is None and (step.isdigit() or not step):
            inner = schema.get("items")
        if inner is None:
            inner = schema.get("additionalProperties")
        schema = inner if isinstance(inner, Mapping) else {}
    return schema


def _value(path: str, text: str, schema: JsonSchema) -> Any:
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise click.UsageError(f"{path} holds bytes that are no text; write UTF-8, or name a file: {path}=@FILE")
    if text.startswith("@@"):
        text = text[1:]
    elif text.startswith("@"):
        if "base64" in schema.get("properties", {}):
            return _upload(text[1:])
        if schema.get("contentEncoding") == "base64":
            return _base64(text[1:])
        try:
            text = _bytes(text[1:]).decode("utf-8")
        except UnicodeDecodeError:
            remedy = f"bytes are taken where the schema of {path} says contentEncoding: base64"
            raise click.UsageError(f"{path}: {text[1:]} is not UTF-8 text; {remedy}") from None
    return _typed(text, schema)


def _typed(text: str, schema: JsonSchema) -> Any:
    from engine.schemas import Schema, from_text

    branches = schema.get("anyOf") or schema.get("oneOf") or [schema]
    read = [(branch, from_text(branch, text)) for branch in branches]
    fitting = (value for branch, value in read if len(read) == 1 or not Schema(branch).problems(value))
    return next(fitting, text)


def _upload(path: str) -> dict[str, str]:
    kind = mimetypes.guess_type(path)[0] or "application/octet-stream"
    return {"filename": Path(path).name, "content_type": kind, "base64": _base64(path)}


def _base64(path: str) -> str:
    return base64.b64encode(_bytes(path)).decode()


def _bytes(path: str) -> bytes:
    from engine.errors import unreadable

    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise click.UsageError(f"{path} {unreadable(error)}") from None


def _plant(tree: dict[str, Any], path: str, steps: list[str], value: Any) -> None:
    *outer, last = steps
    node = tree
    for step in outer:
        node = node.setdefault(step or f"+{len(node)}", _Branch())
        if not isinstance(node, _Branch):
            raise click.UsageError(f"{path}: {step!r} is a value already, so nothing can stand inside it")
    last = last or f"+{len(node)}"
    if last in node:
        raise click.UsageError(f"{path} is given twice; the items of a list are written {path}[]=VALUE")
    node[last] = value


class _Branch(dict[str, Any]):
    """A nested value under construction: told from an object that was typed as JSON."""


def _lists(tree: Any, schema: JsonSchema, path: str = "") -> Any:
    """`tree` with every branch as an object, or as a list where the schema says or only numbers stand there."""
    if not isinstance(tree, dict):
        return tree
    parts = {key: _lists(part, _part(schema, [key.lstrip("+")]), f"{path}[{key}]") for key, part in tree.items()}
    if not isinstance(tree, _Branch):
        return parts
    numbered = all(key.isdigit() or key.startswith("+") for key in tree)
    if schema.get("type") == "object" or "properties" in schema or not numbered:
        return parts
    at_the_end = [part for key, part in parts.items() if key.startswith("+")]
    numbers = {int(key): part for key, part in parts.items() if key.isdigit()}
    if sorted(numbers) != list(range(len(numbers))):
        said = json.dumps(sorted(numbers))
        raise click.UsageError(f"{path}: the items of a list are numbered from 0 without gaps, not {said}")
    return [numbers[number] for number in sorted(numbers)] + at_the_end


def _over(below: dict[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Objects merge key by key; anything else is replaced."""
    merged = dict(below)
    for key, part in above.items():
        under = merged.get(key)
        merged[key] = _over(under, part) if isinstance(under, dict) and isinstance(part, dict) else part
    return merged
