"""Moves a model's stored alerts to what the verdicts on all its windows amount to, and says what that changed."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec

from driftline.events import WHOLE, Slice, Window
from driftline.monitoring.budget import findings_of_detail, names_in, title_of
from driftline.monitoring.model import forget_rules
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.reach import OUTDATED, History, is_outdated
from driftline.monitoring.summary import DriftView, WindowSummary
from driftline.rules import (
    AlertSpan,
    Change,
    ChangeKind,
    Coverage,
    Ending,
    JudgedWindow,
    Rule,
    Status,
    StoredAlert,
    Verdict,
    alerts_of,
    reconcile,
)
from driftline.rules import State as VerdictState
from driftline.rules.backtest import BUDGET, Detail
from driftline.rules.findings import ColumnFinding, Findings, findings_of
from driftline.rules.topic import rests_on_labels
from driftline.store.alerts import AlertRow, TransitionRow
from driftline.store.judgements import Judgement
from driftline.store.state import Work

STALE_RULE = "monitor-stale"
BUILT_IN = (STALE_RULE,)
"""Names of alerts that come from no rule of the configuration."""


@dataclass(frozen=True, slots=True)
class AlertEvent:
    """Something in an alert's life that people want to hear of."""

    kind: ChangeKind
    alert: AlertRow
    reason: str
    before: AlertRow | None = None
    """The alert before its rule was changed."""


def move_alerts(
    model: str,
    work: Work,
    rule: Rule,
    now: datetime,
    *,
    slice: Slice = WHOLE,
    changed: Sequence[datetime] | None = None,
    why: str = "",
    endings: Sequence[Ending] = (),
    timezone: str = "UTC",
) -> list[AlertEvent]:
    """Reconcile a rule's alerts of a slice with its verdicts; return what people want to hear of, in order.

    The reasons name windows in the ``timezone`` of the model.

    ``changed`` are the starts of the windows whose verdicts are others than when this was done last: only what these
    can reach is read. None stands for all windows, as after a change of the rule.

    ``why`` says how its configuration was changed since they were reconciled last, empty where it was not. What the
    rule as it is now does not find is then over, or left as it was: it is not called wrong. ``endings``, in order of
    time, end what fires then.
    """
    history = History(work, model, rule, slice)
    stretches = history.whole() if changed is None else history.reached(changed)
    rows = {row.id: row for one in stretches for row in history.alerts((one.begin, one.end))}
    others = [row for row in rows.values() if row.measure != rule.measure and row.status == Status.FIRING]
    events = [_end(work, row, now, why or "the rule was changed") for row in others]
    stored = {row.id: row for row in rows.values() if row.measure == rule.measure}
    spans = [span for one in stretches for span in alerts_of(rule, list(map(judged_window, one.verdicts)), endings)]
    if any(span.firing for span in spans) and (rowless := history.rowless()):
        last, count = rowless[-1], len(rowless)
        spans = [replace(span, ended=last, without_rows=count) if span.firing else span for span in spans]
    changes = reconcile([_as_stored(row) for row in stored.values()], spans, timezone)
    newest = ""
    for change in changes:
        row = stored.get(change.alert or "")
        if change.kind is ChangeKind.CORRECTED and row is not None:
            if why and row.status == Status.FIRING:
                events.append(_end(work, row, now, f"{why}; by it, its windows are no breach"))
            if why or is_outdated(work, row):
                _outdate(work, row, why, now)
                continue
        if change.kind is ChangeKind.FIRED:
            assert change.span is not None  # an alert fires over a span
            fired = _new_alert(model, work, change.span, now, slice)
            newest, stored[fired.id] = fired.id, fired
        alert = _changed(stored[change.alert or newest], change, now)
        reason = change.reason if change.kind is ChangeKind.FIRED or not why else f"{why}; {change.reason}"
        stored[alert.id] = alert
        work.alerts.put(alert)
        work.alerts.add_transition(TransitionRow(alert.id, now, change.kind.value, reason))
        if change.kind is not ChangeKind.UPDATED:
            events.append(AlertEvent(change.kind, alert, reason))
    if why:
        told = {event.alert.id for event in events}
        going_on = [row for row in stored.values() if row.status == Status.FIRING and row.id not in told]
        events += [_apply(work, row, rule, now, why) for row in going_on]
    return events


def _outdate(work: Work, row: AlertRow, why: str, now: datetime) -> None:
    if why and not is_outdated(work, row):
        reason = f"{why}; by it, its windows are no breach"
        work.alerts.add_transition(TransitionRow(row.id, now, OUTDATED, reason))


def _end(work: Work, row: AlertRow, now: datetime, reason: str) -> AlertEvent:
    ended = replace(row, status=Status.RESOLVED.value, ended_at=now)
    work.alerts.put(ended)
    work.alerts.add_transition(TransitionRow(row.id, now, ChangeKind.RESOLVED.value, reason))
    return AlertEvent(ChangeKind.RESOLVED, ended, reason)


def _apply(work: Work, row: AlertRow, rule: Rule, now: datetime, why: str) -> AlertEvent:
    """Give an alert that goes on what its rule says now."""
    changed = _as_configured(row, rule)
    work.alerts.put(changed)
    work.alerts.add_transition(TransitionRow(row.id, now, ChangeKind.CHANGED.value, why))
    return AlertEvent(ChangeKind.CHANGED, changed, why, before=row)


def _as_configured(row: AlertRow, rule: Rule) -> AlertRow:
    title = row.title if rule.name == BUDGET else row.slice.titled(rule.title)
    return replace(row, severity=rule.severity.value, threshold=rule.threshold, title=title)


def tell_more(model: str, work: Work, now: datetime) -> list[AlertEvent]:
    """Bring what the detector's alerts are about up to date; return those that people have not heard the whole of.

    An alert that stays open for months must not swallow a later fault: a column that it has not named, or another kind
    of change. What is no longer so by what is known now, as where labels came late, is named no more.
    """
    events = []
    for row in work.alerts.find(model, rule=BUDGET, status=Status.FIRING.value):
        said = work.detections.said_between(model, row.window_start, row.last_end)
        details = [msgspec.msgpack.decode(one, type=Detail) for one in said]
        known = msgspec.json.decode(row.findings, type=Findings | None) or Findings((), (), (), ())
        named = tuple(dict.fromkeys(name for one in details for name in names_in(one)))
        kinds = tuple(dict.fromkeys(kind for one in details for kind in one.kinds))
        if not details or ({*named} == {*known.named} and {*kinds} == {*known.kinds}):
            continue
        news = [one for one in details if {*names_in(one)} - {*known.named} or {*one.kinds} - {*known.kinds}]
        shown = news[-1] if news else details[0]
        inputs = (name for one in details for name in findings_of_detail(one).inputs_changed)
        findings = replace(
            findings_of_detail(shown), inputs_changed=tuple(dict.fromkeys(inputs)), named=named, kinds=kinds
        )
        alert = replace(row, findings=msgspec.json.encode(findings), title=title_of(shown))
        kind = ChangeKind.CHANGED if news else ChangeKind.UPDATED
        reason = _what_is_new(known, findings)
        work.alerts.put(alert)
        work.alerts.add_transition(TransitionRow(row.id, now, kind.value, reason))
        if news:
            events.append(AlertEvent(kind, alert, reason, before=row))
    return events


def _what_is_new(known: Findings, found: Findings) -> str:
    """Say what an alert is about that it was not, or else what it is about no more."""
    if more := [name for name in found.named if name not in known.named]:
        return f"it is also about {', '.join(more)}"
    if more := [kind for kind in found.kinds if kind not in known.kinds]:
        return f"it has found another kind of change: {', '.join(more)}"
    gone = [one for one in (*known.named, *known.kinds) if one not in (*found.named, *found.kinds)]
    return f"by what is known now it is not about {', '.join(gone)}"


def names_of_rules(config: ModelConfig) -> set[str]:
    """The rules that can have alerts of a model: people's own, and the detector's where it has a budget."""
    return {*(rule.name for rule in config.rules), *([] if config.budget is None else [BUDGET])}


def end_orphans(work: Work, known: Mapping[str, Set[str]], now: datetime) -> list[AlertEvent]:
    """Resolve the firing alerts of models and rules that are configured no longer; ``known`` are rules by model."""
    events: list[AlertEvent] = []
    for row in work.alerts.find(status=Status.FIRING.value):
        if row.rule not in {*known.get(row.model, ()), *(BUILT_IN if row.model in known else ())}:
            reason = "the rule was removed" if row.model in known else "the model was removed"
            events.append(_end(work, row, now, f"{reason} from the configuration"))
            if row.model not in known:
                forget_rules(row.model, work)
    return events


def _alert_id(model: str, rule: str, started: datetime, now: datetime, slice: Slice) -> str:
    text = f"{model}\n{rule}\n{started.isoformat()}\n{now.isoformat()}" + (f"\n{slice.text}" if slice.text else "")
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def judged_window(one: Judgement) -> JudgedWindow:
    """Return what a rule says of a window as the alert machine takes it."""
    ends = one.low, one.high, one.n, one.threshold, one.reason, one.bound, one.confidence
    verdict = Verdict(one.rule, VerdictState(one.state), one.value, *ends)
    return JudgedWindow(Window(one.window_start, one.window_end), verdict)


def _as_stored(row: AlertRow) -> StoredAlert:
    return StoredAlert(row.id, row.rule, Status(row.status), row.started_at, row.last_end)


def _new_alert(model: str, work: Work, span: AlertSpan, now: datetime, slice: Slice) -> AlertRow:
    if span.rule.name == BUDGET:
        row = work.detections.at(model, span.fired.start)
        detail = Detail(None, ()) if row is None or row.said is None else msgspec.msgpack.decode(row.said, type=Detail)
        return fired_alert(model, span, findings_of_detail(detail), title_of(detail), now)
    summary = work.summaries.get(model, span.fired.start, slice)
    findings = explain(msgspec.msgpack.decode(summary, type=WindowSummary), span.rule) if summary is not None else None
    return fired_alert(model, span, findings, slice.titled(span.rule.title), now, slice=slice)


def fired_alert(
    model: str, span: AlertSpan, findings: Findings | None, title: str, now: datetime, *, slice: Slice = WHOLE
) -> AlertRow:
    """Return the alert that fires over a span, as it is stored; ``now`` is wall-clock time."""
    return AlertRow(
        id=_alert_id(model, span.rule.name, span.started.start, now, slice),
        model=model,
        rule=span.rule.name,
        measure=span.rule.measure,
        severity=span.rule.severity.value,
        title=title,
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
        bound=span.verdict.bound,
        confidence=span.verdict.confidence,
        slice=slice,
    )


def _changed(alert: AlertRow, change: Change, now: datetime) -> AlertRow:
    if change.span is None:
        return replace(alert, status=Status.CORRECTED.value, ended_at=now)
    firing = change.span.firing
    if change.kind is ChangeKind.REOPENED:  # whoever took it on thought that it was over
        alert = replace(alert, acknowledged_by="", acknowledged_at=None, acknowledged_reason="")
    alert = _as_configured(alert, change.span.rule) if firing else alert
    return replace(
        alert,
        status=(Status.FIRING if firing else Status.RESOLVED).value,
        started_at=change.span.started.start,
        last_end=change.span.last.end,
        worst=change.span.worst.value,
        ended_at=None if firing else (alert.ended_at or now),
    )


def explain(summary: WindowSummary, rule: Rule) -> Findings:
    """Say what changed in a window against the reference, and what did not; and on how many labels a rule rests."""
    found = findings_of(
        {name: _finding(view) for name, view in summary.drift.items()},
        _finding(summary.prediction_drift) if summary.prediction_drift is not None else None,
        _finding(summary.label_drift) if summary.label_drift is not None else None,
    )
    if not rests_on_labels(rule.measure):
        return found
    return replace(found, sentences=(*found.sentences, f"{Coverage(summary.labelled, summary.predictions)}."))


def _finding(view: DriftView) -> ColumnFinding:
    return ColumnFinding(view.drifted or view.value is not None, view.drifted, view.changes, view.reason, view.severity)
