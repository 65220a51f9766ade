"""Values become the bytes of a body once, at the end, as the Content-Type says."""

from __future__ import annotations

import json
from email import message_from_bytes
from email.message import Message
from typing import Any
from urllib.parse import parse_qsl, quote

import pytest

from engine.bodies import FORM, MULTIPART, Lists, encode, encode_form, is_json, media_type

FORMS: list[tuple[dict[str, Any], str]] = [
    ({}, ""),
    ({"a": 1, "b": "x"}, "a=1&b=x"),
    ({"a": True, "b": False}, "a=true&b=false"),
    ({"a": None, "b": ""}, "a=&b="),
    ({"a": {"b": {"c": 1}}}, "a[b][c]=1"),
    ({"a": ["x", {"b": 2}]}, "a[0]=x&a[1][b]=2"),
    ({"a": {}, "b": []}, ""),
    ({"a": "x&b=y"}, "a=x%26b%3Dy"),
    ({"a": "1+1 = 2%"}, "a=1%2B1%20%3D%202%25"),
    ({"a": "é\n\x00"}, "a=%C3%A9%0A%00"),
    ({"a&b=": 1}, "a%26b%3D=1"),
    ({"metadata": {"weird key&amount": "x"}}, "metadata[weird%20key%26amount]=x"),
    ({"a": 1.5}, "a=1.5"),
    ({"a": 10**30}, f"a={10**30}"),
]


@pytest.mark.parametrize(("value", "text"), FORMS)
def test_forms(value: dict[str, Any], text: str) -> None:
    """A form names nested values a[b], items a[0]; null is empty, an empty mapping or list sends nothing."""
    assert encode_form(value) == text


@pytest.mark.parametrize(
    ("lists", "text"),
    [("indexed", "a[0]=x&a[1]=y&b[c][0]=1"), ("bracketed", "a[]=x&a[]=y&b[c][]=1"), ("repeated", "a=x&a=y&b[c]=1")],
)
def test_lists(lists: Lists, text: str) -> None:
    """A list is written as the gateway reads it: with numbers, with empty brackets, or with its name again."""
    value = {"a": ["x", "y"], "b": {"c": [1]}}
    assert encode_form(value, lists) == text
    assert encode(value, FORM, "b", lists)[0] == text.encode()
    body, sent = encode(value, MULTIPART, "b", lists)
    names = [str(part.get_param("name", header="content-disposition")) for part in parts_of(sent, body)]
    assert names == [pair.partition("=")[0] for pair in text.split("&")]


@pytest.mark.parametrize("lists", ["bracketed", "repeated"])
def test_a_list_of_structures_needs_numbers(lists: Lists) -> None:
    """Without a number nobody could tell which part belongs to which item."""
    with pytest.raises(ValueError, match=r"^a b is a list of .* these write single values only"):
        encode_form({"a b": [{"b": 1}]}, lists)


@pytest.mark.parametrize("value", [{"a[b]": 1}, {"a": {"b]c": 1}}, {"a": [{"[": 1}]}, {"": 1}, {"a": {"": 1}}])
def test_brackets_from_data_are_refused(value: dict[str, Any]) -> None:
    """A name that holds a bracket, or nothing at all, would make structure of data; it is refused."""
    with pytest.raises(ValueError, match="cannot stand in a form"):
        encode_form(value)


def test_every_character_of_a_form_is_encoded_as_urllib_does() -> None:
    """Within ASCII and beyond it, alone and among others."""
    for char in map(chr, [*range(0x180), 0x20AC, 0x1F600]):
        for text in (char, f"a {char}."):
            assert encode_form({"x": text}) == f"x={quote(text, safe='')}"


@pytest.mark.parametrize("value", [["a"], "a=1", 5, None])
def test_a_form_is_a_mapping(value: Any) -> None:
    """Only a mapping can be a form."""
    with pytest.raises(ValueError, match="a form must be a mapping"):
        encode(value, FORM, "b")


def test_lone_surrogates_are_refused() -> None:
    """What is not text in UTF-8 is refused, not replaced."""
    for kind in (FORM, "application/json", "text/plain"):
        with pytest.raises(ValueError, match="surrogates not allowed"):
            encode("\ud800" if kind == "text/plain" else {"a": "\ud800"}, kind, "b")


def test_json() -> None:
    """JSON is compact UTF-8, for JSON's own type and for those built on it; the header stays as it was written."""
    value = {"a": [None, False, 1.5, "é\n\u2028"], "b": {}}
    for kind in ("application/json", "application/json; charset=utf-8", "application/vnd.api+json"):
        body, sent = encode(value, kind, "b")
        assert sent == kind
        assert json.loads(body) == value
    assert encode({"a": "é", "b": 1}, "application/json", "b")[0] == '{"a":"é","b":1}'.encode()


def test_json_has_no_nan() -> None:
    """Infinity and NaN are not JSON."""
    for number in (float("inf"), float("nan")):
        with pytest.raises(ValueError, match="not JSON compliant"):
            encode({"a": number}, "application/json", "b")


def test_text() -> None:
    """Any other type takes text as it stands, and nothing else."""
    assert encode("<a/>é", "application/xml", "b") == ("<a/>é".encode(), "application/xml")
    with pytest.raises(ValueError, match="a body of type application/xml must be text"):
        encode({"a": 1}, "application/xml", "b")


def test_multipart() -> None:
    """A multipart body has a part a value, and a file where a mapping brings one in base64."""
    value = {
        "purpose": "identity",
        "links": {"a b%20": ["x"], "no": False},
        "file": {"filename": 'a"b\r\n.png', "content_type": "image/png", "base64": "AAECAw=="},
    }
    body, sent = encode(value, "multipart/form-data", "call-1")
    assert sent == "multipart/form-data; boundary=call-1"
    parts = parts_of(sent, body)
    found = [(part.get_param("name", header="content-disposition"), part.get_payload(decode=True)) for part in parts]
    assert found == [
        ("purpose", b"identity"),
        ("links[a b%20][0]", b"x"),
        ("links[no]", b"false"),
        ("file", b"\x00\x01\x02\x03"),
    ]
    assert parts[-1].get_content_type() == "image/png"
    assert parts[-1].get_filename() == "a%22b%0D%0A.png"
    assert len(parts[-1].items()) == 2


def parts_of(content_type: str, body: bytes) -> list[Message]:
    """The parts of a multipart body, as Python's own reader finds them."""
    message = message_from_bytes(b"Content-Type: " + content_type.encode() + b"\r\n\r\n" + body)
    return [part for part in message.walk() if not part.is_multipart()]


def test_a_file_that_is_not_base64_is_refused() -> None:
    """What cannot be a file's content is refused before anything is sent."""
    for none in ("a*b", "AAA", "é", 5, None):
        with pytest.raises(ValueError, match="file is a file, and what its base64 says is none"):
            encode({"file": {"base64": none}}, "multipart/form-data", "b")
    assert b"\r\n\r\n\x00\xff\r\n" in encode({"file": {"base64": "AP\n8="}}, "multipart/form-data", "b")[0]
    with pytest.raises(ValueError, match="is no content type"):
        encode({"file": {"base64": "", "content_type": "a/b\r\nX: y"}}, "multipart/form-data", "b")


def test_a_value_cannot_end_its_part() -> None:
    """The boundary is the call's own id, so a value cannot forge it without knowing it; a part stays one part."""
    body, sent = encode(
        {"a": '\r\nContent-Disposition: form-data; name="amount"\r\n\r\n1'}, "multipart/form-data", "b7"
    )
    assert len(parts_of(sent, body)) == 1


def test_media_types() -> None:
    """A media type is compared without its parameters and case."""
    assert media_type(" Application/JSON ; charset=utf-8") == "application/json"
    assert is_json("application/problem+json")
    assert not is_json("text/json")


def test_pairs_come_back() -> None:
    """Decoding a form as every server does gives the pairs back."""
    text = encode_form({"a": {"b c": "&=[]%+"}, "l": ["1", "2"]})
    assert parse_qsl(text, strict_parsing=True) == [("a[b c]", "&=[]%+"), ("l[0]", "1"), ("l[1]", "2")]
