"""Where generated code is kept between starts.

Compiling a template costs milliseconds, reading its code microseconds. The folder's name holds every version that
decides how code looks; Jinja's own cache decides by content whether a file of it is still good.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

from jinja2 import FileSystemBytecodeCache


def code_cache(root: Path | None) -> FileSystemBytecodeCache | None:
    """The cache of a root folder; None where there is no root, or it cannot be written."""
    if root is None or not os.access(root, os.W_OK):
        return None
    versions = (
        f"{version('callsheet')}-jinja{version('jinja2')}-python{sys.version_info.major}.{sys.version_info.minor}"
    )
    folder = root / ".callsheet" / f"code-{versions}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return FileSystemBytecodeCache(str(folder))
