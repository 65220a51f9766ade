"""What can be done with a record: the request types whose cases begin with one like it and hand on what it says.

Hides: that no file says so in as many words. A case tells of the records that were there `before` and of the `data` of
a call; a value that stands in both is what the call takes from the record.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from flask import current_app

from engine.cases import Case
from engine.catalog import Catalog
from engine.core import Engine
from engine.errors import DefinitionError
from engine.records import Record, RecordType
from engine.reference.sources import Sources
from engine.reloading import folders
from engine.request_types import RequestType


@dataclass(frozen=True, slots=True)
class Use:
    """A call that takes a record: `given` are names in its data → properties of the record, which is in `state`.

    `changes`: whether the record is another one after it.
    """

    type: RequestType
    given: Mapping[str, str]
    state: Any
    changes: bool


def uses(engine: Engine, record: Record) -> list[Use]:
    """What can be done with a record in the state that it is in, each request type once, those that change first."""
    shown = _shown(engine, record.type, record.scope.gateway)
    changing = {use.type.name for use in shown if use.changes}  # such a call is no use where it changes nothing
    found: dict[str, Use] = {}
    for use in shown:
        before = found.get(use.type.name)
        fits = use.state in (None, record.get("state")) and (use.changes or use.type.name not in changing)
        fits = fits or not use.type.journaled  # to read it is never wrong
        if fits and (before is None or len(before.given) < len(use.given)):
            found[use.type.name] = use
    return sorted(found.values(), key=lambda use: not use.type.journaled)


def filled(engine: Engine, type: RequestType, record: Record) -> dict[str, Any]:
    """The data of a call of `type` that a record gives; empty where no case shows that it gives any."""
    given = next((use.given for use in uses(engine, record) if use.type.name == type.name), {})
    return {name: record.id if source == "id" else record.get(source) for name, source in given.items()}


def _shown(engine: Engine, record_type: str, gateway: str) -> list[Use]:
    """Kept for as long as the files are the same, for cases take a while to read."""
    catalog = engine.catalog
    kept: _Kept | None = current_app.extensions.get(_KEPT)
    if kept is None or kept.catalog is not catalog:
        kept = current_app.extensions[_KEPT] = _Kept(catalog)
    if (record_type, gateway) not in kept.uses:
        sources = Sources(catalog, folders(engine.root))
        kept.uses[record_type, gateway] = list(read(sources, record_type, gateway))
    return kept.uses[record_type, gateway]


@dataclass(frozen=True, slots=True)
class _Kept:
    catalog: Catalog
    uses: dict[tuple[str, str], list[Use]] = field(default_factory=dict)


_KEPT = "callsheet_uses"  # the app's extension


def read(sources: Sources, record_type: str, gateway: str) -> Iterator[Use]:
    """Every use of a record type that a case of the gateway's request types shows."""
    known = sources.catalog.record_types.get(record_type)
    if known is None:
        return
    for name, type in sorted(sources.catalog.request_types.items()):
        if type.gateway.name == gateway:
            for case in _cases(sources, name, record_type):
                yield from _told(case, type, known)


def _cases(sources: Sources, name: str, record_type: str) -> list[Case]:
    try:
        return sources.cases("request_types", name, f"request_types/{name}.yml", about=f"{record_type}:")
    except DefinitionError:  # of a case that somebody is still writing; a record is shown without it
        return []


def _told(case: Case, type: RequestType, known: RecordType) -> Iterator[Use]:
    """A call that takes a record names it, and so hands on its id or one of its unique properties."""
    keys = {"id", *(name for key in known.unique for name in key)}
    for record in case.told.get("before", {}).get(known.name, []) if case.succeeds else []:
        given = {
            name: source
            for name, value in case.told.get("data", {}).items()
            for source, kept in record.items()
            if isinstance(value, str) and value == kept
        }
        if keys & set(given.values()):
            yield Use(type, given, record.get("state"), _is_changed(case, known.name, record))


def _is_changed(case: Case, type: str, record: Mapping[str, Any]) -> bool:
    """Whether no record that is there after the case says all that this one said before."""
    after = case.told.get("after", {}).get(type, [])
    return not any(all(record[name] == kept[name] for name in record.keys() & kept.keys()) for kept in after)
