"""A worker that is told to stop ends soon, whatever becomes of its store just then, and what it left is taken up after.

Each case once while nothing is under way, and once while a call is at the gateway whose answer then cannot be kept.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from commands import Gateway
from postgres import Server, running_server
from store_contract import until
from test_workers import CODE, Bank, engine_of, queue_all, working

from engine.core import Engine
from engine.queues.ending import IDLE

GRACE = 4  # seconds, so that nobody has to wait for half a minute
SLACK = 2  # seconds, for a process that has to be given a processor
HASTY = f"from engine.queues import ending; ending.GRACE = {GRACE}; {CODE}"

pytestmark = pytest.mark.chaos


@pytest.fixture
def shop(bare_shop: Path) -> Path:
    """Without a store yet."""
    return bare_shop


@contextmanager
def locked(shop: Path) -> Iterator[None]:
    """Somebody else writes to the file, and does not end."""
    with closing(sqlite3.connect(shop / "s", isolation_level=None, timeout=20)) as other:
        other.execute("BEGIN EXCLUSIVE")
        yield
        other.execute("ROLLBACK")


@contextmanager
def removed(shop: Path) -> Iterator[None]:
    """The file is not where it was."""
    (shop / "s").rename(shop / "elsewhere")
    yield
    (shop / "elsewhere").replace(shop / "s")


@contextmanager
def stopped(server: Server) -> Iterator[None]:
    """The server is not there."""
    server.stop()
    yield
    server.start()


def all_done(engine: Engine) -> bool:
    """Take up what is due; whether every call has ended well."""
    engine.run_due()
    return {call["state"] for call in engine.find("call")} == {"succeeded"}


def ends(
    shop: Path, gateway: Gateway, url: str, away: Callable[[], AbstractContextManager[None]], under_way: int
) -> None:
    """Tell a worker to stop while its store is away; afterwards what it left is taken up here."""
    bank, engine = Bank(gateway, 1.0), engine_of(shop, url, gateway)
    queue_all(engine, 1)
    with working(shop, url, gateway, "--concurrency", "1", code=HASTY) as worker:
        until(lambda: engine.find("call")[0]["state"] == "succeeded")
        for number in range(under_way):
            engine.send_later("shop/pay", {"amount": 5, "note": "again"}, operation=f"again-{number}")
            until(lambda: bank.under_way == 1)
        with away():
            time.sleep(1.5)  # whatever the worker does next, it waits for the store by now
            began = time.monotonic()
            worker.send_signal(signal.SIGTERM)
            worker.wait(GRACE + 20)
            seconds = time.monotonic() - began
    assert seconds < (GRACE if under_way else IDLE) + SLACK
    assert worker.returncode in ((0, 1) if under_way else (0,))
    until(lambda: all_done(engine))
    assert len(bank.effects) == 1 + under_way


@pytest.mark.parametrize("under_way", [0, 1])
@pytest.mark.parametrize("trouble", [locked, removed])
def test_a_file_that_is_away(
    shop: Path, gateway: Gateway, trouble: Callable[[Path], AbstractContextManager[None]], under_way: int
) -> None:
    ends(shop, gateway, f"sqlite:///{shop}/s", lambda: trouble(shop), under_way)


@pytest.mark.parametrize("under_way", [0, 1])
@pytest.mark.parametrize("trouble", [stopped, Server.frozen])
def test_a_server_that_is_away(
    shop: Path, gateway: Gateway, trouble: Callable[[Server], AbstractContextManager[None]], under_way: int
) -> None:
    with running_server() as server:
        ends(shop, gateway, server.url, lambda: trouble(server), under_way)


def test_a_second_word_ends_it_at_once(shop: Path, gateway: Gateway) -> None:
    """Whoever cannot wait for what is under way; the call is taken up by others, with the same key."""
    url = f"sqlite:///{shop}/s"
    bank, engine = Bank(gateway, 5.0), engine_of(shop, url, gateway)
    queue_all(engine, 1)
    with working(shop, url, gateway, "--concurrency", "1") as worker:
        until(lambda: bank.under_way == 1)
        worker.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            worker.wait(0.5)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(SLACK) == 1
    bank.seconds = 0.0
    until(lambda: all_done(engine))
    assert len(bank.effects) == 1
