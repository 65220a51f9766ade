"""One request on its way through a stand-in: what was asked, which route it is, in which account, by which key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.sandbox.asked import Asked
from engine.sandbox.routes import Route


class Refused(Exception):
    """The gateway says no: `name` of the refusal, what it is `given`; `kept`: it was begun, and all that is kept."""

    def __init__(self, name: str, given: Mapping[str, Any] | None = None, *, kept: bool = False) -> None:
        self.name, self.given, self.kept = name, given or {}, kept
        super().__init__(name)


@dataclass(frozen=True, slots=True)
class Visit:
    """`values` are those of the path; `account` is "" for the platform's own; `key` None where none is sent."""

    asked: Asked
    route: Route
    values: Sequence[str]
    account: str = ""
    key: str | None = None
    scenarios: frozenset[str] = frozenset()

    @property
    def path(self) -> str:
        """The path that is asked for."""
        return "/" + "/".join(self.asked.segments)

    @property
    def named(self) -> dict[str, str]:
        """The values of the path, by the names that the request types and the sandbox file give them."""
        own = dict(zip(self.route.pattern.names, self.values, strict=True))
        return {**own, **dict(zip(self.route.names, self.values, strict=False))}

    def path_to(self, place: int) -> str:
        """The path up to the value at `place`."""
        return "/" + "/".join(self.asked.segments[: self._end(place) + 1])

    def missing(self, place: int) -> Refused:
        """The refusal where nothing is of the id at `place`."""
        end = self._end(place)
        kind = self.asked.segments[end - 1] if end else ""
        name, value = self.route.pattern.names[place], self.values[place]
        return Refused(
            "missing", {"message": f"There is no {value!r} in {kind}.", "name": name, "value": value, "list": kind}
        )

    def _end(self, place: int) -> int:
        return [number for number, part in enumerate(self.route.pattern.segments) if part is None][place]
