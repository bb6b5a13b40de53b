"""Times are read as Python reads them, whatever they are written as; what is open is not guessed."""

from __future__ import annotations

import email.utils
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from driftline.errors import UsageError
from driftline.events import Kind
from driftline.profiles import times as times_module
from driftline.profiles.frame import times_of
from driftline.profiles.infer import kind_of_values
from driftline.profiles.times import (
    Doubt,
    TimeStyle,
    checked_time_format,
    epoch_style,
    read_numbers,
    read_texts,
    time_style,
    unit_of,
)

ZONES = st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30)), timezone(-timedelta(hours=3, minutes=30))])
MOMENTS = st.datetimes(datetime(1970, 1, 1), datetime(2068, 12, 31), timezones=ZONES)


def one(texts: list[str]) -> list[datetime | None]:
    style = time_style([pl.Series(texts)])
    assert isinstance(style, TimeStyle), (texts, style)
    return read_texts(pl.Series(texts), style).to_list()


WRITTEN = {
    "iso": lambda t: t.isoformat(),
    "iso, blank": lambda t: t.isoformat(" ", "milliseconds"),
    "basic": lambda t: t.strftime("%Y%m%dT%H%M%S%z"),
    "slashes": lambda t: t.strftime("%Y/%m/%d %H:%M:%S"),
    "points": lambda t: t.strftime("%d.%m.%Y %H:%M"),
    "oracle": lambda t: t.strftime("%d-%b-%y").upper(),
    "american": lambda t: t.strftime("%B %d, %Y %I:%M:%S %p"),
    "mail": email.utils.format_datetime,
    "apache": lambda t: t.strftime("%d/%b/%Y:%H:%M:%S %z"),
}
FORMATS = {"slashes": "%Y/%m/%d %H:%M:%S", "points": "%d.%m.%Y %H:%M", "oracle": "%d-%b-%y"}


@pytest.mark.parametrize("written", WRITTEN)
@settings(deadline=None, max_examples=40)
@given(moment=MOMENTS)
def test_a_time_is_read_as_python_reads_it(written: str, moment: datetime) -> None:
    text = WRITTEN[written](moment)
    match written:
        case "iso" | "iso, blank":
            expected = datetime.fromisoformat(text)
        case "american":
            expected = datetime.strptime(text, "%B %d, %Y %I:%M:%S %p").replace(tzinfo=UTC)
        case "slashes" | "points" | "oracle":
            expected = datetime.strptime(text.title(), FORMATS[written]).replace(tzinfo=UTC)
        case _:
            expected = moment.replace(microsecond=0)
    assert one([text, f" {text} "]) == [expected.astimezone(UTC)] * 2


@settings(deadline=None, max_examples=60)
@given(st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)), min_size=1, max_size=30), st.booleans())
def test_day_and_month_are_told_apart_by_the_column_and_never_guessed(times: list[datetime], month_first: bool) -> None:
    pattern = "%m/%d/%Y %H:%M" if month_first else "%d/%m/%Y %H:%M"
    texts = pl.Series([time.strftime(pattern) for time in times])
    style = time_style([texts])
    if all(time.day <= 12 for time in times):
        assert style is Doubt.ORDER
    else:
        assert isinstance(style, TimeStyle)
        assert style.words == ("month first" if month_first else "day first")
        read = read_texts(texts, style).dt.replace_time_zone(None).to_list()
        assert read == [time.replace(second=0, microsecond=0) for time in times]


@pytest.mark.parametrize("pattern", ["%d.%m.%y", "%d-%m-%y %H:%M", "%m/%d/%y", "%d/%m/%y"])
@settings(deadline=None, max_examples=40)
@given(st.lists(st.datetimes(datetime(1975, 1, 1), datetime(2060, 1, 1)), min_size=2, max_size=30))
def test_a_year_of_two_digits_is_python_s_or_the_order_is_open(pattern: str, times: list[datetime]) -> None:
    """Never another time: not the year 24, and no year in front where a day may stand there."""
    texts = pl.Series([time.strftime(pattern) for time in times])
    style = time_style([texts])
    if isinstance(style, TimeStyle):
        expected = [datetime.strptime(text, pattern).replace(tzinfo=UTC) for text in texts]
        assert read_texts(texts, style).to_list() == expected
        mixed = pl.Series([*texts, *(time.strftime(pattern.replace("y", "Y")) for time in times)])
        assert read_texts(mixed, style).to_list() == expected * 2
        assert read_texts(mixed.reverse(), style).to_list() == (expected * 2)[::-1]
    else:
        assert style is Doubt.ORDER and "." not in pattern


@settings(deadline=None, max_examples=40)
@given(st.dates(datetime(2010, 1, 1).date(), datetime(2030, 1, 1).date()), st.integers(13, 300))
def test_years_of_two_digits_in_front_are_not_taken_for_days(start: Any, days: int) -> None:
    texts = pl.Series([(start + timedelta(days=day)).strftime("%y-%m-%d") for day in range(days)])
    assert time_style([texts]) is Doubt.ORDER


@settings(deadline=None, max_examples=60)
@given(st.lists(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)), min_size=20, max_size=60), st.integers(2, 4))
def test_both_orders_in_one_column_are_refused_whichever_is_more_frequent(times: list[datetime], every: int) -> None:
    telling = [time.replace(day=13 + time.day % 15) for time in times]
    texts = [time.strftime("%d/%m/%Y" if i % every else "%m/%d/%Y") for i, time in enumerate(telling)]
    assert time_style([pl.Series(texts)]) is Doubt.BOTH
    broken = [time.strftime("%m/%d/%Y") for time in telling] + [telling[0].strftime("%d/%m/%Y")]
    assert time_style([pl.Series(broken)]).name == "month"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "text", ["2024-01-31T05", "2024-01-31t05:00:00z", "2024-01-31 05:00 utc", "2024-01-31T05+0000"]
)
def test_iso_without_minutes_and_in_small_letters(text: str) -> None:
    assert one([text]) == [datetime(2024, 1, 31, 5, tzinfo=UTC)]


def test_months_are_their_first_day() -> None:
    assert one(["2024-02", "2023-12"]) == [datetime(2024, 2, 1, tzinfo=UTC), datetime(2023, 12, 1, tzinfo=UTC)]
    assert time_style([pl.Series(["2024-02", "2023-12"])], plain=True) is Doubt.NO_TIMES


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.dates(datetime(1950, 1, 1).date(), datetime(2100, 1, 1).date()), min_size=10, max_size=40),
    st.sampled_from([0, -1, 20240000, 99999999, 20241399]),
    st.sampled_from([pl.Int64, pl.Float64]),
)
def test_a_day_that_is_not_known_makes_no_epochs_of_date_keys(days: list[Any], unknown: int, dtype: Any) -> None:
    values = pl.Series([*(int(day.strftime("%Y%m%d")) for day in days), unknown], dtype=dtype)
    assert epoch_style([values]).format == "%Y%m%d"
    assert [time.date() for time in times_of(values).drop_nulls().to_list()] == days


@settings(deadline=None, max_examples=40)
@given(st.datetimes(datetime(1990, 1, 1), datetime(2060, 1, 1)), st.sampled_from(["%S.%f", "%S%f"]))
def test_fractions_of_a_second_are_those_of_strptime(time: datetime, end: str) -> None:
    pattern = "%Y|%m|%d %H:%M:" + end
    text = time.strftime(pattern)
    read = times_of(pl.Series([text]), checked_time_format(pattern)).to_list()
    assert read == [datetime.strptime(text, pattern).replace(tzinfo=UTC)]


def test_names_of_zones_are_not_passed_over() -> None:
    with pytest.raises(UsageError, match="names of time zones, %Z, cannot be read"):
        checked_time_format("%Y-%m-%d %H:%M %Z")


def test_the_other_side_may_tell_the_order() -> None:
    assert time_style([pl.Series(["01/02/2024"]), pl.Series(["01/31/2024"])]).name == "month"  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "texts",
    [
        ["tea", "cups"],
        ["10:30"],
        ["12"],
        ["1.2.3.4"],
        ["2024-13-45", "2024-99-01"],
        ["13/13/2024", "14/15/2024"],
        ["x"] * 9 + ["2024-01-31"],
    ],
)
def test_what_is_no_time_is_none(texts: list[str]) -> None:
    assert time_style([pl.Series(texts)]) is Doubt.NO_TIMES


@pytest.mark.parametrize("written", ["%B %d, %Y", "%a, %d %b %Y", "%A %d %B %Y", "%A, %B %d, %Y", "%b.%d.%y"])
def test_every_month_and_weekday_is_known_by_its_name(written: str) -> None:
    for month in range(1, 13):
        days = [datetime(2024, month, 10 + month, tzinfo=UTC)] * 3
        assert one([day.strftime(written) for day in days]) == days


@settings(deadline=None, max_examples=60)
@given(
    st.lists(MOMENTS, min_size=1, max_size=4),
    st.sampled_from(list(WRITTEN)),
    st.lists(st.sampled_from(["tea", " 7", "Monday", "May 1, 2024", "1.2.24", "-", "Sunday, 2 Mar 24"]), max_size=12),
    st.integers(1, 10),
    st.booleans(),
)
def test_texts_that_do_not_begin_as_times_do_are_left_out_and_nothing_else_changes(
    moments: list[datetime], written: str, others: list[str], repeated: int, plain: bool
) -> None:
    texts = pl.Series([WRITTEN[written](moment) for moment in moments] * repeated + others)
    style = time_style([texts], plain=plain)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(times_module, "_BEGINS", "")
        assert time_style([texts], plain=plain) == style


def test_versions_and_numbers_are_no_dates_where_nobody_said_so() -> None:
    for texts in (["1.2.24", "1.13.24"], ["20240131", "20240201"]):
        assert time_style([pl.Series(texts)], plain=True) is Doubt.NO_TIMES
        assert kind_of_values(pl.Series(texts)) is Kind.CATEGORICAL


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.integers(86_400 * 365 * 4, 2**32), min_size=1), st.sampled_from([1, 10**3, 10**6, 10**9]), st.booleans()
)
def test_epochs_are_told_apart_by_size(seconds: list[int], times: int, as_float: bool) -> None:
    numbers = pl.Series([second * times for second in seconds], dtype=pl.Float64 if as_float else pl.Int64)
    assume(epoch_style([numbers]).name == "numbers")
    read = times_of(numbers)
    assert [moment.timestamp() for moment in read.to_list()] == pytest.approx(seconds, rel=0, abs=1e-3)
    assert (
        unit_of([numbers]) == {1: "seconds", 10**3: "milliseconds", 10**6: "microseconds", 10**9: "nanoseconds"}[times]
    )


def test_units_that_come_together_are_each_read_and_told() -> None:
    numbers = pl.Series([1704067200, 1704067200_000])
    assert times_of(numbers).n_unique() == 1
    assert unit_of([numbers]) == "seconds and milliseconds"


@pytest.mark.parametrize(
    ("numbers", "pattern"),
    [
        ([20240131, 20240229], "%Y%m%d"),
        ([202401, 202412], "%Y%m"),
        ([1999, 2026], "%Y"),
        ([20240131235959], "%Y%m%d%H%M%S"),
        ([202401312359], "%Y%m%d%H%M"),
    ],
)
@pytest.mark.parametrize("dtype", [pl.Int64, pl.Float64, pl.UInt64])
def test_date_keys(numbers: list[int], pattern: str, dtype: Any) -> None:
    values = pl.Series([*numbers, None], dtype=dtype)
    assert epoch_style([values]).format == pattern
    expected = [datetime.strptime(str(number), pattern).replace(tzinfo=UTC) for number in numbers]
    assert times_of(values).to_list() == [*expected, None]


@pytest.mark.parametrize("number", [20241301, 202413, 20240230, 5, 10**18 * 9])
def test_what_is_no_date_key_is_an_epoch(number: int) -> None:
    assert epoch_style([pl.Series([number])]).name == "numbers"


@settings(deadline=None, max_examples=200)
@given(st.lists(st.floats() | st.none(), min_size=1))
def test_any_number_is_a_time_or_none(numbers: list[float | None]) -> None:
    read = read_numbers(pl.Series(numbers, dtype=pl.Float64), TimeStyle("numbers"))
    assert len(read) == len(numbers) and read.dtype == pl.Datetime("us", "UTC")


@settings(deadline=None, max_examples=200)
@given(
    st.lists(
        st.text(max_size=30) | st.from_regex(r"[0-9]{1,4}[-/. ][0-9A-Za-z]{1,4}[-/. ][0-9]{1,4}", fullmatch=True),
        min_size=1,
    )
)
def test_any_text_is_read_or_not_and_nothing_breaks(texts: list[str]) -> None:
    values = pl.Series(texts)
    style = time_style([values])
    if isinstance(style, TimeStyle):
        assert len(read_texts(values, style)) == len(texts)
    assert len(times_of(values)) == len(texts)


def test_a_format_of_ones_own_is_checked_before_anything_is_read() -> None:
    assert checked_time_format("%d|%m|%Y") == "%d|%m|%Y" and checked_time_format("ms") == "ms"
    assert times_of(pl.Series(["31|01|2024"]), "%d|%m|%Y").to_list() == [datetime(2024, 1, 31, tzinfo=UTC)]
    assert times_of(pl.Series([20240131]), "%Y%m%d").to_list() == [datetime(2024, 1, 31, tzinfo=UTC)]
    assert times_of(pl.Series([5]), "ms").to_list() == [datetime(1970, 1, 1, 0, 0, 0, 5000, tzinfo=UTC)]
    for wrong in ("dd/mm/yyyy", "", "hours"):
        with pytest.raises(UsageError, match="allowed are strptime"):
            checked_time_format(wrong)
