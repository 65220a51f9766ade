"""What a webhook's body delivers: one event, or a list of them whose place the gateway's file names.

Hides: that the events of a list get bodies of their own, so that each is kept, processed and replayed by itself, also
beside one that no strict reader takes because an object in it says a key twice.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from engine.answers import parse_json, reader
from engine.calls import instant
from engine.pointers import steps_of


def events_in(body: bytes, pointer: str | None) -> list[bytes]:
    """The bodies of the events in the list at `pointer` (RFC 6901; "" is the whole); none where there is no such list.

    With None in its place no gateway sends lists, so there is none.
    """
    if pointer is None:
        return []
    try:
        part = parse_json(body, _READER)
    except ValueError:
        return []
    for name in steps_of(pointer):
        part = part.get(name) if type(part) is dict else None
    return [json.dumps(event).encode() for event in part] if isinstance(part, list) else []


def delivered(events: Sequence[Any], pointer: str | None) -> Any:
    """The body that delivers `events`, of which there is one where `pointer` is None."""
    if pointer is None:
        (body,) = events
        return body
    body = list(events)
    for name in reversed(steps_of(pointer)):
        body = {name: body}
    return body


class _Twice(dict[str, Any]):
    """An object that says a key twice. It holds all that it says, and is written as it was read."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self._pairs = pairs

    def items(self) -> Any:
        """Each key with each of its values."""
        return self._pairs

    def values(self) -> Any:
        """All values, those of a key that is said again, too."""
        return [value for _, value in self._pairs]


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    return result if len(result) == len(pairs) else _Twice(pairs)


_READER = reader(_object)


def told(said: Mapping[str, Any]) -> dict[str, Any]:
    """What an event tells of itself beside its id, as the gateway's file reads it."""
    return {
        "event_type": text_of(said.get("type")),
        "happened_at": _moment(said.get("time")),
        "version": text_of(said.get("version")) or None,
        "cause": text_of(said.get("key")) or None,
    }


def text_of(value: Any) -> str:
    """A name as an event gives it, text or a number; empty where it is neither."""
    return value if isinstance(value, str) else str(value) if isinstance(value, int) else ""


def _moment(value: Any) -> str | None:
    """An instant as the gateway gives it: seconds since 1970, or ISO 8601, in UTC where it names no zone."""
    try:
        if isinstance(value, int | float):
            return instant(datetime.fromtimestamp(value, UTC))
        return instant(datetime.fromisoformat(value)) if isinstance(value, str) else None
    except (ValueError, OverflowError, OSError):
        return None
