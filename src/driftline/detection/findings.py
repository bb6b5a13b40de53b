"""What moved: a series that has more evidence than its share of the budget asks for, in words and numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from driftline.detection.series import Role, Series, SeriesKind, share_of
from driftline.events import Segment
from driftline.text.numbers import fixed, number, percents

Subject = tuple[Role, str, Segment | None]
"""What a finding is about: of each there is one at most."""

OUTSIDE = "outside"
"""The measure of numbers beyond the range of the reference."""
_MOST_BROKEN = 0.5
_LEAST_KNOWN = 0.05
_PIPELINE_KINDS = (SeriesKind.MISSING, SeriesKind.NOVEL, SeriesKind.VOLUME)


@dataclass(frozen=True, slots=True)
class Finding:
    """A series that moved.

    ``usual`` and ``now`` are shares, 0 to 1, rows, or values of a measure; None of a location or a shape. ``shift`` is
    in points of 1 (shares), in reference standard deviations (location) or their logarithm (scale), as a part of the
    usual rows (volume), in units of the measure (performance). It was seen over ``lookback`` windows. ``chance`` is how
    often chance does as much within one budget's period, over everything. ``constant``: all numbers are the same.
    """

    role: Role
    column: str
    measure: str
    kind: SeriesKind
    lookback: int
    shift: float
    chance: float
    usual: float | None = None
    now: float | None = None
    part: str = ""
    segment: Segment | None = None
    constant: bool = False
    when: str = ""
    unit: str = "window"

    @property
    def subject(self) -> Subject:
        """What it is about."""
        return (self.role, self.column, self.segment)

    @property
    def change(self) -> str:
        """The kind of change, and of which column where broken data alone make it: each of these is news.

        >>> finding_of(Series(Role.FEATURE, "x3", "missing", SeriesKind.MISSING, is_share=True), 0.2, 0.5).change
        'missing of x3'
        """
        return f"{self.kind.value} of {self.column}" if self.is_surely_pipeline else self.kind.value

    @property
    def series(self) -> str:
        """Which series of the column, in words.

        >>> finding_of(Series(Role.FEATURE, "x3", "location", SeriesKind.LOCATION), 0.0, 0.5).series
        'location'
        """
        return f"{self.part}: {self.measure}" if self.part else self.measure

    @property
    def is_pipeline(self) -> bool:
        """Whether it is of the kind that broken data make: missing, new, fewer rows or labels, or always the same.

        What is new is one of a feature only, and where it is new: not where so many rows had it that it has been taken
        for normal. Numbers out of range are where they are a part of the rows, such as those in another unit: where
        most are, the column as a whole has moved.
        """
        rises = self.shift > 0 or self.role is Role.COVERAGE
        whole = self.segment is None and self.kind is not SeriesKind.PERFORMANCE
        if self.kind is SeriesKind.NOVEL and (self.role is not Role.FEATURE or self._is_known or self._is_moved_out):
            return False
        return whole and (self.constant or (self.kind in _PIPELINE_KINDS and (rises or self.kind is SeriesKind.VOLUME)))

    @property
    def _is_known(self) -> bool:
        return self.usual is not None and self.usual >= _LEAST_KNOWN

    @property
    def _is_moved_out(self) -> bool:
        return self.measure == OUTSIDE and self.now is not None and self.now >= _MOST_BROKEN

    @property
    def is_surely_pipeline(self) -> bool:
        """Whether broken data alone make it: what is merely new may be drift."""
        return self.is_pipeline and self.kind is not SeriesKind.NOVEL

    def sentence(self, period: str = "a budget's period") -> str:
        """Say it in one sentence.

        >>> found = Finding(Role.FEATURE, "x3", "location", SeriesKind.LOCATION, 2, 0.5, 0.003, when="on Tuesdays")
        >>> found.sentence("90 days")
        'x3: location moved +0.50 sd from what it is on Tuesdays, seen over 2 windows; chance of that in 90 days over
        everything: 0.003'
        """
        of = f"{self.column} ({self.segment.words})" if self.segment is not None else self.column
        seen = f"1 {self.unit}" if self.lookback == 1 else f"{self.lookback} {self.unit}s"
        chance = number(self.chance) if self.chance >= 1e-6 else "below 0.000001"
        return f"{of}: {self.moved}, seen over {seen}; chance of that in {period} over everything: {chance}"

    @property
    def moved(self) -> str:
        """What moved from what to what, and what it is held against."""
        usual = f"what it is {self.when}" if self.when else "what is usual"
        if self.constant:
            return f"{self.series}: all numbers are the same"
        if self.usual is None or self.now is None:
            return f"{self.series} moved {fixed(self.shift, 2, sign=True)} sd from {usual}"
        if self.kind in (SeriesKind.VOLUME, SeriesKind.PERFORMANCE) and self.measure != "share":
            before, after = number(self.usual), number(self.now)
        else:
            before, after = percents(self.usual, self.now)
        name = "" if self.measure in ("value", "rows") else f"{self.series} "
        return f"{name}moved from {before} to {after}, against {usual}"


def finding_of(series: Series, usual: float, shift: float, lookback: int = 1, chance: float = 0.0) -> Finding:
    """Turn what was expected of a series, and by how much it moved from that, into a finding."""
    before: float | None = None
    now: float | None = None
    moved = shift * series.unit
    if series.is_share:
        before, now = share_of(usual), share_of(usual + shift)
        moved = now - before
    elif series.kind is SeriesKind.VOLUME:
        before, now = _rows(usual), _rows(usual + shift)
        moved = now / before - 1
    elif series.kind is SeriesKind.PERFORMANCE:
        before, now = usual * series.unit, (usual + shift) * series.unit
    constant = series.constant is not None and usual + shift <= series.constant < usual
    return Finding(
        series.role,
        series.column,
        series.measure,
        series.kind,
        lookback,
        moved,
        chance,
        before,
        now,
        series.part,
        series.segment,
        constant,
    )


def _rows(logarithm: float) -> float:
    return math.exp(min(logarithm, 700.0))
