"""What is exposed of a service and its models at one moment, before it becomes families of Prometheus."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

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
    alarm_budget: float | None = None  # alarms of the detector that may be false, a year; None where it is off
    alarms: int = 0  # that the detector has made


class ServiceMetrics(NamedTuple):
    """All that is exposed of a service."""

    version: str
    models: Sequence[ModelMetrics]
    notifications: Mapping[str, Mapping[str, int]]  # by result, then channel
    waiting: Mapping[str, int]  # by channel
    failed_attempts: Mapping[str, int]
