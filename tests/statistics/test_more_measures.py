"""The measures beyond the headlines, against scikit-learn and NumPy on the same rows."""

from __future__ import annotations

import itertools
import math
import warnings
from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import special
from sklearn import metrics

from driftline.events import Task
from driftline.profiles import Classification, Regression, ScorePair
from driftline.profiles.naive import Naive
from driftline.profiles.performance import SMALLEST_PROBABILITY, logit
from driftline.profiles.reference import grid_for_scores
from driftline.sketches import Grid, GridSketch
from driftline.sketches.exact import ExactSum
from driftline.statistics import (
    Measure,
    calibration_bins,
    gains,
    measures,
    measures_by_class,
    wilson,
)
from driftline.statistics.catalogue import CATALOGUE, performance_measures
from driftline.statistics.intervals import quantile_ranks
from driftline.statistics.scores import calibration_error_of

OF_ONE_CLASS = {name for name, spec in CATALOGUE.items() if spec.one_class}
SCORES = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]))
BINARY_ROWS = st.lists(st.tuples(st.booleans(), SCORES), min_size=1, max_size=80)
CLASS = st.sampled_from(["fog", "rain", "sun"])
NUMBERS = st.one_of(st.floats(-1e6, 1e6), st.integers(-5, 5).map(float))


def texts(values: Any) -> pl.Series:
    return pl.Series(list(values), dtype=pl.String)


def binary(rows: list[tuple[bool, float]]) -> tuple[np.ndarray, np.ndarray, Classification]:
    y = np.array([int(label) for label, _ in rows])
    s = np.array([score for _, score in rows])
    guesses = texts(str(int(score >= 0.5)) for score in s)
    return y, s, Classification.of(texts(map(str, y)), guesses, {"1": pl.Series(s)}, positive="1")


def on_cells(scores: np.ndarray) -> np.ndarray:
    """The scores as the grid sees them: the number of their cell, by which rows of one cell tie."""
    return GridSketch().grid.cells_of(logit(scores)).astype(int)


def sound(measure: Measure) -> None:
    if measure.value is None:
        assert measure.problem and measure.low is None and measure.high is None
    else:
        assert measure.low is not None and measure.high is not None and not measure.problem
        assert -math.inf < measure.low <= measure.value <= measure.high < math.inf
        assert measure.n > 0


@given(BINARY_ROWS)
def test_every_measure_is_sound_on_any_rows(rows: list[tuple[bool, float]]) -> None:
    _, _, performance = binary(rows)
    for positive in ("1", "0", None):
        found = measures(performance, positive=positive)
        assert set(found) == set(performance_measures(Task.BINARY)) - (OF_ONE_CLASS if positive is None else set())
        for measure in found.values():
            sound(measure)
    for of_class in measures_by_class(performance).values():
        for measure in of_class.values():
            sound(measure)


@given(BINARY_ROWS)
def test_counts_are_scikit_learns(rows: list[tuple[bool, float]]) -> None:
    y, s, performance = binary(rows)
    p = (s >= 0.5).astype(int)
    found = measures(performance, positive="1")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        balanced = metrics.balanced_accuracy_score(y, p)
    if y.any() and not y.all():
        assert found["balanced_accuracy"].value == pytest.approx(balanced, abs=1e-12)
    else:
        assert found["balanced_accuracy"].problem.startswith("no row is labelled")
    if len(set(y.tolist())) == 2:
        assert found["specificity"].value == pytest.approx(metrics.recall_score(y, p, pos_label=0), abs=1e-12)
        if len(set(p.tolist())) == 2:
            assert found["mcc"].value == pytest.approx(metrics.matthews_corrcoef(y, p), abs=1e-12)
    if found["mcc"].value is None:
        assert "every row is" in found["mcc"].problem


@given(st.lists(st.tuples(CLASS, CLASS), min_size=1, max_size=60))
def test_of_many_classes_too(rows: list[tuple[str, str]]) -> None:
    y, p = zip(*rows, strict=True)
    found = measures(Classification.of(texts(y), texts(p)))
    if found["mcc"].value is not None:
        assert found["mcc"].value == pytest.approx(metrics.matthews_corrcoef(y, p), abs=1e-12)
    by_class = measures_by_class(Classification.of(texts(y), texts(p)))
    names = sorted({*y, *p})
    assert sorted(by_class) == names
    expected = metrics.precision_recall_fscore_support(y, p, labels=names, zero_division=np.nan)
    for at, name in enumerate(names):
        for measure, values in zip(("precision", "recall", "f1"), expected[:3], strict=True):
            value = by_class[name][measure].value
            assert value is None or value == pytest.approx(values[at], abs=1e-12)


@given(BINARY_ROWS)
def test_ranking_is_scikit_learns_where_scores_are_told_apart(rows: list[tuple[bool, float]]) -> None:
    y, s, performance = binary(rows)
    found = measures(performance, positive="1")
    assume(len(set(y.tolist())) == 2)
    tied = on_cells(s)
    assert found["average_precision"].value == pytest.approx(metrics.average_precision_score(y, tied), abs=1e-9)
    assert found["roc_auc"].value == pytest.approx(metrics.roc_auc_score(y, tied), abs=1e-9)
    assert found["brier"].value == pytest.approx(metrics.brier_score_loss(y, s), rel=1e-9, abs=1e-15)


@given(st.integers(0, 10**6), st.integers(2, 300))
def test_the_calibration_error_of_a_contest_is_the_one_of_every_report(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    y, s = rng.random(n) < 0.4, np.round(rng.random(n) * 20) / 20 + 0.025  # in the middle between edges of bins
    s = np.minimum(s, 0.975)
    y[:2] = [True, False]
    labels = texts(map(str, y.astype(int)))
    found = measures(Classification.of(labels, labels, {"1": pl.Series(s)}), positive="1")["calibration_error"]
    bins = np.minimum((s * 10).astype(int), 9)
    plain = sum(abs(s[bins == at].sum() - y[bins == at].sum()) for at in range(10)) / n
    assert calibration_error_of(s, y) == pytest.approx(plain, abs=1e-12)
    assert found.value == pytest.approx(plain, abs=0.002)


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9])), min_size=2, max_size=60))
def test_the_score_of_the_other_class_is_one_minus_it(rows: list[tuple[bool, float]]) -> None:
    assume({label for label, _ in rows} == {True, False})
    performance = binary(rows)[2]
    turned = [(not label, 1 - score) for label, score in rows]
    other = measures(performance, positive="0", names=["roc_auc", "average_precision"])
    expected = measures(binary(turned)[2], positive="1", names=["roc_auc", "average_precision"])
    for name, measure in expected.items():
        assert other[name].value == pytest.approx(measure.value, abs=1e-9)


@given(BINARY_ROWS)
def test_calibration_error_is_that_of_the_scores_within_a_cell(rows: list[tuple[bool, float]]) -> None:
    y, s, performance = binary(rows)
    assume(len(set(y.tolist())) == 2)
    found = measures(performance, positive="1", names=["calibration_error"])["calibration_error"]
    centres = special.expit(np.clip(GridSketch().grid.centres(on_cells(s)), -700, 700))
    bins = np.minimum((centres * 10).astype(int), 9)  # those of the cells
    expected = float(np.abs(np.bincount(bins, s - y)).sum()) / len(y)
    assert found.value == pytest.approx(expected, abs=0.0009)


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0])
def test_only_a_model_that_is_not_calibrated_is_surely_not(power: float) -> None:
    rng = np.random.default_rng(4)
    truth = rng.random(20_000)
    y = rng.random(20_000) < truth
    rows = list(zip(y.tolist(), (truth**power).tolist(), strict=True))
    found = measures(binary(rows)[2], positive="1", names=["calibration_error"])["calibration_error"]
    assert found.low is not None and found.high is not None
    assert (found.low == 0) is (power == 1.0)
    exact = {0.5: 1 / 6, 1.0: 0.0, 2.0: 1 / 6}[power]  # the mean of |t^power - t|
    assert found.low <= exact + 1e-3 and exact - 1e-3 <= found.high


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.3, 0.5, 0.9])), min_size=2, max_size=60))
def test_a_tenth_with_the_highest_scores_shares_ties(rows: list[tuple[bool, float]]) -> None:
    """What is expected if rows that tie come in any order."""
    assume({label for label, _ in rows} == {True, False})
    y, s, performance = binary(rows)
    found = measures(performance, positive="1")
    room, hits = 0.1 * len(y), 0.0
    for score in sorted(set(s.tolist()), reverse=True):
        tied = y[s == score]
        taken = min(room, len(tied))
        room, hits = room - taken, hits + taken * tied.mean()
    assert found["gain_10"].value == pytest.approx(hits / y.sum(), abs=1e-12)
    assert found["lift_10"].value == pytest.approx(10 * hits / y.sum(), abs=1e-12)
    assert found["gain_10"].n == y.sum()


def test_a_tenth_with_the_highest_scores() -> None:
    rows = [(at < 20, 0.9 if at < 5 else 0.8 if at < 10 else 0.1) for at in range(100)]
    found = measures(binary(rows)[2], positive="1")
    assert (found["gain_10"].value, found["lift_10"].value, found["gain_10"].n) == (0.5, 5.0, 20)


@given(BINARY_ROWS)
def test_a_curve_of_gains_begins_with_that_of_a_tenth_and_rises_to_all(
    rows: list[tuple[bool, float]],
) -> None:
    y, s, performance = binary(rows)
    curve = gains(performance, "1")
    if len(set(y.tolist())) < 2:
        assert curve == ()
        return
    assert curve[0] == measures(performance, positive="1", names=["gain_10"])["gain_10"].value
    assert curve[-1] == pytest.approx(1.0) and all(a <= b + 1e-12 for a, b in itertools.pairwise(curve))
    cells = on_cells(s)
    order = np.argsort(-cells, kind="stable")  # of rows that tie the best and the worst order bound it
    for tenth, share in enumerate(curve, 1):
        above = cells >= cells[order][max(math.ceil(tenth * len(y) / 10 - 1e-9), 1) - 1]
        assert share <= y[above].sum() / y.sum() + 1e-12


@given(BINARY_ROWS)
def test_bins_of_calibration_hold_every_row_once_and_add_up_to_its_error(rows: list[tuple[bool, float]]) -> None:
    y, s, performance = binary(rows)
    bins = calibration_bins(performance, "1")
    if len(set(y.tolist())) < 2:
        assert bins == ()
        return
    assert sum(one.rows for one in bins) == len(y)
    assert sum(one.rows * one.share for one in bins) == pytest.approx(y.sum())
    assert sum(one.rows * one.score for one in bins) == pytest.approx(s.sum(), abs=0.001 * len(s))
    error = measures(performance, positive="1", names=["calibration_error"])["calibration_error"].value
    assert sum(one.rows * abs(one.share - one.score) for one in bins) / len(y) == pytest.approx(error)
    assert [one.score for one in bins] == sorted(one.score for one in bins)
    for one in bins:
        assert (one.low, one.high) == wilson(round(one.share * one.rows), one.rows)


def error_on_the_logit_scale(measure: Measure) -> float:
    assert measure.value is not None and measure.low is not None and measure.high is not None
    width = float(special.logit(measure.high) - special.logit(measure.low))
    return width / (2 * float(special.ndtri(0.975))) * measure.value * (1 - measure.value)


def test_average_precision_varies_with_its_rows_as_scikit_learns() -> None:
    """The standard error is the root of the summed squares of what a row's weight changes: the jackknife."""
    rng = np.random.default_rng(8)
    y = np.arange(300) % 3 == 0
    s = np.round(special.expit(rng.normal(size=300) + y), 1)
    found = measures(binary(list(zip(y.tolist(), s.tolist(), strict=True)))[2], positive="1")["average_precision"]
    weights, step = np.ones(300), 1e-4
    value, changes = metrics.average_precision_score(y, s), []
    for row in range(300):
        weights[row] += step
        changes.append((metrics.average_precision_score(y, s, sample_weight=weights) - value) / step)
        weights[row] = 1.0
    assert error_on_the_logit_scale(found) == pytest.approx(math.hypot(*changes), rel=1e-3)


@pytest.mark.filterwarnings("ignore:The y_pred values do not sum to one")
def test_brier_of_many_classes_is_scikit_learns() -> None:
    rng = np.random.default_rng(9)
    names = np.array(["a", "b", "c"])
    y = rng.integers(0, 3, 500)
    p = rng.dirichlet(np.ones(3), 500)
    labels = texts(names[y])
    columns = {name: pl.Series(p[:, at]) for at, name in enumerate(names.tolist())}
    found = measures(Classification.of(labels, labels, columns), names=["brier"])["brier"]
    assert found.value == pytest.approx(metrics.brier_score_loss(y, p, labels=[0, 1, 2]), rel=1e-12)


def test_brier_of_rows_that_do_not_score_each_class() -> None:
    scores = {"a": [0.7, 0.2, None], "b": [0.2, 0.5, 0.5], "c": [0.1, 0.3, 0.5]}
    found = measures(
        Classification.of(texts("abb"), texts("aab"), {name: pl.Series(values) for name, values in scores.items()})
    )["brier"]
    each = [0.3**2 + 0.2**2 + 0.1**2, 0.2**2 + 0.5**2 + 0.3**2, 0.5**2 + 0.5**2]
    assert found.value == pytest.approx(np.mean(each)) and found.n == 3


def of_three(seed: int, n: int = 300) -> tuple[list[str], dict[str, np.ndarray]]:
    """Labels of three classes, and for each of these the true probability."""
    rng = np.random.default_rng(seed)
    p = np.round(rng.dirichlet(np.ones(3), n), 6)
    p[:, 2] = 1 - p[:, 0] - p[:, 1]
    names = [str(rng.choice(["a", "b", "c"], p=np.abs(row) / np.abs(row).sum())) for row in p]
    return names, {name: np.clip(p[:, at], 0, 1) for at, name in enumerate("abc")}


def losses(labels: list[str], scores: dict[str, np.ndarray]) -> dict[str, Measure]:
    columns = {name: pl.Series(score).fill_nan(None) for name, score in scores.items()}
    return measures(Classification.of(texts(labels), texts(labels), columns), names=["log_loss", "brier"])


@pytest.mark.parametrize("gone", ["a", "b", "c"])
@given(st.integers(0, 100), st.floats(0, 1))
@settings(max_examples=10, deadline=None)
def test_a_score_that_is_missing_is_what_the_others_leave(gone: str, seed: int, share: float) -> None:
    labels, scores = of_three(seed)
    rows = np.random.default_rng(seed).random(len(labels)) < share
    without = losses(labels, scores | {gone: np.where(rows, np.nan, scores[gone])})
    for name, one in losses(labels, scores).items():
        assert without[name].n == one.n == len(labels)
        assert without[name].value == pytest.approx(one.value, rel=1e-6, abs=1e-9)


@given(st.integers(0, 100), st.floats(1.05, 50))
@settings(max_examples=20, deadline=None)
def test_scores_of_any_scale_above_1_are_divided_by_their_sum(seed: int, scale: float) -> None:
    labels, scores = of_three(seed)
    largest = max(float(score.max()) for score in scores.values())
    scale = min(scale, 1 / largest)  # a score above 1 is none
    assume(scale > 1.02)
    larger = {name: score * scale for name, score in scores.items()}
    for name, one in losses(labels, scores).items():
        assert losses(labels, larger)[name].value == pytest.approx(one.value, rel=1e-9)
    assert Classification.of(texts(labels), texts(labels), {n: pl.Series(s) for n, s in larger.items()}).rescaled == 300


def test_scores_that_are_rounded_are_left_as_they_are() -> None:
    labels = ["a", "b", "c"] * 20
    rounded = {name: pl.Series([score] * 60) for name, score in zip("abc", (0.17, 0.17, 0.67), strict=True)}
    assert Classification.of(texts(labels), texts(labels), rounded).rescaled == 0


def test_a_label_that_no_score_is_for_counts() -> None:
    """It was left out: the log loss of a model that knew nothing of a fifth of the rows looked as if it knew all."""
    labels, scores = of_three(1)
    with_others = ["d"] * 60 + labels[60:]
    found = losses(with_others, scores)
    assert found["log_loss"].n == 300
    given = np.pad(np.stack([*scores.values()], axis=1), ((0, 0), (0, 1)))
    expected = metrics.log_loss(with_others, given, labels=[*"abcd"])
    assert found["log_loss"].value == pytest.approx(expected, rel=1e-6)
    assert found["log_loss"].high >= -math.log(SMALLEST_PROBABILITY) * 60 / 300


def test_rows_without_any_score_are_left_out() -> None:
    labels, scores = of_three(2)
    gone = np.arange(300) < 100
    found = losses(labels, {name: np.where(gone, np.nan, score) for name, score in scores.items()})
    rest = losses(labels[100:], {name: score[100:] for name, score in scores.items()})
    assert found == rest


@given(st.lists(st.tuples(CLASS, CLASS, SCORES, SCORES), min_size=1, max_size=40))
def test_each_class_is_the_binary_model_of_it(rows: list[tuple[str, str, float, float]]) -> None:
    y, p, fog, sun = zip(*rows, strict=True)
    scores = {"fog": pl.Series(fog), "sun": pl.Series(sun)}
    performance = Classification.of(texts(y), texts(p), scores)
    for name, found in measures_by_class(performance).items():
        assert found == measures(performance, positive=name, names=list(found))
        assert found["recall"].n == y.count(name)


NAMES = st.sampled_from(["", "0", "1", "fog", "rain", "sun", "ünï"])


@given(st.lists(st.tuples(NAMES, NAMES), max_size=60), st.integers(1, 7))
def test_pairs_are_counted_however_many_names_there_are(rows: list[tuple[str, str]], most: int) -> None:
    few = sorted({name for pair in rows for name in pair})[:most]
    rows = [(label, prediction) for label, prediction in rows if label in few and prediction in few]
    performance = Classification.of(texts(label for label, _ in rows), texts(prediction for _, prediction in rows))
    assert list(performance.confusion.items()) == sorted(Counter(rows).items())


# ---- scores ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [0, 1, 100, 10_000])
def test_a_pair_of_grids_is_that_of_each_side(n: int) -> None:
    rng = np.random.default_rng(n)
    s, y = np.round(rng.random(n), 3), rng.random(n) < 0.3
    labels = texts(y.astype(int).astype(str))
    pair = Classification.of(labels, labels, {"1": pl.Series(s)}, positive="1").scores["1"]
    assert pair == ScorePair(GridSketch.of(logit(s[y])), GridSketch.of(logit(s[~y])))


@given(st.lists(st.tuples(st.booleans(), SCORES), max_size=40), st.integers(0, 40))
def test_turning_scores_round_is_a_law(rows: list[tuple[bool, float]], split: int) -> None:
    whole, left, right = (binary(part)[2].scores["1"] for part in (rows, rows[:split], rows[split:]))
    assert whole.turned().turned() == whole
    assert left.turned().merge(right.turned()) == whole.turned()


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, -0.1, 1.1, None])
def test_what_is_no_probability_is_no_score(odd: float | None) -> None:
    labels = texts("011")
    with_odd = Classification.of(labels, labels, {"1": pl.Series([0.2, 0.7, odd])}, positive="1")
    without = Classification.of(labels, labels, {"1": pl.Series([0.2, 0.7, None])}, positive="1")
    assert with_odd == without and with_odd.brier.count == 2 and with_odd.scores["1"].positives.count == 1


@given(st.lists(st.tuples(st.booleans(), st.sampled_from([0.0, 0.25, 0.5, 1.0])), min_size=2))
def test_either_class_of_two_tells_the_probability_of_the_label(rows: list[tuple[bool, float]]) -> None:
    y, s, performance = binary(rows)
    labels = texts(map(str, y))
    other = Classification.of(labels, labels, {"0": pl.Series(1 - s)}, positive="1")
    assert (other.log_loss, other.brier) == (performance.log_loss, performance.brier)


def in_a_band(seed: int, base: float, width: float, n: int = 2_000) -> tuple[np.ndarray, pl.Series, pl.Series]:
    """Labels, their names, and scores that all lie in a narrow band."""
    rng = np.random.default_rng(seed)
    y = rng.random(n) < 0.2
    z = rng.normal(size=n) + 2 * y
    return y, texts(map(str, y.astype(int))), pl.Series(base + width * (z - z.mean()) / z.std() / 4)


BANDS = [(0.01, 2e-4), (0.02, 1e-3), (0.3, 1e-3), (0.9, 1e-3), (0.001, 1e-5), (0.5, 1e-6)]


@pytest.mark.parametrize(("base", "width"), BANDS)
def test_scores_in_a_narrow_band_are_told_apart_on_the_references_grid(base: float, width: float) -> None:
    """On the plain grid a band of 0.9 ± 0.001 was one cell or two, and its ROC AUC 0.57 for 0.92."""
    y, labels, scores = in_a_band(1, base, width)
    grid = grid_for_scores(in_a_band(2, base, width)[2])
    found = measures(Classification.of(labels, labels, {"1": scores}, positive="1", grids={"1": grid}), positive="1")
    assert found["roc_auc"].value == pytest.approx(metrics.roc_auc_score(y, scores), abs=1e-3)
    assert found["average_precision"].value == pytest.approx(metrics.average_precision_score(y, scores), abs=3e-3)
    narrow = found["roc_auc"]
    assert narrow.high is not None
    assert narrow.low is not None
    assert narrow.high - narrow.low < 0.06


@pytest.mark.parametrize(("base", "width"), BANDS)
@pytest.mark.parametrize("shift", [0.0, 3.0])
def test_the_interval_holds_what_the_order_within_cells_can_make(base: float, width: float, shift: float) -> None:
    """On a grid that was not made for the band, or where the band has moved, the value is far off, and that shows."""
    y, labels, scores = in_a_band(3, base + shift * width, width)
    found = measures(Classification.of(labels, labels, {"1": scores}, positive="1"), positive="1")
    exact = {
        "roc_auc": metrics.roc_auc_score(y, scores),
        "average_precision": metrics.average_precision_score(y, scores),
    }
    cells = len(np.unique(Grid().cells_of(logit(scores.to_numpy()))))
    for name, value in exact.items():
        one = found[name]
        assert cells == 1 or one.low - 1e-9 <= value <= one.high + 1e-9, name


def test_ties_leave_no_order_open() -> None:
    """Scores of one decimal are as they are: their intervals are those of the rows alone."""
    rng = np.random.default_rng(4)
    y = rng.random(2_000) < 0.4
    scores = np.round(np.clip(0.3 + 0.3 * y + rng.normal(0, 0.2, 2_000), 0.05, 0.95), 1)
    labels = texts(map(str, y.astype(int)))
    found = measures(Classification.of(labels, labels, {"1": pl.Series(scores)}), positive="1")
    assert found["roc_auc"].high - found["roc_auc"].low < 0.05


@given(st.lists(st.tuples(st.booleans(), SCORES), max_size=40), st.floats(-5, 5), st.integers(-9, 3))
def test_turning_scores_round_on_any_grid_is_a_law(rows: list[tuple[bool, float]], centre: float, power: int) -> None:
    labels = texts(str(int(label)) for label, _ in rows)
    scores = {"1": pl.Series([score for _, score in rows], dtype=pl.Float64)}
    pair = Classification.of(labels, labels, scores, grids={"1": Grid(centre, 2.0**power)}).scores["1"]
    assert pair.turned().turned() == pair


# ---- regression --------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=80))
def test_errors_are_numpys(rows: list[tuple[float, float]]) -> None:
    y, p = (np.array(side) for side in zip(*rows, strict=True))
    found = measures(Regression.of(pl.Series(y), pl.Series(p)))
    assert set(found) == set(performance_measures(Task.REGRESSION))
    for measure in found.values():
        sound(measure)
    error = p - y
    assert found["bias"].value == pytest.approx(float(np.mean(error)), rel=1e-9, abs=1e-9)
    some = np.abs(y) > 1e-9
    if some.sum() >= 2:
        assert found["mape"].value == pytest.approx(float(np.mean(np.abs(error[some] / y[some]))), rel=1e-9)
        assert found["mape"].n == some.sum()
    cells = {
        "error_p10": (error, 0.1, 36),
        "error_p50": (error, 0.5, 6),
        "error_p90": (error, 0.9, 36),
        "median_absolute_error": (np.abs(error), 0.5, 6),
        "absolute_error_p90": (np.abs(error), 0.9, 36),
    }
    for name, (values, q, least) in cells.items():
        measure = found[name]
        if len(rows) < least:
            assert f"{len(rows)} of the {least} labelled rows" in measure.problem and measure.n == len(rows)
            continue
        assert measure.value is not None and measure.low is not None and measure.high is not None
        exact = float(np.quantile(values, q, method="inverted_cdf"))
        assert measure.value == pytest.approx(exact, rel=2**-6, abs=1e-9)
        low, high = quantile_ranks(len(rows), q) or (0, 0)
        ranked = np.sort(values)
        for bound, order in ((measure.low, ranked[low - 1]), (measure.high, ranked[high - 1])):
            assert bound == pytest.approx(order, rel=2**-6, abs=1e-9)


def test_errors_of_whole_numbers_that_are_0_are_told_as_0() -> None:
    error = pl.Series([0.0] * 80 + [1.0] * 20)
    found = measures(Regression.of(pl.Series(range(100)), pl.Series(range(100)) + error))
    for name in ("median_absolute_error", "error_p10", "error_p50"):
        assert (found[name].value, found[name].low, found[name].high) == (0, 0, 0)


def test_errors_that_are_counted_as_smaller_ones_have_no_value_but_a_reason() -> None:
    """The sums and the grid hold numbers up to 3.4e38."""
    rng = np.random.default_rng(0)
    label, error = rng.normal(size=100), rng.normal(size=100)
    for scale in (1e42, 1e150):
        performance = Regression.of(pl.Series(label * scale), pl.Series((label + error) * scale))
        found = measures(performance, naive=Naive(ExactSum.of(np.ones(1)), 1, ""))
        assert {measure.problem for measure in found.values()} == {"the numbers are too large to be measured"}
    found = measures(Regression.of(pl.Series([*label, 1e200]), pl.Series([*(label + error), 0.0])))
    assert found["mae"].value is None and found["r2"].value is None
    assert found["median_absolute_error"].value == pytest.approx(np.median(np.abs(error)), rel=0.1)


def test_labels_of_nothing_have_no_relative_error() -> None:
    found = measures(Regression.of(pl.Series([0.0, 0.0]), pl.Series([1.0, 2.0])))["mape"]
    assert found.value is None and "every label is 0" in found.problem


# ---- the tables --------------------------------------------------------------------------------------------


def test_only_what_is_asked_for_is_computed() -> None:
    performance = binary([(True, 0.9), (False, 0.2)])[2]
    assert list(measures(performance, positive="1", names=["mcc", "accuracy"])) == ["accuracy", "mcc"]
    assert measures(None) == measures_by_class(None) == {}
