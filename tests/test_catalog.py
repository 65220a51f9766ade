"""Files are found by their paths, checked at start, and every mistake in any of them is told at once."""

from __future__ import annotations

import errno
import json
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hosts import SECRETS, SHOP, OnlyHere, Told, ok, write

from engine.catalog import KINDS, Catalog, load, shipped
from engine.code_cache import code_cache
from engine.core import Engine
from engine.errors import DefinitionError, SettingError, UnknownNameError
from engine.reloading import Files
from engine.request_types import RequestType
from engine.sandbox.material import Following
from engine.settings import Settings
from engine.store.memory import MemoryStore
from engine.templates import Templates

PAY = "request_types/shop/pay.yml"
NEW = "request_types/shop/take.yml"
MAPPER = "response_mappers/shop/pay.json.j2"
RECORD = "response_mappers/records/sale.yml"
GATEWAY = "request_types/shop/_gateway.yml"


def faults(root: Path, files: Mapping[str, str]) -> list[str]:
    """What is wrong with the shop's files when `files` are laid over them."""
    try:
        load([write(root, {**SHOP, **files})])
    except DefinitionError as error:
        return [str(fault) for fault in error.faults]
    return []


def request(root: Path, text: str) -> RequestType:
    """The request type of the file `text` in the shop."""
    return load([write(root, {**SHOP, NEW: text})]).request_types["shop/take"]


def test_the_shop_has_no_faults(tmp_path: Path) -> None:
    """The files that the other tests of this module break are sound."""
    assert faults(tmp_path, {}) == []


# Every kind of fault --------------------------------------------------------------------------------------------------

HEAD = "summary: x\nmethod: POST\nurl: /x\n"
READ = "summary: x\nmethod: GET\nurl: /x\n"

FAULTS: dict[str, tuple[str, str, list[str]]] = {
    "not YAML": (NEW, "summary: x\nmethod: [\n", [f"{NEW}:3:1: not YAML: "]),
    "a duplicate key": (NEW, HEAD + "url: /y\n", [f"{NEW}:4:1: duplicate key 'url'; remove one"]),
    "nothing": (NEW, "", [f"{NEW}:1:1: 'method' is", f"{NEW}:1:1: 'summary' is", f"{NEW}:1:1: 'url' is"]),
    "a list": (NEW, "- summary: x\n", [f"{NEW}:1:1: "]),
    "no summary": (NEW, "method: GET\nurl: /x\n", [f"{NEW}:1:1: 'summary' is required"]),
    "a misspelt key": (NEW, READ + "quary: {}\n", [f"{NEW}:4:1: 'quary' is not known here; did you mean 'query'?"]),
    "a misspelt method": (
        NEW,
        "summary: x\nmethod: PSOT\nurl: /x\n",
        [
            f"{NEW}:2:1: 'PSOT' is not one of GET, HEAD, POST, PUT, PATCH, DELETE; did you mean 'POST'?",
        ],
    ),
    "a body that its type cannot hold": (
        NEW,
        HEAD + "idempotent: true\nheaders: {Content-Type: application/xml}\nbody: {a: 1}\n",
        [f"{NEW}:6:1: a body of type application/xml is one line of text"],
    ),
    "a wrong type": (NEW, READ + "query: 5\n", [f"{NEW}:4:1: 5 is not of type object"]),
    "a URL with a query": (
        NEW,
        "summary: x\nmethod: GET\nurl: /x?y=1\n",
        [f"{NEW}:3:1: '/x?y=1' must be a path that begins with /; give query: for what stands after the ?"],
    ),
    "a URL without a slash": (
        NEW,
        "summary: x\nmethod: GET\nurl: x\n",
        [f"{NEW}:3:1: 'x' must be a path that begins with /"],
    ),
    "an absolute URL": (NEW, "summary: x\nmethod: GET\nurl: https://evil.test/x\n", [f"{NEW}:3:1: "]),
    "http": (NEW, READ + "base_url: http://api.shop.test\n", [f"{NEW}:4:1: "]),
    "a name that does not exist": (
        NEW,
        READ + "query:\n  a: '{{ dta.x }}'\n",
        [
            f"{NEW}:5:10: the name 'dta' is not known here; did you mean 'data'?",
        ],
    ),
    "data that is not declared": (
        NEW,
        READ + "query: {a: '{{ data.amuont }}'}\ndata: {properties: {amount: {}}}\n",
        [
            f"{NEW}:4:",
        ],
    ),
    "a filter that does not exist": (
        NEW,
        READ + "query:\n  a: '{{ now | trm }}'\n",
        [
            f"{NEW}:5:",
        ],
    ),
    "a broken template": (NEW, READ + "query:\n  a: '{{ now'\n", [f"{NEW}:5:1: unexpected end of template"]),
    "a loop in a leaf": (NEW, READ + "query:\n  a: '{% for a in now %}{% endfor %}'\n", [f"{NEW}:5:"]),
    "a folded template": (
        NEW,
        READ + "query:\n  a: >\n    {{ now }}\n",
        [f"{NEW}:5:3: a folded text (>) moves its lines"],
    ),
    "a setting that is not public": (
        NEW,
        READ + "query:\n  a: '{{ settings.SHOP_KEY }}'\n",
        [
            f"{NEW}:5:",
        ],
    ),
    "no promise": (
        NEW,
        HEAD + "idempotency: null\n",
        [
            f"{NEW}:2:1: say how a repeat is kept harmless: idempotency:, idempotent: true or at_most_once: true",
        ],
    ),
    "two promises that contradict each other": (
        NEW,
        HEAD + "idempotent: true\nat_most_once: true\n",
        [
            f"{NEW}:5:1: idempotent says that it may be repeated; remove at_most_once, or write idempotent: false",
        ],
    ),
    "no promise for a DELETE": (
        NEW,
        "summary: x\nmethod: DELETE\nurl: /x\nidempotency: null\n",
        [f"{NEW}:2:1: say how"],
    ),
    "a redirect to nowhere": (
        NEW,
        READ + "redirect: '{{ response.url }}'\n",
        [
            f":4:1: no host is named that a browser may be sent to; write browser: {{redirect: [HOST]}} into {GATEWAY}",
        ],
    ),
    "pages of a POST": (
        NEW,
        HEAD + "pages: {more: '{{ true }}', next: {}, items: /a}\n",
        [
            f"{NEW}:4:1: only a GET can be read page by page",
        ],
    ),
    "a header twice": (
        NEW,
        READ + "headers:\n  CONTENT-TYPE: text/plain\n",
        [
            f"{NEW}:4:1: the header content-type stands there twice; remove one",
        ],
    ),
    "no JSON Schema": (
        NEW,
        READ + "data:\n  properties:\n    amount: {type: strnig}\n",
        [
            f"{NEW}:6:14: not JSON Schema: ",
        ],
    ),
    "a misspelt keyword of data": (
        NEW,
        READ + "data:\n  properties:\n    amount: {type: integer, defualt: 5}\n",
        [
            f"{NEW}:6:29: 'defualt' is no keyword of JSON Schema; did you mean 'default'?",
        ],
    ),
    "a misspelt keyword of a record type": (
        RECORD,
        SHOP[RECORD].replace("amount: {type: integer}", "amount: {type: integer, minimun: 1}"),
        [
            f"{RECORD}:7:27: 'minimun' is no keyword of JSON Schema; did you mean 'minimum'?",
        ],
    ),
    "a misspelt keyword of an answer": (
        NEW,
        READ + "expect: {body: {anyOf: [{requried: [id]}]}}\n",
        [
            f"{NEW}:4:26: 'requried' is no keyword of JSON Schema; did you mean 'required'?",
        ],
    ),
    "a reference to nowhere": (
        NEW,
        READ + "data:\n  properties:\n    amount: {$ref: '#/$defs/x'}\n",
        [
            f"{NEW}:6:14: not JSON Schema: '#/$defs/x' leads nowhere",
        ],
    ),
    "a broken pattern": (
        NEW,
        READ + "data:\n  properties:\n    a: {pattern: '['}\n",
        [f"{NEW}:6:9: not JSON Schema: "],
    ),
    "an answer's schema": (NEW, READ + "expect: {body: {type: objekt}}\n", [f"{NEW}:4:17: not JSON Schema: "]),
    "a look-up that does not exist": (
        NEW,
        READ + "lookup: shop/raed\n",
        [
            f"{NEW}:4:1: lookup: there is no request type 'shop/raed'; did you mean 'shop/read'?",
        ],
    ),
    "a fault in a JSON body": (
        NEW,
        HEAD + 'body: |\n  {"a": {{ data.x }},\n   "b": "{{ now }}"}\n',
        [
            f"{NEW}:5:17: 'x' is not declared here",
            f"{NEW}:6:",
        ],
    ),
    "a secret that is no name": (NEW, READ + "auth: {bearer: sk_live_abc}\n", [f"{NEW}:4:"]),
    "two ways to authenticate": (NEW, READ + "auth: {bearer: A, basic: [B]}\n", [f"{NEW}:4:"]),
    "a text that could be anything": (
        NEW,
        READ + "expect: {text: true}\n",
        [f"{NEW}:4:10: say what the text is: body, with a const, an enum or a pattern"],
    ),
    "an unknown way to authenticate": (
        NEW,
        READ + "auth: {oauth: A}\n",
        [f"{NEW}:4:1: {{'oauth': 'A'}} is nothing that can stand here; what is wanted is: {{bearer: NAME}}, {{basic:"],
    ),
    "a gateway without a base_url": (GATEWAY, "summary: x\n", [f"{GATEWAY}:1:1: 'base_url' is required"]),
    "a version that the gateway's file does not name": (
        NEW,
        READ + 'headers: {X-Version: "{{ version }}"}\n',
        [f"{NEW}:4:26: the name 'version' is not known here"],
    ),
    "a release made of anything but a version": (
        GATEWAY,
        SHOP[GATEWAY] + '  release: "{{ event.version }}"\n',
        [f"{GATEWAY}:22:16: the name 'event' is not known here"],
    ),
    "a gateway over http": (GATEWAY, "summary: x\nbase_url: http://api.shop.test\n", [f"{GATEWAY}:2:1: "]),
    "a base_url with a user": (GATEWAY, "summary: x\nbase_url: https://a@b.test\n", [f"{GATEWAY}:2:1: "]),
    "a misspelt key of a gateway": (
        GATEWAY,
        SHOP[GATEWAY] + "hedaers: {}\n",
        [
            ":22:1: 'hedaers' is not known here; did you mean 'headers'?",
        ],
    ),
    "a fault in what an event says": (
        GATEWAY,
        SHOP[GATEWAY].replace("{{ event.id }}", "{{ evnt.id }}"),
        [
            f"{GATEWAY}:16:11: the name 'evnt' is not known here; did you mean 'event'?",
        ],
    ),
    "a scheme that does not exist": (
        GATEWAY,
        SHOP[GATEWAY].replace("scheme: stripe", "scheme: stipe"),
        [f"{GATEWAY}:13:3: there is no webhook scheme 'stipe'; did you mean 'stripe'?"],
    ),
    "a record type without properties": (RECORD, "summary: x\n", [f"{RECORD}:1:1: 'properties' is required"]),
    "an index of nothing": (
        RECORD,
        SHOP[RECORD].replace("index: [state]", "index: [stat]"),
        [
            f"{RECORD}:4:9: there is no property 'stat'; did you mean 'state'?",
        ],
    ),
    "a unique key of nothing": (
        RECORD,
        SHOP[RECORD].replace("unique: [gateway_id]", "unique: [[gateway_id, x]]"),
        [f"{RECORD}:3:"],
    ),
    "a wrong property": (
        RECORD,
        SHOP[RECORD].replace("amount: {type: integer}", "amount: {type: money}"),
        [
            f"{RECORD}:7:",
        ],
    ),
    "a name of the engine": (
        "response_mappers/records/call.yml",
        SHOP[RECORD],
        [
            "response_mappers/records/call.yml:1:1: call is a record type of the engine; choose another name",
        ],
    ),
    "a mapper's record type": (
        MAPPER,
        '\n{"upsert": "slae", "where": {"id": 1}}',
        [
            f"{MAPPER}:2:2: there is no record type 'slae'; did you mean 'sale'?",
        ],
    ),
    "a mapper's property": (
        MAPPER,
        '{"update": "sale",\n "where": {"id": "1"},\n "set": {"amuont": {{ now }}}}',
        [
            f"{MAPPER}:3:10: there is no property of sale 'amuont'; did you mean 'amount'?",
        ],
    ),
    "a mapper's data": (
        MAPPER,
        '{"update": "sale",\n "where": {"id": {{ data.idd }}}}',
        [
            f"{MAPPER}:2:26: 'idd' is not declared here",
        ],
    ),
    "a mapper's name": (
        MAPPER,
        '{"update": "sale", "where": {"id": {{ event.id }}}}',
        [
            f"{MAPPER}:1:39: the name 'event' is not known here",
        ],
    ),
    "an expression in a string": (
        MAPPER,
        '{"update": "sale", "where": {"id": "{{ response.id }}"}}',
        [
            f"{MAPPER}:1:37: an expression cannot stand inside a JSON string",
        ],
    ),
    "a mapper that is a list": (MAPPER, "[]", [f"{MAPPER}:1:1: a change must be a JSON object; wrap the value in one"]),
    "a comma between changes": (
        MAPPER,
        '{"send": "shop/read"},\n{"send": "shop/read"}',
        [f"{MAPPER}:1:22: not JSON: "],
    ),
    "a mapper's follow-up": (
        MAPPER,
        '{"send": "shop/raed"}',
        [
            f"{MAPPER}:1:2: there is no request type 'shop/raed'; did you mean 'shop/read'?",
        ],
    ),
    "a follow-up's data": (
        MAPPER,
        '{"send": "shop/read", "data": {"idd": 1}}',
        [
            f"{MAPPER}:1:32: there is no data of shop/read 'idd'; did you mean 'id'?",
        ],
    ),
    "a fragment that does not exist": (
        MAPPER,
        '{% include "shop/_x.json.j2" %}',
        [f"{MAPPER}:1:4: there is no fragment"],
    ),
    "a mapper of nothing": (
        "response_mappers/shop/pya.json.j2",
        '{"delete": "sale", "where": {"id": {{ now }}}}',
        [
            "response_mappers/shop/pya.json.j2:1:1: there is no request type 'shop/pya' for this mapper; did you",
        ],
    ),
    "a processor of a gateway that does not exist": (
        "webhook_processors/shpo/payment.refunded.json.j2",
        "",
        [
            ".refunded.json.j2:1:1: there is no gateway 'shpo' for this processor; did you mean 'shop'?",
        ],
    ),
    "a processor of a gateway that receives no event": (
        GATEWAY,
        SHOP[GATEWAY].partition("webhook:")[0],
        [
            f".json.j2:1:1: shop receives no event; write webhook: into {GATEWAY}, or remove this processor",
        ],
    ),
    "a processor's name": (
        "webhook_processors/shop/a.b.json.j2",
        "{% set x = evnt %}",
        [
            "webhook_processors/shop/a.b.json.j2:1:12: the name 'evnt' is not known here; did you mean 'event'?",
        ],
    ),
    "a folder without a gateway": (
        "request_types/bank/pay.yml",
        READ,
        [
            "request_types/bank/pay.yml:1:1: the folder has no _gateway.yml; write request_types/bank/_gateway.yml",
        ],
    ),
    "a bad name": (
        "request_types/shop/take payment.yml",
        READ,
        [
            "request_types/shop/take payment.yml:1:1: a name holds letters, digits, _ and single dots; rename it",
        ],
    ),
    "a bad name of a folder": (
        "request_types/Shop/take.yml",
        READ,
        ["request_types/Shop/take.yml:1:1: a folder's name holds small letters, digits and _; rename it"],
    ),
    "a mapper's change of no record": (
        MAPPER,
        '{"update": "sale", "set": {}}',
        [f'{MAPPER}:1:1: "where" of sale must be id or gateway_id, not absent'],
    ),
    "a bad ending": (
        "request_types/shop/take.yaml",
        READ,
        [
            "request_types/shop/take.yaml:1:1: a file of request_types ends in .yml; rename it",
        ],
    ),
    "a mapper's bad ending": (
        "response_mappers/shop/read.json",
        "{}",
        [
            "response_mappers/shop/read.json:1:1: a file of response_mappers ends in .json.j2; rename it",
        ],
    ),
}


@pytest.mark.parametrize(("name", "text", "said"), FAULTS.values(), ids=FAULTS)
def test_faults(tmp_path: Path, name: str, text: str, said: list[str]) -> None:
    """Every mistake is told at start as file:line:column, with what to do or the nearest right name."""
    found = faults(tmp_path, {name: text})
    assert len(found) == len(said), found
    for fault, wanted in zip(found, said, strict=True):
        assert wanted in fault


def test_keywords_of_ones_own(tmp_path: Path) -> None:
    """What resembles no keyword may stand in a schema, and a property may have any name."""
    properties = "{defualt: {note: x, x-unit: cent, theme: dark, enumNames: [a]}, minimun: {const: {requried: 1}}}"
    assert faults(tmp_path, {NEW: READ + f"data: {{id: x, properties: {properties}}}\n"}) == []


def test_all_faults_are_told_together(tmp_path: Path) -> None:
    """Mistakes in several files are one error, sorted by file and line; a faulty file makes no other file wrong."""
    found = faults(
        tmp_path,
        {
            PAY: "summary: x\nmethod: PSOT\nurl: /x\nbdoy: {}\n",
            RECORD: SHOP[RECORD] + "  paid_at: {type: tmie}\n",
            "webhook_processors/shop/payment.lost.json.j2": "{{ evnt }}",
        },
    )
    assert [fault.rpartition(": ")[0].split(": ")[0] for fault in found] == [
        f"{PAY}:2:1",
        f"{PAY}:4:1",
        f"{RECORD}:10:13",
        "webhook_processors/shop/payment.lost.json.j2:1:4",
    ]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """A file that is not UTF-8 is a fault, not a crash."""
    write(tmp_path, SHOP)
    (tmp_path / PAY).write_bytes(b"summary: \xff\n")
    with pytest.raises(DefinitionError, match=rf"{PAY}:1:1: is not UTF-8 text; save it as UTF-8"):
        load([tmp_path])


def test_hidden_files_and_folders_are_left_alone(tmp_path: Path) -> None:
    """What an editor leaves behind, and folders, are no definitions."""
    write(tmp_path, {**SHOP, "request_types/shop/.pay.yml.swp": "x", "request_types/shop/old/pay.yml": "x"})
    assert sorted(load([tmp_path]).request_types) == [f"shop/{name}" for name in ("erase", "pay", "pay_once", "read")]


# Merging and precedence -----------------------------------------------------------------------------------------------


def test_a_host_comes_before_what_is_shipped(tmp_path: Path) -> None:
    """A host's file replaces the shipped one of the same name; all others stay."""
    text = (shipped() / "request_types/stripe/create_refund.yml").read_text()
    write(tmp_path, {"request_types/stripe/create_refund.yml": text.replace(text.splitlines()[0], "summary: Ours.")})
    mine, theirs = Files(tmp_path, {}, reload=False).catalog(), Files(None, {}, reload=False).catalog()
    assert mine.request_types["stripe/create_refund"].summary == "Ours."
    assert theirs.request_types["stripe/create_refund"].summary != "Ours."
    assert set(mine.request_types) == set(theirs.request_types)


def test_a_host_can_replace_a_gateway_and_a_fragment(tmp_path: Path) -> None:
    """`_gateway.yml` and fragments are replaced like any other file, and apply to the files further down."""
    base, host = tmp_path / "shipped", tmp_path / "host"
    fragment = "response_mappers/shop/_note.json.j2"
    include = SHOP[MAPPER] + f'{{% include "{fragment.removeprefix("response_mappers/")}" %}}'
    write(base, {**SHOP, MAPPER: include, fragment: '{"send": "shop/read", "data": {"id": "theirs"}}'})
    write(
        host,
        {
            GATEWAY: SHOP[GATEWAY].replace("api.shop.test", "other.shop.test"),
            fragment: '{"send": "shop/read", "data": {"id": "ours"}}',
        },
    )
    catalog = load([host, base])
    assert catalog.request_types["shop/pay"].base_url == "https://other.shop.test/v1"
    *_, change = catalog.mappers["shop/pay"].documents({"data": {}, "response": {}})
    assert change["data"]["id"] == "ours"


def test_a_host_can_do_without_the_events_of_a_gateway_further_down(tmp_path: Path) -> None:
    """The processors there are not its own to remove."""
    base, host = tmp_path / "shipped", tmp_path / "host"
    write(base, SHOP)
    write(host, {GATEWAY: SHOP[GATEWAY].partition("webhook:")[0]})
    assert load([host, base]).gateways["shop"].webhook is None
    write(host, {"webhook_processors/shop/payment.lost.json.j2": ""})
    with pytest.raises(DefinitionError, match=r"^webhook_processors/shop/payment.lost.json.j2:1:1: shop receives"):
        load([host, base])


def test_the_gateways_keys_are_shared(tmp_path: Path) -> None:
    """`_gateway.yml` applies to every file of its folder; mappings merge key by key, the file's own keys win."""
    type = request(tmp_path, HEAD + 'headers: {X-Own: "1", Content-Type: text/plain}\nbody: "a"\nretry: null\n')
    sent = type.render({}, {"call_id": "c", "now": "n", "settings": {}, "account": None}, "key-1")
    assert dict(sent.headers) == {"Content-Type": "text/plain", "X-Own": "1", "Idempotency-Key": "key-1"}
    assert type.retry_header is None
    assert type.request_id == "X-Request"


def test_null_takes_a_header_away(tmp_path: Path) -> None:
    """A header of the gateway can be removed by a file with null."""
    type = request(tmp_path, READ + "headers: {X-Trace: null}\n")
    assert dict(type.render({}, {"call_id": "c"}, "k").headers) == {}


def test_what_a_fault_of_the_gateway_is_called(tmp_path: Path) -> None:
    """A fault in what a gateway shares is told once, in the gateway's file."""
    found = faults(tmp_path, {GATEWAY: SHOP[GATEWAY].replace("response.error.message", "respnse.error.message")})
    assert len(set(found)) == 1
    assert found[0].startswith(f"{GATEWAY}:10:12: ")


def test_base_urls_replace_the_gateways(tmp_path: Path) -> None:
    """`base_urls` replaces the whole base_url, path included; plain http is for this machine only."""
    catalog = OnlyHere(write(tmp_path, SHOP), {"shop": "http://127.0.0.1:8420/api"}).catalog()
    assert isinstance(catalog, Catalog)
    type = catalog.request_types["shop/read"]
    assert type.redirected
    assert type.render({"id": "p1"}, {"call_id": "c"}, "k").url == "http://127.0.0.1:8420/api/payments/p1"


@pytest.mark.parametrize(
    "url", ["http://api.shop.test", "ftp://127.0.0.1", "https://a@b.test", "https://a.test?x", "x"]
)
def test_base_urls_that_are_refused(tmp_path: Path, url: str) -> None:
    """A base_url from outside is https, or this machine."""
    with pytest.raises(SettingError, match="CALLSHEET_STRIPE_BASE_URL"):
        Files(tmp_path, {"stripe": url}, reload=False)


def test_a_setting_means_what_it_looks_like(tmp_path: Path) -> None:
    """A secret of which a part was replaced would be another one, and nobody could see it."""
    write(tmp_path, {".env": "ONE='a${HOME}b'\nOTHER=a${OTHER}b$c\n"})
    settings = Settings(tmp_path, {})
    assert (settings.get("ONE"), settings.get("OTHER")) == ("a${HOME}b", "a${OTHER}b$c")


def test_base_url_from_the_environment(tmp_path: Path) -> None:
    """CALLSHEET_<GATEWAY>_BASE_URL names a base_url too."""
    environment = {"CALLSHEET_STRIPE_BASE_URL": "http://localhost:1/v1"}
    engine = Engine(tmp_path, environment=environment, store=MemoryStore())
    assert engine.plan("stripe/get_payment", {"gateway_id": "ch_1"}).request.url.startswith("http://localhost:1/v1/")


# Names ----------------------------------------------------------------------------------------------------------------


def test_unknown_names(tmp_path: Path) -> None:
    """Whoever misspells a name gets the nearest one; the error is a LookupError too."""
    catalog = load([write(tmp_path, SHOP)])
    for look_up, name, said in (
        (catalog.request_type, "shop/apy", "there is no request type 'shop/apy'; did you mean 'shop/pay'?"),
        (catalog.record_type, "slae", "there is no record type 'slae'; did you mean 'sale'?"),
        (catalog.gateway, "shopp", "there is no gateway 'shopp'; did you mean 'shop'?"),
    ):
        with pytest.raises(LookupError) as raised:
            look_up(name)
        assert isinstance(raised.value, UnknownNameError)
        assert str(raised.value) == said


def test_every_shipped_file_is_found() -> None:
    """Each file in the four shipped folders is a definition, a gateway, or a fragment; none lies there unread."""
    catalog = Files(None, {}, reload=False).catalog()
    known = {
        "request_types": {f"{name}.yml" for name in catalog.request_types},
        "response_mappers": {f"{name}.json.j2" for name in catalog.mappers}
        | {f"records/{name}.yml" for name in catalog.record_types},
        "webhook_processors": {f"{name}.json.j2" for name in catalog.processors},
    }
    for kind, names in known.items():
        folder = shipped() / kind
        files = {str(path.relative_to(folder)) for path in folder.glob("*/*") if not path.name.startswith("_")}
        assert files == names


# Reloading and the cache ----------------------------------------------------------------------------------------------


def _touch(path: Path, text: str) -> None:
    """Write a file so that its time differs, however coarse the file system's clock is."""
    path.write_text(text)
    moment = time.time_ns() + 5_000_000
    os.utime(path, ns=(moment, moment))


def test_a_dropped_file_works_on_the_next_call(tmp_path: Path) -> None:
    """With reload, new and edited files count at once; without, files are read once."""
    write(tmp_path, SHOP)
    files, once = Files(tmp_path, {}, reload=True), Files(tmp_path, {}, reload=False)
    assert "shop/new" not in files.catalog().request_types
    _touch(tmp_path / "request_types/shop/new.yml", READ)
    assert "shop/new" in files.catalog().request_types
    assert "shop/new" not in once.catalog().request_types
    _touch(tmp_path / "request_types/shop/new.yml", READ.replace("summary: x", "summary: y"))
    assert files.catalog().request_types["shop/new"].summary == "y"
    (tmp_path / "request_types/shop/new.yml").unlink()
    assert "shop/new" not in files.catalog().request_types


def test_what_an_editor_leaves_beside_a_file_is_none(tmp_path: Path) -> None:
    """An edited file counts at once, whatever stands beside it then."""
    write(tmp_path, SHOP)
    files = Files(tmp_path, {}, reload=True)
    left = {f"request_types/shop/{name}": "half of a file" for name in (".pay.yml.swp", "#pay.yml#", "pay.yml~")}
    write(tmp_path, left)
    _touch(tmp_path / PAY, SHOP[PAY].replace("minimum: 1", "minimum: 10"))
    assert files.catalog().request_types["shop/pay"].properties["amount"]["minimum"] == 10
    assert files.faults == ()


def test_a_link_to_nowhere_is_no_file(tmp_path: Path) -> None:
    """Emacs puts one beside every file that it edits: neither a host nor a sandbox that follows its files stumbles."""
    write(tmp_path, SHOP)
    files, material = Files(tmp_path, {}, reload=True), Following(tmp_path)
    for folder in ("request_types/shop", "tests/cases/request_types/shop/new"):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / ".#new.yml").symlink_to("ann@host.4711:1700000000")
    _touch(tmp_path / "request_types/shop/new.yml", READ)
    assert "shop/new" in files.catalog().request_types
    changed = material.changed()
    assert changed is not None
    assert "shop/new" in changed.catalog.request_types


def test_a_broken_edit_keeps_the_last_good_version(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A broken edit is told in the log and in `faults`; what was good before goes on working until it is mended."""
    write(tmp_path, SHOP)
    engine = Engine(tmp_path, reload=True, environment=SECRETS, store=MemoryStore(), dispatcher=Told(ok()))
    _touch(tmp_path / PAY, SHOP[PAY].replace("data.amount", "data.amuont"))
    with caplog.at_level(logging.ERROR, "engine"):
        assert engine.send("shop/pay", {"amount": 5}).response == {"id": "p1", "amount": 5}
    (fault,) = engine.faults
    assert str(fault).startswith(f"{PAY}:5:")
    assert "did you mean 'amount'?" in str(fault)
    assert str(fault) in caplog.text
    _touch(tmp_path / PAY, SHOP[PAY].replace("minimum: 1", "minimum: 10"))
    with pytest.raises(ValueError, match="less than the minimum of 10"):
        engine.send("shop/pay", {"amount": 5})
    assert engine.faults == ()


def test_the_first_reading_must_be_sound(tmp_path: Path) -> None:
    """With reload too, an engine does not start on broken files."""
    write(tmp_path, {**SHOP, PAY: "method: GET\n"})
    with pytest.raises(DefinitionError):
        Files(tmp_path, {}, reload=True)


def _rendered(root: Path) -> str:
    catalog = load([root], cache=code_cache(root))
    names = {"data": {"amount": 5}, "response": {"id": "p1"}, "call_id": "c", "settings": {}, "account": None}
    sent = catalog.request_types["shop/pay"].render({"amount": 5}, {"call_id": "c", "account": None}, "k")
    return sent.body.decode() + json.dumps(catalog.mappers["shop/pay"].documents(names))


def test_generated_code_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second start takes the generated code from the cache, and compiles nothing."""
    write(tmp_path, SHOP)
    first = _rendered(tmp_path)
    monkeypatch.setattr(Templates, "_compiled", None)
    monkeypatch.setattr("jinja2.environment.Environment._compile", None)
    assert _rendered(tmp_path) == first


def test_a_changed_file_is_compiled_again(tmp_path: Path) -> None:
    """The cache decides by content: an edit counts, even one that keeps the file's time and size."""
    write(tmp_path, SHOP)
    first = _rendered(tmp_path)
    for name, old, new in ((PAY, "amount: ", "amuont: "), (MAPPER, '"upsert"', '"update"')):
        path = tmp_path / name
        before = path.stat()
        path.write_text(path.read_text().replace(old, new, 1))
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        changed = _rendered(tmp_path)
        assert changed == first.replace(old.strip(": "), new.strip(": "), 1) != first
        first = changed


def test_a_damaged_cache_is_made_anew(tmp_path: Path) -> None:
    """Files of the cache that are broken off or of another kind do no harm."""
    write(tmp_path, SHOP)
    first = _rendered(tmp_path)
    kept = list((tmp_path / ".callsheet").glob("*/*"))
    assert kept
    for path in kept:
        path.write_bytes(b"no code at all")
    assert _rendered(tmp_path) == first


def test_no_cache_where_nothing_can_be_written(tmp_path: Path) -> None:
    """An engine starts in a folder that is not there to write into."""
    assert code_cache(None) is None
    assert code_cache(tmp_path / "nowhere") is None
    assert not (tmp_path / "nowhere").exists()


def test_a_cache_that_others_can_write_is_left_alone(tmp_path: Path) -> None:
    """Whoever can write generated code has it run here."""
    found = code_cache(tmp_path)
    assert found
    folder = Path(found.directory)
    assert folder.stat().st_mode & 0o777 == 0o700
    for mode in (0o770, 0o702):
        folder.chmod(mode)
        assert code_cache(tmp_path) is None
    folder.chmod(0o755)
    assert code_cache(tmp_path)


def test_a_cache_of_another_user_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What root has made may be read; what anybody else has made may not, nor what a link leads to."""
    found = code_cache(tmp_path)
    assert found
    folder, owner = Path(found.directory), os.geteuid()
    monkeypatch.setattr("os.geteuid", lambda: owner + 1)
    assert bool(code_cache(tmp_path)) is (owner == 0)
    monkeypatch.undo()
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    assert code_cache(tmp_path) is None


def test_what_cannot_be_kept_is_rendered_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk keeps nobody from rendering."""
    write(tmp_path, SHOP)

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr("tempfile.NamedTemporaryFile", full)
    monkeypatch.setattr(Path, "write_text", full)
    first = _rendered(tmp_path)
    assert not list((tmp_path / ".callsheet").glob("*/*"))
    monkeypatch.undo()
    assert _rendered(tmp_path) == first


def test_the_kinds_of_files() -> None:
    """There are four folders, and a file's ending is that of its folder."""
    assert list(KINDS) == ["request_types", "response_mappers", "webhook_processors", "forms"]


LOADED_TWICE = """
import gc
from engine.catalog import load, shipped

load([shipped()])
frozen = gc.get_freeze_count()
load([shipped()])
print(gc.isenabled(), frozen > 10_000, gc.get_freeze_count() <= frozen)
"""


def test_the_collector_passes_over_what_a_process_loads_first() -> None:
    """And over nothing that it loads later, which may go again."""
    said = subprocess.run([sys.executable, "-c", LOADED_TWICE], check=True, capture_output=True, text=True)
    assert said.stdout.split() == ["True"] * 3
