"""What every page that is made of a form's files has in reach, the form itself and what is shown after it.

    text(key, variant, …)     the text of a key in the form's language
    money(amount, currency)   500, usd → 5.00 USD
    records(type, …)          records, newest first: `records("payment", gateway_id=data.charge)`
    ask(name, …)              what the gateway says now: the answer of a request type that only reads; nothing where it
                              does not answer
    scripts(…)                the gateway's `library`, and our own `script` that uses it

Hides: that a sandbox may stand in for the gateway. Then our own `stand_in` is loaded in the place of its library.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from engine.amounts import money
from engine.confined import Absent
from engine.errors import CallError, SettingError
from engine.forms.markup import offered
from engine.request_types import RequestType

if TYPE_CHECKING:
    from engine.core import Engine

_SCRIPT = Markup('<script src="{}" defer></script>\n')

log = logging.getLogger("engine")


@dataclass(frozen=True)
class Reach:
    """For a page about `type` in `language`; `at` is the path of the host's routes."""

    engine: Engine
    type: RequestType
    language: str
    at: str

    @property
    def names(self) -> dict[str, Any]:
        """What can be named, by its name."""
        calls = (self.text, self.money, self.records, self.ask, self.scripts)
        public = {name: value for name, value in public_settings(self.engine, self.type).items() if value is not None}
        return {"settings": public, **{call.__name__: call for call in calls}}

    @offered
    def text(self, key: str, variant: Any = None, **values: object) -> str:
        """As `Translations.say`."""
        chosen = variant if isinstance(variant, str) else ""
        return self.engine.catalog.translations.say(self.language, key, chosen, **values)

    @offered
    def money(self, amount: Any, currency: Any, **decimals: int) -> str:
        """An amount as text, or nothing where it is not known; `isk=2` corrects a currency's decimals."""
        if not isinstance(amount, int) or not isinstance(currency, str):
            return ""
        return money(amount, currency, decimals.get(currency.lower()))

    @offered
    def records(self, type: str, **where: Any) -> list[dict[str, Any]]:
        """Records of the page's own gateway and mode, newest first; none where a value is not known."""
        if not _known(where):
            return []
        scope = {"gateway": self.type.gateway.name, "live": self.engine.settings.live}
        return [record.as_dict() for record in self.engine.find(type, **{**scope, **where})]

    @offered
    def ask(self, name: str, **data: Any) -> Any:
        """The gateway's answer, whose records are kept; None where it does not answer or a value is not known."""
        given = {key: value for key, value in data.items() if not isinstance(value, Absent) and value is not None}
        if not all(key in given for key in self.engine.catalog.request_type(name).schema.document.get("required", ())):
            return None
        try:
            return self.engine.send(name, given).response
        except (CallError, SettingError) as error:
            log.warning("a page is shown without asking: %s", error)
            return None

    @offered
    def scripts(self, *, library: str, script: str, stand_in: str = "") -> Markup:
        """The tags that load both."""
        own = f"{self.at}/static"
        first = f"{own}/{stand_in}" if stand_in and self.engine.settings.sandbox else library
        return _SCRIPT.format(first) + _SCRIPT.format(f"{own}/{script}")

    @property
    def test_cards(self) -> str:
        """Where the stand-in learns the sandbox's tokens; nothing without a sandbox."""
        return f"{self.at}/sandbox/{self.type.gateway.name}" if self.engine.settings.sandbox else ""


def _known(values: Mapping[str, Any]) -> bool:
    return not any(value is None or isinstance(value, Absent) for value in values.values())


def public_settings(engine: Engine, type: RequestType) -> dict[str, str | None]:
    """What the gateway's file calls public."""
    return {name: engine.settings.get(source) for name, source in type.gateway.settings.items()}
