"""Outcomes and latency of the newest calls, as bars.

Hides: that only a bounded number of the newest rows is looked at, and what in a row says how long the gateway took.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from flask import Response, request

from engine.records import Record
from engine.web.console.pages import kind, render
from engine.web.current import engine_of

NEWEST = 5000  # calls
TYPES = 12  # request types that have bars of their own

ORDER = ("good", "no", "waits", "act", "neutral")  # of the parts of a bar, from the left


@dataclass(frozen=True, slots=True)
class Part:
    """One coloured part of a bar: from `start`, `width` wide, of a hundred."""

    kind: str
    start: float
    width: float
    said: str


@dataclass(frozen=True, slots=True)
class Outcomes:
    """A request type's calls: how many, and by state."""

    name: str
    number: int
    states: Sequence[tuple[str, int]]
    parts: Sequence[Part]

    @property
    def said(self) -> str:
        """The bar in words."""
        return ", ".join(f"{number} {state}" for state, number in self.states)


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a gateway took to answer, in milliseconds; `width`s of a hundred, the slowest type's 95th is all."""

    name: str
    number: int
    median: int
    ninety_fifth: int
    median_width: float
    ninety_fifth_width: float


def charts() -> Response:
    """The charts: a page of their own, or what another page puts into itself."""
    newest = engine_of().find("call", limit=NEWEST)
    template = "_charts.html" if request.headers.get("HX-Request") else "charts.html"
    return render(template, number=len(newest), outcomes=outcomes(newest), latencies=latencies(newest), most=NEWEST)


def outcomes(calls: Iterable[Record]) -> list[Outcomes]:
    """By request type, those with the most calls first."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for call in calls:
        counted[call["request_type"]][call["state"]] += 1
    busiest = sorted(counted.items(), key=lambda one: (-one[1].total(), one[0]))[:TYPES]
    most = max((states.total() for _, states in busiest), default=1)
    return [
        Outcomes(name, states.total(), ordered(states), _parts(ordered(states), 100 / most)) for name, states in busiest
    ]


def ordered(states: Counter[str]) -> list[tuple[str, int]]:
    """The states of calls, good ones first."""
    return sorted(states.items(), key=lambda one: (ORDER.index(kind(one[0])), -one[1], one[0]))


def _parts(states: Sequence[tuple[str, int]], scale: float) -> list[Part]:
    parts, start = [], 0.0
    for state, number in states:
        width = number * scale
        parts.append(Part(kind(state), round(start, 3), round(width, 3), f"{number} {state}"))
        start += width
    return parts


def latencies(calls: Iterable[Record]) -> list[Latency]:
    """By request type, the slowest first."""
    taken: dict[str, list[int]] = defaultdict(list)
    for call in calls:
        answered = [line["ms"] for line in call.get("attempts") or [] if line["phase"] == "answered"]
        if answered:
            taken[call["request_type"]].append(answered[-1])
    found = {name: sorted(times) for name, times in taken.items()}
    slowest = sorted(found.items(), key=lambda one: (-_part(one[1], 0.95), one[0]))[:TYPES]
    scale = 100 / max((_part(times, 0.95) for _, times in slowest), default=1) if slowest else 1
    return [
        Latency(
            name,
            len(times),
            _part(times, 0.5),
            _part(times, 0.95),
            round(_part(times, 0.5) * scale, 3),
            round(_part(times, 0.95) * scale, 3),
        )
        for name, times in slowest
    ]


def _part(times: Sequence[int], part: float) -> int:
    """The time within which that part of the calls was answered; at least 1."""
    return max(1, times[min(len(times) - 1, int(len(times) * part))])
