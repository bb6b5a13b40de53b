"""Measures against scikit-learn on the same rows; what cannot be had has a reason."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn import metrics

from driftline.profiles import Classification, Performance, Regression
from driftline.sketches.moments import LARGEST
from driftline.statistics import Measure, label_coverage, measures

CLASSES = st.sampled_from(["fog", "rain", "sun"])
BINARY = st.sampled_from(["0", "1"])


def texts(values: Any) -> pl.Series:
    return pl.Series(list(values), dtype=pl.String)


def sound(measure: Measure) -> None:
    """A measure has a value within its finite interval, or a problem in words."""
    if measure.value is None:
        assert measure.problem and measure.low is None and measure.high is None
    else:
        assert measure.low is not None and measure.high is not None and not measure.problem
        assert -math.inf < measure.low <= measure.value <= measure.high < math.inf
        assert measure.n > 0


@given(st.lists(st.tuples(CLASSES, CLASSES), min_size=1, max_size=60))
def test_macro_averages_are_scikit_learns(rows: list[tuple[str, str]]) -> None:
    y, p = zip(*rows, strict=True)
    found = measures(Classification.of(texts(y), texts(p)))
    expected = metrics.precision_recall_fscore_support(y, p, average="macro", zero_division=0)
    assert found["accuracy"].value == pytest.approx(metrics.accuracy_score(y, p), abs=1e-12)
    for name, value in zip(("precision", "recall", "f1"), expected[:3], strict=True):
        assert found[name].value == pytest.approx(value, abs=1e-12)
    for measure in found.values():
        sound(measure)


@given(st.lists(st.tuples(BINARY, BINARY), min_size=1, max_size=60))
def test_binary_measures_are_scikit_learns_where_they_are_defined(rows: list[tuple[str, str]]) -> None:
    y, p = zip(*rows, strict=True)
    found = measures(Classification.of(texts(y), texts(p)), positive="1")
    undefined = {"precision": "1" not in p, "recall": "1" not in y, "f1": "1" not in y and "1" not in p}
    expected = metrics.precision_recall_fscore_support(y, p, average="binary", pos_label="1", zero_division=0)
    for name, value in zip(("precision", "recall", "f1"), expected[:3], strict=True):
        sound(found[name])
        if undefined[name]:
            assert "'1'" in found[name].problem
        else:
            assert found[name].value == pytest.approx(value, abs=1e-12)


SCORES = st.one_of(st.sampled_from([0.0, 0.25, 0.5, 1.0, 1e-9, 1 - 1e-9]), st.floats(0, 1).map(lambda p: round(p, 2)))


@given(st.lists(st.tuples(BINARY, SCORES), min_size=1, max_size=60))
def test_auc_and_log_loss_are_scikit_learns(rows: list[tuple[str, float]]) -> None:
    y, s = zip(*rows, strict=True)
    found = measures(Classification.of(texts(y), texts(y), {"1": pl.Series(s)}, positive="1"), positive="1")
    for measure in found.values():
        sound(measure)
    labels = np.array(y) == "1"
    if len(set(y)) == 2:
        positives, negatives = labels.sum(), (~labels).sum()
        close = [a for a in set(s) for b in set(s) if a != b and same_cell(a, b)]
        ties = sum(s.count(a) for a in close) / max(positives + negatives, 1)
        assert found["roc_auc"].value == pytest.approx(metrics.roc_auc_score(labels, s), abs=1e-12 + ties)
    else:
        assert found["roc_auc"].problem == "the scored rows are of one class only"
    if len(y) > 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            expected = metrics.log_loss(labels, s, labels=[False, True])
        assert found["log_loss"].value == pytest.approx(expected, rel=1e-9, abs=1e-12)


def same_cell(a: float, b: float) -> bool:
    logits = [math.log(p) - math.log1p(-p) if 0 < p < 1 else math.copysign(LARGEST, p - 0.5) for p in (a, b)]
    return abs(logits[0] - logits[1]) <= 2**-6 * max(abs(logits[0]), abs(logits[1]))


def test_a_score_of_the_other_class_serves_as_well() -> None:
    rng = np.random.default_rng(1)
    y, s = rng.integers(0, 2, 200), rng.random(200)
    labels = texts(y.astype(str))
    mine = measures(Classification.of(labels, labels, {"1": pl.Series(s)}, positive="1"), positive="1")
    other = measures(Classification.of(labels, labels, {"0": pl.Series(1 - s)}, positive="1"), positive="1")
    assert mine["roc_auc"].value == pytest.approx(other["roc_auc"].value, abs=0.01)


def test_the_multiclass_auc_is_scikit_learns_one_vs_rest() -> None:
    rng = np.random.default_rng(7)
    names = np.array(["fog", "rain", "sun"])
    y = rng.integers(0, 3, 600)
    raw = rng.random((600, 3)) + np.eye(3)[y] * 0.5
    scores = raw / raw.sum(axis=1, keepdims=True)
    labels = texts(names[y])
    columns = {name: pl.Series(scores[:, at]) for at, name in enumerate(names.tolist())}
    found = measures(Classification.of(labels, labels, columns))
    assert found["roc_auc"].value == pytest.approx(metrics.roc_auc_score(y, scores, multi_class="ovr"), abs=2e-3)
    assert found["log_loss"].value == pytest.approx(metrics.log_loss(y, scores), rel=1e-9)


@pytest.mark.parametrize("scores", [[0.9, 0.8, 0.1, 0.2], [0.1, 0.2, 0.9, 0.8], [0.5, 0.5, 0.5, 0.5]])
def test_a_perfect_a_worst_and_a_constant_score_have_an_interval_with_width(scores: list[float]) -> None:
    labels = texts(["1", "1", "0", "0"])
    auc = measures(Classification.of(labels, labels, {"1": pl.Series(scores)}, positive="1"), positive="1")["roc_auc"]
    sound(auc)
    assert auc.high is not None and auc.low is not None and auc.high - auc.low > 0.3


NUMBERS = st.floats(-1e6, 1e6)


@given(st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=50), st.sampled_from([0.0, 1.0, -1e5]))
def test_regression_measures_are_scikit_learns(rows: list[tuple[float, float]], centre: float) -> None:
    y, p = (np.array(column) for column in zip(*rows, strict=True))
    found = measures(Regression.of(pl.Series(y), pl.Series(p), centre=centre))
    for measure in found.values():
        sound(measure)
    scale = 1e-9 * float(np.abs(y - p).max())
    assert found["mae"].value == pytest.approx(metrics.mean_absolute_error(y, p), rel=1e-9, abs=scale)
    assert found["rmse"].value == pytest.approx(metrics.root_mean_squared_error(y, p), rel=1e-9, abs=scale)
    if found["r2"].value is not None and np.ptp(y) > 1e-3 * np.abs(y - centre).max():
        assert found["r2"].value == pytest.approx(metrics.r2_score(y, p), rel=1e-6, abs=1e-6)


ANY = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, 3.0, 1e308, -1e308, 5e-324, 1e-160]))


@example([(0.0, 1e-160), (90.0, 90.0)])
@given(st.lists(st.tuples(ANY, ANY), max_size=12))
def test_no_numbers_whatever_give_nan(rows: list[Any]) -> None:
    y, p = (pl.Series([row[at] for row in rows], dtype=pl.Float64) for at in (0, 1))
    for measure in measures(Regression.of(y, p)).values():
        sound(measure)


@given(st.lists(st.tuples(st.one_of(st.none(), CLASSES), st.one_of(st.none(), CLASSES), st.one_of(st.none(), SCORES))))
def test_no_classes_whatever_give_nan(rows: list[Any]) -> None:
    y, p = (pl.Series([row[at] for row in rows], dtype=pl.String) for at in (0, 1))
    scores = {"rain": pl.Series([row[2] for row in rows], dtype=pl.Float64)}
    for positive in (None, "rain", "never seen"):
        for measure in measures(Classification.of(y, p, scores), positive=positive).values():
            sound(measure)


@pytest.mark.parametrize(
    ("performance", "name", "words"),
    [
        (Classification(), "accuracy", "no labelled rows"),
        (Classification({("0", "0"): 5}), "roc_auc", "no scores"),
        (Classification({("0", "0"): 5}), "log_loss", "no scores"),
        (Classification({("0", "0"): 5}), "precision", "no row is predicted '1'"),
        (Classification({("0", "0"): 5}), "recall", "no row is labelled '1'"),
        (Regression(), "mae", "no labelled rows"),
        (Regression.of(pl.Series([1.0]), pl.Series([2.0])), "rmse", "one labelled row"),
        (Regression.of(pl.Series([1.0, 1.0]), pl.Series([2.0, 3.0])), "r2", "all labels are equal"),
    ],
)
def test_what_cannot_be_had_has_a_reason(performance: Performance, name: str, words: str) -> None:
    measure = measures(performance, positive="1" if isinstance(performance, Classification) else None)[name]
    assert measure.value is None
    assert words in measure.problem


def test_nothing_labelled_has_no_measures() -> None:
    assert measures(None) == {}


@given(st.integers(1, 10**6), st.data())
def test_narrower_with_more_confidence_given_up(n: int, data: st.DataObject) -> None:
    correct = data.draw(st.integers(0, n))
    counted = Classification({("a", "a"): correct, ("a", "b"): n - correct})
    wide, narrow = (measures(counted, confidence=level)["accuracy"] for level in (0.99, 0.8))
    assert wide.low is not None and narrow.low is not None and wide.high is not None and narrow.high is not None
    assert wide.low <= narrow.low and narrow.high <= wide.high


@pytest.mark.parametrize(
    ("labelled", "predictions", "value"), [(5, 10, 0.5), (0, 10, 0.0), (10, 10, 1.0), (11, 10, 1.0)]
)
def test_label_coverage(labelled: int, predictions: int, value: float) -> None:
    coverage = label_coverage(labelled, predictions)
    sound(coverage)
    assert coverage.value == value


def test_label_coverage_of_nothing_has_a_reason() -> None:
    assert label_coverage(0, 0).problem == "no predictions"
