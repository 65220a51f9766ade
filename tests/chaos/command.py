"""One run, from the command line to the table."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from signal import SIGKILL

from arguments import at_least
from postgres import Databases, running_server

from engine.store.sql import SqlStore

from .children import send_carelessly, send_orders
from .clock import Nights
from .counting import circumstances, findings, history
from .gateway import BANKS, Door, books, by_seed
from .host import engine_of
from .orders import Book, Order, new_order
from .points import Points
from .running import WORKERS, Chaos, forked

STORES = ("sqlite", "sqlite+pysqlite3", "postgresql")
SHARE = 0.3  # of the exchanges at the bank are broken


def main() -> int:
    """Run, print the table, and return 1 where a number is not what it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Kill and freeze; then count.")
    parser.add_argument("--kills", type=at_least(0), default=250)
    parser.add_argument("--store", choices=STORES, default="sqlite")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--bank", choices=BANKS, default="replaying")
    parser.add_argument("--sender", choices=["journaled", "careless"], default="journaled")
    arguments = parser.parse_args()
    logging.disable(logging.ERROR)  # what goes wrong is meant to
    with tempfile.TemporaryDirectory() as folder, database(arguments.store, Path(folder)) as url:
        return _run(arguments, url, Path(folder))


def _run(arguments: argparse.Namespace, url: str, folder: Path) -> int:
    began, nights, points = time.monotonic(), Nights(), Points()
    careless = arguments.sender == "careless"
    with bank(nights, share=SHARE, seed=arguments.seed, kind=arguments.bank) as port:
        chaos = Chaos(
            engine_of(url, port, folder / "host", nights, points),
            points,
            nights,
            Book(folder / "book"),
            port,
            seed=arguments.seed,
            sender=send_carelessly if careless else send_orders,
            make=_plain_order if careless else new_order,
            workers=0 if careless else WORKERS,
        )
        chaos.run(arguments.kills)
        killed = time.monotonic()
        if not careless:
            chaos.finish()
        engine = engine_of(url, port, folder / "host", nights, points)
        found = findings(engine, books(port), chaos.tally)
        evidence = history(engine, books(port), found)
        times = [("seconds of killing", round(killed - began)), ("and of recovery", round(time.monotonic() - killed))]
        lines = [*circumstances(engine, books(port), chaos.tally), *times]
    who = f"{arguments.sender} sender, {arguments.bank} bank"
    print(f"\n{arguments.kills} kills, {arguments.store}, {who}, seed {arguments.seed}\n")
    print(*found, sep="\n")
    for line in evidence:
        print("   ", line)
    print("", *(f"{name:<58}{value!s:>8}" for name, value in lines), sep="\n", flush=True)
    return 1 if any(finding.wrong for finding in found) else 0


def _plain_order(number: int, chance: Random, _: list[str]) -> Order:
    """An order that even a careless sender understands."""
    data = {"amount": number + 100, "currency": chance.choice(["usd", "eur"]), "order": f"order-{number}"}
    return Order(number, "charge", {**data, "source": "tok_visa"})


@contextmanager
def database(store: str, folder: Path) -> Iterator[str]:
    """The URL of an empty database with its tables. PostgreSQL is the server that CALLSHEET_TEST_POSTGRES names, or
    one that runs for this alone."""
    if store.startswith("sqlite"):
        yield _with_tables(f"{store}:///{folder / 'store.sqlite3'}")
    elif given := os.environ.get("CALLSHEET_TEST_POSTGRES"):
        databases = Databases(given)
        yield _with_tables(databases.new())
        databases.drop_all()
    else:
        with running_server() as server:
            yield _with_tables(Databases(server.url).new())


def _with_tables(url: str) -> str:
    store = SqlStore(url)
    store.upgrade()
    store.close()
    return url


@contextmanager
def bank(nights: Nights, *, share: float, seed: int, kind: str = "replaying") -> Iterator[int]:
    """The port of a bank of that kind in a process of its own, which ends with the `with`."""
    told, tells = os.pipe()

    def live() -> None:
        door = Door(BANKS[kind](nights.seconds), by_seed(seed, share), seed=seed)
        asyncio.run(door.serve(lambda port: os.write(tells, b"%d\n" % port)))

    pid = forked(live)
    os.close(tells)
    try:
        with os.fdopen(told) as answer:
            yield int(answer.readline())
    finally:
        os.kill(pid, SIGKILL)
        os.waitpid(pid, 0)
