"""What must never be seen: secrets, by their value, in every form that a log, a row or a page could give them.

Hides: the encodings a secret can travel in.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST = 8  # characters; a shorter text stands in too many places by chance


def redacted(text: str, secrets: frozenset[str]) -> str:
    """`text` with every secret masked, whichever way it is written."""
    for form in _all_forms(secrets):
        if form in text:
            text = text.replace(form, MASK)
    return text


def hidden(text: str, values: Sequence[str]) -> str:
    """`text` with every one of `values` masked as a secret; a short one where no letter or digit is next to it."""
    text = redacted(text, frozenset(values))
    for form in (form for value in values if 0 < len(value) < SHORTEST for form in _written(value)):
        text = re.sub(rf"(?:(?<![0-9A-Za-z])|(?<=%[0-9A-Fa-f]{{2}})){re.escape(form)}(?![0-9A-Za-z])", MASK, text)
    return text


def hidden_within(value: Any, values: Sequence[str]) -> Any:
    """A JSON value whose every text and number, keys too, is as `hidden` leaves it."""
    if isinstance(value, Mapping):
        return {hidden(name, values): hidden_within(part, values) for name, part in value.items()}
    if isinstance(value, list):
        return [hidden_within(part, values) for part in value]
    if value is None or isinstance(value, bool):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    shown = hidden(text, values)
    return value if shown == text else shown


@lru_cache(maxsize=256)
def _all_forms(secrets: frozenset[str]) -> tuple[str, ...]:
    """The longest first: one may be a part of another."""
    return tuple(sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True))


def _forms(secret: str) -> frozenset[str]:
    """The ways in which `secret` may be written: plain, escaped, percent-encoded, hexadecimal, in base64."""
    if len(secret) < SHORTEST:
        return frozenset()
    raw = secret.encode("utf-8", "surrogatepass")
    return frozenset({*_written(secret), raw.hex(), raw.hex().upper(), *_in_base64(raw)})


def _written(secret: str) -> set[str]:
    """The ways in which it can still be read."""
    quoted = (quote(secret, safe="", errors="surrogatepass"), quote_plus(secret, errors="surrogatepass"))
    forms = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], *quoted}
    return forms | {json.dumps(form)[1:-1] for form in forms}


def _in_base64(raw: bytes) -> Iterator[str]:
    """What is the same in every base64 text that holds `raw`, for each of the three places it may begin at."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        inner = text[-(-shift * 8 // 6) : len(raw + b"\0" * shift) * 8 // 6]
        if len(inner) >= SHORTEST:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")
