"""What becomes of calls that were left open: by a process that died, or by an answer nobody could trust.

Hides: the ways out of "perhaps carried out". In the key's window the same bytes go out again; after it, or where the
gateway says only that it knows the key, it is asked by our own reference; an event that names the call settles it; a
person has the last word. Nothing here ever makes a second effect of one operation, and nothing calls a call failed
because it took long.
"""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from functools import partial
from typing import Any

from engine import calls
from engine.answers import CONFLICT, Verdict, judge
from engine.calls import instant
from engine.context import Context, Task
from engine.dispatcher import Answer
from engine.errors import (
    Conflict,
    EngineError,
    MappingError,
    RejectedError,
    SettingError,
    SignatureError,
    UnknownNameError,
)
from engine.pointers import replaced_at
from engine.records import Record
from engine.request_types import RequestType
from engine.sending import Sending, unattended
from engine.settling import Exchange, Result, changed_by
from engine.windows import LOOK_UPS, demand_mode, has_settled, may_resend

log = logging.getLogger("engine")


class Recovery:
    """Takes open calls up again."""

    def __init__(self, context: Context, sending: Sending) -> None:
        self._with, self._sending, self._settling = context, sending, sending.settling

    def take(self, limit: int, id: str | None = None) -> list[Task]:
        """Claim up to `limit` abandoned and unknown calls (only `id`, where given), each to be taken up at once."""
        now, taken = self._with.clock.now(), list[Record]()
        for claim in (calls.abandoned, calls.unsettled):
            if len(taken) < limit:
                taken += self._with.store.apply([claim(now, limit - len(taken), id)])
        return [partial(unattended, self._take_up, call) for call in taken]

    def _take_up(self, call: Record) -> Result | None:
        """A call in the state sending, of which an earlier attempt may have been carried out."""
        try:
            type = self._with.catalog().request_type(call["request_type"])
            demand_mode(type, call)
        except UnknownNameError as error:
            self._with.commit([calls.moved(call, state="unknown", message=str(error))])
            return None
        except SettingError as error:
            self._settling.put_off(call, "unknown", str(error))
            return None
        with self._with.watch.of("recover", type) as step:
            try:
                result = self._taken_up(call, type)
            except (SettingError, SignatureError) as error:  # raised before anything is sent
                self._open(call, type, str(error))
                result = None
            if result is None:
                step.outcome = "unanswered"
            return result

    def _taken_up(self, call: Record, type: RequestType) -> Result | None:
        kept = call.get("answer")
        if kept and (exchange := self._kept(type, call, kept)).verdict.outcome in {"succeeded", "declined"}:
            return self._settling.settle(call, type, exchange)
        if may_resend(type, call, self._with.clock.now()):
            return self._settling.settle(call, type, self._repeated(call, type))
        return self._look_up(call, type)

    # Asking the gateway -----------------------------------------------------------------------------------------------

    def _repeated(self, call: Record, type: RequestType) -> Exchange:
        """What comes of sending the call again; or what a look-up finds, where the gateway says only that it knows it.

        Where that finds nothing either, the call stays as open as it was.
        """
        exchange = self._sending.repeat(call, type)
        if exchange.verdict.kind != CONFLICT or not type.lookup:
            return exchange
        asked = instant(self._with.clock.now())
        found = self._found(call, type)
        if not found:
            return exchange
        answered = self._taken_for_answer(type, call, found[0], "looked_up", asked)
        return replace(answered, attempts=[*exchange.attempts, answered.attempts[-1]])

    def _look_up(self, call: Record, type: RequestType) -> Result | None:
        """Ask for the object by our own reference; what is found is taken for the answer that never came."""
        asked = instant(self._with.clock.now())
        found = self._found(call, type) if type.lookup else None
        if found is None:
            self._open(call, type, call.get("message") or "the process that sent it ended before an answer came")
            return None
        if found:
            return self._settling.settle(call, type, self._taken_for_answer(type, call, found[0], "looked_up", asked))
        if _key_is_known(type, call):
            said = f"{type.lookup} did not find it, but the gateway knows its key, so see there what was done by it"
            self._open(call, type, said, looked_up=0)
            return None
        agreeing = (call.get("looked_up") or 0) + 1
        counts = has_settled(call, self._with.clock.now())
        if agreeing >= LOOK_UPS and counts:
            self._not_done(call, agreeing, f"{type.lookup} did not find it, {agreeing} times in a row")
            return None
        self._open(call, type, f"{type.lookup} did not find it yet", looked_up=agreeing if counts else 0)
        return None

    def _not_done(self, call: Record, agreeing: int, message: str) -> None:
        """A caller may repeat what was not done; where nobody waits for a call, nobody but a worker does."""
        end: dict[str, Any] = {"state": "not_done", "looked_up": agreeing}
        if call.get("queued"):
            end = {"state": "prepared", "due": instant(self._with.clock.now()), "looked_up": None, "answer": None}
        self._with.commit([calls.moved(call, **end, message=message)])

    def _found(self, call: Record, type: RequestType) -> list[Any] | None:
        """The object in a list of one, an empty list where there is none, None where the look-up proves nothing.

        A look-up is given the call's own data as far as its schema has the names and it may be seen, and what the
        journal knows.
        """
        lookup = self._with.catalog().request_type(str(type.lookup))
        journal = {"call_id": call.id, "since": call.get("first_sent_at"), "account_id": call.scope.account or None}
        known = {**type.schema.with_write_only(call["data"], lambda _: None), **journal}
        data = {name: value for name, value in known.items() if name in lookup.properties and value is not None}
        try:
            result = self._sending.send(lookup.name, data)
            response = result.response
            found = lookup.found({"response": response, "data": data}).get("found") if lookup.found else response
        except (EngineError, ValueError) as error:
            log.warning("%s %s: %s", call["request_type"], call.id, error)
            return None
        if found is None and result.cut_off:
            log.warning("%s %s: %s has more items than it may read", call["request_type"], call.id, lookup.name)
            return None
        if found is not None and not (found and isinstance(found, dict)):
            log.warning("%s %s: what %s finds is no object", call["request_type"], call.id, lookup.name)
            return None
        return [found] if found else []

    def _taken_for_answer(self, type: RequestType, call: Record, response: Any, how: str, seen_at: str) -> Exchange:
        """The exchange that `response` stands for: the object as it was at `seen_at`, perhaps long before now."""
        answer = Answer(type.expected[0], {"content-type": "application/json"}, json.dumps(response).encode(), 0.0)
        line = {"at": instant(self._with.clock.now()), "class": how, "phase": "answered", "ms": 0}
        verdict = judge(type, answer, first=True)
        return Exchange(answer, verdict, [*(call.get("attempts") or []), line], seen_at)

    def _open(self, call: Record, type: RequestType, message: str, **facts: Any) -> None:
        self._settling.end_open(call, type, Verdict("unknown", "recovered", message), {"message": message, **facts})

    # An event that names the call -------------------------------------------------------------------------------------

    def settle_by_event(self, event: Record, key: str | None, reference: str | None, found: Any) -> None:
        """Settle the unknown call that a verified event names by its key or by our reference.

        `found` is the event's object: it is the answer where it has the shape that the call expects; otherwise the call
        is only come back to at once.
        """
        where: dict[str, Any] = {"key": key} if key else {"id": reference}
        if not (key or reference):
            return
        for call in self._with.store.find("call", where=where, limit=1):
            if call["state"] != "unknown" or call.scope != event.scope:
                continue
            try:
                self._settle_by(call, found, event.get("happened_at") or event["received_at"])
            except EngineError as error:
                log.warning("%s %s: %s", call["request_type"], call.id, error)

    def _settle_by(self, call: Record, found: Any, seen_at: str) -> None:
        now, type = self._with.clock.now(), self._with.catalog().request_type(call["request_type"])
        fits = isinstance(found, dict) and type.expected_body and not type.expected_body.problems(found)
        if not fits:
            self._with.commit([calls.moved(call, due=instant(now))])
            return
        held = self._with.store.apply([calls.taken(call, now)])[0]
        self._settling.settle(held, type, self._taken_for_answer(type, held, found, "event", seen_at))

    # What a person may do ---------------------------------------------------------------------------------------------

    def _audited(self, call: Record, who: str, what: str, why: str) -> list[Any]:
        return calls.audited(call, self._with.clock.now(), who, what, self._with.settings.clean(why))

    def remap(self, call: Record, who: str = "a program", why: str = "its mapper was mended") -> Result:
        """Map the kept answer of an unmapped call again; nothing is sent. Raises MappingError where it still fails."""
        _demand(call, {"unmapped"}, "be mapped again")
        type = self._with.catalog().request_type(call["request_type"])
        audit = self._audited(call, who, "mapped again", why)
        call = self._with.commit([calls.moved(call, audit=audit)])[0]
        exchange = self._kept(type, call, call["answer"])
        if exchange.verdict.outcome not in calls.NEXT["unmapped"]:
            said = f"the files of {type.name} take its kept answer for none any more: {exchange.verdict.message}"
            raise MappingError(said, call)
        try:
            return self._settling.settle(call, type, exchange)
        except RejectedError as error:
            ended = error.call or call
            if ended["state"] == "unmapped":
                raise MappingError(str(error), ended) from None
            records = changed_by(self._with.store, self._with.catalog().record_types, ended)
            return Result(ended, error.response, records)

    def _kept(self, type: RequestType, call: Record, kept: Any) -> Exchange:
        answer = calls.given_answer(kept, self._with.sealer)
        verdict = judge(type, answer, first=True)
        if type.sealed and verdict.kind == "unexpected_shape":
            answer = self._opened(type, answer, verdict.response)
            verdict = judge(type, answer, first=True)
        return Exchange(answer, verdict, call["attempts"], call["sent_at"])

    def _opened(self, type: RequestType, answer: Answer, response: Any) -> Answer:
        """An answer with its sealed parts as they came, for the shape that is expected of them is theirs."""
        for pointer in type.sealed:
            response = replaced_at(response, pointer, self._with.sealer.opened)
        return replace(answer, body=json.dumps(response).encode())

    def resolve(self, call: Record, resolution: str, who: str, why: str) -> Record:
        """A person's last word on an open call: succeeded, declined or not_done."""
        _demand(call, {"unknown", "unmapped"}, "be resolved")
        audit = self._audited(call, who, f"resolved as {resolution}", why)
        message = self._with.settings.clean(f"resolved as {resolution} by {who}: {why}")
        moved = calls.moved(call, state="resolved", resolution=resolution, message=message, audit=audit)
        return self._with.commit([moved])[0]

    def come_back(self, call: Record, who: str, why: str) -> Record:
        """Have a worker take an unknown call up now: resend inside the key's window, look up after it."""
        _demand(call, {"unknown"}, "be taken up")
        now = self._with.clock.now()
        audit = self._audited(call, who, "taken up", why)
        return self._with.commit([calls.moved(call, due=instant(now), audit=audit)])[0]

    def look_up(self, call: Record, who: str, why: str) -> Record:
        """Ask the gateway now whether an unknown call was carried out; nothing is sent again.

        Raises Conflict where its type names no look-up, SettingError where the call is of the other mode, and
        RejectedError and MappingError where that is what it was.
        """
        _demand(call, {"unknown"}, "be looked up")
        now, type = self._with.clock.now(), self._with.catalog().request_type(call["request_type"])
        demand_mode(type, call)
        if not type.lookup:
            raise Conflict(f"{type.name} names no look-up; resolve the call {call.id} when you know what became of it")
        audit = self._audited(call, who, "looked up", why)
        taken = calls.taken(call, now)
        held = self._with.commit([replace(taken, set={**taken.set, "audit": audit})])[0]
        self._look_up(held, type)
        return self._settling.as_it_is(held)

    def cancel(self, call: Record, who: str, why: str) -> Record:
        """Keep a prepared call from ever being sent."""
        _demand(call, {"prepared"}, "be cancelled")
        audit = self._audited(call, who, "cancelled", why)
        return self._with.commit([calls.moved(call, state="cancelled", audit=audit)])[0]


def _key_is_known(type: RequestType, call: Record) -> bool:
    """Whether an answer said that the gateway knows the call's key: then something was begun by it, found or not."""
    attempts = call.get("attempts") or []
    conflicts = type.key_header is not None and any(line["class"] == CONFLICT for line in attempts)
    return conflicts or calls.key_is_anothers(attempts)


def _demand(call: Record, states: set[str], what: str) -> None:
    if call["state"] not in states:
        raise Conflict(
            f"the call {call.id} is {call['state']}; only one that is {' or '.join(sorted(states))} can {what}"
        )
