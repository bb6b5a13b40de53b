"""Every measure that has a name: one entry says all that is known of it, and adds it everywhere.

An entry reaches the report of a check, the windows of a service, the names that rules may use, what counts as worse and
by how much, the bounds of charts, and contests of two models. Measures that a user's own function names have none.
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
    """What a measure is about. An earlier topic explains a later one: broken data make a model look bad, and drift.

    How fast a model answers (operation) explains nothing, and is explained by nothing.
    """

    PIPELINE = "pipeline"
    PERFORMANCE = "performance"
    DRIFT = "drift"
    OPERATION = "operation"

    @property
    def rank(self) -> int:
        """0 for what explains the others."""
        return list(Topic).index(self)


class Better(enum.Enum):
    """Which values of a measure are the better ones."""

    HIGHER = "higher"
    LOWER = "lower"
    NEARER_0 = "nearer to 0"


class Unit(enum.Enum):
    """What a measure's number is a number of."""

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
    """What is known of a measure.

    ``function`` makes it of the labelled rows of models of the ``tasks``; without one it is of a window, or of a model.
    Values lie in ``range``. ``better`` is None where neither more nor less is. ``least_change`` is 2 points of a share
    or a correlation and 5 % of the reference's value of other units, where it is not said. ``needs_labels``: a window
    without them cannot be judged by it. ``needs_scores``: rows need probabilities. ``headline`` ones are shown
    everywhere, others where somebody asks; ``judged`` ones are compared by a check with the reference's own, by the
    test ``rose`` if it has one. ``one_class`` ones speak of one class against the others, so a multiclass model has
    none; ``by_class`` ones are shown of each class. ``of_blocks`` is how it comes from sums by block, ``paired`` how
    two models are compared. ``in_rules``: a rule of the configuration may name it.
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
        """Whether it is of the labelled rows, and speaks for a window only when enough of its rows are labelled."""
        return self.needs_labels and self.topic is not Topic.PIPELINE


STALENESS = "hours_since_last_event"
"""The measure of a model that nothing arrives of, wall-clock time."""

LATENCY = "latency_p95"
"""The seconds within which 95 of 100 answers of a window came."""

CHANCE = "chance"
"""The measure of the detector's alerts: how often chance does as much in a budget's period, over everything."""


def _share(name: str, function: Callable[[Any, MeasureRequest], Measure], **more: Any) -> MeasureSpec:
    """A share of rows, the higher the better."""
    known = MeasureSpec(
        name=name, tasks=_CLASSES, unit=Unit.SHARE, range=(0.0, 1.0), better=Better.HIGHER, function=function
    )
    return replace(known, **more)


def _error(name: str, function: Callable[[Any, MeasureRequest], Measure], **more: Any) -> MeasureSpec:
    """A size of errors of numbers, the lower the better."""
    known = MeasureSpec(
        name=name, tasks=_NUMBERS, unit=Unit.OF_LABEL, range=_SIZE, better=Better.LOWER, function=function
    )
    return replace(known, **more)


def _of_windows(name: str, topic: Topic, **more: Any) -> MeasureSpec:
    """A number of a window's rows or columns, labelled or not."""
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
    _of_windows(CHANCE, Topic.DRIFT, unit=Unit.TIMES, range=_SIZE, needs_labels=False, in_rules=False),
)

CATALOGUE: dict[str, MeasureSpec] = {spec.name: spec for spec in _ALL}
"""Every measure by name, in the order in which they are shown."""


def performance_measures(task: Task | None = None) -> tuple[str, ...]:
    """Return the measures of labelled rows that models of a task have; without one, of any task.

    >>> performance_measures(Task.REGRESSION)[:3]
    ('mae', 'rmse', 'r2')
    """
    return _names(lambda spec: spec.function is not None and (task is None or task in spec.tasks))


def rule_measures(task: Task | None = None) -> tuple[str, ...]:
    """Return the measures that rules on a model of a task may name; without one, of any task."""
    return _names(lambda spec: spec.in_rules and (task is None or task in spec.tasks))


def paired_measures(task: Task | None = None) -> tuple[str, ...]:
    """Return the measures by which two models of a task can be compared on the same rows; without one, of any task.

    >>> paired_measures(Task.REGRESSION)[:2]
    ('mae', 'rmse')
    """
    return _names(lambda spec: spec.paired is not None and (task is None or task in spec.tasks))


def headlines() -> tuple[str, ...]:
    """Return the measures that every page shows; others are shown where somebody asks for them."""
    return _names(lambda spec: spec.headline)


def measures_about(topic: Topic) -> tuple[str, ...]:
    """Return the measures of windows and models that are about a topic."""
    return _names(lambda spec: spec.function is None and spec.topic is topic)


def _names(wanted: Callable[[MeasureSpec], bool]) -> tuple[str, ...]:
    return tuple(name for name, spec in CATALOGUE.items() if wanted(spec))


def lower_is_better(name: str) -> bool:
    """Return whether less of a measure is better; False for one that is not known.

    >>> lower_is_better("mae"), lower_is_better("accuracy"), lower_is_better("bias")
    (True, False, False)
    """
    return name in CATALOGUE and CATALOGUE[name].better is Better.LOWER


def depends_on_positive(name: str) -> bool:
    """Return whether it matters to a comparison of two models by a measure which class is positive; a measure of one's
    own is not asked.

    >>> depends_on_positive("recall"), depends_on_positive("brier"), depends_on_positive("accuracy")
    (True, True, False)
    """
    spec = CATALOGUE.get(name)
    return spec is not None and (spec.needs_scores or (spec.paired is not None and spec.paired.of_positive))


def least_change(name: str, reference: float, mae: float | None = None) -> float:
    """Return the minimum change of a measure that counts: 2 points of a share, a correlation or R²; of other measures
    5 % of the reference's value; of the bias a quarter of the reference's ``mae``, which makes that about 3 % larger.

    >>> least_change("accuracy", 0.9), least_change("mae", 60.0), least_change("bias", 0.1, mae=60.0)
    (0.02, 3.0, 15.0)
    """
    spec = CATALOGUE[name]
    least = spec.least_change or (_POINTS if spec.unit in (Unit.SHARE, Unit.CORRELATION) else _OF_REFERENCE)
    if mae is not None and least.of_mae:
        return least.of_mae * mae
    return least.points or least.share * abs(reference)
