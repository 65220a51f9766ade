"""What a check finds."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

Level = Literal["ok", "warning", "problem"]

MANY = 100  # nothing is counted further


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: `about` what, `said` in one sentence, `where`, and the `remedy`: what to do."""

    level: Level
    about: str
    said: str
    where: str = ""
    remedy: str = ""

    def as_dict(self) -> dict[str, str]:
        """For `--json`."""
        return asdict(self)


def counted(number: int, one: str, many: str) -> str:
    """ "1 call", "3 calls", "100 or more calls"."""
    return f"{number if number < MANY else f'{MANY} or more'} {one if number == 1 else many}"
