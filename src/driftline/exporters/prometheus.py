"""Expose the metrics of a service under the names that Prometheus, its alert rules and the dashboards rely on.

One collector reads a snapshot of the state at each scrape, so no gauge outlives what it measures and nothing has to be
kept up to date. A value that is not known is absent, never NaN. Values never appear in labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence

from prometheus_client.core import CounterMetricFamily, Exemplar, GaugeMetricFamily, HistogramMetricFamily, Metric

from driftline.exporters.samples import LATENCY_BUCKETS_SECONDS, STATES, ModelMetrics, Monitor, ServiceMetrics
from driftline.exporters.series_budget import within


class ServiceCollector:
    """A prometheus_client collector over a snapshot.

    There are at most ``most_series`` series: features and segments beyond that are left out; see `within`.
    """

    def __init__(self, snapshot: Callable[[], ServiceMetrics], most_series: int) -> None:
        self._snapshot, self._most_series = snapshot, most_series

    def collect(self) -> Iterator[Metric]:
        """Yield the present metric families."""
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
        """Return nothing, because registering must not read the state."""
        return ()


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
        "driftline_duplicate_events", "Events that repeated a known one.", models, lambda one: one.duplicates
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
        "Events that are stored durably and wait to be processed.",
        models,
        lambda one: one.queued_events,
    )
    yield _gauge(
        "driftline_last_event_timestamp_seconds",
        "When the newest processed event arrived, wall-clock time.",
        models,
        lambda one: one.last_event_timestamp_seconds,
    )
    yield _gauge(
        "driftline_quiet_since_timestamp_seconds",
        "Since when no event has arrived: the newest event, or the start of the service if that is later.",
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
    samples = GaugeMetricFamily("driftline_performance_samples", "Labelled rows that it rests on.", labels=labels)
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
        "When a window was last judged, wall-clock time.",
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
    threshold = GaugeMetricFamily(
        "driftline_drift_threshold", "Threshold of the distance; a smaller one is not drift.", labels=labels
    )
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
    threshold = GaugeMetricFamily(
        f"{name}_threshold", f"{words}: the threshold; a smaller one is not drift.", labels=labels
    )
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
        "Judged windows in a row in which a rule is in breach; its alert fires when they reach `for`.",
        labels=("model", "monitor"),
    )
    for one in models:
        for monitor, number in one.breaches.items():
            breaches.add_sample("driftline_monitor_breaches", _labels(one.model, monitor), number)
    yield from (alerts, state, breaches)
    yield _gauge(
        "driftline_alarm_budget",
        "Budget of the detector in false alarms a year, from alerts.budget. Absent if the detector is off.",
        models,
        lambda one: one.alarm_budget,
    )
    yield _counter("driftline_alarms", "Alarms of the detector, right or false.", models, lambda one: one.alarms)
    yield _gauge(
        "driftline_alerts_muted",
        "Firing alerts that are silenced, explained by another, or acknowledged.",
        models,
        lambda one: one.muted,
    )
    transitions = CounterMetricFamily(
        "driftline_alert_transitions", "Transitions of alerts, by kind.", labels=("model", "kind")
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
        "driftline_retraining_runs", "Finished requests for challengers.", labels=("model", "trigger", "result")
    )
    going_on = GaugeMetricFamily(
        "driftline_retraining_open", "Unfinished requests for challengers.", labels=("model", "stage")
    )
    for one in models:
        for (trigger, result), number in one.retraining_runs.items():
            runs.add_metric((one.model, trigger, result), number)
        for stage, number in one.retraining_open.items():
            going_on.add_metric((one.model, stage), number)
    yield from (runs, going_on)


def _notifications(snapshot: ServiceMetrics) -> Iterator[Metric]:
    results = CounterMetricFamily(
        "driftline_notifications", "Notifications, by their result.", labels=("channel", "result")
    )
    for result, channels in snapshot.notifications.items():
        for channel, number in channels.items():
            results.add_metric((channel, result), number)
    failures = CounterMetricFamily(
        "driftline_notification_failures", "Failed attempts to notify; they are repeated.", labels=("channel",)
    )
    for channel, number in snapshot.failed_attempts.items():
        failures.add_metric((channel,), number)
    waiting = GaugeMetricFamily(
        "driftline_notifications_waiting", "Notifications that a channel has not accepted yet.", labels=("channel",)
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
