"""What a call sent, was answered and kept, told in a few lines.

Hides: how a call's journal row and an event's are read back for a person.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from engine.cli import requests, tables

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.records import Record

LONG = 72  # characters of one value among many
_BORING = ("gateway", "live", "account")


def request_of(call: Record) -> str:
    """The request that a call sends, as it was frozen; credentials are never part of it."""
    from engine.calls import is_private, visible
    from engine.seals import SEALED

    shown = requests.shown(visible(call["request"]))
    if call.get("purged"):
        return f"{shown}\n\n{_purged(call)}"
    return f"{shown}\n\n{SEALED}" if is_private(call) else shown


def answer_of(call: Record, *, brief: bool = False) -> str:
    """Status and body of the answer, empty where none came; `brief`: only what it says at its top."""
    from engine.answers import parse_json
    from engine.calls import visible_answer
    from engine.seals import SEALED

    kept = call.get("answer")
    if not kept:
        return ""
    body = visible_answer(kept).body
    said = SEALED if "sealed_body" in kept else requests.body(body, kept["headers"].get("content-type", ""))
    try:
        top = parse_json(body) if brief else None
    except ValueError:
        top = None
    if call.get("purged"):
        said = _purged(call)
    if isinstance(top, dict):
        said = " ".join(f"{tables.text(name)}={_short(_value(value))}" for name, value in _sayings(top))
    return "\n".join([f"{kept['status']} in {round(kept['seconds'] * 1000)} ms", *([said] if said else [])])


def whole(value: Any) -> str:
    """An answer, indented, without what is sealed in it."""
    from engine.seals import without_seals

    return tables.lines(json.dumps(without_seals(value), indent=2, ensure_ascii=False))


def _sayings(top: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """What stands at the top of an answer, or in its error; not what is nested deeper or says nothing."""
    inner = top.get("error")
    part = inner if isinstance(inner, Mapping) else top
    return [(name, value) for name, value in part.items() if isinstance(value, str | int | float) and value != ""]


def attempts_of(call: Record) -> str:
    """One line for every time it was sent."""
    rows = []
    for line in call.get("attempts") or []:
        named = [f"request id {line['request_id']}"] if "request_id" in line else []
        said = [str(line["status"])] if "status" in line else [line["phase"].replace("_", " ")]
        rows.append(", ".join([f"{line['at']}  {line['class']}", *said, f"{line['ms']} ms", *named]))
    return tables.lines("\n".join(rows))


def kept(record: Record) -> str:
    """One record in one paragraph: what it is, and everything it says."""
    pairs = [(name, value) for name, value in record.as_dict().items() if name != "id" and name not in _BORING]
    said = [f"{name}={_short(_value(value))}" for name, value in pairs if value not in (None, "", [], {})]
    scope = [f"account={tables.text(record.scope.account)}"] if record.scope.account else []
    return f"{click.style(record.type, bold=True)} {record.id}\n  {' '.join([*said, *scope])}"


def records(engine: Engine, touched: Iterable[Record]) -> str:
    """What was kept; a record that several changes touched is shown once, as it became."""
    latest = {(record.type, record.id): record for record in touched}
    return "\n".join(
        kept(record)
        if engine.store.find(record.type, where={"id": record.id}, limit=1)
        else f"{click.style(record.type, bold=True)} {record.id} is removed"
        for record in latest.values()
    )


def call(engine: Engine, row: Record) -> str:
    """A call's whole story."""
    from engine.stories import changed

    followed = engine.find("call", parent=row.id, order="id")
    pairs = [
        ("call", f"{row.id}  {tables.text(row['request_type'])}"),
        ("state", _state(row)),
        ("message", tables.text(row["message"]) if row["state"] != "succeeded" else ""),
        ("mode", _mode(row)),
        ("asked by", tables.text(row["parent"])),
        ("operation", tables.text(row["operation"]) if row["operation"] != row.id else ""),
        ("due", tables.text(row["due"])),
        ("sent", request_of(row)),
        ("attempts", attempts_of(row)),
        ("answered", answer_of(row)),
        ("kept", records(engine, changed(engine, row))),
        ("then", "\n".join(f"{one.id}  {one['request_type']}  {tables.state(one['state'])}" for one in followed)),
    ]
    return tables.facts(pairs)


def event(engine: Engine, row: Record) -> str:
    """An event's whole story."""
    from engine.calls import as_bytes
    from engine.stories import changed

    followed = engine.find("call", parent=row.id, order="id")
    tries = f"{row['tries']}, the next at {row['due']}" if row["tries"] and row["due"] else str(row["tries"] or "")
    pairs = [
        ("event", f"{row.id}  {tables.text(row['event_type'])}"),
        ("state", _state(row)),
        ("message", tables.text(row["message"])),
        ("mode", _mode(row)),
        ("named", tables.text(row["event_id"])),
        ("endpoint", tables.text(row["endpoint"])),
        ("happened", tables.text(row["happened_at"])),
        ("received", tables.text(row["received_at"])),
        ("failed", tries),
        ("headers", "\n".join(tables.text(f"{name}: {value}") for name, value in (row["headers"] or {}).items())),
        ("body", _purged(row) if row["purged"] else requests.body(as_bytes(row["body"]), "application/json")),
        ("kept", records(engine, changed(engine, row))),
        ("then", "\n".join(f"{one.id}  {one['request_type']}  {tables.state(one['state'])}" for one in followed)),
    ]
    return tables.facts(pairs)


def rows(found: Sequence[Record], columns: Sequence[str]) -> str:
    """Records as a table of id and `columns`."""
    cells = [[record.id, *(_value(record[name]) for name in columns)] for record in found]
    return tables.table(["id", *columns], cells)


def _value(value: Any) -> str:
    from engine.seals import SEALED, is_sealed

    return SEALED if is_sealed(value) else tables.text(value)


def _short(value: str) -> str:
    return value if len(value) <= LONG else value[: LONG - 1] + "…"


def _state(row: Record) -> str:
    from engine.stories import MEANINGS

    return f"{tables.state(row['state'])}: {MEANINGS.get(row['state'], '')}"


def _purged(row: Record) -> str:
    return f"(its body was purged at {row['purged']})"


def _mode(row: Record) -> str:
    account = f", account {tables.text(row.scope.account)}" if row.scope.account else ""
    return f"{tables.text(row.scope.gateway)}, {'live' if row.scope.live else 'test'}{account}"
