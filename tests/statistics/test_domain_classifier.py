"""Telling current rows from reference rows: agreement, laws, what only this one sees, and odd columns."""

from __future__ import annotations

import json
import math
import sys
from typing import Any

import msgspec
import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from driftline.errors import UsageError
from driftline.statistics import domain_classifier as module
from driftline.statistics.correlation_change import Dependence, compare_dependence
from driftline.statistics.domain_classifier import domain_classifier

metrics = pytest.importorskip("sklearn.metrics")


def sound(found: Dependence) -> None:
    json.dumps(msgspec.to_builtins(found), allow_nan=False)
    assert found.measure == "classifier" and found.pairs == ()
    assert bool(found.problem) == (found.value is None) == (not found.reason)
    assert found.value is None or 0 <= found.value <= 1
    assert found.p_value is None or 0 <= found.p_value <= 1


def xor(rng: np.random.Generator, rows: int, sign: int) -> pl.DataFrame:
    """The sign of z is that of x · y, or the opposite: all pairs of columns are independent."""
    x, y, z = rng.normal(size=(3, rows))
    return pl.DataFrame({"x": x, "y": y, "z": np.abs(z) * sign * np.sign(x * y), "other": rng.normal(size=rows)})


def test_it_sees_what_no_correlation_sees() -> None:
    rng = np.random.default_rng(1)
    a, b = xor(rng, 600, 1), xor(rng, 600, -1)
    found = domain_classifier(a, b)
    sound(found)
    assert found.drifted and found.value is not None and found.value > 0.9
    assert set(found.reason.split("most telling: ")[1].split(", ")) == {"x", "y", "z"}
    assert not compare_dependence(a, b).drifted


def test_it_sees_a_column_that_moved_and_a_new_category() -> None:
    rng = np.random.default_rng(2)
    names = rng.choice(["a", "b"], 500)
    a = pl.DataFrame({"x": rng.normal(size=500), "name": names, "same": rng.normal(size=500)})
    moved = domain_classifier(a, a.with_columns(pl.col("x") + 1, same=pl.Series(rng.normal(size=500))))
    assert moved.drifted and moved.reason.endswith("; most telling: x")
    renamed = domain_classifier(a, a.with_columns(name=pl.Series(np.where(names == "a", "A", "b"))))
    assert renamed.drifted and renamed.reason.endswith("; most telling: name")


def test_gaps_are_values_like_others() -> None:
    rng = np.random.default_rng(3)
    a, b = (pl.DataFrame({"x": rng.normal(size=400), "y": rng.normal(size=400)}) for _ in range(2))
    found = domain_classifier(a, b.with_columns(pl.when(pl.col("y") < 0.3).then(pl.col("y"))))
    assert found.drifted and found.reason.endswith("; most telling: y")


def test_without_a_change_chance_is_what_it_says() -> None:
    """The floor is taken away, so that chance alone decides. With folds taken as independent z varies by 1.3."""
    rng = np.random.default_rng(4)
    found = [
        domain_classifier(*(pl.DataFrame(rng.normal(size=(rows, 3))) for rows in (120, 80)), floor=0.0, chance=0.05)
        for _ in range(100)
    ]
    assert sum(one.drifted for one in found) <= 7
    assert np.mean([one.value for one in found]) == pytest.approx(0.5, abs=0.02)
    assert 0.5 <= np.std(stats.norm.isf([one.p_value for one in found])) <= 1.0


def test_the_same_rows_on_both_sides_cannot_be_told_apart() -> None:
    a = xor(np.random.default_rng(5), 300, 1)
    found = domain_classifier(a, a)
    assert not found.drifted
    assert found.value is not None and found.value <= 0.52


def test_the_seed_decides_and_only_the_seed() -> None:
    rng = np.random.default_rng(6)
    a, b = xor(rng, 200, 1), xor(rng, 200, 1)
    assert domain_classifier(a, b, seed=3) == domain_classifier(a, b, seed=3)
    assert domain_classifier(a, b, seed=3).value != domain_classifier(a, b, seed=4).value


@pytest.mark.parametrize("bend", [np.exp, lambda x: 1e306 * x, lambda x: np.where(x > 1, np.inf, x)])
def test_what_keeps_the_order_keeps_the_value(bend: Any) -> None:
    rng = np.random.default_rng(7)
    a, b = np.minimum(rng.normal(size=(2, 200)), [[1.5], [1.2]])
    a, b = np.where(a > 1, 1.5, a), np.where(b > 1, 1.5, b)
    other = rng.normal(size=(2, 200))
    plain, bent = (
        domain_classifier(*(pl.DataFrame({"x": f(x), "y": y}) for x, y in zip((a, b), other, strict=True)))
        for f in (lambda x: x, bend)
    )
    assert bent == plain


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=2, max_size=40))
def test_the_area_is_scikit_learns(rows: list[tuple[int, bool]]) -> None:
    score, current = np.array([float(row[0]) for row in rows]), np.array([row[1] for row in rows])
    current[:2] = True, False
    assert module._roc_auc(score, current) == pytest.approx(metrics.roc_auc_score(current, score))


@pytest.mark.parametrize(("positives", "negatives"), [(30, 30), (100, 20)])
def test_chance_is_mann_whitneys(positives: int, negatives: int) -> None:
    rng = np.random.default_rng(8)
    score, current = rng.normal(size=positives + negatives), np.arange(positives + negatives) < positives
    expected = stats.mannwhitneyu(
        score[current], score[~current], alternative="greater", method="asymptotic", use_continuity=False
    )
    ours = module._p_value([module._roc_auc(score, current)], np.zeros(len(score), np.int64), current)
    assert ours == pytest.approx(expected.pvalue)


def test_large_sides_are_thinned_evenly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 100)
    rng = np.random.default_rng(9)
    a = pl.DataFrame({"x": np.arange(5000.0), "y": rng.normal(size=5000)})
    assert not domain_classifier(a, a.with_columns(y=pl.Series(rng.normal(size=5000)))).drifted
    assert np.array_equal(module._thinned(a)["x"] // 50, np.arange(100))  # one of each stretch of 50


def test_the_first_columns_are_taken_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_COLUMNS", 2)
    a = xor(np.random.default_rng(10), 60, 1)
    assert domain_classifier(a, a).reason.endswith("; only the first 2 of 4 columns were taken")


def test_without_scikit_learn_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    with pytest.raises(UsageError, match="python -m pip install scikit-learn"):
        domain_classifier(pl.DataFrame(), pl.DataFrame())


NUMBERS = [1.0, 2.0, 3.0, 5.0, 8.0] * 10
ODD: dict[str, pl.DataFrame] = {
    "no rows": pl.DataFrame({"a": []}, schema={"a": pl.Float64}),
    "29 rows": pl.DataFrame({"a": NUMBERS[:29]}),
    "no columns": pl.DataFrame(),
    "constant": pl.DataFrame({"a": [3.0] * 50, "b": ["x"] * 50}),
    "all missing": pl.DataFrame(
        {"a": [None] * 50, "b": [math.nan] * 50, "c": [None] * 50},
        schema={"a": pl.Float64, "b": pl.Float64, "c": pl.String},
    ),
    "other types": pl.DataFrame({"b": list(range(50)), "c": [True] * 50}),
}


@pytest.mark.parametrize("case", ODD)
def test_nothing_to_tell_apart_is_said(case: str) -> None:
    found = domain_classifier(ODD[case], ODD[case])
    sound(found)
    assert found.problem and not found.drifted


def test_more_categories_than_bins() -> None:
    names = pl.DataFrame({"name": [f"row {at}" for at in range(600)]})
    found = domain_classifier(names, names.with_columns(pl.col("name") + "x"))
    sound(found)


ANY = st.one_of(st.none(), st.floats(), st.sampled_from([0.0, -0.0, 1.0, math.inf, -math.inf, 1e308, 5e-324]))
TEXTS = st.one_of(st.none(), st.text(max_size=2))


@st.composite
def odd_frames(draw: st.DrawFn) -> pl.DataFrame:
    rows = draw(st.integers(1, 8))
    repeat = draw(st.integers(1, 8))
    return pl.DataFrame(
        {
            name: pl.Series(draw(st.lists(kind, min_size=rows, max_size=rows)) * repeat, dtype=dtype, strict=False)
            for name, kind, dtype in (("a", ANY, pl.Float64), ("b", ANY, pl.Float64), ("c", TEXTS, pl.String))
        }
    )


@settings(max_examples=15, deadline=None)
@given(odd_frames(), odd_frames())
def test_no_values_whatever_break_it(reference: pl.DataFrame, current: pl.DataFrame) -> None:
    sound(domain_classifier(reference, current))
