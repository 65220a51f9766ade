"""A host with the example shop, and a sandbox in the place of the gateway, each on a port of this machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from flask import Flask

from engine.core import Engine
from engine.records import Record
from engine.sandbox import Material, Sandbox
from engine.sandbox.delivering import Poster
from engine.sandbox.serving import Served
from engine.seals import new_key
from engine.store.sql import SqlStore
from engine.web import Callsheet


class ShopHost:
    """`address` is the shop's, `engine` the host's, `sandbox` whoever plays the gateway."""

    def __init__(self, root: Path, sandbox: Sandbox, poster: Poster, serve: Callable[[Flask], str]) -> None:
        keys = {"CALLSHEET_SECRET_KEY": new_key(), "CALLSHEET_ENCRYPTION_KEY": new_key()}
        self.store = SqlStore(root / "store.sqlite3")
        environment = {**keys, **sandbox.secrets, "CALLSHEET_SANDBOX": sandbox.origin}
        self.sandbox, self.poster = sandbox, poster
        self.engine = Engine(root, store=self.store, environment=environment)
        self.app = Flask("shop", root_path=str(root))
        self.callsheet = Callsheet(self.app, engine=self.engine)
        origin = serve(self.app)
        sandbox.hosts["stripe"] = f"{origin}/callsheet/webhooks/stripe"
        self.address = f"{origin}/callsheet/shop"

    def find(self, type: str, **where: Any) -> list[Record]:
        """Records of a type, oldest first."""
        return self.engine.find(type, order="id", **where)

    def calls(self, name: str) -> list[str]:
        """The states of the calls of a request type, oldest first."""
        return [call["state"] for call in self.find("call", request_type=f"stripe/{name}")]

    def settled(self) -> None:
        """Wait until every event has come and done its work."""
        assert self.poster.drain(10)
        end = time.monotonic() + 30
        while self.find("event", state="received") or self.find("call", state=["prepared", "sending"]):
            assert time.monotonic() < end, "a worker left something undone"
            time.sleep(0.05)


@cache
def _material() -> Material:
    """Of the shipped files, read once for all tests."""
    return Material.read()


@contextmanager
def shop_host(root: Path, serve: Callable[[Flask], str]) -> Iterator[ShopHost]:
    """Open it with an empty database."""
    poster = Poster()
    sandbox = Sandbox(_material(), gateways=["stripe"], deliverer=poster)
    with Served(sandbox) as served:
        sandbox.origin = served.url
        host = ShopHost(root, sandbox, poster, serve)
        yield host
        poster.close()
        host.callsheet.worker.stop()
        host.engine._context.dispatcher.close()  # type: ignore[attr-defined]  # not every sender has lines to close
        host.store.close()
