"""A wall clock that jumps makes no span longer or shorter: nobody is told of silence, or told again, for that."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from driftline.rules import Status
from driftline.rules.topic import STALENESS
from driftline.service import clock
from driftline.service.alerting import STALE_RULE
from driftline.service.clock_jumps import LEAST, JumpWatch, bring_back, move_along, moved_along
from driftline.service.http import create_app
from driftline.service.runtime import Service
from driftline.store.outbox import Outbox, ToldRow
from driftline.store.state import AlertRow
from tests.service.conftest import MODEL, prediction
from tests.service.steps import NOW, deliver, work

YEAR = timedelta(days=365)
JUMPS = st.timedeltas(-YEAR, YEAR).filter(lambda by: abs(by) >= LEAST)


@given(st.lists(JUMPS, max_size=6), st.timedeltas(timedelta(), timedelta(days=9)))
def test_every_jump_is_seen_once_and_time_that_passes_is_none(jumps: list[timedelta], passes: timedelta) -> None:
    watch, steady, offset = JumpWatch(), NOW, timedelta()
    for by in jumps:
        steady, offset = steady + passes, offset + by
        assert watch.jump(steady + offset, steady) == by
        assert watch.jump(steady + offset, steady) == timedelta()
        assert bool(watch.words) is (abs(offset) >= LEAST)


@given(JUMPS, st.floats(0, 0.49))
def test_a_span_stays_what_it_was_and_is_not_moved_twice(by: timedelta, share: float) -> None:
    elapsed = abs(by) * share
    moved = moved_along(NOW - by - elapsed, by, NOW)
    assert NOW - moved == elapsed
    assert moved_along(moved, by, NOW) == moved


@given(JUMPS, st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)))
def test_nothing_of_the_past_is_moved_into_the_future(by: timedelta, moment: datetime) -> None:
    assert moved_along(moment, by, NOW) <= max(NOW, moment)


@pytest.fixture
def noted(service: Service) -> Service:
    """A service with an arrival an hour ago, a stale model, and a receiver that was told so."""
    deliver(service, "predictions", [prediction("a", 0.0, said=1)])
    work(service)
    with service.state.work() as change:
        stored = change.model(MODEL)
        assert stored is not None and stored.last_arrival == NOW
        change.put_alert(stale(NOW))
        Outbox(change.connection).put_told(ToldRow("ops", "x", "fired", NOW))
    return service


def stale(since: datetime) -> AlertRow:
    spans = dict.fromkeys(("started_at", "last_end", "window_start", "window_end", "fired_at"), since)
    absent: dict[str, Any] = dict.fromkeys(("low", "high", "worst", "ended_at"))
    return AlertRow(
        id="x",
        model=MODEL,
        rule=STALE_RULE,
        measure=STALENESS,
        severity="page",
        title="Model receives no events!",
        status=Status.FIRING.value,
        value=1.0,
        n=0,
        threshold=1.0,
        findings=b"{}",
        **spans,
        **absent,
    )


def moments(service: Service) -> list[datetime | None]:
    with service.state.read() as read:
        stored = read.model(MODEL)
        assert stored is not None
        [alert] = read.alerts(MODEL, rule=STALE_RULE)
        told = Outbox(read.connection).told(["x"])["ops", "x"]
    return [stored.last_arrival, alert.started_at, told.at]


@pytest.mark.parametrize("by", [timedelta(hours=1), YEAR, -timedelta(days=1), -YEAR])
def test_what_was_noted_goes_along_and_comes_back(noted: Service, by: timedelta) -> None:
    at = NOW + timedelta(minutes=20)
    for _ in range(2):  # the second pass finds nothing to do
        move_along(noted.state, [MODEL], by, at + by)
        assert moments(noted) == [NOW + by] * 3
    move_along(noted.state, [MODEL], -by, at)
    assert moments(noted) == [NOW] * 3


def test_a_start_takes_the_future_as_now(noted: Service) -> None:
    now = NOW - YEAR
    bring_back(noted.state, [MODEL, "unknown"], now)
    assert moments(noted) == [now] * 3
    bring_back(noted.state, [MODEL], now + timedelta(hours=1))
    assert moments(noted) == [now] * 3


def test_the_worker_follows_the_clock_and_ready_says_where_it_is(
    noted: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady = NOW + timedelta(minutes=20)
    offset = timedelta()
    monkeypatch.setattr(clock, "now", lambda: steady + offset)
    follow: Callable[[], None] = functools.partial(noted._follow_the_clock, lambda: steady)
    client = TestClient(create_app(noted))
    follow()
    assert moments(noted) == [NOW] * 3 and noted.warnings == {}
    offset = YEAR
    follow()
    assert moments(noted) == [NOW + YEAR] * 3
    answer = client.get("/ready")
    assert answer.status_code == 200
    said = "the clock has jumped: it is 365 days ahead of where it was at the start"
    assert answer.json()["warnings"] == {"clock": said}
    with noted.state.work() as change:  # a batch that came just before the jump, and is worked in just after it
        stored = change.model(MODEL)
        assert stored is not None
        change.put_model(replace(stored, last_arrival=steady))
    follow()
    assert moments(noted)[0] == steady + YEAR
    offset = timedelta()
    follow()
    assert moments(noted)[0] == steady and noted.warnings == {}


def test_a_start_after_a_clock_was_ahead_begins_from_now(noted: Service) -> None:
    with noted.state.work() as change:
        stored = change.model(MODEL)
        assert stored is not None
        change.put_model(replace(stored, last_arrival=clock.now() + YEAR))
    noted.start()
    last = moments(noted)[0]
    assert last is not None and abs(last - clock.now()) < LEAST
