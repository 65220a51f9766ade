"""Cases: what a request type or a processor does, told as data and run without a network.

    claim, before, data, sends, receives, after | raises        a call
    claim, before, event, after | raises                        a webhook event

Hides: how a case is run (a store in memory, a fixed clock, fixed ids and keys, test secrets) and compared.
"""

from __future__ import annotations

import itertools
import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from engine.case_requests import differences
from engine.catalog import Catalog
from engine.context import Clock
from engine.core import OWN_TYPES, Engine
from engine.credentials import keys_of, token_endpoint
from engine.deliveries import delivered
from engine.dispatcher import BEFORE_SENDING, HELD_BACK, Answer, Failure
from engine.errors import DefinitionError, EngineError, Fault, RejectedError, UnknownNameError, reason, unreadable
from engine.file_kinds import file_schema
from engine.records import Change, Record, Scope
from engine.reloading import Files
from engine.request_types import Request
from engine.seals import Sealer, is_sealed, new_key
from engine.settling import Result
from engine.signatures import sign
from engine.store.memory import MemoryStore
from engine.yaml_files import Mark, YamlFile, parse

KINDS = ("request_types", "webhook_processors")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECRET = "case_0123456789abcdef0123456789abcdef"  # noqa: S105 - opens nothing
_SEALS = new_key()


@dataclass(frozen=True, slots=True)
class Case:
    """One case file. `subject` is the request type or the event it is about, such as "stripe/create_refund"."""

    file: Path
    kind: str
    subject: str
    told: Mapping[str, Any]
    marks: Mapping[str, Mark] = field(default_factory=dict)

    def fault(self, pointer: str, message: str) -> Fault:
        """What is wrong at `pointer` of the file."""
        return YamlFile(_shown(self.file), self.told, self.marks).fault(pointer, message)

    @property
    def gateway(self) -> str:
        return self.subject.partition("/")[0]

    @property
    def sends(self) -> list[Any]:
        """The requests that it says are sent, in order."""
        return _listed(self.told.get("sends"))

    @property
    def receives(self) -> list[Any]:
        """The answers that it gives to them."""
        return _listed(self.told.get("receives"))

    @property
    def succeeds(self) -> bool:
        """Whether the case shows a success."""
        return "raises" not in self.told


def _listed(value: Any) -> list[Any]:
    return [] if value is None else value if isinstance(value, list) else [value]


@dataclass(slots=True)
class Run:
    """What happened when a case was run: `differences` from what it tells, and every value that was mapped."""

    differences: list[str] = field(default_factory=list)
    mapped: list[tuple[str, str, Any]] = field(default_factory=list)


def read_cases(folder: Path) -> list[Case]:
    """Every case in `folder`/KIND/GATEWAY/NAME/. Raises DefinitionError with all faults."""
    cases: list[Case] = []
    faults: list[Fault] = []
    for path in sorted(path for kind in KINDS for path in (folder / kind).glob("*/*/[!.]*.yml")):
        try:
            cases.append(read_case(path))
        except DefinitionError as error:
            faults += error.faults
    if faults:
        raise DefinitionError(faults)
    return cases


def read_case(path: Path) -> Case:
    """The case in `path`, whose folders name its kind and subject. Raises DefinitionError."""
    kind, gateway, name = path.parts[-4:-1]
    shown = _shown(path)
    try:
        file = parse(path.read_text("utf-8-sig"), shown)
    except (OSError, UnicodeDecodeError) as error:
        raise DefinitionError([Fault(shown, 1, 1, unreadable(error))]) from None
    problems = file_schema("case").problems({} if file.value is None else file.value)
    if problems:
        raise DefinitionError(file.fault(problem.pointer, str(problem)) for problem in problems)
    return Case(path, kind, f"{gateway}/{name}", file.value, file.marks)


def _shown(path: Path) -> str:
    return "/".join(path.parts[-6:])


def _unknown(case: Case, catalog: Catalog) -> Iterator[Fault]:
    """What a case is about, or has in its store, and that no file defines."""
    try:
        gateway = catalog.gateway(case.gateway)
        if case.kind == "request_types":
            catalog.request_type(case.subject)
        elif gateway.scheme is None:
            yield case.fault(
                "", f"{gateway.name} receives no events: request_types/{gateway.name}/_gateway.yml has no webhook:"
            )
        elif (endpoint := case.told.get("endpoint", "")) not in gateway.endpoint_secrets:
            raise UnknownNameError("endpoint", endpoint, gateway.endpoint_secrets)
        elif "event" not in case.told:
            yield case.fault("", "a case of a webhook has an event:, which is what is delivered")
    except UnknownNameError as error:
        yield case.fault("/endpoint", str(error))
    for part in ("before", "after"):
        for type in case.told.get(part, {}):
            if type not in OWN_TYPES and type not in catalog.record_types:
                said = UnknownNameError("record type", type, [*catalog.record_types, *OWN_TYPES])
                yield case.fault(f"/{part}/{type}", str(said))


class CaseRunner:
    """Runs cases against one reading of the files."""

    def __init__(self, root: Path | None = None) -> None:
        self._files = Files(root, {}, reload=False)

    def run(self, case: Case) -> Run:
        """Run one case; an empty list of differences means that it holds.

        Raises DefinitionError where it is about something that there is not.
        """
        catalog = self._files.catalog()
        if faults := list(_unknown(case, catalog)):
            raise DefinitionError(faults)
        run, store, sender = Run(), _Watched(), _Told(case, catalog)
        counter, keys = itertools.count(1), itertools.count(1)
        engine = Engine(
            store=store,
            dispatcher=sender,
            files=self._files,
            environment={**self.environment([case.gateway]), **case.told.get("settings", {})},
            clock=Clock(lambda: NOW, lambda: f"call-{next(counter)}", lambda _: None),
            key=lambda *_: f"key-{next(keys)}",
        )
        engine.wake = lambda: None
        for type, records in case.told.get("before", {}).items():
            try:
                store.apply([_existing(engine, case, type, record) for record in records])
            except EngineError as error:
                raise DefinitionError([case.fault(f"/before/{type}", reason(error))]) from None
        store.seen.clear()
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            run.differences += self._act(engine, case)
        if (wanted := case.told.get("warns")) and not any(wanted in str(one.message) for one in warned):
            run.differences.append(f"warns: {wanted!r} is not in {[str(one.message) for one in warned]}")
        run.differences += sender.differences()
        run.differences += _records_differ(store, case)
        run.mapped = store.mapped()
        return run

    def _act(self, engine: Engine, case: Case) -> Iterator[str]:
        wanted, raised, result = case.told.get("raises"), None, None
        try:
            if case.kind == "request_types":
                result = engine.send(case.subject, case.told.get("data", {}), operation=case.told.get("operation"))
            else:
                row = _received(engine, case)
                if row["state"] not in {"processed", "ignored"}:
                    raise EngineError(f"{row['state']}: {row['message']}")
        except EngineError as error:
            raised = error
        if raised is not None and wanted is None:
            yield f"raises {type(raised).__name__}: {raised}"
        if wanted is not None:
            name, text = type(raised).__name__ if raised else "nothing", str(raised)
            if name != wanted["error"] or wanted.get("message", "") not in text:
                yield f"raises: {wanted}, but it was {name}: {text}"
        yield from _result_differs(case, result)

    def environment(self, gateways: Iterable[str]) -> dict[str, str]:
        """Test values for every secret and setting that the gateways' files name."""
        catalog = self._files.catalog()
        names = [name for gateway in gateways for name in secrets_of(catalog, gateway)]
        own = {"CALLSHEET_MODE": "test", "CALLSHEET_ENCRYPTION_KEY": _SEALS}
        return {**own, **{name: f"{name.lower()}_{SECRET}" for name in names}}


def secrets_of(catalog: Catalog, gateway: str) -> list[str]:
    """The name of every secret and setting that the files of a gateway name."""
    known = catalog.gateway(gateway)
    return list(dict.fromkeys([*known.webhook_secrets, *known.settings.values(), *keys_of(catalog, gateway)]))


def _existing(engine: Engine, case: Case, type: str, record: Mapping[str, Any]) -> Change:
    known = OWN_TYPES.get(type) or engine.catalog.record_type(type)
    scope = Scope(record.get("gateway", case.gateway), record.get("account", ""), record.get("live", False))
    properties = {name: value for name, value in record.items() if name in known.properties}
    return Change("insert", known, scope, {"id": record["id"]} if "id" in record else {}, properties, must=True)


def _received(engine: Engine, case: Case) -> Record:
    endpoint, gateway = case.told.get("endpoint", ""), engine.catalog.gateway(case.gateway)
    body = json.dumps(delivered([case.told["event"]], gateway.events)).encode()
    secret = engine.settings.secret(gateway.endpoint_secrets[endpoint][0])
    assert gateway.scheme is not None  # noqa: S101 - its secrets are named just above
    headers = {**case.told.get("headers", {}), **sign(gateway.scheme, secret, body, NOW.timestamp())}
    return engine.receive(case.gateway, headers, body, endpoint=endpoint)


def _result_differs(case: Case, result: Result | None) -> Iterator[str]:
    if "returns" in case.told and (not result or _misfits(case.told["returns"], result.response)):
        yield f"returns: {case.told['returns']}, but it was {result.response if result else None}"
    if "redirect" in case.told and (not result or result.redirect != case.told["redirect"]):
        yield f"redirect: {case.told['redirect']}, but it was {result.redirect if result else None}"


class _Watched(MemoryStore):
    """A store that remembers the changes it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Change] = []

    def apply(self, changes: Sequence[Change]) -> list[Record]:
        self.seen += changes
        return super().apply(changes)

    def mapped(self) -> list[tuple[str, str, Any]]:
        """(record type, property, value) of everything that files set."""
        mine = [change for change in self.seen if change.type.name not in OWN_TYPES]
        return [(change.type.name, name, value) for change in mine for name, value in change.set.items()]


class _Told:
    """A dispatcher that gives a case's answers, and compares what it is given with what the case says is sent.

    A token that a call needs is given to it, for a case tells of the call alone.
    """

    def __init__(self, case: Case, catalog: Catalog) -> None:
        types = catalog.request_types
        self._token_endpoints = {token_endpoint(type) for type in types.values() if "oauth2" in type.auth}
        self._type = types.get(case.subject)
        self._sends, self._receives = case.sends, case.receives
        self._sent: list[Request] = []

    def send(
        self, request: Request, *, credentials: Mapping[str, str], deadline: float, answer_limit: int | None = None
    ) -> Answer | Failure:
        del credentials, deadline, answer_limit
        if request.url in self._token_endpoints and b"grant_type=client_credentials" in request.body:
            return answer_of({"body": {"access_token": f"token_{SECRET}", "token_type": "Bearer"}})
        if not self._sent or self._sent[-1] != request:
            self._sent.append(request)
        turn = min(len(self._sent), len(self._receives)) - 1
        return answer_of(self._receives[turn] if self._receives else {"fails": "connect"})

    def differences(self) -> Iterator[str]:
        if len(self._sent) != len(self._sends):
            shown = [f"{request.method} {request.url}" for request in self._sent]
            yield f"sends: {len(self._sends)} requests, but they were {shown}"
        for wanted, request in zip(self._sends, self._sent, strict=False):
            yield from differences(wanted, request, self._type) if self._type else ()


def answer_of(told: Mapping[str, Any]) -> Answer | Failure:
    """The answer that a case's `receives` tells of: JSON, unless it says otherwise."""
    if "fails" in told:
        kind = told["fails"]
        sent = kind not in BEFORE_SENDING | HELD_BACK
        return Failure(kind, sent=sent, message=f"the case fails with {kind}", seconds=0.0)
    body = told.get("body")
    raw = body.encode() if isinstance(body, str) else b"" if "body" not in told else json.dumps(body).encode()
    framed = {"content-length": str(len(raw))}
    headers = {
        "content-type": "application/json",
        **framed,
        **{k.lower(): v for k, v in told.get("headers", {}).items()},
    }
    return Answer(told.get("status", 200), headers, raw, 0.0)


def _records_differ(store: MemoryStore, case: Case) -> Iterator[str]:
    own = "call-1" if case.kind == "request_types" else None  # the call that the case is about is not listed in it
    for type, wanted in case.told.get("after", {}).items():
        found = [record.as_dict() for record in store.find(type, order="id", limit=10_000)]
        left = [record for record in found if record["id"] != own]
        if len(left) != len(wanted):
            yield f"after: {len(wanted)} {type} records, but there are {len(left)}: {left}"
            continue
        for record in wanted:
            best = min(left, key=lambda one: len(_misfits(record, one)))
            left.remove(best)
            yield from (f"after: {type}{problem}" for problem in _misfits(record, best))


def _misfits(wanted: Any, found: Any, pointer: str = "") -> list[str]:
    """Where `found` has not at least what `wanted` has; null is absent, what is kept sealed is told in the clear."""
    if is_sealed(found):
        found = Sealer([_SEALS]).open(found)
    if isinstance(wanted, Mapping) and isinstance(found, Mapping):
        return [one for key in wanted for one in _misfits(wanted[key], found.get(key), f"{pointer}/{key}")]
    if wanted == found and isinstance(wanted, bool) == isinstance(found, bool):
        return []
    return [f"{pointer}: {wanted!r}, but it is {found!r}"]


def is_refusal(case: Case) -> bool:
    """Whether the case shows the gateway refusing."""
    raises: Mapping[str, Any] = case.told.get("raises", {})
    return raises.get("error") == RejectedError.__name__
