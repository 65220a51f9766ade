"""What must be true after everything, counted at the bank and in the store."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.core import Engine
from engine.records import Record
from engine.windows import MOST_TRIES

from .children import all_records
from .running import Tally

KINDS = {"charge": "charges", "refund": "refunds", "cash": "cash"}
NEVER = ["declined", "not_done", "cancelled"]


@dataclass(frozen=True)
class Finding:
    """A number that must be 0, and a few of those it counts."""

    claim: str
    wrong: Sequence[Any]

    def __str__(self) -> str:
        some = ", ".join(map(str, self.wrong[:3]))
        return f"{self.claim:<58}{len(self.wrong):>8}{'   ' + some if some else ''}"


def findings(engine: Engine, books: Mapping[str, Any], tally: Tally) -> list[Finding]:
    """Everything that must not be."""
    effects: list[dict[str, Any]] = books["effects"]
    by_id = {effect["id"]: effect for effect in effects}
    moved = {record["gateway_id"]: record for record in all_records(engine, "movement")}
    calls = all_records(engine, "call")
    by_hand = {call.id for call in calls if call.get("resolution") == "succeeded"}
    given_up = {call["data"].get("order") for call in calls if _used_up(call)}
    undone = {call.id for call in calls if (call.get("resolution") or call["state"]) in NEVER}
    keyed = [call for call in calls if not call["request_type"].endswith("/cash")]
    times = Counter((effect["order"], effect["object"]) for effect in effects)
    ordered = {effect["order"] for effect in effects}
    told = {order.name: tally.told.get(order.number, ("nothing", None)) for order in tally.orders}
    shared = {effect["id"]: effect["order"] for effect in effects if effect["object"] == "charges"}
    passed_on = {effect["of"] for effect in effects if effect["object"] == "transfers"}
    wanted = {order.name for order in tally.orders if order.data.get("shared")}
    return [
        Finding("orders carried out more than once", [order for (order, _), count in times.items() if count > 1]),
        Finding(
            "success told, nothing done",
            [
                name
                for name, (said, id) in told.items()
                if (said == "succeeded" and id not in by_id) or (said == "by hand" and name not in ordered)
            ],
        ),
        Finding(
            "done, and no record of it",
            [one["id"] for one in effects if one["id"] not in moved and one["call"] not in by_hand],
        ),
        Finding(
            "recorded otherwise than done, or never done",
            [id for id, record in moved.items() if not _same(record, by_id.get(id))],
        ),
        Finding("called refused or not done, yet done", [one["id"] for one in effects if one["call"] in undone]),
        Finding("told that it was not done, after it was", _denied(effects, tally)),
        Finding("keys reused with other bytes", range(books["counts"].get("keys reused with other bytes", 0))),
        Finding("calls stuck, and nobody told", [call.id for call in calls if _stuck(call)]),
        Finding(
            "calls left to a person though they have a key, and tries",
            [call.id for call in keyed if call["state"] in {"unknown", "unmapped", "resolved"} and not _used_up(call)],
        ),
        Finding(
            "calls that follow, lost",
            [
                order
                for id, order in shared.items()
                if order in wanted and id in moved and id not in passed_on and order not in given_up
            ],
        ),
        Finding("orders never settled", [order.name for order in tally.unsettled]),
        Finding("other faults", tally.faults),
    ]


def _denied(effects: Sequence[Mapping[str, Any]], tally: Tally) -> list[str]:
    """The orders whose callers were told "not done" by who asked later than it was done."""
    done = {(effect["order"], effect["object"]): effect["at"] for effect in reversed(effects)}
    objects = {order.number: (order.name, KINDS[order.kind]) for order in tally.orders}
    asked = [(objects[number], datetime.fromisoformat(instant).timestamp()) for number, instant in tally.not_done]
    return [name for (name, kind), instant in asked if done.get((name, kind), instant) < instant]


def history(engine: Engine, books: Mapping[str, Any], found: Sequence[Finding]) -> list[str]:
    """All that is known of the first few orders, effects and calls that something is wrong with."""
    suspects = {str(one) for finding in found for one in finding.wrong[:3]}
    effects = books["effects"]
    orders = {effect["order"] for effect in effects if suspects & {effect["id"], effect["order"], effect["call"]}}
    orders |= suspects
    lines = [f"effect {effect}" for effect in effects if effect["order"] in orders]
    lines += [f"call {call.as_dict()}" for call in all_records(engine, "call") if call["data"].get("order") in orders]
    return lines


def _same(record: Record, effect: Mapping[str, Any] | None) -> bool:
    return effect is not None and all(
        record[name] == effect[name] for name in ("order", "object", "amount", "currency")
    )


def _used_up(call: Record) -> bool:
    """Whether a person found it undone after all its tries, as where a gateway keeps a 500 for its key, and is busy."""
    return (call.get("tries") or 0) > MOST_TRIES and call.get("resolution") == "not_done"


def _stuck(call: Record) -> bool:
    """In recovery's hands after recovery has ended."""
    return call["state"] in {"prepared", "sending"} or (call["state"] == "unknown" and bool(call.get("due")))


def circumstances(engine: Engine, books: Mapping[str, Any], tally: Tally) -> list[tuple[str, object]]:
    """What happened meanwhile: it shows that there was something to survive."""
    calls = all_records(engine, "call")
    counted: Mapping[str, int] = books["counts"]
    lines: list[tuple[str, object]] = [
        ("processes killed", tally.kills),
        *sorted(tally.counts.items()),
        ("orders", len(tally.orders)),
        ("effects at the bank", len(books["effects"])),
        *sorted(counted.items()),
        *sorted(Counter(f"calls {call['state']}" for call in calls).items()),
        ("calls settled by a look-up", sum(_looked_up(call) for call in calls)),
        ("calls that a worker came back to", sum((call.get("tries") or 0) > 0 for call in calls)),
        ("most attempts of one call", max((len(call["attempts"]) for call in calls), default=0)),
    ]
    return lines


def _looked_up(call: Record) -> bool:
    attempts = call["attempts"]
    return bool(attempts) and attempts[-1]["class"] == "looked_up"
