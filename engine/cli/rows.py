"""Rows of a CSV or JSONL file, one at a time, each with its line.

    CSV      the first line names the columns, nested ones as `callsheet send` does; cells are typed by the schema
    JSONL    an object a line

Hides: how the one is told from the other, and what can be wrong with a line before anybody looks at its data.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

import click

from engine.cli.arguments import JsonSchema, data_from_cells, first_step, is_path, said_of_json

LONGEST = 1 << 20  # bytes of a line
_KINDS = {".csv": "csv", ".tsv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"}
_BOM = b"\xef\xbb\xbf"

Line = tuple[int, Mapping[str, Any] | str]
"""A row's line, from 1, and its data, or what keeps it from being a row."""


def read_rows(source: BinaryIO, name: str, schema: JsonSchema, key: str | None) -> tuple[str, Iterator[Line]]:
    """Whether `source` is "csv" or "jsonl", by its `name` or else by how it begins, and its rows.

    `key` may be a column beside those of the schema. Raises UsageError, also when the first row is asked for.
    """
    first = source.readline(LONGEST + 1).removeprefix(_BOM)
    lines = chain([first] if first else [], iter(lambda: source.readline(LONGEST + 1), b""))
    if (kind_of(Path(name)) or ("jsonl" if first.lstrip().startswith((b"{", b"[")) else "csv")) == "jsonl":
        return "jsonl", _objects(lines)
    return "csv", _table(lines, name, schema, key)


def kind_of(path: Path) -> str | None:
    """Whether a file is "csv" or "jsonl", as its name says; None where that says nothing."""
    return _KINDS.get(path.suffix.lower())


def _objects(lines: Iterable[bytes]) -> Iterator[Line]:
    from engine.answers import parse_json

    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            value = parse_json(_whole(line).rstrip())
        except _Unreadable as error:
            yield number, f"{error}{_ENDS}"
            return
        except ValueError as error:
            yield number, _NO_ROW if line.strip() in _BEGINNINGS else said_of_json(error)
            continue
        yield number, value if isinstance(value, dict) else _NO_ROW


def _table(lines: Iterable[bytes], name: str, schema: JsonSchema, key: str | None) -> Iterator[Line]:
    texts = (_whole(line).decode("utf-8") for line in lines)
    try:
        heading = next(texts, "")
        if heading.isspace():
            raise ValueError("the line is empty; the first one of a CSV file names its columns")
        delimiter = max(",;\t", key=heading.count)
        table = csv.reader(chain([heading], texts), delimiter=delimiter, strict=True)
        columns = _columns(next(table, []), schema, key)
    except (ValueError, csv.Error) as error:
        raise click.UsageError(f"{name}:1: {_said(error)}") from None
    while True:
        number = table.line_num + 1
        try:
            cells = next(table, None)
        except (ValueError, csv.Error) as error:
            yield number, f"{_said(error)}{_ENDS}"
            return
        if cells is None:
            return
        if not cells:
            continue
        if len(cells) != len(columns):
            has, are = len(cells), len(columns)
            said = f"has {has} {'cell' if has == 1 else 'cells'}, and there {'is' if are == 1 else 'are'} {are}"
            yield number, f"{said} {'column' if are == 1 else 'columns'}"
            continue
        try:
            yield number, data_from_cells(zip(columns, cells, strict=True), schema)
        except click.UsageError as error:
            yield number, error.message


def _columns(heading: list[str], schema: JsonSchema, key: str | None) -> list[str]:
    from engine.errors import did_you_mean

    known = [*schema.get("properties", {}), *([key] if key else [])]
    if not heading:
        raise ValueError("there is no row; the first line of a CSV file names its columns")
    if key and key not in heading:
        raise ValueError(f"there is no column {key!r}, which --key names{did_you_mean(key, heading)}")
    for number, name in enumerate(heading, 1):
        if not name:
            raise ValueError(f"column {number} has no heading; name it, or take it out of every line")
        if not is_path(name):
            raise ValueError(f"the heading of column {number} is no name; a nested one is written key[inner]")
        if name in heading[: number - 1]:
            raise ValueError(f"two columns are called {name}")
        if (top := first_step(name)) not in known and not schema.get("additionalProperties"):
            others = any(first_step(one) in known for one in heading if is_path(one))
            guess = did_you_mean(top, known) or (f"; is it each row's key? --key {name}" if others else _NO_HEADING)
            raise ValueError(f"column {name}: there is no data {top!r}{guess}")
    return heading


class _Unreadable(ValueError):
    """A line that cannot even be passed over."""


def _whole(line: bytes) -> bytes:
    if len(line) > LONGEST:
        raise _Unreadable(f"a line is longer than {LONGEST} bytes")
    return line


def _said(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8; save the file as UTF-8"
    return next((said for part, said in _OF_CSV.items() if part in str(error)), str(error))


_BEGINNINGS = b"{", b"["  # of what goes on in the next lines
_NO_ROW = 'must be an object in one line, as in {"amount": 500}'
_ENDS = "; what follows was not read"
_NO_HEADING = "; the first line has to name the columns, as `callsheet show NAME` names the data"
_OF_CSV = {  # what the parser says, in terms of the file
    "unexpected end of data": 'a cell begins with " here, and no " ends it',
    "field limit": 'a cell is longer than 131072 characters; is the " missing that ends it?',
    "expected after": 'a cell goes on after the " that ends it; write "" for a " within it',
    "new-line character": "lines end in a bare carriage return; end them in a line feed",
}
