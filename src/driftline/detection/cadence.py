"""How often a model is judged: the season of its windows, and which windows carry the evidence.

Windows shorter than a day are judged as whole days, whose profiles are the windows' merged: at p-values of one in ten
million, which budgets of thousands of windows ask for, no model of the day effects is good enough. A tenth of the
budget goes to the single windows, of an hour or more, for faults that cannot wait.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from driftline.detection.detector import Settings
from driftline.detection.series import Series, SeriesKind
from driftline.events import Window, WindowSpec
from driftline.text.moments import hour_of_day

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

    With a time that is ``rolling`` what is usual is that of the newest windows of so long, without the last seven: days
    where they are shorter, and single windows of at most 28 days.
    """

    spec: WindowSpec
    budget: timedelta = field(default=timedelta(days=90))
    rolling: timedelta | None = None
    weekly: bool = True

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
        >>> Cadence(WindowSpec("1d"), weekly=False).settings.period
        1
        >>> rolling = Cadence(WindowSpec("1d"), rolling=timedelta(days=10)).settings
        >>> rolling.most_windows, rolling.lookbacks
        (10, (1, 2, 4, 7))
        """
        length = _DAY if self.below_a_day else self.length
        share = 1 - _SINGLE_SHARE if self.below_a_day else 1.0
        words = "days" if self.below_a_day else "windows"
        period = _WEEKDAYS if self.weekly and length == _DAY else 1
        settings = Settings(self.budget / length, share, period, words=words)
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
        >>> Cadence(WindowSpec("1d"), weekly=False).settings.period
        1
        >>> rolling = Cadence(WindowSpec("1h"), rolling=timedelta(days=10)).single_settings
        >>> rolling.most_windows, rolling.hold_back, rolling.rolling
        (240, 168, True)
        """
        if not self.below_a_day:
            return None
        a_day, learnt_days = self.singles_a_day, _LEARNT_DAYS
        if self.rolling is not None:
            learnt_days = min(self.rolling // _DAY, learnt_days)
        return Settings(
            self.budget / max(self.length, _HOUR),
            _SINGLE_SHARE,
            a_day,
            lookbacks=(1,),
            quiet=_WEEKDAYS * a_day,
            most_windows=learnt_days * a_day,
            hold_back=_WEEKDAYS * a_day,
            rolling=self.rolling is not None,
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

    def single_when(self, window: Window) -> str:
        """What a window that is shorter than a day is compared with, in words.

        >>> from datetime import UTC, datetime
        >>> spec = WindowSpec("1h", "Europe/Berlin")
        >>> Cadence(spec).single_when(spec.window_of(datetime(2024, 1, 2, 13, tzinfo=UTC)))
        'at 14:00'
        """
        return f"at {hour_of_day(window.start, self.spec.timezone)}"

    def last_single(self, whole: Window) -> Window:
        """The last window that begins in a day, which is over when this is; the window itself from a day on."""
        return self.single_spec.window_of(whole.end - timedelta(microseconds=1)) if self.below_a_day else whole

    def singles_in(self, whole: Window) -> Iterator[Window]:
        """Yield the single windows that begin in a day, in order of time; the window itself from a day on.

        >>> from datetime import UTC, datetime
        >>> cadence = Cadence(WindowSpec("1h", "Europe/Berlin"))
        >>> day = cadence.day_spec.window_of(datetime(2024, 3, 31, 12, tzinfo=UTC))
        >>> len(list(cadence.singles_in(day)))  # clocks go forward
        23
        """
        if not self.below_a_day:
            yield whole
            return
        one = self.single_spec.window_of(whole.start)
        while one.start < whole.end:
            if one.start >= whole.start:
                yield one
            one = self.single_spec.window_of(one.end)

    def whole_of(self, moment: datetime) -> Window:
        """The day, or the window from a day on, in which the window of a moment begins."""
        return self.day_spec.window_of(self.single_spec.window_of(moment).start if self.below_a_day else moment)


def is_fault(series: Series) -> bool:
    """Whether a series shows faults that cannot wait for the day's end: what is missing, what is new, and rows."""
    return series.kind in _FAULTS
