"""What a webhook's body delivers: one event, or a list of them whose place the gateway's file names.

Hides: that the events of a list get bodies of their own, so that each is kept, processed and replayed by itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from engine.answers import parse_json


def events_in(body: bytes, pointer: str | None) -> list[bytes]:
    """The bodies of the events in the list at `pointer` (RFC 6901; "" is the whole); none where there is no such list.

    With None in its place no gateway sends lists, so there is none.
    """
    if pointer is None:
        return []
    try:
        part = parse_json(body)
    except ValueError:
        return []
    for name in _names(pointer):
        part = part.get(name) if isinstance(part, Mapping) else None
    return [json.dumps(event).encode() for event in part] if isinstance(part, list) else []


def delivered(events: Sequence[Any], pointer: str | None) -> Any:
    """The body that delivers `events`, of which there is one where `pointer` is None."""
    if pointer is None:
        (body,) = events
        return body
    body = list(events)
    for name in reversed(_names(pointer)):
        body = {name: body}
    return body


def _names(pointer: str) -> list[str]:
    return [name.replace("~1", "/").replace("~0", "~") for name in pointer.split("/")[1:]]
