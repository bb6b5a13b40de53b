"""Times of events: RFC 3339, and numbers that tell by their size what they count since 1970, or that are date keys."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import msgspec

SECONDS_BELOW, MILLISECONDS_BELOW, MICROSECONDS_BELOW = 10**11, 10**14, 10**17
"""Seconds are below the year 5138; as milliseconds the same number is in March 1973, and so on for smaller units."""

KEYS = {8: "%Y%m%d", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S"}
"""Date keys by how many digits they have: 20240131 would be a day of August 1970."""

FIRST_KEY_YEAR, LAST_KEY_YEAR = 1900, 2199

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DIGITS = re.compile(r"\s*-?\d+(\.\d+)?\s*")


def moment_of_number(number: float) -> datetime:
    """Return the moment of a number, in UTC; raise `ValueError` or `OverflowError` for one that is none.

    >>> [moment_of_number(n).isoformat() for n in (1704067200, 1704067200000, 1704067200.5, 20240131)]
    ['2024-01-01T00:00:00+00:00', '2024-01-01T00:00:00+00:00', '2024-01-01T00:00:00.500000+00:00', \
'2024-01-31T00:00:00+00:00']
    """
    if (key := _date_key(number)) is not None:
        return key
    size = abs(number)
    if size < SECONDS_BELOW:
        micros = round(number * 1_000_000)
    elif size < MILLISECONDS_BELOW:
        micros = round(number * 1_000)
    elif size < MICROSECONDS_BELOW:
        micros = int(number)
    else:
        micros = int(number) // 1_000
    return _EPOCH + timedelta(microseconds=micros)


def _date_key(number: float) -> datetime | None:
    if number != int(number):
        return None
    digits = str(int(number))
    pattern = KEYS.get(len(digits))
    if pattern is None or not FIRST_KEY_YEAR <= int(digits[:4]) <= LAST_KEY_YEAR:
        return None
    try:
        return datetime.strptime(digits, pattern).replace(tzinfo=UTC)
    except ValueError:
        return None


def moment_of_text(text: str) -> datetime:
    """Return the moment of a text in RFC 3339 or ISO 8601, or of digits; without a zone where it has none.

    >>> moment_of_text("2024-01-31T12:00:00+0530").isoformat(), moment_of_text("1704067200000").isoformat()
    ('2024-01-31T12:00:00+05:30', '2024-01-01T00:00:00+00:00')
    """
    try:
        return msgspec.convert(text, datetime)
    except msgspec.ValidationError:
        return moment_of_number(float(text)) if _DIGITS.fullmatch(text) else datetime.fromisoformat(text.strip())
