"""Where the reference gets its texts: the files of every folder, and the cases that tell of each definition.

Hides: that a host's file replaces a shipped one, and with it the shipped cases, which tell of another file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.cases import Case, read_case
from engine.catalog import Catalog
from engine.errors import DefinitionError, Fault
from engine.yaml_files import parse


@dataclass(frozen=True)
class Sources:
    """The definitions in force and the folders that they were read from, the first of which wins."""

    catalog: Catalog
    folders: Sequence[Path]

    def text(self, file: str) -> str:
        """The text of a definition's file. Raises DefinitionError where it was removed since it was read."""
        found = next((folder / file for folder in self.folders if (folder / file).is_file()), None)
        if found is None:
            raise DefinitionError([Fault(file, 1, 1, "is not there any more")])
        return found.read_text("utf-8")

    def value(self, file: str) -> dict[str, Any]:
        """What a YAML file says."""
        said: dict[str, Any] = parse(self.text(file), file).value
        return said

    def is_shipped(self, file: str) -> bool:
        """Whether a file is not the host's own."""
        return not any((folder / file).is_file() for folder in self.folders[:-1])

    def cases(self, kind: str, subject: str, file: str, about: str = "") -> list[Case]:
        """The cases about a request type or an event that `file` defines; with `about`, those whose text has it.

        Raises DefinitionError.
        """
        found: dict[str, Path] = {}
        for folder in self.folders:
            for path in sorted((folder / "tests" / "cases" / kind / subject).glob("[!.]*.yml")):
                found.setdefault(path.name, path)
            if (folder / file).is_file():
                break
        return [read_case(path) for path in found.values() if not about or about in path.read_text("utf-8")]
