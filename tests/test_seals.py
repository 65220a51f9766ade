"""Sealed values and signed tokens: only ours, only whole, only for their purpose, only in their time."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from itsdangerous import URLSafeTimedSerializer

from engine.errors import SettingError, SignatureError
from engine.seals import Sealer, Tokens, is_sealed, new_key

KEY, OLD = new_key(), new_key()
NOW = 1_700_000_000
PAYLOAD: dict[str, Any] = {"name": "stripe/create_payment", "data": {"amount": 500}, "nonce": "n-1"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(), part, max_size=3),
    max_leaves=5,
)


# Sealed values --------------------------------------------------------------------------------------------------------


@settings(max_examples=100)
@given(text=st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_what_is_sealed_can_be_opened_and_not_be_read(text: str) -> None:
    sealed = Sealer([KEY]).seal(text)
    assert sealed.startswith("sealed:")
    assert is_sealed(sealed)
    assert len(text) < 8 or text not in sealed
    assert Sealer([KEY]).open(sealed) == text


def test_the_same_text_is_never_sealed_alike() -> None:
    sealer = Sealer([KEY])
    assert sealer.seal("whsec_1") != sealer.seal("whsec_1")


def test_the_first_key_seals_and_all_open() -> None:
    old = Sealer([OLD]).seal("whsec_1")
    assert Sealer([KEY, OLD]).open(old) == "whsec_1"
    new = Sealer([KEY, OLD]).seal("whsec_1")
    assert Sealer([KEY]).open(new) == "whsec_1"
    for keys, sealed in (([KEY], old), ([OLD], new)):
        with pytest.raises(SignatureError, match="its key is no longer known"):
            Sealer(keys).open(sealed)


def test_nothing_that_was_changed_opens() -> None:
    """The last letter of base64 has spare bits; only they may differ, and they mean nothing."""
    sealer = Sealer([KEY])
    sealed = sealer.seal("whsec_1")
    last = len(sealed.rstrip("=")) - 1
    for at in range(len("sealed:"), len(sealed)):
        changed = f"{sealed[:at]}{'A' if sealed[at] != 'A' else 'B'}{sealed[at + 1 :]}"
        if at == last:
            with contextlib.suppress(SignatureError):
                assert sealer.open(changed) == "whsec_1"
            continue
        with pytest.raises(SignatureError):
            sealer.open(changed)
    for other in ("", "sealed:", "whsec_1", sealed[:-1], "sealed:\ud800", "sealed:é", sealed.removeprefix("sealed:")):
        with pytest.raises(SignatureError):
            sealer.open(other)


@pytest.mark.parametrize("value", ["whsec_1", "", None, 5, b"sealed:a", {"sealed:": 1}])
def test_other_values_are_not_sealed(value: object) -> None:
    assert not is_sealed(value)


MALFORMED = {
    "empty": "",
    "short": KEY[:-4],
    "without its padding": KEY.rstrip("="),
    "long": KEY + "AAAA",
    "with another letter": "!" + KEY[1:],
    "beyond ASCII": "é" * 44,
    "with a new line": KEY + "\n",
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_key_is_refused_and_not_shown(name: str) -> None:
    with pytest.raises(SettingError) as caught:
        Sealer([KEY, MALFORMED[name]])
    assert str(caught.value) == "CALLSHEET_ENCRYPTION_KEY: is not 32 bytes in URL-safe base64"


def test_without_a_key_nothing_is_sealed() -> None:
    sealed = Sealer([KEY]).seal("whsec_1")
    keyless = Sealer([])
    for act in (keyless.demand_key, lambda: keyless.seal("a"), lambda: keyless.open(sealed)):
        with pytest.raises(SettingError, match=r"^CALLSHEET_ENCRYPTION_KEY: is not set"):
            act()
    Sealer([KEY]).demand_key()


# Signed tokens --------------------------------------------------------------------------------------------------------


def tokens(*keys: str, purpose: str = "form", now: int = NOW) -> Tokens:
    return Tokens(keys or (KEY,), purpose, lambda: now)


@settings(max_examples=100)
@given(payload=st.dictionaries(st.text(), JSON, max_size=3))
def test_a_token_brings_its_payload(payload: dict[str, Any]) -> None:
    token = tokens().sign(payload)
    assert token.isascii()
    assert tokens().read(token, 60) == payload


def test_no_change_of_one_bit_is_accepted() -> None:
    """Not even one that leaves the payload as it was."""
    token = tokens().sign(PAYLOAD)
    for bit in range(len(token) * 8):
        changed = bytearray(token.encode())
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(SignatureError):
            tokens().read(changed.decode("latin-1"), 60)
    for other in ("", ".", "..", "a.b.c", token + "=", token + ".", token[:-1], " " + token, "\ud800", "é" * 80):
        with pytest.raises(SignatureError, match="changed"):
            tokens().read(other, 60)


def test_a_token_ends_with_its_time() -> None:
    token = tokens().sign(PAYLOAD)
    assert tokens(now=NOW + 1800).read(token, 1800) == PAYLOAD
    with pytest.raises(SignatureError, match="expired"):
        tokens(now=NOW + 1801).read(token, 1800)
    with pytest.raises(SignatureError, match="expired"):
        tokens(now=NOW - 1).read(token, 1800)


def test_a_token_serves_one_purpose() -> None:
    token = tokens(purpose="form").sign(PAYLOAD)
    for purpose in ("forms", "", "session"):
        with pytest.raises(SignatureError, match="made elsewhere or for something else"):
            tokens(purpose=purpose).read(token, 60)


def test_a_token_of_another_program_with_our_key_is_refused() -> None:
    for salt in ("itsdangerous", "callsheet:form", "cookie-session"):
        theirs = URLSafeTimedSerializer(KEY, salt=salt).dumps(PAYLOAD)
        with pytest.raises(SignatureError):
            Tokens([KEY], "form").read(str(theirs), 60)


def test_a_token_that_holds_no_mapping_is_refused() -> None:
    ours = tokens()
    with pytest.raises(SignatureError):
        ours.read(str(ours._serializer.dumps([1])), 60)


def test_the_first_key_signs_and_all_read() -> None:
    old, new = tokens(OLD).sign(PAYLOAD), tokens(KEY, OLD).sign(PAYLOAD)
    assert tokens(KEY, OLD).read(old, 60) == PAYLOAD
    assert tokens(KEY).read(new, 60) == PAYLOAD
    for keys, token in ((KEY, old), (OLD, new)):
        with pytest.raises(SignatureError):
            tokens(keys).read(token, 60)


@pytest.mark.parametrize(
    ("keys", "said"),
    [([], "is not set"), ([""], "is shorter"), (["k" * 31], "is shorter"), (["k" * 32, "k"], "is shorter")],
)
def test_a_missing_or_weak_key_is_refused(keys: list[str], said: str) -> None:
    with pytest.raises(SettingError, match=f"^CALLSHEET_SECRET_KEY: {said}"):
        Tokens(keys, "form")
