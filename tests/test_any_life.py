"""Whatever happens to a host, in whatever order: it orders, dies, is lied to, waits, is told by events and by people.

A model of the money: what the bank did is what was ordered, once; and the journal says so.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from chaos.children import _attempt
from chaos.gateway import BANKS, FAULTS, SECRET, Asked, Bank, TerseBank
from chaos.orders import SETTLED, Order
from chaos.points import POINTS, Points, WatchedStore
from hosts import OnlyHere, write
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from scale import SCALE

from engine.calls import CALL, NEXT
from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Answer, Failure
from engine.errors import EngineError
from engine.ids import new_id
from engine.records import Change, Record
from engine.request_types import Request
from engine.signatures import SHIPPED, sign
from engine.store import Store
from engine.store.memory import MemoryStore
from engine.store.sql import SqlStore

LIVES = 150 * SCALE
STEPS = 50
FILES = Path(__file__).parent / "chaos/files"
SECRETS = {"BANK_KEY": SECRET, "BANK_HOOK": "hook_0123456789abcdef0123456789abcdef"}
WITH_EVENTS = {
    "request_types/bank/_gateway.yml": (FILES / "request_types/bank/_gateway.yml").read_text()
    + """\
webhook:
  scheme: stripe
  secrets: [BANK_HOOK]
  id: "{{ event.id }}"
  type: "{{ event.type }}"
  key: "{{ event.key }}"
  reference: "{{ event.object.call }}"
  object: "{{ event.object }}"
""",
    "webhook_processors/bank/moved.json.j2": """\
{"upsert": "movement",
 "where": {"gateway_id": {{ event.object.id }}},
 "set": {"order": {{ event.object.order }}, "object": {{ event.object.object }}, "amount": {{ event.object.amount }},
         "currency": {{ event.object.currency }}}}
""",
}
AT_THE_BANK = (None, "never there", *FAULTS)
WHERE = (None, "before the first byte", "while the bank acts", *POINTS)
ENDED = {"declined", "not_done", "cancelled"}


class DiedError(BaseException):
    """The process is gone: nothing of it goes on, whatever it meant to do at its end."""


class Mortal(Points):
    """A process, which dies at a point; the dead reach no other."""

    def __init__(self, point: str | None) -> None:
        super().__init__()
        self._at, self._is_dead = point, False

    def reach(self, point: str | None) -> None:
        """It is at `point` now, if that is one."""
        self._is_dead = self._is_dead or (point is not None and point == self._at)
        if self._is_dead:
            raise DiedError(point)


class Journal(MemoryStore):
    """A store that outlives its processes, and takes note of every step that a call makes."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: Counter[tuple[str, str]] = Counter()

    def apply(self, changes: Sequence[Change]) -> list[Record]:
        """As `Store.apply`."""
        before = {call.id: call["state"] for call in self.find("call", limit=9999)}
        made = super().apply(changes)
        for record in made:
            if record.type == CALL.name and record.id in before:
                self.steps[before[record.id], record["state"]] += 1
        return made


class Line:
    """What a process has for a dispatcher: the way to the bank, on which things go wrong as `faults` says."""

    def __init__(self, bank: Bank, process: Mortal, faults: Iterator[str | None]) -> None:
        self._bank, self._process, self._faults = bank, process, faults

    def send(self, request: Request, *, credentials: Any, **_: Any) -> Answer | Failure:
        """As `engine.dispatcher.Sender` says."""
        self._process.reach("before the first byte")
        fault = next(self._faults, None)
        if fault in {"never there", "reset before reading"}:
            there = fault != "never there"
            return Failure("read" if there else "connect", sent=there, message=str(fault), seconds=0.0)
        if fault == "429":
            return Answer(429, {"content-type": "application/json"}, b'{"error": {"type": "rate_limit_error"}}', 0.0)
        named = {name.lower(): value for name, value in [*request.headers, *credentials.items()]}
        asked = Asked(request.method, request.url.removeprefix("https://bank.test"), named, request.body)
        reply = asyncio.run(self._bank.handle(asked, fault, executes=len(self._bank.effects) % 2 == 0))
        self._process.reach("while the bank acts")
        if fault not in {None, "500 saved", "500 not executed"}:
            return Failure("closed", sent=True, message=str(fault), seconds=0.0)
        headers = {"content-type": "application/json", **{key.lower(): one for key, one in reply.headers.items()}}
        return Answer(reply.status, headers, json.dumps(reply.body).encode(), 0.0)


faults = st.lists(st.sampled_from(AT_THE_BANK), max_size=4)
deaths = st.sampled_from(WHERE)
KINDS = st.sampled_from(["charge", "charge", "shared", "refused", "cash"])
TIMES = st.sampled_from([1, 5, 61, 3600, 13 * 3600, 25 * 3600])  # seconds
BEHIND, AHEAD = (
    -5 * 3600,
    50 * 60,
)  # seconds by which the host's clock may be wrong: less than a key's margin, than SETTLES


class Host(RuleBasedStateMachine):
    """A host, its bank and everybody around them."""

    files: ClassVar[OnlyHere]
    store_of: ClassVar[Callable[[], Store]]
    steps: ClassVar[Counter[tuple[str, str]]] = Counter()

    def __init__(self) -> None:
        super().__init__()
        self.now, self.wrong = datetime(2026, 1, 1, tzinfo=UTC).timestamp(), 0
        self.bank: Bank = Bank(lambda: self.now)
        self.store = Host.store_of()
        self.orders: dict[int, Order] = {}
        self.told: dict[int, str] = {}
        self.events = 0

    def process(self, what_goes_wrong: Sequence[str | None] = (), death: str | None = None) -> Engine:
        """A process that begins."""
        alive = Mortal(death)
        return Engine(
            store=WatchedStore(self.store, alive),
            files=self.files,
            environment=SECRETS,
            dispatcher=Line(self.bank, alive, iter(what_goes_wrong)),
            clock=Clock(self.host_time, new_id, lambda _: None, lambda _: 0.0),
        )

    def host_time(self) -> datetime:
        """What the host takes for the time."""
        return datetime.fromtimestamp(self.now + self.wrong, UTC)

    def ask(self, number: int, engine: Engine) -> None:
        """Have an order carried out, and remember what was said."""
        with suppress(DiedError):
            said, _ = _attempt(engine, self.orders[number])
            if self.told.get(number) not in SETTLED:
                self.told[number] = said

    # What may happen --------------------------------------------------------------------------------------------------

    @initialize(bank=st.sampled_from(list(BANKS.values())))
    def opens(self, bank: type[Bank]) -> None:
        """A bank opens that answers a key that comes again in its own way."""
        self.bank = bank(lambda: self.now)

    @rule(kind=KINDS, later=st.booleans(), wrong=faults, death=deaths)
    def order(self, kind: str, later: bool, wrong: list[str | None], death: str | None) -> None:
        """Somebody orders something."""
        self.ordered(kind, len(self.orders), later=later, wrong=wrong, death=death)

    def ordered(
        self, kind: str, number: int, *, later: bool = False, wrong: Sequence[str | None] = (), death: str | None = None
    ) -> None:
        """Order what was not ordered yet."""
        data: dict[str, Any] = {"amount": 2 * number + 100, "currency": "usd", "order": f"order-{number}"}
        if kind == "cash":
            self.orders[number] = Order(number, "cash", data, later)
        else:
            card = "tok_declined" if kind == "refused" else "tok_visa"
            self.orders[number] = Order(number, "charge", {**data, "source": card, "shared": kind == "shared"}, later)
        self.ask(number, self.process(wrong, death))

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), wrong=faults, death=deaths)
    def order_again(self, data: st.DataObject, wrong: list[str | None], death: str | None) -> None:
        """Somebody who was not told, or was and does not believe it, orders the same again."""
        self.ask(data.draw(st.sampled_from(sorted(self.orders))), self.process(wrong, death))

    @rule(wrong=faults, death=deaths)
    def work(self, wrong: list[str | None], death: str | None) -> None:
        """A worker does what is due."""
        self.work_dies(wrong, death)

    def work_dies(self, wrong: Sequence[str | None], death: str | None) -> None:
        """The same, outside of a search."""
        with suppress(DiedError):
            self.process(wrong, death).run_due(3)

    @rule(seconds=TIMES)
    def wait(self, seconds: int) -> None:
        """Time passes."""
        self.now += seconds

    @rule(wrong=st.sampled_from([BEHIND, 0, 0, AHEAD]))
    def set_the_clock(self, wrong: int) -> None:
        """Somebody sets the host's clock, right or wrong."""
        self.wrong = wrong

    @precondition(lambda self: self.bank.effects)
    @rule(data=st.data(), says=st.sampled_from(["key", "reference", "neither"]), death=deaths)
    def tell(self, data: st.DataObject, says: str, death: str | None) -> None:
        """The bank tells of something that it did, perhaps once more."""
        effect = data.draw(st.sampled_from(self.bank.effects))
        told = {**effect, "call": effect["call"] if says == "reference" else None}
        event = {"id": f"evt_{effect['id']}", "type": "moved", "object": told}
        body = json.dumps(event | ({"key": effect["key"]} if says == "key" else {})).encode()
        moment = self.host_time().timestamp()
        with suppress(DiedError):
            self.process((), death).receive("bank", sign(SHIPPED["stripe"], SECRETS["BANK_HOOK"], body, moment), body)

    @precondition(lambda self: any(self.open_calls()))
    @rule(data=st.data(), act=st.sampled_from(["come_back", "look_up", "cancel", "resolve"]), wrong=faults)
    def act(self, data: st.DataObject, act: str, wrong: list[str | None]) -> None:
        """A person does something about an open call, and does not lie."""
        call, engine = data.draw(st.sampled_from(list(self.open_calls()))), self.process(wrong)
        with suppress(EngineError):
            if act == "resolve" and not call["due"]:
                engine.recovery.resolve(call, self.books_say(call), "ann", "it is in the bank's books, or is not")
            elif act != "resolve":
                getattr(engine.recovery, act)(call, "ann", "to see")

    def open_calls(self) -> Iterator[Record]:
        """Those that a person can do something about."""
        return (
            CALL.complete(call)
            for call in self.store.find("call", order="id", limit=9999)
            if call["state"] in {"prepared", "unknown"}
        )

    def books_say(self, call: Record) -> str:
        """What a person finds who looks at the bank for a call."""
        return "succeeded" if any(effect["call"] == call.id for effect in self.bank.effects) else "not_done"

    # What holds at any moment -----------------------------------------------------------------------------------------

    @invariant()
    def nothing_is_done_twice(self) -> None:
        """Each order has one effect of a kind at most, and a key is used for the same bytes only."""
        times = Counter((effect["order"], effect["object"]) for effect in self.bank.effects)
        assert [one for one, count in times.items() if count > 1] == []
        assert self.bank.counts["keys reused with other bytes"] == 0

    @invariant()
    def nothing_is_said_that_is_not_so(self) -> None:
        """No record of what was not done, no success told of it, and nothing that was done is called undone."""
        done = {effect["id"]: effect for effect in self.bank.effects}
        for record in self.store.find("movement", limit=9999):
            effect = done[record["gateway_id"]]
            assert (record["order"], record["amount"]) == (effect["order"], effect["amount"])
        asked = {effect["call"] for effect in self.bank.effects}
        for call in self.store.find("call", limit=9999):
            assert not ((call.get("resolution") or call["state"]) in ENDED and call.id in asked)
        ordered = {effect["order"] for effect in self.bank.effects}
        assert {f"order-{number}" for number, said in self.told.items() if said in {"succeeded", "by hand"}} <= ordered

    # How it ends ------------------------------------------------------------------------------------------------------

    def teardown(self) -> None:
        """Nothing goes wrong any more: everything is settled, and the journal, the records and the bank agree."""
        self.wrong = 0
        for _ in range(10):
            self.recover()
            for number in [number for number in self.orders if self.told.get(number) not in SETTLED]:
                self.ask(number, self.process())
            self.now += 25 * 3600
        self.recover()
        self.nothing_is_done_twice()
        self.nothing_is_said_that_is_not_so()
        cancelled = {call["data"]["order"] for call in self.store.find("call", where={"state": "cancelled"})}
        unsettled = {order.name for order in self.orders.values() if self.told.get(order.number) not in SETTLED}
        assert unsettled <= cancelled
        by_hand = {call.id for call in self.store.find("call", limit=9999) if call.get("resolution") == "succeeded"}
        kept = {record["gateway_id"] for record in self.store.find("movement", limit=9999)}
        assert [one for one in self.bank.effects if one["id"] not in kept and one["call"] not in by_hand] == []
        assert {call["state"] for call in self.store.find("call", limit=9999)} <= {
            "succeeded", "declined", "resolved", "cancelled", "not_done"
        }  # fmt: skip
        if isinstance(self.store, Journal):
            assert [step for step in self.store.steps if step[0] != step[1] and step[1] not in NEXT[step[0]]] == []
            Host.steps.update(self.store.steps)

    def recover(self) -> None:
        """What workers do until nothing is due, and then people."""
        engine = self.process()
        while True:
            while engine.run_due(50):
                pass
            moments = [one for call in self.open_or_sending() if (one := call.get("due") or call.get("lease"))]
            if not moments:
                break
            self.now = max(self.now, datetime.fromisoformat(min(moments)).timestamp()) + 0.002
        for call in self.store.find("call", where={"state": "unknown"}, limit=9999):
            engine.recovery.resolve(call, self.books_say(call), "ann", "it is in the bank's books, or is not")

    def open_or_sending(self) -> list[Record]:
        """Those that a worker comes back to."""
        return self.store.find("call", where={"state": ["prepared", "sending", "unknown"]}, limit=9999)


@pytest.fixture(autouse=True)
def host_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The chaos runs' files, and what makes them hear of events."""
    root = tmp_path_factory.mktemp("host")
    shutil.copytree(FILES, root, dirs_exist_ok=True)
    Host.files, Host.store_of = OnlyHere(write(root, WITH_EVENTS)), Journal
    yield
    Host.steps.clear()


@pytest.mark.timeout(240 * SCALE)
def test_any_life() -> None:
    """So many lives of so many steps: no charge is doubled, lost or made up, and every step is one of the drawing."""
    run_state_machine_as_test(Host, settings=settings(max_examples=LIVES, stateful_step_count=STEPS, print_blob=True))
    walked = {(before, after) for before, after in Host.steps if before != after}
    drawn = {(before, after) for before, states in NEXT.items() for after in states}
    assert walked <= drawn
    assert {after for _, after in walked} >= {"sending", "succeeded", "declined", "not_done", "unknown", "prepared"}


@pytest.mark.parametrize("death", WHERE[1:])
@pytest.mark.parametrize("fault", [None, "answer lost", "reset before reading", "500 saved"])
@pytest.mark.parametrize("kind", ["shared", "cash"])
def test_a_death_at_each_point(store_url: str, kind: str, fault: str | None, death: str) -> None:
    """Whatever the bank does just then, on every kind of store: what is left is settled, and nothing done twice.

    Once the process dies as it sends for the first time, once as it sends what another one left.
    """
    Host.store_of = lambda: SqlStore(store_url)
    host = Host()
    host.ordered(kind, 0, wrong=[fault], death=death)
    host.ordered(kind, 1, later=True)
    host.now += 61
    host.work_dies([fault], death)
    host.teardown()
    assert isinstance(host.store, SqlStore)
    host.store.close()


def test_after_an_older_backup_nothing_is_charged_again() -> None:
    """The journal forgot an order, the bank did not: its key is the same, so it is refused, and a person is asked.

    Nothing concludes that nothing was done, however long it is looked for; who looks into the bank's books says so.
    """
    host = Host()
    assert isinstance(host.store, Journal)
    host.process().find("call")
    host.ordered("charge", 0)
    backup = deepcopy((host.store._records, host.store._keys))
    host.ordered("charge", 1)
    assert host.told == {0: "succeeded", 1: "succeeded"}
    host.store._records, host.store._keys = backup
    host.told.clear()
    for number in (0, 1):
        host.ask(number, host.process())
    assert host.told == {0: "succeeded", 1: "unknown"}
    for _ in range(5):
        host.now += 25 * 3600
        assert host.process().run_due(50) == 0
        (call,) = host.store.find("call", where={"state": "unknown"})
        host.process().recovery.look_up(CALL.complete(call), "ann", "to see")
        host.ask(1, host.process())
    assert host.told[1] == "unknown"
    assert [effect["order"] for effect in host.bank.effects] == ["order-0", "order-1"]


def test_after_an_older_backup_a_terse_bank_charges_nothing_again_either() -> None:
    """It does not say that the request is another one, and what it did is not found by ours: that proves nothing."""
    host = Host()
    host.opens(TerseBank)
    assert isinstance(host.store, Journal)
    host.process().find("call")
    host.ordered("charge", 0)
    backup = deepcopy((host.store._records, host.store._keys))
    host.ordered("charge", 1)
    host.store._records, host.store._keys = backup
    host.ask(1, host.process())
    while any(call.get("due") for call in host.open_or_sending()):
        host.now += 7 * 3600
        host.process().run_due(50)
        host.ask(1, host.process())
    for _ in range(2):
        (call,) = host.open_or_sending()
        host.process().recovery.look_up(CALL.complete(call), "ann", "to see")
        host.now += 25 * 3600
        host.process().run_due(50)
    assert [call["state"] for call in host.open_or_sending()] == ["unknown"]
    assert [effect["order"] for effect in host.bank.effects] == ["order-0", "order-1"]
