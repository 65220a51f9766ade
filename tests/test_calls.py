"""The states of a call: one table, drawn where it stands, and nothing moves a call beside it."""

from __future__ import annotations

import base64
import hashlib
import random
import re
from datetime import UTC, datetime, timedelta, timezone

import pytest

from engine import calls
from engine.calls import CALL, NEXT, OPEN, instant, moved
from engine.errors import Conflict
from engine.ids import short_digest
from engine.records import Record, Scope

DRAWN = re.findall(r"^    (\w+) .*?(?: ▶ (.+))?$", calls.__doc__ or "", re.MULTILINE)


def test_the_drawing_is_the_table() -> None:
    """What stands in the docstring is what holds."""
    assert {state: frozenset(filter(None, after.split(", "))) for state, after in DRAWN} == NEXT


def test_every_state_can_be_reached_and_every_open_one_left() -> None:
    assert set(NEXT) == {"prepared", "sending"}.union(*NEXT.values())
    assert all(NEXT[state] for state in OPEN)


@pytest.mark.parametrize("before", NEXT)
@pytest.mark.parametrize("after", NEXT)
def test_a_call_moves_only_along_the_drawing(before: str, after: str) -> None:
    """A change names the state that it was seen in; to any other than the next ones there is no change."""
    call = Record("call", "call-1", Scope("shop"), {"state": before, "lease": "then"})
    if after == before or after in NEXT[before]:
        change = moved(call, state=after)
        assert (change.type, change.set["state"], change.must) == (CALL, after, True)
        assert change.when == {"state": [before], **({"lease": "then"} if before == "sending" else {})}
    else:
        with pytest.raises(Conflict, match=f"call-1 is {before}, which does not lead to {after}"):
            moved(call, state=after)


def test_an_instant_is_iso_8601_in_utc_wherever_it_was_read() -> None:
    """To the millisecond, for any year, second and zone."""
    chance = random.Random(7)
    for _ in range(500):
        zone = chance.choice([UTC, timezone(timedelta(minutes=chance.randint(-700, 700)))])
        moment = datetime.fromtimestamp(chance.uniform(-6e10, 2e11), zone)
        expected = moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        assert instant(moment) == expected


def test_a_digest_is_base32() -> None:
    """RFC 4648, in small letters and without its padding."""
    for text in ("", "a", "é\ud800", "x" * 1000, *map(str, range(500))):
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
        assert short_digest(text) == base64.b32encode(digest).decode().rstrip("=").lower()
