"""The facts about the rows of a window, or of a file, that rules are judged on, and the verdict of a rule on them.

Files and live windows are judged by the same functions, so that they cannot disagree.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import msgspec
from msgspec.structs import replace

from driftline.profiles import WindowProfile
from driftline.profiles.naive import NO_REFERENCE, Naive
from driftline.profiles.segments import SegmentProfile
from driftline.rules.rule import Rule
from driftline.rules.topic import LATENCY, feature_measure, is_of_window
from driftline.rules.verdict import Coverage, Verdict, interval_confidence, judge
from driftline.sources.own import Replicates
from driftline.statistics import Measure, label_coverage, measures, wilson
from driftline.statistics.bootstrap import measure_of
from driftline.statistics.quantiles import latency_p95


class Distance(Protocol):
    """How far a column is from the reference; see `driftline.statistics.drift.ColumnDrift`."""

    @property
    def value(self) -> float | None:
        """The column's distance; None where there is none, and ``reason`` says why."""
        ...

    @property
    def threshold(self) -> float | None:
        """The minimum effect size: smaller distances do not count."""
        ...

    @property
    def drifted(self) -> bool:
        """Whether the distance is significant and at least the minimum effect size."""
        ...

    @property
    def p_value(self) -> float | None:
        """The p-value of the distance, adjusted over all columns."""
        ...

    @property
    def missing_current(self) -> float | None:
        """The share of rows without a value, 0 to 1; None where no row has the column."""
        ...

    @property
    def reason(self) -> str:
        """Which condition decided, in words."""
        ...


class WindowFacts(msgspec.Struct, frozen=True):
    """The facts about the rows of a window, of one of its segments, or of a file.

    ``features``, ``prediction`` and ``label`` are their distances from the reference, as far as they are known.
    ``positive`` is the positive class of a binary model, ``chance`` the significance level of a distance, ``naive`` the
    error of a naive forecast on the reference, and ``own`` the results of user-defined measures, by name.
    """

    profile: WindowProfile | SegmentProfile
    features: Mapping[str, Distance] = {}
    prediction: Distance | None = None
    label: Distance | None = None
    positive: str | None = None
    chance: float = 0.01
    naive: Naive = NO_REFERENCE
    own: Mapping[str, Replicates] = {}

    @property
    def coverage(self) -> Coverage:
        """How many rows are labelled."""
        return Coverage(min(self.profile.labelled, self.profile.predictions), self.profile.predictions)


def verdict_on(rule: Rule, facts: WindowFacts, *, shown: Measure | None = None) -> Verdict:
    """Judge the rows by a rule. ``shown`` is its measure with the 95 % interval, if that was already computed."""
    measure = measured(rule.measure, facts, confidence=interval_confidence(rule))
    return judge(rule, measure, facts.coverage, shown=shown or measured(rule.measure, facts))


def measured(name: str, facts: WindowFacts, *, confidence: float = 0.95) -> Measure:
    """Return the measure that a rule names; without a value, but with the problem in words, if the rows do not have it.

    ``drifted_features_ratio`` is the share of the judged features that have drifted, ``missing_ratio`` the largest
    share of missing values of any feature, both 0 to 1. ``prediction_drift`` and ``label_drift`` are the distance from
    the reference in units of its threshold, and at most 1 where it is not significant. ``drift.<feature>`` is the
    distance itself, in the unit of the feature's distance measure; its interval begins at 0 where the distance is not
    significant, and is absent otherwise. ``missing.<feature>`` is a share, 0 to 1; 1 where no row has the column.
    """
    profile = facts.profile
    if name in facts.own:
        return measure_of(name, facts.own[name], confidence=confidence)
    if name == "label_coverage":
        return label_coverage(profile.labelled, profile.predictions, confidence=confidence)
    if name == LATENCY and isinstance(profile, WindowProfile):
        return latency_p95(profile, confidence=confidence)
    if (of := feature_measure(name)) is not None:
        blank = Measure(name, n=profile.predictions, confidence=confidence)
        return _of_feature(of[0], facts.features.get(of[1]), blank, facts.chance)
    if is_of_window(name):
        return _of_columns(name, facts)
    found = measures(
        profile.performance, confidence=confidence, positive=facts.positive, names=[name], naive=facts.naive
    )
    problem = "no labelled rows" if profile.performance is None else "this model's task does not have it"
    return found.get(name, Measure(name, confidence=confidence, problem=problem))


def beyond_chance(of: Distance) -> float | None:
    """Return the distance, capped at its threshold if it is not significant; None without a distance."""
    if of.drifted or of.value is None or of.threshold is None:
        return of.value
    return min(of.value, of.threshold)


def drifted_ratio(features: Mapping[str, Distance]) -> float | None:
    """Return the share of the judged features that have drifted, 0 to 1; None where none could be judged."""
    judged = [one.drifted for one in features.values() if one.drifted or one.value is not None]
    return sum(judged) / len(judged) if judged else None


def _of_feature(kind: str, found: Distance | None, blank: Measure, chance: float) -> Measure:
    if found is None or not blank.n:
        return replace(blank, problem="no row was seen" if found is not None else "the rows are not compared by it")
    if kind == "missing":
        share = 1.0 if found.missing_current is None else found.missing_current
        interval = wilson(round(share * blank.n), blank.n, blank.confidence)
        return replace(blank, value=share, low=min(interval.low, share), high=max(interval.high, share))
    if found.value is None:
        return replace(blank, problem=found.reason or "there is nothing to compare")
    if found.p_value is None or found.p_value >= chance:
        return replace(blank, value=found.value, low=0.0, high=found.value)
    return replace(blank, value=found.value)


def _of_columns(name: str, facts: WindowFacts) -> Measure:
    """Return a measure of all features together, of predictions or of labels, without an interval."""
    n = facts.profile.predictions
    if name == "missing_ratio":
        shares = [one.missing_current for one in facts.features.values() if one.missing_current is not None]
        return Measure(name, max(shares, default=None), n=n, problem="" if shares else "no feature was seen")
    if name == "drifted_features_ratio":
        ratio = drifted_ratio(facts.features)
        return Measure(name, ratio, n=n, problem="no feature could be compared" if ratio is None else "")
    of = facts.prediction
    if name == "label_drift":
        of, n = facts.label, facts.profile.labelled
    if of is None or of.value is None or not of.threshold:
        return Measure(name, n=n, problem=of.reason if of is not None else "there is nothing to compare")
    distance = beyond_chance(of)
    assert distance is not None  # there is a value
    return Measure(name, distance / of.threshold, n=n)
