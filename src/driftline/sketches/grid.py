"""Counts on the float grid: a histogram of any numeric column that needs no choice of bins.

The high 16 bits of a float32 (sign, 8 bits of exponent, 7 of mantissa) number 65,536 cells on a logarithmic grid with a
relative width of at most 2**-7. Counting them is one cast, one shift and one ``bincount``; merging is adding integers.
Related: DDSketch (Masson, Rim & Lee 2019), HdrHistogram, Prometheus native histograms.
"""

from __future__ import annotations

import functools

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.errors import MergeError, UsageError
from driftline.sketches import compiled
from driftline.sketches.moments import LARGEST
from driftline.sketches.scratch import CHUNK, scratch

CELLS = 1 << 16
_SIGN = _ZERO = 0x8000
_LOWEST = 0x80  # the cells beyond, at both ends, stand for infinity and NaN
_LARGEST_FLOAT = float(np.finfo(np.float64).max)
_FEW = 4096  # below it a sort is quicker than a histogram of all cells


class Grid(msgspec.Struct, frozen=True):
    """The grid of a sketch: a value x is counted at ``(x - centre) / scale``. Sketches merge only on the same grid.

    Raises `UsageError` unless both are finite and the scale is above 0.
    """

    centre: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.centre) and np.isfinite(self.scale) and self.scale > 0):
            raise UsageError(f"grid ({self.centre!r}, {self.scale!r}): centre must be finite, scale finite and above 0")

    def cells_of(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.uint16]:
        """Return the cell of each finite value, shape (n,); cell numbers grow with the values."""
        with np.errstate(over="ignore", under="ignore"):
            scaled = np.clip((values - self.centre) / self.scale, -LARGEST, LARGEST)
        high = np.empty(len(scaled), np.int64)
        for start in range(0, len(scaled), CHUNK):
            _high_bits(scaled[start : start + CHUNK], high[start : start + CHUNK])
        return in_order(high)

    def lower_edges(self, cells: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the smallest value of each cell (its edge nearer to minus infinity)."""
        return self._edges(cells, upper=False)

    def upper_edges(self, cells: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the largest value of each cell."""
        return self._edges(cells, upper=True)

    def centres(self, cells: npt.NDArray[np.integer]) -> npt.NDArray[np.float64]:
        """Return the midpoint of each cell."""
        return self.lower_edges(cells) / 2 + self.upper_edges(cells) / 2

    def _edges(self, cells: npt.NDArray[np.integer], *, upper: bool) -> npt.NDArray[np.float64]:
        edges: npt.NDArray[np.float64] = _plain_edges(upper=upper)[cells]
        if self.scale != 1.0 or self.centre != 0.0:
            with np.errstate(over="ignore"):
                edges = np.clip(edges * self.scale + self.centre, -_LARGEST_FLOAT, _LARGEST_FLOAT)
        return edges


@functools.cache
def _plain_edges(*, upper: bool) -> npt.NDArray[np.float64]:
    """The lower or upper edge of every cell of the grid (0, 1), shape (`CELLS`,)."""
    order = np.arange(CELLS, dtype=np.uint32)
    positive = (order & _SIGN) != 0
    high = np.where(positive, order & 0x7FFF, order ^ 0xFFFF)
    outer = positive == upper  # the edge further from zero is the near edge of the next cell outward
    bits = (high << np.uint32(16)) + np.where(outer, np.uint32(0x10000), np.uint32(0))
    with np.errstate(invalid="ignore"):  # beyond the finite cells there are infinities and NaN
        edges = np.nan_to_num(bits.astype(np.uint32).view(np.float32).astype(np.float64), nan=0.0)
    edges = np.clip(edges, -LARGEST, LARGEST) + 0.0  # no -0.0
    edges.flags.writeable = False
    return edges


def _high_bits(scaled: npt.NDArray[np.float64], out: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The high 16 bits of each value as float32; ``scaled`` and ``out`` have the shape (n,) with n up to `CHUNK`."""
    single = scratch("single", len(scaled), np.float32)
    with np.errstate(over="ignore", under="ignore"):
        np.copyto(single, scaled, casting="same_kind")
    np.add(single, np.float32(0.0), out=single)  # -0.0 becomes 0.0
    return np.right_shift(single.view(np.uint32), 16, out=out, casting="unsafe")


def in_order(high: npt.NDArray[np.integer]) -> npt.NDArray[np.uint16]:
    """Return cell numbers from the high 16 bits of float32: those of negative ones are reversed, so that they ascend.

    >>> in_order(np.array([0x3F80, 0xBF80, 0])).tolist()  # of 1, -1 and 0
    [49024, 16511, 32768]
    """
    cells = high.astype(np.uint16)
    return np.where(cells & np.uint16(_SIGN), ~cells, cells | np.uint16(_SIGN))


def union_of_cells(a: npt.NDArray[np.uint16], b: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
    """Return the cells that either of two sketches has, ascending, each once."""
    both = np.concatenate([a, b])
    both.sort(kind="stable")  # by radix, for 16 bits
    first = np.ones(len(both), np.bool_)
    np.not_equal(both[1:], both[:-1], out=first[1:])
    return both[first]


def _no_cells() -> npt.NDArray[np.uint16]:
    return np.empty(0, np.uint16)


def _no_counts() -> npt.NDArray[np.int64]:
    return np.empty(0, np.int64)


class GridSketch(msgspec.Struct, frozen=True, eq=False):
    """Counts of finite values on a grid, sparse: ``cells`` ascending, shape (k,), and ``counts`` above 0, shape (k,).

    Any quantile is exact to within one cell: 2**-7 of its distance from the grid's centre.
    """

    grid: Grid = msgspec.field(default_factory=Grid)
    cells: npt.NDArray[np.uint16] = msgspec.field(default_factory=_no_cells)
    counts: npt.NDArray[np.int64] = msgspec.field(default_factory=_no_counts)

    def __post_init__(self) -> None:
        if len(self.cells) != len(self.counts):
            raise UsageError(f"{len(self.cells)} cells and {len(self.counts)} counts came; there is one count a cell")
        if len(self.cells) and (bool((np.diff(self.cells.astype(np.int64)) <= 0).any()) or int(self.counts.min()) <= 0):
            raise UsageError("cells must be ascending and counts above 0")
        if len(self.cells) and not _LOWEST <= self.cells[0] <= self.cells[-1] <= 0xFFFF - _LOWEST:
            raise UsageError(
                f"cells {self.cells[0]} to {self.cells[-1]} came; finite values have {_LOWEST} to {0xFFFF - _LOWEST}"
            )

    @classmethod
    def of(cls, values: npt.NDArray[np.float64], grid: Grid | None = None) -> GridSketch:
        """Count finite values, shape (n,); others have to be taken out before."""
        tally = GridTally(grid or Grid())
        for start in range(0, len(values), CHUNK):
            chunk = values[start : start + CHUNK]
            with np.errstate(over="ignore"):
                scaled = (chunk - tally.grid.centre) / tally.grid.scale
            tally.add(scaled, max(float(scaled.max()), -float(scaled.min())))
        return tally.sketch()

    @classmethod
    def by_flag(
        cls, values: npt.NDArray[np.float64], flags: npt.NDArray[np.bool_], grid: Grid | None = None
    ) -> tuple[GridSketch, GridSketch]:
        """Count finite values, shape (n,), in two sketches: where the flag is True, shape (n,), and the others."""
        grid = grid or Grid()
        loops = compiled.kernel()
        if loops is None or len(values) < _FEW:
            return cls.of(values[flags], grid), cls.of(values[~flags], grid)
        if grid != Grid():
            with np.errstate(over="ignore"):
                values = np.clip((values - grid.centre) / grid.scale, -LARGEST, LARGEST)
        flagged, others = scratch("flagged", CELLS, np.int64), scratch("others", CELLS, np.int64)
        flagged[:] = others[:] = 0
        loops.tally_by_flag(values, flags, flagged, others)
        return _from_dense(grid, flagged), _from_dense(grid, others)

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
        """Return the counts of both; raises `MergeError` for different grids, unless one of the sketches is empty."""
        if not self.count:
            return other
        if not other.count:
            return self
        if self.grid != other.grid:
            raise MergeError(f"sketches on different grids do not merge: {self.grid} and {other.grid}")
        cells = union_of_cells(self.cells, other.cells)
        counts = np.zeros(len(cells), np.int64)
        counts[np.searchsorted(cells, self.cells)] = self.counts
        counts[np.searchsorted(cells, other.cells)] += other.counts
        return GridSketch(self.grid, cells, counts)

    def turned(self) -> GridSketch:
        """Return the counts of the values with opposite signs, on the mirrored grid."""
        cells = np.where(self.cells == _ZERO, _ZERO, 0xFFFF - self.cells).astype(np.uint16)  # there is no -0.0
        order = np.argsort(cells)
        return GridSketch(Grid(0.0 - self.grid.centre, self.grid.scale), cells[order], self.counts[order])

    def folded(self) -> GridSketch:
        """Return the counts of the absolute values; raises `UsageError` unless the grid's centre is 0."""
        if self.grid.centre != 0.0:
            raise UsageError(f"a grid around {self.grid.centre} came; sizes are counted on one around 0")
        below = self.cells < _ZERO
        low = GridSketch(self.grid, self.cells[below], self.counts[below]).turned()
        return low.merge(GridSketch(self.grid, self.cells[~below], self.counts[~below]))

    @property
    def count(self) -> int:
        """The number of values counted."""
        return int(self.counts.sum())

    def share_up_to(self, cells: npt.NDArray[np.uint16]) -> npt.NDArray[np.float64]:
        """Return 0 and the shares of values up to each of k ascending cells, shape (k + 1,); not of an empty sketch."""
        upto = np.concatenate([[0], np.cumsum(self.counts)])
        shares: npt.NDArray[np.float64] = upto[np.searchsorted(self.cells, cells, side="right")] / self.count
        return np.concatenate([[0.0], shares])

    def quantile_bounds(self, q: float) -> tuple[float, float] | None:
        """Return the edges of the cell that the q-quantile lies in, q in [0, 1]; None when empty.

        The quantile is the smallest value with a share of at least q at or below it (the inverse of the distribution
        function). Values are rounded to float32 in units of the grid, so one may lie outside of the edges by 2**-25 of
        its distance from the centre. Raises `UsageError` for another q.
        """
        if (at := self._cell_of_quantile(q)) is None:
            return None
        cell = self.cells[at : at + 1]
        return float(self.grid.lower_edges(cell)[0]), float(self.grid.upper_edges(cell)[0])

    def _cell_of_quantile(self, q: float) -> int | None:
        if not 0.0 <= q <= 1.0:
            raise UsageError(f"quantile {q!r} came; allowed is 0 to 1")
        if not self.count:
            return None
        return min(int(np.searchsorted(np.cumsum(self.counts), q * self.count, side="left")), len(self.cells) - 1)

    def quantile(self, q: float) -> float | None:
        """Return the q-quantile, q in [0, 1], interpolated within its cell; None when empty.

        In the cell of the grid's centre it is the centre: what lies there is the same number, such as 0, nearly always.
        """
        if (at := self._cell_of_quantile(q)) is None or (bounds := self.quantile_bounds(q)) is None:
            return None
        if int(self.cells[at]) == _ZERO:
            return self.grid.centre
        below = int(self.counts[:at].sum())
        return bounds[0] + (bounds[1] - bounds[0]) * min((q * self.count - below) / int(self.counts[at]), 1.0)


class GridTally:
    """Counts values chunk by chunk, in a dense table, and returns a `GridSketch` at the end."""

    def __init__(self, grid: Grid) -> None:
        self.grid = grid
        self._dense: npt.NDArray[np.int64] | None = None
        self._few: list[npt.NDArray[np.uint16]] = []

    def add(self, scaled: npt.NDArray[np.float64], largest: float) -> None:
        """Count finite values, given as ``(x - centre) / scale``, shape (n,), none larger in size than ``largest``."""
        if largest >= LARGEST:
            scaled = np.clip(scaled, -LARGEST, LARGEST)
        high = _high_bits(scaled, scratch("high", len(scaled), np.int64))
        if self._dense is None:
            self._few.append(high.astype(np.uint16))
            if sum(map(len, self._few)) >= _FEW:
                self.counts()
            return
        np.add.at(self._dense, high, 1)

    def counts(self) -> npt.NDArray[np.int64]:
        """Return the table of counts, shape (`CELLS`,), by the high 16 bits of a float32; add to it to count."""
        if self._dense is None:
            self._dense = np.zeros(CELLS, np.int64)
            if self._few:
                np.add.at(self._dense, np.concatenate(self._few).astype(np.int64), 1)
                self._few = []
        return self._dense

    def sketch(self) -> GridSketch:
        """Return the counts of all values added."""
        if self._dense is not None:
            return _from_dense(self.grid, self._dense)
        if not self._few:
            return GridSketch()
        return _from_high_bits(self.grid, *np.unique(np.concatenate(self._few), return_counts=True))


def _from_dense(grid: Grid, counts: npt.NDArray[np.int64]) -> GridSketch:
    high = np.flatnonzero(counts != 0)  # five times as fast on booleans
    return _from_high_bits(grid, high, counts[high])


def _from_high_bits(grid: Grid, high: npt.NDArray[np.integer], counts: npt.NDArray[np.int64]) -> GridSketch:
    """Make a sketch from distinct ascending high bits, shape (k,), and their counts; negative ones come last."""
    if not len(high):
        return GridSketch()
    negative = int(np.searchsorted(high, _SIGN))
    cells = in_order(np.concatenate([high[negative:][::-1], high[:negative]]))
    return GridSketch(grid, cells, np.concatenate([counts[negative:][::-1], counts[:negative]]))
