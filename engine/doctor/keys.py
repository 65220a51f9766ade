"""Secrets and settings: what is missing, malformed, or of the wrong mode. No value is ever part of what is said."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path

from engine.catalog import Catalog
from engine.credentials import in_use, keys_of, users_of
from engine.doctor.findings import Finding
from engine.errors import SettingError
from engine.observers import METRICS_KEY
from engine.request_types import Gateway
from engine.seals import ENCRYPTION_KEY, MAKE_ONE, SECRET_KEY, Sealer, Tokens
from engine.settings import Settings
from engine.signatures import check_secret

MEND = "mend it in the environment or in .env"


def findings(
    catalog: Catalog, settings: Settings, root: Path, registered: Collection[tuple[str, str]] = ()
) -> list[Finding]:
    """What there is to say of the keys of a host; `registered`: gateways and endpoints whose secrets are in the store.

    Only the gateways that the host has to do with are looked at.
    """
    used = [catalog.gateways[name] for name in in_use(catalog, settings, root)]
    found = [one for gateway in used for one in _of_gateway(catalog, settings, gateway, registered)]
    found += _own(catalog, settings, used)
    if any(one.level != "ok" for one in found):
        return found
    names = ", ".join(gateway.name for gateway in used)
    said = f"all keys of {names} are set and well formed" if used else "no gateway is in use: none of their keys is set"
    return [Finding("ok", "keys", said)]


def _of_gateway(
    catalog: Catalog, settings: Settings, gateway: Gateway, registered: Collection[tuple[str, str]]
) -> Iterator[Finding]:
    for name in keys_of(catalog, gateway.name):
        if not settings.get(name):
            yield Finding("warning", "keys", f"is not set, so {gateway.name} cannot be called", name, _SET)
            continue
        try:
            settings.secret(name, live_key=None if name in users_of(catalog, gateway.name) else gateway.live_key)
        except SettingError as error:
            yield Finding("problem", "keys", error.message, name, MEND)
    yield from _shown(settings, gateway, keys_of(catalog, gateway.name))
    for endpoint, names in gateway.endpoint_secrets.items():
        yield from _of_endpoint(settings, gateway, endpoint, names, (gateway.name, endpoint) in registered)


def _shown(settings: Settings, gateway: Gateway, secrets: Collection[str]) -> Iterator[Finding]:
    """A secret key where a public one belongs would stand in every page."""
    for name in gateway.settings.values():
        value = settings.get(name) or ""
        same = next((secret for secret in secrets if value and settings.get(secret) == value), None)
        if same or (value and gateway.live_key and re.search(gateway.live_key, value)):
            what = f"holds the value of {same}" if same else "holds a secret key"
            yield Finding("problem", "keys", f"{what}, and pages show it", name, MEND)


_SET = "put it into the environment or into .env"


def _of_endpoint(
    settings: Settings, gateway: Gateway, endpoint: str, names: list[str], is_registered: bool
) -> Iterator[Finding]:
    for name in (name for name in names if settings.has(name)):
        try:
            check_secret(name, settings.get(name) or "")
        except SettingError as error:
            yield Finding("problem", "keys", error.message, name, MEND)
    if endpoint == "" and names and not is_registered and not any(settings.has(name) for name in names):
        register = (gateway.webhook or {}).get("register")
        remedy = "callsheet webhooks register URL, or put it into .env" if register else _SET
        yield Finding(
            "warning", "keys", f"is not set, so {gateway.name}'s webhooks are refused", " or ".join(names), remedy
        )


def _own(catalog: Catalog, settings: Settings, used: list[Gateway]) -> Iterator[Finding]:
    try:
        Tokens(settings.keys(SECRET_KEY), "doctor")
    except SettingError as error:
        if settings.keys(SECRET_KEY):
            yield Finding("problem", "keys", error.message, SECRET_KEY, MAKE_ONE)
        else:
            yield Finding("warning", "keys", "is not set, so no form can be made", SECRET_KEY, MAKE_ONE)
    try:
        Sealer(settings.keys(ENCRYPTION_KEY))
    except SettingError as error:
        yield Finding("problem", "keys", error.message, ENCRYPTION_KEY, MAKE_ONE)
    if settings.has(METRICS_KEY):
        try:
            check_secret(METRICS_KEY, settings.get(METRICS_KEY) or "")
        except SettingError as error:
            yield Finding("problem", "keys", error.message, METRICS_KEY, MEND)
    for name, guess in settings.unknown(catalog.gateways).items():
        yield Finding("warning", "keys", f"is no setting of callsheet{guess}", name, MEND)
    mine = [type for type in catalog.request_types.values() if type.gateway in used]
    sealing = [type.name for type in mine if type.sealed or type.schema.marks_write_only]
    if sealing and not settings.keys(ENCRYPTION_KEY):
        said = f"is not set, so nothing is sent that has a secret in its data or its answer: {', '.join(sealing)}"
        yield Finding("warning", "keys", said, ENCRYPTION_KEY, MAKE_ONE)
