"""Where Chromium is; `python -m tests.browser.chromium` brings one here where there is none, before the tests.

Hides: by which name a system calls it, and whose installer has it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence

SETTING = "CALLSHEET_TEST_CHROMIUM"
NAMES = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome", "chrome")
ARGUMENTS = (
    "--no-sandbox",  # a container's root has no other choice, and every page here is our own
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-sync",
    "--disable-component-update",
    "--disable-background-networking",
    "--no-first-run",
)


class NoBrowserError(Exception):
    """There is no Chromium, and none could be installed."""


def found() -> str | None:
    """The path of a Chromium: the one that CALLSHEET_TEST_CHROMIUM names, or the system's; None is Playwright's own."""
    names = (os.environ[SETTING],) if os.environ.get(SETTING) else NAMES
    return next((path for name in names if (path := shutil.which(name))), None)


def make_ready() -> None:
    """Install a Chromium where there is none. Raises NoBrowserError, which says what was tried and what to do."""
    if found():
        return
    if os.environ.get(SETTING):
        raise _refusal([f"{SETTING} names {os.environ[SETTING]}, which cannot be run"])
    tried = []
    for commands in _installers():
        print(f"installing Chromium: {' '.join(commands[-1])}", flush=True)
        failures = [failure for command in commands if (failure := _failure(command))]
        if not failures:
            return
        tried += failures
    raise _refusal(tried)


def _installers() -> Iterator[Sequence[Sequence[str]]]:
    """The system's where we may use it; Playwright's, which does nothing where it has been before."""
    if shutil.which("apt-get") and os.geteuid() == 0:
        install = ["apt-get", "install", "-y", "-q", "--no-install-recommends"]
        yield ["apt-get", "update", "-q"], [*install, "chromium"]
    yield ([sys.executable, "-m", "playwright", "install", "chromium"],)


def _failure(command: Sequence[str]) -> str | None:
    """What a command said last where it failed."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    last = next((line for line in reversed((done.stdout + done.stderr).splitlines()) if line.strip()), "")
    return f"{' '.join(command)} ended with {done.returncode}: {last}" if done.returncode else None


def _refusal(tried: Sequence[str]) -> NoBrowserError:
    said = "".join(f"\n  {line}" for line in tried)
    return NoBrowserError(f"the tests of the pages need Chromium; install it, or name one in {SETTING}.{said}")


if __name__ == "__main__":
    try:
        make_ready()
    except NoBrowserError as refusal:
        sys.exit(str(refusal))
