"""What a hostile answer costs. A function of a module, because a process of its own has to import it."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from hosts import OnlyHere, write

from engine.context import Clock
from engine.dispatcher import Dispatcher
from engine.errors import UnknownOutcome

from .bank import DATA, FILES, NO_RETRY, TYPES, engine_of

STATUS = Path("/proc/self/status")


def growth(_: int, url: str, count: int) -> list[int]:
    """Send each type of request `count` times to the bank at `url`, and say after each round how many bytes it took.

    That is how much more memory the process has ever had than it had after a first round, which goes well.
    """
    with tempfile.TemporaryDirectory() as folder:
        files = OnlyHere(write(Path(folder), FILES), {"bank": url})
        engine = engine_of(files, Dispatcher(), Clock(pause=lambda _: NO_RETRY))
        for type, name in TYPES.items():
            engine.send(name, DATA[type])
        before, found = _bytes("VmRSS"), []
        for _ in range(count):
            for type, name in TYPES.items():
                try:
                    engine.send(name, DATA[type])
                except UnknownOutcome:
                    continue
                raise AssertionError(f"{name} was taken for a success")
            found.append(_bytes("VmHWM") - before)
        return found


def _bytes(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", STATUS.read_text("ascii"), re.MULTILINE)
    assert found
    return int(found[1]) << 10
