"""Judges windows: brings their labelled part up to date with the log, applies the rules, and moves the alerts.

Everything here can be repeated, and is: a late or corrected label opens its window again, and what the rules say of the
whole history then decides which alerts stand.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce

import msgspec
import polars as pl

from driftline.events import Window
from driftline.profiles import WindowProfile, profile_rows
from driftline.profiles.frame import SCORE
from driftline.rules import (
    AlertSpan,
    Change,
    ChangeKind,
    JudgedWindow,
    Rule,
    Status,
    StoredAlert,
    Verdict,
    alerts_of,
    interval_confidence,
    judge,
    reconcile,
)
from driftline.rules import (
    State as VerdictState,
)
from driftline.rules.findings import ColumnFinding, Findings, findings_of
from driftline.service.model import MonitoredModel
from driftline.service.summary import DriftView, Stage, WindowSummary, summarize
from driftline.sketches import decode, encode
from driftline.statistics import Measure
from driftline.statistics.performance import label_coverage, measures
from driftline.store.state import ALL_VERSIONS, AlertRow, Judgement, State, TransitionRow, WindowRow, Work

_summary = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """Something in an alert's life that people want to hear of."""

    kind: ChangeKind
    alert: AlertRow
    reason: str


def refresh_labels(model: MonitoredModel, state: State) -> None:
    """Bring the labelled part of each window whose labels have changed up to date with the log."""
    with state.read() as read:
        rows = read.windows_with_changed_labels(model.name)
    for row in rows:
        fresh = labelled_part(model, row.window, row.version)
        profile = replace(decode(row.profile, WindowProfile), labels=fresh.labels, performance=fresh.performance)
        with state.work() as work:
            work.put_window(
                replace(row, profile=encode(profile), labelled=profile.labelled, labels_changed=False, settled=False)
            )


def labelled_part(model: MonitoredModel, window: Window, version: str) -> WindowProfile:
    """Profile the labelled rows of a window from the log; only ``labels`` and ``performance`` are of use."""
    scores = [name for name in model.log.prediction_columns() if name.startswith(SCORE)]
    rows = model.log.window_rows(window, version, columns=["prediction", *scores])
    labelled = rows.filter(pl.col("label").is_not_null()) if len(rows) else rows
    return profile_rows(labelled, model.schema, model.reference.grids)


def judge_windows(
    model: MonitoredModel, state: State, now: datetime, announce: Callable[[Work, AlertEvent], None]
) -> list[AlertEvent]:
    """Judge what may have changed, in one transaction; ``announce`` puts each event into the outbox within it."""
    with state.read() as read:
        starts = read.unsettled_starts(model.name)
        stored = read.model(model.name)
    if not starts or stored is None or stored.watermark is None:
        return []
    events: list[AlertEvent] = []
    with state.work() as work:
        changed: set[str] = set()
        for start in starts:
            changed |= _judge_window(model, work, start, stored.watermark, now)
        for rule in model.config.rules:
            if rule.name in changed:
                events += _move_alerts(model, work, rule, now)
        for event in events:
            announce(work, event)
    return events


def stage_of(window: Window, rows: Sequence[WindowRow], watermark: datetime, model: MonitoredModel) -> Stage:
    """How far a window has come, by event time: the newest moment that any event of the model speaks of."""
    if watermark < window.end:
        return "open"
    complete = sum(row.labelled for row in rows) >= sum(row.predictions for row in rows)
    overdue = watermark >= window.end + model.config.labels.expected_within
    return "judged" if complete or overdue else "waiting for labels"


def _judge_window(model: MonitoredModel, work: Work, start: datetime, watermark: datetime, now: datetime) -> set[str]:
    """Judge one window if it is due, store what people are shown of it, and return the rules whose verdict changed."""
    rows = work.window(model.name, start)
    window = rows[0].window
    stage = stage_of(window, rows, watermark, model)
    profiles = {row.version: decode(row.profile, WindowProfile) for row in rows}
    whole = reduce(WindowProfile.merge, profiles.values())
    months = model.config.window.months_of(window)
    parts = profiles if len(profiles) > 1 else {}
    for version, profile in {**parts, ALL_VERSIONS: whole}.items():
        summary = summarize(
            window, version, stage, profile, model.reference, months=months, positive=model.schema.positive
        )
        work.put_summary(model.name, start, version, _summary.encode(summary))
        if not parts:  # one version is all there is
            [only] = profiles
            work.put_summary(model.name, start, only, _summary.encode(msgspec.structs.replace(summary, version=only)))
    if stage != "judged":
        return set()
    work.mark_settled(model.name, start)
    earlier = {one.rule: one for one in work.judgements(model.name, window_start=start)}
    changed: set[str] = set()
    for rule in model.config.rules:
        judgement = _judgement(model.name, window, judge(rule, measure_for(rule, whole, model.schema.positive)), now)
        before = earlier.get(rule.name)
        if before is None or replace(before, judged_at=now) != judgement:
            work.put_judgement(judgement)
            changed.add(rule.name)
    return changed


def measure_for(rule: Rule, profile: WindowProfile, positive: str | None) -> Measure:
    """The measure that a rule speaks of, with the interval that the rule wants."""
    confidence = interval_confidence(rule)
    if rule.measure == "label_coverage":
        return label_coverage(profile.labelled, profile.predictions, confidence=confidence)
    found = measures(profile.performance, confidence=confidence, positive=positive)
    return found.get(rule.measure, Measure(rule.measure, confidence=confidence, problem="no labelled rows"))


def _judgement(model: str, window: Window, verdict: Verdict, now: datetime) -> Judgement:
    return Judgement(
        model=model,
        rule=verdict.rule,
        window_start=window.start,
        window_end=window.end,
        judged_at=now,
        state=verdict.state.value,
        value=verdict.value,
        low=verdict.low,
        high=verdict.high,
        n=verdict.n,
        threshold=verdict.threshold,
        reason=verdict.reason,
        current=True,
    )


# ---- alerts ---------------------------------------------------------------------------------------------------------


def _move_alerts(model: MonitoredModel, work: Work, rule: Rule, now: datetime) -> list[AlertEvent]:
    judged = [_judged(one) for one in work.judgements(model.name, rule=rule.name)]
    stored = {row.id: row for row in work.alerts(model.name, rule=rule.name)}
    changes = reconcile([_as_stored(row) for row in stored.values()], alerts_of(rule, judged))
    events: list[AlertEvent] = []
    newest = ""
    for change in changes:
        if change.kind is ChangeKind.FIRED:
            assert change.span is not None  # an alert fires over a span
            newest = _alert_id(model.name, rule.name, change.span.started.start, now)
            stored[newest] = _new_alert(model, work, newest, change.span, now)
        alert = _changed(stored[change.alert or newest], change, now)
        stored[alert.id] = alert
        work.put_alert(alert)
        work.add_transition(TransitionRow(alert.id, now, change.kind.value, change.reason))
        if change.kind is not ChangeKind.UPDATED:
            events.append(AlertEvent(change.kind, alert, change.reason))
    return events


def _alert_id(model: str, rule: str, started: datetime, now: datetime) -> str:
    text = f"{model}\n{rule}\n{started.isoformat()}\n{now.isoformat()}"
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _judged(one: Judgement) -> JudgedWindow:
    verdict = Verdict(one.rule, VerdictState(one.state), one.value, one.low, one.high, one.n, one.threshold, one.reason)
    return JudgedWindow(Window(one.window_start, one.window_end), verdict)


def _as_stored(row: AlertRow) -> StoredAlert:
    return StoredAlert(row.id, row.rule, Status(row.status), row.started_at, row.last_end)


def _new_alert(model: MonitoredModel, work: Work, id: str, span: AlertSpan, now: datetime) -> AlertRow:
    summary = work.summary(model.name, span.fired.start)
    findings = explain(msgspec.msgpack.decode(summary, type=WindowSummary)) if summary is not None else None
    return AlertRow(
        id=id,
        model=model.name,
        rule=span.rule.name,
        measure=span.rule.measure,
        severity=span.rule.severity.value,
        title=span.rule.title,
        status=Status.FIRING.value,
        started_at=span.started.start,
        last_end=span.last.end,
        window_start=span.fired.start,
        window_end=span.fired.end,
        value=span.verdict.value,
        low=span.verdict.low,
        high=span.verdict.high,
        n=span.verdict.n,
        threshold=span.verdict.threshold,
        worst=span.worst.value,
        findings=msgspec.json.encode(findings),
        fired_at=now,
        ended_at=None,
    )


def _changed(alert: AlertRow, change: Change, now: datetime) -> AlertRow:
    if change.span is None:
        return replace(alert, status=Status.CORRECTED.value, ended_at=now)
    firing = change.span.firing
    return replace(
        alert,
        status=(Status.FIRING if firing else Status.RESOLVED).value,
        started_at=change.span.started.start,
        last_end=change.span.last.end,
        worst=change.span.worst.value,
        ended_at=None if firing else (alert.ended_at or now),
    )


def explain(summary: WindowSummary) -> Findings:
    """Say what changed in a window against the reference, and what did not."""
    return findings_of(
        {name: _finding(view) for name, view in summary.drift.items()},
        _finding(summary.prediction_drift) if summary.prediction_drift is not None else None,
        _finding(summary.label_drift) if summary.label_drift is not None else None,
    )


def _finding(view: DriftView) -> ColumnFinding:
    return ColumnFinding(view.drifted or view.value is not None, view.drifted, view.changes, view.reason)
