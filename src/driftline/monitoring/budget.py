"""Judges a model's windows within its budget of false alarms: which windows, which season, which series.

Evidence is judged on whole days where windows are shorter: profiles merge, and the tails hold there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

import polars as pl

from driftline.detection import (
    LEAST_WINDOWS,
    Detector,
    DetectorState,
    DetectorVerdict,
    Observed,
    Outcome,
    Role,
    SeriesMap,
    SeriesWindow,
    Settings,
)
from driftline.events import Window, WindowSpec
from driftline.monitoring.options import Budget, ModelConfig
from driftline.monitoring.segments import by_window, profile
from driftline.monitoring.setup import ModelSetup
from driftline.rules import Rule, State, Verdict
from driftline.rules.backtest import BUDGET, BacktestFinding, Detail
from driftline.rules.findings import Findings
from driftline.rules.topic import CHANCE
from driftline.text.durations import length

FIRST_WINDOWS = 28
"""So many windows of production are learnt from where the reference has no windows of its own."""

DAYS_OF_WEEK = 7
MOST_TOLD = 5
"""So many findings are told in sentences."""

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
ALARM_BELOW = 0.5
"""An alarm is what chance does less often than so many times in a budget's period."""


@dataclass(frozen=True, slots=True)
class Day:
    """A window that the detector judges, and what was observed in it."""

    window: Window
    observed: Observed
    labelled: bool = True


@dataclass(frozen=True, slots=True, eq=False)
class LearntDetector:
    """A model's detector with what it learnt from its first windows, from which it can go on."""

    spec: WindowSpec
    map: SeriesMap
    detector: Detector
    state: DetectorState

    @classmethod
    def of(cls, setup: ModelSetup, budget: Budget, days: Sequence[Day]) -> LearntDetector:
        """Learn from windows, at least `LEAST_WINDOWS`, in order of time (see `days_of`)."""
        spec = spec_of(setup.config.window)
        observed = [day.observed for day in days]
        series_map = SeriesMap.of(observed, positive=setup.schema.positive, naive=setup.reference.naive)
        lengths = [day.window.end - day.window.start for day in days]
        length = sum(lengths, timedelta()) / len(lengths)
        settings = Settings(budget=budget.per_alarm / length, period=period_of(spec))
        detector = Detector(series_map.series, settings)
        values = series_map.reference_values(observed)
        windows = [
            SeriesWindow(day.window, slot_of(day.window, spec), y, n, labelled=day.labelled)
            for day, y, n in zip(days, values.y, values.n, strict=True)
        ]
        return cls(spec, series_map, detector, detector.start(windows))

    def series_of(self, days: Sequence[Day]) -> list[SeriesWindow]:
        """The values of windows in order of time."""
        values = self.map.values([day.observed for day in days])
        return [
            SeriesWindow(day.window, slot_of(day.window, self.spec), y, n, labelled=day.labelled)
            for day, y, n in zip(days, values.y, values.n, strict=True)
        ]

    def judge(self, days: Sequence[Day]) -> tuple[LearntDetector, list[DetectorVerdict]]:
        """Judge windows later than all before, in order of time; return the detector after them."""
        state, verdicts = self.detector.fold(self.state, self.series_of(days))
        return replace(self, state=state), verdicts


def spec_of(window: WindowSpec) -> WindowSpec:
    """The windows that are judged: the model's own, and whole days of its time zone where these are shorter.

    >>> spec_of(WindowSpec("1h", "Europe/Berlin")), spec_of(WindowSpec("7d")).length
    (WindowSpec(length='1d', timezone='Europe/Berlin'), '7d')
    """
    return WindowSpec("1d", window.timezone) if window.length.endswith(("min", "h")) else window


def period_of(spec: WindowSpec) -> int:
    """The slots of the season: the days of the week of daily windows, otherwise one."""
    return DAYS_OF_WEEK if spec.length == "1d" else 1


def slot_of(window: Window, spec: WindowSpec) -> int:
    """The place of a window in the season, from 0: Monday where windows are days."""
    return window.start.astimezone(ZoneInfo(spec.timezone)).weekday() if spec.length == "1d" else 0


def days_of(windows: Iterable[Day], spec: WindowSpec) -> Iterator[Day]:
    """Merge windows in order of time into those that are judged; a day is labelled where all of its windows are."""
    for window, parts in groupby(windows, key=lambda day: spec.window_of(day.window.start)):
        merged: Day | None = None
        for part in parts:
            if merged is None:
                merged = Day(window, part.observed, part.labelled)
            else:
                merged = Day(window, merged.observed.merge(part.observed), merged.labelled and part.labelled)
        assert merged is not None  # a group has at least one
        yield merged


def reference_days(setup: ModelSetup, rows: pl.DataFrame) -> list[Day]:
    """The windows of the reference's canonical rows, in order of time; none where it has no times."""
    if "time" not in rows.columns:
        return []
    known = rows.filter(pl.col("time").is_not_null()).with_columns(version=pl.lit("", pl.String))
    found = []
    for (window, _), part in sorted(by_window(known, spec_of(setup.config.window)).items()):
        whole, segments = profile(part, setup.schema, setup.reference)
        found.append(Day(window, Observed(whole, segments)))
    return found


def first_days(days: Sequence[Day], first: timedelta | None) -> int:
    """How many windows of production are learnt from: those within a time, or `FIRST_WINDOWS`."""
    if first is None:
        return min(FIRST_WINDOWS, len(days))
    begin = days[0].window.start if days else None
    within = sum(begin is not None and day.window.end <= begin + first for day in days)
    return max(within, LEAST_WINDOWS)


def rule_of(config: ModelConfig) -> Rule:
    """The detector as a rule: an alert is an alarm, from its first window until ``quiet`` windows without evidence."""
    return Rule(
        BUDGET,
        CHANCE,
        below=ALARM_BELOW,
        severity=config.budget_severity,
        keep_firing_for=Settings().quiet - 1,
        min_coverage=0.0,
    )


def verdict_of(said: DetectorVerdict, settings: Settings) -> Verdict:
    """What the detector says of a window as the verdict of its rule (`rule_of`).

    Its value is how often chance does as much in a budget's period: at most once in each of its windows.
    """
    states = {Outcome.OK: State.OK, Outcome.ALARM: State.BREACH}
    state = states.get(said.outcome, State.NODATA)
    value = None if said.chance is None else min(said.chance, settings.budget)
    return Verdict(BUDGET, state, value, None, None, 0, ALARM_BELOW, said.reason)


def detail_of(said: DetectorVerdict, budget: Budget, spec: WindowSpec) -> Detail:
    """What the detector found in a window, by falling evidence; what a pipeline fault explains is left out."""
    suspicion = said.suspicion
    told = [one for one in said.findings if suspicion is None or one not in suspicion.muted]
    when = f"on {_WEEKDAYS[slot_of(said.window, spec)]}s" if period_of(spec) == DAYS_OF_WEEK else ""
    kind = suspicion.kind.value if suspicion is not None and suspicion.kind is not None else None
    sentences = [f"{one.sentence(when, length(budget.per_alarm))}." for one in told[:MOST_TOLD]]
    if more := len(told) - MOST_TOLD:
        sentences += [f"{more} more moved."] * (more > 0)
    if suspicion is not None and suspicion.muted:
        sentences.append(f"What broken data explain is left out: {len(suspicion.muted)} other findings.")
    return Detail(
        kind,
        tuple(
            BacktestFinding(one.column, one.series, one.shift, one.lookback, one.chance, one.role.value) for one in told
        ),
        tuple(sentences),
        suspicion.reason if suspicion is not None else "",
    )


_KINDS = {
    "pipeline_fault": "Pipeline fault suspected",
    "input_drift": "Input drift suspected",
    "label_fault": "Label fault suspected",
    "concept_drift": "Concept drift suspected",
    "segment": "Drift of a segment suspected",
}


def title_of(detail: Detail) -> str:
    """What an alert of the detector is called.

    >>> title_of(Detail("label_fault", (BacktestFinding("label", "share of fog", 0.5, 2, 0.01, "label"),)))
    'Label fault suspected: label'
    """
    names = names_in(detail)
    listed = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    kind = _KINDS.get(detail.suspected or "", "Something moved")
    return f"{kind}: {listed}" if listed else kind


def findings_of_detail(detail: Detail) -> Findings:
    """What an alert of the detector says beside its number."""
    changed = tuple(dict.fromkeys(one.column for one in detail.findings if one.role == Role.FEATURE))
    suspected = (f"Suspected: {detail.reason}.",) if detail.reason else ()
    return Findings(changed, (), (), (*detail.sentences, *suspected), names_in(detail))


def names_in(detail: Detail) -> tuple[str, ...]:
    """What a finding is about, each once."""
    return tuple(dict.fromkeys(one.column for one in detail.findings))
