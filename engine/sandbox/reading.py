"""What is answered to a GET: an object, a page of a list, or what a case shows.

Hides: how references are answered as whole objects where that is asked for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.sandbox.effects import Effects
from engine.sandbox.files import Part
from engine.sandbox.lists import PLAIN, Frame, Pages, frame_of
from engine.sandbox.objects import Objects
from engine.sandbox.routes import Route
from engine.sandbox.visits import Refused, Visit


def makes(routes: Sequence[Route], segments: Sequence[str]) -> bool:
    """Whether something can be made at a path."""
    return any(one.makes and one.pattern.values(segments) is not None for one in routes)


@dataclass(frozen=True)
class Reading:
    """Reads for one gateway."""

    routes: Sequence[Route]
    rules: Part
    pages: Pages
    id: str

    def read(self, effects: Effects) -> Any:
        """What is answered. Raises Refused."""
        visit = effects.visit
        place = visit.route.object_at
        if place is not None:
            thing = effects.objects.at(visit.path, visit.account)
            body = thing.body if thing else self._known(visit)
            if body is None:
                raise visit.missing(place)
            return self.expanded(body, visit.asked.query, effects.objects)
        body = self._listed(effects)
        return self.expanded(body, visit.asked.query, effects.objects)

    def _known(self, visit: Visit) -> Any:
        """What a case answers to this very request: an object that was never made here, but is known all the same."""
        alike = [one.answer for one in visit.route.successes if list(one.values) == list(visit.values)]
        return max(alike, key=lambda answer: len(json.dumps(answer)), default=None)

    def _listed(self, effects: Effects) -> Any:
        visit, route = effects.visit, effects.visit.route
        frame = frame_of(route) or (
            self._frame if not route.shown and makes(self.routes, visit.asked.segments) else None
        )
        if frame is None:
            shown = route.nearest({})
            if shown is None:
                message = f"No case shows what {visit.asked.method} {visit.asked.path} answers."
                raise Refused("missing", {"message": message, "value": visit.asked.path})
            return shown.answer
        if route.rules.get("items").value:
            effects.let(effects.rules, route.rules)
            items = route.rules.get("items").render(effects.names)
        else:
            items = [one.body for one in effects.objects.on(visit.path, visit.account)]
        query = {name: value for name, value in visit.asked.query.items() if name != self._parameter}
        return self.pages.page(items if isinstance(items, list) else [], frame, visit.path, query)

    @property
    def _frame(self) -> Frame:
        """How this gateway frames a list that no case shows."""
        return next((frame for route in self.routes if route.reads and (frame := frame_of(route))), PLAIN)

    @property
    def _parameter(self) -> str | None:
        name: str | None = self.rules.get("expand").value
        return name

    def expanded(self, body: Any, sent: Mapping[str, Any], objects: Objects) -> Any:
        """`body` with whole objects where `sent` asks for them."""
        asked = sent.get(self._parameter) if self._parameter else None
        for name in asked if isinstance(asked, list) else [asked]:
            if isinstance(name, str):
                body = self._whole(body, name.split("."), objects)
        return body

    def _whole(self, body: Any, place: Sequence[str], objects: Objects) -> Any:
        """`body` with the object in the place of a reference to it, or the list of that name below its own path."""
        if isinstance(body, list):
            return [self._whole(one, place, objects) for one in body]
        if not isinstance(body, Mapping) or not place:
            return body
        name, part = place[0], body.get(place[0])
        if isinstance(part, str):
            part = thing.body if (thing := objects.named(part)) else part
        elif part is None and (owner := objects.named(str(body.get(self.id)))):
            path = f"{owner.path}/{name}"
            if makes(self.routes, path.strip("/").split("/")):
                things = [one.body for one in objects.on(path, owner.account)]
                part = self.pages.page(things, self._frame, path, {})
        return {**body, name: self._whole(part, place[1:], objects)} if name in body or part else body
