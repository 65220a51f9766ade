"""A request as a person reads it, and as a program does.

Hides: how a body is decoded to be read.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import click

from engine.cli import tables
from engine.curl import secret_headers, secret_url

if TYPE_CHECKING:
    from engine.request_types import Request


def shown(request: Request, auth: Mapping[str, Any] | None = None) -> str:
    """Method, URL, headers and the body decoded; `auth` is what the sender adds last."""
    headers = [*request.headers, *secret_headers(auth or {})]
    head = [f"{request.method} {tables.text(secret_url(request.url, auth or {}))}"]
    head += [f"{click.style(name, dim=True)}: {tables.text(value)}" for name, value in headers]
    inside = body(request.body, {name.lower(): value for name, value in request.headers}.get("content-type", ""))
    return "\n".join([*head, *(["", inside] if inside else [])])


def body(raw: bytes, content_type: str) -> str:
    """A body as a person reads it: a form's pairs decoded, JSON indented, other text as it is."""
    if not raw:
        return ""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        written = raw.decode("utf-8")
        if kind == "application/x-www-form-urlencoded":
            pairs = parse_qsl(written, keep_blank_values=True)
            return "\n".join(f"{tables.text(name)} = {tables.text(value)}" for name, value in pairs)
        if kind == "application/json" or kind.endswith("+json") or not kind:
            return tables.lines(json.dumps(json.loads(written), indent=2, ensure_ascii=False))
    except UnicodeDecodeError:
        return f"({len(raw)} bytes)"
    except (ValueError, RecursionError):
        return tables.lines(written)
    return tables.lines(written)


def as_data(request: Request, auth: Mapping[str, Any]) -> dict[str, Any]:
    """The request for programs."""
    headers = [*request.headers, *secret_headers(auth)]
    sent: dict[str, Any] = {"method": request.method, "url": secret_url(request.url, auth), "headers": dict(headers)}
    try:
        return {**sent, "body": request.body.decode("utf-8")}
    except UnicodeDecodeError:
        return {**sent, "body_base64": base64.b64encode(request.body).decode()}


def path(request: Request) -> str:
    """Method and URL in one line, without the query."""
    return f"{request.method} {tables.text(urlsplit(request.url)._replace(query='').geturl())}"
