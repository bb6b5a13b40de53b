"""Write times, days and spans of time for people; the time zone is named wherever it could be misread.

There are two formats. In a terminal, a message and a log they are `moment`, `day_or_moment` and `span`:
``2013-04-04 05:00 PDT``, which sorts and can be copied into a command. On a page they are `page_moment` and
`page_span`: ``4 Apr 2013, 05:00 PDT``, which is easiest to read. Names of months are English in every locale.

A zone is a name of the IANA database, or a `tzinfo`. Wall-clock times are in UTC unless a zone is given; event times
are in the model's zone.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, tzinfo
from zoneinfo import ZoneInfo

from driftline.errors import UsageError

_FIRST_YEAR, _LAST_YEAR = 1900, 9998

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")

Zone = str | tzinfo


def moment(time: datetime, zone: Zone = "UTC") -> str:
    """Write a time to the minute.

    >>> from datetime import UTC
    >>> time = datetime(2026, 1, 31, 23, tzinfo=UTC)
    >>> moment(time), moment(time, "Europe/Berlin")
    ('2026-01-31 23:00 UTC', '2026-02-01 00:00 CET')
    """
    local = _local(time, zone)
    return f"{local:%Y-%m-%d %H:%M} {_zone_name(local)}"


def given_moment(name: str, time: datetime) -> datetime:
    """Check a moment that a user gave, and return it in UTC; ``name`` is for messages.

    Raises `UsageError` for one without a time zone, and for one outside of the years 1900 to 9998, which not every
    database and time zone can represent.

    >>> given_moment("since", datetime.fromisoformat("2026-01-31T23:00+01:00")).isoformat()
    '2026-01-31T22:00:00+00:00'
    """
    if time.tzinfo is None:
        raise UsageError(f"{name} came without a time zone; add one, such as 'Z' for UTC")
    try:
        found = time.astimezone(UTC)
    except OverflowError:
        found = time.replace(year=1, tzinfo=UTC)
    if not _FIRST_YEAR <= found.year <= _LAST_YEAR:
        came = f"{name} came as {time.isoformat()}"
        raise UsageError(f"{came}; allowed are the years {_FIRST_YEAR} to {_LAST_YEAR}")
    return found


def read_moment(name: str, text: str, zone: Zone = "UTC") -> datetime:
    """Read a day or a time as people write it, and return it in UTC; ``zone`` is for texts that name none.

    Raises `UsageError` for anything else, and where `given_moment` does.

    >>> read_moment("--since", "2026-02-01", "Europe/Berlin").isoformat()
    '2026-01-31T23:00:00+00:00'
    """
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        reason = f"{name} {text!r} came; allowed is a day or a time, such as 2026-03-01T12:00Z"
        raise UsageError(reason) from None
    return given_moment(name, found if found.tzinfo is not None else found.replace(tzinfo=_zone(zone)))


def day(time: datetime, zone: Zone = "UTC") -> str:
    """Write the calendar day of a time.

    >>> from datetime import UTC
    >>> day(datetime(2026, 1, 31, 23, tzinfo=UTC), "Europe/Berlin")
    '2026-02-01'
    """
    return f"{_local(time, zone):%Y-%m-%d}"


def day_or_moment(time: datetime, zone: Zone = "UTC") -> str:
    """Write an event time; at midnight only the day.

    >>> from datetime import UTC
    >>> time = datetime(2026, 1, 31, 23, tzinfo=UTC)
    >>> day_or_moment(time, "Europe/Berlin"), day_or_moment(time)
    ('2026-02-01', '2026-01-31 23:00 UTC')
    """
    return day(time, zone) if _is_midnight(_local(time, zone)) else moment(time, zone)


def span(start: datetime, end: datetime, zone: str = "UTC") -> str:
    """Write a half-open span of event time: as days where it begins and ends at midnight, else with the times of day.

    >>> from datetime import UTC
    >>> noon = datetime(2026, 1, 31, 12, tzinfo=UTC)
    >>> span(noon, noon + timedelta(hours=1)), span(noon, noon + timedelta(hours=1), "Europe/Berlin")
    ('2026-01-31 12:00 to 13:00 UTC', '2026-01-31 13:00 to 14:00 CET')
    >>> midnight = datetime(2026, 1, 31, 8, tzinfo=UTC)
    >>> span(midnight, midnight + timedelta(days=1), "America/Los_Angeles")
    '2026-01-31 to 2026-02-01 (America/Los_Angeles)'
    """
    first, after = _local(start, zone), _local(end, zone)
    if _is_midnight(first) and _is_midnight(after):
        return f"{first:%Y-%m-%d} to {after:%Y-%m-%d}" + ("" if zone == "UTC" else f" ({zone})")
    same_day, same_name = first.date() == after.date(), _zone_name(first) == _zone_name(after)
    until = f"{after:%H:%M}" if same_day else f"{after:%Y-%m-%d %H:%M}"
    return f"{first:%Y-%m-%d %H:%M}{'' if same_name else ' ' + _zone_name(first)} to {until} {_zone_name(after)}"


def clock_time(time: datetime) -> str:
    """Write the time of day to the second, for a log.

    >>> clock_time(datetime(2026, 1, 31, 23, 5, 9))
    '23:05:09'
    """
    return f"{time:%H:%M:%S}"


def hour_of_day(time: datetime, zone: Zone = "UTC") -> str:
    """Write the time of day to the minute.

    >>> from datetime import UTC
    >>> hour_of_day(datetime(2026, 1, 31, 13, tzinfo=UTC), "Europe/Berlin")
    '14:00'
    """
    return f"{_local(time, zone):%H:%M}"


def page_day(local: datetime) -> str:
    """Write a calendar day for a page.

    >>> page_day(datetime(2013, 4, 4))
    '4 Apr 2013'
    """
    return f"{local.day} {MONTHS[local.month - 1]} {local.year}"


def page_moment(time: datetime | None, zone: Zone) -> str:
    """Write a time to the minute for a page; a dash for None.

    >>> from datetime import UTC
    >>> page_moment(datetime(2013, 4, 4, 12, tzinfo=UTC), "America/Los_Angeles"), page_moment(None, "UTC")
    ('4 Apr 2013, 05:00 PDT', '–')
    """
    if time is None:
        return "–"
    local = _local(time, zone)
    return f"{page_day(local)}, {local:%H:%M} {_zone_name(local)}"


def page_span(start: datetime, end: datetime, zone: Zone) -> str:
    """Write a half-open span of event time for a page, as short as its ends allow; days up to and with the last one.

    The zone is left out: the page names it once.

    >>> la = ZoneInfo("America/Los_Angeles")
    >>> def shown(*ends): return page_span(*(datetime(*end, tzinfo=la) for end in ends), la)
    >>> shown((2013, 4, 1), (2013, 5, 1)), shown((2013, 4, 4), (2013, 4, 5)), shown((2013, 4, 1), (2013, 4, 8))
    ('Apr 2013', '4 Apr 2013', '1 Apr to 7 Apr 2013')
    >>> shown((2013, 4, 1), (2013, 7, 1)), shown((2013, 4, 4, 10), (2013, 4, 4, 11))
    ('Apr to Jun 2013', '4 Apr 2013, 10:00 to 11:00')
    """
    first, after = _local(start, zone), _local(end, zone)
    if not (_is_midnight(first) and _is_midnight(after)):
        until = f"{after:%H:%M}" if first.date() == after.date() else f"{page_day(after)}, {after:%H:%M}"
        return f"{page_day(first)}, {first:%H:%M} to {until}"
    last = after - timedelta(days=1)
    if first.date() == last.date():
        return page_day(first)
    if first.day == 1 and after.day == 1:
        if (first.year, first.month) == (last.year, last.month):
            return f"{MONTHS[first.month - 1]} {first.year}"
        return _joined(first, MONTHS[first.month - 1], last, MONTHS[last.month - 1])
    return _joined(first, f"{first.day} {MONTHS[first.month - 1]}", last, f"{last.day} {MONTHS[last.month - 1]}")


def axis_moment(local: datetime) -> str:
    """Write a time for the axis of a chart, without the year.

    >>> axis_moment(datetime(2013, 4, 4, 5))
    '4 Apr 05:00'
    """
    return f"{local.day} {MONTHS[local.month - 1]} {local:%H:%M}"


def _joined(first: datetime, one: str, last: datetime, other: str) -> str:
    year = "" if first.year == last.year else f" {first.year}"
    return f"{one}{year} to {other} {last.year}"


def _local(time: datetime, zone: Zone) -> datetime:
    return time.astimezone(_zone(zone))


def _zone(zone: Zone) -> tzinfo:
    return ZoneInfo(zone) if isinstance(zone, str) else zone


def _is_midnight(local: datetime) -> bool:
    return (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0)


def _zone_name(local: datetime) -> str:
    """Return the abbreviation of the zone at that time; its offset from UTC where it has none."""
    name = local.tzname() or "UTC"
    return name if name.isalpha() else f"UTC{name}"
