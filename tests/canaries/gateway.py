"""A gateway that repeats what it is told, in all the ways in which it can be written, and fails in a dozen others."""

from __future__ import annotations

import base64
import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

from .values import COOKIE, HOST, PERSONAL, TOLD_ONCE, written

MODES = ("carries out", "refuses", "is busy", "breaks", "redirects", "garbles", "stutters", "cuts off", "hangs")
PLAIN = ("carries out", "refuses", "stutters")  # those that each way to authenticate is tried with


def echo(headers: dict[str, str], body: str, known: Mapping[str, str]) -> dict[str, Any]:
    """What it was sent, and everything it should not know."""
    forms = {f"{name} {how}": form for name, value in known.items() for how, form in written(value).items()}
    head = json.dumps(headers)
    return {"headers": headers, "body": body, "coded": base64.b64encode(head.encode()).decode(), "known": forms}


class Repeating:
    """The server. `mode` is what it does with the next requests; `requests` are paths and bodies that came whole."""

    def __init__(self, known: Mapping[str, str]) -> None:
        self.mode = MODES[0]
        self.requests: list[tuple[str, str]] = []
        self._numbers = count(1)
        gateway = self

        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
                gateway.requests.append((self.path, body))
                personal = {name: value for name, value in PERSONAL.items() if value in body}
                told = echo(dict(self.headers.items()), body, {**known, **personal})
                status, raw, kind = gateway.answer(self.path, told)
                if gateway.mode == "stutters":
                    self.wfile.write(f"{self.headers['Authorization']} {HOST['API key']}\r\n\r\n".encode())
                    return
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(raw) + (9 if gateway.mode == "cuts off" else 0)))
                self.send_header("Set-Cookie", f"id={COOKIE}")
                self.send_header("X-Request", f"req of {self.headers['Authorization']}")
                self.send_header("X-Should-Retry", "false")
                for number, value in enumerate(told["known"].values()):
                    self.send_header(f"X-Echo-{number}", value)
                if status == 302:
                    self.send_header("Location", f"https://elsewhere.test/?key={HOST['API key']}")
                self.end_headers()
                self.wfile.write(raw)

            do_GET = do_POST = do_DELETE = _any  # noqa: N815 - the library calls them so

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    def answer(self, path: str, told: dict[str, Any]) -> tuple[int, bytes, str]:
        """Status, body and Content-Type, as `mode` says."""
        said = " and ".join(told["known"].values()) + told["body"]
        if self.mode == "hangs":
            time.sleep(0.2)
        good: dict[str, Any] = {"id": f"p{next(self._numbers)}", "amount": 5, "told": told}
        if "endpoints" in path and told["body"]:
            good |= {"secret": HOST[TOLD_ONCE], "url": json.loads(told["body"])["url"]}
        answers: dict[str, tuple[int, Any]] = {
            "refuses": (402, {"error": {"message": said}, "told": told}),
            "is busy": (409, {"error": {"message": said}}),
            "breaks": (502, f"<html><p>{said}</p></html>"),
            "redirects": (302, {"told": told}),
            "garbles": (200, json.dumps(good)[:-1]),
        }
        status, body = answers.get(self.mode, (200, good))
        raw = body if isinstance(body, str) else json.dumps(body)
        return status, raw.encode(), "text/html" if self.mode == "breaks" else "application/json"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"


@contextmanager
def repeating(known: Mapping[str, str]) -> Iterator[Repeating]:
    """The server, while it runs."""
    made = Repeating(known)
    thread = threading.Thread(target=made.server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()
