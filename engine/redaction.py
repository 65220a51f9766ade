"""What must never be seen: secrets, by their value, in every form that a log, a row or a page could give them.

Hides: the encodings a secret can travel in. A card number is told by its issuer's prefix, its length and check digit.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

from engine.errors import Problem

MASK = "***"
SHORTEST = 8  # characters; a shorter text stands in too many places by chance

_DIGITS = re.compile(r"(?<![0-9])[0-9](?:[ -]?[0-9]){12,18}(?![0-9])")
_ISSUERS = (  # prefixes (ISO/IEC 7812) and the lengths their numbers have
    (re.compile(r"4"), {13, 16, 19}),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), {16}),
    (re.compile(r"3[47]"), {15}),
    (re.compile(r"30[0-5]|309|3[689]"), {14, 16, 19}),
    (re.compile(r"6011|64[4-9]|65|62|81"), {16, 17, 18, 19}),
    (re.compile(r"35(2[89]|[3-8])"), {16, 17, 18, 19}),
    (re.compile(r"5018|5020|5038|5893|6304|6759|676[1-3]"), {13, 14, 15, 16, 17, 18, 19}),
)


def redacted(text: str, secrets: Iterable[str]) -> str:
    """`text` with every secret masked, whichever way it is written."""
    for form in sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True):
        if form in text:
            text = text.replace(form, MASK)
    return text


@lru_cache(maxsize=256)
def _forms(secret: str) -> frozenset[str]:
    """The ways in which `secret` may be written: plain, escaped, percent-encoded, hexadecimal, in base64."""
    if len(secret) < SHORTEST:
        return frozenset()
    raw = secret.encode("utf-8", "surrogatepass")
    forms = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], quote(secret, safe=""), quote_plus(secret)}
    forms |= {json.dumps(form)[1:-1] for form in forms}
    hexadecimal = {raw.hex(), raw.hex().upper()}
    return frozenset(forms | hexadecimal | set(_in_base64(raw)))


def _in_base64(raw: bytes) -> Iterator[str]:
    """What is the same in every base64 text that holds `raw`, for each of the three places it may begin at."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        inner = text[-(-shift * 8 // 6) : len(raw + b"\0" * shift) * 8 // 6]
        if len(inner) >= SHORTEST:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")


def card_numbers(value: Any, pointer: str = "") -> Iterator[Problem]:
    """A problem for every text or number in `value` that holds a card number; never with the number."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from card_numbers(key, pointer)
            yield from card_numbers(part, f"{pointer}/{key}")
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from card_numbers(part, f"{pointer}/{number}")
    elif isinstance(value, str | int) and any(map(_is_card, _DIGITS.findall(str(value)))):
        yield Problem(pointer, "holds what looks like a card number; send a token that the gateway's page made of it")


def _is_card(text: str) -> bool:
    digits = re.sub(r"[ -]", "", text)
    known = any(prefix.match(digits) and len(digits) in lengths for prefix, lengths in _ISSUERS)
    return known and _check_digit_fits(digits)


def _check_digit_fits(digits: str) -> bool:
    """The check of ISO/IEC 7812-1, annex B."""
    total = 0
    for place, digit in enumerate(reversed(digits)):
        doubled = int(digit) * (1 + place % 2)
        total += doubled - 9 if doubled > 9 else doubled
    return total % 10 == 0
