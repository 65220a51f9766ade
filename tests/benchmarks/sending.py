"""One full send (check, render, journal, send, judge, map, keep) beside clients that only send.

All of them reuse their connection and call the same server. What no engine can be below is beside it: the same written
by hand, and what its waits alone take.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType

import httpx
import stripe

from engine import Engine
from engine.dispatcher import Dispatcher
from engine.store import Store
from engine.store.memory import MemoryStore
from engine.store.opening import open_store
from engine.store.sql import SqlStore
from engine.store.sqlite import driver

from .airbyte import airbyte_sending
from .apart import apart
from .by_hand import Dicts, Sqlite, by_hand_sending, opened, over_httpx, over_line
from .contests import UNCHANGED, Contest, Contestant, Row
from .demanded import OverRows, Rows, demanded_sending, rows_alone
from .gateway import gateway
from .payment import CALL_ID, DATA, KEY, NAME, SECRET, flat, parameters, request_by_hand

HTTPX, STRIPE = "bare httpx.Client", "stripe-python's bare call"
MEMORY, DURABLE, FAST = "engine, memory", "engine, SQLite", "engine, pysqlite3"
AIRBYTE = "airbyte-cdk's requester"
HAND, HAND_DURABLE, HAND_FAST = "by hand, memory", "by hand, SQLite", "by hand, pysqlite3"
LEAST, LEAST_FAST = "by hand, our connection, memory", "by hand, our connection, pysqlite3"
DEMANDED = "by hand, as demanded, pysqlite3"
COMMITS, FAST_COMMITS = "waits alone, sqlite3", "waits alone, pysqlite3"
EXCHANGE, FAST_ROWS = "exchange alone", "rows alone, pysqlite3"
OVER_ROWS = "engine, memory over rows alone, pysqlite3"

IN_MEMORY, IN_SQLITE = "send, kept in memory", "send, durable in SQLite (two commits)"
WITH_FAST = "send, durable, with the extra `fast`"
BY_HAND, BY_HAND_LEAST = "the same written by hand", "the same written by hand, over our own connection"
AS_DEMANDED = "that with all that is demanded"
WAITS = "its exchange and its two commits alone"
ITS_EXCHANGE, ITS_ROWS = "its exchange alone", "its exchange and its rows alone, by the bare driver"
KEPT_BESIDE = "the send in memory, and its rows alone, by the bare driver"

ROWS = [
    Row(IN_MEMORY, MEMORY, HTTPX, 1.7),
    Row(UNCHANGED, MEMORY, HTTPX, 1.25),
    Row(BY_HAND, HAND, HTTPX),
    Row(IN_MEMORY, MEMORY, STRIPE, 0.60),
    Row(UNCHANGED, MEMORY, STRIPE, 0.45),
    Row(BY_HAND, HAND, STRIPE),
    Row(BY_HAND_LEAST, LEAST, STRIPE),
    Row(ITS_EXCHANGE, EXCHANGE, STRIPE),
    Row(IN_SQLITE, DURABLE, STRIPE, 1.0),
    Row(BY_HAND, HAND_DURABLE, STRIPE),
    Row(WAITS, COMMITS, STRIPE),
    Row(WITH_FAST, FAST, STRIPE, 0.80),
    Row(BY_HAND, HAND_FAST, STRIPE),
    Row(BY_HAND_LEAST, LEAST_FAST, STRIPE),
    Row(AS_DEMANDED, DEMANDED, STRIPE),
    Row(KEPT_BESIDE, OVER_ROWS, STRIPE),
    Row(ITS_ROWS, FAST_ROWS, STRIPE),
    Row(WAITS, FAST_COMMITS, STRIPE),
    Row(WITH_FAST, FAST, AIRBYTE, 0.65),
    Row(BY_HAND, HAND_FAST, AIRBYTE),
    Row(BY_HAND_LEAST, LEAST_FAST, AIRBYTE),
    Row(AS_DEMANDED, DEMANDED, AIRBYTE),
    Row(KEPT_BESIDE, OVER_ROWS, AIRBYTE),
]


@contextmanager
def sending() -> Iterator[Contest]:
    """The contest, and the server it needs."""
    with (
        gateway() as origin,
        TemporaryDirectory() as folder,
        httpx.Client(base_url=f"{origin}/v1") as client,
        apart(airbyte_sending, origin, stripe.api_version) as declared,
    ):
        contestants = {
            MEMORY: engine_sending(origin, folder, MemoryStore()),
            DURABLE: engine_sending(origin, folder, SqlStore(f"sqlite:///{folder}/engine.sqlite3")),
            FAST: engine_sending(origin, folder, SqlStore(f"sqlite+pysqlite3:///{folder}/fast.sqlite3")),
            HAND: by_hand_sending(origin, over_httpx(client), Dicts()),
            HAND_DURABLE: by_hand_sending(origin, over_httpx(client), Sqlite(Path(folder) / "hand.sqlite3", "")),
            HAND_FAST: by_hand_sending(origin, over_httpx(client), Sqlite(Path(folder) / "fast-hand", "pysqlite3")),
            LEAST: by_hand_sending(origin, over_line(), Dicts()),
            LEAST_FAST: by_hand_sending(origin, over_line(), Sqlite(Path(folder) / "least-hand", "pysqlite3")),
            DEMANDED: demanded_sending(origin, Path(folder) / "demanded", Dispatcher()),
            HTTPX: httpx_sending(client),
            STRIPE: _stripe(origin),
            AIRBYTE: declared,
            COMMITS: _waits(origin, Path(folder) / "bare.sqlite3", driver("")),
            EXCHANGE: _exchange(origin),
            FAST_ROWS: rows_alone(origin, Rows(origin, Path(folder) / "rows", Dispatcher())),
            OVER_ROWS: engine_sending(origin, folder, OverRows(Rows(origin, Path(folder) / "over", Dispatcher()))),
            FAST_COMMITS: _waits(origin, Path(folder) / "bare-fast.sqlite3", driver("pysqlite3")),
        }
        yield Contest("sending", {name: Contestant(run, 40) for name, run in contestants.items()}, ROWS)


def engine_sending(origin: str, root: str, store: Store) -> Callable[[], object]:
    """One full send of an engine."""
    settings = {"STRIPE_SECRET_KEY": SECRET}
    engine = Engine(root, store=store, base_urls={"stripe": f"{origin}/v1"}, environment=settings)

    def send() -> object:
        result = engine.send(NAME, DATA)
        assert result.records[0]["state"] == "paid"
        return result

    return send


def host_sending(origin: str, root: str, store: str) -> Callable[[], object]:
    """One full send of the host in `root`, into the store that a setting names."""
    return engine_sending(origin, root, open_store(store, Path(root)))


def httpx_sending(client: httpx.Client) -> Callable[[], object]:
    """One call as httpx makes it."""
    headers = {"Authorization": f"Bearer {SECRET}", "Stripe-Version": stripe.api_version, "Idempotency-Key": KEY}
    data = flat(parameters(CALL_ID))

    def send() -> object:
        response = client.post("/charges", data=data, headers=headers)
        response.raise_for_status()
        charge = response.json()
        assert charge["status"] == "succeeded"
        return charge

    return send


def _stripe(origin: str) -> Callable[[], object]:
    client = stripe.StripeClient(SECRET, base_addresses={"api": origin})

    def send() -> object:
        charge = client.v1.charges.create(parameters(CALL_ID), {"idempotency_key": KEY})  # type: ignore[arg-type]
        assert charge.status == "succeeded"
        return charge

    return send


def _exchange(origin: str) -> Callable[[], object]:
    """One request and its answer over our own connection, the one made before and the other not read."""
    return partial(over_line(), request_by_hand(DATA, f"{origin}/v1/charges", stripe.api_version))


def _waits(origin: str, path: Path, module: ModuleType) -> Callable[[], object]:
    """An exchange between two durable commits of one row of 2 KB each, in the journal mode that the engine uses."""
    connection, post = opened(path, module), over_line()
    connection.execute("CREATE TABLE kept (number INTEGER PRIMARY KEY, text TEXT)")
    text, request = "x" * 2000, request_by_hand(DATA, f"{origin}/v1/charges", stripe.api_version)

    def commit() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO kept (text) VALUES (?)", (text,))
        connection.execute("COMMIT")

    def wait() -> None:
        commit()
        post(request)
        commit()

    return wait
