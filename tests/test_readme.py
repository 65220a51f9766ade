"""The README omits nothing, and what it shows runs."""

from __future__ import annotations

import ast
import hmac
import json
import re
import subprocess
import textwrap
from base64 import b64encode
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import fields
from functools import partial
from inspect import signature
from operator import attrgetter
from pathlib import Path
from typing import Any

import click
import pytest
from commands import Gateway, run
from flask import Flask
from hosts import write
from store_contract import StoreContract

import engine.errors
from engine.bodies import FORM
from engine.cases import CaseRunner, read_case
from engine.catalog import Catalog, load, shipped
from engine.cli import group
from engine.core import Engine
from engine.errors import DefinitionError
from engine.forms import options
from engine.sandbox import Material, Sandbox
from engine.seals import new_key
from engine.signatures import Scheme
from engine.store import Store
from engine.store.memory import MemoryStore
from engine.web import Callsheet

README = (shipped() / "README.md").read_text("utf-8")
CODE = re.findall(r"^```python\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
FILES = {
    block.split()[1]: block
    for block in re.findall(r"^```yaml\n(# \S+\.yml\n.*?)^```", README, re.MULTILINE | re.DOTALL)
}


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load([shipped()])


def named(*names: str) -> list[str]:
    """Those of `names` that the README does not write as code."""
    prose = re.sub(r"^```.*?^```", "", README, flags=re.MULTILINE | re.DOTALL)
    said = " ".join(re.findall(r"`([^`]+)`", prose))
    return [name for name in names if not re.search(rf"(?<![\w.]){re.escape(name)}(?![\w])", said)]


def keys_of(kind: str) -> Iterator[str]:
    schema = json.loads((shipped() / "engine/file_schemas" / f"{kind}.schema.json").read_text("utf-8"))
    yield from schema["properties"]
    for part in schema["properties"].values():
        yield from part.get("properties", {})


def commands(command: click.Command, path: str) -> Iterator[str]:
    if isinstance(command, click.Group):
        for name, inner in command.commands.items():
            yield from commands(inner, f"{path} {name}")
    else:
        yield path


@pytest.mark.parametrize("kind", ["request_type", "gateway", "record_type", "case", "sandbox"])
def test_every_key_of_a_file_is_explained(kind: str) -> None:
    """Each key that a schema knows stands in the README."""
    assert named(*keys_of(kind)) == []


def test_everything_shipped_is_listed(catalog: Catalog) -> None:
    """Each request type, record type and event stands in the README."""
    events = [name.partition("/")[2] for name in catalog.processors]
    assert named(*catalog.request_types, *catalog.record_types, *events) == []


ACME = "base_url: https://acme.test\nbrowser: {redirect: [pay.acme.test]}\n"
ANSWERS: dict[str, tuple[str, set[str]]] = {
    "error": ("error: '{{ %s }}'", {"response", "status", "headers"}),
    "mismatch": ("idempotency: {header: X-Key, lasts: 1h, mismatch: '{{ %s }}'}", {"response", "status", "headers"}),
    "limited": ("limited: '{{ %s }}'", {"response", "status", "headers"}),
    "retry": ("retry: {after: '{{ %s }}'}", {"response", "status", "headers"}),
    "redirect": ("redirect: '{{ %s }}'", {"response", "status", "headers"}),
    "pages": ("pages: {items: '', next: '{{ %s }}'}", {"response", "status", "headers", "links", "page", "read"}),
    "found": ("found: '{{ %s }}'", {"response", "data"}),
}


@pytest.mark.parametrize("key", ANSWERS)
def test_what_reads_an_answer_has_the_names_that_are_said(key: str, tmp_path: Path) -> None:
    """Those and no others: a file that asks for another one does not load."""
    written, names = ANSWERS[key]
    told = " ".join(re.findall(r"^\| `(?:error|pages|found)` \|.*", README, re.MULTILINE))
    assert all(f"`{name}`" in told for name in {key, *names} - {"error"})
    for name in ("response", "status", "headers", "links", "page", "read", "data", "now", "call_id"):
        text = f"summary: x\nmethod: GET\nurl: /x\n{written % name}\n"
        write(tmp_path, {"request_types/acme/_gateway.yml": ACME, "request_types/acme/x.yml": text})
        with (
            nullcontext() if name in names else pytest.raises(DefinitionError, match=f"the name '{name}' is not known")
        ):
            load([tmp_path])


def test_every_command_is_listed() -> None:
    """Each command of `callsheet` stands in the README, subcommands by their own name."""
    found = list(commands(group, "callsheet"))
    missing = [path for path in found if f"`{path}" not in README and named(path.split()[-1])]
    assert found
    assert missing == []


def test_every_error_is_explained() -> None:
    """Each public error stands in the table of errors."""
    errors = [
        name for name, kind in vars(engine.errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
    ]
    assert named(*(name for name in errors if name not in {"EngineError", "CallError"})) == []


def test_every_form_option_is_explained() -> None:
    """Each option that a page may give a form stands in the README."""
    assert named(*options.NAMES) == []


def test_every_setting_of_a_scheme_is_explained() -> None:
    assert [
        one.name for one in fields(Scheme) if f"\n| `{one.name}` | " not in README.partition("setting of a scheme")[2]
    ] == []


def test_every_setting_is_explained(catalog: Catalog) -> None:
    """Each secret and setting that a shipped gateway or the engine reads stands in the README."""
    text = "".join(
        path.read_text("utf-8") for path in (shipped() / "engine").rglob("*.py") if "_shipped" not in path.parts
    )
    found = set(re.findall(r"\"(CALLSHEET_[A-Z]+_KEY|CALLSHEET_MODE|CALLSHEET_STORE)\"", text))
    for gateway in catalog.gateways.values():
        webhook: dict[str, Any] = dict(gateway.webhook or {})
        found |= {*gateway.settings.values(), *webhook.get("secrets", [])}
        found |= {name for one in webhook.get("endpoints", {}).values() for name in one["secrets"]}
    assert named(*found) == []


def signatures() -> Iterator[tuple[str, set[str]]]:
    """The calls of an engine that the README's table shows, each with its parameters: `replay`, {event, who, why}."""
    table = README.partition("\n## From Python\n")[2].partition("\n\n`find` takes")[0]
    for cell in re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE):
        part = ""  # what `.resolve` belongs to, beside `recovery.remap`
        for name, given in re.findall(r"`([\w.]+)\((.*?)\)`", cell):
            part = name.rpartition(".")[0] or part
            names = [one.partition("=")[0] for one in given.split(", ")]
            yield (part + name if name.startswith(".") else name), {one for one in names if "*" not in one}


@pytest.mark.parametrize(("name", "said"), [pytest.param(*one, id=one[0]) for one in signatures()])
def test_the_calls_of_an_engine_are_as_the_readme_says(name: str, said: set[str], endpoint: Path) -> None:
    """Every parameter that the README names is one, and none that has to be given is left out."""
    engine = Engine(endpoint, store=MemoryStore(), environment={"CALLSHEET_SECRET_KEY": new_key()})
    known = signature(Engine if name == "Engine" else attrgetter(name)(engine)).parameters.values()
    needed = {one.name for one in known if one.default is one.empty and one.kind is not one.VAR_KEYWORD}
    assert needed <= said <= {one.name for one in known}


def test_python_is_python() -> None:
    """Each block of Python compiles."""
    for block in CODE:
        ast.parse(textwrap.dedent(block))


class TestStoreOfTheReadme(StoreContract):
    """The store that the README shows passes the suite that every store must pass."""

    @pytest.fixture
    def store(self) -> Store:
        names: dict[str, Any] = {}
        exec(next(block for block in CODE if "class MyStore" in block), names)
        store: Store = names["MyStore"]()
        return store


@pytest.fixture
def endpoint(tmp_path: Path) -> Path:
    """A host of the file that the README drops in."""
    name = "request_types/stripe/create_product.yml"
    write(tmp_path / "myshop", {name: FILES[name]})
    return tmp_path / "myshop"


def test_the_example_request_type_is_good(endpoint: Path) -> None:
    """It loads as it stands."""
    assert load([endpoint, shipped()]).request_types["stripe/create_product"].summary


def test_the_example_case_holds(tmp_path: Path) -> None:
    (name,) = (name for name in FILES if name.startswith("tests/cases/"))
    case = read_case(write(tmp_path, {name: FILES[name]}) / name)
    assert CaseRunner().run(case).differences == []


def test_the_first_calls_are_carried_out(endpoint: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the README sends at its beginning, to a sandbox: it says what comes of it."""
    box = Sandbox(Material.read(endpoint))
    given: dict[str, Any] = {"store": MemoryStore(), "dispatcher": box, "environment": box.secrets}
    monkeypatch.setattr("engine.Engine", partial(Engine, **given))
    monkeypatch.chdir(endpoint.parent)
    names: dict[str, Any] = {}
    exec(CODE[0], names)
    assert names["result"].records[0]["state"] == "paid"
    assert names["engine"].find("payment", external_id="order-17") == list(names["result"].records)
    assert len(names["engine"].find("call", operation="tea")) == 1


def test_the_example_file_is_uploaded(tmp_path: Path) -> None:
    """From the command line, byte for byte; what is no base64 is told where it stands, and not sent."""
    name = "request_types/acme/upload_proof.yml"
    write(tmp_path, {"request_types/acme/_gateway.yml": "base_url: https://acme.test", name: FILES[name]})
    (tmp_path / "ada.png").write_bytes(b"\x89PNG\x00")
    printed = run(
        tmp_path, "send", "acme/upload_proof", "name=ada.png", f"content=@{tmp_path}/ada.png", "--curl"
    ).output
    sent = subprocess.run(["sh", "-c", f"curl() {{ cat; }}\n{printed}"], capture_output=True, check=True).stdout
    assert b'filename="ada.png"\r\nContent-Type: image/png\r\n\r\n\x89PNG\x00\r\n' in sent
    refused = run(tmp_path, "send", "acme/upload_proof", "name=ada.png", "content=AAA", "--curl")
    assert (refused.exit_code, "/content: is no base64" in refused.output) == (2, True)


MOLLIE = {
    "request_types/mollie/_gateway.yml": (
        'summary: x\nbase_url: https://mollie.test/v2\nauth: {bearer: MOLLIE_KEY}\nerror: "{{ response.detail }}"\n'
    ),
    "request_types/mollie/get_payment.yml": FILES["request_types/mollie/get_payment.yml"],
    "response_mappers/mollie/get_payment.json.j2": (
        '{"upsert": "order", "where": {"gateway_id": {{ response.id }}}, "set": {"state": {{ response.status }}},'
        ' "as_of": {{ sent_at }}}'
    ),
    "response_mappers/records/order.yml": (
        "summary: x\nunique: [gateway_id]\nproperties: {gateway_id: {type: string}, state: {type: string}}\n"
    ),
}


def test_the_route_for_what_nobody_signed(tmp_path: Path, gateway: Gateway) -> None:
    """What is posted only has the gateway asked, each time anew; what can be no id has nothing done."""
    app = Flask("host", root_path=str(write(tmp_path, MOLLIE)))
    environment = {
        "MOLLIE_KEY": "test_4eC39HqLyjWDarjtT1zdp7dc",
        "CALLSHEET_SECRET_KEY": new_key(),
        "CALLSHEET_STORE": "memory:",
        "CALLSHEET_MOLLIE_BASE_URL": f"{gateway.url}/v2",
    }
    callsheet = Callsheet(app, worker=False, environment=environment)
    exec(next(block for block in CODE if "def mollie" in block), {"app": app, "callsheet": callsheet})
    client, states = app.test_client(), iter(["open", "paid"])
    gateway.answer = lambda *_: (200, {"id": "tr_1", "status": next(states)})
    for posted, state in (("id=tr_1", "open"), ("id=tr_1", "paid"), ("id=../tr_1", "paid"), ("", "paid")):
        assert client.post("/mollie", data=posted, content_type=FORM).status_code == 200
        callsheet.engine.run_due()
        assert [one["state"] for one in callsheet.engine.find("order")] == [state]
    assert [(method, path) for method, path, *_ in gateway.requests] == [("GET", "/v2/payments/tr_1")] * 2


ADYEN = {
    "request_types/adyen/_gateway.yml": "summary: x\nbase_url: https://adyen.test/v71\n"
    + next(block for block in re.findall(r"^```yaml\n(.*?)^```", README, re.MULTILINE | re.DOTALL) if "X-Own" in block),
    "webhook_processors/adyen/AUTHORISATION.json.j2": (
        '{"upsert": "order", "where": {"gateway_id": {{ event.NotificationRequestItem.pspReference }}},'
        ' "set": {"state": {{ "paid" if event.NotificationRequestItem.success == "true" else "refused" }}}}'
    ),
    "response_mappers/records/order.yml": MOLLIE["response_mappers/records/order.yml"],
}


def test_the_route_for_what_is_signed_inside(tmp_path: Path) -> None:
    """Each item of a delivery is an event where all are signed; what is changed or signed by another key is refused."""
    key = "44782DEF547AAA06C910C43932B1EB0C71FC68D9D0C057550C48EC2ACF6BA056"
    app = Flask("host", root_path=str(write(tmp_path, ADYEN)))
    environment = {"ADYEN_HMAC_KEY": key, "CALLSHEET_SECRET_KEY": new_key(), "CALLSHEET_STORE": "memory:"}
    callsheet = Callsheet(app, worker=False, environment=environment)
    exec(next(block for block in CODE if "def adyen" in block), {"app": app, "callsheet": callsheet})

    def item(reference: str, success: str = "true", key: str = key) -> dict[str, Any]:
        text = f"{reference}::Shop:order-1:100:EUR:AUTHORISATION:true"
        signature = b64encode(hmac.digest(bytes.fromhex(key), text.encode(), "sha256")).decode()
        told: dict[str, Any] = {
            "pspReference": reference,
            "merchantAccountCode": "Shop",
            "merchantReference": "order-1",
        }
        told |= {"amount": {"value": 100, "currency": "EUR"}, "eventCode": "AUTHORISATION", "success": success}
        return {"NotificationRequestItem": {**told, "additionalData": {"hmacSignature": signature}}}

    def posted(*items: dict[str, Any]) -> int:
        return app.test_client().post("/adyen", json={"live": "false", "notificationItems": items}).status_code

    assert posted(item("P1"), item("P2", "false")) == 401
    assert posted(item("P1", key=key[::-1])) == 401
    assert callsheet.engine.find("event") == []
    assert [posted(item("P1"), item("P2")), posted(item("P2"), item("P3"))] == [200, 200]
    callsheet.engine.run_due()
    orders = callsheet.engine.find("order", order="id")
    assert [(one["gateway_id"], one["state"]) for one in orders] == [("P1", "paid"), ("P2", "paid"), ("P3", "paid")]
