"""A pytest plugin: case files are tests, and the fixture `callsheet` is an engine that needs no network.

    pytest tests/cases                      runs the cases of a host
    def test_x(callsheet): ...              `callsheet.send(...)` is answered by a sandbox, in memory

The ini option `callsheet_root` names the host's root folder; without it, it is the folder pytest was started for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from engine.cases import CaseRunner
    from engine.core import Engine
    from engine.sandbox import Material

_RUNNER: pytest.StashKey[CaseRunner] = pytest.StashKey()
_MATERIAL: pytest.StashKey[Material] = pytest.StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    parser.addini("callsheet_root", "The folder that holds request_types and the other three.", default=".")


def _root(config: pytest.Config) -> Path:
    return (config.rootpath / str(config.getini("callsheet_root"))).resolve()


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect `cases/KIND/GATEWAY/NAME/CASE.yml`."""
    parts = file_path.parts
    kinds = {"request_types", "webhook_processors"}
    if file_path.suffix == ".yml" and len(parts) > 5 and parts[-5] == "cases" and parts[-4] in kinds:
        collector: pytest.Collector = CaseFile.from_parent(parent, path=file_path)
        return collector
    return None


class CaseFile(pytest.File):
    """One case file."""

    def collect(self) -> Iterator[pytest.Item]:
        """The one test in it, named after its claim."""
        from engine.cases import read_case
        from engine.errors import DefinitionError

        try:
            case = read_case(self.path)
        except DefinitionError as error:
            raise self.CollectError(str(error)) from None
        yield CaseItem.from_parent(self, name=case.told["claim"], case=case)


class CaseItem(pytest.Item):
    """One case."""

    def __init__(self, *, case: Any, **rest: Any) -> None:
        super().__init__(**rest)
        self.case = case

    def runtest(self) -> None:
        """Run the case; raise what differs."""
        from engine.cases import CaseRunner

        stash = self.config.stash
        if _RUNNER not in stash:
            stash[_RUNNER] = CaseRunner(_root(self.config))
        run = stash[_RUNNER].run(self.case)
        if run.differences:
            raise CaseDiffersError(run.differences)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What differs, or what is wrong with a file, without a traceback."""
        from engine.errors import DefinitionError

        if isinstance(excinfo.value, DefinitionError):
            return str(excinfo.value)
        if isinstance(excinfo.value, CaseDiffersError):
            return "\n".join([str(self.path), *excinfo.value.args[0]])
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where the case stands."""
        return self.path, 0, f"{self.case.subject}: {self.name}"


class CaseDiffersError(AssertionError):
    """A case does not hold; its argument is the list of differences."""


@pytest.fixture
def callsheet(request: pytest.FixtureRequest) -> Engine:
    """An engine of the host's files that keeps everything in memory and talks to a sandbox, without a network."""
    from engine.core import Engine
    from engine.sandbox import Material, Sandbox
    from engine.seals import ENCRYPTION_KEY, new_key
    from engine.store.memory import MemoryStore

    root, stash = _root(request.config), request.config.stash
    if _MATERIAL not in stash:
        stash[_MATERIAL] = Material.read(root)
    sandbox = Sandbox(stash[_MATERIAL])
    environment = {**sandbox.secrets, "CALLSHEET_MODE": "test", ENCRYPTION_KEY: new_key()}
    return Engine(root, store=MemoryStore(), dispatcher=sandbox, environment=environment)
