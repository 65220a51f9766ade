"""The short answer and the long one agree: on every schema that has a short one, and on every value."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engine.acceptance import acceptance
from engine.schemas import _FORMATS, Schema

NAMES = ["a", "b", "id", ""]
TEXTS = st.sampled_from([*NAMES, "usd", "USD", "usd\n", "2026-01-01T00:00:00Z", "x@y", "https://a/b", "[", "ab", "1"])
NUMBERS = st.integers(-3, 3) | st.sampled_from([1.0, 0.5, -0.0, 2.5, 10**30, float("nan"), float("inf")])
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
    max_leaves=8,
)
TYPES = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
SIZES = st.integers(0, 3)


def _one_schema(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.fixed_dictionaries(
        {},
        optional={
            "type": TYPES | st.lists(TYPES, min_size=1, max_size=3, unique=True),
            "enum": st.lists(st.none() | TEXTS, min_size=1, max_size=3),
            "const": st.booleans() | st.none() | TEXTS,
            "pattern": st.sampled_from(["^[a-z]{3}$", "s", "^$", "[A-Z]"]),
            "format": st.sampled_from(sorted(_FORMATS)),
            "minimum": NUMBERS.filter(lambda number: number == number),
            "maximum": st.integers(-3, 3),
            "exclusiveMinimum": st.integers(-3, 3),
            "exclusiveMaximum": st.sampled_from([0, 1.5]),
            "minLength": SIZES,
            "maxLength": SIZES,
            "minItems": SIZES,
            "maxItems": SIZES,
            "minProperties": SIZES,
            "maxProperties": SIZES,
            "required": st.lists(st.sampled_from(NAMES), max_size=2, unique=True),
            "properties": st.dictionaries(st.sampled_from(NAMES), inner, max_size=3),
            "additionalProperties": inner,
            "propertyNames": inner,
            "items": inner,
            "anyOf": several,
            "allOf": several,
            "oneOf": several,
            "not": inner,
            "$ref": st.sampled_from(["other.json#/properties/a", "other.json#/properties/b"]),
            "description": st.just("said"),
        },
    )


OTHER = {
    "$id": "other.json",
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "properties": {"a": {"type": ["integer", "null"]}, "b": {"properties": {"a": {"type": "integer"}}}},
}
SCHEMAS = st.recursive(st.booleans() | _one_schema(st.booleans()), _one_schema, max_leaves=6)


@settings(max_examples=300)
@given(schema=SCHEMAS, value=VALUES)
def test_both_answers_agree(schema: Any, value: Any) -> None:
    accepts = acceptance(schema, _FORMATS, {"other.json": OTHER})
    assert accepts is not None, "every keyword here is understood"
    library = Schema(schema, [OTHER])._validator
    assert accepts(value) is library.is_valid(value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integr"},
        {"type": []},
        {"type": ["string", "string"]},
        {"enum": []},
        {"enum": [1]},
        {"const": 1.0},
        {"pattern": "["},
        {"pattern": 1},
        {"format": "ipv4"},
        {"minimum": True},
        {"minimum": "1"},
        {"minLength": -1},
        {"minLength": 1.0},
        {"maxItems": True},
        {"required": "a"},
        {"required": ["a", "a"]},
        {"required": [1]},
        {"properties": []},
        {"properties": {"a": 1}},
        {"additionalProperties": None},
        {"items": [{"type": "string"}]},
        {"anyOf": []},
        {"title": 1},
        {"deprecated": "yes"},
        {"minimun": 1},
        {"multipleOf": 2},
        {"uniqueItems": True},
        {"$ref": "#/properties/a"},
        {"$ref": "elsewhere.json"},
        {"not": {"if": {}}},
        {"items": {"$schema": "https://json-schema.org/draft/2020-12/schema"}},
        {"items": {"$id": "elsewhere.json"}},
        "text",
        None,
    ],
    ids=str,
)
def test_what_is_not_plain_is_left_to_the_library(schema: Any) -> None:
    assert acceptance(schema, _FORMATS, {}) is None


def test_a_reference_to_itself_is_left_to_the_library() -> None:
    loop = {"$id": "loop.json", "properties": {"a": {"items": {"$ref": "loop.json#/properties/a"}}}}
    assert acceptance(loop, _FORMATS, {"loop.json": loop}) is None


@pytest.mark.parametrize(("schema", "value", "pointer"), [({"type": "integer"}, 1.0, ""), ({"enum": ["a"]}, "b", "")])
def test_what_does_not_fit_is_still_explained(schema: Any, value: Any, pointer: str) -> None:
    assert [problem.pointer for problem in Schema(schema).problems(value)] == [pointer]
