"""Of what the time of one send, one webhook and one durable write is made: the functions behind each part's name.

A send is `Engine.send` with all that it waits for; a delivery is the whole of the WSGI application, without the server
before it; a write is that of one new record. Where the name of a function is out of date there is an error, and no
table that leaves it out.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from flask import Flask
from postgres import Databases
from werkzeug.datastructures import Headers
from werkzeug.test import EnvironBuilder, run_wsgi_app

from engine.signatures import SHIPPED, sign
from engine.store import Store
from engine.store.opening import open_store

from .databases import synced_postgres
from .deliveries import SECRET, event
from .gateway import gateway
from .hosts import PATHS, callsheet
from .sending import host_sending
from .storing import payments
from .timers import COMMIT, Key, Part, Profile, Timers, profile_of

CALLS = 40  # a round

COMMITS = (
    Part(COMMIT, ("engine.store.sql:SqlStore.apply", "engine.store.memory:MemoryStore.apply")),
    Part(f"{COMMIT}: a new record: id, schema, condition", ("engine.store.births:resulting",)),
    Part(f"{COMMIT}: its rows: JSON, unique keys, index entries", ("engine.store.sql:birth_of",)),
    Part(f"{COMMIT}: taking turns", ("engine.store.group:Group.run",)),
    Part(f"{COMMIT}: begin", ("engine.store.sqlite:SqliteDatabase._begin", "engine.store.statements:Session.begin")),
    Part(f"{COMMIT}: find and lock", ("engine.store.rows:Work._hold", "engine.store.memory:MemoryStore._hold")),
    Part(f"{COMMIT}: conditions, schema", ("engine.store.drafts:Draft.make",)),
    Part(f"{COMMIT}: rows to write", ("engine.store.rows:Work._write", "engine.store.memory:MemoryStore._keep")),
    Part(
        f"{COMMIT}: statements that write",
        (
            "engine.store.statements:Session.insert",
            "engine.store.statements:Session.write",
            "engine.store.postgres:PostgresSession.insert",
            "engine.store.postgres:PostgresSession.write",
        ),
    ),
    Part(
        f"{COMMIT}: flush",
        ("engine.store.statements:Session.commit", "engine.store.postgres:PostgresSession.commit"),
    ),
)
"""What is new is one statement that commits itself on PostgreSQL and in a log of SQLite, where a record has one row.

Its flush is a part of the statement then.
"""

SENDING = (
    Part("plan the call: operation, key, names", ("engine.sending:plan", "engine.sending:Sending._proof")),
    Part("look for secrets and card numbers", ("engine.planning:_what_must_not_be_kept",)),
    Part("check the data", ("engine.request_types:RequestType.check",)),
    Part("render", ("engine.request_types:RequestType.render",)),
    Part("encode", ("engine.bodies:encode",)),
    Part("write the call down", ("engine.calls:Plan.born",)),
    *COMMITS,
    Part("tries, and a line for each", ("engine.sending:Sending._exchange", "engine.calls:attempt")),
    Part("exchange: the message, and around it", ("engine.dispatcher:Dispatcher.send",)),
    Part("exchange: the socket's writing", ("engine.dispatcher.line:Line._write",)),
    Part("exchange: the gateway, and the socket's reading", ("engine.dispatcher.line:Line._receive",)),
    Part("exchange: llhttp", ("engine.dispatcher.reading:Reading.feed",)),
    Part("mask the answer", ("engine.sending:Sending._masked",)),
    Part("judge the answer", ("engine.sending:judge",)),
    Part("write down what came", ("engine.settling:Settling._facts", "engine.calls:moved")),
    Part("map", ("engine.settling:Settling.mapped",)),
    Part("the result", ("engine.settling:Settling.result",)),
)

RECEIVING = (
    Part("read the body", ("engine.web.webhooks:read_body",)),
    Part("receive: around it", ("engine.inbox:Inbox.receive",)),
    Part("verify", ("engine.inbox:Inbox._verify",)),
    Part("mask secrets and card numbers", ("engine.inbox:clean_body",)),
    Part("understand: parse, what the gateway's file reads", ("engine.inbox:Inbox._understood",)),
    *COMMITS,
)

Calls = Iterator[Callable[[], object]]
"""One call after the other, each made ready before the time runs."""

Profiles = dict[str, dict[str, Profile]]
"""By work and by where it is kept."""


def profiles(rounds: int) -> Profiles:
    """Send and receive so many rounds, those who keep it elsewhere in turn.

    Raises LookupError for a function that is gone, or that no call comes to.
    """
    with gateway() as origin, TemporaryDirectory() as folder, synced_postgres() as url:
        databases = Databases(url)
        works = {
            "a send": (SENDING, "the steps between", _sends(origin, folder, databases.new())),
            "a webhook": (RECEIVING, "the route", _deliveries(folder, databases.new())),
            "a write": (COMMITS, "the change", _writes(folder, databases.new())),
        }
        used, found = set[str](), Profiles()
        for work, (parts, rest, all_calls) in works.items():
            timers = Timers(parts, rest)
            found[work] = _measured(timers, all_calls, rounds)
            used |= timers.used
    lost = {function for part in (*SENDING, *RECEIVING) for function in part.functions} - used
    if lost:
        raise LookupError(f"no call comes to {', '.join(sorted(lost))}: name in profile.py what does it now")
    return found


def _measured(timers: Timers, all_calls: Mapping[str, Calls], rounds: int) -> dict[str, Profile]:
    """The profiles of calls that are kept in different places."""
    timed: dict[str, list[dict[Key, float]]] = {where: [] for where in all_calls}
    untimed: dict[str, list[float]] = {where: [] for where in all_calls}
    for number in range(rounds + 1):
        for where, calls in all_calls.items():
            gc.collect()
            with timers.installed():
                made = [timers.call(next(calls)) for _ in range(CALLS)]
            plain = [_seconds(next(calls)) for _ in range(CALLS)]
            if number:  # the first calls open connections and compile what is used
                timed[where] += made
                untimed[where] += plain
    return {where: profile_of(timed[where], untimed[where]) for where in all_calls}


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def _stores(folder: str, name: str, server: str) -> dict[str, str]:
    """The settings of stores of every kind, by what the table calls them."""
    return {
        "in memory": "memory:",
        "SQLite": f"sqlite:///{folder}/{name}.sqlite3",
        "SQLite of `fast`": f"sqlite+pysqlite3:///{folder}/{name}-fast.sqlite3",
        "PostgreSQL": server,
    }


def _sends(origin: str, folder: str, server: str) -> dict[str, Calls]:
    stores = _stores(folder, "sends", server).items()
    return {where: repeat(host_sending(origin, folder, store)) for where, store in stores}


def _deliveries(folder: str, server: str) -> dict[str, Calls]:
    stores = _stores(folder, "events", server).items()
    return {where: _delivered_to(callsheet(folder, store)) for where, store in stores}


def _writes(folder: str, server: str) -> dict[str, Calls]:
    stores = _stores(folder, "records", server).items()
    return {where: _written_to(open_store(store, Path(folder))) for where, store in stores}


def _written_to(store: Store) -> Calls:
    for change in payments():
        yield partial(store.apply, [change])


def _delivered_to(app: Flask) -> Calls:
    while True:
        body = event()
        proof = sign(SHIPPED["stripe"], SECRET, body, time.time())
        request = EnvironBuilder(PATHS["callsheet"], method="POST", data=body, headers=Headers(proof))
        yield partial(_deliver, app, request.get_environ())


def _deliver(app: Flask, environ: dict[str, Any]) -> None:
    pieces, status, _ = run_wsgi_app(app, environ)
    assert status == "200 OK", (status, list(pieces))
