"""The verdict on columns: both conditions, in words, for whatever a column may hold."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import asdict
from scipy.stats import chi2_contingency

from driftline.errors import UsageError
from driftline.profiles import CategoricalColumn, Column, NumericColumn
from driftline.profiles.reference import grid_for
from driftline.statistics import ColumnDrift, EffectThresholds, compare_columns, worst_first

RNG = np.random.default_rng(12)
NORMAL = RNG.normal(10, 2, 1000)
SKY = RNG.choice(["rain", "sun", "fog"], 1000, p=[0.52, 0.47, 0.01])


def column(values: Any, like: Any = None) -> Column:
    series = pl.Series(values, strict=False)
    if series.dtype == pl.String:
        return CategoricalColumn.of(series)
    return NumericColumn.of(series, grid_for(pl.Series(values if like is None else like, strict=False)))


def drift(reference: Any, current: Any) -> ColumnDrift:
    return compare_columns({"x": column(reference)}, {"x": column(current, reference)})["x"]


def sound(found: ColumnDrift) -> None:
    json.dumps({**asdict(found), "severity": found.severity}, allow_nan=False)
    assert found.problem or found.reason
    assert (found.value is None) <= bool(found.problem)
    assert not (found.drifted and not found.reason)
    if found.drifted and found.value is not None:
        assert found.threshold is not None and found.value >= found.threshold


def test_a_real_change_has_drifted_and_says_what_changed() -> None:
    found = drift(SKY, RNG.choice(["sun", "fog", "snow"], 1000, p=[0.5, 0.47, 0.03]))
    assert (found.drifted, found.measure) == (True, "js")
    assert found.changes[0].startswith("rain ") and found.changes[0].endswith("→ 0 % (gone)")
    assert any(change.startswith("snow 0 % → ") and change.endswith("(new)") for change in found.changes)
    assert "it is significant (p < 0.001)" in found.reason


def test_a_shift_is_told_in_spreads_and_medians() -> None:
    found = drift(NORMAL, NORMAL + 4)
    assert (found.drifted, found.measure) == (True, "wasserstein")
    assert found.value == pytest.approx(2.0, rel=0.1)
    assert found.changes[0].startswith("median ")


def test_a_shift_without_a_median_is_told_in_means() -> None:
    rare = np.where(RNG.random(2000) < 0.3, RNG.normal(5, 1, 2000), 0.0)  # half of the rows stay at 0
    found = drift(rare, np.where(RNG.random(2000) < 0.5, rare, 0.0))
    assert found.drifted
    assert [change.split()[0] for change in found.changes] == ["mean", "spread"]


def test_a_mean_that_rests_on_a_few_values_is_not_told() -> None:
    heavy = RNG.standard_cauchy(2000)
    found = drift(heavy, np.append(heavy * 3, [5e4, 0.0, -1e4]))
    assert found.drifted
    assert not any(change.startswith("mean") for change in found.changes)
    (far,) = (change for change in found.changes if change.startswith("values from"))
    assert far.endswith(f" to {heavy.max():.3g}") and " to 50,000, before -" in far


def test_what_is_infinite_is_not_told_as_missing_too() -> None:
    found = drift(NORMAL, [*NORMAL[:800].tolist(), *[float("inf")] * 150, *[None] * 50])
    assert found.drifted
    assert found.changes[:2] == ("missing 0 % → 5.0 %", "infinite 0 % → 15 %")


def test_spreads_are_told_of_one_kind_on_both_sides() -> None:
    wide = np.where(np.arange(2000) % 100 < 20, 9.0, 10.0)  # its 16-84 % range is 1
    wide[::100] = 0.0
    narrow = np.where(np.arange(2000) % 100 < 5, 9.0, 10.0)  # and this one's is 0
    narrow[::200] = 4.0
    (change,) = (change for change in drift(wide, narrow).changes if change.startswith("spread"))
    before, now = (float(figure) for figure in change.removeprefix("spread ").split(" → "))
    assert (before, now) == pytest.approx((wide.std(ddof=1), narrow.std(ddof=1)), rel=0.01)
    assert now < before


def test_a_trifle_is_no_drift_however_sure() -> None:
    found = drift(RNG.normal(10, 2, 100_000), RNG.normal(10.1, 2, 100_000))
    assert not found.drifted
    assert found.p_value is not None and found.p_value < 1e-6
    assert ", but it is significant" in found.reason and " is below " in found.reason


def test_chance_is_no_drift_however_large() -> None:
    found = drift(NORMAL[:35], NORMAL[35:70])
    assert not found.drifted
    assert found.value is not None and found.threshold is not None and found.value >= found.threshold
    assert "but it is not significant" in found.reason


def test_values_that_go_missing_are_a_drift_of_their_own() -> None:
    found = drift(NORMAL.tolist(), [*NORMAL[:850].tolist(), *[None] * 150])
    assert (found.drifted, found.missing_reference, found.missing_current) == (True, 0.0, 0.15)
    assert "missing 0 % → 15 %" in found.changes


def gaps(values: Any, every: int) -> list[float | None]:
    return [None if place % every == 0 else value for place, value in enumerate(values)]


def test_few_rows_tell_that_values_go_missing_and_nothing_else() -> None:
    """Missing rows as one of the cells of the chi-squared test alone had p = 0.15 here."""
    found = drift(gaps(NORMAL[:200], 20), gaps(NORMAL[200:400], 5))
    assert (found.drifted, found.measure) == (True, "missing")
    assert found.p_value is not None and found.p_value < 1e-4
    assert "a rise of the missing share by 0.15" in found.reason


def test_a_trifle_of_missing_values_makes_no_other_effect_real() -> None:
    found = drift(NORMAL.tolist() * 30, gaps(NORMAL[:90], 30))
    missing = found.p_values["missing"]
    assert missing is not None and missing < 1e-4
    assert found.distances["js"] is not None and found.distances["js"] > 0.10
    assert not found.drifted


def test_holm_makes_a_finding_among_many_columns_harder() -> None:
    pair = {"x": column(NORMAL[:60])}, {"x": column(NORMAL[60:120] + 0.9, NORMAL[:60])}
    alone = compare_columns(*pair)["x"]
    noise = {f"n{i}": column(NORMAL[i * 10 : i * 10 + 60]) for i in range(60)}
    among = compare_columns({**pair[0], **noise}, {**pair[1], **noise})["x"]
    assert alone.p_value is not None and among.p_value is not None
    assert among.p_value == pytest.approx(min(alone.p_value * 61, 1.0))


def test_fewer_than_30_rows_are_no_data() -> None:
    found = drift(NORMAL[:29], NORMAL[:500] + 100)
    assert not found.drifted
    assert found.problem == "29 rows in the reference data; at least 30 are needed to judge"


def test_a_column_that_is_gone_has_drifted_and_a_new_one_has_not() -> None:
    found = compare_columns({"old": column(NORMAL)}, {"new": column(NORMAL)})
    assert found["old"].drifted and "is gone" in found["old"].reason
    assert not found["new"].drifted and "not in the reference" in found["new"].problem


def test_a_column_that_changed_its_kind_has_drifted() -> None:
    found = drift(NORMAL, SKY.tolist())
    assert found.drifted and found.value is None
    assert found.reason == "changed its kind: numeric in the reference, categorical now"


def test_identifiers_are_not_compared() -> None:
    found = drift([f"u{i}" for i in range(100)], [f"v{i}" for i in range(100)])
    assert not found.drifted and "identifier" in found.problem


def test_rare_categories_that_come_and_go_are_no_drift() -> None:
    names = RNG.zipf(1.4, 4000).astype(str)
    assert not drift(names[:2000], names[2000:]).drifted


def test_a_category_that_spreads_is_drift_among_many() -> None:
    names = RNG.zipf(1.4, 4000).astype(str)
    current = np.where(RNG.random(2000) < 0.1, "never before", names[2000:])
    found = drift(names[:2000], current)
    assert found.drifted and found.unseen > 0.01


BROKEN: dict[str, tuple[list[Any], list[Any], bool]] = {
    "constant": ([3.0] * 50, [3.0] * 50, False),
    "constant moved": ([3.0] * 50, [4.0] * 50, True),
    "becomes constant": (NORMAL.tolist(), [10.0] * 500, True),
    "was constant": ([10.0] * 500, NORMAL.tolist(), True),
    "all missing": ([None] * 50, [None] * 50, False),
    "goes missing": (NORMAL.tolist(), [None] * 500, True),
    "comes back": ([None] * 500, NORMAL.tolist(), False),
    "infinite": ([float("inf")] * 50, [float("inf")] * 50, False),
    "becomes infinite": (NORMAL.tolist(), [float("inf")] * 500, True),
    "changes sign of infinity": ([float("inf")] * 50, [float("-inf")] * 50, True),
    "NaN": ([float("nan")] * 50, [float("nan")] * 50, False),
    "becomes NaN": (NORMAL.tolist(), [float("nan")] * 50, True),
    "huge": ([1e308, -1e308] * 50, [1e308, -1e308] * 50, False),
    "subnormal": ([5e-324, 0.0] * 50, [5e-324, 0.0] * 50, False),
    "units": (NORMAL.tolist(), (NORMAL * 1000).tolist(), True),
    "one other value": ([0.0] * 999 + [1.0], [0.0] * 1000, False),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_columns_have_a_verdict_or_a_reason(case: str) -> None:
    reference, current, drifted = BROKEN[case]
    a, b = (pl.Series(values, dtype=pl.Float64) for values in (reference, current))
    grid = grid_for(a)
    found = compare_columns({"x": NumericColumn.of(a, grid)}, {"x": NumericColumn.of(b, grid)})["x"]
    sound(found)
    assert found.drifted is drifted


ANY = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, 1.0, 1e308, -1e308, 5e-324]))


@settings(max_examples=150)
@given(st.lists(ANY, max_size=70), st.lists(ANY, max_size=70), st.integers(0, 40))
def test_no_columns_whatever_break_it(reference: list[Any], current: list[Any], repeat: int) -> None:
    a, b = (pl.Series(values * (repeat + 1), dtype=pl.Float64) for values in (reference, current))
    grid = grid_for(a)
    sound(compare_columns({"x": NumericColumn.of(a, grid)}, {"x": NumericColumn.of(b, grid)})["x"])


@given(
    st.lists(st.one_of(st.none(), st.text(max_size=3)), max_size=70),
    st.lists(st.text(max_size=3), max_size=70),
)
def test_no_names_whatever_break_it(reference: list[Any], current: list[Any]) -> None:
    a, b = (CategoricalColumn.of(pl.Series(values, dtype=pl.String)) for values in (reference, current))
    sound(compare_columns({"x": a}, {"x": b})["x"])


def test_an_empty_profile_has_a_reason() -> None:
    found = compare_columns({"x": NumericColumn()}, {"x": NumericColumn()})["x"]
    assert found.problem.startswith("0 rows")


def test_worst_first() -> None:
    found = compare_columns(
        {"mild": column(NORMAL), "bad": column(NORMAL), "gone": column(NORMAL), "same": column(NORMAL)},
        {"mild": column(NORMAL + 1, NORMAL), "bad": column(NORMAL + 9, NORMAL), "same": column(NORMAL)},
    )
    assert [drift.column for drift in worst_first(found.values())] == ["gone", "bad", "mild", "same"]


def test_the_floors_are_the_callers() -> None:
    reference, current = {"x": column(NORMAL)}, {"x": column(NORMAL + 4, NORMAL)}
    assert not compare_columns(reference, current, EffectThresholds(wasserstein=9.0, js=1.0))["x"].drifted


def test_where_a_shape_changed_is_told() -> None:
    """The same median, spread and range: only what lies between them has moved."""
    rng = np.random.default_rng(1)
    even = rng.uniform(0, 100, 20_000)
    found = drift(even, even + 10.0 * ((even // 10 == 7).astype(int) - (even // 10 == 2)))  # from the 20s to the 10s
    assert found.drifted and found.measure == "js"
    (words,) = found.changes
    assert re.fullmatch(
        r"(10|20|70|80)(\.\d)? to (20|30|80|90)(\.\d)?: (9\.\d|10) % → (0|20|[01]\.\d|19|21) %", words
    ), words
    assert not drift(even, rng.uniform(0, 100, 20_000)).changes


def test_where_whole_numbers_changed_is_told_in_whole_numbers() -> None:
    rating, hour = np.tile(np.arange(1.0, 6.0), 2000), np.tile(np.arange(24.0), 500)
    assert drift(rating, np.tile([1.0, 3.0, 5.0], 3000)).changes == ("at 4: 20 % → 0 %",)
    (words,) = drift(hour, hour - (hour % 4 == 1) + (hour % 4 == 3) * (hour % 12 < 11)).changes
    assert re.fullmatch(r"(at \d+|\d+ to \d+|up to \d+|above \d+): .*", words), words
    huge = np.array([-1e300, 0.0, 1e300] * 1000)
    assert not any("inf" in words for words in drift(huge, np.append(huge, [1e300] * 900)).changes)


def test_what_is_told_is_told_apart() -> None:
    """Numbers that differ are not written alike, and a mean is that of the values, not of capped ones."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    level = drift(x * 0.001 + 1013.25, x * 0.001 + 1013.2503)
    assert level.changes == ("median 1013.24999 → 1013.25029",)
    trifle = drift(x, x + 0.0985)
    assert trifle.value is not None and 0.095 <= trifle.value < 0.1
    assert trifle.reason.startswith(f"a shift of {trifle.value:.4f} standard deviations is below 0.1000, but")
    far = drift(x, np.where(np.arange(20_000) < 300, 1e300, x))
    assert far.changes == (f"values from {x[300:].min():.3g} to 1e+300, before {x.min():.3g} to {x.max():.3g}",)
    assert drift([1.0], x).problem.startswith("1 row in")


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf")])
@pytest.mark.parametrize("floor", list(asdict(EffectThresholds())))
def test_a_floor_is_a_finite_number_above_0(floor: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"the floor {floor}="):
        EffectThresholds(**{floor: value})  # type: ignore[arg-type]  # rows is a whole number


@pytest.mark.parametrize("was", [20240101, 1013.25, -1e-7, 1e30])
def test_a_number_that_was_constant_and_moves_is_seen(was: float) -> None:
    """On the plain grid its neighbours up to a hundredth away share its cell."""
    for other in (was * (1 + 1e-6), was * 1.001, was * 2, 0.0, -was):
        for became in ([other] * 100, [was] * 50 + [other] * 50):
            found = drift([was] * 100, became)
            assert found.drifted and found.out_of_range == pytest.approx(sum(x != was for x in became) / 100)
    assert not drift([was] * 100, [was] * 100).drifted


# ---- missing values ------------------------------------------------------------------------------------------


def with_share_missing(values: Any, share: float) -> list[float | None]:
    lost = round(share * len(values))
    return [None if place < lost else float(value) for place, value in enumerate(values)]


SHARES = st.integers(0, 100).map(lambda percent: percent / 100)


@settings(deadline=None)
@given(before=SHARES, after=SHARES)
def test_values_that_stay_as_they_are_drift_by_more_missing_only(before: float, after: float) -> None:
    values = np.tile(np.arange(20.0), 100)  # of whole cycles: what is left after any cut is the same but for 19 rows
    found = drift(with_share_missing(values, before), with_share_missing(values, after))
    sound(found)
    odds_doubled = after * (1 - before) >= 2 * before * (1 - after)
    rises = after == 1 > before or (after - before >= 0.05 and odds_doubled)
    assert (found.drifted, found.more_missing) == (rises, rises)
    if rises:
        assert found.measure == "missing"
        assert found.value == pytest.approx(after - before)
    assert found.is_lost == (after == 1 > before)


@pytest.mark.parametrize(("before", "after"), [(0.55, 1.0), (0.45, 0.88), (0.55, 0.95), (0.6, 0.999), (0.37, 0.73)])
def test_a_rise_from_much_is_a_rise(before: float, after: float) -> None:
    values = RNG.normal(size=2000)
    found = drift(with_share_missing(values, before), with_share_missing(RNG.permutation(values), after))
    assert (found.drifted, found.measure, found.more_missing) == (True, "missing", True)


def test_what_died_is_louder_than_whatever_moved() -> None:
    both = {"dead": (NORMAL, [None] * 1000), "far": (NORMAL, NORMAL + 1e6), "well": (NORMAL, NORMAL)}
    found = compare_columns(
        {name: column(before) for name, (before, _) in both.items()},
        {name: column(now, before) for name, (before, now) in both.items()},
    )
    assert [one.column for one in worst_first(found.values())] == ["dead", "far", "well"]
    nearly = drift(with_share_missing(NORMAL, 0.97), [None] * 1000)  # 30 values were left, fewer than the floor's 5 %
    assert (nearly.drifted, nearly.is_lost) == (True, True)


def test_drift_of_values_and_more_missing_are_both_known() -> None:
    found = drift(with_share_missing(NORMAL, 0.05), with_share_missing(NORMAL * 0 + 1e3, 0.15))
    assert (found.drifted, found.measure, found.more_missing) == (True, "wasserstein", True)


def test_the_chi_squared_test_is_scipys_on_the_values_alone() -> None:
    before = ["a"] * 300 + ["b"] * 200 + [None] * 100
    now = ["a"] * 200 + ["b"] * 250 + [None] * 400
    expected = chi2_contingency([[300, 200], [200, 250]], correction=False).pvalue
    assert drift(before, now).p_values["chi_squared"] == pytest.approx(expected)


@pytest.mark.parametrize("usual", [5.0, 1.0, 100.0, 1000.0, 0.25, -3.0])
@pytest.mark.parametrize("share", [1.0, 0.9])
def test_a_usual_value_that_moves_by_less_than_a_cell_has_drifted(usual: float, share: float) -> None:
    """On the plain grid 5.0 and 5.03 share a cell."""
    steps = np.random.default_rng(3).integers(-2, 3, 400) * (np.arange(400) >= share * 400)
    moved = drift(usual + steps, np.where(steps == 0, usual * 1.003, usual + steps))
    assert moved.drifted
    assert not drift(usual + steps, usual + steps[::-1]).drifted


@given(st.lists(st.integers(-256, 256), min_size=1, max_size=40))
def test_small_whole_numbers_have_cells_of_their_own(values: list[int]) -> None:
    grid = grid_for(pl.Series(values, dtype=pl.Float64))
    different = np.array(sorted({*values}), np.float64)
    assert len(np.unique(grid.cells_of(different))) == len(different)
