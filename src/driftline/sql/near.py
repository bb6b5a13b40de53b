"""Numbers near a grid's centre, which SQL sums up by cell: where they end, and what becomes of the sums."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import polars as pl

from driftline.profiles import NumericColumn
from driftline.sketches import Grid, GridSketch
from driftline.sketches.grid import in_order
from driftline.sketches.moments import ROUNDED_BELOW, RoundedMomentsTally

_UNSEEN = 2.0**-150
"""As float32, numbers up to this size are 0."""
_SIGN, _ALL = 1 << 63, (1 << 64) - 1

SUMS = ("rows", "coarse", "fine", "squares", "crosses")
"""The whole numbers that SQL sums up for each cell; see `RoundedMomentsTally.add_rounded`."""


class Near(NamedTuple):
    """The numbers x that are near: ``low < x < high``. Those from ``zero_low`` to ``zero_high`` are at the centre."""

    low: float
    high: float
    zero_low: float
    zero_high: float


def near_of(grid: Grid) -> Near | None:
    """Return which numbers are near a grid's centre; None for a grid whose moments are not of rounded numbers.

    The edges are those of ``(x - centre) / scale`` as computed, which never falls as x grows, so SQL that compares x
    with them comes to the same, whatever it does with an overflow.
    """
    if not RoundedMomentsTally(grid.scale).rounding:
        return None

    def first(edge: float, *, beyond: bool = False) -> float:
        return _first(lambda x: (at := (x - grid.centre) / grid.scale) > edge or (at == edge and not beyond))

    return Near(
        low=_before(first(-ROUNDED_BELOW, beyond=True)),
        high=first(ROUNDED_BELOW),
        zero_low=first(-_UNSEEN),
        zero_high=_before(first(_UNSEEN, beyond=True)),
    )


def _first(passed: Callable[[float], bool]) -> float:
    """The smallest float for which ``passed`` is true, by bisection; it is false below, and true of the largest."""
    below, there = _place(-math.inf), _place(math.inf)
    while there - below > 1:
        middle = (below + there) // 2
        below, there = (below, middle) if passed(_float(middle)) else (middle, there)
    return _float(there)


def _before(number: float) -> float:
    return math.nextafter(number, -math.inf)


def _place(number: float) -> int:
    """The place of a float among all floats, in order."""
    bits = int.from_bytes(struct.pack(">d", number))
    return _ALL - bits if bits & _SIGN else bits | _SIGN


def _float(place: int) -> float:
    bits = place ^ _SIGN if place & _SIGN else _ALL - place
    found: float = struct.unpack(">d", bits.to_bytes(8))[0]
    return found


def column_of_cells(cells: pl.DataFrame, grid: Grid) -> NumericColumn:
    """Return the profile of near numbers from their sums by cell.

    The columns are ``cell``, the high 16 bits of a float32, `SUMS`, and the ``smallest`` and ``largest`` number.
    """
    if not cells.height:
        return NumericColumn()
    by_cell = cells.group_by("cell").agg(pl.col("rows").sum()).sort("cell")
    numbers = in_order(by_cell["cell"].to_numpy())
    order = np.argsort(numbers)
    rows, coarse, fine, squares, crosses = (int(cells[name].sum()) for name in SUMS)
    tally = RoundedMomentsTally(grid.scale)
    tally.add_rounded(rows, coarse, fine, squares, crosses)
    smallest, largest = cells["smallest"].min(), cells["largest"].max()
    assert isinstance(smallest, float)
    assert isinstance(largest, float)
    return NumericColumn(
        rows=rows,
        smallest=smallest + 0.0,  # no -0.0
        largest=largest + 0.0,
        sketch=GridSketch(grid, numbers[order], by_cell["rows"].cast(pl.Int64).to_numpy()[order]),
        moments=tally.moments(),
    )
