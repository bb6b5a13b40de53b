"""/health and /ready while the database is locked or the disk is full: at once, true, and in words."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import polars as pl
import pytest
import sqlalchemy as sa
from deltalake.exceptions import DeltaError
from fastapi.testclient import TestClient

from driftline.errors import StorageError
from driftline.service.runtime import Service
from driftline.service.trouble import in_words
from driftline.store.log import EventLog
from driftline.store.sqlite import is_writing
from driftline.web import vitals
from driftline.web.app import create_app
from driftline.web.vitals import Vitals
from tests.support.churn import MODEL, prediction, write_config
from tests.support.served import post, serving
from tests.support.servers import until
from tests.support.steps import deliver, work

PREDICTIONS = f"/api/v1/models/{MODEL}/predictions"
NOT_FOR_PEOPLE = ("sqlite3", "sqlalche", "SQL", "Traceback", "Error", "SELECT", "INSERT", "\n")


@contextmanager
def locked(service_data: Path, how: str) -> Iterator[None]:
    """Another program holds the database."""
    other = sqlite3.connect(service_data / "state.db", isolation_level=None, timeout=10)
    if how == "alone":
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE" if how != "immediate" else "BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.execute("ROLLBACK")
        other.close()


def require_words(text: str) -> None:
    assert not [word for word in NOT_FOR_PEOPLE if word in text], text


@pytest.mark.parametrize("how", ["immediate", "exclusive"])
def test_a_locked_database_is_said_at_once_and_no_longer_than_it_lasts(tmp_path: Path, how: str) -> None:
    with (
        serving(write_config(tmp_path)) as (_, address),
        httpx.Client(base_url=address, trust_env=False, verify=False) as client,
    ):
        assert post(address, "predictions", [prediction("a", 0.1, said=1)])
        until(lambda: client.get("/ready").json()["idle"], "rest")
        with locked(tmp_path / "data", how):
            senders = [
                threading.Thread(target=_try_to_post, args=(address, f"waits {number}"), daemon=True)
                for number in range(60)
            ]
            for sender in senders:  # more than there are threads for requests
                sender.start()
            until(lambda: client.get("/ready", timeout=5).status_code == 503, "the lock, once it is looked for again")
            for _ in range(5):
                assert client.get("/health", timeout=5).json() == {"status": "ok"}
                answer = client.get("/ready", timeout=5)
                assert (answer.status_code, answer.json()["ready"]) == (503, False)
                said = answer.json()["problems"]["database"]
                assert "locked by another program" in said
                require_words(said)
            assert client.get(f"/api/v1/models/{MODEL}", timeout=5).status_code == 200  # what is only read, is read
        until(lambda: client.get("/ready").json()["ready"], "readiness")
        for sender in senders:
            sender.join(60)


def _try_to_post(address: str, id: str) -> None:
    with suppress(httpx.HTTPError):
        httpx.post(address + PREDICTIONS, json=[prediction(id, 0.2, said=1)], timeout=60, trust_env=False, verify=False)


def test_our_own_write_is_no_lock_of_another(service: Service) -> None:
    seen = Vitals(service.config, service.inbox)
    assert asyncio.run(seen.seen()).problems == {}
    with service.state.work():
        assert is_writing(service.config.database)
        assert Vitals(service.config, service.inbox)._write_problem() is None
    assert not is_writing(service.config.database)
    with service.state.read():
        assert not is_writing(service.config.database)


def test_a_write_that_fails_is_over_too(service: Service) -> None:
    with pytest.raises(ZeroDivisionError), service.state.work():
        raise ZeroDivisionError
    assert not is_writing(service.config.database)


def test_a_disk_without_room_is_not_ready(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    client = TestClient(create_app(service))
    assert client.get("/ready").json()["ready"] is True
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(vitals.os, "posix_fallocate", lambda *_: (_ for _ in ()).throw(full))
    monkeypatch.setattr(vitals, "_FRESH", timedelta())
    answer = client.get("/ready")
    assert (answer.status_code, answer.json()["ready"]) == (503, False)
    assert "the disk is full" in answer.json()["problems"]["disk"]
    require_words(answer.json()["problems"]["disk"])


def test_a_folder_that_has_gone_is_not_ready(service: Service, tmp_path: Path) -> None:
    (tmp_path / "data").rename(tmp_path / "elsewhere")
    seen = asyncio.run(Vitals(service.config, service.inbox).seen())
    assert seen.problems
    for said in seen.problems.values():
        require_words(said)
    (tmp_path / "elsewhere").rename(tmp_path / "data")


def test_files_that_may_not_grow_are_said_and_survived(tmp_path: Path) -> None:
    """A limit on the size of files stands for a full disk: a real process, whose writes fail from the outside."""
    config = write_config(tmp_path)
    with serving(config) as (process, address):
        assert post(address, "predictions", [prediction("a", 0.1, said=1)])
        until(lambda: httpx.get(f"{address}/ready", trust_env=False, verify=False).json()["idle"], "rest")
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
        answer = until(
            lambda: (got := httpx.get(f"{address}/ready", trust_env=False, verify=False)).status_code == 503 and got,
            "no",
        )
        for said in answer.json()["problems"].values():
            require_words(said)
        refused = httpx.post(
            address + PREDICTIONS, json=[prediction("b", 0.1, said=1)], trust_env=False, verify=False, timeout=60
        )
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        require_words(refused.json()["error"]["message"])
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        until(lambda: httpx.get(f"{address}/ready", trust_env=False, verify=False).json()["ready"], "readiness")
        assert post(address, "predictions", [prediction("b", 0.1, said=1)])
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT, errno.EACCES, errno.EIO])
def test_an_error_of_the_system_is_told_alike_however_it_was_passed_on(service: Service, number: int) -> None:
    told = in_words(OSError(number, os.strerror(number)))
    passed_on = (
        f"Failed to parse parquet: External: Generic LocalFileSystem error: {os.strerror(number)} (os error {number})"
    )
    for error in (DeltaError(passed_on), pl.exceptions.ComputeError(passed_on), OSError(passed_on)):
        assert in_words(error) == told
        with pytest.raises(StorageError) as caught, service.models[MODEL].log._told("predictions", "written"):
            raise error
        assert in_words(caught.value).endswith(f"cannot be written: {told}")
        require_words(in_words(caught.value))


def test_a_log_that_may_not_grow_is_said_in_words_and_loses_nothing(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the log alone is full: a real limit, which the writer in Rust runs into."""
    assert deliver(service, "predictions", [prediction(f"{one}", 0.1, said=1) for one in range(2_000)]) == 2_000
    before, old = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log, append = service.models[MODEL].log, EventLog._append

    def limited(self: EventLog, *arguments: Any) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
        try:
            append(self, *arguments)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)

    monkeypatch.setattr(EventLog, "_append", limited)
    with pytest.raises(StorageError) as caught:
        work(service)
    monkeypatch.undo()
    signal.signal(signal.SIGXFSZ, old)
    assert in_words(caught.value) == (
        f"the event log in {Path(log.place.root) / 'predictions'} cannot be written: files may not grow any larger here"
    )
    work(service)
    assert log.count("predictions") == 2_000


@pytest.mark.parametrize(
    "error",
    [
        sa.exc.OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked")),
        sa.exc.DatabaseError("SELECT 1", {}, sqlite3.DatabaseError("something\nnew")),
        sa.exc.TimeoutError("QueuePool limit of size 5 overflow 10 reached"),
        OSError(28, "No space left on device", "data\x1b[2J"),
        sqlite3.OperationalError("x"),
    ],
)
def test_trouble_is_one_line_without_sql(error: Exception) -> None:
    said = in_words(error)
    assert "SELECT" not in said
    assert "QueuePool" not in said
    assert said.isprintable()
    assert len(said) <= 300


def test_looking_after_the_vitals_leaves_no_file(service: Service) -> None:
    before = sorted(path.name for path in Path(service.config.storage).iterdir())
    asyncio.run(Vitals(service.config, service.inbox).seen())
    assert sorted(path.name for path in Path(service.config.storage).iterdir()) == before
