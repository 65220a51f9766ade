"""`callsheet list`, `show` and `check`: the files, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import click

from engine.cli import tables
from engine.cli.opening import ANY_NAME, Opening, as_json, opening, print_json

if TYPE_CHECKING:
    from engine.descriptions import Parameter
    from engine.records import RecordType
    from engine.request_types import RequestType

KINDS = ("request-types", "mappers", "processors", "records", "forms", "gateways")

Row = dict[str, str]


@click.command("list", short_help="List what the files define.")
@click.argument("kinds", nargs=-1, type=click.Choice(KINDS), metavar="[KIND]...")
@as_json
@opening
def list_files(here: Opening, kinds: tuple[str, ...], as_json: bool) -> None:
    """List what the files define, and whether a file is the host's or shipped.

    KIND is request-types, mappers, processors, records, forms or gateways; all of them where none is given.
    """
    found = {kind: _rows(here, kind) for kind in kinds or KINDS}
    if as_json:
        return print_json(found)
    shown = [kind for kind in found if found[kind] or kinds]
    for number, kind in enumerate(shown):
        if len(shown) > 1:
            click.secho(("\n" if number else "") + kind, fg="cyan", bold=True)
        headings = list(found[kind][0]) if found[kind] else ["name"]
        click.echo(tables.table(headings, [list(row.values()) for row in found[kind]]))
    return None


def _rows(here: Opening, kind: str) -> list[Row]:
    from engine.descriptions import changed

    catalog = here.catalog
    rows: list[Row] = []
    if kind == "request-types":
        rows += [
            {"name": type.name, "method": type.method, "from": here.origin(type.file), "does": type.summary}
            for type in catalog.request_types.values()
        ]
    elif kind == "records":
        for name, record in catalog.record_types.items():
            rows.append({"name": name, "from": here.origin(_record_file(name)), "is": record.summary})
    elif kind == "gateways":
        for name, gateway in catalog.gateways.items():
            webhook = "webhook" if gateway.webhook else ""
            rows.append(
                {"name": name, "from": here.origin(_gateway_file(name)), "at": gateway.base_url, "events": webhook}
            )
    elif kind == "forms":
        forms = {name: form for name, form in catalog.forms.items() if not name.rpartition("/")[2].startswith("_")}
        rows += [{"name": name, "from": here.origin(form.file)} for name, form in forms.items()]
    else:
        mappers = catalog.mappers if kind == "mappers" else catalog.processors
        for name, mapper in mappers.items():
            rows.append({"name": name, "from": here.origin(mapper.file), "changes": ", ".join(changed(mapper))})
    return sorted(rows, key=lambda row: row["name"])


def _record_file(name: str) -> str:
    return f"response_mappers/records/{name}.yml"


def _gateway_file(name: str) -> str:
    return f"request_types/{name}/_gateway.yml"


# show -----------------------------------------------------------------------------------------------------------------


@click.command(short_help="Tell everything about one name.")
@click.argument("name", type=ANY_NAME)
@as_json
@opening
def show(here: Opening, name: str, as_json: bool) -> None:
    """Tell everything about one NAME: a request type, a record type, an event or a gateway."""
    from engine.errors import UnknownNameError

    catalog = here.catalog
    if name in catalog.request_types:
        told, said = _request_type(here, catalog.request_types[name])
    elif name in catalog.record_types:
        told, said = _record_type(here, catalog.record_types[name])
    elif name in catalog.processors:
        told, said = _event(here, name)
    elif name in catalog.gateways:
        told, said = _gateway(here, name)
    else:
        known = [*catalog.request_types, *catalog.record_types, *catalog.processors, *catalog.gateways]
        raise UnknownNameError("request type, record type, event or gateway", name, known)
    return print_json(told) if as_json else click.echo(said)


def _request_type(here: Opening, type: RequestType) -> tuple[dict[str, Any], str]:
    from engine.descriptions import changed, parameters, repeats

    catalog, name = here.catalog, type.name
    mappers = {key: catalog.mappers[key] for key in (name, f"{name}.declined") if key in catalog.mappers}
    changes = {key: changed(mapper) for key, mapper in mappers.items()}
    url = type.base_url + type.written["url"]
    told = {
        "name": name,
        "file": type.file,
        "from": here.origin(type.file),
        "summary": type.summary,
        "docs": type.docs,
        "method": type.method,
        "url": url,
        "repeats": repeats(type),
        "data": type.schema.document,
        "mappers": {key: {"file": mapper.file, "changes": changes[key]} for key, mapper in mappers.items()},
        "form": catalog.forms[name].file if name in catalog.forms else None,
    }
    pairs = [
        ("sends", f"{type.method} {url}"),
        ("repeats", repeats(type)),
        ("file", f"{type.file} ({told['from']})"),
        *(("mapper", f"{mapper.file}: {', '.join(changes[key]) or 'nothing'}") for key, mapper in mappers.items()),
        ("mapper", "" if mappers else "none: the answer is returned, no record is kept"),
        ("form", str(told["form"] or "made of the data below")),
        ("docs", type.docs or ""),
    ]
    return told, _told(name, type.summary, pairs, parameters(type.schema.document))


def _record_type(here: Opening, type: RecordType) -> tuple[dict[str, Any], str]:
    from engine.descriptions import changed, parameters

    writers = [
        name
        for mappers in (here.catalog.mappers, here.catalog.processors)
        for name, mapper in mappers.items()
        if type.name in changed(mapper)
    ]
    told = {
        "name": type.name,
        "file": _record_file(type.name),
        "from": here.origin(_record_file(type.name)),
        "summary": type.summary,
        "required": list(type.required),
        "unique": [list(key) for key in type.unique],
        "index": list(type.index),
        "within": list(type.within),
        "properties": type.properties,
        "written_by": writers,
    }
    pairs = [
        ("file", f"{told['file']} ({told['from']})"),
        ("unique", ", ".join(" with ".join(key) for key in type.unique)),
        ("search by", ", ".join(sorted(type.searchable))),
        ("written by", ", ".join(writers)),
    ]
    document = {"properties": type.properties, "required": type.required}
    return told, _told(type.name, type.summary, pairs, parameters(document), "property")


def _event(here: Opening, name: str) -> tuple[dict[str, Any], str]:
    from engine.descriptions import changed

    processor = here.catalog.processors[name]
    changes = changed(processor)
    origin = here.origin(processor.file)
    told = {"name": name, "file": processor.file, "from": origin, "changes": changes}
    pairs = [("file", f"{processor.file} ({origin})"), ("changes", ", ".join(changes) or "nothing")]
    gateway, _, event = name.partition("/")
    return told, _told(name, f"What the event {event} of {gateway} means.", pairs)


def _gateway(here: Opening, name: str) -> tuple[dict[str, Any], str]:
    from engine.credentials import keys_of

    catalog, gateway = here.catalog, here.catalog.gateways[name]
    types = [type for type in catalog.request_types if type.startswith(f"{name}/")]
    events = [event for event in catalog.processors if event.startswith(f"{name}/")]
    secrets = [*keys_of(catalog, name), *gateway.webhook_secrets]
    told = {
        "name": name,
        "file": _gateway_file(name),
        "from": here.origin(_gateway_file(name)),
        "base_url": gateway.base_url,
        "secrets": secrets,
        "settings": gateway.settings,
        "webhook": gateway.webhook,
        "request_types": types,
        "events": events,
    }
    pairs = [
        ("at", gateway.base_url),
        ("file", f"{told['file']} ({told['from']})"),
        ("secrets", ", ".join(secrets)),
        ("settings", ", ".join(gateway.settings.values())),
        ("request types", ", ".join(types)),
        ("events", ", ".join(events)),
    ]
    return told, _told(name, f"{len(types)} request types, {len(events)} events.", pairs)


def _told(
    name: str, summary: str, pairs: list[tuple[str, str]], known: Iterable[Parameter] = (), what: str = "data"
) -> str:
    said = f"{click.style(name, bold=True)}\n{summary}\n\n{tables.facts(pairs)}"
    rows = [[one.path, one.kind, "required" if one.required else "", one.description] for one in known]
    return f"{said}\n\n{tables.table([what, 'type', '', 'description'], rows, wrap=True)}" if rows else said


# check ----------------------------------------------------------------------------------------------------------------


@click.command(short_help="Check every file; print all faults.")
@as_json
@opening
@click.pass_context
def check(ctx: click.Context, here: Opening, as_json: bool) -> None:
    """Check every file; print all faults as file:line:column, and what to do. Exits 1 where there are any.

    Secrets that are not set are warnings, as far as this folder has to do with their gateway.
    """
    faults, warned = _looked_at(here)
    if as_json:
        print_json({"faults": faults, "warnings": warned})
    else:
        for fault in faults:
            place = ":".join(str(fault[part]) for part in ("file", "line", "column") if fault[part])
            click.echo(f"{place}: {tables.lines(fault['message'])}")
        for warning in warned:
            click.echo(f"{click.style('warning:', fg='yellow')} {warning}")
        _sum_up(here, len(faults))
    ctx.exit(1 if faults else 0)


def _looked_at(here: Opening) -> tuple[list[dict[str, Any]], list[str]]:
    """The faults of files and settings, and the warnings."""
    from engine.doctor.keys import findings
    from engine.errors import DefinitionError, SettingError, StoreError
    from engine.observers import spans_of
    from engine.reloading import folders
    from engine.sandbox.files import read_files
    from engine.settings import Settings
    from engine.store.opening import open_store
    from engine.web.console.accounts import accounts

    faults: list[dict[str, Any]] = []
    warned: list[str] = []
    try:
        read_files(folders(here.root if here.is_host else None), here.root if here.is_host else None)
        settings = Settings(here.root)
        for found in findings(here.catalog, settings, here.root):
            if found.level == "problem":
                faults.append(_of_setting(here, found.where, found.said))
            elif found.level == "warning":
                warned.append(f"{found.where} {found.said}; {found.remedy}")
        accounts(settings)
        spans_of(settings)
        if place := settings.get("CALLSHEET_STORE"):
            open_store(place, here.root, live=settings.live)
    except DefinitionError as error:
        said = [(fault.file, fault.line, fault.column, fault.message) for fault in error.faults]
        faults = [dict(zip(("file", "line", "column", "message"), one, strict=True)) for one in said]
    except SettingError as error:
        faults.append(_of_setting(here, error.name, error.message))
    except StoreError as error:
        faults.append(_of_setting(here, "CALLSHEET_STORE", str(error)))
    return faults, warned


def _of_setting(here: Opening, name: str, message: str) -> dict[str, Any]:
    from engine.settings import place_of

    file, line = place_of(here.root, name)
    return {"file": file, "line": line, "column": line and 1, "message": f"{name} {message}"}


def _sum_up(here: Opening, faults: int) -> None:
    if faults:
        return click.secho(tables.counted(faults, "faults"), fg="red", err=True)
    catalog = here.catalog
    counts = [tables.counted(len(_rows(here, kind)), kind.replace("-", " ")) for kind in KINDS]
    mine = sum(here.origin(type.file) == "host" for type in catalog.request_types.values())
    click.secho(f"all files are good: {', '.join(counts)}", fg="green")
    if not here.is_host:
        click.echo(f"({here.root} is no host's folder; these are the shipped files)")
    elif not mine:
        click.echo("(none of the request types is in this folder)")
    return None
