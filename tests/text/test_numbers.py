"""Laws of how numbers and shares are told: what differs differs in words, what is equal does not."""

from __future__ import annotations

import math
import sys

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

import driftline
from driftline.reports.bars import bars_of
from driftline.text.numbers import (
    beside,
    effects,
    exact,
    figures,
    number,
    number_with,
    numbers,
    p_in_table,
    p_words,
    percent,
    percents,
)

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SHARE = st.floats(0.0, 1.0)


def read_back(text: str) -> float:
    return float(text.replace(",", "").removesuffix(" %").removeprefix("<"))


@given(FINITE, FINITE)
@example(0.0, -0.0)
@example(4.05, 4.0545)
@example(0.0, 5e-324)
@example(-sys.float_info.max, sys.float_info.max)
@example(1.7172e18, math.nextafter(1.7172e18, math.inf))
def test_numbers_differ_in_words_where_they_differ_and_nowhere_else(one: float, other: float) -> None:
    for told in (numbers(one, other), figures(one, other), effects(one, other)):
        assert (told[0] == told[1]) is (one == other)


@given(FINITE, st.integers(1, 50))
def test_the_nearest_neighbours_of_a_number_are_told_apart(value: float, steps: int) -> None:
    neighbour = value
    for _ in range(steps):
        neighbour = math.nextafter(neighbour, math.inf)
    assume(math.isfinite(neighbour))
    assert len({*numbers(value, neighbour)}) == 2


@given(st.lists(FINITE, min_size=1, max_size=8))
def test_any_numbers_side_by_side_have_as_many_texts_as_values(values: list[float]) -> None:
    told = numbers(*values)
    assert len(told) == len(values)
    assert len({*told}) == len({*values})


@given(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1))
def test_what_is_told_is_near_to_the_number_and_in_its_order(one: int, other: int) -> None:
    """Nothing is rounded by more than half of a hundredth, and a larger number never looks smaller."""
    low, high = sorted((float(one), float(other)))
    told = [read_back(text) for text in numbers(low, high)]
    assert told == sorted(told)
    assert all(math.isclose(text, value, rel_tol=0.005) for text, value in zip(told, (low, high), strict=True))


@given(SHARE, SHARE)
@example(0.0, 0.00004)
@example(0.99996, 0.99999)
@example(0.5, math.nextafter(0.5, 1.0))
@example(0.0, 5e-324)
def test_shares_differ_in_words_where_they_differ_and_nowhere_else(one: float, other: float) -> None:
    told = percents(one, other)
    assert (told[0] == told[1]) is (one == other)
    assert all((text == "0 %") is (share == 0) for text, share in zip(told, (one, other), strict=True))
    assert all((text == "100 %") is (share == 1) for text, share in zip(told, (one, other), strict=True))


@given(SHARE)
def test_a_share_alone_is_told_as_ever(share: float) -> None:
    assert percents(share) == (percent(share),)


@given(FINITE)
def test_a_number_alone_or_beside_itself_is_told_as_ever(value: float) -> None:
    assert numbers(value, value) == (number(value), number(value))


@given(st.floats(1e-6, 1e17), st.floats(1e-9, 1e-3, exclude_max=True))
def test_a_small_change_is_shown_with_two_digits_of_its_own(value: float, share: float) -> None:
    change = value * share
    assert abs(read_back(number_with(value, change)) - value) <= change / 2


DAY = 86_400


@pytest.mark.parametrize("unit", [10**9, 10**6, 10**3, 1], ids=["ns", "us", "ms", "s"])
def test_large_whole_numbers_that_moved_are_told_by_digits_that_moved(unit: int) -> None:
    """Epochs of every unit, and ids that are as large: a day later, everywhere that numbers are told."""
    rng, start = np.random.default_rng(12), 1_717_200_000 * unit
    was, now = (pl.DataFrame({"ts": start + day * DAY * unit + rng.integers(0, DAY * unit, 800)}) for day in (0, 1))
    report = driftline.check(was, now)
    (words,) = (words for words in report.columns["ts"].changes if words.startswith("median"))
    before, after = (read_back(text) for text in words.removeprefix("median ").split(" → "))
    assert before < after
    assert math.isclose(after - before, DAY * unit, rel_tol=0.5)
    bars = bars_of(*report.profiles["ts"])
    assert bars is not None and bars.ends is not None
    assert len({*bars.names}) == len(bars.names) and bars.ends[0] != bars.ends[1]
    assert all(len({*name.split(" to ")}) == 2 for name in bars.names if " to " in name)


def test_an_outlier_among_large_numbers_is_told_apart_from_the_range() -> None:
    start = 1_717_200_000 * 10**9
    was = [start + i * 10**9 for i in range(400)]
    shuffled = np.random.default_rng(1).permutation(was)
    report = driftline.check(pl.DataFrame({"ts": shuffled}), pl.DataFrame({"ts": [*shuffled[1:], start + 10**13]}))
    (note,) = (note for note in report.notes if "as far out as" in note)
    far, low, high = (read_back(word) for word in note.replace(";", "").split() if word[0].isdigit())
    assert low < high < far


@given(FINITE, FINITE)
@example(0.74999, 0.75)
@example(12_345.7, 12_346.0)
def test_beside_an_exact_threshold_a_number_looks_like_it_only_where_it_is(value: float, threshold: float) -> None:
    assert float(exact(threshold)) == threshold
    assert (read_back(beside(value, threshold)) == threshold) <= (value == threshold)


@given(st.floats(0.0, 1.0))
def test_a_p_value_is_told_alike_in_a_sentence_and_in_a_table(value: float) -> None:
    assert p_words(value) in (f"p = {p_in_table(value)}", f"p {p_in_table(value)}")
