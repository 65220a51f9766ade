"""What definitions say of themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hosts import SHOP, write

from engine.catalog import load
from engine.cli.arguments import data_from
from engine.descriptions import changed, kind_of, limits, parameters, repeats, url_template

ADDRESS = {"type": "object", "required": ["city"], "properties": {"city": {"type": "string"}}}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "required": ["email"],
    "properties": {
        "email": {"type": "string", "description": "Where to write to."},
        "address": ADDRESS,
        "people": {"type": "array", "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
        "account": {"anyOf": [{"type": "string"}, ADDRESS]},
    },
}


def test_every_value_of_a_schema_is_named_once() -> None:
    """Nested ones follow what they stand in, those of lists and of alternatives too."""
    assert [(one.path, one.kind, one.required) for one in parameters(SCHEMA)] == [
        ("email", "string", True),
        ("address", "object", False),
        ("address.city", "string", True),
        ("people", "array of object", False),
        ("people[0].name", "string", False),
        ("account", "string or object", False),
        ("account.city", "string", True),
    ]
    assert next(parameters(SCHEMA)).description == "Where to write to."


def test_a_path_is_what_send_takes() -> None:
    """Each can be typed as it is written."""
    typed = [f"{one.path}=x" for one in parameters(SCHEMA) if one.kind == "string" and one.path != "account.city"]
    assert data_from(typed, SCHEMA) == {"email": "x", "address": {"city": "x"}, "people": [{"name": "x"}]}


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({}, "any"),
        ({"type": ["string", "null"]}, "string or null"),
        ({"type": ["array", "null"], "items": {"type": "integer"}}, "array of integer or null"),
        ({"type": "array"}, "array"),
        ({"enum": ["a", 1, True, None]}, "a | 1 | true | null"),
        ({"const": "account"}, "account"),
        ({"oneOf": [{"type": "string"}, {"enum": ["x", "y"]}]}, "string or x | y"),
        ({"anyOf": [True, {"type": "string"}]}, "string"),
    ],
)
def test_a_kind_in_words(schema: dict[str, Any], kind: str) -> None:
    """The type, or the values there are."""
    assert kind_of(schema) == kind


def test_what_a_mapper_changes_is_read_from_it_and_its_fragments(tmp_path: Path) -> None:
    """Whatever its conditions are; and every expression is null."""
    mapper = """\
{# {"upsert": "nothing"} is a comment #}
{% include "shop/_sale.json.j2" %}
{% if response.id %}{"send": "shop/read", "data": {"id": {{ response.id }}}}{% endif %}
{"delete": "sale", "where": {"gateway_id": {{ response.old }}}}
"""
    fragment = (
        '{"update": "sale", "where": {"gateway_id": {{ response.id }}}, "set": {"state": "paid", "note": {{ 1 }}}}'
    )
    catalog = load(
        [
            write(
                tmp_path,
                {
                    **SHOP,
                    "response_mappers/shop/pay.json.j2": mapper,
                    "response_mappers/shop/_sale.json.j2": fragment,
                },
            )
        ]
    )
    pay = catalog.mappers["shop/pay"]
    assert changed(pay) == ["sale", "sends shop/read"]
    assert pay.outline() == [
        {"send": "shop/read", "data": {"id": None}},
        {"delete": "sale", "where": {"gateway_id": None}},
        {"update": "sale", "where": {"gateway_id": None}, "set": {"state": "paid", "note": None}},
    ]
    said = {name: repeats(type).partition(":")[0] for name, type in catalog.request_types.items()}
    assert said == {
        "shop/pay": "safe",
        "shop/pay_once": "never",
        "shop/erase": "harmless",
        "shop/read": "reads only",
    }


@pytest.mark.parametrize(
    ("schema", "said"),
    [
        (
            {"type": "integer", "minimum": 1, "maximum": 5, "multipleOf": 2},
            ["at least 1", "at most 5", "a multiple of 2"],
        ),
        ({"exclusiveMinimum": 0, "exclusiveMaximum": 1}, ["more than 0", "less than 1"]),
        ({"minLength": 2, "maxLength": 3}, ["at least 2 characters", "at most 3 characters"]),
        ({"pattern": "^a$", "format": "uri"}, ["of the form ^a$", "in the format uri"]),
        ({"minItems": 1, "maxItems": 2, "uniqueItems": True}, ["at least 1 items", "at most 2 items", "no item twice"]),
        ({"minProperties": 1, "maxProperties": 2}, ["at least 1 names", "at most 2 names"]),
        (
            {"additionalProperties": False, "uniqueItems": False, "readOnly": False, "writeOnly": False},
            ["no other names"],
        ),
        (
            {"additionalProperties": {"type": "string", "maxLength": 5}},
            ["other names, each with string, at most 5 characters"],
        ),
        ({"default": "é", "readOnly": True}, ['"é" where it is absent', "set by your code: no form offers it"]),
        ({"writeOnly": True}, ["kept encrypted, and shown nowhere"]),
        ({"type": "array", "items": {"minimum": 1}}, ["each item: at least 1"]),
        ({"anyOf": [{"type": "string", "maxLength": 5}, {"type": "null"}]}, ["as string: at most 5 characters"]),
        ({"not": {"const": 1}, "description": "x", "properties": {}}, ['{"not": {"const": 1}}']),
    ],
)
def test_limits_in_words(schema: dict[str, Any], said: list[str]) -> None:
    """What there are no words for is said as it stands."""
    assert list(limits(schema)) == said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("/payments/{{ data.id }}", "/payments/{id}"),
        ("/a{% if data.id %}/{{data.id}}{% endif %}/b", "/a[/{id}]/b"),
        ("/a/{{ data.id or 'all' }}", "/a/{{ data.id or 'all' }}"),
    ],
)
def test_a_url_in_words(url: str, said: str, tmp_path: Path) -> None:
    """What is more than a name stays as it stands."""
    data = "{properties: {id: {type: string}}}"
    write(tmp_path, {**SHOP, "request_types/shop/look.yml": f"summary: x\nmethod: GET\nurl: {url!r}\ndata: {data}\n"})
    assert url_template(load([tmp_path]).request_types["shop/look"]) == said
