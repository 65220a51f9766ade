"""`callsheet recover`, `lookup`, `remap`, `resolve`, `cancel`, `replay`: what is done when something was left open."""

from __future__ import annotations

import getpass
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from engine.cli import codes, stories, tables, waiting
from engine.cli.history import demand_state, one
from engine.cli.opening import Opening, opening

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.records import Record

BATCH = 50


def _said(_: click.Context, __: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("say why: it is kept, for whoever asks later")
    return value


_REASON = click.option("--reason", required=True, callback=_said, help="Why; it is kept with your name.")


@click.command(short_help="Take up what was left open.")
@click.option("--reactions", is_flag=True, help="Also call the host's functions again that failed for the last time.")
@opening
def recover(here: Opening, reactions: bool) -> None:
    """Do everything that is due: calls of processes that died, unknown calls, queued calls, waiting events.

    Then say what is open all the same: what waits for its time, what another process has in hand, and what only a
    person can settle. `callsheet worker` does the same all the time.
    """
    engine = here.host
    while reactions and (revived := engine.reactions.revive(BATCH)):
        click.echo(f"{revived} reactions will be tried again by the process that has the host's functions")
    done = 0
    while number := engine.run_due(BATCH):
        done += number
    click.echo(f"{done} taken up")
    later, given_up = waiting.later(engine), waiting.given_up(engine)
    left = [call for call in _all(engine, "call", state=["unknown", "unmapped"]) if call["due"] is None]
    if not (later or left or given_up):
        click.echo("nothing is open")
    if later:
        click.echo("\n".join(["\nThis is open and not to be taken up now:", *(f"  {line}" for line in later)]))
    if left:
        click.echo("\nThese need a person (`callsheet calls ID`, then `lookup`, `remap` or `resolve`):")
        click.echo(stories.rows(left, ["sent_at", "request_type", "state", "message"]))
    if given_up:
        click.echo("\n".join(["\nThis needs a person, too:" if left else "\nThis needs a person:", *given_up]))


@click.command(short_help="Ask the gateway what became of a call.", epilog=codes.MEANINGS)
@click.argument("id")
@_REASON
@opening
def lookup(here: Opening, id: str, reason: str) -> None:
    """Ask the gateway now whether the call ID, which is unknown, was carried out. Nothing is sent again.

    The look-up that its request type names is asked; what that finds is kept as the answer that never came.
    """
    from engine.errors import TransportError, UnknownOutcome

    engine = here.host
    call = engine.recovery.look_up(one(here, "call", id), _who(), reason)
    state, said = call["state"], f"{call['message']}; callsheet calls {call.id} shows what is known"
    if state in {"not_done", "prepared"}:
        raise TransportError(f"{call['request_type']} was not carried out: {said}", call)
    if state != "succeeded":
        raise UnknownOutcome(f"{call['request_type']} was PERHAPS carried out: {said}", call)
    click.echo(f"{call.id}: carried out, {_changed(engine.outcome(call).records)} changed")


@click.command(short_help="Map a kept answer again.")
@click.argument("id", required=False)
@click.option("--all", "everything", is_flag=True, help="Every call whose answer is not mapped.")
@opening
def remap(here: Opening, id: str | None, everything: bool) -> None:
    """Run the mapper over the kept answer of the call ID again, after its file was mended. Nothing is sent."""
    if (id is None) != everything:
        raise click.UsageError("name one call, or say --all")
    from engine.errors import EngineError, MappingError, StoreError

    engine = here.host
    failed = mapped = 0
    for call in [one(here, "call", id)] if id else list(_all(engine, "call", state="unmapped")):
        try:
            result = engine.recovery.remap(call, _who(), "its file was mended")
        except EngineError as error:
            if isinstance(error, StoreError) or not (everything or isinstance(error, MappingError)):
                raise
            failed += 1
            click.echo(f"{call.id}: {error}", err=True)
        else:
            mapped += 1
            click.echo(f"{call.id}: mapped, {_changed(result.records)} changed")
    if everything and not failed and not mapped:
        click.echo("every answer is mapped", err=True)
    if failed:
        raise MappingError(f"{failed} still cannot be mapped; mend the file and try again")


@click.command(short_help="Say what became of a call.")
@click.argument("id")
@click.option("--as", "resolution", type=click.Choice(["succeeded", "declined", "not_done"]), required=True)
@_REASON
@opening
def resolve(here: Opening, id: str, resolution: str, reason: str) -> None:
    """Have the last word on the call ID, which is unknown or unmapped: nobody comes back to it.

    After `--as not_done` the same operation may be sent again.
    """
    call = here.engine.recovery.resolve(one(here, "call", id), resolution, _who(), reason)
    click.echo(f"{call.id} is {call['message']}")


@click.command(short_help="Keep a queued call from being sent.")
@click.argument("id")
@_REASON
@opening
def cancel(here: Opening, id: str, reason: str) -> None:
    """Cancel the call ID, which waits to be sent. Nothing left, and nothing will."""
    call = here.engine.recovery.cancel(one(here, "call", id), _who(), reason)
    click.echo(f"{call.id} is cancelled")


@click.command(short_help="Process events again.")
@click.argument("id", required=False)
@click.option("--type", "event_type", metavar="EVENT", help="Every event of this type, as in account.updated.")
@click.option("--state", metavar="STATE", help="Only those in this state, as in dead.")
@click.option("--since", metavar="INSTANT", help="Only those that came since then, as in 2026-11-01.")
@_REASON
@opening
def replay(
    here: Opening, id: str | None, event_type: str | None, state: str | None, since: str | None, reason: str
) -> None:
    """Process the event ID again, or all of a type: after a file was added or mended, or an event was given up."""
    if (id is None) == (event_type is None and state is None and since is None):
        raise click.UsageError("name one event, or say --type, --state or --since")
    if since is not None and not _begins_an_instant(since):
        raise click.UsageError(f"--since {since} is no instant; write 2026-11-01 or 2026-11-01T08:30:00Z, in UTC")
    engine, who = here.host, _who()
    if state:
        demand_state("event", state)
    where = {name: value for name, value in (("event_type", event_type), ("state", state)) if value}
    found = [one(here, "event", id)] if id else list(_all(engine, "event", **where))
    meant = [event for event in found if since is None or (event["received_at"] or "") >= since]
    chosen = [event for event in meant if id or not event["purged"]]
    with click.progressbar(chosen, label=f"{len(chosen)} events", hidden=len(chosen) < 2) as events:
        ended = [engine.replay(found[0], who, reason)] if id else list(_replayed(engine, events, who, reason))
    for now, number in sorted(Counter(event["state"] for event in ended).items()):
        said = f": {tables.text(ended[0]['message'])}" if id and ended[0]["message"] else ""
        click.echo(f"{number} {now}{said}")
    if len(ended) < len(chosen):
        click.echo(f"{len(chosen) - len(ended)} left alone: somebody else changed them meanwhile")
    if not meant:
        click.echo("no such event", err=True)
    if len(chosen) < len(meant):
        click.echo(f"{len(meant) - len(chosen)} left alone: their bodies were purged")


def _changed(records: Iterable[Record]) -> str:
    return ", ".join(sorted({record.type for record in records})) or "no record"


def _replayed(engine: Engine, events: Iterable[Record], who: str, reason: str) -> Iterator[Record]:
    """The events as they are now that they were processed again; not those that somebody else changed meanwhile."""
    from engine.errors import Conflict

    for event in events:
        try:
            again = engine.replay(event, who, reason)
        except Conflict:
            continue
        yield again


def _who() -> str:
    """Who types, as this machine calls them: in a container a user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"


def _begins_an_instant(text: str) -> bool:
    """Whether `text` can be compared with what the engine writes: 2026-11-01T08:30:00Z, or how it begins."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return bool(re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?Z?)?", text))


def _all(engine: Engine, type: str, **where: Any) -> Iterator[Record]:
    """Every record that fits, oldest first, a page at a time."""
    after = None
    while found := engine.find(type, order="id", limit=500, after=after, **where):
        yield from found
        after = found[-1].id
