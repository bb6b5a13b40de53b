"""Judges a model's windows within its budget of false alarms, through every door: served, replayed, rebuilt.

Which windows are judged, what is learnt first, and what the detector says, as the verdict of a rule. All of it is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import polars as pl
from msgspec import structs

from driftline.detection import (
    LEAST_WINDOWS,
    Basis,
    Cadence,
    Detector,
    DetectorState,
    DetectorVerdict,
    HistoryWindow,
    Observed,
    Outcome,
    Role,
    SeriesMap,
    Settings,
    Use,
    Watched,
    judge_history,
)
from driftline.events import Window, WindowSpec
from driftline.monitoring.feedback import Guidance, guidance_for
from driftline.monitoring.options import Budget, ModelConfig
from driftline.monitoring.segments import by_window, profile
from driftline.monitoring.setup import ModelSetup
from driftline.profiles import Profile
from driftline.profiles.segments import SegmentProfiles
from driftline.rules import Rule, State, Verdict
from driftline.rules.backtest import BUDGET, BacktestFinding, Detail
from driftline.rules.findings import Findings, Moved
from driftline.rules.topic import CHANCE
from driftline.text import listed
from driftline.text.durations import length

FIRST_WINDOWS = 28
"""So many windows of production are learnt from where the reference has no windows of its own."""

MOST_LEARNING = 4 * FIRST_WINDOWS
"""Learning is over after so many windows, though some of them were in alarm and are not learnt from."""

MOST_TOLD = 5
"""So many findings are told in sentences."""

ALARM_BELOW = 0.5
"""An alarm is what chance does less often than so many times in a budget's period."""


@dataclass(frozen=True, slots=True, eq=False)
class Learnt:
    """What a model's detector has learnt first: the series of its windows, and the state to go on from."""

    map: SeriesMap
    detector: Detector
    state: DetectorState

    def basis(self, cadence: Cadence) -> Basis:
        """The series and the detector, which take the windows of a model."""
        return Basis(self.map, self.detector, cadence)


class Learning(NamedTuple):
    """The verdicts of a history's first windows, and what was learnt from these; None where they are too few yet."""

    verdicts: Sequence[DetectorVerdict]
    learnt: Learnt | None


def cadence_of(config: ModelConfig, budget: Budget) -> Cadence:
    """The windows of a model, and the time in which one false alarm is tolerated."""
    return Cadence(config.window, budget.per_alarm, config.reference_rolling)


def judged_spec(window: WindowSpec) -> WindowSpec:
    """The windows that are judged: the model's own, and whole days of its time zone where these are shorter.

    >>> judged_spec(WindowSpec("1h", "Europe/Berlin")), judged_spec(WindowSpec("7d")).length
    (WindowSpec(length='1d', timezone='Europe/Berlin'), '7d')
    """
    return WindowSpec("1d", window.timezone) if Cadence(window).below_a_day else window


def first_windows(config: ModelConfig) -> int:
    """How many windows of production are learnt from first: those of a configured time, or `FIRST_WINDOWS`."""
    if config.reference_first is None:
        return FIRST_WINDOWS
    return config.reference_first // max(Cadence(config.window).length, timedelta(days=1))


def judged_windows(
    windows: Iterable[tuple[Window, Observed, bool]], cadence: Cadence, guidance: Guidance
) -> Iterator[HistoryWindow]:
    """Yield the windows that are judged, of a model's own in order of time, each with whether its labels are in.

    A day's labels are in where those of all its windows are. What is known of labels that are not all in is left out:
    labels that trickle in change nothing until then.
    """
    known = list(windows)
    waiting = [window for window, _, labelled in known if not labelled]
    own = ((window, observed) for window, observed, _ in known)
    for whole, observed in cadence.days(own) if cadence.below_a_day else own:
        labelled = not any(whole.start <= one.start < whole.end for one in waiting)
        known_of = observed if labelled else _without_labels(observed)
        yield HistoryWindow(whole, known_of, labelled, guidance.use_of(whole, observed))


def _without_labels(observed: Observed) -> Observed:
    segments = {
        column: {value: structs.replace(one, labelled=0, performance=None) for value, one in values.items()}
        for column, values in observed.segments.columns.items()
    }
    return Observed(structs.replace(observed.profile, labels=Profile(), performance=None), SegmentProfiles(segments))


def reference_windows(setup: ModelSetup, rows: pl.DataFrame) -> list[HistoryWindow]:
    """The windows of the reference's canonical rows, in order of time; none where it has no times."""
    if "time" not in rows.columns:
        return []
    known = rows.filter(pl.col("time").is_not_null()).with_columns(version=pl.lit("", pl.String))
    parts = sorted(by_window(known, judged_spec(setup.config.window)).items(), key=lambda one: one[0])
    guidance = guidance_for(setup.config, ())
    found = [(window, Observed(*profile(part, setup.schema, setup.reference))) for (window, _), part in parts]
    return [HistoryWindow(window, one, use=guidance.use_of(window, one)) for window, one in found]


def learn_from_reference(setup: ModelSetup, budget: Budget, reference: Sequence[HistoryWindow]) -> Learnt | None:
    """Learn from the windows of the reference; None where they are fewer than `LEAST_WINDOWS`, or production is to be
    learnt from.
    """
    usable = sum(one.use is Use.LEARN for one in reference)
    if usable < LEAST_WINDOWS or setup.config.reference_first is not None:
        return None
    basis = Basis.of(reference, cadence_of(setup.config, budget), _watched(setup))
    return Learnt(basis.map, basis.detector, basis.start(reference))


def learn_from_first(setup: ModelSetup, budget: Budget, windows: Sequence[HistoryWindow]) -> Learning:
    """Judge the first windows of a history, in order of time, until there are enough to go on from for good.

    The first one is held against the reference as a whole, for gross faults; with 7, 14 and 28 windows more is seen.
    While nothing is learnt for good, the verdicts are those of all windows.
    """
    first = _judged_at_first(setup, budget, windows[:MOST_LEARNING])
    if first.learnt is None:  # too few, or most of them faulty: nothing can be learnt for good
        return Learning(_judged_at_first(setup, budget, windows).verdicts, None) if windows[MOST_LEARNING:] else first
    state = first.learnt.state
    if state.reference < first_windows(setup.config):
        return first if len(windows) >= MOST_LEARNING else Learning(first.verdicts, None)
    if not state.steps:
        return first
    return _judged_at_first(setup, budget, windows[: len(first.verdicts) - state.steps])


def _judged_at_first(setup: ModelSetup, budget: Budget, windows: Sequence[HistoryWindow]) -> Learning:
    judged = judge_history(
        windows,
        cadence_of(setup.config, budget),
        reference_profile=Observed(setup.reference.profile),
        watched=_watched(setup),
        reference_windows=first_windows(setup.config),
        whole_days=True,
    )
    if judged.basis is None or judged.state is None:
        return Learning(judged.verdicts, None)
    return Learning(judged.verdicts, Learnt(judged.basis.map, judged.basis.detector, judged.state))


def _watched(setup: ModelSetup) -> Watched:
    column = setup.config.calendar_column  # it tells of days, not of the model
    return Watched(positive=setup.schema.positive, naive=setup.reference.naive, ignored=(column,) if column else ())


def judge_all(
    setup: ModelSetup,
    budget: Budget,
    windows: Sequence[HistoryWindow],
    reference: Sequence[HistoryWindow],
    guidance: Guidance,
) -> list[DetectorVerdict]:
    """Judge a history, in order of time, of the windows after those of the ``reference``, by what people said of it.

    Law: what is said is what a service says of the same windows.
    """
    learnt, said = learn_from_reference(setup, budget, reference), list[DetectorVerdict]()
    if learnt is not None:
        rest = [one for one in windows if one.window.start >= learnt.state.end]
    else:
        verdicts, learnt = learn_from_first(setup, budget, windows)
        said, rest = [*verdicts], list(windows[len(verdicts) :])
    if learnt is not None:
        basis = learnt.basis(cadence_of(setup.config, budget))
        known = basis.windows(rest) if rest else []
        said += [verdict for _, verdict in guidance.folded(basis.detector, learnt.state, known)]
    return said


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


def verdict_of(said: DetectorVerdict, cadence: Cadence) -> Verdict:
    """What the detector says of a window as the verdict of its rule (`rule_of`).

    Its value is how often chance does as much in a budget's period: at most once in each of its windows.
    """
    states = {Outcome.OK: State.OK, Outcome.ALARM: State.BREACH}
    state = states.get(said.outcome, State.NODATA)
    value = None if said.chance is None else min(said.chance, cadence.settings.budget)
    return Verdict(BUDGET, state, value, None, None, 0, ALARM_BELOW, said.reason)


def detail_of(said: DetectorVerdict, cadence: Cadence) -> Detail:
    """What the detector found in a window, by falling evidence; what a pipeline fault explains is left out.

    Gross faults, which need no alarm to have been opened, are not held against a day of the week.
    """
    suspicion = said.suspicion
    told = [one for one in said.findings if suspicion is None or one not in suspicion.muted]
    when = cadence.when(said.window) if said.episode is not None else ""
    kind = suspicion.kind.value if suspicion is not None and suspicion.kind is not None else None
    sentences = [f"{one.sentence(when, length(cadence.budget))}." for one in told[:MOST_TOLD]]
    if more := len(told) - MOST_TOLD:
        sentences += [f"{more} more moved."] * (more > 0)
    if suspicion is not None and suspicion.muted:
        sentences.append(f"What broken data explain is left out: {len(suspicion.muted)} other findings.")
    return Detail(
        kind,
        tuple(
            BacktestFinding(
                one.column,
                one.series,
                one.shift,
                one.lookback,
                one.chance,
                one.role.value,
                one.moved(f"what it is {when}" if when else "what is usual"),
            )
            for one in told
        ),
        tuple(sentences),
        suspicion.reason if suspicion is not None else "",
        tuple(dict.fromkeys(one.change for one in told)),
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
    kind = _KINDS.get(detail.suspected or "", "Something moved")
    return f"{kind}: {listed(names, 3)}" if names else kind


def findings_of_detail(detail: Detail) -> Findings:
    """What an alert of the detector says beside its number."""
    changed = tuple(dict.fromkeys(one.column for one in detail.findings if one.role == Role.FEATURE))
    suspected = (f"Suspected: {detail.reason}.",) if detail.reason else ()
    moved = tuple(Moved(one.column, one.moved, one.lookback, one.chance) for one in detail.findings[:MOST_TOLD])
    return Findings(changed, (), (), (*detail.sentences, *suspected), names_in(detail), moved, detail.kinds)


def names_in(detail: Detail) -> tuple[str, ...]:
    """What a finding is about, each once."""
    return tuple(dict.fromkeys(one.column for one in detail.findings))
