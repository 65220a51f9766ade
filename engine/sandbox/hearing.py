"""Who hears of what happened: the endpoints that were registered, and the hosts that were told to the sandbox.

Hides: where an endpoint's address and secret come from, and what a scenario makes of a delivery.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from engine.sandbox.delivering import Deliverer
from engine.sandbox.effects import Effects, seen
from engine.sandbox.events import Delivery, Event, Events, Target
from engine.sandbox.files import Part
from engine.sandbox.objects import Objects
from engine.sandbox.scenarios import LATE
from engine.settings import Settings
from engine.urls import parts_of


@dataclass(frozen=True)
class Hearing:
    """The events of one gateway. `hosts`: gateway → URL of a host's webhooks."""

    gateway: str
    events: Events
    rules: Part
    settings: Settings
    hosts: Mapping[str, str]
    deliverer: Deliverer

    def deliveries(self, effects: Effects, objects: Objects, now: datetime) -> list[Delivery]:
        """What is to be posted of what an errand tells; `objects` as they are afterwards."""
        found = list[tuple[Event, Target]]()
        for told in effects.told if self.events.known else []:
            event = self.events.made(told.type, told.thing, told.account, effects.visit.key, told.further, now)
            found += [(event, one) for one in self._targets(objects) if one.takes(told.type, told.endpoint)]
        return self.events.deliveries(found, now)

    def send(self, deliveries: list[Delivery], scenarios: frozenset[str]) -> None:
        """Have them posted, as the scenarios have it."""
        if "event_late" in scenarios:
            deliveries = [replace(one, wait=LATE) for one in deliveries]
        if "event_twice" in scenarios:
            deliveries = [again for one in deliveries for again in (one, one)]
        if "event_first" in scenarios:
            for one in deliveries:
                self.deliverer.now(one)
        else:
            self.deliverer.deliver(deliveries)

    def _targets(self, objects: Objects) -> Iterator[Target]:
        """The endpoints that were registered, and a host's own addresses where it did not register them."""
        known = list(self._registered(objects))
        yield from known
        if base := self.hosts.get(self.gateway):
            for endpoint in self.events.endpoints:
                url = f"{base.rstrip('/')}/{endpoint}".rstrip("/")
                name = self.events.secret_name(endpoint)
                if name and url not in {one.url for one in known}:
                    yield Target(url, self.settings.secret(name), endpoint)

    def _registered(self, objects: Objects) -> Iterator[Target]:
        told = self.rules.get("registered")
        for thing in objects.on(told.get("at").value, "") if told.value else ():
            whole = seen(thing)
            url, secret = whole.get(told.get("url").value), whole.get(told.get("secret").value)
            if not isinstance(url, str) or not isinstance(secret, str) or not _is_here(url):
                continue
            types, endpoint = whole.get(told.get("events").value or ""), told.get("endpoint").render({"object": whole})
            wanted = frozenset(types) if isinstance(types, list) else None
            yield Target(url, secret, endpoint if isinstance(endpoint, str) else "", wanted)


def _is_here(url: str) -> bool:
    """Whether an address is on this machine: nothing of a sandbox leaves it unasked. What is no address is not."""
    parts = parts_of(url)
    return parts is not None and parts.hostname in {"localhost", "127.0.0.1", "::1"}
