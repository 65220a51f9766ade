"""What a page asks for, as a browser sees it: its forms, their inputs, and what they would post."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from html.parser import HTMLParser


@dataclass
class Page(HTMLParser):
    """A parsed page. `inputs` are the elements that post something, in order, with their attributes."""

    html: str
    inputs: list[dict[str, str]] = field(default_factory=list)
    tags: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._inside: dict[str, str] | None = None
        self.feed(str(self.html))  # a Markup would escape what is joined to its parts

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = {name: value or "" for name, value in attrs}
        self.tags.append((tag, known))
        if tag == "option" and self._inside is not None and "selected" in known:
            self._inside["value"] = known["value"]
        if tag in {"input", "select", "textarea"} and "name" in known:
            self.inputs.append({"tag": tag, "value": "", **known})
            self._inside = self.inputs[-1] if tag != "input" else None

    def handle_endtag(self, tag: str) -> None:
        if tag in {"select", "textarea"}:
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside is not None and self._inside["tag"] == "textarea":
            self._inside["value"] += data.removeprefix("\n")
        self.text += data

    @property
    def names(self) -> list[str]:
        """What a visitor may give, once each."""
        return list(dict.fromkeys(one["name"] for one in self.inputs if one["name"] != "callsheet_token"))

    @property
    def token(self) -> str:
        """The token of the first form."""
        return next(one["value"] for one in self.inputs if one["name"] == "callsheet_token")

    def input(self, name: str) -> dict[str, str]:
        """The last input of that name."""
        return next(one for one in reversed(self.inputs) if one["name"] == name)

    def posts(self, typed: Mapping[str, str]) -> list[tuple[str, str]]:
        """The pairs that a browser would post, the token left out, after somebody typed these."""
        pairs = []
        for one in self.inputs:
            name, kind = one["name"], one.get("type")
            if name == "callsheet_token" or (kind == "checkbox" and typed.get(name, one.get("checked")) is None):
                continue
            pairs.append((name, one["value"] if kind in {"checkbox", "hidden"} else typed.get(name, one["value"])))
        return pairs

    def all(self, tag: str) -> list[dict[str, str]]:
        """The attributes of every element of a kind."""
        return [attributes for name, attributes in self.tags if name == tag]
