"""YAML that knows where each value stands, and that means what it looks like.

Hides: the parser, which is imported when a file is parsed, and the surprises of YAML 1.1. A plain scalar is null, true,
false or a decimal number where it is written so (YAML 1.2 core); everything else, `no`, `010`, `12:30` and
`2019-08-14` among it, is text. Duplicate keys, aliases, tags, merge keys, files over 64 KiB and nesting over 20 are
refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from engine.errors import Fault

MAX_DEPTH = 20


class Mark(NamedTuple):
    """Where a value stands, counted from 1: of its key (if it has one), and the place where its text begins.

    `indent` counts the blanks before each further line of the text.
    """

    file: str
    line: int
    column: int
    text_line: int
    text_column: int = 1
    indent: int = 0
    folded: bool = False


Places = dict[str, tuple[Any, ...]]
"""By JSON pointer, a mark without its file."""


class Marks(Mapping[str, Mark]):
    """The mark of every JSON pointer in `file`. Few are looked at, so each is made of its place when it is."""

    def __init__(self, file: str, places: Places) -> None:
        self.file, self.places = file, places

    def __getitem__(self, pointer: str) -> Mark:
        return Mark(self.file, *self.places[pointer])

    def __contains__(self, pointer: object) -> bool:
        return pointer in self.places

    def __iter__(self) -> Iterator[str]:
        return iter(self.places)

    def __len__(self) -> int:
        return len(self.places)


@dataclass(frozen=True, slots=True)
class YamlFile:
    """A parsed file: `name` for messages, its `value`, and a mark for every JSON pointer in it."""

    name: str
    value: Any
    marks: Mapping[str, Mark]

    def fault(self, pointer: str, message: str) -> Fault:
        """A fault at `pointer`, or at the nearest value around it that exists."""
        while pointer not in self.marks and pointer:
            pointer = pointer.rpartition("/")[0]
        mark = self.marks.get(pointer) or Mark(self.name, 1, 1, 1)
        return Fault(mark.file, mark.line, mark.column, message)


def parse(text: str, name: str) -> YamlFile:
    """Parse `text`. Raises DefinitionError with one fault, at the place where the file goes wrong."""
    value, places = read(text, name)
    return YamlFile(name, value, Marks(name, places))


def read(text: str, name: str) -> tuple[Any, Places]:
    """As `parse`, in parts that can be kept."""
    from engine.yaml_files.reading import read

    return read(text, name)
