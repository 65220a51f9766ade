"""Metrics for Prometheus: an observer that counts, and the page that a scraper reads.

    callsheet_calls_total{gateway,request_type,outcome}       succeeded declined not_done unknown unmapped refused …
    callsheet_recoveries_total{gateway,request_type,outcome}  the same of open calls taken up again, and unanswered
    callsheet_attempts_total{gateway,class}                   ok http_402 read_timeout rate_limited circuit_open …
    callsheet_exchange_seconds{gateway,request_type}          a histogram of how long a gateway takes to answer
    callsheet_webhooks_total{gateway,outcome}                 received doubled quarantined refused failed
    callsheet_events_total{gateway,event_type,state}          processed ignored failed dead
    callsheet_overdue{kind}                                   what a worker should have done long ago

Hides: how the numbers of several processes become one. Where PROMETHEUS_MULTIPROC_DIR names a folder, all processes
write theirs into it, and whichever is asked adds them up.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from http import HTTPStatus
from pathlib import Path

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from engine.errors import SettingError
from engine.observing import OTHER, Step

SHARED = "PROMETHEUS_MULTIPROC_DIR"
BUCKETS = (0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0)
_STATUSES = frozenset(f"http_{status.value}" for status in HTTPStatus)


class Metrics:
    """The numbers of one engine, in a `registry` of their own where none is given. Raises SettingError."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        if (shared := os.environ.get(SHARED)) and not Path(shared).is_dir():
            raise SettingError(SHARED, f"names {shared}, which is no folder; make it")
        self._registry = registry or CollectorRegistry()
        of_type = ("gateway", "request_type")
        self._calls = self._counter("calls", "Calls by what became of them.", *of_type, "outcome")
        self._recoveries = self._counter("recoveries", "Open calls that were taken up again.", *of_type, "outcome")
        self._attempts = self._counter("attempts", "Tries at a gateway.", "gateway", "class")
        self._webhooks = self._counter("webhooks", "Webhooks that came in.", "gateway", "outcome")
        self._events = self._counter("events", "Events by what became of them.", "gateway", "event_type", "state")
        self._exchanges = Histogram(
            "callsheet_exchange_seconds",
            "How long a gateway takes to answer.",
            of_type,
            buckets=BUCKETS,
            registry=self._registry,
        )
        self._notes: Mapping[str, Callable[[Step], object]] = {
            "send": lambda step: self._calls.labels(step.gateway, step.name, step.outcome).inc(),
            "recover": lambda step: self._recoveries.labels(step.gateway, step.name, step.outcome).inc(),
            "attempt": lambda step: self._attempts.labels(step.gateway, _class(step.outcome)).inc(),
            "exchange": lambda step: self._exchanges.labels(step.gateway, step.name).observe(step.seconds),
            "receive": lambda step: self._webhooks.labels(step.gateway, step.outcome).inc(),
            "process": lambda step: self._events.labels(step.gateway, step.name, step.outcome).inc(),
        }

    def _counter(self, name: str, said: str, *labels: str) -> Counter:
        return Counter(f"callsheet_{name}", said, labels, registry=self._registry)

    def began(self, step: Step) -> None:
        """Nothing is counted before it has ended."""

    def ended(self, step: Step, begun: None) -> None:
        """Count it."""
        del begun
        if note := self._notes.get(step.kind):
            note(step)

    def page(self, accept: str, overdue: Mapping[str, int]) -> tuple[bytes, str]:
        """All numbers in the format that `accept` asks for, and its media type; `overdue` is the store's own."""
        whole = CollectorRegistry()
        if os.environ.get(SHARED):
            MultiProcessCollector(whole)  # type: ignore[no-untyped-call]  # theirs
        else:
            whole.register(_All(self._registry))
        whole.register(_Overdue(overdue))
        encode, media_type = choose_encoder(accept)
        return encode(whole), media_type


class _All(Collector):
    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterable[Metric]:
        """What is registered."""
        return self._registry.collect()


class _Overdue(Collector):
    def __init__(self, found: Mapping[str, int]) -> None:
        self._found = found

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """One number for each kind of row."""
        said = "Rows that a worker should have done five minutes ago; nothing is counted past 100."
        family = GaugeMetricFamily("callsheet_overdue", said, labels=["kind"])
        for kind, number in self._found.items():
            family.add_metric([kind], number)
        yield family


def _class(kind: str) -> str:
    """An attempt's class; statuses that nobody has given a meaning to are one."""
    return kind if not kind.startswith("http_") or kind in _STATUSES else f"http_{OTHER}"
