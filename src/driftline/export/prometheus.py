"""The metrics of a service in the vocabulary that Prometheus, its alert rules and the dashboards rely on.

One collector reads a snapshot of the state at each scrape: no gauge can outlive what it speaks of, and there is
nothing to keep in step. A value that could not be had is absent, never NaN. Values never stand in labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STATES = ("ok", "breach", "nodata")


class PerformanceSample(NamedTuple):
    """A measure of the newest judged window of a version."""

    version: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    samples: int


class DriftSample(NamedTuple):
    """The distance of a feature, in the newest judged window of a version, and the threshold it is held against."""

    version: str
    feature: str
    method: str
    score: float | None
    threshold: float | None


class LatencyCounts(NamedTuple):
    """Predictions by latency: cumulative counts at each bucket's upper edge, their number, and their sum in seconds."""

    at_most: Sequence[int]
    total: int
    sum_seconds: float


class ModelMetrics(NamedTuple):
    """All that is exposed of one model."""

    model: str
    predictions: Mapping[str, int]  # by version
    labels: int
    corrected_labels: int
    duplicates: int
    invalid: Mapping[str, int]  # by reason
    waiting_labels: int
    queued_events: int
    performance: Sequence[PerformanceSample]
    drift: Sequence[DriftSample]
    missing: Mapping[str, float]  # by feature, share in [0, 1]
    label_coverage: float | None
    window_end_timestamp_seconds: float | None
    alerts: Mapping[str, int]  # firing, by severity
    monitors: Mapping[str, str]  # rule to its state in the newest judged window
    latency: LatencyCounts | None


class ServiceMetrics(NamedTuple):
    """All that is exposed of a service."""

    models: Sequence[ModelMetrics]
    delivered: Mapping[str, int]  # messages, by channel
    waiting: Mapping[str, int]


class ServiceCollector:
    """A prometheus_client collector over a snapshot."""

    def __init__(self, snapshot: Callable[[], ServiceMetrics]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families of this moment."""
        snapshot = self._snapshot()
        yield from _events(snapshot.models)
        yield from _performance(snapshot.models)
        yield from _drift(snapshot.models)
        yield from _alerts(snapshot.models)
        yield _latency(snapshot.models)
        yield from _notifications(snapshot)

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: registering must not read the state."""
        return ()


def _events(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    predictions = CounterMetricFamily(
        "driftline_predictions", "Predictions worked in, each id once.", labels=("model", "version")
    )
    invalid = CounterMetricFamily(
        "driftline_invalid_events", "Events refused or set aside, by reason.", labels=("model", "reason")
    )
    for one in models:
        for version, number in one.predictions.items():
            predictions.add_metric((one.model, version), number)
        for reason, number in one.invalid.items():
            invalid.add_metric((one.model, reason), number)
    yield predictions
    yield invalid
    yield _counter("driftline_labels", "First labels of predictions.", models, lambda one: one.labels)
    yield _counter(
        "driftline_label_corrections", "Labels that replaced another.", models, lambda one: one.corrected_labels
    )
    yield _counter(
        "driftline_duplicate_events", "Events that repeated what was known.", models, lambda one: one.duplicates
    )
    yield _gauge(
        "driftline_labels_waiting", "Labels whose prediction has not come.", models, lambda one: one.waiting_labels
    )
    yield _gauge(
        "driftline_ingest_queue_events",
        "Events that are durable and wait to be worked in.",
        models,
        lambda one: one.queued_events,
    )


def _performance(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    labels = ("model", "version", "metric", "segment", "kind")
    value = GaugeMetricFamily("driftline_performance", "Measure of the newest judged window.", labels=labels)
    low = GaugeMetricFamily("driftline_performance_ci_lower", "Lower end of its 95 % interval.", labels=labels)
    high = GaugeMetricFamily("driftline_performance_ci_upper", "Upper end of its 95 % interval.", labels=labels)
    samples = GaugeMetricFamily("driftline_performance_samples", "Labelled rows it rests on.", labels=labels)
    for one in models:
        for sample in one.performance:
            key = (one.model, sample.version, sample.metric, "", "actual")
            samples.add_metric(key, sample.samples)
            for family, number in ((value, sample.value), (low, sample.low), (high, sample.high)):
                if number is not None:
                    family.add_metric(key, number)
    yield from (value, low, high, samples)
    yield _gauge(
        "driftline_label_coverage_ratio",
        "Share of the newest judged window's predictions that are labelled.",
        models,
        lambda one: one.label_coverage,
    )
    yield _gauge(
        "driftline_window_end_timestamp_seconds",
        "Event time at which the newest judged window ended.",
        models,
        lambda one: one.window_end_timestamp_seconds,
    )


def _drift(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    labels = ("model", "version", "feature", "method")
    score = GaugeMetricFamily("driftline_drift_score", "Distance from the reference.", labels=labels)
    threshold = GaugeMetricFamily("driftline_drift_threshold", "Smallest distance that matters.", labels=labels)
    missing = GaugeMetricFamily(
        "driftline_feature_missing_ratio", "Share of a feature's values that are missing.", labels=("model", "feature")
    )
    for one in models:
        for sample in one.drift:
            key = (one.model, sample.version, sample.feature, sample.method)
            if sample.threshold is not None:
                threshold.add_metric(key, sample.threshold)
            if sample.score is not None:
                score.add_metric(key, sample.score)
        for feature, share in one.missing.items():
            missing.add_metric((one.model, feature), share)
    yield from (score, threshold, missing)


def _alerts(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    alerts = GaugeMetricFamily("driftline_alerts", "Alerts that are firing.", labels=("model", "severity"))
    state = GaugeMetricFamily(
        "driftline_monitor_state",
        "1 for the state that a rule is in, 0 for the others.",
        labels=("model", "monitor", "state"),
    )
    for one in models:
        for severity, number in one.alerts.items():
            alerts.add_metric((one.model, severity), number)
        for monitor, current in one.monitors.items():
            for name in STATES:
                state.add_metric((one.model, monitor, name), float(name == current))
    yield from (alerts, state)


def _notifications(snapshot: ServiceMetrics) -> Iterator[Metric]:
    delivered = CounterMetricFamily(
        "driftline_notifications", "Messages that a channel took.", labels=("channel", "result")
    )
    waiting = GaugeMetricFamily(
        "driftline_notifications_waiting", "Messages that a channel has not taken yet.", labels=("channel",)
    )
    for channel, number in snapshot.delivered.items():
        delivered.add_metric((channel, "delivered"), number)
    for channel, number in snapshot.waiting.items():
        waiting.add_metric((channel,), number)
    yield from (delivered, waiting)


def _latency(models: Sequence[ModelMetrics]) -> Metric:
    family = HistogramMetricFamily(
        "driftline_prediction_latency_seconds", "How long the model took to predict.", labels=("model",)
    )
    edges = [str(edge) for edge in LATENCY_BUCKETS_SECONDS]
    for one in models:
        if one.latency is not None:
            buckets = [*zip(edges, map(float, one.latency.at_most), strict=True), ("+Inf", float(one.latency.total))]
            family.add_metric((one.model,), buckets, one.latency.sum_seconds)
    return family


def _counter(
    name: str, text: str, models: Sequence[ModelMetrics], number: Callable[[ModelMetrics], float]
) -> CounterMetricFamily:
    family = CounterMetricFamily(name, text, labels=("model",))
    for one in models:
        family.add_metric((one.model,), number(one))
    return family


def _gauge(
    name: str, text: str, models: Sequence[ModelMetrics], number: Callable[[ModelMetrics], float | None]
) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=("model",))
    for one in models:
        if (value := number(one)) is not None:
            family.add_metric((one.model,), value)
    return family
