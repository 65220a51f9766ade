"""`callsheet recover`, `lookup`, `remap`, `resolve`, `cancel`, `replay`: what is done when something was left open."""

from __future__ import annotations

import getpass
import os
import re
import sys
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
LOOK = 1000  # calls that are counted
ELSEWHERE = 0.2  # seconds between looks at a replay of which a worker does a slice


def _why(_: click.Context, __: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("say why: it is kept, for whoever asks later")
    return value


def _said(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    """What an option says; one that is empty, as a variable of a shell may be, would mean all."""
    if value is not None and not value.strip():
        raise click.BadParameter("is empty; leave it out where all are meant")
    return value


_REASON = click.option("--reason", required=True, callback=_why, help="Why; it is kept with your name.")


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
    """An instant in UTC, written in full or as far as it matters."""
    if value is None:
        return None
    with suppress(ValueError):
        if re.fullmatch(r"\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(\.\d+)?)?Z?)?", value):
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
    raise click.BadParameter(f"{value} is no instant; write 2026-11-01 or 2026-11-01T08:30:00Z, in UTC")


@click.command(short_help="Process events again.")
@click.argument("id", required=False)
@click.option(
    "--type", "event_type", callback=_said, metavar="EVENT", help="Every event of this type, as in account.updated."
)
@click.option("--state", callback=_said, metavar="STATE", help="Only those in this state, as in dead.")
@click.option(
    "--since", callback=_instant, metavar="INSTANT", help="Only what first came since then, as in 2026-11-01."
)
@_REASON
@opening
def replay(
    here: Opening, id: str | None, event_type: str | None, state: str | None, since: datetime | None, reason: str
) -> None:
    """Process the event ID again, or all of a type: after a file was added or mended, or an event was given up.

    Many events have their turns slice by slice, as in the console. What interrupts the command stops that, but a kill:
    then a worker goes on. Calls that come of them are left to a worker, too.
    """
    if (id is None) == (event_type is None and state is None and since is None):
        raise click.UsageError("name one event, or say --type, --state or --since")
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
    return _tell(engine, _carried_out(engine, begun))


def _carried_out(engine: Engine, replay: Record) -> Record:
    """A replay as it has ended. Where this is interrupted, it is stopped: nobody goes on with what a person gave up."""
    from engine.errors import Conflict, StoreError
    from engine.replays import progress

    shown = 0
    try:
        with click.progressbar(length=100, label="replaying", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            while replay["state"] == "running":
                if not engine.run_row("replay", replay.id):
                    time.sleep(ELSEWHERE)
                (replay,) = engine.find("replay", id=replay.id)
                now = int(progress(replay) * 100)
                bar.update(now - shown)
                shown = now
    finally:
        if replay["state"] == "running":
            with suppress(Conflict, StoreError):  # it has ended meanwhile; or such an error is on its way already
                engine.replays.stop(replay)
    return replay


def _tell(engine: Engine, replay: Record) -> None:
    """What became of the events of a replay, and whether it came to its end."""
    from engine.replays import PURGED, RACED

    ended = replay["ended"]
    whys = {PURGED: "their bodies were purged", RACED: "somebody else changed them meanwhile"}
    for now in sorted(ended.keys() - whys.keys()):
        click.echo(f"{ended[now]} {now}")
    for now in sorted(ended.keys() & whys.keys()):
        click.echo(f"{ended[now]} left alone: {whys[now]}")
    if waiting := engine.find("call", state="prepared", due={"gt": ""}, id={"gt": replay.id}, limit=LOOK):
        number = f"{LOOK} or more" if len(waiting) == LOOK else len(waiting)
        click.echo(f"{number} queued since: a worker sends them, or `callsheet recover`", err=True)
    if replay["state"] == "stopped":
        click.echo("somebody else stopped it before it came to its end", err=True)
        click.get_current_context().exit(codes.STOPPED)


def _changed(records: Iterable[Record]) -> str:
    return ", ".join(sorted({record.type for record in records})) or "no record"


def _who() -> str:
    """Who types, as this machine calls them: in a container a user may have a number and no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"user {os.getuid()}"
