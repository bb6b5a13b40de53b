"""A snapshot of what is exposed about a service and its models, before it becomes metric families."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from driftline.events import WHOLE, Slice

LATENCY_BUCKETS_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
STATES = ("ok", "breach", "nodata")


class Monitor(NamedTuple):
    """A rule, and the slice of a window's rows that it judges, which becomes a label unless it is all of them."""

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
    """The distance of a feature in the newest judged window of a version, and the threshold to compare it with."""

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
    """The number of alerts' transitions of one kind, and the alert of the newest one."""

    steps: int
    newest_alert: str


class LatencyCounts(NamedTuple):
    """Latencies of predictions: cumulative counts at the upper edges of buckets, their number, their sum in seconds."""

    at_most: Sequence[int]
    total: int
    sum_seconds: float


class ModelMetrics(NamedTuple):
    """Everything that is exposed about one model."""

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
    breaches: Mapping[Monitor, int] = {}  # to the number of judged windows in a row that are in breach
    poisoned: int = 0  # events that the worker failed on, set aside
    segments: Sequence[PerformanceSample] = ()
    alarm_budget: float | None = None  # false alarms a year that the detector may raise; None if it is off
    alarms: int = 0  # that the detector has raised


class ServiceMetrics(NamedTuple):
    """Everything that is exposed about a service."""

    version: str
    models: Sequence[ModelMetrics]
    notifications: Mapping[str, Mapping[str, int]]  # by result, then channel
    waiting: Mapping[str, int]  # by channel
    failed_attempts: Mapping[str, int]
