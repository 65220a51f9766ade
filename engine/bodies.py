"""How values become the bytes of a body or a query, as the Content-Type says, and how the parts of one are read back.

Hides: the four encodings. Values are encoded once, at the end, so no data can bend the structure around it.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote, unquote

from engine.schemas import from_base64

if TYPE_CHECKING:
    from werkzeug.sansio.multipart import File

_stands_as_it_is = re.compile("[A-Za-z0-9_.~-]*").fullmatch  # RFC 3986, 2.3
_ESCAPES = [quote(chr(code), safe="") for code in range(128)]

FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"
_ANY = "application/octet-stream"  # what a file is of which nothing is said

Lists = Literal["indexed", "bracketed", "repeated"]
"""How a form writes the list `a` of 1 and 2: a[0]=1&a[1]=2, a[]=1&a[]=2, a=1&a=2."""


def is_json(media_type: str) -> bool:
    """Whether the media type is JSON or built on it (RFC 6839)."""
    return media_type == "application/json" or media_type.endswith("+json")


def has_structure(media_type: str) -> bool:
    """Whether a body of this type is made of a mapping or a list, and not of a text."""
    return media_type in {FORM, MULTIPART} or is_json(media_type)


def media_type(content_type: str) -> str:
    """The type without its parameters, in lower case."""
    return content_type.partition(";")[0].strip().lower()


def encode(value: Any, content_type: str, boundary: str, lists: Lists = "indexed") -> tuple[bytes, str]:
    """The bytes of `value`, and the Content-Type to send with them. Raises ValueError where it does not fit."""
    kind = media_type(content_type)
    if kind == FORM:
        return encode_form(value, lists).encode("ascii"), content_type
    if is_json(kind):
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode("utf-8"), content_type
    if kind == MULTIPART:
        return _multipart(value, boundary, lists), f"{MULTIPART}; boundary={boundary}"
    if not isinstance(value, str):
        raise ValueError(f"a body of type {kind or 'unknown'} must be text")
    return value.encode("utf-8"), content_type


def encode_form(value: Any, lists: Lists = "indexed") -> str:
    """`value`, a mapping, as a query string: mappings in it as a[b]=, lists as `lists` says, null as an empty value."""
    if not isinstance(value, dict):
        raise ValueError("a form must be a mapping")
    pairs = _pairs("", value, lists)
    return "&".join([f"{name}={text if _stands_as_it_is(text) else _escaped(text)}" for name, text in pairs])


def _escaped(text: str) -> str:
    return text.translate(_ESCAPES) if text.isascii() else quote(text, safe="")


def _pairs(name: str, value: Any, lists: Lists) -> list[tuple[str, str]]:
    """The pairs that a receiver is to find: names as they stand in a query, values before any encoding."""
    found: list[tuple[str, str]] = []
    _add(found, name, value, lists)
    return found


def _add(found: list[tuple[str, str]], name: str, value: Any, lists: Lists) -> None:
    if isinstance(value, str):
        found.append((name, value))
    elif isinstance(value, dict):
        for key, part in value.items():
            inner = _member(name, key)
            if type(part) is str:
                found.append((inner, part))  # as most are
            else:
                _add(found, inner, part, lists)
    elif isinstance(value, list):
        for index, part in enumerate(value):
            _add(found, _item(name, index, part, lists), part, lists)
    else:
        found.append((name, _text(value)))


def _item(name: str, index: int, part: Any, lists: Lists) -> str:
    """What the item at `index` of the list `name` is called."""
    if lists == "indexed":
        return f"{name}[{index}]"
    if isinstance(part, dict | list):
        said = "names: these write single values only, and it holds a structure"
        raise ValueError(f"{unquote(name)} is a list of {lists} {said}")
    return f"{name}[]" if lists == "bracketed" else name


@lru_cache(maxsize=4096)
def _member(name: str, key: str) -> str:
    """What the member `key` is called of a mapping that is called `name`, or that is the whole form."""
    own = quote(_key(key), safe="")
    return f"{name}[{own}]" if name else own


def _key(key: str) -> str:
    # Percent-encoding does not protect a bracket in a name: receivers decode first and split at brackets then.
    if "[" in key or "]" in key or not key:
        raise ValueError(f"the name {key!r} cannot stand in a form: brackets make structure there")
    return key


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _multipart(value: Any, boundary: str, lists: Lists) -> bytes:
    """A multipart body (RFC 7578); a mapping {filename, content_type, base64} is a file."""
    if not isinstance(value, Mapping):
        raise ValueError("a multipart body must be a mapping")
    parts = (part for key, one in value.items() for part in _parts(key, one, lists))
    return b"".join(b"--%b\r\n%b\r\n" % (boundary.encode(), part) for part in parts) + f"--{boundary}--\r\n".encode()


def _parts(key: str, value: Any, lists: Lists) -> Iterator[bytes]:
    if isinstance(value, Mapping) and "base64" in value:
        kind = str(value.get("content_type", _ANY))
        if not re.fullmatch(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?", kind):
            raise ValueError(f"{kind!r} is no content type")
        named = f'; filename="{_quoted(str(value.get("filename", key)))}"\r\nContent-Type: {kind}'
        yield _part(_key(key), named, _content(key, value["base64"]))
        return
    for name, text in _pairs(_member("", key), value, lists):
        yield _part(unquote(name), "", text.encode("utf-8"))


def _content(key: str, text: Any) -> bytes:
    if isinstance(text, str) and (content := from_base64(text)) is not None:
        return content
    raise ValueError(f"{key} is a file, and what its base64 says is none")


def _part(name: str, more: str, content: bytes) -> bytes:
    return f'Content-Disposition: form-data; name="{_quoted(name)}"{more}\r\n\r\n'.encode() + content


def _quoted(text: str) -> str:
    """Text between the quotes of a head line, as the HTML standard has it: it can end neither."""
    return text.replace('"', "%22").replace("\r", "%0D").replace("\n", "%0A")


def read_parts(body: bytes, content_type: str) -> list[tuple[str, Any]]:
    """The name and value of each part of a multipart body: a text, or a file as {filename, content_type, base64}.

    Raises ValueError where the bytes are no such body.
    """
    from werkzeug.http import parse_options_header
    from werkzeug.sansio.multipart import Data, Epilogue, Field, File, MultipartDecoder

    boundary = parse_options_header(content_type)[1].get("boundary")
    if not boundary:
        raise ValueError("its Content-Type names no boundary")
    decoder = MultipartDecoder(boundary.encode())
    decoder.receive_data(body)
    decoder.receive_data(None)
    found: list[tuple[Field | File, bytearray]] = []
    while not isinstance(event := decoder.next_event(), Epilogue):
        if isinstance(event, Field | File):
            found.append((event, bytearray()))
        elif isinstance(event, Data):
            found[-1][1].extend(event.data)
    return [
        (head.name or "", _file(head, content) if isinstance(head, File) else content.decode("utf-8"))
        for head, content in found
    ]


def _file(head: File, content: bytearray) -> dict[str, str]:
    kind = head.headers.get("Content-Type", _ANY)
    return {"filename": head.filename, "content_type": kind, "base64": base64.b64encode(content).decode()}
