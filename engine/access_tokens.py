"""Access tokens (OAuth 2.0): fetched before the first call that needs one, kept in memory only, renewed in time.

Hides: that a call's credentials have to be asked for, which one thread does while the others wait for it; and all that
a token endpoint may answer (RFC 6749, 5) in the place of a token.
"""

from __future__ import annotations

import math
import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from engine.answers import parse_json, retry_after
from engine.context import Clock
from engine.credentials import Client
from engine.dispatcher import HELD_BACK, Answer, Failure, Sender
from engine.errors import SettingError, TransportError
from engine.gates import Circuit, resting
from engine.settings import Settings
from engine.values import unchanging

MARGIN = 30.0  # seconds before a token's end from which it is not used: a call may wait at the gate so long
SHORT = 0.2  # of a token's life is the margin, where that is less
TRIES = 3
FIRST_WAIT, LONGEST_WAIT = 0.5, 5.0  # seconds between them, with full jitter
ANSWER_LIMIT = 64 * 1024  # bytes
FOREVER = 10**9  # seconds
LONGEST = 16 * 1024  # characters of a token

_SENDABLE = re.compile(r"[\x21-\x7e]+")  # more than RFC 6750, 2.1, and nothing that could end a header
_ERROR = re.compile(r"[a-z][a-z0-9_.-]{0,60}", re.IGNORECASE)


@unchanging
class Token:
    """An access token, and until when it is used, in seconds since 1970."""

    text: str = field(repr=False)
    since: float
    until: float


@dataclass(frozen=True, slots=True)
class Unfetched:
    """No token: why. `setting` is the one to look at, where the client was refused.

    `repeat`: asking again may help, after `wait` seconds at the earliest. `late`: who asked had no time for it, which
    says nothing to those who have.
    """

    why: str
    setting: str | None = None
    repeat: bool = False
    wait: float = 0.0
    late: bool = False

    def error(self) -> SettingError | TransportError:
        """What is raised where a token is needed."""
        return SettingError(self.setting, self.why) if self.setting else TransportError(self.why)


@dataclass(slots=True)
class _Fetch:
    """A token that is being fetched: what comes of it is there when it is `done`, unless who fetched it was stopped."""

    done: threading.Event = field(default_factory=threading.Event)
    outcome: Token | Unfetched | None = None


class AccessTokens:
    """The tokens of a process. Any number of threads; begins anew after a fork."""

    def __init__(self, dispatcher: Sender, settings: Settings, clock: Clock) -> None:
        self._dispatcher, self._settings, self._clock = dispatcher, settings, clock
        self._start_afresh()

    def _start_afresh(self) -> None:
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._kept: dict[Client, Token] = {}
        self._fetches: dict[Client, _Fetch] = {}
        self._circuits: dict[Client, Circuit] = {}

    def headers(self, client: Client, deadline: float) -> Mapping[str, str]:
        """The headers that authenticate a call; the token in them is fetched where there is none that still holds.

        `deadline` is an instant of `time.monotonic()`. Raises TransportError where no token could be had by then, and
        SettingError where the client is refused one.
        """
        return {"Authorization": f"Bearer {self._token(client, deadline).text}"}

    def refused(self, client: Client, headers: Mapping[str, str]) -> None:
        """Use the token in `headers` no more: it was refused before its end. Another one, fetched since, stays."""
        with self._lock:
            kept = self._kept.get(client)
            if kept and headers == {"Authorization": f"Bearer {kept.text}"}:
                del self._kept[client]

    def _token(self, client: Client, deadline: float) -> Token:
        if self._process != os.getpid():
            self._start_afresh()  # a lock may be held for ever
        while not (kept := self._in_use(client)):
            mine = _Fetch()
            try:
                with self._lock:
                    kept, fetch = self._in_use(client), self._fetches.setdefault(client, mine)
                if fetch is mine:
                    mine.outcome = kept or self._fetched(client, deadline)
            finally:  # wherever it is stopped, nobody waits for it longer
                self._end(client, mine)
            if not fetch.done.wait(max(0.0, deadline - time.monotonic())):
                raise TransportError(f"{client.gateway} was asked for an access token, and none came in time")
            if isinstance(fetch.outcome, Unfetched):
                if fetch is not mine and fetch.outcome.late and time.monotonic() < deadline:
                    continue
                raise fetch.outcome.error()
            if fetch.outcome:
                return fetch.outcome
        return kept

    def _in_use(self, client: Client) -> Token | None:
        """The token that a client has, where it still holds."""
        kept = self._kept.get(client)
        return kept if kept and kept.since <= self._clock.seconds() < kept.until else None

    def _end(self, client: Client, fetch: _Fetch) -> None:
        """Give what was fetched to all who wait for it; who came later has begun no other one meanwhile."""
        with self._lock:
            if self._fetches.get(client) is fetch:
                del self._fetches[client]
                if isinstance(fetch.outcome, Token):
                    self._kept[client] = fetch.outcome
        fetch.done.set()

    def _fetched(self, client: Client, deadline: float) -> Token | Unfetched:
        circuit = self._circuits.setdefault(client, Circuit(self._clock))
        outcome: Token | Unfetched = Unfetched("")
        for tries in range(TRIES):
            if not circuit.lets_through():
                return Unfetched(f"the token endpoint of {client.gateway} {resting(circuit.rests)}")
            began = self._clock.seconds()
            send, headers = self._dispatcher.send, dict(client.headers)
            result = send(client.request, credentials=headers, deadline=deadline, answer_limit=ANSWER_LIMIT)
            circuit.learn(result)
            outcome = self._read(client, result, began)
            if isinstance(outcome, Token) or not outcome.repeat:
                break
            least = max(0.1, self._clock.pause(min(LONGEST_WAIT, FIRST_WAIT * 2**tries)))
            if time.monotonic() + least >= deadline:
                return replace(outcome, late=True)
            wait = max(least, outcome.wait)
            if tries == TRIES - 1 or time.monotonic() + wait >= deadline:
                break
            self._clock.sleep(wait)
        return outcome

    def _read(self, client: Client, result: Answer | Failure, began: float) -> Token | Unfetched:
        """The token in an answer, masked from here on; or why there is none."""
        of = f"the token endpoint of {client.gateway}"
        if isinstance(result, Failure):
            why = result.message.rpartition("; ")[0]  # what is said of the request after it, is not said of the call
            again = result.kind != "invalid_request" and result.kind not in HELD_BACK
            return Unfetched(f"{of} gave no token: {self._settings.clean(why or result.message)}", repeat=again)
        said = self._object(result)
        if not 200 <= result.status < 300:
            return self._refusal(client, result, said)
        found = self._granted(client, said, began)
        return found if isinstance(found, Token) else Unfetched(f"{of} gave no token that can be used: {found}")

    def _refusal(self, client: Client, answer: Answer, said: Mapping[str, Any]) -> Unfetched:
        """Why there is no token (RFC 6749, 5.2). Of what is no error of OAuth only the status is told."""
        status, error = answer.status, said.get("error")
        why = f"the token endpoint of {client.gateway} answered {status}"
        if status == 429 or status >= 500:
            return Unfetched(why, repeat=True, wait=retry_after(answer.headers) or 0.0)
        if 300 <= status < 400:
            return Unfetched(f"{why}, and no redirect is followed; give the address itself as token_endpoint")
        if isinstance(error, str) and _ERROR.fullmatch(error):
            return self._turned_down(client, f"{self._settings.clean(error)}{self._described(said)}")
        if status == 401:
            return self._turned_down(client, "it answered 401")
        return Unfetched(f"{why} and named no error; see token_endpoint, {client.id_name} and {client.secret_name}")

    @staticmethod
    def _object(answer: Answer) -> Mapping[str, Any]:
        try:
            said = parse_json(answer.body)
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    def _granted(self, client: Client, said: Mapping[str, Any], began: float) -> Token | str:
        """The token that an answer gives; or what is wrong with it, which quotes nothing of it."""
        text, kind, lasts = said.get("access_token"), said.get("token_type"), said.get("expires_in")
        if not said:
            return "its answer is no JSON object"
        if not isinstance(text, str) or not text:
            return "its answer has no access_token"
        if len(text) > LONGEST or not _SENDABLE.fullmatch(text):
            return f"its access_token has characters that cannot be sent, or more than {LONGEST}"
        self._settings.hide_latest(client, text)
        if not isinstance(kind, str) or kind.lower() != "bearer":
            return "its token_type is not Bearer"
        return Token(text, began, began + _used_for(lasts))

    def _described(self, said: Mapping[str, Any]) -> str:
        """What the endpoint says of an error, for people; masked as a whole, for a part of a secret is not known."""
        told = said.get("error_description")
        text = self._settings.clean(told)[:200] if isinstance(told, str) else ""
        return f" ({text})" if text and text.isprintable() else ""

    def _turned_down(self, client: Client, why: str) -> Unfetched:
        """The client is known not to get a token: as it is, or for what it asks."""
        end = f"by the token endpoint of {client.gateway}: {why}; nothing else was sent"
        if client.scope and why.startswith("invalid_scope"):
            return Unfetched(f"is refused the scope {client.scope!r} {end}; see `scope` in its file", client.id_name)
        return Unfetched(f"is refused, together with {client.id_name}, {end}; see both", client.secret_name)


def _used_for(lasts: Any) -> float:
    """Seconds for which a token is used that `lasts` so long; until it is refused, where nothing sensible is said."""
    told = int(lasts) if isinstance(lasts, str) and re.fullmatch("[0-9]{1,12}", lasts) else lasts
    if isinstance(told, bool) or not isinstance(told, int | float):
        return math.inf
    seconds = float(max(0, min(told, FOREVER)))
    return seconds - min(MARGIN, SHORT * seconds)
