"""`callsheet docs`: the reference as a folder of pages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click

from engine.cli import tables
from engine.cli.opening import Opening, as_json, opening, print_json

DIRECTORY = "callsheet-docs"


@click.command(short_help="Write the reference of all files as a static site.")
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path), required=False)
@as_json
@opening
def docs(here: Opening, directory: Path | None, as_json: bool) -> None:
    """Write a static site into DIRECTORY: every request type, event, record and gateway, with examples from the cases.

    It needs no server: open index.html. Without DIRECTORY it is callsheet-docs in the host's folder. Files of an
    earlier run are replaced; a folder that holds anything else is left alone.
    """
    from engine.reference import Site, write
    from engine.reloading import folders

    folder = directory or here.root / DIRECTORY
    site = Site(here.catalog, folders(here.root if here.is_host else None))

    def shown(paths: list[str]) -> Iterator[str]:
        with click.progressbar(paths, label="writing", file=sys.stderr, hidden=not sys.stderr.isatty()) as bar:
            yield from bar

    try:
        done = write(site, folder, shown)
    except FileExistsError:
        raise click.UsageError(f"{folder} holds something else; name a new or an empty folder") from None
    except OSError as error:
        what = "written" if Path(error.filename or folder).is_relative_to(folder) else "read"
        raise click.UsageError(f"{error.filename} cannot be {what}: {error.strerror}") from None
    if as_json:
        return print_json({"directory": str(folder), **site.counts, **asdict(done)})
    counted = ", ".join(tables.counted(number, kind.replace("_", " ")) for kind, number in site.counts.items())
    click.echo(f"{counted}: {done.files} files in {folder}, {done.written} of them written, {done.removed} removed")
    return click.echo(f"open {folder / 'index.html'}")
