"""The stores: the contract on each of them, and what happens where threads and processes meet."""

from __future__ import annotations

import contextvars
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import pytest
from sqlalchemy import Connection, text
from store_contract import (
    CALL,
    ERRAND,
    HERE,
    PAYMENT,
    Pause,
    StoreContract,
    claim,
    contents,
    ends,
    everything,
    together,
    update,
    upsert,
)
from store_processes import claim_all, in_processes, insert_all, upsert_all

from engine.errors import Conflict, DataError, StoreError
from engine.records import Change, Record
from engine.store import Order, Store, every
from engine.store.memory import MemoryStore
from engine.store.sql import SqlStore


class TestMemoryStore(StoreContract):
    @pytest.fixture
    def store(self) -> Store:
        return MemoryStore()


class TestSqlite(StoreContract):
    @pytest.fixture
    def store(self, sqlite_store_url: str) -> Store:
        return SqlStore(sqlite_store_url)


class TestPostgres(StoreContract):
    @pytest.fixture
    def store(self, postgres_store_url: str) -> Store:
        return SqlStore(postgres_store_url)


@pytest.mark.parametrize("number", [0, 1, 3, 4, 7])
@pytest.mark.parametrize("order", ["id", "-id"])
def test_all_are_gone_through_page_by_page(number: int, order: Order, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that fit, each once, in their order, with no more than a page in hand."""
    monkeypatch.setattr("engine.store.PAGE", 3)
    store, pages = MemoryStore(), list[int]()
    made = [store.apply([upsert(f"ch_{place}", state="paid")])[0].id for place in range(number)]
    store.apply([upsert("ch_other", state="refunded")])
    find = store.find

    def noting(type: str, **asked: Any) -> list[Record]:
        pages.append(len(found := find(type, **asked)))
        return found

    monkeypatch.setattr(store, "find", noting)
    gone_through = [record.id for record in every(store, "payment", {"state": "paid"}, order=order)]
    assert gone_through == (made if order == "id" else made[::-1])
    assert (sum(pages), len(pages), max(pages) <= 3) == (number, number // 3 + 1, True)


class TestLikeness:
    """Any changes in any order leave a database as they leave a store in memory."""

    NAMES = ("a", "b", "c")
    VALUES: ClassVar[dict[str, tuple[Any, ...]]] = {
        "external_id": ("o1", "o2", None),
        "state": ("pending", "paid", "refunded", None, "wrong"),
        "amount_cents": (-10, 0, 5, 10**20, None),
        "tags": (["x"], ["x", "y", "x"], [], None),
        "customer": ("c1", "c2", None),
    }
    WANTED: ClassVar[dict[str, tuple[Any, ...]]] = {
        **VALUES,
        "state": ("paid", ["paid", "pending"], None, [None, "refunded"]),
        "amount_cents": (5, {"gte": 0}, {"lt": 5, "gt": -20}, [5, {"lt": 0}]),
        "tags": ("x", {"gt": "x"}, ["y", None]),
        "account": ("", ["acct_1", "none"]),
        "live": (True, [True, False]),
    }

    def change(self, dice: random.Random) -> Change:
        some = {name: dice.choice(values) for name, values in self.VALUES.items() if dice.random() < 0.4}
        scope = dice.choice([HERE, HERE, HERE._replace(account="acct_1")])
        when = {"state": dice.choice(self.WANTED["state"])} if dice.random() < 0.3 else {}
        as_of = dice.choice([None, None, "1", "2", "3"])
        missing = dice.choice(["skip", "skip", "skip", "wait"])
        match dice.choice(["upsert", "upsert", "update", "delete", "insert", "search", "sweep"]):
            case "insert":
                return Change("insert", PAYMENT, scope, {}, {"gateway_id": dice.choice(self.NAMES), **some})
            case "search":
                return Change("update", PAYMENT, scope, self.where(dice), some, when, limit=dice.choice([None, 2]))
            case "sweep":
                return Change("delete", PAYMENT, scope, self.where(dice), {}, when, must=dice.random() < 0.1)
            case verb:
                key = {"external_id": "o1"} if dice.random() < 0.2 else {"gateway_id": dice.choice(self.NAMES)}
                given = {} if verb == "delete" else some
                return Change(verb, PAYMENT, scope, key, given, when, as_of, missing)  # type: ignore[arg-type]

    def where(self, dice: random.Random) -> dict[str, Any]:
        names = dice.sample(sorted(self.WANTED), dice.choice([1, 1, 2, 3]))
        return {name: dice.choice(self.WANTED[name]) for name in names}

    @pytest.mark.parametrize("seed", range(2))
    def test_it(self, store_url: str, seed: int) -> None:
        dice = random.Random(seed)
        stores: list[Store] = [MemoryStore(), SqlStore(store_url)]
        kinds = Counter[str]()
        for _ in range(120):
            changes = [self.change(dice) for _ in range(dice.choice([1, 1, 2, 4]))]
            one, other = ([nameless(found) for found in attempt(store, changes)] for store in stores)
            assert one == other, changes
            kinds[str(one[0])[:20] if one and isinstance(one[0], str) else "done" if one else "nothing"] += 1
            where = self.where(dice)
            one, other = ([nameless(found) for found in store.find("payment", where=where)] for store in stores)
            assert one == other, where
        assert {"done", "nothing", "Conflict", "DataError"} <= kinds.keys()

    @pytest.mark.parametrize("seed", range(2))
    def test_whatever_was_seen_before(self, store_url: str, seed: int) -> None:
        dice = random.Random(seed)
        stores: list[Store] = [MemoryStore(), SqlStore(store_url)]
        seen, kinds = list[Record](), Counter[str]()
        for _ in range(150):
            changes = [self.change_of_call(dice, seen[-8:]) for _ in range(dice.choice([1, 1, 2, 3]))]
            one, other = (attempt(store, changes) for store in stores)
            assert one == other, changes
            kinds[str(one[0])[:20] if one and isinstance(one[0], str) else "done" if one else "nothing"] += 1
            seen += (record for record in one if isinstance(record, Record))
            assert contents(stores[0], "call", "errand") == contents(stores[1], "call", "errand"), changes
        assert {"done", "nothing", "Conflict", "DataError"} <= kinds.keys()

    def change_of_call(self, dice: random.Random, seen: Sequence[Record]) -> Change:
        """Most are of a record as it is or was, by whoever believes that it still is."""
        some: dict[str, Any] = {}
        if dice.random() < 0.6:
            some["data"] = dice.choice(["a", None, {"a": 1.0}, {"a": True}, {"a": [1, {"b": None}]}])
        if dice.random() < 0.3:
            some["due"] = dice.choice(["a", "b", None, ["wrong"]])
        if not seen or dice.random() < 0.2:
            type, id = dice.choice([CALL, ERRAND]), dice.choice(self.NAMES)
            return Change("insert", type, HERE, {"id": id}, {"key": id, "state": "a", **some})
        record = dice.choice(seen)
        type = CALL if record.type == "call" else ERRAND
        when = dice.choice([{}, {"state": record.get("state")}, {"due": record.get("due")}])
        given = {"state": dice.choice("abc"), "key": dice.choice([record["key"], record["key"], "d"]), **some}
        verb, new = dice.choice([("update", given)] * 5 + [("update", {}), ("delete", {})])
        as_of, must = dice.choice([None, None, "1", "2"]), dice.random() < 0.4
        where = dice.choice([{"id": record.id}] * 3 + [{"key": record["key"]}])
        believed = dice.choice([record, record, None])
        return Change(verb, type, HERE, where, new, when, as_of, must=must, seen=believed)  # type: ignore[arg-type]  # drawn from verbs


def attempt(store: Store, changes: Sequence[Change]) -> list[Any]:
    try:
        return list(store.apply(changes))
    except (Conflict, DataError) as error:
        return ["Conflict" if isinstance(error, Conflict) else "DataError"]


def nameless(found: Any) -> Any:
    """A record without its id, which is another one in every store."""
    return found if isinstance(found, str) else (found.scope, found.properties, found.as_of)


class TestProcesses:
    def test_each_operation_is_begun_once(self, store_url: str) -> None:
        assert sum(in_processes(8, insert_all, store_url, 100)) == 100

    def test_looking_first_is_not_enough(self, store_url: str) -> None:
        store, both_looked = SqlStore(store_url), threading.Barrier(2)

        def begin(_: int) -> int:
            unknown = not store.find("call", where={"state": "begun"})
            both_looked.wait()
            return len(store.apply([Change("insert", CALL, HERE, {}, {"state": "begun"})])) if unknown else 0

        assert together(2, begin) == [1, 1]  # or the test above shows nothing

    def test_one_object_is_one_record(self, store_url: str) -> None:
        ids = in_processes(4, upsert_all, store_url, 25)
        assert ids == [ids[0]] * 4
        assert len(everything(SqlStore(store_url), "payment")) == 25

    def test_no_two_workers_claim_the_same_record(self, store_url: str) -> None:
        rows = [Change("insert", CALL, HERE, {}, {"state": "prepared", "due": f"{n:03d}"}) for n in range(200)]
        SqlStore(store_url).apply(rows)
        claimed = Counter(id for ids in in_processes(4, claim_all, store_url) for id in ids)
        assert (len(claimed), set(claimed.values())) == (200, {1})


class TestInside:
    def count(self, store_url: str) -> int:
        store = SqlStore(store_url)
        with store._opened().engine.connect() as connection:
            return int(connection.scalar(text("SELECT count(*) FROM host")) or 0)

    @pytest.fixture
    def host_url(self, empty_store_url: str) -> str:
        store = SqlStore(empty_store_url)
        store.upgrade()
        with store._opened().engine.begin() as connection:
            connection.execute(text("CREATE TABLE host (note TEXT UNIQUE)"))
        return empty_store_url

    def test_what_is_written_inside_is_stored_with_the_changes_or_not_at_all(self, host_url: str) -> None:
        def inside(connection: Connection, changes: Sequence[Change], *__: Any) -> None:
            connection.execute(text("INSERT INTO host VALUES (:note)"), {"note": changes[0].where["gateway_id"]})
            if changes[0].set.get("state") == "refunded":
                raise LookupError("the host says no")

        store = SqlStore(host_url, inside=inside)
        store.apply([upsert("ch_1", state="paid")])
        with pytest.raises(LookupError, match="the host says no"):
            store.apply([upsert("ch_2", state="refunded")])
        with pytest.raises(Conflict):
            store.apply([upsert("ch_3"), update("ch_4", must=True)])
        with pytest.raises(StoreError):  # the host's own table refuses
            store.apply([upsert("ch_1", state="pending")])
        assert self.count(host_url) == 1
        assert [one.properties for one in contents(store)] == [{"gateway_id": "ch_1", "state": "paid"}]

    def test_it_is_given_the_records_as_they_are_left(self, store_url: str) -> None:
        seen: list[list[tuple[Any, ...]]] = []

        def inside(_: Connection, __: Sequence[Change], records: Sequence[Record]) -> None:
            seen.append(sorted((record.type, record["gateway_id"], record.get("state")) for record in records))

        store = SqlStore(store_url, inside=inside)
        store.apply([upsert("ch_1", state="pending"), upsert("ch_2"), upsert("ch_1", state="paid")])
        store.apply([upsert("ch_2"), update("ch_3"), update("ch_1", when={"state": "pending"}, state="refunded")])
        gone = Change("delete", PAYMENT, HERE, {"gateway_id": "ch_4"})
        store.apply([upsert("ch_4"), gone, upsert("ch_2", state="paid")])
        store.apply([Change("insert", PAYMENT, HERE, {}, {"gateway_id": "ch_1"})])
        assert seen == [[("payment", "ch_1", "paid"), ("payment", "ch_2", None)], [], [("payment", "ch_2", "paid")], []]

    def test_it_is_left_out_where_the_records_are_nothing_to_it(self, store_url: str) -> None:
        seen: list[Any] = []

        def inside(_: Connection, __: Sequence[Change], records: Sequence[Record]) -> None:
            seen.extend(record["gateway_id"] for record in records)

        def concerns(records: Sequence[Record]) -> bool:
            return any(record.get("state") == "paid" for record in records)

        store = SqlStore(store_url, inside=inside, concerns=concerns)
        for changes in ([upsert("ch_1")], [upsert("ch_2", state="paid")], [upsert("ch_3"), upsert("ch_4")]):
            store.apply(changes)
        store.apply([upsert("ch_3"), upsert("ch_1", state="paid")])
        assert seen == ["ch_2", "ch_1"]

    def test_a_write_inside_a_write_is_refused_where_it_would_wait_for_itself(self, sqlite_store_url: str) -> None:
        def inside(_: Connection, changes: Sequence[Change], *__: Any) -> None:
            if changes[0].where["gateway_id"] == "ch_1":
                store.apply([upsert("ch_2")])

        store = SqlStore(sqlite_store_url, inside=inside)
        with pytest.raises(StoreError, match="wait for itself"):
            store.apply([upsert("ch_1")])
        assert store.apply([upsert("ch_3")])
        assert [one["gateway_id"] for one in contents(store)] == ["ch_3"]

    def test_it_runs_in_the_context_of_the_caller(self, store_url: str) -> None:
        current, seen = contextvars.ContextVar[int]("current"), Counter[bool]()

        def inside(_: Connection, changes: Sequence[Change], *__: Any) -> None:
            seen[current.get() == changes[0].set["note"]] += 1

        store = SqlStore(store_url, inside=inside)

        def work(number: int) -> None:
            current.set(number)
            store.apply([upsert(f"ch_{number}", note=number)])

        assert together(6, work) == [None] * 6
        assert seen == {True: 6}


def tried(store: Store, *changes: Change) -> Callable[[], Any]:
    def run() -> Any:
        try:
            return store.apply(changes)
        except Conflict as error:
            return error

    return run


class TestOverlap:
    """Two transactions at once: the first has written and not yet committed when the second comes."""

    @pytest.fixture
    def pause(self) -> Pause:
        return Pause()

    @pytest.fixture
    def stores(self, store_url: str, pause: Pause) -> tuple[Store, Store]:
        SqlStore(store_url).apply([upsert("ch_1", state="pending", customer="cus_1")])
        second = SqlStore(store_url)
        second.upgrade()
        return SqlStore(store_url, inside=pause), second

    def test_one_of_two_moves_the_state(self, stores: tuple[Store, Store], pause: Pause) -> None:
        changes = [update("ch_1", state=state, when={"state": "pending"}, must=True) for state in ("paid", "refunded")]
        won, lost = pause.overlap(*(tried(store, change) for store, change in zip(stores, changes, strict=True)))
        assert won[0]["state"] == "paid"
        assert isinstance(lost, Conflict)

    def test_one_of_two_found_by_an_index_moves_the_state(self, stores: tuple[Store, Store], pause: Pause) -> None:
        change = Change("update", PAYMENT, HERE, {"state": "pending"}, {"state": "paid"}, must=True)
        won, lost = pause.overlap(*(tried(store, change) for store in stores))
        assert won[0]["state"] == "paid"
        assert isinstance(lost, Conflict)

    def test_two_create_one_record(self, stores: tuple[Store, Store], pause: Pause) -> None:
        first, second = pause.overlap(
            tried(stores[0], upsert("ch_2", state="pending")), tried(stores[1], upsert("ch_2", customer="cus_2"))
        )
        assert first[0].id == second[0].id
        assert second[0].properties == {"gateway_id": "ch_2", "state": "pending", "customer": "cus_2"}

    def test_two_insert_one_record(self, stores: tuple[Store, Store], pause: Pause) -> None:
        born = Change("insert", CALL, HERE, {}, {"key": "k"})
        first, second = pause.overlap(tried(stores[0], born), tried(stores[1], born))
        assert (len(first), second) == (1, [])

    def test_one_of_two_takes_a_key(self, stores: tuple[Store, Store], pause: Pause) -> None:
        first, second = pause.overlap(
            tried(stores[0], upsert("ch_2", external_id="o")), tried(stores[1], upsert("ch_3", external_id="o"))
        )
        assert first[0]["gateway_id"] == "ch_2"
        assert isinstance(second, Conflict)
        assert "ch_3" in str(second)

    def test_an_update_meets_a_delete(self, stores: tuple[Store, Store], pause: Pause) -> None:
        gone = Change("delete", PAYMENT, HERE, {"gateway_id": "ch_1"})
        first, second = pause.overlap(tried(stores[0], gone), tried(stores[1], upsert("ch_1", state="paid")))
        assert second[0].id != first[0].id
        assert second[0].properties == {"gateway_id": "ch_1", "state": "paid"}

    def test_one_of_two_who_saw_the_same_moves_it(self, stores: tuple[Store, Store], pause: Pause) -> None:
        properties = {"key": "k", "state": "sending", "worker": "w"}
        (seen,) = stores[1].apply([Change("insert", CALL, HERE, {"id": "call"}, properties)])
        first, second = pause.overlap(
            tried(stores[0], upsert("ch_2"), ends(seen)), tried(stores[1], upsert("ch_3"), ends(seen, "failed"))
        )
        assert first[-1]["state"] == "succeeded"
        assert isinstance(second, Conflict)
        assert [one["gateway_id"] for one in everything(stores[1], "payment")] == ["ch_1", "ch_2"]

    def test_who_waited_for_another_sees_what_it_did(self, stores: tuple[Store, Store], pause: Pause) -> None:
        properties = {"key": "k", "state": "sending", "worker": "w"}
        (seen,) = stores[1].apply([Change("insert", CALL, HERE, {"id": "call"}, properties)])
        first, second = pause.overlap(
            tried(stores[0], ends(seen, "sending", due="1")), tried(stores[1], ends(seen, "failed"))
        )
        assert first[0]["state"] == "sending"
        assert second[0].properties == {**properties, "state": "failed", "due": "1"}

    def test_a_claim_passes_over_what_another_holds(self, postgres_store_url: str, pause: Pause) -> None:
        store, held = SqlStore(postgres_store_url), SqlStore(postgres_store_url, inside=pause)
        store.apply([Change("insert", CALL, HERE, {"id": id}, {"state": "failed", "due": "1"}) for id in "abcd"])
        done: list[str] = []

        def second() -> list[str]:
            done.extend(one.id for one in store.apply([claim(CALL, "1", 3, "w2")]))
            assert not pause.go_on.is_set()  # it did not wait
            return done

        first, _ = pause.overlap(lambda: [one.id for one in held.apply([claim(CALL, "1", 2, "w1")])], second)
        assert (first, done) == (["a", "b"], ["c", "d"])
