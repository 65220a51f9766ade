"""Traces of calls and events, as OpenTelemetry's own SDK keeps them."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hosts import SECRETS, Host, failure, host, ok, refusal
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from engine.errors import EngineError, SettingError
from engine.signatures import SHIPPED, sign
from engine.spans import Spans

NAMES = {
    "callsheet.gateway",
    "callsheet.request_type",
    "callsheet.event_type",
    "callsheet.outcome",
    "error.type",
    "http.request.method",
    "http.request.resend_count",
    "http.response.status_code",
    "server.address",
    "server.port",
    "url.scheme",
    "url.template",
}


class Traced:
    """A shop whose spans are kept."""

    def __init__(self, root: Path, *answers: Any, **options: Any) -> None:
        self._kept = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self._kept))
        self.tracer = provider.get_tracer("test")
        self.shop: Host = host(root, *answers, observers=[Spans(self.tracer)], **options)

    def event(self, **more: Any) -> None:
        body = json.dumps({"id": "evt_1", "type": "payment.refunded", "payment": "p1", "created": 1, **more}).encode()
        headers = sign(SHIPPED["stripe"], SECRETS["SHOP_HOOK"], body, self.shop.hours.now.timestamp())
        self.shop.engine.receive("shop", headers, body)

    @property
    def spans(self) -> list[ReadableSpan]:
        """In the order in which they began."""
        return sorted(self._kept.get_finished_spans(), key=lambda span: span.start_time or 0)

    def tree(self) -> list[tuple[str, str | None]]:
        """(name, name of the span around it)."""
        names = {span.context.span_id: span.name for span in self.spans if span.context}
        return [(span.name, names.get(span.parent.span_id) if span.parent else None) for span in self.spans]

    def one(self, name: str) -> ReadableSpan:
        return next(span for span in self.spans if span.name == name)


def test_a_call_is_one_trace(tmp_path: Path) -> None:
    """Rendered, sent, mapped, stored, inside whatever the host was doing."""
    traced = Traced(tmp_path)
    with traced.tracer.start_as_current_span("checkout"):
        traced.shop.engine.send("shop/pay", {"amount": 5})
    assert traced.tree() == [
        ("checkout", None),
        ("send shop/pay", "checkout"),
        ("render", "send shop/pay"),
        ("POST /payments", "send shop/pay"),
        ("map", "send shop/pay"),
        ("store", "send shop/pay"),
    ]
    sent, whole = traced.one("POST /payments"), traced.one("send shop/pay")
    assert sent.kind is SpanKind.CLIENT
    assert dict(sent.attributes or {}) == {
        "callsheet.gateway": "shop",
        "callsheet.request_type": "shop/pay",
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "server.address": "api.shop.test",
        "server.port": 443,
        "url.scheme": "https",
        "url.template": "/payments",
    }
    assert dict(whole.attributes or {}) == {
        "callsheet.gateway": "shop",
        "callsheet.request_type": "shop/pay",
        "callsheet.outcome": "succeeded",
    }
    assert {span.status.status_code for span in traced.spans} == {StatusCode.UNSET}


def test_a_repeated_attempt_is_counted_and_an_error_is_one(tmp_path: Path) -> None:
    """As the conventions say: the status, else what went wrong; and every repeat by its number."""
    traced = Traced(tmp_path, failure("read_timeout"), ok({}, 503), refusal())
    with suppress(EngineError):
        traced.shop.engine.send("shop/pay", {"amount": 5})
    sent = [dict(span.attributes or {}) for span in traced.spans if span.kind is SpanKind.CLIENT]
    assert [one.get("error.type") for one in sent] == ["read_timeout", "503", "402"]
    assert [one.get("http.response.status_code") for one in sent] == [None, 503, 402]
    assert [one.get("http.request.resend_count") for one in sent] == [None, 1, 2]
    whole = traced.one("send shop/pay")
    assert (whole.attributes or {})["callsheet.outcome"] == "declined"
    assert whole.status.status_code is StatusCode.ERROR
    assert whole.events == ()  # an exception's text may hold data


def test_an_event_is_received_and_processed(tmp_path: Path) -> None:
    """By the name of its file; the types that have none are one."""
    traced = Traced(tmp_path)
    traced.shop.engine.send("shop/pay", {"amount": 5})
    traced.event()
    traced.event(id="evt_2", type="unheard.of.4711")
    found = [(span.name, dict(span.attributes or {})) for span in traced.spans if span.kind is SpanKind.CONSUMER]
    said = {"callsheet.gateway": "shop"}
    assert found == [
        ("receive shop", {**said, "callsheet.event_type": "payment.refunded", "callsheet.outcome": "received"}),
        ("process shop", {**said, "callsheet.event_type": "payment.refunded", "callsheet.outcome": "processed"}),
        ("receive shop", {**said, "callsheet.event_type": "other", "callsheet.outcome": "received"}),
        ("process shop", {**said, "callsheet.event_type": "other", "callsheet.outcome": "ignored"}),
    ]


def test_no_secret_and_nothing_of_the_data_is_in_a_span(tmp_path: Path) -> None:
    """Only attributes that are known, and in none of them a canary; a path names what stands in it."""
    canary = "canary4711"
    away = {"shop": f"https://proxy.shop.test:8443/{canary}/v1"}
    traced = Traced(tmp_path, ok({"id": canary, "amount": 5}), base_urls=away)
    traced.shop.engine.send("shop/pay", {"amount": 5, "note": canary, "account": canary}, operation=canary)
    traced.shop.engine.send("shop/read", {"id": canary})
    traced.shop.gateway.answers = [refusal(canary)]
    with suppress(EngineError):
        traced.shop.engine.send("shop/erase", {"id": canary})
    traced.event(id=canary, type=canary, account=canary, payment=canary)
    everything = "".join(span.to_json() for span in traced.spans)
    for secret in (canary, *SECRETS.values()):
        assert secret not in everything
    assert {name for span in traced.spans for name in span.attributes or {}} == NAMES - {"http.request.resend_count"}
    read = dict(traced.one("GET /payments/{id}").attributes or {})
    assert (read["server.address"], read["server.port"]) == ("proxy.shop.test", 8443)


def test_the_setting_turns_them_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They go to the tracer of the process; without an SDK that one does nothing."""
    kept, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(kept))
    monkeypatch.setattr("opentelemetry.trace.get_tracer", provider.get_tracer)
    host(tmp_path, CALLSHEET_SPANS="on").engine.send("shop/pay", {"amount": 5})
    assert {span.instrumentation_scope.name for span in kept.get_finished_spans() if span.instrumentation_scope} == {
        "callsheet"
    }
    monkeypatch.undo()
    kept.clear()
    host(tmp_path, CALLSHEET_SPANS="on").engine.send("shop/pay", {"amount": 5})
    host(tmp_path, CALLSHEET_SPANS="off").engine.send("shop/pay", {"amount": 5})
    assert kept.get_finished_spans() == ()
    with pytest.raises(SettingError, match="CALLSHEET_SPANS: must be on or off"):
        host(tmp_path, CALLSHEET_SPANS="yes")
