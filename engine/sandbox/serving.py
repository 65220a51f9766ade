"""A sandbox on a port of this machine, in a thread of its own.

Hides: the server, and how a connection is ended without an answer.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import Any

import waitress  # type: ignore[import-untyped]  # it has no types
from waitress.channel import ClientDisconnected  # type: ignore[import-untyped]  # as above

from engine.sandbox.asked import AnswerLost

HOST = "127.0.0.1"


class Served:
    """A WSGI application on 127.0.0.1 while a `with` lasts; `port` 0 is any free one. Raises OSError."""

    def __init__(self, app: Callable[..., Iterable[bytes]], port: int = 0, *, threads: int = 8) -> None:
        def ending(environ: Mapping[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
            try:
                return app(environ, start_response)
            except AnswerLost:
                raise ClientDisconnected from None

        self._open: dict[int, Any] = {}
        self._server = waitress.create_server(
            ending, self._open, host=HOST, port=port, threads=threads, ident="callsheet"
        )
        self.url = f"http://{HOST}:{self._server.effective_port}"
        self._thread = threading.Thread(target=self._server.run, name="sandbox", daemon=True)

    def __enter__(self) -> Served:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        server = self._server

        def end() -> None:
            for one in list(self._open.values()):
                if one is not server and one is not server.trigger:
                    one.handle_close()  # with a file that it sends
            self._open.clear()

        # The server's own thread closes what it looks at, and has nothing left to do then.
        server.trigger.pull_trigger(end)
        self._thread.join()
        server.task_dispatcher.shutdown()
        server.close()  # last, for whoever pulls its trigger writes to a file, and its number may be another one's then
