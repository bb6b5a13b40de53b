"""The series of a model that are of no column: performance, rows, label coverage, and shares of segments."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from driftline.detection.series import Counted, Role, Series, SeriesKind, Side
from driftline.events import Segment
from driftline.profiles import Classification, Regression
from driftline.profiles.naive import NO_REFERENCE, Naive
from driftline.statistics.catalogue import CATALOGUE, Better, Unit, performance_measures
from driftline.statistics.request import MeasureRequest

_CONFIDENCE = 0.95
_HALF_WIDTHS = 2 * 1.959963984540054
_SIDES = {Better.HIGHER: Side.FALL, Better.LOWER: Side.RISE, Better.NEARER_0: Side.BOTH, None: Side.BOTH}

Performance = Classification | Regression | None
_Floats = npt.NDArray[np.float64]


def default_measures(performance: Performance) -> tuple[str, ...]:
    """The measures that are watched where nobody says which: those that a check holds against the reference's own."""
    if performance is None:
        return ()
    return tuple(
        name
        for name in performance_measures()
        if CATALOGUE[name].judged
        and isinstance(performance, Regression) == (CATALOGUE[name].unit is Unit.OF_LABEL)
        and (not CATALOGUE[name].needs_scores or (isinstance(performance, Classification) and performance.scores))
    )


@dataclass(frozen=True, slots=True)
class PerformanceSeries:
    """One measure of the labelled rows of a model, or of a segment: towards the worse where it has a worse side.

    Proportions of a classifier are share scores with their own denominators. Of others the value is divided by
    ``unit``: what one labelled row adds to its standard error, the median over the reference.
    """

    measure: str
    positive: str | None = None
    naive: Naive = NO_REFERENCE
    segment: Segment | None = None
    unit: float = 1.0

    @classmethod
    def of(
        cls,
        measure: str,
        reference: Sequence[Performance],
        *,
        positive: str | None = None,
        naive: Naive | None = None,
        segment: Segment | None = None,
    ) -> PerformanceSeries | None:
        """Fix the series by the reference windows; None where hardly any of them has the measure."""
        draft = cls(measure, positive, naive or NO_REFERENCE, segment)
        there = [one for one in reference if one is not None and one.count]
        if draft.is_proportion:
            return draft if any(rows > 0 for _, rows in map(draft._proportion, there)) else None
        found = [(draft._valued(one), one.count) for one in there]
        units = [error * math.sqrt(rows) for (_, error), rows in found if error > 0 and math.isfinite(error)]
        if not units or not (unit := float(np.median(units))) > 0:
            return None
        return cls(measure, positive, naive or NO_REFERENCE, segment, unit)

    def series(self, weight: float) -> Series:
        """The series with its share of the budget."""
        side = _SIDES[CATALOGUE[self.measure].better]
        return Series(
            Role.PERFORMANCE,
            self.measure,
            "value",
            SeriesKind.PERFORMANCE,
            weight,
            self.unit,
            side,
            segment=self.segment,
            is_share=self.is_proportion,
        )

    def counted(self, windows: Sequence[Performance]) -> Counted:
        """What T windows say of it."""
        y, n = np.zeros(len(windows)), np.zeros(len(windows))
        for at, one in enumerate(windows):
            if one is None or not one.count:
                continue
            if self.is_proportion:
                y[at], n[at] = self._proportion(one)
                continue
            value, error = self._valued(one)
            if error > 0:
                y[at], n[at] = value / self.unit, (self.unit / error) ** 2
        return Counted([y], [n])

    @property
    def is_proportion(self) -> bool:
        """Whether the measure has a numerator and a denominator in whole rows."""
        return self.measure == "accuracy" or (self.measure in _DENOMINATORS and self.positive is not None)

    def _proportion(self, performance: Classification | Regression) -> tuple[float, float]:
        """How many rows are right, of how many that could be."""
        assert isinstance(performance, Classification)
        if self.measure == "accuracy":
            right = sum(count for (label, given), count in performance.confusion.items() if label == given)
            return float(right), float(performance.count)
        truly, of_label = _DENOMINATORS[self.measure]
        hits = rows = 0
        for (label, given), count in performance.confusion.items():
            if ((label if of_label else given) == self.positive) is truly:
                rows += count
                hits += count * ((label == self.positive) == (given == self.positive))
        return float(hits), float(rows)

    def _valued(self, performance: Classification | Regression) -> tuple[float, float]:
        """The value and its standard error, by the width of its interval; an error of 0 where there is none."""
        function = CATALOGUE[self.measure].function
        assert function is not None
        found = function(performance, MeasureRequest(self.measure, _CONFIDENCE, self.positive, self.naive))
        if found.value is None or found.low is None or found.high is None:
            return 0.0, 0.0
        return found.value, (found.high - found.low) / _HALF_WIDTHS


_DENOMINATORS = {"precision": (True, False), "recall": (True, True), "specificity": (False, True)}
"""Of which rows a proportion is: those that are the positive class or are not, by label or by prediction."""


def volume_series(weight: float) -> Series:
    """The series of how many rows windows have."""
    return Series(Role.VOLUME, "rows", "rows", SeriesKind.VOLUME, weight)


def volumes(rows: _Floats) -> Counted:
    """The logarithms of how many rows T windows have, shape (T,)."""
    return Counted([np.log(np.maximum(rows, 0.5))], [rows])


def coverage_series(weight: float) -> Series:
    """The series of the share of predictions that have a label: fewer is evidence."""
    return Series(Role.COVERAGE, "label_coverage", "share", SeriesKind.MISSING, weight, side=Side.FALL, is_share=True)


def segment_series(segment: Segment, weight: float) -> Series:
    """The series of the share of rows that are of a segment."""
    return Series(Role.VOLUME, "rows", "share", SeriesKind.SHARE, weight, segment=segment, is_share=True)
