"""After a power cut nothing is missing that was acknowledged, and nothing was sent that is not written down.

The disk is one that keeps what was synced and, of all else, nothing or any part. A control shows that it would notice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hosts import SECRETS, SHOP, OnlyHere, ok, write
from power import Disk, driver

from engine import calls
from engine.cases import CaseRunner, read_cases
from engine.catalog import shipped
from engine.core import Engine
from engine.dispatcher import Answer, Failure
from engine.errors import UnknownOutcome
from engine.records import Record
from engine.reloading import Files
from engine.request_types import Request
from engine.signatures import scheme_of, sign
from engine.store.sql import SqlStore
from engine.store.sqlite import SAFE_LOG

THREADS, EACH = 4, 40
CUTS = 200
SHARE = 0.06  # of the writes and syncs are followed by a cut
JOURNALS = {"rolled back": (99, 0, 0), "write-ahead": SAFE_LOG}  # from which version on a log is trusted
FILES = {
    **SHOP,
    "webhook_processors/shop/payment.noted.json.j2": """\
{"upsert": "sale", "where": {"gateway_id": {{ event.payment }}}, "set": {"amount": 5, "state": "paid"}}
""",
}


@pytest.fixture(params=JOURNALS)
def journal(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both ways in which SQLite can make a commit last."""
    monkeypatch.setattr("engine.store.sqlite.SAFE_LOG", JOURNALS[request.param])
    name: str = request.param
    return name


@pytest.fixture
def laid(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Has every SQLite file lie on a disk from now on."""
    kept = []

    def lay(disk: Disk, synchronous: str | None = None) -> None:
        module, files = driver(f"cut {id(disk)}", disk, synchronous)
        kept.append(files)
        monkeypatch.setattr("engine.store.sqlite.driver", lambda _: module)

    return lay


@dataclass(frozen=True)
class Cut:
    """What a cut left, what had been acknowledged until then, and the bodies that had been sent, by their keys."""

    files: Mapping[str, bytes]
    acknowledged: frozenset[str]
    sent: Mapping[str, str]


@dataclass
class Day:
    """What happens until the power is cut, again and again."""

    disk: Disk = field(default_factory=Disk)
    chance: Random = field(default_factory=lambda: Random(20_260_103))
    acknowledged: set[str] = field(default_factory=set)
    sent: dict[str, str] = field(default_factory=dict)
    cuts: list[Cut] = field(default_factory=list)

    def cut(self, chance: Random | None) -> None:
        """See what a cut would leave now."""
        self.cuts.append(Cut(self.disk.after_a_cut(chance), frozenset(self.acknowledged), dict(self.sent)))

    def may_cut(self) -> None:
        """Somewhere, between any two writes."""
        if self.chance.random() < SHARE and len(self.cuts) < CUTS:
            self.cut(self.chance if self.chance.random() < 0.7 else None)

    def send(self, request: Request, **_: Any) -> Answer | Failure:
        """As `engine.dispatcher.Sender` says; now and then the power is cut as the first byte leaves."""
        self.sent[dict(request.headers)["Idempotency-Key"]] = request.body.decode()
        if self.chance.random() < SHARE and len(self.cuts) < CUTS:
            self.cut(None)
        return ok({"id": f"p{json.loads(request.body)['note']}", "amount": 5})


def lived(day: Day, folder: Path) -> None:
    """A day of payments and events, by several threads at once."""
    store = SqlStore(folder / "kept" / "callsheet.sqlite3")
    engine = Engine(write(folder, FILES), store=store, environment=SECRETS, dispatcher=day, files=OnlyHere(folder))
    engine.find("call")
    day.disk.moved = day.may_cut

    def work(thread: int) -> None:
        for number in range(thread * EACH, (thread + 1) * EACH):
            engine.send("shop/pay", {"amount": 5, "note": str(number)}, operation=f"order-{number}")
            day.acknowledged.add(f"p{number}")
            body = json.dumps({"id": f"evt_{number}", "type": "payment.noted", "payment": f"e{number}"}).encode()
            moment = engine.clock.now().timestamp()
            engine.receive("shop", sign(scheme_of("stripe"), SECRETS["SHOP_HOOK"], body, moment), body)
            day.acknowledged.add(f"e{number}")

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(work, range(THREADS)))
    store.close()


def wrong(cut: Cut, folder: Path) -> Iterator[str]:
    """What is not as it must be after a cut."""
    store = left(cut.files, folder)
    with closing(sqlite3.connect(folder / "callsheet.sqlite3")) as connection:
        (said,) = connection.execute("PRAGMA integrity_check").fetchone()
    if said != "ok":
        yield f"the file is broken: {said}"
    kept = {call["key"]: call for call in store.find("call", limit=9999)}
    records = {one["gateway_id"] for one in store.find("sale", limit=9999)}
    ended = {f"p{call['data']['note']}" for call in kept.values() if call["state"] == "succeeded"}
    received = {one["event_id"].replace("evt_", "e") for one in store.find("event", limit=9999)}
    store.close()
    yield from (f"{one} is missing" for one in cut.acknowledged - (records & (ended | received)))
    yield from (f"{one} has no record" for one in ended - records)
    yield from (
        f"{key} was sent and is not written down"
        for key, body in cut.sent.items()
        if key not in kept or kept[key]["request"]["body"] != body
    )


def left(files: Mapping[str, bytes], folder: Path) -> SqlStore:
    """A store of what a cut left."""
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return SqlStore(folder / "callsheet.sqlite3")


def faults(day: Day, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """What is wrong after each cut, as a machine finds it that starts again."""
    monkeypatch.setattr("engine.store.sqlite.driver", lambda _: sqlite3)
    return [list(wrong(cut, folder / f"cut-{number}")) for number, cut in enumerate(day.cuts)]


@pytest.mark.timeout(240)
def test_a_cut_takes_nothing_that_was_acknowledged(
    journal: str, laid: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between any two writes; whatever was sent by then is in the journal, byte for byte."""
    day = Day()
    laid(day.disk)
    lived(day, tmp_path)
    assert len(day.cuts) == CUTS
    assert [found for found in faults(day, tmp_path, monkeypatch) if found] == []


@pytest.mark.timeout(240)
def test_a_log_that_is_not_synced_is_caught(
    laid: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same day and the same cuts, with `synchronous` as SQLite's users often have it."""
    monkeypatch.setattr("engine.store.sqlite.SAFE_LOG", SAFE_LOG)
    day = Day()
    laid(day.disk, "NORMAL")
    lived(day, tmp_path)
    found = faults(day, tmp_path, monkeypatch)
    assert sum("is missing" in one for some in found for one in some) > CUTS
    assert any("was sent and is not written down" in one for some in found for one in some)
    assert not any("broken" in one for some in found for one in some)


class Watchful:
    """Looks at what a cut would leave as the first byte leaves, and then gives an answer that says nothing."""

    def __init__(self, disk: Disk, folder: Path) -> None:
        self._disk, self._folder = disk, folder
        self.seen: list[tuple[Request, list[Record]]] = []

    def send(self, request: Request, **_: Any) -> Answer | Failure:
        """As `engine.dispatcher.Sender` says."""
        if request.method not in {"GET", "HEAD"}:
            store = left(self._disk.after_a_cut(), self._folder / f"sent-{len(self.seen)}")
            self.seen.append((request, store.find("call", where={"state": "sending"})))
            store.close()
        return ok({}, 302)


def test_every_shipped_request_is_synced_before_its_first_byte_leaves(
    journal: str, laid: Callable[..., None], tmp_path: Path
) -> None:
    """Each that is journaled: method, URL, headers and body, under its key and its lease."""
    files = Files(None, {}, reload=False)
    catalog, disk = files.catalog(), Disk()
    laid(disk)
    cases = {case.subject: case for case in read_cases(shipped() / "tests/cases") if case.succeeds}
    mine = {name: cases[name] for name, type in catalog.request_types.items() if type.journaled}
    watchful = Watchful(disk, tmp_path)
    store = SqlStore(tmp_path / "kept" / "callsheet.sqlite3")
    environment = CaseRunner().environment(catalog.gateways)
    engine = Engine(store=store, environment=environment, dispatcher=watchful, files=files)
    for number, (name, case) in enumerate(mine.items()):
        with pytest.raises(UnknownOutcome):
            engine.send(name, case.told.get("data", {}), operation=f"order-{number}")
        (request, found) = watchful.seen[-1]
        (call,) = (one for one in found if one["operation"] == f"order-{number}")
        assert calls.thawed(call["request"], engine.sealer) == request
        assert call["lease"]
        assert call["first_sent_at"]
    assert len(mine) > 25
    store.close()
