"""The catalogue of measures: one entry describes a measure, and brings it in everywhere.

The report of a check, the windows of a service, the names that rules may use, what counts as worse and by how much, the
bounds of charts and contests of two models are all read from here. User-defined measures have no entry.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
from msgspec.structs import replace

from driftline.events import Task
from driftline.profiles import Regression
from driftline.statistics import block_sums, classification, influence, regression, scores
from driftline.statistics.block_sums import OfBlocks
from driftline.statistics.influence import Paired
from driftline.statistics.measure import Measure
from driftline.statistics.request import MeasureRequest
from driftline.statistics.rise import mae_rose


class Topic(enum.StrEnum):
    """What a measure is about. An earlier topic may explain a later one: broken data make a model look bad, and drift.

    How fast a model answers (*operation*) neither explains the others nor is explained by them; nor does an alarm of
    the detector, which may be about any of them.
    """

    PIPELINE = "pipeline"
    PERFORMANCE = "performance"
    DRIFT = "drift"
    OPERATION = "operation"
    ALARM = "alarm"

    @property
    def rank(self) -> int:
        """The place in the order of explanation: 0 for the topic that explains all others."""
        return list(Topic).index(self)


class Better(enum.Enum):
    """Which values of a measure are better."""

    HIGHER = "higher"
    LOWER = "lower"
    NEARER_0 = "nearer to 0"


class Unit(enum.Enum):
    """The unit of a measure."""

    SHARE = "share of 1"
    CORRELATION = "correlation"
    NATS = "nats"
    SQUARE = "square of a share"
    TIMES = "times"
    OF_LABEL = "unit of the label"
    HOURS = "hours"
    SECONDS = "seconds"


class LeastChange(NamedTuple):
    """The least change that counts: an amount, or a share of the reference's value, or of its mean absolute error."""

    points: float = 0.0
    share: float = 0.0
    of_mae: float = 0.0


_POINTS, _OF_REFERENCE = LeastChange(points=0.02), LeastChange(share=0.05)
_CLASSES = (Task.BINARY, Task.MULTICLASS)
_NUMBERS = (Task.REGRESSION,)
_ANY = (-math.inf, math.inf)
_SIZE = (0.0, math.inf)


class MeasureSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The description of a measure.

    ``function`` computes it from the labelled rows of models of the ``tasks``; without one it is a measure of windows
    or of models. Values lie in ``range``. ``better`` is None where neither higher nor lower values are better.
    ``least_change`` is the smallest change that counts; without it, 2 points of a share or a correlation and 5 % of the
    reference's value in other units. ``needs_labels``: a window without labels cannot be judged by it.
    ``needs_scores``: it needs probabilities. ``headline``: every page shows it; others are shown on request.
    ``judged``: a check compares it with the reference, by the test ``rose`` if there is one. ``one_class``: it is about
    one class against the others, so a multiclass model does not have it; ``by_class``: it is shown for each class.
    ``in_rules``: a rule of the configuration may name it. ``of_blocks`` says how to compute it from sums by block,
    ``paired`` how to compare two models by it.
    """

    name: str
    tasks: tuple[Task, ...]
    unit: Unit
    range: tuple[float, float]
    better: Better | None
    topic: Topic = Topic.PERFORMANCE
    function: Callable[[Any, MeasureRequest], Measure] | None = None
    least_change: LeastChange | None = None
    needs_labels: bool = True
    needs_scores: bool = False
    headline: bool = False
    judged: bool = False
    one_class: bool = False
    by_class: bool = False
    in_rules: bool = True
    of_blocks: OfBlocks | None = None
    paired: Paired | None = None
    rose: Callable[[Regression, Regression, float], bool] | None = None

    @property
    def rests_on_labels(self) -> bool:
        """Whether it is computed from labelled rows, so that it needs enough of them to judge a window."""
        return self.needs_labels and self.topic is not Topic.PIPELINE


STALENESS = "hours_since_last_event"
"""The measure of how long nothing has arrived for a model, in hours of wall-clock time."""

LATENCY = "latency_p95"
"""The 95th percentile of a window's latencies, in seconds."""

CHANCE = "chance"
"""The measure of the detector's alerts: the number of false alarms as strong as this one that chance alone is expected
to raise in the budget's period, over all series.
"""


def _share(name: str, function: Callable[[Any, MeasureRequest], Measure], **more: Any) -> MeasureSpec:
    """Describe a share of rows; higher is better."""
    known = MeasureSpec(
        name=name, tasks=_CLASSES, unit=Unit.SHARE, range=(0.0, 1.0), better=Better.HIGHER, function=function
    )
    return replace(known, **more)


def _error(name: str, function: Callable[[Any, MeasureRequest], Measure], **more: Any) -> MeasureSpec:
    """Describe the size of a regression's errors; lower is better."""
    known = MeasureSpec(
        name=name, tasks=_NUMBERS, unit=Unit.OF_LABEL, range=_SIZE, better=Better.LOWER, function=function
    )
    return replace(known, **more)


def _of_windows(name: str, topic: Topic, **more: Any) -> MeasureSpec:
    """Describe a measure of a window's rows or columns, labelled or not."""
    known = MeasureSpec(
        name=name, tasks=tuple(Task), unit=Unit.SHARE, range=(0.0, 1.0), better=Better.LOWER, topic=topic
    )
    return replace(known, **more)


_ALL = (
    _share(
        "accuracy",
        classification.accuracy,
        headline=True,
        judged=True,
        of_blocks=block_sums.ACCURACY,
        paired=Paired(influence.accuracy, exact=True),
    ),
    _share(
        "precision",
        classification.precision,
        headline=True,
        by_class=True,
        of_blocks=block_sums.PRECISION,
        paired=Paired(influence.precision, "predicted", of_positive=True),
    ),
    _share(
        "recall",
        classification.recall,
        headline=True,
        by_class=True,
        of_blocks=block_sums.RECALL,
        paired=Paired(influence.recall, "labelled", of_positive=True),
    ),
    _share(
        "f1",
        classification.f1,
        headline=True,
        by_class=True,
        of_blocks=block_sums.F1,
        paired=Paired(influence.f1, "labelled", of_positive=True),
    ),
    _share(
        "roc_auc",
        scores.roc_auc,
        headline=True,
        judged=True,
        by_class=True,
        needs_scores=True,
        paired=Paired(influence.roc_auc, "labelled", two_samples=True),
    ),
    _share(
        "log_loss",
        scores.log_loss,
        headline=True,
        unit=Unit.NATS,
        range=_SIZE,
        better=Better.LOWER,
        needs_scores=True,
        of_blocks=block_sums.LOG_LOSS,
        paired=Paired(influence.log_loss),
    ),
    _share(
        "balanced_accuracy",
        classification.balanced_accuracy,
        of_blocks=block_sums.BALANCED_ACCURACY,
        paired=Paired(influence.balanced_accuracy, "labelled"),
    ),
    _share("mcc", classification.mcc, unit=Unit.CORRELATION, range=(-1.0, 1.0), of_blocks=block_sums.MCC),
    _share(
        "brier",
        scores.brier,
        unit=Unit.SQUARE,
        range=_SIZE,
        better=Better.LOWER,
        needs_scores=True,
        of_blocks=block_sums.BRIER,
        paired=Paired(influence.brier),
    ),
    _share("specificity", classification.specificity, one_class=True, of_blocks=block_sums.SPECIFICITY),
    _share("average_precision", scores.average_precision, one_class=True, by_class=True, needs_scores=True),
    _share("calibration_error", scores.calibration_error, better=Better.LOWER, one_class=True, needs_scores=True),
    _share("gain_10", scores.gain_10, one_class=True, needs_scores=True),
    _share(
        "lift_10",
        scores.lift_10,
        unit=Unit.TIMES,
        range=(0.0, 10.0),
        one_class=True,
        needs_scores=True,
    ),
    _error(
        "mae",
        regression.mae,
        headline=True,
        judged=True,
        rose=mae_rose,
        of_blocks=block_sums.MAE,
        paired=Paired(influence.mae),
    ),
    _error("rmse", regression.rmse, headline=True, of_blocks=block_sums.RMSE, paired=Paired(influence.rmse)),
    _error(
        "r2",
        regression.r2,
        headline=True,
        unit=Unit.SHARE,
        range=(-math.inf, 1.0),
        better=Better.HIGHER,
        of_blocks=block_sums.R2,
    ),
    _error(
        "bias",
        regression.bias,
        judged=True,
        range=_ANY,
        better=Better.NEARER_0,
        least_change=LeastChange(share=0.05, of_mae=0.25),
        of_blocks=block_sums.BIAS,
    ),
    _error("mape", regression.mape, unit=Unit.TIMES, of_blocks=block_sums.MAPE),
    _error("wape", regression.wape, unit=Unit.TIMES, of_blocks=block_sums.WAPE, paired=Paired(influence.wape)),
    _error("mase", regression.mase, unit=Unit.TIMES, of_blocks=block_sums.MASE),
    _error("median_absolute_error", regression.median_absolute_error),
    _error("absolute_error_p90", regression.absolute_error_p90),
    _error("error_p10", regression.error_p10, range=_ANY, better=None),
    _error("error_p50", regression.error_p50, range=_ANY, better=None),
    _error("error_p90", regression.error_p90, range=_ANY, better=None),
    _of_windows("label_coverage", Topic.PIPELINE, better=Better.HIGHER),
    _of_windows("missing_ratio", Topic.PIPELINE, needs_labels=False),
    _of_windows("drifted_features_ratio", Topic.DRIFT, needs_labels=False),
    _of_windows("prediction_drift", Topic.DRIFT, unit=Unit.TIMES, range=_SIZE, needs_labels=False),
    _of_windows("label_drift", Topic.DRIFT, unit=Unit.TIMES, range=_SIZE),
    _of_windows(LATENCY, Topic.OPERATION, unit=Unit.SECONDS, range=_SIZE, needs_labels=False),
    _of_windows(STALENESS, Topic.PIPELINE, unit=Unit.HOURS, range=_SIZE, in_rules=False),
    _of_windows(CHANCE, Topic.ALARM, unit=Unit.TIMES, range=_SIZE, needs_labels=False, in_rules=False),
)

CATALOGUE: dict[str, MeasureSpec] = {spec.name: spec for spec in _ALL}
"""Every measure by name, in the order in which they are shown."""


def performance_measures(task: Task | None = None) -> tuple[str, ...]:
    """Return the measures of labelled rows that models of a task have; without ``task``, of any task.

    >>> performance_measures(Task.REGRESSION)[:3]
    ('mae', 'rmse', 'r2')
    """
    return _names(lambda spec: spec.function is not None and (task is None or task in spec.tasks))


def rule_measures(task: Task | None = None) -> tuple[str, ...]:
    """Return the measures that rules on a model of a task may name; without ``task``, of any task."""
    return _names(lambda spec: spec.in_rules and (task is None or task in spec.tasks))


def paired_measures(task: Task | None = None) -> tuple[str, ...]:
    """Return the measures by which two models of a task can be compared on the same rows; of any task without ``task``.

    >>> paired_measures(Task.REGRESSION)[:2]
    ('mae', 'rmse')
    """
    return _names(lambda spec: spec.paired is not None and (task is None or task in spec.tasks))


def headlines() -> tuple[str, ...]:
    """Return the measures that every page shows; others are shown on request."""
    return _names(lambda spec: spec.headline)


def measures_about(topic: Topic) -> tuple[str, ...]:
    """Return the measures of windows and models that belong to a topic."""
    return _names(lambda spec: spec.function is None and spec.topic is topic)


def _names(wanted: Callable[[MeasureSpec], bool]) -> tuple[str, ...]:
    return tuple(name for name, spec in CATALOGUE.items() if wanted(spec))


def lower_is_better(name: str) -> bool:
    """Return whether lower values of a measure are better; False for an unknown one.

    >>> lower_is_better("mae"), lower_is_better("accuracy"), lower_is_better("bias")
    (True, False, False)
    """
    return name in CATALOGUE and CATALOGUE[name].better is Better.LOWER


def depends_on_positive(name: str) -> bool:
    """Return whether a comparison of two models by a measure depends on which class is positive.

    A user-defined measure is taken not to.

    >>> depends_on_positive("recall"), depends_on_positive("brier"), depends_on_positive("accuracy")
    (True, True, False)
    """
    spec = CATALOGUE.get(name)
    return spec is not None and (spec.needs_scores or (spec.paired is not None and spec.paired.of_positive))


def least_change(name: str, reference: float, mae: float | None = None) -> float:
    """Return the smallest change of a measure that counts.

    That is 2 points of a share, a correlation or R², a quarter of the reference's ``mae`` for the bias (which makes the
    MAE about 3 % larger), and 5 % of the reference's value for other measures.

    >>> least_change("accuracy", 0.9), least_change("mae", 60.0), least_change("bias", 0.1, mae=60.0)
    (0.02, 3.0, 15.0)
    """
    spec = CATALOGUE[name]
    least = spec.least_change or (_POINTS if spec.unit in (Unit.SHARE, Unit.CORRELATION) else _OF_REFERENCE)
    if mae is not None and least.of_mae:
        return least.of_mae * mae
    return least.points or least.share * abs(reference)
