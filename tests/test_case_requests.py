"""A request as a case tells it: every kind of body is compared as what it is."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hosts import write

from engine.cases import Case, CaseRunner

GATEWAY = "request_types/shop/_gateway.yml"
UPLOAD = {
    GATEWAY: "base_url: https://api.shop.test\nauth: {bearer: SHOP_KEY}\n",
    "request_types/shop/upload.yml": """\
summary: Send a file.
method: POST
url: /files
at_most_once: true
headers: {Content-Type: multipart/form-data}
lists: bracketed
body:
  purpose: "{{ data.purpose }}"
  tags: "{{ data.tags }}"
  meta: {public: "{{ data.public }}"}
  file: {filename: "{{ data.name }}", content_type: "{{ data.kind }}", base64: "{{ data.content }}"}
data:
  required: [content]
  properties:
    purpose: {type: string}
    tags: {type: array, items: {type: string}}
    public: {type: boolean}
    name: {type: string}
    kind: {type: string}
    content: {type: string}
""",
    "request_types/shop/say.yml": """\
summary: Say something.
method: POST
url: /words
at_most_once: true
headers: {Content-Type: text/plain}
body: "{{ data.text }}"
data: {properties: {text: {type: string}}}
""",
    "request_types/shop/note.yml": """\
summary: Note something.
method: POST
url: /notes
at_most_once: true
headers: {Content-Type: application/json}
body: {text: "{{ data.text }}"}
data: {properties: {text: {type: string}}}
""",
}
BINARY = base64.b64encode(bytes(range(256)) + b"\r\n--call-2").decode()
TEXT = base64.b64encode(b"hi").decode()
FILE = {"filename": 'the "x".txt', "content_type": "text/plain", "base64": TEXT}
DATA = {
    "purpose": "a\nb&c",
    "tags": ["x", "y"],
    "public": True,
    "name": FILE["filename"],
    "kind": "text/plain",
    "content": TEXT,
}
BODY = {"purpose": "a\nb&c", "tags": ["x", "y"], "meta": {"public": True}, "file": FILE}


Differences = Callable[..., list[str]]


@pytest.fixture(scope="module")
def differences(tmp_path_factory: pytest.TempPathFactory) -> Differences:
    """What is said of a case of shop/`name` with this `data`, that tells what is sent."""
    runner = CaseRunner(write(tmp_path_factory.mktemp("host"), UPLOAD))

    def found(name: str, data: Any, **sends: Any) -> list[str]:
        where = {"upload": "files", "say": "words", "note": "notes"}[name]
        told = {"method": "POST", "url": f"https://api.shop.test/{where}", **sends}
        whole = {"claim": "something is sent", "data": data, "sends": told, "receives": {"body": {}}}
        return runner.run(Case(Path("a.yml"), "request_types", f"shop/{name}", whole)).differences

    return found


def test_a_multipart_body_is_told_as_the_file_says_it(differences: Differences) -> None:
    """Fields, lists as the type writes them, and files, whatever is in them."""
    assert differences("upload", DATA, body=BODY) == []
    binary = {**FILE, "base64": BINARY}
    assert differences("upload", {**DATA, "content": BINARY}, body={**BODY, "file": binary}) == []


def test_a_file_of_which_little_is_said(differences: Differences) -> None:
    """It is called as its part is, and may be anything."""
    whole = {"filename": "file", "content_type": "application/octet-stream", "base64": BINARY}
    for told in ({"base64": BINARY}, whole):
        assert differences("upload", {"content": BINARY}, body={"file": told}) == []


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({**BODY, "purpose": "b"}, ["body purpose: 'b', but it was 'a\\nb&c'"]),
        ({**BODY, "tags": ["y", "x"]}, ["body tags[]: ['y', 'x'], but it was ['x', 'y']"]),
        (BODY | {"meta": {}}, ["body meta[public]: None, but it was 'true'"]),
        ({**BODY, "more": 1}, ["body more: '1', but it was None"]),
        ({**BODY, "file": "hi"}, [f"body file: 'hi', but it was {FILE}"]),
        *(
            ({**BODY, "file": {**FILE, **other}}, [f"body file: { ({**FILE, **other}) }, but it was {FILE}"])
            for other in ({"filename": "y.txt"}, {"content_type": "text/csv"}, {"base64": "aG8="})
        ),
        ("a=1", ["body: a multipart body must be a mapping: 'a=1', but it was {'purpose': "]),
        ({"file": {"base64": 5}}, ["body: file is a file, and what its base64 says is none"]),
        ({"file": {"base64": "a*b"}}, ["body: file is a file, and what its base64 says is none"]),
        (None, [f"body {name}: None, but it was " for name in ("purpose", "tags[]", "meta[public]", "file")]),
    ],
)
def test_each_part_that_differs_is_named(differences: Differences, body: Any, said: list[str]) -> None:
    """With what was told, and what was sent."""
    found = differences("upload", DATA, body=body)
    assert len(found) == len(said)
    for one, beginning in zip(found, said, strict=True):
        assert one.startswith(f"sends: {beginning}")


def test_a_file_that_holds_the_boundary(differences: Differences) -> None:
    """Which is a call's id, and told beforehand in cases alone: nobody can read such a body, and that is said."""
    holds = base64.b64encode(b"\r\n--call-1\r\n").decode()
    (said,) = differences("upload", {"content": holds}, body={"file": {"base64": holds}})
    assert said.startswith("sends: body: Invalid form-data")


def test_parts_that_are_not_told(differences: Differences) -> None:
    """A case without a body says that none is sent."""
    assert differences("upload", {"content": TEXT})[0].startswith("sends: body file: None, but it was ")


@pytest.mark.parametrize(
    ("name", "text", "told", "fits"),
    [
        ("say", "a&b+c", "a&b+c", True),
        ("say", "b c&a", "a&b+c", False),
        ("say", "a\n", "a", False),
        ("say", "5", 5, False),
        ("say", "", "", True),
        ("say", "", None, True),
        ("say", "a", None, False),
        ("say", "ä", {"ä": ""}, False),
        ("note", "b c&a", {"text": "b c&a"}, True),
        ("note", "a+b", '{"text": "a+b"}', True),
        ("note", "a b", "text=a+b", False),
    ],
)
def test_what_is_no_form_is_not_compared_as_one(
    differences: Differences, name: str, text: str, told: Any, fits: bool
) -> None:
    """A text is a text, whatever signs are in it; the text of JSON is JSON."""
    found = differences(name, {"text": text}, body=told)
    assert [one.partition(", but")[0] for one in found] == ([] if fits else [f"sends: body: {told!r}"])


@pytest.mark.parametrize("told", ["Bearer shop_key_1", None])
def test_a_case_does_not_tell_of_secrets(differences: Differences, told: str | None) -> None:
    """They are added last, so that a case that tells of them is told so; any other header is compared."""
    said = "sends: header authorization: secrets are added last, and are no part of a case; leave it out"
    assert differences("say", {"text": "a"}, body="a", headers={"authorization": told}) == [said]
    other = differences("say", {"text": "a"}, body="a", headers={"X-Other": "a", "Content-Type": "text/plain"})
    assert other == ["sends: header X-Other: 'a', but it was None"]
