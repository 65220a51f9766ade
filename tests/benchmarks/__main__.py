"""`python -m tests.benchmarks [--rounds N] [--types N] [--only NAME] [--json]`."""

from __future__ import annotations

import argparse
import functools
import json
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from .building import building
from .contests import Preparation, measured
from .mapping import mapping
from .paging import paging
from .sending import sending
from .starting import starting
from .storing import storing
from .table import as_dict, table
from .threads import threads
from .waiting import waiting
from .working import working

NAMES = ("starting", "building", "mapping", "sending", "threads", "storing", "working", "waiting", "paging")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the contests and print one table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description="What the engine costs.")
    parser.add_argument("--rounds", type=int, default=25, help="how often each contestant takes its turn")
    parser.add_argument("--only", choices=NAMES, action="append", help="one contest; may be given again")
    parser.add_argument("--types", type=int, default=600, help="the request types of the large host that is started")
    parser.add_argument("--waiting", type=int, default=100_000, help="the calls that wait where many do")
    parser.add_argument("--calls", type=int, default=20_000, help="the calls in the journal that the console shows")
    parser.add_argument("--json", action="store_true", help="print JSON, times in seconds")
    chosen = parser.parse_args(arguments)
    begin, backlog = functools.partial(starting, chosen.types), functools.partial(waiting, chosen.waiting)
    page = functools.partial(paging, chosen.calls)
    contests: dict[str, Preparation] = dict(
        zip(NAMES, (begin, building, mapping, sending, threads, storing, working, backlog, page), strict=True)
    )
    rows = []
    for name in chosen.only or NAMES:
        with contests[name]() as contest:
            rows += measured(contest, chosen.rounds)
    if chosen.json:
        print(json.dumps([as_dict(row) for row in rows], indent=2))
    else:
        print(f"Python {platform.python_version()}, {platform.system()}; medians of interleaved rounds")
        print(table(rows))


if __name__ == "__main__":
    main()
