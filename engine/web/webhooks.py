"""POST /callsheet/webhooks/<gateway>[/<endpoint>]: where gateways send their events.

200 is said once the event is durable; a worker processes it then. It says no more, for gunicorn would write that apart
from the headers. 400 says nothing about why; the log does. 503 is for what is wrong on our side, so that the gateway
sends the event again.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from flask import Response, request
from werkzeug.datastructures import Headers

from engine.core import Engine
from engine.errors import SettingError, SignatureError, StoreError, UnknownNameError
from engine.web.current import engine_of
from engine.web.intake import read_body, read_headers

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIEnvironment

LIMIT = 512 * 1024  # bytes of an event
ENDPOINT = "callsheet.webhooks"
TAKEN, REFUSED = "callsheet.taken", "callsheet.refused"  # of a request: the names of where its event is kept; the error

log = logging.getLogger("engine")


def post(gateway: str, name: str = "") -> Response:
    """The view."""
    try:
        take(engine_of(), request.environ, gateway, name)
    except UnknownNameError:
        return _said("not found", 404)
    except SignatureError as error:
        log.warning("a webhook of %s was refused: %s", gateway, error.reason)
        return _said("not accepted", 400)
    except (SettingError, StoreError) as error:
        log.error("a webhook of %s could not be taken: %s", gateway, error)
        return _said("try again later", 503)
    return _Said("")


def take(engine: Engine, environ: WSGIEnvironment, gateway: str, name: str) -> None:
    """Keep the event that a request brings. Raises what keeps it from that."""
    if REFUSED in environ:
        raise environ.pop(REFUSED)
    body = read_body(environ, LIMIT)
    headers = read_headers(environ, engine.catalog.gateway(gateway).webhook_headers)
    engine.accept(gateway, headers, body, endpoint=name)
    environ[TAKEN] = gateway, name


class _Said(Response):
    """A short text or none, whose headers are right as they stand."""

    default_mimetype = None

    def get_wsgi_headers(self, environ: WSGIEnvironment) -> Headers:
        """They themselves: a copy with everything corrected would take twice as long as finding the route."""
        del environ
        return self.headers


def _said(text: str, status: int) -> Response:
    return _Said(text, status, mimetype="text/plain")
