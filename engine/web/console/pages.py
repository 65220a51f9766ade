"""How a view becomes a page: what every template has in reach, and what an error looks like.

Hides: that remote text may hold what no UTF-8 can carry, and that a failure must be a page too.
"""

from __future__ import annotations

from typing import Any

from flask import Response, redirect, render_template, url_for
from werkzeug.exceptions import HTTPException

from engine.errors import Conflict, EngineError, SettingError, StoreError, UnknownNameError
from engine.stories import MEANINGS, born_at
from engine.web.console import gate, shown
from engine.web.current import develops, engine_of

KINDS = {
    "good": {"succeeded", "processed", "done", "paid", "captured", "verified", "active", "enabled", "available"},
    "waits": {"prepared", "sending", "received", "failed", "running", "pending", "authorized", "requires_action"},
    "act": {"unknown", "unmapped", "dead", "quarantined"},
    "no": {"declined", "not_done", "canceled", "disabled", "deleted"},
}
"""What the colour of a state says. A state's name always stands beside it."""


def render(template: str, status: int = 200, **names: Any) -> Response:
    """The page."""
    html = render_template(f"callsheet/console/{template}", **names)
    # What was typed stands on many pages again, and an operator may have typed a secret.
    html = engine_of().settings.redact(html)
    return Response(html.encode("utf-8", "backslashreplace"), status, mimetype="text/html")


def go(path: str) -> Response:
    """On to another page of ours; with 303, so that a reload repeats nothing."""
    response: Response = redirect(path, 303)  # type: ignore[assignment]  # Flask makes one of its own
    return response


def context() -> dict[str, Any]:
    """What every template has in reach."""
    return {
        "person": gate.person_or_nobody(),
        "csrf": gate.csrf,
        "said": gate.said,
        "live": engine_of().settings.live,
        "sandbox": engine_of().settings.sandbox,
        "shop": url_for("callsheet.shop") if develops() else None,
        "own_login": gate.gate().login is None,
        "at": at,
        "kind": kind,
        "meaning": MEANINGS.get,
        "born_at": born_at,
        "value": shown.value,
        "link": link,
    }


def at(instant: str | None) -> str:
    """An instant as people read it: 2026-11-23 07:38:01 UTC."""
    if not instant:
        return ""
    day, _, rest = instant.partition("T")
    return f"{day} {rest[:8]} UTC" if rest else instant


def kind(state: object, type: str = "") -> str:
    """The kind of a state: good, waits, act, no or neutral; `type` is that of a record of the files."""
    if state == "failed" and type not in {"", "event"}:
        return "no"  # an event that failed is tried again, a payment is not
    return next((kind for kind, states in KINDS.items() if state in states), "neutral")


def link(type: str, id: str) -> str:
    """Where a record's page is."""
    places = {"call": ".call", "event": ".event", "replay": ".replay"}
    return url_for(places[type], id=id) if type in places else url_for(".record", type=type, id=id)


def failed(error: Exception) -> Response:
    """The page of what went wrong."""
    if isinstance(error, HTTPException):
        status, text = error.code or 500, str(error.description)
        if error.response is not None:
            response: Response = error.get_response()  # type: ignore[assignment]  # what a host aborted with
            return response
    else:
        kinds = {UnknownNameError: 404, Conflict: 409, StoreError: 503, SettingError: 503}
        status, text = next((code for kind, code in kinds.items() if isinstance(error, kind)), 500), str(error)
    return render("failed.html", status, text=text, status_code=status)


ERRORS = (EngineError, HTTPException)
