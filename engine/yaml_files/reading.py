"""A YAML file's text → its value, and a mark for every part of it. Hides: the parser and its events."""

from __future__ import annotations

import re
from collections.abc import Iterator
from math import isinf
from sys import intern
from typing import Any

import yaml

from engine.errors import DefinitionError, Fault
from engine.pointers import escaped
from engine.yaml_files import MAX_DEPTH, Places

MAX_BYTES = 64 * 1024

_TOO_DEEP = f"nested deeper than {MAX_DEPTH}; flatten it"
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]{0,18})")
_FLOAT = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_OF_NUMBERS = frozenset("+-0123456789")
_QUOTES, _BLOCKS = frozenset({"'", '"'}), frozenset({"|", ">"})
_WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}


def read(text: str, name: str) -> tuple[Any, Places]:
    """As `engine.yaml_files.read`. Raises DefinitionError with one fault, at the place where the file goes wrong."""
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _refused(name, None, f"the file is larger than {MAX_BYTES // 1024} KiB; split it")
    try:
        reader = _Reader(name, iter(_Loader(text).get_event, None), text.split("\n"))
        return reader.document(), reader.places
    except yaml.MarkedYAMLError as error:
        raise _refused(name, error.problem_mark, _parser_said(error, text)) from None
    except yaml.YAMLError as error:
        raise _unprintable(name, text) or _refused(name, None, f"not YAML: {error}") from None


def _parser_said(error: yaml.MarkedYAMLError, text: str) -> str:
    said, mark = error.problem or "", error.problem_mark
    # A newer libyaml looks far ahead of what it tells, and has a limit of its own.
    if "nesting depth" in said:
        return _TOO_DEEP
    if mark and ("tab character" in said or "cannot start any token" in said):
        char = text[mark.index : mark.index + 1]
        said = "a tab indents it; indent with blanks" if char == "\t" else f"text that begins with {char} needs quotes"
    return f"not YAML: {said}"


def _unprintable(name: str, text: str) -> DefinitionError | None:
    """The parser counts bytes where a file holds a control character; a person looks for a line."""
    if not (found := yaml.reader.Reader.NON_PRINTABLE.search(text)):
        return None
    before = text[: found.start()]
    line, column = before.count("\n") + 1, found.start() - before.rfind("\n")
    return DefinitionError([Fault(name, line, column, f"not YAML: holds the character {found[0]!a}; remove it")])


class _Reader:
    """Builds the value from the parser's events; a recursion no deeper than MAX_DEPTH."""

    def __init__(self, name: str, events: Iterator[Any], lines: list[str]) -> None:
        self.name, self.places = name, dict[str, tuple[Any, ...]]()
        self._events, self._lines = events, lines

    def document(self) -> Any:
        value: Any = None
        documents = 0
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
                if documents > 1:
                    raise _refused(self.name, event.start_mark, "a file holds one document; remove the second")
                value = self._value(next(self._events), "", None, 0)
        return value

    def _value(self, event: Any, pointer: str, key: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise _refused(self.name, event.start_mark, _TOO_DEEP)
        kind = type(event)
        if kind is yaml.AliasEvent:
            raise _refused(self.name, event.start_mark, f"the alias *{event.anchor} is refused; write the value again")
        if event.tag is not None:
            raise _refused(self.name, event.start_mark, f"the tag {event.tag} is refused; remove it")
        self.places[pointer] = self._place(event, key or event.start_mark)
        if kind is yaml.ScalarEvent:
            return self._scalar(event)
        if kind is yaml.SequenceStartEvent:
            return self._sequence(pointer, depth)
        return self._mapping(pointer, depth)

    def _place(self, event: Any, key: Any) -> tuple[Any, ...]:
        """A mark without the name of its file."""
        start, style = event.start_mark, getattr(event, "style", None)
        line, column = start.line + 1, start.column + (2 if style in _QUOTES else 1)
        if style not in _BLOCKS:
            return key.line + 1, key.column + 1, line, column
        indents = (len(text) - len(text.lstrip(" ")) for text in self._lines[line:] if text.strip())
        indent = next(indents, 0)
        return key.line + 1, key.column + 1, line + 1, indent + 1, indent, style == ">"

    def _sequence(self, pointer: str, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._value(event, f"{pointer}/{len(items)}", None, depth + 1))
        return items

    def _mapping(self, pointer: str, depth: int) -> dict[str, Any]:
        result: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            if not isinstance(event, yaml.ScalarEvent):
                raise _refused(
                    self.name, event.start_mark, "a key must be text; a value that begins with {{ needs quotes"
                )
            if event.value == "<<" and event.implicit[0]:
                raise _refused(self.name, event.start_mark, "the merge key << is refused; write the keys again")
            if event.value in result:
                raise _refused(self.name, event.start_mark, f"duplicate key {event.value!r}; remove one")
            key = intern(event.value)
            inside = f"{pointer}/{escaped(key)}"
            result[key] = self._value(next(self._events), inside, event.start_mark, depth + 1)
        return result

    def _scalar(self, event: Any) -> Any:
        text = event.value
        if not event.implicit[0]:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if text[0] not in _OF_NUMBERS:
            return text
        if _INTEGER.fullmatch(text):
            return int(text)
        if not _FLOAT.fullmatch(text):
            return text
        if text.lstrip("-+").isdigit() or isinf(float(text)):
            raise _refused(self.name, event.start_mark, "too large a number to be kept exactly; put it in quotes")
        return float(text)


def _refused(name: str, mark: Any, message: str) -> DefinitionError:
    line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
    return DefinitionError([Fault(name, line, column, message)])
