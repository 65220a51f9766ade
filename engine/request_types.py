"""A request type: one file's content made into a value that renders data into a frozen request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Request:
    """What is sent, byte for byte, except the credentials, which the dispatcher adds last.

    `url` is absolute and fully encoded, its query included. `headers` are in the order they are sent, names unique
    without regard to case. `body` is empty where nothing is sent.
    """

    method: str
    url: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
