"""`callsheet console password`: who may enter the console."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from engine.cli import group
from engine.settings import Settings
from engine.web.console.accounts import accounts, checked

PASSWORD = "correct horse battery"


def made(root: Path, *arguments: str, typed: str = PASSWORD) -> Result:
    command = ["--root", str(root), "console", "password", *arguments]
    return CliRunner().invoke(group, command, input=f"{typed}\n{typed}\n")


def test_its_line_lets_somebody_in(tmp_path: Path) -> None:
    """Appended to .env as a shell would do it, once for each person."""
    env = tmp_path / ".env"
    env.write_text("CALLSHEET_MODE=test\n")
    for arguments in (("ann", "--role", "operate"), ("bob",), ("ann",)):
        result = made(tmp_path, *arguments)
        assert result.exit_code == 0, result.output
        assert len(result.stdout.splitlines()) == 1
        assert PASSWORD not in result.output
        env.write_text(env.read_text() + result.stdout)
    known = accounts(Settings(tmp_path, {}))
    assert {name: one.role for name, one in known.items()} == {"ann": "read", "bob": "read"}
    assert checked(known, "bob", PASSWORD) == known["bob"]
    assert checked(known, "bob", "another password") is None


@pytest.mark.parametrize(
    ("arguments", "typed", "said"),
    [
        (["a,b"], PASSWORD, "a name has letters"),
        (["ann"], "short", "at least 12 characters"),
        (["ann", "--role", "admin"], PASSWORD, "'admin' is not one of"),
        ([], PASSWORD, "Missing argument 'NAME'"),
    ],
)
def test_what_cannot_be_a_person_is_refused(tmp_path: Path, arguments: list[str], typed: str, said: str) -> None:
    result = made(tmp_path, *arguments, typed=typed)
    assert result.exit_code == 2
    assert said in result.stderr
    assert result.stdout == ""


def test_a_setting_that_is_broken_is_said_first(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("CALLSHEET_CONSOLE_USERS=ann\n")
    result = made(tmp_path, "bob")
    assert result.exit_code == 2
    assert "says no role of ann" in result.stderr
