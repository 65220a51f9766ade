"""GET /callsheet/metrics: the numbers, for a scraper that has the key; where none is set there is no page."""

from __future__ import annotations

import hmac
import logging

from flask import Response, abort, request

from engine.doctor.work import overdue
from engine.errors import StoreError
from engine.observers import METRICS_KEY
from engine.web.current import engine_of

log = logging.getLogger("engine")


def show() -> Response:
    """The view. What the store would say is left out where it is away: the rest is worth the more then."""
    engine = engine_of()
    if engine.metrics is None:
        abort(404)
    proof = f"Bearer {engine.settings.secret(METRICS_KEY)}"
    if not hmac.compare_digest(request.headers.get("Authorization", "").encode(), proof.encode()):
        return Response("not allowed", 401, {"WWW-Authenticate": "Bearer"}, mimetype="text/plain")
    try:
        waiting = {kind: len(rows) for kind, rows in overdue(engine).items()}
    except StoreError as error:
        log.error("metrics without what is overdue: %s", error)
        waiting = {}
    page, media_type = engine.metrics.page(request.headers.get("Accept", ""), waiting)
    return Response(page, content_type=media_type)
