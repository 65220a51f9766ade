"""One time for all processes of a run: the real one, and the nights that have passed since it began.

Hides: that a process made by a fork sees what another one adds.
"""

from __future__ import annotations

import mmap
import struct
import time
from datetime import UTC, datetime, timedelta

_AHEAD = struct.Struct("d")


class Nights:
    """The time of a run. Made before the first fork."""

    def __init__(self) -> None:
        self._ahead = mmap.mmap(-1, _AHEAD.size)

    def seconds(self) -> float:
        """Seconds since 1970."""
        ahead: float = _AHEAD.unpack(self._ahead[:])[0]
        return time.time() + ahead

    def now(self) -> datetime:
        """The same as an instant."""
        return datetime.fromtimestamp(self.seconds(), UTC)

    def pass_by(self, time: timedelta) -> None:
        """Let time go by for all processes at once."""
        self._ahead[:] = _AHEAD.pack(_AHEAD.unpack(self._ahead[:])[0] + time.total_seconds())
