"""Several statements in one round trip: whose answer is whose, and what is left when something goes wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.errors import UniqueViolation
from store_contract import CALL, HERE, claim, upsert

from engine.errors import StoreError
from engine.records import Change, RecordType, Scope
from engine.store.round_trips import Answer, Failed, Wire
from engine.store.sql import SqlStore

KEEP = "INSERT INTO kept VALUES (%(name)s, %(number)s)"


@pytest.fixture
def driver(postgres_url: str) -> Iterator[psycopg.Connection[Any]]:
    """A connection to a database with a table of names and numbers."""
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept (name TEXT PRIMARY KEY, number BIGINT)")
        yield connection


def names(driver: psycopg.Connection[Any]) -> list[str]:
    return [name for (name,) in driver.execute("SELECT name FROM kept ORDER BY name")]


def test_every_statement_has_its_answer(driver: psycopg.Connection[Any]) -> None:
    """Sent for the first time, and prepared."""
    wire = Wire(driver)
    for number in range(2):
        kept, found, nothing = wire.ask(
            [
                (KEEP, {"number": number, "name": f"é{number}", "more": "unused"}),
                (
                    "SELECT name, number, number = 1, NULL, 10 %% 4, %(name)s::text FROM kept WHERE name = %(name)s",
                    {"name": f"é{number}"},
                ),
                ("SELECT name FROM kept WHERE %(none)s", {"none": False}),
            ]
        )
        assert kept == Answer([], "INSERT 0 1")
        assert found == Answer([(f"é{number}", number, number == 1, None, 2, f"é{number}")], "SELECT 1")
        assert nothing.rows == []


def test_what_is_sent_together_is_one_transaction(driver: psycopg.Connection[Any]) -> None:
    """One that fails takes the others along, says which it was, and leaves the connection as it was."""
    wire = Wire(driver)
    for _ in range(2):
        with pytest.raises(Failed) as caught:
            wire.ask([(KEEP, {"name": name, "number": 1}) for name in ("a", "a", "b")])
        assert caught.value.number == 1
        assert isinstance(caught.value.error, UniqueViolation)
        assert names(driver) == []
    wire.ask([(KEEP, {"name": "a", "number": None})])
    assert names(driver) == ["a"]


def test_what_the_server_would_not_take_is_not_sent(driver: psycopg.Connection[Any]) -> None:
    """It would read a text up to the first NUL only."""
    with pytest.raises(psycopg.DataError, match="NUL"):
        Wire(driver).ask([(KEEP, {"name": "a", "number": 1}), (KEEP, {"name": "b\x00c", "number": 1})])
    assert names(driver) == []


def test_much_is_sent_and_read_at_once(driver: psycopg.Connection[Any]) -> None:
    """Neither side waits until the other has read, while the other does."""
    text = "é" * 2_000_000
    answers = Wire(driver).ask([("SELECT %(text)s::text", {"text": text})] * 5)
    assert all(answer.rows == [(text,)] for answer in answers)


def test_of_very_many_statements_not_all_are_prepared(
    driver: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("engine.store.round_trips._KEPT", 3)
    wire = Wire(driver)
    for _ in range(2):
        assert [wire.ask([(f"SELECT {one} + %(one)s", {"one": one})])[0].rows for one in range(6)] == [
            [(2 * one,)] for one in range(6)
        ]
    assert driver.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (3,)


def test_a_lost_connection_is_closed(driver: psycopg.Connection[Any], postgres_url: str) -> None:
    wire = Wire(driver)
    assert not wire.has_word
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", [driver.info.backend_pid])
    assert wire.has_word
    with pytest.raises(Failed) as caught:
        wire.ask([(KEEP, {"name": "a", "number": 1})])
    assert isinstance(caught.value.error, psycopg.OperationalError)
    assert driver.closed


def test_an_interrupted_connection_is_closed(
    driver: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch, postgres_url: str
) -> None:
    """For what the server says next would be taken for the answer to something else."""

    class Interrupted:
        def poll(self, *_: Any) -> None:
            raise KeyboardInterrupt

    wire = Wire(driver)
    monkeypatch.setattr(wire, "_ears", Interrupted())
    with pytest.raises(KeyboardInterrupt):
        wire.ask([("SELECT pg_sleep(1)", {})])
    assert driver.closed


def test_a_database_of_another_encoding(postgres_url: str) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE DATABASE latin ENCODING LATIN1 TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
        url = postgres_url.replace(f"/{connection.info.dbname}", "/latin")
    store = SqlStore(url)
    (kept,) = store.apply([upsert("ch_é", customer="Zoë")])
    assert store.find("payment", where={"customer": "Zoë"}) == [kept]
    store.close()
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE latin")


def test_a_change_of_many_records_takes_two_round_trips(
    postgres_store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One to find and lock them, whatever their types, one to write and commit."""
    store, trips, ask = SqlStore(postgres_store_url), list[int](), Wire.ask
    order = RecordType("order", {"number": {"type": "string"}}, unique=(("number",),))
    changes = [
        upsert("ch_1", state="paid"),
        upsert("ch_2", state="paid"),
        Change("upsert", order, Scope("shop"), {"number": "1"}),
    ]
    store.apply(changes)

    def counted(wire: Wire, statements: Any) -> list[Answer]:
        trips.append(len(statements))
        return ask(wire, statements)

    monkeypatch.setattr(Wire, "ask", counted)
    assert len(store.apply([*changes, upsert("ch_1", state="refunded"), upsert("ch_3")])) == 5
    assert len(trips) == 2
    with pytest.raises(StoreError, match="did not work"):
        store.apply([Change("update", order, Scope("shop"), {"id": "\x00"}, {}), upsert("ch_4")])
    assert store.find("payment", where={"gateway_id": "ch_4"}) == []


def test_a_claim_takes_two_round_trips(postgres_store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so it does where there is nothing to claim: a transaction has to be ended."""
    store, trips, ask = SqlStore(postgres_store_url), list[int](), Wire.ask
    store.apply([Change("insert", CALL, HERE, {"id": id}, {"state": "failed", "due": "1"}) for id in "abc"])

    def counted(wire: Wire, statements: Any) -> list[Answer]:
        trips.append(len(statements))
        return ask(wire, statements)

    monkeypatch.setattr(Wire, "ask", counted)
    assert [[one.id for one in store.apply([claim(CALL, "1", 2, "w")])] for _ in range(3)] == [["a", "b"], ["c"], []]
    assert len(trips) == 6
