"""Render a form, and take one back: a token and what was typed become one send, and what came of it one `Submission`.

Hides: that a form is posted twice, late, changed or by somebody else. What the page sealed comes from the token only;
the operation on it is the only name of what is to be done, so whoever posts again is told what came of the first.
"""

from __future__ import annotations

import json
import logging
import secrets
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

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
from engine.forms import options, slips
from engine.forms.fields import ABSENT, Field, field_of, misposted, unseen, value_of
from engine.forms.sheet import GENERATED, Filled, Sheet, narrowed_problems
from engine.forms.slips import Slip
from engine.seals import SECRET_KEY, Tokens

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.records import Record
    from engine.request_types import RequestType
    from engine.settling import Result

State = Literal["succeeded", "declined", "invalid", "not_done", "in_progress", "unknown", "unmapped"]
Fields = Mapping[str, Any] | Iterable[tuple[str, str]]

SUCCEEDED = "Done."
INVALID = "Please look at what is marked below."
NOT_DONE = "The service could not be reached. Nothing was done; please try again."
CHANGED = "This was begun with other input and has not been done. Please open the page again to begin anew."
IN_PROGRESS = "This is still being worked on."
UNKNOWN = "We do not know yet whether this was done. Please do not repeat it; we are finding out."
UNMAPPED = "This was done, but we could not write it down. Please do not repeat it."
CARD_NUMBER = "A card number does not belong here; only the card field may have it."
OWN_KEY = "A key of this service does not belong here."
NO_PAGE = "The page where this goes on could not be opened."

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
    `message` and `category` ("success", "error") are for the visitor. `redirect` is where to go: a path of this host
    or, where `hosted`, a page of the gateway; None where there is something to be read first. `form` is the form to be
    shown again, where another try makes sense. `records` are the types and ids of what was changed, `call` is the id of
    the call, `page` the path of the page that the form stood on.
    """

    state: State
    message: str
    category: Literal["success", "error"]
    page: str
    redirect: str | None = None
    hosted: bool = False
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
        return Tokens(self._engine.settings.keys(SECRET_KEY), "form", self._now)

    def _now(self) -> float:
        return self._engine.clock.now().timestamp()

    def form(
        self, name: str, data: Mapping[str, Any], *, session: str, at: str, page: str, config: Mapping[str, Any]
    ) -> Form:
        """As `Engine.form`."""
        type = self._engine.catalog.request_type(name)
        chosen = options.checked(name, config)
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
        operation = str(sealed.pop("idempotency_key", "") or f"form:{secrets.token_hex(16)}")
        page = page if options.is_own_path(page) else "/"
        return self._rendered(type, Slip(name, operation, slips.owner_of(session), sealed, chosen, at, page), None)

    def submit(self, token: str, fields: Fields, *, session: str) -> Submission:
        """As `Engine.submit`."""
        slip = slips.read(self._tokens, token, session, self._now())
        type = self._engine.catalog.request_type(slip.type)
        data, filled = _read(type, slip, fields, self._engine.settings.redact)
        try:
            return self._succeeded(type, slip, self._result(type, slip, data, filled))
        except DataError as error:
            problems = tuple(Problem(one.pointer, one.message) for one in error.problems)
            again = replace(filled, problems=problems, message=INVALID)
            form = self._rendered(type, slip, again)
            return self._ended(slip, "invalid", INVALID, None, form=form, problems=problems)
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
        type = self._engine.catalog.request_type(slip.type)
        scope = type.scope(self._account(type, slip.data), live=self._engine.settings.live)
        where: dict[str, Any] = {"gateway": scope.gateway, "account": scope.account, "live": scope.live}
        found = self._engine.find("call", limit=1, operation=slip.operation, request_type=slip.type, **where)
        return found[0] if found else None

    def _account(self, type: RequestType, data: Mapping[str, Any]) -> str:
        return type.account_of(data, {"settings": self._settings(type), "now": "", "call_id": ""})

    def _demand_same_account(self, type: RequestType, slip: Slip, data: Mapping[str, Any]) -> None:
        """The account that a call acts in is the page's to say, for an operation is one within an account only."""
        if self._account(type, data) != self._account(type, slip.data):
            raise DataError(type.name, [Problem("", "the account it acts in cannot be chosen in a form")])

    def _succeeded(self, type: RequestType, slip: Slip, result: Result) -> Submission:
        config = slip.config
        message = config.get("success_message") or slip.success or SUCCEEDED
        records = tuple((record.type, record.id) for record in result.records)
        call = result.call.id if result.call else None
        if result.redirect is None:
            path = config.get("success_path") or slip.page
            return Submission("succeeded", message, "success", slip.page, path, records=records, call=call)
        host, sandbox = urlsplit(result.redirect), self._engine.settings.sandbox
        stands_in = sandbox is not None and f"{host.scheme}://{host.netloc}" == sandbox
        if stands_in or (host.scheme == "https" and host.netloc in type.gateway.browser.get("redirect", ())):
            return Submission(
                "succeeded", message, "success", slip.page, result.redirect, hosted=True, records=records, call=call
            )
        log.error("%s answered with a page on %s, which browser: redirect: does not name", type.name, host.netloc)
        return Submission("succeeded", NO_PAGE, "error", slip.page, records=records, call=call)

    def _failed(self, type: RequestType, slip: Slip, error: CallError, filled: Filled) -> Submission:
        if isinstance(error, RejectedError):
            said = error.call.get("message") if error.call else None
            message = slip.config.get("error_message") or str(said or error)
            again = replace(filled, message=message, keeps_cards=False, problems=())
            return self._ended(slip, "declined", message, error, form=self._rendered(type, slip.next(), again))
        if isinstance(error, TransportError):
            message = CHANGED if str(error) == CHANGED else NOT_DONE
            form = self._rendered(type, slip, replace(filled, message=message, problems=()))
            return self._ended(slip, "not_done", message, error, form=form)
        log.warning("%s", error)
        if isinstance(error, MappingError):
            return self._ended(slip, "unmapped", UNMAPPED, error)
        sending = isinstance(error, UnknownOutcome) and error.call is not None and error.call["state"] == "sending"
        return self._ended(slip, "in_progress" if sending else "unknown", IN_PROGRESS if sending else UNKNOWN, error)

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
        return Submission(state, message, "error", slip.page, path, form=form, problems=problems, call=call)

    # Rendering --------------------------------------------------------------------------------------------------------

    def _rendered(self, type: RequestType, slip: Slip, filled: Filled | None) -> Form:
        catalog, engine = self._engine.catalog, self._engine
        scope = {"gateway": type.gateway.name, "live": engine.settings.live}
        sheet = Sheet(
            type,
            slip,
            catalog.forms["_form"],
            self._settings(type),
            lambda type, **where: engine.find(type, **{**scope, **where}),
        )
        source = catalog.forms.get(type.name, GENERATED)
        return Form(*sheet.render(source, filled, lambda whole: whole.sealed(self._tokens, self._now())))

    def _settings(self, type: RequestType) -> dict[str, str | None]:
        return {name: self._engine.settings.get(source) for name, source in type.gateway.settings.items()}


def _read(type: RequestType, slip: Slip, fields: Fields, redact: Callable[[str], str]) -> tuple[dict[str, Any], Filled]:
    """The data of the request, and what was typed with what is wrong with it already."""
    offered = [field for name in slip.offered if (field := _field(type, slip, name))]
    if isinstance(fields, Mapping):
        typed = {name: value for name, value in fields.items() if name in slip.offered}
        wrong = {name: "is not asked for by this form" for name in fields if name not in slip.offered}
        texts: dict[str, str] = {}
    else:
        posted: dict[str, list[str]] = {}
        for name, text in fields:
            posted.setdefault(name, []).append(text)
        wrong = misposted(offered, posted)
        left_out = {*wrong, *unseen(offered)}
        texts = {name: found[-1] for name, found in posted.items() if name not in left_out}
        values = {field.key: value_of(field, posted) for field in offered}
        typed = {name: value for name, value in values.items() if value is not ABSENT}
    data = {**typed, **slip.data}
    if holds_card_number(typed) or holds_card_number(texts):
        # Said alone and shown without what was typed, for the schema's problems and the page would repeat the number.
        return {}, Filled({}, [Problem("", CARD_NUMBER)])
    whole = json.dumps([typed, texts], default=str)
    if redact(whole) != whole:
        return {}, Filled({}, [Problem("", OWN_KEY)])
    problems = [Problem(f"/{name}", message) for name, message in wrong.items()]
    problems += [
        *narrowed_problems(type, slip, typed),
        *type.schema.problems(type.schema.with_defaults(data)),
    ]
    return data, Filled(texts, list(dict.fromkeys(problems)))


def _field(type: RequestType, slip: Slip, name: str) -> Field | None:
    schema = {**type.properties.get(name, {}), **slip.offered[name]}
    wanted = name in type.schema.document.get("required", ())
    return field_of(name, schema, required=wanted)
