"""What a call or an event was, read back from its row: for the console's pages and for the command line.

Hides: which of a row's properties say how far it came, and that the records it changed are named, not kept, in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from engine.calls import instant
from engine.settling import changed_by

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.records import Record

Progress = Literal["done", "failed", "open", "none"]

MEANINGS: Mapping[str, str] = {
    "prepared": "waits to be sent",
    "sending": "is being sent",
    "succeeded": "was carried out",
    "declined": "was refused, not carried out",
    "not_done": "was not carried out",
    "unknown": "was PERHAPS carried out",
    "unmapped": "WAS ANSWERED; no records could be made of the answer, which is kept",
    "resolved": "was settled by a person",
    "cancelled": "was never sent, and will not be",
    "received": "is kept and waits to be processed",
    "processed": "its changes are made",
    "ignored": "there is no processor of its name",
    "failed": "will be tried again",
    "dead": "was tried for the last time",
    "quarantined": "is authentic, but not for this host",
}
"""State of a call or an event → what that means."""


@dataclass(frozen=True, slots=True)
class Step:
    """One of the five things that a call goes through. `none`: it came to an end without it. `at` is an instant."""

    name: Literal["rendered", "sent", "answered", "mapped", "stored"]
    progress: Progress
    said: str
    at: str | None = None


# How far a call came that ended in a state: sent, answered, mapped, stored.
_PROGRESS: Mapping[str, tuple[Progress, Progress, Progress, Progress]] = {
    "prepared": ("open", "open", "open", "open"),
    "sending": ("open", "open", "open", "open"),
    "succeeded": ("done", "done", "done", "done"),
    "declined": ("done", "done", "done", "done"),
    "not_done": ("failed", "none", "none", "none"),
    "unknown": ("done", "failed", "open", "open"),
    "unmapped": ("done", "done", "failed", "open"),
    "cancelled": ("none", "none", "none", "none"),
}


def steps(engine: Engine, call: Record) -> list[Step]:
    """A call as a timeline: rendered, sent, answered, mapped, stored."""
    state = call["state"]
    sent, answered, mapped, stored = _PROGRESS.get(state, _resolved(call))
    mapper = engine.catalog.mappers.get(_mapper_name(call))
    if mapper is None and mapped == "done":
        mapped = stored = "none"
    return [
        Step("rendered", "done", f"{call['request']['method']} {call['request']['url']}", born_at(call.id)),
        Step("sent", sent, _sent(call, sent), call.get("first_sent_at")),
        Step("answered", answered, _answered(call, answered), _answered_at(call)),
        Step("mapped", mapped, _mapped(mapper, mapped)),
        Step("stored", stored, _stored(call, stored)),
    ]


def _resolved(call: Record) -> tuple[Progress, Progress, Progress, Progress]:
    answered: Progress = "done" if call.get("answer") else "none"
    return "done", answered, "none", "none"


def _mapper_name(call: Record) -> str:
    name: str = call["request_type"]
    return f"{name}.declined" if call["state"] == "declined" else name


def _sent(call: Record, progress: Progress) -> str:
    times = len(call.get("attempts") or [])
    if progress == "done":
        return f"{times} times, always the same bytes with the same key" if times > 1 else ""
    if progress == "failed":
        return f"provably not carried out: {call.get('message')}"
    if progress == "none":
        return "nothing was sent"
    return (
        "is being sent now" if call["state"] == "sending" else f"not yet; due {call.get('due') or 'when somebody asks'}"
    )


def _answered(call: Record, progress: Progress) -> str:
    kept = call.get("answer")
    if progress == "failed" or not kept:
        return str(call.get("message") or "") if progress == "failed" else ""
    refused = f", a refusal: {call.get('message')}" if call["state"] == "declined" else ""
    return f"{kept['status']} in {round(kept['seconds'] * 1000)} ms{refused}"


def _answered_at(call: Record) -> str | None:
    answered = [line["at"] for line in call.get("attempts") or [] if line["phase"] == "answered"]
    return answered[-1] if answered else None


def _mapped(mapper: Any, progress: Progress) -> str:
    if mapper is None:
        return "there is no mapper: no record is kept of it"
    said = {"done": f"by {mapper.file}", "failed": f"{mapper.file} could make no records of the answer"}
    return said.get(progress, "")


def _stored(call: Record, progress: Progress) -> str:
    changed = len(call.get("changed") or [])
    if progress == "done":
        return f"{changed} {'record' if changed == 1 else 'records'} and the end of the call, in one commit"
    return "the raw answer is kept" if call["state"] == "unmapped" else ""


def born_at(id: str) -> str | None:
    """When a record was made, as its UUIDv7 tells; None where the id is none."""
    digits = id.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":
        return None
    try:
        return instant(datetime.fromtimestamp(int(digits[:12], 16) / 1000, UTC))
    except (ValueError, OverflowError, OSError):
        return None


def changed(engine: Engine, row: Record) -> list[Record]:
    """The records that a call or an event changed, each once, as they are now; those gone since are left out."""
    found = changed_by(engine.store, engine.catalog.record_types, row)
    return list({(record.type, record.id): record for record in found}.values())
