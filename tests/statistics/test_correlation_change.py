"""Relations between columns: laws, agreement with SciPy, the rate of false findings, what is seen and what is not."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats

from driftline.statistics.correlation_change import Dependence, compare_dependence

Floats = npt.NDArray[np.float64]
Make = Callable[[np.random.Generator, int], pl.DataFrame]


def together(rng: np.random.Generator, rows: int, r: float, columns: int = 2) -> Floats:
    """Normal columns, shape (rows, columns), that correlate by r."""
    return math.sqrt(r) * rng.normal(size=(rows, 1)) + math.sqrt(1 - r) * rng.normal(size=(rows, columns))


def frame(values: Floats) -> pl.DataFrame:
    return pl.DataFrame({f"x{at}": values[:, at] for at in range(values.shape[1])})


def became_of(x: Floats, rng: np.random.Generator) -> dict[tuple[str, str], float]:
    """The correlations of pairs of columns, where there were none before."""
    apart = frame(rng.permuted(x, axis=0))
    return {pair.columns: pair.current for pair in compare_dependence(apart, frame(x), floor=0.2, chance=2.0).pairs}


def sound(found: Dependence) -> None:
    json.dumps(msgspec.to_builtins(found), allow_nan=False)
    assert bool(found.problem) == (found.value is None)
    assert found.problem or found.reason
    assert found.drifted == bool(found.pairs)
    assert len(found.pairs) <= 10
    if found.drifted:
        assert found.value is not None and found.threshold is not None and found.value >= found.threshold
        assert found.value == pytest.approx(abs(found.pairs[0].current - found.pairs[0].reference))
    sizes = [abs(pair.current - pair.reference) for pair in found.pairs]
    assert sizes == sorted(sizes, reverse=True)


# ---- agreement ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("values", ["normal", "ties", "heavy"])
def test_correlations_are_spearmans(values: str) -> None:
    rng = np.random.default_rng(3)
    x = together(rng, 400, 0.6, 6)
    x = {"normal": x, "ties": np.round(x), "heavy": np.exp(9 * x)}[values]
    found = became_of(x, rng)
    assert len(found) == 10
    exact = stats.spearmanr(x).statistic
    for (one, other), current in found.items():
        assert current == pytest.approx(exact[int(one[1:]), int(other[1:])], abs=1e-12)


def test_with_gaps_they_are_spearmans_but_for_the_ranks_of_rows_that_the_other_lacks() -> None:
    # Gaps at random shift ranks within a pair by about rows^-0.5; the bound is that of 2,000 rows.
    rng = np.random.default_rng(4)
    x = together(rng, 2000, 0.7)
    x[rng.random(x.shape) < 0.2] = np.nan
    expected = stats.spearmanr(x, nan_policy="omit").statistic
    assert became_of(x, rng)["x0", "x1"] == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("r", [0.0, 0.5, 0.9])
def test_chance_is_fishers_where_columns_are_normal(r: float) -> None:
    """Two samples of a thousand rows, one of which is moved to be just worth a p-value: Bonett & Wright's is near."""
    rng = np.random.default_rng(5)
    ratios = []
    for _ in range(20):
        a, b = together(rng, 1000, r), together(rng, 1000, r)
        found = compare_dependence(frame(a), frame(b))
        one, other = (stats.spearmanr(side).statistic for side in (a, b))
        error = math.sqrt((1 + (one**2 + other**2) / 4) * 2 / 997)
        z = abs(math.atanh(one) - math.atanh(other)) / error
        assert found.p_value is not None
        ratios.append((stats.norm.isf(found.p_value / 2), z))
    ours, theirs = np.array(ratios).T
    # Never surer than the normal theory, which the safest of three variances must not be far from either.
    assert (ours <= theirs * 1.01 + 1e-9).all()
    assert ours.sum() >= 0.85 * theirs.sum()


# ---- laws --------------------------------------------------------------------------------------------------

SEEDS = st.integers(0, 2**32 - 1)


def mixed(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    x = together(rng, rows, 0.5, 4)
    x[rng.random(rows) < 0.1, 1] = np.nan
    names = np.array(["low", "middle", "high"])[np.searchsorted([-0.5, 0.5], x[:, 3])]
    return frame(x[:, :3]).with_columns(
        pl.Series("name", [None if rng.random() < 0.1 else str(name) for name in names], pl.String)
    )


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(30, 400))
def test_the_same_rows_have_not_drifted_in_whatever_order(seed: int, rows: int) -> None:
    rng = np.random.default_rng(seed)
    sides = mixed(rng, rows)
    found = compare_dependence(sides, sides[rng.permutation(rows)])
    sound(found)
    assert not found.drifted
    assert found.value == pytest.approx(0, abs=1e-9)


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.sampled_from([np.exp, np.cbrt, np.arctan, lambda x: 1e300 * x, lambda x: 3 * x - 7]))
def test_what_bends_a_column_on_one_side_or_on_both_changes_no_relation(seed: int, bend: Callable[[Any], Any]) -> None:
    rng = np.random.default_rng(seed)
    a, b = (np.round(together(rng, 300, 0.5, 3), 4) for _ in range(2))
    bent_a, bent_b = a.copy(), b.copy()
    bent_a[:, 0], bent_b[:, 0] = bend(a[:, 0]), bend(b[:, 0])
    assume(all(len(np.unique(bent[:, 0])) == len(np.unique(side[:, 0])) for bent, side in ((bent_a, a), (bent_b, b))))
    plain = compare_dependence(frame(a), frame(b))
    assert compare_dependence(frame(bent_a), frame(bent_b)) == plain
    assert compare_dependence(frame(a), frame(bent_b)) == plain


@settings(max_examples=20, deadline=None)
@given(SEEDS, st.integers(0, 2))
def test_the_sign_of_a_column_turns_the_signs_of_its_correlations_and_nothing_else(seed: int, column: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = together(rng, 500, 0.7, 3), together(rng, 500, 0.2, 3)
    plain = compare_dependence(frame(a), frame(b))
    a[:, column] *= -1
    b[:, column] *= -1
    turned = compare_dependence(frame(a), frame(b))
    assert (turned.value, turned.p_value) == (pytest.approx(plain.value), pytest.approx(plain.p_value))
    for was, now in zip(plain.pairs, turned.pairs, strict=True):
        sign = -1 if f"x{column}" in was.columns else 1
        assert (now.columns, now.reference, now.current) == (
            was.columns,
            pytest.approx(sign * was.reference),
            pytest.approx(sign * was.current),
        )


@settings(max_examples=20, deadline=None)
@given(SEEDS)
def test_without_ties_the_two_sides_may_change_places(seed: int) -> None:
    rng = np.random.default_rng(seed)
    a, b = frame(together(rng, 200, 0.8, 3)), frame(together(rng, 700, 0.3, 3))
    there, back = compare_dependence(a, b), compare_dependence(b, a)
    assert (there.value, there.p_value) == (pytest.approx(back.value), pytest.approx(back.p_value))


# ---- false findings ----------------------------------------------------------------------------------------


def heavy(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    return frame(together(rng, rows, 0.8, 5) / np.sqrt(rng.chisquare(1, size=(rows, 1))))


def independent(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    return frame(rng.normal(size=(rows, 8)))


def zeros(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    return frame(np.maximum(together(rng, rows, 0.8, 5) - 0.8, 0))


def corrupted(rng: np.random.Generator, rows: int) -> pl.DataFrame:
    """One column four times, with 4 % of other values."""
    x = np.repeat(rng.normal(size=(rows, 1)), 4, axis=1)
    wrong = rng.random(x.shape) < 0.04
    x[wrong] = rng.normal(size=wrong.sum())
    return frame(x)


@pytest.mark.parametrize("sizes", [(100, 100), (1000, 100)])
@pytest.mark.parametrize("make", [independent, heavy, zeros, corrupted, mixed])
def test_without_a_change_there_is_hardly_ever_a_finding(make: Make, sizes: tuple[int, int]) -> None:
    """150 runs at 1 %: more than 7 have a probability of 0.0002. Plain Fisher's z has 20 and more for `heavy`."""
    rng = np.random.default_rng(6)
    findings = sum(compare_dependence(*(make(rng, rows) for rows in sizes)).drifted for _ in range(150))
    assert findings <= 7


def test_at_a_tenth_of_chance_findings_come_as_often_as_said() -> None:
    rng = np.random.default_rng(7)
    both = [[frame(together(rng, rows, 0.3, 3)) for rows in (150, 300)] for _ in range(300)]
    findings = sum(compare_dependence(*sides, floor=0.01, chance=0.1).drifted for sides in both)
    assert 10 <= findings <= 45


# ---- what is seen ------------------------------------------------------------------------------------------


def shown(found: Dependence) -> set[frozenset[str]]:
    sound(found)
    return {frozenset(pair.columns) for pair in found.pairs}


def test_a_weaker_relation_and_nothing_else() -> None:
    rng = np.random.default_rng(8)
    a, b = rng.normal(size=(1000, 6)), rng.normal(size=(1000, 6))
    a[:, 1] = 0.8 * a[:, 0] + 0.6 * a[:, 1]
    b[:, 1] = 0.5 * b[:, 0] + math.sqrt(0.75) * b[:, 1]
    found = compare_dependence(frame(a), frame(b))
    assert shown(found) == {frozenset({"x0", "x1"})}
    assert found.pairs[0].reference == pytest.approx(0.79, abs=0.05)
    assert found.pairs[0].current == pytest.approx(0.48, abs=0.05)
    assert found.reason.startswith("the correlation of x0 and x1 went from 0.")
    assert "it is significant (p < 0.001 over 15 pairs)" in found.reason


def test_each_two_columns_once_by_the_category_or_the_gaps_that_changed_most() -> None:
    rng = np.random.default_rng(21)
    sky, other = (rng.choice(["fog", "rain", "sun"], size=2000) for _ in range(2))
    wind, rain, sun = rng.normal(size=2000), sky == "rain", sky == "sun"
    a = pl.DataFrame({"wind": np.where(rng.random(2000) < 0.1, np.nan, wind + rain), "sky": sky})
    gone = (rng.random(2000) < 0.1) | (sun & (rng.random(2000) < 0.3))  # gaps come before categories, ranks after
    b = pl.DataFrame({"wind": np.where(gone, np.nan, wind), "sky": sky})
    found = compare_dependence(a, b)
    assert shown(found) == {frozenset({"wind", "sky"})} and len(found.pairs) == 1
    assert found.pairs[0].columns == ("wind", "sky") and found.pairs[0].labels == ("wind", "sky = rain")
    assert "the correlation of wind and sky = rain went from" in found.reason and "pairs of columns" not in found.reason
    holes = pl.DataFrame({"wind": np.where(sun, np.nan, wind), "sky": sky})
    mixed = pl.DataFrame({"wind": np.where(sun, np.nan, wind), "sky": other})
    assert compare_dependence(holes, mixed).pairs[0].labels[0] == "gaps in wind"


def test_a_turned_sign_in_a_hundred_rows() -> None:
    rng = np.random.default_rng(9)
    a, b = together(rng, 100, 0.6, 5), together(rng, 100, 0.6, 5)
    b[:, 2] *= -1
    found = compare_dependence(frame(a), frame(b))
    assert shown(found) == {frozenset({"x2", f"x{at}"}) for at in (0, 1, 3, 4)}
    assert found.reason.endswith("; 4 pairs of columns changed, all of them with x2")


def test_where_everything_changed_ten_pairs_are_shown_and_the_others_counted_as_far_as_tested() -> None:
    rng = np.random.default_rng(20)
    found = compare_dependence(frame(together(rng, 300, 0.8, 20)), frame(rng.normal(size=(300, 20))))
    assert len(shown(found)) == 10
    assert found.reason.endswith("; at least 100 pairs of columns changed")


def test_a_shuffled_column() -> None:
    rng = np.random.default_rng(10)
    a, b = together(rng, 1000, 0.5, 4), together(rng, 1000, 0.5, 4)
    b[:, 3] = rng.permutation(b[:, 3])
    assert shown(compare_dependence(frame(a), frame(b))) == {frozenset({"x3", f"x{at}"}) for at in range(3)}


def test_swapped_columns() -> None:
    rng = np.random.default_rng(11)
    a, b = (np.column_stack([together(rng, 1000, 0.7), together(rng, 1000, 0.7)]) for _ in range(2))
    found = compare_dependence(frame(a), frame(b[:, [0, 2, 1, 3]]))
    assert shown(found) == {frozenset({f"x{i}", f"x{j}"}) for i, j in ((0, 1), (2, 3), (0, 2), (1, 3))}


def by_country(rng: np.random.Generator, rows: int, share: float, effect: float) -> pl.DataFrame:
    abroad = rng.random(rows) < share
    price = effect * abroad + rng.normal(size=rows)
    return pl.DataFrame({"country": np.where(abroad, "DE", "UK"), "price": price, "age": rng.normal(size=rows)})


def test_a_relation_through_categories() -> None:
    rng = np.random.default_rng(12)
    found = compare_dependence(by_country(rng, 1000, 0.4, 1.2), by_country(rng, 1000, 0.4, 0.0))
    assert shown(found) == {frozenset({"country", "price"})}
    assert "country = UK and price" in found.reason


def test_a_category_that_only_became_frequent_is_no_changed_relation() -> None:
    rng = np.random.default_rng(13)
    a, b = by_country(rng, 3000, 0.5, 1.5), by_country(rng, 3000, 0.93, 1.5)
    plain = [stats.spearmanr(side["country"] == "UK", side["price"]).statistic for side in (a, b)]
    assert abs(plain[1] - plain[0]) > 0.2  # the plain correlations do change
    found = compare_dependence(a, b)
    sound(found)
    assert not found.drifted


def test_gaps_that_came_together_and_now_do_not() -> None:
    rng = np.random.default_rng(14)
    x, y = (rng.normal(size=(1000, 2)) for _ in range(2))
    x[rng.random(1000) < 0.2] = np.nan
    y[rng.random((1000, 2)) < 0.2] = np.nan
    found = compare_dependence(frame(x), frame(y))
    assert shown(found) == {frozenset({"x0", "x1"})}
    assert "gaps in x0 and gaps in x1" in found.reason


def test_more_gaps_alone_change_no_relation() -> None:
    rng = np.random.default_rng(15)
    a, b = together(rng, 2000, 0.8), together(rng, 2000, 0.8)
    b[rng.random(b.shape) < 0.4] = np.nan
    found = compare_dependence(frame(a), frame(b))
    assert not found.drifted
    assert found.value is not None and found.value < 0.05


def test_a_trifle_is_no_drift_however_sure() -> None:
    rng = np.random.default_rng(16)
    a, b = (frame(together(rng, 30_000, r)) for r in (0.5, 0.55))
    found = compare_dependence(a, b)
    sound(found)
    assert not found.drifted and "is below 0.10" in found.reason
    assert compare_dependence(a, b, floor=0.02).drifted


def test_what_it_cannot_see() -> None:
    """Every pair looks the same; only three together differ. If this fails, the page on it is out of date."""
    rng = np.random.default_rng(17)
    a, b = rng.normal(size=(5000, 3)), rng.normal(size=(5000, 3))
    a[:, 2] = np.abs(a[:, 2]) * np.sign(a[:, 0] * a[:, 1])
    b[:, 2] = np.abs(b[:, 2]) * -np.sign(b[:, 0] * b[:, 1])
    assert not compare_dependence(frame(a), frame(b)).drifted


# ---- odd columns -------------------------------------------------------------------------------------------

NUMBERS = [1.0, 2.0, 3.0, 5.0, 8.0] * 10
ODD: dict[str, pl.DataFrame] = {
    "no rows": pl.DataFrame({"a": [], "b": []}, schema={"a": pl.Float64, "b": pl.Float64}),
    "29 rows": pl.DataFrame({"a": NUMBERS[:29], "b": NUMBERS[:29]}),
    "no columns": pl.DataFrame(),
    "one column": pl.DataFrame({"a": NUMBERS}),
    "constant": pl.DataFrame({"a": NUMBERS, "b": [3.0] * 50}),
    "all null": pl.DataFrame({"a": NUMBERS, "b": [None] * 50}, schema={"a": pl.Float64, "b": pl.Float64}),
    "all NaN": pl.DataFrame({"a": NUMBERS, "b": [math.nan] * 50}),
    "only infinities": pl.DataFrame({"a": NUMBERS, "b": [math.inf] * 50}),
    "never together": pl.DataFrame({"a": [*NUMBERS, *[None] * 50], "b": [*[None] * 50, *NUMBERS]}),
    "identifiers": pl.DataFrame({"a": NUMBERS, "b": [str(at) for at in range(50)]}),
    "other types": pl.DataFrame({"a": NUMBERS, "b": list(range(50)), "c": [True] * 50}),
}


@pytest.mark.parametrize("case", ODD)
def test_nothing_to_compare_is_said(case: str) -> None:
    sides = ODD[case]
    found = compare_dependence(sides, sides)
    sound(found)
    assert found.problem or case == "never together"
    assert not found.drifted and not found.pairs


def test_columns_that_are_on_one_side_or_of_another_type_are_left_out() -> None:
    rng = np.random.default_rng(18)
    a = frame(together(rng, 100, 0.5, 4))
    b = a.select(pl.col("x0").cast(pl.String), "x1", "x2", pl.col("x1").alias("new"))
    assert "over" not in compare_dependence(a, b).reason  # one pair
    assert compare_dependence(a, b.select("x0", "x1")).problem.startswith("1 columns")


def test_the_first_columns_are_taken_and_that_is_said() -> None:
    rng = np.random.default_rng(19)
    a, b = frame(rng.normal(size=(50, 20))), frame(rng.normal(size=(50, 20)))
    found = compare_dependence(a, b, largest=3)
    assert "over 3 pairs" in found.reason
    assert found.reason.endswith("; only the first 3 of 20 columns were taken")
    sound(compare_dependence(a, b, largest=0))


ANY = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, -0.0, 1.0, math.inf, -math.inf, 1e308, 5e-324]))
TEXTS = st.one_of(st.none(), st.sampled_from(["", "a", "b", "c"]), st.text(max_size=2))


@st.composite
def odd_frames(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(1, 12))
    repeat = draw(st.integers(1, 12))
    values = {
        name: pl.Series(draw(st.lists(kind, min_size=rows, max_size=rows)) * repeat, dtype=dtype, strict=False)
        for name, kind, dtype in (
            ("a", ANY, pl.Float64),
            ("b", ANY, pl.Float64),
            ("c", TEXTS, pl.String),
            ("d", TEXTS, pl.String),
        )
    }
    return pl.DataFrame(values).with_columns(copy=pl.col("a"), same=pl.col("c"))


@settings(max_examples=150, deadline=None)
@given(odd_frames(), odd_frames(), st.sampled_from([0.0, 0.1, 1.0]))
def test_no_values_whatever_break_it(reference: pl.DataFrame, current: pl.DataFrame, floor: float) -> None:
    sound(compare_dependence(reference, current, floor=floor))
