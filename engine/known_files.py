"""What earlier starts found out about files as they still are: what a YAML file holds, and that one has no faults.

Hides: where that is kept. All of it goes by the whole text of the files concerned, so it cannot be out of date; gone or
damaged, it is found out again. It is kept beside generated code, in a folder that nobody else can write, for whoever
could change it would decide what is sent where.
"""

from __future__ import annotations

import contextlib
import hashlib
import marshal
import os
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

from engine.errors import Fault
from engine.yaml_files import Marks, Places, YamlFile, read


class KnownFiles:
    """For one reading of all files; `path` is where the knowledge is kept, None where it is not."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._before_files, self._before_sound = _kept(path)
        self._files: dict[str, tuple[Any, bytes]] = {}
        self._sound: set[str] = set()

    def parsed(self, key: str, text: str, name: str) -> YamlFile:
        """As `yaml_files.parse`; `key` is the digest of name and text."""
        kept = self._before_files.get(key)
        if kept is None:
            value, places = read(text, name)
            self._files[key] = (value, marshal.dumps(places))
            return YamlFile(name, value, Marks(name, places))
        self._files[key] = kept
        value, packed = kept
        return YamlFile(name, value, _Packed(name, packed))

    def faults(self, key: str, find: Callable[[], Iterable[Fault]]) -> list[Fault]:
        """What `find` finds; not asked where it found nothing in an earlier start. `key` tells all that it looks at."""
        faults = [] if key in self._before_sound else list(find())
        if not faults:
            self._sound.add(key)
        return faults

    def keep(self) -> None:
        """Keep what was found out for the next start, in one step: a reader sees the old or the new."""
        changed = self._files.keys() != self._before_files.keys() or self._sound != self._before_sound
        if self._path is None or not changed:
            return
        new = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        content = marshal.dumps((self._files, self._sound))
        try:
            new.write_bytes(hashlib.sha256(content).digest() + content)
            new.replace(self._path)
        except OSError:
            with contextlib.suppress(OSError):
                new.unlink()


class _Packed(Marks):
    """The marks of a file that is known, unpacked when one is looked at."""

    def __init__(self, file: str, packed: bytes) -> None:
        self.file, self._packed = file, packed

    @cached_property
    def places(self) -> Places:  # type: ignore[override]  # given there, made here
        places: Places = marshal.loads(self._packed)  # noqa: S302 - as below
        return places


def digest(*texts: str) -> str:
    """What tells these texts from all others."""
    told = "".join(f"{len(text)} {text}" for text in texts)
    return hashlib.sha256(told.encode("utf-8", "surrogatepass")).hexdigest()


def _kept(path: Path | None) -> tuple[dict[str, tuple[Any, bytes]], set[str]]:
    """What is kept, where it is whole: marshal must not be given anything else."""
    try:
        whole = path.read_bytes() if path else b""
    except OSError:
        whole = b""
    seal, content = whole[:32], whole[32:]
    if not content or hashlib.sha256(content).digest() != seal:
        return {}, set()
    files, sound = marshal.loads(content)  # noqa: S302 - see above who can have written it
    return files, sound
