"""Dates that stand for a time that is not known are told as such: they are no gap, and change no rows a day."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import driftline
from driftline.checks.days import Days, told_of_days

FIRST = date(2024, 1, 1)
EVERY_DAY = {FIRST + timedelta(days=day): 3 for day in range(100)}
NO_TIME = [
    date(1, 1, 1),
    date(1753, 1, 1),
    date(1899, 12, 30),
    date(1900, 1, 1),
    date(1970, 1, 1),
    date(2099, 12, 31),
    date(2262, 4, 11),
    date(9999, 12, 30),
    date(9999, 12, 31),
]
days = st.dates(date(1900, 1, 1), date(2100, 12, 31))


@pytest.mark.parametrize("day", NO_TIME)
@pytest.mark.parametrize("share", [1, 500])
def test_a_day_that_stands_for_no_time_is_no_gap_however_many_have_it(day: date, share: int) -> None:
    rows = f"{share} row{'s' if share > 1 else ''}"
    assert told_of_days(EVERY_DAY, EVERY_DAY | {day: share}) == [
        f"the current rows have {rows} on {day}, far from all others: no gap, and no part of rows a day"
    ]
    assert Days.of(EVERY_DAY | {day: share}).rows_a_day == Days.of(EVERY_DAY).rows_a_day


def test_few_rows_of_another_century_are_told_like_that_and_many_are_a_gap() -> None:
    slip = date(2924, 1, 5)
    assert told_of_days(EVERY_DAY, EVERY_DAY | {slip: 2})[0].startswith("the current rows have 2 rows on 2924-01-05")
    assert any("a gap of" in note for note in told_of_days(EVERY_DAY, EVERY_DAY | {slip: 100}))


def test_of_several_the_fullest_are_told() -> None:
    odd = {date(2900 + year, 1, 1): 1 for year in range(5)} | {date(9999, 12, 31): 1_200}
    days = "1,200 rows on 9999-12-31, 1 row on 2900-01-01, 1 row on 2901-01-01 and others on 3 more days"
    (note,) = told_of_days(EVERY_DAY, EVERY_DAY | odd)
    assert note == f"the current rows have {days}, far from all others: no gap, and no part of rows a day"


@pytest.mark.parametrize("begin", [date(1969, 12, 1), date(1899, 12, 1), date(2099, 12, 1)])
def test_rows_that_are_of_that_time_are_usual(begin: date) -> None:
    rows = {begin + timedelta(days=day): 1 for day in range(60)}
    assert Days.of(rows) == Days(rows, {})
    later = {day: 1 for day in rows if day > begin + timedelta(days=40)}
    assert Days.of(later).apart == {}


@given(st.dictionaries(days, st.integers(1, 50), max_size=20), st.sets(st.sampled_from(NO_TIME)))
def test_every_row_is_usual_or_apart_and_never_both(rows: dict[date, int], more: set[date]) -> None:
    every = rows | dict.fromkeys(more, 7)
    found = Days.of(every)
    assert Counter(found.usual) + Counter(found.apart) == Counter(every)
    assert found.usual or not every


@given(st.dates(date(2000, 1, 1), date(2050, 1, 1)), st.integers(2, 60), st.sampled_from(NO_TIME))
def test_what_is_said_of_usual_days_does_not_change_by_the_others(begin: date, many: int, day: date) -> None:
    rows = {begin + timedelta(days=3 * one): 1 for one in range(many)}
    found = Days.of(rows | {day: 2})
    assert (found.rows_a_day, found.gap, found.apart) == (Days.of(rows).rows_a_day, Days.of(rows).gap, {day: 2})


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
@pytest.mark.parametrize("day", ["9999-12-31", "0001-01-01", "1900-01-01"])
def test_check_tells_them_through_files(day: str, suffix: str, tmp_path: Path) -> None:
    times = [datetime(2024, 1, 1, tzinfo=UTC) + timedelta(days=one % 200) for one in range(1_000)]
    odd = datetime.fromisoformat(day).replace(tzinfo=UTC)
    before = pl.DataFrame({"t": times, "v": [one % 7 for one in range(1_000)]})
    now = before.with_columns(t=pl.Series([odd] * 20 + times[20:], dtype=pl.Datetime("us", "UTC")))
    if suffix == ".csv":
        before, now = (one.with_columns(pl.col("t").dt.strftime("%Y-%m-%dT%H:%M:%SZ")) for one in (before, now))
    for frame, name in ((before, "before"), (now, "now")):
        path = tmp_path / (name + suffix)
        frame.write_csv(path) if suffix == ".csv" else frame.write_parquet(path)
    report = driftline.check(tmp_path / f"before{suffix}", tmp_path / f"now{suffix}", time="t")
    assert [note for note in report.notes if day in note] == [
        f"the current rows have 20 rows on {day}, far from all others: no gap, and no part of rows a day"
    ]
    assert not [note for note in report.notes if "a gap" in note.split("far from")[0]]


@pytest.mark.parametrize("by", ["time", "cluster"])
@pytest.mark.parametrize(("few", "told"), [(3, "3"), (5, "5"), (6, None), (30, None)])
def test_few_days_or_customers_are_told_as_they_hide_what_has_changed(by: str, few: int, told: str | None) -> None:
    rows = pl.DataFrame({"day": [at % few for at in range(600)], "p": [1, 0, 0, 1, 1] * 120, "y": [1, 0] * 300})
    rows = rows.with_columns(time=datetime(2024, 1, 1) + pl.duration(days="day", hours=12)).sort("day")
    column = {"time": "time"} if by == "time" else {"cluster": "day"}
    report = driftline.check(rows, rows, label="y", prediction="p", **column)
    what = "days" if by == "time" else "values of day"
    found = [note for note in report.notes if note.startswith("there are few")]
    wanted = f"there are few {what} to tell how far they differ, as good as {told} in the reference and {told} now: "
    assert [note.startswith(wanted) for note in found] == [True] * (told is not None)


def days_from(first: date, count: int) -> list[datetime]:
    return [datetime(first.year, first.month, first.day, 12, tzinfo=UTC) + timedelta(days=day) for day in range(count)]


@pytest.mark.parametrize(
    ("first", "count", "later", "said"),
    [
        (FIRST, 90, FIRST + timedelta(days=180), True),
        (FIRST, 90, FIRST + timedelta(days=10), False),  # most days are the same ones
        (FIRST, 400, FIRST + timedelta(days=400), False),  # each has every season
    ],
)
def test_drift_that_may_be_a_season_is_said_to_be_so(first: date, count: int, later: date, said: bool) -> None:
    before = pl.DataFrame({"at": days_from(first, count) * 10, "x": [one % 100 for one in range(10 * count)]})
    now = pl.DataFrame({"at": days_from(later, count) * 10, "x": [one % 100 + 50 for one in range(10 * count)]})
    found = driftline.check(before, now, time="at")
    assert found.columns["x"].drift is not None and found.columns["x"].drift.drifted
    notes = [note for note in found.notes if note.startswith("two files cannot know a season: ")]
    assert bool(notes) is said
    assert not said or f"({first} to {first + timedelta(days=count - 1)} against {later} to" in notes[0]
    calm = driftline.check(before, before.with_columns(pl.col("at").dt.offset_by("6mo")), time="at")
    assert "season" not in " ".join(calm.notes)  # nothing drifted


def test_missing_values_are_no_season() -> None:
    x = list(range(1000))
    found = driftline.check(pl.DataFrame({"x": x}), pl.DataFrame({"x": [one if one % 2 else None for one in x]}))
    assert found.alerts and "season" not in " ".join(found.notes)
