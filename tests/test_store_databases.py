"""What only a store in a database does: tables through time, indexes through time, connections, power cuts."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from importlib.util import find_spec
from itertools import count, islice
from pathlib import Path
from typing import Any, cast

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from postgres import running_server
from sqlalchemy import Connection, create_engine, event, insert, make_url, select, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from store_contract import (
    CALL,
    HERE,
    PAYMENT,
    TEXT,
    Pause,
    claim,
    contents,
    ends,
    everything,
    together,
    until,
    update,
    upsert,
)
from store_processes import first_use, in_processes, write_for

import engine.calls
import engine.inbox
import engine.reactions
from engine.core import Engine
from engine.errors import Conflict, SettingError, StoreError
from engine.records import Change, Record, RecordType, Scope, can_be_account
from engine.store import Durability, indexes, migrations
from engine.store.group import Group, Job
from engine.store.migrations import VERSION_TABLE
from engine.store.mounts import network_file_system
from engine.store.postgres import DURABLE, PostgresDatabase, PostgresSession
from engine.store.searches import by_id, by_id_or_key, by_key, page
from engine.store.searches import claim as claim_statement
from engine.store.sql import SqlStore
from engine.store.sqlite import SqliteDatabase, driver, journal_for
from engine.store.statements import Session, Sessions
from engine.store.tables import COLUMNS, INDEXED, KEY, METADATA, RECORD, SCHEMA, UNIQUE, shelf


class TestSchema:
    def test_processes_that_start_at_once_make_the_tables_once(self, empty_store_url: str) -> None:
        seen = in_processes(6, first_use, empty_store_url)
        assert max(seen) == 6
        assert len(everything(SqlStore(empty_store_url), "payment")) == 6

    def test_the_migrations_make_what_the_code_expects(self, empty_store_url: str) -> None:
        store = SqlStore(empty_store_url)
        for _ in range(2):
            store.upgrade()
            store.close()
        with store._opened().engine.connect() as connection:
            options = {"version_table": VERSION_TABLE, "compare_type": True}
            assert compare_metadata(MigrationContext.configure(connection, opts=options), METADATA) == []
        folder = Path(migrations.__file__).parent
        assert ScriptDirectory(str(folder)).get_current_head() == SCHEMA

    def test_what_an_older_version_kept_is_there_after_the_upgrade(self, empty_store_url: str) -> None:
        of_kind = PostgresDatabase if empty_store_url.startswith("postgresql") else SqliteDatabase
        database = of_kind(make_url(empty_store_url))
        migrations.upgrade(database, "0001")
        call = {"id": "call-1", "gateway": "stripe", "account": "", "live": False, "key": "k", "state": "unknown"}
        properties = '{"key":"k","state":"unknown"}'
        older = (
            insert(shelf("call").table).values(**call, properties=properties),
            insert(KEY).values(text='["call","key","k"]', type="call", name="key", record_id="call-1"),
            insert(INDEXED).values(type="call", name="unique key within "),
        )
        database.write(lambda session: [session.connection.execute(statement) for statement in older])
        database.close()
        store = SqlStore(empty_store_url)
        assert store.apply([Change("insert", CALL, HERE, {}, {"key": "k", "state": "prepared"})]) == []
        (found,) = store.find("call", where={"key": "k"})
        assert (found.id, found["state"]) == ("call-1", "unknown")
        with store._opened().engine.connect() as connection:
            assert connection.execute(select(KEY)).all() == []

    def test_events_that_an_older_version_kept_are_known_after_the_upgrade(self, empty_store_url: str) -> None:
        of_kind = PostgresDatabase if empty_store_url.startswith("postgresql") else SqliteDatabase
        database = of_kind(make_url(empty_store_url))
        migrations.upgrade(database, "0003")
        kept = {"gateway": "shop", "account": "", "live": False, "key": "shop||test|evt_1", "event_id": "evt_1"}
        older = insert(shelf("event").table).values(id="event-1", **kept, state="processed", properties='{"body":""}')
        database.write(lambda session: session.connection.execute(older))
        database.close()
        store = SqlStore(empty_store_url)
        new = {"key": "k", "event_id": "evt_1", "event_type": "x", "state": "received", "body": ""}
        here = Scope("shop")
        assert store.apply([Change("insert", engine.inbox.EVENT, here, {}, new)]) == []
        for there in (here._replace(account="acct_1"), here._replace(live=True), Scope("other")):
            assert len(store.apply([Change("insert", engine.inbox.EVENT, there, {}, new)])) == 1
            assert store.apply([Change("insert", engine.inbox.EVENT, there, {}, new)]) == []
        assert len(store.find("event", where={"event_id": "evt_1"})) == 4

    def test_an_event_of_an_account_that_no_index_takes_is_there_after_the_upgrade(self, empty_store_url: str) -> None:
        """Under a shortened one, with all else as it was; and put aside where it was still to be processed."""
        of_kind = PostgresDatabase if empty_store_url.startswith("postgresql") else SqliteDatabase
        database = of_kind(make_url(empty_store_url))
        migrations.upgrade(database, "0003")
        wide = "".join(random.choices([chr(code) for code in range(0x20000, 0x2A000)], k=2600))
        kept = {"gateway": "shop", "live": False, "event_id": "evt_1", "due": None}
        rows = [
            {"id": "1", "account": wide + "a", "state": "processed", "properties": '{"state":"processed","body":"{}"}'},
            {"id": "2", "account": wide + "b", "state": "failed", "properties": '{"state":"failed","due":"2026"}'},
            {"id": "3", "account": "a" * 255, "state": "received", "properties": '{"state":"received","due":"2026"}'},
        ]
        older = insert(shelf("event").table).values([{**kept, **row, "key": row["id"]} for row in rows])
        database.write(lambda session: session.connection.execute(older))
        database.close()
        ended, aside, short = SqlStore(empty_store_url).find("event", where={"event_id": "evt_1"}, order="id")
        assert (ended["state"], ended["body"], short.scope.account) == ("processed", "{}", "a" * 255)
        assert (aside["state"], aside["due"], short["state"]) == ("quarantined", None, "received")
        assert aside["message"] == "the event names an account of more than 255 characters, which is shortened here"
        assert {(len(one.scope.account), one.scope.account[:191]) for one in (ended, aside)} == {(255, wide[:191])}
        assert ended.scope != aside.scope

    def test_numbers_that_an_older_version_kept_are_known_after_the_upgrade(self, empty_store_url: str) -> None:
        """By their value, also where a key is so long that its digest stands for it; what was kept twice stays so."""
        of_kind = PostgresDatabase if empty_store_url.startswith("postgresql") else SqliteDatabase
        database = of_kind(make_url(empty_store_url))
        migrations.upgrade(database, "0004")
        type = RecordType("stall", {"number": {}, "place": TEXT}, unique=(("number", "place"),), index=("number",))
        old = [(7, "a"), (1.0, "a"), (2, "a"), (2.0, "a"), (1e16, "p" * 200), (1.5, "a"), (8, "1.0,e+1")]
        marks = ("number", "place", "unique number,place within gateway,account,live")
        writes = [insert(INDEXED).values([{"type": "stall", "name": name} for name in marks])]
        for number, (value, place) in enumerate(old):
            text = f'["stall","number,place","stripe","",false,{value},"{place}"]'
            key = hashlib.sha256(text.encode()).hexdigest() if len(text) > 200 else text
            row = {"type": "stall", "id": str(number), "gateway": "stripe", "account": "", "live": False}
            writes += (
                insert(RECORD).values(**row, properties=json.dumps({"number": value, "place": place})),
                insert(KEY).values(text=key, type="stall", name="number,place", record_id=str(number)),
            )
        database.write(lambda session: [session.connection.execute(write) for write in writes])
        database.close()
        store = SqlStore(empty_store_url)
        for value, place in old:
            for same in (value, int(value)) if value != 1.5 else (value,):
                assert store.apply([Change("insert", type, HERE, {}, {"number": same, "place": place})]) == []
        assert len(everything(store, "stall")) == len(old)
        found = {
            value: store.apply([Change("delete", type, HERE, {"number": value, "place": place})])[0].id
            for value, place in ((1, "a"), (2.0, "a"), (10**16, "p" * 200), (8.0, "1.0,e+1"))
        }
        assert found == {1: "1", 2.0: "2", 10**16: "4", 8.0: "6"}

    def test_an_event_with_the_longest_names_is_kept_once(self, store_url: str) -> None:
        wide = "".join(random.choices([chr(code) for code in range(0x20000, 0x2A000)], k=5000))
        account = next(wide[:length] for length in range(5000, 0, -1) if can_be_account(wide[:length]))
        there = Scope("g" * 200, account)
        new = {"key": wide, "event_id": wide, "event_type": wide, "state": "received", "body": ""}
        store = SqlStore(store_url)
        kept = [len(store.apply([Change("insert", engine.inbox.EVENT, there, {}, new)])) for _ in range(2)]
        assert (kept, len(account)) == ([1, 0], 255)

    def test_texts_sort_by_code_point_whatever_the_server_prefers(self, postgres_store_url: str) -> None:
        other = "SELECT table_name, column_name FROM information_schema.columns WHERE table_name LIKE 'callsheet%' "
        other += "AND data_type = 'text' AND collation_name IS DISTINCT FROM 'C'"
        with psycopg.connect(postgres_store_url) as connection:
            assert connection.execute(other.encode()).fetchall() == []

    def test_a_database_of_a_newer_version_is_refused(self, empty_store_url: str) -> None:
        store = SqlStore(empty_store_url)
        store.upgrade()
        with store._opened().engine.begin() as connection:
            connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
        store.close()
        for use in (store.upgrade, lambda: store.apply([upsert("ch_1")]), lambda: store.find("payment")):
            with pytest.raises(StoreError, match="made by a newer callsheet"):
                use()


class TestWhatWasSeen:
    def test_it_is_not_read_again(self, store_url: str) -> None:
        store, said = SqlStore(store_url), list[str]()
        (seen,) = store.apply([Change("insert", CALL, HERE, {"id": "call"}, {"key": "k", "state": "sending"})])
        store.apply([upsert("ch_1")])
        session = store._opened()._sessions._idle[0]
        execute = session._execute

        def told(text: str, *values: Any) -> Any:
            said.append(text)
            return execute(text, *values)

        session._execute = told
        _, ended = store.apply([upsert("ch_2"), ends(seen, when={"state": "sending"})])
        assert [text for text in said if "FROM callsheet_call" in text or "ROLLBACK" in text] == []
        assert len([text for text in said if "UPDATE callsheet_call" in text]) == 1
        store.apply([Change("update", CALL, HERE, {"id": "call"}, {"worker": "w"})])
        said.clear()
        (again,) = store.apply([ends(ended, "failed", when={"state": "succeeded"})])
        assert len([text for text in said if "UPDATE callsheet_call" in text]) == 2
        assert again.properties == {"key": "k", "state": "failed", "worker": "w"}

    def test_it_may_be_written_in_other_letters(self, store_url: str) -> None:
        """As by a version that leaves blanks between the parts."""
        store = SqlStore(store_url)
        (seen,) = store.apply([Change("insert", CALL, HERE, {"id": "call"}, {"key": "k", "state": "sending"})])
        other = text("UPDATE callsheet_call SET properties = :it").bindparams(it='{"state": "sending",  "key": "k"}')
        store.write(lambda connection: connection.execute(other))
        (ended,) = store.apply([ends(seen, when={"state": "sending"})])
        assert store.find("call") == [ended]
        assert ended["state"] == "succeeded"

    def test_of_all_its_columns(self, store_url: str) -> None:
        store = SqlStore(store_url)
        (seen,) = store.apply([Change("insert", CALL, HERE, {"id": "call"}, {"key": "k", "state": "sending"})])
        strange = Record("call", "call", HERE._replace(account="acct_1", live=True), seen.properties, "2")
        (ended,) = store.apply([ends(strange, when={"state": "sending"}, as_of="1")])
        assert (ended.scope, ended.as_of) == (HERE, "1")


class TestIndexes:
    """A file may gain an index or a unique key after its records were written."""

    OLD = RecordType("order", {"number": TEXT, "state": TEXT, "shop": TEXT}, index=("state",))
    WITH_INDEX = RecordType("order", OLD.properties, index=("state", "number"))
    WITH_KEY = RecordType("order", OLD.properties, unique=(("number", "shop"),), index=("state",))

    def order(self, type: RecordType, number: str, **values: Any) -> Change:
        return Change("insert", type, HERE, {}, {"number": number, **values})

    def test_an_index_declared_later_is_not_searched_until_it_is_complete(self, store_url: str) -> None:
        store, other = SqlStore(store_url), SqlStore(store_url)
        store.apply([self.order(self.OLD, str(number), state="new") for number in range(1200)])
        store.apply([self.order(self.WITH_INDEX, "late")])
        for one in (store, other):
            with pytest.raises(StoreError, match=r"order\.number .* run `callsheet db upgrade`"):
                one.find("order", where={"number": "late"})
            assert len(one.find("order", where={"state": "new"}, limit=9999)) == 1200
        store.reindex([self.WITH_INDEX])
        for one in (store, other):
            assert [found["number"] for found in one.find("order", where={"number": ["7", "late"]})] == ["late", "7"]

    def test_the_first_records_may_come_from_two_processes_at_once(
        self, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        one, other, looks = SqlStore(postgres_store_url), SqlStore(postgres_store_url), iter(range(1))

        def complete(session: Session, type: str) -> frozenset[str]:
            found = looked(session, type)
            if next(looks, None) is not None:  # between two questions of the one, the other writes
                other.apply([self.order(self.WITH_KEY, "1", shop="a")])
            return found

        looked = indexes._complete
        monkeypatch.setattr(indexes, "_complete", complete)
        one.apply([self.order(self.WITH_KEY, "2", shop="a")])
        assert [found["number"] for found in one.find("order", where={"number": ["1", "2"]})] == ["2", "1"]

    def test_an_index_that_was_given_up_for_a_while_is_incomplete(self, store_url: str) -> None:
        store = SqlStore(store_url)
        store.apply([self.order(self.WITH_INDEX, "1")])
        (one,) = store.find("order", where={"number": "1"})
        store.apply([Change("update", self.OLD, HERE, {"id": one.id}, {"number": "2"})])
        with pytest.raises(StoreError, match="upgrade"):
            store.find("order", where={"number": "1"})
        store.reindex([self.WITH_INDEX])
        assert store.find("order", where={"number": "1"}) == []
        assert len(store.find("order", where={"number": "2"})) == 1

    def test_nothing_is_written_under_a_unique_key_that_is_not_complete(self, store_url: str) -> None:
        store = SqlStore(store_url)
        store.apply([self.order(self.OLD, "1", shop="a"), self.order(self.OLD, "1", shop="b")])
        with pytest.raises(StoreError, match=r"order\.number,shop .* run `callsheet db upgrade`"):
            store.apply([self.order(self.WITH_KEY, "1", shop="a")])
        store.reindex([self.WITH_KEY])
        assert store.apply([self.order(self.WITH_KEY, "1", shop="a")]) == []
        store.reindex([self.WITH_KEY])  # again, without effect
        assert len(store.find("order", where={"number": "1"})) == 2

    def test_a_key_that_was_given_up_for_a_while_stands_in_nobodys_way(self, store_url: str) -> None:
        store = SqlStore(store_url)
        (one,) = store.apply([self.order(self.WITH_KEY, "1", shop="a")])
        store.apply([Change("update", self.OLD, HERE, {"id": one.id}, {"number": "2"})])
        store.reindex([self.WITH_KEY])
        assert len(store.apply([self.order(self.WITH_KEY, number, shop="a") for number in "12"])) == 1

    def test_two_records_with_one_key_are_found_by_the_upgrade(self, store_url: str) -> None:
        store = SqlStore(store_url)
        store.apply([self.order(self.OLD, "1", shop="a"), self.order(self.OLD, "1", shop="a")])
        with pytest.raises(Conflict, match="two records of order have the same number,shop"):
            store.reindex([self.WITH_KEY])
        with pytest.raises(StoreError, match="upgrade"):
            store.apply([self.order(self.WITH_KEY, "2", shop="a")])

    def test_a_key_that_holds_more_widely_than_before(self, store_url: str) -> None:
        store = SqlStore(store_url)
        narrow = RecordType("order", self.OLD.properties, unique=(("number",),))
        wide = RecordType("order", self.OLD.properties, unique=(("number",),), within=("gateway",))
        store.apply([self.order(narrow, "1")])
        with pytest.raises(StoreError, match="upgrade"):
            store.apply([self.order(wide, "2")])
        store.reindex([wide])
        elsewhere = Change("insert", wide, HERE._replace(account="acct_1"), {}, {"number": "1"})
        assert store.apply([elsewhere]) == []


class TestOwnTypes:
    def test_what_the_engine_searches_its_own_records_by_has_columns(self) -> None:
        for type in (engine.calls.CALL, engine.inbox.EVENT, engine.reactions.REACTION):
            assert type.indexed <= set(COLUMNS[type.name])
            key = UNIQUE.get(type.name, ())
            assert (type.unique, type.within) == (((key[0],),) if key else (), key[1:])

    def test_columns_follow_the_record(self, store_url: str) -> None:
        store = SqlStore(store_url)
        store.apply([Change("insert", CALL, HERE, {"id": "call-1"}, {"state": "prepared", "due": "1", "key": "k"})])
        store.apply([claim(CALL, "1", 1, "w")])
        with store._opened().engine.connect() as connection:
            (row,) = connection.execute(text("SELECT id, gateway, state, due, key FROM callsheet_call"))
            assert tuple(row) == ("call-1", "stripe", "sending", None, "k")
            assert connection.scalar(text("SELECT count(*) FROM callsheet_record_index")) == 0

    def test_no_hot_statement_reads_a_whole_table(self, sqlite_store_url: str) -> None:
        store = SqlStore(sqlite_store_url)
        store.upgrade()
        claims = {"state": ["prepared", "failed"], "due": {"lte": "9"}}
        statements = [
            claim_statement("call", claims, 10),
            page("call", {"key": "k"}, "-id", 10, None),
            page("call", {"state": "failed"}, "-id", 10, "id"),
            page("call", {"state": "failed", "request_type": "shop/pay"}, "-id", 10, "id"),
            page("event", {"event_type": "paid", "state": "processed"}, "id", 10, None),
            page("payment", {}, "-id", 10, "id"),
            page("payment", {"state": "paid"}, "-id", 10, "id"),
            page("payment", {"gateway_id": "ch_1", "live": False}, "-id", 10, None),
            page("payment", {"id": ["a", "b"]}, "-id", 10, None),
            by_id("payment", ["a", "b"]),
            by_key("payment", ["a", "b"]),
            by_id_or_key("call", ["a", "b"], ["c"]),
            claim_statement("call", {"state": ["sending"], "lease": {"lte": "9"}}, 10),
            page("call", {"state": "sending", "lease": {"lte": "9"}}, "id", 10, None),
            page("call", {"due": {"lte": "9"}}, "id", 10, None),
        ]
        plans: list[str] = []

        def explain(connection: Any, cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
            rows = connection.connection.cursor().execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
            plans.append(" / ".join(row[3] for row in rows))

        with store._opened().engine.connect() as connection:
            event.listen(connection, "before_cursor_execute", explain)
            for build, shape, values in statements:
                connection.execute(build(*shape), values)
        assert len(plans) == len(statements)
        assert [plan for plan in plans if "SCAN callsheet" in plan] == []
        assert [plan for plan in plans[:-6] if "TEMP B-TREE" in plan] == []
        assert "callsheet_call_due" in plans[0]
        walked, looked_up = (
            "callsheet_call_state (state=? AND id<?)",
            "INDEX callsheet_call_request_type (request_type=?",
        )
        assert (walked in plans[3], f"COVERING {looked_up} AND id=?)" in plans[3]) == (True, True)
        walked, looked_up = (
            "callsheet_event_event_type (event_type=?)",
            "INDEX callsheet_event_state (state=? AND id=?)",
        )
        assert (walked in plans[4], f"COVERING {looked_up}" in plans[4]) == (True, True)
        assert all("callsheet_call_state" in plan for plan in plans[-3:-1])  # of a state that few are in
        assert "callsheet_call_due" in plans[-1]


_IN_A_LOG: list[tuple[str, list[str]]] = [("wal_store_url", [])] if find_spec("pysqlite3") else []


WATCHED = {
    "sqlite": [
        "CREATE TABLE taken (place INTEGER PRIMARY KEY, key TEXT)",
        """CREATE TRIGGER watching AFTER INSERT ON callsheet_record_key
        BEGIN INSERT INTO taken (key) VALUES (new.text); END""",
    ],
    "postgresql": [
        "CREATE TABLE taken (place SERIAL PRIMARY KEY, key TEXT)",
        """CREATE FUNCTION take() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN INSERT INTO taken (key) VALUES (new.text); RETURN new; END $$""",
        """CREATE TRIGGER watching BEFORE INSERT ON callsheet_record_key
        FOR EACH ROW EXECUTE FUNCTION take()""",
    ],
}


def run(store: SqlStore, statement: str) -> list[Any]:
    def work(connection: Connection) -> list[Any]:
        done = connection.execute(text(statement))
        return list(done) if done.returns_rows else []

    return store.write(work)


def test_the_keys_of_new_records_are_taken_in_one_order(empty_store_url: str) -> None:
    """However many there are, and beside whatever else: two who take the same never wait for each other in a ring."""
    store, numbers = SqlStore(empty_store_url), range(30)
    seen = store.apply([upsert("first")])[0]
    for statement in WATCHED[make_url(empty_store_url).get_backend_name()]:
        run(store, statement)
    moved = Change("update", PAYMENT, HERE, {"id": seen.id}, {"gateway_id": "moved"}, seen=seen)
    store.apply([moved, *(upsert(f"{number * 7 % 30:02}", customer="c") for number in numbers)])
    order = [key for (key,) in run(store, "SELECT key FROM taken ORDER BY place")]
    assert len(order) == 31
    assert order == sorted(order)


def born(key: str) -> Change:
    return Change("insert", CALL, HERE, {}, {"key": key, "state": "prepared"})


def other_connection(url: str) -> Any:
    """Another process's, by the copy of SQLite that the URL names."""
    parsed = make_url(url)
    module = driver(parsed.drivername.partition("+")[2])
    return module.connect(parsed.database, isolation_level=None, check_same_thread=False)


class TestGroupCommit:
    """Threads that write to SQLite at the same time share a commit, and nothing else."""

    def while_busy(
        self, store_url: str, work: Callable[[SqlStore, int], Any], inserts: list[str] | None = None
    ) -> tuple[list[Any], list[str]]:
        """What five threads get that come while a sixth is writing, and the statements that end transactions.

        `inserts` are those of calls that come to the database.
        """
        pause, ends = Pause(), list[str]()
        store = SqlStore(store_url, inside=pause, concerns=lambda records: records[0].type == "payment")
        for type in (PAYMENT, CALL):
            store._indexes.keep(store._opened(), type)  # which is a transaction of its own
        store._opened()._sessions.clear()

        def listen(text: str) -> None:
            if inserts is not None and text.startswith("INSERT INTO callsheet_call "):
                inserts.append(text)

        event.listen(store._opened().engine, "connect", lambda driver, _: driver.set_trace_callback(listen))
        event.listen(store._opened().engine, "commit", lambda _: ends.append("commit"))
        event.listen(store._opened().engine, "rollback", lambda _: ends.append("rollback"))
        first = threading.Thread(target=store.apply, args=([upsert("first")],))
        first.start()
        assert pause.reached.wait(30)
        group = store._opened()._group  # type: ignore[union-attr]

        def start() -> None:
            until(lambda: len(group._waiting) == 5)
            pause.go_on.set()

        starter = threading.Thread(target=start)
        starter.start()
        outcomes = together(5, lambda number: work(store, number))
        for thread in (first, starter):
            thread.join()
        return outcomes, ends

    def test_those_who_wait_are_committed_together(self, sqlite_store_url: str) -> None:
        outcomes, ends = self.while_busy(sqlite_store_url, lambda store, number: store.apply([upsert(f"ch_{number}")]))
        assert [one[0]["gateway_id"] for one in outcomes] == [f"ch_{number}" for number in range(5)]
        assert ends == ["commit", "commit"]
        assert len(everything(SqlStore(sqlite_store_url), "payment")) == 6

    def test_one_who_fails_takes_nobody_along(self, sqlite_store_url: str) -> None:
        def work(store: SqlStore, number: int) -> list[Record]:
            must = number % 2 == 1
            return store.apply([upsert(f"ch_{number}"), update("nobody", must=must)])

        outcomes, ends = self.while_busy(sqlite_store_url, work)
        assert [isinstance(one, Conflict) for one in outcomes] == [False, True, False, True, False]
        assert ends == ["commit", "rollback", "commit"]  # all of them were tried at once, and then each for itself
        kept = {one["gateway_id"] for one in everything(SqlStore(sqlite_store_url), "payment")}
        assert kept == {"first", "ch_0", "ch_2", "ch_4"}

    def test_one_who_saw_what_is_so_no_more_takes_nobody_along(self, sqlite_store_url: str) -> None:
        other = SqlStore(sqlite_store_url)
        calls = [Change("insert", CALL, HERE, {"id": str(number)}, {"key": str(number)}) for number in range(5)]
        seen = other.apply(calls)
        other.apply([Change("update", CALL, HERE, {"id": "1"}, {"due": "9"})])
        other.apply([Change("update", CALL, HERE, {"id": "3"}, {"worker": "another"})])

        def work(store: SqlStore, number: int) -> list[Record]:
            when, end = {"worker": None}, {"state": "succeeded"}
            moved = Change("update", CALL, HERE, {"id": str(number)}, end, when, must=True, seen=seen[number])
            return store.apply([upsert(f"ch_{number}"), moved])

        outcomes, _ = self.while_busy(sqlite_store_url, work)
        assert [isinstance(one, Conflict) for one in outcomes] == [False, False, False, True, False]
        assert [call.get("state") for call in everything(other, "call")] == [*["succeeded"] * 3, None, "succeeded"]
        assert other.find("call", where={"id": "1"})[0]["due"] == "9"
        kept = {one["gateway_id"] for one in everything(other, "payment")}
        assert kept == {"first", "ch_0", "ch_1", "ch_2", "ch_4"}

    @pytest.mark.parametrize("files", [files for files, _ in _IN_A_LOG])
    def test_what_is_new_of_one_type_is_one_statement(self, files: str, request: pytest.FixtureRequest) -> None:
        url, inserts = request.getfixturevalue(files), list[str]()
        SqlStore(url).apply([born("3")])
        keys = ["1", "2", "1", "3", "4"]
        outcomes, _ = self.while_busy(url, lambda store, number: store.apply([born(keys[number])]), inserts)
        assert len(inserts) == 1
        assert [one[0]["key"] for one in outcomes if one].count("1") == 1
        told = [(keys[number], *(record.id for record in one)) for number, one in enumerate(outcomes)]
        assert sorted(key for key, *ids in told if ids) == ["1", "2", "4"]
        kept = {call["key"]: call.id for call in everything(SqlStore(url), "call")}
        assert [kept[key] for key, *ids in told if ids] == [id for _, *ids in told for id in ids]

    @pytest.mark.parametrize("files", [files for files, _ in _IN_A_LOG])
    def test_what_is_new_of_one_type_may_lack_other_columns(self, files: str, request: pytest.FixtureRequest) -> None:
        url, inserts = request.getfixturevalue(files), list[str]()

        def work(store: SqlStore, number: int) -> list[Record]:
            due = {"due": "9"} if number % 2 else {}
            scope = Scope("stripe", live=number == 4)
            return store.apply([Change("insert", CALL, scope, {}, {"key": str(number), "state": "prepared", **due})])

        outcomes, _ = self.while_busy(url, work, inserts)
        assert len(inserts) == 5
        kept = {call["key"]: call for call in everything(SqlStore(url), "call")}
        assert [kept[str(number)] for number in range(5)] == [record for (record,) in outcomes]
        assert {call["key"] for call in SqlStore(url).find("call", where={"due": "9"})} == {"1", "3"}
        assert {call["key"] for call in SqlStore(url).find("call", where={"live": True})} == {"4"}

    @pytest.mark.parametrize("files", [files for files, _ in _IN_A_LOG])
    def test_more_than_a_statement_takes_are_a_transaction(
        self, files: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("engine.store.sqlite.TOGETHER", 4)
        url, inserts = request.getfixturevalue(files), list[str]()
        outcomes, _ = self.while_busy(url, lambda store, number: store.apply([born(str(number))]), inserts)
        assert [one[0]["key"] for one in outcomes] == list("01234")
        assert len(inserts) == 5

    @pytest.mark.parametrize("files", [files for files, _ in _IN_A_LOG])
    def test_what_is_refused_of_several_is_refused_alone(self, files: str, request: pytest.FixtureRequest) -> None:
        url, inserts = request.getfixturevalue(files), list[str]()
        SqlStore(url).upgrade()
        with closing(other_connection(url)) as connection:
            connection.execute(
                "CREATE TRIGGER refusing BEFORE INSERT ON callsheet_call WHEN new.key = '2' "
                "BEGIN SELECT RAISE(ABORT, 'not this one'); END"
            )
        outcomes, _ = self.while_busy(url, lambda store, number: store.apply([born(str(number))]), inserts)
        assert [isinstance(one, StoreError) for one in outcomes] == [False, False, True, False, False]
        assert len(set(inserts)) == 6  # all of them at once, and then each for itself; a trigger repeats its own
        assert {call["key"] for call in everything(SqlStore(url), "call")} == {"0", "1", "3", "4"}

    def test_one_who_ruins_the_transaction_is_tried_alone(self, sqlite_store_url: str) -> None:
        def ruin(session: Session) -> None:
            session.say("ROLLBACK")
            raise OSError("disk")

        def work(store: SqlStore, number: int) -> Any:
            if number == 2:
                return store._opened().write(ruin)
            return store.apply([upsert(f"ch_{number}")])

        outcomes, ends = self.while_busy(sqlite_store_url, work)
        assert [isinstance(one, OSError) for one in outcomes] == [False, False, True, False, False]
        assert ends.count("commit") == 5
        assert len(everything(SqlStore(sqlite_store_url), "payment")) == 5

    def test_one_who_fails_in_a_transaction_that_is_undone_may_end_well_alone(self) -> None:
        entered, go_on, tries = threading.Event(), threading.Event(), count()

        def hold(_: Any) -> None:
            entered.set()
            assert go_on.wait(30)

        def fail_once(_: Any) -> str:
            if next(tries) == 0:
                raise Conflict("another's record, in a transaction that is undone")
            return "stored"

        def commit_one(jobs: Sequence[Job[Any]]) -> None:
            for job in jobs:
                try:
                    job.run(cast(Session, None))
                    job.is_done = len(jobs) == 1
                except Conflict as error:
                    job.error = error
            if len(jobs) > 1:
                raise OSError("the disk is full")

        group = Group(commit_one)
        leader = threading.Thread(target=lambda: group.run(Job(hold)))
        leader.start()
        assert entered.wait(30)
        with ThreadPoolExecutor(2) as pool:
            waiting = [pool.submit(group.run, Job(work)) for work in (fail_once, lambda _: "beside it")]
            until(lambda: len(group._waiting) == 2)
            go_on.set()
            assert [one.result(30) for one in waiting] == ["stored", "beside it"]
        leader.join()

    def test_whoever_is_interrupted_leaves_the_others_to_their_work(self) -> None:
        group, entered, go_on = Group(commit_all), threading.Event(), threading.Event()

        def interrupted(_: Session) -> None:
            entered.set()
            assert go_on.wait(30)
            raise KeyboardInterrupt

        outcomes: list[Any] = []

        def lead() -> None:
            try:
                group.run(Job(interrupted))
            except KeyboardInterrupt as error:
                outcomes.append(error)

        leader = threading.Thread(target=lead)
        leader.start()
        assert entered.wait(30)
        follower = threading.Thread(target=lambda: outcomes.append(group.run(Job(lambda _: "done"))))
        follower.start()
        until(lambda: len(group._waiting) == 1)
        go_on.set()
        for thread in (leader, follower):
            thread.join(30)
        assert [type(one) for one in outcomes] == [KeyboardInterrupt, str]
        assert group.run(Job(lambda _: "again")) == "again"

    def test_whoever_is_interrupted_while_waiting_is_left_out(self) -> None:
        entered, go_on, done = threading.Event(), threading.Event(), list[str]()
        group = Group(commit_all)

        def hold(_: Any) -> None:
            entered.set()
            assert go_on.wait(30)

        def interrupt() -> None:
            until(lambda: len(group._waiting) == 1)
            os.kill(os.getpid(), signal.SIGINT)

        before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

        leader, interrupter = threading.Thread(target=lambda: group.run(Job(hold))), threading.Thread(target=interrupt)
        leader.start()
        assert entered.wait(30)
        interrupter.start()
        with pytest.raises(KeyboardInterrupt):
            group.run(Job(lambda _: done.append("by nobody")))
        signal.signal(signal.SIGINT, before)
        go_on.set()
        for thread in (leader, interrupter):
            thread.join(30)
        assert group.run(Job(lambda _: done.append("again"))) is None
        assert done == ["again"]


def commit_all(jobs: Sequence[Job[Any]]) -> None:
    """A transaction without a database: a job is handed what it asks nothing of."""
    for job in jobs:
        job.run(cast(Session, None))
        job.is_done = True


class TestSqliteFile:
    def test_a_commit_survives_a_power_cut(self, sqlite_store_url: str) -> None:
        assert journal_for((3, 40, 1)) == journal_for((3, 51, 2)) == ("PERSIST", "FULL")
        assert journal_for((3, 51, 3)) == journal_for((3, 52, 0)) == ("WAL", "FULL")
        names, found = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout"), list[Any]()

        def inside(connection: Connection, *_: Any) -> None:
            found.extend(connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names)

        SqlStore(sqlite_store_url, inside=inside).apply([upsert("ch_1")])
        journal, _ = journal_for(sqlite3.sqlite_version_info)
        assert found == [journal.lower(), 2, 1, 0]

    def test_a_newer_sqlite_is_used_where_it_is_asked_for(self, wal_store_url: str) -> None:
        modes = list[Any]()

        def inside(connection: Connection, _: Sequence[Change], *__: Any) -> None:
            modes.append(connection.exec_driver_sql("PRAGMA journal_mode").scalar())

        SqlStore(wal_store_url, inside=inside).apply([upsert("ch_1")])
        assert modes == ["wal"]

    def test_it_is_made_for_its_owner_only(self, tmp_path: Path) -> None:
        path = tmp_path / "new" / "folder" / "store.sqlite3"
        store = SqlStore(path)
        assert not path.parent.exists()  # before the first use
        store.apply([upsert("ch_1")])
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert len(SqlStore(f"sqlite:///{path}").find("payment")) == 1

    def test_what_it_says_of_itself(self, sqlite_store_url: str) -> None:
        store = SqlStore(sqlite_store_url)
        journal, synchronous = journal_for(sqlite3.sqlite_version_info)
        said = f"SQLite {sqlite3.sqlite_version}, journal {journal.lower()}, synchronous {synchronous}"
        assert store.durability() == Durability(said, ())
        event.listen(
            store._opened().engine,
            "connect",
            lambda connection, _: connection.execute("PRAGMA synchronous = NORMAL").close(),
        )
        store._opened().close()
        assert store.durability().weak == ("synchronous is NORMAL, so a power cut can undo commits",)

    def test_live_money_needs_a_file(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        kept_nowhere = "sqlite:///file:x?mode=memory&cache=shared&uri=true"
        SqlStore(kept_nowhere).upgrade()
        engine = Engine(tmp_path, environment={"CALLSHEET_MODE": "live", "CALLSHEET_STORE": kept_nowhere})
        with pytest.raises(StoreError, match="is refused with CALLSHEET_MODE=live: its journal is memory, so a crash"):
            engine.find("payment", limit=1)
        with pytest.raises(SettingError, match="CALLSHEET_STORE: memory: keeps nothing"):
            Engine(tmp_path, environment={"CALLSHEET_MODE": "live", "CALLSHEET_STORE": "memory:"})
        lasting = Engine(tmp_path, environment={"CALLSHEET_MODE": "live"})
        assert lasting.find("payment", limit=1) == []

    def test_network_file_systems_are_told(self, tmp_path: Path) -> None:
        mounts = tmp_path / "mounts"
        mounts.write_text(
            "/dev/vda / ext4 rw 0 0\n"
            "//nas/x /srv/the\\040shop cifs rw 0 0\n"
            "/dev/vdb /srv/the\\040shop/here ext4 rw 0 0\n"
        )
        for path, kind in (
            ("/srv/the shop/callsheet.sqlite3", "cifs"),
            ("/srv/the shop/here/callsheet.sqlite3", None),
            ("/srv/callsheet.sqlite3", None),
        ):
            assert network_file_system(Path(path), mounts) == kind
        assert network_file_system(Path("/srv/the shop/x"), tmp_path / "none") is None

    def test_a_lock_held_by_somebody_else(self, sqlite_store_url: str) -> None:
        store = SqlStore(f"{sqlite_store_url}?timeout=0.1")
        store.apply([upsert("ch_1")])
        with closing(sqlite3.connect(make_url(sqlite_store_url).database or "", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            outcomes = together(3, lambda number: store.apply([upsert(f"ch_{number}")]))
            assert [type(one) for one in outcomes] == [StoreError] * 3
            assert "database is locked" in str(outcomes[0])
            other.execute("ROLLBACK")
        assert store.apply([upsert("ch_2")])

    @pytest.mark.parametrize(
        ("name", "in_doubt"),
        [("SQLITE_IOERR_FSYNC", True), ("SQLITE_IOERR", True), ("SQLITE_IOERR_WRITE", False), ("SQLITE_FULL", False)],
    )
    def test_a_commit_that_was_not_flushed_is_in_doubt(
        self, sqlite_store_url: str, monkeypatch: pytest.MonkeyPatch, name: str, in_doubt: bool
    ) -> None:
        """It is undone in this process; whoever reads the file after a power cut may find it."""
        store, here, commit = SqlStore(sqlite_store_url), threading.get_ident(), Session.commit
        store.apply([upsert("ch_1")])
        failure = sqlite3.OperationalError("disk I/O error")
        failure.sqlite_errorname = name

        def fail(session: Session) -> Any:
            if threading.get_ident() == here:
                raise DBAPIError("COMMIT", {}, failure)
            return commit(session)

        with monkeypatch.context() as patched:
            patched.setattr(Session, "commit", fail)
            with pytest.raises(StoreError, match="disk I/O error") as caught:
                store.apply([upsert("ch_2")])
        assert caught.value.in_doubt is in_doubt
        assert {one["gateway_id"] for one in everything(store, "payment")} == {"ch_1"}

    def test_processes_take_turns(self, sqlite_store_url: str) -> None:
        """Left to itself, SQLite looks ten times a second: some write a hundred times as often as others."""
        written = in_processes(6, write_for, sqlite_store_url, 4.0)
        assert max(written) < 4 * min(written)

    def test_a_commit_waits_for_those_who_read(self, sqlite_store_url: str) -> None:
        store = SqlStore(sqlite_store_url)
        store.apply([upsert("ch_1")])
        path = make_url(sqlite_store_url).database or ""
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as other:
            other.execute("BEGIN")
            assert other.execute("SELECT count(*) FROM callsheet_record").fetchone() == (1,)
            timer = threading.Timer(0.5, other.execute, ["COMMIT"])
            timer.start()
            assert store.apply([upsert("ch_2")])
            timer.join()
        assert len(contents(store)) == 2

    @pytest.mark.parametrize(("files", "around"), [("sqlite_store_url", ["BEGIN IMMEDIATE", "COMMIT"]), *_IN_A_LOG])
    def test_what_is_new_takes_one_statement_in_a_log(
        self, files: str, around: list[str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, said, say = SqlStore(request.getfixturevalue(files)), list[str](), Session.say
        store._indexes.keep(store._opened(), CALL)  # which is a transaction of its own

        here = threading.get_ident()

        def say_one(session: Session, text: str) -> Any:
            if threading.get_ident() == here:
                said.append(text)
            return say(session, text)

        monkeypatch.setattr(Session, "say", say_one)
        (call,) = store.apply([born("k1")])
        assert said == around
        assert store.apply([born("k1")]) == []
        assert said == around * 2
        assert SqlStore(request.getfixturevalue(files)).find("call") == [call]

    @pytest.mark.parametrize("files", ["sqlite_store_url", *(files for files, _ in _IN_A_LOG)])
    def test_what_is_new_waits_for_a_process_that_writes(self, files: str, request: pytest.FixtureRequest) -> None:
        url = request.getfixturevalue(files)
        store, hasty = SqlStore(url), SqlStore(f"{url}?timeout=0.1")
        for one in (store, hasty):
            one._indexes.keep(one._opened(), CALL)
        with closing(other_connection(url)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StoreError, match="database is locked"):
                hasty.apply([born("k1")])
            timer = threading.Timer(0.5, other.execute, ["COMMIT"])
            timer.start()
            assert store.apply([born("k2")])
            timer.join()
        assert [call["key"] for call in hasty.find("call")] == ["k2"]

    def test_a_full_disk(self, sqlite_store_url: str) -> None:
        store = SqlStore(sqlite_store_url)
        store.apply([upsert("ch_1", note="x")])

        def fill(connection: Any, _: Any) -> None:
            connection.execute("PRAGMA max_page_count = 60").close()

        event.listen(store._opened().engine, "connect", fill)
        store._opened().close()
        with pytest.raises(StoreError, match="full"):
            store.apply([upsert("ch_2"), upsert("ch_1", note="x" * 1_000_000)])
        assert [one["note"] for one in contents(store)] == ["x"]
        assert store.apply([upsert("ch_1", note="y")])

    @pytest.mark.parametrize("kind", ["a folder", "not a database", "in no folder"])
    def test_what_is_no_database(self, tmp_path: Path, kind: str) -> None:
        path = tmp_path / "store"
        if kind == "a folder":
            path.mkdir()
        else:
            path.write_text("not a database " * 1000)
        store = SqlStore(path / "store" if kind == "in no folder" else path)
        with pytest.raises(StoreError, match=str(tmp_path)):
            store.apply([upsert("ch_1")])

    @pytest.mark.parametrize(
        "store_url",
        ["sqlite:///x?timeout=soon", "mysql://localhost/db", "sqlite://", ":memory:", "postgresql://host:port/x"],
    )
    def test_what_is_no_url(self, store_url: str) -> None:
        with pytest.raises(StoreError):
            SqlStore(store_url).upgrade()


class TestPostgresServer:
    def test_the_session(self, postgres_store_url: str) -> None:
        timeouts = ["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
        names = [*timeouts, "transaction_isolation", "synchronous_commit", "application_name"]
        found = list[Any]()

        def inside(connection: Connection, *_: Any) -> None:
            found.extend(connection.scalar(text(f"SHOW {name}")) for name in names)

        SqlStore(postgres_store_url.replace("postgresql://", "postgres://"), inside=inside).apply([upsert("ch_1")])
        assert found == ["15s", "5s", "30s", "read committed", "on", "callsheet"]

    def test_what_it_says_of_itself(self, postgres_store_url: str) -> None:
        found = SqlStore(postgres_store_url).durability()
        with psycopg.connect(postgres_store_url) as connection:
            shown = [connection.execute(f"SHOW {name}".encode()).fetchone() for name in DURABLE]
        settings = dict(zip(DURABLE, (value for row in shown if row for value in row), strict=True))
        assert found.said.startswith("PostgreSQL ")
        assert found.said.endswith(", ".join(f"{name} {value}" for name, value in settings.items()))
        assert [one.partition(" ")[0] for one in found.weak] == [name for name in DURABLE if settings[name] == "off"]

    def test_live_money_needs_a_server_that_flushes(self, tmp_path: Path) -> None:
        """A server of the tests does not, for it is to be fast."""
        with running_server() as server:
            SqlStore(server.url).upgrade()
            live = {"CALLSHEET_MODE": "live", "CALLSHEET_STORE": server.url}
            store = Engine(tmp_path, environment=live).store
            for _ in range(2):
                with pytest.raises(StoreError, match="is refused with CALLSHEET_MODE=live: fsync is off, so a power"):
                    store.apply([upsert("ch_1")])
            assert SqlStore(server.url).find("payment") == []

    def test_commits_are_durable_even_where_the_server_would_rather_not(self, postgres_url: str) -> None:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            name = connection.info.dbname
            connection.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off'.encode())
        found = []

        def inside(connection: Connection, *_: Any) -> None:
            found.append(connection.scalar(text("SHOW synchronous_commit")))

        SqlStore(postgres_url, inside=inside).apply([upsert("ch_1")])
        assert found == ["on"]

    def test_a_server_that_cannot_be_reached(self) -> None:
        with closing(socket.socket()) as taken:
            taken.bind(("127.0.0.1", 0))  # and nobody listens
            place = f"127.0.0.1:{taken.getsockname()[1]}/name"
            store = SqlStore(f"postgresql://user:s3cret@{place}?password=s3cret&connect_timeout=2")
            for use in (lambda: store.apply([upsert("ch_1")]), lambda: store.find("payment"), store.upgrade):
                with pytest.raises(StoreError, match=rf"postgresql://user:\*\*\*@{place}") as caught:
                    use()
                assert "s3cret" not in str(caught.value)
                assert "\n" not in str(caught.value)
                assert caught.value.__cause__ is None

    def test_connections_that_were_cut_are_replaced(self, postgres_store_url: str) -> None:
        store = SqlStore(postgres_store_url)
        store.apply([upsert("ch_1")])
        cut_all(postgres_store_url)
        assert len(store.find("payment")) == 1
        cut_all(postgres_store_url)
        assert store.apply([upsert("ch_1", state="paid")])

    def test_connections_are_used_again_and_never_too_many(self, postgres_store_url: str) -> None:
        store = SqlStore(postgres_store_url)

        def opened() -> int:
            with psycopg.connect(postgres_store_url) as connection:
                mine = "datname = current_database() AND application_name = 'callsheet'"
                (number,) = connection.execute(
                    f"SELECT count(*) FROM pg_stat_activity WHERE {mine}".encode()
                ).fetchall()
                return int(number[0])

        cut_all(postgres_store_url)  # those of the tests before, whose stores nobody closed
        until(lambda: opened() == 0)
        for number in range(5):
            store.apply([upsert(f"ch_{number}")])
            assert len(store.find("payment")) == number + 1
        assert opened() == 1
        found = together(50, lambda _: store.find("payment"))
        assert [len(one) for one in found] == [5] * 50
        assert 1 <= opened() <= 30
        store.close()
        until(lambda: opened() == 0)

    def test_whoever_finds_no_connection_free_is_told(self) -> None:
        sessions = Sessions(Session, create_engine("sqlite://"), kept=1, most=1, patience=0.1)
        only = sessions.take()
        with pytest.raises(StoreError, match=r"no connection to the database became free within 0\.1 seconds"):
            sessions.take()
        sessions.give(only)
        assert sessions.take() is only

    def test_two_may_close_the_connections_at_the_same_time(self) -> None:
        sessions = Sessions(Session, create_engine("sqlite://"), kept=2)
        sessions.give(sessions.take())

        class Shared(list[Session]):
            def pop(self, *_: Any) -> Session:
                self[:] = []  # another thread takes what is left between the look and the grasp
                return super().pop()

        sessions._idle = Shared(sessions._idle)
        sessions.clear()
        assert sessions._idle == []

    def test_a_connection_lost_before_the_commit(
        self, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, losses, commit = SqlStore(postgres_store_url), iter(range(1)), PostgresSession.commit
        store.apply([upsert("ch_0")])

        def lose(session: PostgresSession) -> Any:
            for _once in losses:
                cut_all(postgres_store_url)
            return commit(session)

        monkeypatch.setattr(PostgresSession, "commit", lose)
        once, again = store.apply([upsert("ch_1", state="pending"), upsert("ch_1", state="paid")])
        assert once.id == again.id
        assert store.find("payment", where={"gateway_id": "ch_1"}) == [again]
        assert list(losses) == []

    def test_a_commit_whose_answer_is_lost_is_not_made_twice(
        self, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, tries, commit = SqlStore(postgres_store_url), list[str](), PostgresSession.commit
        store.apply([upsert("ch_0")])

        def lose(session: PostgresSession) -> Any:
            tries.append("commit")
            if len(tries) == 1:
                commit(session)
                session.driver.close()
            return commit(session)

        monkeypatch.setattr(PostgresSession, "commit", lose)
        born = [Change("insert", PAYMENT, HERE, {}, {"gateway_id": name}) for name in ("ch_1", "ch_2")]
        both = store.apply(born)
        assert store.find("payment", where={"gateway_id": ["ch_1", "ch_2"]}, order="id") == both
        assert tries == ["commit"]

    def test_what_is_new_takes_one_statement(self, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """And no transaction around it; what has to be looked at first takes one."""
        store, began, begin = SqlStore(postgres_store_url), list[str](), PostgresSession.begin
        store.apply([upsert("ch_0")])

        def begin_one(session: PostgresSession) -> None:
            began.append("once")
            begin(session)

        monkeypatch.setattr(PostgresSession, "begin", begin_one)
        born = Change("insert", CALL, HERE, {"id": "call-1"}, {"key": "k", "state": "prepared"})
        store._indexes.keep(store._opened(), CALL)  # which is a transaction of its own
        began.clear()
        (call,), (payment,) = store.apply([born]), store.apply([upsert("ch_1", state="paid", tags=["a", "b"])])
        assert store.apply([born]) == []
        assert began == []
        (again,) = store.apply([upsert("ch_1", state="refunded")])
        assert began == ["once"]
        assert (store.find("call"), again.id) == ([call], payment.id)
        assert store.find("payment", where={"tags": "b", "state": "refunded"}) == [again]

    @pytest.mark.parametrize("when", ["before", "after"])
    @pytest.mark.parametrize("verb", ["insert", "upsert"])
    def test_what_is_new_is_written_once_though_its_answer_is_lost(
        self, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch, when: str, verb: str
    ) -> None:
        store, losses, put = SqlStore(postgres_store_url), iter(range(1)), PostgresSession.insert
        store.apply([upsert("ch_0")])

        def lose(session: PostgresSession, *new: Any) -> bool:
            for _once in losses:
                if when == "after":
                    assert put(session, *new)
                session.driver.close()
            return put(session, *new)

        monkeypatch.setattr(PostgresSession, "insert", lose)
        insert = Change("insert", PAYMENT, HERE, {}, {"gateway_id": "ch_1"})
        (born,) = store.apply([insert if verb == "insert" else upsert("ch_1")])
        assert store.find("payment", where={"gateway_id": "ch_1"}) == [born]
        assert store.apply([insert]) == []
        assert list(losses) == []

    def test_what_another_made_meanwhile_is_not_taken_for_ones_own(
        self, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, losses, put = SqlStore(postgres_store_url), iter(range(1)), PostgresSession.insert
        store.apply([upsert("ch_0")])
        born = Change("insert", CALL, HERE, {}, {"key": "k", "state": "prepared"})

        def lose(session: PostgresSession, *new: Any) -> bool:
            for _once in losses:
                session.driver.close()
                assert SqlStore(postgres_store_url).apply([born])
            return put(session, *new)

        monkeypatch.setattr(PostgresSession, "insert", lose)
        assert store.apply([born]) == []
        assert len(store.find("call")) == 1

    def test_whether_what_is_new_was_written_may_not_be_known(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("engine.store.postgres._PATIENCE", 0.3)
        with running_server() as server:
            store, put = SqlStore(server.url), PostgresSession.insert
            store.apply([upsert("ch_0")])

            def lose(session: PostgresSession, *new: Any) -> bool:
                put(session, *new)
                server.stop()
                return put(session, *new)

            monkeypatch.setattr(PostgresSession, "insert", lose)
            with pytest.raises(StoreError, match="whether it was stored is not known") as caught:
                store.apply([upsert("ch_1")])
            assert caught.value.in_doubt

    def test_a_connection_that_was_cut_while_it_was_idle_leaves_no_doubt(
        self, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store, tries, put = SqlStore(postgres_store_url), list[str](), PostgresSession.insert
        store.apply([upsert("ch_0")])

        def put_one(session: PostgresSession, *new: Any) -> bool:
            tries.append("once")
            return put(session, *new)

        monkeypatch.setattr(PostgresSession, "insert", put_one)
        cut_all(postgres_store_url)
        assert store.apply([upsert("ch_1")])
        assert tries == ["once"]

    def test_a_failure_that_was_not_heeded_is_no_success(self, postgres_store_url: str) -> None:
        """The server undoes a transaction in which a statement failed, and calls that no error."""

        def inside(connection: Connection, *_: Any) -> None:
            with suppress(SQLAlchemyError):
                connection.execute(text("SELECT nothing"))

        with pytest.raises(StoreError, match="nothing of the transaction was stored"):
            SqlStore(postgres_store_url, inside=inside).apply([upsert("ch_1")])
        assert contents(SqlStore(postgres_store_url)) == []

    def test_a_deadlock_is_tried_again(self, postgres_url: str) -> None:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute("CREATE TABLE host AS SELECT number FROM generate_series(0, 1) AS number")
            name = connection.info.dbname
            connection.execute(f"ALTER DATABASE \"{name}\" SET deadlock_timeout = '50ms'".encode())
        both_hold_one, tries = threading.Barrier(2), list[int]()

        def inside(connection: Connection, changes: Sequence[Change], *__: Any) -> None:
            number = changes[0].set["note"]
            tries.append(number)
            for one in (number, 1 - number):
                connection.execute(text("SELECT 1 FROM host WHERE number = :one FOR UPDATE"), {"one": one})
                if one == number and len(tries) <= 2:
                    both_hold_one.wait(30)

        store = SqlStore(postgres_url, inside=inside)
        store._indexes.keep(store._opened(), PAYMENT)
        outcomes = together(2, lambda number: store.apply([upsert(f"ch_{number}", note=number)]))
        assert [len(one) for one in outcomes] == [1, 1]
        assert len(tries) == 3

    def test_of_several_new_ones_others_may_make_any_number_meanwhile(
        self, postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As two deliveries that hold the same events do."""
        born = [Change("insert", CALL, HERE, {}, {"key": f"k{number}", "state": "prepared"}) for number in range(6)]
        store, others, write = SqlStore(postgres_store_url), iter(born[:5]), PostgresSession.write

        def late(session: PostgresSession, *questions: Any) -> bool:
            for other in islice(others, 1):
                assert SqlStore(postgres_store_url).apply([other])
            return write(session, *questions)

        monkeypatch.setattr(PostgresSession, "write", late)
        assert [one["key"] for one in store.apply(born)] == ["k5"]
        assert len(store.find("call")) == 6

    def test_a_key_that_is_taken_is_so_after_deadlocks_too(self, postgres_store_url: str) -> None:
        """How often it is looked for has nothing to do with how often others were in the way."""
        passing = [DBAPIError(None, None, psycopg.errors.DeadlockDetected()) for _ in range(3)]
        tries = iter([*passing, *(indexes.Taken("payment ch_1") for _ in range(3))])

        def work(_: Session) -> None:
            raise next(tries)

        database = SqlStore(postgres_store_url)._opened()
        with pytest.raises(indexes.Taken):
            database.write(work)
        assert list(tries) == []

    def test_a_server_that_restarts(self, tmp_path: Path) -> None:
        with running_server() as server:
            store = SqlStore(server.url)
            store.apply([upsert("ch_1")])
            server.stop()
            with pytest.raises(StoreError, match="did not work"):
                store.apply([upsert("ch_2")])
            with pytest.raises(StoreError, match="did not work"):
                store.find("payment")
            server.start()
            assert store.apply([upsert("ch_3")])
            assert [one["gateway_id"] for one in store.find("payment", order="id")] == ["ch_1", "ch_3"]


def cut_all(store_url: str) -> None:
    """End every other connection to a database, as an operator or a failing server does."""
    with psycopg.connect(store_url, autocommit=True) as connection:
        others = "datname = current_database() AND pid <> pg_backend_pid()"
        connection.execute(f"SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE {others}".encode())


FORKING = """
import os, sys
from engine.store.sql import SqlStore
from store_contract import upsert
store = SqlStore(sys.argv[1])
store.apply([upsert("before")])
children = []
for number in range(3):
    child = os.fork()
    if child == 0:
        store.apply([upsert(f"child {number}")])
        assert store.find("payment")
        sys.exit()
    children.append(child)
for number in range(20):
    store.apply([upsert(f"parent {number}")])
for child in children:
    assert os.waitpid(child, 0)[1] == 0
assert len(store.find("payment")) == 24
"""


def test_a_forked_process_opens_its_own_connections(store_url: str) -> None:
    paths = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", FORKING, store_url]
    done = subprocess.run(command, env=paths, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
