"""What can come of sending one request: an answer, or a failure of one of these kinds; and how long it may take.

Hides nothing but the words: every other module of the dispatcher raises `Trouble`, and `Failure` is what leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from engine.values import unchanging

Kind = Literal[
    "invalid_request",  # our own mistake; it would fail again
    "pool_timeout",  # too many requests to this gateway are under way here
    "dns",
    "dns_timeout",
    "connect",
    "connect_timeout",
    "tls",
    "tls_timeout",
    "write",
    "write_timeout",
    "read",
    "read_timeout",
    "closed",  # the connection ended before the answer did
    "protocol",  # the answer is not HTTP/1.1
    "too_large",
    "encoding",  # the answer is compressed, though we asked for none
    "deadline",  # the time for the whole exchange was up
    "unexpected",  # a bug here; the message names its class
    "busy",  # as many calls to this gateway are under way here as its file allows
    "rate_limited",  # all turns before the deadline were others'
    "circuit_open",  # the gateway failed again and again, and is left alone for a while
    "lease_lost",  # the call was waited with for so long that it may be another process's by now
    "no_token",  # the access token that it is sent with could not be had
]

BEFORE_SENDING: frozenset[Kind] = frozenset(
    {"invalid_request", "pool_timeout", "dns", "dns_timeout", "connect", "connect_timeout", "tls", "tls_timeout"}
)
"""The kinds that come while there is no connection yet: not a byte of the request has left."""

IN_QUERY = "?"
"""What the name of a credential begins with that is a parameter of the query, and no header."""

HELD_BACK: frozenset[Kind] = frozenset({"busy", "rate_limited", "circuit_open", "lease_lost", "no_token"})
"""The kinds in which the gateway was not even called: it is this side that waits."""


@unchanging
class Answer:
    """A whole answer, as it came.

    `headers` have lower-case names; those that came several times are joined by ", ". Cookies are not among them.
    `seconds` is how long the exchange took.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Failure:
    """No whole answer came.

    `sent` is False only where it is proven that the request did not reach the gateway. `message` is one sentence for
    a developer that names host and port and holds no secret. `seconds` is how long it took to fail.
    """

    kind: Kind
    sent: bool
    message: str
    seconds: float


class Limits(NamedTuple):
    """Seconds to `connect` (look-up, connection and TLS together), and to `write` and `read` without any progress."""

    connect: float
    write: float
    read: float


class Trouble(Exception):
    """An exchange that cannot go on. `predicate` goes on from the host's name, as in "could not be reached"."""

    def __init__(self, kind: Kind, predicate: str) -> None:
        self.kind: Kind = kind
        super().__init__(predicate)
