"""The engine of the app that is being asked."""

from __future__ import annotations

from flask import Flask, current_app

from engine.core import Engine


def engine_of(app: Flask | None = None) -> Engine:
    """The engine of `app`, or of the current app."""
    engine: Engine = (app or current_app).extensions["callsheet"]
    return engine
