"""A full disk loses nothing and doubles nothing, and when there is room again work goes on by itself."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from disks import HERE, Disk, disk, on_its_own_disk
from flask import Flask
from hosts import SECRETS, SHOP, Hours, OnlyHere, Told, ok, write

from engine.calls import LEASE
from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Answer
from engine.errors import StoreError, UnknownOutcome
from engine.queues.embedded import Worker
from engine.records import Record
from engine.settling import PAUSES
from engine.signatures import scheme_of, sign
from engine.store.sql import SqlStore
from engine.web import Callsheet

LARGE = "x" * 900_000  # more than any store here has room for in what it has
FILES = {
    **SHOP,
    "request_types/shop/pay.yml": SHOP["request_types/shop/pay.yml"] + "request_limit: 1000000\n",
    "webhook_processors/shop/payment.noted.json.j2": """\
{"upsert": "sale",
 "where": {"gateway_id": {{ event.payment }}},
 "set": {"amount": 5, "note": {{ event.note }}, "state": "paid"}}
""",
}


@dataclass
class Shop:
    """A host whose store is on a disk that may be full."""

    engine: Engine
    gateway: Told
    hours: Hours
    disk: Disk

    def calls(self) -> list[Record]:
        return self.engine.find("call", order="id")

    def sales(self) -> list[str]:
        return [record["gateway_id"] for record in self.engine.find("sale", order="id")]

    def work(self, times: int = 1) -> None:
        """What a worker does in so many minutes: it outlives a store that fails."""
        for _ in range(times):
            self.hours.pass_by(LEASE + 1)
            with suppress(StoreError):
                while self.engine.run_due():
                    pass


Open = Callable[..., Shop]


@pytest.fixture(params=["limited", "paged"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Opens a shop whose gateway gives `answers`, and gives the disk its room back in the end."""
    (tmp_path / "store").mkdir()
    place = disk(request.param, tmp_path / "store")
    stores: list[SqlStore] = []

    def opened(*answers: Answer, pause: Callable[[float], None] | None = None) -> Shop:
        store, gateway, hours = SqlStore(place.folder / "shop.sqlite3"), Told(*answers), Hours()
        clock = hours.clock()
        folder = write(tmp_path / "files", FILES)
        engine = Engine(
            folder,
            store=store,
            environment={**SECRETS, "CALLSHEET_SECRET_KEY": "k" * 32},
            dispatcher=gateway,
            clock=Clock(clock.now, clock.new_id, pause or clock.sleep),
            files=OnlyHere(folder),
        )
        stores.append(store)
        # All tables are there, and so is all that is written once.
        engine.send("shop/pay", {"amount": 1})
        engine.run_due()
        place.hold(store)
        gateway.requests.clear()
        return Shop(engine, gateway, hours, place)

    yield opened
    place.free()
    for store in stores:
        store.close()


def test_what_cannot_be_written_down_is_not_sent(shop: Open) -> None:
    """The first commit fails: the error says that nothing was sent, and the same operation may be tried again."""
    open_shop = shop()
    open_shop.disk.fill()
    order = {"amount": 5, "note": LARGE}
    for _ in range(3):
        with pytest.raises(
            StoreError, match=r"^shop/pay was not sent, because it could not be written down: "
        ) as caught:
            open_shop.engine.send("shop/pay", order, operation="order-17")
        assert not caught.value.in_doubt
    with pytest.raises(StoreError):
        open_shop.engine.send_later("shop/pay", order, operation="order-17")
    open_shop.work(2)
    assert open_shop.gateway.requests == []
    assert len(open_shop.calls()) == 1
    open_shop.disk.free()
    open_shop.engine.send("shop/pay", order, operation="order-17")
    open_shop.engine.send("shop/pay", order, operation="order-17")
    assert len(open_shop.gateway.requests) == 1


def test_what_was_answered_is_recorded_when_there_is_room(shop: Open) -> None:
    """The second commit fails: the call stays open, and is settled by its own key, with one effect in all."""
    open_shop = shop(ok(), ok({"id": "p2", "amount": 5, "more": LARGE}))
    open_shop.gateway.before = lambda _: open_shop.disk.fill()
    with pytest.raises(UnknownOutcome, match=r"the answer could not be kept: .*; the call stays open in the journal"):
        open_shop.engine.send("shop/pay", {"amount": 5})
    assert open_shop.hours.slept == list(PAUSES)
    open_shop.work(3)
    assert open_shop.calls()[-1]["state"] == "sending"
    assert "p2" not in open_shop.sales()
    open_shop.gateway.before = lambda _: None
    open_shop.disk.free()
    open_shop.work()
    assert open_shop.calls()[-1]["state"] == "succeeded"
    assert open_shop.sales().count("p2") == 1
    assert len(set(open_shop.gateway.requests)) == 1  # however often: the same bytes, the same key


def test_an_answer_to_what_is_sent_once_is_waited_with(shop: Open) -> None:
    """At most once: room that comes back soon keeps the answer, and no person is needed."""
    open_shop: Shop = shop(ok(), ok({"id": "p2", "amount": 5, "more": LARGE}), pause=lambda _: open_shop.disk.free())
    open_shop.gateway.before = lambda _: open_shop.disk.fill()
    result = open_shop.engine.send("shop/pay_once", {"amount": 5})
    assert [record["gateway_id"] for record in result.records] == ["p2"]
    assert len(open_shop.gateway.requests) == 1


def test_what_is_sent_once_is_never_sent_again(shop: Open) -> None:
    """At most once, and no room for long: the call ends up with a person, and what they say is kept."""
    open_shop = shop(ok(), ok({"id": "p2", "amount": 5, "more": LARGE}))
    open_shop.gateway.before = lambda _: open_shop.disk.fill()
    with pytest.raises(UnknownOutcome):
        open_shop.engine.send("shop/pay_once", {"amount": 5})
    open_shop.work(2)
    open_shop.disk.free()
    open_shop.work(2)
    call = open_shop.calls()[-1]
    assert (call["state"], call["due"]) == ("unknown", None)
    assert len(open_shop.gateway.requests) == 1
    open_shop.engine.recovery.resolve(call, "succeeded", "ada", "the bank's own page shows it")
    assert open_shop.calls()[-1]["state"] == "resolved"


def test_a_webhook_is_acknowledged_only_where_it_is_kept(shop: Open) -> None:
    """5xx while there is no room, so that the gateway sends it again: nothing that was acknowledged is missing."""
    open_shop = shop()
    client = Flask("shop")
    Callsheet(client, engine=open_shop.engine, worker=False)
    post = client.test_client().post
    bodies = {
        f"evt_{number}": json.dumps(
            {"id": f"evt_{number}", "type": "payment.noted", "payment": f"n{number}", "note": LARGE[:200_000]}
        ).encode()
        for number in range(12)
    }
    scheme, acknowledged, refused = scheme_of("stripe"), set[str](), set[str]()
    waiting = dict(bodies)
    for turn in range(6):
        open_shop.disk.fill() if turn % 2 == 0 and turn < 4 else open_shop.disk.free()
        for name, body in list(waiting.items())[: 12 if turn > 3 else 3]:
            headers = sign(scheme, SECRETS["SHOP_HOOK"], body, open_shop.hours.now.timestamp())
            status = post("/callsheet/webhooks/shop", data=body, headers=headers).status_code
            (acknowledged if status == 200 else refused).add(name)
            assert status in {200, 503}
            kept = {event["event_id"] for event in open_shop.engine.find("event")}
            assert acknowledged <= kept
            if status == 200:
                del waiting[name]
    assert refused
    assert acknowledged == set(bodies)
    open_shop.work(2)
    assert len(open_shop.engine.find("event")) == len(bodies)
    assert {event["state"] for event in open_shop.engine.find("event")} == {"processed"}
    assert sorted(open_shop.sales()) == sorted(["p1", *(f"n{number}" for number in range(12))])


def test_work_goes_on_by_itself(shop: Open) -> None:
    """A host's own worker outlives a disk that is full for a while: queued calls and events are all done after it."""
    open_shop = shop()
    engine = open_shop.engine
    numbers = range(1, 6)
    open_shop.gateway.answers = [ok({"id": f"q{number}", "amount": 5, "more": LARGE}) for number in (*numbers, 1)]
    for number in numbers:
        engine.send_later("shop/pay", {"amount": 5, "note": f"{number}"}, operation=f"order-{number}")
    body = json.dumps({"id": "evt_1", "type": "payment.noted", "payment": "n1", "note": LARGE}).encode()
    (event,) = engine._inbox.receive(
        "shop", sign(scheme_of("stripe"), SECRETS["SHOP_HOOK"], body, open_shop.hours.now.timestamp()), body
    )
    assert event["state"] == "received"
    open_shop.hours.pass_by(20)
    open_shop.disk.fill()
    worker = Worker(engine.run_due, pause=0.02)
    worker.start()
    try:
        _until(lambda: len(open_shop.gateway.requests) >= 2)
        assert len(engine.find("call", state="succeeded")) == 1  # the shop's first
        open_shop.disk.free()
        _until(lambda: _is_done(open_shop, worker))
    finally:
        worker.stop()
    assert len({request.body for request in open_shop.gateway.requests}) == len(numbers)
    assert [event["state"] for event in engine.find("event")] == ["processed"]
    assert "n1" in open_shop.sales()


def _is_done(open_shop: Shop, worker: Worker) -> bool:
    open_shop.hours.pass_by(LEASE + 1)
    worker.wake()
    calls, events = open_shop.calls(), open_shop.engine.find("event")
    return {one["state"] for one in (*calls, *events)} <= {"succeeded", "processed"}


def _until(happened: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_all_of_it_on_a_file_system_of_its_own(tmp_path: Path) -> None:
    """The same once more on a small file system that is filled to its last byte, wherever one may be mounted."""
    (tmp_path / "disk").mkdir()
    mine = [
        __file__,
        "-q",
        "-p",
        "no:cacheprovider",
        "-k",
        "not file_system and not paged",
        "--basetemp",
        f"{tmp_path}/rest",
    ]
    ran = on_its_own_disk(tmp_path / "disk", "-m", "pytest", *mine)
    assert ran.returncode == 0, f"{HERE}: {ran.stdout[-3000:]}{ran.stderr[-1000:]}"
    assert "6 passed" in ran.stdout
