"""`callsheet serve`, `test` and `demo` in processes of their own, and `flask callsheet`."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import CliRunner
from commands import CHECKOUT, KEYS, Gateway, command, process, run
from hosts import SHOP, write

from engine.cli import group
from engine.cli.opening import Opening
from engine.cli.running import served_app
from engine.core import Engine
from engine.queues.embedded import Worker


@pytest.fixture
def shop(bare_shop: Path) -> Path:
    """Without a store yet."""
    return bare_shop


def test_serve_answers_and_ends_cleanly(tmp_path: Path) -> None:
    """With the app of the folder; Ctrl-C is no error to look at."""
    CliRunner().invoke(group, ["init", str(tmp_path)])
    with command("serve", "--port", "0", "--reload", cwd=tmp_path) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        url = running.stdout.readline().split(" at ")[1].split()[0]
        assert running.stdout.readline() == f"an example shop is at {url}/callsheet/shop/\n"
        with urlopen(url) as answer:
            page = answer.read().decode()
        assert page.startswith("<h1>It runs</h1>")
        with urlopen(url + page.partition('href="')[2].partition('"')[0]) as answer:
            assert "stripe/create_payment" in answer.read().decode()
        running.send_signal(signal.SIGINT)
        assert running.stdout.read() == "\nstopped\n"
        assert "Traceback" not in running.stderr.read()


def test_serve_ends_as_cleanly_where_nobody_sits_at_it(tmp_path: Path) -> None:
    """A supervisor sends SIGTERM; no folder of a sandbox is left."""
    (tmp_path / "temporary").mkdir()
    sandbox = ("serve", "--sandbox", "--port", "0")
    with command(*sandbox, cwd=tmp_path, TMPDIR=str(tmp_path / "temporary")) as running:
        assert running.stdout is not None
        while not running.stdout.readline().startswith("an example shop"):
            assert running.poll() is None
        assert list((tmp_path / "temporary").iterdir())
        running.send_signal(signal.SIGTERM)
        output, error = running.communicate(timeout=20)
    assert (running.returncode, output.strip(), error) == (0, "stopped", "")
    assert not list((tmp_path / "temporary").iterdir())


def test_serve_says_where_the_console_is(tmp_path: Path) -> None:
    """From an empty folder to somebody who may sign in, by the commands that the README shows."""
    CliRunner().invoke(group, ["init", str(tmp_path)])
    typed = "correct horse battery\n" * 2
    line = CliRunner().invoke(group, ["--root", str(tmp_path), "console", "password", "ann"], input=typed).stdout
    with (tmp_path / ".env").open("a") as env:
        env.write(line)
    with command("serve", "--port", "0", cwd=tmp_path) as running:
        assert running.stdout is not None
        running.stdout.readline()
        console = running.stdout.readline().partition("the console is at ")[2].strip()
        with urlopen(console) as answer:
            assert (answer.status, answer.url) == (200, f"{console}sign-in?next=/callsheet/console/")
        running.send_signal(signal.SIGINT)


def test_serve_warns_of_a_store_that_cannot_be_reached(tmp_path: Path) -> None:
    """It serves all the same, for a server may come up later."""
    CliRunner().invoke(group, ["init", str(tmp_path)])
    with (tmp_path / ".env").open("a") as env:
        env.write("CALLSHEET_STORE=postgresql://ann@127.0.0.1:1/shop\n")
    with command("serve", "--port", "0", cwd=tmp_path) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        url = running.stdout.readline().split(" at ")[1].split()[0]
        said = running.stderr.readline()
        assert said.startswith("Warning: the store postgresql://ann@127.0.0.1:1/shop did not work: ")
        assert said.endswith("Whatever needs the store fails until it works.\n")
        with urlopen(f"{url}/callsheet/static/pages.css") as answer:
            assert answer.status == 200
        running.send_signal(signal.SIGINT)


def test_a_folder_without_an_app_is_served_as_well(shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its forms and webhooks."""
    monkeypatch.setattr(Worker, "start", lambda _: None)  # nothing is due, and nobody would end its thread
    app = served_app(Opening(shop), reload=False)
    assert app.test_client().post("/callsheet/webhooks/shop", data=b"{}").status_code == 400


def test_serve_says_what_is_wrong_with_an_app(tmp_path: Path) -> None:
    """A file without an app is refused; an app without callsheet is served, with a warning."""
    write(tmp_path, {"request_types/.gitkeep": "", "app.py": "app = 5\n"})
    with command("serve", "--port", "0", cwd=tmp_path) as refused:
        said = refused.communicate()[1]
    assert (refused.returncode, "app.py makes no Flask app" in said) == (2, True)
    write(tmp_path, {"app.py": "from flask import Flask\napp = Flask('x')\n"})
    with command("serve", "--port", "0", cwd=tmp_path) as served:
        assert served.stderr is not None
        assert "app.py has no Callsheet(app)" in served.stderr.readline()
        served.send_signal(signal.SIGINT)


def test_test_runs_the_cases_of_the_folder(tmp_path: Path) -> None:
    """One that does not hold says what differs, without a traceback."""
    CliRunner().invoke(group, ["--root", str(tmp_path), "new", "acme/order", "--base-url", "https://a.example"])
    case = tmp_path / "tests/cases/request_types/acme/order/success.yml"
    (case.parent / "wrong.yml").write_text(case.read_text().replace('body: {"name": "Lamp"}', 'body: {"name": "Lump"}'))
    with command("test", cwd=tmp_path) as running:
        shown = running.communicate()[0]
    assert (running.returncode, "1 failed, 1 passed" in shown) == (1, True)
    assert "sends: body: {'name': 'Lump'}" in shown
    assert "def runtest" not in shown
    nowhere = run(tmp_path, "test", str(tmp_path / "none"))
    assert (nowhere.exit_code, "is not there" in nowhere.output) == (2, True)


FAULTY = {
    "request_types/acme/pay/key.yml": (
        "claim: it is good\ndat: {}\n",
        "key.yml:2:1: /dat: is not known here; did you mean 'data'?",
    ),
    "request_types/acme/pay/short.yml": (
        "claim: x\n",
        "short.yml:1:1: /claim: 'x' is too short: 5 characters are wanted at least",
    ),
    "request_types/acme/pay/empty.yml": ("", "empty.yml:1:1: /claim: is required"),
}
UNKNOWN = {
    "request_types/acme/gone/a.yml": ("", "gone/a.yml:1:1: there is no request type 'acme/gone'"),
    "request_types/acne/pay/a.yml": ("", "acne/pay/a.yml:1:1: there is no gateway 'acne'; did you mean 'acme'?"),
    "request_types/acme/pay/type.yml": ("before: {sales: [{}]}\n", "type.yml:2:10: there is no record type 'sales'"),
    "request_types/acme/pay/after.yml": ("after: {sales: []}\n", "after.yml:2:9: there is no record type 'sales'"),
    "request_types/acme/pay/bare.yml": ("before: {sale: [{}]}\n", "bare.yml:2:10: insert sale: /number: is required"),
    "webhook_processors/acme/done/a.yml": ("event: {}\n", "done/a.yml:1:1: acme receives no events: "),
    "webhook_processors/bell/done/a.yml": ("event: {}\nendpoint: b\n", "a.yml:3:1: there is no endpoint 'b'"),
    "webhook_processors/bell/done/b.yml": ("", "b.yml:1:1: a case of a webhook has an event:"),
}


def test_test_says_what_is_wrong_with_a_case(tmp_path: Path) -> None:
    """Where it stands and in one sentence, whether it is misspelt or about something that there is not."""
    hook = "webhook: {scheme: github, secrets: [BELL_HOOK], type: '{{ event.type }}'}\n"
    files = {
        "request_types/acme/_gateway.yml": "base_url: https://a.example\n",
        "request_types/acme/pay.yml": "summary: Pay.\nmethod: GET\nurl: /pay\n",
        "request_types/bell/_gateway.yml": f"base_url: https://b.example\n{hook}",
        "response_mappers/records/sale.yml": "summary: A sale.\nrequired: [number]\nunique: [number]\n"
        "properties: {number: {type: integer}}\n",
    }
    told = {name: text for name, (text, _) in FAULTY.items()}
    told |= {name: f"claim: it is good\n{text}" for name, (text, _) in UNKNOWN.items()}
    write(tmp_path, {**files, **{f"tests/cases/{name}": text for name, text in told.items()}})
    with command("test", "tests/cases", "--continue-on-collection-errors", cwd=tmp_path) as running:
        shown = running.communicate()[0]
    assert f"{len(UNKNOWN)} failed, {len(FAULTY)} errors" in shown
    lines = shown.splitlines()
    for _, said in [*FAULTY.values(), *UNKNOWN.values()]:
        assert any(line.startswith("tests/cases/") and said in line for line in lines), said
    assert "Traceback" not in shown
    assert "def " not in shown


def test_the_demo_runs_the_main_job(tmp_path: Path) -> None:
    """Without a terminal it returns when done, and leaves nothing behind."""
    with command("demo", cwd=tmp_path) as running:
        shown, errors = running.communicate()
    assert (running.returncode, errors) == (0, "")
    for part in (
        "1. A customer comes with a card",
        "heard     charge.succeeded  processed",
        "state=authorized",
        "heard     charge.captured  processed",
        "state=partially_refunded",
        "402 in ",
        "heard     account.updated  processed",
        "so sent   stripe/get_account  succeeded",
        "state=verified",
        "payment      partially_refunded  external_id=order-18 amount_cents=2500",
        "transfer     paid",
        "12 calls and 11 events in ",
    ):
        assert part in shown
    assert list(tmp_path.iterdir()) == []


def test_the_demo_stays_where_somebody_looks(tmp_path: Path) -> None:
    """Until Ctrl-C; from another terminal its records are seen, and more can be sent."""
    ours, theirs = pty.openpty()
    code = "from engine.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "NO_COLOR": "1", "COLUMNS": "200", "TERM": "dumb"}
    running = subprocess.Popen(
        [sys.executable, "-P", "-c", code, "demo"], cwd=tmp_path, env=environment, stdin=theirs, stdout=theirs
    )
    os.close(theirs)
    shown = ""
    while "callsheet init shop" not in shown:
        shown += os.read(ours, 65536).decode()
    found = re.search(r"--root (\S+) records", shown)
    assert found
    root = Path(found[1])
    paying = ["send", "stripe/create_payment", "amount=700", "currency=usd", "source=tok_visa"]
    with command("--root", str(root), *paying, cwd=tmp_path) as sending:
        said = sending.communicate()[0]
    assert (sending.returncode, "state=paid" in said) == (0, True)
    assert run(root, "records", "payment").output.count("usd") == 4
    running.send_signal(signal.SIGINT)
    assert running.wait(20) == 0
    assert os.read(ours, 65536).decode().strip() == "stopped"
    os.close(ours)
    assert not root.exists()


def test_flask_callsheet_uses_the_apps_own_engine(tmp_path: Path, gateway: Gateway) -> None:
    """Its folder and its store, wherever the command is started."""
    home = write(tmp_path / "home", SHOP)
    code = f"""
from flask import Flask
from engine.web import Callsheet
app = Flask(__name__, root_path={str(home)!r})
Callsheet(app, base_urls={{"shop": {gateway.url!r}}}, environment={KEYS | {"CALLSHEET_SECRET_KEY": "k" * 40}!r})
"""
    write(tmp_path, {"host.py": code})
    ask = "from engine.cli import group; from flask.cli import FlaskGroup; cli = FlaskGroup(); "
    ask += "cli.add_command(group); cli()"
    arguments = ["-c", ask, "callsheet", "send", "shop/pay", "amount=5"]
    with process(*arguments, cwd=tmp_path, FLASK_APP="host.py") as running:
        shown, errors = running.communicate()
    assert (running.returncode, "state=paid" in shown) == (0, True), errors
    assert [sale["gateway_id"] for sale in Engine(home, environment=KEYS).find("sale")] == ["p1"]


def test_flask_callsheet_tells_of_the_store_that_the_app_gives(tmp_path: Path) -> None:
    """Not of the one that a setting names, or that would be in the folder."""
    home, file = write(tmp_path / "home", SHOP), tmp_path / "given.sqlite3"
    code = f"""
from flask import Flask
from engine.core import Engine
from engine.store.sql import SqlStore
from engine.web import Callsheet
app = Flask(__name__, root_path={str(home)!r})
keys = {KEYS | {"CALLSHEET_SECRET_KEY": "k" * 40}!r}
Callsheet(app, engine=Engine({str(home)!r}, store=SqlStore({str(file)!r}), environment=keys))
"""
    write(tmp_path, {"host.py": code})
    ask = "from engine.cli import group; from flask.cli import FlaskGroup; cli = FlaskGroup(); "
    ask += "cli.add_command(group); cli()"
    for asked, said in (("status", "is not there yet"), ("upgrade", "is up to date"), ("status", "")):
        with process("-c", ask, "callsheet", "db", asked, cwd=tmp_path, FLASK_APP="host.py") as running:
            shown, errors = running.communicate()
        assert (running.returncode, shown.startswith(f"{file} {said}".rstrip())) == (0, True), (shown, errors)


def test_flask_callsheet_uses_the_folder_that_the_app_names(tmp_path: Path) -> None:
    """Every command, also those that need no engine."""
    home = write(tmp_path / "elsewhere", SHOP)
    code = f"""
from flask import Flask
from engine.web import Callsheet
app = Flask(__name__)
app.config["CALLSHEET_ROOT"] = {str(home)!r}
Callsheet(app, environment={KEYS | {"CALLSHEET_SECRET_KEY": "k" * 40}!r})
"""
    write(tmp_path, {"host.py": code})
    ask = "from engine.cli import group; from flask.cli import FlaskGroup; cli = FlaskGroup(); "
    ask += "cli.add_command(group); cli()"
    with process("-c", ask, "callsheet", "list", "gateways", cwd=tmp_path, FLASK_APP="host.py") as running:
        shown, errors = running.communicate()
    assert (running.returncode, "shop " in shown) == (0, True), errors
