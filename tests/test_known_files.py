"""What one start found out serves the next, and never hides a fault."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest
from hosts import SHOP, write

from engine import known_files
from engine.catalog import Catalog, load
from engine.errors import DefinitionError
from engine.known_files import KnownFiles, digest

PAY = "request_types/shop/pay.yml"


def _load(root: Path) -> Catalog:
    return load([root], known=root / "known")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write(tmp_path, SHOP)


def test_a_second_start_parses_and_checks_nothing(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = _load(root)

    def parse(text: str, name: str) -> NoReturn:
        raise AssertionError(f"{name} is read again: {text}")

    monkeypatch.setattr(known_files, "read", parse)
    monkeypatch.setattr("engine.catalog.check_changes", parse)
    second = _load(root)
    assert second.request_types.keys() == first.request_types.keys()
    assert [type.schema.document for type in second.request_types.values()] == [
        type.schema.document for type in first.request_types.values()
    ]


def test_marks_and_values_come_back_as_they_were(tmp_path: Path) -> None:
    text = 'a: [1, 2.50, "x", null, true]\nb/~:\n  c: |\n    block\n  d: >\n    folded\n'
    first = KnownFiles(tmp_path / "known")
    fresh = first.parsed("key", text, "a.yml")
    first.keep()
    again = KnownFiles(tmp_path / "known").parsed("key", text, "a.yml")
    assert again == fresh
    assert list(again.value) == list(fresh.value)


def test_a_changed_file_is_looked_at_again(root: Path) -> None:
    _load(root)
    file = root / PAY
    file.write_text(file.read_text("utf-8").replace("summary:", "sumary:"), "utf-8")
    with pytest.raises(DefinitionError, match="sumary"):
        _load(root)
    with pytest.raises(DefinitionError, match="sumary"):
        _load(root)


def test_a_mapper_is_looked_at_again_when_its_record_type_changes(root: Path) -> None:
    _load(root)
    for file in (root / "response_mappers/records").glob("*.yml"):
        file.unlink()
    with pytest.raises(DefinitionError, match="there is no record type"):
        _load(root)


@pytest.mark.parametrize("damage", [lambda _: b"", lambda whole: whole[:40], lambda whole: whole[:-1] + b"\0"])
def test_damage_is_as_good_as_nothing(root: Path, damage: Callable[[bytes], bytes]) -> None:
    whole = _load(root)
    kept = (root / "known").read_bytes()
    (root / "known").write_bytes(damage(kept))
    assert _load(root).request_types.keys() == whole.request_types.keys()
    assert KnownFiles(root / "known").faults(digest("x"), list) == []


def test_what_is_gone_is_forgotten(root: Path) -> None:
    _load(root)
    before = (root / "known").stat().st_size
    for kind in ("request_types", "response_mappers"):
        for file in (root / kind).glob("*/pay_once*"):
            file.unlink()
    _load(root)
    assert (root / "known").stat().st_size < before


def test_a_folder_that_cannot_be_written_is_no_fault(tmp_path: Path) -> None:
    known = KnownFiles(tmp_path / "nowhere" / "known")
    known.parsed("key", "a: 1", "a.yml")
    known.keep()
    assert not (tmp_path / "nowhere").exists()


def test_texts_are_told_apart_by_where_they_end() -> None:
    assert digest("ab", "c") != digest("a", "bc") != digest("abc")
