"""Reads the state into the snapshot that `driftline.exporters.prometheus` exposes."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

import msgspec
import numpy as np

from driftline.config.load import Config
from driftline.events import WHOLE, Slice
from driftline.exporters.prometheus import (
    LATENCY_BUCKETS_SECONDS,
    DriftSample,
    LatencyCounts,
    ModelMetrics,
    Monitor,
    OutputDriftSample,
    PerformanceSample,
    ServiceMetrics,
    TransitionCount,
)
from driftline.monitoring.summary import WindowSummary
from driftline.profiles import NumericColumn
from driftline.retrain.request import Stage
from driftline.rules import Rule, Severity, drifted_ratio
from driftline.sketches import decode
from driftline.store.inbox import POISONED, Inbox
from driftline.store.outbox import Outbox
from driftline.store.retraining import Retraining
from driftline.store.state import AlertRow, State, Work

_summary = msgspec.msgpack.Decoder(WindowSummary)


RESULTS = ("delivered", "refused", "expired")


def snapshot(
    config: Config,
    tasks: Mapping[str, str],
    state: State,
    inbox: Inbox,
    problems: Mapping[str, str],
    started: datetime,
) -> ServiceMetrics:
    """Read everything that is exposed, as of one moment.

    ``problems`` are of models that cannot be worked in, ``started`` is when the service did, wall-clock time.
    """
    queued = inbox.waiting_events()
    with state.read() as read:
        outbox, requests = Outbox(read.connection), Retraining(read.connection).counts()
        return ServiceMetrics(
            version=importlib.metadata.version("driftline"),
            models=[
                _model(
                    read,
                    name,
                    tasks[name],
                    queued.get(name, 0),
                    name in problems,
                    requests.get(name, {}),
                    started,
                    one.rules,
                )
                for name, one in config.models.items()
            ],
            notifications={result: outbox.count(result) for result in RESULTS},
            waiting=outbox.count("waiting"),
            failed_attempts=outbox.count_failed_attempts(),
        )


def _model(
    read: Work,
    model: str,
    task: str,
    queued: int,
    failing: bool,
    requests: Mapping[tuple[str, str], int],
    started: datetime,
    rules: Sequence[Rule],
) -> ModelMetrics:
    counters = read.counters(model)
    stored = read.model(model)
    newest = read.newest_settled_start(model)
    whole: WindowSummary | None = None
    summaries: list[WindowSummary] = []  # of the versions
    segments: list[WindowSummary] = []
    monitors: dict[Monitor, str] = {}
    if newest is not None:
        decoded = {slice: _summary.decode(body) for slice, body in read.summaries_of(model, newest).items()}
        whole = decoded.pop(WHOLE, None)
        segments = [one for slice, one in decoded.items() if slice.segment is not None]
        summaries = [one for slice, one in decoded.items() if slice.segment is None]
        monitors = {Monitor(one.rule, one.slice): one.state for one in read.judgements(model, window_start=newest)}
    firing = read.alerts(model, status="firing")
    evaluated = read.newest_judgement(model)
    last_arrival = stored.last_arrival if stored is not None else None
    ratios = {one.version: drifted_ratio(one.drift) for one in summaries}
    return ModelMetrics(
        model=model,
        predictions={key: value for (name, key), value in counters.items() if name == "predictions"},
        labels=counters.get(("labels", ""), 0),
        corrected_labels=counters.get(("corrected_labels", ""), 0),
        duplicates=sum(value for (name, _), value in counters.items() if name == "duplicate_events"),
        invalid={key: value for (name, key), value in counters.items() if name == "invalid_events"},
        waiting_labels=read.count_waiting_labels(model),
        queued_events=queued,
        performance=[
            PerformanceSample(one.version, metric, view.value, view.low, view.high, view.n)
            for one in summaries
            for metric, view in one.performance.items()
        ],
        segments=[
            PerformanceSample("", metric, view.value, view.low, view.high, view.n, str(one.segment))
            for one in segments
            for metric, view in one.performance.items()
        ],
        drift=[
            DriftSample(one.version, feature, view.measure, view.beyond_chance, view.threshold)
            for one in summaries
            for feature, view in one.drift.items()
        ],
        missing={
            feature: view.missing_current
            for feature, view in (whole.drift if whole else {}).items()
            if view.missing_current is not None
        },
        label_coverage=whole.coverage.value if whole else None,
        window_end_timestamp_seconds=whole.end.timestamp() if whole else None,
        alerts={severity.value: sum(row.severity == severity for row in firing) for severity in Severity},
        monitors=monitors,
        breaches={
            Monitor(rule.name, slice): breaches_of(read, model, rule, firing, slice)
            for rule in rules
            for slice in _slices_of(rule, monitors, firing)
        },
        latency=_latency(stored.latency if stored else None),
        task=task,
        output_drift=[
            OutputDriftSample(one.version, output, view.measure, view.beyond_chance, view.threshold)
            for one in summaries
            for output, view in (("prediction", one.prediction_drift), ("label", one.label_drift))
            if view is not None
        ],
        drifted_features={version: value for version, value in ratios.items() if value is not None},
        last_event_timestamp_seconds=last_arrival.timestamp() if last_arrival else None,
        quiet_since_timestamp_seconds=max(last_arrival or started, started).timestamp(),
        last_evaluation_timestamp_seconds=evaluated.timestamp() if evaluated else None,
        failing=failing,
        transitions={kind: TransitionCount(n, alert) for kind, (n, alert, _) in read.count_transitions(model).items()},
        pushed_windows={key: value for (name, key), value in counters.items() if name == "pushed_windows"},
        retraining_runs={(trigger, stage): n for (trigger, stage), n in requests.items() if Stage(stage).over},
        retraining_open=_open_requests(requests),
        poisoned=sum(value for (name, _), value in counters.items() if name == POISONED),
        muted=sum(bool(row.muted or row.acknowledged_by) for row in firing),
    )


def _slices_of(rule: Rule, monitors: Iterable[Monitor], firing: Sequence[AlertRow]) -> list[Slice]:
    """The slices that a rule has judged in the newest judged window, or has a firing alert of."""
    if rule.judges(WHOLE):
        return [WHOLE]
    judged = {one.slice for one in monitors if one.rule == rule.name}
    return sorted(judged | {row.slice for row in firing if row.rule == rule.name})


def breaches_of(read: Work, model: str, rule: Rule, firing: Sequence[AlertRow], slice: Slice = WHOLE) -> int:
    """How many judged windows in a row a rule is in breach, as its alert counts them: `for` and more while it fires."""
    started = next((row.started_at for row in firing if (row.rule, row.slice) == (rule.name, slice)), None)
    found = read.breaches_in_a_row(model, rule.name, slice=slice, since=started)
    return min(found, rule.for_windows - 1) if started is None else max(found, rule.for_windows)


def _open_requests(requests: Mapping[tuple[str, str], int]) -> dict[str, int]:
    found = Counter[str]()
    for (_, stage), number in requests.items():
        if not Stage(stage).over:
            found[stage] += number
    return dict(found)


def _latency(encoded: bytes | None) -> LatencyCounts | None:
    column = decode(encoded, NumericColumn) if encoded else NumericColumn()
    if not column.sketch.count:
        return None
    tops = column.sketch.grid.upper_edges(column.sketch.cells)
    at_most = [int(column.sketch.counts[tops <= np.nextafter(edge, np.inf)].sum()) for edge in LATENCY_BUCKETS_SECONDS]
    return LatencyCounts(at_most, column.sketch.count, column.moments.total.value)
