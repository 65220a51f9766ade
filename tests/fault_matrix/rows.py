"""The table: what happens to an exchange, what the journal calls it, and what the call may be taken for.

A row speaks of two calls: one that is sent for the first time, and one that an earlier attempt left unknown. The latter
may be settled by what comes now, but a proof that this attempt was not carried out says nothing about the earlier one.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from fault_server import Behaviour, Peer, answer, faults, message, odd_bodies, says, then

from . import places
from .places import ELSEWHERE, PORT, Place, at_the_gateway

GOOD = b'{"id": "ch_1", "amount": 500, "description": "a line of text that is long enough to be cut in two"}'
REFUSAL = b'{"error": {"message": "no funds"}}'
MISMATCH = b'{"error": {"message": "the key was used with other parameters", "type": "idempotency_error"}}'
PAGE = b"<!doctype html><title>No</title>"
HTML = "Content-Type: text/html"

KEYED, ONCE, READ = "keyed POST", "POST at most once", "GET"

KEEPS = answer(200, b'{"id": "ch_0", "amount": 1}')
CLOSES = then(KEEPS, Peer.close)
"""What the gateway does with the connection after another request."""

FAULTS = faults(GOOD)
LOST = FAULTS["close before the answer"]
"""What makes a call unknown: it arrives whole, and no answer comes."""

Outcome = tuple[str, str]  # of a first attempt, and of one after an unknown

DONE: Outcome = ("succeeded", "succeeded")
REFUSED: Outcome = ("declined", "declined")
REFUSED_UNREAD: Outcome = ("declined", "unknown")  # before the gateway looked whether it knows the key
NOT_DONE: Outcome = ("not_done", "unknown")
UNKNOWN: Outcome = ("unknown", "unknown")


@dataclass(frozen=True)
class Row:
    """One thing that can happen.

    `kind` is the attempt's class. `arrives`: whether the gateway gets the whole request. `warm` is what the gateway
    does with a request before, on the same connection. `size` is that of the data that is sent along.
    """

    kind: str
    outcome: Outcome
    behave: Behaviour = LOST
    place: Place = at_the_gateway
    arrives: bool = True
    secure: bool = False
    warm: Behaviour | None = None
    size: int = 0
    of: tuple[str, ...] = (READ, KEYED, ONCE)

    @property
    def phase(self) -> str:
        """How far an attempt got."""
        if self.kind in {"ok", "unreadable", "unexpected_shape", "key_mismatch"} or self.kind.startswith("http_"):
            return "answered"
        return "not_sent" if self.outcome is NOT_DONE else "sent"


def _not_sent(kind: str, place: Place, *, secure: bool = False) -> Row:
    return Row(kind, NOT_DONE, place=place, secure=secure, arrives=False)


def _answered(status: int, body: bytes, outcome: Outcome, *headers: str, kind: str = "") -> Row:
    return Row(kind or f"http_{status}", outcome, answer(status, body, *headers))


def _redirect(status: int) -> Row:
    to = f"Location: http://{ELSEWHERE}:{PORT}/"
    return Row(f"http_{status}", UNKNOWN, answer(status, b"{}", to), place=places.with_another_host)


FAILED: Mapping[str, str] = {
    "close before the answer": "closed",
    "reset before the answer": "read",
    "silence": "deadline",
    "close in the headers": "closed",
    "reset in the headers": "read",
    "close in the body": "closed",
    "reset in the body": "read",
    "silence in the body": "deadline",
    "close in a body without a length": "unreadable",
    "close in a chunk": "closed",
    "close between chunks": "closed",
    "a drip of headers": "deadline",
    "a drip of body": "deadline",
    "a drip of chunks": "deadline",
    "a drip of a body without a length": "deadline",
    "a drip of 100-continue": "deadline",
    "no HTTP": "protocol",
    "garbage for a status": "protocol",
    "a header that is none": "protocol",
    "two lengths": "protocol",
    "a length that is none": "protocol",
    "a chunk that is none": "protocol",
    "an unknown transfer encoding": "protocol",
    "a switch of protocols": "protocol",
    "a header of 200 kB": "too_large",
    "10,000 headers": "too_large",
    "headers without end": "too_large",
    "100-continue without end": "too_large",
    "a body of 100 MB": "too_large",
    "chunks without end": "too_large",
    "a chunk's head without end": "too_large",
    "a body without end": "too_large",
    "gzip": "encoding",
    "a gzip bomb": "encoding",
    "gzip in gzip": "encoding",
    "gzip that is none": "encoding",
    "deflate": "encoding",
    "brotli": "encoding",
    "zstd": "encoding",
    "an unknown encoding": "encoding",
    "a refusal to read": "deadline",
    "a reset while it is sent": "read",
}
"""What the faults of the server are called when an engine meets them."""

NEVER_READ = {"a refusal to read", "a reset while it is sent"}
READABLE = {"a lone surrogate", "NUL"}  # JSON, but no id of a charge

ROWS: Mapping[str, Row] = {
    "nobody listens": _not_sent("connect", places.where_nobody_listens),
    "nobody accepts": _not_sent("deadline", places.where_nobody_accepts),
    "no such name": _not_sent("dns", places.without_a_name),
    "a name that is looked for without end": _not_sent("deadline", places.while_the_name_is_looked_for),
    "TLS: self-signed": _not_sent("tls", places.at_one_who_signs_himself, secure=True),
    "TLS: expired": _not_sent("tls", places.at_one_whose_time_is_over, secure=True),
    "TLS: of another host": _not_sent("tls", places.at_one_of_another_name, secure=True),
    "TLS: plain text": _not_sent("tls", places.at_one_without_tls, secure=True),
    "TLS: a stalled handshake": _not_sent("deadline", places.at_one_who_does_not_answer, secure=True),
    "TLS: all is well": Row("ok", DONE, answer(200, GOOD), secure=True),
    "TLS: close before the answer": Row("closed", UNKNOWN, LOST, secure=True),
    "TLS: a stalled write": Row(
        "deadline", UNKNOWN, Peer.wait, arrives=False, secure=True, size=3_000_000, of=(KEYED, ONCE)
    ),
    "a stalled write": Row("deadline", UNKNOWN, Peer.wait, arrives=False, size=3_000_000, of=(KEYED, ONCE)),
    **{name: Row(kind, UNKNOWN, FAULTS[name], arrives=name not in NEVER_READ) for name, kind in FAILED.items()},
    **{
        f"200 with {name}": _answered(200, body, UNKNOWN, kind="unexpected_shape" if name in READABLE else "unreadable")
        for name, body in odd_bodies(GOOD).items()
    },
    "200 as it should be": _answered(200, GOOD, DONE, kind="ok"),
    "100-continue first": Row("ok", DONE, says(b"HTTP/1.1 100 Continue\r\n\r\n" + message(200, GOOD))),
    "200 in another shape": _answered(200, b'{"id": "re_1"}', UNKNOWN, kind="unexpected_shape"),
    "200 with a refusal": _answered(200, REFUSAL, REFUSED),
    "200 called HTML": _answered(200, GOOD, UNKNOWN, HTML, kind="unreadable"),
    "200 called nothing": Row("unreadable", UNKNOWN, says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")),
    "201": _answered(201, GOOD, UNKNOWN),
    "204": Row("http_204", UNKNOWN, says(b"HTTP/1.1 204 No Content\r\n\r\n")),
    **{f"{status} to another host": _redirect(status) for status in (301, 302, 303, 307, 308)},
    **{f"{status} with a refusal": _answered(status, REFUSAL, REFUSED) for status in (400, 402, 404, 422)},
    "400 in another shape": _answered(400, b'{"message": "no"}', UNKNOWN),
    "400 for a key used before": Row("key_mismatch", UNKNOWN, answer(400, MISMATCH), of=(KEYED,)),
    "401 with a refusal": _answered(401, REFUSAL, REFUSED_UNREAD),
    "403 with a refusal": _answered(403, REFUSAL, REFUSED_UNREAD),
    "403 of a firewall": _answered(403, PAGE, UNKNOWN, HTML, kind="unreadable"),
    "404 of a proxy": _answered(404, PAGE, UNKNOWN, HTML, kind="unreadable"),
    "409 with a refusal": _answered(409, REFUSAL, UNKNOWN),
    "429 with a refusal": _answered(429, REFUSAL, NOT_DONE),
    "429 of a proxy": _answered(429, PAGE, NOT_DONE, HTML),
    "500 with a refusal": _answered(500, REFUSAL, UNKNOWN),
    "500 that may be repeated": _answered(500, REFUSAL, UNKNOWN, "X-Should-Retry: true"),
    "500 that may not be repeated": _answered(500, REFUSAL, UNKNOWN, "X-Should-Retry: false"),
    "502 of a proxy": _answered(502, PAGE, UNKNOWN, HTML),
    "503": _answered(503, b"", UNKNOWN, "Retry-After: 120"),
    "504 of a proxy": _answered(504, PAGE, UNKNOWN, HTML),
    "an old connection that was closed": Row("ok", DONE, answer(200, GOOD), warm=CLOSES),
    "an old connection that is closed now": Row("closed", UNKNOWN, LOST, warm=KEEPS),
    "an old connection that is reset now": Row("read", UNKNOWN, FAULTS["reset before the answer"], warm=KEEPS),
}


# Repeats --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Repeats:
    """What happens every time, how often a request is sent for it, and the seconds waited in between."""

    behave: Behaviour
    often: Mapping[str, int]
    waits: tuple[float, ...] = (0.1, 0.1)
    place: Place = at_the_gateway


ALWAYS = {READ: 3, KEYED: 3, ONCE: 3}
WITH_A_KEY = {READ: 3, KEYED: 3, ONCE: 1}
NEVER = {READ: 1, KEYED: 1, ONCE: 1}


def _busy(*headers: str) -> Behaviour:
    return answer(429, REFUSAL, *headers)


REPEATS: Mapping[str, Repeats] = {
    "nobody listens": Repeats(LOST, ALWAYS, place=places.where_nobody_listens),
    "no such name": Repeats(LOST, ALWAYS, place=places.without_a_name),
    "close before the answer": Repeats(LOST, WITH_A_KEY),
    "half a JSON": Repeats(answer(200, GOOD[:20]), WITH_A_KEY),
    "a gzip bomb": Repeats(FAULTS["a gzip bomb"], WITH_A_KEY),
    "a refusal": Repeats(answer(402, REFUSAL), NEVER),
    "a refusal that may be repeated": Repeats(answer(402, REFUSAL, "X-Should-Retry: true"), NEVER),
    "a redirect": Repeats(answer(302, b"{}"), NEVER),
    "403 of a firewall": Repeats(answer(403, PAGE, HTML), WITH_A_KEY),
    "409": Repeats(answer(409, REFUSAL), WITH_A_KEY, (1.0, 1.0)),
    "429": Repeats(_busy(), ALWAYS),
    "429 for some seconds": Repeats(_busy("Retry-After: 7"), ALWAYS, (7.0, 7.0)),
    "429 until some time": Repeats(
        _busy("Date: Thu, 01 Jan 2026 00:00:00 GMT", "Retry-After: Thu, 01 Jan 2026 00:00:09 GMT"), ALWAYS, (9.0, 9.0)
    ),
    "429 until a time that is over": Repeats(
        _busy("Date: Thu, 01 Jan 2026 00:00:00 GMT", "Retry-After: Thu, 01 Jan 1970 00:00:09 GMT"), ALWAYS
    ),
    "429 for less than no time": Repeats(_busy("Retry-After: -5"), ALWAYS),
    "429 for nonsense": Repeats(_busy("Retry-After: soon"), ALWAYS),
    "429 for longer than anybody waits": Repeats(_busy("Retry-After: 3600"), NEVER),
    "429 for years": Repeats(_busy("Retry-After: 99999999999999999999"), ALWAYS),
    "429 that may not be repeated": Repeats(_busy("X-Should-Retry: false"), NEVER),
    "500": Repeats(answer(500, REFUSAL), WITH_A_KEY),
    "500 that may be repeated": Repeats(answer(500, REFUSAL, "X-Should-Retry: true"), WITH_A_KEY),
    "500 that may not be repeated": Repeats(answer(500, REFUSAL, "X-Should-Retry: false"), NEVER),
    "502 of a proxy": Repeats(answer(502, PAGE, HTML), WITH_A_KEY),
    "503 for some seconds": Repeats(answer(503, b"", "Retry-After: 5"), WITH_A_KEY, (5.0, 5.0)),
}


# What is larger than it looks -----------------------------------------------------------------------------------------

UNPACKED = 256 << 20  # bytes


def _zeros(wbits: int) -> bytes:
    packer, piece = zlib.compressobj(1, zlib.DEFLATED, wbits), bytes(1 << 20)
    return b"".join(packer.compress(piece) for _ in range(UNPACKED >> 20)) + packer.flush()


def bombs() -> Mapping[str, Behaviour]:
    """Answers that would take far more memory than they have bytes, or that have bytes without end."""
    packed = _zeros(31)
    endless = [name for name in FAULTS if "without end" in name]
    large = ["a body of 100 MB", "a header of 200 kB", "10,000 headers", "brotli", "zstd"]
    return {
        **{name: FAULTS[name] for name in (*endless, *large)},
        "a gzip bomb": says(message(200, packed, "Content-Encoding: gzip")),
        "a deflate bomb": says(message(200, _zeros(15), "Content-Encoding: deflate")),
        "gzip in gzip": says(message(200, gzip.compress(packed), "Content-Encoding: gzip, gzip")),
        "a gzip bomb that says it is none": says(message(200, packed)),
        "depth 500,000": answer(200, b"[" * 500_000 + b"]" * 500_000),
        "a number of a million digits": answer(200, b"9" * 1_000_000),
    }
