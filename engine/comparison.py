"""Compare JSON values the way every store does: by one text a value, which sorts by code point as the values sort.

Hides: how numbers of any size and sign, truths and texts (NUL and lone surrogates included) become texts that Python
and every database put in the same order. Values of different kinds are never equal: 1 is not true, nor is it "1".
"""

from __future__ import annotations

import hashlib
import json
import operator
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from engine.errors import DataError, Problem

RANGES: dict[str, Callable[[Any, Any], Any]] = {
    "lt": operator.lt,
    "lte": operator.le,
    "gt": operator.gt,
    "gte": operator.ge,
}

_ESCAPE, _NUMBER, _TRUTH, _OTHER = "\x01", "\x02", "\x03", "\x04"
_UNSAFE = re.compile("[\x00-\x04\ud7ff-\udfff]")  # our marks, and what no database takes as text
_LONGEST = 300  # PostgreSQL refuses an index entry over 2,704 bytes


def same(one: Any, other: Any) -> bool:
    """Whether two values, or what holds them, are kept alike: to Python 1, 1.0 and true are equal, to JSON not."""
    return bool(one == other) and repr(one) == repr(other)


def fits(wanted: Any, value: Any) -> bool:
    """Whether `value` is what `wanted` asks for: a value, a list (any of), or a range ({"lt": bound}, "lte", …).

    A list fits where one of its items does. None asks for what is absent: null, or a list without items.
    """
    if (type(value) is str or value is None) and (wanted is None or type(wanted) is str):
        return bool(wanted == value)  # a text of its own is what most are
    if isinstance(wanted, list | tuple):
        for one in wanted:  # noqa: SIM110 - a generator would take twice as long
            if fits(one, value):
                return True
        return False
    found = list(texts(value))
    if wanted is None:
        return not found
    if isinstance(wanted, Mapping):
        limits = bounds(wanted)
        return any(all(limit is not None and RANGES[sign](text, limit) for sign, limit in limits) for text in found)
    return sortable(wanted) in found


def is_later(one: str, other: str) -> bool:
    """Whether the instant `one` is after `other`, in UTC where it names no zone; other texts are compared as they are.

    Gateways write a whole second without its fraction, and the same clock's hour in summer and in winter.
    """
    if len(one) == len(other) and one.endswith("Z") and other.endswith("Z"):
        return one > other
    try:
        return moment_of(one) > moment_of(other)
    except ValueError:
        return one > other


def moment_of(text: str) -> datetime:
    """An instant in ISO 8601, in UTC where it names no zone, whatever this machine's is. Raises ValueError."""
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def bounds(wanted: Mapping[str, Any]) -> list[tuple[str, str | None]]:
    """The signs of a range and the texts they are compared with (None where nothing can fit)."""
    if not wanted or wanted.keys() - RANGES.keys():
        said = f"a range is made of {', '.join(RANGES)}, not {list(wanted)}"
        raise DataError("the search", [Problem("", said)], "begun")
    return [(sign, None if bound is None else sortable(bound)) for sign, bound in wanted.items()]


def texts(value: Any) -> Iterator[str]:
    """The texts by which `value` is found: of each of its items where it is a list, none for null."""
    for one in value if isinstance(value, list | tuple) else [value]:
        if one is not None:
            yield sortable(one)


def sortable(value: Any) -> str:
    """The text of one value. Of a long one only the beginning counts for its place in the order."""
    # Nearly every value is printable ASCII, and a pattern takes twice as long to see to it.
    if type(value) is str and ((value.isascii() and value.isprintable()) or _UNSAFE.search(value) is None):
        return value if len(value) <= _LONGEST else _shortened(value)
    if isinstance(value, bool):
        return f"{_TRUTH}{value:d}"
    if isinstance(value, int | float):
        return _shortened(_NUMBER + _number(Decimal(str(value))))
    if not isinstance(value, str):
        return _shortened(_OTHER + json.dumps(value, ensure_ascii=True, sort_keys=True))
    return _shortened(_UNSAFE.sub(_escaped, value))


def _escaped(match: re.Match[str]) -> str:
    """A mark becomes two characters that stand where it stood in the order; a sane text stays as it is."""
    code = ord(match[0])
    return _ESCAPE + chr(code + 1) if code <= ord(_OTHER) else "\ud7ff" + chr(code - 0xD7FF + 1)


def _shortened(text: str) -> str:
    return text if len(text) <= _LONGEST else text[:_LONGEST] + hashlib.sha256(text.encode()).hexdigest()


def _number(value: Decimal) -> str:
    """Sign, place of the first digit, digits: so 9 < 10, and 1 = 1.0. Below zero all of it is turned round."""
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    if not isinstance(exponent, int):
        raise DataError("the search", [Problem("", f"{value} is not a number of JSON")], "begun")
    if not text:
        return "1"
    place = f"{len(text) + exponent + 5000:04d}"
    if not sign:
        return f"2{place}{text.rstrip('0')}"
    return f"0{(place + text.rstrip('0')).translate(_NINES)}~"


_NINES = str.maketrans("0123456789", "9876543210")
