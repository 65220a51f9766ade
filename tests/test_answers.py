"""What every answer and every failure means: carried out, refused, provably not done, or unknown."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from fault_server import odd_bodies
from hosts import SHOP, failure, ok, write

from engine.answers import Verdict, judge, parse_json, retry_after
from engine.catalog import load
from engine.dispatcher import Answer, Failure
from engine.dispatcher.outcomes import Kind
from engine.errors import DefinitionError
from engine.json_texts import MAX_DEPTH
from engine.request_types import RequestType
from engine.schemas import Schema

GOOD = {"id": "p1", "amount": 5}
ERROR = {"error": {"message": "no funds"}}
REUSED = {"error": {"message": "other parameters", "code": "reused"}}


@pytest.fixture(scope="module")
def pay(tmp_path_factory: pytest.TempPathFactory) -> RequestType:
    """A keyed POST at a gateway that replays every answer it gave."""
    return load([write(tmp_path_factory.mktemp("shop"), SHOP)]).request_types["shop/pay"]


def html(status: int, body: bytes = b"<h1>Bad Gateway</h1>", kind: str = "text/html") -> Answer:
    """A page that some proxy made."""
    return Answer(status, {"content-type": kind} if kind else {}, body, 0.01)


OURS = {"invalid_request", "busy", "rate_limited", "circuit_open", "lease_lost", "no_token"}  # it was not even asked

# What is certain of a first attempt: result → outcome, kind, whether the same bytes may help again.
TABLE: dict[str, tuple[Answer | Failure, str, str, bool]] = {
    **{f"{kind}, not sent": (failure(kind, sent=False), "not_done", kind, kind not in OURS) for kind in get_args(Kind)},
    **{f"{kind}, sent": (failure(kind), "unknown", kind, kind not in OURS) for kind in get_args(Kind)},
    "200 as declared": (ok(GOOD), "succeeded", "ok", False),
    "200 with more than declared": (ok({**GOOD, "new": [1]}), "succeeded", "ok", False),
    "200 in problem+json's family": (
        ok(GOOD, content_type="application/hal+json; charset=utf-8"),
        "succeeded",
        "ok",
        False,
    ),
    "200 without the id": (ok({"amount": 5}), "unknown", "unexpected_shape", True),
    "200 null": (ok(b"null"), "unknown", "unexpected_shape", True),
    "200 a list": (ok([GOOD]), "unknown", "unexpected_shape", True),
    "200 with an error in it": (ok({**GOOD, **ERROR}), "declined", "http_200", False),
    "200 with an error that is no text": (ok({**GOOD, "error": {"message": {"x": 1}}}), "succeeded", "ok", False),
    "200 with an empty error": (ok({**GOOD, "error": {"message": ""}}), "succeeded", "ok", False),
    "200 HTML": (html(200), "unknown", "unreadable", True),
    "200 JSON called text": (ok(GOOD, content_type="text/plain"), "unknown", "unreadable", True),
    "200 JSON called nothing": (html(200, json.dumps(GOOD).encode(), ""), "unknown", "unreadable", True),
    "201 as declared for 200": (ok(GOOD, 201), "unknown", "http_201", False),
    "202": (ok({}, 202), "unknown", "http_202", False),
    "204": (ok(b"", 204), "unknown", "http_204", False),
    "206": (ok(GOOD, 206), "unknown", "http_206", False),
    "301 to elsewhere": (html(301), "unknown", "unreadable", False),
    "302 in JSON": (ok(GOOD, 302), "unknown", "http_302", False),
    "307 with an error": (ok(ERROR, 307), "unknown", "http_307", False),
    "308 without a body": (ok(b"", 308), "unknown", "unreadable", False),
    "400 with an error": (ok(ERROR, 400), "declined", "http_400", False),
    "402 with an error": (ok(ERROR, 402), "declined", "http_402", False),
    "404 with an error": (ok(ERROR, 404), "declined", "http_404", False),
    "422 with an error": (ok(ERROR, 422), "declined", "http_422", False),
    "401 with an error": (ok(ERROR, 401), "declined", "http_401", False),
    "403 with an error": (ok(ERROR, 403), "declined", "http_403", False),
    "400 for a key used before": (ok(REUSED, 400), "unknown", "key_mismatch", False),
    "404 trusted without a body": (ok(b"", 404), "declined", "http_404", False),
    "404 of a proxy": (html(404), "unknown", "unreadable", True),
    "410 without a body": (ok(b"", 410), "unknown", "unreadable", True),
    "403 of a firewall": (html(403), "unknown", "unreadable", True),
    "407 of a proxy": (html(407), "unknown", "unreadable", True),
    "413 of a proxy": (html(413), "unknown", "unreadable", True),
    "400 without the error's shape": (ok({"message": "no"}, 400), "unknown", "http_400", True),
    "409 with an error": (ok(ERROR, 409), "unknown", "http_409", True),
    "409 HTML": (html(409), "unknown", "http_409", True),
    "429 with an error": (ok(ERROR, 429), "not_done", "http_429", True),
    "429 HTML": (html(429), "not_done", "http_429", True),
    **{
        f"{status} with an error": (ok(ERROR, status), "unknown", f"http_{status}", True)
        for status in (500, 501, 503, 504)
    },
    **{
        f"{status} HTML": (html(status), "unknown", f"http_{status}", True) for status in (500, 502, 503, 504, 520, 599)
    },
    "500 that may be repeated": (ok(ERROR, 500, x_should_retry="true"), "unknown", "http_500", True),
    "500 that may not be repeated": (ok(ERROR, 500, x_should_retry="false"), "unknown", "http_500", False),
    "429 that may not be repeated": (ok(ERROR, 429, x_should_retry="false"), "not_done", "http_429", False),
    "302 that may be repeated": (ok(GOOD, 302, x_should_retry="true"), "unknown", "http_302", True),
    "500 with another word": (ok(ERROR, 500, x_should_retry="yes"), "unknown", "http_500", True),
    "402 that may be repeated": (ok(ERROR, 402, x_should_retry="true"), "declined", "http_402", False),
    **{
        f"200 with {name}": (ok(body), "unknown", "unreadable", True)
        for name, body in odd_bodies(json.dumps(GOOD).encode()).items()
        if name not in {"a lone surrogate", "NUL"}
    },
    "200 with a lone surrogate": (ok(b'{"id": "\\ud800"}'), "succeeded", "ok", False),
    "200 with NUL": (ok(b'{"id": "\\u0000"}'), "succeeded", "ok", False),
}


@pytest.mark.parametrize(("result", "outcome", "kind", "repeat"), TABLE.values(), ids=TABLE)
def test_a_first_attempt(pay: RequestType, result: Answer | Failure, outcome: str, kind: str, repeat: bool) -> None:
    """Only what was declared is a success, only the gateway's own words are a refusal; all else is unknown."""
    verdict = judge(pay, result, first=True)
    assert (verdict.outcome, verdict.kind, verdict.repeat) == (outcome, kind, repeat)
    assert verdict.message


@pytest.mark.parametrize(("result", "outcome", "kind", "repeat"), TABLE.values(), ids=TABLE)
def test_a_later_attempt(pay: RequestType, result: Answer | Failure, outcome: str, kind: str, repeat: bool) -> None:
    """After an unknown attempt only a success or a replayed refusal settles; the key check says nothing of before."""
    verdict = judge(pay, result, first=False)
    settles = outcome == "succeeded" or (outcome == "declined" and kind not in {"http_401", "http_403"})
    assert verdict.outcome == (outcome if settles else "unknown")
    assert (verdict.kind, verdict.repeat) == (kind, repeat)
    assert ("earlier attempt may have been carried out" in verdict.message) == (verdict.outcome != outcome)


@pytest.mark.parametrize(("result", "outcome"), [(row[0], row[1]) for row in TABLE.values()], ids=TABLE)
def test_where_only_successes_are_saved(pay: RequestType, result: Answer | Failure, outcome: str) -> None:
    """Where a gateway replays its successes only, a later refusal does not settle what came before."""
    verdict = judge(replace(pay, saves_all=False), result, first=False)
    assert verdict.outcome == ("succeeded" if outcome == "succeeded" else "unknown")


@pytest.mark.parametrize(("result", "outcome"), [(row[0], row[1]) for row in TABLE.values()], ids=TABLE)
def test_without_a_key_no_refusal_settles(pay: RequestType, result: Answer | Failure, outcome: str) -> None:
    """A repeat that is harmless by nature but carries no key is a new call: its refusal says nothing of the earlier."""
    verdict = judge(replace(pay, key_header=None, idempotent=True), result, first=False)
    assert verdict.outcome == ("succeeded" if outcome == "succeeded" else "unknown")


def test_a_status_that_is_declared(pay: RequestType) -> None:
    """A file may declare other statuses as success; 200 is none then. 204 has no body to check."""
    created = replace(pay, expected=(201, 204), expected_body=None)
    for status, body, outcome in ((201, GOOD, "succeeded"), (204, b"", "succeeded"), (200, GOOD, "unknown")):
        assert judge(created, ok(body, status), first=True).outcome == outcome
    said = (
        "answered 200, which is no success here (expect.status is 201, 204) and names no error; if it is one, write it "
        "into expect.status"
    )
    assert judge(created, ok(GOOD, 200), first=True).message == said


def test_a_success_without_a_body(pay: RequestType) -> None:
    """A file may say that a status needs no body: then none is a success, if the answer says itself where it ends."""
    accepted = replace(pay, bodiless=(202,))
    for answer, outcome in (
        (ok(b"", 202, content_length="0"), "succeeded"),
        (ok(b"", 202, transfer_encoding="chunked"), "succeeded"),
        (ok(b"", 202), "unknown"),
        (ok(GOOD, 202), "unknown"),
        (ok(b"", 200, content_length="0"), "unknown"),
        (ok(ERROR, 202), "declined"),
    ):
        verdict = judge(accepted, answer, first=True)
        assert (verdict.outcome, verdict.response) == (outcome, None if outcome == "succeeded" else verdict.response)


def test_too_many_calls_by_another_status(pay: RequestType) -> None:
    """What the file calls so was not done, and is sent again after as long as the gateway asks for."""

    def reading(names: Any) -> dict[str, Any]:
        return {"error": "slow down", "limited": names["headers"].get("x-left") == "0"}

    hub = replace(pay, reading=reading)
    for status in (200, 403):
        verdict = judge(hub, ok(ERROR, status, x_left="0", retry_after="7"), first=True)
        assert (verdict.outcome, verdict.kind, verdict.repeat, verdict.wait) == (
            "not_done",
            f"http_{status}",
            True,
            7.0,
        )
        assert judge(hub, ok(ERROR, status, x_left="0"), first=False).outcome == "unknown"
    assert judge(hub, ok(ERROR, 403, x_left="1"), first=True).outcome == "declined"
    assert judge(hub, ok(ERROR, 503, x_left="0"), first=True).outcome == "unknown"
    assert judge(hub, ok(ERROR, 409, x_left="0"), first=True).outcome == "unknown"


def test_a_success_in_text(pay: RequestType) -> None:
    """A file may take a text for an answer, and says which; what a proxy writes is none."""
    plain = replace(pay, takes_text=True, expected_body=Schema({"const": "ok"}), reading=lambda _: {})

    def text(body: bytes, kind: str = "text/plain; charset=utf-8", **headers: str) -> Answer:
        return Answer(200, {"content-type": kind, **(headers or {"content-length": str(len(body))})}, body, 0.01)

    for answer, outcome in (
        (text(b"ok"), "succeeded"),
        (text(b"ok", **{"transfer-encoding": "chunked"}), "succeeded"),
        (text(b"ok", x="y"), "unknown"),
        (text(b"o"), "unknown"),
        (text(b"\xff"), "unknown"),
        (text(b"ok", "text/html"), "unknown"),
        (ok("ok"), "succeeded"),
    ):
        assert judge(plain, answer, first=True).outcome == outcome
    assert judge(replace(plain, takes_text=False), text(b"ok"), first=True).outcome == "unknown"


def test_a_conflict_that_refuses(pay: RequestType) -> None:
    """Where the file says so, 409 refuses as any other status does: in the error's shape, and by nothing else."""
    strict = replace(pay, refusals=(409,))
    for answer, outcome in ((ok(ERROR, 409), "declined"), (html(409), "unknown"), (ok(ERROR, 429), "not_done")):
        assert judge(strict, answer, first=True).outcome == outcome


def test_no_error_is_named(pay: RequestType) -> None:
    """A gateway file without `error` and bodiless refusals knows no refusals at all."""
    mute = replace(pay, reading=lambda _: {}, bodiless_refusals=())
    for result in (ok(ERROR, 402), ok(b"", 404)):
        assert judge(mute, result, first=True).outcome == "unknown"


def test_what_a_refusal_says(pay: RequestType) -> None:
    """A refusal carries the gateway's own words and its parsed answer."""
    verdict = judge(pay, ok(ERROR, 402), first=True)
    assert verdict == Verdict("declined", "http_402", "no funds", ERROR)


WAITS: list[tuple[dict[str, str], float | None]] = [
    ({"retry-after": "3"}, 3.0),
    ({"retry-after": " 120 "}, 120.0),
    ({"retry-after": "0"}, 0.0),
    ({}, None),
    ({"retry-after": ""}, None),
    ({"retry-after": "-5"}, None),
    ({"retry-after": "1.5"}, None),
    ({"retry-after": "soon"}, None),
    ({"retry-after": "9" * 30}, None),
    ({"retry-after": "\u0663"}, None),
    ({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT", "date": "Thu, 01 Jan 2026 00:00:00 GMT"}, 60.0),
    ({"retry-after": "Thu, 01 Jan 2026 00:00:00 GMT", "date": "Thu, 01 Jan 2026 00:01:00 GMT"}, 0.0),
    ({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT"}, None),
    ({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT", "date": "yesterday"}, None),
    ({"retry-after": "Thu, 01 Jan 2026 00:01:00 GMT", "date": "Thu, 01 Jan 2026 00:00:00 -0000"}, None),
]


@pytest.mark.parametrize(("headers", "seconds"), WAITS)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    """Retry-After is seconds or a date beside the answer's own; anything else is as if it were not there."""
    assert retry_after(headers) == seconds


DATE = "Thu, 01 Jan 2026 00:00:00 GMT"  # 1767225600


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-reset": "1767225660", "date": DATE}, 60.0),
        ({"x-reset": "1767225000", "date": DATE}, 0.0),
        ({"x-reset": "1767225660"}, None),
        ({"x-reset": "45"}, 45.0),
        ({"x-reset": "2.75"}, 2.75),
        ({"x-reset": "1e3"}, None),
        ({"x-reset": "Thu, 01 Jan 2026 00:01:00 GMT", "date": DATE}, 60.0),
        ({"x-reset": "later", "retry-after": "7"}, None),
        ({"retry-after": "7"}, 7.0),
        ({}, None),
    ],
)
def test_a_file_says_when_to_send_again(tmp_path: Path, headers: dict[str, str], seconds: float | None) -> None:
    """In seconds, by a date, or in seconds since 1970; where it says nothing, Retry-After does."""
    text = SHOP["request_types/shop/pay.yml"] + "retry: {after: \"{{ headers['x-reset'] }}\"}\n"
    type = load([write(tmp_path, {**SHOP, "request_types/shop/pay.yml": text})]).request_types["shop/pay"]
    assert judge(type, ok({}, 429, **headers), first=True).wait == seconds
    assert judge(type, html(503), first=True).wait is None


def test_when_to_send_again_is_of_the_answer_alone(tmp_path: Path) -> None:
    """What cannot be read leaves it to Retry-After; a name that is not known is a fault."""
    text = SHOP["request_types/shop/pay.yml"] + 'retry: {after: "{{ response.at | epoch }}"}\n'
    type = load([write(tmp_path / "a", {**SHOP, "request_types/shop/pay.yml": text})]).request_types["shop/pay"]
    assert judge(type, ok({"at": "never"}, 429, retry_after="7"), first=True).wait == 7.0
    files = {**SHOP, "request_types/shop/pay.yml": text.replace("response.at", "data.at")}
    with pytest.raises(DefinitionError, match="the name 'data' is not known here"):
        load([write(tmp_path / "b", files)])


GET = """\
summary: Read a payment.
method: GET
url: /payments/{{ data.id }}
expect: {missing: [404], body: {required: [id]}}
data: {required: [id], properties: {id: {type: string}}}
"""


def test_there_is_no_such_thing(tmp_path: Path) -> None:
    """A status that says so is an answer, in JSON as any other; what a proxy writes is none."""
    type = load([write(tmp_path / "a", {**SHOP, "request_types/shop/get.yml": GET})]).request_types["shop/get"]
    assert judge(type, ok(ERROR, 404), first=True) == Verdict("succeeded", "ok", "answered 404: there is no such thing")
    for answer, outcome in ((ok(ERROR, 410), "declined"), (html(404), "unknown"), (ok(GOOD), "succeeded")):
        assert judge(type, answer, first=True).outcome == outcome
    files = {**SHOP, "request_types/shop/get.yml": GET.replace("GET", "DELETE") + "idempotent: true\n"}
    with pytest.raises(DefinitionError, match="only a GET may find that there is nothing"):
        load([write(tmp_path / "b", files)])


def test_strict_json() -> None:
    """JSON is UTF-8 without duplicate keys, NaN or endless nesting; numbers of any size are kept."""
    assert parse_json(b'{"a": [1, 1e2, "\\u00e9"]}') == {"a": [1, 100.0, "é"]}
    assert parse_json(b"[" * MAX_DEPTH + b"]" * MAX_DEPTH)
    for body, why in (
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "nested too deep"),
        (b'{"a": 1, "a": 1}', "same key twice"),
        (b"Infinity", "Infinity is not JSON"),
        (b"\xff", "not UTF-8"),
        (b"", "not JSON"),
        (b"1 2", "not JSON"),
    ):
        with pytest.raises(ValueError, match=why):
            parse_json(body)


def test_a_huge_exponent(pay: RequestType) -> None:
    """A number that no float can hold is not taken for infinity."""
    verdict = judge(pay, ok(b'{"id": "p1", "amount": 1e400}'), first=True)
    assert verdict.outcome == "unknown"


def test_reading_itself_may_fail(pay: RequestType) -> None:
    """Where the file's own words about an answer cannot be read from it, nothing is believed."""

    def broken(_: Any) -> Any:
        raise ValueError("cannot be read")

    assert judge(replace(pay, reading=broken), ok(GOOD), first=True).outcome == "unknown"


def test_a_refusal_leads_nowhere(tmp_path: Path) -> None:
    """What only a success has, where it leads, is asked of no refusal, and of no answer of another shape."""
    counted = "{{ response.page < response.total_pages }}"
    pages = f'pages: {{items: /items, more: "{counted}", next: {{page: "{{{{ response.page + 1 }}}}"}}}}\n'
    files = {
        "request_types/shop/go.yml": "summary: x\nmethod: POST\nurl: /x\nexpect: {body: {required: [token]}}\n"
        "redirect: \"{{ 'https://pay.shop.test/' + response.token }}\"\n",
        "request_types/shop/list.yml": "summary: x\nmethod: GET\nurl: /x\nexpect: {body: {required: [page]}}\n" + pages,
        "request_types/shop/_gateway.yml": SHOP["request_types/shop/_gateway.yml"]
        + "browser: {redirect: [pay.shop.test]}\n",
    }
    types = load([write(tmp_path, {**SHOP, **files})]).request_types
    for name, lacks in (("shop/go", "token"), ("shop/list", "page")):
        refused, odd = (judge(types[name], answer, first=True) for answer in (ok(ERROR, 402), ok({"items": []})))
        assert (refused.outcome, refused.kind, refused.message) == ("declined", "http_402", "no funds")
        assert odd.outcome == "unknown"
        assert f"/{lacks}: is required" in odd.message
    unread = judge(types["shop/go"], ok({"token": 5}), first=True)
    assert unread.outcome == "unknown"
    assert "request_types/shop/go.yml:5" in unread.message


def test_the_table_names_every_kind(tmp_path: Path) -> None:
    """Each failure that the dispatcher knows is judged, sent and not sent."""
    kinds = {row[0].kind for row in TABLE.values() if isinstance(row[0], Failure)}
    assert kinds == set(get_args(Kind))
