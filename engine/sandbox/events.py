"""Events as the gateway sends them: a case's event with the object put in, signed by the gateway's own scheme.

Hides: where in an event or its headers its id, time, account and object stand, which is where the gateway's file looks
for them; and whether events are delivered one by one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from engine.cases import Case
from engine.deliveries import delivered
from engine.ids import new_id
from engine.request_types import Gateway
from engine.sandbox.analogies import fresh_id, merged
from engine.sandbox.places import at, header_in, place_in, put
from engine.signatures import scheme_of, sign


@dataclass(frozen=True, slots=True)
class Delivery:
    """What is on its way, to be posted to `url` in so many seconds: an event, or several of the `type`s."""

    url: str
    headers: Mapping[str, str]
    body: bytes
    type: str
    wait: float = 0.0


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its body, and the headers that say the rest of it."""

    body: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Target:
    """Where events are sent to, which (None: all), and with which secret they are signed."""

    url: str
    secret: str
    endpoint: str
    types: frozenset[str] | None = None

    def takes(self, type: str, endpoint: str) -> bool:
        """Whether it gets such an event."""
        return endpoint == self.endpoint and (self.types is None or not self.types.isdisjoint({type, "*"}))


class Events:
    """Makes the events of one gateway."""

    def __init__(self, gateway: Gateway, cases: Sequence[Case]) -> None:
        self._webhook: Mapping[str, Any] = gateway.webhook or {}
        self._list, self._read = gateway.events, gateway.read_event
        self._shown: dict[str, Mapping[str, Any]] = {}
        self._headers: dict[str, Mapping[str, str]] = {}
        for case in cases:
            if case.kind == "webhook_processors" and case.gateway == gateway.name and "event" in case.told:
                name, event = case.subject.partition("/")[2], case.told["event"]
                if len(json.dumps(event)) > len(json.dumps(self._shown.get(name, {}))):
                    self._shown[name], self._headers[name] = event, case.told.get("headers", {})

    @property
    def known(self) -> bool:
        """Whether the gateway's file says anything of events."""
        return bool(self._webhook)

    @property
    def endpoints(self) -> list[str]:
        """The gateway's endpoints by name; "" is the first."""
        return ["", *self._webhook.get("endpoints", {})]

    def secret_name(self, endpoint: str) -> str | None:
        """The name of the secret that events to an endpoint are signed with."""
        named = self._webhook["endpoints"][endpoint] if endpoint else self._webhook
        return next(iter(named.get("secrets", [])), None)

    def made(
        self, type: str, thing: Any, account: str | None, key: str | None, further: Mapping[str, Any], now: datetime
    ) -> Event:
        """An event of `type` about `thing`."""
        like = self._shown.get(type) or next(iter(self._shown.values()), {})
        event = dict(like)
        shown = self._headers.get(type, {})
        said: dict[str, Any] = {"id": fresh_id(self._told("id", like, shown) or "evt_"), "key": key}
        said |= {} if type in self._shown else {"type": type}
        said |= {"time": _written_as(self._told("time", like, shown), now), "account": account}
        for part, value in said.items():
            if (place := self._place(part)) and (value is not None or at(like, place) is not None):
                event = put(event, place, value)
        if place := self._object_place(like):
            event = put(event, place, thing)
        return Event(_without_null(merged(event, further), further), self._with_headers(shown, said))

    def _with_headers(self, shown: Mapping[str, str], said: Mapping[str, Any]) -> dict[str, str]:
        """The headers `shown` by a case, with what is `said` of an event in those where the gateway's file reads it."""
        headers = dict(shown)
        for part, value in said.items():
            name = header_in(self._webhook.get(part))
            if name and value is not None:
                headers = {one: text for one, text in headers.items() if one.lower() != name} | {name: str(value)}
        return headers

    def _told(self, part: str, event: Mapping[str, Any], headers: Mapping[str, str]) -> Any:
        """What a case's event or its headers tell of a part; the empty text of one that is read in a header alone."""
        name = header_in(self._webhook.get(part))
        in_header = next((text for one, text in headers.items() if one.lower() == name), "" if name else None)
        found = at(event, place) if (place := self._place(part)) else None
        return in_header if found is None else found

    def _place(self, part: str) -> list[str] | None:
        return place_in(self._webhook.get(part), "event")

    def _object_place(self, event: Mapping[str, Any]) -> list[str] | None:
        return self._place("object") or _thing_in(event)

    def deliveries(self, found: Sequence[tuple[Event, Target]], now: datetime) -> list[Delivery]:
        """Events as they are posted: one by one, or a target's together where they hold lists."""
        if self._list is None:
            return [self._delivery([event.body], target, now, event.headers) for event, target in found]
        targets = dict.fromkeys(target for _, target in found)
        return [self._delivery([event.body for event, to in found if to == one], one, now, {}) for one in targets]

    def _delivery(
        self, events: Sequence[Mapping[str, Any]], target: Target, now: datetime, shown: Mapping[str, str]
    ) -> Delivery:
        body = json.dumps(delivered(events, self._list)).encode()
        signed = sign(scheme_of(self._webhook["scheme"]), target.secret, body, now.timestamp(), f"msg_{new_id()}")
        others = {name: text for name, text in shown.items() if name.lower() not in map(str.lower, signed)}
        headers = {"Content-Type": "application/json", **others, **signed}
        kept = {name.lower(): text for name, text in headers.items()}
        types = ", ".join(str(self._read({"event": event, "headers": kept}).get("type")) for event in events)
        return Delivery(target.url, headers, body, types)


def _written_as(shown: Any, now: datetime) -> Any:
    """An instant in the way that another is written: ISO 8601, or seconds since 1970."""
    if isinstance(shown, str) and not shown.isdigit():
        return now.isoformat(timespec="seconds").replace("+00:00", "Z")
    return int(now.timestamp())


def _without_null(body: Mapping[str, Any], further: Mapping[str, Any]) -> dict[str, Any]:
    """`body` without what `further` says is null."""
    kept = {name: part for name, part in body.items() if name not in further or further[name] is not None}
    inner = {name: part for name, part in further.items() if isinstance(part, Mapping) and name in kept}
    return {**kept, **{name: _without_null(kept[name], part) for name, part in inner.items()}}


def _thing_in(event: Any, place: tuple[str, ...] = ()) -> list[str] | None:
    """Where the first mapping with an id of its own stands within an event."""
    for name, part in event.items() if isinstance(event, Mapping) else ():
        if isinstance(part, Mapping):
            if "id" in part:
                return [*place, name]
            if found := _thing_in(part, (*place, name)):
                return found
    return None
