"""`callsheet init` and `callsheet new`: files that are good as they are written."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from commands import CHECKOUT, Gateway, process, run
from hosts import write

from engine.cases import CaseRunner, read_cases
from engine.catalog import load, shipped
from engine.cli.new import _schema
from engine.credentials import keys_of
from engine.seals import Sealer, Tokens
from engine.settings import Settings


def test_init_lays_out_a_host(tmp_path: Path) -> None:
    """Folders, settings, and fresh keys that fit; test_cli_processes serves its app."""
    home = tmp_path / "deep" / "shop"
    assert run(tmp_path, "init", str(home)).exit_code == 0
    assert {path.name for path in home.iterdir()} >= {
        "request_types",
        "response_mappers",
        "webhook_processors",
        "forms",
    }
    assert stat.S_IMODE((home / ".env").stat().st_mode) == 0o600
    settings = Settings(home, {})
    Sealer(settings.keys("CALLSHEET_ENCRYPTION_KEY")).demand_key()
    Tokens(settings.keys("CALLSHEET_SECRET_KEY"), "test")
    assert settings.get("CALLSHEET_SECRET_KEY") != settings.get("CALLSHEET_ENCRYPTION_KEY")
    assert ".env" in (home / ".gitignore").read_text().splitlines()
    assert run(home, "check").exit_code == 0


def test_init_names_every_secret_and_setting(tmp_path: Path) -> None:
    """None of them with a value, for an empty secret is an error."""
    run(tmp_path, "init", str(tmp_path))
    example = (tmp_path / ".env.example").read_text()
    catalog = load([shipped()])
    for name, gateway in catalog.gateways.items():
        for setting in [*keys_of(catalog, name), *gateway.webhook_secrets, *gateway.settings.values()]:
            assert f"# {setting}=\n" in example
        assert f"# CALLSHEET_{name.upper()}_BASE_URL={gateway.base_url}\n" in example
    for own in ("MODE", "STORE", "SECRET_KEY", "ENCRYPTION_KEY"):
        assert f"CALLSHEET_{own}=" in example


def test_init_overwrites_nothing(tmp_path: Path) -> None:
    """Above all not the keys, without which nothing sealed can be read."""
    run(tmp_path, "init", str(tmp_path))
    (tmp_path / "app.py").write_text("mine")
    before = (tmp_path / ".env").read_text()
    again = run(tmp_path, "init", str(tmp_path))
    assert (tmp_path / "app.py").read_text() == "mine"
    assert (tmp_path / ".env").read_text() == before
    assert "wrote" not in again.output


def test_pytest_runs_a_host_that_lies_in_another_project(tmp_path: Path, alone: None) -> None:
    """Whose settings for pytest are not the host's; those that the host itself has already stay in force."""
    other = '[tool.pytest.ini_options]\naddopts = "--no-such-option"\n'
    home = write(tmp_path, {"pyproject.toml": other}) / "shop"
    run(tmp_path, "init", str(home))
    run(home, "new", "acme/create_order", "--base-url", "https://api.acme.example")
    done = process("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=home)
    said, _ = done.communicate()
    assert (done.returncode, "1 passed" in said) == (0, True), said
    run(tmp_path, "init", str(tmp_path))
    assert not (tmp_path / "pytest.ini").exists()


def test_init_says_where_it_cannot_write(tmp_path: Path) -> None:
    """One sentence."""
    (tmp_path / "file").write_text("")
    result = run(tmp_path, "init", str(tmp_path / "file" / "shop"))
    assert (result.exit_code, "cannot be written: Not a directory" in result.output) == (2, True)


def test_init_is_whole_though_nobody_reads_what_it_says(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-P", "-c", "from engine.cli import main; main()", "init", str(tmp_path / "shop")]
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False)
    os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")
    assert (tmp_path / "shop" / ".gitignore").exists()


# new ------------------------------------------------------------------------------------------------------------------


NEW = [
    ("acme/create_order --base-url https://api.acme.example", "acme/create_order name=Lamp"),
    ("acme/create_order --base-url https://api.acme.example/v2 --mapper", "acme/create_order name=Lamp"),
    (
        "acme/create_order --base-url https://api.acme.example --record order --event order.paid --form",
        "acme/create_order name=Lamp",
    ),
    (
        "acme/get_order --base-url https://a.example --method GET --url /orders/{{data.id}} --record order",
        "acme/get_order id=7 name=Lamp",
    ),
    (
        "acme/drop_order --base-url https://a.example --method DELETE --url /orders/{{data.id}} --record order",
        "acme/drop_order id=7",
    ),
    ("acme/drop_all --base-url https://a.example --method DELETE --mapper", "acme/drop_all"),
]
NEW_AT_STRIPE = [
    ("stripe/create_coupon --event coupon.created", "stripe/create_coupon name=Lamp"),
    ("stripe/make_payment --record payment --event charge.updated --method PUT", "stripe/make_payment name=Lamp"),
]


@pytest.mark.parametrize(("asked", "sent"), NEW)
def test_new_files_are_good_as_they_are_written(asked: str, sent: str, tmp_path: Path, alone: None) -> None:
    """They pass `check`, their cases hold, and what `new` proposes can be sent."""
    assert_good(asked, sent, tmp_path)


@pytest.mark.parametrize(("asked", "sent"), NEW_AT_STRIPE)
def test_new_files_for_a_shipped_gateway_are_good_too(asked: str, sent: str, tmp_path: Path) -> None:
    """They go by what its file says, and by the record type that is there."""
    assert_good(asked, sent, tmp_path)


def test_a_new_processor_names_what_is_in_its_reach(tmp_path: Path) -> None:
    run(tmp_path, "new", "stripe/create_coupon", "--event", "coupon.created")
    text = (tmp_path / "webhook_processors/stripe/coupon.created.json.j2").read_text()
    assert ("{{ event.data.object.id }}" in text, "response" in text) == (True, False)


def assert_good(asked: str, sent: str, tmp_path: Path) -> None:
    """What is said of both."""
    made = run(tmp_path, "new", *asked.split())
    assert made.exit_code == 0, made.output
    checked = run(tmp_path, "check")
    assert checked.exit_code == 0, checked.output
    runner, cases = CaseRunner(tmp_path), read_cases(tmp_path / "tests" / "cases")
    assert cases
    assert [runner.run(case).differences for case in cases] == [[] for _ in cases]
    planned = run(tmp_path, "send", *sent.split(), "--dry-run")
    assert planned.exit_code == 0, planned.output


@pytest.mark.parametrize(
    ("method", "status", "harmless"),
    [
        ("POST", 201, "at_most_once"),
        ("PATCH", 200, "at_most_once"),
        ("PUT", 201, "idempotent"),
        ("DELETE", 204, "idempotent"),
    ],
)
def test_what_is_new_goes_by_what_its_method_means(
    method: str, status: int, harmless: str, tmp_path: Path, gateway: Gateway, alone: None
) -> None:
    """HTTP has it that PUT and DELETE may be repeated, and that what was removed needs no answer but 204."""
    asked = (
        f"acme/change_order --base-url https://a.example --method {method} --url /orders/{{{{data.id}}}} --record order"
    )
    made = run(tmp_path, "new", *asked.split())
    assert made.exit_code == 0, made.output
    written = (tmp_path / "request_types/acme/change_order.yml").read_text("utf-8")
    assert re.findall(r"^(at_most_once|idempotent): true$", written, re.MULTILINE) == [harmless]
    gateway.answer = lambda *_: (status, b"" if status == 204 else {"id": "7", "name": "Lamp", "state": "new"})
    more = ["name=Lamp"] if "name" in written else []
    sent = run(tmp_path, "send", "acme/change_order", "id=7", *more, CALLSHEET_ACME_BASE_URL=gateway.url)
    assert sent.exit_code == 0, sent.output


def test_new_writes_the_line_that_editors_need(tmp_path: Path, alone: None) -> None:
    """The first line of every YAML file names the schema of its kind, which is there."""
    run(tmp_path, "new", *NEW[2][0].split())
    kinds = {}
    for path in tmp_path.rglob("*.yml"):
        sign, schema = path.read_text().splitlines()[0].split("$schema=")
        assert sign == "# yaml-language-server: "
        kinds[path.name] = json.loads((path.parent / schema).read_text())["$id"].removesuffix(".schema.json")
    expected = {"_gateway.yml": "gateway", "create_order.yml": "request_type", "order.yml": "record_type"}
    assert kinds == {**expected, "success.yml": "case"}


def test_the_schema_is_named_from_the_file_where_the_package_lies_in_the_folder() -> None:
    """A path that holds on a colleague's machine too."""
    named = _schema(CHECKOUT, "request_types/acme/create_order.yml", "request_type")
    assert named == "../../engine/file_schemas/request_type.schema.json"


def test_new_overwrites_nothing(tmp_path: Path) -> None:
    """Not even one of several files."""
    write(tmp_path, {"response_mappers/acme/create_order.json.j2": "{# mine #}"})
    write(tmp_path, {"request_types/acme/_gateway.yml": "base_url: https://a.example", **_POST})
    result = run(tmp_path, "new", "acme/create_order", "--mapper")
    assert result.exit_code == 2
    assert "response_mappers/acme/create_order.json.j2: there already; nothing was written" in result.output
    assert not (tmp_path / "tests").exists()


_POST = {
    "request_types/acme/create_order.yml": "{summary: x, method: POST, url: /x, at_most_once: true}",
}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["acme"], "gateway/name"),
        (["../x/y"], "gateway/name"),
        (["acme/x"], "--base-url https://"),
        (["acme/x", "--base-url", "api.acme.example"], "scheme, host and path"),
        (["acme/x", "--base-url", "https://api.acme.example/"], "without a / at its end"),
        (["acme/x", "--base-url", "https://a.example", "--url", "x"], "begins with /"),
        (["acme/x", "--base-url", "https://a.example", "--url", "/x?a=1"], "without query"),
        (["acme/x", "--base-url", "https://a.example", "--method", "SEND"], "not one of"),
        (["acme/x", "--base-url", "https://a.example", "--record", "a/b"], "not a word"),
        (["acme/x", "--base-url", "https://a.example", "--event", "../x"], "event's name"),
        (["stripe/x", "--base-url", "https://a.example"], "https://api.stripe.com/v1 already"),
    ],
)
def test_new_refuses_what_it_cannot_write(arguments: list[str], said: str, tmp_path: Path) -> None:
    """And writes nothing then."""
    result = run(tmp_path, "new", *arguments)
    assert (result.exit_code, said in result.output) == (2, True), result.output
    assert list(tmp_path.iterdir()) == []


def test_an_event_of_a_gateway_without_webhooks_is_refused(tmp_path: Path) -> None:
    """Its processor would never be called."""
    write(tmp_path, {"request_types/acme/_gateway.yml": "base_url: https://a.example"})
    result = run(tmp_path, "new", "acme/x", "--event", "x.made")
    assert "acme receives no event; write webhook: into request_types/acme/_gateway.yml first" in result.stderr
    assert (result.exit_code, (tmp_path / "webhook_processors").exists()) == (2, False)
