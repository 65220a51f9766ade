"""Request types: what each takes, what it changes, what its form is."""

from __future__ import annotations

from flask import Response, abort

from engine.core import Engine
from engine.descriptions import changed, parameters, repeats
from engine.errors import UnknownNameError
from engine.request_types import RequestType
from engine.web.console.pages import render
from engine.web.current import engine_of


def request_types() -> Response:
    """All of them, by gateway."""
    catalog = engine_of().catalog
    gateways: dict[str, list[RequestType]] = {}
    for type in catalog.request_types.values():
        gateways.setdefault(type.gateway.name, []).append(type)
    return render("request_types.html", gateways=gateways, forms=catalog.forms, mappers=catalog.mappers)


def request_type(gateway: str, name: str) -> Response:
    """One of them."""
    engine = engine_of()
    type = known(engine, gateway, name)
    mapper = engine.catalog.mappers.get(type.name)
    return render(
        "request_type.html",
        type=type,
        parameters=list(parameters(type.schema.document)),
        repeats=repeats(type),
        changes=changed(mapper) if mapper else [],
        form=engine.catalog.forms.get(type.name),
    )


def known(engine: Engine, gateway: str, name: str) -> RequestType:
    """The request type of that name; ends the request where there is none."""
    try:
        return engine.catalog.request_type(f"{gateway}/{name}")
    except UnknownNameError as error:
        abort(404, str(error))
