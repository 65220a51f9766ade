"""Banks on 127.0.0.1 that fail on purpose. One keeps keys as Stripe's version 1 does.

It executes charges, refunds, transfers and cash payments, and knows for ever what it did. Whatever fails before the key
is looked at (401, 429, 400) is not remembered; once execution began the answer is, a 500 too, until the key is pruned.
A request whose body did not arrive whole was never made. The other says of what it did only that it is there already.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import re
import socket
import struct
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import repeat
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

HOST = "127.0.0.1"
SECRET = "sk_test_chaos_0123456789"
KEPT = 24 * 3600.0  # seconds that a key is remembered
INDEXED = 60.0  # seconds until a search finds what was done
SLOW = (0.05, 1.0)  # seconds that a slow answer takes; a client's patience is in between

BURST = 4  # exchanges in a row that are too many
FAULTS = (
    "reset before reading",
    "reset after executing",
    "answer lost",
    "cut answer",
    "500 saved",
    "500 not executed",
    "429",
    "slow answer",
)
_PREFIXES = {"charges": "ch", "refunds": "re", "transfers": "tr", "cash": "ca"}
_SEARCH = re.compile(r"metadata\['callsheet_call'\]:'([^']+)'")


@dataclass(frozen=True)
class Asked:
    """One whole request. `headers` have lower-case names."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes = b""

    @property
    def path(self) -> str:
        """The path without the version in front."""
        return urlsplit(self.target).path.removeprefix("/v1/")

    @property
    def form(self) -> dict[str, str]:
        """The pairs of the body."""
        return dict(parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclass(frozen=True)
class Reply:
    """An answer; its body is always JSON."""

    status: int
    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)

    def wire(self) -> bytes:
        """As it is sent."""
        body = json.dumps(self.body).encode()
        named = {"Content-Type": "application/json", "Content-Length": str(len(body)), **self.headers}
        lines = [f"HTTP/1.1 {self.status} Whatever", *(f"{name}: {value}" for name, value in named.items())]
        return "\r\n".join([*lines, "", ""]).encode() + body


@dataclass
class _Remembered:
    """What a key stands for: the request it came with first, and its answer once there is one."""

    digest: str
    since: float
    reply: Reply | None = None


class Bank:
    """What the bank knows and does. `now`: seconds since 1970, as this run counts them."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._keys: dict[str, _Remembered] = {}
        self._first_use: dict[str, str] = {}
        self.effects: list[dict[str, Any]] = []
        self.counts: Counter[str] = Counter()

    async def handle(self, asked: Asked, fault: str | None = None, *, executes: bool = True, wait: float = 0) -> Reply:
        """Answer one request. With the fault "500 saved" it is executed or not, as `executes` says."""
        if asked.headers.get("authorization") != f"Bearer {SECRET}":
            return _refusal(401, "invalid_request_error", "Invalid API Key provided")
        if asked.method == "GET":
            await asyncio.sleep(wait)
            return self._search(asked) if fault not in {"500 saved", "500 not executed"} else _broken()
        if problem := self._problem(asked):
            return problem
        key = asked.headers.get("idempotency-key")
        if key is None:
            await asyncio.sleep(wait)
            return self._execute(asked, fault, executes)
        return await self._once(key, asked, fault, executes, wait)

    async def _once(self, key: str, asked: Asked, fault: str | None, executes: bool, wait: float) -> Reply:
        digest = hashlib.sha256(asked.target.encode() + b"\n" + asked.body).hexdigest()
        if self._first_use.setdefault(key, digest) != digest:
            self.counts["keys reused with other bytes"] += 1
        known = self._keys.get(key)
        if known is not None and self._now() - known.since < KEPT:
            return self._again(key, known, digest)
        if fault == "500 not executed":
            return _broken()
        known = self._keys[key] = _Remembered(digest, self._now())
        await asyncio.sleep(wait)
        known.reply = self._execute(asked, fault, executes)
        return known.reply

    def _again(self, key: str, known: _Remembered, digest: str) -> Reply:
        if known.digest != digest:
            return _refusal(400, "idempotency_error", "Keys can only be used with the same parameters")
        if known.reply is None:
            return _refusal(409, "invalid_request_error", "Another request with this key is in progress")
        self.counts["answers replayed"] += 1
        return replace(known.reply, headers={**known.reply.headers, "Idempotent-Replayed": "true"})

    def _problem(self, asked: Asked) -> Reply | None:
        if asked.path not in _PREFIXES:
            return _refusal(404, "invalid_request_error", f"Unrecognized request URL {asked.target}")
        if not asked.form.get("amount", "").isdigit():
            return _refusal(400, "invalid_request_error", "Missing required param: amount")
        return None

    def _execute(self, asked: Asked, fault: str | None, executes: bool) -> Reply:
        form = asked.form
        if form.get("source") == "tok_declined":
            return _refusal(402, "card_error", "Your card was declined")
        if fault in {"500 saved", "500 not executed"} and not (executes and fault == "500 saved"):
            return _broken()
        effect = {
            "id": f"{_PREFIXES[asked.path]}_{len(self.effects) + 1}",
            "object": asked.path,
            "amount": int(form["amount"]),
            "currency": form.get("currency"),
            "of": form.get("charge"),
            "order": form.get("metadata[order]"),
            "call": form.get("metadata[callsheet_call]"),
            "key": asked.headers.get("idempotency-key"),
            "at": self._now(),
        }
        self.effects.append(effect)
        return _broken() if fault == "500 saved" else Reply(200, effect)

    def _search(self, asked: Asked) -> Reply:
        """Find effects by the reference that came with them; what was just done is not found yet."""
        wanted = _SEARCH.search(parse_qs(urlsplit(asked.target).query).get("query", [""])[0])
        if wanted is None:
            return _refusal(400, "invalid_request_error", "Missing required param: query")
        found = [one for one in self.effects if one["call"] == wanted[1] and self._now() - one["at"] >= INDEXED]
        return Reply(200, {"object": "search_result", "data": found})


class TerseBank(Bank):
    """Where a key comes again by which something was done, it is a conflict, as at GoCardless, whatever the request."""

    def _again(self, key: str, known: _Remembered, digest: str) -> Reply:
        if any(effect["key"] == key for effect in self.effects):
            self.counts["conflicts"] += 1
            return _refusal(409, "invalid_state", "A resource has already been created with this idempotency key")
        return super()._again(key, known, digest)


BANKS: Mapping[str, type[Bank]] = {"replaying": Bank, "terse": TerseBank}


def _refusal(status: int, type: str, message: str) -> Reply:
    return Reply(status, {"error": {"type": type, "message": message}})


def _broken() -> Reply:
    return _refusal(500, "api_error", "An unknown error occurred")


def by_seed(seed: int, share: float) -> Iterator[str | None]:
    """What goes wrong with one exchange after the other: about `share` of them break. A 429 comes with more of them."""
    chance = random.Random(seed)
    while True:
        fault = chance.choice(FAULTS) if chance.random() < share else None
        yield from repeat(fault, BURST if fault == "429" else 1)


class Door:
    """Takes connections for the bank and breaks the exchanges as `faults` says of each."""

    def __init__(self, bank: Bank, faults: Iterator[str | None], *, seed: int = 1) -> None:
        self._bank, self._faults, self._chance = bank, faults, random.Random(seed)
        self._under_way = 0

    async def serve(self, told: Callable[[int], object]) -> None:
        """Listen until cancelled; `told` is given the port."""
        server = await asyncio.start_server(self._connection, HOST, 0, backlog=256)
        async with server:
            told(server.sockets[0].getsockname()[1])
            await server.serve_forever()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while await self._exchange(reader, writer):
                pass
        writer.close()

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """One request and its answer; False where the connection ends with it."""
        try:
            asked = _head(await reader.readuntil(b"\r\n\r\n"))
        except asyncio.IncompleteReadError:
            return False
        if asked.target == "/books":
            books = {"effects": self._bank.effects, "counts": self._bank.counts, "under way": self._under_way}
            writer.write(Reply(200, books).wire())
            return False
        self._under_way += 1
        try:
            return await self._one(asked, reader, writer)
        finally:
            self._under_way -= 1

    async def _one(self, asked: Asked, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        fault = next(self._faults)
        self._bank.counts[f"fault: {fault}" if fault else "exchanges in order"] += 1
        if fault == "reset before reading":
            return _reset(writer)
        try:
            body = await reader.readexactly(int(asked.headers.get("content-length", "0")))
        except asyncio.IncompleteReadError:
            self._bank.counts["half-sent bodies"] += 1
            return False
        return await self._answer(replace(asked, body=body), fault, writer)

    async def _answer(self, asked: Asked, fault: str | None, writer: asyncio.StreamWriter) -> bool:
        if fault == "429":
            writer.write(Reply(429, {"error": {"type": "rate_limit_error"}}, {"Retry-After": "1"}).wire())
            return True
        wait = self._chance.uniform(*SLOW) if fault == "slow answer" else 0
        reply = await self._bank.handle(asked, fault, executes=self._chance.random() < 0.5, wait=wait)
        wire = reply.wire()
        if fault == "reset after executing":
            return _reset(writer)
        if fault == "answer lost":
            return False
        if fault == "cut answer":
            writer.write(wire[: self._chance.randrange(1, len(wire))])
            return False
        writer.write(wire)
        await writer.drain()
        return True


def books(port: int) -> dict[str, Any]:
    """What the bank did, how often things happened at it, and how many exchanges are under way."""
    with urllib.request.urlopen(f"http://{HOST}:{port}/books") as answer:
        found: dict[str, Any] = json.load(answer)
        return found


def fall_quiet(port: int) -> None:
    """Wait until the bank has done what it was asked: before a night, for no request takes that long to arrive."""
    quiet = 0
    while quiet < 2:
        quiet = quiet + 1 if books(port)["under way"] == 0 else 0
        time.sleep(0.02)


def _head(data: bytes) -> Asked:
    first, *lines = data.decode("latin-1").rstrip("\r\n").split("\r\n")
    method, target, _ = first.split(" ")
    named = (line.partition(": ") for line in lines)
    return Asked(method, target, {name.lower(): value for name, _, value in named})


def _reset(writer: asyncio.StreamWriter) -> bool:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
    return False
