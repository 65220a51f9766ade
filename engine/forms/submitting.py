"""Render a form, and take one back: a token and what was typed become one send, and what came of it one `Submission`.

Hides: that a form is posted twice, late, changed or by somebody else. What the page sealed comes from the token only;
the operation on it is the only name of what is to be done, so whoever posts again is told what came of the first.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup

from engine.card_numbers import holds_card_number
from engine.errors import (
    CallError,
    DataError,
    MappingError,
    Problem,
    RejectedError,
    TransportError,
    UnknownOutcome,
)
from engine.forms import options, parts, results, slips
from engine.forms.fields import ABSENT, Field, field_of, misposted, unseen, value_of
from engine.forms.sheet import GENERATED, Filled, Sheet, narrowed_problems
from engine.forms.slips import Slip
from engine.forms.translations import ENGLISH
from engine.pointers import pointer_to
from engine.seals import SECRET_KEY, Tokens
from engine.urls import parts_of

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.records import Record
    from engine.request_types import RequestType
    from engine.settling import Result

State = Literal["succeeded", "declined", "invalid", "not_done", "in_progress", "unknown", "unmapped"]
Fields = Mapping[str, Any] | Iterable[tuple[str, str]]

CHANGED = "it was begun with other input"
_IN_HEADER = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]*")  # no end of a line, and no half of a character

log = logging.getLogger("engine")


class Form(Markup):
    """The HTML of a form, fit to be printed by any template. `token` is what a script posts in place of a form."""

    token: str

    def __new__(cls, html: str = "", token: str = "") -> Form:
        form = super().__new__(cls, html)
        form.token = token
        return form


@dataclass(frozen=True, slots=True)
class Submission:
    """What came of a posted form.

    `state`: succeeded; declined by the gateway; invalid (nothing was sent); not_done (the gateway was not reached);
    in_progress (another post of it is being sent); unknown (perhaps carried out); unmapped (carried out, not recorded).
    `message` and `category` ("success", "error") are for the visitor. `redirect` is where to go: a path of this host or
    a page of the gateway; None where there is something to be read first. Where it `goes_on`, that page tells what
    came of it. `form` is the form to be shown again, where another try makes sense. `records` are the types and
    ids of what was changed, `call` is the id of the call, `page` the path of the page that the form stood on,
    `language` the one that it spoke.
    """

    state: State
    message: str
    category: Literal["success", "error"]
    page: str
    language: str
    redirect: str | None = None
    goes_on: bool = False
    form: Form | None = None
    problems: tuple[Problem, ...] = ()
    records: tuple[tuple[str, str], ...] = ()
    call: str | None = None


class Forms:
    """The forms of an engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    @cached_property
    def _tokens(self) -> Tokens:
        settings = self._engine.settings
        # What a page of a host for tests sealed is no order to a host for live money that has the same key.
        return Tokens(settings.keys(SECRET_KEY), f"form:{settings.mode}", self._now)

    def _now(self) -> float:
        return self._engine.clock.now().timestamp()

    def form(
        self,
        name: str,
        data: Mapping[str, Any],
        *,
        session: str,
        at: str,
        page: str,
        origin: str,
        config: Mapping[str, Any],
    ) -> Form:
        """As `Engine.form`."""
        type = self._engine.catalog.request_type(name)
        chosen = options.checked(name, config)
        chosen["language"] = self._engine.catalog.translations.language(chosen.get("language", ENGLISH))
        sealed = {}
        for key, value in data.items():
            known = type.gateway.renamed.get(key, key) if key not in type.properties else key
            if known != key:
                warnings.warn(f"{key} is now spelt {known}", DeprecationWarning, stacklevel=4)
            if value is not None:
                sealed[known] = value
        if carried := [path[0] for path, _ in type.schema.write_only(sealed)]:
            message = "is writeOnly: a form asks for it, and a page, which anybody can read, cannot carry it"
            raise DataError(f"the form {name}", [Problem(f"/{part}", message) for part in carried])
        # A key of the page's own ("order-17") holds for every form with it, in as many windows as there are.
        operation = str(sealed.pop("idempotency_key", "") or slips.operation_of(secrets.token_hex(16)))
        page = page if options.is_own_path(page) else "/"
        owner = slips.owner_of(session)
        return self._rendered(type, Slip(name, operation, owner, sealed, chosen, at, page, origin), None)

    def submit(self, token: str, fields: Fields, *, session: str) -> Submission:
        """As `Engine.submit`."""
        slip = slips.read(self._tokens, token, session, self._now())
        type = self._engine.catalog.request_type(slip.type)
        data, filled = _read(type, slip, fields, partial(self._say, slip), self._engine.settings.redact)
        try:
            return self._succeeded(type, slip, self._result(type, slip, data, filled))
        except DataError as error:
            problems = tuple(Problem(one.pointer, one.message) for one in error.problems)
            message = self._say(slip, "invalid")
            form = self._rendered(type, slip, replace(filled, problems=problems, message=message))
            return self._ended(slip, "invalid", message, None, form=form, problems=problems)
        except CallError as error:
            return self._failed(type, slip, error, filled)

    # What came of it --------------------------------------------------------------------------------------------------

    def _result(self, type: RequestType, slip: Slip, data: Mapping[str, Any], filled: Filled) -> Result:
        known = self._known(slip)
        if known is not None and known["state"] != "not_done":
            return self._engine.outcome(known)
        if filled.problems:
            raise DataError(type.name, filled.problems)
        self._demand_same_account(type, slip, data)
        try:
            return self._engine.send(slip.type, data, operation=slip.operation)
        except DataError:
            raced = self._known(slip)
            if raced is None:
                raise
            if known is not None:
                raise TransportError(CHANGED, raced) from None
            return self._engine.outcome(raced)

    def _known(self, slip: Slip) -> Record | None:
        account = results.account_of(self._engine, slip)
        return results.known_call(self._engine, slip.type, slip.operation, account)

    def _demand_same_account(self, type: RequestType, slip: Slip, data: Mapping[str, Any]) -> None:
        """The account that a call acts in is the page's to say, for an operation is one within an account only."""
        engine = self._engine
        if results.account_of(engine, replace(slip, data=data)) != results.account_of(engine, slip):
            raise DataError(type.name, [Problem("", "the account it acts in cannot be chosen in a form")])

    def _succeeded(self, type: RequestType, slip: Slip, result: Result) -> Submission:
        config = slip.config
        message = config.get("success_message") or slip.success or self._say(slip, "succeeded")
        done = Submission(
            "succeeded",
            message,
            "success",
            slip.page,
            slip.language,
            config.get("success_path") or slip.page,
            records=tuple((record.type, record.id) for record in result.records),
            call=result.call.id if result.call else None,
        )
        if result.redirect is not None:
            if is_hosted_page(self._engine, type, result.redirect):
                return replace(done, redirect=result.redirect, goes_on=True)
            host = _host_of(result.redirect) or "no host that https leads to"
            log.error("%s answered with a page on %s, which browser: redirect: does not name", type.name, host)
            return replace(done, message=self._say(slip, "no_page"), category="error", redirect=None)
        if results.has_result(self._engine, type):
            see = self._engine.catalog.translations.say(slip.language, "page.see")
            return replace(done, message=see, redirect=results.path(self._engine, slip), goes_on=True)
        return done

    def _failed(self, type: RequestType, slip: Slip, error: CallError, filled: Filled) -> Submission:
        if isinstance(error, RejectedError):
            said = error.call.get("message") if error.call else None
            message = slip.config.get("error_message") or str(said or error)
            again = replace(filled, message=message, keeps_cards=False, problems=())
            return self._ended(slip, "declined", message, error, form=self._rendered(type, slip.next(), again))
        if isinstance(error, TransportError):
            message = self._say(slip, "changed" if str(error) == CHANGED else "not_done")
            form = self._rendered(type, slip, replace(filled, message=message, problems=()))
            return self._ended(slip, "not_done", message, error, form=form)
        log.warning("%s", error)
        state: State = "unknown"
        if isinstance(error, MappingError):
            state = "unmapped"
        elif isinstance(error, UnknownOutcome) and error.call is not None and error.call["state"] == "sending":
            state = "in_progress"
        return self._ended(slip, state, self._say(slip, state), error)

    def _say(self, slip: Slip, key: str) -> str:
        return self._engine.catalog.translations.say(slip.language, f"said.{key}")

    def _ended(
        self,
        slip: Slip,
        state: State,
        message: str,
        error: CallError | None,
        *,
        form: Form | None = None,
        problems: tuple[Problem, ...] = (),
    ) -> Submission:
        """No success. Where there is a form to be tried again, the page may have named a path of its own for that."""
        path = slip.config.get("error_path") if form else None
        call = error.call.id if error and error.call else None
        return Submission(
            state, message, "error", slip.page, slip.language, path, form=form, problems=problems, call=call
        )

    # Rendering --------------------------------------------------------------------------------------------------------

    def _rendered(self, type: RequestType, slip: Slip, filled: Filled | None) -> Form:
        source = self._engine.catalog.forms.get(type.name, GENERATED)
        sheet = Sheet(self._engine, type, slip)
        return Form(*sheet.render(source, filled, lambda whole: whole.sealed(self._tokens, self._now())))


def is_hosted_page(engine: Engine, type: RequestType, url: object) -> bool:
    """Whether a browser may be sent there: to a host that the gateway's file names, or to whoever stands in for it."""
    if not isinstance(url, str) or not _IN_HEADER.fullmatch(url):
        return False
    if engine.settings.sandbox:
        return url.startswith(f"{engine.settings.sandbox}/")
    return _host_of(url) in type.gateway.browser.get("redirect", ())


def _host_of(url: object) -> str | None:
    """The host, and any port, of an https address; None of whatever else a gateway may say."""
    parts = parts_of(str(url))
    return parts.netloc if parts and parts.scheme == "https" else None


def _read(
    type: RequestType, slip: Slip, fields: Fields, say: Callable[[str], str], redact: Callable[[str], str]
) -> tuple[dict[str, Any], Filled]:
    """The data of the request, and what was typed with what is wrong with it already."""
    paths = {name: parts.path_of(type.properties, name) for name in slip.offered}
    offered = {name: field for name in slip.offered if (field := _field(type, slip, name, paths[name]))}
    typed: dict[str, Any] = {}
    if isinstance(fields, Mapping):
        typed, strange = parts.chosen(fields, paths.values(), type.properties)
        wrong = {pointer_to(path): "is not asked for by this form" for path in strange}
        texts: dict[str, str] = {}
    else:
        posted: dict[str, list[str]] = {}
        for name, text in fields:
            posted.setdefault(name, []).append(text)
        known = list(offered.values())
        misfits = misposted(known, posted)
        wrong = {f"/{name}": message for name, message in misfits.items()}
        left_out = {*misfits, *unseen(known)}
        texts = {name: found[-1] for name, found in posted.items() if name not in left_out}
        for name, field in offered.items():
            value = value_of(field, posted)
            if value is not ABSENT:
                typed = parts.put(typed, paths[name], value)
    if holds_card_number(typed) or holds_card_number(texts):
        # Said alone and shown without what was typed, for the schema's problems and the page would repeat the number.
        return {}, Filled({}, [Problem("", say("card_number"))])
    whole = json.dumps([typed, texts], default=str)
    if redact(whole) != whole:
        return {}, Filled({}, [Problem("", say("own_key"))])
    data = parts.overlaid(typed, slip.fixed)
    problems = [Problem(pointer, message) for pointer, message in wrong.items()]
    problems += [
        *narrowed_problems(type, slip, typed),
        *type.schema.problems(type.schema.with_defaults(data)),
    ]
    return data, Filled(texts, list(dict.fromkeys(problems)))


def _field(type: RequestType, slip: Slip, name: str, path: parts.Path) -> Field | None:
    schema = {**(parts.schema_at(type.properties, path) or {}), **slip.offered[name]}
    return field_of(path, schema, required=parts.is_required(type.schema.document, path))
