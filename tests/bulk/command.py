"""The run, its deaths, and what must be true afterwards."""

from __future__ import annotations

import argparse
import csv
import os
import re
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from random import Random
from typing import Any

from arguments import at_least
from chaos.command import STORES, database
from chaos.counting import Finding
from hosts import SECRETS, write
from rates import limited, most_in_a_second

from engine.budgets import LATE
from engine.records import Record
from engine.store.sql import SqlStore

from .gateway import asked, gateway

ROOT = Path(__file__).parents[2]
FEW = 100  # rows of the run that says how much memory one needs at all
GROWTH = 20  # MB that one may need more for all rows
LOOK = 0.02  # seconds between two looks at the child
LATEST = 2.0  # seconds from its beginning to the death of a child whose moment has passed already

RUN = "from engine import calls; calls.LEASE = {lease}; from engine.cli import main; main()"
PAYMENT = """\
{"upsert": "sale",
 "where": {"gateway_id": {{ response.id }}},
 "set": {"amount": {{ response.amount }}, "state": "paid"}}
"""


def main() -> int:
    """Run, print the table, and return 1 where a number is not what it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.bulk", description="Kill a run; then count.")
    parser.add_argument("--rows", type=at_least(1), default=2000)
    parser.add_argument("--kills", type=at_least(0), default=6)
    parser.add_argument("--per-second", type=at_least(1), default=100)
    parser.add_argument(
        "--lease", type=at_least(1), default=60, help="seconds after which a dead process's calls are taken up"
    )
    parser.add_argument("--store", choices=STORES, default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, gateway() as url, database(given.store, Path(folder)) as store:
        return Killing(given, Path(folder) / "host", url, store).run()


class Killing:
    """One run, from its rows to the table."""

    def __init__(self, given: argparse.Namespace, root: Path, url: str, store: str) -> None:
        self._given, self._url, self._store, self._chance = given, url, store, Random(given.seed)
        rate = f"{{per_second: {given.per_second}, in_flight: 16}}"
        self._root = write(root, {**limited(url, rate), "response_mappers/shop/pay.json.j2": PAYMENT})
        self._kills = 0

    def run(self) -> int:
        """Run, count, print."""
        self._write_rows("few.csv", range(self._given.rows + 1, self._given.rows + FEW + 1))
        self._write_rows("rows.csv", range(1, self._given.rows + 1))
        least, _ = self._child("few.csv", None)
        began, most = time.monotonic(), 0
        for moment in sorted(self._chance.randrange(FEW, FEW + self._given.rows) for _ in range(self._given.kills)):
            most = max(most, self._child("rows.csv", moment)[0])
        peak, code = self._child("rows.csv", None)
        lasted = time.monotonic() - began
        return self._table([*self._findings(code), *self._limits(max(most, peak) - least)], lasted, max(most, peak))

    def _write_rows(self, name: str, amounts: Sequence[int]) -> None:
        with (self._root / name).open("w") as file:
            file.write("amount,note\n")
            file.writelines(f"{amount},row {amount}\n" for amount in amounts)

    def _child(self, rows: str, moment: int | None) -> tuple[int, int]:
        """Run `rows`, until the bank was called `moment` times; returns the most bytes that took, and the exit code."""
        command = [sys.executable, "-c", RUN.format(lease=self._given.lease), "run", "shop/pay", rows]
        environment = {**os.environ, **SECRETS, "PYTHONPATH": str(ROOT), "CALLSHEET_STORE": self._store}
        peak, dies = 0, time.monotonic() + self._chance.uniform(0, LATEST)
        with subprocess.Popen(command, cwd=self._root, env=environment, stdin=subprocess.DEVNULL) as child:
            while child.poll() is None:
                peak = max(peak, _peak(child.pid))
                if moment is not None and time.monotonic() > dies and asked(f"{self._url}/count") >= moment:
                    child.kill()
                    self._kills += 1
                    break
                time.sleep(LOOK)
        return peak, child.returncode

    def _findings(self, code: int) -> Iterator[Finding]:
        """Everything that must not be."""
        self._books = asked(f"{self._url}/books")
        wanted = set(range(1, self._given.rows + 1))
        times = Counter(amount for amount in self._books["amounts"] if amount in wanted)
        self._left: dict[str, float] = {}
        kept: Counter[int] = Counter()
        for call in _calls(self._store):
            self._left[call["key"]] = datetime.fromisoformat(call["attempts"][-1]["at"]).timestamp()
            kept[call["data"]["amount"]] += call["state"] == "succeeded"
        with (self._root / "rows.results.csv").open(newline="") as file:
            lines = Counter(int(one["line"]) - 1 for one in csv.DictReader(file) if one["outcome"] == "succeeded")
        yield Finding("rows carried out more than once", [one for one, count in times.items() if count > 1])
        yield Finding("rows never carried out", sorted(wanted - times.keys()))
        yield Finding("rows without one succeeded call", [one for one in wanted if kept[one] != 1])
        yield Finding("rows without one line in the results", [one for one in wanted if lines[one] != 1])
        yield Finding("keys reused with other bytes", [self._books["reused"]] * (self._books["reused"] > 0))
        yield Finding("runs that did not end well", [code] if code else [])

    def _limits(self, growth: int) -> Iterator[Finding]:
        """What must not be exceeded: the rate, as calls leave and as they arrive, and the memory."""
        per_second, left = self._given.per_second, list(self._left.values())
        arrivals, first = self._books["arrivals"], self._books["first"]
        on_its_way = max(first[key] - moment for key, moment in self._left.items())
        for what, times, late in (("leave", left, LATE), ("arrive", arrivals, LATE + on_its_way)):
            most, allowed = most_in_a_second(times), per_second * (1 + late) + 1
            claim = f"calls too many in one second, as they {what} ({most} of {allowed:.0f})"
            yield Finding(claim, [most] if most > allowed else [])
        megabytes = growth / 2**20
        yield Finding(f"megabytes too many for all rows ({megabytes:.1f} of {GROWTH})", [growth] * (megabytes > GROWTH))

    def _table(self, found: Sequence[Finding], lasted: float, peak: int) -> int:
        given = self._given
        print(
            f"\n{given.rows} rows, {self._kills} kills, {given.store}, {given.per_second} a second, seed {given.seed}\n"
        )
        print(*found, sep="\n")
        calls = len(self._books["arrivals"]) - FEW
        facts = {
            "calls at the bank": calls,
            "of them sent again by a later run": calls - len(self._books["amounts"]) + FEW,
            "most megabytes of a process": round(peak / 2**20),
            "seconds": round(lasted),
        }
        print("", *(f"{name:<58}{value:>8}" for name, value in facts.items()), sep="\n", flush=True)
        return 1 if any(finding.wrong for finding in found) or self._kills != given.kills else 0


def _calls(url: str) -> Iterator[Record]:
    """The journal, page by page."""
    store, after = SqlStore(url), None
    while page := store.find("call", order="id", limit=1000, after=after):
        yield from page
        after = page[-1].id
    store.close()


def _peak(pid: int) -> int:
    """The most bytes of memory that a process has had; 0 where it is gone."""
    try:
        found: Any = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text("ascii"), re.MULTILINE)
    except OSError:
        return 0
    return int(found[1]) << 10 if found else 0
