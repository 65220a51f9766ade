"""Rows that wait to be sent, in a temporary database without a name: nothing is left of them when the process ends.

Hides: that a million rows take no more memory than a hundred, and that what becomes of the file which they were read
from makes no difference to them.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import StoreError

_PAGE = 200
_TABLES = """
    CREATE TABLE row (
        number INTEGER PRIMARY KEY, operation TEXT UNIQUE, digest TEXT, data TEXT, state TEXT, call TEXT, due TEXT
    );
    CREATE TABLE settled (operation TEXT PRIMARY KEY, digest TEXT, state TEXT, number INTEGER) WITHOUT ROWID;
    CREATE INDEX place ON settled (number);
    CREATE TABLE alike (digest TEXT PRIMARY KEY, count INTEGER) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Row:
    """One row: its number, its data, the operation that it is, and its digest; of an open one, the id of its call."""

    number: int
    data: Mapping[str, Any]
    operation: str
    digest: str
    call: str | None = None


class WaitingRows:
    """The rows of one run. Used by one thread at a time. Everything raises StoreError where there is no room for it."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None, check_same_thread=False)  # no name: a temporary file
        self._database.execute("PRAGMA journal_mode = OFF").close()
        self._database.executescript(_TABLES).close()

    def close(self) -> None:
        """Give the room free, as happens by itself once nobody has these rows any more."""
        self._database.close()

    __del__ = close

    def settle(self, operation: str, digest: str, state: str, number: int) -> None:
        """Note that an earlier run settled `operation`, then row `number`; its row will not wait."""
        self._execute("INSERT OR IGNORE INTO settled VALUES (?, ?, ?, ?)", (operation, digest, state, number))

    def settled(self, operation: str) -> tuple[str, str] | None:
        """The digest and the state of the row that an earlier run settled as `operation`, if any."""
        asked = "SELECT digest, state FROM settled WHERE operation = ?"
        found: tuple[str, str] | None = self._execute(asked, (operation,)).fetchone()
        return found

    def settled_at(self, number: int) -> Sequence[tuple[str, str]]:
        """What earlier runs settled as row `number`: operations and digests."""
        return self._execute("SELECT operation, digest FROM settled WHERE number = ?", (number,)).fetchall()

    def count_alike(self, digest: str) -> int:
        """How many rows with this digest there are by now."""
        counted = "INSERT INTO alike VALUES (?, 1) ON CONFLICT (digest) DO UPDATE SET count = count + 1"
        self._execute(counted, (digest,))
        return self._number("SELECT count FROM alike WHERE digest = ?", digest)

    def add(self, row: Row) -> int | None:
        """Let `row` wait, unless it is settled. Where another row is the same operation, returns that one's number."""
        settled = self.settled(row.operation)
        values = (
            row.number,
            row.operation,
            row.digest,
            None if settled else json.dumps(row.data),
            "settled" if settled else "waiting",
        )
        added = self._execute("INSERT OR IGNORE INTO row VALUES (?, ?, ?, ?, ?, NULL, NULL)", values)
        return None if added.rowcount else self._number("SELECT number FROM row WHERE operation = ?", row.operation)

    def keep_first(self, limit: int) -> None:
        """Let no more than the first `limit` rows wait."""
        changed = """
            UPDATE row SET state = 'left' WHERE state = 'waiting'
            AND number >= (SELECT number FROM row WHERE state = 'waiting' ORDER BY number LIMIT 1 OFFSET ?)
        """
        self._execute(changed, (limit,))

    def mark(self, row: Row, state: str, call: str | None = None, due: str | None = None) -> None:
        """Note what became of `row`; of an open one, which call it is and when somebody comes back to that."""
        changed = "UPDATE row SET state = ?, call = ?, due = ? WHERE number = ?"
        self._execute(changed, (state, call, due, row.number))

    def count(self, state: str) -> int:
        """How many rows are waiting, open, settled (by this run or before it) or left."""
        return self._number("SELECT count(*) FROM row WHERE state = ?", state)

    def next_due(self) -> str | None:
        """When somebody comes back to the first of the open rows; None where nobody does."""
        due: str | None = self._execute("SELECT min(due) FROM row WHERE state = 'open'").fetchone()[0]
        return due

    def each(self, state: str) -> Iterator[Row]:
        """The rows in `state`, by their numbers; each is looked up when it is its turn."""
        after = -1
        asked = """
            SELECT number, data, operation, digest, call FROM row
            WHERE state = ? AND number > ? ORDER BY number LIMIT ?
        """
        while page := self._execute(asked, (state, after, _PAGE)).fetchall():
            for number, data, operation, digest, call in page:
                yield Row(number, json.loads(data), operation, digest, call)
            after = page[-1][0]

    def _number(self, question: str, *values: Any) -> int:
        found: int = self._execute(question, values).fetchone()[0]
        return found

    def _execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        try:
            return self._database.execute(statement, values)
        except sqlite3.Error as error:
            said = f"the rows cannot be kept in a temporary file: {error}; make room, or name a folder by SQLITE_TMPDIR"
            raise StoreError(said) from None
