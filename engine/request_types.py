"""A request type: one file's content made into a value that renders data into a frozen request.

Hides: how the keys of a file become a method, a URL, headers and bytes. Building is apart from sending: a `Request`
can be looked at, compared and kept before anything happens.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

from engine import bodies
from engine.errors import DataError, Problem
from engine.json_texts import iter_documents
from engine.pointers import pointer_to
from engine.records import Scope
from engine.schemas import Schema
from engine.signatures import Scheme, scheme_of
from engine.templates import RenderError
from engine.values import unchanging

READS = ("GET", "HEAD")
REQUEST_LIMIT = 256 * 1024  # bytes of a body, where the file says no other


@unchanging
class Request:
    """What is sent, byte for byte, except the credentials, which the dispatcher adds last.

    `url` is absolute and fully encoded, its query included. `headers` are in the order they are sent, names unique
    without regard to case. `body` is empty where nothing is sent.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


_NONE: Mapping[str, str] = {}


@dataclass(frozen=True, slots=True)
class Pages:
    """How a list is read to its end: `items` is the JSON pointer of the list, `limit` counts its items.

    `says_more`: the file says whether there is more; else what leads on is enough. `counts`: what leads on is a number
    of our own counting, of pages or of items, and nothing that the gateway says.
    """

    items: str
    limit: int
    says_more: bool
    counts: bool


@dataclass(frozen=True, slots=True)
class Rate:
    """What a gateway allows: calls begun in a second, by mode, and calls under way at once in one process.

    None: as many as one likes.
    """

    test: float | None
    live: float | None
    in_flight: int | None


@dataclass(frozen=True)
class Gateway:
    """What a gateway's `_gateway.yml` says beside what its request types share.

    `base_url` is that of the mode that the files were read for. `read_event` reads what an event says of itself,
    `read_cause` the call that it may be about and the object, `read_release` what of a version names its shape.
    `settings` are public: name → the setting behind it. `renamed`: old spelling in data → the one of now.
    """

    name: str
    base_url: str
    settings: Mapping[str, str]
    renamed: Mapping[str, str]
    live_key: str | None
    version: str | None
    rate: Rate | None
    browser: Mapping[str, list[str]]
    webhook: Mapping[str, Any] | None
    read_event: Callable[[Mapping[str, Any]], Any]
    read_cause: Callable[[Mapping[str, Any]], Any]
    read_release: Callable[[Mapping[str, Any]], Any]

    @cached_property
    def scheme(self) -> Scheme | None:
        """How its events are signed; None where it sends none."""
        return scheme_of(self.webhook["scheme"]) if self.webhook else None

    @cached_property
    def events(self) -> str | None:
        """Where a delivery has its list of events, as a JSON pointer; None where each is a delivery of its own."""
        return self.webhook.get("events") if self.webhook else None

    @cached_property
    def kept_headers(self) -> tuple[str, ...]:
        """The names, in lower case, of the headers that are kept with an event."""
        return tuple(name.lower() for name in (self.webhook or {}).get("headers", ()))

    @cached_property
    def webhook_headers(self) -> tuple[str, ...]:
        """The names of all headers of a delivery that are looked at."""
        return (*self.scheme.headers, *self.kept_headers) if self.scheme else ()

    @cached_property
    def endpoint_secrets(self) -> Mapping[str, list[str]]:
        """By endpoint, the names of the secrets that its events are signed with; "" is the one without a name."""
        if self.webhook is None:
            return {}
        known = {"": self.webhook, **self.webhook.get("endpoints", {})}
        return {endpoint: told.get("secrets", []) for endpoint, told in known.items()}

    @property
    def webhook_secrets(self) -> list[str]:
        """The names of the secrets of all endpoints."""
        return [name for names in self.endpoint_secrets.values() for name in names]

    def is_written_for(self, version: str | None) -> bool:
        """Whether the files understand what has this version; what says none has no version to differ in."""
        if not version or self.version in {None, version}:
            return True
        try:
            known, given = [self.read_release({"version": one}).get("release", one) for one in (self.version, version)]
        except RenderError:
            return False
        return bool(known == given)


@dataclass(frozen=True)
class RequestType:
    """One request type. `written` is its file as it stands, laid over the gateway's, with the base_url of its mode.

    `parts` renders url, headers, query and body, `account` the account it acts in, `reading` what an answer says:
    error, mismatch and limited; `leading` where a success leads: redirect, more and next; `after`, when the request may
    be sent again. `key_lasts` is in seconds, the limits in bytes. `redirected`: base_url is not the file's own. `live`:
    it sends in live mode, and what it keeps is of live money.
    """

    name: str
    file: str
    gateway: Gateway
    written: Mapping[str, Any]
    summary: str
    docs: str | None
    method: str
    base_url: str
    redirected: bool
    live: bool
    schema: Schema
    parts: Callable[[Mapping[str, Any]], Any]
    account: Callable[[Mapping[str, Any]], Any] | None
    reading: Callable[[Mapping[str, Any]], Any]
    leading: Callable[[Mapping[str, Any]], Any]
    body: Callable[[Mapping[str, Any]], str] | None
    content_type: str
    lists: bodies.Lists
    auth: Mapping[str, Any]
    expected: tuple[int, ...]
    expected_body: Schema | None
    key_header: str | None
    key_lasts: int
    saves_all: bool
    idempotent: bool
    retry_header: str | None
    after: Callable[[Mapping[str, Any]], Any] | None
    request_id: str | None
    bodiless: tuple[int, ...]
    missing: tuple[int, ...]
    takes_text: bool
    bodiless_refusals: tuple[int, ...]
    refusals: tuple[int, ...]
    lookup: str | None
    found: Callable[[Mapping[str, Any]], Any] | None
    pages: Pages | None
    sealed: tuple[str, ...]
    answer_limit: int | None
    request_limit: int

    @property
    def rate(self) -> Rate | None:
        """What the gateway allows; it says nothing about whoever stands in its place."""
        return None if self.redirected else self.gateway.rate

    @property
    def leads_on(self) -> bool:
        """Whether the file names a hosted page that the browser is sent to."""
        return "redirect" in self.written

    @property
    def journaled(self) -> bool:
        """Whether a call is kept: all but reading is."""
        return self.method not in READS

    @property
    def properties(self) -> Mapping[str, Mapping[str, Any]]:
        """The JSON Schema of every property of the data."""
        properties: Mapping[str, Mapping[str, Any]] = self.schema.document["properties"]
        return properties

    def check(self, data: Mapping[str, Any]) -> dict[str, Any]:
        """`data` with its defaults, checked. Raises DataError; warns where an old spelling is used."""
        if not isinstance(data, Mapping):
            raise DataError(self.name, [Problem("", "must be an object")])
        complete = self.schema.with_defaults(
            data if data.keys() <= self.properties.keys() else self._as_spelt_now(data)
        )
        problems = self.schema.problems(complete)
        if problems:
            raise DataError(self.name, problems)
        return complete

    def _as_spelt_now(self, data: Mapping[str, Any]) -> dict[str, Any]:
        renamed, properties = {}, self.properties
        for name, value in data.items():
            known = name if name in properties else self.gateway.renamed.get(name, name)
            if known != name:
                warnings.warn(f"{name} is now spelt {known}", DeprecationWarning, stacklevel=4)
            renamed[known] = value
        return renamed

    def says(self, response: Any, status: int, headers: Mapping[str, str]) -> dict[str, Any]:
        """What an answer says: of the parts of `reading` those that it has. Raises RenderError."""
        return dict(self.reading({"response": response, "status": status, "headers": headers}))

    def leads(
        self,
        response: Any,
        status: int = 200,
        headers: Mapping[str, str] = _NONE,
        links: Mapping[str, str] = _NONE,
        page: int = 1,
        read: int = 0,
    ) -> dict[str, Any]:
        """Where a success leads: of the parts of `leading` those that it has; a refusal need not have what they name.

        Of a page `links` are those of its Link header, `page` is its number from 1, and `read` the number of items read
        with it. Raises RenderError.
        """
        known = {"response": response, "status": status, "headers": headers, "links": links, "page": page, "read": read}
        return dict(self.leading(known))

    def account_of(self, data: Mapping[str, Any], names: Mapping[str, Any]) -> str:
        """The gateway account that a call with checked `data` acts in; "" is our own. Raises DataError."""
        if self.account is None:
            return ""
        try:
            return str(self.account({"data": data, **names}).get("account") or "")
        except RenderError as error:
            raise DataError(self.name, [Problem("", str(error))]) from None

    def render(self, data: Mapping[str, Any], names: Mapping[str, Any], key: str) -> Request:
        """The frozen request for checked `data`.

        `names` are settings, now, call_id, version and account; `key` is the idempotency key. Raises DataError where a
        value cannot stand where the file puts it.
        """
        known = {"data": data, **names}
        try:
            parts = self.parts(known)
            url = self._url(parts)
            headers = dict(parts.get("headers", {}))
            if self.key_header and self.journaled:
                headers[self.key_header] = key
            body = self._body(parts, known, headers, str(names["call_id"]))
        except UnicodeEncodeError:
            raise DataError(self.name, [Problem("", "holds half of a character, which no encoding can send")]) from None
        except RenderError as error:
            raise DataError(self.name, [Problem(_pointer(error.path), str(error))]) from None
        except (ValueError, TypeError) as error:
            raise DataError(self.name, [Problem("", str(error))]) from None
        return Request(self.method, url, tuple(headers.items()), body)

    def _url(self, parts: Mapping[str, Any]) -> str:
        url = self.base_url + parts["url"]
        query = bodies.encode_form(parts["query"], self.lists) if parts.get("query") else ""
        before, after = urlsplit(self.base_url), urlsplit(url)
        if (before.scheme, before.netloc) != (after.scheme, after.netloc) or after.query or after.fragment:
            raise ValueError(f"the URL {url!r} leaves {self.base_url}")
        return f"{url}?{query}" if query else url

    def _body(
        self, parts: Mapping[str, Any], names: Mapping[str, Any], headers: dict[str, str], boundary: str
    ) -> bytes:
        content_type = next((name for name in headers if name.lower() == "content-type"), None)
        value = _only_value(self.body(names)) if self.body else parts.get("body")
        if value is None and bodies.media_type(self.content_type) == bodies.FORM:
            value = {}  # an empty form is a form
        if value is None or not self.journaled:
            if content_type:
                del headers[content_type]
            return b""
        body, sent_type = bodies.encode(value, self.content_type, boundary, self.lists)
        if len(body) > self.request_limit:
            raise ValueError(f"the body would be {len(body)} bytes long; request_limit allows {self.request_limit}")
        headers[content_type or "Content-Type"] = sent_type
        return body

    def scope(self, account: str) -> Scope:
        """Where the records of a call belong."""
        return Scope(self.gateway.name, account, self.live)


def _only_value(text: str) -> Any:
    """The value of a body's JSON text; None where it is empty. Raises ValueError for a second one: it would be lost."""
    values = list(iter_documents(text))
    if len(values) > 1:
        raise ValueError(f"a body is one JSON value, and its template makes {len(values)}")
    return values[0] if values else None


def _pointer(path: str) -> str:
    """Where in the data that stands which a file calls `path`: data.id is /id; "" where it is more than a name."""
    return pointer_to(path.split(".")[1:]) if re.fullmatch(r"data(\.\w+)+", path) else ""
