"""`callsheet run`: one call for every row of a file, with a meter."""

from __future__ import annotations

import fcntl
import re
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from engine.cli import codes, requests, tables
from engine.cli.meter import Meter, duration
from engine.cli.opening import REQUEST_TYPE, Opening, as_json, opening, print_json
from engine.cli.results import Results
from engine.cli.rows import Line, kind_of, read_rows

if TYPE_CHECKING:
    from engine.bulk import Bulk

MOST_TOLD = 1000  # faults in JSON

_WORST = (
    ("unknown", codes.UNKNOWN),
    ("unmapped", codes.UNMAPPED),
    ("not_done", codes.NOT_DONE),
    ("cancelled", codes.NOT_DONE),
    ("not_sent", codes.WRONG),
    ("declined", codes.REFUSED),
)


@click.command(short_help="Send a request type once for every row of a file.", epilog=codes.MEANINGS)
@click.argument("name", type=REQUEST_TYPE)
@click.argument("rows", type=click.Path(dir_okay=False, exists=True, allow_dash=True, path_type=Path))
@click.option(
    "--key", metavar="COLUMN", help="The column that is each row's operation key; sent only where NAME has it."
)
@click.option("--run", "label", metavar="LABEL", default="", help="Send rows that were sent before as new ones.")
@click.option("--concurrency", type=click.IntRange(1, 256), metavar="N", help="Calls under way at once.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help="Send only the first so many that are not done yet.")
@click.option(
    "--results",
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file that tells of each row; - is the standard output.",
)
@click.option("--dry-run", is_flag=True, help="Check all rows and print the first request; send nothing.")
@as_json
@opening
@click.pass_context
def run(  # noqa: PLR0913, PLR0917 - click gives every option as an argument
    ctx: click.Context,
    here: Opening,
    name: str,
    rows: Path,
    key: str | None,
    label: str,
    concurrency: int | None,
    limit: int | None,
    results: Path | None,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Send the request type NAME once for every row of ROWS: a CSV file, a JSONL file, or - for the standard input.

    \b
    callsheet run stripe/create_refund refunds.csv --key refund_id
    callsheet run stripe/create_customer people.jsonl --dry-run

    All rows are checked before one is sent. What became of each is told in a file beside them, refunds.results.csv.
    Stopped at any moment and run again, it goes on; no row is carried out twice. Rows without a key are told apart by
    what they hold. It leaves with the code of the worst that became of any row.
    """
    if key and label:
        raise click.UsageError("--run is for rows without a key; with --key, another key makes a row new")
    if not re.fullmatch(r"[\w.-]*", label):
        raise click.UsageError("--run is a name of letters, digits, _, . and -")
    engine = here.planner if dry_run else here.host
    from engine.bulk import Bulk
    from engine.write_only import marks

    bulk = Bulk(engine, name, key=key, run=f"{label} " if label else "", concurrency=concurrency)
    schema = engine.catalog.request_type(name).schema.document
    with _opened(rows) as source:
        kind, lines = read_rows(source, _shown(rows), schema, key)
        place = results or _beside(rows, label, kind)
        told = Results(place, kind_of(place) or kind, with_responses=not marks(schema))
        told.demand_own(rows)
        if as_json and told.is_standard_output and not dry_run:
            said = "--json prints its summary where the results of the rows would go"
            raise click.UsageError(f"{said}; nothing was sent, name a file for them with --results")
        for row in told.settled():
            bulk.settle(*row)
        if faulty := _check(bulk, lines, rows, as_json=as_json):
            if not as_json:
                click.secho(
                    f"{faulty:,} faulty {'row' if faulty == 1 else 'rows'}; nothing was sent", fg="red", err=True
                )
            ctx.exit(codes.WRONG)
        if limit:
            bulk.keep_first(limit)
        if dry_run:
            _tell_first(bulk, as_json=as_json)
        else:
            ctx.exit(_send(bulk, told, as_json=as_json))


@contextmanager
def _opened(rows: Path) -> Iterator[BinaryIO]:
    """The rows, locked while they are run: two runs of one file would only stand in each other's way."""
    if str(rows) == "-":
        yield sys.stdin.buffer
        return
    with rows.open("rb") as source:
        try:
            fcntl.flock(source, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise click.UsageError(f"{rows} is being run already; wait for its end") from None
        yield source


def _shown(rows: Path) -> str:
    return "the standard input" if str(rows) == "-" else str(rows)


def _beside(rows: Path, label: str, kind: str) -> Path:
    """Where the results go: beside the rows, or to the standard output where they come out of a pipe."""
    name = f"{rows.stem}.{label}" if label else rows.stem
    return rows.with_name(f"{name}.results.{kind}") if rows.is_file() else Path("-")


def _check(bulk: Bulk, lines: Iterator[Line], rows: Path, *, as_json: bool) -> int:
    """Check every row, and tell what is wrong with each; returns how many are faulty."""
    if sys.stderr.isatty():
        click.echo(f"checking {rows}", err=True)
    faults: list[dict[str, Any]] = []
    total = faulty = 0
    for total, (line, data) in enumerate(lines, 1):  # noqa: B007 - counted
        problems = (
            [("", data)] if isinstance(data, str) else [(one.pointer, one.message) for one in bulk.take(line, data)]
        )
        faulty += bool(problems)
        for pointer, message in problems:
            if not as_json:
                said = f"{_shown(rows)}:{line}: {f'{pointer}: ' if pointer else ''}{message}"
                click.echo(tables.text(said), err=True)
            elif len(faults) < MOST_TOLD:
                faults.append({"line": line, "pointer": pointer, "message": message})
    if as_json and faulty:
        print_json({"rows": total, "faulty": faulty, "faults": faults})
    return faulty


def _plan_of(bulk: Bulk) -> str:
    """What a run would do: how many rows, and how long that takes at least."""
    said = f"{bulk.waiting:,} {'row' if bulk.waiting == 1 else 'rows'} to send"
    if bulk.left:
        said += f", {bulk.left:,} left to another run"
    if bulk.settled:
        declined = bulk.settled_before["declined"]
        said += f", {bulk.settled:,} settled before{f' ({declined:,} declined)' if declined else ''}"
    return f"{said}; at the gateway's rate at least {duration(bulk.least_seconds)}" if bulk.least_seconds else said


def _tell_first(bulk: Bulk, *, as_json: bool) -> None:
    plan = bulk.first()
    if as_json:
        print_json(
            {
                "rows": bulk.waiting,
                "left": bulk.left,
                "settled": bulk.settled,
                "settled_outcomes": dict(bulk.settled_before),
                "least_seconds": bulk.least_seconds,
                "first": requests.as_data(plan.shown, plan.type.auth) if plan else None,
            }
        )
        return
    click.echo(_plan_of(bulk))
    if plan:
        click.echo(f"\nthe first of them:\n\n{requests.shown(plan.shown, plan.type.auth)}")


def _send(bulk: Bulk, told: Results, *, as_json: bool) -> int:
    """Send; tell of each row in the results and of all of them at the end; returns the exit code."""
    total, settled, beyond, before = bulk.waiting, bulk.settled, bulk.left, 0
    if not as_json:
        click.echo(_plan_of(bulk), err=True)
    told.begin()
    meter, stopped = Meter(total, lambda: bulk.trouble), _Stop(bulk)
    try:
        with meter, stopped:
            for outcome in bulk.send():
                told.write(outcome)
                meter.counts[outcome.state] += 1
                before += outcome.before
    finally:
        is_gone = told.is_gone
        told.close()
        left = total - meter.done + beyond
        if as_json:
            earlier = {"settled": settled, "settled_outcomes": dict(bulk.settled_before)}
            counts = {"rows": total, **earlier, "outcomes": dict(meter.counts), "before": before, "left": left}
            print_json({**counts, "results": str(told.path)})
        else:
            _tell_end(meter, told, before, left)
        if is_gone:
            click.echo(f"{told.path} was taken away meanwhile; the same command writes it again", err=True)
    if stopped.asked:
        return codes.STOPPED
    return next((code for state, code in _WORST if meter.counts[state] or bulk.settled_before[state]), 0)


def _tell_end(meter: Meter, told: Results, before: int, left: int) -> None:
    click.echo(meter.counted() or "nothing was sent", err=True)
    if before:
        hint = "; --run, or keys of their own, send such rows as new ones" if before == meter.done else ""
        click.echo(f"{before:,} of them had been sent before this run, and not again{hint}", err=True)
    if left:
        click.echo(
            f"{left:,} {'row is' if left == 1 else 'rows are'} left; the same command goes on with them", err=True
        )
    if not told.is_standard_output:
        click.echo(f"what became of each row: {told.path}", err=True)


class _Stop:
    """While it is open, the first Ctrl-C or SIGTERM lets the calls under way end; the second ends the process."""

    def __init__(self, bulk: Bulk) -> None:
        self.asked = False
        self._bulk, self._handlers = bulk, dict[int, Any]()

    def __enter__(self) -> None:
        self._handlers = {number: signal.signal(number, self._stop) for number in (signal.SIGINT, signal.SIGTERM)}

    def __exit__(self, *_: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _stop(self, number: int, _: object) -> None:
        self.asked = True
        self._bulk.stop()
        signal.signal(number, signal.SIG_DFL)
        click.echo("\nstopping: the calls under way are being ended; once more ends it at once", err=True)
