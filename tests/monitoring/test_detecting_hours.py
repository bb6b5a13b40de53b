"""The detector of a served model whose windows are shorter than a day: whole days, the daily rhythm, single hours."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from driftline.alerts.feedback import AcceptBody, accept
from driftline.config.load import load
from driftline.monitoring.explanation import BaselineSpan, explain_alert
from driftline.monitoring.rebuild import rebuild
from driftline.rules.backtest import BUDGET
from driftline.service.runtime import Service
from driftline.store.alerts import AlertRow
from tests.support.churn import MODEL, START
from tests.support.daily import by_backtest, said
from tests.support.hourly import HOUR, Hour, hour_of, hourly_config, labels, predictions
from tests.support.steps import NOW, deliver, work

DAY = 24


def alerts(service: Service) -> list[AlertRow]:
    with service.state.read() as read:
        return read.alerts.find(MODEL, rule=BUDGET)


def send(service: Service, hours: Sequence[Hour], *, labelled: bool = True) -> None:
    deliver(service, "predictions", predictions(hours))
    if labelled:
        deliver(service, "labels", labels(hours))
    work(service)


def closed_by(service: Service, number: int, hours: int = 1) -> None:
    """One event of a window closes all before."""
    send(service, [hour_of(number, hours=hours, rows=1)], labelled=False)


def at(number: int) -> datetime:
    return START + number * HOUR


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service of hours, whose reference has eight days of its own."""
    service = Service(hourly_config(tmp_path))
    yield service
    service.stop()


# ---- single hours ---------------------------------------------------------------------------------------------


def test_a_column_that_is_missing_for_an_hour_is_alerted_when_that_hour_closes(service: Service) -> None:
    broken = DAY + 14
    send(service, [hour_of(number, broken=number == broken) for number in range(broken + 1)])
    assert alerts(service) == []
    closed_by(service, broken + 1)
    [alert] = alerts(service)
    assert (alert.window_start, alert.title) == (at(broken), "Pipeline fault suspected: load")
    assert "against what it is at 14:00, seen over 1 window" in said(service)[-1].reason
    send(service, [hour_of(number) for number in range(broken + 1, 3 * DAY)])
    closed_by(service, 3 * DAY)
    assert [one.id for one in alerts(service)] == [alert.id]  # its day says the same
    assert said(service) == by_backtest(service)
    with service.state.read() as read:
        explained = explain_alert(service.config.models[MODEL], read, alerts(service)[0])
    assert explained.rerun.same and explained.threshold.series == "load: missing"
    assert explained.threshold.baseline is not None and explained.threshold.baseline.windows == 8 * DAY


def test_an_hour_without_rows_is_alerted_once_it_is_over_and_late_rows_take_that_back(service: Service) -> None:
    gone = DAY + 9
    send(service, [hour_of(number) for number in range(gone + 2) if number != gone])
    [alert] = alerts(service)
    assert alert.window_start == at(gone) and alert.status == "firing"
    assert said(service)[-1].reason.startswith("rows: moved from")
    assert said(service) == by_backtest(service)
    send(service, [hour_of(gone)])
    [alert] = alerts(service)
    assert alert.status == "corrected"
    assert said(service) == by_backtest(service)


def test_days_without_rows_and_nights_that_never_have_any_are_no_alarm(tmp_path: Path) -> None:
    service = Service(hourly_config(tmp_path, days=1, timed=False, first="7d"))
    worked = [DAY * day + hour for day in (*range(8), 10) for hour in range(7, 20)]
    send(service, [hour_of(number) for number in worked])
    closed_by(service, 12 * DAY)
    found = said(service)
    assert len(found) == 9 * DAY and not [one for one in found if one.state == "breach"]
    assert found[9].reason == "learning, 0 of 7 days" and found[-2].reason == "no rows"
    assert found == by_backtest(service)
    service.stop()


def test_windows_shorter_than_an_hour_are_judged_as_hours(tmp_path: Path) -> None:
    service = Service(hourly_config(tmp_path, window="30min", timezone="Asia/Kolkata"))
    broken = DAY + 14
    send(service, [hour_of(number, broken=number == broken) for number in range(broken + 6)])
    closed_by(service, broken + 6)
    assert [alert.window_start for alert in alerts(service)] == [at(broken)]
    assert {round(one.day * DAY, 6) % 1 for one in said(service)} == {0.0}
    assert said(service) == by_backtest(service)
    service.stop()


# ---- whole days -----------------------------------------------------------------------------------------------


def test_a_rhythm_that_comes_later_is_found_as_its_first_day_ends(service: Service) -> None:
    moved = 2 * DAY
    send(service, [hour_of(number, later=4 * (number >= moved)) for number in range(moved + DAY - 1)])
    assert alerts(service) == []
    send(service, [hour_of(number, later=4) for number in range(moved + DAY - 1, moved + DAY)])
    closed_by(service, moved + DAY)
    [alert] = alerts(service)
    assert (alert.window_start, alert.title) == (at(moved + DAY - 1), "Input drift suspected: load")
    reason = said(service)[-1].reason
    assert "of the daily rhythm moved" in reason and "on Sundays, seen over 1 day" in reason
    assert said(service) == by_backtest(service)
    with service.state.read() as read:
        explained = explain_alert(service.config.models[MODEL], read, alert)
    assert explained.rerun.same and "daily rhythm" in explained.threshold.series
    send(service, [hour_of(number, later=4) for number in range(moved + DAY, moved + DAY + 4)])
    view = service.views.model(MODEL).detector  # an hour that is as usual does not end what its day before was
    assert view is not None and view.state == "alarm" and "daily rhythm" in view.reason
    assert explained.threshold.baseline is not None and explained.threshold.baseline.windows == 8


def test_labels_of_a_day_say_nothing_until_all_are_in_and_make_one_alert(tmp_path: Path) -> None:
    service = Service(hourly_config(tmp_path, window="6h"))
    quarters = [hour_of(number, hours=6) for number in range(4 * 4)]
    wrong = [[{**row, "label": 1 - row["label"]} for row in quarter.labels] for quarter in quarters[8:12]]
    send(service, quarters[:8])
    send(service, quarters[8:], labelled=False)
    before = said(service)
    for some in (wrong[:1], wrong[1:3]):
        deliver(service, "labels", [row for quarter in some for row in quarter])
        work(service)
        assert said(service) == before and alerts(service) == []
    deliver(service, "labels", wrong[3])
    work(service)
    [alert] = alerts(service)
    assert alert.window_start == at(3 * DAY - 6) and alert.status == "firing"
    assert said(service) == by_backtest(service)
    service.stop()


def test_labels_that_come_a_day_after_their_predictions_are_waited_for(tmp_path: Path) -> None:
    """Each day sends its predictions, which make the hours of the day before overdue, and then the labels of these."""
    service = Service(hourly_config(tmp_path, window="6h", expected="6h"))
    days = [[hour_of(number, hours=6) for number in range(4 * day, 4 * day + 4)] for day in range(5)]
    send(service, days[0], labelled=False)
    for before, day in itertools.pairwise(days):
        send(service, day, labelled=False)
        deliver(service, "labels", labels(before))
        work(service)
    assert alerts(service) == [] and {one.state for one in said(service)} == {"ok"}
    closed_by(service, 25, 6)  # a day more is overdue, and no label of the last one has come
    assert [(one.title, one.window_start) for one in alerts(service)] == [
        ("Pipeline fault suspected: label_coverage", at(4 * DAY))
    ]
    assert said(service) == by_backtest(service)
    service.stop()


def test_few_labels_of_an_hour_are_evidence_once_labels_have_come_as_far(tmp_path: Path) -> None:
    service = Service(hourly_config(tmp_path, window="6h", expected="6h"))
    hours = [hour_of(number, hours=6) for number in range(7)]
    send(service, hours[:4])
    deliver(service, "predictions", predictions(hours[4:]))
    deliver(service, "labels", hours[4].labels[:1])
    work(service)
    assert alerts(service) == []  # it is overdue, and no label of a later hour has come
    deliver(service, "labels", labels(hours[5:]))
    work(service)
    [alert] = alerts(service)
    assert (alert.window_start, alert.window_end) == (at(DAY), at(DAY + 6))
    assert said(service) == by_backtest(service)
    service.stop()


# ---- no ordinary days, and a reference that rolls -------------------------------------------------------------


def test_rows_say_of_their_whole_day_that_it_is_no_ordinary_one(tmp_path: Path) -> None:
    """An hour counts as its day does, with what is known of that: the first one is an alarm until the others come."""
    hourly_config(tmp_path, window="6h")
    path = tmp_path / "reference.parquet"
    rows = pl.read_parquet(path)
    rows.with_columns(pl.Series("holiday", [True] + [False] * (rows.height - 1))).write_parquet(path)
    written = (tmp_path / "driftline.yaml").read_text().replace("[load, plan]", "[load, plan, holiday]")
    (tmp_path / "driftline.yaml").write_text(written.replace("window:", "calendar: {column: holiday}\n    window:"))
    service = Service(load(tmp_path / "driftline.yaml"))

    def send_day(day: int, quarters: Iterable[int], holidays: Sequence[int] = (), *, broken: bool = False) -> None:
        found = [hour_of(4 * day + quarter, hours=6, broken=broken) for quarter in quarters]
        for quarter, hour in zip(quarters, found, strict=True):
            for row in hour.predictions:
                row["features"]["holiday"] = quarter in holidays
        send(service, found)

    send_day(0, range(4), holidays=[1])  # a quarter of a day is not most of it
    send_day(1, [0, 1], broken=True)
    assert [one.status for one in alerts(service)] == ["firing"]
    send_day(1, [2], holidays=[2, 3], broken=True)
    send_day(1, [3], holidays=[2, 3], broken=True)
    send_day(2, range(4))
    closed_by(service, 12, 6)
    assert [one.status for one in alerts(service)] == ["corrected"]
    assert [one.state for one in said(service)] == ["ok"] * 4 + ["nodata"] * 4 + ["ok"] * 4
    assert {one.reason for one in said(service)[4:8]} == {"no ordinary day"}
    assert said(service) == by_backtest(service)
    [model] = service.models.values()
    known = said(service)
    assert rebuild(model, service.state).differing == ()
    work(service)
    assert said(service) == known
    service.stop()


def test_a_reference_that_rolls_is_one_of_hours_too(tmp_path: Path) -> None:
    """Values that go missing are an alarm of an hour, and usual after some weeks."""
    service = Service(hourly_config(tmp_path, window="6h", rolling="7d"))
    hours = [hour_of(number, hours=6, broken=number >= 10) for number in range(124)]
    for some in (hours[:50], hours[50:]):
        send(service, some)
    closed_by(service, 124, 6)
    found = said(service)
    assert [one.state for one in found[8:11]] == ["ok", "ok", "breach"]
    assert {one.state for one in found[-8:]} == {"ok"}
    [alert] = alerts(service)
    assert alert.window_start == at(60) and alert.status == "resolved"
    with service.state.read() as read:
        explained = explain_alert(service.config.models[MODEL], read, alert)
    assert explained.rerun.same
    assert explained.threshold.baseline == BaselineSpan(at(-7 * DAY), at(0), 28)  # quarters of seven days
    assert found == by_backtest(service)
    [model] = service.models.values()
    assert rebuild(model, service.state).differing == ()
    work(service)
    assert said(service) == found
    service.stop()


# ---- what people say ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("timezone", ["UTC", "Asia/Kolkata"])
def test_a_rhythm_that_is_accepted_is_normal_from_then_on_and_after_a_rebuild(tmp_path: Path, timezone: str) -> None:
    service = Service(hourly_config(tmp_path, window="6h", timezone=timezone))
    moved = 8
    send(service, [hour_of(number, hours=6, rows=12, later=6 * (number >= moved)) for number in range(moved + 36)])
    closed_by(service, moved + 36, 6)
    [alert] = alerts(service)
    assert alert.status == "firing"
    body = AcceptBody(at(6 * moved + 6))
    assert accept(service.state, service.config.models[MODEL], body, NOW).windows == 8
    work(service)
    [alert] = alerts(service)
    assert alert.status == "resolved"
    send(service, [hour_of(number, hours=6, rows=12, later=6) for number in range(moved + 36, moved + 48)])
    assert [one.status for one in alerts(service)] == ["resolved"]
    known = said(service)
    assert known == by_backtest(service) != by_backtest(service, heard=False)
    [model] = service.models.values()
    assert rebuild(model, service.state).differing == ()
    work(service)
    assert said(service) == known and [one.status for one in alerts(service)] == ["resolved"]
    service.stop()


# ---- laws -----------------------------------------------------------------------------------------------------


@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_any_order_and_any_batches_say_what_one_batch_a_rebuild_and_a_backtest_say(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    timezone = data.draw(st.sampled_from(["UTC", "Asia/Kolkata", "America/St_Johns"]))
    reference = data.draw(st.sampled_from([{"timed": True}, {"timed": False}, {"timed": False, "first": "7d"}]))
    gone = data.draw(st.sets(st.integers(0, 35), max_size=6))
    broken = data.draw(st.sets(st.integers(0, 35), max_size=2))
    hours = [hour_of(number, hours=6, rows=12, broken=number in broken) for number in range(36) if number not in gone]
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    found, marked = predictions(hours), labels(hours)
    rng.shuffle(found)  # type: ignore[arg-type]  # a list is fine
    rng.shuffle(marked)  # type: ignore[arg-type]
    cut = data.draw(st.integers(1, len(found) - 1))
    folder = tmp_path_factory.mktemp("order")
    service = Service(hourly_config(folder, window="6h", timezone=timezone, **reference))
    for kind, rows in (("predictions", found), ("labels", marked)):
        for some in (rows[:cut], rows[cut:]):
            deliver(service, kind, some)
            work(service)
    closed_by(service, 50, 6)  # past the days that labels are waited for
    known = said(service)
    assert known == by_backtest(service)
    [model] = service.models.values()
    assert rebuild(model, service.state).differing == ()
    assert work(service) == []
    assert said(service) == known
    service.stop()


def test_day_by_day_it_learns_again_as_a_backtest_does(tmp_path: Path) -> None:
    service = Service(hourly_config(tmp_path, window="6h"))
    for day in range(18):  # days learn again after 14, quarters of days too
        send(service, [hour_of(4 * day + quarter, hours=6) for quarter in range(4)])
    assert [one for one in said(service) if one.state == "breach"] == []
    assert said(service) == by_backtest(service)
    service.stop()
