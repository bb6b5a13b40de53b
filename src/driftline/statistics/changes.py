"""What changed in a column, in words: for people who do not read distances."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from driftline.profiles import CategoricalColumn, Column, NumericColumn
from driftline.sketches import Grid
from driftline.sketches.grid import union_of_cells
from driftline.sketches.moments import LARGEST
from driftline.statistics.distances import CAP_SPREADS, Pair, at_ranks, spread_of, spreads_of

FAR_WORDS = "values from"
"""How the change of a column that has values very far out begins."""

_CHANGES_SHOWN = 4
_CHANGE_LEAST = 0.01
_SPREAD_RATIO = 1.1
_MEAN_ERRORS = 2.0


def changes_of(reference: Column, current: Column, both: Pair, out_of_range: float | None) -> tuple[str, ...]:
    """What changed in a column, a few words each; empty where nothing did.

    ``both`` are the two profiles on common cells, ``out_of_range`` is the share of current numbers beyond the
    reference's range, 0 to 1, None for others.
    """
    words: list[str] = []
    before, after = ((side.absent - _infinite(side)) / max(side.rows, 1) for side in (reference, current))
    if abs(after - before) >= _CHANGE_LEAST:
        words.append(f"missing {percent(before)} → {percent(after)}")
    if isinstance(reference, NumericColumn) and isinstance(current, NumericColumn):
        words += _number_changes(reference, current, both)
        outside = out_of_range or 0.0
        if outside >= _CHANGE_LEAST and not words:
            words.append(
                f"{percent(outside)} outside {number(reference.smallest or 0)} to {number(reference.largest or 0)}"
            )
        words = words or _stretch_changes(reference, current)
    elif isinstance(reference, CategoricalColumn) and isinstance(current, CategoricalColumn):
        words += _category_changes(reference, current, both.unseen)
    return tuple(words)


def _infinite(column: Column) -> int:
    return column.positive_infinite + column.negative_infinite if isinstance(column, NumericColumn) else 0


def _stretch_changes(reference: NumericColumn, current: NumericColumn) -> list[str]:
    """Where the shape changed most: of the stretches between the reference's deciles the one whose share did."""
    if not (reference.sketch.count and current.sketch.count):
        return []
    places = sorted({*at_ranks(reference.sketch, *(tenth / 10 for tenth in range(1, 10))).tolist()})
    ends = reference.sketch.cells[places]
    was, became = (np.diff(side.sketch.share_up_to(ends), append=1.0) for side in (reference, current))
    at = int(np.argmax(np.abs(became - was)))
    if abs(became[at] - was[at]) < _CHANGE_LEAST:
        return []
    return [f"{_stretch(reference, current, ends, at)}: {percent(was[at])} → {percent(became[at])}"]


def _stretch(reference: NumericColumn, current: NumericColumn, ends: npt.NDArray[np.uint16], at: int) -> str:
    """The values of one of the stretches that end with these cells, the last of them without an end."""
    cells = union_of_cells(reference.sketch.cells, current.sketch.cells)
    first = cells[np.searchsorted(cells, ends[at - 1 : at], side="right")]
    spread = spread_of(reference)
    names = [_digits(edge, spread) for edge in _inner_edges(reference.sketch.grid, np.append(first, ends)).tolist()]
    if at == 0:
        return f"up to {names[0]}"
    if at == len(ends):
        return f"above {names[-1]}"
    return f"at {names[0]}" if first[0] == ends[at] else f"{names[0]} to {names[1 + at]}"


def _category_changes(reference: CategoricalColumn, current: CategoricalColumn, unseen: float) -> list[str]:
    if not (reference.categories.count and current.categories.count):
        return []
    mine, theirs = reference.categories, current.categories
    names = sorted(mine.counts.keys() | theirs.counts.keys())
    shares = sorted(((mine.share(name), theirs.share(name), name) for name in names), key=lambda s: -abs(s[1] - s[0]))
    shown = [share for share in shares[:_CHANGES_SHOWN] if abs(share[1] - share[0]) >= _CHANGE_LEAST]
    words = []
    for before, after, name in shown:
        mark = " (new)" if not before else " (gone)" if not after else ""
        words.append(f"{name} {percent(before)} → {percent(after)}{mark}")
    if unseen - sum(after for before, after, _ in shown if not before) >= _CHANGE_LEAST:
        words.append(f"{percent(unseen)} in new categories")
    return words


def _number_changes(reference: NumericColumn, current: NumericColumn, both: Pair) -> list[str]:
    words: list[str] = []
    infinite = [_infinite(column) / max(column.rows, 1) for column in (reference, current)]
    if abs(infinite[1] - infinite[0]) >= _CHANGE_LEAST / 10:
        words.append(f"infinite {percent(infinite[0])} → {percent(infinite[1])}")
    if not (reference.sketch.count and current.sketch.count):
        return words
    spread, wide = spread_of(reference), spread_of(current)
    before, after = _median(reference), _median(current)
    moved = abs(after - before) > 0.05 * spread if spread else after != before
    was, became = reference.mean or 0.0, current.mean or 0.0
    if moved and before != after:
        words.append(f"median {_digits(before, after - before)} → {_digits(after, after - before)}")
    elif spread and abs(became - was) > 0.05 * spread and _is_mean(became - was, reference, current):
        words.append(f"mean {_digits(was, became - was)} → {_digits(became, became - was)}")
    one, other = spreads_of(reference, current)
    if spread and wide and one and other and not 1 / _SPREAD_RATIO <= other / one <= _SPREAD_RATIO:
        words.append(f"spread {number(one)} → {number(other)}")
    elif bool(spread) != bool(wide):
        words.append(f"now constant at {number(after)}" if spread else f"was constant at {number(before)}")
    if both.capped and _far(current, reference, spread) and current.largest is not None:
        ends = (current.smallest, current.largest, reference.smallest, reference.largest)
        words.append(FAR_WORDS + " {} to {}, before {} to {}".format(*(number(end or 0.0) for end in ends)))
    return words


def _is_mean(change: float, reference: NumericColumn, current: NumericColumn) -> bool:
    """Whether a change of the mean is one of all values, and not made by a few or by capped ones."""
    return abs(change) > _MEAN_ERRORS * _error(reference, current) and _has_mean(reference) and _has_mean(current)


def _has_mean(column: NumericColumn) -> bool:
    """Whether no value is so far out that the sums take it as a smaller one."""
    assert column.smallest is not None
    assert column.largest is not None
    centre = column.sketch.grid.centre
    return max(abs(column.smallest / 2 - centre / 2), abs(column.largest / 2 - centre / 2)) < LARGEST / 2


def _digits(value: float, change: float) -> str:
    """A number for people, with the digits that show a change.

    >>> _digits(0.512, 0.3), _digits(1013.25, 0.0421), _digits(1e9, 0.3)
    ('0.512', '1013.250', '1,000,000,000.00')
    """
    if not (abs(value) < 1e15 and 0 < abs(change) < 1e-3 * abs(value)):
        return number(value)
    digits = 0 if abs(change) >= 1 else min(1 - math.floor(math.log10(abs(change))), 15)
    return f"{value:.{digits}f}" if abs(value) < 9_999.5 else f"{value:,.{digits}f}"


def _error(one: NumericColumn, other: NumericColumn) -> float:
    """The standard error of the difference of the means: large where a few values far out make these."""
    return math.hypot(*((side.sd or 0.0) / math.sqrt(max(side.sketch.count, 1)) for side in (one, other)))


def _far(current: NumericColumn, reference: NumericColumn, spread: float) -> bool:
    """Whether current values lie beyond the cap and beyond everything in the reference."""
    assert current.smallest is not None
    assert current.largest is not None
    assert reference.smallest is not None
    assert reference.largest is not None
    middle = _median(reference)
    high = max(reference.largest, middle + CAP_SPREADS * spread)
    low = min(reference.smallest, middle - CAP_SPREADS * spread)
    return current.largest > high or current.smallest < low


def _median(column: NumericColumn) -> float:
    """The median by the edge of its cell."""
    sketch = column.sketch
    assert column.smallest is not None
    assert column.largest is not None
    edge = float(_inner_edges(sketch.grid, sketch.cells[at_ranks(sketch, 0.5)])[0])
    return min(max(edge, column.smallest), column.largest)


def _inner_edges(grid: Grid, cells: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
    """The edge of each cell nearer to the grid's centre: exact for whole numbers on the plain grid."""
    plain = Grid()
    edges = np.maximum(plain.lower_edges(cells), 0.0) + np.minimum(plain.upper_edges(cells), 0.0)
    with np.errstate(over="ignore"):
        return np.nan_to_num(edges * grid.scale + grid.centre)  # the largest float in place of infinity


def percent(share: float) -> str:
    """A share in words.

    >>> percent(0), percent(0.0004), percent(0.031), percent(0.524), percent(0.9996), percent(1)
    ('0 %', '<0.1 %', '3.1 %', '52 %', '99.9 %', '100 %')
    """
    if share <= 0 or share >= 1:
        return "0 %" if share <= 0 else "100 %"
    if share < 0.001:
        return "<0.1 %"
    if share >= 0.995:
        return f"{min(share * 100, 99.9):.1f} %"
    return f"{share * 100:.1f} %" if share < 0.0995 else f"{share * 100:.0f} %"


def number(value: float) -> str:
    """A number for people, to about three digits; up to four whole ones stand together, as those of a year do.

    >>> number(4.05), number(-0.000123456), number(2015.0), number(31536000.0), number(0.0), number(2e300)
    ('4.05', '-0.000123', '2015', '31,536,000', '0', '2e+300')
    """
    if 999.5 <= abs(value) < 1e15:
        return f"{value:.0f}" if abs(value) < 9_999.5 else f"{value:,.0f}"
    return f"{value:.3g}"
