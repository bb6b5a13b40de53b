"""Judges windows: brings their labelled part up to date with the log, and applies the rules.

Everything here can be repeated, and is: a late or corrected label opens its window again, and what the rules say of the
whole history then decides which alerts stand (`driftline.monitoring.alerting`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import reduce

import msgspec
import polars as pl

from driftline.events import ALL_VERSIONS, Window
from driftline.monitoring.agreement import known_marks
from driftline.monitoring.alerting import AlertEvent, move_alerts
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.summary import Stage, WindowSummary, summarize
from driftline.profiles import WindowProfile
from driftline.profiles.frame import FEATURE, SCORE
from driftline.rules import Rule, Verdict, WindowFacts, verdict_on
from driftline.rules import State as VerdictState
from driftline.rules.topic import needs_labels
from driftline.sketches import decode, encode
from driftline.statistics import Measure
from driftline.store.log import Table
from driftline.store.state import Judgement, State, WindowRow, Work

_summary = msgspec.msgpack.Encoder()
_NODATA = VerdictState.NODATA.value


def refresh_labels(model: MonitoredModel, state: State) -> None:
    """Bring the labelled part of each window whose labels have changed up to date with the log."""
    with state.read() as read:
        rows, through = read.windows_with_changed_labels(model.name), known_marks(read, model.name)
    for row in rows:
        fresh = labelled_part(model, row.window, row.version, through)
        profile = replace(decode(row.profile, WindowProfile), labels=fresh.labels, performance=fresh.performance)
        with state.work() as work:
            work.put_window(
                replace(row, profile=encode(profile), labelled=profile.labelled, labels_changed=False, settled=False)
            )


def labelled_part(
    model: MonitoredModel, window: Window, version: str, through: Mapping[Table, int] | None
) -> WindowProfile:
    """Profile the labelled rows of a window from the log; only ``labels`` and ``performance`` are of use."""
    scores = [name for name in model.log.prediction_columns() if name.startswith(SCORE)]
    blocks = ["time"] if model.schema.cluster is None else ["time", FEATURE + model.schema.cluster]
    rows = model.log.window_rows(window, version, columns=["prediction", *scores, *blocks], through=through)
    labelled = rows.filter(pl.col("label").is_not_null()) if len(rows) else rows
    return model.reference.profiled(labelled, model.schema)


def judge_windows(
    model: MonitoredModel,
    state: State,
    now: datetime,
    announce: Callable[[Work, Sequence[AlertEvent], datetime], None],
    judged: Callable[[int], None] = lambda windows: None,
) -> list[AlertEvent]:
    """Judge what has changed or has come due, and move the alerts; ``announce`` puts the events into the outbox.

    ``judged`` is told before, how many windows a rule could judge for the first time.

    Windows are assessed first, on what only the worker changes; then all is written in one short transaction.
    """
    with state.read() as read:
        stored = read.model(model.name)
        if stored is None or stored.watermark is None:
            return []
        due = read.starts_to_assess(model.name, stored.watermark)
        rows = [read.window(model.name, start) for start in due]
    assessments = [_assess(model, versions, stored.watermark, now) for versions in rows]
    if not assessments:
        return []
    events: list[AlertEvent] = []
    with state.work() as work:
        found = [_store(model.name, work, assessment) for assessment in assessments]
        for rule in model.config.rules:
            changed = [one.start for one in found if rule.name in one.changed]
            if rule.name in model.rule_changes:
                events += move_alerts(model.name, work, rule, now, why=model.rule_changes[rule.name])
            elif changed:
                events += move_alerts(model.name, work, rule, now, changed=changed)
        judged(sum(one.first for one in found))
        announce(work, events, now)
    return events


def stage_of(window: Window, rows: Sequence[WindowRow], watermark: datetime, model: MonitoredModel) -> Stage:
    """How far a window has come, by event time: the newest moment that any event of the model speaks of."""
    if watermark < window.end:
        return "open"
    complete = sum(row.labelled for row in rows) >= sum(row.predictions for row in rows)
    overdue = watermark >= window.end + model.config.labels.expected_within
    return "judged" if complete or overdue else "waiting for labels"


@dataclass(frozen=True, slots=True)
class _Assessment:
    """What is to be stored of a window: summaries by version, and what the rules say of it, once it is due.

    ``again_at`` is the watermark at which there is more to say of it, None where all is said.
    """

    start: datetime
    again_at: datetime | None
    summaries: Mapping[str, WindowSummary]
    judgements: Sequence[Judgement]


def _assess(model: MonitoredModel, rows: Sequence[WindowRow], watermark: datetime, now: datetime) -> _Assessment:
    window = rows[0].window
    stage = stage_of(window, rows, watermark, model)
    profiles = {row.version: decode(row.profile, WindowProfile) for row in rows}
    whole = reduce(WindowProfile.merge, profiles.values())
    months, positive = model.config.window.months_of(window), model.schema.positive

    def summary(version: str, profile: WindowProfile) -> WindowSummary:
        more = [rule.measure for rule in model.config.rules]
        return summarize(
            window,
            version,
            stage,
            profile,
            model.reference,
            months=months,
            positive=positive,
            floors=model.config.floors,
            more=more,
        )

    summaries = {ALL_VERSIONS: summary(ALL_VERSIONS, whole)}
    if len(profiles) == 1:  # one version is all there is
        summaries |= {only: msgspec.structs.replace(summaries[ALL_VERSIONS], version=only) for only in profiles}
    else:
        summaries |= {version: summary(version, profile) for version, profile in profiles.items()}
    due = [] if stage == "open" else [r for r in model.config.rules if stage == "judged" or not needs_labels(r.measure)]
    whole_summary = summaries[ALL_VERSIONS]
    facts = rule_facts(model, whole, whole_summary, positive)
    verdicts = [verdict_on(rule, facts, shown=_shown(rule, whole_summary)) for rule in due]
    judgements = [_judgement(model.name, window, verdict, now) for verdict in verdicts]
    return _Assessment(window.start, _again_at(window, stage, model), summaries, judgements)


def _again_at(window: Window, stage: Stage, model: MonitoredModel) -> datetime | None:
    """The watermark at which a window that does not change comes to its next stage."""
    if stage == "open":
        return window.end
    return window.end + model.config.labels.expected_within if stage == "waiting for labels" else None


@dataclass(frozen=True, slots=True)
class _Stored:
    """The rules whose verdict on a window is another than before, and whether one could judge it for the first time.

    That a rule could not judge a window, as before, or that nobody had asked it, is the same to alerts.
    """

    start: datetime
    changed: set[str]
    first: bool


def _store(model: str, work: Work, assessment: _Assessment) -> _Stored:
    """Store an assessment."""
    for version, summary in assessment.summaries.items():
        work.put_summary(model, assessment.start, version, _summary.encode(summary))
    if assessment.again_at is None:
        work.mark_settled(model, assessment.start)
    else:
        work.assess_again_at(model, assessment.start, assessment.again_at)
    rules = [one.rule for one in assessment.judgements]
    earlier = {one.rule: one for one in work.judgements(model, rules=rules, window_start=assessment.start)}
    changed, first = set[str](), False
    for judgement in assessment.judgements:
        before = earlier.get(judgement.rule)
        if before is None or replace(before, judged_at=judgement.judged_at) != judgement:
            work.put_judgement(judgement)
            known = before is not None and before.state != _NODATA
            if known or judgement.state != _NODATA:
                changed.add(judgement.rule)
            first |= judgement.state != _NODATA and not known
    return _Stored(assessment.start, changed, first)


def rule_facts(
    model: MonitoredModel, profile: WindowProfile, summary: WindowSummary, positive: str | None
) -> WindowFacts:
    """What the profile and the summary of one window show, as far as rules ask."""
    return WindowFacts(
        profile,
        features=summary.drift,
        prediction=summary.prediction_drift,
        label=summary.label_drift,
        positive=positive,
        chance=model.config.floors.chance,
        naive=model.reference.naive,
    )


def _shown(rule: Rule, summary: WindowSummary) -> Measure | None:
    """The measure that a rule speaks of as the window shows it, with its 95 % interval; None where that has none."""
    view = summary.coverage if rule.measure == "label_coverage" else summary.performance.get(rule.measure)
    return None if view is None else Measure(rule.measure, view.value, view.low, view.high, view.n)


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
        bound=verdict.bound,
        confidence=verdict.confidence,
    )
