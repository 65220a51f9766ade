"""Sign in and out.

Hides: that somebody may try many passwords. A wrong one costs as much time as a right one, and after ten of them from
one address nothing is looked at for a quarter of an hour.
"""

from __future__ import annotations

import logging
import time
from collections import OrderedDict, deque

from flask import Response, abort, request, url_for

from engine.forms.options import is_own_path
from engine.web.console import accounts, gate
from engine.web.console.pages import go, render

MOST = 10  # wrong passwords from one address
WITHIN = 900  # seconds
ADDRESSES = 10_000  # that are remembered

log = logging.getLogger("engine")


class Tries:
    """Wrong passwords, by address, in this process."""

    def __init__(self) -> None:
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def too_many(self, address: str) -> bool:
        """Whether somebody there has to wait."""
        times = self._times.get(address, deque())
        while times and times[0] < time.monotonic() - WITHIN:
            times.popleft()
        return len(times) >= MOST

    def wrong(self, address: str) -> None:
        """Remember one."""
        self._times.setdefault(address, deque(maxlen=MOST)).append(time.monotonic())
        self._times.move_to_end(address)
        while len(self._times) > ADDRESSES:
            self._times.popitem(last=False)


_TRIES = Tries()


def sign_in() -> Response:
    """The page, and what it posts."""
    if gate.gate().login is not None:
        abort(404)
    asked = request.args.get("next", "")
    onward = asked if is_own_path(asked) else url_for(".overview")
    if request.method != "POST":
        return render("sign_in.html", name="", wrong="")
    address = request.remote_addr or ""
    name = gate.fields().get("name", "")
    if _TRIES.too_many(address):
        return render(
            "sign_in.html", 429, name=name, wrong="Too many wrong passwords. Try again in a quarter of an hour."
        )
    account = accounts.checked(gate.gate().accounts, name, gate.fields().get("password", ""))
    if account is None:
        _TRIES.wrong(address)
        log.warning("console: a wrong name or password from %s", address)
        return render("sign_in.html", 403, name=name, wrong="No such name, or not its password.")
    gate.enter(account)
    log.info("console: %s signed in as %s", account.name, account.role)
    return go(onward)


def sign_out() -> Response:
    """End the session."""
    gate.leave()
    return go(url_for(gate.OPEN if gate.gate().login is None else ".overview"))
