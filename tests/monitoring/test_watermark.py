"""Event time: as far as events say, at most ten minutes ahead of when they arrived, whatever any one of them says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from driftline.config.load import Config
from driftline.events import Label, Prediction
from driftline.monitoring.planning import AHEAD, arrived
from driftline.service.runtime import Service
from driftline.store.deliveries import Delivery
from driftline.store.inbox import InboxRow
from tests.support.churn import MODEL
from tests.support.steps import work

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
DAYS = st.integers(-(10**6), 86_400).map(lambda seconds: timedelta(seconds=seconds))


def predicted(id: str, time: datetime, role: Any = "live") -> Prediction:
    return Prediction(
        id=id,
        time=time,
        version="v1",
        features={"age": 1.0, "plan": "pro"},
        prediction="1",
        score={},
        latency_seconds=None,
        role=role,
    )


def row(kind: str, arrived: datetime, time: datetime) -> InboxRow:
    if kind == "label":
        return InboxRow(1, "labels", arrived, [Label(id="a", label="1", time=time)])
    return InboxRow(1, "predictions", arrived, [predicted("a", time, kind)])


@given(st.lists(st.tuples(st.sampled_from(["live", "shadow", "label"]), DAYS, DAYS), min_size=1))
def test_event_time_is_that_of_the_latest_event_and_at_most_ten_minutes_ahead_of_its_arrival(
    events: list[tuple[str, timedelta, timedelta]],
) -> None:
    rows = [row(kind, NOW + arrived, NOW + arrived + ahead) for kind, arrived, ahead in events]
    plan = arrived(rows)
    assert plan.watermark == max(NOW + arrived + min(ahead, AHEAD) for _, arrived, ahead in events)


def deliver(service: Service, arrived: datetime, *events: Prediction | Label) -> None:
    kind: Any = "labels" if isinstance(events[0], Label) else "predictions"
    service.inbox.accept(Delivery(MODEL, kind, arrived, events))  # type: ignore[arg-type]
    work(service)


def watermark(service: Service) -> datetime | None:
    with service.state.read() as read:
        stored = read.models.get(MODEL)
    assert stored is not None
    return stored.watermark


@pytest.mark.parametrize("kind", ["live", "shadow", "label"])
def test_one_event_hours_ahead_closes_no_window(service: Service, kind: str) -> None:
    deliver(service, NOW, *(predicted(f"a{index}", NOW) for index in range(5)))
    ahead = NOW + timedelta(hours=20)
    deliver(service, NOW, Label(id="x", label="1", time=ahead) if kind == "label" else predicted("x", ahead, kind))
    assert watermark(service) == NOW + AHEAD
    stages = [one.summary.stage for one in service.views.windows(MODEL)]
    assert stages and set(stages) == {"open"}


def test_it_stays_so_when_the_windows_come_from_the_log_anew(config: Config) -> None:
    service = Service(config)
    deliver(service, NOW, predicted("a", NOW), predicted("x", NOW + timedelta(hours=20)))
    service.stop()
    for one in config.storage.glob("state.db*"):
        one.unlink()
    service = Service(config)
    service.worker.catch_up(MODEL)
    work(service)
    recalled = watermark(service)
    assert recalled is not None and recalled <= datetime.now(UTC) + AHEAD
    assert [one.summary.predictions for one in service.views.windows(MODEL)] == [1, 1]
    service.stop()


def test_a_clock_that_was_a_year_ahead_and_is_put_right_closes_no_window_for_ever(service: Service) -> None:
    deliver(service, NOW, predicted("a", NOW))
    wrong = NOW + timedelta(days=365)
    deliver(service, wrong, predicted("b", wrong))
    assert watermark(service) == wrong
    later = NOW + timedelta(minutes=1)
    deliver(service, later, predicted("c", later))
    assert watermark(service) == later + AHEAD
    with service.state.read() as read:
        stored = read.models.get(MODEL)
    assert stored is not None and stored.last_arrival == later
    tomorrow = NOW + timedelta(days=1)
    deliver(service, tomorrow, predicted("d", tomorrow))
    windows = {one.summary.start: one.summary for one in service.views.windows(MODEL)}
    assert windows[tomorrow.replace(hour=0)].stage == "open"


def test_a_clock_that_is_put_back_a_little_moves_nothing(service: Service) -> None:
    deliver(service, NOW, predicted("a", NOW))
    deliver(service, NOW - timedelta(minutes=5), predicted("b", NOW - timedelta(minutes=5)))
    assert watermark(service) == NOW


def test_history_is_loaded_as_if_it_were_live(service: Service) -> None:
    past = NOW - timedelta(days=30)
    for day in range(3):
        deliver(service, NOW, predicted(str(day), past + timedelta(days=day)))
    assert watermark(service) == past + timedelta(days=2)
    assert [one.summary.stage for one in service.views.windows(MODEL)][-1] == "open"


def test_a_window_that_a_wrong_clock_closed_is_open_again(service: Service) -> None:
    deliver(service, NOW, predicted("a", NOW))
    ahead = NOW + timedelta(hours=26)
    deliver(service, ahead, predicted("b", ahead))
    assert [one.summary.stage for one in service.views.windows(MODEL)] == ["waiting for labels", "open"]
    deliver(service, NOW, predicted("c", NOW - timedelta(days=3)))
    assert [one.summary.stage for one in service.views.windows(MODEL)] == ["judged", "open", "open"]
