"""Which definition has to do with which: who changes a record, whom an answer or an event has sent, who settles whom.

Hides: that a file only names what it needs; who needs it is found by reading all the others.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.catalog import Catalog
from engine.changes import Mapper

VERBS = ("upsert", "update", "delete")


class Link(NamedTuple):
    """A page by what it is about: "request_types", "events", "records" or "gateways", and the name there."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Touch:
    """One change that a file makes: to which records, found by which properties, and what it sets.

    `found_by`, `sets` and `only_where` name properties; a value that stands in the file is written behind its name.
    """

    verb: str
    record: str
    found_by: list[str]
    sets: list[str]
    only_where: list[str]


@dataclass(frozen=True)
class Connections:
    """The connections of all definitions, by name."""

    writers: Mapping[str, list[Link]]
    senders: Mapping[str, list[Link]]
    settles: Mapping[str, list[Link]]

    @classmethod
    def of(cls, catalog: Catalog) -> Connections:
        """Read them out of every file."""
        found = cls(defaultdict(list), defaultdict(list), defaultdict(list))
        files = [(Link("request_types", name.removesuffix(".declined")), one) for name, one in catalog.mappers.items()]
        files += [(Link("events", name), one) for name, one in catalog.processors.items()]
        for link, mapper in sorted(files, key=lambda pair: pair[0]):
            _note(found.writers, link, (touch.record for touch in touches(mapper)))
            _note(found.senders, link, follow_ups([mapper]))
        for name, type in sorted(catalog.request_types.items()):
            _note(found.settles, Link("request_types", name), [type.lookup] if type.lookup else [])
        return found


def _note(known: Mapping[str, list[Link]], link: Link, names: Iterable[str]) -> None:
    for name in names:
        if link not in known[name]:
            known[name].append(link)


def touches(mapper: Mapper) -> list[Touch]:
    """The changes of a mapper or a processor, those of its fragments included."""
    return [
        Touch(verb, change[verb], *(_named(change.get(part)) for part in ("where", "set", "when")))
        for change in mapper.outline()
        for verb in VERBS
        if verb in change
    ]


def follow_ups(mappers: Iterable[Mapper]) -> list[str]:
    """The request types that are sent after what a file means is committed."""
    return list(dict.fromkeys(change["send"] for mapper in mappers for change in mapper.outline() if "send" in change))


def _named(part: Any) -> list[str]:
    """Names, each with the value where the file itself says one."""
    return [f"{name}{_value(value)}" for name, value in part.items()] if isinstance(part, Mapping) else []


_SIGNS = {"lt": "<", "lte": "≤", "gt": ">", "gte": "≥"}


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "".join(f" {_SIGNS.get(sign, sign)} {'…' if limit is None else limit}" for sign, limit in value.items())
    if isinstance(value, list):
        return f" = {' or '.join('…' if one is None else str(one) for one in value)}"
    return "" if value is None else f" = {value}"
