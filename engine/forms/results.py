"""What came of a form, shown as often as somebody asks: after it was posted, and when a bank's page sends them back.

`forms/GATEWAY/NAME.result.html` has in reach `response` (the gateway's answer to the form), `data`, `config`, what
`engine.forms.reach` lists, and

    done(text)        all is done: the visitor goes on to success_path and is told so
    refused(text)     it came to nothing: the visitor goes back to error_path or the page of the form, and is told so

Where it says neither, its own HTML is shown: there is something to be done or waited for. Hides: the address, which is
signed and of one session, and is the same whenever it is made for the same form.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from markupsafe import Markup

from engine.errors import (
    CallError,
    MappingError,
    RejectedError,
    SignatureError,
    TransportError,
    UnknownNameError,
)
from engine.forms import RESULT, slips
from engine.forms.markup import compiled, offered
from engine.forms.options import LONGEST
from engine.forms.reach import Reach, public_settings
from engine.seals import SECRET_KEY, Tokens

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.forms.slips import Slip
    from engine.records import Record
    from engine.request_types import RequestType


@dataclass(frozen=True, slots=True)
class Shown:
    """What a visitor sees: `html`, or where they go and what they are told there. `page` is the form's page."""

    state: Literal["done", "refused", "waiting"]
    page: str
    language: str
    message: str = ""
    html: Markup | None = None
    redirect: str | None = None


_TOLD = frozenset({"type", "operation", "owner", "config", "page", "at", "account"})


def has_result(engine: Engine, type: RequestType) -> bool:
    """Whether something is shown after the form of `type`."""
    return f"{type.name}{RESULT}" in engine.catalog.forms


def path(engine: Engine, slip: Slip) -> str:
    """The path at which is shown what came of a form."""
    told = {"type": slip.type, "operation": slip.operation, "owner": slip.owner, "config": slip.config}
    told |= {"page": slip.page, "at": slip.at, "account": account_of(engine, slip)}
    return f"{slip.at}/results/{_tokens(engine).sign(told)}"


def address(engine: Engine, slip: Slip) -> str:
    """The same as a whole URL."""
    return slip.origin + path(engine, slip)


def _tokens(engine: Engine) -> Tokens:
    # Always of the same second: a result is shown for as long as its call is kept.
    return Tokens(engine.settings.keys(SECRET_KEY), "result", lambda: 0)


def account_of(engine: Engine, slip: Slip) -> str:
    """The gateway's account that a form acts in."""
    type = engine.catalog.request_type(slip.type)
    return type.account_of(slip.fixed, {"settings": public_settings(engine, type), "now": "", "call_id": ""})


def known_call(engine: Engine, request_type: str, operation: str, account: str) -> Record | None:
    """The call that a form has become, where it was posted."""
    scope = engine.catalog.request_type(request_type).scope(account)
    where: dict[str, Any] = {"gateway": scope.gateway, "account": scope.account, "live": scope.live}
    found = engine.find("call", limit=1, operation=operation, request_type=request_type, **where)
    return found[0] if found else None


def show(engine: Engine, token: str, session: str) -> Shown:
    """What came of the form. Raises SignatureError, UnknownNameError, StoreError."""
    told = _tokens(engine).read(token, LONGEST)
    if not told.keys() >= _TOLD:
        raise SignatureError("the result was sealed by another version")
    if not slips.is_owner(session, told["owner"]):
        raise SignatureError("the result belongs to another session")
    type, config = engine.catalog.request_type(told["type"]), told["config"]
    if not has_result(engine, type):
        raise UnknownNameError("form", f"{type.name}{RESULT}", engine.catalog.forms)
    reach = Reach(engine, type, config["language"], told["at"])
    call = known_call(engine, type.name, told["operation"], told["account"])
    if call is None:
        return _refused(reach, told, reach.text("said.not_begun"))
    try:
        response = engine.outcome(call).response
    except RejectedError as error:
        return _refused(reach, told, config.get("error_message") or str(call.get("message") or error))
    except TransportError:
        return _refused(reach, told, reach.text("said.not_done"))
    except CallError as error:
        said = "said.unmapped" if isinstance(error, MappingError) else "said.unknown"
        return Shown("waiting", told["page"], reach.language, reach.text(said))
    return _rendered(reach, told, {"data": call["data"], "config": config, "response": response})


def _refused(reach: Reach, told: Mapping[str, Any], message: str) -> Shown:
    back = told["config"].get("error_path") or told["page"]
    return Shown("refused", told["page"], reach.language, message, redirect=back)


def _rendered(reach: Reach, told: Mapping[str, Any], values: Mapping[str, Any]) -> Shown:
    config, ending = told["config"], _Ending()
    source = reach.engine.catalog.forms[f"{reach.type.name}{RESULT}"]
    names = {**reach.names, **values, "done": ending.done, "refused": ending.refused}
    html = Markup(compiled(source).render(names))  # noqa: S704 - every value in it was escaped by the template
    if ending.state == "waiting":
        return Shown("waiting", told["page"], reach.language, html=html)
    kind = "success" if ending.state == "done" else "error"
    message, path = (config.get(f"{kind}_{part}") for part in ("message", "path"))
    return Shown(ending.state, told["page"], reach.language, message or ending.text, redirect=path or told["page"])


class _Ending:
    """What a file says of the end."""

    text = ""
    state: Literal["done", "refused", "waiting"] = "waiting"

    @offered
    def done(self, text: str) -> str:
        """All is done."""
        self.text, self.state = text, "done"
        return ""

    @offered
    def refused(self, text: str) -> str:
        """It came to nothing."""
        self.text, self.state = text, "refused"
        return ""
