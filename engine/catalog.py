"""The catalog: every file of every folder, found by its path, read and checked at start.

Hides: where files live and in which order folders are searched. The first folder that has a file of a name wins, so a
host's file replaces a shipped one. All faults of all files are reported together.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any, TypeVar

import jinja2

from engine import cross_checks
from engine.changes import Mapper, check_changes
from engine.confined import documents, structures
from engine.definitions import Look, read_gateway, read_record_type
from engine.errors import DefinitionError, Fault, UnknownNameError, unreadable
from engine.folders import below, text_of, unfit_name
from engine.forms import RESULT, translations
from engine.forms.translations import Translations
from engine.json_texts import iter_documents
from engine.known_files import KnownFiles, digest
from engine.records import RecordType
from engine.request_files import Shared, read_request_type
from engine.request_types import Gateway, RequestType
from engine.template_checks import Names, Source
from engine.templates import Templates
from engine.yaml_files import YamlFile

KINDS = {
    "request_types": ".yml",
    "response_mappers": ".json.j2",
    "webhook_processors": ".json.j2",
    "forms": ".html",
}
MAPPER_NAMES = ("response", "status", "headers", "now", "sent_at", "call_id")
_IN_YAML = {("response_mappers", "records"), ("forms", translations.FOLDER)}
OWN_TYPES = frozenset({"call", "event", "reaction", "replay", "installation", "rate_budget", "worker"})
PROCESSOR_NAMES = ("event", "now", "sent_at")
FRAME = "_form"  # forms/_form.html, which every form stands in

_ANYTHING: Mapping[str, Any] = {"properties": {}, "additionalProperties": True}


def shipped() -> Path:
    """The folder that holds the four shipped folders: inside a wheel, or the checkout of an editable install."""
    package = Path(__file__).parent
    inside = package / "_shipped"
    return inside if inside.is_dir() else package.parent


@dataclass(frozen=True, slots=True, eq=False)
class Catalog:
    """All definitions by name: "stripe/create_refund", "stripe/account.updated", "payment"."""

    gateways: Mapping[str, Gateway] = field(default_factory=dict)
    request_types: Mapping[str, RequestType] = field(default_factory=dict)
    mappers: Mapping[str, Mapper] = field(default_factory=dict)
    processors: Mapping[str, Mapper] = field(default_factory=dict)
    record_types: Mapping[str, RecordType] = field(default_factory=dict)
    forms: Mapping[str, Source] = field(default_factory=dict)
    translations: Translations = field(default_factory=lambda: Translations({}))

    def request_type(self, name: str) -> RequestType:
        """Raises UnknownNameError."""
        return _known("request type", name, self.request_types)

    def record_type(self, name: str) -> RecordType:
        """Raises UnknownNameError."""
        return _known("record type", name, self.record_types)

    def gateway(self, name: str) -> Gateway:
        """Raises UnknownNameError."""
        return _known("gateway", name, self.gateways)


_Definition = TypeVar("_Definition")


def _known(kind: str, name: str, known: Mapping[str, _Definition]) -> _Definition:
    if name not in known:
        raise UnknownNameError(kind, name, known)
    return known[name]


def load(
    folders: Sequence[Path],
    *,
    mode: str = "test",
    base_urls: Mapping[str, str] | None = None,
    cache: jinja2.BytecodeCache | None = None,
    known: Path | None = None,
) -> Catalog:
    """Read and check every file of `folders`, the first of which wins. Raises DefinitionError with all faults.

    `mode` is that of its calls. `base_urls` replaces a gateway's base_url; below that of "*" every other one is found
    by its name. `cache` keeps generated code from start to start, the file `known` what was found out about files.
    """
    with _collector_at_rest():
        return _Loading(folders, mode, base_urls or {}, cache, KnownFiles(known)).catalog()


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """Nearly all that is made here stays; looking for garbage in it again and again takes half the time.

    What a process loads first stays as long as the process, and is not looked at later either, nor at its end.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
        if not gc.get_freeze_count():
            gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


class _Loading:
    """One reading of all files; collects faults as it goes."""

    def __init__(
        self,
        folders: Sequence[Path],
        mode: str,
        base_urls: Mapping[str, str],
        cache: jinja2.BytecodeCache | None,
        known: KnownFiles,
    ) -> None:
        self._mode, self._base_urls, self._known = mode, base_urls, known
        self._faults: list[Fault] = []
        self._unread: dict[str, Fault] = {}
        self._digests: dict[Source, str] = {}
        self._read: dict[str, YamlFile] = {}
        self._depths: dict[str, int] = {}
        self._changes: dict[Source, list[Fault]] = {}
        self._found = {kind: self._find(folders, kind) for kind in KINDS}
        self._form_frame = self._frame(folders)
        self._texts = self._translations(folders)
        loader = jinja2.FunctionLoader(self._template)
        self._templates = Templates(structures(cache), documents(loader, cache), self._fragment)

    def _find(self, folders: Sequence[Path], kind: str) -> dict[str, Source]:
        """Name → source of every file of a kind, the first folder winning."""
        suffix, found = KINDS[kind], dict[str, Source]()
        stands = ((depth, *pair) for depth, folder in enumerate(folders) for pair in below(folder / kind))
        for depth, gateway, file in stands:
            name = f"{gateway}/{file.name}"
            if name in found:
                continue
            shown = f"{kind}/{name}"
            right = ".yml" if (kind, gateway) in _IN_YAML else suffix
            if not file.is_file():
                if name.endswith(right):
                    self._faults.append(Fault(shown, 1, 1, "is no file; write it, or remove it"))
            elif unfit := unfit_name(gateway, file.name):
                self._faults.append(Fault(shown, 1, 1, f"{unfit}; rename it"))
            elif not name.endswith(right):
                self._faults.append(Fault(shown, 1, 1, f"a file of {kind} ends in {right}; rename it"))
            else:
                found[name] = self._source(file.path, shown)
                self._depths[shown] = depth
        for stray in (path.name for folder in folders for path in (folder / kind).glob(f"[!_.]*{suffix}")):
            message = f"stands in no folder; move it to {kind}/GATEWAY/{stray}"
            self._faults.append(Fault(f"{kind}/{stray}", 1, 1, message))
        return found

    def _source(self, path: str, shown: str) -> Source:
        """A file's text; nothing where it cannot be read, for it has its name all the same."""
        try:
            return Source(text_of(path), shown)
        except (OSError, UnicodeDecodeError) as error:
            self._unread[shown] = Fault(shown, 1, 1, unreadable(error))
            return Source("", shown)

    def _frame(self, folders: Sequence[Path]) -> Source:
        shown = f"forms/{FRAME}.html"
        found = next((path for folder in folders if (path := folder / shown).is_file()), shipped() / shown)
        return self._source(str(found), shown)

    def _translations(self, folders: Sequence[Path]) -> Translations | None:
        """The texts of all folders together; None where their files are faulty."""
        files = []
        for folder in dict.fromkeys([*folders, shipped()]):
            for name, source in self._find([folder], "forms").items():
                if name.startswith(f"{translations.FOLDER}/") and (file := self._parsed(source)):
                    files.append((Path(name).stem.replace("_", "-"), file))
        joined = translations.joined(files)
        return self._kept(joined)

    def _template(self, name: str) -> tuple[str, str, Callable[[], bool]] | None:
        """For Jinja: a file of mappers or processors, or a fragment."""
        kind, _, rest = name.partition(":")
        source = self._found.get(kind, {}).get(rest) if rest else self._fragment(name)
        return (source.text, source.file, lambda: True) if source else None

    def _fragment(self, name: str) -> Source | None:
        return self._found["response_mappers"].get(name) if "/_" in name else None

    def catalog(self) -> Catalog:
        """Everything, or DefinitionError."""
        record_types = self._record_types()
        gateways, shared = self._gateways()
        request_types = self._request_types(gateways, shared)
        # A faulty file still has its name: its own faults are enough, and no other file is wrong because of it.
        named = dict.fromkeys((name for name, _ in self._files("request_types", ".yml")), _ANYTHING)
        schemas = named | {name: type.schema.document for name, type in request_types.items()}
        mappers = self._mappers("response_mappers", record_types, schemas)
        processors = self._mappers("webhook_processors", record_types, schemas)
        self._cross_check(gateways, request_types, schemas, mappers, processors)
        forms = self._forms(request_types, record_types)
        self._known.keep()
        if self._faults or self._unread:
            others = (fault for fault in self._faults if fault.file not in self._unread)
            raise DefinitionError([*others, *self._unread.values()])
        texts = self._texts or Translations({})
        return Catalog(gateways, request_types, mappers, processors, record_types, forms, texts)

    def _files(self, kind: str, suffix: str) -> Iterator[tuple[str, Source]]:
        """The files of a kind that stand for themselves, by the name that callers use."""
        for file, source in self._found[kind].items():
            if file.endswith(suffix) and "/_" not in file:
                yield file.removesuffix(suffix), source

    def _parsed(self, source: Source) -> YamlFile | None:
        try:
            return self._known.parsed(self._digest(source), source.text, source.file)
        except DefinitionError as error:
            self._faults += error.faults
            return None

    def _look(self, *sources: Source) -> Look:
        """Look for faults, unless it is known that there are none in these files as they are."""
        return partial(self._known.faults, digest(*map(self._digest, sources)))

    def _digest(self, source: Source) -> str:
        if source not in self._digests:
            self._digests[source] = digest(source.file, source.text)
        return self._digests[source]

    @cached_property
    def _around(self) -> Source:
        """All that a mapper's, a processor's or a form's faults depend on beside its own file."""
        found = [*self._found["request_types"].values(), *self._found["response_mappers"].values(), self._form_frame]
        found += self._found["forms"].values()
        shared = [source for source in found if source.file.endswith(".yml") or "/_" in source.file]
        return Source("", digest(*map(self._digest, shared)))

    def _kept(self, read: _Definition | list[Fault]) -> _Definition | None:
        if isinstance(read, list):
            self._faults += read
            return None
        return read

    def _record_types(self) -> dict[str, RecordType]:
        types = {}
        for path, source in self._files("response_mappers", ".yml"):
            name = path.removeprefix("records/")
            if name in OWN_TYPES:
                message = f"{name} is a record type of the engine; choose another name"
                self._faults.append(Fault(source.file, 1, 1, message))
            file = self._parsed(source)
            if file and (type := self._kept(read_record_type(name, file, self._look(source)))):
                types[name] = type
        return types

    def _gateways(self) -> tuple[dict[str, Gateway], dict[str, Shared]]:
        gateways, shared = {}, {}
        for path, source in self._found["request_types"].items():
            name, _, file_name = path.partition("/")
            if file_name != "_gateway.yml" or not (file := self._parsed(source)):
                continue
            if gateway := self._kept(read_gateway(name, file, self._templates, self._mode, self._look(source))):
                gateways[name] = gateway
                shared[name] = Shared(gateway, file, self._templates, self._mode, self._base_url(name))
        return gateways, shared

    def _base_url(self, gateway: str) -> str | None:
        sandbox = self._base_urls.get("*")
        return self._base_urls.get(gateway) or (f"{sandbox}/{gateway}" if sandbox else None)

    def _request_types(self, gateways: Mapping[str, Gateway], shared: Mapping[str, Shared]) -> dict[str, RequestType]:
        types = {}
        for name, source in self._files("request_types", ".yml"):
            folder = name.partition("/")[0]
            common = f"{folder}/_gateway.yml"
            if folder not in gateways:
                if common not in self._found["request_types"]:
                    message = f"the folder has no _gateway.yml; write request_types/{common} with a base_url"
                    self._faults.append(Fault(source.file, 1, 1, message))
                continue
            if file := self._parsed(source):
                look = self._look(source, self._found["request_types"][common])
                if type := self._kept(read_request_type(name, file, shared[folder], look)):
                    types[name], self._read[name] = type, file
        return types

    def _mappers(
        self, kind: str, types: Mapping[str, RecordType], schemas: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Mapper]:
        mappers = {}
        named = {path.removeprefix("records/"): None for path, _ in self._files("response_mappers", ".yml")}
        for name, source in self._files(kind, ".json.j2"):
            data = schemas.get(name.removesuffix(".declined"))
            names = (
                dict.fromkeys(PROCESSOR_NAMES)
                if kind == "webhook_processors"
                else dict.fromkeys(MAPPER_NAMES) | {"data": data}
            )
            find = partial(self._mapper_faults, source, names, {**named, **types}, schemas)
            self._faults += self._look(source, self._around)(find)
            documents = self._templates.values(f"{kind}:{name}.json.j2", source.file)
            mappers[name] = Mapper(name, source.file, documents, types, partial(self._outline, source))
        return mappers

    def _outline(self, source: Source) -> list[dict[str, Any]]:
        """The changes of a mapper without faults, with null for every expression."""
        parts = self._with_fragments(source)
        return [change for part in parts for change in iter_documents(self._templates.skeleton(part))]

    def _mapper_faults(
        self,
        source: Source,
        names: Names,
        types: Mapping[str, RecordType | None],
        schemas: Mapping[str, Mapping[str, Any]],
    ) -> list[Fault]:
        faults = self._templates.check_document(source, names)
        for part in self._with_fragments(source) if not faults else []:
            if part not in self._changes:
                self._changes[part] = list(check_changes(self._templates.skeleton(part), part, types, schemas))
            faults += self._changes[part]
        return faults

    def _forms(
        self,
        request_types: Mapping[str, RequestType],
        record_types: Mapping[str, RecordType],
    ) -> dict[str, Source]:
        self._faults += self._look(self._form_frame)(self._frame_faults)
        found = dict(self._files("forms", ".html"))
        readers = [name for name, type in request_types.items() if not type.journaled]
        for name, source in found.items():
            if type := request_types.get(name.removesuffix(RESULT)):
                find = partial(self._form_faults, name, found, type, record_types, readers)
                self._faults += self._look(source, self._around)(find)
        return {FRAME: self._form_frame, **found}

    def _frame_faults(self) -> list[Fault]:
        from engine.forms.markup import check_frame

        return check_frame(self._form_frame)

    def _form_faults(
        self,
        name: str,
        found: Mapping[str, Source],
        type: RequestType,
        record_types: Mapping[str, RecordType],
        readers: Sequence[str],
    ) -> list[Fault]:
        from engine.forms.markup import Around, check_form, check_result

        texts = self._texts.keys if self._texts else None
        has_result = f"{type.name}{RESULT}" in found
        around = Around(type.schema.document, type.gateway.settings, record_types, readers, texts, has_result)
        check = check_form if name == type.name else check_result
        return check(found[name], around)

    def _with_fragments(self, source: Source) -> Iterator[Source]:
        yield source
        for name in self._templates.included(source):
            if fragment := self._fragment(name):
                yield from self._with_fragments(fragment)

    def _cross_check(
        self,
        gateways: Mapping[str, Gateway],
        request_types: Mapping[str, RequestType],
        known: Mapping[str, Any],
        mappers: Mapping[str, Mapper],
        processors: Mapping[str, Mapper],
    ) -> None:
        folders = {path.partition("/")[0] for path in self._found["request_types"]}
        self._faults += cross_checks.mapper_faults(mappers, known)
        self._faults += cross_checks.form_faults(dict(self._files("forms", ".html")), known)
        self._faults += cross_checks.processor_faults(processors, gateways, folders, self._depths)
        self._faults += cross_checks.lookup_faults(request_types, self._read, known)
        self._faults += cross_checks.redirect_faults(request_types, self._read)
