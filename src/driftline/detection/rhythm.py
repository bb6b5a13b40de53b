"""The daily rhythm of numbers, where windows are shorter than a day: how strong it is, and when it comes.

A day's merged profile does not know at which hour its values came: a rhythm that comes three hours later leaves it as
it is. So each number with a rhythm has two series more, linear in the locations of a day's hours: their product with
the rhythm of the reference, and with its slope, which is what a later rhythm adds.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from driftline.detection.columns import NumericSeries
from driftline.detection.series import NO_ROWS, Role, Series, SeriesKind, Values
from driftline.detection.series_map import Observed, SeriesMap

_LEAST_STRENGTH = 0.1
"""A weaker rhythm, in standard deviations, is none."""
_LEAST_EVIDENCE = 4.0
_LEAST_VARIANCE = 0.05
_LEAST_SLOTS = 4

Parts = Sequence[tuple[int, Observed]]
"""The profiles of a day's hours, by their slot in the day."""
_Floats = npt.NDArray[np.float64]
_Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Rhythm:
    """The rhythms of L numbers over the P slots of a day, fixed by the reference.

    ``places`` are those of their locations among the series of the map, shape (L,); ``summed`` and ``rows`` the
    reference's locations times rows, and rows, shape (P · L,), slot by slot. ``within`` is the variance of a row inside
    its hour, of 1 in the whole reference, shape (L,).
    """

    places: _Ints
    summed: _Floats
    rows: _Floats
    within: _Floats

    @classmethod
    def of(cls, fixed: SeriesMap, reference: Sequence[Parts], slots: int) -> Rhythm | None:
        """Find the numbers with a daily rhythm; None where there is none."""
        places = np.array(list(_located(fixed)), np.int64)
        if slots < _LEAST_SLOTS or not len(places) or not any(reference):
            return None
        y, n = _locations(fixed, reference, slots)
        summed, rows = (y * n).sum(axis=0), n.sum(axis=0)
        total = np.maximum(rows.sum(axis=0), 1.0)
        level = summed / np.maximum(rows, 1.0)
        mean = summed.sum(axis=0) / total
        square = (rows * (level - mean) ** 2).sum(axis=0) / total
        there = (square > _LEAST_STRENGTH**2) & (square > _LEAST_EVIDENCE * slots / total)
        if not there.any():
            return None
        within = np.maximum(1 - square[there], _LEAST_VARIANCE)
        return cls(places[there], summed[:, there].ravel(), rows[:, there].ravel(), within)

    def shared(self, series: Sequence[Series]) -> tuple[Series, ...]:
        """The series of the map, and behind them two of each rhythm: these have half of the location's weight."""
        found, added = list(series), list[Series]()
        for place in self.places.tolist():
            one = series[place]
            found[place] = replace(one, weight=one.weight / 2)
            each = replace(one, kind=SeriesKind.SHAPE, weight=one.weight / 4)
            added += [replace(each, measure=f"{what} of the daily rhythm") for what in ("strength", "time")]
        return (*found, *added)

    def values(self, fixed: SeriesMap, days: Sequence[Parts]) -> Values:
        """The values of the added series in T days, shape (T, 2 L)."""
        return self._values(fixed, days, in_reference=False)

    def reference_values(self, fixed: SeriesMap, days: Sequence[Parts]) -> Values:
        """The values in the reference itself, shape (T, 2 L): of each day by the rhythm of the others."""
        return self._values(fixed, days, in_reference=True)

    def _values(self, fixed: SeriesMap, days: Sequence[Parts], *, in_reference: bool) -> Values:
        which = np.isin(np.array(list(_located(fixed)), np.int64), self.places)
        of_slots, rows_of_slots = (one.reshape(-1, len(self.places)) for one in (self.summed, self.rows))
        y, n = _locations(fixed, days, len(rows_of_slots))
        y, n = y[:, :, which], n[:, :, which]
        shape = (len(days), 2 * len(self.places))
        values, effective = np.zeros(shape), np.full(shape, NO_ROWS)
        for day, (own, rows) in enumerate(zip(y, n, strict=True)):
            if in_reference:
                summed, known = of_slots - own * rows, np.maximum(rows_of_slots - rows, 0.0)
            else:
                summed, known = of_slots, rows_of_slots
            for at, curve in enumerate(_curves(summed, known)):
                centred = curve - (rows * curve).sum(axis=0) / np.maximum(rows.sum(axis=0), 1.0)
                square = (rows * centred**2).sum(axis=0)
                good = square > NO_ROWS
                values[day, at::2] = np.where(good, (rows * own * centred).sum(axis=0) / np.where(good, square, 1), 0.0)
                effective[day, at::2] = np.maximum(square / self.within, NO_ROWS)
        return Values(values, effective)


def _curves(summed: _Floats, rows: _Floats) -> tuple[_Floats, _Floats]:
    """The rhythm over the slots, and its slope without what the rhythm itself has of it; mean 0 and mean square 1."""
    share = rows / np.maximum(rows.sum(axis=0), 1.0)
    mean = (summed / np.maximum(rows.sum(axis=0), 1.0)).sum(axis=0)
    level = np.where(rows > 0, summed / np.maximum(rows, 1.0), mean)
    rhythm = _normed(level, share)
    slope = np.roll(level, 1, axis=0) - np.roll(level, -1, axis=0)
    slope = slope - (share * slope).sum(axis=0)
    return rhythm, _normed(slope - rhythm * (share * slope * rhythm).sum(axis=0), share)


def _normed(curve: _Floats, share: _Floats) -> _Floats:
    centred = curve - (share * curve).sum(axis=0)
    square = (share * centred**2).sum(axis=0)
    normed: _Floats = np.where(square > 1e-9, centred / np.sqrt(np.maximum(square, 1e-9)), 0.0)
    return normed


def _located(fixed: SeriesMap) -> Iterator[int]:
    """The places of the locations of numbers among the series of a map, in order."""
    place = 0
    for column in fixed.columns:
        if isinstance(column.shape, NumericSeries) and column.shape.moments:
            yield place
        place += len(column.series())


def _locations(fixed: SeriesMap, days: Sequence[Parts], slots: int) -> tuple[_Floats, _Floats]:
    """The locations of the L numbers in each slot of T days, and their rows, shape (T, P, L) each; 0 where nothing is.

    An hour that comes twice, when clocks go back, is one of more rows.
    """
    flat = [(day, slot, one) for day, parts in enumerate(days) for slot, one in parts]
    where = (np.array([day for day, _, _ in flat], np.int64), np.array([slot for _, slot, _ in flat], np.int64))
    columns = [one for one in fixed.columns if isinstance(one.shape, NumericSeries) and one.shape.moments]
    summed, rows = np.zeros((len(days), slots, len(columns))), np.zeros((len(days), slots, len(columns)))
    profiles = {
        Role.FEATURE: [one.profile.features for _, _, one in flat],
        Role.PREDICTION: [one.profile.outputs for _, _, one in flat],
        Role.LABEL: [one.profile.labels for _, _, one in flat],
    }
    for at, column in enumerate(columns):
        found = column.counted(profiles[column.role])
        np.add.at(summed[:, :, at], where, found.y[0] * found.n[0])
        np.add.at(rows[:, :, at], where, found.n[0])
    return summed / np.maximum(rows, 1.0), rows
