"""Stripe, played for the tests of recovery: an engine whose clock is moved and whose calls are lost at will."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from engine import Engine, UnknownOutcome
from engine.cases import answer_of, read_case
from engine.catalog import shipped
from engine.context import Clock
from engine.dispatcher import Answer, Failure
from engine.records import Record
from engine.reloading import Files
from engine.request_types import Request
from engine.seals import new_key
from engine.signatures import scheme_of, sign
from engine.store.memory import MemoryStore

CALL = "019b76da-a800-7000-8000-00000000a1da"  # as the cases of the look-ups have it
SECRET = "whsec_0123456789abcdef0123456789abcdef"
SECRETS = {
    "STRIPE_SECRET_KEY": "sk_test_0123456789abcdef",
    "STRIPE_WEBHOOK_SECRET": SECRET,
    "STRIPE_CONNECT_WEBHOOK_SECRET": SECRET,
    "CALLSHEET_ENCRYPTION_KEY": new_key(),
}
LOST = Failure("read_timeout", sent=True, message="no answer", seconds=0.1)


@dataclass
class World:
    """An engine, a clock that a test moves, and a gateway that answers as it is told."""

    files: Files
    now: datetime = datetime(2026, 1, 1, tzinfo=UTC)
    answers: list[Answer | Failure] = field(default_factory=list)
    sent: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        ids = self._ids()
        self.engine = Engine(
            files=self.files,
            store=MemoryStore(),
            dispatcher=self,
            environment=SECRETS,
            clock=Clock(lambda: self.now, lambda: next(ids), lambda _: None),
        )

    @staticmethod
    def _ids() -> Iterator[str]:
        yield CALL
        number = 0
        while number := number + 1:
            yield f"019b76da-a800-7000-8000-{number:012x}"

    def send(
        self, request: Request, *, credentials: Mapping[str, str], deadline: float, answer_limit: int | None = None
    ) -> Answer | Failure:
        """What the engine calls to send."""
        del credentials, deadline, answer_limit
        self.sent.append(request)
        return self.answers.pop(0)

    def loses(self, name: str, data: Mapping[str, Any]) -> None:
        """Send a call that is never answered."""
        self.answers += [LOST] * 3
        with pytest.raises(UnknownOutcome):
            self.engine.send(f"stripe/{name}", data)

    def looks_up(self, *answers: Answer | Failure) -> None:
        """Let the window of the key pass, and a worker come."""
        self.now += timedelta(hours=13)
        self.answers += answers
        self.engine.run_due()
        assert self.answers == []

    def hears(self, type: str, thing: Mapping[str, Any], **event: Any) -> None:
        """Receive an event about `thing`."""
        told = {"id": f"evt_{type}", "type": type, "livemode": False, "data": {"object": thing}, **event}
        body = json.dumps(told).encode()
        self.engine.receive("stripe", sign(scheme_of("stripe"), SECRET, body, self.now.timestamp()), body)

    @property
    def call(self) -> Record:
        return self.engine.find("call", order="id")[0]

    def kept(self, type: str) -> list[Record]:
        return self.engine.find(type)


def told(name: str) -> dict[str, Any]:
    """The case NAME/STORY of a request type."""
    return dict(read_case(shipped() / "tests/cases/request_types/stripe" / f"{name}.yml").told)


def found_by(find: str, story: str = "found") -> Answer | Failure:
    return answer_of(told(f"{find}/{story}")["receives"])


def thing_of(find: str, story: str = "found") -> dict[str, Any]:
    """The object with our reference in the case of a look-up."""
    things = told(f"{find}/{story}")["receives"]["body"]["data"]
    return next(dict(one) for one in things if one["metadata"].get("callsheet_call") == CALL)


def answered(**body: Any) -> Answer:
    return Answer(200, {"content-type": "application/json"}, json.dumps(body).encode(), 0.01)


def listed(*things: Any, more: bool = False) -> Answer:
    return answered(object="list", data=list(things), has_more=more)
