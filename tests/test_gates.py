"""How fast, how many at once, and whether at all a gateway is called: by one process, and by several together."""

from __future__ import annotations

import contextlib
import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from commands import Gateway
from hosts import SECRETS, SHOP, CountingStore, Hours, OnlyHere, Told, host, write
from hypothesis import given, settings
from hypothesis import strategies as st
from rates import Counter, engine_at, limited, most_in_a_second, pay_all
from store_processes import in_processes

from engine.budgets import AHEAD, LATE, Budget
from engine.calls import LEASE, instant
from engine.catalog import load
from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Answer, Dispatcher, Failure, Sender
from engine.errors import DefinitionError, StoreError, TransportError, UnknownOutcome
from engine.gates import FAILURES, REST, Circuit, Gate, Gates
from engine.records import Record
from engine.request_types import Rate
from engine.signatures import scheme_of, sign
from engine.store.memory import MemoryStore

PAY = {"amount": 5}
PAID = """\
{"send": "shop/read", "data": {"id": {{ event.payment }}}}
{"upsert": "sale", "where": {"gateway_id": {{ event.payment }}}, "set": {"amount": 5, "state": "paid"}}
"""
ONCE = ("shop/pay_once", PAY)
SOON = 25.0  # seconds of patience


class Passing(Hours):
    """A clock on which time passes while somebody sleeps."""

    def clock(self) -> Clock:
        return Clock(lambda: self.now, sleep=self.pass_by, pause=lambda _: 0.0)


@pytest.fixture
def hours() -> Passing:
    return Passing()


def answer(status: int = 200) -> Answer:
    return Answer(status, {}, b"", 0.0)


# The budget -----------------------------------------------------------------------------------------------------------


@settings(max_examples=200)
@given(
    per_second=st.sampled_from([0.5, 1, 3, 25, 100]),
    steps=st.lists(st.tuples(st.integers(0, 3), st.sampled_from([0.0, 0.001, 0.02, 0.1, 0.3, 2.0])), max_size=80),
)
def test_no_turn_is_given_twice(per_second: float, steps: list[tuple[int, float]]) -> None:
    """Whoever asks when: turns stand apart as far as the rate says, and no second sees more than was promised."""
    hours, store, used = Passing(), MemoryStore(), []
    budgets = [Budget(store, hours.clock(), "shop test", per_second) for _ in range(4)]
    for process, passes in steps:
        hours.pass_by(passes)
        now = hours.clock().seconds()
        turn = budgets[process].turn(now + 1)
        if turn is not None:
            assert now - LATE <= turn <= now + 1
            used.append((turn, max(turn, now)))
    turns = sorted(turn for turn, _ in used)
    assert all(later - earlier > 1 / per_second - 1e-5 for earlier, later in pairwise(turns))
    assert not used or most_in_a_second([moment for _, moment in used]) <= per_second * (1 + LATE) + 1


def budget_of(store: MemoryStore, clock: Clock, per_second: float = 25) -> Budget:
    return Budget(store, clock, "shop test", per_second)


def given_away(store: MemoryStore) -> float:
    """Up to when the turns are given away."""
    (row,) = store.find("rate_budget")
    instant: float = row["given"]
    return instant


def test_a_lone_call_takes_one_turn(hours: Passing) -> None:
    """Now and then a call: it waits for nothing, and takes nothing from others."""
    store, clock = CountingStore(), hours.clock()
    budget = budget_of(store, clock)
    for _ in range(5):
        hours.pass_by(10)
        assert budget.turn(clock.seconds() + 20) == clock.seconds()
        assert round(given_away(store) - clock.seconds(), 6) == 0.04
    assert len(store.commits) == 1 + 5  # the record was made once


def test_where_many_wait_a_lease_is_for_many(hours: Passing) -> None:
    """Up to a quarter of a second's turns are taken by one update."""
    store, clock = CountingStore(), hours.clock()
    budget = budget_of(store, clock)
    turns = [budget.turn(clock.seconds() + 20) for _ in range(100)]
    assert [round((turn or 0) - clock.seconds(), 6) for turn in turns] == [round(one * 0.04, 6) for one in range(100)]
    assert [commit for commit in store.commits if commit != ["update rate_budget"]] == [["insert rate_budget"]]
    assert len(store.commits) == 1 + 1 + 1 + 1 + math.ceil((100 - 1 - 2 - 4) / 6)


def test_who_waits_together_has_turns_together(hours: Passing) -> None:
    """While one asks the store, others come; the next one asks for them all."""
    clock = hours.clock()

    class Slow(CountingStore):
        def find(self, type: str, **how: Any) -> list[Record]:
            while budget._waiting < 16 - len(turns):
                time.sleep(0.001)
            return super().find(type, **how)

    turns: list[float | None] = []
    store = Slow()
    budget = budget_of(store, clock, per_second=100)
    with ThreadPoolExecutor(16) as pool:
        for one in [pool.submit(lambda: turns.append(budget.turn(clock.seconds() + 20))) for _ in range(16)]:
            one.result(20)
    assert sorted(round((turn or 0) - clock.seconds(), 6) for turn in turns) == [number / 100 for number in range(16)]
    assert store.commits.count(["update rate_budget"]) <= 2


def test_a_turn_that_comes_too_late_is_not_taken(hours: Passing) -> None:
    """Who cannot wait leaves it to others."""
    store, clock = MemoryStore(), hours.clock()
    budget = budget_of(store, clock, per_second=0.1)
    assert budget.turn(clock.seconds() + 5) == clock.seconds()
    before = given_away(store)
    assert budget.turn(clock.seconds() + 5) is None
    assert given_away(store) == before
    assert budget.turn(clock.seconds() + 10) == clock.seconds() + 10


def test_a_turn_that_passed_unused_is_lost(hours: Passing) -> None:
    """A process that was frozen does not send all at once what it had turns for."""
    clock = hours.clock()
    budget = budget_of(MemoryStore(), clock)
    for _ in range(10):
        budget.turn(clock.seconds() + 20)
    hours.pass_by(60)
    assert [round((budget.turn(clock.seconds() + 20) or 0) - clock.seconds(), 6) for _ in range(3)] == [0, 0.04, 0.08]


def test_a_clock_that_was_wrong_blocks_nobody(hours: Passing) -> None:
    """Turns given away for years are a mistake; those given away for the next seconds are not."""
    store, clock = MemoryStore(), hours.clock()
    wrong = Clock(lambda: hours.now + timedelta(days=700))
    budget_of(store, wrong).turn(wrong.seconds())
    budget = budget_of(store, clock)
    assert budget.turn(clock.seconds()) == clock.seconds()
    ahead = Clock(lambda: hours.now + timedelta(seconds=AHEAD - 1))
    budget_of(store, ahead).turn(ahead.seconds())
    assert budget_of(store, clock).turn(clock.seconds() + 5) is None


def test_a_slow_rate_is_no_wrong_clock(hours: Passing) -> None:
    """One call in a hundred seconds is one call in a hundred seconds."""
    store, clock = MemoryStore(), hours.clock()
    assert budget_of(store, clock, 0.01).turn(clock.seconds() + 20) == clock.seconds()
    hours.pass_by(60)
    assert budget_of(store, clock, 0.01).turn(clock.seconds() + 20) is None


def test_who_comes_second_to_the_record_looks_again(hours: Passing) -> None:
    """Between the look and the update another process takes the same turns: it has them."""
    clock = hours.clock()

    class Slow(MemoryStore):
        def find(self, type: str, **how: Any) -> list[Record]:
            found = super().find(type, **how)
            if not taken:
                taken.append(0.0)
                taken[:] = [budget_of(self, clock).turn(clock.seconds())]
            return found

    taken: list[float | None] = []
    taken.append(budget_of(Slow(), clock).turn(clock.seconds() + 1))
    assert [round((turn or 0) - clock.seconds(), 6) for turn in taken] == [0, 0.04]


# The circuit ----------------------------------------------------------------------------------------------------------

WORKS, FAILS = answer(), answer(503)


def fail(circuit: Circuit, count: int = FAILURES) -> None:
    for _ in range(count):
        circuit.learn(FAILS)


def test_a_circuit_opens_tries_and_closes(hours: Passing) -> None:
    """Ten failures in a row open it; after 30 s one trial is made; what comes of it decides."""
    circuit = Circuit(hours.clock())
    fail(circuit, FAILURES - 1)
    assert circuit.lets_through()
    fail(circuit, 1)
    assert (circuit.lets_through(), circuit.rests) == (False, REST)
    hours.pass_by(REST)
    assert [circuit.lets_through() for _ in range(3)] == [True, False, False]
    fail(circuit, 1)
    hours.pass_by(REST - 1)
    assert not circuit.lets_through()
    hours.pass_by(1)
    assert circuit.lets_through()
    circuit.learn(WORKS)
    assert [circuit.lets_through() for _ in range(3)] == [True, True, True]
    fail(circuit, FAILURES - 1)
    assert circuit.lets_through()


def test_a_trial_that_never_ended_is_made_again(hours: Passing) -> None:
    circuit = Circuit(hours.clock())
    fail(circuit)
    hours.pass_by(REST)
    assert circuit.lets_through()
    hours.pass_by(REST)
    assert circuit.lets_through()


def test_a_clock_that_is_set_back_does_not_keep_it_open(hours: Passing) -> None:
    circuit = Circuit(hours.clock())
    fail(circuit)
    hours.pass_by(-3600)
    assert circuit.lets_through()


@pytest.mark.parametrize(
    ("result", "opens"),
    [
        (answer(500), True),
        (answer(503), True),
        (Failure("dns", False, "", 0.0), True),
        (Failure("connect", False, "", 0.0), True),
        (Failure("closed", True, "", 0.0), True),
        (Failure("read_timeout", True, "", 0.0), True),
        (Failure("deadline", True, "", 0.0), True),
        (answer(429), False),
        (answer(402), False),
        (Failure("invalid_request", False, "", 0.0), False),
        (Failure("pool_timeout", False, "", 0.0), False),
        (Failure("lease_lost", False, "", 0.0), False),
        (Failure("unexpected", True, "", 0.0), False),
    ],
    ids=lambda value: str(getattr(value, "kind", getattr(value, "status", value))),
)
def test_what_counts_as_a_failure(hours: Passing, result: Answer | Failure, opens: bool) -> None:
    """A gateway that is not there, hangs or is broken; not one that refuses, nor what is wrong on this side."""
    circuit = Circuit(hours.clock())
    for _ in range(FAILURES):
        circuit.learn(result)
    assert circuit.lets_through() != opens


# The gate -------------------------------------------------------------------------------------------------------------


def gate_of(hours: Hours, rate: Rate, store: MemoryStore | None = None) -> Gate:
    clock = hours.clock()
    budget = budget_of(store or MemoryStore(), clock, rate.test) if rate.test else None
    return Gate("shop", rate, budget, clock)


def at(hours: Hours, *came: Answer | Failure) -> Callable[[], Any]:
    """A way to send that brings these results in turn, the last for ever."""
    left = list(came)
    return lambda: (instant(hours.now), left.pop(0) if len(left) > 1 else left[0])


def deadline(seconds: float = SOON) -> float:
    return time.monotonic() + seconds


def test_a_gate_waits_for_its_turn(hours: Passing) -> None:
    """What is sent is sent apart, and when it left is told as it was after the wait."""
    gate = gate_of(hours, Rate(10, None, None))
    left = [datetime.fromisoformat(gate.send(deadline(), at(hours, WORKS))[0]) for _ in range(20)]
    assert {round((later - earlier).total_seconds(), 5) for earlier, later in pairwise(left)} == {0.1}


def test_a_turn_that_was_overslept_is_not_used(hours: Passing) -> None:
    """A thread that is woken much too late waits for another turn."""
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        hours.pass_by(seconds + (5 if len(slept) == 2 else 0))

    clock = Clock(lambda: hours.now, sleep=sleep)
    store = CountingStore()
    gate = Gate("shop", Rate(1, None, None), Budget(store, clock, "shop test", 1), clock)
    moments = [datetime.fromisoformat(gate.send(deadline(), at(hours, WORKS))[0]) for _ in range(2)]
    assert moments[1] - moments[0] == timedelta(seconds=6)
    assert store.commits.count(["update rate_budget"]) == 3


def refusal(gate: Gate, seconds: float = SOON) -> Failure:
    """What a call is told that the gate does not let through."""
    _, result = gate.send(deadline(seconds), lambda: pytest.fail("it was sent"))
    assert isinstance(result, Failure)
    assert not result.sent
    assert "nothing was sent" in result.message
    return result


def test_who_would_wait_too_long_is_told_at_once(hours: Passing) -> None:
    gate = gate_of(hours, Rate(0.01, None, None))
    gate.send(deadline(), at(hours, WORKS))
    began = time.monotonic()
    assert refusal(gate).kind == "rate_limited"
    assert time.monotonic() - began < SOON / 2


def test_no_more_at_once_than_allowed(hours: Passing) -> None:
    """Who waits for a place longer than it may is told so; the place of whoever ended is free again."""
    gate = gate_of(hours, Rate(None, None, 2))
    inside, out = threading.Barrier(3), threading.Event()

    def stay() -> Any:
        inside.wait(20)
        out.wait(20)
        return hours.now, WORKS

    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(gate.send, deadline(), stay) for _ in range(2)]
        inside.wait(20)
        assert refusal(gate, 0.02).kind == "busy"
        out.set()
        assert [one.result(20)[1] for one in both] == [WORKS, WORKS]
    assert gate.send(deadline(), at(hours, WORKS))[1] == WORKS


def test_a_call_that_raises_gives_its_place_back(hours: Passing) -> None:
    gate = gate_of(hours, Rate(None, None, 1))

    def interrupted() -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        gate.send(deadline(), interrupted)
    assert gate.send(deadline(), at(hours, WORKS))[1] == WORKS


def test_an_open_circuit_answers_at_once(hours: Passing) -> None:
    """No turn is taken for what is not sent; after the rest one call finds out for all."""
    store = CountingStore()
    gate = gate_of(hours, Rate(25, None, 1), store)
    for _ in range(FAILURES):
        gate.send(deadline(), at(hours, FAILS))
    turns = len(store.commits)
    refused = refusal(gate)
    assert (refused.kind, len(store.commits)) == ("circuit_open", turns)
    assert "30 s" in refused.message
    hours.pass_by(REST)

    def trial() -> Any:
        assert refusal(gate).kind == "circuit_open"  # whoever else comes meanwhile
        return hours.now, WORKS

    assert [gate.send(deadline(), send)[1] for send in (trial, at(hours, WORKS))] == [WORKS, WORKS]


def test_a_store_that_is_away_is_no_reason_to_send_at_will(hours: Passing) -> None:
    class Away(MemoryStore):
        def find(self, *_: Any, **__: Any) -> list[Record]:
            raise StoreError("the disk is full")

    refused = refusal(gate_of(hours, Rate(25, None, None), Away()))
    assert refused.kind == "rate_limited"
    assert "the disk is full" in refused.message


def test_a_child_has_a_gate_of_its_own(tmp_path: Path, hours: Passing) -> None:
    """A fork while a lock is held must not lock the child for ever, nor give one turn to two processes."""
    type = load([write(tmp_path, limited("https://api.shop.test/v1", "{in_flight: 1}"))]).request_types["shop/pay"]
    gates = Gates(MemoryStore(), hours.clock(), live=False)
    gate = gates.of(type)
    assert gate is gates.of(type) is not None

    def in_child() -> Any:
        pid = os.fork()
        if not pid:
            mine = gates.of(type)
            sent = mine is not gate and mine is not None and mine.send(deadline(1), at(hours, WORKS))[1] == WORKS
            os._exit(0 if sent else 1)
        return hours.now, answer(200 + os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    assert gate
    assert gate.send(deadline(), in_child)[1] == WORKS


# The file -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rate", "read"),
    [
        ("{per_second: 25, in_flight: 16}", Rate(25, 25, 16)),
        ("{per_second: {test: 25, live: 100}}", Rate(25, 100, None)),
        ("{per_second: {live: 0.5}}", Rate(None, 0.5, None)),
        ("{}", Rate(None, None, None)),
    ],
)
def test_a_rate_is_read(tmp_path: Path, rate: str, read: Rate) -> None:
    """It belongs to the gateway's own address: whoever stands in its place allows what they like."""
    folder = write(tmp_path, limited("https://api.shop.test/v1", rate))
    assert load([folder]).request_types["shop/pay"].rate == read
    assert load([folder], base_urls={"shop": "https://sandbox.test"}).request_types["shop/pay"].rate is None


@pytest.mark.parametrize(
    "rate", ["{per_second: 0}", "{per_second: {}}", "{per_second: {fast: 1}}", "{in_flight: 0.5}", "{per_minute: 1}"]
)
def test_a_rate_that_is_none_is_told(tmp_path: Path, rate: str) -> None:
    with pytest.raises(DefinitionError, match=r"_gateway\.yml:\d+:\d+"):
        load([write(tmp_path, limited("https://api.shop.test/v1", rate))])


def test_the_mode_decides(tmp_path: Path, hours: Passing) -> None:
    """Test calls and live calls have budgets of their own."""
    type = load([write(tmp_path, limited("https://api.shop.test/v1", "{per_second: {test: 1, live: 2}}"))])
    pay = type.request_types["shop/pay"]
    for live, gap in ((False, 1), (True, 0.5)):
        gate = Gates(MemoryStore(), hours.clock(), live=live).of(pay)
        assert gate
        moments = [datetime.fromisoformat(gate.send(deadline(), at(hours, WORKS))[0]) for _ in range(2)]
        assert (moments[1] - moments[0]).total_seconds() == pytest.approx(gap)


@pytest.mark.parametrize(("dispatcher", "waits"), [(Dispatcher(), True), (Told(), False)])
def test_a_stand_in_is_not_limited(tmp_path: Path, hours: Passing, dispatcher: Sender, waits: bool) -> None:
    """What a test or a demo puts in the dispatcher's place reaches no gateway; a dispatcher of one's own does."""
    folder = write(tmp_path, limited("http://127.0.0.1:9", "{per_second: 1}"))
    files, clock = OnlyHere(folder), hours.clock()
    engine = Engine(folder, store=MemoryStore(), environment=SECRETS, dispatcher=dispatcher, clock=clock, files=files)
    began = hours.now
    for _ in range(3):
        with contextlib.suppress(TransportError):
            engine.send("shop/pay", PAY)
    assert (hours.now - began >= timedelta(seconds=2)) == waits


def test_without_a_rate_there_is_no_gate(tmp_path: Path) -> None:
    """A gateway that declares none costs nothing: two commits, and no budget."""
    assert load([write(tmp_path, SHOP)]).request_types["shop/pay"].rate is None
    here = host(tmp_path)
    here.engine.send("shop/pay", PAY)
    assert here.store.commits == [["insert call"], ["upsert sale", "update call"]]


# The engine -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def store() -> CountingStore:
    return CountingStore()


def test_a_refused_call_is_not_done_and_can_be_repeated(
    tmp_path: Path, gateway: Gateway, hours: Passing, store: CountingStore
) -> None:
    """Its caller is told that nothing was sent and why; the same operation is carried out when asked for again."""
    engine = engine_at(tmp_path, gateway.url, "{per_second: 0.01}", store, hours.clock())
    engine.send("shop/pay", PAY)
    with pytest.raises(TransportError, match="not carried out: shop is called as often as its file allows") as told:
        engine.send("shop/pay", PAY, operation="order-17")
    assert told.value.call
    assert (told.value.call["state"], told.value.call["attempts"][-1]["class"]) == ("not_done", "rate_limited")
    assert told.value.call["attempts"][-1]["phase"] == "not_sent"
    with pytest.raises(TransportError):
        engine.send("shop/read", {"id": "p1"})
    hours.pass_by(100)
    result = engine.send("shop/pay", PAY, operation="order-17")
    assert result.call
    assert (result.call.id, result.call["state"]) == (told.value.call.id, "succeeded")
    assert len(gateway.requests) == 2


def test_a_call_still_costs_two_commits(tmp_path: Path, gateway: Gateway, hours: Passing, store: CountingStore) -> None:
    """Turns are leased for many calls at once where many are made."""
    engine = engine_at(tmp_path, gateway.url, "{per_second: 25}", store, hours.clock())
    for _ in range(100):
        engine.send("shop/pay", PAY)
    leases = store.commits.count(["update rate_budget"])
    assert leases <= 3 + 100 / 6
    assert sum("call" in change for commit in store.commits for change in commit) == 200
    assert len(store.find("rate_budget")) == 1


def test_a_queued_call_that_is_held_back_is_put_off(
    tmp_path: Path, gateway: Gateway, hours: Passing, store: CountingStore
) -> None:
    """However often: nobody waits for it, and the gateway was not even asked. So it is never given up for that."""
    engine = engine_at(tmp_path, gateway.url, "{per_second: 0.000001}", store, hours.clock())
    engine.send("shop/pay", PAY)
    engine.send_later("shop/pay", {"amount": 6})
    for _ in range(20):
        assert engine.run_due() == 1
        (call,) = engine.find("call", state="prepared")
        assert call["due"] > hours.now.isoformat()[:23]
        hours.now = datetime.fromisoformat(call["due"])
    assert len(gateway.requests) == 1
    hours.pass_by(1_000_000)
    engine.run_due()
    assert [call["state"] for call in engine.find("call")] == ["succeeded", "succeeded"]


def test_the_circuit_of_an_engine(tmp_path: Path, gateway: Gateway, hours: Passing, store: CountingStore) -> None:
    """A gateway that broke is left alone, is tried after a while, and is called again when it answers."""
    gateway.answer = lambda *_: (500, {})
    engine = engine_at(tmp_path, gateway.url, "{in_flight: 16}", store, hours.clock())
    for _ in range(FAILURES):
        with pytest.raises(UnknownOutcome):
            engine.send(*ONCE)
    for _ in range(5):
        with pytest.raises(TransportError, match=r"failed 10 times in a row and is left alone for \d+ s more"):
            engine.send(*ONCE)
    assert len(gateway.requests) == FAILURES
    gateway.answer = lambda *_: (200, {"id": "p1", "amount": 5})
    hours.pass_by(REST)
    for _ in range(5):
        engine.send(*ONCE)
    assert len(gateway.requests) == FAILURES + 5


def test_after_an_outage_no_herd_comes(tmp_path: Path, gateway: Gateway, hours: Passing, store: CountingStore) -> None:
    """What was put off while the gateway was away comes back no faster than the rate."""
    gateway.answer = lambda *_: (500, {})
    engine = engine_at(tmp_path, gateway.url, "{per_second: 20, in_flight: 16}", store, hours.clock())
    for _ in range(FAILURES):
        with pytest.raises(UnknownOutcome):
            engine.send(*ONCE)
    for number in range(60):
        engine.send_later("shop/pay", {"amount": number + 1})
    engine.run_due(100)
    assert len(engine.find("call", state="prepared")) == 60
    arrivals: list[float] = []

    def works(*_: str) -> Any:
        arrivals.append(hours.clock().seconds())
        return 200, {"id": f"p{len(arrivals)}", "amount": 5}

    gateway.answer = works
    hours.pass_by(REST)
    engine.run_due(100)
    assert len(arrivals) == 60
    assert most_in_a_second(arrivals) <= 20 * (1 + LATE) + 1


def test_a_webhook_is_processed_while_the_gate_is_shut(
    tmp_path: Path, gateway: Gateway, hours: Passing, store: CountingStore
) -> None:
    """Its own records are kept at once; only the call that it asks for waits."""
    write(tmp_path, {"webhook_processors/shop/payment.paid.json.j2": PAID})
    engine = engine_at(tmp_path, gateway.url, "{per_second: 0.01}", store, hours.clock())
    engine.send("shop/read", {"id": "p1"})
    body = b'{"id": "e1", "type": "payment.paid", "payment": "p1"}'
    headers = sign(scheme_of("stripe"), engine.settings.secret("SHOP_HOOK"), body, hours.now.timestamp())
    assert engine.receive("shop", headers, body)["state"] == "processed"
    assert [sale["state"] for sale in engine.find("sale")] == ["paid"]
    assert [call["state"] for call in engine.find("call")] == ["prepared"]
    hours.pass_by(100)
    engine.run_due()
    assert [call["state"] for call in engine.find("call")] == ["succeeded"]


def test_who_waited_until_its_lease_ended_sends_nothing(
    tmp_path: Path, gateway: Gateway, hours: Passing, store: CountingStore
) -> None:
    """A machine that slept while a call waited for its turn: another process may have sent it meanwhile."""
    first = engine_at(tmp_path, gateway.url, "{per_second: 1}", store, hours.clock())
    other = engine_at(tmp_path, gateway.url, "{per_second: 1}", store, hours.clock())

    def sleep(seconds: float) -> None:
        hours.pass_by(seconds)
        if not asleep:
            asleep.append(seconds)
            hours.pass_by(LEASE)
            other.run_due()

    asleep: list[float] = []
    late = engine_at(tmp_path, gateway.url, "{per_second: 1}", store, Clock(lambda: hours.now, sleep=sleep))
    first.send("shop/pay", {"amount": 1})
    result = late.send("shop/pay", {"amount": 2}, operation="order-17")
    assert asleep
    assert result.call
    assert (result.call["state"], len(gateway.requests)) == ("succeeded", 2)


# Several processes ----------------------------------------------------------------------------------------------------


def test_no_more_at_once_than_allowed_at_the_gateway(tmp_path: Path, gateway: Gateway) -> None:
    """Twelve threads, three places: never more than three requests are under way, and three there are."""
    three = threading.Barrier(3)

    def together() -> Any:
        three.wait(20)
        return 200, {"id": "p1", "amount": 5}

    counter = Counter(gateway, together)
    engine = engine_at(tmp_path, gateway.url, "{in_flight: 3}", MemoryStore())
    with ThreadPoolExecutor(12) as pool:
        list(pool.map(lambda number: engine.send("shop/pay", {"amount": number}), range(1, 13)))
    assert (len(counter.arrivals), counter.at_once) == (12, 3)


def test_processes_share_a_rate(gateway: Gateway, store_url: str) -> None:
    """Three processes, four threads each: no second sees more than the rate, but for what was late on its way.

    A call leaves within LATE of its turn, and arrives at most `on_its_way` later; the turns of the calls that arrive
    within one second so lie within 1 + LATE + on_its_way, and turns are never closer than the rate says.
    """
    per_second, count, counter = 60, 41, Counter(gateway)
    sent = in_processes(3, pay_all, gateway.url, store_url, f"{{per_second: {per_second}}}", 4, count)
    assert not [one for one in sent if isinstance(one, Exception)]
    left = {body: moment for process in sent for body, moment in process}
    assert left.keys() == counter.arrivals.keys()
    assert len(left) == 3 * (count - 1)
    on_its_way = max(counter.arrivals[body] - moment for body, moment in left.items())
    assert most_in_a_second(list(left.values())) <= per_second * (1 + LATE) + 1
    assert most_in_a_second(list(counter.arrivals.values())) <= per_second * (1 + LATE + on_its_way) + 1
    assert max(left.values()) - min(left.values()) >= (len(left) - 1) / per_second - LATE
