"""The command line itself, and what it tells of files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import process, run
from hosts import SHOP, write

from engine.cli import group


@pytest.fixture
def shop(bare_shop: Path) -> Path:
    """Without a store yet."""
    return bare_shop


def test_help_names_every_command_and_imports_nothing_heavy(tmp_path: Path) -> None:
    """`--help` must be there at once, so nothing that takes time is imported for it."""
    code = "import sys; from engine.cli import group; group(['--help'], standalone_mode=False); print(*sys.modules)"
    with process("-c", code, cwd=tmp_path) as running:
        shown = running.communicate()[0]
    for command in "init list show new check send records calls events webhooks serve sandbox test db demo".split():
        assert f"\n  {command} " in shown
    loaded = shown.splitlines()[-1].split()
    assert not {"httpx", "sqlalchemy", "jinja2", "jsonschema", "flask", "yaml", "engine.core"} & set(loaded)


@pytest.mark.parametrize("command", [*group.commands, "webhooks register", "db upgrade", "db status"])
def test_every_command_explains_itself(command: str, tmp_path: Path) -> None:
    """Each has a help text, and an option that does not exist is refused with code 2."""
    helped = run(tmp_path, *command.split(), "--help")
    assert helped.exit_code == 0
    assert len(helped.output.splitlines()) > 4
    wrong = run(tmp_path, *command.split(), "--no-such-option", "x/y", "z")
    assert wrong.exit_code in {2, 4}
    assert "Traceback" not in wrong.output


def test_send_documents_its_exit_codes(tmp_path: Path) -> None:
    """Scripts depend on them."""
    shown = run(tmp_path, "send", "--help").output
    for code, meaning in enumerate(("carried out", "refused", "not sent", "PERHAPS", "could not be mapped", "reached")):
        assert any(line.strip().startswith(f"{code}  ") and meaning in line for line in shown.splitlines())


def test_a_folder_that_is_gone_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    told = CliRunner().invoke(group, ["list"])
    assert (told.exit_code, "the current folder is not there any more" in told.stderr) == (2, True)


def test_the_version_and_an_unknown_command(tmp_path: Path) -> None:
    """Both are one line."""
    assert run(tmp_path, "--version").output.startswith("callsheet ")
    unknown = run(tmp_path, "sent")
    assert (unknown.exit_code, "No such command 'sent'" in unknown.output) == (2, True)


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        ("callsheet send stripe/create_ref", "stripe/create_refund"),
        ("callsheet records refu", "refund"),
        ("callsheet show stripe/charge.ref", "stripe/charge.refunded"),
    ],
)
def test_names_are_completed_by_the_shell(words: str, completed: str, tmp_path: Path) -> None:
    """Of the host's files and the shipped ones, none of which is read."""
    environment = {"_CALLSHEET_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": "2"}
    result = CliRunner().invoke(group, [], env=environment, prog_name="callsheet")
    assert f"plain,{completed}" in result.output.splitlines()


def test_an_old_spelling_is_one_line_of_warning(tmp_path: Path) -> None:
    """It works as ever."""
    result = run(tmp_path, "send", "stripe/create_refund", "charge=ch_1", "indempotency_key=7", "--dry-run")
    assert result.exit_code == 0
    assert result.stderr == "Warning: indempotency_key is now spelt idempotency_key\n"


# list, show, check ----------------------------------------------------------------------------------------------------


def test_list_tells_the_hosts_files_from_the_shipped_ones(tmp_path: Path) -> None:
    """By name, for every kind."""
    own = "{summary: Mine., method: GET, url: /x}"
    write(tmp_path, {"request_types/stripe/get_webhook_endpoints.yml": own, "request_types/stripe/look.yml": own})
    types = json.loads(run(tmp_path, "list", "request-types", "--json").output)["request-types"]
    origins = {row["name"]: row["from"] for row in types}
    assert (origins["stripe/get_webhook_endpoints"], origins["stripe/look"]) == ("host", "host")
    assert origins["stripe/create_refund"] == "shipped"
    every = json.loads(run(tmp_path, "list", "--json").output)
    assert list(every) == ["request-types", "mappers", "processors", "records", "forms", "gateways"]
    assert all(every.values())
    changes = {row["name"]: row["changes"] for row in every["mappers"]}
    assert changes["stripe/create_refund"] == "refund, payment"


def test_list_as_a_table(shop: Path) -> None:
    """Names first; a kind of which there is none is left out."""
    shown = run(shop, "list").output
    assert "shop/pay_once  POST    host  Take a payment at a gateway that knows no keys." in shown
    assert "forms" not in shown
    assert run(shop, "list", "forms").output == "name\n"
    assert run(shop, "list", "form").exit_code == 2


def test_show_a_request_type(shop: Path) -> None:
    """What it sends, what it takes, what it keeps."""
    shown = run(shop, "show", "shop/pay").output
    for part in (
        "POST https://api.shop.test/v1/payments",
        "safe: the gateway knows a repeated Idempotency-Key",
        "response_mappers/shop/pay.declined.json.j2: sale",
        "amount           integer  required",
    ):
        assert part in shown
    told = json.loads(run(shop, "show", "shop/pay_once", "--json").output)
    assert (told["method"], told["repeats"], told["form"]) == ("POST", "never: at most once", None)
    assert told["mappers"]["shop/pay_once"]["changes"] == ["sale"]


def test_show_a_record_type_an_event_and_a_gateway(shop: Path) -> None:
    """Any name can be shown."""
    record = run(shop, "show", "sale").output
    assert "written by  shop/pay" in record
    assert "paid | failed | refunded" in record
    assert json.loads(run(shop, "show", "shop/payment.refunded", "--json").output)["changes"] == ["sale"]
    gateway = json.loads(run(shop, "show", "shop", "--json").output)
    assert gateway["secrets"] == ["SHOP_KEY", "SHOP_HOOK", "SHOP_OTHER_HOOK"]


def test_show_names_the_nearest_name(shop: Path) -> None:
    """A misspelt one is one sentence."""
    result = run(shop, "show", "shop/pay_onse")
    assert (result.exit_code, "did you mean 'shop/pay_once'?" in result.stderr) == (2, True)


def test_check_prints_every_fault_with_its_place(shop: Path) -> None:
    """All of them at once, and exit code 1."""
    pay = "response_mappers/shop/pay.json.j2"
    write(shop, {pay: SHOP[pay].replace("sale", "sail"), "request_types/shop/read.yml": "summary: x\nmethod: FETCH\n"})
    result = run(shop, "check")
    assert result.exit_code == 1
    assert f"{pay}:1:2: there is no record type 'sail'; did you mean 'sale'?" in result.output
    assert "request_types/shop/read.yml:2:1: " in result.output
    told = json.loads(run(shop, "check", "--json").stdout)
    assert {fault["file"] for fault in told["faults"]} >= {pay, "request_types/shop/read.yml"}


@pytest.mark.parametrize(
    "command",
    ["list", "show shop/pay", "send shop/pay amount=1", "records sale", "calls", "new shop/x", "serve", "test"],
)
def test_a_faulty_file_stops_every_other_command(command: str, shop: Path) -> None:
    """With the same faults and code 2; nothing is half done."""
    write(shop, {"request_types/shop/read.yml": "method: FETCH\n"})
    result = run(shop, *command.split())
    assert result.exit_code == 2
    assert "request_types/shop/read.yml:1:1: " in result.stderr
    assert "nothing was done" in result.stderr


def test_check_warns_of_secrets_that_are_not_set(shop: Path) -> None:
    """They are no faults; those that are set badly are. A gateway that nobody uses here needs none."""
    write(shop, {".env": "SHOP_KEY=x", "request_types/shop/pay.yml": SHOP["request_types/shop/pay.yml"]})
    result = run(shop, "check")
    assert result.exit_code == 0
    assert "SHOP_KEY is not set" not in result.output
    assert "warning: SHOP_HOOK is not set, so shop's webhooks are refused; put it into" in result.output
    assert "CALLSHEET_ENCRYPTION_KEY" not in result.output
    write(shop, {"request_types/shop/pay.yml": SHOP["request_types/shop/pay.yml"] + "sealed: [/secret]\n"})
    assert "warning: CALLSHEET_ENCRYPTION_KEY is not set, so nothing is sent" in run(shop, "check").output
    empty = run(shop, "check", SHOP_HOOK="")
    assert (empty.exit_code, "SHOP_HOOK" in empty.output) == (1, True)


def test_check_says_nothing_of_gateways_that_are_not_used(tmp_path: Path) -> None:
    """The shipped files alone are no reason to have Stripe's secrets; one of them that is set is."""
    write(tmp_path, {"request_types/acme/_gateway.yml": "base_url: https://api.acme.test\n"})
    assert "STRIPE" not in run(tmp_path, "check").output
    assert "STRIPE_WEBHOOK_SECRET is not set" in run(tmp_path, "check", STRIPE_SECRET_KEY="sk_test_0").output


def test_a_mode_that_does_not_exist(shop: Path) -> None:
    """One sentence, wherever it is met."""
    assert run(shop, "list", CALLSHEET_MODE="life").stderr.endswith("must be test or live; did you mean 'live'?\n")
    assert run(shop, "check", CALLSHEET_MODE="life").exit_code == 1
