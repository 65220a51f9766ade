"""What an answer means: carried out, refused, to be repeated, or unknown.

Hides: the table of HTTP statuses and shapes that may be trusted. Success is only what was declared: the status, JSON
that parses strictly, the shape. Everything that is not plainly one thing is unknown; nothing falls through to success.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Literal

from engine import bodies
from engine.card_numbers import may_hold_card_number, without_card_numbers
from engine.dispatcher import HELD_BACK, Answer, Failure
from engine.json_texts import is_too_deep, no_constant, unique_pairs
from engine.request_types import RequestType
from engine.values import unchanging

Outcome = Literal["succeeded", "declined", "not_done", "unknown"]

CONFLICT = "http_409"  # the kind of an answer by which gateways say that they know the key, and not what they did by it


@unchanging
class Verdict:
    """What one exchange amounts to.

    `not_done`: provably not carried out. `unknown`: perhaps carried out. `response` is the parsed body, None where it
    could not be trusted. `repeat`: sending the same bytes again may help. `wait` is what the gateway asks for, in
    seconds. `kind` names the case for the journal, `message` says it to a developer.
    """

    outcome: Outcome
    kind: str
    message: str
    response: Any = None
    repeat: bool = False
    wait: float | None = None


def judge(type: RequestType, result: Answer | Failure, *, first: bool) -> Verdict:
    """What `result` means for a call of `type`; `first`: no earlier attempt may have been carried out."""
    if isinstance(result, Failure):
        verdict = Verdict(
            "unknown" if result.sent else "not_done",
            result.kind,
            result.message,
            repeat=result.kind != "invalid_request" and result.kind not in HELD_BACK,
        )
    else:
        verdict = _read(type, result)
        if verdict.outcome in {"unknown", "not_done"}:
            asked = result.headers.get((type.retry_header or "").lower())
            repeat = asked == "true" if asked in {"true", "false"} else verdict.repeat
            verdict = replace(verdict, repeat=repeat)
        if verdict.outcome != "succeeded":
            verdict = replace(verdict, wait=_wait(type, result, verdict.response))
        if result.status == 401 and "oauth2" in type.auth and verdict.outcome == "unknown":
            verdict = Verdict("declined", "http_401", "answered 401: the token was refused", verdict.response)
    return verdict if first else _after_unknown(type, verdict)


def _after_unknown(type: RequestType, verdict: Verdict) -> Verdict:
    """A later attempt cannot tell what became of an earlier one, unless the gateway replays every answer it gave."""
    checked_before_the_key = verdict.kind in {"http_401", "http_403"}
    replayed = not type.journaled or (type.key_header is not None and type.saves_all)
    settles = verdict.outcome == "declined" and replayed and not checked_before_the_key
    if verdict.outcome in {"succeeded", "unknown"} or settles:
        return verdict
    return replace(
        verdict, outcome="unknown", message=f"{verdict.message}; an earlier attempt may have been carried out"
    )


def _read(type: RequestType, answer: Answer) -> Verdict:
    status = answer.status
    try:
        response = read_body(type, answer)
        said = type.says(response, status, answer.headers)
    except ValueError as error:
        return _unreadable(type, answer, str(error))
    is_refusal = isinstance(said.get("error"), str) and status not in type.missing
    refusal = said["error"] if is_refusal else None
    if _is_busy(type, status):
        return _busy(status, refusal, response)
    if said.get("limited") is True and not 300 <= status < 400:
        return Verdict(
            "not_done", f"http_{status}", f"answered {status}: {refusal or 'too many calls'}", response, True
        )
    if said.get("mismatch") is True:
        return Verdict(
            "unknown",
            "key_mismatch",
            f"the key was used with another body before, so see what that did: {refusal}",
            response,
        )
    if refusal and not 300 <= status < 400:
        return Verdict("declined", f"http_{status}", refusal, response)
    return _success(type, answer, response)


def _success(type: RequestType, answer: Answer, response: Any) -> Verdict:
    status = answer.status
    if status in type.missing:
        return Verdict("succeeded", "ok", f"answered {status}: there is no such thing")
    bodiless = response is None and status in type.bodiless
    if status not in type.expected and not bodiless:
        expected = ", ".join(map(str, sorted(type.expected)))
        message = f"answered {status}, which is no success here (expect.status is {expected}) and names no error"
        if status < 300:
            message += "; if it is one, write it into expect.status"
        return Verdict("unknown", f"http_{status}", message, response, repeat=status >= 400)
    problems = type.expected_body.problems(response) if type.expected_body and not bodiless else []
    if problems:
        message = f"answered {status} in another shape than expected: {problems[0]}"
        return Verdict("unknown", "unexpected_shape", message, response, repeat=True)
    if type.leads_on:
        try:
            type.leads(response, status, answer.headers)
        except ValueError as error:
            return _unreadable(type, answer, str(error))
    return Verdict("succeeded", "ok", f"answered {status}", response)


def _unreadable(type: RequestType, answer: Answer, why: str) -> Verdict:
    status = answer.status
    if not answer.body and status in type.bodiless_refusals:
        return Verdict("declined", f"http_{status}", f"answered {status} without a body")
    if _is_busy(type, status):
        return _busy(status, None, None)
    return Verdict("unknown", "unreadable", f"answered {status}, and {why}", repeat=not 300 <= status < 400)


def _is_busy(type: RequestType, status: int) -> bool:
    """Statuses that are no refusal: the gateway is at work, full, or broken, unless its file says that it refuses."""
    return (status in {409, 429} and status not in type.refusals) or status >= 500


def _busy(status: int, error: str | None, response: Any) -> Verdict:
    message = f"answered {status}: {error}" if error else f"answered {status}"
    return Verdict("not_done" if status == 429 else "unknown", f"http_{status}", message, response, repeat=True)


def read_body(type: RequestType, answer: Answer) -> Any:
    """The parsed body; None where there is none, and the status or the file says that there is none.

    Raises ValueError saying why it is no JSON, nor a text where the file takes one.
    """
    if not answer.body and (answer.status in {204, 205} or (answer.status in type.bodiless and _is_whole(answer))):
        return None
    kind = bodies.media_type(answer.headers.get("content-type", ""))
    if kind == "text/plain" and type.takes_text and _is_whole(answer):
        return answer.body.decode("utf-8")
    if not bodies.is_json(kind):
        raise ValueError(f"the answer is {kind or 'of no type'}, not JSON")
    return parse_json(answer.body)


def _is_whole(answer: Answer) -> bool:
    """Whether the answer itself says where it ends; one that ends with its connection may have been cut off."""
    return not answer.headers.keys().isdisjoint({"transfer-encoding", "content-length"})


def reader(pairs: Callable[[list[tuple[str, Any]]], Any]) -> json.JSONDecoder:
    """What reads strict JSON and makes of an object what `pairs` makes of its keys and values."""
    return json.JSONDecoder(object_pairs_hook=pairs, parse_constant=no_constant, parse_float=_finite)


def parse_json(body: bytes, decoder: json.JSONDecoder | None = None) -> Any:
    """Strict JSON (RFC 8259): UTF-8, no NaN, nested no deeper than MAX_DEPTH; no duplicate keys, unless a `reader` may.

    Raises ValueError saying what is wrong.
    """
    try:
        text = body.decode("utf-8")
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a byte order mark")
        value = (decoder or _DECODER).decode(text)
    except UnicodeDecodeError:
        raise ValueError("the body is not UTF-8") from None
    except RecursionError:
        raise ValueError("the body is nested too deep") from None
    except ValueError as error:
        said = "a number has too many digits" if "set_int_max_str_digits" in str(error) else error
        raise ValueError(f"the body is not JSON: {said}") from None
    if is_too_deep(text, value):
        raise ValueError("the body is nested too deep")
    return value


def clean_body(body: bytes, redact: Callable[[str], str]) -> bytes:
    """A body from outside as it may be kept: `redact` takes secrets out, and card numbers in its texts are masked."""
    text = body.decode("utf-8", "surrogateescape")
    clean = redact(text)
    if may_hold_card_number(clean):
        clean = _without_card_numbers(clean)
    return body if clean == text else clean.encode("utf-8", "surrogateescape")


def _without_card_numbers(text: str) -> str:
    try:
        value = parse_json(text.encode("utf-8", "surrogateescape"))
    except ValueError:
        return str(without_card_numbers(text))
    clean = without_card_numbers(value)
    return text if clean == value else json.dumps(clean)


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError(f"{text} is too large")
    return number


_DECODER = reader(unique_pairs)


_PARTS_OF_A_SECOND = re.compile(r"[0-9]{1,9}\.[0-9]{1,9}")  # Retry-After has none, and what gateways say beside it does


def _wait(type: RequestType, answer: Answer, response: Any) -> float | None:
    """Seconds after which the request may be sent again, as the file reads it, or as Retry-After says."""
    if type.after is not None:
        known = {"response": response, "status": answer.status, "headers": answer.headers}
        with suppress(ValueError):
            if (said := type.after(known).get("after")) is not None:
                text = str(said)
                return float(text) if _PARTS_OF_A_SECOND.fullmatch(text) else _seconds(text, answer.headers)
    return retry_after(answer.headers)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as Retry-After says (RFC 9110, 10.2.3); None where it makes no sense."""
    return _seconds(headers.get("retry-after", ""), headers)


def _seconds(text: str, headers: Mapping[str, str]) -> float | None:
    """Seconds from now, the header Date: their number in `text`, or up to a date, or to a second since 1970."""
    text = text.strip()
    is_number = text.isascii() and text.isdigit()
    if is_number and len(text) <= 9:
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        moment = datetime.fromtimestamp(int(text), UTC) if is_number else parsedate_to_datetime(text)
        return max(0.0, (moment - parsedate_to_datetime(headers["date"])).total_seconds())
    except (ValueError, TypeError, KeyError, OverflowError, OSError):
        return None
