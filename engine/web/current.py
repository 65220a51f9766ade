"""The app that is being asked: its engine, and whether it is somebody's workbench."""

from __future__ import annotations

from flask import Flask, current_app

from engine.core import Engine


def engine_of(app: Flask | None = None) -> Engine:
    """The engine of `app`, or of the current app."""
    engine: Engine = (app or current_app).extensions["callsheet"]
    return engine


def develops() -> bool:
    """Whether somebody develops here: in Flask's debug mode or with a sandbox, and never with live money."""
    settings = engine_of().settings
    return not settings.live and (current_app.debug or settings.sandbox is not None)
