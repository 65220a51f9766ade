"""`callsheet records`, `calls` and `events`: what happened."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from engine.cli import stories
from engine.cli.arguments import where_from
from engine.cli.opening import RECORD_TYPE, Opening, as_json, opening, print_json

if TYPE_CHECKING:
    from engine.records import Record

_LIMIT = click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, show_default=True, help="At most so many, newest first."
)
_AFTER = click.option("--after", metavar="ID", help="The id that ended the page before: the next page.")
_STATE = click.option("--state", "states", multiple=True, metavar="STATE", help="Only those; may be repeated.")


@click.command(short_help="Show the records of a type.")
@click.argument("type", type=RECORD_TYPE)
@click.argument("where", nargs=-1, metavar="[KEY=VALUE]...")
@_LIMIT
@_AFTER
@as_json
@opening
def records(here: Opening, type: str, where: tuple[str, ...], limit: int, after: str | None, as_json: bool) -> None:
    """Show records of a TYPE: callsheet records payment state=paid external_id=order-17

    KEY is `id` or a property that is unique or indexed; the same key twice means either value.
    """
    from engine.core import OWN_TYPES

    engine = here.engine
    known = OWN_TYPES.get(type) or engine.catalog.record_type(type)
    wanted = where_from(where, known.properties)
    known.check_searchable(wanted)
    found = engine.find(type, limit=limit, after=after, **wanted)
    _print(found, list(known.properties), limit, as_json=as_json)


@click.command(short_help="List calls, or tell one's story.")
@click.argument("id", required=False)
@_STATE
@_LIMIT
@_AFTER
@as_json
@opening
def calls(here: Opening, id: str | None, states: tuple[str, ...], limit: int, after: str | None, as_json: bool) -> None:
    """List the calls in the journal, or tell one from beginning to end.

    A GET is in it only where it is sent later, as by a mapper. No secret is ever part of what is kept.
    """
    if id is None:
        columns = ["sent_at", "request_type", "state", "message"]
        return _print(_found(here, "call", states, limit, after), columns, limit, as_json=as_json)
    call = one(here, "call", id)
    if as_json:
        return print_json(call.as_dict())
    return click.echo(stories.call(here.engine, call))


@click.command(short_help="List webhook events, or tell one's story.")
@click.argument("id", required=False)
@_STATE
@_LIMIT
@_AFTER
@as_json
@opening
def events(
    here: Opening, id: str | None, states: tuple[str, ...], limit: int, after: str | None, as_json: bool
) -> None:
    """List the webhook events that came, or tell one from beginning to end."""
    if id is None:
        columns = ["received_at", "gateway", "event_type", "state", "message"]
        return _print(_found(here, "event", states, limit, after), columns, limit, as_json=as_json)
    event = one(here, "event", id)
    if as_json:
        return print_json(event.as_dict())
    return click.echo(stories.event(here.engine, event))


def _found(here: Opening, type: str, states: tuple[str, ...], limit: int, after: str | None) -> list[Record]:
    for state in states:
        demand_state(type, state)
    where: dict[str, Any] = {"state": list(states)} if states else {}
    return here.engine.find(type, limit=limit, after=after, **where)


def demand_state(type: str, state: str) -> None:
    """Raise UnknownNameError where a call or an event is never in that state."""
    from engine.core import OWN_TYPES
    from engine.errors import UnknownNameError

    known = OWN_TYPES[type].properties["state"]["enum"]
    if state not in known:
        raise UnknownNameError(f"state of {'an' if type == 'event' else 'a'} {type}", state, known)


def one(here: Opening, type: str, id: str) -> Record:
    """The call or event with that id. Raises UnknownNameError."""
    from engine.errors import UnknownNameError

    found = here.engine.find(type, id=id, limit=1)
    if not found:
        raise UnknownNameError(type, id, [record.id for record in here.engine.find(type, limit=100)])
    return found[0]


def _print(found: list[Record], columns: list[str], limit: int, *, as_json: bool) -> None:
    if as_json:
        return print_json([record.as_dict() for record in found])
    if not found:
        return click.echo("nothing yet" if columns else "nothing", err=True)
    click.echo(stories.rows(found, columns))
    if len(found) == limit:
        click.echo(f"more may follow: --after {found[-1].id}", err=True)
    return None
