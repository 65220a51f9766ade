"""A disk whose power can be cut: of what was written to it, only what was synced is sure to be there afterwards.

Hides: a file system for SQLite (a VFS, by apsw) that hands everything on to the real one and remembers what of it a
power cut would leave, and the little of DB-API that SQLAlchemy wants of a driver.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from types import ModuleType
from typing import Any

import apsw
import apsw.ext

LASTING = (".sqlite3", "-journal", "-wal")  # what a cut may leave; the rest is made anew

Write = tuple[bytes | None, int]
"""Bytes and their offset, or None and the size that a file is cut to."""


class Disk:
    """What would be left of every file, and what was written since. `moved` is called at every write and sync."""

    def __init__(self, moved: Callable[[], object] = bool) -> None:
        self._kept: dict[str, bytes] = {}
        self._since: dict[str, list[Write]] = {}
        self._lock = threading.RLock()
        self.moved = moved

    def write(self, name: str, write: Write) -> None:
        """Take note of a write that nothing keeps yet."""
        with self._lock:
            self._since.setdefault(name, []).append(write)
            self.moved()

    def sync(self, name: str) -> None:
        """From now on all of it is kept."""
        with self._lock:
            self._kept[name] = _written(self._kept.get(name, b""), self._since.pop(name, []))
            self.moved()

    def remove(self, name: str) -> None:
        """The file is gone."""
        with self._lock:
            self._kept.pop(name, None)
            self._since.pop(name, None)

    def after_a_cut(self, chance: Random | None = None) -> dict[str, bytes]:
        """The files by their names; of what was not synced, nothing, or whatever `chance` leaves of it."""
        with self._lock:
            found = dict(self._kept)
            for name, writes in self._since.items() if chance else ():
                some = [write for write in writes if chance and chance.random() < 0.5]
                found[name] = _written(found.get(name, b""), some)
        return {Path(name).name: content for name, content in found.items() if name.endswith(LASTING)}


def _written(content: bytes, writes: Sequence[Write]) -> bytes:
    made = bytearray(content)
    for data, at in writes:
        if data is None:
            del made[at:]
        else:
            made.extend(bytes(max(0, at - len(made))))
            made[at : at + len(data)] = data
    return bytes(made)


class _Files(apsw.VFS):
    def __init__(self, name: str, disk: Disk) -> None:
        self._disk = disk
        super().__init__(name, base="")

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:  # noqa: N802
        return _File(name, flags, self._disk)

    def xDelete(self, filename: str, syncdir: bool) -> None:  # noqa: N802
        super().xDelete(filename, syncdir)
        self._disk.remove(filename)


class _File(apsw.VFSFile):
    def __init__(self, name: str | apsw.URIFilename | None, flags: list[int], disk: Disk) -> None:
        self._name = name.filename() if isinstance(name, apsw.URIFilename) else str(name)
        self._disk = disk
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802
        super().xWrite(data, offset)
        self._disk.write(self._name, (bytes(data), offset))

    def xTruncate(self, newsize: int) -> None:  # noqa: N802
        super().xTruncate(newsize)
        self._disk.write(self._name, (None, newsize))

    def xSync(self, flags: int) -> None:  # noqa: N802
        super().xSync(flags)
        self._disk.sync(self._name)


# What SQLAlchemy wants of a driver ------------------------------------------------------------------------------------


def driver(name: str, disk: Disk, synchronous: str | None = None) -> tuple[ModuleType, apsw.VFS]:
    """A module like `sqlite3` whose databases lie on `disk`, to be kept as long as it is used with what keeps it alive.

    `synchronous` is what it is whatever a connection asks for.
    """
    files = _Files(name, disk)
    module = ModuleType(name)
    vars(module).update({key: value for key, value in vars(sqlite3).items() if not key.startswith("__")})
    module.sqlite_version_info = tuple(map(int, apsw.sqlite_lib_version().split(".")))  # type: ignore[attr-defined]
    module.connect = lambda file, **_: _Connection(file, name, synchronous)  # type: ignore[attr-defined]
    return module, files


class _Cursor:
    arraysize = 1
    lastrowid = None

    def __init__(self, connection: _Connection) -> None:
        self._connection = connection
        self._rows: Iterator[Any] = iter(())
        self.description: Any = None
        self.rowcount = -1

    def execute(self, statement: str, parameters: Mapping[str, Any] | Sequence[Any] = ()) -> _Cursor:
        base, synchronous = self._connection.base, self._connection.synchronous
        if synchronous and statement.startswith("PRAGMA synchronous ="):
            statement = f"PRAGMA synchronous = {synchronous}"
        try:
            self.description = self._connection.columns_of(statement)
            self._rows = iter(list(base.execute(statement, parameters or None)))
        except apsw.ConstraintError as error:
            raise sqlite3.IntegrityError(str(error)) from None
        except apsw.Error as error:
            raise sqlite3.OperationalError(str(error)) from None
        self.rowcount = base.changes()
        return self

    def executemany(self, statement: str, many: Sequence[Any]) -> None:
        for parameters in many:
            self.execute(statement, parameters)

    def fetchone(self) -> Any:
        return next(self._rows, None)

    def fetchmany(self, size: int = 1) -> list[Any]:
        return [row for _, row in zip(range(size), self._rows, strict=False)]

    def fetchall(self) -> list[Any]:
        return list(self._rows)

    def __iter__(self) -> Iterator[Any]:
        return self._rows

    def close(self) -> None:
        self._rows = iter(())


class _Connection:
    isolation_level: str | None = ""

    def __init__(self, file: str, files: str, synchronous: str | None) -> None:
        self.base, self.synchronous = apsw.Connection(file, vfs=files), synchronous
        self.base.set_busy_timeout(10_000)
        self._columns: dict[str, Any] = {}

    def columns_of(self, statement: str) -> Any:
        """What a statement's rows have, which is known before there is one; None where it brings none."""
        if statement not in self._columns:
            found = apsw.ext.query_info(self.base, statement).description
            self._columns[statement] = [(one[0], *[None] * 6) for one in found] or None
        return self._columns[statement]

    @property
    def in_transaction(self) -> bool:
        return self.base.in_transaction

    def cursor(self, *_: Any) -> _Cursor:
        return _Cursor(self)

    def execute(self, statement: str, *parameters: Any) -> _Cursor:
        return self.cursor().execute(statement, *parameters)

    def create_function(self, name: str, count: int, function: Callable[..., Any], **_: Any) -> None:
        self.base.create_scalar_function(name, function, count)

    def commit(self) -> None:
        if self.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        if self.in_transaction:
            self.execute("ROLLBACK")

    def close(self) -> None:
        self.base.close()
