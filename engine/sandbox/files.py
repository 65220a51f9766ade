"""What a `_sandbox.yml` says: how a gateway's stand-in differs from what the gateway's cases show.

    tokens, let        what test tokens stand for; names for all rules
    refusals, steps    how the gateway words a refusal; effects that several routes have
    event, registered  what all events share; which objects are webhook endpoints
    routes             what a request refuses, makes, sets, changes and sends events of
    always, pages      what holds of an object whenever it changes; what a person does at the gateway's own pages

Hides: how its leaves are found, checked and compiled. They are the same confined templates as everywhere else; nothing
of it is compiled before a sandbox asks for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from engine.code_cache import code_cache
from engine.confined import ABSENT, structures
from engine.errors import DefinitionError, Fault, did_you_mean, unreadable
from engine.file_kinds import check_file
from engine.known_files import KnownFiles, digest
from engine.pointers import escaped
from engine.template_checks import Names
from engine.templates import Templates, is_template
from engine.yaml_files import YamlFile

FILE = "_sandbox.yml"
NAMES = ("request", "query", "path", "object", "objects", "lists", "tokens", "fresh", "account", "key", "now", "origin")
REFUSALS: Mapping[str, int] = {
    "unauthorized": 401,
    "missing": 404,
    "invalid": 400,
    "mismatch": 400,
    "in_progress": 409,
    "rate_limited": 429,
    "broken": 500,
}


@dataclass(frozen=True)
class Part:
    """A part of the file at the JSON pointer `pointer`: rendered as a whole, or looked into."""

    value: Any
    pointer: str
    _file: YamlFile
    _templates: Templates | None
    _compiled: dict[str, Callable[[Names], Any]] = field(default_factory=dict)

    @classmethod
    def nothing(cls) -> Part:
        """Of a gateway without such a file."""
        return cls(None, "", YamlFile("", None, {}), None)

    def get(self, *names: str) -> Part:
        """The part below; one whose value is None where there is none."""
        value, pointer = self.value, self.pointer
        for name in names:
            value = value.get(name) if isinstance(value, Mapping) else None
            pointer = f"{pointer}/{escaped(name)}"
        return Part(value, pointer, self._file, self._templates, self._compiled)

    def parts(self) -> dict[str, Part]:
        """The parts of a mapping by name, of a list by number; nothing where there is none."""
        named = self.value if isinstance(self.value, Mapping) else dict(enumerate(self.value or []))
        found = {}
        for name, value in named.items():
            pointer = f"{self.pointer}/{escaped(str(name))}"
            found[str(name)] = Part(value, pointer, self._file, self._templates, self._compiled)
        return found

    def all(self, name: str) -> Iterator[Part]:
        """Every part called `name`, at any depth."""
        for key, part in self.parts().items() if isinstance(self.value, Mapping | list) else ():
            if key == name:
                yield part
            else:
                yield from part.all(name)

    def render(self, names: Names) -> Any:
        """The value with its leaves rendered, what is absent left out; ABSENT where nothing is left."""
        if self.value is None or self._templates is None:
            return ABSENT
        if self.pointer not in self._compiled:
            top = self.pointer
            marks = {
                f"/value{place.removeprefix(top)}": self._file.marks[place]
                for place in self._file.marks
                if f"{place}/".startswith(f"{top}/")
            }
            structure = self._templates.structure({"value": self.value}, marks, f"{self._file.name}#{top}")
            self._compiled[self.pointer] = structure
        return self._compiled[self.pointer](names).get("value", ABSENT)

    def fault(self, message: str) -> Fault:
        """A fault at this part of the file."""
        return self._file.fault(self.pointer, message)

    def holds(self, names: Names) -> bool:
        """Whether the condition holds; no condition does."""
        return self.value is None or bool(self.render(names))


@dataclass(frozen=True)
class SandboxFile:
    """One gateway's `_sandbox.yml`."""

    top: Part

    @property
    def tokens(self) -> Mapping[str, Mapping[str, Any]]:
        """Test tokens, each with what it stands for."""
        tokens: Mapping[str, Mapping[str, Any]] = self.top.get("tokens").value or {}
        return tokens

    @property
    def settings(self) -> Mapping[str, str]:
        """Secrets and settings in sandbox mode, as far as the file names them."""
        settings: Mapping[str, str] = self.top.get("settings").value or {}
        return settings


def read_files(folders: Sequence[Path], root: Path | None) -> dict[str, SandboxFile]:
    """The `_sandbox.yml` of every gateway in `folders`, the first of which wins. Raises DefinitionError.

    What was found out about them is kept in `root` for the next start.
    """
    cache = code_cache(root)
    known = KnownFiles(Path(cache.directory) / "sandbox" if cache else None)
    environment = structures(cache)
    templates = Templates(environment, environment, lambda _: None)
    found: dict[str, SandboxFile] = {}
    faults: list[Fault] = []
    for path in (path for folder in folders for path in sorted((folder / "request_types").glob(f"*/{FILE}"))):
        gateway = path.parent.name
        if gateway in found:
            continue
        try:
            text = path.read_text("utf-8-sig")
            name = f"request_types/{gateway}/{FILE}"
            key = digest(name, text)
            file = known.parsed(key, text, name)
            found[gateway] = SandboxFile(Part(file.value or {}, "", file, templates))
            faults += known.faults(key, partial(_faults, file, templates))
        except DefinitionError as error:
            faults += error.faults
        except (OSError, UnicodeDecodeError) as error:
            faults.append(Fault(f"request_types/{gateway}/{FILE}", 1, 1, unreadable(error)))
    known.keep()
    if faults:
        raise DefinitionError(faults)
    return found


def _faults(file: YamlFile, templates: Templates) -> list[Fault]:
    return check_file(file, "sandbox") or list(_Check(file, templates).faults())


@dataclass(frozen=True)
class _Check:
    """Finds names that are not in reach, and refusals that are not there."""

    file: YamlFile
    templates: Templates

    def faults(self) -> Iterator[Fault]:
        top = self.file.value or {}
        names = dict.fromkeys(NAMES)
        yield from self._let(top.get("let"), "/let", names)
        for name, refusal in top.get("refusals", {}).items():
            known = {**names, "given": None}
            yield from self._leaves(refusal, f"/refusals/{name}", known)
        yield from self._leaves(top.get("event"), "/event", {**names, "event": None})
        yield from self._leaves(top.get("registered", {}).get("endpoint"), "/registered/endpoint", {"object": None})
        for key, route in top.get("routes", {}).items():
            yield from self._route(route, f"/routes/{escaped(key)}", dict(names))
        for key, rule in top.get("always", {}).items():
            inner = dict(names)
            yield from self._let(rule.get("let"), f"/always/{escaped(key)}/let", inner)
            yield from self._leaves(rule["set"], f"/always/{escaped(key)}/set", inner)
        rules = [*top.get("routes", {}).values(), *top.get("pages", {}).values(), *top.get("steps", {}).values()]
        anywhere = [name for rule in rules for part in ("let", "make") for name in rule.get(part, {})]
        for key, step in top.get("steps", {}).items():
            inner = {**names, **dict.fromkeys(anywhere)}
            yield from self._leaves(step.get("when"), f"/steps/{key}/when", inner)
            yield from self._let(step.get("let"), f"/steps/{key}/let", inner)
            yield from self._made(step, f"/steps/{key}", inner)
            yield from self._effects(step, f"/steps/{key}", inner)
        for key, page in top.get("pages", {}).items():
            yield from self._page(page, f"/pages/{escaped(key)}", dict(names))

    def _route(self, route: Mapping[str, Any], pointer: str, names: dict[str, None]) -> Iterator[Fault]:
        yield from self._let(route.get("let"), f"{pointer}/let", names)
        yield from self._refusals(route, "refuse", pointer, names)
        for part in ("like", "items"):
            yield from self._leaves(route.get(part), f"{pointer}/{part}", names)
        yield from self._made(route, pointer, names)
        yield from self._leaves(route.get("set"), f"{pointer}/set", names)
        yield from self._effects(route, pointer, names)
        yield from self._refusals(route, "fails", pointer, names)

    def _refusals(
        self, route: Mapping[str, Any], part: str, pointer: str, names: Mapping[str, None]
    ) -> Iterator[Fault]:
        known = {*REFUSALS, *(self.file.value.get("refusals") or {})}
        for number, refusal in enumerate(route.get(part, [])):
            at = f"{pointer}/{part}/{number}"
            yield from self._leaves(refusal, at, names)
            if not is_template(refusal["as"]) and refusal["as"] not in known:
                guess = did_you_mean(refusal["as"], known)
                yield self.file.fault(f"{at}/as", f"there is no refusal {refusal['as']!r} in refusals:{guess}")

    def _steps(self, route: Mapping[str, Any], pointer: str, names: dict[str, None]) -> Iterator[Fault]:
        known = self.file.value.get("steps") or {}
        for number, name in enumerate(route.get("do", [])):
            if name not in known:
                guess = did_you_mean(name, known)
                yield self.file.fault(f"{pointer}/do/{number}", f"there is no step {name!r} in steps:{guess}")
            names |= dict.fromkeys([*known.get(name, {}).get("let", {}), *known.get(name, {}).get("make", {})])

    def _page(self, page: Mapping[str, Any], pointer: str, names: dict[str, None]) -> Iterator[Fault]:
        yield from self._let(page.get("let"), f"{pointer}/let", names)
        for part in ("title", "text"):
            yield from self._leaves(page.get(part), f"{pointer}/{part}", names)
        for number, action in enumerate(page["actions"]):
            at, inner = f"{pointer}/actions/{number}", dict(names)
            yield from self._leaves(action["label"], f"{at}/label", inner)
            yield from self._leaves(action.get("when"), f"{at}/when", inner)
            yield from self._let(action.get("let"), f"{at}/let", inner)
            yield from self._made(action, at, inner)
            yield from self._effects(action, at, inner)
            yield from self._leaves(action["leads_to"], f"{at}/leads_to", inner)

    def _let(self, let: Mapping[str, Any] | None, pointer: str, names: dict[str, None]) -> Iterator[Fault]:
        for name, value in (let or {}).items():
            yield from self._leaves(value, f"{pointer}/{name}", names)
            names[name] = None

    def _made(self, rule: Mapping[str, Any], pointer: str, names: dict[str, None]) -> Iterator[Fault]:
        for name, made in rule.get("make", {}).items():
            yield from self._leaves(made, f"{pointer}/make/{name}", names)
            names[name] = None

    def _effects(self, rule: Mapping[str, Any], pointer: str, names: dict[str, None]) -> Iterator[Fault]:
        """What is wrong with `do`, `change` and `events`, which come after what was made."""
        yield from self._steps(rule, pointer, names)
        yield from self._leaves(rule.get("change"), f"{pointer}/change", names)
        yield from self._leaves(rule.get("events"), f"{pointer}/events", {**names, "event": None})

    def _leaves(self, value: Any, pointer: str, names: Names) -> Iterator[Fault]:
        return self.templates.check_structure(self.file.name, value, self.file.marks, pointer, names)
