"""JSON texts: what is read, and what is refused."""

from __future__ import annotations

import pytest

from engine.json_texts import iter_documents


class TestDocuments:
    def test_values_stand_one_after_the_other(self) -> None:
        assert list(iter_documents(' {"a": 1}\n{"b": [2]} 3 "x" null\n')) == [{"a": 1}, {"b": [2]}, 3, "x", None]
        assert list(iter_documents(" \n ")) == []
        assert list(iter_documents('{}{"a":1}[]')) == [{}, {"a": 1}, []]

    @pytest.mark.parametrize(
        "text", ['{"a": 1', "{'a': 1}", '{"a": 1},{"b": 2}', "nul", '{"a": 1} x', '{"a": NaN}', "-Infinity"]
    )
    def test_what_is_broken(self, text: str) -> None:
        with pytest.raises(ValueError):  # noqa: PT011  # the decoder's own words
            list(iter_documents(text))

    def test_what_is_nested_too_deep(self) -> None:
        """For Python's reader: not a crash, for it is only a text."""
        with pytest.raises(ValueError, match="nested too deep"):
            list(iter_documents("[" * 50_000))

    def test_a_key_said_twice(self) -> None:
        with pytest.raises(ValueError, match="the same key twice"):
            list(iter_documents('{"x": {"a": 1, "a": 2}}'))
