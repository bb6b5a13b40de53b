"""Compute the shapes of drawings: positions on an axis, lines through points, bars on a base line."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from driftline.charts.svg import coordinate


class Scale(NamedTuple):
    """An axis: values from ``low`` to ``high`` are drawn from ``first`` to ``last``, which may be the smaller.

    >>> Scale(0.5, 1.0, 100.0, 0.0).place(0.75), Scale(3.0, 3.0, 0.0, 100.0).place(3.0)
    (50.0, 50.0)
    """

    low: float
    high: float
    first: float
    last: float

    def place(self, value: float) -> float:
        """Return the position of a value; the middle where the axis has one value only."""
        length = self.high / 2 - self.low / 2  # halves do not overflow
        share = (value / 2 - self.low / 2) / length if length else 0.5
        return self.first + share * (self.last - self.first)


def polyline(points: Iterable[tuple[float, float]]) -> str:
    """Return the attribute ``points`` of a polyline.

    >>> polyline([(0.0, 1.5), (10.0, 2.0)])
    '0,1.5 10,2'
    """
    return " ".join(f"{coordinate(x)},{coordinate(y)}" for x, y in points)


def bars(shares: Sequence[float], tallest: float, width: float, height: float) -> str:
    """Return the path of filled bars of equal width with gaps between them; a share of 0 has no bar.

    >>> bars([0.5, 0.0], 1.0, 20.0, 10.0)
    'M0.8 10v-5h8.4V10z'
    """
    step = width / len(shares)
    base, wide = coordinate(height), coordinate(step * 0.84)
    return "".join(
        f"M{coordinate(at * step + step * 0.08)} {base}v-{coordinate(height * share / tallest)}h{wide}V{base}z"
        for at, share in enumerate(shares)
        if share > 0
    )


def steps(shares: Sequence[float], tallest: float, width: float, height: float) -> str:
    """Return the path of the outline of such bars, without gaps.

    >>> steps([0.5, 1.0], 1.0, 20.0, 10.0)
    'M0 10V5H10V0H20V10'
    """
    step, base = width / len(shares), coordinate(height)
    outline = "".join(
        f"V{coordinate(height * (1 - share / tallest))}H{coordinate((at + 1) * step)}"
        for at, share in enumerate(shares)
    )
    return f"M0 {base}{outline}V{base}"
