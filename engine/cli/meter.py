"""How far a run is: a bar on a terminal, a line now and then elsewhere.

Hides: that nobody tells it the time: it looks at the counts by itself, from a thread of its own.
"""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self

import click

from engine.cli import tables

LOOK = 0.5  # seconds between two looks of a bar
SAY = 10.0  # seconds between two lines
BAR = 10, 36  # columns that a bar takes, at least and at most


class Meter:
    """Counts outcomes of `total` rows, and shows them on the standard error while it is open.

    `trouble` is asked what keeps rows from being carried out.
    """

    def __init__(self, total: int, trouble: Callable[[], str | None] = lambda: None) -> None:
        self.counts: Counter[str] = Counter()
        self._trouble = trouble
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
        """How far, how fast, how much longer, what came of it, and what is in its way."""
        done, now = self.done, time.monotonic()
        if done != self._seen[0]:
            self._seen = done, now
        seconds = now - self._began
        rate = done / seconds if seconds else 0.0
        said = f"{done:,} of {self._total:,}, {rate:.1f} a second{self._left(rate, now)}{self.counted()}"
        return f"{said}; trying again: {tables.text(trouble)}" if (trouble := self._trouble()) else said

    def bar(self, columns: int) -> str:
        """The line behind a bar, which fill `columns`: where they are few, the bar is shorter, then the line is."""
        done, total = (self.done, self._total) if self._total else (1, 1)
        text = f"{100 * done // total:3}%  {self.line()}"
        room = columns - tables.columns(text) - len("[] ")
        if room >= BAR[0]:
            width = min(room, BAR[1])
            filled = width * done // total
            text = f"[{'#' * filled}{'-' * (width - filled)}] {text}"
        return tables.padded(text, max(1, columns))

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
        ended = False
        while not ended:
            self._draw()
            ended = self._ended.wait(LOOK)
        self._draw()
        click.echo(err=True)

    def _draw(self) -> None:
        """Show the bar in one line, and stay at its beginning: whatever else is said takes its place."""
        click.echo(f"\r{self.bar(_columns() - 1)}\r", nl=False, err=True)


def _columns() -> int:
    """How wide the terminal is now."""
    try:
        told = os.get_terminal_size(sys.stderr.fileno()).columns
    except OSError:
        told = 0
    return told or shutil.get_terminal_size().columns


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
