"""Webhook endpoints at a gateway: registered once, however often it is asked; listed; removed.

Generic: the gateway file's `webhook:` names the request types. `register` is given what it takes of url, enabled_events
and endpoint, `remove` of gateway_id and id, and their mappers keep the record type webhook_endpoint, whose `secret` is
sealed. Hides: how it is known that an endpoint is there already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult

from engine.core import Engine
from engine.credentials import in_use
from engine.descriptions import changed
from engine.errors import DataError, MappingError, Problem, SettingError, UnknownNameError
from engine.records import Record
from engine.urls import parts_of

RECORD = "webhook_endpoint"
ROUTE = "/callsheet/webhooks"


@dataclass(frozen=True, slots=True)
class Registered:
    """An endpoint's record; `made`: it was made just now; `unsent`: events with a processor that it does not send.

    `outdated` are endpoints for the same address whose events have another version than the files are written for.
    """

    record: Record
    made: bool
    unsent: tuple[str, ...] = ()
    outdated: tuple[Record, ...] = ()


def gateways(engine: Engine) -> list[str]:
    """The gateways whose files say how endpoints are registered."""
    return [name for name, gateway in engine.catalog.gateways.items() if (gateway.webhook or {}).get("register")]


def in_hand(engine: Engine) -> list[str]:
    """Those of them that this host has to do with."""
    used = in_use(engine.catalog, engine.settings, engine.root)
    return [name for name in gateways(engine) if name in used]


def named_by(url: str) -> tuple[str, str] | None:
    """The gateway and endpoint that the host's route in `url` names, or None where it is another path."""
    address = _parts(url)
    _, route, rest = address.path.partition(f"{ROUTE}/") if address else ("", "", "")
    parts = rest.strip("/").split("/") if route else []
    if not parts or not parts[0] or len(parts) > 2:
        return None
    return parts[0], parts[1] if len(parts) == 2 else ""


def events(engine: Engine, gateway: str) -> list[str]:
    """The events that there are processors for."""
    return [event for name in engine.catalog.processors if (event := name.removeprefix(f"{gateway}/")) != name]


def register(engine: Engine, gateway: str, url: str, endpoint: str = "", *, operation: str | None = None) -> Registered:
    """Have `gateway` send the events that there are processors for to `url`, the address of our `endpoint`.

    The gateway's own list, where it has one, says which endpoints are there; the store, whose secrets are known. One
    whose events have another version stays beside the new one: none is lost, and none counts twice. Raises
    what `Engine.send` does, UnknownNameError for an endpoint that the gateway's file does not have, and SettingError
    where the gateway has such an endpoint already whose secret, which is told only once, nobody here knows.
    MappingError: the endpoint is made, and no record of it was kept. `operation` is as in `Engine.send`.
    """
    webhook = _webhook(engine, gateway)
    if endpoint and endpoint not in webhook.get("endpoints", {}):
        raise UnknownNameError(f"webhook endpoint of {gateway}", endpoint, webhook.get("endpoints", {}))
    _demand_address(url)
    there = [record for record, known in endpoints(engine, gateway) if known and record["url"] == url]
    outdated = tuple(record for record in there if not fits(engine, record))
    known = _known([record for record in there if record not in outdated])
    if known is not None:
        _demand_secret(engine, known, webhook, endpoint)
        return Registered(known, made=False, unsent=unsent(engine, known), outdated=outdated)
    _demand_mapper(engine, webhook["register"])
    told = {"url": url, "enabled_events": events(engine, gateway), "endpoint": endpoint}
    engine.sealer.demand_key()  # for the secret that comes with it
    result = engine.send(webhook["register"], _taken(engine, webhook["register"], told), operation=operation)
    made = next((record for record in result.records if record.type == RECORD), None)
    if made is None:
        said = f"{webhook['register']} was carried out, but its mapper kept no {RECORD} of the answer, which is kept"
        raise MappingError(said, result.call)
    return Registered(made, made=True, outdated=outdated)


def unsent(engine: Engine, record: Record) -> tuple[str, ...]:
    """The events that have a processor and that an endpoint does not send."""
    sent = set(record.get("enabled_events") or ["*"])
    return () if "*" in sent else tuple(event for event in events(engine, record.scope.gateway) if event not in sent)


def fits(engine: Engine, record: Record) -> bool:
    """Whether an endpoint's events have the version that the files are written for, as far as it says one."""
    return engine.catalog.gateway(record.scope.gateway).is_written_for(record.get("api_version"))


def endpoints(engine: Engine, gateway: str) -> list[tuple[Record, bool]]:
    """Every endpoint of `gateway`, as it says now; with each, whether the gateway still knows it."""
    webhook = _webhook(engine, gateway)
    there: set[str] | None = None
    if webhook.get("list"):
        there = {record.id for record in engine.send(webhook["list"], {}).records if record.type == RECORD}
    found = engine.find(RECORD, gateway=gateway, live=engine.settings.live, order="id", limit=1000)
    return [(record, there is None or record.id in there) for record in found]


def remove(engine: Engine, gateway: str, id: str, *, operation: str | None = None) -> str:
    """Have `gateway` send no more events to the endpoint `id`, ours or the gateway's. Returns the gateway's id.

    `operation` is as in `Engine.send`.
    """
    webhook = _webhook(engine, gateway)
    if not webhook.get("remove"):
        raise UnknownNameError("webhook.remove in the file of", gateway, [])
    scope: dict[str, Any] = {"gateway": gateway, "live": engine.settings.live}
    found = engine.find(RECORD, id=id, **scope) or engine.find(RECORD, gateway_id=id, **scope)
    told = {"gateway_id": found[0]["gateway_id"] if found else id, "id": found[0].id if found else None}
    engine.send(webhook["remove"], _taken(engine, webhook["remove"], told), operation=operation)
    return str(told["gateway_id"])


_BY_HAND = (
    f"enter https://HOST{ROUTE}/{{0}} at the gateway by hand, and its secret in .env; or write there"
    f" `register: {{0}}/NAME`, a request type whose mapper keeps a {RECORD}"
)


def _webhook(engine: Engine, gateway: str) -> Mapping[str, Any]:
    webhook = engine.catalog.gateway(gateway).webhook or {}
    if not webhook.get("register"):
        raise UnknownNameError("webhook.register in the file of", gateway, [], _BY_HAND.format(gateway))
    if RECORD not in engine.catalog.record_types:
        raise UnknownNameError("record type", RECORD, engine.catalog.record_types)
    return webhook


def _known(there: Sequence[Record]) -> Record | None:
    """One with a secret before one without."""
    return next(iter(sorted(there, key=lambda record: record["secret"] is None)), None)


def _demand_secret(engine: Engine, known: Record, webhook: Mapping[str, Any], endpoint: str) -> None:
    names = (webhook["endpoints"][endpoint] if endpoint else webhook).get("secrets", [])
    if known["secret"] is None and not any(engine.settings.get(name) for name in names):
        there = f"the gateway has {known['gateway_id']} for {known['url']} already, and tells its secret only once"
        remedy = f"set it, or `callsheet webhooks remove {known['gateway_id']}` and register again"
        raise SettingError(" or ".join(names) or RECORD, f"is not set; {there}; {remedy}")


def _demand_mapper(engine: Engine, name: str) -> None:
    """Raise UnknownNameError where nothing would be kept of an endpoint, whose secret is told only once."""
    mapper = engine.catalog.mappers.get(name)
    if mapper is None or RECORD not in changed(mapper):
        raise UnknownNameError(f"{RECORD} record kept by the mapper of", name, [])


def _demand_address(url: str) -> None:
    parts = _parts(url)
    if parts is None or not parts.hostname or parts.username or parts.fragment:
        raise DataError("the endpoint", [Problem("/url", f"{url!r} is not the address of a host")])


def _parts(url: str) -> SplitResult | None:
    """The parts of a URL that a gateway could post to; None where there is no such URL."""
    parts = parts_of(url)
    return parts if parts and parts.scheme in {"http", "https"} else None


def _taken(engine: Engine, name: str, told: Mapping[str, Any]) -> dict[str, Any]:
    """What the request type takes of what there is to tell."""
    takes = engine.catalog.request_type(name).properties
    return {key: value for key, value in told.items() if key in takes and value is not None}
