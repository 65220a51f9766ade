"""The machine reads in one direction: a module imports only what stands before it."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.catalog import shipped

ROOT = shipped()
README = (ROOT / "README.md").read_text("utf-8")
ORDER = re.findall(r"^\| `(\w+)/?` \|", README.partition("| module |")[2].partition("\n\n")[0], re.MULTILINE)
ONLY = {  # who may import what of others
    "httpx": {"dispatcher"},
    "httptools": {"dispatcher"},
    "flask": {"web", "cli"},
    "click": {"cli"},
    "sqlalchemy": {"store"},
    "alembic": {"store"},
    "yaml": {"yaml_files"},
    "jsonschema": {"schemas"},
    "jinja2": {
        "confined",
        "plain_leaves",
        "template_checks",
        "template_rules",
        "whole_values",
        "templates",
        "code_cache",
        "catalog",
        "forms",
        "reference",
    },
    "cryptography": {"seals"},
    "itsdangerous": {"seals"},
    "dotenv": {"settings"},
    "prometheus_client": {"metrics"},
    "opentelemetry": {"spans"},
    "procrastinate": {"store", "queues"},
    "pytest": {"testing", "cli"},
}


def modules() -> Iterator[tuple[str, Path]]:
    """Every file of the package with the top-level module it belongs to."""
    for path in sorted((ROOT / "engine").rglob("*.py")):
        parts = path.relative_to(ROOT / "engine").parts
        if "_shipped" not in parts:
            yield parts[0].removesuffix(".py"), path


def imports(path: Path) -> Iterator[str]:
    """The modules that a file imports when it runs; what only the type checker reads does not count."""
    tree = ast.parse(path.read_text("utf-8"))
    hidden = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names if node.module == "engine")
        elif isinstance(node, ast.Import):
            yield from (name.name for name in node.names)


def test_the_readme_lists_every_module() -> None:
    """The reading order has each module once."""
    assert sorted(ORDER) == sorted({name for name, _ in modules()} - {"__init__"})


def test_imports_only_point_up() -> None:
    """A module imports only what stands above it in the reading order."""
    place = {name: number for number, name in enumerate(ORDER)}
    wrong = [
        f"{name} imports {used}"
        for name, path in modules()
        for imported in imports(path)
        if imported.startswith("engine.") and name != "__init__"
        for used in [imported.split(".")[1]]
        if used in place and place[used] > place[name]
    ]
    assert wrong == []


@pytest.mark.parametrize("package", ONLY)
def test_a_dependency_is_known_in_one_place(package: str) -> None:
    """Each third-party package is imported by as few modules as possible."""
    users = {name for name, path in modules() if package in {used.split(".")[0] for used in imports(path)}}
    assert users <= ONLY[package]


def test_files_are_small() -> None:
    """No file of the engine is longer than 400 lines, and every one says what it is for."""
    for _, path in modules():
        text = path.read_text("utf-8")
        assert text.count("\n") <= 400, path
        assert ast.get_docstring(ast.parse(text)), path


STARTED = """
import sys
from engine import Engine
from engine.store.memory import MemoryStore

Engine(sys.argv[1], store=MemoryStore(), environment={})
print(*sys.modules)
"""


def test_a_start_imports_what_every_host_needs(tmp_path: Path) -> None:
    """What is used later, or by some hosts only, is imported then: most of a start is imports."""
    command = [sys.executable, "-c", STARTED, str(tmp_path)]
    first, second = (subprocess.run(command, check=True, capture_output=True, text=True) for _ in range(2))
    assert "jsonschema" not in first.stdout.split()  # needed to say what is wrong, and nothing is
    later = {"httpx", "ssl", "h11", "flask", "click", "sqlalchemy", "alembic", "jsonschema", "yaml", "cryptography"}
    later |= {"dotenv", "sqlite3", "concurrent.futures", "importlib.metadata", "engine.forms.markup", "engine.bulk"}
    assert later & set(second.stdout.split()) == set()


LISTS = {
    path.parent: re.findall(
        r"^(?: {4})?(\w+) {2,}\S", ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "", re.MULTILINE
    )
    for _, path in modules()
    if path.name == "__init__.py"
}
LISTING = [folder for folder, listed in LISTS.items() if listed]
assert len(LISTING) > 8


@pytest.mark.parametrize("folder", LISTING, ids=[folder.name for folder in LISTING])
def test_a_package_that_lists_its_modules_lists_each_once(folder: Path) -> None:
    """What its docstring says of them is all that there is."""
    inside = {path.stem for path in folder.glob("*.py")} | {path.parent.name for path in folder.glob("*/__init__.py")}
    assert sorted(LISTS[folder]) == sorted(inside - {"__init__"})
