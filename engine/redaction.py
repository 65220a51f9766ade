"""What must never be seen: secrets, by their value, in every form that a log, a row or a page could give them.

Hides: the encodings a secret can travel in.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator
from functools import lru_cache
from urllib.parse import quote, quote_plus

MASK = "***"
SHORTEST = 8  # characters; a shorter text stands in too many places by chance


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
