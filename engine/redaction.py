"""What must never be seen: secrets, by their value, in every form that a log, a row or a page could give them.

Hides: the encodings a secret can travel in. A letter or a digit is written as itself in all but base64 and hexadecimal;
any other character may be escaped in a dozen ways, each character of one secret in another.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from html.entities import codepoint2name
from typing import Any

MASK = "***"
LONG = 8  # characters; a shorter secret may stand in a text by chance
SHORTEST = 4  # characters; so short a text is masked only where it looks like nothing else

_PART = 48  # characters: by so many Python steps over a text; a longer one it looks for in another way, no quicker

Form = tuple[str, str | re.Pattern[str]]
"""A text without which a form cannot be there, which is quick to look for, and the form; a text is a form itself."""


def redacted(text: str, secrets: frozenset[str]) -> str:
    """`text` with every secret masked, whichever way it is written.

    A secret of less than LONG characters is masked where it holds more than letters, and more than digits; one of
    letters and digits only where none is next to it.
    """
    return _masked(text, _known_forms(secrets))


def hidden(text: str, values: Sequence[str]) -> str:
    """`text` with every one of `values` masked, however short; a short one where no letter or digit is next to it."""
    return _masked(text, _all_forms(value for value in values if value))


def hidden_within(value: Any, values: Sequence[str]) -> Any:
    """A JSON value whose every text and number, keys too, is as `hidden` leaves it."""
    if isinstance(value, Mapping):
        return {hidden(name, values): hidden_within(part, values) for name, part in value.items()}
    if isinstance(value, list):
        return [hidden_within(part, values) for part in value]
    if value is None or isinstance(value, bool):
        return value
    text = value if isinstance(value, str) else json.dumps(value)
    shown = hidden(text, values)
    return value if shown == text else shown


def _masked(text: str, forms: Iterable[Form]) -> str:
    for part, form in forms:
        if part in text:
            text = text.replace(form, MASK) if isinstance(form, str) else form.sub(MASK, text)
    return text


@lru_cache(maxsize=64)
def _known_forms(secrets: frozenset[str]) -> tuple[Form, ...]:
    return tuple(_all_forms(filter(_is_telling, secrets)))


def _is_telling(secret: str) -> bool:
    kinds = {"letter" if char.isalpha() else "digit" if char.isdigit() else "other" for char in secret}
    return len(secret) >= LONG or (len(secret) >= SHORTEST and len(kinds) > 1)


def _all_forms(secrets: Iterable[str]) -> list[Form]:
    """The longest secret first: one may be a part of another."""
    return [form for secret in sorted(secrets, key=len, reverse=True) for form in _forms(secret)]


def _forms(secret: str) -> Iterator[Form]:
    runs = re.findall("[0-9A-Za-z]+", secret)
    yield max(runs, key=len, default="")[:_PART], _pattern(secret)
    raw = secret.encode("utf-8", "surrogatepass")
    for form in dict.fromkeys((raw.hex(), raw.hex().upper(), *_in_base64(raw))):
        if len(form) > SHORTEST:
            yield form[:_PART], form


def _pattern(secret: str) -> re.Pattern[str]:
    """What matches `secret` however its characters are escaped, also twice."""
    parts = _PARTS.findall(secret)
    written = "".join(_backslashes(len(part)) if part[0] == "\\" else _character(part) for part in parts)
    if len(secret) < LONG and secret.isascii() and secret.isalnum():
        # What precedes it may be the end of an escape.
        before = r"(?<![0-9A-Za-z])|(?<=%[0-9A-Fa-f]{2})|(?<=\\[nrt])|(?<=\\u[0-9A-Fa-f]{4})"
        written = f"(?:{before}){written}(?![0-9A-Za-z])"
    return re.compile(written)


_PARTS = re.compile(r"\\+|[^\\]", re.DOTALL)
_BACKSLASH = r"(?i:\\u005c|\\x5c|\\|%(?:25)*5c|&(?:amp;)*#(?:92|x5c);)"

_IN_A_SHELL = f"'{_BACKSLASH}{{0,8}}\"'{_BACKSLASH}{{0,8}}\"'"  # an apostrophe between apostrophes


def _backslashes(number: int) -> str:
    """What matches so many: every escape doubles those of the one before, and what follows may be one of its own."""
    return f"(?:{'|'.join(f'{_BACKSLASH}{{{number * times}}}' for times in (8, 4, 2, 1))})"


@lru_cache(maxsize=512)
def _character(char: str) -> str:
    """What matches one character of a secret; a backslash is none."""
    if char.isascii() and char.isalnum():
        return char
    code = ord(char)
    texts = {char, json.dumps(char)[1:-1], repr(char)[1:-1], f"u{code:04x}", f"x{code:02x}"}
    forms = [f"{_BACKSLASH}{{1,8}}".join(map(re.escape, text.lstrip("\\").split("\\"))) for text in texts]
    forms += ["".join(f"%(?:25)*{byte:02x}" for byte in char.encode("utf-8", "surrogatepass"))]
    names = (name for name in (codepoint2name.get(code), {39: "apos"}.get(code)) if name)
    forms += [f"&(?:amp;)*{entity};" for entity in (f"#0*{code}", f"#x0*{code:x}", *names)]
    forms += [re.escape("+")] * (char == " ") + [_IN_A_SHELL] * (char == "'")
    return f"(?i:{_BACKSLASH}{{0,8}}+(?:{'|'.join(sorted(forms, key=len, reverse=True))}))"


def _in_base64(raw: bytes) -> Iterator[str]:
    """What is the same in every base64 text that holds `raw`, for each of the three places it may begin at."""
    for shift in range(3):
        text = base64.b64encode(b"\0" * shift + raw).decode().rstrip("=")
        inner = text[-(-shift * 8 // 6) : len(raw + b"\0" * shift) * 8 // 6]
        yield inner
        yield inner.replace("+", "-").replace("/", "_")
