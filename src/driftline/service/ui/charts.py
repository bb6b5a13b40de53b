"""Charts as SVG text: pure functions of values. Every colour and font comes from the style sheet by class.

A chart fills the width of its box: x is in per cent, y in pixels, and only the lines stand in a nested ``svg`` that is
stretched. So text keeps its size on a telephone, and no script has to measure anything.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal
from zoneinfo import ZoneInfo

from markupsafe import Markup, escape

from driftline.service.ui.words import MONTHS

WIDTH = 1000.0
"""Units of x in the stretched part."""

MOST_POINTS = 400
"""More windows than this are thinned before they are drawn."""

_LARGEST = 1e300  # further out, a difference of two values is no longer a number
_MOST_TICKS = 12
_NARROW_TICKS = 4

Kind = Literal["judged", "breach", "provisional"]


@dataclass(frozen=True, slots=True)
class Point:
    """One window: what was measured in it (None: nothing, and ``label`` says why) and what is said of it on hover.

    ``then`` is a value that was known for it when an alert fired, where it differs from the value now.
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


@dataclass(frozen=True, slots=True)
class Shade:
    """A span of time that an alert covers; ``kind`` is a severity, ``resolved`` or ``corrected``."""

    start: datetime
    end: datetime
    kind: str
    label: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A mark on an axis; ``narrow`` ones stay where there is little room."""

    at: float
    label: str
    narrow: bool = True


def element(name: str, *children: str, **attributes: str | float | None) -> Markup:
    """Return an SVG element; attributes of None are left out, ``class_`` is class and ``_`` in names is ``-``.

    >>> element("text", "a < b", class_="tick", text_anchor="end", x=1.50004)
    Markup('<text class="tick" text-anchor="end" x="1.5">a &lt; b</text>')
    """
    parts = [
        f' {key.rstrip("_").replace("_", "-") if key != "viewBox" else key}="{_attribute(value)}"'
        for key, value in attributes.items()
        if value is not None
    ]
    inner = "".join(str(escape(child)) for child in children)
    return Markup(f"<{name}{''.join(parts)}>{inner}</{name}>")  # noqa: S704  # every part is escaped above


def _attribute(value: str | float) -> str:
    return str(escape(value)) if isinstance(value, str) else _coordinate(value)


def _coordinate(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".") or "0"


def _finite(value: float | None) -> float | None:
    """The value within what can be drawn, or None where there is none."""
    if value is None or not math.isfinite(value):
        return None
    return max(-_LARGEST, min(_LARGEST, float(value)))


# ---- axes -----------------------------------------------------------------------------------------------------------


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers that reach from at or below ``low`` to at or above ``high``: steps of 1, 2, 2.5 or 5.

    >>> nice_ticks(0.17, 0.93)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> nice_ticks(3, 3)
    [2.0, 2.5, 3.0, 3.5, 4.0]
    """
    low, high = max(-_LARGEST, low), min(_LARGEST, high)
    if not high > low or high - low < 1e-9 * max(abs(low), abs(high)):
        around = abs(low) / 3 or 1.0
        low, high = low - around, high + around
    raw = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw)) if raw > 1e-300 else 1e-300
    for times in (1.0, 2.0, 2.5, 5.0, 10.0, 20.0):
        step = times * power
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            break
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def time_ticks(start: datetime, end: datetime, zone: ZoneInfo, most: int = _MOST_TICKS) -> list[tuple[datetime, str]]:
    """Return round moments of the zone's calendar in [start, end] with their names; at most ``most``.

    >>> la = ZoneInfo("America/Los_Angeles")
    >>> found = time_ticks(datetime(2013, 1, 1, tzinfo=la), datetime(2016, 1, 1, tzinfo=la), la, most=7)
    >>> [name for _, name in found]
    ['Jan 2013', 'Jul 2013', 'Jan 2014', 'Jul 2014', 'Jan 2015', 'Jul 2015', 'Jan 2016']
    """
    first, last = start.astimezone(zone), end.astimezone(zone)
    for walk in _WALKS:
        found: list[tuple[datetime, str]] = []
        for local, name in walk(first):
            if local > last or len(found) > most:
                break
            if local >= first:
                found.append((local, name))
        if len(found) <= most:
            return found
    return []


_Walk = Callable[[datetime], Iterator[tuple[datetime, str]]]


def _minutes(step: int) -> _Walk:
    def walk(first: datetime) -> Iterator[tuple[datetime, str]]:
        local = first.replace(hour=0, minute=0, second=0, microsecond=0)
        skipped = int((first - local).total_seconds() // 60 // step)
        local += timedelta(minutes=skipped * step)
        while True:
            yield local, f"{local.day} {MONTHS[local.month - 1]} {local:%H:%M}"
            local += timedelta(minutes=step)

    return walk


def _days(step: int) -> _Walk:
    def walk(first: datetime) -> Iterator[tuple[datetime, str]]:
        midnight = first.replace(hour=0, minute=0, second=0, microsecond=0)
        local = midnight - timedelta(days=midnight.toordinal() % step)
        while True:
            yield local, f"{local.day} {MONTHS[local.month - 1]}"
            local += timedelta(days=step)

    return walk


def _months(step: int) -> _Walk:
    def walk(first: datetime) -> Iterator[tuple[datetime, str]]:
        index = (first.year * 12 + first.month - 1) // step * step
        while index < 12 * 9999:
            year, month = index // 12, index % 12 + 1
            local = first.replace(year=year, month=month, day=1, hour=0, minute=0, second=0, microsecond=0)
            yield local, str(year) if step >= 12 else f"{MONTHS[month - 1]} {year}"
            index += step

    return walk


_WALKS: tuple[_Walk, ...] = (
    *(_minutes(step) for step in (5, 15, 30, 60, 180, 360, 720)),
    *(_days(step) for step in (1, 2, 7, 14)),
    *(_months(step) for step in (1, 2, 3, 6, 12, 24, 60, 120, 1200)),
)


@dataclass(frozen=True, slots=True)
class _Frame:
    """From values to places: time to per cent of the width, value to pixels from the top."""

    start: float
    end: float
    low: float
    high: float
    height: float

    def across(self, time: datetime) -> float:
        """0 to 100."""
        length = self.end - self.start
        return max(0.0, min(100.0, 100 * (time.timestamp() - self.start) / length)) if length > 0 else 50.0

    def down(self, value: float) -> float:
        """0 at the top to ``height`` at the bottom."""
        part = (value - self.low) / (self.high - self.low)
        return max(0.0, min(self.height, self.height * (1 - part)))

    def middle(self, point: Point) -> float:
        """The middle of a window, 0 to 100."""
        return (self.across(point.start) + self.across(point.end)) / 2


# ---- thinning and gaps ----------------------------------------------------------------------------------------------


def thin(points: Sequence[Point], most: int = MOST_POINTS) -> list[Point]:
    """Keep at most ``most`` points, in order: of each run the lowest and the highest value, so that no extreme is lost.

    Law: few points come back as they are; the extremes of the whole stay.
    """
    if len(points) <= most:
        return list(points)
    runs = max(most // 2, 1)
    kept: list[Point] = []
    for run in range(runs):
        part = range(len(points) * run // runs, len(points) * (run + 1) // runs)
        valued = [index for index in part if _finite(points[index].value) is not None] or list(part[:1])
        ends = {min(valued, key=lambda i: points[i].value or 0.0), max(valued, key=lambda i: points[i].value or 0.0)}
        kept += [points[index] for index in sorted(ends)]
    return kept


def _stretches(points: Sequence[Point]) -> list[int]:
    """A number for each point; a line joins neighbours of one number. Missing windows and missing values part them."""
    numbers, current = [], 0
    for index, point in enumerate(points):
        if index and (points[index - 1].end < point.start or _finite(points[index - 1].value) is None):
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
) -> Markup:
    """Draw values over time with their interval as a band; nothing for no points. ``name`` makes ids unique on a page.

    ``bounds`` are what the measure cannot leave: the axis ends there at the latest, and with ``whole`` exactly there.
    ``label`` says it to those who hear the page.
    """
    if not points:
        return Markup("")
    stretch = dict(zip((id(point) for point in points), _stretches(points), strict=True))
    shown = thin(points)
    frame = _frame(points, levels, bounds, height, whole=whole)
    lines = _lines(shown, [stretch[id(point)] for point in shown], frame)
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
        *_levels(levels, frame),
        *(_hit(point, frame, name, last=point is shown[-1]) for point in shown),
        class_="plot",
        width="100%",
        height=height,
        role="group",
        aria_label=label,
        id=name,
    )


def _frame(
    points: Sequence[Point], levels: Sequence[Level], bounds: tuple[float | None, float | None], height: float, *, whole: bool
) -> _Frame:
    seen = [
        value
        for point in points
        for value in map(_finite, (point.value, point.low, point.high, point.then))
        if value is not None
    ]
    seen += [value for value in (_finite(level.value) for level in levels) if value is not None]
    least, most = bounds
    seen += [end for end in bounds if whole and end is not None]
    low, high = min(seen, default=least or 0.0), max(seen, default=1.0 if most is None else most)
    if low == high and (least is not None or most is not None):
        low, high = low if least is None else min(low, least), high if most is None else max(high, most)
    ticks = nice_ticks(low, high)
    bottom = ticks[0] if least is None or low < least else max(ticks[0], least)
    top = ticks[-1] if most is None or high > most else min(ticks[-1], most)
    if not top > bottom:
        bottom, top = ticks[0], ticks[-1]
    return _Frame(points[0].start.timestamp(), points[-1].end.timestamp(), bottom, top, height)


def _value_axis(frame: _Frame) -> Iterator[Markup]:
    for tick in nice_ticks(frame.low, frame.high, most=max(3, min(6, round(frame.height / 36)))):
        if not frame.low <= tick <= frame.high:
            continue
        y = frame.down(tick)
        yield element("line", class_="grid", x1="0%", x2="100%", y1=y, y2=y)
        yield element("text", f"{tick:.6g}", class_="tick", x=-8, y=y, dy="0.32em", text_anchor="end")


def _time_axis(points: Sequence[Point], frame: _Frame, zone: ZoneInfo) -> Iterator[Markup]:
    ticks = time_ticks(points[0].start, points[-1].end, zone)
    every = math.ceil(len(ticks) / _NARROW_TICKS) or 1
    for index, (at, name) in enumerate(ticks):
        x = frame.across(at)
        anchor = "start" if x < 2 else "end" if x > 98 else "middle"
        wide = "" if index % every == 0 and x < 90 else " wide-only"
        yield element(
            "line", class_=f"mark{wide}", x1=f"{_coordinate(x)}%", x2=f"{_coordinate(x)}%", y1=frame.height, y2=frame.height + 5
        )
        yield element("text", name, class_=f"tick{wide}", x=f"{_coordinate(x)}%", y=frame.height + 19, text_anchor=anchor)


def _lines(points: Sequence[Point], stretches: Sequence[int], frame: _Frame) -> Iterator[Markup]:
    def at(point: Point, value: float) -> str:
        return f"{_coordinate(frame.middle(point) * WIDTH / 100)} {_coordinate(frame.down(value))}"

    pairs = [
        (one, other, first, second)
        for (one, a), (other, b) in pairwise(zip(points, stretches, strict=True))
        if a == b and (first := _finite(one.value)) is not None and (second := _finite(other.value)) is not None
    ]
    bands, solid, dashed = [], [], []
    for one, other, first, second in pairs:
        ends = [_finite(bound) for bound in (one.low, one.high, other.low, other.high)]
        if None not in ends:
            a_low, a_high, b_low, b_high = (value or 0.0 for value in ends)
            bands.append(f"M{at(one, a_low)}L{at(one, a_high)}L{at(other, b_high)}L{at(other, b_low)}Z")
        line = f"M{at(one, first)}L{at(other, second)}"
        (dashed if "provisional" in (one.kind, other.kind) else solid).append(line)
    for parts, kind in ((bands, "band"), (solid, "line"), (dashed, "line provisional")):
        if parts:
            yield element("path", class_=kind, d="".join(parts), vector_effect="non-scaling-stroke")


def _levels(levels: Sequence[Level], frame: _Frame) -> Iterator[Markup]:
    for level in levels:
        value = _finite(level.value)
        if value is None:
            continue
        y = frame.down(value)
        yield element("line", class_="threshold", x1="0%", x2="100%", y1=y, y2=y)
        below = y < 16
        yield element(
            "text", level.label, class_="threshold-label", x="100%", dx=-4, y=y + (13 if below else -5), text_anchor="end"
        )


def _shade(shade: Shade, frame: _Frame, name: str) -> Markup:
    left, right = frame.across(shade.start), frame.across(shade.end)
    if right <= left:
        return Markup("")
    place = {"x": f"{_coordinate(left)}%", "width": f"{_coordinate(right - left)}%"}
    title = element("title", shade.label)
    body = element("rect", class_="body", y=0.0, height=frame.height, **place)
    return element("g", title, body, element("rect", class_="top", y=0.0, height=4.0, **place), class_=f"shade {shade.kind}")


def _hit(point: Point, frame: _Frame, name: str, *, last: bool) -> Markup:
    """What can be pointed at and focused: the whole height of a window, and in it the marks of its values."""
    left, right, middle = frame.across(point.start), frame.across(point.end), frame.middle(point)
    x = f"{_coordinate(middle)}%"
    value, then = _finite(point.value), _finite(point.then)
    marks = [element("rect", class_="box", x=f"{_coordinate(left)}%", width=f"{_coordinate(right - left)}%", y=0.0, height=frame.height)]
    marks.append(element("line", class_="guide", x1=x, x2=x, y1=0.0, y2=frame.height))
    if value is None:
        marks.append(element("line", class_="no-value", x1=x, x2=x, y1=frame.height - 6, y2=frame.height))
    else:
        low, high = _finite(point.low), _finite(point.high)
        if low is not None and high is not None:
            marks.append(element("line", class_="whisker", x1=x, x2=x, y1=frame.down(low), y2=frame.down(high)))
        marks.append(_mark(point.kind, middle, frame.down(value)))
    if then is not None:
        marks.append(element("circle", class_="then", cx=x, cy=frame.down(then), r=4.5))
    return element(
        "g",
        element("title", point.label),
        *marks,
        class_=f"hit {point.kind}",
        id=f"{name}-{point.start.timestamp():.0f}",
        tabindex="0" if last else "-1",
        role="img",
        aria_label=point.label,
    )


def _mark(kind: Kind, x: float, y: float) -> Markup:
    """A breach differs in shape, not only in colour."""
    if kind != "breach":
        return element("circle", class_="value", cx=f"{_coordinate(x)}%", cy=y, r=3.0 if kind == "judged" else 3.5)
    inner = element("path", class_="value", d="M0 -5.5L5.5 0L0 5.5L-5.5 0Z")
    return element("svg", inner, class_="diamond", x=f"{_coordinate(x)}%", y=y, width=1.0, height=1.0, overflow="visible")


# ---- small ones -----------------------------------------------------------------------------------------------------

SPARK_WIDTH, SPARK_HEIGHT = 120.0, 28.0
_SPARK_EDGE = 3.0


def sparkline(values: Sequence[float | None], *, marked: Sequence[bool], level: float | None, label: str) -> Markup:
    """Draw values at even steps, those that are marked as dots, and a level; nothing for no values."""
    numbers = [_finite(value) for value in values]
    known = [value for value in numbers if value is not None]
    if not known:
        return Markup("")
    line = _finite(level)
    low = min([0.0, *known, *([] if line is None else [line])])
    high = max([*known, *([] if line is None else [line])])
    height = high - low or 1.0
    step = (SPARK_WIDTH - 2 * _SPARK_EDGE) / max(len(numbers) - 1, 1)

    def place(index: int, value: float) -> tuple[float, float]:
        x = _SPARK_EDGE + step * index if len(numbers) > 1 else SPARK_WIDTH / 2
        return x, _SPARK_EDGE + (SPARK_HEIGHT - 2 * _SPARK_EDGE) * (1 - (value - low) / height)

    path, pen = [], "M"
    for index, value in enumerate(numbers):
        if value is None:
            pen = "M"
            continue
        x, y = place(index, value)
        path.append(f"{pen}{_coordinate(x)} {_coordinate(y)}")
        pen = "L"
    parts = [element("path", class_="line", d="".join(path))]
    if line is not None:
        y = place(0, line)[1]
        parts.insert(0, element("line", class_="threshold", x1=0.0, x2=SPARK_WIDTH, y1=y, y2=y))
    for index, (value, mark) in enumerate(zip(numbers, marked, strict=True)):
        if value is not None and (mark or index == len(numbers) - 1):
            x, y = place(index, value)
            parts.append(element("circle", class_="breach" if mark else "value", cx=x, cy=y, r=2.2))
    return element(
        "svg",
        element("title", label),
        *parts,
        class_="spark",
        viewBox=f"0 0 {SPARK_WIDTH:g} {SPARK_HEIGHT:g}",
        width=SPARK_WIDTH,
        height=SPARK_HEIGHT,
        role="img",
        aria_label=label,
    )


def interval_bar(
    value: float | None, low: float | None, high: float | None, threshold: float, *, bounds: tuple[float | None, float | None], label: str
) -> Markup:
    """Draw one value with its interval beside a threshold, on a scale with two ends; nothing without a value."""
    point, level = _finite(value), _finite(threshold)
    if point is None or level is None:
        return Markup("")
    ends = [end for end in (_finite(low), _finite(high)) if end is not None]
    ticks = nice_ticks(min([point, level, *ends]), max([point, level, *ends]))
    left, right = ticks[0], ticks[-1]
    if bounds[0] is not None and bounds[1] is not None:
        left, right = min(bounds[0], left), max(bounds[1], right)

    def across(number: float) -> str:
        return f"{_coordinate(max(0.0, min(100.0, 100 * (number - left) / (right - left))))}%"

    parts = [element("line", class_="grid", x1="0%", x2="100%", y1=22.0, y2=22.0)]
    if len(ends) == 2:
        parts.append(element("line", class_="interval", x1=across(ends[0]), x2=across(ends[1]), y1=22.0, y2=22.0))
    parts += [
        element("line", class_="threshold", x1=across(level), x2=across(level), y1=12.0, y2=32.0),
        element("circle", class_="value", cx=across(point), cy=22.0, r=5.0),
        element("text", f"{left:.6g}", class_="tick", x="0%", y=44.0),
        element("text", f"{right:.6g}", class_="tick", x="100%", y=44.0, text_anchor="end"),
        element("text", f"threshold {level:.6g}", class_="threshold-label", x=across(level), y=8.0,
                text_anchor="end" if level > (left + right) / 2 else "start"),
    ]
    return element("svg", element("title", label), *parts, class_="bar", width="100%", height=48.0, role="img", aria_label=label)

