"""What a case shows to somebody who wants to do the same: the call as Python and as curl, its answer, its records.

Hides: which of a definition's cases is the plainest, and how values are written down for people.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from engine.calls import instant
from engine.cases import NOW, Case, is_refusal
from engine.curl import curl
from engine.errors import DataError
from engine.request_types import RequestType

WIDTH = 88  # columns of Python, as its formatters have it
_SPECIAL = ("settings", "operation", "endpoint")
_ODD = re.compile(r"\\|\{\{|\{%|[<&]")  # what JSON escapes, and what templates and pages are made of


@dataclass(frozen=True, slots=True)
class Example:
    """A case as its page shows it; every field is text, empty where the case has nothing of the kind.

    `records` are (record type, the record as JSON).
    """

    claim: str
    python: str = ""
    curl: str = ""
    status: str = ""
    answer: str = ""
    event: str = ""
    records: Sequence[tuple[str, str]] = ()


def plainest(cases: Sequence[Case]) -> list[Case]:
    """The cases that show a success, in the order in which they teach.

    Plain texts come before those that try an encoder, what needs nothing special before the rest, and then whoever
    shows most of what changes.
    """
    good = [case for case in cases if case.succeeds and "warns" not in case.told]
    return sorted((case for case in good if "event" in case.told or _answer(case) is not None), key=_difficulty)


def _difficulty(case: Case) -> tuple[int, int, int]:
    return _oddness(case), sum(key in case.told for key in _SPECIAL), -_changed(case)


def _oddness(case: Case) -> int:
    return len(_ODD.findall(json.dumps(case.told.get("event", case.told.get("data")))))


def _changed(case: Case) -> int:
    """How many properties are other than before."""
    return len(_said(case.told.get("after", {})) - _said(case.told.get("before", {})))


def _said(records: Mapping[str, Sequence[Mapping[str, Any]]]) -> set[tuple[str, str, str]]:
    every = [(type, record) for type, found in records.items() for record in found]
    return {(type, name, json.dumps(value)) for type, record in every for name, value in record.items()}


def refusal(cases: Sequence[Case]) -> Example | None:
    """How the gateway says no, where a case shows it."""
    shown = [case for case in cases if is_refusal(case) and _answer(case) is not None]
    case = min(shown, key=_difficulty, default=None)
    if case is None:
        return None
    status, answer = _written(_answer(case))
    return Example(case.told["claim"], status=status, answer=answer)


def call(type: RequestType, cases: Sequence[Case]) -> Example | None:
    """How a request type is sent to where its file says, where a case shows it."""
    type = replace(type, base_url=type.written["base_url"].rstrip("/"))
    for case in plainest(cases):
        data = case.told.get("data", {})
        try:
            sent = _curl(type, data)
        except DataError:
            continue  # a case that does not hold shows nothing
        more = {"operation": case.told["operation"]} if "operation" in case.told else {}
        status, answer = _written(_answer(case))
        python = _python(type.name, data, more)
        return Example(case.told["claim"], python, sent, status, answer, records=_records(case))
    return None


def event(cases: Sequence[Case]) -> Example | None:
    """An event as it comes, and the records that it leaves, where a case shows it."""
    case = next(iter(plainest(cases)), None)
    return Example(case.told["claim"], event=as_json(case.told["event"]), records=_records(case)) if case else None


def _answer(case: Case) -> Mapping[str, Any] | None:
    """What the gateway answers; of a list that is read page by page the first page."""
    first = next(iter(case.receives), None)
    return first if first and "fails" not in first else None


def _written(answer: Mapping[str, Any] | None) -> tuple[str, str]:
    """Status and body."""
    told = answer or {}
    body = told.get("body", "")
    return str(told.get("status", 200)), body if isinstance(body, str) else as_json(body)


def _records(case: Case) -> list[tuple[str, str]]:
    return [(type, as_json(record)) for type, records in case.told.get("after", {}).items() for record in records]


def _curl(type: RequestType, data: Mapping[str, Any]) -> str:
    """The call as the engine renders it. Raises DataError."""
    checked = type.check(data)
    key = checked.pop("idempotency_key", "key-1") if type.journaled else "key-1"
    settings = {name: f"${source}" for name, source in type.gateway.settings.items()}
    names = {"settings": settings, "now": instant(NOW), "call_id": "call-1", "version": type.gateway.version}
    account = type.account_of(checked, names)
    return curl(type.render(checked, {**names, "account": account or None}, key), type.auth)


# Writing values down --------------------------------------------------------------------------------------------------


def as_json(value: Any) -> str:
    """JSON for people: what can be seen stands there as it is, the rest is escaped."""
    written = json.dumps(value, indent=2, ensure_ascii=False)
    return "".join(char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1] for char in written)


def _python(name: str, data: Mapping[str, Any], more: Mapping[str, str]) -> str:
    arguments = [_literal(name), _literal(data, "", len("result = engine.send(") + len(name) + 4)]
    arguments += [f"{key}={_literal(value)}" for key, value in more.items()]
    return f"result = engine.send({', '.join(arguments)})"


def _literal(value: Any, indent: str = "", before: int = 0) -> str:
    """A value as Python writes it: in one line where it fits after `before` columns, else a part a line."""
    if isinstance(value, str):
        return _quoted(value)
    if not isinstance(value, Mapping | list):
        return repr(value)
    inner = indent + "    "
    if isinstance(value, Mapping):
        opened, closed, keys = "{", "}", [f"{_quoted(str(key))}: " for key in value]
        parts = [(key, part) for key, part in zip(keys, value.values(), strict=True)]
    else:
        opened, closed, parts = "[", "]", [("", part) for part in value]
    flat = f"{opened}{', '.join(key + _literal(part, inner, -1000) for key, part in parts)}{closed}"
    if len(indent) + before + len(flat) <= WIDTH:
        return flat
    lines = [f"{inner}{key}{_literal(part, inner, len(key) + 1)},\n" for key, part in parts]
    return f"{opened}\n{''.join(lines)}{indent}{closed}"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{"".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped)}"'
