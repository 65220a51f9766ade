"""`callsheet recover`, `lookup`, `remap`, `resolve`, `cancel`, `replay`: what is done when something was left open."""

from __future__ import annotations

import getpass
import os
import re
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import click

from engine.cli import codes, stories, tables, waiting
from engine.cli.history import demand_state, one
from engine.cli.opening import Opening, opening

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.records import Record

BATCH = 50
ELSEWHERE = 0.2  # seconds between looks at a replay of which a worker does a slice


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
    from engine.calls import CALL
    from engine.store import every

    engine = here.host
    while reactions and (revived := engine.reactions.revive(BATCH)):
        click.echo(f"{revived} reactions will be tried again by the process that has the host's functions")
    done = 0
    while number := engine.run_due(BATCH):
        done += number
    click.echo(f"{done} taken up")
    later, given_up = waiting.later(engine), waiting.given_up(engine)
    found = every(engine.store, "call", {"state": ["unknown", "unmapped"]})
    left = [CALL.complete(call) for call in found if call.get("due") is None]
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
    from engine.store import every

    engine = here.host
    failed = mapped = 0
    for call in [one(here, "call", id)] if id else list(every(engine.store, "call", {"state": "unmapped"})):
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


def _instant(_: click.Context, __: click.Parameter, value: str | None) -> datetime | None:
    """What is written as the engine writes instants, or as such a text begins."""
    try:
        if value is None:
            return None
        if re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?Z?)?", value):
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
    except ValueError:
        pass
    raise click.BadParameter(f"{value} is no instant; write 2026-11-01 or 2026-11-01T08:30:00Z, in UTC")


@click.command(short_help="Process events again.")
@click.argument("id", required=False)
@click.option("--type", "event_type", metavar="EVENT", help="Every event of this type, as in account.updated.")
@click.option("--state", metavar="STATE", help="Only those in this state, as in dead.")
@click.option("--since", callback=_instant, metavar="INSTANT", help="Only what came since then, as in 2026-11-01.")
@_REASON
@opening
def replay(
    here: Opening, id: str | None, event_type: str | None, state: str | None, since: datetime | None, reason: str
) -> None:
    """Process the event ID again, or all of a type: after a file was added or mended, or an event was given up."""
    if (id is None) == (event_type is None and state is None and since is None):
        raise click.UsageError("name one event, or say --type, --state or --since")
    from engine.replays import LEFT_ALONE

    engine, who = here.host, _who()
    if state:
        demand_state("event", state)
    if id:
        event = engine.replay(one(here, "event", id), who, reason)
        said = f": {tables.text(event['message'])}" if event["message"] else ""
        return click.echo(f"1 {event['state']}{said}")
    which = {name: value for name, value in (("event_type", event_type), ("state", state)) if value}
    begun = engine.replays.begin(which, since, who, reason)
    if begun is None:
        return click.echo("no such event", err=True)
    ended = _replayed(engine, begun)["ended"]
    alone = ended.pop(LEFT_ALONE, 0)
    for now, number in sorted(ended.items()):
        click.echo(f"{number} {now}")
    if alone:
        click.echo(f"{alone} left alone: their bodies are purged, or somebody else changed them meanwhile")
    return None


def _changed(records: Iterable[Record]) -> str:
    return ", ".join(sorted({record.type for record in records})) or "no record"


def _replayed(engine: Engine, replay: Record) -> Record:
    """Carry a replay out, and what it makes due; show how far it is. Whoever interrupts it stops it."""
    from engine.errors import Conflict
    from engine.replays import progress

    shown = 0
    try:
        with click.progressbar(length=100, label="replaying") as bar:
            while replay["state"] == "running":
                if not engine.run_row("replay", replay.id):
                    time.sleep(ELSEWHERE)
                (replay,) = engine.find("replay", id=replay.id)
                now = int(progress(replay) * 100)
                bar.update(now - shown)
                shown = now
    except KeyboardInterrupt:
        with suppress(Conflict):
            engine.replays.stop(replay)
        raise
    while engine.run_due(BATCH):
        pass
    return replay


def _who() -> str:
    """Who types, as this machine calls them: in a container a user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
