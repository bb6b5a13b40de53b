"""The metrics of a service in the vocabulary that Prometheus, its alert rules and the dashboards rely on.

One collector reads a snapshot of the state at each scrape: no gauge can outlive what it speaks of, and there is
nothing to keep in step. A value that could not be had is absent, never NaN. Values never stand in labels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric

from driftline.events import WHOLE, Slice

LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STATES = ("ok", "breach", "nodata")


class Monitor(NamedTuple):
    """A rule, and which rows of the windows it judges: as labels only where these are not all."""

    rule: str
    slice: Slice = WHOLE


class PerformanceSample(NamedTuple):
    """A measure of the newest judged window of a version, or of a segment such as ``season=winter``."""

    version: str
    metric: str
    value: float | None
    low: float | None
    high: float | None
    samples: int
    segment: str = ""


class DriftSample(NamedTuple):
    """The distance of a feature, in the newest judged window of a version, and the threshold it is held against."""

    version: str
    feature: str
    method: str
    score: float | None
    threshold: float | None


class OutputDriftSample(NamedTuple):
    """The distance of a version's predictions or labels, and its threshold; ``output`` is prediction or label."""

    version: str
    output: str
    method: str
    score: float | None
    threshold: float | None


class TransitionCount(NamedTuple):
    """How many steps of a kind alerts took, and the alert of the newest one."""

    steps: int
    newest_alert: str


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
    monitors: Mapping[Monitor, str]  # to the state in the newest judged window
    latency: LatencyCounts | None
    task: str
    output_drift: Sequence[OutputDriftSample]
    drifted_features: Mapping[str, float]  # by version, share in [0, 1] of the features judged
    last_event_timestamp_seconds: float | None
    last_evaluation_timestamp_seconds: float | None
    failing: bool
    transitions: Mapping[str, TransitionCount]  # by kind
    muted: int
    pushed_windows: Mapping[str, int]  # by result
    retraining_runs: Mapping[tuple[str, str], int]  # that are over, by trigger and result
    retraining_open: Mapping[str, int]  # requests that are not over, by stage
    series_dropped: int = 0
    quiet_since_timestamp_seconds: float | None = None  # the newest event, or the start of the service
    breaches: Mapping[Monitor, int] = {}  # to the judged windows in a row in which it is in breach, as alerts count
    poisoned: int = 0  # events that the worker failed on, set aside
    segments: Sequence[PerformanceSample] = ()


class ServiceMetrics(NamedTuple):
    """All that is exposed of a service."""

    version: str
    models: Sequence[ModelMetrics]
    notifications: Mapping[str, Mapping[str, int]]  # by result, then channel
    waiting: Mapping[str, int]  # by channel
    failed_attempts: Mapping[str, int]


class ServiceCollector:
    """A prometheus_client collector over a snapshot.

    ``most_series`` bounds how many series there are: features that would be too many are left out; see `within`.
    """

    def __init__(self, snapshot: Callable[[], ServiceMetrics], most_series: int) -> None:
        self._snapshot, self._most_series = snapshot, most_series

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families of this moment."""
        snapshot = self._snapshot()
        models = within(snapshot.models, self._most_series)
        yield from _info(snapshot.version, models)
        yield from _events(models)
        yield from _performance(models)
        yield from _drift(models)
        yield from _alerts(models)
        yield from _retraining(models)
        yield _latency(models)
        yield from _notifications(snapshot)

    def describe(self) -> Iterable[Metric]:
        """Nothing in advance: registering must not read the state."""
        return ()


# ---- the budget of series -------------------------------------------------------------------------------------------


def within(models: Sequence[ModelMetrics], most_series: int) -> list[ModelMetrics]:
    """Leave out features and segments until there are at most so many series, and say how many were left out.

    What is about neither stays, even if it is more. The rest is shared equally; what a model does not need of its share
    goes to the others. A model keeps its segments, by name, and then the features furthest beyond their threshold: in
    steps of a quarter of it, and by name within a step, so that small changes do not make series come and go.
    """
    needed = [_series_of_features(one) + _series_of(one.segments) for one in models]
    left = most_series - sum(_other_series(one) for one in models)
    if sum(needed) <= left:
        return list(models)
    shares = _shares(needed, max(left, 0))
    return [
        one if need <= share else _limited(one, share) for one, need, share in zip(models, needed, shares, strict=True)
    ]


def _shares(needed: Sequence[int], budget: int) -> list[int]:
    shares = [0] * len(needed)
    open_ones = sorted(range(len(needed)), key=lambda place: needed[place])
    while open_ones:
        place = open_ones.pop(0)
        shares[place] = min(needed[place], budget // (len(open_ones) + 1))
        budget -= shares[place]
    return shares


def _limited(model: ModelMetrics, share: int) -> ModelMetrics:
    series: dict[str, int] = dict.fromkeys(model.missing, 1)
    worst: dict[str, float] = dict.fromkeys(model.missing, 0.0)
    for sample in model.drift:
        series[sample.feature] = series.get(sample.feature, 0) + _present(sample.score, sample.threshold)
        beyond = (sample.score or 0.0) / sample.threshold if sample.threshold else 0.0
        worst[sample.feature] = max(worst.get(sample.feature, 0.0), beyond)
    of_segments: dict[str, int] = {}
    for one in model.segments:
        of_segments[one.segment] = of_segments.get(one.segment, 0) + _series_of([one])
    told, room = set(), share
    for segment in sorted(of_segments):
        if of_segments[segment] > room:
            break
        told.add(segment)
        room -= of_segments[segment]
    kept = set()
    for feature in sorted(series, key=lambda name: (-math.floor(min(worst[name], 1e6) * 4), name)):
        if series[feature] > room:
            break
        kept.add(feature)
        room -= series[feature]
    return model._replace(
        drift=[sample for sample in model.drift if sample.feature in kept],
        missing={name: value for name, value in model.missing.items() if name in kept},
        segments=[sample for sample in model.segments if sample.segment in told],
        series_dropped=sum(number for name, number in series.items() if name not in kept)
        + sum(number for name, number in of_segments.items() if name not in told),
    )


def _series_of_features(model: ModelMetrics) -> int:
    return len(model.missing) + sum(_present(one.score, one.threshold) for one in model.drift)


def _other_series(model: ModelMetrics) -> int:
    per_measure = _series_of(model.performance)
    outputs = sum(_present(one.score, one.threshold) for one in model.output_drift)
    latency = len(LATENCY_BUCKETS_SECONDS) + 3 if model.latency is not None else 0
    mappings = (
        model.predictions,
        model.predictions,  # once more in the model's info
        model.invalid,
        model.alerts,
        model.breaches,
        model.transitions,
        model.drifted_features,
        model.pushed_windows,
        model.retraining_runs,
        model.retraining_open,
    )
    mapped = sum(len(one) for one in mappings)
    return per_measure + outputs + latency + mapped + len(STATES) * len(model.monitors) + _FEW


def _series_of(samples: Iterable[PerformanceSample]) -> int:
    return sum(1 + _present(one.value, one.low, one.high) for one in samples)


def _present(*values: float | None) -> int:
    return sum(value is not None for value in values)


_FEW = 15  # families with one series a model


# ---- families -------------------------------------------------------------------------------------------------------


def _info(version: str, models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    build = GaugeMetricFamily("driftline_build_info", "The release of Driftline; always 1.", labels=("version",))
    build.add_metric((version,), 1)
    info = GaugeMetricFamily(
        "driftline_model_info", "The versions and the task of a model; always 1.", labels=("model", "task", "version")
    )
    for one in models:
        for name in one.predictions:
            info.add_metric((one.model, one.task, name), 1)
    yield from (build, info)


def _events(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    predictions = CounterMetricFamily(
        "driftline_predictions", "Predictions processed, each id once.", labels=("model", "version")
    )
    invalid = CounterMetricFamily(
        "driftline_invalid_events", "Events refused or set aside, by reason.", labels=("model", "reason")
    )
    pushed = CounterMetricFamily(
        "driftline_remote_write_windows", "Windows pushed by remote write.", labels=("model", "result")
    )
    for one in models:
        for result, number in one.pushed_windows.items():
            pushed.add_metric((one.model, result), number)
        for version, number in one.predictions.items():
            predictions.add_metric((one.model, version), number)
        for reason, number in one.invalid.items():
            invalid.add_metric((one.model, reason), number)
    yield from (predictions, invalid, pushed)
    yield _counter("driftline_labels", "First labels of predictions.", models, lambda one: one.labels)
    yield _counter(
        "driftline_label_corrections", "Labels that replaced another.", models, lambda one: one.corrected_labels
    )
    yield _counter(
        "driftline_duplicate_events", "Events that repeated what was known.", models, lambda one: one.duplicates
    )
    yield _counter(
        "driftline_poisoned_events",
        "Accepted events that the worker failed on and set aside.",
        models,
        lambda one: one.poisoned,
    )
    yield _gauge(
        "driftline_labels_waiting", "Labels whose prediction has not come.", models, lambda one: one.waiting_labels
    )
    yield _gauge(
        "driftline_ingest_queue_events",
        "Events that are durable and wait to be processed.",
        models,
        lambda one: one.queued_events,
    )
    yield _gauge(
        "driftline_last_event_timestamp_seconds",
        "When the newest event that is processed arrived, wall-clock time.",
        models,
        lambda one: one.last_event_timestamp_seconds,
    )
    yield _gauge(
        "driftline_quiet_since_timestamp_seconds",
        "Since when no event has arrived that could have: the newest one, or the start of the service after it.",
        models,
        lambda one: one.quiet_since_timestamp_seconds,
    )
    yield _gauge(
        "driftline_worker_failing",
        "1 while the events of a model cannot be processed.",
        models,
        lambda one: float(one.failing),
    )


def _performance(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    labels = ("model", "version", "metric", "segment", "kind")
    value = GaugeMetricFamily("driftline_performance", "Measure of the newest judged window.", labels=labels)
    low = GaugeMetricFamily("driftline_performance_ci_lower", "Lower end of its 95 % interval.", labels=labels)
    high = GaugeMetricFamily("driftline_performance_ci_upper", "Upper end of its 95 % interval.", labels=labels)
    samples = GaugeMetricFamily("driftline_performance_samples", "Labelled rows it rests on.", labels=labels)
    for one in models:
        for sample in (*one.performance, *one.segments):
            key = (one.model, sample.version, sample.metric, sample.segment, "actual")
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
    yield _gauge(
        "driftline_last_evaluation_timestamp_seconds",
        "When a window was judged last, wall-clock time.",
        models,
        lambda one: one.last_evaluation_timestamp_seconds,
    )


def _drift(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    labels = ("model", "version", "feature", "method")
    score = GaugeMetricFamily(
        "driftline_drift_score",
        "Distance from the reference; at most its threshold where it is not significant.",
        labels=labels,
    )
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
    yield _gauge(
        "driftline_series_dropped",
        "Series of features and segments left out to stay within prometheus.max_series.",
        models,
        lambda one: one.series_dropped,
    )
    ratio = GaugeMetricFamily(
        "driftline_drifted_features_ratio", "Share of the judged features that drifted.", labels=("model", "version")
    )
    for one in models:
        for version, share in one.drifted_features.items():
            ratio.add_metric((one.model, version), share)
    yield ratio
    for output in ("prediction", "label"):
        yield from _output_drift(models, output)


def _output_drift(models: Sequence[ModelMetrics], output: str) -> Iterator[Metric]:
    labels = ("model", "version", "method")
    name, words = f"driftline_{output}_drift", f"Distance of the {output}s from the reference"
    score = GaugeMetricFamily(
        f"{name}_score", f"{words}; at most its threshold where it is not significant.", labels=labels
    )
    threshold = GaugeMetricFamily(f"{name}_threshold", f"{words}: the smallest that matters.", labels=labels)
    for one in models:
        for sample in one.output_drift:
            if sample.output == output:
                for family, number in ((score, sample.score), (threshold, sample.threshold)):
                    if number is not None:
                        family.add_metric((one.model, sample.version, sample.method), number)
    yield from (score, threshold)


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
                labels = _labels(one.model, monitor) | {"state": name}
                state.add_sample("driftline_monitor_state", labels, float(name == current))
    breaches = GaugeMetricFamily(
        "driftline_monitor_breaches",
        "Judged windows in a row in which a rule is in breach; its alert fires from its `for` on.",
        labels=("model", "monitor"),
    )
    for one in models:
        for monitor, number in one.breaches.items():
            breaches.add_sample("driftline_monitor_breaches", _labels(one.model, monitor), number)
    yield from (alerts, state, breaches)
    yield _gauge(
        "driftline_alerts_muted",
        "Firing alerts that are silenced, explained by another, or acknowledged.",
        models,
        lambda one: one.muted,
    )
    transitions = CounterMetricFamily(
        "driftline_alert_transitions", "Steps in the lives of alerts, by kind.", labels=("model", "kind")
    )
    for one in models:
        for kind, found in one.transitions.items():
            newest = Exemplar({"alert_id": found.newest_alert}, 1.0)
            transitions.add_metric((one.model, kind), found.steps, exemplar=newest)
    yield transitions


def _labels(model: str, monitor: Monitor) -> dict[str, str]:
    return {"model": model, "monitor": monitor.rule, **monitor.slice.labels}


def _retraining(models: Sequence[ModelMetrics]) -> Iterator[Metric]:
    runs = CounterMetricFamily(
        "driftline_retraining_runs", "Requests for challengers that are over.", labels=("model", "trigger", "result")
    )
    going_on = GaugeMetricFamily(
        "driftline_retraining_open", "Requests for challengers that are not over.", labels=("model", "stage")
    )
    for one in models:
        for (trigger, result), number in one.retraining_runs.items():
            runs.add_metric((one.model, trigger, result), number)
        for stage, number in one.retraining_open.items():
            going_on.add_metric((one.model, stage), number)
    yield from (runs, going_on)


def _notifications(snapshot: ServiceMetrics) -> Iterator[Metric]:
    results = CounterMetricFamily(
        "driftline_notifications", "Messages by what became of them.", labels=("channel", "result")
    )
    for result, channels in snapshot.notifications.items():
        for channel, number in channels.items():
            results.add_metric((channel, result), number)
    failures = CounterMetricFamily(
        "driftline_notification_failures", "Attempts that failed; they are repeated.", labels=("channel",)
    )
    for channel, number in snapshot.failed_attempts.items():
        failures.add_metric((channel,), number)
    waiting = GaugeMetricFamily(
        "driftline_notifications_waiting", "Messages that a channel has not taken yet.", labels=("channel",)
    )
    for channel, number in snapshot.waiting.items():
        waiting.add_metric((channel,), number)
    yield from (results, failures, waiting)


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
