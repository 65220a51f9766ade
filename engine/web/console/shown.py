"""A request, an answer and a value as a page shows them.

Hides: that what was sealed is not shown, that no secret is, how a body is read by its Content-Type, that one may be a
megabyte long, and that one may have been purged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from engine.core import Engine
from engine.curl import secret_headers, secret_url
from engine.errors import UnknownNameError
from engine.records import Record
from engine.seals import SEALED, is_sealed, without_seals

LONGEST = 200_000  # characters of a body


@dataclass(frozen=True, slots=True)
class Body:
    """`pairs` of a form, else `text`. `raw` is the body as it stands; `cut`: not all of it."""

    raw: str
    text: str
    pairs: Sequence[tuple[str, str]] = ()
    cut: bool = False


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it was frozen, with the headers that authenticate it, their secrets by name."""

    line: str
    headers: Sequence[tuple[str, str]]
    body: Body


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer as it was kept."""

    status: int
    milliseconds: int
    headers: Sequence[tuple[str, str]]
    body: Body


def request_of(engine: Engine, call: Record) -> Sent:
    """The request of a call."""
    kept = call["request"]
    headers, url = [(name, text) for name, text in kept["headers"]], kept["url"]
    try:
        auth = engine.catalog.request_type(call["request_type"]).auth
        headers, url = [*headers, *secret_headers(auth)], secret_url(url, auth)
    except UnknownNameError:
        headers.append(("Authorization", "of a request type whose file is gone"))
    line = engine.settings.redact(f"{kept['method']} {url}")
    return Sent(line, _masked(engine, headers), _body(engine, call, kept, _content_type(headers)))


def answer_of(engine: Engine, call: Record) -> Answered | None:
    """The answer of a call, None where none came."""
    kept = call.get("answer")
    if not kept:
        return None
    headers = list(kept["headers"].items())
    text = _body(engine, call, kept, _content_type(headers))
    return Answered(kept["status"], round(kept["seconds"] * 1000), _masked(engine, headers), text)


def event_body(engine: Engine, event: Record) -> Body:
    """The body of an event, as it came."""
    return _body(engine, event, event.properties, "application/json")


def _body(engine: Engine, row: Record, kept: Mapping[str, Any], content_type: str) -> Body:
    if row.get("purged"):
        hashed = f"; its SHA-256 was {kept['sha256']}" if kept.get("sha256") else ""
        said = f"(purged at {row['purged']}{hashed})"
        return Body(said, said)
    return body(engine, kept.get("body"), content_type)


def body(engine: Engine, kept: str | None, content_type: str) -> Body:
    """A body that the store keeps as text; None is one that is sealed."""
    if kept is None:
        return Body(SEALED, SEALED)
    whole = engine.settings.redact(kept)
    raw, cut = whole[:LONGEST], len(whole) > LONGEST
    essence = content_type.partition(";")[0].strip().lower()
    if essence == "application/x-www-form-urlencoded":
        return Body(raw, "", parse_qsl(raw, keep_blank_values=True), cut)
    return Body(raw, raw if cut else _indented(raw), (), cut)


def _indented(text: str) -> str:
    try:
        return json.dumps(without_seals(json.loads(text)), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return text


def value(given: Any) -> str:
    """A property as one text: "" where it was never set."""
    if given is None:
        return ""
    if is_sealed(given):
        return SEALED
    return given if isinstance(given, str) else json.dumps(without_seals(given), ensure_ascii=False)


def _content_type(headers: Sequence[tuple[str, str]]) -> str:
    return next((text for name, text in headers if name.lower() == "content-type"), "")


def _masked(engine: Engine, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return [(name, engine.settings.redact(text)) for name, text in headers]
