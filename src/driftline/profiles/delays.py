"""How late labels come: counts of labels by the time from the prediction to its first label."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np
import polars as pl

from driftline.errors import UsageError

_MINUTE, _HOUR, _DAY = 60, 3_600, 86_400
STEPS: tuple[int, ...] = (
    *(0, 1, 2, 5, 10, 20, 30),
    *(_MINUTE * count for count in (1, 2, 3, 5, 10, 15, 20, 30, 45)),
    *(_HOUR * count for count in (1, 2, 3, 4, 6, 8, 12, 18)),
    *(_HOUR * count for count in (24, 36, 48)),
    *(_DAY * count for count in (3, 4, 5, 6, 7, 8, 10, 12, 14, 17, 21, 25, 28, 30, 35, 42, 49, 60, 75, 90, 120, 150)),
    *(_DAY * count for count in (180, 270, 365, 540, 730, 1_095, 1_825, 3_650, 36_600)),
)
"""Delays in seconds that people think in, ascending. A delay is counted at the first step that is not below it."""

_KNOWN = frozenset(STEPS)
_EDGES = np.array(STEPS, np.float64)


class LabelDelays(msgspec.Struct, frozen=True):
    """How many labels came within each step of `STEPS`, in seconds, and not within the one before; steps ascend.

    A prediction counts once, by its first label: one that was corrected later was not late. A label that is dated
    before its prediction came at once, and one of more than a century within a century.

    Law: merge is associative and commutative, with no labels as its identity.
    """

    counts: Mapping[int, int] = {}

    def __post_init__(self) -> None:
        steps = [*self.counts]
        if not _KNOWN.issuperset(steps) or steps != sorted(steps) or min(self.counts.values(), default=1) <= 0:
            raise UsageError("counts of label delays came that are not above 0, at ascending steps")

    @classmethod
    def of(cls, predicted: pl.Series, labelled: pl.Series) -> LabelDelays:
        """Count rows by when they were predicted and first labelled, times of shape (n,); without either is left out.

        >>> at = pl.Series([0, 0, 0]).cast(pl.Datetime("us", "UTC"))
        >>> LabelDelays.of(at, at.dt.offset_by("90s")).counts
        {120: 3}
        """
        waited = (labelled - predicted).drop_nulls().dt.total_microseconds().to_numpy() / 1e6
        places = np.minimum(np.searchsorted(_EDGES, waited, side="left"), len(STEPS) - 1)
        there, counts = np.unique(places, return_counts=True)
        return cls({STEPS[place]: count for place, count in zip(there.tolist(), counts.tolist(), strict=True)})

    def merge(self, other: LabelDelays) -> LabelDelays:
        """Return the counts of both sets of rows."""
        steps = sorted(self.counts.keys() | other.counts.keys())
        return LabelDelays({step: self.counts.get(step, 0) + other.counts.get(step, 0) for step in steps})
