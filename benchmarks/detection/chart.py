"""The chart of docs/detection.md, drawn as SVG: false alarms a year that a budget allows, and those had."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

_WIDTH, _HEIGHT, _LEFT, _TOP, _PLOT_WIDTH, _PLOT_HEIGHT = 560, 400, 70, 24, 460, 310
_LOW, _HIGH = 0.25, 64.0
_YEAR = 365
_TICKS = (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64)


class Spent(NamedTuple):
    """Alarms a year: as stated by a budget, as had, and the standard error of these."""

    stated: float
    had: float
    error: float

    @property
    def days(self) -> float:
        """The budget: days in which one alarm may come."""
        return _YEAR / self.stated


def draw(spent: Sequence[Spent]) -> str:
    """Two logarithmic axes, the line on which a budget is spent exactly, and a point with two errors each."""
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-size="12" fill="#222">',
        "<title>False alarms a year: what a budget allows, and what there were</title>",
        f'<g font-family="sans-serif"><rect width="{_WIDTH}" height="{_HEIGHT}" fill="#fff"/>',
    ]
    for tick in _TICKS:
        x, y = _x(tick), _y(tick)
        parts += [
            f'<path d="M{_LEFT} {y:.1f}H{_LEFT + _PLOT_WIDTH}M{x:.1f} {_TOP}V{_TOP + _PLOT_HEIGHT}" stroke="#ddd"/>',
            f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>',
            f'<text x="{x:.1f}" y="{_TOP + _PLOT_HEIGHT + 18}" text-anchor="middle">{tick:g}</text>',
        ]
    middle = _LEFT + _PLOT_WIDTH / 2
    parts += [
        f'<path d="M{_x(_LOW):.1f} {_y(_LOW):.1f}L{_x(_HIGH):.1f} {_y(_HIGH):.1f}" stroke="#d55e00"/>',
        f'<text x="{_x(16) - 8:.1f}" y="{_y(22):.1f}" text-anchor="end" fill="#d55e00">budget spent exactly</text>',
        f'<text x="{middle}" y="{_HEIGHT - 12}" text-anchor="middle">false alarms a year that a budget allows</text>',
        f'<text transform="translate(18 {_TOP + _PLOT_HEIGHT / 2}) rotate(-90)" text-anchor="middle">there were</text>',
    ]
    for one in spent:
        error = 0.0 if math.isnan(one.error) else one.error
        x, low, high = _x(one.stated), _y(one.had - 2 * error), _y(one.had + 2 * error)
        parts.append(f'<path d="M{x:.1f} {low:.1f}V{high:.1f}" stroke="#0072b2" stroke-width="2"/>')
        parts.append(f'<circle cx="{x:.1f}" cy="{_y(one.had):.1f}" r="4" fill="#0072b2"/>')
        parts.append(f'<text x="{x + 7:.1f}" y="{_y(one.had) + 14:.1f}" font-size="10">1 per {one.days:.0f}d</text>')
    return "\n".join([*parts, "</g></svg>", ""])


def _along(alarms: float) -> float:
    """The place on an axis, 0 to 1."""
    return math.log(min(max(alarms, _LOW), _HIGH) / _LOW) / math.log(_HIGH / _LOW)


def _x(alarms: float) -> float:
    return _LEFT + _PLOT_WIDTH * _along(alarms)


def _y(alarms: float) -> float:
    return _TOP + _PLOT_HEIGHT * (1 - _along(alarms))
