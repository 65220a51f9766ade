"""Card numbers, recognised so that they are never kept and never sent: wherever one turns up, it is refused.

Where one comes from a gateway and cannot be refused, it is masked.

Hides: how issuers number cards (ISO/IEC 7812). Prefix, length and check digit together take fewer than one in a hundred
random numbers of that length for a card's; and that a UUID holds none, nor does a long hexadecimal number: one in some
ten thousand ids looks so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from engine.errors import Problem
from engine.pointers import pointer_to
from engine.redaction import MASK

_RUN = re.compile("[0-9][0-9 .-]{12,}[0-9]")
_GROUP = re.compile("[0-9]+")
_ID = re.compile(
    r"""
    (?<![0-9A-Za-z\\])  # a letter after a backslash is an escape's
    (?: [0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}  # RFC 9562, 4
      | (?=[0-9]*[A-Fa-f])[0-9A-Fa-f]{24,} )
    (?![0-9A-Za-z])
    """,
    re.VERBOSE,
)
_ISSUED = re.compile(
    r"""
      4[0-9]{15}(?:[0-9]{3})?  # those of 13 digits are long gone, and telephone numbers look like them
    | (?:5[1-5][0-9]{2}|222[1-9]|22[3-9][0-9]|2[3-6][0-9]{2}|27[01][0-9]|2720)[0-9]{12}
    | 3[47][0-9]{13}
    | (?:6011|64[4-9][0-9]|65[0-9]{2}|62[0-9]{2}|35(?:2[89]|[3-8][0-9]))[0-9]{12,15}
    | 3(?:0[0-5]|[689][0-9])[0-9]{11,16}
    """,
    re.VERBOSE,
)


_KINDS = bytes(ord("0" if chr(byte).isascii() and chr(byte).isdigit() else "x") for byte in range(256))
_SHORTEST, _LONGEST = 14, 19  # digits
_ROW = b"0" * _SHORTEST
_PRINTED = range(3, 7)  # digits of one of the groups that a number is printed in


def may_hold_card_number(text: str) -> bool:
    """Whether a card number may stand in the JSON `text`: if not, nothing in it holds one."""
    # The first look is much faster than a pattern, and every answer is looked at. An escape may be a part of a number.
    if _ROW not in text.encode("utf-8", "surrogatepass").translate(_KINDS, b" .-"):
        return False
    return "\\u" in text or any(True for _ in _found(text))


def card_numbers(value: Any, pointer: str = "") -> Iterator[Problem]:
    """A problem for every text, number or key in `value` that holds a card number; never with the number."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from card_numbers(key, pointer)
            yield from card_numbers(part, pointer if holds_card_number(key) else f"{pointer}{pointer_to([key])}")
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from card_numbers(part, f"{pointer}/{number}")
    elif _is_card(value):
        yield Problem(pointer, "holds what looks like a card number; send a token that the gateway's page made of it")


def without_card_numbers(value: Any) -> Any:
    """A text, or a JSON value, with every card number in its texts masked.

    A number stays, and so does a text of nothing but digits: both may be ids, which must be told apart.
    """
    if isinstance(value, Mapping):
        return {without_card_numbers(key): without_card_numbers(part) for key, part in value.items()}
    if isinstance(value, list):
        return [without_card_numbers(part) for part in value]
    return _masked(value) if isinstance(value, str) and not value.isdigit() else value


def holds_card_number(value: Any) -> bool:
    """Whether a card number stands anywhere in `value`."""
    return any(True for _ in card_numbers(value))


def _is_card(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    return any(True for _ in _found(str(value)))


def _masked(text: str) -> str:
    shown, end = "", 0
    for start, stop in _found(text):
        shown += text[end:start] + MASK
        end = stop
    return shown + text[end:] if end else text


def _found(text: str) -> Iterator[tuple[int, int]]:
    """Where the card numbers in `text` begin and end, from left to right."""
    if any(True for _ in _looking_so(text)):
        yield from _looking_so(_ID.sub(_crossed_out, text))


def _looking_so(text: str) -> Iterator[tuple[int, int]]:
    for run in _RUN.finditer(text):
        groups = [group.span() for group in _GROUP.finditer(text, *run.span())]
        if _is_number_of_card(run[0]):
            yield run.span()
            continue
        end = 0
        for first, (start, _) in enumerate(groups):
            stop = _printed_from(text, groups[first : first + _LONGEST]) if start >= end else None
            if stop is not None:
                yield start, stop
                end = stop


def _crossed_out(id: re.Match[str]) -> str:
    return "x" * len(id[0])


def _printed_from(text: str, groups: Sequence[tuple[int, int]]) -> int | None:
    """Where the card number that begins with the first of these groups of digits ends; None where there is none.

    A date or a telephone number may stand beside it, so it is one group, or several as they are printed on cards.
    """
    digits = ""
    for start, stop in groups:
        digits += text[start:stop]
        if _SHORTEST <= len(digits) <= _LONGEST and _is_number_of_card(digits):
            return stop
        if stop - start not in _PRINTED:
            return None
    return None


def _is_number_of_card(written: str) -> bool:
    digits = re.sub("[^0-9]", "", written)
    return _ISSUED.fullmatch(digits) is not None and _checks(digits)


def _checks(digits: str) -> bool:
    """The check digit by Luhn's rule."""
    doubled = (int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits)))
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0
