"""The detector of a served model: what it says is a function of the windows, whatever came when."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.monitoring.backtest import detector_track, subject_of
from driftline.monitoring.rebuild import rebuild
from driftline.monitoring.replay import replay_windows
from driftline.rules.backtest import BUDGET
from driftline.service.runtime import Service
from driftline.store.alerts import AlertRow
from tests.support.churn import MODEL, START
from tests.support.daily import Day, Said, daily_config, day_of, days_of, said
from tests.support.steps import deliver, work


def send(service: Service, days: list[Day], *, labels: bool = True) -> None:
    deliver(service, "predictions", [row for day in days for row in day.predictions])
    if labels:
        deliver(service, "labels", [row for day in days for row in day.labels])


def alerts(service: Service) -> list[AlertRow]:
    with service.state.read() as read:
        return read.alerts.find(MODEL, rule=BUDGET)


def by_backtest(service: Service) -> list[Said]:
    """What a backtest says of the windows that a service has."""
    subject = subject_of(service.config.models[MODEL])
    assert subject.setup.config.budget is not None
    with service.state.read() as read:
        stored = read.windows.between(MODEL)
    track = detector_track(subject, subject.setup.config.budget, list(replay_windows(subject.setup, stored)))
    found = []
    for one in track.judged:
        detail, verdict = track.details.get(one.window.start), one.verdict
        reason = detail.sentences[0].removesuffix(".") if detail is not None and detail.sentences else verdict.reason
        found.append(Said((one.window.start - START) / timedelta(days=1), verdict.state.value, verdict.value, reason))
    return found


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def service(folder: Path) -> Iterator[Service]:
    """A service whose model has a reference without times: it learns from the first windows."""
    service = Service(daily_config(folder))
    yield service
    service.stop()


@pytest.fixture
def timed(folder: Path) -> Iterator[Service]:
    """A service whose reference has fourteen days of its own."""
    service = Service(daily_config(folder, timed=14))
    yield service
    service.stop()


def closed_by(service: Service, day: int) -> None:
    """One event of a day closes all days before."""
    deliver(service, "predictions", day_of(day).predictions[:1])
    work(service)


# ---- learning -------------------------------------------------------------------------------------------------


def test_a_model_is_judged_from_its_first_window_on_and_says_what_it_waits_for(service: Service) -> None:
    send(service, days_of(range(9), broken=[3]))
    closed_by(service, 9)
    found = said(service)
    assert [one.state for one in found] == ["nodata"] * 3 + ["breach"] + ["nodata"] * 4 + ["ok"]
    assert found[2].reason == "learning, 2 of 7 windows"
    assert "age: missing moved from 0 % to 100 %" in found[3].reason
    [alert] = alerts(service)
    assert alert.title == "Pipeline fault suspected: age"
    assert found == by_backtest(service)[:9]


def test_what_is_learnt_for_good_is_gone_on_from(service: Service) -> None:
    send(service, days_of(range(33), broken=[31]))
    closed_by(service, 33)
    with service.state.read() as read:
        row = read.detections.detector(MODEL)
    assert row is not None and row.learnt and not row.from_reference
    assert row.begins == START + timedelta(days=28)
    assert [one.day for one in said(service) if one.state == "breach"] == [31]
    assert said(service) == by_backtest(service)[:33]


def test_the_windows_of_a_reference_with_times_are_learnt_from(timed: Service) -> None:
    send(timed, days_of(range(4), broken=[2]))
    closed_by(timed, 4)
    assert [one.state for one in said(timed)] == ["ok", "ok", "breach", "ok"]
    assert said(timed) == by_backtest(timed)[:4]


# ---- laws -----------------------------------------------------------------------------------------------------


@settings(max_examples=4, deadline=None)
@given(data=st.data())
def test_any_order_and_any_batches_say_what_one_batch_a_rebuild_and_a_backtest_say(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    timed, broken = data.draw(st.sampled_from([0, 8])), data.draw(st.lists(st.integers(0, 9), max_size=2))
    days = days_of(range(10), broken)
    predictions = data.draw(st.permutations([row for day in days for row in day.predictions]))
    labels = data.draw(st.permutations([row for day in days for row in day.labels]))
    cut = data.draw(st.integers(1, 299))
    service = Service(daily_config(tmp_path_factory.mktemp("order"), timed=timed))
    for some in (predictions[:cut], predictions[cut:]):
        deliver(service, "predictions", some)
        work(service)
    for some in (labels[:cut], labels[cut:]):
        deliver(service, "labels", some)
        work(service)
    closed_by(service, 14)  # past the days that labels are waited for
    found = said(service)
    assert found == by_backtest(service)[:10]
    [model] = service.models.values()
    assert rebuild(model, service.state).differing == ()
    assert work(service) == []
    assert said(service) == found
    service.stop()
