"""POST /callsheet/forms: where every form is posted to; GET /callsheet/results/<token>: what came of one.

a browser's form     → 303 to the page that was sealed, with a flash; or a page that shows the form again
{"token", "fields"}  → JSON

200 or 303 carried out            402 the gateway said no         404 there is no such form any more
202 being sent, or not known      422 the input does not fit      400 the token is no good
500 carried out, but not recorded 502 the gateway was not reached 503 our own store or a setting is missing
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import parse_qsl

from flask import Response, flash, jsonify, make_response, redirect, render_template, request
from werkzeug.exceptions import HTTPException

from engine.answers import parse_json
from engine.errors import Conflict, SettingError, SignatureError, StoreError, UnknownNameError
from engine.forms.submitting import State, Submission
from engine.web.current import console, engine_of
from engine.web.headers import comes_from_here
from engine.web.intake import read_body
from engine.web.sessions import returning_visitor
from engine.web.shop import dress

LIMIT = 64 * 1024  # bytes of a posted form
MOST_FIELDS = 500
TOKEN = "callsheet_token"  # noqa: S105 - the name of the input

STATUSES: dict[State, int] = {
    "succeeded": 200,
    "in_progress": 202,
    "unknown": 202,
    "declined": 402,
    "invalid": 422,
    "unmapped": 500,
    "not_done": 502,
}
STALE = "This form is no longer valid. Please open its page again."
GONE = "There is no such form any more."
UNAVAILABLE = "This cannot be done right now. Please try again later."
FOREIGN = "This was posted from another site."
NOT_HERE = "What came of this can be seen only in the browser in which it was begun."
MALFORMED = "This was not posted by a form."

log = logging.getLogger("engine")


def post() -> Response:
    """The view."""
    as_json = request.mimetype == "application/json"
    if not comes_from_here(request):
        return _refused(as_json, 403, FOREIGN)
    try:
        body = read_body(request.environ, LIMIT)
        token, fields = _json(body) if as_json else _pairs(body)
    except (HTTPException, ValueError) as error:
        return _refused(as_json, getattr(error, "code", None) or 400, MALFORMED)
    try:
        submission = engine_of().submit(token, fields, session=returning_visitor())
    except _UNABLE as error:
        return _unable(error, STALE, as_json=as_json)
    return _as_json(submission) if as_json else _as_page(submission, token)


def result(token: str) -> Response:
    """The view of what came of a form that has more to show than its success."""
    try:
        shown = engine_of().form_result(token, session=returning_visitor())
    except _UNABLE as error:
        return _unable(error, NOT_HERE, as_json=False)
    if shown.redirect is None:
        text = _texts(shown.language)
        return make_response(render_template("callsheet/result.html", shown=shown, text=text, **dress(shown.page)))
    flash(shown.message, "success" if shown.state == "done" else "error")
    response: Response = redirect(shown.redirect, 303)  # type: ignore[assignment]  # Flask makes one of its own
    return response


def _texts(language: str) -> Callable[[str], str]:
    return partial(engine_of().catalog.translations.say, language)


def _json(body: bytes) -> tuple[str, dict[str, Any]]:
    said = parse_json(body)
    if not isinstance(said, dict) or not isinstance(said.get("token"), str) or set(said) - {"token", "fields"}:
        raise ValueError("not a form")
    fields = said.get("fields", {})
    if not isinstance(fields, dict):
        raise ValueError("fields must be an object")
    return said["token"], fields


def _pairs(body: bytes) -> tuple[str, list[tuple[str, str]]]:
    if request.mimetype != "application/x-www-form-urlencoded":
        raise ValueError("not a form")
    pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, errors="strict", max_num_fields=MOST_FIELDS)
    tokens = [text for name, text in pairs if name == TOKEN]
    if len(tokens) != 1:
        raise ValueError("a form has one token")
    return tokens[0], [(name, text) for name, text in pairs if name != TOKEN]


def _as_json(submission: Submission) -> Response:
    said = {
        "state": submission.state,
        "message": submission.message,
        "redirect": submission.redirect,
        "token": submission.form.token if submission.form else None,
        "problems": [{"pointer": one.pointer, "message": one.message} for one in submission.problems],
        "records": [{"type": type, "id": id} for type, id in submission.records],
        "call": submission.call,
    }
    response = jsonify({name: value for name, value in said.items() if value not in (None, [])})
    response.status_code = STATUSES[submission.state]
    return response


def _as_page(submission: Submission, token: str) -> Response:
    if submission.redirect is not None:
        if not submission.goes_on:
            flash(submission.message, submission.category)
        # Not flask.redirect's default 302, with which a browser may repeat the POST.
        response: Response = redirect(submission.redirect, 303)  # type: ignore[assignment]  # Flask makes one of its own
        return response
    status = STATUSES[submission.state]
    waiting = submission.state in {"in_progress", "unknown"}
    text, shown = _texts(submission.language), token if waiting else None
    known = {"submission": submission, "token": shown, "text": text, **dress(submission.page)}
    look = console("call", submission.call) if submission.call else None
    return make_response(render_template("callsheet/submission.html", look=look, **known), status)


_UNABLE = (SignatureError, UnknownNameError, SettingError, StoreError, Conflict)


def _unable(error: Exception, unfit: str, *, as_json: bool) -> Response:
    """The answer where a form cannot be taken, or what came of one not be shown; `unfit` is said of a bad token.

    It may be asked again at any time: whoever posts a form twice is told what came of the first.
    """
    if isinstance(error, SignatureError | UnknownNameError):
        log.warning("a form was refused: %s", error)
        status, message = (400, unfit) if isinstance(error, SignatureError) else (404, GONE)
        return _refused(as_json, status, message)
    log.error("a form could not be taken: %s", error)
    return _refused(as_json, 503, UNAVAILABLE)


def _refused(as_json: bool, status: int, message: str) -> Response:
    response = jsonify({"state": "refused", "message": message}) if as_json else None
    return make_response(response or render_template("callsheet/refused.html", message=message), status)
