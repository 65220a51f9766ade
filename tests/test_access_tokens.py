"""Access tokens over real HTTP: when one is fetched, when another one, what is told where none can be had."""

from __future__ import annotations

import base64
import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

import pytest
from fault_server import Peer, Received, message
from hosts import Hours, OnlyHere, Told, ok, write
from token_gateway import ID, SECRET, SETTINGS, TOKEN, TokenHost, files, form, oauth2, token_host

from engine.access_tokens import MARGIN, TRIES, AccessTokens, _Fetch
from engine.catalog import load
from engine.core import Engine
from engine.credentials import Client, credentials
from engine.dispatcher import Answer, Failure
from engine.errors import (
    CallError,
    EngineError,
    RejectedError,
    SettingError,
    StoreError,
    TransportError,
    UnknownOutcome,
)
from engine.gates import FAILURES, REST
from engine.records import Change, Record
from engine.redaction import MASK
from engine.settings import LATEST, Settings
from engine.store.memory import MemoryStore
from engine.windows import LATER, MOST_TRIES

PAY = {"amount": 5}
T = TypeVar("T")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[TokenHost]:
    with token_host(tmp_path) as made:
        yield made


def shown(received: Received) -> str:
    """The token that a call shows."""
    return received.headers["authorization"].removeprefix("Bearer ")


def classes(host: TokenHost) -> list[str]:
    """The classes of the attempts of the only call."""
    (call,) = host.journal()
    return [line["class"] for line in call["attempts"]]


# How a token is asked for ---------------------------------------------------------------------------------------------


def test_a_token_is_fetched_once_and_shown_by_every_call(host: TokenHost) -> None:
    """Before the first call, by HTTP Basic where the file says no other; a read shows the same token as a payment."""
    for _ in range(2):
        host.engine.send("shop/pay", PAY)
    host.engine.send("shop/read", {"id": "p1"})
    (asked,) = host.gateway.asked
    pair = base64.b64decode(asked.headers["authorization"].removeprefix("Basic ")).decode()
    assert pair == f"{ID}:secret_e4%2F%2Bx~Zk9~9q"  # encoded as in a form first
    assert (asked.method, form(asked)) == ("POST", {"grant_type": ["client_credentials"]})
    assert asked.headers["content-type"] == "application/x-www-form-urlencoded"
    assert [shown(call) for call in host.gateway.calls] == host.gateway.granted * 3
    assert host.store.commits == [["insert call"], ["upsert sale", "update call"]] * 2 + [["update sale"]]


def test_a_client_may_prove_itself_in_the_body(tmp_path: Path) -> None:
    """What the file asks for is asked for, and nothing is in a header then."""
    more = ("token_endpoint_auth_method: client_secret_post", 'scope: "payments refunds:write"')
    with token_host(tmp_path, *more) as host:
        host.engine.send("shop/read", {"id": "p1"})
        (asked,) = host.gateway.asked
    assert "authorization" not in asked.headers
    assert form(asked) == {
        "grant_type": ["client_credentials"],
        "scope": ["payments refunds:write"],
        "client_id": [ID],
        "client_secret": [SECRET],
    }


def test_what_a_token_is_for_may_be_said(tmp_path: Path) -> None:
    """Some endpoints want to know whose token it is to be."""
    with token_host(tmp_path, "audience: https://api.shop.test/", "resource: https://api.shop.test/v1") as host:
        host.engine.send("shop/read", {"id": "p1"})
        (asked,) = host.gateway.asked
    assert form(asked) == {
        "grant_type": ["client_credentials"],
        "resource": ["https://api.shop.test/v1"],
        "audience": ["https://api.shop.test/"],
    }


def test_each_scope_has_a_token_of_its_own(tmp_path: Path) -> None:
    """What one request type may do, another one's token need not be good for."""
    scoped = """\
summary: Take money back.
method: GET
url: /refunds
auth: {oauth2: {token_endpoint: /oauth2/token, client_id: SHOP_ID, client_secret: SHOP_SECRET, scope: refunds}}
"""
    with token_host(tmp_path, also={"request_types/shop/refunds.yml": scoped}) as host:
        for _ in range(2):
            host.engine.send("shop/read", {"id": "p1"})
            host.engine.send("shop/refunds")
        assert [form(one).get("scope") for one in host.gateway.asked] == [None, ["refunds"]]
        assert [shown(call) for call in host.gateway.calls] == host.gateway.granted * 2


@pytest.mark.parametrize("kind", ["bearer", "BEARER"])
def test_the_token_type_is_read_without_regard_to_case(host: TokenHost, kind: str) -> None:
    """As RFC 6749, 5.1 says."""
    host.gateway.grants = lambda *_: host.gateway.grant(token_type=kind)
    host.engine.send("shop/pay", PAY)
    assert len(host.gateway.calls) == 1


# How long a token is used ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("expires_in", "used"),
    [(3600, 3600 - MARGIN), ("3600", 3600 - MARGIN), (10, 8), (10**400, 10**8)],
    ids=["an hour", "as a text", "ten seconds", "for ever"],
)
def test_a_token_is_renewed_before_it_ends(host: TokenHost, expires_in: Any, used: float) -> None:
    """So long before that a call with it is answered in time."""
    host.gateway.expires_in = expires_in
    host.engine.send("shop/read", {"id": "p1"})
    host.hours.pass_by(used - 1)
    host.engine.send("shop/read", {"id": "p1"})
    assert len(host.gateway.asked) == 1
    if used < 10**8:
        host.hours.pass_by(2)
        host.engine.send("shop/read", {"id": "p1"})
        assert [shown(call) for call in host.gateway.calls] == [host.gateway.granted[one] for one in (0, 0, 1)]


@pytest.mark.parametrize("expires_in", [None, "soon", True, [1]])
def test_a_token_of_which_nothing_sensible_is_said_is_used_until_it_is_refused(
    host: TokenHost, expires_in: Any
) -> None:
    """`expires_in` is only recommended."""
    host.gateway.expires_in = expires_in
    host.engine.send("shop/read", {"id": "p1"})
    host.hours.pass_by(86_400 * 365)
    host.engine.send("shop/read", {"id": "p1"})
    assert len(host.gateway.asked) == 1


@pytest.mark.parametrize("expires_in", [0, -5, -(10**400)])
def test_a_token_that_ends_at_once_is_still_shown(host: TokenHost, expires_in: int) -> None:
    """It is fetched for each request, and no call waits for ever for one that lasts."""
    host.gateway.expires_in = expires_in
    host.engine.send("shop/read", {"id": "p1"})
    assert shown(host.gateway.calls[0]) == host.gateway.granted[-1]


def test_a_clock_that_was_set_back_keeps_no_token(host: TokenHost) -> None:
    """Nobody knows how old it is then."""
    host.engine.send("shop/read", {"id": "p1"})
    host.hours.pass_by(-60)
    host.engine.send("shop/read", {"id": "p1"})
    assert len(host.gateway.asked) == 2


# One thread fetches ---------------------------------------------------------------------------------------------------


class Held(Generic[T]):
    """An endpoint that answers once it may `go`; it says when it is `asked`."""

    def __init__(self, answer: Callable[[], T]) -> None:
        self.asked, self.go, self._answer = threading.Event(), threading.Event(), answer

    def __call__(self, *_: object) -> T:
        self.asked.set()
        self.go.wait(60)
        return self._answer()


def until_waited_for(fetch: _Fetch, number: int) -> None:
    """Wait until so many threads wait for what is fetched."""
    while len(fetch.done._cond._waiters) < number:  # type: ignore[attr-defined]  # an Event says it nowhere else
        time.sleep(0.01)


def test_one_thread_fetches_while_the_others_wait(host: TokenHost) -> None:
    """However many need it at once, the endpoint is asked once."""
    host.gateway.grants = held = Held(host.gateway.grant)
    with ThreadPoolExecutor(8) as threads:
        sent = [threads.submit(host.engine.send, "shop/read", {"id": "p1"}) for _ in range(8)]
        assert held.asked.wait(60)
        assert host.gateway.calls == []
        held.go.set()
        assert {one.result().response["id"] for one in sent} == {"p1"}
    assert (len(host.gateway.asked), len(host.gateway.calls)) == (1, 8)


def test_nobody_waits_longer_than_their_deadline(tmp_path: Path) -> None:
    """Neither who fetches nor who waits for it; and nothing of a payment was written down."""
    with token_host(tmp_path, patience=0.5) as host:
        go = threading.Event()

        def grants(*_: object) -> None:
            go.wait(60)

        host.gateway.grants = grants
        with ThreadPoolExecutor(3) as threads:
            sent = [threads.submit(host.engine.send, "shop/pay", PAY) for _ in range(3)]
            errors = [one.exception(60) for one in sent]
            go.set()
        assert {type(error) for error in errors} == {TransportError}
        assert all(str(error).startswith("shop/pay was not carried out, because") for error in errors)
        assert (host.store.commits, host.gateway.calls) == ([], [])


def test_who_waits_for_anothers_fetch_has_a_deadline_too(host: TokenHost) -> None:
    """Who fetches may have longer."""
    host.gateway.grants = held = Held(host.gateway.grant)
    tokens, (client, deadline) = host.engine._sending._tokens, client_of(host)
    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(tokens.headers, client, deadline)
        assert held.asked.wait(60)
        with pytest.raises(TransportError, match="asked for an access token, and none came in time"):
            tokens.headers(client, time.monotonic() + 0.01)
        held.go.set()
        assert first.result() == {"Authorization": f"Bearer {host.gateway.granted[0]}"}


def test_a_fetch_that_fails_fails_for_all_who_wait(host: TokenHost) -> None:
    """Else they would ask one after the other, each until its deadline."""
    host.gateway.grants = held = Held(lambda: message(400, b'{"error": "invalid_client"}'))
    tokens, (client, deadline) = host.engine._sending._tokens, client_of(host)
    with ThreadPoolExecutor(4) as threads:
        first = threads.submit(tokens.headers, client, deadline)
        assert held.asked.wait(60)
        fetch = tokens._fetches[client]
        others = [threads.submit(tokens.headers, client, deadline) for _ in range(3)]
        until_waited_for(fetch, 3)
        held.go.set()
        assert {type(one.exception(60)) for one in (first, *others)} == {SettingError}
    assert len(host.gateway.asked) == 1


class Answers:
    """A dispatcher that does one thing after the other, and remembers until when."""

    def __init__(self, *does: Callable[[], Answer | Failure]) -> None:
        self.does, self.deadlines = iter(does), list[float]()

    def send(self, *_: object, deadline: float, **__: object) -> Answer | Failure:
        """As a Sender."""
        self.deadlines.append(deadline)
        return next(self.does)()


def gives_a_token() -> Answer | Failure:
    """As an endpoint that works."""
    return ok({"access_token": f"{TOKEN}1", "token_type": "Bearer"})


def alone(root: Path, *does: Callable[[], Answer | Failure]) -> tuple[AccessTokens, Client]:
    """The tokens of a process whose endpoint `does` so, and a client of it."""
    type = load([write(root, files("https://api.shop.test/v1", oauth2()))]).request_types["shop/pay"]
    settings = Settings(None, SETTINGS)
    client = credentials(type, settings)
    assert isinstance(client, Client)
    return AccessTokens(Answers(*does), settings, Hours().clock()), client


def test_a_token_leaves_time_for_the_call(tmp_path: Path) -> None:
    """A payment that goes out in the last moment would be one of which nobody knows what became."""
    folder, told = write(tmp_path, files("https://api.shop.test/v1", oauth2())), Answers(gives_a_token, ok)
    here, clock = OnlyHere(folder), Hours().clock()
    engine = Engine(folder, store=MemoryStore(), environment=SETTINGS, dispatcher=told, clock=clock, files=here)
    engine.send("shop/pay", PAY)
    token, call = told.deadlines
    assert token < call


def test_who_fetches_and_has_no_time_left_fails_alone(tmp_path: Path) -> None:
    """Others have; one of them asks again."""
    held = Held[Answer | Failure](lambda: Failure("read_timeout", sent=True, message="shop was late", seconds=0.0))
    tokens, client = alone(tmp_path, held, gives_a_token)
    with ThreadPoolExecutor(3) as threads:
        first = threads.submit(tokens.headers, client, time.monotonic())
        assert held.asked.wait(60)
        fetch = tokens._fetches[client]
        others = [threads.submit(tokens.headers, client, time.monotonic() + 600) for _ in range(2)]
        until_waited_for(fetch, 2)
        held.go.set()
        assert isinstance(first.exception(60), TransportError)
        assert [one.result(60) for one in others] == [{"Authorization": f"Bearer {TOKEN}1"}] * 2


def test_a_fetch_that_is_stopped_before_it_begins_keeps_nobody(tmp_path: Path) -> None:
    """By Ctrl-C, or by a greenlet's own time-out, which may come between any two lines."""

    class StopsOnce:
        def __init__(self, lock: threading.Lock) -> None:
            self.lock, self.stops = lock, True

        def __enter__(self) -> None:
            self.lock.acquire()

        def __exit__(self, *_: object) -> None:
            self.lock.release()
            stops, self.stops = self.stops, False
            if stops:
                raise KeyboardInterrupt

    tokens, client = alone(tmp_path, gives_a_token)
    tokens._lock = StopsOnce(tokens._lock)  # type: ignore[assignment]  # of a lock it has what is used
    with pytest.raises(KeyboardInterrupt):
        tokens.headers(client, time.monotonic() + 60)
    assert tokens.headers(client, time.monotonic() + 60) == {"Authorization": f"Bearer {TOKEN}1"}


def test_two_threads_of_a_child_may_begin_anew_together(tmp_path: Path) -> None:
    """The later one forgets what the earlier one has begun, which ends all the same."""

    def while_another_begins() -> Answer | Failure:
        tokens._start_afresh()
        return gives_a_token()

    tokens, client = alone(tmp_path, while_another_begins)
    assert tokens.headers(client, time.monotonic() + 60) == {"Authorization": f"Bearer {TOKEN}1"}


def client_of(host: TokenHost) -> tuple[Client, float]:
    """Who asks for the shop's tokens, and a deadline."""
    proof = host.engine._sending._proof(host.engine.catalog.request_type("shop/pay"))
    assert isinstance(proof, Client)
    return proof, time.monotonic() + 60


def test_a_child_fetches_its_own(tmp_path: Path) -> None:
    """A fork while a lock is held must not lock the child for ever."""
    told = Told(ok({"access_token": f"{TOKEN}1", "token_type": "Bearer"}))
    type = load([write(tmp_path, files("https://api.shop.test/v1", oauth2()))]).request_types["shop/pay"]
    settings = Settings(None, SETTINGS)
    client, tokens = credentials(type, settings), AccessTokens(told, settings, Hours().clock())
    assert isinstance(client, Client)
    with tokens._lock, settings._hiding:
        pid = os.fork()
        if not pid:
            found = tokens.headers(client, time.monotonic() + 60)
            os._exit(0 if TOKEN in found["Authorization"] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert told.requests == []


# No token -------------------------------------------------------------------------------------------------------------

LONG = json.dumps({"access_token": "x" * 100_000, "token_type": "Bearer"}).encode()
GIVES: dict[str, tuple[bytes, str]] = {
    "500": (message(500, b"{}"), "answered 500"),
    "503 and HTML": (message(503, b"<h1>no</h1>", "Content-Type: text/html"), "answered 503"),
    "429": (message(429, b"{}", "Retry-After: 1"), "answered 429"),
    "a redirect": (message(302, b"", "Location: /v1/payments/elsewhere"), "no redirect is followed"),
    "404": (message(404, b"nothing here"), "named no error; see token_endpoint, SHOP_ID and SHOP_SECRET"),
    "403 of a proxy": (message(403, b"<h1>no</h1>", "Content-Type: text/html"), "answered 403 and named no error"),
    "an error that is none": (message(400, b'{"error": {"code": 1}}'), "answered 400 and named no error"),
    "no JSON": (message(200, b"access_token=canary_1234"), "is no JSON object"),
    "a list": (message(200, b'["canary_1234"]'), "is no JSON object"),
    "a name twice": (message(200, b'{"access_token": "canary_1234", "access_token": "b"}'), "is no JSON object"),
    "no access_token": (message(200, b'{"token": "canary_1234", "token_type": "bearer"}'), "has no access_token"),
    "an access_token that is no text": (message(200, b'{"access_token": 12345, "token_type": "bearer"}'), "has no acc"),
    "a type that is not Bearer": (message(200, b'{"access_token": "canary_1234", "token_type": "mac"}'), "not Bearer"),
    "no type": (message(200, b'{"access_token": "canary_1234"}'), "token_type is not Bearer"),
    "a line break in it": (
        message(200, b'{"access_token": "canary_1234\\r\\nX-Evil: 1", "token_type": "Bearer"}'),
        "has characters that cannot be sent",
    ),
    "a blank in it": (
        message(200, b'{"access_token": "canary_1234 5", "token_type": "Bearer"}'),
        "has characters that cannot be sent",
    ),
    "a token of 20 KB": (message(200, LONG[:20_000] + LONG[-40:]), "has characters that cannot be sent, or more than"),
    "an answer of 100 KB": (message(200, LONG), "gave no token: 127.0.0.1:"),
    "an encoded answer": (message(200, b"x", "Content-Encoding: gzip"), "gave no token: 127.0.0.1:"),
    "no HTTP": (b"SSH-2.0\r\n\r\n", "gave no token: 127.0.0.1:"),
}


@pytest.mark.parametrize("kind", GIVES)
def test_an_endpoint_that_is_broken(host: TokenHost, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    """The call was not sent, which is what is said; nothing is kept, and nothing of the answer is told."""
    answer, said = GIVES[kind]
    host.gateway.grants = lambda *_: answer
    with caplog.at_level(logging.DEBUG), pytest.raises(TransportError) as raised:
        host.engine.send("shop/pay", PAY)
    assert str(raised.value).startswith("shop/pay was not carried out, because the token endpoint of shop")
    assert said in str(raised.value)
    assert "PERHAPS" not in str(raised.value)
    assert "may have been" not in str(raised.value)
    assert (host.store.commits, host.gateway.calls) == ([], [])
    for text in (str(raised.value), caplog.text):
        assert "canary" not in text
        assert SECRET not in text


def test_an_endpoint_that_says_nothing(host: TokenHost) -> None:
    """A connection that ends, an hour after the last token perhaps, is tried again; then it is told."""

    def ends(_: Received, peer: Peer) -> None:
        peer.reset()

    host.gateway.grants = ends
    with pytest.raises(TransportError, match=r"gave no token: 127\.0\.0\.1"):
        host.engine.send("shop/read", {"id": "p1"})
    assert (len(host.gateway.asked), len(host.hours.slept)) == (TRIES, TRIES - 1)


def test_an_endpoint_that_fails_for_a_moment(host: TokenHost) -> None:
    """It is asked again, after it said how long to wait."""
    answers = iter([message(503, b"", "Retry-After: 7"), message(500, b"")])
    host.gateway.grants = lambda *_: next(answers, None) or host.gateway.grant()
    host.engine.send("shop/pay", PAY)
    assert host.hours.slept == [7.0, 1.0]
    assert len(host.gateway.calls) == 1


def test_an_endpoint_that_keeps_failing_is_left_alone(host: TokenHost) -> None:
    """Ten times in a row, as any gateway; half a minute later somebody tries it again."""
    host.gateway.grants = lambda *_: message(500, b"")
    said = ""
    for _ in range(FAILURES):
        with pytest.raises(TransportError) as raised:
            host.engine.send("shop/read", {"id": "p1"})
        said = str(raised.value)
    assert "failed 10 times in a row and is left alone" in said
    assert len(host.gateway.asked) == FAILURES
    host.gateway.grants = None
    host.hours.pass_by(REST)
    host.engine.send("shop/read", {"id": "p1"})


REFUSED = [
    (401, {"error": "invalid_client", "error_description": f"no {SECRET} here"}, "SHOP_SECRET", "invalid_client (no "),
    (400, {"error": "unauthorized_client"}, "SHOP_SECRET", "together with SHOP_ID"),
    (401, {}, "SHOP_SECRET", "it answered 401"),
    (400, {"error": "invalid_scope"}, "SHOP_ID", "is refused the scope 'payments'"),
]


@pytest.mark.parametrize(("status", "body", "setting", "said"), REFUSED)
def test_a_client_that_is_refused(tmp_path: Path, status: int, body: Any, setting: str, said: str) -> None:
    """It is told as a wrong setting is, with its name and without its value; and before anything is kept."""
    with token_host(tmp_path, "scope: payments") as host:
        host.gateway.grants = lambda *_: message(status, json.dumps(body).encode())
        with pytest.raises(SettingError) as raised:
            host.engine.send("shop/pay", PAY)
        assert raised.value.name == setting
        assert said in str(raised.value)
        assert SECRET not in str(raised.value)
        assert (host.store.commits, host.gateway.calls, len(host.gateway.asked)) == ([], [], 1)


def test_what_was_done_before_is_told_without_a_token(host: TokenHost) -> None:
    """Nobody may hear of an operation that it was not carried out, because a token is missing now."""
    host.engine.send("shop/pay", PAY, operation="a")
    host.hours.pass_by(4000)
    host.gateway.grants = lambda *_: message(500, b"")
    again = host.engine.send("shop/pay", PAY, operation="a")
    assert (again.response["id"], len(host.gateway.calls)) == ("p1", 1)
    with pytest.raises(TransportError):
        host.engine.send("shop/pay", PAY, operation="b")


def test_no_token_and_no_store(host: TokenHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nobody can tell whether the operation was begun before; that it was not sent now is said."""

    def away(*_: object, **__: object) -> list[Record]:
        raise StoreError("the database is away")

    host.gateway.grants = lambda *_: message(500, b"")
    monkeypatch.setattr(host.store, "find", away)
    with pytest.raises(StoreError, match=r"^shop/pay was not sent: the database is away$"):
        host.engine.send("shop/pay", PAY, operation="a")
    assert host.gateway.calls == []


# Queued calls, and those that were left open --------------------------------------------------------------------------


@pytest.mark.parametrize("answer", [message(503, b""), message(401, b'{"error": "invalid_client"}')])
def test_a_queued_call_waits_for_its_token(host: TokenHost, answer: bytes) -> None:
    """It is neither lost nor unknown, and its row says why it waits."""
    host.gateway.grants = lambda *_: answer
    host.engine.send_later("shop/pay", PAY)
    for _ in range(3):
        host.engine.run_due()
        (call,) = host.journal()
        assert (call["state"], call["attempts"]) == ("prepared", [])
        assert "the token endpoint of shop" in call["message"]
        host.hours.now = max(host.hours.now, datetime.fromisoformat(call["due"]))
        host.hours.pass_by(REST)
    host.gateway.grants = None
    host.engine.run_due()
    (call,) = host.journal()
    assert (call["state"], len(host.gateway.calls)) == ("succeeded", 1)


def ends_once_written_down(host: TokenHost) -> None:
    """Have the token that is at hand end when the next call is taken for sending, and not before."""
    host.gateway.expires_in = 20

    def passes(changes: Any) -> None:
        if any(change.type.name == "call" and change.set.get("state") == "sending" for change in changes):
            host.hours.pass_by(20)
            host.store.refuse = lambda _: None

    host.engine.send("shop/read", {"id": "p1"})
    del host.gateway.server.requests[:]
    host.store.refuse = passes


def test_a_token_that_ends_when_the_call_was_written_down(host: TokenHost) -> None:
    """It is renewed where the call is sent."""
    ends_once_written_down(host)
    host.engine.send("shop/pay", PAY)
    assert len(host.gateway.granted) == 2
    assert [shown(call) for call in host.gateway.calls] == host.gateway.granted[1:]
    assert classes(host) == ["ok"]


def test_a_token_that_cannot_be_renewed_then(host: TokenHost) -> None:
    """Nothing was sent: the call is not done, and the same operation is taken up later."""
    ends_once_written_down(host)
    host.gateway.grants = lambda *_: message(503, b"")
    with pytest.raises(TransportError, match=r"was not carried out: the token endpoint of shop answered 503"):
        host.engine.send("shop/pay", PAY, operation="a")
    (call,) = host.journal()
    assert (call["state"], classes(host), host.gateway.calls) == ("not_done", ["no_token"], [])
    host.gateway.grants = None
    host.engine.send("shop/pay", PAY, operation="a")
    assert (host.journal()[0]["state"], len(host.gateway.calls)) == ("succeeded", 1)


def test_a_queued_call_whose_token_cannot_be_renewed_then(host: TokenHost, monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits on, as one that is held back does."""
    host.gateway.expires_in = 20
    tokens = host.engine._sending._tokens
    headers = tokens.headers

    def the_last(client: Client, deadline: float) -> Any:
        monkeypatch.undo()
        found = headers(client, deadline)
        host.hours.pass_by(20)
        host.gateway.grants = lambda *_: message(503, b"")
        return found

    monkeypatch.setattr(tokens, "headers", the_last)
    host.engine.send_later("shop/pay", PAY)
    host.engine.run_due()
    (call,) = host.journal()
    assert (call["state"], classes(host), host.gateway.calls) == ("prepared", ["no_token"], [])
    assert call["due"] > host.hours.now.isoformat()
    host.gateway.grants = None
    host.hours.pass_by(REST)
    host.engine.run_due()
    assert (host.journal()[0]["state"], len(host.gateway.calls)) == ("succeeded", 1)


def test_an_unknown_call_stays_unknown_without_a_token(host: TokenHost) -> None:
    """It was sent before; that a repeat could not be proves nothing of it. With a token again, it is settled."""
    host.gateway.acts = lambda _: message(500, b"")
    with pytest.raises(UnknownOutcome):
        host.engine.send("shop/pay", PAY)
    sent = len(host.gateway.calls)
    host.hours.pass_by(4000)
    host.gateway.acts, host.gateway.grants = None, lambda *_: message(503, b"")
    host.engine.run_due()
    (call,) = host.journal()
    assert (call["state"], call["attempts"][-1]["class"], len(host.gateway.calls)) == ("unknown", "no_token", sent)
    host.gateway.grants = None
    host.hours.pass_by(REST)
    host.engine.run_due()
    assert host.journal()[0]["state"] == "succeeded"
    assert len({(call.body, call.headers["idempotency-key"]) for call in host.gateway.calls}) == 1


def test_a_queued_call_that_waited_for_a_token_for_days_has_tries_left(host: TokenHost) -> None:
    """It was tried by nobody meanwhile; one answer that says later is not the last."""
    host.engine.send_later("shop/pay", PAY)
    host.gateway.grants = lambda *_: message(503, b"")
    for _ in range(MOST_TRIES):
        host.engine.run_due()
        host.hours.pass_by(LATER[-1])
    host.gateway.grants, host.gateway.acts = None, lambda _: message(429, b"")
    host.engine.run_due()
    assert (host.journal()[0]["state"], len(host.gateway.calls)) == ("prepared", 3)
    host.gateway.acts = None
    host.hours.pass_by(LATER[-1])
    host.engine.run_due()
    assert host.journal()[0]["state"] == "succeeded"


def test_rows_wait_for_a_token(host: TokenHost) -> None:
    """A run of many rows goes on once there is one; each is carried out once."""
    host.gateway.grants = lambda *_: message(503, b"")
    pauses = iter([None])

    def again(seconds: float) -> None:
        if next(pauses, 1) is None:
            host.gateway.grants = None

    object.__setattr__(host.engine.clock, "sleep", again)
    rows = [{"amount": number} for number in range(1, 6)]
    outcomes = list(host.engine.send_many("shop/pay", rows, concurrency=2))
    assert {one.state for one in outcomes} == {"succeeded"}
    assert sorted(json.loads(call.body)["amount"] for call in host.gateway.calls) == [1, 2, 3, 4, 5]


# 401 ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shop/pay", "shop/pay_once", "shop/read"])
def test_a_token_that_was_revoked(host: TokenHost, name: str) -> None:
    """401 proves that nothing was done: the same bytes go out once more, with another token."""
    data: dict[str, Any] = {"id": "p1"} if name == "shop/read" else PAY
    host.engine.send("shop/read", {"id": "p1"})
    del host.gateway.server.requests[:]
    host.gateway.revoke()
    assert host.engine.send(name, data).response["id"] == "p1"
    first, second = host.gateway.calls
    assert (first.method, first.target, first.body) == (second.method, second.target, second.body)
    assert first.headers.get("idempotency-key") == second.headers.get("idempotency-key")
    assert [shown(first), shown(second)] == host.gateway.granted
    assert host.hours.slept == []
    if name != "shop/read":
        assert classes(host) == ["http_401", "ok"]


@pytest.mark.parametrize("name", ["shop/pay", "shop/read"])
def test_a_second_401_is_the_answer(host: TokenHost, name: str) -> None:
    """Whatever it means, it is not the token; and it is sent no third time."""
    host.gateway.acts = lambda _: message(401, b'{"error": {"message": "Not for you."}}')
    data: dict[str, Any] = {"id": "p1"} if name == "shop/read" else PAY
    with pytest.raises(RejectedError, match="Not for you") as raised:
        host.engine.send(name, data)
    assert (raised.value.status, len(host.gateway.calls), len(host.gateway.asked)) == (401, 2, 2)


@pytest.mark.parametrize("body", [b"", b"<h1>Unauthorized</h1>", b'{"status": "unauthorized"}'])
@pytest.mark.parametrize("name", ["shop/pay", "shop/pay_once", "shop/read"])
def test_a_second_401_is_the_answer_whatever_it_says(host: TokenHost, name: str, body: bytes) -> None:
    """It proves that nothing was done, also where it names no error as the file has it."""
    host.gateway.acts = lambda _: message(401, body)
    data: dict[str, Any] = {"id": "p1"} if name == "shop/read" else PAY
    with pytest.raises(RejectedError, match="answered 401: the token was refused"):
        host.engine.send(name, data)
    assert (len(host.gateway.calls), len(host.gateway.asked)) == (2, 2)


def test_a_401_and_no_other_token(host: TokenHost) -> None:
    """Nothing was done then; the same operation is taken up when there is one."""
    host.engine.send("shop/read", {"id": "p1"})
    host.gateway.revoke()
    host.gateway.grants = lambda *_: message(401, b'{"error": "invalid_client"}')
    with pytest.raises(TransportError, match="SHOP_SECRET: is refused"):
        host.engine.send("shop/pay", PAY, operation="a")
    assert classes(host) == ["http_401", "no_token"]
    assert host.journal()[0]["state"] == "not_done"
    host.gateway.grants = None
    host.engine.send("shop/pay", PAY, operation="a")
    assert host.journal()[0]["state"] == "succeeded"


def test_a_401_after_an_answer_that_was_lost_proves_nothing_of_it(host: TokenHost) -> None:
    """The repeat is renewed as well, and what it then brings settles the call."""
    host.gateway.acts = lambda _: message(500, b"")
    with pytest.raises(UnknownOutcome):
        host.engine.send("shop/pay", PAY)
    host.gateway.revoke()
    host.gateway.acts = None
    host.hours.pass_by(2)
    host.engine.run_due()
    assert classes(host)[-2:] == ["http_401", "ok"]
    assert host.journal()[0]["state"] == "succeeded"

    host.gateway.acts = lambda _: message(500, b"")
    with pytest.raises(UnknownOutcome):
        host.engine.send("shop/pay", PAY)
    host.gateway.acts = lambda _: message(401, b"")
    host.hours.pass_by(2)
    host.engine.run_due()
    assert host.journal()[1]["state"] == "unknown"


def test_many_that_are_told_401_at_once_fetch_one_token(host: TokenHost) -> None:
    """Who comes late finds that another thread has fetched a newer one."""
    host.engine.send("shop/read", {"id": "p1"})
    host.gateway.revoke()
    with ThreadPoolExecutor(8) as threads:
        for one in [threads.submit(host.engine.send, "shop/read", {"id": "p1"}) for _ in range(8)]:
            one.result()
    assert len(host.gateway.asked) == 2


def test_each_page_of_a_list_may_renew(tmp_path: Path) -> None:
    """A long list outlives a token."""
    listed = """\
summary: Read all payments.
method: GET
url: /payments
pages: {next: {after: "{{ response.next }}"}, items: /items}
"""
    with token_host(tmp_path, also={"request_types/shop/list.yml": listed}) as host:
        pages = iter([b'{"items": [1], "next": "a"}', b'{"items": [2], "next": "b"}', b'{"items": [3]}'])

        def acts(_: Received) -> bytes:
            host.gateway.revoke()
            return message(200, next(pages))

        host.gateway.acts = acts
        assert host.engine.send("shop/list").response["items"] == [1, 2, 3]
        assert len(host.gateway.granted) == 3


# What is seen of a token ----------------------------------------------------------------------------------------------


def test_a_token_is_kept_nowhere(host: TokenHost, caplog: pytest.LogCaptureFixture) -> None:
    """Not even where the gateway repeats it, in its answer, a header or a refusal."""

    def repeats(received: Received) -> bytes:
        token = shown(received)
        body = json.dumps({"id": "p1", "amount": 5, "you": f"Bearer {token}", "in64": _in64(token)}).encode()
        return message(200, body, f"X-Request: {token}")

    host.gateway.acts = repeats
    with caplog.at_level(logging.DEBUG):
        result = host.engine.send("shop/pay", PAY)
        read = host.engine.send("shop/read", {"id": "p1"})
        host.gateway.acts = lambda one: message(402, json.dumps({"error": {"message": f"no {shown(one)}"}}).encode())
        with pytest.raises(CallError) as raised:
            host.engine.send("shop/pay", PAY)
    assert result.response["you"] == f"Bearer {MASK}"
    (token,) = host.gateway.granted
    for text in (host.store.text(), caplog.text, str(raised.value), repr(result), repr(read), repr(vars(host.engine))):
        for secret in (token, _in64(token), SECRET, _in64(f"{ID}:{SECRET}")):
            assert secret not in text


def _in64(text: str) -> str:
    return base64.b64encode(text.encode()).decode().rstrip("=")


def test_weeks_of_tokens_do_not_pile_up(host: TokenHost) -> None:
    """The latest are masked, for an answer under way may hold the one before; what is masked does not grow."""
    settings = host.engine.settings
    before = len(settings._hidden)
    for _ in range(24 * 14):
        host.engine.send("shop/read", {"id": "p1"})
        host.hours.pass_by(3600)
    granted = host.gateway.granted
    assert len(granted) == 24 * 14
    assert len(settings._hidden) <= before + LATEST + 1  # and the pair, made once
    assert [settings.redact(one) for one in granted[-LATEST:]] == [MASK] * LATEST
    assert settings.redact(SECRET) == MASK


def test_an_error_of_the_endpoint_that_repeats_a_token(host: TokenHost) -> None:
    """What people are told of an error is masked as any text."""
    host.engine.send("shop/read", {"id": "p1"})
    host.hours.pass_by(4000)
    told = {"error": "invalid_client", "error_description": f"{host.gateway.granted[0]} has ended"}
    host.gateway.grants = lambda *_: message(400, json.dumps(told).encode())
    with pytest.raises(EngineError) as raised:
        host.engine.send("shop/read", {"id": "p1"})
    assert f"invalid_client ({MASK} has ended)" in str(raised.value)


@pytest.mark.parametrize("before", range(180, 202))
def test_an_error_of_the_endpoint_that_repeats_a_secret(host: TokenHost, before: int) -> None:
    """Only so much of it is told, and never a part of a secret."""
    told = {"error": "invalid_client", "error_description": "-" * before + SECRET}
    host.gateway.grants = lambda *_: message(401, json.dumps(told).encode())
    with pytest.raises(SettingError) as raised:
        host.engine.send("shop/pay", PAY)
    assert SECRET[:4] not in str(raised.value)


def test_an_error_that_is_a_secret(tmp_path: Path) -> None:
    """Where it should stand for what is wrong: it reaches no row, either."""
    secret = "secret_0123456789abcdef"
    with token_host(tmp_path, SHOP_SECRET=secret) as host:
        host.gateway.grants = lambda *_: message(401, json.dumps({"error": secret}).encode())
        host.engine.send_later("shop/pay", PAY)
        host.engine.run_due()
        with pytest.raises(SettingError) as raised:
            host.engine.send("shop/pay", PAY)
        assert f"by the token endpoint of shop: {MASK}; " in str(raised.value)
        assert secret not in host.store.text()


def test_a_store_that_is_refused_sends_no_call(host: TokenHost) -> None:
    """With a token at hand too, what cannot be written down is not sent."""

    def refuses(changes: Sequence[Change]) -> None:
        raise OSError(changes)

    host.engine.send("shop/read", {"id": "p1"})
    del host.gateway.server.requests[:]
    host.store.refuse = refuses
    with pytest.raises(OSError, match="insert"):
        host.engine.send("shop/pay", PAY)
    assert host.gateway.server.requests == []
