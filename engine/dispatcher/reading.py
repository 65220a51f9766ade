"""One answer read from a line: HTTP/1.1 and nothing else.

Hides: llhttp (by httptools), which parses; and what it leaves open: where a body without a length ends, that a body is
not encoded for its transfer in a way nobody asked for, and whether something follows the answer which the next request
would take for its own.
"""

from __future__ import annotations

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from engine.dispatcher.outcomes import Trouble

_FRAMING = frozenset({b"transfer-encoding", b"content-length", b"content-encoding"})


class Reading:
    """What has been read of the answer to one request; `head_only` where it was a HEAD.

    `begun`: its `status` and `headers` are here, the names in lower case. `complete`: so is all of it. `reusable`: and
    the line may carry another exchange. `size` is what has come of the body, in bytes; `content_encoding` how the body
    is encoded, empty where nothing is said of it.
    """

    def __init__(self, *, head_only: bool) -> None:
        self.begun = self.complete = self.reusable = False
        self.status = self.size = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self.content_encoding = b""
        self._head_only, self._ends_with_line = head_only, False
        self._pieces: list[bytes] = []
        self._parser = HttpResponseParser(self)

    def feed(self, received: bytes) -> None:
        """Take what has come; nothing, where the line has ended. Raises Trouble."""
        if not received:
            if not (self.begun and self._ends_with_line):
                raise closed()
            self.complete = True
            return
        try:
            self._parser.feed_data(received)
        except (HttpParserError, HttpParserUpgrade):
            self.reusable = False  # where the answer is complete, what follows it is nobody's
            if not self.complete:
                # The error's own text quotes what was received, which may be an echo of our secrets.
                raise _foreign() from None
        if self.complete:
            del self._parser  # it holds on to what it calls, so the two would wait for the collector of garbage

    @property
    def body(self) -> bytes:
        """What has come of the body."""
        return self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)

    # Called by the parser ---------------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        """An answer begins, after an interim one perhaps; or it is another that nobody asked for."""
        if self.complete:
            self.reusable = False

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header; those that come after the body are of no interest."""
        if not self.begun:
            self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        """All headers are here."""
        if self.complete:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self.headers.clear()
            return
        said: dict[bytes, bytes] = {}
        for name, value in self.headers:
            if name in _FRAMING:  # several of one name are one (RFC 9110, 5.3)
                said[name] = said[name] + b", " + value if name in said else value
        encoding = said.get(b"transfer-encoding")
        if encoding is not None and encoding.strip().lower() != b"chunked":
            raise ValueError
        if self._parser.get_http_version() not in {"1.0", "1.1"}:
            raise ValueError
        self.content_encoding = said.get(b"content-encoding", b"")
        self._ends_with_line = encoding is None and b"content-length" not in said
        self.status, self.begun = status, True
        if self._head_only:
            self._end()

    def on_body(self, piece: bytes) -> None:
        """A piece of the body."""
        if self.complete:
            self.reusable = False
        else:
            self._pieces.append(piece)
            self.size += len(piece)

    def on_message_complete(self) -> None:
        """The answer has ended, or an interim one has."""
        if self.begun and not self.complete:
            self._end()

    def _end(self) -> None:
        self.complete = True
        self.reusable = bool(self._parser.should_keep_alive())


def closed() -> Trouble:
    """The line has ended before the answer did."""
    return Trouble("closed", "closed the connection before its answer was complete")


def _foreign() -> Trouble:
    return Trouble("protocol", "answered something that is not HTTP/1.1")
