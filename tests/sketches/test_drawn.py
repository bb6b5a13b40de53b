"""Rows drawn one of each stretch: as many as asked for, the same in any batches, and of no period."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.sketches.drawn import DrawnRows, drawn_places


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 5_000), st.integers(1, 700))
def test_one_row_is_drawn_of_each_stretch(rows: int, count: int) -> None:
    places = drawn_places(rows, count)
    assert len(places) == min(rows, count)
    ends = np.arange(count + 1) * rows // count if rows > count else np.arange(rows + 1)
    assert (places >= ends[:-1]).all()
    assert (places < ends[1:]).all()


def kept_of(batches: list[int], level: int, most: int) -> list[int]:
    """The rows that are kept of a stream in these batches, halved when there are more than ``most``."""
    drawn, kept, seen = DrawnRows(level), np.empty(0, np.int64), 0
    for batch in batches:
        kept = np.append(kept, drawn.take(batch) + seen)
        seen += batch
        while drawn.kept > most:
            kept = kept[drawn.halve()]
    return kept.tolist()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=12), st.integers(4, 60))
def test_neither_the_batches_matter_nor_whether_the_number_of_rows_is_known(batches: list[int], most: int) -> None:
    rows = sum(batches)
    whole = kept_of([rows], (rows // (most + 1)).bit_length(), most)
    assert kept_of(batches, 0, most) == whole
    assert whole == sorted(set(whole))
    assert len(whole) <= most


@pytest.mark.parametrize("period", [2, 7, 16, 20])
def test_what_comes_in_turn_is_drawn_in_turn(period: int) -> None:
    """Every k-th row would be of one device where the period divides k; these are a fair share, within five errors."""
    halved = kept_of([500] * 100, 0, 4_000)
    for places in (drawn_places(20 * 3_000, 3_000), np.array(halved)):
        counts = np.bincount(places % period, minlength=period)
        expected = len(places) / period
        assert np.abs(counts - expected).max() < 5 * np.sqrt(expected)
