"""What became of each row, in a file beside the rows, of the same kind.

Hides: that a run may end at any moment, in the middle of a line too. The journal is the truth; this file only spares
the next run the asking.
"""

from __future__ import annotations

import csv
import fcntl
import io
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from engine.bulk import RowOutcome

COLUMNS = ("line", "key", "outcome", "call", "message", "records", "response", "digest")
_KEY = COLUMNS.index("key")
SETTLED = {"succeeded", "declined"}  # whatever else became of a row, the next run asks again


class Results:
    """The file at `path`, in which a line is as `kind` says, "csv" or "jsonl"; - is the standard output.

    `with_responses`: what was only read is told whole, for nothing else keeps it.
    """

    def __init__(self, path: Path, kind: str, *, with_responses: bool) -> None:
        self.path, self._is_csv, self._with_responses = path, kind == "csv", with_responses
        self._file: IO[str] | None = None

    @property
    def is_standard_output(self) -> bool:
        """Whether nothing is kept."""
        return str(self.path) == "-"

    def demand_own(self, rows: Path) -> None:
        """Refuse a file that an earlier run did not write: this one would take its place. Raises UsageError."""
        if self.is_standard_output or not self.path.exists():
            return
        if rows.exists() and self.path.samefile(rows):
            raise click.UsageError(f"--results {self.path} is the file of the rows; nothing was sent, name another")
        if not self.path.is_file():
            raise click.UsageError(f"--results {self.path} is no file; nothing was sent, name another, or - to see it")
        first = next(self._lines(), "")
        ours = _csv_line(COLUMNS) if self._is_csv else '{"line": '
        if not first.startswith(ours) and not ours.startswith(first):
            said = "is there, and no earlier run wrote it; nothing was sent, move it or name another with --results"
            raise click.UsageError(f"{self.path} {said}")

    def settled(self) -> Iterator[tuple[str, str, str, int]]:
        """The keys of the rows that earlier runs settled, each with the row's digest, its outcome and its line."""
        for line in self._lines():
            if told := self._settled(line):
                yield told

    def begin(self) -> None:
        """Make the file ready for this run: of earlier ones it says what they settled. Raises UsageError."""
        if self.is_standard_output:
            return
        new = self.path.with_name(f".{self.path.name}.new")
        with self._claimed(self.path) if self.path.exists() else nullcontext():
            file = self._file = self._claimed(new, os.O_CREAT)
            try:
                with self._writing():
                    file.truncate()
                    if self._is_csv:
                        file.write(_csv_line(COLUMNS))
                    file.writelines(line for line in self._lines() if self._settled(line))
                    file.flush()
                    new.replace(self.path)
            except click.UsageError:
                self.close()
                new.unlink(missing_ok=True)
                raise

    def _claimed(self, path: Path, flags: int = 0) -> IO[str]:
        """The file, which no other run writes to until it is closed. Raises UsageError."""
        with ExitStack() as opened:
            try:
                file: IO[str] = os.fdopen(os.open(path, os.O_RDWR | flags, 0o600), "r+", **_TEXT)
                opened.enter_context(file)
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                is_alone = os.path.samestat(os.fstat(file.fileno()), path.stat())  # else another took its place since
            except BlockingIOError:
                is_alone = False
            except OSError as error:
                said = f"{self.path} cannot be written: {error.strerror}"
                raise click.UsageError(f"{said}; nothing was sent, name another with --results") from None
            if not is_alone:
                said = f"another run is writing {self.path}"
                raise click.UsageError(f"{said}; nothing was sent, wait for its end or name another with --results")
            opened.pop_all()
            return file

    def write(self, outcome: RowOutcome) -> None:
        """Add what became of a row; the system has it when this returns."""
        line = self._line(self._told(outcome))
        if self._file is None:
            click.echo(line, nl=False)
        else:
            with self._writing():
                self._file.write(line)
                self._file.flush()

    @property
    def is_gone(self) -> bool:
        """Whether somebody took the file away while it was written, or put another in its place."""
        try:
            return self._file is not None and not os.path.samestat(os.fstat(self._file.fileno()), self.path.stat())
        except FileNotFoundError:
            return True

    def close(self) -> None:
        """Close the file. What could not be written was said when it was."""
        if self._file:
            with suppress(OSError):
                self._file.close()

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            said = f"{self.path} cannot be written: {error.strerror}"
            raise click.UsageError(f"{said}; the journal knows every call, and the same command goes on") from None

    def _lines(self) -> Iterator[str]:
        from engine.errors import unreadable

        if not self.is_standard_output and self.path.exists():
            try:
                with self.path.open("r", **_TEXT) as file:
                    yield from file
            except OSError as error:
                raise click.UsageError(f"{self.path} {unreadable(error)}; nothing was sent") from None

    def _settled(self, line: str) -> tuple[str, str, str, int] | None:
        """What `settled` says of a row, if it was; nothing of a line not written to its end."""
        try:
            if not line.endswith("\n"):
                return None
            told = dict(zip(COLUMNS, next(csv.reader([line])), strict=True)) if self._is_csv else json.loads(line)
            key, digest, outcome = str(told["key"]), str(told["digest"]), str(told["outcome"])
            number = int(str(told["line"])[:18])  # what somebody wrote there may be any number
            f"{key}{digest}".encode()
        except (ValueError, KeyError, TypeError, csv.Error, StopIteration):
            return None
        return (key, digest, outcome, number) if key and outcome in SETTLED else None

    def _line(self, told: dict[str, Any]) -> str:
        if not self._is_csv:
            return json.dumps({name: value for name, value in told.items() if value is not None}) + "\n"
        cells = [json.dumps(value) if isinstance(value, dict | list) else value for value in told.values()]
        texts = ["" if cell is None else " ".join(str(cell).splitlines()) for cell in cells]
        if texts[_KEY] != told["key"]:
            texts[_KEY] = ""  # it has several lines, and in one it would be another row's
        return _csv_line(texts)

    def _told(self, outcome: RowOutcome) -> dict[str, Any]:
        from engine.seals import without_seals

        result = outcome.result
        only_read = result and result.call is None and self._with_responses
        values = (
            outcome.number,
            outcome.operation,
            outcome.state,
            outcome.call.id if outcome.call else None,
            outcome.message,
            [f"{record.type} {record.id}" for record in result.records] if result and result.records else None,
            without_seals(result.response) if result and only_read else None,
            outcome.digest,
        )
        return dict(zip(COLUMNS, values, strict=True))


_TEXT: Any = {"encoding": "utf-8", "errors": "backslashreplace", "newline": ""}


def _csv_line(cells: Iterable[str]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(list(cells))
    return text.getvalue()
