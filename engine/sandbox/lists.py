"""A page of a list, in the frame that the gateway's cases show, continued where its `pages:` says how.

Hides: what becomes of the frame: the case's own page with more after it, or its last page, with other items in it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.pointers import steps_of
from engine.request_types import RequestType
from engine.sandbox.analogies import as_type, fresh_id
from engine.sandbox.places import at, place_in, put
from engine.sandbox.routes import Route, Shown


@dataclass(frozen=True, slots=True)
class Frame:
    """How a gateway frames a list: the request type that reads it, the pages its cases show, where the items are."""

    type: RequestType | None
    pages: Sequence[Shown]
    items: tuple[str, ...]

    def says(self, body: Any, page: int = 1, read: int = 0) -> Mapping[str, Any]:
        """Whether there is more after a page, and which parameters lead to it.

        `page` is its number and `read` how many items were read with it, by which a list that counts goes on.
        """
        if self.type is None or "pages" not in self.type.written:
            return {"more": isinstance(body, Mapping) and body.get("has_more")}
        said = self.type.leads(body, page=page, read=read)
        return {**said, "more": said.get("more", bool(said.get("next")))}

    @property
    def leads_on(self) -> frozenset[str]:
        """The parameters that lead to a later page; an address leads to none here, so that such a list is whole."""
        following = (self.type.written.get("pages") or {}).get("next") if self.type else None
        return frozenset(following if isinstance(following, Mapping) else ())

    @property
    def counts(self) -> bool:
        """Whether its pages are counted."""
        return self.type is not None and self.type.pages is not None and self.type.pages.counts

    def counted(self, query: Mapping[str, Any], size: int, number: int) -> int:
        """Where the page begins that `query` asks for, of a list of `number` items whose pages are counted."""
        last = number + _BEYOND * size
        return max((read for read in range(1, last) if self._leads_here(query, -(-read // size), read)), default=0)

    def _leads_here(self, query: Mapping[str, Any], page: int, read: int) -> bool:
        following = self.says({}, page, read).get("next") or {}
        return bool(following) and all(str(query.get(name)) == str(value) for name, value in following.items())


_BEYOND = 100  # pages behind the last one, which are empty

PLAIN = Frame(None, (), ("data",))


def frame_of(route: Route) -> Frame | None:
    """The frame in which the cases of a route show a list, or None where they show none."""
    for type in route.types:
        if type.pages:
            return Frame(type, route.successes, tuple(steps_of(type.pages.items)))
    for shown in route.successes:
        if (place := _items_in(shown.answer)) is not None:
            return Frame(route.types[0] if route.types else None, route.successes, place)
    return None


def _items_in(answer: Any) -> tuple[str, ...] | None:
    if isinstance(answer, list):
        return ()
    if not isinstance(answer, Mapping) or "id" in answer:
        return None
    return next(((name,) for name, part in answer.items() if isinstance(part, list)), None)


class Pages:
    """Cuts lists into pages, and knows the marks that it gave out for the next ones."""

    def __init__(self, size: str, usual: int, id: str) -> None:
        self._size, self._usual, self._id = size, usual, id
        self._marks: dict[tuple[str, str, str], int] = {}

    def page(self, items: Sequence[Mapping[str, Any]], frame: Frame, path: str, query: Mapping[str, Any]) -> Any:
        """The page of `items` that `query` asks for."""
        fitting = [item for item in items if self._fits(item, query, frame)]
        asked = int(query[self._size]) if str(query.get(self._size, "")).isdigit() else self._usual
        size = max(asked, 1)
        start = frame.counted(query, size, len(fitting)) if frame.counts else self._start(fitting, frame, path, query)
        end = start + size if frame.leads_on else len(fitting)  # where nothing leads on, a list is whole
        return self._framed(fitting[start:end], frame, path, query, end if end < len(fitting) else None)

    def _fits(self, item: Mapping[str, Any], query: Mapping[str, Any], frame: Frame) -> bool:
        """Whether an item has what the query names; a parameter that is no property of it names nothing."""
        named = {name: value for name, value in query.items() if name in item and name not in frame.leads_on}
        return all(_equal(item[name], value) for name, value in named.items())

    def _start(self, items: Sequence[Mapping[str, Any]], frame: Frame, path: str, query: Mapping[str, Any]) -> int:
        ids = [str(item.get(self._id)) for item in items]
        for name in frame.leads_on & query.keys():
            value = str(query[name])
            if value in ids:
                return ids.index(value) + 1
            return self._marks.get((path, name, value), 0)
        return 0

    def _framed(self, items: list[Any], frame: Frame, path: str, query: Mapping[str, Any], further: int | None) -> Any:
        body = self._empty(frame, path, query, more=further is not None)
        if not frame.items:
            return items
        body = put(body, frame.items, items)
        if further is None or frame.counts:
            return body
        for name, value in (frame.says(body).get("next") or {}).items():
            marked = value
            if isinstance(value, str) and value in body.values():
                marked = fresh_id(value)  # two pages cannot lead on to one
                body = {key: marked if part == value else part for key, part in body.items()}
            self._marks[path, name, str(marked)] = further
        return body

    def _empty(self, frame: Frame, path: str, query: Mapping[str, Any], *, more: bool) -> dict[str, Any]:
        shown = [one for one in frame.pages if isinstance(one.answer, Mapping)]
        alike = [one for one in shown if bool(frame.says(one.answer).get("more")) == more]
        if not shown:
            return {"has_more": more}
        body = {
            name: as_type(query[name], part) if name in query else part
            for name, part in (alike or shown)[0].answer.items()
        }
        if isinstance(url := body.get("url"), str):
            body["url"] = url[: url.index("/", 1)] + path if url.startswith("/") and url.count("/") > 1 else url
        return body if alike or frame.counts else self._turned(frame, body, more=more)

    def _turned(self, frame: Frame, body: dict[str, Any], *, more: bool) -> dict[str, Any]:
        """A frame that says the other thing about more."""
        pages = (frame.type.written.get("pages") or {}) if frame.type else {}
        leaf = str(pages.get("more", pages.get("next", "")))
        place = place_in(leaf, "response") or ["has_more"]
        before = at(body, place)
        if before is None or isinstance(before, str):
            return put(body, place, fresh_id("next_") if more else None)
        return put(body, place, more)


_ORDERS = {
    "gte": lambda mine, theirs: mine >= theirs,
    "gt": lambda mine, theirs: mine > theirs,
    "lte": lambda mine, theirs: mine <= theirs,
    "lt": lambda mine, theirs: mine < theirs,
}


def _equal(mine: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping) and wanted.keys() <= _ORDERS.keys():
        bounds = {order: as_type(value, mine) for order, value in wanted.items()}
        alike = all(type(bound) is type(mine) for bound in bounds.values())
        return alike and all(_ORDERS[order](mine, bound) for order, bound in bounds.items())
    if isinstance(wanted, Mapping) and isinstance(mine, Mapping):
        return all(name in mine and _equal(mine[name], part) for name, part in wanted.items())
    text = mine if isinstance(mine, str) else json.dumps(mine)
    return bool(text == (wanted if isinstance(wanted, str) else json.dumps(wanted)))
