"""Assesses one window: what is shown of it, and what the rules say of it. Pure, and the same for every door.

The service assesses windows of its store (`driftline.monitoring.judging`), a backtest those of a file
(`driftline.monitoring.replay`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import reduce
from typing import Protocol

import msgspec
from msgspec.structs import replace

from driftline.detection import Cadence
from driftline.events import ALL_VERSIONS, WHOLE, Slice, Window
from driftline.monitoring.options import ModelConfig
from driftline.monitoring.setup import ModelSetup
from driftline.monitoring.summary import Stage, WindowSummary, if_enough, summarize, summarize_segment, with_own
from driftline.profiles import WindowProfile
from driftline.profiles.segments import SegmentProfile, SegmentProfiles
from driftline.rules import Rule, Verdict, WindowFacts, interval_confidence, judge, measured, verdict_on
from driftline.rules.topic import needs_comparison, needs_labels
from driftline.sources.own import Replicates
from driftline.statistics import Measure


class Counted(Protocol):
    """How many rows are known of a part of a window, and how many of them are labelled."""

    @property
    def predictions(self) -> int:
        """All rows."""
        ...

    @property
    def labelled(self) -> int:
        """Those with a label."""
        ...


def stage_of(window: Window, rows: Sequence[Counted], watermark: datetime, config: ModelConfig) -> Stage:
    """How far a window has come, by event time: the newest moment that any event of the model speaks of."""
    if watermark < window.end:
        return "open"
    overdue = watermark >= window.end + config.labels.expected_within
    return "judged" if _is_complete(rows) or overdue else "waiting for labels"


@dataclass(frozen=True, slots=True)
class Arrived:
    """How far the events of a model have come, by event time: all of them, and its labels, None before the first."""

    watermark: datetime
    labels_until: datetime | None = None

    def has_labels_of(self, window: Window, rows: Sequence[Counted], config: ModelConfig) -> bool:
        """Whether no label of a window is to be waited for, so that few of them mean that labels are missing."""
        is_judged = stage_of(window, rows, self.watermark, config) == "judged"
        return is_judged and (_is_complete(rows) or self.is_overdue(window, config))

    def is_overdue(self, window: Window, config: ModelConfig) -> bool:
        """Whether labels of a window that have not come are missing.

        A window is overdue when event time says so. But where events come in batches, predictions bring it on before
        the labels of the same batch are sent: so labels have to have come as far, or the next window be overdue, too;
        of windows shorter than a day, the next day.
        """
        expected = config.labels.expected_within
        if self.labels_until is not None and self.labels_until >= window.end + expected:
            return True
        cadence = Cadence(config.window)
        following = cadence.day_spec.window_of(cadence.whole_of(window.start).end)
        return self.watermark >= following.end + expected


def _is_complete(rows: Sequence[Counted]) -> bool:
    return sum(row.labelled for row in rows) >= sum(row.predictions for row in rows)


@dataclass(frozen=True, slots=True)
class Assessment:
    """What is said of a window: summaries by slice, and the verdicts of the rules that are ``due`` at its stage."""

    summaries: Mapping[Slice, WindowSummary]
    due: Sequence[str]
    verdicts: Sequence[tuple[Slice, Verdict]]


def assess(
    setup: ModelSetup,
    window: Window,
    stage: Stage,
    profiles: Mapping[Slice, WindowProfile | SegmentProfile],
    own: Mapping[str, Replicates],
    *,
    shown: bool = True,
) -> Assessment:
    """Summarize a window's ``profiles`` (see `sliced`) and judge them by the rules of the model that are due.

    ``own`` is what people's own functions said of its labelled rows, by the names of these measures. Where nobody is
    ``shown`` the summaries, columns are compared with the reference only if a rule asks for it.
    """
    rules = setup.config.rules
    compared = shown or any(needs_comparison(rule.measure) for rule in rules)
    summaries = _summaries_of(setup, window, stage, profiles, own, compared=compared)
    due = [] if stage == "open" else [rule for rule in rules if stage == "judged" or not needs_labels(rule.measure)]
    facts = {slice: rule_facts(setup, profile, summaries[slice]) for slice, profile in profiles.items()}
    facts[WHOLE] = replace(facts[WHOLE], own=own)
    verdicts = [
        (slice, _verdict(setup, rule, known, summaries[slice]))
        for rule in due
        for slice, known in facts.items()
        if rule.judges(slice)
    ]
    return Assessment(summaries, [rule.name for rule in due], verdicts)


def sliced(
    versions: Mapping[str, WindowProfile], segments: SegmentProfiles
) -> dict[Slice, WindowProfile | SegmentProfile]:
    """The profiles of all rows of a window, of each version, and of each segment of all versions together."""
    return {
        WHOLE: reduce(WindowProfile.merge, versions.values()),
        **{Slice(version): profile for version, profile in versions.items()},
        **{Slice(segment=segment): profile for segment, profile in segments.by_segment().items()},
    }


def _summaries_of(
    setup: ModelSetup,
    window: Window,
    stage: Stage,
    profiles: Mapping[Slice, WindowProfile | SegmentProfile],
    own: Mapping[str, Replicates],
    *,
    compared: bool,
) -> dict[Slice, WindowSummary]:
    more = [rule.measure for rule in setup.config.rules]
    months, positive = setup.config.window.months_of(window), setup.schema.positive
    found: dict[Slice, WindowSummary] = {}
    only = sum(slice.version is not None for slice in profiles) == 1  # one version is all there is
    for slice, profile in profiles.items():
        if isinstance(profile, SegmentProfile):
            found[slice] = summarize_segment(
                window,
                slice,
                stage,
                profile,
                positive=positive,
                least=setup.config.floors.rows,
                naive=setup.reference.naive,
                more=more,
            )
        elif only and slice.version is not None:
            found[slice] = msgspec.structs.replace(found[WHOLE], version=slice.version)
        else:
            found[slice] = summarize(
                window,
                slice.version if slice.version is not None else ALL_VERSIONS,
                stage,
                profile,
                setup.reference,
                months=months,
                positive=positive,
                floors=setup.config.floors,
                more=more,
                compared=compared,
            )
            if slice == WHOLE:
                found[slice] = with_own(found[slice], own)
    return found


def _verdict(setup: ModelSetup, rule: Rule, facts: WindowFacts, summary: WindowSummary) -> Verdict:
    shown = _shown(rule, summary)
    if isinstance(facts.profile, WindowProfile):
        return verdict_on(rule, facts, shown=shown)
    measure = measured(rule.measure, facts, confidence=interval_confidence(rule))
    return judge(rule, if_enough(measure, facts.profile, setup.config.floors.rows), facts.coverage, shown=shown)


def rule_facts(setup: ModelSetup, profile: WindowProfile | SegmentProfile, summary: WindowSummary) -> WindowFacts:
    """What the profile and the summary of one window, or of a segment of it, show, as far as rules ask."""
    return WindowFacts(
        profile,
        features=summary.drift,
        prediction=summary.prediction_drift,
        label=summary.label_drift,
        positive=setup.schema.positive,
        chance=setup.config.floors.chance,
        naive=setup.reference.naive,
    )


def _shown(rule: Rule, summary: WindowSummary) -> Measure | None:
    """The measure that a rule speaks of as the window shows it, with its 95 % interval; None where that has none."""
    view = summary.coverage if rule.measure == "label_coverage" else summary.performance.get(rule.measure)
    return None if view is None else Measure(rule.measure, view.value, view.low, view.high, view.n)
