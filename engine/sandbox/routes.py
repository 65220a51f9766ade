"""Which requests a gateway takes: its request types' methods and paths, and what their cases show of each.

Hides: how a `url` template becomes a pattern of a path, and how it is told which object a request is about: the one
whose id, in the cases' answers, stands in the path. A request whose answer's id does not stand there makes a new one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote, urlsplit

from engine.cases import Case
from engine.request_types import READS, RequestType
from engine.sandbox.asked import decode_form
from engine.sandbox.files import Part

_IF = re.compile(r"\{%-?\s*if\b.*?%\}(.*?)(?:\{%-?\s*else\s*-?%\}(.*?))?\{%-?\s*endif\s*-?%\}", re.DOTALL)
_VALUE = re.compile(r"\{\{(.*?)\}\}", re.DOTALL)
_DATA = re.compile(r"\bdata\.(\w+)")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A method and a path; every segment is text, or None for a value, which `names` name in order."""

    method: str
    segments: tuple[str | None, ...]
    names: tuple[str, ...]

    @classmethod
    def of(cls, method: str, path: str) -> Pattern:
        """The pattern of a path whose values are written `{{ data.name }}` or `{name}`."""
        segments: list[str | None] = []
        names: list[str] = []
        for part in path.strip("/").split("/"):
            found = _VALUE.search(part) or re.fullmatch(r"\{(\w+)\}", part)
            if found:
                named = _DATA.search(found[1])
                names.append(named[1] if named else found[1].strip())
            segments.append(None if found else part)
        return cls(method, tuple(segments), tuple(names))

    @property
    def key(self) -> tuple[str, tuple[str | None, ...]]:
        """What is the same in two patterns that take the same requests."""
        return self.method, self.segments

    def values(self, segments: Sequence[str]) -> list[str] | None:
        """The values that stand in a path, or None where it is another's."""
        if len(segments) != len(self.segments) or not all(segments):
            return None
        pairs = list(zip(self.segments, segments, strict=True))
        return None if any(mine not in {None, its} for mine, its in pairs) else [its for mine, its in pairs if not mine]


def patterns(type: RequestType) -> list[Pattern]:
    """The patterns of a request type, one for every way in which its `url` can be written; HEAD is as GET."""
    base = urlsplit(type.written["base_url"]).path.rstrip("/")
    own = base if type.written["base_url"] != type.gateway.base_url else ""
    urls = [type.written["url"]]
    while any(_IF.search(url) for url in urls):
        urls = [_decided(url, branch) for url in urls for branch in (1, 2)]
    method = "GET" if type.method in READS else type.method
    return [Pattern.of(method, own + url) for url in dict.fromkeys(urls)]


def _decided(url: str, branch: int) -> str:
    """A `url` whose first `if` holds (1) or does not (2)."""
    return _IF.sub(lambda found: found[branch] or "", url, count=1)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a case shows: the values in the path, what was sent and what was answered."""

    name: str
    values: tuple[str, ...]
    sent: Mapping[str, Any]
    query: Mapping[str, Any]
    status: int
    answer: Any
    succeeds: bool


@dataclass(frozen=True)
class Route:
    """Requests of one method and pattern.

    `rules` is what the sandbox file says of them, a Part of None without; `names` are those it gives the path's values.
    """

    pattern: Pattern
    rules: Part
    types: list[RequestType] = field(default_factory=list)
    shown: list[Shown] = field(default_factory=list)
    id: str = "id"
    names: tuple[str, ...] = ()

    @property
    def successes(self) -> list[Shown]:
        """The cases of a success."""
        return [one for one in self.shown if one.succeeds]

    @property
    def usual_status(self) -> int:
        """The status of a success that no case shows."""
        return self.types[0].expected[0] if self.types else 200

    @property
    def reads(self) -> bool:
        """Whether nothing changes."""
        return self.pattern.method == "GET"

    @property
    def makes(self) -> bool:
        """Whether a new object joins the list at its path."""
        return self.pattern.method == "POST" and self.object_at is None

    @cached_property
    def object_at(self) -> int | None:
        """Which value of the path is the id of the object that a request is about; None where it makes one."""
        voices = [
            self._place(one) for one in self.successes if isinstance(one.answer, Mapping) and self.id in one.answer
        ]
        if voices:
            return max(set(voices), key=voices.count)
        ends_with_value = self.pattern.segments[-1] is None
        return len(self.pattern.names) - 1 if ends_with_value else None

    def nearest(self, sent: Mapping[str, Any]) -> Shown | None:
        """The success whose truth values and listed words are most like what is sent; of several, the richest."""
        ranked = [(self._likeness(one, sent), len(json.dumps(one.answer)), one.name, one) for one in self.successes]
        return max(ranked, key=lambda rank: rank[:3])[3] if ranked else None

    def _likeness(self, one: Shown, sent: Mapping[str, Any]) -> int:
        known, asked = self._choices(one.sent), self._choices(sent)
        return sum(1 if known.get(name) == asked.get(name) else -1 for name in known.keys() | asked.keys())

    def _choices(self, sent: Mapping[str, Any]) -> dict[str, str]:
        listed = {name for type in self.types for name, part in type.properties.items() if "enum" in part}
        return {
            name: str(value).lower()
            for name, value in sent.items()
            if isinstance(value, bool) or value in ("true", "false") or (name in listed and isinstance(value, str))
        }

    def _place(self, one: Shown) -> int | None:
        id = str(one.answer[self.id])
        return max((number for number, value in enumerate(one.values) if value == id), default=None)


def case_path(type: RequestType, url: str) -> str:
    """The decoded path of a case's URL, below the gateway's base URL."""
    base = type.written["base_url"]
    path = urlsplit(url).path.removeprefix(urlsplit(base).path.rstrip("/"))
    own = urlsplit(base).path.rstrip("/") if base != type.gateway.base_url else ""
    return own + path


def shown_in(case: Case, type: RequestType, known: Iterable[Pattern]) -> Iterator[tuple[Pattern, Shown]]:
    """What the exchanges of a case show, each with the one of the `known` patterns that it is of."""
    for sends, receives in zip(case.sends, case.receives, strict=False):
        segments = [unquote(part) for part in case_path(type, sends["url"]).strip("/").split("/")]
        matching = ((one, one.values(segments)) for one in known)
        pattern, values = next(((one, found) for one, found in matching if found is not None), (None, []))
        if pattern is None or "fails" in receives:
            continue
        body, query = sends.get("body") or {}, sends.get("query") or urlsplit(sends["url"]).query
        yield (
            pattern,
            Shown(
                name=f"{type.name.partition('/')[2]}/{case.file.stem}",
                values=tuple(values),
                sent=decode_form(body.strip()) if isinstance(body, str) else body,
                query=decode_form(query) if isinstance(query, str) else query,
                status=receives.get("status", 200),
                answer=receives.get("body"),
                succeeds=case.succeeds,
            ),
        )


def routes_of(types: Iterable[RequestType], cases: Sequence[Case], rules: Part) -> list[Route]:
    """The routes of a gateway: those of its request types, and those that only its sandbox file names."""
    id = rules.get("id").value or "id"
    told = {}
    for key, part in rules.get("routes").parts().items():
        method, _, path = key.partition(" ")
        named = Pattern.of(method, path)
        told[named.key] = (named, part)
    found: dict[Any, Route] = {}

    def route(pattern: Pattern) -> Route:
        named, part = told.get(pattern.key, (pattern, Part.nothing()))
        return found.setdefault(pattern.key, Route(pattern, part, id=id, names=named.names))

    for type in types:
        known = patterns(type)
        for pattern in known:
            route(pattern).types.append(type)
        for case in cases:
            if case.kind == "request_types" and case.subject == type.name:
                for pattern, shown in shown_in(case, type, known):
                    route(pattern).shown.append(shown)
    for pattern, _ in told.values():
        route(pattern)
    return sorted(found.values(), key=lambda one: sum(part is None for part in one.pattern.segments))
