"""One form being filled in: the names that a form file has in reach, and what it offered when it was rendered.

    data, config, settings    what the page sealed, its options, the gateway's public settings
    values, errors            what was typed and what is wrong with it, by the name of the input
    input(name, …)            an input for one property; nothing where the page sealed it
    rest()                    inputs for all that are left
    card(name, …)             a card field that the gateway's own script fills; only its token comes here
    submit(label)             the button
    success(text)             what a visitor is told when it worked
    money(amount, currency)   500, usd → 5.00 USD
    records(type, …)          records, newest first: `records("payment", gateway_id=data.charge)`

Hides: that a property can only be given by a visitor because an input for it was rendered.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from markupsafe import Markup

from engine.confined import Absent
from engine.errors import DataError, Problem, SettingError
from engine.forms import money as amounts
from engine.forms.fields import Field, as_texts, field_of
from engine.forms.markup import NARROWING, compiled, offered
from engine.forms.slips import Slip
from engine.request_types import RequestType
from engine.schemas import Schema
from engine.template_checks import Source
from engine.write_only import marks

GENERATED = Source("{{ rest() }}\n{{ submit() }}\n", "the generated form")

Find = Callable[..., Sequence[Any]]


@dataclass(frozen=True, slots=True)
class Filled:
    """What somebody sent who is shown the form again: the typed texts, what is wrong, and what they are told."""

    texts: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[Problem] = ()
    message: str = ""
    keeps_cards: bool = True


class Sheet:
    """Renders one form once."""

    def __init__(
        self, type: RequestType, slip: Slip, frame: Source, settings: Mapping[str, str | None], find: Find
    ) -> None:
        self._type, self._slip, self._find, self._settings = type, slip, find, settings
        self._frame: Any = compiled(frame).module
        self._id = f"form-{secrets.token_hex(4)}"
        self._filled: Filled | None = None
        self._fields: list[Field] = []
        self._labels: dict[str, str] = {}
        self._narrowed: dict[str, dict[str, Any]] = {}
        self._success = ""
        self._has_card = False

    def render(self, source: Source, filled: Filled | None, seal: Callable[[Slip], str]) -> tuple[Markup, str]:
        """The HTML of the form and its token. Raises DataError where the page sealed what can never be sent."""
        self._filled = filled
        names = {
            "data": self._slip.data,
            "config": self._slip.config,
            "settings": {name: value for name, value in self._settings.items() if value is not None},
            "values": dict(filled.texts) if filled else {},
            "errors": {one.pointer.removeprefix("/"): one.message for one in (filled.problems if filled else ())},
            "input": self.input,
            "rest": self.rest,
            "card": self.card,
            "submit": self.submit,
            "success": self.success,
            "money": self.money,
            "records": self.records,
        }
        body = Markup(compiled(source).render(names))  # noqa: S704 - every value in it was escaped by the template
        self._demand_complete()
        required = [field.key for field in self._fields if field.required]
        token = seal(replace(self._slip, offered=self._narrowed, required=required, success=self._success))
        return Markup(self._frame.frame(self._as_frame(body, token))), token  # noqa: S704 - as above

    # What a form file can call ----------------------------------------------------------------------------------------

    @offered
    def input(self, name: str, **options: Any) -> Markup | str:
        """An input for the property `name`, narrowed and labelled as `options` say."""
        narrowing = {rule: value for rule, value in options.items() if rule in NARROWING}
        field = self._offer(name, narrowing, required=options.get("required") is True)
        if field is None:
            return ""
        texts = self._texts(field, options.get("value"))
        shown = self._as_macro(field, texts)
        shown |= {key: options[key] for key in ("label", "help", "autocomplete") if options.get(key)}
        self._labels[field.name] = shown["label"]
        return self._macro("field", shown)

    @offered
    def rest(self) -> Markup:
        """Inputs for all properties that the page did not seal and no other input asks for."""
        return Markup("").join(self.input(name) for name in self._type.properties)

    @offered
    def card(self, name: str, *, pattern: str, key: str, library: str, script: str, **options: Any) -> Markup | str:
        """A card field. `library` is the gateway's script, `script` ours that binds it, `make` what it makes."""
        field = self._offer(name, {"pattern": pattern}, required=True)
        if field is None:
            return ""
        public = self._settings.get(key)
        if not public:
            source = self._type.gateway.settings[key]
            raise SettingError(source, "is not set; the card form needs it in the page")
        self._has_card = True
        shown = self._as_macro(field, self._texts(field, None) if self._filled and self._filled.keeps_cards else {})
        shown |= {
            "label": options.get("label") or "Card",
            "make": options.get("make") or "token",
            "key": public,
            "library": library,
            "script": f"{self._slip.at}/static/{script}",
            "require_zip": bool(self._slip.config.get("require_zip")),
        }
        self._labels[field.name] = shown["label"]
        return self._macro("card", shown)

    @offered
    def submit(self, label: str = "Send") -> Markup:
        """The button; `button` of the page's options, or `button_modal` in an opened card form, relabels it."""
        chosen = self._slip.config.get("button_modal" if self._has_card else "button")
        return self._macro("submit", {"label": chosen or label})

    @offered
    def success(self, text: str) -> str:
        """Say what a visitor is told when it worked."""
        self._success = text
        return ""

    @offered
    def money(self, amount: Any, currency: Any, **decimals: int) -> str:
        """An amount as text, or nothing where it is not known; `isk=2` corrects a currency's decimals."""
        if not isinstance(amount, int) or not isinstance(currency, str):
            return ""
        return amounts.money(amount, currency, decimals.get(currency.lower()))

    @offered
    def records(self, type: str, **where: Any) -> list[dict[str, Any]]:
        """Records of the form's own gateway and mode, newest first; none where a value is not known."""
        if any(value is None or isinstance(value, Absent) for value in where.values()):
            return []
        return [record.as_dict() for record in self._find(type, **where)]

    # The parts of it --------------------------------------------------------------------------------------------------

    def _offer(self, name: str, narrowing: dict[str, Any], *, required: bool) -> Field | None:
        known = name in self._slip.data or name in self._narrowed or name == "idempotency_key"
        schema = self._type.properties[name]
        wanted = required or name in self._type.schema.document.get("required", ())
        field = None if known else field_of(name, {**schema, **narrowing}, required=wanted)
        if field is not None:
            self._fields.append(field)
            self._narrowed[name] = narrowing
        return field

    def _texts(self, field: Field, value: Any) -> Mapping[str, str]:
        if self._filled is not None:
            return self._filled.texts
        return as_texts(field, value or field.schema.get("default"))

    def _macro(self, name: str, shown: Mapping[str, Any]) -> Markup:
        return Markup(getattr(self._frame, name)(shown))  # noqa: S704 - the frame's macros escape what they are given

    def _as_macro(self, field: Field, texts: Mapping[str, str]) -> dict[str, Any]:
        id, error = self._html_id(field), self._error(field)
        described = [f"{id}-help"] if field.help or field.kind in {"instant", "lines", "pairs", "json"} else []
        return {
            "kind": field.kind,
            "id": id,
            "name": field.name,
            "label": field.label,
            "help": field.help,
            "error": error,
            "required": field.required,
            "value": texts.get(field.name, ""),
            "choices": [{"value": value, "label": label} for value, label in field.choices],
            "attributes": field.attributes,
            "described": " ".join([*described, *([f"{id}-error"] if error else [])]),
            "parts": [self._as_macro(part, texts) for part in field.parts],
            "autocomplete": "off" if field.is_unseen else "",
        }

    def _html_id(self, field: Field) -> str:
        return f"{self._id}-{re.sub('[^A-Za-z0-9_]+', '-', field.name).strip('-')}"

    def _error(self, field: Field) -> str:
        problems = self._filled.problems if self._filled else ()
        inside = f"{field.pointer}/"
        return "; ".join(
            problem.message
            for problem in problems
            if problem.pointer == field.pointer or (not field.parts and problem.pointer.startswith(inside))
        )

    def _as_frame(self, body: Markup, token: str) -> dict[str, Any]:
        filled, config = self._filled or Filled(), self._slip.config
        return {
            "id": self._id,
            "action": f"{self._slip.at}/forms",
            "stylesheet": f"{self._slip.at}/static/forms.css",
            "token": token,
            "body": body,
            "title": config.get("title", ""),
            "opener": config.get("button", "") if self._has_card else "",
            "opened": bool(filled.problems or filled.message),
            "message": filled.message,
            "problems": [self._as_summary(problem) for problem in filled.problems],
        }

    def _as_summary(self, problem: Problem) -> dict[str, str]:
        """A line above the form, with a link to the input that it is about."""
        known = [one for field in self._fields for one in _inside_out(field)]
        about = [one for one in known if f"{problem.pointer}/".startswith(f"{one.pointer}/")]
        if not about:
            return {"label": problem.pointer.removeprefix("/"), "id": "", "message": problem.message}
        label = self._labels.get(about[0].name, about[0].label)
        return {"label": label, "id": self._html_id(about[0]), "message": problem.message}

    def _demand_complete(self) -> None:
        """A page that seals too little, or what does not fit, can never be sent: better told to who writes it."""
        sealed = self._type.schema.with_defaults(self._slip.data)
        found = []
        for problem in self._type.schema.problems(sealed):
            name = problem.pointer.split("/")[1] if problem.pointer else ""
            if name in self._narrowed or (not name and self._narrowed):
                continue
            hint = ", and this form does not ask for it; the page must give it"
            found.append(Problem(problem.pointer, problem.message + (hint if problem.message == "is required" else "")))
        if found:
            raise DataError(f"the form {self._type.name}", found)


def _inside_out(field: Field) -> list[Field]:
    """A field and its parts, the innermost first."""
    return [*(one for part in field.parts for one in _inside_out(part)), field]


def narrowed_problems(type: RequestType, slip: Slip, data: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with values that a form asks for more narrowly than their request type does."""
    absent = [Problem(f"/{name}", "is required") for name in slip.required if name not in data]
    unseen = {name: {"writeOnly": True} for name in slip.offered if marks(type.properties.get(name))}
    rules = {name: {**rules, **unseen.get(name, {})} for name, rules in slip.offered.items()}
    return absent + Schema({"properties": rules}).problems(data)
