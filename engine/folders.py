"""What lies in a folder of definitions. Hides: how thousands of files are found and read in a moment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def below(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything in the folders of `folder`, each with the name of its own, in the order of names."""
    for inner in _entries(folder):
        for file in _entries(inner.path) if inner.is_dir() else ():
            yield inner.name, file


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def text_of(path: str) -> str:
    """The text of a file, with "\\n" at the ends of lines and no mark before it. Raises OSError, UnicodeDecodeError."""
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - a Path costs more than the reading
        text = file.read().decode("utf-8").removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text
