"""A gateway on 127.0.0.1 that misbehaves on demand.

    with FaultServer() as server:
        server.behave(faults(b'{"id": "ch_1"}')["reset in the body"])

A behaviour is a function of one `Peer`: it is called when the first bytes of a request arrive, reads what it wants and
answers as it likes. Where it leaves the connection open, the next request on it meets the next behaviour; the last one
given holds for all that follow. `server.requests` are the requests that arrived whole.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import ipaddress
import select
import socket
import ssl
import struct
import threading
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

HOST = "127.0.0.1"
PAUSE = 0.02  # seconds between the bytes of a drip
PATIENCE = 30.0  # seconds until the server gives a silent client up; no test waits for it


@dataclass(frozen=True)
class Received:
    """One whole request, as it came. `headers` have lower-case names, `lines` are as they were sent."""

    method: str
    target: str
    headers: Mapping[str, str]
    lines: tuple[bytes, ...]
    body: bytes


@dataclass
class Peer:
    """One connection, seen from the server."""

    socket: socket.socket
    server: FaultServer
    is_open: bool = True
    buffer: bytearray = field(default_factory=bytearray)

    def fill(self) -> bool:
        """Wait for more bytes; False where there will be none."""
        try:
            data = self.socket.recv(65536)
        except OSError:
            data = b""
        self.buffer += data
        if not data:
            self.close()
        return bool(data)

    def read(self) -> Received | None:
        """Read a whole request and put it into the server's book; None where the client went away before."""
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            if not self.fill():
                return None
        first, *lines = bytes(self.buffer[:end]).split(b"\r\n")
        method, target, _ = first.decode("ascii").split(" ")
        named = (line.decode("latin-1").partition(": ") for line in lines)
        headers = {name.lower(): value for name, _, value in named}
        whole = end + 4 + int(headers.get("content-length", "0"))
        while len(self.buffer) < whole:
            if not self.fill():
                return None
        received = Received(method, target, headers, tuple(lines), bytes(self.buffer[end + 4 : whole]))
        del self.buffer[:whole]
        self.server.requests.append(received)
        return received

    def send(self, data: bytes) -> bool:
        """Send; False where the client is gone."""
        try:
            self.socket.sendall(data)
        except OSError:
            self.close()
        return self.is_open

    def drip(self, data: bytes) -> None:
        """Send byte by byte, until the client has had enough."""
        for byte in data:
            if not self.send(bytes([byte])) or self.server.stopped.wait(PAUSE):
                return

    def wait(self) -> None:
        """Say nothing until the client goes away; read nothing either."""
        while self.is_open and not self.server.stopped.is_set():
            events = select.select([], [], [self.socket], PAUSE)
            if events[2] or _has_hung_up(self.socket):
                self.close()

    def reset(self) -> None:
        """End the connection with RST: the client loses what it has not read yet."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        """End the connection with FIN."""
        self.is_open = False
        self.socket.close()


Behaviour = Callable[[Peer], None]


def _has_hung_up(connection: socket.socket) -> bool:
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


class FaultServer:
    """Listens from `with` to the end of it. `tls`: a context with a certificate; without one it speaks plain HTTP.

    `address`: where it listens; a free port of HOST by default.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, address: tuple[str, int] = (HOST, 0)) -> None:
        self._address = address
        self.requests: list[Received] = []
        self.connections = 0
        self.stopped = threading.Event()
        self._tls = tls
        self._behaviours: list[Behaviour] = [answer(200, b"{}")]
        self._peers: list[Peer] = []
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def behave(self, *behaviours: Behaviour) -> None:
        """What is done with the requests from now on, in their order; the last for all that follow."""
        with self._lock:
            self._behaviours = list(behaviours)

    def url(self, path: str = "/v1/charges", scheme: str | None = None, host: str = HOST) -> str:
        """A URL of this server."""
        return f"{scheme or ('https' if self._tls else 'http')}://{host}:{self.port}{path}"

    def __enter__(self) -> Self:
        self._listener = socket.create_server(self._address, backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.socket.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(PATIENCE)

    def _start(self, run: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=run, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        connection.settimeout(PATIENCE)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tls:
            try:
                connection = self._tls.wrap_socket(connection, server_side=True)
            except OSError:
                connection.close()
                return
        peer = Peer(connection, self)
        self._peers.append(peer)
        while peer.is_open and not self.stopped.is_set() and (peer.buffer or peer.fill()):
            self._next_behaviour()(peer)
        peer.close()

    def _next_behaviour(self) -> Behaviour:
        with self._lock:
            return self._behaviours.pop(0) if len(self._behaviours) > 1 else self._behaviours[0]


# Answers --------------------------------------------------------------------------------------------------------------


def message(status: int, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """A whole answer on the wire; `length` is what it says of its body, the truth by default."""
    named = {line.partition(":")[0].lower() for line in headers}
    typed = [] if "content-type" in named else ["Content-Type: application/json"]
    said = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status} Whatever", *typed, f"Content-Length: {said}", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def answer(status: int, body: bytes, *headers: str) -> Behaviour:
    """Read the request and answer it properly; the connection stays open."""
    return says(message(status, body, *headers))


def says(data: bytes) -> Behaviour:
    """Read the request and send these bytes; the connection stays open."""

    def behave(peer: Peer) -> None:
        if peer.read():
            peer.send(data)

    return behave


def then(first: Behaviour, last: Callable[[Peer], object]) -> Behaviour:
    """One after the other: `then(says(half), Peer.reset)`."""

    def behave(peer: Peer) -> None:
        first(peer)
        if peer.is_open:
            last(peer)

    return behave


def in_two(data: bytes, at: int) -> Behaviour:
    """Read the request and send these bytes in two pieces that do not arrive together."""

    def rest(peer: Peer) -> None:
        peer.server.stopped.wait(PAUSE)
        peer.send(data[at:])

    return then(says(data[:at]), rest)


def reads(last: Callable[[Peer], object]) -> Behaviour:
    """Read the request, and then only that."""
    return then(says(b""), last)


def _endless(start: bytes, piece: bytes) -> Behaviour:
    def behave(peer: Peer) -> None:
        if peer.read() and peer.send(start):
            while peer.send(piece) and not peer.server.stopped.is_set():
                pass

    return behave


def faults(good: bytes) -> dict[str, Behaviour]:
    """Every way in which the exchange that should bring `good` can break; all but the last two read the request."""
    whole = message(200, good)
    half = len(good) // 2
    head = whole[: -len(good)]
    chunked = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    unmeasured = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    bomb = gzip.compress(bytes(1 << 20))
    filler = b"x" * (1 << 16)

    def drips(start: bytes, rest: bytes) -> Behaviour:
        return then(says(start), lambda peer: peer.drip(rest))

    return {
        "close before the answer": reads(Peer.close),
        "reset before the answer": reads(Peer.reset),
        "silence": reads(Peer.wait),
        "close in the headers": then(says(head[:30]), Peer.close),
        "reset in the headers": then(says(head[:30]), Peer.reset),
        "close in the body": then(says(head + good[:half]), Peer.close),
        "reset in the body": then(says(head + good[:half]), Peer.reset),
        "silence in the body": then(says(head + good[:half]), Peer.wait),
        "close in a body without a length": then(says(unmeasured + good[:half]), Peer.close),
        "close in a chunk": then(says(chunked + b"%x\r\n" % len(good) + good[:half]), Peer.close),
        "close between chunks": then(says(chunked + b"%x\r\n" % half + good[:half] + b"\r\n"), Peer.close),
        "a drip of headers": drips(b"HTTP/1.1 200 OK\r\nX-Slow: ", b"x" * 100_000),
        "a drip of body": drips(message(200, b"", length=100_000), b" " * 100_000),
        "a drip of chunks": drips(chunked, b"1\r\nx\r\n" * 20_000),
        "a drip of a body without a length": drips(unmeasured, b" " * 100_000),
        "a drip of 100-continue": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 4_000),
        "no HTTP": says(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"),
        "garbage for a status": says(b"HTTP/1.1 abc OK\r\n\r\n"),
        "a header that is none": says(b"HTTP/1.1 200 OK\r\nno colon here\r\n\r\n"),
        "two lengths": says(message(200, good, f"Content-Length: {len(good) + 1}")),
        "a length that is none": says(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n"),
        "a chunk that is none": says(chunked + b"zz\r\n{}\r\n"),
        "an unknown transfer encoding": says(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n" + good),
        "a switch of protocols": says(b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n"),
        "a header of 200 kB": says(message(200, good, "X-Long: " + "x" * 200_000)),
        "10,000 headers": says(message(200, good, *(f"X-{number}: x" for number in range(10_000)))),
        "headers without end": _endless(b"HTTP/1.1 200 OK\r\n", b"X-More: more\r\n" * 1000),
        "100-continue without end": _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000),
        "a body of 100 MB": _endless(message(200, b"", length=100_000_000), filler),
        "chunks without end": _endless(chunked, b"10000\r\n" + filler + b"\r\n"),
        "a chunk's head without end": _endless(chunked, b"1;" + b"x" * 100_000),
        "a body without end": _endless(unmeasured, filler),
        "gzip": says(message(200, gzip.compress(good), "Content-Encoding: gzip")),
        "a gzip bomb": says(message(200, bomb, "Content-Encoding: gzip")),
        "gzip in gzip": says(message(200, gzip.compress(bomb), "Content-Encoding: gzip, gzip")),
        "gzip that is none": says(message(200, good, "Content-Encoding: gzip")),
        "deflate": says(message(200, zlib.compress(good), "Content-Encoding: deflate")),
        "brotli": says(message(200, b"\x0b\x02\x80" + good, "Content-Encoding: br")),
        "zstd": says(message(200, b"\x28\xb5\x2f\xfd" + good, "Content-Encoding: zstd")),
        "an unknown encoding": says(message(200, good, "Content-Encoding: rot13")),
        "a refusal to read": Peer.wait,
        "a reset while it is sent": Peer.reset,
    }


def odd_bodies(good: bytes) -> dict[str, bytes]:
    """Bodies of a status 200 with a JSON media type that are not the JSON they should be."""
    return {
        "nothing": b"",
        "half of it": good[: len(good) // 2],
        "it twice": good + good,
        "a key twice": b'{"id": "a", "id": "b"}',
        "NaN": b'{"amount": NaN}',
        "depth 100,000": b"[" * 100_000 + b"]" * 100_000,
        "a number of 5,000 digits": b'{"amount": ' + b"9" * 5000 + b"}",
        "a lone surrogate": b'{"id": "\\ud800"}',
        "NUL": b'{"id": "\\u0000"}',
        "a byte order mark": b"\xef\xbb\xbf" + good,
        "UTF-16": good.decode().encode("utf-16"),
        "Latin-1": b'{"name": "\xe9"}',
        "HTML": b"<!doctype html><title>502</title>",
    }


# Where nobody listens -------------------------------------------------------------------------------------------------


def closed_port() -> int:
    """A port of HOST that refuses connections."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextlib.contextmanager
def full_backlog(address: tuple[str, int] = (HOST, 0)) -> Iterator[int]:
    """A port whose queue of connections is full, so that another one is neither accepted nor refused."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(address, backlog=0))
        for _ in range(4):
            waiting = stack.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]


# Certificates ---------------------------------------------------------------------------------------------------------


def certificate(folder: Path, host: str = HOST, days: int = 1) -> Path:
    """A file with a key and a certificate of `host`, signed by itself, that ends in `days`; a client can trust it."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, host)])
    end = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
    names = [x509.IPAddress(ipaddress.ip_address(host)) if host == HOST else x509.DNSName(host)]
    signed = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(end - dt.timedelta(days=30))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = folder / f"{host}_{days}.pem"
    file.write_bytes(secret + signed.public_bytes(serialization.Encoding.PEM))
    return file


def tls_context(file: Path) -> ssl.SSLContext:
    """A server's context that shows the certificate in `file`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
