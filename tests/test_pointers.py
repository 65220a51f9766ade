"""JSON pointers, by the examples of RFC 6901 and what they are used for here."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as some

from engine.pointers import part_at, pointer_to, replaced_at, steps_of

# RFC 6901, 5
DOCUMENT = {"foo": ["bar", "baz"], "": 0, "a/b": 1, "c%d": 2, "e^f": 3, "g|h": 4, "i\\j": 5, 'k"l': 6, " ": 7, "m~n": 8}
PARTS = {"": DOCUMENT, "/foo": ["bar", "baz"], "/foo/0": "bar", "/": 0, "/a~1b": 1, "/c%d": 2, "/e^f": 3, "/g|h": 4}
PARTS |= {"/i\\j": 5, '/k"l': 6, "/ ": 7, "/m~0n": 8}
NOWHERE = ["/bar", "/foo/2", "/foo/-1", "/foo/01", "/foo/-", "/foo/x", "/foo/0/x", "/a~1b/c", "/foo/99999999999"]


@pytest.mark.parametrize("pointer", PARTS)
def test_the_examples_of_the_standard(pointer: str) -> None:
    """Each leads to its part, and is what its steps are written as."""
    assert part_at(DOCUMENT, pointer) == PARTS[pointer]
    assert pointer_to(steps_of(pointer)) == pointer


@pytest.mark.parametrize("pointer", NOWHERE)
def test_what_leads_nowhere(pointer: str) -> None:
    """There is nothing to be found there, and nothing to be replaced."""
    assert part_at(DOCUMENT, pointer) is None
    assert replaced_at(DOCUMENT, pointer, str) == DOCUMENT


def test_a_part_is_replaced_in_a_copy() -> None:
    """The value itself stays as it is."""
    whole = {"list": [{"~": 1}, {"~": 2}]}
    assert replaced_at(whole, "/list/1/~0", lambda part: part + 1) == {"list": [{"~": 1}, {"~": 3}]}
    assert whole == {"list": [{"~": 1}, {"~": 2}]}
    assert replaced_at(whole, "", lambda _: "all of it") == "all of it"


@given(some.lists(some.text()))
def test_every_name_has_its_way_back(names: list[str]) -> None:
    """Whatever a name holds, the steps of its pointer are the name again."""
    assert steps_of(pointer_to(names)) == names
