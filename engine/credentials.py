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


def keys_of(catalog: Catalog, gateway: str) -> list[str]:
    """The names of the secrets that prove who calls `gateway`."""
    types = [type for type in catalog.request_types.values() if type.gateway.name == gateway]
    return list(dict.fromkeys(name for type in types for name in secret_names(type.auth)))


def in_use(catalog: Catalog, settings: Settings, root: Path) -> list[str]:
    """The gateways that a host has to do with: one of their secrets is set, or the host's own files are about them."""

    def is_used(gateway: Gateway) -> bool:
        is_set = any(settings.get(name) for name in (*keys_of(catalog, gateway.name), *gateway.webhook_secrets))
        return is_set or any((root / kind / gateway.name).is_dir() for kind in KINDS)

    return [name for name, gateway in catalog.gateways.items() if is_used(gateway)]


def credentials(type: RequestType, settings: Settings) -> Mapping[str, str]:
    """The headers that authenticate a call of `type`. Raises SettingError where a secret is missing or refused."""

    def secret(name: str) -> str:
        value = settings.secret(name, live_key=type.gateway.live_key)
        if type.redirected and type.gateway.live_key and re.search(type.gateway.live_key, value):
            raise SettingError(
                name, f"is a key for live money, and {type.base_url} is not the gateway; it is not sent there"
            )
        return value

    auth = type.auth
    if "bearer" in auth:
        return {"Authorization": f"Bearer {secret(auth['bearer'])}"}
    if "basic" in auth:
        user, password = [secret(name) for name in auth["basic"]] + ([""] if len(auth["basic"]) == 1 else [])
        return {"Authorization": f"Basic {base64.b64encode(f'{user}:{password}'.encode()).decode()}"}
    return {name: secret(value) for name, value in auth.get("header", {}).items()}
