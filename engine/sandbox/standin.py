"""One gateway's stand-in: who asks, which route it is, whether the key is known, and what goes wrong on purpose.

Hides: the order in which a gateway looks at a request. What is refused before anything is carried out (credentials,
route, limits, what does not fit) is not kept for the key; everything after is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from engine.cases import Case
from engine.dispatcher import IN_QUERY
from engine.errors import DefinitionError, did_you_mean
from engine.request_types import Gateway, RequestType
from engine.sandbox import hosted
from engine.sandbox.analogies import fresh_id
from engine.sandbox.asked import Answered, AnswerLost, Asked, Malformed
from engine.sandbox.delivering import Deliverer
from engine.sandbox.effects import Effects
from engine.sandbox.events import Events
from engine.sandbox.files import Part
from engine.sandbox.granting import Granting
from engine.sandbox.hearing import Hearing
from engine.sandbox.lists import Pages
from engine.sandbox.objects import Answers, Objects
from engine.sandbox.reading import Reading, makes
from engine.sandbox.refusals import refusal
from engine.sandbox.routes import Pattern, Route, routes_of
from engine.sandbox.scenarios import RETRY_AFTER, SLOW, scenarios_of
from engine.sandbox.sent import read_sent
from engine.sandbox.visits import Refused, Visit
from engine.sandbox.work import Work
from engine.settings import Settings
from engine.store import Store
from engine.templates import RenderError, is_template

log = logging.getLogger("engine")


@dataclass(frozen=True, slots=True)
class World:
    """What stand-ins share: store, deliverer, the time, waiting, and where hosts want their events."""

    store: Store
    deliverer: Deliverer
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    hosts: Mapping[str, str]


class StandIn:
    """Answers as `gateway` would. `types` are its request types, of which there is one at least."""

    def __init__(
        self,
        gateway: Gateway,
        types: Sequence[RequestType],
        cases: Sequence[Case],
        rules: Part,
        settings: Settings,
        world: World,
    ) -> None:
        self.types, self._gateway, self._rules, self._world = types, gateway, rules, world
        self.routes = routes_of(types, cases, rules)
        self.granting = Granting(types, settings)
        self._answers = Answers(world.store, gateway.name)
        page, id = rules.get("page").value or {}, rules.get("id").value or "id"
        pages = Pages(page.get("size", "limit"), page.get("usual", 10), id)
        self._reading = Reading(self.routes, rules, pages, id)
        events = Events(gateway, cases)
        self._hearing = Hearing(gateway.name, events, rules, settings, world.hosts, world.deliverer)
        self._demand_cases()
        self._lock = threading.Lock()
        self._under_way: set[tuple[str, str]] = set()
        self._limited: set[str | None] = set()

    def answer(self, asked: Asked) -> Answered:
        """The gateway's answer. Raises AnswerLost where the connection is to end without one."""
        try:
            answered = self._answer(asked)
        except Refused as refused:
            answered = self._no(refused)
        except Malformed as error:
            answered = self._no(Refused("invalid", {"message": str(error)}))
        except RenderError as error:
            answered = self._broken(asked, error)
        header = next((type.request_id for type in self.types if type.request_id), None)
        return replace(answered, headers={**answered.headers, **({header: fresh_id("req_")} if header else {})})

    def _answer(self, asked: Asked) -> Answered:
        if granted := self.granting.answer(asked):
            return granted
        found = self._route(asked)
        type = found[0].types[0] if found and found[0].types else self.types[0]
        asked = self._recognised(type, asked)
        if found is None:
            message = f"There is no {asked.method} {asked.path} here."
            raise Refused("missing", {"message": message, "value": asked.path})
        route, values = found
        key = asked.headers.get(type.key_header.lower()) if type.key_header and not route.reads else None
        scenarios = scenarios_of(asked.headers, [asked.body(), asked.query], self._rules.get("tokens").value or {})
        visit = Visit(asked, route, values, self._account(asked), key, scenarios)
        self._demand_room(visit)
        if route.reads:
            return self._read(visit)
        return self._carried_out(visit) if key is None else self._once(visit, type)

    @staticmethod
    def _broken(asked: Asked, error: RenderError) -> Answered:
        """What is answered where the rules are wrong, not the request."""
        log.error("the sandbox cannot answer %s %s: %s", asked.method, asked.path, error)
        return Answered(500, {"message": f"The sandbox file is wrong: {error}"})

    def _demand_cases(self) -> None:
        """Raises DefinitionError where a rule names a case that is not there."""
        known = {one.name for route in self.routes for one in route.shown}
        short = {one.name.partition("/")[2]: None for route in self.routes for one in route.shown}
        faults = [
            part.fault(f"there is no case {part.value!r}{did_you_mean(part.value, [*known, *short])}")
            for part in self._rules.all("like")
            if not is_template(part.value) and part.value not in known | short.keys()
        ]
        if faults:
            raise DefinitionError(faults)

    # Before anything is done ------------------------------------------------------------------------------------------

    def _route(self, asked: Asked) -> tuple[Route, list[str]] | None:
        method = "GET" if asked.method == "HEAD" else asked.method
        for route in self.routes:
            if route.pattern.method == method and (values := route.pattern.values(asked.segments)) is not None:
                return route, values
        return self._implied(asked) if method == "GET" else None

    def _implied(self, asked: Asked) -> tuple[Route, list[str]] | None:
        """Whatever can be made can be listed, and read by its id."""
        for route in (one for one in self.routes if one.makes):
            for ending in ("", "/{id}"):
                path = "/".join(part or "{value}" for part in route.pattern.segments) + ending
                pattern = Pattern.of("GET", path)
                if (values := pattern.values(asked.segments)) is not None:
                    return Route(pattern, Part.nothing(), id=route.id), values
        return None

    def _recognised(self, type: RequestType, asked: Asked) -> Asked:
        """What is asked, without the credentials in its query. Raises Refused where there are none, or others."""
        query = dict(asked.query)
        for name, value in self.granting.credentials(type).items():
            in_query = name.startswith(IN_QUERY)
            given = query.pop(name.removeprefix(IN_QUERY), "") if in_query else asked.headers.get(name.lower(), "")
            if given != value:
                raise Refused("unauthorized", {"value": "(another)" if given else "(none)"})
        return replace(asked, query=query)

    def _account(self, asked: Asked) -> str:
        """The account that a request acts in; what stands below an account's own path is the platform's."""
        headers = {name: value for type in self.types for name, value in (type.written.get("headers") or {}).items()}
        header = next((name for name, value in headers.items() if value == "{{ account }}"), None)
        account = asked.headers.get(header.lower(), "") if header else ""
        return "" if account in asked.segments else account

    def _demand_room(self, visit: Visit) -> None:
        once = "rate_limited_once" in visit.scenarios and visit.key not in self._limited
        if once:
            self._limited.add(visit.key)
        if once or "rate_limited" in visit.scenarios:
            raise Refused("rate_limited")

    # Keys -------------------------------------------------------------------------------------------------------------

    def _once(self, visit: Visit, type: RequestType) -> Answered:
        """Carry a visit with a key out, unless it was before."""
        under_way = (str(visit.key), visit.account)
        with self._lock:
            given = self._answers.given(*under_way, type.key_lasts, self._world.now())
            if given is not None and given["digest"] != _digest(visit):
                raise Refused("mismatch", {"value": visit.key})
            if given is not None:
                headers = {**given["headers"], **(self._rules.get("replayed").value or {})}
                return Answered(given["status"], json.loads(given["body"]), headers)
            if under_way in self._under_way:
                raise Refused("in_progress", {"value": visit.key})
            self._under_way.add(under_way)
        try:
            return self._carried_out(visit, saves_all=type.saves_all)
        finally:
            self._under_way.discard(under_way)

    # Carrying out -----------------------------------------------------------------------------------------------------

    def _carried_out(self, visit: Visit, *, saves_all: bool = True) -> Answered:
        if "slow" in visit.scenarios:
            self._world.sleep(SLOW)
        if "broken" in visit.scenarios:
            raise Refused("broken")
        with self._lock:
            effects = self._effects(visit)
            self._demand_parents(effects)
            answered = self._done(effects)
            if "broken_after" in visit.scenarios:
                answered = self._no(Refused("broken"), visit.route)
            now = self._world.now()
            keeps = visit.key is not None and (saves_all or answered.status < 300)
            effects.objects.keep(*([self._answers.change(visit, _digest(visit), answered, now)] if keeps else []))
            deliveries = self._hearing.deliveries(effects, self._objects(), now)
        self._hearing.send(deliveries, visit.scenarios)
        if "lost" in visit.scenarios:
            raise AnswerLost(f"{visit.asked.method} {visit.asked.path} was carried out, and is not answered")
        return answered

    def _done(self, effects: Effects) -> Answered:
        """The answer; a refusal that comes after something was done is one, too."""
        visit = effects.visit
        body = visit.asked.body()
        sent: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
        if visit.route.types:
            read = read_sent(visit.route.types[0], body, visit.named, visit.account, typed=visit.asked.is_json)
            for problem in read.problems:
                name = problem.pointer.strip("/").replace("/", ".")
                message = f"{name}: {problem.message}" if name else problem.message
                raise Refused("invalid", {"message": message, "name": name})
            sent = read.values
        try:
            answered = Work(effects, sent).done()
        except Refused as refused:
            if not refused.kept:
                raise
            return self._no(refused, visit.route, effects.names)
        return replace(answered, body=self._reading.expanded(answered.body, sent, effects.objects))

    def _read(self, visit: Visit) -> Answered:
        with self._lock:
            effects = self._effects(visit)
            self._demand_parents(effects)
            return Answered(200, self._reading.read(effects))

    def _objects(self) -> Objects:
        return Objects(self._world.store, self._gateway.name)

    def _effects(self, visit: Visit) -> Effects:
        return Effects(visit, self.routes, self._rules, self._world.now(), self._objects())

    def _demand_parents(self, effects: Effects) -> None:
        """What stands in a path above what is asked for must be there, where it is something that can be made."""
        visit = effects.visit
        for place in range(len(visit.values)):
            path = visit.path_to(place)
            made = place != visit.route.object_at and makes(self.routes, path.strip("/").split("/")[:-1])
            if made and effects.objects.at(path, visit.account) is None:
                raise visit.missing(place)

    def _no(self, refused: Refused, route: Route | None = None, names: Mapping[str, Any] | None = None) -> Answered:
        """A refusal in the gateway's words."""
        near = [one for one in (route.shown if route else []) if not one.succeeds]
        near += [one for other in self.routes for one in other.shown if not one.succeeds]
        written = (route.types[0] if route and route.types else self.types[0]).written
        known = {**(names or {}), "given": refused.given}
        answered = refusal(refused.name, self._rules, written, [(one.status, one.answer) for one in near], known)
        if refused.name == "rate_limited":
            return replace(answered, headers={"Retry-After": str(RETRY_AFTER), **answered.headers})
        return answered

    # Pages ------------------------------------------------------------------------------------------------------------

    def hosted(self, asked: Asked) -> Answered:
        """A page that the gateway hosts, or what a button on it does."""
        for path, page in self._rules.get("pages").parts().items():
            pattern = Pattern.of("GET", path)
            if (values := pattern.values(asked.segments)) is not None:
                try:
                    return self._on_page(page, Visit(asked, Route(pattern, Part.nothing()), values))
                except RenderError as error:
                    return self._broken(asked, error)
        return hosted.GONE

    def _on_page(self, page: Part, visit: Visit) -> Answered:
        with self._lock:
            thing = self._objects().named(visit.values[0])
            if thing is None:
                return hosted.GONE
            effects = self._effects(replace(visit, account=thing.account))
            effects.about(thing)
            effects.let(self._rules, page)
            pressed = parse_qs(visit.asked.raw.decode("ascii", "replace")).get("action", [""])[0]
            action = hosted.offered(page, effects.names).get(pressed) if visit.asked.method == "POST" else None
            if action is None:
                return hosted.shown(page, effects.names)
            leads_to = hosted.acted(action, effects)
            effects.objects.keep()
            deliveries = self._hearing.deliveries(effects, self._objects(), self._world.now())
        self._hearing.send(deliveries, frozenset())
        return Answered(303, None, {"Location": leads_to})


def _digest(visit: Visit) -> str:
    """What tells a request from another with the same key."""
    head = f"{visit.asked.method} {visit.asked.path}\n".encode()
    return hashlib.sha256(head + visit.asked.raw).hexdigest()
