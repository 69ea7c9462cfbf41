"""What the server counts, as Prometheus reads it.

The hot path adds integers; prometheus_client, imported when /metrics is asked for, only writes them out.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

# upper ends in seconds; the last, infinite one is understood
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


@dataclass
class Times:
    """A histogram of durations."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(BUCKETS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(BUCKETS, seconds)] += 1
        self.total += seconds


@dataclass
class Metrics:
    """Counts since the start. Keys of `requests` are (version, route, code), of `times` (version, route)."""

    name: str = ""
    began: float = field(default_factory=time.time)
    requests: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    times: dict[tuple[str, str], Times] = field(default_factory=dict)
    predictions: Counter[tuple[str, str]] = field(default_factory=Counter)  # (version, role)
    swaps: Counter[tuple[str, str]] = field(default_factory=Counter)  # (role, outcome)
    dropped: int = 0  # rows that the shadow had no time for, or failed at
    feedback: Counter[str] = field(default_factory=Counter)  # by outcome

    def request(self, version: str, route: str, code: int, seconds: float) -> None:
        """Count one answered request."""
        self.requests[version, route, code] += 1
        times = self.times.get((version, route))
        if times is None:
            times = self.times[version, route] = Times()
        times.add(seconds)


# help, names of labels after the model's, and (version, label, …) → value
Gauge = tuple[str, tuple[str, ...], Mapping[tuple[str, ...], float]]
Gauges = Mapping[str, Gauge]


def text(metrics: Metrics, gauges: Gauges) -> tuple[bytes, str]:
    """The exposition text and its content type."""
    from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
    from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    registry.register(_Collector(metrics, gauges))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Collector:
    """The shape in which prometheus_client takes values that others keep."""

    def __init__(self, metrics: Metrics, gauges: Gauges) -> None:
        self.metrics, self.gauges = metrics, gauges

    def collect(self) -> Iterator[Any]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        metrics, name = self.metrics, self.metrics.name
        labels = ("model_name", "model_version")

        def counter(key: str, told: str, more: tuple[str, ...], counts: Mapping[Any, int]) -> Any:
            family = CounterMetricFamily(key, told, labels=more)
            for values, count in sorted(counts.items()):
                family.add_metric([str(value) for value in values], count)
            return family

        requests = {(name, version, route, code): n for (version, route, code), n in metrics.requests.items()}
        yield counter("keepfit_requests", "Requests answered.", (*labels, "route", "code"), requests)
        family = HistogramMetricFamily(
            "keepfit_request_duration_seconds", "From the whole request to its answer.", labels=(*labels, "route")
        )
        for (version, route), times in sorted(metrics.times.items()):
            family.add_metric([name, version, route], buckets=_cumulative(times.counts), sum_value=times.total)
        yield family
        rows = {
            (name, version, role): n for (version, role), n in list(metrics.predictions.items())
        }  # the shadow's thread counts too
        yield counter("keepfit_predictions", "Rows predicted.", (*labels, "role"), rows)
        yield counter("keepfit_swaps", "Versions put to work, or refused.", ("role", "outcome"), metrics.swaps)
        labelled = {(outcome,): n for outcome, n in metrics.feedback.items()}
        yield counter("keepfit_feedback", "Labels received.", ("outcome",), labelled)
        dropped = "Rows that the shadow had no time for, or failed at."
        yield counter("keepfit_shadow_dropped", dropped, (), {(): metrics.dropped})
        for key, (told, more, values) in self.gauges.items():
            gauge = GaugeMetricFamily(key, told, labels=(*labels, *more))
            for its, value in values.items():
                gauge.add_metric([name, *its], value)
            yield gauge


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    total, found = 0, []
    for end, count in zip((*BUCKETS, float("inf")), counts, strict=True):
        total += count
        found.append(("+Inf" if end == float("inf") else str(end), float(total)))
    return found
