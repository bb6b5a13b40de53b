"""Reads the times of events by the model's ``time_format``, as those of its reference are read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import polars as pl

from driftline.events import TimesRead
from driftline.profiles.times import TimeStyle, read_times

_KINDS = (str, int, float)
_LONGEST, _LARGEST = 100, 1e20
"""Longer texts and larger numbers are no times, and are not parsed."""

_FIRST, _LAST = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)


def times_read(rows: Sequence[Any], time_format: str | None) -> TimesRead:
    """Read the ``time`` of decoded rows by a format, all at once; what is not written so is left to the parser.

    >>> read = times_read([{"time": "31/01/2024"}, {"time": "2024-01-31"}, "no row"], "%d/%m/%Y")
    >>> {came: moment.isoformat() for came, moment in read.moments.items()}
    {'31/01/2024': '2024-01-31T00:00:00+00:00'}
    """
    if time_format is None:
        return TimesRead()
    return read_by_format((row["time"] for row in rows if isinstance(row, dict) and "time" in row), time_format)


def read_by_format(values: Iterable[Any], time_format: str) -> TimesRead:
    """Read times as they came by a format, each different one once."""
    came: dict[str | float, None] = dict.fromkeys(time for time in values if type(time) in _KINDS)
    texts = [one for one in came if isinstance(one, str) and len(one) <= _LONGEST and one.isprintable()]
    numbers = [one for one in came if not isinstance(one, str) and abs(one) <= _LARGEST]  # NaN is not
    columns: list[tuple[Sequence[str | float], pl.Series]] = [
        (texts, pl.Series(texts, dtype=pl.String)),
        (numbers, pl.Series([float(one) for one in numbers], dtype=pl.Float64)),
    ]
    moments: dict[str | float, datetime] = {}
    for some, column in columns:
        read = read_times(column, TimeStyle("format", time_format))
        of_calendar = read.is_between(_FIRST, _LAST).fill_null(False)
        kept = [value for value, there in zip(some, of_calendar, strict=True) if there]
        moments |= dict(zip(kept, read.filter(of_calendar).to_list(), strict=True))
    return TimesRead(moments, time_format)
