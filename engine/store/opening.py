"""Which store a setting names: SQLite in the root folder where there is none, a database's URL, or `memory:`."""

from __future__ import annotations

from pathlib import Path

from engine.errors import SettingError
from engine.store import Store

FILE = "callsheet.sqlite3"


def open_store(setting: str | None, root: Path, *, live: bool = False) -> Store:
    """The store that CALLSHEET_STORE names, or SQLite in `root`. Nothing is opened before its first use.

    Raises SettingError where one that keeps nothing is meant for `live` money.
    """
    if setting == "memory:":
        if live:
            raise SettingError("CALLSHEET_STORE", "memory: keeps nothing, and CALLSHEET_MODE=live needs what lasts")
        from engine.store.memory import MemoryStore

        return MemoryStore()
    from engine.store.sql import SqlStore

    return SqlStore(setting or f"sqlite:///{(root / FILE).resolve()}")
