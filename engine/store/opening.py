"""Which store a setting names: SQLite in the root folder where there is none, a database's URL, or `memory:`."""

from __future__ import annotations

from pathlib import Path

from engine.store import Store

FILE = "callsheet.sqlite3"


def open_store(setting: str | None, root: Path) -> Store:
    """The store that CALLSHEET_STORE names, or SQLite in `root`. Nothing is opened before its first use."""
    if setting == "memory:":
        from engine.store.memory import MemoryStore

        return MemoryStore()
    from engine.store.sql import SqlStore

    return SqlStore(setting or f"sqlite:///{(root / FILE).resolve()}")
