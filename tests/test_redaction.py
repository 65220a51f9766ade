"""Secrets are masked in every form."""

from __future__ import annotations

import base64
import json
import logging
import re
import time
from collections.abc import Callable
from html import escape
from urllib.parse import quote, quote_plus

import markupsafe
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2.utils import htmlsafe_json_dumps

from engine.redaction import MASK, redacted
from engine.settings import Settings

SECRETS = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zs"]), min_size=12, max_size=60)
FORMS: dict[str, Callable[[str], str]] = {
    "plain": lambda secret: secret,
    "json": lambda secret: json.dumps({"key": secret}),
    "json in json": lambda secret: json.dumps(json.dumps({"key": secret})),
    "repr": lambda secret: repr([secret]),
    "json as a page has it": lambda secret: str(htmlsafe_json_dumps(secret)),
    "percent": lambda secret: "a=" + quote(secret, safe=""),
    "percent in small letters": lambda secret: re.sub("%..", lambda found: found[0].lower(), quote(secret, safe="")),
    "percent, but for what a URL may hold": lambda secret: "a=" + quote(secret, safe="!$&'()*,;:@/?"),
    "percent of json": lambda secret: quote(json.dumps(secret), safe=""),
    "twice percent": lambda secret: quote(quote(secret, safe=""), safe=""),
    "html": escape,
    "html as Jinja has it": lambda secret: str(markupsafe.escape(secret)),
    "html of json": lambda secret: escape(json.dumps(secret)),
    "html of html": lambda secret: escape(escape(secret)),
    "form": lambda secret: "a=" + quote_plus(secret),
    "hex": lambda secret: secret.encode().hex(),
    "base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "base64 after one": lambda secret: base64.b64encode(b"u" + secret.encode() + b":tail").decode(),
    "base64 after two": lambda secret: base64.urlsafe_b64encode(b"u:" + secret.encode() + b":").decode(),
}


ODD = (
    "p%2B+\"'<&>\\/;=",
    'k"9\\u00e9\\n</b>',
    "(a+)+$[^x]{2,}|.*?",
    "\\\\\\\\double\\\\",
    "a b c d e f g",
    "%41%42%43%44",
    "8x8888xx8x88",
    "x" * 300,
)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("secret", ODD)
def test_a_secret_of_an_odd_shape_is_masked(form: str, secret: str) -> None:
    """Each of its characters may be escaped in another way; what stands around it stays."""
    shown = redacted(f"before {FORMS[form](secret)} after", frozenset([secret]))
    assert MASK in shown
    assert FORMS[form](secret)[1:-1] not in shown
    assert shown.startswith("before ")
    assert shown.endswith(" after")


@pytest.mark.parametrize("form", FORMS)
@given(secret=SECRETS, before=st.text(max_size=9), after=st.text(max_size=9))
def test_a_secret_is_masked(form: str, secret: str, before: str, after: str) -> None:
    """However a secret is written, what is left of it cannot be read."""
    written = FORMS[form](secret)
    shown = redacted(before + written + after, frozenset([secret]))
    assert MASK in shown
    assert written not in shown.replace(MASK, "")


@pytest.mark.parametrize("secret", ["q~7Z!", "a1b2", "7-7-"])
@pytest.mark.parametrize("form", [name for name in FORMS if "base64" not in name and "hex" not in name])
def test_a_short_secret_is_masked_where_it_looks_like_nothing_else(form: str, secret: str) -> None:
    """Of four to seven characters, and of two kinds; between letters and digits one of both is no secret."""
    assert MASK in redacted(f"line\n{FORMS[form](secret)}", frozenset([secret]))
    assert MASK in redacted(json.dumps(f"key:\n{secret}"), frozenset([secret]))
    assert redacted("za1b2 a1b23 xa1b2x", frozenset(["a1b2"])) == "za1b2 a1b23 xa1b2x"


@pytest.mark.parametrize("word", ["post", "admin", "1234567", "abc"])
def test_a_word_or_a_number_is_too_short_to_be_a_secret(word: str) -> None:
    assert redacted(f'{{"{word}": "{word}"}}', frozenset([word])) == f'{{"{word}": "{word}"}}'


def test_a_json_body_stays_json() -> None:
    """Whatever is masked in it, and however it is escaped."""
    for secret in (*ODD, "q~7Z!"):
        body = json.dumps({"a": f'"{secret}"\n', secret: [secret, escape(secret), quote(secret)], "b": 1})
        found = json.loads(redacted(body, frozenset([secret])))
        assert found["b"] == 1
        assert found["a"] == f'"{MASK}"\n'


def test_no_text_takes_long() -> None:
    """A gateway that knows how secrets are looked for cannot make it take long: it grows with the text only."""
    secrets = frozenset(ODD)
    for hostile in ("\\" * 50_000, "%5c" * 20_000, "(" * 50_000, "a+" * 25_000, "&amp;" * 10_000, '\\"' * 25_000):
        begun = time.monotonic()
        redacted(f"{hostile} a double 41 u00e9 2B", secrets)
        assert time.monotonic() - begun < 5


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
