"""`python -m tests.benchmarks [--rounds N] [--only NAME] [--as text|markdown|json]`, and sizes of what is measured."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from .building import building
from .contests import Preparation, measured
from .growing import growing
from .mapping import mapping
from .paging import paging
from .receiving import receiving
from .remembering import remembering
from .sending import sending
from .starting import starting
from .storing import storing
from .table import as_dict, markdown, table
from .threads import threads
from .waiting import waiting
from .working import working

SIZES = {
    "types": (600, "the request types of the large host that is started"),
    "most-types": (5_000, "the request types of the largest host"),
    "deliveries": (400, "the events of a batch that is delivered"),
    "queued": (320, "the calls that wait for each worker"),
    "waiting": (100_000, "the calls that wait where many do"),
    "stored": (100_000, "the calls and records that are kept where many are; the goal is meant for 1,000,000"),
    "more-calls": (100_000, "the calls after which memory is looked at again"),
    "calls": (20_000, "the calls in the journal that the console shows"),
}


def contests(size: argparse.Namespace) -> dict[str, Preparation]:
    """By name, in the order in which they run."""
    return {
        "starting": partial(starting, size.types, size.most_types),
        "building": building,
        "mapping": mapping,
        "sending": sending,
        "threads": threads,
        "receiving": partial(receiving, size.deliveries),
        "storing": storing,
        "growing": partial(growing, size.types, size.most_types, size.stored),
        "remembering": partial(remembering, size.more_calls),
        "working": partial(working, size.queued),
        "waiting": partial(waiting, size.waiting),
        "paging": partial(paging, size.calls),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the contests and print one table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="What the engine costs.")
    parser.add_argument("--rounds", type=int, default=25, help="how often each contestant takes its turn")
    parser.add_argument("--only", action="append", metavar="NAME", help="one contest; may be given again")
    parser.add_argument("--as", dest="form", choices=("text", "markdown", "json"), default="text")
    for name, (usual, said) in SIZES.items():
        parser.add_argument(f"--{name}", type=int, default=usual, help=f"{said} ({usual:,})")
    chosen = parser.parse_args(arguments)
    known = contests(chosen)
    if unknown := set(chosen.only or ()) - set(known):
        parser.error(f"there is no {', '.join(unknown)}; the contests are {', '.join(known)}")
    rows = []
    for name in chosen.only or known:
        with known[name]() as contest:
            rows += measured(contest, chosen.rounds)
    if chosen.form == "json":
        print(json.dumps([as_dict(row) for row in rows], indent=2))
        return
    machine = f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} processors"
    print(f"{machine}; medians of interleaved rounds\n")
    print(table(rows) if chosen.form == "text" else markdown(rows))


if __name__ == "__main__":
    main()
