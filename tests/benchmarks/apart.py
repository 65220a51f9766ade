"""A contestant in a process of its own, so that the objects of one are no burden to another's collections of garbage.

    python -m tests.benchmarks.apart MODULE FUNCTION [ARGUMENT …]

calls the function for what does the work once. A line on standard input asks for that, and a number is printed: its
seconds, or what it returned where it has measured something itself.
"""

from __future__ import annotations

import importlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def apart(make: Callable[..., Callable[[], object]], *arguments: object) -> Iterator[Callable[[], float]]:
    """What `make(*arguments)` returns, as called in another process. The arguments arrive as texts."""
    command = [sys.executable, "-m", __name__, make.__module__, make.__name__, *map(str, arguments)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        asking, answers = process.stdin, process.stdout
        assert asking
        assert answers

        def run() -> float:
            asking.write("\n")
            return float(answers.readline())

        try:
            yield run
        finally:
            asking.close()


def _serve(module: str, name: str, *arguments: str) -> None:
    run = getattr(importlib.import_module(module), name)(*arguments)
    for _ in sys.stdin:
        start = time.perf_counter()
        result = run()
        print(result if isinstance(result, float) else time.perf_counter() - start, flush=True)


if __name__ == "__main__":
    _serve(*sys.argv[1:])
