"""Probation: a champion is held to the windows that it answered itself, and to no other."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.config.load import load
from driftline.events import Window
from driftline.retrain.views import champion_view
from driftline.rules import held_against
from driftline.service.runtime import Service
from driftline.store.retraining import RetrainingRow
from driftline.store.windows import Windows
from tests.support.churn import MODEL, START, label, prediction
from tests.support.retraining import NOW, after_twelve_days, configured, days, loop, requests
from tests.support.steps import deliver, work


@pytest.fixture(scope="module")
def baking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a service whose v2 has just become champion: one training for all."""
    folder = tmp_path_factory.mktemp("baking")
    service = after_twelve_days(folder, **{"when: {alerts: [accuracy-low]}": "when: {every: 8d}"})
    assert loop(service).stage == "baking"
    service.stop()
    return folder


@pytest.fixture
def promoted(baking: Path, tmp_path: Path) -> Iterator[Service]:
    """A service of its own whose v2 has just become champion, on probation for three days and three windows."""
    shutil.copytree(baking, tmp_path, dirs_exist_ok=True)
    service = Service(load(tmp_path / "driftline.yaml"))
    yield service
    service.stop()


def first(service: Service) -> RetrainingRow:
    """The request whose champion is on probation, after the loop has looked once more."""
    service.loop.step(MODEL, NOW)
    return requests(service)[-1]


def test_without_labels_it_goes_on_and_says_so(promoted: Service) -> None:
    for number in range(12, 20):
        rows = [prediction(f"{number}-{index}", number + index / 100, said=0) | {"version": "v2"} for index in range(9)]
        deliver(promoted, "predictions", rows)
        work(promoted)
    row = first(promoted)
    assert row.stage == "baking"
    assert row.note == (
        "v2 is champion in place of v1, on probation: 3 days are over, and it has answered no judged windows of the 3 "
        "that its probation takes"
    )
    assert champion_view(promoted.loop, MODEL).on_probation
    for number in (12, 13, 14):
        deliver(promoted, "labels", [label(f"{number}-{index}", number + 9, truth=0) for index in range(9)])
        work(promoted)
        row = first(promoted)
    assert (row.stage, row.note) == ("promoted", "no performance alert in 3 days, 3 judged windows that v2 answered")


def test_windows_on_which_no_rule_has_a_verdict_count_for_nothing(promoted: Service) -> None:
    """One label in nine: less than the half that rules want."""
    for number in range(12, 20):
        rows = [prediction(f"{number}-{index}", number + index / 100, said=0) | {"version": "v2"} for index in range(9)]
        deliver(promoted, "predictions", rows)
        deliver(promoted, "labels", [label(f"{number}-0", number + 0.9, truth=0)])
        work(promoted)
    row = first(promoted)
    assert (row.stage, "it has answered no judged windows of the 3" in row.note) == ("baking", True)


def test_what_its_predecessor_still_answers_is_not_held_against_it(promoted: Service) -> None:
    days(promoted, 12, 19)  # v1 goes on, and is wrong in 90 %
    row = first(promoted)
    assert (row.stage, champion_view(promoted.loop, MODEL).champion) == ("baking", "v2")
    days(promoted, 19, 24, version="v2")
    assert first(promoted).stage == "promoted"


def test_an_alert_that_goes_on_under_it_rolls_it_back(promoted: Service) -> None:
    """It fired under v1, and v2 is no better: no alert begins since the promotion."""
    days(promoted, 12, 15, version="v2", flipped=False)
    row = first(promoted)
    assert (row.stage, champion_view(promoted.loop, MODEL).champion) == ("rolled back", "v1")
    assert row.note == "accuracy-low fires on windows since the promotion; v1 is champion again"


def test_a_rule_that_wants_two_windows_wants_two_of_the_versions_own(tmp_path: Path) -> None:
    """One bad window of the old version and one of the new are no two: v2 is bad for a day, and good again."""
    twice = {
        "when: {alerts: [accuracy-low]}": "when: {every: 8d}",
        "accuracy-low, measure: accuracy, below: 0.75,": "accuracy-low, measure: accuracy, below: 0.75, for: 2,",
        "recall, below: 0.5": "recall, below: 0.01",
    }
    service = Service(load(configured(tmp_path, **twice)))
    days(service, 0, 12)
    assert loop(service).stage == "baking"
    days(service, 12, 13, version="v2", flipped=False)
    assert first(service).stage == "baking"
    days(service, 13, 18, version="v2")
    assert first(service).stage == "promoted"
    service.stop()


def test_one_far_event_ends_no_probation(promoted: Service) -> None:
    deliver(promoted, "predictions", [prediction("far", 90, said=0) | {"version": "v2"}])
    work(promoted)
    assert first(promoted).stage == "baking"


def test_a_model_without_versions_is_judged_by_what_came_since(tmp_path: Path) -> None:
    service = Service(load(configured(tmp_path, **{"when: {alerts: [accuracy-low]}": "when: {every: 8d}"})))
    days(service, 0, 12, version="", named="v1")
    assert (loop(service).champion, requests(service)[0].stage) == ("unversioned", "baking")
    days(service, 12, 17, version="", named="v2")
    assert first(service).stage == "promoted"
    service.stop()


def test_a_look_at_which_nothing_is_new_reads_no_profile(promoted: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    days(promoted, 12, 14, version="v2")
    assert first(promoted).stage == "baking"
    read: list[str] = []
    monkeypatch.setattr(Windows, "between", lambda self, model, **options: read.append(model) or [])  # type: ignore[func-returns-value]
    row = promoted.loop.models[MODEL]
    promoted.loop._bake(row, promoted.loop.configs[MODEL], requests(promoted)[-1], NOW)
    assert read == []


class Spanned:
    def __init__(self, begin: int, days: int) -> None:
        self.started_at, self.last_end = START + timedelta(days=begin), START + timedelta(days=begin + days)


@given(
    st.lists(st.builds(Spanned, st.integers(0, 30), st.integers(1, 9)), max_size=8),
    st.integers(0, 30),
    st.integers(1, 9),
)
def test_an_alert_speaks_of_a_version_where_they_share_a_moment(alerts: list[Any], begin: int, length: int) -> None:
    live = Window(START + timedelta(days=begin), START + timedelta(days=begin + length))
    held = held_against(alerts, live)
    hours = [live.start + timedelta(hours=hour) for hour in range(length * 24)]
    assert held == [one for one in alerts if any(one.started_at <= hour < one.last_end for hour in hours)]
    assert held_against(alerts, None) is None
