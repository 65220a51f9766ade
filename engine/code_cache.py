"""Where generated code is kept between starts.

Compiling a template costs milliseconds, reading its code microseconds. The folder's name holds everything that
decides how code looks and what counts as a fault; Jinja's own cache decides by content whether a file of it is still
good. What is known of the files beside their code is kept there too.

Whoever can write there can have any code run. So the folder must be of this process' user or of root, and nobody else
may write in it; where it is not, it is left alone, and every start is a first one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import sys
from pathlib import Path

import jinja2


class CodeCache(jinja2.FileSystemBytecodeCache):
    """Jinja's own, except that what cannot be kept is made again: a full disk keeps nobody from rendering."""

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        with contextlib.suppress(OSError):
            super().dump_bytecode(bucket)


def code_cache(root: Path | None) -> CodeCache | None:
    """The cache of a root folder; None where there is no root, or no folder of it that can be trusted.

    One that cannot be written is still read.
    """
    if root is None:
        return None
    folder = root / ".callsheet" / f"code-{_versions()}"
    with contextlib.suppress(OSError):
        folder.parent.mkdir(exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    return CodeCache(str(folder)) if _is_ours_alone(folder) else None


def _versions() -> str:
    ours, theirs = Path(__file__).parent, Path(jinja2.__file__).parent
    patterns = ("*.py", "yaml_files/*.py", "forms/*.py", "file_schemas/*.json")
    decisive = [*(path for pattern in patterns for path in ours.glob(pattern)), *theirs.glob("*.py")]
    content = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(decisive)))
    return f"{content.hexdigest()[:16]}-python{sys.version_info.major}.{sys.version_info.minor}"


def _is_ours_alone(folder: Path) -> bool:
    try:
        found = folder.lstat()
    except OSError:
        return False
    others_write = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return stat.S_ISDIR(found.st_mode) and found.st_uid in {0, os.geteuid()} and not others_write
