"""`callsheet purge`: the bodies of what ended long ago are removed."""

from __future__ import annotations

import re
from dataclasses import asdict
from datetime import timedelta

import click

from engine.cli.opening import Opening, as_json, opening, print_json

_UNITS = {"h": "hours", "d": "days", "w": "weeks"}


class _Age(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions
    """A time such as 90d."""

    name = "age"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        match = re.fullmatch(r"([0-9]{1,4})([hdw])", value)
        if match is None:
            self.fail(f"{value!r} is no age; write 90d for ninety days, 12h, or 13w", param, ctx)
        return timedelta(**{_UNITS[match[2]]: int(match[1])})


@click.command(short_help="Remove the bodies of what ended long ago.")
@click.option("--older-than", metavar="AGE", type=_Age(), required=True, help="90d, 12h, 13w: since it ended.")
@click.option(
    "--all", "given_up", is_flag=True, help="Also of dead and quarantined events, which cannot be replayed then."
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@as_json
@opening
def purge(here: Opening, older_than: timedelta, given_up: bool, dry_run: bool, as_json: bool) -> None:
    """Remove the data, requests, answers and events of what ended longer ago than AGE.

    Ids, keys, states, attempts, messages and hashes are kept, so an operation that is repeated is still known and an
    event that comes again counts once. What is open is never touched. It may be stopped and begun again at any time.
    """
    from engine.purging import purge

    done = 0
    with click.progressbar(length=100, label="purging", hidden=as_json) as bar:
        for removed in purge(here.engine, older_than, given_up=given_up, dry_run=dry_run):
            now = int(removed.progress * 100)
            bar.update(now - done)
            done = now
    if as_json:
        return print_json({**asdict(removed), "dry_run": dry_run})
    calls = f"{removed.calls} {'call' if removed.calls == 1 else 'calls'}"
    events = f"{removed.events} {'event' if removed.events == 1 else 'events'}"
    said = "would lose their bodies" if dry_run else "lost their bodies"
    return click.echo(f"{calls} and {events} {said}: {removed.bytes / 1_000_000:.1f} MB")
