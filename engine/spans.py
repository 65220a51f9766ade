"""Spans for OpenTelemetry: an observer that tells a tracer of every step, so that traces show where the time goes.

A request is a client span after the semantic conventions for HTTP: `http.request.method`, `server.address`,
`server.port`, `url.scheme`, `url.template`, `http.request.resend_count`, `http.response.status_code`, `error.type`.
`url.full` is left out, for it would hold ids. The other steps say `callsheet.gateway`, `callsheet.request_type` or
`callsheet.event_type`, and `callsheet.outcome`. Hides: which step is which span.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from opentelemetry import context, trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.util.types import AttributeValue

from engine.descriptions import url_template
from engine.observing import Step

_KINDS = {"exchange": SpanKind.CLIENT, "receive": SpanKind.CONSUMER, "process": SpanKind.CONSUMER}
_PORTS = {"https": 443, "http": 80}
_FINE = frozenset({"succeeded", "answered", "received", "doubled", "quarantined", "processed", "ignored"})

Begun = tuple[Span, object]


class Spans:
    """Spans of one engine, by the `tracer` given or by that of the process."""

    def __init__(self, tracer: Tracer | None = None) -> None:
        self._tracer = tracer or trace.get_tracer("callsheet")

    def began(self, step: Step) -> Begun | None:
        """Begin a span, inside that of the step around it."""
        if step.kind == "attempt":
            return None  # it is the exchange in it, and the wait before
        kind = _KINDS.get(step.kind, SpanKind.INTERNAL)
        span = self._tracer.start_span(_name(step), kind=kind, attributes=_attributes(step))
        return span, context.attach(trace.set_span_in_context(span))

    def ended(self, step: Step, begun: Begun | None) -> None:
        """End it. What an error says is not told: it may hold data."""
        if begun is None:
            return
        span, token = begun
        status = step.status or 0
        if status:
            span.set_attribute("http.response.status_code", status)
        else:
            span.set_attribute("callsheet.outcome", step.outcome)
        if step.kind in {"receive", "process"}:
            span.set_attribute("callsheet.event_type", step.name)
        if step.outcome not in _FINE or status >= 400:
            span.set_attribute("error.type", str(status or step.outcome))
            span.set_status(Status(StatusCode.ERROR))
        context.detach(token)  # type: ignore[arg-type]  # what attach gave
        span.end()


def _name(step: Step) -> str:
    if step.kind == "exchange" and step.type:
        return f"{step.type.method} {url_template(step.type)}"
    if step.kind in {"send", "recover"}:
        return f"{step.kind} {step.name}"
    return f"{step.kind} {step.gateway}" if step.kind in {"receive", "process"} else step.kind


def _attributes(step: Step) -> dict[str, AttributeValue]:
    known: dict[str, AttributeValue] = {"callsheet.gateway": step.gateway}
    if step.type is None:
        return known
    known["callsheet.request_type"] = step.type.name
    if step.kind == "exchange":
        at = urlsplit(step.type.base_url)
        known |= {"http.request.method": step.type.method, "url.template": url_template(step.type)}
        known |= {"server.address": at.hostname or "", "server.port": at.port or _PORTS[at.scheme]}
        known["url.scheme"] = at.scheme
        if step.tries:
            known["http.request.resend_count"] = step.tries
    return known
