"""What ended long ago loses its bodies, and nothing else: nothing open is touched, and nothing is ever done twice."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from commands import Gateway, run
from hosts import SECRETS, SHOP, OnlyHere, Told, failure, ok, refusal, write

from engine import calls
from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Answer, Failure
from engine.doctor import work
from engine.errors import Conflict, DataError, EngineError, RejectedError, TransportError
from engine.purging import BATCH, Purged, purge
from engine.records import Record
from engine.signatures import SHIPPED, sign
from engine.store.sql import SqlStore

MARK = "Ada-Lovelace-of-12-St-James-Square"
AGE = timedelta(days=90)


class Host:
    """A shop on a database, whose clock can be set ahead."""

    def __init__(self, root: Path, url: str, **files: str) -> None:
        self.late = timedelta()
        self.gateway, self.store = Told(), SqlStore(url)
        folder = write(root, {**SHOP, **files})
        self.engine = Engine(
            folder,
            store=self.store,
            environment=SECRETS,
            dispatcher=self.gateway,
            clock=Clock(now=self.now, sleep=lambda _: None),
            files=OnlyHere(folder),
        )
        self.engine.wake = lambda: None

    def now(self) -> datetime:
        return datetime.now(UTC) + self.late

    def send(
        self, answer: Answer | Failure, name: str = "shop/pay", operation: str = "order-17", **data: Any
    ) -> Record:
        """Send, whatever comes of it; returns the call's row."""
        self.gateway.answers = [answer]
        with suppress(EngineError):
            self.engine.send(name, {"amount": 5, **data}, operation=operation)
        return self.engine.find("call", operation=operation, limit=1)[0]

    def receive(self, id: str, body: bytes | None = None, **changed: Any) -> Record:
        """Have an event delivered."""
        event = {"id": id, "type": "payment.refunded", "created": 1, "payment": "p1", "note": MARK, **changed}
        raw = body or json.dumps(event).encode()
        headers = sign(SHIPPED["stripe"], SECRETS["SHOP_HOOK"], raw, self.now().timestamp())
        return self.engine.receive("shop", headers, raw)

    def purge(self, **options: Any) -> Purged:
        """After a hundred days."""
        self.late = timedelta(days=100)
        *_, last = purge(self.engine, AGE, **options)
        return last

    def row(self, old: Record) -> Record:
        return self.engine.find(old.type, id=old.id)[0]


@pytest.fixture
def host(tmp_path: Path, store_url: str) -> Host:
    """On SQLite and on PostgreSQL."""
    return Host(tmp_path / "shop", store_url)


def test_bodies_go_and_the_story_stays(host: Host) -> None:
    """Data, request, answer and event bodies are removed; everything that tells what happened is not."""
    call = host.send(ok({"id": "p1", "amount": 5, "owner": MARK}), note=MARK)
    event = host.receive("evt_1")
    done = host.purge()
    assert (done.calls, done.events, done.progress) == (1, 1, 1.0)
    assert done.bytes > 4 * len(MARK)
    after = host.row(call)
    assert (after["data"], after["request"]["body"], after["answer"]["body"]) == ({}, "", "")
    assert (len(after["request"]["sha256"]), len(after["answer"]["sha256"])) == (64, 64)
    same = ("key", "operation", "state", "digest", "attempts", "message", "first_sent_at", "sent_at", "changed")
    assert [after[name] for name in same] == [call[name] for name in same]
    assert [after["request"][name] for name in ("method", "url", "headers")] == [
        call["request"][name] for name in ("method", "url", "headers")
    ]
    late = host.row(event)
    assert (late["body"], len(late["sha256"]), late["state"]) == ("", 64, "processed")
    assert [late[name] for name in ("key", "event_id", "changed")] == [
        event[name] for name in ("key", "event_id", "changed")
    ]
    assert min(after["purged"], late["purged"]) > (datetime.now(UTC) + AGE).isoformat()
    assert host.purge() == Purged(0, 0, 0, 1.0)
    assert host.engine.find("sale")[0]["state"] == "refunded"


@pytest.mark.parametrize("files", ["sqlite_store_url", *(["wal_store_url"] if find_spec("pysqlite3") else [])])
def test_nothing_is_left_in_the_files(tmp_path: Path, files: str, request: pytest.FixtureRequest) -> None:
    """Not in the free room of the database, and not in the journal beside it; before, it was there."""
    host = Host(tmp_path / "shop", request.getfixturevalue(files))
    file = host.store.file
    assert file is not None

    def found() -> bool:
        return any(MARK.encode() in path.read_bytes() for path in file.parent.glob(f"{file.name}*"))

    for number in range(20):
        answer = ok({"id": f"p{number}", "amount": 5, "owner": MARK * 200})
        host.send(answer, operation=f"order-{number}", name="shop/pay_once")
        host.receive(f"evt_{number}", payment=f"p{number}", more=MARK * 200)
    assert found()
    assert (host.purge().calls, host.purge().events) == (20, 0)
    assert not found()


def keeps(host: Host, row: Record) -> bool:
    now = host.row(row)
    return all(now[name] == value for name, value in row.properties.items())


def test_what_is_open_is_not_touched(host: Host) -> None:
    """Neither what a worker nor what a person can still do something about, however old it is."""
    kept = [
        host.send(failure("read_timeout"), operation="unknown"),
        host.send(failure("read_timeout"), name="shop/pay_once", operation="unknown for ever"),
        host.send(ok({"id": "p1", "amount": "five"}), operation="unmapped"),
        host.engine.send_later("shop/pay", {"amount": 5}),
        host.receive("evt_1", payment="p_nobody_knows"),
        host.receive("evt_2", live=True),
    ]
    host.store.apply([host.engine.plan("shop/pay", {"amount": 6}, operation="sending").born("sending")])
    kept.append(host.engine.find("call", operation="sending")[0])
    kept = [host.row(row) for row in kept]
    assert [row["state"] for row in kept] == [
        "unknown",
        "unknown",
        "unmapped",
        "prepared",
        "failed",
        "quarantined",
        "sending",
    ]
    assert host.purge() == Purged(0, 0, 0, 1.0)
    assert all(keeps(host, row) for row in kept)


def test_what_is_young_is_not_touched(host: Host) -> None:
    """Age counts from the end: what was settled or replayed yesterday is young."""
    call = host.send(failure("read_timeout"), name="shop/pay_once")
    event = host.receive("evt_1", type="unheard.of")
    host.late = timedelta(days=30)
    call = host.engine.recovery.resolve(host.row(call), "succeeded", "ada", "the bank says so")
    event = host.engine.replay(event, "ada", "again")
    assert host.purge() == Purged(0, 0, 0, 1.0)
    assert keeps(host, call)
    assert keeps(host, event)
    host.late = timedelta(days=130)
    *_, done = purge(host.engine, AGE)
    assert (done.calls, done.events) == (1, 1)


@pytest.mark.parametrize(
    ("answer", "raised", "said"),
    [
        (ok(), None, ""),
        (refusal("no funds"), RejectedError, "refused shop/pay: no funds"),
        (failure("connect", sent=False), TransportError, "purged at .*, so do it as a new operation"),
    ],
)
def test_an_operation_that_is_repeated_is_not_sent_again(
    host: Host, answer: Answer | Failure, raised: type[EngineError] | None, said: str
) -> None:
    """It is answered from the row, whatever came of it; other data under its name is refused as ever."""
    call = host.send(answer, note=MARK)
    host.purge()
    sent = len(host.gateway.requests)
    host.gateway.answers = [ok({"id": "p2", "amount": 7})]
    data = {"amount": 5, "note": MARK}
    if raised is None:
        result = host.engine.send("shop/pay", data, operation="order-17")
        assert result.response is None
        assert [record["gateway_id"] for record in result.records] == ["p1"]
    else:
        with pytest.raises(raised, match=said) as error:
            host.engine.send("shop/pay", data, operation="order-17")
        assert error.value.call.id == call.id  # type: ignore[attr-defined]
    with pytest.raises(DataError, match="was begun with other data"):
        host.engine.send("shop/pay", {"amount": 6}, operation="order-17")
    later = host.engine.send_later("shop/pay", data, operation="order-17")
    assert (later.id, later["state"]) == (call.id, call["state"])
    host.engine.run_due()
    assert len(host.gateway.requests) == sent


SECRET = SHOP["request_types/shop/pay.yml"].replace("note: {type: string}", "note: {type: string, writeOnly: true}")


def test_what_was_sealed_goes_too(tmp_path: Path, sqlite_store_url: str) -> None:
    """Of sealed data not even a hash is kept, for a short number could be guessed from it."""
    host = Host(tmp_path / "shop", sqlite_store_url, **{"request_types/shop/pay.yml": SECRET})
    call = host.send(ok(), note="078-05-1120")
    assert "sealed_body" in call["request"]
    host.purge()
    after = host.row(call)
    assert (after["data"], set(after["request"])) == ({}, {"method", "url", "headers", "body"})
    sent = len(host.gateway.requests)
    assert host.engine.send("shop/pay", {"amount": 5, "note": "078-05-1120"}, operation="order-17").response is None
    assert len(host.gateway.requests) == sent


def test_an_event_that_comes_again_counts_once(host: Host) -> None:
    """Its id is known, and it cannot be replayed."""
    host.send(ok())
    event = host.receive("evt_1")
    host.purge()
    assert host.receive("evt_1")["purged"]
    assert len(host.engine.find("event")) == 1
    with pytest.raises(Conflict, match=f"the body of the event {event.id} was purged at "):
        host.engine.replay(host.row(event), "ada", "again")


def test_events_that_were_given_up_are_removed_when_asked_for(host: Host) -> None:
    """They can be replayed as long as they have a body; one that comes again has one."""
    aside = host.receive("evt_1", live=True)
    assert host.purge(given_up=True).events == 1
    assert (host.row(aside)["body"], host.row(aside)["state"]) == ("", "quarantined")


def test_what_nobody_can_mend_is_put_away(host: Host) -> None:
    """The doctor says how; after that it has no more to say of it."""
    host.receive("evt_1", body=b"no JSON")
    (said,) = work.events(host.engine)
    assert said.remedy.endswith("; what nobody can mend: callsheet purge --older-than AGE --all")
    host.purge(given_up=True)
    assert list(work.events(host.engine)) == []


def test_a_dry_run_changes_nothing(host: Host) -> None:
    """And says what a true one would do."""
    rows = [host.send(ok(), note=MARK), host.receive("evt_1")]
    tried = host.purge(dry_run=True)
    assert all(keeps(host, row) for row in rows)
    assert host.purge() == tried
    assert (tried.calls, tried.events) == (1, 1)


def test_it_can_be_stopped_and_begun_again(host: Host) -> None:
    """Every batch is a commit of its own, and progress only grows."""
    plans = [host.engine.plan("shop/pay", {"amount": 5, "note": MARK}) for _ in range(2 * BATCH + 5)]
    host.store.apply([plan.born("prepared") for plan in plans])
    for call in host.engine.find("call", limit=1000):
        host.engine.recovery.cancel(call, "ada", "no stock")
    host.late = timedelta(days=100)
    first = next(purge(host.engine, AGE))
    assert (first.calls, 0 < first.progress < 0.5) == (BATCH, True)
    rest = list(purge(host.engine, AGE))
    assert rest[-1].calls == BATCH + 5
    assert [one.progress for one in rest] == sorted(one.progress for one in rest)
    assert sum(call["data"] == {} for call in host.engine.find("call", limit=1000)) == 2 * BATCH + 5


def test_what_changes_meanwhile_is_left_alone(host: Host) -> None:
    """A call that somebody takes up in the same moment keeps its bytes."""
    call = host.send(failure("connect", sent=False), note=MARK)
    host.late = timedelta(days=100)
    find: Callable[..., list[Record]] = host.engine.find

    def slow(*arguments: Any, **where: Any) -> list[Record]:
        found = find(*arguments, **where)
        host.engine.find = find  # type: ignore[method-assign]
        host.send(ok(), note=MARK)
        return found

    host.engine.find = slow  # type: ignore[method-assign]
    *_, done = purge(host.engine, AGE)
    assert (done.calls, host.row(call)["state"], host.row(call)["data"]["note"]) == (0, "succeeded", MARK)


@pytest.mark.parametrize("later", [False, True])
def test_an_operation_that_is_repeated_while_it_is_purged(
    host: Host, monkeypatch: pytest.MonkeyPatch, later: bool
) -> None:
    """It is not begun anew without its bytes: a body that is empty asks for something else, as all of a refund."""
    call = host.send(failure("connect", sent=False), note=MARK)
    may_be_taken_up, sent = calls.may_be_taken_up, len(host.gateway.requests)

    def slow(seen: Record) -> bool:
        may = may_be_taken_up(seen)
        assert host.purge().calls == 1
        return may

    monkeypatch.setattr(calls, "may_be_taken_up", slow)
    data = {"amount": 5, "note": MARK}
    if later:
        host.engine.send_later("shop/pay", data, operation="order-17")
        host.engine.run_due()
    else:
        with pytest.raises(TransportError, match="do it as a new operation"):
            host.engine.send("shop/pay", data, operation="order-17")
    assert (len(host.gateway.requests), host.row(call)["state"]) == (sent, "not_done")


def test_an_event_that_is_replayed_while_it_is_purged(host: Host) -> None:
    """It is not read without its body."""
    host.send(ok())
    event = host.receive("evt_1")
    host.purge()
    with pytest.raises(Conflict):
        host.engine.replay(event, "ada", "as it was seen before")
    assert host.row(event)["state"] == "processed"


# The command ----------------------------------------------------------------------------------------------------------


def test_the_command(shop: Path, gateway: Gateway) -> None:
    """It says what was removed; what is shown afterwards says that it was."""
    run(shop, "send", "shop/pay", "amount=5", f"note={MARK}", "--operation", "order-17", gateway=gateway)
    tried = run(shop, "purge", "--older-than", "0d", "--dry-run")
    assert (tried.exit_code, "1 call and 0 events would lose their bodies: 0.0 MB" in tried.stdout) == (0, True)
    told = json.loads(run(shop, "purge", "--older-than", "0d", "--json").stdout)
    assert (told["calls"], told["events"], told["dry_run"]) == (1, 0, False)
    assert "0 calls and 0 events lost their bodies" in run(shop, "purge", "--older-than", "0d", "--all").stdout
    (call,) = json.loads(run(shop, "calls", "--json").stdout)
    shown = run(shop, "calls", call["id"]).stdout
    assert shown.count(f"(its body was purged at {call['purged']})") == 2
    assert MARK not in shown.partition("kept ")[0]  # the record is kept
    repeated = run(shop, "send", "shop/pay", "amount=5", f"note={MARK}", "--operation", "order-17", gateway=gateway)
    assert (repeated.exit_code, len(gateway.requests)) == (0, 1)


def test_purged_events_in_the_command(shop: Path) -> None:
    """One that is named is refused; among many they are left alone."""
    host = Host(shop, f"sqlite:///{shop}/callsheet.sqlite3")
    event = host.receive("evt_1", type="unheard.of")
    host.store.close()
    run(shop, "purge", "--older-than", "0d")
    assert "its body was purged" in run(shop, "events", event.id).stdout
    refused = run(shop, "replay", event.id, "--reason", "x")
    assert (refused.exit_code, "was purged at" in refused.stderr) == (2, True)
    assert run(shop, "replay", "--type", "unheard.of", "--reason", "x").stdout.endswith(
        "1 left alone: their bodies were purged\n"
    )


@pytest.mark.parametrize("age", ["", "90", "90x", "-1d", "ninety days", "99999d"])
def test_what_is_no_age(shop: Path, age: str) -> None:
    """One sentence."""
    result = run(shop, "purge", "--older-than", age)
    assert (result.exit_code, "is no age; write 90d" in result.stderr) == (2, True)
