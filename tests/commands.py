"""What tests of the command line share: a command run here or in a process of its own, a gateway, a host's folder.

The fixtures are every test's: `conftest` takes them from here.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hosts import SECRETS, SHOP, write

from engine.cli import group

KEYS = {name: value for name, value in SECRETS.items() if name != "SHOP_OTHER_HOOK"}
CHECKOUT = Path(__file__).parent.parent
Answer = tuple[int, Any]

_QUIET = ("STRIPE_SECRET_KEY", "STRIPE_WEBHOOK_SECRET", "CALLSHEET_STORE", "CALLSHEET_MODE", "COLUMNS")


def run(root: Path, *arguments: str, gateway: Gateway | None = None, typed: str | None = None, **env: str) -> Result:
    """`callsheet --root ROOT ARGUMENTS`, with `gateway` for every gateway; never a traceback, never a secret."""
    names = ("CALLSHEET_SHOP_BASE_URL", "CALLSHEET_STRIPE_BASE_URL")
    away = dict.fromkeys(names, gateway.url) if gateway else {}
    environment = {**dict.fromkeys(_QUIET), **away, **env}
    result = CliRunner().invoke(group, ["--root", str(root), *arguments], env=environment, input=typed)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exc_info
    for secret in KEYS.values():
        assert secret not in result.output
    return result


def process(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """A fresh interpreter, as a shell starts one."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("STRIPE", "CALLSHEET"))}
    told = {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1", "NO_COLOR": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-P", *arguments],
        cwd=cwd,
        env={**inherited, **told},
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def command(*arguments: str, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """`callsheet ARGUMENTS` in a process of its own."""
    return process("-c", "from engine.cli import main; main()", *arguments, cwd=cwd, **environment)


class Gateway:
    """A server that answers every request as `answer` says of (method, path, body), and remembers them."""

    def __init__(self) -> None:
        self.requests: list[tuple[str, str, str, dict[str, str]]] = []
        self.answer: Callable[[str, str, str], Answer] = lambda *_: (200, {"id": "p1", "amount": 5})
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                gateway.requests.append((self.command, self.path, body, dict(self.headers.items())))
                status, said = gateway.answer(self.command, self.path, body)
                raw = said if isinstance(said, bytes) else json.dumps(said).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("X-Request", "req_1")
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any  # noqa: N815 - the library calls them so

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """A gateway, started for one test and ended after it."""
    made = Gateway()
    yield made
    made.server.shutdown()
    made.server.server_close()
    made.thread.join()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """No shipped files, for tests that do not need them."""
    empty = tmp_path_factory.mktemp("shipped")
    monkeypatch.setattr("engine.reloading.shipped", lambda: empty)


@pytest.fixture
def bare_shop(tmp_path: Path, alone: None) -> Path:
    """A host of the shop's files, with its keys in .env and no store yet."""
    del alone
    return write(tmp_path, {**SHOP, ".env": "".join(f"{name}={value}\n" for name, value in KEYS.items())})


@pytest.fixture
def shop(bare_shop: Path, sqlite_master: Path) -> Path:
    """The same with an empty store."""
    shutil.copy(sqlite_master, bare_shop / "callsheet.sqlite3")
    return bare_shop
