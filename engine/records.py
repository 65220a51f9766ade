"""Records, their types, and the changes made to them.

Hides: what it takes for a change to count. A store only finds, locks and writes; which record results from a change,
or that none does, is decided here, the same for every store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal, NamedTuple

from engine.comparison import fits, is_later, same, sortable, texts
from engine.errors import Conflict, DataError, Problem, UnknownNameError, enumerated
from engine.ids import new_id
from engine.schemas import Schema
from engine.unique_keys import key_text
from engine.values import unchanging

_SCALARS = (str, int, float)
_SEVERAL = (dict, list, tuple)


class Scope(NamedTuple):
    """Where a record belongs: a gateway, an account there ("" is our own), and live money or test money."""

    gateway: str
    account: str = ""
    live: bool = False


SCOPE = Scope._fields
_COLUMNS = frozenset(("id", *SCOPE))
_LONGEST = 255  # characters; PostgreSQL refuses an index entry over 2,704 bytes, and an event's has other parts, too


def can_be_account(text: str) -> bool:
    """Whether a gateway may call an account so: no database takes every character, nor every length, in an index."""
    return text.isprintable() and len(text) <= _LONGEST


@unchanging
class Record:
    """What the store keeps: `record["state"]` is a property, None where it was never set.

    `id` is a UUIDv7, so sorting by id is sorting by age.
    """

    type: str
    id: str
    scope: Scope
    properties: Mapping[str, Any]
    as_of: str | None = None

    def __getitem__(self, name: str) -> Any:
        if name in _COLUMNS:
            return self.id if name == "id" else getattr(self.scope, name)
        return self.properties[name]

    def get(self, name: str, default: Any = None) -> Any:
        """The property `name`, or `default` where there is none."""
        return self.properties.get(name, default)

    def as_dict(self) -> dict[str, Any]:
        """One flat mapping, as a page or `--json` shows it."""
        scope = {"gateway": self.scope.gateway, "account": self.scope.account, "live": self.scope.live}
        return {"id": self.id, **scope, **self.properties}

    def to_json(self) -> str:
        """The properties as a database keeps them: in ASCII, so that NUL and lone surrogates survive in any of them."""
        try:
            return _strict_json(self.properties)
        except (TypeError, ValueError, RecursionError) as error:
            raise DataError(self.type, [Problem("", f"is not JSON: {error}")]) from None


@dataclass(frozen=True)
class RecordType:
    """A kind of record: the JSON Schema of its properties, what is unique, and what can be searched.

    `unique` holds compound keys; each holds within the fields named by `within`. `index` names every property that
    `find` accepts.
    """

    name: str
    properties: Mapping[str, Mapping[str, Any]]
    required: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    index: tuple[str, ...] = ()
    within: tuple[str, ...] = SCOPE
    summary: str = ""

    @cached_property
    def _schema(self) -> Schema:
        return Schema({"type": "object", "additionalProperties": False, "properties": dict(self.properties)})

    @cached_property
    def searchable(self) -> frozenset[str]:
        """The names that `find` accepts: id, scope, unique keys and indexed properties."""
        return frozenset(("id", *SCOPE, *self.indexed))

    @cached_property
    def indexed(self) -> frozenset[str]:
        """The properties that a store keeps an index of."""
        return frozenset((*self.index, *(name for key in self.unique for name in key)))

    def problems(self, properties: Mapping[str, Any], *, created: bool) -> list[Problem]:
        """What keeps `properties` from being a record of this type; `required` counts when it is created."""
        problems = self._schema.problems(properties)
        absent = [name for name in self.required if name not in properties] if created else []
        return problems + [Problem(f"/{name}", "is required") for name in absent] if absent else problems

    def keys(self, record: Record) -> dict[str, str]:
        """The unique keys of a record: text that no other record of any type may have → name of the key."""
        return self.keys_of(record.scope, record.properties)

    def keys_of(self, scope: Scope, properties: Mapping[str, Any]) -> dict[str, str]:
        """The unique keys of a record with `properties`, as `keys` has them."""
        found = {}
        for key in self.unique:
            values = [properties.get(name) for name in key]
            if None not in values:
                found[key_text(self.name, key, self.within, scope, values)] = ",".join(key)
        return found

    def key_named(self, named: Mapping[str, Any]) -> tuple[str, ...] | None:
        """The unique key whose properties, and no others, have a value each in `named`; None where that is none."""
        key = self.ways_to_name.get(frozenset(named))
        if not key:
            return None
        for value in named.values():
            if not isinstance(value, _SCALARS):
                return None
        return key

    def key_text(self, scope: Scope, named: Mapping[str, Any]) -> str | None:
        """The text of the unique key that is `named`; None where that is none."""
        key = self.key_named(named)
        return key_text(self.name, key, self.within, scope, [named[name] for name in key]) if key else None

    @cached_property
    def ways_to_name(self) -> dict[frozenset[str], tuple[str, ...]]:
        """The sets of names that name one record: of its id, which is no key, and of each unique key, with the key."""
        return {frozenset(["id"]): (), **{frozenset(key): key for key in self.unique}}

    def has_same_keys(self, one: Record, other: Record) -> bool:
        """Whether two states of one record have the same unique keys."""
        for name in self._in_keys:
            was, becomes = one.properties.get(name), other.properties.get(name)
            if was is not becomes and not same(was, becomes):
                return False
        return True

    @cached_property
    def _in_keys(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for key in self.unique for name in key))

    def entries(self, properties: Mapping[str, Any]) -> set[tuple[str, str]]:
        """What an index holds of a record: names of indexed properties with the texts that their values sort by."""
        found = set()
        for name in self.indexed:
            value = properties.get(name)
            if type(value) is str:
                found.add((name, sortable(value)))  # as nearly all are
            elif value is not None:
                found.update((name, text) for text in texts(value))
        return found

    def complete(self, record: Record) -> Record:
        """`record` with every declared property, None where it was never set."""
        properties = {**self._blank, **record.properties}
        return Record(record.type, record.id, record.scope, properties, record.as_of)

    @cached_property
    def _blank(self) -> dict[str, None]:
        return dict.fromkeys(self.properties)

    def check_searchable(self, names: Iterable[str]) -> None:
        """Raise UnknownNameError for the first name that has no index."""
        for name in names:
            if name not in self.searchable:
                if name not in self.properties:
                    raise UnknownNameError(f"property of {self.name}", name, self.searchable)
                remedy = f"{self.name} is found by {enumerated(['id', *sorted(self.indexed), *SCOPE])}"
                raise UnknownNameError(f"index on {self.name}", name, self.searchable, remedy)


class Lookup(NamedTuple):
    """How a store finds the one record that a change means: by its id, or by unique keys, any of which finds it.

    `keys` are texts of RecordType.keys. Where there is neither, the change has to search.
    """

    id: str | None
    keys: tuple[str, ...]


_SEARCH = Lookup(None, ())


@dataclass(slots=True)
class Change:
    """One change to one record (with `limit`: to up to so many).

    `where` names the record: an id, one unique key, or, for the engine itself, any indexed properties with values,
    lists (any of) and ranges ({"lt" | "lte" | "gt" | "gte": value}). `set` changes properties, None clears one.
    `when` must hold on the record as it is, else the change is skipped. `as_of` skips it where the record has a later
    one. `missing="wait"` rolls everything back where an update finds no record.

    Only the engine uses `insert` (nothing happens where a unique key exists; `where` may give the new id), `must`
    (everything is rolled back where this change touches no record) and `limit` (claims the first so many). `seen` is
    the record as whoever changes it last saw it: a store may go by that, where it finds out at the write whether it is
    so still.

    `given` is all that it sets: what names a record that it may create is a property of it, too.

    Nothing changes one that is made. It does not say `frozen`, for then it would take four times as long to make, and a
    send makes five.
    """

    verb: Literal["insert", "upsert", "update", "delete"]
    type: RecordType
    scope: Scope
    where: Mapping[str, Any]
    set: Mapping[str, Any] = field(default_factory=dict)
    when: Mapping[str, Any] = field(default_factory=dict)
    as_of: str | None = None
    missing: Literal["skip", "wait"] = "skip"
    must: bool = False
    limit: int | None = None
    seen: Record | None = field(default=None, repr=False, compare=False)
    given: Mapping[str, Any] = field(init=False, repr=False, compare=False)
    _lookup: Lookup | None = field(default=None, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self.given = self.set
        if self.verb in {"insert", "upsert"}:
            known = self.type.properties
            named = {name: value for name, value in self.where.items() if name in known and value is not None}
            self.given = {**named, **self.set}

    def __str__(self) -> str:
        return f"{self.verb} {self.type.name} where {json.dumps(dict(self.where), default=str)}"

    @property
    def lookup(self) -> Lookup:
        """How the one record meant is found. Most of what is new is written without asking."""
        if self._lookup is None:
            self._lookup = self._looked_up()
        return self._lookup

    def _looked_up(self) -> Lookup:
        id = self.where.get("id")
        named = None if id is None or isinstance(id, _SEVERAL) else str(id)
        possible = named if named and named.isprintable() else None  # else no record has it
        if self.verb == "insert":
            return Lookup(possible, tuple(self.type.keys_of(self.scope, self.given)))
        if named is not None:
            return Lookup(possible, ())
        text = self.type.key_text(self.scope, self.where)
        return _SEARCH if text is None else Lookup(None, (text,))

    @property
    def searches(self) -> bool:
        """Whether `where` names no record, so that a store has to look for those that fit: up to `limit`, else one."""
        return self.lookup is _SEARCH

    @property
    def found_by(self) -> dict[str, Any]:
        """What names the record once the change is made, which may give it another key than `where` has."""
        if self.set.keys().isdisjoint(self.where):
            return dict(self.where)
        return {name: value if self.set.get(name) is None else self.set[name] for name, value in self.where.items()}

    def means(self, record: Record) -> bool:
        """Whether `where` names `record`; an id and a unique key do so only within the scope.

        A store that found a record by an index asks this again once it holds the record locked.
        """
        if self.verb == "insert":
            return True  # whatever stands where it would stand
        inside = self.scope == record.scope or all(
            getattr(record.scope, name) == getattr(self.scope, name) for name in self.type.within
        )
        return (inside or self.searches) and matches(self.where, record)


def outcomes(change: Change, candidates: Sequence[Record]) -> list[tuple[Record | None, Record]]:
    """What `change` makes of the records that a store found and locked for it: (as it was, as it becomes).

    Of a delete both are the record to remove. Raises Conflict and DataError; the store then undoes the whole `apply`.
    """
    found: list[Record | None] = [record for record in candidates if change.means(record)]
    made = []
    for current in found or [None]:
        record = resulting(change, current)
        if record is not None:
            made.append((current, record))
    if change.must and not made:
        raise Conflict(f"{change}: there is no such record, or another process changed it first")
    return made


def resulting(change: Change, current: Record | None) -> Record | None:
    """The record that `change` makes of `current` (None: there is no such record), or None where it is skipped.

    For a delete the record returned is the one to remove. Raises Conflict where an update must wait for its record,
    DataError where what the change sets is not valid: the rest was checked when it was set.
    """
    if current is None:
        return _created(change)
    if change.verb == "insert" or not matches(change.when, current):
        return None
    if change.as_of is not None and current.as_of is not None and is_later(current.as_of, change.as_of):
        return None
    if change.verb == "delete":
        return current
    said = _said(change.given)
    _demand_valid(change, said, created=False)
    if change.as_of is not None:
        _demand_printable(change)  # all else is the record's own
    properties = {**current.properties, **said}
    if len(said) != len(change.given):
        for name in change.given.keys() - said.keys():
            properties.pop(name, None)
    return Record(current.type, current.id, current.scope, properties, change.as_of or current.as_of)


def _created(change: Change) -> Record | None:
    if change.verb in {"update", "delete"}:
        if change.verb == "update" and change.missing == "wait":
            raise Conflict(f"{change}: there is no such record yet")
        return None
    properties = _said(change.given)
    _demand_valid(change, properties, created=True)
    _demand_printable(change)
    chosen = str(change.where["id"]) if change.verb == "insert" and "id" in change.where else new_id()
    return Record(change.type.name, chosen, change.scope, properties, change.as_of)


def _demand_valid(change: Change, properties: Mapping[str, Any], *, created: bool) -> None:
    problems = change.type.problems(properties, created=created)
    if problems:
        raise DataError(f"{change.verb} {change.type.name}", problems)


def _demand_printable(change: Change) -> None:
    """Ids, scopes and instants are columns of their own, and no database takes every character there."""
    id, as_of, (gateway, account, _) = str(change.where.get("id", "")), change.as_of or "", change.scope
    if not f"{id}{as_of}{gateway}{account}".isprintable():
        columns = {"id": id, "as_of": as_of, "gateway": gateway, "account": account}
        wrong = [name for name, text in columns.items() if not text.isprintable()]
        problems = [Problem(f"/{name}", "has control characters") for name in wrong]
        raise DataError(f"{change.verb} {change.type.name}", problems)


def matches(where: Mapping[str, Any], record: Record) -> bool:
    """Whether `record` has what `where` asks for: values, lists (any of) and ranges."""
    for name, wanted in where.items():  # noqa: SIM110 - a generator would take twice as long
        if not fits(wanted, _value(record, name)):
            return False
    return True


def _value(record: Record, name: str) -> Any:
    return record[name] if name in _COLUMNS else record.properties.get(name)


def _said(given: Mapping[str, Any]) -> dict[str, Any]:
    """What has a value; None clears one."""
    return {name: value for name, value in given.items() if value is not None}


_strict_json = json.JSONEncoder(separators=(",", ":"), allow_nan=False, check_circular=False).encode
"""Writes JSON; what holds itself is nested too deep for it."""
