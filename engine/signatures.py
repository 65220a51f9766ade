"""Webhook signatures: who sent this body, and when.

Hides: the ways in which gateways write an HMAC into headers. All of them are one scheme with other settings; a gateway
file names shipped ones, or gives its own:

    header              the header that holds the signature
    signed              what is signed: text around {body}, with {timestamp} and {id} where the gateway signs them
    digest              sha256 (default), sha1, sha384, sha512
    encoding            hex (default) or base64
    prefix              what stands before a signature: "sha256="
    separator           what stands between several values in that header: "," or " "
    timestamp           the header that holds the time
    timestamp_prefix    or what stands before the time among the values of `header`: "t="
    timestamp_encoding  seconds since 1970 (default), milliseconds since then, or iso8601 with a zone
    id                  the header that holds the event's id
    tolerance           how many seconds the time may be off, both ways (300)
    key_encoding        text (default): the secret's own bytes are the key; base64, hex: it stands for 24 to 64 bytes
    key_prefix          what stands before such a secret: "whsec_"
"""

from __future__ import annotations

import base64
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from functools import lru_cache

from engine.errors import SettingError, SignatureError, did_you_mean

HEADER_LIMIT = 4096  # characters
SIGNATURES_LIMIT = 16
SECRET_MINIMUM = 16  # bytes

_ENCODINGS: dict[str, Callable[[bytes], str]] = {
    "hex": bytes.hex,
    "base64": lambda digest: base64.b64encode(digest).decode(),
}
_ID = re.compile(r"[!-\-/-~]{1,256}")  # no dot, which stands between what is signed, and no blank
_TOKEN = re.compile(r"[A-Za-z0-9-]+")
_SECRET = re.compile(r"[!-~]+")
_PLACEHOLDER = re.compile(r"\{[^{}]*\}")


@dataclass(frozen=True, slots=True)
class _TimeEncoding:
    """How a gateway writes a time: what it looks like, and the seconds since 1970 that it is."""

    pattern: re.Pattern[str]
    decode: Callable[[str], float]
    encode: Callable[[float], str]


def _iso8601(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


_TIME_ENCODINGS: dict[str, _TimeEncoding] = {
    "seconds": _TimeEncoding(re.compile(r"[0-9]{1,12}"), int, lambda seconds: str(int(seconds))),
    "milliseconds": _TimeEncoding(
        re.compile(r"[0-9]{1,15}"), lambda text: int(text) / 1000, lambda seconds: str(int(seconds * 1000))
    ),
    "iso8601": _TimeEncoding(
        re.compile(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}(\.[0-9]{1,9})?(Z|[-+][0-9]{2}:[0-9]{2})"),
        lambda text: datetime.fromisoformat(text).timestamp(),
        _iso8601,
    ),
}


CHOICES: Mapping[str, tuple[str, ...]] = {
    "digest": ("sha256", "sha1", "sha384", "sha512"),
    "encoding": tuple(_ENCODINGS),
    "timestamp_encoding": tuple(_TIME_ENCODINGS),
    "key_encoding": ("text", "base64", "hex"),
}
"""The settings that are one of a few words, the first of which is meant where none is given."""


@dataclass(frozen=True, slots=True)
class Scheme:
    """How a gateway signs; the module says what each setting means."""

    header: str
    signed: str
    digest: str = "sha256"
    encoding: str = "hex"
    prefix: str = ""
    separator: str = ""
    timestamp: str = ""
    timestamp_prefix: str = ""
    timestamp_encoding: str = "seconds"
    id: str = ""
    tolerance: int = 300
    key_encoding: str = "text"
    key_prefix: str = ""

    @property
    def is_timed(self) -> bool:
        """Whether an old event can be told from a new one."""
        return "{timestamp}" in self.signed

    @property
    def headers(self) -> tuple[str, ...]:
        """The names of the headers that it is verified by."""
        return tuple(filter(None, (self.header, self.timestamp, self.id)))


SHIPPED: Mapping[str, Scheme] = {
    "stripe": Scheme(
        header="Stripe-Signature",
        signed="{timestamp}.{body}",
        prefix="v1=",
        separator=",",
        timestamp_prefix="t=",
    ),
    "github": Scheme(header="X-Hub-Signature-256", signed="{body}", prefix="sha256="),
    "shopify": Scheme(header="X-Shopify-Hmac-SHA256", signed="{body}", encoding="base64"),
    "slack": Scheme(
        header="X-Slack-Signature",
        signed="v0:{timestamp}:{body}",
        prefix="v0=",
        timestamp="X-Slack-Request-Timestamp",
    ),
    "standard-webhooks": Scheme(
        header="webhook-signature",
        signed="{id}.{timestamp}.{body}",
        encoding="base64",
        prefix="v1,",
        separator=" ",
        timestamp="webhook-timestamp",
        id="webhook-id",
        key_encoding="base64",
        key_prefix="whsec_",
    ),
}


_OFFERED = (
    f"; there are {', '.join(SHIPPED)}, or header, signed and so on of another one;"
    " what nobody signed is taken by a route of your own (README, Webhooks)"
)


def scheme_of(spec: str | Mapping[str, object]) -> Scheme:
    """The scheme a gateway file names or describes. Raises ValueError with a sentence that says what is wrong."""
    if isinstance(spec, str):
        if spec not in SHIPPED:
            raise ValueError(f"there is no webhook scheme {spec!r}{did_you_mean(spec, SHIPPED) or _OFFERED}")
        return SHIPPED[spec]
    kinds = {field.name: int if field.name == "tolerance" else str for field in fields(Scheme)}
    for name, value in spec.items():
        if name not in kinds:
            raise ValueError(f"a webhook scheme has no {name!r}{did_you_mean(name, kinds)}")
        if not isinstance(value, kinds[name]) or isinstance(value, bool):
            raise ValueError(f"{name} of a webhook scheme must be {'a whole number' if kinds[name] is int else 'text'}")
    for name in ("header", "signed"):
        if not spec.get(name):
            raise ValueError(f"a webhook scheme needs {name}")
    scheme = Scheme(**spec)  # type: ignore[arg-type]  # checked just now
    _check(scheme)
    return scheme


def _check(scheme: Scheme) -> None:
    for name, known in CHOICES.items():
        if (value := getattr(scheme, name)) not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}{did_you_mean(value, known)}")
    for name in ("header", "timestamp", "id"):
        if (value := getattr(scheme, name)) and not _TOKEN.fullmatch(value):
            raise ValueError(f"{name} must be the name of a header, not {value!r}")
    if scheme.timestamp and scheme.timestamp_prefix:
        raise ValueError("the time stands in one place: give timestamp or timestamp_prefix, not both")
    if scheme.timestamp_prefix and not scheme.separator:
        raise ValueError("timestamp_prefix needs a separator, for the header then holds several values")
    if not 1 <= scheme.tolerance <= 3600:
        raise ValueError("tolerance must be 1 to 3600 seconds")
    _check_signed(scheme)


_GIVEN_BY = {"{timestamp}": "timestamp or timestamp_prefix", "{id}": "id"}


def _check_signed(scheme: Scheme) -> None:
    known = {"{body}": True, "{timestamp}": bool(scheme.timestamp or scheme.timestamp_prefix), "{id}": bool(scheme.id)}
    used = _PLACEHOLDER.findall(scheme.signed)
    for placeholder in used:
        if placeholder not in known:
            raise ValueError(f"signed knows {', '.join(known)}, not {placeholder}{did_you_mean(placeholder, known)}")
    for placeholder, is_given in known.items():
        if is_given and used.count(placeholder) != 1:
            raise ValueError(f"signed must hold {placeholder} once: what is not signed proves nothing")
        if not is_given and placeholder in used:
            raise ValueError(f"signed holds {placeholder}, but no {_GIVEN_BY[placeholder]} says where it stands")


# Verifying ------------------------------------------------------------------------------------------------------------


def verify(scheme: Scheme, secrets: Sequence[bytes | str], headers: Mapping[str, str], body: bytes, now: float) -> None:
    """Return if one of `secrets` signed exactly this `body`, and not too long before or after `now` (epoch seconds).

    A secret is text as the gateway shows it, or the key's own bytes. Raises SignatureError and nothing else.
    """
    values = _values(scheme, headers)
    signatures = [value.removeprefix(scheme.prefix) for value in values if value.startswith(scheme.prefix)]
    if not 1 <= len(signatures) <= SIGNATURES_LIMIT:
        raise SignatureError(f"{scheme.header} holds {len(signatures)} signatures")
    timestamp, event_id = _timestamp(scheme, headers, values), _id(scheme, headers)
    message = _message(scheme, timestamp, event_id, body)
    if not secrets:
        raise SignatureError("no secret is known that could have signed it")
    match = False
    for key in [_key(scheme, secret) for secret in secrets]:
        expected = _digest(scheme, key, message).encode()
        for signature in signatures:
            # Text against text: a signature has one spelling. Every pair is compared, so time tells nothing.
            match |= hmac.compare_digest(expected, signature.encode("utf-8", "backslashreplace"))
    if not match:
        raise SignatureError("no signature fits the body: it was changed, or signed with another secret")
    if timestamp and abs(age := now - _seconds(scheme, timestamp)) > scheme.tolerance:
        raise SignatureError(f"was signed {age:.0f} s ago, and {scheme.tolerance} s are tolerated")


def _header(headers: Mapping[str, str], name: str) -> str:
    wanted = name.lower()
    found = [value for key, value in headers.items() if isinstance(key, str) and key.lower() == wanted]
    if len(found) != 1 or not isinstance(found[0], str) or not 1 <= len(found[0]) <= HEADER_LIMIT:
        raise SignatureError(f"{name} is missing, doubled or too long")
    return found[0]


def _values(scheme: Scheme, headers: Mapping[str, str]) -> list[str]:
    header = _header(headers, scheme.header)
    values = header.split(scheme.separator) if scheme.separator else [header]
    if not all(values):
        raise SignatureError(f"{scheme.header} holds an empty value")
    return values


def _timestamp(scheme: Scheme, headers: Mapping[str, str], values: Sequence[str]) -> str:
    """The time's own digits: written otherwise they would be other signed bytes. Empty where the scheme has no time."""
    if scheme.timestamp:
        found = [_header(headers, scheme.timestamp)]
    elif scheme.timestamp_prefix:
        before = scheme.timestamp_prefix
        found = [value.removeprefix(before) for value in values if value.startswith(before)]
    else:
        return ""
    if len(found) != 1 or not _TIME_ENCODINGS[scheme.timestamp_encoding].pattern.fullmatch(found[0]):
        raise SignatureError(f"the time is missing, doubled or not in {scheme.timestamp_encoding}")
    return found[0]


def _seconds(scheme: Scheme, timestamp: str) -> float:
    try:
        return _TIME_ENCODINGS[scheme.timestamp_encoding].decode(timestamp)
    except ValueError:
        raise SignatureError(f"the time {timestamp} is none") from None


def _id(scheme: Scheme, headers: Mapping[str, str]) -> str:
    if not scheme.id:
        return ""
    value = _header(headers, scheme.id)
    if not _ID.fullmatch(value):
        raise SignatureError(f"{scheme.id} is not an id")
    return value


def _message(scheme: Scheme, timestamp: str, event_id: str, body: bytes) -> bytes:
    before, _, after = scheme.signed.partition("{body}")
    return _filled(before, timestamp, event_id) + body + _filled(after, timestamp, event_id)


def _filled(text: str, timestamp: str, event_id: str) -> bytes:
    return text.replace("{timestamp}", timestamp).replace("{id}", event_id).encode()


def _digest(scheme: Scheme, key: bytes, message: bytes) -> str:
    return _ENCODINGS[scheme.encoding](hmac.digest(key, message, scheme.digest))


def _key(scheme: Scheme, secret: bytes | str) -> bytes:
    """The bytes a secret stands for. Raises SignatureError for one that is none: an empty one anybody knows."""
    key = secret if isinstance(secret, bytes) else _decoded(secret, scheme.key_encoding, scheme.key_prefix)
    if len(key) < SECRET_MINIMUM:
        raise SignatureError(f"a secret known here is shorter than {SECRET_MINIMUM} bytes")
    return key


@lru_cache(maxsize=64)
def _decoded(secret: str, encoding: str, prefix: str) -> bytes:
    if problem := _problem(secret):
        raise SignatureError(f"a secret known here {problem}")
    if encoding == "text":
        return secret.encode()
    text = secret.removeprefix(prefix).rstrip("=")  # some gateways leave the padding out
    try:
        padded = text + "=" * (-len(text) % 4)
        key = bytes.fromhex(text) if encoding == "hex" else base64.b64decode(padded, validate=True)
    except ValueError:
        key = b""
    if not 24 <= len(key) <= 64:
        raise SignatureError(f"a secret known here is not 24 to 64 bytes in {encoding}")
    return key


# Secrets --------------------------------------------------------------------------------------------------------------


def check_secret(name: str, value: str) -> None:
    """Raises SettingError, without the value, where `value` is no secret that a webhook could be verified with."""
    if problem := _problem(value):
        raise SettingError(name, problem)


def _problem(secret: str) -> str | None:
    if not _SECRET.fullmatch(secret):
        return "holds white space or characters that no secret has; copy it again" if secret.strip() else "is empty"
    if len(secret) < SECRET_MINIMUM:
        return f"is shorter than {SECRET_MINIMUM} bytes"
    return None


# Signing --------------------------------------------------------------------------------------------------------------


def sign(scheme: Scheme, secret: bytes | str, body: bytes, now: float, message_id: str = "msg_1") -> dict[str, str]:
    """The headers a gateway would send with `body` at `now` (epoch seconds): for tests and for a sandbox."""
    timestamp = _TIME_ENCODINGS[scheme.timestamp_encoding].encode(now) if scheme.is_timed else ""
    message = _message(scheme, timestamp, message_id, body)
    value = scheme.prefix + _digest(scheme, _key(scheme, secret), message)
    if scheme.timestamp_prefix:
        value = f"{scheme.timestamp_prefix}{timestamp}{scheme.separator}{value}"
    headers = {scheme.header: value, scheme.timestamp: timestamp, scheme.id: message_id}
    return {name: text for name, text in headers.items() if name}
