"""What the parts of an engine share: the store, the files, the settings, the clock.

Everything that would make a test guess (time, ids, keys, waiting) is a value here.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol, TypeVar

from engine.calls import ANYWHERE, LEASE, instant
from engine.catalog import Catalog
from engine.dispatcher import Sender
from engine.errors import EngineError
from engine.ids import new_id
from engine.observing import Watch
from engine.records import Change, Record, RecordType, Scope
from engine.seals import Sealer
from engine.settings import Settings
from engine.store import Store

T = TypeVar("T")

log = logging.getLogger("engine")


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _any_part(longest: float) -> float:
    """So that those who began to wait together do not come back together."""
    return random.uniform(0, longest)  # noqa: S311 - spreads load, keeps no secret


@dataclass(frozen=True, slots=True)
class Clock:
    """The time, new ids, and waiting, all in seconds.

    `pause` says how long to wait of at most so many, before a retry. `patience` is how long somebody waits for a whole
    send, retries included.
    """

    now: Callable[[], datetime] = _utc_now
    new_id: Callable[[], str] = new_id
    sleep: Callable[[float], None] = time.sleep
    pause: Callable[[float], float] = _any_part
    patience: float = 25.0  # a gunicorn sync worker is killed at 30

    def seconds(self) -> float:
        """The time in seconds since 1970."""
        return self.now().timestamp()


Task = Callable[[], object]
"""What is to be done with a row that was claimed: at once, for a claim does not last."""


def attempt(do: Callable[[], T]) -> T | None:
    """Do what can be done again later; what goes wrong is in the log and in its row, and stops nothing else."""
    try:
        return do()
    except EngineError as error:
        log.warning("%s", error)
    except Exception:  # a host's functions and files may raise anything, and whoever asked is owed their own answer
        log.exception("due work failed")
    return None


class Backlog(Protocol):
    """Rows of one kind that wait for a worker."""

    def take(self, limit: int, id: str | None = None) -> list[Task]:
        """Claim up to `limit` rows whose time has come (only `id`, where given), those longest due first."""
        ...


def claim(type: RecordType, states: Sequence[str], now: datetime, limit: int, id: str | None) -> Change:
    """The change that claims rows in one of `states` whose time has come: nobody else does for so long as a lease."""
    only = {"id": [id]} if id else {}  # a list is searched for in every scope, one id would be named in one
    where = {"state": states, "due": {"lte": instant(now)}, **only}
    held = {"due": instant(now + timedelta(seconds=LEASE))}
    return Change("update", type, ANYWHERE, where, held, limit=limit)


class KeyMaker(Protocol):
    """Makes the idempotency key of an operation: (scope, request type, operation) → text."""

    def __call__(self, scope: Scope, request_type: str, operation: str) -> str: ...


@dataclass(frozen=True, slots=True)
class Context:
    """The parts. `commit` is the store's `apply`, which also notes who must be told of the records changed.

    `watch` tells of what is done.
    """

    store: Store
    commit: Callable[[Sequence[Change]], list[Record]]
    catalog: Callable[[], Catalog]
    settings: Settings
    dispatcher: Sender
    sealer: Sealer
    key: KeyMaker
    clock: Clock
    watch: Watch
