"""Test whether errors became larger: together, two sets of rows show more of the errors' tail than each by itself."""

from __future__ import annotations

import math

import numpy as np

from driftline.profiles import Regression
from driftline.sketches.moments import LARGEST
from driftline.statistics.between import BetweenBlocks
from driftline.statistics.block_sums import MAE
from driftline.statistics.intervals import difference
from driftline.statistics.special import chi_squared_sf, t_quantile

_FEW_DEGREES, _STRAIGHT = 12.0, 0.02


def mae_rose(reference: Regression, current: Regression, confidence: float) -> bool:
    """Return whether the MAE is significantly larger than on the reference, at the two-sided ``confidence``.

    Two conditions have to hold, because with few rows and a long tail of errors each alone would be too sure: the
    interval of the difference, from mean ± t·sd/√n or from blocks (`statistics.between`), excludes 0; and a mean error
    as large is improbable if all rows are dealt out anew (`dealt_p`). Without a change both hold in at most about half
    of 1 - ``confidence`` of cases, whatever the errors are. False with fewer than two rows on either side, and for
    errors too large to be summed.

    >>> import polars as pl
    >>> made = [Regression.of(pl.Series([0.0] * 200), pl.Series([size, -1.0] * 100)) for size in (1.0, 2.0)]
    >>> mae_rose(*made, 0.99), mae_rose(made[1], made[0], 0.99)
    (True, False)
    """
    sides = (reference, current)
    if min(side.count for side in sides) < 2 or any(side.errors.squares.fraction >= LARGEST**2 for side in sides):
        return False
    was, became = (_mean_and_ends(side, confidence) for side in sides)
    return difference(became, was).low > 0 and dealt_p(reference, current) < (1 - confidence) / 2


def _mean_and_ends(side: Regression, confidence: float) -> tuple[float, float, float]:
    n, mean = side.count, float(side.absolute.fraction / side.count)
    variance = max(float((side.errors.squares.fraction - n * (side.absolute.fraction / n) ** 2) / (n - 1)), 0.0)
    reach = t_quantile(confidence, n - 1) * math.sqrt(variance / n)
    between = BetweenBlocks(side, None).of(MAE)
    if between is not None:
        reach = max(reach, between.reach(confidence))
    return mean, mean - reach, mean + reach


def dealt_p(reference: Regression, current: Regression) -> float:
    """Return the one-sided p-value of the current mean absolute error among random draws of as many from all rows.

    It comes from a gamma distribution with the mean, variance and skewness of the draws (Mielke & Berry 2007), or from
    the normal one where these are skewed the other way, which gives a larger p-value. 1 where all errors are of one
    size, and with fewer than four rows.
    """
    m, total = current.count, reference.count + current.count
    sizes = reference.residuals.merge(current.residuals).folded()
    mean = float((reference.absolute.fraction + current.absolute.fraction) / total)
    squares = float((reference.errors.squares.fraction + current.errors.squares.fraction) / total)
    variance = squares - mean * mean
    if variance <= 1e-12 * squares or total < 4:
        return 1.0
    sd = math.sqrt(variance)
    centres = np.clip(sizes.grid.centres(sizes.cells), 0.0, LARGEST)
    skewness = float(sizes.counts @ np.clip((centres - mean) / sd, -total, total) ** 3) / total
    others = total - m
    error = sd * math.sqrt(others / (m * (total - 1)))
    z = (float(current.absolute.fraction / m) - mean) / error
    skewed = skewness * (others - m) * math.sqrt(total - 1) / ((total - 2) * math.sqrt(m * others))
    if skewed <= _STRAIGHT:
        return math.erfc(z / math.sqrt(2)) / 2
    degrees = 8 / skewed**2
    at = max(degrees + z * math.sqrt(2 * degrees), 0.0)
    if degrees < _FEW_DEGREES:
        return chi_squared_sf(at, max(math.floor(degrees), 1))
    straight = ((at / degrees) ** (1 / 3) - (1 - 2 / (9 * degrees))) / math.sqrt(2 / (9 * degrees))
    return math.erfc(straight / math.sqrt(2)) / 2  # Wilson & Hilferty (1931)
