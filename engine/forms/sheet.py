"""One form being filled in: the names that a form file has in reach, and what it offered when it was rendered.

    data, config              what the page sealed, and its options
    values, errors            what was typed and what is wrong with it, by the name of the input
    result_url                where the visitor sees what came of the form, for a gateway that sends them back there
    input(name, …)            an input for one property, or for a part of it (`individual.dob.day`); nothing where the
                              page sealed it
    rest()                    inputs for all that are left
    card(name, …)             a card field that the gateway's own script fills; only its token comes here
    seal(name, value)         what the form always says, unless the page says otherwise
    submit(label)             the button
    success(text)             what a visitor is told when it worked

and what `engine.forms.reach` lists. Hides: that a property can only be given by a visitor because an input for it was
rendered.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from engine.confined import ABSENT, Absent
from engine.errors import DataError, Problem, SettingError
from engine.forms import parts, results
from engine.forms.fields import Field, as_texts, field_of
from engine.forms.markup import NARROWING, compiled, offered
from engine.forms.parts import Path
from engine.forms.reach import Reach, public_settings
from engine.forms.slips import Slip
from engine.pointers import pointer_to
from engine.request_types import RequestType
from engine.schemas import Schema
from engine.template_checks import Source
from engine.write_only import marks

if TYPE_CHECKING:
    from engine.core import Engine

GENERATED = Source("{{ rest() }}\n{{ submit() }}\n", "the generated form")

_REQUIRED = "is required"


@dataclass(frozen=True, slots=True)
class Filled:
    """What somebody sent who is shown the form again: the typed texts, what is wrong, and what they are told."""

    texts: Mapping[str, str] = field(default_factory=dict)
    problems: Sequence[Problem] = ()
    message: str = ""
    keeps_cards: bool = True


class Sheet:
    """Renders one form once."""

    def __init__(self, engine: Engine, type: RequestType, slip: Slip) -> None:
        self._type, self._slip = type, slip
        self._settings = public_settings(engine, type)
        self._reach = Reach(engine, type, slip.language, slip.at)
        self._results = results.address(engine, slip) if slip.origin and results.has_result(engine, type) else None
        self._frame: Any = compiled(engine.catalog.forms["_form"]).make_module({"text": self._reach.text})
        self._id = f"form-{secrets.token_hex(4)}"
        self._filled: Filled | None = None
        self._fields: list[Field] = []
        self._labels: dict[str, str] = {}
        self._narrowed: dict[str, dict[str, Any]] = {}
        self._paths: set[Path] = set()
        self._given: dict[str, Any] = {}
        self._success = ""
        self._has_card = self._has_focus = False

    def render(self, source: Source, filled: Filled | None, seal: Callable[[Slip], str]) -> tuple[Markup, str]:
        """The HTML of the form and its token. Raises DataError where the page sealed what can never be sent."""
        self._filled = filled
        calls = (self.input, self.rest, self.card, self.seal, self.submit, self.success)
        names = {
            **self._reach.names,
            "data": self._slip.data,
            "config": self._slip.config,
            "values": dict(filled.texts) if filled else {},
            "errors": {one.pointer.removeprefix("/"): one.message for one in (filled.problems if filled else ())},
            "result_url": self._results,
            **{call.__name__: call for call in calls},
        }
        body = Markup(compiled(source).render(names))  # noqa: S704 - every value in it was escaped by the template
        self._demand_complete()
        required = [name for name, field in zip(self._narrowed, self._fields, strict=True) if field.required]
        sealed = replace(
            self._slip, given=self._given, offered=self._narrowed, required=required, success=self._success
        )
        token = seal(sealed)
        return Markup(self._frame.frame(self._as_frame(body, token))), token  # noqa: S704 - as above

    # What a form file can call ----------------------------------------------------------------------------------------

    @offered
    def input(self, name: str, **options: Any) -> Markup | str:
        """An input for the part `name` of the data, narrowed and labelled as `options` say.

        `words` begins the keys of the texts that its choices are called by.
        """
        narrowing = {rule: value for rule, value in options.items() if rule in NARROWING}
        field = self._offer(name, narrowing, required=options.get("required") is True)
        if field is None:
            return ""
        texts = self._texts(field, options.get("value"))
        shown = self._as_macro(field, texts, self._help(field, options))
        shown |= {key: options[key] for key in ("label", "autocomplete") if options.get(key)}
        if options.get("words"):
            for choice in shown["choices"]:
                choice["label"] = self._reach.text(f"{options['words']}.{choice['value']}")
        self._labels[field.name] = shown["label"]
        return self._macro("field", shown)

    @offered
    def rest(self) -> Markup:
        """Inputs for all properties that the page did not seal and no other input asks for."""
        return Markup("").join(self.input(name) for name in self._type.properties)

    @offered
    def card(self, name: str, *, pattern: str, key: str, library: str, script: str, **options: Any) -> Markup | str:
        """A card field. `library` is the gateway's script, `script` ours that binds it, `make` what it makes.

        `told` is what our script is told beside that; `stand_in` is loaded in the library's place in a sandbox.
        """
        field = self._offer(name, {"pattern": pattern}, required=True)
        if field is None:
            return ""
        public = self._settings.get(key)
        if not public:
            source = self._type.gateway.settings[key]
            raise SettingError(source, "is not set; the card form needs it in the page")
        self._has_card = True
        texts = self._texts(field, None) if self._filled and self._filled.keeps_cards else {}
        shown = self._as_macro(field, texts, "")
        shown |= {
            "label": options.get("label") or self._reach.text("form.card"),
            "make": options.get("make") or "token",
            "key": public,
            "told": json.dumps(_without_unknown(options.get("told") or {}), separators=(",", ":")),
            "pattern": pattern,
            "test_cards": self._reach.test_cards,
            "scripts": self._reach.scripts(library=library, script=script, stand_in=options.get("stand_in") or ""),
            "require_zip": bool(self._slip.config.get("require_zip")),
        }
        self._labels[field.name] = shown["label"]
        return self._macro("card", shown)

    @offered
    def seal(self, name: str, value: Any) -> str:
        """Have the form say it; where the value is not known, or the page has given it, that stays so."""
        path = parts.path_of(self._type.properties, name)
        if _is_known(value) and path[0] not in self._slip.data and not parts.overlaps(path, self._paths):
            self._given = parts.put(self._given, path, value)
        return ""

    @offered
    def submit(self, label: str = "") -> Markup:
        """The button; `button` of the page's options, or `button_modal` in an opened card form, relabels it."""
        chosen = self._slip.config.get("button_modal" if self._has_card else "button")
        return self._macro("submit", {"label": chosen or label or self._reach.text("form.send")})

    @offered
    def success(self, text: str) -> str:
        """Say what a visitor is told when it worked."""
        self._success = text
        return ""

    # The parts of it --------------------------------------------------------------------------------------------------

    def _offer(self, name: str, narrowing: dict[str, Any], *, required: bool) -> Field | None:
        path = parts.path_of(self._type.properties, name)
        schema = parts.schema_at(self._type.properties, path)
        sealed = path[0] in self._slip.data or parts.at(self._given, path) is not ABSENT
        if sealed or schema is None or parts.overlaps(path, self._paths) or name == "idempotency_key":
            return None
        wanted = required or parts.is_required(self._type.schema.document, path)
        field = field_of(path, {**schema, **narrowing}, required=wanted)
        if field is not None:
            self._fields.append(field)
            self._paths.add(path)
            self._narrowed[name] = narrowing
        return field

    def _texts(self, field: Field, value: Any) -> Mapping[str, str]:
        if self._filled is not None:
            return self._filled.texts
        return as_texts(field, value or field.schema.get("default"))

    def _macro(self, name: str, shown: Mapping[str, Any]) -> Markup:
        return Markup(getattr(self._frame, name)(shown))  # noqa: S704 - the frame's macros escape what they are given

    @staticmethod
    def _help(field: Field, options: Mapping[str, Any]) -> str:
        """What a form file says of an input in its own words stands in the place of what the schema says."""
        return str(options.get("help") or ("" if options.get("label") else field.help))

    def _as_macro(self, field: Field, texts: Mapping[str, str], hint: str) -> dict[str, Any]:
        id, error = self._html_id(field), self._error(field)
        described = [f"{id}-help"] if hint or field.kind in {"instant", "lines", "pairs", "json"} else []
        focus = bool(error) and field.kind != "group" and not self._has_focus
        self._has_focus = self._has_focus or focus
        return {
            "kind": field.kind,
            "id": id,
            "name": field.name,
            "label": field.label,
            "help": hint,
            "error": error,
            "focus": focus,
            "required": field.required,
            "value": texts.get(field.name, ""),
            "choices": [{"value": value, "label": label} for value, label in field.choices],
            "attributes": field.attributes,
            "described": " ".join([*described, *([f"{id}-error"] if error else [])]),
            "parts": [self._as_macro(part, texts, part.help) for part in field.parts],
            "autocomplete": "off" if field.is_unseen else "",
        }

    def _html_id(self, field: Field) -> str:
        return f"{self._id}-{re.sub('[^A-Za-z0-9_]+', '-', field.name).strip('-')}"

    def _error(self, field: Field) -> str:
        problems = self._filled.problems if self._filled else ()
        inside = f"{field.pointer}/"
        return "; ".join(
            self._said(problem, field)
            for problem in problems
            if problem.pointer == field.pointer or (not field.parts and problem.pointer.startswith(inside))
        )

    def _said(self, problem: Problem, field: Field | None) -> str:
        if problem.message == _REQUIRED:
            return self._reach.text("form.is_required")
        if field and field.kind in {"email", "url", "date"}:
            return self._reach.text(f"form.not_{field.kind}")
        return problem.message

    def _as_frame(self, body: Markup, token: str) -> dict[str, Any]:
        filled, config = self._filled or Filled(), self._slip.config
        return {
            "id": self._id,
            "action": f"{self._slip.at}/forms",
            "stylesheet": f"{self._slip.at}/static/forms.css",
            "language": self._slip.language,
            "token": token,
            "body": body,
            "title": config.get("title", ""),
            "opener": config.get("button", "") if self._has_card else "",
            "opened": bool(filled.problems or filled.message),
            "message": filled.message,
            "focus": not self._has_focus,
            "problems": [self._as_summary(problem) for problem in filled.problems],
        }

    def _as_summary(self, problem: Problem) -> dict[str, str]:
        """A line above the form, with a link to the input that it is about."""
        known = [one for field in self._fields for one in _inside_out(field)]
        about = [one for one in known if f"{problem.pointer}/".startswith(f"{one.pointer}/")]
        if not about:
            return {"label": problem.pointer.removeprefix("/"), "id": "", "message": self._said(problem, None)}
        label = self._labels.get(about[0].name, about[0].label)
        return {"label": label, "id": self._html_id(about[0]), "message": self._said(problem, about[0])}

    def _demand_complete(self) -> None:
        """A page that seals too little, or what does not fit, can never be sent: better told to who writes it."""
        fixed = replace(self._slip, given=self._given).fixed
        asked = {path[0] for path in self._paths}
        found = []
        for problem in self._type.schema.problems(self._type.schema.with_defaults(fixed)):
            name = problem.pointer.split("/")[1] if problem.pointer else ""
            if name in asked or (not name and asked):
                continue
            hint = ", and this form does not ask for it; the page must give it"
            found.append(Problem(problem.pointer, problem.message + (hint if problem.message == _REQUIRED else "")))
        if found:
            raise DataError(f"the form {self._type.name}", found)


def _is_known(value: Any) -> bool:
    return value is not None and not isinstance(value, Absent)


def _without_unknown(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {key: _without_unknown(part) for key, part in value.items() if _is_known(part)}


def _inside_out(field: Field) -> list[Field]:
    """A field and its parts, the innermost first."""
    return [*(one for part in field.parts for one in _inside_out(part)), field]


def narrowed_problems(type: RequestType, slip: Slip, data: Mapping[str, Any]) -> list[Problem]:
    """What is wrong with values that a form asks for more narrowly than their request type does."""
    properties = type.properties
    paths = {name: parts.path_of(properties, name) for name in slip.offered}
    absent = [
        Problem(pointer_to(paths[name]), _REQUIRED) for name in slip.required if parts.at(data, paths[name]) is ABSENT
    ]
    rules = []
    for name, narrowing in slip.offered.items():
        unseen = {"writeOnly": True} if marks(parts.schema_at(properties, paths[name])) else {}
        if narrowing or unseen:
            rules.append(parts.nested(paths[name], {**narrowing, **unseen}))
    return absent + Schema({"allOf": rules}).problems(data) if rules else absent
