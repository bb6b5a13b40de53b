"""The verdict on one window: a rule and a measure in, a state with its reason out."""

from __future__ import annotations

import enum
import math

import msgspec

from driftline.errors import UsageError
from driftline.rules.rule import Rule
from driftline.statistics.measure import Measure
from driftline.text.numbers import beside, exact, level, numbers, percent


class State(enum.StrEnum):
    """The outcome of judging one window by a rule."""

    OK = "ok"
    BREACH = "breach"
    NODATA = "nodata"


class Verdict(msgspec.Struct, frozen=True):
    """A rule's verdict on one measure. ``value``, ``low`` and ``high`` are finite or None; ``reason`` is in words.

    ``low`` and ``high`` bound the interval that is shown. ``bound`` is the bound that was compared with the threshold,
    at the rule's own one-sided ``confidence``; None where the value itself was compared.
    """

    rule: str
    state: State
    value: float | None
    low: float | None
    high: float | None
    n: int
    threshold: float
    reason: str
    bound: float | None = None
    confidence: float | None = None


def interval_confidence(rule: Rule) -> float:
    """Return the confidence of the two-sided interval that has the rule's one-sided bound as one of its ends.

    >>> round(interval_confidence(Rule("a", "accuracy", below=0.75, confidence=0.95)), 12)
    0.9
    """
    return 1 - 2 * (1 - rule.confidence)


class Coverage(msgspec.Struct, frozen=True):
    """How many rows of a window are labelled.

    >>> str(Coverage(21, 200))
    '21 of 200 rows are labelled (10 %)'
    """

    labelled: int
    rows: int

    @property
    def share(self) -> float:
        """The share of labelled rows, 0 to 1; 0 for a window without rows."""
        return self.labelled / self.rows if self.rows else 0.0

    def __str__(self) -> str:
        verb = "row is" if self.rows == 1 else "rows are"
        return f"{self.labelled:,} of {self.rows:,} {verb} labelled ({percent(self.share)})"


def judge(rule: Rule, measure: Measure, coverage: Coverage | None = None, *, shown: Measure | None = None) -> Verdict:
    """Judge a measure by the bound of its interval: a breach is significant at the rule's confidence.

    A rule with ``below`` is breached when the upper bound lies under the threshold, one with ``above`` when the lower
    bound lies over it; the measure's interval has to be one of `interval_confidence`, else `UsageError` is raised.
    Without an interval the value itself is compared. The verdict is *nodata* without a finite value, with fewer rows
    than ``min_samples``, or with less ``coverage`` than the rule asks for. ``shown`` is the same measure with the 95 %
    interval that people see; without it they see the rule's.

    >>> accuracy = Measure("accuracy", 0.70, low=0.66, high=0.74, n=400, confidence=0.9)
    >>> judge(Rule("low", "accuracy", below=0.75), accuracy).reason
    'accuracy is 0.7; its upper bound 0.74 (95 %, n = 400) lies below 0.75'
    """
    value, ends = _finite(measure.value), shown or measure
    low, high = _finite(ends.low), _finite(ends.high)
    bound = _finite(measure.high if rule.comparison == "below" else measure.low)
    rests = measure.n, rule.threshold
    if problem := _no_data(rule, measure, value) or _not_covered(rule, coverage):
        return Verdict(rule.name, State.NODATA, value, low, high, *rests, problem, bound, rule.confidence)
    assert value is not None
    if bound is not None and not math.isclose(measure.confidence, interval_confidence(rule), abs_tol=1e-9):
        came, wanted = numbers(measure.confidence, interval_confidence(rule))
        raise UsageError(
            f"rule {rule.name!r}: {measure.name} came with an interval of confidence {came}; "
            f"judge takes interval_confidence(rule) = {wanted}; ask the statistics for that"
        )
    breach = rule.breached_by(value if bound is None else bound)
    reason = _reason(rule, measure, value, bound)
    state = State.BREACH if breach else State.OK
    return Verdict(rule.name, state, value, low, high, *rests, reason, bound, rule.confidence)


def _finite(number: float | None) -> float | None:
    return float(number) if number is not None and math.isfinite(number) else None


def _no_data(rule: Rule, measure: Measure, value: float | None) -> str:
    if value is None:
        return f"{rule.measure} cannot be had: {measure.problem or 'no finite value came'}"
    if measure.n < rule.min_samples:
        return f"{rule.measure} rests on {measure.n} rows; this rule judges from {rule.min_samples} on"
    return ""


def _not_covered(rule: Rule, coverage: Coverage | None) -> str:
    if coverage is None or coverage.share >= rule.least_coverage:
        return ""
    least = percent(rule.least_coverage)
    return f"{coverage}; this rule waits for {least} (min_coverage), as the others may be unlike them"


def _reason(rule: Rule, measure: Measure, value: float, bound: float | None) -> str:
    def shown(number: float) -> str:
        return beside(number, rule.threshold)

    threshold, at = exact(rule.threshold), "at or " if rule.inclusive else ""
    beyond = f"{at}{rule.comparison} {threshold}"
    if bound is None:
        return f"{rule.measure} is {shown(value)}, {'' if rule.breached_by(value) else 'not '}{beyond}"
    side = "upper" if rule.comparison == "below" else "lower"
    its = f"{side} bound {shown(bound)} ({level(rule.confidence)}, n = {measure.n})"
    if rule.breached_by(bound):
        return f"{rule.measure} is {shown(value)}; its {its} lies {beyond}"
    if rule.breached_by(value):
        return f"{rule.measure} is {shown(value)}, {beyond}, but chance may explain it: its {its} is not"
    return f"{rule.measure} is {shown(value)}, not {beyond}"
