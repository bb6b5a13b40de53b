"""Means with long tails and exact proportions: laws, agreement with SciPy, and how often they hold the truth."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from benchmarks import coverage
from driftline.profiles import Classification, Regression
from driftline.statistics import measures, wilson
from driftline.statistics.binomial import at_least, at_most, exact
from driftline.statistics.special import beta_below
from driftline.statistics.tails import (
    Sums,
    likely_skewness,
    may_miss_rare,
    mean_of_rows,
    mean_of_sizes,
    mean_of_squares,
    mean_within,
    missed_share,
)

CONFIDENCES = st.floats(0.5, 0.999)


@given(st.integers(1, 10**6), st.data(), CONFIDENCES)
def test_the_exact_interval_is_scipys_or_wilsons(n: int, data: st.DataObject, confidence: float) -> None:
    successes = data.draw(st.one_of(st.integers(0, n), st.integers(0, min(n, 5))))
    low, high = exact(successes, n, confidence)
    near = wilson(successes, n, confidence)
    assert 0 <= low <= successes / n <= high <= 1 and low <= near.low and near.high <= high
    if min(successes, n - successes) <= 2_000:
        scipys = stats.binomtest(successes, n).proportion_ci(confidence, method="exact")
        assert low == pytest.approx(min(scipys.low, near.low), abs=1e-9)
        assert high == pytest.approx(max(scipys.high, near.high), abs=1e-9)


@given(st.floats(1e-6, 1 - 1e-6), st.integers(1, 2_000), st.integers(1, 2_000))
def test_the_incomplete_beta_function_is_scipys(x: float, a: int, b: int) -> None:
    assert beta_below(x, a, b) == pytest.approx(special.betainc(a, b, x), rel=1e-8, abs=1e-12)


@given(st.integers(1, 10**6), st.data(), st.floats(1e-4, 1 - 1e-4))
def test_the_tails_of_the_binomial_are_scipys(n: int, data: st.DataObject, share: float) -> None:
    away = 40 * math.sqrt(n * share * (1 - share)) + 2
    ends = max(math.floor(n * share - away), 0), min(math.ceil(n * share + away), n)
    k = data.draw(st.one_of(st.integers(0, n), st.integers(*ends)))
    assert at_most(k, n, share) == pytest.approx(special.bdtr(k, n, share), rel=1e-6, abs=1e-200)
    if k:
        assert at_least(k, n, share) == pytest.approx(special.bdtrc(k - 1, n, share), rel=1e-6, abs=1e-200)
        assert at_least(k, n, share) + at_most(k - 1, n, share) == pytest.approx(1)


def test_half_of_many_trials_is_a_matter_of_symmetry() -> None:
    """Of 2n even trials n or fewer succeed as often as n or more; SciPy's bdtr is off by 0.0014 here."""
    n = 5_000_000
    exactly_n = math.exp(math.lgamma(2 * n + 1) - 2 * math.lgamma(n + 1) - 2 * n * math.log(2))
    assert at_most(n, 2 * n, 0.5) == pytest.approx(at_least(n, 2 * n, 0.5)) == pytest.approx(0.5 + exactly_n / 2)


@given(st.integers(1, 500), st.data(), CONFIDENCES)
def test_the_exact_interval_of_failures_mirrors_that_of_successes(
    n: int, data: st.DataObject, confidence: float
) -> None:
    successes = data.draw(st.integers(0, n))
    there, back = exact(successes, n, confidence), exact(n - successes, n, confidence)
    assert there.low == pytest.approx(1 - back.high, abs=1e-9)


@pytest.mark.parametrize("n", [30, 100])
@pytest.mark.parametrize("confidence", [0.8, 0.9, 0.98])
def test_each_end_of_an_exact_interval_is_wrong_no_more_often_than_it_says(n: int, confidence: float) -> None:
    """Added up over all outcomes, not simulated; Wilson's is wrong up to several times as often."""
    shares = np.linspace(0.002, 0.998, 250)
    chances = stats.binom.pmf(np.arange(n + 1)[:, None], n, shares)
    low, high = (np.array([exact(k, n, confidence)[side] for k in range(n + 1)])[:, None] for side in (0, 1))
    allowed = (1 - confidence) / 2 + 1e-9
    assert (chances * (low > shares)).sum(axis=0).max() <= allowed
    assert (chances * (high < shares)).sum(axis=0).max() <= allowed


SUMS = st.builds(
    Sums,
    n=st.integers(2, 10**6),
    mean=st.floats(1e-6, 1e6),
    sd=st.floats(0, 1e6),
    skewness=st.floats(-50, 50),
    smallest=st.just(0.0),
    largest=st.floats(0, 1e7),
)


@given(SUMS, CONFIDENCES)
def test_the_value_lies_inside_and_more_confidence_is_wider(rows: Sums, confidence: float) -> None:
    surer = 1 - (1 - confidence) / 2
    for made in (mean_of_rows, mean_of_sizes, mean_of_squares):
        narrow, wide = made(rows, confidence), made(rows, surer)
        assert narrow.low <= rows.mean * (1 + 1e-9) and rows.mean <= narrow.high * (1 + 1e-9)
        assert wide.low <= narrow.low + 1e-9 and narrow.high <= wide.high * (1 + 1e-9)
    bounded = mean_within(rows, 2 * rows.mean, confidence)
    assert 0 <= bounded.low <= rows.mean <= bounded.high <= 2 * rows.mean


@given(SUMS, CONFIDENCES)
def test_a_mean_turns_round_with_its_rows(rows: Sums, confidence: float) -> None:
    there = mean_of_rows(rows, confidence)
    back = mean_of_rows(rows._replace(mean=-rows.mean, skewness=-rows.skewness), confidence)
    assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))


@given(st.floats(0.1, 2.0))
def test_the_likely_skewness_is_the_lognormal_distributions(sigma: float) -> None:
    mean, variance, skewness = stats.lognorm.stats(sigma, moments="mvs")
    assert likely_skewness(mean, math.sqrt(variance), 10**9) == pytest.approx(skewness, rel=1e-6)


@given(st.integers(2, 10**5), CONFIDENCES)
def test_n_rows_all_miss_the_missed_share_as_often_as_an_end_may_fail(n: int, confidence: float) -> None:
    assert (1 - missed_share(n, confidence)) ** n == pytest.approx((1 - confidence) / 2, rel=1e-6)


def test_from_368_rows_on_what_is_rare_is_taken_as_seen() -> None:
    errors = np.tile([1.0, -1.0], 184)
    sure, unsure = (
        measures(Regression.of(pl.Series(np.arange(n) * 1.0), pl.Series(np.arange(n) + errors[:n]))) for n in (368, 366)
    )
    for name in ("mae", "rmse"):
        assert sure[name].value == unsure[name].value == pytest.approx(1.0)
        assert unsure[name].high > 2 > sure[name].high and unsure[name].low > 0.95
    assert may_miss_rare(366, 0.95) and not may_miss_rare(368, 0.95)


CASES = {
    "half, nearly always right": ("log_loss", "brier", "mcc", "accuracy", "balanced_accuracy"),
    "3 % are positive": ("log_loss", "brier", "mcc", "f1", "recall", "roc_auc", "average_precision"),
    "1 % are positive": ("log_loss", "brier", "mcc", "balanced_accuracy", "roc_auc"),
    "normal errors, lognormal labels": ("r2", "mape"),
    "skewed errors (lognormal, 1.5)": ("mae", "rmse", "r2", "bias"),
    "Student's t, 3 degrees": ("mae", "rmse", "r2", "bias"),
    "1 % of errors 100 times as large": ("mae", "rmse", "r2", "bias", "mape"),
    "90 % of errors are 0": ("mae", "rmse", "error_p90"),
}


@pytest.mark.parametrize("words", CASES)
def test_intervals_and_bounds_hold_with_few_rows_rare_classes_and_long_tails(words: str) -> None:
    """At 95 % in 90 of 100 samples, and a bound of a rule at 95 % is wrong in at most 10, give or take chance."""
    case = coverage.CASES[words]
    everything = coverage.truth_of(case)
    truth = {name: everything[name] for name in CASES[words]}
    runs = 150
    for n in coverage.SIZES:
        for name, count in coverage.counts(case, n, runs, truth).items():
            if count.shown < runs / 2:
                assert "reason" in count.words or count.shown
                continue
            chance = 3 * math.sqrt(0.1 * 0.9 / count.shown)
            assert count.held / count.shown >= 0.9 - chance / 2, (n, name, count)
            assert max(count.too_high, count.too_low) / count.shown <= 0.1 + chance, (n, name, count)


def test_a_binary_balanced_accuracy_needs_both_classes() -> None:
    """A window without a positive row would have the specificity in its place, and jump."""
    without = measures(Classification({("0", "0"): 99, ("0", "1"): 1}), positive="1")["balanced_accuracy"]
    assert without.value is None and without.problem == "no row is labelled '1'"
    only = measures(Classification({("1", "1"): 9}), positive="1")["balanced_accuracy"]
    assert only.value is None and only.problem == "no row is labelled other than '1'"
    one = measures(Classification({("0", "0"): 99, ("1", "0"): 1}), positive="1")["balanced_accuracy"]
    assert one.value == 0.5 and one.high is not None and one.high > 0.9


@pytest.mark.parametrize("error", [2.7e-162, 5e-324])
def test_errors_whose_squares_are_too_small_for_a_float_have_measures_all_the_same(error: float) -> None:
    """Their mean is 0 as a float and above 0 as a fraction, by which it was divided."""
    found = measures(Regression.of(pl.Series([0.0, 1.0, 2.0, 3.0]), pl.Series([error, 1.0, 2.0, 3.0])))
    low, value, high = found["rmse"].low, found["rmse"].value, found["rmse"].high
    assert low is not None and value is not None and high is not None
    assert 0 <= low <= value <= high < 1e-150
    assert found["r2"].value == found["r2"].high == 1
    found = measures(Regression.of(pl.Series([0.0, 0.0, 0.0, 2.7e-162]), pl.Series([0.0] * 4)))
    assert found["r2"].value is None and "so small" in found["r2"].problem
