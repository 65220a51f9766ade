"""The engine: files, settings and a store, put together; `send` and `receive`.

Hides: how the parts find each other, and when files are read again. What only some hosts use is imported when it is.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from engine.budgets import RATE_BUDGET
from engine.calls import ANYWHERE, CALL, INSTALLATION, Plan, operation_key
from engine.catalog import Catalog
from engine.context import Backlog, Clock, Context, KeyMaker, Task, attempt
from engine.credentials import hide_secrets
from engine.dispatcher import Dispatcher, Sender
from engine.errors import DataError, Fault, Problem, UnknownNameError
from engine.gates import Gates
from engine.inbox import EVENT, Inbox, check_secrets
from engine.observers import metrics_of, spans_of
from engine.observing import Observer, Watch
from engine.planning import plan
from engine.reactions import REACTION, Handler, Reactions
from engine.records import Change, Record, Scope
from engine.recovery import Recovery
from engine.reloading import Files
from engine.replays import REPLAY, Replays
from engine.request_types import RequestType
from engine.seals import Sealer
from engine.sending import Sending
from engine.settings import Settings
from engine.settling import Result
from engine.store import Due, Order, Store, demand_limit
from engine.store.opening import open_store
from engine.workers import WORKER, Workers

if TYPE_CHECKING:
    from engine.bulk import RowOutcome
    from engine.forms.results import Shown
    from engine.forms.submitting import Fields, Form, Forms, Submission

OWN_TYPES = {type.name: type for type in (CALL, EVENT, REACTION, REPLAY, INSTALLATION, RATE_BUDGET, WORKER)}
DUE: Due = {CALL.name: {"due": None, "lease": "sending"}} | {of.name: {"due": None} for of in (EVENT, REPLAY, REACTION)}

_H = TypeVar("_H", bound=Handler)


def _no_gate(_: RequestType) -> None:
    """A stand-in for the dispatcher reaches no gateway, so no gateway's rate holds for it."""


class Engine:
    """Sends requests and receives events as the files in `root` and the shipped files say.

    Where no `store` is given it is SQLite in `root`, or what CALLSHEET_STORE says. `base_urls` replaces a gateway's
    base_url, path included. `reload` reads changed files before every use, and keeps the last good ones where a change
    is faulty; `faults` then says why. `observers` are told of every step. The other arguments are for tests.
    `is_self_contained`: no store and no observer was given to it, which may need something around them when called.

    Raises DefinitionError with all faults of all files, and SettingError.
    """

    def __init__(  # noqa: PLR0913 - what a host or a test may put in the place of a part
        self,
        root: str | Path = ".",
        *,
        store: Store | None = None,
        base_urls: Mapping[str, str] | None = None,
        reload: bool = False,
        environment: Mapping[str, str] | None = None,
        dispatcher: Sender | None = None,
        clock: Clock | None = None,
        key: KeyMaker | None = None,
        files: Files | None = None,
        observers: Sequence[Observer] = (),
    ) -> None:
        self.root = Path(root)
        self.is_self_contained = store is None and not observers
        self.settings = Settings(self.root, environment)
        self._files = files or Files.of(self.root, self.settings, base_urls, reload=reload)
        self.clock = clock or Clock()
        self.store = store or open_store(self.settings.get("CALLSHEET_STORE"), self.root, DUE, live=self.settings.live)
        if self.settings.live and (demand := getattr(self.store, "demand_durable", None)):
            demand()
        self.dispatcher = dispatcher or Dispatcher()
        self.sealer = Sealer(self.settings.keys("CALLSHEET_ENCRYPTION_KEY"))
        self.reactions = Reactions(self.store, self.clock.now, lambda: self.catalog.record_types, self.settings.clean)
        self.metrics = metrics_of(self.settings)
        context = Context(
            store=self.store,
            commit=self._commit,
            catalog=self._files.catalog,
            settings=self.settings,
            dispatcher=self.dispatcher,
            sealer=self.sealer,
            key=key or self.key_of,
            clock=self.clock,
            watch=Watch([one for one in (*observers, self.metrics, spans_of(self.settings)) if one]),
        )
        self._context = context
        gates = Gates(self.store, self.clock, live=self.settings.live)
        self._sending = Sending(context, gates.of if isinstance(context.dispatcher, Dispatcher) else _no_gate)
        self.recovery = Recovery(context, self._sending)
        self._inbox = Inbox(context, self._sending.settling, self.recovery.settle_by_event)
        self.replays = Replays(context, self._inbox)
        self._backlogs: dict[str, tuple[Backlog, ...]] = {
            CALL.name: (self._sending, self.recovery),
            EVENT.name: (self._inbox,),
            REPLAY.name: (self.replays,),
            REACTION.name: (self.reactions,),
        }
        self._turns = count()
        self.workers = Workers(self.store, self.clock.now, DUE)
        self._due = threading.local()
        self.wake: Callable[[], object] | None = None  # a host's worker; without one, follow-ups are sent at once
        check_secrets(self.catalog.gateways, self.settings)
        hide_secrets(self.catalog, self.settings)
        self.settings.hide(*getattr(self.store, "secrets", ()))

    # Sending and receiving --------------------------------------------------------------------------------------------

    def send(self, name: str, data: Mapping[str, Any] | None = None, *, operation: str | None = None) -> Result:
        """Send the request type `name` with `data` and return its result.

        `operation` is your own key of what is to be done once: repeated with it, the call is carried out once. Raises
        UnknownNameError, DataError, SettingError and TransportError (not carried out), RejectedError (refused),
        UnknownOutcome (perhaps carried out), MappingError (carried out; the answer is kept) and StoreError (not sent,
        for it could not be written down; where that is `in_doubt`, perhaps a worker sends it yet).
        """
        try:
            return self._sending.send(name, data or {}, operation)
        finally:
            self._go_on()

    def send_later(
        self,
        name: str,
        data: Mapping[str, Any] | None = None,
        *,
        operation: str | None = None,
        due: datetime | None = None,
    ) -> Record:
        """Have a worker send the request type `name` with `data`, at `due` or at once; returns the call's row.

        Raises UnknownNameError, DataError, SettingError and StoreError at once; what comes of it is in the row.
        """
        call = CALL.complete(self._sending.send_later(name, data or {}, operation, due))
        self._due.waiting = False
        if self.wake:
            attempt(self.wake)
        return call

    def send_many(
        self,
        name: str,
        rows: Iterable[Mapping[str, Any]],
        *,
        key: str | None = None,
        run: str = "",
        concurrency: int | None = None,
    ) -> Iterator[RowOutcome]:
        """Check all `rows`, then send each as one operation, and say of each what became of it, once that is known.

        `key` names the property that is a row's operation key; without one it is made of what the row holds, and of
        `run`. So the same rows are carried out once, however often they are given. Raises UnknownNameError,
        ValueError for a `concurrency` below 1, and DataError for the rows as one list before any is sent; later
        TransportError where row after row cannot be sent, SettingError and StoreError.
        """
        from engine.bulk import Bulk

        bulk = Bulk(self, name, key=key, run=run, concurrency=concurrency)
        faults = [
            Problem(f"/{number}{problem.pointer}", problem.message)
            for number, row in enumerate(rows)
            for problem in bulk.take(number, row)
        ]
        if faults:
            raise DataError(name, faults)
        return bulk.send()

    def plan(self, name: str, data: Mapping[str, Any] | None = None, *, operation: str | None = None) -> Plan:
        """The call as `send` would make it; nothing is kept or sent."""
        return plan(self._context, name, data or {}, operation)

    def outcome(self, call: Record) -> Result:
        """What came of a call that was made before: its result, or the error it ended in."""
        return self._sending.settling.outcome(call)

    def receive(self, gateway: str, headers: Mapping[str, str], body: bytes, *, endpoint: str = "") -> Record:
        """Verify a webhook over its raw `body`, keep its event once, process it, and return its row.

        When this returns the event is durable and a 2xx may be answered; what goes wrong in processing is in the row. A
        delivery of several returns the first's. Raises UnknownNameError, SignatureError, SettingError and StoreError.
        """
        records = self._inbox.receive(gateway, headers, body, endpoint)
        try:
            ended = [self._inbox.process(record) for record in records]
            return EVENT.complete(ended[0])
        finally:
            self._go_on()

    def accept(self, gateway: str, headers: Mapping[str, str], body: bytes, *, endpoint: str = "") -> Record:
        """Verify a webhook over its raw `body`, keep its event once, have a worker process it, and return its row.

        When this returns the event is durable and a 2xx may be answered. Raises as `receive` does.
        """
        records = self._inbox.receive(gateway, headers, body, endpoint, left=0)
        if self.wake:
            attempt(self.wake)
        return EVENT.complete(records[0])

    def replay(self, event: Record, who: str, why: str) -> Record:
        """Process an event again from its stored bytes; returns its row as it is then."""
        again = self._inbox.replay(event, who, why)
        try:
            return EVENT.complete(self._inbox.process(again))
        finally:
            self._go_on()

    def run_due(self, limit: int = 10) -> int:
        """Do what is due, one after the other: queued and open calls, waiting events, slices of replays, reactions.

        Returns how many there were of them, up to `limit` of each kind. Raises DataError for a bad limit.
        """
        return sum(_one_by_one(part, limit) for parts in self._backlogs.values() for part in parts)

    def run_row(self, type: str, id: str) -> bool:
        """Do what is due of one call, event, replay or reaction; returns whether anything was.

        Raises UnknownNameError for any other type.
        """
        if type not in self._backlogs:
            raise UnknownNameError("kind of due work", type, self._backlogs)
        return any(_one_by_one(part, 1, id) for part in self._backlogs[type])

    def take_due(self, limit: int) -> list[Task]:
        """Claim up to `limit` of what is due, each kind in its turn, to be done at once. Raises as `run_due` does."""
        demand_limit(limit, "due work")
        parts = [part for parts in self._backlogs.values() for part in parts]
        turn = next(self._turns) % len(parts)
        tasks: list[Task] = []
        for part in parts[turn:] + parts[:turn]:
            if len(tasks) < limit:
                tasks += part.take(limit - len(tasks))
        return tasks

    @property
    def due_by(self) -> Due:
        """The kinds of rows that this process can do something about."""
        return {type: names for type, names in DUE.items() if type != REACTION.name or self.reactions.listens}

    def on(self, type: str) -> Callable[[_H], _H]:
        """Decorate a function to be called with every record of `type` after a commit changed it, at least once."""
        self.catalog.record_type(type)

        def register(handler: _H) -> _H:
            self.reactions.on(type, handler)
            return handler

        return register

    # Forms ------------------------------------------------------------------------------------------------------------

    def form(
        self,
        name: str,
        data: Mapping[str, Any] | None = None,
        *,
        session: str,
        at: str = "/callsheet",
        page: str = "/",
        origin: str = "",
        **config: Any,
    ) -> Form:
        """The HTML of the form for request type `name`, in which `data` is sealed and only the rest can be chosen.

        `session` is a secret text that only the visitor's own browser brings back. `at` is the path of the host's
        routes, `page` that of the page the form stands on, `origin` the scheme and host before both, for a gateway that
        sends the visitor back; `engine.forms.options` lists `config`. Raises UnknownNameError, DataError where no
        visitor could make the data fit, and SettingError.
        """
        return self._forms.form(name, data or {}, session=session, at=at, page=page, origin=origin, config=config)

    def submit(self, token: str, fields: Fields, *, session: str) -> Submission:
        """Send what a form was posted with: pairs of texts as a browser posts them, or a mapping of JSON values.

        However often a form is posted, it is carried out once. Raises SignatureError for a token that is changed, too
        old or of another session, UnknownNameError, SettingError and StoreError; all else is in the Submission.
        """
        return self._forms.submit(token, fields, session=session)

    def form_result(self, token: str, *, session: str) -> Shown:
        """What came of a form, where there is more to see than its success. Raises as `submit` does."""
        from engine.forms import results

        return results.show(self, token, session)

    @cached_property
    def _forms(self) -> Forms:
        from engine.forms.submitting import Forms

        return Forms(self)

    # Looking up -------------------------------------------------------------------------------------------------------

    def find(
        self, type: str, *, order: Order = "-id", limit: int = 100, after: str | None = None, **where: Any
    ) -> list[Record]:
        """Records of `type` that fit `where`, newest first: `engine.find("payment", external_id="order-17")`.

        A value is matched, a list is any of, a mapping is a range ({"gte": 5}). `after` is the id of the last record of
        the page before. Raises UnknownNameError for a type or a property without an index, DataError for a bad limit.
        """
        known = OWN_TYPES.get(type) or self.catalog.record_type(type)
        known.check_searchable(where)
        found = self.store.find(type, where=where, order=order, limit=limit, after=after)
        return [known.complete(record) for record in found]

    @property
    def catalog(self) -> Catalog:
        """The definitions in force."""
        return self._files.catalog()

    @property
    def faults(self) -> tuple[Fault, ...]:
        """What is wrong with files edited since; the definitions in force are those from before."""
        return self._files.faults

    # Parts ------------------------------------------------------------------------------------------------------------

    def _commit(self, changes: Sequence[Change]) -> list[Record]:
        rows = self.reactions.rows(changes)
        records = self.store.apply([*rows, *changes])
        if rows or any(change.type is CALL and change.verb == "insert" for change in changes):
            self._due.waiting = True
        return records[len(rows) :]

    def _go_on(self) -> None:
        """Have done what the last commit of this thread left to do; a chain of calls ends, so this does.

        It could be done later as well. So where it fails, who asked for something else still learns what came of that.
        """
        while getattr(self._due, "waiting", False):
            self._due.waiting = False
            attempt(self.wake or self.run_due)

    def key_of(self, scope: Scope, request_type: str, operation: str) -> str:
        """What tells an operation from any other of any store; the idempotency key where the gateway takes one."""
        return operation_key(self._salt, scope, request_type, operation)

    @cached_property
    def _salt(self) -> str:
        """Made once for a store and kept in it: two installations that share a gateway account never share a key."""
        made = {"name": "salt", "value": secrets.token_hex(16)}
        self.store.apply([Change("insert", INSTALLATION, ANYWHERE, {}, made)])
        value: str = self.store.find("installation", where={"name": "salt"}, limit=1)[0]["value"]
        return value


def _one_by_one(backlog: Backlog, limit: int, id: str | None = None) -> int:
    """Claim and do up to `limit` rows. None is claimed before its turn: a claimed row looks as if it was begun."""
    demand_limit(limit, "due work")
    for done in range(limit):
        tasks = backlog.take(1, id)
        if not tasks:
            return done
        for task in tasks:
            task()
    return limit
