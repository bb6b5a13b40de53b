"""Read the state into the snapshot that `driftline.exporters.prometheus` exposes."""

from __future__ import annotations

import importlib.metadata
import threading
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
import numpy as np

from driftline.config.load import Config
from driftline.events import WHOLE, Slice
from driftline.exporters.samples import (
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
from driftline.monitoring.options import Budget
from driftline.monitoring.summary import WindowSummary
from driftline.profiles import NumericColumn
from driftline.retrain.request import Stage
from driftline.rules import Rule, Severity, drifted_ratio
from driftline.rules.backtest import BUDGET
from driftline.sketches import decode
from driftline.store.alerts import AlertRow
from driftline.store.counters import ALARMS, JUDGED_AT, VERDICTS
from driftline.store.inbox import POISONED, Inbox
from driftline.store.outbox import Outbox
from driftline.store.overview import KnownModel, NewestWindow, Overview
from driftline.store.retraining import Retraining
from driftline.store.state import State, Work
from driftline.store.tables import EPOCH

_summary = msgspec.msgpack.Decoder(WindowSummary)


RESULTS = ("delivered", "refused", "expired")


class _Shown(NamedTuple):
    """What is exposed about the newest judged window of a model, with that window."""

    window: NewestWindow
    performance: Sequence[PerformanceSample] = ()
    drift: Sequence[DriftSample] = ()
    missing: Mapping[str, float] = {}
    label_coverage: float | None = None
    end_timestamp_seconds: float | None = None
    output_drift: Sequence[OutputDriftSample] = ()
    drifted_features: Mapping[str, float] = {}
    segments: Sequence[PerformanceSample] = ()


class _Judged(NamedTuple):
    """The verdicts of a model's rules, cached for as long as ``key`` is the same."""

    key: object
    monitors: Mapping[Monitor, str]
    breaches: Mapping[Monitor, int]
    at: datetime | None


class MetricsReader:
    """Reads what is exposed about a service; what has not changed since the last time is not read or decoded again.

    Law: a reader that has read before returns the same as a new one.
    """

    def __init__(self, config: Config, tasks: Mapping[str, str], state: State, inbox: Inbox) -> None:
        self._config, self._tasks, self._state, self._inbox = config, tasks, state, inbox
        self._lock = threading.Lock()
        self._shown: dict[str, _Shown] = {}
        self._judged: dict[str, _Judged] = {}
        self._steps: dict[str, dict[str, TransitionCount]] = {}
        self._last_step = 0
        self._latencies: dict[str, tuple[bytes | None, LatencyCounts | None]] = {}

    def snapshot(self, problems: Mapping[str, str], started: datetime) -> ServiceMetrics:
        """Read everything that is exposed, as of one point in time.

        ``problems`` are those of models that cannot be processed; ``started`` is the wall-clock time of its start.
        """
        queued = self._inbox.waiting_events()
        with self._lock, self._state.read() as read:
            outbox, requests = Outbox(read.connection), Retraining(read.connection).counts()
            overview = Overview(read.connection)
            counters, known, waiting = overview.counters(), overview.models(), overview.waiting_labels()
            firing: dict[str, list[AlertRow]] = {}
            for row in read.alerts.find(status="firing"):
                firing.setdefault(row.model, []).append(row)
            newest = overview.newest_windows()
            self._look_at(overview, newest)
            self._count_steps(overview)
            return ServiceMetrics(
                version=importlib.metadata.version("driftline"),
                models=[
                    _model(
                        name,
                        self._tasks[name],
                        self._config.models[name].budget,
                        counters.get(name, {}),
                        known.get(name, _UNKNOWN),
                        self._shown[name] if name in newest else None,
                        self._verdicts(read, name, counters.get(name, {}), newest.get(name), firing.get(name, [])),
                        firing.get(name, []),
                        self._steps.get(name, {}),
                        self._latency(name, known.get(name, _UNKNOWN).latency),
                        requests.get(name, {}),
                        waiting_labels=waiting.get(name, 0),
                        queued=queued.get(name, 0),
                        failing=name in problems,
                        started=started,
                    )
                    for name in self._config.models
                ],
                notifications={result: outbox.count(result) for result in RESULTS},
                waiting=outbox.count("waiting"),
                failed_attempts=outbox.count_failed_attempts(),
            )

    def _look_at(self, overview: Overview, newest: Mapping[str, NewestWindow]) -> None:
        """Decode the newest windows that have changed since the last time."""
        changed = {name: one for name, one in newest.items() if name not in self._shown or self._shown[name][0] != one}
        bodies = overview.summaries({name: one.start for name, one in changed.items()})
        for name, one in changed.items():
            self._shown[name] = _shown(one, bodies.get(name, {}))

    def _count_steps(self, overview: Overview) -> None:
        """Count the transitions of alerts since the last time."""
        for step in overview.steps(after=self._last_step):
            kinds = self._steps.setdefault(step.model, {})
            before = kinds[step.kind].steps if step.kind in kinds else 0
            kinds[step.kind] = TransitionCount(before + 1, step.alert)
            self._last_step = step.id

    def _verdicts(
        self,
        read: Work,
        model: str,
        counters: Mapping[tuple[str, str], int],
        newest: NewestWindow | None,
        firing: Sequence[AlertRow],
    ) -> _Judged:
        """Return the verdicts of the rules; read them again only if a verdict was stored or an alert began or ended."""
        key = (counters.get((VERDICTS, "")), newest, {(row.rule, row.slice): row.started_at for row in firing})
        if model in self._judged and self._judged[model].key == key:
            return self._judged[model]
        rules = self._config.models[model].rules
        judged = []
        if newest is not None:
            judged = read.judgements.find(model, rules=[rule.name for rule in rules], window_start=newest.start)
        if self._config.models[model].budget is not None:
            judged += read.judgements.newest(model, BUDGET, 1)
        moment = counters.get((JUDGED_AT, ""))
        at = EPOCH + timedelta(microseconds=moment) if moment is not None else None
        known = {rule.name for rule in rules}
        # A slice without rows in the newest window cannot be judged there, though its alert goes on.
        monitors = {Monitor(row.rule, row.slice): "nodata" for row in firing if row.rule in known}
        monitors |= {Monitor(one.rule, one.slice): one.state for one in judged}
        breaches = {
            Monitor(rule.name, slice): breaches_of(read, model, rule, firing, slice)
            for rule in rules
            for slice in _slices_of(rule, monitors, firing)
        }
        self._judged[model] = _Judged(
            key,
            monitors,
            breaches,
            at or max((one.judged_at for one in judged), default=None),  # an earlier release did not store the time
        )
        return self._judged[model]

    def _latency(self, model: str, encoded: bytes | None) -> LatencyCounts | None:
        if model not in self._latencies or self._latencies[model][0] != encoded:
            self._latencies[model] = (encoded, _latency(encoded))
        return self._latencies[model][1]


_UNKNOWN = KnownModel(None, None, None)


def _shown(window: NewestWindow, bodies: Mapping[Slice, bytes]) -> _Shown:
    decoded = {slice: _summary.decode(body) for slice, body in bodies.items()}
    whole = decoded.pop(WHOLE, None)
    segments = [one for slice, one in decoded.items() if slice.segment is not None]
    summaries = [one for slice, one in decoded.items() if slice.segment is None]  # of the versions
    ratios = {one.version: drifted_ratio(one.drift) for one in summaries}
    return _Shown(
        window,
        performance=[
            PerformanceSample(one.version, metric, view.value, view.low, view.high, view.n)
            for one in summaries
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
        end_timestamp_seconds=whole.end.timestamp() if whole else None,
        output_drift=[
            OutputDriftSample(one.version, output, view.measure, view.beyond_chance, view.threshold)
            for one in summaries
            for output, view in (("prediction", one.prediction_drift), ("label", one.label_drift))
            if view is not None
        ],
        drifted_features={version: value for version, value in ratios.items() if value is not None},
        segments=[
            PerformanceSample("", metric, view.value, view.low, view.high, view.n, str(one.segment))
            for one in segments
            for metric, view in one.performance.items()
        ],
    )


def _model(
    model: str,
    task: str,
    budget: Budget | None,
    counters: Mapping[tuple[str, str], int],
    known: KnownModel,
    window: _Shown | None,
    judged: _Judged,
    firing: Sequence[AlertRow],
    steps: Mapping[str, TransitionCount],
    latency: LatencyCounts | None,
    requests: Mapping[tuple[str, str], int],
    *,
    waiting_labels: int,
    queued: int,
    failing: bool,
    started: datetime,
) -> ModelMetrics:
    shown = window or _Shown(NewestWindow(started, ()))
    arrived = known.last_arrival
    return ModelMetrics(
        model=model,
        predictions={key: value for (name, key), value in counters.items() if name == "predictions"},
        labels=counters.get(("labels", ""), 0),
        corrected_labels=counters.get(("corrected_labels", ""), 0),
        duplicates=sum(value for (name, _), value in counters.items() if name == "duplicate_events"),
        invalid={key: value for (name, key), value in counters.items() if name == "invalid_events"},
        waiting_labels=waiting_labels,
        queued_events=queued,
        performance=shown.performance,
        drift=shown.drift,
        missing=shown.missing,
        label_coverage=shown.label_coverage,
        window_end_timestamp_seconds=shown.end_timestamp_seconds,
        alerts={severity.value: sum(row.severity == severity for row in firing) for severity in Severity},
        monitors=judged.monitors,
        breaches=judged.breaches,
        latency=latency,
        task=task,
        output_drift=shown.output_drift,
        drifted_features=shown.drifted_features,
        last_event_timestamp_seconds=arrived.timestamp() if arrived else None,
        quiet_since_timestamp_seconds=max(arrived or started, started).timestamp(),
        last_evaluation_timestamp_seconds=judged.at.timestamp() if judged.at else None,
        failing=failing,
        transitions=dict(steps),
        pushed_windows={key: value for (name, key), value in counters.items() if name == "pushed_windows"},
        retraining_runs={(trigger, stage): n for (trigger, stage), n in requests.items() if Stage(stage).over},
        retraining_open=_open_requests(requests),
        poisoned=sum(value for (name, _), value in counters.items() if name == POISONED),
        muted=sum(bool(row.muted or row.acknowledged_by) for row in firing),
        segments=shown.segments,
        alarm_budget=None if budget is None else budget.per_year,
        alarms=counters.get((ALARMS, ""), 0),
    )


def _slices_of(rule: Rule, monitors: Iterable[Monitor], firing: Sequence[AlertRow]) -> list[Slice]:
    """Return the slices on which a rule was evaluated in the newest judged window, or has a firing alert."""
    if rule.judges(WHOLE):
        return [WHOLE]
    judged = {one.slice for one in monitors if one.rule == rule.name}
    return sorted(judged | {row.slice for row in firing if row.rule == rule.name})


def breaches_of(read: Work, model: str, rule: Rule, firing: Sequence[AlertRow], slice: Slice = WHOLE) -> int:
    """Return the number of judged windows in a row in which a rule is in breach, as its alert counts them."""
    started = next((row.started_at for row in firing if (row.rule, row.slice) == (rule.name, slice)), None)
    found = read.judgements.breaches_in_a_row(model, rule.name, slice=slice, since=started)
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
