"""Where the time of one call goes: functions timed from outside, each without the timed ones inside it.

The clock is the wall's, for waiting counts too. A profiler that is told of every call would make small functions look
dear; here only the named ones are timed, and what that costs is measured and taken off. The calls that count are the
middle half by their whole time, so that every share is one of the same calls, and all together are the whole.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from inspect import getattr_static
from pkgutil import resolve_name
from statistics import mean
from typing import Any

COMMIT = "commit"
"""The part that is counted: what is inside the second one of a call is not what is inside the first."""

Key = tuple[int, str]
"""The number of the commit that a part is inside of, 0 outside of all, and the part's name."""


@dataclass(frozen=True)
class Part:
    """A part of the work, which is some functions' own time: each as `module:name`, or `module:Class.name`."""

    name: str
    functions: tuple[str, ...]


@dataclass
class _Taken:
    """One call: its parts' own seconds, how often each was entered, and how often it called another."""

    own: defaultdict[Key, float] = field(default_factory=lambda: defaultdict(float))
    entered: Counter[Key] = field(default_factory=Counter)
    called: Counter[Key] = field(default_factory=Counter)


class Timers:
    """Times `parts`; whatever else a call does is its `rest`."""

    def __init__(self, parts: Iterable[Part], rest: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._parts, self._rest, self._clock = tuple(parts), rest, clock
        self.used = set[str]()  # the functions that some call came to
        self._inner = self._outer = 0.0
        self._inner, self._outer = self._costs()
        self.used.clear()

    def call(self, run: Callable[[], object]) -> dict[Key, float]:
        """Run once: the seconds of each part, what timing took taken off."""
        taken = self._timed(run)
        return {
            key: seconds - taken.entered[key] * self._inner - taken.called[key] * self._outer
            for key, seconds in taken.own.items()
        }

    def _timed(self, run: Callable[[], object]) -> _Taken:
        self._taken, self._commits = _Taken(), 0
        self._stack: list[Key] = [(0, self._rest)]
        self._at = self._clock()
        run()
        self._taken.own[0, self._rest] += self._clock() - self._at
        return self._taken

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Inside the `with`, the functions of all parts are timed. Raises LookupError where one is gone."""
        before: list[tuple[Any, str, Any]] = []
        try:
            for part in self._parts:
                for function in part.functions:
                    owner, name = _found(part, function)
                    was = getattr_static(owner, name)
                    before.append((owner, name, was))
                    timed = self._around(part, function, getattr(owner, name))
                    setattr(owner, name, staticmethod(timed) if isinstance(was, staticmethod) else timed)
            yield
        finally:
            for owner, name, function in reversed(before):
                setattr(owner, name, function)

    def _around(self, part: Part, named: str, function: Callable[..., Any]) -> Callable[..., Any]:
        clock, name = self._clock, part.name
        counted, counts = name.startswith(COMMIT), name == COMMIT

        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            until, taken, stack = clock(), self._taken, self._stack
            self.used.add(named)
            taken.own[stack[-1]] += until - self._at
            taken.called[stack[-1]] += 1
            self._commits += counts
            key = (self._commits if counted else 0, name)
            taken.entered[key] += 1
            stack.append(key)
            self._at = clock()
            try:
                return function(*args, **kwargs)
            finally:
                until = clock()
                taken.own[stack.pop()] += until - self._at
                self._at = clock()

        return timed

    def _costs(self) -> tuple[float, float]:
        """Seconds that timing a call adds to what it takes itself, and to what whoever calls it does."""
        timed, number = self._around(Part("nothing", ()), "", _nothing), 2000
        clock, tries = self._clock, []
        for _ in range(15):
            start = clock()
            for _ in range(number):
                pass
            looped = clock()
            for _ in range(number):
                _nothing()
            called = clock() - looped
            looped -= start
            own = self._timed(lambda: [timed() for _ in range(number)]).own
            tries.append((own[0, "nothing"] - (called - looped), own[0, self._rest] - looped))
        return min(inner for inner, _ in tries) / number, min(outer for _, outer in tries) / number


def _nothing() -> None:
    pass


def _found(part: Part, function: str) -> tuple[Any, str]:
    """Who has the function, and by which name."""
    module, _, name = function.partition(":")
    path, _, last = name.rpartition(".")
    try:
        owner = resolve_name(f"{module}:{path}")
        getattr(owner, last)
    except (AttributeError, ImportError) as error:
        raise LookupError(
            f"the part {part.name!r} is no longer {function}: name in profile.py what it is now"
        ) from error
    return owner, last


@dataclass(frozen=True)
class Profile:
    """What one call takes, in seconds: by part in the order of time, and as it is `untimed`."""

    parts: Mapping[str, float]
    untimed: float

    @property
    def whole(self) -> float:
        """All parts together."""
        return sum(self.parts.values())


def profile_of(calls: list[dict[Key, float]], untimed: list[float]) -> Profile:
    """The means of the middle half of the calls."""
    middle = _middle(sorted(calls, key=lambda call: sum(call.values())))
    keys = dict.fromkeys(key for call in middle for key in call)
    parts = {_said(key): mean(call.get(key, 0.0) for call in middle) for key in keys}
    return Profile(parts, mean(_middle(sorted(untimed))))


def _said(key: Key) -> str:
    number, name = key
    if not number:
        return name
    return f"{COMMIT} {number}{name.removeprefix(COMMIT) or ': around it'}"


def _middle(values: list[Any]) -> list[Any]:
    quarter = len(values) // 4
    return values[quarter : len(values) - quarter]
