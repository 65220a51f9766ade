"""A gateway on this machine that gives tokens, and answers those who show one: real HTTP, for tests of both sides."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from fault_server import FaultServer, Peer, Received, message
from hosts import SHOP, CountingStore, Hours, OnlyHere, write

from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Dispatcher
from engine.records import Record

ID, SECRET = "client_7Qd", "secret_e4/+x Zk9 9q".replace(" ", "~")
SETTINGS = {"SHOP_ID": ID, "SHOP_SECRET": SECRET, "SHOP_HOOK": "hook_0123456789abcdef0123456789abcdef"}
ENDPOINT = "/oauth2/token"
TOKEN = "2YotnFZFEjr1zCsicMWpAA."  # what every token begins with


def oauth2(*more: str, endpoint: str = ENDPOINT) -> str:
    """What stands in the file."""
    said = [f"token_endpoint: {endpoint}", "client_id: SHOP_ID", "client_secret: SHOP_SECRET", *more]
    return f"auth: {{oauth2: {{{', '.join(said)}}}}}"


def files(base_url: str, auth: str) -> dict[str, str]:
    """The shop's files, at another address and with another way to prove who calls."""
    gateway = "request_types/shop/_gateway.yml"
    shared = SHOP[gateway].replace("https://api.shop.test/v1", base_url).replace("auth: {bearer: SHOP_KEY}", auth)
    return {**SHOP, gateway: shared.replace("  endpoints: {partners: {secrets: [SHOP_OTHER_HOOK]}}\n", "")}


@dataclass
class TokenGateway:
    """`granted` are the tokens it gave, `valid` those that it takes. `grants` and `acts` are what it does instead."""

    server: FaultServer
    granted: list[str] = field(default_factory=list)
    valid: set[str] = field(default_factory=set)
    expires_in: Any = 3600
    grants: Callable[[Received, Peer], bytes | None] | None = None
    acts: Callable[[Received], bytes] | None = None
    unauthorized: bytes = message(401, b"", 'WWW-Authenticate: Bearer error="invalid_token"')
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __call__(self, peer: Peer) -> None:
        """Answer one request."""
        received = peer.read()
        if received is None:
            return
        if received.target == f"/v1{ENDPOINT}":
            answer = self.grants(received, peer) if self.grants else self.grant()
        else:
            shown = received.headers.get("authorization", "").removeprefix("Bearer ")
            answer = self.answer(received) if shown in self.valid else self.unauthorized
        if answer is not None:
            peer.send(answer)

    def grant(self, *_: object, **said: Any) -> bytes:
        """The answer that gives another token."""
        token = f"{TOKEN}{next(self._numbers)}"
        self.granted.append(token)
        self.valid.add(token)
        told = {"access_token": token, "token_type": "Bearer", "expires_in": self.expires_in, **said}
        return message(200, json.dumps({name: value for name, value in told.items() if value is not None}).encode())

    def answer(self, received: Received) -> bytes:
        """The answer to a call that shows a valid token."""
        return self.acts(received) if self.acts else message(200, b'{"id": "p1", "amount": 5}')

    def revoke(self) -> None:
        """Take no token that was given before."""
        self.valid.clear()

    @property
    def asked(self) -> list[Received]:
        """The requests for a token."""
        return [one for one in self.server.requests if one.target == f"/v1{ENDPOINT}"]

    @property
    def calls(self) -> list[Received]:
        """All other requests."""
        return [one for one in self.server.requests if one.target != f"/v1{ENDPOINT}"]


@dataclass
class TokenHost:
    """An engine whose gateway wants tokens."""

    engine: Engine
    gateway: TokenGateway
    store: CountingStore
    hours: Hours

    def journal(self) -> list[Record]:
        """The calls, oldest first."""
        return self.engine.find("call", order="id")


def form(received: Received) -> Mapping[str, list[str]]:
    """What a form says."""
    return parse_qs(received.body.decode(), strict_parsing=True)


@contextmanager
def gateway() -> Iterator[TokenGateway]:
    """A gateway while the `with` lasts."""
    with FaultServer() as server:
        made = TokenGateway(server)
        server.behave(made)
        yield made


@contextmanager
def token_host(
    root: Path, *more: str, patience: float = 25.0, also: Mapping[str, str] | None = None, **environment: str
) -> Iterator[TokenHost]:
    """A host and its gateway; `more` stands in its `oauth2`, `also` are files beside the shop's."""
    with gateway() as served:
        base = f"http://127.0.0.1:{served.server.port}/v1"
        folder = write(root, {**files(base, oauth2(*more)), **(also or {})})
        hours, store, dispatcher = Hours(), CountingStore(), Dispatcher()
        stands = hours.clock()
        clock = Clock(stands.now, stands.new_id, stands.sleep, lambda longest: longest, patience)
        settings = {**SETTINGS, **environment}
        made = Engine(
            folder, store=store, environment=settings, dispatcher=dispatcher, clock=clock, files=OnlyHere(folder)
        )
        made.key_of(
            made.plan("shop/pay", {"amount": 1}).scope, "", ""
        )  # makes the salt, so that it is no test's commit
        store.commits.clear()
        try:
            yield TokenHost(made, served, store, hours)
        finally:
            dispatcher.close()
