"""Where generated code is kept between starts.

Compiling a template costs milliseconds, reading its code microseconds. The folder's name holds everything that
decides how code looks and what counts as a fault; Jinja's own cache decides by content whether a file of it is still
good. What is known of the files beside their code is kept there too.
"""

from __future__ import annotations

import hashlib
import os
import sys
from importlib.metadata import version
from pathlib import Path

from jinja2 import FileSystemBytecodeCache


def code_cache(root: Path | None) -> FileSystemBytecodeCache | None:
    """The cache of a root folder; None where there is no root, or it cannot be written."""
    if root is None or not os.access(root, os.W_OK):
        return None
    here = Path(__file__).parent
    decisive = [*here.glob("*.py"), *here.glob("forms/*.py"), *here.glob("file_schemas/*.json")]
    ours = b"".join(path.read_bytes() for path in sorted(decisive))
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    versions = f"{hashlib.sha256(ours).hexdigest()[:12]}-jinja{version('jinja2')}-python{python}"
    folder = root / ".callsheet" / f"code-{versions}"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        return None
    return FileSystemBytecodeCache(str(folder))
