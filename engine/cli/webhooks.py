"""`callsheet webhooks register`, `list` and `remove`: endpoints at the gateway."""

from __future__ import annotations

import click

from engine.cli import tables
from engine.cli.opening import Opening, as_json, opening, print_json

_GATEWAY = click.option("--gateway", metavar="NAME", help="Which gateway; the only one where there is but one.")


@click.group(short_help="Endpoints at the gateway.")
def webhooks() -> None:
    """Have a gateway send its events to this host."""


@webhooks.command()
@click.argument("url")
@click.option("--endpoint", metavar="NAME", help="Which of the gateway's endpoints, as its file calls it: connect.")
@_GATEWAY
@as_json
@opening
def register(here: Opening, url: str, endpoint: str | None, gateway: str | None, as_json: bool) -> None:
    """Register URL at the gateway, once, however often this is run; its signing secret is kept sealed.

    URL is https://HOST/callsheet/webhooks/GATEWAY[/ENDPOINT]. All events that have a processor are asked for.
    """
    from engine import endpoints

    engine = here.engine
    named = endpoints.named_by(url)
    gateway = gateway or (named[0] if named else None) or _only(here)
    endpoint = endpoint if endpoint is not None else named[1] if named and named[0] == gateway else ""
    if named != (gateway, endpoint):
        route = "/".join(part for part in (endpoints.ROUTE, gateway, endpoint) if part)
        _warn(f"the host listens at {route}; {url} reaches it only where a proxy maps it there")
    result = endpoints.register(engine, gateway, url, endpoint)
    record = result.record
    if as_json:
        outdated = [old["gateway_id"] for old in result.outdated]
        return print_json(
            {"made": result.made, "unsent": list(result.unsent), "outdated": outdated, **record.as_dict()}
        )
    for event in result.unsent:
        _warn(f"{record['gateway_id']} does not send {event}, which has a processor; remove it and register again")
    for old in result.outdated:
        version = f"{old['gateway_id']} sends events of version {old['api_version']}, which are put aside"
        _warn(f"{version}; once {record['gateway_id']} sends its own: callsheet webhooks remove {old['gateway_id']}")
    done = "registered" if result.made else "was registered already"
    number = len(record["enabled_events"] or [])
    secret = "its secret is kept sealed" if record["secret"] else "its secret is in the settings"
    return click.echo(f"{record['gateway_id']} {done} at {gateway}: {number} events to {tables.text(url)}; {secret}")


@webhooks.command("list")
@_GATEWAY
@as_json
@opening
def list_webhooks(here: Opening, gateway: str | None, as_json: bool) -> None:
    """Ask the gateway for its endpoints and list them."""
    from engine import endpoints

    names = [gateway] if gateway else endpoints.in_hand(here.engine)
    if not names:
        said = ", ".join(endpoints.gateways(here.engine)) or "no gateway's file has webhook.register"
        raise click.UsageError(f"no gateway that this host uses registers endpoints; ask one with --gateway: {said}")
    found = [one for name in names for one in endpoints.endpoints(here.engine, name)]
    if as_json:
        return print_json([{**record.as_dict(), "known": known} for record, known in found])
    if not found:
        return click.echo("none yet: callsheet webhooks register URL", err=True)
    headings = ["id", "gateway", "endpoint", "status", "secret", "events", "url"]
    rows = [
        [
            record["gateway_id"],
            record["gateway"],
            record["endpoint"],
            record["status"] if known else "gone",
            "sealed" if record["secret"] else "",
            len(record["enabled_events"] or []),
            record["url"],
        ]
        for record, known in found
    ]
    return click.echo(tables.table(headings, rows))


@webhooks.command()
@click.argument("id")
@_GATEWAY
@opening
def remove(here: Opening, id: str, gateway: str | None) -> None:
    """Remove the endpoint ID (ours, or the gateway's as `list` shows it) at the gateway."""
    from engine import endpoints

    engine = here.engine
    held = engine.find(endpoints.RECORD, id=id) or engine.find(endpoints.RECORD, gateway_id=id)
    gateway = gateway or (held[0].scope.gateway if held else _only(here))
    click.echo(f"{endpoints.remove(engine, gateway, id)} is removed at {gateway}")


def _only(here: Opening) -> str:
    from engine import endpoints

    known = endpoints.in_hand(here.engine)
    if len(known) != 1:
        said = ", ".join(known or endpoints.gateways(here.engine)) or "no gateway's file has webhook.register"
        raise click.UsageError(f"which gateway? name one with --gateway: {said}")
    return known[0]


def _warn(message: str) -> None:
    click.echo(f"{click.style('Warning:', fg='yellow')} {tables.text(message)}", err=True)
