"""A form to try a request type, made from its schema, and what is sent by it.

Hides: that an operator may give what only a page gives to a visitor, and how the journal says who it was.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, abort, request, url_for

from engine.card_numbers import holds_card_number
from engine.core import Engine
from engine.descriptions import repeats
from engine.errors import CallError, DataError, EngineError, Problem
from engine.forms.fields import ABSENT, Field, as_texts, field_of, misposted, unseen, value_of
from engine.forms.translations import ENGLISH
from engine.reference.examples import plainest
from engine.reference.sources import Sources
from engine.reloading import folders
from engine.request_types import RequestType
from engine.seals import SEALED
from engine.settling import Result
from engine.web.console import gate, shown
from engine.web.console.pages import go, render
from engine.web.console.types import known
from engine.web.console.uses import filled
from engine.web.current import engine_of

_OWN_FIELDS = ("csrf", "operation", "really")
NOT_MEANT = "This host runs in live mode. Tick the box if you mean to move real money."


def blank(gateway: str, name: str) -> Response:
    """A form to try it.

    It is filled in as the call in `from` was, by the record in `record` or, with `example`, as a case is.
    """
    engine = engine_of()
    type = known(engine, gateway, name)
    if not gate.person().operates:
        abort(403, "To try a request type takes the role operate.")
    fields = fields_of(type)
    texts = {name: text for field in fields for name, text in as_texts(field, field.schema.get("default")).items()}
    if "example" in request.args:
        texts = _texts(fields, example(engine, type))
    for call in engine.find("call", id=request.args.get("from", ""), limit=1):
        if call["request_type"] == type.name:
            texts = _texts(fields, call["data"])
    kind, _, id = request.args.get("record", "").partition("/")
    for record in engine.find(kind, id=id, limit=1) if kind in engine.catalog.record_types else ():
        texts |= _texts(fields, filled(engine, type, record))
    return _form(type, fields, texts)


def send(gateway: str, name: str) -> Response:
    """Send what the form was filled in with, once, however often it is posted."""
    engine = engine_of()
    type, posted = known(engine, gateway, name), gate.fields()
    fields = fields_of(type)
    given = {name: texts for name, texts in posted.lists() if name not in _OWN_FIELDS}
    whole = json.dumps(given)
    if holds_card_number(given) or engine.settings.redact(whole) != whole:
        return _form(type, fields, {}, [Problem("", _said("card_number" if holds_card_number(given) else "own_key"))])
    texts = {name: many[-1] for name, many in given.items() if name not in unseen(fields)}
    problems = [Problem(f"/{name}", said) for name, said in misposted(fields, given).items()]
    if engine.settings.live and posted.get("really") != "yes":
        problems.append(Problem("", NOT_MEANT))
    if problems:
        return _form(type, fields, texts, problems)
    values = {field.key: value_of(field, given) for field in fields}
    data = {key: value for key, value in values.items() if value is not ABSENT}
    try:
        return _succeeded(type, engine.send(type.name, data, operation=operation_of(posted.get("operation", ""))))
    except CallError as error:
        return _failed(type, error)
    except DataError as error:
        return _form(type, fields, texts, error.problems)
    except EngineError as error:
        return _form(type, fields, texts, [Problem("", str(error))])


def _succeeded(type: RequestType, result: Result) -> Response:
    if result.call is None:
        response = json.dumps(result.response, indent=2, ensure_ascii=False)
        return render("tried.html", type=type, error="", response=response, records=result.records)
    gate.say("It was carried out.")
    return go(url_for(".call", id=result.call.id))


def _failed(type: RequestType, error: CallError) -> Response:
    if error.call is None:
        return render("tried.html", 502, type=type, error=str(error), response="", records=[])
    gate.say(str(error), bad=True)
    return go(url_for(".call", id=error.call.id))


def _said(key: str) -> str:
    return engine_of().catalog.translations.say(ENGLISH, f"said.{key}")


def operation_of(nonce: str) -> str:
    """The operation of what this person does from a form: the journal says by it who it was."""
    if not re.fullmatch(r"[A-Za-z0-9_-]{16,64}", nonce):
        abort(400, "This was not posted by a form of the console.")
    return f"console:{gate.person().name}:{nonce}"


def fields_of(type: RequestType) -> list[Field]:
    """An input for every property, those among them that only a page may give to a visitor."""
    required = type.schema.document.get("required", ())
    found = (
        field_of((name,), _writable(schema), required=name in required)
        for name, schema in type.properties.items()
        if name != "idempotency_key"
    )
    return [field for field in found if field]


def _writable(schema: Any) -> Any:
    if isinstance(schema, Mapping):
        return {key: _writable(part) for key, part in schema.items() if not (key == "readOnly" and part is True)}
    return [_writable(part) for part in schema] if isinstance(schema, list) else schema


def _texts(fields: Sequence[Field], data: Mapping[str, Any]) -> dict[str, str]:
    """What the inputs show for the data of another call; what was sealed has to be typed again."""
    plain = {name: value for name, value in data.items() if SEALED not in shown.value(value)}
    return {name: text for field in fields for name, text in as_texts(field, plain.get(field.key)).items()}


def example(engine: Engine, type: RequestType) -> Mapping[str, Any]:
    """The data of the case that teaches most; empty where none about its file succeeds."""
    cases = Sources(engine.catalog, folders(engine.root)).cases("request_types", type.name, type.file)
    return next((case.told.get("data", {}) for case in plainest(cases)), {})


def _form(
    type: RequestType, fields: Sequence[Field], texts: Mapping[str, str], problems: Sequence[Problem] = ()
) -> Response:
    return render(
        "try.html",
        422 if problems else 200,
        type=type,
        fields=fields,
        texts=texts,
        problems=problems,
        message=_said("invalid") if any(problem.pointer for problem in problems) else "",
        operation=gate.fields().get("operation") if request.method == "POST" else secrets.token_urlsafe(18),
        repeats=repeats(type),
    )
