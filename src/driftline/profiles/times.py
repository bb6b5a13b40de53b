"""Read times, however they are written: epochs of any unit, date keys, ISO, day or month first, names of months.

The size of a number gives its unit. The order of day and month in a text only follows from the other texts of its
column: `time_style` looks at them, and says if they leave it open.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import polars as pl

from driftline.errors import UsageError
from driftline.events.moments import (
    FIRST_KEY_YEAR,
    KEYS,
    LAST_KEY_YEAR,
    MICROSECONDS_BELOW,
    MILLISECONDS_BELOW,
    SECONDS_BELOW,
)
from driftline.text.digits import with_plain_digits

FARTHEST_US = 8 * 10**18
"""250,000 years from 1970, beyond which Polars has no calendar."""

UNITS = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": None}
"""Units of numbers, and the microseconds in each; None for a nanosecond, which is a thousandth of one."""

_FARTHEST = 1e20  # more nanoseconds than any calendar has

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NAME = "(?P<month>(?i:jan|feb|mar|apr|may|jun|jul|aug|sept?|oct|nov|dec)[a-z]*)"
_WEEKDAY = r"(?:(?i:mon|tue|wed|thu|fri|sat|sun)[a-z]*\.?,?\s+)?"
_CLOCK = (
    r"(?:(?:[T ,:]|\s)\s*(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9})\d*)?)?"
    r"\s*(?P<half>(?i:[ap]\.?m\.?))?)?"
)
_ZONE = r"\s*(?P<zone>(?i:Z|UTC|GMT)|[+-]\d{2}(?::?\d{2})?)?"
_SPECIAL = {
    "year": r"(?P<year>\d{4})[-/.](?P<month>\d{1,2})[-/.](?P<day>\d{1,2})",
    "year month": r"(?P<year>\d{4})-(?P<month>\d{2})(?P<day>)",
    "compact": r"(?P<year>\d{4})(?P<month>\d{2})(?P<day>\d{2})",
    "named": rf"{_WEEKDAY}(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[-/ .]*{_NAME}[-/ .,]*(?P<year>\d{{4}}|\d{{2}})",
    "name first": rf"{_WEEKDAY}{_NAME}[-/ .]*(?P<day>\d{{1,2}})(?:st|nd|rd|th)?[-/ .,]+(?P<year>\d{{4}}|\d{{2}})",
    "day": r"(?P<day>\d{1,2})[-/.](?P<month>\d{1,2})[-/.](?P<year>\d{4}|\d{2})",
    "month": r"(?P<month>\d{1,2})[-/.](?P<day>\d{1,2})[-/.](?P<year>\d{4}|\d{2})",
}
_COMPACT_CLOCK = (
    r"(?:[T ]?(?P<hour>\d{2}):?(?P<minute>\d{2})(?::?(?P<second>\d{2})(?:[.,](?P<fraction>\d{1,9})\d*)?)?(?P<half>)?)?"
)
_ISO_CLOCK = (
    _CLOCK.replace("[T ,:]", "[Tt ,:]")
    .replace(":(?P<minute>", "(?::(?P<minute>", 1)
    .replace(r"\s*(?P<half>", r")?\s*(?P<half>", 1)
)  # 2024-01-31T05 has no minutes
STYLES = ("numbers", "key", "format", *_SPECIAL)
"""The names of the styles of `TimeStyle`."""

_CLOCKS = {"compact": _COMPACT_CLOCK, "year": _ISO_CLOCK}
_TEMPLATES = {name: f"^{date}{_CLOCKS.get(name, _CLOCK)}{_ZONE}$" for name, date in _SPECIAL.items()}
_FOR_PEOPLE = {
    "named": "day, name of the month, year",
    "name first": "name of the month, day, year",
    "day": "day first",
    "month": "month first",
    "compact": "date keys such as 20240131",
}
_PLAIN = r"\d+(?P<sign>[-/.])\d\d?(?P=sign)\d+(?:(?P<between>[T ])\d\d:\d\d(?P<seconds>:\d\d)?(?P<zone>Z)?)?"
_EARLIEST = datetime(1000, 1, 1, tzinfo=UTC)
"""Earlier years are read anew: strptime takes 24 for the year 24 AD."""

_PLAIN_DATES = {"year": ("%Y", "%m", "%d"), "day": ("%d", "%m", "%Y"), "month": ("%m", "%d", "%Y")}
_SEPARATED = r"^(\d{1,2})([-/.])(\d{1,2})[-/.](?:\d{4}|\d{2})(?:\D|$)"
_SHORT = r"^(\d{2})[-/]\d{1,2}[-/](\d{2})(?:\D|$)"
_VERSION = r"^\d{1,2}[.-]\d{1,2}[.-]\d{2}(\D|$)"
_NUMBER = r"^\s*-?\d+(\.\d+)?\s*$"
_BEGINS = r"^\s*(?:\d|(?i:mon|tue|wed|thu|fri|sat|sun|jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec))"
"""How a text of any template begins."""
_TOLD_BY = 1000  # so many texts of a column decide on a template
_LEAST_TELL = 0.5  # codes may look like dates: 1234-56-78
_MOST_TELL = 0.9  # of the texts that are not missing; a few may be broken

_COLUMN_KEYS = {4: "%Y", 6: "%Y%m", **KEYS}  # years and months differ from seconds only if the whole column has them


class Doubt(enum.Enum):
    """Why texts are not read as times."""

    NO_TIMES = "no times"
    ORDER = "day first or month first"
    BOTH = "day first and month first"


class TimeStyle(msgspec.Struct, frozen=True):
    """How the times of one column are written.

    ``name`` is a template of texts (``year``: ISO), ``"numbers"`` (epochs, the unit by the size of each), ``"key"``
    (date keys in ``format``), or ``"format"``: the user's own ``format``, or a unit (`UNITS`).
    """

    name: str
    format: str = ""
    clock: bool = True
    """Whether any text of the sample has a time of day."""

    @property
    def words(self) -> str:
        """The style in words for people; empty if it is the usual one."""
        if self.name == "key":
            return f"date keys ({self.format})"
        return _FOR_PEOPLE.get(self.name, "")


def checked_time_format(time_format: str | None) -> str | None:
    """Return the user's time format; raises `UsageError` for one that cannot be used. None is fine."""
    if time_format is None or time_format in UNITS:
        return time_format
    allowed = f"allowed are strptime's signs, such as '%d/%m/%Y %H:%M', and {', '.join(UNITS)} for epochs"
    if "%" not in time_format:
        raise UsageError(f"the time format {time_format!r} came; {allowed}")
    if "%Z" in time_format:
        raise UsageError(
            f"the time format {time_format!r} came; names of time zones, %Z, cannot be read: allowed "
            "are offsets, %z, and a name as it stands, such as 'UTC', which then is not looked at"
        )
    try:
        pl.Series([""]).str.to_datetime(_in_signs_of_chrono(time_format), strict=False)
    except pl.exceptions.PolarsError as error:
        raise UsageError(f"the time format {time_format!r} cannot be read by: {error}; {allowed}") from None
    return time_format


def _in_signs_of_chrono(time_format: str) -> str:
    """Translate strptime's %f, a fraction of one to six digits, for Polars, which reads it as nanoseconds."""
    return re.sub(r"\.?%f", lambda sign: "%.f" if sign[0][0] == "." else "%6f", time_format)


def time_style(samples: Sequence[pl.Series], *, plain: bool = False) -> TimeStyle | Doubt:
    """Return how the times of a column of texts are written, by all its samples together, or why they cannot be read.

    Missing values are null. ``plain`` excludes what may be something else in a column that the user did not name as the
    time: numbers such as 20240131, and versions such as 1.2.24.

    >>> time_style([pl.Series(["01/31/2024", "02/01/2024"])]).name, time_style([pl.Series(["01-MAR-26"])]).name
    ('month', 'named')
    >>> time_style([pl.Series(["01/02/2024", "03/04/2024"])]), time_style([pl.Series(["tea", "cups"])])
    (<Doubt.ORDER: 'day first or month first'>, <Doubt.NO_TIMES: 'no times'>)
    """
    there = [texts for texts in samples if texts.dtype == pl.String] or [pl.Series([], dtype=pl.String)]
    given = pl.concat(there).drop_nulls()
    if not len(given) or not _may_be_times(given):
        return Doubt.NO_TIMES
    texts = with_plain_digits(given.str.strip_chars())
    clock = bool(texts.str.contains(r"\d[T ,:]+\s*\d{1,2}:\d{2}|\d{8}[T ]?\d{4}").any())
    for name in ("year", "named", "name first", *(() if plain else ("compact", "year month"))):
        if _tell(texts, name):
            return TimeStyle(name, clock=clock)
    parts = texts.str.extract_groups(_SEPARATED).struct
    first, sign, second = parts.field("1").cast(pl.Int32), parts.field("2"), parts.field("3").cast(pl.Int32)
    if first.count() < _MOST_TELL * len(texts) or (plain and bool(texts.str.contains(_VERSION).any())):
        return Doubt.NO_TIMES
    day_first, month_first = _share((first > 12) & (second <= 12)), _share((first <= 12) & (second > 12))
    if min(day_first, month_first) > (1 - _MOST_TELL) * max(day_first, month_first):
        return Doubt.BOTH
    pointed = bool((sign.drop_nulls() == ".").all())
    valid = _share((first <= 31) & (second <= 31) & ((first <= 12) | (second <= 12))) >= _MOST_TELL
    if valid and not pointed and (not (day_first or month_first) or _may_begin_with_year(texts)):
        return Doubt.ORDER
    name = "day" if day_first >= month_first else "month"
    return TimeStyle(name, clock=clock) if _tell(texts, name) else Doubt.NO_TIMES


def _may_be_times(texts: pl.Series) -> bool:
    """Whether enough texts begin like times; this quickly rules out most columns of texts."""
    first = texts.head(_TOLD_BY).str.contains(_BEGINS)
    if first.sum() >= _MOST_TELL * len(first):
        return True
    counted = texts.alias("text").value_counts(name="count")  # usually a few texts that repeat
    begin = counted.filter(counted["text"].str.contains(_BEGINS))["count"].sum()
    return bool(begin >= _MOST_TELL * len(texts))


def _may_begin_with_year(texts: pl.Series) -> bool:
    """Whether texts such as 24-01-31 may begin with the year, the part that changes least."""
    ends = texts.str.extract_groups(_SHORT).struct
    first, last = ends.field("1").drop_nulls(), ends.field("2").drop_nulls().cast(pl.Int32)
    if len(first) < _MOST_TELL * len(texts) or bool((last > 31).any()):
        return False
    return first.n_unique() < last.n_unique() or first.n_unique() == last.n_unique() == 1


def _share(those: pl.Series) -> float:
    return float(those.fill_null(False).mean() or 0.0)  # type: ignore[arg-type]


def _tell(texts: pl.Series, name: str) -> bool:
    looked_at = texts.head(_TOLD_BY)
    if _share(looked_at.str.contains(_TEMPLATES[name])) < _MOST_TELL:
        return False
    read = read_texts(looked_at, TimeStyle(name))
    return len(looked_at) * _LEAST_TELL <= len(read.drop_nulls())


def epoch_style(numbers: Sequence[pl.Series]) -> TimeStyle:
    """Return how the times of a column of numbers are written: as date keys if nearly all are, else as epochs by size.

    Among date keys, other numbers, such as 0, -1 and 20240000 for an unknown day, are no times.

    >>> epoch_style([pl.Series([20240131, 20240201])]).format, epoch_style([pl.Series([1704067200000])]).name
    ('%Y%m%d', 'numbers')
    """
    there = pl.concat([one.drop_nulls().cast(pl.Float64) for one in numbers])
    there = there.filter(there.is_finite())
    if not len(there):
        return TimeStyle("numbers")
    for digits, pattern in _COLUMN_KEYS.items():
        keys = there.filter((there // 10 ** (digits - 4)).is_between(FIRST_KEY_YEAR, LAST_KEY_YEAR))
        style = TimeStyle("key", pattern)
        if len(keys) and read_numbers(keys, style).count() >= _MOST_TELL * len(there):
            return style
    return TimeStyle("numbers")


def read_times(values: pl.Series, style: TimeStyle) -> pl.Series:
    """Return the times of a column in UTC, microseconds; null for missing ones and those that are written otherwise."""
    if values.dtype == pl.String:
        return read_texts(values, style)
    if values.dtype.is_numeric():
        return read_numbers(values, style)
    if isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None:
        return values.dt.convert_time_zone("UTC").dt.cast_time_unit("us")
    if values.dtype in (pl.Date, pl.Datetime):
        return values.cast(pl.Datetime("us"), strict=False).dt.replace_time_zone("UTC")
    return pl.Series(values.name, [None], dtype=pl.Datetime("us", "UTC")).new_from_index(0, len(values))


def read_numbers(values: pl.Series, style: TimeStyle) -> pl.Series:
    """Return numbers as times in UTC: by unit, as date keys, or each by its size; see `TimeStyle`."""
    if style.name == "format" and style.format not in UNITS:
        return read_texts(_whole(values), style)
    if style.name == "key":
        texts = _whole(values)
        pattern = style.format
        if "%d" not in pattern:  # a month or a year is its first day
            texts, pattern = (
                texts + ("01" if "%m" in pattern else "0101"),
                pattern + ("%d" if "%m" in pattern else "%m%d"),
            )
        return _in_utc(texts.str.to_datetime(pattern, time_unit="us", strict=False))
    return pl.select(_epoch(pl.lit(values), style.format)).to_series().alias(values.name)


def _epoch(number: pl.Expr, unit: str = "") -> pl.Expr:
    number = number.cast(pl.Float64, strict=False) if unit else number
    exact = number.cast(pl.Int64, strict=False)  # whole numbers keep all digits
    real = number.cast(pl.Float64)
    size = real.abs()
    seconds, milliseconds = (real * 1e6).round(), (real * 1e3).round()
    micros = {"s": seconds, "ms": milliseconds, "us": exact.cast(pl.Float64), "ns": None}
    if unit and (found := micros.get(unit)) is not None:
        by_unit = found.cast(pl.Int64, strict=False)
    elif unit == "ns":
        by_unit = exact.floordiv(1000)
    else:
        by_unit = (
            pl.when(size < SECONDS_BELOW)
            .then(seconds.cast(pl.Int64, strict=False))
            .when(size < MILLISECONDS_BELOW)
            .then(milliseconds.cast(pl.Int64, strict=False))
            .when(size < MICROSECONDS_BELOW)
            .then(exact)
            .otherwise(exact.floordiv(1000))
        )
    return pl.when(by_unit.abs() < FARTHEST_US).then(by_unit).cast(pl.Datetime("us", "UTC"))


def numbers_of(values: pl.Series) -> pl.Series | None:
    """Return the numbers of a column of times, if it has numbers, or texts of which nearly all are; None for others."""
    if values.dtype.is_numeric():
        return values
    if values.dtype != pl.String:
        return None
    values = with_plain_digits(values)
    there = values.drop_nulls()
    if len(there) and _share(there.str.contains(_NUMBER)) < _MOST_TELL:
        return None
    return values.str.strip_chars().cast(pl.Float64, strict=False)


def unit_of(numbers: Sequence[pl.Series]) -> str:
    """Return the unit of the epochs in a column, in words; several units are joined by *and*.

    >>> unit_of([pl.Series([1704067200, 1704067260])]), unit_of([pl.Series([1704067200123])])
    ('seconds', 'milliseconds')
    """
    sizes = pl.concat([one.drop_nulls().cast(pl.Float64).abs() for one in numbers])
    sizes = sizes.filter(sizes < _FARTHEST)
    ends = (SECONDS_BELOW, MILLISECONDS_BELOW, MICROSECONDS_BELOW)
    names = ("seconds", "milliseconds", "microseconds", "nanoseconds")
    places = sum((sizes >= end).cast(pl.Int32) for end in ends)
    found = sorted(places.unique().to_list()) if isinstance(places, pl.Series) else []
    return " and ".join(names[place] for place in found) or "seconds"


def _whole(values: pl.Series) -> pl.Series:
    """Whole numbers as texts of digits; null for others."""
    if values.dtype.is_float():
        whole = values.cast(pl.Int64, strict=False)
        values = whole.set(~(whole == values).fill_null(False), None)
    return values.cast(pl.String)


def read_texts(texts: pl.Series, style: TimeStyle) -> pl.Series:
    """Return texts as times in UTC; those without an offset are in UTC. Years of two digits are 1969 to 2068."""
    texts = with_plain_digits(texts)
    if style.name == "format":
        return _by_format(texts, style.format)
    if style.name in ("numbers", "key"):
        return read_numbers(texts.str.strip_chars().cast(pl.Float64, strict=False), style)
    first = texts.drop_nulls().head(1)
    pattern = _pattern_of(first[0], style.name) if len(first) else None
    if pattern is None:
        return _by_template(texts, style)
    read = _in_utc(texts.str.to_datetime(pattern, time_unit="us", strict=False))
    others = (read.is_null() | (read < _EARLIEST).fill_null(False)) & texts.is_not_null()
    if not others.any():
        return read
    places = others.arg_true()
    return read.scatter(places, _by_template(texts.gather(places), style))


def _pattern_of(text: str, name: str) -> str | None:
    """The strptime format of a plain text, which most of its column can be read by faster; None for other texts."""
    plain = re.fullmatch(_PLAIN, text)
    if plain is None or name not in _PLAIN_DATES:
        return None
    date = plain["sign"].join(_PLAIN_DATES[name])
    clock = f"{plain['between']}%H:%M" if plain["between"] else ""
    return date + clock + (":%S" if plain["seconds"] else "") + (plain["zone"] or "")


def _by_template(texts: pl.Series, style: TimeStyle) -> pl.Series:
    parts = pl.DataFrame(texts.str.strip_chars().str.extract_groups(_TEMPLATES[style.name]).rename("part")).unnest(
        "part"
    )
    column = pl.col
    month = column("month").str.slice(0, 3).str.to_lowercase()
    names = dict(zip(_MONTHS, (f"{number:02}" for number in range(1, 13)), strict=True))
    hour = column("hour").cast(pl.Int32).fill_null(0)
    half = column("half").str.slice(0, 1).str.to_lowercase()
    hour = (
        pl.when(half == "p")
        .then(pl.when(hour < 12).then(hour + 12).otherwise(hour))
        .when((half == "a") & (hour == 12))
        .then(0)
        .otherwise(hour)
    )
    year = column("year").cast(pl.Int32)
    year = (
        pl.when(column("year").str.len_bytes() == 4)
        .then(year)
        .otherwise(year + pl.when(year < 69).then(2000).otherwise(1900))
    )
    text = pl.format(
        "{}-{}-{} {}:{}:{}",
        year.cast(pl.String).str.zfill(4),
        month.replace(names).str.zfill(2),
        column("day").replace("", "1").str.zfill(2),
        hour.cast(pl.String).str.zfill(2),
        column("minute").fill_null("00"),
        column("second").fill_null("00"),
    )
    local = text.str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us", strict=False)
    micros = column("fraction").str.pad_end(6, "0").str.slice(0, 6).cast(pl.Int64).fill_null(0)
    zone = column("zone").str.replace(":", "", literal=True)
    sign = pl.when(zone.str.starts_with("-")).then(-1).otherwise(1)
    hours, minutes = (
        zone.str.extract(r"^[+-](\d{2})(\d{2})?$", group).cast(pl.Int64).fill_null(0) * sign for group in (1, 2)
    )
    moment = local + pl.duration(microseconds=micros) - pl.duration(hours=hours, minutes=minutes)
    return _in_utc(parts.select(moment).to_series()).alias(texts.name)


def _by_format(texts: pl.Series, pattern: str) -> pl.Series:
    if pattern in UNITS:
        return read_numbers(texts.str.strip_chars().cast(pl.Float64, strict=False), TimeStyle("format", pattern))
    signs = _in_signs_of_chrono(pattern)
    times = _in_utc(texts.str.strip_chars().str.to_datetime(signs, time_unit="us", strict=False))
    return times.set((times < _EARLIEST).fill_null(False), None)


def _in_utc(times: pl.Series) -> pl.Series:
    dtype = times.dtype
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return times.dt.convert_time_zone("UTC")
    return times.dt.replace_time_zone("UTC")
