"""The console's blueprint, below the extension's own."""

from __future__ import annotations

from collections.abc import Callable

from flask import Blueprint, Flask, Response

from engine.errors import SettingError
from engine.seals import SECRET_KEY
from engine.settings import Settings
from engine.web import reference
from engine.web.console import (
    calls,
    events,
    gate,
    overview,
    pages,
    records,
    replays,
    searching,
    signing,
    trying,
    types,
    webhooks,
)
from engine.web.console.accounts import accounts
from engine.web.console.charts import Charts
from engine.web.console.gate import Gate, Login

_View = Callable[..., Response]

_READ: tuple[tuple[str, str, _View], ...] = (
    ("/", "overview", overview.overview),
    ("/badge", "badge", overview.badge),
    ("/search", "search", searching.search),
    ("/calls", "calls", calls.calls),
    ("/calls/<id>", "call", calls.call),
    ("/events", "events", events.events),
    ("/events/<id>", "event", events.event),
    ("/replays", "replays", replays.replays),
    ("/replays/<id>", "replay", replays.replay),
    ("/records", "record_types", records.record_types),
    ("/records/<type>", "records", records.records),
    ("/records/<type>/<id>", "record", records.record),
    ("/types", "request_types", types.request_types),
    ("/types/<gateway>/<name>", "request_type", types.request_type),
    ("/types/<gateway>/<name>/try", "blank", trying.blank),
    ("/webhooks", "webhooks", webhooks.webhooks),
    ("/docs/", "docs", reference.read),
    ("/docs/<path:path>", "docs", reference.read),
)
_ACT: tuple[tuple[str, str, _View], ...] = (
    ("/sign-out", "sign_out", signing.sign_out),
    ("/calls/<id>/<action>", "act", calls.act),
    ("/events/<id>/replay", "replay_event", events.replay),
    ("/replays", "begin", replays.begin),
    ("/replays/<id>/stop", "stop", replays.stop),
    ("/types/<gateway>/<name>/try", "send", trying.send),
    ("/webhooks", "register", webhooks.register),
    ("/webhooks/<gateway>/ask", "ask", webhooks.ask),
    ("/webhooks/<gateway>/<id>/remove", "remove", webhooks.remove),
)


def console(app: Flask, settings: Settings, login: Login | None) -> Blueprint | None:
    """The blueprint, or None where nobody may sign in. Raises SettingError where sessions could not be signed."""
    known = accounts(settings)
    if not known and login is None:
        return None
    if not app.secret_key:
        raise SettingError(SECRET_KEY, "is not set; the console signs its sessions with it")
    app.extensions["callsheet_console"] = Gate(known, login)
    blueprint = Blueprint("console", "engine.web", url_prefix="/console")
    blueprint.before_request(gate.guard)
    blueprint.context_processor(pages.context)
    for kind in pages.ERRORS:
        blueprint.register_error_handler(kind, pages.failed)
    blueprint.add_url_rule("/sign-in", "sign_in", signing.sign_in, methods=["GET", "POST"])
    blueprint.add_url_rule("/charts", "charts", Charts().show)
    for rule, name, view in _READ:
        blueprint.add_url_rule(rule, name, view)
    for rule, name, view in _ACT:
        blueprint.add_url_rule(rule, name, view, methods=["POST"])
    return blueprint
