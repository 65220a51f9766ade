"""Changes, the words in which a mapper and a processor say what an answer or an event means.

Hides: how what a template says becomes changes of records and follow-up calls, and how the same text is checked at
start, when no value is known yet: with every expression as null, the document must already be a row of changes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.errors import DefinitionError, Fault, did_you_mean
from engine.json_texts import next_value
from engine.records import Change, RecordType, Scope
from engine.template_checks import Source
from engine.yaml_files import YamlFile, parse

_PLAIN_UPDATE = {"update", "where", "set"}
_SCALARS = frozenset({str, int, float, bool})
_KINDS = dict.fromkeys(("where", "set", "when", "data"), dict) | dict.fromkeys(("as_of", "as", "missing"), str)
_KEYS = {
    "upsert": {"where", "set", "when", "as_of"},
    "update": {"where", "set", "when", "as_of", "missing"},
    "delete": {"where", "when", "as_of"},
    "send": {"data", "as"},
}


@dataclass(frozen=True, slots=True)
class FollowUp:
    """A call that a change asks for: a request type's name, its data, and what tells it from its siblings."""

    request_type: str
    data: Mapping[str, Any]
    label: str


@dataclass(frozen=True, slots=True)
class Mapper:
    """A response mapper or a webhook processor.

    `documents` gives what it says, `outline` its changes as they stand in the file and its fragments, with null for
    every expression.
    """

    name: str
    file: str
    documents: Callable[[Mapping[str, Any]], Iterable[Any]]
    types: Mapping[str, RecordType]
    outline: Callable[[], list[dict[str, Any]]]

    def changes(self, names: Mapping[str, Any], scope: Scope, *, waits: bool) -> list[Change | FollowUp]:
        """What the file says of `names`. Raises ValueError, saying where, when that is no row of changes.

        `waits`: an update without its record waits for it, as an event can and a call cannot.
        """
        try:
            documents = _merged(self.documents(names))
            changes = [self._change(document, scope, waits) for document in documents]
        except ValueError as error:
            said = str(error)
            raise ValueError(said if said.startswith(self.file) else f"{self.file}: {said}") from None
        labels = [change.label for change in changes if isinstance(change, FollowUp)]
        if len(labels) != len(set(labels)):
            raise ValueError(f'{self.file}: several calls are sent under one name; give each its own "as"')
        return changes

    def _change(self, document: Any, scope: Scope, waits: bool) -> Change | FollowUp:
        if not isinstance(document, dict):
            raise ValueError(f"a change must be an object, not {json.dumps(document)[:60]}")
        verb, subject = _verb(document)
        _demand_kinds(document)
        if verb == "send":
            data = {name: value for name, value in (document.get("data") or {}).items() if value is not None}
            return FollowUp(subject, data, str(document.get("as") or subject))
        type = self.types.get(subject)
        if type is None:
            raise ValueError(f"there is no record type {subject!r}{did_you_mean(subject, self.types)}")
        where, when = document.get("where"), document.get("when") or {}
        if not where or not _are_scalars(where.values()):
            raise ValueError(f'{verb} {subject}: "where" must name one record, not {json.dumps(where)}')
        _demand_key(type, where)
        return Change(
            verb,  # type: ignore[arg-type]  # _verb returns no other
            type,
            scope,
            where,
            document.get("set") or {},
            when,
            document.get("as_of"),
            (document.get("missing") or "wait") if waits and verb == "update" else "skip",
        )


def _merged(documents: Iterable[Any]) -> list[Any]:
    """`documents` with those made one that follow each other and update the same record on no condition."""
    merged: list[Any] = []
    for document in documents:
        if merged and _goes_on(document, merged[-1]):
            merged[-1] = {**merged[-1], "set": {**merged[-1]["set"], **document["set"]}}
        else:
            merged.append(document)
    return merged


def _goes_on(document: Any, last: Any) -> bool:
    return (
        _is_plain_update(document)
        and _is_plain_update(last)
        and document["update"] == last["update"]
        and repr(document["where"]) == repr(last["where"])  # 1 and true are equal to Python, and not the same record
    )


def _is_plain_update(document: Any) -> bool:
    return isinstance(document, dict) and document.keys() == _PLAIN_UPDATE and isinstance(document["set"], dict)


def _verb(document: dict[str, Any]) -> tuple[str, str]:
    verb = _verb_among(tuple(document))
    if not isinstance(document[verb], str):
        raise ValueError(f"{verb} needs a name in quotes")
    return verb, document[verb]


@lru_cache(maxsize=256)  # a file's changes have the same keys each time
def _verb_among(keys: tuple[str, ...]) -> str:
    """The one verb among the keys of a change. Raises ValueError where it knows any other of them not."""
    verbs = [verb for verb in _KEYS if verb in keys]
    if len(verbs) != 1:
        raise ValueError(f"a change says one of {', '.join(_KEYS)}, not {', '.join(keys) or 'nothing'}")
    verb = verbs[0]
    for key in keys:
        if key != verb and key not in _KEYS[verb]:
            raise ValueError(f"{verb} knows no {key!r}{did_you_mean(key, _KEYS[verb])}")
    return verb


def _demand_kinds(document: Mapping[str, Any]) -> None:
    """Raise ValueError where a part of a change is not what it must be; null is absent."""
    for part, value in document.items():
        kind = _KINDS.get(part)
        if kind is not None and value is not None and not isinstance(value, kind):
            what = "text" if kind is str else "an object"
            raise ValueError(f'"{part}" must be {what}, not {json.dumps(value)[:60]}')


def _are_scalars(values: Iterable[Any]) -> bool:
    return _SCALARS.issuperset(map(type, values))


def _demand_key(type: RecordType, where: Mapping[str, Any]) -> None:
    if frozenset(where) not in type.ways_to_name:
        keys = " or ".join(["id", *(" with ".join(key) for key in type.unique)])
        raise ValueError(f'"where" of {type.name} must be {keys}, not {" with ".join(where) or "absent"}')


def check_changes(
    skeleton: str, source: Source, types: Mapping[str, RecordType | None], requests: Mapping[str, Mapping[str, Any]]
) -> Iterator[Fault]:
    """What is wrong with a mapper that can be seen without data.

    `skeleton` is its text with null for every expression and blanks for every block. `requests` has the JSON Schema of
    every request type's data. A type that is None has faults of its own, and nothing more is said about it.
    """
    position = 0
    while position < len(skeleton):
        if skeleton[position].isspace():
            position += 1
            continue
        line, column = skeleton.count("\n", 0, position), position - (skeleton.rfind("\n", 0, position) + 1)
        try:
            document, end = next_value(skeleton, position)
        except json.JSONDecodeError as error:
            hint = "blocks stand around whole changes, and every change is one JSON object"
            message = f"not JSON: {error.msg}; {hint}"
            yield Fault(source.file, error.lineno + source.line - 1, error.colno, message)
            return
        except ValueError as error:
            yield Fault(source.file, line + source.line, column + 1, str(error))
            return
        place = _Place(skeleton[position:end], source, line, column)
        yield from _check_one(document, place, types, requests)
        position = end


@dataclass(frozen=True, slots=True)
class _Place:
    """Where the JSON text of a change stands."""

    text: str
    source: Source
    line: int
    column: int

    def fault(self, pointer: str, message: str) -> Fault:
        """A fault at `pointer`. JSON is YAML, and the YAML reader knows where every value stands."""
        padded = "\n" * (self.line + self.source.line - 1) + " " * self.column + self.text
        try:
            file = parse(padded, self.source.file)
        except DefinitionError:
            file = YamlFile(self.source.file, None, {})
        return file.fault(pointer, message)


def _check_one(
    document: Any, place: _Place, types: Mapping[str, RecordType | None], requests: Mapping[str, Mapping[str, Any]]
) -> Iterator[Fault]:
    try:
        if not isinstance(document, dict):
            raise ValueError("a change must be a JSON object; wrap the value in one")
        verb, subject = _verb(document)
    except ValueError as error:
        yield place.fault("", str(error))
        return
    known: Mapping[str, Any] = requests if verb == "send" else types
    if subject not in known:
        kind = "request type" if verb == "send" else "record type"
        yield place.fault(f"/{verb}", f"there is no {kind} {subject!r}{did_you_mean(subject, known)}")
    elif verb == "send":
        if not requests[subject].get("additionalProperties"):
            yield from _check_names(document, "data", place, f"data of {subject}", requests[subject]["properties"])
    elif type := types[subject]:
        yield from _check_record(document, place, type)


def _check_record(document: dict[str, Any], place: _Place, type: RecordType) -> Iterator[Fault]:
    for part in ("set", "when"):
        yield from _check_names(document, part, place, f"property of {type.name}", type.properties)
        yield from _check_values(document, part, place, type)
    if document.get("missing") not in {"skip", "wait", None}:
        yield place.fault("/missing", '"missing" is "skip" or "wait"')
    where = document.get("where", {})
    if where is not None:
        try:
            _demand_key(type, where if isinstance(where, dict) else {})
        except ValueError as error:
            yield place.fault("/where", str(error))


def _check_values(document: dict[str, Any], part: str, place: _Place, type: RecordType) -> Iterator[Fault]:
    """Values that stand in the file itself and that no record can have: one could not be kept, or would never hold."""
    given = document.get(part)
    for name, value in given.items() if isinstance(given, dict) else ():
        values = value if part == "when" and isinstance(value, list) else [value]
        for one in values if name in type.properties else ():
            for problem in type.problems({name: one}, created=False) if _are_scalars([one]) else ():
                yield place.fault(f"/{part}/{name}", f"no {type.name} has this {name}: {problem.message}")


def _check_names(
    document: dict[str, Any], part: str, place: _Place, what: str, known: Mapping[str, Any]
) -> Iterator[Fault]:
    given = document.get(part)
    if given is not None and not isinstance(given, dict):
        yield place.fault(f"/{part}", f"{part!r} must be an object")
        return
    for name in given or {}:
        if name not in known:
            yield place.fault(f"/{part}/{name}", f"there is no {what} {name!r}{did_you_mean(name, known)}")
