"""What an engine does, step by step, told to whoever watches it: metrics, spans, or what a host adds.

    send            one call, from its data to its end
      render        data → the frozen request
      attempt       one try at the gateway, the wait for its turn included; its outcome is the class in the journal
        exchange    the request and its answer alone
      map           the answer → changes
      store         the commit of the records together with the call's end
    recover         an open call that a worker takes up; the steps inside are the same
    receive         a webhook, verified and kept
    process         what an event means, and the commit of it

Hides: that nobody's watching costs nothing, and that an observer which fails changes nothing that happens. A step holds
names of definitions only, of which there are as many as files: no id, no address of an object, nothing of the data.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Protocol

from engine.errors import (
    Conflict,
    DataError,
    MappingError,
    RejectedError,
    SettingError,
    SignatureError,
    TransportError,
    UnknownNameError,
    UnknownOutcome,
)
from engine.request_types import RequestType

Kind = Literal["send", "recover", "render", "attempt", "exchange", "map", "store", "receive", "process"]
OTHER = "other"  # the event types that no file is about, all together

log = logging.getLogger("engine")


@dataclass(slots=True)
class Step:
    """One step. `outcome`, `status` (of an answer) and `seconds` are known when it has ended.

    `name` is a request type's or, of a gateway's event, the event type's where a file is about it, else OTHER. `tries`
    counts the attempts before this one.
    """

    kind: Kind
    gateway: str
    name: str
    type: RequestType | None = None
    tries: int = 0
    outcome: str = ""
    status: int | None = None
    seconds: float = 0.0


class Observer(Protocol):
    """Somebody who watches. Both are called in the thread that does the step, steps inside others in between."""

    def began(self, step: Step) -> Any:
        """A step begins. What this returns is given to `ended`."""
        ...

    def ended(self, step: Step, begun: Any) -> None:
        """It has ended, well or not."""
        ...


class Watch:
    """Tells `observers` of every step."""

    def __init__(self, observers: Sequence[Observer] = ()) -> None:
        self._observers = tuple(observers)

    def step(
        self, kind: Kind, gateway: str, name: str, type: RequestType | None = None, tries: int = 0
    ) -> AbstractContextManager[Step]:
        """The step that a `with` block is; the block says the outcome where that is no plain success or failure."""
        return _Watched(self._observers, Step(kind, gateway, name, type, tries)) if self._observers else _UNWATCHED

    def of(self, kind: Kind, type: RequestType, tries: int = 0) -> AbstractContextManager[Step]:
        """A step of a call of `type`."""
        return self.step(kind, type.gateway.name, type.name, type, tries) if self._observers else _UNWATCHED


_UNWATCHED = nullcontext(Step("send", "", ""))


class _Watched(AbstractContextManager[Step]):
    def __init__(self, observers: tuple[Observer, ...], step: Step) -> None:
        self._observers, self._step = observers, step

    def __enter__(self) -> Step:
        self._begun = [self._begin(observer) for observer in self._observers]
        self._at = time.perf_counter()
        return self._step

    def __exit__(self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None) -> None:
        step = self._step
        step.seconds = time.perf_counter() - self._at
        step.outcome = step.outcome or _outcome(step, error)
        for observer, (is_begun, begun) in zip(reversed(self._observers), reversed(self._begun), strict=True):
            if is_begun:
                self._end(observer, begun)

    def _begin(self, observer: Observer) -> tuple[bool, Any]:
        try:
            return True, observer.began(self._step)
        except Exception:
            log.exception("an observer failed at the beginning of a step")
            return False, None

    def _end(self, observer: Observer, begun: Any) -> None:
        try:
            observer.ended(self._step, begun)
        except Exception:
            log.exception("an observer failed at the end of a step")


_CALL_OUTCOMES: tuple[tuple[tuple[type[Exception], ...], str], ...] = (
    ((RejectedError,), "declined"),
    ((TransportError,), "not_done"),
    ((UnknownOutcome,), "unknown"),
    ((MappingError,), "unmapped"),
    ((DataError, SettingError, SignatureError, UnknownNameError, Conflict), "refused"),
)


def _outcome(step: Step, error: BaseException | None) -> str:
    """The outcome of a step that says none itself."""
    if error is None:
        return "succeeded"
    whole = step.kind in {"send", "recover", "receive"}
    found = (outcome for kinds, outcome in _CALL_OUTCOMES if whole and isinstance(error, kinds))
    return next(found, "failed")
