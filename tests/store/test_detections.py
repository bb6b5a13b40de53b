"""What is stored of detectors: states to go on from are few, and what is forgotten is gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from driftline.store.database import open_database
from driftline.store.detections import DetectionRow, DetectorRow, DetectorStateRow
from driftline.store.state import State, Work
from driftline.store.tables import EPOCH

MODEL = "m"
START = datetime(2024, 1, 1, tzinfo=UTC)


@pytest.fixture
def work(address: str) -> Iterator[Work]:
    engine = open_database(address)
    with State(engine).work() as work:
        yield work
    engine.dispose()


def day(number: int) -> datetime:
    return START + timedelta(days=number)


def test_states_that_no_label_can_ask_for_are_not_kept(work: Work) -> None:
    for number in range(400):
        state = DetectorStateRow(MODEL, day(number), number % 28 == 0, b"state")
        work.detections.replace_states(MODEL, day(number), [state], day(number) - timedelta(days=90))
    kept = [
        number for number in range(400) if (found := work.detections.state_before(MODEL, day(number + 1))) is not None
    ]
    assert kept[0] == 308  # the newest that is older than 90 days
    found = {work.detections.state_before(MODEL, day(number + 1)) for number in kept}
    assert sorted((one.start - START).days for one in found if one is not None) == [308, 336, 364, 392, 399]


def test_a_state_from_the_changed_window_on_is_replaced(work: Work) -> None:
    work.detections.replace_states(
        MODEL, day(0), [DetectorStateRow(MODEL, day(k), True, b"old") for k in range(3)], EPOCH
    )
    work.detections.replace_states(MODEL, day(1), [DetectorStateRow(MODEL, day(2), True, b"new")], EPOCH)
    found = [work.detections.state_before(MODEL, day(k)) for k in range(4)]
    assert [None if one is None else (one.start, one.state) for one in found] == [
        None,
        (day(0), b"old"),
        (day(0), b"old"),
        (day(2), b"new"),
    ]


@pytest.mark.parametrize("from_reference", [False, True])
def test_windows_are_forgotten_and_what_a_reference_taught_is_not(work: Work, from_reference: bool) -> None:
    work.detections.put_detector(DetectorRow(MODEL, b"f", day(5), from_reference, b"learnt"))
    work.detections.put([DetectionRow(MODEL, day(5), b"values")])
    work.detections.replace_states(MODEL, day(5), [DetectorStateRow(MODEL, day(5), True, b"state")], EPOCH)
    work.detections.forget_windows(MODEL)
    assert work.detections.since(MODEL, EPOCH) == []
    assert work.detections.newest_start(MODEL) is None
    assert work.detections.state_before(MODEL, day(9)) is None
    known = work.detections.detector(MODEL)
    begins, learnt = (day(5), b"learnt") if from_reference else (EPOCH, b"")
    assert known == DetectorRow(MODEL, b"f", begins, from_reference, learnt)
