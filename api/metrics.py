"""Metrics for Prometheus. In: the `statistics()` of the engine's parts, read when somebody asks. Nothing is counted
twice.

A part's statistics are a frozen dataclass; each of its fields is one metric, `tertulia_<part>_<field>`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import fields
from typing import Any

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

#: Under this name an application keeps its metrics, so that whoever serves it can add its own.
METRICS = "tertulia.metrics"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: What each field says. A field that is not here is shown as a gauge under its own name.
HELP: Mapping[tuple[str, str], str] = {
    ("directory", "active"): "Actors in memory.",
    ("directory", "parked"): "Actors without mail, waiting to be used or passivated.",
    ("directory", "quarantined"): "Keys that rest after repeated crashes.",
    ("directory", "queued"): "Messages in all mailboxes.",
    ("directory", "crashes"): "Crashes of actors.",
    ("directory", "dead_letters"): "Messages kept because they crashed their actor whenever they ran.",
    ("directory", "dropped_broadcasts"): "Ephemeral messages dropped by full mailboxes.",
    ("hub", "topics"): "Topics with subscribers.",
    ("hub", "subscriptions"): "Subscriptions to topics.",
    ("hub", "publications"): "Events published to topics with subscribers.",
    ("hub", "deliveries"): "Events handed to subscribers.",
    ("group_commit", "commits"): "Transactions committed.",
    ("group_commit", "units"): "Units of work committed.",
    ("group_commit", "rows"): "Rows committed.",
    ("group_commit", "waiting"): "Rows that wait to be written.",
    ("group_commit", "failures"): "Transactions that failed.",
    ("group_commit", "callback_errors"): "Units that were written and whose actor failed to hear of it.",
    ("group_commit", "failing_since"): "When commits began to fail, on the server's clock; 0 while they succeed.",
    ("reactor", "sockets"): "Sockets on the reactor.",
    ("reactor", "wakeups"): "Times the reactor woke up.",
    ("reactor", "events"): "Sockets that were ready.",
    ("gateway", "sessions"): "Cable sessions.",
    ("http", "connections"): "HTTP connections.",
    ("bus", "connected"): "1 while the bus between nodes is reachable.",
    ("bus", "published"): "Payloads handed to the bus.",
    ("bus", "dropped"): "Payloads dropped because too much waited for the bus.",
    ("bus", "received"): "Payloads that came over the bus.",
    ("bus", "losses"): "Times the connection to the bus was lost.",
    ("cluster", "nodes"): "Live nodes that this one knows of, itself included.",
    ("cluster", "gaps"): "Gaps in what came over the bus, filled from the store.",
    ("cluster", "forwarded"): "Commands sent to other nodes.",
    ("jobs", "running"): "Jobs that run here.",
    ("jobs", "waiting"): "Jobs that this node has taken and not begun.",
    ("jobs", "completed"): "Jobs that were completed here.",
    ("jobs", "failed"): "Attempts that failed here and are followed by another one.",
    ("jobs", "discarded"): "Jobs that were given up here.",
    ("jobs", "cancelled"): "Jobs that cancelled themselves here.",
    ("jobs", "snoozed"): "Attempts that were put off here, by the job or by its actor.",
    ("jobs", "lost"): "Jobs of workers that went away, found by this node.",
    ("jobs", "failures"): "Times this node could not do a worker's work, because the store was away.",
    ("jobs", "available"): "Jobs that are due and not begun, of all nodes.",
    ("jobs", "scheduled"): "Jobs that wait for their time, of all nodes.",
    ("jobs", "discarded_kept"): "Jobs that were given up and can be retried, of all nodes.",
    ("jobs", "lag_seconds"): "How long the job has waited that is due for longest, of all nodes.",
}

#: The fields that only ever rise.
COUNTERS = frozenset(
    {
        ("directory", "crashes"),
        ("directory", "dropped_broadcasts"),
        ("hub", "publications"),
        ("hub", "deliveries"),
        ("group_commit", "commits"),
        ("group_commit", "units"),
        ("group_commit", "rows"),
        ("group_commit", "failures"),
        ("group_commit", "callback_errors"),
        ("reactor", "wakeups"),
        ("reactor", "events"),
        ("bus", "published"),
        ("bus", "dropped"),
        ("bus", "received"),
        ("bus", "losses"),
        ("cluster", "gaps"),
        ("cluster", "forwarded"),
        ("jobs", "completed"),
        ("jobs", "failed"),
        ("jobs", "discarded"),
        ("jobs", "cancelled"),
        ("jobs", "snoozed"),
        ("jobs", "lost"),
        ("jobs", "failures"),
    }
)

Statistics = Callable[[], Any]
Families = Callable[[], Iterable[Metric]]


class Metrics(Collector):
    """All metrics of one server."""

    def __init__(self, parts: Mapping[str, Statistics]) -> None:
        self._parts = dict(parts)
        self._families: list[Families] = []
        #: Answers by route and status.
        self.requests: Counter[tuple[str, int]] = Counter()
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(self)

    def add(self, part: str, statistics: Statistics) -> None:
        """Show one more part's statistics."""
        self._parts[part] = statistics

    def add_families(self, families: Families) -> None:
        """Show metrics that have labels, made when somebody asks."""
        self._families.append(families)

    def render(self) -> bytes:
        """The text that Prometheus reads."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        for part, statistics in self._parts.items():
            now = statistics()
            for item in fields(now):
                yield _metric(part, item.name, getattr(now, item.name))
        answers = CounterMetricFamily("tertulia_http_requests", "Answers over HTTP.", labels=("route", "status"))
        for (route, status), count in self.requests.items():
            answers.add_metric((route, str(status)), count)
        yield answers
        for families in self._families:
            yield from families()


def _metric(part: str, name: str, value: float | None) -> Metric:
    description = HELP.get((part, name), f"{name} of the {part}.")
    kind = CounterMetricFamily if (part, name) in COUNTERS else GaugeMetricFamily
    return kind(f"tertulia_{part}_{name}", description, value=value or 0)
