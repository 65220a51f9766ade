"""What only a gateway can say: what time it is, and which of our endpoints it sends events to.

Only gateways whose secret is set are asked. Hides: that a gateway may not answer, which is a warning, and that the time
is asked without any secret.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from email.utils import parsedate_to_datetime

from engine import endpoints
from engine.core import Engine
from engine.credentials import keys_of
from engine.dispatcher import Failure
from engine.doctor.findings import Finding, Level
from engine.errors import EngineError
from engine.records import Record
from engine.request_types import Request

PATIENCE = 5.0  # seconds for one gateway to tell the time
NOTICED, REFUSED = timedelta(seconds=60), timedelta(seconds=240)  # of skew; webhooks are refused beyond 300 s


def registered(engine: Engine) -> set[tuple[str, str]]:
    """The gateways and endpoints whose secrets the store has."""
    if endpoints.RECORD not in engine.catalog.record_types:
        return set()
    found = engine.find(endpoints.RECORD, live=engine.settings.live, limit=1000)
    return {(one.scope.gateway, one["endpoint"] or "") for one in found if one["secret"]}


def findings(engine: Engine, *, with_endpoints: bool) -> Iterator[Finding]:
    """Ask every gateway that has a key here."""
    for name in engine.catalog.gateways:
        names = keys_of(engine.catalog, name)
        if not names or not all(engine.settings.get(secret) for secret in names):
            continue
        ahead = _ahead(engine, name)
        yield _clock(name, ahead)
        if with_endpoints and isinstance(ahead, timedelta) and name in endpoints.gateways(engine):
            yield from _endpoints(engine, name)


def _ahead(engine: Engine, gateway: str) -> timedelta | str:
    """How far our clock is ahead of the Date of an answer to a request that proves nothing; or why nobody knows."""
    url = next(type.base_url for type in engine.catalog.request_types.values() if type.gateway.name == gateway)
    before = engine.clock.now()
    request = Request("HEAD", f"{url}/", (), b"")
    result = engine.dispatcher.send(request, credentials={}, deadline=time.monotonic() + PATIENCE)
    if isinstance(result, Failure):
        return result.message
    try:
        there = parsedate_to_datetime(result.headers["date"])
        return before + (engine.clock.now() - before) / 2 - there
    except (KeyError, ValueError, TypeError):  # there is none, it is none, or it names no zone
        return "its answer has no Date"


def _clock(gateway: str, ahead: timedelta | str) -> Finding:
    if isinstance(ahead, str):
        return Finding("warning", "clock", f"could not be asked: {ahead}", gateway, "callsheet doctor, once it answers")
    if abs(ahead) <= NOTICED:
        return Finding("ok", "clock", "its clock and this machine's agree", gateway)
    side = "ahead of" if ahead > timedelta() else "behind"
    said = f"this machine's clock is {abs(ahead).total_seconds():.0f} s {side} its own"
    if abs(ahead) <= REFUSED:
        return Finding("warning", "clock", said, gateway, _SET_CLOCK)
    refused = f"{said}, so its webhooks are refused as too old or too new"
    return Finding("problem", "clock", refused, gateway, _SET_CLOCK)


_SET_CLOCK = "have the clock set from the network: timedatectl set-ntp true"


def _endpoints(engine: Engine, gateway: str) -> Iterator[Finding]:
    """What the gateway lists of this host's endpoints, and what the store knows that it does not list."""
    try:
        found = [(one, known) for one, known in endpoints.endpoints(engine, gateway) if _is_ours(one)]
    except EngineError as error:
        said = f"could not be asked for its endpoints: {error}"
        yield Finding("warning", "webhooks", said, gateway, "see that its key may list them, then callsheet doctor")
        return
    if not any(known for _, known in found):
        said = "sends no events here: it has no endpoint of this host"
        yield Finding("warning", "webhooks", said, gateway, "callsheet webhooks register URL")
    for one, known in found:
        wrong = list(_wrong(engine, one, known))
        yield from wrong
        if not wrong:
            yield Finding("ok", "webhooks", f"sends events to {one['url']}", gateway)


def _is_ours(endpoint: Record) -> bool:
    named = endpoints.named_by(endpoint["url"])
    return bool(endpoint["secret"]) or (named is not None and named[0] == endpoint.scope.gateway)


def _wrong(engine: Engine, endpoint: Record, known: bool) -> Iterator[Finding]:
    gateway, id, url = endpoint.scope.gateway, endpoint["gateway_id"], endpoint["url"]
    again = f"callsheet webhooks remove {id}, then callsheet webhooks register {url}"

    def finding(level: Level, said: str, remedy: str = again) -> Finding:
        return Finding(level, "webhooks", said, f"{gateway} {id}", remedy)

    if not known:
        yield finding("warning", f"is gone at {gateway}, which sent events to {url}")
        return
    if endpoint["status"] == "disabled":
        yield finding("problem", f"is disabled, so no event comes to {url}")
    if not endpoints.fits(engine, endpoint):
        beside = f"callsheet webhooks register {url}, then callsheet webhooks remove {id}"
        yield finding("problem", f"sends events of version {endpoint['api_version']}, which are put aside", beside)
    elif endpoint["api_version"] is None and engine.catalog.gateway(gateway).version:
        yield finding("warning", "sends events of the account's own version, which may change")
    if unsent := endpoints.unsent(engine, endpoint):
        yield finding("warning", f"does not send {', '.join(unsent)}, for which there are processors")
