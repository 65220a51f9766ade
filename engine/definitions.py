"""What a YAML file defines: a gateway, or a record type.

Hides: how a file's keys are checked, and which of them are compiled. Nothing here knows where files come from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from engine.errors import Fault, did_you_mean
from engine.file_kinds import address_faults, check_file, in_mode
from engine.keywords import schema_faults
from engine.records import SCOPE, RecordType
from engine.request_types import Gateway, Rate
from engine.settings import MODES
from engine.signatures import scheme_of
from engine.template_checks import Source
from engine.templates import Templates
from engine.yaml_files import Mark, YamlFile

_EVENT = ("id", "type", "time", "live", "account", "key", "version")
_CAUSE = ("key", "reference", "object")


Look = Callable[[Callable[[], list[Fault]]], list[Fault]]
"""Asks the function that it is given for faults, unless it knows that there are none."""


def read_record_type(name: str, file: YamlFile, look: Look) -> RecordType | list[Fault]:
    """The record type of a file of `response_mappers/records/`, or its faults."""
    faults = look(partial(_record_type_faults, file))
    if faults:
        return faults
    value = file.value
    within = tuple(value.get("within", SCOPE))
    required, index = tuple(value.get("required", ())), tuple(value.get("index", ()))
    return RecordType(name, value["properties"], required, _unique(value), index, within, value["summary"])


def _unique(value: Mapping[str, Any]) -> tuple[tuple[str, ...], ...]:
    return tuple((key,) if isinstance(key, str) else tuple(key) for key in value.get("unique", []))


def _record_type_faults(file: YamlFile) -> list[Fault]:
    faults = check_file(file, "record_type")
    if faults:
        return faults
    value = file.value
    properties = value["properties"]
    named = [("required", value.get("required", [])), ("index", value.get("index", []))]
    named += [(f"unique/{number}", key) for number, key in enumerate(_unique(value))]
    for part, names in named:
        for number, property_name in enumerate(names):
            if property_name not in properties:
                guess = did_you_mean(property_name, properties)
                faults.append(file.fault(f"/{part}/{number}", f"there is no property {property_name!r}{guess}"))
    return [*faults, *schema_faults(file, "", {"properties": properties})]


def read_gateway(name: str, file: YamlFile, templates: Templates, mode: str, look: Look) -> Gateway | list[Fault]:
    """The gateway of a `_gateway.yml` in a mode, or its faults. What its request types share is checked with each."""
    faults = look(partial(_gateway_faults, file, templates))
    if faults:
        return faults
    value = in_mode(file.value, mode)
    event, cause, release = _leaves(file, *_EVENT), _leaves(file, *_CAUSE), _leaves(file, "release")
    return Gateway(
        name=name,
        base_url=value["base_url"],
        settings=value.get("settings", {}),
        renamed=value.get("renamed", {}),
        live_key=value.get("live_key"),
        version=value.get("version"),
        rate=_rate(value["rate"]) if "rate" in value else None,
        browser=value.get("browser", {}),
        webhook=value.get("webhook"),
        read_event=templates.structure(*event, f"{file.name}#webhook"),
        read_cause=templates.structure(*cause, f"{file.name}#cause"),
        read_release=templates.structure(*release, f"{file.name}#release"),
    )


def _rate(value: Mapping[str, Any]) -> Rate:
    allowed = value.get("per_second")
    by_mode = allowed if isinstance(allowed, Mapping) else dict.fromkeys(MODES, allowed)
    return Rate(by_mode.get("test"), by_mode.get("live"), value.get("in_flight"))


def _leaves(file: YamlFile, *parts: str) -> tuple[dict[str, Any], dict[str, Mark]]:
    """Those of the `parts` of `webhook:` that the file gives, and where they stand."""
    webhook = file.value.get("webhook") or {}
    leaves = {part: webhook[part] for part in parts if part in webhook}
    return leaves, {f"/{part}": file.marks[f"/webhook/{part}"] for part in leaves}


def _gateway_faults(file: YamlFile, templates: Templates) -> list[Fault]:
    faults = check_file(file, "gateway")
    if faults:
        return faults
    value = file.value
    webhook = value.get("webhook")
    kept: Mapping[str, Any] = {"properties": {name.lower(): {} for name in (webhook or {}).get("headers", ())}}
    for name, parts in (("event", (*_EVENT, *_CAUSE)), ("version", ("release",))):
        leaves, marks = _leaves(file, *parts)
        for part, leaf in leaves.items():
            names = {name: None, "headers": kept} if name == "event" else {name: None}
            faults += templates.check_leaf(Source.at(leaf, marks[f"/{part}"]), names)
    faults += address_faults(file)
    if webhook:
        try:
            scheme_of(webhook["scheme"])
        except ValueError as error:
            faults.append(file.fault("/webhook/scheme", str(error)))
    return faults
