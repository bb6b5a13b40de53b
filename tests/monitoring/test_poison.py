"""An accepted event that the worker fails on is found and set aside, and everything else goes on."""

from __future__ import annotations

import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
from fastapi.testclient import TestClient
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from driftline.config.load import load
from driftline.errors import PanicError, StorageError, panics_as_errors
from driftline.events import Label, Prediction
from driftline.monitoring import draining, ingest
from driftline.monitoring.agreement import agree
from driftline.monitoring.draining import drain
from driftline.monitoring.judging import refresh_labels
from driftline.monitoring.model import MonitoredModel
from driftline.monitoring.poison import FAILURES, Rehearsal, find_poison, search
from driftline.monitoring.rebuild import rebuild
from driftline.monitoring.rehearsal import InProcess, rehearse, setting_of
from driftline.service.runtime import Service
from driftline.store.deliveries import Delivery
from driftline.store.inbox import InboxRow
from driftline.store.log import EventLog
from driftline.store.poison import poisoned
from driftline.store.retention import Cut
from driftline.store.state import State
from driftline.web.app import create_app
from tests.support.churn import MODEL, START, label, prediction, write_config
from tests.support.steps import NOW, deliver, work

# ---- the search -----------------------------------------------------------------------------------------------------


@given(st.integers(1, 300).flatmap(lambda size: st.tuples(st.just(size), st.sets(st.integers(0, size - 1)))))
def test_the_search_finds_every_position_that_fails_and_no_other(case: tuple[int, set[int]]) -> None:
    size, bad = case
    found = search(size, lambda some: f"{min(bad & set(some))}" if bad & set(some) else None, most_trials=10**6)
    assert found == {position: str(position) for position in bad}


@given(st.integers(2, 100_000), st.data())
def test_one_position_is_found_in_about_two_trials_a_halving(size: int, data: st.DataObject) -> None:
    bad = data.draw(st.integers(0, size - 1))
    trials = 0

    def trial(some: Sequence[int]) -> str | None:
        nonlocal trials
        trials += 1
        return "bad" if bad in some else None

    assert set(search(size, trial)) == {bad}
    assert trials <= 2 * math.ceil(math.log2(size)) + 2


@given(st.integers(2, 200), st.data())
def test_what_fails_only_in_company_goes_with_the_later_one(size: int, data: st.DataObject) -> None:
    first, second = sorted(data.draw(st.sets(st.integers(0, size - 1), min_size=2, max_size=2)))
    assert set(search(size, lambda some: "both" if {first, second} <= set(some) else None)) == {second}


@given(st.integers(1, 500), st.integers(1, 60))
def test_the_search_ends_when_its_trials_do_and_what_it_found_is_right(size: int, most: int) -> None:
    trials = 0

    def trial(some: Sequence[int]) -> str | None:
        nonlocal trials
        trials += 1
        return "bad" if any(one % 3 == 0 for one in some) else None

    found = search(size, trial, most_trials=most)
    assert trials <= most + 1
    assert all(one % 3 == 0 for one in found)


# ---- the worker -----------------------------------------------------------------------------------------------------

REAL_PROFILE, REAL_PLAN, REAL_APPEND = ingest.profile_predictions, ingest.make_plan, EventLog.append_labels


def poison_of(event: Prediction | Label) -> bool:
    return event.id.startswith("bad")


class Trouble(Exception):
    """What a library might raise."""


def fails_on_predictions(model: MonitoredModel, rows: pl.DataFrame) -> Any:
    if rows["id"].str.starts_with("bad").any():
        raise Trouble("these predictions")
    return REAL_PROFILE(model, rows)


def fails_on_labels(log: EventLog, rows: pl.DataFrame, *, through: int) -> None:
    """After the predictions of the batch are in the log already."""
    if rows["id"].str.starts_with("bad").any():
        raise Trouble("these labels")
    REAL_APPEND(log, rows, through=through)


def fails_on_shadows(rows: Sequence[InboxRow], *args: Any, **kwargs: Any) -> Any:
    if any(poison_of(one) and one.role == "shadow" for row in rows for one in row.predictions):
        raise Trouble("these shadows")
    return REAL_PLAN(rows, *args, **kwargs)


@contextmanager
def in_process(model: MonitoredModel, state: State, rows: Sequence[InboxRow]) -> Iterator[Rehearsal]:
    """Without another process, which would not know what the tests have put in."""
    with tempfile.TemporaryDirectory() as folder:
        yield InProcess(setting_of(model, state, rows), Path(folder) / "log")


@pytest.fixture
def troubled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest, "profile_predictions", fails_on_predictions)
    monkeypatch.setattr(EventLog, "append_labels", fails_on_labels)
    monkeypatch.setattr(ingest, "make_plan", fails_on_shadows)
    monkeypatch.setattr(draining, "CAREFUL_EVENTS", 3)  # so that batches are cut


def drain_all(service: Service, restart: Any = None) -> tuple[Service, int]:
    """Drain until nothing is left; return how often it failed."""
    failures = 0
    while True:
        try:
            if not drain(service.models[MODEL], service.inbox, service.state, rehearsal=in_process):
                return service, failures
        except Trouble:
            failures += 1
            assert failures < 200, "it never comes to an end"
            if restart is not None:
                service = restart(service)


def shadow(id: str) -> dict[str, Any]:
    return prediction(id, 0.1, said=1) | {"role": "shadow", "version": "v2"}


sent = st.lists(
    st.lists(
        st.tuples(st.sampled_from(["live", "shadow", "label"]), st.booleans(), st.integers(0, 5)),
        min_size=1,
        max_size=8,
    ),
    min_size=1,
    max_size=4,
)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
@given(batches=sent, restarts=st.booleans())
@example(batches=[[("live", False, 0), ("live", False, 1)], [("label", False, 0), ("label", True, 1)]], restarts=True)
def test_the_bad_are_in_quarantine_and_the_good_are_counted_once(
    troubled: None, batches: list[list[tuple[str, bool, int]]], restarts: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = load(write_config(Path(folder)))
        service = Service(config)
        live: set[str] = set()
        truth: set[str] = set()
        shadows = 0
        bad: list[str] = []
        for batch in batches:
            for kind, is_bad, number in batch:
                id = f"{'bad' if is_bad else 'good'}-{number}"
                if kind == "label":
                    id = f"{'bad' if is_bad else 'good'}-{number + 3 if is_bad else number}"
                    deliver(service, "labels", [label(id, 0.2, truth=1)])
                    truth.add(id)
                elif kind == "live":
                    deliver(service, "predictions", [prediction(id, 0.1, said=1)])
                    live.add(id)
                    bad += [id] * is_bad
                else:
                    deliver(service, "predictions", [shadow(id)])
                    shadows += not is_bad
                    bad += [id] * is_bad

        def again(old: Service) -> Service:
            old.stop()
            return Service(config)

        service, _ = drain_all(service, again if restarts else None)
        view = service.views.model(MODEL)
        good_live = {id for id in live if not id.startswith("bad")}
        assert view.predictions == len(good_live)
        assert view.labels == len(good_live & truth)
        log = service.models[MODEL].log
        assert (log.count("predictions"), log.count("labels")) == (len(good_live), len(good_live & truth))
        assert log.count("shadow") == shadows
        set_aside = service.inbox.quarantined(MODEL, most=1000)
        assert sorted(msgspec.json.decode(one.row)["id"] for one in set_aside) == sorted(bad)
        assert all("Trouble" in one.reason for one in set_aside)
        with service.state.read() as read:
            assert poisoned(read.connection) == ({MODEL: len(bad)} if bad else {})
        refresh_labels(service.models[MODEL], service.state)
        assert rebuild(service.models[MODEL], service.state).differing == ()
        service.stop()


def test_a_batch_is_looked_into_after_three_failures_and_these_outlive_a_restart(troubled: None, config: Any) -> None:
    service = Service(config)
    deliver(service, "predictions", [prediction("good", 0.1, said=1), prediction("bad", 0.1, said=1)])
    for _ in range(FAILURES):
        with pytest.raises(Trouble):
            drain(service.models[MODEL], service.inbox, service.state, rehearsal=in_process)
        assert not service.inbox.quarantined(MODEL, most=10)
        service.stop()
        service = Service(config)
    service, failures = drain_all(service)
    assert failures == 0
    assert len(service.inbox.quarantined(MODEL, most=10)) == 1
    service.stop()


def test_poison_that_is_in_the_log_already_is_taken_out_of_it(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after an update: what was logged cannot be brought into the state any more."""
    deliver(service, "predictions", [prediction("good", 0.1, said=1), prediction("bad'; --", 0.1, said=1)])
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "done", lambda *args: (_ for _ in ()).throw(Trouble("it dies before the state has it")))
        with pytest.raises(Trouble):
            drain(service.models[MODEL], service.inbox, service.state)
    assert service.models[MODEL].log.count("predictions") == 2
    monkeypatch.setattr(ingest, "profile_predictions", fails_on_predictions)
    drain_all(service)
    monkeypatch.undo()
    assert service.models[MODEL].log.count("predictions") == service.views.model(MODEL).predictions == 1
    assert rebuild(service.models[MODEL], service.state).differing == ()


def test_what_is_gone_fails_in_no_rehearsal(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever was forgotten, and what is older than the cut, is dropped there as it is in earnest."""
    model, state = service.models[MODEL], service.state
    with state.work() as work:
        work.forgettings.remember(MODEL, [model.config.key.digest("bad forgotten")], NOW)
        work.retention.put_cut(Cut(MODEL, START + timedelta(days=2), "1d", NOW, finished=True))
    sent = [("bad forgotten", 3.1), ("bad old", 1.1), ("good", 3.2), ("bad", 3.3)]
    deliver(service, "predictions", [prediction(id, at, said=1) for id, at in sent])
    rows = service.inbox.take(MODEL, most_events=100)
    monkeypatch.setattr(ingest, "profile_predictions", fails_on_predictions)
    found = find_poison(model, state, rows, in_process)
    assert [one.event.id for one in found] == ["bad"]


class Crash(BaseException):
    """The process dies here."""


@pytest.mark.parametrize(("after", "careful"), [(False, 1), (True, 1), (True, 100)])
@pytest.mark.parametrize("step", ["find_poison", "_remove_from_log", "set_poison_aside"])
def test_a_process_that_dies_while_it_sets_poison_aside_goes_on_after_the_restart(
    config: Any, monkeypatch: pytest.MonkeyPatch, step: str, after: bool, careful: int
) -> None:
    monkeypatch.setattr(draining, "CAREFUL_EVENTS", careful)
    service = Service(config)
    rows = [prediction("good", 0.1, said=1), prediction("bad", 0.1, said=1), prediction("late", 0.1, said=1)]
    deliver(service, "predictions", rows)
    deliver(service, "labels", [label(one["id"], 0.2, truth=1) for one in rows])
    with monkeypatch.context() as patch:  # all of it is in the log, and not in the state
        patch.setattr(ingest, "done", lambda *args: (_ for _ in ()).throw(Trouble("it dies before the state has it")))
        with pytest.raises(Trouble):
            drain(service.models[MODEL], service.inbox, service.state)
    monkeypatch.setattr(ingest, "profile_predictions", fails_on_predictions)
    real = getattr(draining, step)

    def dies(*args: Any, **kwargs: Any) -> None:
        if after:
            real(*args, **kwargs)
        raise Crash

    with monkeypatch.context() as patch:
        patch.setattr(draining, step, dies)
        with pytest.raises(Crash):
            drain_all(service)
    service.stop()
    service, _ = drain_all(Service(config))
    view, log = service.views.model(MODEL), service.models[MODEL].log
    assert (view.predictions, view.labels, view.waiting_labels) == (2, 2, 1)
    assert log.count("predictions") == 2
    assert [msgspec.json.decode(one.row)["id"] for one in service.inbox.quarantined(MODEL, most=10)] == ["bad"]
    refresh_labels(service.models[MODEL], service.state)
    assert rebuild(service.models[MODEL], service.state).differing == ()
    service.stop()


def test_what_was_logged_with_a_larger_batch_counts_once_when_its_beginning_is_worked_in(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(draining, "CAREFUL_EVENTS", 2)
    for number in range(4):
        deliver(service, "predictions", [prediction(f"{number}-{one}", 0.1, said=1) for one in range(2)])
    with monkeypatch.context() as patch:
        patch.setattr(ingest, "done", lambda *args: (_ for _ in ()).throw(Trouble("it dies before the state has it")))
        with pytest.raises(Trouble):
            drain(service.models[MODEL], service.inbox, service.state)
    model = service.models[MODEL]
    assert drain(model, service.inbox, service.state) == 1
    assert agree(model, service.state) is model
    assert rebuild(model, service.state).differing == ()
    assert [one.predictions for one in views_of(service)] == [2]
    drain_all(service)
    assert [one.predictions for one in views_of(service)] == [8]
    assert model.log.count("predictions") == 8
    assert rebuild(model, service.state).differing == ()


def views_of(service: Service) -> list[Any]:
    with service.state.read() as read:
        return read.windows.between(MODEL)


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), StorageError("the database is locked"), MemoryError()]
)
def test_trouble_of_the_surroundings_sets_nothing_aside(
    service: Service, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    deliver(service, "predictions", [prediction(str(index), 0.1, said=1) for index in range(4)])
    with monkeypatch.context() as patch:
        patch.setattr(EventLog, "append_predictions", lambda *args, **kwargs: (_ for _ in ()).throw(error))
        for _ in range(FAILURES + 2):
            with pytest.raises(type(error) if not isinstance(error, MemoryError) else (MemoryError, StorageError)):
                drain(service.models[MODEL], service.inbox, service.state, rehearsal=rehearse)
    assert not service.inbox.quarantined(MODEL, most=10)
    work(service)
    assert service.views.model(MODEL).predictions == 4


def test_where_even_a_fine_event_fails_nothing_is_set_aside(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    deliver(service, "predictions", [prediction("a", 0.1, said=1)])
    monkeypatch.setattr(ingest, "make_plan", lambda *args, **kwargs: (_ for _ in ()).throw(Trouble("always")))
    for _ in range(FAILURES):
        with pytest.raises(Trouble):
            drain(service.models[MODEL], service.inbox, service.state, rehearsal=in_process)
    with pytest.raises(StorageError, match="not even one that is fine"):
        drain(service.models[MODEL], service.inbox, service.state, rehearsal=in_process)
    assert not service.inbox.quarantined(MODEL, most=10)


# ---- real poison, in another process --------------------------------------------------------------------------------


def put_into_inbox(service: Service, events: Sequence[Prediction]) -> None:
    """Past the checks of parsing: what an earlier release has accepted, or a fault of ours lets through."""
    service.inbox.accept(Delivery(MODEL, "predictions", NOW, events))


def event(id: str, **changes: Any) -> Prediction:
    whole = {
        "id": id,
        "time": START,
        "version": "v1",
        "features": {"age": 40.0, "plan": "pro"},
        "prediction": "1",
        "score": {"1": 0.5},
        "latency_seconds": None,
    }
    return Prediction(**{**whole, **changes})


REAL_POISON = {
    "a number is a text": {"features": {"age": "forty", "plan": "pro"}},
    "a prediction of another type": {"prediction": 7.5},
}


@pytest.mark.parametrize("changes", REAL_POISON.values(), ids=list(REAL_POISON))
def test_real_poison_is_found_by_a_rehearsal_in_another_process(service: Service, changes: dict[str, Any]) -> None:
    put_into_inbox(service, [event(f"good-{index}") for index in range(30)])
    put_into_inbox(service, [event("before"), event("bad", **changes), event("after")])
    for _ in range(FAILURES):
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the library raises
            drain(service.models[MODEL], service.inbox, service.state)
    while drain(service.models[MODEL], service.inbox, service.state):
        pass
    [aside] = service.inbox.quarantined(MODEL, most=10)
    assert msgspec.json.decode(aside.row)["id"] == "bad" and aside.index == 1
    assert "the worker fails on it" in aside.reason
    assert service.views.model(MODEL).predictions == 32


def test_what_ends_the_process_is_found_too(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other process is this one's Python with a startup file that aborts on one id, as a library would."""
    (tmp_path / "sitecustomize.py").write_text(ABORTS)
    monkeypatch.setenv(
        "PYTHONPATH", os.pathsep.join([str(tmp_path), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    )
    put_into_inbox(service, [event(f"good-{index}") for index in range(10)] + [event("bad-abort"), event("last")])
    with service.state.work() as change:  # it has ended this process three times
        from driftline.store.poison import begin_attempt

        assert [begin_attempt(change.connection, MODEL, 1) for _ in range(FAILURES)] == [0, 1, 2]
    while drain(service.models[MODEL], service.inbox, service.state):
        pass
    [aside] = service.inbox.quarantined(MODEL, most=10)
    assert msgspec.json.decode(aside.row)["id"] == "bad-abort"
    assert "SIGABRT" in aside.reason
    assert service.views.model(MODEL).predictions == 11


ABORTS = """
import os, sys
if "driftline.monitoring.rehearsal" in " ".join(sys.orig_argv):
    import driftline.monitoring.ingest as ingest
    real = ingest.make_plan
    def make_plan(rows, *args, **kwargs):
        if any(one.id == "bad-abort" for row in rows for one in row.predictions):
            os.abort()
        return real(rows, *args, **kwargs)
    ingest.make_plan = make_plan
"""


# ---- what people see ------------------------------------------------------------------------------------------------


def until_ready(client: TestClient) -> None:
    end = time.monotonic() + 20
    while client.get("/ready").status_code != 200 and time.monotonic() < end:
        time.sleep(0.01)


def test_it_is_said_at_ready_in_a_metric_and_in_quarantine(service: Service) -> None:
    put_into_inbox(service, [event("good"), event("bad", **REAL_POISON["a number is a text"])])
    for _ in range(FAILURES):
        with pytest.raises(Exception):  # noqa: B017, PT011 - whatever the library raises
            drain(service.models[MODEL], service.inbox, service.state)
    work(service)
    service.start()
    with TestClient(create_app(service)) as client:
        until_ready(client)
        answer = client.get("/ready")
        assert answer.json()["warnings"] == {"poisoned": {MODEL: 1}}
        assert answer.status_code == 200 and answer.json()["ready"] is True
        assert f'driftline_poisoned_events_total{{model="{MODEL}"}} 1.0' in client.get("/metrics").text
        [row] = client.get(f"/api/v1/models/{MODEL}/quarantine").json()["rows"]
    assert (row["kind"], row["row"]["id"], row["row"]["features"]) == (
        "predictions",
        "bad",
        {"age": "forty", "plan": "pro"},
    )


def test_a_panic_of_each_library_is_an_error_like_others() -> None:
    import polars as pl

    with pytest.raises(PanicError, match="on purpose"), panics_as_errors():
        raise pl.exceptions.PanicException("on purpose")
    with pytest.raises(KeyboardInterrupt), panics_as_errors():
        raise KeyboardInterrupt


def test_a_panic_in_the_worker_holds_up_nobody_else(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    import polars as pl

    def panics(*args: Any) -> None:
        raise pl.exceptions.PanicException("on purpose")

    monkeypatch.setattr("driftline.service.worker.drain", panics)
    service.start()
    end = time.monotonic() + 20
    while MODEL not in service.problems and time.monotonic() < end:
        time.sleep(0.01)
    assert "on purpose" in service.problems[MODEL]
    monkeypatch.undo()
    deliver(service, "predictions", [prediction("a", 0.1, said=1)])
    service.wake()
    while not service.idle and time.monotonic() < end:
        time.sleep(0.01)
    assert service.views.model(MODEL).predictions == 1
