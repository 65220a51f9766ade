"""The error tree: what went wrong, where, and whether the call was carried out.

EngineError
├── DefinitionError     a file is wrong                  at start, never later
├── SettingError        a secret or setting is missing   not sent
├── UnknownNameError    nothing is so called             not sent        (also LookupError)
├── DataError           the data does not fit            not sent        (also ValueError)
├── SignatureError      changed, foreign or stale        not accepted
├── TransportError      provably not sent                not carried out
├── UnknownOutcome      sent, no trustworthy answer      PERHAPS carried out; the call says how it will be settled
├── RejectedError       the gateway said no              not carried out
├── MappingError        its answer made no sense         CARRIED OUT; the answer is kept
├── Conflict            somebody else was first          nothing changed in the store
└── StoreError          the store cannot be reached      nothing changed in the store

Every error carries its evidence as attributes; `str()` is one sentence fit to show a developer.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.records import Record

MOST_TOLD = 20  # problems in the text of one error


@dataclass(frozen=True, slots=True, order=True)
class Fault:
    """One mistake in one file. `line` and `column` count from 1."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}: {self.message}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in one value: the JSON pointer (RFC 6901, "" is the whole) of the part, and what is wrong with it."""

    pointer: str
    message: str

    def __str__(self) -> str:
        return f"{self.pointer or '/'}: {self.message}"


class EngineError(Exception):
    """The base of everything the engine raises on purpose."""


class DefinitionError(EngineError):
    """Files are wrong; all `faults` of all files are reported together."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(sorted(set(faults)))  # a fragment's is found by every file that includes it
        super().__init__("\n".join(map(str, self.faults)))


class SettingError(EngineError):
    """The setting or secret `name` is missing or malformed. `message` says how, and never holds its value."""

    def __init__(self, name: str, message: str) -> None:
        self.name, self.message = name, message
        super().__init__(f"{name}: {message}")


class UnknownNameError(EngineError, LookupError):
    """There is no `kind` called `name`; `suggestion` is the nearest name that exists, if one is near.

    `remedy` says what to do where a near name would be no help; names below `name` are told without it.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], remedy: str = "") -> None:
        known = list(known)
        self.kind, self.name = kind, name
        self.suggestion = nearest(name, known)
        below = enumerated(one for one in known if one.startswith(f"{name}/"))
        tail = f"; {remedy}" if remedy else f"; there are {below}" if below else did_you_mean(name, known)
        super().__init__(f"there is no {kind} {name!r}{tail}")


class DataError(EngineError, ValueError):
    """`subject` was given data that does not fit; `problems` say where. Nothing was `done`."""

    def __init__(self, subject: str, problems: Sequence[Problem], done: str = "sent") -> None:
        self.subject, self.problems = subject, tuple(problems)
        super().__init__(f"{subject} was not {done}, its data does not fit: {self.details}")

    @property
    def details(self) -> str:
        """The problems alone; of very many the first, for `problems` has all of them."""
        told = "; ".join(map(str, self.problems[:MOST_TOLD]))
        more = len(self.problems) - MOST_TOLD
        return f"{told}; and {more:,} more" if more > 0 else told


class SignatureError(EngineError):
    """A webhook or a form token is changed, foreign or stale. `reason` is for the log, never for the sender."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class CallError(EngineError):
    """What the errors about one call share: `call` is its record in the journal (None for a GET)."""

    def __init__(self, message: str, call: Record | None = None) -> None:
        self.call = call
        super().__init__(message)


class TransportError(CallError):
    """The request provably did not leave this machine whole. It was not carried out.

    `wait`: for how many seconds the gateway asked to be left alone.
    """

    def __init__(self, message: str, call: Record | None = None, wait: float = 0.0) -> None:
        self.wait = wait
        super().__init__(message, call)


class UnknownOutcome(CallError):
    """The request left, no trustworthy answer came. It was PERHAPS carried out."""


class RejectedError(CallError):
    """The gateway refused. It was not carried out. `response` is its parsed answer, `status` the HTTP status."""

    def __init__(self, message: str, call: Record | None, response: Any, status: int) -> None:
        self.response, self.status = response, status
        super().__init__(message, call)


class MappingError(CallError):
    """The call WAS CARRIED OUT; its answer is kept, but no records could be made of it."""


class Conflict(EngineError):
    """Another process changed the record first, or a record that must exist does not. Nothing was changed."""


class StoreError(EngineError):
    """The store cannot be reached or refuses to work. Nothing was changed, unless it is `in_doubt`."""

    def __init__(self, message: str, *, in_doubt: bool = False) -> None:
        self.in_doubt = in_doubt
        super().__init__(message)


def unreadable(error: OSError | UnicodeDecodeError) -> str:
    """What keeps a file from being read as text, as the tail of a sentence about it."""
    if isinstance(error, UnicodeDecodeError):
        return "is not UTF-8 text; save it as UTF-8"
    return f"cannot be read: {error.strerror or error}"


def reason(error: Exception) -> str:
    """What went wrong, for a sentence that says for itself what became of the call."""
    return f"{error.subject}: {error.details}" if isinstance(error, DataError) else str(error)


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, in capitals or not, or None where none is near."""
    by_letters = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_letters, n=1, cutoff=0.6)
    return by_letters[near[0]] if near else None


def enumerated(names: Iterable[str]) -> str:
    """The names for a sentence, the first twelve of many: "a, b, c"; empty where there are none."""
    first, rest = (every := list(names))[:_ENUMERATED], len(every) - _ENUMERATED
    return ", ".join(first) + (f" and {rest} more" if rest > 0 else "")


_ENUMERATED = 12


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A tail for an error's sentence: "; did you mean 'x'?" or nothing."""
    suggestion = nearest(name, known)
    return f"; did you mean {suggestion!r}?" if suggestion else ""
