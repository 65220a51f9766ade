"""A disk that is full, and has room again.

Limited    the system refuses that a file of this process grows any further (setrlimit), wherever tests run
Paged      SQLite refuses that its database grows (PRAGMA max_page_count)
Mounted    a small file system, filled to its last byte; `on_its_own_disk` runs tests on one
"""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Protocol

from engine.store.sql import SqlStore
from engine.store.statements import Session

HERE = "CALLSHEET_TEST_DISK"
_MOUNT = 'mount -t tmpfs -o size=32m none "$0" && exec "$@"'


class Disk(Protocol):
    """Where a store is kept. `fill` and `free` may be called any number of times."""

    folder: Path

    def fill(self) -> None: ...

    def free(self) -> None: ...

    def hold(self, store: SqlStore) -> None: ...


class Limited:
    """No file may grow beyond the largest of the folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._given = resource.getrlimit(resource.RLIMIT_FSIZE)

    def fill(self) -> None:
        largest = max(path.stat().st_size for path in self.folder.iterdir())
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest, self._given[1]))

    def free(self) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, self._given)

    def hold(self, store: SqlStore) -> None:
        """Nothing is to be done for a store."""


class Paged:
    """The database may have no more pages than it has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._is_full = False

    def fill(self) -> None:
        self._is_full = True

    def free(self) -> None:
        self._is_full = False

    def hold(self, store: SqlStore) -> None:
        """Have every transaction of `store` keep to it."""

        database: Any = store._opened()
        enter = database._enter

        def limited(session: Session, begin: Callable[[Session], None]) -> None:
            (pages,) = session.driver.execute("PRAGMA page_count").fetchone()
            session.driver.execute(f"PRAGMA max_page_count = {pages if self._is_full else 1 << 30}").close()
            enter(session, begin)

        database._enter = limited


class Mounted:
    """A file system of its own: no byte can be added to any file in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self) -> None:
        with self._filler.open("ab", buffering=0) as file:
            size = 1 << 20
            while size:
                try:
                    file.write(bytes(size))
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    size //= 2

    def free(self) -> None:
        self._filler.unlink(missing_ok=True)

    def hold(self, store: SqlStore) -> None:
        """Nothing is to be done for a store."""


def on_its_own_disk(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python with `arguments` where `folder` is a small file system, seen by that process only and gone with it.

    Where this machine lets nobody mount one, Python runs without it.
    """
    unshare = ["unshare", "--map-root-user", "--mount", "sh", "-c", _MOUNT, str(folder)]
    may = subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode == 0
    environment = {**os.environ, **({HERE: str(folder)} if may else {})}
    command = [*(unshare if may else []), sys.executable, *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def disk(kind: str, folder: Path) -> Disk:
    """The disk of that kind; whatever the kind, the small file system where this process has one."""
    if HERE in os.environ:
        return Mounted(Path(mkdtemp(dir=os.environ[HERE])))
    return Limited(folder) if kind == "limited" else Paged(folder)
