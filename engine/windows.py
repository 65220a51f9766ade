"""When an open call is come back to, and whether its bytes may be sent again then.

Hides: the arithmetic of time that keeps a repeat from being a second effect. A key is trusted for half of what the
gateway promises, never longer than twelve hours, and never by a clock that runs behind the journal.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from urllib.parse import urlsplit

from engine.errors import SettingError
from engine.records import Record
from engine.request_types import RequestType

LATER = (1, 4, 15, 60, 300, 1800, 7200, 21_600)  # seconds between the tries of a call that nobody waits for
MOST_TRIES = 2 * len(LATER)  # of them all: those after a look-up, which may begin a call anew, are as many again
IN_ANOTHER_MODE = timedelta(seconds=30)  # for which a host leaves a call alone that is not of its mode
LONGEST_ASKED = 3600  # seconds that a gateway may ask for by Retry-After where nobody waits
LONGEST_WINDOW = timedelta(hours=12)
SETTLES = timedelta(hours=1)  # after which "not found" counts: longer than any deadline and a search index's delay
LOOK_UPS = 2  # that must agree
TRUSTED_LAG = timedelta(seconds=60)


def demand_mode(type: RequestType, call: Record) -> None:
    """Raise SettingError where a call is of the other mode: nothing is sent for it here, and nobody is asked about it.

    What the gateway says in one mode proves nothing of the other.
    """
    if call.scope.live != type.live:
        here, there = ("live", "test") if type.live else ("test", "live")
        said = f"is {here}, and the call {call.id} is of {there} mode; it is left to a host in that mode"
        raise SettingError("CALLSHEET_MODE", said)


def may_resend(type: RequestType, call: Record, now: datetime) -> bool:
    """Whether the call's own bytes may be sent again: harmless by nature, or inside the window of its key."""
    if call.scope.live != type.live or not same_origin(type, call) or now < _moment(call, "sent_at", now) - TRUSTED_LAG:
        return False
    if type.idempotent or not type.journaled:
        return True
    window = min(timedelta(seconds=type.key_lasts / 2), LONGEST_WINDOW)
    passed = now - _moment(call, "first_sent_at", now)
    return type.key_header is not None and -TRUSTED_LAG <= passed < window


def same_origin(type: RequestType, call: Record) -> bool:
    """Whether the frozen URL still leads to where the files say: a call to a sandbox is not sent to the gateway."""
    frozen, now = urlsplit(call["request"]["url"]), urlsplit(type.base_url)
    return (frozen.scheme, frozen.netloc) == (now.scheme, now.netloc)


def has_settled(call: Record, now: datetime) -> bool:
    """Whether the gateway has had time to show what it did."""
    return now - _moment(call, "first_sent_at", now) > SETTLES


def comes_back(type: RequestType, call: Record, now: datetime) -> datetime | None:
    """When a worker comes back to an unknown call; None where only a person can say what became of it."""
    tries, later = call.get("tries") or 0, now + pause_before(call)
    resent = tries < len(LATER) and may_resend(type, call, later)
    looked_up = type.lookup is not None and tries < MOST_TRIES
    return later if resent or looked_up else None


def pause_before(call: Record) -> timedelta:
    """How long a worker leaves a call alone before it comes back to it once more."""
    return timedelta(seconds=LATER[min(call.get("tries") or 0, len(LATER) - 1)])


def _moment(call: Record, name: str, otherwise: datetime) -> datetime:
    kept = call.get(name)
    return datetime.fromisoformat(kept) if kept else otherwise
