"""What kind of file system a file lies on.

Hides: where the system says so. A network file system may lose a lock or a flush without a word, so no database file
should lie on one.
"""

from __future__ import annotations

from pathlib import Path

_MOUNTS = Path("/proc/self/mounts")  # one line each: device, folder, kind, …; a blank in a folder is written \\040
_NETWORK = frozenset(
    "afs beegfs ceph cifs fuse.glusterfs fuse.sshfs glusterfs gpfs lustre ncpfs nfs nfs4 smb3 smbfs".split()
)


def network_file_system(path: Path, mounts: Path = _MOUNTS) -> str | None:
    """The kind of the network file system that `path` lies on; None where it is none, or where nobody says."""
    try:
        lines = mounts.read_text("utf-8", "surrogateescape").splitlines()
    except OSError:
        return None
    there = path.resolve()
    kinds = {Path(folder.replace("\\040", " ")): kind for _, folder, kind, *_ in map(str.split, lines)}
    kind = next((kinds[folder] for folder in (there, *there.parents) if folder in kinds), None)
    return kind if kind in _NETWORK else None
