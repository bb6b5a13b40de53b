"""Count rows by day: rows a day, gaps, and placeholder dates that stand for an unknown time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from datetime import date, timedelta

import msgspec

from driftline.text.numbers import numbers

_VOLUME_RATIO = 2.0
_GAP_SHARE, _GAP_LEAST, _GAP_RATIO = 0.05, timedelta(days=7), 2.5
_FIRST, _LAST = date.min.year, date.max.year
_STAND_INS = frozenset(
    {
        date(1753, 1, 1),  # the earliest datetime of SQL Server
        date(1899, 12, 30),
        date(1899, 12, 31),
        date(1900, 1, 1),
        date(1901, 1, 1),
        date(1969, 12, 31),
        date(1970, 1, 1),  # the epoch in UTC; the day before is the epoch west of it
        date(2099, 12, 31),
        date(2100, 1, 1),
        date(2199, 12, 31),
        date(2262, 4, 11),  # the latest time in 64 bits of nanoseconds
        date(2999, 12, 31),
    }
)
_DAY, _APART = timedelta(days=1), timedelta(days=365)
_FAR, _FEW = timedelta(days=36_525), 0.05
_TOLD = 3


class Days(msgspec.Struct, frozen=True):
    """The rows of a side by their day in UTC: ``usual`` days, and outlying days, ``apart``.

    Apart are placeholder dates (such as 9999-12-31, 0001-01-01 and 1970-01-01) that lie a year or more from any usual
    day, and, where few rows have them, days more than a century from the median one.
    """

    usual: Mapping[date, int]
    apart: Mapping[date, int]

    @classmethod
    def of(cls, rows: Mapping[date, int]) -> Days:
        """Split the days of some rows; where all are placeholders, all count as usual.

        >>> Days.of({date(2024, 1, 1): 5, date(2024, 1, 2): 4, date(9999, 12, 31): 3}).apart
        {datetime.date(9999, 12, 31): 3}
        >>> Days.of({date(1970, 1, 1): 5, date(1970, 1, 2): 5}).apart, Days.of({date(9999, 12, 31): 3}).apart
        ({}, {})
        """
        usual = [day for day in sorted(rows) if not _stands_in(day)]
        if not usual:
            return cls(rows, {})
        middle, first, last = usual[len(usual) // 2], usual[0], usual[-1]
        far = [day for day in usual if abs(day - middle) > _FAR]
        if sum(rows[day] for day in far) < _FEW * sum(rows.values()):
            usual = [day for day in usual if abs(day - middle) <= _FAR]
            first, last = usual[0], usual[-1]
        apart = {
            day: count
            for day, count in sorted(rows.items())
            if not first <= day <= last and (not _stands_in(day) or min(abs(day - first), abs(day - last)) >= _APART)
        }
        return cls({day: count for day, count in rows.items() if day not in apart}, apart)

    @property
    def rows_a_day(self) -> float | None:
        """The mean number of rows a day from the first usual day to the last; None for fewer than two days."""
        days = self.usual
        return sum(days.values()) / (max(days) - min(days)).days if len(days) > 1 else None

    @property
    def gap(self) -> tuple[date, date] | None:
        """The longest run of days without rows, if it is much longer than the usual one; else None."""
        days = sorted(self.usual)
        steps = sorted(itertools.pairwise(days), key=lambda ends: ends[1] - ends[0])
        if not steps:
            return None
        longest, usual = steps[-1], steps[len(steps) // 2]
        least = max(_GAP_SHARE * (days[-1] - days[0]), _GAP_LEAST, _GAP_RATIO * (usual[1] - usual[0]))
        return longest if longest[1] - longest[0] > least else None


def _stands_in(day: date) -> bool:
    return day in _STAND_INS or day.year in (_FIRST, _LAST)


def told_of_days(before: Mapping[date, int], now: Mapping[date, int]) -> list[str]:
    """Return notes on the days of both sides: rows a day that changed by a factor of 2, gaps, outlying days."""
    notes = []
    sides = {"the reference has": Days.of(before), "the current rows have": Days.of(now)}
    was, became = (side.rows_a_day for side in sides.values())
    if was is not None and became is not None and not 1 / _VOLUME_RATIO < became / was < _VOLUME_RATIO:
        notes.append(f"rows a day: {' → '.join(numbers(was, became))}")
    for words, days in sides.items():
        if (gap := days.gap) is not None:
            notes.append(f"{words} a gap of {(gap[1] - gap[0]).days} days, from {gap[0]} to {gap[1]}")
        if days.apart:
            notes.append(f"{words} {_counted(days.apart)}, far from all others: no gap, and no part of rows a day")
    return notes


def _counted(days: Mapping[date, int]) -> str:
    """Say how many rows some days have, those with the most rows first."""
    fullest = sorted(days, key=lambda day: (-days[day], day))[:_TOLD]
    counted = [f"{days[day]:,} row{'s' if days[day] > 1 else ''} on {day}" for day in fullest]
    more = len(days) - len(fullest)
    return ", ".join(counted) + (f" and others on {more:,} more day{'s' if more > 1 else ''}" if more else "")


def told_of_season(before: Mapping[date, int], now: Mapping[date, int]) -> list[str]:
    """Return, for sides whose inputs differ, that it may be by season: not where both have a year, or the same time.

    Sides without times may be of any time.

    >>> told_of_season({date(2026, 1, 5): 10}, {date(2026, 1, 10): 10})  # doctest: +NORMALIZE_WHITESPACE
    ['two files cannot know a season: what drifted may be the weekday or the time of year (2026-01-05 to 2026-01-05
    against 2026-01-10 to 2026-01-10); driftline backtest learns the weekdays of a history']
    >>> told_of_season({date(2026, 1, 5): 10}, {date(2026, 1, 5): 10})
    []
    """
    spans = [(min(days), max(days)) for days in (Days.of(before).usual, Days.of(now).usual) if days]
    when = ""
    if len(spans) == 2:
        lengths = [last - first + _DAY for first, last in spans]
        common = min(last for _, last in spans) - max(first for first, _ in spans) + _DAY
        if min(lengths) >= _APART or 2 * common >= min(lengths):
            return []
        when = f" ({' against '.join(f'{first} to {last}' for first, last in spans)})"
    told = f"two files cannot know a season: what drifted may be the weekday or the time of year{when}"
    return [f"{told}; driftline backtest learns the weekdays of a history"]
