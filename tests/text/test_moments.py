"""Spans of event time in words: whoever reads them in the model's time zone finds the window again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from driftline.events import WindowSpec
from driftline.text.moments import day_or_moment, span

ZONES = st.sampled_from(["UTC", "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata", "Asia/Kathmandu"])
MOMENTS = st.datetimes(datetime(1990, 1, 1), datetime(2035, 1, 1)).map(lambda time: time.replace(tzinfo=UTC))


@given(MOMENTS, ZONES, st.sampled_from(["1min", "15min", "1h", "6h"]))
def test_a_window_shorter_than_a_day_is_told_with_its_hours_and_its_zone(
    time: datetime, zone: str, length: str
) -> None:
    window = WindowSpec(length, zone).window_of(time)
    said = span(window.start, window.end, zone)
    first, after = (moment.astimezone(ZoneInfo(zone)) for moment in (window.start, window.end))
    assert said.startswith(f"{first:%Y-%m-%d %H:%M}")
    assert f"{after:%H:%M} " in said
    assert said.endswith((f" {after.tzname()}", f" UTC{after.tzname()}"))
    assert (f"{first.tzname()} to" in said) == (first.tzname() != after.tzname())


@given(MOMENTS, ZONES, st.sampled_from(["1d", "1w", "1mo"]))
def test_a_window_of_days_is_told_in_days_of_the_model(time: datetime, zone: str, length: str) -> None:
    window = WindowSpec(length, zone).window_of(time)
    first, after = (moment.astimezone(ZoneInfo(zone)) for moment in (window.start, window.end))
    named = "" if zone == "UTC" else f" ({zone})"
    assert span(window.start, window.end, zone) == f"{first:%Y-%m-%d} to {after:%Y-%m-%d}{named}"
    assert day_or_moment(window.start, zone) == f"{first:%Y-%m-%d}"


def test_the_hour_that_comes_twice_is_told_apart() -> None:
    first = datetime(2025, 11, 2, 8, tzinfo=UTC)  # 01:00 in Los Angeles, before the clocks go back
    hour = timedelta(hours=1)
    both = [span(start, start + hour, "America/Los_Angeles") for start in (first, first + hour)]
    assert both == ["2025-11-02 01:00 PDT to 01:00 PST", "2025-11-02 01:00 to 02:00 PST"]
