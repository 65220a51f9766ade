"""How far a run is: a bar on a terminal, a line now and then elsewhere.

Hides: that nobody tells it the time: it looks at the counts by itself, from a thread of its own.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter
from types import TracebackType
from typing import Any, Self

import click

LOOK = 0.5  # seconds between two looks of a bar
SAY = 10.0  # seconds between two lines


class Meter:
    """Counts outcomes of `total` rows, and shows them on the standard error while it is open."""

    def __init__(self, total: int) -> None:
        self.counts: Counter[str] = Counter()
        self._total, self._began, self._ended = total, time.monotonic(), threading.Event()
        self._seen = 0, self._began  # how many were done, and when that was seen first
        self._thread = threading.Thread(target=self._show, name="callsheet meter", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def done(self) -> int:
        """How many rows there was an outcome of."""
        return self.counts.total()

    def counted(self) -> str:
        """The outcomes, as in "1,200 succeeded, 4 declined"."""
        return ", ".join(f"{number:,} {state.replace('_', ' ')}" for state, number in self.counts.most_common())

    def line(self) -> str:
        """How far, how fast, how much longer, and what came of it."""
        done, now = self.done, time.monotonic()
        if done != self._seen[0]:
            self._seen = done, now
        seconds = now - self._began
        rate = done / seconds if seconds else 0.0
        return f"{done:,} of {self._total:,}, {rate:.1f} a second{self._left(rate, now)}{self.counted()}"

    def _left(self, rate: float, now: float) -> str:
        """How much longer; not where nothing came for so long that the rate says nothing of what is left."""
        done, since = self._seen
        if not done or done == self._total:
            return ": " if done else ""
        left = (self._total - done) / rate
        return f", {duration(left)} left: " if now - since <= left else ", waiting for the rest: "

    def _show(self) -> None:
        if not sys.stderr.isatty():
            while not self._ended.wait(SAY):
                click.echo(self.line(), err=True)
            return
        shown = 0
        bar: Any = click.progressbar(
            length=self._total, file=sys.stderr, show_percent=True, show_eta=False, item_show_func=lambda _: self.line()
        )
        with bar:
            ended = False
            while not ended:
                ended = self._ended.wait(LOOK)
                done = self.done
                bar.update(done - shown)
                shown = done


def duration(seconds: float) -> str:
    """Seconds as a person says them, rounded up: 35 s, 12 min, 1 h 4 min, 3 d 2 h."""
    whole = max(1, -int(-seconds // 1))
    if whole < 60:
        return f"{whole} s"
    minutes = -(-whole // 60)
    if minutes < 60:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    days, hours = divmod(hours, 24)
    return f"{days} d {hours} h" if hours else f"{days} d"
