"""Values: equal by their parts, and changed by nobody."""

from __future__ import annotations

from dataclasses import field, replace

import pytest

from engine.values import unchanging


@unchanging
class _Sum:
    amount: int
    currency: str = "usd"
    notes: list[str] = field(default_factory=list, repr=False, hash=False)


def test_a_value_is_its_parts() -> None:
    """Equal parts make equal values, and another part another value."""
    one = _Sum(5)
    assert one == _Sum(5, "usd", [])
    assert len({one, _Sum(5), replace(one, currency="eur")}) == 2
    assert str(one) == "_Sum(amount=5, currency='usd')"


def test_a_value_has_no_other_parts() -> None:
    """And mypy, without which the ignored lines would be faults of their own, lets nobody set those that it has."""
    one = _Sum(5)
    with pytest.raises(AttributeError):
        one.amonut = 6  # type: ignore[attr-defined]
    one.amount = 6  # type: ignore[misc]
