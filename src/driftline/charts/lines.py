"""Draw values over time as SVG. Colours and fonts come from the style sheet, by class.

A chart fills the width of its box: x is in per cent, y in pixels, and only the lines are in a nested ``svg`` that is
stretched. So text keeps its size on a phone, and no script has to measure anything.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Literal, NamedTuple
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from driftline.charts.axes import apart, nice_ticks, tick_anchor, ticks_within, time_ticks
from driftline.charts.svg import coordinate, element, finite
from driftline.text.numbers import numbers

WIDTH = 1000.0
"""Units of x in the stretched part."""

MOST_POINTS = 400
"""The most points that are drawn; more windows than this are thinned first."""

LINE_STYLES = 6
"""Lines beside the first look so many ways: the style sheet has a class for each."""

WIDE_PIXELS, NARROW_PIXELS = 600.0, 280.0
"""How wide a chart is at least, and on a phone, where fewer times are told."""

_NARROW_TICKS = 4

Kind = Literal["judged", "breach", "provisional"]


@dataclass(frozen=True, slots=True)
class Point:
    """One window: its value (None where nothing was measured; ``label`` says why) and its tooltip.

    ``then`` is the value at the time when an alert fired, if it differs from the value now.
    """

    start: datetime
    end: datetime
    value: float | None
    low: float | None
    high: float | None
    label: str
    kind: Kind = "judged"
    then: float | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line, such as a threshold."""

    value: float
    label: str
    kind: Literal["threshold", "reference"] = "threshold"


@dataclass(frozen=True, slots=True)
class Shade:
    """A span of time that an alert covers; ``kind`` is a severity, ``resolved`` or ``corrected``."""

    start: datetime
    end: datetime
    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class Line:
    """Another line beside the one of all points, such as that of one version; ``label`` names it."""

    points: Sequence[Point]
    label: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A moment at which something happened, such as a promotion; ``name`` stands on the chart, ``label`` tells more."""

    at: datetime
    name: str
    label: str


@dataclass(frozen=True, slots=True)
class _Frame:
    """Map times to per cent of the width, and values to pixels from the top."""

    start: float
    end: float
    low: float
    high: float
    height: float

    def across(self, time: datetime) -> float:
        """Return the position of a time, 0 to 100 per cent of the width."""
        length = self.end - self.start
        return max(0.0, min(100.0, 100 * (time.timestamp() - self.start) / length)) if length > 0 else 50.0

    def down(self, value: float) -> float:
        """Return the position of a value in pixels, 0 at the top to ``height`` at the bottom."""
        part = (value - self.low) / (self.high - self.low)
        return max(0.0, min(self.height, self.height * (1 - part)))

    def place(self, point: Point) -> _Place:
        """Return where a window is across."""
        left, right = self.across(point.start), self.across(point.end)
        middle = (left + right) / 2
        return _Place(
            point, left, right, middle, f"{coordinate(middle)}%", coordinate(middle * WIDTH / 100), finite(point.value)
        )


class _Place(NamedTuple):
    """A window and where it is, in per cent of the width; its middle also as it is written, in both units of x.

    It is worked out once: everything that is drawn of a window stands there.
    """

    point: Point
    left: float
    right: float
    middle: float
    x: str
    units: str
    value: float | None


# ---- thinning and gaps ----------------------------------------------------------------------------------------------


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Keep at most ``most`` points, in order: the lowest and the highest value of each run.

    Laws: up to ``most`` points are returned unchanged; the lowest and highest of all are kept.
    """
    if len(points) <= most:
        return list(points)
    runs = max(most // 2, 1)
    kept: list[Point] = []
    for run in range(runs):
        part = range(len(points) * run // runs, len(points) * (run + 1) // runs)
        valued = [index for index in part if finite(points[index].value) is not None] or list(part[:1])
        ends = {
            min(valued, key=lambda i: points[i].value or 0.0),
            max(valued, key=lambda i: points[i].value or 0.0),
        }
        kept += [points[index] for index in sorted(ends)]
    return kept


def _stretches(points: Sequence[Point]) -> list[int]:
    """Number the unbroken stretches of points; missing windows and missing values begin a new one."""
    numbers, current = [], 0
    for index, point in enumerate(points):
        if index and (points[index - 1].end < point.start or finite(points[index - 1].value) is None):
            current += 1
        numbers.append(current)
    return numbers


# ---- the line chart -------------------------------------------------------------------------------------------------


def line_chart(
    points: Sequence[Point],
    *,
    name: str,
    label: str,
    zone: ZoneInfo,
    levels: Sequence[Level] = (),
    shades: Sequence[Shade] = (),
    bounds: tuple[float | None, float | None] = (None, None),
    whole: bool = False,
    height: float = 240.0,
    others: Sequence[Line] = (),
    marks: Sequence[Mark] = (),
) -> Markup:
    """Draw values over time with their interval as a band; empty for no points. ``name`` makes ids unique on a page.
    ``others`` are thinner lines on the same axes, told apart by colour and by dashes; of ``marks`` those are drawn that
    lie between the first point and the last.

    ``bounds`` are the least and greatest possible values of the measure: the axis does not exceed them, and with
    ``whole`` it ends exactly there. ``label`` describes the chart to screen readers.
    """
    if not points:
        return Markup("")
    stretch = dict(zip((id(point) for point in points), _stretches(points), strict=True))
    shown = thin(points)
    frame = _frame(
        [*points, *(one for line in others for one in line.points)], points, levels, bounds, height, whole=whole
    )
    beside = [path for at, line in enumerate(others) for path in _other(line, at, frame)]
    places = [frame.place(point) for point in shown]
    lines = [*beside, *_lines(places, [stretch[id(point)] for point in shown], frame)]
    drawing = element(
        "svg",
        *lines,
        class_="drawing",
        viewBox=f"0 0 {WIDTH:g} {height:g}",
        preserveAspectRatio="none",
        width="100%",
        height=height,
        role="img",
        aria_label=label,
    )
    return element(
        "svg",
        *_value_axis(frame),
        *_time_axis(points, frame, zone),
        *(_shade(shade, frame, name) for shade in shades),
        drawing,
        *_levels(levels, places, frame),
        *(_mark_at(mark, frame) for mark in marks if points[0].start <= mark.at <= points[-1].end),
        *_hits(places, frame, name),
        class_="plot",
        width="100%",
        height=height,
        role="group",
        aria_label=label,
        id=name,
    )


def _frame(
    drawn: Sequence[Point],
    points: Sequence[Point],
    levels: Sequence[Level],
    bounds: tuple[float | None, float | None],
    height: float,
    *,
    whole: bool,
) -> _Frame:
    seen = [
        value
        for point in drawn
        for value in map(finite, (point.value, point.low, point.high, point.then))
        if value is not None
    ]
    seen += [value for value in (finite(level.value) for level in levels) if value is not None]
    least, most = bounds
    seen += [end for end in bounds if whole and end is not None]
    low, high = min(seen, default=least or 0.0), max(seen, default=1.0 if most is None else most)
    if low == high and (least is not None or most is not None):
        low, high = low if least is None else min(low, least), high if most is None else max(high, most)
    ticks = nice_ticks(low, high, _most_ticks(height))
    bottom = ticks[0] if least is None or low < least else max(ticks[0], least)
    top = ticks[-1] if most is None or high > most else min(ticks[-1], most)
    if not top > bottom:
        bottom, top = ticks[0], ticks[-1]
    return _Frame(points[0].start.timestamp(), points[-1].end.timestamp(), bottom, top, height)


def _most_ticks(height: float) -> int:
    return max(3, min(6, round(height / 36)))


def _value_axis(frame: _Frame) -> Iterator[Markup]:
    ticks = ticks_within(frame.low, frame.high, _most_ticks(frame.height))
    for tick, text in zip(ticks, numbers(*ticks), strict=True):
        y = frame.down(tick)
        yield element("line", class_="grid", x1="0%", x2="100%", y1=y, y2=y)
        yield element("text", text, class_="tick", x=-8, y=y, dy="0.32em", text_anchor="end")


def _time_axis(points: Sequence[Point], frame: _Frame, zone: ZoneInfo) -> Iterator[Markup]:
    ticks = [(frame.across(at), name) for at, name in time_ticks(points[0].start, points[-1].end, zone)]
    every = math.ceil(len(ticks) / _NARROW_TICKS) or 1
    shown = apart(ticks, WIDE_PIXELS)
    narrow = apart([one for index, one in enumerate(ticks) if index % every == 0 and one in shown], NARROW_PIXELS)
    for x, name in ticks:
        wide, across = "" if (x, name) in narrow else " wide-only", f"{coordinate(x)}%"
        yield element("line", class_=f"mark{wide}", x1=across, x2=across, y1=frame.height, y2=frame.height + 5)
        if (x, name) in shown:
            yield element("text", name, class_=f"tick{wide}", x=across, y=frame.height + 19, text_anchor=tick_anchor(x))


def _lines(places: Sequence[_Place], stretches: Sequence[int], frame: _Frame) -> Iterator[Markup]:
    def at(place: _Place, value: float | None) -> str:
        known = finite(value)
        return "" if known is None else f"{place.units} {coordinate(frame.down(known))}"

    bands: list[str] = []
    solid: list[str] = []
    dashed: list[str] = []
    drawn = [
        (place, at(place, place.value), at(place, place.point.low), at(place, place.point.high)) for place in places
    ]
    for (one, a), (other, b) in pairwise(zip(drawn, stretches, strict=True)):
        if a != b or not one[1] or not other[1]:
            continue
        (before, was, was_low, was_high), (after, is_now, low, high) = one, other
        if was_low and was_high and low and high:
            bands.append(f"M{was_low}L{was_high}L{high}L{low}Z")
        (dashed if "provisional" in (before.point.kind, after.point.kind) else solid).append(f"M{was}L{is_now}")
    for parts, kind in ((bands, "band"), (solid, "line"), (dashed, "line provisional")):
        if parts:
            yield element("path", class_=kind, d="".join(parts), vector_effect="non-scaling-stroke")


def _other(line: Line, at: int, frame: _Frame) -> Iterator[Markup]:
    """Draw a line without band and marks; one window alone is a short dash."""
    shown = thin(line.points)
    path: list[str] = []
    before: Point | None = None
    for point in shown:
        value = finite(point.value)
        if value is None:
            before = None
            continue
        down = coordinate(frame.down(value))
        joined = before is not None and before.end >= point.start
        left = frame.place(point).units
        if joined:
            path.append(f"L{left} {down}")
        else:
            first, last = (coordinate(frame.across(end) * WIDTH / 100) for end in (point.start, point.end))
            path.append(f"M{first} {down}H{last}M{left} {down}")
        before = point
    if path:
        yield element(
            "path",
            element("title", line.label),
            class_=f"line other other-{at % LINE_STYLES}",
            d="".join(path),
            vector_effect="non-scaling-stroke",
        )


def _mark_at(mark: Mark, frame: _Frame) -> Markup:
    across = frame.across(mark.at)
    x = f"{coordinate(across)}%"
    left = across > 80  # its name would not fit on the right
    return element(
        "g",
        element("title", mark.label),
        element("line", class_="happened", x1=x, x2=x, y1=0.0, y2=frame.height),
        element(
            "text",
            mark.name,
            class_="happened-name",
            x=x,
            y=12.0,
            dx=-5.0 if left else 5.0,
            text_anchor="end" if left else "start",
        ),
        class_="event",
        role="img",
        aria_label=mark.label,
    )


def _levels(levels: Sequence[Level], places: Sequence[_Place], frame: _Frame) -> Iterator[Markup]:
    taken: list[tuple[float, bool]] = []
    for level in levels:
        value = finite(level.value)
        if value is None:
            continue
        y = frame.down(value)
        yield element("line", class_=level.kind, x1="0%", x2="100%", y1=y, y2=y)
        baseline, right = max(
            ((y + below, right) for below in (-5.0, 14.0) for right in (True, False) if 12 < y + below < frame.height),
            key=lambda place: (
                not any(right == place[1] and abs(down - place[0]) < 13 for down, right in taken),
                _room(places, frame, place[0] - 4, right=place[1]),
            ),
            default=(y - 5, not taken),
        )
        taken.append((baseline, right))
        side: dict[str, str | float] = (
            {"x": "100%", "dx": -4.0, "text_anchor": "end"} if right else {"x": "0%", "dx": 4.0}
        )
        yield element("text", level.label, class_=f"{level.kind}-label", y=baseline, **side)


def _room(places: Sequence[_Place], frame: _Frame, y: float, *, right: bool) -> float:
    """Return the distance in pixels from a height to the nearest value among the windows at one end."""
    values = [place.value for place in places if (place.middle >= 88 if right else place.middle <= 12)]
    return min((abs(frame.down(value) - y) for value in values if value is not None), default=frame.height)


def _shade(shade: Shade, frame: _Frame, name: str) -> Markup:
    left, right = frame.across(shade.start), frame.across(shade.end)
    if right <= left:
        return Markup("")
    place = {"x": f"{coordinate(left)}%", "width": f"{coordinate(right - left)}%"}
    title = element("title", shade.label)
    body = element("rect", class_="body", y=0.0, height=frame.height, **place)
    return element(
        "g",
        title,
        body,
        element("rect", class_="top", y=0.0, height=4.0, **place),
        class_=f"shade {shade.kind}",
    )


def _hits(places: Sequence[_Place], frame: _Frame, name: str) -> Iterator[Markup]:
    """Draw the areas of windows that can be hovered and focused: their whole height, with the marks of their values.

    A page has a thousand of them, and each is four to seven elements, so that they are written as they stand.
    """
    bottom, tick = coordinate(frame.height), coordinate(frame.height - 6)
    prefix = escape(name)

    def down(value: float) -> str:
        return coordinate(frame.down(value))

    for place in places:
        point, x = place.point, place.x
        label, left, width = escape(point.label), coordinate(place.left), coordinate(place.right - place.left)
        then, low, high = finite(point.then), finite(point.low), finite(point.high)
        marks = ""
        if place.value is None:
            marks = f'<line class="no-value" x1="{x}" x2="{x}" y1="{tick}" y2="{bottom}"></line>'
        elif low is not None and high is not None:
            marks = f'<line class="whisker" x1="{x}" x2="{x}" y1="{down(low)}" y2="{down(high)}"></line>'
        if place.value is not None:
            marks += _mark(point.kind, x, down(place.value))
        if then is not None:
            marks += f'<circle class="then" cx="{x}" cy="{down(then)}" r="4.5"></circle>'
        yield Markup(  # what may come from strangers is escaped above
            f'<g class="hit {point.kind}" id="{prefix}-{_seconds(point.start)}" '
            f'tabindex="{0 if place is places[-1] else -1}" role="img" aria-label="{label}"><title>{label}</title>'
            f'<rect class="box" x="{left}%" width="{width}%" y="0" height="{bottom}"></rect>'
            f'<line class="guide" x1="{x}" x2="{x}" y1="0" y2="{bottom}"></line>{marks}</g>'
        )


def _seconds(time: datetime) -> str:
    """Write a time as seconds since 1970, those of windows without a fraction."""
    return f"{time.timestamp():.3f}".rstrip("0").rstrip(".")


def _mark(kind: Kind, x: str, y: str) -> str:
    """Draw a mark; a breach differs in shape, not only in colour."""
    if kind != "breach":
        return f'<circle class="value" cx="{x}" cy="{y}" r="{"3" if kind == "judged" else "3.5"}"></circle>'
    inner = '<path class="value" d="M0 -5.5L5.5 0L0 5.5L-5.5 0Z"></path>'
    return f'<svg class="diamond" x="{x}" y="{y}" width="1" height="1" overflow="visible">{inner}</svg>'
