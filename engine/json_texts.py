"""JSON texts as they are read here: no key twice, no constant that JSON does not have, one value after the other.

Hides: what of Python's reader is looser than the standard (RFC 8259).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any


def iter_documents(text: str) -> Iterator[Any]:
    """The JSON values that stand one after the other in `text`. Raises ValueError where one is broken."""
    position = 0
    while True:
        position = _BLANKS.match(text, position).end()  # type: ignore[union-attr]  # it matches nothing, too
        if position == len(text):
            return
        value, position = STRICT.raw_decode(text, position)
        yield value


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
STRICT = json.JSONDecoder(object_pairs_hook=unique_pairs, parse_constant=no_constant)
