"""What is old goes, whole windows at a time, and nothing else changes: no number, no verdict, no later event."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from driftline.config.load import load
from driftline.monitoring.forgetting import HoldBody, hold, release
from driftline.monitoring.rebuild import rebuild
from driftline.monitoring.retention import delete_old_events, delete_old_windows
from driftline.service.keeping import LOOK_EVERY, EventKeeper, Housekeeping
from driftline.service.runtime import Service
from driftline.store.tables import JUDGEMENTS, SUMMARIES, WINDOWS
from tests.support.churn import MODEL, START, label, prediction, write_config
from tests.support.effort import counted
from tests.support.servers import until
from tests.support.steps import NOW, deliver, send_day, work

PERIOD = timedelta(days=5)


def ten_days(config: Path) -> Service:
    """Ten days of a model, all judged; on the third it was wrong each time."""
    service = Service(load(config))
    for day in range(10):
        send_day(service, day, right=0 if day == 2 else 6, wrong=10 if day == 2 else 0)
    work(service)
    return service


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `ten_days` leaves on the disk."""
    folder = tmp_path_factory.mktemp("ten") / "days"
    ten_days(write_config(folder)).stop()
    return folder


@pytest.fixture
def old(folder: Path, tmp_path: Path) -> Iterator[Service]:
    """The same, in a copy."""
    shutil.copytree(folder, tmp_path / "copy")
    service = Service(load(tmp_path / "copy" / "driftline.yaml"))
    yield service
    service.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def everywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    """The same, in either kind of database."""
    if request.param == "sqlite":
        yield request.getfixturevalue("old")
        return
    service = ten_days(write_config(tmp_path, f"database: {request.getfixturevalue('postgresql').cleared_database()}"))
    yield service
    service.stop()


def cut_all(service: Service, period: timedelta = PERIOD, now: Any = NOW) -> int:
    """Delete until nothing is left to delete; how many steps that took."""
    steps = 0
    while delete_old_events(service.models[MODEL], service.state, period, now):
        steps += 1
    return steps


def known(service: Service) -> dict[str, list[Any]]:
    """What the state says of windows: profiles, what people are shown, verdicts."""
    columns = {
        WINDOWS: (WINDOWS.c.start, WINDOWS.c.version, WINDOWS.c.profile, WINDOWS.c.predictions, WINDOWS.c.labelled),
        SUMMARIES: (SUMMARIES.c.start, SUMMARIES.c.slice, SUMMARIES.c.body),
        JUDGEMENTS: (JUDGEMENTS.c.rule, JUDGEMENTS.c.window_start, JUDGEMENTS.c.state, JUDGEMENTS.c.value),
    }
    with service.state.read() as read:
        return {
            table.name: sorted(tuple(row) for row in read.connection.execute(sa.select(*wanted)))
            for table, wanted in columns.items()
        }


def test_events_go_windows_stay_and_a_rebuild_finds_no_difference(everywhere: Service) -> None:
    old = everywhere
    before, [alert] = known(old), [one.id for one in old.views.alerts(MODEL)]
    model = old.models[MODEL]
    assert model.log.count("predictions") == 64
    cut_all(old)
    # Event time has come to day 9.5: what is older than 5 days before that goes, by whole windows.
    assert {time.date() for time, *_ in model.log.times_and_versions()} == {
        (START + timedelta(days=day)).date() for day in range(4, 10)
    }
    assert model.log.count("predictions") == 36 == model.log.count("labels")
    with old.state.read() as read:
        assert read.audit.newest(1)[0].action == "delete events"
    assert known(old) == before
    found = rebuild(model, old.state)
    work(old)
    assert (found.windows, found.differing, found.left) == (6, (), 4)
    assert known(old) == before and [one.id for one in old.views.alerts(MODEL)] == [alert]


def test_a_reference_with_seasons_and_own_measures_go_on_without_the_events(tmp_path: Path) -> None:
    """Inputs are compared with their season as before; a measure that needs rows keeps the value that it had."""
    path = write_config(tmp_path)
    (tmp_path / "own.py").write_text("def cost(rows):\n    return float(rows['age'].mean())\n")
    text = path.read_text().replace("reference.parquet}", "reference.parquet, season: yearly}")
    text = text.replace("    alerts:", "    measures: {cost: 'own.py:cost'}\n    alerts:")
    path.write_text(text.replace("for: 2}", "for: 2}\n        - {name: cost, measure: cost, above: 100}"))
    service = Service(load(path))
    for day in (0, 4):
        send_day(service, day, right=6, wrong=0)
    work(service)
    before = known(service)
    cut_all(service, timedelta(days=3))
    assert known(service) == before
    assert rebuild(service.models[MODEL], service.state).differing == ()
    work(service)
    after = known(service)
    assert after["windows"] == before["windows"] and after["summaries"] == before["summaries"]
    gone = [row for row in service.views.windows(MODEL) if row.events]
    assert len(gone) == 1 and "were deleted by keep.events: 3d" in gone[0].events
    [said] = [one for one in gone[0].verdicts if one.rule == "cost"]
    assert (said.state, said.value) == ("ok", 40.0)
    service.stop()
    path.write_text(path.read_text().replace("below: 0.75", "below: 0.7"))  # they are judged by it that have events
    service = Service(load(path))
    service.worker.catch_up(MODEL)
    assert known(service)["summaries"] == before["summaries"]
    service.stop()


def test_what_comes_of_before_the_cut_is_counted_and_changes_nothing(old: Service) -> None:
    cut_all(old)
    before = known(old)
    deliver(old, "predictions", [prediction("late", 1.5, said=1, score=0.9)])
    deliver(old, "labels", [label("2-1", 9.6, truth=0), label("late", 9.6, truth=0)])
    work(old)
    assert known(old) == before
    with old.state.read() as read:
        counters = read.counters.of(MODEL)
    assert counters["invalid_events", "prediction.too_late"] == 1
    assert old.models[MODEL].log.count("predictions") == 36
    deliver(old, "labels", [label("5-1", 9.6, truth=0)])  # of a day that is kept: it is judged again
    work(old)
    assert known(old)["windows"] != before["windows"]
    assert rebuild(old.models[MODEL], old.state).differing == ()


def test_no_label_empties_a_window_whose_events_are_gone(old: Service) -> None:
    """Whatever marks it, such as a state of a backup: the log is not asked about it."""
    cut_all(old)
    before = known(old)
    with old.state.work() as changed:
        changed.windows.mark_labels_changed(MODEL, START)
    work(old)
    assert known(old) == before
    with old.state.read() as read:
        assert read.windows.with_changed_labels(MODEL) == []


def test_each_step_is_bounded_and_what_was_cut_off_goes_on(old: Service) -> None:
    assert cut_all(old) >= 2  # a file a step, of two tables
    model = old.models[MODEL]
    with old.state.work() as work_:
        cut = work_.retention.cut(MODEL)
        assert cut is not None and cut.finished and cut.period == "5d"
    deliver(old, "predictions", [prediction("next", 11.5, said=1, score=0.9)])
    work(old)
    assert delete_old_events(model, old.state, PERIOD, NOW)  # one step, and then the process ends
    assert rebuild(model, old.state).differing == ()
    cut_all(old)
    assert min(time for time, *_ in model.log.times_and_versions()) >= START + timedelta(days=6)


def test_event_time_goes_on_with_the_clock_where_nothing_arrives(old: Service) -> None:
    model = old.models[MODEL]
    assert cut_all(old, timedelta(days=20)) == 0  # a history of years ago that was sent just now is not old
    assert model.log.count("predictions") == 64
    cut_all(old, timedelta(days=20), NOW + timedelta(days=15))
    assert {time.date() for time, *_ in model.log.times_and_versions()} == {
        (START + timedelta(days=day)).date() for day in range(4, 10)
    }


def test_a_window_whose_labels_are_not_measured_yet_is_not_cut(old: Service) -> None:
    with old.state.work() as changed:
        changed.windows.mark_labels_changed(MODEL, START)
    assert cut_all(old) == 0 and old.models[MODEL].log.count("predictions") == 64
    work(old)
    assert cut_all(old) and old.models[MODEL].log.count("predictions") == 36


def test_a_hold_keeps_everything_until_it_is_released(old: Service) -> None:
    hold(old.state, MODEL, HoldBody("case 17", "counsel"), NOW)
    assert cut_all(old) == 0 and old.models[MODEL].log.count("predictions") == 64
    release(old.state, MODEL, "counsel", NOW)
    assert cut_all(old) and old.models[MODEL].log.count("predictions") == 36
    with old.state.read() as read:
        assert [(one.action, one.by) for one in read.audit.newest(3)][1:] == [
            ("release", "counsel"),
            ("hold", "counsel"),
        ]


def test_a_new_reference_judges_what_has_events_and_leaves_what_was_shown_of_the_rest(old: Service) -> None:
    cut_all(old)
    before = known(old)
    path = old.config.storage.parent / "driftline.yaml"
    path.write_text(path.read_text().replace("features: [age, plan]", "features: [age, plan], missing: [none]"))
    old.stop()
    service = Service(load(path))
    assert service.models[MODEL].rebuild
    service.worker.catch_up(MODEL)
    after, cut = known(service), START + timedelta(days=4)
    assert [row for row in after["summaries"] if row[0] < cut] == [row for row in before["summaries"] if row[0] < cut]
    assert {row[0] for row in after["windows"]} == {START + timedelta(days=day) for day in range(4, 10)}
    assert len(after["summaries"]) == len(before["summaries"])
    service.stop()


def test_windows_go_when_they_are_said_to_and_none_of_an_alert_that_fires(old: Service) -> None:
    delete_old_windows(old.models[MODEL], old.state, timedelta(days=6), NOW)
    left = {row[0] for row in known(old)["summaries"]}
    assert min(left) == START + timedelta(days=3)
    assert old.views.model(MODEL).windows == 7
    with old.state.read() as read:
        assert read.audit.newest(1)[0].reason == "keep.windows: 6d"


def test_between_two_looks_nothing_is_read(old: Service) -> None:
    """The worker asks every second: what is not due costs no statement and opens no file."""
    keeper, model = EventKeeper(old.config), old.models[MODEL]
    house = Housekeeping(old.config, old.state, old.loop.registry)
    while keeper.step(model, old.state, asked=False):
        pass
    house.step(None)
    with counted() as effort:
        for _ in range(5):
            assert not keeper.step(model, old.state, asked=False)
            house.step(None)
    assert effort.statements == []
    assert timedelta(hours=1) == LOOK_EVERY


def test_a_worker_deletes_while_it_works(old: Service) -> None:
    """Nothing has come of the model for a year: its events are gone, and its windows are there."""
    path = old.config.storage.parent / "driftline.yaml"
    text = path.read_text().replace("accepted_for: 30d", "accepted_for: 3d")
    path.write_text(text.replace("events: forever", "events: 5d"))
    before = known(old)
    old.stop()
    service = Service(load(path))
    service.start()
    try:
        until(lambda: _is_cut(service), "all events are deleted")
        assert service.models[MODEL].log.count("predictions") == 0
        assert [row[:2] for row in known(service)["windows"]] == [row[:2] for row in before["windows"]]
    finally:
        service.stop()


def _is_cut(service: Service) -> bool:
    with service.state.read() as read:
        cut = read.retention.cut(MODEL)
    return cut is not None and cut.finished
