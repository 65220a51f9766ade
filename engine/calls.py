"""The journal of calls: what is about to be sent is durable before the first byte leaves, and what came of it after.

    prepared ──claim──▶ sending ──┬─▶ succeeded   the answer was mapped, its records are in the same commit
                                  ├─▶ declined    the gateway refused
                                  ├─▶ not_done    provably not carried out
                                  ├─▶ unknown     perhaps carried out
                                  └─▶ unmapped    carried out; the answer is kept, and can be mapped again

A state changes only by an update that names the state expected. Hides: how a call is written down and read back.
"""

from __future__ import annotations

import hashlib
import json
from base64 import b32encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from engine.changes import FollowUp
from engine.dispatcher import Answer, Failure
from engine.errors import DataError, Problem
from engine.records import Change, Record, RecordType, Scope
from engine.request_types import Request, RequestType

LEASE = 60  # seconds; longer than any deadline, so that a lease never ends while its holder still waits
MAX_CHAIN = 5

_TEXT = {"type": "string"}
_LIST: Mapping[str, Any] = {"type": "array"}
_OBJECT: Mapping[str, Any] = {"type": "object"}

CALL = RecordType(
    "call",
    summary="One request that was, is or will be sent.",
    properties={
        "request_type": _TEXT,
        "operation": {**_TEXT, "description": "The caller's key of what is to be done once."},
        "key": {**_TEXT, "description": "Derived from the operation; the idempotency key where the gateway takes one."},
        "state": {"enum": ["prepared", "sending", "succeeded", "declined", "not_done", "unknown", "unmapped"]},
        "due": {**_TEXT, "description": "When a worker may take it."},
        "lease": {**_TEXT, "description": "Until when its holder is presumed alive."},
        "parent": {**_TEXT, "description": "The call or event that asked for it."},
        "depth": {"type": "integer"},
        "data": _OBJECT,
        "request": _OBJECT,
        "digest": {**_TEXT, "description": "Of the data, to tell a repeat from another operation."},
        "sent_at": _TEXT,
        "attempts": _LIST,
        "answer": _OBJECT,
        "message": _TEXT,
        "changed": {**_LIST, "description": "The records it changed: type, where."},
    },
    required=("request_type", "operation", "key", "state", "request", "data", "digest"),
    unique=(("key",),),
    index=("state", "due", "lease", "operation", "request_type", "parent"),
    within=(),
)

INSTALLATION = RecordType(
    "installation",
    summary="What this installation made up once and keeps.",
    properties={"name": _TEXT, "value": _TEXT},
    required=("name", "value"),
    unique=(("name",),),
    within=(),
)


ANYWHERE = Scope("")


def instant(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: such texts sort as the instants do."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03d}Z"


@dataclass(frozen=True, slots=True)
class Plan:
    """A call about to be born: everything its journal row says of it."""

    type: RequestType
    id: str
    operation: str
    key: str
    data: Mapping[str, Any]
    request: Request
    scope: Scope
    parent: str | None = None
    depth: int = 0

    def born(self, state: str, now: datetime) -> Change:
        """The change that writes the call down, once: nothing happens where the operation is known."""
        held = {"lease": instant(now + timedelta(seconds=LEASE)), "sent_at": instant(now)}
        properties: dict[str, Any] = {
            "request_type": self.type.name,
            "operation": self.operation,
            "key": self.key,
            "state": state,
            "parent": self.parent,
            "depth": self.depth,
            "data": self.data,
            "digest": digest(self.data),
            "request": frozen(self.request),
            "attempts": [],
            **(held if state == "sending" else {"due": instant(now)}),
        }
        return Change("insert", CALL, self.scope, {"id": self.id}, properties)


def settled(call: Record, **properties: Any) -> Change:
    """The change that ends a call's sending. It counts only while this process holds the lease it took."""
    held = {"state": ["sending"], "lease": call.get("lease")}
    released = {"lease": None, "due": None}
    return Change("update", CALL, call.scope, {"id": call.id}, {**released, **properties}, held, must=True)


def claimed(call: Record, now: datetime) -> Change:
    """The change that takes a call for sending; one process only wins it."""
    held = {"state": "sending", "lease": instant(now + timedelta(seconds=LEASE)), "due": None, "sent_at": instant(now)}
    return Change("update", CALL, call.scope, {"id": call.id}, held, {"state": [call["state"]]}, must=True)


def due(now: datetime, limit: int) -> Change:
    """The change that claims prepared calls whose time has come."""
    held = {"state": "sending", "lease": instant(now + timedelta(seconds=LEASE)), "due": None, "sent_at": instant(now)}
    where = {"state": ["prepared"], "due": {"lte": instant(now)}}
    return Change("update", CALL, ANYWHERE, where, held, limit=limit)


def demand_same(call: Record, data: Mapping[str, Any]) -> None:
    """Raise DataError where an operation is repeated with other data than it had."""
    if call["digest"] != digest(data):
        operation = call["operation"]
        message = f"the operation {operation!r} was begun with other data; a new operation needs a new key"
        raise DataError(call["request_type"], [Problem("/idempotency_key", message)])


def operation_key(salt: str, scope: Scope, request_type: str, operation: str) -> str:
    """The idempotency key of an operation: the same after a restart or a restored backup, and without personal data."""
    mode = "live" if scope.live else "test"
    text = f"{salt}|{scope.gateway}|{scope.account}|{mode}|{request_type}|{operation}"
    return b32encode(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()).decode().rstrip("=").lower()


def follow_up_operation(parent: str, label: str) -> str:
    """The operation of a follow-up call: derived, so that mapping its parent again sends nothing twice."""
    return f"{parent}>{label}"


def demand_depth(follow_up: FollowUp, depth: int) -> None:
    """Raise ValueError where follow-ups have follow-ups without end."""
    if depth > MAX_CHAIN:
        raise ValueError(f"{follow_up.request_type} would be the {depth}th call in a chain; {MAX_CHAIN} are allowed")


def digest(data: Mapping[str, Any]) -> str:
    """What tells one set of data from another."""
    return hashlib.sha256(json.dumps(data, sort_keys=True).encode()).hexdigest()


def frozen(request: Request) -> dict[str, Any]:
    """A request as the journal keeps it."""
    return {
        "method": request.method,
        "url": request.url,
        "headers": [list(pair) for pair in request.headers],
        "body": as_text(request.body),
    }


def thawed(kept: Mapping[str, Any]) -> Request:
    """The request that the journal keeps, byte for byte."""
    headers = tuple((name, value) for name, value in kept["headers"])
    return Request(kept["method"], kept["url"], headers, as_bytes(kept["body"]))


def kept_answer(answer: Answer, body: bytes) -> dict[str, Any]:
    """An answer as the journal keeps it; `body` is the answer's, its sealed parts sealed."""
    return {"status": answer.status, "headers": dict(answer.headers), "body": as_text(body), "seconds": answer.seconds}


def given_answer(kept: Mapping[str, Any]) -> Answer:
    """The answer that the journal keeps."""
    return Answer(kept["status"], kept["headers"], as_bytes(kept["body"]), kept["seconds"])


def attempt(result: Answer | Failure, kind: str, request_id: str | None, at: datetime) -> dict[str, Any]:
    """One line of a call's history."""
    line: dict[str, Any] = {"at": instant(at), "class": kind, "ms": round(result.seconds * 1000)}
    if isinstance(result, Answer):
        line |= {"phase": "answered", "status": result.status}
        if request_id and (named := result.headers.get(request_id.lower())):
            line["request_id"] = named
    else:
        line["phase"] = "sent" if result.sent else "not_sent"
    return line


def as_text(body: bytes) -> str:
    """Bytes as text that any JSON can carry, without loss: what is not UTF-8 becomes lone surrogates."""
    return body.decode("utf-8", "surrogateescape")


def as_bytes(text: str) -> bytes:
    """The bytes that `as_text` was given."""
    return text.encode("utf-8", "surrogateescape")
