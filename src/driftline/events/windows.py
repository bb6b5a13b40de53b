"""Windows: how event time is cut, in a model's time zone."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import msgspec

from driftline.errors import UsageError

_LENGTH = re.compile(r"(?P<count>[1-9][0-9]{0,4})(?P<unit>min|mo|h|d|w)")
_UNIT_WORDS = {"min": "minute", "h": "hour", "d": "day", "w": "week", "mo": "month"}
_MOST = {"mo": 1200, "w": 5200, "d": 36_500}  # a century: longer ones leave the calendar
_DURATION = re.compile(r"(?P<count>[0-9]{1,6}(\.[0-9]+)?)(?P<unit>ms|s|min|h|d|w)")
_DURATION_SECONDS = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def parse_duration(text: str) -> timedelta:
    """Parse a length of time such as ``30s``, ``5min``, ``1h``, ``7d`` or ``2w``.

    >>> parse_duration("1.5h")
    datetime.timedelta(seconds=5400)
    """
    found = _DURATION.fullmatch(text.strip())
    if not found:
        raise UsageError(f"{text!r} is not a duration; write a number and one of ms, s, min, h, d, w, such as '1h'")
    return timedelta(seconds=float(found["count"]) * _DURATION_SECONDS[found["unit"]])


class Window(msgspec.Struct, frozen=True, order=True):
    """A half-open span of event time, ``start <= t < end``; both aware UTC."""

    start: datetime
    end: datetime

    def overlaps(self, other: Window) -> bool:
        """Return whether the two share a moment."""
        return self.start < other.end and other.start < self.end


class WindowSpec(msgspec.Struct, frozen=True):
    """How event time is cut into windows: a length such as ``1h``, ``1d``, ``1w`` or ``1mo``, in a time zone.

    Minutes and hours are cut in elapsed time since the epoch; days, weeks (from Monday) and months follow the
    calendar of ``timezone``, so that the day on which the clocks change has 23 or 25 hours and stays one window.
    """

    length: str = "1d"
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not _LENGTH.fullmatch(self.length):
            raise UsageError(f"window {self.length!r} is not a length; write a number and one of min, h, d, w, mo")
        count, unit = self._count_and_unit
        if count > _MOST.get(unit, count):
            raise UsageError(
                f"window {self.length!r} is longer than a century; allowed are at most {_MOST[unit]}{unit}"
            )
        try:
            ZoneInfo(self.timezone)
        except (KeyError, ValueError, OSError) as error:
            raise UsageError(
                f"time zone {self.timezone!r} is not known; write a name such as 'Europe/Berlin'"
            ) from error

    @property
    def _count_and_unit(self) -> tuple[int, str]:
        found = _LENGTH.fullmatch(self.length)
        assert found is not None
        return int(found["count"]), found["unit"]

    @property
    def words(self) -> str:
        """The length in words, for people: ``1 month``, ``2 weeks``."""
        count, unit = self._count_and_unit
        return f"{count} {_UNIT_WORDS[unit]}{'s' if count > 1 else ''}"

    @property
    def is_within_a_day(self) -> bool:
        """Whether no window is longer than a day."""
        count, unit = self._count_and_unit
        return (unit in ("min", "h") and count * (1 if unit == "min" else 60) <= 1440) or (count, unit) == (1, "d")

    def window_of(self, time: datetime) -> Window:
        """Return the window that holds an aware moment.

        >>> WindowSpec("1mo", "America/Los_Angeles").window_of(datetime(2013, 4, 4, tzinfo=UTC)).start.isoformat()
        '2013-04-01T07:00:00+00:00'
        """
        count, unit = self._count_and_unit
        if unit in ("min", "h"):
            seconds = count * (60 if unit == "min" else 3600)
            start = int(time.timestamp() // 1) // seconds * seconds
            return Window(datetime.fromtimestamp(start, UTC), datetime.fromtimestamp(start + seconds, UTC))
        zone = ZoneInfo(self.timezone)
        local = time.astimezone(zone)
        first, after = _calendar_cut(local, count, unit)
        return Window(
            datetime(*first, tzinfo=zone).astimezone(UTC),
            datetime(*after, tzinfo=zone).astimezone(UTC),
        )

    def months_of(self, window: Window) -> tuple[int, ...]:
        """Return the calendar months, 1 to 12, that a window touches in the time zone.

        >>> spec = WindowSpec("1mo", "America/Los_Angeles")
        >>> spec.months_of(spec.window_of(datetime(2013, 4, 4, tzinfo=UTC)))
        (4,)
        """
        zone = ZoneInfo(self.timezone)
        first = window.start.astimezone(zone)
        last = (window.end - timedelta(microseconds=1)).astimezone(zone)
        count = min((last.year - first.year) * 12 + last.month - first.month + 1, 12)
        return tuple((first.month - 1 + step) % 12 + 1 for step in range(count))

    def starts_of(self, times: Sequence[datetime]) -> list[datetime]:
        """Return the start of the window of each moment; runs of moments in one window are cheap."""
        starts: list[datetime] = []
        current: Window | None = None
        for time in times:
            if current is None or not current.start <= time < current.end:
                current = self.window_of(time)
            starts.append(current.start)
        return starts


def _calendar_cut(local: datetime, count: int, unit: str) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """First day of the cut that holds a local time, and first day after it."""
    if unit == "mo":
        months = (local.year * 12 + local.month - 1) // count * count
        return (months // 12, months % 12 + 1, 1), ((months + count) // 12, (months + count) % 12 + 1, 1)
    days = count * (7 if unit == "w" else 1)
    monday = 1 if unit == "w" else 0  # ordinal 1 is a Monday; days are counted from the epoch's own day 0
    ordinal = (local.toordinal() - monday) // days * days + monday
    ordinal = max(ordinal, 1)
    first, after = datetime.fromordinal(ordinal), datetime.fromordinal(ordinal + days)
    return (first.year, first.month, first.day), (after.year, after.month, after.day)
