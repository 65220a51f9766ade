"""The reference's paths and pages, and the index that its search reads.

    index.html                          everything by name
    gateways/stripe.html                request_types/stripe/create_refund.html
    records/refund.html                 events/stripe/charge.refunded.html
    reference.css, reference.js         pico.classless.min.css, palette.css, search-index.js

Hides: how a definition becomes a page. The same files make the same bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2

from engine.catalog import Catalog
from engine.core import OWN_TYPES
from engine.descriptions import Parameter, limits, parameters, repeats, url_template
from engine.records import RecordType
from engine.reference import examples
from engine.reference.connections import Connections, follow_ups, touches
from engine.reference.sources import Sources
from engine.request_types import RequestType

ASSETS = {
    "reference.css": "reference/static/reference.css",
    "reference.js": "reference/static/reference.js",
    "palette.css": "web/static/palette.css",
    "pico.classless.min.css": "web/static/pico.classless.min.css",
    "pico.LICENSE.md": "web/static/pico.LICENSE.md",
}
KINDS = {"request_types": "request type", "events": "event", "records": "record", "gateways": "gateway"}
KEPT = ("call", "event")  # the engine's own records that somebody looks for

_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class Site:
    """All pages for the definitions of `catalog`, which were read from `folders`."""

    def __init__(self, catalog: Catalog, folders: Sequence[Path]) -> None:
        self.catalog, self._sources = catalog, Sources(catalog, folders)
        self._records = {**catalog.record_types, **{name: OWN_TYPES[name] for name in KEPT}}
        self._names = {
            "request_types": sorted(catalog.request_types),
            "events": sorted(catalog.processors),
            "records": sorted(self._records),
            "gateways": sorted(catalog.gateways),
        }
        self._pages = {path_of(kind, name): (kind, name) for kind in KINDS for name in self._names[kind]}
        self._templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(str(files("engine") / "reference" / "templates")),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many definitions of each kind there are."""
        return {kind: len(names) for kind, names in self._names.items()}

    @property
    def paths(self) -> list[str]:
        """Every file of the site, from its root."""
        return ["index.html", *ASSETS, "search-index.js", *self._pages]

    def content(self, path: str) -> bytes:
        """What the file at `path` holds. Raises KeyError where there is none, DefinitionError for a faulty case."""
        if path in ASSETS:
            return (files("engine") / ASSETS[path]).read_bytes()
        if path == "search-index.js":
            return self._search_index()
        if path == "index.html":
            return self._rendered("index", "index.html", self._overview())
        kind, name = self._pages[path]
        facts: Mapping[str, Any] = {
            "request_types": self._request_type,
            "events": self._event,
            "records": self._record,
            "gateways": self._gateway,
        }[kind](name)
        return self._rendered(kind, path, {"name": name, **facts})

    def _rendered(self, template: str, path: str, facts: Mapping[str, Any]) -> bytes:
        root = "../" * path.count("/")

        def link(kind: str, name: str) -> str | None:
            wanted = path_of(kind, name)
            return root + wanted if wanted in self._pages else None

        html = self._templates.get_template(f"{template}.html").render(root=root, link=link, **facts)
        return _UNPRINTABLE.sub("\ufffd", html).encode()

    @cached_property
    def _connections(self) -> Connections:
        return Connections.of(self.catalog)

    # Facts ------------------------------------------------------------------------------------------------------------

    def _overview(self) -> dict[str, Any]:
        return {
            "gateways": [self._summary_of_gateway(name) for name in self._names["gateways"]],
            "request_types": {name: self._types_of(name) for name in self._names["gateways"]},
            "events": {name: self._events_of(name) for name in self._names["gateways"]},
            "records": [self._records[name] for name in self._names["records"]],
        }

    def _types_of(self, gateway: str) -> list[RequestType]:
        known = self.catalog.request_types
        return [known[name] for name in self._names["request_types"] if name.startswith(f"{gateway}/")]

    def _events_of(self, gateway: str) -> list[tuple[str, str]]:
        return [
            (name, self._summary_of_event(name)) for name in self._names["events"] if name.startswith(f"{gateway}/")
        ]

    def _summary_of_gateway(self, name: str) -> dict[str, str]:
        return {"name": name, "summary": self._sources.value(_gateway_file(name)).get("summary", "")}

    def _summary_of_event(self, name: str) -> str:
        processor = self.catalog.processors[name]
        changed = list(dict.fromkeys(touch.record for touch in touches(processor)))
        parts = [f"changes {', '.join(changed)}"] if changed else []
        return ", ".join([*parts, *(f"sends {sent}" for sent in follow_ups([processor]))])

    def _request_type(self, name: str) -> dict[str, Any]:
        type, sources = self.catalog.request_types[name], self._sources
        cases = sources.cases("request_types", name, type.file)
        found = {"answer": self.catalog.mappers.get(name), "refusal": self.catalog.mappers.get(f"{name}.declined")}
        mappers = [mapper for mapper in found.values() if mapper]
        return {
            "type": type,
            "url": f"{type.written['base_url'].rstrip('/')}{url_template(type)}",
            "repeats": repeats(type),
            "lasts": _duration(type.key_lasts) if type.key_lasts else "",
            "auth": json.dumps(type.auth) if type.auth else "",
            "parameters": _anchored(parameters(type.schema.document)),
            "together": [one for one in limits(type.schema.document) if one != "no other names"],
            "changes": {what: touches(mapper) if mapper else [] for what, mapper in found.items()},
            "follow_ups": follow_ups(mappers),
            "senders": self._connections.senders.get(name, []),
            "settles": self._connections.settles.get(name, []),
            "form": self.catalog.forms[name].file if name in self.catalog.forms else None,
            "example": examples.call(type, cases),
            "refusal": examples.refusal(cases),
            "claims": [case.told["claim"] for case in cases],
            "files": self._files(type.file, *(mapper.file for mapper in mappers)),
        }

    def _event(self, name: str) -> dict[str, Any]:
        processor = self.catalog.processors[name]
        cases = self._sources.cases("webhook_processors", name, processor.file)
        gateway, _, event = name.partition("/")
        return {
            "gateway": gateway,
            "event": event,
            "touches": touches(processor),
            "follow_ups": follow_ups([processor]),
            "example": examples.event(cases),
            "claims": [case.told["claim"] for case in cases],
            "files": self._files(processor.file),
        }

    def _record(self, name: str) -> dict[str, Any]:
        type = self._records[name]
        own = name in OWN_TYPES
        document = {"properties": type.properties, "required": type.required}
        return {
            "type": type,
            "parameters": _anchored(parameters(document)),
            "indexed": sorted(type.indexed),
            "find": f'engine.find("{name}"{_first_key(type)})',
            "writers": self._connections.writers.get(name, []),
            "files": [] if own else self._files(f"response_mappers/records/{name}.yml"),
            "own": own,
        }

    def _gateway(self, name: str) -> dict[str, Any]:
        gateway, said = self.catalog.gateways[name], self._sources.value(_gateway_file(name))
        webhook = gateway.webhook or {}
        return {
            "gateway": gateway,
            "said": said,
            "auth": json.dumps(said["auth"]) if said.get("auth") else "",
            "rate": {part: json.dumps(allowed) for part, allowed in said.get("rate", {}).items()},
            "scheme": gateway.scheme,
            "reads": {part: webhook[part] for part in _READ if part in webhook},
            "endpoints": {"": webhook, **webhook.get("endpoints", {})} if webhook else {},
            "set_up": [webhook[part] for part in ("register", "list", "remove") if part in webhook],
            "request_types": self._types_of(name),
            "events": self._events_of(name),
            "files": self._files(_gateway_file(name)),
        }

    def _files(self, *names: str) -> list[dict[str, Any]]:
        sources = self._sources
        return [{"name": name, "text": sources.text(name), "shipped": sources.is_shipped(name)} for name in names]

    # The search -------------------------------------------------------------------------------------------------------

    def _search_index(self) -> bytes:
        """A script, for a page that was opened as a file may fetch nothing. One entry a line: it is compared, too."""
        entries = [f"{json.dumps(entry, separators=(',', ':'))},\n" for entry in self._entries()]
        return f"globalThis.callsheetReference = [\n{''.join(entries)}];\n".encode()

    def _entries(self) -> Iterator[list[str]]:
        """What it is, its name, its page, what is said of it, and the names inside it."""
        for kind, names in self._names.items():
            for name in names:
                summary, inside = self._searched(kind, name)
                yield [KINDS[kind], name, path_of(kind, name), summary, " ".join(one.path for one in inside)]

    def _searched(self, kind: str, name: str) -> tuple[str, Iterator[Parameter]]:
        if kind == "request_types":
            type = self.catalog.request_types[name]
            return type.summary, parameters(type.schema.document)
        if kind == "records":
            record = self._records[name]
            return record.summary, parameters({"properties": record.properties})
        return self._summary_of_event(name) if kind == "events" else self._summary_of_gateway(name)["summary"], iter(())


_READ = ("id", "type", "time", "live", "account", "key", "version", "release", "reference", "object")


def path_of(kind: str, name: str) -> str:
    """The page of a definition, from the site's root."""
    return f"{kind}/{name}.html"


def _anchored(known: Iterable[Parameter]) -> list[tuple[str, Parameter]]:
    """Each with the id that it has on its page; alternatives may name the same path more than once."""
    found: dict[str, Parameter] = {}
    for one in known:
        id = f"name.{re.sub(r'[^A-Za-z0-9_.-]', '-', one.path)}"
        while id in found:
            id += "-"
        found[id] = one
    return list(found.items())


def _gateway_file(name: str) -> str:
    return f"request_types/{name}/_gateway.yml"


def _duration(seconds: int) -> str:
    sizes = ((86_400, "days"), (3600, "hours"), (60, "minutes"))
    return next((f"{seconds // size} {name}" for size, name in sizes if seconds >= 2 * size), f"{seconds} seconds")


def _first_key(type: RecordType) -> str:
    names = type.unique[0] if type.unique else type.index[:1]
    return "".join(f", {name}=…" for name in names)
