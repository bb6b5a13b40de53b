"""The error of a naive forecast, which predicts that each label equals the one before it."""

from __future__ import annotations

from typing import Final

import msgspec
import numpy as np
import polars as pl

from driftline.sketches import ExactSum
from driftline.sketches.moments import LARGEST

_MOST_TIED = 0.1
_MOST_SERIES = 100_000
_LATER = "name the time column, and a cluster column where there are several series"


class Naive(msgspec.Struct, frozen=True):
    """The sum of the absolute steps from each label to the next, and their number; or a ``problem`` in words.

    It depends on the order of rows, so it is not a state that merges; only the reference has one.
    """

    total: ExactSum = msgspec.field(default_factory=ExactSum)
    steps: int = 0
    problem: str = "the reference was profiled by an earlier release; one whose file changes is profiled anew"

    @property
    def error(self) -> float | None:
        """The mean absolute error of the naive forecast, in units of the label; None with a problem."""
        return None if self.problem else float(self.total.fraction / self.steps)


NO_REFERENCE: Final = Naive(problem="there is no reference to take a naive forecast from")


class NaiveTally:
    """Sums up the steps of labels, batch by batch in order of time; within each series, if rows have clusters."""

    def __init__(self) -> None:
        self._last: pl.DataFrame | None = None
        self._total, self._steps, self._tied = ExactSum(), 0, 0
        self._problem = ""

    def add(self, rows: pl.DataFrame) -> None:
        """Add canonical rows, shape (n, columns), in any order within the batch.

        Rows without a time or a finite label are left out.
        """
        if self._problem or not {"time", "label"} <= set(rows.columns):
            return
        series = ["cluster"] if "cluster" in rows.columns else []
        batch = rows.select("time", pl.col("label").cast(pl.Float64, strict=False), *series)
        batch = batch.filter(
            pl.all_horizontal(pl.col("label").is_finite(), *(pl.col(name).is_not_null() for name in batch.columns))
        )
        if not batch["time"].is_sorted():
            batch = batch.sort("time", maintain_order=True)
        if not len(batch):
            return
        both = batch if self._last is None else pl.concat([self._last, batch])
        label, time = pl.col("label").diff(), pl.col("time").diff().dt.total_microseconds()
        steps = both.select(*(step.over(series) if series else step for step in (label, time))).drop_nulls()
        if (steps["time"] < 0).any():
            self._problem = "the rows of the reference are not in order of time, which a naive forecast needs"
            return
        sizes = np.minimum(np.abs(steps["label"].to_numpy()), LARGEST)
        self._total = self._total.merge(ExactSum.of(sizes))
        self._steps += len(sizes)
        self._tied += int((steps["time"] == 0).sum())
        last = both.group_by(series, maintain_order=True).last() if series else both.tail(1)
        self._last = last.select(batch.columns)
        if len(self._last) > _MOST_SERIES:
            self._problem = f"the reference has more than {_MOST_SERIES:,} series, too many for a naive forecast"

    def naive(self) -> Naive:
        """Return the naive forecast's error over all batches, or the problem."""
        problem = self._problem
        if not problem and not self._steps:
            problem = f"the reference has no two labels with times, one after the other: {_LATER}"
        elif not problem and self._tied > _MOST_TIED * self._steps:
            problem = f"{self._tied:,} rows of the reference have the time of the one before, and no order: {_LATER}"
        return Naive(problem=problem) if problem else Naive(self._total, self._steps, "")


def naive_of(rows: pl.DataFrame) -> Naive:
    """Return the naive forecast's error on canonical rows, shape (n, columns).

    >>> from datetime import UTC, datetime
    >>> days = [datetime(2026, 1, day, tzinfo=UTC) for day in (1, 3, 2)]
    >>> naive_of(pl.DataFrame({"time": days, "label": [1.0, 2.0, 4.0]})).error
    2.5
    """
    tally = NaiveTally()
    tally.add(rows)
    return tally.naive()
