"""One request carried out: refused, or answered after a case, with all that its rules say.

Hides: the order of things. let → refuse → the case's answer → make → set → do → change → events → fails.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from engine.confined import ABSENT
from engine.sandbox.analogies import exchange, fresh_id, is_instant, overlaid, pairs
from engine.sandbox.asked import Answered
from engine.sandbox.effects import Effects, altered, collapsed, dropped
from engine.sandbox.objects import Thing
from engine.sandbox.routes import Route, Shown
from engine.sandbox.visits import Refused, Visit

NO_CONTENT = 204


@dataclass(frozen=True)
class Work:
    """What a visit does and is answered; `sent` is its body as it was meant."""

    effects: Effects
    sent: Mapping[str, Any]

    @property
    def _visit(self) -> Visit:
        return self.effects.visit

    @property
    def _route(self) -> Route:
        return self.effects.visit.route

    def done(self) -> Answered:
        """Carry it out. Raises Refused."""
        effects, rules = self.effects, self._route.rules
        effects.names["request"] = self.sent
        thing = self._asked_for()
        if thing is not None:
            effects.about(thing)
        effects.let(effects.rules, rules)
        self._demand("refuse", kept=False)
        shown = self._shown()
        if thing is None:
            body = self._made(shown)
        elif self._visit.asked.method == "DELETE":
            body = self._removed(thing, shown)
        else:
            body = self._changed(thing, shown)
        self._demand("fails", kept=True)
        status = shown.status if shown else self._route.usual_status
        return Answered(status, None if status == NO_CONTENT else body)

    def _asked_for(self) -> Thing | None:
        """The object whose id stands in the path; None where one is made. Raises Refused."""
        place = self._route.object_at
        if place is None:
            return None
        found = self.effects.objects.at(self._visit.path_to(place), self._visit.account)
        if found is None:
            raise self._visit.missing(place)
        return found

    def _demand(self, part: str, *, kept: bool) -> None:
        """Raises Refused where a rule says no."""
        names = self.effects.names
        for rule in self._route.rules.get(part).parts().values():
            if rule.get("when").holds(names):
                raise Refused(str(rule.get("as").render(names)), self.effects.mapping(rule.get("given")), kept=kept)

    def _shown(self) -> Shown | None:
        """The case to answer by."""
        like = self._route.rules.get("like").render(self.effects.names)
        if like is ABSENT:
            return self._route.nearest(self.sent)
        own = next((one for one in self._route.shown if one.name.endswith(f"/{like}")), None)
        return own or self.effects.case(str(like))

    def _made(self, shown: Shown | None) -> Any:
        name = self._route.id
        id = fresh_id(shown.answer.get(name) if shown and isinstance(shown.answer, Mapping) else None)
        body = self._after(shown, id, {})
        if not isinstance(body, Mapping):
            return body
        known = shown is None or name in body
        named = {name: id, **body} if known else dict(body)
        born = shown.answer.items() if shown and isinstance(shown.answer, Mapping) else ()
        own = self._own(named) | {one for one, value in born if is_instant(value)}
        return self._settled(Thing(self._visit.path, str(id), self._visit.account, named, own), kept=known)

    def _changed(self, thing: Thing, shown: Shown | None) -> Any:
        name = self._route.id
        own = {one: thing.body[one] for one in {*thing.own, name} if one in thing.body}
        body = self._after(shown, thing.body.get(name), own)
        whole = {**thing.body, **(body if isinstance(body, Mapping) else {}), **own}
        changed = overlaid(whole, {}, self.sent)
        return self._settled(replace(thing, body=changed, own=thing.own | self._own(changed)), kept=True)

    def _removed(self, thing: Thing, shown: Shown | None) -> Any:
        effects, rules, name = self.effects, self._route.rules, self._route.id
        id = thing.body.get(name)
        answer = self._after(shown, id, {}) if shown else {name: id, "deleted": True}
        effects.make(rules)
        effects.objects.remove(thing)
        effects.do(rules)
        effects.change(rules)
        effects.tell(rules)
        return answer

    def _settled(self, thing: Thing, *, kept: bool) -> Any:
        """Have the rules' effects; the body to answer with, in which once-only properties are shown."""
        effects, rules = self.effects, self._route.rules
        thing = replace(thing, body=dropped(thing.body, rules))
        effects.about(thing)
        effects.make(rules)
        thing = altered(thing, effects.mapping(rules.get("set")))
        once = {name: thing.body[name] for name in rules.get("once").value or [] if name in thing.body}
        body = {name: part for name, part in thing.body.items() if name not in once}
        thing = replace(thing, body=body, aside={**thing.aside, **once})
        if kept:
            thing = effects.put(thing)
        effects.about(thing)
        effects.do(rules)
        effects.change(rules)
        thing = (effects.objects.at(thing.path, thing.account) if kept else None) or thing
        effects.about(thing)
        effects.tell(rules)
        return {**thing.body, **once}

    def _own(self, body: Mapping[str, Any]) -> frozenset[str]:
        """The properties that are the object's own: all that can be sent of it, whether it was or not."""
        written = (type.written.get("body") for type in self._route.types)
        could = {name for one in written if isinstance(one, Mapping) for name in one}
        return frozenset(name for name in {*self.sent, *could, self._route.id} if name in body)

    def _after(self, shown: Shown | None, id: Any, own: Mapping[str, Any]) -> Any:
        """What a case answers, with everything exchanged; what is sent where there is no case."""
        if shown is None:
            return dict(self.sent)
        answer = collapsed(shown.answer, shown.sent, self.effects.rules, self._route.id)
        values = zip(shown.values, self._visit.values, strict=True) if shown in self._route.shown else ()
        ids = {old: new for old, new in values if old != new}
        further = {}
        if isinstance(answer, Mapping):
            further = pairs(answer, own)
            if self._route.id in answer and id is not None:
                ids[str(answer[self._route.id])] = str(id)
        made = exchange(shown.sent, self.sent, ids, self.effects.now, further).of(answer)
        return overlaid(made, shown.sent, self.sent) if isinstance(made, Mapping) else made
