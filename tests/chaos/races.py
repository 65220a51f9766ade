"""python -m tests.chaos.races --store STORE [--processes 8] [--keys 1000] [--sender journaled|careless]

Many processes carry out the same operations at once, each in an order of its own; every one must be done once.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random

sys.path.insert(0, str(Path(__file__).parents[1]))  # as pytest has it

from arguments import at_least

from chaos.children import all_records, attempt_carelessly, recover, send_orders
from chaos.clock import Nights
from chaos.command import STORES, bank, database
from chaos.counting import Finding
from chaos.gateway import books
from chaos.host import engine_of
from chaos.orders import Book, Order
from chaos.points import Points
from chaos.running import forked
from engine.core import Engine
from engine.dispatcher import Dispatcher

Racer = Callable[[Engine, Sequence[Order], Book], None]


def main() -> int:
    """Run, print the table, and return 1 where a number is not what it must be."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos.races", description="Who is first?")
    parser.add_argument("--store", choices=STORES, default="sqlite")
    parser.add_argument("--processes", type=at_least(1), default=8)
    parser.add_argument("--keys", type=at_least(1), default=1000)
    parser.add_argument("--sender", choices=["journaled", "careless"], default="journaled")
    arguments = parser.parse_args()
    orders = [
        Order(number, "charge", {"amount": number, "currency": "usd", "order": f"order-{number}", "source": "tok_visa"})
        for number in range(1, arguments.keys + 1)
    ]
    logging.disable(logging.ERROR)  # what is in the way is meant to be
    racer = _look_and_send if arguments.sender == "careless" else send_orders
    with tempfile.TemporaryDirectory() as folder, database(arguments.store, Path(folder)) as url:
        nights, book, began = Nights(), Book(Path(folder) / "book"), time.monotonic()
        with bank(nights, share=0, seed=1) as port:
            engine = engine_of(url, port, Path(folder) / "host", nights, Points())
            statuses = _race(engine, orders, book, arguments.processes, racer)
            if arguments.sender == "journaled":
                statuses += _race(engine, orders, book, 1, partial(_come_back, nights=nights, port=port))
            found = _findings(engine, books(port)["effects"], orders, book, statuses)
    print(f"{arguments.processes} processes, {arguments.keys} keys, {arguments.store}, {arguments.sender}\n")
    print(*found, f"{'seconds':<58}{time.monotonic() - began:>8.0f}", sep="\n", flush=True)
    return 1 if any(finding.wrong for finding in found) else 0


def _race(engine: Engine, orders: Sequence[Order], book: Book, count: int, racer: Racer) -> list[int]:
    """Have `count` processes do all orders; they begin at once. Returns how each ended."""
    waits, starts = os.pipe()

    def live(number: int) -> Callable[[], None]:
        def run() -> None:
            os.close(starts)
            mine = list(orders)
            Random(number).shuffle(mine)
            os.read(waits, 1)
            racer(engine, mine, book)

        return run

    children = [forked(live(number)) for number in range(count)]
    os.close(starts)
    statuses = [os.waitpid(child, 0)[1] for child in children]
    os.close(waits)
    return statuses


def _come_back(engine: Engine, orders: Sequence[Order], book: Book, *, nights: Nights, port: int) -> None:
    """Who was told "it is being sent", or that the store was too busy, asks once more when all is done."""
    recover(engine, nights, port)
    send_orders(engine, orders, book)


def _look_and_send(engine: Engine, orders: Sequence[Order], book: Book) -> None:
    """The order of steps that loses the race: look whether it is done, and do it where it is not."""
    dispatcher = Dispatcher()
    for order in orders:
        if not engine.store.find("movement", where={"order": order.name}):
            book.write(order.number, *attempt_carelessly(engine, dispatcher, order))


def _findings(
    engine: Engine, effects: Sequence[dict[str, str]], orders: Sequence[Order], book: Book, statuses: Sequence[int]
) -> list[Finding]:
    times = Counter(effect["order"] for effect in effects)
    kept = Counter(record["order"] for record in all_records(engine, "movement"))
    told: dict[str, set[str | None]] = defaultdict(set)
    for line in book.news():
        if line.said == "succeeded":
            told[f"order-{line.order}"].add(line.id)
    return [
        Finding("keys that acted more than once", [one for one, count in times.items() if count > 1]),
        Finding("keys that never acted", [order.name for order in orders if order.name not in times]),
        Finding("keys without one record", [order.name for order in orders if kept[order.name] != 1]),
        Finding("keys of which nobody was told", [order.name for order in orders if order.name not in told]),
        Finding("keys of which callers were told two things", [name for name, ids in told.items() if len(ids) > 1]),
        Finding("processes that failed", [status for status in statuses if status]),
    ]


if __name__ == "__main__":
    sys.exit(main())
