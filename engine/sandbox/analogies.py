"""An answer made after a case's: what the case sent is exchanged for what is sent now, ids and instants are fresh.

Hides: the one guess that a stand-in makes. A value that the case sent and that stands in its answer is taken for the
same value; an instant of the cases' own clock is taken for now. What was once sent or set of an object stays its own.
"""

from __future__ import annotations

import re
import secrets
import string
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from engine.cases import NOW

_LETTERS = string.ascii_letters + string.digits
_INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")
_AGE = timedelta(days=400)  # how far from the cases' clock an instant may be


def fresh_id(like: Any) -> Any:
    """A new id that looks like another: ch_Order17 gives ch_ and 24 letters and digits."""
    if isinstance(like, int):
        return secrets.randbelow(10**9) + 10**9
    text = str(like or "")
    if text.isdigit():
        return "".join(secrets.choice(string.digits[1:]) for _ in text)
    if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", text, re.IGNORECASE):
        return str(uuid.uuid4())
    before = re.match(r".*[_-]|[A-Za-z]*", text)
    return (before[0] if before else "") + "".join(secrets.choice(_LETTERS) for _ in range(24))


@dataclass(frozen=True)
class Exchange:
    """What is put in the place of what: whole values, and `ids` also within texts; `later` is how much later it is."""

    values: Mapping[Any, Any]
    ids: Mapping[str, str]
    later: timedelta

    def of(self, value: Any) -> Any:
        """`value` with everything exchanged."""
        if isinstance(value, Mapping):
            return {name: self.of(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self.of(part) for part in value]
        if value is None or isinstance(value, bool):
            return value
        if (type(value), value) in self.values:
            return self.values[type(value), value]
        return self._text(value) if isinstance(value, str) else self._number(value)

    def _text(self, text: str) -> str:
        for old, new in self.ids.items():
            literal = new.replace("\\", r"\\")
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(old)}(?![A-Za-z0-9])", literal, text)
        if not is_instant(text):
            return text
        timespec = "milliseconds" if "." in text else "seconds"
        return (datetime.fromisoformat(text) + self.later).isoformat(timespec=timespec).replace("+00:00", "Z")

    def _number(self, number: float) -> float:
        return int(number + self.later.total_seconds()) if is_instant(number) else number


def is_instant(value: Any) -> bool:
    """Whether a value is an instant of the cases' clock: seconds since 1970, or ISO 8601."""
    if isinstance(value, str):
        return bool(_INSTANT.fullmatch(value)) and abs(datetime.fromisoformat(value) - NOW) < _AGE
    return type(value) is int and abs(value - NOW.timestamp()) < _AGE.total_seconds()


def exchange(
    told: Mapping[str, Any], sent: Mapping[str, Any], ids: Mapping[str, str], now: datetime, own: Mapping[Any, Any]
) -> Exchange:
    """What a case's answer is changed by: `told` was sent there, `sent` is now; `own` are further pairs of values."""
    values = dict(own)
    for place, old in _scalars(told):
        new = _at(sent, place)
        if _telling(old) and isinstance(new, str | int | float) and not isinstance(new, bool):
            values[type(old), old] = new
    texts = {old: str(new) for old, new in ids.items() if old}
    return Exchange({**values, **{(str, old): new for old, new in texts.items()}}, texts, _whole(now - NOW))


def _whole(span: timedelta) -> timedelta:
    return timedelta(seconds=int(span.total_seconds()))


def _telling(value: Any) -> bool:
    """Whether a value is unlikely to stand somewhere else by chance."""
    if isinstance(value, str):
        return len(value) >= 3
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) >= 10


def _scalars(value: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Any]]:
    if isinstance(value, Mapping | list):
        for key, part in value.items() if isinstance(value, Mapping) else enumerate(value):
            yield from _scalars(part, (*place, key))
    else:
        yield place, value


def _at(value: Any, place: tuple[str | int, ...]) -> Any:
    for key in place:
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and isinstance(key, int) and key < len(value):
            value = value[key]
        else:
            return None
    return value


def pairs(told: Mapping[str, Any], own: Mapping[str, Any]) -> dict[Any, Any]:
    """The values of a case's answer that are an object's own, each with what the object has in its place."""
    found = {}
    for name, mine in own.items():
        its = told.get(name)
        if _telling(its) and type(its) is type(mine):
            found[type(its), its] = mine
    return found


def overlaid(answer: Mapping[str, Any], told: Mapping[str, Any], sent: Mapping[str, Any]) -> dict[str, Any]:
    """`answer` with what is sent now where it has a property of that name, and without what only the case sent."""
    result = dict(answer)
    for name in result.keys() & (told.keys() | sent.keys()):
        result[name] = _laid(result[name], told.get(name), sent.get(name), name in sent, was_sent=name in told)
    return result


def _laid(answer: Any, told: Any, sent: Any, is_sent: bool, *, was_sent: bool) -> Any:
    if not is_sent:
        return _nothing(answer) if was_sent and _same(answer, told) else answer
    if isinstance(answer, Mapping):
        if not isinstance(sent, Mapping):
            return answer
        before = told if isinstance(told, Mapping) else {}
        kept = {name: part for name, part in answer.items() if name not in before}
        return {**kept, **{name: _merged(answer.get(name), part) for name, part in sent.items()}}
    return as_type(sent, answer)


def _merged(below: Any, above: Any) -> Any:
    if isinstance(below, Mapping) and isinstance(above, Mapping):
        return {**below, **{name: _merged(below.get(name), part) for name, part in above.items()}}
    return as_type(above, below)


def _same(answer: Any, told: Any) -> bool:
    if isinstance(answer, Mapping) and isinstance(told, Mapping):
        return all(answer.get(name) == part for name, part in told.items())
    return bool(answer == told)


def _nothing(value: Any) -> Any:
    return {} if isinstance(value, Mapping) else [] if isinstance(value, list) else None


def as_type(value: Any, like: Any) -> Any:
    """A text as the kind of value that stands where it belongs; a form carries texts only."""
    if not isinstance(value, str) or isinstance(like, str) or like is None:
        return value
    if isinstance(like, bool):
        return {"true": True, "false": False}.get(value, value)
    if isinstance(like, int) and re.fullmatch(r"-?\d{1,18}", value):
        return int(value)
    return value


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` laid over `below`, mapping by mapping."""
    return {**below, **{name: _deep(below.get(name), part) for name, part in above.items()}}


def _deep(below: Any, above: Any) -> Any:
    return merged(below, above) if isinstance(below, Mapping) and isinstance(above, Mapping) else above
