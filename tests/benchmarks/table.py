"""What is printed: one line a row, times in the unit that suits them, and a mark beside each goal."""

from __future__ import annotations

from collections.abc import Iterable

from .contests import Measured

TIMES = "\N{MULTIPLICATION SIGN}"
HEAD = ("work", "takes", "beside", "takes", "ratio", "goal", "")


def table(measured: Iterable[Measured]) -> str:
    """The rows as aligned columns."""
    lines = [HEAD, *map(_line, measured)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    left = {0, 2, 6}
    return "\n".join(
        "  ".join(
            text.ljust(width) if place in left else text.rjust(width)
            for place, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _line(one: Measured) -> tuple[str, ...]:
    goal = one.row.goal
    said = "" if goal is None else f"≤ {_time(goal) if one.row.peer is None else f'{goal:.2f} {TIMES}'}"
    ratio = "" if one.ratio is None else f"{one.ratio:.2f} {TIMES}"
    mark = {None: "", True: "✓", False: "✗ missed"}[one.reached]
    peer_time = "" if one.peer_seconds is None else _time(one.peer_seconds)
    return (one.row.work, _time(one.seconds), one.row.peer or "", peer_time, ratio, said, mark)


def _time(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} µs" if seconds < 0.01 else f"{seconds * 1e3:.0f} ms"


def as_dict(one: Measured) -> dict[str, object]:
    """A row for `--json`; times in seconds."""
    return {
        "work": one.row.work,
        "seconds": one.seconds,
        "peer": one.row.peer,
        "peer_seconds": one.peer_seconds,
        "ratio": one.ratio,
        "goal": one.row.goal,
        "reached": one.reached,
    }
