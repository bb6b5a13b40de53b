"""No ordinary days, maintenance, and a reference of production: from the configuration to what is said."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from driftline.alerts.feedback import AcceptBody, accept
from driftline.config.load import load
from driftline.detection import Reading
from driftline.errors import ConfigError, UsageError
from driftline.monitoring.explanation import BaselineSpan, explain_alert
from driftline.monitoring.model import read_reference
from driftline.monitoring.no_ordinary_days import has_mostly
from driftline.monitoring.rebuild import rebuild
from driftline.profiles import CategoricalColumn, NumericColumn
from driftline.rules.backtest import BUDGET
from driftline.service.runtime import Service
from driftline.sketches import decode
from driftline.store.tables import EPOCH
from tests.support.churn import MODEL, START
from tests.support.daily import ROWS, by_backtest, daily_config, day_of, days_of, said
from tests.support.steps import NOW, deliver, work


@contextmanager
def serving(folder: Path, model: str, *, timed: int = 14) -> Iterator[Service]:
    service = Service(daily_config(folder, timed=timed, model=model))
    yield service
    service.stop()


def send(
    service: Service,
    numbers: range,
    *,
    broken: tuple[int, ...] = (),
    flags: Mapping[int, object] | None = None,
    usual: object = None,
) -> None:
    """Send days with their labels, and one event of the day after.

    ``flags`` are what six of ten rows of a day have in *holiday*, and the others the ``usual``.
    """
    for day in days_of(numbers, broken):
        number = int(day.predictions[0]["id"].partition("-")[0])
        for place, row in enumerate(day.predictions):
            if flags is not None:
                flag = flags[number]
                row["features"]["holiday"] = flag if place < 0.6 * ROWS else usual
        deliver(service, "predictions", day.predictions)
        deliver(service, "labels", day.labels)
    last = day_of(numbers[-1] + 1).predictions[0]
    deliver(service, "predictions", [last])
    work(service)


def states(service: Service) -> str:
    letters = {"ok": ".", "breach": "b", "nodata": "?"}
    return "".join(letters[one.state] for one in said(service))


def firing(service: Service) -> int:
    with service.state.read() as read:
        return len(read.alerts.find(MODEL, rule=BUDGET, status="firing"))


def test_a_day_of_the_calendar_is_not_judged_and_a_backtest_knows_it(tmp_path: Path) -> None:
    (tmp_path / "holidays.csv").write_text("day,name\n2024-03-03,one\n2024-03-05,another\n")
    with serving(tmp_path, "calendar: holidays.csv") as service:
        send(service, range(6), broken=(2, 5))
        assert (states(service), said(service)[2].reason) == ("..?.?b", "no ordinary day")
        assert said(service) == by_backtest(service)[:6]
        assert firing(service) == 1


@pytest.mark.parametrize(("flag", "usual"), [(True, False), (1, 0), ("Easter", None)])
def test_a_column_says_it_as_a_file_does(tmp_path: Path, flag: object, usual: object) -> None:
    """Six rows of ten are enough; the column itself is no finding, nor is it one where only some rows have it."""
    daily_config(tmp_path, timed=14)
    path = tmp_path / "reference.parquet"
    rows = pl.read_parquet(path)
    rows.with_columns(pl.Series("holiday", [flag] + [usual] * (rows.height - 1))).write_parquet(path)
    written = (tmp_path / "driftline.yaml").read_text().replace("[age, plan]", "[age, plan, holiday]")
    written = written.replace("window:", "calendar: {column: holiday}\n    window:")
    (tmp_path / "driftline.yaml").write_text(written)
    service = Service(load(tmp_path / "driftline.yaml"))
    send(service, range(11), broken=(2, 5), flags=dict.fromkeys(range(11), usual) | {2: flag, 4: flag}, usual=usual)
    assert states(service) == "..?.?b....."
    assert said(service) == by_backtest(service)[:11]
    with pytest.raises(UsageError, match="6 windows have closed"):  # of seven days one does not count
        accept(service.state, service.config.models[MODEL], AcceptBody(START + timedelta(days=4)), NOW)
    service.stop()


def test_a_column_that_cannot_say_it_is_refused(tmp_path: Path) -> None:
    config = daily_config(tmp_path, model="calendar: {column: plan}")
    path = tmp_path / "reference.parquet"
    pl.read_parquet(path).with_columns(
        plan=pl.lit("a long text of many words ") + pl.int_range(pl.len()).cast(pl.String)
    ).write_parquet(path)
    with pytest.raises(ConfigError, match=r"churn\.calendar\.column: plan came as text; allowed is a column"):
        Service(config)
    columns = structs.replace(config.models[MODEL].columns, features=("age",))
    with pytest.raises(ConfigError, match=r"models\.churn\.calendar\.column: unknown feature 'plan'; known: age"):
        read_reference(replace(config.models[MODEL], columns=columns))


@given(st.lists(st.sampled_from([True, False, None])), st.floats(0.1, 5))
def test_a_flag_is_the_same_in_every_writing(flags: list[bool | None], number: float) -> None:
    mostly = bool(flags) and 2 * sum(one is True for one in flags) >= len(flags)
    words = pl.Series([{True: "Easter", False: "No", None: None}[one] for one in flags], dtype=pl.String)
    numbers = pl.Series([{True: number, False: 0.0, None: None}[one] for one in flags], dtype=pl.Float64)
    for column in (CategoricalColumn.of(pl.Series(flags, dtype=pl.Boolean)), CategoricalColumn.of(words)):
        assert has_mostly(column) is mostly
    assert has_mostly(NumericColumn.of(numbers)) is mostly


def test_maintenance_is_judged_and_not_learnt_from(tmp_path: Path) -> None:
    span = "maintenance: [{start: '2024-03-02T06:00Z', end: '2024-03-04T00:00Z'}]"
    with serving(tmp_path, span) as service:
        send(service, range(5), broken=(2,))
        assert states(service) == "..b.."
        assert said(service) == by_backtest(service)[:5]
        with service.state.read() as read:
            uses = [decode(one.values, Reading).use.value for one in read.detections.since(MODEL, EPOCH)]
    assert uses == ["learn", "judge", "judge", "learn", "learn"]


def test_the_first_time_of_production_is_learnt_from_and_the_reference_is_not(tmp_path: Path) -> None:
    """What changed since the reference is usual; maintenance within that time is left out of it."""
    more = "maintenance: [{start: '2024-03-02T00:00Z', end: '2024-03-03T00:00Z'}]"
    daily_config(tmp_path, timed=14, model=more)
    path = tmp_path / "driftline.yaml"
    path.write_text(path.read_text().replace("reference.parquet}", "reference.parquet, first: 7d}"))
    service = Service(load(path))
    days = days_of(range(12))
    for day in days:
        for row in day.predictions:
            row["features"]["age"] += 40.0
    deliver(service, "predictions", [row for day in days for row in day.predictions])
    deliver(service, "labels", [row for day in days for row in day.labels])
    work(service)
    assert states(service) == "????????..."[: len(said(service))]
    assert said(service)[4].reason == "learning, 3 of 7 windows"
    with service.state.read() as read:
        known = read.detections.detector(MODEL)
    assert known is not None and not known.from_reference and known.begins == START + timedelta(days=8)
    assert said(service) == by_backtest(service)[: len(said(service))]
    service.stop()


def test_a_reference_that_rolls_is_the_same_through_every_door(tmp_path: Path) -> None:
    """A new level is an alarm, and usual after some weeks."""
    daily_config(tmp_path, timed=14)
    path = tmp_path / "driftline.yaml"
    path.write_text(path.read_text().replace("reference.parquet}", "reference.parquet, rolling: 7d}"))
    service = Service(load(path))
    days = days_of(range(40))
    for day in days[3:]:
        for row in day.predictions:
            row["features"]["age"] += 25.0
    for some in (days[:17], days[17:]):
        deliver(service, "predictions", [row for day in some for row in day.predictions])
        deliver(service, "labels", [row for day in some for row in day.labels])
        work(service)
    found = said(service)
    assert states(service)[:4] == "...b" and states(service)[-8:] == "........"
    assert firing(service) == 0
    with service.state.read() as read:
        [alert] = read.alerts.find(MODEL, rule=BUDGET)
        origin = explain_alert(service.config.models[MODEL], read, alert).threshold.baseline
    assert origin == BaselineSpan(START - timedelta(days=7), START, 7)
    assert found == by_backtest(service)[: len(found)]
    [model] = service.models.values()
    assert rebuild(model, service.state).differing == ()
    work(service)
    assert said(service) == found
    service.stop()
