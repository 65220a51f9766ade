"""Due work: what is claimed when, by whom, and that nothing is claimed that cannot be begun at once."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hosts import SECRETS, Host, OnlyHere, host, write
from test_inbox import receive

from engine.core import Engine
from engine.errors import DataError, UnknownNameError
from engine.store.sql import SqlStore


def queued(shop: Host, *amounts: int, name: str = "shop/pay") -> list[str]:
    """The ids of calls that wait for a worker."""
    return [shop.engine.send_later(name, {"amount": amount}).id for amount in amounts]


def test_no_call_is_claimed_before_its_turn(tmp_path: Path) -> None:
    """A worker that dies in the first of many calls leaves the others as if nobody had touched them."""
    shop = host(tmp_path)
    seen: list[list[str]] = []
    shop.gateway.before = lambda _: seen.append([call["state"] for call in shop.calls()])
    queued(shop, 1, 2, 3, name="shop/pay_once")
    assert shop.engine.run_due() == 3
    assert seen == [
        ["sending", "prepared", "prepared"],
        ["succeeded", "sending", "prepared"],
        ["succeeded", "succeeded", "sending"],
    ]


def test_no_open_call_is_claimed_before_its_turn(tmp_path: Path) -> None:
    """Nor does a claim of calls that were left open grow old behind the one that is taken up first."""
    shop = host(tmp_path)
    queued(shop, 1, 2)
    shop.engine.take_due(2)  # and the process dies
    shop.hours.pass_by(61)
    leases: list[set[str]] = []
    shop.gateway.before = lambda _: leases.append({call["lease"] for call in shop.calls() if call["lease"]})
    assert shop.engine.run_due() == 2
    assert leases == [{"2026-01-01T00:01:00.000Z", "2026-01-01T00:02:01.000Z"}, {"2026-01-01T00:02:01.000Z"}]


def test_a_limit_is_kept(tmp_path: Path) -> None:
    """Of each kind no more is done than was asked for."""
    shop = host(tmp_path)
    queued(shop, 1, 2, 3)
    assert shop.engine.run_due(2) == 2
    assert [call["state"] for call in shop.calls()] == ["succeeded", "succeeded", "prepared"]


@pytest.mark.parametrize("limit", [-1, 2**63, None, True, 1.5, "2"])
def test_what_is_no_limit(tmp_path: Path, limit: Any) -> None:
    """It is said, and nothing is begun; of 0 nothing is begun either."""
    shop = host(tmp_path)
    queued(shop, 1)
    said = f"due work was not begun, its data does not fit: /limit: {limit!r} is no number of records; give a whole"
    for do in (shop.engine.run_due, shop.engine.take_due):
        with pytest.raises(DataError, match=re.escape(said)):
            do(limit)
        assert do(0) in (0, [])
    assert [call["state"] for call in shop.calls()] == ["prepared"]


def test_every_kind_has_its_turn(tmp_path: Path) -> None:
    """However many calls wait, an event is not kept waiting by them."""
    shop = host(tmp_path)
    receive(shop)
    shop.hours.pass_by(11)
    queued(shop, *range(1, 9))
    for task in [task for _ in range(4) for task in shop.engine.take_due(1)]:
        task()
    assert shop.find("event")[0]["state"] == "processed"
    assert sum(call["state"] == "succeeded" for call in shop.calls()) == 3
    assert len(shop.engine.take_due(3)) == 3


@pytest.fixture(params=["memory", "sqlite_store_url", "postgres_store_url"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Host:
    """A host on each kind of store."""
    made = host(tmp_path)
    if request.param != "memory":
        store: Any = SqlStore(request.getfixturevalue(request.param))
        made.engine = Engine(
            tmp_path,
            store=store,
            environment=SECRETS,
            dispatcher=made.gateway,
            clock=made.hours.clock(),
            files=OnlyHere(tmp_path),
        )
        made.store = store
    return made


def test_one_row_alone(shop: Host) -> None:
    """What is due of one row is done once; whoever asks again, or too early, finds nothing to do."""
    first, second, third = queued(shop, 1, 2, 3)
    assert shop.engine.run_row("call", second)
    assert not shop.engine.run_row("call", second)
    assert [call["state"] for call in shop.calls()] == ["prepared", "succeeded", "prepared"]
    shop.engine.take_due(1)  # the first, by a process that dies
    assert not shop.engine.run_row("call", first)
    shop.hours.pass_by(61)
    assert shop.engine.run_row("call", first)
    shop.engine.recovery.cancel(shop.calls()[2], "a person", "not wanted")
    assert not shop.engine.run_row("call", third)
    assert not shop.engine.run_row("call", "nobody")
    with pytest.raises(UnknownNameError, match="no kind of due work 'cal'"):
        shop.engine.run_row("cal", first)
    assert len(shop.gateway.requests) == 2


def test_one_event_alone(shop: Host) -> None:
    """The same of an event: it waits for its record, and is taken when its time has come."""
    event = receive(shop)
    assert event["state"] == "failed"
    shop.engine.send("shop/pay", {"amount": 5})
    assert not shop.engine.run_row("event", event.id)
    shop.hours.pass_by(11)
    assert shop.engine.run_row("event", event.id)
    assert not shop.engine.run_row("event", event.id)
    assert shop.find("event")[0]["state"] == "processed"


def test_a_reaction_is_left_to_a_process_that_listens(tmp_path: Path) -> None:
    """A process without the host's functions takes no reaction, and one without this function gives it back."""
    shop = host(tmp_path)
    seen: list[int] = []
    shop.engine.on("sale")(lambda sale: seen.append(sale["amount"]))
    shop.engine.wake = lambda: None
    shop.engine.send("shop/pay", {"amount": 5})
    (row,) = shop.find("reaction")
    deaf, other = another(shop, tmp_path), another(shop, tmp_path, hears="refund")
    assert not deaf.run_due()
    assert not deaf.run_row("reaction", row.id)
    assert other.run_due() == 1
    (row,) = shop.find("reaction")
    assert (row["tries"], row["message"]) == (1, "LookupError: no function of this process listens to sale")
    shop.hours.pass_by(2)
    assert shop.engine.run_row("reaction", row.id)
    assert (seen, shop.find("reaction")) == ([5], [])


def another(shop: Host, root: Path, *, hears: str = "") -> Engine:
    """A process of its own on the same store."""
    write(root, {"response_mappers/records/refund.yml": "summary: Money back.\nproperties: {}\n"})
    engine = Engine(root, store=shop.store, environment=SECRETS, clock=shop.hours.clock(), files=OnlyHere(root))
    if hears:
        engine.on(hears)(lambda _: None)
    return engine
