"""A request as a curl command line that sends the same bytes.

Hides: that secrets are named and never shown, `$NAME`, which is also how a shell puts them in.
"""

from __future__ import annotations

import base64
import shlex
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.request_types import Request


def curl(request: Request, auth: Mapping[str, Any]) -> str:
    """A command line for a POSIX shell, with the secrets of its environment."""
    method = ["--head"] if request.method == "HEAD" else ["--request", request.method]
    parts = [["curl", "--globoff", *method, shlex.quote(request.url)]]
    parts += [["--header", shlex.quote(f"{name}: {value}")] for name, value in request.headers]
    if request.body and not any(name.lower() == "content-type" for name, _ in request.headers):
        parts.append(["--header", "'Content-Type:'"])  # else curl adds that of a form
    if "basic" in auth:
        parts.append(["--user", f'"{_pair(auth["basic"])}"'])
    else:
        parts += [["--header", f'"{name}: {value}"'] for name, value in secret_headers(auth)]
    parts += [["--url-query", f'"{name}=${secret}"'] for name, secret in auth.get("query", {}).items()]
    before = ""
    if request.body:
        written = _plain(request.body)
        if written is None:
            before = f"printf %s {base64.b64encode(request.body).decode()} | base64 -d | "
        parts.append(["--data-binary", "@-"] if written is None else ["--data-raw", shlex.quote(written)])
    return before + " \\\n  ".join(" ".join(part) for part in parts)


def secret_headers(auth: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The headers that authenticate a call, each secret as $NAME; a token that is fetched first as $ACCESS_TOKEN."""
    if "bearer" in auth:
        return [("Authorization", f"Bearer ${auth['bearer']}")]
    if "oauth2" in auth:
        return [("Authorization", "Bearer $ACCESS_TOKEN")]
    if "basic" in auth:
        return [("Authorization", f"Basic base64({_pair(auth['basic'])})")]
    return [(name, f"${secret}") for name, secret in auth.get("header", {}).items()]


def secret_url(url: str, auth: Mapping[str, Any]) -> str:
    """`url` with what authenticates a call by its query, each secret as $NAME."""
    added = "&".join(f"{name}=${secret}" for name, secret in auth.get("query", {}).items())
    return f"{url}{'&' if '?' in url else '?'}{added}" if added else url


def _pair(names: list[str]) -> str:
    return ":".join([f"${name}" for name in names] + [""] * (len(names) == 1))


def _plain(raw: bytes) -> str | None:
    """The body where a command line can carry it: text without NUL or other controls."""
    try:
        written = raw.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return written if all(char.isprintable() or char == "\n" for char in written) else None
