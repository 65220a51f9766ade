"""A file that is sent to a sandbox is read back as the file of its request type says it."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from acme import sandbox
from hosts import OnlyHere

from engine.context import Clock
from engine.core import Engine
from engine.sandbox import Sandbox
from engine.sandbox.asked import Asked
from engine.store.memory import MemoryStore

UPLOAD = {
    "request_types/acme/upload.yml": """\
summary: Send a file.
method: POST
url: /files
at_most_once: true
idempotency: null
headers: {Content-Type: multipart/form-data}
body:
  purpose: "{{ data.purpose }}"
  file: {filename: "{{ data.name }}", content_type: text/csv, base64: "{{ data.content }}"}
data:
  required: [content]
  properties:
    purpose: {enum: [proof, logo]}
    name: {type: string}
    content: {type: string, maxLength: 500}
""",
    "request_types/acme/attach.yml": """\
summary: Attach a file.
method: POST
url: /attachments
at_most_once: true
idempotency: null
headers: {Content-Type: multipart/form-data}
body: {file: "{{ data.file }}"}
data:
  required: [file]
  properties:
    file:
      type: object
      required: [base64]
      additionalProperties: false
      properties: {filename: {type: string}, content_type: {type: string}, base64: {type: string}}
""",
    "tests/cases/request_types/acme/upload/kept.yml": """\
claim: a file is kept
data: {purpose: proof, name: a.csv, content: aGk=}
sends:
  method: POST
  url: https://api.acme.test/v2/files
  body: {purpose: proof, file: {filename: a.csv, content_type: text/csv, base64: aGk=}}
receives: {status: 200, body: {id: file_1, purpose: proof, filename: a.csv}}
""",
    "tests/cases/request_types/acme/attach/kept.yml": """\
claim: a file is attached
data: {file: {base64: aGk=}}
sends: {method: POST, url: "https://api.acme.test/v2/attachments", body: {file: {base64: aGk=}}}
receives: {status: 200, body: {id: att_1}}
""",
}
BINARY = base64.b64encode(bytes(range(256))).decode()


@pytest.fixture
def box(tmp_path: Path) -> Sandbox:
    """A sandbox that takes files."""
    return sandbox(tmp_path, files=UPLOAD)


@pytest.fixture
def engine(box: Sandbox, tmp_path: Path) -> Engine:
    """An engine of the same files that talks to it."""
    clock = Clock(sleep=lambda _: None)
    files = OnlyHere(tmp_path)
    return Engine(store=MemoryStore(), dispatcher=box, environment=box.secrets, files=files, clock=clock)


def test_a_file_is_taken(engine: Engine) -> None:
    """Whatever is in it; the answer tells of what was sent."""
    answer = engine.send("acme/upload", {"purpose": "logo", "name": 'my "logo".csv', "content": BINARY}).response
    assert (answer["id"] != "file_1", answer["purpose"], answer["filename"]) == (True, "logo", 'my "logo".csv')
    assert engine.send("acme/upload", {"content": ""}).response["id"].startswith("file_")


@pytest.mark.parametrize("file", [{"base64": BINARY}, {"filename": "a", "content_type": "a/b", "base64": "aGk="}])
def test_a_file_that_is_one_value_of_the_data(engine: Engine, file: dict[str, Any]) -> None:
    """As a whole."""
    assert engine.send("acme/attach", {"file": file}).response["id"].startswith("att_")


def test_a_file_that_does_not_fit_is_refused(box: Sandbox) -> None:
    """As the request type's data has it, and so is a body that is no multipart body."""
    head = {"x-api-key": box.secrets["ACME_KEY"], "content-type": "multipart/form-data; boundary=b"}
    part = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n%b\r\n--b--\r\n'
    assert box.answer("POST", "/acme/v2/files", head, part % (b"x" * 9)).status == 200
    for raw in (part % (b"x" * 999), b"x", part[:60], part.replace(b"--b--", b"")):
        answered = box.answer("POST", "/acme/v2/files", head, raw)
        assert (answered.status, "error" in answered.body) == (400, True), answered


def test_parts_are_read_back(box: Sandbox) -> None:
    """A file is one with an empty name, too; a name in brackets nests."""
    head = {"content-type": 'multipart/form-data; boundary="b"'}
    raw = (
        b'--b\r\nContent-Disposition: form-data; name="a[b]"; filename=""\r\n\r\n\r\n'
        b'--b\r\nContent-Disposition: form-data; name="a[c]"\r\n\r\n\xc3\xa4\r\n--b--\r\n'
    )
    file = {"filename": "", "content_type": "application/octet-stream", "base64": ""}
    assert Asked("POST", "/", {}, head, raw).body() == {"a": {"b": file, "c": "ä"}}
