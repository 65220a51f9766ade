"""The applications that receive events, each as gunicorn's worker makes it, and gunicorn itself.

no_op       a Flask route that does nothing
callsheet   the engine's own route; its events are kept, and left to `callsheet worker`
hooked      the same in a host that has Flask call a function before each request: no event goes past Flask
by_hand     what somebody would write who verifies an event and keeps it, and nothing else; of three kinds, and two
            more that do by hand what is demanded of the engine, the second past Flask
dj_stripe   the view that dj-stripe brings, with its tables in the same kind of database
"""

from __future__ import annotations

import gc
import hmac
import json
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from queue import SimpleQueue
from typing import Any
from uuid import UUID

from flask import Flask, request

from engine.answers import clean_body, parse_json
from engine.ids import new_id
from engine.seals import new_key
from engine.settings import Settings
from engine.store.sql import SqlStore
from engine.store.sqlite import driver, journal_for
from engine.web import Callsheet

from .deliveries import SECRET

HOME = Path(__file__).parents[2]
API_KEY = "sk_test_0123456789abcdefghijklmn"
ENDPOINT = UUID(int=17)
PATHS = {
    "no_op": "/hook",
    "callsheet": "/callsheet/webhooks/stripe",
    "hooked": "/callsheet/webhooks/stripe",
    "by_hand": "/hook",
    "by_hand_as_demanded": "/hook",
    "by_hand_past_flask": "/hook",
    "by_hand_in_threads": "/hook",
    "by_hand_on_server": "/hook",
    "dj_stripe": f"/webhook/{ENDPOINT}/",
}
_GUARDIAN = '"$@" & read -r _; kill $!; wait'  # ends the server with us, however we end
_LISTENS = re.compile(r"Listening at: http://127\.0\.0\.1:(\d+)")


def no_op() -> Flask:
    """The ceiling of a server: Flask, and nothing done."""
    app = Flask("no_op")
    app.add_url_rule("/hook", "hook", lambda: "ok", methods=["POST"])
    return app


def callsheet(folder: str, store: str) -> Flask:
    """A host, as `callsheet init` lays one out."""
    app = Flask("host", root_path=folder)
    Callsheet(app, worker=False, environment=_settings(store))
    return app


def hooked(folder: str, store: str) -> Flask:
    """A host whose every request goes through Flask."""
    app = callsheet(folder, store)
    app.before_request(lambda: None)
    return app


def _settings(store: str) -> dict[str, str]:
    return {"STRIPE_WEBHOOK_SECRET": SECRET, "CALLSHEET_SECRET_KEY": new_key(), "CALLSHEET_STORE": store}


def by_hand(file: str) -> Flask:
    """Verify, insert, commit: on the same SQLite, in the same journal mode, for a worker that does one at a time."""
    connection = _database(file)

    def keep(body: bytes) -> None:
        with connection:
            connection.execute(_INSERT, (json.loads(body)["id"], body.decode()))

    return _receiver(keep)


def by_hand_as_demanded(file: str) -> Flask:
    """The same with what is demanded of whoever keeps other people's events, in the table and indexes of the store."""
    return _receiver(_keeping_as_demanded(file))


def by_hand_past_flask(file: str) -> Callable[..., Any]:
    """That as an application of its own for the server: no framework stands between."""
    keep = _keeping_as_demanded(file)

    def receive(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Sequence[bytes]:
        body = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"]))
        if not _is_right(environ["HTTP_STRIPE_SIGNATURE"], body):
            start_response("400 Bad Request", [("Content-Length", "0")])
            return ()
        keep(body)
        start_response("200 OK", [("Content-Length", "0")])
        return ()

    return receive


def _keeping_as_demanded(file: str) -> Callable[[bytes], None]:
    """Secrets and card numbers are masked, a key given twice is refused, a worker finds the row by state and time."""
    store = f"sqlite+pysqlite3:///{file}"
    SqlStore(store).upgrade()
    settings = Settings(None, _settings(store))
    connection = driver("pysqlite3").connect(file, timeout=10, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")

    def keep(body: bytes) -> None:
        kept = clean_body(body, settings.redact)
        event = parse_json(kept)
        id, now = event["id"], datetime.now(UTC).isoformat()
        row = {"id": new_id(), "state": "received", "due": now, "key": f"stripe||test|{id}", "event_id": id}
        row |= {"event_type": event["type"]}
        properties = json.dumps({**row, "received_at": now, "body": kept.decode()})
        connection.execute(_INSERT_AS_DEMANDED, {**row, "properties": properties})

    return keep


def by_hand_in_threads(file: str) -> Flask:
    """The same for many threads, which would wait for each other at every commit: one more commits for all of them."""
    waiting: SimpleQueue[tuple[str, str, threading.Lock]] = SimpleQueue()

    def keep(body: bytes) -> None:
        kept = threading.Lock()
        kept.acquire()
        waiting.put((json.loads(body)["id"], body.decode(), kept))
        kept.acquire()

    def write() -> None:
        connection = _database(file)
        while True:
            group = [waiting.get(), *(waiting.get() for _ in range(waiting.qsize()))]
            with connection:
                connection.executemany(_INSERT, [(id, body) for id, body, _ in group])
            for _, _, kept in group:
                kept.release()

    threading.Thread(target=write, daemon=True).start()
    return _receiver(keep)


def by_hand_on_server(url: str) -> Flask:
    """The same on PostgreSQL, by a statement that is a transaction of its own."""
    import psycopg

    connection = psycopg.connect(url, autocommit=True)
    connection.execute("CREATE TABLE IF NOT EXISTS by_hand (id TEXT PRIMARY KEY, body TEXT)")

    def keep(body: bytes) -> None:
        statement = "INSERT INTO by_hand VALUES (%s, %s) ON CONFLICT DO NOTHING"
        connection.execute(statement, (json.loads(body)["id"], body.decode()))

    return _receiver(keep)


_INSERT_AS_DEMANDED = """
    INSERT INTO callsheet_event (id, gateway, account, live, properties, state, due, key, event_id, event_type)
    VALUES (:id, 'stripe', '', 0, :properties, :state, :due, :key, :event_id, :event_type) ON CONFLICT DO NOTHING
"""
_INSERT = "INSERT OR IGNORE INTO event VALUES (?, ?)"


def _database(file: str) -> Any:
    module = driver("pysqlite3")
    connection = module.connect(file, timeout=10, check_same_thread=False)
    journal, synchronous = journal_for(module.sqlite_version_info)
    connection.execute(f"PRAGMA journal_mode = {journal}")
    connection.execute(f"PRAGMA synchronous = {synchronous}")
    connection.execute("CREATE TABLE IF NOT EXISTS event (id TEXT PRIMARY KEY, body TEXT)")
    return connection


def _receiver(keep: Callable[[bytes], None]) -> Flask:
    app = Flask("by_hand")

    def hook() -> tuple[str, int]:
        body = request.get_data()
        if not _is_right(request.headers["Stripe-Signature"], body):
            return "not accepted", 400
        keep(body)
        return "ok", 200

    app.add_url_rule("/hook", "hook", hook, methods=["POST"])
    return app


def _is_right(signature: str, body: bytes) -> bool:
    """Whether a header of Stripe's signs the body, and not long ago."""
    pairs = [part.split("=", 1) for part in signature.split(",")]
    timestamp = dict(pairs)["t"]
    expected = hmac.digest(SECRET.encode(), timestamp.encode() + b"." + body, "sha256").hex()
    is_signed = any(name == "v1" and hmac.compare_digest(value, expected) for name, value in pairs)
    return is_signed and abs(time.time() - int(timestamp)) <= 300


def dj_stripe(database: dict[str, Any]) -> Callable[..., Any]:
    """Django with little more than dj-stripe, its connection kept between requests."""
    import django
    from django.conf import settings
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application

    apps = ("auth", "contenttypes", "djstripe")
    settings.configure(
        ALLOWED_HOSTS=["127.0.0.1"],
        DATABASES={"default": {**database, "CONN_MAX_AGE": None}},
        DJSTRIPE_FOREIGN_KEY_TO_FIELD="id",
        INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "djstripe"],
        MIGRATION_MODULES=dict.fromkeys(apps),  # the tables as they are now, without their history of a minute
        MIDDLEWARE=["django.middleware.common.CommonMiddleware"],  # says how long an answer is
        ROOT_URLCONF="djstripe.urls",
        SECRET_KEY=new_key(),
        STRIPE_TEST_SECRET_KEY=API_KEY,
        USE_TZ=True,
    )
    django.setup()
    call_command("migrate", run_syncdb=True, verbosity=0)
    from djstripe.models import Account, APIKey, WebhookEndpoint

    key, _ = APIKey.objects.get_or_create_by_api_key(API_KEY)
    key.djstripe_owner_account = Account.objects.create(id="acct_benchmark", djstripe_owner_account=None)
    key.save()  # whose key it is, is known, as to every host that has been synchronised: nobody asks Stripe
    known = {"id": "we_benchmark", "secret": SECRET, "url": "https://shop.example", "enabled_events": ["*"]}
    WebhookEndpoint.objects.create(djstripe_uuid=ENDPOINT, livemode=False, status="enabled", **known)
    application: Callable[..., Any] = get_wsgi_application()
    return application


def settled(name: str, *arguments: Any) -> Callable[..., Any]:
    """An application as it is after an hour: what was made at start is not looked through for garbage any more."""
    application: Callable[..., Any] = globals()[name](*arguments)
    gc.collect()
    gc.freeze()
    return application


@contextmanager
def served(name: str, *arguments: object, threads: int = 0) -> Iterator[int]:
    """The port of one gunicorn worker that serves the application, with so many threads or the sync worker."""
    kind = ["--worker-class", "gthread", "--threads", str(threads)] if threads else ["--worker-class", "sync"]
    application = f"{__name__}:settled({name!r}, {', '.join(map(repr, arguments))})"
    command = ["/bin/sh", "-c", _GUARDIAN, "guardian"]
    command += [sys.executable, "-m", "gunicorn", "--bind", "127.0.0.1:0", "--timeout", "300", *kind, application]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=HOME, stdin=pipe, stderr=pipe, text=True) as process:
        assert process.stdin
        assert process.stderr
        said = []
        for line in process.stderr:
            said.append(line)
            if found := _LISTENS.search(line):
                break
        else:
            raise RuntimeError(f"gunicorn did not start: {''.join(said)}")
        reader = threading.Thread(target=process.stderr.read, daemon=True)  # a full pipe would stop it
        reader.start()
        try:
            yield int(found[1])
        finally:
            process.stdin.close()
            process.wait()
            reader.join()
