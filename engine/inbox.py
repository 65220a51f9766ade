"""The webhook inbox: an event is verified, kept once, and then processed.

    received ──▶ processed     its processor's changes are in the same commit
             ├─▶ ignored       there is no processor of its name
             ├─▶ failed ──▶ …  tried again later, at last dead
    quarantined                authentic, but not to be understood here, or of the other mode

Hides: what makes an event one event, and who may answer 200. A delivery may hold several: all are kept in one commit.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from engine import calls
from engine.answers import clean_body, parse_json
from engine.calls import as_bytes, as_text, instant
from engine.changes import Mapper
from engine.context import Context, Task, claim
from engine.deliveries import events_in, text_of, told
from engine.errors import Conflict, SettingError, SignatureError, StoreError, UnknownNameError, reason
from engine.observing import OTHER
from engine.records import Change, Record, RecordType, Scope, can_be_account
from engine.request_types import Gateway
from engine.settings import Settings
from engine.settling import Settling, Subject, named
from engine.signatures import Scheme, check_secret, verify
from engine.store import every

GRACE = 10  # seconds that a new event is left to the process that received it
LATER = (10, 60, 300, 1800, 7200, 21_600, 43_200, 86_400)  # seconds between tries; after the last one it is dead

_NAMELESS = "the event says no id or no type"
_TEXT = {"type": "string"}

EVENT = RecordType(
    "event",
    summary="One webhook event, as it came.",
    properties={
        "key": {**_TEXT, "description": "One text of what makes it one: gateway, account, mode and event_id."},
        "event_id": {**_TEXT, "description": "The gateway's id, or where it gives none the body's sha256."},
        "event_type": _TEXT,
        "place": {"type": "integer", "description": "Where it stood in the list that was delivered, from 0."},
        "endpoint": _TEXT,
        "state": {"enum": ["received", "processed", "ignored", "failed", "dead", "quarantined"]},
        "due": _TEXT,
        "lease": _TEXT,
        "received_at": _TEXT,
        "happened_at": _TEXT,
        "version": _TEXT,
        "cause": {**_TEXT, "description": "The idempotency key of the call that caused it."},
        "headers": {"type": "object", "description": "Those of its delivery that the gateway's file names."},
        "body": _TEXT,
        "tries": {"type": "integer"},
        "message": _TEXT,
        "changed": {"type": "array"},
        "audit": {"type": "array", "description": "What people did to it: when, who, what, why."},
        "purged": {**_TEXT, "description": "When its body was removed."},
        "sha256": {**_TEXT, "description": "Of the body that was removed."},
    },
    required=("key", "event_id", "event_type", "state", "body"),
    unique=(("event_id",),),
    index=("state", "due", "event_type"),
)

log = logging.getLogger("engine")


SettleByEvent = Callable[[Record, str | None, str | None, Any], None]
"""Settles the call that an event names: (event, idempotency key, our reference, the event's object)."""


class Inbox:
    """Receives and processes events."""

    def __init__(self, context: Context, settling: Settling, settle: SettleByEvent) -> None:
        self._with, self._settling, self._settle = context, settling, settle

    def receive(
        self, gateway_name: str, headers: Mapping[str, str], body: bytes, endpoint: str = "", *, left: int = GRACE
    ) -> list[Record]:
        """Verify and keep an event, or all that a delivery holds; then they are durable, and a 2xx may be answered.

        For so many seconds they are `left` to whoever receives them, and to a worker then. Raises UnknownNameError (no
        such gateway or endpoint), SignatureError, SettingError (no secret is known) and StoreError.
        """
        gateway = self._with.catalog().gateway(gateway_name)
        scheme = _scheme_at(gateway, endpoint)
        with self._with.watch.step("receive", gateway.name, OTHER) as step:
            records, step.outcome = self._received(gateway, scheme, headers, body, endpoint, left)
            step.name = self._known_type(records[0])
            return records

    def _received(
        self,
        gateway: Gateway,
        scheme: Scheme,
        headers: Mapping[str, str],
        body: bytes,
        endpoint: str,
        left: int,
    ) -> tuple[list[Record], str]:
        """The events' rows, and whether any is new: its state then, else `doubled`."""
        now = self._with.clock.now()
        self._verify(gateway, endpoint, scheme, headers, body, now.timestamp())
        received_at = instant(now)
        due = instant(now + timedelta(seconds=left)) if left else received_at
        came: dict[str, Any] = {"endpoint": endpoint, "received_at": received_at}
        if gateway.kept_headers:
            came["headers"] = self._kept(gateway, headers)
        kept_body = clean_body(body, self._with.settings.redact)
        born = self._parts(gateway, kept_body, came, due) or [self._born(gateway, kept_body, came, due, body)]
        kept = self._with.store.apply(born)
        if len(kept) == len(born):
            return kept, kept[0]["state"]
        new = {(record.scope, record["event_id"]): record for record in kept}
        rows = [new.get((one.scope, one.set["event_id"])) or self._known(dict(one.set), one.scope) for one in born]
        return rows, kept[0]["state"] if kept else "doubled"

    def _kept(self, gateway: Gateway, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers that the gateway's file names, as they may be kept."""
        given = {name.lower(): self._with.settings.clean(value) for name, value in headers.items()}
        return {name: given[name] for name in gateway.kept_headers if name in given}

    def _parts(self, gateway: Gateway, body: bytes, came: Mapping[str, Any], due: str) -> list[Change]:
        """The changes that keep the events of a list; of one that stands in it twice, the first fit to be processed."""
        kept: dict[tuple[Scope, str], Change] = {}
        for place, part in enumerate(events_in(body, gateway.events)):
            one = self._born(gateway, part, {**came, "place": place}, due, part)
            if kept.setdefault(same := (one.scope, one.set["event_id"]), one).set["state"] == "quarantined":
                kept[same] = one
        return list(kept.values())

    def _born(self, gateway: Gateway, body: bytes, came: Mapping[str, Any], due: str, signed: bytes) -> Change:
        """The change that keeps an event, once; one that says no id is told from others by what was `signed`."""
        event, said = self._understood(gateway, body, came.get("headers"))
        account = text_of(said.get("account"))
        live = self._is_live(said)
        here = self._with.settings.live if live is None else live
        scope = Scope(gateway.name, account if can_be_account(account) else "", here)
        identity = text_of(said.get("id")) or hashlib.sha256(signed).hexdigest()
        wrong = self._wrong(gateway, event, said)
        if wrong == _NAMELESS and gateway.events is not None and "place" not in came:
            wrong = f"{wrong}, and no events are in a list at {gateway.events or 'the top'}"
        properties = {
            "key": "|".join([scope.gateway, scope.account, "live" if scope.live else "test", identity]),
            "event_id": identity,
            **came,
            **told(said),
            "body": as_text(body),
            "purged": None,
            "sha256": None,
            **_ahead(wrong, due),
        }
        return Change("insert", EVENT, scope, {}, properties)

    def _known_type(self, record: Record) -> str:
        """The event type as a step may name it: those of which there are as many as files, and OTHER."""
        known = self._processor_of(record)
        return known.name.partition("/")[2] if known else OTHER

    def _processor_of(self, record: Record) -> Mapper | None:
        name = f"{record.scope.gateway}/{record['event_type'].replace('/', '.')}"
        return self._with.catalog().processors.get(name)

    def _known(self, properties: dict[str, Any], scope: Scope) -> Record:
        """The row of an event that came before. One that was put aside gives way to one that can be processed."""
        where = {"event_id": properties["event_id"], **scope._asdict()}
        known = self._with.store.find("event", where=where, limit=1)[0]
        if known["state"] != "quarantined" or properties["state"] == "quarantined":
            return known
        seen = {"state": ["quarantined"]}
        taken = self._with.store.apply([Change("update", EVENT, scope, {"id": known.id}, properties, seen)])
        return taken[0] if taken else self._known(properties, scope)

    def process(self, record: Record) -> Record:
        """Apply what the event means; what goes wrong is written down, never raised. Returns the row as it is now."""
        if record["state"] not in {"received", "failed"}:
            return record
        gateway = self._with.catalog().gateways.get(record.scope.gateway)
        try:
            names = {"event": parse_json(as_bytes(record["body"])), "headers": record.get("headers") or {}}
            said = gateway.read_cause(names) if gateway else {}
        except ValueError as error:
            return self._end(record, [], self._failed(record, error))
        key, reference = text_of(said.get("key")) or None, text_of(said.get("reference")) or None
        self._settle(record, key, reference, said.get("object"))
        with self._with.watch.step("process", record.scope.gateway, self._known_type(record)) as step:
            ended = self._process(record, reference)
            step.outcome = ended["state"]
        return ended

    def replay(self, record: Record, who: str, why: str) -> Record:
        """Have an event processed again, from its stored bytes: its signature was checked when it came.

        What is not for this host to process, as its files and settings are now, is put aside again. Raises Conflict
        where the bytes are gone.
        """
        if record.get("purged"):
            raise Conflict(f"the body of the event {record.id} was purged at {record['purged']}; it is not read again")
        now = self._with.clock.now()
        gateway = self._with.catalog().gateways.get(record.scope.gateway)
        audit = calls.audited(record, now, who, "replayed", self._with.settings.clean(why))
        body, born = as_bytes(record["body"]), list[Change]()
        again: dict[str, Any] = _ahead(None, instant(now))
        if gateway:
            event, said = self._understood(gateway, body, record.get("headers"))
            again = {**_ahead(self._wrong(gateway, event, said), instant(now)), **told(said)}
            came = {name: record[name] for name in ("endpoint", "received_at", "headers") if name in record.properties}
            born = self._parts(gateway, body, came, instant(now)) if record.get("place") is None else []
        if born:
            again = {"state": "processed", "due": None, "message": f"the events that it holds are kept: {len(born)}"}
        seen = {"state": [record["state"]], "purged": None}
        last = Change("update", EVENT, record.scope, {"id": record.id}, {**again, "audit": audit}, seen, must=True)
        return self._with.commit([*born, last])[-1]

    def _process(self, record: Record, reference: str | None) -> Record:
        processor = self._processor_of(record)
        if processor is None:
            message = f"there is no webhook_processors/{record.scope.gateway}/{record['event_type']}.json.j2"
            return self._end(record, [], {"state": "ignored", "message": message})
        names = {
            "event": parse_json(as_bytes(record["body"])),
            "now": instant(self._with.clock.now()),
            "sent_at": record["received_at"],
        }
        subject = Subject(record.id, {}, record.scope, f"event:{record['key']}", 0)
        try:
            changes = self._settling.journaled(processor.changes(names, record.scope, waits=True), subject)
            if reference and any(change.verb == "delete" for change in changes):
                self._demand_ended(reference)
            end = {"state": "processed", "changed": named(changes), "message": None}
            return self._end(record, changes, end)
        except StoreError:
            raise
        except Exception as error:  # noqa: BLE001 - one event must not stop those behind it
            return self._end(record, [], self._failed(record, error))

    def _demand_ended(self, reference: str) -> None:
        """Raise Conflict while the call that made something is open: its answer would bring back what is deleted."""
        for call in self._with.store.find("call", where={"id": reference}, limit=1):
            if call["state"] in calls.OPEN:
                raise Conflict(
                    f"it deletes what the call {call.id} made, which is {call['state']} and has to end first"
                )

    def take(self, limit: int, id: str | None = None) -> list[Task]:
        """Claim up to `limit` events whose time has come (only `id`, where given), each to be processed at once."""
        due = claim(EVENT, ["received", "failed"], self._with.clock.now(), limit, id)
        return [partial(self.process, record) for record in self._with.store.apply([due])]

    def _end(self, record: Record, changes: list[Change], properties: dict[str, Any]) -> Record:
        end = {"due": None, **properties}
        when = {"state": ["received", "failed"]}
        last = Change("update", EVENT, record.scope, {"id": record.id}, end, when, must=True, seen=record)
        try:
            return self._with.commit([*changes, last])[-1]
        except Conflict:
            now = self._with.store.find("event", where={"id": record.id}, limit=1)[0]
            if now["state"] in {"received", "failed"}:
                raise
            return now  # another process was first, and its records are there

    def _failed(self, record: Record, error: Exception) -> dict[str, Any]:
        message = reason(error) or type(error).__name__
        tries = (record.get("tries") or 0) + 1
        log.warning("event %s %s: %s", record["event_type"], record["event_id"], message)
        if tries > len(LATER):
            return {"state": "dead", "tries": tries, "message": message}
        due = self._with.clock.now() + timedelta(seconds=LATER[tries - 1])
        return {"state": "failed", "tries": tries, "message": message, "due": instant(due)}

    # What an event says of itself -------------------------------------------------------------------------------------

    @staticmethod
    def _understood(gateway: Gateway, body: bytes, headers: Mapping[str, str] | None) -> tuple[Any, dict[str, Any]]:
        """The parsed event and what the gateway file reads out of it; (None, {}) where it is no JSON object."""
        try:
            event = parse_json(body)
            return event, dict(gateway.read_event({"event": event, "headers": headers or {}}))
        except ValueError:
            return None, {}

    def _is_live(self, said: Mapping[str, Any]) -> bool | None:
        """Whether an event is of live money, by what it says or else by where it came; None where it says neither."""
        value = said.get("live", self._with.settings.live)
        if isinstance(value, bool) or value is None:
            return bool(value)
        return {"true": True, "1": True, "false": False, "0": False}.get(str(value).lower())  # some write it as a text

    def _wrong(self, gateway: Gateway, event: Any, said: Mapping[str, Any]) -> str | None:
        """Why an event that is authentic is not processed here."""
        if not isinstance(event, dict):
            return "the body is not a JSON object"
        needed = ("id", "type") if "id" in (gateway.webhook or {}) else ("type",)
        if not all(text_of(said.get(part)) for part in needed):
            return _NAMELESS
        if not can_be_account(text_of(said.get("account"))):
            return "the event names an account that can be none"
        live = self._is_live(said)
        if live != self._with.settings.live:
            neither = f"the event's `live` is {said['live']!r:.60}, which is neither true nor false; mend webhook.live"
            mode = f"the event is {'live' if live else 'test'}, this host runs in {self._with.settings.mode} mode"
            return neither if live is None else mode
        if not gateway.is_written_for(version := text_of(said.get("version"))):
            return f"the event has version {version}, the files of {gateway.name} are written for {_remedy(gateway)}"
        return None

    def _verify(
        self, gateway: Gateway, endpoint: str, scheme: Scheme, headers: Mapping[str, str], body: bytes, now: float
    ) -> None:
        """Verify with the secrets of the environment; where none fits, with those kept since the registration.

        Raises SignatureError, and SettingError where there is no secret, or no key to read those that are kept.
        """
        settings = self._with.settings
        names = gateway.endpoint_secrets[endpoint]
        given = [settings.secret(name) for name in names if settings.has(name)]
        try:
            verify(scheme, given, headers, body, now)
        except SignatureError:
            kept = self._registered(gateway, endpoint)
            if not kept and not given:
                raise _no_secret(gateway, names) from None
            if not kept:
                raise
            settings.hide(*kept)
            verify(scheme, kept, headers, body, now)

    def _registered(self, gateway: Gateway, endpoint: str) -> list[str]:
        """The secrets that came with a registration, those apart whose key is gone."""
        if "webhook_endpoint" not in self._with.catalog().record_types:
            return []
        where = {"gateway": gateway.name, "live": self._with.settings.live}
        secrets = []
        for row in every(self._with.store, "webhook_endpoint", where, order="-id"):
            if row.get("secret") and (row.get("endpoint") or "") == endpoint:
                try:
                    secrets.append(self._with.sealer.open(row["secret"]))
                except SignatureError as error:  # another registration's may fit
                    log.warning("%s %s: %s; register the endpoint again", row.type, row.id, error.reason)
        return secrets


def purged(event: Record, now: datetime) -> Change:
    """The change that removes an event's body, and keeps what tells of it."""
    properties = {"body": "", "headers": None, "sha256": calls.sha256(event["body"]), "purged": instant(now)}
    return Change("update", EVENT, event.scope, {"id": event.id}, properties, {"state": [event["state"]]})


def check_secrets(gateways: Mapping[str, Gateway], settings: Settings) -> None:
    """Raise SettingError where a webhook secret is set, but empty, blank or short: such a door would be open."""
    for gateway in gateways.values():
        for name in gateway.webhook_secrets:
            if settings.has(name):
                check_secret(name, settings.get(name) or "")


def _scheme_at(gateway: Gateway, endpoint: str) -> Scheme:
    """How events that come to `endpoint` are signed. Raises UnknownNameError."""
    if gateway.scheme is None:
        raise UnknownNameError("webhook of gateway", gateway.name, [])
    if endpoint not in gateway.endpoint_secrets:
        known = [name for name in gateway.endpoint_secrets if name]
        raise UnknownNameError(f"webhook endpoint of {gateway.name}", endpoint, known)
    return gateway.scheme


def _ahead(wrong: str | None, due: str) -> dict[str, Any]:
    """What is ahead of an event: to be processed when it is due, or nothing, where something is wrong with it."""
    state = {"state": "quarantined", "due": None} if wrong else {"state": "received", "due": due}
    return {**state, "tries": 0, "message": wrong}


def _no_secret(gateway: Gateway, names: Sequence[str]) -> SettingError:
    wanted = " or ".join(names) or f"callsheet webhooks register for {gateway.name}"
    return SettingError(wanted, f"no webhook secret of {gateway.name} is known; set it, or register the endpoint")


def _remedy(gateway: Gateway) -> str:
    register = (gateway.webhook or {}).get("register")
    asks = " (`callsheet webhooks register URL` asks for it)" if register else ""
    return f"{gateway.version}; have the endpoint send that one{asks}, and this event again"
