"""The detector of a served model: what it says is a function of the windows, whatever came when."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.exporters.samples import Monitor
from driftline.monitoring import judging
from driftline.monitoring.alerting import end_orphans, names_of_rules
from driftline.monitoring.model import remember_fingerprint, remember_rules
from driftline.monitoring.rebuild import rebuild
from driftline.rules.backtest import BUDGET
from driftline.rules.findings import Findings
from driftline.service.runtime import Service
from driftline.store.alerts import AlertRow
from driftline.store.tables import ALERTS, DETECTIONS, DETECTOR_STATES, DETECTORS, EPOCH, JUDGEMENTS, MODELS
from driftline.views.metrics import MetricsReader
from driftline.views.values import DetectorView
from tests.support.churn import MODEL, START
from tests.support.daily import Day, by_backtest, daily_config, day_of, days_of, said
from tests.support.steps import NOW, deliver, work


def send(service: Service, days: list[Day], *, labels: bool = True) -> None:
    deliver(service, "predictions", [row for day in days for row in day.predictions])
    if labels:
        deliver(service, "labels", [row for day in days for row in day.labels])


def alerts(service: Service) -> list[AlertRow]:
    with service.state.read() as read:
        return read.alerts.find(MODEL, rule=BUDGET)


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


# ---- late labels, corrections, backfills ----------------------------------------------------------------------


def corrected(day: Day) -> list[dict[str, object]]:
    return [{**row, "label": 1 - row["label"]} for row in day.labels]


def test_labels_that_trickle_in_change_nothing_until_all_are_in_and_make_one_alert(timed: Service) -> None:
    days = [day_of(day, right=0.5 if day >= 4 else 0.9) for day in range(8)]
    send(timed, days, labels=False)
    deliver(timed, "labels", [row for day in days[:4] for row in day.labels])
    work(timed)
    before = said(timed)
    for k in range(0, 30, 10):
        assert said(timed) == before
        assert alerts(timed) == []
        deliver(timed, "labels", [row for day in days[4:7] for row in day.labels[k : k + 10]])
        work(timed)
    [alert] = alerts(timed)
    assert alert.status == "firing"
    assert alert.title.startswith("Concept drift suspected")
    assert said(timed)[:7] == by_backtest(timed)[:7]


def test_a_correction_is_judged_from_its_window_on_and_takes_an_alarm_back(timed: Service) -> None:
    days = days_of(range(6))
    send(timed, days, labels=False)
    deliver(timed, "labels", [row for day in days if day is not days[2] for row in day.labels])
    deliver(timed, "labels", corrected(days[2]))
    closed_by(timed, 9)
    [alert] = alerts(timed)
    assert alert.status == "firing"
    deliver(timed, "labels", days[2].labels)
    work(timed)
    [alert] = alerts(timed)
    assert alert.status == "corrected"
    assert said(timed)[:6] == by_backtest(timed)[:6]


def test_a_correction_in_a_window_that_was_learnt_from_has_all_judged_anew(service: Service) -> None:
    days = days_of(range(31), broken=[29])
    send(service, days)
    closed_by(service, 31)
    before = said(service)
    deliver(service, "labels", corrected(days[3]))
    work(service)
    assert said(service) != before
    assert said(service) == by_backtest(service)[:31]


def test_a_backfill_whose_labels_come_after_its_predictions_leaves_no_alert(timed: Service) -> None:
    days = days_of(range(20))
    send(timed, days, labels=False)
    work(timed)
    for some in (days[:10], days[10:]):
        deliver(timed, "labels", [row for day in some for row in day.labels])
        work(timed)
    assert [alert.status for alert in alerts(timed) if alert.status != "corrected"] == []
    assert len(alerts(timed)) <= 1


def test_labels_that_come_in_a_batch_after_later_predictions_are_waited_for(folder: Path) -> None:
    """Each week sends its predictions, which make the week before overdue, and then the labels of that."""
    service = Service(daily_config(folder, timed=70, window="1w"))
    weeks = [days_of(range(day, day + 7)) for day in range(3, 38, 7)]  # from Monday to Sunday
    for before, days in itertools.pairwise(weeks):
        send(service, days, labels=False)
        work(service)
        for some in (before[:3], before[3:]):
            deliver(service, "labels", [row for day in some for row in day.labels])
            work(service)
    assert alerts(service) == []
    assert "breach" not in [one.state for one in said(service)] and len(said(service)) >= 3
    closed_by(service, 49)  # two more weeks, and no label: these are missing
    [alert] = alerts(service)
    assert about(alert).named == ("label_coverage",) and alert.status == "firing"
    assert said(service) == by_backtest(service)
    service.stop()


def test_few_labels_are_evidence_once_labels_have_come_as_far(timed: Service) -> None:
    send(timed, days_of(range(3)))
    deliver(timed, "predictions", day_of(3).predictions)
    deliver(timed, "labels", day_of(3).labels[:5])
    deliver(timed, "predictions", [row for day in days_of(range(4, 8)) for row in day.predictions])
    closed_by(timed, 7)  # the fourth day is overdue, and no label of what came later has come
    assert [one.state for one in said(timed)][3] == "ok" and alerts(timed) == []
    deliver(timed, "labels", day_of(7).labels[:1])  # as it ends, when those of the fourth were due
    work(timed)
    assert [one.state for one in said(timed)][3] == "breach"
    assert said(timed) == by_backtest(timed)[: len(said(timed))]


# ---- an alert that goes on ------------------------------------------------------------------------------------


def about(alert: AlertRow) -> Findings:
    found = msgspec.json.decode(alert.findings, type=Findings | None)
    assert found is not None
    return found


def test_a_fault_of_another_kind_in_a_column_that_an_open_alert_has_named_is_notified(timed: Service) -> None:
    days = days_of(range(7), broken=[6])
    for day in days[2:6]:
        for row in day.predictions:
            row["features"]["age"] += 30.0
    send(timed, days[:6])
    work(timed)
    [alert] = alerts(timed)
    assert about(alert).named == ("age",) and "missing of age" not in about(alert).kinds
    deliver(timed, "predictions", days[6].predictions)
    deliver(timed, "predictions", day_of(7).predictions[:1])
    [event] = [one for one in work(timed) if one.alert.id == alert.id]
    assert event.kind == "changed" and event.reason == "it has found another kind of change: missing of age"
    [alert] = alerts(timed)
    assert alert.status == "firing" and alert.title == "Pipeline fault suspected: age"
    assert about(alert).named == ("age",) and "missing of age" in about(alert).kinds
    closed_by(timed, 8)
    assert [one for one in work(timed) if one.kind == "changed"] == []  # it is said once


def test_what_late_labels_take_back_is_named_no_more(timed: Service) -> None:
    days = [day_of(day, right=0.5 if day >= 2 else 0.9) for day in range(7)]
    send(timed, days, labels=False)
    deliver(timed, "labels", [row for day in days[:2] for row in day.labels])
    closed_by(timed, 12)
    [alert] = alerts(timed)
    assert about(alert).named == ("label_coverage",)
    deliver(timed, "labels", [row for day in days[2:] for row in day.labels])
    work(timed)
    [alert] = [one for one in alerts(timed) if one.status == "firing"]
    assert "label_coverage" not in about(alert).named and "accuracy" in about(alert).named
    assert "label_coverage" not in alert.title


def test_versions_make_no_difference(folder: Path) -> None:
    found = []
    for versions in (["v1"], ["v1", "v2", "v3"]):
        service = Service(daily_config(folder / str(len(versions)), timed=8))
        days = [day_of(day, broken=day == 3) for day in range(5)]
        for day in days:
            for k, row in enumerate(day.predictions):
                row["version"] = versions[k % len(versions)]
        send(service, days)
        closed_by(service, 5)
        found.append(said(service))
        service.stop()
    assert found[0] == found[1]


# ---- interruptions, upgrades, changes of the configuration ----------------------------------------------------


def reopened(
    service: Service, folder: Path, *, timed: int = 14, budget: str = "1 per 90d", season: str = ""
) -> tuple[Service, list[str]]:
    """The service started again, and what people hear of it: kinds and reasons."""
    service.stop()
    again = Service(daily_config(folder, timed=timed, budget=budget, season=season))
    known = {name: names_of_rules(one) for name, one in again.config.models.items()}
    with again.state.work() as change:
        events = end_orphans(change, known, NOW)
    for model in again.models.values():
        if model.rebuild:
            rebuild(model, again.state)
            remember_fingerprint(model, again.state)
    events += work(again)
    for model in again.models.values():
        remember_rules(model, again.state)
    return again, [f"{event.kind.value}: {event.reason}" for event in events]


@pytest.fixture
def alarmed(folder: Path) -> Service:
    """A service with an alert of the detector that fires. The test stops it."""
    service = Service(daily_config(folder, timed=14))
    send(service, days_of(range(4), broken=[2, 3]))
    closed_by(service, 4)
    for model in service.models.values():
        remember_rules(model, service.state)
    assert [alert.status for alert in alerts(service)] == ["firing"]
    return service


def test_who_dies_between_storing_and_alerting_has_stored_nothing(
    timed: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(timed, days_of(range(4), broken=[2]))
    with monkeypatch.context() as patched:
        patched.setattr(judging, "move_alerts", _killed)
        with pytest.raises(KeyboardInterrupt):
            work(timed)
    assert said(timed) == []
    closed_by(timed, 4)
    assert len(alerts(timed)) == 1


def _killed(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_a_state_of_the_release_before_is_judged_once(alarmed: Service, folder: Path) -> None:
    expected = said(alarmed)
    [model] = alarmed.models.values()
    with alarmed.state.work() as change:
        for table in (DETECTORS, DETECTIONS, DETECTOR_STATES, ALERTS, JUDGEMENTS):
            change.connection.execute(table.delete())
        change.connection.execute(
            MODELS.update().values(rules=msgspec.json.encode((model.config.rules, model.config.floors)))
        )
    again, told = reopened(alarmed, folder)
    assert said(again) == expected
    assert [one.partition(":")[0] for one in told] == ["fired"]
    again, told = reopened(again, folder)
    assert told == []
    again.stop()


def test_no_budget_ends_the_alert_and_forgets_what_was_learnt(alarmed: Service, folder: Path) -> None:
    again, told = reopened(alarmed, folder, budget="none")
    assert told == ["resolved: the rule was removed from the configuration"]
    with again.state.read() as read:
        assert read.detections.detector(MODEL) is None
        assert read.detections.since(MODEL, EPOCH) == []
    assert said(again) == []
    assert again.views.model(MODEL).detector == DetectorView("off", "alerts.budget is none", None, 1)
    again, told = reopened(again, folder)
    assert [one.partition(":")[0] for one in told] == ["reopened"]
    again.stop()


def test_another_budget_is_said_as_that(alarmed: Service, folder: Path) -> None:
    again, told = reopened(alarmed, folder, budget="1 per 365d")
    assert told == ["changed: the budget was changed: 1 per 90d → 1 per 365d"]
    assert said(again) == by_backtest(again)[:4]
    again.stop()


def test_another_reference_has_all_judged_by_it(alarmed: Service, folder: Path) -> None:
    again, _ = reopened(alarmed, folder, timed=9)
    with again.state.read() as read:
        row = read.detections.detector(MODEL)
    assert row is not None and row.from_reference
    assert said(again) == by_backtest(again)[:4]
    again.stop()


def test_without_a_season_days_of_the_week_are_alike_and_nothing_waits_for_them(service: Service, folder: Path) -> None:
    def waits(service: Service) -> bool:
        return any("season not learnt yet" in one.reason for one in said(service))

    send(service, days_of(range(9)))
    closed_by(service, 9)
    assert waits(service)
    again, _ = reopened(service, folder, timed=0, season="none")
    assert not waits(again)
    assert said(again) == by_backtest(again)[:9]
    again, _ = reopened(again, folder, timed=0, season="auto")
    assert waits(again)
    again.stop()


# ---- what people are shown ------------------------------------------------------------------------------------


def test_the_view_and_the_metrics_say_what_the_detector_does(service: Service) -> None:
    assert service.views.model(MODEL).detector == DetectorView("learning", "no window was judged yet", "1 per 90d", 0)
    send(service, days_of(range(5), broken=[4]))
    closed_by(service, 5)
    found = service.views.model(MODEL).detector
    assert found is not None
    assert (found.state, found.alarms) == ("alarm", 1)
    reader = MetricsReader(service.config, {MODEL: "binary"}, service.state, service.inbox)
    [metrics] = reader.snapshot({}, NOW).models
    assert metrics.alarm_budget == pytest.approx(4.058, abs=0.001)
    assert metrics.alarms == 1
    assert metrics.monitors[Monitor(BUDGET)] == "breach"
