"""Sums and counts over labelled rows that merge: every measure of performance and its interval come from these."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.errors import MergeError
from driftline.profiles.blocks import MANY_CLASSES, MOST_CLASSES, Blocks, Keys, Rows, in_units, near_in_units, squared
from driftline.sketches import ExactSum, Grid, GridSketch, Moments
from driftline.sketches.moments import LARGEST

SMALLEST_PROBABILITY = float(np.finfo(np.float64).eps)
"""Probabilities are kept this far from 0 and 1 in the log loss, as scikit-learn does for float64."""

NEAR_ZERO = 1e-9
"""Labels no further from 0 than this have no relative error."""

_FEW_NAMES = 4
_ROUNDED = 0.005 + 1e-6

_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


def logit(probabilities: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return log(p / (1 - p)), so that scores near 0 and 1 keep their resolution; 0 and 1 are at the grid's ends."""
    with np.errstate(divide="ignore"):
        odds: npt.NDArray[np.float64] = np.log(probabilities) - np.log1p(-probabilities)
    return np.clip(odds, -LARGEST, LARGEST)


class ScorePair(msgspec.Struct, frozen=True):
    """The scores of one class by their logit: of the rows labelled as that class, and of the others.

    The grid comes from the reference (`driftline.profiles.reference.grid_for_scores`); pairs merge only on the same
    one.
    """

    positives: GridSketch = msgspec.field(default_factory=GridSketch)
    negatives: GridSketch = msgspec.field(default_factory=GridSketch)

    def merge(self, other: ScorePair) -> ScorePair:
        """Return the scores of both sets of rows."""
        return ScorePair(self.positives.merge(other.positives), self.negatives.merge(other.negatives))

    def turned(self) -> ScorePair:
        """Return the scores of the only other class: one minus these, which flips the sign of the logit."""
        return ScorePair(self.negatives.turned(), self.positives.turned())

    @property
    def grid(self) -> Grid:
        """The grid of both sketches."""
        return self.positives.grid if len(self.positives.cells) else self.negatives.grid


class Classification(msgspec.Struct, frozen=True):
    """Labelled rows of a binary or multiclass model.

    ``confusion`` counts (label, prediction) pairs, sorted by name. ``scores`` has a pair for each class, of the rows
    with a score. ``log_loss`` are the moments of -ln p(label), and ``brier`` those of the squared error of the
    probabilities. That is (1 - p(label))² for a binary model, over the rows that score their label; otherwise, over the
    rows that score any class, the sum over the scored classes and the remainder of 1. The remainder counts as the
    probability of a label that has no score. For both, scores that add up to more than 1 (see `rescaled`) are divided
    by their sum; ``rescaled`` counts these rows. ``blocks`` has sums by block, where blocks are known: ``n`` rows, of
    which ``right`` ones, ``log_loss`` and ``brier`` over ``losses`` rows, and for each class c the rows labelled (``l
    c``), predicted (``p c``) and both (``h c``).
    """

    confusion: Mapping[tuple[str, str], int] = {}
    scores: Mapping[str, ScorePair] = {}
    log_loss: Moments = msgspec.field(default_factory=Moments)
    brier: Moments = msgspec.field(default_factory=Moments)
    rescaled: int = 0
    blocks: Blocks = msgspec.field(default_factory=Blocks)

    @classmethod
    def of(
        cls,
        labels: pl.Series,
        predictions: pl.Series,
        scores: Mapping[str, pl.Series] | None = None,
        *,
        positive: str | None = None,
        grids: Mapping[str, Grid] | None = None,
        keys: Keys | None = None,
    ) -> Classification:
        """Count class names, shape (n,), and each class's probabilities, shape (n,) in [0, 1] or null, on their grids.

        Rows without a label or a prediction are left out, and so are scores outside [0, 1]. With ``positive`` (binary),
        a row with a score of one class gives the other one minus that.
        """
        if labels.null_count() or predictions.null_count():
            there = labels.is_not_null() & predictions.is_not_null()
            labels, predictions = labels.filter(there), predictions.filter(there)
            scores = {name: series.filter(there) for name, series in (scores or {}).items()}
            keys = None if keys is None else keys.where(there.to_numpy())
        labelled = _rows_by_name(labels)
        named = {
            name: _OfClass.of(_rows_of(name, labels, labelled), series)
            for name, series in sorted((scores or {}).items())
        }
        shares, too_much = rescaled({name: one.probability for name, one in named.items()})
        distributed = {name: one._replace(probability=shares[name]) for name, one in named.items()}
        if positive is not None:
            label_score = _score_of_label(len(labels), distributed)
            errors = (1 - label_score) ** 2
        else:
            label_score, errors = _of_many_classes(len(labels), distributed)
        losses = -np.log(np.clip(label_score, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY))
        scored = ~np.isnan(label_score)
        predicted = _rows_by_name(predictions) if labelled is not None else None
        blocks = Blocks()
        if keys is not None:
            sums, by_class = _pairs_of(labels, labelled, predictions, predicted, keys)
            if named:
                sums |= {"log_loss": near_in_units(losses, "log_loss"), "brier": near_in_units(errors, "brier")}
                sums |= {"losses": scored}
            blocks = Blocks.of(keys, sums, made_of=by_class)
        if not scored.all():
            losses, errors = losses[scored], errors[scored]
        return cls(
            confusion=_confusion(labels, labelled, predictions, predicted),
            scores={name: _score_pair(one, (grids or {}).get(name)) for name, one in named.items()},
            log_loss=Moments.of(losses),
            brier=Moments.of(errors),
            rescaled=too_much,
            blocks=blocks,
        )

    def merge(self, other: Classification) -> Classification:
        """Return the counts of both sets of rows."""
        pairs = sorted(self.confusion.keys() | other.confusion.keys())
        names = sorted(self.scores.keys() | other.scores.keys())
        return Classification(
            confusion={pair: self.confusion.get(pair, 0) + other.confusion.get(pair, 0) for pair in pairs},
            scores={
                name: self.scores.get(name, ScorePair()).merge(other.scores.get(name, ScorePair())) for name in names
            },
            log_loss=self.log_loss.merge(other.log_loss),
            brier=self.brier.merge(other.brier),
            rescaled=self.rescaled + other.rescaled,
            blocks=self.blocks.merge(other.blocks),
        )

    @property
    def count(self) -> int:
        """The number of labelled rows."""
        return sum(self.confusion.values())


_RowsByName = dict[str, pl.Series]


def _pairs_of(
    labels: pl.Series, labelled: _RowsByName | None, predictions: pl.Series, predicted: _RowsByName | None, keys: Keys
) -> tuple[dict[str, Rows], Callable[[Mapping[str, _Ints]], dict[str, _Ints]]]:
    """Masks of the rows with each label and prediction, shape (n,), and a function that turns their sums into those by
    class.
    """
    if labelled is None or predicted is None:
        known = pl.Series(keys.known)  # classes of other rows count in no block
        names = pl.concat([labels.filter(known), predictions.filter(known)]).unique().sort().to_list()
        if len(names) > MOST_CLASSES:
            return {"right": (labels == predictions).to_numpy(), MANY_CLASSES: np.ones(len(labels), np.bool_)}, dict
        rows: dict[str, Rows] = {"right": (labels == predictions).to_numpy()}
        for name in names:
            of_label, of_prediction = (labels == name).to_numpy(), (predictions == name).to_numpy()
            rows |= {f"l {name}": of_label, f"p {name}": of_prediction, f"h {name}": of_label & of_prediction}
        return rows, dict
    pairs = {f"{a} {b}": (a, b) for a in range(len(labelled)) for b in range(len(predicted))}
    sides = [*labelled.items()], [*predicted.items()]
    masks: dict[str, Rows] = {pair: (sides[0][a][1] & sides[1][b][1]).to_numpy() for pair, (a, b) in pairs.items()}

    def by_class(sums: Mapping[str, _Ints]) -> dict[str, _Ints]:
        found = {name: values for name, values in sums.items() if name not in pairs}
        for pair, (a, b) in pairs.items():
            label, prediction = sides[0][a][0], sides[1][b][0]
            parts = [f"l {label}", f"p {prediction}", *([f"h {label}", "right"] if label == prediction else [])]
            for part in parts:
                found[part] = found[part] + sums[pair] if part in found else sums[pair]
        return found

    return masks, by_class


def _confusion(
    labels: pl.Series, labelled: _RowsByName | None, predictions: pl.Series, predicted: _RowsByName | None
) -> dict[tuple[str, str], int]:
    """The number of rows with each label and prediction, by name. For few names comparing is faster than grouping."""
    if labelled is None or predicted is None:
        pairs = pl.DataFrame({"label": labels, "prediction": predictions}).group_by("label", "prediction").len()
        return {(label, prediction): int(count) for label, prediction, count in sorted(pairs.rows())}
    counts = {(a, b): int((labelled[a] & predicted[b]).sum()) for a in sorted(labelled) for b in sorted(predicted)}
    return {pair: count for pair, count in counts.items() if count}


def _rows_by_name(names: pl.Series) -> _RowsByName | None:
    """A mask, shape (n,), of the rows with each name; None if there are more than a few names."""
    found: _RowsByName = {}
    at = 0 if len(names) else None
    while at is not None:
        if len(found) == _FEW_NAMES:
            return None
        found[names[at]] = names == names[at]
        others = ~functools.reduce(operator.or_, found.values())
        at = others.arg_max() if others.any() else None
    return found


def _rows_of(name: str, labels: pl.Series, labelled: _RowsByName | None) -> npt.NDArray[np.bool_]:
    if labelled is None:
        return (labels == name).to_numpy()
    return labelled[name].to_numpy() if name in labelled else np.zeros(len(labels), np.bool_)


class _OfClass(NamedTuple):
    """A class's probability in each row, NaN where there is none in [0, 1], and whether it is the row's label."""

    probability: npt.NDArray[np.float64]
    is_label: npt.NDArray[np.bool_]

    @classmethod
    def of(cls, is_label: npt.NDArray[np.bool_], scores: pl.Series) -> _OfClass:
        probability = scores.cast(pl.Float64, strict=False).to_numpy()
        known = (probability >= 0.0) & (probability <= 1.0)
        if not known.all():
            probability = np.where(known, probability, np.nan)
        return cls(probability, is_label)


def _score_pair(one: _OfClass, grid: Grid | None) -> ScorePair:
    known = ~np.isnan(one.probability)
    probability, is_label = one.probability, one.is_label
    if not known.all():
        probability, is_label = probability[known], is_label[known]
    return ScorePair(*GridSketch.by_flag(logit(probability), is_label, grid))


def rescaled(scores: Mapping[str, _Floats]) -> tuple[Mapping[str, _Floats], int]:
    """Divide the scores of several classes by their sum in rows where that is above 1; return them and how many rows.

    Each has the shape (n,), with NaN for none. Sums above 1 that rounding to two decimals explains are left alone.

    >>> shares, rows = rescaled({"rain": np.array([0.9, 0.4]), "sun": np.array([0.9, 0.6])})
    >>> shares["rain"].tolist(), rows
    ([0.5, 0.4], 1)
    """
    if len(scores) < 2:
        return scores, 0
    total, given = _sums(scores.values())
    too_much = total > 1 + _ROUNDED * given
    if not too_much.any():
        return scores, 0
    divisor = np.where(too_much, total, 1.0)
    return {name: score / divisor for name, score in scores.items()}, int(too_much.sum())


def _sums(scores: Iterable[_Floats]) -> tuple[_Floats, _Floats]:
    """The sum and the number of the scores of each row, each shape (n,)."""
    first, *others = scores
    total, given = np.nan_to_num(first), (~np.isnan(first)).astype(np.float64)
    for score in others:
        total += np.nan_to_num(score)
        given += ~np.isnan(score)
    return total, given


def _score_of_label(rows: int, named: Mapping[str, _OfClass]) -> _Floats:
    """The probability that a binary model gave to the label of each row, shape (rows,); NaN where it gave none.

    Without a score of the label, it is one minus that of the other class.
    """
    if len(named) == 1:
        only = next(iter(named.values()))
        return np.abs(~only.is_label - only.probability)  # p or 1 - p
    of_label = np.full(rows, np.nan)
    for one in named.values():
        of_label = np.where(one.is_label, one.probability, of_label)
    for one in named.values():
        of_label = np.where(~one.is_label & np.isnan(of_label), 1.0 - one.probability, of_label)
    return of_label


def _of_many_classes(rows: int, named: Mapping[str, _OfClass]) -> tuple[_Floats, _Floats]:
    """The probability given to the label of each row, and the sum of the squared errors of its probabilities, each
    shape (rows,); NaN for rows that score no class.

    All classes without a score in a row count as one here, with the remainder of 1 as their probability.
    """
    if not named:
        return np.full(rows, np.nan), np.full(rows, np.nan)
    total, given = _sums(one.probability for one in named.values())
    left = np.maximum(1 - total, 0.0)
    of_label, errors = np.full(rows, np.nan), np.zeros(rows)
    for one in named.values():
        of_label = np.where(one.is_label, one.probability, of_label)
        errors += np.nan_to_num((one.probability - one.is_label) ** 2)
    unscored = np.isnan(of_label)
    of_label = np.where(unscored, left, of_label)
    errors += (left - unscored) ** 2
    none = given == 0
    of_label[none] = errors[none] = np.nan
    return of_label, errors


class Regression(msgspec.Struct, frozen=True):
    """Labelled rows of a regression model: sums of the error e = prediction - label and of t = label - ``centre``.

    The higher and mixed sums give the intervals of RMSE and R² by the delta method. ``residuals`` are the errors on the
    plain grid. ``relative`` are the moments of abs(e / label), for labels further than `NEAR_ZERO` from 0. ``centre``
    comes from the reference; sums merge only with the same one. ``sizes`` are the moments of abs(label), and
    ``errors_by_size`` is the sum of abs(e) · abs(label); rows that an earlier release profiled are in neither.
    ``blocks`` has sums by block, where blocks are known: ``n`` rows, ``e``, abs(e) as ``a``, e² as ``ee``, ``t``, t² as
    ``tt``, ``relative`` over ``relatives`` rows, and abs(label) as ``s``, in units of `size_unit`.
    """

    centre: float = 0.0
    errors: Moments = msgspec.field(default_factory=Moments)
    absolute: ExactSum = msgspec.field(default_factory=ExactSum)
    errors_fourth: ExactSum = msgspec.field(default_factory=ExactSum)
    targets: Moments = msgspec.field(default_factory=Moments)
    targets_third: ExactSum = msgspec.field(default_factory=ExactSum)
    targets_fourth: ExactSum = msgspec.field(default_factory=ExactSum)
    squares_by_target: ExactSum = msgspec.field(default_factory=ExactSum)
    squares_by_target_square: ExactSum = msgspec.field(default_factory=ExactSum)
    residuals: GridSketch = msgspec.field(default_factory=GridSketch)
    relative: Moments = msgspec.field(default_factory=Moments)
    blocks: Blocks = msgspec.field(default_factory=Blocks)
    sizes: Moments = msgspec.field(default_factory=Moments)
    errors_by_size: ExactSum = msgspec.field(default_factory=ExactSum)

    @classmethod
    def of(
        cls,
        labels: pl.Series,
        predictions: pl.Series,
        *,
        centre: float = 0.0,
        keys: Keys | None = None,
        unit: float = 1.0,
    ) -> Regression:
        """Sum up labels and predictions, each shape (n,). Rows that lack a finite label or prediction are left out.

        ``unit`` is the unit of the sums by block, such as the spread of the reference's labels.
        """
        y = labels.cast(pl.Float64).fill_null(np.nan).to_numpy()
        p = predictions.cast(pl.Float64).fill_null(np.nan).to_numpy()
        there = np.isfinite(y) & np.isfinite(p)
        if not there.any():
            return cls()
        with np.errstate(over="ignore"):
            e = np.clip(p[there] - y[there], -LARGEST, LARGEST)
            t = np.clip(y[there] - centre, -LARGEST, LARGEST)
            size, wrong = np.minimum(np.abs(y[there]), LARGEST), np.abs(e)
        e2, t2 = e * e, t * t
        far = np.abs(y[there]) > NEAR_ZERO
        relative = np.abs(e[far] / y[there][far])
        blocks = Blocks()
        if keys is not None:
            whole, target = in_units(e, unit), in_units(t, unit)
            shares = np.zeros(len(e))
            shares[far] = in_units(relative)
            sums = {"e": whole, "a": np.abs(whole), "ee": squared(whole), "t": target, "tt": squared(target)}
            sums |= {"s": in_units(size, size_unit(centre, unit))}
            blocks = Blocks.of(keys.where(there), {**sums, "relative": shares, "relatives": far}, unit)
        return cls(
            centre=centre,
            errors=Moments.of(e),
            absolute=ExactSum.of(wrong),
            errors_fourth=ExactSum.of(e2 * e2),
            targets=Moments.of(t),
            targets_third=ExactSum.of(t2 * t),
            targets_fourth=ExactSum.of(t2 * t2),
            squares_by_target=ExactSum.of(e2 * t),
            squares_by_target_square=ExactSum.of(e2 * t2),
            residuals=GridSketch.of(e, Grid()),
            relative=Moments.of(relative),
            blocks=blocks,
            sizes=Moments.of(size),
            errors_by_size=ExactSum.of(wrong * size),
        )

    def merge(self, other: Regression) -> Regression:
        """Return the sums of both sets of rows; raises `MergeError` for different centres."""
        if not self.count:
            return other
        if not other.count:
            return self
        if self.centre != other.centre:
            raise MergeError(f"sums around different centres do not merge: {self.centre} and {other.centre}")
        return Regression(
            centre=self.centre,
            errors=self.errors.merge(other.errors),
            absolute=self.absolute.merge(other.absolute),
            errors_fourth=self.errors_fourth.merge(other.errors_fourth),
            targets=self.targets.merge(other.targets),
            targets_third=self.targets_third.merge(other.targets_third),
            targets_fourth=self.targets_fourth.merge(other.targets_fourth),
            squares_by_target=self.squares_by_target.merge(other.squares_by_target),
            squares_by_target_square=self.squares_by_target_square.merge(other.squares_by_target_square),
            residuals=self.residuals.merge(other.residuals),
            relative=self.relative.merge(other.relative),
            blocks=self.blocks.merge(other.blocks),
            sizes=self.sizes.merge(other.sizes),
            errors_by_size=self.errors_by_size.merge(other.errors_by_size),
        )

    @property
    def count(self) -> int:
        """The number of labelled rows."""
        return self.errors.count


def size_unit(centre: float, unit: float) -> float:
    """Return the unit for sums of abs(label), for labels around ``centre`` with the spread ``unit``.

    It is a power of two, so large that few labels exceed the cap of 64 units.

    >>> size_unit(0.0, 1.0), size_unit(-1013.0, 8.0)
    (4.0, 4096.0)
    """
    return 2.0 ** (math.ceil(math.log2(max(abs(centre), unit))) + 2)


Performance = Classification | Regression


def merge_performance(a: Performance | None, b: Performance | None) -> Performance | None:
    """Merge two performances of one model; None is the identity. Raises `MergeError` for different kinds."""
    if a is None or b is None:
        return a if b is None else b
    if isinstance(a, Classification) and isinstance(b, Classification):
        return a.merge(b)
    if isinstance(a, Regression) and isinstance(b, Regression):
        return a.merge(b)
    raise MergeError("a classification and a regression are not the performance of one model")
