"""What a file of a kind must look like, and what it says in a mode, before it is known what that means.

Hides: that editors and the engine check by the same JSON Schemas, and how what is wrong is worded.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from engine.errors import Fault, Problem
from engine.pointers import part_at, replaced_at
from engine.schemas import Schema
from engine.settings import MODES
from engine.urls import parts_of
from engine.yaml_files import YamlFile

KINDS = ("gateway", "request_type", "record_type", "case", "sandbox")


@cache
def file_schema(kind: str) -> Schema:
    """The JSON Schema of a kind of file: one of KINDS. Editors use the same."""
    folder = Path(__file__).parent / "file_schemas"
    documents: Mapping[str, Mapping[str, object]] = {
        name: json.loads((folder / f"{name}.schema.json").read_text("utf-8")) for name in KINDS
    }
    return Schema(documents[kind], references=documents.values())


def check_file(file: YamlFile, kind: str) -> list[Fault]:
    """What keeps `file` from being of `kind`, as the kind's JSON Schema has it."""
    value = {} if file.value is None else file.value
    return [file.fault(problem.pointer, _said(kind, problem)) for problem in file_schema(kind).problems(value)]


_A_TEXT = re.compile(r"'(\w+)' is not of type array")


def _said(kind: str, problem: Problem) -> str:
    name, message = problem.pointer.rpartition("/")[2], problem.message
    if text := _A_TEXT.fullmatch(message):
        return f"{text[1]!r} must stand in brackets, as in [{text[1]}]"
    if message == "is required" and (told := _described(kind, problem.pointer)):
        message += f"; what is wanted is: {told}"
    return f"{name!r} {message}" if message.startswith("is ") and name else message


def _described(kind: str, pointer: str) -> str:
    """What the schema of a kind says for people of the key at `pointer`."""
    place = pointer.replace("/", "/properties/")
    return str(part_at(file_schema(kind).document, f"{place}/description") or "").removesuffix(".")


def unfit_base_url(url: str) -> str | None:
    """What keeps `url` from being a base_url, as the tail of a sentence; None where nothing does."""
    parts = parts_of(url)
    if not parts or parts.scheme not in {"http", "https"} or not parts.hostname:
        return "must be a URL of scheme, host and path"
    if parts.query or parts.fragment or parts.username:
        return "must be a URL of scheme, host and path"
    if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
        return "must be https; plain http is for this machine only"
    return None


_PATH = re.compile(r"(/[A-Za-z0-9._~%!$&'()*+,;=:@-]+)+/?")


def unfit_endpoint(url: str) -> str | None:
    """What keeps `url` from being a path below a base_url or a whole URL, as the tail of a sentence."""
    parts, is_path = parts_of(url), url.startswith("/")
    if not is_path and parts and parts.hostname and (unfit := unfit_base_url(url)):
        return unfit
    path = url if is_path else parts.path if parts else ""
    is_clean = bool(_PATH.fullmatch(path)) and not {".", ".."} & set(path.split("/"))
    if is_clean and (is_path or (parts and f"{parts.scheme}://{parts.netloc}{path}" == url)):
        return None
    return "must be a path below base_url, such as /oauth2/token, or a URL of scheme, host and path"


_ADDRESSES: Mapping[str, Callable[[str], str | None]] = {
    "/base_url": unfit_base_url,
    "/auth/oauth2/token_endpoint": unfit_endpoint,
}
"""Where a file may say where a gateway is: by one text, or by one for each mode."""


def address_faults(file: YamlFile) -> Iterator[Fault]:
    """What is wrong with the addresses in a file, whichever mode they are for."""
    for pointer, unfit in _ADDRESSES.items():
        for place in (pointer, *(f"{pointer}/{mode}" for mode in MODES)):
            url = part_at(file.value, place)
            if isinstance(url, str) and (said := unfit(url)):
                yield file.fault(place, f"{pointer.rpartition('/')[2]!r} {said}")


def in_mode(value: Any, mode: str) -> Any:
    """What a file says, with the addresses of a mode in the place of those for each."""
    for pointer in _ADDRESSES:
        value = replaced_at(value, pointer, lambda told: told if isinstance(told, str) else told[mode])
    return value
