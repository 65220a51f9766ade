"""`python -m tests.benchmarks [--rounds N] [--only NAME | --profile] [--as FORM]`, and sizes of what is measured."""

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

from arguments import at_least

from .building import building
from .contests import Measured, Preparation, measured
from .growing import growing
from .mapping import mapping
from .paging import paging
from .profile import Profiles, profiles
from .receiving import receiving
from .remembering import remembering
from .sending import sending
from .starting import starting
from .storing import storing
from .table import Table, as_dict, breakdown, comparison, parts_as_dicts
from .threads import threads
from .waiting import waiting
from .working import working

_MACHINE = f"Python {platform.python_version()}, {platform.system()}, {os.cpu_count()} processors"
_FORMS = {"text": Table.text, "markdown": Table.markdown}
SIZES = {
    "types": (600, "the request types of the large host that is started"),
    "most-types": (5_000, "the request types of the largest host"),
    "deliveries": (400, "the events of a batch that is delivered"),
    "queued": (320, "the calls that wait for each worker"),
    "waiting": (100_000, "the calls that wait where many do"),
    "stored": (100_000, "the calls and records kept where many are; the goal is meant for 1,000,000, which take 10 GB"),
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
    parser.add_argument("--rounds", type=at_least(1), default=25, help="how often each contestant takes its turn")
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--only", action="append", metavar="NAME", help="one contest; may be given again")
    which.add_argument("--profile", action="store_true", help="of what a send and a webhook are made, and no contest")
    parser.add_argument("--as", dest="form", choices=(*_FORMS, "json"), default="text")
    for name, (usual, said) in SIZES.items():
        parser.add_argument(f"--{name}", type=at_least(1), default=usual, help=f"{said} ({usual:,})")
    chosen = parser.parse_args(arguments)
    known = contests(chosen)
    if unknown := set(chosen.only or ()) - set(known):
        parser.error(f"there is no {', '.join(unknown)}; the contests are {', '.join(known)}")
    if chosen.profile:
        _print_profiles(profiles(chosen.rounds), chosen.form)
    else:
        rows = []
        for name in chosen.only or known:
            with known[name]() as contest:
                rows += measured(contest, chosen.rounds)
        _print_rows(rows, chosen.form)


def _print_rows(rows: list[Measured], form: str) -> None:
    if form == "json":
        print(json.dumps([as_dict(row) for row in rows], indent=2))
    else:
        print(f"{_MACHINE}; medians of interleaved rounds\n\n{_FORMS[form](comparison(rows))}")


def _print_profiles(found: Profiles, form: str) -> None:
    if form == "json":
        print(json.dumps(parts_as_dicts(found), indent=2))
    else:
        tables = [_FORMS[form](breakdown(work, profiles)) for work, profiles in found.items()]
        print("\n\n".join([f"{_MACHINE}; own times, means of the middle half of the calls", *tables]))


if __name__ == "__main__":
    main()
