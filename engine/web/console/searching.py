"""One text, looked for everywhere it could be an id: of ours, of the gateway, of an operation, or an indexed property.

Hides: which keys and indexes there are. Every look is one through an index and brings a few rows, so a search costs as
much with a million calls as with ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from flask import Response, request

from engine.core import OWN_TYPES, Engine
from engine.errors import StoreError, UnknownNameError
from engine.records import Record, RecordType
from engine.schemas import from_text
from engine.web.console.pages import go, link, render
from engine.web.current import engine_of

MOST = 10  # records of each place
_OWN = {"call": ("operation", "key", "parent"), "event": ("event_id",)}


def search() -> Response:
    """What was found; where it is one record, that record's page."""
    text = request.args.get("q", "").strip()[:300]
    found, unsearched = look_for(engine_of(), text) if text else ({}, [])
    only = {(record.type, record.id) for records in found.values() for record in records}
    if len(only) == 1:
        return go(link(*only.pop()))
    return render("search.html", text=text, found=found, unsearched=unsearched, most=MOST)


def look_for(engine: Engine, text: str) -> tuple[dict[str, list[Record]], list[str]]:
    """Where it was found → the records; and where it could not be looked for, because an index is not complete."""
    found: dict[str, list[Record]] = {}
    unsearched: list[str] = []
    for type, name, wanted in _places(engine, text):
        try:
            records = engine.find(type, limit=MOST, **{name: wanted})
        except (StoreError, UnknownNameError) as error:
            unsearched.append(str(error))
            continue
        if records:
            found[f"{type} by {name}"] = records
    return found, unsearched


def _places(engine: Engine, text: str) -> Iterator[tuple[str, str, Any]]:
    for type, names in _OWN.items():
        yield from ((type, name, text) for name in ("id", *names) if name in OWN_TYPES[type].searchable)
    for name, known in engine.catalog.record_types.items():
        yield name, "id", text
        for indexed in sorted(known.indexed):
            if (wanted := meant(known, indexed, text)) is not None:
                yield name, indexed, wanted


def meant(type: RecordType, name: str, text: str) -> Any:
    """What somebody meant who typed `text` for a property; None where it cannot be one, or tells nothing apart."""
    schema: Mapping[str, Any] = type.properties[name]
    if "enum" in schema:
        return None
    items = schema.get("items")
    inner = items if isinstance(items, Mapping) else schema
    wanted = from_text(inner, text)
    kinds = inner.get("type", "string")
    takes_text = "string" in (kinds if isinstance(kinds, list) else [kinds])
    if isinstance(wanted, str):
        return wanted if takes_text else None
    return wanted if isinstance(wanted, int | float) and not isinstance(wanted, bool) else None
