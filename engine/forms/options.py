"""What a page may configure about a form, and which paths it may lead to.

    title                            a heading above the form
    button                           the label of its button; a card form then stays closed until it is pressed
    button_modal                     the label of the button that sends an opened card form
    require_zip                      whether the card form asks for a postal code
    hide_account_status              whether the form of a connected account leaves out what the gateway says of it
    success_message, error_message   what the visitor is told, in place of the form file's and the gateway's own words
    success_path, error_path         where the visitor goes then; without error_path the form is shown again
    language                         the language that the form speaks (en)
    terms_path                       where the host's own terms are, for a form that has them accepted
    expires                          seconds until the form is too old (1800)

Everything is sealed with the form, so a visitor can read it and not change it.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from typing import Any

from engine.errors import DataError, Problem, UnknownNameError
from engine.schemas import Schema

EXPIRES = 1800  # seconds
LONGEST = 86_400  # seconds

_LABEL = {"type": "string", "minLength": 1, "maxLength": 500}
_SWITCH = {"type": "boolean"}
_PATH = {"type": "string", "maxLength": 2000}
_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "title": _LABEL,
    "button": _LABEL,
    "button_modal": _LABEL,
    "require_zip": _SWITCH,
    "hide_account_status": _SWITCH,
    "success_message": _LABEL,
    "error_message": _LABEL,
    "success_path": _PATH,
    "error_path": _PATH,
    "language": _LABEL,
    "terms_path": _PATH,
    "expires": {"type": "integer", "minimum": 1, "maximum": LONGEST},
}
_PATHS = [name for name, rule in _OPTIONS.items() if rule is _PATH]
NAMES = frozenset(_OPTIONS)
_SCHEMA = Schema({"type": "object", "properties": _OPTIONS})
_INSTEAD = {
    "gateway": "the name of the form begins with it",
    "request_type": "it is the name of the form",
    "gateway_template": "a form file of your own replaces the shipped one of the same name",
    "callback": "decorate a function of your own with @engine.on(record type)",
}
_OLD = {"redirect_to": "success_path"}

# One slash, then printable ASCII: browsers drop tabs and newlines, and read a backslash as a slash.
_OWN_PATH = re.compile(r"/(?![/\\])[!-\[\]-~]*")


def is_own_path(path: str) -> bool:
    """Whether a browser that is sent to `path` surely stays on this host."""
    return bool(_OWN_PATH.fullmatch(path)) and "//" not in re.split("[?#]", path)[0]


def checked(form: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """The options as they are sealed. Raises UnknownNameError for one that there is not, DataError for a bad value."""
    options: dict[str, Any] = {}
    for name, value in given.items():
        known = _OLD.get(name, name)
        if known != name:
            warnings.warn(f"{name} is now spelt {known}", DeprecationWarning, stacklevel=5)
        if known in _INSTEAD:
            raise DataError(f"the form {form}", [Problem(f"/{known}", f"is no option of a form; {_INSTEAD[known]}")])
        if known not in _OPTIONS:
            raise UnknownNameError("option of a form", name, _OPTIONS)
        if known in options:
            raise DataError(f"the form {form}", [Problem(f"/{known}", f"is given twice, once as {name}")])
        if value is not None:
            options[known] = {"true": True, "false": False}.get(value, value) if _is_switch(known) else value
    problems = _SCHEMA.problems(options)
    problems += [
        Problem(f"/{name}", f"{options[name]!r} is no path of this host; write one like /thanks")
        for name in _PATHS
        if isinstance(options.get(name), str) and not is_own_path(options[name])
    ]
    if problems:
        raise DataError(f"the form {form}", problems)
    return options


def _is_switch(name: str) -> bool:
    return _OPTIONS[name] is _SWITCH
