"""A JSON Schema that stands in a file: what is wrong with it, and which of its keywords are only nearly one.

Hides: which keywords there are, and which of them hold further schemas. The standard allows any other keyword, and so
one is a slip only where it is a letter or two away from one that there is; names of properties are no keywords.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from engine.errors import Fault, Problem
from engine.pointers import pointer_to
from engine.schemas import Schema
from engine.yaml_files import YamlFile

_WITHIN = frozenset(
    "additionalProperties contains contentSchema else if items not propertyNames then unevaluatedItems "
    "unevaluatedProperties allOf anyOf oneOf prefixItems".split()
)
_BY_NAME = frozenset("$defs definitions dependencies dependentSchemas patternProperties properties".split())
_PLAIN = frozenset(
    "$anchor $comment $dynamicAnchor $dynamicRef $id $ref $schema $vocabulary const contentEncoding contentMediaType "
    "default dependentRequired deprecated description enum examples exclusiveMaximum exclusiveMinimum format "
    "maxContains maxItems maxLength maxProperties maximum minContains minItems minLength minProperties minimum "
    "multipleOf pattern readOnly required title type uniqueItems writeOnly".split()
)
KEYWORDS = _WITHIN | _BY_NAME | _PLAIN
# Every short word is near to another one, and a slip adds or leaves out a letter or two: `note` and `theme` are none.
_SHORT, _SLIP, _ALIKE = 3, 2, 0.75


def schema_faults(file: YamlFile, pointer: str, schema: Mapping[str, Any]) -> Iterator[Fault]:
    """What is wrong with `schema`, which stands at `pointer` of `file`."""
    for problem in Schema(schema).verify():
        yield file.fault(f"{pointer}{problem.pointer}", f"not JSON Schema: {problem.message}")
    for slip in misspelt(schema):
        yield file.fault(f"{pointer}{slip.pointer}", slip.message)


def misspelt(schema: Any, pointer: str = "") -> Iterator[Problem]:
    """The keywords that there are not in `schema` and all schemas within it, and that are near to one."""
    if isinstance(schema, list):
        for number, part in enumerate(schema):
            yield from misspelt(part, f"{pointer}/{number}")
    for keyword, part in schema.items() if isinstance(schema, Mapping) else ():
        place = f"{pointer}{pointer_to([keyword])}"
        if meant := _meant(keyword):
            yield Problem(place, f"{keyword!r} is no keyword of JSON Schema; did you mean {meant!r}?")
        elif keyword in _WITHIN:
            yield from misspelt(part, place)
        elif keyword in _BY_NAME and isinstance(part, Mapping):
            for name, inner in part.items():
                yield from misspelt(inner, f"{place}{pointer_to([name])}") if isinstance(inner, Mapping) else ()


def _meant(keyword: str) -> str | None:
    """The keyword that was meant by one that is none; None where it may be somebody's own."""
    if keyword in KEYWORDS:
        return None
    alike = [one for one in KEYWORDS if len(one) > _SHORT and abs(len(one) - len(keyword)) <= _SLIP]
    return next(iter(difflib.get_close_matches(keyword, alike, n=1, cutoff=_ALIKE)), None)
