"""Distances against SciPy on the same counts, and the laws of distances, for every entry of the table."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial import distance as spatial

from driftline.profiles import CategoricalColumn, NumericColumn
from driftline.profiles.reference import grid_for
from driftline.statistics.distances import (
    ATOM_SHARE,
    BINS_LIMIT,
    DISTANCES,
    pair,
    wasserstein,
)
from driftline.statistics.significance_tests import TESTS, chi_squared_p, kolmogorov_smirnov_p, missing_p, rank_sum_p

WHOLE = st.lists(st.integers(0, 200), min_size=1, max_size=80)
ANY = st.one_of(
    st.none(),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, 1.5, 1e308, -1e308, 5e-324, float("inf"), float("nan")]),
)
COLUMNS = st.one_of(st.lists(ANY, max_size=40), st.lists(ANY, min_size=30, max_size=60))
NAMES = st.lists(st.one_of(st.none(), st.sampled_from("abcdefgh"), st.text(max_size=2)), max_size=60)


def numeric(reference: Any, current: Any) -> tuple[NumericColumn, NumericColumn]:
    a, b = (pl.Series(values, dtype=pl.Float64, strict=False) for values in (reference, current))
    grid = grid_for(a)
    return NumericColumn.of(a, grid), NumericColumn.of(b, grid)


def categorical(reference: Any, current: Any) -> tuple[CategoricalColumn, CategoricalColumn]:
    a, b = (pl.Series(values, dtype=pl.String) for values in (reference, current))
    return CategoricalColumn.of(a), CategoricalColumn.of(b)


# ---- laws --------------------------------------------------------------------------------------------------


@given(COLUMNS, COLUMNS)
def test_numbers_whatever_give_a_finite_distance_or_none(reference: list[Any], current: list[Any]) -> None:
    both = pair(*numeric(reference, current))
    for function in (*DISTANCES.values(), *TESTS.values()):
        value = function(both)
        assert value is None or (type(value) is float and 0 <= value < float("inf"))


@given(NAMES, NAMES)
def test_categories_whatever_give_a_finite_distance_or_none(reference: list[Any], current: list[Any]) -> None:
    both = pair(*categorical(reference, current))
    for name, function in DISTANCES.items():
        value = function(both)
        assert value is None or (type(value) is float and 0 <= value < float("inf")), name
    assert both.reference.sum() == len(reference)
    assert both.current.sum() == pytest.approx(len(current))


@pytest.mark.parametrize("name", DISTANCES)
@given(values=COLUMNS)
@settings(max_examples=40)
def test_a_column_is_at_no_distance_from_itself(name: str, values: list[Any]) -> None:
    assert DISTANCES[name](pair(*numeric(values, values))) in (0.0, None)


@pytest.mark.parametrize("name", DISTANCES)
@given(values=NAMES)
@settings(max_examples=40)
def test_categories_are_at_no_distance_from_themselves(name: str, values: list[Any]) -> None:
    assert DISTANCES[name](pair(*categorical(values, values))) in (0.0, None)


@pytest.mark.parametrize("name", [name for name in DISTANCES if name not in ("wasserstein", "ks")])
@given(a=st.lists(st.sampled_from("abc"), min_size=5), b=st.lists(st.sampled_from("abc"), min_size=5))
def test_on_the_same_bins_it_does_not_matter_which_side_is_which(name: str, a: list[str], b: list[str]) -> None:
    a, b = [*a, *"abc"], [*b, *"abc"]
    there, back = (DISTANCES[name](pair(*categorical(*sides))) for sides in ((a, b), (b, a)))
    assert there == pytest.approx(back, abs=1e-12)


@pytest.mark.parametrize("name", DISTANCES)
def test_a_larger_shift_is_a_larger_distance(name: str) -> None:
    rng = np.random.default_rng(5)
    reference, current = rng.normal(size=4000), rng.normal(size=4000)
    found = [DISTANCES[name](pair(*numeric(reference, current + shift))) for shift in (0.0, 0.2, 0.5, 1.0, 2.0)]
    assert all(value is not None for value in found)
    assert found == sorted(found, key=lambda value: value or 0.0)


def test_without_drift_the_corrected_distances_are_near_nothing() -> None:
    rng = np.random.default_rng(6)
    found: dict[str, list[float]] = {"psi": [], "psi_raw": [], "js": []}
    for _ in range(50):
        both = pair(*numeric(rng.normal(size=1000), rng.normal(size=1000)))
        for name, values in found.items():
            values.append(DISTANCES[name](both) or 0.0)
    assert float(np.mean(found["psi"])) < 0.02 < float(np.mean(found["psi_raw"]))
    assert float(np.median(found["js"])) < 0.06


# ---- bins --------------------------------------------------------------------------------------------------


@given(WHOLE, WHOLE, WHOLE)
def test_bins_do_not_move_with_the_current_rows(reference: list[int], one: list[int], two: list[int]) -> None:
    """The reference's counts over the bins that it fills are the same whatever is compared with it."""
    first, second = (pair(*numeric(reference, current)) for current in (one, two))
    counts = [both.reference[both.reference > 0].tolist() for both in (first, second)]
    assert counts[0] == counts[1]


@pytest.mark.parametrize("draw", ["normal", "lognormal", "ints", "atoms", "mixed"])
def test_there_are_at_most_64_bins(draw: str) -> None:
    rng = np.random.default_rng(3)
    values = {
        "normal": rng.normal(size=20_000),
        "lognormal": rng.lognormal(0, 3, 20_000),
        "ints": rng.integers(0, 255, 20_000).astype(float),
        "atoms": rng.integers(0, 24, 20_000).astype(float),
        "mixed": np.where(rng.random(20_000) < 0.9, rng.integers(0, 20, 20_000) * 3.0, rng.normal(30, 20, 20_000)),
    }[draw]
    both = pair(*numeric(values, rng.normal(10, 100, 20_000)))
    assert len(both.reference) <= BINS_LIMIT
    assert pair(*categorical(rng.integers(0, 500, 5000).astype(str), ["1"])).reference.shape == (BINS_LIMIT,)


def test_an_atom_is_a_bin_of_its_own() -> None:
    rng = np.random.default_rng(4)
    atom = int(2000 * ATOM_SHARE) + 20
    values = np.concatenate([np.full(atom, 3.0), rng.normal(3, 2, 2000 - atom)])
    both = pair(*numeric(values, np.full(50, 3.0)))
    assert both.current.max() == 50
    assert atom <= both.reference[both.current.argmax()] <= atom + 25  # with its cell's few other values


# ---- agreement ---------------------------------------------------------------------------------------------


@given(st.lists(st.sampled_from("abc"), min_size=1), st.lists(st.sampled_from("abc"), min_size=1))
def test_js_hellinger_and_total_variation_are_the_textbooks(a: list[str], b: list[str]) -> None:
    a, b = [*a, *"abc"], [*b, *"abc"]
    p, q = (np.array([side.count(name) for name in "abc"]) / len(side) for side in (a, b))
    both = pair(*categorical(a, b))
    # SciPy's root of a rounding error below 0 is NaN: compare squares
    expected = np.nan_to_num(spatial.jensenshannon(p, q, base=2)) ** 2
    bias = 2 / (8 * np.log(2)) * (1 / len(a) + 1 / len(b))
    assert (DISTANCES["js"](both) or 0.0) ** 2 == pytest.approx(max(expected - bias, 0.0), abs=1e-12)
    assert (DISTANCES["tv"](both) or 0.0) == pytest.approx(np.abs(p - q).sum() / 2, abs=1e-12)
    assert (DISTANCES["hellinger"](both) or 0.0) ** 2 == pytest.approx(1 - np.sqrt(p * q).sum(), abs=1e-12)


@given(WHOLE, WHOLE)
def test_ks_is_scipys_on_whole_numbers(reference: list[int], current: list[int]) -> None:
    both = pair(*numeric(reference, current))
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # SciPy's p-value, which is not asked for
        expected = stats.ks_2samp(reference, current, method="asymp").statistic
    assert DISTANCES["ks"](both) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shift", [0.0, 0.05, 0.1, 0.3])
def test_ks_and_its_p_value_are_near_scipys_on_any_numbers(shift: float) -> None:
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=1500), rng.normal(shift, 1, 1000)
    expected = stats.ks_2samp(a, b, method="asymp")
    both = pair(*numeric(a, b))
    assert DISTANCES["ks"](both) == pytest.approx(expected.statistic, abs=0.012)
    p = kolmogorov_smirnov_p(both)
    assert p is not None
    assert np.log(p) == pytest.approx(np.log(expected.pvalue), abs=0.5 + 0.2 * abs(np.log(expected.pvalue)))


@pytest.mark.parametrize("shift", [0.0, 0.1, 1.0, -3.0])
def test_wasserstein_is_scipys_in_spreads(shift: float) -> None:
    rng = np.random.default_rng(9)
    a, b = rng.normal(50, 7, 3000), rng.normal(50 + 7 * shift, 7, 2000)
    spread = (np.quantile(a, 0.84) - np.quantile(a, 0.16)) / 2
    assert wasserstein(pair(*numeric(a, b))) == pytest.approx(stats.wasserstein_distance(a, b) / spread, rel=0.02)


def test_wasserstein_knows_that_units_changed_and_is_capped() -> None:
    rng = np.random.default_rng(10)
    metres = rng.gamma(2, 2, 1000)
    both = pair(*numeric(metres, metres * 1e12))
    assert both.capped
    assert 90 < (wasserstein(both) or 0) <= 100


@given(
    st.lists(st.sampled_from("abcd"), min_size=200, max_size=400),
    st.lists(st.sampled_from("abcd"), min_size=200),
)
@settings(max_examples=30)
def test_chi_squared_is_scipys_where_nothing_is_pooled(a: list[str], b: list[str]) -> None:
    a, b = a + list("abcd" * 20), b + list("abcd" * 20)
    table = [[side.count(name) for name in "abcd"] for side in (a, b)]
    expected = stats.chi2_contingency(table, correction=False).pvalue
    assert chi_squared_p(pair(*categorical(a, b))) == pytest.approx(expected, rel=1e-9)


def counts(**rows: int) -> list[str]:
    return [name for name, number in rows.items() for _ in range(number)]


def test_a_rare_category_that_became_frequent_does_not_hide_one_that_is_gone() -> None:
    """A month of Seattle's weather whose rain is called fog and sun, against the year before it."""
    year = counts(sun=117, rain=191, drizzle=31, snow=21, fog=5)
    month = counts(sun=16, fog=14)
    assert (chi_squared_p(pair(*categorical(year, month))) or 1) < 1e-6
    assert (chi_squared_p(pair(*categorical(month, year))) or 1) < 1e-6
    assert (chi_squared_p(pair(*categorical(year * 1000, month))) or 1) < 1e-6  # however rare it was


def test_few_rows_of_rare_categories_are_no_change() -> None:
    """Every kind of day is as frequent as before, and one that was rare comes once more."""
    year, month = (
        counts(sun=180, rain=150, drizzle=20, snow=10, fog=5),
        counts(sun=14, rain=13, drizzle=1, snow=1, fog=1),
    )
    assert (chi_squared_p(pair(*categorical(year, month))) or 0) > 0.5


@pytest.mark.parametrize(("n", "m"), [(365, 30), (60, 60)])
def test_rare_categories_raise_no_false_alarms(n: int, m: int) -> None:
    """The chance of a small p-value, where both sides are drawn from one distribution, is that p-value at most."""
    rng = np.random.default_rng(12)
    shares = np.array([0.42, 0.4, 0.08, 0.05, 0.03, 0.01, 0.01])
    names, runs = np.array(list("abcdefg")), 700
    small = {0.01: 0, 0.05: 0}
    for _ in range(runs):
        a, b = (np.repeat(names, rng.multinomial(of, shares)).tolist() for of in (n, m))
        found = chi_squared_p(pair(*categorical(a, b)))
        for level in small:
            small[level] += found is not None and found <= level
    for level, found in small.items():
        assert found / runs <= level + 3.5 * math.sqrt(level * (1 - level) / runs)


@given(
    st.lists(st.integers(0, 60).map(float), min_size=30, max_size=120),
    st.lists(st.integers(0, 60).map(float), min_size=30, max_size=120),
)
def test_rank_sums_are_scipys_where_there_are_enough_to_rank(a: list[float], b: list[float]) -> None:
    found = rank_sum_p(pair(*numeric(a, b)))
    largest = max(Counter(a + b).values()) / len(a + b)
    if min(len(a), len(b)) * (1 - largest) < 10:
        assert found is None
    else:
        expected = stats.mannwhitneyu(a, b, use_continuity=False, method="asymptotic").pvalue
        assert found == pytest.approx(expected, rel=1e-9)


def test_rank_sums_say_nothing_of_a_few_values_beside_a_tie() -> None:
    """Two of 100 where one of 1,000 was: not normal, and no rarity."""
    assert rank_sum_p(pair(*numeric([0.0] * 999 + [1.0], [0.0] * 98 + [1.0] * 2))) is None
    assert rank_sum_p(pair(*categorical(["a", "b"] * 50, ["a"] * 100))) is None


@given(st.integers(1, 3000), st.integers(1, 3000), st.floats(0, 1), st.floats(0, 1))
@settings(max_examples=50)
def test_missing_is_fishers_exact_test(n: int, m: int, before: float, after: float) -> None:
    a, b = round(n * before), round(m * after)
    found = missing_p(pair(*categorical(["x"] * (n - a) + [None] * a, ["x"] * (m - b) + [None] * b)))
    if a + b in (0, n + m):
        assert found is None
    else:
        chance = stats.hypergeom(n + m, a + b, m)
        expected = min(2 * min(chance.cdf(b), chance.sf(b - 1)), 1.0)
        assert found == pytest.approx(expected, rel=1e-6, abs=1e-20)


@pytest.mark.parametrize(("n", "m"), [(30, 30), (1000, 100), (100, 1000)])
@pytest.mark.parametrize("kind", ["normal", "counts", "gaps", "common names", "rare names"])
def test_p_values_are_fair_when_nothing_changed(kind: str, n: int, m: int) -> None:
    """p < 0.05 in at most about 5 % of fresh pairs; 1,000 against 100 rows is where bins of the reference are
    not.
    """
    rng = np.random.default_rng(11)
    draw = {
        "normal": lambda size: rng.normal(size=size),
        "counts": lambda size: rng.poisson(0.7, size).astype(float),
        "gaps": lambda size: np.where(rng.random(size) < 0.05, np.nan, rng.normal(size=size)),
        "common names": lambda size: rng.choice(["a", "b", "c", "d"], size, p=[0.7, 0.2, 0.09, 0.01]),
        "rare names": lambda size: rng.integers(0, 400, size).astype(str),
    }[kind]
    make = categorical if "names" in kind else numeric
    found = [pair(*make(draw(n), draw(m))) for _ in range(200)]
    for test in TESTS.values():
        values = [p for both in found if (p := test(both)) is not None]
        assert sum(p < 0.05 for p in values) <= 0.10 * 200
