"""What a stand-in remembers: objects by their paths, and the answers it gave by their keys; in any store.

Hides: that everything one request does is written down in one step, answer and all, and that until then only the
request itself sees it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from engine.records import Change, Record, RecordType, Scope
from engine.sandbox.analogies import fresh_id
from engine.sandbox.asked import Answered
from engine.sandbox.visits import Visit
from engine.store import Store, every

OBJECT = RecordType(
    "sandbox_object",
    {name: {} for name in ("path", "at", "name", "body", "own", "aside")},
    required=("path", "at", "name", "body"),
    unique=(("path",),),
    index=("at", "name"),
    summary="An object that a sandbox made.",
)
ANSWER = RecordType(
    "sandbox_answer",
    {name: {} for name in ("key", "digest", "status", "headers", "body", "given_at")},
    required=("key", "digest", "status"),
    unique=(("key",),),
    summary="An answer that a sandbox gives again for a key.",
)


@dataclass(frozen=True, slots=True)
class Thing:
    """An object: its `body` as it is answered, which of its properties are its `own`, what is kept `aside`.

    `at` is the path of the list it is on. `record` is None until it was kept.
    """

    at: str
    name: str
    account: str
    body: Mapping[str, Any]
    own: frozenset[str] = frozenset()
    aside: Mapping[str, Any] = field(default_factory=dict)
    record: str | None = None

    @property
    def path(self) -> str:
        """Where it is read."""
        return f"{self.at}/{self.name}"


def _thing(record: Record) -> Thing:
    return Thing(
        at=record["at"],
        name=record["name"],
        account=record.scope.account,
        body=record["body"],
        own=frozenset(record.get("own") or ()),
        aside=record.get("aside") or {},
        record=record.id,
    )


class Objects:
    """What one request sees and changes; `keep` writes it down."""

    def __init__(self, store: Store, gateway: str) -> None:
        self._store, self._gateway = store, gateway
        self._changed: dict[tuple[str, str], Thing | None] = {}

    def at(self, path: str, account: str) -> Thing | None:
        """The object at a path, as an account sees it."""
        if (account, path) in self._changed:
            return self._changed[account, path]
        found = self._find(path=path, account=account)
        return _thing(found[0]) if found else None

    def named(self, name: str) -> Thing | None:
        """The object of an id, whosever it is."""
        for thing in self._changed.values():
            if thing and thing.name == name:
                return thing
        found = [_thing(record) for record in self._find(name=name)]
        return next((thing for thing in found if (thing.account, thing.path) not in self._changed), None)

    def on(self, at: str, account: str) -> Iterator[Thing]:
        """The objects of a list, newest first."""
        new = [one for (whose, _), one in self._changed.items() if one and whose == account and one.at == at]
        yield from (one for one in reversed(new) if one.record is None)
        where = {"gateway": self._gateway, "at": at, "account": account}
        for thing in map(_thing, every(self._store, OBJECT.name, where, order="-id")):
            now = self._changed.get((account, thing.path), thing)
            if now is not None:
                yield now

    def put(self, thing: Thing) -> None:
        """Remember an object as it is now."""
        self._changed[thing.account, thing.path] = thing

    def remove(self, thing: Thing) -> None:
        """Forget an object."""
        self._changed[thing.account, thing.path] = None

    def keep(self, *further: Change) -> None:
        """Write everything down."""
        changes = []
        for (account, path), thing in self._changed.items():
            where, scope = {"path": path}, Scope(self._gateway, account)
            if thing is None:
                changes.append(Change("delete", OBJECT, scope, where))
                continue
            told = {"at": thing.at, "name": thing.name, "body": thing.body}
            told |= {"own": sorted(thing.own), "aside": thing.aside}
            changes.append(Change("upsert", OBJECT, scope, where, told))
        if changes or further:
            self._store.apply([*changes, *further])

    def _find(self, **where: Any) -> list[Record]:
        """The newest that fits, if there is one."""
        return self._store.find(OBJECT.name, where={"gateway": self._gateway, **where}, limit=1)


class Lookup(dict[str, Any]):
    """A mapping for templates that is looked up when it is asked, so that not everything has to be read."""

    def __init__(self, find: Callable[[str], Any]) -> None:
        super().__init__()
        self._find = find

    def get(self, key: str, default: Any = None) -> Any:
        found = self._find(key)
        return default if found is None else found


def fresh() -> Lookup:
    """`fresh.txn` is a new id that begins with txn_."""
    return Lookup(lambda prefix: fresh_id(f"{prefix}_"))


class Answers:
    """Which answer was given for a key."""

    def __init__(self, store: Store, gateway: str) -> None:
        self._store, self._gateway = store, gateway

    def given(self, key: str, account: str, lasts: int, now: datetime) -> Record | None:
        """The answer that was given for `key` in the last so many seconds."""
        where = {"gateway": self._gateway, "account": account, "key": key}
        found = self._store.find("sandbox_answer", where=where, limit=1)
        oldest = (now - timedelta(seconds=lasts)).isoformat()
        return found[0] if found and found[0]["given_at"] >= oldest else None

    def change(self, visit: Visit, digest: str, answered: Answered, now: datetime) -> Change:
        """What keeps an answer."""
        told = {"status": answered.status, "headers": dict(answered.headers), "body": json.dumps(answered.body)}
        kept = {"digest": digest, **told, "given_at": now.isoformat()}
        return Change("upsert", ANSWER, Scope(self._gateway, visit.account), {"key": visit.key}, kept)
