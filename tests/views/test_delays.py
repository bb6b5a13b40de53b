"""How late labels come is what the rows say, whatever the windows; what is too young to tell says nothing."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.errors import CodecError, UsageError
from driftline.monitoring.summary import WindowBrief
from driftline.profiles.delays import STEPS, LabelDelays
from driftline.sketches import decode, encode
from driftline.views.delays import LabelDelayView, delay_of
from driftline.web.ui.delays import delay_shown

START = datetime(2024, 3, 1, tzinfo=UTC)
DAY = 86_400


def delays(seconds: list[float | None]) -> LabelDelays:
    """Those of rows that were all predicted at once, each labelled so long after."""
    predicted = pl.Series([START] * len(seconds), dtype=pl.Datetime("us", "UTC"))
    labelled = [None if one is None else START + timedelta(seconds=one) for one in seconds]
    return LabelDelays.of(predicted, pl.Series(labelled, dtype=pl.Datetime("us", "UTC")))


def brief(ended: int, seconds: list[float | None], *, known: bool = True) -> WindowBrief:
    """A window that ended so many seconds after the start, of rows with these delays; None for no label."""
    end, labelled = START + timedelta(seconds=ended), sum(one is not None for one in seconds)
    counts = tuple(delays(seconds).counts.items()) if known else ()
    start = end - timedelta(seconds=DAY)
    return WindowBrief(start, end, "judged", len(seconds), labelled, None, {}, 0, 0, counts)


# ---- counts ---------------------------------------------------------------------------------------------------------


@given(st.lists(st.none() | st.floats(-1e9, 3e9), max_size=30))
def test_each_label_is_counted_at_the_first_step_that_it_came_within(seconds: list[float | None]) -> None:
    there = [round(one, 6) for one in seconds if one is not None]
    expected = [next(step for step in STEPS if one <= step) for one in there]
    assert delays(seconds).counts == {step: expected.count(step) for step in sorted({*expected})}


def test_whole_days_are_within_themselves() -> None:
    assert delays([7 * DAY, 7 * DAY + 1e-6, -5.0, 0.0]).counts == {0: 2, 7 * DAY: 1, 8 * DAY: 1}
    assert list(STEPS) == sorted({*STEPS})


@pytest.mark.parametrize("counts", [{3: 1}, {60: 0}, {60: -1}, {120: 1, 60: 1}])
def test_counts_that_no_rows_have_are_refused(counts: dict[int, int]) -> None:
    with pytest.raises(UsageError, match="label delays"):
        LabelDelays(counts)
    body = bytearray(encode(LabelDelays({60: 1})))
    with pytest.raises(CodecError):
        decode(bytes(body[:4]) + msgspec.msgpack.encode([[*map(list, counts.items())]]), LabelDelays)


# ---- what a model's are ---------------------------------------------------------------------------------------------

_rows = st.lists(st.none() | st.sampled_from([0.0, 30.0, 3600.0, 2.0 * DAY, 9.0 * DAY, 400.0 * DAY]), max_size=6)
_windows = st.lists(st.tuples(st.sampled_from([0, 60, DAY, 5 * DAY, 90 * DAY]), _rows), max_size=8)


@given(windows=_windows, at=st.sampled_from([-1, 0, 60, DAY, 10 * DAY, 100 * DAY, 1000 * DAY]))
def test_the_share_without_a_label_is_that_of_the_rows_that_are_old_enough(
    windows: list[tuple[int, list[float | None]]], at: int
) -> None:
    found = delay_of([brief(*one) for one in windows], START + timedelta(seconds=at))
    assert (found is None) == (not any(one is not None for _, rows in windows for one in rows))
    if found is None:
        return
    for one in found.unlabelled:
        rows = [row for ended, those in windows if ended + one.age_seconds <= at for row in those]
        missing = sum(row is None or row > one.age_seconds for row in rows)
        assert (one.predictions, one.share) == (len(rows), pytest.approx(missing / len(rows)))
        assert math.isfinite(one.share)
    ages = [step for step in STEPS if any(ended + step <= at and rows for ended, rows in windows)]
    assert [one.age_seconds for one in found.unlabelled] == ages
    split = [brief(ended, part) for ended, rows in windows for part in (rows[:2], rows[2:])]
    again = delay_of(split, START + timedelta(seconds=at))
    assert again is not None and msgspec.structs.replace(again, windows=found.windows) == found
    words = delay_shown(found).words
    assert "labels" in words and "None" not in words and "nan" not in words


def test_half_and_nine_tenths_are_of_the_labels_that_come() -> None:
    """Of ten predictions one never gets a label; recent windows, whose labels are on the way, change nothing."""
    old = [brief(day * DAY, [DAY] * 5 + [3 * DAY] * 4 + [None]) for day in range(30)]
    young = [brief(day * DAY, [None] * 10) for day in range(58, 60)]
    found = delay_of([*old, *young], START + timedelta(days=60))
    assert found is not None and (found.median_seconds, found.p90_seconds) == (DAY, 3 * DAY)
    assert found.unlabelled[-1].share == pytest.approx(0.1) and found.labels == 270
    shown = delay_shown(found)
    assert shown.words == (
        "Half of the labels come within 1 day, nine of ten within 3 days. "
        "Of 300 predictions that are at least 3 days old, 10 % had no label by then."
    )
    assert (shown.first, shown.last) == ("18 hours", "3 days")
    assert "<svg" in shown.drawing and "Without a label" in shown.drawing


def test_windows_of_a_release_that_did_not_know_are_left_out() -> None:
    windows = [brief(0, [60.0, 60.0]), brief(0, [DAY] * 100, known=False)]
    found = delay_of(windows, START + timedelta(days=9))
    assert found is not None and (found.windows, found.labels, found.median_seconds) == (1, 2, 60)
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(windows[1]))[:-1]
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(fields), type=WindowBrief) == windows[1]


def test_labels_of_predictions_that_are_all_young_do_not_say_how_late_labels_come() -> None:
    found = delay_of([brief(DAY, [60.0, None])], START)
    assert found == LabelDelayView(1, 1, None, None, [])
    shown = delay_shown(found)
    assert "too young to tell" in shown.words and shown.ages == () and shown.drawing == ""
