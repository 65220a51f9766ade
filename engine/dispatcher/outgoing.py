"""A request and its credentials made ready for the wire, or refused before anything is sent.

Hides: how text could become another request. A URL means what httpx reads in it, which resolves `..`, re-encodes and
drops parts: so it must survive httpx unchanged, and every header is one line of ASCII that stands there once.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote

import httpx

from engine.dispatcher.outcomes import IN_QUERY, Trouble
from engine.request_types import Request
from engine.values import unchanging

_PORTS = {"https": 443, "http": 80}
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})  # a length of 0 is said, too (RFC 9110, 8.6)
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:(?P<port>[0-9]{1,5}))?(?P<target>/[\x21-\x7e]*)"
)
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # a token of RFC 9110, 5.6.2
_OURS = frozenset(
    "accept-encoding connection content-length expect host keep-alive te trailer transfer-encoding upgrade".split()
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a URL leads: whom to connect to, and what to ask there for, as it stands in a message."""

    scheme: str
    host: str
    port: int
    authority: bytes
    target: bytes


@unchanging
class Message:
    """A request as it goes onto the wire, credentials and all."""

    place: Place
    method: str
    octets: bytes = field(repr=False)


def outgoing(request: Request, credentials: Mapping[str, str]) -> Message:
    """The message that is sent (RFC 9112, 2.1). Raises Trouble("invalid_request"), never with a value or a query."""
    if request.method not in _METHODS:
        raise _invalid(f"does not know the method {request.method[:20]!r}")
    place, seen = _place(request.url), set(_OURS)
    in_query = [pair for pair in credentials.items() if pair[0].startswith(IN_QUERY)]
    target = _with_query(place.target, in_query) if in_query else place.target
    lines = [b"%b %b HTTP/1.1" % (request.method.encode("ascii"), target), b"Host: " + place.authority]
    for name, value in (*request.headers, *(() if in_query else credentials.items())):
        known, begun = _known(name)
        if not (value.isascii() and value.isprintable() and value == value.strip()):
            raise _invalid(f"was given a header {name} with control or non-ASCII characters, or blanks at its ends")
        if known in seen:
            raise _invalid(f"was given a header {name} that stands there twice or is not the sender's to set")
        seen.add(known)
        lines.append(begun + value.encode("ascii"))
    lines.append(b"Accept-Encoding: identity")
    if "user-agent" not in seen:
        lines.append(b"User-Agent: callsheet")
    if request.body or request.method in _WITH_BODY:
        lines.append(b"Content-Length: %d" % len(request.body))
    return Message(place, request.method, b"\r\n".join([*lines, b"", request.body]))


def _with_query(target: bytes, parameters: Sequence[tuple[str, str]]) -> bytes:
    pairs = (f"{quote(name.removeprefix(IN_QUERY), safe='')}={quote(value, safe='')}" for name, value in parameters)
    return target + (b"&" if b"?" in target else b"?") + "&".join(pairs).encode("ascii")


def host_and_port(url: str) -> str:
    """Whom a message is about. Nothing of a URL that is not well formed, for it may hold anything."""
    if not (match := _URL.fullmatch(url)):
        return "the gateway"
    return f"{match['host']}:{match['port'] or _PORTS[match['scheme']]}"


@lru_cache(maxsize=256)
def _place(text: str) -> Place:
    """Where the URL leads, which takes httpx long to read; those that create something are the same every time."""
    match = _URL.fullmatch(text)
    if not match:
        raise _invalid("was given a URL that is not https://host/path in plain ASCII")
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL:
        raise _invalid("was given a URL that cannot be read") from None
    if int(match["port"] or 1) not in range(1, 65536):
        raise _invalid("was given a URL with a port that is none")
    if url.raw_path != match["target"].encode():
        raise _invalid("was given a URL that would change on its way: it has a `.` or `..`, or is not encoded")
    if match["scheme"] == "http" and not _is_loopback(url.host):
        raise _invalid("is not on this machine, and plain http is for this machine only")
    port = url.port or _PORTS[url.scheme]
    return Place(url.scheme, url.raw_host.decode("ascii"), port, url.netloc, url.raw_path)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(maxsize=256)
def _known(name: str) -> tuple[str, bytes]:
    """The name of a header by which it is told from others, and the beginning of its line."""
    if not _NAME.fullmatch(name):
        raise _invalid("was given a header whose name is no token")
    return name.lower(), name.encode("ascii") + b": "


def _invalid(predicate: str) -> Trouble:
    return Trouble("invalid_request", predicate)
