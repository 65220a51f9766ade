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
class Contestant:
    """One way to do the work: `run` does it once, `calls` times a round.

    What counts is the time it takes, or the seconds it returns where it has measured something itself.
    """

    run: Callable[[], object]
    calls: int


@dataclass(frozen=True)
class Row:
    """One line of the table. `goal` is the most that may come out: a ratio, or seconds where there is no `peer`."""

    work: str
    ours: str
    peer: str | None = None
    goal: float | None = None


@dataclass(frozen=True)
class Contest:
    """The contestants of one piece of work, and the rows that compare them. `most` is the most rounds worth running."""

    name: str
    contestants: Mapping[str, Contestant]
    rows: Sequence[Row]
    most: int = 1000


@dataclass(frozen=True)
class Measured:
    """What came out for a row; times in seconds."""

    row: Row
    seconds: float
    peer_seconds: float | None
    ratio: float | None

    @property
    def reached(self) -> bool | None:
        """Whether the goal was reached; None where there is none."""
        value = self.seconds if self.ratio is None else self.ratio
        return None if self.row.goal is None else value <= self.row.goal


Preparation = Callable[[], AbstractContextManager[Contest]]


def measured(contest: Contest, rounds: int) -> list[Measured]:
    """Run the contest and return its rows."""
    names = list(contest.contestants)
    for name in names:
        _round(contest.contestants[name])  # the first calls open connections and compile what is used
    times: dict[str, list[float]] = {name: [] for name in names}
    for number in range(min(rounds, contest.most)):
        for name in names if number % 2 else reversed(names):
            times[name].append(_round(contest.contestants[name]))
    return [_row(row, times) for row in contest.rows]


def _round(contestant: Contestant) -> float:
    """The median time of one call, in seconds."""
    gc.collect()  # nobody pays for what another left behind
    run, clock, taken = contestant.run, time.perf_counter, []
    for _ in range(contestant.calls):
        start = clock()
        result = run()
        taken.append(result if isinstance(result, float) else clock() - start)
    return median(taken)


def _row(row: Row, times: Mapping[str, list[float]]) -> Measured:
    ours = times[row.ours]
    if row.peer is None:
        return Measured(row, median(ours), None, None)
    theirs = times[row.peer]
    ratio = median(mine / other for mine, other in zip(ours, theirs, strict=True))
    return Measured(row, median(ours), median(theirs), ratio)
