"""`python -m tests`: every test. The bulk on two processes, and so those that need a browser, which is installed where
it is missing; then, one by one, those that watch a clock or kill.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

SERIAL = "deadline or chaos"
PASSES = (
    ("the bulk, on two processes", ["-n", "2", "-m", f"not ({SERIAL} or browser)"]),
    ("pages in two browsers", ["-n", "2", "-m", "browser"]),
    ("what watches a clock, or kills, one after the other", ["-m", SERIAL]),
)


def main(arguments: list[str]) -> int:
    """Run all passes with pytest's own `arguments` added; the first exit code that is not 0, else 0."""
    root = Path(__file__).resolve().parent.parent
    browser = subprocess.run([sys.executable, "-m", "tests.browser.chromium"], cwd=root, check=False)
    if browser.returncode:
        return browser.returncode
    # A job that a shell runs in the background ignores Ctrl-C, and so would all that it starts.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    codes = []
    for title, options in PASSES:
        print(f"\n== {title}", flush=True)
        done = subprocess.run([sys.executable, "-m", "pytest", "-q", *options, *arguments], cwd=root, check=False)
        codes.append(0 if done.returncode == 5 and arguments else done.returncode)  # a chosen test is in one pass only
    return next((code for code in codes if code), 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
