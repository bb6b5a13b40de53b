"""Explains an alert: where its threshold came from, and its verdict again from what is stored."""

from __future__ import annotations

import math
from datetime import datetime

import msgspec
import polars as pl

from driftline.detection import Finding, Fold, FoldState, Learnt, Reading, Series, Use
from driftline.detection.history import WHOLE_DAY
from driftline.errors import UsageError
from driftline.events import Schema
from driftline.monitoring.assess import assess, sliced
from driftline.monitoring.budget import cadence_of, verdict_of
from driftline.monitoring.detecting import fold_on, state_before
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
_WEEK, _HOUR = "day of week", "hour of day"


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
    season = "yearly" if config.season == "yearly" else None
    rule = next((one for one in config.rules if one.name == row.rule), None)
    if rule is None:
        origin = ThresholdOrigin(row.measure, None, season, None, 1, row.threshold)
        return origin, _without(row, "the rule is not configured any more")
    setup = ModelSetup(config, decode(stored.schema, Schema), decode(stored.reference, Reference))
    origin = ThresholdOrigin(rule.measure, None, season, None, rule.for_windows, rule.threshold)
    return origin, _judged_again(setup, read, row, rule, log)


def _judged_again(setup: ModelSetup, read: Work, row: AlertRow, rule: Rule, log: EventLog | None) -> Verdict:
    rows = read.windows.at(row.model, row.window_start)
    if not rows:
        return _without(row, "the window is not stored any more")
    versions, segments = stored_profiles(rows)
    window, own = rows[0].window, {}
    if rule.measure in setup.config.measures and log is not None:
        parts = [part for version in versions if (part := log.window_rows(window, version)).height]
        if not parts:
            return _without(row, "the events of the window are no longer kept")
        own = functions_on(setup, pl.concat(parts, how="diagonal_relaxed"))
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
    fold, state = learnt.fold(cadence), state_before(read.detections, row.model, learnt, row.window_start)
    if row.window_start < known.begins:
        return _origin(fold, state, row, None), _without(row, "the detector has learnt from this window")
    later = read.detections.since(row.model, state.end)
    readings = [decode(one.values, Reading) for one in later if one.start <= row.window_start]
    if not readings or readings[-1].window.start != row.window_start:
        return _origin(fold, state, row, None), _without(row, "the detector does not judge this window any more")
    guidance = guidance_for(config, read.feedback.of(row.model))
    *_, last = fold_on(read.detections, row.model, fold, learnt.state, state, guidance, readings)
    best = next(iter(last.said.findings), None)
    return _origin(fold, last.before, row, best), verdict_of(last.said, cadence)


def _origin(fold: Fold, state: FoldState, row: AlertRow, best: Finding | None) -> ThresholdOrigin:
    """Where the threshold of a finding came from, None where there is no evidence on any series."""
    single = best is not None and best.unit != WHOLE_DAY and state.single is not None
    of, basis, spec = state.whole, fold.whole, fold.cadence.day_spec
    if single and state.single is not None and fold.single is not None:
        of, basis, spec = state.single.detector, fold.single, fold.cadence.single_spec
    learnt, detector = [one for one in of.history if one.position < of.learnt_until], basis.detector
    if detector.settings.rolling:
        learnt = [one for one in learnt if one.use is Use.LEARN][-of.baseline.windows :]
    baseline = None
    if learnt:
        baseline = BaselineSpan(learnt[0].start, spec.window_of(learnt[-1].start).end, of.baseline.windows)
    place = next((place for place, one in enumerate(detector.series) if best is not None and _is_of(one, best)), None)
    if best is None or place is None:
        return ThresholdOrigin("", baseline, None, None, 1, row.threshold)
    shown = detector.settings.period > 1 and float(of.baseline.season_share[place]) > 0
    season = _HOUR if single else _WEEK
    share = detector.series[place].weight * detector.settings.share
    about = f"{best.column} ({best.segment.words})" if best.segment is not None else best.column
    return ThresholdOrigin(
        f"{about}: {best.series}", baseline, season if shown else None, share, best.lookback, row.threshold
    )


def _is_of(series: Series, found: Finding) -> bool:
    return (series.subject, series.part, series.measure) == (found.subject, found.part, found.measure)
