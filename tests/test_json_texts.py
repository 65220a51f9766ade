"""JSON texts: those that Python's `json` makes, from whatever can be written so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from store_contract import ODD_VALUES

from engine.errors import DataError
from engine.json_texts import encoding
from engine.records import Record, Scope

KINDS = [
    json.JSONEncoder(separators=(",", ":"), allow_nan=False),
    json.JSONEncoder(sort_keys=True),
    json.JSONEncoder(default=str),
    json.JSONEncoder(skipkeys=True),
]
VALUES = [
    *ODD_VALUES,
    None,
    True,
    0.1,
    float("inf"),
    {2: (1, "b"), None: []},
    {(1, 2): 3},
    b"bytes",
    [{1}],
    {"b": 1, "a": 2},
]


def outcome(encode: Any, value: Any) -> Any:
    try:
        return encode(value)
    except (TypeError, ValueError) as error:
        return repr(error)


@pytest.fixture(params=["in C", "in Python"])
def _kind_of_python(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "in Python":
        monkeypatch.setattr("json.encoder.c_make_encoder", None)


@pytest.mark.usefixtures("_kind_of_python")
@pytest.mark.parametrize("kind", KINDS)
def test_they_are_those_of_json(kind: json.JSONEncoder) -> None:
    encode = encoding(kind)
    for value in [*VALUES, ODD_VALUES]:
        assert outcome(encode, value) == outcome(kind.encode, value)


@pytest.mark.parametrize("nested", ["in itself", "deeply"])
def test_a_record_of_what_has_no_end_is_refused(nested: str) -> None:
    value: list[Any] = []
    value.append(value)
    for _ in range(100_000 if nested == "deeply" else 0):
        value = [value]
    with pytest.raises(DataError, match="is not JSON"):
        Record("payment", "id", Scope("stripe"), {"note": value}).to_json()
