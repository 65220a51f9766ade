"""`callsheet worker`: what is due is done, all the time or once, here or on many machines."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import click

from engine.cli import tables
from engine.cli.opening import Opening, as_json, opening, print_json

if TYPE_CHECKING:
    from engine.workers import Health

THREADS = 8
EXITS = {"well": 0, "late": 1, "dead": 2}


@click.command(short_help="Do what is due, all the time.")
@click.option("--once", is_flag=True, help="Do what is due now, and end: for cron.")
@click.option("--concurrency", type=click.IntRange(1), default=THREADS, show_default=True, help="How much at once.")
@click.option(
    "--health", is_flag=True, help="Tell who works and what waits; exits 1 where it is late, 2 where nobody works."
)
@as_json
@opening
def worker(here: Opening, once: bool, concurrency: int, health: bool, as_json: bool) -> None:
    """Send queued calls, take up open ones, process waiting events and tell the host's functions, until stopped.

    Any number of workers may run on one store, and on PostgreSQL on any number of machines. The functions are those of
    app.py in the host's folder, where there is one. SIGTERM and Ctrl-C end a worker after what it is at; told a second
    time, it ends at once, and what it was at is taken up by others.
    """
    if health:
        return _show(here.engine.workers.health(), as_json=as_json)
    from engine.doctor import demand_fit
    from engine.queues import work

    engine = here.host
    demand_fit(engine)
    engine.wake = lambda: None  # this very process is what would be woken
    if not logging.getLogger().handlers:
        for name in ("procrastinate", "psycopg"):  # what matters of their troubles is told in a line of our own
            logging.getLogger(name).setLevel(logging.CRITICAL)
    said = f"working on {here.root}, {concurrency} at once (Ctrl-C stops)"
    done = work(engine, concurrency, once=once, begun=lambda: click.echo(said))
    return click.echo(f"stopped; {done} done")


def _show(health: Health, *, as_json: bool) -> None:
    from engine.workers import COUNTED

    if as_json:
        alive = [worker.as_dict() for worker in health.workers]
        print_json({"state": health.state, "workers": alive, "due": health.due, "oldest": health.oldest})
    else:
        rows = [[worker["name"], worker["threads"], worker["began"], worker["beat"]] for worker in health.workers]
        click.echo(tables.table(["worker", "at once", "since", "last seen"], rows) if rows else "no worker lives")
        waiting = [f"{number}{'+' * (number == COUNTED)} {type}" for type, number in health.due.items() if number]
        since = f", the longest since {health.oldest}" if waiting else ""
        click.echo(f"due: {', '.join(waiting) or 'nothing'}{since}")
    click.get_current_context().exit(EXITS[health.state])
