"""Columns with more categories than are kept: distances by buckets, new ones by a sample that both sides share."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.profiles import CategoricalColumn
from driftline.sketches import CategoryCounts
from driftline.statistics import compare_columns
from driftline.statistics.changes import changes_of
from driftline.statistics.distances import hellinger, jensen_shannon_divergence, pair, psi, psi_raw, total_variation

ROWS, DISTINCT = 60_000, 25_000


def column(names: np.ndarray) -> CategoricalColumn:
    return CategoricalColumn.of(pl.Series(names.tolist()))


def items(seed: int, *, first: int = 0) -> np.ndarray:
    numbers = first + (DISTINCT * np.random.default_rng(seed).random(ROWS) ** 2).astype(int)
    return np.array([f"item {number}" for number in numbers])


def shares(first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = [Counter(side.tolist()) for side in (first, second)]
    names = sorted(counts[0] | counts[1])
    p, q = (np.array([count[name] for name in names]) / ROWS for count in counts)
    return p, q


def test_without_drift_there_is_none() -> None:
    before, now = column(items(1)), column(items(2))
    assert not before.categories.exact and not now.categories.exact
    drift = compare_columns({"x": before}, {"x": now})["x"]
    assert not drift.drifted and drift.unseen < 0.005
    assert drift.p_value is not None and drift.p_value > 0.001


def test_distances_by_bucket_are_never_larger_than_the_categories_own() -> None:
    first, second = items(3), items(4, first=DISTINCT // 4)
    p, q = shares(first, second)
    both = pair(column(first), column(second))
    found = total_variation(both), hellinger(both), np.sqrt(jensen_shannon_divergence(both.reference, both.current))
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        divergence = sum(np.nansum(np.where(side > 0, side * np.log2(side / middle), 0)) for side in (p, q)) / 2
    exact = np.abs(p - q).sum() / 2, np.sqrt(((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2), np.sqrt(divergence)
    for by_bucket, by_name in zip(found, exact, strict=True):
        assert by_bucket is not None and 0 < by_bucket <= by_name + 1e-9


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0])
def test_new_categories_are_seen_beyond_what_rare_ones_let_expect(share: float) -> None:
    now = items(6).astype("<U20")
    new = np.random.default_rng(7).random(ROWS) < share
    now[new] = np.char.add("new ", now[new])
    drift = compare_columns({"x": column(items(5))}, {"x": column(now)})["x"]
    assert drift.drifted and 0.2 * share < drift.unseen < 1.1 * share
    assert share < 1 or drift.unseen > 0.8  # a tenth of fresh rows is of a new one without any change


def test_a_category_that_spreads_among_many_is_seen() -> None:
    now = items(8)
    now[:6000] = "item 17"
    drift = compare_columns({"x": column(items(9))}, {"x": column(now)})["x"]
    assert drift.drifted


def zipf(seed: int, *, share: float = 0.0, times: float = 1.0) -> np.ndarray:
    """Names by Zipf's law, some of which are one new name; the most frequent one is so many times as frequent."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, DISTINCT + 1) ** 1.05
    weights[0] *= times
    names = np.array([f"item {at}" for at in rng.choice(DISTINCT, ROWS, p=weights / weights.sum())], dtype="<U12")
    names[rng.random(ROWS) < share] = f"brand {seed}"
    return names


@pytest.mark.parametrize("share", [0.03, 0.3])
@pytest.mark.parametrize("seed", range(3))
def test_one_new_category_of_many_is_seen_whether_its_name_is_kept_or_not(seed: int, share: float) -> None:
    before, now = column(zipf(2 * seed + 100)), column(zipf(2 * seed + 101, share=share))
    drift = compare_columns({"x": before}, {"x": now})["x"]
    assert drift.drifted
    assert share * 0.8 < drift.unseen < share * 1.2 + 0.01


@pytest.mark.parametrize("times", [0.3, 3.0])
def test_a_frequent_category_that_changes_is_not_new(times: float) -> None:
    drift = compare_columns({"x": column(zipf(7))}, {"x": column(zipf(8, times=times))})["x"]
    assert drift.unseen < 0.01


@pytest.mark.parametrize("seed", range(3))
def test_only_what_is_new_or_gone_is_said_to_be(seed: int) -> None:
    """Of names that one side did not keep, two thirds of what was said was wrong."""
    before, now = zipf(seed + 20), zipf(seed + 40, share=0.3)
    drift = compare_columns({"x": column(before)}, {"x": column(now)})["x"]
    assert drift.changes
    for words in drift.changes:
        name = words.split(" 0 %")[0].rpartition(" ")[0] if "(gone)" in words else words.split(" 0 %")[0]
        if "(new)" in words:
            assert name not in before
        if "(gone)" in words:
            assert name not in now
    said = {words.partition(" → ")[0].rpartition(" ")[0].rpartition(" ")[0] for words in drift.changes if "→" in words}
    for name in said & set(before) & set(now):
        assert abs(float(np.mean(now == name)) - float(np.mean(before == name))) >= 0.01


@given(st.lists(st.integers(0, 40_000), max_size=50))
def test_a_known_count_is_the_true_one(asked: list[int]) -> None:
    counts = Counter(KNOWN.tolist())
    names = [f"item {number}" for number in asked]
    known = MANY.known(names)
    assert all(MANY.counts.get(name, 0) == counts[name] for name in known)
    assert known >= MANY.counts.keys() & set(names)
    assert all(low <= counts[name] <= high for name in names for low, high in [MANY.bounds(name)])


KNOWN = items(11)
MANY = column(KNOWN).categories


def test_few_against_many() -> None:
    few = column(np.array([f"item {number % 10}" for number in range(ROWS)]))
    assert few.categories.exact
    for before, now in ((few, column(items(10))), (column(items(10)), few)):
        drift = compare_columns({"x": before}, {"x": now})["x"]
        assert drift.drifted and all(value is None or np.isfinite(value) for value in drift.distances.values())


LETTERS = st.lists(st.sampled_from("abcd"), min_size=1, max_size=60)


@given(LETTERS, LETTERS)
def test_psi_is_the_textbooks_with_half_a_row_in_each_bin(before: list[str], now: list[str]) -> None:
    both = pair(CategoricalColumn.of(pl.Series(before)), CategoricalColumn.of(pl.Series(now)))
    known = sorted(set(before))
    p = np.array([before.count(name) for name in known], float)
    q = np.array([now.count(name) for name in known], float)
    surprising = both.unseen * len(now)
    rest = len(now) - q.sum() - surprising
    p, q = np.append(p, 0.0), np.append(q, rest)
    p, q = np.append(p, 0.0), np.append(q, surprising)
    used = (p + q) > 0
    p, q = p[used] + 0.5, q[used] + 0.5
    p, q = p / p.sum(), q / q.sum()
    raw = float(((p - q) * np.log(p / q)).sum())
    assert psi_raw(both) == pytest.approx(raw, abs=1e-12)
    expected = (used.sum() - 1) * (1 / len(before) + 1 / len(now))
    assert psi(both) == pytest.approx(max(raw - expected, 0.0), abs=1e-12)


def test_what_changed_among_many_categories_does_not_count_the_rows_for_each_of_them() -> None:
    counted = 0

    class Counted(dict[str, int]):
        def values(self) -> Any:
            nonlocal counted
            counted += 1
            return super().values()

    sides = []
    for first in (0, 50):
        counts = Counted({f"name {one:04}": 10 + one % 7 for one in range(first, first + 900)})
        sides.append(CategoricalColumn(sum(counts.values()), 0, CategoryCounts(counts)))
    before, now = (side.categories.shares() for side in sides)
    assert now == {name: sides[1].categories.share(name) for name in now} and before.keys() != now.keys()
    counted = 0
    assert changes_of(*sides, pair(*sides), None)
    assert 0 < counted < 20
