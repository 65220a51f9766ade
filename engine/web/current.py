"""The app that is being asked: its engine, the page, whether it is somebody's workbench, the way to the console.

Hides: that WSGI hands on a path as text, and only where the app is mounted in another place a part of it.
"""

from __future__ import annotations

from urllib.parse import quote

from flask import Flask, current_app, request, url_for

from engine.core import Engine
from engine.urls import IN_PATH

_IN_QUERY = f"{IN_PATH}?%[]"  # what may stand in a query, which nobody has decoded yet


def engine_of(app: Flask | None = None) -> Engine:
    """The engine of `app`, or of the current app."""
    engine: Engine = (app or current_app).extensions["callsheet"]
    return engine


def page() -> str:
    """The page that is asked for, from this host's root, written as a browser writes it in an address."""
    path, query = quote(request.script_root + request.path, safe=IN_PATH), request.query_string
    return f"{path}?{quote(query, safe=_IN_QUERY)}" if query else path


def develops() -> bool:
    """Whether somebody develops here: in Flask's debug mode or with a sandbox, and never with live money."""
    settings = engine_of().settings
    return not settings.live and (current_app.debug or settings.sandbox is not None)


def console(type: str = "", id: str = "") -> str | None:
    """Where the console shows a record or a call, or its first page; None for visitors, and where there is none."""
    if not develops() or "callsheet.console.overview" not in current_app.view_functions:
        return None
    if type == "call":
        return url_for("callsheet.console.call", id=id)
    return url_for("callsheet.console.record", type=type, id=id) if type else url_for("callsheet.console.overview")
