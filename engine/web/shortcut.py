"""A webhook's way past Flask, which takes half as long to let an event through as the engine to verify and keep it.

Where an event was answered 200, later ones to the same address go to the engine at once, if the host has nothing done
at a request: no function before or after it, no receiver of a signal, no class or view of its own in Flask's place, no
store or observer of its own in the engine. What cannot be answered 200, Flask answers.

Hides: what a host can have done at a request.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from flask import Flask, Request, signals

from engine.core import Engine
from engine.web.sessions import Cookies
from engine.web.webhooks import ENDPOINT, REFUSED, TAKEN, post, take

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_MOST = 64  # addresses; whoever has one signed event could send it under any host name

_EMPTY = {"Content-Length": "0"}
_SIGNALS = (
    signals.appcontext_pushed,
    signals.request_started,
    signals.request_finished,
    signals.request_tearing_down,
    signals.appcontext_tearing_down,
    signals.appcontext_popped,
)
_RECEIVERS = attrgetter("receivers")


def shorten(app: Flask, engine: Engine, ours: Collection[Callable[..., Any]]) -> None:
    """Let events take the short way; `ours` are the functions of the extension that Flask calls at every request."""
    if type(app) is Flask and "wsgi_app" not in vars(app) and engine.is_self_contained:
        app.wsgi_app = _Shortcut(app, engine, ours)  # type: ignore[method-assign]  # as Flask's documents say


def _is_plain(environ: WSGIEnvironment) -> bool:
    return environ["REQUEST_METHOD"] == "POST" and "HTTP_COOKIE" not in environ  # a session's may be sent anew


class _Shortcut:
    """A WSGI application around Flask's own."""

    def __init__(self, app: Flask, engine: Engine, ours: Collection[Callable[..., Any]]) -> None:
        self._app, self._engine, self._ours = app, engine, ours
        self._flask = app.wsgi_app
        self._known: dict[tuple[str, str], tuple[str, str]] = {}

    def __call__(self, environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        address = environ.get("HTTP_HOST", ""), environ.get("PATH_INFO", "")
        names = self._known.get(address)
        if names and _is_plain(environ) and not any(map(_RECEIVERS, _SIGNALS)):
            try:
                take(self._engine, environ, *names)
            except Exception as error:  # noqa: BLE001 - raised again inside Flask
                environ[REFUSED] = error
            else:
                start_response("200 OK", list(_EMPTY.items()))
                return ()
        answer = self._flask(environ, start_response)
        if TAKEN in environ and len(self._known) < _MOST and self._is_alone():
            self._known[address] = environ[TAKEN]
        return answer

    def _is_alone(self) -> bool:
        """Whether no code of the host's has to do with an event; once it was asked, Flask takes no more functions."""
        app = self._app
        by_name = (
            app.before_request_funcs,
            app.after_request_funcs,
            app.teardown_request_funcs,
            app.url_value_preprocessors,
        )
        called = {function for known in by_name for name in (None, "callsheet") for function in known.get(name, ())}
        return (
            called <= {*self._ours}
            and not app.teardown_appcontext_funcs
            and app.view_functions[ENDPOINT] is post
            and app.request_class is Request
            and type(app.session_interface) is Cookies
        )
