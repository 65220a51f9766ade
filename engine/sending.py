"""One call from data to result.

Hides: the order of the steps, which is the whole promise. The request and its key are committed before the first byte
leaves (commit 1); what came of it is committed with its records (commit 2). Only the same bytes are ever sent again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from engine import calls
from engine.access_tokens import AccessTokens
from engine.answers import CONFLICT, Verdict, clean_body, judge
from engine.calls import Plan, instant
from engine.card_numbers import may_hold_card_number
from engine.context import Context, Task
from engine.credentials import Client, credentials
from engine.dispatcher import Answer, Failure
from engine.errors import (
    Conflict,
    EngineError,
    MappingError,
    SettingError,
    SignatureError,
    StoreError,
    TransportError,
    UnknownNameError,
    reason,
)
from engine.gates import WAITING, Gate, Sent
from engine.pages import read_pages
from engine.planning import plan
from engine.records import Record
from engine.request_types import Request, RequestType
from engine.settling import Exchange, Result, Settling, Subject, error_of
from engine.windows import demand_mode, may_resend, same_origin

RETRIES = 2
FIRST_WAIT, LONGEST_WAIT = 0.5, 5.0  # seconds between attempts, with full jitter
LONGEST_ASKED = 60.0  # seconds that a gateway may ask for by Retry-After while somebody waits

log = logging.getLogger("engine")


class Sending:
    """Sends calls: those that somebody waits for, and those that are due. `gate` is what a type's requests pass."""

    def __init__(self, context: Context, gate: Callable[[RequestType], Gate | None]) -> None:
        self._with, self._gate = context, gate
        self._proofs: dict[str, tuple[RequestType, Mapping[str, str] | Client]] = {}
        self._tokens = AccessTokens(context.dispatcher, context.settings, context.clock)
        self.settling = Settling(context)

    def send(self, name: str, data: Mapping[str, Any], operation: str | None = None) -> Result:
        """Send, and return what came of it; raise what `engine.errors` says where that was no success."""
        type = self._with.catalog().request_type(name)
        with self._with.watch.of("send", type):
            return self._send(type, data, operation)

    def _send(self, type: RequestType, data: Mapping[str, Any], operation: str | None) -> Result:
        try:
            with self._with.watch.of("render", type):
                planned = plan(self._with, type.name, data, operation)
        except StoreError as error:  # the store's salt is a part of every key
            raise StoreError(f"{type.name} was not sent: {error}") from None
        proof = self._proof(planned.type)  # a missing secret is told before anything is kept
        deadline = self._deadline()
        try:
            self._headers(proof, deadline)
        except (SettingError, TransportError) as error:
            if planned.type.journaled and self._is_known(planned):
                return self._again(planned, deadline)  # perhaps it was carried out before
            raise error if isinstance(error, SettingError) else _without_token(planned, error) from None
        if planned.type.sealed:
            self._with.sealer.demand_key()
        if not planned.type.journaled:
            return self.read(planned, deadline)
        try:
            born = self._with.store.apply([planned.born("sending")])
        except StoreError as error:
            raise _not_written_down(planned, error) from None
        if not born:
            return self._again(planned, deadline)
        return self._carried_out(planned.request, born[0], planned.type, deadline)

    def send_later(self, name: str, data: Mapping[str, Any], operation: str | None, due: datetime | None) -> Record:
        """Write the call down for a worker; nothing is sent now.

        A known operation is not written down twice; what provably was not carried out is to be sent again.
        """
        planned = plan(self._with, name, data, operation)
        if planned.type.sealed:
            self._with.sealer.demand_key()
        born = self._with.commit([planned.born("prepared", due)])
        if born:
            return born[0]
        call = self._with.store.find("call", where={"key": planned.key}, limit=1)[0]
        planned.demand_same(call)
        if not calls.may_be_taken_up(call):
            return call
        try:
            return self._with.commit([calls.queued_anew(call, due or self._with.clock.now())])[0]
        except Conflict:
            return self.settling.as_it_is(call)  # somebody else took it up first

    def take(self, limit: int, id: str | None = None) -> list[Task]:
        """Claim up to `limit` prepared calls whose time has come (only `id`, where given), each to be sent at once."""
        taken = self._with.store.apply([calls.due(self._with.clock.now(), limit, id)])
        return [partial(unattended, self._send_queued, call) for call in taken]

    def _send_queued(self, call: Record) -> None:
        deadline = self._deadline()
        try:
            type = self._with.catalog().request_type(call["request_type"])
            request = self._thawed(type, call)
            self._headers(self._proof(type), deadline)
        except (UnknownNameError, SettingError, SignatureError, TransportError) as error:
            self.settling.put_off(call, "prepared", str(error))
        else:
            with self._with.watch.of("send", type):
                self._carried_out(request, call, type, deadline)

    def _thawed(self, type: RequestType, call: Record) -> Request:
        """The frozen request.

        Raises SettingError where it is of the other mode, and with SignatureError where it, or its answer, needs a key
        that is not here.
        """
        demand_mode(type, call)
        if type.sealed:
            self._with.sealer.demand_key()
        return calls.thawed(call["request"], self._with.sealer)

    def _is_known(self, planned: Plan) -> bool:
        """Whether the operation was begun before."""
        try:
            return bool(self._with.store.find("call", where={"key": planned.key}, limit=1))
        except StoreError as error:
            raise StoreError(f"{planned.type.name} was not sent: {error}") from None

    def _again(self, planned: Plan, deadline: float) -> Result:
        """The operation is known: say what came of it, or take it up where it provably was not carried out."""
        call = self._with.store.find("call", where={"key": planned.key}, limit=1)[0]
        planned.demand_same(call)
        if not calls.may_be_taken_up(call):
            return self.settling.outcome(call)
        try:
            taken = self._with.store.apply([calls.taken_anew(call, self._with.clock.now())])[0]
        except Conflict:
            return self.settling.outcome(self.settling.as_it_is(call))  # somebody else took it up first
        except StoreError as error:
            raise _not_written_down(planned, error) from None
        return self._carried_out(self._thawed(planned.type, taken), taken, planned.type, deadline)

    def repeat(self, call: Record, type: RequestType) -> Exchange:
        """Send the frozen bytes of a call that this process holds, and that perhaps was carried out before.

        What comes of it is still to be settled. Raises SettingError and SignatureError before anything is sent.
        """
        return self._exchange(type, self._thawed(type, call), call, False, self._deadline())

    def _carried_out(self, request: Request, call: Record, type: RequestType, deadline: float) -> Result:
        return self.settling.settle(call, type, self._exchange(type, request, call, True, deadline))

    def _proof(self, type: RequestType) -> Mapping[str, str] | Client:
        """The credentials of a type: made once while its file stays as it is, for settings never change."""
        known = self._proofs.get(type.name)
        if known is None or known[0] is not type:
            known = self._proofs[type.name] = type, credentials(type, self._with.settings)
        return known[1]

    def _headers(self, proof: Mapping[str, str] | Client, deadline: float) -> Mapping[str, str]:
        """The headers that prove who calls, now. Raises SettingError and TransportError where they need a token.

        That one is waited for for most of the time that is left; the rest is the exchange's.
        """
        if not isinstance(proof, Client):
            return proof
        now = time.monotonic()
        return self._tokens.headers(proof, now + WAITING * (deadline - now))

    def _deadline(self) -> float:
        """Until when somebody waits who begins to wait now."""
        return time.monotonic() + self._with.clock.patience

    def _exchange(
        self, type: RequestType, request: Request, call: Record | None, first: bool, deadline: float
    ) -> Exchange:
        """Send `request` until there is a verdict, the retries are used up, or the deadline is near."""
        clock, proof = self._with.clock, self._proof(type)
        tries, renewed = 0, False
        attempts: list[dict[str, Any]] = list(call.get("attempts") or []) if call else []
        hide = self.settling.hiding(type, call) if call else str
        while True:
            with self._with.watch.of("attempt", type, len(attempts)) as step:
                headers, sent_at, result = self._attempt(type, request, call, proof, deadline, len(attempts))
                result = self._masked(result, hide)
                verdict = judge(type, result, first=first)
                if (message := hide(verdict.message)) != verdict.message:
                    verdict = replace(verdict, message=message)
                step.outcome = verdict.kind
            attempts.append(calls.attempt(result, verdict.kind, type.request_id, sent_at))
            log.info("%s %s attempt %s", type.name, call.id if call else "-", attempts[-1])
            if isinstance(proof, Client) and not renewed and _is_unauthorized(result):
                self._tokens.refused(proof, headers)  # and this attempt did nothing, whatever earlier ones did
                renewed, wait = True, 0.0
            else:
                first = first and verdict.outcome == "not_done"
                if not _may_repeat(type, verdict) or tries == RETRIES:
                    break
                wait = self._wait(verdict, tries)
                tries += 1
            if time.monotonic() + wait >= deadline:
                break
            if wait:
                clock.sleep(wait)
            if call and not first and not may_resend(type, call, clock.now()):
                break  # however long the pause was meant to be: a machine may sleep for days in it
        return Exchange(result, verdict, attempts, sent_at)

    def _attempt(
        self,
        type: RequestType,
        request: Request,
        call: Record | None,
        proof: Mapping[str, str] | Client,
        deadline: float,
        tries: int,
    ) -> tuple[Mapping[str, str], str, Answer | Failure]:
        """Send once, when the gate lets it through: with which headers, when, and what came of it."""
        try:
            headers = self._headers(proof, deadline)
        except (SettingError, TransportError) as error:
            return {}, instant(self._with.clock.now()), Failure("no_token", False, str(error), 0.0)
        once, gate = partial(self._send_once, type, request, call, headers, deadline, tries), self._gate(type)
        sent_at, result = gate.send(deadline, once) if gate else once()
        return headers, sent_at, result

    def _send_once(
        self,
        type: RequestType,
        request: Request,
        call: Record | None,
        headers: Mapping[str, str],
        deadline: float,
        tries: int,
    ) -> Sent:
        now = instant(self._with.clock.now())
        if call and (unfit := _unfit(type, call, now)):
            return now, unfit
        send = self._with.dispatcher.send
        with self._with.watch.of("exchange", type, tries) as step:
            result = send(request, credentials=headers, deadline=deadline, answer_limit=type.answer_limit)
            if isinstance(result, Answer):
                step.outcome, step.status = "answered", result.status
            else:
                step.outcome = result.kind
        return now, result

    def _wait(self, verdict: Verdict, tries: int) -> float:
        """Seconds before the next attempt: what the gateway asks for, or a growing time with full jitter."""
        growing = self._with.clock.pause(min(LONGEST_WAIT, FIRST_WAIT * 2**tries))
        asked = verdict.wait or 0.0
        least = 1.0 if verdict.kind == CONFLICT else 0.1
        return max(least, growing, asked if asked <= LONGEST_ASKED else float("inf"))

    def _masked(self, result: Answer | Failure, hide: Callable[[str], str]) -> Answer | Failure:
        """What came back, without our secrets and card numbers: whatever is done with it after, none can be kept.

        `hide` what the call was given to be hidden; not in the body, where a short number may mean something else.
        """
        settings = self._with.settings
        if isinstance(result, Failure):
            return replace(result, message=hide(settings.clean(result.message)))
        values = "\n".join(result.headers.values())
        whole = f"{values}\n{calls.as_text(result.body)}"
        if hide(values) == values and settings.redact(whole) == whole and not may_hold_card_number(whole):
            return result  # as nearly every answer is
        headers = {name: hide(settings.clean(value)) for name, value in result.headers.items()}
        return replace(result, headers=headers, body=clean_body(result.body, settings.redact))

    def read(self, planned: Plan, deadline: float) -> Result:
        """A GET is not journaled: every page of a list, then one commit where a mapper keeps records."""
        type = planned.type

        def fetch(request: Request) -> Exchange:
            exchange = self._exchange(type, request, None, True, deadline)
            if exchange.verdict.outcome != "succeeded":
                raise error_of(type, None, exchange.verdict, exchange.attempts[-1].get("status", 0))
            return exchange

        exchange, cut_off = read_pages(type, planned.request, fetch)
        exchange = self.settling.sealed(type, exchange)
        response = exchange.verdict.response
        try:
            with self._with.watch.of("map", type):
                changes = self.settling.mapped(type, Subject.of(planned), exchange)
            with self._with.watch.of("store", type):
                records = self._with.commit(changes) if changes else []
        except (ValueError, Conflict) as error:
            raise MappingError(f"{type.name} was read, but its answer could not be mapped: {reason(error)}") from None
        result = self.settling.result(None, type, exchange.result, response, records)
        return replace(result, cut_off=cut_off)


def unattended(do: Callable[[Record], object], call: Record) -> None:
    """Do what a worker does with a call. Nobody waits for it: what goes wrong is in the log, and in the call's row."""
    try:
        do(call)
    except EngineError as error:
        log.warning("%s %s: %s", call["request_type"], call.id, error)


def _unfit(type: RequestType, call: Record, now: str) -> Failure | None:
    """What becomes of a call that was written down for another place, or waited with until its lease ended.

    Our credentials are not sent there; and another process may be sending it by now.
    """
    if not same_origin(type, call):
        where = f"is not at {type.base_url}, where {type.gateway.name} is now"
        return Failure(
            "invalid_request", sent=False, message=f"{call['request']['url']} {where}; it was not sent", seconds=0.0
        )
    if call["lease"] <= now:
        message = f"{type.gateway.name} was waited for until the lease of this call ended; it was not sent"
        return Failure("lease_lost", sent=False, message=message, seconds=0.0)
    return None


def _without_token(planned: Plan, error: TransportError) -> TransportError:
    return TransportError(f"{planned.type.name} was not carried out, because {error}")


def _not_written_down(planned: Plan, error: StoreError) -> StoreError:
    """The store's error with what became of the call: it was not sent, though perhaps it will be."""
    said = f"{planned.type.name} was not sent, because it could not be written down: {error}"
    if error.in_doubt:
        said += f"; if it was, a worker sends it yet, so repeat it as the operation {planned.operation!r} only"
    return StoreError(said, in_doubt=error.in_doubt)


def _is_unauthorized(result: Answer | Failure) -> bool:
    """Whether the credentials were refused (RFC 9110, 15.5.2), which proves that nothing was done."""
    return isinstance(result, Answer) and result.status == 401


def _may_repeat(type: RequestType, verdict: Verdict) -> bool:
    """Whether the same bytes may be sent again at once: never where a second effect is possible."""
    harmless = verdict.outcome == "not_done" or not type.journaled or type.idempotent or type.key_lasts > 0
    return verdict.repeat and harmless
