"""A request as a person reads it, and as a curl command line that sends the same bytes.

Hides: that secrets are shown by name only, `$NAME`, which is also how a shell puts them in.
"""

from __future__ import annotations

import base64
import json
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import click

from engine.cli import tables

if TYPE_CHECKING:
    from engine.request_types import Request


def secret_headers(auth: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers that authenticate a call, each secret as $NAME."""
    if "bearer" in auth:
        return [("Authorization", f"Bearer ${auth['bearer']}")]
    if "basic" in auth:
        return [("Authorization", f"Basic base64({_pair(auth['basic'])})")]
    return [(name, f"${secret}") for name, secret in auth.get("header", {}).items()]


def shown(request: Request, auth: Mapping[str, Any] | None = None) -> str:
    """Method, URL, headers and the body decoded; `auth` is what the sender adds last."""
    headers = [*request.headers, *secret_headers(auth or {})]
    head = [f"{request.method} {tables.text(request.url)}"]
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
    except ValueError:
        return tables.lines(written)
    return tables.lines(written)


def as_data(request: Request, auth: Mapping[str, Any]) -> dict[str, Any]:
    """The request for programs."""
    headers = [*request.headers, *secret_headers(auth)]
    sent: dict[str, Any] = {"method": request.method, "url": request.url, "headers": dict(headers)}
    try:
        return {**sent, "body": request.body.decode("utf-8")}
    except UnicodeDecodeError:
        return {**sent, "body_base64": base64.b64encode(request.body).decode()}


def curl(request: Request, auth: Mapping[str, Any]) -> str:
    """A command line for a POSIX shell that sends the same bytes, with the secrets of its environment."""
    method = ["--head"] if request.method == "HEAD" else ["--request", request.method]
    parts = [["curl", "--globoff", *method, shlex.quote(request.url)]]
    parts += [["--header", shlex.quote(f"{name}: {value}")] for name, value in request.headers]
    if request.body and not any(name.lower() == "content-type" for name, _ in request.headers):
        parts.append(["--header", "'Content-Type:'"])  # else curl adds that of a form
    if "basic" in auth:
        parts.append(["--user", f'"{_pair(auth["basic"])}"'])
    else:
        parts += [["--header", f'"{name}: {value}"'] for name, value in secret_headers(auth)]
    before = ""
    if request.body:
        written = _plain(request.body)
        if written is None:
            before = f"printf %s {base64.b64encode(request.body).decode()} | base64 -d | "
        parts.append(["--data-binary", "@-"] if written is None else ["--data-raw", shlex.quote(written)])
    return before + " \\\n  ".join(" ".join(part) for part in parts)


def path(request: Request) -> str:
    """Method and URL in one line, without the query."""
    return f"{request.method} {tables.text(urlsplit(request.url)._replace(query='').geturl())}"


def _pair(names: list[str]) -> str:
    return ":".join([f"${name}" for name in names] + [""] * (len(names) == 1))


def _plain(raw: bytes) -> str | None:
    """The body where a command line can carry it: text without NUL or other controls."""
    try:
        written = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return written if all(char.isprintable() or char == "\n" for char in written) else None
