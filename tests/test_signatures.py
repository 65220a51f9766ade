"""Webhook signatures: what the gateways sign is accepted, and nothing else is."""

from __future__ import annotations

import base64
import datetime as dt
import hmac
import json
import re
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

import pytest
import stripe
from hypothesis import given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook

from engine.errors import SettingError, SignatureError
from engine.signatures import CHOICES, HEADER_LIMIT, SHIPPED, Scheme, check_secret, scheme_of, sign, verify

ROOT = Path(__file__).parents[1]
NOW = 1_700_000_000
BODY = b'{"id": "evt_1", "type": "charge.succeeded", "created": 1700000000, "data": {"object": {"id": "ch_1"}}}'
TEXT_SECRET = "whsec_5f2a9c81d7e34b60a1"
CODED_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
OLD_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
NAMES = sorted(SHIPPED)


def secret_of(name: str) -> str:
    return CODED_SECRET if name == "standard-webhooks" else TEXT_SECRET


def is_accepted(
    scheme: Scheme,
    headers: Mapping[str, str],
    body: bytes = BODY,
    *secrets: bytes | str,
    now: float = NOW,
) -> bool:
    """Whether `verify` accepts; any error but SignatureError is a failure of the test."""
    try:
        verify(scheme, secrets, headers, body, now)
    except SignatureError:
        return False
    return True


# Vectors of others ----------------------------------------------------------------------------------------------------


def test_the_published_vector_of_standard_webhooks() -> None:
    headers = {
        "Webhook-Id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "Webhook-Timestamp": "1614265330",
        "Webhook-Signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    verify(SHIPPED["standard-webhooks"], [CODED_SECRET], headers, b'{"test": 2432232314}', 1614265330)


def test_the_published_vector_of_github() -> None:
    headers = {"X-Hub-Signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"}
    verify(SHIPPED["github"], [b"It's a Secret to Everybody"], headers, b"Hello, World!", NOW)


def test_the_published_vector_of_slack() -> None:
    body = (
        b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow&channel_id=G8PSS9T3V"
        b"&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner&command=%2Fwebhook-collect&text="
        b"&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
        b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
    )
    headers = {
        "X-Slack-Request-Timestamp": "1531420618",
        "X-Slack-Signature": "v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
    }
    verify(SHIPPED["slack"], ["8f742231b10e8888abcd99yyyzzz85a5"], headers, body, 1531420618)


def test_shopify_sends_the_plain_hmac_in_base64() -> None:
    """RFC 4231, test case 1."""
    digest = bytes.fromhex("b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7")
    headers = {"X-Shopify-Hmac-SHA256": base64.b64encode(digest).decode()}
    verify(SHIPPED["shopify"], [b"\x0b" * 20], headers, b"Hi There", NOW)


@settings(max_examples=300)
@given(body=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=500))
def test_stripes_library_and_we_agree(body: str) -> None:
    scheme, now, raw = SHIPPED["stripe"], time.time(), body.encode()
    theirs = stripe.WebhookSignature.generate_signature_header(body, TEXT_SECRET)
    verify(scheme, [TEXT_SECRET], {"Stripe-Signature": theirs}, raw, now)
    ours = sign(scheme, TEXT_SECRET, raw, now)["Stripe-Signature"]
    assert stripe.WebhookSignature.verify_header(raw, ours, TEXT_SECRET, tolerance=300)


@settings(max_examples=300)
@given(body=st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=500))
def test_the_library_of_standard_webhooks_and_we_agree(body: str) -> None:
    scheme, now, raw = SHIPPED["standard-webhooks"], dt.datetime.now(dt.UTC), body.encode()
    theirs = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(CODED_SECRET).sign("msg_1", now, body),
    }
    verify(scheme, [CODED_SECRET], theirs, raw, now.timestamp())
    ours = sign(scheme, CODED_SECRET, raw, now.timestamp())
    Webhook(CODED_SECRET).verify(raw, ours, json_parse=False)


# Every scheme ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=50)
@given(body=st.binary(max_size=300))
def test_what_we_sign_we_accept(name: str, body: bytes) -> None:
    scheme, secret = SHIPPED[name], secret_of(name)
    verify(scheme, [secret], sign(scheme, secret, body, NOW), body, NOW)


@pytest.mark.parametrize("name", NAMES)
def test_names_of_headers_have_no_case(name: str) -> None:
    scheme, secret = SHIPPED[name], secret_of(name)
    headers = {key.swapcase(): value for key, value in sign(scheme, secret, BODY, NOW).items()}
    verify(scheme, [secret], headers, BODY, NOW)


@pytest.mark.parametrize("name", NAMES)
def test_no_change_of_one_bit_is_accepted(name: str) -> None:
    """Of ten events: in the body, and in each header that proves it."""
    scheme, secret, accepted = SHIPPED[name], secret_of(name), 0
    for number in range(10):
        body = BODY + str(number).encode()
        headers = sign(scheme, secret, body, NOW, message_id=f"msg_{number}")
        assert is_accepted(scheme, headers, body, secret)
        for bit in range(len(body) * 8):
            accepted += is_accepted(scheme, headers, _flipped(body, bit), secret)
        for header, value in headers.items():
            raw = value.encode()
            for bit in range(len(raw) * 8):
                changed = {**headers, header: _flipped(raw, bit).decode("latin-1")}
                accepted += is_accepted(scheme, changed, body, secret)
    assert accepted == 0


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


@pytest.mark.parametrize("name", [name for name in NAMES if SHIPPED[name].is_timed])
def test_the_time_may_be_off_by_300_seconds_both_ways(name: str) -> None:
    scheme, secret = SHIPPED[name], secret_of(name)
    headers = sign(scheme, secret, BODY, NOW)
    offsets = [-10_000_000, -301, -300.5, -300, 0, 300, 300.5, 301, 10_000_000]
    found = [offset for offset in offsets if is_accepted(scheme, headers, BODY, secret, now=NOW + offset)]
    assert found == [-300, 0, 300]


def test_the_reason_tells_a_wrong_clock_from_a_wrong_secret() -> None:
    scheme = SHIPPED["stripe"]
    headers = sign(scheme, TEXT_SECRET, BODY, NOW)
    with pytest.raises(SignatureError, match="was signed 400 s ago, and 300 s are tolerated"):
        verify(scheme, [TEXT_SECRET], headers, BODY, NOW + 400)
    with pytest.raises(SignatureError, match="signed with another secret"):
        verify(scheme, [OLD_SECRET], headers, BODY, NOW + 400)


@pytest.mark.parametrize("name", NAMES)
def test_any_active_secret_may_have_signed(name: str) -> None:
    scheme, new = SHIPPED[name], secret_of(name)
    by_old, by_new = sign(scheme, OLD_SECRET, BODY, NOW), sign(scheme, new, BODY, NOW)
    for headers in (by_old, by_new):
        assert is_accepted(scheme, headers, BODY, new, OLD_SECRET)
        assert is_accepted(scheme, headers, BODY, OLD_SECRET, new)
    assert not is_accepted(scheme, by_old, BODY, new), "an ended one may not"


@pytest.mark.parametrize("name", NAMES)
def test_a_secret_that_anybody_can_guess_opens_nothing(name: str) -> None:
    scheme = SHIPPED[name]
    headers = sign(scheme, b"x" * 32, BODY, NOW)
    for secrets in (
        [],
        [""],
        [b""],
        ["   "],
        ["short"],
        [b"15 bytes of key"],
        ["a secret with blanks in it"],
        ["é" * 20],
    ):
        assert not is_accepted(scheme, headers, BODY, *secrets)
        with pytest.raises(SignatureError):
            sign(scheme, secrets[0] if secrets else "", BODY, NOW)
    with pytest.raises(SignatureError, match="no secret is known"):
        verify(scheme, [], headers, BODY, NOW)


@pytest.mark.parametrize("name", NAMES)
def test_no_missing_or_doubled_header_is_accepted(name: str) -> None:
    scheme, secret = SHIPPED[name], secret_of(name)
    headers = sign(scheme, secret, BODY, NOW)
    for header, value in headers.items():
        rest = {key: kept for key, kept in headers.items() if key != header}
        assert not is_accepted(scheme, rest, BODY, secret)
        assert not is_accepted(scheme, {**rest, header: ""}, BODY, secret)
        assert not is_accepted(scheme, {**headers, header.swapcase(): value}, BODY, secret)
        assert not is_accepted(scheme, {**headers, header: value + " " * HEADER_LIMIT}, BODY, secret)


# Stripe's header, a list of key=value ---------------------------------------------------------------------------------


def stripe_header(*items: str) -> dict[str, str]:
    return {"Stripe-Signature": ",".join(items)}


GOOD = sign(SHIPPED["stripe"], TEXT_SECRET, BODY, NOW)["Stripe-Signature"].split("v1=")[1]
BAD = "0" * 64
T = f"t={NOW}"
ARABIC = "".join(chr(0x660 + int(digit)) for digit in str(NOW))  # digits to str.isdigit and to int


@pytest.mark.parametrize(
    "items",
    [
        (T, f"v1={GOOD}"),
        (f"v1={GOOD}", T),
        (T, f"v1={BAD}", f"v1={GOOD}"),
        (T, f"v1={GOOD}", f"v1={BAD}", "v0=6ffbb59b", "scheme=a=b"),
        (T, f"v1={GOOD}", "v1=\xe9"),
        (T, *[f"v1={BAD}"] * 15, f"v1={GOOD}"),
    ],
    ids=["one", "order", "rotation", "other schemes", "beside nonsense", "sixteen"],
)
def test_a_header_with_one_time_and_a_good_signature_is_accepted(items: tuple[str, ...]) -> None:
    verify(SHIPPED["stripe"], [TEXT_SECRET], stripe_header(*items), BODY, NOW)


def test_the_limit_of_a_header_is_exact() -> None:
    start = f"{T},v1={GOOD},v0="
    for length, is_fine in ((HEADER_LIMIT, True), (HEADER_LIMIT + 1, False)):
        headers = {"Stripe-Signature": start + "x" * (length - len(start))}
        assert is_accepted(SHIPPED["stripe"], headers, BODY, TEXT_SECRET) == is_fine


@pytest.mark.parametrize(
    "items",
    [
        (f"v1={GOOD}",),
        (T,),
        (T, T, f"v1={GOOD}"),
        (T, f"t={NOW + 1}", f"v1={GOOD}"),
        (f"t={NOW}.0", f"v1={GOOD}"),
        (f"t=+{NOW}", f"v1={GOOD}"),
        (f"t= {NOW}", f"v1={GOOD}"),
        (f"t=0{NOW}", f"v1={GOOD}"),
        (f"t={ARABIC}", f"v1={GOOD}"),
        ("t=", f"v1={GOOD}"),
        ("t=1" + "0" * 12, f"v1={GOOD}"),
        (T, f"v0={GOOD}"),
        (T, f"V1={GOOD}"),
        (T, f"v1={GOOD}=x"),
        (T, f"v1={GOOD.upper()}"),
        (T, f" v1={GOOD}"),
        (T, f"v1={GOOD} "),
        (T, "", f"v1={GOOD}"),
        (T, f"v1={GOOD}", ""),
        (T, f"v1={GOOD[:-1]}"),
        (T, "v1="),
        (T, *[f"v1={BAD}"] * 16, f"v1={GOOD}"),
        ("",),
    ],
)
def test_a_header_that_is_anything_else_is_refused(items: tuple[str, ...]) -> None:
    with pytest.raises(SignatureError):
        verify(SHIPPED["stripe"], [TEXT_SECRET], stripe_header(*items), BODY, NOW)


def test_the_list_that_the_library_of_standard_webhooks_is_tested_with() -> None:
    scheme = SHIPPED["standard-webhooks"]
    headers = sign(scheme, CODED_SECRET, BODY, NOW)
    signature = headers["webhook-signature"]
    _, value = signature.split(",")

    def with_signature(text: str) -> bool:
        return is_accepted(scheme, {**headers, "webhook-signature": text}, BODY, CODED_SECRET)

    assert with_signature(f"v1,{BAD} v2,{value} {signature} v1a,{value}")
    refused = ["v1,", "v1", value, f"v2,{value}", f"v1,{value[:10]}", f"v1,{value}==", f"v1,{value},", f"v1,{value}\n"]
    assert [text for text in refused if with_signature(text)] == []
    assert is_accepted(scheme, headers, BODY, CODED_SECRET.removeprefix("whsec_")), "the prefix may be left out"
    unpadded = "whsec_" + base64.b64encode(bytes(25)).decode().rstrip("=")
    assert is_accepted(scheme, sign(scheme, unpadded, BODY, NOW), BODY, unpadded)
    for size, is_key in ((16, False), (23, False), (24, True), (64, True), (65, False)):
        key = b"k" * size
        coded = "whsec_" + base64.b64encode(key).decode()
        assert is_accepted(scheme, sign(scheme, key, BODY, NOW), BODY, coded) == is_key
    assert not is_accepted(scheme, headers, BODY, "whsec_!!!!" + "A" * 40)
    for event_id in ("msg.1", "msg 1", "m" * 257, "\xe9"):
        forged = sign(scheme, CODED_SECRET, BODY, NOW, message_id=event_id)
        assert not is_accepted(scheme, forged, BODY, CODED_SECRET)
    assert is_accepted(scheme, sign(scheme, CODED_SECRET, b"", NOW), b"", CODED_SECRET)


# Whatever the headers -------------------------------------------------------------------------------------------------

ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=[]), max_size=200)
PARTS = st.sampled_from(["t=", "v1=", "v1,", ",", " ", "=", ".", str(NOW), GOOD, BAD, "sha256=", "v0=", "\ud800", "é"])


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=100)
@given(texts=st.lists(ANY_TEXT | st.lists(PARTS, max_size=12).map("".join), min_size=3, max_size=3))
def test_no_header_raises_anything_but_a_signature_error(name: str, texts: list[str]) -> None:
    scheme = SHIPPED[name]
    names = [scheme.header, scheme.timestamp or "X", scheme.id or "Y"]
    assert not is_accepted(scheme, dict(zip(names, texts, strict=True)), b"another body", secret_of(name))


def test_values_that_are_no_text_are_refused() -> None:
    for value in (None, 5, b"v1=a", ["v1=a"]):
        headers: dict[str, object] = {"Stripe-Signature": value}
        assert not is_accepted(SHIPPED["stripe"], headers, BODY, TEXT_SECRET)  # type: ignore[arg-type]


# Schemes --------------------------------------------------------------------------------------------------------------


def test_a_gateway_file_can_describe_its_own() -> None:
    scheme = scheme_of(
        {
            "header": "X-Pay-Signature",
            "signed": "v2;{id};{timestamp};{body};",
            "digest": "sha512",
            "encoding": "base64",
            "prefix": "v2=",
            "separator": ";",
            "timestamp_prefix": "at=",
            "id": "X-Pay-Id",
            "tolerance": 60,
        }
    )
    headers = sign(scheme, TEXT_SECRET, BODY, NOW, message_id="{body}{timestamp}")
    assert headers["X-Pay-Signature"].startswith(f"at={NOW};v2=")
    assert is_accepted(scheme, headers, BODY, TEXT_SECRET, now=NOW + 60)
    assert not is_accepted(scheme, headers, BODY, TEXT_SECRET, now=NOW + 61)
    assert not is_accepted(scheme, {**headers, "X-Pay-Id": "other"}, BODY, TEXT_SECRET)


TIMED: dict[str, tuple[str, list[str]]] = {
    "seconds": (str(NOW), ["", "x", "1.5", f"{NOW}000", f"-{NOW}", f" {NOW}"]),
    "milliseconds": (f"{NOW}000", ["", "x", f"{NOW}", "1" * 16]),
    "iso8601": (
        dt.datetime.fromtimestamp(NOW, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        ["", str(NOW), "2026-13-45T00:00:00Z", "2026-01-01T00:00:00", "2026-01-01", "0001-01-01T00:00:00+23:59"],
    ),
}


@pytest.mark.parametrize("encoding", TIMED)
def test_a_time_is_read_as_the_gateway_writes_it(encoding: str) -> None:
    spec = {**HMAC, "signed": "{timestamp}.{body}", "timestamp": "X-Time", "timestamp_encoding": encoding}
    scheme, (written, others) = scheme_of(spec), TIMED[encoding]
    headers = sign(scheme, TEXT_SECRET, BODY, NOW)
    assert headers["X-Time"] == written
    for off, is_near in ((0, True), (300, True), (-300, True), (301, False), (-301, False)):
        assert is_accepted(scheme, headers, BODY, TEXT_SECRET, now=NOW + off) == is_near
    for other in others:
        message = f"{other}.".encode() + BODY
        forged = {"X-Signature": hmac.digest(TEXT_SECRET.encode(), message, "sha256").hex(), "X-Time": other}
        assert not is_accepted(scheme, forged, BODY, TEXT_SECRET)


def test_a_time_of_a_zone_and_of_nanoseconds_is_one() -> None:
    spec = {**HMAC, "signed": "{timestamp}{body}", "timestamp": "X-Time", "timestamp_encoding": "iso8601"}
    moment = dt.datetime.fromtimestamp(NOW, dt.timezone(dt.timedelta(hours=-5)))
    for written in (moment.isoformat(), moment.strftime("%Y-%m-%dT%H:%M:%S.123456789-05:00")):
        signature = hmac.digest(TEXT_SECRET.encode(), written.encode() + BODY, "sha256").hex()
        assert is_accepted(scheme_of(spec), {"X-Signature": signature, "X-Time": written}, BODY, TEXT_SECRET)


def test_an_editor_knows_the_settings() -> None:
    schema = json.loads((ROOT / "engine/file_schemas/gateway.schema.json").read_text("utf-8"))
    known = schema["properties"]["webhook"]["properties"]["scheme"]["properties"]
    assert known.keys() == {field.name for field in fields(Scheme)}
    for name, told in known.items():
        assert tuple(told.get("enum", ())) == CHOICES.get(name, ())
        assert told["description"]


def test_a_shipped_one_is_found_by_its_name_and_means_what_its_settings_mean() -> None:
    assert scheme_of("stripe") is SHIPPED["stripe"]
    described = {"header": "X-Hub-Signature-256", "signed": "{body}", "prefix": "sha256="}
    assert scheme_of(described) == SHIPPED["github"]


HMAC = {"header": "X-Signature", "signed": "{body}"}


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("strip", "there is no webhook scheme 'strip'; did you mean 'stripe'?"),
        ({**HMAC, "prefx": "v1="}, "a webhook scheme has no 'prefx'; did you mean 'prefix'?"),
        ({**HMAC, "tolerance": "300"}, "tolerance of a webhook scheme must be a whole number"),
        ({**HMAC, "tolerance": True}, "tolerance of a webhook scheme must be a whole number"),
        ({**HMAC, "prefix": 1}, "prefix of a webhook scheme must be text"),
        ({**HMAC, "tolerance": 0}, "tolerance must be 1 to 3600 seconds"),
        ({"signed": "{body}"}, "a webhook scheme needs header"),
        ({"header": "X-Signature"}, "a webhook scheme needs signed"),
        ({**HMAC, "digest": "sha257"}, "digest must be one of sha256, sha1, sha384, sha512; did you mean 'sha256'?"),
        ({**HMAC, "encoding": "base46"}, "encoding must be one of hex, base64; did you mean 'base64'?"),
        ({**HMAC, "key_encoding": "utf8"}, "key_encoding must be one of text, base64, hex"),
        ({**HMAC, "header": "X Signature"}, "header must be the name of a header, not 'X Signature'"),
        ({**HMAC, "signed": "all"}, "signed must hold {body} once: what is not signed proves nothing"),
        ({**HMAC, "signed": "{body}{body}"}, "signed must hold {body} once: what is not signed proves nothing"),
        ({**HMAC, "timestamp": "X-Time"}, "signed must hold {timestamp} once: what is not signed proves nothing"),
        ({**HMAC, "id": "X-Id"}, "signed must hold {id} once: what is not signed proves nothing"),
        ({**HMAC, "signed": "{id}.{body}"}, "signed holds {id}, but no id says where it stands"),
        (
            {**HMAC, "signed": "{timestamp}.{body}"},
            "signed holds {timestamp}, but no timestamp or timestamp_prefix says where it stands",
        ),
        (
            {**HMAC, "timestamp_encoding": "iso"},
            "timestamp_encoding must be one of seconds, milliseconds, iso8601; did you mean 'iso8601'?",
        ),
        ({**HMAC, "signed": "{time}.{body}"}, "signed knows {body}, {timestamp}, {id}, not {time}"),
        ({**HMAC, "timestamp_prefix": "t="}, "timestamp_prefix needs a separator"),
        ({**HMAC, "timestamp_prefix": "t=", "timestamp": "X-Time"}, "the time stands in one place"),
    ],
)
def test_a_wrong_description_is_refused_with_a_sentence(spec: str | Mapping[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(said)}"):
        scheme_of(spec)


# Secrets --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_a_good_secret_passes(name: str) -> None:
    check_secret("STRIPE_WEBHOOK_SECRET", secret_of(name))


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("", "is empty"),
        (" \t\n", "is empty"),
        ("whsec_123456789", "is shorter than 16 bytes"),
        ("whsec_1234567890abcdef\n", "holds white space"),
        (" whsec_1234567890abcdef", "holds white space"),
        ("whsec_1234567890 abcdef", "holds white space"),
        ("whsec_1234567890abcdef\xa0", "holds white space"),
        ("whsec_1234567890abcdef\ud800", "holds white space"),
    ],
)
def test_a_weak_or_spoilt_secret_is_refused_and_not_shown(value: str, said: str) -> None:
    with pytest.raises(SettingError) as caught:
        check_secret("STRIPE_WEBHOOK_SECRET", value)
    assert str(caught.value).startswith(f"STRIPE_WEBHOOK_SECRET: {said}")
    assert not value.strip() or value.strip() not in str(caught.value)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("body", "now"), [(b"changed", NOW), (BODY, NOW + 1000)])
def test_no_reason_shows_a_secret_or_a_right_signature(name: str, body: bytes, now: int) -> None:
    scheme, secret = SHIPPED[name], secret_of(name)
    headers = sign(scheme, secret, BODY, NOW)
    with pytest.raises(SignatureError) as caught:
        verify(scheme, [secret, f"{secret} "], headers, body, now)
    assert secret not in repr(caught.value)
    assert headers[scheme.header].removeprefix(scheme.prefix) not in repr(caught.value)


def test_a_secret_in_hex() -> None:
    """A gateway whose secret is hex signs with the bytes that it stands for, as Adyen does."""
    scheme = scheme_of({"header": "Hmac-Signature", "signed": "{body}", "encoding": "base64", "key_encoding": "hex"})
    key = bytes(range(32))
    digest = base64.b64encode(hmac.new(key, BODY, "sha256").digest()).decode()
    assert is_accepted(scheme, {"Hmac-Signature": digest}, BODY, key.hex())
    assert is_accepted(scheme, {"Hmac-Signature": digest}, BODY, key.hex().upper())
    for other in (key[:-1].hex() + "00", key.hex() + "0", "not hex at all, though long enough", key[:20].hex()):
        assert not is_accepted(scheme, {"Hmac-Signature": digest}, BODY, other.replace(" ", "_"))
