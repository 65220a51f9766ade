"""What stand-ins are made of: a folder's definitions, its cases and its sandbox files, and the shipped ones.

Hides: how it is noticed that somebody edits them. A broken edit changes nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.cases import Case, read_cases
from engine.catalog import Catalog
from engine.errors import DefinitionError
from engine.folders import Seen, seen
from engine.reloading import Files, folders
from engine.sandbox.files import SandboxFile, read_files

log = logging.getLogger("engine")


@dataclass(frozen=True, slots=True)
class Material:
    """Definitions as they are in test mode, cases, and sandbox files by gateway."""

    catalog: Catalog
    cases: Sequence[Case]
    files: Mapping[str, SandboxFile]

    @classmethod
    def read(cls, root: Path | None = None) -> Material:
        """That of the host in `root` and what is shipped; a host's case replaces one of its name. DefinitionError."""
        found = folders(root)
        cases: dict[tuple[str, ...], Case] = {}
        for case in (case for folder in found for case in read_cases(folder / "tests" / "cases")):
            cases.setdefault((case.kind, case.subject, case.file.name), case)
        return cls(Files(root, {}, reload=False).catalog(), list(cases.values()), read_files(found, root))


class Following:
    """Material that follows its files."""

    def __init__(self, root: Path) -> None:
        self._root, self._seen = root, self._look(root)

    def changed(self) -> Material | None:
        """The material, where files changed since the last look and are good."""
        now = self._look(self._root)
        if now == self._seen:
            return None
        self._seen = now
        try:
            return Material.read(self._root)
        except DefinitionError as error:
            log.error("the sandbox goes on with the files before the last change:\n%s", error)
            return None

    @staticmethod
    def _look(root: Path) -> Seen:
        patterns = ("request_types/*/*.yml", "tests/cases/*/*/*/[!.]*.yml")
        return seen(path for pattern in patterns for path in root.glob(pattern))
