"""The exit codes of every command that may send something."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from engine.errors import EngineError

REFUSED, WRONG, UNKNOWN, UNMAPPED, NOT_DONE, STOPPED = 1, 2, 3, 4, 5, 130

MEANINGS = """\b
Exit codes:
  0  it was carried out and its records are kept
  1  the gateway refused; it was not carried out
  2  not sent: the command, the data, a file or a setting is wrong
  3  PERHAPS carried out: no trustworthy answer came
  4  CARRIED OUT, but its answer could not be mapped; the answer is kept
  5  provably not carried out: the gateway could not be reached
"""


def code_of(error: EngineError) -> int:
    """The code that tells scripts what became of a call, or that nothing was begun."""
    from engine.errors import MappingError, RejectedError, TransportError, UnknownOutcome

    codes = ((RejectedError, REFUSED), (MappingError, UNMAPPED), (TransportError, NOT_DONE), (UnknownOutcome, UNKNOWN))
    return next((code for kind, code in codes if isinstance(error, kind)), WRONG)
