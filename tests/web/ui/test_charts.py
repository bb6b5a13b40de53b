"""Charts hold to their laws whatever the values."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from driftline.charts.axes import apart, extent, nice_ticks, time_ticks
from driftline.charts.lines import (
    LINE_STYLES,
    MOST_POINTS,
    NARROW_PIXELS,
    WIDE_PIXELS,
    WIDTH,
    Level,
    Line,
    Mark,
    Point,
    Shade,
    line_chart,
    thin,
)
from driftline.charts.sparks import SPARK_HEIGHT, SPARK_WIDTH, interval_bar, sparkline
from driftline.charts.svg import element

ZONE = ZoneInfo("America/Los_Angeles")
START = datetime(2013, 1, 1, 8, tzinfo=UTC)
HEIGHT = 200.0

numbers = st.floats(allow_nan=True, allow_infinity=True)
values = st.one_of(st.none(), numbers)


def points(series: Sequence[float | None], *, band: bool = True, step: timedelta = timedelta(days=1)) -> list[Point]:
    return [
        Point(
            START + index * step,
            START + (index + 1) * step,
            value,
            value if band else None,
            value if band else None,
            f"window {index}",
        )
        for index, value in enumerate(series)
    ]


def drawn(series: Sequence[Point], **options: object) -> ET.Element:
    options = {"levels": [Level(0.75, "threshold 0.75")], **options}
    return ET.fromstring(line_chart(series, name="plot", label="a chart", zone=ZONE, height=HEIGHT, **options))  # type: ignore[arg-type]


def of_class(root: ET.Element, name: str) -> list[ET.Element]:
    return [one for one in root.iter() if name in one.get("class", "").split()]


def percent(text: str | None) -> float:
    assert text is not None and text.endswith("%")
    return float(text[:-1])


@given(st.lists(values, min_size=1, max_size=60))
@example([1.7976931348623157e308, -1.7976931348623157e308])
@example([5e-324, 0.0])
@example([0.75])
@example([math.nan])
def test_everything_lies_within_the_plot_and_is_a_number(series: list[float | None]) -> None:
    root = drawn(points(series))
    text = ET.tostring(root, encoding="unicode")
    assert "nan" not in re.sub(r'class="[^"]*"', "", text).lower() and "inf" not in text.lower()
    for one in root.iter():
        for name in ("x", "x1", "x2", "cx", "width"):
            if one.get(name, "").endswith("%"):
                assert 0 <= percent(one.get(name)) <= 100.01
        for name in ("y1", "y2", "cy"):
            if one.get(name) and "mark" not in one.get("class", ""):
                assert 0 <= float(one.get(name, "")) <= HEIGHT
    for path in of_class(root, "line") + of_class(root, "band"):
        for x, y in re.findall(r"[ML](\S+) ([\d.e+-]+)", path.get("d", "")):
            assert 0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT


@given(st.lists(values, min_size=1, max_size=60))
def test_every_window_can_be_pointed_at_and_has_a_mark_exactly_if_it_has_a_value(series: list[float | None]) -> None:
    root = drawn(points(series))
    hits = of_class(root, "hit")
    assert [one.get("aria-label") for one in hits] == [f"window {index}" for index in range(len(series))]
    assert len({one.get("id") for one in hits}) == len(hits)
    for hit, value in zip(hits, series, strict=True):
        known = value is not None and math.isfinite(value)
        assert len(of_class(hit, "value")) == known and len(of_class(hit, "no-value")) == (not known)
    assert [one.get("tabindex") for one in hits] == ["-1"] * (len(hits) - 1) + ["0"]


@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=40))
def test_a_line_joins_exactly_the_neighbours_that_have_values(series: list[float | None]) -> None:
    root = drawn(points(series))
    joined = sum(path.get("d", "").count("M") for path in of_class(root, "line"))
    assert joined == sum(a is not None and b is not None for a, b in pairwise(series))


def test_a_missing_window_parts_the_line() -> None:
    series = points([0.5, 0.6, 0.7, 0.8])
    del series[1]
    assert sum(path.get("d", "").count("M") for path in of_class(drawn(series), "line")) == 1


def test_higher_values_are_drawn_higher_and_later_ones_further_right() -> None:
    marks = of_class(drawn(points([0.2, 0.9, 0.4])), "value")
    heights = [float(one.get("cy", "")) for one in marks]
    assert heights[1] < heights[2] < heights[0]
    places = [percent(one.get("cx")) for one in marks]
    assert places == sorted(places) and places[1] == pytest.approx(50)


def test_a_sparkline_may_begin_at_its_least_value_instead_of_zero() -> None:
    drawn = {
        from_zero: sparkline([0.9, 0.8], marked=[False, False], level=None, label="", from_zero=from_zero)
        for from_zero in (True, False)
    }
    lows = {key: float(re.findall(r"L[\d.]+ ([\d.]+)", str(one))[0]) for key, one in drawn.items()}
    assert lows[False] == SPARK_HEIGHT - 3 > lows[True]


def test_nothing_is_drawn_of_nothing() -> None:
    assert line_chart([], name="plot", label="", zone=ZONE) == ""
    assert sparkline([], marked=[], level=None, label="") == ""
    assert sparkline([None, math.nan], marked=[False, False], level=1.0, label="") == ""
    assert interval_bar(None, None, None, 0.75, bounds=(0, 1), label="") == ""


def test_a_breach_has_another_shape_and_an_open_window_another_line() -> None:
    judged, breach, waiting = points([0.8, 0.3, 0.4])
    kinds = [judged, Point(*_of(breach), kind="breach"), Point(*_of(waiting), kind="provisional")]
    root = drawn(kinds)
    assert len(of_class(root, "diamond")) == 1
    assert len([one for one in of_class(root, "provisional") if one.tag.endswith("path")]) == 1


def _of(point: Point) -> tuple[datetime, datetime, float | None, float | None, float | None, str]:
    return point.start, point.end, point.value, point.low, point.high, point.label


def test_what_was_known_then_is_a_hollow_mark_at_its_own_height() -> None:
    before, after = points([0.8, 0.8])
    root = drawn([before, Point(*_of(after), then=0.3)])
    (then,) = of_class(root, "then")
    assert float(then.get("cy", "")) > float(of_class(root, "value")[1].get("cy", ""))


def test_alerts_are_shaded_over_their_span_and_cut_at_the_ends() -> None:
    series = points([0.5] * 10)
    shades = [Shade(START - timedelta(days=99), START + timedelta(days=5), "page", "an alert")]
    root = drawn(series, shades=shades)
    (body,) = of_class(root, "body")
    assert percent(body.get("x")) == 0 and percent(body.get("width")) == pytest.approx(50)
    gone = Shade(START - timedelta(days=9), START - timedelta(days=5), "page", "long ago")
    assert not of_class(drawn(series, shades=[gone]), "shade")


@given(st.floats(0, 1), st.floats(0, 1))
def test_the_axis_of_a_share_stays_within_0_and_1(one: float, other: float) -> None:
    ticks = [
        float(text.text or "")
        for text in of_class(drawn(points([one, other]), bounds=(0.0, 1.0), levels=[]), "tick")
        if text.get("text-anchor") == "end" and text.get("x") == "-8"
    ]
    assert all(0 <= tick <= 1 for tick in ticks)


@given(st.lists(st.one_of(st.none(), st.floats(-1e6, 1e6)), max_size=3000))
@settings(max_examples=25)
def test_thinning_keeps_order_extremes_and_its_bound(series: list[float | None]) -> None:
    before = points(series)
    kept = thin(before)
    assert len(kept) <= MOST_POINTS
    assert [one.start for one in kept] == sorted({one.start for one in kept})
    known = [value for value in series if value is not None]
    left = [one.value for one in kept if one.value is not None]
    assert not known or (min(known), max(known)) == (min(left), max(left))
    if len(series) <= MOST_POINTS:
        assert kept == before


def test_thousands_of_windows_stay_a_small_drawing() -> None:
    series = points([0.5 + 0.4 * math.sin(index / 50) for index in range(20_000)], step=timedelta(hours=1))
    assert len(line_chart(series, name="plot", label="", zone=ZONE)) < 600_000


@given(st.floats(-1e12, 1e12), st.floats(-1e12, 1e12))
@example(0.0, 0.0)
@example(1.0, 1.0 + 1e-15)
def test_ticks_are_few_evenly_spaced_and_reach_around(one: float, other: float) -> None:
    low, high = sorted((one, other))
    ticks = nice_ticks(low, high)
    assert 2 <= len(ticks) <= 7 and ticks == sorted(set(ticks))
    slack = 1e-6 * max(abs(low), abs(high), ticks[1] - ticks[0])
    assert ticks[0] <= low + slack and ticks[-1] >= high - slack


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2090, 1, 1)), st.timedeltas(timedelta(minutes=1), timedelta(days=9000))
)
def test_time_ticks_are_few_in_order_and_within(first: datetime, length: timedelta) -> None:
    start = first.replace(tzinfo=UTC)
    ticks = [at for at, _ in time_ticks(start, start + length, ZONE)]
    assert len(ticks) <= 12 and ticks == sorted(ticks)
    assert all(start <= at <= start + length for at in ticks)


@given(
    st.datetimes(datetime(1980, 1, 1), datetime(2090, 1, 1)), st.timedeltas(timedelta(minutes=1), timedelta(days=900))
)
def test_no_label_of_a_time_runs_into_the_next_on_a_wide_chart_or_on_a_phone(
    first: datetime, length: timedelta
) -> None:
    start = first.replace(tzinfo=UTC)
    ticks = [((at - start) / length * 100, name) for at, name in time_ticks(start, start + length, ZONE)]
    for pixels in (WIDE_PIXELS, NARROW_PIXELS):
        shown = apart(ticks, pixels)
        assert all(before[1] < after[0] for before, after in pairwise(extent(x, name, pixels) for x, name in shown))
        assert shown[:1] == ticks[:1]


@given(st.lists(values, max_size=80), values)
def test_a_sparkline_stays_in_its_box(series: list[float | None], level: float | None) -> None:
    markup = sparkline(series, marked=[True] * len(series), level=level, label="<b>")
    assert "<b>" not in markup and "nan" not in markup and "inf" not in markup
    for x, y in re.findall(r"[ML](\S+) ([\d.e+-]+)", markup):
        assert 0 <= float(x) <= SPARK_WIDTH and 0 <= float(y) <= SPARK_HEIGHT


@given(numbers, values, values, numbers)
def test_an_interval_bar_stays_in_its_box(
    value: float, low: float | None, high: float | None, threshold: float
) -> None:
    markup = interval_bar(value, low, high, threshold, bounds=(0.0, 1.0), label="x")
    for place in re.findall(r'(?:cx|x1|x2)="([^"%]+)%"', markup):
        assert 0 <= float(place) <= 100


@given(st.text(alphabet="<>&\"'ab", max_size=40))
def test_text_never_becomes_markup(text: str) -> None:
    made = ET.fromstring(element("text", text, label=text))
    assert (made.text or "") == text and made.get("label") == text and not list(made)


# ---- beside the line of all -----------------------------------------------------------------------------------------


@given(st.lists(st.lists(values, min_size=1, max_size=20), max_size=8))
def test_other_lines_stay_within_the_plot_whatever_their_values(series: list[list[float | None]]) -> None:
    others = [Line(points(one), f"version {at}") for at, one in enumerate(series)]
    root = drawn(points([0.5, 0.7]), others=others)
    found = of_class(root, "other")
    known = [line for line in others if any(p.value is not None and math.isfinite(p.value) for p in line.points)]
    assert [one.findtext("title") for one in found] == [line.label for line in known]
    for path in found:
        for x, y in re.findall(r"[ML](\S+) ([\d.e+-]+)", path.get("d", "")):
            assert 0 <= float(x) <= WIDTH and 0 <= float(y) <= HEIGHT
        assert re.fullmatch(rf"line other other-[0-{LINE_STYLES - 1}]", path.get("class", ""))


def test_a_version_that_answered_in_one_window_is_seen() -> None:
    [line] = of_class(drawn(points([0.5] * 4), others=[Line(points([0.4])[:1], "version 2")]), "other")
    assert line.get("d", "").startswith("M0 ") and "H250" in line.get("d", "")


def test_what_happened_is_marked_where_it_lies_on_the_chart() -> None:
    marks = [
        Mark(START + timedelta(days=1), "2.0 promoted", "2.0 was promoted & <b>"),
        Mark(START - timedelta(days=9), "1.0 promoted", "long ago"),
    ]
    [event] = of_class(drawn(points([0.5] * 4), marks=marks), "event")
    assert event.get("aria-label") == "2.0 was promoted & <b>" and event.findtext("text") == "2.0 promoted"
    [line] = [one for one in event if one.tag == "line"]
    assert percent(line.get("x1")) == pytest.approx(25)


@given(st.floats(0, 1), st.floats(0, 1))
@example(0.75, 0.751)
def test_the_names_of_two_levels_do_not_lie_over_each_other(one: float, other: float) -> None:
    levels = [Level(one, "threshold"), Level(other, "reference", "reference")]
    root = drawn(points([0.2, 0.8, 0.5]), levels=levels, bounds=(0.0, 1.0))
    names = [found for kind in ("threshold-label", "reference-label") for found in of_class(root, kind)]
    (first, second) = ((found.get("text-anchor") == "end", float(found.get("y", ""))) for found in names)
    assert first[0] != second[0] or abs(first[1] - second[1]) >= 12
    assert len(of_class(root, "reference")) == 1
