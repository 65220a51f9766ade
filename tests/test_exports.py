"""What a host imports is there, documented, and nothing more."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import engine

MODULES = sorted(path for path in Path(engine.__file__).parent.rglob("*.py") if "_shipped" not in path.parts)


@pytest.mark.parametrize("name", engine.__all__)
def test_every_name_is_there(name: str) -> None:
    """Every public name can be imported and says what it is."""
    assert inspect.getdoc(getattr(engine, name))


def test_the_names() -> None:
    """`dir(engine)` shows the public names; what is not there is an AttributeError that says so."""
    assert set(engine.__all__) <= set(dir(engine))
    assert {"Engine", "EngineError", "Result", "Record"} <= set(engine.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Engin'"):
        engine.Engin  # noqa: B018


def test_every_error_is_public() -> None:
    """Every error that a caller may want to catch is exported, and is an EngineError."""
    from engine import errors

    raised = {name for name, value in vars(errors).items() if isinstance(value, type) and issubclass(value, Exception)}
    assert raised - {"CallError"} <= set(engine.__all__)
    assert all(issubclass(getattr(errors, name), errors.EngineError) for name in raised)


def test_importing_is_cheap() -> None:
    """`import engine` brings neither the HTTP client nor the database, Flask or the schema library."""
    heavy = ["httpx", "sqlalchemy", "flask", "jsonschema", "jinja2", "cryptography", "pytest"]
    code = f"import sys, engine; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(Path(engine.__file__).parent)))
def test_every_module_says_what_it_is(path: Path) -> None:
    """A module begins with what it hides, and stays small."""
    text = path.read_text()
    assert ast.get_docstring(ast.parse(text)), "a module docstring"
    assert len(text.splitlines()) <= 400


def test_one_module_knows_the_http_client() -> None:
    """Only the dispatcher imports httpx; only the engine's host part imports Flask; no core module knows a gateway."""
    root = Path(engine.__file__).parent
    for path in MODULES:
        place, text = path.relative_to(root).parts, path.read_text()
        imported = {
            name.split(".")[0]
            for node in ast.walk(ast.parse(text))
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module or ""]
                if isinstance(node, ast.ImportFrom)
                else []
            )
        }
        if place[0] != "dispatcher":
            assert not imported & {"httpx", "httpcore"}, path
        if place[0] not in {"web", "cli"}:
            assert "flask" not in imported, path


def test_the_types_are_published() -> None:
    """The package says that it is typed."""
    assert (Path(engine.__file__).parent / "py.typed").exists()
