"""The `callsheet` command, also mounted as `flask callsheet`.

    opening     which folder, and which engine
    tables      what a terminal shows
    codes       exit codes
    output      what is said when nobody can hear it
    arguments   key=value → data
    requests    a request as a person reads it, and as curl sends it
    stories     what a call sent, was answered and kept
    files       list, show, check
    init        init
    patterns    the texts of new files
    new         new
    send        send
    rows        rows of a CSV or JSONL file
    results     what became of each
    meter       how far a run is
    run         run
    history     records, calls, events
    webhooks    webhooks register, list, remove
    doctor      doctor
    purge       purge
    waiting     what recover leaves open, and why
    operating   recover, lookup, remap, resolve, cancel, replay
    working     worker
    sandbox     sandbox, and what makes a host use one
    running     serve, test, db
    demo        demo
    docs        docs
    console     console password

Hides: how an error becomes one sentence and an exit code. Only click is imported before a command runs.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import click

from engine.cli import codes, output, tables
from engine.cli.console import console
from engine.cli.demo import demo
from engine.cli.docs import docs
from engine.cli.doctor import doctor
from engine.cli.files import check, list_files, show
from engine.cli.history import calls, events, records
from engine.cli.init import init
from engine.cli.new import new
from engine.cli.opening import Opening
from engine.cli.operating import cancel, lookup, recover, remap, replay, resolve
from engine.cli.purge import purge
from engine.cli.run import run
from engine.cli.running import db, serve, test
from engine.cli.sandbox import sandbox
from engine.cli.send import send
from engine.cli.webhooks import webhooks
from engine.cli.working import worker


class _Group(click.Group):
    """Says what the engine refuses in one sentence, and leaves with a code that scripts can trust."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order they are needed, not by the alphabet."""
        del ctx
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        from engine.errors import DefinitionError, EngineError

        with warnings.catch_warnings():
            warnings.filterwarnings("always", category=DeprecationWarning, module=r"engine(\.|$)")
            warnings.showwarning = _one_line
            try:
                return super().invoke(ctx)
            except click.UsageError as error:
                if (message := _cleaned(error.message)) == error.message:
                    raise
                raise click.UsageError(message, error.ctx) from None
            except DefinitionError as error:
                click.echo(f"{error}\n", err=True)
                number = len(error.faults)
                click.secho(f"{number} {'fault' if number == 1 else 'faults'}; nothing was done", fg="red", err=True)
                ctx.exit(codes.WRONG)
            except EngineError as error:
                click.echo(f"{click.style('Error:', fg='red')} {tables.lines(_cleaned(str(error)))}", err=True)
                ctx.exit(codes.code_of(error))
            except OSError as error:
                ctx.exit(output.has_ended(error))
            except KeyboardInterrupt:
                click.echo("\nstopped", err=True)
                ctx.exit(codes.STOPPED)


def _cleaned(text: str) -> str:
    """What was typed may be a secret of the host, and an error may quote it."""
    from engine.settings import cleaned

    return cleaned(text)


def _one_line(message: Warning | str, *_: Any, **__: Any) -> None:
    click.echo(f"{click.style('Warning:', fg='yellow')} {message}", err=True)


_COMPLETION = """\b
Completion of commands and names, for bash (zsh and fish likewise):
    eval "$(_CALLSHEET_COMPLETE=bash_source callsheet)"
"""


@click.group(cls=_Group, name="callsheet", epilog=_COMPLETION, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--root",
    type=click.Path(file_okay=False, exists=True, path_type=Path),
    help="The host's folder, with request_types and the others; the current one where it is not given.",
)
@click.version_option(package_name="callsheet", message="callsheet %(version)s")
@click.pass_context
def group(ctx: click.Context, root: Path | None) -> None:
    """Call payment gateways and other REST APIs; one file is an endpoint."""
    if os.environ.get("NO_COLOR"):
        ctx.color = False
    ctx.obj = Opening(root, ctx.obj)


_FILES = (init, list_files, show, new, check)
_CALLS = (send, run, records, calls, events, webhooks)
_OPEN = (doctor, recover, lookup, remap, resolve, cancel, replay, purge, worker)
_REST = (serve, sandbox, docs, test, db, demo, console)

for _command in (*_FILES, *_CALLS, *_OPEN, *_REST):
    group.add_command(_command)


def main() -> None:
    """The entry point."""
    output.demand_streams()
    group(prog_name="callsheet")
