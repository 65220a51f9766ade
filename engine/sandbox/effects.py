"""What rules do: objects that come to be, objects that change, events that are told of; and the names that rules see.

Hides: how a rule's values are rendered and become objects. Everything is kept or nothing, by whoever asked for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from engine.confined import ABSENT
from engine.sandbox.analogies import exchange, fresh_id, merged, overlaid
from engine.sandbox.files import Part
from engine.sandbox.objects import Lookup, Objects, Thing, fresh
from engine.sandbox.routes import Pattern, Route, Shown
from engine.sandbox.visits import Visit


@dataclass(frozen=True, slots=True)
class Told:
    """An event to send: its type, what it is about, and what is special about it."""

    type: str
    thing: Any
    account: str | None
    endpoint: str
    further: Mapping[str, Any]


@dataclass
class Effects:
    """What one visit does to `objects`, as `rules`, the whole sandbox file, have it; `told` are its events."""

    visit: Visit
    routes: Sequence[Route]
    rules: Part
    now: datetime
    objects: Objects
    told: list[Told] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        visit = self.visit
        self.names = {
            "request": {},
            "query": visit.asked.query,
            "path": visit.named,
            "object": ABSENT,
            "objects": Lookup(self._named),
            "lists": Lookup(lambda at: [seen(one) for one in self.objects.on(at, visit.account)]),
            "tokens": self.rules.get("tokens").value or {},
            "fresh": fresh(),
            "account": visit.account or None,
            "key": visit.key,
            "now": int(self.now.timestamp()),
            "origin": visit.asked.origin,
        }

    def _named(self, name: str) -> Mapping[str, Any] | None:
        found = self.objects.named(name) if isinstance(name, str) and name else None
        return seen(found) if found else None

    @property
    def id(self) -> str:
        """The property that names an object."""
        return self.visit.route.id

    def about(self, thing: Thing) -> None:
        """Have the rules see `thing` as the object."""
        self.names["object"] = seen(thing)

    def let(self, *rules: Part) -> None:
        """Make the names that each of `rules` lets."""
        for rule in rules:
            for name, part in rule.get("let").parts().items():
                self.names[name] = part.render(self.names)

    def mapping(self, part: Part) -> dict[str, Any]:
        """A part that is a mapping; empty where it is absent."""
        value = part.render(self.names)
        return dict(value) if isinstance(value, Mapping) else {}

    def case(self, name: str) -> Shown | None:
        """The case called TYPE/CASE."""
        known = (one for route in self.routes for one in route.shown)
        return next((one for one in known if one.name == name and isinstance(one.answer, Mapping)), None)

    def make(self, rule: Part) -> None:
        """Have further objects come to be."""
        for name, part in rule.get("make").parts().items():
            self.names[name] = seen(self._made(part)) if part.get("when").holds(self.names) else ABSENT

    def _made(self, part: Part) -> Thing:
        told = self.mapping(part.get("set"))
        shown = self.case(str(part.get("like").render(self.names) or ""))
        if shown is None:
            body = {self.id: fresh_id(""), **told}
        else:
            like = collapsed(shown.answer, shown.sent, self.rules, self.id)
            id = told.get(self.id) or fresh_id(like.get(self.id))
            ids = {str(like.get(self.id)): str(id)}
            base = exchange(shown.sent, told, ids, self.now, {}).of(like)
            body = {self.id: id, **merged(dropped(overlaid(base, shown.sent, told), part), told)}
        at = str(part.get("at").render(self.names))
        own = frozenset({*told, self.id})
        return self.put(Thing(at, str(body[self.id]), self.visit.account, body, own))

    def do(self, rule: Part) -> None:
        """Take the steps that a rule names."""
        for name in rule.get("do").value or []:
            step = self.rules.get("steps", name)
            if step.get("when").holds(self.names):
                self.let(step)
                self.make(step)
                self.change(step)
                self.tell(step)

    def change(self, rule: Part) -> None:
        """Have other objects change, or go."""
        for part in rule.get("change").parts().values():
            id = part.get("object").render(self.names)
            thing = self.objects.named(str(id)) if id not in (ABSENT, None) else None
            if thing is None or not part.get("when").holds(self.names):
                continue
            if part.get("remove").value:
                self.objects.remove(thing)
            else:
                self.put(altered(thing, self.mapping(part.get("set"))))

    def put(self, thing: Thing) -> Thing:
        """Remember an object, with what always holds of it."""
        for path, rule in self.rules.get("always").parts().items():
            pattern = Pattern.of("", path)
            if (values := pattern.values(thing.path.strip("/").split("/"))) is not None:
                before = self.names
                self.names = {**before, "path": dict(zip(pattern.names, values, strict=True)), "object": seen(thing)}
                self.let(rule)
                thing = altered(thing, self.mapping(rule.get("set")))
                self.names = before
        self.objects.put(thing)
        return thing

    def tell(self, rule: Part) -> None:
        """Note the events of a rule; what they say nothing else of is about the object."""
        common = self.rules.get("event")
        for part in rule.get("events").parts().values():
            thing = part.get("object").render(self.names) if part.get("object").value else self.names["object"]
            if thing is not ABSENT and part.get("when").holds(self.names):
                self.told.append(self._told(part, common, thing))

    def _told(self, part: Part, common: Part, thing: Any) -> Told:
        type = (part if isinstance(part.value, str) else part.get("type")).render(self.names)
        event = {"type": type, "object": thing}
        known = {**self.names, "event": event}
        own, shared = part.get("account").render(known), common.get("account").render(known)
        event["account"] = account = _first(own, shared, self.visit.account)
        endpoint = _first(part.get("endpoint").render(known), common.get("endpoint").render(known), "")
        further = merged(self.mapping(common.get("set")), self.mapping(part.get("set")))
        return Told(str(type), thing, account or None, str(endpoint), further)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not ABSENT and value is not None), None)


def seen(thing: Thing) -> dict[str, Any]:
    """An object as rules see it, with what is kept aside."""
    return {**thing.body, **thing.aside}


def altered(thing: Thing, further: Mapping[str, Any]) -> Thing:
    """An object with `further` laid over it, which is its own from now on."""
    return replace(thing, body=merged(thing.body, further), own=thing.own | further.keys())


def dropped(body: Mapping[str, Any], rule: Part) -> dict[str, Any]:
    """A body without what a rule says that it does not have."""
    gone = rule.get("drop").value or []
    return {name: part for name, part in body.items() if name not in gone}


def collapsed(answer: Any, sent: Mapping[str, Any], rules: Part, id: str) -> Any:
    """An answer in which what the case asked to be expanded is a reference again, and a list is left out."""
    name = rules.get("expand").value
    if not name or not isinstance(answer, Mapping):
        return answer
    body = dict(answer)
    for place in map(str, sent.get(name) or []):
        if isinstance(part := body.get(place), Mapping):
            del body[place]
            if id in part:
                body[place] = part[id]
    return body
