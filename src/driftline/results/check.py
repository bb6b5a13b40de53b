"""The results of a check: the values from which its JSON document, its text and its page are written.

The fields of each value are the keys of its part of the JSON document, in the document's order. Shares are 0 to 1,
numbers are finite, and None stands for what is not known or does not apply.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, Literal, TypeVar

from msgspec import Struct, field

from driftline.errors import AlertsFound, UnknownNameError
from driftline.rules import Severity, State
from driftline.statistics.segment_changes import ColumnChange

FAIL_ON = ("any", "drift", "performance", "quality", "rule", "never")
"""The choices of which alerts fail a check."""

MOST_PAIRS = 1000
"""At most so many pairs of label and prediction are in a report, the most frequent ones."""

T = TypeVar("T")


class BothSides(Struct, Generic[T], frozen=True):
    """A pair of values: of the reference rows and of the current rows."""

    reference: T
    current: T


Shares = BothSides[float | None]
"""A share of the rows of each side; None for a side that lacks the column."""


class Drift(Struct, frozen=True, kw_only=True):
    """How far a column's values moved away from the reference.

    ``measure`` names the distance that decided and ``value`` is its size; ``threshold`` is the minimum effect size. All
    are None where nothing could be measured. ``p_value`` is adjusted for all columns. ``part`` names the part of a
    datetime, text or embedding that was measured. ``reason`` says which condition decided. ``distances`` and
    ``p_values`` hold every distance and the unadjusted p-value of every test on this column.
    """

    measure: str | None = None
    value: float | None = None
    threshold: float | None = None
    drifted: bool = False
    p_value: float | None = None
    part: str | None = None
    reason: str = ""
    distances: Mapping[str, float | None] = {}
    p_values: Mapping[str, float | None] = {}


class ColumnReport(Struct, frozen=True, kw_only=True):
    """The results for one column of the files. Where nothing could be measured, ``problem`` says why.

    ``role`` is feature, prediction, score or label; ``kind`` is numeric, categorical, datetime, text, embedding or
    unsupported. ``missing`` is the share of rows without a usable value. ``out_of_range`` and ``unseen`` are the shares
    of current rows outside the reference's range and in categories that the reference never had. ``changes`` say in
    words what changed.
    """

    column: str
    role: str
    kind: str
    drift: Drift
    missing: Shares
    out_of_range: float | None = None
    unseen: float | None = None
    changes: tuple[str, ...] = ()
    problem: str | None = None


class MeasureReport(Struct, frozen=True):
    """A measure of performance with its interval, on ``n`` rows; without a ``value``, ``problem`` says why.

    ``confidence`` is the two-sided level of the interval from ``low`` to ``high``, in (0, 1).
    """

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    confidence: float = 0.95
    problem: str | None = None


class ComparedMeasure(MeasureReport, frozen=True):
    """A measure of the current rows, with the same measure of the ``reference`` rows where it is known.

    ``worse`` says whether it is significantly worse than there, by the least change that counts; see
    `driftline.statistics.worse`.
    """

    reference: MeasureReport | None = None
    worse: bool = False


Performance = Mapping[str, ComparedMeasure]
"""Measures of the same rows, by name."""


class SegmentReport(Struct, frozen=True):
    """The performance on the rows whose ``column`` is ``value``."""

    column: str
    value: str
    performance: Performance


class ConfusionCount(Struct, frozen=True):
    """The number of rows with this ``label`` and this ``prediction``, on each side."""

    label: str
    prediction: str
    reference: int
    current: int


class CalibrationPoint(Struct, frozen=True):
    """The rows whose scores lie in one tenth of [0, 1]: their mean ``score``, and the ``share`` of positive ones.

    ``share`` has the interval from ``low`` to ``high``; ``rows`` is above 0. See `calibration_bins`.
    """

    score: float
    share: float
    low: float
    high: float
    rows: int


class RelationChange(Struct, frozen=True):
    """Two columns whose rank correlation changed from ``reference`` to ``current``, both in [-1, 1].

    ``labels`` say what of each column was correlated: its values, one category, or where it is missing. ``p_value`` is
    adjusted for all pairs.
    """

    columns: tuple[str, str]
    labels: tuple[str, str]
    reference: float
    current: float
    p_value: float


class DependenceReport(Struct, frozen=True):
    """Whether the relations between columns changed.

    ``measure`` is correlation or classifier. ``value`` is the largest change of a correlation, 0 to 2, or the
    classifier's ROC AUC, 0 to 1. ``pairs`` are the pairs of columns that changed, the largest change first.
    """

    measure: str
    value: float | None
    threshold: float | None
    drifted: bool
    p_value: float | None
    problem: str | None
    reason: str
    pairs: tuple[RelationChange, ...]


class RuleReport(Struct, frozen=True):
    """The verdict of a rule on the current rows: ``state`` is breach, ok, or nodata if it could not be evaluated.

    ``column`` is the feature that the rule is on, None for a rule on all rows. ``low`` and ``high`` are the interval
    that is shown. ``bound`` is the one-sided bound, at the rule's ``confidence``, that was compared with the threshold;
    None where the value itself was compared.
    """

    rule: str
    severity: Severity
    measure: str
    column: str | None
    condition: str
    state: State
    value: float | None
    low: float | None
    high: float | None
    n: int
    threshold: float
    bound: float | None
    confidence: float | None
    reason: str


class Alert(Struct, frozen=True):
    """One finding that needs attention, with ``message`` in words.

    ``kind`` is drift (of values or relations), performance, or quality (a column that is gone or changed its kind,
    values that went missing, ids that repeat). ``value`` is at or beyond ``threshold``; both are None where nothing
    could be measured.
    """

    kind: Literal["drift", "performance", "quality"]
    column: str | None
    measure: str
    value: float | None
    threshold: float | None
    message: str

    def __str__(self) -> str:
        return self.message


class RuleAlert(RuleReport, frozen=True, kw_only=True):
    """A rule in breach, with ``message`` in words."""

    kind: Literal["rule"] = "rule"
    message: str

    def __str__(self) -> str:
        return self.message


class Positive(Struct, frozen=True):
    """The positive class of a binary model: precision, recall, F1 and ROC AUC are about ``name``.

    ``guessed`` is True where the caller did not name it; ``by`` says what the guess rests on. Where the ROC AUC is
    below 0.5, ``doubt`` says that the score seems to belong to the other class, and what to do.
    """

    name: str = field(name="class")
    guessed: bool
    by: str | None = None
    doubt: str | None = None


class CheckReport(Struct, frozen=True, kw_only=True):
    """The result of a check.

    ``columns`` are by name, those that drifted most first. ``duplicates`` are the shares of rows, or ids, that repeat
    an earlier one. ``performance`` is None without labels and predictions; ``classes`` has it for each class of a
    multiclass model (None for others), ``segments`` for each segment. ``segment_changes`` split the change of the
    accuracy, or of the mean absolute error, by the segments of each column. ``confusion`` counts at most `MOST_PAIRS`
    pairs of label and prediction. ``calibration`` and ``gains`` are for a binary model with scores; see
    `calibration_bins` and `gains`. ``rules`` has the verdict of each rule, ``notes`` what is worth knowing but no
    alert, and ``guesses`` what the check inferred because the caller did not say it; ``positive`` is the positive class
    of a binary model.
    """

    verdict: Literal["ok", "alert"]
    rows: BothSides[int]
    duplicates: Shares = BothSides(None, None)
    columns: Mapping[str, ColumnReport]
    performance: Performance | None = None
    label_coverage: MeasureReport | None = None
    classes: Mapping[str, Performance] | None = None
    segments: tuple[SegmentReport, ...] = ()
    segment_changes: tuple[ColumnChange, ...] = ()
    confusion: tuple[ConfusionCount, ...] | None = None
    calibration: BothSides[tuple[CalibrationPoint, ...] | None] | None = None
    gains: BothSides[tuple[float, ...] | None] | None = None
    dependence: DependenceReport | None = None
    alerts: tuple[Alert | RuleAlert, ...]
    rules: tuple[RuleReport, ...] = ()
    notes: tuple[str, ...] = ()
    positive: Positive | None = None
    guesses: tuple[str, ...] = ()

    def alerts_of(self, kinds: str | Iterable[str]) -> tuple[Alert | RuleAlert, ...]:
        """Return the alerts of some kinds, in their order; see `raise_for_alerts`."""
        asked = kinds_of_alerts(kinds)
        return tuple(alert for alert in self.alerts if "any" in asked or alert.kind in asked)

    def raise_for_alerts(self, kinds: str | Iterable[str] = "any") -> None:
        """Raise `AlertsFound` if there is an alert of these ``kinds``: any, drift, performance, quality or rule.

        The kind *never* has no alerts. Raises `UnknownNameError` for other kinds.
        """
        if found := self.alerts_of(kinds):
            raise AlertsFound([alert.message for alert in found])


def kinds_of_alerts(kinds: str | Iterable[str]) -> frozenset[str]:
    """Return one or several kinds of alerts as a set; raise `UnknownNameError` for one that is not in `FAIL_ON`.

    >>> sorted(kinds_of_alerts(["drift", "quality"])), sorted(kinds_of_alerts("any"))
    (['drift', 'quality'], ['any'])
    """
    asked = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    for kind in asked:
        if kind not in FAIL_ON:
            raise UnknownNameError("kind of alert", kind, FAIL_ON)
    return frozenset(asked)
