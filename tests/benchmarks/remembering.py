"""Memory: what a host with the shipped files takes after many calls, and how much more after many more of them.

Counted is the resident memory of its process, the interpreter and all that it loaded included, as Linux has it.
There is nothing to repeat: memory that comes and goes does not come by chance.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

from .apart import apart
from .calling import host_calling
from .contests import MEGABYTES, Contest, Contestant, Row
from .gateway import gateway

SIZE, GROWTH = 90.0, 2.0  # MB
FIRST = 10_000  # calls


@contextmanager
def remembering(more: int) -> Iterator[Contest]:
    """The contest: FIRST calls, or as many as `more` where those are fewer, and `more` after them."""
    first = min(FIRST, more)
    with gateway() as origin, TemporaryDirectory() as folder, apart(host_calling, origin, folder, first, more) as call:
        size = call()
        growth = call() - size
    rows = [
        Row(f"memory of a host after {first:,} calls", "size", None, SIZE, MEGABYTES),
        Row(f"memory grown over the next {more:,} calls", "growth", None, GROWTH, MEGABYTES),
    ]
    contestants = {"size": Contestant(lambda: size, 1), "growth": Contestant(lambda: growth, 1)}
    yield Contest("remembering", contestants, rows, most=1)
