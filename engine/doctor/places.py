"""Where things are kept: whether a commit lasts, what is searched in vain, and who else may read it."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from engine import endpoints
from engine.core import OWN_TYPES, Engine
from engine.doctor.findings import Finding, Level
from engine.errors import SettingError, SignatureError
from engine.seals import ENCRYPTION_KEY
from engine.store.memory import MemoryStore

_OTHERS = stat.S_IROTH | stat.S_IWOTH


def is_made(engine: Engine) -> bool:
    """Whether the store is there already: a file is made by the first call."""
    file: Path | None = getattr(engine.store, "file", None)
    return file is None or file.exists()


def store(engine: Engine) -> Iterator[Finding]:
    """How commits are kept, and which indexes are incomplete. Raises StoreError."""
    from engine.store.sql import SqlStore  # which takes long to import, and `callsheet check` has no use for it

    kept = engine.store
    if isinstance(kept, MemoryStore):
        yield Finding("warning", "store", "keeps nothing beyond this process", "memory:", "set CALLSHEET_STORE")
        return
    if not isinstance(kept, SqlStore):
        yield Finding("ok", "store", "is the host's own, and answers for itself", type(kept).__name__)
        return
    if not is_made(engine):
        yield Finding("ok", "store", "is not there yet; the first call makes it", str(kept))
        return
    durability = kept.durability()
    for weakness in durability.weak:
        yield Finding(_grave(engine), "store", f"{weakness}; CALLSHEET_MODE=live refuses it", str(kept), _STRENGTHEN)
    if not durability.weak:
        yield Finding("ok", "store", durability.said, str(kept))
    for name, missing in kept.incomplete([*OWN_TYPES.values(), *engine.catalog.record_types.values()]).items():
        said = f"the index of {name} by {', '.join(missing)} does not hold all records yet, so it is not searched"
        yield Finding("problem", "store", said, str(kept), "stop other processes, then callsheet db upgrade")


_STRENGTHEN = "turn it on in the database's own settings, or choose a local disk"


def _grave(engine: Engine) -> Level:
    """What is a nuisance with test money is a problem with live money."""
    return "problem" if engine.settings.live else "warning"


def seals(engine: Engine) -> Iterator[Finding]:
    """Whether the webhook secrets that are kept sealed can be opened: one that cannot keeps every event out."""
    known = endpoints.RECORD in engine.catalog.record_types
    for one in engine.find(endpoints.RECORD, live=engine.settings.live, limit=1000) if known else ():
        try:
            engine.sealer.open(one["secret"]) if one["secret"] else None
        except (SettingError, SignatureError) as error:
            said = f"the sealed secret of {one['gateway_id']} cannot be opened, so no event is accepted: {error}"
            remedy = (
                f"add the old key after a comma, or callsheet webhooks remove {one['gateway_id']} and register again"
            )
            yield Finding("problem", "keys", said, ENCRYPTION_KEY, remedy)


def permissions(engine: Engine) -> Iterator[Finding]:
    """Whether other users of the machine may read the secrets or the records."""
    files = (engine.root / ".env", getattr(engine.store, "file", None))
    for file in files if os.name == "posix" else ():
        if file is not None and file.is_file() and file.stat().st_mode & _OTHERS:
            yield Finding(
                _grave(engine), "files", "can be read by every user of this machine", str(file), f"chmod 600 {file}"
            )
