"""What the detector of a served model costs, counted: what has not changed is neither read nor folded again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from driftline.detection import Detector, DetectorState, SeriesWindow
from driftline.monitoring import detecting
from driftline.monitoring.budget import Learnt
from driftline.profiles import WindowProfile
from driftline.service.runtime import Service
from driftline.sketches import decode
from driftline.store.tables import EPOCH
from driftline.store.windows import WindowRow
from tests.support.churn import MODEL
from tests.support.daily import daily_config, day_of, days_of
from tests.support.effort import counted
from tests.support.steps import deliver, work

DAYS = 11


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
    assert seen == {**once, "SeriesWindow": 2}  # one of the two is the day that has not all of its labels


def test_a_late_label_folds_the_windows_since_the_last_kept_state(service: Service, seen: Counter[str]) -> None:
    deliver(service, "labels", day_of(6).labels[:1])
    work(service)
    assert seen["WindowProfile"] == 1
    assert seen["step"] == DAYS - 4


def test_values_of_a_window_are_small(service: Service) -> None:
    with service.state.read() as read:
        known, rows = read.detections.detector(MODEL), read.detections.since(MODEL, EPOCH)
    assert known is not None
    series = len(decode(known.learnt, Learnt).map.series)
    assert len(rows) == DAYS
    assert all(len(row.values) <= 20 * series + 64 for row in rows)
