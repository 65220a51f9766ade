"""What only this installation may read or have written: sealed values in the store, signed tokens in a page.

Hides: the two libraries, what is wrong with their defaults, and how keys are replaced: in a list of keys the first one
is used, the others are still accepted.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from itsdangerous import BadData, SignatureExpired, TimestampSigner, URLSafeTimedSerializer
from itsdangerous.encoding import base64_decode, base64_encode

from engine.errors import SettingError, SignatureError

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

ENCRYPTION_KEY = "CALLSHEET_ENCRYPTION_KEY"
SECRET_KEY = "CALLSHEET_SECRET_KEY"  # noqa: S105  # the name of the setting
KEY_MINIMUM = 32  # bytes
MAKE_ONE = 'make one: python -c "from engine.seals import new_key; print(new_key())"'
SEALED = "(sealed)"  # what is shown of a sealed value

_MARK = "sealed:"
_SEALED = re.compile(rf"{_MARK}gAAAA[\w=-]+", re.ASCII)  # every token of the library begins so
_AS_JSON = "\0"  # begins what is sealed as JSON, because it is no text, or a text that begins so


def new_key() -> str:
    """A fresh random key, fit for both settings."""
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


def is_sealed(value: object) -> bool:
    """Whether `value` is the text that `Sealer.seal` made of another."""
    return isinstance(value, str) and _SEALED.fullmatch(value) is not None


def without_seals(value: Any) -> Any:
    """`value`, a JSON value, with SEALED in the place of everything that is sealed in it."""
    if isinstance(value, Mapping):
        return {name: without_seals(part) for name, part in value.items()}
    if isinstance(value, list):
        return [without_seals(part) for part in value]
    return SEALED if is_sealed(value) else value


class Sealer:
    """Encrypts single values that must be kept and not be read. Raises SettingError for a key that is none."""

    def __init__(self, keys: Sequence[str]) -> None:
        for key in keys:
            try:
                raw = base64.b64decode(key, altchars=b"-_", validate=True)
            except ValueError:
                raw = b""
            if len(raw) != 32:
                raise SettingError(ENCRYPTION_KEY, "is not 32 bytes in URL-safe base64")
        self._keys = tuple(keys)
        self._fernet: MultiFernet | None = None

    def demand_key(self) -> None:
        """Raises SettingError where nothing can be sealed."""
        if not self._keys:
            raise SettingError(ENCRYPTION_KEY, f"is not set, and there is a secret to be kept; {MAKE_ONE}")

    def seal(self, value: Any) -> str:
        """A JSON value, encrypted. Raises SettingError without a key."""
        plain = isinstance(value, str) and not value.startswith(_AS_JSON)
        text: str = value if plain else _AS_JSON + json.dumps(value)
        return _MARK + self._cipher().encrypt(text.encode("utf-8", "surrogatepass")).decode()

    def open(self, sealed: str) -> Any:
        """The value that was sealed. Raises SignatureError where it was changed or the key is gone; SettingError."""
        from cryptography.fernet import InvalidToken

        if not is_sealed(sealed):
            raise SignatureError("the value is not sealed")
        try:
            raw = self._cipher().decrypt(sealed.removeprefix(_MARK))
        except InvalidToken:
            raise SignatureError("the sealed value was changed, or its key is no longer known") from None
        text = raw.decode("utf-8", "surrogatepass")
        return json.loads(text[1:]) if text.startswith(_AS_JSON) else text

    def opened(self, value: Any) -> Any:
        """`value`, opened where it is sealed. Raises as `open` does."""
        return self.open(value) if is_sealed(value) else value

    def _cipher(self) -> MultiFernet:
        # Imported when used: it takes longer than all the rest, and few installations seal anything.
        from cryptography.fernet import Fernet, MultiFernet

        self.demand_key()
        if self._fernet is None:
            self._fernet = MultiFernet([Fernet(key) for key in self._keys])
        return self._fernet


class Tokens:
    """Signs what a browser carries for us; for one `purpose` only. Raises SettingError for a missing or weak key."""

    def __init__(self, keys: Sequence[str], purpose: str, now: Callable[[], float] = time.time) -> None:
        if not keys:
            raise SettingError(SECRET_KEY, f"is not set; {MAKE_ONE}")
        if any(len(key.encode()) < KEY_MINIMUM for key in keys):
            raise SettingError(SECRET_KEY, f"is shorter than {KEY_MINIMUM} bytes")

        class Signer(TimestampSigner):
            def get_timestamp(self) -> int:
                return int(now())

        self._serializer = URLSafeTimedSerializer(
            list(reversed(keys)),  # the library signs with the last
            salt=f"callsheet:{purpose}",
            signer=Signer,
            signer_kwargs={"digest_method": hashlib.sha256, "key_derivation": "hmac"},
        )

    def sign(self, payload: Mapping[str, Any]) -> str:
        """A token of JSON values; they can be read by anybody, and changed by nobody."""
        token = self._serializer.dumps(dict(payload))
        return token if isinstance(token, str) else token.decode()

    def read(self, token: str, max_age: int) -> dict[str, Any]:
        """The payload of a token at most `max_age` seconds old. Raises SignatureError: expired or changed."""
        try:
            payload = self._serializer.loads(token.encode("ascii"), max_age=max_age)
        except SignatureExpired:
            raise SignatureError("the token has expired") from None
        except (BadData, UnicodeEncodeError):
            raise SignatureError("the token was changed, or made elsewhere or for something else") from None
        # Base64 has spare bits, so a signature has several spellings; only the one that was given out is taken.
        signature = token.rpartition(".")[2]
        if base64_encode(base64_decode(signature)).decode() != signature or not isinstance(payload, dict):
            raise SignatureError("the token was changed")
        return payload
