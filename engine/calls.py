"""The journal of calls: what is about to be sent is durable before the first byte leaves, and what came of it after.

    prepared   waits to be sent            ▶ sending, cancelled
    sending    a process holds its lease   ▶ succeeded, declined, not_done, unknown, unmapped, prepared
    succeeded  answered and recorded
    declined   refused by the gateway
    not_done   provably not carried out    ▶ sending, prepared
    unknown    perhaps carried out         ▶ sending, resolved
    unmapped   answered, and not recorded  ▶ succeeded, declined, resolved
    resolved   a person said what it was   ▶ sending, prepared
    cancelled  nothing was sent, nothing will be

Who waits for a call begins it in `sending`; what a worker is to send begins in `prepared`, and goes back there while it
provably was not carried out. An unknown call is held again to be sent with its key and bytes, to be looked up, or to be
settled by an event; a sending one, when the lease of a dead process ended. Where nothing was done, or a person says so,
the same operation may begin anew.

A state changes only along this drawing, by an update that names the state expected and, while a process sends, the
lease it holds: who lost the lease changes nothing. Hides: how a call is written down and read back.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

from engine.changes import FollowUp
from engine.dispatcher import Answer, Failure
from engine.errors import Conflict, DataError, Problem
from engine.ids import short_digest
from engine.records import Change, Record, RecordType, Scope
from engine.redaction import MASK
from engine.request_types import Request, RequestType
from engine.seals import Sealer
from engine.values import unchanging

LEASE = 60  # seconds; longer than any deadline, so that a lease never ends while its holder still waits
MAX_CHAIN = 5

NEXT: Mapping[str, frozenset[str]] = {
    "prepared": frozenset({"sending", "cancelled"}),
    "sending": frozenset({"succeeded", "declined", "not_done", "unknown", "unmapped", "prepared"}),
    "succeeded": frozenset(),
    "declined": frozenset(),
    "not_done": frozenset({"sending", "prepared"}),
    "unknown": frozenset({"sending", "resolved"}),
    "unmapped": frozenset({"succeeded", "declined", "resolved"}),
    "resolved": frozenset({"sending", "prepared"}),
    "cancelled": frozenset(),
}
"""The drawing above: the states of a call, and those that may follow each."""

OPEN = frozenset({"prepared", "sending", "unknown", "unmapped"})
"""The states of calls of which more is to come."""

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
        "state": {"enum": list(NEXT)},
        "due": {**_TEXT, "description": "When a worker takes it next; absent where a person has to."},
        "lease": {**_TEXT, "description": "Until when its holder is presumed alive."},
        "queued": {"type": "boolean", "description": "Nobody waits for it: a worker sends it."},
        "parent": {**_TEXT, "description": "The call or event that asked for it."},
        "depth": {"type": "integer"},
        "data": _OBJECT,
        "request": _OBJECT,
        "digest": {**_TEXT, "description": "Of the data, writeOnly parts apart, to tell a repeat from another one."},
        "first_sent_at": {**_TEXT, "description": "When its first byte may have left: the key's window begins here."},
        "sent_at": _TEXT,
        "tries": {"type": "integer", "description": "How often a worker has come back to it."},
        "attempts": _LIST,
        "answer": _OBJECT,
        "message": _TEXT,
        "changed": {**_LIST, "description": "The records it changed: type, where."},
        "looked_up": {"type": "integer", "description": "How many look-ups in a row did not find it."},
        "resolution": {"enum": ["succeeded", "declined", "not_done"], "description": "What a person says it was."},
        "audit": {**_LIST, "description": "What people did to it: when, who, what, why."},
        "purged": {**_TEXT, "description": "When its data and bodies were removed; their hashes are kept."},
    },
    required=("request_type", "operation", "key", "state", "request", "data", "digest"),
    unique=(("key",),),
    index=("state", "due", "operation", "request_type", "parent"),
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

_sorted_json = json.JSONEncoder(sort_keys=True, default=str).encode
_any_json = json.JSONEncoder(default=str).encode


def instant(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds: such texts sort as the instants do. One without a zone is in UTC."""
    here = moment.astimezone(UTC) if moment.tzinfo not in _IN_UTC else moment
    minute = _minute(here.date(), here.hour, here.minute)
    return f"{minute}:{here.second:02d}.{here.microsecond // 1000:03d}Z"


_IN_UTC = (UTC, None)


@lru_cache(maxsize=64)  # the instants of a call lie in one minute, and its lease ends in the next
def _minute(day: date, hour: int, minute: int) -> str:
    return f"{day}T{hour:02d}:{minute:02d}"


def sorted_json(data: Any) -> str:
    """The JSON text of `data`, what is not JSON as text; one of equal data, unless its keys are of several kinds."""
    try:
        return _sorted_json(data)
    except TypeError:
        return _any_json(data)


@unchanging
class Plan:
    """A call about to be born: everything its journal row says of it.

    `now` is the instant at which it was planned. `shown` is the request as a person may see it. `sealer` encrypts what
    the data schema marks `writeOnly`; None where there is no such part in `data`. `text` is the JSON of `data` where it
    was written already, as `sorted_json` does.
    """

    type: RequestType
    id: str
    now: str
    operation: str
    key: str
    data: Mapping[str, Any] = field(repr=False)
    request: Request = field(repr=False)
    shown: Request
    scope: Scope
    parent: str | None = None
    depth: int = 0
    sealer: Sealer | None = None
    text: str | None = field(default=None, repr=False)

    def born(self, state: str, due: datetime | None = None) -> Change:
        """The change that writes the call down, once: nothing happens where the operation is known.

        Raises SettingError where there is something to seal and no key.
        """
        held = _held(self.now) if state == "sending" else {}
        properties: dict[str, Any] = {
            "request_type": self.type.name,
            "operation": self.operation,
            "key": self.key,
            "state": state,
            "parent": self.parent,
            "depth": self.depth,
            "data": self._with_write_only(self.sealer.seal) if self.sealer else self.data,
            "digest": self.digest,
            "request": frozen(self.request, self.sealer),
            "attempts": [],
            **(held | {"first_sent_at": held["sent_at"]} if held else {}),
            **({"due": instant(due) if due else self.now, "queued": True} if state == "prepared" else {}),
        }
        return Change("insert", CALL, self.scope, {"id": self.id}, properties)

    @property
    def digest(self) -> str:
        """What tells the data from other data, as far as it may be read: a short number could be guessed from it."""
        seen = self._with_write_only(lambda _: MASK) if self.sealer else self.data
        return hashlib.sha256((self.text or sorted_json(seen)).encode()).hexdigest()

    def demand_same(self, call: Record) -> None:
        """Raise DataError where the operation was begun with other data. Raises SignatureError where a key is gone."""
        same = call["digest"] == self.digest
        if same and self.sealer and not call.get("purged"):
            same = self.type.schema.with_write_only(call["data"], self.sealer.opened) == self.data
        if not same:
            message = f"the operation {self.operation!r} was begun with other data; a new operation needs a new key"
            raise DataError(self.type.name, [Problem("/idempotency_key", message)])

    def _with_write_only(self, change: Callable[[Any], Any]) -> Any:
        return self.type.schema.with_write_only(self.data, change)


def _held(now: str) -> dict[str, Any]:
    """What taking a call for sending at the instant `now` sets."""
    end = datetime.fromisoformat(now) + timedelta(seconds=LEASE)
    return {"state": "sending", "lease": instant(end), "due": None, "sent_at": now}


def moved(call: Record, **properties: Any) -> Change:
    """The change that moves a call on from the state it is seen in, under the lease it is held by.

    Raises Conflict where that state does not lead to the one in `properties`.
    """
    before, after = call["state"], properties.get("state", call["state"])
    if after != before and after not in NEXT[before]:
        raise Conflict(f"the call {call.id} is {before}, which does not lead to {after}")
    expected = {"state": [call["state"]], **({"lease": call.get("lease")} if call["state"] == "sending" else {})}
    end = {"lease": None, "due": None, **properties}
    return Change("update", CALL, call.scope, {"id": call.id}, end, expected, must=True, seen=call)


def taken(call: Record, now: datetime) -> Change:
    """The change that takes a call for sending; one process only wins it."""
    return moved(call, **_held(instant(now)))


_FORGOTTEN = ("answer", "looked_up", "message", "resolution", "tries")


def taken_anew(call: Record, now: datetime) -> Change:
    """The change that takes up what provably was not done, as if it had just been born: nothing old counts for it."""
    held = _held(instant(now))
    return _whole(moved(call, **dict.fromkeys(_FORGOTTEN), **held, first_sent_at=held["sent_at"]))


def queued_anew(call: Record, due: datetime) -> Change:
    """The same, for a worker to take it up at `due`."""
    waits = {"state": "prepared", "due": instant(due), "queued": True}
    return _whole(moved(call, **dict.fromkeys(_FORGOTTEN), **waits, first_sent_at=None))


def _whole(change: Change) -> Change:
    """`change`, made only while the call still has its bytes: without them it would be another request."""
    return replace(change, when={**change.when, "purged": None})


def may_be_taken_up(call: Record) -> bool:
    """Whether a call ended without having been carried out, so that its operation may begin again with its bytes."""
    ended = call.get("resolution") if call["state"] == "resolved" else call["state"]
    return bool(ended == "not_done") and not call.get("purged")


def due(now: datetime, limit: int, id: str | None = None) -> Change:
    """The change that claims prepared calls whose time has come; with an `id` that call alone."""
    held = _held(instant(now))
    where = {"state": ["prepared"], "due": {"lte": held["sent_at"]}}
    return _claim(where, held | {"first_sent_at": held["sent_at"]}, limit, id)


def unsettled(now: datetime, limit: int, id: str | None = None) -> Change:
    """The change that claims unknown calls whose time has come; with an `id` that call alone."""
    held = _held(instant(now))
    return _claim({"state": ["unknown"], "due": {"lte": held["sent_at"]}}, held, limit, id)


def abandoned(now: datetime, limit: int, id: str | None = None) -> Change:
    """The change that claims calls whose holder died or froze: whatever it did, perhaps it sent."""
    held = _held(instant(now))
    return _claim({"state": ["sending"], "lease": {"lte": held["sent_at"]}}, held, limit, id)


def _claim(where: Mapping[str, Any], held: Mapping[str, Any], limit: int, id: str | None) -> Change:
    return Change("update", CALL, ANYWHERE, {**where, **({"id": id} if id else {})}, held, limit=limit)


def key_is_anothers(attempts: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the gateway knows the key from other bytes, as after a backup was restored.

    What was done then bears another reference than ours, so only a person can tell what it was.
    """
    return any(line["class"] == "key_mismatch" for line in attempts)


def audited(call: Record, now: datetime, who: str, what: str, why: str) -> list[Any]:
    """A call's audit with one line more."""
    return [*(call.get("audit") or []), {"at": instant(now), "who": who, "what": what, "why": why}]


def operation_key(salt: str, scope: Scope, request_type: str, operation: str) -> str:
    """The idempotency key of an operation: the same after a restart or a restored backup, and without personal data."""
    mode = "live" if scope.live else "test"
    text = f"{salt}|{scope.gateway}|{scope.account}|{mode}|{request_type}|{operation}"
    return short_digest(text)


def follow_up_operation(parent: str, label: str) -> str:
    """The operation of a follow-up call: derived, so that mapping its parent again sends nothing twice."""
    return f"{parent}>{label}"


def demand_depth(follow_up: FollowUp, depth: int) -> None:
    """Raise ValueError where follow-ups have follow-ups without end."""
    if depth > MAX_CHAIN:
        raise ValueError(f"{follow_up.request_type} would be the {depth}th call in a chain; {MAX_CHAIN} are allowed")


def frozen(request: Request, sealer: Sealer | None) -> dict[str, Any]:
    """A request as the journal keeps it; with a `sealer`, its body sealed."""
    return {
        "method": request.method,
        "url": request.url,
        "headers": [list(pair) for pair in request.headers],
        **_kept_body(request.body, sealer),
    }


def thawed(kept: Mapping[str, Any], sealer: Sealer) -> Request:
    """The request that the journal keeps, byte for byte. Raises SignatureError and SettingError where it is sealed."""
    headers = tuple((name, value) for name, value in kept["headers"])
    return Request(kept["method"], kept["url"], headers, _body_of(kept, sealer))


def visible(kept: Mapping[str, Any]) -> Request:
    """The request as anybody may see it: without a body that is sealed."""
    return thawed({"body": "", **kept}, _NO_KEY)


def kept_answer(answer: Answer, body: bytes, sealer: Sealer | None) -> dict[str, Any]:
    """An answer as the journal keeps it; `body` is the answer's, sealed parts sealed. A `sealer` seals all of it."""
    head = {"status": answer.status, "headers": dict(answer.headers), "seconds": answer.seconds}
    return {**head, **_kept_body(body, sealer)}


def given_answer(kept: Mapping[str, Any], sealer: Sealer) -> Answer:
    """The answer that the journal keeps. Raises SignatureError and SettingError where it is sealed."""
    return Answer(kept["status"], kept["headers"], _body_of(kept, sealer), kept["seconds"])


def purged(call: Record, now: datetime) -> Change:
    """The change that removes what an ended call was given, sent and answered, and keeps what tells of it."""
    answer = {"answer": _hashed(call["answer"])} if call.get("answer") else {}
    properties = {"data": {}, "request": _hashed(call["request"]), **answer, "purged": instant(now)}
    return Change("update", CALL, call.scope, {"id": call.id}, properties, {"state": [call["state"]]})


def _hashed(kept: Mapping[str, Any]) -> dict[str, Any]:
    """A request or an answer with a hash in the place of its body; of a sealed one nothing is left."""
    head = {name: part for name, part in kept.items() if name not in {"body", "sealed_body"}}
    return {**head, "body": "", **({"sha256": sha256(kept["body"])} if "body" in kept else {})}


def sha256(text: str) -> str:
    """The hash of a body, of which `text` was made by `as_text`."""
    return hashlib.sha256(as_bytes(text)).hexdigest()


def is_private(call: Record) -> bool:
    """Whether a call was given something that its type marks `writeOnly`."""
    return "sealed_body" in call["request"]


_NO_KEY = Sealer(())


def _kept_body(body: bytes, sealer: Sealer | None) -> dict[str, str]:
    return {"body": as_text(body)} if sealer is None else {"sealed_body": sealer.seal(as_text(body))}


def _body_of(kept: Mapping[str, Any], sealer: Sealer) -> bytes:
    return as_bytes(kept["body"] if "body" in kept else sealer.open(kept["sealed_body"]))


def visible_answer(kept: Mapping[str, Any]) -> Answer:
    """The answer as anybody may see it: without a body that is sealed."""
    return given_answer({"body": "", **kept}, _NO_KEY)


def attempt(result: Answer | Failure, kind: str, request_id: str | None, at: str) -> dict[str, Any]:
    """One line of a call's history; `at` is the instant at which the request left."""
    line: dict[str, Any] = {"at": at, "class": kind, "ms": round(result.seconds * 1000)}
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
