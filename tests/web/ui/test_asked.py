"""An address says which windows a page shows; what it cannot mean is refused in words."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import UsageError
from driftline.web.ui.asked import MOST_WINDOWS, WINDOWS_SHOWN, asked_of, field_of

ZONE = ZoneInfo("America/Los_Angeles")


def test_a_day_is_one_of_the_models_time_zone() -> None:
    asked = asked_of({"start": "2013-04-01", "end": "2013-05-01T00:00:00Z"}, ZONE)
    assert (asked.start, asked.end) == (datetime(2013, 4, 1, 7, tzinfo=UTC), datetime(2013, 5, 1, tzinfo=UTC))
    assert asked.span and asked.newest == MOST_WINDOWS


@pytest.mark.parametrize(
    ("params", "newest"),
    [
        ({}, WINDOWS_SHOWN),
        ({"windows": "30"}, 30),
        ({"windows": "all"}, None),
        ({"windows": " "}, WINDOWS_SHOWN),
        ({"windows": "all", "start": "2013-04-01"}, MOST_WINDOWS),
        ({"windows": "nonsense", "end": "2013-04-01"}, MOST_WINDOWS),
    ],
)
def test_how_many_windows(params: dict[str, str], newest: int | None) -> None:
    assert asked_of(params, ZONE).newest == newest


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({"start": "yesterday"}, "start 'yesterday' came; allowed is a day or a time"),
        ({"end": "2013-13-01"}, "end '2013-13-01' came"),
        ({"start": "0001-01-01"}, "start"),
        ({"start": "2013-04-02", "end": "2013-04-02"}, "a span ends after it begins"),
        ({"windows": "0"}, "windows=0 came; allowed are 1 to 400, and all"),
        ({"windows": "401"}, "allowed are 1 to 400"),
        ({"windows": "-1"}, "allowed are 1 to 400"),
        ({"windows": "٣"}, "allowed are 1 to 400"),
        ({"windows": "9" * 400}, "allowed are 1 to 400"),
        ({"known": "later"}, "known=later came; allowed are then and now"),
    ],
)
def test_what_cannot_be_meant_is_said(params: dict[str, str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        asked_of(params, ZONE)


def test_an_address_keeps_what_is_not_changed() -> None:
    asked = asked_of({"version": "2.0 &", "windows": "30", "alert": "x", "known": "then", "segment": ""}, ZONE)
    assert asked.then and asked.address() == "?windows=30&version=2.0+%26&known=then"
    assert asked.address(known=None, windows="all") == "?windows=all&version=2.0+%26"
    assert asked_of({}, ZONE).address() == "?"


@given(st.text(), st.text(), st.text(), st.text())
def test_any_address_is_read_or_refused(start: str, windows: str, version: str, known: str) -> None:
    params = {"start": start, "windows": windows, "version": version, "known": known}
    try:
        asked = asked_of(params, ZONE)
    except UsageError:
        return
    assert parse_qs(asked.address()[1:]).keys() <= params.keys()


@given(st.datetimes(datetime(1970, 1, 2), datetime(2100, 1, 1), timezones=st.just(UTC)))
def test_a_field_names_the_minute_that_its_form_sends_back(moment: datetime) -> None:
    minute = moment.replace(second=0, microsecond=0)
    read = asked_of({"start": field_of(minute, ZONE)}, ZONE).start
    assert read is not None and abs((read - minute).total_seconds()) in (0, 3600)  # an hour that the clocks repeat
