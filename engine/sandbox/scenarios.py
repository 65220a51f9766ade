"""What can be made to go wrong, and how a request asks for it.

    rate_limited       refused with 429 and Retry-After; rate_limited_once: only the first request of its key
    broken             500, nothing was done; broken_after: it was done all the same
    lost               it was done, and the connection ends without an answer
    slow               the answer takes its time
    event_first        the host has the events before the answer
    event_late         the events take their time; event_twice: each comes twice

Hides: where the name of one may stand: in the header Sandbox-Scenario, as a text `sandbox_NAME` anywhere in what is
sent, or as one of the sandbox file's tokens that names a scenario.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

HEADER = "sandbox-scenario"
NAMES = frozenset(
    "rate_limited rate_limited_once broken broken_after lost slow event_first event_late event_twice".split()
)
RETRY_AFTER = 1  # seconds
SLOW = 3.0  # seconds
LATE = 3.0  # seconds


def scenarios_of(headers: Mapping[str, str], sent: Any, tokens: Mapping[str, Mapping[str, Any]]) -> frozenset[str]:
    """The scenarios that a request asks for."""
    asked = {headers.get(HEADER, "")}
    for text in _texts(sent):
        asked |= {text.removeprefix("sandbox_"), tokens.get(text, {}).get("scenario", "")} - {text}
    return NAMES & asked


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for part in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(part)
