"""The door: whoever is not signed in goes no further, and whoever only reads changes nothing.

Every POST needs the role `operate` and the session's own token; there is no list of exceptions to keep but signing in
and out. Hides: where a person comes from, the setting's accounts or the host's own login.
"""

from __future__ import annotations

import hmac
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from flask import Response, abort, current_app, g, redirect, request, session, url_for
from werkzeug.datastructures import MultiDict

from engine.errors import SettingError
from engine.web.console.accounts import ROLES, Account
from engine.web.current import page
from engine.web.headers import comes_from_here
from engine.web.intake import read_body

LASTS = 12 * 3600  # seconds until somebody has to sign in again
LIMIT = 256 * 1024  # bytes of a posted form
MOST_FIELDS = 1000
OPEN = "callsheet.console.sign_in"
ANYBODYS = "callsheet.console.sign_out"

_KEY = "callsheet_console"

Login = Callable[[], tuple[str, str] | None]
"""A host's own login: (name, role) of who asks, or None; it may abort with a redirect to the host's own page."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who is signed in."""

    name: str
    role: str

    @property
    def operates(self) -> bool:
        """Whether they may do more than look."""
        return self.role == "operate"


@dataclass(frozen=True, slots=True)
class Gate:
    """Who may come in: the accounts of the setting, or whom the host's own login names."""

    accounts: Mapping[str, Account]
    login: Login | None = None

    def person(self) -> Person | None:
        """Who asks, or None."""
        if self.login is not None:
            return self._hosts(self.login)
        kept: Mapping[str, Any] = session.get(_KEY, {})
        account = self.accounts.get(str(kept.get("name")))
        if account is None or kept.get("mark") != account.mark or kept.get("until", 0) < time.time():
            return None
        return Person(account.name, account.role)

    @staticmethod
    def _hosts(login: Login) -> Person | None:
        found = login()
        if found is None:
            return None
        name, role = found
        if role not in ROLES:
            raise SettingError("login", f"gave {name} the role {role!r}; it is {' or '.join(ROLES)}")
        return Person(name, role)


def gate() -> Gate:
    """The gate of the app that is being asked."""
    found: Gate = current_app.extensions["callsheet_console"]
    return found


def person() -> Person:
    """Who is signed in; behind the gate there is somebody."""
    found: Person = g.callsheet_person
    return found


def person_or_nobody() -> Person | None:
    """Who is signed in, on a page that can be seen from outside."""
    found: Person | None = g.get("callsheet_person")
    return found


def fields() -> MultiDict[str, str]:
    """What was posted."""
    found: MultiDict[str, str] = g.callsheet_fields
    return found


def enter(account: Account) -> None:
    """Begin a session."""
    until = int(time.time()) + LASTS
    session[_KEY] = {"name": account.name, "mark": account.mark, "until": until, "csrf": secrets.token_urlsafe(24)}


def leave() -> None:
    """End it."""
    session.pop(_KEY, None)


def csrf() -> str:
    """What a form of this session must bring back."""
    kept: dict[str, Any] = session.setdefault(_KEY, {})
    if "csrf" not in kept:
        kept["csrf"] = secrets.token_urlsafe(24)
        session.modified = True
    return str(kept["csrf"])


def say(text: str, *, bad: bool = False) -> None:
    """Have the next page say it. A cookie carries it there, so it is neither long nor one of many."""
    kept = session.get(_KEY, {})
    session[_KEY] = {**kept, "said": [*kept.get("said", []), [text[:500], bad]][-2:]}


def said() -> list[tuple[str, bool]]:
    """What there is to say, once."""
    kept = dict(session.get(_KEY, {}))
    found = kept.pop("said", [])
    if found:
        session[_KEY] = kept
    return [(text, bad) for text, bad in found]


def guard() -> Response | None:
    """Before every view of the console."""
    if request.method == "POST":
        if not comes_from_here(request):
            abort(403, "This was posted from another site.")
        g.callsheet_fields = _posted()
    if request.endpoint == OPEN:
        return None
    found = gate().person()
    if found is None:
        return _outside()
    g.callsheet_person = found
    if request.method == "POST":
        if not hmac.compare_digest(fields().get("csrf", "").encode("utf-8", "replace"), csrf().encode()):
            abort(403, "This page was too old, and nothing was done. Go back, reload it and try again.")
        if request.endpoint != ANYBODYS and not found.operates:
            abort(403, f"{found.name} may look, and may not do this. It takes the role operate.")
    return None


def _outside() -> Response:
    if gate().login is not None or request.method == "POST":
        abort(403, "Sign in first.")
    if request.headers.get("HX-Request"):
        return Response(status=401, headers={"HX-Refresh": "true"})
    response: Response = redirect(url_for(OPEN, next=page()), 303)  # type: ignore[assignment]  # Flask makes one of its own
    return response


def _posted() -> MultiDict[str, str]:
    if request.mimetype != "application/x-www-form-urlencoded":
        abort(400, "This was not posted by a form.")
    try:
        text = read_body(request.environ, LIMIT).decode("ascii")
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    except ValueError:
        abort(400, "This was not posted by a form.")
    return MultiDict(pairs)
