"""Two distributions over each other: every bar can be pointed at, and nothing leaves the drawing."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from driftline.charts.distributions import HEIGHT, WIDTH, over_categories, over_numbers
from driftline.charts.sparks import SPARK_HEIGHT, SPARK_WIDTH, shift_bar

shares = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=1, max_size=30)
amounts = st.floats(allow_nan=True, allow_infinity=True)


@given(shares)
def test_bars_lie_within_the_drawing_and_have_their_words(made: list[tuple[float, float]]) -> None:
    before, now = zip(*made, strict=True)
    titles = [f"bar {at}" for at in range(len(made))]
    root = ET.fromstring(over_numbers(before, now, titles, ("0 <", "9 or more"), label="wind"))
    assert [one.findtext("title") for one in root if one.get("class") == "bin"] == titles
    assert [one.text for one in root if one.tag == "text"] == ["0 <", "9 or more"]
    for path in root.iter("path"):
        down = [float(found) for found in re.findall(r"V(-?[\d.]+)", path.get("d", ""))]
        assert all(-0.01 <= one <= HEIGHT + 0.01 for one in down)
        across = [float(found) for found in re.findall(r"H(-?[\d.]+)", path.get("d", ""))]
        assert all(-0.01 <= one <= WIDTH + 0.01 for one in across)


def test_nothing_is_drawn_of_nothing() -> None:
    assert over_numbers([], [], [], ("", ""), label="") == ""
    assert shift_bar([], 1.0, label="") == shift_bar([("mix", 0.0)], 0.0, label="") == ""
    assert shift_bar([("mix", float("nan"))], 1.0, label="") == ""


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_longer_of_two_bars_is_the_larger_share(one: float, other: float) -> None:
    root = ET.fromstring(over_categories(one, other, max(one, other), label="rain"))
    widths = [float(rect.get("width", "").rstrip("%")) for rect in root.iter("rect")]
    assert all(0 <= width <= 100 for width in widths)
    assert (widths[0] >= widths[1]) or one <= other


@given(st.lists(amounts, min_size=1, max_size=3), amounts)
def test_a_shift_goes_to_the_side_of_its_sign(parts: list[float], most: float) -> None:
    drawn = shift_bar([("mix", one) for one in parts], most, label="what it adds")
    if not drawn:
        return
    for rect in ET.fromstring(drawn).iter("rect"):
        x, width = float(rect.get("x", "")), float(rect.get("width", ""))
        assert 0 <= x <= x + width <= SPARK_WIDTH + 0.01 and float(rect.get("y", "")) < SPARK_HEIGHT
    signed = ET.fromstring(shift_bar([("mix", -1.0), ("within", 2.0)], 2.0, label=""))
    left, right = (rect for rect in signed.iter("rect"))
    assert float(left.get("x", "")) < SPARK_WIDTH / 2 == float(right.get("x", ""))
