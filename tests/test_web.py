"""The Flask host: what its routes answer, what its pages allow, and that they do so under real servers.

Faults of the originals that are closed here: B4, B6, B38, B41, B45, B56.
"""

from __future__ import annotations

import io
import json
import os
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, get_flashed_messages, render_template_string
from hosts import SECRETS, SHOP, failure, host, ok, refusal, write
from html_pages import Page
from werkzeug.datastructures import Headers
from werkzeug.serving import make_server
from werkzeug.test import EnvironBuilder, TestResponse

from engine.dispatcher import Answer, Failure
from engine.errors import Conflict, StoreError
from engine.queues.embedded import Worker
from engine.sandbox.serving import Served
from engine.signatures import scheme_of, sign
from engine.store.memory import MemoryStore
from engine.web import Callsheet, engine_of
from engine.web.console.gate import Login
from engine.web.current import develops
from engine.web.forms import LIMIT as FORM_LIMIT
from engine.web.webhooks import LIMIT as EVENT_LIMIT

KEY = "a key of thirty-two bytes or more"
BROWSER = """\
browser:
  script: [https://js.shop.test]
  frame: [https://frames.shop.test]
  connect: [https://api.shop.test]
  redirect: [pay.shop.test]
"""
GO = 'summary: x\nmethod: POST\nurl: /go\nredirect: "{{ response.url }}"\n'
FILES = {
    "request_types/shop/_gateway.yml": SHOP["request_types/shop/_gateway.yml"] + BROWSER,
    "request_types/shop/go.yml": GO,
}


def nobody() -> tuple[str, str] | None:
    """A host's own login, to which nobody is known."""
    return None


class Site:
    """A shop's web site: one page with a form, and a page that shows the flashes."""

    def __init__(self, root: Path, *answers: Answer | Failure, login: Login | None = None) -> None:
        self.host = host(root, *answers, files=FILES, CALLSHEET_SECRET_KEY=KEY)
        self.app = Flask("shop", root_path=str(root))
        self.app.testing = True
        self.callsheet = Callsheet(self.app, engine=self.host.engine, worker=False, login=login)
        self.config: dict[str, Any] = {}
        self.data: dict[str, Any] = {"amount": 5}
        self.name = "shop/pay"
        self.app.add_url_rule("/", "page", self._page)
        self.app.add_url_rule("/plain", "plain", lambda: "plain")
        self.client = self.app.test_client()

    def _page(self, **_: str) -> str:
        names = {"name": self.name, "data": self.data, "config": self.config, "flashes": get_flashed_messages(True)}
        template = "{% for kind, text in flashes %}<p class={{ kind }}>{{ text }}</p>{% endfor %}"
        template += "{{ request_form(name, data, **config) }}"
        template += '{% for sale in records("sale", state="paid") %}<i>{{ sale.gateway_id }}</i>{% endfor %}'
        return render_template_string(template, **names)

    def form(self, path: str = "/", **config: Any) -> Page:
        """The form as this client sees it."""
        self.config = config
        return Page(self.client.get(path).text)

    def post(self, token: str, *, headers: Mapping[str, str] | None = None, **fields: str) -> TestResponse:
        """Post it as a browser does."""
        return self.client.post("/callsheet/forms", data={"callsheet_token": token, **fields}, headers=headers)

    def post_json(self, token: str, fields: Mapping[str, Any] | None = None) -> TestResponse:
        """Post it as a script does."""
        return self.client.post("/callsheet/forms", json={"token": token, "fields": fields or {}})


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path)


# Forms ---------------------------------------------------------------------------------------------------------------


def test_a_page_with_a_form_pays_and_says_so(site: Site) -> None:
    answer = site.post(site.form("/?cart=3").token, note="hi")
    assert (answer.status_code, answer.location) == (303, "/?cart=3")
    shown = site.client.get("/").text
    assert "<p class=success>Done.</p>" in shown
    assert "<i>p1</i>" in shown


@pytest.mark.parametrize("page", ["/gr%C3%B6%C3%9Fe?for=%C3%B6", "/blue%20shoes", "/50%25", "/a%3Fb"])
def test_a_visitor_comes_back_to_a_page_of_any_name(site: Site, page: str) -> None:
    site.app.add_url_rule("/<any>", "page")
    answer = site.post(site.form(page).token)
    assert (answer.status_code, answer.location) == (303, page)


def test_a_page_whose_query_is_no_text_has_its_form(site: Site) -> None:
    got = site.client.get("/", environ_overrides={"QUERY_STRING": "q=\xff"})
    assert site.post(Page(got.text).token).location == "/?q=%FF"


def test_flashes_tell_success_from_error(site: Site) -> None:
    """B38."""
    site.host.gateway.answers = [refusal("Your card was declined."), ok()]
    assert site.post(site.form(error_path="/").token).location == "/"
    assert "<p class=error>Your card was declined.</p>" in site.client.get("/").text
    assert site.post(site.form(success_message="Paid <3", success_path="/").token).location == "/"
    assert "<p class=success>Paid &lt;3</p>" in site.client.get("/").text


@pytest.mark.parametrize(
    ("answer", "status", "again"),
    [
        (refusal("Your card was declined."), 402, True),
        (failure("connect", sent=False), 502, True),
        (failure("read"), 202, False),
        (ok({"id": "p1", "amount": "none"}), 500, False),
    ],
)
def test_without_an_error_path_the_answer_is_a_page_of_its_own(
    tmp_path: Path, answer: Answer | Failure, status: int, again: bool
) -> None:
    site = Site(tmp_path, answer)
    got = site.post(site.form("/?a=1").token, note="kept")
    assert got.status_code == status
    shown = Page(got.text)
    assert ("note" in shown.names) is again
    assert not again or shown.input("note")["value"] == "kept"
    assert shown.all("html") == [{"lang": "en"}]
    assert {"href": "/?a=1"} in shown.all("a")
    if status == 402:
        assert "Your card was declined." in shown.text
    if status == 202:
        already = len(site.host.gateway.requests)
        assert site.post(shown.token).status_code == 202
        assert len(site.host.gateway.requests) == already


def test_a_developer_is_led_to_the_call_and_a_visitor_is_not(tmp_path: Path) -> None:
    site = Site(tmp_path, refusal("Your card was declined."), refusal("Your card was declined."), login=nobody)
    shown = site.post(site.form().token)
    assert (shown.status_code, "/callsheet/console" in shown.text) == (402, False)
    site.app.debug = True
    shown = site.post(site.form().token)
    (call, _) = site.host.engine.find("call")
    assert f'href="/callsheet/console/calls/{call.id}"' in shown.text


def test_what_does_not_fit_is_answered_422_and_sent_nowhere(site: Site) -> None:
    got = site.post(site.form().token, amount="1")
    assert (got.status_code, site.host.gateway.requests) == (422, [])
    assert "amount is not asked for by this form" in " ".join(Page(got.text).text.split())


def test_a_form_of_another_session_or_another_time_is_answered_400(site: Site) -> None:
    """B4."""
    token = site.form().token
    stranger = site.app.test_client()
    assert stranger.post("/callsheet/forms", data={"callsheet_token": token}).status_code == 400
    assert site.post(token + "x").status_code == 400
    site.host.hours.pass_by(1801)
    assert site.post(token).status_code == 400
    assert site.host.gateway.requests == []


def test_a_foreign_page_cannot_post_a_form(site: Site) -> None:
    token = site.form().token
    for origin in ("https://evil.test", "http://localhost.evil.test", "null", "http://localhost:81", "http://["):
        assert site.post(token, headers={"Origin": origin}).status_code == 403
    assert site.host.gateway.requests == []
    assert site.post(token, headers={"Origin": "null", "Sec-Fetch-Site": "same-origin"}).status_code == 303
    assert site.post(token, headers={"Origin": "http://localhost"}).status_code == 303


def test_no_field_says_where_to_go(site: Site) -> None:
    """B6: neither what was posted, nor a forged host, nor a failure leads away from here."""
    token = site.form().token
    for answer in (site.post(token, redirect_to="//evil.test"), site.post("forged", redirect_to="//evil.test")):
        assert answer.status_code in {400, 422}
        assert "evil.test" not in str(answer.headers)
    answer = site.client.post(
        "/callsheet/forms", data={"callsheet_token": token}, headers={"X-Forwarded-Host": "evil.test"}
    )
    assert answer.location == "/"


def test_a_hosted_page_is_gone_to(tmp_path: Path) -> None:
    site = Site(tmp_path, ok({"id": "x", "url": "https://pay.shop.test/s/1"}))
    site.name, site.data = "shop/go", {}
    answer = site.post(site.form().token)
    assert (answer.status_code, answer.location) == (303, "https://pay.shop.test/s/1")
    assert "form-action 'self' https://pay.shop.test" in answer.headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", "application/x-www-form-urlencoded"),
        (b"note=x", "application/x-www-form-urlencoded"),
        (b"callsheet_token=a&callsheet_token=b", "application/x-www-form-urlencoded"),
        (b"callsheet_token=\xff", "application/x-www-form-urlencoded"),
        (b"callsheet_token=%ff", "application/x-www-form-urlencoded"),
        (b"&".join([b"callsheet_token=a", *[b"a=b"] * 600]), "application/x-www-form-urlencoded"),
        (b"callsheet_token=a", "multipart/form-data; boundary=x"),
        (b"callsheet_token=a", "text/plain"),
        (b"{", "application/json"),
        (b"[]", "application/json"),
        (b'{"token": 1}', "application/json"),
        (b'{"token": "a", "fields": []}', "application/json"),
        (b'{"token": "a", "type": "x"}', "application/json"),
        (b"\xff", "application/json"),
        (b"[" * 60_000, "application/json"),
    ],
)
def test_what_is_no_form_is_answered_400(site: Site, body: bytes, kind: str) -> None:
    site.form()
    assert site.client.post("/callsheet/forms", data=body, content_type=kind).status_code == 400


def test_a_form_that_meets_another_process_may_be_posted_again(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever became of its call, the second post tells; it is no page of our own mistakes."""

    def raced(*_: object, **__: object) -> None:
        raise Conflict("the call was changed by another process")

    token = site.form().token
    with monkeypatch.context() as patched:
        patched.setattr(site.host.engine, "submit", raced)
        assert site.post(token).status_code == 503
    assert site.post(token).status_code == 303


def test_what_is_nested_too_deep_is_no_form(site: Site) -> None:
    """Whoever looked through it would come to the end of Python's stack: it is refused as it is read."""
    answer = site.client.post(
        "/callsheet/forms",
        data=f'{{"token": "{site.form().token}", "fields": {{"note": {"[" * 700}{"]" * 700}}}}}',
        content_type="application/json",
    )
    assert (answer.status_code, site.host.gateway.requests) == (400, [])


def test_json_is_answered_in_json_with_a_true_status(tmp_path: Path) -> None:
    """B56."""
    answers: list[tuple[Answer | Failure, int, str, set[str]]] = [
        (ok(), 200, "succeeded", {"records", "call", "redirect"}),
        (refusal("No."), 402, "declined", {"token", "call"}),
        (failure("connect", sent=False), 502, "not_done", {"token", "call"}),
        (failure("read"), 202, "unknown", {"call"}),
        (ok({"id": "p1", "amount": None}), 500, "unmapped", {"call"}),
    ]
    for number, (answer, status, state, more) in enumerate(answers):
        site = Site(tmp_path / str(number), answer)
        got = site.post_json(site.form().token, {"note": "x"})
        said = got.get_json()
        assert (got.status_code, said["state"], set(said)) == (status, state, {"state", "message"} | more)


def test_json_without_a_fit_is_answered_in_json(site: Site) -> None:
    token = site.form().token
    got = site.post_json(token, {"note": 5, "amount": 1})
    problems = {(one["pointer"], one["message"]) for one in got.get_json()["problems"]}
    assert got.status_code == 422
    assert problems == {("/amount", "is not asked for by this form"), ("/note", "5 is not of type string")}
    assert site.post_json(got.get_json()["token"], {"note": "x"}).status_code == 200
    assert (site.post_json("x").status_code, site.post_json("x").get_json()["state"]) == (400, "refused")


def test_a_refused_script_gets_the_token_for_its_next_try(site: Site) -> None:
    site.host.gateway.answers = [refusal("No."), ok()]
    token = site.post_json(site.form().token).get_json()["token"]
    assert site.post_json(token).get_json()["state"] == "succeeded"


def test_a_request_type_that_is_gone_is_answered_404(site: Site, tmp_path: Path) -> None:
    token = site.form().token
    later = host(tmp_path / "later", CALLSHEET_SECRET_KEY=KEY)
    (later.engine.root / "request_types/shop/pay.yml").unlink()
    (later.engine.root / "response_mappers/shop/pay.json.j2").unlink()
    (later.engine.root / "response_mappers/shop/pay.declined.json.j2").unlink()
    from hosts import OnlyHere

    site.host.engine._files = OnlyHere(later.engine.root)
    assert (site.post(token).status_code, site.post_json(token).status_code) == (404, 404)


def test_a_store_that_is_gone_is_answered_503(site: Site) -> None:
    token = site.form().token

    def gone(_: object) -> None:
        raise StoreError("no connection")

    site.host.store.refuse = gone
    assert (site.post(token).status_code, site.post_json(token).status_code) == (503, 503)
    assert site.host.gateway.requests == []


def test_a_double_click_is_one_payment(site: Site) -> None:
    token = site.form().token
    assert [site.post(token).status_code for _ in range(3)] == [303, 303, 303]
    assert len(site.host.gateway.requests) == 1


# Webhooks ------------------------------------------------------------------------------------------------------------

HOOK = "/callsheet/webhooks/shop"


def event(**more: Any) -> bytes:
    return json.dumps({"id": "evt_1", "type": "payment.refunded", "payment": "p1", "created": 1, **more}).encode()


def signed(site: Site, body: bytes, secret: str = "SHOP_HOOK") -> dict[str, str]:
    key = site.host.engine.settings.secret(secret) if secret.isupper() else secret
    return dict(sign(scheme_of("stripe"), key, body, int(site.host.hours.now.timestamp())))


def test_an_event_is_stored_and_answered_200(site: Site) -> None:
    site.host.engine.send("shop/pay", {"amount": 5})
    for _ in range(2):
        got = site.client.post(HOOK, data=event(), headers=signed(site, event()))
        assert (got.status_code, got.text) == (200, "")
    assert [one["state"] for one in site.host.find("event")] == ["received"]
    assert site.host.engine.run_due() == 1
    assert [one["state"] for one in site.host.find("event")] == ["processed"]
    assert site.host.sales()[0]["state"] == "refunded"


def test_an_event_may_look_like_a_form(site: Site) -> None:
    """The raw bytes are signed, whatever Flask would make of them."""
    body = b"a=1&b=%20"
    kind = "application/x-www-form-urlencoded"
    assert site.client.post(HOOK, data=body, headers=signed(site, body), content_type=kind).status_code == 200
    assert site.host.find("event")[0]["body"] == body.decode()


def test_a_bad_signature_is_answered_400_and_nothing_is_stored(site: Site) -> None:
    """B41, B45: nor does an empty key open the door."""
    for secret in ("x" * 32, ""):
        headers = signed(site, event(), secret or "SHOP_OTHER_HOOK")
        got = site.client.post(HOOK, data=event(), headers=headers)
        assert (got.status_code, got.text) == (400, "not accepted")
    assert site.client.post(HOOK, data=event()).status_code == 400
    assert site.client.post(HOOK, data=event() + b" ", headers=signed(site, event())).status_code == 400
    assert site.host.find("event") == []


def test_each_endpoint_has_its_own_secret(site: Site) -> None:
    headers = signed(site, event(), "SHOP_OTHER_HOOK")
    assert site.client.post(f"{HOOK}/partners", data=event(), headers=headers).status_code == 200
    assert site.client.post(f"{HOOK}/nobody", data=event(), headers=headers).status_code == 404
    assert site.client.post("/callsheet/webhooks/nobody", data=event(), headers=headers).status_code == 404


def test_without_a_secret_or_a_store_the_gateway_is_asked_to_come_again(tmp_path: Path) -> None:
    site = Site(tmp_path)
    headers = signed(site, event())

    def gone(_: object) -> None:
        raise StoreError("no connection")

    site.host.store.refuse = gone
    assert site.client.post(HOOK, data=event(), headers=headers).status_code == 503
    del site.host.engine.settings._values["SHOP_HOOK"]
    got = site.client.post(HOOK, data=event(), headers=headers)
    assert (got.status_code, "SHOP_HOOK" in got.text) == (503, False)


def test_an_event_that_cannot_be_processed_is_still_answered_200(site: Site) -> None:
    """B45: it is stored, and tried again from there."""
    body = event(payment="p9")
    assert site.client.post(HOOK, data=body, headers=signed(site, body)).status_code == 200
    site.host.engine.run_due()
    assert site.host.find("event")[0]["state"] == "failed"


def test_the_host_s_worker_is_woken_for_an_event(site: Site) -> None:
    """Nobody waits for its next look at the store."""
    woken: list[int] = []
    site.host.engine.wake = lambda: woken.append(1)
    site.client.post(HOOK, data=event(), headers=signed(site, event()))
    assert woken == [1]


# Bodies --------------------------------------------------------------------------------------------------------------


@contextmanager
def serving(app: Flask, server: str) -> Iterator[int]:
    """A real server on a free port of this machine."""
    if server == "waitress":
        with Served(app, threads=2) as served:
            yield int(served.url.rpartition(":")[2])
        return
    one = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=one.serve_forever, daemon=True)
    thread.start()
    try:
        yield one.server_port
    finally:
        one.shutdown()
        thread.join(5)
        one.server_close()


def asked(port: int, path: str, headers: Mapping[str, str], body: bytes, *, chunked: bool) -> int:
    """The status of one POST over a real connection."""
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
        pieces = [body[at : at + 7000] for at in range(0, len(body), 7000)]
        body = b"".join(f"{len(piece):x}\r\n".encode() + piece + b"\r\n" for piece in pieces) + b"0\r\n\r\n"
    else:
        lines.append(f"Content-Length: {len(body)}")
    with socket.create_connection(("127.0.0.1", port), timeout=20) as line:
        line.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        answer = b""
        while b"\r\n" not in answer:  # a refusal comes before the body was read, and Werkzeug then waits for the rest
            answer += line.recv(65536)
    return int(answer.split(b" ", 2)[1])


@pytest.mark.parametrize("server", ["waitress", "werkzeug"])
@pytest.mark.parametrize("chunked", [True, False])
def test_an_event_is_taken_whole_or_not_at_all(tmp_path: Path, server: str, chunked: bool) -> None:
    site = Site(tmp_path)
    site.app.config["MAX_CONTENT_LENGTH"] = 1000  # with which Werkzeug cuts a chunked body off without a word
    bare = len(event(pad=""))
    bodies = [event(pad="x" * (size - bare)) for size in (EVENT_LIMIT, EVENT_LIMIT + 1)]
    assert [len(body) for body in bodies] == [EVENT_LIMIT, EVENT_LIMIT + 1]
    with serving(site.app, server) as port:
        for body, status in zip(bodies, (200, 413), strict=True):
            assert asked(port, HOOK, signed(site, body), body, chunked=chunked) == status
    assert [len(one["body"]) for one in site.host.find("event")] == [EVENT_LIMIT]


def test_a_form_is_no_larger_than_a_form(site: Site) -> None:
    body = b"callsheet_token=" + b"x" * FORM_LIMIT
    kind = "application/x-www-form-urlencoded"
    assert site.client.post("/callsheet/forms", data=body[:FORM_LIMIT], content_type=kind).status_code == 400
    assert site.client.post("/callsheet/forms", data=body[: FORM_LIMIT + 1], content_type=kind).status_code == 413
    said = site.client.post("/callsheet/forms", data=body, content_type="application/json")
    assert (said.status_code, said.get_json()["state"]) == (413, "refused")


def test_a_body_without_a_length_or_cut_off_is_refused(site: Site) -> None:
    environment = EnvironBuilder(path=HOOK, method="POST", input_stream=io.BytesIO(event())).get_environ()
    del environment["CONTENT_LENGTH"]
    assert Response.from_app(site.app, environment).status_code == 411
    short = {"wsgi.input": io.BytesIO(b"half"), "CONTENT_LENGTH": "9", "REQUEST_METHOD": "POST"}
    assert site.client.open(HOOK, environ_overrides=short).status_code == 400


class Dripping(io.BytesIO):
    """A connection on which a body comes in pieces."""

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(7, size or 0))


def test_a_body_that_comes_in_pieces_is_whole(site: Site) -> None:
    length = {"CONTENT_LENGTH": str(len(event()))}
    chunked = {"wsgi.input_terminated": True, "HTTP_TRANSFER_ENCODING": "chunked"}
    for known in (length, chunked):
        headers = Headers(signed(site, event()))
        environment = EnvironBuilder(path=HOOK, method="POST", headers=headers).get_environ()
        environment.pop("CONTENT_LENGTH", None)
        environment |= {**known, "wsgi.input": Dripping(event())}
        assert Response.from_app(site.app, environment).status_code == 200


# What a browser is told ----------------------------------------------------------------------------------------------

POLICY = (
    "default-src 'none'; script-src 'self' https://js.shop.test; style-src 'self'; img-src 'self' data:; "
    "font-src 'self'; frame-src https://frames.shop.test; connect-src 'self' https://api.shop.test; "
    "form-action 'self' https://pay.shop.test; base-uri 'none'; frame-ancestors 'none'"
)


def test_all_that_is_said_on_a_route_and_every_page_with_a_form_carries_the_headers(site: Site) -> None:
    site.app.debug = True
    routes = {rule.rule for rule in site.app.url_map.iter_rules() if rule.endpoint.startswith("callsheet.")}
    answers = {
        "/callsheet/": site.client.get("/callsheet/"),
        "/callsheet/docs/": site.client.get("/callsheet/docs/"),
        "/callsheet/docs/<path:path>": site.client.get("/callsheet/docs/records/sale.html"),
        "/callsheet/forms": site.post(site.form().token),
        "/callsheet/shop/": site.client.get("/callsheet/shop/"),
        "/callsheet/shop/<story>": site.client.get("/callsheet/shop/nothing"),
        "/callsheet/results/<token>": site.client.get("/callsheet/results/x"),
        "/callsheet/sandbox/<gateway>": site.client.get("/callsheet/sandbox/shop"),
        "/callsheet/metrics": site.client.get("/callsheet/metrics"),
        "/callsheet/static/<path:filename>": site.client.get("/callsheet/static/forms.css", buffered=True),
        "/callsheet/webhooks/<gateway>": site.client.post(HOOK, data=event()),
        "/callsheet/webhooks/<gateway>/<name>": site.client.post(f"{HOOK}/partners", data=event()),
    }
    assert set(answers) == routes
    for path, answer in {**answers, "/": site.client.get("/")}.items():
        assert answer.headers["Content-Security-Policy"] == POLICY, path
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "strict-origin"
        if "static" not in path:
            assert answer.headers["Cache-Control"] == "no-store, private"
    assert "Content-Security-Policy" not in site.client.get("/plain").headers


def test_a_pages_own_headers_stay(site: Site) -> None:
    def own() -> tuple[str, dict[str, str]]:
        return render_template_string('{{ request_form("shop/pay", {"amount": 5}) }}'), {
            "Content-Security-Policy": "default-src 'self'"
        }

    site.app.add_url_rule("/own", "own", own)
    assert site.client.get("/own").headers["Content-Security-Policy"] == "default-src 'self'"


def test_no_page_has_a_script_or_a_style_in_it(site: Site) -> None:
    site.app.debug = True
    site.host.gateway.answers = [refusal()]
    pages = [site.client.get("/callsheet/"), site.post(site.form().token), site.post("x"), site.client.get("/")]
    for page in pages:
        shown = Page(page.text)
        assert all("src" in script for script in shown.all("script"))
        assert shown.all("style") == []
        assert [name for _, attributes in shown.tags for name in attributes if name.startswith("on")] == []
        assert [name for _, attributes in shown.tags for name in attributes if name == "style"] == []
    for name in (
        "stripe-card.js",
        "stripe-action.js",
        "stripe-stand-in.js",
        "forms.css",
        "pico.classless.min.css",
        "pico.LICENSE.md",
    ):
        assert site.client.get(f"/callsheet/static/{name}", buffered=True).status_code == 200


def test_the_cookie_is_kept_from_scripts_and_other_sites(site: Site) -> None:
    for base, secure in [
        ("http://localhost/", False),
        ("http://127.0.0.1:5000/", False),
        ("http://[::1]:5000/", False),
        ("https://shop.test/", True),
        ("http://shop.test/", True),
        ("http://127.0.0.1.evil.test/", True),
    ]:
        cookie = site.app.test_client().get("/", base_url=base).headers["Set-Cookie"]
        assert ("HttpOnly" in cookie, "SameSite=Lax" in cookie, "Secure" in cookie) == (True, True, secure), base


def test_an_apps_own_session_settings_stay(tmp_path: Path) -> None:
    shop = host(tmp_path, CALLSHEET_SECRET_KEY=KEY)
    app = Flask("own", root_path=str(tmp_path))
    app.secret_key = "own"
    app.config.update(SESSION_COOKIE_SAMESITE="Strict")
    Callsheet(app, engine=shop.engine, worker=False)
    assert (app.secret_key, app.config["SESSION_COOKIE_SAMESITE"]) == ("own", "Strict")


# The extension -------------------------------------------------------------------------------------------------------


def test_an_apps_folder_is_its_root_unless_it_says_otherwise(tmp_path: Path) -> None:
    for number, config in enumerate([{}, {"CALLSHEET_ROOT": str(tmp_path / "elsewhere")}]):
        root = Path(config.get("CALLSHEET_ROOT", tmp_path / str(number)))
        write(root, {**SHOP, "forms/shop/pay.html": f"<p>form {number}</p>{{{{ submit() }}}}"})
        app = Flask("shop", root_path=str(tmp_path / str(number)))
        app.config.update(config)
        callsheet = Callsheet(worker=False, store=MemoryStore(), environment={"CALLSHEET_SECRET_KEY": KEY})
        callsheet.init_app(app)
        assert engine_of(app) is callsheet.engine
        form = callsheet.engine.form("shop/pay", {"amount": 1}, session="x")
        assert f"form {number}" in form
        assert "stripe/create_payment" in callsheet.engine.catalog.forms


def test_a_mounted_app_posts_its_forms_below_its_prefix(site: Site) -> None:
    got = site.client.get("/", base_url="http://localhost/shop")
    assert Page(got.text).all("form")[0]["action"] == "/shop/callsheet/forms"
    answer = site.client.post(
        "/callsheet/forms", base_url="http://localhost/shop", data={"callsheet_token": Page(got.text).token}
    )
    assert answer.location == "/shop/"


def test_a_mounted_app_shows_again_what_came_of_a_form(tmp_path: Path) -> None:
    write(tmp_path, {"forms/shop/pay.result.html": "<p>Wait.</p>"})
    site, base = Site(tmp_path), "http://localhost/shop"
    token = Page(site.client.get("/", base_url=base).text).token
    posted = site.client.post("/callsheet/forms", base_url=base, data={"callsheet_token": token})
    shown = Page(site.client.get(posted.location.removeprefix("/shop"), base_url=base).text)
    assert [one["href"] for one in shown.all("a")] == [posted.location, "/shop/"]


def test_the_overview_is_for_development(site: Site) -> None:
    assert site.client.get("/callsheet/").status_code == 404
    site.app.debug = True
    text = Page(site.client.get("/callsheet/").text).text
    assert all(word in text for word in ("shop/pay", "/callsheet/webhooks/shop/partners", "payment.refunded"))


def test_the_shop_is_for_development(site: Site) -> None:
    pages = ("/callsheet/shop/", "/callsheet/shop/charge")
    assert [site.client.get(path).status_code for path in pages] == [404, 404]
    site.app.debug = True
    assert site.client.get("/callsheet/shop/").status_code == 200
    assert site.client.get("/callsheet/shop/elsewhere").status_code == 404
    unable = site.client.get("/callsheet/shop/charge")  # this host has no file of Stripe's
    assert (unable.status_code, "there is no request type &#39;stripe/create_payment&#39;" in unable.text) == (
        503,
        True,
    )


@pytest.mark.parametrize(("mode", "key"), [("live", "live_4eC39HqLyjWDarjtT1zdp7dc"), ("test", SECRETS["SHOP_KEY"])])
def test_nobody_develops_with_live_money(tmp_path: Path, mode: str, key: str) -> None:
    app = Flask("shop", root_path=str(tmp_path))
    app.debug = True
    app.extensions["callsheet"] = host(tmp_path, CALLSHEET_MODE=mode, SHOP_KEY=key).engine
    with app.app_context():
        assert develops() is (mode == "test")


def test_the_reference_is_for_development(site: Site) -> None:
    for path in ("/callsheet/docs/", "/callsheet/docs/records/sale.html"):
        assert site.client.get(path).status_code == 404
    site.app.debug = True
    assert "/callsheet/docs/" in [link["href"] for link in Page(site.client.get("/callsheet/").text).all("a")]
    shown = site.client.get("/callsheet/docs/")
    assert (shown.mimetype, "shop/pay_once" in Page(shown.text).text) == ("text/html", True)
    script = site.client.get("/callsheet/docs/search-index.js")
    assert (script.mimetype, "shop/pay_once" in script.text) == ("text/javascript", True)
    for path in ("records/none.html", "../forms", "%2e%2e/.env", "/etc/passwd"):
        assert site.client.get(f"/callsheet/docs/{path}").status_code in {404, 308, 405}, path


def test_the_reference_follows_the_files(tmp_path: Path) -> None:
    write(tmp_path, SHOP)
    app = Flask("shop", root_path=str(tmp_path))
    app.debug = True
    Callsheet(app, worker=False, store=MemoryStore(), environment={"CALLSHEET_SECRET_KEY": KEY})
    page = "/callsheet/docs/request_types/shop/pay.html"
    assert "Take a payment." in app.test_client().get(page).text
    pay = SHOP["request_types/shop/pay.yml"].replace("Take a payment.", "Take more.")
    write(tmp_path, {"request_types/shop/pay.yml": pay, "tests/cases/request_types/shop/pay/a.yml": "{claims: a}"})
    faulty = app.test_client().get(page)
    assert (faulty.status_code, "pay/a.yml" in faulty.text) == (500, True)
    write(tmp_path, {"tests/cases/request_types/shop/pay/a.yml": "{claim: one pays}"})
    assert "Take more." in app.test_client().get(page).text


def test_the_overview_shows_a_broken_edit_and_serves_the_last_good_file(tmp_path: Path) -> None:
    write(tmp_path, SHOP)
    app = Flask("shop", root_path=str(tmp_path))
    app.debug = True
    environment = {"CALLSHEET_SECRET_KEY": KEY}
    callsheet = Callsheet(app, worker=False, store=MemoryStore(), environment=environment)
    write(tmp_path, {"forms/shop/pay.html": "{{ submt() }} <b>"})
    client = app.test_client()
    shown = Page(client.get("/callsheet/").text)
    assert "forms/shop/pay.html:1:4: only input" in shown.text
    assert "Send" in callsheet.engine.form("shop/pay", {"amount": 1}, session="x")
    write(tmp_path, {"forms/shop/pay.html": "{{ submit('Mended') }}"})
    assert "Mended" in callsheet.engine.form("shop/pay", {"amount": 1}, session="x")
    assert "only input" not in client.get("/callsheet/").text


# Due work ------------------------------------------------------------------------------------------------------------


def test_due_work_is_done_by_a_thread_of_the_host(tmp_path: Path) -> None:
    shop = host(tmp_path, files=FILES, CALLSHEET_SECRET_KEY=KEY)
    app = Flask("shop", root_path=str(tmp_path))
    done, heard = threading.Event(), list[str]()
    callsheet = Callsheet(app, engine=shop.engine)

    @shop.engine.on("sale")
    def hear(record: Any) -> None:
        heard.append(f"{threading.current_thread().name} {record['state']}")
        done.set()

    shop.engine.send("shop/pay", {"amount": 5})
    assert done.wait(10)
    assert heard == ["callsheet due work paid"]
    callsheet.worker.stop()


def test_due_work_goes_on_after_an_error_and_stops_when_told() -> None:
    seen, ready = list[int](), threading.Event()

    def work() -> int:
        seen.append(1)
        if len(seen) == 1:
            raise StoreError("gone")
        ready.set()
        return 0

    before = set(threading.enumerate())  # other tests' hosts have threads of their own
    worker = Worker(work)
    worker.start()
    worker.start()
    for _ in range(100):
        worker.wake()
        if ready.wait(0.05):
            break
    assert ready.is_set()
    worker.stop()
    worker.wake()  # as a request does that comes late
    assert "callsheet due work" not in {thread.name for thread in set(threading.enumerate()) - before}


def test_due_work_that_was_stopped_before_it_began_does_not_begin() -> None:
    worker, before = Worker(lambda: 0), set(threading.enumerate())
    worker.stop()
    worker.start()
    assert "callsheet due work" not in {thread.name for thread in set(threading.enumerate()) - before}


def test_due_work_that_cannot_be_started_is_started_later(monkeypatch: pytest.MonkeyPatch) -> None:
    ready = threading.Event()

    def work() -> int:
        ready.set()
        return 0

    def fail(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    worker = Worker(work)
    with monkeypatch.context() as full:
        full.setattr(threading.Thread, "start", fail)
        with pytest.raises(RuntimeError):
            worker.start()
    worker.start()
    assert ready.wait(30)
    worker.stop()


def test_due_work_starts_again_in_a_forked_process() -> None:
    read_end, write_end = os.pipe()
    worker = Worker(lambda: os.write(write_end, f"{os.getpid()} ".encode()) and 0)
    worker.start()
    child = os.fork()
    if child == 0:
        worker.start()
        threading.Event().wait(5)
        os._exit(0)
    seen = b""
    while str(child).encode() not in seen:
        seen += os.read(read_end, 100)
    os.kill(child, 9)
    os.waitpid(child, 0)
    worker.stop()
    assert str(os.getpid()).encode() in seen
