"""A request's body: whole, no larger than allowed, and read before anything else touches it; and its headers.

Hides: that Werkzeug cuts a chunked body off at MAX_CONTENT_LENGTH without a word, and that once `.form` was looked at
the raw bytes are gone. So bodies are read here, from the server's own stream, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from flask import abort
from werkzeug.wsgi import get_content_length

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment


def read_body(environ: WSGIEnvironment, limit: int) -> bytes:
    """The raw body. Ends the request with 411 (no length), 413 (more than `limit` bytes) or 400 (cut off)."""
    length = get_content_length(environ)
    if length is not None:
        if length > limit:
            abort(413)
        body = _read(environ["wsgi.input"], length)
        if len(body) != length:
            abort(400)
        return body
    if not environ.get("wsgi.input_terminated"):
        abort(411)
    body = _read(environ["wsgi.input"], limit + 1)
    if len(body) > limit:
        abort(413)
    return body


def _read(stream: Any, size: int) -> bytes:
    pieces = []
    while size > 0 and (piece := stream.read(size)):
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)


def read_headers(environ: WSGIEnvironment, names: Iterable[str]) -> dict[str, str]:
    """Those of the headers `names` that came; where one came several times, the server has joined its values."""
    return {name: environ[key] for name in names if (key := _key(name)) in environ}


@lru_cache(maxsize=64)
def _key(name: str) -> str:
    return f"HTTP_{name.upper().replace('-', '_')}"
