"""What one process does, until it is done or dead: it sends, it works, or it sends without a journal."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from engine.core import Engine
from engine.dispatcher import Answer, Dispatcher
from engine.errors import CallError, EngineError, RejectedError, TransportError
from engine.records import Change, Record, Scope
from engine.request_types import Request

from .clock import Nights
from .gateway import SECRET, books, fall_quiet
from .host import PATIENCE
from .orders import SETTLED, Book, Order

WORKS = 3.0  # seconds until a worker ends by itself
IDLE = 0.05  # seconds between its looks
DAY = timedelta(hours=25)  # after which the bank has forgotten a key
DAYS = 30  # after which a caller gives up: what is open then, stays open
OPEN = ["prepared", "sending", "unknown"]


def send_orders(engine: Engine, orders: Sequence[Order], book: Book) -> None:
    """Carry out orders through the engine, one after the other, and write down what it says of each."""
    for order in orders:
        book.write(order.number, *_attempt(engine, order))


def _attempt(engine: Engine, order: Order) -> tuple[str, str | None]:
    """What the caller is told, and the bank's id of what was done or, where nothing was, when that was asked."""
    try:
        if order.later:
            call = engine.send_later(order.request_type, order.data, operation=order.name)
            if call["state"] in {"prepared", "sending"}:
                return "accepted", None
        result = engine.send(order.request_type, order.data, operation=order.name)
    except RejectedError:
        return "declined", None
    except TransportError as error:
        return "not done", error.call.get("sent_at") if error.call else None
    except CallError as error:
        by_hand = error.call is not None and error.call.get("resolution") == "succeeded"
        return ("by hand", None) if by_hand else ("unknown", None)
    except EngineError as error:
        return type(error).__name__, None
    return "succeeded", result.response["id"]


def work(engine: Engine) -> None:
    """Do what is due, for a while."""
    end = time.monotonic() + WORKS
    while time.monotonic() < end:
        if not engine.run_due(5):
            time.sleep(IDLE)


def send_carelessly(engine: Engine, orders: Sequence[Order], book: Book) -> None:
    """The order of steps that loses money: a random key, the request, and only then a record. No journal."""
    dispatcher = Dispatcher(read=PATIENCE)
    for order in orders:
        book.write(order.number, *attempt_carelessly(engine, dispatcher, order))


def attempt_carelessly(engine: Engine, dispatcher: Dispatcher, order: Order) -> tuple[str, str | None]:
    """What the caller is told, and the bank's id of what was done."""
    type, data = engine.catalog.request_type(order.request_type), order.data
    form: dict[str, Any] = {name: data[name] for name in ("amount", "currency", "source") if name in data}
    body = urlencode({**form, "metadata[order]": order.name}).encode()
    request = Request("POST", f"{type.base_url}/{order.kind}s", (("Idempotency-Key", str(uuid.uuid4())),), body)
    credentials = {"Authorization": f"Bearer {SECRET}"}
    answer = dispatcher.send(request, credentials=credentials, deadline=time.monotonic() + 25)
    if not isinstance(answer, Answer) or answer.status not in {200, 402}:
        return "unknown", None
    if answer.status == 402:
        return "declined", None
    done = json.loads(answer.body)
    kept: dict[str, Any] = {name: done[name] for name in ("order", "object", "amount", "currency")}
    movement = engine.catalog.record_type("movement")
    try:
        engine.store.apply([Change("upsert", movement, Scope("bank"), {"gateway_id": done["id"]}, kept)])
    except EngineError as error:
        return error.__class__.__name__, None
    return "succeeded", done["id"]


def finish(engine: Engine, orders: Sequence[Order], book: Book, nights: Nights, port: int) -> None:
    """Recover until nothing is due, as often as a caller comes back to what is not settled: once a day."""
    unsettled = list(orders)
    for _ in range(DAYS):
        recover(engine, nights, port)
        _decide(engine, port)
        waiting, unsettled = unsettled, []
        for order in waiting:
            said, id = _attempt(engine, order)
            book.write(order.number, said, id)
            if said not in SETTLED:
                unsettled.append(order)
        if not unsettled:
            break
        fall_quiet(port)
        nights.pass_by(DAY)
    recover(engine, nights, port)
    _decide(engine, port)


def recover(engine: Engine, nights: Nights, port: int) -> None:
    """Do all that is due, then let the time come of what is due next, until nothing is."""
    while True:
        while engine.run_due(50):
            pass
        upcoming = [moment for call in all_records(engine, "call", state=OPEN) if (moment := _next(call))]
        if not upcoming:
            return
        wait = datetime.fromisoformat(min(upcoming)) - nights.now()
        fall_quiet(port)
        nights.pass_by(max(wait, timedelta()) + timedelta(milliseconds=2))


def _next(call: Record) -> str | None:
    """When somebody will come back to this call by itself."""
    moment: str | None = call.get("lease") if call["state"] == "sending" else call.get("due")
    return moment


def _decide(engine: Engine, port: int) -> None:
    """A person looks into the bank's books and has the last word on what the engine left to one."""
    done = {effect["call"] for effect in books(port)["effects"]}
    for call in all_records(engine, "call", state=["unknown"]):
        if not _next(call):
            resolution = "succeeded" if call.id in done else "not_done"
            engine.recovery.resolve(call, resolution, "a person", "it is in the bank's books, or is not")


def all_records(engine: Engine, type: str, **where: Any) -> list[Record]:
    """Every record of a type, page by page."""
    found: list[Record] = []
    while True:
        after = found[-1].id if found else None
        page = engine.store.find(type, where=where, order="id", limit=1000, after=after)
        if not page:
            return found
        found += page
