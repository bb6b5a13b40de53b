"""What a contest is held on: the settings, the labelled rows, and what each of the two versions answered."""

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
    """What a challenger has to be to win.

    ``measure`` None chooses one: ROC AUC of a binary model with scores, else accuracy; MAE of a regression. It has to
    be better by more than ``improvement``, or no worse than ``margin``, both in units of the measure and 0 or more.
    ``floor`` is the worst value of the measure that will do, whatever the champion does. A measure that the rows of one
    class carry needs ``least_class_rows`` of each. Segments with fewer than ``least_segment_rows`` are not judged.
    ``latency_times`` the champion's 95th percentile of latency is the most, and ``calibration_more`` above its
    calibration error, ``shift_more`` above its distance from the labels. ``better`` says of a measure of one's own
    which values are.
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
    """What one version says of the n rows of a contest.

    ``predictions`` has the shape (n,): class names, or float64 of a regression. ``answered``, shape (n,), is False
    where there is no prediction. ``scores`` are by class, each of shape (n,), NaN where there is none.
    ``latency_seconds`` are as many as were measured, perhaps none. ``asked``, shape (n,), is False where the version
    was not asked at all, None where it was asked everywhere: an answer that it owes counts against it. ``origin`` says
    in words whose word the answers are, where that is not the log's.
    """

    version: str
    predictions: Texts | Floats
    answered: npt.NDArray[np.bool_]
    scores: Mapping[str, Floats] = field(default_factory=dict)
    latency_seconds: Floats = field(default_factory=lambda: np.zeros(0))
    asked: npt.NDArray[np.bool_] | None = None
    origin: str = ""

    def owes(self, task: Task) -> npt.NDArray[np.bool_]:
        """Return rows, shape (n,), for which it was asked and gave no class, or no finite number."""
        gave = self.answered
        if task is Task.REGRESSION:
            gave = gave & np.isfinite(np.asarray(self.predictions, np.float64))
        return ~gave if self.asked is None else self.asked & ~gave

    def unscored(self, measure: str) -> npt.NDArray[np.bool_]:
        """Return the rows, shape (n,), that lack a score of a class that is mostly scored: a measure of scores omits
        them.

        A missing score is no error, but the row cannot be compared.
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
    """The labelled rows of a contest: n labels, and for each row its moment in seconds and its value of each segment.

    ``seconds`` is None where the rows have no time. ``classes`` are those that a model may predict, empty where any.
    ``trained_until`` is the moment in seconds at which the challenger's training ended, None where it is not known.
    ``days``, shape (n,), numbers the day of each row where days are not those of UTC.
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
        """Return the day of some rows, numbered from 0 on; None where the rows have no time."""
        if self.days is not None:
            return np.unique(self.days[there], return_inverse=True)[1].astype(np.int64)
        return None if self.seconds is None else time_blocks(self.seconds[there])


def less_is_better(measure: str, settings: Settings) -> bool:
    """Return whether the smaller of two values of the measure of a contest is the better one."""
    return lower_is_better(measure) if settings.better is None else settings.better == "lower"
