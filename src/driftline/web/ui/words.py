"""How times, spans and numbers are written on the page. English, whatever the locale of the process."""

from __future__ import annotations

import math
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from driftline.text import MONTHS

NOTHING = "–"


def number(value: float | None) -> str:
    """Four digits that matter, or a dash.

    >>> number(0.76667), number(0.3), number(12345.678), number(1.5e-7), number(None)
    ('0.7667', '0.3', '12,346', '1.5e-07', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if 1e4 <= abs(value) < 1e9:
        return f"{value:,.0f}"
    return f"{value:.4g}"


def number_beside(value: float | None, other: float) -> str:
    """A number as `number` has it; with every digit where it would look like the other one, and is another.

    >>> number_beside(0.74999, 0.75), number_beside(0.75, 0.75), number_beside(0.7412, 0.75), number_beside(None, 0.75)
    ('0.74999', '0.75', '0.7412', '–')
    """
    return (
        repr(float(value)) if value is not None and value != other and number(value) == number(other) else number(value)
    )


def share(value: float | None) -> str:
    """A ratio as a percentage; never 0 % or 100 % for what is only near it.

    >>> share(0.5), share(1), share(0.9999), share(0.0001), share(0.0123), share(None)
    ('50 %', '100 %', '> 99.9 %', '< 0.1 %', '1.2 %', '–')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if 0 < value < 0.001:
        return "< 0.1 %"
    if 0.999 < value < 1:
        return "> 99.9 %"
    return f"{100 * value:.3g} %" if value >= 0.1 else f"{100 * value:.2g} %"


def chance(p_value: float) -> str:
    """A p-value, as exactly as anybody should read it.

    >>> chance(2e-8), chance(0.9153), chance(0.0412), chance(1.0)
    ('p < 0.001', 'p = 0.92', 'p = 0.041', 'p = 1')
    """
    return "p < 0.001" if p_value < 0.001 else f"p = {p_value:.2g}"


def count(value: int) -> str:
    """A whole number with separators.

    >>> count(1234567)
    '1,234,567'
    """
    return f"{value:,}"


def day(local: datetime) -> str:
    """A calendar day.

    >>> day(datetime(2013, 4, 4))
    '4 Apr 2013'
    """
    return f"{local.day} {MONTHS[local.month - 1]} {local.year}"


def moment(time: datetime, zone: ZoneInfo) -> str:
    """A moment in a zone, with the zone's name at that moment.

    >>> from datetime import UTC
    >>> moment(datetime(2013, 4, 4, 12, tzinfo=UTC), ZoneInfo("America/Los_Angeles"))
    '4 Apr 2013, 05:00 PDT'
    """
    local = time.astimezone(zone)
    return f"{day(local)}, {local:%H:%M} {local.tzname()}"


def span(start: datetime, end: datetime, zone: ZoneInfo) -> str:
    """A half-open span of event time, as short as its ends allow; the last day is named, not the one after it.

    >>> la = ZoneInfo("America/Los_Angeles")
    >>> def shown(*ends): return span(*(datetime(*end, tzinfo=la) for end in ends), la)
    >>> shown((2013, 4, 1), (2013, 5, 1)), shown((2013, 4, 4), (2013, 4, 5)), shown((2013, 4, 1), (2013, 4, 8))
    ('Apr 2013', '4 Apr 2013', '1 Apr to 7 Apr 2013')
    >>> shown((2013, 4, 1), (2013, 7, 1)), shown((2013, 4, 4, 10), (2013, 4, 4, 11))
    ('Apr to Jun 2013', '4 Apr 2013, 10:00 to 11:00')
    """
    first, after = start.astimezone(zone), end.astimezone(zone)
    if (first.hour, first.minute, first.second) != (0, 0, 0) or (after.hour, after.minute, after.second) != (
        0,
        0,
        0,
    ):
        until = f"{after:%H:%M}" if first.date() == after.date() else f"{day(after)}, {after:%H:%M}"
        return f"{day(first)}, {first:%H:%M} to {until}"
    last = after - timedelta(days=1)
    if first.date() == last.date():
        return day(first)
    if first.day == 1 and after.day == 1:
        ends = [(one, f"{MONTHS[one.month - 1]}") for one in (first, last)]
        if (first.year, first.month) == (last.year, last.month):
            return f"{ends[0][1]} {first.year}"
        return _joined(first, ends[0][1], last, ends[1][1])
    return _joined(first, f"{first.day} {MONTHS[first.month - 1]}", last, f"{last.day} {MONTHS[last.month - 1]}")


def _joined(first: datetime, one: str, last: datetime, other: str) -> str:
    year = "" if first.year == last.year else f" {first.year}"
    return f"{one}{year} to {other} {last.year}"


def duration(length: timedelta) -> str:
    """A length of time in its largest whole units.

    >>> duration(timedelta(days=7)), duration(timedelta(hours=36)), duration(timedelta(minutes=1))
    ('7 days', '36 hours', '1 minute')
    """
    seconds = int(length.total_seconds())
    for unit, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds and seconds % unit == 0:
            return f"{seconds // unit} {name}{'s' if seconds > unit else ''}"
    return f"{seconds} seconds"


def from_to(low: float, high: float) -> str:
    """Two ends.

    >>> from_to(0.1666, 0.5)
    '0.1666 to 0.5'
    """
    return f"{number(low)} to {number(high)}"


def moment_or_dash(time: datetime | None, zone: ZoneInfo) -> str:
    """A moment, or a dash where there is none."""
    return NOTHING if time is None else moment(time, zone)
