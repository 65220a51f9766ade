"""Webhooks: verify, keep once durably, answer 200. One worker of gunicorn, eight connections.

The ceiling is a Flask route on the same server that does nothing. What the disk and a few lines of Python take is shown
by the same written by hand. dj-stripe keeps the event, too, and a second row that says how it came.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

from engine.store.sql import SqlStore

from .contests import RATE, Contest, Contestant, Row
from .databases import synced_postgres
from .deliveries import CONNECTIONS, Deliveries
from .hosts import PATHS, served

THREADS = {"sync": 0, "gthread": CONNECTIONS}
WRITTEN, DEMANDED = "the same written by hand", "that with masks, in the store's table with its indexes"
PAST_FLASK = "that as a bare WSGI application, past Flask"
BY_HAND = {
    "sync": {WRITTEN: "by_hand", DEMANDED: "by_hand_as_demanded", PAST_FLASK: "by_hand_past_flask"},
    "gthread": {WRITTEN: "by_hand_in_threads"},
}
GOALS = {"sync": 0.42, "gthread": 0.50}  # of a route that does nothing
TIMES_DJ_STRIPE = 15.0
SPREAD = 3.0  # the slowest hundredth beside the middle

Host = tuple[str, tuple[object, ...]]


@contextmanager
def receiving(deliveries: int) -> Iterator[Contest]:
    """The contest, of batches of so many deliveries; of a tenth for dj-stripe."""
    with TemporaryDirectory() as folder, synced_postgres() as url, ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(CONNECTIONS))

        def deliver(host: Host, server: str, number: int) -> Deliveries:
            port = stack.enter_context(served(host[0], *host[1], threads=THREADS[server]))
            return Deliveries(pool, port, PATHS[host[0]], number)

        contestants, rows = dict[str, Contestant](), list[Row]()
        for server, goal in GOALS.items():
            file = f"{folder}/{server}.sqlite3"
            ceiling, ours, hooked = (f"{name}, {server}" for name in ("no-op Flask route", "callsheet", "hooked"))
            host = deliver(("callsheet", (folder, f"sqlite+pysqlite3:///{file}")), server, deliveries)
            with_hook = ("hooked", (folder, f"sqlite+pysqlite3:///{file}.hooked"))
            contestants |= {
                ceiling: Contestant(deliver(("no_op", ()), server, deliveries).run, 1),
                ours: Contestant(host.run, 1),
                hooked: Contestant(deliver(with_hook, server, deliveries).run, 1),
            }
            rows.append(Row(f"webhook on gunicorn {server}, durable in SQLite", ours, ceiling, goal, RATE))
            rows.append(Row("the same, where a function is called at every request", hooked, ceiling, None, RATE))
            for said, name in BY_HAND[server].items():
                by_hand = deliver((name, (f"{file}.{name}",)), server, deliveries)
                contestants[f"{name}, {server}"] = Contestant(by_hand.run, 1)
                rows.append(Row(said, f"{name}, {server}", ceiling, None, RATE))
            if server == "gthread":
                contestants |= _spread(host)
                rows.append(Row("its slowest hundredth beside its middle", "p99", "p50", SPREAD))
        plain, on_server, django = "callsheet, sync, without `fast`", "callsheet, sync, PostgreSQL", "dj-stripe, sync"
        on_server_by_hand = "by_hand_on_server, sync"
        fewer = max(deliveries // 10, 20)
        store = f"sqlite:///{folder}/plain.sqlite3"
        contestants |= {
            plain: Contestant(deliver(("callsheet", (folder, store)), "sync", deliveries).run, 1),
            django: Contestant(deliver(("dj_stripe", (_file(folder),)), "sync", fewer).run, 1),
            on_server: Contestant(deliver(("callsheet", (folder, url)), "sync", deliveries).run, 1),
            on_server_by_hand: Contestant(deliver(("by_hand_on_server", (url,)), "sync", deliveries).run, 1),
            f"{django}, PostgreSQL": Contestant(deliver(("dj_stripe", (_server(url),)), "sync", fewer).run, 1),
        }
        rows += [
            Row("webhook on gunicorn sync, durable in SQLite", "callsheet, sync", django, TIMES_DJ_STRIPE, RATE),
            Row(WRITTEN, "by_hand, sync", django, None, RATE),
            Row(
                "the same written by hand as it is demanded, past Flask", "by_hand_past_flask, sync", django, None, RATE
            ),
            Row("the same without the extra `fast`", plain, django, None, RATE),
            Row("a Flask route that does nothing", "no-op Flask route, sync", django, None, RATE),
            Row("webhook on gunicorn sync, PostgreSQL", on_server, f"{django}, PostgreSQL", TIMES_DJ_STRIPE, RATE),
            Row(WRITTEN, on_server_by_hand, f"{django}, PostgreSQL", None, RATE),
        ]
        yield Contest("receiving", contestants, rows, most=7)
        for kept in (f"sqlite+pysqlite3:///{folder}/gthread.sqlite3", url):
            (event,) = SqlStore(kept).find("event", limit=1)
            assert event["state"] == "received", event["message"]


def _spread(host: Deliveries) -> dict[str, Contestant]:
    return {"p99": Contestant(lambda: host.p99, 1), "p50": Contestant(lambda: host.p50, 1)}


def _file(folder: str) -> dict[str, Any]:
    return {"ENGINE": "django.db.backends.sqlite3", "NAME": f"{folder}/django.sqlite3", "OPTIONS": {"timeout": 20}}


def _server(url: str) -> dict[str, Any]:
    folder = url.partition("host=")[2]
    return {"ENGINE": "django.db.backends.postgresql", "NAME": "postgres", "USER": "postgres", "HOST": folder}
