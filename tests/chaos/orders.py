"""What is to be done, and the book of what callers were told.

Hides: that the book is one file which many processes append to, a line at a time, and which survives them.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal

Kind = Literal["charge", "refund", "cash"]

SETTLED = {"succeeded", "declined", "by hand"}  # what a caller may be told last; after anything else he comes back
DECLINED_CARD = "tok_declined"


@dataclass(frozen=True)
class Order:
    """Something to be done once, however often and by however many it is asked for."""

    number: int
    kind: Kind
    data: dict[str, Any]
    later: bool = False

    @property
    def name(self) -> str:
        """The operation, which is also what the bank is told."""
        return f"order-{self.number}"

    @property
    def request_type(self) -> str:
        """The request type that does it."""
        return f"bank/{self.kind}"


def new_order(number: int, chance: Random, charged: list[str]) -> Order:
    """An order of any kind; a refund is of one of the charges that a caller was told of."""
    data = {"amount": 2 * number + 100, "currency": chance.choice(["usd", "eur"]), "order": f"order-{number}"}
    draw = chance.random()
    if draw < 0.1:
        return Order(number, "cash", data)
    if draw < 0.25 and charged:
        return Order(number, "refund", {**data, "charge": chance.choice(charged)})
    source = DECLINED_CARD if draw > 0.95 else "tok_visa"
    return Order(
        number, "charge", {**data, "source": source, "shared": chance.random() < 0.4}, later=chance.random() < 0.3
    )


@dataclass(frozen=True)
class Line:
    """One line of the book. `order` is None where a process says what becomes of itself: it has begun, it dies.

    `id` is what the bank calls it or, where it was not done, the instant at which that was asked.
    """

    process: int
    order: int | None = None
    said: str = "begun"
    id: str | None = None


class Book:
    """What was told to callers, in `file`."""

    def __init__(self, file: Path) -> None:
        self._file, self._read = file, 0
        file.touch()

    def write(self, order: int | None = None, said: str = "begun", id: str | None = None) -> None:
        """Append one line. A process that is killed meanwhile may leave a part of it, on a line of its own."""
        line = "\n" + json.dumps([os.getpid(), order, said, id]) + "\n"
        book = os.open(self._file, os.O_WRONLY | os.O_APPEND)
        os.write(book, line.encode())
        os.close(book)

    def news(self) -> list[Line]:
        """The lines that were not read before; a line that is not whole was never written."""
        with self._file.open("rb") as book:
            book.seek(self._read)
            text = book.read()
        ended = text.rfind(b"\n") + 1
        self._read += ended
        return [Line(*json.loads(line)) for line in text[:ended].splitlines() if line.endswith(b"]")]
