"""The input of a contest: its settings, the labelled rows, and the answers of both versions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
import numpy.typing as npt

from driftline.errors import UsageError
from driftline.events import Task
from driftline.statistics.catalogue import CATALOGUE, lower_is_better
from driftline.statistics.influence import Floats, Texts
from driftline.statistics.paired import time_blocks
from driftline.text.numbers import exact

_MOSTLY = 0.5


class Settings(msgspec.Struct, frozen=True):
    """The conditions under which a challenger wins.

    ``measure`` None chooses one: ROC AUC of a binary model with scores, else accuracy; MAE of a regression. The
    challenger has to be better by more than ``improvement``, or worse by less than ``margin``; both are in units of the
    measure and 0 or more. ``floor`` is the worst acceptable value of the measure, whatever the champion's is. Both need
    ``least_rows`` answers; a measure that rests on the rows of single classes needs ``least_class_rows`` of each.
    Segments with fewer than ``least_segment_rows`` are not judged. The challenger's 95th percentile of latency may be
    at most ``latency_times`` the champion's, its calibration error at most ``calibration_more`` above the champion's,
    and its predictions' distance from the labels at most ``shift_more`` above. ``better`` says which values of a
    user-defined measure are better. Raises `UsageError` for values outside these ranges.
    """

    measure: str | None = None
    margin: float = 0.0
    improvement: float = 0.0
    floor: float | None = None
    confidence: float = 0.95
    least_rows: int = 100
    least_class_rows: int = 30
    least_segment_rows: int = 30
    latency_times: float = 2.0
    calibration_more: float = 0.05
    shift_more: float = 0.10
    better: Literal["higher", "lower"] | None = None

    def __post_init__(self) -> None:
        numbers = {"margin": self.margin, "improvement": self.improvement, "floor": self.floor or 0.0}
        for name, value in numbers.items():
            if not math.isfinite(value):
                raise UsageError(f"{name} {exact(value)} came; it is a number in units of the measure")
        counts = {name: getattr(self, name) for name in ("least_rows", "least_class_rows", "least_segment_rows")}
        for name, count in counts.items():
            if count < 1:
                raise UsageError(f"{name} {count} came; it is a number of rows, 1 or more")
        if self.margin < 0 or self.improvement < 0 or (self.margin and self.improvement):
            raise UsageError(
                f"margin {exact(self.margin)} and improvement {exact(self.improvement)} came; "
                "one of them is above 0, or neither"
            )
        if not 0.5 < self.confidence < 1:
            raise UsageError(f"confidence {exact(self.confidence)} came; it is above 0.5 and below 1")


@dataclass(frozen=True, slots=True)
class Entry:
    """The answers of one version to the n rows of a contest.

    ``predictions`` has the shape (n,): class names, or float64 for a regression. ``answered``, shape (n,), is False
    where there is no prediction. ``scores`` are by class, each of shape (n,), NaN where there is none.
    ``latency_seconds`` has any number of measurements, possibly none. ``asked``, shape (n,), is False for rows that the
    version was not asked about; None if it was asked about all: a missing answer to a row it was asked about counts
    against it. ``origin`` says in words where the answers come from, if not from the log.
    """

    version: str
    predictions: Texts | Floats
    answered: npt.NDArray[np.bool_]
    scores: Mapping[str, Floats] = field(default_factory=dict)
    latency_seconds: Floats = field(default_factory=lambda: np.zeros(0))
    asked: npt.NDArray[np.bool_] | None = None
    origin: str = ""

    def owes(self, task: Task) -> npt.NDArray[np.bool_]:
        """Return a mask, shape (n,), of the rows it was asked about and gave no class, or no finite number, for."""
        gave = self.answered
        if task is Task.REGRESSION:
            gave = gave & np.isfinite(np.asarray(self.predictions, np.float64))
        return ~gave if self.asked is None else self.asked & ~gave

    def unscored(self, measure: str) -> npt.NDArray[np.bool_]:
        """Return a mask, shape (n,), of answered rows that lack a score of a class which most rows have a score of.

        A missing score is no error, but a measure of scores has to leave the row out.
        """
        lacking = np.zeros(len(self.answered), np.bool_)
        if measure in CATALOGUE and CATALOGUE[measure].needs_scores and self.answered.any():
            for score in self.scores.values():
                fits = (score >= 0) & (score <= 1)
                if fits[self.answered].mean() > _MOSTLY:
                    lacking |= self.answered & ~fits
        return lacking


@dataclass(frozen=True, slots=True)
class Rows:
    """The n labelled rows of a contest: their labels, times and segment values.

    ``seconds`` are the times since 1970, shape (n,), None where the rows have none. ``classes`` are those that a model
    may predict; empty means any. ``trained_until`` is the time in seconds at which the challenger's training data
    ended, None if unknown. ``days``, shape (n,), numbers the day of each row where days are not those of UTC.
    """

    task: Task
    labels: Texts | Floats
    seconds: Floats | None = None
    segments: Mapping[str, Texts] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    positive: str | None = None
    trained_until: float | None = None
    days: npt.NDArray[np.int64] | None = None

    def blocks(self, there: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64] | None:
        """Return the day of each row of the mask, numbered from 0; None where the rows have no time."""
        if self.days is not None:
            return np.unique(self.days[there], return_inverse=True)[1].astype(np.int64)
        return None if self.seconds is None else time_blocks(self.seconds[there])


def less_is_better(measure: str, settings: Settings) -> bool:
    """Return whether a smaller value of the contest's measure is better."""
    return lower_is_better(measure) if settings.better is None else settings.better == "lower"
