"""The picture in a mail: read back as pixels."""

from __future__ import annotations

import io
import math
import sys
from datetime import timedelta
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from driftline.alerts.channels.picture import HEIGHT, WIDTH, picture
from driftline.alerts.message import Notice, Point, Span
from tests.alerts.channels.conftest import DAY, WINDOW, moments, notice, numbers

LINE, BAND, BREACH = (11, 95, 125), (213, 229, 234), (179, 32, 27)


def drawn(points: list[Point], threshold: float = 0.75, **changes: Any) -> Image.Image:
    one = msgspec.structs.replace(notice(threshold=threshold, **changes), recent=points)
    found = picture(one)
    assert found is not None
    image = Image.open(io.BytesIO(found))
    assert (image.format, image.size) == ("PNG", (2 * WIDTH, 2 * HEIGHT))
    return image.convert("RGB")


def columns(image: Image.Image, colour: tuple[int, int, int]) -> dict[int, list[int]]:
    """Where a colour is (nearly): the rows by column."""
    near = np.abs(np.asarray(image, dtype=np.int16) - np.array(colour)).max(axis=2) < 12
    found: dict[int, list[int]] = {}
    for y, x in np.argwhere(near).tolist():
        found.setdefault(x, []).append(y)
    return found


def tall(image: Image.Image, colour: tuple[int, int, int]) -> set[int]:
    """The columns with more of a colour than lines and letters have."""
    return {x for x, rows in columns(image, colour).items() if len(rows) >= 12}


def points(*values: float | None, half: float = 0.05) -> list[Point]:
    """Windows of a day up to the alert's, with intervals."""
    last = len(values) - 1
    return [
        Point(
            WINDOW.end - (last - at) * DAY,
            value,
            None if value is None else value - half,
            None if value is None else value + half,
        )
        for at, value in enumerate(values)
    ]


def test_a_falling_measure_falls_and_its_last_window_is_marked() -> None:
    image = drawn(points(0.9, 0.9, 0.9, 0.5))
    line = columns(image, LINE)
    first, last = min(line), max(line)
    assert sum(line[first]) / len(line[first]) < image.height / 3 < sum(line[last]) / len(line[last])
    dots = {x: rows for x, rows in columns(image, BREACH).items() if max(rows) - min(rows) > image.height / 4}
    assert dots and min(dots) > 0.9 * image.width, "the mark is far below the threshold's line, at the right"
    assert len(tall(image, BAND)) > 0.8 * image.width


def test_a_gap_is_not_drawn_over() -> None:
    whole, gap = (
        columns(drawn(points(*[0.9] * 9)), LINE),
        columns(drawn(points(*[0.9] * 3, *[None] * 3, *[0.9] * 3)), LINE),
    )
    middle = range(round(0.48 * 2 * WIDTH), round(0.55 * 2 * WIDTH))
    assert all(x in whole for x in middle)
    assert not any(x in gap for x in middle)


def test_values_without_intervals_have_no_band() -> None:
    bare = [Point(point.end, point.value, None, None) for point in points(0.9, 0.8, 0.85)]
    assert columns(drawn(bare), LINE) and not tall(drawn(bare), BAND)


def test_one_window_is_a_dot_with_its_interval() -> None:
    image = drawn(points(0.6))
    assert tall(image, BREACH) and tall(image, BAND)


def test_the_order_of_the_windows_does_not_matter() -> None:
    there = points(0.9, 0.8, 0.7, 0.6)
    assert drawn(there).tobytes() == drawn(there[::-1]).tobytes()


@pytest.mark.parametrize("recent", [[], points(None, None), points(math.nan, math.inf)])
def test_without_a_value_there_is_no_picture(recent: list[Point]) -> None:
    assert picture(msgspec.structs.replace(notice(), recent=recent)) is None


@pytest.mark.parametrize("threshold", [math.nan, math.inf, -math.inf])
def test_a_threshold_that_is_no_number_is_not_drawn(threshold: float) -> None:
    elsewhere = Span(WINDOW.start, WINDOW.start + DAY / 2)  # whose dot would be red
    assert not columns(drawn(points(0.9, 0.8, 0.7), threshold, window=elsewhere), BREACH)
    assert tall(drawn(points(0.9, 0.8, 0.7), threshold), BREACH), "few as they are, its dots keep their colour"


def test_without_pillow_there_is_no_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert picture(notice()) is None


@settings(max_examples=25)
@given(
    st.lists(st.builds(Point, moments, numbers, numbers, numbers), max_size=8),
    st.floats(),
    st.timedeltas(timedelta(0), timedelta(days=9)),
)
def test_whatever_the_numbers_there_is_a_picture_or_none(
    recent: list[Point], threshold: float, more: timedelta
) -> None:
    one: Notice = msgspec.structs.replace(notice(threshold=threshold), recent=recent)
    found = picture(one)
    if found is not None:
        Image.open(io.BytesIO(found)).verify()
        assert any(point.value is not None and math.isfinite(point.value) for point in recent)
