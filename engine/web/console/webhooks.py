"""Webhook endpoints at the gateways: which there are, registering one, removing one.

Hides: that nothing asks a gateway but a person who presses a button.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import partial

from flask import Response, url_for

from engine import endpoints
from engine.core import Engine
from engine.errors import EngineError
from engine.web.console import gate
from engine.web.console.pages import go, render
from engine.web.console.trying import operation_of
from engine.web.current import engine_of

MOST = 100  # endpoints of a gateway


def webhooks() -> Response:
    """What is known of them here."""
    return _page(engine_of(), {})


def ask(gateway: str) -> Response:
    """Ask a gateway which it has."""
    engine = engine_of()
    try:
        known = {record.id: there for record, there in endpoints.endpoints(engine, gateway)}
    except EngineError as error:
        gate.say(str(error), bad=True)
        known = {}
    return _page(engine, known)


def register() -> Response:
    """Have a gateway send its events to an address."""
    asked = gate.fields()
    name, _, endpoint = asked.get("endpoint", "").partition("/")
    operation = operation_of(asked.get("operation", ""))
    try:
        done = endpoints.register(engine_of(), name, asked.get("url", "").strip(), endpoint, operation=operation)
    except EngineError as error:
        gate.say(str(error), bad=True)
    else:
        gate.say(f"{done.record['gateway_id']} {'is registered' if done.made else 'was registered already'}.")
    return go(url_for(".webhooks"))


def remove(gateway: str, id: str) -> Response:
    """Have a gateway send no more events to one."""
    operation = operation_of(gate.fields().get("operation", ""))
    try:
        gate.say(f"{endpoints.remove(engine_of(), gateway, id, operation=operation)} is removed at {gateway}.")
    except EngineError as error:
        gate.say(str(error), bad=True)
    return go(url_for(".webhooks"))


def _page(engine: Engine, known: Mapping[str, bool]) -> Response:
    gateways, live = endpoints.gateways(engine), engine.settings.live
    kept = endpoints.RECORD in engine.catalog.record_types
    found = {
        name: engine.find(endpoints.RECORD, gateway=name, live=live, limit=MOST) if kept else [] for name in gateways
    }
    addresses = {
        f"{name}/{endpoint}": url_for("callsheet.webhooks", gateway=name, name=endpoint or None, _external=True)
        for name in gateways
        for endpoint in ("", *(engine.catalog.gateways[name].webhook or {}).get("endpoints", {}))
    }
    return render(
        "webhooks.html",
        found=found,
        known=known,
        addresses=addresses,
        operation=secrets.token_urlsafe(18),
        fits=partial(endpoints.fits, engine),
        unsent=partial(endpoints.unsent, engine),
    )
