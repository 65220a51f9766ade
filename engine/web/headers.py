"""What a browser is told to allow: one Content-Security-Policy, made of what the gateways' files name.

Our own pages get these headers as they stand; a host's page with a form in it gets those that it did not set itself.
The 200 of an event has none of them: it holds nothing, and no browser reads it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache

from flask import Flask, Request, Response, g, request

from engine.catalog import Catalog
from engine.core import Engine
from engine.request_types import Gateway
from engine.urls import parts_of
from engine.web.webhooks import ENDPOINT

CONSOLE = "callsheet.console."  # nothing of a gateway is ever loaded there
_UNKEPT = {"Cache-Control": "no-store, private"}  # of all but our own files


def content_security_policy(gateways: Iterable[Gateway], sandbox: str | None = None) -> str:
    """Nothing but our own files and what the gateways need: their scripts, frames, calls and pages to go on to.

    `sandbox` is the address of the one that hosts those pages in the gateways' place.
    """
    named: dict[str, list[str]] = {"script": [], "frame": [], "connect": [], "redirect": []}
    for gateway in gateways:
        for kind, known in named.items():
            known += [one for one in gateway.browser.get(kind, []) if one not in known]
    rules: Mapping[str, list[str]] = {
        "default-src": ["'none'"],
        "script-src": ["'self'", *named["script"]],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],  # pico draws its arrows and ticks as data: images
        "font-src": ["'self'"],
        "frame-src": named["frame"] or ["'none'"],
        "connect-src": ["'self'", *named["connect"]],
        # A form's answer may redirect to a gateway's page, and Chromium holds redirects to this rule too.
        "form-action": ["'self'", *(f"https://{host}" for host in named["redirect"]), *([sandbox] if sandbox else [])],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
    return "; ".join(f"{rule} {' '.join(sources)}" for rule, sources in rules.items())


def note_form() -> None:
    """Note that the page of this request has a form in it."""
    g.callsheet_has_form = True


def protect(app: Flask, engine: Engine) -> Callable[[Response], Response]:
    """Have all that we say, and every page with a form, carry the headers; returns what Flask calls for that."""

    def add(response: Response) -> Response:
        endpoint = request.endpoint or ""
        if endpoint == ENDPOINT and response.status_code == 200:
            return response
        if endpoint.startswith("callsheet."):
            for name, value in of(engine, endpoint).items():
                response.headers[name] = value
        elif g.get("callsheet_has_form"):
            for name, value in of(engine, endpoint).items():
                response.headers.setdefault(name, value)
        return response

    return app.after_request(add)


def of(engine: Engine, endpoint: str) -> Mapping[str, str]:
    """The headers of an answer of ours."""
    if endpoint == "callsheet.static":
        return _said(engine.catalog, engine.settings.sandbox)
    catalog, sandbox = (None, None) if endpoint.startswith(CONSOLE) else (engine.catalog, engine.settings.sandbox)
    return _said(catalog, sandbox) | _UNKEPT


@lru_cache(maxsize=4)
def _said(catalog: Catalog | None, sandbox: str | None) -> dict[str, str]:
    """The headers of a page that may load what the gateways' files name; made once for the files in force."""
    gateways = catalog.gateways.values() if catalog and not sandbox else ()
    return {
        "Content-Security-Policy": content_security_policy(gateways, sandbox),
        "Referrer-Policy": "strict-origin",
        "X-Content-Type-Options": "nosniff",
    }


def comes_from_here(asked: Request) -> bool:
    """Whether a browser says that one of our own pages posts this; a client that is no browser says nothing."""
    origin = asked.headers.get("Origin")
    if origin is None:
        return True
    if origin == "null":  # what a browser writes where a page forbids it to say more
        return asked.headers.get("Sec-Fetch-Site") == "same-origin"
    parts = parts_of(origin)
    return parts is not None and parts.netloc == asked.host
