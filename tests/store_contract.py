"""What every store must do, as a class of tests. A host's own store is tested by

    class TestMyStore(StoreContract):
        @pytest.fixture
        def store(self):
            return MyStore()

where each `MyStore()` is empty.
"""

from __future__ import annotations

import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from engine.errors import Conflict, DataError
from engine.records import Change, Record, RecordType, Scope
from engine.store import Order, Store

TEXT = {"type": "string"}
INTEGER = {"type": "integer"}

PAYMENT = RecordType(
    "payment",
    {
        "gateway_id": TEXT,
        "external_id": TEXT,
        "state": {"enum": ["pending", "paid", "refunded"]},
        "amount_cents": INTEGER,
        "customer": TEXT,
        "captured": {"type": "boolean"},
        "tags": {"type": "array"},
        "note": {},
    },
    required=("gateway_id",),
    unique=(("gateway_id",), ("external_id",)),
    index=("state", "amount_cents", "customer", "captured", "tags"),
)
SALE = RecordType("sale", {"gateway_id": TEXT, "state": TEXT}, unique=(("gateway_id",),))
PERSON = RecordType(
    "person",
    {"account_id": TEXT, "role": TEXT, "name": TEXT},
    unique=(("account_id", "role"),),
    within=("gateway", "live"),
)
WORK = {"state": TEXT, "due": TEXT, "worker": TEXT, "key": TEXT, "data": {}}
CALL = RecordType("call", WORK, unique=(("key",),), index=("state", "due"), within=())
STALL = RecordType("stall", {"number": {}}, unique=(("number",),))
ERRAND = RecordType("errand", WORK, unique=(("key",),), index=("state", "due"), within=())

HERE = Scope("stripe")
ORDERS: tuple[Order, Order] = ("id", "-id")

SEARCHES: list[tuple[dict[str, Any], str]] = [  # of the payments a to g in test_find
    ({}, "abcdefg"),
    ({"state": "paid"}, "bd"),
    ({"state": ["pending", "refunded"]}, "ac"),
    ({"state": None}, "efg"),
    ({"state": ["pending", None]}, "aefg"),
    ({"state": []}, ""),
    ({"amount_cents": {"lt": 0}}, "ab"),
    ({"amount_cents": {"gte": -5, "lt": 10}}, "bcd"),
    ({"amount_cents": {"gt": 9}}, "ef"),
    ({"amount_cents": {"gt": 2**63}}, "f"),
    ({"amount_cents": 10**100}, "f"),
    ({"amount_cents": [{"lt": -5}, {"gt": 10}, 0]}, "acf"),
    ({"amount_cents": {"lte": None}}, ""),
    ({"amount_cents": "9"}, ""),
    ({"amount_cents": True}, ""),
    ({"captured": True}, "a"),
    ({"captured": False}, "b"),
    ({"captured": 1}, ""),
    ({"tags": "red"}, "ab"),
    ({"tags": ["green", "blue"]}, "bc"),
    ({"tags": {"gte": "h"}}, "ab"),
    ({"customer": {"gte": "b"}}, "defg"),
    ({"customer": {"gt": "Z", "lt": "b"}}, "c"),
    ({"customer": "a\x00b"}, "c"),
    ({"customer": {"lt": "B"}}, "b"),
    ({"customer": {"gt": "\ue000"}}, "g"),
    ({"customer": "\ud800"}, "e"),
    ({"state": "paid", "tags": "red"}, "b"),
    ({"tags": "red", "state": ["paid", "pending"], "amount_cents": {"lt": -5}}, "a"),
    ({"gateway_id": "c"}, "c"),
    ({"gateway_id": ["a", "g", "unknown"]}, "ag"),
    ({"gateway": "adyen"}, ""),
    ({"gateway": ["adyen", "stripe"], "account": {"lte": ""}}, "abcdefg"),
    ({"id": "unknown"}, ""),
    ({"id": "\x00\ud800"}, ""),
]

ODD_VALUES = [
    "NUL \x00, ctrl \x01\x1f\x7f",
    "lone \ud800 and \udfff",
    "é \U0001f600 \u2028",
    2**63,
    -(10**100),
    [1, [2, {"a": []}]],
    {"a": {"b": {"c": [True, False, 0.1]}}, "\x00": "\udc80"},
    1e300,
    "",
    {},
    '"}, {"x": "',
    "x" * 100_000,
]


def upsert(key: str, /, *, scope: Scope = HERE, when: Mapping[str, Any] | None = None, **values: Any) -> Change:
    """A payment as a mapper would record it."""
    return Change("upsert", PAYMENT, scope, {"gateway_id": key}, values, when or {})


def update(key: str, /, *, when: Mapping[str, Any] | None = None, must: bool = False, **values: Any) -> Change:
    """A change of a payment that must be there."""
    return Change("update", PAYMENT, HERE, {"gateway_id": key}, values, when or {}, must=must)


def delete(key: str, when: Mapping[str, Any] | None = None) -> Change:
    """The end of a payment."""
    return Change("delete", PAYMENT, HERE, {"gateway_id": key}, {}, when or {})


def ends(
    seen: Record, state: str = "succeeded", when: Mapping[str, Any] | None = None, as_of: str | None = None, **more: Any
) -> Change:
    """The end of a call by whoever has it in hand."""
    held = {"state": "sending", "worker": "w"} if when is None else when
    return Change("update", CALL, HERE, {"id": "call"}, {"state": state, **more}, held, as_of, must=True, seen=seen)


def claim(type: RecordType, now: str, limit: int, worker: str) -> Change:
    """What a worker asks for."""
    where = {"state": ["prepared", "failed"], "due": {"lte": now}}
    return Change("update", type, Scope(""), where, {"state": "sending", "due": None, "worker": worker}, limit=limit)


def together(count: int, work: Callable[[int], Any]) -> list[Any]:
    """What `work` returns or raises in `count` threads that begin at once."""
    barrier, outcomes = threading.Barrier(count), list[Any]([None] * count)

    def run(number: int) -> None:
        barrier.wait()
        try:
            outcomes[number] = work(number)
        except Exception as error:  # noqa: BLE001  # an outcome like any other
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    end = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


class Pause:
    """An `inside` that holds the first transaction open until it is told to go on."""

    def __init__(self) -> None:
        self.reached, self.go_on = threading.Event(), threading.Event()

    def __call__(self, *_: Any) -> None:
        if not self.reached.is_set():
            self.reached.set()
            assert self.go_on.wait(30)

    def overlap(self, first: Callable[[], Any], second: Callable[[], Any]) -> list[Any]:
        """What two return, the second of which begins while the first stands before its commit."""
        later: list[Any] = []

        def run_second() -> None:
            self.reached.wait(30)
            timer = threading.Timer(0.2, self.go_on.set)  # long enough for the second to meet the first's locks
            timer.start()
            later.append(second())

        thread = threading.Thread(target=run_second)
        thread.start()
        earlier = first()
        thread.join()
        return [earlier, *later]


def contents(store: Store, *types: str) -> list[Record]:
    """Everything that a store holds."""
    return [record for type in types or ("payment", "person", "call", "errand") for record in everything(store, type)]


def everything(store: Store, type: str, **where: Any) -> list[Record]:
    """All pages of a search, oldest first."""
    found: list[Record] = []
    while page := store.find(type, where=where, order="id", limit=100, after=found[-1].id if found else None):
        found += page
    return found


class StoreContract:
    """Subclass it and give it a fixture `store`."""

    # One change -------------------------------------------------------------------------------------------------------

    def test_upsert_creates_then_changes(self, store: Store) -> None:
        (created,) = store.apply([upsert("ch_1", state="pending", amount_cents=500)])
        assert created.properties == {"gateway_id": "ch_1", "state": "pending", "amount_cents": 500}
        assert (created.type, created.scope, created.as_of) == ("payment", HERE, None)
        (changed,) = store.apply([upsert("ch_1", state="paid", customer="cus_1")])
        assert changed.id == created.id
        expected = {"gateway_id": "ch_1", "state": "paid", "amount_cents": 500, "customer": "cus_1"}
        assert changed.properties == expected
        assert store.find("payment") == [changed]

    @pytest.mark.parametrize("type", [PAYMENT, SALE], ids=["several keys", "one key"])
    def test_upsert_may_give_another_key(self, store: Store, type: RecordType) -> None:
        def renamed() -> Record:
            (record,) = store.apply([Change("upsert", type, HERE, {"gateway_id": "a"}, {"gateway_id": "b"})])
            return record

        created = renamed()
        store.apply([Change("delete", type, HERE, {"id": created.id})])
        (old,) = store.apply([Change("upsert", type, HERE, {"gateway_id": "a"}, {"state": "paid"})])
        assert renamed().id == old.id
        assert [record.properties for record in store.find(type.name)] == [{"gateway_id": "b", "state": "paid"}]

    def test_none_clears_and_what_is_absent_stays(self, store: Store) -> None:
        store.apply([upsert("ch_1", state="paid", customer="cus_1")])
        (changed,) = store.apply([update("ch_1", customer=None)])
        assert changed.properties == {"gateway_id": "ch_1", "state": "paid"}
        assert store.find("payment", where={"customer": "cus_1"}) == []
        assert store.find("payment", where={"customer": None}) == [changed]

    def test_a_change_without_effect_touches_its_record_all_the_same(self, store: Store) -> None:
        (created,) = store.apply([upsert("ch_1", state="paid")])
        assert store.apply([update("ch_1", state="paid", must=True)]) == [created]

    def test_nothing_to_do(self, store: Store) -> None:
        assert store.apply([]) == []

    def test_update_without_its_record(self, store: Store) -> None:
        assert store.apply([update("ch_1", state="paid")]) == []
        waiting = Change("update", PAYMENT, HERE, {"gateway_id": "ch_1"}, {"state": "paid"}, missing="wait")
        with pytest.raises(Conflict, match="no such record yet"):
            store.apply([upsert("ch_2"), waiting])
        assert contents(store) == []

    def test_a_waiting_update_that_its_guard_skips_does_not_wait(self, store: Store) -> None:
        store.apply([upsert("ch_1", state="refunded")])
        guarded = Change("update", PAYMENT, HERE, {"gateway_id": "ch_1"}, {"state": "paid"}, {"state": "pending"}, None)
        assert store.apply([guarded]) == []

    def test_delete_returns_what_was_there_and_leaves_no_trace(self, store: Store) -> None:
        (created,) = store.apply([upsert("ch_1", state="paid", external_id="order-1")])
        assert store.apply([delete("ch_1")]) == [created]
        assert store.apply([delete("ch_1")]) == []
        for where in ({}, {"state": "paid"}, {"external_id": "order-1"}, {"id": created.id}):
            assert store.find("payment", where=where) == []
        (again,) = store.apply([upsert("ch_2", external_id="order-1")])
        assert again.id != created.id

    def test_insert_happens_once(self, store: Store) -> None:
        first = Change("insert", CALL, HERE, {"id": "call-1"}, {"key": "k", "state": "prepared"})
        (born,) = store.apply([first])
        assert born.id == "call-1"
        assert store.apply([first]) == []
        assert store.apply([Change("insert", CALL, Scope("other"), {}, {"key": "k", "state": "sending"})]) == []
        assert store.apply([Change("insert", CALL, HERE, {"id": "call-1"}, {"key": "another"})]) == []
        assert store.find("call") == [born]

    def test_any_unique_key_that_exists_stops_an_insert(self, store: Store) -> None:
        (there,) = store.apply([upsert("ch_1", external_id="order-1")])
        new = {"gateway_id": "ch_2", "external_id": "order-1"}
        assert store.apply([Change("insert", PAYMENT, HERE, {}, new)]) == []
        assert store.find("payment") == [there]

    @pytest.mark.parametrize(("one", "other"), [(1, True), (True, 1), (0.0, False)])
    def test_a_key_that_python_takes_for_the_one_before_is_another(self, store: Store, one: Any, other: Any) -> None:
        (stall,) = store.apply([Change("insert", STALL, HERE, {}, {"number": one})])
        (moved,) = store.apply([Change("update", STALL, HERE, {"id": stall.id}, {"number": other})])
        assert store.apply([Change("insert", STALL, HERE, {}, {"number": other})]) == []
        assert len(store.apply([Change("insert", STALL, HERE, {}, {"number": one})])) == 1
        assert store.apply([Change("delete", STALL, HERE, {"number": other})]) == [moved]
        assert len(store.apply([Change("insert", STALL, HERE, {}, {"number": other})])) == 1

    @pytest.mark.parametrize(("one", "other"), [(1, 1.0), (2.0, 2), (0, -0.0), (10**23, 1e23), (1e16, 10**16)])
    def test_a_number_is_one_key_however_it_is_written(self, store: Store, one: Any, other: Any) -> None:
        """As `find` has it, and JSON Schema."""
        (stall,) = store.apply([Change("insert", STALL, HERE, {}, {"number": one})])
        assert store.apply([Change("insert", STALL, HERE, {}, {"number": other})]) == []
        assert [found.id for found in store.apply([Change("upsert", STALL, HERE, {"number": other}, {})])] == [stall.id]
        (moved,) = store.apply([Change("update", STALL, HERE, {"id": stall.id}, {"number": other})])
        assert store.apply([Change("insert", STALL, HERE, {}, {"number": one})]) == []
        assert store.find("stall", where={"number": one}) == [moved]
        assert store.apply([Change("delete", STALL, HERE, {"number": one})]) == [moved]
        assert len(store.apply([Change("insert", STALL, HERE, {}, {"number": other})])) == 1

    def test_upsert_by_an_unknown_id_creates_a_record_with_a_fresh_one(self, store: Store) -> None:
        (created,) = store.apply([Change("upsert", PAYMENT, HERE, {"id": "mine"}, {"gateway_id": "ch_1"})])
        assert created.id != "mine"
        (changed,) = store.apply([Change("upsert", PAYMENT, HERE, {"id": created.id}, {"state": "paid"})])
        assert changed.id == created.id
        assert len(contents(store)) == 1

    @pytest.mark.parametrize(
        ("when", "holds"),
        [
            ({"state": "pending"}, True),
            ({"state": ["paid", "pending"]}, True),
            ({"state": ["paid", "refunded"]}, False),
            ({"amount_cents": {"lte": 500}}, True),
            ({"amount_cents": {"lt": 500}}, False),
            ({"amount_cents": {"gt": -1, "lt": 501}}, True),
            ({"customer": {"gte": ""}}, False),  # an absent property fails a range
            ({"customer": None}, True),
            ({"state": "pending", "amount_cents": 1}, False),
        ],
    )
    def test_when_guards_a_record_that_exists(self, store: Store, when: dict[str, Any], holds: bool) -> None:
        (before,) = store.apply([upsert("ch_1", state="pending", amount_cents=500)])
        for change in (upsert("ch_1", when=when, note=1), update("ch_1", when=when, note=2), delete("ch_1", when)):
            assert bool(store.apply([change])) == holds
        assert store.find("payment") == ([] if holds else [before])

    def test_when_does_not_guard_a_record_that_is_created(self, store: Store) -> None:
        assert store.apply([upsert("ch_1", when={"state": "pending"}, state="paid")])

    def test_a_later_view_of_a_record_wins_over_an_earlier_one(self, store: Store) -> None:
        def seen(at: str, state: str) -> list[Record]:
            return store.apply([Change("upsert", PAYMENT, HERE, {"gateway_id": "ch_1"}, {"state": state}, as_of=at)])

        assert seen("2026-01-01T00:00:02.000Z", "paid")[0].as_of == "2026-01-01T00:00:02.000Z"
        assert seen("2026-01-01T00:00:01.000Z", "pending") == []
        assert seen("2026-01-01T00:00:02.000Z", "refunded")[0]["state"] == "refunded"
        (without,) = store.apply([update("ch_1", state="paid")])
        assert without.as_of == "2026-01-01T00:00:02.000Z"

    # Several changes --------------------------------------------------------------------------------------------------

    def test_changes_are_made_in_order_and_see_each_other(self, store: Store) -> None:
        touched = store.apply(
            [
                upsert("ch_1", state="pending"),
                update("ch_1", state="paid", when={"state": "pending"}),
                update("ch_2", state="paid"),
                upsert("ch_2", state="pending"),
                delete("ch_1"),
                upsert("ch_1", state="refunded"),
            ]
        )
        assert [(one["gateway_id"], one["state"]) for one in touched] == [
            ("ch_1", "pending"),
            ("ch_1", "paid"),
            ("ch_2", "pending"),
            ("ch_1", "paid"),
            ("ch_1", "refunded"),
        ]
        assert touched[0].id == touched[1].id == touched[3].id != touched[4].id
        assert {one["gateway_id"]: one["state"] for one in contents(store)} == {"ch_1": "refunded", "ch_2": "pending"}

    def test_a_key_given_up_can_be_taken_in_the_same_breath(self, store: Store) -> None:
        store.apply([upsert("ch_1", external_id="order-1")])
        store.apply([update("ch_1", external_id="order-2"), upsert("ch_2", external_id="order-1")])
        assert [one["external_id"] for one in everything(store, "payment")] == ["order-2", "order-1"]

    @pytest.mark.parametrize(
        ("last", "error"),
        [
            (update("ch_9", state="paid", must=True), Conflict),
            (update("ch_1", state="paid", must=True, when={"state": "pending"}), Conflict),
            (upsert("ch_9", external_id="order-4"), Conflict),
            (update("ch_3", external_id="order-4"), Conflict),
            (update("ch_3", gateway_id="ch_1"), Conflict),
            (upsert("ch_9", external_id="order-5"), Conflict),
            (upsert("ch_9", amount_cents="12"), DataError),
            (upsert("ch_9", amount_cents=1.0), DataError),
            (upsert("ch_9", unheard_of=1), DataError),
            (upsert("ch_9", note=float("nan")), DataError),
            (upsert("ch_9", note=b"bytes"), DataError),
            (Change("insert", PAYMENT, HERE, {}, {"state": "paid"}), DataError),  # without what is required
            (upsert("ch_9", scope=Scope("stripe", "acct\x00")), DataError),
            (Change("delete", PAYMENT, HERE, {"gateway_id": "ch_9"}, must=True), Conflict),
        ],
    )
    def test_where_one_change_fails_nothing_is_changed(self, store: Store, last: Change, error: type) -> None:
        first = upsert("ch_1", external_id="order-1", state="paid", tags=["a"])
        store.apply([first, upsert("ch_2", customer="cus_2"), upsert("ch_5", external_id="order-5")])
        before = contents(store)
        with pytest.raises(error):
            store.apply(
                [
                    upsert("ch_3", external_id="order-3", tags=["b"]),
                    update("ch_1", external_id="order-4", tags=["c"]),
                    delete("ch_2"),
                    last,
                ]
            )
        assert contents(store) == before
        assert everything(store, "payment", external_id=["order-3", "order-4"]) == []
        assert everything(store, "payment", tags=["b", "c"]) == []
        assert everything(store, "payment", external_id="order-1") == before[:1]
        assert everything(store, "payment", tags="a") == before[:1]
        assert everything(store, "payment", customer="cus_2") == before[1:2]
        assert store.apply([upsert("ch_3", external_id="order-4")])  # no key of the failed changes is held

    # Scopes and keys --------------------------------------------------------------------------------------------------

    def test_keys_hold_within_the_scope(self, store: Store) -> None:
        scopes = [HERE, Scope("adyen"), Scope("stripe", "acct_1"), Scope("stripe", "", live=True)]
        made = store.apply([upsert("ch_1", scope=scope, note=number) for number, scope in enumerate(scopes)])
        assert len({one.id for one in made}) == 4
        assert [one["note"] for one in store.apply([upsert("ch_1", scope=scope) for scope in scopes])] == [0, 1, 2, 3]
        assert [one["note"] for one in store.find("payment", where={"live": True})] == [3]
        assert [one["note"] for one in store.find("payment", where={"gateway": "stripe", "account": ""})] == [3, 0]
        assert [one["note"] for one in store.find("payment", where={"live": [True, False], "account": "acct_1"})] == [2]

    def test_a_type_may_have_keys_that_hold_across_accounts(self, store: Store) -> None:
        where = {"account_id": "acct_1", "role": "owner"}
        (ours,) = store.apply([Change("upsert", PERSON, HERE, where, {"name": "A"})])
        (same,) = store.apply([Change("upsert", PERSON, Scope("stripe", "acct_1"), where, {"name": "B"})])
        (other,) = store.apply([Change("upsert", PERSON, Scope("stripe", live=True), where, {"name": "C"})])
        assert same.id == ours.id != other.id

    def test_an_id_names_a_record_only_within_the_scope(self, store: Store) -> None:
        (live,) = store.apply([upsert("ch_1", scope=Scope("stripe", live=True), state="paid")])
        assert store.apply([Change("delete", PAYMENT, HERE, {"id": live.id})]) == []
        assert store.apply([Change("update", PAYMENT, HERE, {"id": live.id}, {"state": "refunded"})]) == []
        assert store.find("payment") == [live]

    @pytest.mark.parametrize("id", ["\0", "\ud800", "a\nb"])
    def test_what_can_be_no_id_names_no_record(self, store: Store, id: str) -> None:
        store.apply([upsert("ch_1", state="paid")])
        assert store.apply([Change("update", PAYMENT, HERE, {"id": id}, {"state": "refunded"})]) == []
        assert store.apply([Change("delete", PAYMENT, HERE, {"id": id})]) == []
        for verb in ("upsert", "insert"):
            with pytest.raises(DataError, match="/id: has control characters"):
                store.apply([Change(verb, PAYMENT, HERE, {"id": id}, {"gateway_id": "ch_2"})])
        assert len(store.find("payment", order="id", after="\0")) == 1
        assert store.find("payment", after=id) == store.find("payment", where={"id": {"lt": id}})

    @pytest.mark.parametrize("as_of", ["\0", "\ud800"])
    def test_an_instant_is_printable(self, store: Store, as_of: str) -> None:
        for _ in range(2):
            with pytest.raises(DataError, match="/as_of: has control characters"):
                store.apply([replace(upsert("ch_1", state="paid"), as_of=as_of)])
            store.apply([upsert("ch_1", state="pending")])
        (record,) = store.find("payment")
        assert (record["state"], record.as_of) == ("pending", None)

    def test_compound_keys(self, store: Store) -> None:
        def person(role: str, **values: Any) -> Change:
            return Change("upsert", PERSON, HERE, {"account_id": "acct_1", "role": role}, values)

        owner, director = store.apply([person("owner", name="A"), person("director", name="B")])
        assert store.apply([person("owner", name="C")])[0].id == owner.id
        with pytest.raises(Conflict):
            store.apply([Change("update", PERSON, HERE, {"id": director.id}, {"role": "owner"})])
        assert [one["name"] for one in store.find("person", where={"role": "owner", "account_id": "acct_1"})] == ["C"]

    def test_a_key_with_an_absent_part_is_no_key(self, store: Store) -> None:
        nameless = [Change("insert", PERSON, HERE, {}, {"account_id": "acct_1", "name": name}) for name in "AB"]
        assert len(store.apply(nameless)) == 2

    def test_long_keys_are_told_apart_by_their_end(self, store: Store) -> None:
        store.apply([upsert("x" * 5000 + end) for end in "ab"])
        assert [one["gateway_id"][-1] for one in everything(store, "payment")] == ["a", "b"]
        assert len(store.find("payment", where={"gateway_id": "x" * 5000 + "a"})) == 1

    # Finding ----------------------------------------------------------------------------------------------------------

    def test_find(self, store: Store) -> None:
        store.apply(
            [
                upsert("a", state="pending", amount_cents=-50, captured=True, tags=["red"]),
                upsert("b", state="paid", amount_cents=-5, captured=False, tags=["red", "blue", "red"], customer="A"),
                upsert("c", state="refunded", amount_cents=0, tags=["green"], customer="a\x00b"),
                upsert("d", state="paid", amount_cents=9, tags=[], customer="é"),
                upsert("e", amount_cents=10, customer="\ud800"),
                upsert("f", amount_cents=10**100, customer="\ud7ff"),
                upsert("g", customer="\U0001f600"),
            ]
        )

        def found(where: dict[str, Any], order: Order) -> str:
            return "".join(one["gateway_id"] for one in store.find("payment", where=where, order=order))

        assert [(where, found(where, "id")) for where, _ in SEARCHES] == SEARCHES
        assert [(where, found(where, "-id")[::-1]) for where, _ in SEARCHES] == SEARCHES

    def test_a_range_needs_a_known_sign(self, store: Store) -> None:
        store.apply([upsert("ch_1", amount_cents=1)])
        for wanted in ({}, {"above": 1}):
            with pytest.raises(DataError, match="lt, lte, gt, gte"):
                store.find("payment", where={"amount_cents": wanted})

    def test_nothing_is_found_of_a_type_without_records(self, store: Store) -> None:
        assert store.find("payment", where={"state": "paid"}) == []
        assert store.find("unheard_of") == []

    def test_pages_of_a_thousand_records(self, store: Store) -> None:
        for start in range(0, 1000, 250):
            states = ["paid" if number % 3 else "pending" for number in range(start, start + 250)]
            store.apply([upsert(f"ch_{start + number}", state=state) for number, state in enumerate(states)])
        names = [f"ch_{number}" for number in range(1000)]
        assert [one["gateway_id"] for one in everything(store, "payment")] == names
        assert [one["gateway_id"] for one in everything(store, "payment", state="pending")] == names[::3]
        newest = store.find("payment", limit=2)
        assert [one["gateway_id"] for one in newest] == ["ch_999", "ch_998"]
        following = store.find("payment", limit=2, after=newest[-1].id, where={"state": "paid"})
        assert [one["gateway_id"] for one in following] == ["ch_997", "ch_995"]

    @pytest.mark.parametrize("type", [CALL, ERRAND])
    def test_two_values_are_searched_together(self, store: Store, type: RecordType) -> None:
        states, dues = ("new", "late", "new", "late", "new"), ("1", "1", "2", "2", "1")
        works = [{"key": f"k{number}", "state": states[number % 5], "due": dues[number % 5]} for number in range(20)]
        store.apply([Change("insert", type, HERE, {}, work) for work in works])
        given: dict[str, Any] = {"state": "new", "due": "1"}
        fitting = [f"k{number}" for number in range(20) if number % 5 in {0, 4}]
        for where in (given, dict(reversed(given.items())), {**given, "live": False, "key": fitting}):
            assert [one["key"] for one in store.find(type.name, where=where, order="id")] == fitting
            assert [one["key"] for one in everything(store, type.name, **where)] == fitting
            newest = store.find(type.name, where=where, limit=3)
            assert [one["key"] for one in newest] == fitting[:-4:-1]
            further = store.find(type.name, where=where, limit=2, after=newest[-1].id)
            assert [one["key"] for one in further] == fitting[-4:-6:-1]
            between = {**where, "id": {"gte": further[-1].id, "lt": newest[0].id}}
            assert [one["key"] for one in store.find(type.name, where=between, order="id")] == fitting[-5:-1]
        assert store.find(type.name, where={**given, "state": "late"}, order="id", limit=1)[0]["key"] == "k1"
        assert store.find(type.name, where={"state": "new", "due": "3"}) == []
        assert store.find(type.name, where={"state": "new", "due": "2", "key": "k2"})[0]["key"] == "k2"
        taken = store.apply([Change("update", type, HERE, given, {"state": "done"}, limit=3)])
        assert [one["key"] for one in taken] == fitting[:3]

    @pytest.mark.parametrize("limit", [0, 1, 2, 3, 2**31, sys.maxsize])
    def test_a_limit_is_how_many_there_are_at_most(self, store: Store, limit: int) -> None:
        store.apply([upsert("ch_1"), upsert("ch_2")])
        oldest, newest = (store.find("payment", order=order, limit=limit) for order in ORDERS)
        assert [one["gateway_id"] for one in oldest] == ["ch_1", "ch_2"][:limit]
        assert [one["gateway_id"] for one in newest] == ["ch_2", "ch_1"][:limit]

    @pytest.mark.parametrize("limit", [-1, -100, 2**63, None, True, 1.5, "2"])
    def test_what_is_no_limit(self, store: Store, limit: Any) -> None:
        store.apply([upsert("ch_1"), upsert("ch_2")])
        said = f"the search was not begun, its data does not fit: /limit: {limit!r} is no number of records; give a"
        with pytest.raises(DataError, match=re.escape(said)):
            store.find("payment", limit=limit)

    # What is kept -----------------------------------------------------------------------------------------------------

    def test_odd_values_come_back(self, store: Store) -> None:
        kept = store.apply([upsert(f"ch_{number}", note=value) for number, value in enumerate(ODD_VALUES)])
        for records in (kept, store.find("payment", order="id")):
            assert [one["note"] for one in records] == ODD_VALUES
            assert [type(one["note"]) for one in records] == [type(value) for value in ODD_VALUES]

    @pytest.mark.parametrize(("one", "other"), [(1, True), (False, 0), ({"a": [1]}, {"a": [1.0]})])
    def test_what_python_takes_for_equal_is_changed(self, store: Store, one: Any, other: Any) -> None:
        for value in (one, other):
            store.apply([upsert("ch_1", note=value)])
            assert repr(store.find("payment")[0]["note"]) == repr(value)

    def test_nobody_reaches_into_the_store(self, store: Store) -> None:
        given: dict[str, Any] = {"inner": [1]}
        (returned,) = store.apply([upsert("ch_1", note=given)])
        given["inner"].append(2)
        returned["note"]["inner"].append(3)
        for state in ("pending", "pending", "paid"):  # the second changes nothing
            (again,) = store.apply([Change("update", PAYMENT, HERE, {"gateway_id": "ch_1"}, {"state": state})])
            again["note"]["inner"].append(state)
        store.find("payment")[0]["note"]["inner"].append(4)
        assert store.find("payment")[0]["note"] == {"inner": [1]}

    # Claiming ---------------------------------------------------------------------------------------------------------

    def test_a_claim_takes_what_is_longest_due(self, store: Store) -> None:
        born = [("a", "05"), ("b", "03"), ("c", "09"), ("d", "03"), ("e", None)]
        store.apply([Change("insert", CALL, HERE, {"id": id}, {"state": "prepared", "due": due}) for id, due in born])
        store.apply([Change("insert", CALL, HERE, {"id": "f"}, {"state": "sending", "due": "01"})])
        first = store.apply([claim(CALL, "08", 2, "w1")])
        assert [(one.id, one["state"], one["worker"]) for one in first] == [
            ("b", "sending", "w1"),
            ("d", "sending", "w1"),
        ]
        assert [one.id for one in store.apply([claim(CALL, "08", 2, "w2")])] == ["a"]
        assert store.apply([claim(CALL, "08", 2, "w3")]) == []
        assert [one.id for one in store.find("call", where={"due": {"gt": ""}})] == ["f", "c"]

    def test_a_claim_is_confined_by_the_scope_it_names_only(self, store: Store) -> None:
        for number, scope in enumerate([HERE, Scope("adyen"), Scope("stripe", "acct_1", live=True)]):
            store.apply([Change("insert", CALL, scope, {"id": str(number)}, {"state": "prepared", "due": "1"})])
        where = {"state": "prepared", "live": True, "gateway": "stripe", "due": {"lte": "1"}}
        (live,) = store.apply([Change("update", CALL, Scope(""), where, {"state": "sending"}, limit=9)])
        assert live.id == "2"
        assert [one.id for one in store.apply([claim(CALL, "1", 9, "w")])] == ["0", "1"]

    def test_without_a_limit_one_record_is_meant(self, store: Store) -> None:
        store.apply([Change("insert", CALL, HERE, {"id": id}, {"state": "failed", "due": "1"}) for id in "abc"])
        (one,) = store.apply([Change("update", CALL, HERE, {"state": "failed"}, {"state": "dead"})])
        assert one.id == "a"
        gone = store.apply([Change("delete", CALL, HERE, {"state": ["failed", "dead"]}, limit=10)])
        assert {one.id for one in gone} == {"a", "b", "c"}
        assert store.find("call") == []

    def test_a_claim_that_must_find_something(self, store: Store) -> None:
        where = {"state": "prepared"}
        with pytest.raises(Conflict):
            store.apply([Change("update", CALL, HERE, where, {"state": "sending"}, limit=5, must=True)])

    @pytest.mark.parametrize("type", [CALL, ERRAND], ids=lambda type: type.name)
    def test_workers_never_claim_the_same_record(self, store: Store, type: RecordType) -> None:
        rows = [Change("insert", type, HERE, {}, {"state": "prepared", "due": f"{n:03d}"}) for n in range(60)]
        store.apply(rows)

        def work(worker: int) -> list[str]:
            mine: list[str] = []
            while taken := store.apply([claim(type, "999", 3, str(worker))]):
                mine += [one.id for one in taken]
            return mine

        claimed = Counter(id for ids in together(6, work) for id in ids)
        claimed.update(one.id for one in store.apply([claim(type, "999", 99, "last")]))  # passed over by all
        assert sorted(claimed.values()) == [1] * 60
        assert all(one["state"] == "sending" for one in everything(store, type.name))

    # Races ------------------------------------------------------------------------------------------------------------

    def test_many_who_upsert_one_new_key_make_one_record(self, store: Store) -> None:
        for number in range(5):
            key = f"ch_{number}"
            outcomes = together(8, lambda one, key=key: store.apply([upsert(key, tags=[str(one)])]))  # type: ignore[misc]
            assert {found.id for (found,) in outcomes} == {store.find("payment", where={"gateway_id": key})[0].id}
        assert len(everything(store, "payment")) == 5

    def test_of_many_who_insert_one_is_born(self, store: Store) -> None:
        for number in range(5):
            born = Change("insert", CALL, HERE, {}, {"key": f"k{number}", "state": "prepared"})
            outcomes = together(8, lambda _, born=born: store.apply([born]))  # type: ignore[misc]
            assert sorted(map(len, outcomes)) == [0] * 7 + [1]

    def test_of_many_who_expect_a_state_one_wins(self, store: Store) -> None:
        store.apply([Change("insert", CALL, HERE, {"id": "call"}, {"key": "k", "state": "0"})])
        for state in range(5):
            held = {"state": str(state)}

            def take(worker: int, held: dict[str, str] = held) -> list[Record]:
                new = {"state": str(int(held["state"]) + 1), "worker": str(worker)}
                change = Change("update", CALL, HERE, {"id": "call"}, new, held, must=True)
                return store.apply([upsert(f"ch_{held['state']}_{worker}"), change])

            outcomes = together(8, take)
            (winner,) = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, list)]
            assert all(isinstance(one, Conflict) for number, one in enumerate(outcomes) if number != winner)
            assert store.find("call")[0]["worker"] == str(winner)
        assert len(everything(store, "payment")) == 5  # what the losers changed besides was undone

    # What was seen before ---------------------------------------------------------------------------------------------

    @pytest.fixture
    def seen(self, store: Store) -> Record:
        """A call as it was written down, and as its writer has it in hand."""
        properties = {"key": "k", "state": "sending", "worker": "w", "data": {"list": [1, {"text": "é \x00 \ud800"}]}}
        return store.apply([Change("insert", CALL, HERE, {"id": "call"}, properties, as_of="1")])[0]

    def test_what_was_seen_is_changed(self, store: Store, seen: Record) -> None:
        payment, ended = store.apply([upsert("ch_1"), ends(seen)])
        assert ended.properties == {**seen.properties, "state": "succeeded"}
        assert (ended.id, ended.scope, ended.as_of) == ("call", HERE, "1")
        assert contents(store) == [payment, ended]
        assert store.apply([ends(ended, "failed", {}, as_of="2")]) == store.find("call", where={"state": "failed"})
        assert store.find("call")[0].as_of == "2"

    @pytest.mark.parametrize(
        "meanwhile",
        [
            Change("delete", CALL, HERE, {"id": "call"}),
            Change("update", CALL, HERE, {"id": "call"}, {"state": "succeeded"}),
            Change("update", CALL, HERE, {"id": "call"}, {"worker": "another"}),
        ],
        ids=["gone", "moved", "another's"],
    )
    def test_who_saw_what_is_so_no_more_changes_nothing(self, store: Store, seen: Record, meanwhile: Change) -> None:
        store.apply([meanwhile])
        before = contents(store)
        with pytest.raises(Conflict, match="another process changed it first"):
            store.apply([upsert("ch_1"), ends(seen)])
        assert contents(store) == before

    @pytest.mark.parametrize("name", ["data", "due"])
    def test_what_another_changed_under_the_same_lease_stays(self, store: Store, seen: Record, name: str) -> None:
        store.apply([Change("update", CALL, HERE, {"id": "call"}, {name: name})])
        _, ended = store.apply([upsert("ch_1"), ends(seen)])
        assert ended.properties == {**seen.properties, name: name, "state": "succeeded"}
        assert store.find("call") == [ended]

    def test_what_another_saw_later_stays(self, store: Store, seen: Record) -> None:
        store.apply([Change("update", CALL, HERE, {"id": "call"}, as_of="3")])
        with pytest.raises(Conflict):
            store.apply([ends(seen, as_of="2")])
        assert [one.as_of for one in store.apply([ends(seen, as_of="4")])] == ["4"]

    @pytest.mark.parametrize(
        "spoilt", [{"worker": "w", "data": {"a": float("nan")}}, {"worker": "w", "due": "9"}, {"worker": "w"}]
    )
    def test_what_was_done_to_a_record_in_hand_is_not_stored(
        self, store: Store, seen: Record, spoilt: dict[str, Any]
    ) -> None:
        stored = store.find("call")[0]
        held = cast("dict[str, Any]", seen.properties)  # a host may write into what it is given to read
        held.clear()
        held.update(spoilt)
        (ended,) = store.apply([ends(seen, when={"worker": "w"})])
        assert ended.properties == {**stored.properties, "state": "succeeded"}
        assert store.find("call") == [ended]

    def test_what_is_skipped_or_stays_as_it_is_was_looked_at(self, store: Store, seen: Record) -> None:
        store.apply([Change("update", CALL, HERE, {"id": "call"}, {"state": "failed"})])
        skipped = replace(ends(seen, when={"state": "prepared"}), must=False)
        assert store.apply([skipped]) == []
        assert store.apply([replace(ends(seen, "sending", when={}), set={})]) == store.find("call")
        assert store.apply([replace(skipped, when={"state": "failed"})])[0]["state"] == "succeeded"

    def test_one_seen_record_may_be_changed_twice_and_named_otherwise(self, store: Store, seen: Record) -> None:
        again = Change("insert", CALL, HERE, {}, {"key": "k", "state": "prepared"})
        by_id = Change("update", CALL, HERE, {"id": "call"}, {"due": "7"}, {"state": "failed"}, must=True)
        by_state = Change("update", CALL, HERE, {"state": "failed"}, {"worker": "x"}, must=True)
        touched = store.apply([ends(seen, "failed"), again, by_id, by_state, ends(seen, when={"worker": "x"})])
        assert touched[-1].properties == {**seen.properties, "state": "succeeded", "due": "7", "worker": "x"}
        assert store.find("call") == [touched[-1]]
        with pytest.raises(Conflict):
            store.apply([Change("delete", CALL, HERE, {"id": "call"}, seen=seen), ends(touched[-1])])
        assert store.apply([Change("delete", CALL, HERE, {"id": "call"}, seen=seen)]) == [touched[-1]]
        assert store.find("call") == []

    def test_of_many_who_saw_the_same_one_wins(self, store: Store, seen: Record) -> None:
        for _ in range(5):
            held = {"state": seen["state"], "worker": seen["worker"]}

            def take(worker: int, seen: Record = seen, held: dict[str, str] = held) -> list[Record]:
                mine = f"{held['worker']}{worker}"
                return store.apply([upsert(mine), ends(seen, "sending", held, worker=mine)])

            outcomes = together(8, take)
            (won,) = [outcome for outcome in outcomes if isinstance(outcome, list)]
            assert sum(isinstance(outcome, Conflict) for outcome in outcomes) == 7
            seen = won[1]
            assert store.find("call") == [seen]
        assert len(everything(store, "payment")) == 5

    def test_no_update_is_lost(self, store: Store) -> None:
        store.apply([upsert("ch_1", amount_cents=0)])

        def add(_: int) -> None:
            for _ in range(5):
                while True:
                    seen = store.find("payment")[0]["amount_cents"]
                    if store.apply([update("ch_1", amount_cents=seen + 1, when={"amount_cents": seen})]):
                        break

        assert together(6, add) == [None] * 6
        assert store.find("payment")[0]["amount_cents"] == 30

    def test_changes_that_cross_end_well(self, store: Store) -> None:
        names = [f"ch_{number}" for number in range(6)]
        store.apply([upsert(name, amount_cents=0) for name in names])

        def cross(worker: int) -> list[list[Record]]:
            order = names if worker % 2 else names[::-1]
            return [store.apply([update(name, note=worker, must=True) for name in order]) for _ in range(10)]

        outcomes = together(6, cross)
        assert [len(done) for one in outcomes for done in one] == [6] * 60
        assert len({one["note"] for one in store.find("payment")}) == 1  # never a mixture of two
