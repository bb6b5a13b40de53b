"""The bounds that a grid promises hold for every data set: quantiles and distribution functions."""

from __future__ import annotations

import math

import datasketches
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import UsageError
from driftline.profiles import NumericColumn
from driftline.profiles.column import NumericTally
from driftline.sketches import Grid, GridSketch, Moments, encode
from driftline.sketches.scratch import CHUNK
from driftline.statistics.distances import kolmogorov_smirnov, pair

GRIDS = st.builds(Grid, st.floats(-100, 100), st.sampled_from([0.125, 1.0, 3.0, 1024.0]))
NUMBERS = st.lists(
    st.one_of(st.floats(-1e6, 1e6, width=32), st.integers(-300, 300).map(float), st.sampled_from([0.0, 1e-30, 5e30])),
    min_size=1,
    max_size=80,
)


def single(values: list[float], grid: Grid) -> np.ndarray:
    """The values as the grid sees them: rounded to float32 in its units."""
    scaled = (np.array(values) - grid.centre) / grid.scale
    return scaled.astype(np.float32).astype(float) * grid.scale + grid.centre


@given(GRIDS, NUMBERS, st.floats(0, 1))
def test_a_quantile_lies_within_its_bounds(grid: Grid, values: list[float], q: float) -> None:
    bounds = GridSketch.of(np.array(values), grid).quantile_bounds(q)
    exact = float(np.quantile(single(values, grid), q, method="inverted_cdf"))
    assert bounds is not None
    slack = 1e-9 * (abs(exact) + abs(grid.centre) + grid.scale)
    rank = math.ceil(q * len(values))
    if abs(q * len(values) - rank) < 1e-9 * len(values):  # on the edge of two values: either is a quantile
        return
    assert bounds[0] - slack <= exact <= bounds[1] + slack


@given(NUMBERS, NUMBERS)
def test_the_distance_of_two_distributions_is_right_to_within_a_cell(before: list[float], now: list[float]) -> None:
    grid = Grid(0.0, 1.0)
    sides = [NumericColumn.of(pl.Series(values), grid) for values in (before, now)]
    found = kolmogorov_smirnov(pair(sides[0], sides[1]))
    places = np.sort(single(before + now, grid))
    exact = max(abs(np.mean(single(before, grid) <= x) - np.mean(single(now, grid) <= x)) for x in places)
    largest = max(float(side.sketch.counts.max()) / side.sketch.count for side in sides)
    assert found is not None and found <= exact + 1e-9 and exact <= found + largest + 1e-9


def test_an_empty_sketch_has_no_bounds() -> None:
    assert GridSketch().quantile_bounds(0.5) is None
    with pytest.raises(UsageError):
        GridSketch().quantile_bounds(1.5)


# ---- moments that are rounded ------------------------------------------------------------------------------


@given(st.floats(-1e3, 1e3), st.integers(-20, 20), st.lists(st.floats(-50, 50), min_size=2, max_size=100))
def test_rounded_moments_are_as_near_as_is_promised(centre: float, power: int, units: list[float]) -> None:
    scale = 2.0**power
    values = np.array(units) * scale + centre
    column = NumericColumn.of(pl.Series(values), Grid(centre, scale))
    assert column.mean is not None and column.sd is not None
    rounding = 4 * np.finfo(float).eps * (abs(centre) + 50 * scale)
    assert abs(column.mean - math.fsum(values) / len(values)) <= 2**-41 * scale + rounding
    exact = float(np.var(values - centre, ddof=1))
    assert column.sd**2 == pytest.approx(exact, abs=scale**2 * (2**-13 * (math.sqrt(exact) / scale + 1)) + rounding)


@pytest.mark.parametrize("scale", [0.5, 3.0, 2.0**-300, 2.0**300])
def test_any_chunks_of_a_column_give_the_same_bytes(scale: float) -> None:
    rng = np.random.default_rng(1)
    values = pl.Series(rng.standard_cauchy(CHUNK + 5000) * scale)
    whole = NumericColumn.of(values, Grid(scale, scale))
    tally = NumericTally(Grid(scale, scale))
    for part in np.split(values.to_numpy(), np.sort(rng.integers(0, len(values), 40))):
        tally.add(pl.Series(part, dtype=pl.Float64))
    assert encode(tally.column()) == encode(whole)


def test_moments_of_many_values_are_those_of_numpy() -> None:
    values = np.random.default_rng(2).lognormal(1, 2, 3 * CHUNK + 11)
    column = NumericColumn.of(pl.Series(values), Grid(2.0, 4.0))
    assert column.mean == pytest.approx(values.mean(), rel=1e-12)
    assert column.sd == pytest.approx(values.std(ddof=1), rel=1e-7)
    exact = Moments.of(values)
    assert exact.mean == pytest.approx(math.fsum(values) / len(values), rel=1e-15)


# ---- beside a reference implementation ---------------------------------------------------------------------


@pytest.mark.parametrize("q", [0.01, 0.25, 0.5, 0.9, 0.999])
def test_quantiles_agree_with_data_sketches(q: float) -> None:
    """The grid is right in value (a cell), KLL in rank (1.3 %): the grid's cell meets the range of KLL's ranks."""
    values = np.random.default_rng(3).lognormal(0, 1, 50_000)
    kll = datasketches.kll_doubles_sketch(200)
    kll.update(values)
    error = kll.normalized_rank_error(False) * 3
    low, high = kll.get_quantile(max(q - error, 0.0)), kll.get_quantile(min(q + error, 1.0))
    bounds = GridSketch.of(values).quantile_bounds(q)
    assert bounds is not None and bounds[0] <= high and low <= bounds[1]
