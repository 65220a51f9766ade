"""How a call proves who it comes from: the headers made of secrets, added last and kept nowhere."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from engine.catalog import KINDS, Catalog
from engine.errors import SettingError
from engine.request_types import Gateway, RequestType
from engine.settings import Settings


def secret_names(auth: Mapping[str, Any]) -> list[str]:
    """The names of the secrets that an `auth` is made of."""
    if "bearer" in auth:
        return [auth["bearer"]]
    return list(auth["basic"]) if "basic" in auth else list(auth.get("header", {}).values())


def hide_secrets(catalog: Catalog, settings: Settings) -> None:
    """Have every secret masked that a file names, from the start: it may turn up before it is used."""
    auths = [type.auth for type in catalog.request_types.values()]
    names = {name for auth in auths for name in (auth["basic"][-1:] if "basic" in auth else secret_names(auth))}
    names |= {name for gateway in catalog.gateways.values() for name in gateway.webhook_secrets}
    settings.hide(*(settings.get(name) or "" for name in names))


def keys_of(catalog: Catalog, gateway: str) -> list[str]:
    """The names of the secrets that prove who calls `gateway`."""
    types = [type for type in catalog.request_types.values() if type.gateway.name == gateway]
    return list(dict.fromkeys(name for type in types for name in secret_names(type.auth)))


def users_of(catalog: Catalog, gateway: str) -> set[str]:
    """Those of the names that stand for a user beside a password: no keys, whatever they look like."""
    auths = [type.auth for type in catalog.request_types.values() if type.gateway.name == gateway]
    return {auth["basic"][0] for auth in auths if len(auth.get("basic", ())) == 2}


def in_use(catalog: Catalog, settings: Settings, root: Path) -> list[str]:
    """The gateways that a host has to do with: one of their secrets is set, or the host's own files are about them."""

    def is_used(gateway: Gateway) -> bool:
        is_set = any(settings.get(name) for name in (*keys_of(catalog, gateway.name), *gateway.webhook_secrets))
        return is_set or any((root / kind / gateway.name).is_dir() for kind in KINDS)

    return [name for name, gateway in catalog.gateways.items() if is_used(gateway)]


def credentials(type: RequestType, settings: Settings) -> Mapping[str, str]:
    """The headers that authenticate a call of `type`. Raises SettingError where a secret is missing or refused."""

    def secret(name: str, *, masked: bool = True) -> str:
        live_key = type.gateway.live_key if masked else None
        value = settings.secret(name, live_key=live_key, masked=masked)
        if type.redirected and live_key and re.search(live_key, value):
            raise SettingError(
                name, f"is a key for live money, and {type.base_url} is not the gateway; it is not sent there"
            )
        return value

    auth = type.auth
    if "basic" in auth:
        # Beside a password the first is a user's name: a gateway's answers are full of it.
        alone = len(auth["basic"]) == 1
        user, password = secret(auth["basic"][0], masked=alone), "" if alone else secret(auth["basic"][1])
        pair = base64.b64encode(f"{user}:{password}".encode()).decode()
        settings.hide(pair)
        return {"Authorization": f"Basic {pair}"}
    if "bearer" in auth:
        return {"Authorization": f"Bearer {secret(auth['bearer'])}"}
    return {name: secret(value) for name, value in auth.get("header", {}).items()}
