"""JSON pointers (RFC 6901): one text that says where a part of a value stands.

Hides: how a name is written that holds the pointer's own marks, and that an item of a list is named by its number.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

_INDEX = re.compile("0|[1-9][0-9]{0,9}")


def pointer_to(steps: Iterable[object]) -> str:
    """The pointer that leads from a value, step by step, to a part of it: names and numbers of items."""
    return "".join([f"/{escaped(str(step))}" for step in steps])


def escaped(name: str) -> str:
    """A name as it stands in a pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def steps_of(pointer: str) -> list[str]:
    """The names that a pointer is made of; none where it means the whole."""
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")[1:]]


def part_at(value: Any, pointer: str) -> Any:
    """The part of `value` at `pointer`, the very one; None where there is none."""
    for step in steps_of(pointer):
        key = _key(value, step)
        if key is None:
            return None
        value = value[key]
    return value


def replaced_at(value: Any, pointer: str, change: Callable[[Any], Any]) -> Any:
    """A copy of `value` with `change` of the part at `pointer` in its place; all as it was where there is none."""
    return _replaced(value, steps_of(pointer), change)


def _replaced(value: Any, steps: Sequence[str], change: Callable[[Any], Any]) -> Any:
    if not steps:
        return change(value)
    key = _key(value, steps[0])
    if key is None:
        return value
    copy: Any = dict(value) if isinstance(value, Mapping) else list(value)
    copy[key] = _replaced(value[key], steps[1:], change)
    return copy


def _key(value: Any, step: str) -> str | int | None:
    """What a part of `value` is found by: a name in a mapping, a number in a list; None where it is not there."""
    if isinstance(value, Mapping):
        return step if step in value else None
    if isinstance(value, list) and _INDEX.fullmatch(step) and int(step) < len(value):
        return int(step)
    return None
