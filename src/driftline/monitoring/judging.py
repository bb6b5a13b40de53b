"""Judges stored windows: brings their labelled part up to date with the log, assesses them, and moves the alerts.

Everything here can be repeated, and is: a late or corrected label opens its window again, and what the rules say of the
whole history then decides which alerts stand (`driftline.monitoring.alerting`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import msgspec
import polars as pl
from msgspec import structs

from driftline.events import WHOLE, Slice, Window
from driftline.monitoring.agreement import known_marks
from driftline.monitoring.alerting import AlertEvent, move_alerts, tell_more
from driftline.monitoring.assess import assess, sliced, stage_of
from driftline.monitoring.budget import rule_of
from driftline.monitoring.detecting import detect, judgement_of, store_detected
from driftline.monitoring.feedback import Guidance, ends_alarm, guidance_for, in_words, judged_again_since
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.own import own_measures
from driftline.monitoring.reach import History
from driftline.monitoring.segments import encoded_segments, stored_profiles
from driftline.monitoring.summary import Stage, WindowSummary, brief_of
from driftline.profiles import WindowProfile
from driftline.profiles.by_window import Profiled
from driftline.profiles.frame import FEATURE, SCORE
from driftline.profiles.segments import SegmentProfile, profile_segments
from driftline.rules import ChangeKind, Status
from driftline.rules import State as VerdictState
from driftline.rules.backtest import BUDGET
from driftline.sketches import decode, encode
from driftline.store.counters import ALARMS, JUDGED_AT, SHOWN, VERDICTS
from driftline.store.feedback import FeedbackRow
from driftline.store.judgements import Judgement
from driftline.store.retention import is_gone
from driftline.store.state import State, Work
from driftline.store.windows import WindowRow

_encoder = msgspec.msgpack.Encoder()
_NODATA = VerdictState.NODATA.value


def refresh_labels(model: MonitoredModel, state: State) -> None:
    """Bring the labelled part of each window whose labels have changed up to date with the log.

    A window whose events are no longer kept stays as it is: the log knows nothing of it.
    """
    with state.read() as read:
        rows, through = read.windows.with_changed_labels(model.name), known_marks(read, model.name)
        cut = read.retention.cut(model.name) if rows else None
    for row in rows:
        if is_gone(cut, row.window):
            with state.work() as work:
                work.windows.put(replace(row, labels_changed=False))
    rows = [row for row in rows if not is_gone(cut, row.window)]
    if not rows:
        return
    logged = model.log.rows_by_window(
        ((row.window, row.version, row.predictions) for row in rows), columns=_labelled_columns(model), through=through
    )
    for row, window_rows in zip(rows, logged, strict=True):
        fresh, segments = labelled_part(model, window_rows)
        profile = structs.replace(
            decode(row.profile, WindowProfile),
            labels=fresh.labels,
            performance=fresh.performance,
            delays=fresh.delays,
        )
        changed = replace(row, profile=encode(profile), labelled=profile.labelled, segments=encoded_segments(segments))
        with state.work() as work:
            work.windows.put(replace(changed, labels_changed=False, settled=False))


def _labelled_columns(model: MonitoredModel) -> list[str]:
    """What `labelled_part` reads of the log."""
    schema = model.schema
    scores = [name for name in model.log.prediction_columns() if name.startswith(SCORE)]
    named = [schema.cluster, *schema.segments] if schema.cluster is not None else [*schema.segments]
    return [*dict.fromkeys(["prediction", *scores, "time", *(FEATURE + name for name in named)])]


def labelled_part(model: MonitoredModel, window_rows: pl.DataFrame) -> Profiled:
    """Profile those of a window's rows in the log that have labels, and all of its segments.

    Of the whole only ``labels``, ``performance`` and ``delays`` are of use.
    """
    schema = model.schema
    labelled = window_rows.filter(pl.col("label").is_not_null()) if len(window_rows) else window_rows
    segments = profile_segments(window_rows, schema, model.reference.grids)
    return Profiled(model.reference.profiled(labelled, schema), segments)


def judge_windows(
    model: MonitoredModel,
    state: State,
    now: datetime,
    announce: Callable[[Work, Sequence[AlertEvent], datetime], None],
    judged: Callable[[int], None] = lambda windows: None,
) -> list[AlertEvent]:
    """Judge what has changed or has come due, and move the alerts; ``announce`` puts the events into the outbox.

    ``judged`` is called before that with how many windows a rule could judge for the first time.

    Windows are assessed first, on what only the worker changes; then all is written in one short transaction.
    """
    with state.read() as read:
        stored = read.models.get(model.name)
        if stored is None or stored.watermark is None:
            return []
        due = read.windows.starts_to_assess(model.name, stored.watermark)
        rows = [read.windows.at(model.name, start) for start in due]
        said = read.feedback.waiting(model.name)
        if not due and not said:
            return []
        guidance = guidance_for(model.config, read.feedback.of(model.name))
        detected = detect(model, read, due, stored, guidance, judged_again_since(said))
    assessments = [_judge(model, versions, stored.watermark, now) for versions in rows]
    events: list[AlertEvent] = []
    with state.work() as work:
        found = [_store(model.name, work, assessment) for assessment in assessments]
        work.counters.add(model.name, SHOWN, "", len(found))
        changed: dict[tuple[str, Slice], list[datetime]] = {}
        zone = model.config.window.timezone
        for one in found:
            for key in one.changed:
                changed.setdefault(key, []).append(one.start)
        for rule in model.config.rules:
            slices = {slice for name, slice in changed if name == rule.name}
            changed_rule = model.rule_changes.get(rule.name)
            if changed_rule is not None:
                slices |= work.judgements.slices(model.name, rule.name)
            for slice in sorted(slices):
                why = changed_rule if changed_rule is not None else _no_longer(model, slice)
                since = changed[rule.name, slice] if why is None else None
                events += move_alerts(
                    model.name, work, rule, now, slice=slice, changed=since, why=why or "", timezone=zone
                )
        events += _end_rowless(model, work, now)
        moved = store_detected(model, work, detected, stored.watermark, now) if detected is not None else set()
        events += _move_budget(model, work, moved, guidance, said, now)
        if stored_anew := sum(one.stored for one in found) + len(moved):
            work.counters.add(model.name, VERDICTS, "", stored_anew)
            work.counters.note(model.name, JUDGED_AT, now)
        judged(sum(one.first for one in found))
        announce(work, events, now)
    return events


def _move_budget(
    model: MonitoredModel,
    work: Work,
    moved: set[datetime],
    guidance: Guidance,
    said: Sequence[FeedbackRow],
    now: datetime,
) -> list[AlertEvent]:
    """Move the detector's alerts where its verdicts or its rule changed, or somebody has ``said`` what ends them."""
    work.feedback.mark_applied(row.id for row in said)
    why, changed = model.rule_changes.get(BUDGET), set(moved)
    for row in said:
        if ends_alarm(row):
            last = work.judgements.of_rule(model.name, BUDGET, end=row.until, newest_first=True, most=1)
            changed |= {one.window_start for one in last}
    if not changed and why is None:
        return []
    starts = sorted(changed) if why is None else None
    zone = model.config.window.timezone
    reasons = [*filter(None, [why]), *(in_words(row) for row in said if not ends_alarm(row))]
    events = move_alerts(
        model.name,
        work,
        rule_of(model.config),
        now,
        changed=starts,
        why="; ".join(reasons),
        endings=guidance.endings,
        timezone=zone,
    )
    work.counters.add(model.name, ALARMS, "", sum(one.kind is ChangeKind.FIRED for one in events))
    more = {event.alert.id: event for event in tell_more(model.name, work, now)}
    told = {event.alert.id for event in events}
    fresh = [replace(one, alert=more[one.alert.id].alert) if one.alert.id in more else one for one in events]
    return [*fresh, *(event for id, event in more.items() if id not in told)]


def _end_rowless(model: MonitoredModel, work: Work, now: datetime) -> list[AlertEvent]:
    """End the alerts of segments and versions of which no rows come any more; return what people want to hear of."""
    rules, events = {rule.name: rule for rule in model.config.rules}, list[AlertEvent]()
    zone = model.config.window.timezone
    for row in work.alerts.find(model.name, status=Status.FIRING.value):
        rule = rules.get(row.rule)
        if rule is not None and History(work, model.name, rule, row.slice).rowless():
            events += move_alerts(model.name, work, rule, now, slice=row.slice, changed=[row.last_end], timezone=zone)
    return events


def _no_longer(model: MonitoredModel, slice: Slice) -> str | None:
    """Return why a slice is judged no more though no row of it was corrected; None for one that is."""
    if slice.segment is None or slice.segment.column in model.schema.segments:
        return None
    return f"{slice.segment.column} is no longer one of `columns.segments`"


@dataclass(frozen=True, slots=True)
class _Judged:
    """What is to be stored of a window. ``again_at`` is the watermark at which there is more to say of it, or None."""

    start: datetime
    again_at: datetime | None
    summaries: Mapping[Slice, WindowSummary]
    due: Sequence[str]
    judgements: Sequence[Judgement]


def _judge(model: MonitoredModel, rows: Sequence[WindowRow], watermark: datetime, now: datetime) -> _Judged:
    window = rows[0].window
    stage = stage_of(window, rows, watermark, model.config)
    profiles = _profiles_of(rows)
    labelled = profiles[WHOLE].labelled
    own = own_measures(model, window, [row.version for row in rows], labelled) if stage == "judged" else {}
    found = assess(model, window, stage, profiles, own)
    judgements = [judgement_of(model.name, window, slice, verdict, now) for slice, verdict in found.verdicts]
    return _Judged(window.start, _again_at(window, stage, model), found.summaries, found.due, judgements)


def _profiles_of(rows: Sequence[WindowRow]) -> dict[Slice, WindowProfile | SegmentProfile]:
    return sliced(*stored_profiles(rows))


def _again_at(window: Window, stage: Stage, model: MonitoredModel) -> datetime | None:
    """Return the watermark at which a window that does not change comes to its next stage."""
    if stage == "open":
        return window.end
    return window.end + model.config.labels.expected_within if stage == "waiting for labels" else None


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is new of a window: how many verdicts were stored, and whether a rule could judge it for the first time.

    ``changed`` are the rules and slices whose alerts can change: to alerts it is the same whether a rule could not
    judge a window or had not been applied to it.
    """

    start: datetime
    stored: int
    changed: set[tuple[str, Slice]]
    first: bool


def _store(model: str, work: Work, assessment: _Judged) -> _Stored:
    """Store an assessment."""
    for slice, summary in assessment.summaries.items():
        work.summaries.put(model, assessment.start, slice, _encoder.encode(summary))
        if slice == WHOLE:
            work.summaries.put_brief(model, assessment.start, _encoder.encode(brief_of(summary)))
    if assessment.again_at is None:
        work.windows.mark_settled(model, assessment.start)
    else:
        work.windows.assess_again_at(model, assessment.start, assessment.again_at)
    judged = work.judgements.find(model, rules=assessment.due, window_start=assessment.start)
    earlier = {(one.rule, one.slice): one for one in judged}
    stored, changed, first = 0, set[tuple[str, Slice]](), False
    for judgement in assessment.judgements:
        before = earlier.pop((judgement.rule, judgement.slice), None)
        if before is None or replace(before, judged_at=judgement.judged_at) != judgement:
            work.judgements.put(judgement)
            stored += 1
            known = before is not None and before.state != _NODATA
            if known or judgement.state != _NODATA:
                changed.add((judgement.rule, judgement.slice))
            first |= judgement.state != _NODATA and not known
    if assessment.again_at is None:  # all rules have spoken: what is left is of slices that they no longer judge
        for key, before in earlier.items():
            work.judgements.retire(before)
            changed.add(key)
            stored += 1
    return _Stored(assessment.start, stored, changed, first)
