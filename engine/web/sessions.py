"""Whose form it is: a random id in Flask's own session cookie, and that cookie kept from others.

Hides: that Flask's defaults send the cookie in the clear and leave SameSite to the browser.
"""

from __future__ import annotations

import hashlib
import secrets
from ipaddress import ip_address

from flask import Flask, Request, Response, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin

from engine.seals import SECRET_KEY
from engine.settings import Settings

_NAME = "callsheet"


def visitor() -> str:
    """The id of this browser's session, made where there is none yet."""
    if _NAME not in session:
        session[_NAME] = secrets.token_urlsafe(24)
    return str(session[_NAME])


def returning_visitor() -> str:
    """The id of this browser's session; empty where it brings none."""
    return str(session.get(_NAME, ""))


class Cookies(SecureCookieSessionInterface):
    """Flask's sessions, with a cookie that is Secure wherever a browser could come from outside.

    Who brings no cookie, as no gateway does, costs nothing.
    """

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        brought = "HTTP_COOKIE" in request.environ and self.get_cookie_name(app) in request.cookies
        if app.secret_key and not brought:
            return self.session_class()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if session or session.accessed or session.modified:
            super().save_session(app, session, response)

    def get_cookie_secure(self, app: Flask) -> bool:
        return super().get_cookie_secure(app) or not (app.debug or is_loopback(request.host))


def is_loopback(host: str) -> bool:
    """Whether a host, with or without a port, is this machine."""
    name = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name.strip("[]")).is_loopback
    except ValueError:
        return False


def protect(app: Flask, settings: Settings) -> None:
    """Give the app the cookie settings that it did not choose, and a key for its sessions where it has none."""
    if app.config["SESSION_COOKIE_SAMESITE"] is None:
        app.config["SESSION_COOKIE_SAMESITE"] = "Lax"
    if type(app.session_interface) is SecureCookieSessionInterface:
        app.session_interface = Cookies()
    keys = [hashlib.sha256(f"flask session:{key}".encode()).hexdigest() for key in settings.keys(SECRET_KEY)]
    if not app.secret_key and keys:
        app.secret_key = keys[0]
        app.config["SECRET_KEY_FALLBACKS"] = keys[1:] or None
