"""What is printed: one line a row, numbers in the unit that suits them, and a mark beside each goal."""

from __future__ import annotations

from collections.abc import Iterable

from .contests import Measured

TIMES = "\N{MULTIPLICATION SIGN}"
HEAD = ("work", "ours", "beside", "theirs", "ratio", "goal", "")
LEFT = {0, 2, 6}  # the columns of words
MARKS = {None: "", True: "✓", False: "✗ missed"}


def table(measured: Iterable[Measured]) -> str:
    """The rows as aligned columns."""
    lines = [HEAD, *map(_line, measured)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(_aligned(line, widths).rstrip() for line in lines)


def markdown(measured: Iterable[Measured]) -> str:
    """The rows as a table of the README."""
    rule = tuple("---" if place in LEFT else "---:" for place in range(len(HEAD)))
    return "\n".join(f"| {' | '.join(line)} |" for line in (HEAD, rule, *map(_line, measured)))


def _aligned(line: tuple[str, ...], widths: list[int]) -> str:
    columns = enumerate(zip(line, widths, strict=True))
    return "  ".join(text.ljust(width) if place in LEFT else text.rjust(width) for place, (text, width) in columns)


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
    """A row for `--json`."""
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
