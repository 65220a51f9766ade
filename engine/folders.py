"""What lies in a folder of definitions, and whether it changed. Hides: how thousands of files are read in a moment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

Seen = frozenset[tuple[str, int, int]]
"""Files as they were when they were looked at: path, time of the last change in nanoseconds, bytes."""


def below(folder: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Everything in the folders of `folder`, each with the name of its own, in the order of names.

    But for what is hidden, and what editors leave beside a file: `#pay.yml#`, not saved yet, and the older `pay.yml~`.
    """
    for inner in _entries(folder):
        for file in _entries(inner.path) if inner.is_dir() else ():
            if not file.name.startswith((".", "#")) and not file.name.endswith("~"):
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


def seen(paths: Iterable[Path]) -> Seen:
    """What of `paths` is there now. An editor's lock is a link to nowhere, and a file may go while it is looked at."""
    found = set()
    for path in paths:
        with suppress(OSError):
            state = path.stat()
            found.add((str(path), state.st_mtime_ns, state.st_size))
    return frozenset(found)


def unfit_name(folder: str, file: str) -> str | None:
    """What keeps a file in `folder` from giving its definition a name; None where nothing does."""
    if not re.fullmatch(r"[a-z0-9_]+", folder):
        return "a folder's name holds small letters, digits and _"
    if not re.fullmatch(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)*", file):
        return "a name holds letters, digits, _ and single dots"
    return None
