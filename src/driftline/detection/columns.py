"""The series of one column, from its stored profile: numbers by the normal scores of their grid cells, categories by
their shares.

All cells, cuts and scales come from the pooled reference windows (van der Waerden 1952 for the scores; Hampel 1974 for
the units of scale and skew). What is new is counted, in the reference itself, against windows further away than `GAP`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import numpy as np
import numpy.typing as npt

from driftline.detection.distributions import normal_score
from driftline.detection.findings import OUTSIDE
from driftline.detection.series import Counted, Role, Series, SeriesKind, Side
from driftline.errors import MergeError
from driftline.profiles import CategoricalColumn, NumericColumn
from driftline.sketches import CategoryCounts, Grid
from driftline.sketches.categories import buckets_of
from driftline.sketches.hashing import hash_names
from driftline.text.numbers import number

GAP = 6
"""Windows that far from each other, or less, do not show that something is new; a quarter of fewer than 21 windows."""
_GAP_FROM = 21
_CUT = 3.5
_LEAST_SHARE, _MOST_SCORED = 1e-9, 1 - 1e-9
_CELL_SHARE, _CELLS_OF_SKEW, _CELLS_OF_SCALE, _CELLS_OF_LOCATION = 0.002, 12, 4, 2
_ATOM_SHARE, _MOST_ATOMS = 0.04, 3
_CATEGORY_SHARE, _MOST_CATEGORIES = 0.005, 12
_IDENTIFIER_SHARE = 0.9
_LEAST_VARIANCE = 1e-4
_LEAST_ROWS_OF_SHAPE = 20.0
_ZERO_CELL = 0x8000

_Floats = npt.NDArray[np.float64]


def gap_of(windows: int) -> int:
    """How far away windows have to be, of so many in the reference, for what they lack to be new."""
    return GAP if windows >= _GAP_FROM else windows // 4


@dataclass(frozen=True, eq=False)
class NumericSeries:
    """Series of a numeric column: location, scale, skew, shares of atoms, and the share outside the reference's range.

    ``cells`` are those of the pooled reference, ascending, shape (k,), and ``scores`` their normal scores; ``between``,
    shape (k + 1,), are the scores of cells that lie below, between and above them. ``within`` is the standard deviation
    of scores inside a window; ``scale_unit`` and ``skew_unit`` are those of one row's influence. ``moments`` says how
    many of location, scale and skew there are. ``atoms`` are the cells of single values with many rows.
    """

    grid: Grid
    cells: npt.NDArray[np.uint16]
    scores: _Floats
    between: _Floats
    within: float
    scale_unit: float
    skew_unit: float
    moments: int
    atoms: npt.NDArray[np.uint16]

    @classmethod
    def of(cls, reference: Sequence[NumericColumn]) -> NumericSeries:
        """Fix the series by the reference windows, of which some may have no numbers."""
        flat = _Flat.of(reference)
        cells, place = np.unique(flat.cells, return_inverse=True)
        pooled = np.bincount(place, flat.counts, len(cells))
        rows = max(float(pooled.sum()), 1.0)
        p, upto = pooled / rows, np.cumsum(pooled)
        scores = _cell_scores((upto - pooled / 2) / rows)
        first, second = flat.mean(scores[place]), flat.mean(scores[place] ** 2)
        mean = float(p @ scores)
        z = (scores - mean) / np.sqrt(max(float(p @ scores**2) - mean**2, 1e-9))
        skew, kurtosis = float(p @ z**3), float(p @ z**4)
        influence = z**3 - skew - 3 * z - 1.5 * skew * (z * z - 1)
        wide = int((p > _CELL_SHARE).sum())
        steps = (_CELLS_OF_LOCATION, _CELLS_OF_SCALE, _CELLS_OF_SKEW)
        largest = np.argsort(-p, kind="stable")[:_MOST_ATOMS]
        grids = [column.sketch.grid for column in reference if column.sketch.count]
        return cls(
            grid=grids[0] if grids else Grid(),
            cells=cells,
            scores=scores,
            between=_cell_scores(np.concatenate([[0.0], upto]) / rows),
            within=float(np.sqrt(max(float(np.mean(second - first**2)), 1e-6))),
            scale_unit=float(np.sqrt(max((kurtosis - 1) / 4, 1e-6))),
            skew_unit=float(np.sqrt(max(float(p @ influence**2), 1e-6))),
            moments=sum(wide >= least for least in steps),
            atoms=cells[largest[p[largest] > _ATOM_SHARE]],
        )

    def series(self) -> list[Series]:
        """The series, in the order of `counted`, with their weights inside the column."""
        constant = float(0.5 * np.log(_LEAST_VARIANCE * 1.01) / self.scale_unit)
        found = [
            _series("location", SeriesKind.LOCATION, 0.35),
            _series("scale", SeriesKind.SHAPE, 0.20, unit=self.scale_unit, constant=constant),
            _series("skew", SeriesKind.SHAPE, 0.10, unit=self.skew_unit),
        ][: self.moments]
        inner = np.where(self.atoms >= _ZERO_CELL, self.grid.lower_edges(self.atoms), self.grid.upper_edges(self.atoms))
        for value in inner.tolist():
            found.append(_share_series(f"share of {number(value)}", SeriesKind.SHARE, 0.15 / len(inner)))
        return [*found, _share_series(OUTSIDE, SeriesKind.NOVEL, 0.10, side=Side.RISE)]

    def counted(self, windows: Sequence[NumericColumn], *, gap: int | None = None) -> Counted:
        """What T windows say of the series.

        With a ``gap`` these are the reference windows: new is what lies beyond all that are further away than that.
        Few rows say nothing of scale and skew. Only numbers in one cell are constant, not those that differ where the
        reference has nothing and scores are alike: beyond it, or in a gap. Windows on another grid raise `MergeError`,
        unless they have no numbers.
        """
        for one in windows:
            if one.sketch.grid is not self.grid and one.sketch.grid != self.grid and len(one.sketch.cells):
                raise MergeError(f"the reference is on {self.grid}, a window on {one.sketch.grid}")
        flat = _Flat.of(windows)
        place = np.searchsorted(self.cells, flat.cells)
        known = self._closed[place] == flat.cells
        a = np.where(known, self._closed_scores[place], self.between[place])
        square = a * a
        first, second = flat.mean(a), flat.mean(square)
        several = np.bincount(flat.owner, minlength=len(flat.rows)) > 1
        variance = np.maximum(second - first**2, np.where(several, 2 * _LEAST_VARIANCE, _LEAST_VARIANCE))
        third = flat.mean(square * a) - 3 * first * second + 2 * first**3
        moments = [
            first / self.within,
            0.5 * np.log(variance) / self.scale_unit,
            third / variance**1.5 / self.skew_unit,
        ][: self.moments]
        infinite = np.array([one.positive_infinite + one.negative_infinite for one in windows], np.float64)
        atoms = [flat.total(flat.cells == atom) for atom in self.atoms]
        beyond = _beyond_others(flat, gap) if gap is not None else self._beyond(flat, place, known)
        of_shape = [np.where(flat.rows >= _LEAST_ROWS_OF_SHAPE, flat.rows, 0.0)] * len(moments[1:])
        n = [*[flat.rows] * len(moments[:1]), *of_shape, *[flat.rows] * len(atoms), flat.rows + infinite]
        return Counted([*moments, *atoms, beyond + infinite], n)

    def _beyond(self, flat: _Flat, place: npt.NDArray[np.int64], known: npt.NDArray[np.bool_]) -> _Floats:
        """Rows of each window that lie beyond the reference, shape (T,)."""
        there = ~known
        return flat.total(there & ((place == 0) | (place == len(self.cells)))) if there.any() else 0 * flat.rows

    @cached_property
    def _closed(self) -> npt.NDArray[np.int64]:
        """The cells, and behind them one that there is not."""
        return np.append(self.cells.astype(np.int64), -1)

    @cached_property
    def _closed_scores(self) -> _Floats:
        return np.append(self.scores, 0.0)


def _cell_scores(shares: _Floats) -> _Floats:
    return np.clip(normal_score(np.clip(shares, _LEAST_SHARE, _MOST_SCORED)), -_CUT, _CUT)


@dataclass(frozen=True, slots=True, eq=False)
class _Flat:
    """The cells of T windows behind each other: cell, count and window of each, shape (cells,); rows, shape (T,)."""

    cells: npt.NDArray[np.uint16]
    counts: _Floats
    owner: npt.NDArray[np.int64]
    rows: _Floats

    @classmethod
    def of(cls, windows: Sequence[NumericColumn]) -> _Flat:
        if len(windows) == 1:  # as a live window comes: the same sums, without the detours
            counts = windows[0].sketch.counts.astype(np.float64)
            return cls(windows[0].sketch.cells, counts, np.zeros(len(counts), np.int64), np.array([counts.sum()]))
        sketches = [one.sketch for one in windows]
        owner = np.repeat(np.arange(len(sketches)), [len(one.cells) for one in sketches])
        counts = np.concatenate([np.empty(0, np.int64), *(one.counts for one in sketches)]).astype(np.float64)
        cells = np.concatenate([one.cells for one in sketches] or [np.empty(0, np.uint16)])
        return cls(cells, counts, owner, _totals(owner, counts, len(sketches)))

    def total(self, there: npt.NDArray[np.bool_]) -> _Floats:
        """How many rows of each window are in the cells that are there, shape (T,)."""
        if len(self.rows) == 1:
            return np.array([self.counts[there].sum()])
        return _totals(self.owner[there], self.counts[there], len(self.rows))

    def mean(self, of_cell: _Floats) -> _Floats:
        """The mean over the rows of each window, shape (T,); 0 of none."""
        return _totals(self.owner, self.counts * of_cell, len(self.rows)) / np.maximum(self.rows, 1.0)


def _totals(owner: npt.NDArray[np.int64], weights: _Floats, windows: int) -> _Floats:
    totals: _Floats = np.bincount(owner, weights, windows).astype(np.float64)
    return totals


def _beyond_others(flat: _Flat, gap: int) -> _Floats:
    """Rows of each window that lie beyond all windows further away than the gap, shape (T,); 0 where there are none."""
    windows = len(flat.rows)
    low, high = np.full(windows, 1 << 16), np.full(windows, -1)
    np.minimum.at(low, flat.owner, flat.cells.astype(np.int64))
    np.maximum.at(high, flat.owner, flat.cells.astype(np.int64))
    at = np.arange(windows)
    beyond = np.zeros(windows)
    for window in range(windows):
        far = np.abs(at - window) > gap
        if far.any():
            own = flat.owner == window
            cells = flat.cells[own].astype(np.int64)
            beyond[window] = flat.counts[own][(cells < low[far].min()) | (cells > high[far].max())].sum()
    return beyond


@dataclass(frozen=True, slots=True, eq=False)
class CategoricalSeries:
    """Series of a column of categories: the share of each large one, of all others together, and of those never seen.

    ``names`` are the large ones and ``seen`` all of the reference. Where these are too many to be counted each, there
    are the shares of the largest ``buckets`` of a hash, and nothing is new.
    """

    names: tuple[str, ...] = ()
    seen: tuple[str, ...] = ()
    others: bool = False
    buckets: tuple[int, ...] = ()

    @classmethod
    def of(cls, reference: Sequence[CategoricalColumn]) -> CategoricalSeries:
        """Fix the series by the reference windows, of which some may have no categories."""
        pooled = reduce(CategoryCounts.merge, (one.categories for one in reference), CategoryCounts())
        rows = max(pooled.count, 1)
        if not pooled.exact:
            largest = np.argsort(-pooled.buckets, kind="stable")[:_MOST_CATEGORIES]
            return cls(buckets=tuple(largest.tolist()))
        by_size = sorted(pooled.counts, key=lambda name: -pooled.counts[name])
        names = [name for name in by_size[:_MOST_CATEGORIES] if pooled.counts[name] >= _CATEGORY_SHARE * rows]
        others = len(by_size) > len(names)
        if len(names) == 2 and not others:
            names = names[:1]  # the other share says the same
        return cls(tuple(names), tuple(pooled.counts), others)

    def series(self) -> list[Series]:
        """The series, in the order of `counted`, with their weights inside the column."""
        if self.buckets:
            each = 0.7 / len(self.buckets)
            return [
                _share_series(f"share of bucket {bucket}", SeriesKind.SHARE, each) for bucket in sorted(self.buckets)
            ]
        each = 0.7 / max(len(self.names) + self.others, 1)
        shares = [f"share of {name}" for name in self.names] + ["share of others"] * self.others
        found = [_share_series(name, SeriesKind.SHARE, each) for name in shares]
        return [*found, _share_series("unseen", SeriesKind.NOVEL, 0.15, side=Side.RISE)]

    def counted(self, windows: Sequence[CategoricalColumn], *, gap: int | None = None) -> Counted:
        """What T windows say of the series.

        With a ``gap`` these are the reference windows: unseen is what no window further away than that has.
        """
        rows = np.array([one.rows - one.missing for one in windows], np.float64)
        counts = [one.categories for one in windows]
        if self.buckets:
            k = np.array([one.by_bucket()[sorted(self.buckets)] for one in counts], np.float64)
        else:
            known = frozenset(self.seen)
            k = np.array([self._counts(one.categories, one.rows - one.missing, known) for one in windows], np.float64)
            if gap is not None:
                k[:, -1] = _unseen_elsewhere(counts, gap)
        return Counted(list(k.T), [rows] * k.shape[1])

    def _counts(self, window: CategoryCounts, total: int, known: frozenset[str]) -> list[int]:
        """Rows of each large category, of the others, and of those never seen; of too many to be counted, at most."""
        if window.exact:
            own = window.counts
            large = [own.get(name, 0) for name in self.names]
            old = total if known.issuperset(own) else sum(count for name, count in own.items() if name in known)
        else:
            large = [window.bounds(name)[1] for name in self.names]
            buckets = np.unique(buckets_of(hash_names(sorted(known)))).astype(np.int64)
            old = int(window.by_bucket()[buckets].sum())
        return [*large, *[max(old - sum(large), 0)] * self.others, total - old]


def _unseen_elsewhere(windows: Sequence[CategoryCounts], gap: int) -> list[int]:
    """Rows of each window in categories that no window further away than the gap has; 0 where there are none."""
    in_windows: Counter[str] = Counter()
    for one in windows:
        in_windows.update(one.counts.keys())
    unseen = []
    for at, one in enumerate(windows):
        near = windows[max(at - gap, 0) : at + gap + 1]
        if len(near) == len(windows):
            unseen.append(0)
            continue
        rare = [name for name in one.counts if in_windows[name] <= len(near)]
        unseen.append(
            sum(one.counts[name] for name in rare if in_windows[name] == sum(name in other.counts for other in near))
        )
    return unseen


def is_identifier(reference: Iterable[CategoricalColumn]) -> bool:
    """Whether a column nearly always has another value: nothing is said of its categories."""
    pooled = reduce(CategoryCounts.merge, (one.categories for one in reference), CategoryCounts())
    return pooled.count > 0 and pooled.distinct()[0] >= _IDENTIFIER_SHARE * pooled.count


def _series(
    measure: str, kind: SeriesKind, weight: float, *, unit: float = 1.0, constant: float | None = None
) -> Series:
    return Series(Role.FEATURE, "", measure, kind, weight, unit, constant=constant)


def _share_series(measure: str, kind: SeriesKind, weight: float, *, side: Side = Side.BOTH) -> Series:
    return Series(Role.FEATURE, "", measure, kind, weight, side=side, is_share=True)
