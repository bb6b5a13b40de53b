"""Sample one row of each stretch of rows by a hash of the stretch's number: the same rows in every run and any batches.

Every k-th row would do if rows had no order. But where they take turns, as the devices of a panel do, every k-th row
may always belong to the same one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from driftline.sketches.hashing import mixed

_Places = npt.NDArray[np.int64]

_HALF, _UNIT = np.uint64(63), np.uint64(11)


def drawn_places(rows: int, count: int) -> _Places:
    """Return the places, ascending from 0, of ``count`` out of ``rows`` rows, one of each stretch; all if there are no
    more rows than that.

    >>> drawn_places(1_000, 4).tolist(), drawn_places(3, 4).tolist()
    ([220, 391, 647, 778], [0, 1, 2])
    """
    if rows <= count:
        return np.arange(rows)
    ends = np.arange(count + 1) * rows // count
    return ends[:-1] + _offsets(np.arange(count), np.diff(ends))


class DrawnRows:
    """Choose the rows of a stream of unknown length to keep: one of each stretch of ``2**level`` rows.

    `halve` makes stretches twice as long. Which rows are kept at the end depends only on the last level.
    """

    def __init__(self, level: int = 0) -> None:
        self._level, self._seen = level, 0
        self._stretches = np.empty(0, np.int64)

    @property
    def kept(self) -> int:
        """The number of rows kept so far."""
        return len(self._stretches)

    def take(self, rows: int) -> _Places:
        """Return the places, from 0, of the rows to keep among the next ``rows`` ones."""
        size = 1 << self._level
        stretches = np.arange(self._seen // size, -(-(self._seen + rows) // size))
        places = self._drawn(stretches) - self._seen
        here = (places >= 0) & (places < rows)
        self._stretches = np.append(self._stretches, stretches[here])
        self._seen += rows
        return places[here]

    def halve(self) -> npt.NDArray[np.bool_]:
        """Join each two stretches; return for each row that was kept whether it still is, shape (kept,)."""
        self._level += 1
        stays: npt.NDArray[np.bool_] = _second(self._stretches >> 1, self._level) == (self._stretches & 1)
        self._stretches = self._stretches[stays] >> 1
        return stays

    def _drawn(self, stretches: _Places) -> _Places:
        for level in range(self._level, 0, -1):
            stretches = 2 * stretches + _second(stretches, level)
        return stretches


def _second(stretches: _Places, level: int) -> _Places:
    """The half of each stretch, 0 or 1, from which its row is taken."""
    return (mixed(mixed(stretches.astype(np.uint64)) + np.uint64(level)) >> _HALF).astype(np.int64)


def _offsets(stretches: _Places, sizes: _Places) -> _Places:
    """A place within each stretch, from 0 to its size - 1."""
    shares = (mixed(stretches.astype(np.uint64)) >> _UNIT) * 2.0**-53
    return np.minimum((shares * sizes).astype(np.int64), sizes - 1)
