"""Outcomes and latency of the newest calls, as bars.

Hides: that a row is large and what is drawn of it is small. A process remembers what it has seen, and each look reads
only so many rows more; a page that is looked at goes on until it has seen enough.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from flask import Response, request

from engine.records import Record
from engine.web.console.pages import kind, render
from engine.web.current import engine_of

NEWEST = 5000  # calls
STEP = 1000  # rows that one look reads
OPEN = 200  # calls not yet ended that one look reads again
TYPES = 12  # request types that have bars of their own

ORDER = ("good", "no", "waits", "act", "neutral")  # of the parts of a bar, from the left

Find = Callable[..., list[Record]]


@dataclass(frozen=True, slots=True)
class Seen:
    """What is drawn of a call; `ms` is how long the gateway took to answer, None where it did not."""

    type: str
    state: str
    ms: int | None

    @classmethod
    def of(cls, call: Record) -> Seen:
        """What there is to draw of a row."""
        answered = [line["ms"] for line in call.get("attempts") or [] if line["phase"] == "answered"]
        return cls(call["request_type"], call["state"], answered[-1] if answered else None)


class Newest:
    """The newest calls, as far as they were looked at."""

    def __init__(self) -> None:
        self._seen: dict[str, Seen] = {}
        self._lock = threading.Lock()

    def look(self, find: Find) -> tuple[list[Seen], bool]:
        """Read on, and return what is known by now; and whether that is all there is to know."""
        with self._lock:
            came = find("call", order="id", after=max(self._seen), limit=STEP) if self._seen else []
            if len(came) == STEP:  # nobody looked for so long that it is less work to begin anew
                self._seen, came = {}, []
            room = STEP - len(came)
            missing = NEWEST - len(self._seen) - len(came)
            oldest = min(self._seen, default=None)
            earlier = find("call", after=oldest, limit=min(room, missing)) if missing > 0 else []
            self._note([*self._again(find), *came, *earlier])
            return list(self._seen.values()), missing <= 0 or len(earlier) < min(room, missing)

    def _again(self, find: Find) -> list[Record]:
        not_ended = [id for id, one in self._seen.items() if kind(one.state) in {"waits", "act"}]
        return find("call", id=not_ended[-OPEN:], limit=OPEN) if not_ended else []

    def _note(self, calls: Iterable[Record]) -> None:
        known = {**self._seen, **{call.id: Seen.of(call) for call in calls}}
        self._seen = dict(sorted(known.items())[-NEWEST:])


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
        return ", ".join(f"{number} {state.replace('_', ' ')}" for state, number in self.states)


@dataclass(frozen=True, slots=True)
class Latency:
    """How long a gateway took to answer, in milliseconds; `width`s of a hundred, the slowest type's 95th is all."""

    name: str
    number: int
    median: int
    ninety_fifth: int
    median_width: float
    ninety_fifth_width: float


class Charts:
    """The view, and what this process remembers for it."""

    def __init__(self) -> None:
        self._newest = Newest()

    def show(self) -> Response:
        """The charts: a page of their own, or what another page puts into itself."""
        seen, complete = self._newest.look(engine_of().find)
        template = "_charts.html" if request.headers.get("HX-Request") else "charts.html"
        return render(
            template,
            number=len(seen),
            complete=complete,
            most=NEWEST,
            outcomes=outcomes(seen),
            latencies=latencies(seen),
        )


def outcomes(calls: Iterable[Seen]) -> list[Outcomes]:
    """By request type, those with the most calls first."""
    counted: dict[str, Counter[str]] = defaultdict(Counter)
    for call in calls:
        counted[call.type][call.state] += 1
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


def latencies(calls: Iterable[Seen]) -> list[Latency]:
    """By request type, the slowest first."""
    taken: dict[str, list[int]] = defaultdict(list)
    for call in calls:
        if call.ms is not None:
            taken[call.type].append(call.ms)
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
