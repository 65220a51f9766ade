"""A sandbox's events reach a host, and a host in sandbox mode needs nothing else."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest
from acme import ACME, RULES
from commands import command, run
from fault_server import FaultServer, answer, says
from hosts import write

from engine.sandbox.delivering import Poster
from engine.sandbox.events import Delivery
from engine.sandbox.hearing import _is_here

GOOD = answer(200, b"ok")
SECONDS = 20.0


@pytest.fixture
def poster() -> Iterator[Poster]:
    made = Poster(again=(0.01, 0.01))
    yield made
    made.close()


def delivery(url: str, type: str = "order.canceled", wait: float = 0.0) -> Delivery:
    return Delivery(url, {"Content-Type": "application/json", "Signature": "s"}, b"{}", type, wait)


@pytest.mark.parametrize(
    ("url", "here"),
    [
        ("http://127.0.0.1:5000/hook", True),
        ("http://[::1]/hook", True),
        ("https://localhost.shop.test/hook", False),
        ("http://[", False),
        ("", False),
    ],
)
def test_only_what_is_registered_on_this_machine_hears(url: str, here: bool) -> None:
    assert _is_here(url) == here


def test_an_event_is_posted(poster: Poster) -> None:
    """With its headers, and in the order of their times."""
    with FaultServer() as server:
        server.behave(GOOD, GOOD)
        poster.deliver([delivery(server.url("/late"), wait=0.05), delivery(server.url("/first"))])
        assert poster.drain(SECONDS)
    assert [one.target for one in server.requests] == ["/first", "/late"]
    assert (server.requests[0].headers["signature"], server.requests[0].body) == ("s", b"{}")


def test_an_event_that_is_not_taken_comes_again(poster: Poster) -> None:
    """Until the host takes it, or there were enough tries; a redirect is no yes."""
    with FaultServer() as server:
        server.behave(answer(503, b""), answer(302, b"", "Location: /elsewhere"), GOOD)
        poster.deliver([delivery(server.url("/a"))])
        assert poster.drain(SECONDS)
        assert [one.target for one in server.requests] == ["/a"] * 3
        server.behave(*[answer(503, b"")] * 9)
        poster.deliver([delivery(server.url("/b"))])
        assert poster.drain(SECONDS)
    assert [one.target for one in server.requests][3:] == ["/b"] * 3


def test_nobody_there_is_no_end(poster: Poster) -> None:
    """The next event is delivered all the same."""
    with FaultServer() as server:
        server.behave(GOOD)
        poster.now(delivery("http://127.0.0.1:1/nobody"))
        poster.now(delivery(server.url("/a")))
        assert poster.drain(SECONDS)
    assert [one.target for one in server.requests] == ["/a"]


def test_what_no_host_can_be_is_no_end(poster: Poster) -> None:
    """An address with a blank in it, as somebody may register, or an answer that is not HTTP."""
    with FaultServer() as server:
        server.behave(says(b"220 mail.shop.test\r\n"), GOOD)
        poster.deliver([delivery(server.url("/call sheet")), delivery(server.url("/a"))])
        assert poster.drain(SECONDS)
    assert [one.target for one in server.requests] == ["/a", "/a"]


# In processes ---------------------------------------------------------------------------------------------------------

APP = """\
from flask import Flask, jsonify
from engine.web import Callsheet

app = Flask(__name__)
callsheet = Callsheet(app)


@app.get("/order/<int:amount>")
def order(amount):
    made = callsheet.engine.send("acme/create_order", {"amount": amount}).response
    callsheet.engine.send("acme/cancel_order", {"id": made["id"]})
    return made["id"]


@app.get("/orders")
def orders():
    return jsonify([[one["gateway_id"], one["state"]] for one in callsheet.engine.find("order")])
"""


@contextmanager
def serving(root: Path, *arguments: str, **environment: str) -> Iterator[tuple[str, str, subprocess.Popen[str]]]:
    """A host in sandbox mode: its address, that of the sandbox, and its process."""
    with command("serve", "--sandbox", "--port", "0", *arguments, cwd=root, **environment) as running:
        assert running.stdout is not None
        url = running.stdout.readline().split(" at ")[1].split()[0]
        said = next(line for line in running.stdout if "acme is " in line)
        sandbox = said.split("acme is ")[1].split(",")[0].strip()
        yield url, sandbox, running
        running.send_signal(signal.SIGINT)
        assert running.wait(SECONDS) == 0


def read(url: str, **headers: str) -> Any:
    """What is answered to a GET."""
    with urlopen(Request(url, headers=headers), timeout=SECONDS) as answered:
        body = answered.read()
    return json.loads(body) if body[:1] in b"[{" else body.decode()


def test_a_host_in_sandbox_mode_needs_no_keys(tmp_path: Path) -> None:
    """It sends to the sandbox and hears its events; records and objects are there on another day."""
    write(tmp_path, {**ACME, "request_types/acme/_sandbox.yml": RULES, "app.py": APP})
    with serving(tmp_path) as (url, sandbox, _):
        made = read(f"{url}/order/5")
        until = time.monotonic() + SECONDS
        while read(f"{url}/orders") != [[made, "canceled"]] and time.monotonic() < until:
            time.sleep(0.02)
        assert read(f"{url}/orders") == [[made, "canceled"]]
        assert sandbox.endswith("/acme/v2")
    with serving(tmp_path, ACME_KEY="a real one", CALLSHEET_ACME_BASE_URL="https://127.0.0.1:1") as (url, _, _):
        assert read(f"{url}/orders") == [[made, "canceled"]]
        assert read(f"{url}/order/6") != made


def test_a_sandbox_follows_its_files(tmp_path: Path) -> None:
    """With --reload; a broken edit changes nothing."""
    write(tmp_path, {**ACME, "app.py": APP})
    case = tmp_path / "tests/cases/request_types/acme/create_order/placed.yml"
    with serving(tmp_path, "--reload") as (url, sandbox, running):
        assert read(f"{url}/order/5").startswith("ord_")
        case.write_text(case.read_text().replace("ord_1", "order-1"))
        assert read(f"{url}/order/5").startswith("order-")
        case.write_text("claim: [")
        assert read(f"{url}/order/5").startswith("order-")
        del sandbox, running


def test_no_sandbox_in_live_mode(tmp_path: Path) -> None:
    """Nor under `flask`."""
    write(tmp_path, {**ACME, ".env": "CALLSHEET_MODE=live\n"})
    with command("serve", "--sandbox", "--port", "0", cwd=tmp_path) as refused:
        said = refused.communicate()[1]
    assert (refused.returncode, "a sandbox is for test mode only" in said) == (2, True)


HOURS = {
    "request_types/acme/get_hours.yml": "summary: Read the hours.\nmethod: GET\nurl: /hours\n",
    "tests/cases/request_types/acme/get_hours/read.yml": """\
claim: the hours are read
data: {}
sends: {method: GET, url: "https://api.acme.test/v2/hours"}
receives: {status: 200, body: {from: 8, to: 17}}
""",
}


def test_a_sandbox_alone(tmp_path: Path) -> None:
    """Says how a host, or anybody, uses it, and follows its files."""
    write(tmp_path, ACME)
    with command("sandbox", "acme", "--port", "0", "--webhook", "http://127.0.0.1:1/hooks", cwd=tmp_path) as running:
        assert running.stdout is not None
        told = {}
        for line in running.stdout:
            name, _, value = line.strip().partition("=")
            told[name] = value
            if told.keys() >= {"CALLSHEET_SANDBOX", "ACME_KEY", "ACME_HOOK"}:
                break
        url = f"{told['CALLSHEET_SANDBOX']}/acme/v2/orders/ord_1"
        assert read(url, **{"X-Api-Key": told["ACME_KEY"]})["note"] == "Tea"
        write(tmp_path, HOURS)
        hours = f"{told['CALLSHEET_SANDBOX']}/acme/v2/hours"
        assert read(hours, **{"X-Api-Key": told["ACME_KEY"]}) == {"from": 8, "to": 17}
        running.send_signal(signal.SIGINT)
        assert running.wait(SECONDS) == 0
    nowhere = run(tmp_path, "sandbox", "acme", "--webhook", "file:///tmp")
    assert (nowhere.exit_code, "is no address" in nowhere.output) == (2, True)
    wrong = run(tmp_path, "sandbox", "acmee")
    assert (wrong.exit_code, "did you mean 'acme'?" in wrong.output) == (2, True)


def test_check_tells_what_is_wrong_with_a_sandbox_file(tmp_path: Path) -> None:
    """Like any other file's faults."""
    write(tmp_path, {**ACME, "request_types/acme/_sandbox.yml": "rotes: {}\n"})
    checked = run(tmp_path, "check")
    assert (checked.exit_code, "_sandbox.yml:1:1: 'rotes' is not known here" in checked.output) == (1, True)
