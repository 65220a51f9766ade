"""The reference in a folder.

Hides: how a folder that is ours is told from any other. `callsheet-docs.json` lists what we put there: only that is
ever replaced or removed, and a folder that holds anything else is left alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from engine.errors import DefinitionError, Fault
from engine.reference.site import Site

MARK = "callsheet-docs.json"


@dataclass(frozen=True, slots=True)
class Written:
    """What came of writing: how many files are there, how many of them are new or other than before, or gone."""

    files: int
    written: int
    removed: int


def write(site: Site, folder: Path, progress: Callable[[list[str]], Iterable[str]]) -> Written:
    """Put `site` into `folder`, which is made; `progress` is given the paths and yields them again.

    Raises FileExistsError, with nothing done, for a folder of something else; DefinitionError with the faults of all
    cases; OSError.
    """
    before = _ours(folder)
    paths = sorted(site.paths)
    contents = dict(_contents(site, progress(paths)))
    folder.mkdir(parents=True, exist_ok=True)
    _mark(folder, {*before, *paths})  # so that a folder that is half written is known as ours
    written = [path for path in paths if _put(folder / path, contents[path])]
    gone = [path for path in sorted(before - set(paths)) if _remove(folder, path)]
    _mark(folder, paths)
    return Written(len(paths), len(written), len(gone))


def _contents(site: Site, paths: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    faults: list[Fault] = []
    for path in paths:
        try:
            yield path, site.content(path)
        except DefinitionError as error:
            faults += error.faults
    if faults:
        raise DefinitionError(faults)


def _ours(folder: Path) -> set[str]:
    """What we put into `folder` earlier."""
    if not folder.exists() or not any(not path.name.startswith(".") for path in folder.iterdir()):
        return set()
    try:
        mark = json.loads((folder / MARK).read_text("utf-8"))
    except (OSError, ValueError):
        mark = None
    listed = mark.get("files") if isinstance(mark, dict) else None
    if not isinstance(listed, list):
        raise FileExistsError(str(folder))
    return {path for path in listed if isinstance(path, str) and _is_inside(path)}


def _is_inside(path: str) -> bool:
    return not PurePosixPath(path).is_absolute() and ".." not in PurePosixPath(path).parts


def _mark(folder: Path, paths: Iterable[str]) -> None:
    said = {"made by": "callsheet docs, which replaces and removes these files", "files": sorted(paths)}
    _put(folder / MARK, f"{json.dumps(said, indent=1)}\n".encode())


def _put(path: Path, content: bytes) -> bool:
    """Write a file; False where it holds just that already."""
    if path.is_file() and path.read_bytes() == content:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return True


def _remove(folder: Path, path: str) -> bool:
    """Remove a file of ours, and the folders that it leaves empty."""
    if not (folder / path).is_file():
        return False
    (folder / path).unlink()
    for parent in (folder / path).parents:
        if parent == folder or any(parent.iterdir()):
            break
        parent.rmdir()
    return True
