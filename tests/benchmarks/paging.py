"""The console's pages over a journal of many calls: what an operator waits for, from the request to the whole page."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from flask import Flask
from flask.testing import FlaskClient

from engine import Engine
from engine.seals import new_key
from engine.store.sql import SqlStore
from engine.web import Callsheet

from .contests import Contest, Contestant, Row
from .filling import RARE, Answering, fill_sqlite, id_of
from .payment import NAME, SECRET

GOAL = 0.2  # seconds


@contextmanager
def paging(calls: int) -> Iterator[Contest]:
    """The contest, on SQLite with so many calls."""
    with TemporaryDirectory() as folder:
        client, pages = _console(Path(folder), calls)
        work = f"console with {calls:,} calls"
        rows = [Row(f"{work}: {name}", name, None, GOAL) for name in pages]
        yield Contest("paging", {name: Contestant(_asking(client, path), 3) for name, path in pages.items()}, rows)


def _asking(client: FlaskClient, path: str) -> Callable[[], object]:
    def ask() -> object:
        found = client.get(f"/callsheet/console{path}")
        assert found.status_code == 200, (path, found.status_code)
        return found.data

    return ask


def _console(folder: Path, number: int) -> tuple[FlaskClient, Mapping[str, str]]:
    """Somebody who is signed in, and the pages: what is in them → their address."""
    settings = {"STRIPE_SECRET_KEY": SECRET, "CALLSHEET_SECRET_KEY": new_key()}
    file = folder / "store.sqlite3"
    engine = Engine(folder, store=SqlStore(file), environment=settings, dispatcher=Answering())
    fill_sqlite(file, engine, number)
    app = Flask("benchmark", root_path=str(folder))
    Callsheet(app, engine=engine, worker=False, login=lambda: ("ann", "operate"))
    middle, rare = id_of(number // 2), id_of(RARE)
    return app.test_client(), {
        "the newest": "/calls",
        "a page in the middle": f"/calls?after={middle}",
        "of a state that nearly all have": f"/calls?state=succeeded&after={middle}",
        "of a state that few have": "/calls?state=unmapped",
        "of a type": f"/calls?type={NAME}&after={middle}",
        "of a type and a state": f"/calls?type={NAME}&state=declined",
        "of a type and a state that few have": f"/calls?type={NAME}&state=unknown",
        "of a type and a state that have none in common": "/calls?type=stripe/create_refund&state=declined",
        "of a type and a state, far on": f"/calls?type={NAME}&state=declined&before={middle}",
        "a search that finds nothing": "/search?q=nothing-like-it",
        "one call": f"/calls/{rare}",
        "one payment": f"/records/payment/{middle}",
        "payments by a state that nearly all have": "/records/payment?by=state&value=paid",
        "the first page": "/",
        "the badge": "/badge",
        "the charts of the newest 5,000": "/charts",
    }
