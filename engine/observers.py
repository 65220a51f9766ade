"""The observers that a host's settings ask for: one that counts, and one that traces.

Hides: that what they are made with are extras, which a host without them never imports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from engine.errors import SettingError
from engine.settings import Settings
from engine.signatures import check_secret

if TYPE_CHECKING:
    from engine.metrics import Metrics
    from engine.spans import Spans

METRICS_KEY = "CALLSHEET_METRICS_KEY"  # the setting: what a scraper has to know


def metrics_of(settings: Settings) -> Metrics | None:
    """The numbers, where a key to read them is set. Raises SettingError, also where the extra is not installed."""
    if not settings.has(METRICS_KEY):
        return None
    check_secret(METRICS_KEY, settings.get(METRICS_KEY) or "")
    try:
        from engine.metrics import Metrics
    except ImportError:
        raise SettingError(METRICS_KEY, "needs prometheus-client: pip install 'callsheet[metrics]'") from None
    return Metrics()


def spans_of(settings: Settings) -> Spans | None:
    """Spans, where they are asked for. Raises as `metrics_of` does."""
    if (asked := settings.get("CALLSHEET_SPANS") or "off") not in {"on", "off"}:
        raise SettingError("CALLSHEET_SPANS", "must be on or off")
    if asked == "off":
        return None
    try:
        from engine.spans import Spans
    except ImportError:
        raise SettingError("CALLSHEET_SPANS", "needs opentelemetry-api: pip install 'callsheet[otel]'") from None
    return Spans()
