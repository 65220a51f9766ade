"""YAML means what it looks like, and every mistake is told with its place."""

from __future__ import annotations

from typing import Any

import pytest

from engine.errors import DefinitionError
from engine.yaml_files import MAX_DEPTH, Mark, parse

SCALARS: dict[str, Any] = {
    "": None,
    "~": None,
    "null": None,
    "true": True,
    "false": False,
    "0": 0,
    "7": 7,
    "-3": -3,
    "1.5": 1.5,
    "1e3": 1000.0,
    "-0.5": -0.5,
    # What YAML 1.1 would have made something else of:
    "no": "no",
    "yes": "yes",
    "on": "on",
    "Off": "Off",
    "y": "y",
    "True": "True",
    "NULL": "NULL",
    "010": "010",
    "0x1F": "0x1F",
    "0o17": "0o17",
    "0b11": "0b11",
    "12:30": "12:30",
    "12:30:45": "12:30:45",
    "2019-08-14": "2019-08-14",
    "2019-08-14T10:00:00Z": "2019-08-14T10:00:00Z",
    "1_000": "1_000",
    "+1.": "+1.",
    ".5": ".5",
    ".inf": ".inf",
    ".nan": ".nan",
    "=": "=",
    "9999999999999999999": 9_999_999_999_999_999_999,
    "1e20": 1e20,
    "'99999999999999999999'": "99999999999999999999",
    "'7'": "7",
    '"no"': "no",
    "'true'": "true",
    '""': "",
}


@pytest.mark.parametrize(("text", "value"), SCALARS.items())
def test_scalars(text: str, value: Any) -> None:
    """A plain scalar is null, a truth or a decimal number where it is written so, and text otherwise."""
    found = parse(f"key: {text}\n", "a.yml").value["key"]
    assert (found, type(found)) == (value, type(value))


def test_a_version_stays_text() -> None:
    """A version such as 2019-08-14 is no date, and 1.10 must be quoted to stay text."""
    assert parse("a: 2026-06-24.dahlia\nb: '1.10'\n", "a.yml").value == {"a": "2026-06-24.dahlia", "b": "1.10"}


REFUSED = {
    "a: 1\nb: 2\na: 3\n": (3, 1, "duplicate key 'a'; remove one"),
    "a:\n  b: 1\n  b: 1\n": (3, 3, "duplicate key 'b'"),
    "a: &x 1\nb: *x\n": (2, 4, "the alias *x is refused; write the value again"),
    "a: &x [1]\nb:\n  <<: *x\n": (3, 3, "the merge key << is refused"),
    "a: !!binary aGk=\n": (1, 4, "the tag tag:yaml.org,2002:binary is refused"),
    "a: !!python/object/apply:os.system ['true']\n": (1, 4, "is refused; remove it"),
    "a: !!int '7'\n": (1, 4, "the tag"),
    "a: ! 7\n": (1, 4, "the tag ! is refused"),
    "a: {{ data.x }}\n": (1, 5, "a value that begins with {{ needs quotes"),
    "? [a, b]\n: 1\n": (1, 3, "a key must be text"),
    "a: [1, 2\nb: 3\n": (2, 2, "not YAML"),
    "a: 'open\n": (2, 1, "not YAML"),
    "a: b: c\n": (1, 5, "not YAML"),
    "\ta: 1\n": (1, 1, "not YAML: a tab indents it; indent with blanks"),
    "a:\n\tb: 1\n": (2, 1, "not YAML: a tab indents it; indent with blanks"),
    "a:\n  b: 1\n\tc: 2\n": (3, 1, "not YAML: a tab indents it; indent with blanks"),
    "a: @all\n": (1, 4, "not YAML: text that begins with @ needs quotes"),
    "a: `all`\n": (1, 4, "not YAML: text that begins with ` needs quotes"),
    "é: é\na: %d\n": (2, 4, "not YAML: text that begins with % needs quotes"),
    "a: 1\n---\nb: 2\n": (2, 1, "a file holds one document; remove the second"),
    "a: 99999999999999999999\n": (1, 4, "too large a number to be kept exactly; put it in quotes"),
    "a:\n- -99999999999999999999\n": (2, 3, "too large a number"),
    "a: 1e999\n": (1, 4, "too large a number"),
    "a: \x07\n": (1, 4, "not YAML: holds the character '\\x07'; remove it"),
}


@pytest.mark.parametrize(("text", "fault"), REFUSED.items())
def test_faults(text: str, fault: tuple[int, int, str]) -> None:
    """What is ambiguous or dangerous is refused at its line and column, with what to do."""
    with pytest.raises(DefinitionError) as raised:
        parse(text, "request_types/shop/a.yml")
    (found,) = raised.value.faults
    line, column, message = fault
    assert str(raised.value).startswith(f"request_types/shop/a.yml:{line}:{column}: ")
    assert message in found.message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_depth(opening: str) -> None:
    """Nesting over 20 is refused before the parser can run out of stack."""
    with pytest.raises(DefinitionError, match=f"nested deeper than {MAX_DEPTH}; flatten it"):
        parse(opening * 3000, "a.yml")


def test_depth_that_is_allowed() -> None:
    """Nesting of 20 is fine."""
    text = "[" * MAX_DEPTH + "]" * MAX_DEPTH
    assert parse(text, "a.yml").value is not None


def test_size() -> None:
    """A file may have 64 KiB, and not a byte more; characters count as their bytes."""
    most = "a: " + "x" * (64 * 1024 - 3)
    assert len(parse(most, "a.yml").value["a"]) == 64 * 1024 - 3
    with pytest.raises(DefinitionError, match="larger than 64 KiB; split it"):
        parse(most + "x", "a.yml")
    with pytest.raises(DefinitionError, match="larger than 64 KiB"):
        parse("a: " + "é" * (32 * 1024), "a.yml")


def test_marks() -> None:
    """Every value knows where its key stands, and where its text begins: after a quote, or on the line after a bar."""
    file = parse('url: /x\nbody: |\n  {"a": 1}\ndata:\n  "a/b": [1,\n     2]\nnote: >\n  long\n', "a.yml")
    assert file.marks["/url"] == Mark("a.yml", 1, 1, 1, 6)
    assert file.marks["/body"] == Mark("a.yml", 2, 1, 3, 3, 2)
    assert file.marks["/data/a~1b/1"] == Mark("a.yml", 6, 6, 6, 6)
    assert file.marks["/note"] == Mark("a.yml", 7, 1, 8, 3, 2, folded=True)


def test_fault_of_what_is_not_there() -> None:
    """A fault of something that is absent stands at what should hold it."""
    file = parse("data:\n  properties:\n    a: 1\n", "a.yml")
    assert str(file.fault("/data/properties/b/type", "is wrong")) == "a.yml:2:3: is wrong"
    assert str(file.fault("/nothing", "is wrong")) == "a.yml:1:1: is wrong"


def test_an_empty_file_is_null() -> None:
    """A file of comments alone holds nothing."""
    assert parse("# nothing\n", "a.yml").value is None
