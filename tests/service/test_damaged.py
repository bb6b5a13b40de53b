"""Bytes that the disk has changed, of waiting batches and of the log, are told or set aside, never another value."""

from __future__ import annotations

import base64
import json
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
import sqlalchemy as sa
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from driftline.cli.main import main
from driftline.config.load import load
from driftline.errors import DataError, StorageError
from driftline.events import Label, Prediction
from driftline.service import jobs
from driftline.service.runtime import Service
from driftline.store.sealed import sealed, unsealed
from driftline.web.app import create_app
from tests.support.churn import MODEL, label, prediction, write_config
from tests.support.steps import NOW, deliver, work

EVENTS = [
    Prediction(
        id=f"{index}",
        time=NOW,
        version="v\xc1",
        features={"age": index / 7, "plan": None},
        prediction="1",
        score={"1": 0.25},
        latency_seconds=None,
    )
    for index in range(3)
]
LABELS = [Label(id="a", label=float("1.5"), time=NOW), Label(id="b", label="yes", time=NOW)]
SEALED = sealed(EVENTS)


def test_what_was_sealed_is_read_again_and_so_is_what_an_earlier_release_wrote() -> None:
    for kind, events in (("predictions", EVENTS), ("labels", LABELS), ("predictions", [])):
        assert unsealed(sealed(events), kind) == events
        assert unsealed(msgspec.msgpack.encode(events), kind) == events


@given(st.integers(0, len(SEALED) - 1), st.integers(0, 7))
def test_no_flipped_bit_is_read_as_anything(place: int, bit: int) -> None:
    damaged = bytearray(SEALED)
    damaged[place] ^= 1 << bit
    with pytest.raises(DataError, match="damaged"):
        unsealed(bytes(damaged), "predictions")


@given(st.binary(max_size=60) | st.integers(0, len(SEALED)).map(lambda end: SEALED[:end]), st.text(max_size=12))
def test_no_bytes_break_the_reading(body: bytes, kind: str) -> None:
    for one in (kind, "predictions", "labels"):
        try:
            found = unsealed(body, one)
        except DataError:
            continue
        assert found == [] or body in (SEALED, SEALED[:-5])  # without its seal it is a batch of an earlier release


def flip(data: Path, where: Callable[[bytes], int]) -> int:
    """Flip a bit of the oldest waiting batch; return its number."""
    with sqlite3.connect(data / "state.db") as database:
        seq, body = database.execute("SELECT seq, body FROM inbox ORDER BY seq LIMIT 1").fetchone()
        damaged = bytearray(body)
        damaged[where(body)] ^= 0x10
        database.execute("UPDATE inbox SET body = ? WHERE seq = ?", (bytes(damaged), seq))
    database.close()
    return int(seq)


WHERE: dict[str, Callable[[bytes], int]] = {
    "structure": lambda body: 0,
    "a number": lambda body: body.index(msgspec.msgpack.encode(40.5)) + 3,  # it stays a number: another one
    "the seal": lambda body: len(body) - 1,
}


@pytest.mark.parametrize("where", WHERE)
def test_a_damaged_batch_is_set_aside_with_its_bytes_and_the_rest_goes_on(
    tmp_path: Path, service: Service, where: str
) -> None:
    bad = [prediction(f"bad-{index}", 0.1, said=1, age=40.5) for index in range(3)]
    deliver(service, "predictions", bad)
    deliver(service, "predictions", [prediction("good", 0.2, said=1)])
    deliver(service, "labels", [label("good", 0.3, truth=1)])
    flip(tmp_path / "data", WHERE[where])
    work(service)
    assert service.models[MODEL].log.known_rows()["id"].to_list() == ["good"]
    assert service.inbox.waiting_events() == {}
    (aside,) = service.inbox.quarantined(MODEL, most=10)
    assert "the stored bytes of this batch of 3 events are damaged" in aside.reason
    kept = base64.b64decode(json.loads(bytes(aside.row))["body"])
    assert b"bad-1" in kept
    client = TestClient(create_app(service))
    assert client.get("/ready").json()["warnings"] == {"poisoned": {MODEL: 3}}
    assert "driftline_poisoned_events_total{" in client.get("/metrics").text
    (shown,) = client.get(f"/api/v1/models/{MODEL}/quarantine").json()["rows"]
    assert "damaged" in shown["reason"]


def test_a_start_that_takes_the_inbox_anew_sets_it_aside_too(tmp_path: Path) -> None:
    """A state that is older than the log recalls from it, and gives what waits new numbers."""
    config = load(write_config(tmp_path))
    service = Service(config)
    deliver(service, "predictions", [prediction("first", 0.1, said=1)])
    work(service)
    deliver(service, "predictions", [prediction("bad", 0.1, said=1)])
    deliver(service, "predictions", [prediction("good", 0.2, said=1)])
    service.stop()
    flip(tmp_path / "data", WHERE["structure"])
    with sqlite3.connect(tmp_path / "data" / "state.db") as database:
        database.execute("UPDATE models SET log_marks = ?", (msgspec.msgpack.encode({}),))
    database.close()
    again = Service(config)
    try:
        again.worker.catch_up(MODEL)
        work(again)
        assert sorted(again.models[MODEL].log.known_rows()["id"]) == ["first", "good"]
        assert len(again.inbox.quarantined(MODEL, most=10)) == 1
    finally:
        again.stop()


# ---- the log --------------------------------------------------------------------------------------------------------


def damage_log(data: Path, table: str) -> Path:
    file = next((data / "log" / MODEL / table).glob("*.parquet"))
    content = bytearray(file.read_bytes())
    content[len(content) // 3] ^= 0x04
    file.write_bytes(bytes(content))
    return file


@pytest.mark.parametrize("table", ["predictions", "labels"])
def test_a_flipped_bit_of_the_log_is_told_when_it_is_read_and_events_go_on(tmp_path: Path, table: str) -> None:
    config = load(write_config(tmp_path))
    service = Service(config)
    deliver(service, "predictions", [prediction(f"{index}", 0.1, said=1) for index in range(20)])
    deliver(service, "labels", [label(f"{index}", 0.2, truth=1) for index in range(20)])
    work(service)
    service.stop()
    file = damage_log(tmp_path / "data", table)
    service = Service(config)  # it reads nothing of it, and begins at once
    try:
        deliver(service, "predictions", [prediction("new", 0.4, said=1)])
        deliver(service, "labels", [label("1", 0.5, truth=0)])
        for _ in range(2):
            service.worker.guard(MODEL, lambda: service.worker.work(MODEL))
            said = service.problems[MODEL]
            assert f"{MODEL}/{table}/{file.name} of the event log is damaged" in said
            assert f"driftline rebuild {MODEL} --accept-loss" in said and "\n" not in said
        assert service.inbox.waiting_events() == {}  # what arrives goes on into the log
        assert service.models[MODEL].log.last_seq("predictions") == 4
        [window] = TestClient(create_app(service)).get(f"/api/v1/models/{MODEL}/windows").json()["windows"]
        assert (window["predictions"], window["labelled"]) == (21, 20)  # as it was known
    finally:
        service.stop()
    kept = Service(config, accept_loss=MODEL)
    try:
        kept.worker.guard(MODEL, lambda: kept.worker.work(MODEL))
        assert kept.problems == {}
        assert not file.exists() and file.with_name(f"{file.name}.broken").exists()
        assert "new" in kept.models[MODEL].log.known_rows()["id"].to_list()
    finally:
        kept.stop()


def test_a_log_file_that_goes_while_it_is_served_is_told_in_words(tmp_path: Path, service: Service) -> None:
    deliver(service, "predictions", [prediction("a", 0.1, said=1)])
    work(service)
    next((tmp_path / "data" / "log" / MODEL / "predictions").glob("*.parquet")).unlink()
    deliver(service, "labels", [label("a", 0.2, truth=1)])
    service.worker.guard(MODEL, lambda: service.worker.work(MODEL))
    said = service.problems[MODEL]
    assert "cannot be read: No such file or directory" in said and "Error" not in said


# ---- the database ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"hello, this is no database\n" * 300, b"SQLite format 3\x00" + b"\xff" * 8000])
def test_a_database_that_is_none_is_refused_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    config = load(write_config(tmp_path))
    Service(config).stop()
    for file in (tmp_path / "data").glob("state.db*"):
        file.unlink()
    (tmp_path / "data" / "state.db").write_bytes(content)
    with pytest.raises(StorageError, match=r"cannot be opened: .*; bring back a backup, or move it away: "):
        Service(config)
    (tmp_path / "data" / "state.db").unlink()
    Service(config).stop()


def test_a_database_that_is_damaged_while_it_is_used_is_told_without_a_trace(
    tmp_path: Path, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    deliver(service, "predictions", [prediction(f"{index}", 0.1, said=1) for index in range(300)])
    malformed = sa.exc.DatabaseError("SELECT x", {}, sqlite3.DatabaseError("database disk image is malformed"))

    def fail() -> None:
        raise malformed

    service.worker.guard(MODEL, fail)
    assert service.problems[MODEL] == "the file of the database is damaged; restore a backup"
    assert "Traceback" not in caplog.text and "SELECT" not in caplog.text
    service.worker.guard(MODEL, lambda: 1 / 0)  # a fault of ours has one
    assert "Traceback" in caplog.text


def test_the_worker_outlives_a_damaged_database(
    service: Service, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """What waits cannot be asked for once; then the file can be read again, and work goes on."""
    malformed = sa.exc.DatabaseError("SELECT x", {}, sqlite3.DatabaseError("database disk image is malformed"))
    real, asked = service.inbox.waiting_models, threading.Event()

    def fail_once() -> set[str]:
        if not asked.is_set():
            asked.set()
            raise malformed
        return real()

    monkeypatch.setattr(service.inbox, "waiting_models", fail_once)
    monkeypatch.setattr(jobs, "IDLE_SECONDS", 0.01)
    service.start()
    assert asked.wait(20)
    deliver(service, "predictions", [prediction("a", 0.1, said=1)])
    service.wake()
    deadline = time.monotonic() + 20
    while service.inbox.waiting_events() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert service.inbox.waiting_events() == {} and service.problems == {}


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (sa.exc.OperationalError("UPDATE x", {}, sqlite3.OperationalError("attempt to write a readonly database")), 2),
        (sa.exc.DatabaseError("SELECT x", {}, sqlite3.DatabaseError("database disk image is malformed")), 2),
        (sa.exc.IntegrityError("INSERT x", {}, sqlite3.IntegrityError("UNIQUE constraint failed")), 70),
    ],
)
def test_a_command_that_meets_such_a_database_ends_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], error: Exception, code: int
) -> None:
    monkeypatch.setattr(Service, "start", lambda service: (_ for _ in ()).throw(error))
    with pytest.raises(SystemExit) as ended:
        main(["serve", "--config", str(write_config(tmp_path)), "--port", "0"])
    said = capsys.readouterr().err
    assert ended.value.code == code
    assert ("Traceback" in said) is (code != 2)
    if code == 2:
        assert said.startswith("driftline: the ") and said.count("\n") == 1
