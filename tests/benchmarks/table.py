"""What is printed: one line a row, numbers in the unit that suits them, and a mark beside each goal or a share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass

from .contests import SECONDS, Measured
from .timers import Profile

TIMES = "\N{MULTIPLICATION SIGN}"
HEAD = ("work", "ours", "beside", "theirs", "ratio", "goal", "")
LEFT = {0, 2, 6}  # the columns of words
MARKS = {None: "", True: "✓", False: "✗ missed"}


@dataclass(frozen=True)
class Table:
    """Texts in lines and columns; the columns at `left` are words, all others numbers."""

    head: Sequence[str]
    lines: Sequence[Sequence[str]]
    left: Set[int]

    def text(self) -> str:
        """The lines as aligned columns."""
        lines = [self.head, *self.lines]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        return "\n".join(self._aligned(line, widths).rstrip() for line in lines)

    def markdown(self) -> str:
        """The lines as a table of the README."""
        rule = ["---" if place in self.left else "---:" for place in range(len(self.head))]
        return "\n".join(f"| {' | '.join(line)} |" for line in (self.head, rule, *self.lines))

    def _aligned(self, line: Sequence[str], widths: list[int]) -> str:
        columns = enumerate(zip(line, widths, strict=True))
        return "  ".join(
            text.ljust(width) if place in self.left else text.rjust(width) for place, (text, width) in columns
        )


def comparison(measured: Iterable[Measured]) -> Table:
    """Who took how long beside whom."""
    return Table(HEAD, [_line(one) for one in measured], LEFT)


def breakdown(work: str, profiles: Mapping[str, Profile]) -> Table:
    """The parts of one work in the order of time, beside each other for all that it was profiled with."""
    parts = _merged(profile.parts for profile in profiles.values())
    lines = [(part, *(text for profile in profiles.values() for text in _share(profile, part))) for part in parts]
    whole = [text for profile in profiles.values() for text in (SECONDS.said(profile.whole), "100.0 %")]
    untimed = [text for profile in profiles.values() for text in (SECONDS.said(profile.untimed), "")]
    head = (work, *(text for where in profiles for text in (where, "share")))
    return Table(head, [*lines, ("all of it", *whole), ("the same, untimed", *untimed)], {0})


def _merged(orders: Iterable[Iterable[str]]) -> list[str]:
    """All of them once, each after what it came after where it is first seen."""
    merged: list[str] = []
    for order in orders:
        place = 0
        for one in order:
            if one not in merged:
                merged.insert(place, one)
            place = merged.index(one) + 1
    return merged


def _share(profile: Profile, part: str) -> tuple[str, str]:
    seconds = profile.parts.get(part)
    return ("", "") if seconds is None else (f"{seconds * 1e6:.1f} µs", f"{100 * seconds / profile.whole:.1f} %")


def _line(one: Measured) -> tuple[str, ...]:
    row = one.row
    sign = "≥" if row.unit.more_is_better else "≤"
    goal = "" if row.goal is None else f"{sign} {row.unit.said(row.goal) if row.peer is None else _times(row.goal)}"
    ratio = "" if one.ratio is None else _times(one.ratio)
    theirs = "" if one.theirs is None else row.unit.said(one.theirs)
    return (row.work, row.unit.said(one.ours), row.peer or "", theirs, ratio, goal, MARKS[one.reached])


def _times(ratio: float) -> str:
    return f"{ratio:.2f} {TIMES}"


def as_dict(one: Measured) -> dict[str, object]:
    """A row for `--as json`."""
    return {
        "work": one.row.work,
        "unit": one.row.unit.name,
        "ours": one.ours,
        "peer": one.row.peer,
        "theirs": one.theirs,
        "ratio": one.ratio,
        "goal": one.row.goal,
        "reached": one.reached,
    }


def parts_as_dicts(profiles: Mapping[str, Mapping[str, Profile]]) -> list[dict[str, object]]:
    """Profiles, by work and by where it is kept, for `--as json`."""
    return [
        {"work": work, "kept": where, "part": part, "seconds": seconds, "share": seconds / profile.whole}
        for work, places in profiles.items()
        for where, profile in places.items()
        for part, seconds in profile.parts.items()
    ]
