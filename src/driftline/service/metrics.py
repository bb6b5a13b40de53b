"""Reads the state into the snapshot that `driftline.export.prometheus` exposes."""

from __future__ import annotations

import msgspec
import numpy as np

from driftline.events import ALL_VERSIONS
from driftline.export.prometheus import (
    LATENCY_BUCKETS_SECONDS,
    DriftSample,
    LatencyCounts,
    ModelMetrics,
    PerformanceSample,
    ServiceMetrics,
)
from driftline.profiles import NumericColumn
from driftline.rules import Severity
from driftline.service.config import Config
from driftline.service.summary import WindowSummary
from driftline.sketches import decode
from driftline.store.inbox import Inbox
from driftline.store.outbox import Outbox
from driftline.store.state import State, Work

_summary = msgspec.msgpack.Decoder(WindowSummary)


def snapshot(config: Config, state: State, inbox: Inbox) -> ServiceMetrics:
    """Read everything that is exposed, as of one moment."""
    queued = inbox.waiting_events()
    with state.read() as read:
        models = [_model(read, name, queued.get(name, 0)) for name in config.models]
        outbox = Outbox(read.connection)
        return ServiceMetrics(models, outbox.count("delivered"), outbox.count("waiting"))


def _model(read: Work, model: str, queued: int) -> ModelMetrics:
    counters = read.counters(model)
    stored = read.model(model)
    newest = read.newest_settled_start(model)
    summaries: list[WindowSummary] = []
    whole: WindowSummary | None = None
    monitors: dict[str, str] = {}
    if newest is not None:
        found = {version: read.summary(model, newest, version) for version in (*read.versions(model), ALL_VERSIONS)}
        decoded = {version: _summary.decode(body) for version, body in found.items() if body is not None}
        whole = decoded.pop(ALL_VERSIONS, None)
        summaries = list(decoded.values())
        monitors = {one.rule: one.state for one in read.judgements(model, window_start=newest)}
    firing = [row.severity for row in read.alerts(model, status="firing")]
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
        drift=[
            DriftSample(one.version, feature, view.measure, view.value, view.threshold)
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
        alerts={severity.value: firing.count(severity.value) for severity in Severity},
        monitors=monitors,
        latency=_latency(stored.latency if stored else None),
    )


def _latency(encoded: bytes | None) -> LatencyCounts | None:
    column = decode(encoded, NumericColumn) if encoded else NumericColumn()
    if not column.sketch.count:
        return None
    tops = column.sketch.grid.upper_edges(column.sketch.cells)
    at_most = [int(column.sketch.counts[tops <= np.nextafter(edge, np.inf)].sum()) for edge in LATENCY_BUCKETS_SECONDS]
    return LatencyCounts(at_most, column.sketch.count, column.moments.total.value)
