"""Every record type, the records of one by whatever has an index, and one record with all that has to do with it."""

from __future__ import annotations

from itertools import chain

from flask import Response, abort, request

from engine.core import OWN_TYPES, Engine
from engine.errors import UnknownNameError
from engine.reactions import REACTION
from engine.records import Record, RecordType, matches
from engine.schemas import from_text
from engine.stories import born_at
from engine.web.console.calls import one
from engine.web.console.lists import Page, asked, page_of
from engine.web.console.pages import render
from engine.web.console.searching import look_for, meant
from engine.web.console.uses import uses
from engine.web.current import engine_of

COLUMNS = 5  # properties beside the id that a list shows
LOOK = 50  # calls, and events, that a page looks through for those that changed a record; no index knows them


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
    engine, known = engine_of(), _known(type)
    found, after = one(engine, type, id), asked("after")
    return render(
        "record.html",
        type=known,
        record=found,
        born=born_at(found.id),
        indexed={name for name in known.indexed if meant(known, name, str(found.get(name))) is not None},
        unset=[name for name, value in found.properties.items() if value is None],
        writers=writers(engine, found, after),
        after=after,
        naming=naming(engine, known, found),
        uses=uses(engine, found),
        looked=LOOK,
    )


def writers(engine: Engine, record: Record, after: str | None) -> Page:
    """Calls and events that changed a record, newest first: among the newest, and those just before it was made.

    With the id `after`, where the page before ended, among those that are older than that.
    """
    found = [engine.find(type, after=after, limit=LOOK) for type in ("call", "event")]
    end = max((rows[-1].id for rows in found if len(rows) == LOOK), default=None)  # all were looked at down to here
    near = [row for row in chain(*found) if end is None or row.id >= end]
    if after is None and end is not None:
        near += chain(*(engine.find(type, after=min(record.id, end), limit=LOOK) for type in ("call", "event")))
    wrote = sorted((row for row in near if _wrote(row, record)), key=lambda row: row.id, reverse=True)
    return Page(wrote, None, end)


def _wrote(row: Record, record: Record) -> bool:
    changed = row.get("changed") or ()
    mine = row.scope.gateway == record.scope.gateway
    return mine and any(one["type"] == record.type and matches(one["where"], record) for one in changed)


def naming(engine: Engine, type: RecordType, record: Record) -> list[Record]:
    """Other records that name this one, by its id or by what is unique about it."""
    names = {record.id, *(record.get(name) for key in type.unique if len(key) == 1 for name in key)}
    found = [hit for text in names if isinstance(text, str) for hit in chain(*look_for(engine, text)[0].values())]
    others = {(hit.type, hit.id): hit for hit in found if hit.type not in OWN_TYPES and hit.id != record.id}
    return list(others.values())


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
