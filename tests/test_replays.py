"""Many events processed again: in slices, by whoever works, whatever dies meanwhile."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hosts import SECRETS, SHOP, Host, OnlyHere, host

from engine.core import Engine
from engine.errors import Conflict, StoreError
from engine.ids import first_id
from engine.purging import purge
from engine.records import Record
from engine.replays import PURGED, progress
from engine.signatures import scheme_of, sign

GATEWAY = "request_types/shop/_gateway.yml"
FILES = {
    "webhook_processors/shop/payment.noted.json.j2": """\
{"upsert": "sale", "where": {"gateway_id": {{ event.payment }}}, "set": {"amount": {{ event.amount }}, "state": "paid"}}
"""
}


@pytest.fixture
def shop(tmp_path: Path) -> Host:
    return host(tmp_path, files=FILES)


def receive(shop: Host, number: int, **more: Any) -> Record:
    event = {"id": f"e{number}", "type": "payment.noted", "payment": f"p{number}", "amount": 5, **more}
    body = json.dumps(event).encode()
    signed = sign(scheme_of("stripe"), SECRETS["SHOP_HOOK"], body, shop.hours.now.timestamp())
    return shop.engine.receive("shop", signed, body)


def begun(shop: Host, **which: Any) -> Record:
    replay = shop.engine.replays.begin(which, None, "ann", "the file was mended")
    assert replay is not None
    return replay


def the_replay(shop: Host) -> Record:
    return shop.find("replay")[-1]


def test_a_replay_goes_through_all_that_fits_in_slices(shop: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.replays.SLICE", 8)
    for number in range(25):
        receive(shop, number, type="payment.noted" if number % 5 else "payment.other")
    begun(shop, event_type="payment.noted")
    seen = []
    while shop.engine.run_due(limit=1):
        seen.append((the_replay(shop)["done"], the_replay(shop)["state"]))
    assert seen == [(8, "running"), (16, "running"), (20, "done")]
    assert the_replay(shop)["ended"] == {"processed": 20}
    audits = [event["audit"] for event in shop.find("event") if event["event_type"] == "payment.noted"]
    assert [(line["who"], line["why"]) for lines in audits for line in lines] == [("ann", "the file was mended")] * 20
    assert not any(event["audit"] for event in shop.find("event") if event["event_type"] == "payment.other")


def test_the_bar_moves_from_nothing_to_all(shop: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.replays.SLICE", 7)
    for number in range(30):
        receive(shop, number)
    shown = [progress(begun(shop))]
    while shop.engine.run_due(limit=1):
        shown.append(progress(the_replay(shop)))
    assert shown == sorted(set(shown))
    assert (shown[0], shown[-1]) == (0.0, 1.0)


def test_what_comes_after_it_began_is_left_alone(shop: Host) -> None:
    receive(shop, 1)
    begun(shop)
    receive(shop, 2)
    while shop.engine.run_due():
        pass
    assert the_replay(shop)["done"] == 1


def test_only_what_came_since_then(shop: Host) -> None:
    event = receive(shop, 1)
    later = datetime.now(UTC) + timedelta(minutes=1)
    assert shop.engine.replays.begin({}, later, "ann", "why") is None
    assert shop.engine.replays.begin({}, later - timedelta(hours=1), "ann", "why")["first"] == event.id  # type: ignore[index]


def test_a_moment_before_there_were_ids(shop: Host) -> None:
    """All came since then."""
    event = receive(shop, 1)
    begun = shop.engine.replays.begin({}, datetime(1912, 6, 23, tzinfo=UTC), "ann", "why")
    assert begun
    assert begun["first"] == event.id
    assert first_id(datetime(1912, 6, 23, tzinfo=UTC)) == "00000000-0000"


def test_a_worker_that_dies_leaves_its_slice_to_another(shop: Host) -> None:
    for number in range(4):
        receive(shop, number)
    begun(shop)

    def dies(changes: Any) -> None:
        if any(change.type.name == "replay" and "done" in change.set for change in changes):
            raise StoreError("gone")

    shop.store.refuse = dies
    with pytest.raises(StoreError):
        shop.engine.run_due()
    shop.store.refuse = lambda _: None
    assert shop.engine.run_due() == 0  # the slice is still held
    shop.hours.pass_by(61)
    shop.engine.run_due()
    assert (the_replay(shop)["done"], the_replay(shop)["state"]) == (4, "done")
    assert len(shop.find("sale")) == 4


def test_it_can_be_stopped_once(shop: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.replays.SLICE", 2)
    for number in range(4):
        receive(shop, number)
    replay = begun(shop)
    shop.engine.run_due(limit=1)
    shop.engine.replays.stop(replay)
    assert shop.engine.run_due() == 0
    assert (the_replay(shop)["state"], the_replay(shop)["done"]) == ("stopped", 2)
    assert 0 < progress(the_replay(shop)) < 1
    with pytest.raises(Conflict):
        shop.engine.replays.stop(replay)


def test_an_event_of_the_other_mode_is_never_processed(shop: Host) -> None:
    assert receive(shop, 1, live=True)["state"] == "quarantined"
    begun(shop)
    while shop.engine.run_due():
        pass
    assert the_replay(shop)["ended"] == {"quarantined": 1}
    assert shop.find("event")[0]["state"] == "quarantined"
    assert shop.find("sale") == []


def test_what_was_put_aside_is_judged_anew(shop: Host, tmp_path: Path) -> None:
    """As one event is that is named: by the files as they are now, in a worker no less than at once."""
    shop = host(tmp_path, files={**FILES, GATEWAY: SHOP[GATEWAY].replace("event.type", "event.kind")})
    assert receive(shop, 1)["state"] == "quarantined"
    Path(tmp_path / GATEWAY).write_text(SHOP[GATEWAY], "utf-8")
    files, clock = OnlyHere(tmp_path), shop.hours.clock()
    mended = replace(shop, engine=Engine(tmp_path, store=shop.store, environment=SECRETS, files=files, clock=clock))
    begun(mended, state="quarantined")
    while mended.engine.run_due():
        pass
    assert the_replay(mended)["ended"] == {"processed": 1}
    assert [(event["event_type"], event["state"]) for event in mended.find("event")] == [("payment.noted", "processed")]
    assert len(mended.find("sale")) == 1


def test_what_was_purged_is_left_alone(shop: Host) -> None:
    receive(shop, 1)
    list(purge(shop.engine, timedelta(days=-10_000)))
    begun(shop)
    while shop.engine.run_due():
        pass
    assert the_replay(shop)["ended"] == {PURGED: 1}


def test_nothing_to_do_is_no_replay(shop: Host) -> None:
    assert shop.engine.replays.begin({"event_type": "payment.noted"}, None, "ann", "why") is None
    assert shop.find("replay") == []
