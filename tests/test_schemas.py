"""Values are checked strictly, and what is wrong is told by its place."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from engine.schemas import Schema, from_text

PROBLEMS: list[tuple[dict[str, Any], Any, list[str]]] = [
    ({"type": "integer"}, 5, []),
    ({"type": "integer"}, 5.0, ["/: 5.0 is not of type integer"]),
    ({"type": "integer"}, 1e30, ["/: 1e+30 is not of type integer"]),
    ({"type": "integer"}, True, ["/: True is not of type integer"]),
    ({"type": "integer"}, "5", ["/: '5' is not of type integer"]),
    ({"type": "integer"}, None, ["/: None is not of type integer"]),
    ({"type": "integer"}, 10**400, []),
    ({"type": "number"}, 5.5, []),
    ({"type": "number"}, True, ["/: True is not of type number"]),
    ({"type": ["string", "null"]}, 5, ["/: 5 is not of type string or null"]),
    ({"enum": ["paid", "failed"]}, "payed", ["/: 'payed' is not one of paid, failed; did you mean 'paid'?"]),
    (
        {"pattern": "^[a-z]{3}$"},
        "USD",
        ["/: 'USD' does not fit the pattern ^[a-z]{3}$; give a value that does"],
    ),
    (
        {"properties": {"currency": {"pattern": "^[a-z]{3}$", "description": "Three small letters,\nsuch as usd."}}},
        {"currency": "USD"},
        ["/currency: 'USD' does not fit the pattern ^[a-z]{3}$; what is wanted is: Three small letters, such as usd"],
    ),
    ({"minimum": 1}, 0, ["/: 0 is less than the minimum of 1"]),
    ({"format": "email"}, "a@b.c", []),
    ({"format": "email"}, "nobody", ["/: 'nobody' is not a 'email'"]),
    ({"format": "uri"}, "https://a.test/x", []),
    ({"format": "uri"}, "a.test", ["/: 'a.test' is not a 'uri'"]),
    ({"format": "date-time"}, "2026-01-01T00:00:00Z", []),
    ({"format": "date-time"}, "2026-01-01T00:00:00", ["/: '2026-01-01T00:00:00' is not a 'date-time'"]),
    ({"format": "date-time"}, "soon", ["/: 'soon' is not a 'date-time'"]),
    ({"format": "date"}, "2026-02-30", ["/: '2026-02-30' is not a 'date'"]),
    ({"format": "hostname"}, "shop.test", []),
    ({"format": "hostname"}, "-shop.test", ["/: '-shop.test' is not a 'hostname'"]),
    ({"format": "ipv4"}, "1.2.3", ["/: '1.2.3' is not a 'ipv4'"]),
    ({"properties": {"file": {"contentEncoding": "base64"}}}, {"file": "AP\n8="}, []),
    ({"properties": {"file": {"contentEncoding": "base64"}}}, {"file": "AP8"}, ["/file: is no base64"]),
    ({"properties": {"file": {"contentEncoding": "base64"}}}, {"file": 5}, []),
    ({"contentEncoding": "quoted-printable"}, "AP8", []),
    ({"required": ["amount", "to"]}, {}, ["/amount: is required", "/to: is required"]),
    (
        {"properties": {"amount": {}}, "additionalProperties": False},
        {"amuont": 5},
        ["/amuont: is not known here; did you mean 'amount'?"],
    ),
    (
        {"properties": {"a": {"items": {"properties": {"b~/c": {"type": "string"}}}}}},
        {"a": [{}, {"b~/c": 5}]},
        ["/a/1/b~0~1c: 5 is not of type string"],
    ),
    (
        {"anyOf": [{"type": "string"}, {"type": "object", "required": ["id"]}]},
        {"name": "x"},
        ["/id: is required"],
    ),
    ({"anyOf": [{"type": "integer"}, False]}, "a", ["/: 'a' is not valid under any of the given schemas"]),
    ({"items": {"type": "string"}}, [1, "a", None], ["/0: 1 is not of type string", "/2: None is not of type string"]),
]


@pytest.mark.parametrize(("schema", "value", "said"), PROBLEMS)
def test_problems(schema: dict[str, Any], value: Any, said: list[str]) -> None:
    """A value that does not fit is told by JSON pointer and in words; 1.0 and true are no integers."""
    assert [str(problem) for problem in Schema(schema).problems(value)] == said


MULTIPLES = [
    (0.01, [19.99, 4.35, 0.07, 1e308, 10**400, -(10**400), 0, -0.0, 3], [19.999, 1e-9, float("inf"), float("nan")]),
    (2, [4, 4.0, 10**400], [3, 4.5, 10**400 + 1]),
    (2.5, [5, -7.5], [4]),
]


@pytest.mark.parametrize(("rule", "good", "bad"), MULTIPLES)
def test_a_multiple_is_one_by_its_digits(rule: float, good: list[float], bad: list[float]) -> None:
    """19.99 has two decimals, though no float holds it; and no number is too large to be asked about."""
    schema = Schema({"multipleOf": rule})
    assert [schema.problems(value) for value in [*good, True, "a", None]] == [[]] * (len(good) + 3)
    for value in bad:
        (problem,) = schema.problems(value)
        assert str(problem).endswith(f" is not a multiple of {rule}")


def test_what_is_nested_too_deep_to_be_checked() -> None:
    """A schema that refers to itself may go deeper than Python does; what comes of it is a problem, never an error."""
    inner: dict[str, Any] = {"$ref": "#/$defs/node"}
    for _ in range(9):
        inner = {"allOf": [inner]}
    node = {"type": "object", "properties": {"next": inner}}
    value: dict[str, Any] = {}
    for _ in range(60):
        value = {"next": value}
    (problem,) = Schema({"$ref": "#/$defs/node", "$defs": {"node": node}}).problems(value)
    assert str(problem) == "/: is nested too deep to be checked"


def test_a_long_value_is_cut() -> None:
    """A problem is one line, however long the value is."""
    (problem,) = Schema({"type": "integer"}).problems("x" * 10_000)
    assert len(str(problem)) < 120


SCHEMA_FAULTS = {
    "/properties/a/type": {"properties": {"a": {"type": "strnig"}}},
    "/properties/a/pattern": {"properties": {"a": {"pattern": "["}}},
    "/properties/b/pattern": {"properties": {"b": {"pattern": "a{1,99999999999}"}}},
    "/properties/c/pattern": {"properties": {"c": {"pattern": "(" * 5000 + ")" * 5000}}},
    "/items/$ref": {"items": {"$ref": "#/$defs/money"}, "$defs": {"mony": {}}},
    "/$ref": {"$ref": "http://schemas.test/a.json"},
}


@pytest.mark.parametrize(("pointer", "schema"), SCHEMA_FAULTS.items())
def test_a_schema_is_checked_itself(pointer: str, schema: dict[str, Any]) -> None:
    """A schema that is none, with a broken pattern or a reference to nowhere, says where."""
    assert [problem.pointer for problem in Schema(schema).verify()] == [pointer]


def test_a_schema_that_is_one() -> None:
    """A sound schema has no problems, references within it included."""
    assert Schema({"items": {"$ref": "#/$defs/money"}, "$defs": {"money": {"type": "integer"}}}).verify() == []


def test_no_reference_is_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    """A $ref to another document is never looked for on a network."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was used")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    schema = Schema({"$ref": "http://schemas.test/a.json"})
    assert schema.verify()
    with pytest.raises(Exception, match=r"Unresolvable"):
        schema.problems(5)


def test_references_that_are_given() -> None:
    """A $ref finds the documents that were given with the schema."""
    known = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "a.json", "maxLength": 2}
    schema = Schema({"$ref": "a.json"}, [known])
    assert schema.problems("ab") == []
    assert schema.problems("abc")


def test_defaults() -> None:
    """A default fills in what is absent, never what is given, null included."""
    schema = {"properties": {"a": {"default": 1}, "b": {"default": []}, "c": {}}}
    assert Schema(schema).with_defaults({"a": None}) == {"a": None, "b": []}


TEXTS: list[tuple[dict[str, Any], str, Any]] = [
    ({"type": "string"}, "5", "5"),
    ({}, "5", "5"),
    ({"enum": ["5", "6"]}, "5", "5"),
    ({"type": "integer"}, "5", 5),
    ({"type": "integer"}, "-5", -5),
    ({"type": "integer"}, "5.0", "5.0"),
    ({"type": "integer"}, " 5", " 5"),
    ({"type": "integer"}, "1_000", "1_000"),
    ({"type": "integer"}, "\u0665", "\u0665"),
    ({"type": "number"}, "5.5", 5.5),
    ({"type": "number"}, "5.50", 5.5),
    ({"type": "number"}, "5", 5),
    ({"type": "number"}, "123456789012345678", 123456789012345678),
    ({"type": "number"}, "12345678901234567.89", "12345678901234567.89"),
    ({"type": "number"}, "1e-999", "1e-999"),
    ({"type": "number"}, "9" * 5000, "9" * 5000),
    ({"type": "number"}, "-1e3", -1000.0),
    ({"type": "number"}, "1_0", "1_0"),
    ({"type": "number"}, "nan", "nan"),
    ({"type": "number"}, "1e999", "1e999"),
    ({"type": "number"}, "\u0665", "\u0665"),
    ({"type": "boolean"}, "true", True),
    ({"type": "boolean"}, "false", False),
    ({"type": "boolean"}, "no", "no"),
    ({"type": ["string", "null"]}, "null", "null"),
    ({"type": ["integer", "null"]}, "null", None),
    ({"type": "object"}, '{"a": 1}', {"a": 1}),
    ({"type": "object"}, "[1]", "[1]"),
    ({"type": "object"}, "{", "{"),
    ({"type": "object"}, '{"a": 1, "a": 2}', '{"a": 1, "a": 2}'),
    ({"type": "object"}, '{"a": NaN}', '{"a": NaN}'),
    ({"type": "object"}, '{"a": 1} {}', '{"a": 1} {}'),
    ({"type": "object"}, "", ""),
    ({"type": "array"}, "[1]", [1]),
    ({"type": "array"}, "[" * 50_000, "[" * 50_000),
    ({"type": "array"}, "[" * 65 + "]" * 65, "[" * 65 + "]" * 65),
]


@pytest.mark.parametrize(("schema", "text", "value"), TEXTS)
def test_typed_text(schema: dict[str, Any], text: str, value: Any) -> None:
    """What a person typed becomes what the schema asks for, and stays text where it does not fit."""
    found = from_text(schema, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[^$|]+$", "a", "$"),
        (r"^[\]$|]$", "$", "$\n"),
        (r"^\$$", "$", "$\n"),
        (r"^\\$", "\\", "\\\n"),
        ("^[]$]$", "]", "]\n"),
    ],
)
def test_a_dollar_may_be_a_character(pattern: str, good: str, bad: str) -> None:
    """In a class of characters, and after a backslash, unless that one is a character, too."""
    for schema in ({"pattern": pattern}, {"pattern": pattern, "not": {"const": "x"}}):
        assert Schema(schema).verify() == []
        assert Schema(schema).problems(good) == []
        assert Schema(schema).problems(bad) != []


@pytest.mark.parametrize("pattern", ["^[a-z]{3}$", "^(usd|eur$)", "^usd$|^eur$"])
def test_a_pattern_ends_where_the_text_ends(pattern: str) -> None:
    """A newline after the last character is a character: `$` is the end of the text, as JSON Schema has it."""
    for schema in ({"pattern": pattern}, {"pattern": pattern, "not": {"const": "x"}}):
        assert Schema(schema).problems("eur") == []
        assert Schema(schema).problems("eur\n")


def test_words_of_the_schema_itself() -> None:
    """They are said in the place of a pattern, and of nothing else that is wrong."""
    schema = Schema({"type": "string", "pattern": "^[a-z]+$", "maxLength": 3, "errorMessage": "must be small letters"})
    assert [problem.message for problem in schema.problems("A")] == ["'A' must be small letters"]
    assert [problem.message for problem in schema.problems(5)] == ["5 is not of type string"]
