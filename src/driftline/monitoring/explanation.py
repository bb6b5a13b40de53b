"""Explains an alert: where its threshold came from, and its verdict again from what is stored."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime

import msgspec
import polars as pl

from driftline.detection import Cadence, DetectorState, SeriesWindow, Use
from driftline.errors import UsageError
from driftline.events import Schema
from driftline.monitoring.assess import assess, sliced
from driftline.monitoring.budget import Learnt, cadence_of, judged_spec, verdict_of
from driftline.monitoring.feedback import guidance_for
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.own import functions_on
from driftline.monitoring.segments import stored_profiles
from driftline.monitoring.setup import ModelSetup
from driftline.profiles import Reference
from driftline.rules import Rule, State, Verdict
from driftline.rules.backtest import BUDGET, BacktestWindow
from driftline.sketches import decode
from driftline.store.alerts import AlertRow
from driftline.store.log import EventLog
from driftline.store.models import ModelRow
from driftline.store.state import Work

_AS_CLOSE = 1e-9
_WEEK = "day of week"


class BaselineSpan(msgspec.Struct, frozen=True):
    """The windows that the detector had learnt from: so many ``windows`` between two moments, aware UTC."""

    start: datetime
    end: datetime
    windows: int


class ThresholdOrigin(msgspec.Struct, frozen=True):
    """Where a threshold came from.

    Of the detector: the ``series`` with most evidence, the windows it is held against, the season that these show (None
    where they show none), the ``share`` of the budget that the series has, 0 to 1, and over how many windows the change
    was seen. Of a rule: its measure and its own ``value``; it has neither baseline nor share, and its ``lookback`` is
    for how many windows in a row it asks.
    """

    series: str
    baseline: BaselineSpan | None
    season: str | None
    share: float | None
    lookback: int
    value: float


class Rerun(msgspec.Struct, frozen=True):
    """The verdict on the window of the alert as it comes out now: ``same`` where it is the one that fired."""

    verdict: str
    value: float | None
    same: bool
    reason: str = ""


class Explanation(msgspec.Struct, frozen=True):
    """An alert explained; ``value`` and ``window`` are those that fired."""

    alert: str
    model: str
    rule: str
    window: BacktestWindow
    value: float | None
    threshold: ThresholdOrigin
    rerun: Rerun
    timezone: str = "UTC"


def explain_alert(config: ModelConfig, read: Work, row: AlertRow, log: EventLog | None = None) -> Explanation:
    """Explain an alert of a model by what is stored of its windows.

    ``log`` is read where the rule is on a measure of one's own, which rests on rows. Raises `UsageError` where no
    service has opened the model.
    """
    stored = read.models.get(config.name)
    if stored is None:
        raise UsageError(f"nothing is stored of the model {config.name}; start `driftline serve` once")
    origin, verdict = (
        _of_detector(config, read, row) if row.rule == BUDGET else _of_rule(config, read, row, stored, log)
    )
    return Explanation(
        alert=row.id,
        model=row.model,
        rule=row.name,
        window=BacktestWindow(row.window_start, row.window_end),
        value=row.value,
        threshold=origin,
        rerun=Rerun(verdict.state.value, verdict.value, _is_same(row, verdict), verdict.reason),
        timezone=config.window.timezone,
    )


def _is_same(row: AlertRow, verdict: Verdict) -> bool:
    if verdict.state is not State.BREACH or row.value is None or verdict.value is None:
        return False
    close = math.isclose(row.value, verdict.value, rel_tol=_AS_CLOSE, abs_tol=0.0)
    return close and math.isclose(row.threshold, verdict.threshold, rel_tol=_AS_CLOSE, abs_tol=0.0)


def _without(row: AlertRow, why: str) -> Verdict:
    """The verdict where there is nothing to judge any more."""
    return Verdict(row.rule, State.NODATA, None, None, None, 0, row.threshold, why)


# ---- rules -----------------------------------------------------------------------------------------------------------


def _of_rule(
    config: ModelConfig, read: Work, row: AlertRow, stored: ModelRow, log: EventLog | None
) -> tuple[ThresholdOrigin, Verdict]:
    rule = next((one for one in config.rules if one.name == row.rule), None)
    if rule is None:
        origin = ThresholdOrigin(row.measure, None, config.season, None, 1, row.threshold)
        return origin, _without(row, "the rule is not configured any more")
    setup = ModelSetup(config, decode(stored.schema, Schema), decode(stored.reference, Reference))
    origin = ThresholdOrigin(rule.measure, None, config.season, None, rule.for_windows, rule.threshold)
    return origin, _judged_again(setup, read, row, rule, log)


def _judged_again(setup: ModelSetup, read: Work, row: AlertRow, rule: Rule, log: EventLog | None) -> Verdict:
    rows = read.windows.at(row.model, row.window_start)
    if not rows:
        return _without(row, "the window is not stored any more")
    versions, segments = stored_profiles(rows)
    window, own = rows[0].window, {}
    if rule.measure in setup.config.measures and log is not None:
        parts = [log.window_rows(window, version) for version in versions]
        own = functions_on(setup, pl.concat([part for part in parts if part.height], how="diagonal_relaxed"))
    verdicts = assess(setup, window, "judged", sliced(versions, segments), own).verdicts
    found = next((one for slice, one in verdicts if slice == row.slice and one.rule == rule.name), None)
    return found or _without(row, "the window has no rows of what the alert is on any more")


# ---- the detector ----------------------------------------------------------------------------------------------------


def _of_detector(config: ModelConfig, read: Work, row: AlertRow) -> tuple[ThresholdOrigin, Verdict]:
    known = read.detections.detector(row.model)
    if config.budget is None or known is None or not known.learnt:
        unknown = ThresholdOrigin("", None, None, None, 1, row.threshold)
        return unknown, _without(row, "the detector is off, or has not learnt yet")
    learnt, cadence = decode(known.learnt, Learnt), cadence_of(config, config.budget)
    before = read.detections.state_before(row.model, row.window_start)
    state = learnt.state if before is None else decode(before.state, DetectorState)
    if row.window_start < known.begins:
        return _origin(learnt, cadence, state, row, None), _without(row, "the detector has learnt from this window")
    later = read.detections.since(row.model, state.end)
    windows = [decode(one.values, SeriesWindow) for one in later if one.start <= row.window_start]
    if not windows or windows[-1].window.start != row.window_start:
        gone = _without(row, "the detector does not judge this window any more")
        return _origin(learnt, cadence, state, row, None), gone
    guidance = guidance_for(config, read.feedback.of(row.model))
    detector = replace(learnt.detector, series=guidance.weighed(learnt.detector.series))
    for window in windows[:-1]:
        state, _ = detector.step(guidance.applied(detector, state, window.window), window)
    state = guidance.applied(detector, state, windows[-1].window)
    _, said = detector.step(state, windows[-1])
    verdict = verdict_of(said, cadence)
    if not said.findings:
        return _origin(learnt, cadence, state, row, None), verdict
    best = said.findings[0]
    same = (
        place
        for place, one in enumerate(learnt.detector.series)
        if (one.role, one.column, one.segment, one.part, one.measure)
        == (best.role, best.column, best.segment, best.part, best.measure)
    )
    origin = _origin(learnt, cadence, state, row, next(same, None))
    of = f"{best.column} ({best.segment.words})" if best.segment is not None else best.column
    return msgspec.structs.replace(origin, series=f"{of}: {best.series}", lookback=best.lookback), verdict


def _origin(
    learnt: Learnt, cadence: Cadence, state: DetectorState, row: AlertRow, place: int | None
) -> ThresholdOrigin:
    """Where the threshold of a series came from: by its ``place``, None where there is no evidence on any."""
    of, settings = [one for one in state.history if one.position < state.learnt_until], learnt.detector.settings
    if settings.rolling:
        of = [one for one in of if one.use is Use.LEARN][-state.baseline.windows :]
    ends = [judged_spec(cadence.spec).window_of(one.start).end for one in of]
    baseline = BaselineSpan(of[0].start, ends[-1], state.baseline.windows) if of else None
    if place is None:
        return ThresholdOrigin("", baseline, None, None, 1, row.threshold)
    shown = settings.period > 1 and float(state.baseline.season_share[place]) > 0
    share = learnt.detector.series[place].weight * settings.share
    return ThresholdOrigin("", baseline, _WEEK if shown else None, share, 1, row.threshold)
