"""Every record type, and the records of one by whatever has an index."""

from __future__ import annotations

from flask import Response, abort, request

from engine.errors import UnknownNameError
from engine.reactions import REACTION
from engine.records import RecordType
from engine.schemas import from_text
from engine.stories import born_at
from engine.web.console.calls import one
from engine.web.console.lists import page_of
from engine.web.console.pages import render
from engine.web.current import engine_of

COLUMNS = 5  # properties beside the id that a list shows


def record_types() -> Response:
    """All of them."""
    return render("record_types.html", types=engine_of().catalog.record_types)


def records(type: str) -> Response:
    """The records of a type, newest first; `by` an indexed property where one is asked for."""
    engine = engine_of()
    known = _known(type)
    by, text = request.args.get("by", ""), request.args.get("value", "")[:300]
    names = sorted(("id", *known.indexed))
    where = {}
    if text and by in names:
        schema = known.properties.get(by, {})
        items = schema.get("items")
        where[by] = from_text(items if isinstance(items, dict) else schema, text)
    page = page_of(engine, type, where)
    return render("records.html", type=known, page=page, columns=columns(known), names=names, by=by, text=text)


def record(type: str, id: str) -> Response:
    """One record with everything it says."""
    known = _known(type)
    found = one(engine_of(), type, id)
    return render("record.html", type=known, record=found, born=born_at(found.id), columns=columns(known))


def columns(type: RecordType) -> list[str]:
    """The properties that a list shows: what is required, then what can be searched."""
    first = [*type.required, *(name for key in type.unique for name in key), *type.index]
    return list(dict.fromkeys(first))[:COLUMNS]


def _known(type: str) -> RecordType:
    if type == REACTION.name:
        return REACTION
    try:
        return engine_of().catalog.record_type(type)
    except UnknownNameError as error:
        abort(404, str(error))
