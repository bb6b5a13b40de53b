"""Counts on the float grid: a histogram of any numeric column that needs no choice of bins.

The high 16 bits of a float32 (sign, 8 bits of exponent, 7 of mantissa) number 65,536 cells on a logarithmic grid with a
relative width of at most 2**-7. Counting them is one cast, one shift and one ``bincount``; merging is adding integers.
Related: DDSketch (Masson, Rim & Lee 2019), HdrHistogram, Prometheus native histograms.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from driftline.errors import MergeError, UsageError
from driftline.sketches.moments import LARGEST

CELLS = 1 << 16
_SIGN = 0x8000
_HIGHEST_FINITE = 0xFF7F  # the cell of the largest finite float32, in cell order


@dataclass(frozen=True, slots=True)
class Grid:
    """Which grid: a value x is counted at ``(x - centre) / scale``. Part of a sketch's identity."""

    centre: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.centre) and np.isfinite(self.scale) and self.scale > 0):
            raise UsageError(f"grid ({self.centre!r}, {self.scale!r}): centre must be finite, scale finite and above 0")

    def cells_of(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
        """Return the cell of each finite value, in order of value: cell numbers grow with the values."""
        if self.centre != 0.0 or self.scale != 1.0:
            with np.errstate(over="ignore"):
                values = (values - self.centre) / self.scale
        with np.errstate(over="ignore", under="ignore"):
            single = np.clip(values, -LARGEST, LARGEST).astype(np.float32)
        single += np.float32(0.0)  # -0.0 becomes 0.0
        high = (single.view(np.uint32) >> np.uint32(16)).astype(np.uint16)
        negative = high & np.uint16(_SIGN)
        return np.where(negative != 0, ~high, high | np.uint16(_SIGN)).astype(np.uint16)

    def lower_edges(self, cells: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the smallest value of each cell (its edge nearer to minus infinity)."""
        return self._edges(cells, upper=False)

    def upper_edges(self, cells: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the largest value of each cell."""
        return self._edges(cells, upper=True)

    def centres(self, cells: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the midpoint of each cell."""
        return (self.lower_edges(cells) + self.upper_edges(cells)) / 2

    def _edges(self, cells: npt.NDArray[np.integer], *, upper: bool) -> npt.NDArray[np.float64]:
        order = cells.astype(np.uint32)
        positive = (order & _SIGN) != 0
        high = np.where(positive, order & 0x7FFF, order ^ 0xFFFF)
        outer = positive == upper  # the edge further from zero is the near edge of the next cell outward
        bits = (high << np.uint32(16)) + np.where(outer, np.uint32(0x10000), np.uint32(0))
        edges = bits.astype(np.uint32).view(np.float32).astype(np.float64)
        edges = np.clip(edges, -LARGEST, LARGEST)
        return edges * self.scale + self.centre


def _no_cells() -> npt.NDArray[np.uint16]:
    return np.empty(0, np.uint16)


def _no_counts() -> npt.NDArray[np.int64]:
    return np.empty(0, np.int64)


@dataclass(frozen=True, slots=True, eq=False)
class GridSketch:
    """Counts of finite values on a grid, sparse: ``cells`` ascending, shape (k,), and ``counts`` above 0, shape (k,).

    Any quantile is right to within one cell: 2**-7 of its distance from the grid's centre.
    """

    grid: Grid = field(default_factory=Grid)
    cells: npt.NDArray[np.uint16] = field(default_factory=_no_cells)
    counts: npt.NDArray[np.int64] = field(default_factory=_no_counts)

    def __post_init__(self) -> None:
        if len(self.cells) != len(self.counts):
            raise UsageError(f"{len(self.cells)} cells and {len(self.counts)} counts came; there is one count a cell")
        if len(self.cells) and (bool((np.diff(self.cells.astype(np.int64)) <= 0).any()) or int(self.counts.min()) <= 0):
            raise UsageError("cells must be ascending and counts above 0")

    @classmethod
    def of(cls, values: npt.NDArray[np.float64], grid: Grid | None = None) -> GridSketch:
        """Count finite values, shape (n,). Non-finite values must have been taken out (and counted) before."""
        if not len(values):
            return cls()
        grid = grid or Grid()
        dense = np.bincount(grid.cells_of(values), minlength=CELLS)
        cells = np.flatnonzero(dense)
        return cls(grid, cells.astype(np.uint16), dense[cells].astype(np.int64))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, GridSketch):
            return NotImplemented
        return (
            self.grid == other.grid
            and np.array_equal(self.cells, other.cells)
            and np.array_equal(self.counts, other.counts)
        )

    __hash__ = None  # type: ignore[assignment]  # arrays inside: equal by value, not hashable

    def merge(self, other: GridSketch) -> GridSketch:
        """Return the counts of both; an empty sketch merges with any grid, others only with their own."""
        if not self.count:
            return other
        if not other.count:
            return self
        if self.grid != other.grid:
            raise MergeError(f"sketches on different grids do not merge: {self.grid} and {other.grid}")
        cells, place = np.unique(np.concatenate([self.cells, other.cells]), return_inverse=True)
        counts = np.zeros(len(cells), np.int64)
        np.add.at(counts, place, np.concatenate([self.counts, other.counts]))
        return GridSketch(self.grid, cells, counts)

    @property
    def count(self) -> int:
        """How many values were counted."""
        return int(self.counts.sum())

    def quantile(self, q: float) -> float | None:
        """Return the q-quantile, q in [0, 1], interpolated within its cell; None when empty."""
        if not 0.0 <= q <= 1.0:
            raise UsageError(f"quantile {q!r} came; allowed is 0 to 1")
        if not self.count:
            return None
        rank = q * self.count
        below = np.cumsum(self.counts)
        at = min(int(np.searchsorted(below, rank, side="left")), len(self.cells) - 1)
        within = (rank - (below[at] - self.counts[at])) / self.counts[at]
        cell = self.cells[at : at + 1]
        low, high = float(self.grid.lower_edges(cell)[0]), float(self.grid.upper_edges(cell)[0])
        return low + (high - low) * float(within)
