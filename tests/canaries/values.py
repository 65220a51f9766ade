"""The canaries, and every way in which one could be written.

Hides: what is looked for. None of it can stand in a text by chance.
"""

from __future__ import annotations

import base64
import html
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from urllib.parse import quote, quote_plus

import markupsafe

ENCRYPTION_KEY = base64.urlsafe_b64encode(b"a canary's key of 32 bytes, 0001").decode()
FORMER_KEY = base64.urlsafe_b64encode(b"a canary's key of 32 bytes, 0000").decode()

HOST: Mapping[str, str] = {
    "API key": "sk_test_4CanaryHqLyjWDarjtT1zdp7dc",
    "webhook secret": "whsec_9CanaryfedcbaHH9876543210",
    "session key": "Canary-of-the-forms-and-sessions_0123456789+/=",
    "encryption key": ENCRYPTION_KEY,
    "former encryption key": FORMER_KEY,
    "metrics key": "Canary~of~the~metrics~page~0123456789",
    "database password": "p%w/d:Canary@z+7&x=1#?",
    "password with quotes": "p%2B+\"'<Canary>&\\/;=",
    "key that JSON escapes": 'k"9\\u00e9\\n</Canary>',
    "short key": "q~7Z!",
    "key like a pattern": "(Canary+)+$[^x]{2,}|.*?",
    "endpoint's secret": "whsec_CanaryOfTheEndpoint0123456789",
}
"""What a host keeps from everybody."""

OF_A_SERVER = "database password"
TOLD_ONCE = "endpoint's secret"

PERSONAL: Mapping[str, str] = {
    "bank account": "000987650123",
    "social security number": "078-05-1120",
}
"""What a request type marks writeOnly."""

CARD = "4539148803436467"
COOKIE = "Canary8s7d6f5g4h3j2k1-cookie"
PASSWORD = "Canary horse battery staple"

ALL: Mapping[str, str] = {
    **HOST,
    **PERSONAL,
    "card number": CARD,
    "cookie": COOKIE,
    "password of a person": PASSWORD,
}


def held(*, on_a_server: bool) -> dict[str, str]:
    """What a host has from the start, whose store is `on_a_server` or in a file."""
    absent = {TOLD_ONCE, *([] if on_a_server else [OF_A_SERVER])}
    return {name: value for name, value in HOST.items() if name not in absent}


def written(value: str) -> Mapping[str, str]:
    """How → `value` written so."""
    raw = value.encode()
    inside = json.dumps(value)[1:-1]
    forms = {
        "as it is": value,
        "in JSON": inside,
        "in JSON in JSON": json.dumps(inside)[1:-1],
        "in JSON on a page": json.dumps(value)[1:-1].replace("<", "\\u003c").replace(">", "\\u003e"),
        "as Python writes it": repr(value)[1:-1],
        "for a shell": shlex.quote(value).strip("'"),
        "percent": quote(value, safe=""),
        "percent, slashes left": quote(value),
        "percent in small letters": re.sub("%..", lambda found: found[0].lower(), quote(value, safe="")),
        "percent, twice": quote(quote(value, safe=""), safe=""),
        "as a form": quote_plus(value),
        "in HTML": html.escape(value),
        "in HTML as Jinja has it": str(markupsafe.escape(value)),
        "HTML of JSON": html.escape(inside),
        "hexadecimal": raw.hex(),
        "hexadecimal in capitals": raw.hex().upper(),
    }
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        inner = text[-(-shift * 8 // 6) : (len(raw) + shift) * 8 // 6]
        forms[f"base64 after {shift}"] = inner
        forms[f"base64 for a URL after {shift}"] = inner.translate(str.maketrans("+/", "-_"))
    if value == CARD:
        forms["in groups"] = " ".join(re.findall("....", value))
    return forms


_NEEDLES = [(name, how, form.encode()) for name, value in ALL.items() for how, form in written(value).items()]


def seen(output: bytes) -> Iterator[tuple[str, str]]:
    """Every canary that can be read in `output`, and how it is written there."""
    for name, how, needle in _NEEDLES:
        if needle in output:
            yield name, how
