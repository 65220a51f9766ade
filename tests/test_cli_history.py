"""`callsheet records`, `calls`, `events` and `db`: what was kept."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import KEYS, Gateway, run
from hosts import SHOP, OnlyHere, Told, ok, write

from engine.cli import group
from engine.core import Engine
from engine.errors import RejectedError
from engine.signatures import SHIPPED, sign


@pytest.fixture(scope="session")
def filled_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with three sales, the last of which failed, and an event that was processed."""
    home = write(tmp_path_factory.mktemp("filled"), SHOP)
    answers = [ok({"id": "p1", "amount": 5}), ok({"id": "p2", "amount": 6}), ok(_NO, 402, X_Request="req_1")]
    engine = Engine(home, dispatcher=Told(*answers), environment=KEYS, files=OnlyHere(home))
    for amount in (5, 6):
        engine.send("shop/pay", {"amount": amount})
    with pytest.raises(RejectedError):
        engine.send("shop/pay", {"amount": 7})
    body = b'{"id": "evt_1", "type": "payment.refunded", "created": 1767225600, "live": false, "payment": "p1"}'
    engine.receive("shop", sign(SHIPPED["stripe"], KEYS["SHOP_HOOK"], body, engine.clock.now().timestamp()), body)
    engine.store.close()  # type: ignore[attr-defined]  # it is the one that opens files
    return home / "callsheet.sqlite3"


@pytest.fixture
def filled(bare_shop: Path, filled_store: Path) -> Path:
    """A host with that store."""
    shutil.copy(filled_store, bare_shop / "callsheet.sqlite3")
    return bare_shop


_NO = {"error": {"message": "no \x1b[31mfunds", "payment": "p3"}}


def test_a_body_that_is_nested_too_deep_is_shown_as_it_came(filled: Path) -> None:
    """An event of it is put aside, and somebody has to see what it is."""
    engine = Engine(filled, environment=KEYS, files=OnlyHere(filled))
    body = b"[" * 50_000
    engine.receive("shop", sign(SHIPPED["stripe"], KEYS["SHOP_HOOK"], body, engine.clock.now().timestamp()), body)
    engine.store.close()  # type: ignore[attr-defined]  # it is the one that opens files
    (event,) = json.loads(run(filled, "events", "--state", "quarantined", "--json").output)
    told = run(filled, "events", event["id"])
    assert (told.exit_code, told.output.count("[") >= len(body)) == (0, True)


def test_records_are_listed_searched_and_paged(filled: Path) -> None:
    """Newest first; what is not indexed cannot be searched."""
    listed = json.loads(run(filled, "records", "sale", "--json").output)
    assert [record["gateway_id"] for record in listed] == ["p3", "p2", "p1"]
    either = run(filled, "records", "sale", "state=paid", "state=failed", "--json").output
    assert [record["gateway_id"] for record in json.loads(either)] == ["p3", "p2"]
    page = run(filled, "records", "sale", "--limit", "2")
    assert f"--after {listed[1]['id']}" in page.stderr
    rest = run(filled, "records", "sale", "--after", listed[1]["id"])
    assert "p1" in rest.output
    assert "p2" not in rest.output
    assert "refunded" in rest.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("records sail", "there is no record type 'sail'; did you mean 'sale'?"),
        ("records sale amount=5", "there is no index on sale 'amount'"),
        ("records sale stat=5", "there is no property of sale 'stat'; did you mean 'state'?"),
        ("records sale paid", "is not key=value"),
        ("records sale --limit 0", "is not in the range"),
        ("records", "Missing argument 'TYPE'"),
        ("calls --state lost", "there is no state of a call 'lost'"),
        ("events --state procesed", "did you mean 'processed'?"),
        ("calls no-such-id", "there is no call 'no-such-id'"),
        ("events no-such-id", "there is no event 'no-such-id'"),
    ],
)
def test_what_cannot_be_looked_up(arguments: str, said: str, filled: Path) -> None:
    """One sentence, exit code 2."""
    result = run(filled, *arguments.split())
    assert (result.exit_code, said in result.stderr) == (2, True), result.output


def test_nothing_yet(shop: Path) -> None:
    """An empty list is no error; to a program it is an empty list."""
    for command in (["records", "sale"], ["calls"], ["events"]):
        assert (run(shop, *command).stdout, run(shop, *command).exit_code) == ("", 0)
        assert json.loads(run(shop, *command, "--json").output) == []


def test_a_call_is_told_from_beginning_to_end(filled: Path) -> None:
    """Attempts, the request without secrets, the answer, the records; control characters are shown, not obeyed."""
    calls = json.loads(run(filled, "calls", "--json").output)
    assert [call["state"] for call in calls] == ["declined", "succeeded", "succeeded"]
    told = run(filled, "calls", calls[0]["id"]).output
    for part in ("was refused, not carried out", "/payments", "http_402", "request id req_1", "402 in ", "sale "):
        assert part in told
    assert "\x1b" not in told
    assert "\\x1b[31mfunds" in told
    assert "declined" in run(filled, "calls", "--state", "declined").output
    assert "declined" not in run(filled, "calls", "--state", "succeeded").output
    assert json.loads(run(filled, "calls", calls[0]["id"], "--json").output) == calls[0]


def test_an_event_is_told_from_beginning_to_end(filled: Path) -> None:
    """What came, and what became of it."""
    listed = run(filled, "events")
    assert "payment.refunded" in listed.output
    event = json.loads(run(filled, "events", "--state", "processed", "--json").output)[0]
    told = run(filled, "events", event["id"]).output
    for part in ("its changes are made", '"payment": "p1"', "state=refunded", "evt_1"):
        assert part in told
    assert json.loads(run(filled, "events", event["id"], "--json").output) == event


def test_tables_of_records_fit_any_terminal(filled: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ids stay whole, so that they can be copied."""
    for size in (50, 80, 120):
        environment = {"COLUMNS": str(size), "CALLSHEET_STORE": None}
        drawn = CliRunner().invoke(group, ["--root", str(filled), "calls"], env=environment).stdout.splitlines()
        assert max(map(len, drawn)) <= size
        assert all(len(line.split()[0]) == 36 for line in drawn[1:])


# db -------------------------------------------------------------------------------------------------------------------


def test_the_store_is_made_upgraded_and_counted(bare_shop: Path, gateway: Gateway) -> None:
    """`status` makes nothing; `upgrade` may be run again."""
    shop = bare_shop
    assert "is not there yet" in run(shop, "db", "status").output
    assert not (shop / "callsheet.sqlite3").exists()
    for _ in range(2):
        assert "is up to date" in run(shop, "db", "upgrade").output
    run(shop, "send", "shop/pay", "amount=5", gateway=gateway)
    told = json.loads(run(shop, "db", "status", "--json").output)
    assert told["records"]["sale"] == told["records"]["call"] == 1


def test_an_index_that_was_declared_later_is_filled(filled: Path) -> None:
    """What `records` cannot search before, it can after."""
    write(filled, {"response_mappers/records/sale.yml": SALE_BY_AMOUNT})
    assert run(filled, "db", "upgrade").exit_code == 0
    found = json.loads(run(filled, "records", "sale", "amount=6", "--json").output)
    assert [record["gateway_id"] for record in found] == ["p2"]


SALE_BY_AMOUNT = SHOP["response_mappers/records/sale.yml"].replace("index: [state]", "index: [state, amount]")


def test_a_store_that_cannot_be_reached_is_one_sentence(shop: Path) -> None:
    """Without its password."""
    environment = {"CALLSHEET_STORE": "postgresql://ada:s3cret@127.0.0.1:9/shop"}
    for command in (["db", "upgrade"], ["records", "sale"], ["calls"]):
        result = CliRunner().invoke(group, ["--root", str(shop), *command], env=environment)
        assert isinstance(result.exception, SystemExit)
        assert (result.exit_code, "s3cret" in result.output, "Traceback" in result.output) == (2, False, False)
    sent = CliRunner().invoke(group, ["--root", str(shop), "send", "shop/pay", "amount=5"], env=environment)
    assert (sent.exit_code, "shop/pay was not sent" in sent.stderr) == (2, True)
