"""The benchmark runs and prints every row; how long anything takes is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SMALL = ["--rounds=1", "--types=20", "--most-types=60", "--waiting=50", "--calls=2000", "--deliveries=40"]
SMALL += ["--stored=3000", "--more-calls=40", "--queued=64"]


def _benchmarks(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.benchmarks", *SMALL, *arguments]
    return subprocess.run(command, cwd=HERE.parent, check=True, capture_output=True, text=True, timeout=280).stdout


def test_a_table_has_a_mark_for_every_goal() -> None:
    lines = _benchmarks("--only", "building", "--only", "mapping").splitlines()
    assert [line.split("  ")[0] for line in lines[3:]] == [
        "build a request: check, render, encode",
        "the same with the extra `fast`, which changes nothing of it",
        "map an answer to validated records",
    ]
    assert sum("≤" in line for line in lines) == sum("✓" in line or "✗" in line for line in lines) == 3


ROWS = {"starting": 10, "building": 2, "mapping": 1, "sending": 14, "threads": 6, "receiving": 8}
ROWS |= {"storing": 8, "growing": 4, "remembering": 2, "working": 6, "waiting": 3, "paging": 14}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "number"), ROWS.items())
def test_one_contest_alone_as_json(name: str, number: int) -> None:
    rows = json.loads(_benchmarks("--only", name, "--as", "json"))
    assert len(rows) == number
    for row in rows:
        assert row["ours"] > 0 or row["unit"] == "MB"  # memory may be given back
        assert row["ratio"] is None or row["ratio"] > 0
        assert row["reached"] in {True, False, None}


def test_help_says_how() -> None:
    assert "--rounds" in _benchmarks("--help")
