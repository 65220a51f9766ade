"""`callsheet webhooks`, with the shipped Stripe files against a gateway that keeps endpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

import pytest
from commands import Answer, Gateway, run
from hosts import write

from engine.core import Engine
from engine.endpoints import named_by
from engine.seals import new_key
from engine.signatures import SHIPPED, sign

URL = "https://lamps.example/callsheet/webhooks/stripe"
SECRET = "whsec_of_the_endpoint_0123456789"


class Endpoints:
    """What a gateway knows of endpoints: it tells a secret when one is made, and never again."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}

    def answer(self, method: str, path: str, body: str) -> Answer:
        """The answer to one request."""
        if method == "GET":
            return 200, {"data": list(self.kept.values()), "has_more": False}
        if method == "DELETE":
            id = path.rpartition("/")[2]
            if self.kept.pop(id, None) is None:
                return 404, {"error": {"code": "resource_missing", "message": f"No such webhook endpoint: '{id}'"}}
            return 200, {"id": id, "object": "webhook_endpoint", "deleted": True}
        pairs = parse_qsl(body)
        made: dict[str, Any] = {
            "id": f"we_{len(self.kept) + 1}",
            "object": "webhook_endpoint",
            "url": dict(pairs)["url"],
            "enabled_events": [value for name, value in pairs if name.startswith("enabled_events")],
            "connect": dict(pairs).get("connect"),
            "livemode": False,
            "status": "enabled",
            "api_version": dict(pairs).get("api_version"),
        }
        self.kept[made["id"]] = made
        return 200, {**made, "secret": SECRET}


@pytest.fixture
def endpoints(gateway: Gateway) -> Endpoints:
    """Those of `gateway`."""
    known = Endpoints()
    gateway.answer = known.answer
    return known


@pytest.fixture
def home(tmp_path: Path, sqlite_master: Path) -> Path:
    """A host that may seal."""
    keys = f"STRIPE_SECRET_KEY=sk_test_1234567890\nCALLSHEET_ENCRYPTION_KEY={new_key()}\n"
    (tmp_path / "callsheet.sqlite3").write_bytes(sqlite_master.read_bytes())
    return write(tmp_path, {".env": keys})


def posts(gateway: Gateway) -> int:
    """How many endpoints the gateway was asked to make."""
    return sum(method == "POST" for method, *_ in gateway.requests)


def test_an_endpoint_is_registered_once_however_often_it_is_asked(
    home: Path, gateway: Gateway, endpoints: Endpoints
) -> None:
    """With every event that has a processor; its secret is sealed, and opens the door."""
    first = run(home, "webhooks", "register", URL, gateway=gateway)
    again = run(home, "webhooks", "register", URL, gateway=gateway)
    assert (first.exit_code, again.exit_code, posts(gateway)) == (0, 0, 1), first.output + again.output
    assert "we_1 registered at stripe" in first.output
    assert "we_1 was registered already" in again.output
    engine = Engine(home)
    asked = set(endpoints.kept["we_1"]["enabled_events"])
    assert asked == {name.removeprefix("stripe/") for name in engine.catalog.processors}
    assert SECRET not in json.dumps(engine.find("webhook_endpoint")[0].as_dict())
    body = b'{"id": "evt_1", "type": "unheard.of", "created": 1767225600, "livemode": false}'
    headers = sign(SHIPPED["stripe"], SECRET, body, engine.clock.now().timestamp())
    assert engine.receive("stripe", headers, body)["state"] == "ignored"


@pytest.mark.parametrize(
    ("mapper", "said", "code", "made"),
    [
        ("", "there is no webhook_endpoint record kept by the mapper of 'stripe/create_webhook_endpoint'", 2, 0),
        (
            '{% if response.nothing %}{"upsert": "webhook_endpoint", "where": {"gateway_id": "x"}}{% endif %}',
            "was carried out, but its mapper kept no webhook_endpoint of the answer",
            4,
            1,
        ),
    ],
)
def test_an_endpoint_of_which_nothing_is_kept(
    home: Path, gateway: Gateway, endpoints: Endpoints, mapper: str, said: str, code: int, made: int
) -> None:
    """It is not made where that can be seen before; where it is made, nobody is told that nothing was sent."""
    write(home, {"response_mappers/stripe/create_webhook_endpoint.json.j2": mapper})
    refused = run(home, "webhooks", "register", URL, gateway=gateway)
    assert (refused.exit_code, posts(gateway), said in refused.stderr) == (code, made, True), refused.stderr


def test_the_url_says_which_endpoint_it_is(home: Path, gateway: Gateway, endpoints: Endpoints) -> None:
    """Connected accounts' events go to an endpoint of their own; --endpoint says so where the URL does not."""
    run(home, "webhooks", "register", f"{URL}/connect", gateway=gateway)
    mapped = run(home, "webhooks", "register", "https://lamps.example/hooks", "--endpoint", "connect", gateway=gateway)
    assert [endpoint["connect"] for endpoint in endpoints.kept.values()] == ["true", "true"]
    assert {record["endpoint"] for record in Engine(home).find("webhook_endpoint")} == {"connect"}
    assert "the host listens at /callsheet/webhooks/stripe/connect" in mapped.stderr


def test_endpoints_are_listed_and_removed(home: Path, gateway: Gateway, endpoints: Endpoints) -> None:
    """As the gateway says now; one that it forgot is gone, and can be registered again."""
    run(home, "webhooks", "register", URL, gateway=gateway)
    listed = json.loads(run(home, "webhooks", "list", "--json", gateway=gateway).output)
    assert [(one["gateway_id"], one["known"]) for one in listed] == [("we_1", True)]
    endpoints.kept.clear()
    assert "gone" in run(home, "webhooks", "list", gateway=gateway).output
    assert "registered at stripe" in run(home, "webhooks", "register", URL, gateway=gateway).output
    removed = run(home, "webhooks", "remove", "we_1", gateway=gateway)
    assert (removed.output, endpoints.kept) == ("we_1 is removed at stripe\n", {})
    assert Engine(home).find("webhook_endpoint") == []
    missing = run(home, "webhooks", "remove", "we_1", gateway=gateway)
    assert (missing.exit_code, "No such webhook endpoint" in missing.stderr) == (1, True)


def test_an_endpoint_made_elsewhere_needs_its_secret(home: Path, gateway: Gateway, endpoints: Endpoints) -> None:
    """It is not made twice; the remedy is named."""
    endpoints.answer("POST", "/webhook_endpoints", f"url={URL}&enabled_events[0]=charge.captured")
    refused = run(home, "webhooks", "register", URL, gateway=gateway)
    assert (refused.exit_code, posts(gateway)) == (2, 0)
    assert f"STRIPE_WEBHOOK_SECRET: is not set; the gateway has we_1 for {URL} already" in refused.stderr
    assert "callsheet webhooks remove we_1" in refused.stderr
    known = run(home, "webhooks", "register", URL, gateway=gateway, STRIPE_WEBHOOK_SECRET=SECRET)
    assert (known.exit_code, posts(gateway)) == (0, 0)
    assert "does not send charge.refunded, which has a processor" in known.stderr


def test_an_endpoint_of_another_version_gets_one_beside_it(home: Path, gateway: Gateway, endpoints: Endpoints) -> None:
    """A new endpoint is pinned to the version of the files; the old one may go when the new one sends."""
    run(home, "webhooks", "register", URL, gateway=gateway)
    assert endpoints.kept["we_1"]["api_version"] == Engine(home).catalog.gateway("stripe").version
    endpoints.kept["we_1"]["api_version"] = "2024-06-20"
    second = run(home, "webhooks", "register", URL, gateway=gateway)
    assert (second.exit_code, posts(gateway)) == (0, 2)
    assert "we_2 registered at stripe" in second.stdout
    assert "we_1 sends events of version 2024-06-20, which are put aside" in second.stderr
    assert "callsheet webhooks remove we_1" in second.stderr
    third = run(home, "webhooks", "register", URL, "--json", gateway=gateway)
    told = json.loads(third.stdout)
    assert (posts(gateway), told["made"], told["gateway_id"], told["outdated"]) == (2, False, "we_2", ["we_1"])


def test_without_an_encryption_key_nothing_is_registered(home: Path, gateway: Gateway, endpoints: Endpoints) -> None:
    """The secret could not be kept."""
    write(home, {".env": "STRIPE_SECRET_KEY=sk_test_1234567890\n"})
    refused = run(home, "webhooks", "register", URL, gateway=gateway)
    assert (refused.exit_code, posts(gateway)) == (2, 0)
    assert "CALLSHEET_ENCRYPTION_KEY: is not set" in refused.stderr
    assert 'make one: python -c "from engine.seals import new_key; print(new_key())"' in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["register", "lamps.example"], "is not the address of a host"),
        (["register", "https://[/callsheet/webhooks/stripe"], "is not the address of a host"),
        (["register", f"{URL}/conect"], "did you mean 'connect'?"),
        (["register", URL, "--gateway", "strip"], "there is no gateway 'strip'; did you mean 'stripe'?"),
        (["register"], "Missing argument 'URL'"),
        (["list", "--gateway", "strip"], "did you mean 'stripe'?"),
        (["remove"], "Missing argument 'ID'"),
    ],
)
def test_what_cannot_be_registered(
    arguments: list[str], said: str, home: Path, gateway: Gateway, endpoints: Endpoints
) -> None:
    """One sentence, and nothing is asked of the gateway."""
    result = run(home, "webhooks", *arguments, gateway=gateway)
    assert (result.exit_code, said in result.stderr, posts(gateway)) == (2, True, 0), result.output


def test_a_gateway_that_cannot_register_is_told(tmp_path: Path, gateway: Gateway) -> None:
    """Its file names no request type for it."""
    write(tmp_path, {"request_types/acme/_gateway.yml": "base_url: https://a.example"})
    result = run(tmp_path, "webhooks", "register", URL, "--gateway", "acme", gateway=gateway)
    assert (result.exit_code, "webhook.register" in result.stderr) == (2, True)


@pytest.mark.parametrize("arguments", [["list"], ["remove", "we_1"]])
def test_a_gateway_that_this_host_does_not_use_is_not_asked(
    arguments: list[str], tmp_path: Path, gateway: Gateway
) -> None:
    """One that the shipped files are about, where the host's own are about another: it may still be named."""
    write(tmp_path, {"request_types/acme/_gateway.yml": "base_url: https://a.example"})
    result = run(tmp_path, "webhooks", *arguments, gateway=gateway)
    assert (result.exit_code, gateway.requests) == (2, [])
    assert "with --gateway: stripe" in result.stderr


@pytest.mark.parametrize(
    ("url", "named"),
    [
        (URL, ("stripe", "")),
        (f"{URL}/connect", ("stripe", "connect")),
        (f"{URL}/connect/", ("stripe", "connect")),
        ("https://lamps.example/app/callsheet/webhooks/stripe", ("stripe", "")),
        (f"{URL}/a/b", None),
        ("https://lamps.example/callsheet/webhooks/", None),
        ("https://lamps.example/", None),
        ("https://[/callsheet/webhooks/stripe", None),
    ],
)
def test_what_a_url_names(url: str, named: tuple[str, str] | None) -> None:
    """The host's own route, also behind a prefix."""
    assert named_by(url) == named
