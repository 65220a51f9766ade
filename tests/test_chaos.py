"""What holds when processes die and race, and that the harness would notice if it did not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from importlib.util import find_spec
from itertools import islice, repeat
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from chaos.gateway import FAULTS, HOST, INDEXED, KEPT, SECRET, Asked, Bank, Door, Reply, TerseBank, by_seed
from chaos.points import POINTS

ROOT = Path(__file__).parents[1]

# The bank -------------------------------------------------------------------------------------------------------------


class Hours:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0


@pytest.fixture
def hours() -> Hours:
    return Hours()


@pytest.fixture
def bank(hours: Hours) -> Bank:
    return Bank(lambda: hours.now)


def charge(key: str | None = "key-1", amount: str = "500", **form: str) -> Asked:
    pairs = {"amount": amount, "currency": "usd", "metadata[callsheet_call]": "call-1", **form}
    body = "&".join(f"{quote(name)}={quote(value)}" for name, value in pairs.items()).encode()
    named = {"idempotency-key": key} if key else {}
    return Asked("POST", "/v1/charges", {"authorization": f"Bearer {SECRET}", **named}, body)


def search(call: str = "call-1") -> Asked:
    query = quote(f"metadata['callsheet_call']:'{call}'")
    return Asked("GET", f"/v1/search?query={query}", {"authorization": f"Bearer {SECRET}"})


def ask(bank: Bank, asked: Asked, fault: str | None = None, **how: Any) -> Reply:
    return asyncio.run(bank.handle(asked, fault, **how))


def test_a_key_is_answered_once(bank: Bank) -> None:
    """A repeat brings the first answer, marked as such, and no second effect."""
    first, again = ask(bank, charge()), ask(bank, charge())
    assert (first.status, first.body["amount"]) == (200, 500)
    assert again.body == first.body
    assert again.headers["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first.headers
    assert len(bank.effects) == 1


def test_without_a_key_every_request_counts(bank: Bank) -> None:
    ask(bank, charge(None))
    ask(bank, charge(None))
    assert len(bank.effects) == 2


def test_a_key_with_other_parameters_is_refused(bank: Bank) -> None:
    ask(bank, charge())
    refused = ask(bank, charge(amount="501"))
    assert (refused.status, refused.body["error"]["type"]) == (400, "idempotency_error")
    assert bank.counts["keys reused with other bytes"] == 1
    assert len(bank.effects) == 1


def test_a_key_in_use_is_a_conflict(bank: Bank) -> None:
    async def both() -> tuple[Reply, Reply]:
        return await asyncio.gather(bank.handle(charge(), wait=0.05), bank.handle(charge()))

    assert [reply.status for reply in asyncio.run(both())] == [200, 409]
    assert len(bank.effects) == 1


@pytest.mark.parametrize("executes", [True, False])
def test_a_saved_error_is_replayed(bank: Bank, executes: bool) -> None:
    """Whether or not the bank acted before it broke, its answer stays the same."""
    assert ask(bank, charge(), "500 saved", executes=executes).status == 500
    assert ask(bank, charge()).status == 500
    assert len(bank.effects) == int(executes)


@pytest.mark.parametrize("early", [401, 400, 500])
def test_what_fails_before_the_key_is_not_remembered(bank: Bank, early: int) -> None:
    fails = {
        401: lambda: ask(bank, Asked("POST", "/v1/charges", {"idempotency-key": "key-1"}, charge().body)),
        400: lambda: ask(bank, charge(amount="many")),
        500: lambda: ask(bank, charge(), "500 not executed"),
    }
    assert fails[early]().status == early
    assert ask(bank, charge()).status == 200
    assert len(bank.effects) == 1


def test_a_terse_bank_says_only_that_it_is_there(hours: Hours) -> None:
    """Whatever it answered first, and whatever is asked now; what was refused is still refused."""
    terse = TerseBank(lambda: hours.now)
    assert [ask(terse, charge()).status, ask(terse, charge(amount="501")).status] == [200, 409]
    assert [ask(terse, charge("key-2"), "500 saved").status, ask(terse, charge("key-2")).status] == [500, 409]
    assert [ask(terse, charge("key-3", source="tok_declined")).status for _ in range(2)] == [402, 402]
    assert (len(terse.effects), terse.counts["conflicts"]) == (2, 2)


def test_a_refusal_is_remembered(bank: Bank) -> None:
    assert [ask(bank, charge(source="tok_declined")).status for _ in range(2)] == [402, 402]
    assert bank.counts["answers replayed"] == 1
    assert bank.effects == []


def test_a_pruned_key_acts_again(bank: Bank, hours: Hours) -> None:
    """That is why nobody may send it again by then."""
    ask(bank, charge())
    hours.now += KEPT
    assert "Idempotent-Replayed" not in ask(bank, charge()).headers
    assert len(bank.effects) == 2


def test_a_search_finds_what_was_done_a_while_ago(bank: Bank, hours: Hours) -> None:
    ask(bank, charge())
    assert ask(bank, search()).body["data"] == []
    hours.now += INDEXED
    assert [one["id"] for one in ask(bank, search()).body["data"]] == ["ch_1"]
    assert ask(bank, search("call-2")).body["data"] == []


def at_the_door(
    bank: Bank, fault: str | None, talk: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[bytes]]
) -> bytes:
    """What `talk` brings back over a connection to a door at which every exchange has `fault`."""

    async def meet() -> bytes:
        ports: asyncio.Queue[int] = asyncio.Queue()
        serving = asyncio.create_task(Door(bank, repeat(fault)).serve(ports.put_nowait))
        reader, writer = await asyncio.open_connection(HOST, await ports.get())
        try:
            return await talk(reader, writer)
        finally:
            writer.close()
            await asyncio.sleep(0.05)
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    return asyncio.run(meet())


def wire(asked: Asked) -> bytes:
    named = {**asked.headers, "content-length": str(len(asked.body))}
    lines = [f"{asked.method} {asked.target} HTTP/1.1", *(f"{name}: {value}" for name, value in named.items())]
    return "\r\n".join([*lines, "", ""]).encode() + asked.body


def test_half_a_request_is_none(bank: Bank) -> None:
    """A body that ends too soon is dropped, though it could be understood."""

    async def stop_early(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(wire(charge())[:-1])
        await writer.drain()
        return b""

    at_the_door(bank, None, stop_early)
    assert bank.counts["half-sent bodies"] == 1
    assert bank.effects == []


@pytest.mark.parametrize(
    ("fault", "effects", "answer"),
    [
        (None, 1, b"HTTP/1.1 200"),
        ("reset before reading", 0, None),
        ("reset after executing", 1, None),
        ("answer lost", 1, b""),
        ("cut answer", 1, b"H"),
        ("500 not executed", 0, b"HTTP/1.1 500"),
        ("429", 0, b"HTTP/1.1 429"),
        ("slow answer", 1, b"HTTP/1.1 200"),
    ],
)
def test_what_a_fault_does(bank: Bank, fault: str | None, effects: int, answer: bytes | None) -> None:
    """Each does to the money what its name says, and shows the caller what it must; None is a reset."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        writer.write(wire(charge()))
        try:
            return await reader.readuntil(b"}}" if fault in {"500 not executed", "429"} else b"}")
        except asyncio.IncompleteReadError as error:
            return error.partial
        except ConnectionResetError:
            return b"reset"

    said = at_the_door(bank, fault, talk)
    assert len(bank.effects) == effects
    assert said == b"reset" if answer is None else said.startswith(answer)
    assert (said == b"") == (answer == b"")


def test_faults_come_by_seed() -> None:
    """The same seed brings the same faults, all eight kinds of them, and another seed others."""
    first, again, other = (list(islice(by_seed(seed, 0.3), 1000)) for seed in (1, 1, 2))
    assert first == again != other
    assert set(first) == {None, *FAULTS}
    assert 300 < sum(fault is not None for fault in first) < 450


# Chaos ----------------------------------------------------------------------------------------------------------------


def run(module: str, *arguments: object, store: str = "sqlite", server: str | None = None) -> tuple[int, str]:
    """The exit code and the table of a run in a process of its own, which forks and must have no threads."""
    command = [sys.executable, "-m", module, "--store", store, *map(str, arguments)]
    environment = {**os.environ, **({"CALLSHEET_TEST_POSTGRES": server} if server else {})}
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, done.stdout


def counted(table: str) -> dict[str, int]:
    """The numbers of a table by what they count."""
    return {line[:58].strip(): int(line[58:66]) for line in table.splitlines() if line[58:66].strip().isdigit()}


SQLITE = ["sqlite", *(["sqlite+pysqlite3"] if find_spec("pysqlite3") else [])]  # no wheels for some platforms
SURVIVED = [
    "freezes",
    *(f"killed {point}" for point in POINTS),
    *(f"fault: {fault}" for fault in FAULTS),
    "answers replayed",
    "calls settled by a look-up",
    "calls that a worker came back to",
]
"""What must have happened, or a run shows nothing."""


@pytest.mark.chaos
@pytest.mark.timeout(480)
@pytest.mark.parametrize("store", SQLITE)
def test_nothing_is_lost_and_nothing_done_twice_on_sqlite(store: str) -> None:
    code, table = run("tests.chaos", "--kills", 250, store=store)
    assert code == 0, table
    assert [what for what in SURVIVED if not counted(table).get(what)] == []


@pytest.mark.chaos
@pytest.mark.timeout(480)
def test_nothing_is_lost_and_nothing_done_twice_at_a_bank_that_is_terse() -> None:
    """A repeat tells nothing there but that something was done: a look-up tells the rest."""
    code, table = run("tests.chaos", "--kills", 100, "--bank", "terse")
    assert code == 0, table
    assert [what for what in ("conflicts", "calls settled by a look-up") if not counted(table).get(what)] == []


@pytest.mark.chaos
@pytest.mark.timeout(480)
def test_nothing_is_lost_and_nothing_done_twice_on_postgresql(postgres_url: str) -> None:
    code, table = run("tests.chaos", "--kills", 250, store="postgresql", server=postgres_url)
    assert code == 0, table
    assert [what for what in SURVIVED if not counted(table).get(what)] == []


@pytest.mark.chaos
def test_a_sender_without_a_journal_is_caught() -> None:
    """The same deaths and the same bank: who sends first and writes down later charges twice and forgets."""
    code, table = run("tests.chaos", "--kills", 20, "--sender", "careless")
    assert code == 1
    assert counted(table)["orders carried out more than once"] > 0
    assert counted(table)["done, and no record of it"] > 0


@pytest.mark.chaos
@pytest.mark.timeout(300)
@pytest.mark.parametrize("store", SQLITE)
def test_a_race_has_one_winner_on_sqlite(store: str) -> None:
    code, table = run("tests.chaos.races", "--processes", 8, "--keys", 1000, store=store)
    assert code == 0, table


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_a_race_has_one_winner_on_postgresql(postgres_url: str) -> None:
    code, table = run("tests.chaos.races", "--processes", 8, "--keys", 1000, store="postgresql", server=postgres_url)
    assert code == 0, table


@pytest.mark.chaos
def test_who_looks_before_sending_loses_the_race() -> None:
    """Looking whether it is done, and doing it where it is not, is what does it twice."""
    code, table = run("tests.chaos.races", "--processes", 8, "--keys", 50, "--sender", "careless")
    assert code == 1
    assert "keys that acted more than once" in table
