"""How a call proves who it comes from: by headers, or a query, made of secrets, added last and kept nowhere.

Hides: the ways there are of it. Of each it is known which settings it names, and which of them only name somebody. Some
gateways take no secret but a token that has to be fetched with it: then a `Client` is what all begins with.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus, urlencode, urlsplit

from engine.catalog import KINDS, Catalog
from engine.dispatcher import IN_QUERY
from engine.errors import SettingError
from engine.request_types import Gateway, Request, RequestType
from engine.settings import Settings


@dataclass(frozen=True, slots=True)
class Client:
    """Who asks for a token (RFC 6749, 4.4): by which request, and with which headers made of secrets.

    `id_name` and `secret_name` are the settings that say who; `scope` is what the token is asked for, if anything.
    """

    gateway: str
    id_name: str
    secret_name: str
    scope: str | None
    request: Request = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)


def secret_names(auth: Mapping[str, Any]) -> list[str]:
    """The names of the settings that an `auth` is made of."""
    if "bearer" in auth:
        return [auth["bearer"]]
    if "oauth2" in auth:
        return [auth["oauth2"]["client_id"], auth["oauth2"]["client_secret"]]
    return list(auth["basic"]) if "basic" in auth else list((auth.get("header") or auth.get("query") or {}).values())


def _user_names(auth: Mapping[str, Any]) -> list[str]:
    """Those of them that say who calls, beside what proves it: a gateway's answers are full of it."""
    if "oauth2" in auth:
        return [auth["oauth2"]["client_id"]]
    return auth["basic"][:1] if len(auth.get("basic", ())) == 2 else []


def hide_secrets(catalog: Catalog, settings: Settings) -> None:
    """Have every secret masked that a file names, from the start: it may turn up before it is used."""
    auths = [type.auth for type in catalog.request_types.values()]
    names = {name for auth in auths for name in secret_names(auth) if name not in _user_names(auth)}
    names |= {name for gateway in catalog.gateways.values() for name in gateway.webhook_secrets}
    settings.hide(*(settings.get(name) or "" for name in names))


def keys_of(catalog: Catalog, gateway: str) -> list[str]:
    """The names of the settings that prove who calls `gateway`."""
    types = [type for type in catalog.request_types.values() if type.gateway.name == gateway]
    return list(dict.fromkeys(name for type in types for name in secret_names(type.auth)))


def users_of(catalog: Catalog, gateway: str) -> set[str]:
    """Those of the names that stand for a user or a client beside what is secret: no keys, whatever they look like."""
    auths = [type.auth for type in catalog.request_types.values() if type.gateway.name == gateway]
    return {name for auth in auths for name in _user_names(auth)}


def in_use(catalog: Catalog, settings: Settings, root: Path) -> list[str]:
    """The gateways that a host has to do with: one of their secrets is set, or the host's own files are about them."""

    def is_used(gateway: Gateway) -> bool:
        is_set = any(settings.get(name) for name in (*keys_of(catalog, gateway.name), *gateway.webhook_secrets))
        return is_set or any((root / kind / gateway.name).is_dir() for kind in KINDS)

    return [name for name, gateway in catalog.gateways.items() if is_used(gateway)]


def credentials(type: RequestType, settings: Settings) -> Mapping[str, str] | Client:
    """What authenticates a call of `type`, as the dispatcher takes it, or the client that a token is fetched by.

    Raises SettingError where a secret is missing or refused.
    """
    live_key, auth = type.gateway.live_key, type.auth

    def user(name: str) -> str:
        return settings.secret(name, masked=False)

    def secret(name: str) -> str:
        value = settings.secret(name, live_key=live_key)
        if type.redirected and live_key and re.search(live_key, value):
            raise SettingError(
                name, f"is a key for live money, and {type.base_url} is not the gateway; it is not sent there"
            )
        return value

    if "bearer" in auth:
        return {"Authorization": f"Bearer {secret(auth['bearer'])}"}
    if "basic" in auth:
        first, *second = auth["basic"]
        return _basic(user(first), secret(second[0]), settings) if second else _basic(secret(first), "", settings)
    if "oauth2" in auth:
        return _client(type, user(auth["oauth2"]["client_id"]), secret(auth["oauth2"]["client_secret"]), settings)
    if "query" in auth:
        return {IN_QUERY + name: secret(value) for name, value in auth["query"].items()}
    return {name: secret(value) for name, value in auth.get("header", {}).items()}


def _basic(user: str, password: str, settings: Settings) -> dict[str, str]:
    pair = base64.b64encode(f"{user}:{password}".encode()).decode()
    settings.hide(pair)
    return {"Authorization": f"Basic {pair}"}


_ASKED_FOR = ("scope", "resource", "audience")  # RFC 6749, 3.3; RFC 8707, 2; RFC 8693, 2.1


def _client(type: RequestType, id: str, secret: str, settings: Settings) -> Client:
    said = type.auth["oauth2"]
    form = {"grant_type": "client_credentials", **{name: said[name] for name in _ASKED_FOR if name in said}}
    headers: dict[str, str] = {}
    if said.get("token_endpoint_auth_method") == "client_secret_post":
        form |= {"client_id": id, "client_secret": secret}
    else:  # both are encoded as in a form first (RFC 6749, 2.3.1)
        headers = _basic(quote_plus(id), quote_plus(secret), settings)
    kinds = (("Content-Type", "application/x-www-form-urlencoded"), ("Accept", "application/json"))
    request = Request("POST", token_endpoint(type), kinds, urlencode(form).encode())
    named = said["client_id"], said["client_secret"], said.get("scope")
    return Client(type.gateway.name, *named, request, tuple(headers.items()))


def token_endpoint(type: RequestType) -> str:
    """Where a token for calls of `type` is fetched. Who stands in the gateway's place gives the tokens, too."""
    said: str = type.auth["oauth2"]["token_endpoint"]
    if type.redirected:
        return type.base_url + token_path(type)
    return type.gateway.base_url.rstrip("/") + said if said.startswith("/") else said


def token_path(type: RequestType) -> str:
    """The path of the token endpoint, below the base URL where it is below it."""
    said: str = type.auth["oauth2"]["token_endpoint"]
    base = type.gateway.base_url.rstrip("/")
    below = said.removeprefix(base) if said.startswith(f"{base}/") else said
    return below if below.startswith("/") else urlsplit(below).path
