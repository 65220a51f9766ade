"""Tables for a terminal: aligned, no wider than it is, and nothing in them can steer it.

Hides: how wide text is on a screen, and what is left out where there is no room.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import click

GAP = "  "
LEAST = 9  # columns to which a cell may shrink

_COLOURS = {
    "green": {"succeeded", "processed", "active", "paid", "captured", "verified", "enabled", "ok"},
    "yellow": {"prepared", "sending", "received", "pending", "unknown", "ignored", "authorized", "requires_action"},
    "red": {"declined", "not_done", "unmapped", "failed", "dead", "quarantined", "canceled", "disabled", "deleted"},
}


def width() -> int | None:
    """The columns there are; None where nobody looks, for a file or a pipe takes all."""
    if sys.stdout.isatty() or "COLUMNS" in os.environ:
        return shutil.get_terminal_size().columns
    return None


def text(value: Any) -> str:
    """A value as one line that holds nothing but what can be seen: no control character reaches the terminal."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in written)


def lines(value: str) -> str:
    """Text of several lines, made safe like `text`."""
    return "\n".join(text(line.expandtabs()) for line in value.splitlines())


def state(name: str) -> str:
    """The state of a record, coloured by whether it is good news."""
    colour = next((colour for colour, names in _COLOURS.items() if name in names), None)
    return click.style(name, fg=colour) if colour else name


def counted(number: int, things: str) -> str:
    """ "1 request type", "3 request types"."""
    return f"{number} {things if number != 1 else things.removesuffix('s')}"


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], *, wrap: bool = False) -> str:
    """Aligned columns, the first of which (a name, an id) is never cut.

    Columns without any value are left out, and so are the last ones where there is no room for them. `wrap`: the last
    column goes on in the next line rather than being cut.
    """
    cells = [[text(value) for value in row] for row in rows]
    used = [index for index in range(len(headings)) if index == 0 or not cells or any(row[index] for row in cells)]
    shown = [[row[index] for index in used] for row in [list(headings), *cells]]
    widths = _fitted([max(columns(row[index]) for row in shown) for index in range(len(used))], width())
    heading, *laid = [_line(row, widths, wrap=wrap) for row in shown]
    return "\n".join([click.style(heading, bold=True), *laid])


def _line(row: Sequence[str], widths: Sequence[int], *, wrap: bool) -> str:
    *_, last = row[: len(widths)]
    parts = _wrapped(last, widths[-1]) if wrap and len(row) == len(widths) and last else [last]
    cells = [*row[: len(widths) - 1], parts[0]]
    first, *rest = (padded(cell, size) for cell, size in zip(cells, widths, strict=True))
    coloured = [cell.replace(cell.strip(), state(cell.strip()), 1) if cell.strip() else cell for cell in rest]
    indent = " " * (sum(widths[:-1]) + len(GAP) * (len(widths) - 1))
    return "\n".join([GAP.join([first, *coloured]).rstrip(), *(indent + part for part in parts[1:])])


def facts(pairs: Iterable[tuple[str, str]], *, indent: str = "") -> str:
    """Names on the left, what is said of them on the right; a value of several lines stays on the right."""
    known = [(name, value) for name, value in pairs if value]
    left = max((columns(name) for name, _ in known), default=0)
    room = (width() or 10_000) - left - len(GAP) - len(indent)
    said = []
    for name, value in known:
        inside = [part for line in value.split("\n") for part in _wrapped(line, max(room, 20))]
        said += [f"{indent}{click.style(padded(name, left), fg='cyan')}{GAP}{inside[0]}"]
        said += [f"{indent}{' ' * left}{GAP}{line}".rstrip() for line in inside[1:]]
    return "\n".join(said)


def paragraph(value: str, indent: int) -> str:
    """Text as wide as there is room beside `indent` columns; the lines after the first begin there."""
    return f"\n{' ' * indent}".join(_wrapped(value, max((width() or 10_000) - indent, 20)))


def columns(value: str) -> int:
    """How many columns of a terminal `value` takes."""
    plain = click.unstyle(value)
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in plain
    )


def _wrapped(line: str, room: int) -> list[str]:
    if columns(line) <= room:
        return [line]
    inside = " " * (len(line) - len(line.lstrip()))
    return textwrap.wrap(line, room, subsequent_indent=inside, break_on_hyphens=False) or [line]


def _fitted(natural: list[int], room: int | None) -> list[int]:
    """The widths of the columns that fit, the widest ones narrowed first."""
    sizes = list(natural)
    if room is None:
        return sizes
    while len(sizes) > 1 and _total([sizes[0], *(min(size, LEAST) for size in sizes[1:])]) > room:
        sizes.pop()
    while len(sizes) > 1 and _total(sizes) > room:
        widest = max(range(1, len(sizes)), key=lambda index: sizes[index])
        sizes[widest] -= 1
    return sizes


def _total(sizes: Sequence[int]) -> int:
    return sum(sizes) + len(GAP) * (len(sizes) - 1)


def padded(value: str, size: int) -> str:
    """`value` in exactly `size` columns, one at least; its end is left out where there is no room for it."""
    if columns(value) <= size:
        return value + " " * (size - columns(value))
    while columns(value) > size - 1:
        value = value[:-1]
    return value + "…" + " " * (size - 1 - columns(value))
