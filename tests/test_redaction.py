"""Secrets are masked in every form."""

from __future__ import annotations

import base64
import json
import logging
from collections.abc import Callable
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.redaction import MASK, redacted
from engine.settings import Settings

SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs"]), min_size=12, max_size=60)
FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda secret: secret,
    "json": lambda secret: json.dumps({"key": secret}),
    "json in json": lambda secret: json.dumps(json.dumps({"key": secret})),
    "repr": lambda secret: repr([secret]),
    "percent": lambda secret: "a=" + quote(secret, safe=""),
    "form": lambda secret: "a=" + quote_plus(secret),
    "hex": lambda secret: secret.encode().hex(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 after one": lambda secret: base64.b64encode(b"u" + secret.encode() + b":tail").decode(),
    "base64 after two": lambda secret: base64.urlsafe_b64encode(b"u:" + secret.encode() + b":").decode(),
}


@pytest.mark.parametrize("form", FORMS)
@given(secret=SECRETS, before=st.text(max_size=9), after=st.text(max_size=9))
def test_a_secret_is_masked(form: str, secret: str, before: str, after: str) -> None:
    """However a secret is written, what is left of it cannot be read."""
    written = FORMS[form](secret)
    shown = redacted(before + written + after, frozenset([secret]))
    assert MASK in shown
    assert written not in shown.replace(MASK, "")


def test_what_is_no_secret_stays() -> None:
    """Masking changes nothing else, and a text too short to be a secret masks nothing."""
    assert (
        redacted("amount=500&currency=usd", frozenset(["sk_test_4eC39HqLyjWDarjtT1zdp7dc", "usd"]))
        == "amount=500&currency=usd"
    )


def test_the_log_holds_no_secret(caplog: pytest.LogCaptureFixture) -> None:
    """A secret that was handed out is masked in messages, in arguments and in tracebacks."""
    settings = Settings(None, {"ACME_KEY": "sk_canary_0123456789"})
    log = logging.getLogger("engine")
    secret = settings.secret("ACME_KEY")
    with caplog.at_level(logging.INFO, "engine"):
        log.info("sent with %s", secret)
        try:
            raise RuntimeError(secret)
        except RuntimeError:
            log.exception("failed")
    assert "canary" not in caplog.text
    assert MASK in caplog.text
