"""How events arrive: doubled, in any order, and among others that nobody may take for them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from engine.signatures import SHIPPED, sign

from .events import SECRETS, Event

STRIPE = SHIPPED["stripe"]
HEADER = STRIPE.header
OLDEST = 300  # seconds that a signature is good for, both ways


@dataclass(frozen=True)
class Delivery:
    """One attempt to bring an event. `make` gives headers and body at a time; `is_good`: it must be taken."""

    event: Event
    make: Callable[[float], tuple[Mapping[str, str], bytes]]
    is_good: bool


def deliveries(chance: random.Random, events: Iterable[Event]) -> list[Delivery]:
    """Every event one to three times, and with most of them something that is none."""
    made = []
    for event in events:
        made += [Delivery(event, _signed(event), is_good=True)] * chance.choice([1, 1, 2, 3])
        if chance.random() < 0.3:
            made.append(Delivery(event, chance.choice(FORGERIES)(chance, event), is_good=False))
        if chance.random() < 0.1:
            made.append(Delivery(event, _stale(chance, event), is_good=False))
    chance.shuffle(made)
    return made


Make = Callable[[float], tuple[Mapping[str, str], bytes]]


def _signed(event: Event) -> Make:
    return lambda now: (sign(STRIPE, SECRETS["MILL_HOOK"], event.body, now), event.body)


def _stale(chance: random.Random, event: Event) -> Make:
    """As it was once, or will be."""
    off = chance.choice([-1, 1]) * chance.choice([OLDEST + 2, OLDEST * 10, 10**7])
    return lambda now: (sign(STRIPE, SECRETS["MILL_HOOK"], event.body, now + off), event.body)


def _of_another_secret(chance: random.Random, event: Event) -> Make:
    """Somebody who knows all but the secret makes an event up."""
    forged = replace(event, id=f"forged_{event.id}").body
    return lambda now: (sign(STRIPE, "hook_" + "f" * 32, forged, now), forged)


def _with_another_body(chance: random.Random, event: Event) -> Make:
    """Somebody on the way changes what is in it."""
    forged = replace(event, number=chance.randrange(10**6, 10**7), note="forged").body
    return lambda now: (sign(STRIPE, SECRETS["MILL_HOOK"], event.body, now), forged)


def _with_another_id(chance: random.Random, event: Event) -> Make:
    """Somebody wants it to count twice."""
    forged = replace(event, id=f"forged_{event.id}").body
    return lambda now: (sign(STRIPE, SECRETS["MILL_HOOK"], event.body, now), forged)


def _with_another_time(chance: random.Random, event: Event) -> Make:
    """Somebody keeps it and brings it again, much later, as if it were new."""

    def make(now: float) -> tuple[Mapping[str, str], bytes]:
        _, _, signature = sign(STRIPE, SECRETS["MILL_HOOK"], event.body, now - 10_000)[HEADER].partition(",")
        return {HEADER: f"t={int(now)},{signature}"}, event.body

    return make


def _unsigned(chance: random.Random, event: Event) -> Make:
    """Somebody hopes that nobody looks."""
    forged = replace(event, id=f"forged_{event.id}").body
    header = chance.choice([{}, {HEADER: ""}, {HEADER: "t=1"}, {HEADER: "v1="}])
    return lambda now: (header, forged)


FORGERIES = (_of_another_secret, _with_another_body, _with_another_id, _with_another_time, _unsigned)
