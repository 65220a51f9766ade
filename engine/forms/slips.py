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
from engine.forms.parts import overlaid
from engine.ids import short_digest
from engine.seals import Tokens


@dataclass(frozen=True, slots=True)
class Slip:
    """One form as its page sealed it.

    `operation` names what is to be done once, however often the form is posted. `data` is the page's, `given` what the
    form file says beside it. `offered` are the parts of the data that a visitor may give, with the rules that narrow
    them; `required` are those of them that must be given. `at` is the path of the host's routes below its `origin`,
    `page` that of the page the form stands on. `owner` is the digest of a session.
    """

    type: str
    operation: str
    owner: str
    data: Mapping[str, Any]
    config: Mapping[str, Any]
    at: str
    page: str
    origin: str = ""
    success: str = ""
    given: Mapping[str, Any] = field(default_factory=dict)
    offered: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    required: Sequence[str] = ()

    def sealed(self, tokens: Tokens, now: float) -> str:
        """The token; it is good for as long as the page said."""
        return tokens.sign({**asdict(self), "until": now + self.config.get("expires", EXPIRES)})

    @property
    def fixed(self) -> dict[str, Any]:
        """All that no visitor can choose."""
        return overlaid(self.given, self.data)

    @property
    def language(self) -> str:
        """The language that the form speaks."""
        return str(self.config["language"])

    def next(self) -> Slip:
        """The form to be shown after a refusal: another operation, the same one however often this one was posted."""
        return replace(self, operation=operation_of(self.operation))


def operation_of(text: str) -> str:
    """The name of a form's operation, the same for the same `text`; it never looks like a card number."""
    return f"form:{short_digest(text)[:32]}"


def owner_of(session: str) -> str:
    """What a slip says of its session."""
    return _digest(f"session:{session}")


def is_owner(session: str, owner: str) -> bool:
    """Whether it is that session's."""
    return bool(session) and hmac.compare_digest(owner, owner_of(session))


def read(tokens: Tokens, token: str, session: str, now: float) -> Slip:
    """The slip in a token. Raises SignatureError."""
    payload = tokens.read(token, LONGEST)
    try:
        until, slip = payload.pop("until"), Slip(**payload)
    except (KeyError, TypeError):
        raise SignatureError("the form was sealed by another version") from None
    if now >= until:
        raise SignatureError("the form has expired")
    if not is_owner(session, slip.owner):
        raise SignatureError("the form belongs to another session")
    return slip


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]
