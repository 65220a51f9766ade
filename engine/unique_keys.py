"""The text of a unique key, which no other record of any type may have.

Hides: that it holds the type and the scope as well, that a long one is its digest, that 1 and 1.0 are one number, as
searches and JSON Schema have it, and that a text is made once for all who ask in a row, as several changes do that name
one record.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.records import Scope

_LONGEST = 200


def key_text(type: str, key: tuple[str, ...], within: tuple[str, ...], scope: Scope, values: Sequence[Any]) -> str:
    """The JSON list of all that makes a unique key, or its digest where it is long."""
    begun = _begun(type, key, within, scope)
    if len(values) == 1 and isinstance(values[0], str):
        return _of_one(begun, values[0])
    return _ended(",".join([begun, *map(_part, values)]))


@lru_cache(maxsize=1000)
def _begun(type: str, key: tuple[str, ...], within: tuple[str, ...], scope: Scope) -> str:
    """The text without the values and the end."""
    return _json([type, ",".join(key), *(getattr(scope, name) for name in within)])[:-1]


@lru_cache(maxsize=1000)
def _of_one(begun: str, value: str) -> str:
    """The text of a key that is one text, as most are."""
    return _ended(f"{begun},{_json(value)}")


def _part(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(Decimal(str(value)))  # by its digits, so that 1e23 is the number that it is written as
    return _json(value)


def _ended(text: str) -> str:
    text += "]"
    return text if len(text) <= _LONGEST else hashlib.sha256(text.encode()).hexdigest()


_json = json.JSONEncoder(separators=(",", ":")).encode
