"""GET /callsheet/: what this host's files make of it, while somebody develops; in production there is no such page."""

from __future__ import annotations

from flask import abort, render_template, url_for

from engine.web.current import console, develops, engine_of


def show() -> str:
    """The view."""
    if not develops():
        abort(404)
    engine = engine_of()
    catalog, faults = engine.catalog, engine.faults
    webhooks = [
        (gateway.name, endpoint, url_for("callsheet.webhooks", gateway=gateway.name, name=endpoint or None))
        for gateway in catalog.gateways.values()
        if gateway.webhook is not None
        for endpoint in ("", *gateway.webhook.get("endpoints", {}))
    ]
    return render_template(
        "callsheet/overview.html", catalog=catalog, faults=faults, webhooks=webhooks, console=console
    )
