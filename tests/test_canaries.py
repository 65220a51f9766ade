"""No secret, card number or marked value can be read in what comes out; where nothing hides them, all can."""

from __future__ import annotations

import base64
import io
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from canaries.files import a_host, alone, environment
from canaries.gateway import MODES, repeating
from canaries.library import Library, Outputs
from canaries.pages import Pages
from canaries.terminal import Terminal
from canaries.values import ALL, HOST, OF_A_SERVER, held, seen

from engine.seals import Sealer, Tokens
from engine.store.sql import SqlStore
from engine.store.tables import METADATA

SOME = ("carries out", "refuses", "garbles")

pytestmark = [
    pytest.mark.deadline,  # every command is started, and each has so long to answer
    pytest.mark.timeout(400),  # the first test waits for all of them
]


@dataclass
class Driven:
    """What came out, and what was left out."""

    outputs: Outputs = field(default_factory=dict)
    undriven: list[str] = field(default_factory=list)
    unasked: list[str] = field(default_factory=list)

    def seen(self) -> dict[str, list[tuple[str, str]]]:
        """Output → the canaries in it, and how they are written there."""
        found = {name: list(seen(output)) for name, output in self.outputs.items()}
        return {name: canaries for name, canaries in found.items() if canaries}


@contextmanager
def logged(outputs: Outputs) -> Iterator[None]:
    """Everything that anything logs, down to what only somebody who debugs asks for."""
    kept, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(kept), root.level
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        outputs["the log"] = kept.getvalue().encode("utf-8", "surrogateescape")


def files_of(folder: Path, outputs: Outputs) -> None:
    """Every file that was written: the database with its journal, and what commands make."""
    for path in folder.rglob("*"):
        if path.is_file() and path.parent != folder:  # what stands in the folder itself was typed
            outputs[f"file {path.relative_to(folder)}"] = path.read_bytes()


@pytest.fixture(scope="module", autouse=True)
def only_the_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        alone(patch, tmp_path_factory.mktemp("shipped"))
        yield


@pytest.fixture(scope="module")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Driven:
    """A host with its store in a file, driven through everything there is."""
    folder = tmp_path_factory.mktemp("canaries")
    root, done, known = a_host(folder / "host"), Driven(), held(on_a_server=False)
    with logged(done.outputs), repeating(known) as gateway:
        library = Library(root, gateway, done.outputs)
        library.drive()
        pages = Pages(library.engine, done.outputs, known)
        pages.drive()
        terminal = Terminal(root, gateway, done.outputs, environment(gateway.url), known)
        terminal.drive()
    done.unasked, done.undriven = pages.unasked(), terminal.undriven()
    files_of(folder, done.outputs)
    return done


def test_nothing_is_seen(driven: Driven) -> None:
    """In no output, error, log, page, file or row, in no encoding, of any of the secrets."""
    assert {"the log", "file host/callsheet.sqlite3"} <= set(driven.outputs)
    assert driven.seen() == {}


def test_every_command_is_typed(driven: Driven) -> None:
    """A new command cannot be forgotten here."""
    assert driven.undriven == []


def test_every_route_is_asked_for(driven: Driven) -> None:
    """Nor can a new page."""
    assert driven.unasked == []


def test_no_command_ends_in_a_traceback(driven: Driven) -> None:
    assert [name for name in driven.outputs if name.startswith("TRACEBACK")] == []


def test_nothing_is_seen_in_a_database_server(databases: Any, tmp_path: Path) -> None:
    """Every row of every table on PostgreSQL, whose own password is a canary, too."""
    url = databases.new().replace("://postgres@", f"://postgres:{quote(HOST[OF_A_SERVER], safe='')}@")
    done, store = Driven(), SqlStore(url)
    with logged(done.outputs), repeating(held(on_a_server=True)) as gateway:
        Library(a_host(tmp_path / "host"), gateway, done.outputs, store).drive(SOME)
        store.close()
    with psycopg.connect(url) as connection:
        for table in METADATA.tables:
            rows = connection.execute(f"SELECT to_jsonb(kept)::text FROM {table} AS kept".encode()).fetchall()
            done.outputs[table] = "\n".join(row[0] for row in rows).encode()
    files_of(tmp_path, done.outputs)
    assert len(done.outputs["callsheet_call"]) > 100_000
    assert done.seen() == {}


# The control ----------------------------------------------------------------------------------------------------------


def _unhidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """Switch everything off that hides anything."""

    def signed(_: Tokens, payload: Mapping[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(dict(payload)).encode()).decode()

    off = {
        "engine.settings.redacted": lambda text, _: text,
        "engine.settings.without_card_numbers": lambda value: value,
        "engine.answers.may_hold_card_number": lambda _: False,
        "engine.planning._what_must_not_be_kept": lambda *_: [],
        "engine.schemas.marks": lambda _: False,
        "engine.dispatcher._UNKEPT": frozenset(),
        "engine.store.sql._safe": lambda url: url.render_as_string(hide_password=False),
        "engine.forms.slips._digest": lambda text: text,
        "engine.web.console.accounts.generate_password_hash": lambda password: password,
    }
    for name, function in off.items():
        monkeypatch.setattr(name, function)
    monkeypatch.setattr(Sealer, "seal", lambda _, value: json.dumps(value))
    monkeypatch.setattr(Sealer, "open", lambda _, sealed: json.loads(sealed))
    monkeypatch.setattr(Tokens, "sign", signed)


def test_without_redaction_everything_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same scan of the same things finds each canary where nothing hides it; so it would find one."""
    _unhidden(monkeypatch)
    root, done, known = a_host(tmp_path / "host"), Driven(), held(on_a_server=False)
    with logged(done.outputs), repeating(known) as gateway:
        library = Library(root, gateway, done.outputs)
        library.drive(MODES[:1])
        Pages(library.engine, done.outputs, known).asks("GET", "/page")
        terminal = Terminal(root, gateway, done.outputs, environment(gateway.url), known)
        for line in (("calls", "--json"), ("send", "acme/add_person", "number=1", "--json")):
            terminal.types(*line)
        terminal.types("console", "password", "bob", typed="Canary horse battery staple\n" * 2)
    files_of(tmp_path, done.outputs)
    found = done.seen()
    assert {canary for canaries in found.values() for canary, _ in canaries} == set(ALL)
    for place in (
        "the log",
        "file host/callsheet.sqlite3",
        "operation",
        "register",
        "GET /page",
        "callsheet calls --json",
    ):
        assert place in found, place
