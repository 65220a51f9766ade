"""Every mistake is answered by one clear sentence, and does no harm: the table is `mistakes.yml`."""

from __future__ import annotations

import shlex
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import yaml
from commands import Gateway, command, run
from hosts import SHOP

from engine.cli import output

TABLE: dict[str, dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("mistakes.yml").read_text("utf-8"))
KEYS = {"files", "replace", "set", "run", "typed", "code", "says"}


def put(root: Path, name: str, content: str | None) -> None:
    """Write a file of the table's, or make a folder of it."""
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    if content is None:
        path.unlink(missing_ok=True)
        path.mkdir()
    elif content.startswith("hex:"):
        path.write_bytes(bytes.fromhex(content.removeprefix("hex:")))
    else:
        path.write_text(content, "utf-8", newline="")


def contents(root: Path) -> dict[str, bytes]:
    """What stands in a folder, but for what the engine keeps for itself."""
    files = (path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    own = ("callsheet.sqlite3", ".callsheet/")
    return {str(at): path.read_bytes() for path in files if not str(at := path.relative_to(root)).startswith(own)}


@pytest.mark.parametrize("name", TABLE)
def test_a_mistake(name: str, shop: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """No traceback; the sentence; the exit code; nothing sent; every file as it was."""
    row = TABLE[name]
    assert set(row) <= KEYS
    for file, content in row.get("files", {}).items():
        put(shop, file, content)
    for file, (good, bad) in row.get("replace", {}).items():
        assert good in SHOP[file]
        put(shop, file, SHOP[file].replace(good, bad, 1))
    monkeypatch.chdir(shop)
    monkeypatch.setattr("engine.sending.RETRIES", 0)
    monkeypatch.delitem(sys.modules, "app", raising=False)
    before = contents(shop)
    away = {"CALLSHEET_SHOP_BASE_URL": gateway.url} | row.get("set", {})
    result = run(Path(), *shlex.split(row["run"]), typed=row.get("typed"), **away)
    assert row["says"] in result.output, result.output
    assert result.exit_code == row.get("code", 2)
    assert "Traceback" not in result.output
    assert "geheim9" not in result.output
    assert gateway.requests == []
    assert contents(shop) == before


# Where the process itself matters -------------------------------------------------------------------------------------


def shell(script: str, shop: Path, gateway: Gateway) -> subprocess.CompletedProcess[str]:
    """A shell's line in which $CALLSHEET is the command."""
    with command("--version", cwd=shop) as known:
        known.communicate()
    words = [shlex.quote(str(word)) for word in known.args]  # type: ignore[union-attr]
    told = {
        "CALLSHEET_SHOP_BASE_URL": gateway.url,
        "PYTHONPATH": str(Path(__file__).parent.parent),
        "PATH": "/bin:/usr/bin",
    }
    line = f'callsheet() {{ {" ".join(words[:-1])} "$@"; }}; {script}'
    return subprocess.run(["bash", "-c", line], cwd=shop, env=told, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("script", "code"),
    [
        ("callsheet send shop/pay amount=5 | true; exit ${PIPESTATUS[0]}", 0),
        ("callsheet send shop/pay amount=5 --json | true; exit ${PIPESTATUS[0]}", 0),
        ("callsheet send shop/pay amount=5 > /dev/full", 0),
        ("callsheet send shop/pay amount=5 >&-", 0),
        ("callsheet send shop/pay amount=5 >&- 2>&- <&-", 0),
        ("callsheet show shop/pay | true; exit ${PIPESTATUS[0]}", output.UNHEARD),
        ("callsheet show shop/pay > /dev/full", 2),
        ("callsheet list >&-", 0),
        ("callsheet send shop/pay --data - <&-", 2),
    ],
)
def test_an_output_that_nobody_can_read(script: str, code: int, shop: Path, gateway: Gateway) -> None:
    """What became of a call is in the exit code all the same: a reader that left is no refusal."""
    ended = shell(script, shop, gateway)
    assert (ended.returncode, "Traceback" in ended.stderr) == (code, False), ended.stderr
    assert len(gateway.requests) == (script.startswith("callsheet send") and "--data" not in script)


def test_a_call_that_is_stopped(shop: Path, gateway: Gateway) -> None:
    """Ctrl-C while it is under way: nobody knows yet, and the exit code says so."""
    reached, over = threading.Event(), threading.Event()

    def slow(*_: str) -> tuple[int, dict[str, str]]:
        reached.set()
        over.wait(20)
        return 200, {"id": "p1"}

    gateway.answer = slow
    with command("send", "shop/pay", "amount=5", cwd=shop, CALLSHEET_SHOP_BASE_URL=gateway.url) as running:
        assert reached.wait(20)
        running.send_signal(signal.SIGINT)
        said = running.communicate()[1]
        over.set()
    assert (running.returncode, "Traceback" in said) == (3, False)
    assert "stopped; shop/pay was PERHAPS carried out: `callsheet calls` tells" in said
    assert '"state": "sending"' in run(shop, "calls", "--json").output


def test_results_on_a_full_disk(shop: Path, gateway: Gateway) -> None:
    """The run stops and says so; the journal knows what was done, and the same command goes on."""
    put(shop, "rows.csv", "amount\n" + "".join(f"{number}\n" for number in range(1, 41)))
    gateway.answer = lambda _method, _path, body: (200, {"id": f"p{hash(body)}", "amount": 5})
    line = "CALLSHEET_STORE=memory: PYTHONDONTWRITEBYTECODE=1 callsheet run shop/pay rows.csv --concurrency 1"
    full = shell(f"ulimit -f 1; {line}", shop, gateway)
    assert "rows.results.csv cannot be written: File too large; the journal knows every call" in full.stderr, (
        full.stderr
    )
    assert (full.returncode, "Traceback" in full.stderr) == (2, False)
