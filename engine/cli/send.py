"""`callsheet send`: one call, and what came of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import click

from engine.cli import codes, output, requests, stories, tables
from engine.cli.arguments import data_file, data_from
from engine.cli.opening import REQUEST_TYPE, Opening, as_json, opening, print_json
from engine.curl import curl

if TYPE_CHECKING:
    from engine.core import Engine
    from engine.errors import EngineError
    from engine.records import Record
    from engine.request_types import RequestType
    from engine.settling import Result


@click.command(short_help="Send a request type with data.", epilog=codes.MEANINGS)
@click.argument("name", type=REQUEST_TYPE)
@click.argument("arguments", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--data", "file", metavar="FILE", help="JSON or YAML to begin with; - is JSON on the standard input.")
@click.option("--operation", metavar="KEY", help="Your key of what is to be done once: a repeat sends nothing again.")
@click.option("--later", is_flag=True, help="Write it down for a worker; send nothing now.")
@click.option("--dry-run", is_flag=True, help="Print the exact request, with secrets as $NAME; send nothing.")
@click.option("--curl", "as_curl", is_flag=True, help="Print the request as a curl command line; send nothing.")
@as_json
@opening
@click.pass_context
def send(  # noqa: PLR0913, PLR0917 - click gives every option as an argument
    ctx: click.Context,
    here: Opening,
    name: str,
    arguments: tuple[str, ...],
    file: str | None,
    operation: str | None,
    later: bool,
    dry_run: bool,
    as_curl: bool,
    as_json: bool,
) -> None:
    """Send the request type NAME with data, and tell what was sent, answered and kept.

    \b
    callsheet send stripe/create_payment amount=500 currency=usd source=tok_visa
    callsheet send stripe/create_payment --data order.json metadata[order]=17 shipping.name=Ada

    The types come from the request type (`callsheet show NAME`). items[0]=x is a list's item, key=@FILE what a file
    holds.
    """
    planned_only = dry_run or as_curl
    engine = here.planner if planned_only else here.host
    type = engine.catalog.request_type(name)
    data = data_from(arguments, type.schema.document, data_file(file) if file else None)
    if planned_only:
        plan = engine.plan(name, data, operation=operation)
        if as_curl:
            click.echo(curl(plan.shown, type.auth))
        elif as_json:
            print_json(requests.as_data(plan.shown, type.auth))
        else:
            click.echo(requests.shown(plan.shown, type.auth))
        if plan.sealer:
            click.echo("what the file marks writeOnly is shown as ***", err=True)
        return
    if later:
        call = engine.send_later(name, data, operation=operation)
        print_json(call.as_dict()) if as_json else click.echo(
            f"{call.id} is {call['state']}; `callsheet worker` sends it"
        )
        return
    ctx.exit(_carry_out(engine, name, data, operation, as_json=as_json))


def _carry_out(engine: Engine, name: str, data: dict[str, Any], operation: str | None, *, as_json: bool) -> int:
    """Send; print; return the exit code."""
    from engine.calls import instant
    from engine.errors import CallError, Conflict, EngineError, StoreError

    hide, begun = _hiding(engine.catalog.request_type(name), data), instant(datetime.now(UTC))
    try:
        result = engine.send(name, data, operation=operation)
    except CallError as error:
        with output.about_what_is_done():
            _tell_failure(error, error.call, hide(getattr(error, "response", None)), as_json=as_json)
        return codes.code_of(error)
    except EngineError as error:
        in_doubt = error.in_doubt if isinstance(error, StoreError) else isinstance(error, Conflict)
        said = str(error)
        if in_doubt:
            said = f"{said}; `callsheet calls` tells whether {name} was sent"
        elif f"{name} was not sent" not in said:
            said = f"{name} was not sent: {said}"
        _tell_refusal(error, said, as_json=as_json)
        return codes.UNKNOWN if in_doubt else codes.WRONG
    except KeyboardInterrupt:
        if not engine.catalog.request_type(name).journaled:
            raise
        said = f"stopped; {name} was PERHAPS carried out: `callsheet calls` tells, `callsheet recover` finds out"
        click.echo(f"\n{said}", err=True)
        return codes.UNKNOWN
    with output.about_what_is_done():
        if as_json:
            call = result.call.as_dict() if result.call else None
            records = [{"type": record.type, **record.as_dict()} for record in result.records]
            told = {"call": call, "response": hide(result.response), "records": records, "redirect": result.redirect}
            print_json({**told, "cut_off": result.cut_off})
        else:
            click.echo(_told(engine, name, data, result))
            if result.call and (before := _ended_before(result.call, begun)):
                click.echo(f"it was carried out before, at {before}; nothing was sent now", err=True)
    return 0


def _ended_before(call: Record, begun: str) -> str | None:
    """When a call was sent for the last time, where that was before the command had `begun`."""
    sent: list[str] = [attempt["at"] for attempt in call["attempts"] or []]
    return sent[-1] if sent and sent[-1] < begun else None


def _hiding(type: RequestType, data: dict[str, Any]) -> Callable[[Any], Any]:
    """What takes out of an answer what was given to be hidden: a gateway may repeat it."""
    from engine.redaction import hidden_within
    from engine.write_only import texts

    values = list(texts(part for _, part in type.schema.write_only(data)))
    return lambda answer: hidden_within(answer, values) if values else answer


def _told(engine: Engine, name: str, data: dict[str, Any], result: Result) -> str:
    call = result.call
    if call is None:  # a GET has no journal row, and its answer is what was wanted
        plan = engine.plan(name, data)
        sent, answered = requests.shown(plan.shown, plan.type.auth), stories.whole(result.response)
    else:
        sent, answered = stories.request_of(call), stories.answer_of(call, brief=True)
    pairs = [
        ("sent", sent),
        ("answered", answered),
        ("kept", stories.records(engine, result.records) or "no record"),
        ("cut off", "the list has more items; `limit` of its pages: says how many are read" if result.cut_off else ""),
        ("go to", tables.text(result.redirect)),
        ("call", f"{call.id}  {tables.state(call['state'])}" if call else ""),
    ]
    return tables.facts(pairs)


def _tell_refusal(error: EngineError, said: str, *, as_json: bool) -> None:
    from engine.settings import cleaned

    shown = cleaned(said)
    if as_json:
        print_json({"error": error.__class__.__name__, "message": shown, "call": None, "response": None})
    else:
        click.echo(f"{click.style('Error:', fg='red')} {tables.lines(shown)}", err=True)


def _tell_failure(error: EngineError, call: Record | None, response: Any, *, as_json: bool) -> None:
    if as_json:
        kept = call.as_dict() if call else None
        print_json({"error": error.__class__.__name__, "message": str(error), "call": kept, "response": response})
        return
    if call is not None:
        pairs = [
            ("sent", stories.request_of(call)),
            ("attempts", stories.attempts_of(call)),
            ("answered", stories.answer_of(call, brief=True)),
            ("call", f"{call.id}  {tables.state(call['state'])}"),
        ]
        click.echo(tables.facts(pairs))
    click.echo(f"{click.style('Error:', fg='red')} {tables.lines(str(error))}", err=True)
