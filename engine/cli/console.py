"""`callsheet console password`: who may enter the console."""

from __future__ import annotations

import click

from engine.cli.opening import Opening, opening


@click.group(short_help="The operator's pages.")
def console() -> None:
    """The console at /callsheet/console, which is off until somebody may sign in."""


@console.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["read", "operate"]), default="read", show_default=True)
@opening
def password(here: Opening, name: str, role: str) -> None:
    """Print the setting that lets NAME sign in, as one line for .env; whoever may do so already stays in it.

    The password is asked for. `read` looks at everything, `operate` also acts. Nothing is written: append the line.
    """
    from engine.settings import Settings
    from engine.web.console.accounts import SETTING, accounts, line_of

    known = accounts(Settings(here.root))
    # Asked on the standard error, for the line is what a shell writes into a file.
    given = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    try:
        line = line_of(known, name, role, given)
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    click.echo(f"{SETTING}='{line}'")
