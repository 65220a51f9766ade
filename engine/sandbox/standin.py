"""One gateway's stand-in: who asks, which route it is, whether the key is known, and what goes wrong on purpose.

Hides: the order in which a gateway looks at a request. What is refused before anything is carried out (credentials,
route, limits, what does not fit) is not kept for the key; everything after is.
"""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from engine.cases import Case
from engine.credentials import credentials
from engine.records import Record
from engine.request_types import Gateway, RequestType
from engine.sandbox import hosted
from engine.sandbox.analogies import fresh_id
from engine.sandbox.asked import Answered, AnswerLost, Asked, Malformed
from engine.sandbox.delivering import Deliverer
from engine.sandbox.events import Delivery, Events, Target, is_here
from engine.sandbox.files import Part
from engine.sandbox.lists import PLAIN, Frame, Pages, frame_of
from engine.sandbox.objects import Answers, Objects
from engine.sandbox.refusals import refusal
from engine.sandbox.routes import Pattern, Route, routes_of
from engine.sandbox.scenarios import LATE, RETRY_AFTER, SLOW, scenarios_of
from engine.sandbox.sent import read_sent
from engine.sandbox.work import Refused, Told, Work
from engine.settings import Settings
from engine.store import Store
from engine.templates import RenderError

log = logging.getLogger("engine")


@dataclass(frozen=True, slots=True)
class World:
    """What stand-ins share: settings, store, deliverer, the time, waiting, and where hosts want their events."""

    settings: Settings
    store: Store
    deliverer: Deliverer
    now: Callable[[], datetime]
    sleep: Callable[[float], None]
    hosts: Mapping[str, str]


class StandIn:
    """Answers as `gateway` would."""

    def __init__(
        self, gateway: Gateway, types: Sequence[RequestType], cases: Sequence[Case], rules: Part, world: World
    ) -> None:
        self._gateway, self.types, self._rules, self._world = gateway, types, rules, world
        self.routes = routes_of(types, cases, rules)
        self._events = Events(gateway, cases)
        self._answers = Answers(world.store, gateway.name)
        page = rules.get("page").value or {}
        self._pages = Pages(page.get("size", "limit"), page.get("usual", 10), rules.get("id").value or "id")
        self._lock = threading.Lock()
        self._under_way: set[tuple[str, str]] = set()
        self._limited: set[str] = set()

    def answer(self, asked: Asked) -> Answered:
        """The gateway's answer. Raises AnswerLost where the connection is to end without one."""
        try:
            answered = self._answer(asked)
        except Refused as refused:
            answered = self._refuse(refused, None)
        except RenderError as error:  # the rules are wrong, not the request
            log.error("the sandbox cannot answer %s %s: %s", asked.method, asked.path, error)
            answered = Answered(500, {"message": f"The sandbox file is wrong: {error}"})
        except Malformed as error:
            answered = self._refuse(Refused("invalid", {"message": str(error), "name": "", "value": None}), None)
        header = next((type.request_id for type in self.types if type.request_id), None)
        return replace(answered, headers={**answered.headers, **({header: fresh_id("req_")} if header else {})})

    def _answer(self, asked: Asked) -> Answered:
        found = self._route(asked)
        type = found[0].types[0] if found and found[0].types else self.types[0]
        self._demand_credentials(type, asked)
        if found is None:
            message = f"There is no {asked.method} {asked.path} here."
            raise Refused("missing", {"message": message, "name": "", "value": asked.path, "list": ""})
        route, values = found
        body = asked.body()
        account = self._account(asked)
        tokens = self._rules.get("tokens").value or {}
        scenarios = scenarios_of(asked.headers, [body, asked.query], tokens)
        key = asked.headers.get((type.key_header or "idempotency-key").lower()) if not route.reads else None
        self._demand_room(scenarios, key)
        if route.reads:
            return self._read(route, asked, values, account)
        if key is None or not type.key_header:
            return self._carried_out(route, asked, values, account, scenarios, None)
        return self._once(route, type, asked, values, account, scenarios, key)

    # Before anything is done ------------------------------------------------------------------------------------------

    def _route(self, asked: Asked) -> tuple[Route, list[str]] | None:
        for route in self.routes:
            method = "GET" if asked.method == "HEAD" else asked.method
            if route.pattern.method == method and (values := route.pattern.values(asked.segments)) is not None:
                return route, values
        return self._implied(asked) if asked.method in {"GET", "HEAD"} else None

    def _implied(self, asked: Asked) -> tuple[Route, list[str]] | None:
        """Whatever can be made can be listed, and read by its id."""
        for route in self.routes:
            if route.pattern.method == "POST" and route.object_at() is None:
                for ending in ("", "/{id}"):
                    path = "/".join(part or "{value}" for part in route.pattern.segments) + ending
                    pattern = Pattern.of("GET", path)
                    if (values := pattern.values(asked.segments)) is not None:
                        return Route(pattern, self._rules.get("routes", ""), id=route.id), values
        return None

    def _demand_credentials(self, type: RequestType, asked: Asked) -> None:
        for name, value in credentials(type, self._world.settings).items():
            given = asked.headers.get(name.lower(), "")
            if given != value:
                raise Refused("unauthorized", {"value": "(none)" if not given else "(another)"})

    def _account(self, asked: Asked) -> str:
        """The account that a request acts in; what stands below an account's own path is the platform's."""
        headers = {name: value for type in self.types for name, value in (type.written.get("headers") or {}).items()}
        header = next((name for name, value in headers.items() if value == "{{ account }}"), None)
        account = asked.headers.get(header.lower(), "") if header else ""
        return "" if account in asked.segments else account

    def _demand_room(self, scenarios: frozenset[str], key: str | None) -> None:
        once = "rate_limited_once" in scenarios and (key or "") not in self._limited
        if once:
            self._limited.add(key or "")
        if once or "rate_limited" in scenarios:
            raise Refused("rate_limited", {})

    # Keys -------------------------------------------------------------------------------------------------------------

    def _once(
        self,
        route: Route,
        type: RequestType,
        asked: Asked,
        values: Sequence[str],
        account: str,
        scenarios: frozenset[str],
        key: str,
    ) -> Answered:
        digest = hashlib.sha256(f"{asked.method} {asked.path}\n".encode() + asked.raw).hexdigest()
        with self._lock:
            given = self._answers.given(key, account, type.key_lasts, self._world.now())
            if given is not None:
                return self._again(given, digest, key)
            if (account, key) in self._under_way:
                raise Refused("in_progress", {"name": key, "value": key})
            self._under_way.add((account, key))
        try:
            return self._carried_out(route, asked, values, account, scenarios, (key, digest, type.saves_all))
        finally:
            self._under_way.discard((account, key))

    def _again(self, given: Record, digest: str, key: str) -> Answered:
        if given["digest"] != digest:
            raise Refused("mismatch", {"name": key, "value": key})
        headers = {**(given.get("headers") or {}), **(self._rules.get("replayed").value or {})}
        return Answered(given["status"], json.loads(given["body"]), headers)

    # Carrying out -----------------------------------------------------------------------------------------------------

    def _carried_out(
        self,
        route: Route,
        asked: Asked,
        values: Sequence[str],
        account: str,
        scenarios: frozenset[str],
        key: tuple[str, str, bool] | None,
    ) -> Answered:
        if "slow" in scenarios:
            self._world.sleep(SLOW)
        if "broken" in scenarios:
            raise Refused("broken", {})
        with self._lock:
            work = self._work(route, asked, values, account, key[0] if key else None)
            answered, saved = self._answered(work, route)
            if "broken_after" in scenarios:
                answered = self._refuse(Refused("broken", {}), route)
            changes = []
            if key and saved and (key[2] or answered.status < 300):
                told = {"status": answered.status, "headers": dict(answered.headers)}
                told["body"] = json.dumps(answered.body)
                changes.append(self._answers.change(key[0], account, key[1], told, self._world.now()))
            work.objects.keep(*changes)
            deliveries = [one for told in work.told for one in self._deliveries(told, work)]
        self._send(deliveries, scenarios)
        if "lost" in scenarios:
            raise AnswerLost(f"{asked.method} {asked.path} was carried out, and is not answered")
        return answered

    def _work(self, route: Route, asked: Asked, values: Sequence[str], account: str, key: str | None) -> Work:
        body = asked.body()
        named = dict(zip(route.pattern.names, values, strict=True))
        sent: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
        if route.types:
            read = read_sent(route.types[0], body, named, account, typed=asked.is_json)
            if read.problems:
                first = read.problems[0]
                name = first.pointer.strip("/").replace("/", ".")
                message = f"{name}: {first.message}" if name else first.message
                raise Refused("invalid", {"message": message, "name": name, "value": None, "problem": first.message})
            sent = read.values
        objects = Objects(self._world.store, self._gateway.name)
        work = Work(asked, route, self.routes, self._rules, values, sent, account, key, self._world.now(), objects)
        self._demand_parents(work)
        return work

    def _demand_parents(self, work: Work) -> None:
        """What stands in a path above what is asked for must be there, where it is something that can be made."""
        about = work.route.object_at()
        for number, end in enumerate(n for n, part in enumerate(work.route.pattern.segments) if part is None):
            above = work.asked.segments[: end + 1]
            if (
                number != about
                and self._makes(above[:-1])
                and work.objects.at("/" + "/".join(above), work.account) is None
            ):
                raise Refused("missing", work.missing(number))

    def _makes(self, segments: Sequence[str]) -> bool:
        """Whether something can be made at a path."""
        makers = (one for one in self.routes if one.pattern.method == "POST" and one.object_at() is None)
        return any(one.pattern.values(segments) is not None for one in makers)

    def _answered(self, work: Work, route: Route) -> tuple[Answered, bool]:
        """The answer, and whether a key keeps it."""
        try:
            answered = work.done()
        except Refused as refused:
            if not refused.kept:
                raise
            return self._refuse(refused, route, work.names), True
        names = _listed((work.sent or {}).get(self._expand) or work.asked.query.get(self._expand))
        return replace(answered, body=self._expanded(answered.body, names, work.objects, work.account)), True

    # Reading ----------------------------------------------------------------------------------------------------------

    def _read(self, route: Route, asked: Asked, values: Sequence[str], account: str) -> Answered:
        with self._lock:
            objects = Objects(self._world.store, self._gateway.name)
            work = Work(asked, route, self.routes, self._rules, values, {}, account, None, self._world.now(), objects)
            self._demand_parents(work)
            body = self._body_read(work, route, asked)
            names = _listed(asked.query.get(self._expand))
            return Answered(200, self._expanded(body, names, objects, account))

    def _body_read(self, work: Work, route: Route, asked: Asked) -> Any:
        place = route.object_at()
        if place is not None:
            thing = work.objects.at("/" + "/".join(asked.segments), work.account)
            if thing is None and (shown := self._exactly(route, work.values)):
                return shown
            if thing is None:
                raise Refused("missing", work.missing(place))
            return thing.body
        frame = frame_of(route) or (self._frame() if not route.shown and self._makes(asked.segments) else None)
        if frame is None:
            shown = route.nearest({})
            if shown is None:
                message = f"No case shows what {asked.method} {asked.path} answers."
                raise Refused("missing", {"message": message, "name": "", "value": asked.path, "list": ""})
            return shown.answer
        items = work.listed()
        query = {name: value for name, value in asked.query.items() if name != self._expand}
        return self._pages.page(items, frame, "/" + "/".join(asked.segments), query)

    def _exactly(self, route: Route, values: Sequence[str]) -> Any:
        """What a case answers to this very request: an object that was never made here, but is known all the same."""
        alike = [one.answer for one in route.successes if list(one.values) == list(values)]
        return max(alike, key=lambda answer: len(json.dumps(answer)), default=None)

    def _frame(self) -> Frame:
        return next((frame for route in self.routes if route.reads and (frame := frame_of(route))), PLAIN)

    @property
    def _expand(self) -> str:
        return str(self._rules.get("expand").value or "\0")

    def _expanded(self, body: Any, names: Sequence[str], objects: Objects, account: str) -> Any:
        for name in names:
            body = self._with_whole(body, name.split("."), objects, account)
        return body

    def _with_whole(self, body: Any, place: Sequence[str], objects: Objects, account: str) -> Any:
        """`body` with the whole object in the place of a reference, or the list of that name below the object."""
        if isinstance(body, list):
            return [self._with_whole(one, place, objects, account) for one in body]
        if not isinstance(body, Mapping) or not place:
            return body
        name = place[0]
        part = body.get(name)
        if isinstance(part, str):
            thing = objects.named(part)
            part = thing.body if thing else part
        elif part is None and (owner := objects.named(str(body.get(self._rules.get("id").value or "id")))):
            path = f"{owner.path}/{name}"
            if self._makes(path.strip("/").split("/")):
                things = [one.body for one in objects.on(path, owner.account)]
                part = self._pages.page(things, self._frame(), path, {})
        return {**body, name: self._with_whole(part, place[1:], objects, account)} if name in body or part else body

    # Pages ------------------------------------------------------------------------------------------------------------

    def hosted(self, asked: Asked) -> Answered:
        """A page that the gateway hosts, or what a button on it does."""
        for path, page in self._rules.get("pages").parts().items():
            pattern = Pattern.of("GET", path)
            if (values := pattern.values(asked.segments)) is not None:
                return self._on_page(page, Route(pattern, Part.nothing()), values, asked)
        return hosted.page_of("There is no such page.", "", {}, 404)

    def _on_page(self, page: Part, route: Route, values: Sequence[str], asked: Asked) -> Answered:
        with self._lock:
            objects = Objects(self._world.store, self._gateway.name)
            thing = objects.named(values[0])
            if thing is None:
                return hosted.page_of("There is no such page.", "", {}, 404)
            work = Work(
                asked, route, self.routes, self._rules, values, {}, thing.account, None, self._world.now(), objects
            )
            work.open(page, thing)
            chosen = str(asked.body().get("action")) if asked.method == "POST" else None
            action = hosted.offered(page, work.names).get(chosen) if chosen is not None else None
            if action is None:
                return hosted.shown(page, work.names)
            leads_to = work.acted(action)
            objects.keep()
            deliveries = [one for told in work.told for one in self._deliveries(told, work)]
        self._send(deliveries, frozenset())
        return Answered(303, None, {"Location": leads_to})

    # Refusals and events ----------------------------------------------------------------------------------------------

    def _refuse(self, refused: Refused, route: Route | None, names: Mapping[str, Any] | None = None) -> Answered:
        near = [one for one in (route.shown if route else []) if not one.succeeds]
        near += [one for other in self.routes for one in other.shown if not one.succeeds]
        type = route.types[0] if route and route.types else self.types[0]
        known = {**dict.fromkeys(("request", "query", "path", "object", "account", "key", "now")), **(names or {})}
        known |= {"given": refused.given, "tokens": {}, "objects": {}, "lists": {}, "fresh": {}} if not names else {}
        known["given"] = refused.given
        answered = refusal(refused.name, self._rules, type.written, [(one.status, one.answer) for one in near], known)
        if refused.name == "rate_limited":
            return replace(answered, headers={"Retry-After": str(RETRY_AFTER), **answered.headers})
        return answered

    def _targets(self, objects: Objects) -> Iterator[Target]:
        """Where events go: the endpoints that were registered, and the host's own where it did not register it."""
        registered = self._rules.get("registered")
        seen = set()
        if at := registered.get("at").value:
            for thing in objects.on(at, ""):
                whole = {**thing.body, **thing.aside}
                url, secret = whole.get(registered.get("url").value), whole.get(registered.get("secret").value)
                if not isinstance(url, str) or not isinstance(secret, str) or not is_here(url):
                    continue
                types = whole.get(registered.get("events").value or "")
                endpoint = registered.get("endpoint").render({"object": whole})
                seen.add(url)
                wanted = frozenset(types) if isinstance(types, list) else None
                yield Target(url, secret, endpoint if isinstance(endpoint, str) else "", wanted)
        if base := self._world.hosts.get(self._gateway.name):
            for endpoint in self._events.endpoints:
                url = f"{base.rstrip('/')}/{endpoint}".rstrip("/")
                name = self._events.secret_name(endpoint)
                if url not in seen and name:
                    yield Target(url, self._world.settings.secret(name), endpoint)

    def _deliveries(self, told: Told, work: Work) -> list[Delivery]:
        if self._gateway.webhook is None:
            return []
        now = self._world.now()
        event = self._events.made(told.type, told.thing, told.account, work.key, told.further, now)
        targets = self._targets(Objects(self._world.store, self._gateway.name))
        return [self._events.delivery(event, one, now) for one in targets if one.takes(told.type, told.endpoint)]

    def _send(self, deliveries: list[Delivery], scenarios: frozenset[str]) -> None:
        if "event_late" in scenarios:
            deliveries = [replace(one, wait=LATE) for one in deliveries]
        if "event_twice" in scenarios:
            deliveries = [again for one in deliveries for again in (one, one)]
        if "event_first" in scenarios:
            for one in deliveries:
                self._world.deliverer.now(one)
        else:
            self._world.deliverer.deliver(deliveries)


def _listed(value: Any) -> list[str]:
    if isinstance(value, list):
        return [one for one in value if isinstance(one, str)]
    return [value] if isinstance(value, str) else []
