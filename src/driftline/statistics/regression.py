"""Measures of a regression from the sums and the grid of its errors, in units of the label.

An error is prediction - label: above 0 where the prediction is too high.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from driftline.profiles import Regression
from driftline.sketches import GridSketch, Moments
from driftline.sketches.moments import LARGEST
from driftline.statistics.intervals import Interval, log_delta, skewed_reach
from driftline.statistics.measure import Measure
from driftline.statistics.quantiles import quantile_of
from driftline.statistics.request import NO_LABELS, ONE_ROW, TOO_LARGE, MeasureRequest
from driftline.statistics.tails import (
    Sums,
    likely_skewness,
    mean_of_rows,
    mean_of_sizes,
    mean_of_squares,
    missed_share,
)

_LABELS_BEYOND = 1.5
_SMALLEST = 2.0**-126
_SMALLEST_RATIO = Fraction(1, 1 << 900)
"""A smaller share of unexplained variance counts as 0: as a float it would vanish."""


def mae(performance: Regression, ask: MeasureRequest) -> Measure:
    """Return the mean absolute error, in units of the label; interval by `mean_of_sizes`."""
    n = performance.count
    if n < 2:
        return ask.no(ONE_ROW if n else NO_LABELS, n)
    if _capped(performance.errors):
        return ask.no(TOO_LARGE, n)
    rows = _sizes(performance)
    return ask.yes(rows.mean, mean_of_sizes(rows, ask.confidence), n)


def _sizes(performance: Regression) -> Sums:
    """The sums over the absolute values of n >= 2 errors."""
    n = performance.count
    mean = performance.absolute.fraction / n
    variance = (performance.errors.squares.fraction - n * mean * mean) / (n - 1)
    return _sums(float(mean), math.sqrt(max(float(variance), 0.0)), performance.residuals.folded())


def _sums(mean: float, sd: float, errors: GridSketch) -> Sums:
    """The sums over n >= 2 errors, or their absolute values; the skewness comes from the centres of their cells."""
    centres = np.clip(errors.grid.centres(errors.cells), -LARGEST, LARGEST)
    smallest, largest = float(centres[0]), float(centres[-1])
    if sd <= 0:
        return Sums(errors.count, mean, 0.0, 0.0, smallest, largest)
    skewness = float(errors.counts @ np.clip((centres - mean) / sd, -errors.count, errors.count) ** 3) / errors.count
    return Sums(errors.count, mean, sd, skewness, smallest, largest)


def rmse(performance: Regression, ask: MeasureRequest) -> Measure:
    """Return the root of the mean squared error, in units of the label; interval by `mean_of_squares`."""
    n = performance.count
    if n < 2:
        return ask.no(ONE_ROW if n else NO_LABELS, n)
    if _capped(performance.errors):
        return ask.no(TOO_LARGE, n)
    mse = performance.errors.squares.fraction / n
    value = math.sqrt(float(mse))
    if not value > 0:
        return ask.yes(0.0, Interval(0.0, 0.0), n)
    bounds = _mean_square(performance, mse, ask.confidence)
    return ask.yes(value, Interval(math.sqrt(bounds.low), math.sqrt(bounds.high)), n)


def _mean_square(performance: Regression, mse: Fraction, confidence: float) -> Interval:
    """The interval of the mean squared error ``mse``, above 0, of n >= 2 rows."""
    n, sizes = performance.count, performance.residuals.folded()
    variance = (performance.errors_fourth.fraction / n - mse * mse) / (n - 1) * n
    largest = float(np.clip(sizes.grid.centres(sizes.cells[-1:]), 0.0, LARGEST)[0]) ** 2
    sd = math.sqrt(max(float(variance), 0.0))
    return mean_of_squares(Sums(n, float(mse), sd, 0.0, 0.0, largest), confidence)


def r2(performance: Regression, ask: MeasureRequest) -> Measure:
    """Return the share of the labels' variance that the predictions explain: at most 1, negative for a model that is
    worse than the labels' mean.

    The interval is the delta method's from the joint moments of e = prediction - label and u = label - mean:
    1 - R² = E[e²] / E[u²] varies as (e² - (1 - R²) u²) / E[u²]. It is computed on the log scale of 1 - R² and so stays
    below 1. It is no narrower than that of the mean squared error alone (`mean_of_squares`), and allows for extreme
    labels that n rows may have missed: the variance of the labels would then be larger, and R² higher.
    """
    n = performance.count
    if n < 2:
        return ask.no(ONE_ROW if n else NO_LABELS, n)
    if _capped(performance.errors) or _capped(performance.targets):
        return ask.no(TOO_LARGE, n)
    mean = performance.targets.total.fraction / n
    e2 = performance.errors.squares.fraction / n
    t2, t3 = performance.targets.squares.fraction / n, performance.targets_third.fraction / n
    u2 = t2 - mean**2
    if u2 <= t2 * Fraction(1, 1 << 50):
        return ask.no("all labels are equal: there is no variance to explain", n)
    unexplained = e2 / u2
    if unexplained < _SMALLEST_RATIO:
        return ask.yes(1.0, Interval(1.0, 1.0), n)
    u4 = performance.targets_fourth.fraction / n - 4 * mean * t3 + 6 * mean**2 * t2 - 3 * mean**4
    e2u2 = (
        performance.squares_by_target_square.fraction / n
        - 2 * mean * performance.squares_by_target.fraction / n
        + mean**2 * e2
    )
    e4 = performance.errors_fourth.fraction / n
    relative = (e4 - 2 * unexplained * e2u2 + unexplained**2 * u4) / (e2 * e2 * (n - 1))
    try:
        ratio, error = float(unexplained), math.sqrt(max(float(relative), 0.0))
    except OverflowError:
        return ask.no(TOO_LARGE, n)
    bounds = log_delta(ratio, ratio * error, n, ask.confidence)
    if not ratio > 0:
        return ask.yes(1 - ratio, Interval(1 - bounds.high, 1 - bounds.low), n)
    if not float(e2) > 0:
        return ask.no("the errors are so small that their squares are below all numbers above 0", n)
    errors = _mean_square(performance, e2, ask.confidence)
    larger = missed_share(n, ask.confidence) * _LABELS_BEYOND * math.sqrt(max(n * float(u4 / (u2 * u2)), 0.0))
    low = min(bounds.low, ratio * errors.low / float(e2)) / (1 + larger)
    high = max(bounds.high, ratio * errors.high / float(e2))
    return ask.yes(1 - ratio, Interval(1 - high, 1 - low), n)


def bias(performance: Regression, ask: MeasureRequest) -> Measure:
    """Return the mean error, in units of the label, of either sign; interval by `mean_of_rows`."""
    n, errors = performance.count, performance.errors
    if errors.mean is None or errors.sd is None:
        return ask.no(ONE_ROW if n else NO_LABELS, n)
    if _capped(errors):
        return ask.no(TOO_LARGE, n)
    rows = _sums(errors.mean, errors.sd, performance.residuals)
    return ask.yes(errors.mean, mean_of_rows(rows, ask.confidence), n)


def mape(performance: Regression, ask: MeasureRequest) -> Measure:
    """Return the mean of abs(error / label), 0.1 for ten per cent; interval by `mean_of_sizes`.

    Rows with a label nearer to 0 than 10^-9 are left out, and ``n`` does not count them. Small labels still weigh
    heavily: a model of numbers around 0 is better judged by its MAE.
    """
    relative = performance.relative
    if relative.mean is None:
        return ask.no("every label is 0" if performance.count else NO_LABELS)
    if relative.sd is None:
        return ask.no(ONE_ROW, relative.count)
    if _capped(performance.errors) or _capped(relative):
        return ask.no(TOO_LARGE, relative.count)
    n, squares = relative.count, relative.squares.value
    skewness = likely_skewness(relative.mean, relative.sd, n)
    rows = Sums(n, relative.mean, relative.sd, skewness, 0.0, math.sqrt(squares))
    return ask.yes(relative.mean, mean_of_sizes(rows, ask.confidence), n)


def wape(performance: Regression, ask: MeasureRequest) -> Measure:
    """Return the sum of absolute errors over the sum of absolute labels, 0.1 for ten per cent (Kolassa & Schütz 2007).

    Large labels weigh most; in the MAPE all weigh alike. The interval is the delta method's: `mean_of_sizes` of
    abs(error) - WAPE · abs(label) over the mean absolute label, and its lower bound allows for large labels that the
    rows may have missed (`likely_skewness`).
    """
    n, sizes = performance.count, performance.sizes
    if n < 2:
        return ask.no(ONE_ROW if n else NO_LABELS, n)
    if (old := n - sizes.count) > 0:
        return ask.no(f"{old} rows were profiled by an earlier release, which did not sum up the sizes of labels", n)
    if _capped(performance.errors) or _capped(sizes):
        return ask.no(TOO_LARGE, n)
    mean = sizes.total.fraction / n
    if mean < _SMALLEST:
        return ask.no("every label is 0", n)
    ratio, errors = performance.absolute.fraction / n / mean, _sizes(performance)
    squares = performance.errors.squares.fraction + ratio * ratio * sizes.squares.fraction
    squares -= 2 * ratio * performance.errors_by_size.fraction
    value, unit = float(ratio), float(mean)
    sd = math.sqrt(max(float(squares / (n - 1) / (mean * mean)), 0.0))
    bounds = mean_of_sizes(Sums(n, value, sd, errors.skewness, 0.0, errors.largest / unit), ask.confidence)
    skewness = likely_skewness(unit, sizes.sd or 0.0, n) / math.sqrt(n)
    missed = skewed_reach(skewness, value * (sizes.sd or 0.0) / unit / math.sqrt(n), ask.confidence)
    return ask.yes(value, Interval(max(bounds.low - missed, 0.0), bounds.high), n)


def mase(performance: Regression, ask: MeasureRequest) -> Measure:
    """Return the MAE over that of a naive forecast on the reference (Hyndman & Koehler 2006).

    Below 1, the model is better than the forecast that each label equals the one before it. The naive forecast's error
    counts as exact, so the interval is that of the MAE in other units.
    """
    naive = ask.naive.error
    if naive is None:
        return ask.no(ask.naive.problem, performance.count)
    if naive <= _SMALLEST:
        return ask.no("the labels of the reference do not change: a naive forecast has no error", performance.count)
    own = mae(performance, ask)
    if own.value is None or own.low is None or own.high is None:
        return own
    return ask.yes(own.value / naive, Interval(own.low / naive, own.high / naive), own.n)


def _capped(sums: Moments) -> bool:
    """Whether a number may have been capped at `LARGEST`: the sum of squares is then at least its square."""
    return sums.squares.fraction >= LARGEST**2


def error_p10(performance: Regression, ask: MeasureRequest) -> Measure:
    """Return the error below which a tenth of the rows lie, in units of the label; see `quantile_of`."""
    return quantile_of(performance.residuals, 0.1, ask)


def error_p50(performance: Regression, ask: MeasureRequest) -> Measure:
    """Return the median error, in units of the label; see `quantile_of`."""
    return quantile_of(performance.residuals, 0.5, ask)


def error_p90(performance: Regression, ask: MeasureRequest) -> Measure:
    """Return the error below which nine tenths of the rows lie, in units of the label; see `quantile_of`."""
    return quantile_of(performance.residuals, 0.9, ask)


def median_absolute_error(performance: Regression, ask: MeasureRequest) -> Measure:
    """Return the median absolute error, in units of the label; see `quantile_of`."""
    return quantile_of(performance.residuals.folded(), 0.5, ask)


def absolute_error_p90(performance: Regression, ask: MeasureRequest) -> Measure:
    """Return the 90th percentile of the absolute error, in units of the label; see `quantile_of`."""
    return quantile_of(performance.residuals.folded(), 0.9, ask)
