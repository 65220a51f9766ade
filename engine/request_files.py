"""What a request type's file defines, laid over what its gateway's file says for all.

Hides: how the two merge, and which of their parts is compiled into what. Nothing here knows where files come from.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property, partial
from typing import Any

from engine import bodies
from engine.definitions import Look
from engine.errors import Fault, did_you_mean
from engine.file_kinds import address_faults, check_file, in_mode
from engine.keywords import schema_faults
from engine.pointers import part_at
from engine.request_types import READS, REQUEST_LIMIT, Gateway, Pages, RequestType
from engine.schemas import Schema
from engine.template_checks import Source
from engine.templates import Templates, placed
from engine.yaml_files import Mark, YamlFile

_LASTS = {"m": 60, "h": 3600, "d": 86_400}


@dataclass(frozen=True)
class Shared:
    """What the request types of a folder share: their gateway and its file, the templates, the mode they are read for.

    `base_url` is what stands in the place of the files', in either mode.
    """

    gateway: Gateway
    file: YamlFile
    templates: Templates
    mode: str
    base_url: str | None


def read_request_type(name: str, file: YamlFile, shared: Shared, look: Look) -> RequestType | list[Fault]:
    """The request type of `file`, laid over what the gateway's file says; or its faults."""

    @cache
    def reader() -> _Reader:
        marks: Mapping[str, Mark] = ChainMap(file.marks, shared.file.marks)  # type: ignore[arg-type]  # only read
        below = {key: part for key, part in shared.file.value.items() if key not in _ONLY_GATEWAY}
        own = {"auth": file.value["auth"]} if "auth" in file.value else {}  # two ways to authenticate do not mix
        merged = YamlFile(file.name, _merged(below, file.value) | own, marks)
        return _Reader(name, merged, shared.gateway, shared.templates, file.marks)

    faults = look(lambda: check_file(file, "request_type") or list(reader().faults()))
    return faults or reader().request_type(shared.mode, shared.base_url)


_ONLY_GATEWAY = {"summary", "webhook", "browser", "settings", "renamed", "rate", "live_key", "version"}


def _merged(below: Any, above: Any) -> Any:
    """Mappings merge key by key; anything else is replaced."""
    if isinstance(below, dict) and isinstance(above, dict):
        return {key: _merged(below.get(key), above[key]) if key in above else below[key] for key in {**below, **above}}
    return above


@dataclass(frozen=True, slots=True)
class _Moved(Mapping[str, Mark]):
    """`marks` under other pointers: `/KEY/...` is what stands at `places[KEY]/...`."""

    marks: Mapping[str, Mark]
    places: Mapping[str, str]

    def __getitem__(self, pointer: str) -> Mark:
        key, slash, rest = pointer[1:].partition("/")
        return self.marks[f"{self.places[key]}{slash}{rest}"]

    def __iter__(self) -> Iterator[str]:
        for key, place in self.places.items():
            for one in self.marks:
                if f"{one}/".startswith(f"{place}/"):
                    yield f"/{key}{one.removeprefix(place)}"

    def __len__(self) -> int:
        return sum(1 for _ in self)


_READING = {"error": "/error", "mismatch": "/idempotency/mismatch", "limited": "/limited"}
_LEADING = {"redirect": "/redirect", "more": "/pages/more", "next": "/pages/next"}
ANSWER = ("response", "status", "headers")  # what an answer is read by
COUNTS = ("page", "read")  # what a list may be continued by: which page was read, and how many items so far


@dataclass(frozen=True)
class _Reader:
    """Checks and builds one request type from its merged file; `own` is where its own file says what."""

    name: str
    file: YamlFile
    gateway: Gateway
    templates: Templates
    own: Mapping[str, Mark]

    @property
    def _journaled(self) -> bool:
        return self.file.value["method"] not in READS

    @cached_property
    def _data(self) -> dict[str, Any]:
        data = {"type": "object", "additionalProperties": False, **self.file.value.get("data", {})}
        own = {"idempotency_key": _OPERATION} if self._journaled else {}
        return {**data, "properties": {**data.get("properties", {}), **own}}

    @cached_property
    def _headers(self) -> dict[str, Any]:
        return {name: value for name, value in self.file.value.get("headers", {}).items() if value is not None}

    @property
    def _content_type(self) -> str:
        named = [value for name, value in self._headers.items() if name.lower() == "content-type"]
        return str(named[0]) if named else "application/json"

    @property
    def _is_document(self) -> bool:
        """Whether the body is a JSON template: a text block where values are sent."""
        body = self.file.value.get("body")
        return isinstance(body, str) and "\n" in body and not bodies.media_type(self._content_type).startswith("text/")

    def _sending(self) -> dict[str, Any]:
        value = self.file.value
        parts = {"url": value["url"], "headers": self._headers, "query": value.get("query"), "body": value.get("body")}
        if self._is_document:
            del parts["body"]
        return {key: part for key, part in parts.items() if part is not None}

    def _taken(self, places: Mapping[str, str]) -> tuple[dict[str, Any], Mapping[str, Mark]]:
        """Of the leaves that are rendered with an answer those at `places`, and where they stand."""
        found = {key: part_at(self.file.value, pointer) for key, pointer in places.items()}
        return {key: part for key, part in found.items() if part is not None}, _Moved(self.file.marks, places)

    @property
    def _counts(self) -> bool:
        """Whether pages are counted: what leads on to the next is made of their number, or of that of their items."""
        leaves = placed(self.file.name, self.file.value["pages"]["next"], self.file.marks, "/pages/next")
        return any(self.templates.names(Source.at(leaf, mark)) & {*COUNTS} for leaf, mark in leaves)

    def faults(self) -> Iterator[Fault]:
        """Everything that is wrong with the merged file."""
        yield from schema_faults(self.file, "/data", self._data)
        properties, required = self._data.get("properties"), self._data.get("required")
        if isinstance(required, list) and isinstance(properties, dict) and not self._data.get("additionalProperties"):
            for number, name in enumerate(map(str, required)):
                if name not in properties:
                    message = f"there is no property {name!r}{did_you_mean(name, properties)}"
                    yield self.file.fault(f"/data/required/{number}", message)
        expected = self.file.value.get("expect", {}).get("body")
        yield from schema_faults(self.file, "/expect/body", expected or {})
        check = partial(self.templates.check_structure, self.file.name)
        names: dict[str, Any] = {"data": self._data, "settings": {"properties": self.gateway.settings}}
        names |= dict.fromkeys(("now", "call_id", *(["version"] if self.gateway.version else [])))
        yield from check(self._sending(), self.file.marks, "", {**names, "account": None})
        if "account" in self.file.value:
            yield from check(self.file.value["account"], self.file.marks, "/account", names)
        known: dict[str, Any] = dict.fromkeys(ANSWER)
        reading, marks = self._taken({**_READING, **_LEADING})
        paging = {key: reading.pop(key) for key in ("more", "next") if key in reading}
        yield from check(reading, marks, "", known)
        yield from check(paging, marks, "", known | dict.fromkeys(("links", *COUNTS)))
        if (after := part_at(self.file.value, "/retry/after")) is not None:
            yield from check(after, self.file.marks, "/retry/after", dict.fromkeys(ANSWER))
        if "found" in self.file.value:
            known = {"response": None, "data": self._data}
            yield from check(self.file.value["found"], self.file.marks, "/found", known)
        if self._is_document:
            source = Source.at(self.file.value["body"], self.file.marks["/body"])
            yield from self.templates.check_document(source, names)
        yield from address_faults(self.file)
        yield from self._twice_faults()
        yield from self._promise_faults()
        yield from self._write_only_faults()

    def _twice_faults(self) -> Iterator[Fault]:
        """What is a secret's to say in the query is said by it alone."""
        auth, query = self.file.value.get("auth") or {}, self.file.value.get("query") or {}
        for name in auth.get("query", {}).keys() & query.keys():
            yield self.file.fault(f"/query/{name}", f"{name!r} is a secret of `auth`, which is added last; remove one")

    def _write_only_faults(self) -> Iterator[Fault]:
        """What is writeOnly may stand in a body only: all else of a call is kept in the clear."""
        if not Schema(self._data).marks_write_only:
            return
        if not self._journaled:
            yield self.file.fault(
                "/data", f"writeOnly data is sent in a body, and a {self.file.value['method']} has none"
            )
        if self._data.get("writeOnly") is True:
            yield self.file.fault("/data/writeOnly", "mark properties writeOnly; the data as a whole cannot be")
        seen = {key: self.file.value[key] for key in ("url", "headers", "query", "account") if key in self.file.value}
        for leaf, mark in placed(self.file.name, seen, self.file.marks, ""):
            yield from self.templates.check_shown(Source.at(leaf, mark), {"data": self._data})

    def _promise_faults(self) -> Iterator[Fault]:
        """A call that may move money says how a repeat is kept from moving it twice."""
        value = self.file.value
        keyed = value.get("idempotency") or value.get("idempotent") or value.get("at_most_once")
        if self._journaled and not keyed:
            message = "say how a repeat is kept harmless: idempotency:, idempotent: true or at_most_once: true"
            yield self.file.fault("/method", message)
        if value.get("idempotent") and value.get("at_most_once"):
            message = "idempotent says that it may be repeated; remove at_most_once, or write idempotent: false"
            yield self.file.fault("/at_most_once", message)
        expect = value.get("expect", {})
        if expect.get("text") and "body" not in expect:
            yield self.file.fault("/expect/text", "say what the text is: body, with a const, an enum or a pattern")
        if not self._journaled and "/body" in self.own:
            yield self.file.fault("/body", f"a {value['method']} is sent without a body; give query parameters")
        if expect.get("missing") and self._journaled:
            yield self.file.fault("/expect/missing", "only a GET may find that there is nothing; here it is a refusal")
        if value.get("pages") and value["method"] != "GET":
            yield self.file.fault("/pages", "only a GET can be read page by page")
        body, kind = value.get("body"), bodies.media_type(self._content_type)
        if body is not None and (self._is_document or not isinstance(body, str)) and not bodies.has_structure(kind):
            yield self.file.fault("/body", f"a body of type {kind or 'unknown'} is one line of text")
        lower = [name.lower() for name in self._headers]
        for name in {name for name in lower if lower.count(name) > 1}:
            yield self.file.fault("/headers", f"the header {name} stands there twice; remove one")

    def request_type(self, mode: str, base_url: str | None) -> RequestType:
        """The request type of a file without faults, as it is in a mode."""
        value, file = in_mode(self.file.value, mode), self.file.name
        idempotency = value.get("idempotency") or {}
        keyed = bool(idempotency) and not value.get("at_most_once")
        expect = value.get("expect", {})
        pages = value.get("pages")
        structure = self.templates.structure

        def taken(places: Mapping[str, str], name: str) -> Callable[[Mapping[str, Any]], Any]:
            leaves, marks = self._taken(places)
            return structure(leaves, marks, f"{file}#{name}")

        def alone(key: str, pointer: str) -> Callable[[Mapping[str, Any]], Any] | None:
            leaf, marks = part_at(value, pointer), _Moved(self.file.marks, {key: pointer})
            return None if leaf is None else structure({key: leaf}, marks, f"{file}#{key}")

        return RequestType(
            name=self.name,
            file=file,
            gateway=self.gateway,
            written=value,
            summary=value["summary"],
            docs=value.get("docs"),
            method=value["method"],
            base_url=(base_url or value["base_url"]).rstrip("/"),
            redirected=base_url is not None,
            live=mode == "live",
            schema=Schema(self._data),
            parts=structure(self._sending(), self.file.marks, file),
            account=alone("account", "/account"),
            reading=taken(_READING, "reading"),
            leading=taken(_LEADING, "leading"),
            body=self.templates.body(Source.at(value["body"], self.file.marks["/body"])) if self._is_document else None,
            content_type=self._content_type,
            lists=value.get("lists", "indexed"),
            auth=value.get("auth") or {},
            expected=tuple(expect.get("status", [200])),
            expected_body=Schema(expect["body"]) if "body" in expect else None,
            key_header=idempotency.get("header") if keyed else None,
            key_lasts=_seconds(idempotency.get("lasts")) if keyed else 0,
            saves_all=idempotency.get("saves", "all") == "all",
            idempotent=bool(value.get("idempotent")),
            retry_header=(value.get("retry") or {}).get("header"),
            after=alone("after", "/retry/after"),
            request_id=value.get("request_id"),
            bodiless=tuple(expect.get("bodiless", ())),
            missing=tuple(expect.get("missing", ())),
            takes_text=bool(expect.get("text")),
            bodiless_refusals=tuple(value.get("bodiless_refusals", ())),
            refusals=tuple(value.get("refusals", ())),
            lookup=value.get("lookup"),
            found=alone("found", "/found"),
            pages=Pages(pages["items"], pages.get("limit", 1000), "more" in pages, self._counts) if pages else None,
            sealed=tuple(value.get("sealed", ())),
            answer_limit=value.get("answer_limit"),
            request_limit=value.get("request_limit", REQUEST_LIMIT),
        )


_OPERATION = {
    "type": "string",
    "minLength": 1,
    "maxLength": 255,
    "description": "Your own key of the operation: repeated with it, the call is carried out once.",
}


def _seconds(duration: str | None) -> int:
    match = re.fullmatch(r"([0-9]+)([mhd])", duration or "")
    return int(match[1]) * _LASTS[match[2]] if match else 0
