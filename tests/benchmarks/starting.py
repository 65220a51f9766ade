"""A process from nothing to its first use: importing, and reading and checking every file.

Cold is the first start in a folder, cached is every later one. Each start is a new process, timed from outside. What it
imports has its bytecode, as after any installation.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from engine.catalog import shipped

from .contests import Contest, Contestant, Row

START = """
import sys
from engine import Engine
from engine.store.memory import MemoryStore

Engine(sys.argv[1], store=MemoryStore(), environment={})
"""
LOAD = """
import sys, time
from engine.reloading import Files
from pathlib import Path

start = time.perf_counter()
Files(Path(sys.argv[1]), {}, reload=False)
print(time.perf_counter() - start)
"""
START_WITH_DATABASE = """
import sys
from engine import Engine

Engine(sys.argv[1], environment={}).find("call")
"""
COMMAND = "import sys; sys.argv[0] = 'callsheet'; from engine.cli import main; main()"


@contextmanager
def starting(types: int, most_types: int) -> Iterator[Contest]:
    """The contest: absolute times, for a person waits for these. A large host has so many `types`, the largest `most`.

    The largest shows whether the time grows with their number alone.
    """
    with TemporaryDirectory() as folder:
        python = Python(Path(folder) / "bytecode")
        shipped_files, many, most = (Path(folder) / name for name in ("shipped", "many", "most"))
        shipped_files.mkdir()
        write_many(many, types)
        write_many(most, most_types)
        number = len(list((shipped() / "request_types").glob("*/[!_]*.yml")))
        runs: dict[str, Callable[[], object]] = {
            "bare Python": lambda: python.run("pass"),
            "callsheet --help": lambda: python.run(COMMAND, "--help"),
            "shipped, cold": _cold(python, shipped_files),
            "shipped, cached": lambda: python.run(START, str(shipped_files)),
            "shipped, with database": lambda: python.run(START_WITH_DATABASE, str(shipped_files)),
            "many, cold": _cold(python, many),
            "many, cached": lambda: python.run(START, str(many)),
            "many, each": lambda: python.seconds(LOAD, str(many)) / (number + types),
            "most, each": lambda: python.seconds(LOAD, str(most)) / (number + most_types),
            "many, list": lambda: python.run(COMMAND, "--root", str(many), "list"),
            "many, docs": lambda: python.run(COMMAND, "--root", str(many), "docs"),
        }
        rows = [
            Row("start: bare Python, which all of these include", "bare Python"),
            Row("start: callsheet --help", "callsheet --help", goal=0.2),
            Row(f"start: import and load {number} shipped types, cold", "shipped, cold", goal=0.8),
            Row(f"start: import and load {number} shipped types, cached", "shipped, cached", goal=0.4),
            Row("start: the same, and look into SQLite", "shipped, with database"),
            Row(f"start: import and load {types} more types, cold", "many, cold", goal=1.5),
            Row(f"start: import and load {types} more types, cached", "many, cached", goal=0.5),
            Row(f"start: load one of {most_types} types, cached, / of {types}", "most, each", "many, each", goal=1.2),
            Row(f"list: {types} more types", "many, list"),
            Row(f"docs: write the reference of {types} more types", "many, docs", goal=6.0),
        ]
        yield Contest("starting", {name: Contestant(run, 1) for name, run in runs.items()}, rows, most=5)


class Python:
    """Python in processes of their own. `bytecode` is the folder where that of all modules is kept."""

    def __init__(self, bytecode: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        self._environment = {**kept, "PYTHONPYCACHEPREFIX": str(bytecode)}

    def run(self, code: str, *arguments: str) -> str:
        """What `code` prints."""
        command = [sys.executable, "-c", code, *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True, env=self._environment).stdout

    def seconds(self, code: str, *arguments: str) -> float:
        """The time that `code` prints."""
        return float(self.run(code, *arguments))


def _cold(python: Python, root: Path) -> Callable[[], None]:
    """A start that finds nothing kept from an earlier one, and leaves something for those that do."""
    kept = root / ".callsheet"

    def start() -> None:
        for file in sorted(kept.glob("**/*"), reverse=True):
            file.rmdir() if file.is_dir() else file.unlink()
        python.run(START, str(root))

    return start


def write_many(root: Path, number_of_types: int) -> None:
    """A host's folder of request types with a mapper each: one shipped refund, its data under other names."""
    source = shipped()
    types, mappers = root / "request_types" / "acme", root / "response_mappers" / "acme"
    for folder in (types, mappers):
        folder.mkdir(parents=True)
    request = (source / "request_types/stripe/create_refund.yml").read_text("utf-8")
    mapper = (source / "response_mappers/stripe/create_refund.json.j2").read_text("utf-8")
    gateway = (source / "request_types/stripe/_gateway.yml").read_text("utf-8")
    (types / "_gateway.yml").write_text(re.sub(r"(?m)^webhook:\n(  .*\n)+", "", gateway), "utf-8")
    sending, _, data = request.partition("\ndata:\n")
    for number in range(number_of_types):
        new = rf"\1_{number}"
        used = re.sub(r"(data\.\w+)", new, sending)
        declared = re.sub(r"(?m)^    (\w+)(?=:)|(?<=required: \[)(\w+)", rf"\g<0>_{number}", data)
        (types / f"refund_{number}.yml").write_text(f"{used}\ndata:\n{declared}", "utf-8")
        (mappers / f"refund_{number}.json.j2").write_text(re.sub(r"(data\.\w+)", new, mapper), "utf-8")
