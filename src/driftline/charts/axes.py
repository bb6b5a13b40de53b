"""Choose round numbers and round times for the ticks of axes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from driftline.charts.svg import LARGEST
from driftline.text.moments import MONTHS, axis_moment

_MOST_TICKS = 12
_SIGN_PIXELS, _GAP_PIXELS = 6.6, 8.0  # of a label's sign, in letters of 12 pixels, and between two labels
_SMALLEST = 1e-200  # below it, floats cannot represent the steps


def nice_ticks(low: float, high: float, most: int = 6) -> list[float]:
    """Return round numbers that reach from at or below ``low`` to at or above ``high``: steps of 1, 2, 2.5 or 5.

    >>> nice_ticks(0.17, 0.93)
    [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    >>> nice_ticks(3, 3)
    [2.0, 2.5, 3.0, 3.5, 4.0]
    """
    low, high = max(-LARGEST, low), min(LARGEST, high)
    if not high - low > max(1e-9 * max(abs(low), abs(high)), _SMALLEST):
        around = abs(low) / 3 if abs(low) > 1e9 * _SMALLEST else 1.0
        low, high = low - around, high + around
    raw = (high - low) / max(most - 1, 1)
    power = 10.0 ** math.floor(math.log10(raw))
    for times in (1.0, 2.0, 2.5, 5.0, 10.0, 20.0):
        step = times * power
        first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
        if last - first < most:
            break
    return [float(f"{index * step:.12g}") for index in range(first, last + 1)]


def ticks_within(low: float, high: float, most: int = 6) -> list[float]:
    """Return those of `nice_ticks` that lie from ``low`` to ``high``, ends included.

    >>> ticks_within(0.17, 0.93)
    [0.2, 0.4, 0.6, 0.8]
    """
    return [tick for tick in nice_ticks(low, high, most) if low <= tick <= high]


def time_ticks(start: datetime, end: datetime, zone: ZoneInfo, most: int = _MOST_TICKS) -> list[tuple[datetime, str]]:
    """Return round times of the zone's calendar in [start, end] with their labels; at most ``most``.

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


def tick_anchor(x: float) -> str:
    """Return on which side of its place, in per cent, a label begins: at both ends it stays within the chart."""
    return "start" if x < 2 else "end" if x > 98 else "middle"


def extent(x: float, name: str, pixels: float) -> tuple[float, float]:
    """Return where the label of a time begins and ends, in per cent of a chart that is so many pixels wide."""
    size = 100 * _SIGN_PIXELS * len(name) / pixels
    before = {"start": 0.0, "middle": size / 2, "end": size}[tick_anchor(x)]
    return x - before, x - before + size


def apart(ticks: Sequence[tuple[float, str]], pixels: float) -> list[tuple[float, str]]:
    """Return the labels, each with its place in per cent, that do not run into the one before: the first stays.

    >>> apart([(0, "5 Jan 21:00"), (9, "5 Jan 22:00"), (20, "5 Jan 23:00")], 600)
    [(0, '5 Jan 21:00'), (20, '5 Jan 23:00')]
    """
    found: list[tuple[float, str]] = []
    end = -math.inf
    for x, name in ticks:
        left, right = extent(x, name, pixels)
        if left >= end:
            found.append((x, name))
            end = right + 100 * _GAP_PIXELS / pixels
    return found


_Walk = Callable[[datetime], Iterator[tuple[datetime, str]]]


def _minutes(step: int) -> _Walk:
    def walk(first: datetime) -> Iterator[tuple[datetime, str]]:
        local = first.replace(hour=0, minute=0, second=0, microsecond=0)
        skipped = int((first - local).total_seconds() // 60 // step)
        local += timedelta(minutes=skipped * step)
        while True:
            yield local, axis_moment(local)
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
