"""How a gateway says no: in the words of its sandbox file, else in the shape that its files and cases show.

Hides: how the place of the message is found, which is where `error:` looks for it, and how `mismatch:` is made true.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from engine.confined import ABSENT
from engine.sandbox.asked import Answered
from engine.sandbox.files import REFUSALS, Part
from engine.sandbox.places import constant_in, place_in, put

MESSAGES: Mapping[str, str] = {
    "unauthorized": "The credentials are missing or wrong.",
    "missing": "There is no such thing here.",
    "invalid": "The request does not fit.",
    "mismatch": "The key was used with another request before.",
    "in_progress": "A request with this key is under way.",
    "rate_limited": "Too many requests.",
    "broken": "An error occurred here.",
}


def refusal(
    name: str, rules: Part, written: Mapping[str, Any], shown: Sequence[tuple[int, Any]], names: Mapping[str, Any]
) -> Answered:
    """The refusal `name`. `written` is the request type's file, `shown` the refusals (status, body) of its cases."""
    told = rules.get("refusals", name)
    given = {"message": MESSAGES.get(name, "It is refused."), **names.get("given", {})}
    known = {**names, "given": given}
    status = told.get("status").render(known) if told.get("status").value else REFUSALS.get(name, 400)
    headers = told.get("headers").render(known)
    body = told.get("body").render(known)
    if body is ABSENT:
        body = _derived(name, status, str(given["message"]), written, shown)
    return Answered(status, body, {k: str(v) for k, v in headers.items()} if isinstance(headers, Mapping) else {})


def _derived(name: str, status: int, message: str, written: Mapping[str, Any], shown: Sequence[tuple[int, Any]]) -> Any:
    alike = [body for its, body in shown if its == status and isinstance(body, Mapping)]
    body: dict[str, Any] = dict(alike[0]) if alike and name != "mismatch" else {}
    if place := place_in(written.get("error"), "response"):
        body = put(body, place, message)
    mismatch = (written.get("idempotency") or {}).get("mismatch")
    if name == "mismatch" and (told := constant_in(mismatch, "response")):
        body = put(body, *told)
    return body or {"message": message}
