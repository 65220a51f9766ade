"""A list read to its end: one answer, the last page's, whose items are those of all pages.

Hides: where a page leads to: parameters, or the address that the gateway gives, which is never let leave the gateway.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qsl, unquote_plus, urlencode, urljoin, urlsplit, urlunsplit

from engine import bodies
from engine.dispatcher import Answer
from engine.errors import UnknownOutcome
from engine.pointers import part_at, replaced_at
from engine.request_types import Request, RequestType
from engine.settling import Exchange

_LINK = re.compile(r'<([^<>]*)>((?:\s*;\s*[\w*!-]+\s*=\s*(?:"[^"]*"|[^\s",;]+))*)')  # RFC 8288, 3
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s",;]+))', re.IGNORECASE)


def read_pages(type: RequestType, request: Request, fetch: Callable[[Request], Exchange]) -> tuple[Exchange, bool]:
    """The exchange of `request`, or, where the file says `pages:`, the last page's with the items of all of them.

    And whether it was cut off: reading stops at the file's limit of items, and where a page brings nothing, leads to
    itself or is the one before again, so that a gateway cannot keep it going. Where it is we who count them, and no
    gateway says whether there is more, a page that brings nothing is the end. Raises UnknownOutcome where a page has no
    list, or leads away from the gateway.
    """
    exchange = fetch(request)
    if type.pages is None or _finds_nothing(type, exchange):
        return exchange, False
    limit, page = type.pages.limit, 1
    ends_empty = type.pages.counts and not type.pages.says_more
    new = _items(type, exchange.verdict.response)
    items, asked = list(new), None
    following, more = (None, False) if ends_empty and not new else _leads_to(type, exchange, page, len(items))
    while following and len(items) < limit and following != asked:
        asked, before, page = following, new, page + 1
        exchange = fetch(_led_to(type, request, following))
        new = _items(type, exchange.verdict.response)
        if not new or (type.pages.counts and new == before):
            more = bool(new) or not ends_empty
            break
        items += new
        following, more = _leads_to(type, exchange, page, len(items))
    response = replaced_at(exchange.verdict.response, type.pages.items, lambda _: items[:limit])
    cut_off = more or len(items) > limit
    return replace(exchange, verdict=replace(exchange.verdict, response=response)), cut_off


def _finds_nothing(type: RequestType, exchange: Exchange) -> bool:
    """Whether there is no such thing, of which there would be a list."""
    return isinstance(exchange.result, Answer) and exchange.result.status in type.missing


def _leads_to(type: RequestType, exchange: Exchange, page: int, read: int) -> tuple[dict[str, Any] | str | None, bool]:
    """Where a page leads on to, parameters or an address, and whether there is more."""
    headers = exchange.result.headers if isinstance(exchange.result, Answer) else {}
    try:
        said = type.leads(exchange.verdict.response, 200, headers, _links(headers), page, read)
    except ValueError as error:
        raise UnknownOutcome(f"{type.name} brought a page that cannot be read on from: {error}") from None
    following = said.get("next")
    if following and isinstance(following, dict) != isinstance(type.written["pages"]["next"], dict):
        raise UnknownOutcome(f"{type.name} brought a page that leads to no address: {str(following)[:80]}")
    parts = [*following.values()] if isinstance(following, dict) else [following]
    leads = bool(following) and all(part is not None and part != "" for part in parts)
    more = bool(said.get("more")) if type.pages and type.pages.says_more else leads
    return following if more and leads else None, more


def _links(headers: Mapping[str, str]) -> dict[str, str]:
    """The addresses of the answer's Link header, by what each is to it: next, prev, last."""
    found: dict[str, str] = {}
    for address, parameters in _LINK.findall(headers.get("link", "")):
        for quoted, plain in _REL.findall(parameters):
            for name in (quoted or plain).lower().split():
                found.setdefault(name, address)
    return found


def _items(type: RequestType, response: Any) -> list[Any]:
    """The list of a page. Raises UnknownOutcome where there is none."""
    pointer = type.pages.items if type.pages else ""
    part = part_at(response, pointer)
    if not isinstance(part, list):
        where = pointer or "the top"
        raise UnknownOutcome(f"{type.name} brought a page that has no list at {where}; reading it again is safe")
    return part


def _led_to(type: RequestType, request: Request, following: dict[str, Any] | str) -> Request:
    """The request for a further page. Raises UnknownOutcome where its address is not the gateway's."""
    if isinstance(following, dict):
        try:
            return _with_query(request, type, following)
        except ValueError as error:
            raise UnknownOutcome(f"{type.name} brought a page that leads to no other: {error}") from None
    base = urlsplit(type.base_url)
    try:
        url = urljoin(request.url, following)
        there = urlsplit(url)
    except (ValueError, TypeError):
        raise UnknownOutcome(f"{type.name} brought a page that leads to no address: {str(following)[:80]}") from None
    inside = there.path == base.path or there.path.startswith(f"{base.path}/")
    if (base.scheme, base.netloc) != (there.scheme, there.netloc) or not inside or not url.isascii():
        said = f"{type.name} brought a page that leads to {url}, which is not below {type.base_url}; it was not read"
        raise UnknownOutcome(said)
    # What the gateway repeats of our credentials was masked; they are added to every request anew.
    ours = type.auth.get("query", {})
    query = "&".join(one for one in there.query.split("&") if unquote_plus(one.partition("=")[0]) not in ours)
    return replace(request, url=urlunsplit(there._replace(query=query, fragment="")))


def _with_query(request: Request, type: RequestType, parameters: dict[str, Any]) -> Request:
    parts = urlsplit(request.url)
    added = bodies.encode_form(parameters, type.lists)
    changed = {name for name, _ in parse_qsl(added, keep_blank_values=True)}
    kept = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in changed]
    query = "&".join(part for part in (urlencode(kept), added) if part)
    return replace(request, url=urlunsplit(parts._replace(query=query)))
