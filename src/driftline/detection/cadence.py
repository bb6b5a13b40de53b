"""How often a model is judged: the season of its windows, and which windows carry the evidence.

Windows shorter than a day are judged as whole days, whose profiles are the windows' merged: at p-values of one in ten
million, which budgets of thousands of windows ask for, no model of the day effects is good enough. A tenth of the
budget goes to the single windows, of an hour or more, for faults that cannot wait.
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

_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_LENGTHS = {
    "min": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": _DAY,
    "w": timedelta(weeks=1),
    "mo": timedelta(days=30.4375),
}
_WEEKDAYS, _LEARNT_DAYS = 7, 28
_SINGLE_SHARE = 0.1
_FAULTS = (SeriesKind.MISSING, SeriesKind.NOVEL, SeriesKind.VOLUME)
_DAY_NAMES = ("Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays", "Sundays")


@dataclass(frozen=True, slots=True)
class Cadence:
    """The windows of a model, and the time in which one false alarm is tolerated.

    With a time that is ``rolling`` what is usual is that of the newest windows of so long, without the last seven.
    """

    spec: WindowSpec
    budget: timedelta = field(default=timedelta(days=90))
    rolling: timedelta | None = None

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
        >>> rolling = Cadence(WindowSpec("1d"), rolling=timedelta(days=10)).settings
        >>> rolling.most_windows, rolling.lookbacks
        (10, (1, 2, 4, 7))
        """
        length = _DAY if self.below_a_day else self.length
        share = 1 - _SINGLE_SHARE if self.below_a_day else 1.0
        settings = Settings(self.budget / length, share, _WEEKDAYS if length == _DAY else 1)
        if self.rolling is None:
            return settings
        most = self.rolling // length
        lookbacks = tuple(one for one in settings.lookbacks if one <= most)
        return replace(settings, lookbacks=lookbacks, most_windows=most, hold_back=settings.quiet, rolling=True)

    @property
    def day_spec(self) -> WindowSpec:
        """The windows that carry the evidence: whole days of the time zone, or the model's own from a day on.

        >>> Cadence(WindowSpec("1h", "Europe/Berlin")).day_spec
        WindowSpec(length='1d', timezone='Europe/Berlin')
        """
        return WindowSpec("1d", self.spec.timezone) if self.below_a_day else self.spec

    @property
    def single_spec(self) -> WindowSpec:
        """The single windows that are judged beside whole days: the model's own, but hours where these are shorter.

        >>> Cadence(WindowSpec("15min")).single_spec.length, Cadence(WindowSpec("6h")).single_spec.length
        ('1h', '6h')
        """
        return WindowSpec("1h", self.spec.timezone) if self.length < _HOUR else self.spec

    @property
    def singles_a_day(self) -> int:
        """How many single windows a day has: the slots of their season.

        >>> Cadence(WindowSpec("15min")).singles_a_day, Cadence(WindowSpec("6h")).singles_a_day
        (24, 4)
        """
        return -(-_DAY // max(self.length, _HOUR))

    @property
    def single_settings(self) -> Settings | None:
        """Those of the detector of single windows, each held against the same hour of other days; None from a day on.

        >>> single = Cadence(WindowSpec("1h")).single_settings
        >>> single.budget, single.lookbacks, single.period, single.quiet
        (2160.0, (1,), 24, 168)
        """
        if not self.below_a_day:
            return None
        a_day = self.singles_a_day
        return Settings(
            self.budget / max(self.length, _HOUR),
            _SINGLE_SHARE,
            a_day,
            lookbacks=(1,),
            quiet=_WEEKDAYS * a_day,
            most_windows=_LEARNT_DAYS * a_day,
            hold_back=_WEEKDAYS * a_day,
        )

    def slot(self, window: Window) -> int:
        """The place of a day in its week (Monday is 0); 0 of a longer window."""
        local = window.start.astimezone(ZoneInfo(self.spec.timezone))
        return local.weekday() if self.settings.period == _WEEKDAYS else 0

    def single_slot(self, window: Window) -> int:
        """The place of a window that is shorter than a day in its day, 0 to ``singles_a_day`` - 1.

        >>> from datetime import UTC, datetime
        >>> quarter = WindowSpec("6h").window_of(datetime(2024, 1, 2, 13, tzinfo=UTC))
        >>> Cadence(WindowSpec("6h")).single_slot(quarter)
        2
        """
        local = window.start.astimezone(ZoneInfo(self.spec.timezone))
        since_midnight = timedelta(hours=local.hour, minutes=local.minute)
        return min(since_midnight // max(self.length, _HOUR), self.singles_a_day - 1)

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


def is_fault(series: Series) -> bool:
    """Whether a series shows faults that cannot wait for the day's end: what is missing, what is new, and rows."""
    return series.kind in _FAULTS
