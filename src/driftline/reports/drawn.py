"""Choose the bars that a column of a check's report is drawn with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from driftline.profiles import Column
from driftline.reports.bars import Bars, bars_of
from driftline.results.check import ColumnReport

Profiles = Mapping[str, tuple[Column | None, Column | None]]

_ORDERS: Mapping[str, tuple[str, ...]] = {
    "hour of day": tuple(f"{hour:02}" for hour in range(24)),
    "weekday": ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"),
}


def bars_for(column: ColumnReport, profiles: Profiles, most: int | None = None) -> Bars | None:
    """Return the bars of a column of a report, at most ``most``; see `bars_of_part`."""
    before, now = profiles.get(column.column, (None, None))
    return bars_of_part(before, now, column.drift.part, most)


def bars_of_part(before: Column | None, now: Column | None, part: str | None, most: int | None = None) -> Bars | None:
    """Return the bars of two profiles of a column, or of one part of it; None where there is nothing to draw.

    Hours and weekdays are in their own order, several hours to a bar where there is no room for each; other categories
    are ordered by their share, and the last bar holds all that have none of their own.
    """
    order = _ORDERS.get(part or "")
    if order is not None:
        bars = bars_of(before, now, part=part, bars=len(order))
        if bars is not None and set(bars.names) <= set(order):
            return _in_order(bars, order, most or len(order))
    bars = bars_of(before, now, part=part, bars=most)
    if bars is not None and most is not None and len(bars.names) > most:
        return bars_of(before, now, part=part, bars=most - 1)
    return bars


def _in_order(bars: Bars, order: Sequence[str], most: int) -> Bars:
    size = -(-len(order) // most)
    groups = [order[at : at + size] for at in range(0, len(order), size)]
    sides = []
    for side in (bars.reference, bars.current):
        shares = dict(zip(bars.names, side, strict=True))
        sides.append(tuple(sum(shares.get(name, 0.0) for name in group) for group in groups))
    names = tuple(group[0] if size == 1 else f"{group[0]} to {group[-1]}" for group in groups)
    return Bars(names, sides[0], sides[1], (order[0], order[-1]))
