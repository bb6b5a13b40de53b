"""What is sampled by hash: categories beyond the bound, and keys. The same bytes in any order, and honest bounds."""

from __future__ import annotations

import hashlib
from collections import Counter
from functools import reduce

import datasketches
import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import UsageError
from driftline.profiles import CategoricalColumn
from driftline.profiles.column import CategoricalTally
from driftline.sketches import CategoryCounts, KeySample, decode, encode
from driftline.sketches.categories import EXACT_LIMIT
from driftline.sketches.hashing import LONGEST, hash_names, hash_texts
from driftline.sketches.sample import KEPT

DISTINCT = 30_000


def many(seed: int, rows: int = 60_000, distinct: int = DISTINCT) -> np.ndarray:
    """Names of which some are frequent and most are rare."""
    rng = np.random.default_rng(seed)
    return np.array([f"item {number}" for number in (distinct * rng.random(rows) ** 3).astype(int)])


def keys(names: np.ndarray) -> np.ndarray:
    return hash_names(names.tolist())


# ---- categories --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_too_many_categories_have_the_same_bytes_in_every_order_and_split(seed: int) -> None:
    rng = np.random.default_rng(seed)
    names = many(seed)
    whole = CategoricalColumn.of(pl.Series(names))
    assert not whole.categories.exact
    cuts = np.sort(rng.integers(0, len(names), 6))
    parts = [CategoricalColumn.of(pl.Series(part.tolist(), dtype=pl.String)) for part in np.split(names, cuts)]
    rng.shuffle(parts)
    left = reduce(CategoricalColumn.merge, parts)
    right = reduce(lambda a, b: b.merge(a), parts)
    assert encode(left) == encode(right) == encode(whole)
    assert decode(encode(whole), CategoricalColumn) == whole


@pytest.mark.parametrize("batch", [1_000, 7_919, 60_000])
def test_the_size_of_batches_does_not_matter(batch: int) -> None:
    values = pl.Series(many(3))
    tally = CategoricalTally()
    for part in values.to_frame().iter_slices(batch):
        tally.add(part.to_series())
    assert encode(tally.column()) == encode(CategoricalColumn.of(values))


def test_kept_categories_are_counted_exactly_and_others_within_bounds() -> None:
    names = many(4)
    truth = Counter(names.tolist())
    counts = CategoricalColumn.of(pl.Series(names)).categories
    assert len(counts.counts) == KEPT
    assert counts.count == len(names)
    assert all(truth[name] == count for name, count in counts.counts.items())
    for name in [*sorted(truth)[:200], *(name for name, _ in truth.most_common(50)), "never seen"]:
        low, high = counts.bounds(name)
        assert low <= truth[name] <= high


@pytest.mark.parametrize("distinct", [EXACT_LIMIT - 1, EXACT_LIMIT, EXACT_LIMIT + 1, 50_000])
def test_distinct_categories_lie_within_their_bounds(distinct: int) -> None:
    counts = CategoryCounts.of((f"c{number}", 1 + number % 3) for number in range(distinct))
    estimate, low, high = counts.distinct()
    assert low <= distinct <= high
    assert counts.exact is (distinct <= EXACT_LIMIT)
    assert not counts.exact or estimate == low == high == distinct
    assert high - low <= 0.1 * distinct or counts.exact


def test_samples_of_two_columns_hold_the_same_categories() -> None:
    """The sample is coordinated: what both would keep can be compared name by name."""
    first, second = (CategoricalColumn.of(pl.Series(many(seed))).categories for seed in (5, 6))
    threshold = min(first.threshold, second.threshold)
    mine, theirs = first.up_to(threshold), second.up_to(threshold)
    truth = set(many(5).tolist()) & set(many(6).tolist())
    assert mine.keys() & theirs.keys() == {name for name in truth if int(hash_names([name])[0]) <= threshold}


# ---- keys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [0, 1, 100, KEPT, KEPT + 1, 50_000])
def test_a_sample_of_keys_is_the_same_in_every_order_and_split(rows: int) -> None:
    rng = np.random.default_rng(rows)
    hashes = keys(many(rows, rows))
    whole = KeySample.of(hashes)
    parts = [KeySample.of(part) for part in np.split(hashes, np.sort(rng.integers(0, rows + 1, 4)))]
    rng.shuffle(parts)
    assert encode(reduce(KeySample.merge, parts, KeySample())) == encode(whole)
    step = KeySample()
    for part in np.split(hashes, np.sort(rng.integers(0, rows + 1, 9))):
        step = step.merge(KeySample.of(part, step))
    assert encode(step) == encode(whole)
    assert decode(encode(whole), KeySample) == whole


@pytest.mark.parametrize("repeats", [1, 2, 5])
def test_repeated_keys_are_seen(repeats: int) -> None:
    hashes = np.repeat(keys(np.array([f"k{number}" for number in range(20_000)])), repeats)
    sample = KeySample.of(np.random.default_rng(0).permutation(hashes))
    assert sample.repeated == pytest.approx(1 - 1 / repeats, abs=1e-12)
    estimate, low, high = sample.distinct()
    assert low <= 20_000 <= high and abs(estimate - 20_000) < 1_500


def test_one_key_many_times() -> None:
    sample = KeySample.of(np.full(100_000, 7, np.uint64))
    assert (sample.rows, sample.exact, sample.distinct()) == (100_000, True, (1.0, 1.0, 1.0))
    assert sample.repeated == 1 - 1e-5


def test_the_error_of_distinct_is_what_is_promised() -> None:
    """Three standard errors hold 99.7 % of the time; of 60 tries, two misses would be a chance of 1 in 70."""
    misses = 0
    for seed in range(60):
        hashes = np.random.default_rng(seed).integers(0, 2**64, 40_000, np.uint64)
        _, low, high = KeySample.of(hashes).distinct()
        misses += not low <= len(np.unique(hashes)) <= high
    assert misses <= 1


def test_impossible_samples_are_refused() -> None:
    two = np.array([5, 4], np.uint64)
    with pytest.raises(UsageError):
        KeySample(2, two, np.array([1, 1]))
    with pytest.raises(UsageError):
        KeySample(2, two[:1], np.array([1, 1]))
    with pytest.raises(UsageError):
        CategoryCounts({}, np.zeros(3, np.int64))


# ---- hashes ------------------------------------------------------------------------------------------------


@given(st.lists(st.text(max_size=40), max_size=30))
def test_a_hash_depends_on_the_text_alone(texts: list[str]) -> None:
    together = hash_names(texts)
    assert together.tolist() == [int(hash_names([text])[0]) for text in texts]


@given(st.lists(st.text(max_size=40) | st.text(max_size=3).map(lambda end: "x" * (LONGEST - 1) + end), max_size=30))
def test_names_and_texts_have_the_same_hash(texts: list[str]) -> None:
    assert hash_names(texts).tolist() == hash_texts(pl.Series(texts, dtype=pl.String)).tolist()


@given(st.lists(st.text(max_size=12), unique=True, max_size=50))
def test_different_texts_have_different_hashes(texts: list[str]) -> None:
    assert len(set(hash_names(texts).tolist())) == len(texts)


@given(st.integers(LONGEST - 2, LONGEST + 20), st.text(max_size=12), st.text(max_size=12))
def test_long_texts_are_told_apart_by_their_ends(start: int, one: str, other: str) -> None:
    hashes = hash_names(["x" * start + end for end in (one, other)]).tolist()
    assert (hashes[0] == hashes[1]) == (one == other)


def test_the_bounds_of_distinct_long_texts_hold() -> None:
    """By their first 256 bytes and their length 12,000 addresses were some tens."""
    count = EXACT_LIMIT + 2_000
    names = [f"https://example.org/{'x' * 300}/{number}" for number in range(count)]
    _, low, high = CategoryCounts.of((name, 1) for name in names).distinct()
    assert low <= count <= high


def test_hashes_never_change() -> None:
    """Stored samples rest on them: a change of these numbers loses all that was stored."""
    texts = ["", "a", "rain", "ünï", "a" * 8, "a" * 9, "a" * LONGEST]
    digest = hashlib.sha256(hash_texts(pl.Series(texts)).astype("<u8").tobytes()).hexdigest()
    assert digest == "e00d04ec835f5fcf15ff61d20da5b9ebc146c9801c43a52bb100c2ed0029ff54"


def test_hashes_are_uniform() -> None:
    hashes = hash_names(f"user-{number}" for number in range(64_000))
    counts = np.bincount((hashes >> np.uint64(58)).astype(np.int64), minlength=64)
    chi_squared = ((counts - 1000.0) ** 2 / 1000.0).sum()
    assert 30 < chi_squared < 110  # 63 degrees of freedom: about one in a million beyond either end


# ---- beside a reference implementation ---------------------------------------------------------------------


@pytest.mark.parametrize("distinct", [5_000, 60_000])
def test_distinct_agrees_with_data_sketches(distinct: int) -> None:
    """Both estimate; their bounds, at three standard errors, overlap, and hold the truth."""
    names = [f"item {number}" for number in range(distinct)]
    theirs = datasketches.hll_sketch(12)
    for name in names:
        theirs.update(name)
    estimate, low, high = KeySample.of(hash_names(names)).distinct()
    assert low <= distinct <= high
    assert theirs.get_lower_bound(3) <= high and low <= theirs.get_upper_bound(3)
    assert estimate == pytest.approx(theirs.get_estimate(), rel=0.1)
