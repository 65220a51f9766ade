"""When files are read: once at start or, while somebody edits them, whenever one of them has changed.

Hides: how a change is noticed. A broken edit never stops a host: the last good definitions stay in force.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from pathlib import Path

from engine.catalog import KINDS, Catalog, load, shipped
from engine.code_cache import code_cache
from engine.errors import DefinitionError, Fault, SettingError
from engine.file_kinds import unfit_base_url
from engine.folders import Seen, seen
from engine.settings import Settings

log = logging.getLogger("engine")


def folders(root: Path | None) -> list[Path]:
    """Where definitions are looked for: the host's folder first, then what is shipped."""
    return [root, shipped()] if root and root.resolve() != shipped().resolve() else [shipped()]


class Files:
    """The folders of a host and of the package, read for a mode: a host's own, or `test`, which cases are told for.

    Raises DefinitionError where the first reading finds faults, SettingError for a base_url that can be none.
    """

    def __init__(self, root: Path | None, base_urls: Mapping[str, str], *, mode: str = "test", reload: bool) -> None:
        for gateway, url in base_urls.items():
            if unfit := unfit_base_url(url):
                raise SettingError(f"CALLSHEET_{gateway.upper()}_BASE_URL", unfit)
        self._folders = folders(root)
        self._mode, self._base_urls, self._cache, self._reload = mode, base_urls, code_cache(root), reload
        self._lock = threading.Lock()
        self._seen = self._look() if reload else frozenset()
        self._catalog = self._read()
        self.faults: tuple[Fault, ...] = ()

    @classmethod
    def of(
        cls, root: Path | None, settings: Settings, base_urls: Mapping[str, str] | None = None, *, reload: bool = False
    ) -> Files:
        """Those of a host: its settings say its mode and, where `base_urls` do not, what replaces a base_url."""
        return cls(root, {**settings.base_urls(), **(base_urls or {})}, mode=settings.mode, reload=reload)

    def catalog(self) -> Catalog:
        """The definitions in force; with `reload`, those of the files as they are now."""
        if self._reload:
            with self._lock:
                self._follow()
        return self._catalog

    def _follow(self) -> None:
        now = self._look()
        if now == self._seen:
            return
        self._seen = now
        try:
            self._catalog, self.faults = self._read(), ()
        except DefinitionError as error:
            self.faults = error.faults
            log.error("the files before the last change stay in force:\n%s", error)

    def _read(self) -> Catalog:
        known = Path(self._cache.directory) / "files" if self._cache else None
        return load(self._folders, mode=self._mode, base_urls=self._base_urls, cache=self._cache, known=known)

    def _look(self) -> Seen:
        return seen(path for folder in self._folders for kind in KINDS for path in (folder / kind).glob("**/*"))
