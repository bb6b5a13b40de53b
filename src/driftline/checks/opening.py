"""Open both sides of a comparison and read ahead: decoding runs beside Python code, on the other cores.

Little is imported here, so that reading begins before the code that processes the rows is imported.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import polars as pl

from driftline.checks.inputs import rows_of
from driftline.profiles import Columns
from driftline.sources.rows import Rows, ScannedRows, readable

_GROUP_CELLS, _LEAST_GROUP, _LARGEST_GROUP = 3_000_000, 2, 48
_FIRST_CELLS = 2 * _GROUP_CELLS
"""So many cells are read ahead before the pass begins, while little else is in memory; later at most `_GROUP_CELLS`."""

_LEAST_TELLING = 4


class Opened:
    """Both sides, opened: their first rows and the first group of columns are being read in the background.

    ``rows`` holds the reference and the current side. Raises what `rows_of` raises, for the reference first.
    """

    def __init__(self, reference: Any, current: Any, columns: Columns) -> None:
        self._reading = ThreadPoolExecutor(1, thread_name_prefix="driftline-open")
        self._samples: dict[int, Future[pl.DataFrame]] = {}
        try:
            before = self._open(reference, "reference", columns)
            try:
                now = self._open(current, "current", columns)
            except BaseException:
                self.sample(before)
                raise
            self.rows = (before, now)
            self._batches = self._reading.submit(Batches, self.rows, columns, _FIRST_CELLS)
        finally:
            self._reading.shutdown(wait=False)

    def _open(self, rows: Any, side: str, columns: Columns) -> Rows:
        """Open one side; ``side`` is what messages call rows without a name of their own."""
        opened = rows_of(rows, side, columns.missing, columns.unread)
        if isinstance(opened, ScannedRows):
            self._samples[id(opened)] = self._reading.submit(opened.sample)
        else:  # two streams may share a connection that can serve only one at a time
            with readable(opened.name):
                opened.sample()
        return opened

    def sample(self, rows: Rows) -> pl.DataFrame:
        """Wait for the first rows of a side and return them; raises what `readable` does."""
        begun = self._samples.get(id(rows))
        with readable(rows.name):
            return rows.sample() if begun is None else begun.result()

    def batches(self, rows: Sequence[Rows]) -> Batches:
        """Return the batches of the sides, some of which are already read.

        ``rows`` may have other types than those opened (`Rows.retyped`); what was read ahead is then dropped.
        """
        batches = self._batches.result()
        batches.read_from(rows)
        return batches


class _Group(NamedTuple):
    side: int
    columns: list[str]


class Batches:
    """The rows of the sides, one group of columns after another; the next groups are read ahead, up to ``cells`` cells.

    Reading begins at once, so that the caller can do something else until the first rows are there.
    """

    def __init__(self, rows: Sequence[Rows], columns: Columns, cells: int = _GROUP_CELLS) -> None:
        self._rows = tuple(rows)
        self.there = [[name for name in side.schema if name not in columns.unread] for side in rows]
        self.groups = [_groups(there, columns, side) for side, there in zip(rows, self.there, strict=True)]
        self._next = deque(_Group(side, group) for side, groups in enumerate(self.groups) for group in groups)
        self._begun: deque[Iterator[pl.DataFrame]] = deque()
        self._read_ahead(cells)

    def read_from(self, rows: Sequence[Rows]) -> None:
        """Read the same columns from these rows from now on; batches read ahead from other rows are dropped."""
        if any(new is not old for new, old in zip(rows, self._rows, strict=True)):
            self._rows = tuple(rows)
            self._begun.clear()
            self._read_ahead(_GROUP_CELLS)

    def take(self) -> Iterator[pl.DataFrame]:
        """Return the batches of the next group: all groups of the first side come before those of the second."""
        group = self._next.popleft()
        begun = self._begun.popleft() if self._begun else self._rows[group.side].batches(group.columns)
        self._read_ahead(_GROUP_CELLS)
        return begun

    def _read_ahead(self, cells: int) -> None:
        """Begin to read the next groups in order, up to so many cells in total."""
        ahead = 0
        for place, group in enumerate(self._next):
            rows = self._rows[group.side]
            ahead += (rows.count or 0) * len(group.columns)
            if not rows.narrow or ahead > cells:
                return
            if place >= len(self._begun):
                self._begun.append(rows.batches(group.columns))


def _groups(there: list[str], columns: Columns, rows: Rows) -> list[list[str]]:
    """Divide the columns into groups that are read together: smaller groups need less memory.

    The first group has all columns with a role, and the features that distinguish rows best: at least two of floats, or
    four others.
    """
    if not rows.narrow:
        return [there]
    parts = {*columns.roles, *columns.segments, columns.cluster}
    others = [name for name in there if name not in parts]
    most = min(max(_GROUP_CELLS // max(rows.count or 0, 1), _LEAST_GROUP), _LARGEST_GROUP)
    size = -(-len(others) // max(-(-len(others) // most), 1)) or 1  # as few groups as possible, of one size
    telling = sorted(others, key=lambda name: not rows.schema[name].is_float())
    real = sum(rows.schema[name].is_float() for name in others)
    first = telling[: max(size, _LEAST_TELLING) if real < _LEAST_GROUP else size]
    rest = [name for name in others if name not in first]
    groups = [rest[start : start + size] for start in range(0, len(rest), size)]
    return [[name for name in there if name in parts] + first, *groups]
