"""Who is compared with whom, and how it is measured.

Contestants take turns in every round, so that whatever else the machine does meets all of them. A round gives each the
median of its calls; a ratio is the median of the rounds' ratios. The times themselves change from day to day with the
machine's load, ratios hardly do.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from statistics import median


@dataclass(frozen=True)
class Unit:
    """What is counted, how a number of it is said, and whether more of it is better."""

    name: str
    said: Callable[[float], str]
    more_is_better: bool = False


UNCHANGED = "the same with the extra `fast`, which changes nothing of it"
"""The work of a row that repeats the one above for a stricter goal, which is meant for a host with that extra."""

SECONDS = Unit("seconds", lambda value: f"{value * 1e6:.0f} µs" if value < 0.01 else f"{value * 1e3:.0f} ms")
RATE = Unit("a second", lambda value: f"{value:,.0f}/s", more_is_better=True)
MEGABYTES = Unit("MB", lambda value: f"{value:.1f} MB")


@dataclass(frozen=True)
class Contestant:
    """One way to do the work: `run` does it once, `calls` times a round.

    What counts is the time it takes, or the number it returns where it has measured something itself.
    """

    run: Callable[[], object]
    calls: int


@dataclass(frozen=True)
class Row:
    """One line of the table. `goal` is the worst that may come out: a ratio, or so many `unit` without a `peer`."""

    work: str
    ours: str
    peer: str | None = None
    goal: float | None = None
    unit: Unit = SECONDS


@dataclass(frozen=True)
class Contest:
    """The contestants of one piece of work, and the rows that compare them. `most` is the most rounds worth running."""

    name: str
    contestants: Mapping[str, Contestant]
    rows: Sequence[Row]
    most: int = 1000


@dataclass(frozen=True)
class Measured:
    """What came out for a row, in its unit."""

    row: Row
    ours: float
    theirs: float | None
    ratio: float | None

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None where there is none."""
        goal, value = self.row.goal, self.ours if self.ratio is None else self.ratio
        if goal is None:
            return None
        return value >= goal if self.row.unit.more_is_better else value <= goal


Preparation = Callable[[], AbstractContextManager[Contest]]


def measured(contest: Contest, rounds: int) -> list[Measured]:
    """Run the contest and return its rows."""
    names = list(contest.contestants)
    for name in names:
        _round(contest.contestants[name])  # the first calls open connections and compile what is used
    values: dict[str, list[float]] = {name: [] for name in names}
    for number in range(min(rounds, contest.most)):
        for name in names if number % 2 else reversed(names):
            values[name].append(_round(contest.contestants[name]))
    return [_row(row, values) for row in contest.rows]


def _round(contestant: Contestant) -> float:
    """The median of its calls: the seconds they took, or what they returned."""
    gc.collect()  # nobody pays for what another left behind
    run, clock, taken = contestant.run, time.perf_counter, []
    for _ in range(contestant.calls):
        start = clock()
        result = run()
        taken.append(result if isinstance(result, float) else clock() - start)
    return median(taken)


def _row(row: Row, values: Mapping[str, list[float]]) -> Measured:
    ours = values[row.ours]
    if row.peer is None:
        return Measured(row, median(ours), None, None)
    theirs = values[row.peer]
    ratio = median(mine / other for mine, other in zip(ours, theirs, strict=True))
    return Measured(row, median(ours), median(theirs), ratio)
