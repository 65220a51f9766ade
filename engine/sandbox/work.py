"""One request carried out: refused, or answered after a case, with all that its rules say.

Hides: the order of things. let → refuse → the case's answer → make → set → do → change → events → fails.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from engine.confined import ABSENT
from engine.sandbox.analogies import exchange, fresh_id, merged, overlaid, pairs
from engine.sandbox.asked import Answered, Asked
from engine.sandbox.files import Part
from engine.sandbox.objects import Lookup, Objects, Thing, fresh
from engine.sandbox.routes import Pattern, Route, Shown


class Refused(Exception):
    """The gateway says no: `name` of the refusal, what it is `given`; `kept`: it was begun, and all that is kept."""

    def __init__(self, name: str, given: Mapping[str, Any], *, kept: bool = False) -> None:
        self.name, self.given, self.kept = name, given, kept
        super().__init__(name)


@dataclass(frozen=True, slots=True)
class Told:
    """An event to send: its type, what it is about, and what is special about it."""

    type: str
    thing: Any
    account: str | None
    endpoint: str
    further: Mapping[str, Any]


@dataclass
class Work:
    """One request at one gateway. `values` are those of its path, `sent` its body as it was meant."""

    asked: Asked
    route: Route
    routes: Sequence[Route]
    rules: Part
    values: Sequence[str]
    sent: Mapping[str, Any]
    account: str
    key: str | None
    now: datetime
    objects: Objects
    told: list[Told] = field(default_factory=list)
    names: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.names = {
            "request": self.sent,
            "query": self.asked.query,
            "path": dict(zip([*self.route.pattern.names, *self.route.names], [*self.values] * 2, strict=False)),
            "object": ABSENT,
            "objects": Lookup(self._object),
            "lists": Lookup(lambda at: [_seen(one) for one in self.objects.on(at, self.account)]),
            "tokens": self.rules.get("tokens").value or {},
            "fresh": fresh(),
            "account": self.account or None,
            "key": self.key,
            "now": int(self.now.timestamp()),
            "origin": self.asked.origin,
        }

    def _object(self, name: str) -> Mapping[str, Any] | None:
        found = self.objects.named(name) if isinstance(name, str) and name else None
        return _seen(found) if found else None

    # The order of things ----------------------------------------------------------------------------------------------

    def done(self) -> Answered:
        """Carry it out. Raises Refused."""
        place = self.route.object_at()
        thing = self._asked_for(place) if place is not None else None
        if thing is not None:
            self.names["object"] = _seen(thing)
        self._let(self.rules.get("let"))
        self._let(self.route.rules.get("let"))
        self._demand("refuse", kept=False)
        shown = self._shown()
        if thing is None:
            answered = self._made(shown)
        elif self.asked.method == "DELETE":
            answered = self._removed(thing, shown)
        else:
            answered = self._changed(thing, shown)
        self._demand("fails", kept=True)
        return answered

    def _demand(self, part: str, *, kept: bool) -> None:
        """Raises Refused where a rule says no."""
        for rule in self.route.rules.get(part).parts().values():
            if rule.get("when").holds(self.names):
                given = rule.get("given").render(self.names)
                raise Refused(
                    str(rule.get("as").render(self.names)), given if isinstance(given, Mapping) else {}, kept=kept
                )

    def _asked_for(self, place: int) -> Thing:
        """The object whose id is the value at `place` of the path. Raises Refused."""
        ends = [number for number, part in enumerate(self.route.pattern.segments) if part is None]
        path = "/" + "/".join(self.asked.segments[: ends[place] + 1])
        found = self.objects.at(path, self.account)
        if found is None:
            raise Refused("missing", self.missing(place))
        return found

    def missing(self, place: int) -> dict[str, Any]:
        """What a refusal is given where nothing is of the id at `place` of the path."""
        ends = [number for number, part in enumerate(self.route.pattern.segments) if part is None]
        list_of = self.asked.segments[ends[place] - 1] if ends[place] else ""
        name, value = self.route.pattern.names[place], self.values[place]
        return {"message": f"There is no {value!r} in {list_of}.", "name": name, "value": value, "list": list_of}

    def _let(self, let: Part) -> None:
        for name, part in let.parts().items():
            self.names[name] = part.render(self.names)

    def _shown(self) -> Shown | None:
        like = self.route.rules.get("like").render(self.names)
        if like is ABSENT:
            return self.route.nearest(self.sent)
        own = next((one for one in self.route.shown if one.name.endswith(f"/{like}")), None)
        return own or self._case(str(like))

    def listed(self) -> list[Mapping[str, Any]]:
        """What is on the list that is asked for, newest first."""
        self._let(self.rules.get("let"))
        self._let(self.route.rules.get("let"))
        if self.route.rules.get("items").value:
            items = self.route.rules.get("items").render(self.names)
            return items if isinstance(items, list) else []
        at = "/" + "/".join(self.asked.segments)
        return [one.body for one in self.objects.on(at, self.account)]

    # What becomes of an object ----------------------------------------------------------------------------------------

    def _made(self, shown: Shown | None) -> Answered:
        id = fresh_id(_id_of(shown, self.route.id))
        body = self._after(shown, id, {}, self.sent)
        at = "/" + "/".join(self.asked.segments)
        known = isinstance(body, Mapping) and (self.route.id in body or shown is None)
        if not isinstance(body, Mapping):
            return self._answered(shown, body)
        if known:
            body = {self.route.id: id, **body}
        thing = Thing(at, str(id), self.account, body, self._own(self.sent, body))
        return self._settled(thing, shown, kept=known)

    def _changed(self, thing: Thing, shown: Shown | None) -> Answered:
        own = {name: thing.body[name] for name in {*thing.own, self.route.id} if name in thing.body}
        body = self._after(shown, thing.body.get(self.route.id), own, self.sent)
        if not isinstance(body, Mapping):
            body = {}
        sent = overlaid({**thing.body, **body, **own}, {}, self.sent)
        return self._settled(replace(thing, body=sent, own=thing.own | self._own(self.sent, sent)), shown, kept=True)

    def _removed(self, thing: Thing, shown: Shown | None) -> Answered:
        id = thing.body.get(self.route.id)
        answer = self._after(shown, id, {}, self.sent) if shown else {self.route.id: id, "deleted": True}
        self._make(self.route.rules)
        self.objects.remove(thing)
        self._change(self.route.rules)
        self._tell(self.route.rules, _seen(thing))
        return self._answered(shown, answer)

    def _settled(self, thing: Thing, shown: Shown | None, *, kept: bool) -> Answered:
        rules = self.route.rules
        thing = replace(thing, body=_dropped(thing.body, rules))
        self.names["object"] = _seen(thing)
        self._make(rules)
        if isinstance(further := rules.get("set").render(self.names), Mapping):
            thing = replace(thing, body=merged(thing.body, further), own=thing.own | further.keys())
        answer = thing.body
        once = [name for name in rules.get("once").value or [] if name in thing.body]
        if once:
            aside = {**thing.aside, **{name: thing.body[name] for name in once}}
            body = {name: part for name, part in thing.body.items() if name not in once}
            thing = replace(thing, body=body, aside=aside)
        self.names["object"] = _seen(thing)
        if kept:
            thing = self._put(thing)
        self._do(rules)
        self._change(rules)
        if now := self.objects.at(thing.path, thing.account) if kept else None:
            thing = now
            self.names["object"] = _seen(thing)
        self._tell(rules, thing.body)
        return self._answered(shown, answer if once else thing.body)

    def _own(self, sent: Mapping[str, Any], body: Mapping[str, Any]) -> frozenset[str]:
        could = [type.written.get("body") for type in self.route.types]
        names = {name for one in could if isinstance(one, Mapping) for name in one}
        return frozenset(name for name in {*sent, *names, self.route.id, "created"} if name in body)

    def _after(self, shown: Shown | None, id: Any, own: Mapping[str, Any], sent: Mapping[str, Any]) -> Any:
        """What the case answers, with everything exchanged; what is sent where there is none."""
        if shown is None:
            return dict(sent)
        answer = _collapsed(shown.answer, shown.sent, self.rules, self.route.id)
        own_case = shown in self.route.shown
        ids = {old: new for old, new in zip(shown.values, self.values, strict=False) if own_case and old != new}
        if isinstance(answer, Mapping) and self.route.id in answer and id is not None:
            ids[str(answer[self.route.id])] = str(id)
        further = pairs(answer, own) if isinstance(answer, Mapping) else {}
        made = exchange(shown.sent, sent, ids, self.now, further).of(answer)
        return overlaid(made, shown.sent, sent) if isinstance(made, Mapping) else made

    # Effects ----------------------------------------------------------------------------------------------------------

    def _do(self, rules: Part) -> None:
        for name in rules.get("do").value or []:
            step = self.rules.get("steps", name)
            if step.get("when").holds(self.names):
                self._let(step.get("let"))
                self._make(step)
                self._change(step)
                self._tell(step, self.names["object"])

    def _make(self, rules: Part) -> None:
        for name, rule in rules.get("make").parts().items():
            if not rule.get("when").holds(self.names):
                self.names[name] = ABSENT
                continue
            told = rule.get("set").render(self.names)
            sent = told if isinstance(told, Mapping) else {}
            shown = self._case(str(rule.get("like").render(self.names) or ""))
            body, id = dict(sent), fresh_id("")
            if shown is not None:
                id = sent.get(self.route.id) or fresh_id(_id_of(shown, self.route.id))
                answer = _collapsed(shown.answer, shown.sent, self.rules, self.route.id)
                ids = {str(answer.get(self.route.id)): str(id)}
                base = exchange(shown.sent, sent, ids, self.now, {}).of(answer)
                body = merged(_dropped(overlaid(base, shown.sent, sent), rule), sent)
            body = {self.route.id: id, **body}
            at = str(rule.get("at").render(self.names))
            thing = Thing(
                at, str(body[self.route.id]), self.account, body, frozenset({*sent, self.route.id, "created"})
            )
            self.names[name] = _seen(self._put(thing))

    def _case(self, name: str) -> Shown | None:
        known = (one for route in self.routes for one in route.shown)
        return next((one for one in known if one.name == name and isinstance(one.answer, Mapping)), None)

    def _change(self, rules: Part) -> None:
        for rule in rules.get("change").parts().values():
            id = rule.get("object").render(self.names)
            thing = self.objects.named(str(id)) if id not in (ABSENT, None) else None
            if thing is None or not rule.get("when").holds(self.names):
                continue
            if rule.get("remove").value:
                self.objects.remove(thing)
                continue
            further = rule.get("set").render(self.names)
            if isinstance(further, Mapping):
                thing = replace(thing, body=merged(thing.body, further), own=thing.own | further.keys())
            self._put(thing)

    def _put(self, thing: Thing) -> Thing:
        """Remember an object, with what always holds of it."""
        for path, rule in self.rules.get("always").parts().items():
            pattern = Pattern.of("", path)
            if (values := pattern.values(thing.path.strip("/").split("/"))) is not None:
                names = {**self.names, "object": _seen(thing), "path": dict(zip(pattern.names, values, strict=True))}
                for name, part in rule.get("let").parts().items():
                    names[name] = part.render(names)
                further = rule.get("set").render(names)
                if isinstance(further, Mapping):
                    thing = replace(thing, body=merged(thing.body, further), own=thing.own | further.keys())
        self.objects.put(thing)
        return thing

    def acted(self, rule: Part) -> str:
        """What an action of a hosted page does; the address that it leads to."""
        self._let(rule.get("let"))
        self._make(rule)
        self._do(rule)
        self._change(rule)
        self._tell(rule, self.names["object"])
        return str(rule.get("leads_to").render(self.names))

    def open(self, page: Part, thing: Thing) -> None:
        """Have the names of a hosted page that is about `thing`."""
        self.names["object"] = _seen(thing)
        self._let(self.rules.get("let"))
        self._let(page.get("let"))

    def _tell(self, rules: Part, thing: Any) -> None:
        common = self.rules.get("event")
        for rule in rules.get("events").parts().values():
            if not rule.get("when").holds(self.names):
                continue
            type = (rule if isinstance(rule.value, str) else rule.get("type")).render(self.names)
            about = rule.get("object").render(self.names) if rule.get("object").value else thing
            known = {**self.names, "event": {"type": type, "object": about}}
            account = _first(rule.get("account").render(known), common.get("account").render(known), self.account)
            known["event"]["account"] = account
            endpoint = _first(rule.get("endpoint").render(known), common.get("endpoint").render(known), "")
            further = [part.render(known) for part in (common.get("set"), rule.get("set"))]
            both = merged(*({**one} if isinstance(one, Mapping) else {} for one in further))
            self.told.append(Told(str(type), about, account or None, str(endpoint or ""), both))

    def _answered(self, shown: Shown | None, body: Any) -> Answered:
        return Answered(shown.status if shown else 200, body)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not ABSENT and value is not None), None)


def _seen(thing: Thing) -> dict[str, Any]:
    """An object as templates see it, with what is kept aside."""
    return {**thing.body, **thing.aside}


def _id_of(shown: Shown | None, name: str) -> Any:
    return shown.answer.get(name) if shown and isinstance(shown.answer, Mapping) else None


def _dropped(body: Mapping[str, Any], rules: Part) -> dict[str, Any]:
    gone = rules.get("drop").value or []
    return {name: part for name, part in body.items() if name not in gone}


def _collapsed(answer: Any, sent: Mapping[str, Any], rules: Part, id: str) -> Any:
    """An answer in which what the case asked to be expanded is a reference again, and a list is left out."""
    name = rules.get("expand").value
    if not name or not isinstance(answer, Mapping):
        return answer
    body = dict(answer)
    for place in sent.get(name) or []:
        part = body.get(str(place))
        if isinstance(part, Mapping):
            if id in part:
                body[str(place)] = part[id]
            else:
                del body[str(place)]
    return body
