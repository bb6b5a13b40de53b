"""Intervals of rows that share luck: they hold, they are the jackknife's, and independent rows lose little."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from driftline.profiles import Classification, Performance, Regression
from driftline.profiles.blocks import Keys, keys_of
from driftline.profiles.performance import size_unit
from driftline.statistics import CATALOGUE, measures
from driftline.statistics.between import Between, BetweenBlocks, blocks_for
from driftline.statistics.block_sums import BIAS, MAE
from driftline.statistics.intervals import skewed_reach

DAYS, A_DAY = 60, 20


def hours_of(days: int = DAYS, a_day: int = A_DAY) -> Keys:
    """Rows at noon of each day."""
    return Keys(1, np.repeat(24 * np.arange(days) + 12, a_day))


def binary(rng: np.random.Generator, luck: float, keys: Keys | None) -> Classification:
    """A scored model whose logits of being right go up and down from day to day."""
    n = DAYS * A_DAY
    right = rng.random(n) < 1 / (1 + np.exp(-1.2 - np.repeat(rng.normal(0, luck, DAYS), A_DAY)))
    label = rng.random(n) < 0.4
    said = label == right
    score = np.where(said, 0.7, 0.3) + rng.normal(0, 0.05, n)
    names = [pl.Series(side.astype(int).astype(str)) for side in (label, said)]
    return Classification.of(*names, {"1": pl.Series(score)}, positive="1", keys=keys)


def regression(rng: np.random.Generator, luck: float, keys: Keys | None) -> Regression:
    """A model that is off by something of the day, and whose errors are larger on some days."""
    n = DAYS * A_DAY
    day = np.repeat(np.arange(DAYS), A_DAY)
    errors = (rng.normal(0, 1, n) + rng.normal(0, luck, DAYS)[day]) * np.exp(rng.normal(0, luck, DAYS))[day]
    labels = rng.normal(50, 10, n)
    return Regression.of(pl.Series(labels), pl.Series(labels + errors), centre=50.0, keys=keys, unit=8.0)


MAKE = {"binary": binary, "regression": regression}


def widths(found: Performance) -> dict[str, float]:
    """How wide the interval of each measure is."""
    positive = "1" if isinstance(found, Classification) else None
    return {
        name: one.high - one.low
        for name, one in measures(found, positive=positive).items()
        if one.high is not None and one.low is not None
    }


@pytest.mark.parametrize("task", MAKE)
def test_days_that_differ_make_every_interval_wider_and_change_no_value(task: str) -> None:
    alone, together = (MAKE[task](np.random.default_rng(1), 1.0, keys) for keys in (None, hours_of()))
    ratios = {name: widths(together)[name] / width for name, width in widths(alone).items() if width > 0}
    assert all(ratio >= 1 for ratio in ratios.values())
    assert np.median([*ratios.values()]) > 1.5  # those of long tails may reach as far by rows alone
    positive = "1" if task == "binary" else None
    for one, other in zip(*(measures(side, positive=positive).values() for side in (alone, together)), strict=True):
        assert (one.value, one.n, one.problem) == (other.value, other.n, other.problem)
        assert one.low is None or other.low <= one.low <= one.high <= other.high


@pytest.mark.parametrize("task", MAKE)
def test_independent_rows_lose_little(task: str) -> None:
    """In the mean over samples, as any estimate of how far days differ is a bit larger or smaller by chance."""
    ratios: dict[str, list[float]] = {}
    for seed in range(20):
        alone, together = (widths(MAKE[task](np.random.default_rng(seed), 0.0, keys)) for keys in (None, hours_of()))
        for name, width in alone.items():
            ratios.setdefault(name, []).append(together[name] / width)
    assert all(np.mean(some) < 1.2 for some in ratios.values()), {name: np.mean(some) for name, some in ratios.items()}


@pytest.mark.parametrize("task", MAKE)
@pytest.mark.parametrize("luck", [0.5, 1.0])
def test_intervals_hold_where_days_share_luck(task: str, luck: float) -> None:
    """95 % of 80 samples are 76; below 68 there is one chance in a thousand. By rows alone it is 40 to 60."""
    rng = np.random.default_rng(3)
    positive = "1" if task == "binary" else None
    many = [measures(MAKE[task](rng, luck, hours_of()), positive=positive) for _ in range(80)]
    for name in ("accuracy", "precision", "recall", "f1", "mcc", "brier", "roc_auc", "mae", "bias"):
        if name in many[0]:
            truth = np.mean([found[name].value for found in many])
            assert sum(found[name].low <= truth <= found[name].high for found in many) >= 68, name


@pytest.mark.parametrize("task", MAKE)
def test_the_sums_of_all_blocks_have_the_measures_values(task: str) -> None:
    """What is left out of is the measure itself, but for what its sums are rounded by."""
    performance = MAKE[task](np.random.default_rng(4), 0.5, hours_of())
    positive = "1" if task == "binary" else None
    sums = {
        name: np.array([(performance.blocks.in_units(name) if scaled else performance.blocks.sum_of(name)).sum()])
        for name in performance.blocks.names
        for scaled in [name in ("log_loss", "brier", "e", "a", "ee", "t", "tt", "s", "relative")]
    }
    told = 0
    for name, measure in measures(performance, positive=positive).items():
        of_blocks = CATALOGUE[name].of_blocks
        if of_blocks is None or measure.value is None:
            continue
        told += 1
        unit = performance.blocks.unit if of_blocks.in_units or name == "wape" else 1.0
        unit /= size_unit(performance.centre, performance.blocks.unit) if name == "wape" else 1.0
        assert float(of_blocks.value(sums, positive)[0]) * unit == pytest.approx(measure.value, abs=1e-4), name
    assert told >= 5


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(20, 75))
def test_a_row_a_day_has_the_error_of_independent_rows(seed: int, days: int) -> None:
    rng = np.random.default_rng(seed)
    labels, errors = rng.normal(0, 5, days), rng.normal(0, 1, days)
    keys = Keys(1, 24 * rng.permutation(days))
    found = Regression.of(pl.Series(labels), pl.Series(labels + errors), keys=keys)
    between = BetweenBlocks(found, None)
    assert between.of(BIAS).dof == days - 1
    assert between.of(BIAS).error == pytest.approx(np.std(errors, ddof=1) / math.sqrt(days), rel=1e-4)
    assert between.of(MAE).error == pytest.approx(np.std(np.abs(errors), ddof=1) / math.sqrt(days), rel=1e-4)


@pytest.mark.parametrize("skewness", [0.4, -0.4])
def test_the_longer_tail_counts_as_much_however_few_blocks_there_are(skewness: float) -> None:
    """Student's t is for the error that blocks estimate; the term of the skewness has the normal quantile (Hall)."""
    z = stats.norm.ppf(0.975)
    for dof in (1, 5, 100):
        below, above = Between(2.0, dof, skewness).beyond(0.95)
        assert (below if skewness < 0 else above) == pytest.approx(abs(skewness) * 2.0 * (1 + 2 * z**2) / 6)
        assert 0.0 in (below, above)


def test_the_end_on_the_side_of_the_longer_tail_is_wrong_less_often_with_it() -> None:
    rng = np.random.default_rng(3)
    rows = rng.exponential(size=(5_000, 40)) - 1
    means, errors = rows.mean(1), rows.std(1, ddof=1) / math.sqrt(40)
    reach = stats.t.ppf(0.95, 39) * errors
    more = np.array([skewed_reach(skew / math.sqrt(40), 1.0, 0.9) for skew in stats.skew(rows, axis=1)]) * errors
    with_it, without = float((means + reach + more < 0).mean()), float((means + reach < 0).mean())
    assert with_it < 0.08
    assert without > 0.085


def test_one_block_with_most_rows_leaves_few_degrees_of_freedom() -> None:
    rng = np.random.default_rng(5)
    keys = Keys(0, np.concatenate([np.zeros(900, np.int64), rng.integers(1, 100, 100)]))
    found = Regression.of(pl.Series(np.zeros(1000)), pl.Series(rng.normal(0, 1, 1000)), keys=keys)
    assert BetweenBlocks(found, None).of(BIAS).dof <= 1


def test_rows_of_unknown_customers_are_no_customer_with_half_of_the_rows() -> None:
    rng = np.random.default_rng(7)
    right = pl.Series(np.where(rng.random(2000) < 0.85, "1", "0"))
    yes = pl.Series(["1"] * 2000)
    names = [f"customer {at % 50}" if at % 2 else None for at in range(2000)]
    found = [Classification.of(yes, right, keys=keys) for keys in (None, keys_of(pl.Series(names), None))]
    alone, by_customer = (widths(one)["accuracy"] for one in found)
    assert alone <= by_customer < 1.4 * alone


@pytest.mark.parametrize(
    ("hours", "span"),
    [
        (np.arange(24 * 90), 48),
        (np.arange(24 * 30), 24),
        (np.arange(24 * 7), 24),
        (np.arange(24 * 3), 24),
        (np.arange(24 * 2), 3),
        (np.concatenate([np.arange(48), [50]]), 3),
        (np.arange(24), 1),
        (24 * np.arange(400), 192),
        (np.arange(11), None),
        (np.zeros(0, np.int64), None),
    ],
)
def test_blocks_are_days_or_longer_where_there_are_enough(hours: np.ndarray, span: int | None) -> None:
    found = blocks_for(Regression.of(*[pl.Series(np.ones(len(hours)))] * 2, keys=Keys(1, hours)).blocks)
    assert (None if found is None else found.span) == span


@given(st.lists(st.integers(-(2**31), 2**31), min_size=1, max_size=200), st.sampled_from([0, 1]))
def test_no_times_whatever_break_it(hours: list[int], span: int) -> None:
    """From the year -240,000 to 240,000, before and after 1970."""
    numbers = np.array(hours, np.int64) if span else np.array(hours, np.int64) % 128
    labels = pl.Series(np.arange(len(hours)) % 2).cast(pl.String)
    found = Classification.of(labels, pl.Series(["1"] * len(hours)), positive="1", keys=Keys(span, numbers))
    for one in measures(found, positive="1").values():
        assert one.value is None or one.low <= one.value <= one.high


def test_a_class_that_one_block_alone_has_leaves_its_measure_to_the_rows() -> None:
    label = np.zeros(DAYS * A_DAY, int)
    label[:5] = 1
    names = pl.Series(label.astype(str))
    found, alone = (
        measures(Classification.of(names, names, positive="1", keys=keys), positive="1")["recall"]
        for keys in (hours_of(), None)
    )
    assert found == alone
