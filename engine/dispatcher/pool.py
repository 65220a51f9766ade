"""Which line a request takes: the one used last, of those to its gateway.

Hides: how many connections there are. Taking and giving back cost the same however many are open, unlike httpx's pool,
which looks at every connection for every request. The line used last is the likeliest to be still open; the one unused
for longest is closed when its time is up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from engine.dispatcher.outcomes import Trouble

if TYPE_CHECKING:
    from engine.dispatcher.line import Line


class Pool:
    """Lines to one gateway, at most `size` at once. Any number of threads.

    There is no lock around the idle lines: a deque's own operations are atomic, and a lock held at a fork would stay
    locked for ever in the child.
    """

    def __init__(self, size: int, new_line: Callable[[], Line]) -> None:
        self._new_line = new_line
        self._places: SimpleQueue[None] = SimpleQueue()
        for _ in range(size):
            self._places.put(None)
        self._idle: deque[Line] = deque()

    def take(self, seconds: float) -> Line:
        """A line for one exchange, to be given back. Raises Trouble where all are taken for so many seconds."""
        try:
            self._places.get(timeout=max(0.0, seconds))
        except Empty:
            raise Trouble("pool_timeout", "was not called: too many calls to it were under way here") from None
        try:
            return self._idle.pop()
        except IndexError:
            return self._new_line()

    def give(self, line: Line) -> None:
        """Give `line` back, whatever became of it."""
        if line.is_idle:
            self._idle.append(line)
        else:
            line.close()
        self._places.put(None)
        if len(self._idle) > 1:
            self._close_oldest()

    def _close_oldest(self) -> None:
        try:
            oldest = self._idle.popleft()
        except IndexError:
            return
        if oldest.has_expired:
            oldest.close()
        else:
            self._idle.appendleft(oldest)

    def close(self) -> None:
        """Close all idle lines; those under way are closed when they are given back, or kept for the next request."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return
