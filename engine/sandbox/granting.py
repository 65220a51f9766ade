"""Tokens, granted to a client that proves itself (RFC 6749, 4.4): the same one every time, so no restart ends any.

Hides: the two ways in which a client may prove itself.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import unquote_plus

from engine.credentials import Client, credentials, token_endpoint, token_path
from engine.request_types import RequestType
from engine.sandbox.asked import Answered, Asked
from engine.settings import Settings

LASTS = 3600  # seconds


class Granting:
    """The token endpoints that the files of a gateway name. `endpoints` are their URLs."""

    def __init__(self, types: Sequence[RequestType], settings: Settings) -> None:
        mine = [type for type in types if "oauth2" in type.auth]
        self.endpoints = {token_endpoint(type) for type in mine}
        self._paths = {token_path(type) for type in mine}
        told = [type.auth["oauth2"] for type in mine]
        self._clients = {(settings.get(one["client_id"]), settings.get(one["client_secret"])) for one in told}
        self._settings = settings

    def answer(self, asked: Asked) -> Answered | None:
        """What a token endpoint answers; None where it is not asked. Raises Malformed."""
        if asked.method != "POST" or asked.path not in self._paths:
            return None
        body = asked.body()
        form: Mapping[str, Any] = body if isinstance(body, Mapping) else {}
        if form.get("grant_type") != "client_credentials":
            return Answered(400, {"error": "unsupported_grant_type"})
        client = _client(asked, form)
        if client not in self._clients:
            return Answered(401, {"error": "invalid_client"}, {"WWW-Authenticate": "Basic"})
        scope = {"scope": form["scope"]} if "scope" in form else {}
        return Answered(200, {"access_token": _token(*client), "token_type": "Bearer", "expires_in": LASTS, **scope})

    def credentials(self, type: RequestType) -> Mapping[str, str]:
        """What a call of `type` must show, as it is added; the token that its client is granted, if it has one."""
        proof = credentials(type, self._settings)
        if not isinstance(proof, Client):
            return proof
        id, secret = (self._settings.get(name) for name in (proof.id_name, proof.secret_name))
        return {"Authorization": f"Bearer {_token(id, secret)}"}


def _client(asked: Asked, form: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """The id and the secret that a client gives, by HTTP Basic or in the body."""
    kind, _, given = asked.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return form.get("client_id"), form.get("client_secret")
    try:
        id, _, secret = base64.b64decode(given, validate=True).decode().partition(":")
    except ValueError:
        return None, None
    return unquote_plus(id), unquote_plus(secret)


def _token(id: str | None, secret: str | None) -> str:
    return f"sandbox_token_{hashlib.sha256(f'{id}:{secret}'.encode()).hexdigest()[:32]}"
