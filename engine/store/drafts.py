"""What one `apply` makes of the records it has in hand, before anything is written.

Hides: that many changes to one record are one write, and that every change sees what those before it did.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from engine.comparison import same
from engine.records import Change, Record, RecordType, outcomes

Place = tuple[str, str]
"""Type and id."""


@dataclass(slots=True)
class Write:
    """One record to be written: as it is stored (None: not yet), and as it is to be (None: no more).

    `new_keys` are the unique keys that it is to have, as `RecordType.keys` has them; None: those that it has.
    """

    type: RecordType
    old: Record | None
    new: Record | None
    new_keys: Mapping[str, str] | None

    @property
    def old_keys(self) -> Mapping[str, str]:
        """The unique keys that it has."""
        return self.type.keys(self.old) if self.old else {}

    def __str__(self) -> str:
        record = self.new or self.old
        names = (name for key in self.type.unique for name in key)
        return f"{self.type.name} {json.dumps({name: record.get(name) for name in names} if record else {})}"


class Draft:
    """Holds the records found, makes changes of them, and says what there is to write."""

    def __init__(self) -> None:
        self._held: dict[Place, Record] = {}
        self._keys: dict[str, str] = {}
        self._stored: dict[Place, tuple[RecordType, Record | None]] = {}
        self._new_keys: dict[Place, Mapping[str, str]] = {}

    def hold(self, record: Record, keys: Iterable[str] = ()) -> None:
        """Take a stored record in hand, as it is stored, which was looked up by the unique `keys`."""
        self._held[record.type, record.id] = record
        self._keys |= dict.fromkeys(keys, record.id)

    def meant(self, change: Change) -> list[Record]:
        """The records in hand that `change` names."""
        type, lookup = change.type.name, change.lookup
        ids = [] if lookup.id is None else [lookup.id]
        for text in lookup.keys:
            if (id := self._keys.get(text)) is not None and id not in ids:
                ids.append(id)
        return [self._held[type, id] for id in ids if (type, id) in self._held]

    def over(self, type: str, stored: Mapping[str, Record]) -> Iterator[Record]:
        """All records of `type`: the `stored` ones, by id, and in their place what changes have made of them."""
        yield from (record for id, record in stored.items() if (type, id) not in self._stored)
        yield from (self._held[place] for place in self._stored if place[0] == type and place in self._held)

    def make(self, change: Change, candidates: Sequence[Record]) -> list[Record]:
        """Change those of the `candidates` that `change` means; returns the records touched."""
        touched = []
        for current, record in outcomes(change, candidates):
            if change.verb == "delete":
                self._put(change.type, record.id, record, None)
            elif current is None or not same(record, current):
                self._put(change.type, record.id, current, record)
            touched.append(record)
        return touched

    def _put(self, type: RecordType, id: str, current: Record | None, new: Record | None) -> None:
        place = (type.name, id)
        self._stored.setdefault(place, (type, current))
        if new is None:
            self._held.pop(place, None)
        else:
            self._held[place] = new
        if current is None or new is None or not type.has_same_keys(current, new):
            for text in type.keys(current) if current else ():
                self._keys.pop(text, None)
            keys = self._new_keys[place] = type.keys(new) if new else {}
            self._keys |= dict.fromkeys(keys, id)

    def writes(self) -> list[Write]:
        """What there is to write since this was last asked, in the order in which the records were first changed."""
        stored, new_keys = self._stored, self._new_keys
        self._stored, self._new_keys = {}, {}
        ended = [Write(type, old, self._held.get(place), new_keys.get(place)) for place, (type, old) in stored.items()]
        return [write for write in ended if not same(write.old, write.new)]
