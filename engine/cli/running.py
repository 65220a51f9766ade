"""`callsheet serve`, `test` and `db`: what runs beside the engine."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli import tables
from engine.cli.opening import Opening, as_json, load_app, opening, print_json
from engine.cli.sandbox import Standing, addresses, sandboxed
from engine.errors import StoreError

if TYPE_CHECKING:
    from flask import Flask

    from engine.core import Engine
    from engine.store import Store


@click.command(short_help="Serve the host's Flask app, or a bare one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0 is any free one.")
@click.option("--reload", is_flag=True, help="A dropped or edited file works on the next call; for development.")
@click.option("--sandbox", is_flag=True, help="With a stand-in for the gateways: no keys are needed, no money moves.")
@opening
def serve(here: Opening, host: str, port: int, reload: bool, sandbox: bool) -> None:
    """Serve the Flask app in app.py of the host's folder; without one, forms and webhooks of its files.

    A change of Python code needs a restart; --reload is about the files of the four folders. With --sandbox, records
    are kept in .callsheet/sandbox.sqlite3; remove it to begin anew. SIGTERM ends it as Ctrl-C does.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if not sandbox:
        return _serve(here, host, port, reload=reload)
    if here.app is not None:
        raise click.UsageError("`callsheet serve --sandbox` makes the app itself; it is no command of `flask`")
    with tempfile.TemporaryDirectory(prefix="callsheet-") as folder:
        if not here.is_host:
            here = Opening(Path(folder))
        with sandboxed(here.root, port, reload=reload) as standing:
            return _serve(here, host, port, reload=reload, standing=standing)


def _serve(here: Opening, host: str, port: int, *, reload: bool, standing: Standing | None = None) -> None:
    import waitress  # type: ignore[import-untyped]  # it has no types

    app = served_app(here, reload=reload)
    try:
        server = waitress.create_server(app, host=host, port=port, ident="callsheet")
    except OSError as error:
        raise click.UsageError(f"cannot listen on {host}:{port}: {error.strerror}") from None
    except ValueError:
        raise click.UsageError(f"cannot listen on {host}:{port}: no such address on this machine") from None
    address = f"http://{f'[{host}]' if ':' in host else host}:{server.effective_port}"
    with closing(server), suppress(KeyboardInterrupt):  # which the server itself heeds only once it runs
        click.echo(f"serving {here.root} at {address} (Ctrl-C stops)")
        _look_into_store(app)
        if "callsheet_console" in app.extensions:
            click.echo(f"the console is at {address}/callsheet/console/")
        if standing is not None:
            standing.tell(f"http://127.0.0.1:{server.effective_port}")
            click.echo(f"a sandbox stands in, no money moves: {addresses(standing.box)}")
        if standing is not None or reload:
            click.echo(f"an example shop is at {address}/callsheet/shop/")
        server.run()
    click.echo("\nstopped")


def _look_into_store(app: Flask) -> None:
    """Warn where the store cannot be reached. It may be there later, so the app is served all the same."""
    engine: Engine | None = app.extensions.get("callsheet")
    try:
        if engine is not None:
            engine.store.find("call", limit=1)
    except StoreError as error:
        click.echo(f"Warning: {error}. Whatever needs the store fails until it works.", err=True)


def served_app(here: Opening, *, reload: bool) -> Any:
    """The Flask app to serve; under `flask callsheet` it is there already."""
    if here.app is not None:
        return here.app
    if reload:
        os.environ["FLASK_DEBUG"] = "1"  # an app that is made from now on follows its files
    file = here.root / "app.py"
    if not file.is_file():
        return _bare(here)
    return load_app(file)


def _bare(here: Opening) -> Flask:
    from flask import Flask, redirect, url_for

    from engine.web import Callsheet

    if not here.is_host:
        raise click.UsageError(f"{here.root} is no host's folder; `callsheet init DIRECTORY` makes one")
    app = Flask("engine.web", root_path=str(here.root), instance_path=str(here.root))
    Callsheet(app)
    app.add_url_rule("/", "home", lambda: redirect(url_for("callsheet.shop")))
    return app


@click.command(short_help="Run the cases.", context_settings={"ignore_unknown_options": True})
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.argument("options", nargs=-1, type=click.UNPROCESSED, metavar="[PYTEST OPTIONS]...")
@opening
@click.pass_context
def test(ctx: click.Context, here: Opening, path: Path | None, options: tuple[str, ...]) -> None:
    """Run the cases in PATH, tests/cases where none is given: callsheet test tests/cases/request_types/acme -x

    Nothing is sent; records are kept in memory. Exits as pytest does: 0 when every case holds.
    """
    try:
        import pytest
    except ImportError:
        raise click.UsageError("the cases are run by pytest, which is not installed: pip install pytest") from None
    if path is not None and str(path).startswith("-"):
        path, options = None, (str(path), *options)
    assert here.catalog  # noqa: S101 - faulty files are told once, not once for every case
    folder = path or here.root / "tests" / "cases"
    if not folder.exists():
        raise click.UsageError(f"{folder} is not there; `callsheet new` writes a case with every endpoint")
    settings = [f"--rootdir={here.root}", "-o", f"callsheet_root={here.root}"]
    arguments = [*_plugin(), *settings, *_QUIET, str(folder), *options]
    code = int(pytest.main(arguments))
    if code == pytest.ExitCode.NO_TESTS_COLLECTED:
        click.echo(f"there is no case in {folder}; one is named KIND/GATEWAY/NAME/CASE.yml", err=True)
    ctx.exit(code)


# The plugin's own package is imported by then, and has no asserts that could be rewritten.
_QUIET = ("-W", "ignore::pytest.PytestAssertRewriteWarning")


def _plugin() -> list[str]:
    """An installed package brings its plugin along; a checkout that only lies on the path does not."""
    from importlib.metadata import entry_points

    installed = any(point.value == "engine.testing" for point in entry_points(group="pytest11"))
    return [] if installed else ["-p", "engine.testing"]


@click.group(short_help="The store's tables.")
def db() -> None:
    """Bring the store's tables up to date, or tell how they stand."""


@db.command()
@opening
def upgrade(here: Opening) -> None:
    """Bring the tables to this version, and fill every index that was declared after records existed.

    The first use does the former by itself; for the latter, stop other processes first.
    """
    from engine.core import OWN_TYPES

    engine = here.engine
    do: Callable[[], object] | None = getattr(engine.store, "upgrade", None)
    fill: Callable[[Any], object] | None = getattr(engine.store, "reindex", None)
    if do is None or fill is None:
        return click.echo(f"{type(engine.store).__name__} has no tables to upgrade")
    do()
    fill([*OWN_TYPES.values(), *engine.catalog.record_types.values()])
    return click.echo(f"{_place(engine.store)} is up to date, its indexes are complete")


@db.command()
@as_json
@opening
def status(here: Opening, as_json: bool) -> None:
    """Tell where records are kept, and how many there are; a store that is not there yet is not made."""
    from engine.doctor.places import is_made

    engine = here.engine
    there, place = is_made(engine), _place(engine.store)
    names = [*engine.catalog.record_types, "call", "event"]
    counts = {name: _count(here, name) for name in names} if there else {}
    if as_json:
        return print_json({"store": place, "exists": there, "records": counts})
    click.echo(f"{place}{'' if there else ' is not there yet; the first call makes it'}")
    rows = [[name, number] for name, number in counts.items() if number]
    return click.echo(tables.table(["record", "number"], rows)) if rows else None


def _count(here: Opening, type: str) -> int:
    """How many records there are."""
    from engine.store import every

    return sum(1 for _ in every(here.engine.store, type))


def _place(store: Store) -> str:
    """A store as it may be shown: a file's path, a URL without its password, or the class of a host's own."""
    from engine.store.memory import MemoryStore
    from engine.store.sql import SqlStore

    if isinstance(store, MemoryStore):
        return "memory:"
    return str(store) if isinstance(store, SqlStore) else type(store).__name__
