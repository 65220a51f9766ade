"""The benchmark runs and prints every row; how long anything takes is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def _benchmarks(*arguments: str) -> str:
    small = ("--rounds", "1", "--types", "20", "--waiting", "50", "--calls", "2000")
    command = [sys.executable, "-m", "tests.benchmarks", *small, *arguments]
    return subprocess.run(command, cwd=HERE.parent, check=True, capture_output=True, text=True, timeout=110).stdout


def test_a_table_has_a_mark_for_every_goal() -> None:
    lines = _benchmarks("--only", "building", "--only", "mapping").splitlines()
    assert [line.split("  ")[0] for line in lines[2:]] == [
        "build a request: check, render, encode",
        "map an answer to validated records",
    ]
    assert sum("≤" in line for line in lines) == sum("✓" in line or "✗" in line for line in lines) == 2


ROWS = {"starting": 10, "building": 1, "mapping": 1, "sending": 7, "threads": 3, "storing": 6}
ROWS |= {"working": 4, "waiting": 3, "paging": 14}


@pytest.mark.parametrize(("name", "number"), ROWS.items())
def test_one_contest_alone_as_json(name: str, number: int) -> None:
    rows = json.loads(_benchmarks("--only", name, "--json"))
    assert len(rows) == number
    for row in rows:
        assert row["seconds"] > 0
        assert row["ratio"] is None or row["ratio"] > 0
        assert row["reached"] in {True, False, None}


def test_help_says_how() -> None:
    assert "--rounds" in _benchmarks("--help")
