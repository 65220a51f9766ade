"""Where a value stands in a body, and where a template says that it stands.

Hides: how the place is read from a template: `{{ response.error.message or … }}` looks at error, message first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

Place = Sequence[str]


def place_in(template: object, name: str) -> list[str] | None:
    """The place below `name` that a template looks at first, or None where it looks at none."""
    found = re.search(rf"\b{name}((?:\.[A-Za-z_]\w*)+)", template) if isinstance(template, str) else None
    return found[1][1:].split(".") if found else None


def header_in(template: object) -> str | None:
    """The name, in lower case, of the header that a template looks at first, or None where it looks at none."""
    known = r"\bheaders(?:\.(\w+)|\[\s*(['\"])(.+?)\2\s*\])"
    found = re.search(known, template) if isinstance(template, str) else None
    return (found[1] or found[3]).lower() if found else None


def constant_in(template: object, name: str) -> tuple[list[str], str] | None:
    """The place below `name` that a template compares with a text, and that text; or None."""
    known = rf"\b{name}((?:\.[A-Za-z_]\w*)+)\s*==\s*(['\"])(.*?)\2"
    found = re.search(known, template) if isinstance(template, str) else None
    return (found[1][1:].split("."), found[3]) if found else None


def at(body: Any, place: Place) -> Any:
    """The value at a place, or None."""
    for name in place:
        body = body.get(name) if isinstance(body, Mapping) else None
    return body


def put(body: Any, place: Place, value: Any) -> dict[str, Any]:
    """`body` with `value` at a place; what does not lead there is made to."""
    whole = dict(body) if isinstance(body, Mapping) else {}
    whole[place[0]] = put(whole.get(place[0]), place[1:], value) if place[1:] else value
    return whole
