"""Guess the column of event time, how its times are written, their time zone, and the window to cut them into."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import polars as pl

from driftline.errors import DriftlineError
from driftline.events import WindowSpec
from driftline.guessing.guess import Guess
from driftline.lookalikes import in_quotes
from driftline.profiles.times import (
    Doubt,
    TimeStyle,
    checked_time_format,
    epoch_style,
    numbers_of,
    read_times,
    time_style,
)
from driftline.profiles.usual_names import USUAL_NAMES
from driftline.text.numbers import count

_NAMES = (*USUAL_NAMES["time"], "date_time", "date", "day", "ds", "created_at", "occurred_at")
_WORDS = frozenset(("time", "timestamp", "date", "datetime", "day", "ts", "at", "when"))
_OTHER_WORDS = frozenset(
    (
        "birth",
        "born",
        "dob",
        "due",
        "expiry",
        "expires",
        "updated",
        "modified",
        "closed",
        "end",
        "resolved",
        "label",
        "labelled",
    )
)
"""Words in the names of times that are not those of the event."""

_UNLIKELY = 3
_LEAST_READ = 0.5
_EARLIEST, _LATEST = datetime(1970, 1, 2, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_LENGTHS = {
    "15min": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "1d": timedelta(days=1),
    "1w": timedelta(days=7),
    "1mo": timedelta(days=31),
    "3mo": timedelta(days=92),
    "12mo": timedelta(days=366),
}
"""Lengths of windows, and the longest that each can be."""

_NAMED = 1
_DAYS_FOR_DAYS = 14
_LEAST_ROWS, _LEAST_WINDOWS = 20, 8
_RESTATES = 0.99
_ZONES = (
    "UTC", "America/New_York", "America/Chicago", "America/Denver", "America/Los_Angeles", "America/Sao_Paulo",
    "Europe/London", "Europe/Berlin", "Europe/Helsinki", "Asia/Kolkata", "Asia/Shanghai", "Asia/Tokyo",
    "Australia/Sydney", "Pacific/Auckland",
)  # fmt: skip
"""The first of these whose clocks show all offsets that are written is guessed; there are others."""

_OFFSET = r"([+-])(\d{2}):?(\d{2})\s*$"
_LONGEST_OFFSET = timedelta(hours=14)


class Times(NamedTuple):
    """The column of event time and how it is written, None where there is none, and how time is cut.

    ``aside`` is a column of times that cannot be used, with the reason.
    """

    column: str | None
    time_format: str | None
    style: TimeStyle | None
    window: str
    timezone: str
    aside: dict[str, str]
    guesses: tuple[Guess, ...]


class _Candidate(NamedTuple):
    rank: tuple[int, int, int]
    name: str
    values: pl.Series
    style: TimeStyle | Doubt


def guess_times(rows: pl.DataFrame, column: str | None = None, time_format: str | None = None) -> Times:
    """Guess all that concerns time from rows, shape (n, columns), missing values as null.

    ``column`` and ``time_format`` are what the caller said of it, None to guess.
    """
    names = rows.columns if column is None else [column]
    found = sorted(_candidates(rows, names, time_format, said=column is not None), key=lambda one: one.rank)
    open_order = {one.name: _order(rows[one.name]) for one in found if one.style is Doubt.ORDER}
    usable = [one for one in found if isinstance(one.style, TimeStyle)]
    if not usable:
        return _none(open_order)
    best = usable[0]
    others = [one.name for one in usable[1:] if one.rank[0] < _UNLIKELY]
    by = "as you said" if column is not None else _reason(rows, best, others)
    zone = _zone(rows[best.name], best.values)
    values = best.values.drop_nulls()
    window = _window(values, zone.value or "UTC")
    guesses = [Guess("columns.time", best.name, by)]
    format_of = time_format or _format(rows[best.name], best.style)
    if format_of is not None:
        reason = "as you said" if time_format else "as most of its values are written"
        guesses.append(Guess("columns.time_format", format_of, reason))
    guesses += [window, zone]
    assert isinstance(best.style, TimeStyle)
    return Times(best.name, format_of, best.style, window.value, zone.value or "UTC", open_order, tuple(guesses))


def _none(open_order: dict[str, str]) -> Times:
    reason = "no column holds times; without one, an event's time is its arrival, and nothing can be back-tested"
    if open_order:
        name, reason = next(iter(open_order.items()))
        reason = f"{in_quotes(name)} {reason}: take it with time_format"
    guesses = (
        Guess("columns.time", None, reason),
        Guess("window", None, "no time to see the spacing of"),
        Guess("timezone", None, "no time to see the offset of"),
    )
    return Times(None, None, None, "1d", "UTC", open_order, guesses)


def _order(texts: pl.Series) -> str:
    return f"can be day first or month first, such as {in_quotes(texts.drop_nulls()[0])}, and no value tells which"


# ---- which column ------------------------------------------------------------------------------------------


def _candidates(
    rows: pl.DataFrame, names: Iterable[str], time_format: str | None, *, said: bool
) -> Iterable[_Candidate]:
    for place, name in enumerate(names):
        values = rows[name]
        if values.dtype in (pl.Categorical, pl.Enum):
            values = values.cast(pl.String)
        style = _style(values, name, time_format, said=said)
        if style is Doubt.ORDER:
            yield _Candidate((_rank(name), 0, place), name, values, style)
        if not isinstance(style, TimeStyle):
            continue
        read = read_times(values, style)
        there = read.drop_nulls()
        plausible = there.filter(there.is_between(_EARLIEST, _LATEST))
        if len(plausible) > _LEAST_READ * values.len() and (said or plausible.n_unique() > 1):
            yield _Candidate((_rank(name), -min(plausible.n_unique(), 100), place), name, read, style)


def _style(values: pl.Series, name: str, time_format: str | None, *, said: bool) -> TimeStyle | Doubt:
    """How a column's times are written; numbers count as times only where their name says so."""
    if not values.count():
        return Doubt.NO_TIMES
    if values.dtype in (pl.Date, pl.Datetime):
        return TimeStyle("year")
    if time_format is not None and said:
        return TimeStyle("format", checked_time_format(time_format) or "")
    named = said or _plain(name) in _NAMES
    if values.dtype == pl.String and (numbers := numbers_of(values)) is None:
        return time_style([values], plain=not named and _rank(name) > _NAMED)
    if values.dtype == pl.String:
        return epoch_style([numbers]) if named and numbers is not None else Doubt.NO_TIMES
    if values.dtype.is_numeric() and not values.dtype.is_decimal() and (named or _plain(name) == "year"):
        style = epoch_style([values])
        return style if named or style.name == "key" else Doubt.NO_TIMES
    return Doubt.NO_TIMES


def _plain(name: str) -> str:
    return name.strip().lower()


def _words(name: str) -> set[str]:
    return {word.lower() for word in re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)}


def _rank(name: str) -> int:
    """How well a name fits the time of an event, 0 the best."""
    if _plain(name) in _NAMES:
        return 0
    words = _words(name)
    if words & _OTHER_WORDS or _plain(name) == "year":
        return _UNLIKELY
    return _NAMED if words & _WORDS else 2


def _reason(rows: pl.DataFrame, best: _Candidate, others: list[str]) -> str:
    kind = "holds times" if rows[best.name].dtype in (pl.Date, pl.Datetime) else "holds values that read as times"
    by = f"{kind}, and is named for it" if _rank(best.name) <= _NAMED else kind
    return f"{by}; so could {', '.join(map(in_quotes, others[:3]))}" if others else by


def _format(values: pl.Series, style: TimeStyle | Doubt) -> str | None:
    """The format to state, where it is certain: plain numeric dates whose order of day and month is not obvious."""
    if not isinstance(style, TimeStyle):
        return None
    if style.name == "key":
        return style.format
    if style.name not in ("day", "month") or values.dtype != pl.String:
        return None
    first = values.drop_nulls().head(1000)
    date = ("%d", "%m") if style.name == "day" else ("%m", "%d")
    for sign in "/.-":
        for year in ("%Y", "%y"):
            for clock in ("", " %H:%M", " %H:%M:%S", "T%H:%M:%S"):
                pattern = f"{date[0]}{sign}{date[1]}{sign}{year}{clock}"
                if _reads_all(first, pattern):
                    return pattern
    return None


def _reads_all(texts: pl.Series, pattern: str) -> bool:
    try:
        read = read_times(texts, TimeStyle("format", checked_time_format(pattern) or ""))
    except (DriftlineError, pl.exceptions.PolarsError):
        return False
    return read.null_count() == 0 and bool(read.dt.year().is_between(1970, 2200).all())


# ---- columns that restate it --------------------------------------------------------------------------------


def restated(rows: pl.DataFrame, names: Iterable[str], column: str, style: TimeStyle) -> dict[str, str]:
    """Return the columns, of those with these names, that only restate the time: its year, month, day or hour.

    As inputs they would always drift, as each window has its own.
    """
    times = read_times(rows[column], style)
    if isinstance(rows[column].dtype, pl.Datetime):  # parts of a clock are those of the clock that is written
        times = rows[column].cast(pl.Datetime("us"), strict=False).dt.replace_time_zone(None)
    parts = {
        "year": times.dt.year(),
        "month": times.dt.month(),
        "day of the month": times.dt.day(),
        "hour": times.dt.hour(),
        "day of the year": times.dt.ordinal_day(),
    }
    found = {}
    for name in names:
        values = rows[name]
        if values.dtype.is_integer():
            same = next((words for words, part in parts.items() if _is_shifted(values, part)), None)
        else:
            same = "date" if _is_date_of(values, times) else None
        if same is not None:
            found[name] = f"restates the {same} of {in_quotes(column)}, and would always drift"
    return found


def _is_shifted(values: pl.Series, part: pl.Series) -> bool:
    """Tell whether whole numbers are the part of a time, or the part less a constant, such as a first year."""
    pairs = pl.DataFrame({"value": values.cast(pl.Int64, strict=False), "part": part.cast(pl.Int64)}).drop_nulls()
    if pairs.height < _LEAST_ROWS or pairs["part"].n_unique() <= 1:
        return False
    apart = pairs["value"] - pairs["part"]
    usual = apart.median()
    return isinstance(usual, float) and float((apart == usual).mean() or 0) >= _RESTATES  # type: ignore[arg-type]


def _is_date_of(values: pl.Series, times: pl.Series) -> bool:
    style = _style(values, values.name, None, said=False)
    if not isinstance(style, TimeStyle) or values.dtype not in (pl.String, pl.Date, pl.Datetime):
        return False
    days = pl.DataFrame({"value": read_times(values, style).dt.date(), "time": times.dt.date()}).drop_nulls()
    return days.height >= _LEAST_ROWS and float((days["value"] == days["time"]).mean() or 0) >= _RESTATES  # type: ignore[arg-type]


# ---- zone and window ---------------------------------------------------------------------------------------


def _zone(values: pl.Series, times: pl.Series) -> Guess:
    key = "timezone"
    zone = values.dtype.time_zone if isinstance(values.dtype, pl.Datetime) else None
    if zone is not None and _is_known(zone):
        return Guess(key, "UTC" if zone in ("Etc/UTC", "Zulu", "GMT") else zone, "the zone of the column's type")
    if values.dtype != pl.String:
        return Guess(key, None, "its times state no offset and are taken for UTC; days begin at midnight of this zone")
    parts = pl.DataFrame({"text": values, "time": times}).drop_nulls()
    parts = parts.with_columns(pl.col("text").str.extract_groups(_OFFSET).alias("offset")).unnest("offset").drop_nulls()
    if not parts.height:
        utc = bool(values.drop_nulls().head(1000).str.contains(r"(?i)\d\s*(Z|UTC|GMT)\s*$").mean() or 0)
        reason = "its times say so" if utc else "its times state no offset and are taken for UTC"
        return Guess(key, "UTC" if utc else None, reason)
    minutes = pl.col("2").cast(pl.Int32) * 60 + pl.col("3").cast(pl.Int32)
    signed = pl.when(pl.col("1") == "-").then(-minutes).otherwise(minutes).alias("minutes")
    days = parts.select("time", signed).unique(pl.col("time").dt.date()).sort("time")
    return _zone_of(days["time"].to_list(), [timedelta(minutes=one) for one in days["minutes"].to_list()])


def _zone_of(times: list[datetime], offsets: list[timedelta]) -> Guess:
    shown = sorted(set(offsets))
    words = " and ".join(map(_offset, shown))
    for name in _ZONES:
        zone = ZoneInfo(name)
        if all(time.astimezone(zone).utcoffset() == offset for time, offset in zip(times, offsets, strict=True)):
            return Guess("timezone", name, f"its clocks show the offsets that are written, {words}; others may, too")
    only = shown[0]
    if len(shown) == 1 and only % timedelta(hours=1) == timedelta(0) and abs(only) < _LONGEST_OFFSET:
        hours = only // timedelta(hours=1)
        return Guess(
            "timezone", f"Etc/GMT{'-' if hours > 0 else '+'}{abs(hours)}", f"the offset that is written, {words}"
        )
    return Guess(
        "timezone", None, f"the offsets {words} are of no zone that is usual; name yours, such as Europe/Berlin"
    )


def _offset(offset: timedelta) -> str:
    minutes = abs(offset) // timedelta(minutes=1)
    return f"{'-' if offset < timedelta(0) else '+'}{minutes // 60:02}:{minutes % 60:02}"


def _is_known(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _window(times: pl.Series, zone: str) -> Guess:
    """The shortest window that is no shorter than the time between rows, holds enough of them, and comes often enough.

    Windows are days or longer unless the file has few days.
    """
    first, last = times.min(), times.max()
    assert isinstance(first, datetime)
    assert isinstance(last, datetime)
    few_days = (last - first) < timedelta(days=_DAYS_FOR_DAYS)
    gap = times.unique().sort().diff().median()
    spacing = gap if isinstance(gap, timedelta) else timedelta(0)
    lengths = [
        length for length, least in _LENGTHS.items() if spacing <= least and (few_days or least >= timedelta(days=1))
    ]
    lengths = lengths or [[*_LENGTHS][-1]]
    shown = lengths[0]
    for length in lengths:
        windows, usual = _windows(times, length, zone)
        if windows < _LEAST_WINDOWS:
            break
        shown = length
        if usual >= _LEAST_ROWS:
            break
    windows, usual = _windows(times, shown, zone)
    counted = "1 window" if windows == 1 else f"{count(windows)} windows"
    return Guess("window", shown, f"{counted}, usually of {'1 row' if usual == 1 else f'{count(usual)} rows'}")


def _windows(times: pl.Series, length: str, zone: str) -> tuple[int, int]:
    """Return how many windows of a length have rows, and the median of their rows."""
    WindowSpec(length, zone)  # what the service would refuse
    sizes = times.dt.convert_time_zone(zone).dt.truncate(length.replace("min", "m")).value_counts()["count"]
    return len(sizes), int(sizes.median() or 0)  # type: ignore[arg-type]
