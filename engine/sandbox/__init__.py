"""A stand-in for gateways, made of the same files: what the cases show, with what was sent, remembered.

    sandbox = Sandbox(Material.read(root))     a WSGI application; every gateway is below /NAME
    Engine(root, dispatcher=sandbox, environment=sandbox.secrets)

    files        what a `_sandbox.yml` says
    material     the files that stand-ins are made of
    places       where a value stands in a body
    asked        a request as a gateway reads it
    routes       which requests there are, and what the cases show of each
    visits       one request on its way
    sent         what the files say of what is sent
    analogies    an answer made after a case's
    objects      what is remembered
    lists        pages
    refusals     how a gateway says no
    scenarios    what can be made to go wrong
    effects      what rules do
    work         one request carried out
    reading      what is answered to a GET
    events       events, signed
    delivering   and posted
    hearing      to whom
    hosted       the gateway's own pages
    granting     tokens, for a client that proves itself
    standin      one gateway
    serving      a server on this machine

Hides: that there is no gateway.
"""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from http.client import responses
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from engine.cases import secrets_of
from engine.dispatcher import IN_QUERY, Answer, Failure
from engine.request_types import Gateway, Request
from engine.sandbox.asked import Answered, AnswerLost, Asked, Malformed, nested
from engine.sandbox.delivering import Deliverer, Poster
from engine.sandbox.files import Part
from engine.sandbox.material import Material
from engine.sandbox.standin import StandIn, World
from engine.settings import Settings
from engine.store import Store
from engine.store.memory import MemoryStore
from engine.urls import IN_PATH

__all__ = ["AnswerLost", "Material", "Sandbox", "made_up"]

LIMIT = 8 << 20  # bytes of a request


def made_up(material: Material, gateways: Iterable[str]) -> dict[str, str]:
    """A value for every secret and setting that the files of `gateways` name; they open nothing but a sandbox."""
    found: dict[str, str] = {}
    for name in gateways:
        gateway, file = material.catalog.gateway(name), material.files.get(name)
        found |= {one: _made_up(one, gateway) for one in secrets_of(material.catalog, name)}
        found |= dict(file.settings) if file else {}
    return found


def _made_up(name: str, gateway: Gateway) -> str:
    digest, scheme = hashlib.sha256(name.encode()).digest(), gateway.scheme
    if scheme and scheme.key_encoding == "base64" and name in gateway.webhook_secrets:
        return scheme.key_prefix + base64.b64encode(digest).decode()
    return f"sandbox_{name.lower()}_{digest.hex()[:16]}"


class Sandbox:
    """Stand-ins for `gateways` (all with request types where none are named), as a WSGI application and as a Sender.

    `secrets` are what callers must authenticate with and what events are signed with, made up as far as they are not
    given. `hosts` says where the events of a gateway go: gateway → URL of its webhooks, behind which another endpoint's
    name is put. `store` remembers. Whoever serves it says where in `origin`.
    """

    def __init__(
        self,
        material: Material,
        *,
        gateways: Iterable[str] | None = None,
        secrets: Mapping[str, str] | None = None,
        hosts: Mapping[str, str] | None = None,
        store: Store | None = None,
        deliverer: Deliverer | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._chosen = None if gateways is None else frozenset(gateways)
        self.secrets, self.hosts, self.origin = dict(secrets or {}), dict(hosts or {}), ""
        self._world = World(store or MemoryStore(), deliverer or Poster(), now, sleep, self.hosts)
        self.renew(material)

    def _names(self, material: Material) -> list[str]:
        known = {type.gateway.name: None for type in material.catalog.request_types.values()}
        return [name for name in known if self._chosen is None or name in self._chosen]

    def renew(self, material: Material) -> None:
        """Stand in as other files say; what is remembered stays."""
        catalog, names = material.catalog, self._names(material)
        self.secrets = {**made_up(material, names), **self.secrets}
        self._gateways = {name: catalog.gateway(name) for name in names}
        settings = Settings(None, self.secrets)
        self.standins = {
            name: StandIn(
                gateway,
                [type for type in catalog.request_types.values() if type.gateway.name == name],
                [case for case in material.cases if case.gateway == name],
                material.files[name].top if name in material.files else Part.nothing(),
                settings,
                self._world,
            )
            for name, gateway in self._gateways.items()
        }

    def base_urls(self, origin: str) -> dict[str, str]:
        """The base URL of every gateway, where the sandbox is served at `origin`."""
        return {name: f"{origin}/{name}{self._base(name)}" for name in self._gateways}

    def _base(self, name: str) -> str:
        return urlsplit(self._gateways[name].base_url).path.rstrip("/")

    def answer(self, method: str, target: str, headers: Mapping[str, str], body: bytes) -> Answered:
        """The answer to one request for `target`, the path and query as they are sent. Raises AnswerLost."""
        whole, _, text = target.partition("?")
        name, _, rest = whole.lstrip("/").partition("/")
        standin = self.standins.get(name)
        if standin is None:
            known = ", ".join(f"/{one}" for one in self.standins)
            return Answered(404, {"message": f"There is no gateway /{name} in this sandbox; there is {known}."})
        try:
            query = nested(parse_qsl(text, keep_blank_values=True))
        except Malformed as error:
            return Answered(400, {"message": f"The query cannot be read: {error}"})
        origin = f"http://{headers.get('host', 'localhost')}/{name}"
        if rest.startswith("hosted/"):
            return standin.hosted(Asked(method, unquote(rest.removeprefix("hosted")), query, headers, body, origin))
        path = unquote(f"/{rest}".removeprefix(self._base(name)))
        return standin.answer(Asked(method, path or "/", query, headers, body, origin))

    def __call__(self, environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """As WSGI (PEP 3333) says."""
        path = quote(environ.get("PATH_INFO", "").encode("latin-1"), safe=IN_PATH)
        headers = {key[5:].replace("_", "-").lower(): text for key, text in environ.items() if key.startswith("HTTP_")}
        headers["content-type"] = environ.get("CONTENT_TYPE", "")
        length = int(environ.get("CONTENT_LENGTH") or 0)
        target = f"{path}?{query}" if (query := environ.get("QUERY_STRING", "")) else path
        if length > LIMIT:
            answered = Answered(413, {"message": f"A sandbox reads {LIMIT} bytes at most."})
        else:
            raw = environ["wsgi.input"].read(length) if length else b""
            answered = self.answer(environ["REQUEST_METHOD"], target, headers, raw)
        body = answered.raw()
        named = {"Content-Type": answered.media, "Content-Length": str(len(body)), **answered.headers}
        start_response(f"{answered.status} {responses.get(answered.status, 'Answer')}", list(named.items()))
        return [b"" if environ["REQUEST_METHOD"] == "HEAD" else body]

    def send(
        self, request: Request, *, credentials: Mapping[str, str], deadline: float, answer_limit: int | None = None
    ) -> Answer | Failure:
        """Answer an engine of this process directly, as a Sender; the request may be for the gateway's own address."""
        del deadline, answer_limit
        name = next((one for one in self._gateways if self._leads_to(one, request.url)), None)
        if name is None:
            return Failure("connect", sent=False, message=f"no sandbox stands in for {request.url}", seconds=0.0)
        parts = urlsplit(request.url)
        in_query = {key: value for key, value in credentials.items() if key.startswith(IN_QUERY)}
        in_headers = [pair for pair in credentials.items() if pair[0] not in in_query]
        headers = {key.lower(): value for key, value in (*request.headers, *in_headers)}
        proof = urlencode({key.removeprefix(IN_QUERY): value for key, value in in_query.items()})
        query = "&".join(part for part in (parts.query, proof) if part)
        target = f"/{name}{parts.path}" + (f"?{query}" if query else "")
        try:
            answered = self.answer(request.method, target, headers, request.body)
        except AnswerLost as error:
            return Failure("closed", sent=True, message=str(error), seconds=0.0)
        named = {key.lower(): value for key, value in answered.headers.items()}
        return Answer(answered.status, {"content-type": "application/json", **named}, answered.raw(), 0.0)

    def _leads_to(self, name: str, url: str) -> bool:
        standin = self.standins[name]
        bases = {type.base_url for type in standin.types}
        return url in standin.granting.endpoints or any(f"{url}/".startswith(f"{base}/") for base in bases)
