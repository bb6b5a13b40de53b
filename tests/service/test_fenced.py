"""A worker is paused at a step of a batch; another takes its model over and does all; the first one returns."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from driftline import clock
from driftline.config.load import load
from driftline.errors import StorageError
from driftline.monitoring import draining, forgetting, ingest, retention
from driftline.monitoring.forgetting import ForgetBody, ask_to_forget
from driftline.monitoring.rebuild import rebuild
from driftline.service.jobs import Pass
from driftline.service.keeping import EventKeeper
from driftline.service.leases import model_lease
from driftline.service.runtime import Service
from driftline.store import erasing
from driftline.store.database import open_database
from driftline.store.forgetting import DONE
from driftline.store.log import EventLog
from driftline.store.tidy import Tidier
from tests.service.test_leases import die
from tests.support import steps
from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.postgresql import PostgreSQL
from tests.support.s3 import S3
from tests.support.steps import deliver

STEPS: list[tuple[Any, str]] = [
    (draining, "begin_attempt"),
    (ingest, "make_plan"),
    (EventLog, "append_predictions"),
    (EventLog, "append_labels"),
    (EventLog, "sync"),
    (ingest, "done"),
]


@pytest.fixture
def pair(tmp_path: Path, postgresql: PostgreSQL, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Service, Service]]:
    """Two processes of one service, as far as the database can tell; the first has the model.

    Events are kept for 40 days.
    """
    path = write_config(tmp_path, f"database: {postgresql.cleared_database()}")
    path.write_text(path.read_text().replace("events: forever", "events: 40d"))
    monkeypatch.setattr(steps, "NOW", clock.now())  # event time goes on with the clock since the last arrival
    config = load(path)
    with ExitStack() as stack:
        services = Service(config), Service(config)
        for service in services:
            stack.callback(service.stop)
        yield services


@pytest.mark.parametrize(("owner", "name"), STEPS, ids=[name for _, name in STEPS])
def test_whoever_returns_after_a_takeover_changes_nothing(
    tmp_path: Path, pair: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    paused, other = pair
    for service in (paused, other):
        die(service.keeper)  # signs of life are given when the test says so
    assert paused.keeper.held(model_lease(MODEL)) and not other.keeper.held(model_lease(MODEL))
    engine, real = open_database(paused.config.database), getattr(owner, name)
    deliver(paused, "predictions", [prediction(f"{number}", 0.1, said=1, score=0.9) for number in range(8)])
    deliver(paused, "labels", [label(f"{number}", 0.5, truth=0) for number in range(8)])
    deliver(paused, "labels", [label(f"{number}", 0.6, truth=1) for number in range(3)])  # they were wrong

    def pause(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, real)
        with engine.begin() as connection:  # ten seconds pass
            connection.exec_driver_sql(f"UPDATE leases SET expires_at = 0 WHERE holder = '{paused.keeper.id}'")
            connection.exec_driver_sql(f"UPDATE processes SET expires_at = 0 WHERE id = '{paused.keeper.id}'")
        deliver(other, "predictions", [prediction("later", 0.2, said=1, score=0.9)])
        deliver(other, "labels", [label("2", 0.7, truth=0)])  # and this one was not
        other.keeper.beat()
        other.worker.step()
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, pause)
    paused.worker.step()
    monkeypatch.undo()
    in_time = name in ("begin_attempt", "done")  # it holds the lease in a transaction: nobody could take it
    assert other.keeper.held(model_lease(MODEL)) != in_time
    last: Callable[[], object] = paused.worker.step if in_time else other.worker.step
    last()
    holder, idle = (paused, other) if in_time else (other, paused)
    with holder.state.read() as read:
        counters = read.counters.of(MODEL)
    assert (counters["predictions", "v1"], counters["labels", ""], counters["corrected_labels", ""]) == (9, 8, 4)
    assert holder.inbox.waiting_models() == set()
    log = EventLog(tmp_path / "data" / "log" / MODEL, holder.models[MODEL].schema, writer=False)
    assert (log.count("predictions"), log.count("labels")) == (9, 12)
    wrong = [id for id, _, known in log.known_rows().rows() if known == "1"]
    assert sorted(wrong) == ["0", "1"]
    assert rebuild(holder.models[MODEL], holder.worker.state_of(MODEL)).differing == ()
    assert MODEL not in idle.problems
    idle.worker.step()  # and it goes on, with nothing of its own
    engine.dispose()


def test_a_commit_that_s3_stores_when_another_has_taken_over_is_refused(
    tmp_path: Path, postgresql: PostgreSQL, faulty_s3: S3
) -> None:
    """The network holds the commit of a worker up, until its lease is another's; then it arrives."""
    path = write_config(tmp_path, f"database: {postgresql.cleared_database()}\nscratch: ./scratch")
    path.write_text(path.read_text().replace("storage: ./data", f"storage: {faulty_s3.address()}"))
    config, held = load(path), threading.Event()

    def hold_up(method: str, path: str) -> str | None:
        if method != "PUT" or "/predictions/_delta_log/" not in path or held.is_set():
            return None
        held.set()
        return "late"

    with ExitStack() as stack:
        slow, other = Service(config), Service(config)
        for service in (slow, other):
            stack.callback(service.stop)
            die(service.keeper)
        deliver(slow, "predictions", [prediction("first", 0.1, said=1)])
        slow.worker.step()
        deliver(slow, "predictions", [prediction(f"{number}", 0.1, said=1) for number in range(8)])
        faulty_s3.proxy.fault = hold_up
        step = threading.Thread(target=slow.worker.step)
        step.start()
        assert held.wait(30)
        expire(slow)
        other.keeper.beat()
        deliver(other, "predictions", [prediction("later", 0.2, said=1)])
        other.worker.step()
        faulty_s3.heal()
        step.join(60)
        assert not step.is_alive() and not slow.keeper.held(model_lease(MODEL)) and slow.problems == {}
        ids = [str(number) for number in range(8)]
        assert other.models[MODEL].log.known_rows()["id"].sort().to_list() == [*ids, "first", "later"]
        assert rebuild(other.models[MODEL], other.worker.state_of(MODEL)).differing == ()


def expire(service: Service) -> None:
    """Ten seconds pass without a sign of life."""
    engine = open_database(service.config.database)
    with engine.begin() as connection:
        connection.exec_driver_sql(f"UPDATE leases SET expires_at = 0 WHERE holder = '{service.keeper.id}'")
        connection.exec_driver_sql(f"UPDATE processes SET expires_at = 0 WHERE id = '{service.keeper.id}'")
    engine.dispose()


@pytest.mark.parametrize(
    ("owner", "name"),
    [(forgetting, "_erase"), (erasing, "commit"), (Tidier, "_strays"), (forgetting, "_put")],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_whoever_returns_while_it_forgets_leaves_the_rest_to_the_next_one(
    pair: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    paused, other = pair
    for service in pair:
        die(service.keeper)
    deliver(paused, "predictions", [prediction(f"{number}", 0.1, said=1, score=0.9) for number in range(8)])
    deliver(paused, "labels", [label(f"{number}", 0.5, truth=0) for number in range(8)])
    paused.worker.step()
    asked = ask_to_forget(paused.state, paused.config.models[MODEL], ForgetBody(["3", "5"]), clock.now())
    real, steps = getattr(owner, name), itertools.count()

    def pause(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, real)
        expire(paused)
        other.keeper.beat()
        deliver(other, "predictions", [prediction("later", 0.2, said=1, score=0.9)])
        while other.worker.step() is Pass.AGAIN:
            assert next(steps) < 20
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, pause)
    while paused.keeper.held(model_lease(MODEL)):
        paused.worker.step()
        assert next(steps) < 20
    with other.state.read() as read:
        row = read.forgettings.get(asked.id)
    assert row.state == DONE and row.ids is None
    log = other.models[MODEL].log
    assert log.known_rows()["id"].sort().to_list() == ["0", "1", "2", "4", "6", "7", "later"]
    assert not log.missing_files(whole=True) and log.delete_erased()
    assert rebuild(other.models[MODEL], other.worker.state_of(MODEL)).differing == ()
    paused.worker.step()
    assert paused.problems == {} == other.problems


@pytest.mark.parametrize(
    ("owner", "name"),
    [(retention, "_finish"), (erasing, "commit"), (Tidier, "delete_all")],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_whoever_returns_while_it_deletes_what_is_old_leaves_the_rest_to_the_next_one(
    pair: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    paused, other = pair
    for service in pair:
        die(service.keeper)
    for day in (0, 20, 50):
        rows = [prediction(f"{day}-{number}", day + 0.1, said=1, score=0.9) for number in range(4)]
        deliver(paused, "predictions", rows)
        deliver(paused, "labels", [label(one["id"], day + 0.5, truth=0) for one in rows])
    real, number = getattr(owner, name), itertools.count()

    def pause(*args: Any, **kwargs: Any) -> Any:
        monkeypatch.setattr(owner, name, real)
        expire(paused)
        other.keeper.beat()
        deliver(other, "predictions", [prediction(f"later-{day}", day, said=1, score=0.9) for day in (0.2, 20.2)])
        while other.worker.step() is Pass.AGAIN:
            assert next(number) < 20
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, pause)
    while paused.keeper.held(model_lease(MODEL)):
        paused.worker.step()
        assert next(number) < 20
    log = other.models[MODEL].log
    left = [f"{day}-{number}" for day in (20, 50) for number in range(4)]
    assert log.known_rows().sort("id")["id"].to_list() == [*left, "later-20.2"]
    assert log.count("labels") == 8 and not log.missing_files(whole=True) and log.delete_erased()
    with other.state.read() as read:
        cut, counters = read.retention.cut(MODEL), read.counters.of(MODEL)
    assert cut is not None and cut.finished
    assert (counters["predictions", "v1"], counters["invalid_events", "prediction.too_late"]) == (13, 1)
    found = rebuild(other.models[MODEL], other.worker.state_of(MODEL))
    assert (found.differing, found.windows, found.left) == ((), 2, 1)
    paused.worker.step()
    assert paused.problems == {} == other.problems


def test_trouble_with_what_is_kept_ends_here_when_the_model_is_anothers(
    pair: tuple[Service, Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    paused, other = pair
    for service in pair:
        die(service.keeper)

    def fail(*_: Any, **__: Any) -> bool:
        raise StorageError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(EventKeeper, "step", fail)
        paused.worker.step()
    assert paused.problems == {f"{MODEL}: retention": "the disk is full"}
    expire(paused)
    other.keeper.beat()
    for service in (other, paused):
        service.keeper.beat()
        service.worker.step()
    assert paused.problems == {} == other.problems
