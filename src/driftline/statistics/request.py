"""The request for one measure, and how to answer it with a value or with the reason for none."""

from __future__ import annotations

import math
from typing import NamedTuple

from driftline.profiles.naive import NO_REFERENCE, Naive
from driftline.statistics.intervals import Interval
from driftline.statistics.measure import Measure

NO_LABELS = "no labelled rows"
NO_SCORES = "no scores on labelled rows"
TOO_LARGE = "the numbers are too large to be measured"
ONE_ROW = "one labelled row has no interval; two are needed"


class MeasureRequest(NamedTuple):
    """The request for a measure: its name, the confidence of its interval, the positive class if there is one, and the
    error of a naive forecast on the reference.
    """

    name: str
    confidence: float
    positive: str | None
    naive: Naive = NO_REFERENCE

    def no(self, problem: str, n: int = 0) -> Measure:
        """Return the measure without a value, and with the reason for that."""
        return Measure(self.name, n=n, confidence=self.confidence, problem=problem)

    def yes(self, value: float, interval: Interval, n: int) -> Measure:
        """Return the measure with its interval, widened where rounding left the value outside."""
        low, high = min(interval.low, value), max(interval.high, value)
        if not (math.isfinite(low) and math.isfinite(high)):
            return self.no(TOO_LARGE, n)
        return Measure(self.name, value, low, high, n, self.confidence)
