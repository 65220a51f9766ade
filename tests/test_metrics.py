"""The numbers, scraped from a host over a real connection after real calls."""

from __future__ import annotations

import http.client
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from commands import Gateway, process
from flask import Flask
from hosts import SECRETS, SHOP, OnlyHere, failure, host, ok, write
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from werkzeug.serving import make_server

from engine.context import Clock
from engine.core import Engine
from engine.errors import EngineError, SettingError, StoreError
from engine.metrics import Metrics
from engine.observing import Step
from engine.records import Record
from engine.signatures import SHIPPED, sign
from engine.store.memory import MemoryStore
from engine.web import Callsheet

KEY = "a-key-for-the-scraper-4711"
PAGE = "/callsheet/metrics"
ALLOWED = {"Authorization": f"Bearer {KEY}"}

Numbers = dict[tuple[str, ...], float]


class Site:
    """A shop's host on this machine, that calls a gateway on this machine."""

    def __init__(self, root: Path, gateway: Gateway, port: int, app: Flask, engine: Engine) -> None:
        self.gateway, self.port, self.app, self.engine = gateway, port, app, engine

    def ask(self, method: str, path: str, headers: dict[str, str], body: bytes = b"") -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        said = answer.status, answer.read().decode()
        connection.close()
        return said

    def event(self, id: str, secret: str = "SHOP_HOOK", **more: Any) -> int:
        body = json.dumps({"id": id, "type": "payment.refunded", "payment": "p1", "created": 1, **more}).encode()
        signature = sign(SHIPPED["stripe"], SECRETS[secret], body, self.engine.clock.now().timestamp())
        status, _ = self.ask("POST", "/callsheet/webhooks/shop", dict(signature), body)
        for kept in self.engine.find("event", event_id=id):
            self.engine.run_row("event", kept.id)
        return status

    def scrape(self) -> str:
        status, page = self.ask("GET", PAGE, ALLOWED)
        assert status == 200
        return page


@pytest.fixture
def site(tmp_path: Path, gateway: Gateway) -> Iterator[Site]:
    root = write(tmp_path, SHOP)
    environment = {**SECRETS, "CALLSHEET_METRICS_KEY": KEY, "CALLSHEET_SECRET_KEY": "x" * 32}
    engine = Engine(
        root,
        store=MemoryStore(),
        environment=environment,
        clock=Clock(sleep=lambda _: None),
        files=OnlyHere(root, {"shop": gateway.url}),
    )
    app = Flask("shop", root_path=str(root))
    Callsheet(app, engine=engine, worker=False)
    with served(app) as port:
        yield Site(root, gateway, port, app, engine)


@contextmanager
def served(app: Flask) -> Iterator[int]:
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


def numbers(page: str) -> Numbers:
    """(name, values of the labels) → the number, without times of creation and buckets."""
    return {
        (sample.name.removeprefix("callsheet_"), *(sample.labels[name] for name in sorted(sample.labels))): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.name.endswith(("_created", "_bucket", "_sum"))
    }


def send(engine: Engine, name: str, **data: Any) -> None:
    with suppress(EngineError):
        engine.send(name, data)


def test_what_happened_is_counted(site: Site) -> None:
    """Calls, attempts, exchanges, webhooks and events, each once."""
    send(site.engine, "shop/pay", amount=5)
    send(site.engine, "shop/read", id="p1")
    site.gateway.answer = lambda *_: (402, {"error": {"message": "no funds", "payment": "p1"}})
    send(site.engine, "shop/pay", amount=6)
    site.gateway.answer = lambda *_: (503, {})
    send(site.engine, "shop/pay", amount=7)
    site.gateway.answer = lambda *_: (200, {"id": None})
    send(site.engine, "shop/pay", amount=8)
    send(site.engine, "shop/pay", amount="many")
    assert [site.event("evt_1"), site.event("evt_1"), site.event("evt_2", type="payment.new")] == [200, 200, 200]
    assert site.event("evt_3", "SHOP_OTHER_HOOK") == 400
    assert site.event("evt_4", payment="p9") == 200
    assert numbers(site.scrape()) == {
        ("calls_total", "shop", "succeeded", "shop/pay"): 1,
        ("calls_total", "shop", "succeeded", "shop/read"): 1,
        ("calls_total", "shop", "declined", "shop/pay"): 1,
        ("calls_total", "shop", "unknown", "shop/pay"): 1,
        ("calls_total", "shop", "unmapped", "shop/pay"): 1,
        ("calls_total", "shop", "refused", "shop/pay"): 1,
        ("attempts_total", "ok", "shop"): 3,
        ("attempts_total", "http_402", "shop"): 1,
        ("attempts_total", "http_503", "shop"): 3,
        ("exchange_seconds_count", "shop", "shop/pay"): 6,
        ("exchange_seconds_count", "shop", "shop/read"): 1,
        ("webhooks_total", "shop", "received"): 3,
        ("webhooks_total", "shop", "doubled"): 1,
        ("webhooks_total", "shop", "refused"): 1,
        ("events_total", "payment.refunded", "shop", "processed"): 1,
        ("events_total", "payment.refunded", "shop", "failed"): 1,
        ("events_total", "other", "shop", "ignored"): 1,
        ("overdue", "call"): 0,
        ("overdue", "event"): 0,
        ("overdue", "reaction"): 0,
        ("overdue", "replay"): 0,
    }
    assert 'callsheet_exchange_seconds_bucket{gateway="shop",le="25.0",request_type="shop/pay"} 6.0' in site.scrape()


def test_a_thousand_unknown_event_types_are_one(site: Site) -> None:
    """Whoever may send events cannot make the numbers many."""
    site.event("evt_0", type="unheard.of")
    before = numbers(site.scrape())
    for number in range(1000):
        assert site.event(f"evt_x{number}", type=f"unheard.of.{number}", account=f"acct_{number}") == 200
    after = numbers(site.scrape())
    assert after.keys() == before.keys()
    assert after["events_total", "other", "shop", "ignored"] == 1001


def test_strange_statuses_are_one_class(site: Site) -> None:
    """A gateway cannot make the numbers many either."""
    for status in (418, 599, 598, 597):
        site.gateway.answer = lambda *_, status=status: (status, {"error": {"message": "no"}})
        send(site.engine, "shop/pay_once", amount=5)
    found = {key[1]: number for key, number in numbers(site.scrape()).items() if key[0] == "attempts_total"}
    assert found == {"http_418": 1, "http_other": 3}


def test_no_secret_and_nothing_of_the_data_is_in_it(site: Site) -> None:
    """Canaries in everything that goes in: data, operation, keys, answers, events, headers, paths."""
    canary = "canary4711"
    site.gateway.answer = lambda *_: (200, {"id": canary, "amount": 5, canary: canary})
    site.engine.send("shop/pay", {"amount": 5, "note": canary, "account": canary}, operation=canary)
    send(site.engine, "shop/read", id=canary)
    send(site.engine, f"shop/{canary}")
    site.gateway.answer = lambda *_: (402, {"error": {"message": canary, "payment": canary}})
    send(site.engine, "shop/pay", amount=6)
    site.event(f"evt_{canary}", type=canary, account=canary, payment=canary)
    site.event(canary, payment=canary)
    site.ask("POST", f"/callsheet/webhooks/{canary}", {"X-Canary": canary}, canary.encode())
    page = site.scrape()
    call = site.engine.find("call")[0]
    for text in (canary, KEY, *SECRETS.values(), call.id, call["key"], site.gateway.url, "127.0.0.1"):
        assert text not in page
    assert numbers(page)["calls_total", "shop", "succeeded", "shop/pay"] == 1


def test_only_who_has_the_key_reads_it(site: Site) -> None:
    """And without a key there is no such page."""
    for wrong in ({}, {"Authorization": KEY}, {"Authorization": f"Bearer {KEY}x"}, {"Authorization": "Bearer \xe9"}):
        assert site.ask("GET", PAGE, wrong)[0] == 401
    site.engine.metrics = None
    assert site.ask("GET", PAGE, ALLOWED)[0] == 404


def test_a_scraper_may_ask_for_the_newer_format(site: Site) -> None:
    """OpenMetrics, which ends in a line of its own."""
    page = site.ask("GET", PAGE, {**ALLOWED, "Accept": "application/openmetrics-text; version=1.0.0"})[1]
    assert page.endswith("# EOF\n")


def test_overdue_work_is_there_until_the_store_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then the rest is shown."""
    shop = host(tmp_path, ok(), CALLSHEET_METRICS_KEY=KEY)
    app = Flask("shop", root_path=str(tmp_path))
    Callsheet(app, engine=shop.engine, worker=False)
    client = app.test_client()
    for number in range(3):
        shop.engine.send_later("shop/pay", {"amount": number + 1})
    shop.hours.pass_by(301)
    assert numbers(client.get(PAGE, headers=ALLOWED).text)["overdue", "call"] == 3
    assert shop.engine.run_due() == 3
    assert numbers(client.get(PAGE, headers=ALLOWED).text)["overdue", "call"] == 0

    def away(*_: Any, **__: Any) -> list[Record]:
        raise StoreError("the store is away")

    monkeypatch.setattr(shop.store, "find", away)
    found = numbers(client.get(PAGE, headers=ALLOWED).text)
    assert ("overdue", "call") not in found
    assert found["calls_total", "shop", "succeeded", "shop/pay"] == 3


def test_what_a_gate_holds_back_is_counted(tmp_path: Path) -> None:
    """Neither an exchange nor a second attempt: the gateway is left alone."""
    metrics = Metrics()
    for kind in ("rate_limited", "circuit_open", "busy"):
        metrics.ended(Step("attempt", "shop", "shop/pay", outcome=kind), None)
    assert {key[1] for key in numbers(metrics.page("", {})[0].decode())} == {"rate_limited", "circuit_open", "busy"}


def test_a_call_that_is_taken_up_again_is_counted_apart(tmp_path: Path) -> None:
    """So that no call is counted twice."""
    shop = host(tmp_path, failure("read_timeout"), CALLSHEET_METRICS_KEY=KEY)
    send(shop.engine, "shop/pay", amount=5)
    shop.gateway.answers = [ok()]
    shop.hours.pass_by(3600)
    shop.engine.run_due()
    assert shop.engine.metrics
    found = numbers(shop.engine.metrics.page("", {})[0].decode())
    assert found["calls_total", "shop", "unknown", "shop/pay"] == 1
    assert found["recoveries_total", "shop", "succeeded", "shop/pay"] == 1


def test_two_engines_count_for_themselves_and_one_may_be_given_a_registry(tmp_path: Path) -> None:
    """A host that has a page of its own reads ours there."""
    registry = CollectorRegistry()
    mine = host(tmp_path / "a", observers=[Metrics(registry)])
    other = host(tmp_path / "b", CALLSHEET_METRICS_KEY=KEY)
    send(mine.engine, "shop/pay", amount=5)
    labels = {"gateway": "shop", "request_type": "shop/pay", "outcome": "succeeded"}
    assert registry.get_sample_value("callsheet_calls_total", labels) == 1
    assert other.engine.metrics
    assert numbers(other.engine.metrics.page("", {})[0].decode()) == {}


CHILD = """
import sys
from pathlib import Path
sys.path.insert(0, {tests!r})
from hosts import Hours, ok, host
shop = host(Path(sys.argv[1]), CALLSHEET_METRICS_KEY={key!r})
for number in range(int(sys.argv[2])):
    shop.engine.send("shop/pay", {{"amount": 5}})
print(shop.engine.metrics.page("", {{"call": 2}})[0].decode())
"""


def test_the_numbers_of_several_processes_are_one(tmp_path: Path) -> None:
    """Whichever is asked; what one process has ended with is kept."""
    shared = tmp_path / "shared"
    shared.mkdir()
    code = CHILD.format(tests=str(Path(__file__).parent), key=KEY)
    pages = []
    for number in (2, 3):
        root = tmp_path / str(number)
        root.mkdir()
        arguments = ("-c", code, str(root), str(number))
        with process(*arguments, cwd=root, PROMETHEUS_MULTIPROC_DIR=str(shared)) as running:
            page, errors = running.communicate()
        assert errors == ""
        pages.append(numbers(page))
    counted = ("calls_total", "shop", "succeeded", "shop/pay")
    assert [page[counted] for page in pages] == [2, 5]
    assert pages[1]["exchange_seconds_count", "shop", "shop/pay"] == 5
    assert pages[1]["overdue", "call"] == 2


def test_a_shared_folder_that_is_none_is_said_at_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later nobody would look."""
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(SettingError, match=r"PROMETHEUS_MULTIPROC_DIR: names .*nowhere, which is no folder"):
        host(tmp_path, CALLSHEET_METRICS_KEY=KEY)


@pytest.mark.parametrize("key", ["", "short", " "])
def test_a_key_that_is_none_is_refused(key: str, tmp_path: Path) -> None:
    """An empty one would let everybody in."""
    with pytest.raises(SettingError, match="CALLSHEET_METRICS_KEY"):
        host(tmp_path, CALLSHEET_METRICS_KEY=key)


@pytest.mark.parametrize(
    ("setting", "value", "package", "module", "extra"),
    [
        ("CALLSHEET_METRICS_KEY", KEY, "prometheus_client", "engine.metrics", "callsheet[metrics]"),
        ("CALLSHEET_SPANS", "on", "opentelemetry", "engine.spans", "callsheet[otel]"),
    ],
)
def test_what_is_not_installed_is_said(
    setting: str, value: str, package: str, module: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With what to do."""
    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    settings: Any = {setting: value}
    with pytest.raises(SettingError, match=setting) as refused:
        host(tmp_path, **settings)
    assert f"pip install '{extra}'" in str(refused.value)
    assert host(tmp_path).engine.metrics is None
