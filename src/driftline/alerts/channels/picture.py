"""The picture in a mail: a measure's recent windows with their intervals, and the threshold. Needs Pillow."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from driftline.alerts.message import Notice, Point
from driftline.charts.axes import ticks_within
from driftline.charts.shapes import Scale
from driftline.text.moments import day_or_moment
from driftline.text.numbers import exact, numbers

if TYPE_CHECKING:
    from PIL import ImageDraw, ImageFont

WIDTH, HEIGHT = 600, 190
"""Size in which the picture is shown; it has twice as many pixels."""

_PIXELS = 2
_FINER = 2  # drawn larger and made smaller, which smooths lines
_SCALE = _PIXELS * _FINER
_LEFT, _RIGHT, _TOP, _BOTTOM = 52, 14, 14, 26

_TINY = 1e-290
"""Spans that are smaller are none: their tenths would be no numbers any more."""

_GROUND, _TEXT, _RULE = "#ffffff", "#52606d", "#d8dfe6"
_LINE, _BAND, _BREACH = "#0b5f7d", "#d5e5ea", "#b3201b"


class _Axes(NamedTuple):
    """Where a moment and a value lie in the large drawing."""

    across: Scale
    down: Scale

    def x(self, moment: datetime) -> float:
        return self.across.place(moment.timestamp())

    def y(self, value: float) -> float:
        return self.down.place(value)


def picture(notice: Notice) -> bytes | None:
    """Return a PNG of the recent windows, or None where none has a value, or where Pillow is not installed."""
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ModuleNotFoundError:
        return None
    points = sorted((_finite(point) for point in notice.recent), key=lambda point: point.end)
    axes = _axes(points, notice.alert.threshold)
    if axes is None:
        return None
    image = Image.new("RGB", (WIDTH * _SCALE, HEIGHT * _SCALE), _GROUND)
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default(11 * _SCALE)
    for run in _runs(points, interval=True):
        _draw_band(draw, axes, run)
    _draw_frame(draw, axes, font, points, notice.alert.timezone)
    _draw_threshold(draw, axes, font, notice.alert.threshold)
    for run in _runs(points, interval=False):
        _draw_line(draw, axes, run)
    for point in points:
        if point.value is not None and point.end == notice.alert.window.end:
            _draw_dot(draw, axes, point.end, point.value, 4.5, _BREACH)
    small = image.reduce(_FINER).quantize(256, Image.Quantize.FASTOCTREE)  # the best colours would take most of it all
    file = io.BytesIO()
    small.save(file, "PNG", optimize=True)
    return file.getvalue()


def _finite(point: Point) -> Point:
    value, low, high = (
        one if one is not None and math.isfinite(one) else None for one in (point.value, point.low, point.high)
    )
    return Point(point.end, value, low, high)


def _axes(points: Sequence[Point], threshold: float) -> _Axes | None:
    values = [point.value for point in points if point.value is not None]
    if not values:
        return None
    bounds = [bound for point in points for bound in (point.low, point.high) if bound is not None]
    found = [*values, *bounds, *([threshold] if math.isfinite(threshold) else [])]
    low, high = min(found), max(found)
    span, largest = high - low, max(abs(low), abs(high))
    flat = 0.1 * largest if largest > _TINY else 1.0
    pad = 0.08 * span if span > max(1e-9 * largest, _TINY) else flat
    begin, end = points[0].end, points[-1].end
    if not math.isfinite(high + pad - (low - pad)):
        return None
    across = Scale(begin.timestamp(), end.timestamp(), _LEFT * _SCALE, (WIDTH - _RIGHT) * _SCALE)
    return _Axes(across, Scale(low - pad, high + pad, (HEIGHT - _BOTTOM) * _SCALE, _TOP * _SCALE))


def _runs(points: Sequence[Point], *, interval: bool) -> Iterator[list[Point]]:
    """Neighbouring windows that all have a value, or an interval: a gap is not drawn over."""
    for known, run in groupby(points, lambda point: point.value is not None and (not interval or _has_interval(point))):
        if known:
            yield list(run)


def _has_interval(point: Point) -> bool:
    return point.low is not None and point.high is not None


def _draw_band(draw: ImageDraw.ImageDraw, axes: _Axes, run: Sequence[Point]) -> None:
    upper = [(axes.x(point.end), axes.y(point.high)) for point in run if point.high is not None]
    lower = [(axes.x(point.end), axes.y(point.low)) for point in run if point.low is not None]
    if len(run) == 1:
        [(x, top)], [(_, bottom)] = upper, lower
        draw.rectangle((x - 3 * _SCALE, min(top, bottom), x + 3 * _SCALE, max(top, bottom)), fill=_BAND)
    else:
        draw.polygon([*upper, *reversed(lower)], fill=_BAND)


def _draw_frame(
    draw: ImageDraw.ImageDraw,
    axes: _Axes,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    points: Sequence[Point],
    zone: str,
) -> None:
    ticks = ticks_within(axes.down.low, axes.down.high)
    for value, text in zip(ticks, numbers(*ticks), strict=True):
        y = axes.y(value)
        draw.line((_LEFT * _SCALE, y, (WIDTH - _RIGHT) * _SCALE, y), fill=_RULE, width=_SCALE)
        draw.text(((_LEFT - 6) * _SCALE, y), text, fill=_TEXT, font=font, anchor="rm")
    below = (HEIGHT - _BOTTOM + 8) * _SCALE
    draw.text((_LEFT * _SCALE, below), day_or_moment(points[0].end, zone), fill=_TEXT, font=font, anchor="lt")
    if len(points) > 1:
        right = (WIDTH - _RIGHT) * _SCALE
        draw.text((right, below), day_or_moment(points[-1].end, zone), fill=_TEXT, font=font, anchor="rt")


def _draw_threshold(
    draw: ImageDraw.ImageDraw, axes: _Axes, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, threshold: float
) -> None:
    if not math.isfinite(threshold):
        return
    y, dash = axes.y(threshold), 6 * _SCALE
    for x in range(_LEFT * _SCALE, (WIDTH - _RIGHT) * _SCALE, 2 * dash):
        draw.line((x, y, min(x + dash, (WIDTH - _RIGHT) * _SCALE), y), fill=_BREACH, width=round(1.5 * _SCALE))
    draw.text(
        ((_LEFT + 4) * _SCALE, y - 3 * _SCALE), f"threshold {exact(threshold)}", fill=_BREACH, font=font, anchor="ls"
    )


def _draw_line(draw: ImageDraw.ImageDraw, axes: _Axes, run: Sequence[Point]) -> None:
    known = [(point.end, point.value) for point in run if point.value is not None]
    if len(known) > 1:
        corners = [(axes.x(end), axes.y(value)) for end, value in known]
        draw.line(corners, fill=_LINE, width=2 * _SCALE, joint="curve")
    for end, value in known:
        _draw_dot(draw, axes, end, value, 2.2, _LINE)


def _draw_dot(draw: ImageDraw.ImageDraw, axes: _Axes, end: datetime, value: float, radius: float, colour: str) -> None:
    x, y, r = axes.x(end), axes.y(value), radius * _SCALE
    draw.ellipse((x - r, y - r, x + r, y + r), fill=colour)
