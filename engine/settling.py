"""What an exchange means for the store: the answer is mapped, and its records and the call's end are one commit.

Hides: how a verdict becomes a state, records, follow-up calls and an error. Whatever goes wrong here goes wrong after
the gateway has acted, so the answer is always kept.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from engine import calls
from engine.answers import Verdict, judge
from engine.calls import Plan, instant
from engine.changes import FollowUp, Mapper
from engine.context import Context
from engine.dispatcher import HELD_BACK, Answer, Failure
from engine.errors import (
    CallError,
    Conflict,
    EngineError,
    MappingError,
    RejectedError,
    StoreError,
    TransportError,
    UnknownOutcome,
    reason,
)
from engine.planning import plan
from engine.pointers import replaced_at
from engine.records import Change, Record, RecordType, Scope
from engine.redaction import hidden
from engine.request_types import RequestType
from engine.seals import is_sealed
from engine.store import Store
from engine.values import unchanging
from engine.windows import IN_ANOTHER_MODE, LATER, LONGEST_ASKED, MOST_TRIES, comes_back, pause_before
from engine.write_only import texts

PAUSES = (0.2, 2.0)  # seconds between tries to write down what the gateway answered

log = logging.getLogger("engine")


@dataclass(frozen=True, slots=True)
class Result:
    """What a send brought: the call's journal row (None for a GET), the parsed answer, and the records it changed.

    Every record stands there once, as it was committed. One that an event brought up to date first is among them.

    `redirect` is the hosted page to send the browser to, where the request type names one. `cut_off`: of a list that
    has more items than its file's limit, or than the gateway gave.
    """

    call: Record | None
    response: Any
    records: list[Record] = field(default_factory=list)
    redirect: str | None = None
    cut_off: bool = False


@unchanging
class Exchange:
    """What came of sending one request: the last attempt's result and verdict, and all attempts."""

    result: Answer | Failure
    verdict: Verdict
    attempts: list[dict[str, Any]]
    sent_at: str


@unchanging
class Subject:
    """The call that an answer belongs to, as a mapper sees it."""

    id: str
    data: Mapping[str, Any]
    scope: Scope
    operation: str
    depth: int

    @classmethod
    def of(cls, call: Record | Plan) -> Subject:
        """Of a journal row, or of a plan that is not journaled."""
        if isinstance(call, Plan):
            return cls(call.id, call.data, call.scope, call.operation, call.depth)
        return cls(call.id, call["data"], call.scope, call["operation"], call.get("depth") or 0)


class Settling:
    """Ends calls."""

    def __init__(self, context: Context) -> None:
        self._with = context

    def settle(self, call: Record, type: RequestType, exchange: Exchange) -> Result:
        """Commit what the exchange means. Returns the result, or raises what it was in place of a success."""
        try:
            return self._settle_again(call, type, exchange)
        except StoreError as error:
            raise _not_written(call, type, exchange, error) from None

    def _settle_again(self, call: Record, type: RequestType, exchange: Exchange) -> Result:
        """Settle, though the store may fail at first: an answer to what is sent only once cannot be had again."""
        pauses = iter(PAUSES)
        while True:
            try:
                return self._settle(call, type, exchange)
            except Conflict:
                if self._is_held(call):
                    raise
                return self.outcome(self.as_it_is(call))  # this process was given up for dead, another one took over
            except StoreError:
                pause = next(pauses, None)
                if pause is None:
                    raise
                self._with.clock.sleep(pause)

    def _settle(self, call: Record, type: RequestType, exchange: Exchange) -> Result:
        exchange = self.sealed(type, exchange)
        verdict = exchange.verdict
        facts = self._facts(type, call, exchange, verdict)
        if verdict.outcome not in {"succeeded", "declined"}:
            raise error_of(type, self.end_open(call, type, verdict, facts), verdict)
        if not (type.key_header or type.idempotent):
            call = self._keep_answer(call, facts)
        try:
            with self._with.watch.of("map", type):
                changes = self.mapped(type, Subject.of(call), exchange)
            end = calls.moved(call, state=verdict.outcome, changed=named(changes), **facts)
            with self._with.watch.of("store", type):
                *records, ended = self._with.commit([*changes, end])
        except Conflict as error:
            if not self._is_held(call):
                raise
            raise self._unmapped(call, type, verdict, facts, error) from None
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - the answer is kept, whatever a mapper's author got wrong
            raise self._unmapped(call, type, verdict, facts, error) from None
        if verdict.outcome == "declined":
            raise error_of(type, ended, verdict)
        if len(records) < len(changes) and any(_was_passed_over(change, records) for change in changes):
            records = [*changed_by(self._with.store, self._with.catalog().record_types, ended), *records]
        return self.result(ended, type, exchange.result, verdict.response, records)

    def as_it_is(self, call: Record) -> Record:
        """The call's row now, whoever changed it."""
        return self._with.store.find("call", where={"id": call.id}, limit=1)[0]

    def _is_held(self, call: Record) -> bool:
        now = self.as_it_is(call)
        return (now["state"], now.get("lease")) == (call["state"], call.get("lease"))

    def mapped(self, type: RequestType, subject: Subject, exchange: Exchange) -> list[Change]:
        """The changes that the mapper makes of an answer; none where there is no mapper. Raises ValueError."""
        verdict = exchange.verdict
        mapper = self._mapper(type, verdict)
        if mapper is None:
            return []
        names = {
            "data": subject.data,
            "response": verdict.response,
            "status": exchange.result.status if isinstance(exchange.result, Answer) else None,
            "headers": exchange.result.headers if isinstance(exchange.result, Answer) else {},
            "now": instant(self._with.clock.now()),
            "sent_at": exchange.sent_at,
            "call_id": subject.id,
        }
        changes = mapper.changes(names, subject.scope, waits=False)
        return self.journaled(changes, subject)

    def _mapper(self, type: RequestType, verdict: Verdict) -> Mapper | None:
        name = type.name if verdict.outcome == "succeeded" else f"{type.name}.declined"
        return self._with.catalog().mappers.get(name)

    def hiding(self, type: RequestType, call: Record) -> Callable[[str], str]:
        """What takes out of a text what the call was given to be hidden. Raises SignatureError and SettingError."""
        if not calls.is_private(call):
            return str
        data = type.schema.with_write_only(call["data"], self._with.sealer.opened)
        values = list(texts(part for _, part in type.schema.write_only(data)))
        return lambda text: hidden(text, values)

    def journaled(self, changes: list[Change | FollowUp], parent: Subject) -> list[Change]:
        """`changes` with every follow-up as the birth of its call. Raises ValueError where its data does not fit."""
        return [self._born(change, parent) if isinstance(change, FollowUp) else change for change in changes]

    def _born(self, follow_up: FollowUp, parent: Subject) -> Change:
        depth = parent.depth + 1
        calls.demand_depth(follow_up, depth)
        operation = calls.follow_up_operation(parent.operation, follow_up.label)
        try:
            planned = plan(self._with, follow_up.request_type, follow_up.data, operation, parent=parent.id, depth=depth)
            if planned.scope.live == parent.scope.live:
                return planned.born("prepared")
        except EngineError as error:
            raise ValueError(f"the call {follow_up.label!r} that follows cannot be made: {error}") from None
        raise ValueError(f"the call {follow_up.label!r} that follows is left to a host in the other mode")

    def outcome(self, call: Record) -> Result:
        """What came of a call that was made before: its result, or the error it ended in."""
        type, state = self._with.catalog().request_type(call["request_type"]), call["state"]
        if state == "resolved":
            raise UnknownOutcome(f"{type.name} was {call['message']}", call)
        answer = self._answer(call)
        verdict = self._verdict(type, call, answer)
        if state == "unmapped":
            raise _unmapped_error(call, verdict)
        if state == "succeeded":
            records = changed_by(self._with.store, self._with.catalog().record_types, call)
            return self.result(call, type, answer, verdict.response, records)
        outcome: Any = {"declined": "declined", "not_done": "not_done", "cancelled": "not_done"}.get(state, "unknown")
        raise error_of(type, call, replace(verdict, outcome=outcome))

    def _verdict(self, type: RequestType, call: Record, answer: Answer | None) -> Verdict:
        """What the kept answer says, or what the row does where there is none."""
        state = call["state"]
        if answer is not None:
            verdict = judge(type, answer, first=True)
            return replace(verdict, message=self.hiding(type, call)(verdict.message))
        idle = (
            "it was cancelled" if state == "cancelled" else f"{type.name} is being sent by another process; ask again"
        )
        said = call.get("message") or idle
        if call.get("purged") and state == "not_done":
            said = f"{said}; what it was to send was purged at {call['purged']}, so do it as a new operation"
        return Verdict("unknown", state, said)

    def _answer(self, call: Record) -> Answer | None:
        """The answer that a call's row keeps. Raises SignatureError and SettingError where it is sealed."""
        kept = call.get("answer")
        return calls.given_answer(kept, self._with.sealer) if kept and not call.get("purged") else None

    def result(
        self,
        call: Record | None,
        type: RequestType,
        answer: Answer | Failure | None,
        response: Any,
        records: list[Record],
    ) -> Result:
        """The result of a success; `response` is what `answer` says, its sealed parts sealed."""
        types = self._with.catalog().record_types
        said: dict[str, Any] = {}
        if type.leads_on and isinstance(answer, Answer) and answer.status not in type.missing:
            try:
                said = type.leads(response, answer.status, answer.headers)
            except ValueError as error:  # its file was changed since, or what it reads is sealed by now
                why = f"{type.name} was carried out, but where it leads is not told: {error}"
                raise MappingError(why, call) from None
        last = {(record.type, record.id): record for record in records if record.type in types}
        mine = [types[record.type].complete(record) for record in last.values()]
        return Result(call, response, mine, said.get("redirect"))

    def sealed(self, type: RequestType, exchange: Exchange) -> Exchange:
        """The exchange with the parts of its answer encrypted that the file names, but for those that are already."""
        if not type.sealed:
            return exchange
        response = exchange.verdict.response
        for pointer in type.sealed:
            response = replaced_at(response, pointer, self._once_sealed)
        return replace(exchange, verdict=replace(exchange.verdict, response=response))

    def _once_sealed(self, part: Any) -> Any:
        """A part encrypted; one that was is left as it is, for whoever opens it opens it once."""
        return part if part is None or is_sealed(part) else self._with.sealer.seal(part)

    def _facts(self, type: RequestType, call: Record, exchange: Exchange, verdict: Verdict) -> dict[str, Any]:
        facts: dict[str, Any] = {"attempts": exchange.attempts, "sent_at": exchange.sent_at, "message": verdict.message}
        if isinstance(exchange.result, Answer):
            facts["answer"] = self._kept(type, call, exchange.result, verdict.response)
        return facts

    def _kept(self, type: RequestType, call: Record, answer: Answer, response: Any) -> dict[str, Any]:
        """The answer as it is kept: its sealed parts sealed, or all of it where they cannot be told.

        All of it also where the gateway was given what is to be hidden, and may repeat it.
        """
        tellable = bool(type.sealed) and response is not None
        whole = calls.is_private(call) or (bool(type.sealed) and not tellable)
        body = json.dumps(response).encode() if tellable else answer.body
        return calls.kept_answer(answer, body, self._with.sealer if whole else None)

    def _keep_answer(self, call: Record, facts: Mapping[str, Any]) -> Record:
        """A call that can never be repeated commits its answer before anything else is done with it."""
        kept = calls.moved(call, **facts)
        held = {**kept.set, "lease": call.get("lease")}
        return self._with.commit([replace(kept, set=held)])[0]

    def end_open(self, call: Record, type: RequestType, verdict: Verdict, facts: Mapping[str, Any]) -> Record:
        """No success and no refusal: commit when to come back to the call, if a worker is to."""
        now, tries = self._with.clock.now(), (call.get("tries") or 0) + 1
        state: str = verdict.outcome
        due = None
        if state == "unknown":
            alien = calls.key_is_anothers(facts.get("attempts") or call.get("attempts") or [])
            due = None if alien else comes_back(type, call, now)
        elif call.get("queued") and (verdict.kind in HELD_BACK or (verdict.repeat and tries < MOST_TRIES)):
            state, due = "prepared", now + pause_before(call)
        if due and verdict.wait:
            due = max(due, now + timedelta(seconds=min(verdict.wait, LONGEST_ASKED)))
        end = calls.moved(call, **{**facts, "state": state, "tries": tries, "due": instant(due) if due else None})
        return self._with.commit([end])[0]

    def put_off(self, call: Record, state: str, message: str) -> None:
        """A call that cannot be taken up as things are: a file or a setting is missing, or not for it. Try later.

        Nothing was tried, so that however long it takes, tries are left; of one of the other mode all that it has.
        """
        had, pause = call.get("tries") or 0, pause_before(call)
        tries = max(had, min(had + 1, len(LATER) - 1))
        if call.scope.live != self._with.settings.live:
            tries, pause = had, IN_ANOTHER_MODE
        due = instant(self._with.clock.now() + pause)
        self._with.commit([calls.moved(call, state=state, due=due, tries=tries, message=message)])

    def _unmapped(
        self, call: Record, type: RequestType, verdict: Verdict, facts: dict[str, Any], error: Exception
    ) -> CallError:
        why, mapper = self.hiding(type, call)(reason(error)), self._mapper(type, verdict)
        if mapper and not why.startswith(mapper.file):
            why = f"{mapper.file}: {why}"
        refused = verdict.outcome == "declined"
        what = f"was refused ({verdict.message}), but the refusal" if refused else "was carried out, but its answer"
        said = f"{type.name} {what} could not be mapped: {why}; the answer is kept"
        end = calls.moved(call, state="unmapped", **{**facts, "message": said})
        return _unmapped_error(self._with.commit([end])[0], verdict)


def _unmapped_error(call: Record, verdict: Verdict) -> CallError:
    """What the end of an unmapped call is to who waits for it: nobody is told of a refusal that it was carried out."""
    said = f"{call['message']}: mend the file, then callsheet remap {call.id}"
    if verdict.outcome == "declined":
        return RejectedError(said, call, verdict.response, call["attempts"][-1].get("status", 0))
    return MappingError(said, call)


def changed_by(store: Store, types: Mapping[str, RecordType], row: Record) -> list[Record]:
    """The records that a call or an event changed, as they are now; those that are gone since are left out."""
    changed = [one for one in row.get("changed") or [] if one["type"] in types]
    inside = [{name: getattr(row.scope, name) for name in types[one["type"]].within} for one in changed]
    return [
        record
        for one, scope in zip(changed, inside, strict=True)
        for record in store.find(one["type"], where={**one["where"], **scope}, limit=1)
    ]


def _was_passed_over(change: Change, records: Sequence[Record]) -> bool:
    """Whether a change had a condition that did not hold, so that its record is not among those touched."""
    conditional = bool(change.when or change.as_of) and change.verb != "delete"
    return conditional and not any(record.type == change.type.name and change.means(record) for record in records)


def _not_written(call: Record, type: RequestType, exchange: Exchange, error: StoreError) -> UnknownOutcome:
    """The answer is here and the store is not: what names the call at the gateway goes into the log."""
    attempt = exchange.attempts[-1]
    log.error("%s %s: %s, and its answer could not be kept: %s", type.name, call.id, attempt, error)
    said = f"{type.name} was answered ({exchange.verdict.message}), but the answer could not be kept: {error}"
    return UnknownOutcome(f"{said}; the call stays open in the journal", call)


def named(changes: Sequence[Change]) -> list[dict[str, Any]]:
    """The records that are changed, each once, by what names them after it."""
    kept = [change for change in changes if change.type is not calls.CALL and change.verb != "delete"]
    once = {(change.type.name, change.lookup): change for change in kept}
    return [{"type": change.type.name, "where": change.found_by} for change in once.values()]


def error_of(type: RequestType, call: Record | None, verdict: Verdict, status: int = 0) -> CallError:
    """The error that a verdict other than success is."""
    said = verdict.message + (f"; it asks to be left alone for {verdict.wait:.0f} s" if verdict.wait else "")
    if verdict.outcome == "declined":
        status = call["attempts"][-1].get("status", status) if call else status
        return RejectedError(f"the gateway refused {type.name}: {said}", call, verdict.response, status)
    if verdict.outcome == "not_done":
        return TransportError(f"{type.name} was not carried out: {said}", call, verdict.wait or 0.0)
    if not type.journaled:
        return UnknownOutcome(f"{type.name} brought no answer to trust: {said}; reading it again is safe", call)
    hint = f"callsheet calls {call.id} shows what is known" if call else ""
    return UnknownOutcome(f"{type.name} was PERHAPS carried out: {said}; {hint}", call)
