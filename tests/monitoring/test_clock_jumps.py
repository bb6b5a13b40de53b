"""A wall clock that jumps makes no span longer or shorter: nobody is told of silence, or told again, for that."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi.testclient import TestClient
from hypothesis import assume, given
from hypothesis import strategies as st

from driftline import clock
from driftline.monitoring.alerting import STALE_RULE
from driftline.monitoring.clock_jumps import (
    LEAST,
    JumpWatch,
    bring_back,
    move_along,
    move_late,
    moved_along,
    moved_late,
)
from driftline.rules import Status
from driftline.rules.topic import STALENESS
from driftline.service.runtime import Service
from driftline.store.alerts import AlertRow
from driftline.store.outbox import Outbox, ToldRow
from driftline.web.app import create_app
from tests.support.churn import MODEL, prediction
from tests.support.steps import NOW, deliver, work

YEAR = timedelta(days=365)
SECOND = timedelta(seconds=1)
JUMPS = st.timedeltas(-YEAR, YEAR).filter(lambda by: abs(by) >= LEAST)


@given(st.lists(JUMPS, max_size=6), st.timedeltas(timedelta(), timedelta(days=9)))
def test_every_jump_is_seen_once_and_time_that_passes_is_none(jumps: list[timedelta], passes: timedelta) -> None:
    watch, steady, offset = JumpWatch(), NOW, timedelta()
    for by in jumps:
        steady, offset = steady + passes, offset + by
        assert watch.jump(steady + offset, steady) == by
        assert watch.jump(steady + offset, steady) == timedelta()
        assert bool(watch.words) is (abs(offset) >= LEAST)


@given(JUMPS, st.timedeltas(timedelta(), 2 * YEAR))
def test_a_span_stays_what_it_was_and_is_not_moved_twice(by: timedelta, span: timedelta) -> None:
    """However long it is: also where it is longer than the jump."""
    assume(abs(span - abs(by)) > SECOND)  # it would be one of just now, or of just before the jump
    moved = moved_along(NOW - by - span, by, NOW, SECOND)
    assert NOW - moved == span
    assert moved_late(moved, by, NOW, SECOND) == moved


@given(JUMPS, st.timedeltas(timedelta(), SECOND))
def test_what_is_of_about_the_jump_is_moved_if_it_came_before(by: timedelta, span: timedelta) -> None:
    assert moved_along(NOW - span, by, NOW, SECOND) == moved_late(NOW - span, by, NOW, SECOND) == NOW - span
    assert moved_late(NOW - by - span, by, NOW, SECOND) == NOW - span


@given(JUMPS, st.datetimes(datetime(2020, 1, 1), datetime(2030, 1, 1), timezones=st.just(UTC)))
def test_nothing_of_the_past_is_moved_into_the_future(by: timedelta, moment: datetime) -> None:
    for moved in (moved_along, moved_late):
        assert moved(moment, by, NOW, SECOND) <= max(NOW, moment)


@pytest.fixture
def noted(service: Service) -> Service:
    """A service with an arrival an hour ago, a stale model, and a receiver that was told so."""
    deliver(service, "predictions", [prediction("a", 0.0, said=1)])
    work(service)
    with service.state.work() as change:
        stored = change.models.get(MODEL)
        assert stored is not None and stored.last_arrival == NOW
        change.alerts.put(stale(NOW))
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
        stored = read.models.get(MODEL)
        assert stored is not None
        [alert] = read.alerts.find(MODEL, rule=STALE_RULE)
        told = Outbox(read.connection).told(["x"])["ops", "x"]
    return [stored.last_arrival, alert.started_at, told.at]


@pytest.mark.parametrize(
    "by", [timedelta(minutes=6), timedelta(hours=1), YEAR, -timedelta(minutes=6), -timedelta(days=1), -YEAR]
)
def test_what_was_noted_goes_along_and_comes_back(noted: Service, by: timedelta) -> None:
    at = NOW + timedelta(minutes=20)
    for move in (move_along, move_late):  # the second pass finds nothing to do
        move(noted.state, MODEL, by, at + by, SECOND)
        assert moments(noted) == [NOW + by] * 3
    move_along(noted.state, MODEL, -by, at, SECOND)
    assert moments(noted) == [NOW] * 3


def test_a_start_takes_the_future_as_now(noted: Service) -> None:
    now = NOW - YEAR
    for name in (MODEL, "unknown"):
        bring_back(noted.state, name, now)
    assert moments(noted) == [now] * 3
    bring_back(noted.state, MODEL, now + timedelta(hours=1))
    assert moments(noted) == [now] * 3


def test_the_worker_follows_the_clock_and_ready_says_where_it_is(
    noted: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    steady = NOW + timedelta(minutes=20)
    offset = timedelta()
    monkeypatch.setattr(clock, "now", lambda: steady + offset)
    follow: Callable[[], None] = functools.partial(noted.worker.follow_the_clock, lambda: steady)
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
    with noted.state.work() as change:  # a batch that came just before the jump, and is processed just after it
        stored = change.models.get(MODEL)
        assert stored is not None
        change.models.put(replace(stored, last_arrival=steady))
    follow()
    assert moments(noted)[0] == steady + YEAR
    offset = timedelta()
    follow()
    assert moments(noted)[0] == steady and noted.warnings == {}


def test_a_start_after_a_clock_was_ahead_begins_from_now(noted: Service) -> None:
    with noted.state.work() as change:
        stored = change.models.get(MODEL)
        assert stored is not None
        change.models.put(replace(stored, last_arrival=clock.now() + YEAR))
    noted.start()
    last = moments(noted)[0]
    assert last is not None and abs(last - clock.now()) < LEAST
