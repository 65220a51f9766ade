"""A line to one gateway: a connection that carries one exchange after the other, HTTP/1.1 and nothing else.

Hides: sockets, TLS, and when a connection may be used again. It is not one of httpx's because three facts decide what a
money-moving caller may do next, and httpx tells none of them: whether a byte of the request left, that no wait outlasts
the deadline of the whole exchange (its time-outs are for one socket operation each, none for the look-up of the host),
and that no byte is left over which the next request would take for its answer.
Nothing here writes to a log, follows a redirect, keeps a cookie, unpacks a body or reads the environment.
"""

from __future__ import annotations

import select
import socket
import ssl
import time
from collections.abc import Callable
from functools import partial
from typing import Literal, TypeVar

from engine.dispatcher.addresses import Addresses
from engine.dispatcher.outcomes import Kind, Limits, Trouble
from engine.dispatcher.outgoing import Message, Place
from engine.dispatcher.reading import Reading, closed

HEAD_LIMIT = 64 * 1024  # bytes of status line and headers
KEPT = 4.0  # seconds: below the 5 s after which common servers close an idle connection
_CHUNK = 64 * 1024
_RECORD = 16 * 1024  # bytes, the most that a record of TLS holds (RFC 8446, 5.1)
_NEVER = float("-inf")

_Brought = TypeVar("_Brought")
_Step = Literal["dns", "connect", "tls", "write", "read"]
_TOO_LATE: dict[_Step, Kind] = {
    "dns": "dns_timeout",
    "connect": "connect_timeout",
    "tls": "tls_timeout",
    "write": "write_timeout",
    "read": "read_timeout",
}
_DID_NOT: dict[_Step, str] = {
    "dns": "was not found",
    "connect": "was not reached",
    "tls": "did not prove who it is",
    "write": "did not take the request",
    "read": "did not complete its answer",
}


class Line:
    """One connection, opened when it is needed. One thread at a time."""

    def __init__(self, addresses: Addresses, tls: ssl.SSLContext | None) -> None:
        self.wrote = False  # whether a byte of the last request left
        self._addresses = addresses
        self._tls = tls
        self._socket: socket.socket | None = None
        self._poll = select.poll()
        self._idle_since = _NEVER
        self._deadline = 0.0
        self._step: _Step = "dns"

    def exchange(self, message: Message, limits: Limits, deadline: float, most: int) -> Reading:
        """Send, and read the whole answer; nothing of a body that is compressed.

        `deadline` is an instant of the monotonic clock, `most` counts bytes of the answer's body. Raises Trouble.
        """
        self.wrote, self._deadline = False, deadline
        try:
            return self._exchanged(message, limits, most)
        except TimeoutError:
            if time.monotonic() >= self._deadline:
                raise Trouble("deadline", f"{_DID_NOT[self._step]} before the deadline") from None
            raise Trouble(_TOO_LATE[self._step], f"{_DID_NOT[self._step]} in time") from None
        except (OSError, UnicodeError) as error:
            raise Trouble(self._step, f"{_DID_NOT[self._step]}: {_reason(error)}") from None

    def _exchanged(self, message: Message, limits: Limits, most: int) -> Reading:
        wire = self._usable() or self._open(message.place, limits.connect)
        self._idle_since = _NEVER
        self._step = "write"
        self._write(wire, message.octets, limits.write)
        self._step = "read"
        reading = Reading(head_only=message.method == "HEAD")
        self._head(wire, reading, limits.read)
        if reading.content_encoding.lower() not in {b"", b"identity"}:
            raise Trouble("encoding", "compressed its answer, though it was asked not to")
        self._body(wire, reading, limits.read, most)
        if reading.reusable:
            self._idle_since = time.monotonic()
        else:
            self.close()
        return reading

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._idle_since = None, _NEVER

    @property
    def is_idle(self) -> bool:
        """Whether the connection may carry another exchange, as far as is known without asking the system."""
        return self._socket is not None and not self.has_expired

    @property
    def has_expired(self) -> bool:
        """Whether the connection has been idle for so long that the other side may be about to close it."""
        return time.monotonic() - self._idle_since > KEPT

    # Opening ----------------------------------------------------------------------------------------------------------

    def _usable(self) -> socket.socket | None:
        """The connection, unless something arrived while it was idle: its end, or an answer to no question."""
        wire = self._socket
        if wire and self.is_idle and not self._has_come(wire, 0.0):
            return wire
        self.close()
        return None

    def _open(self, place: Place, seconds: float) -> socket.socket:
        until, host, port = min(time.monotonic() + seconds, self._deadline), place.host, place.port
        self._step = "dns"
        addresses = self._addresses.find(host, port, until)
        self._step = "connect"
        self._socket = wire = self._connect(addresses, port, until)
        if self._tls:
            self._step = "tls"
            wire.settimeout(self._left(until))
            # Without its farewell, the end of a TLS connection may be anybody's doing (RFC 9112, 9.8).
            self._socket = wire = self._tls.wrap_socket(wire, server_hostname=host, suppress_ragged_eofs=False)
        self._poll = select.poll()
        self._poll.register(wire, select.POLLIN)
        wire.setblocking(False)  # a time-out of its own would be three more calls of the system for every exchange
        return wire

    def _connect(self, addresses: list[str], port: int, until: float) -> socket.socket:
        """The first address that answers. Each gets its share of the time: a dead one leaves some for the rest."""
        failure: OSError = OSError("it has no address")
        for tried, address in enumerate(addresses):
            try:
                share = self._left(until) / (len(addresses) - tried)
                wire = socket.create_connection((address, port), share)
                wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            except OSError as error:
                failure = error
            else:
                return wire
        raise failure

    # One exchange -----------------------------------------------------------------------------------------------------

    def _write(self, wire: socket.socket, octets: bytes, seconds: float) -> None:
        rest = memoryview(octets)
        while rest:
            # Where the very first attempt fails, nothing left that could be read: under TLS, which writes all that it
            # is given or fails, at most a piece of one record, which cannot be decrypted.
            gone = self._done(wire, partial(wire.send, rest[:_RECORD]), select.POLLOUT, time.monotonic() + seconds)
            self.wrote = True
            rest = rest[gone:]

    def _head(self, wire: socket.socket, reading: Reading, seconds: float) -> None:
        """Read on until the headers are here."""
        room = HEAD_LIMIT
        while not reading.begun:
            if not room:
                raise _too_large()
            room -= self._receive(wire, reading, room, seconds)

    def _body(self, wire: socket.socket, reading: Reading, seconds: float, most: int) -> None:
        """Read on until all of it is here."""
        silent = 0  # bytes since the last of the body: sizes of chunks, what is said beside them, trailers
        while True:
            if reading.size > most:
                raise Trouble("too_large", f"sent more than {most} bytes")
            if reading.complete:
                return
            if silent > HEAD_LIMIT:
                raise _too_large()
            before = reading.size
            received = self._receive(wire, reading, _CHUNK, seconds)
            silent = silent + received if reading.size == before else 0

    def _receive(self, wire: socket.socket, reading: Reading, most: int, seconds: float) -> int:
        until = time.monotonic() + seconds
        if not self._has_come(wire, self._left(until)):
            raise TimeoutError
        try:
            received = self._done(wire, partial(wire.recv, min(most, _CHUNK)), select.POLLIN, until)
        except ssl.SSLEOFError:
            raise closed() from None
        reading.feed(received)
        return len(received)

    def _has_come(self, wire: socket.socket, seconds: float) -> bool:
        """Whether anything arrives within so many seconds, the end of the connection included."""
        return bool(isinstance(wire, ssl.SSLSocket) and wire.pending()) or bool(self._poll.poll(seconds * 1000))

    # Time -------------------------------------------------------------------------------------------------------------

    def _done(self, wire: socket.socket, do: Callable[[], _Brought], event: int, until: float) -> _Brought:
        """What `do` brings, once the connection is ready for it: for `event`, or for what TLS needs before.

        Raises TimeoutError at that instant or the deadline, whichever is first.
        """
        while True:
            left = self._left(until)
            try:
                return do()
            except BlockingIOError:
                needed = event
            except ssl.SSLWantReadError:
                needed = select.POLLIN
            except ssl.SSLWantWriteError:
                needed = select.POLLOUT
            ready = select.poll()
            ready.register(wire, needed)
            if not ready.poll(left * 1000):
                raise TimeoutError

    def _left(self, until: float) -> float:
        """Seconds until that instant or the deadline, whichever is first. Raises TimeoutError where none are left."""
        left = min(until, self._deadline) - time.monotonic()
        if left <= 0:
            raise TimeoutError
        return left


def _too_large() -> Trouble:
    return Trouble("too_large", f"sent more than {HEAD_LIMIT} bytes of headers")


def _reason(error: OSError | UnicodeError) -> str:
    """What the system or OpenSSL says of it, without the numbers."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return (error.reason or "TLS failed").replace("_", " ").lower()
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return "its name is not one of a host"
