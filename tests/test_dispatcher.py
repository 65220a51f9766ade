"""The dispatcher against a gateway that misbehaves: an answer or an honest failure, in time, and no secret in sight."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fault_server import (
    HOST,
    PAUSE,
    FaultServer,
    Peer,
    answer,
    certificate,
    closed_port,
    faults,
    full_backlog,
    in_two,
    message,
    odd_bodies,
    reads,
    says,
    then,
    tls_context,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.dispatcher import Answer, Dispatcher, Failure
from engine.dispatcher.addresses import Addresses
from engine.dispatcher.line import HEAD_LIMIT, KEPT, Line
from engine.dispatcher.outcomes import Trouble
from engine.dispatcher.pool import Pool
from engine.request_types import Request

CANARY = "sk_test_canary_4eC39HqLyjWDarjtT1zdp7dc"
CREDENTIALS = {"Authorization": f"Bearer {CANARY}"}
GOOD = b'{"id": "ch_1", "amount": 500, "description": "a line of text that is long enough to be cut in two"}'
FORM = (("Content-Type", "application/x-www-form-urlencoded"), ("Idempotency-Key", "key-1"))
FAULTS = faults(GOOD)
ROOT = Path(__file__).parent.parent

# What each fault is called. All of them happen after the request was sent, so none may be called "not sent".
KINDS = {
    "close before the answer": "closed",
    "reset before the answer": "read",
    "silence": "read_timeout",
    "close in the headers": "closed",
    "reset in the headers": "read",
    "close in the body": "closed",
    "reset in the body": "read",
    "silence in the body": "read_timeout",
    "close in a chunk": "closed",
    "close between chunks": "closed",
    "no HTTP": "protocol",
    "garbage for a status": "protocol",
    "a header that is none": "protocol",
    "two lengths": "protocol",
    "a length that is none": "protocol",
    "a chunk that is none": "protocol",
    "an unknown transfer encoding": "protocol",
    "a switch of protocols": "protocol",
    "a header of 200 kB": "too_large",
    "10,000 headers": "too_large",
    "headers without end": "too_large",
    "100-continue without end": "too_large",
    "a body of 100 MB": "too_large",
    "chunks without end": "too_large",
    "a chunk's head without end": "too_large",
    "a body without end": "too_large",
    "gzip": "encoding",
    "a gzip bomb": "encoding",
    "gzip in gzip": "encoding",
    "gzip that is none": "encoding",
    "deflate": "encoding",
    "brotli": "encoding",
    "zstd": "encoding",
    "an unknown encoding": "encoding",
    "a refusal to read": "read_timeout",
    "a reset while it is sent": "read",
}
DRIPS = sorted(name for name in FAULTS if name.startswith("a drip"))


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer() as server:
        yield server


@pytest.fixture
def dispatcher() -> Iterator[Dispatcher]:
    with contextlib.closing(Dispatcher(read=0.2)) as dispatcher:
        yield dispatcher


def post(url: str, body: bytes = b"amount=500") -> Request:
    return Request("POST", url, FORM, body)


def send(dispatcher: Dispatcher, request: Request, seconds: float = 10.0) -> Answer | Failure:
    return dispatcher.send(request, credentials=CREDENTIALS, deadline=time.monotonic() + seconds)


def answered(result: Answer | Failure) -> Answer:
    assert isinstance(result, Answer), result
    return result


def failed(result: Answer | Failure, kind: str, *, sent: bool) -> Failure:
    assert isinstance(result, Failure), result
    assert (result.kind, result.sent) == (kind, sent), result
    assert CANARY not in repr(result)
    return result


# What is sent and what comes back -------------------------------------------------------------------------------------


def test_the_request_is_on_the_wire_as_it_was_given(server: FaultServer, dispatcher: Dispatcher) -> None:
    url = server.url("/v1/charges/ch%2F1?expand[0]=a&b=%20~")
    assert answered(send(dispatcher, post(url))).status == 200
    received = server.requests[0]
    assert (received.method, received.target) == ("POST", "/v1/charges/ch%2F1?expand[0]=a&b=%20~")
    assert received.lines == (
        f"Host: {HOST}:{server.port}".encode(),
        b"Content-Type: application/x-www-form-urlencoded",
        b"Idempotency-Key: key-1",
        f"Authorization: Bearer {CANARY}".encode(),
        b"Accept-Encoding: identity",
        b"User-Agent: callsheet",
        b"Content-Length: 10",
    )
    assert received.body == b"amount=500"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sent=st.binary(max_size=70_000), said=st.binary(max_size=70_000))
def test_bodies_are_equal_byte_for_byte(server: FaultServer, dispatcher: Dispatcher, sent: bytes, said: bytes) -> None:
    server.behave(answer(200, said))
    result = answered(send(dispatcher, post(server.url(), sent)))
    assert result.body == said
    assert server.requests[-1].body == sent


@pytest.mark.parametrize(
    "whole",
    [
        message(200, GOOD),
        b"HTTP/1.1 200 OK\r\n\r\n" + GOOD,
        b"HTTP/1.0 200 OK\r\n\r\n" + GOOD,
        b"HTTP/1.1 100 Continue\r\n\r\n" + message(200, GOOD),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n%b\r\n%x;a=b\r\n%b\r\n0\r\nTrailer: x\r\n\r\n"
        % (GOOD[:3], len(GOOD) - 3, GOOD[3:]),
    ],
    ids=["length", "until the end", "HTTP/1.0", "100-continue", "chunked"],
)
def test_every_framing_brings_the_same_body(server: FaultServer, dispatcher: Dispatcher, whole: bytes) -> None:
    server.behave(then(says(whole), Peer.close))
    assert answered(send(dispatcher, post(server.url()))).body == GOOD


@pytest.mark.parametrize("name", sorted(odd_bodies(GOOD)))
def test_a_strange_body_is_brought_as_it_is(server: FaultServer, dispatcher: Dispatcher, name: str) -> None:
    body = odd_bodies(GOOD)[name]
    server.behave(answer(200, body))
    assert answered(send(dispatcher, post(server.url()))).body == body


def test_header_names_are_lower_case_values_joined_and_cookies_dropped(
    server: FaultServer, dispatcher: Dispatcher
) -> None:
    server.behave(answer(402, GOOD, "Request-Id: req_1", "Via: a", "VIA: b", "Name: \xe9", "Set-Cookie: s=1"))
    result = answered(send(dispatcher, post(server.url())))
    assert result.status == 402
    assert dict(result.headers) == {
        "content-type": "application/json",
        "content-length": str(len(GOOD)),
        "request-id": "req_1",
        "via": "a, b",
        "name": "\xe9",
    }
    answered(send(dispatcher, post(server.url())))
    assert "cookie" not in server.requests[1].headers
    assert server.connections == 1


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("DELETE", 304), ("OPTIONS", 200)])
def test_an_answer_may_have_no_body(server: FaultServer, dispatcher: Dispatcher, method: str, status: int) -> None:
    server.behave(says(message(status, b"", length=0 if status == 200 and method != "HEAD" else 5)))
    for _ in range(2):
        result = answered(send(dispatcher, Request(method, server.url(), (), b"")))
        assert (result.status, result.body) == (status, b"")
    assert server.connections == 1
    assert "content-length" not in server.requests[0].headers


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer_and_is_not_followed(server: FaultServer, dispatcher: Dispatcher, status: int) -> None:
    with FaultServer() as other:
        server.behave(answer(status, b"", f"Location: {other.url()}"))
        assert answered(send(dispatcher, post(server.url()))).status == status
        server.behave(answer(status, b"", "Location: http://[not a url"))
        assert answered(send(dispatcher, post(server.url()))).status == status
        assert other.connections == 0
    assert len(server.requests) == 2


# What breaks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_broken_exchange_is_a_failure_that_may_have_been_sent(
    server: FaultServer, dispatcher: Dispatcher, name: str
) -> None:
    """On a new connection and on a used one; nothing is sent again, and the next request is not harmed."""
    for connections in (1, 2):
        server.behave(FAULTS[name])
        result = failed(send(dispatcher, post(server.url())), KINDS[name], sent=True)
        assert result.message.startswith(f"{HOST}:{server.port} ")
        assert result.message.endswith("; the request may have been carried out")
        assert server.connections == connections
        assert [line for pool in dispatcher._pools.values() for line in pool._idle] == []
        server.behave(answer(200, GOOD))
        assert answered(send(dispatcher, post(server.url()))).body == GOOD
        assert server.connections == connections + 1


def test_all_faults_have_a_kind() -> None:
    assert set(KINDS) | set(DRIPS) | {"close in a body without a length"} == set(FAULTS)


def test_a_cut_body_without_a_length_cannot_be_told_from_a_whole_one(
    server: FaultServer, dispatcher: Dispatcher
) -> None:
    server.behave(FAULTS["close in a body without a length"])
    assert answered(send(dispatcher, post(server.url()))).body == GOOD[: len(GOOD) // 2]


def test_nobody_listens() -> None:
    port = closed_port()
    result = failed(send(Dispatcher(), post(f"http://{HOST}:{port}/")), "connect", sent=False)
    assert result.message == f"{HOST}:{port} was not reached: Connection refused; nothing was sent"


def test_the_limit_of_a_body_is_exact(server: FaultServer, dispatcher: Dispatcher) -> None:
    server.behave(answer(200, bytes(1000)))

    def limited(limit: int) -> Answer | Failure:
        deadline = time.monotonic() + 10
        return dispatcher.send(post(server.url()), credentials={}, deadline=deadline, answer_limit=limit)

    assert answered(limited(1000)).body == bytes(1000)
    assert "999 bytes" in failed(limited(999), "too_large", sent=True).message


def test_the_limit_of_headers_is_exact(server: FaultServer, dispatcher: Dispatcher) -> None:
    bare = len(message(200, b"", "X-Long: "))
    server.behave(answer(200, b"", "X-Long: " + "x" * (HEAD_LIMIT - bare)))
    assert answered(send(dispatcher, post(server.url()))).status == 200
    server.behave(in_two(message(200, b"", "X-Long: " + "x" * (HEAD_LIMIT - bare)), HEAD_LIMIT - 1))
    assert answered(send(dispatcher, post(server.url()))).status == 200
    server.behave(answer(200, b"", "X-Long: " + "x" * (HEAD_LIMIT - bare + 1)))
    failed(send(dispatcher, post(server.url())), "too_large", sent=True)


def test_a_bug_on_this_side_is_no_exception_and_tells_nothing(server: FaultServer) -> None:
    def broken(host: str, port: int) -> list[str]:
        raise KeyError(CANARY)

    with contextlib.closing(Dispatcher(look_up=broken)) as broken_dispatcher:
        result = send(broken_dispatcher, post("https://api.test/v1"))
        assert "KeyError" in failed(result, "unexpected", sent=False).message
        assert answered(send(broken_dispatcher, post(server.url()))).status == 200, "an address is not looked up"


# Addresses ------------------------------------------------------------------------------------------------------------


def test_a_host_that_does_not_exist() -> None:
    result = send(Dispatcher(), post("https://nobody.invalid/v1"))
    assert isinstance(result, Failure)
    assert (result.kind in {"dns", "dns_timeout"}, result.sent) == (True, False)
    assert result.message.startswith("nobody.invalid:443 was not found")


@pytest.mark.parametrize("host", ["a" * 64 + ".test", "a..test", "-"])
def test_a_host_that_cannot_exist(host: str) -> None:
    result = send(Dispatcher(), post(f"https://{host}/v1"))
    assert isinstance(result, Failure)
    assert (result.kind in {"dns", "invalid_request"}, result.sent) == (True, False)


def test_the_first_address_that_answers_is_taken(server: FaultServer) -> None:
    def two(host: str, port: int) -> list[str]:
        return ["127.0.0.2", HOST]

    with contextlib.closing(Dispatcher(look_up=two)) as dispatcher:
        assert answered(send(dispatcher, post(server.url(host="localhost")))).status == 200
    assert server.requests[0].headers["host"] == f"localhost:{server.port}"


def test_an_address_that_says_nothing_leaves_time_for_the_next() -> None:
    with full_backlog() as port, FaultServer(address=("127.0.0.2", port)) as server:
        with contextlib.closing(Dispatcher(connect=0.6, look_up=lambda host, port: [HOST, "127.0.0.2"])) as dispatcher:
            assert answered(send(dispatcher, post(f"http://localhost:{port}/"))).status == 200
        assert server.connections == 1


def test_a_host_without_an_address() -> None:
    result = send(Dispatcher(look_up=lambda host, port: []), post("https://api.test/v1"))
    assert "has no address" in failed(result, "connect", sent=False).message


def test_look_ups_left_behind_are_bounded() -> None:
    release = threading.Event()
    asked: list[str] = []

    def slow(host: str, port: int) -> list[str]:
        asked.append(host)
        release.wait(10)
        return [HOST]

    addresses = Addresses(slow, at_once=2)
    for _ in range(4):
        with pytest.raises(TimeoutError):
            addresses.find("api.test", 443, time.monotonic() + 0.05)
    assert len(asked) == 2
    release.set()
    assert addresses.find("api.test", 443, time.monotonic() + 10) == [HOST]


LEAVING = """
import time
from engine.dispatcher import Dispatcher
from engine.request_types import Request
slow = Dispatcher(connect=0.1, look_up=lambda host, port: time.sleep(60))
print(slow.send(Request("GET", "https://api.test/", (), b""), credentials={}, deadline=time.monotonic() + 5).kind)
"""


def test_a_look_up_left_behind_keeps_no_process_alive() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LEAVING], check=True, timeout=30, cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "dns_timeout\n"


# TLS ------------------------------------------------------------------------------------------------------------------


def test_a_trusted_server_is_heard(tmp_path: Path) -> None:
    file = certificate(tmp_path)
    with FaultServer(tls_context(file)) as server, contextlib.closing(Dispatcher(ca_file=file)) as dispatcher:
        server.behave(answer(200, GOOD))
        for _ in range(3):
            assert answered(send(dispatcher, post(server.url()))).body == GOOD
        assert server.connections == 1


@pytest.mark.parametrize("is_tls", [False, True])
def test_more_than_the_system_takes_at_once_goes_and_comes_whole(tmp_path: Path, is_tls: bool) -> None:
    """Neither is one step: the connection has to be waited for, and under TLS a record comes in pieces."""
    file, long = certificate(tmp_path), json.dumps(["x" * 900_000]).encode()

    def late(peer: Peer) -> None:
        peer.server.stopped.wait(PAUSE)
        answer(200, long)(peer)

    with FaultServer(tls_context(file) if is_tls else None) as server:
        server.behave(late)
        with contextlib.closing(Dispatcher(ca_file=file)) as dispatcher:
            asked = post(server.url(), os.urandom(5_000_000))
            assert answered(send(dispatcher, asked)).body == long
    assert server.requests[0].body == asked.body


def test_tls_faults_after_the_handshake_may_have_been_sent(tmp_path: Path) -> None:
    file = certificate(tmp_path)
    with FaultServer(tls_context(file)) as server, contextlib.closing(Dispatcher(ca_file=file)) as dispatcher:
        for name in ("close before the answer", "close in the body", "close in a body without a length", "gzip"):
            server.behave(FAULTS[name])
            failed(send(dispatcher, post(server.url())), KINDS.get(name, "closed"), sent=True)


def _old(context: ssl.SSLContext) -> ssl.SSLContext:
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


@pytest.mark.parametrize(
    ("host", "days", "is_known", "is_old", "said"),
    [
        (HOST, 1, False, False, "self-signed certificate"),
        (HOST, -1, True, False, "certificate has expired"),
        ("api.test", 1, True, False, "IP address mismatch"),
        (HOST, 1, True, True, "tlsv1 alert protocol version"),
    ],
    ids=["self-signed", "expired", "of another host", "TLS 1.1"],
)
def test_a_server_that_does_not_prove_who_it_is_sees_no_request(
    tmp_path: Path, host: str, days: int, is_known: bool, is_old: bool, said: str
) -> None:
    file = certificate(tmp_path, host, days)
    context = _old(tls_context(file)) if is_old else tls_context(file)
    trusted = file if is_known else None
    with FaultServer(context) as server, contextlib.closing(Dispatcher(ca_file=trusted)) as dispatcher:
        result = failed(send(dispatcher, post(server.url())), "tls", sent=False)
        assert f"did not prove who it is: {said}" in result.message
        assert server.requests == []


def test_a_server_without_tls_sees_no_request(server: FaultServer, dispatcher: Dispatcher) -> None:
    server.behave(lambda peer: peer.close() if peer.send(message(400, b"")) else None)
    failed(send(dispatcher, post(server.url(scheme="https"))), "tls", sent=False)
    assert server.requests == []


def test_a_failed_handshake_leaves_nothing_to_be_used_again(tmp_path: Path) -> None:
    """A line whose connection had expired, and whose next one did not come to be, must open a third."""
    file = certificate(tmp_path)
    with FaultServer(tls_context(file)) as server:
        trusting, other = ssl.create_default_context(cafile=file), ssl.create_default_context()
        line = Line(Addresses(lambda host, port: [HOST]), trusting)
        with contextlib.closing(Dispatcher(ca_file=file)) as dispatcher:
            pool = Pool(1, lambda: line)
            dispatcher._pools["https", HOST, server.port] = pool
            answered(send(dispatcher, post(server.url())))
            line.close()
            line._tls = other
            failed(send(dispatcher, post(server.url())), "tls", sent=False)
            assert (line._socket, list(pool._idle)) == (None, [])
            line._tls = trusting
            answered(send(dispatcher, post(server.url())))


# Time -----------------------------------------------------------------------------------------------------------------


def in_time(dispatcher: Dispatcher, request: Request, *, sent: bool) -> None:
    """The deadline ends it, and within a second."""
    started = time.monotonic()
    failed(send(dispatcher, request, 0.5), "deadline", sent=sent)
    assert 0.5 <= time.monotonic() - started <= 1.5


@pytest.mark.deadline
@pytest.mark.parametrize("name", [*DRIPS, "silence", "silence in the body"])
def test_no_answer_outlasts_the_deadline(server: FaultServer, name: str) -> None:
    server.behave(FAULTS[name])
    with contextlib.closing(Dispatcher()) as dispatcher:
        in_time(dispatcher, post(server.url()), sent=True)


@pytest.mark.deadline
def test_no_writing_outlasts_the_deadline(server: FaultServer) -> None:
    server.behave(Peer.wait)
    with contextlib.closing(Dispatcher()) as dispatcher:
        in_time(dispatcher, post(server.url(), bytes(50_000_000)), sent=True)
    assert server.requests == []


@pytest.mark.deadline
def test_no_look_up_outlasts_the_deadline() -> None:
    release = threading.Event()

    def slow(host: str, port: int) -> list[str]:
        release.wait(10)
        return [HOST]

    in_time(Dispatcher(look_up=slow), post("https://api.test/v1"), sent=False)
    release.set()


@pytest.mark.deadline
def test_no_connecting_outlasts_the_deadline() -> None:
    with full_backlog() as port:
        in_time(Dispatcher(), post(f"http://{HOST}:{port}/"), sent=False)


@pytest.mark.deadline
def test_no_handshake_outlasts_the_deadline(server: FaultServer) -> None:
    server.behave(Peer.wait)
    with contextlib.closing(Dispatcher()) as dispatcher:
        in_time(dispatcher, post(server.url(scheme="https")), sent=False)


@pytest.mark.deadline
def test_no_queue_outlasts_the_deadline(server: FaultServer) -> None:
    server.behave(FAULTS["silence"])
    with contextlib.closing(Dispatcher(connections=1)) as dispatcher, ThreadPoolExecutor() as threads:
        first = threads.submit(send, dispatcher, post(server.url()), 1.5)
        while not server.requests:
            time.sleep(0.01)
        started = time.monotonic()
        failed(send(dispatcher, post(server.url()), 0.5), "pool_timeout", sent=False)
        assert time.monotonic() - started <= 1.5
        failed(first.result(), "deadline", sent=True)


def test_a_deadline_that_has_passed_opens_nothing(server: FaultServer, dispatcher: Dispatcher) -> None:
    failed(send(dispatcher, post(server.url()), -1.0), "deadline", sent=False)
    assert server.connections == 0


def test_every_step_has_a_time_of_its_own(server: FaultServer) -> None:
    release = threading.Event()
    server.behave(Peer.wait)

    def slow(host: str, port: int) -> list[str]:
        release.wait(10)
        return [HOST]

    impatient = Dispatcher(connect=0.1, write=0.1, read=0.1, look_up=slow)
    failed(send(impatient, post("https://api.test/v1")), "dns_timeout", sent=False)
    release.set()
    with full_backlog() as port:
        failed(send(impatient, post(f"http://{HOST}:{port}/")), "connect_timeout", sent=False)
    failed(send(impatient, post(server.url(scheme="https"))), "tls_timeout", sent=False)
    failed(send(impatient, post(server.url(), bytes(50_000_000))), "write_timeout", sent=True)
    failed(send(impatient, post(server.url())), "read_timeout", sent=True)


# Connections ----------------------------------------------------------------------------------------------------------


def test_a_connection_is_used_again(server: FaultServer, dispatcher: Dispatcher) -> None:
    for _ in range(10):
        answered(send(dispatcher, post(server.url())))
    assert (server.connections, len(server.requests)) == (1, 10)


def test_a_connection_that_was_closed_meanwhile_is_not_used(server: FaultServer, dispatcher: Dispatcher) -> None:
    server.behave(then(answer(200, GOOD), Peer.close))
    for sent in range(1, 6):
        answered(send(dispatcher, post(server.url())))
        assert len(server.requests) == server.connections == sent
        _until_the_end_arrives(dispatcher)


def _until_the_end_arrives(dispatcher: Dispatcher) -> None:
    """Loopback is quick, but not instant."""
    (pool,) = dispatcher._pools.values()
    (line,) = pool._idle
    assert line._poll.poll(5000)


def test_a_connection_that_is_old_is_not_used(server: FaultServer, dispatcher: Dispatcher) -> None:
    answered(send(dispatcher, post(server.url())))
    (pool,) = dispatcher._pools.values()
    pool._idle[0]._idle_since -= KEPT
    answered(send(dispatcher, post(server.url())))
    assert server.connections == 2


def test_a_connection_that_is_closed_under_a_request_leaves_it_unknown(
    server: FaultServer, dispatcher: Dispatcher
) -> None:
    server.behave(answer(200, GOOD), FAULTS["close before the answer"])
    answered(send(dispatcher, post(server.url())))
    failed(send(dispatcher, post(server.url())), "closed", sent=True)
    assert (server.connections, len(server.requests)) == (1, 2)


def test_a_second_answer_is_not_taken_for_that_of_the_next_request(server: FaultServer, dispatcher: Dispatcher) -> None:
    forged = message(200, b'{"id": "ch_forged"}')
    server.behave(says(message(200, GOOD) + forged), answer(200, b'{"id": "ch_2"}'))
    answered(send(dispatcher, post(server.url())))
    assert answered(send(dispatcher, post(server.url()))).body == b'{"id": "ch_2"}'
    assert server.connections == 2


def test_a_second_answer_that_comes_late_is_not_taken_either(server: FaultServer, dispatcher: Dispatcher) -> None:
    arrived = threading.Event()

    def late(peer: Peer) -> None:
        answer(200, GOOD)(peer)
        arrived.wait(10)
        peer.send(message(200, b'{"id": "ch_forged"}'))

    server.behave(late, answer(200, b'{"id": "ch_2"}'))
    answered(send(dispatcher, post(server.url())))
    arrived.set()
    _until_the_end_arrives(dispatcher)
    assert answered(send(dispatcher, post(server.url()))).body == b'{"id": "ch_2"}'


def test_a_second_answer_that_tls_keeps_back_is_not_taken_either(tmp_path: Path) -> None:
    """Unpacked already, so the system knows nothing of it: it came in one record with the end of the first."""
    file = certificate(tmp_path)
    bare = len(message(200, GOOD, "X-Long: "))
    first = message(200, GOOD, "X-Long: " + "x" * (HEAD_LIMIT - bare))
    forged = message(200, b'{"id": "ch_forged"}')
    with FaultServer(tls_context(file)) as server, contextlib.closing(Dispatcher(ca_file=file)) as dispatcher:
        server.behave(in_two(first + forged, 10_000), answer(200, b'{"id": "ch_2"}'))
        assert answered(send(dispatcher, post(server.url()))).body == GOOD
        assert answered(send(dispatcher, post(server.url()))).body == b'{"id": "ch_2"}'


def test_a_first_write_that_fails_provably_sent_nothing(server: FaultServer, dispatcher: Dispatcher) -> None:
    answered(send(dispatcher, post(server.url())))
    (pool,) = dispatcher._pools.values()
    line = pool._idle[0]
    assert line._socket is not None
    line._socket.shutdown(socket.SHUT_WR)
    line._usable = lambda: line._socket  # type: ignore[method-assign]  # the end arrived just after we looked
    failed(send(dispatcher, post(server.url())), "write", sent=False)
    assert len(server.requests) == 1


def test_many_threads_share_few_connections(server: FaultServer) -> None:
    server.behave(answer(200, GOOD))
    with contextlib.closing(Dispatcher(connections=4)) as dispatcher, ThreadPoolExecutor(16) as threads:
        results = list(threads.map(lambda number: send(dispatcher, post(server.url(f"/{number}"))), range(200)))
    assert all(isinstance(result, Answer) for result in results)
    assert sorted(received.target for received in server.requests) == sorted(f"/{number}" for number in range(200))
    assert server.connections <= 4 + 4, "a line may be missed in the moment it is looked at, not more"


def test_each_answer_goes_to_its_own_thread(server: FaultServer) -> None:
    def echo(peer: Peer) -> None:
        if received := peer.read():
            peer.send(message(200, received.target.encode()))

    server.behave(echo)
    with contextlib.closing(Dispatcher(connections=8)) as dispatcher, ThreadPoolExecutor(8) as threads:
        bodies = list(threads.map(lambda n: answered(send(dispatcher, post(server.url(f"/{n}")))).body, range(300)))
    assert bodies == [f"/{number}".encode() for number in range(300)]


def test_too_many_at_once_are_not_sent(server: FaultServer) -> None:
    server.behave(FAULTS["silence"])
    with contextlib.closing(Dispatcher(connections=1, pool=0.05, read=1.0)) as dispatcher:
        with ThreadPoolExecutor() as threads:
            first = threads.submit(send, dispatcher, post(server.url()))
            while not server.requests:
                time.sleep(0.01)
            failed(send(dispatcher, post(server.url())), "pool_timeout", sent=False)
            failed(first.result(), "read_timeout", sent=True)
        assert len(server.requests) == 1
        server.behave(answer(200, GOOD))
        assert answered(send(dispatcher, post(server.url()))).status == 200, "the place was given back"


def test_idle_connections_are_closed_when_their_time_is_up(server: FaultServer, dispatcher: Dispatcher) -> None:
    server.behave(answer(200, GOOD))
    with ThreadPoolExecutor(3) as threads:
        barrier = threading.Barrier(3)

        def together(host: str, port: int) -> list[str]:
            barrier.wait(10)
            return [HOST]

        dispatcher._addresses = Addresses(together)
        list(threads.map(lambda _: send(dispatcher, post(server.url(host="localhost"))), range(3)))
    (pool,) = dispatcher._pools.values()
    oldest, older, newest = pool._idle
    oldest._idle_since = older._idle_since = newest._idle_since - KEPT
    for _ in range(2):
        answered(send(dispatcher, post(server.url(host="localhost"))))
    assert list(pool._idle) == [newest]
    assert (oldest._socket, older._socket) == (None, None)
    assert server.connections == 3


def test_closing_closes_and_a_later_send_opens_again(server: FaultServer) -> None:
    dispatcher = Dispatcher()
    answered(send(dispatcher, post(server.url())))
    dispatcher.close()
    answered(send(dispatcher, post(server.url())))
    dispatcher.close()
    assert server.connections == 2


@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_process_opens_its_own_connections(server: FaultServer, dispatcher: Dispatcher) -> None:
    server.behave(answer(200, GOOD))
    answered(send(dispatcher, post(server.url("/parent"))))
    (pool,) = dispatcher._pools.values()
    while not pool._places.empty():  # as if other threads were in the middle of theirs
        pool._places.get()
    child = os.fork()
    if child == 0:
        is_answered = isinstance(send(dispatcher, post(server.url("/child"))), Answer)
        os._exit(0 if is_answered and not pool._idle else 1)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 0
    for _ in range(64):
        pool._places.put(None)
    answered(send(dispatcher, post(server.url("/parent"))))
    assert [received.target for received in server.requests] == ["/parent", "/child", "/parent"]
    assert server.connections == 2


# What must not be sent ------------------------------------------------------------------------------------------------


def urls(server: FaultServer) -> Mapping[str, str]:
    here = f"{HOST}:{server.port}"
    return {
        "a path with ..": server.url("/v1/charges/../refunds"),
        "a path with .": server.url("/v1/./charges"),
        "a fragment": server.url("/v1#x"),
        "a blank": server.url("/v1/a b"),
        "a new line": server.url("/v1\r\nX: y"),
        "NUL": server.url("/v1\x00"),
        "an unencoded quote": server.url('/v1?a="'),
        "a letter beyond ASCII": server.url("/v1/\xe9"),
        "a user": f"http://user:{CANARY}@{here}/v1",
        "a backslash": f"http://{here}\\@evil.test/v1",
        "no path": f"http://{here}",
        "a query without a path": f"http://{here}?a=b",
        "no host": "http:///v1",
        "no scheme": f"//{here}/v1",
        "another scheme": f"ftp://{here}/v1",
        "a port that is none": f"http://{HOST}:99999/v1",
        "plain http to another machine": "http://api.test/v1",
        "plain http to a name that looks local": "http://localhost.test/v1",
        "nothing": "",
    }


def test_a_url_that_would_not_arrive_as_it_is_is_refused(server: FaultServer, dispatcher: Dispatcher) -> None:
    for name, url in urls(server).items():
        result = failed(send(dispatcher, post(url)), "invalid_request", sent=False)
        assert "user" not in result.message, name
    assert server.connections == 0


def test_a_header_that_would_be_another_is_refused(server: FaultServer, dispatcher: Dispatcher) -> None:
    codes = [code for code in range(256) if not 0x20 < code < 0x7F] + [0x20AC, 0xD800]
    wrong = [("X-Name", chr(code).join(ends)) for code in codes for ends in (("a", ""), ("", "a"), ("a", "b"))]
    wrong = [header for header in wrong if header[1] != "a b"]
    wrong += [(f"X{chr(code)}", "a") for code in [*codes, *b'"(),/:;<=>?@[\\]{}']]
    wrong += [("", "a")]
    for header in wrong:
        request = Request("POST", server.url(), (header,), b"")
        failed(send(dispatcher, request), "invalid_request", sent=False)
    assert len(wrong) > 500
    assert server.connections == 0


@pytest.mark.parametrize(
    "names",
    [
        ("Idempotency-Key", "idempotency-key"),
        ("authorization",),
        ("Host",),
        ("Content-Length",),
        ("Transfer-Encoding",),
        ("Connection",),
        ("Accept-Encoding",),
        ("Expect",),
    ],
)
def test_a_header_has_one_owner_and_stands_once(
    server: FaultServer, dispatcher: Dispatcher, names: tuple[str, ...]
) -> None:
    request = Request("POST", server.url(), tuple((name, "a") for name in names), b"")
    message = failed(send(dispatcher, request), "invalid_request", sent=False).message
    assert names[-1].lower() in message.lower()
    assert server.connections == 0


@pytest.mark.parametrize("method", ["CONNECT", "TRACE", "post", "", "GET /\r\nX: y"])
def test_a_method_is_one_of_a_few(server: FaultServer, dispatcher: Dispatcher, method: str) -> None:
    failed(send(dispatcher, Request(method, server.url(), (), b"")), "invalid_request", sent=False)
    assert server.connections == 0


# Secrets and the environment ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spoilt", [f"{CANARY}\n", f" {CANARY}", f"{CANARY}\xe9", f"{CANARY}\x00", f"{CANARY}\ud800"])
def test_a_spoilt_credential_is_refused_and_not_shown(
    server: FaultServer, dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture, spoilt: str
) -> None:
    deadline = time.monotonic() + 5
    result = dispatcher.send(post(server.url()), credentials={"X-Api-Key": spoilt}, deadline=deadline)
    assert "X-Api-Key" in failed(result, "invalid_request", sent=False).message
    assert CANARY not in caplog.text
    assert server.connections == 0


def test_nothing_is_logged_by_anybody_and_nothing_of_the_answer_is_quoted(
    server: FaultServer, dispatcher: Dispatcher, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)

    def echo(peer: Peer) -> None:
        if received := peer.read():
            peer.send(received.headers["authorization"].encode() + b"\r\n\r\n")

    server.behave(echo)
    failed(send(dispatcher, post(server.url("/v1/charges?token=" + CANARY))), "protocol", sent=True)
    server.behave(answer(200, GOOD, f"Set-Cookie: {CANARY}"))
    assert CANARY not in repr(answered(send(dispatcher, post(server.url("/v1/charges?token=" + CANARY)))))
    failed(send(dispatcher, post(f"http://{HOST}:{closed_port()}/?token={CANARY}")), "connect", sent=False)
    assert [record.name for record in caplog.records if record.name.startswith(("httpx", "httpcore"))] == []
    assert CANARY not in caplog.text


HOSTILE = """
import sys, time
from engine.dispatcher import Answer, Dispatcher
from engine.request_types import Request
result = Dispatcher(ca_file=sys.argv[2]).send(
    Request("POST", sys.argv[1], (), b"a=b"), credentials={"X-Api-Key": "k"}, deadline=time.monotonic() + 10
)
sys.exit(0 if isinstance(result, Answer) else repr(result))
"""


def test_the_environment_changes_nothing(tmp_path: Path) -> None:
    file, keys, netrc = certificate(tmp_path), tmp_path / "keys.log", tmp_path / "netrc"
    netrc.write_text(f"default login user password {CANARY}\n")
    netrc.chmod(0o600)
    with FaultServer() as proxy, FaultServer(tls_context(file)) as server:
        names = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy")
        hostile = {
            **os.environ,
            **dict.fromkeys(names, proxy.url("")),
            "SSLKEYLOGFILE": str(keys),
            "SSL_CERT_FILE": os.devnull,
            "NETRC": str(netrc),
        }
        command = [sys.executable, "-W", "ignore::ResourceWarning", "-c", HOSTILE, server.url(), str(file)]
        subprocess.run(command, env=hostile, check=True, timeout=30, cwd=ROOT)
        assert (proxy.connections, len(server.requests)) == (0, 1)
        assert "authorization" not in server.requests[0].headers
    assert not keys.exists()


def test_a_pool_without_places_says_so() -> None:
    """Whoever comes waits for as long as it is told to, and is told then."""
    with pytest.raises(Trouble, match="was not called"):
        Pool(0, lambda: Line(Addresses(lambda host, port: []), None)).take(0.01)


def test_reads_is_what_the_matrix_is_made_of(server: FaultServer, dispatcher: Dispatcher) -> None:
    """The server counts a request only when it arrived whole."""
    server.behave(reads(Peer.close))
    with socket.create_connection((HOST, server.port)) as connection:
        connection.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhalf")
    failed(send(dispatcher, post(server.url())), "closed", sent=True)
    assert [received.body for received in server.requests] == [b"amount=500"]
