"""Judges a model's windows within its budget of false alarms, through every door: served, replayed, rebuilt.

Which windows are judged, what is learnt first, and what the detector says, as the verdict of a rule. All of it is pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import polars as pl

from driftline.detection import (
    LEAST_WINDOWS,
    REFERENCE_WINDOWS,
    Cadence,
    DetectorVerdict,
    HistoryWindow,
    Learning,
    Learnt,
    Observed,
    Outcome,
    Role,
    Turn,
    Use,
    Watched,
    learn_first,
    learn_reference,
)
from driftline.detection.history import merged_by, singles_of, until_end, without_labels
from driftline.events import Window
from driftline.monitoring.feedback import Guidance, guidance_for
from driftline.monitoring.options import Budget, ModelConfig
from driftline.monitoring.segments import profile
from driftline.monitoring.setup import ModelSetup
from driftline.profiles.by_window import by_window
from driftline.rules import Rule, State, Verdict
from driftline.rules.backtest import BUDGET, BacktestFinding, Detail
from driftline.rules.findings import Findings, Moved
from driftline.rules.topic import CHANCE
from driftline.text import listed
from driftline.text.durations import length

MOST_TOLD = 5
"""So many findings are told in sentences."""

ALARM_BELOW = 0.5
"""An alarm is what chance does less often than so many times in a budget's period."""


def cadence_of(config: ModelConfig, budget: Budget) -> Cadence:
    """The windows of a model, and the time in which one false alarm is tolerated."""
    return Cadence(config.window, budget.per_alarm, config.reference_rolling, config.season != "none")


def first_windows(config: ModelConfig) -> int:
    """How many windows of production are learnt from first: those of a configured time, or `REFERENCE_WINDOWS`."""
    if config.reference_first is None:
        return REFERENCE_WINDOWS
    return config.reference_first // max(Cadence(config.window).length, timedelta(days=1))


def judged_windows(
    windows: Iterable[tuple[Window, Observed, bool]],
    cadence: Cadence,
    guidance: Guidance,
    until: datetime | None = None,
) -> Iterator[HistoryWindow]:
    """Yield the windows that are judged, of a model's own in order of time, each with whether its labels are in.

    Hours without rows are among them, on days that have rows, as far as event time has come: ``until``, or to the end
    of the last window. What is known of labels that are not all in is left out: labels that trickle in change nothing
    until then.
    """
    own = (own_window(window, observed, cadence, guidance, labelled=labelled) for window, observed, labelled in windows)
    if not cadence.below_a_day:
        yield from own
        return
    known, end = until_end(own, until)
    for day, singles in merged_by(singles_of(known, cadence), cadence.day_spec):
        yield from fill_gaps([one for one in cadence.singles_in(day) if one.end <= end], singles, guidance)


def own_window(
    window: Window, observed: Observed, cadence: Cadence, guidance: Guidance, *, labelled: bool
) -> HistoryWindow:
    """One window of a model's own, as it is judged; of less than a day before its day is looked at: `fill_gaps`."""
    use = guidance.use_of(window, None if cadence.below_a_day else observed)
    return HistoryWindow(window, observed if labelled else without_labels(observed), labelled, use)


def fill_gaps(spans: Iterable[Window], singles: Iterable[HistoryWindow], guidance: Guidance) -> Iterator[HistoryWindow]:
    """Yield the windows of these spans of a day, one without rows where there is none among ``singles``.

    Where half of the rows say in a column that it is no ordinary day, it is none for any of them.
    """
    known = {one.window.start: one for one in singles}
    is_skipped = guidance.skips([one.observed for one in known.values()])
    for span in spans:
        one = known.get(span.start) or HistoryWindow(span, Observed(), use=guidance.use_of(span))
        yield replace(one, use=Use.SKIP) if is_skipped else one


def reference_windows(setup: ModelSetup, rows: pl.DataFrame) -> list[HistoryWindow]:
    """The windows of the reference's canonical rows, in order of time; none where it has no times."""
    if "time" not in rows.columns:
        return []
    known = rows.filter(pl.col("time").is_not_null()).with_columns(version=pl.lit("", pl.String))
    parts = sorted(by_window(known, setup.config.window).items(), key=lambda one: one[0])
    own = ((window, Observed(*profile(part, setup.schema, setup.reference)), True) for (window, _), part in parts)
    return list(judged_windows(own, Cadence(setup.config.window), guidance_for(setup.config, ())))


def learn_from_reference(setup: ModelSetup, budget: Budget, reference: Sequence[HistoryWindow]) -> Learnt | None:
    """Learn from the windows of the reference; None where they are fewer than `LEAST_WINDOWS`, or production is to be
    learnt from.
    """
    cadence = cadence_of(setup.config, budget)
    days = merged_by(reference, cadence.day_spec)
    usable = sum(all(one.use is Use.LEARN for one in parts) for _, parts in days)
    if usable < LEAST_WINDOWS or setup.config.reference_first is not None:
        return None
    return learn_reference(reference, cadence, _watched(setup))


def learn_from_first(setup: ModelSetup, budget: Budget, turns: Iterable[Turn]) -> Learning:
    """Judge the first windows of a history, in order of time, until there are enough to go on from for good.

    The first one is held against the reference as a whole, for gross faults; with 7, 14 and 28 windows more is seen.
    While nothing is learnt for good, the verdicts are those of all windows.
    """
    known, first = Observed(setup.reference.profile), first_windows(setup.config)
    return learn_first(turns, cadence_of(setup.config, budget), known, _watched(setup), first)


def _watched(setup: ModelSetup) -> Watched:
    column = setup.config.calendar_column  # it tells of days, not of the model
    return Watched(positive=setup.schema.positive, naive=setup.reference.naive, ignored=(column,) if column else ())


def judge_all(
    setup: ModelSetup,
    budget: Budget,
    turns: Sequence[Turn],
    reference: Sequence[HistoryWindow],
    guidance: Guidance,
) -> list[DetectorVerdict]:
    """Judge a history, in order of time, of the windows after those of the ``reference``, by what people said of it.

    Law: what is said is what a service says of the same windows.
    """
    learnt, said = learn_from_reference(setup, budget, reference), list[DetectorVerdict]()
    if learnt is not None:
        rest = [one for one in turns if one.window.start >= learnt.state.end]
    else:
        found = learn_from_first(setup, budget, turns)
        learnt, said, rest = found.learnt, [*found.verdicts], list(turns[len(found.verdicts) :])
    if learnt is not None:
        fold = learnt.fold(cadence_of(setup.config, budget))
        said += [step.said for step in guidance.folded(fold, learnt.state, fold.readings(rest))]
    return said


def rule_of(config: ModelConfig) -> Rule:
    """The detector as a rule: an alert is an alarm, from its first window until ``quiet`` windows without evidence."""
    cadence = Cadence(config.window)
    return Rule(
        BUDGET,
        CHANCE,
        below=ALARM_BELOW,
        severity=config.budget_severity,
        keep_firing_for=(cadence.single_settings or cadence.settings).quiet - 1,
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
    """What the detector found in a window, by falling evidence; what a pipeline fault explains is left out."""
    suspicion = said.suspicion
    told = [one for one in said.findings if suspicion is None or one not in suspicion.muted]
    kind = suspicion.kind.value if suspicion is not None and suspicion.kind is not None else None
    sentences = [f"{one.sentence(length(cadence.budget))}." for one in told[:MOST_TOLD]]
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
                one.moved,
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


def suspects_labels(title: str) -> bool:
    """Return whether an alert of the detector, by its title, says that the labels cannot be trusted.

    >>> suspects_labels("Label fault suspected: label"), suspects_labels("Input drift suspected: wind")
    (True, False)
    """
    return title.startswith(_KINDS["label_fault"])


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
    return Findings(
        changed, (), (), (*detail.sentences, *suspected), names_in(detail), moved, detail.kinds, detail.suspected or ""
    )


def names_in(detail: Detail) -> tuple[str, ...]:
    """What a finding is about, each once."""
    return tuple(dict.fromkeys(one.column for one in detail.findings))
