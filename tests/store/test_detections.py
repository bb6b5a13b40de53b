"""What is stored of detectors: states to go on from are few, and what is forgotten is gone."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from driftline.store.database import open_database
from driftline.store.detections import SINGLE_PART, WHOLE_PART, DetectionRow, DetectorRow, DetectorStateRow
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
        state = DetectorStateRow(MODEL, WHOLE_PART, day(number), number % 28 == 0, b"state")
        work.detections.replace_states(MODEL, day(number), [state], day(number) - timedelta(days=90))
    after = {number: work.detections.state_before(MODEL, WHOLE_PART, day(number + 1)) for number in range(400)}
    kept = [number for number, found in after.items() if found is not None]
    assert kept[0] == 308  # the newest that is older than 90 days
    found = {after[number] for number in kept}
    assert sorted((one.start - START).days for one in found if one is not None) == [308, 336, 364, 392, 399]


def test_a_state_from_the_changed_window_on_is_replaced(work: Work) -> None:
    work.detections.replace_states(
        MODEL, day(0), [DetectorStateRow(MODEL, WHOLE_PART, day(k), True, b"old") for k in range(3)], EPOCH
    )
    work.detections.replace_states(MODEL, day(1), [DetectorStateRow(MODEL, WHOLE_PART, day(2), True, b"new")], EPOCH)
    found = [work.detections.state_before(MODEL, WHOLE_PART, day(k)) for k in range(4)]
    assert [None if one is None else (one.start, one.state) for one in found] == [
        None,
        (day(0), b"old"),
        (day(0), b"old"),
        (day(2), b"new"),
    ]


def test_a_state_of_days_stays_until_one_of_a_later_day_comes(work: Work) -> None:
    def state(part: str, number: int, *, kept: bool = False) -> DetectorStateRow:
        return DetectorStateRow(MODEL, part, day(number), kept, b"state")

    def stored(part: str) -> list[int]:
        found = {work.detections.state_before(MODEL, part, day(k)) for k in range(9)}
        return sorted((one.start - START).days for one in found if one is not None)

    pair = [state(WHOLE_PART, 1, kept=True), state(SINGLE_PART, 1, kept=True)]
    work.detections.replace_states(MODEL, day(1), [*pair, state(WHOLE_PART, 2), state(SINGLE_PART, 2)], EPOCH)
    work.detections.replace_states(MODEL, day(3), [state(SINGLE_PART, 3)], EPOCH)
    assert (stored(WHOLE_PART), stored(SINGLE_PART)) == ([1, 2], [1, 3])
    work.detections.replace_states(MODEL, day(4), [state(SINGLE_PART, 4)], day(9))  # the rest is on the pair
    assert (stored(WHOLE_PART), stored(SINGLE_PART)) == ([1, 2], [1, 4])
    work.detections.replace_states(MODEL, day(5), [state(WHOLE_PART, 5), state(SINGLE_PART, 5)], EPOCH)
    assert (stored(WHOLE_PART), stored(SINGLE_PART)) == ([1, 5], [1, 5])


@pytest.mark.parametrize("from_reference", [False, True])
def test_windows_are_forgotten_and_what_a_reference_taught_is_not(work: Work, from_reference: bool) -> None:
    work.detections.put_detector(DetectorRow(MODEL, b"f", day(5), from_reference, b"learnt"))
    work.detections.put([DetectionRow(MODEL, day(5), b"values")])
    work.detections.replace_states(MODEL, day(5), [DetectorStateRow(MODEL, WHOLE_PART, day(5), True, b"state")], EPOCH)
    work.detections.forget_windows(MODEL)
    assert work.detections.since(MODEL, EPOCH) == []
    assert work.detections.newest_start(MODEL) is None
    assert work.detections.state_before(MODEL, WHOLE_PART, day(9)) is None
    known = work.detections.detector(MODEL)
    begins, learnt = (day(5), b"learnt") if from_reference else (EPOCH, b"")
    assert known == DetectorRow(MODEL, b"f", begins, from_reference, learnt)
