"""Card numbers, recognised so that they are never kept and never sent: wherever one turns up, it is refused.

Hides: how issuers number cards (ISO/IEC 7812). Prefix, length and check digit together take fewer than one in a hundred
random numbers of that length for a card's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from engine.errors import Problem

_DIGITS = re.compile(r"(?<![0-9])[0-9](?:[ .-]?[0-9]){13,18}(?![0-9])")
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


def may_hold_card_number(text: str) -> bool:
    """Whether JSON `text` has as many digits in a row as a card number: if not, nothing in it holds one."""
    return _DIGITS.search(text) is not None


def card_numbers(value: Any, pointer: str = "") -> Iterator[Problem]:
    """A problem for every text, number or key in `value` that holds a card number; never with the number."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from card_numbers(key, pointer)
            yield from card_numbers(part, pointer if holds_card_number(key) else f"{pointer}/{key}")
    elif isinstance(value, list | tuple):
        for number, part in enumerate(value):
            yield from card_numbers(part, f"{pointer}/{number}")
    elif _is_card(value):
        yield Problem(pointer, "holds what looks like a card number; send a token that the gateway's page made of it")


def holds_card_number(value: Any) -> bool:
    """Whether a card number stands anywhere in `value`."""
    return any(True for _ in card_numbers(value))


def _is_card(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, str | int):
        return False
    found = (re.sub("[^0-9]", "", one) for one in _DIGITS.findall(str(value)))
    return any(_ISSUED.fullmatch(digits) and _checks(digits) for digits in found)


def _checks(digits: str) -> bool:
    """The check digit by Luhn's rule."""
    doubled = (int(digit) * (1 + at % 2) for at, digit in enumerate(reversed(digits)))
    return sum(number - 9 * (number > 9) for number in doubled) % 10 == 0
