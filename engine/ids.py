"""Ids of records, calls and events: sorting by id is sorting by age. And digests, short enough to be a key.

Hides: how an id holds its time (UUIDv7, RFC 9562), and that a millisecond is long; how bytes become letters.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from datetime import datetime

_LAST = [0, 0]
_LAST_LOCK = threading.Lock()


def new_id() -> str:
    """A UUIDv7 (RFC 9562): milliseconds, then a counter within one, so ids of one process sort by age."""
    drawn = int.from_bytes(os.urandom(10), "big")  # before the lock: other threads run meanwhile, and would wait for it
    with _LAST_LOCK:
        now = time.time_ns() // 1_000_000
        if now > _LAST[0]:
            _LAST[:] = [now, drawn & 0x7FF]
        else:
            _LAST[1] += 1
            if _LAST[1] > 0xFFF:
                _LAST[:] = [_LAST[0] + 1, 0]
        millis, counter = _LAST
    number = millis << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | drawn >> 18
    text = f"{number:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


def first_id(moment: datetime) -> str:
    """An id before all that were made at `moment` or later."""
    digits = f"{max(0, int(moment.timestamp() * 1000)):012x}"
    return f"{digits[:8]}-{digits[8:]}"


_LETTERS = bytes.maketrans(bytes(range(32)), b"abcdefghijklmnopqrstuvwxyz234567")  # RFC 4648, 6
_APART = [
    (low := sum((1 << 5 * size) - 1 << 16 * size * place for place in range(32 // size)), low << 5 * size, 3 * size)
    for size in (32, 16, 8, 4, 2, 1)
]
"""What moves 64 numbers of five bits each into bytes of their own: their halves apart, then the halves of these, …"""


def short_digest(text: str) -> str:
    """What tells `text` from any other: 52 letters and few digits (base32), so it never looks like a card number."""
    number = int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() + bytes(8), "big")
    for low, high, shift in _APART:
        number = number & low | (number & high) << shift
    return number.to_bytes(64, "big").translate(_LETTERS)[:52].decode()
