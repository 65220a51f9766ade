"""A part of the data by the name that a form file gives it: `email`, `individual.dob.day`.

Hides: that the data is a tree. A property whose own name has a dot in it is that property.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from engine.confined import ABSENT

Path = tuple[str, ...]


def path_of(properties: Mapping[str, Any], name: str) -> Path:
    """Where the part of that name stands."""
    return (name,) if name in properties else tuple(name.split("."))


def schema_at(properties: Mapping[str, Any], path: Path) -> Mapping[str, Any] | None:
    """The schema of the part, given those of the data's properties; None where none is declared."""
    known: Mapping[str, Any] = {"properties": properties}
    for name in path:
        inner = known.get("properties", {})
        if name not in inner:
            return None
        known = inner[name]
    return known


def is_required(document: Mapping[str, Any], path: Path) -> bool:
    """Whether data without the part never fits the schema `document`."""
    known = document
    for name in path:
        if name not in known.get("required", ()):
            return False
        known = known.get("properties", {}).get(name, {})
    return True


def nested(path: Path, rules: Mapping[str, Any]) -> dict[str, Any]:
    """The schema of the data in which `rules` hold for the part."""
    made = dict(rules)
    for name in reversed(path):
        made = {"properties": {name: made}}
    return made


def at(data: Any, path: Path) -> Any:
    """The part of `data`, or ABSENT."""
    for name in path:
        if not isinstance(data, Mapping) or name not in data:
            return ABSENT
        data = data[name]
    return data


def put(data: Mapping[str, Any], path: Path, value: Any) -> dict[str, Any]:
    """`data` with the part."""
    first, *rest = path
    inner = data.get(first)
    below = inner if isinstance(inner, Mapping) else {}
    return {**data, first: put(below, tuple(rest), value) if rest else value}


def overlaid(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Both; where they meet, `above`."""
    made = dict(below)
    for name, value in above.items():
        under = below.get(name)
        both = isinstance(under, Mapping) and isinstance(value, Mapping)
        made[name] = overlaid(under, value) if both else value  # type: ignore[arg-type]  # looked at just now
    return made


def overlaps(path: Path, others: Iterable[Path]) -> bool:
    """Whether one of the others is the part, is around it, or stands in it."""
    return any(path[: len(other)] == other[: len(path)] for other in others)


def _read_only(schema: Mapping[str, Any], value: Any, path: Path) -> Iterator[Path]:
    """Where in `value` a part stands that only a page may give."""
    if schema.get("readOnly") is True:
        yield path
    elif isinstance(value, Mapping):
        for name, part in value.items():
            yield from _read_only(schema.get("properties", {}).get(name, {}), part, (*path, name))
    elif isinstance(value, list) and isinstance(schema.get("items"), Mapping):
        for number, part in enumerate(value):
            yield from _read_only(schema["items"], part, (*path, str(number)))


def chosen(
    data: Mapping[str, Any], offered: Iterable[Path], properties: Mapping[str, Any]
) -> tuple[dict[str, Any], list[Path]]:
    """Of `data` what stands at the `offered` parts; and where it has something else, or what is `readOnly`."""
    known, found, strange = set(offered), dict[str, Any](), list[Path]()

    def look(value: Mapping[str, Any], before: Path) -> None:
        nonlocal found
        for name, part in value.items():
            path = (*before, name)
            if path in known:
                found = put(found, path, part)
                strange.extend(_read_only(schema_at(properties, path) or {}, part, path))
            elif isinstance(part, Mapping) and part and overlaps(path, known):
                look(part, path)
            else:
                strange.append(path)

    look(data, ())
    return found, strange
