"""What a series is: a number of each window whose sampling variance is known, such as a share."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from driftline.events import Segment

NO_ROWS = 1e-3
"""Effective rows of a series in a window that says nothing of it: its normal score is about 0."""
_LEAST_ROWS = 0.5

_Floats = npt.NDArray[np.float64]


class SeriesKind(enum.StrEnum):
    """Series of one kind share what is learnt of how much windows vary."""

    LOCATION = "location"
    SHAPE = "shape"
    SHARE = "share"
    NOVEL = "novel"
    MISSING = "missing"
    VOLUME = "volume"
    PERFORMANCE = "performance"


class Role(enum.StrEnum):
    """What a series is about; each has its share of the budget."""

    FEATURE = "feature"
    PREDICTION = "prediction"
    LABEL = "label"
    PERFORMANCE = "performance"
    VOLUME = "volume"
    COVERAGE = "coverage"

    @property
    def rests_on_labels(self) -> bool:
        """Whether windows say something of it only when their labels are in."""
        return self in (Role.LABEL, Role.PERFORMANCE, Role.COVERAGE)


class Side(enum.IntEnum):
    """Which way a series has to move to be evidence."""

    FALL = -1
    BOTH = 0
    RISE = 1


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a model.

    ``column`` is the feature, output or label, or the measure of performance; ``part`` that of a composite column.
    ``measure`` says what of it: *location*, *scale*, *skew*, *share of red*, *missing*, *outside*, *unseen*, *rows*,
    *value*. ``weight`` is its share of the budget, 0 to 1. A shift times ``unit`` is in reference standard deviations
    (location), logarithms (scale, volume) or units of the measure; those of shares are turned into points. ``constant``
    is the value at or below which a window's numbers are all the same, None where that cannot be seen.
    """

    role: Role
    column: str
    measure: str
    kind: SeriesKind
    weight: float = 0.0
    unit: float = 1.0
    side: Side = Side.BOTH
    part: str = ""
    segment: Segment | None = None
    constant: float | None = None
    is_share: bool = False

    @property
    def subject(self) -> tuple[Role, str, Segment | None]:
        """What is named by a finding on it; of each subject there is one finding at most."""
        return (self.role, self.column, self.segment)


class Values(NamedTuple):
    """Values of k series in T windows: ``y`` and effective rows ``n``, each shape (T, k); var(y) is 1 / n but for
    windows that differ.
    """

    y: _Floats
    n: _Floats


class Counted(NamedTuple):
    """What T windows say of some series, before it is scored: of each series its values, or of a share the rows that
    have it, and the rows that it is of, each shape (T,).
    """

    y: list[_Floats]
    n: list[_Floats]

    def scored(self, series: Sequence[Series]) -> Values:
        """The values of these series; where a value or its rows are not finite, nothing is said."""
        y, n = np.array(self.y).T, np.array(self.n).T
        shares = np.array([one.is_share for one in series], np.bool_)
        y[:, shares] = share_score(y[:, shares], np.maximum(n[:, shares], NO_ROWS))
        good = np.isfinite(y) & np.isfinite(n) & (n > NO_ROWS)
        return Values(np.where(good, y, 0.0), np.where(good, n, NO_ROWS))


def share_score(count: _Floats, rows: _Floats) -> _Floats:
    """The variance-stabilised score of shares, any shape, 0 to π: variance 1 / rows whatever the share is.

    Anscombe (1948). It is on the careful side where the count is near 0: one odd row is never an alarm.
    """
    with np.errstate(invalid="ignore"):
        share = np.clip((count + 0.375) / (rows + 0.75), 0.0, 1.0)
    score: _Floats = 2 * np.arcsin(np.sqrt(share))
    return score


def share_of(score: float) -> float:
    """The share, 0 to 1, that has a score; scores beyond the ends are taken for these.

    >>> round(share_of(float(share_score(np.array(250.0), np.array(1000.0)))), 3)
    0.25
    """
    return float(np.sin(min(max(score, 0.0), np.pi) / 2) ** 2)


def is_informative(n: _Floats) -> npt.NDArray[np.bool_]:
    """Whether windows say anything of series, by their effective rows, any shape."""
    return n >= _LEAST_ROWS
