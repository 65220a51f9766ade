"""How values become the bytes of a body or a query, as the Content-Type says.

Hides: the four encodings. Values are encoded once, at the end, so no data can bend the structure around it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


def is_json(media_type: str) -> bool:
    """Whether the media type is JSON or built on it (RFC 6839)."""
    return media_type == "application/json" or media_type.endswith("+json")


def media_type(content_type: str) -> str:
    """The type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def encode(value: Any, content_type: str, boundary: str) -> tuple[bytes, str]:
    """The bytes of `value`, and the Content-Type to send with them. Raises ValueError where it does not fit."""
    kind = media_type(content_type)
    if kind == FORM:
        return encode_form(value).encode("ascii"), content_type
    if is_json(kind):
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8"), content_type
    if kind == MULTIPART:
        return _multipart(value, boundary), f"{MULTIPART}; boundary={boundary}"
    if not isinstance(value, str):
        raise ValueError(f"a body of type {kind or 'unknown'} must be text")
    return value.encode("utf-8"), content_type


def encode_form(value: Any) -> str:
    """`value`, a mapping, as a query string: nested mappings as a[b]=, lists as a[0]=, null as an empty value."""
    if not isinstance(value, Mapping):
        raise ValueError("a form must be a mapping")
    pairs = (pair for key, part in value.items() for pair in _pairs(_name(key), part))
    return "&".join(f"{name}={quote(text, safe='')}" for name, text in pairs)


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _pairs(f"{name}[{_name(key)}]", part)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            yield from _pairs(f"{name}[{index}]", part)
    else:
        yield name, _text(value)


def _name(key: str) -> str:
    # Percent-encoding does not protect a bracket in a name: receivers decode first and split at brackets then.
    if "[" in key or "]" in key or not key:
        raise ValueError(f"the name {key!r} cannot stand in a form: brackets make structure there")
    return quote(key, safe="")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _multipart(value: Any, boundary: str) -> bytes:
    """A multipart body; a mapping {filename, content_type, base64} is a file."""
    from werkzeug.datastructures import Headers
    from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartEncoder, Preamble

    if not isinstance(value, Mapping):
        raise ValueError("a multipart body must be a mapping")
    encoder = MultipartEncoder(boundary.encode("ascii"))
    body = encoder.send_event(Preamble(data=b""))
    for key, part in value.items():
        if isinstance(part, Mapping) and "base64" in part:
            content = base64.b64decode(part["base64"], validate=True)
            headers = Headers([("Content-Type", part.get("content_type", "application/octet-stream"))])
            body += encoder.send_event(File(name=_name(key), filename=part.get("filename", key), headers=headers))
            body += encoder.send_event(Data(data=content, more_data=False))
            continue
        for name, text in _pairs(_name(key), part):
            body += encoder.send_event(Field(name=name, headers=Headers()))
            body += encoder.send_event(Data(data=text.encode("utf-8"), more_data=False))
    return body + encoder.send_event(Epilogue(data=b""))
