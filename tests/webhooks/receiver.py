"""A process that receives webhooks on 127.0.0.1 until it is killed."""

from __future__ import annotations

import multiprocessing
import signal
from multiprocessing.connection import Connection
from pathlib import Path

from fault_server import HOST
from hosts import OnlyHere

from .events import SECRETS

_CONTEXT = multiprocessing.get_context("forkserver")  # a fork of a process with threads may never wake up


class Receiver:
    """One at a time; the next one takes over the store of the one before."""

    def __init__(self, root: Path, url: str) -> None:
        self._root, self._url = root, url
        self.start()

    def start(self) -> None:
        """Start a process and wait until it listens."""
        here, there = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_receive, args=(there, self._root, self._url), daemon=True)
        self._process.start()
        there.close()
        self.port: int = here.recv()
        here.close()

    def kill(self) -> None:
        """With SIGKILL: it does nothing more."""
        self._process.kill()
        self._process.join()
        assert self._process.exitcode == -signal.SIGKILL


def _receive(parent: Connection, root: Path, url: str) -> None:
    from flask import Flask
    from waitress.server import create_server  # type: ignore[import-untyped]

    from engine.core import Engine
    from engine.store.sql import SqlStore
    from engine.web import Callsheet

    engine = Engine(root, store=SqlStore(url), environment=SECRETS, files=OnlyHere(root))
    app = Flask("mill", root_path=str(root))
    Callsheet(app, engine=engine)
    server = create_server(app, host=HOST, port=0, threads=8)
    parent.send(server.effective_port)
    server.run()
