"""Numbers near a grid's centre, which SQL sums up by cell: where they end, and what becomes of the sums."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
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


def columns_of_cells(cells: pl.DataFrame, grid: Grid) -> Iterator[NumericColumn]:
    """Yield the profiles of near numbers from their sums by cell, one for each ``key``, in ascending order of these.

    The columns are ``key``, ``cell``, the high 16 bits of a float32, `SUMS`, and the ``smallest`` and ``largest``
    number. A cell comes once for a key, or it is added up.
    """
    known = cells.with_columns(pl.Series("cell", in_order(cells["cell"].to_numpy())))
    by_cell = known.group_by("key", "cell").agg(pl.col("rows").sum()).sort("key", "cell")
    numbers, counts = by_cell["cell"].to_numpy(), by_cell["rows"].to_numpy()
    wholes = [pl.col(name).cast(pl.Int128).sum() for name in SUMS]
    parts = known.group_by("key").agg(*wholes, pl.col("smallest").min(), pl.col("largest").max()).sort("key")
    ends = np.searchsorted(by_cell["key"].to_numpy(), parts["key"].to_numpy(), side="right").tolist()
    for begin, end, (_, *sums, smallest, largest) in zip([0, *ends], ends, parts.rows(), strict=False):
        tally = RoundedMomentsTally(grid.scale)
        tally.add_rounded(*sums)
        yield NumericColumn(
            rows=sums[0],
            smallest=smallest + 0.0,  # no -0.0
            largest=largest + 0.0,
            sketch=GridSketch(grid, numbers[begin:end], counts[begin:end]),
            moments=tally.moments(),
        )
