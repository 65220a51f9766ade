"""The texts of forms, in every language that there is a file for: `forms/translations/LANGUAGE.yml`.

    pay: Pay {amount}
    field:
      tax_id: {GB: Company number, other: Tax number}

Hides: how a text is chosen. A host's text wins over the shipped one, the language's own over the English one; of texts
by country the country's, else the one called `other`.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from engine.errors import Fault, UnknownNameError, did_you_mean
from engine.yaml_files import YamlFile

FOLDER = "translations"
ENGLISH = "en"
OTHER = "other"

Text = str | Mapping[str, str]
"""A text, or one by country."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Z][A-Za-z]+)?")
_KEY = re.compile(r"[A-Za-z0-9_]+")
_PLACE = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Translations:
    """By language, and in it by dotted key, the texts there are."""

    languages: Mapping[str, Mapping[str, Text]]

    def language(self, asked: str) -> str:
        """The language that is spoken where `asked` is: `de` where it is `de-AT`. Raises UnknownNameError."""
        for known in (asked, asked.partition("-")[0]):
            if known in self.languages:
                return known
        raise UnknownNameError("language of forms", asked, self.languages)

    @property
    def keys(self) -> Mapping[str, Collection[str]]:
        """Every key there is a text of, with the names of the places that it leaves open."""
        return {key: _places(text) for key, text in self.languages[ENGLISH].items()}

    def say(self, language: str, key: str, variant: str = "", /, **values: object) -> str:
        """The text of `key`, for the country `variant` where it differs by country, with `values` in their places.

        What has no text is named by the words of its key, but the first.
        """
        text = self.languages.get(language, {}).get(key) or self.languages[ENGLISH].get(key)
        if text is None:
            return re.sub(r"[._]+", " ", key.partition(".")[2] or key).strip().capitalize()
        chosen = text if isinstance(text, str) else text.get(variant) or text[OTHER]
        return _PLACE.sub(lambda place: str(values.get(place[1], place[0])), chosen)


def joined(files: Sequence[tuple[str, YamlFile]]) -> Translations | list[Fault]:
    """The texts of `files`, each with its language; of two that have a text the first wins. Or their faults."""
    languages: dict[str, dict[str, Text]] = {ENGLISH: {}}
    faults: list[Fault] = []
    for language, file in reversed(files):
        own = list(_shape_faults(language, file))
        faults += own
        if not own:
            languages.setdefault(language, {}).update(_flat(file.value or {}))
    english = languages[ENGLISH]
    for language, file in files if not faults else ():
        faults += _fit_faults(language, file, english)
    return faults or Translations(languages)


def _flat(value: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Text]]:
    for key, part in value.items():
        if isinstance(part, Mapping) and OTHER not in part:
            yield from _flat(part, f"{before}{key}.")
        else:
            yield f"{before}{key}", part


def _shape_faults(language: str, file: YamlFile) -> Iterator[Fault]:
    if not _LANGUAGE.fullmatch(language):
        yield file.fault("", f"{language!r} is no language; name the file like de.yml or pt_BR.yml")
    if not isinstance(file.value or {}, Mapping):
        yield file.fault("", "the file is a mapping of keys to texts")
        return
    yield from _node_faults(file, file.value or {}, "")


def _node_faults(file: YamlFile, value: Mapping[str, Any], pointer: str) -> Iterator[Fault]:
    for key, part in value.items():
        at = f"{pointer}/{key}"
        if not _KEY.fullmatch(key):
            yield file.fault(pointer, f"the key {key!r} holds other things than letters, digits and _")
        elif isinstance(part, Mapping):
            yield from _node_faults(file, part, at)
            if OTHER in part and any(isinstance(one, Mapping) for one in part.values()):
                yield file.fault(at, f"texts by country, of which {OTHER!r} is one, hold texts only")
        elif not isinstance(part, str) or not part.strip():
            yield file.fault(at, f"{key!r} is no text; quote it, or remove it to leave it to the English one")


def _fit_faults(language: str, file: YamlFile, english: Mapping[str, Text]) -> Iterator[Fault]:
    """A translation translates what there is in English, and leaves the same places open."""
    for key, text in _flat(file.value or {}):
        pointer = "/" + key.replace(".", "/")
        if key not in english:
            guess = did_you_mean(key, english)
            yield file.fault(pointer, f"there is no English text {key!r} to translate{guess}")
            continue
        known, own = _places(english[key]), _places(text)
        if not own <= known:
            yield file.fault(pointer, f"{key!r} leaves {_shown(own - known)} open, which nobody fills in")
        elif language != ENGLISH and isinstance(text, str) and known - own:
            yield file.fault(pointer, f"{key!r} does not say {_shown(known - own)}, which the English text does")


def _places(text: Text) -> set[str]:
    return {place for one in ([text] if isinstance(text, str) else text.values()) for place in _PLACE.findall(one)}


def _shown(places: set[str]) -> str:
    return ", ".join(f"{{{place}}}" for place in sorted(places))
