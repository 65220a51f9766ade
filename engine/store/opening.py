"""Which store a setting names: SQLite in the root folder where there is none, a database's URL, or `memory:`."""

from __future__ import annotations

from pathlib import Path

from engine.errors import SettingError
from engine.store import Due, Store

FILE = "callsheet.sqlite3"


def open_store(setting: str | None, root: Path, due: Due | None = None, *, live: bool = False) -> Store:
    """The store that CALLSHEET_STORE names, or SQLite in `root`. Nothing is opened before its first use.

    On PostgreSQL workers are told of rows that are `due`, as `engine.store.jobs` says. Raises SettingError for
    what is no URL, and where a store that keeps nothing is meant for `live` money.
    """
    if setting == "memory:":
        if live:
            raise SettingError("CALLSHEET_STORE", "memory: keeps nothing, and CALLSHEET_MODE=live needs what lasts")
        from engine.store.memory import MemoryStore

        return MemoryStore()
    if setting and "://" not in setting:
        raise SettingError("CALLSHEET_STORE", "must be postgresql://user:password@host/name, sqlite:///PATH or memory:")
    if setting and setting.startswith("sqlite") and setting.partition("://")[2] in {"", "/", "/:memory:"}:
        raise SettingError("CALLSHEET_STORE", "names no file; write sqlite:///PATH, or memory:")
    from engine.store.jobs import Jobs
    from engine.store.sql import SqlStore

    if setting and setting.startswith(("postgresql://", "postgres://")):
        jobs = Jobs(due or {})
        return SqlStore(setting, inside=jobs, concerns=jobs.concern)
    return SqlStore(setting or f"sqlite:///{(root / FILE).resolve()}")
