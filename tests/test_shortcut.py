"""A webhook's way past Flask: it answers as Flask would, and is taken only where the host cannot tell."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Request, Response, current_app, request_started
from flask.sessions import SecureCookieSessionInterface
from hosts import SECRETS, SHOP, OnlyHere, write
from werkzeug.datastructures import Headers
from werkzeug.test import TestResponse

from engine.core import Engine
from engine.errors import StoreError
from engine.observing import Step
from engine.records import Change, Record
from engine.signatures import scheme_of, sign
from engine.store.memory import MemoryStore
from engine.web import Callsheet
from engine.web.webhooks import LIMIT

HOOK = "/callsheet/webhooks/shop"
KEY = "a key of thirty-two bytes or more"

Seen = list[str]


class Site:
    """A shop's web site, which notes what goes through Flask."""

    def __init__(self, root: Path, kind: type[Flask] = Flask, **options: Any) -> None:
        folder, settings = write(root, SHOP), {**SECRETS, "CALLSHEET_SECRET_KEY": KEY, "CALLSHEET_STORE": "memory:"}
        self.engine = Engine(folder, environment=settings, files=OnlyHere(folder), **options)
        self.app = kind("shop", root_path=str(root))
        self.through_flask: Seen = []
        self.sent = 0

    def opened(self, **options: Any) -> Site:
        """The same with the extension."""
        Callsheet(self.app, engine=self.engine, worker=False, **options)
        self._through_flask(self.app)
        return self

    def _through_flask(self, app: Flask) -> None:
        match = app.create_url_adapter

        def noted(request: Request | None) -> Any:
            if request is not None:
                self.through_flask.append(request.path)
            return match(request)

        vars(app)["create_url_adapter"] = noted  # asked at every request, and no hook that the host would have set

    def deliver(self, path: str = HOOK, body: bytes | None = None, **more: Any) -> TestResponse:
        """A new event, signed, or `body` with the signature of another."""
        self.sent += 1
        event = json.dumps({"id": f"evt_{self.sent}", "type": "payment.refunded", "payment": "p1"}).encode()
        key = self.engine.settings.secret("SHOP_HOOK")
        proof = sign(scheme_of("stripe"), key, event, int(time.time()))
        headers = Headers({**proof, **more.pop("headers", {})})
        client = self.app.test_client(use_cookies=False)
        return client.post(path, data=event if body is None else body, headers=headers, **more)

    def events(self) -> int:
        """How many are kept."""
        return len(self.engine.find("event"))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path).opened()


def test_the_second_event_goes_past_flask_and_is_answered_alike(site: Site) -> None:
    first, second = site.deliver(), site.deliver()
    assert site.through_flask == [HOOK]
    assert (first.status, first.data, list(first.headers)) == (second.status, second.data, list(second.headers))
    assert dict(first.headers) == {"Content-Length": "0"}
    assert site.events() == 2


def test_a_host_s_own_worker_is_no_hindrance_and_is_woken(tmp_path: Path) -> None:
    site = Site(tmp_path)
    extension = Callsheet(site.app, engine=site.engine)
    site._through_flask(site.app)
    woken: Seen = []
    site.engine.wake = lambda: woken.append("woken")
    try:
        assert [site.deliver().status_code for _ in range(3)] == [200, 200, 200]
    finally:
        extension.worker.stop()
    assert (site.through_flask, woken) == ([HOOK], ["woken"] * 3)


# What the host would notice -------------------------------------------------------------------------------------------


def before(site: Site, seen: Seen) -> None:
    site.app.before_request(lambda: seen.append("before"))


def after(site: Site, seen: Seen) -> None:
    @site.app.after_request
    def note(answer: Response) -> Response:
        seen.append("after")
        return answer


def torn_down(site: Site, seen: Seen) -> None:
    site.app.teardown_request(lambda _: seen.append("torn down"))


def context_torn_down(site: Site, seen: Seen) -> None:
    site.app.teardown_appcontext(lambda _: seen.append("context torn down"))


def values(site: Site, seen: Seen) -> None:
    site.app.url_value_preprocessor(lambda *_: seen.append("values"))


def of_the_blueprint(site: Site, seen: Seen) -> None:
    site.app.before_request_funcs.setdefault("callsheet", []).append(lambda: seen.append("of the blueprint"))


def around_the_view(site: Site, seen: Seen) -> None:
    view = site.app.view_functions["callsheet.webhooks"]

    def around(**names: str) -> Any:
        seen.append("view")
        return view(**names)

    site.app.view_functions["callsheet.webhooks"] = around


def sessions(site: Site, seen: Seen) -> None:
    class Sessions(SecureCookieSessionInterface):
        def open_session(self, *arguments: Any) -> Any:
            seen.append("session")
            return super().open_session(*arguments)

    site.app.session_interface = Sessions()


def requests(site: Site, seen: Seen) -> None:
    class Asked(Request):
        def __init__(self, *arguments: Any, **more: Any) -> None:
            seen.append("request")
            super().__init__(*arguments, **more)

    site.app.request_class = Asked


@pytest.mark.parametrize(
    "noticing",
    [before, after, torn_down, context_torn_down, values, of_the_blueprint, around_the_view, sessions, requests],
)
def test_what_the_host_has_done_at_a_request_is_done_at_each(
    site: Site, noticing: Callable[[Site, Seen], None]
) -> None:
    seen: Seen = []
    noticing(site, seen)
    assert [site.deliver().status_code for _ in range(3)] == [200, 200, 200]
    assert len(seen) == len(site.through_flask) == 3


def test_what_was_there_before_the_extension_counts_as_well(tmp_path: Path) -> None:
    site, seen = Site(tmp_path), Seen()
    before(site, seen)
    site.opened()
    for _ in range(3):
        site.deliver()
    assert len(seen) == 3


def test_a_receiver_of_a_signal_may_come_and_go(site: Site) -> None:
    seen: Seen = []

    def started(app: Flask, **_: Any) -> None:
        seen.append(app.name)

    site.deliver()
    site.deliver()
    with request_started.connected_to(started, site.app):
        site.deliver()
    site.deliver()
    assert (seen, len(site.through_flask)) == (["shop"], 2)


def test_a_middleware_sees_every_event_wherever_it_stands(tmp_path: Path) -> None:
    for outside in (True, False):
        site, seen = Site(tmp_path / str(outside)), Seen()

        def put(app: Flask, seen: Seen = seen) -> None:
            inside = app.wsgi_app

            def middleware(environ: Any, start_response: Any) -> Iterable[bytes]:
                seen.append(environ["PATH_INFO"])
                return inside(environ, start_response)

            vars(app)["wsgi_app"] = middleware

        if not outside:
            put(site.app)
        site.opened()
        if outside:
            put(site.app)
        assert [site.deliver().status_code for _ in range(3)] == [200, 200, 200]
        assert len(seen) == 3
        assert len(site.through_flask) == (1 if outside else 3)


def test_a_flask_of_the_host_s_own_is_asked_every_time(tmp_path: Path) -> None:
    class Own(Flask):
        """Any of its methods may do more."""

    site = Site(tmp_path, Own).opened()
    site.deliver()
    site.deliver()
    assert len(site.through_flask) == 2


def test_an_observer_of_the_host_s_own_is_called_inside_flask(tmp_path: Path) -> None:
    """It may ask for Flask's request."""
    from flask import request

    paths: Seen = []

    class Watching:
        def began(self, step: Step) -> None:
            paths.append(f"{step.kind} {request.path}")

        def ended(self, step: Step, begun: None) -> None:
            pass

    site = Site(tmp_path, observers=[Watching()]).opened()
    site.deliver()
    site.deliver()
    assert paths == [f"receive {HOOK}"] * 2


def test_a_store_of_the_host_s_own_is_called_inside_flask(tmp_path: Path) -> None:
    """It may ask for Flask's application."""

    class Own(MemoryStore):
        def apply(self, changes: Sequence[Change]) -> list[Record]:
            assert changes[0].type.name != "event" or current_app.name == "shop"
            return super().apply(changes)

    site = Site(tmp_path, store=Own()).opened()
    assert [site.deliver().status_code for _ in range(2)] == [200, 200]
    assert len(site.through_flask) == 2


def test_only_what_is_known_goes_past_flask(site: Site) -> None:
    """The host's name decides, too: Flask may trust some and not others."""
    site.deliver()
    site.app.config["TRUSTED_HOSTS"] = ["localhost"]
    assert site.deliver(base_url="http://elsewhere.test").status_code == 400
    assert site.deliver(headers={"Cookie": "session=x"}).status_code == 200
    assert len(site.through_flask) == 3
    assert site.app.test_client().get(HOOK).status_code == 405
    assert site.deliver("/callsheet/webhooks/nobody").status_code == 404


def test_addresses_are_not_known_without_end(site: Site) -> None:
    for number in range(100):
        site.deliver(base_url=f"http://host{number}.test")
    site.through_flask.clear()
    for number in range(100):
        site.deliver(base_url=f"http://host{number}.test")
    assert len(site.through_flask) == 36


# What is not answered 200 ---------------------------------------------------------------------------------------------


def test_what_is_refused_is_refused_by_flask_as_it_was_before(site: Site) -> None:
    site.app.register_error_handler(413, lambda _: ("the host's own words", 413))
    for _ in range(2):
        said = [
            site.deliver(body=b"{}"),
            site.deliver(body=b"x" * (LIMIT + 1)),
            site.deliver(environ_overrides={"CONTENT_LENGTH": "9999"}),
            site.deliver(headers={"Transfer-Encoding": "chunked"}, environ_overrides={"wsgi.input_terminated": False}),
        ]
        assert [answer.status_code for answer in said] == [400, 413, 400, 411]
        assert [answer.text for answer in said[:2]] == ["not accepted", "the host's own words"]
        assert all("Content-Security-Policy" in answer.headers for answer in said)
        assert site.deliver().status_code == 200
    assert site.events() == 2


def test_what_goes_wrong_is_tried_once_and_told_by_flask(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    site.app.register_error_handler(500, lambda _: ("the host's own page", 500))
    site.deliver()
    tried: Seen = []
    raised: Exception = StoreError("no connection")

    def gone(_: object) -> None:
        tried.append("once")
        raise raised

    monkeypatch.setattr(site.engine.store, "apply", gone)
    assert site.deliver().status_code == 503
    raised = RuntimeError("a fault of ours")
    answer = site.deliver()
    assert (answer.status_code, answer.text) == (500, "the host's own page")
    assert len(tried) == 2
    assert "a webhook of shop could not be taken" in caplog.text
    assert "a fault of ours" in caplog.text
