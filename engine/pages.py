"""A list read to its end: one answer, the last page's, whose items are those of all pages."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

from engine import bodies
from engine.pointers import part_at
from engine.request_types import Request, RequestType
from engine.settling import Exchange


def read_pages(type: RequestType, request: Request, fetch: Callable[[Request], Exchange]) -> Exchange:
    """The exchange of `request`, or, where the file says `pages:`, the last page's with the items of all of them.

    Stops at the file's limit of items, and where a page brings nothing or leads to itself, so that a gateway cannot
    keep it going.
    """
    exchange = fetch(request)
    if type.pages is None:
        return exchange
    items = list(_items(exchange.verdict.response, type.pages.items) or [])
    asked = None
    while len(items) < type.pages.limit:
        said = type.reading({"response": exchange.verdict.response, "status": 200})
        following = said.get("next")
        if said.get("more") is not True or not following or following == asked:
            break
        asked = following
        page = fetch(_with_query(request, following))
        new = _items(page.verdict.response, type.pages.items)
        if new is None:
            break
        exchange, items = page, items + new
        if not new:
            break
    response = copy.deepcopy(exchange.verdict.response)
    if (joined := _items(response, type.pages.items)) is not None:
        joined[:] = items[: type.pages.limit]
    return replace(exchange, verdict=replace(exchange.verdict, response=response))


def _items(response: Any, pointer: str) -> list[Any] | None:
    """The list at `pointer`, the very one, so that it can be filled; None where there is none."""
    part = part_at(response, pointer)
    return part if isinstance(part, list) else None


def _with_query(request: Request, parameters: dict[str, Any]) -> Request:
    parts = urlsplit(request.url)
    changed = {name for name, _ in parse_qsl(bodies.encode_form(parameters), keep_blank_values=True)}
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in changed]
    query = "&".join(part for part in (urlencode(kept), bodies.encode_form(parameters)) if part)
    return replace(request, url=urlunsplit(parts._replace(query=query)))
