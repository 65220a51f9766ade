"""The reference: it says what the files say, leads nowhere that is not there, and spares folders of others."""

from __future__ import annotations

import ast
import html
import json
import os
import re
import shlex
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest
from commands import KEYS, command, run
from hosts import write

from engine.case_requests import form_pairs
from engine.cases import read_cases
from engine.catalog import load, shipped
from engine.errors import DefinitionError
from engine.reference import Site
from engine.reference import write as write_site

VOID = {"meta", "link", "input", "br"}
CASE = """\
claim: a payment is taken <b>at once</b>
data: {amount: 5, note: "it's \\"ours\\""}
sends: {method: POST, url: https://api.shop.test/v1/payments, body: {amount: 5, note: "it's \\"ours\\"", call: call-1}}
receives: {body: {id: p1, amount: 5}}
after:
  sale: [{gateway_id: p1, amount: 5, state: paid}]
"""


@pytest.fixture
def shop(bare_shop: Path) -> Path:
    """Without a store yet."""
    return bare_shop


class Checked(HTMLParser):
    """A page whose elements are all closed, in order; its `ids` and the `links` of any kind."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[tuple[str, str]] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        known = {name: value or "" for name, value in attrs}
        assert len(known) == len(attrs), "an attribute is there twice"
        assert not {name for name in known if name.startswith("on") or name == "style"}
        self.ids += [known["id"]] if "id" in known else []
        self.links += [(tag, known[name]) for name in ("href", "src") if name in known]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def pages() -> dict[str, bytes]:
    """Everything that is written of the shipped files."""
    return contents(Site(load([shipped()]), [shipped()]))


def contents(site: Site) -> dict[str, bytes]:
    return {path: site.content(path) for path in site.paths}


def written(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def text(content: bytes) -> str:
    """A page's text, with single blanks, and none before a comma or a stop."""
    shown = html.unescape(re.sub(r"<[^>]*>", " ", content.decode().partition("<main>")[2]))
    return re.sub(r" ([,.:;])", r"\1", " ".join(shown.split()))


# The pages ------------------------------------------------------------------------------------------------------------


def test_no_link_leads_nowhere(pages: dict[str, bytes]) -> None:
    """Every link, script and stylesheet is a file of the site, and every part of a page that is named is there."""
    found = {path: Checked(content.decode()) for path, content in pages.items() if path.endswith(".html")}
    for path, page in found.items():
        assert len(page.ids) == len(set(page.ids)), path
        for tag, url in page.links:
            parts = urlsplit(url)
            if parts.scheme:
                assert (tag, parts.scheme) == ("a", "https") or url == "data:,", (path, url)
                continue
            target = os.path.normpath(Path(path).parent / unquote(parts.path)) if parts.path else path
            assert target in pages, (path, url)
            assert not parts.fragment or unquote(parts.fragment) in found[target].ids, (path, url)


def test_every_definition_is_reached_from_the_first_page(pages: dict[str, bytes]) -> None:
    """And found by the search, with its summary and the names inside it."""
    catalog = load([shipped()])
    reached = {url for _, url in Checked(pages["index.html"].decode()).links}
    entries = json.loads(pages["search-index.js"].decode().partition("=")[2].strip().removesuffix(",\n];") + "\n]")
    assert {entry[2] for entry in entries} == {path for path in pages if "/" in path}
    assert reached >= {path for path in pages if "/" in path}
    assert [name for kind, name, *_ in entries if kind == "request type"] == sorted(catalog.request_types)
    refund = next(entry for entry in entries if entry[1] == "stripe/create_refund")
    assert refund[3] == "Give back a payment, whole or in part."
    assert "reverse_transfer" in refund[4].split()


def test_a_request_type_says_all_that_its_file_says(pages: dict[str, bytes]) -> None:
    """Every parameter with its type and limits, what it changes, who sends it, its files."""
    said = text(pages["request_types/stripe/create_account.html"])
    for part in (
        "POST https://api.stripe.com/v1/accounts[/{gateway_id}]",
        "safe: the gateway knows a repeated Idempotency-Key, for 24 hours",
        '{"bearer": "STRIPE_SECRET_KEY"}',
        "business is based, as two capital letters. of the form ^[A-Z]{2}$",
        "persons[0].first_name string First name.",
        "requested_capabilities array of card_payments | legacy_payments | transfers or string The same as a list",
        "Found again by stripe/find_account",
        "Then sends stripe/create_person.",
        'result = engine.send("stripe/create_account", {',
        "RejectedError, status 400",
        "request_types/stripe/create_account.yml shipped summary: Open a connected account",
    ):
        assert part in said, part
    looked_up = text(pages["request_types/stripe/find_account.html"])
    assert "Finds again stripe/create_account" in looked_up
    assert "reads only: sent freely" in looked_up
    senders = text(pages["request_types/stripe/get_account.html"]).partition("Sent after ")[2].partition(" Form")[0]
    assert "stripe/account.updated" in senders


def test_an_event_a_record_and_a_gateway(pages: dict[str, bytes]) -> None:
    """Each says what is known of it, the engine's own records too."""
    event = text(pages["events/stripe/charge.refunded.html"])
    assert "Creates or changes payment, found by gateway_id" in event
    assert '"type": "charge.refunded"' in event
    record = text(pages["records/refund.html"])
    for part in (
        "Unique gateway_id, within",
        'engine.find("refund", gateway_id=…)',
        "stripe/create_refund",
        "required",
    ):
        assert part in record
    assert "Kept by the engine itself" in text(pages["records/call.html"])
    gateway = text(pages["gateways/stripe.html"])
    for part in (
        "known by Idempotency-Key for 24h",
        'Rate, per second {"test": 25, "live": 100}',
        "in Stripe-Signature, over {timestamp}.{body}, sha256 in hex",
        "/callsheet/webhooks/stripe/connect, signed with STRIPE_CONNECT_WEBHOOK_SECRET",
        "Set up by stripe/create_webhook_endpoint",
    ):
        assert part in gateway, part


def test_an_example_is_the_call_that_its_case_is_about(pages: dict[str, bytes]) -> None:
    """The Python is Python with the case's data, and curl sends what the case says; every request type has one."""
    cases = {(case.subject, case.told["claim"]): case.told for case in read_cases(shipped() / "tests/cases")}
    found = {path: Example(content.decode()) for path, content in pages.items() if path.startswith("request_types/")}
    for path, example in found.items():
        subject = path.removeprefix("request_types/").removesuffix(".html")
        told = cases[subject, example.texts["claim"].strip()]
        call: Any = ast.parse(example.texts["The call in Python"]).body[0]
        name, data = (ast.literal_eval(argument) for argument in call.value.args)
        assert (name, data) == (subject, told.get("data", {}))
        line = shlex.split(example.texts["The same with curl"])
        sends = told["sends"][0] if isinstance(told["sends"], list) else told["sends"]
        assert sends["method"] in line
        assert any(part.partition("?")[0] == sends["url"].partition("?")[0] for part in line)
        assert "Authorization: Bearer $STRIPE_SECRET_KEY" in line
        if sends.get("body"):
            assert form_pairs(line[line.index("--data-raw") + 1]) == form_pairs(sends["body"])


class Example(HTMLParser):
    """What a page's example says, by what it is."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts = {"claim": "", "The call in Python": "", "The same with curl": ""}
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if tag == "pre":
            self._inside = known["aria-label"] or ""
        elif tag == "p" and self._inside == "heading":
            self._inside = "claim"
        elif known.get("id") == "example":
            self._inside = "heading"

    def handle_endtag(self, tag: str) -> None:
        if tag in {"pre", "p"}:
            self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside in self.texts:
            self.texts[self._inside] += data


def test_the_same_files_make_the_same_bytes(tmp_path: Path, pages: dict[str, bytes]) -> None:
    """In another process, with other hashes, from another folder."""
    made = tmp_path / "elsewhere"
    with command("docs", str(made), cwd=tmp_path) as running:
        assert running.communicate()[1] == ""
    found = written(made)
    del found["callsheet-docs.json"]
    assert found == pages


# A host's ------------------------------------------------------------------------------------------------------------


def test_a_hosts_file_replaces_the_shipped_one_and_its_cases(tmp_path: Path) -> None:
    """The page is about what is in force."""
    own = "{summary: Mine., method: GET, url: '/x/{{ data.id }}', data: {properties: {id: {type: string}}}}"
    case = "{claim: mine is read, data: {id: a b}, sends: {method: GET, url: x}, receives: {body: {id: 1}}}"
    host = write(
        tmp_path,
        {
            "request_types/stripe/find_payment.yml": own,
            "tests/cases/request_types/stripe/find_payment/one.yml": case,
            "tests/cases/request_types/stripe/get_customer/found.yml": case.replace("mine", "ours"),
        },
    )
    site = Site(load([host, shipped()]), [host, shipped()])
    page = text(site.content("request_types/stripe/find_payment.html"))
    assert "GET https://api.stripe.com/v1/x/{id}" in page
    assert "find_payment.yml of this host" in page
    assert "What its cases show mine is read Files" in page
    assert "https://api.stripe.com/v1/x/a%20b" in page
    other = text(site.content("request_types/stripe/get_customer.html"))
    assert "ours is read" in other
    assert "get_customer.yml shipped" in other


def test_texts_stay_texts(shop: Path) -> None:
    """In a page and in the script that the search reads; what cannot be printed is replaced."""
    files = {
        "request_types/shop/odd.yml": """\
summary: "</script><script>alert(1)</script> \\x01 \\u2028"
method: GET
url: /x
data:
  properties:
    "<i>": {type: string, description: "{{ 7 * 7 }} & \\"more\\""}
    <b>: {type: string}
    example: {anyOf: [{properties: {files: {type: string}}}, {properties: {files: {type: integer}}}]}
""",
        "tests/cases/request_types/shop/pay/paid.yml": CASE,
    }
    site = Site(load([write(shop, files)]), [shop])
    page = site.content("request_types/shop/odd.html").decode()
    ids = Checked(page).ids
    assert len(ids) == len(set(ids))
    assert "<p>&lt;/script&gt;&lt;script&gt;alert(1)&lt;/script&gt; \ufffd \u2028</p>" in page
    assert "{{ 7 * 7 }} &amp; &#34;more&#34;" in page
    index = site.content("search-index.js")
    assert index.isascii()
    assert b"\\u2028" in index
    paid = text(site.content("request_types/shop/pay.html"))
    assert "a payment is taken <b>at once</b>" in paid
    assert 'engine.send("shop/pay", {"amount": 5, "note": "it\'s \\"ours\\""})' in paid


def test_a_file_without_cases_has_a_page_without_example(shop: Path) -> None:
    """And so has one whose case does not hold."""
    bad = CASE.replace("amount: 5, note", "amount: many, note", 1)
    write(shop, {"tests/cases/request_types/shop/pay/paid.yml": bad})
    site = Site(load([shop]), [shop])
    for name in ("pay", "read", "erase", "pay_once"):
        assert "Example" not in text(site.content(f"request_types/shop/{name}.html"))


def test_no_secret_and_no_other_address_is_in_it(shop: Path) -> None:
    """Secrets are named; where this host sends its calls is nobody's business either."""
    write(shop, {"tests/cases/request_types/shop/pay/paid.yml": CASE})
    away = "https://proxy.internal/token-4711/v1"
    done = run(shop, "docs", CALLSHEET_SHOP_BASE_URL=away, SHOP_PUBLIC="pk_test_canary42")
    assert done.exit_code == 0, done.output
    everything = b"".join(written(shop / "callsheet-docs").values()).decode()
    for secret in (*KEYS.values(), "canary42", "proxy.internal", str(shop)):
        assert secret not in everything
    assert "https://api.shop.test/v1/payments" in everything
    assert "Authorization: Bearer $SHOP_KEY" in everything


# The folder -----------------------------------------------------------------------------------------------------------


def test_the_command_sums_up(shop: Path) -> None:
    """In a sentence, or for programs; a second run writes nothing, and one after a change only what is other."""
    first = run(shop, "docs")
    assert first.output.splitlines()[0].startswith("4 request types, 1 event, 3 records, 1 gateway: 16 files in ")
    again = json.loads(run(shop, "docs", "--json").output)
    assert again == {
        "directory": str(shop / "callsheet-docs"),
        "request_types": 4,
        "events": 1,
        "records": 3,
        "gateways": 1,
        "files": 16,
        "written": 0,
        "removed": 0,
    }
    (shop / "request_types/shop/erase.yml").unlink()
    changed = json.loads(run(shop, "docs", str(shop / "callsheet-docs"), "--json").output)
    assert (changed["written"], changed["removed"]) == (3, 1)
    assert not (shop / "callsheet-docs/request_types/shop/erase.html").exists()


def test_a_folder_of_something_else_is_left_alone(shop: Path, tmp_path: Path) -> None:
    """Whatever lies in it; but what begins with a dot, such as a checkout's own, does not count."""
    other = write(tmp_path / "other", {"index.html": "mine"})
    (tmp_path / "fresh" / ".git").mkdir(parents=True)
    refused = run(shop, "docs", str(other))
    assert (refused.exit_code, "holds something else" in refused.output) == (2, True)
    assert written(other) == {"index.html": b"mine"}
    for mark in ("", "[]", '{"files": 5}', '{"files": {}}', "{}"):
        (other / "callsheet-docs.json").write_text(mark)
        assert run(shop, "docs", str(other)).exit_code == 2
    assert run(shop, "docs", str(tmp_path / "fresh")).exit_code == 0
    assert run(shop, "docs", str(shop / "request_types/shop/pay.yml")).exit_code == 2
    assert run(shop, "docs", str(shop / "request_types/shop/pay.yml/below")).exit_code == 2


def test_only_what_was_written_is_removed(shop: Path, tmp_path: Path) -> None:
    """A list that names files elsewhere is not obeyed, and what somebody put beside ours stays."""
    docs = tmp_path / "docs"
    assert run(shop, "docs", str(docs)).exit_code == 0
    write(tmp_path, {"precious": "1", "docs/records/notes.txt": "2", "docs/old/page.html": "3"})
    mark = json.loads((docs / "callsheet-docs.json").read_text())
    mark["files"] += ["../precious", str(tmp_path / "precious"), "old/page.html", "gone.html", 5]
    (docs / "callsheet-docs.json").write_text(json.dumps(mark))
    assert json.loads(run(shop, "docs", str(docs), "--json").output)["removed"] == 1
    assert (tmp_path / "precious").exists()
    assert (docs / "records/notes.txt").exists()
    assert not (docs / "old").exists()


def test_faulty_cases_are_told_all_together(shop: Path, tmp_path: Path) -> None:
    """And nothing is written."""
    faulty = dict.fromkeys((f"tests/cases/request_types/shop/{name}/a.yml" for name in ("pay", "read")), "{claims: a}")
    write(shop, faulty)
    done = run(shop, "docs", str(tmp_path / "docs"))
    assert done.exit_code == 2
    assert "shop/pay/a.yml" in done.output
    assert "shop/read/a.yml" in done.output
    assert not (tmp_path / "docs").exists()


def test_a_run_that_broke_off_can_be_repeated(shop: Path, tmp_path: Path) -> None:
    """What it left is known as ours."""
    docs = tmp_path / "docs"
    site = Site(load([shop]), [shop])
    (tmp_path / "docs").mkdir()
    (docs / "records").write_text("in the way")
    (docs / "callsheet-docs.json").write_text('{"files": []}')
    with pytest.raises(OSError, match="records"):
        write_site(site, docs, iter)
    (docs / "records").unlink()
    assert write_site(site, docs, iter).files == 16


@pytest.fixture
def faulty(shop: Path) -> Site:
    write(shop, {"tests/cases/request_types/shop/pay/a.yml": "{claims: a}"})
    return Site(load([shop]), [shop])


def test_a_faulty_case_is_told_by_its_own_page_only(faulty: Site) -> None:
    """The others can be read while somebody writes it."""
    assert faulty.content("request_types/shop/read.html")
    with pytest.raises(DefinitionError, match="claims"):
        faulty.content("request_types/shop/pay.html")
    with pytest.raises(KeyError):
        faulty.content("../secrets.html")


def test_a_file_that_was_removed_meanwhile_is_named(shop: Path) -> None:
    """Definitions stay in force while another file is faulty."""
    site = Site(load([shop]), [shop])
    (shop / "request_types/shop/read.yml").unlink()
    with pytest.raises(DefinitionError, match=r"request_types/shop/read.yml:1:1: is not there any more"):
        site.content("request_types/shop/read.html")
