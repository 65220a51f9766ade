"""The app that is being asked: its engine, whether it is somebody's workbench, and the way from it to the console."""

from __future__ import annotations

from flask import Flask, current_app, url_for

from engine.core import Engine


def engine_of(app: Flask | None = None) -> Engine:
    """The engine of `app`, or of the current app."""
    engine: Engine = (app or current_app).extensions["callsheet"]
    return engine


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
