"""Special functions against SciPy; intervals against their definitions and against seeded simulation."""

from __future__ import annotations

import functools
import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from driftline.profiles import Classification, Regression
from driftline.statistics import difference, measures, wilson
from driftline.statistics.intervals import (
    fisher_delta,
    least_for_quantile,
    log_delta,
    logit_delta,
    quantile_ranks,
)
from driftline.statistics.measure import Measure
from driftline.statistics.special import chi_squared_sf, kolmogorov_sf, normal_quantile, t_below, t_quantile

CONFIDENCES = st.floats(0.5, 0.9999)


DEGREES = st.one_of(st.integers(1, 2000), st.floats(1, 10), st.floats(1, 1e7))


@given(CONFIDENCES, DEGREES)
def test_t_quantile_is_scipys(confidence: float, dof: float) -> None:
    assert t_quantile(confidence, dof) == pytest.approx(special.stdtrit(dof, (1 + confidence) / 2), rel=1e-8)


@given(st.floats(-300, 300), DEGREES)
def test_t_below_is_scipys_and_has_two_like_sides(t: float, dof: float) -> None:
    assert t_below(t, dof) == pytest.approx(special.stdtr(dof, t), rel=1e-7, abs=1e-200)
    assert t_below(t, dof) + t_below(-t, dof) == pytest.approx(1)


@given(CONFIDENCES, DEGREES)
def test_t_below_is_the_inverse_of_its_quantile(confidence: float, dof: float) -> None:
    assert t_below(t_quantile(confidence, dof), dof) == pytest.approx((1 + confidence) / 2, rel=1e-8)


@given(CONFIDENCES)
def test_normal_quantile_is_scipys(confidence: float) -> None:
    assert normal_quantile(confidence) == pytest.approx(special.ndtri((1 + confidence) / 2), rel=1e-9)


@given(st.floats(0, 3000), st.integers(1, 200))
def test_chi_squared_is_scipys(x: float, dof: int) -> None:
    assert chi_squared_sf(x, dof) == pytest.approx(stats.chi2.sf(x, dof), rel=1e-8, abs=1e-150)


@given(st.floats(0, 10))
def test_kolmogorov_is_scipys(x: float) -> None:
    assert kolmogorov_sf(x) == pytest.approx(special.kolmogorov(x), rel=1e-6, abs=1e-14)


@given(st.integers(1, 10**9), st.data(), CONFIDENCES)
def test_wilson_is_scipys_and_holds_its_share(n: int, data: st.DataObject, confidence: float) -> None:
    successes = data.draw(st.integers(0, n))
    low, high = wilson(successes, n, confidence)
    expected = stats.binomtest(successes, n).proportion_ci(confidence, method="wilson")
    assert (low, high) == (pytest.approx(expected.low, abs=1e-9), pytest.approx(expected.high, abs=1e-9))
    assert 0 <= low <= successes / n <= high <= 1


@given(st.floats(1e-9, 1 - 1e-9), st.floats(0, 1e6), CONFIDENCES)
def test_the_logit_scale_stays_inside(value: float, error: float, confidence: float) -> None:
    low, high = logit_delta(value, error, confidence)
    assert 0 <= low <= value <= high <= 1


@given(st.floats(-1 + 1e-9, 1 - 1e-9), st.floats(0, 1e6), CONFIDENCES)
def test_fishers_scale_stays_inside(value: float, error: float, confidence: float) -> None:
    low, high = fisher_delta(value, error, confidence)
    assert -1 <= low <= value <= high <= 1


@given(st.integers(1, 100_000), st.sampled_from([0.1, 0.5, 0.9, 0.37, 0.001]), CONFIDENCES)
def test_ranks_of_a_quantile_are_scipys_binomial(n: int, q: float, confidence: float) -> None:
    """They hold it at the confidence, none narrower does on either side, and there are some from enough values on."""
    ranks, tail = quantile_ranks(n, q, confidence), (1 - confidence) / 2
    assert (ranks is not None) == (n >= least_for_quantile(q, confidence))
    if ranks is not None:
        low, high = ranks
        below = stats.binom(n, q)
        assert below.cdf(low - 1) <= tail * (1 + 1e-6) and below.sf(high - 1) <= tail * (1 + 1e-6)
        assert below.cdf(low) >= tail * (1 - 1e-6) and below.sf(high - 2) >= tail * (1 - 1e-6)


@given(st.floats(1e-30, 1e30), st.floats(0, 1e30), st.integers(2, 10**6))
def test_the_log_scale_stays_above_0(value: float, error: float, n: int) -> None:
    low, high = log_delta(value, error, n)
    assert 0 <= low <= value <= high < math.inf


@given(st.integers(1, 500), st.integers(1, 500), st.data())
def test_a_difference_turns_round(n: int, m: int, data: st.DataObject) -> None:
    a, b = data.draw(st.integers(0, n)), data.draw(st.integers(0, m))
    first, second = (a / n, *wilson(a, n)), (b / m, *wilson(b, m))
    there, back = difference(first, second), difference(second, first)
    assert (there.low, there.high) == (pytest.approx(-back.high), pytest.approx(-back.low))
    assert there.low <= a / n - b / m <= there.high


# ---- coverage: how often the interval holds the truth, by simulation ---------------------------------------

RUNS = 400


TOGETHER = (
    ("accuracy", "precision", "recall", "f1", "balanced_accuracy", "mcc", "specificity"),
    ("average_precision", "gain_10", "lift_10"),
    ("calibration_error", "brier"),
    ("mae", "rmse", "r2", "bias", "error_p10", "error_p50", "error_p90", "median_absolute_error", "absolute_error_p90"),
    ("roc_auc",),
)
"""Measures of the same draws."""


def covered(draw, name: str, truth: float, *, positive: str | None = None) -> float:  # type: ignore[no-untyped-def]
    [names] = [some for some in TOGETHER if name in some]
    hits = 0
    for found in drawn(draw, names, positive):
        measure = found[name]
        assert measure.low is not None and measure.high is not None
        hits += measure.low <= truth <= measure.high
    return hits / RUNS


@functools.cache
def drawn(draw, names: tuple[str, ...], positive: str | None) -> list[dict[str, Measure]]:  # type: ignore[no-untyped-def]
    """What is measured of the same draws for all tests of them: to draw takes longer."""
    rng = np.random.default_rng(20130404)
    return [measures(draw(rng), confidence=0.95, positive=positive, names=names) for _ in range(RUNS)]


@functools.cache
def confused(shares: tuple[tuple[tuple[str, str], float], ...], n: int):  # type: ignore[no-untyped-def]
    pairs, chances = [pair for pair, _ in shares], [chance for _, chance in shares]

    def draw(rng: np.random.Generator) -> Classification:
        counts = rng.multinomial(n, chances).tolist()
        return Classification({pair: count for pair, count in zip(pairs, counts, strict=True) if count})

    return draw


def true_measures(shares: dict[tuple[str, str], float], positive: str | None) -> dict[str, float]:
    exact = Classification({pair: round(share * 10**9) for pair, share in shares.items()})
    return {name: measure.value or 0.0 for name, measure in measures(exact, positive=positive).items()}


BINARY = {("1", "1"): 0.12, ("1", "0"): 0.05, ("0", "1"): 0.08, ("0", "0"): 0.75}
THREE = {
    ("a", "a"): 0.40, ("a", "b"): 0.05, ("a", "c"): 0.02,
    ("b", "a"): 0.04, ("b", "b"): 0.25, ("b", "c"): 0.04,
    ("c", "a"): 0.03, ("c", "b"): 0.02, ("c", "c"): 0.15,
}  # fmt: skip


@pytest.mark.parametrize("n", [60, 500])
@pytest.mark.parametrize("name", ["accuracy", "precision", "recall", "f1", "balanced_accuracy", "mcc", "specificity"])
@pytest.mark.parametrize(("shares", "positive"), [(BINARY, "1"), (BINARY, None), (THREE, None)])
def test_classification_intervals_cover(
    name: str, n: int, shares: dict[tuple[str, str], float], positive: str | None
) -> None:
    if name == "specificity" and positive is None:
        return
    truth = true_measures(shares, positive)[name]
    assert 0.92 <= covered(confused(tuple(shares.items()), n), name, truth, positive=positive) <= 0.9951


RARE = {("1", "1"): 0.04, ("1", "0"): 0.01, ("0", "1"): 0.095, ("0", "0"): 0.855}


@pytest.mark.parametrize("name", ["precision", "recall", "f1", "balanced_accuracy"])
def test_a_mean_over_classes_is_no_surer_than_its_rarest_class_allows(name: str) -> None:
    """Five of a hundred rows are of one class: all of them right, or all wrong, is no rare chance."""
    truth = true_measures(RARE, None)[name]
    assert covered(confused(tuple(RARE.items()), 100), name, truth) >= 0.93


def test_the_share_of_a_class_without_rows_may_be_anything() -> None:
    recall = measures(Classification({("a", "a"): 90, ("a", "b"): 10}))["recall"]
    assert recall.value == pytest.approx(0.45)
    assert recall.low is not None and recall.high is not None and recall.low < 0.43 and recall.high > 0.94


def test_many_classes_take_no_more_room_than_their_rows() -> None:
    """Labels come from strangers: a hundred thousand names on a hundred thousand rows would be a table of 80 GB."""
    found = measures(Classification({(str(at), str(at + 1)): 1 for at in range(100_000)}))
    assert (found["accuracy"].value, found["f1"].value, found["balanced_accuracy"].value) == (0, 0, 0)
    assert found["mcc"].value == pytest.approx(0, abs=1e-4)


@functools.cache
def scored(n: int, shift: float, positives: int | None = None):  # type: ignore[no-untyped-def]
    positives = n // 3 if positives is None else positives

    def draw(rng: np.random.Generator) -> Classification:
        label = np.r_[np.ones(positives, int), np.zeros(n - positives, int)]
        logits = rng.normal(size=n) + shift * label
        texts = pl.Series(label.astype(str))
        return Classification.of(texts, texts, {"1": pl.Series(special.expit(logits))}, positive="1")

    return draw


@pytest.mark.parametrize(("n", "shift"), [(60, 1.0), (300, 1.0), (300, 3.0)])
def test_the_auc_interval_covers(n: int, shift: float) -> None:
    truth = float(special.ndtr(shift / math.sqrt(2)))
    assert 0.92 <= covered(scored(n, shift), "roc_auc", truth, positive="1") <= 0.985


@pytest.mark.parametrize("shift", [0.0, 0.8, 1.5])
@pytest.mark.parametrize("positives", [2, 3, 5])
def test_the_auc_interval_of_few_positives_covers(positives: int, shift: float) -> None:
    truth = float(special.ndtr(shift / math.sqrt(2)))
    assert covered(scored(100, shift, positives), "roc_auc", truth, positive="1") >= 0.93


def test_the_auc_interval_of_few_positives_says_something_near_1() -> None:
    """As wide as Wilson's of so few rows, not all that there is."""
    scores = pl.Series([0.9] * 5 + [0.1] * 360 + [0.95])
    labels = pl.Series(["1"] * 5 + ["0"] * 361)
    found = measures(Classification.of(labels, labels, {"1": scores}, positive="1"), positive="1")["roc_auc"]
    assert found.value == pytest.approx(360 / 361) and found.low is not None
    assert wilson(5, 5).low < found.low < 0.9


@functools.cache
def ranked(n: int, positive: float, shift: float):  # type: ignore[no-untyped-def]
    """Rows at random, logits normal with a variance of 1 in each class."""

    def draw(rng: np.random.Generator) -> Classification:
        label = rng.random(n) < positive
        labels = pl.Series(label.astype(int).astype(str))
        scores = special.expit(rng.normal(size=n) + shift * label)
        return Classification.of(labels, labels, {"1": pl.Series(scores)}, positive="1")

    return draw


@pytest.mark.parametrize(("n", "positive", "shift"), [(300, 0.1, 1.0), (300, 0.6, 0.0), (1000, 0.3, 2.5)])
def test_the_intervals_of_ranking_cover(n: int, positive: float, shift: float) -> None:
    edges = np.linspace(-9, 9 + shift, 20_001)
    hits, falls = special.ndtr(shift - edges), special.ndtr(-edges)
    taken = positive * hits + (1 - positive) * falls
    precision = float(-np.trapezoid(positive * hits / taken, hits))
    gain = float(np.interp(0.1, taken[::-1], hits[::-1]))
    draw = ranked(n, positive, shift)
    assert 0.91 <= covered(draw, "average_precision", precision, positive="1") <= 0.985
    assert 0.92 <= covered(draw, "gain_10", gain, positive="1") <= 0.99
    assert 0.92 <= covered(draw, "lift_10", 10 * gain, positive="1") <= 0.99


@functools.cache
def stated(n: int, power: float):  # type: ignore[no-untyped-def]
    def draw(rng: np.random.Generator) -> Classification:
        truth = rng.random(n)
        labels = pl.Series((rng.random(n) < truth).astype(int).astype(str))
        return Classification.of(labels, labels, {"1": pl.Series(truth**power)}, positive="1")

    return draw


@pytest.mark.parametrize("n", [300, 3000])
@pytest.mark.parametrize("power", [1.0, 0.8, 2.0])
def test_the_interval_of_the_calibration_error_covers(n: int, power: float) -> None:
    """The truth is the mean of abs(t^power - t), which has one sign; the Brier score's is that of (t^power - y)²."""
    error = abs(1 / (power + 1) - 1 / 2)
    brier = 1 / (2 * power + 1) - 2 / (power + 2) + 1 / 2
    assert covered(stated(n, power), "calibration_error", error, positive="1") >= 0.92
    assert 0.92 <= covered(stated(n, power), "brier", brier, positive="1") <= 0.985


@functools.cache
def regressed(n: int):  # type: ignore[no-untyped-def]
    def draw(rng: np.random.Generator) -> Regression:
        label = rng.normal(5, 2, n)
        return Regression.of(pl.Series(label), pl.Series(label + rng.normal(0, 1, n)), centre=3.0)

    return draw


@pytest.mark.parametrize("n", [40, 300])
@pytest.mark.parametrize(("name", "truth"), [("mae", math.sqrt(2 / math.pi)), ("rmse", 1.0), ("r2", 0.75)])
def test_regression_intervals_cover(name: str, truth: float, n: int) -> None:
    """So few rows may miss tails, so the end where these would lie is far off: see test_tails."""
    assert covered(regressed(n), name, truth) >= 0.93


@pytest.mark.parametrize("n", [40, 300])
@pytest.mark.parametrize(
    ("name", "truth"),
    [
        ("bias", 0.0),
        ("error_p10", -1.2815516),
        ("error_p50", 0.0),
        ("error_p90", 1.2815516),
        ("median_absolute_error", 0.6744898),
        ("absolute_error_p90", 1.6448536),
    ],
)
def test_intervals_of_errors_cover(name: str, truth: float, n: int) -> None:
    """Of quantiles at least as often as they say: ranks are whole, and bounds lie at the edges of cells."""
    assert 0.93 <= covered(regressed(n), name, truth) <= 0.995
