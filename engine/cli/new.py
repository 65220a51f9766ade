"""`callsheet new`: the files of an endpoint, good as they are written."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from engine.cli import patterns
from engine.cli.init import write_new
from engine.cli.opening import Opening, opening

if TYPE_CHECKING:
    from engine.catalog import Catalog

_WORD = r"[a-z][a-z0-9_]*"
_METHODS = ("POST", "GET", "PUT", "PATCH", "DELETE")


def _matching(pattern: str, hint: str) -> Any:
    class Matching(click.ParamType):  # type: ignore[type-arg]  # generic only in newer versions
        name = hint

        def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
            return value if re.fullmatch(pattern, value) else self.fail(f"{value!r} is not {hint}", param, ctx)

    return Matching()


@click.command(short_help="Write the files of a new endpoint.")
@click.argument("name", type=_matching(rf"{_WORD}/{_WORD}", "gateway/name in small letters, digits and _"))
@click.option("--method", type=click.Choice(_METHODS), default="POST", show_default=True)
@click.option("--url", metavar="PATH", help="The path after the base URL, as in '/orders/{{ data.id }}'.")
@click.option("--base-url", metavar="URL", help="Of a gateway that has no _gateway.yml yet.")
@click.option("--mapper", is_flag=True, help="Also a response mapper.")
@click.option(
    "--record", metavar="TYPE", type=_matching(_WORD, "a word"), help="The record type to keep; implies --mapper."
)
@click.option(
    "--event",
    metavar="EVENT",
    type=_matching(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*", "an event's name"),
    help="Also a processor of this webhook event.",
)
@click.option("--form", is_flag=True, help="Also a form template; without it the form is made of the data.")
@opening
def new(  # noqa: PLR0913, PLR0917 - click gives every option as an argument
    here: Opening,
    name: str,
    method: str,
    url: str | None,
    base_url: str | None,
    mapper: bool,
    record: str | None,
    event: str | None,
    form: bool,
) -> None:
    """Write the files of a request type: callsheet new acme/create_order --record order

    They are good as written (`callsheet check`), with a case that shows it (`callsheet test`). Nothing is overwritten.
    """
    gateway, _, verb = name.partition("/")
    plan = patterns.Plan(
        gateway=gateway,
        name=verb,
        method=method,
        url=_path(url or f"/{verb}"),
        base_url=_base_url(here, gateway, base_url),
        keyed=_keyed(here, gateway),
        record=here.catalog.record_types.get(record) if record else None,
        new_record=record if record and record not in here.catalog.record_types else None,
        mapper=mapper or record is not None,
        event=event,
        webhook=_webhook(here.catalog, gateway, event),
        form=form,
    )
    files = patterns.files(plan, new_gateway=gateway not in here.catalog.gateways)
    there = [path for path in files if (here.root / path).exists()]
    if there:
        raise click.UsageError(f"{', '.join(there)}: there already; nothing was written")
    texts = {path: _schema_line(here.root, path) + text for path, text in files.items()}
    _demand_good(here, texts)
    try:
        for path, text in texts.items():
            write_new(here.root / path, text)
    except OSError as error:
        for path in texts:
            with suppress(OSError):
                (here.root / path).unlink()
        raise click.UsageError(f"{error.filename} cannot be written: {error.strerror}; nothing was") from None
    click.echo("\n".join(f"wrote  {path}" for path in texts))
    click.echo(f"\nNext: edit them; `callsheet check`, then `callsheet send {name} --dry-run{patterns.example(plan)}`")


def _demand_good(here: Opening, texts: Mapping[str, str]) -> None:
    """Read the new files as if they were there. Raises DefinitionError where the options make them faulty."""
    from engine.catalog import load
    from engine.reloading import folders

    with tempfile.TemporaryDirectory(prefix="callsheet-") as folder:
        for path, text in texts.items():
            write_new(Path(folder) / path, text)
        load([Path(folder), *folders(here.root if here.is_host else None)])


def _path(url: str) -> str:
    if not re.fullmatch(r"/[^?#\s]*|(/([^?#{}\s]|\{\{[^{}]*\}\})*)", url):
        raise click.UsageError(f"--url {url!r} must be a path that begins with /, without query or blanks")
    return url


def _base_url(here: Opening, gateway: str, given: str | None) -> str:
    if known := _said(here, gateway).get("base_url"):
        url: str = known if isinstance(known, str) else known["test"]  # the case that is written is one of test mode
        if given and given != url:
            raise click.UsageError(f"the gateway {gateway} is at {url} already; leave --base-url out")
        return url
    if not given:
        raise click.UsageError(f"the gateway {gateway} is new; say where it is: --base-url https://api.example.com")
    if not re.fullmatch(r"https?://[^?#@\s{}]+[^/?#@\s{}]", given):
        raise click.UsageError(f"--base-url {given!r} must be scheme, host and path, without a / at its end")
    return given


def _keyed(here: Opening, gateway: str) -> bool:
    """Whether the gateway's file already says how a repeated call is recognised."""
    said = _said(here, gateway)
    return any(said.get(key) for key in ("idempotency", "idempotent", "at_most_once"))


def _said(here: Opening, gateway: str) -> Mapping[str, Any]:
    """What the gateway's file says, for either mode; nothing where there is none yet."""
    from engine.yaml_files import parse

    if gateway not in here.catalog.gateways:
        return {}
    file = f"request_types/{gateway}/_gateway.yml"
    said: Mapping[str, Any] = parse(here.text(file), file).value
    return said


def _webhook(catalog: Catalog, gateway: str, event: str | None) -> Mapping[str, Any] | None:
    """What the gateway's file says of webhooks, or will say once it is written."""
    known = catalog.gateways.get(gateway)
    if known and event and not known.webhook:
        file = f"request_types/{gateway}/_gateway.yml"
        raise click.UsageError(f"{gateway} receives no event; write webhook: into {file} first")
    if known:
        return known.webhook
    return patterns.webhook_of(gateway) if event else None


_SCHEMAS = {"_gateway.yml": "gateway", "records": "record_type", "request_types": "request_type"}


def _schema_line(root: Path, path: str) -> str:
    """The line by which an editor knows how to complete and check a YAML file."""
    if not path.endswith(".yml"):
        return ""
    parts = Path(path).parts
    kind = "case" if "cases" in parts else next(_SCHEMAS[part] for part in (*parts[::-1],) if part in _SCHEMAS)
    return f"# yaml-language-server: $schema={_schema(root, path, kind)}\n"


def _schema(root: Path, path: str, kind: str) -> str:
    import engine

    file = Path(engine.__file__).resolve().parent / "file_schemas" / f"{kind}.schema.json"
    root = root.resolve()
    if not file.is_relative_to(root):
        return str(file)
    up = len(Path(path).parent.parts)
    return "../" * up + str(file.relative_to(root))
