"""A person is forgotten: no byte of their rows is left, the windows count them still, and everything goes on."""

from __future__ import annotations

import functools
import json
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest

from driftline.cli.main import main
from driftline.config.load import load
from driftline.errors import ConflictError
from driftline.monitoring import draining, ingest
from driftline.monitoring.accept import Batch, checked_rows
from driftline.monitoring.admission import Admission
from driftline.monitoring.assess import Arrived
from driftline.monitoring.backtest import backtest_windows, subject_of
from driftline.monitoring.forgetting import ForgetBody, HoldBody, ask_to_forget, carries, hold, release
from driftline.monitoring.rebuild import rebuild
from driftline.retrain.request import Stage
from driftline.retrain.views import all_requests, request_view
from driftline.service.keeping import EventKeeper
from driftline.service.runtime import Service
from driftline.store.forgetting import ForgettingRow
from driftline.store.log import EventLog
from driftline.store.retention import Cut
from tests.monitoring.test_retention import known, ten_days
from tests.support.churn import MODEL, START, label, prediction, write_config
from tests.support.retraining import configured, days, loop
from tests.support.served import post, serving, wait_until_idle
from tests.support.servers import until
from tests.support.steps import NOW, deliver, work
from tests.support.traces import files_with

PERSON, OTHER = "person-0815-of-the-test", "another-4711-of-the-test"


def send_persons(service: Service) -> None:
    """Two people on three days, one of them with labels, a shadow, and a row that was set aside."""
    for day in (3, 5, 8):
        rows = [prediction(f"{one}/{day}", day + 0.3, said=1, score=0.9) for one in (PERSON, OTHER)]
        deliver(service, "predictions", [*rows, rows[0] | {"role": "shadow", "version": "v2"}])
        deliver(service, "labels", [label(f"{one}/{day}", day + 0.4, truth=0) for one in (PERSON, OTHER)])
        work(service)


IDS = [f"{PERSON}/{day}" for day in (3, 5, 8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("persons") / "days"
    service = ten_days(write_config(folder))
    send_persons(service)
    service.stop()
    return folder


@pytest.fixture
def persons(folder: Path, tmp_path: Path) -> Iterator[Service]:
    shutil.copytree(folder, tmp_path / "copy")
    service = Service(load(tmp_path / "copy" / "driftline.yaml"))
    yield service
    service.stop()


@pytest.fixture(params=["sqlite", "postgresql"])
def everywhere(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Service]:
    if request.param == "sqlite":
        yield request.getfixturevalue("persons")
        return
    service = ten_days(write_config(tmp_path, f"database: {request.getfixturevalue('postgresql').cleared_database()}"))
    send_persons(service)
    yield service
    service.stop()


def ask(service: Service, ids: list[str]) -> str:
    return ask_to_forget(service.state, service.config.models[MODEL], ForgetBody(list(ids), "a letter", "ann"), NOW).id


def forget(service: Service, ids: list[str]) -> ForgettingRow:
    """Ask, and do what the worker does until there is nothing to do."""
    id, keeper = ask(service, ids), EventKeeper(service.config)
    while keeper.step(service.models[MODEL], service.state, asked=True):
        pass
    with service.state.read() as read:
        return read.forgettings.get(id)


def found(row: ForgettingRow) -> dict[str, Any]:
    assert row.found is not None
    return dict(json.loads(row.found))


def test_no_byte_of_the_person_is_left_and_the_windows_count_them_still(everywhere: Service) -> None:
    service, storage = everywhere, everywhere.config.storage
    # Waiting in the inbox, and set aside: an event of the person each, beside one of somebody else.
    deliver(service, "labels", [label(IDS[0], 9.6, truth=1), label(f"{OTHER}/3", 9.6, truth=1)])
    with pytest.raises(Exception, match="features"):
        deliver(service, "predictions", [prediction(PERSON, 9.6, said=1) | {"features": 3}])
    quarantined = prediction(IDS[1], 9.6, said=1) | {"features": {"age": "old"}}
    aside(service, [quarantined, prediction("fine", 9.6, said=1)])
    before = known(service)
    assert files_with(storage, PERSON)
    row = forget(service, IDS)
    assert row.state == "done" and row.ids is None and row.done_at is not None
    assert {name: value for name, value in found(row).items() if name != "windows"} == {
        "predictions": 3,
        "labels": 3,
        "shadows": 3,
        "inbox": 1,
        "quarantine": 1,
        "runs": 0,
    }
    assert [one["rows"] for one in found(row)["windows"]] == [1, 1, 1]
    assert files_with(storage, PERSON) == []
    assert files_with(storage, OTHER)  # what looks finds what is there
    assert known(service) == before
    windows = {one.summary.start.day: one.forgotten for one in service.views.windows(MODEL)}
    assert [day for day, rows in sorted(windows.items()) if rows] == [4, 6, 9]
    assert any("Rows were forgotten: 3 of 3 windows" in one for one in service.views.model(MODEL).notes)
    result = rebuild(service.models[MODEL], service.state)
    assert result.differing == () and result.left == 3
    work(service)
    lost = [[row for row in rows["windows"] if row[0].day in (6, 9)] for rows in (before, known(service))]
    assert lost[0] == lost[1] and len(lost[0]) == 2
    with service.state.read() as read:
        said = read.audit.newest(2)
    assert [one.action for one in said] == ["forgotten", "forget"]
    assert not any(PERSON in f"{one.subject}{one.reason}" for one in said)


def aside(service: Service, rows: list[dict[str, Any]]) -> None:
    """Send rows of which the bad ones are set aside."""
    model = service.models[MODEL]
    batch = Batch("predictions", rows, quarantine=True)
    service.inbox.accept(checked_rows(model, Admission(model.schema, (), ()), batch, NOW, lambda: "x"))


def test_what_comes_of_the_person_later_is_dropped_and_of_others_taken(persons: Service) -> None:
    """A label that is late, and the same predictions once more: a sender that repeats brings nobody back."""
    forget(persons, IDS)
    before = known(persons)
    deliver(persons, "labels", [label(IDS[1], 9.7, truth=1)])
    again = prediction(IDS[1], 5.3, said=1, score=0.9)
    for one in (again, again | {"role": "shadow", "version": "v2"}):  # a shadow that comes alone too
        deliver(persons, "predictions", [one])
        work(persons)
    log = persons.models[MODEL].log
    assert known(persons) == before and not log.rows_of(IDS).height and not log.shadow_rows("v2").height
    with persons.state.read() as read:
        assert read.waiting_labels.count(MODEL) == 0
        counters = read.counters.of(MODEL)
    assert counters["invalid_events", "label.forgotten"] == 1
    assert counters["invalid_events", "prediction.forgotten"] == 2
    deliver(persons, "labels", [label(f"{OTHER}/5", 9.7, truth=1)])  # the window that lost a row is judged again
    work(persons)
    day = next(one for one in persons.views.windows(MODEL) if one.summary.start.day == 6)
    assert (day.summary.predictions, day.summary.labelled, day.forgotten) == (8, 7, 1)
    assert rebuild(persons.models[MODEL], persons.state).differing == ()


def test_a_person_who_is_forgotten_twice_or_never_came_costs_nothing(persons: Service) -> None:
    forget(persons, IDS)
    before = known(persons)
    for ids in (IDS, ["nobody"]):
        row = forget(persons, ids)
        assert row.state == "done" and found(row)["predictions"] == 0 and found(row)["windows"] == []
    assert known(persons) == before


def test_a_hold_stops_it_before_and_after_it_was_asked(persons: Service) -> None:
    hold(persons.state, MODEL, HoldBody("case 17", "counsel"), NOW)
    with pytest.raises(ConflictError, match=r"churn is held by counsel since .* \(case 17\): nothing of it is deleted"):
        ask(persons, IDS)
    assert "Held by counsel" in persons.views.model(MODEL).notes[-1]
    release(persons.state, MODEL, "counsel", NOW)
    with pytest.raises(ConflictError, match="is not held"):
        release(persons.state, MODEL, "counsel", NOW)
    id = ask(persons, IDS)
    hold(persons.state, MODEL, HoldBody("case 18", "counsel"), NOW)
    keeper = EventKeeper(persons.config)
    while keeper.step(persons.models[MODEL], persons.state, asked=True):
        pass
    with persons.state.read() as read:
        row = read.forgettings.get(id)
    assert (row.state, row.ids) == ("stopped", None) and "case 18" in row.note
    assert persons.models[MODEL].log.rows_of(IDS).height == 3


def test_what_was_cut_off_in_the_middle_counts_each_row_once(persons: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends between any two steps; another one goes on."""
    id = ask(persons, IDS)
    for _ in range(20):
        keeper = EventKeeper(persons.config)
        if not keeper.step(persons.models[MODEL], persons.state, asked=True):
            break
        persons.stop()
        persons = Service(load(persons.config.storage.parent / "driftline.yaml"))
    with persons.state.read() as read:
        row = read.forgettings.get(id)
        assert sum(read.retention.forgotten(MODEL).values()) == 3
    assert row.state == "done" and found(row)["predictions"] == 3
    persons.stop()


def test_a_process_that_ends_between_the_log_and_what_it_notes_understates_nothing(
    persons: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    id, keeper, real = ask(persons, IDS), EventKeeper(persons.config), EventLog.delete_erased

    def end(log: EventLog) -> bool:
        monkeypatch.setattr(EventLog, "delete_erased", real)
        raise KeyboardInterrupt

    monkeypatch.setattr(EventLog, "delete_erased", end)
    assert keeper.step(persons.models[MODEL], persons.state, asked=True)
    with pytest.raises(KeyboardInterrupt):
        keeper.step(persons.models[MODEL], persons.state, asked=True)
    while keeper.step(persons.models[MODEL], persons.state, asked=True):
        pass
    with persons.state.read() as read:
        row = read.forgettings.get(id)
    assert [found(row)[name] for name in ("predictions", "labels", "shadows")] == [3, 3, 3]


def test_what_is_in_the_log_and_in_no_window_yet_is_forgotten_and_no_window_says_that_it_counts_it(
    persons: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch was brought into the log, and the process ended; the next one begins with a part of the batch."""
    monkeypatch.setattr(draining, "CAREFUL_EVENTS", 1)
    real, model = ingest.done, persons.models[MODEL]
    monkeypatch.setattr(ingest, "done", lambda *_: sys.exit("killed"))
    for name in ("early", "late-1", "late-2"):
        deliver(persons, "predictions", [prediction(name, 8.6, said=1, score=0.9)])
    with pytest.raises(SystemExit):
        work(persons)
    monkeypatch.setattr(ingest, "done", real)
    assert draining.drain(model, persons.inbox, persons.state) == 1
    assert model.log.rows_of(["late-1", "late-2"]).height == 2
    row = forget(persons, ["late-1", IDS[2]])
    assert (found(row)["predictions"], found(row)["inbox"], len(found(row)["windows"])) == (1, 1, 1)
    work(persons)
    day = next(one for one in persons.views.windows(MODEL) if one.summary.start.day == 9)
    there = model.log.known_rows().filter(pl.col("time").dt.date() == day.summary.start.date())
    assert (day.summary.predictions, day.forgotten) == (there.height + 1, 1)


def test_a_backtest_of_what_was_served_says_the_same_before_and_after(persons: Service) -> None:
    subject = subject_of(persons.config.models[MODEL])

    def said() -> Any:
        with persons.state.read() as read:
            stored, come = read.windows.between(MODEL), Arrived(NOW)
        return backtest_windows(subject, stored, come, (), changed=None)

    before = said()
    forget(persons, IDS)
    assert said() == before


def test_rows_that_a_run_was_handed_are_erased_once_it_is_over(tmp_path: Path) -> None:
    service = Service(load(configured(tmp_path)))
    days(service, 0, 12)
    person = "9-17"
    row = loop(service, until=lambda row: row.stage == Stage.PREPARED.value)
    rows = service.loop.folder / row.id / "evaluation.parquet"
    assert pl.read_parquet(rows).filter(id=person).height == 1
    id, keeper = ask(service, [person]), EventKeeper(service.config)
    assert not keeper.step(service.models[MODEL], service.state, asked=True)
    with service.state.read() as read:
        waits = read.forgettings.get(id)
    assert waits.state == "waiting" and f"request {row.id} of churn is prepared" in waits.note
    loop(service)
    while keeper.step(service.models[MODEL], service.state, asked=True):
        pass
    with service.state.read() as read:
        done = read.forgettings.get(id)
    assert done.state == "done" and found(done)["runs"] >= 2  # what it was judged by, and what it said
    assert not any(
        person in pl.read_parquet(one)["id"].to_list()
        for one in rows.parent.glob("*.parquet")
        if "id" in pl.read_parquet_schema(one)
    )
    assert request_view(service.state, row.id).rows == ""
    with service.state.work() as work_:
        work_.retention.put_cut(Cut(MODEL, START + timedelta(days=20), "400d", NOW, finished=True))
    gone = "rows before 2024-03-21 00:00 UTC were deleted by keep.events: 400d"
    assert request_view(service.state, row.id).rows == gone == all_requests(service.state)[0].rows
    service.stop()


@pytest.mark.parametrize(
    ("row", "is_it"),
    [
        (b'{"id": 17}', True),
        (b'{"id": "17.0", "x": 1}', True),
        (b'{"features": {"of": [1, "17"]}}', True),
        (b'{"id": 170, "x": "1.17"}', False),
        (b'"{a row with 17 in it"', True),
        (b'{"body": "aWQ6MTc="}', True),
        (b'{"body": "aWQ6MTg="}', False),
        (b"no json: 17", True),
    ],
)
def test_a_row_that_was_set_aside_carries_an_id_wherever_it_stands(row: bytes, is_it: bool) -> None:
    assert carries(["17"])(row) is is_it


def driftline(capsys: pytest.CaptureFixture[str], config: Path, *arguments: str) -> tuple[int, str]:
    """Call the command line; its exit code, and what it said."""
    with pytest.raises(SystemExit) as end:
        main([*arguments, "--config", str(config)])
    said = capsys.readouterr()
    assert isinstance(end.value.code, int)
    return end.value.code, said.out + said.err


def test_it_is_done_by_a_service_that_runs_and_without_one(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command beside a service, the API, and the command alone; the hold, in all of them."""
    shutil.copytree(folder, tmp_path / "copy")
    config = tmp_path / "copy" / "driftline.yaml"
    storage = config.parent / "data"
    call = functools.partial(driftline, capsys, config)
    with serving(config) as (_, address):
        assert post(address, "labels", [label(IDS[0], 9.9, truth=0)])
        wait_until_idle(address)
        code, said = call("forget", MODEL, "--id", IDS[0])
        assert code == 2 and "--yes" in said
        code, said = call("forget", MODEL, "--id", IDS[0], "--yes", "--json", "--by", "ann")
        assert code == 0 and json.loads(said)["erased"]["predictions"] == 1
        assert files_with(storage, IDS[0]) == []
        api = f"{address}/api/v1/models/{MODEL}"
        asked = httpx.post(f"{api}/forget", json={"ids": [IDS[1]], "reason": "a letter"}, trust_env=False, verify=False)
        assert asked.status_code == 202 and asked.json()["state"] == "waiting" and IDS[1] not in asked.text

        def is_done() -> bool:
            [newest, *_] = httpx.get(f"{api}/forgettings", trust_env=False, verify=False).json()["forgettings"]
            return bool(newest["state"] == "done")

        until(is_done, "the service has forgotten")
        assert files_with(storage, IDS[1]) == []
        held = httpx.post(f"{api}/hold", json={"reason": "case 17", "by": "counsel"}, trust_env=False, verify=False)
        assert held.status_code == 201
        assert httpx.post(f"{api}/forget", json={"ids": [IDS[2]]}, trust_env=False, verify=False).status_code == 409
        assert "Held by counsel" in httpx.get(f"{address}/models/{MODEL}", trust_env=False, verify=False).text
        assert httpx.get(api, trust_env=False, verify=False).json()["hold"]["reason"] == "case 17"
    code, said = call("forget", MODEL, "--id", IDS[2], "--yes")
    assert code == 2 and "is held by counsel" in said
    assert "churn is held by counsel" in call("doctor")[1]
    assert call("hold", MODEL, "--release")[0] == 0
    (tmp_path / "ids").write_text(f"{IDS[2]}\n\nnobody\n")
    code, said = call("forget", MODEL, "--ids-file", str(tmp_path / "ids"), "--yes")
    assert code == 0 and "The rows of 2 ids of churn are erased: 1 predictions, 1 labels, 1 shadows" in said
    assert files_with(storage, PERSON) == []
    assert call("rebuild", MODEL)[0] == 0
    with sqlite3.connect(storage / "state.db") as state:
        assert state.execute("SELECT count(*) FROM forgettings WHERE ids IS NOT NULL").fetchone() == (0,)
