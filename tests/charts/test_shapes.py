"""Drawings stay within their frame and keep the order of what they show, whatever the numbers are."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from driftline.charts.axes import ticks_within
from driftline.charts.shapes import Scale, bars, polyline, steps
from driftline.charts.svg import LARGEST
from driftline.text.numbers import numbers

FINITE = st.floats(allow_nan=False, allow_infinity=False)
SHARES = st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30)


@given(FINITE, FINITE, st.floats(0.0, 1.0), st.booleans())
def test_what_lies_on_an_axis_lies_within_its_ends_and_the_ends_at_them(
    low: float, high: float, share: float, down: bool
) -> None:
    low, high = sorted((low, high))
    scale = Scale(low, high, *((100.0, 0.0) if down else (0.0, 100.0)))
    value = min(max(low * (1 - share) + high * share, low), high)
    assert -1e-9 <= scale.place(value) <= 100.0 + 1e-9
    if high / 2 - low / 2 > 0:
        assert (scale.place(low), scale.place(high)) == (scale.first, pytest.approx(scale.last))


@given(SHARES, st.floats(10.0, 1000.0), st.floats(10.0, 1000.0))
def test_bars_and_their_outline_are_as_high_as_the_shares(shares: list[float], width: float, height: float) -> None:
    tallest = max(*shares, 1e-9)
    filled = [float(up) for up in re.findall(r"v-([\d.]+)h", bars(shares, tallest, width, height))]
    assert filled == pytest.approx([height * share / tallest for share in shares if share > 0], abs=0.006)
    tops = [float(y) for y in re.findall(r"V([\d.]+)H", steps(shares, tallest, width, height))]
    assert tops == pytest.approx([height * (1 - share / tallest) for share in shares], abs=0.006)


@given(st.lists(st.tuples(st.floats(-1e4, 1e4), st.floats(-1e4, 1e4)), max_size=9))
def test_a_line_goes_through_its_points(points: list[tuple[float, float]]) -> None:
    read = [tuple(map(float, point.split(","))) for point in polyline(points).split()]
    assert [one for point in read for one in point] == pytest.approx([one for p in points for one in p], abs=0.006)


@given(st.floats(-1e290, 1e290), st.floats(1e-6, 1e6))
def test_ticks_are_few_lie_within_and_have_texts_of_their_own(middle: float, share: float) -> None:
    span = max(abs(middle), 1e-9) * share
    low, high = middle - span, middle + span
    assume(math.isfinite(high - low) and max(abs(low), abs(high)) < LARGEST)
    found = ticks_within(low, high)
    assert 2 <= len(found) <= 6 and found == sorted(set(found))
    assert low <= found[0] and found[-1] <= high
    assert len({*numbers(*found)}) == len(found)
