"""Workers on one machine and on many: each operation acts once, whatever dies, and work goes on by itself."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from commands import CHECKOUT, KEYS, Gateway, process, run
from flask import Flask
from hosts import OnlyHere, write
from postgres import running_server
from procrastinate.exceptions import ConnectorException
from store_contract import until

from engine import workers
from engine.calls import ANYWHERE, CALL, instant
from engine.core import Engine
from engine.errors import StoreError
from engine.queues import ending, procrastinating, work
from engine.records import Change
from engine.signatures import SHIPPED, sign
from engine.web import Callsheet

LEASE = 2  # seconds, so that nobody has to wait for a minute
CODE = f"from engine import calls, workers; calls.LEASE, workers.BEAT, workers.SILENT = {LEASE}, 1, 3; "
CODE += "from engine.cli import main; main()"


@pytest.fixture
def shop(bare_shop: Path) -> Path:
    """Without a store yet."""
    return bare_shop


class Bank:
    """A slow gateway that acts on a key once, and tells whoever repeats it what it did."""

    def __init__(self, gateway: Gateway, seconds: float) -> None:
        self.gateway, self.seconds = gateway, seconds
        self.effects: dict[str, str] = {}  # by key, the order
        self.under_way = self.most = 0
        self._lock = threading.Lock()
        gateway.answer = self._answer
        gateway.server.socket.listen(100)

    def _answer(self, _: str, __: str, body: str) -> tuple[int, Any]:
        order = json.loads(body)["note"]
        with self._lock:
            key = next(headers["Idempotency-Key"] for *_, sent, headers in self.gateway.requests if sent == body)
            assert self.effects.setdefault(key, order) == order
            self.under_way += 1
            self.most = max(self.most, self.under_way)
        time.sleep(self.seconds)
        with self._lock:
            self.under_way -= 1
        return 200, {"id": f"p{order}", "amount": 5}


def engine_of(shop: Path, url: str, gateway: Gateway) -> Engine:
    """An engine of this process on the same store."""
    return Engine(shop, environment={**KEYS, "CALLSHEET_STORE": url}, files=OnlyHere(shop, {"shop": gateway.url}))


def queue(engine: Engine, number: int) -> None:
    """Queue an order, as often as it takes until it is kept."""
    while True:
        try:
            engine.send_later("shop/pay", {"amount": 5, "note": str(number)}, operation=f"order-{number}")
        except StoreError:
            time.sleep(0.1)
        else:
            return


def queue_all(engine: Engine, count: int) -> None:
    """Queue so many orders."""
    for number in range(count):
        queue(engine, number)


def states(url: str) -> list[str]:
    """The states of all calls; none while the server is away."""
    try:
        with psycopg.connect(url) as connection:
            return [state for (state,) in connection.execute("SELECT state FROM callsheet_call").fetchall()]
    except psycopg.OperationalError:
        return []


def jobs(url: str) -> int:
    """How many jobs there are, in whatever state."""
    with psycopg.connect(url) as connection:
        row = connection.execute("SELECT count(*) FROM procrastinate_jobs").fetchone()
    assert row
    return int(row[0])


@contextmanager
def working(shop: Path, url: str, gateway: Gateway, *options: str, code: str = CODE) -> Iterator[subprocess.Popen[str]]:
    """A worker in a process group of its own, that has begun."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("STRIPE", "CALLSHEET"))}
    told = {"CALLSHEET_STORE": url, "CALLSHEET_SHOP_BASE_URL": gateway.url, "PYTHONPATH": str(CHECKOUT)}
    log = shop / f"worker-{time.monotonic_ns()}.log"
    with log.open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, "-P", "-u", "-c", code, "--root", str(shop), "worker", *options],
            env={**inherited, **told},
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            process_group=0,
        )
    try:
        assert process.stdout
        assert "working on" in process.stdout.readline(), log.read_text()
        yield process
        assert "Traceback" not in log.read_text()
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def end(process: subprocess.Popen[str]) -> str:
    """Tell a worker to stop; what it says last."""
    process.send_signal(signal.SIGTERM)
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    return said


# Death ----------------------------------------------------------------------------------------------------------------


@pytest.mark.chaos
def test_a_worker_that_is_killed_loses_and_doubles_nothing(shop: Path, gateway: Gateway, postgres_url: str) -> None:
    """Two workers, one killed with requests under way: the other one ends what it began, without being told."""
    bank, engine = Bank(gateway, 1.0), engine_of(shop, postgres_url, gateway)
    options = (shop, postgres_url, gateway, "--concurrency", "4")
    with working(*options) as first, working(*options) as second:
        queue_all(engine, 40)
        until(lambda: bank.under_way == 8)
        os.killpg(first.pid, signal.SIGKILL)
        first.wait()
        bank.seconds = 0.1
        until(lambda: states(postgres_url) == ["succeeded"] * 40)
        assert sorted(bank.effects.values(), key=int) == [str(number) for number in range(40)]
        assert len(gateway.requests) > 40  # what the dead one had begun was repeated, with the same key
        assert sorted(sale["gateway_id"] for sale in engine.find("sale")) == sorted(f"p{n}" for n in range(40))
        until(lambda: jobs(postgres_url) == 0)
        assert "stopped" in end(second)


@pytest.mark.chaos
def test_a_server_that_crashes_under_load_loses_and_doubles_nothing(shop: Path, gateway: Gateway) -> None:
    """PostgreSQL dies and comes back, twice, while calls are queued and sent: the same workers go on."""
    bank = Bank(gateway, 0.1)
    with running_server() as server:
        engine = engine_of(shop, server.url, gateway)
        options = (shop, server.url, gateway, "--concurrency", "4")
        with working(*options) as first, working(*options) as second:
            orders = threading.Thread(target=queue_all, args=(engine, 80))
            orders.start()
            for enough in (10, 40):
                until(lambda enough=enough: len(bank.effects) >= enough)  # type: ignore[misc]
                server.restart()
            orders.join()
            until(lambda: states(server.url) == ["succeeded"] * 80)
            assert sorted(bank.effects.values(), key=int) == [str(number) for number in range(80)]
            queue(engine, 80)
            until(lambda: len(states(server.url)) == 81 and set(states(server.url)) == {"succeeded"})
            assert "stopped" in end(first) + end(second)


@pytest.mark.chaos
@pytest.mark.parametrize("url", ["postgres_url", "sqlite"])
def test_a_worker_that_is_told_to_stop_ends_what_it_began(
    request: pytest.FixtureRequest, shop: Path, gateway: Gateway, url: str
) -> None:
    """What is under way is brought to its end, what waits is left."""
    store = f"sqlite:///{shop}/callsheet.sqlite3" if url == "sqlite" else request.getfixturevalue(url)
    bank, engine = Bank(gateway, 2.0), engine_of(shop, store, gateway)
    with working(shop, store, gateway, "--concurrency", "1") as worker:
        queue_all(engine, 3)
        until(lambda: bank.under_way == 1)
        assert end(worker) == "stopped; 1 done\n"
    assert sorted(call["state"] for call in engine.find("call")) == ["prepared", "prepared", "succeeded"]
    assert engine.workers.health().workers == ()


def test_a_worker_begins_anew_whatever_ends_it(
    shop: Path, gateway: Gateway, postgres_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The library may end by itself without a word, or with an error of its own or of the driver; the waits grow."""
    ends: list[Exception | None] = [None, ConnectorException("gone"), psycopg.OperationalError("shut down\nin line 1")]

    async def listen(*_: Any, **__: Any) -> None:
        if not ends:
            os.kill(os.getpid(), signal.SIGTERM)
            await asyncio.sleep(60)
        elif error := ends.pop(0):
            raise error

    monkeypatch.setattr(procrastinating._Worker, "_listen", listen)
    monkeypatch.setattr(procrastinating, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(ending, "IDLE", 60.0)  # it is this process that would be ended
    assert work(engine_of(shop, postgres_url, gateway), 1) == 0
    said = [record.getMessage().partition(" was lost ")[2] for record in caplog.records if record.name == "engine"]
    assert said == [
        "(it ended by itself); the next try is in 0.01 s",
        "(gone); the next try is in 0.02 s",
        "(shut down); the next try is in 0.04 s",
    ]


# Once, and so much at once --------------------------------------------------------------------------------------------


@pytest.fixture(params=["sqlite", "postgres"])
def store_url(request: pytest.FixtureRequest, shop: Path) -> str:
    found: str = request.getfixturevalue("postgres_url") if request.param == "postgres" else f"sqlite:///{shop}/s"
    return found


def test_once(shop: Path, gateway: Gateway, store_url: str) -> None:
    """Everything that is due is done, so much at once, and then it ends; what is due later is left."""
    bank, engine = Bank(gateway, 0.2), engine_of(shop, store_url, gateway)
    ended = run(shop, "worker", "--once", gateway=gateway, CALLSHEET_STORE=store_url)
    assert (ended.exit_code, ended.stdout.splitlines()[-1]) == (0, "stopped; 0 done")
    queue_all(engine, 7)
    engine.send_later("shop/pay", {"amount": 5}, due=engine.clock.now().replace(year=2100))
    ended = run(shop, "worker", "--once", "--concurrency", "3", gateway=gateway, CALLSHEET_STORE=store_url)
    assert (ended.exit_code, ended.stdout.splitlines()[-1]) == (0, "stopped; 7 done")
    assert (len(bank.effects), bank.most) == (7, 3)


def test_what_follows_is_done_as_well(
    shop: Path, gateway: Gateway, store_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A follow-up of a queued call, and an event that waited for its record."""
    gateway.answer = lambda *_: (200, {"id": "p1", "amount": 5})
    mapper = shop / "response_mappers/shop/pay.json.j2"
    mapper.write_text(mapper.read_text() + '{"send": "shop/read", "data": {"id": {{ response.id }}}}')
    monkeypatch.setattr("engine.inbox.LATER", (1,) * 8)
    engine = engine_of(shop, store_url, gateway)
    event = b'{"id": "evt_1", "type": "payment.refunded", "created": 1767225600, "live": false, "payment": "p1"}'
    headers = sign(SHIPPED["stripe"], KEYS["SHOP_HOOK"], event, time.time())
    assert engine.receive("shop", headers, event)["state"] == "failed"
    queue(engine, 1)
    run(shop, "worker", "--once", gateway=gateway, CALLSHEET_STORE=store_url)
    assert [call["state"] for call in engine.find("call")] == ["succeeded", "succeeded"]
    time.sleep(1.1)  # until the event's time has come
    run(shop, "worker", "--once", gateway=gateway, CALLSHEET_STORE=store_url)
    assert [event["state"] for event in engine.find("event")] == ["processed"]
    assert engine.find("sale")[0]["state"] == "refunded"


APP = """\
from pathlib import Path

from flask import Flask

from engine.web import Callsheet

app = Flask(__name__)


@Callsheet(app).engine.on("sale")
def hear(sale):
    with Path(app.root_path, "heard").open("a") as file:
        print(sale["gateway_id"], file=file)
"""


def alone_with(shop: Path, gateway: Gateway, url: str, *arguments: str) -> tuple[int, str]:
    """The exit code and the complaints of a command in a process that has seen no other app."""
    told = {"CALLSHEET_STORE": url, "CALLSHEET_SHOP_BASE_URL": gateway.url}
    code = "from engine.cli import main; main()"
    with process("-c", code, "--root", str(shop), *arguments, cwd=shop, **told) as running:
        _, errors = running.communicate()
    return running.returncode, errors


def test_a_worker_knows_the_functions_of_the_app(shop: Path, gateway: Gateway, store_url: str) -> None:
    """It records that a sale changed, and tells of it."""
    write(shop, {"app.py": APP})
    queue(engine_of(shop, store_url, gateway), 1)
    assert alone_with(shop, gateway, store_url, "worker", "--once") == (0, "")
    assert (shop / "heard").read_text() == "p1\n"


def test_a_command_that_changes_records_knows_them_too(shop: Path, gateway: Gateway) -> None:
    """Whoever changes a sale tells of it: a call from a terminal no less than one of the host."""
    write(shop, {"app.py": APP})
    assert alone_with(shop, gateway, f"sqlite:///{shop}/s", "send", "shop/pay", "amount=5") == (0, "")
    assert (shop / "heard").read_text() == "p1\n"


def test_an_app_without_them_is_told(shop: Path, gateway: Gateway) -> None:
    """An app.py with no Callsheet is worth a warning, one that does not load an error; neither is a traceback."""
    write(shop, {"app.py": "from flask import Flask\napp = Flask('x')\n"})
    code, errors = alone_with(shop, gateway, "memory:", "worker", "--once")
    assert (code, "app.py has no Callsheet(app)" in errors) == (0, True)
    write(shop, {"app.py": "app = 5\n"})
    code, errors = alone_with(shop, gateway, "memory:", "worker", "--once")
    assert (code, "app.py makes no Flask app" in errors, "Traceback" in errors) == (2, True, False)
    write(shop, {"app.py": "\n\nraise OSError('no disk')\n"})
    code, errors = alone_with(shop, gateway, "memory:", "worker", "--once")
    assert (code, "Traceback" in errors) == (2, False)
    assert f"app.py does not run: OSError: no disk ({shop}/app.py:3)" in errors


@pytest.mark.parametrize("url", ["postgresql://nobody@/none?host=/nowhere", "postgresql://127.0.0.1:1/none"])
def test_a_store_that_is_not_there(shop: Path, url: str) -> None:
    """One sentence and an exit code; a worker whose store was there once waits for it instead."""
    ended = run(shop, "worker", "--once", CALLSHEET_STORE=url)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert "did not work: connection" in ended.stderr


def test_a_host_without_a_worker_leaves_due_work(shop: Path, gateway: Gateway) -> None:
    """Neither what is queued nor what follows is sent by the process of a request."""
    mapper = shop / "response_mappers/shop/pay.json.j2"
    mapper.write_text(mapper.read_text() + '{"send": "shop/read", "data": {"id": {{ response.id }}}}')
    app = Flask("shop", root_path=str(shop))
    engine = Callsheet(app, worker=False, base_urls={"shop": gateway.url}).engine
    engine.send("shop/pay", {"amount": 5})
    assert [call["state"] for call in engine.find("call")] == ["prepared", "succeeded"]


# Health ---------------------------------------------------------------------------------------------------------------


def test_health(shop: Path) -> None:
    """Who lives, how much is due, and whether it is too late; scripts go by the exit code."""
    engine = Engine(shop, environment=KEYS, files=OnlyHere(shop))
    asked = run(shop, "worker", "--health")
    assert (asked.exit_code, asked.stdout) == (2, "no worker lives\ndue: nothing\n")
    pulse = engine.workers.pulse(threads=3)
    pulse.beat()
    queue(engine, 1)
    asked = run(shop, "worker", "--health")
    assert (asked.exit_code, "due: 1 call, the longest since 20" in asked.stdout) == (0, True)
    assert f":{os.getpid()}  3 " in asked.stdout
    long_ago = instant(engine.clock.now().replace(year=2020))
    rows = [born_long_ago(engine, number, long_ago) for number in range(workers.COUNTED + 5)]
    engine.store.apply(rows)
    asked = run(shop, "worker", "--health", "--json")
    said = json.loads(asked.stdout)
    assert (asked.exit_code, said["state"], said["oldest"]) == (1, "late", long_ago)
    assert said["due"] == {"call": workers.COUNTED, "event": 0, "replay": 0, "reaction": 0}
    assert [worker["threads"] for worker in said["workers"]] == [3]
    assert f"due: {workers.COUNTED}+ call" in run(shop, "worker", "--health").stdout
    pulse.end()
    assert run(shop, "worker", "--health").exit_code == 2


def born_long_ago(engine: Engine, number: int, due: str) -> Change:
    plan = engine.plan("shop/pay", {"amount": 5}, operation=str(number))
    born = plan.born("prepared")
    return Change("insert", CALL, ANYWHERE, born.where, {**born.set, "due": due})


def test_a_silent_worker_is_taken_for_dead(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sign of life is given now and then, however often it is asked for; who gave none for long is forgotten."""
    engine = Engine(shop, environment=KEYS, files=OnlyHere(shop))
    pulse = engine.workers.pulse(threads=1)
    pulse.beat()
    (first,) = engine.find("worker")
    pulse.beat()
    assert engine.find("worker") == [first]
    monkeypatch.setattr(workers, "BEAT", 0)
    time.sleep(0.002)
    pulse.beat()
    (second,) = engine.find("worker")
    assert (second.id, second["began"], second["beat"] > first["beat"]) == (first.id, first["began"], True)
    assert len(engine.workers.health().workers) == 1
    aged(engine, {"name": first["name"]}, seconds=workers.SILENT + 1)
    assert (engine.workers.health().workers, engine.workers.health().state) == ((), "dead")
    aged(engine, {"name": first["name"]}, seconds=100_000, name="elsewhere:1")
    engine.workers.pulse(threads=1).beat()
    assert [worker["name"] for worker in engine.find("worker")] == [first["name"]]


def aged(engine: Engine, where: dict[str, Any], seconds: float, **more: Any) -> None:
    from datetime import timedelta

    beat = instant(engine.clock.now() - timedelta(seconds=seconds))
    engine.store.apply([Change("update", workers.WORKER, ANYWHERE, where, {"beat": beat, **more})])


def test_the_thread_of_a_host_gives_signs_of_life(shop: Path) -> None:
    """A host that does its own work needs no other worker, and --health knows."""
    app = Flask("shop", root_path=str(shop))
    callsheet = Callsheet(app, environment=KEYS)
    callsheet.worker.start()
    until(lambda: len(callsheet.engine.workers.health().workers) == 1)
    callsheet.worker.stop()
