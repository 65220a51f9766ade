"""Which folder a command is about, and the engine of it.

Hides: how a host's folder is told from any other, and that under `flask callsheet` the app's own engine is used.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from flask import Flask

    from engine.catalog import Catalog
    from engine.core import Engine

FOLDERS = ("request_types", "response_mappers", "webhook_processors", "forms")
SIGNS = (*FOLDERS, ".callsheet", "callsheet.sqlite3")

_Command = TypeVar("_Command", bound=Callable[..., Any])


class Opening:
    """What a command is about. `outer` is what click's context held before: Flask's, under `flask callsheet`."""

    def __init__(self, root: Path | None, outer: Any = None) -> None:
        self._given, self._outer = root, outer

    @cached_property
    def app(self) -> Any:
        """The Flask app of `flask callsheet`, or None."""
        flask = sys.modules.get("flask.cli")
        mounted = flask is not None and isinstance(self._outer, flask.ScriptInfo)
        return self._outer.load_app() if mounted else None

    @property
    def _mounted(self) -> Engine | None:
        """The engine of the app of `flask callsheet`, where no other folder is named."""
        if self._given is not None or self.app is None or "callsheet" not in self.app.extensions:
            return None
        from engine.web import engine_of

        return engine_of(self.app)

    @cached_property
    def root(self) -> Path:
        """The host's folder."""
        if (mounted := self._mounted) is not None:
            return mounted.root
        if self._given is None and self.app is not None:
            return Path(self.app.root_path)
        try:
            return (self._given or Path()).resolve()
        except FileNotFoundError:
            raise click.UsageError("the current folder is not there any more; --root names another") from None

    @property
    def is_host(self) -> bool:
        """Whether `root` looks like a host's folder at all."""
        return any((self.root / name).exists() for name in SIGNS)

    @cached_property
    def catalog(self) -> Catalog:
        """The definitions, without a store. Raises DefinitionError."""
        from engine.reloading import Files
        from engine.settings import Settings

        root = self.root if self.is_host else None
        return Files.of(root, Settings(self.root)).catalog()

    @cached_property
    def engine(self) -> Engine:
        """The engine of the folder. Raises EngineError; UsageError where the folder is none of a host."""
        from engine.core import Engine

        if (mounted := self._mounted) is not None:
            mounted.wake = None  # a command ends when it is done, so nothing is left to a thread
            return mounted
        if not self.is_host:
            made = f"`callsheet init {_shown(self.root)}` makes it one"
            raise click.UsageError(f"{self.root} is no host's folder; {made}, --root names another")
        return Engine(self.root)

    @cached_property
    def host(self) -> Engine:
        """The engine that the host's functions listen to, for commands that change records: that of app.py, if any."""
        file = self.root / "app.py"
        if self.app is not None or not file.is_file():
            return self.engine
        app = load_app(file)
        if "callsheet" not in app.extensions:
            return self.engine
        from engine.web import engine_of

        loaded = engine_of(app)
        loaded.wake = None  # as above
        return loaded

    @cached_property
    def planner(self) -> Engine:
        """An engine to plan calls with: that of the folder, or one that keeps nothing where the folder is no host's."""
        from engine.core import Engine
        from engine.reloading import Files
        from engine.settings import Settings
        from engine.store.memory import MemoryStore

        if self.is_host or self.app is not None:
            return self.engine
        shipped = Files.of(None, Settings(self.root))
        return Engine(self.root, store=MemoryStore(), files=shipped)

    def origin(self, file: str) -> str:
        """Where a definition's file comes from: "host" or "shipped"."""
        return "host" if self.is_host and (self.root / file).is_file() else "shipped"

    def text(self, file: str) -> str:
        """The text of a definition's file."""
        from engine.catalog import shipped

        folder = self.root if self.origin(file) == "host" else shipped()
        return (folder / file).read_text("utf-8")


def load_app(file: Path) -> Flask:
    """The Flask app in a file. Raises EngineError, and UsageError where there is none or the file does not run."""
    from flask.cli import NoAppException, ScriptInfo

    from engine.errors import EngineError, unreadable

    try:
        app = ScriptInfo(app_import_path=str(file)).load_app()
    except NoAppException as error:
        if isinstance(cause := error.__context__, ImportError) and "Traceback" in error.message:
            raise click.UsageError(f"{file} does not run: {_told(cause)}") from None
        raise click.UsageError(f"{file} makes no Flask app: call it app, as `callsheet init` does") from None
    except EngineError:
        raise
    except SyntaxError as error:
        place = ":".join(str(part) for part in (error.filename or file, error.lineno, error.offset) if part)
        raise click.UsageError(f"{place}: {error.msg}") from None
    except SystemExit as error:  # its code would be taken for one of ours
        raise click.UsageError(f"{file} ends the process (exit code {error.code}) in place of making an app") from None
    except OSError as error:
        said = unreadable(error) if error.filename == str(file) else f"does not run: {_told(error)}"
        raise click.UsageError(f"{file} {said}") from None
    except Exception as error:  # noqa: BLE001 - it is the host's own code
        raise click.UsageError(f"{file} does not run: {_told(error)}") from None
    if "callsheet" not in app.extensions:
        click.echo(f"{click.style('Warning:', fg='yellow')} {file} has no Callsheet(app)", err=True)
    return app


def _told(error: BaseException) -> str:
    place = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({place.filename}:{place.lineno})"


def _shown(path: Path) -> str:
    return "." if path == Path.cwd() else str(path)


def opening(command: _Command) -> _Command:
    """Decorate a command to be given the Opening first."""
    return click.make_pass_decorator(Opening)(command)  # type: ignore[return-value]  # only click calls it


def as_json(command: _Command) -> _Command:
    """Decorate a reading command with `--json`."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON in place of a table.")(command)


def print_json(value: Any) -> None:
    """Print a value for programs: ASCII, so that no terminal or pipe can mistake it, and nothing that is sealed."""
    from engine.seals import without_seals

    click.echo(json.dumps(without_seals(value), indent=2))


class _Name(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions
    """A name of a definition that the shell completes from the files, none of which is read."""

    def __init__(self, *patterns: tuple[str, str]) -> None:
        self.name, self._patterns = "name", patterns

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[Any]:
        """The names that begin so."""
        from click.shell_completion import CompletionItem

        from engine.catalog import shipped

        del param
        root = next((up.params["root"] for up in _chain(ctx) if up.params.get("root")), None) or Path()
        names = {
            name
            for folder in (Path(root), shipped())
            for pattern, suffix in self._patterns
            for path in folder.glob(pattern)
            if (name := _named(path, suffix)) is not None and name.startswith(incomplete)
        }
        return [CompletionItem(name) for name in sorted(names)]


def _chain(ctx: click.Context | None) -> list[click.Context]:
    return [ctx, *_chain(ctx.parent)] if ctx else []


def _named(path: Path, suffix: str) -> str | None:
    if path.name.startswith(("_", ".")) or not path.name.endswith(suffix):
        return None
    name = path.name.removesuffix(suffix)
    return name if path.parent.name == "records" else f"{path.parent.name}/{name}"


_RECORDS = ("response_mappers/records/*", ".yml")
_REQUESTS = ("request_types/*/*", ".yml")
REQUEST_TYPE = _Name(_REQUESTS)
RECORD_TYPE = _Name(_RECORDS)
ANY_NAME = _Name(_REQUESTS, _RECORDS, ("webhook_processors/*/*", ".json.j2"))
