"""The cases tell everything that the shipped files do; and a case that is wrong fails."""

from __future__ import annotations

import copy
import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from hosts import write

from engine.cases import Case, CaseRunner, is_refusal, read_case, read_cases
from engine.catalog import Catalog, shipped
from engine.core import Engine
from engine.dispatcher import BEFORE_SENDING, HELD_BACK, Kind
from engine.errors import DefinitionError, RejectedError
from engine.file_kinds import KINDS, file_schema
from engine.reloading import Files
from engine.sandbox import Material, Sandbox
from engine.store.memory import MemoryStore

pytest_plugins = ["pytester"]

CASES = read_cases(shipped() / "tests" / "cases")
CATALOG: Catalog = Files(None, {}, reload=False).catalog()
HOSTILE = re.compile(r"hostile|\bB(3|10|15|24)\b")


@pytest.fixture(scope="module")
def runner() -> CaseRunner:
    """What runs the cases of this module."""
    return CaseRunner()


def of(kind: str, subject: str) -> list[Case]:
    """The cases about one file."""
    return [case for case in CASES if (case.kind, case.subject) == (kind, subject)]


def claim_line(case: Case) -> str:
    """What a case claims, with the faults of the originals that are named behind it."""
    return next(line for line in case.file.read_text("utf-8").splitlines() if line.startswith("claim:"))


# What must be told ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(CATALOG.request_types))
def test_every_request_type_is_told(name: str) -> None:
    """Each request type has a case that succeeds, one that the gateway refuses, and one with hostile data."""
    cases = of("request_types", name)
    assert any(case.succeeds for case in cases), "a success"
    assert any(is_refusal(case) for case in cases), "a refusal"
    assert any(HOSTILE.search(f"{case.file.stem} {claim_line(case)}") for case in cases), "hostile data"


@pytest.mark.parametrize("name", sorted(CATALOG.processors))
def test_every_processor_is_told(name: str) -> None:
    """Each webhook processor has a case in which it is processed."""
    assert any(case.succeeds for case in of("webhook_processors", name))


@pytest.mark.parametrize("name", sorted(CATALOG.record_types))
def test_every_record_type_is_told(name: str) -> None:
    """Some case ends with a record of each type."""
    assert any(case.told.get("after", {}).get(name) for case in CASES)


def test_every_mapper_is_told() -> None:
    """Each mapper, those of refusals too, has a case that uses it."""
    used = {f"{case.subject}.declined" if is_refusal(case) else case.subject for case in CASES}
    assert set(CATALOG.mappers) <= used


def test_every_case_is_about_something() -> None:
    """No case is about a file that does not exist, none lies where it is not found, and no claim is made twice."""
    known = {"request_types": CATALOG.request_types, "webhook_processors": CATALOG.processors}
    assert [case.file for case in CASES if case.subject not in known[case.kind]] == []
    assert len(list((shipped() / "tests" / "cases").rglob("*.yml"))) == len(CASES)
    claims = [(case.subject, case.told["claim"]) for case in CASES]
    assert len(claims) == len(set(claims))


def test_no_mapped_property_is_always_null(runner: CaseRunner) -> None:
    """What a mapper or a processor sets has a value in one of its cases; else it reads what is never there."""
    filled: dict[tuple[str, str, str], bool] = defaultdict(bool)
    for case in CASES:
        folder = "response_mappers" if case.kind == "request_types" else case.kind
        file = f"{folder}/{case.subject}{'.declined' if is_refusal(case) else ''}.json.j2"
        for type, name, value in runner.run(case).mapped:
            filled[file, type, name] |= value is not None
    assert [key for key, value in sorted(filled.items()) if not value] == []


def test_answers_and_events_look_real() -> None:
    """A case that succeeds has the whole of what is sent: no case passes because it compares nothing."""
    for case in CASES:
        if case.kind == "request_types" and case.succeeds:
            assert "sends" in case.told, case.file
            assert "receives" in case.told, case.file
        if case.kind == "webhook_processors":
            assert case.told.keys() & {"after", "raises"}, case.file


def test_the_plugin_collects_them(pytestconfig: pytest.Config) -> None:
    """The cases are tests of their own: the plugin that collects them is at work in this very run."""
    assert pytestconfig.pluginmanager.has_plugin("callsheet")
    assert pytestconfig.rootpath == shipped()


# A wrong case fails ---------------------------------------------------------------------------------------------------


def _changed(told: Mapping[str, Any], path: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(dict(told))
    *inner, last = path.split("/")
    part: Any = changed
    for name in inner:
        part = part[int(name)] if isinstance(part, list) else part[name]
    part[last] = value
    return changed


TOLD: dict[str, Any] = {
    "claim": "an amount is held and kept",
    "data": {"amount": 500, "currency": "usd", "source": "tok_visa", "capture": False, "external_id": "order-17"},
    "sends": {
        "method": "POST",
        "url": "https://api.stripe.com/v1/charges",
        "headers": {"Idempotency-Key": "key-1", "Stripe-Account": None},
        "body": {
            "amount": 500,
            "currency": "usd",
            "source": "tok_visa",
            "capture": False,
            "metadata": {"callsheet_call": "call-1"},
        },
    },
    "receives": {
        "body": {
            "id": "ch_1",
            "amount": 500,
            "amount_captured": 0,
            "captured": False,
            "currency": "usd",
            "status": "succeeded",
        }
    },
    "after": {"payment": [{"gateway_id": "ch_1", "state": "authorized", "external_id": "order-17", "paid_at": None}]},
}
CONTROL = Case(Path("control.yml"), "request_types", "stripe/create_payment", TOLD)

WRONG: dict[str, tuple[str, Any]] = {
    "sends: method": ("sends/method", "PUT"),
    "sends: url": ("sends/url", "https://api.stripe.com/v1/refunds"),
    "sends: query": ("sends/query", "a=1"),
    "sends: header": ("sends/headers", {"Idempotency-Key": "key-2"}),
    "sends: header Stripe-Version": ("sends/headers", {"Stripe-Version": None}),
    "sends: body": ("sends/body", {"amount": 500}),
    "sends: body: ": ("sends/body", "amount=500"),
    "sends: 2 requests": ("sends", [TOLD["sends"], TOLD["sends"]]),
    "after: payment/state": ("after", {"payment": [{"state": "paid"}]}),
    "after: payment/paid_at": ("after", {"payment": [{"paid_at": "2026-01-01T00:00:00Z"}]}),
    "after: payment/external_id": ("after", {"payment": [{"external_id": None}]}),
    "after: payment/amount_cents": ("after", {"payment": [{"amount_cents": 500.5}]}),
    "after: 2 payment records": ("after", {"payment": [{}, {}]}),
    "after: 0 payment records": ("after", {"payment": []}),
    "after: 1 refund records": ("after", {"refund": [{}]}),
    "raises: ": ("raises", {"error": "RejectedError"}),
    "returns: ": ("returns", {"id": "ch_2"}),
    "redirect: ": ("redirect", "https://pay.stripe.com"),
    "warns: ": ("warns", "is now spelt"),
    "raises UnknownOutcome": ("receives/body", {"id": "re_1"}),
    "raises RejectedError": ("receives", {"status": 402, "body": {"error": {"message": "no"}}}),
    "raises TransportError": ("receives", {"fails": "connect"}),
    "raises DataError": ("data/amount", "500"),
}


def test_the_control_holds(runner: CaseRunner) -> None:
    """The case that the next tests break is sound."""
    assert runner.run(CONTROL).differences == []


@pytest.mark.parametrize(("said", "change"), WRONG.items())
def test_a_wrong_case_fails(runner: CaseRunner, said: str, change: tuple[str, Any]) -> None:
    """Whatever a case tells wrongly is named as a difference."""
    run = runner.run(replace(CONTROL, told=_changed(TOLD, *change)))
    assert any(one.startswith(said) for one in run.differences), run.differences


def test_a_case_file_is_checked_like_any_other(tmp_path: Path) -> None:
    """A misspelt key has its line and the nearest right one; so has a failure that there is not."""
    path = tmp_path / "cases/request_types/stripe/create_refund/a.yml"
    path.parent.mkdir(parents=True)
    path.write_text("claim: a refund\ndata: {}\nrecieves: {}\n")
    with pytest.raises(DefinitionError, match=r"create_refund/a\.yml:3:1: .*did you mean 'receives'"):
        read_case(path)
    with pytest.raises(DefinitionError, match="did you mean 'receives'"):
        read_cases(tmp_path / "cases")
    path.write_text("claim: a refund\nreceives: {fails: read_timout}\n")
    with pytest.raises(DefinitionError, match=r"a\.yml:2:12: .*did you mean 'read_timeout'"):
        read_case(path)


@pytest.mark.parametrize("kind", get_args(Kind))
def test_a_case_may_fail_in_every_way_that_a_network_does(runner: CaseRunner, kind: Kind) -> None:
    """What comes before a connection stands is not sent, as with the dispatcher; of the rest nobody knows."""
    not_sent = kind in BEFORE_SENDING | HELD_BACK
    raises = {"error": "TransportError" if not_sent else "UnknownOutcome"}
    told = {**TOLD, "receives": {"fails": kind}, "raises": raises, "after": {}}
    assert file_schema("case").problems(told) == []
    assert runner.run(replace(CONTROL, told=told)).differences == []


def test_the_schema_of_cases_is_one() -> None:
    """The file schemas are JSON Schemas themselves, so editors can use them."""
    for kind in KINDS:
        assert file_schema(kind).verify() == []


# The plugin in a host's own tests -------------------------------------------------------------------------------------


def test_the_fixture(callsheet: Engine) -> None:
    """A host's test gets an engine on a sandbox, in memory, without a network."""
    result = callsheet.send("stripe/create_payment", {"amount": 500, "currency": "usd", "source": "tok_visa"})
    assert result.records[0]["state"] == "paid"
    assert callsheet.find("payment")[0]["gateway_id"] == result.response["id"]


def test_what_no_case_answers(tmp_path: Path) -> None:
    """A request that no case is about is refused by the sandbox, in the gateway's own shape, and the error says so."""
    (tmp_path / "request_types/shop").mkdir(parents=True)
    (tmp_path / "request_types/shop/_gateway.yml").write_text(
        "base_url: https://api.shop.test\nerror: '{{ response.oops }}'\n"
    )
    (tmp_path / "request_types/shop/read.yml").write_text("summary: Read.\nmethod: GET\nurl: /a/b/c/d/e/f\n")
    engine = Engine(tmp_path, store=MemoryStore(), dispatcher=Sandbox(Material.read(tmp_path)), environment={})
    with pytest.raises(RejectedError, match="No case shows what GET /a/b/c/d/e/f answers"):
        engine.send("shop/read")


HOST_TESTS = """
def test_a_host(callsheet):
    assert callsheet.send("shop/read", {"id": "p1"}).response == {"id": "p1"}
"""
HOST_CASE = """\
claim: a payment is read
data: {id: p1}
sends: {method: GET, url: "https://api.shop.test/payments/p1"}
receives: {body: {id: %s}}
returns: {id: p1}
"""


def test_a_faulty_case_is_named_by_its_whole_path(tmp_path: Path) -> None:
    """An editor and a terminal can follow it from the host's folder."""
    write(tmp_path, {"tests/cases/request_types/shop/pay/x.yml": "claim: it is good\nmethod: GET\n"})
    with pytest.raises(DefinitionError) as raised:
        read_cases(tmp_path / "tests/cases")
    assert {fault.file for fault in raised.value.faults} == {"tests/cases/request_types/shop/pay/x.yml"}


@pytest.mark.parametrize(("id", "outcomes"), [("p1", {"passed": 2}), ("p2", {"failed": 2})])
def test_a_host_runs_its_own_cases(pytester: pytest.Pytester, id: str, outcomes: dict[str, int]) -> None:
    """The plugin runs a host's cases, and its tests against them, with the host's own files: in test mode, always."""
    files = {
        ".env": "CALLSHEET_MODE=live\n",
        "request_types/shop/_gateway.yml": "base_url: {test: https://api.shop.test, live: https://live.shop.test}\n",
        "request_types/shop/read.yml": (
            "summary: Read.\nmethod: GET\nurl: '/payments/{{ data.id }}'\ndata: {properties: {id: {type: string}}}\n"
        ),
        "tests/cases/request_types/shop/read/found.yml": HOST_CASE % id,
        "tests/test_host.py": HOST_TESTS,
    }
    for name, text in files.items():
        path = pytester.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "tests")
    result.assert_outcomes(**outcomes)
    if "failed" in outcomes:
        result.stdout.fnmatch_lines(["*found.yml", "returns: {'id': 'p1'}, but it was {'id': 'p2'}"])


def test_a_broken_case_file_is_an_error(pytester: pytest.Pytester) -> None:
    """A case file that cannot be read is an error of the run, with its place, never a case that is left out."""
    path = pytester.path / "tests/cases/request_types/shop/read/broken.yml"
    path.parent.mkdir(parents=True)
    path.write_text("claim: a payment is read\nclaim: twice\n")
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", "tests")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*read/broken.yml:2:1: duplicate key 'claim'; remove one*"])
