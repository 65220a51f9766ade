"""What is wrong with a host, or soon will be, and what to do about it: for the command, a console, and a start.

    findings    what a check finds
    keys        secrets and settings
    places      the database, and who may read what lies in the folder
    work        calls, events and reactions that nobody settles
    gateways    what only a gateway can say: the time, and which endpoints it knows

Hides: which checks need the store or a gateway, and which of them must be good before live money may move.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from engine.core import Engine
from engine.doctor import gateways, keys, places, work
from engine.doctor.findings import Finding
from engine.errors import DefinitionError, Fault, SettingError, StoreError

__all__ = ["Finding", "demand_fit", "examine"]


def examine(opened: Callable[[], Engine], *, offline: bool = False) -> list[Finding]:
    """Look at everything of the host whose engine `opened` returns. `offline`: no gateway is asked.

    Nothing is changed, but that endpoints are kept as their gateway lists them.
    """
    try:
        engine = opened()
    except DefinitionError as error:
        return [_faulty(fault) for fault in error.faults]
    except SettingError as error:
        return [Finding("problem", "keys", error.message, error.name, keys.MEND)]
    except StoreError as error:
        return [Finding("problem", "store", str(error), "CALLSHEET_STORE", keys.MEND)]
    there, stored, registered = False, list[Finding](), set[tuple[str, str]]()
    try:
        stored += places.store(engine)
        if places.is_made(engine):
            stored += [*places.seals(engine), *work.findings(engine)]
            registered = gateways.registered(engine)
            there = True
    except StoreError as error:
        stored.append(Finding("problem", "store", str(error), remedy=_REACH))
    known = keys.findings(engine.catalog, engine.settings, engine.root, registered)
    asked = [] if offline else gateways.findings(engine, with_endpoints=there)
    return [*_files(engine), *known, *places.permissions(engine), *stored, *asked]


_REACH = "see that the database runs, and that CALLSHEET_STORE names it; callsheet db status"


def demand_fit(engine: Engine) -> None:
    """Raise SettingError where a host is for live money and what can be seen before it starts is a problem."""
    if engine.settings.live:
        found = keys.findings(engine.catalog, engine.settings, engine.root)
        for one in (*found, *places.permissions(engine)):
            if one.level == "problem":
                raise SettingError(one.where, f"{one.said}; nothing is started for live money before: {one.remedy}")


def _files(engine: Engine) -> Iterator[Finding]:
    yield from map(_faulty, engine.faults)
    if not engine.faults:
        catalog = engine.catalog
        yield Finding("ok", "files", f"{len(catalog.request_types)} request types and {len(catalog.processors)} events")


def _faulty(fault: Fault) -> Finding:
    where = f"{fault.file}:{fault.line}:{fault.column}"
    return Finding("problem", "files", fault.message, where, "mend the file, then callsheet check")
