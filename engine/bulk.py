"""Many calls of one request type: all rows are checked before one is sent, and each is carried out once.

    take      a row is checked, and waits
    send      each that waits is sent; what is still open at the end is come back to while that helps

A row is an operation like any other, named by its key or, where it has none, by what it holds. So a run that ended
before its rows did, however it ended, is gone on with by making it again. Hides: threads, and how long to insist.
"""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from engine.calls import Plan
from engine.errors import (
    CallError,
    Conflict,
    DataError,
    EngineError,
    MappingError,
    Problem,
    RejectedError,
    TransportError,
    UnknownOutcome,
)
from engine.ids import short_digest
from engine.records import Record
from engine.redaction import MASK
from engine.settling import Result
from engine.waiting_rows import Row, WaitingRows

if TYPE_CHECKING:
    from engine.core import Engine

CONCURRENCY = 8  # calls under way at once, where neither the caller nor the gateway's file says
PAUSES = (1.0, 4.0, 15.0, 60.0, 300.0)  # seconds between the tries of a row that could not be sent, at least
COMES_BACK = 90.0  # seconds within which an open row is waited for; longer than a lease
IN_VAIN = 10  # rows in a row that could not be sent, at least, until a run is given up
LOOKS = 0.2, 2.0  # seconds between two looks at them, at least and at most: whoever sends one may end it any moment

_ANOTHER = (
    "was settled by an earlier run, but with other data, or for another request type, mode or store; give it a new key,"
    " or the run another file of results (--results)"
)
_ELSEWHERE = (
    "was settled by an earlier run, but for another request type, mode or store; give this run another file of results"
    " (--results)"
)
_UNDER_ANOTHER = (
    "was settled by an earlier run under another key, {!r}; give the same --key, or, to send it once more, another file"
    " of results (--results)"
)
_STATES = {
    RejectedError: "declined",
    MappingError: "unmapped",
    TransportError: "not_done",
    UnknownOutcome: "unknown",
}


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What became of a row.

    `state` is that of its call: succeeded, declined, unmapped, not_done, cancelled or unknown; or not_sent, where its
    operation was begun with other data. `before`: it was so before this run. `result` is there where it succeeded.
    `digest` tells the row from one with other data, or of another request type, mode or store.
    """

    number: int
    operation: str
    digest: str
    state: str
    call: Record | None = None
    message: str | None = None
    result: Result | None = None
    before: bool = False


class Bulk:
    """One run. `key` names the property that is each row's operation key, which is sent only where the schema has it.

    Without a `key`, rows are told apart by what they hold and how many alike stand before them; `run` is then part of
    their keys, so that the same rows can be sent as new ones under another name. `concurrency` calls are under way at
    once. Raises UnknownNameError, and ValueError where `concurrency` is less than 1.
    """

    def __init__(
        self, engine: Engine, name: str, *, key: str | None = None, run: str = "", concurrency: int | None = None
    ) -> None:
        self._engine, self._key, self._run = engine, key, run
        self._type = engine.catalog.request_type(name)
        self._scope = self._type.scope("")
        rate = self._type.rate
        if concurrency is not None and concurrency < 1:
            raise ValueError(f"concurrency is {concurrency}; one call at least has to be under way at once")
        self._concurrency = concurrency or (rate and rate.in_flight) or CONCURRENCY
        self._per_second = (rate.live if engine.settings.live else rate.test) if rate else None
        self._rows, self._ended, self._in_vain = WaitingRows(), threading.Event(), 0
        self.settled_before: Counter[str] = Counter()  # rows that an earlier run settled, by state
        self.trouble: str | None = None  # what keeps rows from being carried out, as long as none is
        self._insists = True

    # Before anything is sent ------------------------------------------------------------------------------------------

    def settle(self, operation: str, digest: str, state: str, number: int) -> None:
        """Note that an earlier run settled the row with this key and digest, then `number`. Before any row is taken."""
        self._rows.settle(operation, digest, state, number)

    def take(self, number: int, data: Mapping[str, Any]) -> list[Problem]:
        """Check a row, and let it wait where nothing is wrong with it. `number` is above that of the row before.

        What an earlier run settled is not checked again, but has to be the same, and under the same key. Raises
        StoreError.
        """
        if not isinstance(data, Mapping):
            return [Problem("", "must be an object")]
        known, name = self._type.properties, self._key or "idempotency_key"
        mine = {one: value for one, value in data.items() if one != self._key or one in known}
        try:
            seen = self._seen(mine)
            operation = _text_of(data.get(name), name) if self._key or name in data else self._made_of(seen)
            digest = self._digest(operation, seen)
            if not (settled := self._rows.settled(operation)):
                self._engine.plan(self._type.name, mine, operation=operation)
        except DataError as error:
            return list(error.problems)
        if settled and settled[0] != digest:
            has_key = self._key or name in data
            return [Problem(f"/{name}", f"{operation!r} {_ANOTHER}") if has_key else Problem("", _ELSEWHERE)]
        if not settled and (other := self._settled_as(number, data, seen)):
            return [Problem("", _UNDER_ANOTHER.format(other))]
        same = self._rows.add(Row(number, mine, operation, digest))
        if same is not None:
            return [Problem(f"/{name}", f"{operation!r} is the key of row {same} as well")]
        if settled:
            self.settled_before[settled[1]] += 1
        return []

    def _seen(self, data: Mapping[str, Any]) -> str:
        """A row's data as one text, from which nothing can be guessed that is to be hidden."""
        try:
            return json.dumps(self._type.schema.with_write_only(data, lambda _: MASK), sort_keys=True)
        except (TypeError, ValueError) as error:
            raise DataError(self._type.name, [Problem("", f"is not JSON: {error}")]) from None

    def _digest(self, operation: str, seen: str) -> str:
        return short_digest(f"{self._engine.key_of(self._scope, self._type.name, operation)} {seen}")

    def _settled_as(self, number: int, data: Mapping[str, Any], seen: str) -> str | None:
        """The key under which an earlier run settled this row, where that named rows by another part of them."""
        made = short_digest(seen)
        for operation, digest in self._rows.settled_at(number):
            was_made = operation.rpartition(".")[0].endswith(made)
            is_another = self._key is not None if was_made else operation in map(str, data.values())
            if is_another and digest == self._digest(operation, seen):
                return operation
        return None

    def _made_of(self, seen: str) -> str:
        """The operation key of a row that gives none."""
        digest = self._run + short_digest(seen)
        return f"{digest}.{self._rows.count_alike(digest)}"

    def keep_first(self, limit: int) -> None:
        """Leave all but the first `limit` rows that wait to another run."""
        self._rows.keep_first(limit)

    @property
    def left(self) -> int:
        """How many rows are left to another run."""
        return self._rows.count("left")

    @property
    def waiting(self) -> int:
        """How many rows wait to be sent."""
        return self._rows.count("waiting")

    @property
    def settled(self) -> int:
        """How many rows were settled, by this run or an earlier one."""
        return self._rows.count("settled")

    @property
    def least_seconds(self) -> float | None:
        """How long the gateway's rate makes the waiting rows last at least; None where it has none."""
        return self.waiting / self._per_second if self._per_second else None

    def first(self) -> Plan | None:
        """The call of the first row that waits."""
        row = next(self._rows.each("waiting"), None)
        return self._engine.plan(self._type.name, row.data, operation=row.operation) if row else None

    # Sending ----------------------------------------------------------------------------------------------------------

    def send(self) -> Iterator[RowOutcome]:
        """Send what waits, and say of each row what became of it, once that is known.

        What is perhaps carried out is come back to as long as somebody does within COMES_BACK seconds. Raises
        TransportError where row after row cannot be sent, SettingError and StoreError; made again, the run goes on.
        """
        self._began = self._engine.clock.now()
        with ThreadPoolExecutor(self._concurrency, "callsheet bulk") as threads:
            try:
                yield from self._passed(threads, "waiting")
                while (seconds := self._next_look()) is not None and not self._ended.wait(seconds):
                    yield from self._passed(threads, "open")
            finally:
                self._ended.set()
        for row in self._rows.each("open"):
            yield self._left_open(row)

    def stop(self) -> None:
        """Begin no more rows. Those under way are ended, and then `send`."""
        self._ended.set()

    def _passed(self, threads: ThreadPoolExecutor, state: str) -> Iterator[RowOutcome]:
        """Send every row in `state` once, and yield what is settled. What has to be raised is, once all have ended."""
        rows, under_way, failure = self._rows.each(state), dict[Future[RowOutcome | None], Row](), None
        while True:
            while not self._ended.is_set() and len(under_way) < 2 * self._concurrency and (row := next(rows, None)):
                under_way[threads.submit(self._carry_out, row)] = row
            if not under_way:
                break
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                row = under_way.pop(future)
                try:
                    outcome = future.result()
                except EngineError as error:
                    failure = error
                    self._ended.set()
                    continue
                if outcome and self._note(row, outcome):
                    yield outcome
                if self._in_vain >= max(IN_VAIN, self._concurrency) and outcome:
                    said = f"{self._in_vain} rows in a row were not carried out, the last because {outcome.message}"
                    failure = TransportError(f"{said}; run them again to go on")
                    self._ended.set()
        if failure:
            raise failure

    def _note(self, row: Row, outcome: RowOutcome) -> bool:
        """Note what became of a row; returns whether that is the last word of this run."""
        if outcome.state == "unknown" and (call := outcome.call):
            self._rows.mark(row, "open", call.id, call.get("due") or call.get("lease"))
            return False
        self._rows.mark(row, "left" if outcome.state == "not_done" else "settled")
        self._in_vain = self._in_vain + 1 if outcome.state == "not_done" else 0
        return True

    def _carry_out(self, row: Row) -> RowOutcome | None:
        """Send a row, again and again while it is not carried out; None where the run was stopped before.

        Nobody insists where a gateway asks to be left alone for longer than that, or where it was in vain just before.
        """
        outcome = None
        for pause in (*PAUSES, None):
            if self._ended.is_set():
                return outcome
            if row.call:
                self._engine.run_row("call", row.call)
            outcome, asked = self._sent(row)
            if outcome.state != "not_done":
                self.trouble, self._insists = None, True
                break
            self.trouble = outcome.message
            if pause is None or asked > PAUSES[-1]:
                self._insists = False
            if pause is None or not self._insists or self._ended.wait(max(pause, asked)):
                break
        return outcome

    def _sent(self, row: Row) -> tuple[RowOutcome, float]:
        """Send a row; what became of it, and for how long its gateway asks to be left alone.

        Raises SettingError and StoreError.
        """
        became, asked = partial(RowOutcome, row.number, row.operation, row.digest), 0.0
        try:
            result = self._engine.send(self._type.name, row.data, operation=row.operation)
        except DataError as error:
            return became("not_sent", message=error.details), asked
        except Conflict as error:
            return became("not_done", message=str(error)), asked  # asked again, it tells
        except CallError as error:
            call, state = error.call, _STATES[type(error)]
            if isinstance(error, TransportError):
                asked = error.wait
            if call and call["state"] in {"resolved", "cancelled"}:
                state = str(call.get("resolution") or "cancelled")
            elif state == "unknown" and not self._type.journaled:
                state = "not_done"  # it only reads
            return became(state, call, str(error), before=self._was_before(call)), asked
        return became("succeeded", result.call, None, result, self._was_before(result.call)), asked

    def _was_before(self, call: Record | None) -> bool:
        sent_at = call.get("sent_at") if call else None
        return sent_at is not None and datetime.fromisoformat(sent_at) < self._began

    def _next_look(self) -> float | None:
        """Seconds until somebody comes back to an open row; None where that is too long."""
        due = self._rows.next_due()
        seconds = (datetime.fromisoformat(due) - self._engine.clock.now()).total_seconds() if due else COMES_BACK
        return min(max(LOOKS[0], seconds), LOOKS[1]) if seconds < COMES_BACK else None

    def _left_open(self, row: Row) -> RowOutcome:
        call = self._engine.store.find("call", where={"id": row.call}, limit=1)[0]
        said = call.get("message")
        return RowOutcome(row.number, row.operation, row.digest, "unknown", call, said, before=self._was_before(call))


def _text_of(value: Any, name: str) -> str:
    """The operation key that a row gives. Raises DataError where it gives none."""
    if not isinstance(value, str | int) or isinstance(value, bool) or not str(value):
        raise DataError(name, [Problem(f"/{name}", "is the key of the row, and must be a text or a whole number")])
    text = str(value)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        raise DataError(name, [Problem(f"/{name}", "is the key of the row, and holds half of a character")])
    return text
