"""What is said when nobody can hear it any more: a closed pipe, a full disk behind the standard output.

Hides: that Python tries once more, at its end, to write what it could not write before.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import click

UNHEARD = 141  # what a shell says of a program that a closed pipe ended


def has_ended(error: OSError) -> int:
    """Say why the output ends here, unless its reader left, and try no more; the exit code."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if isinstance(error, BrokenPipeError):
        return UNHEARD
    where = f"{error.filename}: " if error.filename else "the output ended: "
    with suppress(OSError):
        click.echo(f"{click.style('Error:', fg='red')} {where}{error.strerror or error}", err=True)
    return 2


@contextmanager
def about_what_is_done() -> Iterator[None]:
    """Say what came of a call: that it cannot be said does not undo the call, so its exit code stays what it is."""
    try:
        yield
    except OSError as error:
        if has_ended(error) != UNHEARD:
            click.echo("the call was made all the same; callsheet calls tells what came of it", err=True)


def demand_streams() -> None:
    """Open what a parent process closed, so that nothing else takes its number; a terminal shows what it can."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - as long as the process
    for stream in (sys.stdout, sys.stderr):
        if isinstance(getattr(stream, "errors", None), str) and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
