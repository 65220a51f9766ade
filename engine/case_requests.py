"""A request as a case tells it, beside the one that is sent: where they differ.

Hides: how each kind of body is compared. A form's pairs and a multipart body's parts are compared decoded, JSON by its
values, every other body as the text that it is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from engine import bodies
from engine.curl import secret_headers
from engine.request_types import Request, RequestType

_Compared = tuple[str, Any, Any]
"""What is compared, what the case tells of it, what is sent."""


def differences(told: Mapping[str, Any], request: Request, type: RequestType) -> Iterator[str]:
    """In what `request`, which is one of `type`, differs from what a case tells, a sentence each."""
    headers, proofs = {name.lower(): value for name, value in request.headers}, _proofs(type.auth)
    wanted, sent = urlsplit(told["url"]), urlsplit(request.url)
    compared: list[_Compared] = [
        ("method", told["method"], request.method),
        ("url", wanted._replace(query="").geturl(), sent._replace(query="").geturl()),
        ("query", form_pairs(told.get("query", wanted.query)), form_pairs(sent.query)),
        *((f"header {name}", value, headers.get(name.lower())) for name, value in told.get("headers", {}).items()),
        *_body(told, request, headers.get("content-type", ""), type.lists),
    ]
    for part, one, other in compared:
        if other is None and part.lower() in proofs:
            yield f"sends: {part}: secrets are added last, and are no part of a case; leave it out"
        elif one != other:
            yield f"sends: {part}: {one!r}, but it was {other!r}"


def _proofs(auth: Mapping[str, Any]) -> set[str]:
    """The headers, in lower case, that the sender makes of secrets."""
    return {f"header {name.lower()}" for name, _ in secret_headers(auth)}


def _body(told: Mapping[str, Any], request: Request, content_type: str, lists: bodies.Lists) -> Iterator[_Compared]:
    kind, wanted, raw = bodies.media_type(content_type), told.get("body"), request.body
    if not raw:
        yield "body", None if wanted in ("", {}) else wanted, None
    elif kind == bodies.MULTIPART:
        yield from _parts(wanted, raw, content_type, lists)
    elif "body" not in told:
        yield "body", None, raw.decode()
    elif kind == bodies.FORM:
        yield "body", form_pairs(wanted or ""), form_pairs(raw.decode())
    elif bodies.is_json(kind):
        sent = json.loads(raw)
        yield "body", wanted if wanted == sent else _json(wanted), sent
    else:
        yield "body", wanted, raw.decode()


def _json(told: Any) -> Any:
    """What a case tells of a JSON body, which may be its text."""
    try:
        return json.loads(told) if isinstance(told, str) else told
    except ValueError:
        return told


def _parts(told: Any, raw: bytes, content_type: str, lists: bodies.Lists) -> Iterator[_Compared]:
    """The parts, name by name. What is told goes the way of what is sent: it is encoded, and read back."""
    sent: Any = raw
    boundary = content_type.partition("boundary=")[2]
    try:
        sent = _by_name(raw, content_type)
        wanted = _by_name(*bodies.encode({} if told is None else told, content_type, boundary, lists))
    except (ValueError, TypeError) as error:
        yield f"body: {error}", told, sent
        return
    for name in wanted | sent:
        yield f"body {name}", wanted.get(name), sent.get(name)


def _by_name(raw: bytes, content_type: str) -> dict[str, Any]:
    """The value of each part, or the values where several have one name."""
    found: dict[str, list[Any]] = {}
    for name, value in bodies.read_parts(raw, content_type):
        found.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in found.items()}


def form_pairs(form: Any) -> dict[tuple[str, str], int]:
    """The pairs of a form, told as text or as a mapping whose keys are written as they are sent or nested."""
    pairs = parse_qsl(form.strip(), keep_blank_values=True) if isinstance(form, str) else list(_flat("", form))
    return dict(Counter(pairs))


def _flat(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping | list):
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _flat(f"{name}[{key}]" if name else str(key), part)
    else:
        text = "" if value is None else str(value)
        yield name, text.lower() if isinstance(value, bool) else text
