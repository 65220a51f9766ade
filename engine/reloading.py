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

log = logging.getLogger("engine")


def folders(root: Path | None) -> list[Path]:
    """Where definitions are looked for: the host's folder first, then what is shipped."""
    return [root, shipped()] if root and root.resolve() != shipped().resolve() else [shipped()]


class Files:
    """The folders of a host and of the package. Raises DefinitionError where the first reading finds faults."""

    def __init__(self, root: Path | None, base_urls: Mapping[str, str], *, reload: bool) -> None:
        for gateway, url in base_urls.items():
            if unfit := unfit_base_url(url):
                raise SettingError(f"CALLSHEET_{gateway.upper()}_BASE_URL", unfit)
        self._folders = folders(root)
        self._base_urls, self._cache, self._reload = base_urls, code_cache(root), reload
        self._lock = threading.Lock()
        self._seen = self._look() if reload else frozenset()
        self._catalog = self._read()
        self.faults: tuple[Fault, ...] = ()

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
        return load(self._folders, base_urls=self._base_urls, cache=self._cache, known=known)

    def _look(self) -> Seen:
        return seen(path for folder in self._folders for kind in KINDS for path in (folder / kind).glob("**/*"))
