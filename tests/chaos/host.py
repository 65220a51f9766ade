"""The engine under test: real files, a real store, a real dispatcher, and points around the last two."""

from __future__ import annotations

import shutil
import time
from pathlib import Path

from engine import calls
from engine.context import Clock
from engine.core import Engine
from engine.dispatcher import Dispatcher
from engine.store.sql import SqlStore

from .clock import Nights
from .gateway import HOST, SECRET
from .points import Points, WatchedDispatcher, WatchedStore

FILES = Path(__file__).parent / "files"
LEASE = 2  # seconds
PATIENCE = 0.5  # seconds until an answer is given up
HURRY = 10  # times as fast as they should be: the pauses between two attempts of one call


def engine_of(url: str, port: int, root: Path, nights: Nights, points: Points) -> Engine:
    """An engine that has read its files and opened nothing: every child opens its own. `root` becomes its folder."""
    shutil.copytree(FILES, root, dirs_exist_ok=True)
    calls.LEASE = LEASE
    return Engine(
        root,
        store=WatchedStore(SqlStore(url), points),
        dispatcher=WatchedDispatcher(Dispatcher(read=PATIENCE), points),
        base_urls={"bank": f"http://{HOST}:{port}/v1"},
        environment={"BANK_KEY": SECRET},
        clock=Clock(now=nights.now, sleep=lambda seconds: time.sleep(seconds / HURRY)),
    )
