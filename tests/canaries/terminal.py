"""Every command, with canaries for all that it takes; those that run until they are stopped, in processes of their own.

Hides: which arguments make a command do all that it does. `undriven` says which commands are not here.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import traceback
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import click
from click.testing import CliRunner
from commands import process

from engine.cli import group
from engine.core import Engine

from .gateway import Repeating
from .library import ACCOUNT, NUMBER, PERSON, Outputs
from .values import CARD, HOST, PASSWORD

Lines = Iterator[tuple[str, ...]]
READY = re.compile(r"http://127\.0\.0\.1:[0-9]+")


def commands(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Every command there is, by its path."""
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, (*path, name))
    else:
        yield path


class Terminal:
    """Somebody who types every command there is."""

    def __init__(
        self, root: Path, gateway: Repeating, outputs: Outputs, environment: Mapping[str, str], held: Mapping[str, str]
    ) -> None:
        self.root, self.gateway, self.outputs, self.held = root, gateway, outputs, held
        self.environment = {**environment, "NO_COLOR": "1"}
        self.driven: set[tuple[str, ...]] = set()
        self._known = sorted(commands(group), key=len, reverse=True)
        self._write_files()

    def undriven(self) -> list[str]:
        """The commands that were never typed."""
        return [" ".join(path) for path in self._known if path not in self.driven]

    def drive(self, *, processes: bool = True) -> None:
        """All of it."""
        for line in self._lines():
            self.types(*line)
        for mode in ("refuses", "redirects", "carries out"):
            self.gateway.mode = mode
            for line in self._sends():
                self.types(*line)
        for line in self._wrongly():
            self.types(*line)
        for line in self._words():
            self.types(*line)
        if processes:
            self._serves()

    def types(self, *line: str, typed: str | None = None) -> None:
        """One command line, here; `typed` is what its prompts are answered with."""
        self._note(line)
        given: dict[str, str | None] = {**dict.fromkeys(("CALLSHEET_STORE", "CALLSHEET_MODE")), **self.environment}
        result = CliRunner().invoke(group, ["--root", str(self.root), *line], env=given, input=typed)
        printed = result.output_bytes
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            printed += "".join(traceback.format_exception(result.exception)).encode("utf-8", "surrogateescape")
            self.outputs[f"TRACEBACK of {line[0]}"] = printed
        name = f"callsheet {' '.join(line[:2])}"[:60]
        self.outputs[name] = self.outputs.get(name, b"") + printed

    def _note(self, line: tuple[str, ...]) -> None:
        self.driven |= {path for path in self._known if line[: len(path)] == path}

    def _write_files(self) -> None:
        rows = [
            {"id": f"r{number}", "amount": 5, "note": value} for number, value in enumerate((*self.held.values(), CARD))
        ]
        rows += [{"id": "r_good", "amount": 5}, {"id": HOST["API key"], "amount": 5}, {"id": CARD, "amount": 5}]
        people = [{**PERSON, "id": "p1"}, {**PERSON, "id": "p2", "number": f"x{NUMBER}"}]
        written = {
            "rows.jsonl": "\n".join(map(json.dumps, rows)),
            "people.jsonl": "\n".join(map(json.dumps, people)),
            "data.json": json.dumps({"amount": 5, "more": {**self.held, "card": CARD}}),
            "person.json": json.dumps(PERSON),
            "note.txt": "\n".join((*self.held.values(), CARD)),
            "broken.json": json.dumps({"note": HOST["API key"]})[:-1],
            "broken.yml": f"note: [{HOST['API key']}\n{HOST['key that JSON escapes']}: - x",
        }
        for name, text in written.items():
            (self.root.parent / name).write_text(text, "utf-8")

    def _file(self, name: str) -> str:
        return str(self.root.parent / name)

    def _lines(self) -> Lines:
        """What asks and writes, and sends nothing."""
        yield ("init", self._file("new host"))
        for kind in ("", "request-types", "records", "events", "forms", "gateways"):
            yield tuple(filter(None, ("list", kind)))
        for name in ("acme/pay", "acme/add_person", "acme", "sale", "acme/payment.noted", HOST["API key"]):
            yield "show", name
            yield "show", name, "--json"
        yield "new", "acme/something", "--record", "thing", "--event", "thing.made", "--form"
        yield "new", HOST["API key"]
        for command in (("check",), ("doctor", "--offline"), ("doctor",), ("db", "status"), ("list",)):
            yield command
            yield (*command, "--json")
        yield "db", "upgrade"
        yield "docs", self._file("docs")
        yield "nonsense", HOST["API key"]

    def _sends(self) -> Lines:
        person = ("send", "acme/add_person", "name=Ada", f"number={NUMBER}", f"account[number]={ACCOUNT}")
        for options in (
            (),
            ("--json",),
            ("--dry-run",),
            ("--curl",),
            ("--dry-run", "--json"),
            ("--later",),
            ("--later", "--json"),
        ):
            yield (*person, *options)
            yield "send", "acme/pay_by_password", "amount=5", *options
        yield "send", "acme/get", "id=p1"
        yield "send", "acme/get", "id=p1", "--json"

    def _wrongly(self) -> Lines:
        """What cannot be sent, and what sends many."""
        for canary in (*self.held.values(), CARD):
            yield "send", "acme/pay", "amount=5", f"note={canary}"
            yield "send", "acme/pay", "amount=5", f"more[{canary}]={canary}", "--json"
        for data in ("data.json", "broken.json", "broken.yml", "nowhere.json"):
            yield "send", "acme/pay", "--data", self._file(data)
        yield "send", "acme/pay", "amount=5", f"note=@{self._file('note.txt')}"
        yield "send", "acme/add_person", "--data", self._file("person.json"), "--operation", "ada"
        yield "send", "acme/add_person", "--data", self._file("person.json"), "number=0", "--operation", "ada"
        yield "send", "acme/add_person", "name=Ada", f"number:{NUMBER}", f"friends={NUMBER}"
        yield "send", "acme/pay", "amount=5", "--operation", HOST["API key"]
        yield "send", HOST["API key"], HOST["short key"]
        for rows in ("rows.jsonl", "people.jsonl"):
            type = "acme/pay" if rows == "rows.jsonl" else "acme/add_person"
            for options in (("--dry-run",), (), ("--json",)):
                yield "run", type, self._file(rows), "--key", "id", *options
        yield "webhooks", "register", "https://shop.test/callsheet/webhooks/acme"
        yield "webhooks", "list"
        yield "webhooks", "list", "--json"
        yield "webhooks", "remove", "p1"
        yield "webhooks", "remove", HOST["API key"]

    def _words(self) -> Lines:
        """What looks at what was kept, and settles it."""
        engine = Engine(self.root, environment=self.environment)
        why = ("--reason", f"because of {' and '.join(self.held.values())} and the card {CARD} of mine")
        yield "worker", "--once"
        yield ("recover",)
        for name in ("calls", "events"):
            yield (name,)
            yield name, "--json", "--limit", "1000"
            yield name, "--state", HOST["API key"]
        for type in ("sale", "guest", "webhook_endpoint", HOST["API key"]):
            yield "records", type
            yield "records", type, "--json", "--limit", "1000"
        yield "records", "sale", f"state={HOST['API key']}", f"note={HOST['API key']}"
        calls = engine.find("call", limit=1000)
        states = {call["state"]: call.id for call in calls} | {call["request_type"]: call.id for call in calls}
        for id in (*states.values(), HOST["API key"]):
            yield "calls", id
            yield "calls", id, "--json"
            yield ("lookup", id, *why)
            yield "remap", id
            yield ("resolve", id, "--as", "succeeded", *why)
            yield ("cancel", id, *why)
        events = {event["state"]: event.id for event in engine.find("event", limit=1000)}
        for id in (*events.values(), HOST["API key"]):
            yield "events", id
            yield "events", id, "--json"
            yield ("replay", id, *why)
        yield "remap", "--all"
        yield ("replay", "--type", "payment.spoilt", *why)
        yield "purge", "--older-than", "1d", "--dry-run"
        yield "purge", "--older-than", "1d"
        self.types("console", "password", "bob", typed=f"{PASSWORD}\n{PASSWORD}\n")

    def _serves(self) -> None:
        """`serve`, `sandbox` and `test`, as a shell starts them."""
        for line in (("serve", "--port", "0"), ("sandbox", "acme", "--port", "0")):
            self._note(line)
            with self._process(*line) as running:
                assert running.stdout is not None
                first = ""
                while not (address := READY.search(first)):
                    first += running.stdout.readline() or "http://127.0.0.1:0 it ended"
                self._asks(address[0])
                running.send_signal(signal.SIGINT)
                out, err = running.communicate(timeout=30)
            self.outputs[f"callsheet {line[0]}"] = f"{first}{out}{err}".encode()
        for ending in (("test", str(self.root / "tests/cases")), ("demo", "--exit")):
            self._note(ending)
            running = self._process(*ending)
            out, err = running.communicate(timeout=60)
            assert running.returncode == 0, out + err
            self.outputs[f"callsheet {ending[0]}"] = f"{out}{err}".encode()

    def _process(self, *line: str) -> subprocess.Popen[str]:
        call = "from engine.cli import main; main()"
        return process("-c", call, "--root", str(self.root), *line, cwd=self.root, **self.environment)

    def _asks(self, address: str) -> None:
        for path in (
            "/",
            "/callsheet/",
            f"/callsheet/webhooks/acme?key={HOST['API key']}",
            "/payments",
            "/no/such/page",
        ):
            headers = {"Authorization": f"Bearer {HOST['API key']}", "X-Api-Key": HOST["short key"]}
            for body in (None, json.dumps({"amount": 5, "note": HOST["key like a pattern"]}).encode()):
                asked = urllib.request.Request(address + path, data=body, headers=headers)
                with suppress(urllib.error.HTTPError), urllib.request.urlopen(asked, timeout=10) as answer:
                    answer.read()
