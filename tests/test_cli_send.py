"""`callsheet send`, against a server of this machine."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest
from commands import KEYS, Answer, Gateway, run
from hosts import SHOP, write


def test_send_tells_what_was_sent_answered_and_kept(shop: Path, gateway: Gateway) -> None:
    """And leaves with 0."""
    result = run(shop, "send", "shop/pay", "amount=5", "note=Tea & more", gateway=gateway)
    assert result.exit_code == 0, result.output
    assert f"POST {gateway.url}/payments" in result.output
    assert '"note": "Tea & more"' in result.output
    assert "200 in " in result.output
    assert "gateway_id=p1 amount=5 note=Tea & more state=paid" in result.output
    method, path, body, headers = gateway.requests[0]
    assert (method, path, json.loads(body)["amount"]) == ("POST", "/payments", 5)
    assert headers["Authorization"] == f"Bearer {KEYS['SHOP_KEY']}"


def test_send_prints_json_for_programs(shop: Path, gateway: Gateway) -> None:
    """The call, the answer and the records; data may come from the standard input."""
    result = run(shop, "send", "shop/pay", "--data", "-", "--json", gateway=gateway, typed='{"amount": 5}')
    told = json.loads(result.stdout)
    assert told["response"] == {"id": "p1", "amount": 5}
    assert [record["state"] for record in told["records"]] == ["paid"]
    assert told["call"]["state"] == "succeeded"


CODES = [
    ((402, {"error": {"message": "no funds", "payment": "p1"}}), 1, "the gateway refused shop/pay: no funds"),
    ((502, b"<html>Bad gateway</html>"), 3, "PERHAPS carried out"),
    ((200, b'{"id": "p1", "amou'), 3, "PERHAPS carried out"),
    ((200, {"amount": 5}), 3, "PERHAPS carried out"),
    ((200, {"id": "p1", "amount": "5"}), 4, "could not be mapped"),
]


@pytest.mark.parametrize(("answer", "code", "said"), CODES)
def test_the_exit_code_tells_whether_it_was_carried_out(
    answer: Answer, code: int, said: str, shop: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One clear sentence, nothing lost, and the same in JSON."""
    monkeypatch.setattr("engine.sending.FIRST_WAIT", 0.0)
    monkeypatch.setattr("engine.sending.RETRIES", 0)
    gateway.answer = lambda *_: answer
    result = run(shop, "send", "shop/pay", "amount=5", gateway=gateway)
    assert (result.exit_code, said in result.stderr) == (code, True), result.output
    listed = json.loads(run(shop, "calls", "--json").output)
    assert len(listed) == 1
    assert listed[0]["answer"]["status"] == answer[0]
    again = run(shop, "send", "shop/pay", "amount=5", "--json", gateway=gateway)
    told = json.loads(again.stdout)
    assert (again.exit_code, said in told["message"], told["call"]["state"]) == (code, True, listed[0]["state"])


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["shop/pay", "amount=5"], 5, "127.0.0.1:9 was not reached"),
        (["shop/pai", "amount=5"], 2, "did you mean 'shop/pay'?"),
        (["shop/pay", "amont=5"], 2, "/amont: is not known here; did you mean 'amount'?"),
        (["shop/pay", "amount=five"], 2, "/amount: 'five' is not of type integer"),
        (["shop/pay", "amount=0"], 2, "/amount: "),
        (["shop/pay"], 2, "/amount: is required"),
        (["shop/pay", "5"], 2, "is not key=value"),
        (["shop/read", "id=.."], 2, "cannot be one part of a URL's path"),
        (["shop/pay", "--data", "no-such-file"], 2, "no-such-file cannot be read"),
        ([], 2, "Missing argument 'NAME'"),
    ],
)
def test_what_was_not_sent_says_why(
    arguments: list[str], code: int, said: str, shop: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One sentence each."""
    monkeypatch.setattr("engine.sending.RETRIES", 0)
    result = run(shop, "send", *arguments, CALLSHEET_SHOP_BASE_URL="http://127.0.0.1:9")
    assert (result.exit_code, said in result.stderr) == (code, True), result.output


def test_a_missing_secret_is_told_before_anything_is_kept(shop: Path, gateway: Gateway) -> None:
    """And what to do about it."""
    (shop / ".env").write_text("")
    result = run(shop, "send", "shop/pay", "amount=5", gateway=gateway)
    assert (result.exit_code, gateway.requests) == (2, [])
    assert "SHOP_KEY: is not set; put it into the environment or into .env" in result.stderr
    assert json.loads(run(shop, "calls", "--json").output) == []


def test_an_operation_is_carried_out_once(shop: Path, gateway: Gateway) -> None:
    """A repeat shows the first result; with other data it is refused."""
    first = run(shop, "send", "shop/pay", "amount=5", "--operation", "order-17", "--json", gateway=gateway)
    second = run(shop, "send", "shop/pay", "amount=5", "--operation", "order-17", "--json", gateway=gateway)
    assert json.loads(first.stdout)["call"]["id"] == json.loads(second.stdout)["call"]["id"]
    sent = json.loads(first.stdout)["call"]["attempts"][0]["at"]
    third = run(shop, "send", "shop/pay", "amount=5", "--operation", "order-17", gateway=gateway)
    assert f"it was carried out before, at {sent}; nothing was sent now" in third.stderr
    other = run(shop, "send", "shop/pay", "amount=6", "--operation", "order-17", gateway=gateway)
    assert (other.exit_code, "begun with other data" in other.stderr, len(gateway.requests)) == (2, True, 1)


def test_a_get_shows_its_request_and_its_whole_answer(shop: Path, gateway: Gateway) -> None:
    """It has no journal row."""
    gateway.answer = lambda *_: (200, {"id": "p1", "amount": 5, "inner": {"a": ["b"]}})
    result = run(shop, "send", "shop/read", "id=p1", gateway=gateway)
    assert result.exit_code == 0
    assert f"GET {gateway.url}/payments/p1" in result.output
    assert '"b"' in result.output
    assert json.loads(run(shop, "calls", "--json").output) == []


def test_a_folder_of_no_host_gets_no_database(tmp_path: Path) -> None:
    """A command in the wrong folder leaves nothing behind; looking at a request works anywhere."""
    for command in (["send", "stripe/create_refund", "charge=ch_1"], ["records", "payment"], ["calls"], ["serve"]):
        result = run(tmp_path, *command)
        assert (result.exit_code, "no host's folder" in result.output) == (2, True)
    assert run(tmp_path, "send", "stripe/create_refund", "charge=ch_1", "--curl").exit_code == 0
    assert list(tmp_path.iterdir()) == []


# --dry-run and --curl -------------------------------------------------------------------------------------------------


def test_dry_run_prints_the_exact_request_and_sends_nothing(shop: Path, gateway: Gateway) -> None:
    """Secrets by name only; no call is kept."""
    result = run(shop, "send", "shop/pay", "amount=5", "--dry-run", gateway=gateway)
    lines = result.output.splitlines()
    assert lines[0] == f"POST {gateway.url}/payments"
    assert "Authorization: Bearer $SHOP_KEY" in lines
    told = json.loads(run(shop, "send", "shop/pay", "amount=5", "--dry-run", "--json", gateway=gateway).output)
    assert json.loads(told["body"])["amount"] == 5
    assert gateway.requests == []
    assert json.loads(run(shop, "calls", "--json").output) == []


def test_dry_run_with_an_operation_shows_the_key_that_is_sent(shop: Path, gateway: Gateway) -> None:
    """It is derived from the operation."""
    planned = run(shop, "send", "shop/pay", "amount=5", "--operation", "o", "--dry-run", "--json", gateway=gateway)
    run(shop, "send", "shop/pay", "amount=5", "--operation", "o", gateway=gateway)
    assert json.loads(planned.output)["headers"]["Idempotency-Key"] == gateway.requests[0][3]["Idempotency-Key"]


AUTH = {
    "{bearer: SHOP_KEY}": ["--header", f"Authorization: Bearer {KEYS['SHOP_KEY']}"],
    "{basic: [SHOP_KEY]}": ["--user", f"{KEYS['SHOP_KEY']}:"],
    "{basic: [SHOP_KEY, SHOP_HOOK]}": ["--user", f"{KEYS['SHOP_KEY']}:{KEYS['SHOP_HOOK']}"],
    "{header: {X-Api-Key: SHOP_KEY}}": ["--header", f"X-Api-Key: {KEYS['SHOP_KEY']}"],
    "{query: {api_key: SHOP_KEY}}": ["--url-query", f"api_key={KEYS['SHOP_KEY']}"],
    "{oauth2: {token_endpoint: /t, client_id: A, client_secret: B}}": ["--header", "Authorization: Bearer abc"],
}


NOTES = ['it\'s $HOME `id` "q" !! \\ ü', "two\nlines", "@file", "bell \x07"]


@pytest.mark.parametrize(
    ("auth", "note"), [*((auth, "plain") for auth in AUTH), *(("{bearer: SHOP_KEY}", note) for note in NOTES)]
)
def test_curl_sends_the_same_bytes(auth: str, note: str, shop: Path) -> None:
    """A shell that reads the line gives curl exactly this, whatever the values hold."""
    write(shop, {"request_types/shop/pay.yml": SHOP["request_types/shop/pay.yml"] + f"auth: {auth}\n"})
    printed = run(shop, "send", "shop/pay", "amount=5", f"note={note.replace('@', '@@')}", "--curl").output
    shell = f'curl() {{ printf "%s\\0" "$@"; }}\n{printed}'
    raw = subprocess.run(
        ["sh", "-c", shell], env={**os.environ, **KEYS, "ACCESS_TOKEN": "abc"}, capture_output=True, check=True
    ).stdout
    arguments = raw.decode().split("\0")[:-1]
    assert arguments[:4] == ["--globoff", "--request", "POST", "https://api.shop.test/v1/payments"]
    assert AUTH[auth] == arguments[-4:-2]
    assert json.loads(arguments[-1])["note"] == note


def test_curl_pipes_a_body_that_is_no_text(tmp_path: Path) -> None:
    """A file to upload."""
    upload = "{file: {type: object, properties: {base64: {type: string}}, additionalProperties: {type: string}}}"
    write(
        tmp_path,
        {
            "request_types/acme/_gateway.yml": "base_url: https://a.example\n"
            "headers: {Content-Type: multipart/form-data}",
            "request_types/acme/upload.yml": "{summary: x, method: POST, url: /files, at_most_once: true, "
            f'body: {{file: "{{{{ data.file }}}}"}}, data: {{properties: {upload}}}}}',
        },
    )
    (tmp_path / "a.bin").write_bytes(bytes(range(256)))
    printed = run(tmp_path, "send", "acme/upload", f"file=@{tmp_path}/a.bin", "--curl").output
    sent = subprocess.run(["sh", "-c", f"curl() {{ cat; }}\n{printed}"], capture_output=True, check=True).stdout
    assert bytes(range(256)) in sent
    assert "--data-binary @-" in printed
    told = json.loads(run(tmp_path, "send", "acme/upload", f"file=@{tmp_path}/a.bin", "--dry-run", "--json").output)
    assert "body_base64" in told
    assert " bytes)" in run(tmp_path, "send", "acme/upload", f"file=@{tmp_path}/a.bin", "--dry-run").output
    assert shlex.split(printed.replace("\\\n", " "))[:2] == ["printf", "%s"]
