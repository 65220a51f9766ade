"""What a page sealed: the slip of paper that a visitor carries from the page to the form's door.

Hides: how it becomes one signed token, and what makes a token unfit: changed, too old, or of another session. It can be
read by whoever holds it, so no secret belongs on it; the session stands there as a digest only.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from engine.errors import SignatureError
from engine.forms.options import EXPIRES, LONGEST
from engine.seals import Tokens


@dataclass(frozen=True, slots=True)
class Slip:
    """One form as its page sealed it.

    `operation` names what is to be done once, however often the form is posted. `offered` are the properties that a
    visitor may give, with the rules that narrow them; `required` are those of them that must be given. `at` is the path
    of the host's routes, `page` that of the page the form stands on. `owner` is the digest of a session.
    """

    type: str
    operation: str
    owner: str
    data: Mapping[str, Any]
    config: Mapping[str, Any]
    at: str
    page: str
    success: str = ""
    offered: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    required: Sequence[str] = ()

    def sealed(self, tokens: Tokens, now: float) -> str:
        """The token; it is good for as long as the page said."""
        return tokens.sign({**asdict(self), "until": now + self.config.get("expires", EXPIRES)})

    def next(self) -> Slip:
        """The form to be shown after a refusal: another operation, the same one however often this one was posted."""
        return replace(self, operation=f"form:{_digest(self.operation)}")


def owner_of(session: str) -> str:
    """What a slip says of its session."""
    return _digest(f"session:{session}")


def read(tokens: Tokens, token: str, session: str, now: float) -> Slip:
    """The slip in a token. Raises SignatureError."""
    payload = tokens.read(token, LONGEST)
    try:
        until, slip = payload.pop("until"), Slip(**payload)
    except (KeyError, TypeError):
        raise SignatureError("the form was sealed by another version") from None
    if now >= until:
        raise SignatureError("the form has expired")
    if not session or not hmac.compare_digest(slip.owner, owner_of(session)):
        raise SignatureError("the form belongs to another session")
    return slip


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
