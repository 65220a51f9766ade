"""`callsheet recover`, `lookup`, `remap`, `resolve`, `cancel`, `replay`, `worker`: what is open, and who settles it."""

from __future__ import annotations

import json
import os
import pwd
import signal
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from commands import KEYS, Gateway, command, run
from hosts import OnlyHere, host

from engine.calls import instant
from engine.cli.waiting import later
from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Dispatcher
from engine.errors import StoreError, UnknownOutcome
from engine.inbox import EVENT, Inbox
from engine.reactions import REACTION
from engine.records import Change, Record, Scope
from engine.signatures import SHIPPED, sign

FIND = """\
summary: Look for a payment.
method: GET
url: /payments
found: "{{ response.data[0] }}"
data: {properties: {}}
"""


def the(shop: Path, kind: str) -> dict[str, Any]:
    (found,) = json.loads(run(shop, kind, "--json").stdout)
    record: dict[str, Any] = found
    return record


def the_event(shop: Path, name: str) -> dict[str, Any]:
    found: list[dict[str, Any]] = json.loads(run(shop, "events", "--json").stdout)
    return next(event for event in found if event["event_id"] == name)


def test_a_queued_call_waits_for_a_worker(shop: Path, gateway: Gateway) -> None:
    """`send --later` sends nothing; `worker --once` sends it."""
    said = run(shop, "send", "shop/pay", "amount=5", "--later", gateway=gateway)
    assert (said.exit_code, gateway.requests) == (0, [])
    assert the(shop, "calls")["state"] == "prepared"
    assert run(shop, "worker", "--once", gateway=gateway).exit_code == 0
    assert the(shop, "calls")["state"] == "succeeded"
    assert len(gateway.requests) == 1


def test_who_has_no_name(shop: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container a user may be a number that no file knows; it is what is kept then."""
    run(shop, "send", "shop/pay", "amount=5", "--later", gateway=gateway)
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)

    def unknown(uid: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    result = run(shop, "cancel", the(shop, "calls")["id"], "--reason", "ordered twice")
    assert (result.exit_code, the(shop, "calls")["audit"][0]["who"]) == (0, f"user {os.getuid()}")


def test_a_cancelled_call_is_not_sent(shop: Path, gateway: Gateway) -> None:
    """A reason is asked for and kept, and what is cancelled cannot be cancelled again."""
    run(shop, "send", "shop/pay", "amount=5", "--later", gateway=gateway)
    id = the(shop, "calls")["id"]
    assert run(shop, "cancel", id).exit_code == 2
    assert run(shop, "cancel", id, "--reason", "ordered twice").exit_code == 0
    assert the(shop, "calls")["audit"][0]["why"] == "ordered twice"
    run(shop, "worker", "--once", gateway=gateway)
    assert gateway.requests == []
    assert "only one that is prepared can be cancelled" in run(shop, "cancel", id, "--reason", "again").stderr


def left_unknown(shop: Path, gateway: Gateway, found: Any, hours: int = 0) -> str:
    """The id of a call that was sent so many hours ago and not answered; its look-up will bring `found`."""
    once = shop / "request_types/shop/pay_once.yml"
    once.write_text(once.read_text() + "lookup: shop/find\n")
    (shop / "request_types/shop/find.yml").write_text(FIND)
    gateway.answer = lambda method, *_: (200, {"data": found}) if method == "GET" else (502, b"<html>")
    then = Clock(now=lambda: datetime.now(UTC) - timedelta(hours=hours))
    with closing(Dispatcher()) as dispatcher:
        files = OnlyHere(shop, {"shop": gateway.url})
        engine = Engine(shop, environment=KEYS, files=files, clock=then, dispatcher=dispatcher)
        with pytest.raises(UnknownOutcome):
            engine.send("shop/pay_once", {"amount": 5})
        engine.store.close()  # type: ignore[attr-defined]  # it is the one that opens files
    id: str = the(shop, "calls")["id"]
    return id


@pytest.mark.parametrize(
    ("found", "code", "says", "state"),
    [
        ([{"id": "p1", "amount": 5}], 0, "carried out, sale changed", "succeeded"),
        ([{"error": {"message": "no funds"}}], 1, "the gateway refused shop/pay_once: no funds", "declined"),
        ([{"id": "p1", "amount": "five"}], 4, "could not be mapped", "unmapped"),
        ([], 3, "shop/pay_once was PERHAPS carried out: shop/find did not find it yet", "unknown"),
    ],
)
def test_a_person_asks_what_became_of_a_call(
    shop: Path, gateway: Gateway, found: Any, code: int, says: str, state: str
) -> None:
    """`lookup` sends nothing again; the code tells what became of the call, as that of `send` does."""
    id = left_unknown(shop, gateway, found)
    result = run(shop, "lookup", id, "--reason", "the buyer asks", gateway=gateway)
    assert (result.exit_code, says in result.output, the(shop, "calls")["state"]) == (code, True, state)
    assert [method for method, *_ in gateway.requests] == ["POST", "GET"]
    assert [(line["what"], line["why"]) for line in the(shop, "calls")["audit"]] == [("looked up", "the buyer asks")]


def test_a_person_finds_out_that_nothing_was_done(shop: Path, gateway: Gateway) -> None:
    """Long after it was sent two look-ups that find nothing are proof; then there is nothing to look up any more."""
    id = left_unknown(shop, gateway, [], hours=2)
    results = [run(shop, "lookup", id, "--reason", "the buyer asks", gateway=gateway) for _ in range(3)]
    assert [result.exit_code for result in results] == [3, 5, 2]
    assert "shop/pay_once was not carried out: shop/find did not find it, 2 times in a row" in results[1].stderr
    assert "only one that is unknown can be looked up" in results[2].stderr


def test_what_has_no_look_up_is_not_looked_up(shop: Path, gateway: Gateway) -> None:
    gateway.answer = lambda *_: (502, b"<html>")
    assert run(shop, "send", "shop/pay_once", "amount=5", gateway=gateway).exit_code == 3
    result = run(shop, "lookup", the(shop, "calls")["id"], "--reason", "to know", gateway=gateway)
    assert (result.exit_code, "shop/pay_once names no look-up" in result.stderr) == (2, True)
    assert len(gateway.requests) == 1


def test_a_kept_answer_is_mapped_when_its_file_is_mended(shop: Path, gateway: Gateway) -> None:
    """`remap` sends nothing; while the file is wrong it says so and keeps the call."""
    gateway.answer = lambda *_: (200, {"id": "p1", "amount": "five"})
    assert run(shop, "send", "shop/pay", "amount=5", gateway=gateway).exit_code == 4
    failed = run(shop, "remap", "--all", gateway=gateway)
    assert failed.exit_code == 4
    assert "/amount" in failed.stderr
    mapper = shop / "response_mappers/shop/pay.json.j2"
    mapper.write_text(
        '{"upsert": "sale", "where": {"gateway_id": {{ response.id }}}, "set": {"amount": 5, "state": "paid"}}'
    )
    mended = run(shop, "remap", the(shop, "calls")["id"], gateway=gateway)
    assert (mended.exit_code, the(shop, "calls")["state"]) == (0, "succeeded")
    assert len(gateway.requests) == 1
    assert run(shop, "remap").exit_code == 2


def test_one_that_cannot_be_mapped_does_not_stop_the_others(shop: Path, gateway: Gateway) -> None:
    """Where the request type of one is gone, the answers of the others are mapped all the same."""
    files = [shop / f"response_mappers/shop/{name}.json.j2" for name in ("pay_once", "pay")]
    sound = [file.read_text() for file in files]
    for file in files:
        file.write_text('{"upsert": "sale", "where": {"gateway_id": "p1"}, "set": {"amount": {{ "five" }}}}')
        assert run(shop, "send", f"shop/{file.name.split('.')[0]}", "amount=5", gateway=gateway).exit_code == 4
    files[0].unlink()
    (shop / "request_types/shop/pay_once.yml").unlink()
    files[1].write_text(sound[1])
    result = run(shop, "remap", "--all")
    assert (result.exit_code, "there is no request type 'shop/pay_once'" in result.stderr) == (4, True)
    states = {call["request_type"]: call["state"] for call in json.loads(run(shop, "calls", "--json").stdout)}
    assert states == {"shop/pay_once": "unmapped", "shop/pay": "succeeded"}


def test_a_person_says_what_became_of_a_call(shop: Path, gateway: Gateway) -> None:
    """What nobody can settle is listed by `recover`, and ended by `resolve`."""
    gateway.answer = lambda *_: (502, b"<html>")
    assert run(shop, "send", "shop/pay_once", "amount=5", gateway=gateway).exit_code == 3
    assert "shop/pay_once" in run(shop, "recover", gateway=gateway).stdout
    id = the(shop, "calls")["id"]
    assert run(shop, "resolve", id, "--as", "lost", "--reason", "x").exit_code == 2
    assert run(shop, "resolve", id, "--as", "succeeded", "--reason", "the bank shows it").exit_code == 0
    assert the(shop, "calls")["state"] == "resolved"
    assert "shop/pay_once" not in run(shop, "recover", gateway=gateway).stdout


def test_what_is_left_open_is_said_with_its_reason(shop: Path, gateway: Gateway) -> None:
    """`recover` says how much it does not take up, until when, and what only a person can settle."""
    assert run(shop, "recover").stdout == "0 taken up\nnothing is open\n"
    engine = Engine(shop, environment=KEYS, files=OnlyHere(shop))
    now = engine.clock.now()
    days = [instant(now + timedelta(days=number)) for number in (3, 1, 2)]
    for number, day in enumerate(days):
        engine.send_later("shop/pay", {"amount": 5 + number}, due=datetime.fromisoformat(day))
    sending = engine.plan("shop/pay", {"amount": 9}).born("sending", now)
    rest = {"event_type": "payment.noted", "body": "{}"}
    waits = {"key": "1", "event_id": "evt_1", "state": "failed", "due": days[0]}
    event = Change("insert", EVENT, Scope("shop"), {}, {**rest, **waits})
    dead = Change("insert", EVENT, Scope("shop"), {}, {**rest, "key": "2", "event_id": "evt_2", "state": "dead"})
    told = {"state": "pending", "due": instant(now), "record_type": "sale", "where": {"gateway_id": "p1"}}
    engine.store.apply([sending, event, dead, Change("insert", REACTION, Scope("shop"), {}, told)])
    engine.store.close()  # type: ignore[attr-defined]  # it is the one that opens files
    gateway.answer = lambda *_: (502, b"<html>")
    assert run(shop, "send", "shop/pay_once", "amount=5", gateway=gateway).exit_code == 3
    sent = len(gateway.requests)
    taken, *said = run(shop, "recover", gateway=gateway).stdout.splitlines()
    assert (taken, len(gateway.requests)) == ("0 taken up", sent)
    assert said[:6] == [
        "",
        "This is open and not to be taken up now:",
        f"  1 call is being sent by a process that is taken to live until {sending.set['lease']}",
        f"  3 queued calls wait to be sent, the first of them at {days[1]}",
        f"  1 event waits to be processed, at {days[0]}",
        "  1 change is to be told to the host, by a process that has its functions, as app.py registers them",
    ]
    assert "shop/pay_once" in said[9]
    assert said[11:12] == ["This needs a person, too:"]
    assert said[12].startswith("1 event was tried for the last time: callsheet events --state dead")


def test_the_soonest_of_many_is_named(tmp_path: Path) -> None:
    """More wait than are counted, and the one that is due first stands amid them."""
    shop = host(tmp_path)
    days = [*range(300, 150, -1), 1, *range(301, 452)]
    for number, day in enumerate(days):
        shop.engine.send_later("shop/pay", {"amount": 1 + number}, due=shop.hours.now + timedelta(days=day))
    assert later(shop.engine) == [
        "100 or more queued calls wait to be sent, the first of them at 2026-01-02T00:00:00.000Z"
    ]


def test_an_event_is_processed_again(shop: Path) -> None:
    """An event that came before its file is ignored, and replayed when the file is there."""
    engine = Engine(shop, environment=KEYS, files=OnlyHere(shop))
    body = b'{"id": "evt_1", "type": "payment.noted", "created": 1767225600, "live": false, "payment": "p1"}'
    engine.receive("shop", sign(SHIPPED["stripe"], KEYS["SHOP_HOOK"], body, engine.clock.now().timestamp()), body)
    engine.store.close()  # type: ignore[attr-defined]  # it is the one that opens files
    assert the(shop, "events")["state"] == "ignored"
    assert run(shop, "replay", "--reason", "x").exit_code == 2
    assert "1 ignored" in run(shop, "replay", the(shop, "events")["id"], "--reason", "try").stdout
    (shop / "webhook_processors/shop/payment.noted.json.j2").write_text("{# nothing to change #}")
    assert "1 processed" in run(shop, "replay", "--type", "payment.noted", "--reason", "the file is there").stdout
    assert [line["why"] for line in the(shop, "events")["audit"]] == ["try", "the file is there"]


def test_of_many_events_one_that_a_worker_takes_meanwhile_is_left_alone(
    shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others have their turn all the same, and what came of them is told."""
    many(shop, 3)
    replay = Inbox.replay

    def raced(self: Inbox, event: Record, who: str, why: str) -> Record:
        if event["event_id"] == "evt_1":
            replay(self, event, "a worker", "its time has come")
            self._with.store.apply([Change("update", EVENT, event.scope, {"id": event.id}, {"state": "processed"})])
        return replay(self, event, who, why)

    monkeypatch.setattr(Inbox, "replay", raced)
    said = run(shop, "replay", "--type", "payment.noted", "--reason", "its file is there")
    assert (said.exit_code, said.stdout) == (
        0,
        "2 ignored\n1 left alone: somebody else changed them meanwhile\n",
    )
    monkeypatch.undo()
    alone = the_event(shop, "evt_1")
    assert (alone["state"], [line["who"] for line in alone["audit"]]) == ("processed", ["a worker"])


def many(shop: Path, number: int) -> None:
    """Events that came before their file."""
    engine = Engine(shop, environment=KEYS, files=OnlyHere(shop))
    for name in range(number):
        body = f'{{"id": "evt_{name}", "type": "payment.noted", "created": 1767225600, "live": false}}'.encode()
        engine.receive("shop", sign(SHIPPED["stripe"], KEYS["SHOP_HOOK"], body, engine.clock.now().timestamp()), body)
    engine.store.close()  # type: ignore[attr-defined]  # it is the one that opens files


def replays(shop: Path) -> list[tuple[str, int]]:
    """The state of each replay, and how many events had their turn."""
    engine = Engine(shop, environment=KEYS, files=OnlyHere(shop))
    with closing(engine.store):  # type: ignore[type-var]  # as above
        return [(replay["state"], replay["done"]) for replay in engine.find("replay")]


def test_many_events_are_processed_again_a_slice_at_a_time(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those since an instant, or all; where a worker has the next slice, it is waited for."""
    monkeypatch.setattr("engine.replays.SLICE", 2)
    many(shop, 5)
    run_row, turns = Engine.run_row, [False]

    def in_turn(self: Engine, type: str, id: str) -> bool:
        return turns.pop() if turns else run_row(self, type, id)

    monkeypatch.setattr(Engine, "run_row", in_turn)
    said = run(shop, "replay", "--since", "2026-11-01", "--reason", "its file is there")
    assert (said.exit_code, said.output) == (0, "5 ignored\n")
    assert replays(shop) == [("done", 5)]
    nothing = run(shop, "replay", "--since", "2126-11-01T08:30Z", "--reason", "its file is there")
    assert (nothing.exit_code, nothing.output) == (0, "no such event\n")


def test_what_a_replay_makes_due_is_left_to_a_worker(shop: Path, gateway: Gateway) -> None:
    """It is told how much that is; nothing else that waits is done either, nor counted."""
    run(shop, "send", "shop/pay", "amount=5", "--later", gateway=gateway)
    many(shop, 2)
    follow_up = '{"send": "shop/pay", "data": {"amount": 5}}'
    (shop / "webhook_processors/shop/payment.noted.json.j2").write_text(follow_up)
    said = run(shop, "replay", "--state", "ignored", "--reason", "its file is there", gateway=gateway)
    assert (said.exit_code, said.stdout) == (0, "2 processed\n")
    assert said.stderr == "2 queued since: a worker sends them, or `callsheet recover`\n"
    assert gateway.requests == []
    run(shop, "recover", gateway=gateway)
    assert len(gateway.requests) == 3


@pytest.mark.parametrize(("error", "code"), [(KeyboardInterrupt(), 130), (StoreError("the disk is full"), 2)])
def test_a_replay_that_is_interrupted_is_stopped(
    shop: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    """No worker goes on with what a person gave up, or was told to have failed."""
    monkeypatch.setattr("engine.replays.SLICE", 2)
    many(shop, 5)
    run_row, turns = Engine.run_row, iter([False])

    def interrupted(self: Engine, type: str, id: str) -> bool:
        if next(turns, True):
            raise error
        return run_row(self, type, id)

    monkeypatch.setattr(Engine, "run_row", interrupted)
    said = run(shop, "replay", "--type", "payment.noted", "--reason", "its file is there")
    assert said.exit_code == code
    assert ("stopped" if code == 130 else "the disk is full") in said.stderr
    assert replays(shop) == [("stopped", 2)]


def test_an_error_is_told_also_where_a_replay_cannot_be_stopped(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The store that failed fails again then."""
    many(shop, 1)

    def fails(*_: Any) -> Any:
        raise StoreError("the disk is full")

    monkeypatch.setattr(Engine, "run_row", fails)
    monkeypatch.setattr("engine.replays.Replays.stop", fails)
    said = run(shop, "replay", "--type", "payment.noted", "--reason", "its file is there")
    assert (said.exit_code, said.stdout, said.stderr) == (2, "", "Error: the disk is full\n")
    assert replays(shop) == [("running", 0)]


def test_a_replay_that_somebody_else_stops(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no success, and what had its turn is told."""
    monkeypatch.setattr("engine.replays.SLICE", 2)
    many(shop, 5)
    run_row = Engine.run_row

    def stopped(self: Engine, type: str, id: str) -> bool:
        did = run_row(self, type, id)
        self.replays.stop(self.find(type, id=id)[0])
        return did

    monkeypatch.setattr(Engine, "run_row", stopped)
    said = run(shop, "replay", "--type", "payment.noted", "--reason", "its file is there")
    assert (said.exit_code, said.stdout) == (130, "2 ignored\n")
    assert said.stderr == "somebody else stopped it before it came to its end\n"


def test_a_worker_ends_when_it_is_told_to(shop: Path) -> None:
    """SIGTERM ends a worker without a traceback, after what it is at."""
    worker = command("--root", str(shop), "worker", cwd=shop)
    assert worker.stdout
    assert "working on" in worker.stdout.readline()
    worker.send_signal(signal.SIGTERM)
    out, err = worker.communicate(timeout=60)
    assert (worker.returncode, out, err) == (0, "stopped; 0 done\n", "")
