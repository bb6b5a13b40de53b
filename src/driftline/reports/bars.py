"""Turn two distributions into bars, from which the charts of a check are drawn."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from driftline.profiles import CategoricalColumn, Column, CompositeColumn, NumericColumn
from driftline.text.numbers import numbers

_NUMBER_BARS = 24
_CATEGORY_BARS = 12
_WIDEST = 1e300  # wider axes could not be divided without overflow


@dataclass(frozen=True, slots=True)
class Bars:
    """Shares of both sides, 0 to 1, in named bars.

    ``ends`` are the names at the ends of an axis of numbers: "… or less" and "… or more" where the bars there hold all
    values further out. None for categories.
    """

    names: tuple[str, ...]
    reference: tuple[float, ...]
    current: tuple[float, ...]
    ends: tuple[str, str] | None = None

    @property
    def tallest(self) -> float:
        """The largest share of all, above 0."""
        return max(*self.reference, *self.current, 1e-9)


def bars_of(
    reference: Column | None, current: Column | None, *, part: str | None = None, bars: int | None = None
) -> Bars | None:
    """Return the bars of two profiles of one column; None where there is nothing to draw.

    ``part`` is the part of a composite column to draw, the first one by default; ``bars`` is how many bars.
    """
    if isinstance(reference, CompositeColumn) and isinstance(current, CompositeColumn):
        both = [name for name in reference.parts if name in current.parts]
        name = part if part in both else next(iter(both), None)
        return bars_of(reference.parts[name], current.parts[name], bars=bars) if name is not None else None
    if isinstance(reference, CategoricalColumn) and isinstance(current, CategoricalColumn):
        return _category_bars(reference, current, bars or _CATEGORY_BARS)
    if isinstance(reference, NumericColumn) and isinstance(current, NumericColumn):
        return _number_bars(reference, current, bars or _NUMBER_BARS)
    return None


def _category_bars(reference: CategoricalColumn, current: CategoricalColumn, bars: int) -> Bars | None:
    mine, theirs = reference.categories, current.categories
    names = sorted(mine.counts.keys() | theirs.counts.keys(), key=lambda n: (-max(mine.share(n), theirs.share(n)), n))
    shown = names[:bars]
    if not shown:
        return None
    sides = [[side.share(name) for name in shown] for side in (mine, theirs)]
    if len(names) > len(shown):
        rest = [
            max((1.0 if side.count else 0.0) - sum(shares), 0.0)
            for side, shares in zip((mine, theirs), sides, strict=True)
        ]
        shown = [*shown, f"{len(names) - len(shown)} others"]
        sides = [[*shares, more] for shares, more in zip(sides, rest, strict=True)]
    return Bars(tuple(shown), tuple(sides[0]), tuple(sides[1]))


def _number_bars(reference: NumericColumn, current: NumericColumn, bars: int) -> Bars | None:
    ends = [
        min(max(end, side.smallest), side.largest)  # a quantile may lie elsewhere in its cell than any value
        for side in (reference, current)
        for end in (side.sketch.quantile(0.01), side.sketch.quantile(0.99))
        if end is not None and side.smallest is not None and side.largest is not None
    ]
    if not ends:
        return None
    low, high = min(ends), max(ends)
    with np.errstate(over="ignore", invalid="ignore"):
        span = high - low
    if span > _WIDEST:
        return None
    if not span > 0:
        low, span = low - 0.5, 1.0
    if abs(low) < span * 1e-6:
        low = 0.0
    sides = []
    for side in (reference, current):
        centres = side.sketch.grid.centres(side.sketch.cells)
        with np.errstate(over="ignore"):
            place = np.clip(np.nan_to_num((centres - low) / span) * bars, 0, bars - 1).astype(int)
        counts = np.bincount(place, side.sketch.counts, bars)
        sides.append(tuple((counts / max(side.sketch.count, 1)).tolist()))
    edges = np.linspace(low, low + span, bars + 1).tolist()
    told = numbers(*edges)
    names = [f"{a} to {b}" for a, b in itertools.pairwise(told)]
    axis = [told[0], told[-1]]
    if any(side.smallest is not None and side.smallest < edges[0] for side in (reference, current)):
        names[0], axis[0] = f"{told[1]} or less", f"{axis[0]} or less"
    if any(side.largest is not None and side.largest > edges[-1] for side in (reference, current)):
        names[-1], axis[1] = f"{told[-2]} or more", f"{axis[1]} or more"
    return Bars(tuple(names), sides[0], sides[1], (axis[0], axis[1]))
