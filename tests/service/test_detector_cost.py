"""What the detector of a served model costs, counted: what has not changed is neither read nor folded again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from driftline.detection import Detector, DetectorState, Learnt, SeriesWindow
from driftline.monitoring import detecting
from driftline.profiles import WindowProfile
from driftline.service.runtime import Service
from driftline.sketches import decode
from driftline.store.detections import SINGLE_PART, WHOLE_PART
from driftline.store.tables import EPOCH
from driftline.store.windows import WindowRow
from tests.support.churn import MODEL, START
from tests.support.daily import daily_config, day_of, days_of
from tests.support.effort import counted
from tests.support.hourly import hour_of, hourly_config, labels, predictions
from tests.support.steps import deliver, work

DAYS, HOURS = 11, 2 * 24 + 5


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """Eleven days are judged, and a state to go on from is kept after each four; the label of a day is missing."""
    monkeypatch.setattr(detecting, "KEEP_EVERY", 4)
    service = Service(daily_config(tmp_path, timed=8))
    days = days_of(range(DAYS))
    deliver(service, "predictions", [row for day in days for row in day.predictions])
    deliver(service, "labels", [row for day in days for row in day.labels if row["id"] != "6-0"])
    deliver(service, "predictions", day_of(DAYS).predictions[:1])
    work(service)
    yield service
    service.stop()


@pytest.fixture
def seen(service: Service, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """What was decoded, and how many windows were folded."""
    return counting(monkeypatch)


def counting(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is decoded, and how many windows are folded, from now on."""
    counts, real, step, stored = Counter[str](), detecting.decode, Detector.step, detecting.stored_profiles

    def decoded(data: bytes, kind: type[Any]) -> Any:
        counts[kind.__name__] += 1
        return real(data, kind)

    def stepped(self: Detector, state: DetectorState, window: SeriesWindow) -> Any:
        counts["step"] += 1
        return step(self, state, window)

    def profiles(rows: Sequence[WindowRow]) -> Any:
        counts[WindowProfile.__name__] += len(rows)
        return stored(rows)

    monkeypatch.setattr(detecting, "decode", decoded)
    monkeypatch.setattr(detecting, "stored_profiles", profiles)
    monkeypatch.setattr(Detector, "step", stepped)
    return counts


def test_a_pass_with_nothing_new_reads_nothing_of_the_detector(service: Service, seen: Counter[str]) -> None:
    with counted() as effort:
        work(service)
    assert not seen
    assert [one for one in effort.statements if "detect" in one] == []


def test_one_more_window_decodes_one_state_and_one_window(service: Service, seen: Counter[str]) -> None:
    deliver(service, "labels", day_of(DAYS).labels[:1])
    deliver(service, "predictions", day_of(DAYS + 1).predictions[:1])
    work(service)
    once = dict.fromkeys((Learnt.__name__, WindowProfile.__name__, "DetectorState", "step"), 1)
    assert seen == {**once, "Reading": 2}  # one of the two is the overdue day that has not all of its labels


def test_a_late_label_folds_the_windows_since_the_last_kept_state(service: Service, seen: Counter[str]) -> None:
    deliver(service, "labels", day_of(6).labels[:1])
    work(service)
    assert seen["WindowProfile"] == 1
    assert seen["step"] == DAYS - 4


def test_values_of_a_window_are_small(service: Service) -> None:
    with service.state.read() as read:
        known, rows = read.detections.detector(MODEL), read.detections.since(MODEL, EPOCH)
    assert known is not None
    series = len(decode(known.learnt, Learnt).whole.map.series)
    assert len(rows) == DAYS
    assert all(len(row.values) <= 20 * series + 64 for row in rows)


# ---- windows shorter than a day -------------------------------------------------------------------------------


@pytest.fixture
def hourly(tmp_path: Path) -> Iterator[Service]:
    """Two days and five hours are judged, of two rows an hour."""
    service = Service(hourly_config(tmp_path))
    hours = [hour_of(number, rows=2) for number in range(HOURS)]
    deliver(service, "predictions", predictions(hours))
    deliver(service, "labels", labels(hours))
    deliver(service, "predictions", hour_of(HOURS, rows=1).predictions)
    work(service)
    yield service
    service.stop()


def test_one_more_hour_decodes_itself_and_a_day_that_ends_its_hours(
    hourly: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts = counting(monkeypatch)
    with counted() as effort:
        work(hourly)
    assert not counts and [one for one in effort.statements if "detect" in one] == []

    def close(number: int) -> tuple[dict[str, int], list[str]]:
        counts.clear()
        with counted() as effort:
            deliver(hourly, "labels", hour_of(number - 1, rows=1).labels)
            deliver(hourly, "predictions", hour_of(number, rows=1).predictions)
            work(hourly)
        return {**counts}, [one for one in effort.statements if "detect" in one]

    each = {"Learnt": 1, "DetectorState": 1, "SingleState": 1, "Reading": 1, "step": 1}
    found, statements = close(HOURS + 1)
    assert found == {**each, WindowProfile.__name__: 1}
    numbers = [close(number) for number in range(HOURS + 2, 3 * 24)]
    assert {len(statements) for _, statements in numbers} == {len(statements)}  # however many there are by now
    found, _ = close(3 * 24)
    assert found == {**each, WindowProfile.__name__: 24, "step": 2}  # the hour and its day


def test_while_it_learns_an_hour_reads_none_but_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    service = Service(hourly_config(tmp_path, days=1, timed=False))
    hours = [hour_of(number, rows=2) for number in range(8 * 24)]
    deliver(service, "predictions", predictions(hours))
    deliver(service, "labels", labels(hours))
    deliver(service, "predictions", hour_of(8 * 24, rows=1).predictions)
    work(service)
    counts = counting(monkeypatch)
    for number in range(8 * 24 + 1, 8 * 24 + 5):
        deliver(service, "labels", hour_of(number - 1, rows=1).labels)
        counts.clear()
        deliver(service, "predictions", hour_of(number, rows=1).predictions)
        work(service)
        assert (counts["WindowProfile"], counts["step"]) == (1, 1)
    service.stop()


def test_one_more_hour_reads_at_most_a_day_where_labels_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = Service(hourly_config(tmp_path, expected="6h"))
    hours = [hour_of(number, rows=2) for number in range(6 * 24)]
    deliver(service, "predictions", predictions(hours))
    deliver(service, "labels", [hour.labels[0] for hour in hours])
    work(service)
    counts = counting(monkeypatch)
    for number in range(6 * 24, 6 * 24 + 3):
        counts.clear()
        deliver(service, "predictions", hour_of(number, rows=1).predictions)
        work(service)
        assert counts["WindowProfile"] <= 1 + 24 and counts["Reading"] <= 3 * 24 and counts["step"] <= 2
    service.stop()


def test_a_state_has_no_history_of_values(hourly: Service) -> None:
    with hourly.state.read() as read:
        known, after = read.detections.detector(MODEL), START + timedelta(days=9)
        stored = [read.detections.state_before(MODEL, part, after) for part in (WHOLE_PART, SINGLE_PART)]
    assert known is not None
    learnt = decode(known.learnt, Learnt)
    assert learnt.single is not None
    for row, fixed in zip(stored, (learnt.whole, learnt.single), strict=True):
        assert row is not None
        series = len(fixed.detector.series)
        assert len(row.state) < series * (1000 + 1500 * (row.part == WHOLE_PART)) + 10_000
