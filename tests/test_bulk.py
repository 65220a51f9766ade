"""Many calls of one request type: all checked before one is sent, and each carried out once."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from commands import CHECKOUT
from hosts import SECRETS, SHOP, Host, OnlyHere, Told, failure, host, ok, refusal, write
from postgres import Databases
from rates import limited

from engine import bulk, calls, waiting_rows
from engine.bulk import Bulk, RowOutcome
from engine.core import Engine
from engine.dispatcher import Answer, Failure
from engine.errors import DataError, SettingError, StoreError, TransportError, UnknownNameError
from engine.records import Change
from engine.request_types import Request
from engine.store.memory import MemoryStore

Rows = list[dict[str, Any]]
ROWS: Rows = [{"amount": number} for number in range(1, 21)]


@pytest.fixture
def here(tmp_path: Path) -> Host:
    """A shop whose payments are as many as there are calls."""
    mapper = '{"upsert": "sale", "where": {"gateway_id": {{ call_id }}}, "set": {"amount": 1, "state": "paid"}}\n'
    return host(tmp_path, files={"response_mappers/shop/pay.json.j2": mapper})


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody insists for minutes."""
    monkeypatch.setattr(bulk, "PAUSES", (0.0, 0.01))
    monkeypatch.setattr(bulk, "COMES_BACK", 0.0)


def run(here: Host | Engine, rows: Iterable[Mapping[str, Any]] = ROWS, **how: Any) -> list[RowOutcome]:
    engine = here.engine if isinstance(here, Host) else here
    return sorted(engine.send_many("shop/pay", rows, **how), key=lambda outcome: outcome.number)


def states(outcomes: Iterable[RowOutcome]) -> Counter[str]:
    return Counter(outcome.state for outcome in outcomes)


def sent(here: Host) -> list[int]:
    """The amounts that the gateway was asked for."""
    return sorted(json.loads(request.body)["amount"] for request in here.gateway.requests)


# Checking -------------------------------------------------------------------------------------------------------------


def test_every_row_is_carried_out(here: Host) -> None:
    """Each is a call of its own, and says what came of it."""
    outcomes = run(here)
    assert [outcome.number for outcome in outcomes] == list(range(20))
    assert all(one.state == "succeeded" and one.result and one.call and not one.before for one in outcomes)
    assert [one.result.records[0].type for one in outcomes if one.result] == ["sale"] * 20
    assert sent(here) == list(range(1, 21))
    assert len(here.calls()) == 20


def test_all_rows_are_checked_before_one_is_sent(here: Host) -> None:
    """What is wrong is told of every row, with where it stands; nothing is sent, nothing is kept."""
    rows: list[Any] = [{"amount": 1}, {"amount": "x"}, {"amount": 2}, {"nte": "", "amount": 0}, [5], {"amount": {1, 2}}]
    with pytest.raises(DataError) as told:
        run(here, rows)
    assert [problem.pointer for problem in told.value.problems] == ["/1/amount", "/3/nte", "/3/amount", "/4", "/5"]
    assert (here.gateway.requests, here.calls()) == ([], [])


def test_of_very_many_faults_the_first_are_said(here: Host) -> None:
    """The error has them all; its text is one that a log can hold."""
    with pytest.raises(DataError) as raised:
        here.engine.send_many("shop/pay", [{"amount": 0}] * 5000)
    assert len(raised.value.problems) == 5000
    assert str(raised.value).endswith("; and 4,980 more")
    assert len(str(raised.value)) < 2000


def test_no_row_is_taken_for_a_card(here: Host) -> None:
    """The key that is made of a row has too few digits; hexadecimal ones are refused at two in ten thousand rows."""
    rows = [{"amount": 1, "note": f"row {number}"} for number in range(20_000)]
    run_of_rows = Bulk(here.engine, "shop/pay")
    assert [problem for number, row in enumerate(rows) for problem in run_of_rows.take(number, row)] == []


def test_rows_are_read_once(here: Host) -> None:
    """What they were when they were checked is what is sent, whatever becomes of them after."""
    row = {"amount": 1}

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(1, 6):
            row["amount"] = number
            yield row
        row["amount"] = 99

    assert states(run(here, rows())) == {"succeeded": 5}
    assert sent(here) == [1, 2, 3, 4, 5]


def test_a_name_that_is_none(here: Host) -> None:
    with pytest.raises(UnknownNameError, match="did you mean 'shop/pay'"):
        here.engine.send_many("shop/pai", ROWS)


# Once -----------------------------------------------------------------------------------------------------------------


def test_the_same_rows_are_carried_out_once(here: Host) -> None:
    """Made again, a run says what came of its rows and sends none; in another order, too."""
    first = run(here)
    here.hours.pass_by(1)
    again = run(here, ROWS[::-1])
    assert [one.call.id for one in again[::-1] if one.call] == [one.call.id for one in first if one.call]
    assert not any(one.before for one in first)
    assert all(one.before and one.result for one in again)
    assert len(here.gateway.requests) == 20


def test_rows_that_are_alike_are_as_many_as_they_are(here: Host) -> None:
    """Two presents to one person are two; one more row makes one more."""
    assert states(run(here, [{"amount": 5}] * 3)) == {"succeeded": 3}
    assert states(run(here, [{"amount": 6}, *[{"amount": 5}] * 4])) == {"succeeded": 5}
    assert sent(here) == [5, 5, 5, 5, 6]


def test_another_default_makes_no_row_new(tmp_path: Path) -> None:
    """The rows did not change, so the mended file must not send them again."""
    store = MemoryStore()
    text = "summary: Pay.\nmethod: POST\nurl: /payments\nbody: {note: '{{ data.note }}'}\ndata:\n  properties:\n"
    amount = "    amount: {type: integer}\n"
    gateway = Told()
    for note in ("    note: {type: string}\n", "    note: {type: string, default: thanks}\n"):
        folder = write(tmp_path / str(len(note)), {**limited("https://api.shop.test/v1", "{}")})
        write(folder, {"request_types/shop/tip.yml": text + amount + note})
        files = OnlyHere(folder)
        engine = Engine(folder, store=store, environment=SECRETS, dispatcher=gateway, files=files)
        outcomes = list(engine.send_many("shop/tip", [{"amount": 5}]))
    assert [(one.state, one.message) for one in outcomes] == [
        ("not_sent", "/idempotency_key: the operation " + repr(outcomes[0].operation) + " was begun with other data; "
         "a new operation needs a new key")
    ]  # fmt: skip
    assert len(gateway.requests) == 1


def test_another_run_makes_rows_new(here: Host) -> None:
    run(here)
    assert states(run(here, run="may ")) == states(run(here, run="may ")) == {"succeeded": 20}
    assert len(here.gateway.requests) == 40


def test_a_key_names_the_operation(here: Host) -> None:
    """It is the same operation as one sent alone; it goes to the gateway only where the request type has it."""
    here.engine.send("shop/pay", {"amount": 1}, operation="order-1")
    here.hours.pass_by(1)
    rows = [{"amount": number, "order": f"order-{number}"} for number in (1, 2)]
    outcomes = run(here, rows, key="order")
    assert [(one.operation, one.state, one.before) for one in outcomes] == [
        ("order-1", "succeeded", True),
        ("order-2", "succeeded", False),
    ]
    assert sent(here) == [1, 2]
    assert states(run(here, [{"amount": 3, "note": "n1"}], key="note")) == {"succeeded": 1}
    assert json.loads(here.gateway.requests[-1].body)["note"] == "n1"


def test_an_idempotency_key_is_a_key(here: Host) -> None:
    outcomes = run(here, [{"amount": 1, "idempotency_key": "a"}, {"amount": 1, "idempotency_key": "b"}])
    assert [one.operation for one in outcomes] == ["a", "b"]


@pytest.mark.parametrize("key", [None, "", True, 1.5, ["a"]])
def test_a_key_that_is_none(here: Host, key: Any) -> None:
    with pytest.raises(DataError, match="/0/order: is the key of the row, and must be a text or a whole number"):
        run(here, [{"amount": 1, "order": key}], key="order")


def test_a_key_that_nothing_can_keep(here: Host) -> None:
    with pytest.raises(DataError, match="/0/order: is the key of the row, and holds half of a character"):
        run(here, [{"amount": 1, "order": "a\ud800"}], key="order")


def test_a_key_is_one_row_s(here: Host) -> None:
    with pytest.raises(DataError, match="/2/order: 'a' is the key of row 0 as well"):
        run(here, [{"amount": 1, "order": order} for order in "aba"], key="order")


def test_a_key_that_was_used_for_other_data(here: Host) -> None:
    """That row is not sent, and says so; the others are."""
    run(here, [{"amount": 1, "order": "a"}], key="order")
    outcomes = run(here, [{"amount": 2, "order": "a"}, {"amount": 2, "order": "b"}], key="order")
    assert [one.state for one in outcomes] == ["not_sent", "succeeded"]
    assert "was begun with other data" in str(outcomes[0].message)


def test_two_runs_at_once_act_once(here: Host) -> None:
    """Whoever is first sends; the other one hears of it, as soon as it is known."""
    with ThreadPoolExecutor(2) as pool:
        both = [list(one) for one in pool.map(lambda _: run(here), range(2))]
    assert [states(one)["succeeded"] for one in both] == [20, 20]
    assert sent(here) == list(range(1, 21))


# What becomes of a row ------------------------------------------------------------------------------------------------


def test_every_outcome_is_told(here: Host, hasty: None) -> None:
    """A row that is refused, not mapped or not reached stands in nobody's way."""
    special: dict[int, Answer | Failure] = {
        3: refusal("no funds"),
        4: ok({"id": None, "amount": "x"}),
        5: failure("connect", sent=False),
        6: failure("read_timeout"),
    }

    def answer(request: Request) -> None:
        here.gateway.answers = [special.get(json.loads(request.body)["amount"], ok())]

    here.gateway.before = answer
    write(here.engine.root, {"response_mappers/shop/pay.json.j2": "{{ response.amount }}"})
    outcomes = run(here, ROWS[:8], concurrency=1)
    assert [one.state for one in outcomes] == [
        *["succeeded"] * 2, "declined", "succeeded", "not_done", "unknown", *["succeeded"] * 2
    ]  # fmt: skip
    assert "no funds" in str(outcomes[2].message)
    assert outcomes[5].call
    assert outcomes[5].call["due"]


def test_what_is_not_reached_is_tried_again(here: Host, hasty: None) -> None:
    """A gateway that is away for a moment costs no row."""
    away = failure("connect", sent=False)
    here.gateway.answers = [*[away] * 5, ok()]
    assert states(run(here, ROWS[:3], concurrency=1)) == {"succeeded": 3}


def test_a_gateway_that_is_away_ends_the_run(here: Host, hasty: None) -> None:
    """Nobody wants a hundred thousand rows told of one outage; made again, the run goes on."""
    here.gateway.answers = [failure("connect", sent=False)]
    told: list[RowOutcome] = []
    with pytest.raises(TransportError, match=r"1\d rows in a row were not carried out, .* connect"):
        told.extend(here.engine.send_many("shop/pay", ROWS, concurrency=4))
    assert states(told).keys() == {"not_done"}
    assert len(told) == len(here.calls()) < 20
    here.gateway.answers = [ok()]
    assert states(run(here)) == {"succeeded": 20}
    assert sorted({json.loads(request.body)["amount"] for request in here.gateway.requests}) == list(range(1, 21))


class Waits(threading.Event):
    """Waits for nothing, and remembers for how long it should have."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[float | None] = []

    def wait(self, timeout: float | None = None) -> bool:
        self.asked.append(timeout)
        return self.is_set()


@pytest.mark.parametrize(("asked", "waited"), [("100", [100.0, 100.0]), ("9", [9.0, 60.0]), ("3600", [])])
def test_a_gateway_is_left_alone_as_long_as_it_asks(here: Host, asked: str, waited: list[float]) -> None:
    """Where that is longer than a run insists, the row is not tried again, and says why."""
    one, waits = Bulk(here.engine, "shop/pay", concurrency=1), Waits()
    one._ended = waits
    here.gateway.answers = [ok({"error": {"message": "slow"}}, 429, retry_after=asked)]
    assert one.take(0, {"amount": 1}) == []
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(bulk, "PAUSES", (0.5, 60.0, 300.0))
        (outcome,) = one.send()
    assert waits.asked[: len(waited)] == waited
    assert len(waits.asked) == (3 if waited else 0)
    assert outcome.state == "not_done"
    assert f"left alone for {asked} s" in str(outcome.message)


def test_only_the_first_rows_are_insisted_on(here: Host, hasty: None) -> None:
    """Ten rows, each tried for minutes, would make an hour of an outage that the first has shown already."""
    one, waits = Bulk(here.engine, "shop/pay", concurrency=1), Waits()
    one._ended = waits
    here.gateway.answers = [failure("connect", sent=False)]
    for number, row in enumerate(ROWS):
        one.take(number, row)
    with pytest.raises(TransportError, match=r"1\d rows in a row"):
        list(one.send())
    assert waits.asked == list(bulk.PAUSES)


def test_what_is_in_the_way_is_known(here: Host, hasty: None) -> None:
    """As long as no row is carried out."""
    one = Bulk(here.engine, "shop/pay", concurrency=1)
    seen: list[str | None] = []
    here.gateway.before = lambda _: seen.append(one.trouble)
    here.gateway.answers = [*[failure("connect", sent=False)] * 5, ok()]
    for number, row in enumerate(ROWS[:2]):
        one.take(number, row)
    assert states(one.send()) == {"succeeded": 2}
    assert (seen[0], one.trouble) == (None, None)
    assert any("connect" in str(said) for said in seen)


def test_what_reads_is_read_again(here: Host, hasty: None) -> None:
    """Reading is never "perhaps": it is tried again, and brings its answer."""
    here.gateway.answers = [*[failure("read_timeout")] * 4, ok({"id": "p1", "amount": 7})]
    (outcome,) = here.engine.send_many("shop/read", [{"id": "p1"}])
    assert outcome.result
    assert (outcome.state, outcome.call, outcome.result.response) == ("succeeded", None, {"id": "p1", "amount": 7})


def test_a_row_that_another_process_died_with(here: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run waits until the dead one's lease has ended, and then ends what it began."""
    monkeypatch.setattr(calls, "LEASE", 0.5)
    alive = Engine(
        here.engine.root, store=here.store, environment=SECRETS, dispatcher=here.gateway, files=here.engine._files
    )
    dead = Bulk(alive, "shop/pay")
    dead.take(0, {"amount": 1})
    plan = dead.first()
    assert plan
    here.store.apply([plan.born("sending")])
    outcomes = run(alive, ROWS)
    assert states(outcomes) == {"succeeded": 20}
    assert sent(here) == list(range(1, 21))
    assert [one.call.id for one in outcomes if one.call and one.number == 0] == [plan.id]


def test_what_stays_open_is_told_at_the_end(here: Host) -> None:
    """Where nobody comes back to it soon, it is for a worker or a person."""
    here.gateway.answers = [failure("read_timeout")]
    (outcome,) = here.engine.send_many("shop/pay_once", [{"amount": 1}])
    assert (outcome.state, len(here.gateway.requests)) == ("unknown", 1)
    assert outcome.call
    here.engine.recovery.resolve(outcome.call, "succeeded", "a person", "it is on the statement")
    (outcome,) = here.engine.send_many("shop/pay_once", [{"amount": 1}])
    assert outcome.state == "succeeded"


def test_a_cancelled_row_stays_cancelled(here: Host) -> None:
    call = here.engine.send_later("shop/pay", {"amount": 1}, operation="a")
    here.engine.recovery.cancel(call, "a person", "no")
    with pytest.raises(TransportError, match="shop/pay was not carried out: it was cancelled"):
        here.engine.send("shop/pay", {"amount": 1}, operation="a")
    (outcome,) = run(here, [{"amount": 1, "idempotency_key": "a"}])
    assert (outcome.state, here.gateway.requests) == ("cancelled", [])


# Ending ---------------------------------------------------------------------------------------------------------------


def test_a_run_that_is_stopped_goes_on_when_it_is_made_again(here: Host) -> None:
    """Those under way are ended; none is begun after."""
    one = Bulk(here.engine, "shop/pay", concurrency=2)
    for number, row in enumerate(ROWS):
        assert one.take(number, row) == []
    told = []
    for outcome in one.send():
        told.append(outcome)
        if len(told) == 5:
            one.stop()
    assert 5 <= len(told) < 20
    assert len(told) == len(here.calls()) == one.settled
    assert states(run(here)) == {"succeeded": 20}
    assert sent(here) == list(range(1, 21))


def test_who_stops_listening_stops_the_run(here: Host) -> None:
    """A generator that is closed leaves nothing behind that goes on sending."""
    outcomes = here.engine.send_many("shop/pay", ROWS, concurrency=2)
    next(outcomes)
    outcomes.close()  # type: ignore[attr-defined]  # it is a generator
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("callsheet bulk")]
    assert len(here.gateway.requests) < 20


def test_a_store_that_fails_ends_the_run(here: Host) -> None:
    """What others had under way is told first."""

    def refuse(changes: Sequence[Change]) -> None:
        if any(change.verb == "insert" and change.set.get("data") == {"amount": 10} for change in changes):
            raise StoreError("the disk is full")

    here.store.refuse = refuse
    told: list[RowOutcome] = []
    with pytest.raises(StoreError, match="the disk is full"):
        told.extend(here.engine.send_many("shop/pay", ROWS, concurrency=1))
    assert 10 not in sent(here)
    assert len(told) == len(sent(here)) < 20


def test_no_room_for_the_rows_ends_the_run(here: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is sent."""
    monkeypatch.setattr(waiting_rows, "_TABLES", f"{waiting_rows._TABLES} PRAGMA max_page_count = 20;")
    rows = ({"amount": 1, "note": f"{number}{'x' * 500}"} for number in range(200))
    with pytest.raises(StoreError, match="the rows cannot be kept in a temporary file: database or disk is full; make"):
        run(here, rows)
    assert here.gateway.requests == []


def test_a_missing_secret_ends_the_run(tmp_path: Path) -> None:
    here = host(tmp_path, SHOP_KEY="")
    with pytest.raises(SettingError, match="SHOP_KEY"):
        run(here)
    assert (here.gateway.requests, here.calls()) == ([], [])


def test_no_more_at_once_than_asked_for(here: Host) -> None:
    """Four threads, four calls under way: each waits for three others."""
    four = threading.Barrier(4)
    here.gateway.before = lambda _: four.wait(20)
    assert states(run(here, concurrency=4)) == {"succeeded": 20}
    assert four.n_waiting == 0


def test_no_call_at_once_is_none_too_few(here: Host) -> None:
    for number in (0, -1):
        with pytest.raises(ValueError, match=f"concurrency is {number}; one call at least"):
            here.engine.send_many("shop/pay", ROWS, concurrency=number)
    assert here.gateway.requests == []


def test_the_first_so_many(here: Host) -> None:
    one = Bulk(here.engine, "shop/pay")
    for number, row in enumerate(ROWS):
        one.take(number, row)
    one.keep_first(3)
    assert (one.waiting, one.left) == (3, 17)
    assert [outcome.state for outcome in one.send()] == ["succeeded"] * 3
    assert sent(here) == [1, 2, 3]


def test_what_was_settled_is_not_asked_for(here: Host, tmp_path: Path) -> None:
    """A row that an earlier run's own notes settle is not sent, nor checked by the files of now."""
    (earlier,) = run(here, [{"order": "a", "amount": 1}], key="order")
    stricter = SHOP["request_types/shop/pay.yml"].replace("minimum: 1", "minimum: 2")
    files = OnlyHere(write(tmp_path, {"request_types/shop/pay.yml": stricter}), {})
    engine = Engine(tmp_path, store=here.store, environment=SECRETS, dispatcher=here.gateway, files=files)
    one = Bulk(engine, "shop/pay", key="order")
    one.settle("a", earlier.digest, "declined", 1)
    assert one.take(1, {"order": "a", "amount": 1}) == []
    assert one.take(2, {"order": "b", "amount": 2}) == []
    assert (one.waiting, one.settled, one.settled_before) == (1, 1, {"declined": 1})
    assert [outcome.operation for outcome in one.send()] == ["b"]


@pytest.mark.parametrize("other", ["data", "request type", "mode", "store"])
def test_what_was_settled_settles_no_other_row(here: Host, tmp_path: Path, other: str) -> None:
    """Under the same key it is another operation there, which nobody carried out; the run does not begin."""
    (earlier,) = run(here, [{"order": "a", "amount": 1}], key="order")
    mode = "live" if other == "mode" else "test"
    settings = {**SECRETS, "CALLSHEET_MODE": mode, **({"SHOP_KEY": "live_1"} if mode == "live" else {})}
    store = MemoryStore() if other == "store" else here.store
    engine = Engine(tmp_path, store=store, environment=settings, files=OnlyHere(tmp_path, mode=mode))
    one = Bulk(engine, "shop/pay_once" if other == "request type" else "shop/pay", key="order")
    one.settle("a", earlier.digest, "succeeded", 1)
    (problem,) = one.take(1, {"order": "a", "amount": 2 if other == "data" else 1})
    assert problem.pointer == "/order"
    assert problem.message.startswith("'a' was settled by an earlier run, but with other data, or for another ")
    assert (one.waiting, one.settled) == (0, 0)


def test_rows_are_closed_with_the_last_who_has_them() -> None:
    """Newer Pythons warn of a database that nobody closes."""
    rows = waiting_rows.WaitingRows()
    database = rows._database
    del rows
    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        database.execute("SELECT 1")


def test_how_long_it_takes_at_least(tmp_path: Path) -> None:
    """The gateway's rate says; whoever stands in its place says nothing."""
    folder = write(tmp_path, limited("https://api.shop.test/v1", "{per_second: {test: 4, live: 100}, in_flight: 3}"))
    for urls, seconds in (({}, 5.0), ({"shop": "https://sandbox.test"}, None)):
        files = OnlyHere(folder, urls)
        engine = Engine(folder, store=MemoryStore(), environment=SECRETS, dispatcher=Told(), files=files)
        one = Bulk(engine, "shop/pay")
        for number, row in enumerate(ROWS):
            one.take(number, row)
        assert one.least_seconds == seconds


# Killed ---------------------------------------------------------------------------------------------------------------


@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", ["sqlite", "postgresql"])
def test_a_run_that_is_killed_carries_every_row_out_once(store: str, databases: Databases) -> None:
    """Six times, at any moment: no row is lost, none is done twice, and the rate is kept all the time."""
    command = [sys.executable, "-m", "tests.bulk", "--kills", "6", "--lease", "2", "--store", store]
    environment = {**os.environ, "CALLSHEET_TEST_POSTGRES": databases.new()}
    done = subprocess.run(command, cwd=CHECKOUT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
