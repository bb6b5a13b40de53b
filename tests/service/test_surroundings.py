"""A full disk, a locked database, a start with much to do: said in words for people, waited for, nothing lost."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient

from driftline.config.load import Config
from driftline.errors import StorageError
from driftline.service import jobs, worker
from driftline.service.runtime import Service
from driftline.service.trouble import in_words
from driftline.store import log, sqlite
from driftline.store.database import open_database
from driftline.store.inbox import Inbox
from driftline.web.app import create_app
from tests.support.churn import MODEL, prediction
from tests.support.steps import deliver, work

PREDICTIONS = f"/api/v1/models/{MODEL}/predictions"


def until(true: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def is_for_people(text: str) -> None:
    assert not any(sign in text for sign in ("INSERT", "SELECT", "Traceback", "sqlalche.me", "\n", "BEGIN"))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "_BUSY_SECONDS", 0.2)
    monkeypatch.setattr(jobs, "AFTER_TROUBLE_SECONDS", 0.05)
    monkeypatch.setattr(jobs, "IDLE_SECONDS", 0.05)


@pytest.fixture
def running(impatient: None, config: Config) -> Iterator[tuple[Service, TestClient]]:
    service = Service(config)
    service.start()
    with TestClient(create_app(service)) as client:
        until(lambda: bool(client.get("/ready").json()["ready"]))
        yield service, client
    service.stop()


def test_a_locked_database_is_answered_with_503_and_waited_for(
    running: tuple[Service, TestClient], config: Config
) -> None:
    service, client = running
    assert client.post(PREDICTIONS, json=[prediction("before", 0.1, said=1)]).status_code == 202
    other = sqlite3.connect(config.storage / "state.db", isolation_level=None, timeout=10)
    other.execute("BEGIN IMMEDIATE")
    answer = client.post(PREDICTIONS, json=[prediction("refused", 0.1, said=1)])
    assert (answer.status_code, answer.json()["error"]["type"]) == (503, "StorageError")
    assert int(answer.headers["Retry-After"]) >= 1
    assert "locked" in answer.json()["error"]["message"]
    is_for_people(answer.json()["error"]["message"])
    other.execute("ROLLBACK")
    other.close()
    assert client.post(PREDICTIONS, json=[prediction("after", 0.1, said=1)]).status_code == 202
    until(lambda: service.views.model(MODEL).predictions == 2)
    assert service.models[MODEL].log.count("predictions") == 2


def test_a_disk_that_is_full_for_the_database_refuses_and_recovers(config: Config) -> None:
    engine = open_database(config.database)
    limits = [0]

    def limit(connection: Any, *_: Any) -> None:
        if limits[0]:
            connection.execute(f"PRAGMA max_page_count = {limits[0]}")

    sa.event.listen(engine, "connect", limit)
    service = Service(config)
    service.inbox = Inbox(engine)
    engine.dispose()
    limits[0] = 1  # the pages that there are, and no more
    big = [prediction(str(index), 0.1, said=1) for index in range(5000)]
    with pytest.raises(sa.exc.OperationalError) as error:
        deliver(service, "predictions", big)
    assert in_words(error.value) == "the disk is full: the database cannot grow"
    limits[0] = 10**9
    engine.dispose()
    assert deliver(service, "predictions", big) == 5000
    work(service)
    assert service.views.model(MODEL).predictions == 5000
    service.stop()


def test_a_disk_that_is_full_for_the_log_is_said_and_waited_for(
    running: tuple[Service, TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, client = running

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(log, "write_deltalake", full)
        for index in range(5):
            assert client.post(PREDICTIONS, json=[prediction(str(index), 0.1, said=1)]).status_code == 202
        until(lambda: client.get("/ready").status_code == 503)
        problem = client.get("/ready").json()["problems"][MODEL]
        assert "No space left on device" in problem
        is_for_people(problem)
        time.sleep(0.5)  # it is tried many times
    until(lambda: client.get("/ready").status_code == 200)
    until(lambda: service.views.model(MODEL).predictions == 5)
    assert not service.inbox.quarantined(MODEL, most=10)


def test_it_is_not_ready_before_what_was_stored_is_judged(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a rebuild every window waits to be judged: until then the answers would lack them."""
    service = Service(config)
    for day in range(3):
        deliver(service, "predictions", [prediction(f"{day}-{index}", day + 0.1, said=1) for index in range(5)])
    work(service)
    assert len(service.views.windows(MODEL)) == 3
    worker.rebuild(service.models[MODEL], service.state)
    service.stop()

    go, real = threading.Event(), worker.judge_windows

    def waits(*args: Any) -> Any:
        assert go.wait(30)
        return real(*args)

    monkeypatch.setattr(worker, "judge_windows", waits)
    service = Service(config)
    service.start()
    with TestClient(create_app(service)) as client:
        answer = client.get("/ready")
        assert answer.status_code == 503 and not answer.json()["ready"]
        assert "being judged" in answer.json()["problems"]["start"]
        assert client.get("/health").status_code == 200
        assert client.post(PREDICTIONS, json=[prediction("new", 0.1, said=1)]).status_code == 202
        go.set()
        until(lambda: bool(client.get("/ready").json()["ready"]))
        assert len(client.get(f"/api/v1/models/{MODEL}/windows").json()["windows"]) == 3
    service.stop()


def test_a_database_that_cannot_be_opened_is_told_without_a_statement(config: Config) -> None:
    (config.storage).mkdir(exist_ok=True)
    (config.storage / "state.db").write_bytes(b"this is not a database, and long enough to be looked at" * 100)
    with pytest.raises(StorageError, match="cannot be opened: file is not a database") as error:
        Service(config)
    is_for_people(str(error.value))


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_acknowledged_into_a_file_that_has_no_name_any_more(
    running: tuple[Service, TestClient], config: Config, replaced: bool
) -> None:
    """Somebody moves the state away, or puts a backup in its place, while it is served."""
    service, client = running
    assert client.post(PREDICTIONS, json=[prediction("before", 0, said=1)]).status_code == 202
    until(lambda: service.idle)
    file = Path(sa.engine.make_url(config.database).database or "")
    away = file.with_name("away")
    file.rename(away)
    if replaced:
        sqlite3.connect(file).close()
        file.touch()
    answer = client.post(PREDICTIONS, json=[prediction("lost", 0, said=1)])
    assert answer.status_code == 503
    assert ("replaced" if replaced else "gone") in answer.json()["error"]["message"]
    is_for_people(answer.json()["error"]["message"])
    until(lambda: "database" in client.get("/ready").json()["problems"])
    away.replace(file)  # it is back: nothing has to be started again
    until(lambda: bool(client.get("/ready").json()["ready"]))
    assert client.post(PREDICTIONS, json=[prediction("after", 0, said=1)]).status_code == 202
    until(lambda: service.idle)
    assert service.models[MODEL].log.count("predictions") == 2
