"""A request as a gateway reads it, and the answer it gives.

Hides: how the nested values of a form or a query are read back from their pairs, and a body from its bytes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from engine import bodies

_KEY = re.compile(r"\[([^\[\]]*)\]")


class Malformed(ValueError):
    """The body is not what its Content-Type says."""


class AnswerLost(ConnectionError):
    """It was carried out, and the connection ends without a word."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One whole request. `path` is decoded and begins below the gateway's base URL; `headers` have lower-case names.

    `origin` is where the sandbox stands in for the gateway: http://127.0.0.1:12111/stripe.
    """

    method: str
    path: str
    query: Mapping[str, Any]
    headers: Mapping[str, str]
    raw: bytes = b""
    origin: str = ""

    @property
    def segments(self) -> tuple[str, ...]:
        """The parts of the path."""
        return tuple(self.path.strip("/").split("/"))

    @property
    def is_json(self) -> bool:
        """Whether the body keeps the types of its values; a form's are all texts."""
        return bodies.is_json(bodies.media_type(self.headers.get("content-type", "")))

    def body(self) -> Any:
        """The body as its Content-Type says, an empty mapping where there is none. Raises Malformed."""
        if not self.raw:
            return {}
        kind = bodies.media_type(self.headers.get("content-type", ""))
        try:
            if bodies.is_json(kind):
                return json.loads(self.raw)
            if kind == bodies.MULTIPART:
                return nested(bodies.read_parts(self.raw, self.headers["content-type"]))
            return decode_form(self.raw.decode()) if kind == bodies.FORM else self.raw.decode()
        except (ValueError, RecursionError) as error:
            raise Malformed(str(error)) from None


@dataclass(frozen=True, slots=True)
class Answered:
    """What is answered; `body` is JSON, text of another `media` type, or None for nothing."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    media: str = "application/json"

    def raw(self) -> bytes:
        """The body's bytes."""
        if self.body is None:
            return b""
        return (json.dumps(self.body) if bodies.is_json(self.media) else str(self.body)).encode()


def decode_form(text: str) -> dict[str, Any]:
    """The values of a form: `a[b]=` nests; `a[]=`, `a[0]=` and a name that is repeated make a list."""
    return nested(parse_qsl(text, keep_blank_values=True))


def nested(pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """The values of pairs whose names are written with brackets."""
    top: dict[str, Any] = {}
    for name, value in pairs:
        first = name.partition("[")[0]
        keys = [first, *_KEY.findall(name[len(first) :])]
        place = top
        for key in keys[:-1]:
            inner = place.setdefault(key or str(len(place)), {})
            if not isinstance(inner, dict):
                raise Malformed(f"{name} is a value, and has parts")
            place = inner
        last = keys[-1] or str(len(place))
        if last in place and not isinstance(place[last], dict):  # a name that is repeated is a list
            before = place[last] if isinstance(place[last], list) else [place[last]]
            place[last] = [*before, value]
        else:
            place[last] = value
    return {name: _listed(value) for name, value in top.items()}


def _listed(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    parts = {key: _listed(part) for key, part in value.items()}
    return list(parts.values()) if parts and all(key.isdigit() for key in parts) else parts
