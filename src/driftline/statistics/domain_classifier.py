"""Test whether a classifier can tell current rows from reference rows: it finds changes of any kind, in seconds.

Lopez-Paz & Oquab 2017, "Revisiting classifier two-sample tests"; Rabanser, Günnemann & Lipton 2019, "Failing loudly".
Two samples of one distribution cannot be told apart: on rows that the classifier has not seen, the area under its ROC
curve is 0.5. It rises with changes of single columns, of correlations and of relations without a correlation (a
parabola), but does not say which it was. `driftline.statistics.correlation_change` is faster, for correlations alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from driftline.errors import UsageError
from driftline.sketches.drawn import drawn_places
from driftline.statistics.correlation_change import Dependence
from driftline.statistics.significance import conclusion
from driftline.text.numbers import effect

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MEASURE = "classifier"
LEAST_ROWS = 30
MOST_ROWS = 20_000
MOST_COLUMNS = 1_000
FOLDS = 3
_MOST_CATEGORIES = 200
"""The classifier has at most 255 bins for each column."""
_NAMED = 3
_TELLING_ROWS = 2_000
_TELLING_COLUMNS = 100
_TELLING_LEAST = 0.01


def domain_classifier(
    reference: pl.DataFrame,
    current: pl.DataFrame,
    *,
    floor: float = 0.55,
    chance: float = 0.01,
    seed: int = 0,
) -> Dependence:
    """Return the cross-validated ROC AUC of gradient-boosted trees that tell current rows from reference rows.

    It uses the columns of numbers (Float64) and categories (String) that are on both sides, the first `MOST_COLUMNS` of
    them; a gap is a value like others. At most `MOST_ROWS` rows of each side are sampled (`drawn_places`). ``value`` is
    the AUC, in [0, 1]: about 0.5 without drift, and less where the same rows are on both sides. It counts as drift if
    it is at least ``floor`` and its one-sided p-value is below ``chance``. ``reason`` names the columns that tell the
    sides apart best. ``seed`` decides which row is in which fold; ``pairs`` is empty.

    Raises `UsageError` if scikit-learn is not installed. Anything wrong with the data becomes a ``problem`` instead.
    """
    try:
        from sklearn.ensemble import HistGradientBoostingClassifier
        from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]
    except ImportError as error:
        raise UsageError(
            "the domain classifier needs scikit-learn, which is not installed: python -m pip install scikit-learn"
        ) from error
    fewest = min(reference.height, current.height)
    if fewest < LEAST_ROWS:
        side = "reference" if reference.height == fewest else "current"
        problem = f"{fewest} rows in the {side} data; at least {LEAST_ROWS} are needed to tell sides apart"
        return Dependence(MEASURE, threshold=floor, problem=problem)
    mine, theirs = reference.schema, current.schema
    both = [name for name, dtype in mine.items() if theirs.get(name) == dtype and dtype in (pl.Float64, pl.String)]
    before, now = (_thinned(frame.select(both[:MOST_COLUMNS])) for frame in (reference, current))
    names, is_category, values = _encoded(pl.concat([before, now]))
    if not names:
        return Dependence(MEASURE, threshold=floor, problem="no column that varies is on both sides")
    is_current = np.arange(len(values)) >= before.height

    def fitted(rows: Flags) -> Any:
        model = HistGradientBoostingClassifier(
            max_iter=50, max_leaf_nodes=15, early_stopping=False, categorical_features=is_category, random_state=seed
        )
        return model.fit(values[rows], is_current[rows])

    rng = np.random.default_rng(seed)
    fold = _dealt(is_current, rng)
    areas: list[float] = []
    # On a busy machine the threads of OpenMP wait for each other, and take twenty times as long as one alone.
    with threadpool_limits(1):
        for number in range(FOLDS):
            held_out = fold == number
            model = fitted(~held_out)
            areas.append(_roc_auc(model.predict_proba(values[held_out])[:, 1], is_current[held_out]))
        value, p_value = sum(areas) / FOLDS, _p_value(areas, fold, is_current)
        drifted = value >= floor and p_value < chance
        reason = _reason(value, floor, p_value, chance)
        if drifted and len(names) <= _TELLING_COLUMNS:
            reason += _telling(model, values[held_out], is_current[held_out], names, rng)
    if len(both) > MOST_COLUMNS:
        reason += f"; only the first {MOST_COLUMNS:,} of {len(both):,} columns were taken"
    return Dependence(MEASURE, value=value, threshold=floor, drifted=drifted, p_value=p_value, reason=reason)


def _thinned(frame: pl.DataFrame) -> pl.DataFrame:
    return frame if frame.height <= MOST_ROWS else frame[drawn_places(frame.height, MOST_ROWS).tolist()]


def _encoded(rows: pl.DataFrame) -> tuple[list[str], list[bool], Floats]:
    """The columns that vary, which of them are categories, and their values, shape (rows, columns); NaN is missing.

    Numbers become ranks, which trees treat alike and which are never infinite. Rare categories are merged into one.
    """
    names: list[str] = []
    is_category: list[bool] = []
    values: list[Floats] = []
    for series in rows:
        column = series.fill_nan(None) if series.dtype == pl.Float64 else series
        if column.n_unique() < 2:
            continue
        if column.dtype == pl.String:
            counts = column.drop_nulls().value_counts(sort=False).sort("count", column.name, descending=[True, False])
            frequent = counts[column.name].head(_MOST_CATEGORIES)
            codes = column.replace_strict(frequent, range(len(frequent)), default=len(frequent), return_dtype=pl.Int32)
            codes = codes.set(column.is_null(), None)
        else:
            codes = column.rank()
        names.append(column.name)
        is_category.append(column.dtype == pl.String)
        values.append(codes.cast(pl.Float64).to_numpy())
    return names, is_category, np.column_stack(values) if values else np.empty((rows.height, 0))


def _dealt(is_current: Flags, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """The fold of each row; both sides are spread evenly over the folds."""
    fold = np.empty(len(is_current), np.int64)
    for side in (False, True):
        rows = rng.permutation(np.flatnonzero(is_current == side))
        fold[rows] = np.arange(len(rows)) % FOLDS
    return fold


def _roc_auc(score: Floats, is_current: Flags) -> float:
    """P(a current row has a higher score than a reference row), ties half, by ranks (Mann & Whitney 1947)."""
    rank = pl.Series(score).rank().to_numpy()
    positives = int(is_current.sum())
    negatives = len(is_current) - positives
    return float((rank[is_current].sum() - positives * (positives + 1) / 2) / (positives * negatives))


def _p_value(areas: Sequence[float], fold: npt.NDArray[np.int64], is_current: Flags) -> float:
    """The one-sided p-value of the mean AUC over the folds: without drift each follows Mann & Whitney's distribution.

    Folds are not independent, because each is part of the training data of the others. The standard error of a mean is
    at most the mean of the standard errors, whatever the dependence, so that bound is used.
    """
    errors = []
    for number in range(len(areas)):
        positives = int((is_current & (fold == number)).sum())
        negatives = int((~is_current & (fold == number)).sum())
        errors.append(math.sqrt((positives + negatives + 1) / (12 * positives * negatives)))
    z = (sum(areas) - 0.5 * len(areas)) / sum(errors)
    return math.erfc(z / math.sqrt(2)) / 2


def _reason(value: float, floor: float, p_value: float, chance: float) -> str:
    told = conclusion(effect(floor), p_value, below=value < floor, by_chance=p_value >= chance)
    return f"a classifier tells current from reference rows with a ROC AUC of {effect(value)}, which {told}"


def _telling(model: Any, values: Floats, is_current: Flags, names: Sequence[str], rng: np.random.Generator) -> str:
    """Name the columns whose permutation lowers the AUC most (permutation importance, Breiman 2001)."""
    some = rng.permutation(len(values))[:_TELLING_ROWS]
    values, is_current = values[some], is_current[some]
    if is_current.all() or not is_current.any():
        return ""
    full = _roc_auc(model.predict_proba(values)[:, 1], is_current)
    falls = []
    for at, name in enumerate(names):
        mixed = values.copy()
        mixed[:, at] = rng.permutation(mixed[:, at])
        falls.append((full - _roc_auc(model.predict_proba(mixed)[:, 1], is_current), name))
    worst = sorted(falls, key=lambda fall: (-fall[0], fall[1]))[:_NAMED]
    telling = [name for fall, name in worst if fall >= _TELLING_LEAST]
    return f"; most telling: {', '.join(telling)}" if telling else ""
