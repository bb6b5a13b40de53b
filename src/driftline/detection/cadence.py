"""How often a model is judged: the season of its windows, and which windows carry the evidence.

Windows shorter than a day are judged as whole days, whose profiles are the windows' merged: at p-values of one in ten
million, which budgets of thousands of windows ask for, no model of the day effects is good enough. A tenth of the
budget goes to the single windows, for faults that cannot wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import groupby
from zoneinfo import ZoneInfo

from driftline.detection.detector import Settings
from driftline.detection.series import Series, SeriesKind
from driftline.detection.series_map import Observed
from driftline.events import Window, WindowSpec

_DAY = timedelta(days=1)
_LENGTHS = {
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": _DAY,
    "w": timedelta(weeks=1),
    "mo": timedelta(days=30.4375),
}
_WEEKDAYS, _HOURS = 7, 24
_SINGLE_SHARE = 0.1
_FAULTS = (SeriesKind.MISSING, SeriesKind.NOVEL, SeriesKind.VOLUME)
_DAY_NAMES = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


@dataclass(frozen=True, slots=True)
class Cadence:
    """The windows of a model, and the time in which one false alarm is tolerated."""

    spec: WindowSpec
    budget: timedelta = field(default=timedelta(days=90))

    @property
    def length(self) -> timedelta:
        """How long a window is, in the mean.

        >>> Cadence(WindowSpec("15min")).length
        datetime.timedelta(seconds=900)
        """
        unit = self.spec.length.lstrip("0123456789")
        return _LENGTHS[unit] * int(self.spec.length.removesuffix(unit))

    @property
    def below_a_day(self) -> bool:
        """Whether whole days carry the evidence, each of several windows."""
        return self.length < _DAY

    @property
    def settings(self) -> Settings:
        """Those of the detector that carries the evidence: of the windows, or of whole days.

        >>> Cadence(WindowSpec("1d")).settings.budget, Cadence(WindowSpec("1h")).settings.share
        (90.0, 0.9)
        >>> Cadence(WindowSpec("1w")).settings.period
        1
        """
        length = _DAY if self.below_a_day else self.length
        share = 1 - _SINGLE_SHARE if self.below_a_day else 1.0
        return Settings(self.budget / length, share, _WEEKDAYS if length == _DAY else 1)

    @property
    def single_settings(self) -> Settings | None:
        """Those of the detector of single windows, each held against the same hour of other days; None from a day on.

        >>> single = Cadence(WindowSpec("1h")).single_settings
        >>> single.budget, single.lookbacks, single.period
        (2160.0, (1,), 24)
        """
        if not self.below_a_day:
            return None
        return Settings(self.budget / self.length, _SINGLE_SHARE, _HOURS, lookbacks=(1,))

    def slot(self, window: Window) -> int:
        """The place of a day in its week (Monday is 0), or of a shorter window in its day; 0 of a longer one."""
        local = window.start.astimezone(ZoneInfo(self.spec.timezone))
        if self.below_a_day and window.end - window.start < timedelta(hours=_HOURS - 1):
            return local.hour
        return local.weekday() if self.settings.period == _WEEKDAYS else 0

    def when(self, window: Window) -> str:
        """What a window is compared with, in words: *on Tuesdays*; empty without a season.

        >>> from datetime import UTC, datetime
        >>> spec = WindowSpec("1d")
        >>> Cadence(spec).when(spec.window_of(datetime(2024, 1, 2, tzinfo=UTC)))
        'on Tuesdays'
        """
        return f"on {_DAY_NAMES[self.slot(window)]}" if self.settings.period == _WEEKDAYS else ""

    def days(self, windows: Iterable[tuple[Window, Observed]]) -> Iterator[tuple[Window, Observed]]:
        """Merge windows, in order of time, to whole days of the model's time zone; a last day may be part of one."""
        day = WindowSpec("1d", self.spec.timezone)
        for whole, group in groupby(windows, key=lambda one: day.window_of(one[0].start)):
            merged = Observed()
            for _, observed in group:
                merged = merged.merge(observed)
            yield whole, merged


def faults_only(series: Iterable[Series]) -> tuple[Series, ...]:
    """The series with a share of the budget for those only by which faults are seen: missing, new, and rows."""
    return tuple(one if one.kind in _FAULTS else replace(one, weight=0.0) for one in series)
