"""A host that calls and calls: a Flask app with the shipped files, which keeps its calls in SQLite.

A module of its own, so that its process loads nothing that no host would.
"""

from __future__ import annotations

from collections.abc import Callable
from os import sysconf
from pathlib import Path

from flask import Flask

from engine.seals import new_key
from engine.web import Callsheet

from .payment import DATA, NAME, SECRET


def host_calling(origin: str, root: str, *numbers: str) -> Callable[[], float]:
    """So many more calls every time; the megabytes that the process takes then."""
    settings = {
        "STRIPE_SECRET_KEY": SECRET,
        "CALLSHEET_SECRET_KEY": new_key(),
        "CALLSHEET_STORE": f"sqlite+pysqlite3:///{root}/store.sqlite3",
        "CALLSHEET_STRIPE_BASE_URL": f"{origin}/v1",
    }
    engine = Callsheet(Flask("host", root_path=root), worker=False, environment=settings).engine
    steps = map(int, numbers)

    def call() -> float:
        for _ in range(next(steps)):
            engine.send(NAME, DATA)
        return _resident()

    return call


def _resident() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * sysconf("SC_PAGE_SIZE") / 1e6
