"""`callsheet run`, against a server of this machine: rows of files, what became of them, and how far it is."""

from __future__ import annotations

import csv
import errno
import fcntl
import json
import os
import pty
import re
import signal
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from commands import CHECKOUT, Gateway, command, process, run
from hosts import write
from rates import limited

from engine.cli import tables
from engine.cli.meter import Meter, duration

ORDER = """\
summary: Order many things.
method: POST
url: /orders
body: {all: "{{ data }}"}
data:
  properties:
    amount: {type: integer}
    paid: {type: boolean}
    price: {type: [number, "null"]}
    name: {type: string}
    address: {type: object, properties: {city: {type: string}, floor: {type: integer}}}
    items: {type: array, items: {type: object, properties: {sku: {type: string}}}}
    metadata: {type: object}
"""
PAYMENT = """\
{"upsert": "sale", "where": {"gateway_id": {{ call_id }}}, "set": {"amount": {{ response.amount }}, "state": "paid"}}
"""


@pytest.fixture
def shop(shop: Path) -> Path:
    """A shop whose payments are as many as there are calls."""
    return write(shop, {"response_mappers/shop/pay.json.j2": PAYMENT})


def rows(shop: Path, text: str | bytes, name: str = "rows.csv") -> str:
    """The path of a file with `text`."""
    path = shop / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def results(shop: Path, name: str = "rows.results.csv") -> list[dict[str, Any]]:
    """What a results file says, by lines of the rows."""
    text = (shop / name).read_text("utf-8")
    told = (
        [json.loads(line) for line in text.splitlines()] if "jsonl" in name else list(csv.DictReader(text.splitlines()))
    )
    return sorted(told, key=lambda one: int(one["line"]))


def sent(gateway: Gateway) -> list[Any]:
    return [json.loads(body) for _, _, body, _ in gateway.requests]


# Rows -----------------------------------------------------------------------------------------------------------------

TABLE = 'amount,note\n1,tea\n2,\n3,"a, b"\n'


def test_every_row_is_a_call(shop: Path, gateway: Gateway) -> None:
    """The numbers at the end, and in a file beside the rows what became of each."""
    result = run(shop, "run", "shop/pay", rows(shop, TABLE), gateway=gateway)
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == [
        "3 rows to send",
        "3 succeeded",
        f"what became of each row: {shop / 'rows.results.csv'}",
    ]
    told = results(shop)
    assert [(one["line"], one["outcome"], one["message"]) for one in told] == [
        (str(line), "succeeded", "") for line in (2, 3, 4)
    ]
    assert all(json.loads(one["records"])[0].startswith("sale ") and len(one["call"]) == 36 for one in told)
    assert sorted((one["amount"], one.get("note")) for one in sent(gateway)) == [(1, "tea"), (2, None), (3, "a, b")]
    assert (shop / "rows.results.csv").stat().st_mode & 0o777 == 0o600


CELLS = [
    ("amount", "5", {"amount": 5}),
    ("amount", "-0012345678901234567", {"amount": -12345678901234567}),
    ("name", "5", {"name": "5"}),
    ("name", " Tea ", {"name": " Tea "}),
    ("name", "@/etc/hostname", {"name": "@/etc/hostname"}),
    ("name", "{{ 7 }}", {"name": "{{ 7 }}"}),
    ("name", '"two\nlines"', {"name": "two\nlines"}),
    ("name", '"say ""hi"""', {"name": 'say "hi"'}),
    ("paid", "true", {"paid": True}),
    ("price", "1.5", {"price": 1.5}),
    ("price", "null", {"price": None}),
    ("address[city]", "Bonn", {"address": {"city": "Bonn"}}),
    ("address.floor", "3", {"address": {"floor": 3}}),
    ("items[0][sku]", "lamp", {"items": [{"sku": "lamp"}]}),
    ("metadata[order]", "17", {"metadata": {"order": "17"}}),
    ("metadata", '"{""a"": [1]}"', {"metadata": {"a": [1]}}),
]


@pytest.mark.parametrize(("heading", "cell", "data"), CELLS, ids=[f"{one[0]}={one[1]}" for one in CELLS])
def test_cells_are_typed_by_the_schema(shop: Path, gateway: Gateway, heading: str, cell: str, data: Any) -> None:
    """Never by how they look; nothing in a cell is a command."""
    write(shop, {"request_types/shop/order.yml": ORDER})
    result = run(shop, "run", "shop/order", rows(shop, f"{heading}\n{cell}\n"), gateway=gateway)
    assert result.exit_code == 0, result.output
    assert sent(gateway) == [{"all": data}]


@pytest.mark.parametrize(
    "text",
    [
        b"\xef\xbb\xbfamount,note\r\n5,tea\r\n",
        b"amount;note\n5;tea",
        b"note\tamount\ntea\t5\n",
        b"amount,note\n\n5,tea\n\n",
        b'"amount","note"\n"5","tea"\n',
    ],
    ids=["as a spreadsheet saves it", "semicolons, no end", "tabs", "blank lines", "quoted"],
)
def test_tables_of_all_kinds(shop: Path, gateway: Gateway, text: bytes) -> None:
    result = run(shop, "run", "shop/pay", rows(shop, text), gateway=gateway)
    assert result.exit_code == 0, result.output
    assert [(one["amount"], one["note"]) for one in sent(gateway)] == [(5, "tea")]


def test_objects_line_by_line(shop: Path, gateway: Gateway) -> None:
    """Their values are what they are; blank lines are nothing."""
    text = '{"amount": 5, "note": "tea"}\n\n{"amount": 6}\n'
    result = run(shop, "run", "shop/pay", rows(shop, text, "rows.jsonl"), gateway=gateway)
    assert result.exit_code == 0, result.output
    assert [(one["line"], one["outcome"]) for one in results(shop, "rows.results.jsonl")] == [
        (1, "succeeded"),
        (3, "succeeded"),
    ]


@pytest.mark.parametrize("text", [TABLE, '{"amount": 1}\n{"amount": 2}\n{"amount": 3}\n'], ids=["csv", "jsonl"])
def test_rows_from_the_standard_input(shop: Path, gateway: Gateway, text: str) -> None:
    """What became of them goes to the standard output, or where it is told."""
    result = run(shop, "run", "shop/pay", "-", gateway=gateway, typed=text)
    assert (result.exit_code, result.stdout.count("succeeded"), len(gateway.requests)) == (0, 3, 3)
    there = shop / "there.jsonl"
    result = run(shop, "run", "shop/pay", "-", "--results", str(there), gateway=gateway, typed=text)
    assert (result.exit_code, result.stdout, len(gateway.requests)) == (0, "", 3)
    assert [one["outcome"] for one in results(shop, "there.jsonl")] == ["succeeded"] * 3


def test_rows_from_a_pipe_with_a_name(shop: Path, gateway: Gateway) -> None:
    """As /dev/stdin is one: nothing can stand beside them."""
    pipe = shop / "pipe"
    os.mkfifo(pipe)
    with command("run", "shop/pay", str(pipe), cwd=shop, CALLSHEET_SHOP_BASE_URL=gateway.url) as running:
        pipe.write_text(TABLE)
        told, errors = running.communicate(timeout=60)
    assert (running.returncode, told.count("succeeded")) == (0, 3), errors
    assert not list(shop.glob("pipe.results*"))


def test_json_is_all_there_is_on_the_standard_output(shop: Path, gateway: Gateway) -> None:
    """Results among it would make it nothing that a program can read."""
    refused = run(shop, "run", "shop/pay", "-", "--json", gateway=gateway, typed=TABLE)
    assert (refused.exit_code, refused.stdout, gateway.requests) == (2, "", [])
    assert "nothing was sent, name a file for them with --results" in refused.stderr
    planned = run(shop, "run", "shop/pay", "-", "--json", "--dry-run", gateway=gateway, typed=TABLE)
    assert json.loads(planned.stdout)["rows"] == 3
    there = str(shop / "there.csv")
    result = run(shop, "run", "shop/pay", "-", "--json", "--results", there, gateway=gateway, typed=TABLE)
    assert json.loads(result.stdout)["outcomes"] == {"succeeded": 3}


def test_what_is_read_is_told(shop: Path, gateway: Gateway) -> None:
    """A GET keeps nothing, so its answer stands in the results."""
    result = run(shop, "run", "shop/read", rows(shop, "id\np1\np2\n"), gateway=gateway)
    assert result.exit_code == 0, result.output
    assert [json.loads(one["response"])["amount"] for one in results(shop)] == [5, 5]


# What is wrong with them ----------------------------------------------------------------------------------------------

WRONG = {
    "a value": ("amount,note\n5,\nx,\n", "rows.csv:3: /amount: 'x' is not of type integer"),
    "nothing where something must be": ("amount,note\n,a\n", "rows.csv:2: /amount: is required"),
    "a bound": ("amount\n0\n", "rows.csv:2: /amount: 0 is less than the minimum of 1"),
    "a card number": ("amount,note\n5,4242424242424242\n", "rows.csv:2: /note: "),
    "too many cells": ("amount,note\n5,a,b\n", "rows.csv:2: has 3 cells, and there are 2 columns"),
    "too few cells": ("amount,note\n5\n", "rows.csv:2: has 1 cell, and there are 2 columns"),
    "after a cell of two lines": ('amount,note\n5,"a\nb"\nx,\n', "rows.csv:4: /amount"),
    "an open quote": ('amount,note\n5,"a\n6,b\n', 'rows.csv:2: a cell begins with " here, and no " ends it; what'),
    "a cell without bounds": (
        f"amount,note\n5,{'x' * 200_000}\n",
        "rows.csv:2: a cell is longer than 131072 characters",
    ),
    "a line without bounds": (
        f"amount,note\n5,{'x' * 2_000_000}\n",
        "rows.csv:2: a line is longer than 1048576 bytes; what follows was not read\n",
    ),
    "not UTF-8": (
        b"amount,note\n5,\xff\n",
        "rows.csv:2: is not UTF-8; save the file as UTF-8; what follows was not read",
    ),
    "a control character": ("amount,note\n5\x1b[31m,\n", r"rows.csv:2: /amount: '5\x1b[31m' is not of type integer"),
    "an endless line": (b"amount,note\n5," + b"x" * (1 << 20), "is longer than 1048576 bytes"),
}


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_a_faulty_row_is_told_with_its_line(shop: Path, gateway: Gateway, text: str | bytes, said: str) -> None:
    """And nothing is sent of any row, and no results are written."""
    result = run(shop, "run", "shop/pay", rows(shop, text), gateway=gateway)
    assert (result.exit_code, gateway.requests) == (2, [])
    assert said in result.stderr
    assert "1 faulty row; nothing was sent" in result.stderr
    assert not (shop / "rows.results.csv").exists()


HEADINGS = {
    "nothing": ("", "rows.csv:1: there is no row"),
    "no heading": ("5,usd\n6,usd\n", "column 5: there is no data '5'; the first line has to name the columns"),
    "an unknown column": ("amont\n5\n", "rows.csv:1: column amont: there is no data 'amont'; did you mean 'amount'?"),
    "one that may be a key": ("amount,order\n5,a\n", "there is no data 'order'; is it each row's key? --key order"),
    "the same twice": ("amount,amount\n5,6\n", "rows.csv:1: two columns are called amount"),
    "no name": ("amount,[],note\n5,6,7\n", "rows.csv:1: the heading of column 2 is no name"),
    "no heading of a column": ("amount,,note\n5,6,7\n", "rows.csv:1: column 2 has no heading; name it, or take it out"),
    "an empty line": ("\r\namount\r\n5\r\n", "rows.csv:1: the line is empty; the first one of a CSV file names its"),
    "not UTF-8": (b"amount\xff\n5\n", "rows.csv:1: is not UTF-8"),
}


@pytest.mark.parametrize(("text", "said"), HEADINGS.values(), ids=HEADINGS)
def test_a_faulty_heading(shop: Path, gateway: Gateway, text: str | bytes, said: str) -> None:
    result = run(shop, "run", "shop/pay", rows(shop, text), gateway=gateway)
    assert (result.exit_code, gateway.requests) == (2, [])
    assert said in result.stderr


LINES = {
    "{bad": "rows.jsonl:2: is not JSON at column 2: ",
    "[5]": "rows.jsonl:2: must be an object in one line, as in",
    '{\n"amount": 5\n}': "rows.jsonl:2: must be an object in one line, as in",
    '{"amount": ' + "9" * 5000 + "}": "rows.jsonl:2: is not JSON: a number has too many digits",
    '{"amount": 5, "amount": 6}': "an object has the same key twice",
    '{"amount": NaN}': "NaN is not JSON",
    '{"amount": "5"}': "rows.jsonl:2: /amount: '5' is not of type integer",
}


@pytest.mark.parametrize(("line", "said"), LINES.items(), ids=LINES)
def test_a_faulty_line(shop: Path, gateway: Gateway, line: str, said: str) -> None:
    result = run(shop, "run", "shop/pay", rows(shop, f'{{"amount": 1}}\n{line}\n', "rows.jsonl"), gateway=gateway)
    assert (result.exit_code, gateway.requests) == (2, [])
    assert said in result.stderr


def test_all_faults_are_told_together(shop: Path, gateway: Gateway) -> None:
    """Every one of every row, and for programs as JSON with line and pointer."""
    path = rows(shop, "amount,note\nx,\n5,\ny,\n")
    result = run(shop, "run", "shop/pay", path, gateway=gateway)
    assert [line.partition(": ")[0] for line in result.stderr.splitlines()[:2]] == [f"{path}:2", f"{path}:4"]
    assert "2 faulty rows" in result.stderr
    told = json.loads(run(shop, "run", "shop/pay", path, "--json", gateway=gateway).stdout)
    assert (told["rows"], told["faulty"]) == (3, 2)
    assert told["faults"][1] == {"line": 4, "pointer": "/amount", "message": "'y' is not of type integer"}


USAGE: list[tuple[list[str], str]] = [
    (["shop/pai", "rows.csv"], "there is no request type 'shop/pai'"),
    (["shop/pay", "none.csv"], "does not exist"),
    (["shop/pay", "."], "is a directory"),
    (["shop/pay", "rows.csv", "--key", "noet"], "there is no column 'noet', which --key names; did you mean 'note'?"),
    (["shop/pay", "rows.csv", "--key", "note", "--run", "x"], "--run is for rows without a key"),
    (["shop/pay", "rows.csv", "--run", "a/b"], "--run is a name"),
    (["shop/pay", "rows.csv", "--limit", "0"], "0 is not in the range"),
    (["shop/pay", "rows.csv", "--results", "none/there.csv"], "cannot be written: No such file or directory"),
]


@pytest.mark.parametrize(("arguments", "said"), USAGE, ids=[" ".join(one[0]) for one in USAGE])
def test_a_faulty_command(
    shop: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, arguments: list[str], said: str
) -> None:
    rows(shop, TABLE)
    monkeypatch.chdir(shop)
    result = run(shop, "run", *arguments, gateway=gateway)
    assert (result.exit_code, gateway.requests) == (2, [])
    assert said in result.stderr


# Once -----------------------------------------------------------------------------------------------------------------


def again(shop: Path, gateway: Gateway, *options: str) -> Result:
    return run(shop, "run", "shop/pay", str(shop / "rows.csv"), *options, gateway=gateway)


def test_a_run_goes_on_where_it_ended(shop: Path, gateway: Gateway) -> None:
    """With the file of results, whose last line may be half a line, and without."""
    rows(shop, "amount,note\n" + "".join(f"{number},n\n" for number in range(1, 11)))
    assert again(shop, gateway, "--limit", "4").exit_code == 0
    file = shop / "rows.results.csv"
    file.write_bytes(file.read_bytes()[:-5])
    result = again(shop, gateway)
    assert "7 rows to send, 3 settled before\n" in result.stderr
    assert "7 succeeded\n1 of them had been sent before this run, and not again\n" in result.stderr
    assert [one["line"] for one in results(shop)] == [str(line) for line in range(2, 12)]
    file.unlink()
    result = again(shop, gateway)
    assert "10 succeeded\n10 of them had been sent before this run, and not again; --run, or keys " in result.stderr
    assert sorted(one["amount"] for one in sent(gateway)) == list(range(1, 11))
    assert "0 rows to send, 10 settled before\nnothing was sent\n" in again(shop, gateway).stderr


def test_two_runs_do_not_write_one_file(shop: Path, gateway: Gateway) -> None:
    """What the second said of its rows would take the place of what the first said."""
    rows(shop, TABLE)
    assert again(shop, gateway, "--limit", "1").exit_code == 0
    before = len(gateway.requests)
    with (shop / "rows.results.csv").open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused = again(shop, gateway)
    assert (refused.exit_code, len(gateway.requests)) == (2, before)
    assert "another run is writing" in refused.stderr
    assert "nothing was sent, wait for its end or name another with --results" in refused.stderr
    assert again(shop, gateway).exit_code == 0
    assert len(results(shop)) == len(TABLE.splitlines()) - 1


def test_a_run_of_the_first_rows_says_how_many_are_left(shop: Path, gateway: Gateway) -> None:
    rows(shop, TABLE)
    planned = again(shop, gateway, "--limit", "2", "--dry-run")
    assert planned.stdout.startswith("2 rows to send, 1 left to another run\n")
    result = again(shop, gateway, "--limit", "2")
    assert "2 rows to send, 1 left to another run\n2 succeeded\n1 row is left; the same command" in result.stderr
    assert len(gateway.requests) == 2


def test_what_was_not_settled_is_asked_again(shop: Path, gateway: Gateway) -> None:
    """Refusals stay; what could not be mapped is mapped when its file was mended, and stands in the results once."""
    answers = {1: (402, {"error": {"message": "no funds", "payment": "p1"}}), 2: (200, {"id": "p2", "amount": "5"})}
    gateway.answer = lambda _, __, body: answers.get(json.loads(body)["amount"], (200, {"id": "p3", "amount": 3}))
    rows(shop, TABLE)
    result = again(shop, gateway, "--json")
    assert result.exit_code == 4
    told = json.loads(result.stdout)
    assert told["outcomes"] == {"declined": 1, "unmapped": 1, "succeeded": 1}
    assert [one["outcome"] for one in results(shop)] == ["declined", "unmapped", "succeeded"]
    assert results(shop)[0]["message"] == "the gateway refused shop/pay: no funds"
    write(shop, {"response_mappers/shop/pay.json.j2": PAYMENT.replace("{{ response.amount }}", "2")})
    assert run(shop, "remap", "--all", gateway=gateway).exit_code == 0
    assert "1 row to send, 2 settled before (1 declined)\n1 succeeded\n" in again(shop, gateway).stderr
    assert [one["outcome"] for one in results(shop)] == ["declined", "succeeded", "succeeded"]
    assert len(gateway.requests) == 3


def test_rows_can_be_new(shop: Path, gateway: Gateway) -> None:
    """Under another name, with results of its own; a key makes them new or not by itself."""
    rows(shop, TABLE)
    keyed = ("--key", "amount", "--results", str(shop / "keyed.csv"))
    for options, count in (((), 3), (("--run", "may"), 6), (("--run", "may"), 6), (keyed, 9)):
        assert again(shop, gateway, *options).exit_code == 0
        assert len(gateway.requests) == count
    assert len(results(shop, "rows.may.results.csv")) == 3


def test_results_of_other_rows_settle_nothing(shop: Path, gateway: Gateway) -> None:
    """Of other data, another request type or another store: every such row is told, and nothing is sent."""
    text = "order,amount\na,1\nb,2\n"
    rows(shop, text)
    assert again(shop, gateway, "--key", "order").exit_code == 0
    told = (shop / "rows.results.csv").read_bytes()
    rows(shop, text.replace("b,2", "b,20"))
    result = again(shop, gateway, "--key", "order")
    assert result.exit_code == 2
    assert "rows.csv:3: /order: 'b' was settled by an earlier run, but with other data" in result.stderr
    assert "1 faulty row; nothing was sent" in result.stderr
    path = rows(shop, text)
    for other in (["run", "shop/pay_once", path], ["run", "shop/pay", path]):
        settings = {} if "shop/pay_once" in other else {"CALLSHEET_STORE": f"sqlite:///{shop / 'other.sqlite3'}"}
        result = run(shop, *other, "--key", "order", gateway=gateway, **settings)
        assert (result.exit_code, "2 faulty rows; nothing was sent" in result.stderr) == (2, True), result.stderr
    assert (shop / "rows.results.csv").read_bytes() == told
    assert len(gateway.requests) == 2


KEYS = ((), ("--key", "note"), ("--key", "amount"))


@pytest.mark.parametrize("first", KEYS, ids=" ".join)
@pytest.mark.parametrize("second", KEYS, ids=" ".join)
def test_another_key_makes_no_settled_row_new(
    shop: Path, gateway: Gateway, first: tuple[str, ...], second: tuple[str, ...]
) -> None:
    """Who forgets the `--key` of the run that is to go on would have everything carried out once more."""
    rows(shop, "amount,note\n1,a\n3,b\n2,c\n")
    assert again(shop, gateway, *first, "--limit", "2").exit_code == 0
    result = again(shop, gateway, *second)
    if first == second:
        assert (result.exit_code, len(gateway.requests)) == (0, 3)
        return
    assert (result.exit_code, len(gateway.requests)) == (2, 2)
    assert "rows.csv:2: was settled by an earlier run under another key, '" in result.stderr
    assert "2 faulty rows; nothing was sent" in result.stderr


def test_new_rows_in_the_place_of_settled_ones_are_new(shop: Path, gateway: Gateway) -> None:
    """Where they hold the same under a key of their own, or are one more of the same."""
    for text in ("order,amount\nmay-1,5\nmay-2,5\n", "order,amount\njune-1,5\njune-2,5\n"):
        rows(shop, text)
        assert again(shop, gateway, "--key", "order").exit_code == 0
    assert len(gateway.requests) == 4
    for text in ("amount\n7\n8\n", "amount\n8\n8\n7\n7\n"):
        path = rows(shop, text, "alike.csv")
        assert run(shop, "run", "shop/pay", path, gateway=gateway).exit_code == 0
    assert len(gateway.requests) == 8


def test_a_key_of_two_lines_is_no_other_row_s(shop: Path, gateway: Gateway) -> None:
    """A line of the results cannot hold it: it is asked for again, stands there once, and in nobody's way."""
    text = 'amount,note\n5,"a\nb"\n6,"c\n"\n'
    for more in ("", "", "7,a b\n8,c\n"):
        rows(shop, text + more)
        assert again(shop, gateway, "--key", "note").exit_code == 0
    assert [(one["line"], one["key"]) for one in results(shop)] == [("2", ""), ("4", ""), ("6", "a b"), ("7", "c")]
    assert len(gateway.requests) == 4


def test_what_nobody_can_have_written_settles_nothing(shop: Path, gateway: Gateway) -> None:
    """Whatever stands in a file of results, it is no reason to fail."""
    path = rows(shop, '{"amount": 5}\n', "rows.jsonl")
    lines: list[dict[str, Any]] = [
        {"line": "1e999", "key": "a"},
        {"line": 10**30, "key": "b"},
        {"line": 1, "key": "\ud800"},
        {"line": None},
    ]
    told = "".join(json.dumps({**one, "outcome": "succeeded", "digest": "x"}) + "\n" for one in lines)
    (shop / "rows.results.jsonl").write_text(told.replace('"1e999"', "1e999"))
    result = run(shop, "run", "shop/pay", path, gateway=gateway)
    assert (result.exit_code, len(gateway.requests)) == (0, 1), result.output


def test_what_was_settled_counts_for_the_exit_code(shop: Path, gateway: Gateway) -> None:
    """Whether a refusal was met by this run or by the one that it goes on with."""
    gateway.answer = lambda _, __, body: (402, {"error": {"message": "no funds", "payment": "p1"}})
    rows(shop, "amount\n1\n")
    assert again(shop, gateway).exit_code == 1
    result = again(shop, gateway, "--json")
    assert (result.exit_code, json.loads(result.stdout)["settled_outcomes"]) == (1, {"declined": 1})
    assert "0 rows to send, 1 settled before (1 declined)\n" in again(shop, gateway).stderr
    assert len(gateway.requests) == 1


def test_a_row_that_was_cancelled_is_not_carried_out(shop: Path, gateway: Gateway) -> None:
    """The exit code is the one that `send` leaves with."""
    rows(shop, "order,amount\na,1\nb,2\n")
    later = run(shop, "send", "shop/pay", "amount=1", "--operation", "a", "--later", gateway=gateway)
    assert run(shop, "cancel", later.stdout.split()[0], "--reason", "a mistake").exit_code == 0
    result = again(shop, gateway, "--key", "order")
    assert (result.exit_code, len(gateway.requests)) == (5, 1)
    assert [one["outcome"] for one in results(shop)] == ["cancelled", "succeeded"]


def test_results_that_are_taken_away_are_missed(shop: Path, gateway: Gateway) -> None:
    """The journal has all of it; who looks for the file is told."""

    def answer(*_: str) -> tuple[int, Any]:
        (shop / "rows.results.csv").unlink(missing_ok=True)
        return 200, {"id": "p1", "amount": 5}

    gateway.answer = answer
    rows(shop, TABLE)
    result = again(shop, gateway)
    assert result.exit_code == 0
    assert "rows.results.csv was taken away meanwhile; the same command writes it again" in result.stderr
    result = again(shop, gateway)
    assert (len(results(shop)), len(gateway.requests), "taken away" in result.stderr) == (3, 3, False)


def test_rows_settled_in_another_store_are_told_without_a_key(shop: Path, gateway: Gateway) -> None:
    """Which they do not have: what helps is another file of results."""
    rows(shop, TABLE)
    assert again(shop, gateway).exit_code == 0
    other = f"sqlite:///{shop / 'other.sqlite3'}"
    result = run(shop, "run", "shop/pay", str(shop / "rows.csv"), gateway=gateway, CALLSHEET_STORE=other)
    assert (result.exit_code, len(gateway.requests)) == (2, 3)
    said = "was settled by an earlier run, but for another request type, mode or store; give this run another file of"
    assert f"rows.csv:2: {said} results (--results)" in result.stderr


def test_results_without_room_leave_no_file(shop: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    rows(shop, TABLE)
    monkeypatch.setattr(Path, "replace", full)
    result = again(shop, gateway)
    assert result.exit_code == 2
    assert "rows.results.csv cannot be written: No space left on device; the journal knows" in result.stderr
    assert (list(shop.glob(".rows*")), gateway.requests) == ([], [])


def test_one_run_at_a_time(shop: Path, gateway: Gateway) -> None:
    rows(shop, TABLE)
    with (shop / "rows.csv").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        result = again(shop, gateway)
    assert (result.exit_code, "is being run already" in result.stderr) == (2, True)


def test_a_dry_run_sends_nothing(shop: Path, gateway: Gateway) -> None:
    """It tells how many there are and prints the first request, its secrets as names."""
    rows(shop, TABLE)
    result = again(shop, gateway, "--dry-run")
    assert (result.exit_code, gateway.requests) == (0, [])
    assert result.stdout.startswith("3 rows to send\n\nthe first of them:\n\nPOST ")
    assert "Bearer $SHOP_KEY" in result.stdout
    assert not (shop / "rows.results.csv").exists()
    told = json.loads(again(shop, gateway, "--dry-run", "--json").stdout)
    assert (told["rows"], told["first"]["method"]) == (3, "POST")


def test_a_store_that_fails_ends_the_run(shop: Path, gateway: Gateway) -> None:
    """What is settled is told, and the run can be made again."""
    rows(shop, TABLE)
    result = run(shop, "run", "shop/pay", str(shop / "rows.csv"), gateway=gateway, SHOP_KEY=" ")
    assert result.exit_code == 2
    assert "SHOP_KEY" in result.stderr
    assert "3 rows are left; the same command goes on with them" in result.stderr


# How far it is --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "1 s"),
        (0.2, "1 s"),
        (59.9, "1 min"),
        (60, "1 min"),
        (61, "2 min"),
        (3540, "59 min"),
        (3541, "1 h"),
        (3660, "1 h 1 min"),
        (86400, "1 d"),
        (100_000, "1 d 3 h"),
    ],
)
def test_how_long_is_said(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_line_of_the_meter(monkeypatch: pytest.MonkeyPatch) -> None:
    """How far, how fast, how much longer, and what came of it."""
    now = [100.0]
    monkeypatch.setattr("engine.cli.meter.time.monotonic", lambda: now[0])
    meter = Meter(95_688)
    assert meter.line() == "0 of 95,688, 0.0 a second"
    now[0] += 48
    meter.counts.update({"succeeded": 1196, "declined": 3, "not_done": 1})
    assert meter.line() == (
        "1,200 of 95,688, 25.0 a second, 1 h 3 min left: 1,196 succeeded, 3 declined, 1 not done"
    )  # fmt: skip
    now[0] += 2
    meter.counts["succeeded"] = 95_600
    assert ", 1 s left: " in meter.line()
    now[0] += 50
    assert meter.line().startswith("95,604 of 95,688, 956.0 a second, waiting for the rest: 95,600 succeeded")
    meter.counts["succeeded"] += 84
    assert meter.line().startswith("95,688 of 95,688, 956.9 a second: 95,684 succeeded")


@pytest.mark.parametrize("columns", [1, 20, 60, 79, 110, 300])
def test_a_bar_is_as_wide_as_the_terminal(columns: int) -> None:
    """The line is cut before it would go on in a second one; the bar is left out first."""
    meter = Meter(95_688, lambda: "answered 429: \x1b[31mzu viel \u4eca")
    meter.counts.update({"succeeded": 1196, "declined": 3})
    text = meter.bar(columns)
    assert tables.columns(text) == columns
    assert ("[#" in text or "[-" in text) == (columns >= 150)
    assert "\x1b" not in text
    if columns == 300:
        assert " 1%  1,199 of 95,688, " in text
        assert r"declined; trying again: answered 429: \x1b[31mzu viel" in text


def test_lines_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("engine.cli.meter.SAY", 0.01)
    with Meter(3) as meter:
        meter.counts["succeeded"] += 2
        time.sleep(0.1)
    assert "2 of 3, " in capsys.readouterr().err


def limited_shop(shop: Path, gateway: Gateway, count: int) -> str:
    """A shop whose gateway is its own and allows 50 calls a second, and the path of `count` rows."""
    files = {**limited(gateway.url, "{per_second: 50, in_flight: 2}"), "response_mappers/shop/pay.json.j2": PAYMENT}
    write(shop, files)
    return rows(shop, "amount\n" + "".join(f"{number}\n" for number in range(1, count + 1)))


def test_a_bar_on_a_terminal(shop: Path, gateway: Gateway) -> None:
    """With the time that the gateway's rate will take, before and while it runs."""
    path = limited_shop(shop, gateway, 60)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 0, 0))
    code = "from engine.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "TERM": "xterm"}
    with subprocess.Popen(
        [sys.executable, "-P", "-c", code, "run", "shop/pay", path], cwd=shop, env=environment, stdin=theirs,
        stdout=theirs, stderr=theirs,
    ) as running:  # fmt: skip
        os.close(theirs)
        shown = b""
        try:
            while piece := os.read(ours, 4096):
                shown += piece
        except OSError:
            pass  # that is how a terminal says that nobody is left
    os.close(ours)
    text = shown.decode()
    assert running.returncode == 0, text
    assert "60 rows to send; at the gateway's rate at least 2 s" in text
    assert "100%" in text
    assert "60 of 60" in text
    assert " a second, " in text
    drawn = [line for line in re.split(r"[\r\n]+", text) if "%  " in line]
    assert {len(line) for line in drawn} == {79}
    assert "\x1b" not in text, "killed, it would leave the terminal without a cursor"


def test_what_is_in_the_way_is_told(shop: Path, gateway: Gateway) -> None:
    """Whoever waits for a gateway that is away sees it, and not nothing for minutes."""
    path = limited_shop(shop, gateway, 2)
    gateway.answer = lambda *_: (429, {"error": {"message": "too many"}})
    slow = "from engine.cli import main, meter; meter.SAY = 0.2; main()"
    with process("-c", slow, "run", "shop/pay", path, cwd=shop) as running:
        assert running.stderr
        line = next(line for line in running.stderr if "trying again" in line)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=60)
    assert "0 of 2, 0.0 a second; trying again: shop/pay was not carried out: answered 429: too many" in line


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_can_be_stopped(shop: Path, gateway: Gateway, number: signal.Signals) -> None:
    """Calls under way are ended, what became of them is told, and the same command goes on."""
    path = limited_shop(shop, gateway, 100)
    with command("run", "shop/pay", path, cwd=shop) as running:
        while len(gateway.requests) < 10:
            time.sleep(0.01)
            assert running.poll() is None
        running.send_signal(number)
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 130
    assert "stopping: the calls under way are being ended" in errors
    assert "rows are left; the same command goes on with them" in errors
    assert "Traceback" not in errors
    told = results(shop)
    assert len(told) == len(gateway.requests) < 100
    assert {one["outcome"] for one in told} == {"succeeded"}
    with command("run", "shop/pay", path, cwd=shop) as running:
        _, errors = running.communicate(timeout=60)
    assert running.returncode == 0, errors
    assert sorted(one["amount"] for one in sent(gateway)) == list(range(1, 101))
    assert len(results(shop)) == 100
