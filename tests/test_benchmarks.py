"""The benchmark runs and prints every row; how long anything takes is not judged here."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from benchmarks.demanded import Ledger, demanded_sending
from benchmarks.gateway import gateway
from benchmarks.payment import DATA, NAME, SECRET, answer, changes_by_hand
from benchmarks.timers import Part, Timers

from engine import Engine
from engine.catalog import load, shipped
from engine.dispatcher import Dispatcher
from engine.store.sql import SqlStore

HERE = Path(__file__).parent
SMALL = ["--rounds=1", "--types=20", "--most-types=60", "--waiting=50", "--calls=2000", "--deliveries=40"]
SMALL += ["--stored=3000", "--more-calls=40", "--queued=64"]


def _benchmarks(*arguments: str) -> str:
    command = [sys.executable, "-m", "tests.benchmarks", *SMALL, *arguments]
    return subprocess.run(command, cwd=HERE.parent, check=True, capture_output=True, text=True, timeout=280).stdout


def test_a_table_has_a_mark_for_every_goal() -> None:
    lines = _benchmarks("--only", "building", "--only", "mapping").splitlines()
    assert [line.split("  ")[0] for line in lines[3:]] == [
        "build a request: check, render, encode",
        "the same with the extra `fast`, which changes nothing of it",
        "map an answer to validated records",
    ]
    assert sum("≤" in line for line in lines) == sum("✓" in line or "✗" in line for line in lines) == 3


ROWS = {"starting": 10, "building": 2, "mapping": 1, "sending": 23, "threads": 6, "receiving": 16}
ROWS |= {"storing": 12, "growing": 4, "remembering": 2, "working": 6, "waiting": 3, "paging": 16}


@pytest.mark.timeout(300)
@pytest.mark.parametrize(("name", "number"), ROWS.items())
def test_one_contest_alone_as_json(name: str, number: int) -> None:
    rows = json.loads(_benchmarks("--only", name, "--as", "json"))
    assert len(rows) == number
    for row in rows:
        assert row["ours"] > 0 or row["unit"] == "MB"  # memory may be given back
        assert row["ratio"] is None or row["ratio"] > 0
        assert row["reached"] in {True, False, None}


def test_by_hand_as_demanded_keeps_what_the_engine_keeps(tmp_path: Path) -> None:
    kept = [SqlStore(f"sqlite+pysqlite3:///{tmp_path}/{name}.sqlite3") for name in ("ours", "by-hand")]
    with gateway() as origin, closing(Dispatcher()) as dispatcher:
        how: Any = {"base_urls": {"stripe": f"{origin}/v1"}, "environment": {"STRIPE_SECRET_KEY": SECRET}}
        Engine(tmp_path, store=kept[0], dispatcher=dispatcher, **how).send(NAME, DATA)
        demanded_sending(origin, tmp_path / "by-hand.sqlite3", dispatcher)()
    ((one_call,), (other_call,)) = (store.find("call") for store in kept)
    assert {name for name, value in one_call.properties.items() if value is not None} <= {*other_call.properties}
    assert one_call["state"] == other_call["state"] == "succeeded"
    where = {"external_id": "order-17"}
    ((one,), (other,)) = (store.find("payment", where=where) for store in kept)
    assert {**one.properties, "gateway_id": ""} == {**other.properties, "gateway_id": ""}


def test_by_hand_as_demanded_finds_what_is_there_and_leaves_open_what_is_unknown(tmp_path: Path) -> None:
    file = tmp_path / "by-hand.sqlite3"
    ledger = Ledger(file, load([shipped()]).record_types["payment"])
    charge = json.loads(answer())
    for number, refunded in enumerate((0, 0, charge["amount"])):
        call = {"id": f"call-{number}", "state": "sending", "lease": "9", "operation": "", "key": f"{number}"}
        ledger.begin({**call, "request_type": NAME})
        ledger.end(call, {}, changes_by_hand(DATA, {**charge, "amount_refunded": refunded}))
    store = SqlStore(f"sqlite+pysqlite3:///{file}")
    (payment,) = store.find("payment")
    assert payment["state"] == "refunded"
    assert store.find("payment", where={"state": "refunded"}) == [payment]
    assert not store.find("payment", where={"state": "paid"})
    with pytest.raises(RuntimeError, match="was begun before"):
        ledger.begin({**call, "request_type": NAME})
    open_call = {**call, "id": "open", "key": "open", "request_type": NAME}
    ledger.begin(open_call)
    ledger.leave_open(open_call, {})
    (kept,) = store.find("call", where={"state": "unknown"})
    assert kept.id == "open"
    with pytest.raises(RuntimeError, match="taken over"):
        ledger.leave_open(open_call, {})


def test_a_profile_names_every_part_and_its_shares_are_the_whole() -> None:
    shares = defaultdict[tuple[str, str], list[float]](list)
    for part in json.loads(_benchmarks("--profile", "--as", "json")):
        shares[part["work"], part["kept"]].append(part["share"])
    assert [sum(places) for places in shares.values()] == pytest.approx([1] * 12)


def test_a_part_whose_function_is_gone_is_not_left_out() -> None:
    timers = Timers([Part("verify", ("engine.inbox:Inbox.nothing",))], "rest")
    with pytest.raises(LookupError, match=r"'verify' is no longer engine\.inbox:Inbox\.nothing"), timers.installed():
        pass


def test_a_part_is_what_its_functions_take_without_the_parts_inside() -> None:
    parts = [Part("outer", (f"{__name__}:_outer",)), Part("inner", (f"{__name__}:_inner", f"{__name__}:_never"))]
    timers = Timers(parts, "rest", Clock.now)
    with timers.installed():
        assert timers.call(_two) == {(0, "outer"): 4, (0, "inner"): 10, (0, "rest"): 1}
    assert timers.used == {f"{__name__}:_outer", f"{__name__}:_inner"}


class Clock:
    """One that shows what functions take."""

    at = 0.0

    @classmethod
    def now(cls) -> float:
        return cls.at


def _two() -> None:
    _outer()
    Clock.at += 1
    _outer()


def _outer() -> None:
    Clock.at += 2
    _inner()


def _inner() -> None:
    Clock.at += 5


def _never() -> None:
    Clock.at += 100


def test_help_says_how() -> None:
    assert "--rounds" in _benchmarks("--help")


@pytest.mark.parametrize(
    ("module", "arguments"),
    [
        ("benchmarks", ("--rounds", "0")),
        ("benchmarks", ("--stored", "-5")),
        ("bulk", ("--rows", "0")),
        ("bulk", ("--kills", "-1")),
        ("chaos", ("--kills", "-1")),
    ],
)
def test_a_number_that_measures_nothing(module: str, arguments: tuple[str, str]) -> None:
    command = [sys.executable, "-m", f"tests.{module}", *arguments]
    done = subprocess.run(command, cwd=HERE.parent, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert f"error: argument {arguments[0]}: {arguments[1]} is less than " in done.stderr
