"""JSON texts as they are read here: no key twice, no constant that JSON does not have, one value after the other.

Hides: what of Python's reader is looser than the standard (RFC 8259).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

MAX_DEPTH = 64
"""How deep what comes from outside may be nested: some readers and writers of JSON end somewhere, none before this."""


def iter_documents(text: str) -> Iterator[Any]:
    """The JSON values that stand one after the other in `text`. Raises ValueError where one is broken."""
    position = 0
    while True:
        position = _BLANKS.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing, too
        if position == len(text):
            return
        value, position = next_value(text, position)
        yield value


def next_value(text: str, position: int = 0) -> tuple[Any, int]:
    """The JSON value that begins at `position`, and where it ends. Raises ValueError where it is broken."""
    try:
        return _STRICT.raw_decode(text, position)
    except RecursionError:
        raise ValueError("it is nested too deep") from None


def is_too_deep(text: str, value: Any) -> bool:
    """Whether `value`, whose JSON is `text`, is nested deeper than MAX_DEPTH."""
    return text.count("{") + text.count("[") > MAX_DEPTH and _depth(value) > MAX_DEPTH


def _depth(value: Any) -> int:
    depth, level = 0, [value]
    while level and depth <= MAX_DEPTH:
        depth += 1
        level = [
            part
            for outer in level
            if isinstance(outer, dict | list | tuple)
            for part in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return depth


def unique_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For `json`: an object that says the same key twice is refused, for no reader agrees which one counts."""
    result = dict(pairs)
    if len(result) != len(pairs):
        raise ValueError("an object has the same key twice")
    return result


def no_constant(name: str) -> Any:
    """For `json`: NaN and Infinity are Python's."""
    raise ValueError(f"{name} is not JSON")


_BLANKS = re.compile(r"[ \t\r\n]*")
_STRICT = json.JSONDecoder(object_pairs_hook=unique_pairs, parse_constant=no_constant)
