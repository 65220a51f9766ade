"""Whatever happens to an exchange: what the call is taken for, what its caller is told, how often it is sent, when."""

from __future__ import annotations

import pytest
from fault_matrix.bank import DEADLINE, Bank, expected
from fault_matrix.memory import growth
from fault_matrix.rows import FAILED, FAULTS, GOOD, KEYED, ONCE, READ, REPEATS, ROWS, Repeats, bombs
from fault_server import FaultServer, answer
from store_processes import in_processes

from engine.store.sql import SqlStore

LATE = 1.0  # seconds after the deadline
PACE = 3_000_000  # bytes that may be written down in a second more
CASES = {
    f"{name}, {type}, {'after an unknown' if later else 'first'}": (row, type, later)
    for name, row in ROWS.items()
    for type in row.of
    for later in (False, True)
}
ON_DISK = [
    "nobody listens",
    "close before the answer",
    "reset in the body",
    "200 as it should be",
    "200 with NUL",
    "200 with a lone surrogate",
    "200 with Latin-1",
    "402 with a refusal",
    "429 with a refusal",
]

ran_again: list[str] = []


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Bank:
    return Bank.at(tmp_path_factory.mktemp("bank"))


def test_no_fault_is_left_out() -> None:
    """All that the server can do wrong is in the table."""
    assert set(FAILED) == set(FAULTS)


@pytest.mark.deadline
@pytest.mark.parametrize("name", CASES)
def test_what_happens(bank: Bank, name: str) -> None:
    """Everything is as the row says, and in time; a machine that was busy elsewhere gets a second chance, counted."""
    row, type, later = CASES[name]
    latest = DEADLINE + LATE + row.size / PACE
    seen, seconds = bank.case(row, type, later=later)
    if seconds > latest or (row.kind != "deadline" and "deadline" in dict(seen.attempts)):
        ran_again.append(name)
        seen, seconds = bank.case(row, type, later=later)
    assert seen == expected(row, type, later=later)
    assert seconds <= latest


@pytest.mark.deadline
def test_few_cases_needed_a_second_chance() -> None:
    """What is late again and again is not late by chance."""
    assert len(ran_again) <= len(CASES) // 50, ran_again


@pytest.mark.parametrize("later", [False, True], ids=["first", "after an unknown"])
@pytest.mark.parametrize("type", [KEYED, ONCE])
@pytest.mark.parametrize("name", ON_DISK)
def test_what_happens_is_on_disk(bank: Bank, sqlite_store_url: str, name: str, type: str, later: bool) -> None:
    """A database keeps what memory keeps."""
    row = ROWS[name]
    seen, _ = bank.case(row, type, later=later, store=SqlStore(sqlite_store_url))
    assert seen == expected(row, type, later=later)


@pytest.mark.parametrize("type", [READ, KEYED, ONCE])
@pytest.mark.parametrize("repeats", REPEATS.values(), ids=REPEATS)
def test_how_often(bank: Bank, repeats: Repeats, type: str) -> None:
    """A request is sent again where that is harmless and may help, after the pause that the gateway asks for."""
    with bank.till(repeats.place, pause=lambda _: 0.0) as till:
        till.prepare(repeats.behave)
        till.send(type)
        often = repeats.often[type]
        assert (len(till.attempts.told), till.hours.slept) == (often, list(repeats.waits[: often - 1]))
        assert len({(one.target, one.lines, one.body) for one in till.server.requests}) <= 1


def test_no_answer_fills_the_memory() -> None:
    """Whatever the gateway sends, a process needs little more than for a good answer."""
    hostile = bombs()
    rounds = [behave for behave in hostile.values() for _ in (READ, KEYED, ONCE)]
    with FaultServer() as server:
        server.behave(*[answer(200, GOOD)] * 3, *rounds)
        (found,) = in_processes(1, growth, server.url(""), len(hostile))
    assert not isinstance(found, Exception), found
    grown = dict(zip(hostile, found, strict=True))
    assert max(found) <= 32 << 20, grown
    assert len(server.requests) == 3 + len(rounds)
