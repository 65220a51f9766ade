"""Card numbers are told apart from other numbers."""

from __future__ import annotations

import json
from typing import Any

import pytest

from engine.card_numbers import card_numbers, may_hold_card_number, without_card_numbers


@pytest.mark.parametrize(
    "number",
    [
        "4242424242424242",
        "4242 4242 4242 4242",
        "4000-0000-0000-0341",
        "5555555555554444",
        "2223003122003222",
        "378282246310005",
        "6011111111111117",
        "3056930009020004",
        "3566002020360505",
        "6200000000000005",
    ],
)
def test_a_card_number_is_refused(number: str) -> None:
    """A number with an issuer's prefix, length and check digit is found wherever it stands, and is not repeated."""
    data = {
        "note": f"my card {number}, thanks",
        "for/~ever": number,
        "list": [{number: 1}],
        "number": int("".join(filter(str.isdigit, number))),
    }
    found = list(card_numbers(data))
    assert [problem.pointer for problem in found] == ["/note", "/for~1~0ever", "/list/0", "/number"]
    assert not any(number in str(problem) for problem in found)


@pytest.mark.parametrize(
    "text", ["4242424242424241", "1234567890123456", "order 42424242", "0" * 16, "9" * 30, "tok_visa", "4222222222222"]
)
def test_other_numbers_pass(text: str) -> None:
    """A wrong check digit, an unknown issuer or another length is no card number."""
    assert list(card_numbers({"note": text})) == []


@pytest.mark.parametrize(
    "id", ["01a22d19-f223-7572-8971-26214d4a4f3a", "5f4242424242424242c1a09b", "a4000000000000341E0d8b2c60aa7c1f1"]
)
def test_an_id_holds_no_card_number(id: str) -> None:
    """Those of calls come back from gateways, which have their own: one that is masked names nothing any more."""
    holding = {"id": id, "url": f"https://api.shop.test/{id.upper()}?a", "note": f"{id} 4242424242424242"}
    assert [problem.pointer for problem in card_numbers(holding)] == ["/note"]
    assert without_card_numbers(holding) == {**holding, "note": f"{id} ***"}
    assert [may_hold_card_number(json.dumps(text)) for text in holding.values()] == [False, False, True]


@pytest.mark.parametrize(
    "text",
    [
        "4242424242424242",
        "card4242424242424242",
        "4242424242424242a",
        "5f4242424242424242c1a09g",
        "4242424242424242abcdefa",
    ],
)
def test_what_is_no_id_is_looked_at(text: str) -> None:
    """A short word, or one with other letters, may be a card number with something glued to it."""
    assert [problem.pointer for problem in card_numbers({"note": text})] == ["/note"]
    for before in ("", "\b", "\f", "\\"):
        assert may_hold_card_number(json.dumps(f"{before}{text}")), before


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("my card 4242 4242 4242 4242, thanks", "my card ***, thanks"),
        ({"note": ["4242-4242-4242-4242"]}, {"note": ["***"]}),
        ({"pay 4242424242424242": 1}, {"pay ***": 1}),
        (
            {"id": "4242424242424242", "number": 4242424242424242},
            {"id": "4242424242424242", "number": 4242424242424242},
        ),
        ("order 4242424242424241", "order 4242424242424241"),
        ("4242 4242 4242 4242 12 30", "*** 12 30"),
        ("2026-11-05 4242424242424242 05.11.2026", "2026-11-05 *** 05.11.2026"),
        ("4242-4242-4242-4242 5555 5555 5555 4444", "*** ***"),
        (None, None),
    ],
)
def test_what_comes_from_outside_is_kept_without_card_numbers(value: object, shown: object) -> None:
    """In a text one is masked; what is nothing but digits may be an id, which must not be lost."""
    assert without_card_numbers(value) == shown


@pytest.mark.parametrize(
    "text", ["4242424242424242", "é4242424242424242", "a\n4242 4242 4242 4242", "3782-822463-10005"]
)
@pytest.mark.parametrize("place", [lambda text: text, lambda text: [{"note": text}], lambda text: {f"x {text}": 1}])
def test_a_quick_look_at_json_misses_none(place: Any, text: str) -> None:
    """However JSON writes it."""
    for in_ascii in (True, False):
        assert may_hold_card_number(json.dumps(place(text), ensure_ascii=in_ascii))


def test_a_quick_look_at_json_passes_over_other_numbers() -> None:
    """An id is none, however many digits it has."""
    assert not may_hold_card_number(json.dumps({"id": "ch_000000000000000000000042", "at": [1767225600, 1767225600]}))
