"""`callsheet doctor`: what is wrong, and what to do about it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import click

from engine.cli import tables
from engine.cli.opening import Opening, as_json, opening, print_json

if TYPE_CHECKING:
    from engine.doctor import Finding

_COLOURS = {"problem": "red", "warning": "yellow", "ok": "green"}
_MARGIN = 20  # columns of a finding's level and subject


@click.command(short_help="Say what is wrong, and what to do about it.")
@click.option("--offline", is_flag=True, help="Ask no gateway for the time and for its webhook endpoints.")
@as_json
@opening
@click.pass_context
def doctor(ctx: click.Context, here: Opening, offline: bool, as_json: bool) -> None:
    """Look at the files, the keys, the store, the clock, the webhook endpoints, and at all that was left open.

    Exits 1 where there is a problem. Only gateways whose secret is set are asked, and nothing is changed there.
    """
    from engine.doctor import examine

    found = examine(lambda: here.engine, offline=offline)
    if as_json:
        print_json([one.as_dict() for one in found])
    else:
        click.echo("\n".join([*map(_told, found), "", _summed_up(found)]))
    ctx.exit(1 if any(one.level == "problem" for one in found) else 0)


def _told(finding: Finding) -> str:
    level = click.style(f"{finding.level:<9}", fg=_COLOURS[finding.level])
    said = f"{finding.where}: {finding.said}" if finding.where else finding.said
    lines = [f"{level}{finding.about:<11}{tables.paragraph(tables.text(said), _MARGIN)}"]
    if finding.remedy:
        lines.append(" " * _MARGIN + click.style(tables.paragraph(tables.text(finding.remedy), _MARGIN), fg="cyan"))
    return "\n".join(lines)


def _summed_up(found: list[Finding]) -> str:
    numbers = Counter(one.level for one in found)
    grave = {level: numbers[level] for level in ("problem", "warning") if numbers[level]}
    said = ", ".join(f"{number} {level if number == 1 else f'{level}s'}" for level, number in grave.items())
    return click.style(said or "all is well", fg=_COLOURS[next(iter(grave), "ok")])
