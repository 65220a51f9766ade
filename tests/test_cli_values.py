"""What a person types, and what a terminal shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
from commands import run
from hosts import write

from engine.cli import tables
from engine.cli.arguments import data_file, data_from, where_from

SCHEMA = {
    "properties": {
        "amount": {"type": "integer"},
        "share": {"type": "number"},
        "capture": {"type": "boolean"},
        "name": {"type": "string"},
        "note": {"type": ["string", "null"]},
        "limit": {"type": ["integer", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
        "items": {"type": "array", "items": {"properties": {"sku": {"type": "string"}, "count": {"type": "integer"}}}},
        "shipping": {"type": "object", "properties": {"address": {"properties": {"line1": {"type": "string"}}}}},
        "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        "wanted": {"anyOf": [{"type": "array"}, {"type": "string"}]},
        "content": {"type": "string", "contentEncoding": "base64"},
        "proof": {"type": "object", "properties": {"base64": {"type": "string"}}},
    }
}


@pytest.fixture
def shop(bare_shop: Path) -> Path:
    """Without a store yet."""
    return bare_shop


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("amount=500", {"amount": 500}),
        ("amount=five", {"amount": "five"}),
        ("share=0.5", {"share": 0.5}),
        ("capture=false", {"capture": False}),
        ("name=007", {"name": "007"}),
        ("name=", {"name": ""}),
        ("name=a=b", {"name": "a=b"}),
        ("note=null", {"note": "null"}),
        ("limit=null", {"limit": None}),
        ("tags[0]=a tags[1]=b", {"tags": ["a", "b"]}),
        ("tags[]=a tags[]=b", {"tags": ["a", "b"]}),
        ('tags=["a","b"]', {"tags": ["a", "b"]}),
        ("items[0][sku]=1 items[0].count=2 items[1].sku=3", {"items": [{"sku": "1", "count": 2}, {"sku": "3"}]}),
        ("shipping.address.line1=1", {"shipping": {"address": {"line1": "1"}}}),
        ("metadata[order.id]=7 metadata.x=y", {"metadata": {"order.id": "7", "x": "y"}}),
        ("metadata[0]=a", {"metadata": {"0": "a"}}),
        ("wanted=a wanted2=b", {"wanted": "a", "wanted2": "b"}),
        ('wanted=["a"]', {"wanted": ["a"]}),
        ("name=@@home", {"name": "@home"}),
    ],
)
def test_typed_values_follow_the_schema(typed: str, meant: dict[str, Any]) -> None:
    """Never the look of the text."""
    assert data_from(typed.split(), SCHEMA) == meant


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("amount", "is not key=value"),
        ("=5", "is not key=value"),
        ("a[b=5", "is not key=value"),
        ("a..b=5", "is not key=value"),
        ("amount=1 amount=2", "amount is given twice"),
        ("amount=1 amount.name=2", "is a value already"),
        ("tags=a", "tags is a list; write tags[]=VALUE for each of its items, or all of it as JSON"),
        ("tags=[a", "tags is a list; write tags[]=VALUE"),
        ("shipping=1", "shipping is an object; write shipping[KEY]=VALUE for each of its parts"),
        ("tags[1]=b", "numbered from 0 without gaps"),
        ("name=@no/such/file", "no/such/file cannot be read: No such file"),
        (f"metadata{'[a]' * 2000}=1", "… is nested deeper than 64 levels; flatten it"),
    ],
)
def test_typed_values_that_make_no_sense(typed: str, said: str) -> None:
    """One sentence that says why."""
    with pytest.raises(click.UsageError, match=r".") as refused:
        data_from(typed.split(), SCHEMA)
    assert said in str(refused.value)


def test_values_from_files(tmp_path: Path) -> None:
    """Text as it stands, an upload where the schema wants one, and whole data under typed values."""
    write(tmp_path, {"letter.txt": "Dear\nAda\n", "data.json": '{"amount": 5, "metadata": {"a": "b"}}'})
    assert data_from([f"name=@{tmp_path}/letter.txt"], SCHEMA) == {"name": "Dear\nAda\n"}
    upload = {"filename": "letter.txt", "content_type": "text/plain", "base64": "RGVhcgpBZGEK"}
    assert data_from([f"proof=@{tmp_path}/letter.txt"], SCHEMA) == {"proof": upload}
    (tmp_path / "a.bin").write_bytes(b"\x00\xff")
    assert data_from([f"content=@{tmp_path}/a.bin"], SCHEMA) == {"content": "AP8="}
    assert data_from(["content=AP8="], SCHEMA) == {"content": "AP8="}
    below = data_file(str(tmp_path / "data.json"))
    assert data_from(["amount=6", "metadata.c=d"], SCHEMA, below) == {"amount": 6, "metadata": {"a": "b", "c": "d"}}
    write(tmp_path, {"data.yml": "amount: 5\nname: no\n"})
    assert data_file(str(tmp_path / "data.yml")) == {"amount": 5, "name": "no"}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.json", "[1]", "must hold one object"),
        ("a.json", "{", "not JSON"),
        ("a.json", '{"a": 1, "a": 2}', "same key twice"),
        ("a.yml", "a: &x 1\nb: *x\n", "alias"),
    ],
)
def test_data_files_that_make_no_sense(name: str, text: str, said: str, shop: Path) -> None:
    """The file is named."""
    write(shop, {name: text})
    result = run(shop, "send", "shop/pay", "--data", str(shop / name))
    assert (result.exit_code, said in result.output, name in result.output) == (2, True, True), result.output


@pytest.mark.parametrize(("typed", "said"), [("[1]", "must hold one object"), ("{", "is not JSON")])
def test_typed_data_that_makes_no_sense(typed: str, said: str, shop: Path) -> None:
    """It is called what it is, and not by the - that stands for it."""
    assert f"the standard input {said}" in run(shop, "send", "shop/pay", "--data", "-", typed=typed).output


def test_the_same_key_twice_means_either_value() -> None:
    """And types are those of the properties."""
    properties = {"state": {"type": "string"}, "amount": {"type": "integer"}}
    assert where_from(["state=a", "state=b", "amount=5", "live=true"], properties) == {
        "state": ["a", "b"],
        "amount": 5,
        "live": True,
    }


# Tables ---------------------------------------------------------------------------------------------------------------


def test_a_table_fits_its_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first column stays whole; wide characters count twice."""
    rows = [["id-1234567890", "日本語の長い説明" * 9, "ok"], ["id-2", "short", "failed"]]
    for size in (30, 40, 60, 100):
        monkeypatch.setenv("COLUMNS", str(size))
        drawn = click.unstyle(tables.table(["id", "text", "state"], rows)).splitlines()
        assert max(map(tables.columns, drawn)) <= size
        assert drawn[1].startswith("id-1234567890")


def test_no_value_can_steer_the_terminal() -> None:
    """Escape sequences, line ends and bidirectional marks are shown, not obeyed."""
    assert tables.text("a\x1b[2J\r\n\u202eb") == "a\\x1b[2J\\r\\n\\u202eb"
    assert tables.lines("a\x1b[31m\nb") == "a\\x1b[31m\nb"


def test_an_empty_column_is_left_out() -> None:
    """It would only take room."""
    assert tables.table(["a", "b", "c"], [["1", None, "3"]]) == click.style("a  c", bold=True) + "\n1  3"
