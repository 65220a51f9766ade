"""The events of a mill, what its files make of them, and, worked out without them, what must be there at the end."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

SECRETS = {
    "MILL_KEY": "test_4eC39HqLyjWDarjtT1zdp7dc",
    "MILL_HOOK": "hook_0123456789abcdef0123456789abcdef",
    "CALLSHEET_SECRET_KEY": "a key of thirty-two bytes or more",
}
BEGAN = 1_767_225_600  # when the first of them happened

_RECORD = """\
summary: Something a mill has.
required: [gateway_id]
unique: [gateway_id]
properties:
  gateway_id: {type: string}
"""

FILES = {
    "request_types/mill/_gateway.yml": """\
base_url: https://api.mill.test
auth: {bearer: MILL_KEY}
webhook:
  scheme: stripe
  secrets: [MILL_HOOK]
  id: "{{ event.id }}"
  type: "{{ event.type }}"
  time: "{{ event.created }}"
  live: "{{ event.live }}"
""",
    "request_types/mill/read.yml": "summary: Read.\nmethod: GET\nurl: /\ndata: {}\n",
    "response_mappers/records/sack.yml": _RECORD
    + "  weight: {type: integer}\n  note: {type: string}\n  torn: {type: boolean}\n",
    "response_mappers/records/order.yml": _RECORD + "  step: {type: integer}\n",
    "response_mappers/records/receipt.yml": _RECORD + "  amount: {type: integer}\n",
    "webhook_processors/mill/sack.weighed.json.j2": """\
{"upsert": "sack", "where": {"gateway_id": {{ event.of }}}, "as_of": {{ event.created | instant }},
 "set": {"weight": {{ event.number }}, "note": {{ event.note }}}}
""",
    "webhook_processors/mill/sack.torn.json.j2": """\
{"update": "sack", "where": {"gateway_id": {{ event.of }}}, "set": {"torn": true}}
""",
    "webhook_processors/mill/order.moved.json.j2": """\
{"upsert": "order", "where": {"gateway_id": {{ event.of }}}, "when": {"step": {"lt": {{ event.number }}}},
 "set": {"step": {{ event.number }}}}
""",
    "webhook_processors/mill/receipt.written.json.j2": """\
{"upsert": "receipt", "where": {"gateway_id": {{ event.of }}}, "set": {"amount": {{ event.number }}}}
""",
}


@dataclass(frozen=True)
class Event:
    """One event. `end` is the state it must end in; `crashes` is how often its processing fails before it succeeds,
    `unstored` how often the store does, before it keeps the event."""

    id: str
    type: str
    of: str
    number: Any
    note: str
    created: int
    end: str = "processed"
    crashes: int = 0
    unstored: int = 0

    @property
    def body(self) -> bytes:
        """As it is sent."""
        said = {name: getattr(self, name) for name in ("id", "type", "of", "number", "note", "created")}
        return json.dumps(said | {"live": False}).encode()


def events(chance: random.Random, count: int, troubled: float = 0.0) -> list[Event]:
    """So many events, as they happened; of a part of them, `troubled`, processing or storing fails at first."""
    things = max(1, count // 12)
    made = [_weighed(chance, number, number) for number in range(things)]
    made += [_any(chance, number, things) for number in range(things, count)]
    return [_troubled(chance, event) if chance.random() < troubled else event for event in made]


def _weighed(chance: random.Random, number: int, thing: int) -> Event:
    note = chance.choice(["", "straight", 'a "quoted" one', "l\u00e4rm\u2028", "\x00", '"},{"state": "paid'])
    return Event(f"evt_{number}", "sack.weighed", f"sack_{thing}", chance.randrange(10**6), note, BEGAN + number)


def _any(chance: random.Random, number: int, things: int) -> Event:
    id, thing, created = f"evt_{number}", chance.randrange(things), BEGAN + number
    match chance.randrange(100):
        case one if one < 40:
            return _weighed(chance, number, thing)
        case one if one < 50:
            return Event(id, "sack.torn", f"sack_{thing}", None, "", created)
        case one if one < 70:
            return Event(id, "order.moved", f"order_{thing}", chance.randrange(1, 100), "", created)
        case one if one < 95:
            return Event(id, "receipt.written", f"receipt_{number}", chance.randrange(10**6), "", created)
        case one if one < 97:
            return Event(id, "mill.moved", "mill", None, "nobody has a file for it", created, "ignored")
        case one if one < 98:
            return Event(id, "sack.torn", f"no_sack_{number}", None, "there will never be such a sack", created, "dead")
        case _:
            return Event(
                id, "receipt.written", f"receipt_{number}", "no number", "it can never be kept", created, "dead"
            )


def _troubled(chance: random.Random, event: Event) -> Event:
    return replace(event, crashes=chance.randrange(4), unstored=chance.randrange(3))


def left(happened: Iterable[Event]) -> dict[str, dict[str, dict[str, Any]]]:
    """What must be there when all of them have been processed: type → gateway id → properties."""
    made: dict[str, dict[str, dict[str, Any]]] = {"sack": {}, "order": {}, "receipt": {}}
    for event in sorted(happened, key=lambda one: one.created):
        if event.end != "processed":
            continue
        kind = event.type.split(".")[0]
        thing = made[kind].setdefault(event.of, {"gateway_id": event.of})
        if event.type == "sack.weighed":
            thing |= {"weight": event.number, "note": event.note}
        elif event.type == "sack.torn":
            thing |= {"torn": True}
        elif event.type == "order.moved":
            thing |= {"step": max(event.number, thing.get("step", 0))}
        else:
            thing |= {"amount": event.number}
    return made
